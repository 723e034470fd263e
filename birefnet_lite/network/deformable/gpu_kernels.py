"""The Triton kernels of deformable convolution; `gpu.py` explains them and prepares their arguments.

The numbers of channels are compile-time constants: the compiler then knows the alignment of a pixel's channels, and
reads and writes 16 bytes at once instead of 2 or 4.
"""

import triton
import triton.language as tl

__all__ = ["forward", "points", "weight"]


@triton.jit
def _point(
    offset, mask, image, pixel, live, tap, group, height, width, out_pixels, out_width,
    kernel_y: tl.constexpr, kernel_x: tl.constexpr, stride_y: tl.constexpr, stride_x: tl.constexpr,
    padding_y: tl.constexpr, padding_x: tl.constexpr, dilation_y: tl.constexpr, dilation_x: tl.constexpr,
    groups: tl.constexpr, masked: tl.constexpr,
):  # fmt: skip
    """Compute where one tap reads, for each pixel: top left corner, fractions below and right of it, modulation."""
    at = ((image * groups + group) * (kernel_y * kernel_x) + tap).to(tl.int64)
    shift_y = tl.load(offset + (2 * at) * out_pixels + pixel, mask=live, other=0.0).to(tl.float32)
    shift_x = tl.load(offset + (2 * at + 1) * out_pixels + pixel, mask=live, other=0.0).to(tl.float32)
    y = ((pixel // out_width) * stride_y - padding_y + (tap // kernel_x) * dilation_y).to(tl.float32) + shift_y
    x = ((pixel % out_width) * stride_x - padding_x + (tap % kernel_x) * dilation_x).to(tl.float32) + shift_x
    # Points far outside are clamped to the range of an integer, still outside. NaN stays NaN.
    y = tl.where(y < -2.0, -2.0, tl.where(y > height * 1.0, height * 1.0, y))
    x = tl.where(x < -2.0, -2.0, tl.where(x > width * 1.0, width * 1.0, x))
    top, left = tl.floor(y), tl.floor(x)
    modulation = tl.full(pixel.shape, 1.0, tl.float32)
    if masked:
        modulation = tl.load(mask + at * out_pixels + pixel, mask=live, other=0.0).to(tl.float32)
    return top.to(tl.int32), left.to(tl.int32), y - top, x - left, modulation


@triton.jit
def _address(image, row, column, height, width, channels, channel, live, inside):
    """Compute the addresses (P, C) of one corner of each point in (B, H, W, C), and whether they are in the image."""
    seen = live & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = ((image * height + row).to(tl.int64) * width + column) * channels
    return at[:, None] + channel[None, :], seen[:, None] & inside[None, :]


@triton.jit
def _corner(x, image, row, column, height, width, channels, channel, live, inside):
    at, seen = _address(image, row, column, height, width, channels, channel, live, inside)
    return tl.load(x + at, mask=seen, other=0.0).to(tl.float32)


@triton.jit
def _columns(x, image, top, left, below, right, modulation, height, width, channels, channel, live, inside):
    """Compute the columns of one tap, (P, C) in float32: the weighted sum of four corners."""
    upper = (1 - below) * modulation
    lower = below * modulation
    a = _corner(x, image, top, left, height, width, channels, channel, live, inside)
    b = _corner(x, image, top, left + 1, height, width, channels, channel, live, inside)
    c = _corner(x, image, top + 1, left, height, width, channels, channel, live, inside)
    d = _corner(x, image, top + 1, left + 1, height, width, channels, channel, live, inside)
    first = (upper * (1 - right))[:, None] * a + (upper * right)[:, None] * b
    return first + (lower * (1 - right))[:, None] * c + (lower * right)[:, None] * d


@triton.jit
def _dot(a, b, total, upcast: tl.constexpr, precision: tl.constexpr):
    if upcast:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=precision)


@triton.jit
def forward(
    x, offset, mask, matrix, y,
    count, height, width, channels: tl.constexpr, outputs: tl.constexpr, out_pixels, out_width,
    kernel_y: tl.constexpr, kernel_x: tl.constexpr, stride_y: tl.constexpr, stride_x: tl.constexpr,
    padding_y: tl.constexpr, padding_x: tl.constexpr, dilation_y: tl.constexpr, dilation_x: tl.constexpr,
    groups: tl.constexpr, masked: tl.constexpr, upcast: tl.constexpr, precision: tl.constexpr,
    block_p: tl.constexpr, block_c: tl.constexpr, block_o: tl.constexpr,
):  # fmt: skip
    """One program: `block_p` pixels, `block_o` outputs, all taps and channels."""
    n = tl.program_id(0) * block_p + tl.arange(0, block_p)
    output = tl.program_id(1) * block_o + tl.arange(0, block_o)
    live, wanted = n < count, output < outputs
    image, pixel = n // out_pixels, n % out_pixels
    per_group = channels // groups
    row = kernel_y * kernel_x * channels
    total = tl.zeros((block_p, block_o), tl.float32)
    for tap in range(kernel_y * kernel_x):
        for group in range(groups):
            top, left, below, right, modulation = _point(
                offset, mask, image, pixel, live, tap, group, height, width, out_pixels, out_width,
                kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x, groups, masked,
            )  # fmt: skip
            for start in range(0, per_group, block_c):
                channel = group * per_group + start + tl.arange(0, block_c)
                inside = channel < (group + 1) * per_group
                columns = _columns(
                    x, image, top, left, below, right, modulation, height, width, channels, channel, live, inside
                )
                factors = tl.load(
                    matrix + output[None, :] * row + tap * channels + channel[:, None],
                    mask=inside[:, None] & wanted[None, :],
                    other=0.0,
                )
                total = _dot(columns.to(factors.dtype), factors, total, upcast, precision)
    to = (image.to(tl.int64) * outputs)[:, None] * out_pixels + output[None, :] * out_pixels + pixel[:, None]
    tl.store(y + to, total.to(y.dtype.element_ty), mask=live[:, None] & wanted[None, :])


@triton.jit
def points(
    x, offset, mask, matrix, grad, grad_x, grad_offset, grad_mask,
    count, height, width, channels: tl.constexpr, outputs: tl.constexpr, out_pixels, out_width,
    kernel_y: tl.constexpr, kernel_x: tl.constexpr, stride_y: tl.constexpr, stride_x: tl.constexpr,
    padding_y: tl.constexpr, padding_x: tl.constexpr, dilation_y: tl.constexpr, dilation_x: tl.constexpr,
    groups: tl.constexpr, masked: tl.constexpr, upcast: tl.constexpr, precision: tl.constexpr, need_x: tl.constexpr,
    block_p: tl.constexpr, block_c: tl.constexpr, block_o: tl.constexpr,
):  # fmt: skip
    """One program: `block_p` pixels, one tap of one offset group; the gradients of its columns, and what follows."""
    n = tl.program_id(0) * block_p + tl.arange(0, block_p)
    tap, group = tl.program_id(1) // groups, tl.program_id(1) % groups
    live = n < count
    image, pixel = n // out_pixels, n % out_pixels
    per_group = channels // groups
    row = kernel_y * kernel_x * channels
    top, left, below, right, modulation = _point(
        offset, mask, image, pixel, live, tap, group, height, width, out_pixels, out_width,
        kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x, groups, masked,
    )  # fmt: skip
    a = tl.zeros((block_p,), tl.float32)  # the products of the columns' gradients with their corners
    b = tl.zeros((block_p,), tl.float32)
    c = tl.zeros((block_p,), tl.float32)
    d = tl.zeros((block_p,), tl.float32)
    for start in range(0, per_group, block_c):
        channel = group * per_group + start + tl.arange(0, block_c)
        inside = channel < (group + 1) * per_group
        columns = tl.zeros((block_p, block_c), tl.float32)
        for first in range(0, outputs, block_o):
            output = first + tl.arange(0, block_o)
            wanted = output < outputs
            at = (image.to(tl.int64) * outputs)[:, None] * out_pixels + output[None, :] * out_pixels + pixel[:, None]
            slope = tl.load(grad + at, mask=live[:, None] & wanted[None, :], other=0.0)
            factors = tl.load(
                matrix + output[:, None] * row + tap * channels + channel[None, :],
                mask=wanted[:, None] & inside[None, :],
                other=0.0,
            )
            columns = _dot(slope, factors, columns, upcast, precision)
        a += tl.sum(columns * _corner(x, image, top, left, height, width, channels, channel, live, inside), 1)
        b += tl.sum(columns * _corner(x, image, top, left + 1, height, width, channels, channel, live, inside), 1)
        c += tl.sum(columns * _corner(x, image, top + 1, left, height, width, channels, channel, live, inside), 1)
        d += tl.sum(columns * _corner(x, image, top + 1, left + 1, height, width, channels, channel, live, inside), 1)
        if need_x:
            for i in range(4):
                down, across = i // 2, i % 2
                share = (1 - below) * (1 - down) + below * down
                share *= ((1 - right) * (1 - across) + right * across) * modulation
                at, seen = _address(image, top + down, left + across, height, width, channels, channel, live, inside)
                tl.atomic_add(grad_x + at, columns * share[:, None], mask=seen, sem="relaxed")
    upper, lower = a + (b - a) * right, c + (d - c) * right
    at = ((image * groups + group) * (kernel_y * kernel_x) + tap).to(tl.int64) * out_pixels
    dy = (lower - upper) * modulation
    dx = ((b - a) * (1 - below) + (d - c) * below) * modulation
    kind = grad_offset.dtype.element_ty
    tl.store(grad_offset + 2 * at + pixel, dy.to(kind), mask=live)
    tl.store(grad_offset + 2 * at + out_pixels + pixel, dx.to(kind), mask=live)
    if masked:
        value = upper + (lower - upper) * below
        tl.store(grad_mask + at + pixel, value.to(grad_mask.dtype.element_ty), mask=live)


@triton.jit
def weight(
    x, offset, mask, grad, parts, share,
    count, height, width, channels: tl.constexpr, outputs: tl.constexpr, out_pixels, out_width,
    kernel_y: tl.constexpr, kernel_x: tl.constexpr, stride_y: tl.constexpr, stride_x: tl.constexpr,
    padding_y: tl.constexpr, padding_x: tl.constexpr, dilation_y: tl.constexpr, dilation_x: tl.constexpr,
    groups: tl.constexpr, masked: tl.constexpr, upcast: tl.constexpr, precision: tl.constexpr,
    block_p: tl.constexpr, block_c: tl.constexpr, block_o: tl.constexpr,
):  # fmt: skip
    """One program: `block_c` channels of one tap, `block_o` outputs, `share` pixels of all images."""
    per_group = channels // groups
    tiles = tl.cdiv(per_group, block_c)
    tap, tile = tl.program_id(0) // (groups * tiles), tl.program_id(0) % (groups * tiles)
    group = tile // tiles
    channel = group * per_group + (tile % tiles) * block_c + tl.arange(0, block_c)
    inside = channel < (group + 1) * per_group
    output = tl.program_id(1) * block_o + tl.arange(0, block_o)
    wanted = output < outputs
    total = tl.zeros((block_c, block_o), tl.float32)
    for start in range(0, share, block_p):
        n = tl.program_id(2) * share + start + tl.arange(0, block_p)
        live = n < count
        image, pixel = n // out_pixels, n % out_pixels
        top, left, below, right, modulation = _point(
            offset, mask, image, pixel, live, tap, group, height, width, out_pixels, out_width,
            kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x, groups, masked,
        )  # fmt: skip
        columns = _columns(
            x, image, top, left, below, right, modulation, height, width, channels, channel, live, inside
        )
        at = (image.to(tl.int64) * outputs)[:, None] * out_pixels + output[None, :] * out_pixels + pixel[:, None]
        slope = tl.load(grad + at, mask=live[:, None] & wanted[None, :], other=0.0)
        total = _dot(tl.trans(columns.to(slope.dtype)), slope, total, upcast, precision)
    row = kernel_y * kernel_x * channels
    to = (tl.program_id(2).to(tl.int64) * outputs + output)[None, :] * row + tap * channels + channel[:, None]
    tl.store(parts + to, total, mask=inside[:, None] & wanted[None, :])
