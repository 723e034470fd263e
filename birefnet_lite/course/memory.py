"""Curves of the memory that a network holds while it runs, for notebook 11: counted on the meta device, and drawn."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis.parts import find_module
from birefnet_lite.course.picture import CARD, INK, QUIET, Picture, card
from birefnet_lite.inference.memory import LivingTensors, copy_to_meta

__all__ = ["MemoryCurve", "memory_curve", "memory_plot"]

_MIB = 2**20
_FITS, _TOO_MUCH = "#2f6d8a", "#a83a20"
# A part begins with this module; the last stage with another one in an optimized network.
_MARKS = {
    "encoder": "encoder",
    "decoder": "decoder",
    "decoder.stage1.inward": "last stage",
    "decoder.stages.3.image": "last stage",
}


class MemoryCurve(NamedTuple):
    """The memory that is alive while one image runs through a network; no operator computes anything."""

    mib: NDArray[np.float64]
    """After each operator: the image, and results that are still needed."""
    parts: dict[str, int]
    """The number of the operator with which a part begins."""

    @property
    def peak(self) -> float:
        """The most MiB that are alive at once."""
        return float(self.mib.max())


def memory_curve(network: nn.Module, height: int, width: int) -> MemoryCurve:
    """Count the memory of one image (3, height, width) in a plain or an optimized network, without computing.

    Weights are not counted, nor what an operator needs for itself while it works, which depends on the machine.
    """
    image = torch.empty(1, 3, height, width, device="meta")
    copy = copy_to_meta(network)
    parts: dict[str, int] = {}
    with torch.no_grad(), LivingTensors() as living, ExitStack() as stack:
        living.add(image)
        for name, label in _MARKS.items():
            if (part := find_module(copy, name)) is not None:

                def note(module: nn.Module, inputs: tuple, label: str = label) -> None:
                    parts[label] = len(living.history)

                stack.callback(part.register_forward_pre_hook(note).remove)
        copy(image)
    return MemoryCurve(np.array(living.history) / _MIB, parts)


def memory_plot(curves: Mapping[str, MemoryCurve], limit: float) -> Picture:
    """Draw curves one below the other on one scale, each from its first operator to its last.

    Args:
        curves: Each under its title.
        limit: MiB that the machine has: a dashed line, above which a curve is red.
    """
    row, foot = 1.75, 0.35
    height = row * len(curves) + foot
    figure = card(9, height)
    top = 1.2 * max(curve.peak for curve in curves.values())
    for number, (title, curve) in enumerate(curves.items(), start=1):
        bottom = foot + row * (len(curves) - number)
        axes = figure.add_axes((0.085, bottom / height, 0.9, (row - 0.5) / height), facecolor=CARD)
        steps = _spread(curve)
        axes.fill_between(steps, np.minimum(curve.mib, limit), step="mid", color=_FITS, linewidth=0)
        above = np.maximum(curve.mib, limit)
        axes.fill_between(steps, limit, above, step="mid", color=_TOO_MUCH, linewidth=0)
        axes.axhline(limit, linestyle="--", linewidth=1, color=INK)
        for label, start in curve.parts.items():
            axes.axvline(steps[start], color=QUIET, linewidth=0.7)
            axes.text(steps[start] + 0.012, 0.97 * top, label, va="top", fontsize=8.5, color=QUIET)
        axes.set(xlim=(0, steps[-1]), ylim=(0, top), ylabel="MiB", xticks=())
        axes.set_title(f"{title}: {curve.peak:.0f} MiB at the peak", fontsize=10.5, loc="left", pad=4, color=INK)
    axes.set_xlabel("operators, in the order of the computation; each part has the same width", color=INK, fontsize=9.5)
    said = ", ".join(f"{title} {'above' if curve.peak > limit else 'below'} it" for title, curve in curves.items())
    return Picture.of(
        figure, f"The memory that is alive while a photo is computed, and a limit of {limit:g} MiB: {said}."
    )


def _spread(curve: MemoryCurve) -> NDArray[np.float64]:
    """Where to draw each operator, so that each part has the same width: the last one has few operators."""
    starts = sorted({0, *curve.parts.values()})
    return np.interp(np.arange(len(curve.mib)), [*starts, len(curve.mib) - 1], range(len(starts) + 1))
