"""Deformable convolution on a CPU: a gather and a matrix product, in blocks of pixels that fit the cache.

The formula (Dai et al. 2017, eq. 2, with the modulation of Zhu et al. 2019, eq. 1), for every output pixel p:

    y(p) = sum over taps k of  w_k . m_k(p) . x(p + p_k + dp_k(p))

p_k is the tap's position in an ordinary kernel, dp_k(p) the learned offset, m_k(p) the learned modulation, w_k an
O x C matrix. The point p + p_k + dp_k lies between four pixels of x, so its value is a weighted sum of four rows of C
numbers:

1. `Sampler` finds the four rows of each point and their weights (m_k is one more factor in the weights).
2. `_gather` adds them up. The result is one column, m_k(p) . x(p + p_k + dp_k).
3. A matrix product takes the columns of all taps to the O outputs.

torchvision first writes the columns of the whole image, k x k times the input. Here one block of columns exists at a
time, and stays in the cache. The backward computes the columns again, block by block, and inverts the three steps.

Letters in the shapes: B images, P = H' * W' output pixels, T = kh * kw taps, G offset groups, n = B * P * T * G points.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from birefnet_lite.network.deformable.sampling import (
    FRAME,
    Geometry,
    Points,
    Sampler,
    kernel_to_matrix,
    matrix_to_kernel,
)

__all__ = ["backward", "forward", "iterate_columns"]

# Numbers in one block of columns: 4 MiB of float32, about the second-level caches of two cores.
BLOCK_NUMBERS = 1 << 20

SUM = 0  # the mode of embedding_bag: a weighted sum of rows


def _table(x: Tensor, groups: int, dtype: torch.dtype | None = None) -> Tensor:
    """Copy the input, padded by FRAME, into a table of rows: (B, C, H, W) to (B * (H+4) * (W+4) * G, C / G).

    Without a dtype, the table has at least the precision of float32.
    """
    b, c, h, w = x.shape
    dtype = dtype or torch.promote_types(x.dtype, torch.float32)
    table = torch.zeros(b, h + 2 * FRAME, w + 2 * FRAME, c, dtype=dtype, device=x.device)
    table[:, FRAME:-FRAME, FRAME:-FRAME] = x.permute(0, 2, 3, 1)  # (B, H, W, C)
    return table.view(-1, c // groups)


def _untable(table: Tensor, like: Tensor) -> Tensor:
    """Copy a table of rows, without the frame, into a map (B, C, H, W): the transpose of `_table`."""
    b, c, h, w = like.shape
    framed = table.view(b, h + 2 * FRAME, w + 2 * FRAME, c)
    x = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    return x.copy_(framed[:, FRAME:-FRAME, FRAME:-FRAME].permute(0, 3, 1, 2))


def _gather(table: Tensor, points: Points) -> Tensor:
    """Compute the columns, each the weighted sum of four rows of the table: (rows, C) to (n, C)."""
    if table.device.type != "cpu":
        return (table[points.rows] * points.weights[..., None]).sum(1)
    bags = torch.arange(0, points.rows.numel(), 4, dtype=torch.int32)
    rows, weights = points.rows.view(-1), points.weights.view(-1).to(table.dtype)
    return torch.embedding_bag(table, rows, bags, mode=SUM, per_sample_weights=weights)[0]


def _products(columns: Tensor, table: Tensor, points: Points) -> Tensor:
    """Compute the scalar product of each column with each of its four rows: (n, C) to (n, 4)."""
    if table.device.type != "cpu":
        return (table[points.rows] * columns[:, None]).sum(-1)
    n = len(columns)
    bags = torch.arange(0, 4 * n, 4, dtype=torch.int32)
    bag_of = torch.arange(n, dtype=torch.int32).repeat_interleave(4)
    products = torch.ops.aten._embedding_bag_per_sample_weights_backward
    return products(columns, table, points.rows.view(-1), bags, bag_of, SUM, -1).view(n, 4)


def _scatter(columns: Tensor, table: Tensor, points: Points) -> None:
    """Add each column, times its weights, to its four rows of the table: the transpose of `_gather`.

    Sorted by row, the scatter becomes a gather (each row of the table is a sum of columns): no two threads write to
    the same row, and the order of summation is fixed.
    """
    rows, weights = points.rows.view(-1), points.weights.view(-1)
    if table.device.type != "cpu":
        table.index_add_(0, rows, (columns[:, None] * weights.view(-1, 4, 1)).flatten(0, 1))
        return
    first, last = (int(row) for row in rows.aminmax())
    rows = rows - first
    if last - first < 1 << 16:  # numpy sorts keys of 16 bits by radix, twice as fast as torch
        order = torch.from_numpy(np.argsort(rows.numpy().astype(np.uint16), kind="stable"))
    else:
        order = rows.sort(stable=True).indices
    counts = rows.bincount(minlength=last - first + 1)
    bags = counts.cumsum(0) - counts
    sums = torch.embedding_bag(columns, order >> 2, bags, mode=SUM, per_sample_weights=weights[order])[0]
    table[first : last + 1] += sums


def _blocks(images: int, pixels: int, numbers_per_pixel: int) -> list[tuple[slice, slice]]:
    """Cut the work into slices (images, pixels) of at most BLOCK_NUMBERS: several images, or a part of one."""
    fit = max(1, BLOCK_NUMBERS // numbers_per_pixel)
    if fit >= pixels:
        step = fit // pixels
        return [(slice(i, min(i + step, images)), slice(0, pixels)) for i in range(0, images, step)]
    step = -(-pixels // -(-pixels // fit))  # parts of about the same size
    return [(slice(i, i + 1), slice(p, min(p + step, pixels))) for i in range(images) for p in range(0, pixels, step)]


def iterate_columns(
    x: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Compute the columns block by block: the block's images, its pixels, and their columns (B * P, T * C).

    Positions are computed in float32 for half precision. On a CPU, bfloat16 is gathered as bfloat16, with sums in
    float32: rows of half the size are read in half the time.
    """
    height, width = geometry.out_size
    numbers = geometry.kernel[0] * geometry.kernel[1] * x.shape[1]  # of one pixel
    low = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    table = _table(x, geometry.offset_groups, torch.bfloat16 if low else None)
    sampler = Sampler(x, offset, mask, geometry)
    for images, pixels in _blocks(len(x), height * width, numbers // 2 if low else numbers):
        yield images, pixels, _gather(table, sampler(images, pixels)).to(x.dtype).view(-1, numbers)


def forward(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Compute the convolution, with the shapes of `deform_conv2d` but without groups of the kernel.

    The matrix product runs in the dtype of x. The result has channels last, as the product of columns and weights
    comes out.
    """
    matrix = kernel_to_matrix(weight).contiguous()
    size = (len(x), len(weight), *geometry.out_size)
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    rows = y.permute(0, 2, 3, 1).flatten(1, 2)  # (B, P, O); the result itself is not a view: it may be changed in place
    for images, pixels, columns in iterate_columns(x, offset, mask, geometry):
        torch.mm(columns, matrix.t(), out=rows[images, pixels].view(-1, len(weight)))
    if bias is not None:
        y += bias.view(-1, 1, 1)
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    geometry: Geometry,
    needs: list[bool],
) -> tuple[Tensor | None, ...]:
    """Compute the gradients for x, offset, mask and weight; None for those that `needs` does not ask for."""
    need_x, need_offset, need_mask, need_weight = needs
    table, matrix = _table(x, geometry.offset_groups), kernel_to_matrix(weight)
    sampler = Sampler(x, offset, mask, geometry)
    o, width = matrix.shape
    grad = grad.flatten(2)  # (B, O, P)
    grad_table = torch.zeros_like(table) if need_x else None
    grad_matrix = torch.zeros(matrix.shape, dtype=table.dtype, device=x.device) if need_weight else None
    grad_offset = torch.empty(offset.shape, dtype=offset.dtype, device=x.device) if need_offset else None
    grad_mask = None if mask is None or not need_mask else torch.empty(mask.shape, dtype=mask.dtype, device=x.device)
    for images, pixels in _blocks(len(grad), grad.shape[2], width):
        points = sampler(images, pixels)
        out = grad[images, :, pixels].transpose(1, 2).reshape(-1, o)  # (B * P, O)
        if grad_matrix is not None:
            _add_product(grad_matrix, out, _gather(table, points).view(-1, width))
        if grad_table is None and grad_offset is None and grad_mask is None:
            continue
        columns = (out @ matrix).to(table.dtype).view(-1, table.shape[1])  # the columns' gradients, (n, C / G)
        if grad_table is not None:
            _scatter(columns, grad_table, points)
        if grad_offset is not None or grad_mask is not None:
            *shift, modulation = _point_gradients(_products(columns, table, points), points)
            if grad_offset is not None:
                for axis, view in enumerate(geometry.by_pixel(grad_offset)[:, images, pixels]):
                    view.copy_(shift[axis].view(view.shape))
            if grad_mask is not None:
                view = geometry.by_pixel(grad_mask)[0, images, pixels]
                view.copy_(modulation.view(view.shape))
        del points, columns  # frees their memory before the next block's
    grad_weight = None if grad_matrix is None else matrix_to_kernel(grad_matrix.to(weight.dtype), weight)
    return None if grad_table is None else _untable(grad_table, x), grad_offset, grad_mask, grad_weight


def _add_product(total: Tensor, out: Tensor, columns: Tensor) -> None:
    """Add out^T @ columns to a total, in the total's precision also for factors of half precision."""
    if out.dtype == total.dtype:
        total.addmm_(out.t(), columns)
    else:
        total += out.t() @ columns.to(out.dtype)


def _point_gradients(products: Tensor, points: Points) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of dy, dx and modulation, (n,) each, from the products at the corners, (n, 4).

    They are the derivatives of the bilinear interpolation down and across, and its value.
    """
    below, right = points.fraction
    top_left, top_right, bottom_left, bottom_right = products.t()
    top, bottom = torch.lerp(top_left, top_right, right), torch.lerp(bottom_left, bottom_right, right)
    dy = bottom - top
    dx = torch.lerp(top_right - top_left, bottom_right - bottom_left, below)
    if points.modulation is not None:
        dy *= points.modulation
        dx *= points.modulation
    return dy, dx, torch.lerp(top, bottom, below)
