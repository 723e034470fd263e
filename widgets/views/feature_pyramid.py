"""Feature pyramid view: the maps of every scale and part under one cursor."""

from typing import Any

from torch import nn

from birefnet_lite.analysis import Activations, capture
from birefnet_lite.analysis.layer_names import (
    GRADIENT,
    IMAGE_BRANCH,
    LEVELS,
    LOGITS,
    SQUEEZE,
    STEPS,
    encoder_layer,
    stage_layer,
)
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.view_setup import add_layers, new_scene, painter, reference_mask, run
from widgets.viewer import Viewer

__all__ = ["feature_pyramid"]

#: The steps of a decoder stage that have a column.
SHOWN = [step for step in STEPS.values() if step.name != GRADIENT]


def feature_pyramid(
    model: nn.Module, image: Any, mask: Any = None, size: int | tuple[int, int] | None = None
) -> Viewer:
    """What do channels say, alone and together, which places look alike, and what if I change the photo?

    Every map from the two encoder passes to the mask, under one cursor. A brush changes the photo: it erases, blurs,
    brightens or copies a part of it, and the network runs again.

    `image` is a path, PIL image, array or tensor; `size` the (H, W) the model sees (default: that of its
    training). Channels with much to see come first; they can also be sorted by agreement with `mask`, or
    with the predicted mask where none is given. Each layer also has pictures of all its channels at once: PCA as
    colours, segments of alike cells, the norm, and the similarity of every cell to the pinned one.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> view = feature_pyramid(model, photo, mask, size=64)
        >>> view.layer = "squeeze"  # in a notebook, a click on its map
        >>> view.source.layers["squeeze"].shape
        (384, 2, 2)
    """
    activations = run(model, image, size)
    question = "What do the channels of each scale see, one by one and all together? What if the photo changes?"
    scene = new_scene("feature_pyramid", "Feature pyramid", question, activations, model)
    scene.columns, scene.rows = pyramid_columns(), pyramid_rows(activations)
    photo = activations.photo

    def fill(scene: Scene, activations: Activations) -> None:
        reference, scene.agreement = reference_mask(activations, mask)
        seen = activations.photo
        shown = [name for _, names in scene.rows for name in names if name]
        names = [*shown, *(name for name in (IMAGE_BRANCH,) if name in activations)]
        add_layers(scene, activations, names, reference, summaries=True)
        scene.recompute = lambda name: capture(model, seen, size, layers=[name])[name].numpy()

    fill(scene, activations)
    return register(Viewer(scene, repaint=painter(model, size, photo, fill)))


def pyramid_columns() -> list[str]:
    """The headings of the pyramid: the encoder's way down, the decoder's way up."""
    return [
        "Encoder,\nwhole image",
        "Encoder,\nhalf-size",
        "Squeeze\nmodule",
        *(step.heading for step in SHOWN),
        "Mask\n(logits)",
    ]


def pyramid_rows(activations: Activations) -> list[tuple[str, list[str | None]]]:
    """One row for each level, finest first, so that the way through the network is a U."""

    def have(name: str) -> str | None:
        return name if name in activations else None

    rows = []
    for level in LEVELS:
        steps = [have(stage_layer(level, step.name)) for step in SHOWN]
        encoder = [have(encoder_layer(level, scale)) for scale in ("full", "half")]
        names = [*encoder, have(SQUEEZE) if level == 4 else None, *steps, have(LOGITS) if level == 1 else None]
        rows.append((f"Level {level}", names))
    return rows
