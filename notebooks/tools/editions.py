"""Make the editions of a notebook, exercises and solutions, from its source.

The format of a source is described for authors in `notebooks/README.md`. This file runs nothing and draws nothing.
"""

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import jupytext
import nbformat
from nbformat import NotebookNode

__all__ = [
    "CHECKED",
    "EDITIONS",
    "MACHINE",
    "Edition",
    "SourceError",
    "has_exercises",
    "make_edition",
    "read_source",
    "titles",
]

Edition = Literal["exercises", "solutions"]
EDITIONS: tuple[Edition, Edition] = ("exercises", "solutions")

CHECKED = "NBVAL_CHECK_OUTPUT"
"""Outputs that nbval compares: the values that carry the argument."""
MACHINE = "machine"
"""Outputs that differ from machine to machine: they are not kept."""
_EXERCISE, _SOLUTION = "exercise", "solution"
TAGS = (CHECKED, MACHINE, _EXERCISE, _SOLUTION)

_BLOCK = re.compile(r"^(?P<indent>[ \t]*)# <solution>\n(?P<body>.*?)^[ \t]*# </solution>[ \t]*(?:\n|\Z)", re.M | re.S)
_STUB = 'raise NotImplementedError("your code here")'
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")
_TITLE = re.compile(r"^# (.+)$", re.M)
_CHECK = re.compile(r"\bchecks\.(\w+)\((\w+)\)")


class SourceError(ValueError):
    """A source that does not follow the format; the message says where and what to do."""


def titles(folder: Path) -> dict[str, str]:
    """File stem to title of every source in a folder, in the order of the course."""
    found = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.py")):
        match = _TITLE.search(read_source(path).cells[0].source)
        if match is None:
            raise SourceError(f"{path.name}: the first cell is Markdown and starts with '# ' and the title.")
        found[path.stem] = match[1].strip()
    return found


def has_exercises(path: Path) -> bool:
    """Whether a source has anything to solve; without, there is one edition only."""
    return any(_is(cell, _EXERCISE) for cell in read_source(path).cells)


def make_edition(path: Path, edition: Edition, repository: str | None = None) -> NotebookNode:
    """The notebook of one edition, without outputs.

    `repository` is "OWNER/NAME" on GitHub; with it, the notebook gets its Binder and Colab badges.
    Raises `SourceError` where the source does not follow the format.
    """
    if repository is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SourceError(f"The repository is given as OWNER/NAME, not {repository!r}.")
    source = read_source(path)
    single = not has_exercises(path)
    cells = [_cell(cell, edition, path.name) for cell in source.cells]
    cells = [cell for cell in cells if cell is not None]
    if edition == "exercises":
        _keep_stubs(cells)
    courses = titles(path.parent)
    if path.stem not in courses:
        raise SourceError(f"{path.name}: a source is called NN_name.py, as in 02_backbone.py.")
    if repository is not None:
        cells[0]["source"] += "\n\n" + _badges(path.stem, edition, repository)
        cells.insert(1, nbformat.v4.new_code_cell(_install(repository)))
    follow = (lambda target: target) if single or edition == "exercises" else _from_solutions(path.parent, courses)
    for cell in cells:
        if cell.cell_type == "markdown":
            cell["source"] = _LINK.sub(lambda link: link[1] + follow(link[2]), cell.source)
    twin = f"solutions/{path.stem}.ipynb" if edition == "exercises" else f"../{path.stem}.ipynb"
    other = None if single else (edition, twin)
    cells.append(nbformat.v4.new_markdown_cell(_navigation(path.stem, courses, follow, other)))
    for position, cell in enumerate(cells):
        cell["id"] = f"cell-{position:03d}"
    course: dict[str, Any] = {"source": path.name, "edition": "both" if single else edition}
    if repository is not None:
        course["repository"] = repository
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "course": course,
    }
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(notebook)
    return notebook


def read_source(path: Path) -> NotebookNode:
    """The cells of a source in the percent format; reading a file again costs a copy only."""
    return deepcopy(_parse(path.read_text(encoding="utf-8")))


@lru_cache(maxsize=64)  # every edition asks for the titles of all sources
def _parse(text: str) -> NotebookNode:
    return jupytext.reads(text, fmt="py:percent")


def _is(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _cell(cell: NotebookNode, edition: Edition, name: str) -> NotebookNode | None:
    """The cell as this edition has it, or None where it has none."""
    tags = cell.metadata.get("tags", [])
    if unknown := [tag for tag in tags if tag not in TAGS]:
        raise SourceError(f"{name}: there is no cell tag {unknown[0]!r}; there are {', '.join(TAGS)}.")
    source = cell.source
    marked = "# <solution>" in source or "# </solution>" in source
    if marked != (_EXERCISE in tags):
        raise SourceError(
            f"{name}: a cell tagged 'exercise' encloses what the learner writes in '# <solution>' and '# </solution>', "
            f"and no other cell does. Not so:\n{source}"
        )
    if _SOLUTION in tags and edition == "exercises":
        return None
    metadata: dict[str, Any] = {"tags": tags} if tags else {}
    if _EXERCISE in tags:
        source, count = _BLOCK.subn(_stub if edition == "exercises" else _solved, source)
        if count == 0 or "solution>" in source:
            raise SourceError(f"{name}: '# <solution>' and '# </solution>' do not pair up in:\n{cell.source}")
        source = source.rstrip("\n")
        if edition == "solutions":
            metadata["jupyter"] = {"source_hidden": True}  # folded: one click shows it
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    if cell.cell_type not in make:
        raise SourceError(f"{name}: a cell is Markdown or code, not {cell.cell_type!r}.")
    return make[cell.cell_type](source, metadata=metadata)


def _keep_stubs(cells: list[NotebookNode]) -> None:
    """Write each exercise's name, its answer's and its stub into its cell, for `python -m birefnet_lite course`."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell, after in pairwise(code):
        if _is(cell, _EXERCISE) and (match := _CHECK.search(after.source)):
            cell.metadata["course"] = {"exercise": match[1], "answer": match[2], "stub": cell.source}


def _stub(block: re.Match[str]) -> str:
    return f"{block['indent']}{_STUB}\n"


def _solved(block: re.Match[str]) -> str:
    return block["body"]


def _from_solutions(folder: Path, courses: Iterable[str]) -> Callable[[str], str]:
    """Where links lead from notebooks/solutions; notebooks with a solutions edition lie in that folder too."""
    beside = {f"{stem}.ipynb" for stem in courses if has_exercises(folder / f"{stem}.py")}
    return lambda target: target if target in beside else f"../{target}"


def _navigation(
    stem: str, courses: dict[str, str], follow: Callable[[str], str], other: tuple[Edition, str] | None
) -> str:
    """The last cell: the notebook before, the list of all, the other edition of this one, the notebook after."""
    stems = list(courses)
    position = stems.index(stem)

    def link(position: int) -> str:
        return f"[{courses[stems[position]]}]({follow(stems[position] + '.ipynb')})"

    links = [f"[All notebooks]({follow('README.md')})"]
    if position > 0:
        links.insert(0, f"← {link(position - 1)}")
    if other is not None:
        links.append(f"[this notebook {'solved' if other[0] == 'exercises' else 'unsolved'}]({other[1]})")
    if position + 1 < len(stems):
        links.append(f"{link(position + 1)} →")
    return "---\n" + " · ".join(links)


def _badges(stem: str, edition: Edition, repository: str) -> str:
    folder = "notebooks/solutions" if edition == "solutions" else "notebooks"
    path = f"{folder}/{stem}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?labpath={path.replace('/', '%2F')}"
    colab = f"https://colab.research.google.com/github/{repository}/blob/HEAD/{path}"
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def _install(repository: str) -> str:
    return (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("birefnet_lite") is None:  # on Colab: install the course\n'
        f"    %pip install -q git+https://github.com/{repository}"
    )
