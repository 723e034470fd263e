"""Pictures for notebooks, with captions, readable on light and dark pages, described in text."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

__all__ = ["CARD", "INK", "QUIET", "TIMES", "Picture", "card", "fit_title", "side_by_side"]

# Every picture brings its own light card, so that its text has the same contrast on any page.
CARD = "#fbfaf6"
INK = "#1f2933"
QUIET = "#55606e"
TIMES = "\N{MULTIPLICATION SIGN}"
_DPI = 144


class Picture:
    """A PNG and the sentence that says what is on it.

    In a notebook it shows itself at half its pixels, sharp on a fine screen; `alt` goes where screen readers,
    converters and text consoles look for it. Raises `ValueError` for an empty `alt`.

    Examples:
        >>> figure = card(4, 3)
        >>> Picture.of(figure, "An empty card.")
        [picture] An empty card.
        >>> Picture.of(figure, "An empty card.").size
        (576, 432)
    """

    def __init__(self, png: bytes, alt: str) -> None:
        if not alt.strip():
            raise ValueError("A picture needs an alternative text: say what one sees on it.")
        self.png = png
        self.alt = alt

    @classmethod
    def of(cls, figure: Figure, alt: str) -> "Picture":
        """The picture of a Matplotlib figure."""
        stream = io.BytesIO()
        # No Software entry: the same figure gives the same bytes with any version that draws it alike.
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
        return cls(stream.getvalue(), alt)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int.from_bytes(self.png[16:20], "big"), int.from_bytes(self.png[20:24], "big")

    def __repr__(self) -> str:
        return f"[picture] {self.alt}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        width, height = self.size
        shown = {"width": width // 2, "height": height // 2, "alt": self.alt}
        return {"image/png": self.png, "text/plain": repr(self)}, {"image/png": shown}


def card(width: float, height: float) -> Figure:
    """An empty figure, `width` x `height` inches, on the card's colour. Not known to pyplot, so nothing stays open."""
    return Figure(figsize=(width, height), facecolor=CARD)


def fit_title(title: str, width: float, size: float) -> str:
    """A title in lines that are not wider than `width` inches, in letters of `size` points, broken between words."""
    lines: list[str] = []
    for given in title.split("\n"):
        line, *words = given.split(" ")
        for word in words:
            if TextPath((0, 0), f"{line} {word}", size=size).get_extents().width / 72 <= width:
                line = f"{line} {word}"
            else:
                lines, line = [*lines, line], word
        lines.append(line)
    return "\n".join(lines)


def side_by_side(images: Mapping[str, NDArray], alt: str, width: float = 10.0) -> Picture:
    """Images in one row with their titles.

    Each is (H, W, 3) uint8, or (H, W) in [0, 1], drawn from black to white without stretching.

    Examples:
        >>> from birefnet_lite.photos import load_photo
        >>> photo, mask, _ = load_photo("chelsea")
        >>> side_by_side({"photo": photo, "mask": mask.astype(float)}, alt="A cat, and its mask.")
        [picture] A cat, and its mask.
    """
    ratios = [image.shape[1] / image.shape[0] for image in images.values()]
    gap = 0.12
    row = (width - gap * (len(images) + 1)) / sum(ratios)  # height of the images, inches
    titles = [fit_title(title, row * ratio + gap / 2, 11) for title, ratio in zip(images, ratios, strict=True)]
    height = row + 0.45 + 0.19 * max(title.count("\n") for title in titles)
    figure = card(width, height)
    left = gap
    for title, image, ratio in zip(titles, images.values(), ratios, strict=True):
        box = (left / width, 0.08 / height, row * ratio / width, row / height)
        axes = figure.add_axes(box)
        axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
        axes.set_title(title, fontsize=11, color=INK, loc="left", pad=5)
        axes.set_axis_off()
        left += row * ratio + gap
    return Picture.of(figure, alt)
