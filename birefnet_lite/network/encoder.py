"""The encoder: one backbone on two sizes of the image, and the context fusion."""

import torch
from torch import Tensor, nn

from birefnet_lite.network.resize import resize

__all__ = ["Encoder", "fuse_context", "fuse_scales"]


def fuse_scales(full: tuple[Tensor, ...], half: tuple[Tensor, ...], how: str) -> tuple[Tensor, ...]:
    """Joins the features of the image with those of the half-size image, level by level.

    Detail comes from the image, meaning from the half-size image. `how` is `"cat"` (widths double) or `"add"`.
    Shapes: (B, C, H, W) and (B, C, H / 2, W / 2) to (B, 2 C, H, W) or (B, C, H, W), at each level.
    """
    half = tuple(resize(small, large.shape[-2:]) for large, small in zip(full, half, strict=True))
    if how == "add":
        return tuple(large + small for large, small in zip(full, half, strict=True))
    return tuple(torch.cat([large, small], dim=1) for large, small in zip(full, half, strict=True))


def fuse_context(features: tuple[Tensor, ...], scales: int) -> Tensor:
    """The deepest map with the `scales` next finer ones, resized to it, in front of it (context feature fusion).

    Shapes: four maps (B, C_i, H_i, W_i), finest first, to (B, sum of the last C_i, H_4, W_4).
    """
    *finer, deepest = features
    context = [resize(x, deepest.shape[-2:]) for x in finer[len(finer) - scales :]]
    return torch.cat([*context, deepest], dim=1)


class Encoder(nn.Module):
    """Backbone, image pyramid and context: the first half of the paper's localization module.

    `backbone` gives four maps, finest first. `multi_scale_input` is `"cat"`, `"add"` or `"none"`, `context_scales` the
    number of finer maps that join the deepest one.
    Shapes: image (B, 3, H, W) to x1, x2, x3 and x4 at strides 4, 8, 16 and 32, x4 with its context.
    """

    def __init__(self, backbone: nn.Module, multi_scale_input: str = "cat", context_scales: int = 3) -> None:
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
