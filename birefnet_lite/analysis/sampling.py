"""Sampling points of deformable kernels: offsets and modulation at every pixel, as places in the photo."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating

__all__ = ["Kernel", "deformable_kernels", "is_deformable", "read_taps"]


@dataclass(frozen=True)
class Kernel:
    """One deformable convolution during one pass. Taps run row by row; offsets are in cells of its map."""

    name: str
    size: int
    offsets: NDArray[np.float16]
    """(taps, 2, h, w): down and right."""
    modulation: NDArray[np.float16]
    """(taps, h, w), in 0 to 2; 1 is what a plain convolution has."""

    def points(self, row: int, column: int) -> NDArray[np.float64]:
        """Where the taps of the cell (row, column) look: (taps, 3) of y and x, as parts of the picture, and weight.

        0 and 1 are the picture's edges; kernels may look beyond them, where they see zeros.
        """
        height, width = self.modulation.shape[-2:]
        tap = np.arange(self.size) - self.size // 2
        down, right = (grid.ravel() for grid in np.meshgrid(tap, tap, indexing="ij"))
        shift = self.offsets[:, :, row, column].astype(np.float64)
        y = (row + down + shift[:, 0] + 0.5) / height
        x = (column + right + shift[:, 1] + 0.5) / width
        return np.stack([y, x, self.modulation[:, row, column]], axis=1)

    def shift(self) -> NDArray[np.float32]:
        """How far the taps have moved, on average: (h, w), in cells."""
        return np.hypot(self.offsets[:, 0], self.offsets[:, 1]).astype(np.float32).mean(axis=0)


def deformable_kernels(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> dict[str, Kernel]:
    """Every deformable convolution of a model on an image, by dotted name, in the order in which they run.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> kernels = deformable_kernels(model, photo, size=64)
        >>> next(iter(kernels))
        'squeeze.0.aspp.branches.0.conv'
    """
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    found: dict[str, Kernel] = {}

    def keep(name: str, module: Any, x: Tensor) -> None:
        offset, modulation = read_taps(module, x)
        taps = len(modulation)
        offset = offset.reshape(taps, 2, *offset.shape[1:])  # (taps, 2, h, w)
        arrays = (value.cpu().to(torch.float16).numpy() for value in (offset, modulation))
        found[name] = Kernel(name, round(taps**0.5), *arrays)

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        for name, module in model.named_modules():
            if not is_deformable(module):
                continue
            hook = module.register_forward_hook(lambda m, inputs, _out, name=name: keep(name, m, inputs[0]))
            stack.callback(hook.remove)
        model(prepared.tensor)
    return found


def is_deformable(module: nn.Module) -> bool:
    """Whether a module is a deformable convolution: the package's, or a learner's with the same parts.

    Examples:
        >>> from birefnet_lite.network.deformable import DeformableConv2d
        >>> is_deformable(DeformableConv2d(4, 4, 3)), is_deformable(nn.Conv2d(4, 4, 3))
        (True, False)
    """
    return hasattr(module, "offset_conv") and hasattr(module, "modulation_conv")


def read_taps(module: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (2 taps, h, w), y before x of each tap, and modulation (taps, h, w) for the first of the inputs.

    Examples:
        >>> from birefnet_lite.network.deformable import DeformableConv2d
        >>> offset, modulation = read_taps(DeformableConv2d(4, 4, 3), torch.zeros(1, 4, 8, 8))
        >>> tuple(offset.shape), tuple(modulation.shape)
        ((18, 8, 8), (9, 8, 8))
    """
    return module.offset_conv(x)[0], 2 * torch.sigmoid(module.modulation_conv(x)[0])
