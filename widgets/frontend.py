"""The front end as one file: what a widget and an exported page load.

It is made of small ES modules, which tests import as they are. A widget's code must be one file, so they are joined
when this module is imported. There is nothing to build, and nothing built to keep in step.
"""

import re
from importlib.resources import files

__all__ = ["CODE", "STYLE", "join_modules"]

MODULES = ("core", "look", "dom", "store", "map", "controls", "choices", "atlas", "save", "table", "hands", "viewer")


def join_modules() -> str:
    """The front end as one ES module: the modules in order of need, without their imports and inner exports."""
    static = files("widgets") / "static"
    pieces = []
    for name in MODULES:
        source = (static / f"{name}.js").read_text(encoding="utf-8")
        source = re.sub(r"^import .*?;\n", "", source, flags=re.MULTILINE)
        pieces.append(re.sub(r"^export (?!default)", "", source, flags=re.MULTILINE))
    return "\n".join(pieces)


CODE = join_modules()
STYLE = (files("widgets") / "static" / "style.css").read_text(encoding="utf-8")
