"""Write and read a hand-in: one zip with a learner's answers and progress, which names nobody."""

import json
import re
import secrets
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from birefnet_lite.course.kit.answers import collect_context, hide_names, personal_names
from birefnet_lite.course.kit.notebook_file import NotebookError, find_exercises, find_notebook, read_cells
from birefnet_lite.course.progress import NOTEBOOKS, UNTOUCHED, ForeignFileError, Trace, read_traces
from birefnet_lite.output import format_table

__all__ = ["Entry", "HandIn", "HandInError", "describe", "make_hand_in", "pack", "read_hand_in", "write_hand_in"]

_FORMAT = "birefnet_lite hand-in, version 1"
_LIST = "hand-in.json"
_MOST_FILE = 2_000_000  # bytes of the zip
_MOST_LIST = 500_000
_MOST_ANSWER = 50_000
_MOST_TOTAL = 2_000_000
_EXERCISES = {name: stem for stem, (_, names) in NOTEBOOKS.items() for name in names}
_MOST_MEMBERS = 2 * len(_EXERCISES) + 1
_NAME = re.compile(r"[^\W_][\w .-]{0,39}")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_MOST_MISTAKES, _MISTAKE_LENGTH = 5, 200


class HandInError(ValueError):
    """A hand-in that cannot be made or read; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One exercise in a hand-in."""

    trace: Trace
    """As the learner's own progress file says it."""
    answer: str = ""
    """The name of the function or class."""
    source: str = ""
    """The learner's code; empty while the exercise is untouched."""
    context: str = ""
    """Statements of the notebook that the code needs."""


@dataclass(frozen=True)
class HandIn:
    """The answers and the progress of one learner."""

    name: str
    entries: dict[str, Entry]
    """By exercise, all of the course."""


def make_hand_in(folder: Path, name: str | None = None) -> tuple[HandIn, list[str]]:
    """Collect answers from the notebooks below a folder, and the progress.

    Args:
        folder: The working folder of the course.
        name: A pseudonym; None draws one.

    Returns:
        The hand-in, and a line for each notebook that is not in it.

    Raises:
        HandInError: The name is not one, or there is nothing to hand in.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise HandInError(f"{name!r} is not a name: take up to 40 letters, digits, spaces, dots and hyphens")
    try:
        traces = read_traces()
    except ForeignFileError as error:
        raise HandInError(f"{error} is damaged or is not the progress of this course: move it away") from error
    hidden = personal_names()
    entries: dict[str, Entry] = {}
    notes = []
    for stem, (_, names) in NOTEBOOKS.items():
        found, cells = {}, []
        if names:
            try:
                cells = read_cells(find_notebook(stem, folder))
                found = find_exercises(cells)
            except (NotebookError, OSError) as error:
                notes.append(f"{stem}: {error}")
        for exercise in names:
            trace = traces.get(exercise, UNTOUCHED)
            trace = trace._replace(mistakes=tuple(hide_names(said, hidden) for said in trace.mistakes))
            one = found.get(exercise)
            if one is None or not one.is_changed:
                entries[exercise] = Entry(trace)
            elif len(one.source.encode("utf-8", "replace")) > _MOST_ANSWER:
                entries[exercise] = Entry(trace)
                notes.append(f"{stem}: the answer of {exercise} is too long to hand in")
            else:
                context = hide_names(collect_context(cells, one), hidden)
                entries[exercise] = Entry(trace, one.answer, hide_names(one.source, hidden), context)
    if not any(entry.source or entry.trace.tries for entry in entries.values()):
        raise HandInError(f"there is no answer below {folder} and no progress: nothing to hand in")
    return HandIn(name or f"learner-{secrets.token_hex(3)}", entries), notes


def write_hand_in(hand_in: HandIn) -> dict[str, bytes]:
    """Return the files of the zip, by their names in it."""
    listed = {
        exercise: {
            "solved": entry.trace.solved,
            "tries": entry.trace.tries,
            "minutes": round(entry.trace.seconds / 60, 1),
            "mistakes": list(entry.trace.mistakes),
            "answer": entry.answer,
        }
        for exercise, entry in hand_in.entries.items()
    }
    content = {"format": _FORMAT, "name": hand_in.name, "exercises": listed}
    files = {_LIST: json.dumps(content, indent=1, ensure_ascii=False)}
    for exercise, entry in hand_in.entries.items():
        if entry.source:
            files[_member("answers", exercise)] = entry.source
            files[_member("context", exercise)] = entry.context
    return {name: text.encode("utf-8", "replace") for name, text in files.items()}


def describe(hand_in: HandIn) -> str:
    """Return a table of what a hand-in has: for each exercise with an answer or a try."""
    rows = [["exercise", "", "tries", "minutes", "lines of answer", "lines it needs"]]
    for exercise, entry in hand_in.entries.items():
        if entry.source or entry.trace.tries:
            lines = [str(len(text.splitlines())) if text else "–" for text in (entry.source, entry.context)]
            minutes = f"{entry.trace.seconds / 60:.0f}"
            start = [f"{_EXERCISES[exercise][:2]} {exercise}", entry.trace.sign, str(entry.trace.tries), minutes]
            rows.append(start + lines)
    return format_table(rows, left=2)


def pack(files: dict[str, bytes]) -> bytes:
    """Return a zip without times, owners or folders of this machine."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _member(folder: str, exercise: str) -> str:
    return f"{folder}/{_EXERCISES[exercise][:2]}_{exercise}.py"


def read_hand_in(path: Path) -> HandIn:
    """Read a hand-in, in memory: names, sizes and counts are bounded, and nothing of it is run or unpacked.

    Raises:
        HandInError: The file is not a hand-in, or a damaged or a hostile one.
        OSError: It cannot be read.
    """
    if not path.is_file():
        raise HandInError("no file")
    if path.stat().st_size > _MOST_FILE:
        raise HandInError(f"{path.stat().st_size / 1e6:.1f} MB, and a hand-in has at most {_MOST_FILE / 1e6:.0f}")
    try:
        with zipfile.ZipFile(BytesIO(path.read_bytes())) as archive:
            files = _read_members(archive)
        return _parse(files)
    except HandInError:
        raise
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,  # a compression or version that Python does not know
        RuntimeError,  # encrypted
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        ArithmeticError,
    ) as error:
        raise HandInError(f"damaged, or not a hand-in ({type(error).__name__})") from error


def _read_members(archive: zipfile.ZipFile) -> dict[str, str]:
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise HandInError(f"{len(members)} files in it, and a hand-in has at most {_MOST_MEMBERS}")
    expected = {_member(folder, one) for folder in ("answers", "context") for one in _EXERCISES}
    files: dict[str, str] = {}
    total = 0
    for member in members:
        if member.filename in files:
            raise HandInError(f"two files of one name in it: {_printable(member.filename)}")
        if member.filename != _LIST and member.filename not in expected:
            raise HandInError(f"a file that is not part of a hand-in: {_printable(member.filename)}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise HandInError("packed in another way than hand-ins are")
        most = _MOST_LIST if member.filename == _LIST else _MOST_ANSWER * 2
        with archive.open(member) as stream:
            data = stream.read(most + 1)  # whatever size it claims
        total += len(data)
        if len(data) > most or total > _MOST_TOTAL:
            raise HandInError(f"too large when unpacked: {_printable(member.filename)}")
        files[member.filename] = data.decode("utf-8")
    if _LIST not in files:
        raise HandInError(f"no {_LIST} in it: no hand-in")
    return files


def _parse(files: dict[str, str]) -> HandIn:
    content = json.loads(files[_LIST])
    if content["format"] != _FORMAT:
        raise HandInError("a hand-in of another version")
    name = content["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise HandInError("its name is none")
    listed = content["exercises"]
    return HandIn(name, {exercise: _entry(exercise, listed.get(exercise, {}), files) for exercise in _EXERCISES})


def _entry(exercise: str, listed: dict[str, Any], files: dict[str, str]) -> Entry:
    solved, tries, minutes = listed.get("solved", False), listed.get("tries", 0), listed.get("minutes", 0)
    if not isinstance(solved, bool) or not isinstance(tries, int) or not isinstance(minutes, int | float):
        raise HandInError(f"wrong values for {exercise}")
    if not 0 <= tries <= 100_000 or not 0 <= minutes <= 1_000_000:
        raise HandInError(f"impossible numbers for {exercise}")
    mistakes = listed.get("mistakes", [])
    if not isinstance(mistakes, list) or not all(isinstance(said, str) for said in mistakes):
        raise HandInError(f"wrong values for {exercise}")
    mistakes = [_printable(said, _MISTAKE_LENGTH) for said in mistakes[-_MOST_MISTAKES:]]
    trace = Trace(solved, tries, minutes * 60.0, tuple(mistakes))
    answer, source = listed.get("answer", ""), files.get(_member("answers", exercise), "")
    if source and not (isinstance(answer, str) and _IDENTIFIER.fullmatch(answer)):
        raise HandInError(f"no name of a function for {exercise}")
    return Entry(trace, answer if source else "", source, files.get(_member("context", exercise), ""))


def _printable(text: str, most: int = 60) -> str:
    """A text from outside on one line, without control signs."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:most])
