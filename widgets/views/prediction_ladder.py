"""Prediction ladder view: the mask of every decoder stage, its change and its error."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy, nn

from birefnet_lite.analysis import Activations
from birefnet_lite.analysis.layer_names import LOGITS, SIDE, STAGES, stage_layer
from birefnet_lite.inference.images import read_mask
from birefnet_lite.metrics import iou, mae, s_measure
from birefnet_lite.network.resize import resize
from widgets.number_format import TIMES
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.view_setup import add_truth, fit_mask, fit_within, new_scene, painter, run
from widgets.viewer import Viewer

__all__ = ["prediction_ladder"]


def prediction_ladder(
    model: nn.Module, image: Any, mask: Any = None, size: int | tuple[int, int] | None = None
) -> Viewer:
    """How does the mask grow from stage to stage, how does it look as a cut-out, and what if I change the photo?

    Every side output (the paper's supervision at every stage) and the final mask at its own size and up-sampled, what
    each stage changed, and with a `mask` the error and scores of each stage. Changes, errors and up-sampled maps are at
    most 512 pixels long. Masks are drawn in colours, as an outline or as a cut-out (`viewer.mask_as`). A brush changes
    the photo.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> view = prediction_ladder(model, photo, mask, size=64)
        >>> [row["cells"][0] for row in view.table["rows"]]
        ['Stage 4', 'Stage 3', 'Stage 2', 'Final']
    """
    activations = run(model, image, size)
    question = "How does the mask grow from stage to stage, and how does it look as an outline or a cut-out?"
    scene = new_scene("prediction_ladder", "Prediction ladder", question, activations, model)
    truth = None if mask is None else fit_mask(read_mask(mask), *fit_within(activations.seen.shape[:2], 512))

    def fill(scene: Scene, activations: Activations) -> dict[str, Any]:
        return _fill(scene, activations, truth)

    photo, table = activations.photo, fill(scene, activations)
    scene.focus = "final.upsampled"
    return register(Viewer(scene, table=table, repaint=painter(model, size, photo, fill)))


def _fill(scene: Scene, activations: Activations, truth: NDArray[np.float32] | None) -> dict[str, Any]:
    """Put all rungs into the scene; returns the table of their scores."""
    sides = {f"stage {stage}": stage_layer(stage, SIDE) for stage in STAGES}
    logits = {title: activations[name] for title, name in sides.items() if name in activations}
    logits["final"] = activations[LOGITS]
    height, width = fit_within(activations.seen.shape[:2], 512)
    scene.columns = [
        f"{'Final mask' if title == 'final' else title.capitalize()}\n{x.shape[2]} {TIMES} {x.shape[1]}"
        for title, x in logits.items()
    ]
    rows: dict[str, list[str | None]] = {"At its\nown size": [], "Up-sampled": [], "What the\nstage changed": []}
    if truth is not None:
        rows["Error against\nthe mask"] = []
    before: NDArray[np.float32] | None = None
    lines = []
    for title, x in logits.items():
        shown = resize(x[None], (height, width))[0].sigmoid().numpy()  # (1, H, W)
        rows["At its\nown size"].append(_add(scene, f"{title}.native", x.sigmoid().numpy(), "unit", "at its own size"))
        rows["Up-sampled"].append(_add(scene, f"{title}.upsampled", shown, "unit", "up-sampled"))
        change = (
            None
            if before is None
            else _add(scene, f"{title}.change", shown - before, "signed", "change: red became more")
        )
        rows["What the\nstage changed"].append(change)
        if truth is not None:
            error = _add(
                scene, f"{title}.error", shown - truth[None], "signed", "error: red is too much, blue is missed"
            )
            rows["Error against\nthe mask"].append(error)
        layer = f"{title}.upsampled"
        cells = [title.capitalize(), *_scores(shown[0], truth, before)]
        lines.append({"cells": cells, "layer": layer, "mask": layer})
        before = shown
    if truth is not None:
        scene.columns.append("Given\nmask")
        for title, names in rows.items():
            names.append(add_truth(scene, truth) if title == "Up-sampled" else None)
    scene.rows = list(rows.items())
    columns = ["Output", "mean change", *([] if truth is None else ["mean error", "IoU", "S-measure"])]
    caption = "Scores, at the size shown" + ("" if truth is not None else "; give a mask to see errors")
    follow = {} if truth is None else {"follow": columns.index("IoU")}
    return {"caption": caption, "columns": columns, "rows": lines, **follow}


def _add(scene: Scene, name: str, maps: NDArray[np.floating], kind: str, note: str) -> str:
    title = name.split(".")[0]
    limits, as_mask = ((-1.0, 1.0), "") if kind == "signed" else (None, "probability")
    words = f"{'Final mask' if title == 'final' else title.capitalize()} · {note}"
    scene.add(name, maps, kind, words, limits=limits, as_mask=as_mask)
    return name


def _scores(
    shown: NDArray[np.float32], truth: NDArray[np.float32] | None, before: NDArray[np.float32] | None
) -> list[str]:
    change = "" if before is None else f"{np.abs(shown - before[0]).mean():.4f}"
    if truth is None:
        return [change]
    prediction: Tensor = from_numpy(shown)
    target = from_numpy(truth) > 0.5
    return [change, *(f"{float(score(prediction, target)):.4f}" for score in (mae, iou, s_measure))]
