"""Export the network for other runtimes: as a program of `torch.export`, and as an ONNX file."""

import os
import tempfile
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from birefnet_lite.checkpoints import not_finite
from birefnet_lite.inference.predict import network_size
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.deformable import use_backend
from birefnet_lite.network.deformable.operator import deform_conv2d
from birefnet_lite.optimization import OptimizedBiRefNet, optimize
from birefnet_lite.output import join_some

__all__ = ["check_packages", "export_onnx", "export_program", "native_deform_conv", "to_onnx"]

OPSET = 20
LEAST_OPSET = {False: 19, True: 18}
"""DeformConv came with opset 19; below 18, PyTorch's exporter cannot be trusted."""
PACKAGES = ("onnx", "onnxscript")
ABOUT = (
    "BiRefNet. image: (batch, 3, {height}, {width}), RGB in 0 to 1, less the mean (0.485, 0.456, 0.406), over the "
    "deviation (0.229, 0.224, 0.225). logits: (batch, 1, {height}, {width}); their sigmoid is the mask."
)


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike,
    size: int | tuple[int, int] | None = None,
    opset: int = OPSET,
    decomposed: bool = False,
) -> None:
    """Write a network as an ONNX file: `image` (B, 3, H, W), normalised, to `logits` (B, 1, H, W), both float32.

    The batch size is free, height and width are fixed. The numbers are those of `optimize(model)`, which is also what
    runs fast in other runtimes. The file is written whole or not at all; weights of more than 2 GB, which an ONNX file
    cannot hold, go to a second one beside it, `FILE.onnx.data`.

    Args:
        model: The network, in evaluation mode.
        path: The file; its name ends in .onnx.
        size: What the network sees; see `network_size`.
        opset: The version of ONNX's operators.
        decomposed: Write deformable convolution as GridSample instead of ONNX's own DeformConv, which many runtimes
            lack (onnxruntime itself did until 2026). The file is larger and slower, and runs in more places.

    Raises:
        ImportError: The extra `export` is not installed.
        TypeError: `model` is not a BiRefNet.
        ValueError: The model is in training mode or has weights that are not finite, the name does not end in .onnx,
            the opset lacks the operators, or the size is refused by `network_size`.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"The file is called {path.name!r}; its name must end in '.onnx'.")
    check_packages()
    _check_opset(opset, decomposed)
    height, width = network_size(model, size)
    program = to_onnx(export_program(model, (height, width)), opset, decomposed)
    program.model.doc_string = ABOUT.format(height=height, width=width)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The names of both files are in the first one, so they are made with these names, and moved.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as unfinished:
        program.save(Path(unfinished) / path.name)
        for file in sorted(Path(unfinished).iterdir(), reverse=True):  # what the .onnx refers to goes first
            os.replace(file, path.parent / file.name)


def export_program(model: nn.Module, size: int | tuple[int, int] | None = None) -> torch.export.ExportedProgram:
    """`torch.export` of `optimize(model)` in float32 on the CPU: (B, 3, H, W) to the logits (B, 1, H, W).

    The batch size is free. Deformable convolution is one operator, `torch.ops.birefnet_lite.deform_conv2d`, so that
    `import birefnet_lite.network.deformable` must come before a saved program is loaded.

    Args:
        model: The network, in evaluation mode.
        size: What the network sees; see `network_size`.

    Raises:
        TypeError, ValueError: As `export_onnx`.
    """
    if not isinstance(model, BiRefNet | OptimizedBiRefNet):
        raise TypeError(f"What is exported is a BiRefNet, not {type(model).__name__}.")
    height, width = network_size(model, size)
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("The model is on the meta device: it has shapes, but no weights to export.")
    if broken := not_finite(model.state_dict()):
        raise ValueError(f"Numbers in the model are not finite (NaN or infinity): {join_some(broken)}.")
    model = deepcopy(model).to("cpu", torch.float32)
    network = _Logits(model if isinstance(model, OptimizedBiRefNet) else optimize(model))
    image = torch.zeros(2, 3, height, width)  # of a batch of 1, the trace would make a constant
    batch = torch.export.Dim("batch", min=1)
    with use_backend("gather"), torch.no_grad():
        return torch.export.export(network, (image,), dynamic_shapes=({0: batch},), strict=False)


def to_onnx(
    program: torch.export.ExportedProgram, opset: int = OPSET, decomposed: bool = False
) -> "torch.onnx.ONNXProgram":
    """A program of one input and one output as ONNX, in memory; the first axis of both is called `batch`."""
    from onnxscript.optimizer import fold_constants_ir, remove_unused_nodes

    written = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=opset,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
        custom_translation_table={deform_conv2d: _in_grid_sample if decomposed else native_deform_conv},
        verbose=False,
        optimize=False,  # trying all its rules on all nodes takes most of the time; runtimes have rules of their own
    )
    if written is None:  # only without `dynamo`
        raise RuntimeError("PyTorch exported nothing.")
    fold_constants_ir(written.model)
    remove_unused_nodes(written.model)
    return written


class _Logits(nn.Module):
    """The network with one tensor as its result."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).logits


def native_deform_conv(input, offset, mask, weight, bias, stride, padding, dilation, backend):
    """The operator as ONNX's own DeformConv, whose offsets are (dy, dx) for each tap, too."""
    from onnxscript import opset19 as op

    kernel = list(weight.shape[2:])
    return op.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask,
        kernel_shape=kernel,
        offset_group=offset.shape[1] // (2 * kernel[0] * kernel[1]),
        strides=stride,
        pads=[*padding, *padding],
        dilations=dilation,
    )


def _in_grid_sample(input, offset, mask, weight, bias, stride, padding, dilation, backend):
    """The operator out of GridSample and 1x1 convolutions.

    The taps of one row of the kernel are sampled at once, laid on the channels and multiplied: at no time are there
    more than kw copies of the input, where all taps at once would be kh * kw.
    """
    from onnxscript import ir
    from onnxscript import opset18 as op

    def whole(*numbers: int):
        return op.Constant(value_ints=list(numbers))

    def rows(x, row: int, each: int, axis):
        return op.Slice(x, whole(row * each), whole((row + 1) * each), axis)

    channels, height, width = input.shape[1:]
    outputs, _, kh, kw = weight.shape
    size = offset.shape[2:]  # (H', W')
    taps = kh * kw
    groups = offset.shape[1] // (2 * taps)  # G: each has offsets of its own, as an image has
    zero, one, two = whole(0), whole(1), whole(2)
    offset = op.Reshape(offset, whole(-1, taps, 2, *size))  # (B * G, kh * kw, 2, H', W')
    places = []
    for axis, length in enumerate((height, width)):
        pixel = np.arange(size[axis]) * stride[axis] - padding[axis]
        tap = np.indices((kh, kw))[axis].reshape(-1, 1, 1, 1) * dilation[axis]
        start = pixel.reshape((-1, 1) if axis == 0 else (1, -1)) + tap  # (kh * kw, 1, H' or 1, W' or 1)
        # Pixel i of n reaches from -1 + 2 i / n to -1 + 2 (i + 1) / n, and is meant at its middle.
        first = ir.tensor(((2 * start + 1) / length - 1).astype(np.float32))
        start = op.Constant(value=first)  # type: ignore[arg-type]  # it takes the tensors of onnx_ir, too
        moved = op.Slice(offset, (zero, one)[axis], (one, two)[axis], two)  # (B * G, kh * kw, 1, H', W')
        places.append(op.Add(op.Mul(moved, op.Constant(value_float=2 / length)), start))
    grid = op.Transpose(op.Concat(*places[::-1], axis=2), perm=[0, 1, 3, 4, 2])  # (B * G, kh * kw, H', W', 2), x first
    grid = op.Reshape(grid, whole(-1, taps * size[0], size[1], 2))
    if mask is not None:
        mask = op.Reshape(mask, whole(-1, 1, taps, *size))  # (B * G, 1, kh * kw, H', W')
    input = op.Reshape(input, whole(-1, channels // groups, height, width))
    weight = op.Reshape(op.Transpose(weight, perm=[2, 0, 1, 3]), whole(kh * outputs, channels * kw, 1, 1))
    apart, joined = whole(-1, channels // groups, kw, *size), whole(-1, channels * kw, *size)
    total = None
    for row in range(kh):
        x = op.GridSample(input, rows(grid, row, kw * size[0], one), mode="bilinear", padding_mode="zeros")
        if mask is not None:
            x = op.Mul(op.Reshape(x, apart), rows(mask, row, kw, two))
        x = op.Conv(op.Reshape(x, joined), rows(weight, row, outputs, zero), bias if row == 0 else None)
        total = x if total is None else op.Add(total, x)
    return total  # (B, O, H', W')


def check_packages() -> None:
    """Raise `ImportError`, with the way to install them, where the packages of the extra `export` are missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Writing ONNX needs {' and '.join(missing)}, which this environment does not have: "
            "pip install 'birefnet-lite[export]'."
        )


def _check_opset(opset: int, decomposed: bool) -> None:
    from onnx.defs import onnx_opset_version

    least, most = LEAST_OPSET[decomposed], onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not least <= opset <= most:
        why = "" if decomposed else " DeformConv came with 19; decomposed=True does without it, from 18 on."
        raise ValueError(f"opset is {opset!r}; it can be {least} to {most} with the installed onnx.{why}")
