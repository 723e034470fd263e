"""Open and decode image files with Pillow: any size up to a bound, damaged metadata, EXIF rotation, clear errors."""

import io
import os
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from birefnet_lite.inference.png_chunks import SIGNATURE, iterate_chunks

__all__ = ["decode_file", "explain_errors", "name_errors", "read_header_size", "turn_upright"]

ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_COLOUR_MODES = ("LA", "RGB", "RGBA", "RGBX")
# Pillow refuses profiles of more than 1 MiB, since a few bytes can inflate to any size. The largest that
# are in use have a few MiB.
_MAX_PROFILE = 16 * 2**20
_pillow_limit = threading.Lock()


class ImageFileError(ValueError):
    """A sentence about an image that needs no further wrapping."""


def decode_file(path: str | os.PathLike[str], max_pixels: int) -> Image.Image:
    """The first image in a file, decoded and upright.

    Metadata that cannot be read is left out with a warning. Where Pillow keeps only 8 of a colour's 16 bits,
    `info["cut_to_8_bits"]` is True.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not an image, damaged or has more than `max_pixels` pixels.
    """
    path = Path(path)
    with path.open("rb") as file, explain_errors(str(path)):
        head = file.read(len(SIGNATURE))
        if not head:
            raise ImageFileError(f"{path} is empty.")
        try:
            image = _decode(file, str(path), max_pixels)
        except (ImageFileError, MemoryError):
            raise
        except Exception as error:
            plain = _strip_metadata(file) if head == SIGNATURE else None
            if plain is None:
                raise
            try:
                image = _decode(io.BytesIO(plain[0]), str(path), max_pixels)
            except Exception:
                raise error from None
            if plain[1]:
                image.info["icc_profile"] = plain[1]
            warnings.warn(f"{path}: metadata that cannot be read is left out ({error}).", stacklevel=4)
        return turn_upright(image, str(path))


def read_header_size(path: str | os.PathLike[str], max_pixels: int) -> tuple[int, int]:
    """Height and width of an image file, upright, without decoding its pixels where its metadata can be read.

    Raises as `decode_file` does.
    """
    path = Path(path)
    with path.open("rb") as file, explain_errors(str(path)):
        try:
            with _open(file, str(path), max_pixels) as image:
                width, height = image.size
                # Pillow gives the size of a TIFF as it will be when it is upright.
                turned = image.format != "TIFF" and _read_header_orientation(image, file) in _SIDEWAYS
                return (width, height) if turned else (height, width)
        except (ImageFileError, MemoryError):
            raise
        except Exception:
            file.seek(0)
            if file.read(8) != SIGNATURE:
                raise
    image = decode_file(path, max_pixels)
    return image.height, image.width


def turn_upright(image: Image.Image, name: str) -> Image.Image:
    """The decoded image, turned as its EXIF or XMP orientation says; `name` is for a warning where that is damaged."""
    image.load()
    turn = _TURNS.get(_read_orientation(image, name))
    return image if turn is None else image.transpose(turn)


@contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Turn what a decoder raises into a sentence with the image's name; damaged files raise about every type."""
    try:
        yield
    except (ImageFileError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(
            f"{name} is not an image, or of a kind that Pillow does not read (HEIC, raw, SVG): save it as JPEG or PNG."
        ) from error
    except Exception as error:
        raise ImageFileError(f"{name} is damaged or cut off ({str(error) or type(error).__name__}).") from error


@contextmanager
def name_errors(name: object) -> Iterator[None]:
    """Begin the sentence of a `ValueError` with the image's name."""
    try:
        yield
    except ValueError as error:
        raise ImageFileError(f"{name}: {error}") from error


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    image = _open(file, name, max_pixels)
    cut = image.mode in _COLOUR_MODES and any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    image.load()
    if cut:
        image.info["cut_to_8_bits"] = True
    return image


def _open(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Read the header without Pillow's own limit, a global: it is put back at once, and one thread sets it at a time.

    That limit warns at 89 and stops at 179 million pixels, but telephones take 200.
    """
    file.seek(0)
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    width, height = image.size
    if width * height > max_pixels:
        raise ImageFileError(
            f"{name} is {height} x {width} pixels, more than the {max_pixels / 1e6:.0f} million that are read "
            "from a file: make it smaller, or pass its pixels as an array."
        )
    return image


def _read_orientation(image: Image.Image, name: str) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception as error:  # the EXIF parser raises about every type there is
        warnings.warn(f"{name}: EXIF data that cannot be read are left out ({error}).", stacklevel=4)
        return 1


def _read_header_orientation(image: Image.Image, file: BinaryIO) -> int:
    """The orientation of an image that is not decoded; 1 where its metadata are damaged."""
    try:
        if image.format == "PNG" and "exif" not in image.info:
            # Pillow would decode the pixels to look behind them.
            exif = Image.Exif()
            exif.load(b"Exif\0\0" + next((chunk.data for chunk in iterate_chunks(file) if chunk.kind == b"eXIf"), b""))
        else:
            exif = image.getexif()
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # the EXIF parser raises about every type there is
        return 1


def _strip_metadata(file: BinaryIO) -> tuple[bytes, bytes | None] | None:
    """A PNG without the chunks that its pixels do not need, and its colour profile; None if it is cut off."""
    kept, profile = [SIGNATURE], None
    try:
        for chunk in iterate_chunks(file):
            is_whole = zlib.crc32(chunk.kind + chunk.data) == int.from_bytes(chunk.checksum, "big")
            if chunk.kind[:1].isupper() or chunk.kind == b"tRNS" or (chunk.kind == b"eXIf" and is_whole):
                kept.append(chunk.to_bytes())
            elif chunk.kind == b"iCCP" and is_whole:
                profile = _inflate(chunk.data.partition(b"\0")[2][1:])
    except ValueError:
        return None
    return b"".join(kept), profile


def _inflate(data: bytes) -> bytes | None:
    try:
        inflater = zlib.decompressobj()
        inflated = inflater.decompress(data, _MAX_PROFILE)
    except zlib.error:
        return None
    return inflated if inflater.eof else None
