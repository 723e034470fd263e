"""The views that answer one question each: what they show is what was computed elsewhere."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_network import small
from torch import nn

import widgets
from birefnet_lite.analysis import capture, profile
from birefnet_lite.analysis.compare import compare_layers, outputs_of
from birefnet_lite.analysis.targets import level_targets
from birefnet_lite.inference.images import read_mask
from birefnet_lite.network.refinement import masked_gradient_target
from widgets import progress


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 24:72] = 255
    return mask


def values(viewer, name):
    return viewer.source.plane(name, 0).values()


# ---- gradient targets ----


def test_targets_are_the_networks_own(photo):
    """In training the network itself makes the targets: the view shows the same, for both kinds."""
    for kind, column in (("original", "original"), ("masked", "corrected")):
        model = small(gradient_target=kind)
        viewer = widgets.gradient_targets(model, photo)
        x = capture(model, photo).input
        for part in (model, *model.decoder.stages):
            part.training = True
        with torch.no_grad():
            targets = model(x).gradient_targets
        for stage, target in zip((4, 3, 2), targets, strict=True):
            expected = (target.sigmoid() if kind == "original" else target)[0, 0].numpy()
            np.testing.assert_allclose(values(viewer, f"decoder.stage{stage}.{column}"), expected, atol=2e-5)


def test_attention_and_prediction_are_those_of_the_pass(model, photo):
    viewer = widgets.gradient_targets(model, photo)
    maps = capture(model, photo)
    for stage in (4, 3, 2):
        prefix = f"decoder.stage{stage}"
        attention = maps[f"{prefix}.gradient_attention"][0].numpy()
        np.testing.assert_allclose(values(viewer, f"{prefix}.gradient_attention"), attention, atol=1e-5)
        prediction = maps[f"{prefix}.gradient_prediction"][0].sigmoid().numpy()
        np.testing.assert_allclose(values(viewer, f"{prefix}.gradient_prediction"), prediction, atol=1e-5)


def test_a_given_mask_keeps_only_its_own_edges(model, photo, mask):
    viewer = widgets.gradient_targets(model, photo, mask)
    target = values(viewer, "given mask.corrected")
    assert target[20:44, 30:66].max() > 0.5
    assert target[:10].max() == target[:, :10].max() == 0


def test_the_floor_is_what_a_perfect_answer_costs():
    x = torch.randn(1, 3, 32, 32)
    targets = level_targets(x, torch.randn(1, 1, 1) * 5)
    p = targets.original.double()
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
    assert targets.floor == pytest.approx(float(entropy), abs=1e-6)
    assert 0 < targets.floor < np.log(2)
    masked = masked_gradient_target(x, torch.full((1, 1, 1, 1), 9.0))
    everywhere = level_targets(x, torch.full((1, 1, 1), 9.0))
    assert everywhere.edge_share == pytest.approx(float((masked > 0.1).float().mean()))


def test_a_model_without_gradients_is_told(photo):
    with pytest.raises(ValueError, match="no outward reference"):
        widgets.gradient_targets(small(outward_reference=False), photo)


# ---- prediction ladder ----


def test_the_ladder_climbs_to_the_final_mask(model, photo, mask):
    viewer = widgets.prediction_ladder(model, photo, mask)
    maps = capture(model, photo)
    final = maps["logits"].sigmoid()[0].numpy()
    np.testing.assert_allclose(values(viewer, "final.native"), final, atol=1e-5)
    np.testing.assert_allclose(values(viewer, "final.error"), final - mask / 255, atol=2e-5)
    total = values(viewer, "stage 4.upsampled")
    for title in ("stage 3", "stage 2", "final"):
        total = total + values(viewer, f"{title}.change")
    np.testing.assert_allclose(total, final, atol=1e-4)


def test_the_scores_are_those_of_the_metrics(model, photo, mask):
    viewer = widgets.prediction_ladder(model, photo, mask)
    final = capture(model, photo)["logits"].sigmoid()[0].numpy()
    truth = mask > 127
    cells = viewer.table["rows"][-1]["cells"]
    chosen = final > 0.5
    assert float(cells[2]) == pytest.approx(np.abs(final - truth).mean(), abs=1e-4)
    assert float(cells[3]) == pytest.approx((chosen & truth).sum() / (chosen | truth).sum(), abs=1e-4)
    assert [row["layer"] for row in viewer.table["rows"]][-1] == "final.upsampled"


def test_the_ladder_without_a_mask_has_no_errors(model, photo):
    viewer = widgets.prediction_ladder(model, photo)
    assert not [name for name in viewer.source.layers if name.endswith("error")]
    assert viewer.picture().ndim == 3


def test_a_model_without_side_outputs_has_one_rung(photo):
    viewer = widgets.prediction_ladder(small(multi_stage_supervision=False, outward_reference=False), photo)
    assert viewer.scene["columns"] == ["Final mask\n96 \N{MULTIPLICATION SIGN} 64"]


# ---- compare ----


class Block(nn.Module):
    """Two convolutions, with room for mistakes."""

    def __init__(self, width=4, scale=1.0, name="second"):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.add_module(name, nn.Conv2d(width, 2, 1))
        self.scale = scale
        self.last = name

    def forward(self, x):
        return getattr(self, self.last)(self.first(x) * self.scale).relu()


X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(3))


def statuses(*args, **options):
    return {row.name: row.status for row in compare_layers(*args, **options)}


def test_equal_modules_agree():
    assert statuses(Block(), Block(), X) == {"first": "OK", "second": "OK", "output": "OK"}


def test_the_first_difference_is_found_and_measured():
    rows = compare_layers(Block(scale=1.5), Block(), X)
    assert [(row.name, row.status) for row in rows] == [("first", "OK"), ("second", "DIFF"), ("output", "DIFF")]
    ours, theirs = outputs_of(Block(scale=1.5), (X,))["second"], outputs_of(Block(), (X,))["second"]
    assert rows[1].largest == pytest.approx(float((ours - theirs).abs().max()), rel=1e-6)
    assert rows[1].mean == pytest.approx(float((ours - theirs).abs().mean()), rel=1e-6)


def test_shapes_and_missing_parts():
    assert statuses(Block(width=5), Block(), X) == {"first": "SHAPE", "second": "DIFF", "output": "DIFF"}
    found = statuses(Block(name="mix"), Block(), X)
    assert found == {"first": "OK", "second": "MISSING", "output": "OK", "mix": "MISSING"}
    assert set(statuses(Block(name="mix"), Block(), X, names={"mix": "second"}).values()) == {"OK"}


def test_a_tolerance_is_relative_to_the_reference():
    close = copy.deepcopy(reference := Block())
    close.first.bias.data += 1e-3
    assert statuses(close, reference, X)["first"] == "DIFF"
    assert statuses(close, reference, X, tolerance=0.01)["first"] == "OK"


@pytest.mark.parametrize(("mine", "status"), [(float("nan"), "OK"), (0.0, "DIFF"), (float("inf"), "DIFF")])
def test_nan_agrees_only_with_nan(mine, status):
    class Spoilt(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x):
            x[0, 0, 0, 0] = self.value
            return x

    assert statuses(Spoilt(mine), Spoilt(float("nan")), X) == {"output": status}
    assert torch.isfinite(X).all()


def test_parts_that_run_twice_and_return_several_tensors():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x):
            return {"a": self.part(x), "b": [self.part(x + 1)]}

    assert list(outputs_of(Twice(), (X,))) == ["part", "part (2)", "output[0]", "output[1]"]


def test_modules_are_left_as_they_were():
    module = Block().train()
    with pytest.raises(RuntimeError):
        outputs_of(module, (torch.zeros(1, 7, 4, 4),))
    assert module.training
    assert all(not part._forward_hooks for part in module.modules())


def test_the_debugger_shows_both_maps_and_their_difference():
    mine, reference = Block(scale=1.5), Block()
    viewer = widgets.compare(mine, reference, X)
    assert viewer.layer == "second \N{MIDDLE DOT} reference"
    assert viewer.scene["layers"][0]["group"] == [
        f"first \N{MIDDLE DOT} {s}" for s in ("mine", "reference", "difference")
    ]
    rows = {row["cells"][0]: row for row in viewer.table["rows"]}
    assert rows["second"]["first"]
    assert not rows["output"]["first"]
    ours, theirs = outputs_of(mine, (X,))["second"][0], outputs_of(reference, (X,))["second"][0]
    shown = viewer.source.plane("second \N{MIDDLE DOT} difference", viewer.channel).values()
    np.testing.assert_allclose(shown, (ours - theirs)[viewer.channel].numpy(), atol=1e-4)
    assert (ours - theirs).abs().amax((1, 2)).argmax() == viewer.channel
    assert viewer.picture().ndim == 3


def test_the_debugger_takes_a_photo_and_any_shape(model, photo):
    viewer = widgets.compare(model, model, photo)
    assert "agree" in viewer.scene["question"]
    line = nn.Sequential(nn.Linear(3, 4), nn.Flatten())
    viewer = widgets.compare(line, line, torch.randn(2, 5, 3))
    assert viewer.source.layers["0 \N{MIDDLE DOT} mine"].shape == (1, 5, 4)


def test_whole_networks_fit_into_a_page(model, photo):
    mine = copy.deepcopy(model)
    mine.decoder.stage3.lateral.conv.weight.data *= 1.5
    viewer = widgets.compare(mine, model, photo)
    assert len(viewer.table["rows"]) > 300
    assert len(viewer.blob) < 10 * 2**20
    assert viewer.layer == "decoder.stage3.lateral.conv \N{MIDDLE DOT} reference"
    chosen = [row["cells"][0] for row in viewer.table["rows"] if "layer" in row]
    assert {"squeeze", "decoder.stage3.lateral", "decoder.stage2"} <= {name.split("[")[0] for name in chosen}
    assert viewer.picture().shape[0] < 2000


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, lambda mask: mask.astype(np.uint8) * 255])
def test_a_mask_may_be_true_and_false(form):
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True
    got = read_mask(form(mask))
    assert got.dtype == np.float32
    assert np.array_equal(got, mask.astype(np.float32))


def test_a_slow_model_says_how_far_it_is(model, photo, monkeypatch, capsys):
    names = []
    maps = capture(model, photo, progress=names.append)
    assert names == list(maps)
    widgets.feature_pyramid(model, photo)
    assert capsys.readouterr().err == ""  # quick ones show nothing
    monkeypatch.setattr(progress, "DELAY", 0)
    widgets.feature_pyramid(model, photo)
    assert "Running the model" in capsys.readouterr().err


def test_costs_are_medians_of_several_passes_with_the_fastest_and_the_slowest(model, photo, monkeypatch):
    """By a clock that stands still except in the squeeze module, which takes another time in each pass, and for one
    second after the backbone, where the encoder joins its maps: outside of all parts.
    """
    now = [0.0]
    seconds = iter([0, 50, 1, 9, 2, 100, 3])  # to capture the maps, to warm up, and the five passes that count
    monkeypatch.setattr(profile, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def take_time(*_):
        now[0] += next(seconds)

    def join(*_):
        now[0] += 1

    hooks = [model.squeeze.register_forward_hook(take_time), model.encoder.register_forward_hook(join)]
    try:
        viewer = widgets.architecture(model, photo)
    finally:
        for hook in hooks:
            hook.remove()
    nodes = {node["name"]: node for node in viewer.scene["map"]["nodes"]}
    assert nodes["squeeze"]["said"]["time"] == "3000.0 ms (1000.0 to 100000.0)"
    assert nodes["squeeze"]["time"] == 0.75
    assert viewer.scene["map"]["rest"] == 0.25
    assert viewer.scene["map"]["passes"] == 5
    assert "one pass takes 4.00 s here (median of 5)" in viewer.scene["facts"]
    shares = {row["layer"]: row["cells"][3] for row in viewer.table["rows"] if "layer" in row}
    assert shares["squeeze"] == "75.0%"
    assert viewer.table["rows"][-1]["cells"][3] == "25.0%"
    assert {share for layer, share in shares.items() if layer != "squeeze"} == {"0.0%"}
