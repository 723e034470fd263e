"""Deformable convolution as one PyTorch operator, for autograd, `torch.compile` and `torch.export`."""

import torch
from torch import Tensor

from birefnet_lite.network.deformable import cpu
from birefnet_lite.network.deformable.sampling import Geometry

__all__ = ["deform_conv2d"]


def _implementation(backend: str):
    if backend == "triton":
        from birefnet_lite.network.deformable import gpu  # imports Triton, which not every machine has

        return gpu
    return cpu


# In parts, since the first call of a `torch.library.custom_op` imports all of torch.compile, which takes a second.
_FORWARD, _BACKWARD = "birefnet_lite::deform_conv2d", "birefnet_lite::deform_conv2d_backward"
torch.library.define(
    _FORWARD,
    "(Tensor input, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, "
    "int[] stride, int[] padding, int[] dilation, str backend) -> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.define(
    _BACKWARD,
    "(Tensor grad, Tensor input, Tensor offset, Tensor? mask, Tensor weight, "
    "int[] stride, int[] padding, int[] dilation, str backend, bool[] needs) -> (Tensor, Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)


@torch.library.impl(_FORWARD, "default")
def _deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    backend: str,
) -> Tensor:
    geometry = Geometry.of(offset, weight, stride, padding, dilation)
    with torch.autocast(input.device.type, enabled=False):
        return _implementation(backend).forward(input, offset, mask, weight, bias, geometry)


@torch.library.impl(_BACKWARD, "default")
def _deform_conv2d_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    backend: str,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients for input, offset, mask and weight. Those that `needs` does not ask for are empty."""
    geometry = Geometry.of(offset, weight, stride, padding, dilation)
    with torch.autocast(input.device.type, enabled=False):
        grads = _implementation(backend).backward(grad, input, offset, mask, weight, geometry, needs)
    x, offset_, mask_, weight_ = (input.new_empty(0) if g is None else g for g in grads)
    return x, offset_, mask_, weight_


@torch.library.register_fake(_FORWARD)
def _(input, offset, mask, weight, bias, stride, padding, dilation, backend):
    size = (input.shape[0], weight.shape[0], offset.shape[2], offset.shape[3])
    layout = torch.contiguous_format if backend == "triton" else torch.channels_last
    return torch.empty(size, dtype=input.dtype, device=input.device, memory_format=layout)


@torch.library.register_fake(_BACKWARD)
def _(grad, input, offset, mask, weight, stride, padding, dilation, backend, needs):
    o, c, kh, kw = weight.shape
    channels_last = (o, kh, kw, c)
    sizes = (input.shape, offset.shape, None if mask is None else mask.shape, channels_last)
    grads = [
        t.new_empty(size) if need else input.new_empty(0)
        for t, size, need in zip((input, offset, mask, weight), sizes, needs, strict=True)
    ]
    if needs[3]:
        grads[3] = grads[3].permute(0, 3, 1, 2)  # (O, C, kh, kw)
    return tuple(grads)


def _save(ctx, inputs, output):
    input, offset, mask, weight, _, *ctx.arguments = inputs
    ctx.save_for_backward(input, offset, mask, weight)


def _backward(ctx, grad):
    needs = list(ctx.needs_input_grad)
    grads: tuple[Tensor | None, ...] = (None,) * 4
    if any(needs[:4]):
        results = torch.ops.birefnet_lite.deform_conv2d_backward(grad, *ctx.saved_tensors, *ctx.arguments, needs[:4])
        grads = tuple(g if need else None for g, need in zip(results, needs, strict=False))
    grad_bias = grad.sum((0, 2, 3)) if needs[4] else None
    return *grads, grad_bias, None, None, None, None


def _no_second_derivative(ctx, *grads):
    raise NotImplementedError(
        "deform_conv2d has first derivatives only, and a derivative of its gradient was asked for. "
        "For second derivatives compute them by finite differences of the gradient."
    )


torch.library.register_autograd(_FORWARD, _backward, setup_context=_save)
torch.library.register_autograd(_BACKWARD, _no_second_derivative)

deform_conv2d = torch.ops.birefnet_lite.deform_conv2d.default
"""The operator behind `network.deformable.deform_conv2d`, which checks the arguments: call that one."""
