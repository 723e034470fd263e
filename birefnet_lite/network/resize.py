"""Bilinear resizing of feature maps with aligned corners."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize"]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps bilinearly with aligned corners, as BiRefNet does everywhere: (B, C, h, w) to (B, C, *size)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)
