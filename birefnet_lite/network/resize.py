"""Bilinear resizing of feature maps with aligned corners."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize"]


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resampling with aligned corners, as everywhere in BiRefNet: (B, C, h, w) to (B, C, *size)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
