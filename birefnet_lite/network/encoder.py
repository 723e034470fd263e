"""The encoder: one backbone run on the image and on its half-size copy, and the fusion of context features."""

import torch
from torch import Tensor, nn

from birefnet_lite.network.backbone import Backbone
from birefnet_lite.network.resize import resize

__all__ = ["Encoder", "fuse_context", "fuse_scales"]


def fuse_scales(full: tuple[Tensor, ...], half: tuple[Tensor, ...], how: str) -> tuple[Tensor, ...]:
    """Join the features of the image with those of the half-size image, level by level.

    The image contributes detail, the half-size image a larger receptive field.

    Args:
        full: Four maps (B, C, H, W) of the image, finest first.
        half: Four maps (B, C, H / 2, W / 2) of the half-size image.
        how: `"cat"` (concatenate, widths double) or `"add"`.

    Returns:
        Four maps (B, 2 C, H, W) or (B, C, H, W).

    Examples:
        >>> import torch
        >>> full = tuple(torch.zeros(1, 8, side, side) for side in (32, 16, 8, 4))
        >>> half = tuple(torch.zeros(1, 8, side, side) for side in (16, 8, 4, 2))
        >>> [x.shape[1] for x in fuse_scales(full, half, "cat")]
        [16, 16, 16, 16]
    """
    half = tuple(resize(small, large.shape[-2:]) for large, small in zip(full, half, strict=True))
    if how == "add":
        return tuple(large + small for large, small in zip(full, half, strict=True))
    return tuple(torch.cat([large, small], dim=1) for large, small in zip(full, half, strict=True))


def fuse_context(features: tuple[Tensor, ...], scales: int) -> Tensor:
    """Concatenate the deepest map with the `scales` next finer ones, resized to it (context feature fusion).

    Args:
        features: Four maps (B, C_i, H_i, W_i), finest first.
        scales: How many of the finer maps are used, 0 to 3.

    Returns:
        (B, sum of the last C_i, H_4, W_4). The deepest map comes last.

    Examples:
        >>> import torch
        >>> features = tuple(torch.zeros(1, 8, side, side) for side in (32, 16, 8, 4))
        >>> fuse_context(features, scales=3).shape
        torch.Size([1, 32, 4, 4])
    """
    *finer, deepest = features
    context = [resize(x, deepest.shape[-2:]) for x in finer[len(finer) - scales :]]
    return torch.cat([*context, deepest], dim=1)


class Encoder(nn.Module):
    """Backbone, image pyramid and context fusion: the first half of the paper's localization module.

    Shapes: image (B, 3, H, W) to x1, x2, x3, x4 at strides 4, 8, 16, 32; x4 includes its context.

    Args:
        backbone: A network that gives four maps, finest first.
        multi_scale_input: How the two scales are joined: `"cat"`, `"add"`, or `"none"` to use the image alone.
        context_scales: How many of the finer maps join the deepest one, 0 to 3.

    Examples:
        >>> import torch
        >>> from birefnet_lite.network.backbone import build_backbone
        >>> encoder = Encoder(build_backbone("convnet_n")).eval()
        >>> [tuple(x.shape) for x in encoder(torch.zeros(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 832, 2, 2)]
    """

    def __init__(self, backbone: Backbone, multi_scale_input: str = "cat", context_scales: int = 3) -> None:
        super().__init__()
        self.backbone = backbone
        self.multi_scale_input = multi_scale_input
        self.context_scales = context_scales

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features = self.backbone(image)
        if self.multi_scale_input != "none":
            height, width = image.shape[-2:]
            half = self.backbone(resize(image, (height // 2, width // 2)))
            features = fuse_scales(features, half, self.multi_scale_input)
        x1, x2, x3, _ = features
        return x1, x2, x3, fuse_context(features, self.context_scales)
