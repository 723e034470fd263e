"""Exercises of notebook 01: the shapes of the encoder's maps, and the wiring of the whole."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course import skeleton
from birefnet_lite.course.checks.result import Wrong, check, compare, compare_gradient
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
            got = [tuple(int(side) for side in shape) for shape in got]
        except TypeError:
            raise Wrong(f"{where}, the result should be four triples (C, H, W), not {got!r}.") from None
        wanted = skeleton.encoder_shapes(channels, height, width)
        if got == wanted:
            continue
        for sentence, mistake in _shape_mistakes(channels, height, width, wanted).items():
            if got == mistake:
                raise Wrong(f"{where}: {sentence}")
        if len(got) != 4:
            raise Wrong(f"{where}, there should be four shapes, not {len(got)}.")
        level = next(i for i in range(4) if got[i] != wanted[i])
        raise Wrong(f"{where}, x{level + 1} should be {wanted[level]}, not {got[level]}.")


def _shape_mistakes(
    channels: tuple[int, ...], height: int, width: int, wanted: list[tuple[int, ...]]
) -> dict[str, list[tuple[int, ...]]]:
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
        "x4 lacks its context: x1, x2 and x3, shrunk to it, are concatenated in front of it.": with_widths(double),
        "the context counts single widths; the maps have been doubled before they join x4.": with_widths(half_context),
        "height and width are the wrong way round: a shape is (C, H, W).": [(c, w, h) for c, h, w in wanted],
        "the context joins x4 only; x2 and x3 stay as they are.": with_widths(everywhere),
    }


@check("Right: every part gets what it needs, and gradients flow back to the image.")
def wire(answer: Callable[[Parts, Tensor], Any]) -> None:
    """`wire(parts, image)`: the forward of the whole network, from its parts to the logits."""
    for batch, height, width in ((2, 64, 96), (1, 96, 32)):
        parts = dummy_parts((8, 16, 24, 32), seed=height)
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        where = f"For an image of {tuple(image.shape)}"
        wanted = skeleton.wire(parts, image)
        got = _run(answer, parts, image, where)
        compare(got, wanted, where, 1e-6, _wire_mistakes(parts, image, wanted))
        compare_gradient(got, wanted, image, where, 1e-4)


def _run(answer: Callable[[Parts, Tensor], Any], parts: Parts, image: Tensor, where: str) -> Any:
    """The learner's result; a clash of shapes inside almost always means laterals in the wrong order."""
    try:
        return answer(parts, image)
    except (RuntimeError, ValueError) as error:
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
        "The network gives logits; leave the sigmoid to whoever uses them.": wanted.sigmoid(),
        "The head should see the image too, and not zeros.": parts.head(run(squeezed, image, full), blind),
        "The stages should see the image: it is their inward reference.": parts.head(run(squeezed, blind, full), image),
        "The stages get no laterals, or zeros. Stage 4 adds x3, stage 3 adds x2, stage 2 adds x1.": parts.head(
            run(squeezed, image, tuple(None if x is None else torch.zeros_like(x) for x in full)), image
        ),
    }
