"""A sheet to draw a view on with Pillow: text and maps, on a page that grows downwards."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["ACCENT", "INK", "LINE", "MARGIN", "MUTED", "TONES", "Sheet", "break_text", "font"]

PAPER, INK, MUTED, LINE, ACCENT = "#ffffff", "#18212b", "#56646f", "#d9e0e6", "#0a6c96"
TONES = {"one": "#6fd3ff", "two": "#ffe23d", "three": "#c23bff", "four": "#ff6a00", "grid": "#ffffff"}
MARGIN = 20
"""Pixels between the sheet's edge and what is drawn."""


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The letters of every picture."""
    from matplotlib import font_manager

    # Matplotlib brings this font along, with every sign used here.
    properties = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return ImageFont.truetype(font_manager.findfont(properties), size)


def break_text(text: str, letters: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """A text in lines that are not wider than `width` pixels, broken between words."""
    line, *words = text.split(" ")
    lines: list[str] = []
    for word in words:
        if letters.getlength(f"{line} {word}") <= width:
            line = f"{line} {word}"
        else:
            lines, line = [*lines, line], word
    return [*lines, line]


class Sheet:
    """A picture that grows downwards."""

    def __init__(self, width: int) -> None:
        self.image = Image.new("RGB", (width, 400), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def need(self, height: float) -> None:
        """Make room down to `height`."""
        if height > self.image.height:
            taller = Image.new("RGB", (self.image.width, int(height) + 400), PAPER)
            taller.paste(self.image, (0, 0))
            self.image, self.pen = taller, ImageDraw.Draw(taller)

    def text(
        self, x: float, y: float, text: str, size: int = 12, bold: bool = False, colour: str = INK,
        anchor: str = "la", width: float | None = None,
    ) -> None:  # fmt: skip
        """One line, cut with an ellipsis where it is wider than `width`."""
        letters = font(size, bold)
        if width is not None and letters.getlength(text) > width:
            while text and letters.getlength(text + "…") > width:
                text = text[:-1]
            text += "…"
        self.need(y + 2 * size)
        self.pen.text((x, y), text, fill=colour, font=letters, anchor=anchor)

    def paste(self, pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> None:
        """A map, enlarged in sharp blocks or reduced smoothly."""
        self.need(y + height)
        image = Image.fromarray(pixels)
        smaller = image.width > width
        size = max(1, round(width)), max(1, round(height))
        method = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
        self.image.paste(image.resize(size, method), (round(x), round(y)))
