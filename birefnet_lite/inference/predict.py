"""Photo to mask to cut-out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from birefnet_lite.inference.cutout import estimate_foreground
from birefnet_lite.inference.images import MAX_PIXELS, Photo, normalise, read_mask, read_photo, resize
from birefnet_lite.network.birefnet import logits_of

__all__ = [
    "MAX_PIXELS",
    "Photo",
    "cut_out",
    "device_and_dtype",
    "evaluating",
    "network_size",
    "normalise",
    "read_photo",
    "resize",
    "run_network",
    "segment",
]

STRIDE = 32
MAX_SIZE = 8192


def segment(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> NDArray[np.float32]:
    """The soft mask of a photo: float32 (H, W) in [0, 1], at the photo's own size after EXIF rotation.

    `image` is anything that `read_photo` takes. The photo is squashed to `size` (see `network_size`), as photos were in
    training, and the mask resized back; both bilinear, and with antialiasing where it gets smaller. The model runs
    where and in what precision its parameters are, in evaluation mode, and is left as it was.
    Raises what `read_photo` and `network_size` raise, and `ValueError` for a model that gives no mask.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a network (torch.nn.Module), not {type(model).__name__}.")
    height, width = network_size(model, size)
    photo = read_photo(image)
    return resize(run_network(model, resize(photo.pixels, height, width)), *photo.size).clip(0, 1)


def cut_out(image: Any, mask: Any) -> Image.Image:
    """The object of a photo on transparent ground: an RGBA image of the photo's size.

    `mask` is (H, W) as `segment` gives it: float in [0, 1] or uint8 0-255, an array, a tensor or a grey PIL image. It
    becomes the alpha channel, times the photo's own alpha where it has one. Where it is between 0 and 1, and in fully
    transparent pixels, the colours are those of the object alone (`estimate_foreground`), so that no rim of the old
    background is left.
    Raises what `read_photo` raises, and `ValueError` or `TypeError` for a mask of another size, type or range.
    """
    photo = read_photo(image)
    alpha = read_mask(mask, soft=True)
    if alpha.shape != photo.size:
        raise ValueError(
            f"The mask is {alpha.shape[0]} x {alpha.shape[1]} pixels and the photo {photo.size[0]} x {photo.size[1]} "
            "(after EXIF rotation): they must be of one size, as segment() makes them."
        )
    if photo.alpha is not None:
        alpha = alpha * photo.alpha
    levels = np.rint(alpha * 255).astype(np.uint8)
    # What will be seen is the mask in 256 levels, so the colours are made for those.
    colours = estimate_foreground(photo.pixels, levels.astype(np.float32) / 255)
    result = Image.fromarray(np.dstack([colours, levels]), "RGBA")
    if photo.profile:
        result.info["icc_profile"] = photo.profile
    return result


def network_size(model: nn.Module, size: int | tuple[int, int] | None = None) -> tuple[int, int]:
    """The (height, width) at which a model sees a photo: multiples of 32, in pixels.

    `size` is one number for a square, or (height, width), each rounded to the nearest multiple of 32. None is the size
    that the model was trained at (`model.config.train_size`), at which it is best.
    Raises `ValueError` for a size below what the model takes or above `MAX_SIZE`, `TypeError` for what is no size.
    """
    if size is None:
        config = getattr(model, "config", None)
        if not hasattr(config, "train_size"):
            raise ValueError("The model does not say at which size it was trained: give size, such as 1024.")
        size = config.train_size
    sides = (size, size) if _is_whole(size) else tuple(size) if isinstance(size, tuple | list) else ()
    if len(sides) != 2 or not all(_is_whole(side) for side in sides):
        raise TypeError(f"size is a whole number of pixels, or (height, width); not {size!r}.")
    least = getattr(model, "min_size", STRIDE)
    if min(sides) < least:
        raise ValueError(f"size is {size}; this model takes {least} pixels or more on each side.")
    if max(sides) > MAX_SIZE:
        raise ValueError(f"size is {size}; it is at most {MAX_SIZE} pixels on each side, for want of memory.")
    height, width = (round(side / STRIDE) * STRIDE for side in sides)
    return height, width


def run_network(model: nn.Module, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """The mask of pixels that have the network's size already: (H, W, 3) to float32 (H, W) in [0, 1].

    Raises `ValueError` for a model that gives no mask.
    """
    device, dtype = device_and_dtype(model)
    image = normalise(pixels)[None]  # (1, 3, H, W)
    with evaluating(model), torch.inference_mode():
        output = model(image.to(device=device, dtype=dtype))
        mask = logits_of(output).float().sigmoid().cpu().numpy()
    wanted = (1, 1, *pixels.shape[:2])
    if mask.shape != wanted:
        raise ValueError(f"The model gives {mask.shape} for one image; a mask is {wanted}.")
    if not np.isfinite(mask).all():
        raise ValueError(
            "The model gives values that are not numbers. "
            "In half precision that is often an overflow: use model.float()."
        )
    return mask[0, 0]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def device_and_dtype(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a network lives and what it computes in: those of its first parameter that is a float.

    A network without any runs in float32 on the CPU; `ValueError` for one on the meta device.
    """
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    if parameter.is_meta:
        raise ValueError("The model is on the meta device: it has shapes, but no weights to run with.")
    return parameter.device, parameter.dtype


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While open, the model is in evaluation mode; afterwards each part is as it was: parts can be frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
