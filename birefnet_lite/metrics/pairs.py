"""Convert a prediction and a mask of any form to the pair of tensors that every metric takes."""

import numpy as np
import torch
from torch import Tensor

EPS = float(np.spacing(1))
"""The ε of the reference implementations: the spacing of float64 at 1."""


def _as_image(values: Tensor | np.ndarray, what: str) -> Tensor:
    """(..., H, W) with leading ones -> (H, W); floating types become float64, on the CPU where a device has none."""
    # A copy, because PyTorch takes neither read-only nor flipped arrays.
    image = torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else torch.as_tensor(values)
    if image.ndim < 2 or image.shape[:-2].numel() != 1 or image.numel() == 0:
        raise ValueError(
            f"A {what} is one image, H x W or 1 x 1 x H x W, but this one has the shape {tuple(image.shape)}."
        )
    image = image.detach().reshape(image.shape[-2:])  # (H, W)
    return _double(image) if image.is_floating_point() else image


def _double(image: Tensor) -> Tensor:
    """float64, on the CPU where a device has none."""
    return (image.cpu() if image.device.type == "mps" else image).double()


def _as_fraction(image: Tensor, what: str) -> Tensor:
    if image.dtype == torch.uint8:
        image = _double(image)
        return image / image.new_tensor(255)  # for a Python number a GPU multiplies by 1/255, which rounds down
    if image.dtype == torch.bool:
        return _double(image)
    if not image.is_floating_point():
        raise TypeError(f"A {what} is uint8 (0 to 255), bool or floating (0 to 1), not {image.dtype}.")
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"A floating {what} is in [0, 1], but this one runs from {low:.4g} to {high:.4g}. Logits need a sigmoid."
        )
    return image


def prepare(
    prediction: Tensor | np.ndarray, mask: Tensor | np.ndarray, *, stretch: bool, binarise: bool = True
) -> tuple[Tensor, Tensor]:
    """Convert one prediction and its mask for the metrics.

    Args:
        prediction: H x W with any leading dimensions of 1; uint8 (0 to 255), bool or floating (0 to 1).
        mask: As the prediction.
        stretch: Stretch the prediction linearly from its minimum and maximum to 0 and 1, unless it is constant. The
            benchmarks do, so published numbers need it. But it hides that a model is unsure, and faint noise on an
            empty image becomes a strong false alarm.
        binarise: Cut the mask at `> 128` of 255, as the benchmarks do also for soft masks; the exact alpha matte then
            has an error above 0. With False the mask is returned as float64, for `mae` and `mse` only.

    Returns:
        The prediction as float64 (H, W) in [0, 1] and the mask as bool (H, W), on one device.

    Raises:
        ValueError: The shapes differ, or values are out of range.
        TypeError: Another type.

    Examples:
        >>> import numpy as np
        >>> prediction, mask = prepare(np.full((4, 6), 51, np.uint8), np.ones((4, 6), bool), stretch=False)
        >>> prediction.max()
        tensor(0.2000, dtype=torch.float64)
    """
    prediction = _as_fraction(_as_image(prediction, "prediction"), "prediction")
    mask = _as_fraction(_as_image(mask, "mask"), "mask").to(prediction.device)
    if prediction.shape != mask.shape:
        raise ValueError(
            f"The prediction is {tuple(prediction.shape)} and the mask {tuple(mask.shape)} (H, W). Resize the "
            "prediction to the mask: the benchmarks score at the mask's size."
        )
    low, high = prediction.aminmax()
    if stretch and high > low:
        prediction = (prediction - low) / (high - low)
    # Half a level above 128, so that 128/255 is background in any floating type.
    return prediction, mask > 128.5 / 255 if binarise else mask


def check_pair(prediction: Tensor, mask: Tensor, *, soft_mask: bool = False) -> tuple[Tensor, Tensor]:
    """Return a pair from `prepare` as float64 and bool; `ValueError` for anything else."""
    known_mask = mask.dtype == torch.bool or (soft_mask and mask.is_floating_point())
    if prediction.shape != mask.shape or prediction.ndim != 2 or not prediction.is_floating_point() or not known_mask:
        raise ValueError(
            f"A metric wants a floating prediction in [0, 1] and a bool mask, both H x W; it was given "
            f"{tuple(prediction.shape)} {prediction.dtype} and {tuple(mask.shape)} {mask.dtype}. prepare() makes them."
        )
    if prediction.device.type == "mps":  # it has no float64
        prediction, mask = prediction.cpu(), mask.cpu()
    return prediction.double(), mask if mask.dtype == torch.bool else mask.double()
