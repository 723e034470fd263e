"""CONTRIBUTING.md: its examples of a backbone, a view and an exercise work as they are printed there."""

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

import widgets
from birefnet_lite import BiRefNet, BiRefNetConfig, config
from birefnet_lite.course.checks import lateral_blocks
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


def test_the_check_of_the_guide_accepts_the_solution_and_names_the_mistakes():
    source, code, rows = examples("How to add an exercise")
    exec(code, names := dict(vars(lateral_blocks)))
    solution = source.split('tags=["exercise"]\n')[1].split("# %%")[0]
    exec(solution, answers := {})
    result = names["channel_mean"](answers["channel_mean"])
    assert result.passed, result.message
    exec(rows, mistakes := {"WRONG": []})
    assert len(mistakes["WRONG"]) == 2
    for name, old, new, said in mistakes["WRONG"]:
        assert old in solution
        exec(solution.replace(old, new), answers := {})
        result = names[name](answers[name])
        assert result.passed is False
        assert said in result.message


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
