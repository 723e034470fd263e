"""Exercises of notebook 03, first half: bilinear sampling, deformable convolution."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.calls import fitting
from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.deformable import deform_conv2d

__all__ = ["bilinear_sample", "deform_conv"]

_Sampler = Callable[[Tensor, Tensor, Tensor], Any]
_FRACTIONS = (
    "Places and fractions are (B, h, w), and what is read is (B, C, h, w): give the fractions an axis of channels, by "
    "[:, None]."
)
_MASK = (
    "A tap's mask is (B, H, W), and what is read is (B, C, H, W): give the mask an axis of channels, with [:, None]. "
    "The rows of all cells are (H, 1), the columns (W,). A tap's weight is (O, C), with C for the channels of x."
)


@check("Right, between cells, on them and outside the map; gradients reach the places too.")
def bilinear_sample(answer: _Sampler) -> None:
    """`bilinear_sample(x, rows, columns)`: (B, C, H, W) and places, twice (B, h, w), to (B, C, h, w)."""
    for shape, size in (((1, 1, 3, 4), (2, 2)), ((2, 3, 5, 7), (4, 6)), ((1, 2, 6, 3), (3, 5))):
        where = f"For x of {shape} and {size[0]} x {size[1]} places"
        x, rows, columns = _places(shape, size)
        with torch.no_grad():
            rows[:, 0], columns[:, :, 0] = rows[:, 0].round(), columns[:, :, 0].round()
            rows[:, 0, 0], columns[:, 0, 0] = shape[2] - 1, shape[3] - 1  # the last cell
            rows[:, -1, -1] = -50
        _compare_places(answer, x, rows, columns, where)
        x, rows, columns = _places(shape, size)  # gradients jump at whole places, so there are none here
        got, wanted = _compare_places(answer, x, rows, columns, where)
        compare_gradient(got, wanted, x, where, 1e-4)
        for name, places in (("rows", rows), ("columns", columns)):
            _reaches(got, places, f"{name}. The weights must be computed from the places with `floor`")
            compare_gradient(got, wanted, places, f"{where}, with respect to {name}", 1e-4)


def _compare_places(answer: _Sampler, x: Tensor, rows: Tensor, columns: Tensor, where: str) -> tuple[Any, Tensor]:
    got, wanted = fitting(partial(answer, x, rows, columns), where, _FRACTIONS), _sample(x, rows, columns)
    compare(got, wanted, where, 1e-5, _sampling_mistakes(x, rows, columns))
    return got, wanted


def _places(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """A map, and places from almost two cells before its first cell to almost two behind its last."""
    x = torch.randn(shape, requires_grad=True)
    rows, columns = (torch.rand(shape[0], *size) * (side + 2.8) - 1.9 for side in shape[2:])
    return x, rows.requires_grad_(), columns.requires_grad_()


def _reaches(got: Tensor, source: Tensor, what: str) -> None:
    (gradient,) = torch.autograd.grad(got.sum(), source, retain_graph=True, allow_unused=True)
    if gradient is None or not gradient.any():
        raise Wrong(
            f"The numbers are right, but no gradient reaches {what}, without `detach`, `no_grad`, `int` or `item`: "
            "otherwise a network could not learn where to look."
        )


def _sample(x: Tensor, rows: Tensor, columns: Tensor, padding: str = "zeros", align: bool = True) -> Tensor:
    """PyTorch's own sampling. It counts places from -1 to 1, so in float64: the way there and back rounds."""
    height, width = x.shape[-2:]
    grid = torch.stack([2 * columns.double() / (width - 1) - 1, 2 * rows.double() / (height - 1) - 1], dim=-1)
    return F.grid_sample(x.double(), grid, padding_mode=padding, align_corners=align).to(x.dtype)


def _cells(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Cells at whole places, zero outside."""
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)  # (B, h, w)
    image = torch.arange(len(x))[:, None, None]
    values = x[image, :, rows.clamp(0, height - 1).long(), columns.clamp(0, width - 1).long()]  # (B, h, w, C)
    return values.movedim(-1, 1) * inside[:, None]


def _mix(x: Tensor, top: Tensor, left: Tensor, down: Tensor, right: Tensor, step: int = 1) -> Tensor:
    """The four cells from (top, left) on; `down` and `right` are the weights of the second row and column."""
    result = torch.zeros(())
    for i, vertical in enumerate((1 - down, down)):
        for j, horizontal in enumerate((1 - right, right)):
            result = result + (vertical * horizontal)[:, None] * _cells(x, top + step * i, left + step * j)
    return result


def _sampling_mistakes(x: Tensor, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    wanted = _sample(x, rows, columns)
    top, left = rows.floor(), columns.floor()
    down, right = rows - top, columns - left
    inside = (top >= 0) & (top + 1 < x.shape[2]) & (left >= 0) & (left + 1 < x.shape[3])
    cut_top, cut_left = rows.trunc(), columns.trunc()
    height, width = x.shape[2:]
    first_rows, first_columns = (places[:1].expand(len(x), -1, -1) for places in (rows, columns))
    return {
        "Rows and columns are the wrong way round. A place is x[..., row, column].": _sample(x, columns, rows),
        "Rows and columns are the wrong way round: a place of `grid_sample` is (column, row).": _sample(
            x, columns * (height - 1) / max(width - 1, 1), rows * (width - 1) / max(height - 1, 1)
        ),
        "The middle of the first cell is (0, 0). You take half a cell off.": _sample(x, rows - 0.5, columns - 0.5),
        "The middle of the first cell is (0, 0). You add half a cell.": _sample(x, rows + 0.5, columns + 0.5),
        "The fraction is the place minus its `floor`, also for places below 0. `frac` and `fmod` cut towards 0.": (
            _mix(x, top, left, rows - cut_top, columns - cut_left)
        ),
        "In the upper row, the cell on the right is read a row too low: it is at (row, column + 1).": (
            wanted + ((1 - down) * right)[:, None] * (_cells(x, top + 1, left + 1) - _cells(x, top, left + 1))
        ),
        "Outside the map you read the cells at its border. Out there everything counts as zero.": (
            _sample(x, rows, columns, padding="border")
        ),
        "You read the nearest cell only. Mix the four cells around the place.": _cells(
            x, rows.round(), columns.round()
        ),
        "You read the cell above and to the left only. Mix the four cells around the place.": _cells(x, top, left),
        "The weights are the wrong way round: the nearer a cell, the more it counts. A place 0.25 below a row gives "
        "that row 0.75.": _mix(x, top, left, 1 - down, 1 - right),
        "The two fractions are exchanged: the one of the rows decides between rows, that of the columns between "
        "columns.": _mix(x, top, left, right, down),
        "Places between -1 and 0 are read wrongly. There, `int`, `long` and `trunc` round up to 0; `floor` goes down "
        "to -1.": _mix(x, cut_top, cut_left, rows - cut_top, columns - cut_left),
        "A place with one corner outside the map is not zero: only that corner is. The others still count.": (
            wanted * inside[:, None]
        ),
        "Here whole numbers are centres of cells, from 0 to H - 1. That is align_corners=True in `grid_sample`.": (
            _sample(x, rows, columns, align=False)
        ),
        "From the first cell to the last there are H - 1 steps down and W - 1 to the right, not H and W.": (
            _sample(x, rows * (height - 1) / height, columns * (width - 1) / width)
        ),
        "All images are read at the places of the first one. Each has places of its own.": _sample(
            x, first_rows, first_columns
        ),
        "You read the cell below and to the right only. Mix the four cells around the place.": _cells(
            x, rows.ceil(), columns.ceil()
        ),
        "`long`, `int` and `trunc` round towards 0, and here for the first cell and for the weights. `floor` goes down "
        "to -1.": _mix(x, cut_top, cut_left, (rows - cut_top).abs(), (columns - cut_left).abs()),
        "Cells are rounded to the nearest, where `floor` takes the one above and to the left.": _mix(
            x, rows.round(), columns.round(), rows - rows.round(), columns - columns.round()
        ),
        "The places are clamped to the map. Outside, everything counts as zero.": _sample(
            x, rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        ),
        "Outside the map you read what is mirrored inside. Out there everything counts as zero.": (
            _sample(x, rows, columns, padding="reflection")
        ),
        "Negative places count from the end, as indices of Python do. Out there everything counts as zero.": _mix(
            x, top % height, left % width, down, right
        ),
        "The weights of the rows are the wrong way round: the nearer a row, the more it counts.": _mix(
            x, top, left, 1 - down, right
        ),
        "The weights of the columns are the wrong way round: the nearer a column, the more it counts.": _mix(
            x, top, left, down, 1 - right
        ),
        "Rows are mixed half and half. The nearer a row, the more it counts.": _mix(
            x, top, left, torch.full_like(down, 0.5), right
        ),
        "Columns are mixed half and half. The nearer a column, the more it counts.": _mix(
            x, top, left, down, torch.full_like(right, 0.5)
        ),
        "The four cells are averaged. The nearer a cell, the more it counts.": _mix(
            x, top, left, torch.full_like(down, 0.5), torch.full_like(right, 0.5)
        ),
        "The cells of rows and of columns are exchanged when they are rounded down.": _mix(
            x, columns.floor(), rows.floor(), rows - columns.floor(), columns - rows.floor()
        ),
        "In the lower row, the cell on the left counts twice. Read the one on the right at (row + 1, column + 1).": (
            wanted + (down * right)[:, None] * (_cells(x, top + 1, left) - _cells(x, top + 1, left + 1))
        ),
        "The place lies between `floor` and `floor` + 1: mix with the next row and column, not with those before.": (
            _mix(x, top, left, down, right, step=-1)
        ),
        "Rows are mixed, but not columns.": _mix(x, top, left, down, torch.zeros_like(right)),
        "Columns are mixed, but not rows.": _mix(x, top, left, torch.zeros_like(down), right),
        "All channels are those of the first one.": wanted[:, :1].expand_as(wanted),
        "The channels come last. The shape should be (B, C, h, w).": wanted.movedim(1, -1),
    }


@check("Right: every tap reads where its offset sends it, and counts as much as its modulation says.")
def deform_conv(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
    """`deform_conv(x, offset, mask, weight)`: (B, C, H, W) to (B, O, H, W)."""
    for shape, outputs, k in (((1, 1, 4, 5), 1, 1), ((2, 3, 5, 7), 4, 3), ((1, 2, 6, 4), 3, 5)):
        batch, channels, height, width = shape
        x = torch.randn(shape, requires_grad=True)
        offset = (1.2 * torch.randn(batch, 2 * k * k, height, width)).requires_grad_()
        mask = (2 * torch.rand(batch, k * k, height, width)).requires_grad_()
        weight = (torch.randn(outputs, channels, k, k) / (k * channels**0.5)).requires_grad_()
        where = f"For x of {shape} and a kernel of {k} x {k}"
        wanted = deform_conv2d(x, offset, weight, padding=k // 2, mask=mask)
        got = fitting(partial(answer, x, offset, mask, weight), where, _MASK)
        compare(got, wanted, where, 1e-5, _deformable_mistakes(x, offset, mask, weight, wanted))
        for name, source in {"x": x, "offset": offset, "mask": mask, "weight": weight}.items():
            _gradient(got, wanted, source, name, where)


def _gradient(got: Tensor, wanted: Tensor, source: Tensor, name: str, where: str) -> None:
    if got.requires_grad:
        _reaches(got, source, f"`{name}`. Compute with it as it came")
    compare_gradient(got, wanted, source, f"{where}, with respect to {name}", 1e-3)


def _deformable_mistakes(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    batch, _, height, width = x.shape
    k = weight.shape[-1]
    pairs = offset.reshape(batch, k * k, 2, height, width)

    def run(pairs: Tensor = pairs, mask: Tensor | None = mask, weight: Tensor = weight) -> Tensor:
        offset = pairs.reshape(batch, 2 * k * k, height, width)
        return deform_conv2d(x, offset, weight, padding=k // 2, mask=mask)

    def by_columns(taps: Tensor) -> Tensor:
        return taps.unflatten(1, (k, k)).transpose(1, 2).flatten(1, 2)

    down, right = torch.arange(k * k) // k - k // 2, torch.arange(k * k) % k - k // 2
    ordinary = torch.stack([down, right], dim=1)[..., None, None]  # (k * k, 2, 1, 1)
    upper = torch.zeros_like(weight)
    upper[..., 0, :] = weight[..., 0, :]
    last = torch.zeros_like(weight)
    last[..., -1, -1] = weight[..., -1, -1]
    return {
        "The offsets of a tap are down first, then right. You take them the other way round.": run(pairs.flip(2)),
        "The offsets come in pairs, tap by tap: down and right of tap 0, down and right of tap 1, and so on. You take "
        "all that go down first.": run(offset.reshape(batch, 2, k * k, height, width).transpose(1, 2)),
        "The offsets are subtracted. Add them to the tap's place.": run(-pairs),
        "The offsets change nothing: this is a plain convolution.": run(torch.zeros_like(pairs)),
        "The mask changes nothing. Multiply what each tap reads by it.": run(mask=None),
        "The mask has been through 2 * sigmoid before it comes here. Take it as it is.": run(mask=2 * mask.sigmoid()),
        "The mask has been through a sigmoid before it comes here. Take it as it is.": run(mask=mask.sigmoid()),
        "The kernel's first tap sits on the pixel. Its middle should: the taps go from -(k // 2) to k // 2.": (
            run(pairs + k // 2)
        ),
        "All taps look from the cell itself. Add the tap's place in the kernel: t // k - k // 2 down and "
        "t % k - k // 2 to the right.": run(pairs - ordinary),
        "The middle of a kernel is k // 2 from its first tap, not always 1.": run(pairs + k // 2 - 1),
        "The kernel is turned by half a circle. As everywhere in deep learning, weight[:, :, 0, 0] belongs to the tap "
        "above and to the left.": run(weight=weight.flip(2, 3)),
        "The weights are taken column by column, the taps row by row. Tap t has weight[:, :, t // k, t % k].": (
            run(weight=weight.transpose(2, 3))
        ),
        "The taps stand on the wrong side of the middle: tap 0 is above and to the left.": run(pairs - 2 * ordinary),
        "Tap t stands in row t // k and column t % k of the kernel. You have them the other way round.": (
            run(pairs - ordinary + ordinary.flip(1))
        ),
        "Your taps go column by column. They go row by row: tap 1 is to the right of tap 0.": (
            run(by_columns(pairs), by_columns(mask))
        ),
        "You keep the last tap only. Add up what all taps give.": run(weight=last),
        "The offsets are taken twice.": run(2 * pairs),
        "The middle of the kernel is k // 2, a whole number. With k / 2 all taps stand half a cell too far up and to "
        "the left.": run(pairs - 0.5),
        "The mask's taps run backwards. Tap t has channel t.": run(mask=mask.flip(1)),
        "You add up the first k taps. A kernel has k * k.": run(weight=upper),
        "Both rows and columns move by the offset to the right. Down is channel 2 t, right is 2 t + 1.": (
            run(pairs[:, :, 1:].expand_as(pairs))
        ),
        "Both rows and columns move by the offset down. Down is channel 2 t, right is 2 t + 1.": (
            run(pairs[:, :, :1].expand_as(pairs))
        ),
        "The offset down of tap t is channel 2 t, not t.": run(
            torch.stack([offset[:, : k * k], pairs[:, :, 1]], dim=2)
        ),
        "The offset to the right of tap t is channel 2 t + 1, not t.": run(
            torch.stack([pairs[:, :, 0], offset[:, : k * k]], dim=2)
        ),
        "The offset to the right of tap t is channel 2 t + 1, not t + k * k.": run(
            torch.stack([pairs[:, :, 0], offset[:, k * k :]], dim=2)
        ),
        "The kernel is not centred down: rows go from -(k // 2) to k // 2.": run(pairs + _only(0) * (k // 2)),
        "The kernel is not centred to the right: columns go from -(k // 2) to k // 2.": (
            run(pairs + _only(1) * (k // 2))
        ),
        "The offsets down are subtracted. Add them.": run(pairs * (1 - 2 * _only(0))),
        "The offsets to the right are subtracted. Add them.": run(pairs * (1 - 2 * _only(1))),
        "The offsets are rounded to whole cells. Read between cells, bilinearly.": run(pairs.round()),
        "The offsets are rounded down to whole cells. Read between cells, bilinearly.": run(pairs.floor()),
        "All taps take the offsets of the first one. Tap t has the channels 2 t and 2 t + 1.": (
            run(pairs[:, :1].expand_as(pairs))
        ),
        "All taps take the mask of the first one. Tap t has channel t.": run(mask=mask[:, :1].expand_as(mask)),
        "The mask counts from 0: a tap with a mask of 0 gives nothing. Leave out the 1 that is added.": (
            run(mask=mask + 1)
        ),
        "The mask is taken twice.": run(mask=mask.square()),
        "Only the offsets down are used: the taps do not move to the right.": (run(pairs * _only(0))),
        "Only the offsets to the right are used: the taps do not move down.": (run(pairs * _only(1))),
        "You take the mean of the taps. A convolution adds them up.": wanted / (k * k),
        "Taps that leave the map read its border. They should read zero: do not clamp the places.": (
            _inside(x, offset, mask, weight)
        ),
    }


def _only(axis: int) -> Tensor:
    """1 for the offsets along one axis, 0 for the other, to be multiplied with (B, k * k, 2, H, W)."""
    return torch.eye(2)[axis].view(1, 1, 2, 1, 1)


def _inside(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Deformable convolution whose taps stop at the border."""
    height, width = x.shape[-2:]
    k = weight.shape[-1]
    result = torch.zeros(())
    for tap in range(k * k):
        rows = torch.arange(height)[:, None] + tap // k - k // 2 + offset[:, 2 * tap]
        columns = torch.arange(width) + tap % k - k // 2 + offset[:, 2 * tap + 1]
        seen = _sample(x, rows, columns, padding="border") * mask[:, tap, None]
        result = result + torch.einsum("oc,bchw->bohw", weight[:, :, tap // k, tap % k], seen)
    return result
