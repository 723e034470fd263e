"""A bar that says how far a long computation is, and leaves nothing in a notebook when it is done."""

import sys
from collections.abc import Iterable
from typing import Any

from IPython import get_ipython
from IPython.display import display
from tqdm import tqdm

__all__ = ["progress_bar"]

#: Seconds until a bar is shown.
DELAY = 1.0


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """A `tqdm` bar over `items`, shown where they take more than `DELAY` seconds, and taken away at the end."""
    in_kernel = getattr(get_ipython(), "kernel", None) is not None
    return tqdm(items, delay=DELAY, leave=False, file=_OutputLine() if in_kernel else sys.stderr, **options)


class _OutputLine:
    """A file for a bar: its text as one output of the running cell, which is empty in the end.

    A bar that is a widget would be kept as an output that says "model not found" when the notebook is opened again, and
    text on the error stream as an empty red box.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self.shown: Any = None

    def write(self, text: str) -> None:
        """Show a line instead of the one before."""
        line = text.strip()
        data = {"text/plain": line} if line else {}
        if self.shown is not None:
            self.shown.update(data, raw=True)
        elif line:
            self.shown = display(data, raw=True, display_id=True)

    def flush(self) -> None:
        """Do nothing: each line is shown as it is written."""
