"""Architecture view: shapes, parameters, time and memory of every part, with its maps."""

from typing import Any

from torch import nn

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.layer_names import title_of
from birefnet_lite.analysis.parts import list_parts
from birefnet_lite.analysis.profile import measure_costs
from birefnet_lite.photos import load_photo
from widgets.network_map import describe_map
from widgets.number_format import TIMES
from widgets.view_registry import register
from widgets.view_setup import Size, add_layers, new_scene, run
from widgets.viewer import Viewer
from widgets.views.feature_pyramid import pyramid_columns, pyramid_rows

__all__ = ["architecture"]

#: The last row of the table. What it holds for a moment is not counted as output.
REST = "Rest: what lies between the parts, and weights for training alone"


def architecture(model: nn.Module, image: Any = None, size: Size = None) -> Viewer:
    """What flows where, what is done to it, and what does it cost? The network as a map to walk through.

    Each part has its live map and shape; arrows say what goes into it.

    Point at a part to see what goes in and out; click it, or walk with the arrow keys in the order of computation, to
    see its maps. Colours show time (median of several passes), parameters or memory. Without an `image` a photograph of
    a coffee cup passes through.

    Examples:
        >>> from birefnet_lite import load
        >>> view = architecture(load("nano", "cpu"), size=64)
        >>> view.scene["facts"][2]
        '5.5 million parameters'
    """
    image = load_photo("coffee")[0] if image is None else image
    activations = run(model, image, size)
    costs = measure_costs(model, prepare(model, image, size))
    question = "What flows where, what is done to it, and what does it cost?"
    scene = new_scene("architecture", "Architecture", question, activations, model)
    scene.columns, scene.rows = pyramid_columns(), pyramid_rows(activations)
    names = [name for name, part in list_parts(model).items() if part.used and name in activations]
    shown = [name for _, row in scene.rows for name in row if name]
    shapes = {name: tuple(activations[name].shape) for name in names}
    scene.extra["map"] = describe_map(model, shapes, costs)
    add_layers(scene, activations, [*names, *(name for name in shown if name not in shapes)], None)
    scene.recompute = lambda name: capture(model, image, size, layers=[name])[name].numpy()
    parameters = sum(p.numel() for p in model.parameters())
    memory = sum(cost.bytes for cost in costs.parts)
    scene.facts += [
        f"{parameters / 1e6:.1f} million parameters",
        f"one pass takes {costs.seconds:.2f} s here (median of {costs.passes})",
    ]
    rows = []
    for cost in costs.parts:
        layer = cost.layers[0]
        title = "Encoder · backbone, all levels" if len(cost.layers) > 1 else title_of(layer)
        cells = [title, f" {TIMES} ".join(map(str, cost.shape[1:])), f"{cost.parameters / 1e6:.3f}"]
        cells += [f"{cost.seconds / costs.counted:.1%}", f"{cost.bytes / memory:.1%}"]
        rows.append({"cells": cells, **({"layer": layer} if layer in scene.layers else {})})
    unnamed = parameters - sum(cost.parameters for cost in costs.parts)
    rows.append({"cells": [REST, "–", f"{unnamed / 1e6:.3f}", f"{costs.rest / costs.counted:.1%}", "–"]})
    columns = ["Part", "output (channels, height, width)", "million parameters", "of the time", "of the output memory"]
    return register(Viewer(scene, table={"columns": columns, "rows": rows}))
