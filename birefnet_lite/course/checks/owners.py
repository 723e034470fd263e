"""Tells a learner's code from that of this package and of installed libraries, by the path of its file."""

import os
import sysconfig
from pathlib import Path

import torch

__all__ = ["is_library", "is_package"]

_PACKAGE = str(Path(__file__).parents[2]) + os.sep
_LIBRARIES = (
    str(Path(torch.__file__).parents[1]) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")),
    "<frozen",
)


def is_package(path: str) -> bool:
    """Return whether a file of source code is one of `birefnet_lite`."""
    return path.startswith(_PACKAGE)


def is_library(path: str) -> bool:
    """Return whether a file of source code is one of Python or of an installed package."""
    return path.startswith(_LIBRARIES) or "site-packages" in path or "dist-packages" in path
