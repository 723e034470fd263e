"""What is being looked at: one plain dataclass, and the steps from one look to the next.

`static/core.js` has the same steps under the same names (`transition`); a test walks both through the same path.
"""

from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from widgets.arrays import COLOUR_MAPS, cell, cell_centre

__all__ = ["RANGES", "SORTS", "Look", "transition"]

RANGES = ("map", "layer", "all", "own")
SORTS = ("detail", "variance", "mean", "max", "agreement", "index")


@dataclass(frozen=True)
class Look:
    """Which layer and channel is in focus and how it is drawn.

    `pin` is a position in the photo, [x, y] in its pixels, or [] for none. `limits` are used with `range="own"`.
    `zoom` is [scale, left, top], the corner in parts of the picture. `channels` remembers the channel chosen in every
    layer.
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

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def transition(scene: dict[str, Any], look: Look, action: dict[str, Any]) -> Look:
    """One step of looking, on a scene's description. What makes no sense leaves the look as it was."""
    layers = {layer["name"]: layer for layer in scene["layers"]}
    layer = layers[look.layer]
    width, height = scene["image"]["width"], scene["image"]["height"]
    kind = action["type"]
    if kind == "layer":
        name = action["layer"]
        return replace(look, layer=name, channel=look.channels.get(name, 0)) if name in layers else look
    if kind == "channel":
        channel = int(_clamp(int(action["channel"] + 0.5), 0, layer["channels"] - 1))
        return replace(look, channel=channel, channels={**look.channels, look.layer: channel})
    if kind == "pin":
        if not action["point"]:
            return replace(look, pin=[])
        x, y = action["point"]
        if not (isfinite(x) and isfinite(y)):
            return look
        return replace(look, pin=[_clamp(x, 0, width - 1), _clamp(y, 0, height - 1)])
    if kind == "move":
        x, y = action["from"]
        column = _clamp(cell(x, width, layer["width"]) + action["dx"], 0, layer["width"] - 1)
        row = _clamp(cell(y, height, layer["height"]) + action["dy"], 0, layer["height"] - 1)
        point = [cell_centre(column, width, layer["width"]), cell_centre(row, height, layer["height"])]
        return transition(scene, look, {"type": "pin", "point": point})
    if kind == "limits":
        low, high = action["limits"]
        return (
            replace(look, range="own", limits=[low, high]) if isfinite(low) and isfinite(high) and low < high else look
        )
    if kind == "opacity":
        return replace(look, opacity=_clamp(action["opacity"], 0, 1))
    if kind == "colormap":
        return replace(look, colormap=action[kind]) if action[kind] in ("auto", *COLOUR_MAPS) else look
    if kind == "range":
        return replace(look, range=action[kind]) if action[kind] in RANGES else look
    if kind == "sort":
        return replace(look, sort=action[kind]) if action[kind] in SORTS else look
    if kind == "ablated":
        return replace(look, ablated=list(action[kind]))
    return _zoom(look, kind, action)


def _zoom(look: Look, kind: str, action: dict[str, Any]) -> Look:
    old, left, top = look.zoom
    if kind == "zoom":
        scale = _clamp(old * action["factor"], 1, 64)
        at = action.get("at") or [0.5, 0.5]
        corner = [
            _clamp(start + a / old - a / scale, 0, 1 - 1 / scale) for start, a in zip((left, top), at, strict=True)
        ]
        return replace(look, zoom=[scale, *corner])
    if kind == "pan":
        most = 1 - 1 / old
        return replace(look, zoom=[old, _clamp(left + action["dx"], 0, most), _clamp(top + action["dy"], 0, most)])
    if kind == "reset-zoom":
        return replace(look, zoom=[1.0, 0.0, 0.0])
    return look
