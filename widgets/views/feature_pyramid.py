"""Feature pyramid view: the maps of every scale and part under one cursor."""

from typing import Any

from torch import nn

from birefnet_lite.analysis import Activations, capture
from widgets.building import STEPS, add_layers, new_scene, reference_mask, run
from widgets.memory import register
from widgets.viewer import Viewer

__all__ = ["feature_pyramid"]

STRIDES = (4, 8, 16, 32)


def feature_pyramid(
    model: nn.Module, image: Any, mask: Any = None, size: int | tuple[int, int] | None = None
) -> Viewer:
    """What does each scale of the network see? Every map from the two encoder passes to the mask, under one cursor.

    `image` is a path, PIL image, array or tensor; `size` the (H, W) the model sees (default: the photo's shape, at
    most 1024 pixels long). Channels with much to see come first; they can also be sorted by agreement with `mask`, or
    with the predicted mask where none is given.
    """
    activations = run(model, image, size)
    scene = new_scene(
        "feature_pyramid", "Feature pyramid", "What does each scale of the network see?", activations, model
    )
    reference, scene.agreement = reference_mask(activations, mask)
    rows = pyramid_rows(activations)
    scene.columns = pyramid_columns()
    scene.rows = rows
    shown = [name for _, names in rows for name in names if name]
    add_layers(scene, activations, [*shown, *(n for n in ("decoder.image_branch",) if n in activations)], reference)
    scene.recompute = lambda name: capture(model, image, size, layers=[name])[name].numpy()
    return register(Viewer(scene))


def pyramid_columns() -> list[str]:
    """The headings of the pyramid: the encoder's way down, the decoder's way up."""
    return [
        "Encoder,\nwhole image",
        "Encoder,\nhalf-size",
        "Squeeze\nmodule",
        *(title for title, _ in STEPS.values()),
        "Mask\n(logits)",
    ]


def pyramid_rows(activations: Activations) -> list[tuple[str, list[str | None]]]:
    """One row for each level, finest first, so that the way through the network is a U."""

    def have(name: str) -> str | None:
        return name if name in activations else None

    rows = []
    for level, stride in enumerate(STRIDES, start=1):
        joined = "squeeze" if level == 4 else None
        steps = [have(f"decoder.stage{level}.{step}") for step in STEPS]
        names = [have(f"encoder.full.x{level}"), have(f"encoder.half.x{level}"), joined and have(joined), *steps]
        rows.append((f"Level {level}\nstride {stride}", [*names, "logits" if level == 1 else None]))
    return rows
