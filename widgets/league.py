"""The league table of an ablation: each part switched off alone, ranked by what the mask loses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy

from birefnet_lite.analysis.layer_names import title_of
from birefnet_lite.metrics import iou
from birefnet_lite.network.resize import resize
from widgets.scene import Scene

__all__ = ["add_to_league", "layer_of_trial", "rank_league", "tabulate_league"]

#: The longer side of the small map that shows what a part changes.
SIDE = 96


def layer_of_trial(part: str) -> str:
    """The layer with the change of the mask without a part."""
    return f"change without {part}"


def add_to_league(
    scene: Scene,
    league: dict[str, Any],
    part: str,
    how: str,
    masks: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
) -> dict[str, Any]:
    """The league with one more trial, and the layer that shows it in the scene.

    Args:
        scene: The scene.
        league: `how`, and `scores` by part; trials of another `how` are dropped.
        part: The part that was off.
        how: As in `ablate`.
        masks: Soft masks (H, W): of the whole network, without the part, and the true one.
    """
    before, after, truth = masks
    change = after - before
    scale = min(1.0, SIDE / max(change.shape))
    size = tuple(max(1, round(side * scale)) for side in change.shape)
    small = resize(from_numpy(change)[None, None], (size[0], size[1]))[0].numpy()  # (1, h, w)
    title = f"Change of the mask without: {title_of(part)}"
    scene.add(layer_of_trial(part), small, "signed", title, "red became more, blue less", limits=(-1.0, 1.0))
    target = from_numpy(truth) > 0.5
    lost = float(iou(from_numpy(before), target) - iou(from_numpy(after), target))
    score = {"lost": round(lost, 6), "change": round(float(np.abs(change).mean()), 6)}
    kept = league.get("scores", {}) if league.get("how") == how else {}
    return {"how": how, "scores": {**kept, part: score}}


def rank_league(league: dict[str, Any]) -> list[str]:
    """The parts that were tried, the one without which the mask loses most first; then by the mean change."""
    scores = league.get("scores", {})
    return sorted(scores, key=lambda part: (-scores[part]["lost"], -scores[part]["change"]))


def tabulate_league(league: dict[str, Any]) -> dict[str, Any]:
    """The league as a table."""
    rows = [
        {"cells": [title_of(part), f"{league['scores'][part]['lost']:.4f}", f"{league['scores'][part]['change']:.4f}"]}
        for part in rank_league(league)
    ]
    caption = f"What the mask loses without each part ({league.get('how')})"
    return {"caption": caption, "columns": ["Without", "IoU lost", "mean change"], "rows": rows}
