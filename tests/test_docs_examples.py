"""The examples in the docstrings of the reference: they run, and every function for users has one."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
# Results of a function that has an example, base classes, and what the package itself calls.
WITHOUT = """
Activations agreement Axis Backbone Batch best_device BiRefNetOutput BlockAttention change_hook check_packages Costs
Decoder DecoderOutput device_and_dtype Diverged download Estimate evaluating explain_unknown_name export_onnx
export_program Field find_module find_settings FolderBatch FolderBatches FolderDataset full_precision GradientLoss
hook_parts ImageScore Kernel LevelTargets list_blocks list_costed_modules LossParts Measurement native_deform_conv
OptimizedBiRefNet outputs_of Pair Part PartCost PatchOrder Photo Published read_pair read_size Recipe
recompute_activations recomputed_modules Row run_batch run_network Sample Scores stage_module StageOutput Step
swin_blocks tile_side to_onnx Trainer
"""


def public_names(page):
    """(module, name, object) of each function and class of a page of the reference."""
    for module_name in re.findall(r"automodule:: (\S+)", (REFERENCE / page).read_text(encoding="utf-8")):
        module = import_module(module_name)
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        for name in getattr(module, "__all__", own):
            if not name.startswith("_") and callable(getattr(module, name)):
                yield module, name, getattr(module, name)


@pytest.mark.parametrize("page", ["network.md", "checkpoints.md", "inference.md", "analysis.md", "training.md"])
def test_examples_of_the_reference_run(page):
    runner = doctest.DocTestRunner()
    without, seen = [], set()
    for module, name, value in public_names(page):
        inner = inspect.unwrap(value)
        if inner in seen:
            continue
        seen.add(inner)
        names = {**vars(inspect.getmodule(inner)), **vars(module)}
        tests = [test for test in doctest.DocTestFinder(recurse=False).find(inner, name, globs=names) if test.examples]
        if not tests and name not in WITHOUT.split():
            without.append(f"{module.__name__}.{name}")
        for test in tests:
            report = []
            runner.run(test, out=report.append)
            assert not report, "".join(report)
    assert without == []
    assert runner.tries > 0
