"""Figures of notebooks 06 and 07: tiles that become channels, and a gradient target along a strip of pixels."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from birefnet_lite.course.picture import INK, QUIET, Picture, card

__all__ = ["histograms", "strips", "tiles_to_channels"]

_MARK = "#ffc93c"
_TINTS = (("red", "Reds_r"), ("green", "Greens_r"), ("blue", "Blues_r"))


def tiles_to_channels(photo: NDArray[np.uint8], grid: int = 4) -> Picture:
    """How a photo (H, W, 3) becomes channels: cut into grid x grid tiles, which are stacked colour by colour."""
    height, width = (side // grid * grid for side in photo.shape[:2])
    tall, wide = height // grid, width // grid
    figure = card(8.6, 3.2)
    whole = figure.add_axes((0.01, 0.05, 0.42, 0.85))
    whole.imshow(photo[:height, :width])
    whole.set_title(f"the photo, in {grid} × {grid} tiles", fontsize=11, color=INK, loc="left")
    for line in range(1, grid):
        whole.axhline(line * tall, color="white", lw=1.5)
        whole.axvline(line * wide, color="white", lw=1.5)
    row, column = int(0.85 * tall), int(0.88 * wide)  # where the cards of the stack do not hide it
    down, across = np.meshgrid(np.arange(grid) * tall + row, np.arange(grid) * wide + column)
    whole.plot(across.ravel(), down.ravel(), "s", color=_MARK, mec=INK, ms=6)
    whole.set_axis_off()
    stack = figure.add_axes((0.5, 0.05, 0.5, 0.85))
    stack.set_title("stacked: one channel for each tile and colour", fontsize=11, color=INK, loc="left")
    shown = [(c, t) for c in (2, 1, 0) for t in (grid * grid - 1, 1, 0)]  # from the back to the front
    for depth, (colour, tile) in enumerate(shown[::-1]):
        top, left = tile // grid * tall, tile % grid * wide
        _channel(stack, photo[top : top + tall, left : left + wide, colour], depth, _TINTS[colour][1], (row, column))
        name = f"{colour * grid * grid + tile}: {_TINTS[colour][0]}, row {tile // grid}, column {tile % grid}"
        stack.text(1.55 + 0.36 * depth, 1.02 - 0.27 * depth, name, fontsize=8, color=INK, va="center", zorder=50)
    stack.set(xlim=(-0.1, 7.0), ylim=(-2.35, 1.25))
    stack.set_axis_off()
    alt = (
        f"A photo cut into {grid} by {grid} tiles, the same place marked in each; and the tiles as a stack of maps, "
        "first all in red, then in green, then in blue, with their channels. The marks lie in one cell of all maps."
    )
    return Picture.of(figure, alt)


def _channel(axes: Axes, tile: NDArray, depth: int, colours: str, mark: tuple[int, int]) -> None:
    """One card of the stack; those in front lie to the upper left."""
    left, top = 0.36 * depth, 1.15 - 0.27 * depth
    wide, tall = 1.4, 1.4 * tile.shape[0] / tile.shape[1] * 0.75
    extent = (left, left + wide, top - tall, top)
    order = 40 - depth
    axes.imshow(tile, extent=extent, cmap=colours, vmin=-40, vmax=300, aspect="auto", zorder=order)
    axes.plot(*zip(*_corners(extent), strict=True), color=INK, lw=0.8, zorder=order)
    x = left + wide * (mark[1] + 0.5) / tile.shape[1]
    y = top - tall * (mark[0] + 0.5) / tile.shape[0]
    axes.plot([x], [y], "s", color=_MARK, mec=INK, ms=5, zorder=order)


def _corners(extent: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    left, right, low, high = extent
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def strips(rows: Mapping[str, tuple[NDArray, float, float]], alt: str) -> Picture:
    """Strips of pixels below each other, enlarged, with the numbers of their middle row written in.

    Args:
        rows: For each title, the values (h, w) and what is drawn black and white.
        alt: What one sees.
    """
    figure = card(10, 0.25 + 0.95 * len(rows))
    for i, (title, (values, low, high)) in enumerate(rows.items()):
        bottom = 1 - (i + 1) * 0.95 / figure.get_figheight()
        axes = figure.add_axes((0.17, bottom, 0.82, 0.85 / figure.get_figheight()))
        axes.imshow(values, cmap="gray", vmin=low, vmax=high, aspect="auto")
        axes.text(-0.8, values.shape[0] / 2 - 0.5, title, fontsize=10, color=INK, ha="right", va="center")
        middle = values.shape[0] // 2
        for column, value in enumerate(values[middle]):
            dark = (value - low) / (high - low) > 0.5
            text = f"{value:.2f}".replace("0.", ".").replace("-", "−") if abs(value) < 1 else f"{value:.1f}"
            axes.text(column, middle, text, fontsize=7, ha="center", va="center", color=INK if dark else "white")
        axes.set_axis_off()
    return Picture.of(figure, alt)


def histograms(labels: Mapping[str, NDArray], alt: str) -> Picture:
    """Histograms of the labels' values in 0 to 1, as shares of the pixels on one logarithmic scale."""
    figure = card(9, 2.6)
    for i, (title, values) in enumerate(labels.items()):
        axes = figure.add_axes((0.08 + 0.49 * i, 0.2, 0.4, 0.66))
        axes.set_facecolor("none")
        shares, edges = np.histogram(values, bins=40, range=(0, 1))
        axes.bar(edges[:-1], shares / shares.sum(), width=1 / 40, align="edge", color=("#7d3f83", "#2f6d1a")[i % 2])
        axes.set(yscale="log", ylim=(1e-5, 1), xlim=(0, 1))
        axes.set_title(title, fontsize=11, color=INK, loc="left")
        axes.set_xlabel("label", color=INK)
        if i == 0:
            axes.set_ylabel("share of the pixels", color=INK)
        axes.tick_params(colors=INK)
        axes.axvline(0.5, color=QUIET, lw=1, ls=":")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return Picture.of(figure, alt)
