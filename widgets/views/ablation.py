"""Ablation view: parts switched off, the mask without them, and its change."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import from_numpy, nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.ablate import HOW, ablatable, ablate
from birefnet_lite.analysis.inputs import Prepared
from birefnet_lite.analysis.parts import title_of
from birefnet_lite.inference.images import read_mask
from birefnet_lite.inference.predict import evaluating
from birefnet_lite.metrics import iou, mae, s_measure
from widgets.view_registry import register
from widgets.view_setup import Size, add_truth, fit_mask, new_scene, run
from widgets.viewer import Viewer

__all__ = ["ablation"]

#: The range of a change of a mask.
CHANGE = (-1.0, 1.0)


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
    truth = before if mask is None else fit_mask(read_mask(mask), *before.shape)
    scene.columns = ["Whole\nnetwork", "Without\nthe parts", "Change"]
    scene.rows = [("Mask", ["whole", "without", "change"])]
    options = [{"value": name, "title": title_of(name)} for name in ablatable(model)]
    scene.extra |= {
        "switches": {"label": "Switch off", "options": options},
        "choices": [{"name": "how", "label": "How", "options": list(HOW)}],
    }
    scene.add("whole", before[None], "unit", "Mask of the whole network", as_mask="probability")
    if mask is None:
        scene.extra |= {"truth": "whole", "against": "the whole network's own"}
    else:
        scene.columns.append("Given\nmask")
        scene.rows[0][1].append(add_truth(scene, truth))

    def fill(after: NDArray[np.float32]) -> None:
        scene.add("without", after[None], "unit", "Mask without the parts that are off", as_mask="probability")
        scene.add(
            "change",
            (after - before)[None],
            "signed",
            "Change of the mask",
            "red became more, blue less",
            limits=CHANGE,
        )

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
    for name, layer, shown in (("Whole network", "whole", before), ("Without", "without", after)):
        prediction = from_numpy(shown.copy())
        scores = [f"{float(score(prediction, target)):.4f}" for score in (mae, iou, s_measure)]
        change = f"{np.abs(shown - before).mean():.4f}"
        rows.append({"cells": [name, *scores, change], "mask": layer, "layer": layer})
    against = "the given mask" if given else "the whole network's own mask, over 0.5"
    columns = ["", "mean error", "IoU", "S-measure", "mean change"]
    return {"caption": f"Scores against {against}", "columns": columns, "rows": rows, "follow": columns.index("IoU")}
