"""Clean a notebook's outputs: keep what reads the same for everyone and names no machine."""

import base64
import io
import re

import numpy as np
from nbformat import NotebookNode
from nbformat.v4 import new_output
from PIL import Image

from editions import MACHINE

__all__ = ["LIMIT", "clean", "machine_marks", "problems"]

LIMIT = 1_000_000
"""Most bytes of a built notebook."""

VIEW = "application/vnd.jupyter.widget-view+json"
_VIEW_NOTE = "Run this cell to get the interactive view. The picture below shows it as it opens."
_MACHINE_NOTE = "Run this cell: what it says depends on your machine."
_LARGE_PICTURE = 120_000  # characters of base64
_PALETTE_ERROR = 0.6  # mean over the colours, of 255

# Each of these in an output would be true of one machine, or of one moment, only.
_MARKS = {
    "a path": re.compile(r"(?<![\w.:/<])/(?:[\w.-]+/)+[\w.-]+|\b[A-Z]:\\[\w\\]+"),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a time": re.compile(r"\b\d+(?:\.\d+)?\s?(?:ms|µs|s|seconds|minutes)\b|\b\d\d:\d\d:\d\d\b|\b20\d\d-\d\d-\d\d\b"),
}


def clean(notebook: NotebookNode) -> None:
    """Makes the outputs of a notebook that was run fit to be kept, in place.

    Interactive views become a line that says to run the cell, outputs of cells tagged `machine` likewise; large
    pictures get a palette; what the kernel says about widgets and timing goes.
    """
    notebook.metadata.pop("widgets", None)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell["execution_count"] = count
        cell.metadata.pop("execution", None)
        if MACHINE in cell.metadata.get("tags", []):
            cell["outputs"] = [_note(_MACHINE_NOTE)] if cell.outputs else []
            continue
        cell["outputs"] = [_output(output, count) for output in _joined(cell.outputs)]


def problems(notebook: NotebookNode) -> list[str]:
    """Problems that keep a cleaned notebook from being published: errors, warnings, and marks of the machine."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"{cell.id} fails with {output.ename}: {output.evalue}")
                continue
            if output.get("name") == "stderr":
                found.append(f"{cell.id} writes to the error stream: {output.text.strip()}")
            for text in _texts(output):
                found += [f"{cell.id} shows {mark}" for mark in machine_marks(text)]
            found += [f"{cell.id} shows a picture without alternative text" for _ in _mute_pictures(output)]
    return found


def machine_marks(text: str) -> list[str]:
    """Parts of a text that belong to one machine or one moment, each as "a path: …"."""
    return [f"{what}: {match[0]!r}" for what, pattern in _MARKS.items() for match in pattern.finditer(text)]


def _note(text: str) -> NotebookNode:
    return new_output("display_data", data={"text/html": f"<p>▶ <em>{text}</em></p>", "text/plain": f"▶ {text}"})


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Streams, which the kernel sends in pieces of any size, in one; without empty outputs, where a bar was."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1]["text"] += output.text
        elif output.get("data") != {}:
            joined.append(output)
    return joined


def _output(output: NotebookNode, count: int) -> NotebookNode:
    data = output.get("data", {})
    if VIEW in data:
        return _note(_VIEW_NOTE)
    if output.output_type == "execute_result":
        output["execution_count"] = count
    if len(data.get("image/png", "")) > _LARGE_PICTURE:
        kind, picture = _smaller(base64.b64decode(data.pop("image/png")))
        data[kind] = base64.b64encode(picture).decode("ascii")
        if shown := output.metadata.pop("image/png", None):
            output.metadata[kind] = shown
    return output


def _smaller(png: bytes) -> tuple[str, bytes]:
    """A large picture again: with 256 colours where they are enough, as a drawing has them, else as a JPEG."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    few = image.quantize(256, method=Image.Quantize.MEDIANCUT)
    error = np.abs(np.asarray(few.convert("RGB"), np.int16) - np.asarray(image, np.int16)).mean()
    stream = io.BytesIO()
    if error < _PALETTE_ERROR:
        few.save(stream, "PNG", optimize=True)
        return "image/png", stream.getvalue()
    image.save(stream, "JPEG", quality=82, optimize=True)
    return "image/jpeg", stream.getvalue()


def _texts(output: NotebookNode) -> list[str]:
    texts = [output.text] if output.output_type == "stream" else []
    return texts + [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]


def _mute_pictures(output: NotebookNode) -> list[str]:
    data = output.get("data", {})
    pictures = [kind for kind in data if kind.startswith("image/")]
    return [kind for kind in pictures if not output.get("metadata", {}).get(kind, {}).get("alt")]
