"""A view as one page that works offline: no kernel, no request.

The page carries the front end, the state, and a stand-in for the widget's model. Its content policy forbids every
request, so that a browser would refuse one rather than make it.
"""

import html
import json
import os
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

__all__ = ["page", "write_page"]

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

STAND_IN = """
const state = JSON.parse(document.getElementById("state").textContent);
const bytes = Uint8Array.from(atob(state.blob), (sign) => sign.charCodeAt(0));
const values = { ...state.look, scene: state.scene, parts: state.parts, marks: state.marks, table: state.table, blob:
new DataView(bytes.buffer), live: false }; const listeners = {}; const model = { get: (name) => values[name], set:
(name, value) => { values[name] = value; for (const listener of listeners["change:" + name] ?? []) listener(); }, on:
(event, listener) => (listeners[event] ??= []).push(listener), off: () => {}, send: () => {}, save_changes: () => {},
}; const element = document.getElementById("view"); try { widget.initialize({ model }); widget.render({ model, el:
element }); } catch (error) { element.textContent = "This view cannot be drawn: " + error.message; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark; }} body {{ margin: 24px auto; padding: 0 16px; max-width: 1180px;
background: Canvas; }} {css}</style> </head> <body> <main id="view"></main> <noscript>This page needs JavaScript. It
works offline and sends nothing.</noscript> <script type="application/json" id="state">{state}</script> <script
type="module"> {esm} {stand_in} </script> </body> </html>
"""


def page(state: dict[str, Any], esm: str, css: str) -> str:
    """The page as text, from a state as `viewer.state()` gives it."""
    # Inside a script element only "</" and "<!--" could end or change it; JSON may write any "<" as an escape.
    data = json.dumps(state, allow_nan=False).replace("<", "\\u003c")
    module = esm.replace("export default", "const widget =")
    title = html.escape(state["scene"]["title"])
    return PAGE.format(policy=POLICY, title=title, css=css, state=data, esm=module, stand_in=STAND_IN)


def write_page(path: str | PathLike[str], state: dict[str, Any], esm: str, css: str) -> None:
    """Write the page whole or not at all. `ValueError` where the folder does not exist."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"Cannot write {str(path)!r}: the folder {str(path.parent)!r} does not exist.")
    text = page(state, esm, css)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes private files; a page is there to be passed on.
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
