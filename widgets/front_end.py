"""The front end joined into one file, for widgets and exported pages.

It is made of small ES modules, which tests import as they are. A widget's code must be one file, so they are joined
when this module is imported. There is nothing to build, and nothing built to keep in step.
"""

import re
from importlib.resources import files

__all__ = ["CODE", "STYLE", "join_modules", "read_static"]

MODULES = (
    "colour_maps", "core", "mask", "look", "dom", "colour_bar", "words", "store", "map_panel", "controls", "mask_panel",
    "brush", "switches", "options", "atlas", "paper", "save", "table", "pointer_and_keys", "roving", "map_signs",
    "map_grid", "map_ways", "map_regions", "map_lines", "network_map", "league", "film", "matrix", "grid", "focus",
    "help", "viewer",
)  # fmt: skip
#: The style sheets: the page and what is chosen on it, the pictures, the map of the network, what single views have,
#: and other sizes and media.
STYLES = ("style", "pictures", "network_map", "mask", "league", "brush", "film", "matrix", "media")


def read_static(name: str) -> str:
    """The text of a file of the front end."""
    return (files("widgets") / "static" / name).read_text(encoding="utf-8")


def join_modules() -> str:
    """The front end as one ES module: the modules in order of need, without their imports and inner exports."""
    pieces = []
    for name in MODULES:
        source = read_static(f"{name}.js")
        source = re.sub(r"^import [^;]*;\n", "", source, flags=re.MULTILINE)
        pieces.append(re.sub(r"^export (?!default)", "", source, flags=re.MULTILINE))
    return "\n".join(pieces)


CODE = join_modules()
STYLE = "\n".join(read_static(f"{name}.css") for name in STYLES)
