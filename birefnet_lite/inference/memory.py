"""Count the memory of a forward pass, on the meta device, or of any function, while it runs."""

import weakref
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["LivingTensors", "copy_to_meta", "forward_bytes", "peak_bytes"]

# Convolutions on a CPU work on blocks of up to 16 channels, the last of which is filled up: one channel takes as much
# as sixteen.
CHANNEL_BLOCK = 16


def forward_bytes(model: nn.Module, height: int, width: int) -> int:
    """Estimate the peak memory of a forward pass in evaluation mode, for one image (3, H, W).

    Counted is what is alive at once, and for each operator as much again as it reads and writes, because convolutions
    make copies in a layout of their own (`CHANNEL_BLOCK`).

    Returns:
        Bytes beyond the weights. An upper estimate: up to twice what is used.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> forward_bytes(BiRefNet(BiRefNetConfig.preset("nano")).eval(), 256, 256) / 2**20 < 200  # MiB
        True
    """
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    image = torch.empty(1, 3, height, width, dtype=dtype, device="meta")
    with torch.no_grad(), LivingTensors() as living:
        living.add(image)
        copy_to_meta(model)(image)
    return living.peak


def peak_bytes(function: Callable[..., Any], *arguments: Any) -> int:
    """Measure the most bytes of results that are alive at once during a call, without gradients.

    The arguments are not counted, nor what an operator needs for itself while it works.

    Examples:
        >>> peak_bytes(lambda x: (x + 1) * 2, torch.zeros(1000))  # both results, of 4000 bytes each
        8000
    """
    with torch.no_grad(), LivingTensors() as living:
        for argument in arguments:
            held = argument.parameters() if isinstance(argument, nn.Module) else _tensors([argument])
            for tensor in held:
                living.add(tensor)
        before = living.now
        function(*arguments)
    return max([before, *living.history]) - before


def copy_to_meta(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode on the meta device; the weights themselves are not copied."""
    tensors = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    copies: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        empty = torch.empty_like(tensor, device="meta")
        copies[name] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    return deepcopy(model, copies).eval()


class LivingTensors(TorchDispatchMode):
    """Adds up the bytes of the tensors that are alive, and notes the most that any operator needs at once.

    Tensors that are alive before, such as an image, are given with `add`; weights are not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.history: list[int] = []
        """The bytes that are alive after each operator."""
        self._holders: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    def add(self, tensor: Tensor) -> None:
        """Several tensors can share one storage, which lives as long as any of them."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._holders:
            self._holders[key] = 0
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
        self._holders[key] += 1
        weakref.finalize(tensor, self._release, key)

    def _release(self, key: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.now -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        read, written = _tensors((*args, *(kwargs or {}).values())), _tensors([result])
        for tensor in written:
            self.add(tensor)
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns)
        scratch = 0 if is_view else sum(map(_bytes_of_copy, (*read, *written)))
        self.peak = max(self.peak, self.now + scratch)
        self.history.append(self.now)
        return result


def _bytes_of_copy(tensor: Tensor) -> int:
    """Bytes of a copy of the tensor; of maps (B, C, H, W), in blocks of channels."""
    numbers = tensor.numel()
    if tensor.ndim == 4 and numbers:
        channels = tensor.shape[1]
        numbers = numbers // channels * (channels + -channels % CHANNEL_BLOCK)
    return numbers * tensor.element_size()


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    flat = chain.from_iterable(value if isinstance(value, list | tuple) else [value] for value in values)
    return [value for value in flat if isinstance(value, Tensor)]
