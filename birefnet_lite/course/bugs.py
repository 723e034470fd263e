"""Notebook 12: networks with the right weights in which one part computes something else, drawn by level and seed."""

import copy
import random
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.capstone import symptoms, transplant
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.encoder import fuse_context, fuse_scales
from birefnet_lite.network.resize import resize

__all__ = ["LEVELS", "BugHunt", "bug_hunt"]

LEVELS = (1, 2, 3, 4)
"""From easy to hard."""

_ALL, _DEEP = (4, 3, 2, 1), (4, 3, 2)


class _Bug(NamedTuple):
    """One wrong line: the part that has it, what it computes instead, and a sentence about it."""

    place: str
    change: Callable[[Any], Callable[..., Any]]
    said: str


class _Folded:
    """A sentence that a notebook shows when it is unfolded, and a console never."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __repr__(self) -> str:
        return "[the answer, folded; a notebook shows it]"

    def _repr_html_(self) -> str:
        return f"<details><summary>The answer</summary><p>{escape(self._sentence)}</p></details>"


class BugHunt:
    """A network with the reference's weights and one wrong line, a way to try a repair, and the answer."""

    def __init__(self, reference: BiRefNet, network: BiRefNet, bug: _Bug) -> None:
        self.network = network
        self._reference = reference
        self._bug = bug

    def __repr__(self) -> str:
        return "BugHunt: a network with one wrong line"

    @property
    def answer(self) -> _Folded:
        """The part with the wrong line, and what it does."""
        return _Folded(f"{self._bug.place}: {self._bug.said}")

    def repair(self, path: str) -> str:
        """Put the reference's part in the place of the network's, in a copy, and say whether that repairs it.

        Args:
            path: The path of the part, such as `"decoder.stage4.side_head"`; nothing for no guess yet.
        """
        if not path:
            return "○ No part is named yet."
        try:
            repaired = transplant(self.network, path, self._reference)
        except ValueError as error:
            return f"✗ {error}"
        if not all(symptoms(repaired, self._reference).values()):
            return "✗ With this part replaced, something still differs. The wrong line is elsewhere."
        if path != self._bug.place:
            return "✗ That repairs it, and replaces more than it must: go on inside this part."
        return "✓ Found: with this part replaced, the network computes what the reference computes."


def bug_hunt(reference: BiRefNet, level: int, seed: int = 0) -> BugHunt:
    """Make a copy of a network, with the same weights under the same names, in which one line is wrong.

    Args:
        reference: The right network; it is not changed.
        level: 1, a part computes something else; 2, a part is given something else; 3, only some photos show it; 4,
            only learning shows it.
        seed: Which of the level's bugs.

    Raises:
        ValueError: There is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"The levels are 1 to {len(LEVELS)}, not {level!r}.")
    bug = _draw(level, seed)
    network = copy.deepcopy(reference)
    part: Any = network.get_submodule(bug.place)
    kind = type(part)
    # A class of the same name: neither a printed network nor an error message gives the place away.
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    part.__class__ = type(kind.__name__, (kind,), {"forward": bug.change(kind), **names})
    return BugHunt(reference, network, bug)


def _draw(level: int, seed: int) -> _Bug:
    """The bug of a seed."""
    return random.Random(100 * level + seed).choice(_BUGS[level])


# Level 1: the part itself computes something else.


def _other_eps(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=0.3)

    return forward


def _leaky(kind: Any) -> Callable[..., Any]:
    return lambda self, x: F.leaky_relu(x, 0.2)


def _other_border(kind: Any) -> Callable[..., Any]:
    return lambda self, x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias)


# Level 2: the part is right inside, and gives a part of its own something else.


def _pooled_in_front(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, x: Tensor) -> Tensor:
        views = [self.pooled(x), *(branch(x) for branch in self.branches)]
        return self.dropout(self.relu(self.norm(self.project(torch.cat(views, dim=1)))))

    return forward


def _tiles_by_column(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, image: Tensor) -> Tensor:
        batch, channels, height, width = image.shape
        tiles = image.reshape(batch, channels, self.grid, height // self.grid, self.grid, width // self.grid)
        return self.branch(tiles.permute(0, 1, 4, 2, 3, 5).flatten(1, 3))

    return forward


def _other_colours(kind: Any) -> Callable[..., Any]:
    return lambda self, image: _encode(self, image, lambda half: self.backbone(half.flip(1)))


def _other_context(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, image: Tensor) -> tuple[Tensor, ...]:
        x1, x2, x3, _ = maps = kind.forward(self, image)
        deepest = maps[3][:, -2 * self.backbone.channels[3] :]
        return x1, x2, x3, torch.cat([*(resize(x, deepest.shape[-2:]) for x in (x3, x2, x1)), deepest], dim=1)

    return forward


def _encode(encoder: Any, image: Tensor, run: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The encoder, in which the half-size image goes through `run`."""
    full, half = encoder.backbone(image), resize(image, (image.shape[-2] // 2, image.shape[-1] // 2))
    maps = fuse_scales(full, run(half), "cat")
    return *maps[:3], fuse_context(maps, 3)


# Level 3: only some inputs show it.


def _first_of_the_batch(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        attention, gradients = kind.forward(self, x)
        return attention[:1].expand_as(attention), gradients

    return forward


def _moved_off_the_square(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, x: Tensor) -> Tensor:
        return kind.forward(self, x if x.shape[2] == x.shape[3] else x.roll(1, dims=3))

    return forward


def _remembers(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, image: Tensor) -> Tensor:
        seen = kind.forward(self, image).detach().numpy()
        return torch.tensor(self.__dict__.setdefault("_maps", {}).setdefault(image.shape, seen))

    return forward


# Level 4: every map is right, and part of the network cannot learn.


def _cut(kind: Any) -> Callable[..., Any]:
    return lambda self, x: kind.forward(self, x).detach()


def _cut_attention(kind: Any) -> Callable[..., Any]:
    def forward(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        attention, gradients = kind.forward(self, x)
        return attention.detach(), gradients

    return forward


def _cut_half_size(kind: Any) -> Callable[..., Any]:
    return lambda self, image: _encode(self, image, torch.no_grad()(self.backbone))


def _at(part: str, stages: tuple[int, ...], change: Callable[[Any], Callable[..., Any]], said: str) -> list[_Bug]:
    return [_Bug(f"decoder.stage{stage}.{part}", change, said) for stage in stages]


_BUGS: dict[int, list[_Bug]] = {
    1: [
        *_at("reconstruction.norm_in", _ALL, _other_eps, "its eps is 0.3 and not 1e-5, a number that no file holds."),
        *_at(
            "reconstruction.relu", _ALL, _leaky, "it is a leaky ReLU, which lets a fifth of negative numbers through."
        ),
        *_at("reconstruction.conv_out", _ALL, _other_border, "it repeats the border, where there should be zeros."),
    ],
    2: [
        *_at("reconstruction.aspp", _ALL, _pooled_in_front, "the pooled view comes first; it should come last."),
        *_at("inward", _ALL, _tiles_by_column, "its tiles go column by column; they should go row by row."),
        _Bug("encoder", _other_colours, "in the half-size image, red and blue have changed places."),
        _Bug("encoder", _other_context, "the context runs x3, x2, x1 in front of x4; it should run x1, x2, x3."),
    ],
    3: [
        *_at("outward", (3, 2), _first_of_the_batch, "all photos of a batch get the attention of the first one."),
        *_at("lateral", _DEEP, _moved_off_the_square, "a map that is not square moves to the right by a cell."),
        *_at("inward", _ALL, _remembers, "it keeps the first photo of each size, and gives it for all later ones."),
    ],
    4: [
        *_at("lateral", _DEEP, _cut, "its result is detached, so that no gradient goes through it."),
        *_at("inward", _ALL, _cut, "its result is detached, so that no gradient goes through it."),
        *_at("outward", _DEEP, _cut_attention, "the attention is detached, so that nothing learns what it should be."),
        _Bug(
            "encoder",
            _cut_half_size,
            "the half-size image goes through under no_grad: it teaches the backbone nothing.",
        ),
    ],
}
