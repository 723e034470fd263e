"""The squeeze module: the encoder's deepest map and its context, brought back to one width."""

from torch import nn

from birefnet_lite.network.aspp import ASPP, DeformableASPP
from birefnet_lite.network.blocks import build_block

__all__ = ["SqueezeModule"]


class SqueezeModule(nn.Sequential):
    """Squeezes (B, in_channels, H, W) to (B, out_channels, H, W): end of the paper's localization module.

    `block` is `"basic"` or `"residual"` (a reconstruction block, with the given `inter_channels`, `aspp` and
    `aspp_channels`), or `"aspp"` or `"deformable_aspp"` (the pyramid alone). The first of `depth` blocks narrows, the
    others keep the width.
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
        pyramids = {"aspp": ASPP, "deformable_aspp": DeformableASPP}

        def build(width: int) -> nn.Module:
            if block in pyramids:
                return pyramids[block](width, out_channels, channels=aspp_channels, batch_norm=batch_norm)
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
