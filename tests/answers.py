"""Answers to the exercises for the tests of the checks: the notebooks' solutions, and changes of them."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

from birefnet_lite.course import checks
from birefnet_lite.course.checks.result import Result
from editions import read_source

SOURCES = sorted((Path(__file__).parent.parent / "notebooks" / "source").glob("*.py"))
FORMER = Path(__file__).parent / "former_exercises.py"


def unsolved(*arguments, **named):
    raise NotImplementedError("your code here")


def knows_a_missing_answer(check, solution, praise="", silence=""):
    """The solution is right; what is not an answer is told apart from a wrong one, and never raises.

    praise: how the message for the solution begins. silence: what that for a function without a result says.
    """
    result = check(solution)
    assert result.passed is True, result.message
    assert result.message.startswith(praise)
    assert check(unsolved) == Result(check.__name__, None, "not solved yet")
    for nothing in (None, 3):
        assert check(nothing).passed is False
    assert "raises ZeroDivisionError" in check(lambda *arguments, **named: 1 / 0).message
    refused(check, lambda *arguments, **named: None, silence)


def refused(check, wrong, said):
    result = check(wrong)
    assert result.passed is False
    assert said in result.message, result.message


@cache
def _exercises():
    """Of every exercise, by the name of its check: the source of its cell, the answer's name, and all names there."""
    found = {}
    for source in [FORMER, *SOURCES]:
        cells = [cell for cell in read_source(source).cells if cell.cell_type == "code"]
        names = {"__name__": f"solutions_{source.stem}"}
        for cell, after in pairwise([*cells, cells[-1]]):
            _define(cell.source, names)
            if "exercise" in cell.metadata.get("tags", []):
                for check, answer in re.findall(r"checks\.(\w+)\((\w+)\)", after.source):
                    found[check] = cell.source, answer, dict(names)
    return found


def solutions():
    """The solution of every exercise from the notebooks' sources, by the name of its check."""
    return {check: names[answer] for check, (_, answer, names) in _exercises().items()}


def edited(check, *edits):
    """The solution of an exercise with changes of its source: pairs of an old and a new text."""
    source, answer, names = _exercises()[check]
    for old, new in edits:
        assert old in source, f"{old!r} is not in the solution of {check}"
        source = source.replace(old, new)
    names = dict(names)
    exec(compile(source, f"<{check}>", "exec"), names)
    return names[answer]


def _define(code, names):
    for node in ast.parse(code).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            exec(compile(ast.Module([node], []), "notebook", "exec"), names)
        elif isinstance(node, ast.Assign):
            try:
                names.update(_chosen(node, names))
            except Exception:  # it needs a model or a result of an earlier cell
                continue


def _chosen(node, names):
    """`tiles = my_tiles if checked.passed else package_tiles`: the learner's own, as after a passed check."""
    (target,) = node.targets
    if isinstance(node.value, ast.IfExp) and ".passed" in ast.unparse(node.value.test):
        return {target.id: eval(ast.unparse(node.value.body), names)}
    if isinstance(node.value, ast.Constant | ast.Name | ast.Attribute | ast.Tuple):
        return {target.id: eval(ast.unparse(node.value), names)}
    return {}


def exercise_checks():
    """Every check by its name."""
    return {name: getattr(checks, name) for name in checks.__all__ if name != "Result"}


def is_class(answer):
    return isinstance(answer, type) and issubclass(answer, torch.nn.Module)


def each_tensor(change):
    """A function that changes every tensor in a result."""

    def changed(value):
        if isinstance(value, torch.Tensor):
            return change(value)
        if isinstance(value, tuple | list):
            return type(value)(changed(one) for one in value)
        return value

    return changed


def with_result(answer, change):
    """The answer with a changed result; of a class, the forward's."""
    if is_class(answer):

        class Changed(answer):
            def forward(self, *arguments):
                return change(super().forward(*arguments))

        return Changed
    return lambda *arguments, **named: change(answer(*arguments, **named))


def with_call(answer, call):
    """The answer with a changed call: call(function, arguments) gives the result; of a class, for its forward."""
    if is_class(answer):

        class Changed(answer):
            def forward(self, *arguments):
                return call(super().forward, arguments)

        return Changed
    return lambda *arguments: call(answer, arguments)
