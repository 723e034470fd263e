"""Metrics: against stored numbers of pysodmetrics and OpenCV, and against brute force."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from birefnet_lite import metrics
from birefnet_lite.metrics.boundary import boundary_of
from birefnet_lite.metrics.contours import count_corners, find_borders

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "metric_reference.json").read_text())["cases"]
MODES = {"stretched": True, "as given": False}


@pytest.fixture(scope="module")
def cases():
    with np.load(DATA / "metric_cases.npz") as arrays:
        return {name: (arrays[f"prediction_{i}"], arrays[f"mask_{i}"]) for i, name in enumerate(REFERENCE)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFERENCE)
def test_scores_are_those_of_the_reference_programs(cases, name, mode):
    expected = REFERENCE[name][mode]
    found = metrics.measure(*cases[name], stretch=MODES[mode])
    for metric, value in expected["values"].items():
        if value is not None:
            assert found.values[metric] == pytest.approx(value, rel=1e-9, abs=1e-9), metric
        elif metric == "mba":
            assert np.isnan(found.values[metric])
    for curve, values in expected["curves_at_every_15th"].items():
        np.testing.assert_allclose(found.curves[curve][::15].numpy(), values, rtol=1e-9, atol=1e-9, err_msg=curve)


@pytest.mark.parametrize("name", REFERENCE)
def test_hce_of_earlier_opencv(cases, name):
    pair = metrics.prepare(*cases[name], stretch=True)
    expected = REFERENCE[name]["stretched"]["hce with OpenCV 4.12"]
    assert metrics.human_correction_effort(*pair, distance_to="line") == expected


def test_the_reference_covers_what_it_should():
    scored = [values for case in REFERENCE.values() for mode in MODES for values in [case[mode]["values"]]]
    assert len(scored) >= 50
    stretched = [case["stretched"] for case in REFERENCE.values()]
    assert sum(case["values"]["hce"] != case["hce with OpenCV 4.12"] for case in stretched) >= 3
    missing = {(metric, index) for index, values in enumerate(scored) for metric in values if values[metric] is None}
    assert {metric for metric, _ in missing} == {"mba", "s_measure"}
    assert sum(metric == "s_measure" for metric, _ in missing) == 2  # one case, both modes


def test_s_measure_where_a_quarter_is_empty():
    """The mask's centre lies in the last column: two quarters have no pixels, and the reference gives NaN."""
    prediction = torch.tensor([[0.1, 0.7], [0.3, 0.9], [0.2, 0.4]], dtype=torch.float64)
    mask = torch.tensor([[False, True], [False, True], [False, False]])
    p, m = prediction.numpy(), mask.numpy()

    def alike(x):
        return 2 * x.mean() / (x.mean() ** 2 + 1 + x.std(ddof=1))

    def similar(x, y):
        x, y = x.ravel(), y.ravel().astype(float)
        cov = np.cov(x, y)
        return 4 * x.mean() * y.mean() * cov[0, 1] / ((x.mean() ** 2 + y.mean() ** 2) * (cov[0, 0] + cov[1, 1]))

    object_part = alike(p[m]) / 3 + alike(1 - p[~m]) * 2 / 3
    # The centre is (0.5, 1), rounded (0, 1): the upper quarters are row 0, the left ones both columns.
    region_part = similar(p[:1], m[:1]) * 2 / 6 + similar(p[1:], m[1:]) * 4 / 6
    assert metrics.s_measure(prediction, mask).item() == pytest.approx((object_part + region_part) / 2)


# --- against brute force, on tensors ---


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(3)
    prediction = torch.rand(23, 31, generator=generator, dtype=torch.float64)
    mask = torch.rand(23, 31, generator=generator) > 0.5
    return prediction, mask


def test_curves_are_what_256_passes_over_the_image_give(pair):
    prediction, mask = pair
    f_curve, e_curve = metrics.f_measure_curve(*pair), metrics.e_measure_curve(*pair)
    for threshold in range(256):
        chosen = (prediction * 255).floor() >= threshold
        hits = (chosen & mask).sum().item()
        precision, recall = hits / max(1, chosen.sum().item()), hits / mask.sum().item()
        f_score = 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0
        assert f_curve[threshold].item() == pytest.approx(f_score)
        a, b = chosen.double() - chosen.double().mean(), mask.double() - mask.double().mean()
        alignment = 2 * a * b / (a**2 + b**2)
        assert e_curve[threshold].item() == pytest.approx(((alignment + 1) ** 2 / 4).sum().item() / (mask.numel() - 1))


def test_iou_mae_and_mse(pair):
    prediction, mask = pair
    p, m = prediction.numpy(), mask.numpy()
    assert metrics.iou(*pair).item() == pytest.approx(((p > 0.5) & m).sum() / ((p > 0.5) | m).sum())
    assert metrics.mse(*pair).item() == pytest.approx(((p - m) ** 2).mean())
    empty = torch.zeros(4, 4)
    assert metrics.iou(empty, empty.bool()) == 1
    assert metrics.iou(empty + 1, empty.bool()) == 0
    ignore = torch.zeros_like(mask)
    ignore[:, 10:] = True
    left = metrics.iou(prediction[:, :10], mask[:, :10])
    assert metrics.iou(prediction[~ignore][None], mask[~ignore][None]) == left


def test_boundary_by_a_loop_over_windows():
    mask = torch.rand(17, 29, generator=torch.Generator().manual_seed(1)) > 0.1
    padded = np.pad(mask.numpy(), 2)
    kept = [[padded[y : y + 5, x : x + 5].all() for x in range(29)] for y in range(17)]
    rim = boundary_of(mask, width_ratio=2 / np.hypot(17, 29)) > 0
    np.testing.assert_array_equal(rim.numpy(), mask.numpy() & ~np.array(kept))


def test_the_two_boundary_ious_agree_on_zeros_and_ones(cases):
    for prediction, mask in cases.values():
        both = metrics.prepare((prediction > 128), mask, stretch=False)
        if both[1].any():
            torch.testing.assert_close(metrics.boundary_iou(*both), metrics.boundary_iou_curve(*both)[128])


# --- borders and corners ---


def test_borders_of_a_ring_with_a_dot_in_it():
    mask = np.zeros((7, 7), bool)
    mask[0:7, 0:7] = True
    mask[1:6, 1:6] = False
    mask[3, 3] = True
    outer, hole, dot = find_borders(mask)
    assert len(outer) == 24
    assert outer[:2].tolist() == [[0, 0], [1, 0]]  # from the top left corner downwards
    assert len(hole) == 20  # the hole's corners are cut: the region is 8-connected
    assert dot.tolist() == [[3, 3]]


def test_border_of_a_thin_line_lists_it_there_and_back():
    mask = np.zeros((3, 6), bool)
    mask[1, 1:5] = True
    assert [pixel[1] for pixel in find_borders(mask)[0].tolist()] == [1, 2, 3, 4, 3, 2]
    assert find_borders(np.zeros((4, 4), bool)) == []


def test_borders_cover_just_the_pixels_beside_the_background():
    mask = np.random.default_rng(5).random((40, 50)) > 0.4
    padded = np.pad(mask, 1)
    beside = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    edge = mask & ~np.logical_and.reduce(beside)
    seen = np.zeros_like(mask)
    for border in find_borders(mask):
        steps = np.abs(np.diff(border, axis=0, append=border[:1])).max(axis=1)
        assert len(border) == 1 or (steps == 1).all()
        seen[tuple(border.T)] = True
    np.testing.assert_array_equal(seen, edge)


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ([[5, 5]], 1),
        ([[5, 5], [5, 6]], 2),
        ([[0, x] for x in range(30)], 2),
        ([[0, x] for x in range(30)] + [[y, 29] for y in range(1, 30)], 3),
        ([[x % 2, x] for x in range(30)], 2),  # a ripple below the tolerance
        ([[0, 0], [0, 1], [0, 2], [0, 3], [1, 2], [1, 1]], 3),  # it turns back: what lies beyond the chord counts
    ],
)
def test_corners_of_a_line(line, corners):
    assert count_corners(np.array(line), 2.0) == corners


def test_hce_of_simple_errors_counted_by_hand():
    mask = torch.zeros(80, 80, dtype=torch.bool)
    mask[10:70, 10:70] = True
    effort = metrics.human_correction_effort
    assert effort(mask.double(), mask) == 0
    extra = mask.double()
    extra[20:50, 70:80] = 1  # a slab stuck on: its one long side to draw, with a corner at each end at least
    assert 2 <= effort(extra, mask) <= 6
    hole = mask.double()
    hole[30:50, 30:50] = 0  # a hole in the object touches nothing but the object: one click
    assert effort(hole, mask) == 1
    near = mask.double()
    near[10:13] = 0  # three pixels off along one side: forgiven
    assert effort(near, mask) == 0


# --- inputs and traps ---


def test_stretching_is_a_choice_and_turns_faint_noise_into_false_alarms():
    prediction, mask = torch.tensor([[0.0, 0.001], [0.002, 0.0]]), torch.zeros(2, 2)
    assert metrics.mae(*metrics.prepare(prediction, mask, stretch=False)) < 0.001
    assert metrics.mae(*metrics.prepare(prediction, mask, stretch=True)) == pytest.approx(0.375)
    with pytest.raises(TypeError, match="stretch"):
        metrics.prepare(prediction, mask)


def test_binarising_charges_an_exact_soft_matte_with_an_error():
    ramp = torch.linspace(0, 1, 256, dtype=torch.float64).repeat(8, 1)
    exact = metrics.prepare(ramp, ramp, stretch=True, binarise=False)
    assert metrics.mse(*exact) == 0
    # The mean of min(t, 1 - t)² over a ramp is 1/12.
    assert metrics.mse(*metrics.prepare(ramp, ramp, stretch=True)).item() == pytest.approx(1 / 12, abs=2e-3)
    with pytest.raises(ValueError, match="bool mask"):
        metrics.s_measure(*exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eight_bit_and_floating_masks_are_cut_at_the_same_level(dtype):
    mask = torch.arange(256, dtype=torch.uint8)[None]
    _, from_bytes = metrics.prepare(mask, mask, stretch=False)
    _, from_floats = metrics.prepare(mask, mask.to(dtype) / 255, stretch=False)
    assert torch.equal(from_bytes, from_floats)
    assert from_bytes.sum() == 127  # 129 to 255


def test_leading_ones_arrays_and_bools_are_taken(pair):
    prediction, mask = pair
    expected = metrics.measure(prediction, mask, stretch=True, names=("s_measure", "f_max"))
    flipped_twice = prediction.numpy()[:, ::-1].copy()[:, ::-1]
    for given in [(prediction[None, None], mask[None]), (prediction.numpy(), mask.numpy()), (flipped_twice, mask)]:
        assert metrics.measure(*given, stretch=True, names=("s_measure", "f_max")).values == expected.values


@pytest.mark.parametrize(
    ("prediction", "mask", "error", "said"),
    [
        (torch.zeros(4, 4), torch.zeros(4, 5), ValueError, "Resize the prediction"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), ValueError, "one image"),
        (torch.zeros(0, 4), torch.zeros(0, 4), ValueError, "one image"),
        (torch.full((4, 4), -3.0), torch.zeros(4, 4), ValueError, "sigmoid"),
        (torch.full((4, 4), torch.nan), torch.zeros(4, 4), ValueError, "in \\[0, 1\\]"),
        (torch.zeros(4, 4, dtype=torch.int64), torch.zeros(4, 4), TypeError, "uint8"),
    ],
)
def test_wrong_pairs(prediction, mask, error, said):
    with pytest.raises(error, match=said):
        metrics.prepare(prediction, mask, stretch=False)


def test_unknown_metric():
    with pytest.raises(ValueError, match="'chord' or 'line'"):
        metrics.human_correction_effort(torch.zeros(2, 2), torch.zeros(2, 2).bool(), distance_to="curve")
    with pytest.raises(ValueError, match="choose from s_measure"):
        metrics.measure(torch.zeros(2, 2), torch.zeros(2, 2), stretch=False, names=("dice",))


def test_metrics_leave_their_inputs_alone(pair):
    before = [x.clone() for x in pair]
    metrics.measure(*pair, stretch=True)
    assert all(torch.equal(x, y) for x, y in zip(pair, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_scores(cases):
    for prediction, mask in cases.values():
        here = metrics.measure(prediction, mask, stretch=True)
        there = metrics.measure(torch.from_numpy(prediction).cuda(), torch.from_numpy(mask).cuda(), stretch=True)
        assert there.values == pytest.approx(here.values, rel=1e-9, abs=1e-9, nan_ok=True)
