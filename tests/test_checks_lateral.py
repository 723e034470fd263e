"""The checks of notebook 04 against right answers and typical wrong ones: they must tell them apart, and say why."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer

from birefnet_lite.course import checks


def per_cell(x, weight, bias):
    """A linear layer at every cell."""
    return F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)


def by_numpy(old, new):
    """Linear interpolation of each old cell's own row, as NumPy does it."""
    place = np.linspace(0, old - 1, new)
    return torch.tensor(np.stack([np.interp(place, np.arange(old), row) for row in np.eye(old)], axis=1)).float()


def up(x, like, **options):
    return F.interpolate(x, size=like.shape[-2:], **{"mode": "bilinear", "align_corners": True} | options)


def apart(full, half, weight, bias):
    ahead, behind = weight.chunk(2, dim=1)
    return per_cell(full, ahead, bias) + up(per_cell(half, behind, None), full)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.lateral_conv, per_cell),
        (checks.resize_matrix, by_numpy),
        (checks.lateral_apart, apart),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution, praise="Right", silence="NoneType and not a tensor")


def as_rows(x):
    """(B, C, H, W) to (B, H * W, C) by reshape alone, which mixes the cells up."""
    return x.reshape(x.shape[0], -1, x.shape[1])


def as_map(rows, x):
    return rows.reshape(x.shape[0], -1, *x.shape[-2:])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, w, b: per_cell(x, w, 0 * b), "bias is missing"),
        (lambda x, w, b: per_cell(x, w, b).relu(), "no activation"),
        (lambda x, w, b: F.linear(x.movedim(1, -1), w, b), "channels come last"),
        (lambda x, w, b: as_map(F.linear(x.flatten(2).transpose(1, 2), w, b), x), "moved back by `reshape`"),
        (lambda x, w, b: as_map(F.linear(as_rows(x), w, b).transpose(1, 2), x), "does not move the channels"),
        (lambda x, w, b: as_map(F.linear(as_rows(x), w, b), x), "neither"),
        (lambda x, w, b: F.linear(x, w, b), "shapes do not fit"),
        (lambda x, w, b: per_cell(x, w.T if w.shape[0] == w.shape[1] else w, b), "its rows, axis 0"),
        (lambda x, w, b: per_cell(x, w, None) + (b if len(b) == x.shape[3] else b[:, None, None]), "along the width"),
        (
            lambda x, w, b: per_cell(x, w, None) + (b[:, None] if len(b) == x.shape[2] else b[:, None, None]),
            "along the height",
        ),
        (lambda x, w, b: per_cell(x, w, b).detach(), "no gradient flows"),
        (lambda x, w, b: per_cell(x, w, b.detach()), "with respect to bias"),
        (lambda x, w, b: per_cell(x, w, b) * float("nan"), "NaN"),
        (lambda x, w, b: per_cell(x, w, 2 * b), "added twice"),
    ],
)
def test_wrong_convolutions_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.lateral_conv(wrong)
    assert result.passed is False
    assert said in result.message


def tents(place, old):
    return (1 - (place[:, None] - torch.arange(old)).abs()).clamp(min=0)


def evenly(old, new):
    return torch.linspace(0, old - 1, new)


def far_first(old, new):
    down = evenly(old, new) % 1
    first = evenly(old, new).floor()
    near, far = tents(first, old), tents((first + 1).clamp(max=old - 1), old)
    return down[:, None] * near + (1 - down[:, None]) * far


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda old, new: by_numpy(old, new).T, "wrong way round"),
        (
            lambda old, new: F.interpolate(torch.eye(old)[None], size=new, mode="linear")[0].T,
            "align_corners=False",
        ),
        (lambda old, new: tents((torch.arange(new) * old / new).clamp(max=old - 1), old), "not at i * old / new"),
        (lambda old, new: tents(torch.arange(new) * old / new, old), "not at i * old / new"),
        (lambda old, new: 0.9 * by_numpy(old, new), "should add up to 1"),
        (lambda old, new: tents(torch.arange(new) * ((old - 1) / new), old), "not by new"),
        (lambda old, new: tents(evenly(old, new).round(), old), "nearest old one only"),
        (lambda old, new: tents(evenly(old, new).floor(), old), "one before it only"),
        (far_first, "exchanged"),
        (lambda old, new: by_numpy(old, new) if new > 1 else tents(torch.tensor([(old - 1) / 2]), old), "place 0"),
        (lambda old, new: by_numpy(old, new).round().int(), "fractions"),
        (lambda old, new: by_numpy(old, new).numpy(), "ndarray and not a tensor"),
        (lambda old, new: tents(torch.arange(new) * ((old - 1) / (new - 1)), old), "divide by 0"),
        (lambda old, new: tents(torch.arange(new) * (torch.tensor(old - 1) / (new - 1)), old), "NaN"),
        (lambda old, new: by_numpy(old, new).flip(0), "numbers differ"),
    ],
)
def test_wrong_matrices_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.resize_matrix(wrong)
    assert result.passed is False
    assert said in result.message


def halves(weight):
    return weight.chunk(2, dim=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda f, h, w, b: apart(f, h, torch.cat(halves(w)[::-1], dim=1), b), "exchanged"),
        (lambda f, h, w, b: apart(f, h, torch.cat([halves(w)[0]] * 2, dim=1), b), "first half of the weight"),
        (lambda f, h, w, b: apart(f, h, w, 2 * b), "bias is there twice"),
        (lambda f, h, w, b: apart(f, h, w, 0 * b), "bias is missing"),
        (
            lambda f, h, w, b: (
                per_cell(f, halves(w)[0], b) + up(per_cell(h, halves(w)[1], None), f, align_corners=False)
            ),
            "align_corners=False",
        ),
        (
            lambda f, h, w, b: (
                per_cell(f, halves(w)[0], b) + F.interpolate(per_cell(h, halves(w)[1], None), size=f.shape[-2:])
            ),
            "nearest neighbours",
        ),
        (lambda f, h, w, b: per_cell(f, halves(w)[0], b), "half-size photo is missing"),
        (
            lambda f, h, w, b: torch.cat([per_cell(f, halves(w)[0], b), up(per_cell(h, halves(w)[1], None), f)], dim=1),
            "add them",
        ),
        (lambda f, h, w, b: per_cell(torch.cat([f, up(h, f)], dim=1), w, b), "enlarged and convolved later"),
        (lambda f, h, w, b: apart(f, h.detach(), w, b), "with respect to half"),
        (lambda f, h, w, b: up(apart(f, h, w, b), h), "the shape is"),
        (lambda f, h, w, b: apart(f, h, w, b) * 1.01, "numbers differ"),
    ],
)
def test_wrong_ways_apart_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.lateral_apart(wrong)
    assert result.passed is False
    assert said in result.message


def test_an_answer_without_interpolate_passes_too():
    def by_matrix(full, half, weight, bias):
        ahead, behind = halves(weight)
        down, right = (by_numpy(old, new) for old, new in zip(half.shape[-2:], full.shape[-2:], strict=True))
        small = per_cell(half, behind, None)
        return per_cell(full, ahead, bias) + torch.einsum("Hh,bchw,Ww->bcHW", down, small, right)

    assert checks.lateral_apart(by_matrix).passed is True


def test_an_enlarged_mask_may_be_truth_values():
    result = checks.enlarge_mask(lambda cells, photo: up(cells, photo, align_corners=False) > 0.5)
    assert result.passed is True, result.message
