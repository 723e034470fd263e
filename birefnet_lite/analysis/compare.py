"""Compare two networks layer by layer on the same input, and find the first part that differs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from birefnet_lite.inference.predict import evaluating

__all__ = ["Row", "compare_layers", "outputs_of"]

Status = Literal["OK", "DIFF", "SHAPE", "MISSING"]
#: The name of the module's own output.
WHOLE = "output"


@dataclass(frozen=True, eq=False)
class Row:
    """One part under one name: what each side computed, and how far apart."""

    name: str
    status: Status
    mine: Tensor | None
    reference: Tensor | None
    largest: float
    """The largest absolute difference; NaN where there is nothing to compare."""
    mean: float
    """The mean absolute difference."""


def outputs_of(module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
    """The output of every part of a module, by dotted name, in the order in which they finish; in evaluation mode.

    A part that runs again is `name (2)`; a part that returns several tensors has `name[0]`, `name[1]`.
    The module's own output is `output`. Hooks are removed and modes restored, also when the module raises.
    """
    found: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def keep(name: str, output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        label = name if calls[name] == 1 else f"{name} ({calls[name]})"
        tensors = list(_tensors(output))
        for i, tensor in enumerate(tensors):
            found[label if len(tensors) == 1 else f"{label}[{i}]"] = tensor.detach().cpu().clone()

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(module))
        for name, part in module.named_modules():
            hook = part.register_forward_hook(lambda _m, _i, output, name=name or WHOLE: keep(name, output))
            stack.callback(hook.remove)
        module(*inputs)
    return found


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def compare_layers(
    mine: nn.Module,
    reference: nn.Module,
    inputs: Any,
    names: Mapping[str, str] | None = None,
    tolerance: float = 1e-4,
) -> list[Row]:
    """Compare two modules part by part, in the order in which the reference computes.

    `inputs` is a tensor or a tuple of them; both get copies, with which they may do as they like. `names` says which of
    my parts stands for which of the reference's, where they are called differently; what lies inside a renamed part is
    renamed with it. Values agree where they differ by at most `tolerance` times the largest of the reference. NaN and
    infinities must be in the same places.

    Examples:
        >>> import torch
        >>> mine, reference = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 4, 1)
        >>> mine.load_state_dict(reference.state_dict())
        <All keys matched successfully>
        >>> [row.status for row in compare_layers(mine, reference, torch.rand(1, 3, 8, 8))]
        ['OK']
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    theirs = outputs_of(reference, _copies(inputs))
    ours = {_rename(name, names or {}): x for name, x in outputs_of(mine, _copies(inputs)).items()}
    rows = [_row(name, ours.get(name), x, tolerance) for name, x in theirs.items()]
    return rows + [_row(name, x, None, tolerance) for name, x in ours.items() if name not in theirs]


def _copies(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)


def _rename(name: str, names: Mapping[str, str]) -> str:
    for mine, reference in names.items():
        if name == mine or name.startswith((f"{mine}.", f"{mine} (", f"{mine}[")):
            return reference + name[len(mine) :]
    return name


def _row(name: str, mine: Tensor | None, reference: Tensor | None, tolerance: float) -> Row:
    nothing = float("nan")
    if mine is None or reference is None:
        return Row(name, "MISSING", mine, reference, nothing, nothing)
    if mine.shape != reference.shape:
        return Row(name, "SHAPE", mine, reference, nothing, nothing)
    a, b = mine.double(), reference.double()
    # Equal infinities and NaN beside NaN are no difference; any other pair with one of them is an infinite one.
    same = (a == b) | (a.isnan() & b.isnan())
    apart = torch.where(same, 0.0, (a - b).abs().nan_to_num(nan=float("inf")))
    largest, mean = (float(apart.max()), float(apart.mean())) if apart.numel() else (0.0, 0.0)
    finite = b[b.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return Row(name, "OK" if largest <= tolerance * scale else "DIFF", mine, reference, largest, mean)
