"""Segment a photo and cut its object out: resize, network, mask at the photo's size, foreground colours."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from birefnet_lite.inference.cutout import estimate_foreground
from birefnet_lite.inference.images import MAX_PIXELS, Photo, normalise, read_mask, read_photo, resize, to_levels
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
    "run_batch",
    "run_network",
    "segment",
    "segment_batch",
]

STRIDE = 32
MAX_SIZE = 8192


def segment(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Segment a photo.

    The photo is squashed to `size`, as photos were in training, and the mask resized back; both bilinear, and with
    antialiasing where it gets smaller. The model runs where and in what precision its parameters are, in evaluation
    mode, and is left as it was; several threads may use one model.

    Args:
        model: The network.
        image: Anything that `read_photo` takes.
        size: What the network sees; see `network_size`.

    Returns:
        The soft mask, float32 (H, W) in [0, 1], at the photo's own size after EXIF rotation.

    Raises:
        OSError, TypeError, ValueError: As `read_photo` and `network_size`; `ValueError` for a model that gives no mask.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> photo, _, _ = load_photo("chelsea")
        >>> mask = segment(load("nano", "cpu"), photo)
        >>> mask.shape, mask.dtype
        ((300, 451), dtype('float32'))
    """
    return next(iter(segment_batch(model, [image], size)))


def segment_batch(
    model: nn.Module, images: Sequence[Any], size: int | tuple[int, int] | None = None
) -> list[NDArray[np.float32]]:
    """Segment several photos in one forward, which is faster on a GPU; see `segment`.

    Examples:
        >>> import numpy as np
        >>> from birefnet_lite import load
        >>> photos = [np.zeros((40, 60, 3), np.uint8), np.zeros((50, 30, 3), np.uint8)]
        >>> [mask.shape for mask in segment_batch(load("nano", "cpu"), photos, size=64)]
        [(40, 60), (50, 30)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a network (torch.nn.Module), not {type(model).__name__}.")
    height, width = network_size(model, size)
    photos = [read_photo(image) for image in images]
    masks = run_batch(model, [resize(photo.pixels, height, width) for photo in photos])
    return [resize(mask, *photo.size).clip(0, 1) for mask, photo in zip(masks, photos, strict=True)]


def cut_out(image: Any, mask: Any) -> Image.Image:
    """Cut the object out of a photo.

    The mask becomes the alpha channel, times the photo's own alpha if it has one. Where it is between 0 and 1, and in
    fully transparent pixels, the colours are those of the object alone (`estimate_foreground`), so that no rim of the
    old background is left.

    Args:
        image: Anything that `read_photo` takes.
        mask: Anything that `read_mask` takes, of the photo's size; floats in an array are soft, as from `segment`.

    Returns:
        An RGBA image of the photo's size.

    Raises:
        OSError, TypeError, ValueError: As `read_photo` and `read_mask`; `ValueError` for a mask of another size.

    Examples:
        >>> import numpy as np
        >>> photo, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.float32)
        >>> cut_out(photo, mask).mode
        'RGBA'
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
    # The mask is saved in 256 levels, so the colours are made for those.
    levels = to_levels(alpha)
    colours = estimate_foreground(photo.pixels, levels)
    result = Image.fromarray(np.dstack([colours, levels]), "RGBA")
    if photo.profile:
        result.info["icc_profile"] = photo.profile
    return result


def network_size(model: nn.Module, size: int | tuple[int, int] | None = None) -> tuple[int, int]:
    """The (height, width) at which a model sees a photo: multiples of 32, in pixels.

    Args:
        model: The network.
        size: One number for a square, or (height, width), each rounded to the nearest multiple of 32. None is the size
            that the model was trained at (`model.config.train_size`), at which it is best.

    Raises:
        ValueError: The size is below what the model takes or above `MAX_SIZE`, or None for a model without one.
        TypeError: It is not a size.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> network_size(BiRefNet(BiRefNetConfig.preset("nano")))
        (256, 256)
    """
    if size is None:
        config = getattr(model, "config", None)
        if config is None or not hasattr(config, "train_size"):
            raise ValueError("The model does not say at which size it was trained: give size, such as 1024.")
        size = config.train_size
    sides: tuple[Any, ...] = tuple(size) if isinstance(size, tuple | list) else (size, size)
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
    """The mask (H, W) in [0, 1] of pixels (H, W, 3) that have the network's size already.

    Raises:
        ValueError: The model gives no mask.
    """
    return run_batch(model, [pixels])[0]


def run_batch(model: nn.Module, images: Sequence[NDArray[np.uint8] | NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The masks (H, W) in [0, 1] of images (H, W, 3) that have the network's size already, in one forward.

    Raises:
        ValueError: The model gives no masks.
    """
    device, dtype = device_and_dtype(model)
    batch = torch.stack([normalise(pixels) for pixels in images])  # (B, 3, H, W)
    with evaluating(model), torch.inference_mode():
        output = model(batch.to(device=device, dtype=dtype))
        masks = logits_of(output).float().sigmoid().cpu().numpy()
    wanted = (len(images), 1, *images[0].shape[:2])
    if masks.shape != wanted:
        raise ValueError(f"The model gives {masks.shape} for {len(images)} images; a mask is {wanted}.")
    if not np.isfinite(masks).all():
        raise ValueError(
            "The model gives values that are not numbers. "
            "In half precision that is often an overflow: use model.float()."
        )
    return list(masks[:, 0])


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def device_and_dtype(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of a network: those of its first floating-point parameter.

    A network without any runs in float32 on the CPU.

    Raises:
        ValueError: The network is on the meta device.
    """
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    if parameter.is_meta:
        raise ValueError("The model is on the meta device: it has shapes, but no weights to run with.")
    return parameter.device, parameter.dtype


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep a model in evaluation mode; afterwards each part is as it was, since parts can be frozen.

    Several threads may be inside with one model, or with parts of it: each module gets its mode back when the last of
    them leaves.
    """
    modules = list(model.modules())
    with _modes_lock:
        for module in modules:
            use = _in_use.setdefault(module, _Use(module.training))
            use.count += 1
        if any(module.training for module in modules):
            model.eval()
    try:
        yield
    finally:
        with _modes_lock:
            for module in modules:
                use = _in_use[module]
                use.count -= 1
                if not use.count:
                    module.training = _in_use.pop(module).training


@dataclass
class _Use:
    """A module's mode before it was evaluated, and by how many it is being evaluated."""

    training: bool
    count: int = 0


_in_use: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_modes_lock = threading.Lock()
