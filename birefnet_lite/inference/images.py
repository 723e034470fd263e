"""Read photos and masks in any form that people have them in: files, PIL images, arrays and tensors."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birefnet_lite.inference.decoding import decode_file, explain_errors, name_errors, read_header_size, turn_upright
from birefnet_lite.inference.mask import mask_from_array, mask_from_image
from birefnet_lite.inference.photo import Photo, array_from_tensor, photo_from_array, photo_from_image

__all__ = [
    "MAX_PIXELS",
    "MEAN",
    "STD",
    "Photo",
    "normalise",
    "read_mask",
    "read_photo",
    "read_size",
    "resize",
    "to_levels",
    "to_tensor",
]

# ImageNet's mean and standard deviation of red, green and blue, in [0, 1]; every backbone here was trained with them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# A file can say that it is far larger than memory.
MAX_PIXELS = 500_000_000


def read_photo(image: Any) -> Photo:
    """Read a photo.

    Files and PIL images are turned as their EXIF says, 16 bits are kept, CMYK and palettes become RGB, of several
    frames the first is taken, and transparency is laid over white. A file may have up to `MAX_PIXELS` pixels.

    Args:
        image: A path; a PIL image of any mode; an array H x W, H x W x 1, H x W x 3 or H x W x 4 (uint8 0-255, uint16
            0-65535, or float in [0, 1]); a tensor 3 x H x W of the same types; or a `Photo`, which is returned.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is not an image, damaged or too large, or values or shapes are not those above.
        TypeError: `image` is of another type.

    Examples:
        >>> from PIL import Image
        >>> photo = read_photo(Image.new("RGB", (60, 40)))
        >>> photo.pixels.shape
        (40, 60, 3)
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, str | os.PathLike):
        decoded = decode_file(image, MAX_PIXELS)
        with name_errors(image):
            return photo_from_image(decoded)
    if isinstance(image, Image.Image):
        with explain_errors("The PIL image"):
            upright = turn_upright(image, "the PIL image")
        return photo_from_image(upright)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            batch = " One image of a batch is `images[0]`." if image.ndim == 4 else ""
            raise ValueError(f"A photo as a tensor is 3 x H x W, not {tuple(image.shape)}.{batch}")
        return photo_from_array(array_from_tensor(image))
    if isinstance(image, np.ndarray):
        return photo_from_array(image)
    raise TypeError(f"A photo is a path, a PIL image, a NumPy array or a tensor, not {type(image).__name__}.")


def read_mask(mask: Any, soft: bool = False) -> NDArray[np.float32]:
    """Read a mask: how much of each pixel is the object, float32 (H, W) in [0, 1].

    Files and PIL images are turned as their EXIF says. The values mean:

    - one value: 0 is empty, any other full;
    - two: the larger grey value, the palette index that is not 0, or the brighter colour is the object;
    - more: a soft mask, if they are floats in [0, 1], or integers whose maximum is above a quarter of what their type
      holds, or 255 in a type of more than 8 bits;
    - an alpha channel that varies while the colours do not is the mask.

    Args:
        mask: A path; a PIL image; an array H x W, H x W x 3 or H x W x 4; a tensor H x W or C x H x W with 1, 3 or 4
            channels; bool, integers or floats.
        soft: Take floats of an array or tensor as they are, as `segment` returns them, however few values there are.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is not an image, damaged or too large, or its values can be read as a mask in no way or in
            several; the message says which values there are.
        TypeError: `mask` is of another type.

    Examples:
        >>> import numpy as np
        >>> read_mask(np.array([[0, 1], [1, 1]], np.uint8))
        array([[0., 1.],
               [1., 1.]], dtype=float32)
    """
    if isinstance(mask, str | os.PathLike):
        decoded = decode_file(mask, MAX_PIXELS)
        with name_errors(mask):
            return mask_from_image(decoded)
    if isinstance(mask, Image.Image):
        with explain_errors("The PIL image"):
            upright = turn_upright(mask, "the PIL image")
        return mask_from_image(upright)
    if isinstance(mask, Tensor):
        mask = array_from_tensor(mask)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
    if isinstance(mask, np.ndarray):
        return mask_from_array(mask, soft)
    raise TypeError(f"A mask is a path, a PIL image, an array or a tensor, not {type(mask).__name__}.")


def read_size(image: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of an image file, in pixels and upright, from its header; raises as `read_photo` does."""
    return read_header_size(image, MAX_PIXELS)


def to_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round numbers in [0, 1] to the 256 levels of an 8-bit picture.

    Examples:
        >>> import numpy as np
        >>> to_levels(np.array([0, 0.5, 1], np.float32))
        array([  0, 128, 255], dtype=uint8)
    """
    scaled = values * np.float32(255)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def to_tensor(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """(H, W, 3), uint8 or float in [0, 1], as a tensor (3, H, W), float32 in [0, 1].

    Examples:
        >>> import numpy as np
        >>> to_tensor(np.full((4, 6, 3), 255, np.uint8)).max()
        tensor(1.)
    """
    scale = 255 if pixels.dtype == np.uint8 else 1
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / scale


def normalise(pixels: Tensor | NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """Pixels as the network takes them: ImageNet's mean 0 and standard deviation 1.

    Args:
        pixels: A tensor (..., 3, H, W) in [0, 1], or an array as `to_tensor` takes it.

    Returns:
        A tensor (..., 3, H, W).

    Examples:
        >>> import numpy as np
        >>> normalise(np.zeros((4, 6, 3), np.uint8)).shape
        torch.Size([3, 4, 6])
    """
    images = pixels if isinstance(pixels, Tensor) else to_tensor(pixels)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (images - mean) / std


def resize(pixels: NDArray, height: int, width: int) -> NDArray:
    """Resize bilinearly with Pillow, with antialiasing where it gets smaller.

    (h, w) or (h, w, 3), uint8 or float32, to (height, width) or (height, width, 3) of the same type.

    Examples:
        >>> import numpy as np
        >>> resize(np.zeros((40, 60, 3), np.uint8), 32, 32).shape
        (32, 32, 3)
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        return np.dstack([resize(pixels[..., i], height, width) for i in range(3)])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
