"""The cost of each part of the network: parameters, time, and the memory of its output."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.analysis.parts import find_module, list_parts
from birefnet_lite.inference.predict import evaluating

__all__ = ["Costs", "PartCost", "list_costed_modules", "measure_costs"]


@dataclass(frozen=True)
class PartCost:
    """One part during one pass."""

    name: str
    """The dotted path of its module."""
    layers: tuple[str, ...]
    """The layers that it gives."""
    shape: tuple[int, ...]
    """Shape of its first output."""
    parameters: int
    seconds: float
    """Median over the passes, all its calls together."""
    fastest: float
    slowest: float
    """The shortest and longest time over the passes, in seconds."""
    bytes: int
    """Of its outputs, over all its calls."""


@dataclass(frozen=True)
class Costs:
    """All parts, and the whole pass."""

    parts: tuple[PartCost, ...]
    """In the order in which they run."""
    seconds: float
    """Median of the whole pass."""
    passes: int
    rest: float = 0.0
    """Seconds of a pass outside all parts (median): joining, resizing and sums between them."""

    @property
    def counted(self) -> float:
        """All medians added up, the rest included: the shares of the parts and of the rest in it add to 1."""
        return sum(part.seconds for part in self.parts) + self.rest


def list_costed_modules(model: nn.Module) -> dict[str, tuple[nn.Module, tuple[str, ...]]]:
    """The modules that hold parameters of a named part: by path, with the layers that they give, as they run."""
    found: dict[str, tuple[nn.Module, tuple[str, ...]]] = {}
    for part in list_parts(model).values():
        module = find_module(model, part.weights)
        if module is not None and part.weights and part.used:
            _, layers = found.get(part.weights, (module, ()))
            found[part.weights] = (module, (*layers, part.name))
    return found


def measure_costs(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None, passes: int = 5) -> Costs:
    """The cost of each part on an image.

    Args:
        model: The network.
        image: A photo, or a `Prepared` one.
        size: As for `prepare`.
        passes: How many passes are timed, after one that warms up.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> costs = measure_costs(model, photo, size=64, passes=1)
        >>> max(costs.parts, key=lambda part: part.parameters).name
        'encoder.backbone'
    """
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    modules = list_costed_modules(model)
    clock = _Clock(prepared.tensor.device.type == "cuda", list(modules))
    totals, rests = [], []
    with torch.no_grad(), evaluating(model):
        model(prepared.tensor)
        with ExitStack() as stack:
            for name, (module, _) in modules.items():
                stack.callback(module.register_forward_pre_hook(lambda _m, _i, name=name: clock.start(name)).remove)
                hook = module.register_forward_hook(lambda _m, _i, output, name=name: clock.stop(name, output))
                stack.callback(hook.remove)
            for _ in range(max(1, passes)):
                clock.begin_pass()
                start = clock.now()
                model(prepared.tensor)
                totals.append(clock.now() - start)
                rests.append(max(0.0, totals[-1] - sum(clock.seconds[name][-1] for name in modules)))
    costs = [
        PartCost(
            name,
            layers,
            clock.shapes[name],
            sum(parameter.numel() for parameter in module.parameters()),
            median(clock.seconds[name]),
            min(clock.seconds[name]),
            max(clock.seconds[name]),
            clock.bytes[name],
        )
        for name, (module, layers) in modules.items()
        if name in clock.shapes
    ]
    return Costs(tuple(costs), median(totals), len(totals), median(rests))


class _Clock:
    """Adds up the time and the output of each part, pass by pass."""

    def __init__(self, cuda: bool, names: list[str]) -> None:
        self.cuda = cuda
        self.names = names
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.bytes: dict[str, int] = {}
        self._started: dict[str, float] = {}

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin_pass(self) -> None:
        for name in self.names:
            self.seconds[name].append(0.0)
        self.bytes = dict.fromkeys(self.names, 0)

    def start(self, name: str) -> None:
        self._started[name] = self.now()

    def stop(self, name: str, output: Any) -> None:
        self.seconds[name][-1] += self.now() - self._started[name]
        tensors = [output] if isinstance(output, Tensor) else [x for x in output if isinstance(x, Tensor)]
        self.bytes[name] += sum(x.numel() * x.element_size() for x in tensors)
        self.shapes.setdefault(name, tuple(tensors[0].shape))
