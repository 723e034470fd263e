"""The decoder: four stages from stride 32 to stride 4, and a head at full resolution (paper, reconstruction module)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from birefnet_lite.network.blocks import build_block
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.refinement import InwardReference, OutwardReference
from birefnet_lite.network.resize import resize

__all__ = ["Decoder", "DecoderOutput", "DecoderStage", "StageOutput"]


class StageOutput(NamedTuple):
    """What one stage hands on, and what it is supervised with."""

    features: Tensor
    """The next stage's input, at its resolution."""
    side_logits: Tensor | None
    """(B, 1, h, w) at the stage's own resolution, in training."""
    gradient_logits: Tensor | None
    """(B, 1, h, w) at the stage's own resolution, in training."""


class DecoderOutput(NamedTuple):
    """Tuples run from the deepest stage up."""

    side_logits: tuple[Tensor, ...]
    gradient_logits: tuple[Tensor, ...]
    logits: Tensor
    """(B, 1, H, W) at the image's resolution."""


class DecoderStage(nn.Module):
    """One stage: look at the image, reconstruct, weigh by gradient attention, go up and add the lateral map.

    `in_channels` counts what comes from below, `image_channels` what the inward reference adds to it (0: no inward
    reference); `grid` is the stage's stride. `lateral_channels` is the width of the encoder map of the next finer
    level (0 in the last stage, which has no lateral block).
    Shapes: x (B, in_channels, H / grid, W / grid), image (B, 3, H, W), lateral (B, lateral_channels, h, w) to
    features (B, out_channels, h, w).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        lateral_channels: int = 0,
        grid: int = 32,
        image_channels: int = 0,
        image_inter_channels: int = 64,
        image_tiles: bool = True,
        block: str = "basic",
        inter_channels: int | None = 64,
        aspp: str = "deformable",
        aspp_channels: int = 256,
        supervised: bool = True,
        outward_reference: bool = True,
        gradient_channels: int = 16,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.inward = (
            InwardReference(grid, image_channels, image_inter_channels, image_tiles) if image_channels else None
        )
        self.reconstruction = build_block(
            block,
            in_channels + image_channels,
            out_channels,
            inter_channels=inter_channels,
            aspp=aspp,
            aspp_channels=aspp_channels,
            batch_norm=batch_norm,
        )
        self.side_head = nn.Conv2d(out_channels, 1, 1) if supervised else None
        self.outward = OutwardReference(out_channels, gradient_channels, batch_norm) if outward_reference else None
        self.lateral = LateralBlock(lateral_channels, out_channels) if lateral_channels else None

    def forward(self, x: Tensor, image: Tensor, lateral: Tensor | None = None) -> StageOutput:
        if self.inward is not None:
            x = torch.cat([x, self.inward(image)], dim=1)  # (B, in_channels + image_channels, h, w)
        x = self.reconstruction(x)
        side_logits = self.side_head(x) if self.side_head is not None and self.training else None
        gradient_logits = None
        if self.outward is not None:
            # The attention is part of the network also after training: without it, masks get worse.
            attention, gradient_logits = self.outward(x)
            x = x * attention
        if self.lateral is not None:
            x = resize(x, lateral.shape[-2:]) + self.lateral(lateral)
        else:
            x = resize(x, image.shape[-2:])
        return StageOutput(x, side_logits, gradient_logits if self.training else None)


class Decoder(nn.Module):
    """Stages 4, 3, 2 and 1, each twice as fine as the one before, then the image once more and a 1x1 convolution.

    `channels` are the widths of the four encoder maps, finest first; `image_channels` those of the inward reference at
    stages 4, 3, 2, 1 and at full resolution (all 0: no inward reference). Stage i puts out the width of the next finer
    map, the last one half the finest. `supervised` and `outward_reference` hold for stages 4 to 2. The other arguments
    are those of `DecoderStage`.
    Shapes: image (B, 3, H, W), features four maps (B, channels[i], H / 4..32, W / 4..32) to logits (B, 1, H, W).
    """

    grids = (32, 16, 8, 4)

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        image_channels: tuple[int, int, int, int, int],
        deepest_channels: int | None = None,
        image_inter_channels: int = 64,
        image_tiles: bool = True,
        supervised: bool = True,
        outward_reference: bool = True,
        **stage,
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        in_channels = (deepest_channels or c4, c3, c2, c1)
        out_channels = (c3, c2, c1, c1 // 2)
        lateral_channels = (c3, c2, c1, 0)
        for i, number in enumerate((4, 3, 2, 1)):
            self.add_module(
                f"stage{number}",
                DecoderStage(
                    in_channels[i],
                    out_channels[i],
                    lateral_channels[i],
                    grid=self.grids[i],
                    image_channels=image_channels[i],
                    image_inter_channels=image_inter_channels,
                    image_tiles=image_tiles,
                    supervised=supervised and number > 1,
                    outward_reference=outward_reference and number > 1,
                    **stage,
                ),
            )
        self.image_branch = (
            InwardReference(1, image_channels[4], image_inter_channels, image_tiles) if image_channels[4] else None
        )
        self.head = nn.Conv2d(out_channels[-1] + image_channels[4], 1, 1)

    @property
    def stages(self) -> tuple[DecoderStage, ...]:
        """Stages 4, 3, 2, 1, as they run."""
        return self.stage4, self.stage3, self.stage2, self.stage1

    def forward(self, image: Tensor, features: tuple[Tensor, ...]) -> DecoderOutput:
        x1, x2, x3, x = features
        side_logits, gradient_logits = [], []
        for stage, lateral in zip(self.stages, (x3, x2, x1, None), strict=True):
            x, side, gradient = stage(x, image, lateral)
            side_logits.append(side)
            gradient_logits.append(gradient)
        if self.image_branch is not None:
            x = torch.cat([x, self.image_branch(image)], dim=1)  # (B, C, H, W)
        return DecoderOutput(
            tuple(side for side in side_logits if side is not None),
            tuple(gradient for gradient in gradient_logits if gradient is not None),
            self.head(x),
        )
