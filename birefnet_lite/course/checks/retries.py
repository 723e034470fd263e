"""Explain a wrong result as the right one for changed arguments: behind a sigmoid, without its sign, of one image."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Retry", "combined", "explain_by_arguments", "multiply"]


class Retry(NamedTuple):
    """The right function and its arguments by name, to try it on changed ones."""

    function: Callable[..., Any]
    arguments: dict[str, Tensor]
    said: str = "Your result is the right one for"


def _over(axes: int | tuple[int, ...], kind: str = "mean") -> Callable[[Tensor], Tensor]:
    def reduced(x: Tensor) -> Tensor:
        least = max(axes) if isinstance(axes, tuple) else axes
        if x.ndim < 3 or x.ndim <= least:
            return x
        return getattr(x, kind)(dim=axes, keepdim=True).expand_as(x)

    return reduced


def _on_maps(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Restrict a change to maps (B, C, H, W); it leaves other tensors as they are."""
    return lambda x: change(x) if x.ndim == 4 else x


def _channel(index: int) -> Callable[[Tensor], Tensor]:
    return _on_maps(lambda x: x[:, index : index + 1].expand_as(x) if x.shape[1] > abs(index) else x)


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "with the sign turned round": torch.neg,
    "behind a sigmoid": torch.sigmoid,
    "behind two sigmoids": lambda x: x.sigmoid().sigmoid(),
    "without the sign (an absolute value)": torch.abs,
    "behind a ReLU": torch.relu,
    "behind a tanh": torch.tanh,
    "subtracted from 1": lambda x: 1 - x,
    "cut to 0 to 1": lambda x: x.clamp(0, 1),
    "cut to -1 to 1": lambda x: x.clamp(-1, 1),
    "cut off above 1": lambda x: x.clamp(max=1),
    "cut at a threshold, 1 where it is positive": lambda x: (x > 0).to(x),
    "cut at a threshold, 1 where it is over 0.5": lambda x: (x > 0.5).to(x),
    "rounded to whole numbers": torch.round,
    "rounded down to whole numbers": torch.floor,
    "reduced to its sign": torch.sign,
    "doubled": lambda x: 2 * x,
    "halved": lambda x: x / 2,
    "squared": torch.square,
    "with its square root taken": torch.sqrt,
    "with its logarithm taken": torch.log,
    "turned into 1 / x": torch.reciprocal,
    "divided by 255": lambda x: x / 255,
    "multiplied by 255": lambda x: x * 255,
    "divided by its largest absolute value": lambda x: x / x.abs().amax(),
    "divided by its largest absolute value, image by image": _on_maps(
        lambda x: x / x.abs().amax(dim=(1, 2, 3), keepdim=True)
    ),
    "stretched to 0 to 1": lambda x: (x - x.amin()) / (x.amax() - x.amin()),
    "less its mean": lambda x: x - x.mean(),
    "brought to mean 0 and deviation 1": lambda x: (x - x.mean()) / x.std(correction=min(1, x.numel() - 1)),
    "set to 0": torch.zeros_like,
    "set to 1": torch.ones_like,
    "with every value replaced by its mean": lambda x: x.mean().expand_as(x),
    "of the first image, for the whole batch": lambda x: x[:1].expand_as(x) if x.ndim > 1 else x,
    "of the last image, for the whole batch": lambda x: x[-1:].expand_as(x) if x.ndim > 1 else x,
    "averaged over the batch": _over(0),
    "with the images in reverse": _on_maps(lambda x: x.flip(0)),
    "with its first channel for all": _channel(0),
    "with its second channel for all": _channel(1),
    "with its third channel for all": _channel(2),
    "averaged over its channels": _over(1),
    "reduced to the largest of its channels": _over(1, "amax"),
    "reduced to the smallest of its channels": _over(1, "amin"),
    "reduced to the median of its channels": _on_maps(lambda x: x.median(dim=1, keepdim=True).values.expand_as(x)),
    "behind a softmax over the channels": _on_maps(lambda x: x.softmax(1)),
    "behind a softmax over each row": _on_maps(lambda x: x.softmax(-1)),
    "behind a softmax over all cells": _on_maps(lambda x: x.flatten(2).softmax(2).reshape(x.shape)),
    "averaged over each map": _over((2, 3)),
    "reduced to the largest of each map": _over((2, 3), "amax"),
    "averaged over each image": _over((1, 2, 3)),
    "averaged over all its axes but the first": (
        lambda x: x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x) if x.ndim > 1 else x
    ),
    "averaged over each row": _over(3),
    "averaged over each column": _over(2),
    "with its channels in reverse": _on_maps(lambda x: x.flip(1)),
    "upside down": _on_maps(lambda x: x.flip(2)),
    "mirrored": _on_maps(lambda x: x.flip(3)),
    "turned by half a turn": _on_maps(lambda x: x.flip(2, 3)),
    "with height and width exchanged": _on_maps(lambda x: x.transpose(2, 3)),
    "with its first two axes exchanged": lambda x: x.transpose(0, 1) if x.ndim > 1 else x,
    "in reverse": lambda x: x.flip(0),
    "shifted by one": lambda x: x.roll(1, 0),
    "shifted by one the other way": lambda x: x.roll(-1, 0),
    "blurred by the mean of 3 x 3 cells": _on_maps(
        lambda x: F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    ),
    "as every second row and column, repeated": _on_maps(lambda x: F.interpolate(x[..., ::2, ::2], x.shape[-2:])),
}


@torch.no_grad()
def explain_by_arguments(got: Tensor, wanted: Tensor, retry: Retry, tolerance: float) -> str | None:
    """Return the sentence that says for which changed argument `got` would be right, or None."""
    got, allowed = got.detach().double(), max(tolerance, 1e-5 * float(wanted.abs().max()))
    for said, arguments in _attempts(retry.arguments):
        try:
            result = retry.function(**arguments)
        except (RuntimeError, ValueError, IndexError):
            continue
        if isinstance(result, Tensor) and _same(got, result, allowed) and not _same(wanted, result, allowed):
            return f"{retry.said} {said}."
    return None


def _same(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and bool((a.double() - b.double()).abs().max() <= tolerance)


def _attempts(arguments: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    plain = {name: x.detach() for name, x in arguments.items()}
    for said, change in _CHANGES.items():
        for name, x in plain.items():
            if x.is_floating_point():
                try:
                    changed = change(x)
                except (IndexError, RuntimeError):  # a number has no axis to turn round
                    continue
                if changed.shape == x.shape and bool(torch.isfinite(changed).all()) and not torch.equal(changed, x):
                    yield f"{_quoted(name)} {said}", plain | {name: changed}
    for one, other in combinations(plain, 2):
        yield f"{_quoted(one)} and {_quoted(other)} exchanged", plain | {one: plain[other], other: plain[one]}


def _quoted(name: str) -> str:
    """An argument's name stands in quotes, that of a step, such as "the edges", does not."""
    return name if " " in name else f"`{name}`"


def multiply(**factors: Tensor) -> Tensor:
    """Return the product of two arguments, whatever their names."""
    one, other = factors.values()
    return one * other


def combined(parts: Sequence[Tensor], each: str, right: str) -> dict[str, Tensor]:
    """Return wrong combinations of the losses of several maps or images, under what is wrong with each.

    Args:
        parts: The losses, single numbers.
        each: The name of one of the things, such as "map".
        right: The advice at the end of each sentence.
    """
    x = torch.stack([part.detach() for part in parts])
    if len(x) < 2:
        return {}
    places = torch.arange(len(x)).to(x)
    found = {
        f"The losses of the {each}s are multiplied.": x.prod(),
        f"The largest of the losses of the {each}s is taken.": x.max(),
        f"The smallest of the losses of the {each}s is taken.": x.min(),
        f"The median of the losses of the {each}s is taken.": x.median(),
        f"The losses of the {each}s are squared.": x.square().sum(),
        f"The losses of the {each}s are squared, and averaged.": x.square().mean(),
        f"The losses of the {each}s are squared, and the root is taken of their sum.": x.norm(),
        f"The loss of the first {each} is taken away.": 2 * x[0] - x.sum(),
        f"Only the first {each} counts.": x[0],
        f"Only the last {each} counts.": x[-1],
        f"Only the last {each} counts, divided by their number.": x[-1] / len(x),
        f"The first {each} counts twice.": x.sum() + x[0],
        f"The last {each} counts twice.": x.sum() + x[-1],
        f"The first {each} is left out.": x[1:].sum(),
        f"The last {each} is left out.": x[:-1].sum(),
        f"The sum of the {each}s begins with 1. It begins with 0.": x.sum() + 1,
        f"The {each}s are averaged.": x.mean(),
        f"The {each}s are added up.": x.sum(),
        "The loss is taken twice.": 2 * x.sum(),
        f"The {each}s have weights: each counts half as much as the one before.": (x * 0.5**places).sum(),
        f"The {each}s have weights: each counts twice as much as the one before.": (x * 2.0**places).sum(),
        f"The {each}s have weights: each counts half as much as the one behind it.": (x * 0.5 ** places.flip(0)).sum(),
        f"The {each}s have weights, 1, 2, 3 and so on.": (x * (places + 1)).sum(),
        f"The {each}s have weights, 0, 1, 2 and so on.": (x * places).sum(),
        f"The {each}s have weights, 1, 1/2, 1/3 and so on.": (x / (places + 1)).sum(),
        f"The mean of the {each}s is divided by their number once more.": x.mean() / len(x),
        f"The logarithm of the losses of the {each}s is taken.": x.log().sum(),
    }
    return {f"{said} {right}": value for said, value in found.items()}
