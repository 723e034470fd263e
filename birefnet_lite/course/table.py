"""Table of the parts of the network: the shapes of their maps and their parameters."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from torch import nn

from birefnet_lite.analysis import Activations, capture
from birefnet_lite.analysis.layer_names import (
    ATTENTION,
    IMAGE_BRANCH,
    INWARD,
    LATERAL,
    LEVELS,
    LOGITS,
    RECONSTRUCTION,
    SIDE,
    SQUEEZE,
    encoder_layer,
    stage_layer,
    stage_module,
)
from birefnet_lite.analysis.parts import find_module
from birefnet_lite.course.picture import TIMES

__all__ = ["PARTS", "Part", "PartTable", "part_table"]

COLUMNS = ("photo's size", "level 1", "level 2", "level 3", "level 4")
"""The columns of the table; level i is 2^(i + 1) times coarser than the photo."""


@dataclass(frozen=True)
class Part:
    """One row: where its maps and its parameters are found."""

    title: str
    notebook: str
    maps: tuple[str | None, ...]
    """The layer (as `analysis.capture` names it) of each of the five columns."""
    modules: tuple[str, ...] = ()
    """The submodules that hold its parameters."""


def _layers(step: str) -> tuple[str, ...]:
    return tuple(stage_layer(stage, step) for stage in LEVELS)


def _modules(step: str) -> tuple[str, ...]:
    return tuple(stage_module(stage, step) for stage in LEVELS)


def _encoder(scale: str = "") -> tuple[str, ...]:
    return tuple(encoder_layer(level, scale) for level in LEVELS)


# A lateral block brings the next finer level to its stage, so that the one of stage 4 is in the column of level 3.
_LATERAL = _layers(LATERAL)[1:]

PARTS = (
    Part("backbone, whole photo", "02", (None, *_encoder("full")), ("encoder.backbone",)),
    Part("backbone, half-size photo", "02", (None, *_encoder("half"))),
    Part("encoder: both, and context", "02", (None, *_encoder())),
    Part("squeeze module", "03", (None, None, None, None, SQUEEZE), ("squeeze",)),
    Part("lateral blocks", "04", (None, *_LATERAL, None), ("neck", *_modules(LATERAL)[1:])),
    Part("reconstruction blocks", "05", (None, *_layers(RECONSTRUCTION)), _modules(RECONSTRUCTION)),
    Part("inward reference", "06", (IMAGE_BRANCH, *_layers(INWARD)), (IMAGE_BRANCH, *_modules(INWARD))),
    Part("outward reference", "06", (None, *_layers(ATTENTION)), _modules(ATTENTION)),
    Part("side outputs (in training)", "08", (None, *_layers(SIDE)), _modules(SIDE)),
    Part("class head (in training)", "08", (None,) * 5, ("class_head",)),
    Part("head: the mask", "05", (LOGITS, None, None, None, None), ("decoder.head",)),
)


class PartTable:
    """The table itself; shows as HTML in a notebook and as aligned text elsewhere."""

    def __init__(self, rows: list[tuple[str, ...]], total: int) -> None:
        self.head = ("part", *COLUMNS, "parameters", "notebook")
        self.rows = rows
        self.total = total

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in self._lines(widths)]
        return "\n".join(line.rstrip() for line in lines)

    def _lines(self, widths: list[int]) -> Iterable[tuple[str, ...]]:
        yield self.head
        yield tuple("─" * width for width in widths)
        yield from self.rows

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            sides = ("left", *("right",) * (len(cells) - 2), "center")
            # Sites that show notebooks drop styles but keep `align`; JupyterLab does the opposite.
            places = (f"<{tag} align='{side}' style='text-align:{side}'>" for side in sides)
            return "<tr>" + "".join(f"{p}{escape(c)}</{tag}>" for p, c in zip(places, cells, strict=True)) + "</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        return f"<table><thead>{row(self.head, 'th')}</thead><tbody>{body}</tbody></table>"


def part_table(model: nn.Module, size: int | tuple[int, int] = 256, upto: str = "12") -> PartTable:
    """Shapes (channels x height x width) and parameters of every part, measured on the model itself.

    `size` is that of the photo, (H, W) or one number, in pixels. `upto` is a notebook's number: parts that only later
    notebooks build show a dot instead of their shapes.

    Examples:
        >>> from birefnet_lite.course import course_model
        >>> table = part_table(course_model().model, size=64)
        >>> table.total
        5525462
    """
    height, width = (size, size) if isinstance(size, int) else size
    maps = capture(model, np.zeros((height, width, 3), np.uint8), size=(height, width))
    rows: list[tuple[str, ...]] = [("photo", TIMES.join(("3", str(height), str(width))), "", "", "", "", "", "")]
    for part in PARTS:
        counts = [_parameters(model, name) for name in part.modules]
        present = [name for name in part.maps if name in maps]
        if not present and sum(counts) == 0:
            continue
        later = part.notebook > upto
        cells = ["·" if later and name in maps else _shape(maps, name) for name in part.maps]
        parameters = "same as above" if not part.modules and part.title.startswith("backbone") else _count(sum(counts))
        rows.append((part.title, *cells, parameters, part.notebook))
    total = sum(parameter.numel() for parameter in model.parameters())
    rows.append(("all parts", "", "", "", "", "", _count(total), ""))
    return PartTable(rows, total)


def _parameters(model: nn.Module, name: str) -> int:
    """How many parameters a submodule has; 0 where this network has no such part."""
    module = find_module(model, name)
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def _shape(maps: Activations, name: str | None) -> str:
    return TIMES.join(map(str, maps[name].shape)) if name is not None and name in maps else ""


def _count(parameters: int) -> str:
    """0, 96 or 27,520,000 as a person reads it."""
    return "\N{EN DASH}" if parameters == 0 else f"{parameters:,}"
