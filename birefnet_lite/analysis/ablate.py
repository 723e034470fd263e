"""Switch a part of the network off and see what it was good for."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.capture import STAGES

__all__ = ["HOW", "ablatable", "ablate"]

HOW = ("zero", "mean", "resample")


def ablatable(model: nn.Module) -> list[str]:
    """The layers of a model that can be switched off, in the order in which they are computed."""
    return list(_places(model))


@contextmanager
def ablate(
    model: nn.Module, layer: str, channels: Iterable[int] | int | None = None, how: str = "zero"
) -> Iterator[nn.Module]:
    """While open, some channels of a layer (all without `channels`) carry nothing of the image.

    `how`: `zero` sets them to 0, `mean` to their mean over the map, `resample` shuffles each over its own pixels, so
    that its distribution stays and its places go (always in the same way). Gradient attention multiplies the features:
    its `zero` is therefore 1 everywhere, which is what a network without it computes. The hook goes again, also when
    the model raises.
    """
    places = _places(model)
    if layer not in places:
        raise ValueError(f"Layer {layer!r} cannot be switched off. There are: {', '.join(places)}.")
    if how not in HOW:
        raise ValueError(f"how is {', '.join(HOW)}. Got {how!r}.")
    chosen = [channels] if isinstance(channels, int) else None if channels is None else list(channels)
    neutral = 1.0 if layer.endswith("gradient_attention") else 0.0

    def change(x: Tensor) -> Tensor:
        return _without(x, chosen, how, neutral, layer)

    module, listen = places[layer]
    with ExitStack() as stack:
        stack.callback(module.register_forward_hook(listen(change)).remove)
        yield model


def _without(x: Tensor, channels: list[int] | None, how: str, neutral: float, layer: str) -> Tensor:
    count = x.shape[1]
    index = list(range(count)) if channels is None else channels
    if bad := [c for c in index if not 0 <= c < count]:
        raise ValueError(f"{layer} has channels 0 to {count - 1}. Got {bad[0]}.")
    x = x.clone()
    part = x[:, index]  # (B, c, H, W)
    if how == "zero":
        part = torch.full_like(part, neutral)
    elif how == "mean":
        part = part.mean(dim=(2, 3), keepdim=True).expand_as(part)
    else:
        order = torch.randperm(part[0, 0].numel(), generator=torch.Generator().manual_seed(0)).to(x.device)
        part = part.flatten(2)[..., order].reshape(part.shape)  # (B, c, H, W)
    x[:, index] = part
    return x


Change = Callable[[Tensor], Tensor]
Hook = Callable[[nn.Module, Any, Any], Any]
Place = tuple[nn.Module, Callable[[Change], Hook]]


def _places(model: nn.Module) -> dict[str, Place]:
    """By layer name: the module whose output holds the layer, and how to make a hook that changes only that part."""
    places: dict[str, Place] = {}
    encoder = getattr(model, "encoder", None)
    if (backbone := getattr(encoder, "backbone", None)) is not None:
        scales = ("full",) if getattr(encoder, "multi_scale_input", "cat") == "none" else ("full", "half")
        for call, scale in enumerate(scales):
            for level in range(4):
                places[f"encoder.{scale}.x{level + 1}"] = (backbone, _nth(call, len(scales), level))
    if (squeeze := getattr(model, "squeeze", None)) is not None:
        places["squeeze"] = (squeeze, _whole)
    decoder = getattr(model, "decoder", None)
    for number in STAGES:
        stage = getattr(decoder, f"stage{number}", None)
        if stage is None:
            continue
        prefix = f"decoder.stage{number}"
        parts = {"inward_reference": "inward", "reconstruction": "reconstruction"}
        for name, attribute in (parts | {"gradient_attention": "outward", "lateral": "lateral"}).items():
            if (module := getattr(stage, attribute, None)) is not None:
                places[f"{prefix}.{name}"] = (module, _first if attribute == "outward" else _whole)
    if (branch := getattr(decoder, "image_branch", None)) is not None:
        places["decoder.image_branch"] = (branch, _whole)
    return places


def _whole(change: Change) -> Hook:
    return lambda _module, _inputs, output: change(output)


def _first(change: Change) -> Hook:
    return lambda _module, _inputs, output: (change(output[0]), *output[1:])


def _nth(call: int, calls: int, level: int) -> Callable[[Change], Hook]:
    """The backbone runs once for each scale, in turn; only one of its calls and one of its maps is changed."""

    def make(change: Change) -> Hook:
        seen = -1

        def hook(_module: nn.Module, _inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            nonlocal seen
            seen += 1
            if seen % calls != call:
                return output
            return tuple(change(x) if i == level else x for i, x in enumerate(output))

        return hook

    return make
