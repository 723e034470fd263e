"""Atrous spatial pyramid pooling (ASPP): convolutions with several receptive fields on the same map, side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from birefnet_lite.network.deformable import DeformableConv2d
from birefnet_lite.network.resize import resize

__all__ = ["ASPP", "DeformableASPP", "batch_norm_or_identity"]


def batch_norm_or_identity(channels: int, batch_norm: bool) -> nn.BatchNorm2d | nn.Identity:
    """A batch norm, or `nn.Identity` for checkpoints trained without batch norms outside the backbone.

    Examples:
        >>> batch_norm_or_identity(8, batch_norm=False)
        Identity()
    """
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


class ASPPBranch(nn.Module):
    """One receptive field: convolution, batch norm, ReLU. (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, conv: nn.Conv2d | DeformableConv2d, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


class PooledBranch(nn.Module):
    """The whole map as one receptive field: average, 1x1 convolution, batch norm, ReLU, resized to the map.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W), the same values at every pixel.
    """

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.relu(self.norm(self.conv(self.pool(x))))  # (B, out_channels, 1, 1)
        return resize(pooled, x.shape[-2:])  # (B, out_channels, H, W)


class _Pyramid(nn.Module):
    """The part that both kinds of ASPP share: branches, concatenation, and a 1x1 convolution to `out_channels`."""

    def __init__(
        self,
        convs: Sequence[nn.Conv2d | DeformableConv2d],
        in_channels: int,
        out_channels: int,
        channels: int,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ASPPBranch(conv, channels, batch_norm) for conv in convs)
        self.pooled = PooledBranch(in_channels, channels, batch_norm)
        self.project = nn.Conv2d(channels * (len(convs) + 1), out_channels, 1, bias=False)
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        views = [branch(x) for branch in self.branches]  # four maps (B, channels, H, W)
        x = torch.cat([*views, self.pooled(x)], dim=1)  # (B, 5 * channels, H, W)
        return self.dropout(self.relu(self.norm(self.project(x))))  # (B, out_channels, H, W)


class ASPP(_Pyramid):
    """ASPP with dilated convolutions: 1x1, then 3x3 at rates 6, 12 and 18, and a pooled branch (Chen et al. 2017).

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels: Width of the input.
        out_channels: Width of the result; None is `in_channels`.
        channels: Width of each branch.
        batch_norm: False leaves out all batch norms.

    Examples:
        >>> import torch
        >>> ASPP(16, channels=8).eval()(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    rates = (1, 6, 12, 18)

    def __init__(
        self, in_channels: int, out_channels: int | None = None, channels: int = 256, batch_norm: bool = True
    ) -> None:
        convs = [nn.Conv2d(in_channels, channels, 1, bias=False)] + [
            nn.Conv2d(in_channels, channels, 3, padding=rate, dilation=rate, bias=False) for rate in self.rates[1:]
        ]
        super().__init__(convs, in_channels, out_channels or in_channels, channels, batch_norm)


class DeformableASPP(_Pyramid):
    """ASPP with deformable convolutions of 1x1, 1x1, 3x3 and 7x7, and a pooled branch.

    These are the hierarchical receptive fields of the paper's reconstruction block. The paper names the sizes 1, 3 and
    7; the original code has the 1x1 branch twice, and its weights need both.
    Arguments and shapes are those of `ASPP`.

    Examples:
        >>> import torch
        >>> DeformableASPP(16, channels=8).eval()(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    kernel_sizes = (1, 1, 3, 7)

    def __init__(
        self, in_channels: int, out_channels: int | None = None, channels: int = 256, batch_norm: bool = True
    ) -> None:
        convs = [DeformableConv2d(in_channels, channels, size) for size in self.kernel_sizes]
        super().__init__(convs, in_channels, out_channels or in_channels, channels, batch_norm)
