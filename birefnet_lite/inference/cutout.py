"""The colours of an object without those of what was behind it."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["estimate_foreground"]

# A pixel's colour counts as foreground by alpha, squared this often (to the power 16): hardly where some background
# shows through.
SQUARINGS = 4
# Where a cell of a smaller picture holds one sure pixel in this many, its colour is kept.
TRUST = 16
# How strongly the fitted colours hold on to their estimates, against the pixel itself. 0 is not at all.
STIFFNESS = 0.4
# The estimates are smooth, so that they are made on a smaller picture: it has at most this many pixels.
ESTIMATE_PIXELS = 2_000_000
_ROWS = 512


def estimate_foreground(
    pixels: NDArray[np.uint8] | NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The foreground colours F in the mixture I = alpha F + (1 - alpha) B that each pixel of a photo is.

    Two steps. First F and B are estimated where they are unknown, from where they are seen alone: colours are averaged
    into ever smaller pictures, each pixel weighted by how sure it is, and come back up where the finer picture is not
    sure. Then each pixel moves both so that they mix to what the photo shows. Where alpha is 1, F is the photo; where
    it is 0, F is what the nearest foreground looks like. A flat mask says nothing about the colours: F is the photo.
    Shapes: pixels (H, W, 3), uint8 or float in [0, 1]; alpha (H, W) in [0, 1]; result (H, W, 3). The memory needed
    beside the result is bounded, whatever the size. The mixture is that of Porter and Duff (1984); the same two terms,
    solved together and more slowly, are in Germer et al., "Fast multi-level foreground estimation" (2020).
    """
    result = np.empty(pixels.shape, np.uint8)
    least, most = float(alpha.min()), float(alpha.max())
    flat = least == most
    foreground = None if flat else _estimate(pixels, alpha, 0.0, most)
    background = None if flat else _estimate(pixels, alpha, 1.0, 1 - least)
    for start in range(0, alpha.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        if flat:
            result[rows] = _as_bytes(pixels[rows])
            continue
        a = alpha[rows]
        strip = _nearest(foreground, alpha.shape, rows)
        strip[a == 1] = _as_bytes(pixels[rows][a == 1])
        y, x = np.nonzero((a > 0) & (a < 1))
        a = a[y, x, None]  # (N, 1)
        f, b = (_between(picture, alpha.shape, y + start, x) for picture in (foreground, background))  # (N, 3)
        # The pair nearest to (f, b) that mixes to the photo; stiffness damps where it is both.
        rest = _as_float(pixels[rows][y, x]) - a * f - (1 - a) * b
        strip[y, x] = _as_bytes(f + rest * a / (a**2 + (1 - a) ** 2 + STIFFNESS * a * (1 - a)))
        result[rows] = strip
    return result


def _estimate(pixels: NDArray, alpha: NDArray, other: float, most: float) -> NDArray[np.float32]:
    """A smooth picture (h, w, 3) of the colours on one side: the foreground (`other` is 0) or the background (1)."""
    height, width = alpha.shape
    factor = int(np.ceil(np.sqrt(height * width / ESTIMATE_PIXELS)))
    strips = []
    step = max(1, _ROWS // factor) * factor
    for start in range(0, height, step):
        rows = slice(start, start + step)
        weight = abs(alpha[rows, :, None] - other) / most
        for _ in range(SQUARINGS):  # many times faster than a power
            weight *= weight
        sums = np.concatenate([_as_float(pixels[rows]) * weight, weight], axis=2)  # (rows, W, 4)
        sums = torch.from_numpy(sums).permute(2, 0, 1)[None]  # (1, 4, rows, W)
        strips.append(F.avg_pool2d(sums, factor, ceil_mode=True, count_include_pad=False) if factor > 1 else sums)
    filled = _fill(torch.cat(strips, dim=2))
    return filled[0].permute(1, 2, 0).numpy()  # (h, w, 3)


def _fill(sums: Tensor) -> Tensor:
    """(1, 4, h, w), weighted colours and their weights in [0, 1], to colours everywhere, (1, 3, h, w)."""
    pyramid = [sums]
    while max(pyramid[-1].shape[-2:]) > 1:
        window = tuple(min(2, side) for side in pyramid[-1].shape[-2:])
        pyramid.append(F.avg_pool2d(pyramid[-1], window, ceil_mode=True, count_include_pad=False))
    filled = None
    for level in reversed(pyramid):
        weight = level[:, 3:]
        colours = level[:, :3] / weight.clamp_min(1e-30)
        if filled is not None:
            coarse = F.interpolate(filled, size=level.shape[-2:], mode="bilinear", align_corners=False)
            trust = 1 if level is sums else TRUST
            colours = torch.lerp(coarse, colours, (trust * weight).clamp(max=1))
        filled = colours
    return filled


def _nearest(small: NDArray, shape: tuple[int, int], rows: slice) -> NDArray[np.uint8]:
    """Some rows of a small picture (h, w, 3), enlarged to the height and width of `shape` by repeating pixels."""
    y, x = (np.arange(full) * part // full for full, part in zip(shape, small.shape[:2], strict=True))
    return _as_bytes(small)[y[rows]][:, x]


def _between(small: NDArray, shape: tuple[int, int], y: NDArray, x: NDArray) -> NDArray[np.float32]:
    """The colours (N, 3) at pixels (y, x) of a small picture (h, w, 3), enlarged bilinearly to `shape`."""
    (top, bottom, down), (left, right, along) = (
        _neighbours(at, full, part) for at, full, part in zip((y, x), shape, small.shape[:2], strict=True)
    )
    above = small[top, left] * (1 - along) + small[top, right] * along
    below = small[bottom, left] * (1 - along) + small[bottom, right] * along
    return above * (1 - down) + below * down


def _neighbours(at: NDArray, full: int, part: int) -> tuple[NDArray, NDArray, NDArray[np.float32]]:
    """For pixels of `full`, the two of `part` on either side (N), and how far they lie towards the second (N, 1)."""
    position = ((at + 0.5) * (part / full) - 0.5).clip(0, part - 1)
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, part - 1), (position - first).astype(np.float32)[:, None]


def _as_float(pixels: NDArray) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels


def _as_bytes(pixels: NDArray) -> NDArray[np.uint8]:
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
