"""The check of notebook 11's open task: right answers of several kinds, and wrong ones."""

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, refused

from birefnet_lite.course import checks
from birefnet_lite.optimization import convolutions


def up(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def plain(coarse, image, branch, head):
    return head(torch.cat([up(coarse, image.shape[-2:]), branch(image)], dim=1))


def first(coarse, image, head):
    """The coarse map's share of the logits, and the head's weights for the image."""
    channels = coarse.shape[1]
    return up(F.conv2d(coarse, head.weight[:, :channels]), image.shape[-2:]), head.weight[:, channels:]


def half_way(coarse, image, branch, head):
    logits, far = first(coarse, image, head)
    return logits + F.conv2d(branch(image), far, head.bias)


def merged(branch, far):
    """The branch's second convolution and the head as one: weight (1, M, 3, 3) and bias (1,)."""
    matrix = far[:, :, 0, 0]
    return torch.einsum("od,dmkl->omkl", matrix, branch.conv_out.weight), matrix @ branch.conv_out.bias


def by_channels(coarse, image, branch, head, group=1, bias=True, keep=False):
    logits, far = first(coarse, image, head)
    weight, shift = merged(branch, far)
    logits += head.bias + (shift if bias else 0)
    parts = []
    for m in range(0, weight.shape[1], group):
        few = slice(m, m + group)
        between = F.conv2d(image, branch.conv_in.weight[few], branch.conv_in.bias[few], padding=1)
        part = F.conv2d(between, weight[:, few], padding=1)
        parts.append(part)
        if not keep:
            logits += parts.pop()
    return sum(parts, logits)


def by_strips(coarse, image, branch, head, rows=8, halo=2):
    logits, far = first(coarse, image, head)
    weight, shift = merged(branch, far)
    height = image.shape[2]
    for start in range(0, height, rows):
        top, bottom = max(0, start - halo), min(height, start + rows + halo)
        strip = F.conv2d(branch.conv_in(image[:, :, top:bottom]), weight, padding=1)
        logits[:, :, start : start + rows] += strip[:, :, start - top :][:, :, :rows] + head.bias + shift
    return logits


def by_five(coarse, image, branch, head, frame=True):
    logits, far = first(coarse, image, head)
    inner = convolutions.affine_of(branch.conv_in)
    outer = convolutions.Affine(far.double(), head.bias.double()).after(convolutions.affine_of(branch.conv_out))
    if frame:
        return logits + convolutions.ComposedConv2d(inner, outer, like=branch.conv_in)(image)
    both = convolutions.compose(outer, inner)
    return logits + F.conv2d(image, both.weight.float(), both.bias.float(), padding=2)


def of_groups(coarse, image, branch, head):
    return by_channels(coarse, image, branch, head, group=3)


@pytest.mark.parametrize("solution", [by_channels, of_groups, by_strips, by_five])
def test_ways_that_need_little_pass(solution):
    result = checks.lean_tail(solution)
    assert result.passed is True, result.message


def test_a_stub_is_not_solved_yet():
    knows_a_missing_answer(checks.lean_tail, by_channels)


def test_the_score_says_how_much_was_alive():
    # Of 48 x 64: 12 enlarged channels, 4 of the branch, both again side by side.
    message = checks.lean_tail(plain).message
    assert "up to 32.0 maps" in message
    assert "The plain way has 32.0" in message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (plain, "Nothing is saved yet"),
        (half_way, "16 maps between the branch's two convolutions"),
        (lambda *a: by_channels(*a, keep=True), "A list of parts keeps them all"),
        (lambda *a: by_channels(*a, bias=False), "bias of branch.conv_out is lost"),
        (lambda c, i, b, h: by_channels(c, i, b, h) - h.bias, "head's bias is lost"),
        (lambda c, i, b, h: by_channels(c, i, b, h) + h.bias, "head's bias is added twice"),
        (lambda c, i, b, h: by_channels(c, i, b, h) + 15 * h.bias, "added 16 times"),
        (lambda *a: by_strips(*a, halo=0), "only the rows 6, 7, 8, 9"),
        (lambda *a: by_strips(*a, halo=1), "Two 3x3 convolutions look two pixels far"),
        (lambda *a: by_five(*a, frame=False), "run on over the border"),
        (lambda c, i, b, h: first(c, i, h)[0] + h.bias, "Only the coarse map"),
        (lambda c, i, b, h: F.conv2d(b(i), first(c, i, h)[1], h.bias), "Only the image"),
        (lambda *a: by_channels(*a).sigmoid(), "sigmoid"),
        (lambda *a: by_channels(*a)[0], "the shape is"),
    ],
)
def test_wrong_or_large_tails_are_refused_with_the_likely_mistake(wrong, said):
    refused(checks.lean_tail, wrong, said)


def test_a_result_that_is_kept_is_measured_with_other_numbers():
    kept = {}

    def once(coarse, image, branch, head):
        if image.shape not in kept:
            kept[image.shape] = plain(coarse, image, branch, head)
        return kept[image.shape] * 1

    refused(checks.lean_tail, once, "numbers differ")


def test_modules_stay_as_they_are():
    def shrinks(coarse, image, branch, head):
        branch.conv_in.weight.data *= 0.5
        return plain(coarse, image, branch, head)

    refused(checks.lean_tail, shrinks, "changes")
