"""Pixel losses: BCE, IoU, SSIM and others of one map of logits against a mask of the same size.

All take `(logits, mask)`, both (B, 1, H, W), the mask in [0, 1], and return a scalar: the mean over the batch, or the
sum if the name says so. bfloat16 and float16 are computed in float32, also under autocast: the 8 significant bits of
bfloat16 are too few for SSIM's E[x²] - E[x]² and for sums over a million pixels.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.training.gaussian_blur import GaussianBlur

PixelLossFunction = Callable[..., Tensor]

_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


def full_precision(loss: PixelLossFunction) -> PixelLossFunction:
    """Decorate a loss: check shapes, clamp the mask to [0, 1], compute in float32 or more, also under autocast."""

    @wraps(loss)
    def wrapper(logits: Tensor, mask: Tensor, **options: Any) -> Tensor:
        if logits.ndim != 4 or logits.shape != mask.shape:
            raise ValueError(
                f"{loss.__name__} wants logits and mask of one shape (B, 1, H, W), but was given "
                f"{tuple(logits.shape)} and {tuple(mask.shape)}. PixelLoss resizes the logits to the mask for you."
            )
        with torch.autocast(logits.device.type, enabled=False):
            dtype = torch.promote_types(logits.dtype, torch.float32)
            return loss(logits.to(dtype), mask.to(dtype).clamp(0, 1), **options)

    return wrapper


@full_precision
def bce_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over pixels (paper: L_BCE).

    Computed from logits; the original takes the logarithm of a sigmoid. Both are equal until the sigmoid saturates (for
    |logit| above about 16 in float32); beyond, this one is finite and has a useful gradient.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> bce_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    return F.binary_cross_entropy_with_logits(logits, mask)


def _intersection_and_union(probability: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    intersection = (probability * mask).sum(dim=(1, 2, 3))  # (B,)
    union = (probability + mask).sum(dim=(1, 2, 3)) - intersection  # (B,)
    return intersection, union


@full_precision
def iou_sum_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Soft IoU loss as the original computes it: 1 - I / U **summed** over the batch, without ε.

    So its weight relative to other losses grows with the batch, an empty mask always costs 1, and the loss is NaN if
    the sigmoid underflows to zeros. `iou_loss` has none of these problems.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> iou_sum_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    intersection, union = _intersection_and_union(logits.sigmoid(), mask)
    return (1 - intersection / union).sum()


@full_precision
def iou_loss(logits: Tensor, mask: Tensor, *, eps: float = 1.0) -> Tensor:
    """Soft IoU loss, the mean over the batch of 1 - (I + ε) / (U + ε); with ε, in pixels, empty on empty costs 0.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> iou_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    intersection, union = _intersection_and_union(logits.sigmoid(), mask)
    return (1 - (intersection + eps) / (union + eps)).mean()


@full_precision
def iou_patch_original_loss(logits: Tensor, mask: Tensor, *, patch: int = 64) -> Tensor:
    """The original's patch IoU: `iou_sum_loss` of the top-left `patch` x `patch` pixels only.

    Its loops run over the batch and channel dimensions instead of rows and columns, so that nothing outside the first
    patch changes the loss (for batches of up to 64 images).

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> mask[..., 16:, 16:] = 0  # changes nothing: only the top-left patch counts
        >>> iou_patch_original_loss((mask - 0.5) * 40, mask, patch=16).item() < 1e-3
        True
    """
    intersection, union = _intersection_and_union(logits.sigmoid()[..., :patch, :patch], mask[..., :patch, :patch])
    return (1 - intersection / union).sum()


@full_precision
def iou_patch_loss(logits: Tensor, mask: Tensor, *, patch: int = 64, eps: float = 1.0) -> Tensor:
    """Soft IoU loss of every `patch` x `patch` tile (smaller at the right and bottom border), the mean over all.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> iou_patch_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    probability = logits.sigmoid()
    height, width = mask.shape[-2:]
    pad = (0, -width % patch, 0, -height % patch)

    def tile_sums(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, pad), patch) * patch**2  # (B, 1, H, W) -> (B, 1, rows, columns)

    intersection = tile_sums(probability * mask)
    union = tile_sums(probability + mask) - intersection
    return (1 - (intersection + eps) / (union + eps)).mean()


@full_precision
def ssim_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """(1 - SSIM) / 2, the mean over pixels: Gaussian window 11x11, sigma 1.5 (paper: L_SSIM = 1 - SSIM, twice this).

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> ssim_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    x, y = logits.sigmoid(), mask
    blurred = GaussianBlur.apply(torch.stack([x, y, x * x, y * y, x * y]))  # (5, B, 1, H, W)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = blurred
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    variances = (mean_xx - mean_x**2) + (mean_yy - mean_y**2)
    structure = (2 * (mean_xy - mean_x * mean_y) + _SSIM_C2) / (variances + _SSIM_C2)
    return (1 - luminance * structure).mean() / 2


@full_precision
def mae_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference between probability and mask.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> mae_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    return (logits.sigmoid() - mask).abs().mean()


@full_precision
def mse_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference between probability and mask.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> mse_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    return (logits.sigmoid() - mask).square().mean()


@full_precision
def binary_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of 2p(1 - p), independent of the mask: 0 if all probabilities are 0 or 1 (the original's `reg`).

    Examples:
        >>> import torch
        >>> logits = torch.zeros(1, 1, 8, 8)
        >>> binary_loss(logits, logits).item()  # all probabilities are 0.5
        0.5
    """
    probability = logits.sigmoid()
    return (2 * probability * (1 - probability)).mean()


@full_precision
def contour_loss(logits: Tensor, mask: Tensor, *, length_weight: float = 10.0) -> Tensor:
    """Active-contour loss: length of the contour + wrong area inside and outside (the original's `cnt`).

    The length is the mean of √(∂y² + ∂x²), with differences one row below and one column to the right of the pixel, as
    in the original.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> contour_loss((mask - 0.5) * 40, mask).item() > 0  # its outline has a length
        True
    """
    p = logits.sigmoid()
    step_y = (p[..., 2:, :-2] - p[..., 1:-1, :-2]).square()  # (B, 1, H - 2, W - 2)
    step_x = (p[..., :-2, 2:] - p[..., :-2, 1:-1]).square()
    length = (step_y + step_x + 1e-8).sqrt().mean()  # 1e-8 keeps the gradient of the root finite in flat regions
    inside, outside = (p * (mask - 1).square()).mean(), ((1 - p) * mask.square()).mean()
    return length_weight * length + inside + outside


@full_precision
def structure_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Weighted BCE + weighted IoU; weights rise from 1 to 6 near the mask's edges (mean of a 31x31 box).

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> structure_loss((mask - 0.5) * 40, mask).item() < 1e-3  # logits that agree with the mask
        True
    """
    weight = 1 + 5 * (F.avg_pool2d(mask, 31, stride=1, padding=15) - mask).abs()
    bce = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    bce = (weight * bce).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))  # (B, 1)
    probability = logits.sigmoid()
    intersection = (weight * probability * mask).sum(dim=(2, 3))
    union = (weight * (probability + mask)).sum(dim=(2, 3)) - intersection
    return (bce + 1 - (intersection + 1) / (union + 1)).mean()


@full_precision
def structure_original_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """The original's structure loss: it applies the sigmoid twice, so that a perfect map costs about 1 instead of 0.

    Examples:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:24, 8:24] = 1
        >>> round(structure_original_loss((mask - 0.5) * 40, mask).item(), 1)  # of a perfect map
        1.1
    """
    return structure_loss(logits.sigmoid(), mask)


PIXEL_LOSSES: dict[str, PixelLossFunction] = {
    "bce": bce_loss,
    "iou": iou_loss,
    "iou_sum": iou_sum_loss,
    "iou_patch": iou_patch_loss,
    "iou_patch_original": iou_patch_original_loss,
    "ssim": ssim_loss,
    "mae": mae_loss,
    "mse": mse_loss,
    "reg": binary_loss,
    "cnt": contour_loss,
    "structure": structure_loss,
    "structure_original": structure_original_loss,
}
"""The pixel losses by the names that weights are given for. The original also lists a weight for `triplet`, but has no
such loss."""
