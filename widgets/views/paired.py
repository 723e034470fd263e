"""Paired view: any view for two photos or two networks, under one cursor, with their difference."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from birefnet_lite.analysis.cka import linear_cka
from widgets.scene import COLOUR, PHOTO, Layer, Scene
from widgets.view_registry import register
from widgets.viewer import Viewer
from widgets.views.feature_pyramid import feature_pyramid

__all__ = ["paired"]

SIDES = ("first", "second", "difference")


def paired(
    model: nn.Module,
    photo: Any,
    photo2: Any = None,
    *,
    model2: nn.Module | None = None,
    view: Callable[..., Viewer] = feature_pyramid,
    **options: Any,
) -> Viewer:
    """What is different between two photos, or between two networks, such as before and after fine-tuning?

    Each map of `view` is shown for both, over one range, with the difference (second less first). For two networks a
    table gives the CKA of each layer, from 0 (nothing in common) to 1 (equal up to rotation and scale).

    Args:
        model: The network.
        photo: The photo.
        photo2: The other photo; the same one without it.
        model2: The other network; the same one without it.
        view: The view that is doubled.
        options: For `view`, such as `size`.

    Raises:
        ValueError: Neither another photo nor another network is given.
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
    for viewer in (first, second):
        viewer.close()
    return register(Viewer(scene, table=table))


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
        title = f"{side.capitalize()} · {layer.title}"
        shares = group[:2] if side != "difference" else None
        added = scene.add(group[SIDES.index(side)], maps[side], kind, title, layer.note, None, None, group, channels)
        added.shares = shares or []
        added.photo = "second" if side == "second" else ""
        added.mask = layer.mask if side != "difference" else ""
    samples = [maps[side][channels].reshape(len(channels), -1).T for side in SIDES[:2]]
    return linear_cka(*samples), len(samples[0])
