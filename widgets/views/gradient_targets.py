"""Gradient targets view: Laplacian, targets, predictions and attention of each decoder stage."""

from typing import Any

from torch import from_numpy, nn

from birefnet_lite.analysis import Activations
from birefnet_lite.analysis.layer_names import ATTENTION, GRADIENT, SIDE, STAGES, stage_layer, stride_of
from birefnet_lite.analysis.targets import LevelTargets, image_laplacian, level_targets, perfect_side_logits
from birefnet_lite.inference.images import read_mask
from widgets.scene import PHOTO, Scene
from widgets.view_registry import register
from widgets.view_setup import fit_mask, new_scene, run
from widgets.viewer import Viewer

__all__ = ["gradient_targets"]


def gradient_targets(
    model: nn.Module, image: Any, mask: Any = None, size: int | tuple[int, int] | None = None
) -> Viewer:
    """What are the gradient heads taught, and what do they answer? (paper, gradient supervision and outward reference)

    Photo, Laplacian, then for each level the target as in the original and as the paper describes it, the prediction
    and the attention it becomes. With a `mask`, also the target that a perfect side output would give.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = gradient_targets(model, photo, size=64)
        >>> view.table["columns"]
        ['Level', 'original: within 0.1 of 0.5', 'original: lowest loss, nats', 'corrected: above 0.1']
    """
    activations = run(model, image, size)
    stages = [stage for stage in STAGES if stage_layer(stage, ATTENTION) in activations]
    if not stages:
        raise ValueError(
            "This model has no outward reference (outward_reference=False), so there are no gradients to see."
        )
    question = "What are the gradient heads taught, and what do they answer?"
    scene = new_scene("gradient_targets", "Gradient targets", question, activations, model)
    scene.columns = [
        "Photo and\nLaplacian",
        "Side\noutput",
        "Target,\noriginal",
        "Target,\ncorrected",
        "Prediction",
        "Attention",
    ]
    x = activations.input
    scene.add(
        "laplacian",
        image_laplacian(x).float().cpu().numpy(),
        "signed",
        "Laplacian of the image",
        "mean over colours, as the network sees it",
    )
    lines = []
    for i, stage in enumerate(stages):
        side = activations[stage_layer(stage, SIDE)]
        targets = level_targets(x, side)
        names = _add_level(scene, activations, stage, targets)
        first = [PHOTO, "laplacian", None][min(i, 2)]
        scene.rows.append((f"Stage {stage}\nstride {stride_of(stage)}", [first, *names]))
        lines.append(
            [f"Stage {stage}", f"{targets.grey_share:.0%}", f"{targets.floor:.4f}", f"{targets.edge_share:.1%}"]
        )
    if mask is not None:
        fitted = from_numpy(fit_mask(read_mask(mask), *x.shape[-2:]))[None]
        _add_target(scene, "given mask", level_targets(x, perfect_side_logits(fitted)), "given mask")
        given = [f"given mask.{name}" for name in ("original", "corrected")]
        scene.rows.append(("Given mask", [None, None, *given, None, None]))
    scene.focus = stage_layer(stages[-1], "corrected")
    scene.facts.append(
        "answering 0.5 everywhere costs 0.6931 nats: only what lies between that and the lowest loss can be learned"
    )
    table = {
        "caption": "How much each target leaves to learn",
        "columns": ["Level", "original: within 0.1 of 0.5", "original: lowest loss, nats", "corrected: above 0.1"],
        "rows": [
            {"cells": cells, "layer": stage_layer(stage, "corrected")}
            for stage, cells in zip(stages, lines, strict=True)
        ],
    }
    return register(Viewer(scene, table=table))


def _add_level(scene: Scene, activations: Activations, stage: int, targets: LevelTargets) -> list[str]:
    probabilities = {
        SIDE: ("side output", activations[stage_layer(stage, SIDE)].sigmoid()),
        GRADIENT: ("predicted gradient", activations[stage_layer(stage, GRADIENT)].sigmoid()),
        ATTENTION: ("gradient attention", activations[stage_layer(stage, ATTENTION)]),
    }
    for step, (title, maps) in probabilities.items():
        scene.add(stage_layer(stage, step), maps.numpy(), "unit", f"Stage {stage} · {title}", "after a sigmoid")
    _add_target(scene, f"decoder.stage{stage}", targets, f"Stage {stage}")
    return [stage_layer(stage, step) for step in (SIDE, "original", "corrected", GRADIENT, ATTENTION)]


def _add_target(scene: Scene, prefix: str, targets: LevelTargets, title: str) -> None:
    original = "Laplacian times logits, after a sigmoid: no edge is 0.5"
    scene.add(f"{prefix}.original", targets.original.numpy(), "unit", f"{title} · target, original", original)
    corrected = "edges near the object, 0 to 1: no edge is 0"
    scene.add(f"{prefix}.corrected", targets.masked.numpy(), "unit", f"{title} · target, corrected", corrected)
