"""Exact rewrites of a network for inference: the same numbers, up to rounding, in less time and memory.

Each file rewrites the part of `network/` with the same name, and gives the algebra of each rewrite; `convolutions.py`
holds the algebra that they share. The rewrites use that a convolution, a batch norm in evaluation mode and a bilinear
resampling are linear. So they can be merged and split, and their order can be exchanged where one acts on channels only
and the other on pixels only. Numbers that depend only on the weights or on the image size are computed once.
"""

from birefnet_lite.optimization.birefnet import OptimizedBiRefNet, optimize

__all__ = ["OptimizedBiRefNet", "optimize"]
