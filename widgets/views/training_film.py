"""Training film view: how masks and maps form in training, step by step."""

import os
from typing import Any

import numpy as np

from birefnet_lite.analysis.parts import title_of
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
#: Points of a curve.
POINTS = 400


def training_film(recording: Recorder | Recording | str | os.PathLike[str]) -> Viewer:
    """How do the mask and the maps of a photo form in training? Each recorded step, with the losses.

    The slider, Play, a click on the curves of the losses, or a row of the table choose the step; any other step stands
    beside it, over the same range (`viewer.channels["beside"]`, at first the last one).

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
        >>> training_film(recorder).table["rows"][1]["cells"]
        ['1', '0.5000']
    """
    if isinstance(recording, Recorder):
        recording = recording.recording
    elif not isinstance(recording, Recording):
        recording = Recording.load(recording)
    steps = [f"step {step}" for step in recording.steps]
    scene = Scene("training_film", "Training film", "How do the mask and the maps form in training?", recording.photo)
    scene.extra["linked"] = True
    _add_film(scene, "mask", "Predicted mask", recording.masks / np.float32(255), "unit", steps)
    for layer in recording.layers:
        films = np.stack([recording.values(layer, frame) for frame in range(len(steps))])  # (frames, channels, h, w)
        names = []
        for i, channel in enumerate(recording.channels[layer][:SHOWN]):
            name = f"{layer} #{channel}"
            kind = kind_of(layer, films[:, i : i + 1].reshape(-1, *films.shape[2:]))
            title = f"{title_of(layer)} · channel {channel}"
            _add_film(scene, name, title, films[:, i], kind, steps)
            names.append(name)
        scene.rows.append((title_of(layer).replace(" · ", "\n"), [*names, *[None] * (SHOWN - len(names))]))
    scene.columns = [f"Channel {i + 1}" for i in range(SHOWN)]
    masks: list[str | None] = ["mask"]
    if recording.truth is not None:
        masks.append(add_truth(scene, recording.truth / np.float32(255), "True mask"))
    scene.rows.insert(0, ("Mask, and\nthe true one", [*masks, *[None] * (SHOWN - len(masks))]))
    scene.focus = "mask"
    scene.extra["curves"] = _curves(recording)
    scene.facts = [f"{len(steps)} recorded steps, {recording.steps[0]} to {recording.steps[-1]}"]
    last = len(steps) - 1
    look = Look("mask", last, {name: min(last, layer.shape[0] - 1) for name, layer in scene.layers.items()})
    viewer = Viewer(scene, Look(**{**look.to_dict(), "sort": "index"}), table=_loss_table(recording))
    return register(viewer)


def _add_film(scene: Scene, name: str, title: str, frames: Any, kind: str, steps: list[str]) -> None:
    """One map over all steps (frames, h, w), its channels the steps; two of them stand side by side."""
    top = float(np.nanmax(np.abs(frames)))
    ranges = {"unit": (0.0, 1.0), "signed": (-top, top), "positive": (0.0, top)}
    as_mask = "probability" if name == "mask" else ""
    group = [name, name]
    film = scene.add(
        name, frames, kind, title, limits=ranges[kind], group=group, channels=range(len(frames)), as_mask=as_mask
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
