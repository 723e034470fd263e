"""Reconstruction blocks: what each decoder stage, and the squeeze module, is built of."""

from torch import Tensor, nn

from birefnet_lite.network.aspp import ASPP, DeformableASPP, batch_norm_or_identity

__all__ = ["BasicBlock", "ResidualBlock", "build_block"]


class BasicBlock(nn.Module):
    """The paper's reconstruction block: narrow to `inter_channels`, look with several receptive fields, widen again.

    `aspp` is `"deformable"`, `"plain"` or `"none"`; `inter_channels=None` takes a quarter of the input's width. There
    is no activation behind the last batch norm.
    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inter_channels: int | None = 64,
        aspp: str = "deformable",
        aspp_channels: int = 256,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        inner = in_channels // 4 if inter_channels is None else inter_channels
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.norm_in = batch_norm_or_identity(inner, batch_norm)
        self.relu = nn.ReLU(inplace=True)
        if aspp == "deformable":
            self.aspp = DeformableASPP(inner, channels=aspp_channels, batch_norm=batch_norm)
        elif aspp == "plain":
            self.aspp = ASPP(inner, channels=aspp_channels, batch_norm=batch_norm)
        elif aspp == "none":
            self.aspp = nn.Identity()
        else:
            raise ValueError(f"aspp is {aspp!r}; it can be 'deformable', 'plain' or 'none'.")
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)
        self.norm_out = batch_norm_or_identity(out_channels, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm_in(self.conv_in(x)))  # (B, inter, H, W)
        x = self.aspp(x)
        return self.norm_out(self.conv_out(x))


class ResidualBlock(BasicBlock):
    """A `BasicBlock` with a 1x1 convolution around it. Same arguments and shapes."""

    def __init__(self, in_channels: int, out_channels: int, *args, **kwargs) -> None:
        super().__init__(in_channels, out_channels, *args, **kwargs)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.skip(x)


def build_block(kind: str, in_channels: int, out_channels: int, **kwargs) -> BasicBlock:
    """A `"basic"` or `"residual"` block; `ValueError` for any other kind."""
    kinds = {"basic": BasicBlock, "residual": ResidualBlock}
    if kind not in kinds:
        raise ValueError(f"The block is {kind!r}; it can be 'basic' or 'residual'.")
    return kinds[kind](in_channels, out_channels, **kwargs)
