"""What each part of the network costs: parameters, time, and the memory of its output."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.capture import STAGES
from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating

__all__ = ["PartCost", "part_costs", "parts_of"]


@dataclass(frozen=True)
class PartCost:
    """One part during one pass."""

    name: str
    shape: tuple[int, ...]
    """Shape of its first output."""
    parameters: int
    seconds: float
    """Over all its calls."""
    bytes: int
    """Of its outputs, over all its calls."""


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a BiRefNet that the paper names, by layer name, in the order in which they run."""
    parts: dict[str, nn.Module | None] = {"backbone": getattr(model.encoder, "backbone", None)}
    parts["squeeze"] = getattr(model, "squeeze", None)
    for number in STAGES:
        stage = getattr(model.decoder, f"stage{number}")
        names = {"inward_reference": "inward", "reconstruction": "reconstruction"}
        for name, attribute in (names | {"gradient_attention": "outward", "lateral": "lateral"}).items():
            parts[f"decoder.stage{number}.{name}"] = getattr(stage, attribute, None)
    parts["decoder.image_branch"] = getattr(model.decoder, "image_branch", None)
    parts["head"] = getattr(model.decoder, "head", None)
    return {name: part for name, part in parts.items() if part is not None}


def part_costs(model: nn.Module, image: Any, size: int | tuple[int, int] | None = None) -> tuple[list[PartCost], float]:
    """The cost of each part on an image, and the seconds of the whole pass (the second one: the first warms up)."""
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    parts = parts_of(model)
    started: dict[str, float] = {}
    seconds = dict.fromkeys(parts, 0.0)
    sizes = dict.fromkeys(parts, 0)
    shapes: dict[str, tuple[int, ...]] = {}

    def now() -> float:
        if prepared.tensor.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def before(name: str) -> None:
        started[name] = now()

    def after(name: str, output: Any) -> None:
        seconds[name] += now() - started[name]
        tensors = [output] if isinstance(output, Tensor) else [x for x in output if isinstance(x, Tensor)]
        sizes[name] += sum(x.numel() * x.element_size() for x in tensors)
        shapes.setdefault(name, tuple(tensors[0].shape))

    with torch.no_grad(), evaluating(model):
        model(prepared.tensor)
        with ExitStack() as stack:
            for name, part in parts.items():
                stack.callback(part.register_forward_pre_hook(lambda _m, _i, name=name: before(name)).remove)
                stack.callback(part.register_forward_hook(lambda _m, _i, out, name=name: after(name, out)).remove)
            start = now()
            model(prepared.tensor)
            total = now() - start
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    costs = [PartCost(name, shapes[name], counts[name], seconds[name], sizes[name]) for name in shapes]
    return sorted(costs, key=lambda cost: list(parts).index(cost.name)), total
