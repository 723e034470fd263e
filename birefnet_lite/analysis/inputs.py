"""From an image as people have it to the tensor a model takes, and the way back to the photo's own pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.inference.images import normalise, read_photo
from birefnet_lite.inference.predict import device_and_dtype

__all__ = ["Prepared", "as_photo", "prepare"]

MULTIPLE = 32
LONGEST = 1024


@dataclass(frozen=True)
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
    pixels = read_photo(image).pixels
    return pixels if pixels.dtype == np.uint8 else np.floor(pixels * 255 + 0.5).astype(np.uint8)


def prepare(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> Prepared:
    """Bring an image to a size the model takes.

    `size` is (H, W), or one number for a square as in the paper's training. Without it the photo keeps its shape: its
    longer side becomes at most what the model was trained at, and at most 1024. Both sides are rounded to multiples of
    32, and are at least as large as the backbone needs.
    """
    photo = as_photo(image)
    height, width = photo.shape[:2]
    if size is None:
        trained = getattr(getattr(model, "config", None), "train_size", (LONGEST, LONGEST))
        scale = min(1.0, min(*trained, LONGEST) / max(height, width))
        height, width = height * scale, width * scale
    elif isinstance(size, int):
        height = width = size
    elif isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
        height, width = size
    else:
        raise TypeError(f"size is a whole number of pixels, or (height, width); not {size!r}.")
    least = getattr(model, "min_size", MULTIPLE)
    height, width = (max(least, round(side / MULTIPLE) * MULTIPLE) for side in (height, width))
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float()  # (1, 3, h, w)
    if (height, width) != photo.shape[:2]:
        pixels = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    seen = pixels.round().clamp(0, 255)
    device, dtype = device_and_dtype(model)
    tensor = normalise(seen / 255).to(device=device, dtype=dtype)
    return Prepared(tensor, seen[0].permute(1, 2, 0).to(torch.uint8).numpy(), photo)
