"""Checks the arguments of `deform_conv2d`, and says what is wrong with them."""

from torch import Tensor

__all__ = ["check_dtypes", "check_shapes", "to_pair"]


def to_pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """Return (height, width) for one number or a pair; `ValueError`, with the argument's name, for anything else."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"{name} is {value!r}; give one whole number of at least {least}, or two (height, width).")
    return pair[0], pair[1]


def check_shapes(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    mask: Tensor | None,
) -> None:
    """Raise `ValueError` for shapes that do not fit together."""
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


def check_dtypes(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> None:
    """Raise `TypeError` for tensors that are not floating-point, and for factors whose dtype is not the input's."""
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise TypeError(f"{name} is {tensor.dtype}, input is {input.dtype}; convert one of them.")
    for name, tensor in (("input", input), ("offset", offset), ("mask", mask)):
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{name} is {tensor.dtype}; it must be a floating point tensor.")
