"""CONTRIBUTING.md: its examples of a backbone, a view and an exercise work as they are printed there."""

import inspect
import re
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import widgets
from birefnet_lite import BiRefNet, BiRefNetConfig, config
from birefnet_lite.course.checks import lateral
from birefnet_lite.network.backbone import build_backbone, convnets
from editions import make_edition

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NARROW = {"inter_channels": 8, "aspp_channels": 8, "image_channels": 8, "gradient_channels": 4, "train_size": (64, 96)}


def examples(heading):
    """The code blocks of a section."""
    section = GUIDE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [dedent(block) for block in re.findall(r"^   ```python\n(.*?)^   ```", section, re.DOTALL | re.MULTILINE)]


@pytest.fixture
def toy_backbone(monkeypatch):
    """The name of the backbone that the guide adds."""
    entry, widths = examples("How to add a backbone")
    for name, build in eval(f"{{{entry}}}", vars(convnets)).items():
        monkeypatch.setitem(convnets.CONVNETS, name, build)
    for name, channels in eval(f"{{{widths}}}").items():
        monkeypatch.setitem(config.BACKBONES, name, channels)
    return name


def test_the_backbone_of_the_guide_has_the_promised_maps(toy_backbone):
    backbone = build_backbone(toy_backbone).eval()
    maps = backbone(torch.zeros(1, 3, 64, 96))
    assert tuple(x.shape[1] for x in maps) == backbone.channels == config.BACKBONES[toy_backbone]
    assert [x.shape[2:] for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_view_of_the_guide_passes_the_test_of_the_guide(toy_backbone, monkeypatch):
    view, test = examples("How to add a view")
    names = {}
    exec(view, names)
    monkeypatch.setattr(widgets, "channel_mean", names["channel_mean"], raising=False)
    import test_widgets_views

    exec(test, tests := dict(vars(test_widgets_views)))
    model = BiRefNet(BiRefNetConfig(backbone=toy_backbone, **NARROW)).eval()
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    tests["test_channel_mean_is_the_mean_of_the_captured_map"](model, photo)


def test_the_exercise_of_the_guide_passes_the_tests_of_the_guide():
    _, check, test = examples("How to add an exercise")
    exec(check, names := dict(vars(lateral)))
    import answers

    checks = SimpleNamespace(channel_mean=names["channel_mean"])
    exec(test, tests := {"checks": checks, "pytest": pytest, **vars(answers)})
    tests["test_channel_mean_passes_and_a_stub_is_not_solved_yet"]()
    wrong_answers = tests["test_channel_mean_names_the_mistake"]
    (mark,) = wrong_answers.pytestmark
    assert list(inspect.signature(wrong_answers).parameters) == list(mark.args[0])
    for wrong, said in mark.args[1]:
        wrong_answers(wrong, said)


def test_the_source_of_the_exercise_makes_both_editions(tmp_path):
    source = tmp_path / "source" / "04_toy.py"
    source.parent.mkdir()
    header = "# %% [markdown]\n# # 04 · Toy\n\n# %%\nfrom birefnet_lite.course import checks\n\n"
    source.write_text(header + examples("How to add an exercise")[0], encoding="utf-8")
    assert "return x.mean(1, keepdim=True)" in str(make_edition(source, "solutions").cells)
    stub = str(make_edition(source, "exercises").cells)
    assert "NotImplementedError" in stub
    assert "x.mean" not in stub


def test_files_that_the_guide_names_exist():
    new = {"widgets/views/channel_mean.py"}
    named = set(re.findall(r"`((?:birefnet_lite|widgets|tests|notebooks|docs)/[\w/.]+\.py)`", GUIDE)) - new
    assert len(named) >= 10
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
