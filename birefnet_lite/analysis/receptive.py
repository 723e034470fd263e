"""Receptive fields of a unit of the network: theoretical (what it can see) and effective (what changes it)."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.capture import hook_parts
from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating

__all__ = ["Field", "receptive_field"]

Status = Literal["exact", "bound", "whole image"]


@dataclass(frozen=True)
class Field:
    """The receptive field of one cell of a layer, all channels together, in pixels of the image as seen."""

    effective: NDArray[np.float32]
    """(H, W): the size of the gradient of the cell's values, summed over colours; 1 at its largest."""
    box: tuple[int, int, int, int]
    """The theoretical field: top, left, bottom, right, the last two not included."""
    status: Status
    """`exact`; `bound`: offsets of deformable kernels, or units that are off, may widen it; or `whole image`."""

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of mass of the gradient, row and column in pixels; the middle of the image without a gradient."""
        weight = self.effective.astype(np.float64)
        total = weight.sum()
        if total == 0:
            return weight.shape[0] / 2, weight.shape[1] / 2
        y, x = np.indices(weight.shape)
        return float((weight * y).sum() / total), float((weight * x).sum() / total)

    @property
    def spread(self) -> float:
        """The radius that holds 90 % of the gradient around its centre of mass, in pixels."""
        weight = self.effective.astype(np.float64)
        total = weight.sum()
        if total == 0:
            return 0.0
        y, x = np.indices(weight.shape)
        row, column = self.centre
        distance = np.hypot(y - row, x - column).ravel()
        order = np.argsort(distance)
        inside = np.searchsorted(np.cumsum(weight.ravel()[order]), 0.9 * total)
        return float(distance[order[min(inside, len(order) - 1)]])


class _Reached(Exception):
    """Ends the forward pass once the layer is there."""


def receptive_field(
    model: nn.Module, image: Any, layer: str, row: int, column: int, size: int | tuple[int, int] | None = None
) -> Field:
    """The field of the cell (row, column) of a named layer (see `capture`), from gradients on this image.

    Every channel is weighted by a random sign, so that channels do not cancel. The theoretical field is where this
    gradient, or that of random noise as input, is not zero. The model is left as it was.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> field = receptive_field(model, photo, "encoder.full.x1", 3, 4, size=64)
        >>> field.status, field.box
        ('bound', (0, 0, 32, 36))
    """
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(prepared.tensor.shape, generator=generator).to(prepared.tensor)
    effective, gated = _gradient(model, prepared.tensor, layer, row, column)
    support = (effective > 0) | (_gradient(model, noise, layer, row, column)[0] > 0)
    rows, columns = np.flatnonzero(support.any(1)), np.flatnonzero(support.any(0))
    box = (0, 0, 0, 0)
    if rows.size:
        box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    if box == (0, 0, *support.shape):
        status: Status = "whole image"
    else:
        status = "bound" if gated else "exact"
    top = effective.max()
    return Field((effective / top if top > 0 else effective).astype(np.float32), box, status)


def _gradient(model: nn.Module, image: Tensor, layer: str, row: int, column: int) -> tuple[NDArray[np.float64], bool]:
    """The gradient's size at each pixel, (H, W), and whether gates or moving taps lie on the way."""
    image = image.detach().clone().requires_grad_()
    reached: list[Tensor] = []
    gated: list[str] = []

    def receive(name: str, x: Tensor) -> None:
        if name == layer:
            reached.append(x)
            raise _Reached

    def note(module: nn.Module, _inputs: Any) -> None:
        if hasattr(module, "offset_conv") or isinstance(module, nn.ReLU | nn.MaxPool2d):
            gated.append(type(module).__name__)

    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.enable_grad())
        for parameter in frozen:
            parameter.requires_grad_(False)
            stack.callback(parameter.requires_grad_, True)
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(note).remove)
        stack.enter_context(hook_parts(model, receive))
        try:
            model(image)
        except _Reached:
            pass
        else:
            raise ValueError(f"This model has no layer {layer!r}.")
        x = reached[0][0]  # (C, h, w)
        if not (0 <= row < x.shape[1] and 0 <= column < x.shape[2]):
            raise ValueError(f"{layer} has {x.shape[1]} x {x.shape[2]} cells. There is no ({row}, {column}).")
        signs = torch.randint(0, 2, (x.shape[0],), generator=torch.Generator().manual_seed(1)).to(x) * 2 - 1
        (gradient,) = torch.autograd.grad((x[:, row, column] * signs).sum(), image)
    return gradient[0].double().abs().sum(0).cpu().numpy(), bool(gated)
