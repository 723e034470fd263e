"""Notebook 12: a network in which something is wrong, to be found with the layer debugger."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["broken_network", "largest_difference", "repair", "suspect_tiles", "with_side_outputs"]


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
