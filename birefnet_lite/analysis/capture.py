"""Capture of the maps that flow through the network for one image, by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.analysis.layer_names import LOGITS
from birefnet_lite.analysis.parts import Part, list_parts
from birefnet_lite.inference.predict import evaluating

__all__ = ["Activations", "capture", "hook_parts"]


class Activations(Mapping[str, Tensor]):
    """The maps of one forward pass: layer name to float32 tensor (C, h, w) on the CPU, in the order they were computed.

    `photo` is the image as given, `seen` the image squashed to the size that the model saw, both uint8 (H, W, 3).
    """

    def __init__(self, maps: dict[str, Tensor], prepared: Prepared) -> None:
        self._maps = maps
        self.photo = prepared.photo
        self.seen = prepared.seen
        self.input = prepared.tensor
        self.first_bad = ""

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._maps:
            raise KeyError(f"No layer {name!r} was captured. There are: {', '.join(self._maps)}.")
        return self._maps[name]

    def __contains__(self, name: object) -> bool:
        return name in self._maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def pop(self, name: str) -> Tensor:
        """Take a map out, so that its memory can go."""
        return self._maps.pop(name)

    def stride(self, name: str) -> tuple[float, float]:
        """How many pixels of the model's input one cell of this map spans, down and across."""
        (height, width), (rows, columns) = self.seen.shape[:2], self[name].shape[-2:]
        return height / rows, width / columns

    @property
    def mask(self) -> NDArray[np.float32]:
        """The soft mask (H, W) in [0, 1] at the size that the model saw: what `run_network` returns for its pixels."""
        return self[LOGITS][0].sigmoid().numpy()


@contextmanager
def hook_parts(model: nn.Module, receive: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `receive(name, map)` for every named map (B, C, h, w) as soon as it is computed, while the block is open.

    The hooks are removed at its end, also after an error.
    """
    by_module: dict[nn.Module, list[Part]] = {}
    for part in list_parts(model).values():
        by_module.setdefault(part.module, []).append(part)
    calls: dict[nn.Module, int] = {}

    def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
        call = calls.get(module, 0)
        calls[module] = call + 1
        for part in by_module[module]:
            if part.call == min(call, part.calls - 1) and (x := part.read(output)) is not None:
                receive(part.name, x)

    with ExitStack() as stack:
        for module in by_module:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


def capture(
    model: nn.Module,
    image: Any,
    size: int | tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Activations:
    """Run the model once on an image and keep the maps of its named parts.

    The last stage's up-sampled map has no name: it shows nothing that `decoder.stage1.reconstruction` does not, at
    sixteen times the memory. The model is left as it was, also when it raises.

    Args:
        model: The network.
        image: Anything that `as_photo` takes, or a `Prepared` image.
        size: The size that the model sees, as for `prepare`.
        layers: The names of the maps to keep; without it all are kept.
        progress: Called with the name of each map as soon as it is there.

    Raises:
        ValueError: The model has no layer of a name in `layers`, or cannot take the size.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> maps = capture(model, photo, size=64)
        >>> maps["squeeze"].shape
        torch.Size([384, 2, 2])
    """
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    wanted = None if layers is None else set(layers)
    maps: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor) -> None:
        if progress is not None:
            progress(name)
        if wanted is None or name in wanted:
            maps[name] = x[0].detach().to(device="cpu", dtype=torch.float32, copy=True)  # (C, h, w)

    with torch.no_grad(), evaluating(model), hook_parts(model, keep):
        model(prepared.tensor)
    if wanted is not None and (missing := wanted - maps.keys()):
        raise ValueError(
            f"This model has no layer {', '.join(sorted(missing))}. capture(model, image) lists what it has."
        )
    return Activations(maps, prepared)
