"""Find the exercises in a learner's notebook, and put a stub back while every other byte of the file stays."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from birefnet_lite.course.progress import NOTEBOOKS
from birefnet_lite.output import join_some, write_bytes

__all__ = ["Exercise", "NotebookError", "choose_notebook", "find_exercises", "find_notebook", "read_cells", "reset"]

_LARGEST = 50_000_000  # bytes; a notebook with all its pictures has about one million
_DEPTH = 3  # folders below the working one that are searched
_PASSED_OVER = {"solutions", "node_modules", "_build", "site-packages"}
_CHECK = re.compile(r"\bchecks\.(\w+)\((\w+)\)")
_FRESH = "take a fresh copy of the notebook, from where you have the course, and move your answers there"


class NotebookError(ValueError):
    """A notebook or exercise that is not as needed; the message says what to do."""


class Exercise(NamedTuple):
    """One exercise in a notebook as the learner has it."""

    cell: int
    """The position of its cell."""
    answer: str
    """The name of the function or class that the check takes."""
    source: str
    stub: str | None
    """The cell as it was handed out; None where the notebook does not say."""

    @property
    def is_changed(self) -> bool:
        """Whether the learner has written something."""
        if self.stub is not None:
            return self.source.strip() != self.stub.strip()
        return "your code here" not in self.source


def choose_notebook(name: str) -> str:
    """Return the file stem of a notebook from the start of its name, as in `05`."""
    found = [stem for stem in NOTEBOOKS if stem.startswith(Path(name).stem)] if name else []
    if len(found) != 1:
        raise NotebookError(f"there is no notebook {name!r}; give its number, from 00 to {list(NOTEBOOKS)[-1][:2]}")
    return found[0]


def find_notebook(stem: str, folder: Path) -> Path:
    """Return the notebook's file in a folder or a little below it, solutions left out.

    Raises:
        NotebookError: There is none, or more than one.
    """
    here = [folder / f"{stem}.ipynb", folder / "notebooks" / f"{stem}.ipynb"]
    found = [path for path in here if path.is_file()][:1] or list(_search(f"{stem}.ipynb", folder))
    if not found:
        raise NotebookError(f"there is no {stem}.ipynb below {folder}: go to the course's folder, or give --notebook")
    if len(found) > 1:
        raise NotebookError(f"there are several: {join_some(map(str, found))}; say which with --notebook")
    return found[0]


def _search(name: str, folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(
            one for one in folders if depth < _DEPTH and one not in _PASSED_OVER and not one.startswith(".")
        )
        if name in files:
            yield Path(parent) / name


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook, with their sources as one text each.

    Raises:
        NotebookError: The file is not a notebook.
        OSError: It cannot be read.
    """
    return [{**cell, "source": _source(cell)} for cell, _, _ in _spans(_read(path), path)]


def _read(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise NotebookError(f"{path} has {path.stat().st_size / 1e6:.0f} MB, too many for a notebook of the course")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotebookError(f"{path} is not a notebook: {error}") from error


def _spans(text: str, path: Path) -> list[tuple[dict[str, Any], int, int]]:
    """Each cell with the place of its text in the file."""
    decoder = json.JSONDecoder()
    found: list[tuple[dict[str, Any], int, int]] = []
    try:
        at = _next(text, 0, "{")
        while True:
            key, at = decoder.raw_decode(text, _next(text, at))
            at = _next(text, _next(text, at, ":"))
            if key != "cells":
                _, at = decoder.raw_decode(text, at)
            else:
                at = _next(text, _next(text, at, "["))
                while text[at] != "]":
                    cell, end = decoder.raw_decode(text, at)
                    if not isinstance(cell, dict):
                        raise ValueError("a cell is not an object")
                    found.append((cell, at, end))
                    at = _next(text, end)
                    at = _next(text, at, ",") if text[at] == "," else at
                at += 1
            at = _next(text, at)
            if text[at] == "}":
                return found
            at = _next(text, at, ",")
    except (ValueError, IndexError, RecursionError) as error:
        why = "it ends too early" if isinstance(error, IndexError) else error
        raise NotebookError(f"{path} is damaged or is not a notebook: {why}") from error


def _next(text: str, at: int, wanted: str = "") -> int:
    """The place of the next sign that is not a space; with `wanted`, the place of the one after it."""
    while text[at] in " \t\r\n\ufeff":
        at += 1
    if wanted and text[at] != wanted:
        raise ValueError(f"{wanted!r} is missing at character {at}")
    if not wanted:
        return at
    return _next(text, at + 1)


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def find_exercises(cells: list[dict[str, Any]]) -> dict[str, Exercise]:
    """Return the exercises of a notebook by their names.

    The builder has written name and stub into a cell's metadata. Of several cells with one name, as after copying one,
    the last that is not the stub counts. Where the metadata are missing, the answer is what the cell with the check
    is given, and there is no stub.
    """
    found: dict[str, Exercise] = {}
    code = [(i, cell) for i, cell in enumerate(cells) if cell.get("cell_type") == "code"]
    for i, cell in code:
        metadata = cell.get("metadata")
        course = metadata.get("course") if isinstance(metadata, dict) else None
        if isinstance(course, dict) and all(isinstance(course.get(key), str) for key in ("exercise", "answer", "stub")):
            one = Exercise(i, course["answer"], cell["source"], course["stub"])
            if course["exercise"] not in found or one.is_changed:
                found[course["exercise"]] = one
    for i, cell in code:
        for exercise, answer in _CHECK.findall(cell["source"]):
            defines = re.compile(rf"^(?:def|class) {answer}\b", re.M)
            before = [(j, one["source"]) for j, one in code if j < i and defines.search(one["source"])]
            if exercise not in found and before:
                found[exercise] = Exercise(before[-1][0], answer, before[-1][1], None)
    return found


def reset(path: Path, exercise: str) -> bool:
    """Put the stub of an exercise back and keep the old answer in a text cell below it.

    Every other cell, and all else in the file, stays byte for byte.

    Returns:
        False if the exercise was its stub already; nothing is written then.

    Raises:
        NotebookError: The notebook has no such exercise, or not its stub.
        OSError: The file cannot be read or written.
    """
    text = _read(path)
    spans = _spans(text, path)
    exercises = find_exercises([{**cell, "source": _source(cell)} for cell, _, _ in spans])
    if exercise not in exercises:
        known = f"; it has {join_some(exercises, most=9)}" if exercises else ""
        raise NotebookError(f"{path} has no exercise {exercise!r}{known}. If its cell was deleted, {_FRESH}")
    one = exercises[exercise]
    if one.stub is None:
        raise NotebookError(f"{path} does not say how {exercise} began, as notebooks of this version do: {_FRESH}")
    if not one.is_changed:
        return False
    cell, start, end = spans[one.cell]
    fresh = {**cell, "source": _in_form(one.stub, cell), "outputs": [], "execution_count": None}
    kept: dict[str, Any] = {"cell_type": "markdown", "metadata": {}, "source": _in_form(_folded(one.source), cell)}
    if "id" in cell:
        kept = {"cell_type": "markdown", "id": uuid4().hex[:8], "metadata": {}, "source": kept["source"]}
    line_start = text.rfind("\n", 0, start) + 1
    margin = text[line_start:start] if not text[line_start:start].strip() else ""
    joined = f",\n{margin}".join(_written(one, margin) for one in (fresh, kept))
    new = text[:start] + (joined.replace("\n", "\r\n") if "\r\n" in text else joined) + text[end:]
    before, after = ([cell for cell, _, _ in found] for found in (spans, _spans(new, path)))
    if after != [*before[: one.cell], fresh, kept, *before[one.cell + 1 :]]:
        raise NotebookError(f"{path} is written in a way that cannot be changed in one place; nothing was changed")
    write_bytes(path, new.encode("utf-8"))
    return True


def _in_form(source: str, like: dict[str, Any]) -> str | list[str]:
    """A source as one text, or as a list of lines where the other cell has that."""
    return source.splitlines(keepends=True) if isinstance(like.get("source"), list) else source


def _folded(answer: str) -> str:
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", answer))])
    return f"<details><summary>Your earlier answer</summary>\n\n{ticks}python\n{answer}\n{ticks}\n\n</details>"


def _written(cell: dict[str, Any], margin: str) -> str:
    """A cell as JSON, indented as Jupyter does where the file has one cell below another."""
    text = json.dumps(cell, ensure_ascii=not _can_be_encoded(cell), indent=len(margin) // 2 or 1 if margin else None)
    return text.replace("\n", f"\n{margin}")


def _can_be_encoded(cell: dict[str, Any]) -> bool:
    try:
        json.dumps(cell, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, as `"\\ud83d"` in the file
        return False
    return True
