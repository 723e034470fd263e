"""The examples in the docstrings of the reference: they run, and every function for users has one."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
# Results of a function that has an example, base classes, and what the package itself calls. Where a module shows one
# example for all its functions, they need none.
WITHOUT = """
Activations agreement Axis Backbone Batch best_device BiRefNetOutput BlockAttention change_hook check_packages Costs
Decoder DecoderOutput device_and_dtype Diverged download Estimate evaluating explain_unknown_name export_onnx
export_program Field find_module find_settings FolderBatch FolderBatches FolderDataset full_precision GradientLoss
hook_parts ImageScore Kernel LevelTargets list_blocks list_costed_modules LossParts Measurement native_deform_conv
OptimizedBiRefNet outputs_of Pair Part PartCost PatchOrder Photo Published read_pair read_size Recipe
recompute_activations recomputed_modules Row run_batch run_network Sample Scores stage_module StageOutput Step
copy_to_meta LivingTensors swin_blocks tile_side to_onnx Trainer ForeignFileError read_traces record Trace Viewer
"""


def public_names(page):
    """(module, name, object) of each function and class of a page of the reference."""
    for module_name in re.findall(r"automodule:: (\S+)", (REFERENCE / page).read_text(encoding="utf-8")):
        module = import_module(module_name)
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
        for name in getattr(module, "__all__", own):
            if not name.startswith("_") and callable(getattr(module, name)):
                yield module, name, getattr(module, name)


PAGES = ["network.md", "checkpoints.md", "inference.md", "analysis.md", "training.md", "course.md", "widgets.md"]


def find_examples(value, name, names):
    """The examples in the docstring of a module, function or class, without those of its members."""
    return [test for test in doctest.DocTestFinder(recurse=False).find(value, name, globs=names) if test.examples]


def examples_of(page):
    """[module, name, examples] of each public thing of a page, and of its modules, which have no name."""
    found = {}
    for module, name, value in public_names(page):
        inner = inspect.unwrap(value)
        found.setdefault(module, [module.__name__, "", find_examples(module, module.__name__, vars(module).copy())])
        names = {**vars(inspect.getmodule(inner)), **vars(module)}
        found.setdefault(inner, [module.__name__, name, find_examples(inner, name, names)])
    return list(found.values())


@pytest.mark.parametrize("page", PAGES)
def test_every_function_of_the_reference_has_an_example(page):
    found = examples_of(page)
    whole = {module for module, name, tests in found if tests and not name}
    without = [f"{module}.{name}" for module, name, tests in found if name and not tests and module not in whole]
    assert [name for name in without if name.split(".")[-1] not in WITHOUT.split()] == []


@pytest.mark.parametrize(
    "page",
    [page if page != "widgets.md" else pytest.param(page, marks=pytest.mark.slow) for page in PAGES],
)
def test_examples_of_the_reference_run(page):
    runner = doctest.DocTestRunner()
    for _, _, tests in examples_of(page):
        for test in tests:
            report = []
            runner.run(test, out=report.append)
            assert not report, "".join(report)
    assert runner.tries > 0
