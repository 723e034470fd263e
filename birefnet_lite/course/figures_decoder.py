"""Figures of the receptive fields, of two ways to join maps, and of one stage of the decoder."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from birefnet_lite.course.canvas import Canvas
from birefnet_lite.course.picture import CARD, INK, QUIET, TIMES, Picture, card

__all__ = ["add_or_concatenate", "five_branches", "one_stage", "taps_inside"]


def _canvas(width: float, height: float) -> Canvas:
    axes = card(width, height).add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return Canvas(axes)


def _picture(canvas: Canvas, alt: str) -> Picture:
    return Picture.of(canvas.axes.figure, alt)  # type: ignore[arg-type]


def five_branches() -> Picture:
    """Narrow, five receptive fields side by side, join, widen: the squeeze module and each reconstruction block."""
    canvas = _canvas(9.6, 2.7)
    canvas.text((0.62, 1.3), "a wide\nmap", size=10)
    canvas.text((9.0, 1.3), "wide\nagain", size=10)
    canvas.box("decoder", (2.0, 1.3), (1.35, 0.75), f"3 {TIMES} 3", "narrow, norm, ReLU")
    canvas.box("squeeze", (6.3, 1.3), (1.35, 0.75), f"1 {TIMES} 1", "join, norm, ReLU")
    canvas.box("decoder", (7.8, 1.3), (1.35, 0.75), f"3 {TIMES} 3", "widen, norm")
    names = ("1 × 1, deformable", "1 × 1, deformable", "3 × 3, deformable", "7 × 7, deformable", "mean of the map")
    for y, name in zip((2.3, 1.8, 1.3, 0.8, 0.3), names, strict=True):
        canvas.arrow("squeeze", (2.68, 1.3), (2.95, 1.3), (3.1, y), (3.4, y))
        canvas.box("squeeze", (4.22, y), (1.6, 0.38), name)
        canvas.arrow("squeeze", (5.02, y), (5.2, y), (5.38, 1.3), (5.62, 1.3))
    for start, stop in ((1.0, 1.32), (6.98, 7.12), (8.48, 8.75)):
        canvas.arrow("decoder", (start, 1.3), (stop, 1.3))
    return _picture(
        canvas,
        "A 3 by 3 convolution narrows the map. Five branches see the result side by side: two of 1 by 1, one of 3 by "
        "3, one of 7 by 7, all deformable, and the mean of the map. A 1 by 1 convolution joins them, and a 3 by 3 "
        "convolution widens the map again.",
    )


def add_or_concatenate() -> Picture:
    """How a feature pyramid network and a U-Net join the map from below with the encoder's."""
    canvas = _canvas(10.0, 2.9)
    for left, name, sign in ((0.0, "feature pyramid, as in BiRefNet: add", "+"), (5.1, "U-Net: concatenate", "[ , ]")):
        canvas.text((left + 2.4, 2.68), name, size=10.5, colour=INK)
        canvas.box("encoder", (left + 0.8, 1.95), (1.2, 0.62), "x, fine", "C' channels")
        canvas.box("decoder", (left + 0.8, 0.75), (1.2, 0.62), "d, coarse", "C channels")
        canvas.box("decoder", (left + 2.3, 0.75), (0.95, 0.5), f"up {TIMES} 2")
        canvas.arrow("decoder", (left + 1.4, 0.75), (left + 1.82, 0.75))
        canvas.disc("decoder", (left + 3.3, 1.35), sign, 0.24)
        canvas.arrow("decoder", (left + 2.78, 0.75), (left + 3.3, 0.75), (left + 3.3, 1.1))
        if sign == "+":
            canvas.box("lateral", (left + 2.3, 1.95), (0.95, 0.62), f"1 {TIMES} 1", "C' to C")
            canvas.arrow("lateral", (left + 1.4, 1.95), (left + 1.82, 1.95))
            canvas.arrow("lateral", (left + 2.78, 1.95), (left + 3.3, 1.95), (left + 3.3, 1.6))
        else:
            canvas.arrow("encoder", (left + 1.4, 1.95), (left + 3.3, 1.95), (left + 3.3, 1.6))
        canvas.arrow("decoder", (left + 3.54, 1.35), (left + 3.95, 1.35))
        canvas.text((left + 4.38, 1.35), "C wide" if sign == "+" else "C + C'\nwide", size=10, colour=INK)
    return _picture(
        canvas,
        "Two diagrams. Left: the coarse map is enlarged, the fine map goes through a 1 by 1 convolution to the same "
        "width, and both are added; the result has C channels. Right, as in a U-Net: the fine map is concatenated as "
        "it is; the result has C plus C' channels.",
    )


def one_stage() -> Picture:
    """Stage 4, 3 or 2 of the decoder; what exists in training only is dashed."""
    canvas = _canvas(10.6, 3.6)
    middle = 1.45
    canvas.text((0.5, middle), "d, from\nbelow", size=10)
    canvas.disc("decoder", (1.6, middle), "[ , ]", 0.24)
    canvas.arrow("decoder", (0.9, middle), (1.36, middle))
    canvas.box("inward", (1.6, 0.45), (1.7, 0.5), "inward reference")
    canvas.arrow("inward", (1.6, 0.7), (1.6, middle - 0.24))
    canvas.text((0.35, 0.45), "photo", size=10)
    canvas.box("decoder", (3.2, middle), (1.75, 0.75), "reconstruction", "notebook 03's five branches")
    canvas.arrow("decoder", (1.84, middle), (2.32, middle))
    canvas.text((4.33, middle + 0.14), "r", size=10.5, colour=INK)
    canvas.disc("decoder", (5.35, middle), TIMES, 0.2)
    canvas.arrow("decoder", (4.08, middle), (5.15, middle))
    canvas.box("outward", (5.35, 2.55), (1.6, 0.5), "outward reference")
    canvas.arrow("outward", (4.5, middle), (4.5, 2.1), (5.1, 2.1), (5.1, 2.3))
    canvas.arrow("outward", (5.6, 2.3), (5.6, 2.05), (5.35, 2.05), (5.35, middle + 0.2))
    canvas.text((5.75, 1.85), "attention", colour=canvas.ink("outward"), align="left")
    canvas.arrow("gradients", (6.15, 2.55), (7.3, 2.55), dashed=True)
    canvas.box("gradients", (8.0, 2.55), (1.4, 0.45), "gradient logits", dashed=True)
    canvas.arrow("training", (4.5, 2.1), (4.5, 3.2), (7.3, 3.2), dashed=True)
    canvas.text((5.75, 3.33), f"side head, 1 {TIMES} 1", colour=canvas.ink("training"))
    canvas.box("training", (8.0, 3.2), (1.4, 0.45), "side logits", dashed=True)
    canvas.text((8.85, 2.88), "in training only", align="left", colour=canvas.ink("training"))
    canvas.box("decoder", (6.7, middle), (1.0, 0.5), f"up {TIMES} 2")
    canvas.arrow("decoder", (5.55, middle), (6.2, middle))
    canvas.disc("decoder", (8.0, middle), "+", 0.2)
    canvas.arrow("decoder", (7.2, middle), (7.8, middle))
    canvas.box("lateral", (8.0, 0.45), (1.3, 0.5), f"lateral, 1 {TIMES} 1")
    canvas.arrow("lateral", (8.0, 0.7), (8.0, middle - 0.2))
    canvas.arrow("lateral", (6.9, 0.45), (7.35, 0.45))
    canvas.text((6.35, 0.45), "encoder's\nnext finer map", size=9)
    canvas.arrow("decoder", (8.2, middle), (9.4, middle))
    canvas.text((9.95, middle), "to the\nnext stage", size=10)
    return _picture(
        canvas,
        "One stage of the decoder. The map from below is concatenated with the inward reference of the photo and goes "
        "through the reconstruction block. Its result r is multiplied by the attention of the outward reference, "
        "enlarged twice, and added to the encoder's map behind a 1 by 1 convolution. Dashed, in training only: side "
        "logits, read from r before the attention, and gradient logits from the outward reference.",
    )


def taps_inside(shares: Mapping[str, tuple[float, float]]) -> Picture:
    """Bars: for each kernel, the share of taps inside the map, as trained and with taps that do not move, 0 to 1."""
    height = 0.75 + 0.42 * len(shares)
    figure = card(7.5, height)
    axes = figure.add_axes((0.26, 0.5 / height, 0.66, (height - 0.62) / height), facecolor=CARD)
    places: NDArray[np.float64] = np.arange(len(shares))[::-1].astype(float)
    for offset, which, colour, name in ((0.18, 0, "#4540a0", "as trained"), (-0.18, 1, "#c9a227", "not moved")):
        values = [pair[which] for pair in shares.values()]
        axes.barh(places + offset, values, 0.34, color=colour, label=name)
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.01, place + offset, f"{value:.0%}", va="center", fontsize=8, color=INK)
    axes.set_yticks(places, list(shares), fontsize=9, color=INK)
    axes.set(xlim=(0, 1.45), xticks=(0, 0.5, 1), xticklabels=("0", "half", "all"))
    axes.tick_params(colors=QUIET, length=0)
    axes.set_xlabel("taps that land inside the map", fontsize=9, color=INK)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper right")
    said = "; ".join(f"{name}: {a:.0%} as trained, {b:.0%} not moved" for name, (a, b) in shares.items())
    return Picture.of(figure, f"Bars of the share of taps inside the map. {said}.")
