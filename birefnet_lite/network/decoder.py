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
    """The result of one decoder stage."""

    features: Tensor
    """(B, out_channels, h, w): the input of the next stage, at its resolution."""
    side_logits: Tensor | None
    """(B, 1, H / grid, W / grid), at the stage's own resolution, in training."""
    gradient_logits: Tensor | None
    """(B, 1, H / grid, W / grid), at the stage's own resolution, in training."""


class DecoderOutput(NamedTuple):
    """The result of the decoder. Tuples run from the deepest stage up."""

    side_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2, in training."""
    gradient_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2, in training."""
    logits: Tensor
    """(B, 1, H, W), at the image's resolution."""


class DecoderStage(nn.Module):
    """One stage: inward reference, reconstruction block, gradient attention, up-sampling and lateral connection.

    Shapes: x (B, in_channels, H / grid, W / grid), image (B, 3, H, W) and lateral (B, lateral_channels, h, w) to
    features (B, out_channels, h, w). Without a lateral map, h = H and w = W.

    Args:
        in_channels: Width of the features from the deeper stage.
        out_channels: Width of the result.
        lateral_channels: Width of the encoder map of the next finer level; 0 in the last stage, which has none.
        grid: The stage's stride, and the number of image tiles per side.
        image_channels: Width that the inward reference adds to the input; 0 leaves the inward reference out.
        image_inter_channels: Width between the two convolutions of the inward reference.
        image_tiles: Cut the image into tiles (True) or resize it (False).
        block: `"basic"` or `"residual"`.
        inter_channels, aspp, aspp_channels: Those of `BasicBlock`.
        supervised: Whether the stage has a side output.
        outward_reference: Whether gradient attention weights the features.
        gradient_channels: Width of the features from which gradients and attention are computed.
        batch_norm: False leaves out all batch norms.

    Examples:
        >>> import torch
        >>> stage = DecoderStage(64, 32, lateral_channels=48, image_channels=8, inter_channels=16, aspp_channels=16)
        >>> x, image, lateral = torch.zeros(1, 64, 4, 4), torch.zeros(1, 3, 128, 128), torch.zeros(1, 48, 8, 8)
        >>> stage.eval()(x, image, lateral).features.shape
        torch.Size([1, 32, 8, 8])
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
            x = torch.cat([x, self.inward(image)], dim=1)  # (B, in_channels + image_channels, H / grid, W / grid)
        x = self.reconstruction(x)  # (B, out_channels, H / grid, W / grid)
        side_logits = self.side_head(x) if self.side_head is not None and self.training else None
        gradient_logits = None
        if self.outward is not None:
            # The attention also belongs to inference: without it, masks get worse.
            attention, gradient_logits = self.outward(x)
            x = x * attention
        if self.lateral is not None and lateral is not None:
            x = resize(x, lateral.shape[-2:]) + self.lateral(lateral)  # (B, out_channels, h, w)
        else:
            x = resize(x, image.shape[-2:])  # (B, out_channels, H, W)
        return StageOutput(x, side_logits, gradient_logits if self.training else None)


class Decoder(nn.Module):
    """Stages 4, 3, 2 and 1, each at twice the resolution of the one before, then a 1x1 convolution to the logits.

    The output of stage i has the width of the next finer encoder map; that of the last stage has half the finest width.
    Shapes: image (B, 3, H, W) and four maps (B, channels[i], H / stride, W / stride) to logits (B, 1, H, W).

    Args:
        channels: Widths of the four encoder maps, finest first.
        image_channels: Widths of the inward reference at stages 4, 3, 2, 1 and at full resolution; 0 leaves it out.
        deepest_channels: Width of the deepest map, if it is not `channels[3]`.
        supervised, outward_reference: Those of `DecoderStage`, for stages 4 to 2; the last stage has neither.
        image_inter_channels, image_tiles, block, inter_channels, aspp, aspp_channels, gradient_channels, batch_norm:
            Those of `DecoderStage`, for all stages.
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
        block: str = "basic",
        inter_channels: int | None = 64,
        aspp: str = "deformable",
        aspp_channels: int = 256,
        gradient_channels: int = 16,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels

        def build(i: int, in_channels: int, out_channels: int, lateral_channels: int) -> DecoderStage:
            last = lateral_channels == 0
            return DecoderStage(
                in_channels,
                out_channels,
                lateral_channels,
                grid=self.grids[i],
                image_channels=image_channels[i],
                image_inter_channels=image_inter_channels,
                image_tiles=image_tiles,
                block=block,
                inter_channels=inter_channels,
                aspp=aspp,
                aspp_channels=aspp_channels,
                supervised=supervised and not last,
                outward_reference=outward_reference and not last,
                gradient_channels=gradient_channels,
                batch_norm=batch_norm,
            )

        self.stage4 = build(0, deepest_channels or c4, c3, c3)
        self.stage3 = build(1, c3, c2, c2)
        self.stage2 = build(2, c2, c1, c1)
        self.stage1 = build(3, c1, c1 // 2, 0)
        self.image_branch = (
            InwardReference(1, image_channels[4], image_inter_channels, image_tiles) if image_channels[4] else None
        )
        self.head = nn.Conv2d(c1 // 2 + image_channels[4], 1, 1)

    @property
    def stages(self) -> tuple[DecoderStage, DecoderStage, DecoderStage, DecoderStage]:
        """Stages 4, 3, 2, 1, in the order in which they run."""
        return self.stage4, self.stage3, self.stage2, self.stage1

    def forward(self, image: Tensor, features: tuple[Tensor, ...]) -> DecoderOutput:
        x1, x2, x3, x = features
        side_logits, gradient_logits = [], []
        for stage, lateral in zip(self.stages, (x3, x2, x1, None), strict=True):
            x, side, gradient = stage(x, image, lateral)  # to strides 16, 8, 4 and 1
            side_logits.append(side)
            gradient_logits.append(gradient)
        if self.image_branch is not None:
            x = torch.cat([x, self.image_branch(image)], dim=1)  # (B, C, H, W)
        return DecoderOutput(
            tuple(side for side in side_logits if side is not None),
            tuple(gradient for gradient in gradient_logits if gradient is not None),
            self.head(x),  # (B, 1, H, W)
        )
