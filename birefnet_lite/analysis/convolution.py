"""The sum behind one value of a convolution: what each tap reads, times its weight. Plain and deformable ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared
from birefnet_lite.analysis.sampling import is_deformable, read_taps
from birefnet_lite.inference.predict import evaluating

__all__ = ["ConvolutionPass", "ConvolutionTerms", "list_convolutions", "trace_convolution"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConvolutionTerms:
    """One value: the sum over input channels and taps of weight x modulation x what is read, plus the bias.

    Taps run row by row.
    """

    read: Array
    """(C, taps): the input at the places of the taps, 0 outside the map."""
    weight: Array
    """(C, taps)"""
    modulation: Array
    """(taps,): 0 to 2 in a deformable convolution, 1 in a plain one."""
    places: Array
    """(taps, 2): where the taps read, y and x in cells of the input."""
    moved: Array
    """(taps, 2): how far that is from a plain convolution's places, in cells."""
    bias: float
    first: int
    """The number of the first input channel: above 0 where channels are in groups."""

    @property
    def products(self) -> Array:
        """(C, taps): the terms of the sum."""
        return self.weight * self.modulation * self.read

    @property
    def total(self) -> float:
        """The value that they add up to."""
        return float(self.products.sum()) + self.bias


@dataclass(frozen=True, eq=False)
class ConvolutionPass:
    """A convolution during one pass of the network."""

    name: str
    weight: Array
    """(O, C / groups, kh, kw)"""
    bias: Array
    """(O,)"""
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    input: Tensor
    """(C, H, W)"""
    output: Tensor
    """(O, h, w)"""
    offset: Tensor | None = None
    """(2 taps, h, w), y before x of each tap; None in a plain convolution."""
    modulation: Tensor | None = None
    """(taps, h, w)"""

    def terms(self, channel: int, row: int, column: int) -> ConvolutionTerms:
        """The terms of the output value at a channel and cell. `IndexError` outside the output."""
        size = self.output.shape
        if not (0 <= channel < size[0] and 0 <= row < size[1] and 0 <= column < size[2]):
            raise IndexError(f"The output is {tuple(size)}. Got channel {channel}, row {row}, column {column}.")
        count, _, high, wide = self.weight.shape
        taps = high * wide
        down, right = (grid.ravel() for grid in np.meshgrid(np.arange(high), np.arange(wide), indexing="ij"))
        places = np.stack(
            [
                row * self.stride[0] - self.padding[0] + down * self.dilation[0],
                column * self.stride[1] - self.padding[1] + right * self.dilation[1],
            ],
            axis=1,
        ).astype(np.float64)  # (taps, 2)
        moved = np.zeros_like(places)
        if self.offset is not None:
            moved = self.offset[:, row, column].double().numpy().reshape(taps, 2)
        weights = np.ones(taps)
        if self.modulation is not None:
            weights = self.modulation[:, row, column].double().numpy()
        width = self.weight.shape[1]
        first = channel // (count // (len(self.input) // width)) * width
        maps = self.input[first : first + width]
        read = np.stack([_read_between(maps, y, x) for y, x in places + moved], axis=1)  # (C, taps)
        kernel = self.weight[channel].reshape(width, taps)
        return ConvolutionTerms(read, kernel, weights, places + moved, moved, float(self.bias[channel]), first)


def list_convolutions(model: nn.Module) -> list[str]:
    """The convolutions of a network outside its backbone, by dotted path; a deformable one counts once.

    Only those that keep to zeros around the map, as all of BiRefNet's do.
    """
    deformable = {name for name, module in model.named_modules() if is_deformable(module)}
    names = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in deformable)
        plain = isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        if (name in deformable or (plain and not inside)) and not name.startswith("encoder.backbone."):
            names.append(name)
    return names


def trace_convolution(model: nn.Module, prepared: Prepared, name: str) -> ConvolutionPass:
    """Run a network and keep what a convolution takes and gives, in float32 on the CPU (its first call).

    Args:
        model: The network.
        prepared: The image.
        name: A name of `list_convolutions(model)`.

    Raises:
        ValueError: There is no such convolution, or the pass does not run it.
    """
    if name not in list_convolutions(model):
        raise ValueError(f"The network has no convolution {name!r}. list_convolutions(model) names them.")
    module: Any = model.get_submodule(name)
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not seen:
            seen.append((inputs[0][:1].detach().clone(), output[0].detach().float().cpu().clone()))

    handle = module.register_forward_hook(keep)
    try:
        with torch.no_grad(), evaluating(model):
            model(prepared.tensor)
    finally:
        handle.remove()
    if not seen:
        raise ValueError(f"{name} does not run in a pass that only makes the mask: it serves the training.")
    ((x, output),) = seen
    deformable = is_deformable(module)
    conv = module.conv if deformable else module
    maps: dict[str, Any] = {}
    if deformable:
        with torch.no_grad(), evaluating(model):
            taps = read_taps(module, x)
        maps = dict(zip(("offset", "modulation"), (value.float().cpu() for value in taps), strict=True))
    weight = conv.weight.detach().double().cpu().numpy()
    bias = np.zeros(len(weight)) if conv.bias is None else conv.bias.detach().double().cpu().numpy()
    shape = (conv.stride, conv.padding, conv.dilation)
    return ConvolutionPass(name, weight, bias, *shape, x[0].float().cpu(), output, **maps)


def _read_between(maps: Tensor, y: float, x: float) -> Array:
    """The maps (C, H, W) read bilinearly at one place, (C,); zeros lie around them."""
    height, width = maps.shape[-2:]
    value = np.zeros(len(maps))
    top, left = int(np.floor(y)), int(np.floor(x))
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, right in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width and down * right:
                value += down * right * maps[:, row, column].double().numpy()
    return value
