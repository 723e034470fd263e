"""Open a saved view again, show it as a framed page, and show its picture."""

import base64
import html
import io
import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from widgets.channel_ranking import STATISTICS
from widgets.html_page import format_page
from widgets.look import Look
from widgets.planes import Plane
from widgets.scene import Scene
from widgets.synced_state import BESIDE
from widgets.viewer import Viewer

__all__ = ["framed", "scene_from_state", "show", "static"]


def show(state: dict[str, Any] | str | PathLike[str]) -> Viewer:
    """Open a view from `viewer.state()`, or from a file that Save state wrote.

    It needs no model and shows the maps it holds.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> from widgets import feature_pyramid
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> state = feature_pyramid(model, photo, size=64).state(budget=100_000)
        >>> show(state)
        Viewer('Feature pyramid', layer='encoder.full.x1', channel=24)
    """
    if not isinstance(state, dict):
        try:
            state = json.loads(Path(state).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{str(state)!r} is not a saved view: {error}.") from error
    if not isinstance(state, dict) or state.get("version") != 1 or not {"scene", "look", "parts", "blob"} <= set(state):
        raise ValueError("This is not a saved view. viewer.state() gives one, and so does Save state in a view.")
    scene = scene_from_state(state)
    look = Look(**state["look"])
    # Nothing can be computed again: the page treats it like one without a kernel.
    return Viewer(scene, look, live=False, **{name: state[name] for name in BESIDE if state.get(name)})


def scene_from_state(state: dict[str, Any]) -> Scene:
    """The scene that a state holds: its maps are planes again, without the model that made them."""
    described, blob = state["scene"], base64.b64decode(state["blob"])
    known = {"version", "view", "title", "question", "image", "focus", "layers", "columns", "rows", "facts"}
    known |= {"agreement", "colormaps"}
    scene = Scene(
        view=described["view"],
        title=described["title"],
        question=described["question"],
        photo=np.zeros((1, 1, 3), np.uint8),
        size=(described["image"]["height"], described["image"]["width"]),
        focus=described["focus"],
        columns=described["columns"],
        rows=[(row["title"], row["cells"]) for row in described["rows"]],
        facts=described["facts"],
        agreement=described["agreement"],
        what=described["image"]["what"],
        extra={name: value for name, value in described.items() if name not in known},
    )
    data, channels = {}, {layer["name"]: layer["channels"] for layer in described["layers"]}
    for part in state["parts"]:
        raw = blob[part["offset"] : part["offset"] + part["length"]]
        if part["kind"] == "photo":
            photo = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
            if part.get("name"):
                scene.photos[part["name"]] = photo
            else:
                scene.photo = photo
        elif part["kind"] == "statistics":
            rows = np.frombuffer(raw, np.float32).reshape(-1, channels[part["layer"]])
            missing = len(STATISTICS) - len(rows)  # an older view has fewer: its channels stay in order
            data[part["layer"]] = np.pad(rows, ((0, missing), (0, 0)))
    for layer in described["layers"]:
        scene.restore(layer, data[layer["name"]])
    for part in state["parts"]:
        if part["kind"] == "plane":
            raw = blob[part["offset"] : part["offset"] + part["length"]]
            codes = np.frombuffer(raw, "<u2").reshape(part["height"], part["width"])
            scene.layers[part["layer"]].planes[part["channel"]] = Plane(codes, part["lo"], part["hi"])
    return scene


def framed(viewer: Viewer, height: int = 720, budget: float = 4 * 2**20) -> None:
    """Show the view as a page in a frame, for places where widgets do not run, such as Kaggle.

    It answers to the pointer and shows the maps that it holds, but computes nothing again. It is kept in the notebook.

    Args:
        viewer: The view.
        height: Of the frame, in pixels.
        budget: Most bytes of its maps; what is over it is left out.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> from widgets import feature_pyramid
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> framed(feature_pyramid(model, photo, size=64))  # doctest: +SKIP
    """
    from IPython.display import display

    page = html.escape(format_page(viewer.state(budget), viewer._esm, viewer._css))
    title = html.escape(viewer.scene["title"])
    # Its scripts run, and see nothing of the page around them.
    frame = f'<iframe srcdoc="{page}" title="{title}" sandbox="allow-scripts allow-downloads"'
    style = f'style="width:100%;height:{int(height)}px;border:0"'
    data = {"text/html": f"{frame} {style}></iframe>", "text/plain": f"The view {viewer.scene['title']!r} as a page."}
    display(data, raw=True)


def static(viewer: Viewer, width: int = 1200) -> None:
    """Show the view's picture as an output of its own, with a text in its place for those who cannot see it.

    A notebook that is reopened without running has no widget, but it has this picture.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> from widgets import feature_pyramid
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> static(feature_pyramid(model, photo, size=64))  # doctest: +SKIP
    """
    from IPython.display import display

    stream = io.BytesIO()
    picture = viewer.picture(width)
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    shown = viewer.source.layers[viewer.layer]
    of = "" if viewer.source.extra.get("linked") else f" of {shown.shape[0]}"
    channel = f", {viewer.source.channel_name(shown, viewer.channel)}{of}" if shown.shape[0] > 1 else ""
    question = viewer.scene["question"]
    stop = "" if question.endswith((".", "?", "!")) else "."
    data = {
        "image/png": base64.b64encode(stream.getvalue()).decode("ascii"),
        "text/plain": f"Picture of the view {viewer.scene['title']!r}: {question}{stop} "
        f"In front: {shown.title}{channel}.",
    }
    metadata = {"image/png": {"width": width // 2 if width > 1600 else width, "alt": data["text/plain"]}}
    display(data, metadata=metadata, raw=True)
