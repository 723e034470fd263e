"""Each check of an exercise against the solution and typical wrong answers: it must tell them apart, and say why."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.course import checks, skeleton
from birefnet_lite.course.checks.result import Result
from birefnet_lite.network.backbone.swin import window_partition
from birefnet_lite.network.encoder import fuse_context, fuse_scales


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.encoder_shapes, skeleton.encoder_shapes),
        (checks.wire, skeleton.wire),
        (checks.window_partition, window_partition),
        (checks.fuse_scales, lambda full, half: fuse_scales(full, half, "cat")),
        (checks.fuse_context, lambda features: fuse_context(features, 3)),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


def shapes(widths, height, width):
    return [(c, height // s, width // s) for c, s in zip(widths, (4, 8, 16, 32), strict=True)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda c, h, w: shapes(c, h, w), "one pass"),
        (lambda c, h, w: shapes([2 * x for x in c], h, w), "lacks its context"),
        (lambda c, h, w: shapes([2 * c[0], 2 * c[1], 2 * c[2], 2 * c[3] + sum(c[:3])], h, w), "single widths"),
        (lambda c, h, w: [(n, b, a) for n, a, b in skeleton.encoder_shapes(c, h, w)], "wrong way round"),
        (lambda c, h, w: skeleton.encoder_shapes(c, h, w)[:3], "four shapes, not 3"),
        (lambda c, h, w: skeleton.encoder_shapes(c, 2 * h, 2 * w), "x1 should be (192, 64, 96)"),
        (lambda c, h, w: 7, "four triples"),
    ],
)
def test_wrong_shapes_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.encoder_shapes(wrong)
    assert result.passed is False
    assert said in result.message


def wired(parts, image, laterals=lambda x1, x2, x3: (x3, x2, x1, None), squeeze=True, seen=lambda image: image):
    x1, x2, x3, x4 = parts.encoder(image)
    x = parts.squeeze(x4) if squeeze else x4
    for stage, lateral in zip(parts.stages, laterals(x1, x2, x3), strict=True):
        x = stage(x, seen(image), lateral)
    return parts.head(x, image)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p, x: wired(p, x, lambda x1, x2, x3: (x1, x2, x3, None)), "Stage 4 adds x3"),
        (lambda p, x: wired(p, x, squeeze=False), "squeezed map go into stage 4"),
        (lambda p, x: wired(p, x, lambda x1, x2, x3: (x3, x2, x1, x1)), "Stage 1 has no lateral block"),
        (lambda p, x: wired(p, x, lambda x1, x2, x3: (None, None, None, None)), "given no encoder map"),
        (lambda p, x: wired(p, x, lambda x1, x2, x3: (x3 * 0, x2 * 0, x1 * 0, None)), "laterals, or zeros"),
        (lambda p, x: wired(p, x, seen=torch.zeros_like), "inward reference"),
        (lambda p, x: wired(p, x).sigmoid(), "leave the sigmoid"),
        (lambda p, x: wired(p, x)[0], "the shape is"),
        (lambda p, x: wired(p, x) * float("nan"), "NaN or infinite"),
        (lambda p, x: wired(p, x) * 1.001, "numbers differ"),
        (lambda p, x: wired(p, x).detach(), "no gradient flows"),
        (lambda p, x: wired(p, x.detach()) + 0 * x.sum(), "gradient of the input"),
    ],
)
def test_wrong_wiring_is_refused_with_the_likely_mistake(wrong, said):
    result = checks.wire(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, w: x.reshape(x.shape[0], -1, w * w, x.shape[3]), "runs of pixels"),
        (lambda x, w: window_partition(x.transpose(1, 2), w), "column by column"),
        (lambda x, w: window_partition(x, w).flatten(0, 1), "batch and windows"),
        (lambda x, w: window_partition(x, w).reshape(x.shape[0], -1, w, w, x.shape[3]), "window, window"),
        (lambda x, w: window_partition(x, w).flip(1), "numbers differ"),
    ],
)
def test_wrong_windows_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.window_partition(wrong)
    assert result.passed is False
    assert said in result.message


def bilinear(x, like, align=True):
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=align)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda f, h: [torch.cat([a, bilinear(b, a, False)], 1) for a, b in zip(f, h, strict=True)], "align_corners"),
        (lambda f, h: [torch.cat([bilinear(b, a), a], 1) for a, b in zip(f, h, strict=True)], "come first"),
        (
            lambda f, h: [torch.cat([a, F.interpolate(b, size=a.shape[-2:])], 1) for a, b in zip(f, h, strict=True)],
            "nearest",
        ),
        (lambda f, h: [a + bilinear(b, a) for a, b in zip(f, h, strict=True)], "added"),
        (lambda f, h: torch.cat([f[0], bilinear(h[0], f[0])], 1), "four maps"),
        (lambda f, h: [torch.cat([a.detach(), bilinear(b, a)], 1) for a, b in zip(f, h, strict=True)], "gradient"),
        (lambda f, h: [torch.cat([a, b], 1) for a, b in zip(f, h, strict=True)], "raises RuntimeError"),
    ],
)
def test_wrong_fusions_of_scales_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.fuse_scales(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda f: torch.cat([*(bilinear(x, f[3], False) for x in f[:3]), f[3]], 1), "align_corners"),
        (lambda f: torch.cat([f[3], *(bilinear(x, f[3]) for x in f[:3])], 1), "in front"),
        (lambda f: torch.cat([*(bilinear(x, f[3]) for x in f[2::-1]), f[3]], 1), "finest first"),
        (lambda f: torch.cat([*(F.adaptive_avg_pool2d(x, f[3].shape[-2:]) for x in f[:3]), f[3]], 1), "pooled"),
        (lambda f: torch.cat([bilinear(f[2], f[3]), f[3]], 1), "shape is"),
        (lambda f: f[3], "shape is"),
    ],
)
def test_wrong_contexts_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.fuse_context(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_packages_parts_wired_are_the_whole_network(size, batch):
    model = BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0")).eval()
    image = torch.randn(batch, 3, *size)
    with torch.inference_mode():
        assert torch.equal(skeleton.wire(skeleton.package_parts(model), image), model(image).logits)


def test_the_shapes_are_those_of_the_encoder():
    model = BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0")).eval()
    with torch.inference_mode():
        maps = model.encoder(torch.randn(1, 3, 64, 96))
    assert skeleton.encoder_shapes(model.encoder.backbone.channels, 64, 96) == [tuple(x.shape[1:]) for x in maps]


def test_a_check_leaves_the_random_numbers_alone():
    before = torch.random.get_rng_state()
    checks.wire(skeleton.wire)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_result_reads_as_text_and_as_html():
    result = Result("wire", False, "a < b\nand more")
    assert repr(result).startswith("✗ wire: a < b")
    assert "a &lt; b<br>and more" in result._repr_html_()
    assert {r.passed for r in (Result("x", p, "") for p in (True, False, None))} == {True, False, None}


def test_dummy_parts_use_everything_they_are_given():
    parts = skeleton.dummy_parts((8, 16, 24, 32))
    image = torch.randn(1, 3, 64, 64)
    x1, x2, x3, x4 = (x.requires_grad_() for x in parts.encoder(image))
    x = parts.squeeze(x4)
    for stage, lateral in zip(parts.stages, (x3, x2, x1, None), strict=True):
        x = stage(x, image, lateral)
    gradients = torch.autograd.grad(parts.head(x, image).square().sum(), (x1, x2, x3, x4))
    assert all(np.isfinite(g.numpy()).all() and g.abs().max() > 0 for g in gradients)


def test_whole_numbers_are_not_what_was_wanted():
    result = checks.fuse_context(lambda features: fuse_context(features, 3).long())
    assert result.passed is False
    assert "numbers differ" in result.message
