"""Training film view: how masks and maps form in training, step by step."""

import os
from textwrap import fill
from typing import Any

import numpy as np

from birefnet_lite.analysis.layer_names import STAGES, split_layer, title_of
from birefnet_lite.training.recorder import Recorder
from birefnet_lite.training.recording import Recording
from widgets.look import Look
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.view_setup import add_truth, kind_of
from widgets.viewer import Viewer

__all__ = ["training_film"]

#: Recorded channels of a layer that are shown.
SHOWN = 2
#: Letters in a line of a row's title.
ROW = 14
#: Points of a curve.
POINTS = 400


def training_film(recording: Recorder | Recording | str | os.PathLike[str]) -> Viewer:
    """How do the mask and the maps of a photo form in training? Two recorded steps side by side, and the losses.

    It opens with the first step beside the last one. The slider, Play, a click on the curves of the losses, or a row of
    the table choose the step (`viewer.step`); with Shift, a click on the curves chooses the one beside it
    (`viewer.beside`). All steps of a map are drawn over one range.

    Args:
        recording: A `Recorder`, its `recording`, or a file that it saved.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> from birefnet_lite.training import Recorder
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> recorder = Recorder(photo, every=1, mask=mask, size=64, channels=2)
        >>> for step, loss in enumerate((0.7, 0.5)):
        ...     recorder.record(model, step, {"loss": loss})
        True
        True
        >>> training_film(recorder)
        Viewer('Training film', layer='mask', step=0, beside=1)
    """
    if isinstance(recording, Recorder):
        recording = recording.recording
    elif not isinstance(recording, Recording):
        recording = Recording.load(recording)
    steps = [f"step {step}" for step in recording.steps]
    scene = Scene(
        "training_film",
        "Training film",
        "How do the mask and the maps form in training?",
        recording.photo,
        what="input",
    )
    scene.extra["linked"] = True
    _add_film(scene, "mask", "Predicted mask", recording.masks / np.float32(255), "unit", steps)
    shown: dict[str, list[str]] = {}
    for layer in recording.layers:
        films = np.stack([recording.values(layer, frame) for frame in range(len(steps))])  # (frames, channels, h, w)
        names = []
        for i, channel in enumerate(recording.channels[layer][:SHOWN]):
            name = f"{layer} #{channel}"
            kind = kind_of(layer, films[:, i : i + 1].reshape(-1, *films.shape[2:]))
            title = f"{title_of(layer)} · channel {channel}"
            _add_film(scene, name, title, films[:, i], kind, steps)
            names.append(name)
        shown[layer] = names
    masks = ["mask"]
    if recording.truth is not None:
        masks.append(add_truth(scene, recording.truth / np.float32(255), "True mask"))
    _arrange(scene, shown, masks)
    scene.focus = "mask"
    scene.extra["curves"] = _curves(recording)
    scene.facts = [f"{len(steps)} recorded steps, {recording.steps[0]} to {recording.steps[-1]}"]
    last = len(steps) - 1
    look = Look("mask", 0, {**dict.fromkeys(scene.layers, 0), "beside": last})
    viewer = Viewer(scene, Look(**{**look.to_dict(), "sort": "index"}), table=_loss_table(recording))
    return register(viewer)


def _arrange(scene: Scene, shown: dict[str, list[str]], masks: list[str]) -> None:
    """Lay the maps out: a column for each decoder stage, a row for each channel of a step, and the masks at the end."""
    places = {layer: split_layer(layer) for layer in shown}
    stages = [stage for stage in STAGES if any(place and place[0] == stage for place in places.values())] or [0]
    rows: dict[str, list[str | None]] = {}
    for layer, names in shown.items():
        place = places[layer]
        title = title_of(layer).partition(" · ")[2] if place else title_of(layer)
        title = title[0].upper() + title[1:]
        for i, name in enumerate(names):
            # In short lines: a saved picture breaks none.
            said = fill(f"{title}, another channel" if i else title, ROW)
            cells = rows.setdefault(said, [None] * len(stages))
            cells[stages.index(place[0]) if place else 0] = name
    scene.columns = [f"Stage {stage}" if stage else "" for stage in stages]
    scene.columns.append("Mask, and\nthe true one" if len(masks) > 1 else "Mask")
    scene.rows = [(title, [*cells, None]) for title, cells in rows.items()]
    scene.rows += [("", [None] * len(scene.columns)) for _ in masks[len(scene.rows) :]]
    for mask, (_, cells) in zip(masks, scene.rows, strict=False):
        cells[-1] = mask


def _add_film(scene: Scene, name: str, title: str, frames: Any, kind: str, steps: list[str]) -> None:
    """One map over all steps (frames, h, w), its channels the steps; two of them stand side by side."""
    top = float(np.nanmax(np.abs(frames)))
    ranges = {"unit": (0.0, 1.0), "signed": (-top, top), "positive": (0.0, top)}
    as_mask = "probability" if name == "mask" else ""
    many = len(frames) > 1
    film = scene.add(
        name,
        frames,
        kind,
        title,
        "all steps over one range" if many else "",
        limits=ranges[kind],
        group=[name, name] if many else None,
        channels=range(len(frames)),
        as_mask=as_mask,
    )
    film.labels = steps


def _curves(recording: Recording) -> dict[str, Any]:
    """The losses over the steps, at most `POINTS` of them, and the recorded steps; None where there is no number."""
    every = max(1, -(-len(recording.loss_steps) // POINTS))
    series = {
        name: [float(value) if np.isfinite(value) else None for value in values[::every]]
        for name, values in recording.losses.items()
    }
    x = [int(step) for step in recording.loss_steps[::every]]
    return {"x": x, "series": series, "steps": [int(step) for step in recording.steps]}


def _loss_table(recording: Recording) -> dict[str, Any]:
    known = [int(step) for step in recording.loss_steps]
    rows = []
    for frame, step in enumerate(recording.steps):
        cells = [f"{step}"]
        for values in recording.losses.values():
            # The newest loss that was noted up to this step.
            at = [i for i, noted in enumerate(known) if noted <= step and np.isfinite(values[i])]
            cells.append(f"{values[at[-1]]:.4f}" if at else "")
        rows.append({"cells": cells, "channel": frame})
    return {"caption": "Losses", "columns": ["Step", *recording.losses], "rows": rows}
