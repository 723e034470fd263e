"""Deformable convolution: a convolution whose taps read at learned, weighted positions around every pixel.

Start here. `operator.py` makes it one operator for autograd, compile and export; `cpu.py` and `gpu.py` compute it;
`sampling.py` turns offsets into positions; `backends.py` chooses the implementation.
"""

import torch
from torch import Tensor, nn

from birefnet_lite.network.deformable import operator
from birefnet_lite.network.deformable.arguments import check_dtypes, check_shapes, to_pair
from birefnet_lite.network.deformable.backends import select_backend, use_backend

__all__ = ["DeformableConv2d", "deform_conv2d", "use_backend"]


class DeformableConv2d(nn.Module):
    """Modulated deformable convolution (Zhu et al. 2019, eq. 1), as in the deformable ASPP of BiRefNet.

    Two ordinary convolutions of the same kernel size look at the input first. `offset_conv` says where each tap of
    `conv` reads, in pixels from its ordinary position; `modulation_conv` weights it, from 0 to 2 (2 * sigmoid). Both
    start at zero, so that a new layer is the plain convolution `conv`.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        in_channels, out_channels: Widths of input and output.
        kernel_size: Height and width of the kernel, an odd number; `ValueError` for an even one.
        bias: Whether `conv` has a bias.

    Examples:
        >>> import torch
        >>> DeformableConv2d(8, 16, kernel_size=3)(torch.zeros(1, 8, 10, 12)).shape
        torch.Size([1, 16, 10, 12])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size is {kernel_size}; it must be odd (1, 3, 5, ...) to keep the size of the map."
            )
        self.padding = kernel_size // 2
        taps = kernel_size * kernel_size
        self.offset_conv = nn.Conv2d(in_channels, 2 * taps, kernel_size, padding=self.padding)
        self.modulation_conv = nn.Conv2d(in_channels, taps, kernel_size, padding=self.padding)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=self.padding, bias=bias)
        for layer in (self.offset_conv, self.modulation_conv):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        offset = self.offset_conv(x)  # (B, 2 * k * k, H, W): dy and dx of tap 0, dy and dx of tap 1, ...
        mask = 2 * torch.sigmoid(self.modulation_conv(x))  # (B, k * k, H, W)
        y = deform_conv2d(x, offset, self.conv.weight, self.conv.bias, padding=self.padding, mask=mask)
        return y.contiguous()  # with channels last, the batch norm that follows takes longer to train


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Deformable convolution (Dai et al. 2017, eq. 2; with `mask`: Zhu et al. 2019, eq. 1).

        y(p) = sum over taps k of  w_k . mask_k(p) . x(p + p_k + offset_k(p))

    x is read bilinearly, and is zero outside the image. Arguments and result are those of
    `torchvision.ops.deform_conv2d`. Only first derivatives are available.

    Args:
        input: (B, C, H, W). Under autocast `input`, `weight` and `bias` are cast as for an ordinary convolution.
        offset: (B, 2 * G * kh * kw, H', W'), in pixels, dy before dx for each tap. Each of the G groups of C / G
            channels has its own offsets.
        weight: (O, C / groups, kh, kw).
        bias: (O,) or None.
        stride, padding, dilation: Those of an ordinary convolution: one number, or (height, width).
        mask: (B, G * kh * kw, H', W'), or None for ones.
        backend: `"torchvision"`, `"gather"` (`cpu.py`, the fastest on a CPU), `"triton"` (`gpu.py`, on CUDA), or None.
            None takes the one that `use_backend` names, or else chooses by device: triton on CUDA (torchvision for
            float64, on cards before Ampere and, with one warning, without Triton), torchvision on Apple's GPU if it
            has the operator there, and gather everywhere else. Only torchvision has groups > 1.

    Returns:
        (B, O, H', W') in the dtype of `input`. For bfloat16 and float16, positions and sums are computed in float32.

    Raises:
        ValueError: The shapes do not fit, or the backend is unknown or cannot compute this convolution.
        TypeError: The dtypes differ.

    Examples:
        >>> import torch
        >>> x, weight = torch.rand(1, 8, 10, 12), torch.rand(16, 8, 3, 3)
        >>> still = torch.zeros(1, 2 * 3 * 3, 10, 12)  # no tap is moved, so that this is a plain convolution
        >>> moved = deform_conv2d(x, still, weight, padding=1)
        >>> torch.allclose(moved, torch.nn.functional.conv2d(x, weight, padding=1), atol=1e-5)
        True
    """
    stride, padding = to_pair("stride", stride, 1), to_pair("padding", padding, 0)
    dilation = to_pair("dilation", dilation, 1)
    check_shapes(input, offset, weight, bias, stride, padding, dilation, mask)
    device = input.device.type
    if device != "meta" and torch.is_autocast_enabled(device) and input.dtype != torch.float64:
        low = torch.get_autocast_dtype(device)
        input, weight = input.to(low), weight.to(low)
        bias = None if bias is None else bias.to(low)
    check_dtypes(input, offset, weight, bias, mask)
    backend = select_backend(backend, input, groups=input.shape[1] // weight.shape[1])
    if backend == "torchvision":
        return _torchvision(input, offset, weight, bias, stride, padding, dilation, mask)
    return operator.deform_conv2d(
        input, offset, mask, weight, bias, list(stride), list(padding), list(dilation), backend
    )


def _torchvision(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    mask: Tensor | None,
) -> Tensor:
    """Call torchvision's operator, in float32 for half precision: it has no bfloat16, and no float16 on a CPU.

    The tensors are made contiguous: its backward on CUDA refused those of a network with channels last.
    """
    from torchvision.ops import deform_conv2d as torchvision_operator  # takes over a second to import

    dtype = input.dtype
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    tensors = [None if t is None else t.to(compute).contiguous() for t in (input, offset, weight, bias, mask)]
    with torch.autocast(input.device.type, enabled=False):
        result = torchvision_operator(*tensors[:4], stride, padding, dilation, tensors[4])
    return result.to(dtype)
