"""Choose the names of output files, so that nothing is overwritten but an earlier output for the same photo."""

import os
import unicodedata
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from birefnet_lite.inference.marks import origin_of, read_mark

__all__ = ["Job", "plan_jobs"]

# Names that Windows keeps for devices, with any suffix.
_DEVICES = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$"))
_DEVICES |= {f"{port}{number}" for port in ("com", "lpt") for number in "123456789\u00b9\u00b2\u00b3"}
# Bytes that most file systems allow for a name.
_NAME_BYTES = 255


class Job(NamedTuple):
    """One photo and the files to write for it."""

    photo: Path
    mask: Path
    cut_out: Path | None
    note: str = ""
    """Why the files have another name than the photo, if they have."""
    refusal: str = ""
    """Why nothing is written, if so."""
    is_done: bool = False
    """Whether the files are there already, made from the photo as it is now."""


def plan_jobs(photos: list[Path], folder: Path, cut_out_suffix: str | None) -> Iterator[Job]:
    """Name the files for each photo; no two photos share one, also where `Cat.png` and `cat.png` are one file.

    Args:
        photos: The photos, each once.
        folder: Where the files go. It need not exist.
        cut_out_suffix: `.png` or `.webp`; None for masks alone.
    """
    suffixes = [".png"] if cut_out_suffix is None else [".png", f".cutout{cut_out_suffix}"]
    taken: set[str] = set()
    for photo in photos:
        stem, note = _portable_stem(photo.stem)
        for number in count(1):
            end = "" if number == 1 else f"-{number}"
            short = _shorten(stem, _NAME_BYTES - len(end) - len(suffixes[-1]))
            note = note or ("its name is too long for the output" if short != stem else "")
            names = [f"{short}{end}{suffix}" for suffix in suffixes]
            keys = {unicodedata.normalize("NFC", name).casefold() for name in names}
            if keys & taken:
                note = "its name was taken"
                continue
            files = [folder / name for name in names]
            found = [_compare(photo, file) for file in files]
            if "the photo" in found:
                break
            if "other" not in found:
                break
            note = f"{files[found.index('other')]} is there and is not an earlier output for it"
        taken |= keys
        job = Job(photo, files[0], files[1] if len(files) > 1 else None)
        if "the photo" in found:
            over = files[found.index("the photo")]
            yield job._replace(refusal=f"would write over the photo {over}; choose another output folder")
        else:
            said = f"{photo} becomes {names[0]}, as {note}" if note else ""
            yield job._replace(note=said, is_done=all(state == "done" for state in found))


def _compare(photo: Path, file: Path) -> str:
    """`free`; `done` or `outdated`, an output for this photo; `the photo` itself; or `other`."""
    if not os.path.lexists(file):
        return "free"
    if os.path.realpath(file) == os.path.realpath(photo):
        return "the photo"
    mark = read_mark(file)
    if mark is None or mark.origin is None:
        return "other"
    try:
        origin = origin_of(photo)
    except OSError:  # it will be reported when it is read
        return "other"
    if not mark.origin.is_same_photo(origin):
        return "other"
    return "done" if mark.origin.content == origin.content else "outdated"


def _portable_stem(stem: str) -> tuple[str, str]:
    """A stem with which files can be written on any system, and why it is not the photo's."""
    if stem.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        return f"_{stem}", "Windows keeps its name for a device"
    return stem, ""


def _shorten(stem: str, most: int) -> str:
    """A stem of at most `most` bytes, without half a character at its end."""
    data = os.fsencode(stem)
    return stem if len(data) <= most else data[:most].decode("utf-8", "ignore")
