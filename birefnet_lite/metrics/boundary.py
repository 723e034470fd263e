"""Metrics of the boundary: boundary IoU and mean boundary accuracy (mBA)."""

from math import hypot, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.metrics.pairs import check_pair
from birefnet_lite.metrics.thresholds import counts_above, levels


def boundary_of(image: Tensor, width_ratio: float = 0.02) -> Tensor:
    """The inner boundary region of a mask or soft map (H, W): the map minus its erosion, with 0 outside the image.

    The region is `width_ratio` times the diagonal wide, at least one pixel (Cheng et al. 2021).
    """
    radius = max(1, round(width_ratio * hypot(*image.shape)))
    padded = F.pad(image.float()[None, None], (radius,) * 4)  # (1, 1, H + 2r, W + 2r)
    size = 2 * radius + 1
    lowest = -F.max_pool2d(F.max_pool2d(-padded, (size, 1), stride=1), (1, size), stride=1)[0, 0]  # (H, W)
    return image.float() - lowest


def boundary_iou(prediction: Tensor, mask: Tensor, *, threshold: float = 0.5, width_ratio: float = 0.02) -> Tensor:
    """Boundary IoU as published: IoU of the boundaries of `prediction > threshold` and mask; 1 if there is none.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(boundary_iou(prediction, mask).item(), 4)
        0.3043
    """
    prediction, mask = check_pair(prediction, mask)
    ours, theirs = boundary_of(prediction > threshold, width_ratio) > 0, boundary_of(mask, width_ratio) > 0
    union = (ours | theirs).sum().double()
    return (ours & theirs).sum() / union if union else torch.ones_like(union)


def boundary_iou_curve(prediction: Tensor, mask: Tensor, *, width_ratio: float = 0.02) -> Tensor:
    """Boundary IoU at each of 256 thresholds, (256,), as the original evaluates it.

    The boundary region of the soft map is cut at the threshold, while `boundary_iou` cuts first. So an edge that is
    softer than the region is wide has no boundary here. Both are equal for a prediction of zeros and ones.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> boundary_iou_curve(prediction, mask).shape
        torch.Size([256])
    """
    prediction, mask = check_pair(prediction, mask)
    rim = boundary_of(levels(prediction), width_ratio).long()
    target = boundary_of(mask, width_ratio) > 0
    inside, outside = counts_above(rim, target)
    return inside / (target.sum().clamp(min=1) + outside)


def _disk(radius: int, device: torch.device) -> Tensor:
    """OpenCV's structuring element 'ellipse', (1, 1, 2r+1, 2r+1)."""
    half_widths = [round(sqrt(radius**2 - y**2)) for y in range(-radius, radius + 1)]
    offset = torch.arange(-radius, radius + 1, device=device).abs()
    return (offset[None, :] <= torch.tensor(half_widths, device=device)[:, None]).float()[None, None]


def mean_boundary_accuracy(prediction: Tensor, mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """mBA, a scalar: accuracy in a band around the boundary, the mean over five widths of the band.

    The band's radius goes from 1 pixel towards (H + W) / 300 (Cheng et al. 2020). NaN if the mask has no boundary.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(mean_boundary_accuracy(prediction, mask).item(), 4)
        0.7258
    """
    prediction, mask = check_pair(prediction, mask)
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
