"""The checks of notebook 09: right answers pass, wrong ones are told what is probably wrong."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, refused
from PIL import Image
from scipy import ndimage

from birefnet_lite.analysis import prepare
from birefnet_lite.course import checks
from birefnet_lite.inference.images import MEAN, STD

MEANS, DEVIATIONS = np.array(MEAN, np.float32), np.array(STD, np.float32)


def to_network(pixels, height, width, method=Image.Resampling.BILINEAR):
    """Another formulation than the package's: NumPy as far as it goes."""
    small = np.asarray(Image.fromarray(pixels).resize((width, height), method), np.float32) / 255
    return torch.from_numpy(((small - MEANS) / DEVIATIONS).transpose(2, 0, 1)[None].copy())


def composite(cut, background):
    """In whole numbers: no rounding of floats can help or harm."""
    a = cut[..., 3:].astype(int)
    return ((2 * (a * cut[..., :3] + (255 - a) * background) + 255) // 510).astype(np.uint8)


def f_measure(prediction, mask, threshold, beta_squared=0.3, chosen=None):
    """With loops over pixels."""
    hits = found = wanted = 0
    for value, inside in zip(prediction.flatten().tolist(), mask.flatten().tolist(), strict=True):
        picked = value >= threshold if chosen is None else chosen(value)
        hits, found, wanted = hits + (picked and inside), found + picked, wanted + inside
    if not hits:
        return 0.0
    precision, recall = hits / found, hits / wanted
    return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)


@pytest.mark.parametrize(
    ("check", "solution"),
    [(checks.to_network, to_network), (checks.composite, composite), (checks.f_measure, f_measure)],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution, silence="Is there a `return`?")


def torch_resized(pixels, height, width, **options):
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    small = F.interpolate(photo, (height, width), mode="bilinear", **options)
    return (small - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def resized(pixels, height, width):
    return torch.from_numpy(np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)))


def unnormalised(pixels, height, width):
    return resized(pixels, height, width).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p, h, w: to_network(p, w, h), "(width, height)"),
        (lambda p, h, w: to_network(p, h, w)[0], "batch is missing"),
        (lambda p, h, w: to_network(p, h, w).permute(0, 2, 3, 1), "still the last axis"),
        (lambda p, h, w: to_network(p, h, w).numpy(), "NumPy array"),
        (lambda p, h, w: to_network(p, h, w).double(), "float32"),
        (lambda p, h, w: unnormalised(p, h, w), "still bytes"),
        (lambda p, h, w: unnormalised(p, h, w) / 255, "Take off ImageNet's mean"),
        (lambda p, h, w: (unnormalised(p, h, w) / 255 - 0.5) / 0.5, "0.5 as mean"),
        (lambda p, h, w: to_network(p, h, w) * torch.tensor(STD)[:, None, None], "not divided by the standard"),
        (lambda p, h, w: to_network(p[..., ::-1], h, w), "BGR"),
        (lambda p, h, w: to_network(p, h, w, None), "bicubic"),
        (lambda p, h, w: to_network(p, h, w, Image.Resampling.NEAREST), "nearest"),
        (lambda p, h, w: torch_resized(p, h, w), "without antialiasing"),
        (lambda p, h, w: torch_resized(p, h, w, align_corners=True), "Corners are aligned"),
        (lambda p, h, w: torch_resized(p, h, w, antialias=True), "rounding to bytes"),
        (lambda p, h, w: to_network(p, h, w).contiguous().view(1, h, w, 3).permute(0, 3, 1, 2), "numbers differ"),
        (lambda p, h, w: to_network(p, h, w) * float("nan"), "NaN"),
        (lambda p, h, w: to_network(p, 32, 32), "Use both arguments"),
    ],
)
def test_wrong_inputs_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.to_network(wrong)
    assert result.passed is False
    assert said in result.message


def test_colours_that_are_reshaped_and_not_moved_are_named():
    def reshaped(pixels, height, width):
        values = resized(pixels, height, width).reshape(1, 3, height, width) / 255
        return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    assert "Use permute" in checks.to_network(reshaped).message


def test_bytes_that_are_normalised_as_if_they_were_fractions_are_named():
    def undivided(pixels, height, width):
        values = unnormalised(pixels, height, width)
        return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    assert "Divide by 255" in checks.to_network(undivided).message


def test_the_way_into_the_package_views_differs_by_less_than_a_level_of_a_byte():
    """`analysis.prepare` resizes with PyTorch, `predict.segment` with Pillow: the notebook says that both will do."""
    pixels = np.random.default_rng(0).integers(0, 256, (150, 100, 3), np.uint8)
    ours = to_network(pixels, 64, 32)
    theirs = prepare(torch.nn.Conv2d(3, 1, 1), pixels, size=(64, 32)).tensor
    assert (ours - theirs).abs().max() <= 1.01 / 255 / min(STD)


def mixed(cut, background):
    a = cut[..., 3:] / 255
    return a * cut[..., :3] + (1 - a) * background


def as_bytes(values):
    return np.rint(values).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda c, b: mixed(c, b).astype(np.uint8), "fraction is cut off"),
        (lambda c, b: composite(np.dstack([c[..., :3], 255 - c[..., 3]]), b), "wrong way round"),
        (lambda c, b: mixed(np.dstack([c[..., :3], 255 - c[..., 3]]), b).astype(np.uint8), "wrong way round"),
        (lambda c, b: (c[..., :3] * c[..., 3:] + b * (255 - c[..., 3:])) // 255, "overflow"),
        (lambda c, b: c[..., :3] * c[..., 3:] // 255 + b * (255 - c[..., 3:]) // 255, "overflow"),
        (lambda c, b: c[..., :3], "background is not seen"),
        (lambda c, b: np.where(c[..., 3:] > 127, c[..., :3], b), "cut at one half"),
        (lambda c, b: as_bytes(c[..., :3] + (1 - c[..., 3:] / 255) * b), "multiplied by alpha already"),
        (lambda c, b: as_bytes(c[..., 3:] / 255 * c[..., :3] + b), "in full"),
        (lambda c, b: as_bytes(c[..., 3:] / 255 * c[..., :3]), "background is missing"),
        (lambda c, b: np.dstack([composite(c, b), c[..., 3]]), "still has alpha"),
        (lambda c, b: mixed(c, b) / 255, "from 0 to 1"),
        (lambda c, b: np.rint(mixed(c, b)), "turn it into bytes"),
        (lambda c, b: mixed(c, b) * 255, "alpha is a byte too"),
        (lambda c, b: Image.fromarray(composite(c, b)), "PIL image"),
        (lambda c, b: composite(c, b)[..., 0], "the shape is"),
        (lambda c, b: composite(c, b)[::-1], "numbers differ"),
    ],
)
def test_wrong_mixtures_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.composite(wrong)
    assert result.passed is False
    assert said in result.message


def test_a_mixture_is_an_array_and_no_tensor():
    refused(checks.composite, lambda c, b: torch.from_numpy(composite(c, b)), "the result is a tensor")


def parts(prediction, mask, threshold):
    chosen = prediction >= threshold
    hits = (chosen & mask).sum()
    return hits / chosen.sum(), hits / mask.sum()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p, m, t, b: f_measure(p, m, t, b, lambda value: value > t), "is not counted"),
        (lambda p, m, t, b: f_measure(p, m, t, b * b), "square it again"),
        (lambda p, m, t, b: f_measure(p, m, t, 1.0), "plain F1"),
        (lambda p, m, t, b: f_measure(p, m, t, 1 / b), "changed places"),
        (lambda p, m, t, b: f_measure(p, m, t, 0.3), "Use the argument"),
        (lambda p, m, t, b: f_measure(p, m, t, b) / (1 + b), "1 + beta_squared is missing"),
        (lambda p, m, t, b: f_measure(p, m, t, b) * b / (1 + b), "The factor in front is beta_squared"),
        (lambda p, m, t, b: f_measure(p, m, t, b) if m.any() else 1.0, "the score should be 0"),
        (lambda p, m, t, b: parts(p, m, t)[0], "precision alone"),
        (lambda p, m, t, b: parts(p, m, t)[1], "recall alone"),
        (lambda p, m, t, b: ((p >= t) & m).sum() / ((p >= t) | m).sum(), "intersection over union"),
        (lambda p, m, t, b: ((p >= t) == m).float().mean(), "right pixels"),
        (lambda p, m, t, b: (1 + b) * (p * m).sum() / (p.sum() + b * m.sum()), "not cut at the threshold"),
        (lambda p, m, t, b: f_measure(p, m, t, b, lambda value: value < t), "below the threshold"),
        (lambda p, m, t, b: (p >= t) & m, "one number"),
        (lambda p, m, t, b: "0.5", "not a number"),
        (lambda p, m, t, b: 2.0, "numbers differ"),
    ],
)
def test_wrong_scores_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.f_measure(wrong)
    assert result.passed is False
    assert said in result.message


def test_a_score_that_divides_nothing_by_nothing_is_told_so():
    def unguarded(prediction, mask, threshold, beta_squared):
        precision, recall = parts(prediction, mask, threshold)
        return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)

    result = checks.f_measure(unguarded)
    assert result.passed is False
    assert "0 / 0" in result.message


def test_a_small_number_in_the_denominators_is_a_guard_too():
    def guarded(prediction, mask, threshold, beta_squared):
        chosen = prediction >= threshold
        hits = (chosen & mask).sum()
        precision, recall = hits / (chosen.sum() + 1e-8), hits / (mask.sum() + 1e-8)
        return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall + 1e-8)

    assert checks.f_measure(guarded).passed is True


def stripes(mask):
    """Stripes that keep off the object, each thinner than HCE looks."""
    near = ndimage.binary_dilation(mask > 0.5, np.ones((3, 3)), iterations=6)
    return np.maximum(mask, ~near & (np.arange(mask.shape[1]) % 12 < 8))


def all_but_a_ring(mask, gap=12, regions=1):
    """The largest pieces of what is farther from the object than the gap, found without a distance transform."""
    near = ndimage.binary_dilation(mask > 0.5, np.ones((3, 3)), iterations=gap)
    numbers, count = ndimage.label(~near)
    pieces = [numbers == number for number in range(1, count + 1)]
    return np.logical_or.reduce([mask > 0.5, *sorted(pieces, key=np.sum)[-regions:]])


@pytest.mark.parametrize(
    "right",
    [
        stripes,
        all_but_a_ring,
        lambda mask: torch.from_numpy(stripes(mask)),
        lambda mask: 0.3 * mask + 0.6 * stripes(mask),
    ],
)
def test_damages_that_hce_overlooks_pass(right):
    knows_a_missing_answer(checks.fool_hce, right, praise="Right", silence="Is there a `return`?")


def with_a_spot(mask):
    damaged = mask.copy()
    damaged[:8, :8] = 1
    return damaged


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda mask: mask.copy(), "nothing is damaged"),
        (lambda mask: np.clip(mask, 0.2, 0.8), "nothing is damaged"),
        (np.ones_like, "touches the object"),
        (np.zeros_like, "for what is missing"),
        (lambda mask: 1 - mask, "for what is missing"),
        (with_a_spot, "too small for IoU"),
        (lambda mask: all_but_a_ring(mask, gap=1, regions=99), "separate regions"),
        (lambda mask: mask + stripes(mask), "from 0 to 2"),
        (lambda mask: stripes(mask)[1:], "the shape is"),
        (lambda mask: stripes(mask).tolist(), "list and not an array"),
        (lambda mask: stripes(mask).astype(complex), "bool, or floats"),
        (lambda mask: stripes(mask) * np.nan, "from nan"),
    ],
)
def test_damages_that_one_of_the_scores_sees_or_misses_are_refused(wrong, said):
    refused(checks.fool_hce, wrong, said)
