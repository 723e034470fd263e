"""Schedules: learning rate, scene difficulty, EMA decay and loss weights, each a function of the step alone.

So a run that is resumed needs no saved scheduler.
"""

import math
from collections.abc import Mapping

from birefnet_lite.training.recipes import RECIPES, repaired_weights, weights_at
from birefnet_lite.training.settings import TrainSettings

__all__ = ["difficulty_at", "ema_decay_at", "learning_rate_at", "loss_weights_at"]


def learning_rate_at(settings: TrainSettings, step: int) -> float:
    """Linear warm-up, constant until the end of `hold`, then half a cosine down.

    `step` counts from 0; at the last step the rate is almost the final one.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    start = max(settings.warmup_steps, settings.hold * settings.steps)
    part = min(1.0, max(0.0, (step - start) / max(1.0, settings.steps - start)))
    low = settings.final_learning_rate
    return settings.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * part)) / 2)


def difficulty_at(settings: TrainSettings, step: int) -> float:
    """Difficulty of the synthetic scenes, 0 to 1: rises linearly, as nothing is learnt from camouflage at the start."""
    first, last = settings.difficulty
    ramp = settings.difficulty_ramp * settings.steps
    return first + (last - first) * (min(1.0, step / ramp) if ramp else 1.0)


def ema_decay_at(settings: TrainSettings, step: int) -> float:
    """Decay of the weight average: small at first when training from scratch, so that random weights drop out soon."""
    if settings.start_from:
        return settings.ema_decay
    return min(settings.ema_decay, (1 + step) / (10 + step))


def loss_weights_at(settings: TrainSettings, step: int) -> Mapping[str, float]:
    """Weights of the pixel losses; the last `finetune_steps` have their own, as the original's last epochs do.

    The original multiplies its weights again in each of these epochs; here they change once.
    """
    finetune = step >= settings.steps - settings.finetune_steps
    if settings.recipe:
        recipe = RECIPES[settings.recipe]
        return repaired_weights(weights_at(recipe, recipe.epochs if finetune else 1, schedule="fixed"))
    return settings.finetune_loss if finetune else settings.loss or {"bce": 1.0, "iou": 1.0}
