"""Losses: against the original's numbers, brute force and finite differences."""

import math
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from birefnet_lite.training import gaussian_blur
from birefnet_lite.training.losses import BiRefNetLoss, GradientLoss, PixelLoss
from birefnet_lite.training.pixel_losses import PIXEL_LOSSES, iou_loss, iou_patch_loss, ssim_loss
from birefnet_lite.training.recipes import RECIPES, repaired_weights, weights_at

REFERENCE = Path(__file__).parent / "reference" / "swin_v1_t_train.npz"
Output = namedtuple("Output", "class_logits gradient_targets gradient_logits side_logits logits")


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as file:
        arrays = {name: torch.from_numpy(file[name]).double() for name in file if name != "grad_norm_keys"}
    arrays["mask"] = torch.from_numpy(np.random.default_rng(11).standard_normal((2, 1, 128, 128)) > 0).double()
    arrays["output"] = Output(
        class_logits=None,
        gradient_targets=tuple(arrays[f"gradient_target_{level}"] for level in (4, 3, 2)),
        gradient_logits=tuple(arrays[f"gradient_pred_{level}"] for level in (4, 3, 2)),
        side_logits=tuple(arrays[f"side_{level}"] for level in (4, 3, 2)),
        logits=arrays["logits"],
    )
    return arrays


def random_pair(height=24, width=20, batch=2, seed=0, soft=False):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, 1, height, width, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, 1, height, width, generator=generator, dtype=torch.float64)
    return logits, mask if soft else (mask > 0.6).double()


def test_pixel_and_gradient_loss_are_the_originals(reference):
    total, parts = BiRefNetLoss(RECIPES["DIS5K"].weights)(reference["output"], reference["mask"])
    torch.testing.assert_close(parts["pixel"], reference["pixel_loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts["bce"], reference["pixel_loss_bce"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts["iou_sum"], reference["pixel_loss_iou"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts["ssim"], reference["pixel_loss_ssim"], rtol=1e-6, atol=0)
    torch.testing.assert_close(parts["gradient"], reference["gradient_loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(total, parts["pixel"] + parts["gradient"])


def test_repaired_recipe_keeps_the_originals_value_up_to_epsilon(reference):
    original = PixelLoss(RECIPES["DIS5K"].weights)
    mended = PixelLoss(repaired_weights(RECIPES["DIS5K"].weights, batch_size=2))
    maps = (*reference["output"].side_logits, reference["output"].logits)
    difference = mended(maps, reference["mask"]).total / original(maps, reference["mask"]).total - 1
    assert 0 < abs(difference) < 1e-4


@pytest.mark.parametrize("name", PIXEL_LOSSES)
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_are_those_of_finite_differences(name, soft):
    logits, mask = random_pair(13, 9, soft=soft)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: PIXEL_LOSSES[name](x, mask), logits)


@pytest.mark.parametrize("target", ["original", "masked"])
def test_gradient_loss_passes_gradcheck_and_a_masked_target_has_no_gradient(target):
    logits, label = random_pair(4, 5)[0].requires_grad_(), random_pair(8, 10, seed=1, soft=True)[1].requires_grad_()
    loss = GradientLoss(target)
    if target == "original":  # the label learns too
        assert torch.autograd.gradcheck(lambda x, y: loss([x], [y]), (logits, label))
    else:
        assert torch.autograd.gradcheck(lambda x: loss([x], [label]), logits)
        assert torch.autograd.grad(loss([logits], [label]), label, allow_unused=True) == (None,)


# --- each loss against a plain reading of its formula, pixel by pixel ---


def brute_force(name, logits, mask):
    p, batch = 1 / (1 + np.exp(-logits.numpy())), len(logits)
    p, m = p[:, 0], mask.numpy()[:, 0]
    iou = [(p[i] * m[i]).sum() / (p[i] + m[i] - p[i] * m[i]).sum() for i in range(batch)]
    if name == "bce":
        return -(m * np.log(p) + (1 - m) * np.log(1 - p)).mean()
    if name == "iou_sum":
        return sum(1 - value for value in iou)
    if name == "iou":
        plus = [((p[i] * m[i]).sum() + 1) / ((p[i] + m[i] - p[i] * m[i]).sum() + 1) for i in range(batch)]
        return 1 - np.mean(plus)
    if name == "mae":
        return np.abs(p - m).mean()
    if name == "mse":
        return ((p - m) ** 2).mean()
    if name == "reg":
        return (1 - (p**2 + (p - 1) ** 2)).mean()
    if name == "cnt":
        lengths = [
            math.sqrt((p[b, y + 2, x] - p[b, y + 1, x]) ** 2 + (p[b, y, x + 2] - p[b, y, x + 1]) ** 2 + 1e-8)
            for b in range(batch)
            for y in range(p.shape[1] - 2)
            for x in range(p.shape[2] - 2)
        ]
        return 10 * np.mean(lengths) + (p * (m - 1) ** 2).mean() + ((1 - p) * m**2).mean()
    if name == "structure":
        return np.mean([structure_of_one(p[b], m[b]) for b in range(batch)])
    if name == "structure_original":
        return np.mean([structure_of_one(1 / (1 + np.exp(-p[b])), m[b]) for b in range(batch)])
    raise KeyError(name)


def structure_of_one(p, m):
    height, width = m.shape
    weight = np.empty_like(m)
    for y in range(height):
        for x in range(width):
            box = m[max(0, y - 15) : y + 16, max(0, x - 15) : x + 16].sum() / 31**2
            weight[y, x] = 1 + 5 * abs(box - m[y, x])
    bce = -(weight * (m * np.log(p) + (1 - m) * np.log(1 - p))).sum() / weight.sum()
    inter, union = (weight * p * m).sum(), (weight * (p + m - p * m)).sum()
    return bce + 1 - (inter + 1) / (union + 1)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", sorted(set(PIXEL_LOSSES) - {"ssim", "iou_patch", "iou_patch_original"}))
def test_losses_match_their_formula(name, soft):
    logits, mask = random_pair(soft=soft)
    assert PIXEL_LOSSES[name](logits, mask).item() == pytest.approx(brute_force(name, logits, mask), rel=1e-10)


def test_ssim_matches_scikit_image_away_from_the_border():
    from skimage.metrics import structural_similarity

    logits, mask = random_pair(40, 44, batch=1, soft=True)
    border = 5
    # Zero outside the image is the original's choice, so only what the border cannot reach is compared.
    expected = structural_similarity(
        logits.sigmoid()[0, 0].numpy(),
        mask[0, 0].numpy(),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1][border:-border, border:-border]
    whole = ssim_map(logits.sigmoid(), mask)
    np.testing.assert_allclose(whole[0, 0, border:-border, border:-border].numpy(), expected, rtol=1e-6, atol=1e-9)
    assert ssim_loss(logits, mask).item() == pytest.approx((1 - whole.mean().item()) / 2, rel=1e-6)


@pytest.mark.parametrize("blur", ["on a CPU", "on a GPU"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (6, 12), (20, 31)])
def test_ssim_of_images_smaller_than_its_window_and_larger(shape, blur, monkeypatch):
    if blur == "on a GPU":
        monkeypatch.setattr(gaussian_blur, "_blur_by_sums", gaussian_blur._blur_by_convolution)
    logits, mask = random_pair(*shape)
    ours, reference = (logits.clone().requires_grad_() for _ in range(2))
    found, expected = ssim_loss(ours, mask), (1 - ssim_map(reference.sigmoid(), mask).mean()) / 2
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    (slope,), (wanted,) = torch.autograd.grad(found, ours), torch.autograd.grad(expected, reference)
    torch.testing.assert_close(slope, wanted, rtol=1e-6, atol=1e-12)


def ssim_map(x, y):
    line = torch.exp(-(torch.arange(-5.0, 6.0, dtype=x.dtype) ** 2) / 4.5)
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    mean = [F.conv2d(F.pad(z, (5, 5, 5, 5)), window) for z in (x, y, x * x, y * y, x * y)]
    top = (2 * mean[0] * mean[1] + 1e-4) * (2 * (mean[4] - mean[0] * mean[1]) + 9e-4)
    variances = mean[2] - mean[0] ** 2 + mean[3] - mean[1] ** 2
    return top / ((mean[0] ** 2 + mean[1] ** 2 + 1e-4) * (variances + 9e-4))


# --- the faults, and the repairs ---


def test_the_originals_patch_iou_sees_one_corner_and_the_repair_sees_all():
    logits, mask = random_pair(150, 100)
    changed = logits.clone()
    changed[..., 64:, :] = 8
    changed[..., :, 64:] = 8
    before, after = (PIXEL_LOSSES["iou_patch_original"](x, mask) for x in (logits, changed))
    corner = PIXEL_LOSSES["iou_sum"](logits[..., :64, :64], mask[..., :64, :64])
    assert before == after == corner
    assert (iou_patch_loss(logits, mask) - iou_patch_loss(changed, mask)).abs() > 0.01


def test_patch_iou_is_the_mean_of_the_tiles_iou():
    logits, mask = random_pair(150, 100)
    tiles = [
        iou_loss(logits[i : i + 1, :, y : y + 64, x : x + 64], mask[i : i + 1, :, y : y + 64, x : x + 64])
        for i in range(2)
        for y in (0, 64, 128)
        for x in (0, 64)
    ]
    torch.testing.assert_close(iou_patch_loss(logits, mask), torch.stack(tiles).mean())


def test_iou_on_an_empty_mask():
    empty, sure = torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), -200.0)
    assert PIXEL_LOSSES["iou_sum"](sure, empty).isnan()
    assert PIXEL_LOSSES["iou"](sure, empty) == 0
    assert PIXEL_LOSSES["iou_sum"](sure / 20, empty) == 2


def test_iou_sum_grows_with_the_batch_and_iou_does_not():
    logits, mask = random_pair()
    twice = logits.repeat(2, 1, 1, 1), mask.repeat(2, 1, 1, 1)
    torch.testing.assert_close(PIXEL_LOSSES["iou_sum"](*twice), 2 * PIXEL_LOSSES["iou_sum"](logits, mask))
    torch.testing.assert_close(PIXEL_LOSSES["iou"](*twice), PIXEL_LOSSES["iou"](logits, mask))


def test_structure_of_a_perfect_map():
    _, mask = random_pair(64, 64)
    perfect = (mask - 0.5) * 200
    assert PIXEL_LOSSES["structure"](perfect, mask) < 1e-6
    assert PIXEL_LOSSES["structure_original"](perfect, mask) > 0.9


def test_bce_of_saturated_logits_is_finite_and_still_teaches():
    logits = torch.full((1, 1, 4, 4), 120.0, requires_grad=True)
    loss = PIXEL_LOSSES["bce"](logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == pytest.approx(120)
    assert logits.grad.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(set(PIXEL_LOSSES) - {"reg"}))
def test_masks_are_clamped(name):
    logits, mask = random_pair(soft=True)
    stretched = mask * 1.5 - 0.25
    expected = PIXEL_LOSSES[name](logits, stretched.clamp(0, 1))
    torch.testing.assert_close(PIXEL_LOSSES[name](logits, stretched), expected)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_bfloat16_under_autocast_is_computed_in_float32(name):
    logits, mask = random_pair(40, 44)
    logits = logits.bfloat16()
    expected = PIXEL_LOSSES[name](logits.double(), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = PIXEL_LOSSES[name](logits, mask.bfloat16())
        pixel = PixelLoss({name: 1.0})([logits], mask.float()).total
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(pixel.double(), expected, rtol=1e-4, atol=1e-6)


# --- the sums ---


def test_pixel_loss_adds_up_and_skips_what_has_no_weight(monkeypatch):
    def never(logits, mask):
        raise AssertionError("a loss of weight 0 was computed")

    logits, mask = random_pair(32, 32)
    monkeypatch.setitem(PIXEL_LOSSES, "ssim", never)
    loss = PixelLoss({"bce": 2.0, "ssim": 0.0, "mae": 3.0})
    total, parts = loss([logits[..., ::4, ::4], logits], mask)
    assert set(parts) == {"bce", "mae"}
    torch.testing.assert_close(total, 2 * (parts["bce"] + parts["mae"]))
    large = F.interpolate(logits[..., ::4, ::4], size=(32, 32), mode="bilinear", align_corners=True)
    by_hand = sum(2 * PIXEL_LOSSES["bce"](x, mask) + 3 * PIXEL_LOSSES["mae"](x, mask) for x in (large, logits))
    torch.testing.assert_close(total, by_hand)


def test_class_loss_and_absent_parts(reference):
    output = reference["output"]._replace(class_logits=torch.randn(2, 7, dtype=torch.float64))
    classes, mask = torch.tensor([3, 5]), reference["mask"]
    loss = BiRefNetLoss({"bce": 1.0}, class_weight=5.0)
    total, parts = loss(output, mask, classes)
    rows = output.class_logits - output.class_logits.exp().sum(1, keepdim=True).log()
    assert parts["class"].item() == pytest.approx(-5 * (rows[0, 3] + rows[1, 5]).item() / 2)
    torch.testing.assert_close(total, parts["pixel"] + parts["gradient"] + parts["class"])
    bare = Output(None, (), (), (), output.logits)
    total, parts = loss(bare, mask, classes)
    assert set(parts) == {"bce", "pixel"}
    torch.testing.assert_close(total, PIXEL_LOSSES["bce"](output.logits, mask))


def test_only_the_total_carries_a_graph(reference):
    output = reference["output"]._replace(logits=reference["logits"].clone().requires_grad_())
    total, parts = BiRefNetLoss({"bce": 1.0})(output, reference["mask"])
    assert total.requires_grad
    assert not any(part.requires_grad for part in parts.values())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"bse": 1}, "choose from"),
        ({"triplet": 1}, "no such loss"),
        ({"bce": -1}, "from 0 up"),
        ({"bce": float("nan")}, "from 0 up"),
        ({"bce": 0.0}, "Nothing would be learnt"),
        ({}, "Nothing would be learnt"),
    ],
)
def test_wrong_weights(weights, said):
    with pytest.raises(ValueError, match=said):
        PixelLoss(weights)


def test_wrong_shapes_and_targets():
    logits, mask = random_pair()
    with pytest.raises(ValueError, match="one shape"):
        PIXEL_LOSSES["bce"](logits[..., :4], mask)
    with pytest.raises(ValueError, match="at least one map"):
        PixelLoss({"bce": 1})([], mask)
    with pytest.raises(ValueError, match="as many predictions"):
        GradientLoss()([logits], [])
    with pytest.raises(ValueError, match="gradient_target='masked'"):
        GradientLoss("masked")([logits], [logits])
    with pytest.raises(ValueError, match="choose 'original' or 'masked'"):
        GradientLoss("dilated")


# --- recipes ---


def test_compounding_schedule_decays_as_measured_on_the_original():
    recipe = RECIPES["DIS5K"]
    iou = [weights_at(recipe, recipe.epochs - 40 + k)["iou_sum"] for k in (0, 1, 2, 5, 10)]
    assert iou == pytest.approx([0.5, 0.25, 0.125, 0.5**6, 0.5**11])
    assert weights_at(recipe, recipe.epochs - 39)["bce"] == 0
    assert weights_at(recipe, recipe.epochs)["ssim"] == 10


def test_fixed_schedule_is_applied_once_and_stays():
    recipe = RECIPES["General"]
    assert weights_at(recipe, 1, epochs=30, schedule="fixed") == recipe.weights
    expected = {"bce": 0.0, "iou_sum": 0.25, "ssim": 10.0, "mae": 90.0}
    for epoch in (11, 30):
        assert weights_at(recipe, epoch, epochs=30, schedule="fixed") == pytest.approx(expected)
    matting = weights_at(RECIPES["Matting"], 150, schedule="fixed")
    assert matting == pytest.approx({"bce": 30, "ssim": 9, "mae": 100})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_trained_to_its_last_epoch(name):
    recipe = RECIPES[name]
    for epoch in (1, recipe.epochs - recipe.finetune_epochs, recipe.epochs):
        PixelLoss(weights_at(recipe, epoch))
    with pytest.raises(ValueError, match="count from 1"):
        weights_at(recipe, recipe.epochs + 1)
