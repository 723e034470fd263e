"""Rewrites of the encoder: the two scales are not joined at full width, only after a convolution or resizing."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from birefnet_lite.network.backbone.convnets import ConvNet
from birefnet_lite.network.backbone.swin import SwinTransformer
from birefnet_lite.network.encoder import Encoder
from birefnet_lite.optimization.convolutions import fold_batch_norms
from birefnet_lite.optimization.decoder import Level
from birefnet_lite.optimization.resize import resize, resize_twice
from birefnet_lite.optimization.swin import rewrite_swin

__all__ = ["OptimizedEncoder"]


class OptimizedEncoder(nn.Module):
    """The encoder, with both scales of the three finer levels kept separate.

    Only the deepest map, with its context, needs the joined scales; the lateral blocks take them separately (see
    `Lateral`). For the context, a finer map of the half-size image would be enlarged and then made much smaller:
    `resize_twice` does both in one step.
    Shapes: image (B, 3, H, W) to three levels, finest first, and the deepest map, after its context.

    Args:
        encoder: A copy of the encoder. Its backbone is changed in place.
        strides: Strides of the neck's pyramid, if there is a neck.
    """

    def __init__(self, encoder: Encoder, strides: tuple[int, ...] | None) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.scales = encoder.multi_scale_input
        self.context_scales = encoder.context_scales
        self.strides = strides
        if isinstance(self.backbone, SwinTransformer):
            rewrite_swin(self.backbone)
        elif isinstance(self.backbone, ConvNet):
            fold_batch_norms(self.backbone)

    def forward(self, image: Tensor) -> tuple[list[Level], Tensor]:
        height, width = image.shape[-2:]
        full, half = self._run_backbone(image)
        size = full[3].shape[-2:]
        deep = [self._join(full[i], half[i], size) for i in range(3 - self.context_scales, 4)]
        sizes: list[Sequence[int]] = [x.shape[-2:] for x in full]
        if self.strides is not None:
            sizes = [(height // stride, width // stride) for stride in self.strides]
        levels = [Level(*level) for level in zip(full[:3], half[:3], sizes[:3], strict=True)]
        return levels, torch.cat([x for maps in deep for x in maps], dim=1)  # (B, C, h, w)

    def _run_backbone(self, image: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """Compute the maps of the image and of the half-size image (None for each, if the latter is not used)."""
        if self.scales == "none":
            return self.backbone(image), (None,) * 4
        small = resize(image, (image.shape[-2] // 2, image.shape[-1] // 2))
        return self.backbone(image), self.backbone(small)

    def _join(self, full: Tensor, half: Tensor | None, size: Sequence[int]) -> list[Tensor]:
        """Resize the maps of one level to `size`; the result is to be concatenated."""
        maps = [resize(full, size)]
        if half is None:
            return maps
        half = resize_twice(half, full.shape[-2:], size) if full.shape[-2:] != size else resize(half, size)
        return [maps[0] + half] if self.scales == "add" else [*maps, half]
