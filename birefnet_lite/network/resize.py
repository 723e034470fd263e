"""Bilinear resizing of feature maps with aligned corners."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize"]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps bilinearly with aligned corners, as BiRefNet does everywhere: (B, C, h, w) to (B, C, *size).

    Examples:
        >>> import torch
        >>> resize(torch.tensor([[[[0.0, 3.0]]]]), (1, 4))
        tensor([[[[0., 1., 2., 3.]]]])
    """
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)
