"""Metrics of a prediction cut at thresholds: F-measure, E-measure and IoU, at one threshold or 256.

A curve is (256,) float64; entry t is the score of the pixels with level ⌊255·p⌋ >= t. All 256 are computed from
cumulative histograms of the levels inside and outside the mask, instead of 256 passes over the image.
"""

import torch
from torch import Tensor

from birefnet_lite.metrics.pairs import EPS, check_pair


def levels(prediction: Tensor) -> Tensor:
    """(H, W) in [0, 1] -> int64 levels 0 to 255, rounded down as the reference implementations do."""
    return (prediction * 255).long()


def counts_above(level: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Number of pixels with at least each level 0 to 255, inside and outside the mask: (256,) float64 each."""
    histogram = torch.bincount((level + 256 * mask).flatten(), minlength=512).view(2, 256).double()
    outside, inside = histogram.flip(1).cumsum(1).flip(1)
    return inside, outside


def _adaptive_counts(prediction: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same counts at the adaptive threshold, twice the mean prediction, at most 1."""
    chosen = prediction >= (2 * prediction.mean()).clamp(max=1)
    return (chosen & mask).sum().double(), (chosen & ~mask).sum().double()


def _f_measure(hits: Tensor, false_alarms: Tensor, mask: Tensor, beta_squared: float) -> Tensor:
    precision = hits / (hits + false_alarms).clamp(min=1)
    recall = hits / mask.sum().clamp(min=1)
    # Without hits both are 0, and so is the score, whatever the denominator.
    denominator = torch.where(hits > 0, beta_squared * precision + recall, 1.0)
    return (1 + beta_squared) * precision * recall / denominator


def f_measure_curve(prediction: Tensor, mask: Tensor, *, beta_squared: float = 0.3) -> Tensor:
    """F-measure at each threshold, (256,); with β² = 0.3 precision weighs more than recall (Achanta et al. 2009).

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> f_measure_curve(prediction, mask).shape
        torch.Size([256])
    """
    prediction, mask = check_pair(prediction, mask)
    return _f_measure(*counts_above(levels(prediction), mask), mask, beta_squared)


def f_measure_adaptive(prediction: Tensor, mask: Tensor, *, beta_squared: float = 0.3) -> Tensor:
    """F-measure at twice the mean prediction, a scalar.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(f_measure_adaptive(prediction, mask).item(), 4)
        0.875
    """
    prediction, mask = check_pair(prediction, mask)
    return _f_measure(*_adaptive_counts(prediction, mask), mask, beta_squared)


def _e_measure(hits: Tensor, false_alarms: Tensor, mask: Tensor) -> Tensor:
    """Mean of the enhanced alignment matrix, which has four different values: (not) chosen and (not) in the mask."""
    total, foreground = mask.numel(), mask.sum().double()
    chosen = hits + false_alarms
    if foreground == 0:
        return (total - chosen) / (total - 1 + EPS)
    if foreground == total:
        return chosen / (total - 1 + EPS)
    misses = foreground - hits
    rest = total - chosen - misses
    mean_prediction, mean_mask = chosen / total, foreground / total
    score = torch.zeros_like(hits)
    for count, chosen_value, mask_value in ((hits, 1, 1), (false_alarms, 1, 0), (misses, 0, 1), (rest, 0, 0)):
        p, m = chosen_value - mean_prediction, mask_value - mean_mask
        alignment = 2 * p * m / (p**2 + m**2 + EPS)
        score = score + count * (alignment + 1) ** 2 / 4
    return score / (total - 1 + EPS)


def e_measure_curve(prediction: Tensor, mask: Tensor) -> Tensor:
    """E-measure (enhanced alignment) at each threshold, (256,) (Fan et al. 2018).

    The sum is divided by the number of pixels minus one, as in the reference, so that it can be slightly above 1.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> e_measure_curve(prediction, mask).shape
        torch.Size([256])
    """
    prediction, mask = check_pair(prediction, mask)
    return _e_measure(*counts_above(levels(prediction), mask), mask)


def e_measure_adaptive(prediction: Tensor, mask: Tensor) -> Tensor:
    """E-measure at twice the mean prediction, a scalar.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(e_measure_adaptive(prediction, mask).item(), 4)
        0.9409
    """
    prediction, mask = check_pair(prediction, mask)
    return _e_measure(*_adaptive_counts(prediction, mask), mask)


def iou(prediction: Tensor, mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Intersection over union of `prediction > threshold` and the mask, a scalar; 1 if both are empty.

    To ignore pixels, pass the others as one row: `iou(prediction[keep][None], mask[keep][None])`. This works for MAE
    and MSE too, but not for metrics that depend on neighbours.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(iou(prediction, mask).item(), 4)
        0.7778
    """
    prediction, mask = check_pair(prediction, mask)
    chosen = prediction > threshold
    union = (chosen | mask).sum().double()
    return (chosen & mask).sum() / union if union else torch.ones_like(union)
