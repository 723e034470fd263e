"""Copies of arguments, to find out what a learner's function has changed, and the comparison of two results."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Copy", "is_same", "list_tensors"]


class Copy:
    """An argument as it was before a call."""

    def __init__(self, value: Any) -> None:
        self._value = self._copied(value)

    def _copied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone(), value.requires_grad
        if isinstance(value, np.ndarray):
            return value.copy()
        if isinstance(value, nn.Module):
            state = {name: x.detach().clone() for name, x in value.named_parameters()}
            if not value.training:
                state |= {name: x.detach().clone() for name, x in value.named_buffers()}
            flags = {name: (part.training, len(part._forward_hooks)) for name, part in value.named_modules()}
            return state, flags, {name: x.requires_grad for name, x in value.named_parameters()}
        if isinstance(value, tuple | list):
            return [Copy(one) for one in value]
        return None

    def change(self, value: Any, name: str) -> str | None:
        """Return the name of what has changed, or None."""
        if isinstance(value, Tensor):
            numbers, gradient = self._value
            if value.shape != numbers.shape or not torch.equal(value.detach(), numbers):
                return f"`{name}`"
            return f"`requires_grad` of `{name}`" if value.requires_grad != gradient else None
        if isinstance(value, np.ndarray):
            return None if np.array_equal(value, self._value) else f"`{name}`"
        if isinstance(value, nn.Module):
            return self._changed_module(value, name)
        if isinstance(value, tuple | list):
            if len(value) != len(self._value):
                return f"the length of `{name}`"
            changes = (
                copy.change(one, f"{name}[{i}]") for i, (copy, one) in enumerate(zip(self._value, value, strict=True))
            )
            return next(filter(None, changes), None)
        return None

    def _changed_module(self, module: nn.Module, name: str) -> str | None:
        state, flags, gradients = self._value
        now = dict(module.named_parameters()) | dict(module.named_buffers())
        for key, numbers in state.items():
            if key not in now or not torch.equal(now[key].detach(), numbers):
                return f"`{key}` of the {type(module).__name__} `{name}`"
        for key, (training, _) in flags.items():
            part = module.get_submodule(key)
            if part.training != training:
                return f"the mode of `{name}` (it was {'in training' if training else 'in evaluation'} mode)"
        if gradients != {key: x.requires_grad for key, x in module.named_parameters()}:
            return f"`requires_grad` of the weights of `{name}`"
        return None


def list_tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of a value, also inside lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from list_tensors(one)


def is_same(a: Any, b: Any) -> bool:
    """Whether two results are equal but for the last digits."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        a, b = a.detach().double(), b.detach().double()
        return torch.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True))
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, float | int) and isinstance(b, float | int):
        return a == b or (a != a and b != b) or abs(a - b) <= 1e-5 * max(abs(a), abs(b))
    return True
