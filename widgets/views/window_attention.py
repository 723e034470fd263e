"""Window attention view: windows and attention of every head in a Swin backbone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.windows import BlockAttention, swin_blocks
from widgets.number_format import TIMES
from widgets.view_setup import Mark, Size, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer

__all__ = ["window_attention"]


def window_attention(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """What does a pixel attend to? Its window and the attention of every head, in each block of a Swin backbone.

    Click a pixel. Channels are heads. Every second block shifts its windows by half a window; at the border a window
    then holds pixels from both sides, which do not see each other.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> from birefnet_lite.photos import load_photo
        >>> model = BiRefNet(BiRefNetConfig.preset("lite")).eval()
        >>> view = window_attention(model, load_photo("chelsea")[0], size=64)
        >>> view.layer
        'stage 1, block 1'
    """
    activations = run(model, image, size, layers=["logits"])
    blocks = swin_blocks(model, prepare(model, image, size))
    question = "Which pixels does a pixel attend to?"
    scene = new_scene("window_attention", "Window attention", question, activations, model)
    stages: dict[str, list[str]] = {}
    for name in blocks:
        stages.setdefault(name.split(",")[0], []).append(name)
    most = max(map(len, stages.values()))
    scene.columns = [f"Block {i + 1}" for i in range(most)]
    scene.rows = [(stage.capitalize(), [*names, *[None] * (most - len(names))]) for stage, names in stages.items()]
    scene.focus = next(iter(blocks))

    def fill(row_of: Callable[[int, int], tuple[int, int]]) -> None:
        for name, block in blocks.items():
            row, column = row_of(*block.grid)
            shifted = f"shifted by {block.shift}" if block.shift else "not shifted"
            note = f"heads as channels · windows of {block.window} {TIMES} {block.window}, {shifted}"
            scene.add(name, block.attention(row, column), "positive", name.capitalize(), note)

    fill(lambda height, width: (height // 2, width // 2))

    def react(viewer: Viewer, changed: str) -> None:
        if changed == "pin":
            fill(lambda height, width: cell_at_pin(viewer, height, width))
            viewer.replace(list(blocks))
        if changed in ("pin", "layer"):
            block = blocks[viewer.layer]
            viewer.marks = _window_marks(viewer, block)
            viewer.table = _head_table(viewer, block)

    return start_at_middle(Viewer(scene, reaction=react))


def _window_marks(viewer: Viewer, block: BlockAttention) -> list[Mark]:
    """The window as boxes: one, or up to four where the shift carried it over a border."""
    rows, columns = viewer.source.size
    height, width = block.grid
    window, _ = block.place(*cell_at_pin(viewer, height, width))
    tokens = block.tokens(window)
    tokens = tokens[(tokens[:, 0] < height) & (tokens[:, 1] < width)]
    boxes = [(r, c) for r in _runs(tokens[:, 0]) for c in _runs(tokens[:, 1])]
    return [
        {
            "kind": "box", "tone": "two", "layers": [viewer.layer],
            "x": left / width * columns, "y": top / height * rows,
            "width": (right - left + 1) / width * columns, "height": (bottom - top + 1) / height * rows,
        }
        for (top, bottom), (left, right) in boxes
    ]  # fmt: skip


def _runs(values: NDArray[np.intp]) -> list[tuple[int, int]]:
    """The unbroken runs of a set of numbers, as (first, last)."""
    unique = np.unique(values)
    return [(int(run[0]), int(run[-1])) for run in np.split(unique, np.flatnonzero(np.diff(unique) > 1) + 1)]


def _head_table(viewer: Viewer, block: BlockAttention) -> dict[str, Any]:
    row, column = cell_at_pin(viewer, *block.grid)
    maps = block.attention(row, column)  # (heads, h, w)
    y, x = np.indices(block.grid)
    distance = np.hypot(y - row, x - column)
    rows = [
        {"cells": [f"Head {i}", f"{head.max():.3f}", f"{head[row, column]:.3f}", f"{(head * distance).sum():.2f}"]}
        for i, head in enumerate(maps[:8])
    ]
    columns = ["Head", "largest weight", "on itself", "mean distance, cells"]
    more = f", the first 8 of {len(maps)}" if len(maps) > 8 else ""
    return {"caption": f"Where each head looks from the pin{more}", "columns": columns, "rows": rows}
