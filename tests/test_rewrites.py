"""Each rewrite alone, against the plain modules, in float64 and float32, on sizes that show their borders."""

import pytest
import torch
from torch import nn

from birefnet_lite.network.aspp import ASPP, ASPPBranch, DeformableASPP
from birefnet_lite.network.backbone.convnets import build_convnet
from birefnet_lite.network.backbone.swin import SwinBlock, SwinStage, shift_mask
from birefnet_lite.network.blocks import build_block
from birefnet_lite.network.deformable import DeformableConv2d, cpu, use_backend
from birefnet_lite.network.encoder import Encoder, fuse_scales
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.refinement import InwardReference, OutwardReference
from birefnet_lite.network.resize import resize as plain_resize
from birefnet_lite.optimization import blocks, swin
from birefnet_lite.optimization.aspp import DeformableBranch, rewrite_aspp
from birefnet_lite.optimization.convolutions import (
    ComposedConv2d,
    ImageConv2d,
    PatchConv2d,
    SummedConv2d,
    affine_of,
    build_conv,
    fold,
    fold_batch_norms,
)
from birefnet_lite.optimization.decoder import Block, Image, Lateral, Level, Outward
from birefnet_lite.optimization.encoder import OptimizedEncoder
from birefnet_lite.optimization.resize import resize, resize_twice
from birefnet_lite.optimization.swin import OptimizedAttention, OptimizedStage, find_windows

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
SIZES = pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (3, 2), (4, 9), (8, 12)])


def lively(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Random numbers in all that training would move, batch statistics and offsets too."""
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point():
            with torch.no_grad():
                if name.endswith("running_var"):
                    value.uniform_(0.5, 1.5)
                else:
                    value.normal_(std=1 / max(1, value[0].numel()) ** 0.5 if value.ndim > 1 else 0.5)
    return module.to(dtype).eval()


def assert_same(got: torch.Tensor, wanted: torch.Tensor) -> None:
    tolerance = 1e-9 if wanted.dtype == torch.float64 else 1e-5
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


@DTYPES
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(6), nn.BatchNorm2d(6, affine=False), nn.Identity()])
@pytest.mark.parametrize("bias", [True, False])
def test_fold(norm, bias, dtype):
    net = lively(nn.Sequential(nn.Conv2d(4, 6, 3, padding=2, dilation=2, stride=2, bias=bias, groups=2), norm), dtype)
    x = torch.randn(2, 4, 9, 8, dtype=dtype)
    assert_same(build_conv(fold(*net), like=net[0])(x), net(x))


@DTYPES
@pytest.mark.parametrize("name", ["convnet_n", "resnet50", "vgg16bn"])
def test_fold_a_backbones_batch_norms(name, dtype):
    net = lively(build_convnet(name), dtype)
    x = torch.randn(1, 3, 64, 96, dtype=dtype)
    with torch.no_grad():
        wanted = net(x)
        fold_batch_norms(net)
        got = net(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert [type(module) for module in net.modules() if isinstance(module, nn.Conv2d)].count(ImageConv2d) == 1
    for ours, plain in zip(got, wanted, strict=True):
        assert_same(ours, plain)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_the_convolution_that_reads_the_image_is_not_rounded(low):
    net = lively(build_convnet("convnet_n"), torch.float32)
    x = torch.randn(1, 3, 32, 32)
    fold_batch_norms(net)
    first = next(module for module in net.modules() if isinstance(module, ImageConv2d))
    before, wanted = first.weight.detach().clone(), first(x)
    net.to(low).to("cpu")  # a move alone is not a change of precision
    assert torch.equal(first.weight, before)
    assert torch.equal(first(x), wanted.to(low))
    assert first(x.to(low)).dtype == low
    assert {out.dtype for out in net(x)} == {low}
    with torch.autocast("cpu", torch.bfloat16):
        assert first(x).dtype == torch.bfloat16
    net.float()
    assert torch.equal(first(x), wanted)
    assert net.double()(x.double())[0].dtype == torch.float64


@DTYPES
def test_a_1x1_convolution_behind_another(dtype):
    first, second = lively(nn.Conv2d(4, 6, 3, padding=1), dtype), lively(nn.Conv2d(6, 2, 1), dtype)
    x = torch.randn(2, 4, 5, 7, dtype=dtype)
    assert_same(build_conv(affine_of(second).after(affine_of(first)), like=first)(x), second(first(x)))


@DTYPES
def test_a_convolution_of_parts(dtype):
    conv = lively(nn.Conv2d(9, 4, 3, padding=1), dtype)
    parts = [torch.randn(2, width, 5, 6, dtype=dtype) for width in (2, 3, 4)]
    assert_same(SummedConv2d(affine_of(conv), [2, 3, 4], like=conv)(*parts), conv(torch.cat(parts, dim=1)))


@DTYPES
@SIZES
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_one_channel_in_patches(kernel, size, dtype):
    conv = lively(nn.Conv2d(3, 1, kernel, padding=kernel // 2), dtype)
    x = torch.randn(2, 3, *size, dtype=dtype)
    assert_same(PatchConv2d(affine_of(conv), like=conv)(x), conv(x))


@DTYPES
@SIZES
@pytest.mark.parametrize("out_channels", [1, 2])
def test_two_convolutions_as_one_at_the_border_too(out_channels, size, dtype):
    first, second = (lively(nn.Conv2d(i, o, 3, padding=1), dtype) for i, o in ((3, 8), (8, out_channels)))
    composed = ComposedConv2d(affine_of(first), affine_of(second), like=first)
    x = torch.randn(2, 3, *size, dtype=dtype)
    assert_same(composed(x), second(first(x)))
    if min(size) > 2:
        # Without the frame, the composed filter is wrong there and right inside.
        naive = composed.inside(x)
        assert (naive - second(first(x))).abs().max() > 0.01
        assert_same(naive[:, :, 1:-1, 1:-1], second(first(x))[:, :, 1:-1, 1:-1])


def test_composing_is_for_few_channels_at_the_ends():
    wide, narrow = (affine_of(nn.Conv2d(i, o, 3)) for i, o in ((48, 64), (3, 64)))
    out, logit = (affine_of(nn.Conv2d(64, o, 3)) for o in (48, 1))
    assert ComposedConv2d.pays(narrow, logit)
    assert not ComposedConv2d.pays(wide, out)


@DTYPES
@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("grid", [1, 4])
@pytest.mark.parametrize("headed", [True, False])
def test_image(grid, tiles, headed, dtype):
    inward = lively(InwardReference(grid, 5, 16, tiles), dtype)
    head = lively(nn.Conv2d(5, 1, 1), dtype) if headed else nn.Identity()
    x = torch.randn(2, 3, 8, 12, dtype=dtype)
    assert_same(Image(inward, affine_of(head) if headed else None)(x), head(inward(x)))


@DTYPES
@pytest.mark.parametrize(("before", "via", "after"), [
    ((4, 6), (8, 12), (2, 3)),
    ((1, 3), (2, 6), (1, 1)),
    ((5, 2), (7, 3), (3, 9)),
    ((3, 4), (6, 8), (6, 8)),
])  # fmt: skip
def test_resize_twice(before, via, after, dtype):
    x = torch.randn(2, 3, *before, dtype=dtype)
    assert_same(resize_twice(x, via, after), plain_resize(plain_resize(x, via), after))


def test_resize_to_the_same_size_is_left_out():
    x = torch.randn(1, 2, 3, 5)
    assert resize(x, (3, 5)) is x
    torch.testing.assert_close(plain_resize(x, (3, 5)), x)
    assert torch.equal(resize(x, (5, 3)), plain_resize(x, (5, 3)))


@DTYPES
@pytest.mark.parametrize("scales", ["cat", "add", "none"])
@pytest.mark.parametrize(("below", "full", "size"), [
    ((3, 4), (6, 8), (6, 8)),  # one up-sampling for both
    ((2, 3), (6, 8), (6, 8)),
    ((3, 4), (6, 8), (12, 16)),  # a neck's
])  # fmt: skip
def test_lateral(scales, below, full, size, dtype):
    block = lively(LateralBlock(10 if scales == "cat" else 5, 7), dtype)
    x = torch.randn(2, 7, *below, dtype=dtype)
    large = torch.randn(2, 5, *full, dtype=dtype)
    small = None if scales == "none" else torch.randn(2, 5, full[0] // 2, full[1] // 2, dtype=dtype)
    joined = large if small is None else fuse_scales((large,), (small,), scales)[0]
    wanted = plain_resize(x, size) + block(plain_resize(joined, size))
    assert_same(Lateral(affine_of(block.conv), block.conv, scales)(x, Level(large, small, size)), wanted)


@DTYPES
@SIZES
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_deformable_branch(kernel_size, size, dtype):
    branch = lively(ASPPBranch(DeformableConv2d(4, 6, kernel_size), 6, batch_norm=True), dtype)
    x = torch.randn(2, 4, *size, dtype=dtype)
    assert_same(DeformableBranch(branch)(x).relu(), branch(x))


@DTYPES
@SIZES
@pytest.mark.parametrize("kind", [ASPP, DeformableASPP])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_pyramid(kind, batch_norm, size, dtype):
    pyramid = lively(kind(4, 5, channels=6, batch_norm=batch_norm), dtype)
    x = torch.randn(2, 4, *size, dtype=dtype)
    assert_same(rewrite_aspp(pyramid)(x), pyramid(x))


@DTYPES
def test_large_maps_are_projected_in_blocks(dtype, monkeypatch):
    """Blocks of a size that divides nothing; where a gradient or another backend is wanted, the whole map."""
    monkeypatch.setattr(blocks, "LARGE", 0)
    monkeypatch.setattr(cpu, "BLOCK_NUMBERS", 700)
    taken = []
    monkeypatch.setattr(DeformableBranch, "add_projection", spy(DeformableBranch.add_projection, taken))
    plain = lively(DeformableASPP(4, 5, 6), dtype)
    optimized, x = rewrite_aspp(plain), torch.randn(2, 4, 8, 9, dtype=dtype)
    with torch.no_grad():
        assert_same(optimized(x), plain(x))
        assert len(taken) == len(optimized.branches)
        with use_backend("torchvision"):
            assert_same(optimized(x), plain(x))
    x.requires_grad_()
    got, wanted = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (optimized, plain))
    assert_same(got, wanted)
    assert len(taken) == len(optimized.branches)


def test_a_pyramid_of_ones_own_stays():
    own = DeformableASPP(4, channels=6)
    own.branches[1].conv = nn.Conv2d(4, 6, 1)
    for module in (own, nn.Identity()):
        assert rewrite_aspp(module) is module


@DTYPES
@pytest.mark.parametrize("kind", ["basic", "residual"])
@pytest.mark.parametrize("aspp", ["none", "plain", "deformable"])
@pytest.mark.parametrize("headed", [True, False])
def test_block(kind, aspp, headed, dtype):
    block = lively(build_block(kind, 7, 6, inter_channels=4, aspp=aspp, aspp_channels=8), dtype)
    head = lively(nn.Conv2d(6, 1, 1), dtype) if headed else nn.Identity()
    parts = [torch.randn(2, width, 5, 6, dtype=dtype) for width in (4, 3)]
    wanted = head(block(torch.cat(parts, dim=1)))
    assert_same(Block(block, [4, 3], affine_of(head) if headed else None)(*parts), wanted)


@DTYPES
@pytest.mark.parametrize("batch_norm", [True, False])
def test_outward(batch_norm, dtype):
    outward = lively(OutwardReference(5, 4, batch_norm), dtype)
    x = torch.randn(2, 5, 4, 6, dtype=dtype)
    assert_same(Outward(outward)(x), outward(x)[0])


@DTYPES
@pytest.mark.parametrize("scales", ["cat", "add", "none"])
@pytest.mark.parametrize("context", [0, 1, 3])
def test_encoder(scales, context, dtype):
    encoder = lively(Encoder(build_convnet("convnet_n"), scales, context), dtype)
    x = torch.randn(1, 3, 64, 96, dtype=dtype)
    with torch.no_grad():
        *finer, deepest = encoder(x)
        levels, ours = OptimizedEncoder(encoder, strides=None)(x)
    assert_same(ours, deepest)
    for level, plain in zip(levels, finer, strict=True):
        assert level.size == plain.shape[-2:]
        joined = level.full if scales == "none" else fuse_scales((level.full,), (level.half,), scales)[0]
        assert_same(joined, plain)


@DTYPES
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(6, 9), (4, 8), (1, 2)])
def test_window_attention(batch, shift, size, dtype):
    block = lively(SwinBlock(12, heads=4, window=3, shift=shift, drop_path=0), dtype)
    x = torch.randn(batch, *size, 12, dtype=dtype)
    sides = [side + -side % 3 for side in size]
    wanted = block._attend(x, shift_mask(*sides, 3, 1, like=x) if shift else None)
    assert_same(OptimizedAttention(block.attn)(x, find_windows(x, 3, shift)), wanted)


@DTYPES
@pytest.mark.parametrize("shift", [0, 1])
def test_large_maps_forward_in_parts(shift, dtype, monkeypatch):
    """Pieces of a size that divides nothing, and a map whose windows reach beyond it."""
    monkeypatch.setattr(blocks, "LARGE", 0)
    monkeypatch.setattr(swin, "PIXELS", 7)
    monkeypatch.setattr(swin, "WINDOWS", 4)
    taken = []
    monkeypatch.setattr(OptimizedAttention, "_forward_in_parts", spy(OptimizedAttention._forward_in_parts, taken))
    block = lively(SwinBlock(12, heads=4, window=3, shift=shift, drop_path=0), dtype)
    optimized = swin.OptimizedBlock(block)
    x = torch.randn(2, 8, 10, 12, dtype=dtype)
    mask, windows = shift_mask(9, 12, 3, shift, like=x), find_windows(x, 3, shift)
    with torch.no_grad():
        wanted = block(x, mask)
        assert_same(optimized(x, windows), wanted)
    assert len(taken) == 1
    # Where a gradient is wanted, nothing is written into place.
    x.requires_grad_()
    got, plain = (
        torch.autograd.grad(f(x, way).square().sum(), x)[0] for f, way in ((optimized, windows), (block, mask))
    )
    assert_same(got, plain)
    assert len(taken) == 1


def spy(method, taken):
    """The method, with a note of each call."""

    def called(*arguments):
        taken.append(arguments)
        return method(*arguments)

    return called


@DTYPES
def test_stage(dtype):
    """Twice at each of two sizes: made, kept, and still right when another has been there."""
    stage = lively(SwinStage(8, depth=2, heads=2, window=3, drop_paths=[0, 0], downsample=True), dtype)
    optimized = OptimizedStage(stage)
    for size in ((5, 7), (3, 10), (5, 7), (3, 10)):
        x = torch.randn(2, *size, 8, dtype=dtype)
        for ours, plain in zip(optimized(x), stage(x), strict=True):
            assert_same(ours, plain)
    assert len(optimized._known) == 2
