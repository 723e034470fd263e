"""Rewrites of the Swin transformer: biases and masks computed once, large maps processed in parts."""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.network.backbone.swin import (
    MLP,
    SwinBlock,
    SwinStage,
    SwinTransformer,
    WindowAttention,
    shift_mask,
    window_partition,
    window_reverse,
)
from birefnet_lite.optimization.blocks import should_split

__all__ = ["OptimizedAttention", "OptimizedStage", "Windows", "find_windows", "rewrite_swin"]

PIXELS, WINDOWS = 1024, 32
"""How many pixels, or windows, one part has."""


class Windows(NamedTuple):
    """The positions of a map's pixels after it is padded, rolled and cut into windows of N pixels each."""

    order: Tensor
    """(windows * N,): the pixel at each position of the windows; H * W for padding."""
    position: Tensor
    """(H * W,): the position of each pixel in the windows."""
    mask: Tensor | None
    """(windows, N, N), 0 or minus infinity, if the windows are shifted."""


def find_windows(x: Tensor, window: int, shift: int) -> Windows:
    """Find the windows of a map (B, H, W, C), by padding, rolling and cutting a map of the pixels' numbers."""
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
    """A Swin block's window attention, with the `Windows` found beforehand: (B, H, W, C) to (B, H, W, C).

    - The position bias depends only on the weights, and is gathered from its table once.
    - Linear layers act on each pixel separately. So they run on the map, before it is cut and after it is joined. All
      pixels of the padding are zero, and one of them is multiplied for all.
    - Padding, rolling and cutting only move pixels, so they are one gather, and so are the three inverse steps.
    - PyTorch's fused attention takes (images, heads, N, d). With windows as one more dimension it would write all
      scores to memory, so windows are treated as images.
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
        x = torch.cat([x.flatten(1, 2), x.new_zeros(batch, 1, channels)], dim=1)  # (B, H * W + 1, C), one for padding
        if should_split(x, batch * height * width, 3 * channels, self.qkv.weight):
            return self._forward_in_parts(x, windows)[:, :-1].unflatten(1, (height, width))  # (B, H, W, C)
        qkv = _select(self.qkv(x), windows.order)  # (B * windows * N, 3 C)
        bias = self._bias(windows.mask)
        if windows.mask is not None:
            bias = bias.expand(batch, -1, -1, -1, -1).flatten(0, 1)  # (B * windows, heads, N, N)
        x = self._attend(qkv, bias).reshape(batch, -1, channels)  # (B, windows * N, C)
        return self.proj(_select(x, windows.position)).reshape(batch, height, width, channels)  # (B, H, W, C)

    def _forward_in_parts(self, x: Tensor, windows: Windows) -> Tensor:
        """Process some windows at a time: (B, H * W + 1, C) to the same shape. The last row of the result is undefined.

        In this path, padding is multiplied too.
        """
        orders = windows.order.split(WINDOWS * self.bias.shape[-1])
        masks = [None] * len(orders) if windows.mask is None else windows.mask.split(WINDOWS)
        out = torch.empty_like(x, dtype=_linear_dtype(x))
        for image, result in zip(x, out, strict=True):
            for pixels, mask in zip(orders, masks, strict=True):
                part = self._attend(self.qkv(image.index_select(0, pixels)), self._bias(mask))
                result.index_copy_(0, pixels, self.proj(part))
        return out

    def _bias(self, mask: Tensor | None) -> Tensor:
        """Return the bias of the scores: (1, heads, N, N), or (windows, heads, N, N) with a mask (windows, N, N)."""
        return self.bias[None] if mask is None else self.bias + mask[:, None]

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attend inside each window: (windows * N, 3 C) to (windows * N, C)."""
        n, channels = self.bias.shape[-1], qkv.shape[-1] // 3
        qkv = qkv.reshape(-1, n, 3, self.heads, channels // self.heads)  # (windows, N, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (windows, heads, N, d)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return x.transpose(1, 2).reshape(-1, channels)


def _select(x: Tensor, rows: Tensor) -> Tensor:
    """Select the same rows of each image, as rows of one table: (B, n, C) and (m,) to (B * m, C)."""
    batch, n, channels = x.shape
    first = torch.arange(0, batch * n, n, device=x.device)
    return x.reshape(batch * n, channels).index_select(0, (first[:, None] + rows).flatten())


def _linear_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a linear layer's output: under autocast not that of its input."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class OptimizedMLP(nn.Module):
    """x + MLP(norm(x)), on large maps some pixels at a time: (B, H, W, C) to (B, H, W, C).

    The inner layer, four times as wide, then stays in the cache.
    """

    def __init__(self, norm: nn.LayerNorm, mlp: MLP) -> None:
        super().__init__()
        self.norm = norm
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.reshape(-1, x.shape[-1])  # (B * H * W, C)
        if not should_split(x, pixels.shape[0], 4 * x.shape[-1], self.mlp.fc1.weight):
            return x + self.mlp(self.norm(x))
        out = torch.empty_like(pixels)
        for part, result in zip(pixels.split(PIXELS), out.split(PIXELS), strict=True):
            torch.add(part, self.mlp(self.norm(part)), out=result)
        return out.reshape(x.shape)


class OptimizedBlock(nn.Module):
    """A `SwinBlock` around an `OptimizedAttention`: (B, H, W, C) to (B, H, W, C)."""

    def __init__(self, block: SwinBlock) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.attn = OptimizedAttention(block.attn)
        self.mlp = OptimizedMLP(block.norm2, block.mlp)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        return self.mlp(x + self.attn(self.norm1(x), windows))


class OptimizedStage(nn.Module):
    """A Swin stage that keeps the `Windows` of the last sizes of map. Shapes: those of `SwinStage`.

    While the network is traced, nothing is kept: a trace must not refer to tensors from outside.
    """

    kept = 4  # two scales of two image sizes

    def __init__(self, stage: SwinStage) -> None:
        super().__init__()
        self.window = stage.window
        blocks = cast("list[SwinBlock]", list(stage.blocks))
        self.blocks = nn.ModuleList(OptimizedBlock(block) for block in blocks)
        self.shifts = [block.shift for block in blocks]
        self.downsample = stage.downsample
        self._known: dict[tuple, dict[int, Windows]] = {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        windows = self._windows(x)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block(x, windows[shift])
        return x, x if self.downsample is None else self.downsample(x)

    def _windows(self, x: Tensor) -> dict[int, Windows]:
        """Return the windows of a map (B, H, W, C), for each shift of the blocks."""
        shifts = set(self.shifts)
        if torch.compiler.is_compiling():
            return {shift: find_windows(x, self.window, shift) for shift in shifts}
        # A tensor made in inference mode cannot be used outside of it, where gradients may be computed.
        key = (*x.shape[1:3], x.dtype, x.device, torch.is_inference_mode_enabled())
        known = self._known  # never changed, only replaced, so that threads can share the network
        windows = known.get(key) or {shift: find_windows(x, self.window, shift) for shift in shifts}
        latest = [(other, known[other]) for other in known if other != key][1 - self.kept :]
        self._known = dict([*latest, (key, windows)])
        return windows


def rewrite_swin(swin: SwinTransformer) -> None:
    """Replace the stages of a Swin transformer by rewritten ones, in place."""
    swin.layers = nn.ModuleList(OptimizedStage(stage) for stage in cast("list[SwinStage]", list(swin.layers)))
