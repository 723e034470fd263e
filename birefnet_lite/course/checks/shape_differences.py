"""Relate the shape of a wrong result to the right one: an axis too many, a missing border, a mean over the channels."""

from collections.abc import Callable, Iterator
from itertools import permutations

import torch
from torch import Tensor

from birefnet_lite.course.checks.differences import MAP, Axes, name_entries

__all__ = ["difference_of_axes", "difference_of_shapes"]


def difference_of_shapes(got: Tensor, wanted: Tensor, tolerance: float, axes: Axes = MAP) -> str | None:
    """Return a sentence on two tensors of different shapes, or None where they have nothing in common."""
    if got.numel() == wanted.numel() and (said := _same_count(got.detach(), wanted.detach(), tolerance)):
        return said
    if said := _lessened(got.detach().double(), wanted.detach().double(), tolerance, axes):
        return said
    return difference_of_axes(tuple(got.shape), tuple(wanted.shape), axes)


def difference_of_axes(ours: tuple[int, ...], theirs: tuple[int, ...], axes: Axes = MAP) -> str | None:
    """Return a sentence on two different shapes, the learner's and the right one, or None."""
    if len(theirs) == len(ours) == 4 and axes == MAP:
        if theirs[1] == 1 < theirs[0] == ours[0] == ours[1] and ours[2:] == theirs[2:]:
            return "Each image meets every image of the batch. Did a mean or a sum lose its axis? Give it keepdim=True."
        if ours[:2] == theirs[:2] and ours[2:] != (1, 1):
            lost = (theirs[2] - ours[2], theirs[3] - ours[3])
            if lost[0] == lost[1] and 0 < lost[0] <= 6:
                return "The map has lost its border: a convolution of k x k keeps the size with padding=k // 2."
            return "Height and width are wrong: to which size is the map resized?"
        if ours[0] == theirs[0] and ours[2:] == theirs[2:]:
            return "The number of channels is wrong: what is concatenated, and what is added?"
        if ours[1:] == theirs[1:]:
            return "The number of images is wrong: does every image of the batch come through?"
        if ours[0] * ours[1] == theirs[0] * theirs[1] and ours[2:] == theirs[2:]:
            return "Batch and channels are mixed up: something is stacked on the batch that belongs to the channels."
        if ours[:2] == theirs[:2]:
            return "Only one cell comes out. The result has a number for each cell of the map."
    if not theirs:
        return "The result should be one number: take the mean or the sum over all axes, the batch's too."
    for axis in range(len(theirs) if len(ours) == len(theirs) - 1 else 0):
        if ours == theirs[:axis] + theirs[axis + 1 :]:
            return f"Axis {axis} is missing: is it summed over, or is one entry of it taken?"
    for axis in range(len(ours) if len(ours) == len(theirs) + 1 else 0):
        if theirs == ours[:axis] + ours[axis + 1 :]:
            few = f"of length {ours[axis]}"
            return (
                f"Axis {axis}, {few}, is one too many: a sum or a mean over it is missing, or one entry is to be taken."
            )
    if sorted(ours) == sorted(theirs):
        return "The axes are in another order."
    return None


def _same_count(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    if got.ndim == wanted.ndim <= 4:
        for axes in permutations(range(wanted.ndim)):
            moved = wanted.permute(*axes)
            if moved.shape == got.shape and torch.allclose(moved.double(), got.double(), atol=max(tolerance, 1e-6)):
                return "The numbers are right, but the axes are in another order: bring them back with permute."
    ours, theirs = [n for n in got.shape if n != 1], [n for n in wanted.shape if n != 1]
    if ours == theirs and torch.allclose(got.flatten().double(), wanted.flatten().double(), atol=max(tolerance, 1e-6)):
        few = "is one axis too many" if got.ndim > wanted.ndim else "is an axis missing"
        return f"The numbers are right, but there {few}." if got.ndim != wanted.ndim else "An axis is in another place."
    return None


def _lessened(got: Tensor, wanted: Tensor, tolerance: float, axes: Axes) -> str | None:
    """Say where one of the two is a mean, a sum or a piece of the other."""

    def same(a: Tensor, b: Tensor) -> bool:
        a, b = a.squeeze(), b.squeeze()
        return a.shape == b.shape and torch.allclose(a, b, atol=max(tolerance, 1e-6), rtol=1e-5)

    if got.numel() == 0 or not torch.isfinite(got).all():
        return None
    for small, large, said in (
        (got, wanted, "Your result is the right one, {}."),
        (wanted, got, "A step is missing: your result is right once it is {}."),
    ):
        if small.numel() >= large.numel():
            continue
        for group, where in _groups(axes, large.ndim):
            if same(small, large.mean(dim=group)):
                return said.format(f"averaged over {where}")
            if same(small, large.sum(dim=group)):
                return said.format(f"added up over {where}")
            if same(small, large.amax(dim=group)):
                return said.format(f"reduced to the largest value over {where}")
    if got.ndim == wanted.ndim:
        return _piece(got, wanted, same, axes)
    return None


def _groups(axes: Axes, count: int) -> Iterator[tuple[tuple[int, ...], str]]:
    for axis in range(count):
        yield (axis,), f"the {name_entries(axes, count, axis)}"
    if count == 4:
        cells = "the cells of each map" if axes == MAP else "the cells of each kernel"
        yield from (((2, 3), cells), ((1, 2, 3), f"each {axes[0]}"), ((0, 2, 3), f"all but the {axes[1]}s"))
    if count > 1:
        yield tuple(range(count)), "all values"


def _piece(got: Tensor, wanted: Tensor, same: Callable[[Tensor, Tensor], bool], axes: Axes) -> str | None:
    for axis in range(wanted.ndim):
        ours, theirs, name = got.shape[axis], wanted.shape[axis], name_entries(axes, wanted.ndim, axis)
        if got.shape[:axis] + got.shape[axis + 1 :] != wanted.shape[:axis] + wanted.shape[axis + 1 :]:
            continue
        few, large, small = min(ours, theirs), got if ours > theirs else wanted, wanted if ours > theirs else got
        many = abs(ours - theirs)
        if ours < theirs:
            said = f"Your {name} are right, but {'one is' if many == 1 else f'{many} are'} missing at the"
        else:
            said = f"Of your {name}, {'one is' if many == 1 else f'{many} are'} too many, at the"
        for end, start in (("end", 0), ("front", many)):
            if same(large.narrow(axis, start, few), small):
                return f"{said} {end}."
    if wanted.ndim == 4 and got.shape[:2] == wanted.shape[:2] and min(got.shape[2:]) > 1:
        for step, ordinal in ((2, "second"), (4, "4th"), (8, "8th")):
            if same(wanted[..., ::step, ::step], got):
                return f"Only every {ordinal} row and column comes out: is there a stride?"
        rows, columns = got.shape[2] - wanted.shape[2], got.shape[3] - wanted.shape[3]
        if rows == columns and rows > 0 and rows % 2 == 0:
            edge = rows // 2
            if same(got[..., edge:-edge, edge:-edge], wanted):
                return f"There is a border of {edge} too many at each side: the padding is too wide."
    return None
