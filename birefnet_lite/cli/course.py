"""`course`: progress, reset and hand-in for learners; collecting a class's hand-ins for teachers."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_lite.cli import CommandError, describe_error, report

if TYPE_CHECKING:
    from birefnet_lite.course.kit.classroom import Classroom

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions: Any = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("status", help="show which exercises are solved")
    actions.add_parser("minutes", help="show how long each exercise took")
    reset = actions.add_parser(
        "reset",
        help="put the stub of an exercise back",
        description="Puts the stub back into the notebook and keeps your answer in a text cell below it. Nothing else "
        "in the file changes. If the notebook is open, reload it afterwards.",
    )
    reset.add_argument("notebook", metavar="NN", help="the notebook's number, such as 05")
    reset.add_argument("exercise", metavar="EXERCISE", help="the exercise's name, as status shows it")
    reset.add_argument("--notebook", dest="file", metavar="PATH", help="its file (default: the one below this folder)")
    hand_in = actions.add_parser(
        "hand-in",
        help="pack your answers and progress into one file",
        description="Writes one zip with your answers and progress, and shows what is in it. Outputs, pictures and the "
        "rest of the notebooks stay here; paths and your user's and machine's names are taken out of comments and "
        "strings.",
    )
    hand_in.add_argument("--name", metavar="NAME", help="a name or pseudonym to hand in under (default: a random one)")
    hand_in.add_argument("-o", "--output", metavar="FILE.zip", help="the file to write (default: NAME.zip)")
    collect = actions.add_parser(
        "collect",
        help="for teachers: put the hand-ins of a class together",
        description="Reads every hand-in (.zip) in FOLDER and below, and shows who is where, which exercise holds "
        "people up and which mistakes the checks named. Nothing is unpacked, and nothing of it is run without --run. "
        "The exit status is 1 if a file was left out.",
    )
    collect.add_argument("folder", metavar="FOLDER", help="the folder with the hand-ins")
    collect.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="also write class.html, class.csv, exercises.csv, and discuss.html with the wrong answers, without names",
    )
    collect.add_argument(
        "--run",
        action="store_true",
        help="check the answers again: each in a process of its own with limits of time, memory and files, without "
        "network. This is not a secure sandbox: do it on a machine on which nothing is at stake",
    )
    collect.add_argument("--seconds", type=float, default=60, metavar="S", help="the most for one answer (default: 60)")


def run(options: argparse.Namespace) -> int:
    """Do what the first argument says; 0 when done, 1 when something was left out."""
    actions = {"status": _status, "minutes": _minutes, "reset": _reset, "hand-in": _hand_in, "collect": _collect}
    return actions[options.action](options)


def _status(options: argparse.Namespace) -> int:
    from birefnet_lite.course.progress_table import dashboard

    print(dashboard())
    return 0


def _minutes(options: argparse.Namespace) -> int:
    from birefnet_lite.course.kit.minutes import minutes_table
    from birefnet_lite.course.progress import ForeignFileError, read_traces

    try:
        print(minutes_table(read_traces()))
    except ForeignFileError as error:
        raise CommandError(
            f"{error} is damaged or is not the progress of this course; move it away to start over"
        ) from error
    return 0


def _reset(options: argparse.Namespace) -> int:
    from birefnet_lite.course.kit.notebook_file import NotebookError, choose_notebook, find_notebook, reset

    try:
        stem = choose_notebook(options.notebook)
        path = Path(options.file) if options.file else find_notebook(stem, Path.cwd())
        changed = reset(path, options.exercise)
    except NotebookError as error:
        raise CommandError(str(error)) from error
    if changed:
        report(f"{path}: {options.exercise} is as it was handed out; your answer is in the cell below it")
        report("if the notebook is open, reload it (File, Reload Notebook from Disk) before you go on")
    else:
        report(f"{path}: {options.exercise} is as it was handed out; nothing to do")
    return 0


def _hand_in(options: argparse.Namespace) -> int:
    from birefnet_lite.course.kit.hand_in import HandInError, describe, make_hand_in, pack, read_hand_in, write_hand_in
    from birefnet_lite.output import write_bytes

    try:
        hand_in, notes = make_hand_in(Path.cwd(), options.name)
        files = write_hand_in(hand_in)
        path = Path(options.output or f"{hand_in.name}.zip")
        if path.exists():
            try:
                read_hand_in(path)
            except HandInError as error:
                raise HandInError(f"{path} is there and is not a hand-in: choose another name with -o") from error
        write_bytes(path, pack(files))
    except HandInError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(describe_error(error)) from error
    print(describe(hand_in))
    for note in notes:
        report(note)
    report(f"{path}: {path.stat().st_size / 1e3:.0f} kB, handed in as {hand_in.name}; open it to read all of it")
    return 1 if notes else 0


def _collect(options: argparse.Namespace) -> int:
    from birefnet_lite.course.kit.class_tables import describe_class
    from birefnet_lite.course.kit.classroom import read_folder
    from birefnet_lite.course.kit.recheck import CannotRun, recheck

    folder = Path(options.folder)
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; give the one with the hand-ins")
    if options.seconds <= 0:
        raise CommandError("--seconds takes a number above 0")
    targets = _targets(Path(options.output)) if options.output else {}
    classroom = read_folder(folder)
    for line in classroom.left_out:
        report(f"left out: {line}")
    for line in classroom.notes:
        report(line)
    if not classroom.hand_ins:
        raise CommandError(f"there is no hand-in in {folder}")
    protections: list[str] = []
    if options.run:
        try:
            classroom.verdicts, protections = recheck(classroom, options.seconds, min(10, options.seconds / 3))
        except CannotRun as error:
            raise CommandError(str(error)) from error
    print(describe_class(classroom))
    if protections:
        print("\nHow answers were run (no secure sandbox):", *protections, sep="\n  ")
    _write_pages(targets, classroom, protections)
    return 1 if classroom.left_out else 0


def _targets(folder: Path) -> dict[str, Path]:
    """The files to write, each new or an earlier one of this command."""
    from birefnet_lite.course.kit.class_tables import SIGNATURE
    from birefnet_lite.output import check_target

    targets = {name: folder / name for name in ("class.html", "discuss.html", "class.csv", "exercises.csv")}
    for path in targets.values():
        try:
            check_target(path)
            if path.exists():
                with path.open("rb") as file:
                    if SIGNATURE.encode() not in file.read(200):
                        raise CommandError(f"{path} is there and was not written by collect: choose another folder")
        except OSError as error:
            raise CommandError(describe_error(error)) from error
    return targets


def _write_pages(targets: dict[str, Path], classroom: "Classroom", protections: list[str]) -> None:
    from birefnet_lite.course.kit.class_pages import class_page, discussion_page
    from birefnet_lite.course.kit.class_tables import class_csv, exercises_csv
    from birefnet_lite.course.kit.classroom import wrong_answers
    from birefnet_lite.output import write_text

    if not targets:
        return
    write_text(targets["class.html"], class_page(classroom, protections))
    write_text(targets["discuss.html"], discussion_page(wrong_answers(classroom)))
    write_text(targets["class.csv"], class_csv(classroom))
    write_text(targets["exercises.csv"], exercises_csv(classroom))
    report(f"{targets['class.html'].parent}: class.html, discuss.html, class.csv, exercises.csv")
