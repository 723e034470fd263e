"""The exponential moving average of a model's weights, which scores better than the weights of any one step."""

from copy import deepcopy

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """A copy of `model` whose weights follow it slowly.

    The statistics of batch norm are averaged with the weights: they describe what the weights of the last steps made,
    and so belong to the same mean. Whole numbers, such as counters, are copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """Move towards `model`: average = decay * average + (1 - decay) * weights."""
        averages, weights = self.model.state_dict(), model.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[n] for n in floating], [weights[n] for n in floating], 1 - decay)
        for name in averages.keys() - set(floating):
            averages[name].copy_(weights[name])
