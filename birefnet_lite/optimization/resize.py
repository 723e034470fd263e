"""Bilinear resizing without unnecessary steps: none where the size stays, one where there were two."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.network.resize import resize as plain_resize

__all__ = ["resize", "resize_twice"]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (B, C, h, w) to (B, C, *size). With aligned corners, a map that has the size already is unchanged."""
    return x if tuple(x.shape[-2:]) == tuple(size) else plain_resize(x, size)


def resize_twice(x: Tensor, via: Sequence[int], size: Sequence[int]) -> Tensor:
    """Resize maps (B, C, h, w) to the size `via` and then to `size`, without computing the map in between.

    Along each axis both steps are matrices U and D, and D (U x) = (D U) x. U is the result of resampling the unit
    matrix. This saves time where `via` is large and the other two sizes are small.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    down, across = (
        _resample_rows(_resample_rows(torch.eye(n, dtype=dtype, device=x.device), between), after)
        for n, between, after in zip(x.shape[-2:], via, size, strict=True)
    )  # (H, h), (W, w)
    device = "cpu" if x.is_meta else x.device.type  # the meta device has no autocast
    with torch.autocast(device, enabled=False):
        return (down @ (x.to(dtype) @ across.t())).to(x.dtype)


def _resample_rows(rows: Tensor, length: int) -> Tensor:
    """Resample the first axis: (n, k) to (length, k)."""
    return F.interpolate(rows.t()[None], size=length, mode="linear", align_corners=True)[0].t()
