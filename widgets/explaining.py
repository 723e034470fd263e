"""Why the mask is what it is: parts switched off, receptive fields, attributions."""

from contextlib import ExitStack
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import from_numpy, nn

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import HOW, ablatable, ablate
from birefnet_lite.analysis.attribution import agreement, attribute, possible_methods
from birefnet_lite.analysis.inputs import Prepared
from birefnet_lite.analysis.receptive import receptive_field
from birefnet_lite.inference.predict import evaluating
from birefnet_lite.metrics import iou, mae, s_measure
from widgets.building import Size, add_layers, as_mask, fit_mask, new_scene, pinned, reference_mask, run, started
from widgets.memory import register
from widgets.numbers import MINUS, TIMES
from widgets.pyramid import pyramid_columns, pyramid_rows
from widgets.viewer import Viewer

__all__ = ["ablation", "attribution", "receptive_field_view"]


def ablation(model: nn.Module, image: Any, mask: Any = None, size: Size = None) -> Viewer:
    """What is each part good for? Switch parts off and see the mask, its change and its scores.

    Parts are switched off by `zero`, by their `mean`, or `resample`d (their values in other places). Without a `mask`,
    scores compare with the whole network's own mask. `viewer.ablated` takes layer names; `name#3` is channel 3 alone.
    """
    activations = run(model, image, size, layers=["logits"])
    prepared = prepare(model, image, size)
    question = "What does the mask lose without this part?"
    scene = new_scene("ablation", "Ablation", question, activations, model)
    before = activations.mask
    truth = before if mask is None else fit_mask(as_mask(mask), *before.shape)
    scene.columns = ["Whole\nnetwork", "Without\nthe parts", "Change"]
    scene.rows = [("Mask", ["whole", "without", "change"])]
    scene.extra = {
        "switches": {"label": "Switch off", "options": ablatable(model)},
        "choices": [{"name": "how", "label": "How", "options": list(HOW)}],
    }
    scene.add("whole", before[None], "unit", "Mask of the whole network")

    def fill(after: NDArray[np.float32]) -> None:
        scene.add("without", after[None], "unit", "Mask without the parts that are off")
        scene.add("change", (after - before)[None], "signed", "Change of the mask", "red became more, blue less")

    fill(before)
    scene.focus = "without"

    def react(viewer: Viewer, changed: str) -> None:
        if changed not in ("ablated", "controls"):
            return
        after = without(model, prepared, viewer.ablated, viewer.controls.get("how", "zero"))
        fill(after)
        viewer.replace(["without", "change"])
        viewer.table = _scores(before, after, truth, mask is not None)

    table = _scores(before, before, truth, mask is not None)
    return register(Viewer(scene, reaction=react, controls={"how": "zero"}, table=table))


def without(model: nn.Module, prepared: Prepared, layers: list[str], how: str) -> NDArray[np.float32]:
    """The soft mask (H, W) of a model some of whose layers are off; `name#3` is channel 3 of a layer."""
    with ExitStack() as stack:
        for entry in layers:
            layer, _, channel = entry.partition("#")
            stack.enter_context(ablate(model, layer, int(channel) if channel else None, how))
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        output = model(prepared.tensor)
    logits = output if isinstance(output, torch.Tensor) else output[-1]
    return logits[0, 0].float().sigmoid().cpu().numpy()


def _scores(
    before: NDArray[np.float32], after: NDArray[np.float32], truth: NDArray[np.float32], given: bool
) -> dict[str, Any]:
    target = from_numpy(truth.copy()) > 0.5
    rows = []
    for name, shown in (("Whole network", before), ("Without", after)):
        prediction = from_numpy(shown.copy())
        scores = [f"{float(score(prediction, target)):.4f}" for score in (mae, iou, s_measure)]
        rows.append({"cells": [name, *scores, f"{np.abs(shown - before).mean():.4f}"]})
    against = "the given mask" if given else "the whole network's own mask, over 0.5"
    columns = ["", "mean error", "IoU", "S-measure", "mean change"]
    return {"caption": f"Scores against {against}", "columns": columns, "rows": rows}


def receptive_field_view(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """How far does a unit see? Choose a layer, click a cell: its theoretical and its effective (gradient) field.

    The box is the theoretical field, with a status: exact, a bound (deformable taps or units that are off may widen
    it), or the whole image.
    """
    activations = run(model, image, size)
    prepared = prepare(model, image, size)
    question = "How far does a unit of this layer see?"
    scene = new_scene("receptive_field", "Receptive field", question, activations, model)
    scene.columns, scene.rows = pyramid_columns(), pyramid_rows(activations)
    names = [name for _, row in scene.rows for name in row if name]
    add_layers(scene, activations, names, None)
    scene.recompute = lambda name: capture(model, image, size, layers=[name])[name].numpy()
    empty = np.zeros((1, *prepared.seen.shape[:2]), np.float32)
    scene.add("field", empty, "positive", "Effective field of the cell", "size of its gradient")
    for name in names:
        scene.layers[name].group = [name, "field"]
    scene.layers["field"].group = ["field"]
    scene.focus = "encoder.full.x2" if "encoder.full.x2" in names else names[0]

    def react(viewer: Viewer, changed: str) -> None:
        layer = viewer.layer
        if changed not in ("pin", "layer") or layer == "field":
            return
        height, width = scene.layers[layer].shape[1:]
        row, column = pinned(viewer, height, width)
        field = receptive_field(model, prepared, layer, row, column)
        scene.add("field", field.effective[None], "positive", "Effective field of the cell", "size of its gradient")
        scene.layers["field"].group = ["field"]
        viewer.replace(["field"])
        rows, columns = scene.size
        seen_height, seen_width = prepared.seen.shape[:2]
        top, left, bottom, right = field.box
        down, across = rows / seen_height, columns / seen_width
        box = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
        viewer.marks = [{"kind": "box", "tone": "two", **box, "layers": ["field"]}]
        viewer.table = {
            "caption": f"The cell in row {row}, column {column} of {layer}",
            "columns": ["Field", "pixels of the network's image", "status"],
            "rows": [
                {"cells": ["Theoretical", f"{right - left} {TIMES} {bottom - top}", field.status]},
                {"cells": ["Effective, radius of 90 %", f"{field.spread:.1f}", "on this photo"]},
            ],
        }

    return started(Viewer(scene, reaction=react))


def attribution(model: nn.Module, image: Any, mask: Any = None, size: Size = None, steps: int = 8) -> Viewer:
    """Which pixels speak for the mask? Attributions by captum, for the whole mask or around the pinned pixel.

    Integrated gradients, layer GradCAM, occlusion, and guided backprop where the network has ReLUs. The table says how
    far each agrees with `mask` (or the predicted one). Click to explain the mask near a pixel, drag with Shift to draw
    a region (`viewer.region`, [left, top, right, bottom]); a pin comes first, Esc takes it away.
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
    scene.focus = methods[0]
    found: dict[str, dict[str, float]] = {}
    # A click asks for the method in focus only; another one is run when it is chosen.
    stale: set[str] = set()

    def fill(method: str, region: NDArray[np.float32]) -> None:
        values = attribute(model, prepared, method, region, steps=steps)
        kind = "positive" if method == "layer GradCAM" else "signed"
        scene.add(method, values[None], kind, _title(method), "what speaks for the mask in the region")
        found[method] = agreement(values, reference)

    def table() -> dict[str, Any]:
        rows = [
            {"cells": [_title(name), *(["…"] * 4 if name in stale else _written(found[name]))], "layer": name}
            for name in methods
        ]
        columns = ["Method", "inside the mask", "over chance", "correlation", "peak inside"]
        return {"caption": f"Agreement with the {which}", "columns": columns, "rows": rows}

    def show_region(region: NDArray[np.float32]) -> None:
        scene.add("region", region[None], "unit", "The region that is explained", "the predicted mask in it")

    for method in methods:
        fill(method, activations.mask)
    show_region(activations.mask)

    def react(viewer: Viewer, changed: str) -> None:
        if changed in ("ablated", "controls"):
            return
        region, box = _chosen(viewer, activations.mask)
        if changed != "layer":
            stale.update(methods)
            viewer.marks = [] if box is None else [{"kind": "box", "tone": "two", **box}]
            show_region(region)
            viewer.replace(["region"])
        if viewer.layer in stale:
            fill(viewer.layer, region)
            stale.discard(viewer.layer)
            viewer.replace([viewer.layer])
        viewer.table = table()

    scene.extra = {"regions": True}
    return register(Viewer(scene, reaction=react, table=table()))


def _title(method: str) -> str:
    return method[0].upper() + method[1:]


def _written(scores: dict[str, float]) -> list[str]:
    return [f"{value:.3f}".replace("-", MINUS) for value in scores.values()]


def _chosen(viewer: Viewer, mask: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[str, float] | None]:
    """The mask inside what was chosen, and that box in the photo's pixels.

    A pin chooses the square around it, a quarter of the shorter side wide; without one a drawn region counts, and
    without that the whole mask.
    """
    height, width = mask.shape
    down, across = viewer.source.size[0] / height, viewer.source.size[1] / width
    if viewer.pin:
        row, column = pinned(viewer, height, width)
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
