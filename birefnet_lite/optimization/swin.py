"""Rewrites of the Swin transformer: biases gathered once, masks and window orders kept, large maps in pieces."""

from typing import NamedTuple

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

__all__ = ["OptimizedAttention", "OptimizedStage", "Windows", "find_windows", "rewrite_swin"]

#: A map with more bytes than this between two layers is worked through in pieces that stay in a processor's cache.
LARGE = 16 * 2**20
PIXELS, WINDOWS = 1024, 32


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
        x = F.pad(x.flatten(1, 2), (0, 0, 0, 1))  # (B, H * W + 1, C), the last one for padding
        if worth_pieces(x, 3 * channels, self.qkv.weight):
            return self._in_pieces(x, windows)[:, :-1].unflatten(1, (height, width))  # (B, H, W, C)
        qkv = _select(self.qkv(x), windows.order)  # (B * windows * N, 3 C)
        bias = self._bias(windows.mask)
        if windows.mask is not None:
            bias = bias.expand(batch, -1, -1, -1, -1).flatten(0, 1)  # (B * windows, heads, N, N)
        x = self._attend(qkv, bias).reshape(batch, -1, channels)  # (B, windows * N, C)
        return self.proj(_select(x, windows.place)).reshape(batch, height, width, channels)  # (B, H, W, C)

    def _in_pieces(self, x: Tensor, windows: Windows) -> Tensor:
        """Some windows at a time: (B, H * W + 1, C) to the same, the last one without meaning.

        Here padding is multiplied too.
        """
        places = WINDOWS * self.bias.shape[-1]
        masks = [None] * len(windows.order) if windows.mask is None else windows.mask.split(WINDOWS)
        out = torch.empty_like(x)
        for image, into in zip(x, out, strict=True):
            for pixels, mask in zip(windows.order.split(places), masks, strict=False):
                piece = self._attend(self.qkv(image.index_select(0, pixels)), self._bias(mask))
                into.index_copy_(0, pixels, self.proj(piece))
        return out

    def _bias(self, mask: Tensor | None) -> Tensor:
        """What is added to the scores: (1, heads, N, N), or (windows, heads, N, N) with a mask (windows, N, N)."""
        return self.bias[None] if mask is None else self.bias + mask[:, None]

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attention inside each window: (windows * N, 3 C) to (windows * N, C)."""
        n, channels = self.bias.shape[-1], qkv.shape[-1] // 3
        qkv = qkv.reshape(-1, n, 3, self.heads, channels // self.heads)  # (windows, N, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (windows, heads, N, d)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return x.transpose(1, 2).reshape(-1, channels)


def _select(x: Tensor, rows: Tensor) -> Tensor:
    """The same rows of each image: (B, n, C), (m,) to (B * m, C). Whole rows of one table are the fastest to copy."""
    batch, n, channels = x.shape
    first = torch.arange(0, batch * n, n, device=x.device)
    return x.reshape(batch * n, channels).index_select(0, (first[:, None] + rows).flatten())


def worth_pieces(x: Tensor, width: int, weight: Tensor) -> bool:
    """Whether to take pixels (..., C) in pieces: where they would fill much memory at that width, on a CPU.

    Pieces are written into their place, which a trace, or a gradient, could not follow.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    return x.numel() // x.shape[-1] * width * x.element_size() > LARGE


class OptimizedMLP(nn.Module):
    """x + MLP(norm(x)), on large maps some pixels at a time: each is worked on alone. (B, H, W, C) to (B, H, W, C).

    The inner layer, four times as wide, then never leaves the cache; the second bias and x are added by the product.
    """

    def __init__(self, norm: nn.LayerNorm, mlp: MLP) -> None:
        super().__init__()
        self.norm = norm
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        if not worth_pieces(x, 4 * x.shape[-1], self.mlp.fc1.weight):
            return x + self.mlp(self.norm(x))
        pixels = x.reshape(-1, x.shape[-1])  # (B * H * W, C)
        out = torch.empty_like(pixels)
        weight = self.mlp.fc2.weight.t()
        for piece, into in zip(pixels.split(PIXELS), out.split(PIXELS), strict=True):
            torch.add(piece, self.mlp.fc2.bias, out=into)
            into.addmm_(self.mlp.act(self.mlp.fc1(self.norm(piece))), weight)
        return out.reshape(x.shape)


class OptimizedBlock(nn.Module):
    """A `SwinBlock` around an `OptimizedAttention`: (B, H, W, C) to (B, H, W, C)."""

    def __init__(self, block: SwinBlock) -> None:
        super().__init__()
        self.shift = block.shift
        self.norm1 = block.norm1
        self.attn = OptimizedAttention(block.attn)
        self.mlp = OptimizedMLP(block.norm2, block.mlp)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        return self.mlp(x + self.attn(self.norm1(x), windows))


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
