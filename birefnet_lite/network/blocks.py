"""Reconstruction blocks, of which the decoder stages and the squeeze module are built."""

from torch import Tensor, nn

from birefnet_lite.network.aspp import ASPP, DeformableASPP, batch_norm_or_identity

__all__ = ["BasicBlock", "ResidualBlock", "build_block"]


class BasicBlock(nn.Module):
    """The paper's reconstruction block: 3x3 convolution to a narrow map, ASPP, 3x3 convolution to the final width.

    There is no activation after the last batch norm.
    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels, out_channels: Widths of input and output.
        inter_channels: Width between the two convolutions; None is a quarter of `in_channels`.
        aspp: `"deformable"`, `"plain"` or `"none"`.
        aspp_channels: Width of each branch of the ASPP.
        batch_norm: False leaves out all batch norms.

    Examples:
        >>> import torch
        >>> BasicBlock(64, 32, inter_channels=16, aspp_channels=16).eval()(torch.zeros(1, 64, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
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
        self.aspp: nn.Module
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
        x = self.relu(self.norm_in(self.conv_in(x)))  # (B, inter_channels, H, W)
        x = self.aspp(x)  # (B, inter_channels, H, W)
        return self.norm_out(self.conv_out(x))  # (B, out_channels, H, W)


class ResidualBlock(BasicBlock):
    """A `BasicBlock` plus a 1x1 convolution of its input. Same arguments and shapes.

    Examples:
        >>> import torch
        >>> block = ResidualBlock(64, 32, inter_channels=16, aspp="plain", aspp_channels=16).eval()
        >>> block(torch.zeros(1, 64, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
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
        super().__init__(in_channels, out_channels, inter_channels, aspp, aspp_channels, batch_norm)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.skip(x)


def build_block(
    kind: str,
    in_channels: int,
    out_channels: int,
    inter_channels: int | None = 64,
    aspp: str = "deformable",
    aspp_channels: int = 256,
    batch_norm: bool = True,
) -> BasicBlock:
    """Build a `"basic"` or `"residual"` block; `ValueError` for any other kind.

    Examples:
        >>> type(build_block("residual", 64, 32)).__name__
        'ResidualBlock'
    """
    kinds = {"basic": BasicBlock, "residual": ResidualBlock}
    if kind not in kinds:
        raise ValueError(f"The block is {kind!r}; it can be 'basic' or 'residual'.")
    return kinds[kind](in_channels, out_channels, inter_channels, aspp, aspp_channels, batch_norm)
