"""State of a view that the page and the kernel share: its traits, and which values each may have."""

import re
from typing import Any

import anywidget
import numpy as np
import traitlets

from widgets.brush import check_strokes
from widgets.look import MASK_AS, RANGES, SORTS, Look
from widgets.planes import COLOUR_MAPS

__all__ = ["BESIDE", "SyncedState"]

#: Traits that belong to a view's state beside the look.
BESIDE = ("marks", "table", "controls", "region", "stale", "league", "strokes")


class SyncedState(anywidget.AnyWidget):
    """The traits of a view. Other widgets can be linked to them; a value that points at nothing raises `TraitError`.

    The user chooses `layer`, `channel`, `pin` ([x, y] in the photo's pixels, or []), `colormap`, `range`, `limits`,
    `opacity`, `sort`, `zoom`, `ablated` and `region`. Masks are drawn as `mask_as` says ("colours", "outline", "soft
    cut-out" or "hard cut-out"), at `threshold`, on `ground` ("checker" or "#rrggbb").
    """

    scene = traitlets.Dict().tag(sync=True)
    parts: traitlets.List[Any] = traitlets.List().tag(sync=True)
    blob = traitlets.Bytes(b"").tag(sync=True)
    live = traitlets.Bool(True).tag(sync=True)

    layer = traitlets.Unicode().tag(sync=True)
    channel = traitlets.Int(0).tag(sync=True)
    channels = traitlets.Dict().tag(sync=True)
    pin: traitlets.List[Any] = traitlets.List().tag(sync=True)
    colormap = traitlets.Enum(("auto", *COLOUR_MAPS), "auto").tag(sync=True)
    range = traitlets.Enum(RANGES, "map").tag(sync=True)
    limits: traitlets.List[Any] = traitlets.List().tag(sync=True)
    opacity = traitlets.Float(0.7, min=0.0, max=1.0).tag(sync=True)
    sort = traitlets.Enum(SORTS, "detail").tag(sync=True)
    zoom = traitlets.List([1.0, 0.0, 0.0]).tag(sync=True)
    ablated = traitlets.List(traitlets.Unicode()).tag(sync=True)
    mask_as = traitlets.Enum(MASK_AS, MASK_AS[0]).tag(sync=True)
    threshold = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    ground = traitlets.Unicode("checker").tag(sync=True)

    region: traitlets.List[Any] = traitlets.List().tag(sync=True)
    marks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    table = traitlets.Dict().tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)
    stale = traitlets.List(traitlets.Unicode()).tag(sync=True)
    league = traitlets.Dict().tag(sync=True)
    strokes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    busy = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    @property
    def look(self) -> Look:
        """The choices of the user (layer, channel, pin, colours …) as one value."""
        names = Look.__dataclass_fields__
        return Look(**{name: getattr(self, name) for name in names})

    @property
    def step(self) -> int:
        """The step that the film of a training shows; set it to any of the recorded ones."""
        return self._steps[self.channel]

    @step.setter
    def step(self, step: int) -> None:
        self.channel = self._find_step(step)

    @property
    def beside(self) -> int:
        """The step that the film of a training shows beside `step`."""
        return self._steps[self.channels.get("beside", len(self._steps) - 1)]

    @beside.setter
    def beside(self, step: int) -> None:
        self.channels = {**self.channels, "beside": self._find_step(step)}

    @property
    def _steps(self) -> list[int]:
        if "curves" not in self.scene:
            raise AttributeError("This view shows no steps of a training.")
        return self.scene["curves"]["steps"]

    def _find_step(self, step: int) -> int:
        if step not in self._steps:
            raise ValueError(f"Step {step} was not recorded. There are: {', '.join(map(str, self._steps))}.")
        return self._steps.index(step)

    @traitlets.validate("strokes")
    def _strokes(self, proposal: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            return check_strokes(proposal["value"])
        except (ValueError, TypeError, AttributeError) as error:
            raise traitlets.TraitError(str(error)) from error

    @traitlets.validate("layer")
    def _known_layer(self, proposal: dict[str, Any]) -> str:
        names = [layer["name"] for layer in self.scene["layers"]]
        if proposal["value"] not in names:
            raise traitlets.TraitError(f"This view has no layer {proposal['value']!r}. It has: {', '.join(names)}.")
        return proposal["value"]

    @traitlets.validate("pin")
    def _point(self, proposal: dict[str, Any]) -> list[float]:
        value = list(proposal["value"])
        if value and not (len(value) == 2 and np.isfinite(value).all()):
            raise traitlets.TraitError(f"A pin is [x, y] in pixels of the photo, or []. Got {value}.")
        return value

    @traitlets.validate("ground")
    def _known_ground(self, proposal: dict[str, Any]) -> str:
        if not re.fullmatch(r"checker|#[0-9a-fA-F]{6}", proposal["value"]):
            raise traitlets.TraitError(f"A ground is checker or #rrggbb. Got {proposal['value']!r}.")
        return proposal["value"]

    @traitlets.validate("region")
    def _rectangle(self, proposal: dict[str, Any]) -> list[float]:
        value = list(proposal["value"])
        good = len(value) == 4 and np.isfinite(value).all() and value[0] < value[2] and value[1] < value[3]
        if value and not good:
            raise traitlets.TraitError(f"A region is [left, top, right, bottom] in the photo's pixels. Got {value}.")
        return value

    @traitlets.observe("layer")
    def _follow_layer(self, change: dict[str, Any]) -> None:
        self.channel = self.channels.get(change["new"], 0)

    @traitlets.observe("channel")
    def _follow_channel(self, change: dict[str, Any]) -> None:
        if self.channels.get(self.layer) != change["new"]:
            self.channels = {**self.channels, self.layer: change["new"]}

    @traitlets.validate("channel")
    def _known_channel(self, proposal: dict[str, Any]) -> int:
        sizes = {layer["name"]: layer["channels"] for layer in self.scene["layers"]}
        return min(max(proposal["value"], 0), sizes[self.layer] - 1) if self.layer in sizes else proposal["value"]
