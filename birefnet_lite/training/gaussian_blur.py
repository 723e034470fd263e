"""The Gaussian blur of SSIM: a window of 11 x 11 pixels with sigma 1.5."""

from math import exp
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["GaussianBlur"]

_BELL = torch.tensor([exp(-(step**2) / (2 * 1.5**2)) for step in range(-5, 6)], dtype=torch.float32, device="cpu")
# The centre, then five steps to either side; rounded to float32 as in the original, so that float64 agrees with it too.
_WINDOW: list[float] = (_BELL / _BELL.sum())[5:].tolist()


class GaussianBlur(torch.autograd.Function):
    """Blur (..., H, W) with the 11x11 Gaussian window, zeros outside. The window is symmetric, so backward is the same.

    Sums of shifted images on a CPU. On a GPU a convolution is faster, but without cuDNN, which may round its input to
    10 bits (TF32), too coarse for the variances.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _blur_by_convolution(x) if x.is_cuda else _blur_by_sums(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return GaussianBlur.apply(gradient)


def _blur_by_sums(x: Tensor) -> Tensor:
    for dim in (-1, -2):
        length = x.shape[dim]
        blurred = _WINDOW[0] * x
        for step, weight in enumerate(_WINDOW[1:length], start=1):
            for to, source in ((0, step), (step, 0)):
                there, here = blurred.narrow(dim, to, length - step), x.narrow(dim, source, length - step)
                there.add_(here, alpha=weight)
        x = blurred
    return x


def _blur_by_convolution(x: Tensor) -> Tensor:
    """The same blur as a depthwise convolution of (..., H, W)."""
    images = x.reshape(1, -1, *x.shape[-2:])  # (1, N, H, W)
    half = len(_WINDOW) - 1
    window = images.new_tensor(_WINDOW[:0:-1] + _WINDOW).expand(images.shape[1], 1, 1, -1)
    with torch.backends.cudnn.flags(enabled=False):
        images = F.conv2d(images, window, padding=(0, half), groups=len(window))
        images = F.conv2d(images, window.mT, padding=(half, 0), groups=len(window))
    return images.reshape(x.shape)
