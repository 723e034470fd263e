"""Find the photos that arguments of the command line name: files, folders and patterns."""

import glob
import os
import stat
from pathlib import Path

from birefnet_lite.cli import report
from birefnet_lite.inference.listing import list_photos
from birefnet_lite.inference.marks import is_own_output
from birefnet_lite.output import join_some

__all__ = ["find_photos"]


def find_photos(arguments: list[str]) -> tuple[list[Path], int]:
    """Find the photos that arguments name, without earlier outputs of this program.

    Returns:
        The photos, each once, and how many arguments name none; each of these has got a line that says why.
    """
    photos: dict[str, Path] = {}
    outputs: list[Path] = []
    failed = 0
    for argument in arguments:
        try:
            found, own, problem = _expand(argument)
        except (OSError, ValueError) as error:  # ValueError: a null character
            found, own, problem = [], [], getattr(error, "strerror", None) or str(error)
        outputs += own
        if not found:
            report(f"{Path(argument)}: {problem}")
            failed += 1
        for path in found:
            photos.setdefault(os.path.realpath(path), path)
    if outputs:
        some = join_some([str(path) for path in outputs], most=2)
        report(f"note: earlier outputs of this program are not photos and are passed over: {some}")
    return list(photos.values()), failed


def _expand(argument: str) -> tuple[list[Path], list[Path], str]:
    """Photos, own outputs, and what is wrong if there are no photos; `OSError` for what cannot be looked at."""
    try:
        mode = os.stat(argument).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not glob.has_magic(argument):
            return [], [], "no such file or folder"
        found = [Path(name) for name in sorted(glob.glob(argument, recursive=True)) if not os.path.isdir(name)]
        problem = "no file fits this pattern"
    else:
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):  # a reader could wait for a pipe without end
            return [], [], "neither a file nor a folder"
        if stat.S_ISDIR(mode):
            listing = list_photos(Path(argument))
            return listing.photos, listing.outputs, "the folder holds no photos"
        found, problem = [Path(argument)], "it is an output of this program"
    own = [path for path in found if is_own_output(path)]
    return [path for path in found if path not in own], own, problem
