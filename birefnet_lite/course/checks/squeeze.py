"""Exercises of notebook 03: bilinear sampling, deformable convolution, the deformable ASPP, the squeeze module."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.aspp import DeformableASPP
from birefnet_lite.blocks import BasicBlock
from birefnet_lite.course.checks.result import Wrong, check, compare, compare_gradient
from birefnet_lite.course.checks.weights import randomise, take_weights
from birefnet_lite.deformable import deform_conv2d

__all__ = ["bilinear_sample", "deform_conv", "deformable_aspp", "squeeze_module"]

_STATISTICS = (
    "A batch norm uses the statistics of this batch, also in evaluation mode. Use the modules, which know the "
    "mode, and leave the mode as it is."
)

_Sampler = Callable[[Tensor, Tensor, Tensor], Any]


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
    got, wanted = answer(x, rows, columns), _sample(x, rows, columns)
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


def _mix(x: Tensor, top: Tensor, left: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """The four cells from (top, left) on; `down` and `right` are the weights of the second row and column."""
    result = torch.zeros(())
    for i, vertical in enumerate((1 - down, down)):
        for j, horizontal in enumerate((1 - right, right)):
            result = result + (vertical * horizontal)[:, None] * _cells(x, top + i, left + j)
    return result


def _sampling_mistakes(x: Tensor, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    wanted = _sample(x, rows, columns)
    top, left = rows.floor(), columns.floor()
    down, right = rows - top, columns - left
    inside = (top >= 0) & (top + 1 < x.shape[2]) & (left >= 0) & (left + 1 < x.shape[3])
    cut_top, cut_left = rows.trunc(), columns.trunc()
    return {
        "Rows and columns are the wrong way round. A place is x[..., row, column].": _sample(x, columns, rows),
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
        got = answer(x, offset, mask, weight)
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
        "The kernel is turned by half a circle. As everywhere in deep learning, weight[:, :, 0, 0] belongs to the tap "
        "above and to the left.": run(weight=weight.flip(2, 3)),
        "The weights are taken column by column, the taps row by row. Tap t has weight[:, :, t // k, t % k].": (
            run(weight=weight.transpose(2, 3))
        ),
        "Your taps go column by column. They go row by row: tap 1 is to the right of tap 0.": (
            run(by_columns(pairs), by_columns(mask))
        ),
        "You keep the last tap only. Add up what all taps give.": run(weight=last),
        "You take the mean of the taps. A convolution adds them up.": wanted / (k * k),
        "Taps that leave the map read its border. They should read zero: do not clamp the places.": (
            _inside(x, offset, mask, weight)
        ),
    }


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


@check("Right: five views side by side, mixed by one convolution; in training, with dropout.")
def deformable_aspp(answer: Callable[[int, int], Any]) -> None:
    """A class, made with (channels, inner); its forward takes (B, channels, H, W) to the same shape."""
    mine, theirs = answer(6, 4), randomise(DeformableASPP(6, channels=4))
    take_weights(mine, theirs)
    mine.eval(), theirs.eval()
    for shape in ((1, 6, 5, 7), (2, 6, 9, 4)):
        x = torch.randn(shape, requires_grad=True)
        where = f"For x of {shape}"
        wanted, got = theirs(x), _views(mine, x)
        if isinstance(got, Tensor) and not torch.equal(got, mine(x)):
            raise Wrong(
                "Two calls in evaluation mode give different numbers: dropout is at work there too. Use the module "
                "self.dropout, which knows the mode; `F.dropout(x)` does not."
            )
        compare(got, wanted, where, 1e-5, _pyramid_mistakes(theirs, x))
        compare_gradient(got, wanted, x, where, 1e-3)
    _in_training(mine, theirs)


def _run(mine: nn.Module, x: Tensor) -> Any:
    """The learner's result in evaluation mode. Only a batch norm in training mode refuses a single number."""
    try:
        return mine(x)
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise Wrong(_STATISTICS) from error
        raise


def _by_batch(norm: nn.Module, x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)


def _views(mine: nn.Module, x: Tensor) -> Any:
    """The learner's result; a clash of shapes inside has few reasons."""
    try:
        return _run(mine, x)
    except RuntimeError as error:
        if "Sizes of tensors" in str(error):
            raise Wrong(
                "The views cannot be concatenated: they differ in height and width. First spread the pooled one, "
                "(B, C, 1, 1), over the whole map."
            ) from error
        if "to have 20 channels" in str(error):
            raise Wrong(
                "self.project gets the wrong number of channels. It takes five views, concatenated along the channels "
                "(not added): those of all four branches, and the pooled one."
            ) from error
        if "to have 6 channels" in str(error):
            raise Wrong(
                "A branch gets the wrong number of channels. The branches stand side by side: each one sees x itself."
            ) from error
        raise


def _pyramid_mistakes(theirs: DeformableASPP, x: Tensor) -> dict[str, Tensor]:
    views, pooled = [branch(x) for branch in theirs.branches], theirs.pooled(x)
    branch = theirs.pooled
    late = branch.norm(branch.conv(x)).relu().mean(dim=(2, 3), keepdim=True)
    largest = branch.norm(branch.conv(x.amax(dim=(2, 3), keepdim=True))).relu()

    def mixed(*maps: Tensor) -> Tensor:
        return theirs.project(torch.cat([m.expand_as(views[0]) for m in maps], dim=1))

    right = mixed(*views, pooled)
    return {
        "The pooled view comes first. It should come last.": theirs.norm(mixed(pooled, *views)).relu(),
        "The branches are concatenated in the reverse order. It is 1, 1, 3, 7, pooled.": (
            theirs.norm(mixed(*views[::-1], pooled)).relu()
        ),
        "The ReLU behind the last batch norm is missing.": theirs.norm(right),
        "The batch norm behind self.project is missing.": right.relu(),
        "The last ReLU stands in front of the batch norm. It should stand behind it.": theirs.norm(right.relu()),
        "The pooled branch averages last. It should average first, and then convolve: the mean of the map goes "
        "through self.pooled.": theirs.norm(mixed(*views, late)).relu(),
        "The pooled branch takes the largest value. It should take the mean.": (
            theirs.norm(mixed(*views, largest)).relu()
        ),
        "The pooled view is missing: self.pooled sees the whole map, not its mean.": (
            theirs.norm(mixed(*views, branch.norm(branch.conv(x)).relu())).relu()
        ),
        "The views are concatenated, but self.project does not mix them yet.": torch.cat([*views, pooled], dim=1),
        _STATISTICS: _by_batch(theirs.norm, right).relu(),
    }


def _in_training(mine: nn.Module, theirs: DeformableASPP) -> None:
    """Both with the same random numbers for dropout."""
    mine.train(), theirs.train()
    x = torch.randn(3, 6, 5, 4)
    results = []
    for module in (mine, theirs):
        torch.manual_seed(1)
        results.append(module(x))
    theirs.dropout.p = 0.0
    mistakes = {"In training, self.dropout should act on the result. It is missing.": theirs(x)}
    compare(*results, "In training mode, where batch norms use the batch and dropout acts last", 1e-4, mistakes)


@check("Right: narrow, look, widen.")
def squeeze_module(answer: Callable[..., Any]) -> None:
    """A class, made with (in_channels, inner, out_channels, aspp); takes (B, in_channels, H, W) to `out_channels`."""
    mine = answer(7, 5, 6, DeformableASPP(5, channels=4))
    theirs = randomise(BasicBlock(7, 6, inter_channels=5, aspp_channels=4))
    take_weights(mine, theirs)
    mine.eval(), theirs.eval()
    for shape in ((1, 7, 5, 8), (2, 7, 9, 6)):
        x = torch.randn(shape, requires_grad=True)
        where = f"For x of {shape}"
        wanted, got = theirs(x), _run(mine, x)
        if isinstance(got, Tensor) and got.ndim == 4 and got.shape[2] < wanted.shape[2]:
            raise Wrong("The map has lost its rim: a 3 x 3 convolution keeps height and width with padding=1.")
        compare(got, wanted, where, 1e-5, _squeeze_mistakes(theirs, x))
        compare_gradient(got, wanted, x, where, 1e-3)


def _squeeze_mistakes(theirs: BasicBlock, x: Tensor) -> dict[str, Tensor]:
    conv_in, norm_in, aspp, conv_out, norm_out = (
        theirs.conv_in, theirs.norm_in, theirs.aspp, theirs.conv_out, theirs.norm_out
    )  # fmt: skip
    narrow = norm_in(conv_in(x)).relu()
    seen = aspp(narrow)
    return {
        "There is a ReLU at the end. This block ends with its batch norm: the decoder may want negative numbers.": (
            theirs(x).relu()
        ),
        "The ReLU behind the first batch norm is missing.": norm_out(conv_out(aspp(norm_in(conv_in(x))))),
        "The first batch norm is missing.": norm_out(conv_out(aspp(conv_in(x).relu()))),
        "The first ReLU stands in front of the batch norm. It should stand behind it.": (
            norm_out(conv_out(aspp(norm_in(conv_in(x).relu()))))
        ),
        "The last batch norm is missing.": conv_out(seen),
        "There is a ReLU between the last convolution and its batch norm. There should be none.": (
            norm_out(conv_out(seen).relu())
        ),
        _STATISTICS: _by_batch(norm_out, conv_out(aspp(_by_batch(norm_in, conv_in(x)).relu()))),
        "self.aspp is not used.": norm_out(conv_out(narrow)),
        "What goes into the ASPP is added to what comes out of it. This block adds nothing.": (
            norm_out(conv_out(narrow + seen))
        ),
    }
