"""The decorator that turns a function which raises `Wrong` into a check with a verdict."""

import inspect
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from typing import Any

import torch
from torch import nn

from birefnet_lite.course.checks.answer import Answer, Stub, raise_unclear
from birefnet_lite.course.checks.compare import remarks
from birefnet_lite.course.checks.recorder import Recorder
from birefnet_lite.course.checks.result import Result, Unclear, Wrong
from birefnet_lite.course.progress import record

__all__ = ["SEVERAL", "check"]

SEVERAL = "the check builds several, of different widths."

_SEEDS = (0, 1)
_NOTES = 3  # a message with more helps nobody


def _misordered(learners: Any, function: Callable[..., Any]) -> str:
    """Say where the learner's arguments have the exercise's names in another order."""
    head = re.match(r"[^`]*`\w+\(([^)]*)\)`", function.__doc__ or "")
    try:
        mine = list(inspect.signature(learners).parameters)
    except (TypeError, ValueError):
        return ""
    wanted = [name.strip() for name in head[1].split(",")] if head else mine
    if mine == wanted or sorted(mine) != sorted(wanted):
        return ""
    return f"\nYour arguments are in the order ({', '.join(mine)}); the exercise has ({', '.join(wanted)})."


def check(
    praise: str,
    changes: type | None = None,
    repeats: bool = True,
    makes: str = "",
    usual: Iterable[str] = (),
) -> Callable[[Callable[[Any], None]], Callable[[Any], Result]]:
    """Make a check of a function that raises `Wrong` for a wrong answer and returns for a right one.

    The function runs twice, with other numbers of the same shapes; gradients are on, whatever the session has set. The
    verdict is noted for the dashboard.

    Args:
        praise: The message for a right answer.
        changes: The kind of arguments that the answer may change; see `Answer`.
        repeats: Whether two calls with the same arguments should give the same result.
        makes: For exercises whose answer is a class: how the check makes objects of it.
        usual: Names of PyTorch functions that need no note when a wrong answer calls them.
    """

    def decorate(function: Callable[[Any], None]) -> Callable[[Any], Result]:
        name = function.__name__

        def run(answer: Answer, seed: int) -> None:
            with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                try:
                    function(answer)
                except (Wrong, Stub):
                    raise
                except NotImplementedError as error:
                    if str(error) in ("", "your code here"):
                        raise Stub from error
                    raise_unclear(error)
                except Exception as error:  # whatever the learner's code raises is the learner's to read
                    raise_unclear(error)

        def judge(learners: Any) -> Result:
            if not callable(learners):
                return Result(name, False, f"Pass the function or class itself, not {type(learners).__name__}.")
            if makes and isinstance(learners, nn.Module):
                return Result(name, False, f"Pass the class itself, without calling it: {makes}")
            answer = Answer(learners, changes, repeats)
            dtype = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
            try:
                with remarks() as said:
                    for seed in _SEEDS:
                        run(answer, seed)
            except Stub:
                return Result(name, None, "not solved yet")
            except Wrong as wrong:
                message = str(wrong)
                if seed != _SEEDS[0]:
                    message += (
                        "\nThe same function was right before, with other numbers of the same shape. Does it keep "
                        "something from an earlier call, in a list outside, in a default argument, or by a cache? Or "
                        "does it hold for some numbers only?"
                    )
                elif isinstance(wrong, Unclear):
                    message += (
                        answer.explain_factor(wrong.factor) + _misordered(learners, function) + _notes(learners, run)
                    )
                return Result(name, False, message)
            finally:
                torch.set_default_dtype(dtype)
            return Result(name, True, " ".join([praise, *said]))

        def _notes(learners: Any, run: Callable[[Answer, int], None]) -> str:
            recorder = Recorder(frozenset(usual))
            with suppress(Wrong, Stub):
                run(Answer(learners, changes, repeats, recorder), _SEEDS[0])
            notes = recorder.notes[:_NOTES]
            return "\nIn your code: " + " ".join(notes) if notes else ""

        @wraps(function)
        def checked(answer: Any) -> Result:
            result = judge(answer)
            record(name, result.passed, result.message)
            return result

        return checked

    return decorate
