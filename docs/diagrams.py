"""Sphinx extension: draws the Mermaid flowcharts of docs/architecture.md as SVG, without Mermaid's JavaScript.

It knows the two kinds of line that `draw_architecture.py` writes: `name["title<br>label"]` and `name --> other & more`.
"""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from docs.draw_architecture import Graph, levels

__all__ = ["draw_svg", "setup"]

WIDTH, HEIGHT, GAP, BETWEEN = 196, 46, 14, 44  # of a box, between boxes of a level, between levels; in pixels

_BOX = re.compile(r'^\s*(\w+)\["(.+?)<br>(.*?)"\]$')
_ARROW = re.compile(r"^\s*(\w+) --> (.+)$")


def draw_svg(text: str) -> str:
    """Draw a flowchart with each box above everything that its arrows lead to.

    Raises:
        ValueError: A line is of another kind.
    """
    labels: dict[str, tuple[str, str]] = {}
    graph: Graph = {}
    for line in text.strip().splitlines()[1:]:
        if box := _BOX.match(line):
            labels[box[1]] = (box[2], box[3])
            graph.setdefault(box[1], set())
        elif arrow := _ARROW.match(line):
            graph.setdefault(arrow[1], set()).update(arrow[2].split(" & "))
        else:
            raise ValueError(f"cannot draw this line of a diagram: {line.strip()}")
    level = levels(graph)
    rows = [[name for name in labels if level[name] == i] for i in range(max(level.values()), -1, -1)]
    across = max(len(row) for row in rows) * (WIDTH + GAP)
    places = {}
    for i, row in enumerate(rows):
        left = (across - len(row) * (WIDTH + GAP)) / 2 + GAP / 2
        places |= {name: (left + j * (WIDTH + GAP), i * (HEIGHT + BETWEEN)) for j, name in enumerate(row)}
    lines = [_line(places[name], places[target]) for name, targets in graph.items() for target in sorted(targets)]
    boxes = [_box(places[name], *labels[name]) for name in labels]
    down = len(rows) * (HEIGHT + BETWEEN) - BETWEEN
    return (
        f'<svg class="diagram" viewBox="-2 -2 {across + 4:g} {down + 4:g}" role="img" '
        f'aria-label="Diagram of imports; the list of files is below.">{"".join(lines + boxes)}</svg>'
    )


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y, x2, y2 = start[0] + WIDTH / 2, start[1] + HEIGHT, end[0] + WIDTH / 2, end[1]
    bend = (y2 - y) / 2
    return f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"/>'


def _box(place: tuple[float, float], title: str, label: str) -> str:
    x, y = place
    middle = x + WIDTH / 2
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{middle:g}" y="{y + 20:g}" class="title">{escape(title)}</text>'
        f'<text x="{middle:g}" y="{y + 37:g}">{escape(label)}</text>'
    )


def replace_diagrams(app: Sphinx, doctree: nodes.document) -> None:
    """Put the drawing in the place of each Mermaid block of a page."""
    for block in list(doctree.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            block.replace_self(nodes.raw("", draw_svg(block.astext()), format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the replacement."""
    app.connect("doctree-read", replace_diagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
