"""The contents of a view: the photo, the layers with their maps, and how they are laid out.

A scene is built once, from arrays. It keeps 16-bit planes, not floats, and not all of them: the most detailed channels
of each layer within a budget. It packs into a description (JSON) and one buffer, which is all that a page needs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widgets.channel_ranking import STATISTICS, channel_statistics, rank
from widgets.packing import MIB, Packer, count_channels, encode_photo
from widgets.planes import COLOUR_MAPS, Plane, encode_picture, quantise

__all__ = ["KINDS", "PHOTO", "Layer", "Scene"]

#: The name that stands for the photo itself in the rows of a view.
PHOTO = "photo"
#: How a layer's numbers are to be read: any sign, none negative, between 0 and 1.
KINDS = ("signed", "positive", "unit")
#: The kind of layers whose planes are pictures in colour, see `encode_picture`.
COLOUR = "colour"


@dataclass
class Layer:
    """One layer: its maps (C, h, w) as planes, and what the atlas sorts its channels by."""

    name: str
    title: str
    note: str
    kind: str
    shape: tuple[int, int, int]
    statistics: NDArray[np.float32]
    group: list[str] = field(default_factory=list)
    limits: tuple[float, float] | None = None
    """The range that colours span instead of each map's own: changes of a mask are drawn over -1 to 1."""
    shares: list[str] = field(default_factory=list)
    """Layers whose maps of the same channel are drawn over one range with this one's, so that they compare."""
    base: str = ""
    """The layer whose channels this one sums up."""
    labels: list[str] = field(default_factory=list)
    """The title of each channel of a summary."""
    mask: str = ""
    """`probability` or `logits` where the layer is a mask; empty where it is not."""
    photo: str = ""
    """Which of the scene's other photos lies under its maps; empty for the scene's own."""
    taps: bool = False
    """Whether its cells are the taps of a kernel, which lie nowhere in the photo: no pin is drawn there."""
    planes: dict[int, Plane] = field(default_factory=dict)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest finite value over all channels."""
        return float(self.statistics[0].min()), float(self.statistics[1].max())

    def order(self, sort: str) -> NDArray[np.intp]:
        """The channels as the atlas shows them: by a statistic, largest first, or by `index`."""
        if sort == "index":
            return np.arange(self.shape[0])
        return rank(self.statistics[STATISTICS.index(sort)])

    def describe(self) -> dict[str, Any]:
        """The layer in the terms of the page."""
        channels, height, width = self.shape
        return {
            "name": self.name,
            "title": self.title,
            "note": self.note,
            "kind": self.kind,
            "channels": channels,
            "height": height,
            "width": width,
            "range": list(self.range),
            **({"group": self.group} if self.group else {}),
            **({"limits": list(self.limits)} if self.limits else {}),
            **({"shares": self.shares} if self.shares else {}),
            **({"photo": self.photo} if self.photo else {}),
            **({"mask": self.mask} if self.mask else {}),
            **({"taps": True} if self.taps else {}),
            **({"base": self.base} if self.base else {}),
            **({"labels": self.labels} if self.labels else {}),
        }


@dataclass
class Scene:
    """One view. `photo` is the backdrop, uint8 (H, W, 3); `size` is the photo's own (height, width), whose pixels
    count positions.

    `rows` are (title, [layer name or None, ...]) under the headings `columns`. `recompute(name)` gives the maps of a
    layer (C, h, w) again, for channels that were not kept.
    """

    view: str
    title: str
    question: str
    photo: NDArray[np.uint8]
    size: tuple[int, int] = (0, 0)
    focus: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[str, list[str | None]]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    agreement: str = ""
    what: str = "photo"
    extra: dict[str, Any] = field(default_factory=dict)
    photos: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Other photos of the same shape, by name, for layers that say so."""
    layers: dict[str, Layer] = field(default_factory=dict)
    recompute: Callable[[str], NDArray[np.floating]] | None = None
    postponed: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Layers without maps until `fill`, with the function that puts them in."""

    def __post_init__(self) -> None:
        self.size = self.size if all(self.size) else self.photo.shape[:2]

    def titled(self, ablated: list[str]) -> str:
        """The title with what is switched off, in words."""
        titles = {option["value"]: option["title"] for option in self.extra.get("switches", {}).get("options", [])}
        parts = [entry.partition("#") for entry in ablated]
        off = [titles.get(name, name) + (f", channel {channel}" if channel else "") for name, _, channel in parts]
        return f"{self.title} · without {'; '.join(off)}" if off else self.title

    def channel_name(self, layer: Layer, channel: int) -> str:
        """A channel in words: in a film, the step that it shows. The twin of `channelName` in `static/look.js`."""
        if not self.extra.get("linked"):
            return f"channel {channel}"
        constant = "the same at all steps" if layer.shape[0] == 1 else f"step {channel}"
        return layer.labels[channel] if layer.labels else constant

    def group_of(self, name: str) -> list[str]:
        """The layers shown side by side when this one is in focus."""
        return self.layers[name].group or [name]

    def add(
        self,
        name: str,
        maps: NDArray[np.floating],
        kind: str = "signed",
        title: str = "",
        note: str = "",
        mask: NDArray[np.floating] | None = None,
        keep: int | None = None,
        group: list[str] | None = None,
        channels: Iterable[int] | None = None,
        limits: tuple[float, float] | None = None,
        shares: list[str] | None = None,
        as_mask: str = "",
    ) -> Layer:
        """Put a layer in: maps (C, h, w), of which the `keep` most detailed channels are kept, or those named.

        `as_mask` is `probability` or `logits` where it is a mask.
        """
        maps = np.asarray(maps)
        if maps.ndim != 3 or 0 in maps.shape:
            raise ValueError(f"The maps of a layer are (C, H, W) with at least one value. {name!r} has {maps.shape}.")
        if kind not in KINDS:
            raise ValueError(f"A layer is {', '.join(KINDS)}. Got {kind!r}.")
        maps = maps.astype(np.float32, copy=False)
        layer = Layer(name, title or name, note, kind, maps.shape, channel_statistics(maps, mask), group or [])
        layer.limits, layer.shares, layer.mask = limits, shares or [], as_mask
        for channel in layer.order("detail")[:keep] if channels is None else channels:
            layer.planes[int(channel)] = quantise(maps[channel])
        self.layers[name] = layer
        return layer

    def add_pictures(
        self, name: str, base: str, pictures: dict[str, NDArray[np.uint8]], title: str, note: str
    ) -> Layer:
        """Put pictures (h, w, 3) that sum up the channels of the layer `base` in, by label."""
        height, width = next(iter(pictures.values())).shape[:2]
        statistics = np.zeros((len(STATISTICS), len(pictures)), np.float32)
        layer = Layer(name, title, note, COLOUR, (len(pictures), height, width), statistics)
        layer.base, layer.labels = base, list(pictures)
        layer.planes = {i: encode_picture(picture) for i, picture in enumerate(pictures.values())}
        self.layers[name] = layer
        return layer

    def postpone(self, layers: list[Layer], compute: Callable[[], None]) -> None:
        """Put layers in of which only the description is known; `compute` puts them in again with their maps."""
        for layer in layers:
            self.layers[layer.name] = layer
            self.postponed[layer.name] = compute

    def fill(self, name: str) -> None:
        """Compute a layer that was postponed, and those that are computed with it."""
        compute = self.postponed.get(name)
        if compute is not None:
            compute()
            self.postponed = {other: task for other, task in self.postponed.items() if task is not compute}

    def share(self, other: "Scene") -> None:
        """Use the other scene's memory for what is the same in both, to the last bit."""
        if np.array_equal(self.photo, other.photo):
            self.photo = other.photo
        for name, layer in self.layers.items():
            known = other.layers[name].planes if name in other.layers else {}
            for channel in layer.planes.keys() & known.keys():
                mine, twin = layer.planes[channel], known[channel]
                if (mine.lo, mine.hi) == (twin.lo, twin.hi) and np.array_equal(mine.codes, twin.codes):
                    layer.planes[channel] = twin

    def restore(self, described: dict[str, Any], statistics: NDArray[np.float32]) -> None:
        """Put a layer in from its description and statistics, without maps."""
        shape = (described["channels"], described["height"], described["width"])
        group = described.get("group", [])
        name, title, note, kind = (described[key] for key in ("name", "title", "note", "kind"))
        layer = self.layers[name] = Layer(name, title, note, kind, shape, statistics, group)
        if described.get("limits"):
            layer.limits = (described["limits"][0], described["limits"][1])
        layer.shares = described.get("shares", [])
        layer.photo, layer.mask = described.get("photo", ""), described.get("mask", "")
        layer.taps = described.get("taps", False)
        layer.base, layer.labels = described.get("base", ""), described.get("labels", [])

    def plane(self, name: str, channel: int) -> Plane:
        """One map. Channels that were not kept are computed again; `ValueError` where that is not possible."""
        return self.fetch(name, [channel])[channel]

    def fetch(self, name: str, channels: Iterable[int]) -> dict[int, Plane]:
        """Maps of one layer by channel, with at most one new computation."""
        self.fill(name)
        layer = self.layers[name]
        channels = list(channels)
        if bad := [c for c in channels if not 0 <= c < layer.shape[0]]:
            raise ValueError(f"{name} has channels 0 to {layer.shape[0] - 1}. Got {bad[0]}.")
        found = {c: layer.planes[c] for c in channels if c in layer.planes}
        missing = [c for c in channels if c not in found]
        if missing:
            if self.recompute is None:
                raise ValueError(
                    f"Channel {missing[0]} of {name} was not kept in this view. Make the view again to see it."
                )
            maps = self.recompute(name)
            found |= {c: quantise(maps[c]) for c in missing}
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that the scene keeps."""
        planes = sum(plane.codes.nbytes for layer in self.layers.values() for plane in layer.planes.values())
        return planes + sum(layer.statistics.nbytes for layer in self.layers.values()) + self.photo.nbytes

    def describe(self) -> dict[str, Any]:
        """The view without its numbers, as JSON values."""
        height, width = self.size
        return {
            "version": 1,
            "view": self.view,
            "title": self.title,
            "question": self.question,
            "image": {"width": width, "height": height, "what": self.what},
            "focus": self.focus or next(iter(self.layers)),
            "layers": [layer.describe() for layer in self.layers.values()],
            "columns": self.columns,
            "rows": [{"title": title, "cells": names} for title, names in self.rows],
            "facts": self.facts,
            "agreement": self.agreement,
            "colormaps": list(COLOUR_MAPS),
            **self.extra,
        }

    def pack(
        self, budget: float = 5 * MIB, always: dict[str, list[int]] | None = None
    ) -> tuple[list[dict[str, Any]], bytes]:
        """The parts of the view and one buffer with all of them: photo, statistics, and planes up to `budget`.

        The first channel of each layer goes in whatever the budget, and so do the channels in `always` (by layer) that
        can be had. Layers that were postponed go in without maps.
        """
        packer = Packer()
        packer.add({"kind": "photo", "type": "image/jpeg"}, encode_photo(self.photo))
        for name, photo in self.photos.items():
            packer.add({"kind": "photo", "type": "image/jpeg", "name": name}, encode_photo(photo))
        shapes = {name: layer.shape for name, layer in self.layers.items() if name not in self.postponed}
        counts = count_channels(shapes, budget)
        for layer in self.layers.values():
            packer.add({"kind": "statistics", "layer": layer.name}, layer.statistics.tobytes())
            if layer.name in self.postponed:
                continue
            chosen = list(layer.planes)[: counts[layer.name]]
            for wanted in (always or {}).get(layer.name, []):
                there = wanted in layer.planes or self.recompute is not None
                if wanted < layer.shape[0] and there and wanted not in chosen:
                    chosen.append(wanted)
            for channel, plane in self.fetch(layer.name, chosen).items():
                packer.add_plane(layer.name, channel, plane)
        return packer.parts, packer.buffer()
