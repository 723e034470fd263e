"""Open exercise of notebook 06: any cut of an image with the wanted properties is right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birefnet_lite.course.checks.compare import compare_gradient, require_tensor
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.refinement import image_to_tiles

__all__ = ["own_cut"]


@check("Right: nothing is lost, and every cell sees its own place.")
def own_cut(answer: Callable[[Tensor, int], Any]) -> None:
    """`own_cut(image, grid)`: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid), in any order of channels."""
    for shape, grid in (((2, 3, 6, 12), 3), ((1, 3, 8, 4), 2), ((1, 2, 5, 7), 1)):
        image = torch.randn(shape, requires_grad=True)
        batch, colours, height, width = shape
        where = f"For an image of {shape} and grid={grid}"
        got = answer(image, grid)
        require_tensor(got, (batch, colours * grid * grid, height // grid, width // grid), where)
        if grid > 1 and torch.allclose(got.float(), image_to_tiles(image, grid), atol=1e-6):
            raise Wrong("These are the tiles: a cell sees the same place in every tile. It should see its own place.")
        _refuse_losses(got, image, where)
        wanted = _own_places(got, image, grid, where)
        compare_gradient(got, wanted, image, where, 1e-6)


def _refuse_losses(got: Tensor, image: Tensor, where: str) -> None:
    ours, theirs = got.detach().flatten().sort().values, image.detach().flatten().sort().values
    if not torch.allclose(ours.float(), theirs, atol=1e-6):
        raise Wrong(
            f"{where}, the numbers are not those of the image: some are lost, repeated, or averaged. Every pixel "
            "should be there once, unchanged."
        )


def _own_places(got: Tensor, image: Tensor, grid: int, where: str) -> Tensor:
    """The image cut in the order that the first cell shows."""
    batch, colours, height, width = image.shape
    cells = image.reshape(batch, colours, height // grid, grid, width // grid, grid)
    cells = cells.permute(0, 1, 3, 5, 2, 4).reshape(got.shape)  # (B, C, y, x, rows, columns) joined
    found = got.detach().float()
    order = (found[0, :, None, 0, 0] == cells[0, None, :, 0, 0]).int().argmax(dim=1)
    wanted = cells[:, order]
    for b, row, column in np.ndindex(batch, *got.shape[2:]):
        ours, theirs = found[b, :, row, column], cells.detach()[b, :, row, column]
        if not torch.allclose(ours.sort().values, theirs.sort().values, atol=1e-6):
            raise Wrong(
                f"{where}, cell ({row}, {column}) of image {b} has pixels of another place. It should have those of "
                f"rows {row * grid} to {(row + 1) * grid - 1} and columns {column * grid} to {(column + 1) * grid - 1}."
            )
    if not torch.allclose(found, wanted.detach(), atol=1e-6):
        raise Wrong(
            f"{where}, every cell has its own pixels, but in different orders. A convolution has one weight for a "
            "channel at all cells, so the order must be the same everywhere."
        )
    return wanted
