"""Window attention of a Swin backbone: the window of a pixel, its shift, and the attention of every head."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating

__all__ = ["BlockAttention", "swin_blocks"]


@dataclass(frozen=True)
class BlockAttention:
    """One Swin block during the pass over the whole image."""

    name: str
    grid: tuple[int, int]
    """Height and width of the map, in tokens, without padding."""
    padded: tuple[int, int]
    window: int
    shift: int
    heads: int
    inputs: NDArray[np.float16]
    """(windows, N, C): what the attention was given."""
    mask: Tensor | None
    module: Any
    """The block's `WindowAttention`."""

    def place(self, row: int, column: int) -> tuple[int, int]:
        """The window of a token and its number in it, after the map was rolled."""
        height, width = self.padded
        y, x = (row - self.shift) % height, (column - self.shift) % width
        window = (y // self.window) * (width // self.window) + x // self.window
        return window, (y % self.window) * self.window + x % self.window

    def tokens(self, window: int) -> NDArray[np.intp]:
        """(N, 2): row and column, on the padded map, of the tokens of a window."""
        height, width = self.padded
        top, left = divmod(window, width // self.window)
        y, x = np.meshgrid(np.arange(self.window), np.arange(self.window), indexing="ij")
        rows = (top * self.window + y.ravel() + self.shift) % height
        columns = (left * self.window + x.ravel() + self.shift) % width
        return np.stack([rows, columns], axis=1)

    def attention(self, row: int, column: int) -> NDArray[np.float32]:
        """How much each head takes from each token for this one: (heads, height, width), adding up to 1 with the
        padding.
        """
        window, number = self.place(row, column)
        attn = self.module
        weight = attn.qkv.weight
        x = torch.from_numpy(self.inputs[window]).to(weight)  # (N, C)
        n, channels = x.shape
        with torch.no_grad():
            q, k, _ = attn.qkv(x).reshape(n, 3, self.heads, channels // self.heads).permute(1, 2, 0, 3)  # (heads, N, d)
            scores = (q[:, number, None] * k).sum(-1) * (channels // self.heads) ** -0.5  # (heads, N)
            scores = scores + attn.position_bias()[:, number]
            if self.mask is not None:
                scores = scores + self.mask[window, number].to(scores)
            values = scores.float().softmax(dim=-1).cpu().numpy()
        maps = np.zeros((self.heads, *self.padded), np.float32)
        rows, columns = self.tokens(window).T
        maps[:, rows, columns] = values
        return maps[:, : self.grid[0], : self.grid[1]]


def swin_blocks(model: Any, image: Any, size: int | tuple[int, int] | None = None) -> dict[str, BlockAttention]:
    """Every block of a Swin backbone on an image, by name (`stage 1, block 2`). `ValueError` for other backbones."""
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    backbone = model.encoder.backbone
    stages = getattr(backbone, "layers", None)
    if not stages or not all(hasattr(stage, "window") and hasattr(stage, "blocks") for stage in stages):
        raise ValueError(f"Windows of attention exist in Swin backbones; this one is {type(backbone).__name__}.")
    found: dict[str, BlockAttention] = {}
    grids: dict[nn.Module, tuple[int, int]] = {}

    def measure(block: Any, inputs: tuple[Any, ...]) -> None:
        grids[block] = tuple(inputs[0].shape[1:3])

    def keep(name: str, block: Any, inputs: tuple[Any, ...]) -> None:
        x, mask = inputs
        (height, width), window = grids[block], block.window
        padded = (height + -height % window, width + -width % window)
        kept = x[0].cpu().to(torch.float16).numpy()  # (windows, N, C)
        mask = None if mask is None else mask.cpu()
        size = ((height, width), padded, window, block.shift, block.attn.heads)
        found[name] = BlockAttention(name, *size, kept, mask, block.attn)

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        for i, stage in enumerate(stages, start=1):
            for j, block in enumerate(stage.blocks, start=1):
                stack.callback(block.register_forward_pre_hook(measure).remove)
                hook = partial(_call, keep, f"stage {i}, block {j}", block)
                stack.callback(block.attn.register_forward_pre_hook(hook).remove)
        backbone(prepared.tensor)
    return found


def _call(keep: Any, name: str, block: nn.Module, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
    keep(name, block, inputs)
