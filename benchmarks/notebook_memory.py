"""Measure the memory that each notebook's kernel takes at its peak, for the size of a hub's or a laptop's servers.

    python benchmarks/notebook_memory.py           # all of them
    python benchmarks/notebook_memory.py 03 08     # some

The solved editions are run from top to bottom, as a learner does who has solved everything. The peak is that of the
system's own count of resident memory (`ru_maxrss`), so that it does not depend on how busy the machine is.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from birefnet_lite.course.progress import NOTEBOOKS, VARIABLE
from birefnet_lite.output import format_table

FOLDER = Path(__file__).parent.parent / "notebooks"
PEAK = "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which systems count


def measure(stem: str) -> float:
    """The peak of one notebook's kernel, in MiB."""
    solved = FOLDER / "solutions" / f"{stem}.ipynb"
    path = solved if solved.is_file() else FOLDER / f"{stem}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_code_cell(PEAK))
    client = NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute(env={**os.environ, VARIABLE: "off"})
    return int(notebook.cells[-1].outputs[-1].text) * UNIT / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="the start of their names, as in 00 02; default: all")
    options = parser.parse_args()
    rows = [("notebook", "MiB at the peak")]
    for stem in NOTEBOOKS:
        if not options.names or stem.startswith(tuple(options.names)):
            rows.append((stem, f"{measure(stem):.0f}"))
            print(*rows[-1], flush=True, file=sys.stderr)
    print(format_table(rows))


if __name__ == "__main__":
    main()
