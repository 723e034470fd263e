"""Exercises of notebook 06: the image in tiles, the inward reference, the outward reference."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course.checks.calls import fitting
from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import SEVERAL, check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.weights import compare_in_training, randomise, take_weights
from birefnet_lite.network import refinement

__all__ = ["image_to_tiles", "inward_reference", "outward_reference"]

_OLD_ORDER = (
    "This is the order from before November 2024: column, row, colour. Here the colour comes first and the column "
    "last: channel (colour * grid + row) * grid + column."
)
_UNCUT = "Cut the image into tiles first: conv_in takes 3 * grid * grid channels, at H / grid x W / grid."
_UNSHUFFLED = "Each of your channels takes every grid-th pixel. A tile is a crop: neighbours in it are neighbours."


@check("Right: every tile is a crop, in the order that trained weights expect.")
def image_to_tiles(answer: Callable[[Tensor, int], Any]) -> None:
    """`image_to_tiles(image, grid)`: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid)."""
    for shape, grid in (((2, 3, 6, 12), 3), ((1, 3, 8, 4), 4), ((2, 1, 10, 6), 2), ((1, 3, 5, 7), 1)):
        image = torch.randn(shape, requires_grad=True)
        where = f"For an image of {shape} and grid={grid}"
        wanted = refinement.image_to_tiles(image, grid)
        got = answer(image, grid)
        compare(got, wanted, where, 0, _tile_mistakes(image, grid, wanted))
        compare_gradient(got, wanted, image, where, 1e-6)


def _tile_mistakes(image: Tensor, grid: int, wanted: Tensor) -> dict[str, Tensor]:
    batch, colours, height, width = image.shape
    high, wide = height // grid, width // grid
    apart = image.reshape(batch, colours, grid, high, grid, wide)  # (B, C, rows, h, columns, w)

    def ordered(*axes: int) -> Tensor:
        return apart.permute(0, *axes, 3, 5).reshape(wanted.shape)

    tiles = apart.permute(0, 1, 2, 4, 3, 5)  # (B, C, rows, columns, h, w)
    mistakes = {
        _OLD_ORDER: ordered(4, 2, 1),
        "The tiles run down the columns. They should run along the rows: the column changes fastest.": ordered(1, 4, 2),
        "The colours change fastest. They should change slowest: all red tiles first, then green, then blue.": (
            ordered(2, 4, 1)
        ),
        _UNSHUFFLED: F.pixel_unshuffle(image, grid),
        _UNSHUFFLED + " And the colours change fastest; they should change slowest.": (
            F.pixel_unshuffle(image, grid).unflatten(1, (colours, -1)).transpose(1, 2).flatten(1, 2)
        ),
        "Each of your channels is one run of pixels that follow each other in memory. Split rows and columns, and "
        "bring them side by side with permute, before the last reshape.": image.reshape(wanted.shape),
        "Pixels and tiles have changed places: the channels should hold the tiles, the map the pixels of a tile.": (
            apart.permute(0, 1, 3, 5, 2, 4).reshape(wanted.shape)
        ),
        "The halves of each split axis are the wrong way round: split the height into (grid, H / grid), in this order, "
        "and the width likewise.": (
            image.reshape(batch, colours, high, grid, wide, grid).permute(0, 1, 2, 4, 3, 5).reshape(wanted.shape)
        ),
        "The tiles are stacked on the batch. Stack them on the channels.": (
            tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, colours, high, wide)
        ),
        "The tiles have an axis of their own. Join it with the channels.": tiles.reshape(
            batch, colours, grid * grid, high, wide
        ),
        "The tiles still have two axes of their own. Join them with the channels.": tiles,
    }
    if height % grid == 0 and width % grid == 0 and (high, wide) != (grid, grid):
        tall = image.reshape(batch, colours, high, grid, wide, grid).permute(0, 1, 2, 4, 3, 5)
        mistakes["grid is the number of tiles along each side, and not the size of a tile."] = tall.reshape(
            batch, -1, grid, grid
        )
    return mistakes


@check(
    "Right: all of the image, at a stage's size, by two convolutions.",
    makes=SEVERAL,
)
def inward_reference(answer: Callable[..., Any]) -> None:
    """A class `MyInwardReference(grid, out_channels, inter_channels)`: (B, 3, H, W) to (B, out, H / grid, W / grid)."""
    for grid, out, inner, size in ((2, 5, 4, (2, 10, 14)), (4, 6, 7, (1, 20, 28)), (1, 4, 3, (1, 5, 7))):
        where = f"For grid={grid}, out_channels={out}, inter_channels={inner}"
        mine = answer(grid, out, inner)
        reference = randomise(refinement.InwardReference(grid, out, inner)).eval()
        if isinstance(mine, nn.Module) and (said := _inward_names(mine.state_dict(), reference.state_dict(), grid)):
            raise Wrong(f"{where}: {said}")
        take_weights(mine, reference)
        image = torch.randn(size[0], 3, *size[1:], requires_grad=True)
        wanted, got = reference(image), fitting(partial(mine.eval(), image), where, _UNCUT)
        _same_rim(got, wanted)
        compare(got, wanted, where, 1e-5, _inward_mistakes(reference, image))
        compare_gradient(got, wanted, image, where, 1e-3)
        compare_parameter_gradients(got, wanted, mine, reference, where, 1e-3)
        _keeps_its_grid(answer, mine, image, got, where)
        compare_in_training(mine, reference, image, where)


def _keeps_its_grid(answer: Callable[..., Any], mine: nn.Module, image: Tensor, got: Tensor, where: str) -> None:
    """A second module, of another grid, changes nothing about the first."""
    answer(3, 1, 1)
    try:
        kept = torch.equal(mine(image), got)
    except RuntimeError:
        kept = False
    if not kept:
        raise Wrong(
            f"{where}: when another one is made, this one gives something else. Keep the grid as an attribute of self, "
            "not in a global variable or in the class."
        )


def _inward_names(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor], grid: int) -> str | None:
    first = own.get("branch.conv_in.weight")
    if {"conv_in.weight", "conv_out.weight"} <= own.keys():
        return "the two convolutions are attributes of self. They belong into self.branch, under the same names."
    if {"branch.0.weight", "branch.1.weight"} <= own.keys():
        return "the convolutions in self.branch have numbers for names. Give Sequential an OrderedDict with the names."
    if wanted.keys() - own.keys() and wanted.keys() - own.keys() <= {"branch.conv_in.bias", "branch.conv_out.bias"}:
        return "your convolutions have no bias. The package's have one."
    if first is not None and grid > 1 and first.shape[1] == 3:
        return "conv_in takes the 3 colours. It should take all tiles of all colours: 3 * grid * grid channels."
    if first is not None and first.shape[1] == grid * grid:
        return "conv_in takes grid * grid channels. There are so many tiles of each of the 3 colours."
    return None


@torch.no_grad()
def _inward_mistakes(reference: Any, image: Tensor) -> dict[str, Tensor]:
    grid, branch = reference.grid, reference.branch
    tiles = refinement.image_to_tiles(image, grid)
    batch, _, high, wide = tiles.shape
    old = tiles.reshape(batch, 3, grid, grid, high, wide).permute(0, 3, 2, 1, 4, 5).reshape(tiles.shape)
    inner, between = branch.conv_in(tiles), "There is an activation between the two convolutions. There should be none."
    return {
        between: branch.conv_out(F.relu(inner)),
        between + " Yours is a GELU.": branch.conv_out(F.gelu(inner)),
        "There is a ReLU at the end. The reference may be negative.": F.relu(branch(tiles)),
        _OLD_ORDER: branch(old),
        _UNSHUFFLED: branch(F.pixel_unshuffle(image, grid)),
        "The second convolution is never called.": inner,
    }


@check("Right: attention and gradients, from the same features.", makes=SEVERAL, usual=("sigmoid",))
def outward_reference(answer: Callable[..., Any]) -> None:
    """A class `MyOutwardReference(in_channels, channels, batch_norm)`: (B, in_channels, H, W) to two (B, 1, H, W)."""
    for channels, inner, batch_norm, size in ((6, 4, True, (2, 5, 9)), (5, 3, False, (1, 7, 4))):
        where = f"For in_channels={channels}, channels={inner}, batch_norm={batch_norm}"
        mine = answer(channels, inner, batch_norm)
        reference = randomise(refinement.OutwardReference(channels, inner, batch_norm)).eval()
        if isinstance(mine, nn.Module) and (said := _outward_names(mine.state_dict(), reference.state_dict())):
            raise Wrong(f"{where}: {said}")
        take_weights(mine, reference)
        scale = 1 if batch_norm else 6  # large numbers, too: a ReLU has no upper end
        x = (scale * torch.randn(size[0], channels, *size[1:])).requires_grad_()
        wanted, got = reference(x), mine.eval()(x)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"{where}, return two maps: the attention, and the gradient logits.")
        if any(one is None for one in got):
            raise Wrong(
                f"{where}, one of the two maps is None. Return both in every mode: the stage drops what it may."
            )
        attention_mistakes, gradient_mistakes = _outward_mistakes(reference, x)
        _same_rim(got[0], wanted[0])
        compare(got[0], wanted[0], f"{where}, for the attention", 1e-5, attention_mistakes)
        compare(got[1], wanted[1], f"{where}, for the gradient logits", 1e-5, gradient_mistakes)
        for ours, theirs in zip(got, wanted, strict=True):
            compare_gradient(ours, theirs, x, where, 1e-3)
            compare_parameter_gradients(ours, theirs, mine, reference, where, 1e-3)
        compare_in_training(mine, reference, x, where)


def _outward_names(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    missing, unexpected = wanted.keys() - own.keys(), own.keys() - wanted.keys()
    if unexpected and not missing and all(name.startswith("norm.") for name in unexpected):
        return "there should be no batch norm. batch_norm_or_identity(channels, batch_norm) gives one, or nothing."
    if missing and all(name.endswith(".bias") and not name.startswith("norm.") for name in missing):
        return "your convolutions have no bias. The package's have one."
    if missing == {"attention_head.weight", "attention_head.bias"}:
        return "there is no attention_head. The attention has a 1x1 convolution of its own, beside the gradient's."
    return None


@torch.no_grad()
def _outward_mistakes(reference: Any, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    raw = reference.conv(x)
    normed = reference.norm(raw)
    features = F.relu(normed)
    attend, predict = reference.attention_head, reference.gradient_head
    logits, gradients = attend(features), predict(features)
    attention = logits.sigmoid()
    inner = {
        "There is no ReLU behind the batch norm.": normed,
        "The ReLU stands in front of the batch norm. The order is convolution, batch norm, ReLU.": (
            reference.norm(F.relu(raw))
        ),
        "The batch norm is never called.": F.relu(raw),
        "The convolution's result goes to the heads as it is: batch norm and ReLU are never called.": raw,
    }
    inner["A ReLU has no upper end: yours cuts large numbers."] = features.clamp(max=6)
    if len(x) > 1:
        batch = copy.deepcopy(reference).train()
        inner["The batch norm uses the statistics of this batch, also in evaluation mode."] = F.relu(batch.norm(raw))
    attentions = {
        "These are logits. The attention is their sigmoid, between 0 and 1.": logits,
        "The two maps are swapped. Return the attention first.": gradients,
        "The two heads are swapped: this is the sigmoid of what gradient_head gives.": gradients.sigmoid(),
        "The attention comes from a softmax over the map. It is a sigmoid, for each cell on its own.": (
            logits.flatten(2).softmax(dim=2).reshape(logits.shape)
        ),
        "The attention comes from a softmax over one channel, which is always 1. Use a sigmoid.": logits.softmax(dim=1),
        "The attention comes from a tanh. It is a sigmoid, between 0 and 1.": logits.tanh(),
        "You multiply by the attention already. Return the attention itself: the stage does the rest.": x * attention,
        "The sigmoid is applied twice.": attention.sigmoid(),
    } | {said: attend(maps).sigmoid() for said, maps in inner.items()}
    predictions = {
        "The gradients should be logits; leave their sigmoid to the loss.": gradients.sigmoid(),
        "Both maps come from attention_head. The second one comes from gradient_head.": logits,
        "The gradient head reads the weighed features. It reads the same features as the attention head.": (
            predict(features * attention)
        ),
    } | {said: predict(maps) for said, maps in inner.items()}
    return attentions, predictions


def _same_rim(got: Any, wanted: Tensor) -> None:
    if isinstance(got, Tensor) and got.ndim == 4 and got.shape[2] < wanted.shape[2]:
        raise Wrong("The map has lost its rim: a 3x3 convolution keeps height and width with padding=1.")
