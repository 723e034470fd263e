"""Algebra of bilinear resampling with aligned corners. Its weights add up to 1, and it is one matrix per axis."""

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.network.resize import resize as plain_resize

__all__ = ["resize", "resize_twice"]


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resampling, left out where the size stays: with aligned corners each pixel then falls on itself."""
    return x if x.shape[-2:] == torch.Size(size) else plain_resize(x, size)


def resize_twice(x: Tensor, via: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """To the size `via` and then to `size`, without the map between.

    On each axis both steps are matrices, and D (U x) = (D U) x. U is what resampling makes of the unit matrix. Worth it
    where `via` is large and both ends are small. (B, C, h, w) to (B, C, *size).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    down, across = (
        _resampled_axis(_resampled_axis(torch.eye(n, dtype=dtype, device=x.device), between), after)
        for n, between, after in zip(x.shape[-2:], via, size, strict=True)
    )  # (H, h), (W, w)
    device = "cpu" if x.is_meta else x.device.type  # there is no autocast for tensors that have only shapes
    with torch.autocast(device, enabled=False):
        return (down @ (x.to(dtype) @ across.t())).to(x.dtype)


def _resampled_axis(rows: Tensor, length: int) -> Tensor:
    """Resamples the first axis: (n, k) to (length, k)."""
    return F.interpolate(rows.t()[None], size=length, mode="linear", align_corners=True)[0].t()
