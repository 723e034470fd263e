"""Ablation view: parts switched off, the mask without them, its change, and a league table of all parts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy, nn
from tqdm import tqdm

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import HOW, ablatable, mask_without
from birefnet_lite.analysis.parts import list_parts, title_of
from birefnet_lite.inference.images import read_mask
from birefnet_lite.metrics import iou, mae, s_measure
from widgets.league import add_to_league, layer_of_trial
from widgets.network_map import describe_map
from widgets.view_registry import register
from widgets.view_setup import DELAY, Size, add_layers, add_truth, fit_mask, new_scene, run
from widgets.viewer import Viewer

__all__ = ["ablation"]

#: The range of a change of a mask.
CHANGE = (-1.0, 1.0)


def ablation(model: nn.Module, image: Any, mask: Any = None, size: Size = None, *, try_all: bool = False) -> Viewer:
    """What is each part good for? Switch parts off and see the mask, its change and its scores.

    A click on the map of the network switches a part off or on; channels are switched in the list of a part's
    channels. Parts are switched off by `zero`, by their `mean`, or `resample`d (their values in other places). Without
    a `mask`, scores compare with the whole network's own mask. `viewer.ablated` takes layer names; `name#3` is channel
    3 alone. "Try all parts" ranks them by what the mask loses; with `try_all` that is done at once.
    """
    activations = run(model, image, size)
    prepared = prepare(model, image, size)
    question = "What does the mask lose without this part?"
    scene = new_scene("ablation", "Ablation", question, activations, model)
    before = activations.mask
    truth = before if mask is None else fit_mask(read_mask(mask), *before.shape)
    scene.columns = ["Whole\nnetwork", "Without\nthe parts", "Change"]
    scene.rows = [("Mask", ["whole", "without", "change"])]
    removable = ablatable(model)
    scene.extra |= {
        "switches": {
            "label": "Switch off",
            "options": [{"value": name, "title": title_of(name)} for name in removable],
        },
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
    shapes = {name: tuple(activations[name].shape) for name in list_parts(model) if name in activations}
    scene.extra["map"] = describe_map(model, shapes)
    names = [node["name"] for node in scene.extra["map"]["nodes"] if node["name"] in activations]
    add_layers(scene, activations, names, truth)
    scene.recompute = lambda name: capture(model, image, size, layers=[name])[name].numpy()

    def react(viewer: Viewer, changed: str) -> None:
        if changed not in ("ablated", "controls"):
            return
        after = mask_without(model, prepared, viewer.ablated, viewer.controls.get("how", "zero"))
        fill(after)
        viewer.replace(["without", "change"])
        viewer.table = _scores(before, after, truth, mask is not None)

    def try_part(viewer: Viewer, message: dict[str, Any]) -> None:
        part, how = str(message["part"]), viewer.controls.get("how", "zero")
        masks = (before, mask_without(model, prepared, [part], how), truth)
        league = add_to_league(scene, viewer.league, part, how, masks)
        viewer.replace([layer_of_trial(part)])
        viewer.league = league

    league: dict[str, Any] = {}
    for part in tqdm(removable if try_all else (), desc="Trying all parts", delay=DELAY, leave=False):
        league = add_to_league(scene, league, part, "zero", (before, mask_without(model, prepared, [part]), truth))
    table = _scores(before, before, truth, mask is not None)
    answers = {"try": try_part}
    return register(Viewer(scene, None, react, answers, controls={"how": "zero"}, table=table, league=league))


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
