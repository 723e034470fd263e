"""Metrics of the outline only: boundary IoU and mean boundary accuracy (mBA)."""

from math import hypot, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.metrics.pairs import checked
from birefnet_lite.metrics.thresholds import counts_above, levels


def boundary_of(image: Tensor, width_ratio: float = 0.02) -> Tensor:
    """The inner rim of a mask or soft map (H, W): what an erosion takes away, outside the image counting as 0.

    The rim is ``width_ratio`` times the diagonal wide, at least one pixel (Cheng et al. 2021).
    """
    radius = max(1, round(width_ratio * hypot(*image.shape)))
    padded = F.pad(image.float()[None, None], (radius,) * 4)  # (1, 1, H + 2r, W + 2r)
    size = 2 * radius + 1
    lowest = -F.max_pool2d(F.max_pool2d(-padded, (size, 1), stride=1), (1, size), stride=1)[0, 0]  # (H, W)
    return image.float() - lowest


def boundary_iou(prediction: Tensor, mask: Tensor, *, threshold: float = 0.5, width_ratio: float = 0.02) -> Tensor:
    """Boundary IoU as published, scalar: IoU of the rims of ``prediction > threshold`` and mask; 1 without any."""
    prediction, mask = checked(prediction, mask)
    ours, theirs = boundary_of(prediction > threshold, width_ratio) > 0, boundary_of(mask, width_ratio) > 0
    union = (ours | theirs).sum().double()
    return (ours & theirs).sum() / union if union else torch.ones_like(union)


def boundary_iou_curve(prediction: Tensor, mask: Tensor, *, width_ratio: float = 0.02) -> Tensor:
    """Boundary IoU at each of 256 thresholds, (256,), as the original evaluates it.

    It takes the rim of the soft map and cuts that at the threshold, where :func:`boundary_iou` cuts first. A soft ramp
    wider than the rim therefore has no boundary here. The two agree on a prediction of zeros and ones.
    """
    prediction, mask = checked(prediction, mask)
    rim = boundary_of(levels(prediction), width_ratio).long()
    target = boundary_of(mask, width_ratio) > 0
    inside, outside = counts_above(rim, target)
    return inside / (target.sum().clamp(min=1) + outside)


def _disk(radius: int, device: torch.device) -> Tensor:
    """The 'ellipse' of image libraries: in each row of the square, a run of rounded half-width; (1, 1, 2r+1, 2r+1)."""
    half_widths = [round(sqrt(radius**2 - y**2)) for y in range(-radius, radius + 1)]
    offset = torch.arange(-radius, radius + 1, device=device).abs()
    return (offset[None, :] <= torch.tensor(half_widths, device=device)[:, None]).float()[None, None]


def mean_boundary_accuracy(prediction: Tensor, mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """mBA, scalar: the share of right pixels in a band around the outline, the mean over five widths of band.

    The band's radius goes from 1 pixel towards (H + W) / 300 (Cheng et al. 2020). NaN where the mask has no outline.
    The original's own class for it is never called, and its check of sizes compares a height with a width.
    """
    prediction, mask = checked(prediction, mask)
    height, width = mask.shape
    right = (prediction > threshold) == mask
    sides = torch.stack([mask, ~mask]).float()[:, None]  # (2, 1, H, W)
    accuracies = {}
    radii = [1 + int(((height + width) / 300 - 1) / 5 * step) for step in range(5)]
    for radius in set(radii):
        near = F.conv2d(sides, _disk(radius, mask.device), padding=radius)[:, 0] > 0.5  # (2, H, W)
        band = near[0] & near[1]
        accuracies[radius] = (right & band).sum().double() / band.sum()
    return torch.stack([accuracies[radius] for radius in radii]).mean()
