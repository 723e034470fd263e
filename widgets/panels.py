"""What a notebook calls: each function takes a model and an image and returns a viewer arranged for one question."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, from_numpy, nn

from birefnet_lite.analysis import Activations, as_photo, capture
from birefnet_lite.analysis.inputs import device_and_dtype
from widgets.memory import register
from widgets.numbers import TIMES
from widgets.scene import MIB, Scene, share
from widgets.viewer import Viewer

__all__ = ["feature_pyramid"]

#: Bytes of planes that one view keeps in the kernel, and the side of its largest backdrop.
KEPT = 40 * MIB
BACKDROP = 1024

STRIDES = (4, 8, 16, 32)
STEPS = {
    "inward_reference": ("Inward\nreference", "inward reference: the image's tiles, filtered"),
    "reconstruction": ("Recon-\nstruction", "reconstruction block"),
    "side": ("Side\noutput", "side output, as logits"),
    "gradient_attention": ("Gradient\nattention", "outward reference: attention from gradients"),
    "lateral": ("Lateral\nblock", "lateral block: encoder map of the next finer level"),
    "out": ("Stage\noutput", "up-sampled, plus lateral: the next stage's input"),
}


def feature_pyramid(
    model: nn.Module, image: Any, mask: Any = None, size: int | tuple[int, int] | None = None
) -> Viewer:
    """What does each scale of the network see? Every map from the two encoder passes to the mask, under one cursor.

    `image` is a path, PIL image, array or tensor; `size` the (H, W) the model sees (default: the photo's shape, at
    most 1024 pixels long). Channels can be sorted by agreement with `mask`, or with the predicted mask where none is
    given.
    """
    activations = capture(model, image, size)
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


def new_scene(view: str, title: str, question: str, activations: Activations, model: nn.Module) -> Scene:
    """An empty scene over the photo, with the facts that every view states."""
    device, dtype = device_and_dtype(model)
    height, width = activations.photo.shape[:2]
    seen = activations.seen.shape[:2]
    facts = [
        f"{type(model).__name__} on {device.type}, {str(dtype).removeprefix('torch.')}",
        f"photo {width} {TIMES} {height}, seen by the network as {seen[1]} {TIMES} {seen[0]}",
    ]
    return Scene(view, title, question, backdrop(activations.photo), (height, width), facts=facts)


def backdrop(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo at a size for the page."""
    height, width = photo.shape[:2]
    scale = BACKDROP / max(height, width)
    if scale >= 1:
        return photo
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def reference_mask(activations: Activations, mask: Any) -> tuple[NDArray[np.float32], str]:
    """The mask that channels are held against, soft (H, W), and what it is."""
    if mask is None:
        return activations.mask, "predicted mask"
    return as_mask(mask), "given mask"


def as_mask(mask: Any) -> NDArray[np.float32]:
    """Any form of a mask as float32 (H, W) in [0, 1]."""
    return as_photo(mask)[..., 0].astype(np.float32) / 255


def fit_mask(mask: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A soft mask (H, W) at another size: averages over cells where it gets smaller."""
    tensor = from_numpy(np.ascontiguousarray(mask))[None, None]
    smaller = height <= mask.shape[0] and width <= mask.shape[1]
    options = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(tensor, size=(height, width), **options)[0, 0].numpy()


def kind_of(name: str, maps: Tensor | NDArray[np.floating]) -> str:
    """How a layer's numbers are read: attention lies in 0 to 1; what is never negative starts at its least value."""
    if name.endswith("gradient_attention"):
        return "unit"
    if maps.shape[0] == 1:
        return "signed"  # logits, whatever signs this photo happens to give
    return "positive" if float(maps.min()) >= 0 else "signed"


def add_layers(scene: Scene, activations: Activations, names: list[str], mask: NDArray[np.float32] | None) -> None:
    """Put captured layers into a scene, sharing its memory between them. Takes them out of `activations`."""
    shares = share({name: tuple(activations[name].shape) for name in names}, KEPT)
    for name in names:
        stride = activations.stride(name)
        maps = activations.pop(name).numpy()
        fitted = None if mask is None else fit_mask(mask, *maps.shape[1:])
        note = f"stride {stride:g}"
        scene.add(name, maps, kind_of(name, maps), title_of(name), note, fitted, shares[name])


def title_of(name: str) -> str:
    """A layer's name in words: `decoder.stage3.lateral` is `Stage 3 · lateral block: …`."""
    parts = name.split(".")
    if name == "logits":
        return "Mask, as logits"
    if name == "squeeze":
        return "Squeeze module"
    if name == "decoder.image_branch":
        return "Inward reference at full resolution"
    if parts[0] == "encoder" and len(parts) == 3:
        return f"Encoder · {'whole' if parts[1] == 'full' else 'half-size'} image, level {parts[2][1:]}"
    if parts[0] == "encoder":
        return f"Encoder · level {parts[1][1:]}, both images joined"
    return f"Stage {parts[1][-1]} · {STEPS[parts[2]][1]}" if parts[2] in STEPS else name


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
