"""Call a learner's answer: protect its arguments, compare its results, explain its errors."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from birefnet_lite.course.checks import time_limit
from birefnet_lite.course.checks.copies import Copy, is_same, list_tensors
from birefnet_lite.course.checks.errors import advise, described, failing_line
from birefnet_lite.course.checks.result import Unclear, Wrong

__all__ = ["Answer", "Stub"]

_STUB = "your code here"


class Stub(Exception):
    """The answer is still the stub of the exercise."""


class Answer:
    """Calls the learner's function or class and looks at more than its result.

    Every call is made twice where that changes nothing, so that a result that is remembered or random shows. Arguments
    are compared with copies afterwards. A module that the answer returns is watched in the same way.

    Args:
        function: The learner's function, class, or method.
        changes: The kind of arguments that it may change, such as `nn.Module` for a step of training.
        repeats: Whether a second call with the same arguments should give the same result.
        recorder: A mode that is active during each call.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        changes: type | None = None,
        repeats: bool = True,
        recorder: TorchFunctionMode | None = None,
    ) -> None:
        self.function = function
        self.changes = changes
        self.repeats = repeats
        self.recorder = recorder
        self.results: list[Tensor] = []
        """Results of earlier calls, as copies; shared with the modules that the answer makes."""
        self._cases: list[dict[str, Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = self._named(args, kwargs)
        before = {name: Copy(value) for name, value in named.items() if not self._may_change(value)}
        result = self._call(args, kwargs, named)
        self._compare_arguments(named, before)
        self._refuse_a_remembered(result)
        if self._can_repeat(named, result):
            self._compare_second_call(args, kwargs, result)
        if isinstance(result, nn.Module) and not any(result is value for value in named.values()):
            self._watch(result)
        self._cases.append(named)
        return result

    def _may_change(self, value: Any) -> bool:
        return self.changes is not None and isinstance(value, self.changes)

    def _named(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by the names that the learner has given them."""
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except (TypeError, ValueError):
            return {f"argument {i + 1}": value for i, value in enumerate(args)} | kwargs
        found: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                found |= {f"argument {len(found) + i + 1}": one for i, one in enumerate(value)}
            elif kind is inspect.Parameter.VAR_KEYWORD:
                found |= value
            else:
                found[name] = value
        return found

    def _call(self, args: tuple, kwargs: dict[str, Any], named: dict[str, Any]) -> Any:
        try:
            building = inspect.isclass(self.function)  # weights are drawn at random then, without gradients
            with (not building and self.recorder) or nullcontext(), time_limit.time_limit(time_limit.SECONDS):
                return self.function(*args, **kwargs)
        except (Wrong, Stub):
            raise
        except time_limit.OutOfTime:
            raise Wrong(
                f"Your code was stopped after {time_limit.SECONDS:g} seconds: is there a loop that never ends?"
                + self._case(named)
            ) from None
        except (SystemExit, GeneratorExit) as error:
            raise Wrong("Your code ends the program, with `exit` or `sys.exit`. Return a result instead.") from error
        except Exception as error:
            self._explain(error, named)
            raise

    def _explain(self, error: Exception, named: dict[str, Any]) -> None:
        """Raise what the learner should read instead of a known error, and note the case on any other."""
        said = str(error)
        if isinstance(error, NotImplementedError):
            if "forward" in said and "missing" in said:
                raise Wrong("Your class has no `forward`: is it misspelt, or indented too far?") from error
            if said in ("", _STUB):
                raise Stub from error
        if "leaf Variable" in said and "in-place" in said:
            raise Wrong(
                "Your function writes into a tensor that it was given: `+=`, `x[...] =` and names that end in _, such "
                f"as `mul_`, work in place. Make a new tensor.{_line(error)}"
            ) from error
        if not hasattr(error, "case"):
            error.case = _line(error) + self._case(named)  # type: ignore[attr-defined]

    def _case(self, named: dict[str, Any]) -> str:
        """The shapes of the failing call, and what tells it from those that worked."""
        shown = [f"{name} {text}" for name, value in named.items() if (text := _described(value))]
        if not shown:
            return ""
        differs = [
            sentence
            for sentence, holds in _PROPERTIES.items()
            if self._cases and holds(named) and not any(holds(case) for case in self._cases)
        ]
        return f"\nIt was called with {', '.join(shown)}.{''.join(' ' + sentence for sentence in differs[:1])}"

    def explain_factor(self, factor: float | None) -> str:
        """Say which length of the last call's arguments a factor is, or nothing."""
        if not factor or not self._cases:
            return ""
        for number, question in (
            (factor, "is something added up where its mean is wanted, or counted once for each?"),
            (1 / factor, "is a mean taken where a sum is wanted?"),
        ):
            for count, what in _lengths(self._cases[-1]):
                if count > 1 and abs(abs(number) - count) < 1e-3 * count:
                    return f" {count} is {what}: {question}"
        return ""

    def _compare_arguments(self, named: dict[str, Any], before: dict[str, "Copy"]) -> None:
        for name, copy in before.items():
            if changed := copy.change(named[name], name):
                if changed.startswith("the mode"):
                    raise Wrong(f"Your function changes {changed}, which it was given. Leave out `train` and `eval`.")
                raise Wrong(
                    f"Your function changes {changed}, which it was given. Make a new one instead: an assignment such "
                    "as `+=` or `x[...] =`, `.data`, and names that end in _, such as `mul_`, work in place."
                )

    def _can_repeat(self, named: dict[str, Any], result: Any) -> bool:
        modules = [value for value in named.values() if isinstance(value, nn.Module)]
        owner = getattr(self.function, "__self__", None)
        if isinstance(owner, nn.Module):
            modules.append(owner)
        return self.repeats and not isinstance(result, nn.Module) and not any(m.training for m in modules)

    def _compare_second_call(self, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.seed() % 1000 + 1)
            again = self._call(args, kwargs, self._named(args, kwargs))
        if not is_same(result, again):
            raise Wrong(
                "Two calls with the same numbers give different results. Does your function draw random numbers, use "
                "dropout also in evaluation mode (the module self.dropout knows the mode; `F.dropout(x)` does not), or "
                "keep something from an earlier call, in a list outside or in a default argument?"
            )

    def _refuse_a_remembered(self, result: Any) -> None:
        """The same object twice is not a new result, whatever its numbers."""
        for tensor in list_tensors(result):
            if any(tensor is earlier for earlier in self.results):
                raise Wrong(
                    "Your function returns the result of an earlier call again. Is it kept in a list outside, in a "
                    "default argument, or by a cache?"
                )
        self.results += [x for x in list_tensors(result) if x.requires_grad or x.numel() > 1]

    def _watch(self, module: nn.Module) -> None:
        forward = Answer(module.forward, self.changes, self.repeats, self.recorder)
        forward.results = self.results
        forward._cases = self._cases if any(isinstance(x, Tensor) for c in self._cases for x in c.values()) else []
        watched = _Module(forward, module)
        module.forward = watched


class _Module:
    """The forward of a module that an answer has made: it leaves the training flags of its parts as they are."""

    def __init__(self, forward: Answer, module: nn.Module) -> None:
        self._forward, self._module = forward, module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        flags = [part.training for part in self._module.modules()]
        result = self._forward(*args, **kwargs)
        if flags != [part.training for part in self._module.modules()]:
            raise Wrong(
                "Your `forward` switches parts between training and evaluation mode. Leave the mode as it is: in "
                "training, batch norms use the statistics of this batch, in evaluation those of the training."
                if self._module.training
                else "Your `forward` switches parts to training mode: batch norms then use the statistics of this "
                "batch, also in evaluation mode. Leave the mode as it is."
            )
        return result

    def __deepcopy__(self, memory: dict[int, Any]) -> "_Module":
        return self  # a copy of the module is not called as the learner's


def _described(value: Any) -> str:
    if shape := described(value):
        return shape if shape.startswith("of ") else f"of {shape}"
    if isinstance(value, int | float | str | bool) or (isinstance(value, tuple | list) and not value):
        return f"= {value!r}"
    return ""


def _line(error: BaseException) -> str:
    return f"\n{line}" if (line := failing_line(error)) else ""


def _lengths(case: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Numbers that a result may be multiplied by where a sum and a mean are mixed up, and their names."""
    for name, value in case.items():
        if isinstance(value, tuple | list):
            yield len(value), f"the length of `{name}`"
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value, f"`{name}`"
    for name, value in case.items():
        for x in list_tensors(value):
            if x.ndim == 4:
                batch, channels, height, width = x.shape
                yield batch, f"the number of images in `{name}`"
                yield channels, f"the number of channels of `{name}`"
                yield height * width, f"the number of cells of a map of `{name}`"
                yield channels * height * width, f"the number of values in an image of `{name}`"
                yield x.numel(), f"the number of values in `{name}`"
                yield from ((height, f"the height of `{name}`"), (width, f"the width of `{name}`"))


def _maps(case: dict[str, Any]) -> Iterator[Tensor]:
    for value in case.values():
        yield from (x for x in list_tensors(value) if x.ndim == 4)


_PROPERTIES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "Here height and width differ.": lambda case: any(x.shape[2] != x.shape[3] for x in _maps(case)),
    "Here the batch has more than one image.": lambda case: any(len(x) > 1 for x in _maps(case)),
    "Here the batch has one image.": lambda case: any(len(x) == 1 for x in _maps(case)),
    "Here a height or a width is odd.": lambda case: any(x.shape[2] % 2 or x.shape[3] % 2 for x in _maps(case)),
}


def raise_unclear(error: Exception) -> None:
    """Turn an error of the learner's code into a message with its line, its case, and the likely cause."""
    case = getattr(error, "case", "")
    advice = advise(error)
    raise Unclear(
        f"Your code raises {type(error).__name__}: {error}{case}" + (f"\n{advice}" if advice else "")
    ) from error
