"""The checks of notebook 11 against the solutions, and against typical wrong answers."""

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, refused
from torch import nn

from birefnet_lite.course import checks


def scale_of(norm):
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def bias_of(conv):
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias


def fold(conv, norm):
    scale = scale_of(norm)
    return scale.view(-1, 1, 1, 1) * conv.weight, scale * (bias_of(conv) - norm.running_mean) + norm.bias


def compose(first, second):
    matrix = second.weight[:, :, 0, 0]
    return torch.tensordot(matrix, first.weight, dims=1), matrix @ first.bias + second.bias


def up(x, like, **options):
    return F.interpolate(x, size=like.shape[-2:], **(options or {"mode": "bilinear", "align_corners": True}))


def split(coarse, weight):
    return weight[:, : coarse.shape[1]], weight[:, coarse.shape[1] :]


def convolve_first(coarse, fine, weight, bias):
    ahead, behind = split(coarse, weight)
    return up(F.conv2d(coarse, ahead), fine) + F.conv2d(fine, behind, bias)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.fold_batch_norm, fold),
        (checks.compose_convolutions, compose),
        (checks.convolve_first, convolve_first),
        # The resampling's weights add up to 1, so that the bias may be enlarged, too.
        (checks.convolve_first, lambda c, f, w, b: up(F.conv2d(c, split(c, w)[0], b), f) + F.conv2d(f, split(c, w)[1])),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


def weights(change):
    """A fold whose weight is wrong, and whose bias is right."""
    return lambda conv, norm: (change(conv.weight, norm), fold(conv, norm)[1])


def biases(change):
    return lambda conv, norm: (fold(conv, norm)[0], change(scale_of(norm), bias_of(conv), norm.running_mean, norm.bias))


def in_place(conv, norm):
    with torch.no_grad():
        conv.weight *= scale_of(norm).view(-1, 1, 1, 1)
    return conv.weight, fold(conv, norm)[1]


def no_bias(conv, norm):
    weight, bias = fold(conv, norm)
    return weight, bias if conv.bias is not None else None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (weights(lambda w, n: w), "the convolution's own"),
        (weights(lambda w, n: w / (n.running_var + n.eps).sqrt().view(-1, 1, 1, 1)), "lacks gamma"),
        (weights(lambda w, n: w * (n.weight / n.running_var.sqrt()).view(-1, 1, 1, 1)), "eps is missing"),
        (weights(lambda w, n: w * (n.weight / (n.running_var + 1e-5).sqrt()).view(-1, 1, 1, 1)), "not this norm's own"),
        (weights(lambda w, n: w * (n.weight / (n.running_var + n.eps)).view(-1, 1, 1, 1)), "not by its root"),
        (weights(lambda w, n: w * (n.weight / (n.running_var.sqrt() + n.eps)).view(-1, 1, 1, 1)), "added to the root"),
        (weights(lambda w, n: w * (n.weight * (n.running_var + n.eps).sqrt()).view(-1, 1, 1, 1)), "Divide by it"),
        (weights(lambda w, n: w * scale_of(n)), "columns of each kernel"),
        (weights(lambda w, n: w * scale_of(n)[:, None]), "rows of each kernel"),
        (weights(lambda w, n: w * scale_of(n)[None, :, None, None]), "input channels"),
        (weights(lambda w, n: w.flatten(1) * scale_of(n)[:, None]), "the shape is"),
        (biases(lambda s, b, m, beta: s * (b - m)), "lacks beta"),
        (biases(lambda s, b, m, beta: beta), "beta alone"),
        (biases(lambda s, b, m, beta: s * (b + m) + beta), "mean is added"),
        (biases(lambda s, b, m, beta: s * (b - m + beta)), "beta is multiplied"),
        (biases(lambda s, b, m, beta: s * b - m + beta), "mean is not scaled"),
        (biases(lambda s, b, m, beta: b - s * m + beta), "own bias is not scaled"),
        (biases(lambda s, b, m, beta: beta - s * m), "own bias is lost"),
        (biases(lambda s, b, m, beta: s * (b - m) + beta + 1), "numbers differ"),
        (in_place, "changes `weight` of the Conv2d"),
        (no_bias, "the bias is None"),
        (lambda conv, norm: fold(conv, norm)[0], "Return two tensors"),
        (lambda conv, norm: conv, "gives a module"),
        (lambda conv, norm: (fold(conv, norm)[0] * torch.nan, fold(conv, norm)[1]), "NaN"),
        (lambda conv, norm: (fold(conv, norm)[0].tolist(), fold(conv, norm)[1]), "not a tensor"),
    ],
)
def test_wrong_folds_are_refused_with_the_likely_mistake(wrong, said):
    refused(checks.fold_batch_norm, wrong, said)


def composed(weight=None, bias=None):
    def answer(first, second):
        matrix = second.weight[:, :, 0, 0]
        right = compose(first, second)
        return (
            right[0] if weight is None else weight(first.weight, matrix),
            right[1] if bias is None else bias(first.bias, matrix, second.bias),
        )

    return answer


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (composed(lambda w, v: torch.einsum("mo,mikl->oikl", v, w)), "transposed"),
        (composed(lambda w, v: torch.einsum("om,mikl->iokl", v, w)), "changed places"),
        (composed(lambda w, v: torch.einsum("om,mikl->oikl", v, w).flip(2, 3)), "upside down"),
        (composed(lambda w, v: torch.einsum("omkl,mi->oikl", w, v)), "wrong way round"),
        (composed(lambda w, v: w * v[:, :, None, None]), "number by number"),
        (composed(lambda w, v: w), "first convolution's own"),
        (composed(bias=lambda b, v, c: c), "first convolution's bias is lost"),
        (composed(bias=lambda b, v, c: v @ b), "second convolution's bias is lost"),
        (composed(bias=lambda b, v, c: b + c), "biases are added"),
        (composed(bias=lambda b, v, c: v.t() @ b + c), "V is transposed"),
        (composed(bias=lambda b, v, c: c + b.sum()), "once to every output"),
        (lambda first, second: nn.Sequential(first, second), "gives a module"),
        (lambda first, second: None, "gives nothing"),
    ],
)
def test_wrong_compositions_are_refused_with_the_likely_mistake(wrong, said):
    refused(checks.compose_convolutions, wrong, said)


def slow(coarse, fine, weight, bias, **options):
    return F.conv2d(torch.cat([up(coarse, fine, **options), fine], dim=1), weight, bias)


def parts(join, fine_bias=True, coarse_bias=False, **options):
    def answer(coarse, fine, weight, bias):
        ahead, behind = split(coarse, weight)
        small = F.conv2d(coarse, ahead, bias if coarse_bias else None)
        return join(up(small, fine, **options), F.conv2d(fine, behind, bias if fine_bias else None))

    return answer


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (slow, "still enlarged"),
        (lambda c, f, w, b: F.conv2d(up(c, f), split(c, w)[0], b) + F.conv2d(f, split(c, w)[1]), "still enlarged"),
        (parts(torch.add, True, True), "added twice"),
        (parts(torch.add, False, False), "bias is missing"),
        (parts(torch.add, mode="bilinear", align_corners=False), "align_corners=False"),
        (parts(torch.add, mode="bilinear"), "align_corners=False"),
        (parts(torch.add, mode="nearest"), "nearest"),
        (parts(lambda c, f: f), "Only the fine"),
        (parts(lambda c, f: c, coarse_bias=True), "Only the coarse"),
        (parts(lambda c, f: (c + f).relu()), "ReLU"),
        (parts(lambda c, f: (c + f).detach()), "no gradient flows"),
        (parts(lambda c, f: c.detach() + f), "gradient of the input"),
        (parts(lambda c, f: torch.cat([c, f], dim=1)), "the shape is"),
    ],
)
def test_wrong_heads_are_refused_with_the_likely_mistake(wrong, said):
    refused(checks.convolve_first, wrong, said)


def test_columns_in_the_other_order():
    def swapped(coarse, fine, weight, bias):
        behind, ahead = weight.split([fine.shape[1], coarse.shape[1]], dim=1)
        return up(F.conv2d(coarse, ahead), fine) + F.conv2d(fine, behind, bias)

    refused(checks.convolve_first, swapped, "split at the wrong place")
