"""Put common errors of Python and PyTorch into words: the learner's line, the shapes in it, the likely cause."""

import linecache
import re
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any

import numpy as np
from torch import Tensor

from birefnet_lite.course.checks.owners import is_library, is_package

__all__ = ["advise", "described", "failing_line"]

_MOST = 4  # tensors of one line
_AXES = (
    "Shapes are matched from the last axis on, and only an axis of length 1 fits any length: one number for each "
    "channel of (B, C, H, W) needs the shape (C, 1, 1). Or has one of the two another size than it should?"
)
_ADVICE: dict[str, str] = {
    r"broadcast together": (
        "Shapes are matched from the last axis on, and only an axis of length 1 fits any length. A picture is "
        "(H, W, C): `x[..., 3:]` keeps the last axis where `x[..., 3]` loses it. Or have the two other sizes?"
    ),
    r"must match the size of tensor|not broadcastable": _AXES,
    r"expected input\[.*to have \d+ channels|expected weight to be at least": (
        "A kernel is (outputs, inputs, k, k), and its second axis is as long as the map has channels (with `groups`, "
        "each group has its share). Is the weight cut at another place or along another axis than it should be, or is "
        "another map given?"
    ),
    r"wants logits and mask of one shape": "The map has another height and width than the mask: `mask.shape[-2:]`.",
    r"Sizes of tensors must match except in dimension (\d)": (
        "`torch.cat` along one axis wants all others equal. Channels are axis 1; maps of other heights and widths are "
        "resized before. Is the axis another one, or is a map not resized?"
    ),
    r"Boolean value of Tensor": (
        "`if x`, `x or y`, `x and y` and `in` ask a whole map whether it is true. Ask `is not None`."
    ),
    r"truth value of an array": "`if`, `and`, `or` ask a whole array whether it is true. Combine arrays with & and |.",
    r"einsum": "In `einsum`, each operand has one letter for each of its axes, and a letter has one length everywhere.",
    r"^shape '.*' is invalid for input|cannot reshape array": (
        "`reshape` keeps the number of values; to repeat values use `expand`, to add an axis index with None."
    ),
    r"mat1 and mat2|size mismatch|vec\) .* mat|inconsistent tensor size|matmul: Input operand": (
        "In a product of matrices, the columns of the first are as many as the rows of the second."
    ),
    r"assign module before Module|assign parameters before Module": (
        "`__init__` should begin with `super().__init__()`, before parts are assigned."
    ),
    r"takes (from )?\d+ .*positional arguments? but \d+ (was|were) given|missing \d+ required positional": (
        "A call and a definition have different numbers of arguments. Keep the exercise's first line as it is, and "
        "look at how the function in this line is called; in a class, the first argument is `self`."
    ),
    r"unexpected keyword argument": "The function that is called in this line has no argument of that name.",
    r"'NoneType' object|NoneType": "Something is None: a part that may be missing, or a function without a `return`.",
    r"weight should have at least|Expected \dD .*input|expected \d+D .*input": (
        "A tensor has too few or too many axes: maps are (B, C, H, W), kernels (outputs, inputs, k, k)."
    ),
    r"in the range \[0, 1\]": "A fraction from 0 to 1 is wanted: the 99th percentile is 0.99.",
    r"same number of spatial dimensions|Target size|same size": (
        "The two that are compared differ in shape: is one resized to another size than the other's, or are the "
        "arguments in another order?"
    ),
    r"object has no attribute 'backward'": (
        "`backward` belongs to a single number, a tensor. Here it is asked of something that holds several: take the "
        "one out of it that should be learned from, such as `.total`."
    ),
    r"only (one element tensors|length-1 arrays|integer)": "A single number is wanted there, and a whole map is given.",
    r"does not require grad|no grad": (
        "No gradient flows to there: is something detached, computed under `no_grad`, or was requires_grad_() left out?"
    ),
    r"backward through the graph a second time": (
        "`backward` or `grad` runs twice over one computation. Compute the result anew for each."
    ),
    r"not have been used in the graph": "The gradient is asked for something that the result does not depend on.",
    r"can be implicitly created only for scalar": "A gradient starts from one number: take the mean or the sum first.",
    r"numpy\(\) on [tT]ensor that requires grad": "NumPy knows no gradients. Stay in PyTorch.",
    r"must be Tensor, not (numpy\.)?ndarray": "NumPy arrays and tensors are mixed.",
    r"expected scalar type|same dtype|type .* and bias type|must have the same dtype": (
        "Tensors of different types meet, such as float32 and float64 or bytes. Turn one into the other's: `.float()`."
    ),
    r"not implemented for '(Byte|Long|Int|Bool)'|can only be .* floating point|Input type \(.*(Byte|Long)": (
        "Whole numbers or truth values are given where floats are wanted: `.float()`."
    ),
    r"[Nn]egation, the `-` operator, on a bool|Subtraction, the `-` operator, with a bool": (
        "Truth values cannot be subtracted. Use `~` for the opposite, or turn them into floats."
    ),
    r"unhashable|not subscriptable|list indices must be|indices must be integers|object is not iterable": (
        "A thing is used as another kind of thing: is a list, tuple, number or tensor taken for another one?"
    ),
    r"(too many|not enough) values to unpack": (
        "On the left of `=` or behind `for` are more or fewer names than there are things on the right."
    ),
    r"index out of range|out of bounds|Dimension out of range|too many indices": (
        "An index is too large: the first is 0, the last one less than the length. Is the list or tensor shorter, or "
        "has it fewer axes, than you think?"
    ),
    r"stack expects each tensor to be equal size": "`torch.stack` wants tensors of one shape. Resize them before.",
    r"Padding size should be less": "A reflected border has to be smaller than the map. Are the axes the right ones?",
    r"pad should be (at most|smaller)": "The padding of a pooling is at most half its window, 2r + 1.",
    r"between 0 and 1": (
        "`F.binary_cross_entropy` takes probabilities. Give logits to F.binary_cross_entropy_with_logits."
    ),
    r"Kernel size can't be greater|Output size is too small|Calculated (padded|output)": (
        "The map is smaller than the window. Is it the right map, and is it padded?"
    ),
    r"Input and output sizes should be greater": "A map of height or width 0 comes out: is a size cut down to 0?",
    r"modified by an inplace operation": (
        "A tensor that the gradient needs is overwritten: `+=` and names that end in _ work in place. Make a new one."
    ),
    r"division by zero": "Something that may be 0 divides: an empty sum, a list without entries, a whole-number `//`.",
    r"can't multiply sequence|can only concatenate|unsupported operand type": (
        "The two sides of an operator are different kinds of things: a list, a tuple, None, a function not yet called?"
    ),
    r"is not callable": (
        "Something that is not a function is called: is a pair of parentheses too many, or a name reused?"
    ),
    r"referenced before assignment|not associated with a value": (
        "The name gets its value in a branch or loop that did not run here. Give it one before."
    ),
}
_KINDS: dict[str, str] = {
    "AssertionError": "It is an `assert`, in your code or in what it calls, that does not hold here.",
    "AttributeError": "The object before the dot is of another kind than you think, or the name is another one.",
    "KeyError": "The dictionary has no such key.",
    "IndentationError": "Look at the blanks in front of the line.",
    "NameError": "The name is misspelt, or defined elsewhere: in another function, or in a cell that has not run.",
}


def advise(error: BaseException) -> str:
    """Return the likely cause of an error, in words, or nothing where it is not a known one."""
    said = str(error)
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, said):
            return advice
    return _KINDS.get(type(error).__name__, "")


def failing_line(error: BaseException) -> str:
    """Return the learner's line that raised, where its source is known, and the shapes of the tensors in it."""
    frames = [
        (summary, frame)
        for summary, (frame, _) in zip(
            traceback.extract_tb(error.__traceback__), traceback.walk_tb(error.__traceback__), strict=True
        )
        if not (is_package(summary.filename) or is_library(summary.filename))
    ]
    if not frames:
        return ""
    summary, frame = frames[-1]
    line = (summary.line or linecache.getline(summary.filename, summary.lineno or 0)).strip()
    if not line:
        return ""
    shapes = _shapes(line, frame)
    return f"The line is `{line}`." + (f" In it, {shapes}." if shapes else "")


def _shapes(line: str, frame: FrameType) -> str:
    values: Mapping[str, Any] = frame.f_locals
    names = dict.fromkeys(re.findall(r"(?<![\w.])[A-Za-z_]\w*", line))
    shown = [f"{name} is {text}" for name in names if (text := described(values.get(name)))]
    return ", ".join(shown[:_MOST])


def described(value: Any) -> str:
    """Return the shape of a tensor or an array, or the shapes in a list of tensors; nothing for other things."""
    if isinstance(value, Tensor | np.ndarray):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list) and value and all(isinstance(x, Tensor) for x in value):
        return "of " + ", ".join(str(tuple(x.shape)) for x in value)
    return ""
