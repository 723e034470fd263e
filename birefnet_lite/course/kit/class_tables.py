"""A class as text tables for the terminal and as CSV files."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from birefnet_lite.course.kit.classroom import EXERCISES, Classroom, count_solved
from birefnet_lite.output import format_table, join_some

__all__ = ["SIGNATURE", "class_csv", "describe_class", "exercises_csv"]

SIGNATURE = "birefnet_lite course"
"""Stands in the first line of every file that `collect` writes, so that it knows its own."""

_MESSAGE = 70  # characters of a mistake in the terminal


def describe_class(classroom: Classroom) -> str:
    """Return two tables: the learners by notebook, and the exercises that anybody has tried."""
    parts = [_learners(classroom), _exercises(classroom)]
    if worst := classroom.hold_up():
        one = classroom.summary(worst)
        number = next(number for number, name in EXERCISES if name == worst)
        minutes = f", {one.minutes:.0f} minutes" if one.minutes >= 1 else ""
        parts.append(
            f"Most are held up by {number} {worst}: {one.tried} tried and did not solve it, median {one.tries:g} "
            f"tries{minutes}."
        )
    for learner in classroom.hand_ins:
        if claims := classroom.claims(learner):
            parts.append(f"{learner}: marked as solved, without a right answer in the file: {join_some(claims)}.")
    for (learner, exercise), verdict in classroom.verdicts.items():
        if verdict.refused:
            parts.append(f"{learner}: {exercise} tried to {join_some(verdict.refused, separator='; ')}; refused.")
    return "\n\n".join(parts)


def _learners(classroom: Classroom) -> str:
    rows: list[list[str]] = []
    for learner in classroom.hand_ins:
        counts = count_solved(classroom, learner)
        if not rows:
            rows.append(["learner", *counts, "solved", "furthest"])
        cells = [f"{done}/{all_}" if done else "·" for done, all_ in counts.values()]
        solved = sum(done for done, _ in counts.values())
        rows.append([learner, *cells, f"{solved}/{len(EXERCISES)}", classroom.place(learner)])
    return format_table(rows)


def _exercises(classroom: Classroom) -> str:
    rows = [["exercise", "most frequent mistake", "solved", "tried", "open", "tries", "minutes"]]
    for number, name in EXERCISES:
        one = classroom.summary(name)
        if one.solved or one.tried:
            said = f"{one.mistakes[0][1]} × {one.mistakes[0][0]}" if one.mistakes else ""
            said = said if len(said) <= _MESSAGE else said[: _MESSAGE - 1] + "…"
            numbers = (one.solved, one.tried, one.open, f"{one.tries:g}", f"{one.minutes:.0f}")
            rows.append([f"{number} {name}", said, *map(str, numbers)])
    return format_table(rows, left=2) if len(rows) > 1 else "No exercise has been tried."


def class_csv(classroom: Classroom) -> str:
    """Return the states as CSV: a line for each learner, a column for each exercise."""
    rows: list[Sequence[object]] = [
        [f"learner ({SIGNATURE})", "solved", "furthest", *(f"{number} {name}" for number, name in EXERCISES)]
    ]
    for learner in classroom.hand_ins:
        states = [classroom.state(learner, name) for _, name in EXERCISES]
        rows.append([learner, states.count("solved"), classroom.place(learner), *states])
    return _csv(rows)


def exercises_csv(classroom: Classroom) -> str:
    """Return the exercises as CSV, each with its numbers over the class."""
    head = (f"exercise ({SIGNATURE})", "solved", "tried", "open", "median tries", "median minutes", "mistakes")
    rows: list[Sequence[object]] = [head]
    for number, name in EXERCISES:
        one = classroom.summary(name)
        said = "; ".join(f"{count} x {mistake}" for mistake, count in one.mistakes)
        numbers = (one.solved, one.tried, one.open, f"{one.tries:g}", f"{one.minutes:.1f}")
        rows.append((f"{number} {name}", *numbers, said))
    return _csv(rows)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    stream = StringIO()
    csv.writer(stream).writerows([_harmless(str(cell)) for cell in row] for row in rows)
    return stream.getvalue()


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) or (text[:1] in "\t\r\n" and text) else text
