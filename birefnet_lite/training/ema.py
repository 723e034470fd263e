"""Exponential moving average (EMA) of a model's weights."""

from copy import deepcopy

import torch
from torch import nn

__all__ = ["EMA"]


class EMA:
    """A copy of a model whose weights are the exponential moving average of the model's.

    The running statistics of batch norms are averaged too, since they belong to the weights of the same steps.
    Integers, such as the number of batches, are copied.

    Attributes:
        model: The averaged model, in evaluation mode and without gradients.

    Examples:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> average = EMA(model)
        >>> average.update(model, decay=0.99)
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """One step: average = decay * average + (1 - decay) * weights."""
        averages, weights = self.model.state_dict(), model.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[n] for n in floating], [weights[n] for n in floating], 1 - decay)
        for name in averages.keys() - set(floating):
            averages[name].copy_(weights[name])
