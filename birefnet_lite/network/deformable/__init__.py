"""Deformable convolution: a kernel whose taps move, and are weighted, at every pixel."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from birefnet_lite.network.deformable import operator

__all__ = ["DeformableConv2d", "deform_conv2d", "use_backend"]

BACKENDS = ("torchvision", "gather", "triton")
HAS_TRITON = find_spec("triton") is not None
_chosen: str | None = None
_warned = False


class DeformableConv2d(nn.Module):
    """Modulated deformable convolution (Zhu et al. 2019, eq. 1), as in the deformable ASPP of BiRefNet.

    Two ordinary convolutions of the same kernel size look at the input first: `offset_conv` says where each tap of
    `conv` reads (in pixels, from its ordinary place), `modulation_conv` how much it counts (0 to 2, by 2 * sigmoid).
    Both start at zero, so that a new layer is the plain convolution `conv`.

    Shapes: (B, in_channels, H, W) -> (B, out_channels, H, W).
    Raises `ValueError` for a `kernel_size` that is not odd.
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
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        offset = self.offset_conv(x)  # (B, 2 * k * k, H, W): dy and dx of tap 0, dy and dx of tap 1, ...
        mask = 2 * torch.sigmoid(self.modulation_conv(x))  # (B, k * k, H, W)
        return deform_conv2d(x, offset, self.conv.weight, self.conv.bias, padding=self.padding, mask=mask)


@contextmanager
def use_backend(backend: str | None) -> Iterator[None]:
    """Makes `deform_conv2d` run on this backend within the `with` block, where the call itself names none.

    None restores the choice by device. Raises `ValueError` for an unknown name.
    """
    global _chosen
    before, _chosen = _chosen, _known(backend)
    try:
        yield
    finally:
        _chosen = before


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

    x is read bilinearly, and is zero outside the picture. The arguments and the result are those of
    `torchvision.ops.deform_conv2d`.

    Args:
        input: (B, C, H, W).
        offset: (B, 2 * G * kh * kw, H', W'), in pixels, dy before dx for each tap. Each of the G groups of C / G
            channels has offsets of its own.
        weight: (O, C / groups, kh, kw).
        bias: (O,) or None.
        stride, padding, dilation: of the ordinary convolution; one number, or (height, width).
        mask: (B, G * kh * kw, H', W'), or None for ones.
        backend: "torchvision", "gather" (this package's, best on a CPU), "triton" (this package's, on CUDA), or None:
            what `use_backend` says, else by device: triton on CUDA (torchvision for float64, on cards before Ampere,
            and, with one warning, where Triton is missing); torchvision on Apple's GPU where it has the operator;
            gather everywhere else. A convolution with groups > 1 goes to torchvision, and is an error if one of the
            other two was asked for.

    Returns (B, O, H', W') in the dtype of `input`. Where that is bfloat16 or float16, coordinates and sums are float32.
    Under autocast `input`, `weight` and `bias` are cast as for an ordinary convolution. First derivatives only.

    Raises `ValueError` for shapes that do not fit and for a backend that is unknown or cannot do it, `TypeError` for
    dtypes that differ.
    """
    stride, padding, dilation = _pair("stride", stride, 1), _pair("padding", padding, 0), _pair("dilation", dilation, 1)
    _check_shapes(input, offset, weight, bias, stride, padding, dilation, mask)
    kind = input.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind) and input.dtype != torch.float64:
        low = torch.get_autocast_dtype(kind)
        input, weight = input.to(low), weight.to(low)
        bias = None if bias is None else bias.to(low)
    _check_dtypes(input, offset, weight, bias, mask)
    backend = _select(_known(backend) or _chosen, input, groups=input.shape[1] // weight.shape[1])
    if backend == "torchvision":
        return _torchvision(input, offset, weight, bias, stride, padding, dilation, mask)
    return operator.deform_conv2d(
        input, offset, mask, weight, bias, list(stride), list(padding), list(dilation), backend
    )


def _known(backend: str | None) -> str | None:
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; choose one of {', '.join(map(repr, BACKENDS))}, or None.")
    return backend


def _select(asked: str | None, input: Tensor, groups: int) -> str:
    device = input.device.type
    if groups > 1:
        if asked in ("gather", "triton"):
            raise ValueError(f"The {asked} backend has no groups, and weight asks for {groups}; use 'torchvision'.")
        return "torchvision"
    if asked == "triton":
        if not HAS_TRITON:
            raise ValueError("The triton backend was asked for, but Triton is not installed; use backend=None.")
        if input.dtype == torch.float64:
            raise ValueError("The triton backend computes in float32, and input is float64; use 'torchvision'.")
        if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
            raise ValueError(f"The triton backend runs on CUDA, and input is on {device}; use backend=None.")
    if asked is not None:
        return asked
    if device == "cuda":
        return _for_cuda(input)
    if device == "mps" and torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::deform_conv2d", "MPS"):
        return "torchvision"
    return "gather"


def _for_cuda(input: Tensor) -> str:
    if not HAS_TRITON:
        _warn_once()
        return "torchvision"
    fits = input.dtype != torch.float64 and _has_matrix_units(input.device.index)
    return "triton" if fits else "torchvision"


@torch.compiler.assume_constant_result  # torch.compile does not trace a warning
def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "Triton is not installed: deformable convolution on the GPU runs on torchvision's operator, which is "
            "slower and computes in float32. Install the package 'triton' ('triton-windows' on Windows) for the fast "
            "one.",
            stacklevel=5,
        )


@torch.compiler.assume_constant_result
def _has_matrix_units(device: int | None) -> bool:
    """Whether Triton uses the matrix units of this card: NVIDIA's from Ampere on, and AMD's."""
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def _torchvision(input, offset, weight, bias, stride, padding, dilation, mask) -> Tensor:
    """torchvision's operator. Half precision goes through float32: it has no bfloat16, and no float16 on a CPU.

    Tensors become contiguous: its backward on CUDA was seen to refuse those of a network with channels last.
    """
    from torchvision.ops import deform_conv2d as torchvision_operator  # takes over a second to import

    dtype = input.dtype
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    tensors = [None if t is None else t.to(compute).contiguous() for t in (input, offset, weight, bias, mask)]
    with torch.autocast(input.device.type, enabled=False):
        result = torchvision_operator(*tensors[:4], stride, padding, dilation, tensors[4])
    return result.to(dtype)


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"{name} is {value!r}; give one whole number of at least {least}, or two (height, width).")
    return pair


def _check_shapes(input, offset, weight, bias, stride, padding, dilation, mask) -> None:
    for name, tensor in (("input", input), ("offset", offset), ("weight", weight), ("mask", mask)):
        if tensor is not None and tensor.ndim != 4:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must have four dimensions.")
    b, c, h, w = input.shape
    o, group_channels, kh, kw = weight.shape
    if c % group_channels or o % (c // group_channels or 1):
        raise ValueError(f"input has {c} channels, which weight of shape {tuple(weight.shape)} does not fit.")
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((h, w), padding, dilation, (kh, kw), stride, strict=True)
    )
    if min(size) < 1:
        raise ValueError(
            f"input is {h} x {w}, smaller than the kernel of {kh} x {kw}; give a larger input or more padding."
        )
    taps = kh * kw
    groups = offset.shape[1] // (2 * taps)
    if groups < 1 or c % groups or offset.shape[1] != 2 * taps * groups:
        raise ValueError(
            f"offset has {offset.shape[1]} channels; a kernel of {kh} x {kw} needs {2 * taps}, or a multiple of that "
            f"by a number that divides the {c} channels of the input."
        )
    for name, tensor, channels in (("offset", offset, 2 * taps * groups), ("mask", mask, taps * groups)):
        wanted = (b, channels, *size)
        if tensor is not None and tuple(tensor.shape) != wanted:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; this convolution needs {wanted}.")
    if bias is not None and tuple(bias.shape) != (o,):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; weight gives {o} outputs, so it must be ({o},).")


def _check_dtypes(input, offset, weight, bias, mask) -> None:
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise TypeError(f"{name} is {tensor.dtype}, input is {input.dtype}; convert one of them.")
    for name, tensor in (("input", input), ("offset", offset), ("mask", mask)):
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{name} is {tensor.dtype}; it must be a floating point tensor.")
