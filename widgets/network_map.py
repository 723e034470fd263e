"""The map of the network: where each part is drawn, what leads to it, and its cost, from the list of parts."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from birefnet_lite.analysis.parts import (
    ATTENTION,
    IMAGE_BRANCH,
    INWARD,
    LATERAL,
    LOGITS,
    OUT,
    PHOTO,
    RECONSTRUCTION,
    SQUEEZE,
    STEPS,
    Part,
    list_parts,
    split_layer,
    title_of,
)
from birefnet_lite.analysis.profile import Costs
from widgets.number_format import TIMES

__all__ = ["describe_map", "place_part"]

#: Columns of the steps of a decoder stage; the encoder is at their left, so that the way through the network is a U.
COLUMNS = {LATERAL: 5, OUT: 6, RECONSTRUCTION: 7, ATTENTION: 8, INWARD: 9}


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
        # A lateral block and a stage's output are at the resolution of the next finer level.
        return (stage - 1 if step in (LATERAL, OUT) else stage), COLUMNS[step]
    kind = part.name.split(".")
    column = {"full": 1, "half": 2}.get(kind[1], 3) if kind[0] == "encoder" else 4
    return part.level, column + (kind[0] == "neck" and part.level == 4)


def describe_map(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], costs: Costs | None = None) -> dict[str, Any]:
    """The nodes and edges of the map, as JSON values.

    Args:
        model: The network.
        shapes: The shape (C, h, w) of each layer that can be shown; other parts have no node.
        costs: Of its parts; without it, a part is drawn without what it costs.

    Returns:
        `nodes` in the order of computation, each with the names of its `inputs`, and `edges` as they are drawn: levels
        of one pass of the backbone follow each other, as they are computed inside it.
    """
    parts = {name: part for name, part in list_parts(model).items() if part.used and name in shapes}
    costed = costs.parts if costs else ()
    by_layer = {layer: cost for cost in costed for layer in cost.layers}
    first = {cost.layers[0] for cost in costed}
    nodes = [{"name": PHOTO, "title": title_of(PHOTO), "label": "photo", "group": "photo", "row": 0, "column": 1}]
    edges = []
    before: dict[tuple[nn.Module, int], str] = {}
    for name, part in parts.items():
        row, column = place_part(part)
        cost = by_layer.get(name)
        nodes.append(
            {
                "name": name,
                "title": part.title,
                "label": _label_of(part),
                "group": part.group,
                "row": row,
                "column": column,
                "inputs": list(part.inputs),
                "shape": f" {TIMES} ".join(map(str, shapes[name])),
                # The backbone gives several layers: its cost is told at the first.
                **(_cost_of(cost, costs) if costs and cost is not None and name in first else {}),
                **({"removable": True} if part.removable else {}),
            }
        )
        previous = before.get((part.module, part.call)) if part.entry and part.inputs == (PHOTO,) else None
        sources = [previous] if previous else part.inputs
        edges += [{"from": source, "to": name, "inside": bool(previous)} for source in sources]
        before[part.module, part.call] = name
    return {"nodes": nodes, "edges": edges, "passes": costs.passes if costs else 0}


def _label_of(part: Part) -> str:
    if (found := split_layer(part.name)) is not None:
        return STEPS[found[1]].heading.replace("-\n", "").replace("\n", " ").lower()
    fixed = {LOGITS: "head: mask", IMAGE_BRANCH: "inward reference", SQUEEZE: "squeeze module"}
    kind = part.name.split(".")
    names = {"full": "whole", "half": "half size"}
    encoder = f"{names.get(kind[1], 'joined')}, x{part.level}" if kind[0] == "encoder" else f"neck, x{part.level}"
    return fixed.get(part.name, encoder)


def _cost_of(cost: Any, costs: Costs) -> dict[str, Any]:
    memory = sum(each.bytes for each in costs.parts) or 1
    parameters = sum(each.parameters for each in costs.parts) or 1
    return {
        "time": cost.seconds / costs.seconds,
        "parameters": cost.parameters / parameters,
        "memory": cost.bytes / memory,
        "said": {
            "time": f"{cost.seconds * 1000:.1f} ms ({cost.fastest * 1000:.1f} to {cost.slowest * 1000:.1f})",
            "parameters": f"{cost.parameters / 1e6:.3f} million",
            "memory": f"{cost.bytes / 2**20:.2f} MiB of output",
        },
    }
