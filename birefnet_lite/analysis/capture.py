"""What flows through the network for one image, by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating

__all__ = ["Activations", "capture", "hooked", "taps"]

STAGES = (4, 3, 2, 1)


class Activations(Mapping[str, Tensor]):
    """The maps of one forward pass: layer name to float32 tensor (C, h, w) on the CPU, in the order they were computed.

    `photo` is the image as given, `seen` the one the model saw, both uint8 (H, W, 3).
    """

    def __init__(self, maps: dict[str, Tensor], prepared: Prepared) -> None:
        self._maps = maps
        self.photo = prepared.photo
        self.seen = prepared.seen
        self.input = prepared.tensor

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

    def stride(self, name: str) -> float:
        """How many pixels of the model's input one cell of this map spans."""
        return self.seen.shape[0] / self[name].shape[-2]

    @property
    def mask(self) -> NDArray[np.float32]:
        """The predicted soft mask at the size the model saw, (H, W) in [0, 1]."""
        return self["logits"][0].sigmoid().numpy()


Tap = tuple[nn.Module, Callable[[Any, int], dict[str, Tensor]]]


def taps(model: nn.Module) -> Iterator[Tap]:
    """Where named maps can be read: modules, each with a function from (output, number of the call) to named maps."""
    encoder = getattr(model, "encoder", None)
    backbone = getattr(encoder, "backbone", None)
    if backbone is not None:
        yield backbone, lambda out, call: _levels(f"encoder.{('full', 'half')[min(call, 1)]}", out)
    if encoder is not None:
        yield encoder, lambda out, call: _levels("encoder", out)
    if (squeeze := getattr(model, "squeeze", None)) is not None:
        yield squeeze, lambda out, call: {"squeeze": out}
    decoder = getattr(model, "decoder", None)
    for number in STAGES:
        if (stage := getattr(decoder, f"stage{number}", None)) is not None:
            yield from _stage_taps(f"decoder.stage{number}", stage)
    if (branch := getattr(decoder, "image_branch", None)) is not None:
        yield branch, lambda out, call: {"decoder.image_branch": out}
    yield model, lambda out, call: {"logits": out if isinstance(out, Tensor) else out[-1]}


def _levels(prefix: str, maps: Iterable[Any]) -> dict[str, Tensor]:
    return {f"{prefix}.x{i}": x for i, x in enumerate(list(maps)[:4], start=1) if isinstance(x, Tensor) and x.ndim == 4}


def _stage_taps(prefix: str, stage: nn.Module) -> Iterator[Tap]:
    if (inward := getattr(stage, "inward", None)) is not None:
        yield inward, lambda out, call: {f"{prefix}.inward_reference": out}

    # The side head is not part of the forward pass in use, so it is run here: one 1x1 convolution.
    def reconstruction(out: Tensor, call: int) -> dict[str, Tensor]:
        head = getattr(stage, "side_head", None)
        side = {} if head is None else {f"{prefix}.side": head(out)}
        return {f"{prefix}.reconstruction": out} | side

    yield stage.reconstruction, reconstruction
    if (outward := getattr(stage, "outward", None)) is not None:
        yield (
            outward,
            lambda out, call: {f"{prefix}.gradient_attention": out[0], f"{prefix}.gradient_prediction": out[1]},
        )
    if (lateral := getattr(stage, "lateral", None)) is not None:
        yield lateral, lambda out, call: {f"{prefix}.lateral": out}
    if lateral is not None:
        yield stage, lambda out, call: {f"{prefix}.out": out[0] if isinstance(out, tuple) else out}


@contextmanager
def hooked(model: nn.Module, receive: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While open, `receive(name, map)` is called with every named map as it is computed. The hooks always go again."""
    calls: dict[nn.Module, int] = {}

    def listen(module: nn.Module, read: Callable[[Any, int], dict[str, Tensor]]) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call = calls.get(module, 0)
            calls[module] = call + 1
            for name, x in read(output, call).items():
                receive(name, x)

        return module.register_forward_hook(hook)

    with ExitStack() as stack:
        for module, read in taps(model):
            stack.callback(listen(module, read).remove)
        yield


def capture(
    model: nn.Module,
    image: Any,
    size: int | tuple[int, int] | None = None,
    layers: Iterable[str] | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Activations:
    """Run the model once on an image and keep what flows through it.

    `image` is anything `as_photo` takes; `size` as for `prepare`. `layers` names the maps to keep; without it all are
    kept. The last stage's up-sampled map has no name: it shows nothing that `decoder.stage1.reconstruction` does not,
    at sixteen times the memory. `progress` is told the name of each map as soon as it is there. The model is left as it
    was, also when it raises.
    """
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    wanted = None if layers is None else set(layers)
    maps: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor) -> None:
        if progress is not None:
            progress(name)
        if wanted is None or name in wanted:
            maps[name] = x[0].detach().to(device="cpu", dtype=torch.float32, copy=True)  # (C, h, w)

    with torch.no_grad(), evaluating(model), hooked(model, keep):
        model(prepared.tensor)
    if wanted is not None and (missing := wanted - maps.keys()):
        raise ValueError(
            f"This model has no layer {', '.join(sorted(missing))}. capture(model, image) lists what it has."
        )
    return Activations(maps, prepared)
