"""Sphinx extension: docstrings whose code is in single backticks, as reStructuredText."""

import re
from typing import Any

from sphinx.application import Sphinx

__all__ = ["setup", "to_restructured_text"]

_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([*|])")


def to_restructured_text(line: str) -> str:
    """One line with its code in double backticks and its stars and bars as they are."""
    if line.lstrip().startswith((">>>", "...")) or "``" in line:
        return line
    parts = _CODE.split(line)  # text, code, text, …
    return "".join(f"`{part}`" if i % 2 else _SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def convert(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Convert a docstring in place."""
    lines[:] = [to_restructured_text(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Convert docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", convert, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
