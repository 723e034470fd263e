"""Human correction effort: how many clicks would mend the mask (Qin et al. 2022)."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.measure import label
from skimage.morphology import skeletonize
from torch import Tensor

from birefnet_lite.metrics.contours import count_corners, find_borders
from birefnet_lite.metrics.pairs import checked

# SciPy's default neighbourhood, the cross of four neighbours and the pixel itself, is the one the metric is made with.


def human_correction_effort(
    prediction: Tensor,
    mask: Tensor,
    *,
    threshold: float = 0.5,
    relax: int = 5,
    tolerance: float = 2.0,
    distance_to: Literal["chord", "line"] = "chord",
) -> Tensor:
    """HCE, scalar, 0 or more: corners of polygons to draw + regions to click at, for all wrong pixels that matter.

    Errors within ``relax`` pixels of a right outline are forgiven, except where the mask's skeleton is missed;
    ``tolerance`` is the polygons', in pixels. Both are absolute, so the number depends on the image's size: compare at
    the masks' full resolution, as the benchmark does. Computed on the CPU; seconds for a large and ragged mask.

    The same number as the reference's on OpenCV 4.13 or later. Older published numbers were made with an earlier one,
    whose polygons have fewer corners: ``distance_to="line"`` gives those (on 300 random pairs 18 % of the numbers
    differ, their sum by 0.4 %). Raises ValueError for any other ``distance_to``.
    """
    if distance_to not in ("chord", "line"):
        raise ValueError(f"The distance is measured to {distance_to!r}; choose 'chord' or 'line'.")
    prediction, mask = checked(prediction, mask)
    chosen, wanted = (prediction > threshold).cpu().numpy(), mask.cpu().numpy()
    hits, false_alarms, misses = chosen & wanted, chosen & ~wanted, wanted & ~chosen
    core = binary_erosion(chosen | wanted, iterations=relax, border_value=1)

    def thick(errors: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """The errors that reach into the core, grown back to what they were up to ``relax`` pixels out."""
        return errors & binary_dilation(errors & core, iterations=relax, mask=allowed)

    extra = thick(false_alarms, ~wanted)
    lacking = thick(misses, ~chosen) | (skeletonize(wanted) & ~hits)
    clicks = sum(
        _clicks(errors, other_side, lambda line: count_corners(line, tolerance, distance_to))
        for errors, other_side in ((extra, hits | lacking), (lacking, ~(hits | extra | lacking)))
    )
    return torch.tensor(float(clicks), dtype=torch.float64)


def _clicks(errors: np.ndarray, other_side: np.ndarray, corners_of: Callable[[np.ndarray], int]) -> int:
    """Corners along the borders of ``errors`` that touch ``other_side`` + a click for each region that touches none."""
    touches = binary_dilation(other_side)
    regions = label(errors)  # 8-connected, as the borders are
    needs_line = np.zeros(regions.max() + 1, dtype=bool)
    taken = np.zeros_like(errors)
    corners = 0
    for border in find_borders(errors):
        rows, columns = border.T
        kept = touches[rows, columns] & ~taken[rows, columns] & _first_visits(rows * errors.shape[1] + columns)
        taken[rows[kept], columns[kept]] = True
        needs_line[regions[rows[kept], columns[kept]]] = True
        corners += sum(corners_of(line) for line in _runs(border, kept))
    return corners + int((~needs_line[1:]).sum())


def _first_visits(pixels: np.ndarray) -> np.ndarray:
    first = np.zeros(len(pixels), dtype=bool)
    first[np.unique(pixels, return_index=True)[1]] = True
    return first


def _runs(border: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """The unbroken runs of kept pixels (n, 2). Where the last run meets the first they become one.

    The first run is then appended back to front, as in the reference: an oddity that its published numbers contain.
    """
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int))).reshape(-1, 2)
    runs = [border[start:stop] for start, stop in bounds]
    if len(runs) > 1 and np.abs(runs[0][0] - runs[-1][-1]).max() == 1:
        runs[-1] = np.concatenate([runs[-1], runs[0][::-1]])
        del runs[0]
    return runs
