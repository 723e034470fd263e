"""Random weights for checks of whole parts, given to the learner's part by name, and its behaviour in training."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare, compare_parameter_gradients
from birefnet_lite.course.checks.result import Wrong

__all__ = ["compare_in_training", "randomise", "take_weights"]

Part = TypeVar("Part", bound=nn.Module)

_SHOWN = 3  # names in one message


def randomise(module: Part, seed: int = 0) -> Part:
    """Draw every weight, bias and batch-norm statistic anew, in place; return the module.

    Kernels are scaled so that values keep their size; variances are between 0.5 and 2.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
                tensor.normal_(0, fan_in**-0.5, generator=generator)
    return module


def take_weights(mine: Any, theirs: nn.Module) -> None:
    """Give `mine` all weights of `theirs` by name, or raise `Wrong` with the names that do not fit."""
    if not isinstance(mine, nn.Module):
        raise Wrong(f"What you make is {type(mine).__name__}; it should be a class derived from torch.nn.Module.")
    ours, wanted = ({n: t for n, t in m.state_dict().items() if "num_batches" not in n} for m in (mine, theirs))
    complaints = {
        "has no weights called": [n for n in wanted if n not in ours],
        "has weights that do not belong there:": [n for n in ours if n not in wanted],
        "has weights of another shape:": [
            f"{n} is {tuple(ours[n].shape)} and should be {tuple(wanted[n].shape)}"
            for n in wanted
            if n in ours and ours[n].shape != wanted[n].shape
        ],
    }
    found = [f"{what} {_some(names)}." for what, names in complaints.items() if names]
    if found:
        raise Wrong("The weights cannot be loaded by name. Your part " + " It ".join(found))
    mine.load_state_dict(theirs.state_dict())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def compare_in_training(
    mine: nn.Module,
    theirs: nn.Module,
    x: Tensor,
    where: str,
    tolerance: float = 1e-4,
    mistakes: Mapping[str, Tensor] | None = None,
) -> None:
    """Raise `Wrong` unless both modules give the same in training mode, with the same random numbers for dropout.

    Both are left in training mode.
    """
    mine.train(), theirs.train()
    if not all(part.training for part in mine.modules()):
        raise Wrong("A part of yours stays in evaluation mode after `train()`. Leave the mode to whoever uses it.")
    results = []
    for module in (mine, theirs):
        torch.manual_seed(1)
        result = module(x)
        results.append(result if isinstance(result, tuple | list) else (result,))
    got, wanted = results
    if len(got) != len(wanted):
        raise Wrong(f"{where}, in training mode, there should be {len(wanted)} results, not {len(got)}.")
    for ours, right in zip(got, wanted, strict=True):
        compare(ours, right, f"{where}, in training mode", tolerance, mistakes or {})
        compare_parameter_gradients(ours, right, mine, theirs, f"{where}, in training mode", 10 * tolerance)
