"""Ablation, sampling points, windows, receptive fields, attribution and costs, each against something independent."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_network import small
from torch import nn

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import ablatable, ablate
from birefnet_lite.analysis.attribution import METHODS, agreement, attribute, possible_methods, refine
from birefnet_lite.analysis.profile import measure_costs
from birefnet_lite.analysis.receptive import receptive_field
from birefnet_lite.analysis.sampling import deformable_kernels
from birefnet_lite.analysis.windows import swin_blocks
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.network.backbone.swin import SwinTransformer


def logits(model, photo):
    return capture(model, photo, layers=["logits"])["logits"]


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


# ---- ablation ----


def test_an_ablated_channel_carries_nothing(model, photo):
    before = capture(model, photo)["squeeze"]
    with ablate(model, "squeeze", [1, 3]):
        zero = capture(model, photo)["squeeze"]
    assert torch.equal(zero[[1, 3]], torch.zeros_like(zero[[1, 3]]))
    kept = [c for c in range(before.shape[0]) if c not in (1, 3)]
    assert torch.equal(zero[kept], before[kept])
    with ablate(model, "squeeze", 2, "mean"):
        mean = capture(model, photo)["squeeze"]
    torch.testing.assert_close(mean[2], before[2].mean().expand_as(mean[2]))
    with ablate(model, "squeeze", how="resample"):
        shuffled = capture(model, photo)["squeeze"]
    assert not torch.equal(shuffled, before)
    torch.testing.assert_close(shuffled.flatten(1).sort().values, before.flatten(1).sort().values)


def test_a_part_that_is_off_is_a_part_that_is_not_there(photo):
    """Zero weights in the part do the same as switching it off."""
    for layer, part in (("lateral", "lateral"), ("inward_reference", "inward")):
        model = small()
        with ablate(model, f"decoder.stage3.{layer}"):
            off = logits(model, photo)
        for parameter in getattr(model.decoder.stage3, part).parameters():
            nn.init.zeros_(parameter)
        assert torch.equal(off, logits(model, photo))


def test_attention_that_is_off_weighs_everything_alike(photo):
    model = small()
    with ablate(model, "decoder.stage4.gradient_attention"):
        off = logits(model, photo)
    model.decoder.stage4.outward = None
    torch.testing.assert_close(off, logits(model, photo))


@pytest.mark.parametrize("scale", ["full", "half"])
def test_each_scale_of_the_encoder_alone(model, photo, scale):
    other = {"full": "half", "half": "full"}[scale]
    before = capture(model, photo)
    with ablate(model, f"encoder.{scale}.x2"):
        after = capture(model, photo)
        again = capture(model, photo)
    channels = before["encoder.full.x2"].shape[0]
    mine = slice(0, channels) if scale == "full" else slice(channels, None)
    theirs = slice(channels, None) if scale == "full" else slice(0, channels)
    assert after["encoder.x2"][mine].abs().max() == 0
    assert torch.equal(after["encoder.x2"][theirs], before["encoder.x2"][theirs])
    assert torch.equal(after[f"encoder.{other}.x2"], before[f"encoder.{other}.x2"])
    assert torch.equal(after["logits"], again["logits"])


def test_every_part_can_be_switched_off_and_comes_back(model, photo):
    before = logits(model, photo)
    changed = 0
    for layer in ablatable(model):
        with ablate(model, layer):
            changed += not torch.equal(logits(model, photo), before)
    assert changed >= len(ablatable(model)) - 1
    assert torch.equal(logits(model, photo), before)
    assert hooks_of(model) == 0


def test_hooks_go_when_something_raises(model):
    with pytest.raises(RuntimeError, match="stop"), ablate(model, "squeeze"):
        raise RuntimeError("stop")
    assert hooks_of(model) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "There are: encoder"),
        (("squeeze", None, "half"), "zero, mean"),
        (("squeeze", 9999), "channels 0 to"),
    ],
)
def test_what_cannot_be_switched_off_is_told(model, photo, arguments, words):
    with pytest.raises(ValueError, match=words), ablate(model, *arguments):
        logits(model, photo)
    assert hooks_of(model) == 0


# ---- sampling points ----


def test_taps_of_an_untrained_kernel_are_a_plain_grid(model, photo):
    kernels = deformable_kernels(model, photo)
    kernel = next(k for name, k in kernels.items() if k.size == 3 and "stage2" in name)
    points = kernel.points(3, 4)
    height, width = kernel.modulation.shape[-2:]
    expected = [[(3 + i + 0.5) / height, (4 + j + 0.5) / width, 1] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    np.testing.assert_allclose(points, expected, atol=1e-6)
    assert kernel.shift().max() == 0


def test_taps_reproduce_the_convolution(photo):
    """Reading the input at the points, weighted, gives what the deformable convolution gives."""
    model = small()
    for module in model.modules():
        if hasattr(module, "offset_conv"):
            nn.init.normal_(module.offset_conv.weight, std=0.1)
            nn.init.normal_(module.modulation_conv.weight, std=0.3)
    name = "decoder.stage2.reconstruction.aspp.branches.3.conv"
    module = model.get_submodule(name)
    seen = {}
    handle = module.register_forward_hook(lambda _m, inputs, output: seen.update(x=inputs[0], y=output))
    kernel = deformable_kernels(model, photo)[name]
    handle.remove()
    row, column = 4, 5
    points = torch.from_numpy(kernel.points(row, column)).float()
    grid = torch.stack([points[:, 1], points[:, 0]], dim=1) * 2 - 1
    values = F.grid_sample(seen["x"], grid[None, None], align_corners=False, padding_mode="zeros")[0, :, 0]  # (C, taps)
    weight = module.conv.weight.detach().flatten(2)  # (O, C, taps)
    expected = torch.einsum("oct,ct->o", weight, values * points[:, 2])
    torch.testing.assert_close(seen["y"][0, :, row, column], expected, atol=2e-3, rtol=2e-2)


# ---- windows ----


class SwinOnly(nn.Module):
    """The part of a network that windows are read from."""

    config = BiRefNetConfig(train_size=(64, 96))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Module()
        self.encoder.backbone = SwinTransformer(16, (2, 2), (2, 4), window=5)


def test_attention_reproduces_the_block(photo):
    model = SwinOnly().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    given, taken = {}, {}
    attention = model.encoder.backbone.layers[0].blocks[1].attn
    attention.register_forward_pre_hook(lambda _m, inputs: given.update(x=inputs[0][0]))
    attention.proj.register_forward_pre_hook(lambda _m, inputs: taken.update(y=inputs[0][0]))
    block = swin_blocks(model, photo)["stage 1, block 2"]
    assert (block.shift, block.grid, block.padded) == (2, (16, 24), (20, 25))
    for row, column in ((7, 9), (0, 0), (15, 23)):
        window, number = block.place(row, column)
        maps = block.attention(row, column)
        tokens = block.tokens(window)
        inside = (tokens[:, 0] < 16) & (tokens[:, 1] < 24)
        assert tuple(tokens[number]) == (row, column)
        with torch.no_grad():
            values = attention.qkv(given["x"][window]).reshape(25, 3, 2, 8)[:, 2]  # (N, heads, d)
        weights = torch.zeros(2, 25)
        weights[:, inside] = torch.from_numpy(maps[:, tokens[inside, 0], tokens[inside, 1]])
        if inside.all():
            assert weights.sum(1) == pytest.approx(1, abs=1e-5)
            expected = torch.einsum("hn,nhd->hd", weights, values).flatten()
            torch.testing.assert_close(taken["y"][window, number], expected, atol=5e-3, rtol=1e-2)
        # Nothing outside the window, and in a window over the border nothing from the other side.
        outside = np.ones((16, 24), bool)
        outside[tokens[inside, 0], tokens[inside, 1]] = False
        assert maps[:, outside].max() == 0
    assert maps[:, :5].max() == maps[:, :, :5].max() == 0


def test_windows_need_swin(model, photo):
    with pytest.raises(ValueError, match="Swin backbones"):
        swin_blocks(model, photo)


# ---- receptive fields ----


class Stack(nn.Module):
    """Two 3x3 convolutions and a pooled path, named like a network's parts."""

    config = BiRefNetConfig(train_size=(64, 96))

    def __init__(self, relu=False):
        super().__init__()
        torch.manual_seed(0)
        self.squeeze = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU() if relu else nn.Identity(), nn.Conv2d(4, 4, 3, padding=1)
        )

    def forward(self, x):
        x = self.squeeze(x)
        return x + x.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(("relu", "status"), [(False, "exact"), (True, "bound")])
def test_two_convolutions_see_five_pixels(photo, relu, status):
    field = receptive_field(Stack(relu), photo, "squeeze", 20, 30)
    assert field.box == (18, 28, 23, 33)
    assert field.status == status
    assert field.effective.max() == 1
    assert 0 < field.spread <= np.hypot(2, 2) * 1.5


def test_a_field_ends_at_the_border_and_pooling_sees_everything(photo):
    assert receptive_field(Stack(), photo, "squeeze", 0, 95).box == (0, 93, 3, 96)
    assert receptive_field(Stack(), photo, "logits", 5, 5).status == "whole image"


def test_fields_of_the_network(model, photo):
    wants = [parameter.requires_grad for parameter in model.parameters()]
    fine = receptive_field(model, photo, "decoder.stage1.inward_reference", 8, 12)
    assert fine.status in ("exact", "bound")
    assert receptive_field(model, photo, "decoder.stage4.reconstruction", 1, 1).status == "whole image"
    assert [parameter.requires_grad for parameter in model.parameters()] == wants
    assert all(parameter.grad is None for parameter in model.parameters())
    assert hooks_of(model) == 0


def test_cells_that_do_not_exist_are_told(model, photo):
    with pytest.raises(ValueError, match=r"no \(99, 0\)"):
        receptive_field(model, photo, "squeeze", 99, 0)
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        receptive_field(model, photo, "nowhere", 0, 0)
    assert hooks_of(model) == 0


# ---- attribution ----


class Linear(nn.Module):
    """Logits that are a fixed weighing of the pixels: every attribution is known."""

    config = BiRefNetConfig(train_size=(64, 96))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 1, 1)
        self.squeeze = self.conv
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.conv(x)


def test_integrated_gradients_of_a_linear_network_are_exact(photo):
    model = Linear()
    region = np.zeros((64, 96), np.float32)
    region[10:20, 30:50] = 1
    found = attribute(model, photo, "integrated gradients", region)
    x = prepare(model, photo).tensor
    weight = model.conv.weight.detach()[0, :, 0, 0]
    expected = (x[0] * weight[:, None, None]).sum(0).numpy() * region / region.sum()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_occlusion_of_a_linear_network_is_what_the_square_gave(photo):
    found = attribute(model := Linear(), photo, "occlusion", patch=4)
    x = prepare(model, photo).tensor
    parts = (x[0] * model.conv.weight.detach()[0, :, 0, 0][:, None, None]).sum(0).numpy() / (64 * 96)
    assert found[0, 0] == pytest.approx(parts[:16, :24].sum(), abs=1e-6)
    assert found[20, 30] == pytest.approx(parts[16:32, 24:48].sum(), abs=1e-6)


class MeanLogit(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)[-1].mean(dim=(1, 2, 3))


def test_estimates_of_integrated_gradients_end_at_captums_midpoint_rule(model, photo):
    from captum.attr import IntegratedGradients

    estimates = list(refine(model, photo, steps=3))
    assert [estimate.said for estimate in estimates] == ["1 of 3 steps", "2 of 3 steps", "3 of 3 steps"]
    x = prepare(model, photo).tensor
    score = MeanLogit(model)
    expected = IntegratedGradients(score).attribute(x, n_steps=3, method="riemann_middle").detach()[0].sum(0).numpy()
    np.testing.assert_allclose(estimates[-1].values, expected, atol=1e-5 * np.abs(expected).max())
    with torch.no_grad():
        gain = float(score(x) - score(torch.zeros_like(x)))
    assert estimates[-1].share == pytest.approx(expected.sum() / gain, rel=1e-3)
    assert [estimate.share for estimate in refine(Linear(), photo, steps=2)] == pytest.approx([1, 1], abs=1e-3)


def test_estimates_of_occlusion_become_finer_and_end_at_the_whole(model, photo):
    model.train()
    estimates = []
    for estimate in refine(model, photo, "occlusion", patch=3):
        assert model.training  # between the estimates others use it
        estimates.append(estimate)
    model.eval()
    assert [len(np.unique(estimate.values)) for estimate in (estimates[0], estimates[-1])] == [4, 9]
    np.testing.assert_allclose(estimates[-1].values, attribute(model, photo, "occlusion", patch=3), atol=1e-5)
    assert [estimate.share is None for estimate in estimates] == [False, True, True, False]


@pytest.mark.parametrize("method", METHODS[:3])
def test_methods_run_on_the_network_and_leave_it_alone(model, photo, method):
    model.train()
    before = [parameter.clone() for parameter in model.parameters()]
    found = attribute(model, photo, method, steps=2, patch=2)
    assert model.training
    model.eval()
    assert found.shape == (64, 96)
    assert np.isfinite(found).all()
    assert hooks_of(model) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_guided_backprop_where_there_are_relus(model, photo):
    assert "guided backprop" not in possible_methods(model)
    with pytest.raises(ValueError, match="has none"):
        attribute(model, photo, "guided backprop")
    assert attribute(Linear(), photo, "guided backprop").shape == (64, 96)


def test_agreement_of_known_maps():
    mask = np.zeros((10, 10), np.float32)
    mask[:5] = 1
    best = agreement(mask * 3, mask)
    assert best == pytest.approx({"inside": 1, "lift": 2, "correlation": 1, "hit": 1})
    worst = agreement(1 - mask, mask)
    assert worst == pytest.approx({"inside": 0, "lift": 0, "correlation": -1, "hit": 0})
    assert agreement(np.zeros((10, 10)), mask)["inside"] == 0
    square = np.zeros((10, 10))
    square[3:7, :4] = 1  # one value, half of it in the mask
    assert agreement(square, mask)["hit"] == 0
    square[6] = 0
    assert agreement(square, 1 - mask)["hit"] == 0
    assert agreement(square, mask)["hit"] == agreement(square[::-1], mask[::-1])["hit"] == 1


# ---- costs ----


def test_costs_add_up(model, photo):
    costs = measure_costs(model, photo, passes=3)
    by_name = {cost.name: cost for cost in costs.parts}
    assert by_name["encoder.backbone"].parameters == sum(p.numel() for p in model.encoder.backbone.parameters())
    assert by_name["squeeze"].shape == tuple(capture(model, photo)["squeeze"][None].shape)
    total = sum(cost.parameters for cost in costs.parts)
    sides = sum(p.numel() for stage in model.decoder.stages if stage.side_head for p in stage.side_head.parameters())
    assert total + sides == sum(p.numel() for p in model.parameters())
    assert sum(cost.fastest for cost in costs.parts) <= costs.seconds
    assert all(cost.fastest <= cost.seconds <= cost.slowest for cost in costs.parts)
    size = by_name["squeeze"].shape
    assert by_name["squeeze"].bytes == 4 * int(np.prod(size))
    assert hooks_of(model) == 0
