"""A brush that changes the photo: erase, blur, brighten, or copy another place of it. NumPy, SciPy and Pillow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from birefnet_lite.inference.images import MEAN

__all__ = ["TOOLS", "check_strokes", "paint_strokes"]

TOOLS = ("erase", "blur", "brighten", "copy")
#: How much brighter, and the spread of the blur and of a stroke's soft edge as parts of its radius.
GAIN, BLUR, EDGE = 1.5, 0.5, 0.15


def check_strokes(strokes: Any) -> list[dict[str, Any]]:
    """Strokes as they are painted: `tool`, `radius` and `points` [[x, y], ...] in the photo's pixels.

    A stroke that copies has `source`, [x, y]: what lies there comes to its first point.

    Raises:
        ValueError: Something is missing, or is not a finite number.
    """
    checked = []
    for stroke in strokes:
        tool = stroke.get("tool")
        if tool not in TOOLS:
            raise ValueError(f"A brush does one of {', '.join(TOOLS)}. Got {tool!r}.")
        points = list(stroke.get("points", ()))
        source = stroke.get("source") if tool == "copy" else [0, 0]
        radius = float(stroke.get("radius", np.nan))
        if not points or not all(_is_point(point) for point in (*points, source)):
            raise ValueError("A stroke has points [[x, y], ...], and a source [x, y] where it copies.")
        if not radius > 0 or not np.isfinite(radius):
            raise ValueError(f"The radius of a stroke is a number of pixels above 0. Got {radius}.")
        kept = {"tool": tool, "radius": radius, "points": [[float(x), float(y)] for x, y in points]}
        checked.append({**kept, "source": [float(x) for x in source]} if tool == "copy" else kept)
    return checked


def _is_point(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and bool(np.isfinite(value).all())


def paint_strokes(photo: NDArray[np.uint8], strokes: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """The photo (H, W, 3) after strokes, in their order. Erased places have the mean colour, 0 to the network."""
    painted = photo.copy()
    for stroke in strokes:
        box = _box_of(stroke, photo.shape[:2])
        if box is None:
            continue
        top, left, bottom, right = box
        patch = painted[top:bottom, left:right].astype(np.float32)
        weight = _weight_of(stroke, box)[..., None]  # (h, w, 1)
        new = _change(stroke, painted, patch, box)
        painted[top:bottom, left:right] = np.rint(patch + (new - patch) * weight).clip(0, 255)
    return painted


def _box_of(stroke: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Top, left, bottom and right of what a stroke may change; None where that is outside the photo."""
    points, reach = np.asarray(stroke["points"]), 2 * stroke["radius"] + 1
    (left, top), (right, bottom) = points.min(axis=0) - reach, points.max(axis=0) + reach
    box = (max(0, int(top)), max(0, int(left)), min(shape[0], int(bottom) + 1), min(shape[1], int(right) + 1))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _weight_of(stroke: dict[str, Any], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """How much of the change each pixel takes, (h, w) in 0 to 1."""
    top, left, bottom, right = box
    sheet = Image.new("L", (right - left, bottom - top))
    pen = ImageDraw.Draw(sheet)
    radius = stroke["radius"]
    points = [(x - left, y - top) for x, y in stroke["points"]]
    if len(points) > 1:
        pen.line(points, fill=255, width=max(1, round(2 * radius)))
    for x, y in points:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return gaussian_filter(np.asarray(sheet, np.float32) / 255, EDGE * radius)


def _change(
    stroke: dict[str, Any], photo: NDArray[np.uint8], patch: NDArray[np.float32], box: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """The pixels that a stroke over the whole patch (h, w, 3) would leave."""
    if stroke["tool"] == "erase":
        return np.broadcast_to(255 * np.asarray(MEAN, np.float32), patch.shape)
    if stroke["tool"] == "blur":
        sigma = BLUR * stroke["radius"]
        return gaussian_filter(patch, (sigma, sigma, 0))
    if stroke["tool"] == "brighten":
        return patch * GAIN
    top, left, bottom, right = box
    (x, y), (start_x, start_y) = stroke["source"], stroke["points"][0]
    rows = (np.arange(top, bottom) + round(y - start_y)).clip(0, len(photo) - 1)
    columns = (np.arange(left, right) + round(x - start_x)).clip(0, photo.shape[1] - 1)
    return photo[rows[:, None], columns[None, :]].astype(np.float32)
