"""Deformable convolution on a GPU: gather and matrix product in one Triton kernel, without columns in memory.

The formula, the steps and the letters are those of `cpu.py`. The input is read with its channels last,
(B, H, W, C), so that neighbouring threads read neighbouring numbers. Factors of the matrix products have the input's
dtype; coordinates and sums are float32. Three kernels: the forward, the gradients of the points (for input, offset and
mask), and the gradient of the weight.
"""

import os

import torch
import triton
from torch import Tensor

from birefnet_lite.network.deformable import cpu
from birefnet_lite.network.deformable import gpu_kernels as kernels
from birefnet_lite.network.deformable.sampling import Geometry, kernel_to_matrix, matrix_to_kernel

__all__ = ["INTERPRETED", "backward", "forward"]

# Triton's interpreter runs the kernels on a CPU, slowly. The variable is read when Triton's functions are declared.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

PIXELS = 64  # output pixels of one program
# With these numbers and the tiles below, no kernel needs more than the 99 KiB of shared memory of a small card.
LAUNCH = {"num_warps": 8, "num_stages": 2}
WEIGHT_PROGRAMS = 512  # programs that share the gradient of the weight: enough to keep a large GPU busy


def _tile(n: int, most: int) -> int:
    """Return the smallest power of two from n on, at least 16 (matrix units need it) and at most `most`."""
    return min(most, max(16, triton.next_power_of_2(n)))


def _precision(x: Tensor) -> str:
    """Return how float32 factors are multiplied: exactly, unless PyTorch allows TensorFloat32."""
    return "tf32" if x.is_cuda and torch.backends.cuda.matmul.allow_tf32 else "ieee"


def _common(x: Tensor, weight: Tensor, mask: Tensor | None, geometry: Geometry) -> dict:
    """Collect the arguments that all three kernels take by name: sizes, positions of the taps, compile options."""
    height, width = x.shape[2:]
    out_height, out_width = geometry.out_size
    sizes = {
        "count": len(x) * out_height * out_width,
        "height": height,
        "width": width,
        "channels": x.shape[1],
        "outputs": len(weight),
        "out_pixels": out_height * out_width,
        "out_width": out_width,
    }
    names = ("kernel", "stride", "padding", "dilation")
    places = {f"{name}_{axis}": getattr(geometry, name)[i] for name in names for i, axis in enumerate("yx")}
    return {
        **sizes,
        **places,
        "groups": geometry.offset_groups,
        "masked": mask is not None,
        "upcast": INTERPRETED,  # the interpreter multiplies bfloat16 wrongly
        "precision": _precision(x),
        "block_p": PIXELS,
        "block_c": _tile(x.shape[1] // geometry.offset_groups, 32 if x.dtype == torch.float32 else 64),
        **LAUNCH,
    }


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)


def forward(
    x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Compute the convolution, with the shapes of `deform_conv2d` but without groups of the kernel."""
    y = torch.empty(len(x), len(weight), *geometry.out_size, dtype=x.dtype, device=x.device)
    if y.numel():
        common = _common(x, weight, mask, geometry)
        block_o = _tile(len(weight), 64 if x.dtype == torch.float32 else 128)
        grid = (triton.cdiv(common["count"], PIXELS), triton.cdiv(len(weight), block_o))
        offset = offset.contiguous()
        mask = offset if mask is None else mask.contiguous()  # a kernel needs an address even if it reads nothing
        kernels.forward[grid](_channels_last(x), offset, mask, kernel_to_matrix(weight), y, block_o=block_o, **common)
    if bias is not None:
        y += bias.view(-1, 1, 1)
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    geometry: Geometry,
    needs: list[bool],
) -> tuple[Tensor | None, ...]:
    """Compute the gradients for x, offset, mask and weight; None for those that `needs` does not ask for.

    Threads add to the input's gradient in any order, so its last digits differ between runs. If PyTorch is set to use
    deterministic algorithms, `cpu.py` computes all of them instead.
    """
    if torch.are_deterministic_algorithms_enabled():
        return cpu.backward(grad, x, offset, mask, weight, geometry, needs)
    need_x, need_offset, need_mask, need_weight = needs
    common, matrix = _common(x, weight, mask, geometry), kernel_to_matrix(weight)
    rows, offset, grad = _channels_last(x), offset.contiguous(), grad.contiguous()
    modulation = offset if mask is None else mask.contiguous()
    arguments = (rows, offset, modulation)
    grad_rows = torch.zeros(rows.shape if need_x else (1,), dtype=torch.float32, device=x.device)
    grad_offset, grad_mask = torch.empty_like(offset), torch.empty_like(modulation if mask is not None else offset[:0])
    taps = geometry.kernel[0] * geometry.kernel[1]
    if grad.numel() and (need_x or need_offset or need_mask):
        grid = (triton.cdiv(common["count"], PIXELS), taps * geometry.offset_groups)
        kernels.points[grid](
            *arguments,
            matrix,
            grad,
            grad_rows,
            grad_offset,
            grad_mask,
            need_x=need_x,
            block_o=_tile(len(weight), 64),
            **common,
        )
    return (
        grad_rows.permute(0, 3, 1, 2).to(x.dtype).contiguous() if need_x else None,
        grad_offset if need_offset else None,
        grad_mask if need_mask else None,
        _weight_gradient(arguments, grad, matrix, weight, common) if need_weight else None,
    )


def _weight_gradient(
    arguments: tuple[Tensor, ...], grad: Tensor, matrix: Tensor, weight: Tensor, common: dict
) -> Tensor:
    """Compute the gradient of the kernel: programs sum over parts of the pixels, then the parts are added in order."""
    block_o, block_c, groups = _tile(len(weight), 64), common["block_c"], common["groups"]
    per_group = common["channels"] // groups
    tiles = common["kernel_y"] * common["kernel_x"] * groups * triton.cdiv(per_group, block_c)
    columns = triton.cdiv(len(weight), block_o)
    blocks = triton.cdiv(common["count"], PIXELS)
    shares = max(1, min(blocks, WEIGHT_PROGRAMS // (tiles * columns)))
    share = triton.cdiv(blocks, shares) * PIXELS
    parts = torch.zeros(shares, *matrix.shape, dtype=torch.float32, device=matrix.device)
    if grad.numel():
        kernels.weight[(tiles, columns, shares)](*arguments, grad, parts, share, block_o=block_o, **common)
    return matrix_to_kernel(parts.sum(0).to(weight.dtype), weight)
