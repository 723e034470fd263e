"""The sum behind one value of a convolution: patch, kernel and products, or the taps of a deformable one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.convolution import ConvolutionPass, ConvolutionTerms, list_convolutions, trace_convolution
from widgets.number_format import MINUS, TIMES
from widgets.packing import count_channels
from widgets.view_setup import KEPT, Size, cell_at_pin, new_scene, run, start_at_middle
from widgets.viewer import Viewer

__all__ = ["show_convolution"]

#: Rows of the table before the rest is one row.
LONGEST = 12
LAYERS = {
    "input": "Input",
    "patch": "Patch",
    "kernel": f"{TIMES}\nkernel",
    "product": "=\nproducts",
    "output": "Output",
}


def show_convolution(model: nn.Module, image: Any, name: str, size: Size = None) -> Viewer:
    """The view of `computation` for the convolution `name`."""
    activations = run(model, image, size, layers=["logits"])
    prepared = prepare(model, image, size)
    known = list_convolutions(model)
    state: dict[str, Any] = {"pass": trace_convolution(model, prepared, name)}
    question = "Which weights made this value? Click a cell of the output: the terms add up to it."
    scene = new_scene("convolution", "Computation of a convolution", question, activations, model)
    scene.columns = list(LAYERS.values())
    scene.rows = [("Sum", list(LAYERS))]
    scene.extra["choices"] = [{"name": "convolution", "label": "Convolution", "options": known}]
    scene.focus = "output"

    def maps_again(layer: str) -> NDArray[np.floating]:
        done: ConvolutionPass = state["pass"]
        if layer in ("input", "output"):
            return (done.input if layer == "input" else done.output).numpy()
        return _term_maps(done, state["terms"])[layer]

    scene.recompute = maps_again

    def fill() -> None:
        done: ConvolutionPass = state["pass"]
        kept = count_channels({"input": (*done.input.shape,), "output": (*done.output.shape,)}, KEPT)
        for layer, maps in (("input", done.input), ("output", done.output)):
            scene.add(layer, maps.numpy(), "signed", f"{layer.capitalize()} · {done.name}", keep=kept[layer])

    def explain(viewer: Viewer, channel: int) -> None:
        done: ConvolutionPass = state["pass"]
        row, column = cell_at_pin(viewer, *done.output.shape[1:])
        terms = state["terms"] = done.terms(channel, row, column)
        _add_terms(scene, done, terms)
        strongest = int(np.argmax(np.abs(terms.products.sum(axis=1))))
        viewer.replace(["patch", "kernel", "product"])
        viewer.marks = _marks(viewer, done, terms)
        value = float(done.output[channel, row, column])
        viewer.table = _tabulate(done, terms, channel, value)
        chosen = {"patch": strongest, "kernel": strongest, "product": strongest, "input": terms.first + strongest}
        state["channel"] = channel
        viewer.choose_channels({**chosen, "output": channel})

    def react(viewer: Viewer, changed: str) -> None:
        chosen = viewer.controls.get("convolution", name)
        if changed == "controls" and chosen != state["pass"].name:
            state["pass"] = trace_convolution(model, prepared, chosen)
            fill()
            channel = state["channel"] = next(iter(scene.layers["output"].planes))
            state["terms"] = state["pass"].terms(channel, 0, 0)
            _add_terms(scene, state["pass"], state["terms"])
            viewer.renew()
            with viewer.without_reaction():
                viewer.layer = "output"
            explain(viewer, channel)
        elif changed == "pin":
            explain(viewer, state["channel"])

    fill()
    first = next(iter(scene.layers["output"].planes))
    rows, columns = (size // 2 for size in state["pass"].output.shape[1:])
    state["terms"] = state["pass"].terms(first, rows, columns)
    _add_terms(scene, state["pass"], state["terms"])
    state["channel"] = first
    viewer = Viewer(scene, reaction=react, controls={"convolution": name})

    def follow(change: dict[str, Any]) -> None:
        # Another channel of the output is another sum.
        channel = change["new"].get("output", 0)
        if channel != state["channel"]:
            try:
                explain(viewer, channel)
            except Exception as error:
                viewer.report(error)

    viewer.observe(follow, "channels")
    return start_at_middle(viewer)


def _term_maps(done: ConvolutionPass, terms: ConvolutionTerms) -> dict[str, NDArray[np.float32]]:
    """Patch, kernel and products as small maps: (C, kh, kw)."""
    shape = (-1, *done.weight.shape[2:])
    maps = {"patch": terms.read * terms.modulation, "kernel": terms.weight, "product": terms.products}
    return {name: values.reshape(shape).astype(np.float32) for name, values in maps.items()}


def _add_terms(scene: Any, done: ConvolutionPass, terms: ConvolutionTerms) -> None:
    """Put patch, kernel and products in; kept are the channels that add most."""
    names = {"patch": "what the taps read", "kernel": "the kernel's weights", "product": "read times weight"}
    strongest = np.argsort(-np.abs(terms.products.sum(axis=1)), kind="stable")[:256]
    for name, values in _term_maps(done, terms).items():
        note = "by input channel" + (", times its modulation" if done.offset is not None and name == "patch" else "")
        layer = scene.add(name, values, "signed", f"{name.capitalize()} · {names[name]}", note, channels=strongest)
        layer.taps = True


def _marks(viewer: Viewer, done: ConvolutionPass, terms: ConvolutionTerms) -> list[dict[str, Any]]:
    """Where the taps read, on the input: points, as strong as their modulation, or a box where they fill it."""
    height, width = done.input.shape[1:]
    rows, columns = viewer.source.size
    down, across = rows / height, columns / width
    (top, left), (bottom, right) = terms.places.min(axis=0), terms.places.max(axis=0) + 1
    if done.offset is None and len(terms.places) == (bottom - top) * (right - left):
        box = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
        return [{"kind": "box", "tone": "two", "layers": ["input"], **box}]
    return [
        {
            "kind": "point",
            "tone": "two",
            "layers": ["input"],
            "x": float(x + 0.5) * across,
            "y": float(y + 0.5) * down,
            "weight": float(np.clip(weight / 2, 0.1, 1)),
        }
        for (y, x), weight in zip(terms.places, terms.modulation, strict=True)
    ]


def _tabulate(done: ConvolutionPass, terms: ConvolutionTerms, channel: int, value: float) -> dict[str, Any]:
    """The largest terms one by one, all others together, the bias, and what they add up to."""
    by_tap = done.offset is not None and len(terms.modulation) > 1
    parts = terms.products.sum(axis=0 if by_tap else 1)
    order = np.argsort(-np.abs(parts), kind="stable")
    rows = []
    read = terms.read * terms.modulation
    for i in order[:LONGEST].tolist():
        if by_tap:
            y, x = terms.moved[i]
            where = [f"tap {i + 1}", f"{y:+.2f}, {x:+.2f}", f"{terms.modulation[i]:.3f}"]
        else:
            where = [f"channel {terms.first + i}", _numbers(read[i]), _numbers(terms.weight[i])]
        rows.append({"cells": [*where, f"{parts[i]:+.4f}"]})
    rest = order[LONGEST:]
    if len(rest):
        rows.append({"cells": [f"{len(rest)} others", "", "", f"{parts[rest].sum():+.4f}"]})
    rows.append({"cells": ["constant (bias)", "", "", f"{terms.bias:+.4f}"]})
    rows.append({"cells": ["sum", "", f"output {value:.4f}", f"{terms.total:.4f}"]})
    for line in rows:
        line["cells"] = [text.replace("-", MINUS) for text in line["cells"]]
    what = "read" if done.offset is None else f"read {TIMES} modulation"
    heads = ["Tap", "moved down, right (cells)", "modulation"] if by_tap else ["Input", what, "weight"]
    caption = f"Output channel {channel} at the pin, as a sum over {'taps' if by_tap else 'input channels'}"
    return {"caption": caption, "columns": [*heads, "adds"], "rows": rows}


def _numbers(values: Any) -> str:
    """One number, or the range of several."""
    return f"{values[0]:.3f}" if len(values) == 1 else f"{values.min():.3f} to {values.max():.3f}"
