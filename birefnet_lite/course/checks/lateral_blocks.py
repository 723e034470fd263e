"""Exercises of notebook 04: the 1x1 convolution as a matrix, resizing as a matrix, and how the two change places."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from birefnet_lite.course.checks.calls import fitting
from birefnet_lite.course.checks.compare import Mistakes, compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.resize import resize

__all__ = ["lateral_apart", "lateral_conv", "resize_matrix"]


@check("Right: one matrix, the same at every cell.")
def lateral_conv(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """`lateral_conv(x, weight, bias)`: (B, C, H, W), (O, C) and (O,) to (B, O, H, W)."""
    for shape, outputs in (((2, 3, 4, 5), 6), ((1, 4, 4, 4), 4), ((1, 2, 1, 7), 5)):
        x = torch.randn(shape, requires_grad=True)
        weight = torch.randn(outputs, shape[1], requires_grad=True)
        bias = torch.randn(outputs, requires_grad=True)
        where = f"For x of {shape} and a weight of {tuple(weight.shape)}"
        wanted = _conv(x, weight, bias)
        try:
            with _Convolution() as convolution:
                got = answer(x, weight, bias)
        except NotImplementedError:  # a RuntimeError, too
            raise
        except RuntimeError as error:
            if not any(word in str(error).lower() for word in ("size", "shape", "dimension", "subscript", "operand")):
                raise
            raise Wrong(
                f"{where}, shapes do not fit somewhere inside: {error}\nThe second axis of the weight, C, meets the "
                "channels of x, which are axis 1 and not the last one. The bias belongs to axis 1 too."
            ) from error
        compare(got, wanted, where, 1e-5, _conv_mistakes(x, weight, bias))
        for name, source in {"x": x, "weight": weight, "bias": bias}.items():
            compare_gradient(got, wanted, source, f"{where}, with respect to {name}", 1e-3)
        if convolution.found:
            raise Wrong("The numbers are right, but a convolution gives them. Write it as a product of matrices.")


class _Convolution(TorchDispatchMode):
    """Notes whether a convolution runs, by whatever function."""

    found = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= "convolution" in str(function)
        return function(*args, **(kwargs or {}))


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)


def _conv_mistakes(x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    batch, channels, height, width = x.shape
    outputs = len(weight)
    wanted, bare = _conv(x, weight, bias), _conv(x, weight, None)
    torn = x.reshape(batch, height * width, channels) @ weight.T + bias  # (B, H * W, O)
    mistakes = {
        "The bias is missing.": bare,
        "You take the mean over the channels. A product of matrices is a sum.": bare / channels + bias[:, None, None],
        "The bias is taken off. Add it.": bare - bias[:, None, None],
        "The bias is added twice.": bare + 2 * bias[:, None, None],
        "The bias is multiplied. Add it.": bare * bias[:, None, None],
        "The rows and columns of the map have changed places.": wanted.transpose(2, 3),
        "A lateral block has no activation: leave out the ReLU.": wanted.relu(),
        "The channels come last. The shape should be (B, O, H, W).": wanted.movedim(1, -1),
        "The cells are mixed up at the end: the channels are moved back by `reshape`. Only permute, transpose and "
        "movedim move an axis.": wanted.movedim(1, -1).reshape(wanted.shape),
        "The cells are mixed up: `reshape` does not move the channels to the end. Use permute, transpose or movedim.": (
            torn.transpose(1, 2).reshape(wanted.shape)
        ),
        "The cells are mixed up: `reshape` neither moves the channels to the end nor back. Use permute, transpose or "
        "movedim.": torn.reshape(wanted.shape),
    }
    if outputs == channels:
        mistakes["The weight is used the other way round: its rows, axis 0, are the outputs."] = _conv(
            x, weight.T, bias
        )
    if outputs == width:
        mistakes["The bias runs along the width. It belongs to the channels, so it needs the shape (O, 1, 1)."] = (
            bare + bias
        )
        mistakes["The bias runs along the height. It belongs to the channels, so it needs the shape (O, 1, 1)."] = (
            bare + bias[:, None]
        )
    return mistakes


@check("Right: corners stay corners, and every row adds up to 1.")
def resize_matrix(answer: Callable[[int, int], Any]) -> None:
    """`resize_matrix(old, new)`: the (new, old) matrix of bilinear resizing along one axis, corners aligned."""
    for old, new in ((2, 4), (3, 7), (7, 3), (4, 4), (1, 3), (3, 1)):
        where = f"For old={old} and new={new}"
        wanted = _matrix(old, new, align=True)
        try:
            got = answer(old, new)
        except ZeroDivisionError as error:
            if new > 1:
                raise
            raise Wrong(f"{where}, you divide by 0: a single new cell has no step, and lies at place 0.") from error
        if isinstance(got, Tensor) and not got.is_floating_point():
            raise Wrong(f"{where}, the matrix is {got.dtype}. Weights are fractions: make it a float tensor.")
        try:
            compare(got, wanted, where, 1e-5, _matrix_mistakes(old, new, wanted))
        except Wrong as wrong:
            if "numbers differ" not in str(wrong) or torch.allclose(sums := got.sum(dim=1), torch.ones(new), atol=1e-4):
                raise
            row = int((sums - 1).abs().argmax())
            raise Wrong(
                f"{where}, row {row} is {_row(got[row])}. The weights of a row should add up to 1, not {sums[row]:.3g}."
            ) from wrong


def _row(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values.tolist()) + ")"


def _matrix(old: int, new: int, align: bool) -> Tensor:
    """PyTorch's own: what resizing makes of each cell alone."""
    alone = torch.eye(old)[:, None]  # (old, 1, old)
    return F.interpolate(alone, size=new, mode="linear", align_corners=align)[:, 0].T


def _tents(place: Tensor, old: int) -> Tensor:
    return (1 - (place[:, None] - torch.arange(old)).abs()).clamp(min=0)


def _matrix_mistakes(old: int, new: int, wanted: Tensor) -> Mistakes:
    steps, cells = torch.arange(new), torch.arange(old)
    place = steps * ((old - 1) / max(new - 1, 1))
    floor = place.floor()
    down = (place - floor)[:, None]
    near, far = _tents(floor, old), _tents((floor + 1).clamp(max=old - 1), old)
    mistakes: Mistakes = {}
    if new == 1:  # ahead of the others: it is also what align_corners=False gives
        middle = _tents(torch.tensor([(old - 1) / 2]), old)
        mistakes["A single new cell lies at place 0: as in PyTorch, it is the first old cell."] = middle
    elif new < old:
        mistakes[
            "Shrinking takes means of old cells. Here, too, a new cell mixes the two old ones around its place."
        ] = F.adaptive_avg_pool1d(torch.eye(old)[:, None], new)[:, 0].T
    return mistakes | {
        "The matrix is the wrong way round: a row for each new cell, a column for each old one.": wanted.T,
        "These are the weights of align_corners=False. With aligned corners, the first new cell is the first old one "
        "and the last is the last: new cell i lies at i * (old - 1) / (new - 1).": _matrix(old, new, align=False),
        "New cell i lies at i * (old - 1) / (new - 1), not at i * old / new: count the steps between cells, not the "
        "cells.": (_tents((steps * (old / new)).clamp(max=old - 1), old), _tents(steps * (old / new), old)),
        "The last new cell should be the last old one: divide by new - 1, the steps, and not by new.": (
            _tents(steps * ((old - 1) / new), old)
        ),
        "Old cells that are further away than 1 get negative weights. Make them 0.": 1 - (place[:, None] - cells).abs(),
        "The distance needs its absolute value: old cells on either side of the place are near it.": (
            (1 - (place[:, None] - cells)).clamp(min=0)
        ),
        "`old` and `new` are exchanged: the matrix has a row for each of `new` cells, a column for each of `old`.": (
            _matrix(new, old, align=True)
        ),
        "The step between new cells is upside down: it is (old - 1) / (new - 1).": (
            _tents(steps * ((new - 1) / max(old - 1, 1)), old)
        ),
        "Each new cell takes the nearest old one only. Mix the two around its place.": _tents(place.round(), old),
        "Each new cell takes the old one before it only. Mix the two around its place.": near,
        "The two weights of a row are exchanged: the nearer an old cell, the more it counts.": (
            down * near + (1 - down) * far
        ),
    }


class _Enlarged(TorchDispatchMode):
    """Notes whether an operation makes a large map with the channels of the small one, by whatever function.

    Copies of the full map do not count.
    """

    def __init__(self, full: Tensor, outputs: int) -> None:
        super().__init__()
        self._full = full.detach().clone()
        self._outputs = outputs
        self.found = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, Tensor) and x.ndim == 4 and x.shape[2:] == self._full.shape[2:]:
                channels = x.shape[1]
                wide = channels == 2 * self._full.shape[1] or channels == self._full.shape[1] != self._outputs
                copied = x.shape == self._full.shape and torch.equal(x.detach(), self._full)
                self.found |= wide and not copied
        return result


_APART = (
    "The weight (O, 2 * C) is cut along axis 1: C columns for `full`, C for `half`. What `half` gives is then enlarged "
    "to the height and width of `full`."
)


@check("Right: the same numbers, and the small map is convolved while it is small.")
def lateral_apart(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
    """`lateral_apart(full, half, weight, bias)`: (B, C, H, W), (B, C, h, w), (O, 2 * C), (O,) to (B, O, H, W)."""
    for batch, channels, outputs, large, small in ((2, 3, 5, (8, 12), (4, 6)), (1, 6, 4, (9, 7), (4, 3))):
        full = torch.randn(batch, channels, *large, requires_grad=True)
        half = torch.randn(batch, channels, *small, requires_grad=True)
        weight = torch.randn(outputs, 2 * channels, requires_grad=True)
        bias = torch.randn(outputs, requires_grad=True)
        where = f"For full of {tuple(full.shape)} and half of {tuple(half.shape)}"
        with _Enlarged(full, outputs) as enlarged:
            got = fitting(partial(answer, full, half, weight, bias), where, _APART)
        wanted = _conv(torch.cat([full, resize(half, large)], dim=1), weight, bias)
        compare(got, wanted, where, 1e-5, _apart_mistakes(full, half, weight, bias))
        for name, source in {"full": full, "half": half, "weight": weight, "bias": bias}.items():
            compare_gradient(got, wanted, source, f"{where}, with respect to {name}", 1e-3)
        if enlarged.found:
            raise Wrong(
                f"The numbers are right, but a map of {channels} channels is enlarged and convolved later. First "
                "convolve the small map, on its few cells; then enlarge what comes out."
            )


def _apart_mistakes(full: Tensor, half: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    ahead, behind = weight.chunk(2, dim=1)
    large = full.shape[-2:]
    mine, small = _conv(full, ahead, bias), _conv(half, behind, None)

    def up(x: Tensor, **options: Any) -> Tensor:
        return F.interpolate(x, size=large, **options)

    return {
        "The two halves of the weight are exchanged: the first C columns belong to `full`, which stands in front.": (
            _conv(full, behind, bias) + resize(_conv(half, ahead, None), large)
        ),
        "Both maps meet the first half of the weight. The last C columns belong to `half`.": (
            mine + resize(_conv(half, ahead, None), large)
        ),
        "The bias is there twice. It belongs to the sum: add it in one of the two places only.": (
            mine + resize(_conv(half, behind, bias), large)
        ),
        "The bias is missing.": _conv(full, ahead, None) + resize(small, large),
        "The bias is taken off. Add it.": _conv(full, ahead, None) + resize(small, large) - bias[:, None, None],
        "The map of the full-size photo is missing.": resize(small, large) + bias[:, None, None],
        "The map of the full-size photo is missing, and the bias.": resize(small, large),
        "The small map is enlarged bicubically. Use bilinear resampling.": (
            mine + up(small, mode="bicubic", align_corners=True)
        ),
        "The two are multiplied. Add them.": mine * resize(small, large),
        "Both maps meet the last half of the weight. The first C columns belong to `full`.": (
            _conv(full, behind, bias) + resize(small, large)
        ),
        "The weight is split in even and odd columns. The first C columns belong to `full`, the last C to `half`.": (
            _conv(full, weight[:, ::2], bias) + resize(_conv(half, weight[:, 1::2], None), large)
        ),
        "The resampling is bilinear, but with align_corners=False. BiRefNet aligns corners everywhere.": (
            mine + up(small, mode="bilinear", align_corners=False)
        ),
        "The small map is enlarged by nearest neighbours. Use bilinear resampling.": mine + up(small),
        "The map of the half-size photo is missing.": mine,
        "Both halves of the weight meet `full`. The last C columns belong to `half`.": mine + _conv(full, behind, None),
        "You take the mean of the two. Add them.": (mine + resize(small, large)) / 2,
        "The large map is shrunk to the small one. Enlarge what the small one gives.": resize(
            _conv(resize(full, half.shape[-2:]), ahead, bias) + small, large
        ),
        "The two results are concatenated. Half of a sum is in each: add them.": (
            torch.cat([mine, resize(small, large)], dim=1)
        ),
    }
