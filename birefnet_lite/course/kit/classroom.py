"""The hand-ins of a class put together: who is where, which exercise holds people up, which mistakes were named."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from birefnet_lite.course.kit.hand_in import Entry, HandIn, HandInError, read_hand_in
from birefnet_lite.course.progress import NOTEBOOKS

__all__ = ["EXERCISES", "Classroom", "State", "Summary", "Verdict", "WrongAnswer", "read_folder", "wrong_answers"]

State = Literal["solved", "tried", "open"]
EXERCISES = [(stem[:2], name) for stem, (_, names) in NOTEBOOKS.items() for name in names]
"""Every exercise of the course, in its order, with the number of its notebook."""

_MOST_FILES = 1000


class Verdict(NamedTuple):
    """The verdict of a check when an answer was run again."""

    passed: bool | None
    message: str
    refused: tuple[str, ...] = ()
    """Actions that the answer tried and was not allowed."""


@dataclass
class Classroom:
    """A class by the names of its learners, each once."""

    hand_ins: dict[str, HandIn] = field(default_factory=dict)
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    """By learner and exercise; empty while nothing was run."""
    left_out: list[str] = field(default_factory=list)
    """A line for each file that was not taken."""
    notes: list[str] = field(default_factory=list)

    def state(self, learner: str, exercise: str) -> State:
        """How far a learner is in an exercise: as re-checked, or else as the learner's own file says."""
        entry = self.hand_ins[learner].entries[exercise]
        verdict = self.verdicts.get((learner, exercise))
        if verdict is not None:
            return "solved" if verdict.passed else "tried" if verdict.passed is False else "open"
        if entry.trace.solved and not (self.verdicts and not entry.source):
            return "solved"
        return "tried" if entry.trace.tries or entry.source else "open"

    def mistakes(self, learner: str, exercise: str) -> tuple[str, ...]:
        """The first lines of what checks said of this learner's answers."""
        verdict = self.verdicts.get((learner, exercise))
        said = self.hand_ins[learner].entries[exercise].trace.mistakes
        if verdict is not None and verdict.passed is False:
            return tuple(dict.fromkeys((*said, verdict.message.split("\n")[0])))
        return said

    def claims(self, learner: str) -> list[str]:
        """The exercises that a learner's file calls solved, though it has no answer that is right when run again."""
        entries = self.hand_ins[learner].entries
        return [
            name
            for name, entry in entries.items()
            if self.verdicts and entry.trace.solved and self.state(learner, name) != "solved"
        ]

    def place(self, learner: str) -> str:
        """The furthest exercise that a learner has tried or solved, as `05 decode`; "–" without any."""
        touched = [f"{number} {name}" for number, name in EXERCISES if self.state(learner, name) != "open"]
        return touched[-1] if touched else "–"

    def summary(self, exercise: str) -> "Summary":
        """The numbers of one exercise over the class."""
        states = Counter(self.state(learner, exercise) for learner in self.hand_ins)
        entries = [hand_in.entries[exercise] for hand_in in self.hand_ins.values()]
        tries = [entry.trace.tries for entry in entries if entry.trace.tries]
        minutes = [entry.trace.seconds / 60 for entry in entries if entry.trace.tries]
        said = Counter(mistake for learner in self.hand_ins for mistake in self.mistakes(learner, exercise))
        return Summary(
            states["solved"],
            states["tried"],
            states["open"],
            median(tries) if tries else 0,
            median(minutes) if minutes else 0,
            said.most_common(3),
        )

    def hold_up(self) -> str | None:
        """The exercise that most have tried and not solved, by name; of several, the one that takes longest."""
        found = {name: self.summary(name) for _, name in EXERCISES}
        worst = max(found, key=lambda name: (found[name].tried, found[name].minutes))
        return worst if found[worst].tried else None


class Summary(NamedTuple):
    """The numbers of one exercise over the class."""

    solved: int
    tried: int
    open: int
    tries: float
    """Median over those who tried."""
    minutes: float
    """Median over those who tried."""
    mistakes: list[tuple[str, int]]
    """The most frequent ones, each with the number of learners."""


class WrongAnswer(NamedTuple):
    """An answer to talk about, without a name."""

    exercise: str
    message: str
    code: str
    people: int
    """How many learners have it, layout and comments apart."""


def read_folder(folder: Path) -> Classroom:
    """Read every zip in a folder and below; a file that is not a hand-in costs a line, and the others are read.

    Raises:
        HandInError: There is no hand-in.
    """
    found = Classroom()
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".zip")
    if len(paths) > _MOST_FILES:
        found.left_out.append(f"only the first {_MOST_FILES} of {len(paths)} files were read")
    seen: dict[bytes, Path] = {}
    for path in paths[:_MOST_FILES]:
        shown = "".join(sign if sign.isprintable() else "?" for sign in str(path.relative_to(folder)))
        try:
            hand_in = read_hand_in(path)
            digest = sha256(path.read_bytes()).digest()
        except HandInError as error:
            found.left_out.append(f"{shown}: {error}")
            continue
        except OSError as error:
            found.left_out.append(f"{shown}: {error.strerror or error}")
            continue
        if digest in seen:
            found.left_out.append(f"{shown}: the same file as {seen[digest].name}")
            continue
        seen[digest] = path
        name, number = hand_in.name, 1
        while name in found.hand_ins:
            number += 1
            name = f"{hand_in.name} ({number})"
        if number > 1:
            found.notes.append(f"{shown}: a second hand-in of {hand_in.name}, shown as {name}")
        found.hand_ins[name] = hand_in
    found.hand_ins = dict(sorted(found.hand_ins.items()))
    return found


def wrong_answers(classroom: Classroom) -> list[WrongAnswer]:
    """Return the wrong answers of a class by exercise, the frequent ones first, without names or comments."""
    found: dict[tuple[str, str], list[str]] = {}
    for learner, hand_in in classroom.hand_ins.items():
        for _, exercise in EXERCISES:
            entry = hand_in.entries[exercise]
            if entry.source and classroom.state(learner, exercise) == "tried":
                verdict = classroom.verdicts.get((learner, exercise))
                said = verdict.message if verdict else (classroom.mistakes(learner, exercise) or ("",))[-1]
                code = _without_names(entry, [hand_in.name, learner])
                found.setdefault((exercise, code), []).append(said)
    order = {name: i for i, (_, name) in enumerate(EXERCISES)}
    answers = [
        WrongAnswer(exercise, Counter(said).most_common(1)[0][0], code, len(said))
        for (exercise, code), said in found.items()
    ]
    return sorted(answers, key=lambda one: (order[one.exercise], -one.people, one.message, one.code))


def _without_names(entry: Entry, names: list[str]) -> str:
    """The code as Python reads it: no comments, no docstrings, one layout; no name of a learner."""
    try:
        tree = ast.parse(entry.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "(Python cannot read this answer.)"
    for node in _with_docstrings(tree):
        node.body = node.body[1:] or [ast.Pass()]
    try:
        code = ast.unparse(tree)
    except (RecursionError, ValueError):
        return "(This answer is nested too deeply to be shown.)"
    for name in names:
        if len(name) > 2:
            code = re.sub(re.escape(name), "<name>", code, flags=re.I)
    return code


def _with_docstrings(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef | ast.Module]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node, False) is not None:
            yield node


def count_solved(classroom: Classroom, learner: str) -> Mapping[str, tuple[int, int]]:
    """How many exercises of each notebook a learner has solved, and how many it has."""
    return {
        stem[:2]: (sum(classroom.state(learner, name) == "solved" for name in names), len(names))
        for stem, (_, names) in NOTEBOOKS.items()
        if names
    }
