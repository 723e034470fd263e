"""Layer debugger view: two networks side by side, part by part, with their difference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.compare import Row, compare_layers
from widgets import view_setup
from widgets.number_format import MINUS, TIMES
from widgets.packing import count_channels
from widgets.scene import Scene
from widgets.view_registry import register
from widgets.viewer import Viewer

__all__ = ["compare"]

#: Bytes that one map of every part shown may take together, and how many parts are shown.
PAGE, MOST = 3 * 2**20, 80
SIDES = ("mine", "reference", "difference")
TITLES = {"mine": "Mine", "reference": "Reference", "difference": f"Mine {MINUS} reference"}


def compare(
    mine: nn.Module,
    reference: nn.Module,
    x: Any,
    names: Mapping[str, str] | None = None,
    tolerance: float = 1e-4,
    size: view_setup.Size = None,
) -> Viewer:
    """Where does my part compute something else than the reference?

    `x` is the input: a tensor (B, C, H, W), a tuple of tensors, or a photo, which is squashed to `size`. `names` maps
    names of my parts to the reference's where they differ. A part is OK where it differs by at most `tolerance` of the
    reference's largest value. Choose a row to see both maps and their difference. The first part that is not OK is
    marked: what follows from it differs too.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.course.capstone import broken_network
        >>> from birefnet_lite.photos import load_photo
        >>> model, photo = load("nano", "cpu"), load_photo("chelsea")[0]
        >>> compare(broken_network(model), model, photo, size=64).scene["question"]
        '262 of 465 parts agree; the first that does not is decoder.stage4.inward.branch.conv_in'
    """
    inputs = x if isinstance(x, tuple) else (x if isinstance(x, Tensor) else prepare(reference, x, size).tensor,)
    rows = compare_layers(mine, reference, inputs, names, tolerance)
    wrong = [row for row in rows if row.status != "OK"]
    first = wrong[0] if wrong else None
    shown = _choose_rows(rows, first)
    if not shown:
        raise ValueError(
            "Neither module gave a tensor under a name that the other has too: there is nothing to compare."
        )
    agree = (
        f"All {len(rows)} parts agree"
        if first is None
        else f"{len(rows) - len(wrong)} of {len(rows)} parts agree; the first that does not is {first.name}"
    )
    scene = Scene("compare", "Layer debugger", agree, _picture(inputs), what="input")
    counts = count_channels(
        {row.name: maps.shape for row in shown if (maps := _maps(row.reference)) is not None}, view_setup.KEPT / 3
    )
    for row in shown:
        _add(scene, row, counts[row.name])
    focus = first if first in shown else shown[-1]
    scene.focus = f"{focus.name} · reference"
    scene.facts = [
        f"{type(mine).__name__} beside {type(reference).__name__}, on the first image of the batch",
        f"OK: within {tolerance:g} of the reference's largest value",
    ]
    table = {
        "caption": "In the order in which the reference computes. "
        + ("Choose a row to see its maps." if len(shown) == len(rows) else f"{len(shown)} parts have maps to choose."),
        "columns": ["Part", "mine", "reference", "largest difference", "mean difference", ""],
        "rows": [_line(row, row is first, row in shown) for row in rows],
    }
    return register(Viewer(scene, table=table))


def _choose_rows(rows: list[Row], first: Row | None) -> list[Row]:
    """The parts whose maps fit into one page: the first that differs, the outer parts, then others that differ."""

    def urgency(row: Row) -> tuple[bool, bool, bool, int]:
        depth = row.name.count(".")
        return row is not first, depth > 2, row.status == "OK", depth

    room = PAGE
    chosen: list[Row] = []
    for row in sorted(rows, key=urgency):
        mine, reference = _maps(row.mine), _maps(row.reference)
        if mine is None or reference is None:
            continue
        cost = 2 * (mine[0].size + 2 * reference[0].size)
        if row is first or (cost <= room and len(chosen) < MOST):
            room -= cost
            chosen.append(row)
    return [row for row in rows if row in chosen]


def _line(row: Row, first: bool, shown: bool) -> dict[str, Any]:
    apart = [f"{value:.3g}" if np.isfinite(value) or value > 0 else "" for value in (row.largest, row.mean)]
    cells = [row.name, _shape(row.mine), _shape(row.reference), *apart, row.status]
    status = "good" if row.status == "OK" else "bad"
    return {"cells": cells, "status": status, "first": first, **({"layer": f"{row.name} · reference"} if shown else {})}


def _shape(x: Tensor | None) -> str:
    return "none" if x is None else f" {TIMES} ".join(map(str, x.shape)) or "number"


def _maps(x: Tensor | None) -> NDArray[np.float32] | None:
    """The first of a batch as maps (C, H, W): tokens become one map of tokens by channels, a vector one row."""
    if x is None or x.numel() == 0 or x.is_complex():
        return None
    array = x.float().numpy()
    if array.ndim == 4:
        return array[0]  # (C, H, W)
    if array.ndim == 3:
        return array[:1]  # (1, N, C)
    return array.reshape(1, 1, -1) if array.ndim < 2 else array[:1].reshape(1, 1, -1)


def _add(scene: Scene, row: Row, keep: int) -> None:
    mine, reference = _maps(row.mine), _maps(row.reference)
    if mine is None or reference is None:
        return
    apart = mine - reference if mine.shape == reference.shape else None
    order = (
        np.argsort(-np.nan_to_num(np.abs(apart)).max(axis=(1, 2)), kind="stable")[:keep] if apart is not None else None
    )
    group = [f"{row.name} · {side}" for side in SIDES[: 3 if apart is not None else 2]]
    for side, maps in zip(SIDES, (mine, reference, apart), strict=True):
        if maps is not None:
            kind = "signed" if side == "difference" else view_setup.kind_of(row.name, reference)
            scene.add(
                f"{row.name} · {side}",
                maps,
                kind,
                f"{TITLES[side]}: {row.name}",
                row.status,
                keep=keep,
                channels=order,
                group=group,
                shares=group[:2] if side != "difference" else None,
            )


def _picture(inputs: tuple[Any, ...]) -> NDArray[np.uint8]:
    """A grey picture of the input to lay maps over: its mean over channels, stretched; plain where it is no image."""
    x = next((x for x in inputs if isinstance(x, Tensor) and x.ndim == 4), None)
    if x is None:
        return np.full((64, 64, 3), 128, np.uint8)
    mean = x[0].detach().float().cpu().mean(0)
    mean = torch.nan_to_num(mean - mean.min()) / (mean.max() - mean.min()).clamp_min(1e-12)
    return np.repeat((mean.numpy() * 255).astype(np.uint8)[..., None], 3, axis=2)
