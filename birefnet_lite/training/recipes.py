"""The loss weights and schedules under which the published models were trained, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

_DIS = {"bce": 30.0, "iou_sum": 0.5, "ssim": 10.0}
_REGION_PHASE = {"bce": 0.0, "ssim": 1.0, "iou_sum": 0.5, "mae": 0.9}
_MATTING_PHASE = {"mse": 0.9, "ssim": 0.9}


@dataclass(frozen=True)
class Recipe:
    """How one published model was trained: pixel-loss weights, epochs, and the fine-tuning at the end.

    ``finetune_factors`` multiply the weights in the last ``finetune_epochs`` of ``epochs``; ``base_learning_rate`` is
    for a batch of four (AdamW, weight decay 0.01, constant, no warm-up and no clipping).
    """

    weights: Mapping[str, float]
    epochs: int
    finetune_epochs: int
    finetune_factors: Mapping[str, float] = field(default_factory=_REGION_PHASE.copy)
    base_learning_rate: float = 1e-5

    def learning_rate(self, batch_size: int) -> float:
        """The original's rule: it grows with the square root of the batch size, 1 at a batch of four."""
        if batch_size < 1:
            raise ValueError(f"The batch size is {batch_size}; it must be at least 1.")
        return self.base_learning_rate * sqrt(batch_size / 4)


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
"""The published recipes by the original's task names. Each can be trained with the repaired ``iou`` instead: see
:func:`repaired`."""


def repaired(weights: Mapping[str, float], batch_size: int = 4) -> dict[str, float]:
    """The same weights with each original loss replaced by its repair (``iou_sum`` → ``iou`` and so on).

    ``iou`` is a mean where ``iou_sum`` adds up the batch, so its weight is multiplied by ``batch_size``, the batch that
    the weights were made for, to keep the balance.
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
    """The pixel-loss weights in ``epoch``, counted from 1, of a run of ``epochs`` (default: the recipe's own number).

    ``"compounding"`` is what the original does: the factors are applied anew at the start of every fine-tuning epoch,
    so that a factor of 0.5 leaves a 32nd after five. ``"fixed"`` applies them once, which is what they look like.
    Raises ValueError for an epoch outside the run.
    """
    epochs = recipe.epochs if epochs is None else epochs
    if not 1 <= epoch <= epochs:
        raise ValueError(f"Epoch {epoch} is not in a run of {epochs}; epochs count from 1.")
    if schedule not in ("compounding", "fixed"):
        raise ValueError(f"The schedule is {schedule!r}; choose 'compounding' or 'fixed'.")
    phase = max(0, epoch - (epochs - recipe.finetune_epochs))  # 0 before the phase, then 1, 2, ...
    power = min(phase, 1) if schedule == "fixed" else phase
    return {name: weight * recipe.finetune_factors.get(name, 1.0) ** power for name, weight in recipe.weights.items()}
