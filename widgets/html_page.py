"""A view as one HTML page that works offline: no kernel, no request.

The page carries the front end, the state, and a stand-in for the widget's model. Its content policy forbids every
request, so that a browser would refuse one rather than make it.
"""

import html
import json
from os import PathLike
from pathlib import Path
from string import Template
from typing import Any

from birefnet_lite.output import write_text
from widgets.front_end import read_static

__all__ = ["format_page", "write_page"]


def format_page(state: dict[str, Any], code: str, style: str) -> str:
    """The page as text.

    Args:
        state: As `viewer.state()` gives it.
        code: The front end as one ES module with a default export.
        style: Its style sheet.
    """
    # Inside a script element only "</" and "<!--" could end or change it; JSON may write any "<" as an escape.
    data = json.dumps(state, allow_nan=False).replace("<", "\\u003c")
    module = code.replace("export default", "const widget =")
    title = html.escape(state.get("titled") or state["scene"]["title"])
    return Template(read_static("page.html")).substitute(title=title, style=style, state=data, code=module)


def write_page(path: str | PathLike[str], state: dict[str, Any], code: str, style: str) -> None:
    """Write the page whole or not at all; arguments as for `format_page`. `ValueError` without the folder."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"Cannot write {str(path)!r}: the folder {str(path.parent)!r} does not exist.")
    write_text(path, format_page(state, code, style))
