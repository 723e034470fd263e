"""Decides whether a layer processes a map block by block, so that its results stay in the cache of a processor."""

import torch
from torch import Tensor

__all__ = ["LARGE", "should_split"]

LARGE = 16 * 2**20
"""A map with more bytes than this between two layers is processed in blocks."""


def should_split(x: Tensor, pixels: int, width: int, weight: Tensor) -> bool:
    """Whether to process x block by block, because so many pixels of `width` channels would exceed the cache of a CPU.

    Blocks are written into their place in the result, which neither a trace nor a gradient supports.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    return pixels * width * x.element_size() > LARGE
