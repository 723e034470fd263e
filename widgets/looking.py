"""Where the network looks: the image in tiles, the taps of deformable kernels, the windows of attention."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.sampling import Kernel, deformable_kernels
from birefnet_lite.analysis.windows import BlockAttention, swin_blocks
from birefnet_lite.lateral import resize
from birefnet_lite.refinement import image_to_tiles
from widgets.arrays import cell
from widgets.building import add_layers, new_scene
from widgets.memory import register
from widgets.numbers import TIMES
from widgets.scene import Scene
from widgets.viewer import Viewer

__all__ = ["reference_tiles", "sampling_points", "window_attention"]

Mark = dict[str, Any]
Size = int | tuple[int, int] | None


def pinned(viewer: Viewer, height: int, width: int) -> tuple[int, int]:
    """The cell (row, column) of a map of this size under the pin; the middle without a pin."""
    rows, columns = viewer.source.size
    x, y = viewer.pin or [columns / 2, rows / 2]
    return cell(y, rows, height), cell(x, columns, width)


def started(viewer: Viewer) -> Viewer:
    """A view whose pin stands in the middle of the photo, with what follows from it."""
    rows, columns = viewer.source.size
    viewer.pin = [columns / 2, rows / 2]
    if viewer.error:
        raise RuntimeError(viewer.error)
    return register(viewer)


def reference_tiles(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """How does the decoder see the image in full detail? The image cut into tiles for each stage (inward reference).

    Click a pixel: its tile, the channels it lands in, in today's order and in that of checkpoints from before November
    2024, and the places that one cell of the stage sees at once.
    """
    activations = capture(model, image, size)
    stages = [n for n in (4, 3, 2, 1) if f"decoder.stage{n}.inward_reference" in activations]
    grids = {n: getattr(model.decoder, f"stage{n}").inward.grid for n in stages}
    if not stages or not all(getattr(model.decoder, f"stage{n}").inward.tiles for n in stages):
        raise ValueError("This model does not cut the image into tiles (inward_reference and image_tiles are needed).")
    question = "How does each decoder stage see the image without losing a pixel?"
    scene = new_scene("reference_tiles", "Reference tiles", question, activations, model)
    seen = torch.from_numpy(activations.seen.copy()).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    scene.columns = ["Tile with\nthe pixel", "Photo resized\ninstead", "Inward\nreference"]
    for n in stages:
        grid = grids[n]
        tiles, small = f"stage {n}.tiles", f"stage {n}.resized"
        note = f"{grid} {TIMES} {grid} tiles, one below the other; red, then green, then blue"
        scene.add(tiles, image_to_tiles(seen, grid)[0].numpy(), "unit", f"Stage {n} · tiles of the image", note)
        shrunk = resize(seen, tuple(scene.layers[tiles].shape[1:]))[0].numpy()
        scene.add(small, shrunk, "unit", f"Stage {n} · the image resized", "what is left without tiles")
        scene.rows.append((f"Stage {n}\nstride {grid}", [tiles, small, f"decoder.stage{n}.inward_reference"]))
    add_layers(scene, activations, [f"decoder.stage{n}.inward_reference" for n in stages], None)
    scene.focus = f"stage {stages[-1]}.resized"
    shape = seen.shape[-2:]

    def react(viewer: Viewer, changed: str) -> None:
        if changed not in ("pin", "layer"):
            return
        row, column = pinned(viewer, *shape)
        places = {n: _tile_of(row, column, grids[n], shape) for n in stages}
        chosen = next((n for n in stages if f"stage{n}." in viewer.layer or f"stage {n}." in viewer.layer), stages[-1])
        viewer.marks = _tile_marks(scene, chosen, grids[chosen], places[chosen], shape)
        if changed == "pin":
            viewer.choose_channels({f"stage {n}.tiles": place["new"][0] for n, place in places.items()})
        viewer.table = {
            "caption": "Where the pixel goes. The tile is boxed, dots are what one cell of the stage sees at once.",
            "columns": [
                "Stage",
                "tiles",
                "tile's row, column",
                "x, y in the tile",
                "channels of red, green, blue",
                "the same before November 2024",
            ],
            "rows": [
                {
                    "cells": [
                        f"Stage {n}",
                        f"{grids[n]} {TIMES} {grids[n]}",
                        f"{place['row']}, {place['column']}",
                        f"{place['x']}, {place['y']}",
                        ", ".join(map(str, place["new"])),
                        ", ".join(map(str, place["old"])),
                    ],
                    "layer": f"stage {n}.tiles",
                }
                for n, place in places.items()
            ],
        }

    return started(Viewer(scene, reaction=react))


def _tile_of(row: int, column: int, grid: int, shape: tuple[int, int]) -> dict[str, Any]:
    """The tile of a pixel of the image as seen, its place in it, and its channels in both orders."""
    high, wide = shape[0] // grid, shape[1] // grid
    down, right = row // high, column // wide
    new = [(colour * grid + down) * grid + right for colour in range(3)]
    old = [(right * grid + down) * 3 + colour for colour in range(3)]
    return {"row": down, "column": right, "y": row % high, "x": column % wide, "new": new, "old": old}


def _tile_marks(scene: Scene, stage: int, grid: int, place: dict[str, Any], shape: tuple[int, int]) -> list[Mark]:
    rows, columns = scene.size
    high, wide = rows / grid, columns / grid
    tiles = [f"stage {stage}.tiles", f"decoder.stage{stage}.inward_reference"]
    photo = [f"stage {stage}.resized", "photo"]
    lines = [{"kind": "line", "x": i * wide, "y": 0, "x2": i * wide, "y2": rows} for i in range(1, grid)]
    lines += [{"kind": "line", "x": 0, "y": i * high, "x2": columns, "y2": i * high} for i in range(1, grid)]
    marks: list[Mark] = [{**line, "tone": "grid", "layers": photo} for line in lines]
    inside_x = (place["x"] + 0.5) / (shape[1] / grid) * wide
    inside_y = (place["y"] + 0.5) / (shape[0] / grid) * high
    marks += [
        {"kind": "point", "x": i * wide + inside_x, "y": j * high + inside_y, "tone": "two", "layers": photo}
        for j in range(grid)
        for i in range(grid)
    ]
    left, top = place["column"] * wide, place["row"] * high
    marks.append({"kind": "box", "x": left, "y": top, "width": wide, "height": high, "tone": "one", "layers": photo})
    # In a stacked map the same pixel sits where it sat in its tile.
    marks.append({"kind": "point", "x": inside_x * grid, "y": inside_y * grid, "tone": "two", "layers": tiles})
    return marks


TONES = {1: "two", 3: "four", 7: "one"}


def sampling_points(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """Where do the deformable kernels look? (paper, hierarchical receptive fields)

    Click a pixel: dots show where each kernel of the chosen block reads for it, yellow for 1 x 1, green for 3 x 3, cyan
    for 7 x 7, the fainter the less a tap counts. The maps show how far taps have moved and how much they count.
    """
    activations = capture(model, image, size, layers=["logits"])
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
    scene.columns = [f"{k} {TIMES} {k}\n{what}" for what in ("shift, cells", "weight") for k in sizes]
    for block, parts in blocks.items():
        names = []
        for what in ("shift", "weight"):
            for i, kernel in enumerate(parts):
                name = f"{block} · kernel {i + 1} · {what}"
                maps = kernel.shift() if what == "shift" else kernel.modulation.astype(np.float32).mean(axis=0)
                text = "how far its taps moved, in cells" if what == "shift" else "mean weight of its taps, 0 to 2"
                scene.add(name, maps[None], "positive", f"{block} · {kernel.size} {TIMES} {kernel.size} kernel", text)
                names.append(name)
            names += [None] * (most - len(parts))
        scene.rows.append((block, names))
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
            marks = [mark for kernel in reversed(parts) for mark in _tap_marks(viewer, kernel)]
            viewer.marks = [{**mark, "layers": shown} for mark in marks]
            viewer.table = _tap_table(viewer, parts)

    return started(Viewer(scene, reaction=react))


def _block_of(name: str) -> str:
    """`decoder.stage3.reconstruction…` is `Stage 3`, `squeeze.0.aspp…` is `Squeeze`."""
    parts = name.split(".")
    if parts[0] == "decoder":
        return f"Stage {parts[1].removeprefix('stage')}"
    number = int(parts[1]) if parts[1].isdecimal() else 0
    return parts[0].capitalize() + (f" {number + 1}" if number else "")


def _tap_marks(viewer: Viewer, kernel: Kernel) -> list[Mark]:
    rows, columns = viewer.source.size
    points = kernel.points(*pinned(viewer, *kernel.modulation.shape[-2:]))
    tone = TONES.get(kernel.size, "three")
    return [
        {"kind": "point", "x": x * columns, "y": y * rows, "tone": tone, "weight": float(np.clip(w / 2, 0.1, 1))}
        for y, x, w in points.tolist()
    ]


def _tap_table(viewer: Viewer, parts: list[Kernel]) -> dict[str, Any]:
    lines = []
    for kernel in parts:
        row, column = pinned(viewer, *kernel.modulation.shape[-2:])
        shift = np.hypot(*kernel.offsets[:, :, row, column].astype(np.float64).T)
        weight = kernel.modulation[:, row, column].astype(np.float64)
        cells = [f"{kernel.size} {TIMES} {kernel.size}", str(kernel.size**2)]
        cells += [f"{shift.mean():.3f}", f"{shift.max():.3f}", f"{weight.mean():.3f}"]
        lines.append({"cells": cells})
    columns = ["Kernel", "taps", "mean shift", "largest", "mean weight"]
    return {"caption": "At the pin; shifts in cells of this block's map", "columns": columns, "rows": lines}


def window_attention(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """What does a pixel attend to? Its window and the attention of every head, in each block of a Swin backbone.

    Click a pixel. Channels are heads. Every second block shifts its windows by half a window; at the border a window
    then holds pixels from both sides, which do not see each other.
    """
    activations = capture(model, image, size, layers=["logits"])
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

    def fill(row_of: Any) -> None:
        for name, block in blocks.items():
            row, column = row_of(*block.grid)
            shifted = f"shifted by {block.shift}" if block.shift else "not shifted"
            note = f"heads as channels · windows of {block.window} {TIMES} {block.window}, {shifted}"
            scene.add(name, block.attention(row, column), "positive", name.capitalize(), note)

    fill(lambda height, width: (height // 2, width // 2))

    def react(viewer: Viewer, changed: str) -> None:
        if changed == "pin":
            fill(lambda height, width: pinned(viewer, height, width))
            viewer.replace(list(blocks))
        if changed in ("pin", "layer"):
            block = blocks[viewer.layer]
            viewer.marks = _window_marks(viewer, block)
            viewer.table = _head_table(viewer, block)

    return started(Viewer(scene, reaction=react))


def _window_marks(viewer: Viewer, block: BlockAttention) -> list[Mark]:
    """The window as boxes: one, or up to four where the shift carried it over a border."""
    rows, columns = viewer.source.size
    height, width = block.grid
    window, _ = block.place(*pinned(viewer, height, width))
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
    row, column = pinned(viewer, *block.grid)
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
