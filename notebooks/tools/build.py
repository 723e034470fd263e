"""Builds the notebooks from their sources: `python notebooks/tools/build.py`.

For each `notebooks/source/NN_name.py` it makes `notebooks/NN_name.ipynb` and, where there is something to solve,
`notebooks/solutions/NN_name.ipynb`; both are run, and only outputs that read the same everywhere are kept.
"""

import argparse
import copy
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from birefnet_lite.course.progress import VARIABLE
from cleaning import LIMIT, clean, problems
from editions import EDITIONS, Edition, SourceError, has_exercises, make_edition

__all__ = ["BuildError", "build", "main", "run", "targets", "write_text"]


_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # a kernel's tracebacks are coloured for a terminal


class BuildError(RuntimeError):
    """A notebook that cannot be published as it is; the message says why."""


def targets(source: Path) -> dict[Edition, Path]:
    """Where each edition of a source lies."""
    notebooks = source.parent.parent
    places = {"exercises": notebooks / f"{source.stem}.ipynb"}
    if has_exercises(source):
        places["solutions"] = notebooks / "solutions" / f"{source.stem}.ipynb"
    return places


def run(notebook: NotebookNode, folder: Path) -> None:
    """Runs a notebook in `folder` and cleans what it shows, in place. Raises `BuildError`."""
    metadata = copy.deepcopy(notebook.metadata)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env={**os.environ, VARIABLE: "off"})  # what the author has solved is nobody's business
    except CellExecutionError as error:
        raise BuildError(_COLOUR.sub("", str(error))) from error
    clean(notebook)
    notebook["metadata"] = metadata  # the kernel writes its own version there
    if found := problems(notebook):
        raise BuildError("\n".join(found))


def build(source: Path, edition: Edition, target: Path, repository: str | None = None) -> float:
    """Makes, runs and writes one edition; returns the seconds that it ran. Nothing is written when it fails."""
    notebook = make_edition(source, edition, repository)
    folder = source.parent.parent
    started = time.perf_counter()
    run(notebook, folder)
    seconds = time.perf_counter() - started
    nbformat.validate(notebook)
    text = nbformat.writes(notebook) + "\n"
    size = len(text.encode())
    if size > LIMIT:
        raise BuildError(f"It would be {size:,} bytes; a notebook may have {LIMIT:,}. Make its pictures smaller.")
    write_text(target, text)
    return seconds


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python notebooks/tools/build.py", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="the start of their names, as in 00 02; default: all")
    parser.add_argument("--folder", type=Path, default=Path("notebooks"), help="where they are (default: notebooks)")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="repository on GitHub, for Binder and Colab badges")
    options = parser.parse_args(arguments)
    sources = find_sources(options.folder, options.names)
    if not sources:
        print(f"There is no source to build in {options.folder / 'source'}.", file=sys.stderr)
        return 1
    failed = 0
    for source in sources:
        try:
            failed += _build_all(source, options.repository)
        except SourceError as error:
            print(f"{source.stem}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def find_sources(folder: Path, names: list[str]) -> list[Path]:
    """The sources of the notebooks in a folder whose names start with one of `names`; all without names."""
    sources = sorted((folder / "source").glob("[0-9][0-9]_*.py"))
    return [source for source in sources if source.stem.startswith(tuple(names))] if names else sources


def _build_all(source: Path, repository: str | None) -> int:
    places = targets(source)
    failed = 0
    for edition in EDITIONS:
        if edition not in places:
            continue
        try:
            seconds = build(source, edition, places[edition], repository)
        except BuildError as error:
            print(f"{source.stem} ({edition}): not built.\n{error}", file=sys.stderr)
            failed += 1
            continue
        size = places[edition].stat().st_size / 1000
        print(f"{source.stem:24} {edition:10} {seconds:6.1f} s {size:6.0f} kB", flush=True)
    return failed


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
