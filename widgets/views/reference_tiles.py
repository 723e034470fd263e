"""Reference tiles view: the image cut into tiles for each decoder stage (inward reference)."""

from typing import Any

import torch
from torch import nn

from birefnet_lite.analysis.layer_names import INWARD, STAGES, stage_layer, stage_module
from birefnet_lite.analysis.parts import find_module
from birefnet_lite.network.refinement import image_to_tiles
from birefnet_lite.network.resize import resize
from widgets.number_format import TIMES
from widgets.scene import Scene
from widgets.view_setup import Mark, Size, add_layers, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer

__all__ = ["reference_tiles"]


def reference_tiles(model: nn.Module, image: Any, size: Size = None) -> Viewer:
    """How does the decoder see the image in full detail? The image cut into tiles for each stage (inward reference).

    Click a pixel: its tile, the channels it lands in, in today's order and in that of checkpoints from before November
    2024, and the places that one cell of the stage sees at once.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> view = reference_tiles(model, photo, size=64)
        >>> view.pin = [225, 150]
        >>> view.table["rows"][0]["cells"][:3]
        ['Stage 4', '32 × 32', '16, 15']
    """
    activations = run(model, image, size)
    stages = [n for n in STAGES if stage_layer(n, INWARD) in activations]
    branches: dict[int, Any] = {n: find_module(model, stage_module(n, INWARD)) for n in stages}
    if not stages or not all(getattr(branch, "tiles", False) for branch in branches.values()):
        raise ValueError(f"This model does not cut the image into tiles ({INWARD} and image_tiles are needed).")
    grids = {n: int(branch.grid) for n, branch in branches.items()}
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
        scene.rows.append((f"Stage {n}\nstride {grid}", [tiles, small, stage_layer(n, INWARD)]))
    add_layers(scene, activations, [stage_layer(n, INWARD) for n in stages], None)
    scene.focus = f"stage {stages[-1]}.tiles"
    shape = (seen.shape[-2], seen.shape[-1])

    def react(viewer: Viewer, changed: str) -> None:
        if changed not in ("pin", "layer"):
            return
        row, column = cell_at_pin(viewer, *shape)
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

    return start_at_middle(Viewer(scene, reaction=react))


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
    tiles = [f"stage {stage}.tiles", stage_layer(stage, INWARD)]
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
