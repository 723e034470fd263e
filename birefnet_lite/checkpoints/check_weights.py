"""Checks the weights of a checkpoint: names, shapes, kinds of tensors and numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from birefnet_lite.output import join_some

__all__ = ["CheckpointError", "check_fit", "check_tensors", "not_finite"]

# A batch norm's counter is not used in inference, and a Swin's position index follows from the size of its windows.
OPTIONAL = ("num_batches_tracked", "relative_position_index")
"""Ends of the names that may be missing: the model's own values are used instead."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which, and why."""


def check_fit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Compare the names, shapes and kinds of numbers of given weights with the wanted ones.

    Raises:
        CheckpointError: In one line, how many names are missing, unexpected, of another shape or kind, and some of
            each. Names that end as in `OPTIONAL` may be missing.
    """
    missing = [key for key in wanted if key not in given and not key.endswith(OPTIONAL)]
    unexpected = [key for key in given if key not in wanted]
    common = [key for key in wanted if key in given]
    misshapen = [
        f"{key} is {tuple(given[key].shape)}, wanted {tuple(wanted[key].shape)}"
        for key in common
        if given[key].shape != wanted[key].shape
    ]
    not_floats = [
        f"{key} is {given[key].dtype}"
        for key in common
        if wanted[key].is_floating_point() and not given[key].is_floating_point()
    ]
    lists = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen, "no floating-point": not_floats}
    problems = [f"{len(entries)} {kind} ({join_some(entries)})" for kind, entries in lists.items() if entries]
    if problems:
        raise CheckpointError(f"the weights do not fit this configuration: {'; '.join(problems)}.")


def check_tensors(weights: Mapping[str, Tensor]) -> None:
    """Check that all tensors are plain, have values, and are finite.

    Raises:
        CheckpointError: In one line, which are not.
    """
    for name, value in weights.items():
        kind = _find_unusual_kind(value)
        if kind:
            raise CheckpointError(f"{name} is a {kind} tensor; weights must be plain floating-point tensors.")
    broken = not_finite(weights)
    if broken:
        raise CheckpointError(
            f"{len(broken)} of its tensors have NaN or infinite numbers ({join_some(broken)}): the training that wrote "
            "it diverged, or its precision was too low."
        )


def _find_unusual_kind(value: Tensor) -> str | None:
    if value.is_quantized:
        return "quantized"
    if value.layout != torch.strided:
        return "sparse"
    if value.is_complex():
        return "complex"
    return "meta (without numbers)" if value.is_meta else None


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors with infinite numbers or NaN in them."""
    return [name for name, value in weights.items() if value.is_floating_point() and not _is_finite(value)]


def _is_finite(value: Tensor) -> bool:
    if value.dtype.itemsize == 1:  # PyTorch cannot test a float8
        value = value.float()
    return bool(value.isfinite().all())
