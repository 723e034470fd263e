"""A class of twelve for the tests of the workshop kit: right, wrong, half-done and hostile answers as hand-ins."""

from functools import cache
from pathlib import Path

from birefnet_lite.course.kit.answers import collect_context
from birefnet_lite.course.kit.hand_in import Entry, HandIn, pack, write_hand_in
from birefnet_lite.course.kit.notebook_file import find_exercises, read_cells
from birefnet_lite.course.progress import NOTEBOOKS, UNTOUCHED, Trace

ROOT = Path(__file__).parent.parent
RIGHT = Trace(True, 2, 600.0, ("The order is wrong.",))
WRONG = Trace(False, 4, 1500.0, ("The order is wrong.", "=SUM(A1:A9)"))


@cache
def solved_entries():
    """The solution of every exercise as an entry, from the solved notebooks."""
    found = {}
    for stem, (_, names) in NOTEBOOKS.items():
        if names:
            cells = read_cells(ROOT / "notebooks" / "solutions" / f"{stem}.ipynb")
            for name, one in find_exercises(cells).items():
                found[name] = Entry(RIGHT, one.answer, one.source, collect_context(cells, one))
    return found


def hand_in(name, **answers):
    """A hand-in; each answer is a source, an `Entry`, or True for the solution."""
    entries = dict.fromkeys(solved_entries(), Entry(UNTOUCHED))
    for exercise, answer in answers.items():
        right = solved_entries()[exercise]
        if answer is True:
            entries[exercise] = right
        elif isinstance(answer, Entry):
            entries[exercise] = answer
        else:
            entries[exercise] = Entry(WRONG, right.answer, answer, right.context)
    return HandIn(name, entries)


def edited(exercise, old, new, trace=WRONG):
    """The solution with a change."""
    right = solved_entries()[exercise]
    assert old in right.source
    return Entry(trace, right.answer, right.source.replace(old, new), right.context)


def fuse_context(*lines, trace=WRONG):
    """An answer to `fuse_context` that does these lines and then what is right."""
    right = solved_entries()["fuse_context"]
    at = right.source.index("    *finer, deepest = ")
    body = "".join(f"    {line}\n" for line in lines)
    return Entry(trace, right.answer, right.source[:at] + body + right.source[at:], right.context)


def write(folder, one):
    """The hand-in as a file in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{one.name}.zip"
    path.write_bytes(pack(write_hand_in(one)))
    return path
