"""The user's choices in a view: layer, channel, pin, colours and zoom.

The steps from one look to the next happen on the page (`transition` in `static/look.js`).
"""

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

__all__ = ["MASK_AS", "RANGES", "SORTS", "Look"]

RANGES = ("map", "layer", "all", "own")
SORTS = ("detail", "variance", "mean", "max", "agreement", "index")


def _read_ways() -> tuple[str, ...]:
    source = (files("widgets") / "static" / "mask.js").read_text(encoding="utf-8")
    start = source.index("[", source.index("MASK_AS"))
    return tuple(json.loads(source[start : source.index("]", start) + 1]))


#: How a mask is drawn over the photo: "colours", "outline", "soft cut-out" or "hard cut-out", as in the page's menu.
MASK_AS = _read_ways()


@dataclass(frozen=True)
class Look:
    """Which layer and channel is in focus and how it is drawn.

    `pin` is a position in the photo, [x, y] in its pixels, or [] for none. `limits` are used with `range="own"`.
    `zoom` is [scale, left, top], the corner in parts of the picture. `channels` remembers the channel chosen in every
    layer. `mask_as` (one of `MASK_AS`), `threshold` (in 0 to 1) and `ground` (`checker` or `#rrggbb`) say how masks are
    drawn.
    """

    layer: str
    channel: int = 0
    channels: dict[str, int] = field(default_factory=dict)
    pin: list[float] = field(default_factory=list)
    colormap: str = "auto"
    range: str = "map"
    limits: list[float] = field(default_factory=list)
    opacity: float = 0.7
    sort: str = "detail"
    zoom: list[float] = field(default_factory=lambda: [1.0, 0.0, 0.0])
    ablated: list[str] = field(default_factory=list)
    mask_as: str = MASK_AS[0]
    threshold: float = 0.5
    ground: str = "checker"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)
