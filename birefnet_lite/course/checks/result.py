"""What a check says, and how it finds the mistake: by comparing with right answers, then with typical wrong ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course.progress import record

__all__ = ["Result", "Wrong", "check", "compare", "compare_gradient"]

_SIGNS = {True: "✓", False: "✗", None: "○"}
_COLOURS = {True: "#2f6d1a", False: "#a83a20", None: "#55606e"}


@dataclass(frozen=True)
class Result:
    """The verdict on one exercise."""

    exercise: str
    passed: bool | None
    """None while the exercise is unsolved."""
    message: str

    def __repr__(self) -> str:
        return f"{_SIGNS[self.passed]} {self.exercise}: {self.message}"

    def _repr_html_(self) -> str:
        # A card of its own colour, so that it reads on a light and on a dark page.
        style = f"background:#fbfaf6;color:{_COLOURS[self.passed]};border-left:5px solid;padding:.6em 1em"
        text = escape(self.message).replace("\n", "<br>")
        return f"<div style='{style}'><b>{_SIGNS[self.passed]} {escape(self.exercise)}:</b> {text}</div>"


class Wrong(Exception):
    """Raised inside a check: the answer is wrong, and this is what the learner reads."""


def check(praise: str) -> Callable[[Callable[[Any], None]], Callable[[Any], Result]]:
    """Makes a check of a function that raises `Wrong` for a wrong answer and returns for a right one.

    What the check says is noted for the dashboard.
    """

    def decorate(function: Callable[[Any], None]) -> Callable[[Any], Result]:
        name = function.__name__

        def judge(answer: Any) -> Result:
            if not callable(answer):
                return Result(name, False, f"Pass the function or class itself, not {type(answer).__name__}.")
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    function(answer)
            except NotImplementedError:
                return Result(name, None, "not solved yet")
            except Wrong as wrong:
                return Result(name, False, str(wrong))
            except Exception as error:  # whatever the learner's code raises is the learner's to read
                return Result(name, False, f"Your code raises {type(error).__name__}: {error}")
            return Result(name, True, praise)

        @wraps(function)
        def checked(answer: Any) -> Result:
            result = judge(answer)
            record(name, result.passed)
            return result

        return checked

    return decorate


def compare(got: Any, wanted: Tensor, where: str, tolerance: float, mistakes: Mapping[str, Tensor]) -> None:
    """Raises `Wrong` unless `got` is `wanted`: shape first, then finite, then numbers.

    `mistakes` holds what typical wrong answers give, under the sentence that says what is wrong with them. `tolerance`
    is the largest absolute difference.
    """
    if not isinstance(got, Tensor):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not a tensor. Is there a `return`?")
    if _close(got, wanted, tolerance):
        return
    for sentence, value in mistakes.items():
        if _close(got, value, tolerance):
            raise Wrong(sentence)
    if got.shape != wanted.shape:
        raise Wrong(f"{where}, the shape is {tuple(got.shape)}; it should be {tuple(wanted.shape)}.")
    if not torch.isfinite(got).all():
        raise Wrong(f"{where}, the result has NaN or infinite values.")
    difference = (got - wanted).abs().max().item()
    raise Wrong(f"{where}, the shape is right, but numbers differ by up to {difference:.3g}; {tolerance:g} is allowed.")


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    dtype = torch.promote_types(a.dtype, b.dtype)  # rounding the wanted numbers to whole ones would hide a mistake
    return a.shape == b.shape and torch.allclose(a.to(dtype), b.to(a.device, dtype), atol=tolerance, rtol=0)


def compare_gradient(got: Tensor, wanted: Tensor, source: Tensor, where: str, tolerance: float) -> None:
    """Raises `Wrong` unless the same gradient flows from both results back to `source`."""
    if not got.requires_grad:
        raise Wrong(f"{where}, the numbers are right, but no gradient flows back. Leave out `detach` and `no_grad`.")
    ours, theirs = (
        torch.autograd.grad(out.square().sum(), source, retain_graph=True, materialize_grads=True)[0]
        for out in (got, wanted)
    )
    compare(ours, theirs, f"{where}, in the gradient of the input", tolerance, {})
