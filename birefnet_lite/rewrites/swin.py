"""Rewrites of the Swin transformer: position biases gathered once, shift masks kept, attention in four dimensions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.backbone.swin import SwinStage, SwinTransformer, WindowAttention, shift_mask

__all__ = ["OptimizedAttention", "OptimizedStage", "rewrite_swin"]


class OptimizedAttention(nn.Module):
    """Window attention with its bias gathered from the table once, and with the windows counted as images.

    The bias depends on the weights alone. PyTorch's fused attention takes (images, heads, N, d); with a dimension more
    it writes all scores to memory.
    Shapes: (B, windows, N, C), mask (windows, N, N) or None, to (B, windows, N, C).
    """

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        with torch.no_grad():
            self.bias = nn.Parameter(attention.position_bias().contiguous(), requires_grad=False)  # (heads, N, N)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, windows, n, channels = x.shape
        qkv = self.qkv(x).reshape(batch * windows, n, 3, self.heads, channels // self.heads)  # (B * w, N, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B * windows, heads, N, d)
        bias = self.bias[None]  # (1, heads, N, N)
        if mask is not None:
            bias = bias + mask[:, None]  # (windows, heads, N, N)
            bias = bias.expand(batch, -1, -1, -1, -1).reshape(batch * windows, self.heads, n, n)  # (B * w, heads, N, N)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x.transpose(1, 2).reshape(batch, windows, n, channels)  # (B, windows, N, heads * d)
        return self.proj(x)


class OptimizedStage(nn.Module):
    """A Swin stage that keeps the shift masks of the last sizes it has seen: both scales of two sizes of image.

    They depend on the size alone. While the network is traced, they are computed: a trace must not hold on to tensors.
    Shapes: those of `SwinStage`.
    """

    kept = 4

    def __init__(self, stage: SwinStage) -> None:
        super().__init__()
        self.window = stage.window
        self.blocks = stage.blocks
        self.downsample = stage.downsample
        self._masks: dict[tuple, Tensor] = {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mask = self._mask(x)
        for block in self.blocks:
            x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)

    def _mask(self, x: Tensor) -> Tensor:
        """(windows, N, N) for a map (B, H, W, C)."""
        height, width = (side + -side % self.window for side in x.shape[1:3])
        if torch.compiler.is_compiling():
            return shift_mask(height, width, self.window, self.window // 2, like=x)
        # A tensor made in inference mode cannot serve outside of it, where gradients may be wanted.
        key = (height, width, x.dtype, x.device, torch.is_inference_mode_enabled())
        mask = self._masks.pop(key, None)
        if mask is None:
            mask = shift_mask(height, width, self.window, self.window // 2, like=x)
        self._masks[key] = mask  # the latest is last
        while len(self._masks) > self.kept:
            self._masks.pop(next(iter(self._masks)))
        return mask


def rewrite_swin(swin: SwinTransformer) -> None:
    """Puts the rewritten stages and attentions into a Swin transformer, in place."""
    for stage in swin.layers:
        for block in stage.blocks:
            block.attn = OptimizedAttention(block.attn)
    swin.layers = nn.ModuleList(OptimizedStage(stage) for stage in swin.layers)
