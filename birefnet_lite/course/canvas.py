"""Drawing tools for the figures: boxes, arrows, badges, and a toy photo whose mask is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray

from birefnet_lite.course.picture import CARD, INK, QUIET

__all__ = ["COLOURS", "Canvas", "Point", "toy_photo"]

Point = tuple[float, float]

# Fill and edge of each kind of part. Text on a fill is INK; badges are white on an edge.
COLOURS = {
    "encoder": ("#cfe8ea", "#14707c"),
    "squeeze": ("#fbe3b6", "#8a5600"),
    "lateral": ("#e3e7ec", "#4a5563"),
    "decoder": ("#dcdbf6", "#4540a0"),
    "inward": ("#d5ecce", "#2f6d1a"),
    "outward": ("#fad8ce", "#a83a20"),
    "gradients": ("#f1e2f3", "#7d3f83"),
    "training": ("#f1e2f3", "#7d3f83"),
    "image": ("#ffffff", "#4a5563"),
}
_FADED = ("#f6f4ee", "#a9afb8")
_GLOW = "#ffc93c"
_DASHED = (0, (4, 2.5))


@dataclass(frozen=True)
class Canvas:
    """Axes in which one unit is one inch. Kinds that are not in `here` are drawn faded; without `here` all are lit."""

    axes: Axes
    here: frozenset[str] | None = None

    def lit(self, kind: str) -> bool:
        """Whether a kind of part keeps its colours."""
        return self.here is None or kind in self.here

    def colours(self, kind: str) -> tuple[str, str]:
        """Fill and edge."""
        return COLOURS[kind] if self.lit(kind) else _FADED

    def ink(self, kind: str) -> str:
        """The colour of text that belongs to a kind of part and stands on the card."""
        return COLOURS[kind][1] if self.lit(kind) else QUIET

    def box(self, kind: str, centre: Point, size: Point, text: str, small: str = "", dashed: bool = False) -> None:
        """A box with one line of text, and a smaller one under it; it glows where you are."""
        (x, y), (width, height) = centre, size
        fill, edge = self.colours(kind)
        corner = (x - width / 2, y - height / 2)
        round_box = "round,pad=0,rounding_size=0.09"
        if self.here is not None and self.lit(kind):
            self.axes.add_patch(
                FancyBboxPatch(corner, width, height, boxstyle=round_box, fc="none", ec=_GLOW, lw=8, zorder=2)
            )
        line = _DASHED if dashed else "solid"
        self.axes.add_patch(
            FancyBboxPatch(corner, width, height, boxstyle=round_box, fc=fill, ec=edge, lw=1.4, ls=line, zorder=3)
        )
        ink = INK if self.lit(kind) else QUIET
        self.text((x, y + (0.11 if small else -0.01)), text, size=10, colour=ink)
        if small:
            self.text((x, y - 0.15), small, size=8, colour=ink)

    def frame(self, kind: str, low: Point, high: Point) -> None:
        """A thin border round several parts that belong together."""
        (x, y), (right, top) = low, high
        self.axes.add_patch(
            FancyBboxPatch(
                low, right - x, top - y, boxstyle="round,pad=0,rounding_size=0.12", fc="none", ec=self.colours(kind)[1],
                lw=1.0, ls=(0, (1, 2)), zorder=0.5,
            )
        )  # fmt: skip

    def text(
        self, at: Point, text: str, size: float = 8, colour: str = QUIET, align: str = "center", ground: bool = False
    ) -> None:
        """Text centred in height; with `ground`, lines behind it are covered."""
        box: dict[str, Any] | None = {"boxstyle": "square,pad=0.15", "fc": CARD, "ec": "none"} if ground else None
        self.axes.text(*at, text, ha=align, va="center", fontsize=size, color=colour, zorder=8, bbox=box)

    def arrow(self, kind: str, *points: Point, dashed: bool = False) -> None:
        """A line through points; the last piece has the head."""
        edge = self.colours(kind)[1]
        style: dict[str, Any] = {"color": edge, "lw": 1.6, "ls": _DASHED if dashed else "solid"}
        self.axes.plot(*zip(*points[:-1], strict=True), **style, zorder=1, solid_capstyle="round")
        head = FancyArrowPatch(
            *points[-2:], arrowstyle="-|>", mutation_scale=11, shrinkA=0, shrinkB=0, zorder=1, **style
        )
        self.axes.add_patch(head)

    def disc(self, kind: str, at: Point, text: str, radius: float = 0.15) -> None:
        """A small sign in a circle."""
        fill, edge = self.colours(kind)
        self.axes.add_patch(Circle(at, radius, fc=fill, ec=edge, lw=1.4, zorder=3))
        self.text((at[0], at[1] - 0.01), text, size=12, colour=INK if self.lit(kind) else QUIET)

    def badge(self, kind: str, at: Point, number: str) -> None:
        """The number of a notebook."""
        self.axes.add_patch(Circle(at, 0.18, fc=self.colours(kind)[1] if self.lit(kind) else QUIET, ec=CARD, zorder=6))
        self.axes.text(
            at[0], at[1] - 0.01, number, ha="center", va="center", fontsize=8, color="white", weight="bold", zorder=9
        )

    def image(self, pixels: NDArray, centre: Point, side: float, grid: int = 0, kind: str = "image") -> None:
        """A square picture, cut into grid x grid tiles by white lines."""
        (x, y), half = centre, side / 2
        extent = (x - half, x + half, y - half, y + half)
        frame: dict[str, Any] = {"xy": (x - half, y - half), "width": side, "height": side}
        fade = 1.0 if self.lit(kind) else 0.6
        if self.here is not None and self.lit(kind):
            self.axes.add_patch(Rectangle(**frame, fc="none", ec=_GLOW, lw=8, zorder=2))
        self.axes.add_patch(Rectangle(**frame, fc=CARD, zorder=2.5))
        self.axes.imshow(pixels, extent=extent, cmap="gray", vmin=0, vmax=1, zorder=3, alpha=fade)
        for line in np.linspace(-half, half, grid + 1)[1:-1] if grid else ():
            self.axes.plot([x + line] * 2, [y - half, y + half], color="white", lw=0.8, zorder=4)
            self.axes.plot([x - half, x + half], [y + line] * 2, color="white", lw=0.8, zorder=4)
        self.axes.add_patch(Rectangle(**frame, fc="none", ec=self.colours(kind)[1], lw=1.4, zorder=5))


def toy_photo(side: int = 128) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A mug on a table, (side, side, 3) in [0, 1], and its exact mask, (side, side) of 0 and 1."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)  # both (side, side), 0 at the top left
    wall = np.array([0.93, 0.84, 0.70]) - 0.25 * y[..., None]
    table = np.array([0.55, 0.40, 0.31]) + 0.12 * (np.sin(40 * x + 6 * y) * 0.3)[..., None]
    photo = np.where((y > 0.70)[..., None], table, wall)
    body = (abs(x - 0.43) < 0.21 - 0.03 * (y - 0.28)) & (y > 0.28) & (y < 0.82)
    ring = np.hypot((x - 0.65) / 0.9, y - 0.53)
    mask = body | ((ring < 0.20) & (ring > 0.125) & (x > 0.6))
    shade = 0.75 + 0.35 * np.cos(4.6 * (x - 0.36))
    photo = np.where(mask[..., None], np.array([0.16, 0.52, 0.62]) * shade[..., None], photo)
    return np.clip(photo, 0, 1), mask.astype(np.float64)
