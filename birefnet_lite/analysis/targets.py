"""Gradient targets of each decoder stage, and the best predictions that its heads could make."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.network.refinement import gradient_target, laplacian, masked_gradient_target

__all__ = ["LevelTargets", "image_laplacian", "level_targets"]


@dataclass(frozen=True)
class LevelTargets:
    """The two targets of one level, (1, H, W), and what they leave to learn."""

    original: Tensor
    """As the original compares it: after a sigmoid, so that a background without edges is 0.5."""
    masked: Tensor
    """As the paper describes it: edges near the object, in 0 to 1."""
    grey_share: float
    """The part of the original target's pixels within 0.1 of 0.5."""
    floor: float
    """The least binary cross-entropy that any prediction can reach on the original target, in nats; chance is ln 2."""
    edge_share: float
    """The part of the masked target's pixels above 0.1."""


def image_laplacian(image: Tensor) -> Tensor:
    """The Laplacian of the mean over colours, (1, 3, H, W) to (1, H, W), of the image as the network sees it.

    Examples:
        >>> import torch
        >>> image_laplacian(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 32, 32])
    """
    return laplacian(image.mean(dim=1, keepdim=True))[0]


def level_targets(image: Tensor, side_logits: Tensor) -> LevelTargets:
    """Both targets of a level from the image (1, 3, H, W), normalised, and its side output's logits (1, h, w).

    Examples:
        >>> import torch
        >>> level_targets(torch.rand(1, 3, 64, 64), torch.zeros(1, 16, 16)).masked.shape
        torch.Size([1, 64, 64])
    """
    side = side_logits[None].to(image)
    original = gradient_target(image, side)[0].sigmoid()  # (1, H, W)
    masked = masked_gradient_target(image, side)[0]  # (1, H, W)
    return LevelTargets(
        original.float().cpu(),
        masked.float().cpu(),
        float(((original - 0.5).abs() < 0.1).float().mean()),
        float(F.binary_cross_entropy(original.double(), original.double())),
        float((masked > 0.1).float().mean()),
    )


def perfect_side_logits(mask: Tensor) -> Tensor:
    """Logits (1, H, W) of a side output that agrees with a soft mask (1, H, W)."""
    return torch.logit(mask.clamp(1e-4, 1 - 1e-4))
