"""The squeeze module: blocks that reduce the encoder's deepest map and its context to the channels of that map."""

from torch import nn

from birefnet_lite.network.aspp import ASPP, DeformableASPP
from birefnet_lite.network.blocks import build_block

__all__ = ["SqueezeModule"]


class SqueezeModule(nn.Sequential):
    """One or more blocks in a row, at the end of the paper's localization module. The first one narrows the map.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels: Width of the deepest map with its context.
        out_channels: Width of the result.
        block: `"basic"` or `"residual"` for a reconstruction block, `"aspp"` or `"deformable_aspp"` for an ASPP alone.
        depth: How many blocks.
        inter_channels, aspp, aspp_channels, batch_norm: Those of `BasicBlock`.

    Examples:
        >>> import torch
        >>> SqueezeModule(512, 64, inter_channels=16, aspp_channels=16).eval()(torch.zeros(1, 512, 8, 8)).shape
        torch.Size([1, 64, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        block: str = "basic",
        depth: int = 1,
        inter_channels: int | None = 64,
        aspp: str = "deformable",
        aspp_channels: int = 256,
        batch_norm: bool = True,
    ) -> None:
        def build(width: int) -> nn.Module:
            if block in ("aspp", "deformable_aspp"):
                kind = ASPP if block == "aspp" else DeformableASPP
                return kind(width, out_channels, channels=aspp_channels, batch_norm=batch_norm)
            return build_block(
                block,
                width,
                out_channels,
                inter_channels=inter_channels,
                aspp=aspp,
                aspp_channels=aspp_channels,
                batch_norm=batch_norm,
            )

        super().__init__(*(build(in_channels if i == 0 else out_channels) for i in range(depth)))
