"""RGB pixels of a photo from decoded images, arrays and tensors of any mode and depth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["Photo", "array_from_tensor", "photo_from_array", "photo_from_image"]

# Files whose colour profile still holds for the RGB pixels made of them.
_RGB_MODES = ("RGB", "RGBA", "P", "PA")
_OVERSHOOT = 1e-5


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


def photo_from_image(image: Image.Image) -> Photo:
    """A photo from a decoded, upright image of any mode; `ValueError` for values out of range."""
    profile = image.info.get("icc_profile") if image.mode in _RGB_MODES else None
    if image.mode.startswith("I") or image.mode == "F":
        return photo_from_array(_deep_grey(image))
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
            raise ValueError(f"A photo of 32-bit integers holds {low} to {high}; 16-bit grey is 0 to 65535.")
    return grey if grey.dtype.kind == "f" else grey.astype(np.uint16)


def _over_white(rgba: Image.Image, profile: bytes | None = None) -> Photo:
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return Photo(np.asarray(rgba.convert("RGB")), None, profile)
    white = Image.new("RGBA", rgba.size, "white")
    pixels = Image.alpha_composite(white, rgba).convert("RGB")
    return Photo(np.asarray(pixels), np.asarray(alpha, np.float32) / np.float32(255), profile)


def array_from_tensor(tensor: Tensor) -> NDArray:
    """(C, H, W) or (H, W) as an array (H, W, C) or (H, W); floats of less than 32 bits become float32."""
    tensor = tensor.detach().cpu()
    tensor = tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def photo_from_array(array: NDArray) -> Photo:
    """A photo from an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16 or float in [0, 1]."""
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]  # (H, W, 1)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = " Channels come last: array.transpose(1, 2, 0)." if first else ""
        raise ValueError(f"A photo as an array is H x W, H x W x 3 or H x W x 4, not {shape}.{hint}")
    if 0 in shape:
        raise ValueError(f"The photo has no pixels: its shape is {shape}.")
    pixels: NDArray = _scale_values(array)
    if pixels.shape[2] == 4:
        if pixels.dtype == np.uint8:
            return _over_white(Image.fromarray(pixels, "RGBA"))
        alpha = pixels[..., 3].astype(np.float32)
        over_white = pixels[..., :3] * alpha[..., None] + (1 - alpha[..., None])  # (H, W, 3)
        return Photo(over_white, None if (alpha == 1).all() else alpha)
    if pixels.shape[2] == 1:
        return Photo(np.repeat(pixels, 3, axis=2))  # (H, W, 3)
    return Photo(pixels)


def _scale_values(array: NDArray) -> NDArray[np.uint8] | NDArray[np.float32]:
    """uint8 as it is, other types as float32 in [0, 1]."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        raise TypeError(f"A photo's values are uint8, uint16 or float in [0, 1], not {array.dtype}.")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("The photo holds values that are not finite numbers (NaN or infinity).")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:  # resizing in floats overshoots by a few units in the last place
        raise ValueError(
            f"A float photo holds values in [0, 1], not {low:.4g} to {high:.4g}: divide by 255, or undo the "
            "normalisation, which is done here."
        )
    return np.clip(array, 0, 1).astype(np.float32)
