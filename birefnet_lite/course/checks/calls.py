"""Calls of an answer that runs a whole module: clashes of shapes explained, three results, random weights."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from birefnet_lite.course.checks.errors import failing_line
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.weights import randomise

__all__ = ["fitting", "prepared", "three"]


def three(got: Any, where: str, names: str, tensor: int) -> tuple[Any, Any, Any]:
    """The three things that the learner returns; `tensor` says which of them is a tensor in every case."""
    if not isinstance(got, tuple | list) or len(got) != 3:
        given = f"{len(got)} things" if isinstance(got, tuple | list) else type(got).__name__
        raise Wrong(f"{where}, return three things: {names}. You return {given}.")
    if not isinstance(got[tensor], Tensor):
        place, name = ("first", "second", "third")[tensor], names.split(", ")[tensor]
        raise Wrong(
            f"{where}, the {place} of the three is {type(got[tensor]).__name__}. It should be {name}; the order is "
            f"{names}."
        )
    return tuple(got)


def fitting(call: Callable[[], Any], where: str, advice: str) -> Any:
    """Call the learner's code and return its result; adds advice to errors of shapes and of calling None."""
    try:
        return call()
    except NotImplementedError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        said = str(error)
        if "NoneType" in said:
            raise Wrong(f"{where}, something is None and you use it: {error}\nAsk `is not None` first.") from error
        if not any(word in said.lower() for word in ("size", "shape", "channels")):
            raise
        line = failing_line(error)
        raise Wrong(f"{where}, shapes do not fit: {error}\n{line}{' ' if line else ''}{advice}") from error


def prepared(module: Any, training: bool) -> Any:
    """With random weights, and without dropout: so passes in training can be compared, too."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return randomise(module).train(training)
