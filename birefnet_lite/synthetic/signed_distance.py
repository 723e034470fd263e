"""Signed distance functions of shapes: negative inside, positive outside.

Each function takes coordinates x, y of shape (n, H, W), x to the right and y downwards, and numbers that broadcast with
them, (n, 1, 1) or floats. It returns (n, H, W). Some are exact, the others are close to exact near the outline, where
soft edges and shading need them.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

Number = Tensor | float
Points = Sequence[Sequence[Any]]  # of numbers; mypy infers `object` for lists that mix tensors and floats
MAX_ELEMENTS = 1 << 18  # in one tensor of many strokes, so that it stays in the cache


def rotate(x: Tensor, y: Tensor, angle: Number) -> tuple[Tensor, Tensor]:
    """Coordinates in a frame rotated by `angle` radians."""
    angle = torch.as_tensor(angle, device=x.device)
    c, s = angle.cos(), angle.sin()
    return x * c + y * s, y * c - x * s


def length(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean length, never zero."""
    return (x * x + y * y + 1e-12).sqrt()


def union(first: Tensor, *others: Tensor) -> Tensor:
    """The union of shapes."""
    for other in others:
        first = torch.minimum(first, other)
    return first


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """The intersection of two shapes."""
    return torch.maximum(a, b)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """The first shape without the second."""
    return torch.maximum(a, -b)


def smooth_union(a: Tensor, b: Tensor, width: Number) -> Tensor:
    """Union with a rounded joint of this width, as of limbs."""
    h = (0.5 + 0.5 * (b - a) / width).clamp(0, 1)
    return torch.lerp(b, a, h) - width * h * (1 - h)


def circle(x: Tensor, y: Tensor, radius: Number) -> Tensor:
    return length(x, y) - radius


def ellipse(x: Tensor, y: Tensor, rx: Number, ry: Number) -> Tensor:
    """First-order approximation: the function's value over the length of its gradient."""
    u, v = x / rx, y / ry
    k = length(u, v)
    return k * (k - 1) / length(u / rx, v / ry)


def superellipse(x: Tensor, y: Tensor, rx: Number, ry: Number, power: Number) -> Tensor:
    """The superellipse |x/rx|^p + |y/ry|^p = 1: a diamond for p = 1, an ellipse for 2, almost a box for 8."""
    u, v = (x / rx).abs() + 1e-6, (y / ry).abs() + 1e-6
    k = (u**power + v**power) ** (1 / power)
    return (k - 1) * length(x, y) / k


def box(x: Tensor, y: Tensor, half_width: Number, half_height: Number, corner: Number = 0.0) -> Tensor:
    """Rectangle with rounded corners; exact."""
    u, v = x.abs() - (half_width - corner), y.abs() - (half_height - corner)
    return length(u.clamp(min=0), v.clamp(min=0)) + torch.maximum(u, v).clamp(max=0) - corner


def capsule(
    x: Tensor, y: Tensor, a: Sequence[Number], b: Sequence[Number], ra: Number, rb: Number | None = None
) -> Tensor:
    """Segment from point a to point b whose radius goes from ra to rb."""
    rb = ra if rb is None else rb
    dx, dy = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    h = ((px * dx + py * dy) / (dx * dx + dy * dy + 1e-8)).clamp(0, 1)
    return length(px - h * dx, py - h * dy) - (ra + (rb - ra) * h)


def polyline(x: Tensor, y: Tensor, points: Points, widths: Sequence[Number]) -> Tensor:
    """Connected segments through the points, with a radius at each."""
    pairs = zip(points, points[1:], widths, widths[1:], strict=False)
    return union(*[capsule(x, y, a, b, ra, rb) for a, b, ra, rb in pairs])


def strokes(
    x: Tensor,
    y: Tensor,
    ax: Tensor,
    ay: Tensor,
    bx: Tensor,
    by: Tensor,
    ra: Tensor,
    rb: Tensor,
    bend: Tensor | None = None,
) -> Tensor:
    """Union of P bent, tapered strokes from a to b; parameters are (n, P, 1, 1), `bend` is sagitta over length."""
    count = ax.shape[1]
    px, py = x[:, None], y[:, None]
    step = max(1, MAX_ELEMENTS // x.numel())
    best: Tensor | None = None
    for start in range(0, count, step):
        part = slice(start, start + step)
        dx, dy = bx[:, part] - ax[:, part], by[:, part] - ay[:, part]
        size = length(dx, dy)
        dx, dy = dx / size, dy / size
        qx, qy = px - ax[:, part], py - ay[:, part]
        along = qx * dx + qy * dy  # (n, p, H, W)
        across = qy * dx - qx * dy
        held = torch.minimum(along.clamp(min=0), size)
        share = held / size
        if bend is not None:
            across = across - 4 * bend[:, part] * held * (1 - share)
        reach = length(along - held, across) - (ra[:, part] + (rb[:, part] - ra[:, part]) * share)
        nearest = reach.amin(1)  # (n, H, W)
        best = nearest if best is None else torch.minimum(best, nearest)
    assert best is not None, "at least one is drawn"
    return best


def leaves(x: Tensor, y: Tensor, cx: Tensor, cy: Tensor, angle: Tensor, long: Tensor, wide: Tensor) -> Tensor:
    """Union of P pointed leaves, each the intersection of two circles; parameters are (n, P, 1, 1), wide <= long."""
    count = cx.shape[1]
    radius = (long * long + wide * wide) / (2 * wide)
    aside = radius - wide
    c, s = angle.cos(), angle.sin()
    px, py = x[:, None], y[:, None]
    step = max(1, MAX_ELEMENTS // x.numel())
    best: Tensor | None = None
    for start in range(0, count, step):
        part = slice(start, start + step)
        qx, qy = px - cx[:, part], py - cy[:, part]
        u = qx * c[:, part] + qy * s[:, part]  # (n, p, H, W)
        v = (qy * c[:, part] - qx * s[:, part]).abs_().add_(aside[:, part])
        nearest = (u.mul_(u).add_(v.mul_(v)).sqrt_() - radius[:, part]).amin(1)  # (n, H, W)
        best = nearest if best is None else torch.minimum(best, nearest)
    assert best is not None, "at least one is drawn"
    return best


def convex(x: Tensor, y: Tensor, points: Points, corner: Number = 0.0) -> Tensor:
    """Convex polygon with these corners, clockwise or anticlockwise."""
    corners = [[torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in point] for point in points]
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    turning = sum((ax * by - bx * ay for (ax, ay), (bx, by) in edges), x.new_zeros(())).sign()
    sides = []
    for (ax, ay), (bx, by) in edges:
        dx, dy = bx - ax, by - ay
        size = turning / (dx * dx + dy * dy + 1e-12).sqrt()
        sides.append((x - ax) * (dy * size) - (y - ay) * (dx * size))
    return reduce(torch.maximum, sides) - corner


def radial(x: Tensor, y: Tensor, harmonics: Sequence[tuple[int, Number, Number]], radius: Number = 1.0) -> Tensor:
    """Closed outline around the centre: radius times 1 + the sum of amplitude · cos(k θ + phase)."""
    theta = torch.atan2(y, x)
    outline: Number = 1.0
    for k, amplitude, phase in harmonics:
        outline = outline + amplitude * (k * theta + phase).cos()
    return (length(x, y) - radius * outline) * 0.85  # a correction, as the outline is not perpendicular to the radius


def sector(x: Tensor, y: Tensor, count: Number) -> tuple[Tensor, Tensor]:
    """Coordinates in one of `count` equal sectors: one spoke drawn along the x axis appears in all of them."""
    theta = torch.atan2(y, x)
    step = 2 * math.pi / count
    theta = torch.remainder(theta + step / 2, step) - step / 2
    r = length(x, y)
    return r * theta.cos(), r * theta.sin()


def bars(x: Tensor, spacing: Number, half_width: Number) -> Tensor:
    """Infinitely many parallel bars, one at every multiple of the spacing in x."""
    return (torch.remainder(x + spacing / 2, spacing) - spacing / 2).abs() - half_width
