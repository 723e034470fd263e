"""Receptive field view: the region of the photo that one cell of a layer depends on."""

from typing import Any

import numpy as np
from torch import nn

from birefnet_lite.analysis import capture, prepare, receptive
from widgets.number_format import TIMES
from widgets.view_setup import Size, add_layers, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer
from widgets.views.feature_pyramid import pyramid_columns, pyramid_rows

__all__ = ["receptive_field"]


def receptive_field(model: nn.Module, image: Any, size: Size = None) -> Viewer:
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
        row, column = cell_at_pin(viewer, height, width)
        field = receptive.receptive_field(model, prepared, layer, row, column)
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

    return start_at_middle(Viewer(scene, reaction=react))
