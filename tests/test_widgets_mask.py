"""The mask as an outline, a cut-out and scores: pixels and numbers equal to those of others, also in the browser."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from small_network import small

import widgets
from birefnet_lite.metrics import iou
from widgets.look import Look
from widgets.mask_drawing import alpha_table, cut_out, find_outline, follow_threshold, level_of, score_mask
from widgets.picture import paint_focus
from widgets.planes import quantise
from widgets.scene import Scene

NODE = shutil.which("node")


def soft_mask(height=20, width=30, logits=False):
    y, x = np.mgrid[:height, :width]
    inside = 8 - np.hypot(x - width / 2, 1.2 * (y - height / 2))
    return inside if logits else 1 / (1 + np.exp(-inside))


def test_a_cut_out_is_what_pillow_composes():
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    plane = quantise(soft_mask())
    shown = cut_out(plane, alpha_table(plane, "probability"), photo, "#20c040").astype(int)
    alpha = Image.fromarray(np.rint(plane.values() * 255).astype(np.uint8))
    ground = Image.new("RGB", (30, 20), "#20c040")
    expected = np.asarray(Image.composite(Image.fromarray(photo), ground, alpha)).astype(int)
    assert np.abs(shown - expected).max() <= 1
    hard = cut_out(plane, alpha_table(plane, "probability", 0.3), photo, "checker")
    chosen = plane.values() > 0.3
    np.testing.assert_array_equal(hard[chosen], photo[chosen])
    assert set(np.unique(hard[~chosen])) == {204, 255}


def test_logits_and_probabilities_are_cut_at_the_same_place():
    logits = soft_mask(logits=True)
    chosen = [
        alpha_table(quantise(values), kind, 0.8)[quantise(values).codes]
        for values, kind in ((logits, "logits"), (1 / (1 + np.exp(-logits)), "probability"))
    ]
    np.testing.assert_array_equal(*chosen)
    assert level_of("logits", 0.0) == -math.inf
    assert level_of("logits", 0.5) == 0


def test_an_outline_encloses_the_area_above_the_level():
    (line,) = find_outline(quantise(soft_mask(40, 60)), 0.5)
    x, y = (line * (60, 40)).T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    assert area == pytest.approx(np.pi * 8 * 8 / 1.2, rel=0.02)
    assert find_outline(quantise(np.zeros((1, 5))), 0.5) == []


@pytest.mark.parametrize("shape", [(20, 30), (40, 60), (10, 15)])
def test_scores_are_those_of_the_metrics(shape):
    plane, truth = quantise(soft_mask(20, 30)), quantise((soft_mask(*shape) > 0.2) * 1.0)
    scores = score_mask(plane, 0.7, truth)
    size = max((20, 30), shape)

    def grow(values):
        return torch.from_numpy(values.repeat(size[0] // values.shape[0], 0).repeat(size[1] // values.shape[1], 1))

    mask = grow(truth.values()) > 0.5
    assert scores["iou"] == pytest.approx(float(iou(grow(plane.values()), mask, threshold=0.7)))
    chosen = grow(plane.values()) > 0.7
    assert scores["recall"] == pytest.approx(float((chosen & mask).sum() / mask.sum()))
    assert scores["precision"] == pytest.approx(float((chosen & mask).sum() / chosen.sum()))


def test_scores_of_nothing():
    empty = quantise(np.zeros((4, 4)))
    assert score_mask(empty, 0.5, empty)["iou"] == 1
    assert math.isnan(score_mask(empty, 0.5, empty)["precision"])
    assert score_mask(empty, 0.5) == {"share": 0}


def test_the_table_follows_the_threshold(model, photo):
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 24:72] = 255
    viewer = widgets.prediction_ladder(model, photo, mask)
    assert viewer.source.layers["final.upsampled"].mask == "probability"
    assert viewer.scene["truth"] == "truth"
    at = {}
    for threshold in (0.5, 0.2):
        viewer.threshold = threshold
        table = follow_threshold(viewer.source, viewer.look, viewer.table)
        assert table["columns"][3] == f"IoU at {threshold:.2f}"
        at[threshold] = [float(row["cells"][3]) for row in table["rows"]]
    assert at[0.5] == pytest.approx([float(row["cells"][3]) for row in viewer.table["rows"]], abs=2e-4)
    chosen = viewer.source.plane("final.upsampled", 0).values() > 0.2
    assert at[0.2][-1] == pytest.approx((chosen & (mask > 0)).sum() / (chosen | (mask > 0)).sum(), abs=1e-4)


def test_how_a_mask_is_drawn_belongs_to_the_look(model, photo):
    viewer = widgets.ablation(model, photo)
    assert viewer.scene["truth"] == "whole"
    viewer.mask_as, viewer.threshold, viewer.ground = "hard cut-out", 0.4, "#ffffff"
    again = widgets.show(viewer.state())
    assert again.look == viewer.look
    assert again.picture().shape == viewer.picture().shape  # the photo has been through JPEG
    viewer.mask_as = "outline"
    assert viewer.picture().shape == again.picture().shape
    for name, bad in (("ground", "red"), ("mask_as", "nothing"), ("threshold", 2.0)):
        with pytest.raises(traitlets.TraitError):
            setattr(viewer, name, bad)
    old = viewer.state()
    for name in ("mask_as", "threshold", "ground"):
        del old["look"][name]
    assert widgets.show(old).mask_as == "colours"


def test_only_masks_are_cut_out(photo):
    scene = Scene("test", "Test", "?", photo)
    scene.add("a", soft_mask(64, 96)[None], "unit")
    look = Look("a", mask_as="soft cut-out")
    cut = paint_focus(scene, look, "a", 0)
    np.testing.assert_array_equal(cut, paint_focus(scene, Look("a"), "a", 0))
    scene.layers["a"].mask = "probability"
    assert np.abs(paint_focus(scene, look, "a", 0).astype(int) - cut).max() > 50


def test_logits_and_side_outputs_of_the_pyramid_are_masks(photo):
    viewer = widgets.feature_pyramid(small(), photo)
    masks = {name for name, layer in viewer.source.layers.items() if layer.mask == "logits"}
    assert masks == {"logits", *(f"decoder.stage{stage}.side" for stage in (4, 3, 2))}


# ---- the same in the browser ----


def test_the_browser_draws_and_scores_the_same(tmp_path):
    if NODE is None:
        pytest.skip("node is not installed")
    random = np.random.default_rng(0)
    cases = []
    for logits in (False, True):
        values = soft_mask(logits=logits) + random.normal(scale=0.05, size=(20, 30))
        values[3, 4:6] = np.nan, np.inf
        plane, kind = quantise(values), "logits" if logits else "probability"
        truth = quantise((soft_mask(40, 60) > 0.4) * 1.0)
        photo = random.integers(0, 256, (41, 83, 3)).astype(np.uint8)
        level = level_of(kind, 0.35)
        segments = [np.concatenate([line[:-1], line[1:]], 1) for line in find_outline(plane, level)]
        cases.append(
            {
                "plane": plain(plane),
                "truth": plain(truth),
                "kind": kind,
                "photo": photo.ravel().tolist(),
                "soft": alpha_table(plane, kind).tolist(),
                "hard": alpha_table(plane, kind, 0.35).tolist(),
                "onChecker": cut_out(plane, alpha_table(plane, kind), photo, "checker").ravel().tolist(),
                "onColour": cut_out(plane, alpha_table(plane, kind, 0.35), photo, "#0a64c8").ravel().tolist(),
                "segments": np.concatenate(segments).tolist(),
                "scores": score_mask(plane, level, truth),
            }
        )
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(cases))
    done = subprocess.run(
        [NODE, "--test", str(Path(__file__).parent / "js" / "mask.test.js")],
        env={**os.environ, "GOLDENS": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 3" in done.stdout


def plain(plane):
    height, width = plane.codes.shape
    return {"codes": plane.codes.ravel().tolist(), "lo": plane.lo, "hi": plane.hi, "width": width, "height": height}
