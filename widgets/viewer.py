"""The widget `Viewer`: sends a scene to the page, follows the user's choices, and answers requests for more maps.

Everything it shows is computed elsewhere.
"""

import base64
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from widgets.background import Background
from widgets.front_end import CODE, STYLE
from widgets.look import Look
from widgets.packing import MIB, Packer
from widgets.scene import Scene
from widgets.synced_state import BESIDE, SyncedState

__all__ = ["Answer", "Reaction", "Viewer"]

#: Called in the kernel when `pin`, `layer`, `ablated` or `controls` changes, with the viewer and the trait's name.
Reaction = Callable[["Viewer", str], None]

#: Called for a message of one type from the page, with the viewer and the message.
Answer = Callable[["Viewer", dict[str, Any]], None]

#: Bytes of maps in an exported view: as text they take a third more, so that a page with a table stays below 8 MiB.
PAGE = 4.25 * MIB

#: The message of a view whose maps the kernel no longer keeps.
RETIRED = "A newer view took this one's place, so the kernel no longer keeps its maps. Run its cell again."


def _shown(scene: Scene, look: Look) -> dict[str, list[int]]:
    """The channels that a page shows, by layer: in a film, two steps of every map."""
    if not scene.extra.get("linked"):
        return {name: [channel] for name, channel in look.channels.items()}
    steps = [look.channel, look.channels.get("beside", look.channel)]
    return {name: [min(step, layer.shape[0] - 1) for step in steps] for name, layer in scene.layers.items()}


class Viewer(SyncedState):
    """A view of a scene. Made by the functions of `widgets`, not by hand."""

    _esm = CODE
    _css = STYLE

    def __init__(
        self,
        source: Scene,
        look: Look | None = None,
        reaction: Reaction | None = None,
        answers: dict[str, Answer] | None = None,
        repaint: Callable[["Viewer"], None] | None = None,
        **traits: Any,
    ) -> None:
        self.source = source
        self.answers = answers or {}
        self.repaint = None
        if repaint is not None:
            source.extra = {**source.extra, "brush": True}
        self.reaction = None
        self.retired = False
        self._background: Background | None = None
        if reaction is not None:
            source.extra = {**source.extra, "reacts": True}
        description = source.describe()
        if look is None:
            channels = {name: next(iter(layer.planes), 0) for name, layer in source.layers.items()}
            look = Look(description["focus"], channels[description["focus"]], channels)
        parts, blob = source.pack(always=_shown(source, look))
        super().__init__(scene=description, parts=parts, blob=blob, **look.to_dict(), **traits)
        self.on_msg(self._receive)
        # From here on: while the traits are first set there is nothing yet to react to.
        self.reaction, self.repaint = reaction, repaint
        self._complete_later()

    @traitlets.observe("pin", "layer", "ablated", "controls", "region")
    def _react(self, change: dict[str, Any]) -> None:
        reaction = self.reaction
        if reaction is not None:
            self._attempt(lambda: reaction(self, change["name"]))

    @traitlets.observe("strokes")
    def _paint(self, _change: dict[str, Any]) -> None:
        repaint = self.repaint
        if repaint is not None:
            self._attempt(lambda: repaint(self))

    def _attempt(self, compute: Callable[[], None]) -> None:
        """Compute, with a word on the page meanwhile; an error is shown there."""
        try:
            self.error = ""
            self.working("Computing …", compute)
        except Exception as error:
            self.report(error)

    @contextmanager
    def without_reaction(self) -> Iterator[None]:
        """Set traits without computing what follows from them."""
        reaction, self.reaction = self.reaction, None
        try:
            yield
        finally:
            self.reaction = reaction

    # ---- messages from the page ----

    def _receive(self, _widget: Any, message: dict[str, Any], _buffers: list[Any]) -> None:
        # Without this, the message would be lost: no cell is running that could show it.
        try:
            self.handle(message)
        except Exception as error:
            self.report(error)

    def handle(self, message: dict[str, Any]) -> None:
        """Answer the page: `received` (the first maps arrived), `hello` (it has none), `planes` (it wants more), `stop`
        (what runs in the background).
        """
        kind = message.get("type")
        if kind == "received":
            # The page keeps the maps; a second copy in the kernel would only take room. Not synced: the page's must
            # stay.
            self._trait_values["blob"] = b""
        elif kind == "stop":
            self.stop()
        elif self.retired:
            self.send({"type": "parts", "parts": [], "refused": [], "problem": RETIRED})
        elif kind == "hello":
            parts, blob = self.source.pack(always=_shown(self.source, self.look))
            self.send({"type": "parts", "parts": parts}, [blob])
        elif kind == "planes":
            self._send_planes(
                str(message["layer"]), [int(c) for c in message["channels"]], bool(message.get("compute"))
            )
        elif kind in self.answers:
            self.answers[kind](self, message)

    def _send_planes(self, name: str, channels: list[int], compute: bool) -> None:
        layer = self.source.layers[name]
        kept, described = channels, []
        packer, problem = Packer(), ""
        try:
            self._fill_layer(name)
            layer = self.source.layers[name]
            kept = [c for c in channels if compute or c in layer.planes]
            if layer.base:  # of layers that were postponed, the page has no numbers yet
                described = [layer.describe()]
                packer.add({"kind": "statistics", "layer": name}, layer.statistics.tobytes())
            if all(c in layer.planes for c in kept):
                found = self.source.fetch(name, kept)
            else:
                found = self.working(
                    f"Running the model again for: {layer.title} …", lambda: self.source.fetch(name, kept)
                )
            for channel, plane in found.items():
                packer.add_plane(name, channel, plane)
        except Exception as error:
            kept, problem = [], f"{type(error).__name__}: {error}"
        refused = [[name, c] for c in channels if c not in kept]
        message = {"type": "parts", "parts": packer.parts, "layers": described, "refused": refused, "problem": problem}
        self.send(message, [packer.buffer()])

    def _complete_later(self) -> None:
        if self.source.postponed:
            self.refine(self._fill())

    def complete(self) -> None:
        """Compute now what was postponed until the view is shown."""
        for _ in self._fill():
            pass

    def _fill(self) -> Generator[str, None, None]:
        yield ""  # the view is shown first
        while self.source.postponed:
            self._fill_layer(next(iter(self.source.postponed)))
            yield ""

    def _fill_layer(self, name: str) -> None:
        """Compute a layer if it was postponed."""
        if name in self.source.postponed:
            self.source.fill(name)
            self._trait_values["scene"] = self.source.describe()  # not synced: that would build the page anew

    def replace(self, names: list[str]) -> None:
        """Show new numbers: these layers of the scene were put in again, in the same shapes."""
        described = self.source.describe()
        self._trait_values["scene"] = described  # not synced: that would build the page anew
        if self.blob:
            # The page has not come for its maps yet: let it find these.
            with self.hold_sync():
                self.parts, self.blob = self.source.pack(always=_shown(self.source, self.look))
        packer = Packer()
        for name in names:
            layer = self.source.layers[name]
            packer.add({"kind": "statistics", "layer": name}, layer.statistics.tobytes())
            for channel, plane in layer.planes.items():
                packer.add_plane(name, channel, plane)
        layers = [layer for layer in described["layers"] if layer["name"] in names]
        message = {"type": "parts", "parts": packer.parts, "replaced": names, "layers": layers}
        self.send(message, [packer.buffer()])

    def renew(self) -> None:
        """Show another photo and new numbers in all layers."""
        described = self.source.describe()
        self._trait_values["scene"] = described  # not synced: that would build the page anew
        parts, blob = self.source.pack(always=_shown(self.source, self.look))
        if self.blob:
            # The page has not come for its maps yet: let it find these.
            with self.hold_sync():
                self.parts, self.blob = parts, blob
        message = {"type": "parts", "parts": parts, "renewed": True}
        names = [layer["name"] for layer in described["layers"]]
        self.send({**message, "replaced": names, "layers": described["layers"]}, [blob])
        self._complete_later()

    def choose_channels(self, channels: dict[str, int]) -> None:
        """Choose channels of several layers at once."""
        with self.hold_sync():
            self.channels = {**self.channels, **channels}
            self.channel = self.channels.get(self.layer, 0)

    def working(self, what: str, task: Callable[[], Any]) -> Any:
        """Run something slow while the view says so."""
        self.busy = what
        try:
            return task()
        finally:
            self.busy = ""

    def refine(self, steps: Generator[str, None, None]) -> None:
        """Run the first step of a computation now, and the others between the messages of the page.

        Each step yields how far it is, for the page. It ends what was begun before.
        """
        self.stop()
        self._background = Background(steps, lambda text: setattr(self, "progress", text), self.report)
        self._background.start()

    def stop(self) -> None:
        """End what runs in the background; what it has shown stays."""
        if self._background is not None:
            self._background.stop()
            self._background = None

    def report(self, error: BaseException) -> None:
        """Show an error in the view: what went wrong, and where."""
        where = traceback.extract_tb(error.__traceback__)
        place = f"\n(in {where[-1].name}, line {where[-1].lineno})" if where else ""
        self.error = f"{type(error).__name__}: {error}{place}"

    # ---- taking it away ----

    def picture(self, width: int = 1200) -> NDArray[np.uint8]:
        """The same view as an array (H, W, 3), drawn in Python: what a notebook shows where no widget can run."""
        from widgets.picture import draw

        self._whole()
        for name in self.source.group_of(self.layer):
            self._fill_layer(name)
        return draw(self.source, self.look, width, self.table, self.marks, self.league)

    def state(self, budget: float = PAGE) -> dict[str, Any]:
        """Everything needed to open this view again, as JSON values: what is looked at, the scene and up to `budget`
        bytes of maps.
        """
        self._whole()
        self.complete()
        parts, blob = self.source.pack(budget, always=_shown(self.source, self.look))
        return {
            "version": 1,
            "scene": self.scene,
            "titled": self.source.titled(self.ablated),
            "look": self.look.to_dict(),
            **{name: getattr(self, name) for name in BESIDE},
            "parts": parts,
            "blob": base64.b64encode(blob).decode("ascii"),
        }

    def to_html(self, path: str | PathLike[str], budget: float = PAGE) -> None:
        """Write one page that shows this view offline, with no kernel and no request.

        `budget` bounds the bytes of its maps.
        """
        from widgets.html_page import write_page

        write_page(path, self.state(budget), self._esm, self._css)

    def share_blob(self, other: "Viewer") -> None:
        """Use the other view's memory for what is on its way to the page; the two must be equal. Nothing is sent."""
        self._trait_values["blob"] = other.blob

    def retire(self) -> None:
        """Free what the kernel keeps for this view. The page still shows the maps it has, and says what to do."""
        self.stop()
        if self.comm is not None and not self.retired:
            self.live, self.error = False, RETIRED
        self.source.layers.clear()
        self.source.postponed.clear()
        self.source.photo = np.zeros((1, 1, 3), np.uint8)
        self.source.recompute = self.reaction = None
        self.retired = True
        self._trait_values |= {"blob": b"", "parts": []}

    def _whole(self) -> None:
        if self.retired:
            raise ValueError(RETIRED)

    def close(self) -> None:
        """Take the view away and free what it holds."""
        self.retire()
        super().close()

    def __repr__(self) -> str:
        # The default repr holds an address, which makes every run of a notebook differ.
        shown = f"step={self.step}, beside={self.beside}" if "curves" in self.scene else f"channel={self.channel}"
        return f"Viewer({self.scene.get('title')!r}, layer={self.layer!r}, {shown})"
