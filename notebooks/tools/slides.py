"""Make slides from the notebooks: `python notebooks/tools/slides.py`.

`jupyter nbconvert --to slides` with a template of our own (`slide_template/`): each page holds reveal.js, formulas and
pictures, and asks the network for nothing. What becomes a slide follows from the form of a notebook; no cell is tagged.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert.exporters import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from birefnet_lite.output import write_text
from build import find_sources, targets
from editions import MACHINE

__all__ = ["main", "slides", "to_html"]

_FOLDED = re.compile(r"<details><summary>(.*?)</summary>(.*?)</details>", re.S)
_SECTION = re.compile(r"^#{1,2} ", re.M)
_HEADING = re.compile(r"^#{1,6} ", re.M)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")  # other notebooks are not beside the slides
_LEFT_OUT = ("Where this is",)
_VIEW = "interactive view"
_LONG, _LONG_PROJECTED = 700, 360  # characters of text from which a slide is full


def slides(notebook: NotebookNode, projector: bool = False) -> NotebookNode:
    """The notebook with a slide type on every cell; for a projector, with less text on each.

    A title or section starts a slide to the right; any other text starts one further down, with the code that follows
    it. Left out: hints, checks and the text that announces them, views that need a kernel, what belongs to one machine,
    and where things are in the sources. Folded answers become the speaker's notes.
    """
    cells: list[NotebookNode] = []
    pending: list[NotebookNode] = []  # text that waits for the code that it announces
    section = ""
    for cell in notebook.cells[:-1]:  # the last one leads to other notebooks
        if cell.cell_type == "markdown":
            cells += pending
            if match := re.match(r"#{1,2} (.+)", cell.source):
                section = match[1]
            pending = [] if section.startswith(_LEFT_OUT) else _text(cell, _LONG_PROJECTED if projector else _LONG)
        elif _is_left_out(cell):
            if not (pending and _HEADING.search(pending[0].source)):
                pending = []
        elif not section.startswith(_LEFT_OUT):
            cells += [*pending, _typed(cell, "-")]
            pending = []
    result = nbformat.v4.new_notebook(cells=[*cells, *pending], metadata=notebook.metadata)
    for position, cell in enumerate(result.cells):
        cell["id"] = f"slide-{position:03d}"
    return result


def _text(cell: NotebookNode, most: int) -> list[NotebookNode]:
    """The slides of a text cell, and its notes; none where everything in it is folded hints."""
    answers = [body.strip() for title, body in _FOLDED.findall(cell.source) if title == "Answer"]
    source = _LINK.sub(r"\1", _FOLDED.sub("", cell.source)).strip()
    if not source:
        return []
    found = []
    for number, part in enumerate(_parts(source, most)):
        kind = "slide" if number == 0 and _SECTION.match(part) else "subslide"
        found.append(_typed(new_markdown_cell(part), kind))
    return found + [_typed(new_markdown_cell(answer), "notes") for answer in answers]


def _parts(source: str, most: int) -> list[str]:
    """A text cut in front of its headings, and where it has more signs than `most`, between its paragraphs."""
    parts = [""]
    for block in re.split(r"\n\s*\n", source):
        if parts[-1] and (_HEADING.match(block) or len(parts[-1]) + len(block) > most):
            parts.append("")
        parts[-1] = f"{parts[-1]}\n\n{block}".strip()
    return parts


def _is_left_out(cell: NotebookNode) -> bool:
    shown = str(cell.outputs)
    check = re.search(r"\bchecks\.\w+\(", cell.source) is not None
    return check or _VIEW in shown or MACHINE in cell.metadata.get("tags", []) or "pip install" in cell.source


def _typed(cell: NotebookNode, kind: str) -> NotebookNode:
    cell = NotebookNode(cell)
    cell["metadata"] = NotebookNode(slideshow=NotebookNode(slide_type=kind))
    return cell


def to_html(notebook: NotebookNode, name: str, projector: bool = False) -> str:
    """One page with all slides of a built notebook; `name` is its title in the browser.

    With `projector` it opens in large type, black on white, with less on each slide; the key P does the former in any.
    """
    exporter = SlidesExporter(
        template_name="slide_template", extra_template_basedirs=[str(Path(__file__).parent)], embed_images=True
    )
    resources = {"metadata": {"name": name}, "projector": projector}
    return exporter.from_notebook_node(slides(notebook, projector), resources)[0]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python notebooks/tools/slides.py", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="the start of their names, as in 00 02; default: all")
    parser.add_argument("--folder", type=Path, default=Path("notebooks"), help="where they are (default: notebooks)")
    parser.add_argument("--output", type=Path, default=Path("slides"), help="folder to write to (default: slides)")
    parser.add_argument("--projector", action="store_true", help="large type, high contrast, less on each slide")
    options = parser.parse_args(arguments)
    sources = find_sources(options.folder, options.names)
    if not sources:
        print(f"There is no source to make slides of in {options.folder / 'source'}.", file=sys.stderr)
        return 1
    failed = 0
    for source in sources:
        built = targets(source)["exercises"]
        if not built.is_file():
            print(f"{source.stem}: build it first: python notebooks/tools/build.py {source.stem}", file=sys.stderr)
            failed += 1
            continue
        page = options.output / f"{source.stem}.slides.html"
        write_text(page, to_html(nbformat.read(built, as_version=4), source.stem, options.projector))
        print(f"{page} {page.stat().st_size / 1e6:6.1f} MB", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
