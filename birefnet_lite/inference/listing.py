"""List the photos in a folder: which suffixes count, and what is passed over."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from birefnet_lite.inference.marks import is_own_output

__all__ = ["SUFFIXES", "Listing", "list_photos"]

# Extensions of photos. Pillow does not read all of them, but a line that says so is better than
# passing over a photo in silence.
_COMMON = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".mpo"}
_RARE = {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k", ".psd"}
_UNREADABLE = {".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
SUFFIXES = frozenset(_COMMON | _RARE | _UNREADABLE)
# Files that operating systems leave in folders.
_SYSTEM = frozenset(("thumbs.db", "desktop.ini", "icon\r"))


class Listing(NamedTuple):
    """The entries of a folder, sorted by name."""

    photos: list[Path]
    outputs: list[Path]
    """Images that this program wrote, which are not photos."""
    others: list[str]
    """Names of folders, with a slash, and of files that are not images; without hidden and system files."""


def list_photos(folder: Path) -> Listing:
    """The photos in a folder, without those in its subfolders; `OSError` if it cannot be listed.

    Images that this program wrote, such as masks, are not taken for photos. Links that lead nowhere are listed as
    photos, so that reading them says what is wrong.
    """
    photos: list[Path] = []
    outputs: list[Path] = []
    others: list[str] = []
    for path in sorted(folder / name for name in os.listdir(folder)):
        if path.name.startswith(".") or path.name.lower() in _SYSTEM:
            continue
        if os.path.isdir(path):
            others.append(f"{path.name}/")
        elif path.suffix.lower() not in SUFFIXES or not _may_be_file(path):
            others.append(path.name)
        else:
            (outputs if is_own_output(path) else photos).append(path)
    return Listing(photos, outputs, others)


def _may_be_file(path: Path) -> bool:
    """False for pipes, sockets and devices, which a reader could wait for without end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True
