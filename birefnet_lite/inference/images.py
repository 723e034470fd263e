"""Photos as people have them: files, PIL images, arrays and tensors, read into one form."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

__all__ = ["MAX_PIXELS", "MEAN", "STD", "Photo", "normalise", "read_photo"]

# ImageNet's mean and standard deviation of red, green and blue, in [0, 1]; every backbone here was trained with them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# A file can say that it is far larger than memory. Pillow's own limit warns at 89 megapixels and stops at 179, but
# telephones take 200.
MAX_PIXELS = 500_000_000

# Files whose colour profile still holds for the RGB pixels made of them.
_RGB_MODES = ("RGB", "RGBA", "P", "PA")
_OVERSHOOT = 1e-5
_pillow_limit = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, upright."""

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    """(H, W, 3), RGB: uint8, or float32 in [0, 1]. Transparent pixels are laid over white."""
    alpha: NDArray[np.float32] | None = None
    """(H, W) in [0, 1] where the photo has transparent pixels of its own."""
    profile: bytes | None = None
    """The ICC profile that says what the RGB values mean (telephones save Display P3, for one)."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_photo(image: Any) -> Photo:
    """Any usual form of a photo as a `Photo`; one that is a `Photo` already is returned as it is.

    Takes a path; a PIL image of any mode; an array H x W, H x W x 1, H x W x 3 or H x W x 4 (uint8 0-255, uint16
    0-65535, or float in [0, 1]); a tensor 3 x H x W of the same types. Files and PIL images are turned as their EXIF
    says, 16 bits are kept, CMYK and palettes become RGB, of several frames the first is taken, and transparency is laid
    over white. A file may have up to `MAX_PIXELS` pixels.
    Raises `OSError` where a file cannot be opened, `ValueError` where it is no image, damaged or too large and where
    values or shapes are not those above, `TypeError` for other types.
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, str | os.PathLike):
        return _from_file(Path(image))
    if isinstance(image, Image.Image):
        with _decoding("The PIL image"):
            return _from_pillow(image)
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise TypeError(f"A photo is a path, a PIL image, a NumPy array or a tensor, not {type(image).__name__}.")


def _from_file(path: Path) -> Photo:
    with path.open("rb") as file, _decoding(str(path)):
        if not file.read(1):
            raise _PhotoError(f"{path} is empty.")
        file.seek(0)
        with _open(file) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _PhotoError(
                    f"{path} is {height} x {width} pixels, more than the {MAX_PIXELS / 1e6:.0f} million that are read "
                    "from a file: make it smaller, or pass its pixels as an array."
                )
            return _from_pillow(image)


def _open(file: BinaryIO) -> Image.Image:
    """Reads the header without Pillow's limit, which is a global: put back at once, and one thread at a time."""
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns what a decoder raises into a sentence; damaged files raise about every type there is."""
    try:
        yield
    except (_PhotoError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _PhotoError(
            f"{name} is not an image, or of a kind that Pillow does not read (HEIC, raw, SVG): save it as JPEG or PNG."
        ) from error
    except Exception as error:
        raise _PhotoError(f"{name} is damaged or cut off ({str(error) or type(error).__name__}).") from error


class _PhotoError(ValueError):
    """A sentence about the photo that needs no further wrapping."""


def _from_pillow(image: Image.Image) -> Photo:
    profile = image.info.get("icc_profile") if image.mode in _RGB_MODES else None
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_array(_deep_grey(image))
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        return _over_white(image.convert("RGBA"), profile)
    return Photo(np.asarray(image.convert("RGB")), None, profile)


def _deep_grey(image: Image.Image) -> NDArray:
    """Grey of more than 8 bits. Pillow has 16-bit files as `I;16`, or as 32-bit `I` with values up to 65535."""
    grey = np.asarray(image)
    if grey.dtype.kind == "i":
        low, high = int(grey.min()), int(grey.max())
        if low < 0 or high > 65535:
            raise _PhotoError(f"A photo of 32-bit integers holds {low} to {high}; 16-bit grey is 0 to 65535.")
    return grey if grey.dtype.kind == "f" else grey.astype(np.uint16)


def _over_white(rgba: Image.Image, profile: bytes | None = None) -> Photo:
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return Photo(np.asarray(rgba.convert("RGB")), None, profile)
    white = Image.new("RGBA", rgba.size, "white")
    pixels = Image.alpha_composite(white, rgba).convert("RGB")
    return Photo(np.asarray(pixels), np.asarray(alpha, np.float32) / 255, profile)


def _from_tensor(tensor: Tensor) -> Photo:
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        batch = " One image of a batch is `images[0]`." if tensor.ndim == 4 else ""
        raise ValueError(f"A photo as a tensor is 3 x H x W, not {tuple(tensor.shape)}.{batch}")
    tensor = tensor.detach().permute(1, 2, 0).cpu()  # (H, W, 3)
    return _from_array((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _from_array(array: NDArray) -> Photo:
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]  # (H, W, 1)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = " Channels come last: array.transpose(1, 2, 0)." if first else ""
        raise _PhotoError(f"A photo as an array is H x W, H x W x 3 or H x W x 4, not {shape}.{hint}")
    if 0 in shape:
        raise _PhotoError(f"The photo has no pixels: its shape is {shape}.")
    array = _known_values(array)
    if array.shape[2] == 4:
        if array.dtype == np.uint8:
            return _over_white(Image.fromarray(array, "RGBA"))
        alpha = array[..., 3]
        pixels = array[..., :3] * alpha[..., None] + (1 - alpha[..., None])  # (H, W, 3)
        return Photo(pixels, None if (alpha == 1).all() else alpha)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)  # (H, W, 3)
    return Photo(array)


def _known_values(array: NDArray) -> NDArray[np.uint8] | NDArray[np.float32]:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        raise TypeError(f"A photo's values are uint8, uint16 or float in [0, 1], not {array.dtype}.")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise _PhotoError("The photo holds values that are not finite numbers (NaN or infinity).")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:  # resizing in floats overshoots by a few units in the last place
        raise _PhotoError(
            f"A float photo holds values in [0, 1], not {low:.4g} to {high:.4g}: divide by 255, or undo the "
            "normalisation, which is done here."
        )
    return np.clip(array, 0, 1).astype(np.float32)


def normalise(images: Tensor) -> Tensor:
    """Images (..., 3, H, W) in [0, 1] as the network wants them: ImageNet's mean 0 and standard deviation 1."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (images - mean) / std
