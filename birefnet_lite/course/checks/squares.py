"""The open task of notebook 10: the square of a photo whose loss costs a mask most, found in few runs."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.models import course_model
from birefnet_lite.photos import load_photo

__all__ = ["load_network", "worst_square"]

_SIZE, _SIDE, _RUNS = 96, 24, 50
_GRID = [(row, column) for row in range(0, _SIZE, _SIDE) for column in range(0, _SIZE, _SIDE)]
_WANTED = 1.05  # times what the best square of the grid costs

Score = Callable[[Tensor], Tensor]


@cache
def load_network() -> nn.Module:
    """The course's network, loaded once; answers that are run again may not read its file themselves."""
    return course_model().model.requires_grad_(False)


class _Case(NamedTuple):
    image: Tensor
    """A photo as the network sees it, (1, 3, H, W)."""
    score: Score
    """The mean logit in the mask that the network predicts for it."""
    grid: list[float]
    """The loss of the score for each square of the grid."""


@cache
def _case(name: str, mirrored: bool) -> _Case:
    prepared = prepare(load_network(), load_photo(name)[0], size=_SIZE)
    region = torch.from_numpy(capture(load_network(), prepared, layers=["logits"]).mask)  # (H, W)
    image = prepared.tensor
    if mirrored:
        image, region = image.flip(3), region.flip(1)

    def score(images: Tensor) -> Tensor:
        return (load_network()(images).logits[:, 0] * region).sum(dim=(1, 2)) / region.sum()

    return _Case(image, score, _costs(score, image, _GRID))


class _Counted:
    """A score that counts the images which it is shown."""

    def __init__(self, score: Score) -> None:
        self.score, self.seen = score, 0

    def __call__(self, images: Tensor) -> Tensor:
        if not isinstance(images, Tensor) or images.ndim != 4 or tuple(images.shape[1:]) != (3, _SIZE, _SIZE):
            shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise Wrong(f"The score takes images (B, 3, {_SIZE}, {_SIZE}); you give it {shape}.")
        self.seen += len(images)
        if self.seen > _RUNS:
            raise Wrong(
                f"You show the score more than {_RUNS} images; each image of a batch counts. Try fewer places: first "
                "far apart, then close to the best one."
            )
        return self.score(images)


@check("Right: no square of the grid costs the mask as much.", repeats=False)
def worst_square(answer: Callable[[Score, Tensor, int, int], Any]) -> None:
    """`worst_square(score, image, side, runs)`: the top-left corner (row, column) of the square that costs most."""
    # One photo for each of the two runs of a check, since the network takes its time.
    name, mirrored = ("astronaut", "chelsea")[int(torch.rand(()) > 0.5)], bool(torch.rand(()) < 0.5)
    image, score, grid = _case(name, mirrored)
    where = f"For {name}, {_SIZE} x {_SIZE} pixels{', mirrored' if mirrored else ''}, and side={_SIDE}"
    got = _corner(answer(_Counted(score), image.clone(), _SIDE, _RUNS), where)
    cost, swapped, central = _costs(score, image, [got, got[::-1], ((_SIZE - _SIDE) // 2,) * 2])
    wanted = _WANTED * max(grid)
    if cost >= wanted:
        return
    said = (
        f"{where}, the square at {got} costs the score {cost:.3f}. The one in the middle costs {central:.3f}, the best "
        f"of a grid of {len(grid)} squares {max(grid):.3f}; wanted is {_WANTED} times that. "
    )
    if cost <= max(0, min(grid)):
        raise Wrong(f"{said}Yours costs least, or nothing: look for the image whose score is lowest.")
    if swapped >= wanted:
        raise Wrong(f"{said}The one at {got[::-1]} costs {swapped:.3f}: give (row, column), not (column, row).")
    if got in _GRID and cost >= max(grid) - 1e-3:
        raise Wrong(
            f"{said}Yours is the best of the grid. A square may lie anywhere: move it by half a side in all "
            "directions, and by less from the best place that you find."
        )
    raise Wrong(f"{said}Try places far apart first, then smaller and smaller moves from the best one.")


def _corner(got: Any, where: str) -> tuple[int, int]:
    try:
        numbers = [float(number) for number in got]
        row, column = numbers
    except (TypeError, ValueError):
        raise Wrong(f"{where}, the result should be two numbers, (row, column), not {got!r}.") from None
    if row % 1 or column % 1:
        raise Wrong(f"{where}, the result should be whole numbers, not ({row:g}, {column:g}).")
    if not (0 <= row <= _SIZE - _SIDE and 0 <= column <= _SIZE - _SIDE):
        raise Wrong(
            f"{where}, a square at ({row:g}, {column:g}) does not lie inside the image: row and column go from 0 to "
            f"{_SIZE - _SIDE}. They are those of its top-left corner."
        )
    return int(row), int(column)


def _costs(score: Score, image: Tensor, corners: list[tuple[int, int]]) -> list[float]:
    """The loss of the score when a square is set to 0, for each top-left corner."""
    covered = image.repeat(len(corners), 1, 1, 1)
    for one, (row, column) in zip(covered, corners, strict=True):
        one[:, row : row + _SIDE, column : column + _SIDE] = 0
    with torch.no_grad():
        return (score(image) - score(covered)).tolist()
