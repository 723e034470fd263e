"""A recorder of the PyTorch functions that an answer calls, to say more about an answer that is wrong."""

import sys
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from birefnet_lite.course.checks.owners import is_library, is_package

__all__ = ["Recorder"]

_RANDOM = {"rand", "randn", "rand_like", "randn_like", "randint", "randperm", "bernoulli", "normal", "multinomial"}
_RANDOM |= {"normal_", "uniform_", "bernoulli_", "random_", "dropout", "dropout2d", "alpha_dropout"}
_CUTTING = {"detach", "detach_", "item", "tolist", "numpy"}
_HALF = {torch.float16, torch.bfloat16}
_HINTS: dict[str, str] = {
    "long": "`long` rounds towards zero; `floor` rounds down.",
    "int": "`int` rounds towards zero; `floor` rounds down.",
    "trunc": "`trunc` rounds towards zero; `floor` rounds down.",
    "round": "`round` goes to the nearest whole number.",
    "softmax": "A softmax makes values add up to 1; a sigmoid treats each by itself.",
    "tanh": "`tanh` gives values from -1 to 1; a sigmoid from 0 to 1.",
    "unfold": "`F.unfold` puts channels in front of the pixels of a window: (B, C * k * k, L).",
    "relu6": "A ReLU6 ends at 6; a ReLU has no upper end.",
    "gelu": "A GELU is not a ReLU.",
    "silu": "A SiLU is not a ReLU.",
    "leaky_relu": "A leaky ReLU is not a ReLU.",
    "flip": "`flip` turns an axis round.",
    "amax": "`amax` takes the largest value, not the mean.",
    "median": "The median is not the mean.",
}


class Recorder(TorchFunctionMode):
    """Notes unusual calls while it is active; those that functions of this package make are not the learner's.

    Args:
        usual: Names of functions that a right answer calls too, and that need no note.
    """

    def __init__(self, usual: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._usual = usual
        self._notes: dict[str, None] = {}
        self._sigmoids = 0  # in the call that runs
        self._sigmoid_again = False

    @property
    def notes(self) -> list[str]:
        """The sentences, each once, in the order of the calls."""
        found = list(self._notes)
        if self._sigmoid_again:
            found.append("A sigmoid is called more than once.")
        return found

    def __enter__(self) -> Self:
        self._sigmoids = 0
        return super().__enter__()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").removesuffix("_")
        raw_name = getattr(func, "__name__", "")
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            name = raw_name = "data"
        if name not in self._usual and _is_own():
            self._note_call(func, name, raw_name, args, kwargs)
        if not torch.is_grad_enabled() and "no_grad" not in self._usual and raw_name != "__get__":
            self._notes["Something is computed under `no_grad`."] = None
        return func(*args, **kwargs)

    def _note_call(self, func: Any, name: str, raw_name: str, args: tuple, kwargs: dict) -> None:
        if func is F.interpolate:
            self._note_interpolation(args, kwargs)
        elif func in (F.pad, torch._C._nn.pad):
            mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
            if mode != "constant":
                self._notes[f"`F.pad` is called with mode='{mode}'; the network's convolutions pad with zeros."] = None
        elif raw_name in _CUTTING or raw_name == "data":
            self._notes[f"`{raw_name}` is called, and no gradient flows through it."] = None
        elif "dropout" in raw_name and not _acts(args, kwargs):
            return
        elif raw_name in _RANDOM:
            self._notes[f"`{raw_name}` draws random numbers."] = None
        elif raw_name in ("half", "bfloat16") or _HALF & {x for x in (*args, *kwargs.values()) if _is_dtype(x)}:
            self._notes["Something is turned into half precision, which keeps three digits."] = None
        elif name in ("long", "int", "trunc") and not _has_fractions(args):
            return
        elif name in _HINTS:
            self._notes[_HINTS[name]] = None
        elif name == "quantile":
            fraction = kwargs.get("q", args[1] if len(args) > 1 else None)
            self._notes[f"`quantile` is called with {fraction}."] = None
        self._sigmoids += name == "sigmoid"
        self._sigmoid_again |= self._sigmoids > 1

    def _note_interpolation(self, args: tuple, kwargs: dict) -> None:
        names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
        given = dict(zip(names, args, strict=False)) | kwargs
        mode = given.get("mode", "nearest")
        if mode not in ("bilinear", "linear"):
            self._notes[f"`F.interpolate` is called with mode='{mode}'; here it should be bilinear."] = None
        elif not given.get("align_corners"):
            self._notes["`F.interpolate` is called without align_corners=True."] = None
        if given.get("antialias"):
            self._notes["`F.interpolate` is called with antialias=True."] = None
        if given.get("scale_factor") is not None:
            self._notes["`F.interpolate` is called with a factor; give it the size that the result should have."] = None


def _is_own() -> bool:
    """Whether the call comes from outside of this package, perhaps through another library."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        path = frame.f_code.co_filename
        if is_package(path):
            return False
        if not is_library(path):
            break
        frame = frame.f_back
    return True


def _acts(args: tuple, kwargs: dict) -> bool:
    """Whether a dropout drops anything, from its arguments (input, p, training)."""
    given = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
    return bool(given.get("training", True)) and given.get("p", 0.5) != 0


def _has_fractions(args: tuple) -> bool:
    """Whether the first argument has values that are not whole numbers."""
    x = args[0] if args else None
    return isinstance(x, torch.Tensor) and x.is_floating_point() and bool((x != x.floor()).any())


def _is_dtype(x: Any) -> bool:
    return isinstance(x, torch.dtype)
