"""Atrous spatial pyramid pooling: the same map seen with several receptive fields at once."""

import torch
from torch import Tensor, nn

from birefnet_lite.network.deformable import DeformableConv2d
from birefnet_lite.network.resize import resize

__all__ = ["ASPP", "DeformableASPP", "batch_norm_or_identity"]


def batch_norm_or_identity(channels: int, batch_norm: bool) -> nn.Module:
    """A batch norm, or nothing: checkpoints trained with batches of one have no batch norm outside the backbone."""
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


class ASPPBranch(nn.Module):
    """One receptive field: convolution, batch norm, ReLU. (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, conv: nn.Module, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


class PooledBranch(nn.Module):
    """The whole map as one receptive field: average, 1x1 convolution, batch norm, ReLU, spread over the map again."""

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.relu(self.norm(self.conv(self.pool(x))))  # (B, C, 1, 1)
        return resize(pooled, x.shape[-2:])


class _Pyramid(nn.Module):
    """What both kinds share: branches side by side, concatenated, a 1x1 convolution back to `out_channels`."""

    def __init__(
        self, branches: list[ASPPBranch], in_channels: int, out_channels: int, channels: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.pooled = PooledBranch(in_channels, channels, batch_norm)
        self.project = nn.Conv2d(channels * (len(branches) + 1), out_channels, 1, bias=False)
        self.norm = batch_norm_or_identity(out_channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        views = [branch(x) for branch in self.branches]
        x = torch.cat([*views, self.pooled(x)], dim=1)  # (B, channels * 5, H, W)
        return self.dropout(self.relu(self.norm(self.project(x))))


class ASPP(_Pyramid):
    """ASPP with dilated 3x3 convolutions (rates 1, 6, 12, 18, the first one 1x1) and a pooled branch.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W); every branch has `channels` channels.
    """

    rates = (1, 6, 12, 18)

    def __init__(
        self, in_channels: int, out_channels: int | None = None, channels: int = 256, batch_norm: bool = True
    ) -> None:
        convs = [nn.Conv2d(in_channels, channels, 1, bias=False)] + [
            nn.Conv2d(in_channels, channels, 3, padding=rate, dilation=rate, bias=False) for rate in self.rates[1:]
        ]
        branches = [ASPPBranch(conv, channels, batch_norm) for conv in convs]
        super().__init__(branches, in_channels, out_channels or in_channels, channels, batch_norm)


class DeformableASPP(_Pyramid):
    """ASPP whose branches are deformable convolutions of 1x1, 1x1, 3x3 and 7x7, and a pooled branch.

    The hierarchical receptive fields of the paper's reconstruction block (figure of the block, section on the
    reconstruction module). The paper names the sizes 1, 3 and 7; the original has the 1x1 branch twice, and its
    weights need both.
    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W); every branch has `channels` channels.
    """

    kernel_sizes = (1, 1, 3, 7)

    def __init__(
        self, in_channels: int, out_channels: int | None = None, channels: int = 256, batch_norm: bool = True
    ) -> None:
        convs = [DeformableConv2d(in_channels, channels, size) for size in self.kernel_sizes]
        branches = [ASPPBranch(conv, channels, batch_norm) for conv in convs]
        super().__init__(branches, in_channels, out_channels or in_channels, channels, batch_norm)
