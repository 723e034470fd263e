"""Comparisons of a learner's result with the right one: kind, shape, type, numbers, gradients."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.differences import MAP, Axes, difference_of_numbers, factor_between
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.course.checks.retries import Retry, explain_by_arguments
from birefnet_lite.course.checks.shape_differences import difference_of_axes, difference_of_shapes

__all__ = [
    "Mistakes",
    "compare",
    "compare_gradient",
    "compare_parameter_gradients",
    "refuse_float",
    "remarks",
    "require_tensor",
]

Mistakes = dict[str, Tensor | tuple[Tensor, ...]]
"""The results of typical wrong answers, one or several under the sentence that says what is wrong."""

_REMARKS: list[dict[str, None]] = []


@contextmanager
def remarks() -> Iterator[dict[str, None]]:
    """Collect what comparisons in the block remark about right results."""
    said: dict[str, None] = {}
    _REMARKS.append(said)
    try:
        yield said
    finally:
        _REMARKS.pop()


def refuse_float(got: Any) -> None:
    """Refuse a loss that is a Python number."""
    if isinstance(got, float):
        raise Wrong("You return a Python number. Return the tensor itself: `backward` needs it.")


def compare(
    got: Any,
    wanted: Tensor,
    where: str,
    tolerance: float,
    mistakes: Mapping[str, Tensor | tuple[Tensor, ...]],
    retries: Sequence[Retry] = (),
    axes: Axes = MAP,
) -> None:
    """Raise `Wrong` unless `got` is `wanted`: kind first, then type, shape and numbers.

    Args:
        got: The learner's result.
        wanted: The right one.
        where: The case, as the start of a sentence, such as "For x of (1, 3, 5, 7)".
        tolerance: The largest absolute difference that is allowed.
        mistakes: The results of typical wrong answers, one or several under the sentence that says what is wrong.
        retries: The right function, or steps of it, to find out whether `got` is right for other arguments.
        axes: The name of one entry along each axis of a result with four axes: `MAP` or `WEIGHT`.
    """
    _require_precision(got, where)
    if got.is_complex():
        raise Wrong(f"{where}, the result is complex. It should be {wanted.dtype}.")
    if _close(got, wanted, tolerance):
        if wanted.dtype == torch.float32:
            _remark_double(got)
        return
    for sentence, values in mistakes.items():
        if any(_close(got, value, tolerance) for value in (values if isinstance(values, tuple) else (values,))):
            raise Wrong(sentence)
    for retry in retries if got.shape == wanted.shape else ():
        if cause := explain_by_arguments(got, wanted, retry, tolerance):
            raise Wrong(f"{where}: {cause}")
    if got.shape != wanted.shape:
        said = f"{where}, the shape is {tuple(got.shape)}; it should be {tuple(wanted.shape)}."
        raise Unclear(_with(said, difference_of_shapes(got, wanted, tolerance, axes)))
    if not torch.isfinite(got).all():
        raise Unclear(f"{where}, the result has NaN or infinite values: is there a division by 0, a log or a root?")
    difference = (got.double() - wanted.double()).abs().max().item()
    numbers = f"numbers differ by up to {difference:.3g}; {tolerance:g} is allowed."
    if not got.is_floating_point() and wanted.is_floating_point():
        raise Wrong(
            f"{where}, the result is {got.dtype}, whole numbers or truth values, where floats are wanted, and {numbers}"
        )
    said = f"{where}, the shape is right, but {numbers}"
    unclear = Unclear(_with(said, difference_of_numbers(got, wanted, tolerance, axes)))
    unclear.factor = factor_between(got, wanted, tolerance)
    raise unclear


def require_tensor(got: Any, shape: tuple[int, ...], where: str) -> None:
    """Raise `Wrong` unless `got` is a tensor of floats, of this shape and finite, for exercises without one answer."""
    _require_precision(got, where)
    if tuple(got.shape) != shape:
        wanted = "one number, a tensor without axes" if shape == () else str(shape)
        said = f"{where}, the shape is {tuple(got.shape)}; it should be {wanted}."
        raise Unclear(_with(said, difference_of_axes(tuple(got.shape), shape)))
    if not got.is_floating_point():
        raise Wrong(f"{where}, the result is {got.dtype}, where floats are wanted.")
    if not torch.isfinite(got).all():
        raise Unclear(f"{where}, the result has NaN or infinite values: is there a division by 0, a log or a root?")
    _remark_double(got)


def _require_precision(got: Any, where: str) -> None:
    if not isinstance(got, Tensor):
        raise Wrong(f"{where}, your function gives {_kind(got)}")
    if got.dtype in (torch.float16, torch.bfloat16):
        raise Wrong(
            f"{where}, the result is {got.dtype}: half precision, with three digits. Keep float32 as it came in: leave "
            "out `half`, `to(torch.float16)` and autocast."
        )


def _remark_double(got: Tensor) -> None:
    if got.dtype == torch.float64 and _REMARKS:
        _REMARKS[-1]["Your result is float64, though, where the network works in float32."] = None


def _with(said: str, more: str | None) -> str:
    return said if more is None else f"{said} {more}"


def _kind(got: Any) -> str:
    """Describe a result that is not a tensor."""
    if got is None:
        return "NoneType and not a tensor. Is there a `return`?"
    if isinstance(got, np.ndarray):
        return "ndarray and not a tensor: a NumPy array. Stay in PyTorch, or turn it back with torch.from_numpy."
    if isinstance(got, tuple | list):
        return f"{type(got).__name__} and not a tensor: {len(got)} things where one is wanted."
    if isinstance(got, float | int) and got == 0:
        return f"{type(got).__name__} and not a tensor: the number 0. Does the loop run, and is its sum kept?"
    if isinstance(got, float | int):
        return f"{type(got).__name__} and not a tensor: a Python number, which has no gradient. Leave out `item`."
    if isinstance(got, nn.Module):
        return f"{type(got).__name__} and not a tensor: a module, which has yet to be called."
    return f"{type(got).__name__} and not a tensor."


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    dtype = torch.promote_types(a.dtype, b.dtype)  # rounding the wanted numbers to whole ones would hide a mistake
    return a.shape == b.shape and torch.allclose(a.to(dtype), b.to(a.device, dtype), atol=tolerance, rtol=0)


def compare_gradient(got: Tensor, wanted: Tensor, source: Tensor, where: str, tolerance: float) -> None:
    """Raise `Wrong` unless the same gradient flows from both results back to `source`."""
    if not got.requires_grad:
        raise Wrong(
            f"{where}, the numbers are right, but no gradient flows back. Leave out `detach` and `no_grad`, `.data`, "
            "`item`, `numpy` and torch.tensor(...) of a tensor."
        )
    ours, theirs = (
        torch.autograd.grad(out.square().sum(), source, retain_graph=True, materialize_grads=True)[0]
        for out in (got, wanted)
    )
    allowed = max(tolerance, 1e-4 * float(theirs.abs().max()))
    if not _close(ours, theirs, allowed):
        missing = "all of it" if not ours.any() else "a part of it"
        raise Unclear(
            f"{where}, the numbers are right, but in the gradient of the input {missing} is missing or changed. Is "
            "something detached, taken through `.data`, or computed under `no_grad`?"
        )


def compare_parameter_gradients(
    got: Tensor, wanted: Tensor, mine: nn.Module, theirs: nn.Module, where: str, tolerance: float
) -> None:
    """Raise `Wrong` unless every weight of the learner's module gets the gradient that the package's gets.

    `mine` and `theirs` may be one module, which both results were computed with.
    """
    weights = dict(mine.named_parameters())
    for name, weight in weights.items():
        if not weight.requires_grad:
            raise Wrong(f"{where}, the numbers are right, but `{name}` cannot learn: its `requires_grad` is False.")
    reference = [(name, weight) for name, weight in theirs.named_parameters() if name in weights]
    if not reference or not got.requires_grad:
        return
    names = [name for name, _ in reference]
    ours = _gradients(got, [weights[name] for name in names])
    right = _gradients(wanted, [weight for _, weight in reference])
    for name, a, b in zip(names, ours, right, strict=True):
        if not _close(a, b, max(tolerance, 1e-3 * float(b.abs().max()))):
            missing = "no gradient reaches" if not a.any() else "a wrong gradient reaches"
            raise Unclear(
                f"{where}, the numbers are right, but {missing} the weights `{name}`. Is something detached, taken "
                "through `.data`, or computed under `no_grad`?"
            )


def _gradients(out: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out.square().sum(), weights, retain_graph=True, materialize_grads=True)
