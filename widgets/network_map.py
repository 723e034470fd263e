"""The map of the network: where each part is drawn, what leads to it, and its cost, from the list of parts."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from birefnet_lite.analysis.layer_names import (
    ATTENTION,
    GRADIENT,
    IMAGE_BRANCH,
    INWARD,
    LATERAL,
    LEVELS,
    LOGITS,
    OUT,
    PHOTO,
    RECONSTRUCTION,
    SIDE,
    SQUEEZE,
    STAGES,
    STEPS,
    split_layer,
    stride_of,
    title_of,
)
from birefnet_lite.analysis.parts import Part, list_parts
from birefnet_lite.analysis.profile import Costs
from widgets.number_format import TIMES

__all__ = ["describe_map", "fold_part", "place_part"]

#: Columns of the steps of a decoder stage; the encoder is at their left, so that the way through the network is a U.
COLUMNS = {LATERAL: 5, OUT: 6, RECONSTRUCTION: 7, ATTENTION: 8, INWARD: 9}
#: The same where the map is folded for narrow pages: the decoder goes on below the encoder, one row a resolution.
FOLDED_COLUMNS = {LATERAL: 1, OUT: 2, RECONSTRUCTION: 3, ATTENTION: 4, INWARD: 5}
#: The row of the maps that only the training uses, and the first of their columns.
TRAINING_ROW, TRAINING_COLUMN = 5, 4
#: Rows of the folded map: the photo, four levels, four stages and the head, then the maps for the training.
FOLDED_HEAD_ROW, FOLDED_SIDE_ROW, FOLDED_GRADIENT_ROW = 9, 10, 11


#: Where the words in the boxes may break.
BROKEN = ("recon-struc-tion", "gra-dient", "atten-tion", "refer-ence", "pre-dicted", "in-ward", "out-put", "lat-eral")


def place_part(part: Part) -> tuple[int, int]:
    """Row (0 is the photo's resolution, 4 the coarsest level) and column, from 1, of a part on the map."""
    if part.name == LOGITS:
        return 0, COLUMNS[RECONSTRUCTION]
    if part.name == IMAGE_BRANCH:
        return 0, COLUMNS[INWARD]
    if part.name == SQUEEZE:
        return 4, 4
    if (found := split_layer(part.name)) is not None:
        stage, step = found
        if step in (SIDE, GRADIENT):
            return TRAINING_ROW, TRAINING_COLUMN + STAGES.index(stage) + (3 if step == GRADIENT else 0)
        # A lateral block and a stage's output are at the resolution of the next finer level.
        return (stage - 1 if step in (LATERAL, OUT) else stage), COLUMNS[step]
    kind = part.name.split(".")
    column = {"full": 1, "half": 2}.get(kind[1], 3) if kind[0] == "encoder" else 4
    return part.level, column + (kind[0] == "neck" and part.level == 4)


def fold_part(part: Part) -> tuple[int, int]:
    """Row and column of a part on the map as it is folded for narrow pages."""
    row, column = place_part(part)
    if part.name in (LOGITS, IMAGE_BRANCH):
        return FOLDED_HEAD_ROW, FOLDED_COLUMNS[RECONSTRUCTION if part.name == LOGITS else INWARD]
    if (found := split_layer(part.name)) is None:
        return row, column
    stage, step = found
    if step in FOLDED_COLUMNS:
        return FOLDED_HEAD_ROW - row, FOLDED_COLUMNS[step]
    # Three maps in a row, at the right of their title.
    return (FOLDED_SIDE_ROW if step == SIDE else FOLDED_GRADIENT_ROW), 3 + STAGES.index(stage)


def describe_map(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]], costs: Costs | None = None, training: bool = False
) -> dict[str, Any]:
    """The nodes and edges of the map, as JSON values.

    Args:
        model: The network.
        shapes: The shape (C, h, w) of each layer that can be shown; other parts have no node.
        costs: Of its parts; without it, a part is drawn without what it costs.
        training: Draw also the parts on which the mask does not depend.

    Returns:
        `nodes` in the order of computation, each with the names of its `inputs`, its place (`row` and `column`, and
        both as `fold` on a narrow page) and the `operations` before its module; `edges` as they are drawn: levels of
        one pass of the backbone follow each other, as they are computed inside it; `regions`, the nodes that have a
        common name; `levels`, the names of the rows.
    """
    parts = {name: p for name, p in list_parts(model).items() if (training or p.used) and name in shapes}
    costed = costs.parts if costs else ()
    by_layer = {layer: cost for cost in costed for layer in cost.layers}
    first = {cost.layers[0] for cost in costed}
    place: dict[str, Any] = {"row": 0, "column": 1, "fold": [0, 1]}
    nodes = [{"name": PHOTO, "title": title_of(PHOTO), "label": "photo", "group": "photo", **place}]
    edges = []
    before: dict[tuple[nn.Module, int], str] = {}
    for name, part in parts.items():
        row, column = place_part(part)
        cost = by_layer.get(name)
        previous = before.get((part.module, part.call)) if part.entry and part.inputs == (PHOTO,) else None
        operations = [] if previous else _known_operations(part, parts)
        nodes.append(
            {
                "name": name,
                "title": part.title,
                "label": _label_of(part),
                "group": part.group,
                "row": row,
                "column": column,
                "fold": list(fold_part(part)),
                "inputs": list(part.inputs),
                **({"operations": operations} if operations else {}),
                "shape": f" {TIMES} ".join(map(str, shapes[name])),
                # The backbone gives several layers: its cost is told at the first.
                **(_cost_of(cost, costs) if costs and cost is not None and name in first else {}),
                **({"removable": True} if part.removable else {}),
            }
        )
        read = [each for one in operations for each in one["inputs"] if isinstance(each, str)]
        sources = [previous] if previous else read or part.inputs
        edges += [{"from": source, "to": name, "inside": bool(previous)} for source in sources]
        before[part.module, part.call] = name
    return {
        "nodes": nodes,
        "edges": edges,
        "regions": _name_regions(parts),
        "levels": [{"row": row, "title": f"Level {row}", "size": f"1/{stride_of(row)}"} for row in LEVELS],
        "passes": costs.passes if costs else 0,
        **({"rest": costs.rest / costs.counted} if costs else {}),
    }


def _known_operations(part: Part, parts: Mapping[str, Part]) -> list[dict[str, Any]]:
    """A part's operations as JSON values; none where a network of one's own lacks what they read."""
    read = {each for one in part.operations for each in one.inputs if isinstance(each, str)}
    if not read <= {PHOTO, *parts}:
        return []
    return [{"name": one.name, "inputs": list(one.inputs)} for one in part.operations]


def _name_regions(parts: Mapping[str, Part]) -> list[dict[str, Any]]:
    """The nodes that have a name in common: encoder, neck, stages, head, and what only the training uses."""
    regions: dict[tuple[str, str], list[str]] = {}
    for name, part in parts.items():
        kind = name.split(".")[0]
        if part.group == "training":
            key = "training", "For training only"
        elif (found := split_layer(name)) is not None:
            key = "stage", f"Stage {found[0]} · 1/{stride_of(found[0])}"
        elif name in (LOGITS, IMAGE_BRANCH):
            key = "head", "Head · 1/1"
        elif kind in ("encoder", "neck"):
            key = kind, kind.capitalize()
        else:
            continue
        regions.setdefault(key, []).append(name)
    return [{"kind": kind, "title": title, "nodes": names} for (kind, title), names in regions.items()]


def _label_of(part: Part) -> str:
    """The name in the part's box, with soft hyphens where its words may break."""
    label = _plain_label(part)
    for broken in BROKEN:
        label = label.replace(broken.replace("-", ""), broken.replace("-", "\u00ad"))
    return label


def _plain_label(part: Part) -> str:
    if (found := split_layer(part.name)) is not None:
        label = STEPS[found[1]].heading.replace("-\n", "").replace("\n", " ").lower()
        return f"stage\u00a0{found[0]} {label}" if part.group == "training" else label
    fixed = {LOGITS: "head: mask", IMAGE_BRANCH: "inward reference", SQUEEZE: "squeeze"}
    kind = part.name.split(".")
    names = {"full": "whole", "half": "half size"}
    encoder = f"{names.get(kind[1], 'joined')} x{part.level}" if kind[0] == "encoder" else f"neck x{part.level}"
    return fixed.get(part.name, encoder)


def _cost_of(cost: Any, costs: Costs) -> dict[str, Any]:
    memory = sum(each.bytes for each in costs.parts) or 1
    parameters = sum(each.parameters for each in costs.parts) or 1
    return {
        "time": cost.seconds / costs.counted,
        "parameters": cost.parameters / parameters,
        "memory": cost.bytes / memory,
        **({"costed": "all levels together"} if len(cost.layers) > 1 else {}),
        "said": {
            "time": f"{cost.seconds * 1000:.1f} ms ({cost.fastest * 1000:.1f} to {cost.slowest * 1000:.1f})",
            "parameters": f"{cost.parameters / 1e6:.3f} million parameters",
            "memory": f"{cost.bytes / 2**20:.2f} MiB of output",
        },
    }
