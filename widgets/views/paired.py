"""Paired view: any view for two photos or two networks, under one cursor, with their difference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from birefnet_lite.analysis import capture
from birefnet_lite.analysis.cka import cka_matrix, linear_cka, pool_cells
from birefnet_lite.analysis.summaries import colours_of, fit_basis
from widgets.number_format import MINUS
from widgets.scene import COLOUR, PHOTO, Layer, Scene
from widgets.view_registry import register
from widgets.view_setup import Size
from widgets.viewer import Viewer
from widgets.views.feature_pyramid import feature_pyramid

__all__ = ["paired"]

SIDES = ("first", "second", "difference")
TITLES = {"first": "First", "second": "Second", "difference": f"Second {MINUS} first"}
#: Cells of all photos together that the matrix rests on.
CELLS = 400


def paired(
    model: nn.Module,
    photo: Any,
    photo2: Any = None,
    *,
    model2: nn.Module | None = None,
    view: Callable[..., Viewer] = feature_pyramid,
    photos: Sequence[Any] = (),
    **options: Any,
) -> Viewer:
    """What is different between two photos, or between two networks, such as before and after fine-tuning?

    Each map of `view` is shown for both, over one range, with the difference (second less first); colours of all
    channels have one basis for both. For two networks a table gives the CKA of each layer, from 0 (nothing in common)
    to 1 (equal up to rotation and scale), and a matrix that of each layer with each: a click shows the two.

    Args:
        model: The network.
        photo: The photo.
        photo2: The other photo; the same one without it.
        model2: The other network; the same one without it.
        view: The view that is doubled.
        photos: More photos for the matrix, which rests on a few hundred cells of all photos together.
        options: For `view`, such as `size`.

    Raises:
        ValueError: Neither another photo nor another network is given.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> from widgets import prediction_ladder
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = paired(model, photo, load_photo("coffee")[0], view=prediction_ladder, size=64)
        >>> view.source.layers["final.upsampled · difference"].group
        ['final.upsampled · first', 'final.upsampled · second', 'final.upsampled · difference']
    """
    if photo2 is None and model2 is None:
        raise ValueError("A pair needs a second one of something: give photo2 or model2.")
    first = view(model, photo, **options)
    second = view(model if model2 is None else model2, photo if photo2 is None else photo2, **options)
    one, two = first.source, second.source
    scene = Scene("paired", f"{one.title}, paired", "What is different?", one.photo, one.size, columns=one.columns)
    height, width = one.photo.shape[:2]
    scene.photos["second"] = np.asarray(Image.fromarray(two.photo).resize((width, height)))
    scene.facts = [*one.facts, *(f"second: {fact}" for fact in two.facts if fact not in one.facts)]
    alike = {}
    for name, layer in one.layers.items():
        other = two.layers.get(name)
        if other is not None and other.shape == layer.shape and layer.kind != COLOUR and not layer.base:
            alike[name] = _add(scene, name, layer, other)
    scene.rows = [
        (title, [f"{n} · difference" if n in alike else n if n == PHOTO else None for n in names])
        for title, names in one.rows
    ]
    scene.focus = f"{first.layer} · difference"
    lines = [
        {"cells": [one.layers[name].title, f"{value:.4f}", str(cells)], "layer": f"{name} · difference"}
        for name, (value, cells) in alike.items()
    ]
    table = {}
    if photo2 is None:
        caption = "How alike each layer is in the two networks, on 1 photo: its cells are the samples"
        table = {"caption": caption, "columns": ["Layer", "CKA", "cells"], "rows": lines}
    if model2 is not None:
        scene.extra |= _matrix(model, model2, [photo, *photos], list(alike), one, options.get("size"))
    for viewer in (first, second):
        viewer.close()
    return register(Viewer(scene, table=table))


def _matrix(
    model: nn.Module, model2: nn.Module, photos: list[Any], names: list[str], scene: Scene, size: Size
) -> dict[str, Any]:
    """The CKA of each layer of one network with each of the other, for the page; empty without layers of a network."""
    each = max(16, CELLS // len(photos))
    captured = [[capture(network, photo, size) for photo in photos] for network in (model, model2)]
    names = [name for name in names if name in captured[0][0]]
    if not names:
        return {}
    features = [
        [np.concatenate([pool_cells(maps[name], each) for maps in several]) for name in names] for several in captured
    ]
    matrix = {
        "names": names,
        "titles": [scene.layers[name].title for name in names],
        "values": np.round(cka_matrix(*features), 4).tolist(),
        "photos": len(photos),
        "cells": len(features[0][0]),
    }
    return {"matrix": matrix}


def _add_colours(scene: Scene, name: str, title: str, pair: list[NDArray[np.float32]], channels: int) -> None:
    """All shown channels of both (c, h, w) as colours of one basis, side by side."""
    basis = fit_basis(pair)
    shares = ", ".join(f"{share:.0%}" for share in basis.explained)
    label = f"PCA, one basis for both: red, green and blue explain {shares}"
    group = [f"{name} · {side} · colours" for side in SIDES[:2]]
    for side, layer, maps in zip(SIDES, group, pair, strict=False):
        note = f"from {len(maps)} of {channels} channels"
        pictures = {label: colours_of(maps, basis)}
        words = f"{side.capitalize()} · {title} · all channels as colours"
        added = scene.add_pictures(layer, f"{name} · difference" if side == "first" else "", pictures, words, note)
        added.group, added.photo = group, "second" if side == "second" else ""


def _add(scene: Scene, name: str, layer: Layer, other: Layer) -> tuple[float, int]:
    """One layer of both and its difference; returns the CKA over the channels that are shown, and of how many cells."""
    channels = [channel for channel in layer.planes if channel in other.planes]
    if not channels:
        channels = list(layer.planes)[:1]
    maps = {side: np.zeros(layer.shape, np.float32) for side in SIDES}
    for channel in channels:
        if channel not in other.planes:
            continue
        values = [each.planes[channel].values() for each in (layer, other)]
        maps["first"][channel], maps["second"][channel] = values
        maps["difference"][channel] = values[1] - values[0]
    group = [f"{name} · {side}" for side in SIDES]
    for side in SIDES:
        kind = "signed" if side == "difference" else layer.kind
        title = f"{TITLES[side]} · {layer.title}"
        shares = group[:2] if side != "difference" else None
        added = scene.add(group[SIDES.index(side)], maps[side], kind, title, layer.note, None, None, group, channels)
        added.shares = shares or []
        added.photo = "second" if side == "second" else ""
        added.mask = layer.mask if side != "difference" else ""
    if len(channels) >= 4:
        _add_colours(scene, name, layer.title, [maps[side][channels] for side in SIDES[:2]], layer.shape[0])
    samples = [maps[side][channels].reshape(len(channels), -1).T for side in SIDES[:2]]
    return linear_cka(*samples), len(samples[0])
