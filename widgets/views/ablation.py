"""Ablation view: parts switched off, the mask without them, its change, and a league table of all parts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy, nn

from birefnet_lite.analysis import Activations, capture, prepare
from birefnet_lite.analysis.ablate import HOW, ablatable, mask_without
from birefnet_lite.analysis.layer_names import title_of
from birefnet_lite.analysis.parts import list_parts
from birefnet_lite.inference.images import read_mask
from birefnet_lite.metrics import iou, mae, s_measure
from widgets.league import add_to_league, layer_of_trial
from widgets.network_map import describe_map
from widgets.packing import MIB
from widgets.progress import progress_bar
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.view_setup import Size, add_layers, add_truth, fit_mask, new_scene, painter, run
from widgets.viewer import Viewer

__all__ = ["ablation"]

#: The range of a change of a mask.
CHANGE = (-1.0, 1.0)
#: The reading of the scores where no mask is given.
OWN_MASK = (
    "Each mask against the whole network's own mask, cut at 0.5 into object (1) and background (0). The mean error of "
    "the whole network is not 0: its mask has soft edges. The mean change is against that soft mask."
)
#: Bytes of the maps of its parts: the view is about masks, and other channels come when they are asked for.
CHANNELS = 3 * MIB


def ablation(model: nn.Module, image: Any, mask: Any = None, size: Size = None, *, try_all: bool = False) -> Viewer:
    """Which part matters most, and what if I change the photo?

    Switch parts off and see the mask, its change and its scores, also as a cut-out. A brush changes the photo.

    A click on the map of the network switches a part off or on; channels are switched in the list of a part's
    channels. Parts are switched off by `zero`, by their `mean`, or `resample`d (their values in other places). Without
    a `mask`, scores compare with the whole network's own mask. `viewer.ablated` takes layer names; `name#3` is channel
    3 alone. "Try all parts" ranks them by what the mask loses; with `try_all` that is done at once.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> view = ablation(model, photo, mask, size=64)
        >>> view.ablated = ["squeeze", "decoder.stage1.reconstruction#3"]
        >>> view.source.titled(view.ablated)  # what is off stands in the title
        'Ablation · without Squeeze module; Stage 1 · reconstruction block, channel 3'
    """
    activations = run(model, image, size)
    state = _Ablation(model, size, None if mask is None else read_mask(mask))
    question = "Which part matters most? Switch parts off, or change the photo, and see what the mask loses."
    scene = new_scene("ablation", "Ablation", question, activations, model)
    scene.columns = ["Whole\nnetwork", "Without\nthe parts", "Change"]
    scene.rows = [("Mask", ["whole", "without", "change"])]
    removable = ablatable(model)
    options = [{"value": name, "title": title_of(name)} for name in removable]
    scene.extra |= {
        "switches": {"label": "Switch off", "options": options},
        "choices": [{"name": "how", "label": "How", "options": list(HOW)}],
    }
    if mask is not None:
        scene.columns.append("Given\nmask")
        scene.rows[0][1].append("truth")
    else:
        scene.extra |= {"truth": "whole", "against": "the whole network's own"}
    shapes = {name: (*activations[name].shape,) for name in list_parts(model) if name in activations}
    scene.extra["map"] = describe_map(model, shapes)
    photo, table = activations.photo, state.fill(scene, activations, [], "zero")
    scene.focus = "without"

    def react(viewer: Viewer, changed: str) -> None:
        if changed not in ("ablated", "controls"):
            return
        after = state.without(viewer.ablated, viewer.controls.get("how", "zero"))
        state.add_masks(scene, after)
        viewer.replace(["without", "change"])
        viewer.table = state.scores(after)

    def try_part(viewer: Viewer, message: dict[str, Any]) -> None:
        part = str(message["part"])
        league = state.try_part(scene, viewer.league, part, viewer.controls.get("how", "zero"))
        viewer.replace([layer_of_trial(part)])
        viewer.league = league

    def repaint(viewer: Viewer) -> None:
        def fill(scene: Scene, activations: Activations) -> dict[str, Any]:
            trials = [layer_of_trial(part) for part in viewer.league.get("scores", {})]
            if viewer.layer in trials:
                viewer.layer = scene.focus
            for name in trials:
                del scene.layers[name]
            viewer.league = {}  # of another photo
            return state.fill(scene, activations, viewer.ablated, viewer.controls.get("how", "zero"))

        painter(model, size, photo, fill)(viewer)

    league: dict[str, Any] = {}
    for part in progress_bar(removable if try_all else (), desc="Trying all parts"):
        league = state.try_part(scene, league, part, "zero")
    traits = {"controls": {"how": "zero"}, "table": table, "league": league}
    return register(Viewer(scene, None, react, {"try": try_part}, repaint, **traits))


class _Ablation:
    """The photo as it is now, and what follows from it: the whole mask, the true one, masks without parts."""

    def __init__(self, model: nn.Module, size: Size, mask: NDArray[np.float32] | None) -> None:
        self.model, self.size, self.mask = model, size, mask

    def fill(self, scene: Scene, activations: Activations, off: list[str], how: str) -> dict[str, Any]:
        """Put all layers of a photo into the scene; returns the table of scores."""
        photo = activations.photo
        self.prepared = prepare(self.model, photo, self.size)
        self.before = activations.mask
        self.truth = self.before if self.mask is None else fit_mask(self.mask, *self.before.shape)
        scene.add("whole", self.before[None], "unit", "Mask of the whole network", as_mask="probability")
        after = self.without(off, how) if off else self.before
        self.add_masks(scene, after)
        if self.mask is not None:
            add_truth(scene, self.truth)
        names = [node["name"] for node in scene.extra["map"]["nodes"] if node["name"] in activations]
        add_layers(scene, activations, names, self.truth, kept=CHANNELS)
        scene.recompute = lambda name: capture(self.model, photo, self.size, layers=[name])[name].numpy()
        return self.scores(after)

    def without(self, off: list[str], how: str) -> NDArray[np.float32]:
        return mask_without(self.model, self.prepared, off, how)

    def add_masks(self, scene: Scene, after: NDArray[np.float32]) -> None:
        """The mask without the parts that are off, and its change."""
        title = "Mask without the parts that are off"
        scene.add("without", after[None], "unit", title, as_mask="probability")
        change = (after - self.before)[None]
        scene.add("change", change, "signed", "Change of the mask", "red became more, blue less", limits=CHANGE)

    def try_part(self, scene: Scene, league: dict[str, Any], part: str, how: str) -> dict[str, Any]:
        masks = (self.before, self.without([part], how), self.truth)
        return add_to_league(scene, league, part, how, masks)

    def scores(self, after: NDArray[np.float32]) -> dict[str, Any]:
        return _scores(self.before, after, self.truth, self.mask is not None)


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
    against = "Scores against the given mask." if given else OWN_MASK
    columns = ["", "mean error", "IoU", "S-measure", "mean change"]
    return {"caption": against, "columns": columns, "rows": rows, "follow": columns.index("IoU")}
