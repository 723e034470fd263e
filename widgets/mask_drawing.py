"""A soft mask as people use it: its outline at a threshold, a cut-out on a ground, and scores at that threshold.

NumPy and scikit-image. `static/mask.js` does the same sums in the browser, and tests hold the two to each other.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widgets.look import Look
from widgets.planes import Plane, cells, code_values
from widgets.scene import Scene

__all__ = ["alpha_table", "cut_out", "find_outline", "follow_threshold", "level_of", "score_mask"]

#: The two greys of a checker, and how many of its squares fit across a picture.
CHECKER, SQUARES = (255, 204), 40


def level_of(mask: str, threshold: float) -> float:
    """The value of a layer at which its mask is cut: the threshold, or its logit where the layer holds logits."""
    if mask != "logits":
        return threshold
    if threshold in (0.0, 1.0):
        return math.inf if threshold else -math.inf
    return math.log(threshold / (1 - threshold))


def alpha_table(plane: Plane, mask: str, threshold: float | None = None) -> NDArray[np.uint8]:
    """How opaque (0 to 255) each of the 65,536 codes of a mask is; with a threshold, either 0 or 255. NaN is 0."""
    values = code_values(plane.lo, plane.hi)
    if threshold is not None:
        return np.where(values > level_of(mask, threshold), 255, 0).astype(np.uint8)
    with np.errstate(over="ignore"):
        opaque = 1 / (1 + np.exp(-values)) if mask == "logits" else values
    return np.floor(np.nan_to_num(opaque).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def cut_out(plane: Plane, alpha: NDArray[np.uint8], photo: NDArray[np.uint8], ground: str) -> NDArray[np.uint8]:
    """The photo (H, W, 3) where the mask is opaque, over `checker` or a colour `#rrggbb`.

    Simple alpha: `birefnet_lite.cut_out` also takes the old background's colour out of soft edges.
    """
    rows, columns = photo.shape[:2]
    y, x = cells(rows, plane.codes.shape[0]), cells(columns, plane.codes.shape[1])
    weight = alpha[plane.codes[y[:, None], x[None, :]]][..., None].astype(np.int64)
    if ground == "checker":
        side = max(1, columns // SQUARES)
        odd = (np.arange(rows)[:, None] // side + np.arange(columns)[None, :] // side) % 2
        below = np.array(CHECKER)[odd][..., None]
    else:
        below = np.frombuffer(bytes.fromhex(ground[1:]), np.uint8).astype(np.int64)
    return ((photo.astype(np.int64) * weight + below * (255 - weight) + 127) // 255).astype(np.uint8)


def find_outline(plane: Plane, level: float) -> list[NDArray[np.float64]]:
    """The lines at a level, each (n, 2) of x and y in parts of the picture; straight between the centres of cells."""
    from skimage.measure import find_contours

    height, width = plane.codes.shape
    if height < 2 or width < 2 or not math.isfinite(level):
        return []
    values = plane.values()
    values[~np.isfinite(values)] = np.nan
    return [(line[:, ::-1] + 0.5) / (width, height) for line in find_contours(values, level)]


def score_mask(plane: Plane, level: float, truth: Plane | None = None, truth_level: float = 0.5) -> dict[str, float]:
    """Scores of the cells above a level: the share of the picture, and against a true mask IoU, precision and recall.

    Masks of two sizes are compared on the finer grid. A score whose denominator is 0 is NaN, but IoU is 1 where both
    are empty, as in `metrics.iou`.
    """
    chosen = plane.values() > level
    scores = {"share": float(chosen.mean())}
    if truth is None:
        return scores
    real = truth.values() > truth_level
    if chosen.size < real.size:
        chosen = _stretch(chosen, real.shape)
    elif chosen.shape != real.shape:
        real = _stretch(real, chosen.shape)
    both, either = int((chosen & real).sum()), int((chosen | real).sum())
    picked, wanted = int(chosen.sum()), int(real.sum())
    scores["iou"] = both / either if either else 1.0
    scores["precision"] = both / picked if picked else math.nan
    scores["recall"] = both / wanted if wanted else math.nan
    return scores


def _stretch(values: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return values[cells(shape[0], values.shape[0])[:, None], cells(shape[1], values.shape[1])[None, :]]


def follow_threshold(scene: Scene, look: Look, table: dict[str, Any]) -> dict[str, Any]:
    """The table with its IoU at the look's threshold: `table["follow"]` is the column, rows name their `mask`."""
    truth = scene.layers.get(scene.extra.get("truth", ""))
    if "follow" not in table or truth is None:
        return table
    column, real = table["follow"], scene.plane(truth.name, 0)
    columns = [f"IoU at {look.threshold:.2f}" if i == column else name for i, name in enumerate(table["columns"])]
    rows = []
    for row in table["rows"]:
        layer = scene.layers[row["mask"]]
        level = level_of(layer.mask, look.threshold)
        value = score_mask(scene.plane(layer.name, 0), level, real, level_of(truth.mask, 0.5))["iou"]
        rows.append({**row, "cells": [f"{value:.4f}" if i == column else cell for i, cell in enumerate(row["cells"])]})
    return {**table, "columns": columns, "rows": rows}
