"""Notebook 12: tools to find the part of a network that computes something else than the reference's."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["Call", "agree", "broken_network", "calls_of", "gradients_of", "largest_difference", "repair"]
__all__ += ["suspect_tiles", "symptoms", "transplant", "with_side_outputs"]


def suspect_tiles(image: Tensor, grid: int) -> Tensor:
    """Cuts an image into grid x grid tiles and stacks them on the channels."""
    batch, channels, height, width = image.shape
    tiles = image.reshape(batch, channels, grid, height // grid, grid, width // grid)
    tiles = tiles.permute(0, 4, 2, 1, 3, 5)
    return tiles.reshape(batch, channels * grid * grid, height // grid, width // grid)


class _Inward(nn.Module):
    """An inward reference that gets its tiles from any function."""

    def __init__(self, grid: int, branch: nn.Module, tiles: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.grid = grid
        self.branch = branch
        self.tiles = tiles

    def forward(self, image: Tensor) -> Tensor:
        return self.branch(self.tiles(image, self.grid))


def broken_network(model: BiRefNet) -> BiRefNet:
    """A copy with the same weights under the same names, and a mask that is not the same. `model` stays as it is.

    The inward reference has the image tiles of the original before November 2024.
    """
    return repair(copy.deepcopy(model), suspect_tiles)


def repair(model: BiRefNet, tiles: Callable[[Tensor, int], Tensor]) -> BiRefNet:
    """Lets every stage's inward reference cut its image with `tiles`, in place; returns the model."""
    for stage in model.decoder.stages:
        inward: Any = stage.inward
        stage.inward = _Inward(inward.grid, inward.branch, tiles)  # type: ignore[assignment]
    return model


def with_side_outputs(model: nn.Module) -> nn.Module:
    """Training mode, in which stages show their side outputs, but without noise: norms and dropout as in use."""
    model.train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.Dropout):
            part.eval()
    return model


def largest_difference(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference of two tensors of one shape."""
    if a.shape != b.shape:
        raise ValueError(f"Only tensors of one shape can be compared, not {tuple(a.shape)} and {tuple(b.shape)}.")
    with torch.no_grad():
        return (a - b).abs().max().item()


class Call(NamedTuple):
    """One run of one part."""

    given: tuple[Tensor, ...]
    """Copies of the tensors among its arguments, those in tuples and lists too."""
    gave: tuple[Tensor, ...]


def calls_of(network: nn.Module, image: Tensor) -> dict[str, list[Call]]:
    """Record what each part of a network is given and gives, while an image runs through it, without gradients.

    Returns:
        For each part, by its path and in the order in which parts begin, its runs: the backbone's parts run twice.
    """
    calls: dict[str, list[Call]] = {}
    given: dict[str, tuple[Tensor, ...]] = {}

    def begin(path: str, inputs: Any) -> None:
        given[path] = tuple(_copies(inputs))
        calls.setdefault(path, [])

    def end(path: str, output: Any) -> None:
        calls[path].append(Call(given.pop(path), tuple(_copies(output))))

    with ExitStack() as stack:
        for path, part in network.named_modules():
            if path:
                before = part.register_forward_pre_hook(lambda _m, inputs, path=path: begin(path, inputs))
                after = part.register_forward_hook(lambda _m, _i, output, path=path: end(path, output))
                stack.callback(before.remove)
                stack.callback(after.remove)
        stack.enter_context(torch.no_grad())
        network(image)
    return calls


def agree(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None], tolerance: float = 1e-4) -> bool:
    """Whether tensors differ by at most `tolerance` of the largest value of theirs, each beside its partner."""
    return len(ours) == len(theirs) and all(_agrees(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))


def _agrees(a: Tensor | None, b: Tensor | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    if a.shape != b.shape:
        return False
    return a.numel() == 0 or bool((a - b).abs().max() <= tolerance * b.abs().max())


def gradients_of(network: Any, images: Tensor) -> dict[str, Tensor | None]:
    """The gradient of each weight, by name, for a fixed sum of all that encoder and decoder give in training.

    None where no gradient arrives. The network itself is not changed.
    """
    network = with_side_outputs(copy.deepcopy(network))
    with torch.enable_grad():
        x1, x2, x3, x4 = network.encoder(images)
        found = _copies(network.decoder(images, (x1, x2, x3, network.squeeze(x4))), cloned=False)
        signs = torch.Generator().manual_seed(0)
        total = torch.stack([(x * torch.randn(x.shape, generator=signs)).sum() for x in found]).sum()
        names, weights = zip(*network.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(total, weights, allow_unused=True), strict=True))


def symptoms(network: Any, reference: Any) -> dict[str, bool]:
    """Whether a network gives what the reference gives, in several experiments; both stay as they are."""
    network, reference = copy.deepcopy(network), copy.deepcopy(reference)
    draw = torch.Generator().manual_seed(0)
    square, other = torch.randn(2, 1, 3, 64, 64, generator=draw)
    wide, two = (torch.randn(size, generator=draw) for size in ((1, 3, 64, 96), (2, 3, 64, 64)))
    inputs = {"a square photo": square, "a wide photo": wide, "a batch of two": two, "a second photo": other}
    with torch.no_grad():
        found = {name: agree([network(x)[-1]], [reference(x)[-1]]) for name, x in inputs.items()}
    ours, theirs = gradients_of(network, two), gradients_of(reference, two)
    return found | {"the gradients": agree(list(ours.values()), [theirs.get(name) for name in ours])}


def transplant(network: nn.Module, path: str, source: nn.Module) -> nn.Module:
    """A copy of a network in which the part at a path is replaced by a copy of the source's part.

    Raises:
        ValueError: One of the two has no such part.
    """
    names = {name for name, _ in network.named_modules()} & {name for name, _ in source.named_modules()}
    if not path or path not in names:
        raise ValueError(f"There is no part called {path!r}. A path looks like 'decoder.stage4.side_head'.")
    network = copy.deepcopy(network)
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, copy.deepcopy(source.get_submodule(path)))
    return network


def _copies(value: Any, cloned: bool = True) -> Iterator[Tensor]:
    """The tensors in a value; `cloned` as they are now, since later parts work in place."""
    if isinstance(value, Tensor):
        yield value.detach().clone() if cloned else value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _copies(one, cloned)
