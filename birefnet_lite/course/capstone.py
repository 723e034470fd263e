"""Notebook 12: networks in which one thing is wrong, to be found with the layer debugger."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["broken_network", "hidden_bug", "largest_difference", "repair", "suspect_tiles", "with_side_outputs"]


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


def hidden_bug(model: BiRefNet, number: int) -> BiRefNet:
    """Return a copy with the same weights under the same names, in which one thing is computed wrongly.

    Args:
        model: The right network; it is not changed.
        number: 1 to 4, from easy to hard.

    Raises:
        ValueError: There is no bug of that number.
    """
    if number not in _BUGS:
        raise ValueError(f"There are bugs 1 to {len(_BUGS)}, not {number!r}.")
    network: Any = copy.deepcopy(model)
    _BUGS[number](network)
    return network


def _bug_in_a_norm(network: Any) -> None:
    network.decoder.stage3.reconstruction.norm_in.eps = 0.5


def _bug_in_the_half_size_image(network: Any) -> None:
    sides: list[int] = []

    def swap_colours(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (image,) = inputs
        sides[:] = [*sides[-1:], image.shape[-1]]
        return (image.flip(1),) if sides[-1] < sides[0] else inputs

    network.encoder.backbone.register_forward_pre_hook(swap_colours)


def _bug_in_a_concatenation(network: Any) -> None:
    def rotate(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        *views, pooled = inputs[0].chunk(5, dim=1)  # (B, C, H, W) each
        return (torch.cat([pooled, *views], dim=1),)

    network.decoder.stage2.reconstruction.aspp.project.register_forward_pre_hook(rotate)


def _bug_off_the_square(network: Any) -> None:
    def turn(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (x,) = inputs
        return inputs if x.shape[2] == x.shape[3] else (x.roll(1, dims=3),)

    network.decoder.stage2.lateral.register_forward_pre_hook(turn)


_BUGS: dict[int, Callable[[Any], None]] = {
    1: _bug_in_a_norm,
    2: _bug_in_the_half_size_image,
    3: _bug_in_a_concatenation,
    4: _bug_off_the_square,
}
