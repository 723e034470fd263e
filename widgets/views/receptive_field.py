"""Receptive field view: the region of the photo that one cell of a layer depends on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis import capture, prepare, receptive
from birefnet_lite.analysis.layer_names import title_of
from widgets.number_format import TIMES
from widgets.view_setup import Size, add_layers, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer
from widgets.views.feature_pyramid import pyramid_columns, pyramid_rows

__all__ = ["receptive_field"]

MEANING = {
    "exact": "exact",
    "bound": "an upper bound: moving taps and units that are off can change it",
    "whole image": "the whole image",
}


def receptive_field(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """How far does a unit see? Choose a layer, click a cell: its theoretical and its effective (gradient) field.

    The box is the theoretical field, with a status: exact, a bound (deformable taps or units that are off may widen
    it), or the whole image.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = receptive_field(model, photo, size=64)
        >>> view.layer = "encoder.full.x1"
        >>> view.table["rows"][0]["cells"]
        ['Theoretical (box)', '39 × 39', 'an upper bound: moving taps and units that are off can change it']
    """
    activations = run(model, image, size)
    prepared = prepare(model, image, size)
    question = "How far does a unit of this layer see?"
    scene = new_scene("receptive_field", "Receptive field", question, activations, model)
    scene.columns, scene.rows = pyramid_columns(), pyramid_rows(activations)
    names = [name for _, row in scene.rows for name in row if name]
    add_layers(scene, activations, names, None)
    scene.recompute = lambda name: capture(model, image, size, layers=[name])[name].numpy()
    empty = np.zeros(prepared.seen.shape[:2], np.float32)

    def add_field(values: NDArray[np.float32]) -> None:
        # A square root: most of the gradient lies on a few pixels, beside which the rest would be black.
        scene.add(
            "field",
            np.sqrt(values)[None],
            "unit",
            "Effective field of the cell",
            "square root of its gradient, 1 at most",
        )

    add_field(empty)
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
        add_field(field.effective)
        scene.layers["field"].group = ["field"]
        viewer.replace(["field"])
        rows, columns = scene.size
        seen_height, seen_width = prepared.seen.shape[:2]
        top, left, bottom, right = field.box
        down, across = rows / seen_height, columns / seen_width
        box = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
        y, x = field.centre
        circle = {"x": x * across, "y": y * down, "rx": field.spread * across, "ry": field.spread * down}
        viewer.marks = [
            {"kind": "box", "tone": "two", **box, "layers": ["field"]},
            {"kind": "ellipse", "tone": "one", **circle, "layers": ["field"]},
        ]
        viewer.table = {
            "caption": f"The cell in row {row}, column {column} of: {title_of(layer)}",
            "columns": ["Field", "pixels of the network's image", "status"],
            "rows": [
                {
                    "cells": ["Theoretical (box)", f"{right - left} {TIMES} {bottom - top}", MEANING[field.status]],
                    "tone": "two",
                },
                {
                    "cells": ["Effective (circle)", f"radius {field.spread:.1f}", "holds 90 % of the gradient"],
                    "tone": "one",
                },
            ],
        }

    return start_at_middle(Viewer(scene, reaction=react))
