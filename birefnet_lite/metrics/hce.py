"""Human correction effort (HCE): the number of clicks to correct a mask (Qin et al. 2022)."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.measure import label
from skimage.morphology import skeletonize
from torch import Tensor

from birefnet_lite.metrics.contours import count_corners, find_borders
from birefnet_lite.metrics.pairs import check_pair

# Erosion and dilation use SciPy's default structuring element, the cross of 3 x 3, as the reference does.


def human_correction_effort(
    prediction: Tensor,
    mask: Tensor,
    *,
    threshold: float = 0.5,
    relax: int = 5,
    tolerance: float = 2.0,
    distance_to: Literal["chord", "line"] = "chord",
) -> Tensor:
    """HCE, a scalar from 0 up: corners of polygons to draw + regions to click, for all errors that count.

    The number depends on the image's size, so compare at the masks' full resolution, as the benchmark does. Computed on
    the CPU, in seconds for a large mask with a complex outline.

    Args:
        prediction: (H, W) in [0, 1].
        mask: bool (H, W).
        threshold: Cuts the prediction.
        relax: Errors within this many pixels of a correct outline do not count, except where the mask's skeleton is
            missed.
        tolerance: Of the polygons, in pixels.
        distance_to: `"chord"` gives the reference's numbers with OpenCV 4.13 or later, `"line"` those with earlier
            versions, whose polygons have fewer corners (of 300 random pairs 18 % differ, the sum by 0.4 %).

    Raises:
        ValueError: `distance_to` is neither.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(human_correction_effort(prediction, mask).item(), 4)
        0.0
    """
    if distance_to not in ("chord", "line"):
        raise ValueError(f"The distance is measured to {distance_to!r}; choose 'chord' or 'line'.")
    prediction, mask = check_pair(prediction, mask)
    chosen, wanted = (prediction > threshold).cpu().numpy(), mask.cpu().numpy()
    hits, false_alarms, misses = chosen & wanted, chosen & ~wanted, wanted & ~chosen
    core = binary_erosion(chosen | wanted, iterations=relax, border_value=1)

    def thick(errors: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Errors that reach into the core, dilated back by `relax` pixels within `allowed`."""
        return errors & binary_dilation(errors & core, iterations=relax, mask=allowed)

    extra = thick(false_alarms, ~wanted)
    lacking = thick(misses, ~chosen) | (skeletonize(wanted) & ~hits)
    clicks = sum(
        _clicks(errors, other_side, lambda line: count_corners(line, tolerance, distance_to))
        for errors, other_side in ((extra, hits | lacking), (lacking, ~(hits | extra | lacking)))
    )
    return torch.tensor(float(clicks), dtype=torch.float64)


def _clicks(errors: np.ndarray, other_side: np.ndarray, corners_of: Callable[[np.ndarray], int]) -> int:
    """Corners along the parts of borders that touch `other_side` + one click for each region that does not."""
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
    """Consecutive runs of kept pixels (n, 2); the last run and the first are joined if they meet.

    The first run is then appended in reverse order, as in the reference, whose published numbers contain this.
    """
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int))).reshape(-1, 2)
    runs = [border[start:stop] for start, stop in bounds]
    if len(runs) > 1 and np.abs(runs[0][0] - runs[-1][-1]).max() == 1:
        runs[-1] = np.concatenate([runs[-1], runs[0][::-1]])
        del runs[0]
    return runs
