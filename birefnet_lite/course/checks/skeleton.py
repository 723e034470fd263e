"""Exercises of notebook 01: the shapes of the encoder's maps, and the wiring of the whole."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course import skeleton
from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.course.skeleton import Parts, dummy_parts

__all__ = ["encoder_shapes", "wire"]


@check("Right, also for widths and sizes that you have not seen.")
def encoder_shapes(answer: Callable[[tuple[int, ...], int, int], Any]) -> None:
    """`encoder_shapes(channels, height, width)`: the shapes (C, H, W) of x1 to x4 as the encoder hands them on."""
    for channels, height, width in (
        ((96, 192, 384, 768), 256, 384),
        ((10, 20, 30, 50), 64, 32),
        ((7, 5, 3, 2), 1024, 96),
    ):
        where = f"For channels={channels}, height={height}, width={width}"
        got = answer(channels, height, width)
        try:
            found = [tuple(shape) for shape in got]
            got = [tuple(int(side) for side in shape) for shape in found]
        except (TypeError, ValueError):
            raise Wrong(f"{where}, the result should be four triples (C, H, W), not {got!r}.") from None
        if any(isinstance(side, float) for shape in found for side in shape):
            raise Wrong(f"{where}, the result has floats, {found[0]!r}. Shapes are whole numbers: divide by `//`.")
        wanted = skeleton.encoder_shapes(channels, height, width)
        if got == wanted:
            continue
        for sentence, mistake in _shape_mistakes(channels, height, width, wanted).items():
            if got == mistake:
                level = next(i for i in range(4) if mistake[i] != wanted[i])
                raise Wrong(f"{where}: {sentence} x{level + 1} should be {wanted[level]}, not {got[level]}.")
        if len(got) != 4:
            raise Wrong(f"{where}, there should be four shapes, not {len(got)}.")
        level = next(i for i in range(4) if got[i] != wanted[i])
        if [shape[0] for shape in got] == [shape[0] for shape in answer((11, 13, 17, 19), height, width)]:
            raise Wrong(f"{where}: your channels are the same for every backbone. Compute them from `channels`.")
        raise Wrong(f"{where}, x{level + 1} should be {wanted[level]}, not {got[level]}.")


def _shape_mistakes(
    channels: tuple[int, ...], height: int, width: int, wanted: Sequence[tuple[int, ...]]
) -> dict[str, Sequence[tuple[int, ...]]]:
    grids = [shape[1:] for shape in wanted]

    def with_widths(widths: list[int]) -> list[tuple[int, ...]]:
        return [(c, *grid) for c, grid in zip(widths, grids, strict=True)]

    single, double = list(channels), [2 * c for c in channels]
    half_context = [*double[:3], double[3] + sum(single[:3])]
    everywhere = [sum(double[: level + 1]) for level in range(4)]
    return {
        "these are the channels of one pass. The encoder runs on the photo and on its half, and concatenates.": (
            with_widths(single)
        ),
        "these are the channels of one pass, with its context. The encoder runs on the photo and on its half, and "
        "concatenates.": with_widths([*single[:3], sum(single)]),
        "the channels of x4 are doubled twice: the maps have been doubled before they join it.": (
            with_widths([*double[:3], 2 * sum(double)])
        ),
        "a shape is (C, H, W), without the batch.": [(1, *shape) for shape in wanted],
        "x4 lacks its context: x1, x2 and x3, shrunk to it, are concatenated in front of it.": with_widths(double),
        "the context counts single widths; the maps have been doubled before they join x4.": with_widths(half_context),
        "height and width are the wrong way round: a shape is (C, H, W).": [(c, w, h) for c, h, w in wanted],
        "the context joins x4 only; x2 and x3 stay as they are.": with_widths(everywhere),
        "x4 counts the context alone. Its own channels, of both passes, come behind it.": (
            with_widths([*double[:3], sum(double[:3])])
        ),
        "x4 counts one pass of its own channels. The encoder runs twice there, too.": (
            with_widths([*double[:3], sum(double[:3]) + single[3]])
        ),
        "the strides are 4, 8, 16 and 32, not 2, 4, 8 and 16.": [
            (c, height // s, width // s) for (c, _, _), s in zip(wanted, (2, 4, 8, 16), strict=True)
        ],
        "the strides are 4, 8, 16 and 32, not 1, 2, 4 and 8.": [
            (c, height // s, width // s) for (c, _, _), s in zip(wanted, (1, 2, 4, 8), strict=True)
        ],
        "the maps run from the coarsest to the finest. Give x1 first.": wanted[::-1],
        "the channels come last. A shape is (C, H, W).": [(h, w, c) for c, h, w in wanted],
    }


@check("Right: every part gets what it needs, and gradients flow back to the image.", usual=("tanh",))
def wire(answer: Callable[[Parts, Tensor], Any]) -> None:
    """`wire(parts, image)`: the forward of the whole network, from its parts to the logits."""
    for batch, height, width in ((2, 64, 96), (1, 96, 32)):
        parts = dummy_parts((8, 16, 24, 32), seed=height)
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        where = f"For an image of {tuple(image.shape)}"
        wanted = skeleton.wire(parts, image)
        got, faults = _run(answer, parts, image, where)
        try:
            compare(got, wanted, where, 1e-5, _wire_mistakes(parts, image, wanted))
        except Unclear as unclear:
            if faults:
                raise Wrong(f"{where}: {faults[0]}") from unclear
            raise
        compare_gradient(got, wanted, image, where, 1e-4)


class _Wiring:
    """Parts that note how they are called, so that a wrong order can be named."""

    def __init__(self, parts: Parts, image: Tensor) -> None:
        self._parts, self._image = parts, image
        self._maps: tuple[Tensor, ...] = ()
        self._squeezed: Tensor | None = None
        self._called: list[int] = []
        self._latest: Tensor | None = None  # what the squeeze module or the last stage has given
        self.faults: list[str] = []

    def watched(self) -> Parts:
        """The same parts, which note each call."""
        stages = tuple(
            self._stage(number, stage) for number, stage in zip((4, 3, 2, 1), self._parts.stages, strict=True)
        )
        return Parts(self._encoder, self._squeeze, stages, self._head)  # type: ignore[arg-type]

    def _encoder(self, image: Tensor) -> tuple[Tensor, ...]:
        if image is not self._image:
            self._fault("The encoder should get the image as it is.")
        self._maps, self._squeezed, self._called, self._latest = self._parts.encoder(image), None, [], None
        return self._maps

    def _squeeze(self, x: Tensor) -> Tensor:
        if self._maps and x is not self._maps[3]:
            self._fault("The squeeze module takes x4, the deepest map.")
        self._squeezed = self._latest = self._parts.squeeze(x)
        return self._squeezed

    def _stage(self, number: int, stage: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, image: Tensor, lateral: Tensor | None) -> Tensor:
            self._look(number, x, lateral)
            if image is not self._image:
                self._fault(f"Stage {number} should get the image as it is, as its second argument.")
            self._latest = stage(x, image, lateral)
            return self._latest

        call.__qualname__ = "stage"  # an error of a call with other arguments begins with this name
        return call

    def _look(self, number: int, x: Tensor, lateral: Tensor | None) -> None:
        expected = 4 - len(self._called)
        self._called.append(number)
        if number != expected:
            self._fault(f"Stage {number} runs where stage {expected} should: parts.stages holds 4, 3, 2, 1 in order.")
        elif number == 4 and self._squeezed is None:
            self._fault("Does the squeezed map go into stage 4? parts.squeeze has not been called before it.")
        elif number == 4 and x is not self._squeezed:
            self._fault("Stage 4 should get the squeezed map: does the squeezed map go into stage 4?")
        elif number < 4 and x is self._squeezed:
            self._fault(f"Stage {number} gets the squeezed map again. It should get what stage {number + 1} gives.")
        elif number < 4 and x is not self._latest:
            self._fault(
                f"Stage {number} should get what stage {number + 1} gives, as it is. The stage adds the lateral."
            )
        given = next((i + 1 for i, known in enumerate(self._maps) if lateral is known), None)
        wanted = {4: 3, 3: 2, 2: 1, 1: None}.get(number)
        if given is not None and given != wanted:
            right = "stage 1 adds nothing" if wanted is None else f"stage {number} adds x{wanted}"
            self._fault(f"Stage {number} is given x{given} as its lateral; {right}. (Stage 4 adds x3, 3 x2, 2 x1.)")

    def _head(self, x: Tensor, image: Tensor) -> Tensor:
        if len(self._called) < 4:
            missing = ", ".join(str(n) for n in (4, 3, 2, 1) if n not in self._called)
            self._fault(f"The head runs before every stage has: stage {missing} is missing. Is stage 1 left out?")
        elif x is not self._latest:
            self._fault("The head should get what stage 1 gives.")
        if image is not self._image:
            self._fault("The head should get the image as it is, as its second argument.")
        return self._parts.head(x, image)

    def _fault(self, sentence: str) -> None:
        if sentence not in self.faults:
            self.faults.append(sentence)


def _run(answer: Callable[[Parts, Tensor], Any], parts: Parts, image: Tensor, where: str) -> tuple[Any, list[str]]:
    """The learner's result, and what is wrong with the order of calls."""
    wiring = _Wiring(parts, image)
    try:
        return answer(wiring.watched(), image), wiring.faults
    except NotImplementedError:
        raise
    except (RuntimeError, ValueError) as error:
        if wiring.faults:
            raise Wrong(f"{where}: {wiring.faults[0]}\n{error}") from error
        if "size" not in str(error) and "shape" not in str(error):
            raise
        raise Wrong(
            f"{where}, shapes do not fit somewhere inside: {error}\nStage 4 adds x3, stage 3 adds x2, stage 2 adds x1, "
            "stage 1 adds nothing. Does the squeezed map go into stage 4?"
        ) from error


def _wire_mistakes(parts: Parts, image: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    x1, x2, x3, x4 = parts.encoder(image)
    blind = torch.zeros_like(image)

    def run(x: Tensor, seen: Tensor, laterals: tuple[Tensor | None, ...]) -> Tensor:
        for stage, lateral in zip(parts.stages, laterals, strict=True):
            x = stage(x, seen, lateral)
        return x

    full = (x3, x2, x1, None)
    squeezed = parts.squeeze(x4)
    return {
        "This is what stage 1 gives. Call parts.head with it and with the image.": run(squeezed, image, full),
        "The network gives logits; leave the sigmoid to whoever uses them.": wanted.sigmoid(),
        "The sigmoid is applied twice, and should not be applied at all: the network gives logits.": (
            wanted.sigmoid().sigmoid()
        ),
        "The stages should see the image as it is, and not its half or its sigmoid.": parts.head(
            run(squeezed, image.sigmoid(), full), image
        ),
        "The head should see the image too, and not zeros.": parts.head(run(squeezed, image, full), blind),
        "The stages should see the image: it is their inward reference.": parts.head(run(squeezed, blind, full), image),
        "The stages get no laterals, or zeros. Stage 4 adds x3, stage 3 adds x2, stage 2 adds x1.": parts.head(
            run(squeezed, image, tuple(None if x is None else torch.zeros_like(x) for x in full)), image
        ),
    }
