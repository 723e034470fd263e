"""Recipes of the published models: pixel-loss weights and their change in the last epochs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_DIS = {"bce": 30.0, "iou_sum": 0.5, "ssim": 10.0}
_REGION_PHASE = {"bce": 0.0, "ssim": 1.0, "iou_sum": 0.5, "mae": 0.9}
_MATTING_PHASE = {"mse": 0.9, "ssim": 0.9}


@dataclass(frozen=True)
class Recipe:
    """How one published model was trained.

    Attributes:
        weights: Weights of the pixel losses.
        epochs: Epochs in all.
        finetune_epochs: Last epochs, in which the weights change.
        finetune_factors: What the weights are multiplied by in those epochs.
        base_learning_rate: For a batch of four; it grows with the square root of the batch size (AdamW, weight decay
            0.01, constant, no warm-up and no clipping).
    """

    weights: Mapping[str, float]
    epochs: int
    finetune_epochs: int
    finetune_factors: Mapping[str, float] = field(default_factory=_REGION_PHASE.copy)
    base_learning_rate: float = 1e-5


RECIPES: dict[str, Recipe] = {
    "DIS5K": Recipe(_DIS.copy(), epochs=500, finetune_epochs=40, base_learning_rate=1e-4),
    "COD": Recipe(_DIS.copy(), epochs=150, finetune_epochs=20),
    "HRSOD": Recipe(_DIS.copy(), epochs=150, finetune_epochs=20),
    "General": Recipe(_DIS | {"mae": 100.0}, epochs=200, finetune_epochs=20),
    "General-2K": Recipe(_DIS | {"mae": 100.0}, epochs=250, finetune_epochs=20),
    "Matting": Recipe(
        {"bce": 30.0, "ssim": 10.0, "mae": 100.0},
        epochs=150,
        finetune_epochs=10,
        finetune_factors=_MATTING_PHASE,
    ),
}
"""The published recipes by the original's task names. `repaired_weights` gives weights for the repaired losses."""


def repaired_weights(weights: Mapping[str, float], batch_size: int = 4) -> dict[str, float]:
    """The same weights with each original loss replaced by its repair (`iou_sum` by `iou` and so on).

    Args:
        weights: Weights of pixel losses.
        batch_size: The batch that the weights were made for. `iou` is a mean over the batch and `iou_sum` a sum, so
            that its weight is multiplied by this number.

    Examples:
        >>> repaired_weights({"bce": 30.0, "iou_sum": 0.5}, batch_size=4)
        {'bce': 30.0, 'iou': 2.0}
    """
    names = {"iou_sum": "iou", "iou_patch_original": "iou_patch", "structure_original": "structure"}
    factors = {"iou_sum": batch_size, "iou_patch_original": batch_size}
    result: dict[str, float] = {}
    for name, weight in weights.items():
        repair = names.get(name, name)
        result[repair] = result.get(repair, 0.0) + weight * factors.get(name, 1)
    return result


def weights_at(
    recipe: Recipe, epoch: int, epochs: int | None = None, schedule: Literal["compounding", "fixed"] = "compounding"
) -> dict[str, float]:
    """The pixel-loss weights in an epoch.

    Args:
        recipe: The recipe.
        epoch: Counted from 1.
        epochs: Epochs in all; None for the recipe's own number.
        schedule: `"compounding"` multiplies the weights again at the start of every fine-tuning epoch, as the original
            does: a factor of 0.5 becomes 1/32 after five. `"fixed"` multiplies them once, as the original's settings
            suggest.

    Raises:
        ValueError: The epoch is outside the run, or the schedule is unknown.

    Examples:
        >>> weights_at(RECIPES["DIS5K"], epoch=1)
        {'bce': 30.0, 'iou_sum': 0.5, 'ssim': 10.0}
    """
    epochs = recipe.epochs if epochs is None else epochs
    if not 1 <= epoch <= epochs:
        raise ValueError(f"Epoch {epoch} is not in a run of {epochs}; epochs count from 1.")
    if schedule not in ("compounding", "fixed"):
        raise ValueError(f"The schedule is {schedule!r}; choose 'compounding' or 'fixed'.")
    phase = max(0, epoch - (epochs - recipe.finetune_epochs))  # 0 before the phase, then 1, 2, ...
    power = min(phase, 1) if schedule == "fixed" else phase
    return {name: weight * recipe.finetune_factors.get(name, 1.0) ** power for name, weight in recipe.weights.items()}
