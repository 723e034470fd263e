"""Attribution view: which pixels the mask depends on, by four methods of captum."""

from collections.abc import Generator
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.attribution import Estimate, agreement, possible_methods, refine
from widgets.number_format import MINUS
from widgets.view_registry import register
from widgets.view_setup import Size, cell_at_pin, fit_mask, new_scene, reference_mask, run
from widgets.viewer import Viewer

__all__ = ["attribution"]


def attribution(model: nn.Module, image: Any, mask: Any = None, size: Size = None, steps: int = 8) -> Viewer:
    """Which pixels speak for the mask? Attributions by captum, for the whole mask or around the pinned pixel.

    Integrated gradients, layer GradCAM, occlusion, and guided backprop where the network has ReLUs. The table says how
    far each agrees with `mask` (or the predicted one). Click to explain the mask near a pixel, press Region and drag to
    draw a region (`viewer.region`, [left, top, right, bottom]). The last of the two counts; Esc takes the pin away.

    Integrated gradients and occlusion show a first estimate and refine it in the background until they are done,
    another place is chosen, or Stop is pressed. A map's note says how far it is, and the share of the gain that it sums
    up to: the gain is what the mask's logits have more than for an image without content.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> view = attribution(model, photo, mask, size=64)
        >>> [row["cells"][0] for row in view.table["rows"]]
        ['Integrated gradients', 'Layer GradCAM', 'Occlusion', 'Guided backprop']
    """
    activations = run(model, image, size, layers=["logits"])
    prepared = prepare(model, image, size)
    question = "Which pixels speak for the mask?"
    scene = new_scene("attribution", "Attribution", question, activations, model)
    methods = possible_methods(model)
    reference, which = reference_mask(activations, mask)
    reference = fit_mask(reference, *activations.mask.shape)
    scene.columns = [*map(_title, methods), "Explained\nregion"]
    scene.rows = [("Pixels", [*methods, "region"])]
    scene.focus = "layer GradCAM"
    found: dict[str, dict[str, float]] = {}
    # A click asks for the method in focus only; another one is run when it is chosen.
    stale: set[str] = set()
    unfinished: set[str] = set()

    def fill(method: str, estimate: Estimate) -> None:
        kind = "positive" if method == "layer GradCAM" else "signed"
        scene.add(method, estimate.values[None], kind, _title(method), _describe(estimate))
        found[method] = agreement(estimate.values, reference)

    def estimates(viewer: Viewer, method: str, region: NDArray[np.float32]) -> Generator[str, None, None]:
        unfinished.add(method)
        for estimate in refine(model, prepared, method, region, steps=steps):
            fill(method, estimate)
            stale.discard(method)
            show(viewer, method)
            yield f"{_title(method)}: {_describe(estimate)}"
        unfinished.discard(method)

    def show(viewer: Viewer, *changed: str) -> None:
        viewer.replace(list(changed))
        viewer.stale = [name for name in methods if name in stale]
        viewer.table = table()

    def table() -> dict[str, Any]:
        rows = [
            {"cells": [_title(name), *(["…"] * 4 if name in stale else _format_scores(found[name]))], "layer": name}
            for name in methods
        ]
        columns = ["Method", "inside the mask", "over chance", "correlation", "peak inside"]
        return {"caption": f"Agreement with the {which}", "columns": columns, "rows": rows}

    def show_region(region: NDArray[np.float32]) -> None:
        scene.add("region", region[None], "unit", "The region that is explained", "the predicted mask in it")

    # The fastest method first, so that there is something to see at once; the others run when they are chosen.
    for estimate in refine(model, prepared, scene.focus, activations.mask):
        fill(scene.focus, estimate)
    for method in methods:
        if method != scene.focus:
            empty = np.zeros((1, *activations.mask.shape), np.float32)
            scene.add(method, empty, "signed", _title(method), "not computed yet: choose it")
            stale.add(method)
    show_region(activations.mask)

    def react(viewer: Viewer, changed: str) -> None:
        if changed in ("ablated", "controls"):
            return
        # The last gesture wins: a region takes the pin away, and a pin the region.
        if changed == "region" and viewer.region:
            with viewer.without_reaction():
                viewer.pin = []
        elif changed == "pin" and viewer.pin:
            with viewer.without_reaction():
                viewer.region = []
        region, box = _choose_region(viewer, activations.mask)
        if changed != "layer":
            viewer.stop()
            stale.update(methods)
            viewer.marks = [] if box is None else [{"kind": "box", "tone": "two", **box}]
            show_region(region)
            show(viewer, "region")
        if viewer.layer in stale | unfinished:
            viewer.refine(estimates(viewer, viewer.layer, region))

    scene.extra |= {"regions": True}
    viewer = Viewer(scene, reaction=react, table=table())
    viewer.stale = [name for name in methods if name in stale]
    return register(viewer)


def _title(method: str) -> str:
    return method[0].upper() + method[1:]


def _describe(estimate: Estimate) -> str:
    share = "" if estimate.share is None else f"{estimate.share:.0%} of the gain".replace("-", MINUS)
    return ", ".join(part for part in (share, estimate.said) if part) or "what speaks for the mask in the region"


def _format_scores(scores: dict[str, float]) -> list[str]:
    return [f"{value:.3f}".replace("-", MINUS) for value in scores.values()]


def _choose_region(viewer: Viewer, mask: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[str, float] | None]:
    """The mask inside what was chosen, and that box in the photo's pixels.

    A pin chooses the square around it, a quarter of the shorter side wide; without one a drawn region counts, and
    without that the whole mask.
    """
    height, width = mask.shape
    down, across = viewer.source.size[0] / height, viewer.source.size[1] / width
    if viewer.pin:
        row, column = cell_at_pin(viewer, height, width)
        reach = max(1, min(height, width) // 8)
        top, left, bottom, right = row - reach, column - reach, row + reach + 1, column + reach + 1
    elif viewer.region:
        x0, y0, x1, y1 = viewer.region
        top, left, bottom, right = int(y0 / down), int(x0 / across), ceil(y1 / down), ceil(x1 / across)
    else:
        return mask, None
    top, left, bottom, right = max(0, top), max(0, left), min(height, bottom), min(width, right)
    region = np.zeros_like(mask)
    region[top:bottom, left:right] = np.maximum(mask[top:bottom, left:right], 1e-3)
    box = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
    return region, box
