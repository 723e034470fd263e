"""Ablation: run a network with some of its channels switched off."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared
from birefnet_lite.analysis.parts import Part, list_parts
from birefnet_lite.inference.predict import evaluating
from birefnet_lite.network.birefnet import logits_of

__all__ = ["HOW", "ablatable", "ablate", "change_hook", "mask_without"]

HOW = ("zero", "mean", "resample")


def ablatable(model: nn.Module) -> list[str]:
    """The layers of a model that can be switched off, in the order in which they are computed.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> len(ablatable(BiRefNet(BiRefNetConfig.preset("nano"))))
        24
    """
    return list(_removable_parts(model))


def _removable_parts(model: nn.Module) -> dict[str, Part]:
    return {name: part for name, part in list_parts(model).items() if part.removable}


@contextmanager
def ablate(
    model: nn.Module, layer: str, channels: Iterable[int] | int | None = None, how: str = "zero"
) -> Iterator[nn.Module]:
    """While open, some channels of a layer carry nothing of the image. Nothing of it remains afterwards.

    Gradient attention multiplies the features: its `zero` is therefore 1 everywhere, which is what a network without it
    computes.

    Args:
        model: The network.
        layer: One of `ablatable(model)`.
        channels: Channel numbers; all channels without them.
        how: `zero` sets them to 0, `mean` to their mean over the map, `resample` shuffles each over its own pixels (in
            the same way each time), which keeps its distribution but not its places.

    Raises:
        ValueError: The layer cannot be switched off, has no such channel, or `how` is none of the three.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> from birefnet_lite import segment
        >>> with ablate(model, "decoder.stage2.inward_reference"):
        ...     without = segment(model, photo, size=64)
        >>> bool((without != segment(model, photo, size=64)).any())
        True
    """
    parts = _removable_parts(model)
    if layer not in parts:
        raise ValueError(f"Layer {layer!r} cannot be switched off. There are: {', '.join(parts)}.")
    if how not in HOW:
        raise ValueError(f"how is {', '.join(HOW)}. Got {how!r}.")
    chosen = [channels] if isinstance(channels, int) else None if channels is None else list(channels)
    part = parts[layer]
    hook = change_hook(part, lambda x: _without(x, chosen, how, part.neutral, layer))
    handle = part.module.register_forward_hook(hook)
    try:
        yield model
    finally:
        handle.remove()


def mask_without(model: nn.Module, prepared: Prepared, layers: Iterable[str], how: str = "zero") -> NDArray[np.float32]:
    """The soft mask (H, W) in [0, 1] of a network some of whose layers are off.

    Args:
        model: The network.
        prepared: The image.
        layers: Names of layers; `name#3` is channel 3 of a layer alone.
        how: As for `ablate`, whose errors it raises.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.analysis import prepare
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, _, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> mask_without(model, prepare(model, photo, size=64), ["squeeze", "decoder.stage2.lateral#0"]).shape
        (64, 64)
    """
    with ExitStack() as stack:
        for entry in layers:
            layer, _, channel = entry.partition("#")
            stack.enter_context(ablate(model, layer, int(channel) if channel else None, how))
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        logits = logits_of(model(prepared.tensor))
    return logits[0, 0].float().sigmoid().cpu().numpy()


def change_hook(part: Part, change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Any, Any], Any]:
    """A forward hook that changes the part's map and leaves what else its module gives, or gives in other calls."""
    seen = -1

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen % part.calls != part.call:
            return output
        if part.entry is None or isinstance(output, Tensor):
            return change(output)
        return tuple(change(x) if i == part.entry else x for i, x in enumerate(output))

    return hook


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
