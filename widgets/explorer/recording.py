"""The explorer's recorded run: what the page shows before its network has loaded, and the views' descriptions."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import widgets
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.layer_names import title_of
from birefnet_lite.analysis.parts import Part, list_parts
from birefnet_lite.network.birefnet import BiRefNet
from widgets.network_map import describe_map
from widgets.packing import Packer, count_channels
from widgets.planes import Plane
from widgets.scene import Scene
from widgets.view_setup import add_layers, fit_mask, new_scene
from widgets.viewer import Viewer

__all__ = ["VIEWS", "decode_jpeg", "in_8_bits", "record_run"]

VIEWS = ("ablation", "prediction_ladder", "gradient_targets", "sampling_points", "reference_tiles", "feature_pyramid")
"""The functions of `widgets` whose views the page has. Their layers are computed again by explorer/static/run.js."""


def record_run(model: BiRefNet, jpeg: bytes, budget: float) -> dict[str, Any]:
    """Run a network once for the page.

    Args:
        model: The network.
        jpeg: The photo.
        budget: Bytes that the recorded maps may take; each layer has at least one.

    Returns:
        `parts` (name, title, group, level, inputs, shape, kind, kindOf, removable of each named map), `map` (where they
        stand, and what is computed between them), `views` and `part` (descriptions of scenes, and what each looks at
        first), `recorded` (what lies where in the maps), and the maps themselves as bytes, `maps`.
    """
    photo = decode_jpeg(jpeg)
    activations = capture(model, photo)
    mask, parts = activations.mask, list_parts(model)
    names = [name for name in parts if name in activations]
    scene = new_scene("part", "Part", "", activations, model)
    add_layers(scene, activations, names, fit_mask(mask, *mask.shape))
    scene.agreement = "mask"
    viewer = Viewer(scene)
    recorded, maps = _pack(scene, budget)
    return {
        "parts": [_describe(parts[name], scene) for name in names],
        "map": describe_map(model, {name: scene.layers[name].shape for name in names}, training=True),
        "part": _template(viewer),
        "views": [_template(getattr(widgets, view)(model, photo)) for view in VIEWS if _has(model, view)],
        "recorded": recorded,
        "maps": maps,
    }


def _has(model: BiRefNet, view: str) -> bool:
    """Whether the network has what a view shows."""
    config = model.config
    needs = {
        "gradient_targets": config.outward_reference,
        "reference_tiles": config.inward_reference and config.image_tiles,
        "sampling_points": config.aspp == "deformable",
    }
    return needs.get(view, True)


def decode_jpeg(jpeg: bytes) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of a sample photo."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _describe(part: Part, scene: Scene) -> dict[str, Any]:
    kind = part.name.split(".")[-1]
    if part.name.startswith("encoder."):
        kind = next((scale for scale in ("full", "half") if f".{scale}." in part.name), "joined")
    return {
        "name": part.name,
        "title": title_of(part.name),
        "group": part.group,
        "level": part.level,
        "inputs": list(part.inputs),
        "shape": list(scene.layers[part.name].shape),
        "kind": scene.layers[part.name].kind,
        "kindOf": kind,
        "removable": part.removable,
    }


def _template(viewer: Viewer) -> dict[str, Any]:
    # The page has a map of its own, switches its parts there, and has no brush.
    scene = {name: value for name, value in viewer.source.describe().items() if name not in ("map", "brush")}
    return {"scene": scene, "look": viewer.look.to_dict()}


def _pack(scene: Scene, budget: float) -> tuple[list[dict[str, Any]], bytes]:
    """Statistics of all channels, and maps: 16 bits where a layer is a single one, 8 bits otherwise."""
    packer = Packer()
    counts = count_channels({name: layer.shape for name, layer in scene.layers.items()}, 2 * budget)
    for name, layer in scene.layers.items():
        packer.add({"kind": "statistics", "layer": name}, layer.statistics.tobytes())
        for channel, plane in list(layer.planes.items())[: counts[name]]:
            part = {"kind": "plane", "layer": name, "channel": channel, "lo": plane.lo, "hi": plane.hi}
            codes = plane.codes.astype("<u2") if layer.shape[0] == 1 else in_8_bits(plane)
            packer.add(part, codes.tobytes())
    return packer.parts, packer.buffer()


def in_8_bits(plane: Plane) -> NDArray[np.uint8]:
    """A plane's values, (H, W), over its range: 0 is its lowest value, 255 its highest."""
    values = plane.values()
    span = plane.hi - plane.lo
    shares = (values - plane.lo) / span if span > 0 else np.zeros_like(values)
    return np.floor(np.nan_to_num(shares).clip(0, 1) * 255 + 0.5).astype(np.uint8)
