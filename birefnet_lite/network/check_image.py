"""Checks the image that a network is called with, and says what is wrong with it."""

import torch
from torch import Tensor

from birefnet_lite.config import BiRefNetConfig

__all__ = ["check_image"]


def check_image(image: Tensor, config: BiRefNetConfig, min_size: int, dtypes: tuple[torch.dtype, ...]) -> None:
    """Check the type, shape, size and dtype of an image (B, 3, H, W).

    Args:
        image: The argument of the network.
        config: The network's configuration.
        min_size: The smallest height and width, in pixels, that the network takes.
        dtypes: The dtypes that the network takes. Under autocast, the image may have any other floating-point dtype.

    Raises:
        TypeError: The image is not a floating-point tensor, or its dtype is not the network's.
        ValueError: The shape is not (B, 3, H, W), or height and width are too small or not multiples of 32.
    """
    if not isinstance(image, Tensor):
        raise TypeError(
            f"BiRefNet takes a tensor (B, 3, H, W), not {type(image).__name__}; birefnet_lite.segment takes photos."
        )
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"BiRefNet takes an image of shape (B, 3, H, W), not {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise TypeError(f"BiRefNet takes a normalised floating-point image, not {image.dtype}.")
    height, width = image.shape[-2:]
    if height % 32 or width % 32 or min(height, width) < min_size:
        least = f" and at least {min_size} with the backbone {config.backbone}" if min_size > 32 else ""
        raise ValueError(
            f"Height and width must be multiples of 32{least}, not {height} x {width}. "
            "birefnet_lite.segment takes photos of any size."
        )
    if image.dtype not in dtypes and not autocast_is_on(image):
        raise TypeError(
            f"The image is {_short(image.dtype)} and the model's weights are {_short(dtypes[0])}. Convert the image, "
            f"model(image.to(torch.{_short(dtypes[0])})), or the model, model.to(torch.{_short(image.dtype)}), or use "
            "torch.autocast."
        )


def autocast_is_on(x: Tensor) -> bool:
    """Whether autocast is enabled for the device of a tensor."""
    # The meta device, which has shapes and no numbers, does not know autocast.
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
