"""Contours of a mask as ordered pixels, and the number of corners of a polygon that approximates a line."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

# The eight neighbours (row, column), counted clockwise as one sees them on a screen, starting on the right.
_CLOCKWISE = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
_RIGHT, _LEFT = 0, 4


@dataclass
class _Border:
    """One border: whether it is of a hole, its parent, the borders directly inside it, and its pixels."""

    is_hole: bool
    parent: "_Border | None" = None
    children: "list[_Border]" = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)


def find_borders(mask: np.ndarray) -> list[np.ndarray]:
    """Every outer and hole border of the 8-connected regions of a bool mask (H, W): arrays (n, 2) of row, column.

    Border following by Suzuki and Abe (1985). Pixels belong to the region and are in the order along the border, so
    that a line of one pixel's width is listed there and back. A border comes before those inside it; of borders with
    the same parent, the one found last (the lowest in the image) comes first.
    """
    padded = np.pad(mask.astype(bool), 1)
    stride = padded.shape[1]
    steps = [row * stride + column for row, column in _CLOCKWISE]
    left_is_empty, right_is_empty = ~np.roll(padded, 1, axis=1), ~np.roll(padded, -1, axis=1)
    edges = np.flatnonzero(padded & (left_is_empty | right_is_empty)).tolist()
    # 0: background; 1: not visited; ±n: on border n, negative if the outside is to the right.
    label = padded.astype(int).ravel().tolist()
    frame = _Border(is_hole=True)
    numbered = [frame, frame]  # the first border found has number 2

    for pixel in edges:
        if label[pixel] == 1 and not label[pixel - 1]:
            is_hole, outside = False, _LEFT
            before = pixel - 1
            row_start = pixel - pixel % stride
            while before > row_start and not label[before]:
                before -= 1
            last = abs(label[before]) if before > row_start else 1
        elif label[pixel] >= 1 and not label[pixel + 1]:
            is_hole, outside = True, _RIGHT
            before = pixel
            while label[before] == 1:
                before -= 1
            last = abs(label[before])
        else:
            continue
        neighbour = numbered[last]
        parent = neighbour.parent if neighbour.is_hole == is_hole and neighbour.parent else neighbour
        border = _Border(is_hole, parent)
        parent.children.append(border)
        border.pixels = _follow(label, pixel, outside, len(numbered), steps)
        numbered.append(border)

    ordered, waiting = [], list(frame.children)
    while waiting:
        border = waiting.pop()
        ordered.append(np.stack(np.divmod(np.array(border.pixels), stride), axis=1) - 1)
        waiting += border.children
    return ordered


def _follow(label: list[int], start: int, outside: int, number: int, steps: list[int]) -> list[int]:
    """Follow the border through `start` that has its outside in direction `outside`, label it, return its pixels."""
    for turn in range(8):
        direction = (outside + turn) % 8
        if label[start + steps[direction]]:
            break
    else:  # a single pixel
        label[start] = -number
        return [start]
    last = start + steps[direction]  # the border ends with the step from here back to the start
    here, pixels = start, []
    while True:
        pixels.append(here)
        outside_on_the_right = False
        direction = (direction - 1) % 8
        while not label[here + steps[direction]]:
            outside_on_the_right |= direction == _RIGHT
            direction = (direction - 1) % 8
        if outside_on_the_right:
            label[here] = -number
        elif label[here] == 1:
            label[here] = number
        there = here + steps[direction]
        if there == start and here == last:
            return pixels
        here, direction = there, (direction + 4) % 8  # continue from the pixel before


def count_corners(line: np.ndarray, tolerance: float, distance_to: Literal["chord", "line"] = "chord") -> int:
    """Number of corners of the polygon that approximates an open line (n, 2) to within `tolerance`.

    The algorithm of Ramer, Douglas and Peucker, then one pass that drops corners less than tolerance / √2 away from a
    slanted chord, as in OpenCV. Since version 4.13 OpenCV measures distances to the chord, before to the infinite line
    through its ends (`"line"`), which drops more corners if a path turns back.
    """
    line = line.astype(np.int64)
    corners, waiting = [0], [(0, len(line) - 1)]
    while waiting:
        first, last = waiting.pop()
        chord = line[last] - line[first]
        offsets = line[first + 1 : last] - line[first]
        squared_length = (chord**2).sum()
        along = offsets @ chord  # 0 at the chord's first end, its squared length at the last
        to_the_side = (offsets[:, 1] * chord[0] - offsets[:, 0] * chord[1]) ** 2
        beyond = offsets - chord * (along > squared_length)[:, None]
        to_an_end = (beyond**2).sum(axis=1) * squared_length
        past_an_end = ((along < 0) | (along > squared_length)) & (distance_to == "chord")
        distances = np.where(past_an_end, to_an_end, to_the_side)  # squared, times squared_length
        if len(distances) and distances.max() > tolerance**2 * squared_length:
            middle = first + 1 + int(distances.argmax())
            waiting += [(middle, last), (first, middle)]
        elif last > first:
            corners.append(last)
    return _drop_slight_bends(line[corners], tolerance)


def _drop_slight_bends(corners: np.ndarray, tolerance: float) -> int:
    points = corners.tolist()
    count, here, index = len(points), points[0], 1
    while index < len(points) - 1 and count > 2:
        bend, there = points[index], points[index + 1]
        dy, dx = there[0] - here[0], there[1] - here[1]
        by, bx = bend[0] - here[0], bend[1] - here[1]
        forwards = by * (there[0] - bend[0]) + bx * (there[1] - bend[1]) >= 0
        slight = (bx * dy - by * dx) ** 2 <= 0.5 * tolerance**2 * (dy**2 + dx**2)
        if slight and forwards and dy and dx:
            count, here, index = count - 1, there, index + 2
        else:
            here, index = bend, index + 1
    return count
