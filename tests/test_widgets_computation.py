"""The views `computation`, `paired` and `training_film`: terms add up, differences and steps are those of the maps."""

import numpy as np
import pytest
import torch
from small_network import small

import widgets
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.cka import cka_matrix, linear_cka, pool_cells
from birefnet_lite.analysis.computation import head_terms, stage_terms
from birefnet_lite.analysis.summaries import colours_of, fit_basis
from birefnet_lite.training.recorder import Recorder
from widgets.planes import encode_picture


def values(viewer, name, channel):
    return viewer.source.plane(name, channel).values()


@pytest.mark.parametrize("changes", [{}, {"outward_reference": False}, {"inward_reference": False}])
def test_terms_add_up_to_the_tensors_of_the_pass(photo, changes):
    model = small(**changes)
    maps = capture(model, photo)
    for stage in (4, 3, 2):
        terms = stage_terms(maps, stage)
        torch.testing.assert_close(terms.raised + terms.lateral, maps[f"decoder.stage{stage}.out"], atol=1e-4, rtol=0)
    head = head_terms(model, maps)
    torch.testing.assert_close(head.features + head.image + head.bias, maps["logits"], atol=1e-4, rtol=0)


def test_the_picture_equation_adds_up(model, photo):
    viewer = widgets.computation(model, photo)
    for stage in (4, 3, 2):
        channel = next(iter(viewer.source.layers[f"stage {stage}.out"].planes))
        terms = [values(viewer, f"stage {stage}.{name}", channel) for name in ("raised", "lateral", "out")]
        np.testing.assert_allclose(terms[0] + terms[1], terms[2], atol=1e-3)
    assert viewer.source.layers["stage 3.out"].group == ["stage 3.raised", "stage 3.lateral", "stage 3.out"]
    assert viewer.picture().ndim == 3


def test_two_photos_under_one_cursor(model, photo):
    other = photo[::-1, :50].copy()
    viewer = widgets.paired(model, photo, other)
    channel = next(iter(viewer.source.layers["squeeze · first"].planes))
    expected = capture(model, other)["squeeze"][channel] - capture(model, photo)["squeeze"][channel]
    np.testing.assert_allclose(values(viewer, "squeeze · difference", channel), expected.numpy(), atol=1e-3)
    assert viewer.source.layers["squeeze · second"].photo == "second"
    assert viewer.source.photos["second"].shape == viewer.source.photo.shape
    again = widgets.show(viewer.state())
    assert again.source.layers["squeeze · second"].photo == "second"
    assert "second" in again.source.photos
    with pytest.raises(ValueError, match="photo2 or model2"):
        widgets.paired(model, photo)


def test_two_networks_in_a_view_of_masks_have_no_matrix_of_layers(model, photo):
    viewer = widgets.paired(model, photo, model2=small(), view=widgets.prediction_ladder)
    assert "matrix" not in viewer.scene
    assert viewer.table["columns"] == ["Layer", "CKA", "cells"]
    assert viewer.layer.endswith("difference")


def test_two_networks_are_compared_layer_by_layer(model, photo):
    tuned = small()
    with torch.no_grad():
        torch.nn.init.normal_(tuned.decoder.stage3.lateral.conv.weight, std=3)
    viewer = widgets.paired(model, photo, model2=tuned)
    found = {row["layer"]: float(row["cells"][1]) for row in viewer.table["rows"]}
    assert found["squeeze · difference"] == pytest.approx(1, abs=1e-3)
    assert found["decoder.stage3.out · difference"] < 0.999
    assert "1 photo" in viewer.table["caption"]
    matrix = viewer.scene["matrix"]
    values_ = np.array(matrix["values"])
    at = matrix["names"].index
    assert values_[at("squeeze"), at("squeeze")] == pytest.approx(1, abs=1e-3)
    assert values_[at("decoder.stage3.out"), at("decoder.stage3.out")] < 0.999
    assert values_.shape == (len(matrix["names"]),) * 2
    assert (matrix["photos"], matrix["cells"]) == (1, 400)
    assert widgets.show(viewer.state()).scene["matrix"] == matrix


def test_each_layer_is_aligned_with_each():
    rng = np.random.default_rng(0)
    first = [rng.normal(size=(60, c)) for c in (3, 5)]
    second = [first[0] @ rng.normal(size=(3, 4)), rng.normal(size=(60, 2)), np.ones((60, 2))]
    found = cka_matrix(first, second)
    expected = [[linear_cka(a, b) for b in second] for a in first]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    pooled = pool_cells(torch.arange(32.0).reshape(2, 4, 4), 4)
    np.testing.assert_allclose(pooled, [[2.5, 18.5], [4.5, 20.5], [10.5, 26.5], [12.5, 28.5]])


def test_two_photos_have_one_basis_of_colours(model, photo):
    viewer = widgets.paired(model, photo, photo[::-1].copy())
    group = viewer.source.layers["squeeze · first · colours"].group
    pair = [viewer.source.layers[f"squeeze · {side}"] for side in ("first", "second")]
    kept = list(pair[0].planes)
    maps = [np.stack([layer.planes[c].values() for c in kept]).astype(np.float32) for layer in pair]
    basis = fit_basis(maps)
    for name, expected in zip(group, maps, strict=True):
        codes = viewer.source.plane(name, 0).codes
        np.testing.assert_array_equal(codes, encode_picture(colours_of(expected, basis)).codes)
    assert viewer.source.layers[group[0]].base == "squeeze · difference"
    assert "one basis" in viewer.source.layers[group[1]].labels[0]


def test_alignment_ignores_rotation_and_scale():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 6))
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert linear_cka(first, 3 * first @ rotation + 1) == pytest.approx(1)
    assert linear_cka(first, rng.normal(size=(200, 6))) < 0.2
    assert linear_cka(first, np.ones((200, 2))) == 0


def recording_of(photo, tmp_path):
    model = small()
    recorder = Recorder(photo, every=2, mask=np.zeros((64, 96), bool), channels=2)
    for step in range(7):
        with torch.no_grad():
            model.decoder.head.bias.add_(0.5)
        recorder.record(model, step, {"loss": 1 / (step + 1)})
    recorder.save(tmp_path / "run.recording")
    return recorder


def test_a_film_shows_each_recorded_step(photo, tmp_path):
    recorder = recording_of(photo, tmp_path)
    recording = recorder.recording
    viewer = widgets.training_film(tmp_path / "run.recording")
    # It opens with the first step beside the last one.
    assert (viewer.channel, viewer.channels["beside"]) == (0, len(recording.steps) - 1) == (0, 3)
    assert repr(viewer) == "Viewer('Training film', layer='mask', step=0, beside=6)"
    both = {part["channel"] for part in viewer.state(budget=0)["parts"] if part.get("layer") == "mask" and "lo" in part}
    assert both == {0, 3}
    for frame in range(4):
        np.testing.assert_allclose(values(viewer, "mask", frame), recording.masks[frame] / 255, atol=1e-4)
    assert viewer.source.layers["mask"].labels == ["step 0", "step 2", "step 4", "step 6"]
    assert [row["cells"] for row in viewer.table["rows"]] == [
        ["0", "1.0000"],
        ["2", "0.3333"],
        ["4", "0.2000"],
        ["6", "0.1429"],
    ]
    name = next(name for name in viewer.source.layers if name.startswith("decoder.stage4.out #"))
    assert viewer.source.layers[name].group == [name, name]
    # A column for each stage, and the masks at the end; titles of rows fit a saved picture.
    assert viewer.scene["columns"] == ["Stage 4", "Stage 3", "Stage 2", "Mask, and\nthe true one"]
    rows = {row["title"]: row["cells"] for row in viewer.scene["rows"]}
    assert rows["Side output,\nas logits"] == [*(f"decoder.stage{stage}.side #0" for stage in (4, 3, 2)), "mask"]
    assert max(len(line) for title in rows for line in title.split("\n")) <= 14
    curves = viewer.scene["curves"]
    assert curves["steps"] == [0, 2, 4, 6]
    assert curves["series"]["loss"] == pytest.approx([1 / (step + 1) for step in curves["x"]])
    last = viewer.picture()
    viewer.beside = 2
    assert (viewer.picture() != last).any()
    viewer.step = 4
    assert (viewer.channel, viewer.channels["beside"]) == (2, 1)
    again = widgets.show(viewer.state())
    assert (again.step, again.beside) == (4, 2)
    with pytest.raises(ValueError, match="Step 5 was not recorded"):
        viewer.step = 5
    assert widgets.training_film(recorder).source.layers.keys() == viewer.source.layers.keys()
    assert widgets.show(viewer.state()).source.layers["mask"].labels == viewer.source.layers["mask"].labels


@pytest.mark.parametrize("name", ["decoder.stage4.inward.branch.conv_in", "squeeze.0.aspp.branches.0.conv"])
def test_every_channel_of_a_convolution_can_be_shown(photo, name):
    model = small(backbone="convnet_n")
    viewer = widgets.computation(model, photo, convolution=name)
    assert viewer.picture().ndim == 3
    patch, kernel, product = (viewer.source.layers[layer] for layer in ("patch", "kernel", "product"))
    last = patch.shape[0] - 1
    shown = [viewer.source.plane(layer, last).values() for layer in ("patch", "kernel", "product")]
    np.testing.assert_allclose(shown[0] * shown[1], shown[2], atol=1e-3 * max(1e-3, np.abs(shown[2]).max()))
    assert kernel.shape == product.shape == patch.shape
    assert {name for name, layer in viewer.source.layers.items() if layer.taps} == {"patch", "kernel", "product"}
    assert widgets.show(viewer.state()).source.layers["kernel"].taps
