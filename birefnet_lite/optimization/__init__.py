"""The same numbers, faster: exact rewrites of a network for inference.

Each module holds the rewrites of one part, each rewrite a small function or module with its algebra. They all follow
from a few facts: a convolution, a batch norm in evaluation and a bilinear resampling are linear, so that they can be
merged, split and, where one of them acts on channels only and the other on pixels only, exchanged; and what depends on
the weights or on the size alone need not be computed for each image.
"""

from birefnet_lite.optimization.birefnet import OptimizedBiRefNet, optimize

__all__ = ["OptimizedBiRefNet", "optimize"]
