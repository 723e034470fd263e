"""Rewrites of the Swin transformer: biases gathered once, masks and window orders kept, no padded pixel multiplied."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.backbone.swin import (
    SwinBlock,
    SwinStage,
    SwinTransformer,
    WindowAttention,
    shift_mask,
    window_partition,
    window_reverse,
)

__all__ = ["OptimizedAttention", "OptimizedStage", "Windows", "find_windows", "rewrite_swin"]


class Windows(NamedTuple):
    """Where the pixels of a map (H, W) stand once it is padded, rolled and cut into windows of N pixels."""

    order: Tensor
    """(windows * N,): the pixel at each place of the windows; H * W for padding."""
    place: Tensor
    """(H * W,): the place of each pixel."""
    mask: Tensor | None
    """(windows, N, N), 0 or minus infinity, where the windows are shifted."""


def find_windows(x: Tensor, window: int, shift: int) -> Windows:
    """The windows of a map (B, H, W, C): numbers of pixels go through the steps that the pixels would go through."""
    height, width = x.shape[1:3]
    pixels = torch.arange(height * width, device=x.device).view(1, height, width, 1)
    padded = F.pad(pixels, (0, 0, 0, -width % window, 0, -height % window), value=height * width)  # (1, H', W', 1)
    order = window_partition(torch.roll(padded, (-shift, -shift), dims=(1, 2)), window).flatten()
    padded_height, padded_width = padded.shape[1:3]
    places = torch.arange(order.numel(), device=x.device).view(1, -1, window * window, 1)
    places = torch.roll(window_reverse(places, window, padded_height, padded_width), (shift, shift), dims=(1, 2))
    mask = shift_mask(padded_height, padded_width, window, shift, like=x) if shift else None
    return Windows(order, places[0, :height, :width, 0].flatten(), mask)


class OptimizedAttention(nn.Module):
    """A Swin block's window attention, from a map (B, H, W, C) to a map, with the `Windows` found beforehand.

    - The position bias depends on the weights alone, and is gathered from its table once.
    - Linear layers act on pixels one by one, so that they run on the map, in front of the cutting and behind the
      joining; pixels of the padding, which are zero, need not be multiplied: one of them stands for all.
    - Padding, rolling and cutting only move pixels, and are one gather; so are the three steps back.
    - PyTorch's fused attention takes (images, heads, N, d); with windows as a dimension more it would write all scores
      to memory. Here windows count as images.
    """

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        with torch.no_grad():
            self.bias = nn.Parameter(attention.position_bias().contiguous(), requires_grad=False)  # (heads, N, N)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        batch, height, width, channels = x.shape
        n = self.bias.shape[-1]
        x = F.pad(x.flatten(1, 2), (0, 0, 0, 1))  # (B, H * W + 1, C), the last one for padding
        qkv = _select(self.qkv(x), windows.order)  # (B * windows * N, 3 C)
        qkv = qkv.reshape(-1, n, 3, self.heads, channels // self.heads)  # (B * windows, N, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B * windows, heads, N, d)
        bias = self.bias[None]  # (1, heads, N, N)
        if windows.mask is not None:
            bias = bias + windows.mask[:, None]  # (windows, heads, N, N)
            bias = bias.expand(batch, -1, -1, -1, -1).reshape(-1, self.heads, n, n)  # (B * windows, heads, N, N)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x.transpose(1, 2).reshape(batch, -1, channels)  # (B, windows * N, C)
        return self.proj(_select(x, windows.place)).reshape(batch, height, width, channels)  # (B, H, W, C)


def _select(x: Tensor, rows: Tensor) -> Tensor:
    """The same rows of each image: (B, n, C), (m,) to (B * m, C). Whole rows of one table are the fastest to copy."""
    batch, n, channels = x.shape
    first = torch.arange(0, batch * n, n, device=x.device)
    return x.reshape(batch * n, channels).index_select(0, (first[:, None] + rows).flatten())


class OptimizedBlock(nn.Module):
    """A `SwinBlock` around an `OptimizedAttention`: (B, H, W, C) to (B, H, W, C)."""

    def __init__(self, block: SwinBlock) -> None:
        super().__init__()
        self.shift = block.shift
        self.norm1 = block.norm1
        self.attn = OptimizedAttention(block.attn)
        self.norm2 = block.norm2
        self.mlp = block.mlp

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        x = x + self.attn(self.norm1(x), windows)
        return x + self.mlp(self.norm2(x))


class OptimizedStage(nn.Module):
    """A Swin stage that keeps what it found out about the windows of the last sizes it has seen.

    Kept are two scales of two sizes of image. While the network is traced nothing is: a trace must not hold on to
    tensors. Shapes: those of `SwinStage`.
    """

    kept = 4

    def __init__(self, stage: SwinStage) -> None:
        super().__init__()
        self.window = stage.window
        self.blocks = nn.ModuleList(OptimizedBlock(block) for block in stage.blocks)
        self.downsample = stage.downsample
        self._known: dict[tuple, dict[int, Windows]] = {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        windows = self._windows(x)
        for block in self.blocks:
            x = block(x, windows[block.shift])
        return x, x if self.downsample is None else self.downsample(x)

    def _windows(self, x: Tensor) -> dict[int, Windows]:
        """For a map (B, H, W, C): the windows at each shift of the blocks."""
        shifts = {block.shift for block in self.blocks}
        if torch.compiler.is_compiling():
            return {shift: find_windows(x, self.window, shift) for shift in shifts}
        # A tensor made in inference mode cannot serve outside of it, where gradients may be wanted.
        key = (*x.shape[1:3], x.dtype, x.device, torch.is_inference_mode_enabled())
        windows = self._known.pop(key, None)
        if windows is None:
            windows = {shift: find_windows(x, self.window, shift) for shift in shifts}
        self._known[key] = windows  # the latest is last
        while len(self._known) > self.kept:
            self._known.pop(next(iter(self._known)))
        return windows


def rewrite_swin(swin: SwinTransformer) -> None:
    """Puts the rewritten stages into a Swin transformer, in place."""
    swin.layers = nn.ModuleList(OptimizedStage(stage) for stage in swin.layers)
