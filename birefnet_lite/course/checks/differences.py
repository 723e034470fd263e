"""Relate a wrong result to the right one: a sign, a factor, a flipped axis, a missing sigmoid."""

from collections.abc import Callable, Iterator
from itertools import permutations

import torch
from torch import Tensor

__all__ = ["difference_of_numbers", "difference_of_shapes"]


def difference_of_numbers(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    """Return a sentence on how two tensors of one shape differ, or None where no simple relation holds."""
    got, wanted = got.detach().double(), wanted.detach().double()
    scale = float(wanted.abs().max())
    if scale == 0 or not torch.isfinite(wanted).all():
        return None
    tolerance = max(tolerance, 1e-5 * scale)

    def same(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and bool((a - b).abs().max() <= tolerance)

    if not got.any():
        return "Your result is 0 everywhere."
    if same(got, -wanted):
        return "Only the sign is wrong."
    for said, change in _CHANGES.items():
        if same(got, change(wanted)) and not same(wanted, change(wanted)):
            return said
    if part := _in_part(got, wanted, tolerance):
        return part
    for sentence, moved in _moved(wanted):
        if same(got, moved):
            return sentence
    return _factor_or_offset(got, wanted, tolerance) or _rounded(got, wanted, scale)


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "Your result is the sigmoid of the right one.": torch.sigmoid,
    "Your result has gone through two sigmoids too many.": lambda x: x.sigmoid().sigmoid(),
    "Your result is the right one behind a ReLU: negative numbers are lost.": torch.relu,
    "Your result is the right one without its sign.": torch.abs,
    "Your result is the tanh of the right one.": torch.tanh,
    "A sigmoid is missing: these are logits.": lambda x: x.clamp(1e-12, 1 - 1e-12).logit(),
    "Your result is 1 minus the right one.": lambda x: 1 - x,
    "Your result is the square of the right one.": torch.square,
    "Your result is the exponential of the right one.": torch.exp,
    "Your result is the right one, cut to 0 to 1.": lambda x: x.clamp(0, 1),
    "Your result is the right one, rounded to whole numbers.": torch.round,
    "Your result is the right one, rounded down to whole numbers.": torch.floor,
    "Your result is the right one, cut to whole numbers.": torch.trunc,
    "Your result is a softmax over the channels of the right one.": lambda x: x.softmax(1) if x.ndim > 1 else x,
    "Your result is a softmax over the cells of the right one.": (
        lambda x: x.flatten(2).softmax(2).reshape(x.shape) if x.ndim == 4 else x
    ),
}


def _factor_or_offset(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    factor = float((got * wanted).sum() / wanted.square().sum())
    if abs(factor) > 1e-9 and float((got - factor * wanted).abs().max()) <= tolerance * max(1.0, abs(factor)):
        return f"Your result is {factor:.4g} times the right one everywhere."
    offset = float((got - wanted).mean())
    if got.numel() > 1 and float((got - wanted - offset).abs().max()) <= tolerance:
        return f"Your result differs by {offset:.4g} everywhere."
    if got.ndim == 4:
        shift = (got - wanted).mean(dim=(0, 2, 3), keepdim=True)
        if got.shape[1] > 1 and float((got - wanted - shift).abs().max()) <= tolerance:
            return "Your result differs by one number for each channel: look at the bias."
        norms = wanted.square().sum(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
        scales = (got * wanted).sum(dim=(0, 2, 3), keepdim=True) / norms
        if got.shape[1] > 1 and float((got - scales * wanted).abs().max()) <= tolerance:
            return "Each channel is off by a factor of its own."
    return None


def _rounded(got: Tensor, wanted: Tensor, scale: float) -> str | None:
    error = float((got - wanted).abs().max()) / scale
    if error < 2e-3 and bool((got.half().double() == got).all()):
        return "Your numbers have three digits: half precision is at work somewhere."
    if error < 1e-3:
        return "Your numbers are close: a rounding, an epsilon or a constant may be the reason."
    return None


def _in_part(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    close = (got - wanted).abs() <= tolerance
    if got.ndim >= 2 and got.shape[0] > 1 and bool(close[0].all()) and not bool(close[1:].all()):
        return "The first image of the batch is right, the others are not: each has numbers of its own."
    if got.ndim == 4:
        if got.shape[1] > 1 and bool(close[:, 0].all()) and not bool(close[:, 1:].all()):
            return "The first channel is right, the others are not."
        for width in (1, 2):
            inside = close[..., width:-width, width:-width]
            if inside.numel() and bool(inside.all()):
                return "The inside is right, and only the border is wrong: look at the padding."
    share = float(close.double().mean())
    if share >= 0.5:
        return f"{share:.0%} of the numbers are right."
    return None


def _moved(wanted: Tensor) -> Iterator[tuple[str, Tensor]]:
    names = {4: ("images", "channels", "rows", "columns")}.get(wanted.ndim)
    for axis in range(wanted.ndim):
        if wanted.shape[axis] > 1:
            name = names[axis] if names else f"values along axis {axis}"
            yield f"The {name} run the other way round.", wanted.flip(axis)
            yield f"The {name} are shifted by one.", wanted.roll(1, axis)
            yield f"The {name} are shifted by one.", wanted.roll(-1, axis)
    for axes in permutations(range(wanted.ndim)) if 2 <= wanted.ndim <= 4 else ():
        if list(axes) != sorted(axes):
            moved = wanted.permute(*axes)
            if moved.shape == wanted.shape:
                yield "Two axes have changed places.", moved
            yield (
                "The numbers are in another order: is there a reshape where a permute is needed?",
                moved.reshape(wanted.shape),
            )


def difference_of_shapes(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    """Return a sentence on two tensors of different shapes, or None where they have nothing in common."""
    if got.numel() == wanted.numel() and (said := _same_count(got.detach(), wanted.detach(), tolerance)):
        return said
    if wanted.ndim == got.ndim == 4:
        ours, theirs = tuple(got.shape), tuple(wanted.shape)
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
    if wanted.ndim == 0:
        return "The result should be one number: take the mean or the sum over all axes."
    for axis in range(wanted.ndim if got.ndim == wanted.ndim - 1 else 0):
        if got.shape == wanted.shape[:axis] + wanted.shape[axis + 1 :]:
            return f"Axis {axis} is missing: is it summed over, or is one entry of it taken?"
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
