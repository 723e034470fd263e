"""Scores of a predicted mask: S-measure, E-measure, weighted F, MAE, boundary IoU and HCE, on any device.

Published numbers depend on these choices, each of which is an argument here:

- predictions are min-max stretched, image by image (`stretch=True` of `prepare`);
- masks are binarised, so that MAE and MSE are not the errors of an alpha matte (`binarise=False`);
- "max F" of a data set is the highest point of the *mean* curve, not the mean of the images' highest points
  (`evaluate` does it so);
- weighted F, HCE and the widths of boundaries depend on the image's size in pixels.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from birefnet_lite.metrics.boundary import boundary_iou, boundary_iou_curve, mean_boundary_accuracy
from birefnet_lite.metrics.hce import human_correction_effort
from birefnet_lite.metrics.pairs import prepare
from birefnet_lite.metrics.structure import mae, mse, s_measure, weighted_f_measure
from birefnet_lite.metrics.thresholds import (
    e_measure_adaptive,
    e_measure_curve,
    f_measure_adaptive,
    f_measure_curve,
    iou,
)

__all__ = [
    "CURVES",
    "METRICS",
    "Measurement",
    "boundary_iou",
    "boundary_iou_curve",
    "e_measure_adaptive",
    "e_measure_curve",
    "f_measure_adaptive",
    "f_measure_curve",
    "human_correction_effort",
    "iou",
    "mae",
    "mean_boundary_accuracy",
    "measure",
    "mse",
    "prepare",
    "s_measure",
    "weighted_f_measure",
]

_SCALARS = {
    "s_measure": s_measure,
    "weighted_f": weighted_f_measure,
    "mae": mae,
    "mse": mse,
    "iou": iou,
    "e_adaptive": e_measure_adaptive,
    "f_adaptive": f_measure_adaptive,
    "boundary_iou": boundary_iou,
    "mba": mean_boundary_accuracy,
    "hce": human_correction_effort,
}
CURVES = {"e": e_measure_curve, "f": f_measure_curve, "boundary_iou": boundary_iou_curve}
"""The curves over 256 thresholds; each gives two metrics, `NAME_mean` and `NAME_max`."""

METRICS = (*_SCALARS, *(f"{curve}_{kind}" for curve in CURVES for kind in ("mean", "max")))
"""Every metric's name, as `measure` and `evaluate` take and give them."""


class Measurement(NamedTuple):
    """One image's scores by name, and the curves (256,) that the `_mean` and `_max` scores are read from."""

    values: dict[str, float]
    curves: dict[str, Tensor]


def measure(
    prediction: Tensor | np.ndarray, mask: Tensor | np.ndarray, *, stretch: bool, names: tuple[str, ...] = METRICS
) -> Measurement:
    """Score one prediction.

    Args:
        prediction: (H, W) with any leading dimensions of 1; uint8 (0 to 255), bool or floats in [0, 1].
        mask: The true mask, as the prediction.
        stretch: Stretch the prediction to 0 to 1 first, as the benchmarks do; see `prepare`.
        names: The metrics to compute. HCE takes seconds on a large image: leave it out where it is not wanted.

    Raises:
        ValueError: A name is unknown, the shapes differ, or values are out of range.
        TypeError: Another type.

    Examples:
        >>> import numpy as np
        >>> mask = np.zeros((32, 32), bool)
        >>> mask[8:24, 8:24] = True
        >>> measure(mask, mask, stretch=False, names=("iou", "mae")).values
        {'iou': 1.0, 'mae': 0.0}
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"There is no metric {', '.join(unknown)}; choose from {', '.join(METRICS)}.")
    pair = prepare(prediction, mask, stretch=stretch)
    curves = {
        name: curve(*pair).cpu() for name, curve in CURVES.items() if {f"{name}_mean", f"{name}_max"} & set(names)
    }
    values = {}
    for name in names:
        if name in _SCALARS:
            values[name] = float(_SCALARS[name](*pair))
        else:
            curve, kind = name.rsplit("_", 1)
            values[name] = float(curves[curve].mean() if kind == "mean" else curves[curve].max())
    return Measurement(values, curves)
