"""Modules that the notebooks import: checks, figures, the table of parts, progress, and the model that they run."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_lite.course.environment import check_environment
    from birefnet_lite.course.figures import network_map
    from birefnet_lite.course.models import course_model
    from birefnet_lite.course.picture import Picture, side_by_side
    from birefnet_lite.course.progress_table import dashboard
    from birefnet_lite.course.table import part_table

__all__ = ["Picture", "check_environment", "course_model", "dashboard", "network_map", "part_table", "side_by_side"]

# Imported on first use: a notebook's first cell draws the map, and needs neither PyTorch nor the network for it.
_MODULES = {
    "Picture": "picture",
    "check_environment": "environment",
    "course_model": "models",
    "dashboard": "progress_table",
    "network_map": "figures",
    "part_table": "table",
    "side_by_side": "picture",
}

_WAITING = {"GOMP_SPINCOUNT": "1000"} if sys.platform == "linux" else {"KMP_BLOCKTIME": "0"}


def share_the_processor() -> None:
    """Let idle threads of PyTorch sleep soon instead of spinning, for notebooks that run beside other programs.

    Beside one busy core, a forward of the small network takes 188 ms instead of 462 ms; alone, 112 ms instead of 88 ms.
    OpenMP reads these variables once, when PyTorch is loaded: after that, and where the user has set one, nothing is
    changed.
    """
    if "torch" not in sys.modules:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)


share_the_processor()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
