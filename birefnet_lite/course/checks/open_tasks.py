"""Open exercises of notebooks 06 to 08: any answer with the wanted properties is right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birefnet_lite.course.checks.compare import compare_gradient, require_tensor
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.refinement import image_to_tiles

__all__ = ["own_cut", "own_target", "window_loss"]


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


@check(
    "Right: from 0 to 1, near the object only, on both sides of its contour, and fixed.",
    usual=("pad", "detach", "quantile"),
)
def own_target(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`own_target(image, side_logits)`: (B, 3, H, W) and (B, 1, h, w) to a label (B, 1, H, W)."""
    for batch, height, width in ((2, 64, 96), (1, 96, 64)):
        where = f"For images of {height} x {width}"
        left, right = width // 4, 3 * width // 4
        side_logits = torch.full((batch, 1, height, width), -5.0)
        side_logits[..., 16:-16, left:right] = 5
        side_logits = (side_logits + 0.1 * torch.randn_like(side_logits)).requires_grad_()
        side_logits.data[1:, ..., right - 12 :] -= 10  # the objects of a batch differ
        image = 0.2 * torch.randn(batch, 3, height, width)
        image[..., 16:-16, left:right] += 2  # the object's edges, exactly on the contour
        got = answer(image, side_logits)
        require_tensor(got, (batch, 1, height, width), where)
        _refuse_range(got, where)
        around = slice(height // 2 - 8, height // 2 + 8)
        far, outer, inner = got[..., : width // 16], got[..., around, left - 1], got[..., around, left]
        if far.mean() > 0.05:
            raise Wrong(f"{where}, far from the object the label is {far.mean():.2f} on average. It should be 0 there.")
        if inner.mean() < 0.3:
            raise Wrong(f"{where}, just inside the contour the label is {inner.mean():.2f}. There is a strong edge.")
        if outer.mean() < 0.3:
            raise Wrong(
                f"{where}, just outside the contour the label is {outer.mean():.2f}, inside {inner.mean():.2f}: the "
                "outer half of the edge is cut off. The side output ends there. Reach further than it does."
            )
        alone = answer(image[:1], side_logits[:1])
        if not torch.allclose(alone, got[:1], atol=1e-2):
            raise Wrong(f"{where}, an image has another label in a batch than alone: each has a label of its own.")
        flat = answer(torch.full_like(image, 0.5 + torch.rand(1).item()), side_logits)
        if flat.max() > 0.05:
            raise Wrong(f"{where}, an image of one colour gets a label of up to {flat.max():.2f}. It has no edges.")


def _refuse_range(got: Tensor, where: str) -> None:
    if got.requires_grad:
        raise Wrong(f"{where}, a gradient flows into the label, so it would learn, too. Detach the side output.")
    if got.min() < 0 or got.max() > 1:
        raise Wrong(f"{where}, the label goes from {got.min():.2f} to {got.max():.2f}. It should stay in 0 to 1.")


@check("Right: it sees windows, where BCE and IoU see pixels.")
def window_loss(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`window_loss(logits, mask)`: raw logits and mask (B, 1, H, W) to one number, lower for a block than for holes."""
    for batch, height, width in ((2, 48, 64), (1, 56, 40)):
        where = f"For masks of {height} x {width}"
        mask = torch.zeros(batch, 1, height, width)
        mask[..., 8:40, 8:32] = 1
        block, holes = mask.clone(), mask.clone()
        block[..., 12:24, 12:24] = 0
        for one in holes:
            inside = one.flatten().nonzero()[:, 0]
            one.view(-1)[inside[torch.randperm(len(inside))[:144]]] = 0
        noise = 0.1 * torch.randn_like(mask)
        logits = {"right": mask, "block": block, "holes": holes, "inverse": 1 - mask}
        logits = {name: (16 * x - 8 + noise).requires_grad_() for name, x in logits.items()}
        found = {name: answer(x, mask) for name, x in logits.items()}
        for value in found.values():
            require_tensor(value, (), where)
        cost = {name: value.item() for name, value in found.items()}
        _refuse_costs(cost, where)
        if batch > 1:
            alone = sum(answer(x[None], m[None]).item() for x, m in zip(logits["holes"], mask, strict=True)) / batch
            if abs(alone - cost["holes"]) > 1e-3 * max(abs(alone), 1e-3):
                raise Wrong(
                    f"{where}, a batch of {batch} costs {cost['holes']:.3f}, the mean of its images {alone:.3f}."
                )
        if not found["holes"].requires_grad:
            raise Wrong(f"{where}, no gradient flows back to the logits. Is something detached, or cut at a threshold?")
        (gradient,) = torch.autograd.grad(found["holes"], logits["holes"])
        if not torch.isfinite(gradient).all() or not gradient.any():
            raise Wrong(
                f"{where}, the gradient of the logits is 0 everywhere or not finite: nothing can learn from it."
            )


def _refuse_costs(cost: dict[str, float], where: str) -> None:
    if not all(np.isfinite(value) for value in cost.values()):
        raise Wrong(f"{where}, a cost is not finite: is there a division by 0, a log or a root of 0?")
    if cost["right"] > 0.05 * cost["inverse"]:
        if cost["right"] > cost["inverse"]:
            raise Wrong(
                f"{where}, a sure and right answer costs {cost['right']:.3f}, an inverted one {cost['inverse']:.3f}: "
                "it is a similarity, or its sign is wrong. A loss is small where the two agree: 1 less a similarity."
            )
        raise Wrong(
            f"{where}, a sure and right answer costs {cost['right']:.3f}, an inverted one {cost['inverse']:.3f}. The "
            "right one should cost next to nothing. Do probabilities come from the logits by a sigmoid, once?"
        )
    if cost["holes"] < 1.3 * cost["block"]:
        raise Wrong(
            f"{where}, 144 pixels that are missed in one block cost {cost['block']:.3f}, scattered ones "
            f"{cost['holes']:.3f}. Scattered ones spoil more windows and should cost at least 1.3 times as much: does "
            "your loss compare windows, or pixel by pixel?"
        )
    if cost["inverse"] < cost["holes"]:
        raise Wrong(
            f"{where}, an inverted mask costs {cost['inverse']:.3f}, less than one with holes, {cost['holes']:.3f}."
        )
