"""Relate the numbers of a wrong result to the right ones: a sign, a factor, a flipped axis, a missing sigmoid."""

from collections.abc import Callable, Iterator
from itertools import permutations

import torch
from torch import Tensor

__all__ = ["MAP", "WEIGHT", "Axes", "difference_of_numbers", "factor_between", "name_entries"]

Axes = tuple[str, str, str, str]
MAP: Axes = ("image", "channel", "row", "column")
"""The name of one entry along each axis of a map, (B, C, H, W)."""
WEIGHT: Axes = ("output channel", "input channel", "row", "column")
"""The name of one entry along each axis of a convolution's weight, (O, C, k, k)."""


def difference_of_numbers(got: Tensor, wanted: Tensor, tolerance: float, axes: Axes = MAP) -> str | None:
    """Return a sentence on how two tensors of one shape differ, or None where no simple relation holds.

    axes: The name of one entry along each axis, for tensors of four axes.
    """
    got, wanted = got.detach().double(), wanted.detach().double()
    scale = float(wanted.abs().max())
    if scale == 0 or not torch.isfinite(wanted).all():
        return None
    tolerance = max(tolerance, 1e-5 * scale)

    def same(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and bool((a - b).abs().max() <= tolerance)

    if not got.any():
        return "Your result is 0 everywhere."
    if said := _uniform(got, wanted, axes):
        return said
    if same(got, -wanted):
        return "Only the sign is wrong."
    for said, change in _CHANGES.items():
        if same(got, change(wanted)) and not same(wanted, change(wanted)):
            return said
    if part := _in_part(got, wanted, tolerance, axes):
        return part
    for sentence, moved in _moved(wanted, axes):
        if same(got, moved):
            return sentence
    return _factor_or_offset(got, wanted, tolerance) or _rounded(got, wanted, scale)


def _uniform(got: Tensor, wanted: Tensor, axes: Axes) -> str | None:
    """Say where a result is the same all over, and the right one is not."""

    def varies(x: Tensor, axis: int) -> bool:
        return bool((x - x.narrow(axis, 0, 1)).abs().max() > 1e-6 * wanted.abs().max())

    if got.numel() > 1 and bool((got == got.flatten()[0]).all()):
        return f"Your result is {float(got.flatten()[0]):.4g} everywhere: something is averaged or added up over all."
    if got.ndim == 4:
        for axis, name in enumerate(axes):
            if got.shape[axis] > 1 and varies(wanted, axis) and not varies(got, axis):
                return f"Every {name} of your result is the same: is one taken for all, or a mean over them?"
    return None


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
    "Your result is the square root of the right one.": torch.sqrt,
    "Your result is the logarithm of the right one.": torch.log,
    "Your result is minus the logarithm of the right one.": lambda x: -x.log(),
    "Your result is minus the logarithm of 1 less the right one.": lambda x: -(1 - x).log(),
    "Your result is the logarithm of 1 less the right one, or of its exponential.": lambda x: (1 - x).log(),
    "Your result is 1 divided by the right one.": torch.reciprocal,
    "Your result is half of the right one, and one half more: it is brought from -1 to 1 to 0 to 1.": (
        lambda x: (x + 1) / 2
    ),
    "Your result is the right one, brought from 0 to 1 to -1 to 1.": lambda x: 2 * x - 1,
    "Your result is the right one, cut to -1 to 1.": lambda x: x.clamp(-1, 1),
    "Your result is the right one, cut off above 1.": lambda x: x.clamp(max=1),
    "Your result is the right one behind a ReLU6, which ends at 6.": lambda x: x.clamp(0, 6),
    "Your result is the softplus of the right one.": torch.nn.functional.softplus,
    "Your result is the right one, divided by its largest absolute value.": lambda x: x / x.abs().max(),
    "Your result is the right one, stretched to 0 to 1.": lambda x: (x - x.min()) / (x.max() - x.min()),
    "Your result is the right one, divided by its sum.": lambda x: x / x.sum(),
    "Your result is the right one less its mean.": lambda x: x - x.mean(),
    "Your result is the right one, with mean 0 and deviation 1.": lambda x: (
        (x - x.mean()) / x.std(correction=min(1, x.numel() - 1))
    ),
    "Your result is the sign of the right one.": torch.sign,
    "Your result is 1 where the right one is positive, and 0 elsewhere: it is cut at a threshold.": (
        lambda x: (x > 0).double()
    ),
    "Your result is 1 where the right one is over 0.5, and 0 elsewhere: it is cut at a threshold.": (
        lambda x: (x > 0.5).double()
    ),
    "Your result is the right one, averaged over the channels.": lambda x: _mean_over(x, 1),
    "Your result is the right one, averaged over the batch.": lambda x: _mean_over(x, 0),
    "Your result is the right one, averaged over the map.": lambda x: _mean_over(x, (2, 3)),
    "Your result is a softmax over the channels of the right one.": lambda x: x.softmax(1) if x.ndim > 1 else x,
    "Your result is a softmax over the cells of the right one.": (
        lambda x: x.flatten(2).softmax(2).reshape(x.shape) if x.ndim == 4 else x
    ),
}


def _mean_over(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    return x.mean(dim=axes, keepdim=True).expand_as(x) if x.ndim == 4 else x


def _factor_or_offset(got: Tensor, wanted: Tensor, tolerance: float) -> str | None:
    if factor := factor_between(got, wanted, tolerance):
        return f"Your result is {factor:.4g} times the right one{' everywhere' if got.numel() > 1 else ''}."
    offset = float((got - wanted).mean())
    if got.numel() > 1 and float((got - wanted - offset).abs().max()) <= tolerance:
        return f"Your result differs by {offset:.4g} everywhere."
    if got.ndim == 4:
        shift = (got - wanted).mean(dim=(0, 2, 3), keepdim=True)
        if got[:, 0].numel() > 1 < got.shape[1] and float((got - wanted - shift).abs().max()) <= tolerance:
            return "Your result differs by one number for each channel: look at the bias."
        norms = wanted.square().sum(dim=(0, 2, 3), keepdim=True).clamp_min(1e-12)
        scales = (got * wanted).sum(dim=(0, 2, 3), keepdim=True) / norms
        if got[:, 0].numel() > 1 < got.shape[1] and float((got - scales * wanted).abs().max()) <= tolerance:
            return "Each channel is off by a factor of its own."
    return None


def factor_between(got: Tensor, wanted: Tensor, tolerance: float) -> float | None:
    """Return the factor between two tensors of one shape, or None; of single numbers only one that tells something."""
    got, wanted = got.detach().double(), wanted.detach().double()
    factor = float((got * wanted).sum() / wanted.square().sum().clamp_min(1e-300))
    if wanted.numel() == 1:  # any two numbers have a factor
        nearest = float(round(factor)) if abs(factor) >= 1 else 1 / (round(1 / factor) if abs(factor) > 1e-9 else 1)
        factor = nearest if abs(factor - nearest) <= 1e-4 * abs(nearest) else 0.0
    close = abs(factor) > 1e-9 and float((got - factor * wanted).abs().max()) <= tolerance * max(1.0, abs(factor))
    return factor if close else None


def _rounded(got: Tensor, wanted: Tensor, scale: float) -> str | None:
    error = float((got - wanted).abs().max()) / scale
    if error < 2e-3 and bool((got.half().double() == got).all()):
        return "Your numbers have three digits: half precision is at work somewhere."
    for digits in (1, 2, 3, 4):
        if float((got * 10**digits).sub((got * 10**digits).round()).abs().max()) < 1e-3 and error < 0.1:
            return f"Your numbers are rounded to {digits} digit{'s' if digits > 1 else ''} behind the point."
    if error < 1e-3:
        return "Your numbers are close: a rounding, an epsilon or a constant may be the reason."
    return None


def _in_part(got: Tensor, wanted: Tensor, tolerance: float, axes: Axes) -> str | None:
    close = (got - wanted).abs() <= tolerance
    is_picture = got.ndim == 3 and got.shape[2] == 3  # (H, W, 3)
    if got.ndim >= 2 and not is_picture and got.shape[0] > 1 and bool(close[0].all()) and not bool(close[1:].all()):
        return f"The first {axes[0]} is right, the others are not: each has numbers of its own."
    if got.ndim == 4:
        if got.shape[1] > 1 and bool(close[:, 0].all()) and not bool(close[:, 1:].all()):
            return f"The first {axes[1]} is right, the others are not."
        for width in (1, 2):
            inside = close[..., width:-width, width:-width]
            if inside.numel() and bool(inside.all()):
                return "The inside is right, and only the border is wrong: look at the padding."
    positive = wanted > 0
    if bool(positive.any()) and not bool(positive.all()) and not bool(close.all()):
        for sign, one, other in (("positive", positive, ~positive), ("negative", ~positive, positive)):
            if bool(close[one].all()) and not bool(close[other & (wanted != 0)].any()):
                return (
                    f"Your result is right where the right one is {sign}, and wrong elsewhere: is there a ReLU, a "
                    "clamp or an absolute value?"
                )
    for axis in range(got.ndim if got.numel() > 8 else 0):
        wrong = (~close).any(dim=[i for i in range(got.ndim) if i != axis]) if got.ndim > 1 else ~close
        places = wrong.nonzero()[:, 0].tolist()
        if 0 < len(places) <= got.shape[axis] // 2:
            shown = ", ".join(map(str, places[:6])) + (", ..." if len(places) > 6 else "")
            return f"All is right but the {name_entries(axes, got.ndim, axis)} {shown} (counted from 0)."
    share = float(close.double().mean())
    if share >= 0.5:
        return f"{share:.0%} of the numbers are right."
    return None


def name_entries(axes: Axes, count: int, axis: int) -> str:
    """Name the entries along one of `count` axes, in the plural."""
    return f"{axes[axis]}s" if count == 4 else f"values along axis {axis}"


def _moved(wanted: Tensor, axes: Axes) -> Iterator[tuple[str, Tensor]]:
    for axis in range(wanted.ndim):
        if wanted.shape[axis] > 1:
            name = name_entries(axes, wanted.ndim, axis)
            yield f"The {name} run the other way round.", wanted.flip(axis)
            yield f"The {name} are shifted by one.", wanted.roll(1, axis)
            yield f"The {name} are shifted by one.", wanted.roll(-1, axis)
    for order in permutations(range(wanted.ndim)) if 2 <= wanted.ndim <= 4 else ():
        if list(order) != sorted(order):
            moved = wanted.permute(*order)
            if moved.shape == wanted.shape:
                yield "Two axes have changed places.", moved
            yield (
                "The numbers are in another order: is there a reshape where a permute is needed?",
                moved.reshape(wanted.shape),
            )
