"""Sampling points view: where the taps of deformable kernels read, and their weights."""

from typing import Any

import numpy as np
from torch import nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.sampling import Kernel, deformable_kernels
from widgets.number_format import TIMES
from widgets.view_setup import Mark, Size, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer

__all__ = ["sampling_points"]

#: The colour of each kernel, told apart by colour-blind eyes too.
TONES = ("three", "two", "four", "one")


def sampling_points(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """Where do the deformable kernels look? (paper, hierarchical receptive fields)

    Click a pixel: dots show where each kernel of the chosen block reads for it, violet and yellow for the two of 1 x 1,
    orange for 3 x 3, blue for 7 x 7, the fainter the less a tap counts. The maps show how far taps have moved and how
    much they count.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = sampling_points(model, photo, size=64)
        >>> [row["cells"][:2] for row in view.table["rows"]]
        [['Branch 1: 1 × 1', '1'], ['Branch 2: 1 × 1', '1'], ['Branch 3: 3 × 3', '9'], ['Branch 4: 7 × 7', '49']]
    """
    activations = run(model, image, size, layers=["logits"])
    kernels = deformable_kernels(model, prepare(model, image, size))
    if not kernels:
        raise ValueError("This model has no deformable convolutions (aspp='deformable' gives it some).")
    question = "Where do the deformable kernels look?"
    scene = new_scene("sampling_points", "Sampling points", question, activations, model)
    blocks: dict[str, list[Kernel]] = {}
    for kernel in kernels.values():
        blocks.setdefault(_block_of(kernel.name), []).append(kernel)
    most = max(len(block) for block in blocks.values())
    sizes = [kernel.size for kernel in max(blocks.values(), key=len)]
    names = [f"Branch {i}: {k} {TIMES} {k}" for i, k in enumerate(sizes, start=1)]
    scene.columns = [f"{name}\n{what}" for what in ("shift, cells", "weight") for name in names]
    for block, parts in blocks.items():
        cells: list[str | None] = []
        for what in ("shift", "weight"):
            for i, kernel in enumerate(parts):
                name = f"{block} · kernel {i + 1} · {what}"
                maps = kernel.shift() if what == "shift" else kernel.modulation.astype(np.float32).mean(axis=0)
                text = "how far its taps moved, in cells" if what == "shift" else "mean weight of its taps, 0 to 2"
                scene.add(name, maps[None], "positive", f"{block} · {kernel.size} {TIMES} {kernel.size} kernel", text)
                cells.append(name)
            cells += [None] * (most - len(parts))
        scene.rows.append((block, cells))
    scene.rows.reverse()
    last = list(blocks)[-1]
    scene.focus = f"{last} · kernel {len(blocks[last])} · shift"
    moved = max(float(kernel.shift().max()) for kernel in kernels.values())
    if moved == 0:
        scene.facts.append("no tap has moved: untrained kernels start as plain convolutions")

    def react(viewer: Viewer, changed: str) -> None:
        if changed in ("pin", "layer"):
            parts = blocks[viewer.layer.split(" · ")[0]]
            shown = [name for name in scene.layers if name.split(" · ")[0] == viewer.layer.split(" · ")[0]]
            marks = [mark for i, kernel in reversed([*enumerate(parts)]) for mark in _tap_marks(viewer, kernel, i)]
            viewer.marks = [{**mark, "layers": shown} for mark in marks]
            viewer.table = _tap_table(viewer, parts)

    return start_at_middle(Viewer(scene, reaction=react))


def _block_of(name: str) -> str:
    """`decoder.stage3.reconstruction…` is `Stage 3`, `squeeze.0.aspp…` is `Squeeze`."""
    parts = name.split(".")
    if parts[0] == "decoder":
        return f"Stage {parts[1].removeprefix('stage')}"
    number = int(parts[1]) if parts[1].isdecimal() else 0
    return parts[0].capitalize() + (f" {number + 1}" if number else "")


def _tap_marks(viewer: Viewer, kernel: Kernel, number: int) -> list[Mark]:
    rows, columns = viewer.source.size
    points = kernel.points(*cell_at_pin(viewer, *kernel.modulation.shape[-2:]))
    tone = TONES[number % len(TONES)]
    return [
        {"kind": "point", "x": x * columns, "y": y * rows, "tone": tone, "weight": float(np.clip(w / 2, 0.1, 1))}
        for y, x, w in points.tolist()
    ]


def _tap_table(viewer: Viewer, parts: list[Kernel]) -> dict[str, Any]:
    lines = []
    for number, kernel in enumerate(parts, start=1):
        row, column = cell_at_pin(viewer, *kernel.modulation.shape[-2:])
        shift = np.hypot(*kernel.offsets[:, :, row, column].astype(np.float64).T)
        weight = kernel.modulation[:, row, column].astype(np.float64)
        cells = [f"Branch {number}: {kernel.size} {TIMES} {kernel.size}", str(kernel.size**2)]
        cells += [f"{shift.mean():.3f}", f"{shift.max():.3f}", f"{weight.mean():.3f}"]
        lines.append({"cells": cells, "tone": TONES[(number - 1) % len(TONES)]})
    columns = ["Kernel", "taps", "mean shift", "largest", "mean weight"]
    return {"caption": "At the pin; shifts in cells of this block's map", "columns": columns, "rows": lines}
