"""Figure of shifted windows: what the roll brings together, and what the mask keeps apart."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from birefnet_lite.course.picture import CARD, INK, QUIET, Picture, card

__all__ = ["shifted_windows"]

_REGIONS = ("#cfe8ea", "#fbe3b6", "#dcdbf6", "#fad8ce")  # inside; from the left; from the top; from both


def shifted_windows(side: int = 4, window: int = 2, shift: int = 1) -> Picture:
    """A numbered map in windows, the same rolled, and who may look at whom in each rolled window."""
    from torch import zeros  # a notebook's first cell needs no PyTorch

    from birefnet_lite.network.backbone.swin import shift_mask

    cells = np.arange(side * side).reshape(side, side)
    rolled = np.roll(cells, (-shift, -shift), axis=(0, 1))
    wrapped = np.arange(side) >= side - shift
    region = 2 * wrapped[:, None] + wrapped[None, :]  # (side, side), 0 to 3
    figure = card(10.0, 3.3)
    width = 0.245
    boxes = [(0.02 + i * 0.285, 0.04, width, 0.8) for i in range(2)]
    _cells(figure.add_axes(boxes[0]), cells, np.zeros_like(region), window, "windows")
    _cells(figure.add_axes(boxes[1]), rolled, region, window, f"rolled by {shift}, and the same windows")
    may = shift_mask(side, side, window, shift, zeros(1)).numpy() == 0  # (windows, N, N)
    figure.text(0.6, 0.9, "who may look at whom, in each rolled window", fontsize=10, color=INK)
    members = rolled.reshape(side // window, window, side // window, window).swapaxes(1, 2).reshape(len(may), -1)
    columns = side // window
    for i, (allowed, names) in enumerate(zip(may, members, strict=True)):
        row, column = divmod(i, columns)
        axes = figure.add_axes((0.63 + 0.19 * column, 0.49 - 0.44 * row, 0.13, 0.34))
        axes.imshow(allowed, cmap="Greys_r", vmin=-1.5, vmax=1, extent=(0, len(names), len(names), 0))
        axes.set_xticks(np.arange(len(names)) + 0.5, [str(n) for n in names], fontsize=8, color=INK)
        axes.set_yticks(np.arange(len(names)) + 0.5, [str(n) for n in names], fontsize=8, color=INK)
        axes.tick_params(length=0)
        axes.spines[:].set_color(QUIET)
    return Picture.of(
        figure,
        f"Left, a map of {side} by {side} numbered cells in windows of {window} by {window}. Middle, the map rolled by "
        f"{shift} up and to the left: cells that come from the opposite border have other colours. Right, a table for "
        "each rolled window, white where one cell may look at another. In the first window all may; in the last one, "
        "with four cells from four corners, each sees only itself.",
    )


def _cells(axes: Axes, numbers: NDArray, region: NDArray, window: int, title: str) -> None:
    side = len(numbers)
    for row in range(side):
        for column in range(side):
            colour = _REGIONS[int(region[row, column])]
            axes.add_patch(Rectangle((column, row), 1, 1, fc=colour, ec=CARD, lw=1))
            axes.text(column + 0.5, row + 0.5, str(numbers[row, column]), ha="center", va="center", color=INK)
    for line in range(0, side + 1, window):
        axes.plot([line, line], [0, side], color=INK, lw=2.2)
        axes.plot([0, side], [line, line], color=INK, lw=2.2)
    axes.set(xlim=(-0.05, side + 0.05), ylim=(side + 0.05, -0.05), aspect="equal")
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_axis_off()
