"""Foreground colours for cut-outs: the colours of an object without those of the background behind it."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["estimate_foreground"]

# Pixels are weighted by alpha**16, so that semi-transparent ones barely count: alpha is squared this many times.
SQUARINGS = 4
# On the coarser levels of the pyramid, a cell keeps its own colour if one pixel in this many is opaque.
CELLS_PER_OPAQUE_PIXEL = 16
# How strongly the final colours are held to their estimates; 0 lets each pixel move freely.
STIFFNESS = 0.4
# The estimates are smooth, so they are made on a smaller image with at most this many pixels.
ESTIMATE_PIXELS = 2_000_000
# The photo is processed in strips of about this many pixels, which fit the processor's cache.
STRIP_PIXELS = 400_000


def estimate_foreground(
    pixels: NDArray[np.uint8] | NDArray[np.float32], alpha: NDArray[np.uint8] | NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Estimate the foreground colours F in the mixture I = alpha F + (1 - alpha) B of every pixel.

    Two steps. First, smooth estimates of F and B are made from the pixels where they are visible alone: colours are
    averaged over ever larger cells, weighted by alpha**16 or (1 - alpha)**16, and the coarse colours fill the fine
    cells without weight. Second, F and B of each pixel move by the least squares step to a pair that mixes to the
    photo. Where alpha is 1, F is the photo; where it is 0, F is the colour of the nearest foreground. A constant alpha
    contains no information about the colours, so the photo is returned.

    The mixture is that of Porter and Duff (1984). Germer et al., "Fast multi-level foreground estimation" (2020),
    minimize the same two terms together, iteratively.

    Args:
        pixels: (H, W, 3), uint8 or float in [0, 1].
        alpha: (H, W), uint8 or float in [0, 1].

    Returns:
        F as uint8 (H, W, 3). The additional memory is bounded, whatever the size of the photo.

    Examples:
        >>> import numpy as np
        >>> pixels = np.full((8, 8, 3), 100, np.uint8)
        >>> estimate_foreground(pixels, np.full((8, 8), 0.5, np.float32)).shape
        (8, 8, 3)
    """
    height, width = alpha.shape
    least, most = (float(value * _scale(alpha)) for value in (alpha.min(), alpha.max()))
    result = np.empty(pixels.shape, np.uint8)
    factor = math.ceil(math.sqrt(height * width / ESTIMATE_PIXELS))
    rows = max(1, STRIP_PIXELS // (width * factor)) * factor
    strips = [slice(start, min(start + rows, height)) for start in range(0, height, rows)]
    small = None
    if least < most:
        sums = [_weighted_cells(pixels[strip], alpha[strip], factor, least, most) for strip in strips]
        foreground, background = (_fill(part) for part in torch.cat(sums, dim=2).split(4, dim=1))
        small = torch.cat([foreground, foreground - background], dim=1)  # (1, 6, h, w)
    for strip in strips:
        image = _as_planes(pixels[strip])  # (3, rows, W)
        if small is not None:
            f, difference = _enlarge(small, factor, strip, width).split(3)  # (3, rows, W)
            a = _as_planes(alpha[strip, :, None])[0]  # (rows, W)
            b = 1 - a
            # The pair nearest to (F, B) that mixes to the photo, damped where alpha is about 0.5.
            gain = a / (a.square() + b.square() + STIFFNESS * a * b)
            image = (image - f).addcmul_(difference, b).mul_(gain).add_(f)
        levels = image.mul_(255).round_().clamp_(0, 255)
        torch.from_numpy(result)[strip].permute(2, 0, 1).copy_(levels)
    return result


def _as_planes(pixels: NDArray) -> Tensor:
    """(H, W, C), uint8 or float in [0, 1], as a float tensor (C, H, W) in [0, 1]; always a copy."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
    np.multiply(pixels.transpose(2, 0, 1), _scale(pixels), out=planes)
    return torch.from_numpy(planes)


def _scale(values: NDArray) -> np.float32:
    return np.float32(1 / 255 if values.dtype == np.uint8 else 1)


def _weighted_cells(pixels: NDArray, alpha: NDArray, factor: int, least: float, most: float) -> Tensor:
    """Means over cells of `factor` x `factor` pixels: (1, 8, h, w).

    Channels: colours weighted for the foreground (3), that weight, and the same for the background. Weights are
    relative to the largest alpha, or the smallest, of the photo. Cells at the border count missing pixels as zero.
    """
    image, a = _as_planes(pixels), _as_planes(alpha[..., None])[0]
    height, width = a.shape
    cells = torch.zeros(8, height + -height % factor, width + -width % factor)
    for first, weight in ((0, a / most), (4, (1 - a) / (1 - least))):
        for _ in range(SQUARINGS):  # many times faster than a power
            weight.mul_(weight)
        torch.mul(image, weight, out=cells[first : first + 3, :height, :width])
        cells[first + 3, :height, :width] = weight
    if factor > 1:
        by_row = sum((cells[:, i::factor] for i in range(1, factor)), cells[:, ::factor])
        cells = sum((by_row[:, :, i::factor] for i in range(1, factor)), by_row[:, :, ::factor]) / factor**2
    return cells[None]


def _fill(sums: Tensor) -> Tensor:
    """Weighted colours and their weight in [0, 1], (1, 4, h, w), to colours in every cell, (1, 3, h, w)."""
    pyramid = [sums]
    while max(pyramid[-1].shape[-2:]) > 1:
        window = tuple(min(2, side) for side in pyramid[-1].shape[-2:])
        pyramid.append(F.avg_pool2d(pyramid[-1], window, ceil_mode=True, count_include_pad=False))
    coarsest = pyramid.pop()
    filled = coarsest[:, :3] / coarsest[:, 3:].clamp_min(1e-30)
    for level in reversed(pyramid):
        weight = level[:, 3:]
        own = level[:, :3] / weight.clamp_min(1e-30)
        coarse = F.interpolate(filled, size=level.shape[-2:], mode="bilinear", align_corners=False)
        trust = 1 if level is sums else CELLS_PER_OPAQUE_PIXEL
        filled = torch.lerp(coarse, own, (trust * weight).clamp(max=1))
    return filled


def _enlarge(small: Tensor, factor: int, strip: slice, width: int) -> Tensor:
    """Some rows of a smaller image (1, C, h, w), enlarged bilinearly by `factor`: (C, rows, width)."""
    # One more cell above and below, which the rows at the strip's edges are mixed with.
    first = max(strip.start // factor - 1, 0)
    part = small[:, :, first : -(-strip.stop // factor) + 1]
    if factor > 1:
        part = F.interpolate(part, scale_factor=float(factor), mode="bilinear", recompute_scale_factor=False)
    top = strip.start - first * factor
    return part[0, :, top : top + strip.stop - strip.start, :width]
