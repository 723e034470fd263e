"""Tiled inference: a downscaled pass guides overlapping full-resolution tiles."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.inference.images import read_photo, resize
from birefnet_lite.inference.memory import forward_bytes
from birefnet_lite.inference.predict import MAX_SIZE, STRIDE, network_size, run_network

__all__ = ["Axis", "segment_tiled", "split_axis", "tile_side"]

MIB = 2**20
RESERVE = 64 * MIB
"""Memory for buffers of libraries, blocks of the deformable convolution, and holes between allocations."""
OVERLAP = 0.25
"""Least part of a tile that it shares with the next one."""
SURE = 0.02
"""A value of the coarse mask this near to 0 or 1 is certain."""


def segment_tiled(
    model: nn.Module,
    image: Any,
    memory: float,
    size: int | tuple[int, int] | None = None,
    guided: bool = True,
) -> NDArray[np.float32]:
    """Segment a large photo within a bound on memory.

    Where the whole photo fits at once, the result is that of `predict.segment`. Otherwise it is cut into overlapping
    tiles, as large as the bound allows, whose masks are blended linearly where they overlap.

    A tile shows only a part of an object, from which the network often cannot tell what belongs to it. So, with
    `guided`, the whole photo is first segmented at the size that the model was trained at. This coarse mask is kept
    wherever it is certain; tiles are segmented only where it is not, and refine edges and fine parts there. The tiles
    do not restore what the coarse mask misses altogether, and a tile can be wrong about its content. Without `guided`,
    each tile is segmented on its own, which suits objects that are small in a tile.

    Args:
        model: The network.
        image: Anything that `read_photo` takes.
        memory: MiB for all that the call takes beyond the model and the decoded photo.
        size: The size of the whole photo that the tiles are cut from, as in `network_size`; None is the photo's own.
        guided: Whether a coarse mask guides the tiles.

    Returns:
        The soft mask, float32 (H, W) in [0, 1], at the photo's own size.

    Raises:
        OSError, TypeError, ValueError: As `predict.segment`; `ValueError` for a bound that is too low, with what is
            needed.

    Examples:
        >>> import numpy as np
        >>> from birefnet_lite import load
        >>> photo = np.zeros((200, 300, 3), np.uint8)
        >>> segment_tiled(load("nano", "cpu"), photo, memory=200).shape
        (200, 300)
    """
    photo = read_photo(image)
    bound = _to_bytes(memory)
    if size is None:
        least = getattr(model, "min_size", STRIDE)
        shrink = min(1, MAX_SIZE / max(photo.size))
        size = (max(least, round(photo.size[0] * shrink)), max(least, round(photo.size[1] * shrink)))
    height, width = network_size(model, size)
    coarse_size = _coarse_size(model) if guided else None
    # Pillow's copies of the photo and of the masks while they are resized, and the sum of the tiles' masks.
    arrays = RESERVE + 16 * photo.pixels.size // 3 + 28 * height * width
    smallest = coarse_size or _smallest(model, height, width)
    side = tile_side(model, height, width, bound - arrays)
    least = arrays + _tile_bytes(model, *smallest)
    if side is None or (least > bound and side < max(height, width)):
        raise ValueError(
            f"memory is {memory:g} MiB; a photo of {photo.size[0]} x {photo.size[1]}, seen at {height} x {width}, "
            f"takes {least / MIB:.0f} MiB at least with this model. Give more, or a smaller size."
        )
    pixels = resize(photo.pixels, height, width)
    if side >= max(height, width):
        mask = run_network(model, pixels)
    else:
        coarse = None if coarse_size is None else run_network(model, resize(photo.pixels, *coarse_size))
        mask = _blend(model, pixels, side, coarse)
    return resize(mask, *photo.size).clip(0, 1)


def tile_side(model: nn.Module, height: int, width: int, room: float) -> int | None:
    """The longest side of a square tile, a multiple of 32, with which a forward pass takes at most `room` bytes.

    Memory is about proportional to pixels, so that a few trials are enough.

    Returns:
        The side, or None if not even the smallest tile fits. A side of `max(height, width)` is the whole image;
        tiles are cut off where they are larger than it.
    """

    def bytes_of(side: int) -> int:
        return _tile_bytes(model, min(side, height), min(side, width))

    smallest, whole = max(_smallest(model, height, width)), max(height, width)
    if bytes_of(whole) <= room:
        return whole
    trial = min(whole, 512)
    side = int(trial * (max(room, 0) / bytes_of(trial)) ** 0.5) // STRIDE * STRIDE
    side = min(max(side, smallest), whole)
    while bytes_of(side + STRIDE) <= room:
        side += STRIDE
    while side > smallest and bytes_of(side) > room:
        side -= STRIDE
    return side if bytes_of(side) <= room else None


class Axis(NamedTuple):
    """How one axis is cut into tiles."""

    starts: list[int]
    """The first pixel of each tile."""
    weights: list[NDArray[np.float32]]
    """The weight of each pixel of each tile; over all tiles they add up to 1, and change linearly in overlaps."""


def split_axis(length: int, side: int) -> Axis:
    """Tiles of `side` pixels, evenly spread over `length` pixels, each sharing a quarter or more with the next.

    Examples:
        >>> split_axis(100, side=64).starts
        [0, 36]
    """
    side = min(side, length)
    step = max(1, int(side * (1 - OVERLAP)))
    starts = [int(start) for start in np.linspace(0, length - side, 1 + -(-(length - side) // step))]
    tents = []
    for start in starts:
        place = np.arange(side) + 0.5
        # Up from the tile's own ends, but not at the ends of the axis, where no other tile takes over.
        up = place if start > 0 else np.full(side, np.inf)
        down = side - place if start + side < length else np.full(side, np.inf)
        tents.append(np.minimum(np.minimum(up, down), max(1, side - step)))
    total = np.zeros(length)
    for start, tent in zip(starts, tents, strict=True):
        total[start : start + side] += tent
    weights = [
        (tent / total[start : start + side]).astype(np.float32) for start, tent in zip(starts, tents, strict=True)
    ]
    return Axis(starts, weights)


def _blend(model: nn.Module, pixels: NDArray, side: int, coarse: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The mask of pixels (H, W, 3) from their tiles, and from the coarse mask wherever that is certain."""
    height, width = pixels.shape[:2]
    doubt = None if coarse is None else _doubt(coarse)
    rows, columns = split_axis(height, side), split_axis(width, side)
    mask = np.zeros((height, width), np.float32)
    for top, down in zip(rows.starts, rows.weights, strict=True):
        for left, across in zip(columns.starts, columns.weights, strict=True):
            part = (slice(top, top + len(down)), slice(left, left + len(across)))
            if doubt is None or _crop(doubt, part, height, width).any():
                mask[part] += run_network(model, pixels[part]) * down[:, None] * across
    if coarse is None or doubt is None:
        return mask
    share = resize(doubt, height, width)
    mask *= share
    share = np.subtract(1, share, out=share)
    share *= resize(coarse, height, width)
    mask += share
    return mask


def _doubt(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weight of the tiles, 0 to 1, at each pixel of the coarse mask (h, w): 1 in and around uncertain pixels.

    It is 1 up to two cells of stride 4 away, and falls to 0 over two more.
    """
    unsure = torch.from_numpy(((coarse > SURE) & (coarse < 1 - SURE)).astype(np.float32))[None]  # (1, h, w)
    # An edge between two certain pixels is uncertain, too.
    inside = torch.from_numpy((coarse >= 0.5).astype(np.float32))[None]
    edge = F.max_pool2d(inside, 3, 1, 1) + F.max_pool2d(-inside, 3, 1, 1)
    near = F.max_pool2d(torch.maximum(unsure, edge), 25, 1, 12)
    return F.avg_pool2d(near, 9, 1, 4, count_include_pad=False)[0].numpy()


def _crop(small: NDArray, part: tuple[slice, slice], height: int, width: int) -> NDArray:
    """The part of a small map that corresponds to a part of the large one, with the margin that resizing reads."""
    where = []
    for piece, length, whole in zip(part, small.shape, (height, width), strict=True):
        scale = length / whole
        where.append(slice(max(0, int(piece.start * scale) - 2), int(piece.stop * scale) + 3))
    return small[tuple(where)]


def _coarse_size(model: nn.Module) -> tuple[int, int]:
    if not hasattr(getattr(model, "config", None), "train_size"):
        raise ValueError(
            "The model does not say at which size it was trained, so that there is no size for the coarse mask: "
            "pass guided=False."
        )
    return network_size(model)


def _to_bytes(memory: float) -> float:
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not 0 < memory < float("inf"):
        raise ValueError(f"memory is {memory!r}; it is a number of MiB above 0, such as 2000.")
    return memory * MIB


def _smallest(model: nn.Module, height: int, width: int) -> tuple[int, int]:
    least = -(-getattr(model, "min_size", STRIDE) // STRIDE) * STRIDE
    return min(least, height), min(least, width)


def _tile_bytes(model: nn.Module, height: int, width: int) -> int:
    """Bytes of a forward pass, a tenth more for the allocator's gaps, and of the tile before and after normalising."""
    return forward_bytes(model, height, width) * 11 // 10 + 48 * height * width
