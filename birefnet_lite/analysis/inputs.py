"""Prepare a photo for the network, with the same pixels that `segment` gives it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.inference.images import read_photo
from birefnet_lite.inference.predict import device_and_dtype, network_size, normalise, resize

__all__ = ["Prepared", "as_photo", "prepare"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image on its way into the model."""

    tensor: Tensor
    """(1, 3, H, W), normalised, on the model's device and in its dtype; H and W are multiples of 32."""
    seen: NDArray[np.uint8]
    """(H, W, 3): the same pixels before normalisation."""
    photo: NDArray[np.uint8]
    """(h, w, 3): the photo as it was given, upright."""


def as_photo(image: Any) -> NDArray[np.uint8]:
    """Any usual form of a photo (see `read_photo`) as uint8 (H, W, 3), upright. Raises as `read_photo` does."""
    return _as_bytes(read_photo(image).pixels)


def prepare(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> Prepared:
    """Squash a photo to the size at which a model sees it, exactly as `segment` does.

    Args:
        model: The network; its device and dtype become those of the tensor.
        image: Anything that `read_photo` takes.
        size: A square's side or (height, width); without it the size that the model was trained at (`network_size`).

    Raises:
        ValueError, TypeError: As `read_photo` and `network_size`.
    """
    photo = read_photo(image)
    pixels = resize(photo.pixels, *network_size(model, size))
    device, dtype = device_and_dtype(model)
    tensor = normalise(pixels)[None].to(device=device, dtype=dtype)  # (1, 3, H, W)
    return Prepared(tensor, _as_bytes(pixels), _as_bytes(photo.pixels))


def _as_bytes(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return np.floor(pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8)
