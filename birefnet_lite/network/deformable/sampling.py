"""Turns the offsets and modulation of a deformable convolution into rows of a table of pixels, and their weights.

Letters in the shapes: B images, P = H' * W' output pixels, T = kh * kw taps, G offset groups, n = B * P * T * G points.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["FRAME", "Geometry", "Points", "Sampler", "kernel_to_matrix", "matrix_to_kernel"]

# The input is padded with two pixels of zeros. A point is clamped to the padded map, so that its four corners always
# exist, and pixels outside the image count as zero without a comparison. One pixel would be enough for the values, but
# a point clamped from far away to -1 would still have pixel 0 in its gradient.
FRAME = 2


class Geometry(NamedTuple):
    """Size of the kernel and position of its taps; pairs are (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    out_size: tuple[int, int]
    offset_groups: int

    @classmethod
    def of(
        cls, offset: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> "Geometry":
        """Read size of the kernel, size of the result, and number of groups from the shapes of offset and weight."""
        kh, kw = weight.shape[2:]
        return cls(
            kernel=(kh, kw),
            stride=(stride[0], stride[1]),
            padding=(padding[0], padding[1]),
            dilation=(dilation[0], dilation[1]),
            out_size=(offset.shape[2], offset.shape[3]),
            offset_groups=offset.shape[1] // (2 * kh * kw),
        )

    def by_pixel(self, maps: Tensor) -> Tensor:
        """View maps with pixels before taps: (B, G * T * D, H', W') to (D, B, P, T, G).

        D is 2 for offsets (dy, dx) and 1 for modulation.
        """
        b, channels, h, w = maps.shape
        taps = self.kernel[0] * self.kernel[1]
        shape = (b, self.offset_groups, taps, channels // (self.offset_groups * taps), h * w)  # (B, G, T, D, P)
        return maps.reshape(shape).permute(3, 0, 4, 2, 1)


class Points(NamedTuple):
    """The positions at which one block of n points is read."""

    rows: Tensor  # (n, 4) int32: the corners of each point, top left, top right, bottom left, bottom right
    weights: Tensor  # (n, 4): bilinear weight times modulation
    fraction: Tensor  # (2, n): how far the point lies below and to the right of its top left corner, in [0, 1)
    modulation: Tensor | None  # (n,)


class Sampler:
    """Computes the `Points` of one block of images and output pixels at a time."""

    def __init__(self, x: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry):
        b, _, h, w = x.shape
        self.dtype, device = torch.promote_types(x.dtype, torch.float32), x.device
        self.groups, self.pitch = geometry.offset_groups, w + 2 * FRAME
        self.offset = geometry.by_pixel(offset)
        self.mask = None if mask is None else geometry.by_pixel(mask)[0]

        def grid(size: tuple[int, int], step: tuple[int, int], start: tuple[int, int]) -> Tensor:
            y, x = (
                torch.arange(s, s + n * d, d, dtype=self.dtype, device=device)
                for n, d, s in zip(size, step, start, strict=True)
            )
            return torch.stack([y[:, None].expand(size), x.expand(size)]).flatten(1)  # (2, H * W)

        start = (FRAME - geometry.padding[0], FRAME - geometry.padding[1])
        self.pixel = grid(geometry.out_size, geometry.stride, start).view(2, 1, -1, 1, 1)
        self.tap = grid(geometry.kernel, geometry.dilation, (0, 0)).view(2, 1, 1, -1, 1)
        self.low = torch.zeros((), dtype=self.dtype, device=device)
        self.high = torch.tensor([h + FRAME, w + FRAME], dtype=self.dtype, device=device).view(2, 1, 1, 1, 1)
        image_rows = (h + 2 * FRAME) * self.pitch * self.groups
        image = torch.arange(0, b * image_rows, image_rows, dtype=torch.int32, device=device)
        self.first = image.view(-1, 1, 1, 1) + torch.arange(
            self.groups, dtype=torch.int32, device=device
        )  # (B, 1, 1, G)
        self.last = b * image_rows - (self.pitch + 1) * self.groups - 1

    def __call__(self, images: slice, pixels: slice) -> Points:
        """Compute the points of some images and some output pixels."""
        at = self._block(self.offset[:, images, pixels])
        at += self.pixel[:, :, pixels] + self.tap  # (2, B, P, T, G)
        at = torch.clamp(at, self.low, self.high)
        corner = at.floor()
        below, right = fraction = at.sub_(corner)
        corner = corner.to(torch.int32)
        row = torch.add(corner[1], corner[0], alpha=self.pitch).mul_(self.groups).add_(self.first[images])
        row.clamp_(0, self.last)  # an offset that is NaN must give NaN, not an address outside the table
        modulation = None if self.mask is None else self._block(self.mask[images, pixels])
        bottom = below if modulation is None else below * modulation
        top = 1 - bottom if modulation is None else modulation - bottom
        rows = torch.empty(*row.shape, 4, dtype=torch.int32, device=row.device)
        for i, step in enumerate((0, 1, self.pitch, self.pitch + 1)):
            torch.add(row, step * self.groups, out=rows[..., i])
        weights = torch.empty(rows.shape, dtype=self.dtype, device=row.device)
        for i, side in ((0, top), (2, bottom)):
            torch.mul(side, right, out=weights[..., i + 1])
            torch.sub(side, weights[..., i + 1], out=weights[..., i])
        modulation = None if modulation is None else modulation.view(-1)
        return Points(rows.view(-1, 4), weights.view(-1, 4), fraction.view(2, -1), modulation)

    def _block(self, maps: Tensor) -> Tensor:
        return maps.to(self.dtype, copy=True, memory_format=torch.contiguous_format)


def kernel_to_matrix(weight: Tensor) -> Tensor:
    """Reshape a kernel to a matrix in the order of the columns: (O, C, kh, kw) to (O, T * C)."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def matrix_to_kernel(matrix: Tensor, like: Tensor) -> Tensor:
    """Invert `kernel_to_matrix`, without a copy: (O, T * C) to (O, C, kh, kw), with C last in memory."""
    o, c, kh, kw = like.shape
    return matrix.view(o, kh, kw, c).permute(0, 3, 1, 2)
