"""Swin transformer: attention inside windows that shift from block to block (Liu et al., 2021, arXiv 2103.14030).

Parameters have the names of the Swin authors' own code, as in published weights.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.network.backbone.base import Backbone

__all__ = ["SWIN_VARIANTS", "SwinTransformer", "shift_mask", "window_partition", "window_reverse"]

SWIN_VARIANTS: dict[str, dict[str, Any]] = {
    "swin_v1_t": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_v1_s": {"width": 96, "depths": (2, 2, 18, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_v1_b": {"width": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32), "window": 12},
    "swin_v1_l": {"width": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48), "window": 12},
}


def window_partition(x: Tensor, window: int) -> Tensor:
    """Cut a map into windows: (B, H, W, C) to (B, windows, window * window, C). H and W are multiples of `window`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)  # (B, rows, h, columns, w, C)
    return x.transpose(2, 3).reshape(batch, -1, window * window, channels)  # (B, rows * columns, h * w, C)


def window_reverse(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Invert `window_partition`: (B, windows, window * window, C) to (B, H, W, C)."""
    batch, channels = windows.shape[0], windows.shape[-1]
    rows, columns = height // window, width // window
    x = windows.reshape(batch, rows, columns, window, window, channels)  # (B, rows, columns, h, w, C)
    return x.transpose(2, 3).reshape(batch, height, width, channels)


def shift_mask(height: int, width: int, window: int, shift: int, like: Tensor) -> Tensor:
    """Build the attention mask for a map that was rolled by `shift` pixels before it was cut into windows.

    The roll brings pixels from opposite borders of the map into one window. They are not neighbours, so they must not
    attend to each other.

    Args:
        height, width: Size of the map, multiples of `window`.
        window: Side of a window, in pixels.
        shift: How far the map was rolled, in pixels.
        like: A tensor with the wanted dtype and device.

    Returns:
        (windows, N, N) with N = window * window: 0 where a pixel may attend to another, minus infinity elsewhere.
    """

    def regions(size: int) -> Tensor:
        """0 before the last window, 1 in its part that was not rolled over the border, 2 in the part that was."""
        position = torch.arange(size, device=like.device)
        return (position >= size - window).long() + (position >= size - shift).long()

    region = 3 * regions(height)[:, None] + regions(width)  # (H, W)
    region = window_partition(region[None, :, :, None], window)[0, :, :, 0]  # (windows, N)
    apart = region[:, :, None] != region[:, None, :]  # (windows, N, N)
    return like.new_zeros(apart.shape).masked_fill(apart, float("-inf"))


class WindowAttention(nn.Module):
    """Multi-head attention among the pixels of each window, with a learned bias for each relative position.

    Shapes: (B, windows, N, C) with N = window * window, and a mask (windows, N, N) or None, to (B, windows, N, C).
    """

    relative_position_index: Tensor
    """(N, N): the row of the bias table for each pair of pixels."""

    def __init__(self, channels: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", self._relative_position_index(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    @staticmethod
    def _relative_position_index(window: int) -> Tensor:
        """Compute the row of the bias table for each pair of pixels, (N, N)."""
        row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        row, column = row.flatten(), column.flatten()  # (N,)
        down = row[:, None] - row[None, :] + window - 1  # (N, N), 0 to 2 * window - 2
        right = column[:, None] - column[None, :] + window - 1
        return down * (2 * window - 1) + right

    def position_bias(self) -> Tensor:
        """Look up the bias that is added to the scores, (heads, N, N)."""
        n = self.relative_position_index.shape[0]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]  # (N * N, heads)
        return bias.reshape(n, n, self.heads).permute(2, 0, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, windows, n, channels = x.shape
        width = channels // self.heads  # d
        qkv = self.qkv(x).reshape(batch, windows, n, 3, self.heads, width)  # (B, windows, N, 3, heads, d)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # 3 x (B, windows, heads, N, d)
        bias = self.position_bias()
        if mask is not None:
            bias = bias + mask[:, None]  # (windows, heads, N, N)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x.transpose(2, 3).reshape(batch, windows, n, channels)  # (B, windows, N, heads * d)
        return self.proj(x)


class MLP(nn.Module):
    """Two linear layers with a GELU between them and four times the width inside: (..., C) to (..., C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and MLP, each after a layer norm and with a skip connection: (B, H, W, C) to (B, H, W, C).

    A map whose size is not a multiple of the window is padded at the right and at the bottom, after the norm.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.drop_path: nn.Module = nn.Identity()
        if drop_path > 0:
            from torchvision.ops import StochasticDepth  # takes over a second to import

            self.drop_path = StochasticDepth(drop_path, mode="row")
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x), mask if self.shift else None))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Pad, roll, cut into windows, attend, and invert these steps: (B, H, W, C) to (B, H, W, C)."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))  # (B, H', W', C)
        padded_height, padded_width = x.shape[1:3]
        x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        x = self.attn(window_partition(x, self.window), mask)  # (B, windows, N, C)
        x = window_reverse(x, self.window, padded_height, padded_width)  # (B, H', W', C)
        x = torch.roll(x, (self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halves the resolution and doubles the width: concatenates four neighbours, then a norm and a linear layer.

    A map of odd size is padded. Shapes: (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2 C).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # 4 x (B, H / 2, W / 2, C)
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))  # (B, H / 2, W / 2, 2 C)


class SwinStage(nn.Module):
    """Blocks at one resolution, every second one shifted by half a window, and the down-sampling to the next stage."""

    def __init__(
        self, channels: int, depth: int, heads: int, window: int, drop_paths: list[float], downsample: bool
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, shift=window // 2 * (i % 2), drop_path=drop_paths[i])
            for i in range(depth)
        )
        self.downsample = PatchMerging(channels) if downsample else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, H, W, C) to the stage's own map (B, H, W, C) and the next stage's input (B, H / 2, W / 2, 2 C)."""
        height, width = x.shape[1:3]
        height, width = height + -height % self.window, width + -width % self.window
        mask = shift_mask(height, width, self.window, self.window // 2, like=x)
        for block in self.blocks:
            x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """A 4x4 convolution with stride 4 and a norm: (B, 3, H, W) to (B, ceil(H / 4), ceil(W / 4), C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(image).permute(0, 2, 3, 1))  # (B, H / 4, W / 4, C)


class SwinTransformer(Backbone):
    """Four stages of window attention.

    The output of each stage has a layer norm of its own, which ImageNet checkpoints do not contain.
    Shapes: (B, 3, H, W) to four maps (B, channels[i], H / stride, W / stride) at strides 4, 8, 16 and 32.

    Args:
        width: Channels of the first stage; each other one has twice as many as the one before.
        depths: Number of blocks of each stage.
        heads: Number of attention heads of each stage.
        window: Side of a window, in pixels of the map.
        drop_path: Probability, in training, that the last block's branches are left out (stochastic depth).
    """

    min_size = 16

    def __init__(
        self,
        width: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.channels = tuple(width * 2**i for i in range(len(depths)))
        total = sum(depths)
        # The probability grows linearly with depth, from 0 to drop_path.
        drop_paths = [drop_path * i / max(1, total - 1) for i in range(total)]
        self.patch_embed = PatchEmbedding(width)
        self.layers = nn.ModuleList()
        for i, depth in enumerate(depths):
            first = sum(depths[:i])
            rates = drop_paths[first : first + depth]
            last = i == len(depths) - 1
            self.layers.append(SwinStage(self.channels[i], depth, heads[i], window, rates, downsample=not last))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def load_imagenet_weights(self, weights: dict[str, Tensor]) -> None:
        """Load all weights except the output norms and position tables; `RuntimeError` if any other is missing."""
        kept = {k: v for k, v in self.state_dict().items() if k.startswith("norms.") or k.endswith("position_index")}
        self.load_state_dict({**weights, **kept})

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.patch_embed(image)
        features = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            stage, x = layer(x)
            features.append(norm(stage).permute(0, 3, 1, 2))  # (B, C, H, W)
        return tuple(features)
