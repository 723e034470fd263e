"""Build the notebooks from their sources: `python notebooks/tools/build.py`.

For each `notebooks/source/NN_name.py` it makes `notebooks/NN_name.ipynb` and, if the source has exercises,
`notebooks/solutions/NN_name.ipynb`. Both are run, and only outputs that read the same everywhere are kept. With
`--keep-outputs` nothing is run: text is replaced, and the outputs of the built notebook are kept.
"""

import argparse
import copy
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from birefnet_lite.course.progress import VARIABLE
from birefnet_lite.output import write_text
from cleaning import LIMIT, clean, problems
from editions import EDITIONS, Edition, SourceError, has_exercises, make_edition
from outputs import ChangedCodeError, keep_outputs

__all__ = ["BuildError", "build", "find_sources", "main", "run", "targets"]


_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # a kernel's tracebacks are coloured for a terminal


class BuildError(RuntimeError):
    """A notebook that cannot be published as it is; the message says why."""


def targets(source: Path) -> dict[Edition, Path]:
    """Return the path of each edition of a source."""
    notebooks = source.parent.parent
    places: dict[Edition, Path] = {"exercises": notebooks / f"{source.stem}.ipynb"}
    if has_exercises(source):
        places["solutions"] = notebooks / "solutions" / f"{source.stem}.ipynb"
    return places


def run(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in `folder` and clean its outputs, in place.

    Raises:
        BuildError: A cell fails, or shows something that cannot be published.
    """
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
        # Neither the author's own progress nor the bars of a slow machine belong here.
        client.execute(env={**os.environ, VARIABLE: "off", "TQDM_DISABLE": "1"})
    except CellExecutionError as error:
        raise BuildError(_COLOUR.sub("", str(error))) from error
    clean(notebook)
    notebook["metadata"] = metadata  # the kernel writes its own version there


def build(
    source: Path, edition: Edition, target: Path, repository: str | None = None, reuse_outputs: bool = False
) -> float:
    """Make, run and write one edition; nothing is written when it fails.

    Args:
        source: The notebook's source.
        edition: `"exercises"` or `"solutions"`.
        target: The file to write.
        repository: `OWNER/NAME` on GitHub, for badges.
        reuse_outputs: Do not run the notebook: keep the outputs that `target` has.

    Returns:
        The seconds that the notebook ran.

    Raises:
        BuildError: A cell fails, the notebook is too large, or outputs cannot be kept because code has changed.
    """
    notebook = make_edition(source, edition, repository)
    started = time.perf_counter()
    if reuse_outputs:
        _reuse(notebook, target)
    else:
        run(notebook, source.parent.parent)
    seconds = time.perf_counter() - started
    if found := problems(notebook):
        raise BuildError("\n".join(found))
    nbformat.validate(notebook)
    text = nbformat.writes(notebook) + "\n"
    size = len(text.encode())
    if size > LIMIT:
        raise BuildError(f"It would be {size:,} bytes; a notebook may have {LIMIT:,}. Make its pictures smaller.")
    write_text(target, text)
    return seconds


def _reuse(notebook: NotebookNode, target: Path) -> None:
    if not target.is_file():
        raise BuildError(f"{target} does not exist, so there are no outputs to keep. Build without --keep-outputs.")
    try:
        keep_outputs(nbformat.read(target, as_version=4), notebook)
    except ChangedCodeError as error:
        raise BuildError(f"{error} Build without --keep-outputs.") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python notebooks/tools/build.py", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", help="the start of their names, as in 00 02; default: all")
    parser.add_argument("--folder", type=Path, default=Path("notebooks"), help="where they are (default: notebooks)")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="repository on GitHub, for Binder and Colab badges")
    parser.add_argument(
        "--keep-outputs",
        action="store_true",
        help="do not run them: take the new text and keep the outputs; refused where code has changed its meaning",
    )
    options = parser.parse_args(arguments)
    sources = find_sources(options.folder, options.names)
    if not sources:
        print(f"There is no source to build in {options.folder / 'source'}.", file=sys.stderr)
        return 1
    failed = 0
    for source in sources:
        try:
            failed += _build_all(source, options.repository, options.keep_outputs)
        except SourceError as error:
            print(f"{source.stem}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def find_sources(folder: Path, names: list[str]) -> list[Path]:
    """Return the sources in a folder whose names start with one of `names`; all of them without names."""
    sources = sorted((folder / "source").glob("[0-9][0-9]_*.py"))
    return [source for source in sources if source.stem.startswith(tuple(names))] if names else sources


def _build_all(source: Path, repository: str | None, reuse_outputs: bool) -> int:
    places = targets(source)
    failed = 0
    for edition in EDITIONS:
        if edition not in places:
            continue
        try:
            seconds = build(source, edition, places[edition], repository, reuse_outputs)
        except BuildError as error:
            print(f"{source.stem} ({edition}): not built.\n{error}", file=sys.stderr)
            failed += 1
            continue
        size = places[edition].stat().st_size / 1000
        print(f"{source.stem:24} {edition:10} {seconds:6.1f} s {size:6.0f} kB", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
