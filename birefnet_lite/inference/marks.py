"""Mark the images that the program writes with what they are made from, and recognise them later."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from birefnet_lite.inference.png_chunks import iterate_chunks

__all__ = ["CUT_OUT", "MASK", "SHEET", "Mark", "Origin", "is_own_output", "origin_of", "read_mark"]

MASK = "birefnet_lite mask"
"""The `Software` text of a mask: a soft one, 0 to 255, however few values there are."""
CUT_OUT = "birefnet_lite cut-out"
SHEET = "birefnet_lite worst predictions"
_KINDS = (MASK, CUT_OUT, SHEET)
# EXIF tags, for WebP.
_SOFTWARE, _DESCRIPTION = 0x0131, 0x010E
_SAMPLE = 2**16


class Origin(NamedTuple):
    """The photo that an output is made from, without its name: hashes in hexadecimal."""

    path: str
    """Of the absolute path."""
    content: str
    """Of the file's size, its beginning and its end."""

    def is_same_photo(self, other: "Origin") -> bool:
        """Whether both are one photo: moved or edited, but not both."""
        return self.path == other.path or self.content == other.content


class Mark(NamedTuple):
    """The record that the program writes into each of its outputs."""

    kind: str
    """`MASK`, `CUT_OUT` or `SHEET`."""
    origin: Origin | None = None

    def to_png_info(self) -> PngInfo:
        """The mark as text chunks of a PNG file."""
        info = PngInfo()
        info.add_text("Software", self.kind)
        if self.origin is not None:
            info.add_text("Source", " ".join(self.origin))
        return info

    def to_exif(self) -> Image.Exif:
        """The mark as EXIF data, for a WebP file."""
        exif = Image.Exif()
        exif[_SOFTWARE] = self.kind
        if self.origin is not None:
            exif[_DESCRIPTION] = " ".join(self.origin)
        return exif


def origin_of(photo: str | os.PathLike[str]) -> Origin:
    """Identify a photo without reading all of it; `OSError` if it cannot be opened."""
    path = os.path.realpath(photo)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        sample = file.read(_SAMPLE)
        if size > _SAMPLE:
            file.seek(max(_SAMPLE, size - _SAMPLE))
            sample += file.read(_SAMPLE)
    return Origin(_hash(os.fsencode(path)), _hash(str(size).encode() + sample))


def read_mark(path: str | os.PathLike[str]) -> Mark | None:
    """The mark of an output of this program; None for any other file, also one that cannot be read."""
    try:
        with open(path, "rb") as file:
            text = _read_exif(Path(path)) if file.read(4) == b"RIFF" else _read_png_text(file)
    except Exception:  # a damaged file is not an output, whatever its parser raises
        return None
    if text.get("Software") not in _KINDS:
        return None
    source = text.get("Source", "").split()
    return Mark(text["Software"], Origin(*source) if len(source) == 2 else None)


def is_own_output(path: str | os.PathLike[str]) -> bool:
    """Whether the program wrote this image."""
    return read_mark(path) is not None


def _read_png_text(file) -> dict[str, str]:
    text = {}
    for chunk in iterate_chunks(file):
        if chunk.kind == b"IDAT":
            break
        if chunk.kind == b"tEXt":
            key, _, value = chunk.data.partition(b"\0")
            text[key.decode("latin-1")] = value.decode("latin-1")
    return text


def _read_exif(path: Path) -> dict[str, str]:
    with Image.open(path, formats=("WEBP",)) as image:
        exif = image.getexif()
    return {"Software": str(exif.get(_SOFTWARE, "")), "Source": str(exif.get(_DESCRIPTION, ""))}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
