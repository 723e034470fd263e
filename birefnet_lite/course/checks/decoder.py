"""Exercises on the decoder: a step up, and the loop over stages; `stages.py` has the stage, `blocks.py` the block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course.checks.calls import fitting, prepared, three
from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry
from birefnet_lite.network.decoder import Decoder
from birefnet_lite.network.resize import resize

__all__ = ["decode", "step_up"]

_ALIGN = "The resampling is bilinear, but with align_corners=False. BiRefNet aligns corners everywhere."
_TWICE = "Resize to the height and width that are asked for, not by a factor of 2."


@check("Right: enlarged with aligned corners, and the lateral map added, at odd sizes too.")
def step_up(answer: Callable[[Tensor, Tensor, nn.Module], Any]) -> None:
    """`step_up(x, lateral, conv)`: x enlarged to the lateral's height and width, plus conv(lateral)."""
    for batch, channels, beside, small, large in (
        (2, 4, 4, (4, 6), (8, 12)),
        (1, 5, 3, (3, 5), (7, 9)),
        (1, 4, 6, (1, 1), (2, 2)),
    ):
        x = torch.randn(batch, channels, *small, requires_grad=True)
        lateral = torch.randn(batch, beside, *large, requires_grad=True)
        conv = nn.Conv2d(beside, channels, 1)
        where = f"For x of {tuple(x.shape)} and a lateral of {tuple(lateral.shape)}"
        wanted = resize(x, large) + conv(lateral)
        got = fitting(partial(answer, x, lateral, conv), where, _TWICE)
        compare(got, wanted, where, 1e-5, _step_mistakes(x, lateral, conv))
        for source in (x, lateral):
            compare_gradient(got, wanted, source, where, 1e-4)
        compare_parameter_gradients(got, wanted, conv, conv, where, 1e-4)


def _step_mistakes(x: Tensor, lateral: Tensor, conv: nn.Module) -> dict[str, Tensor]:
    large = lateral.shape[-2:]
    up, side = resize(x, large), conv(lateral)
    both = "The two maps are concatenated. Here they are added: that is why conv brings them to one width."
    mistakes = {
        _ALIGN: F.interpolate(x, size=large, mode="bilinear", align_corners=False) + side,
        "x is enlarged by nearest neighbours. Use bilinear resampling.": F.interpolate(x, size=large) + side,
        "x is enlarged bicubically. Use bilinear resampling.": (
            F.interpolate(x, size=large, mode="bicubic", align_corners=True) + side
        ),
        "The lateral map is shrunk to x. It is the other way round: x is enlarged to the lateral map.": (
            x + resize(side, x.shape[-2:])
        ),
        both: torch.cat([up, side], dim=1),
        both + " And x would stand in front.": torch.cat([side, up], dim=1),
        "The lateral map is missing: this is only x, enlarged.": up,
        "x is missing: this is only the lateral map after its convolution.": side,
        "The two maps are multiplied. Add them.": up * side,
        "There is a ReLU behind conv. The lateral map is added as conv gives it.": up + F.relu(side),
        "There is a ReLU around the enlarged map.": F.relu(up) + side,
        "The result is halved: add the two, without a mean.": (up + side) / 2,
        "The lateral map is taken off. Add it.": up - side,
        "The sum has gone through a sigmoid.": (up + side).sigmoid(),
        "There is a ReLU around the sum. The next block may want negative numbers.": F.relu(up + side),
    }
    if x.shape[1] == lateral.shape[1]:
        mistakes |= {
            "The lateral map is added as it is. Send it through conv first.": up + lateral,
            "conv is applied to the sum. It belongs to the lateral map alone.": conv(up + lateral),
            "conv is applied to x. It belongs to the lateral map.": conv(up) + lateral,
        }
    return mistakes


@check("Right: four stages, three side outputs of each kind, and the image once more.", usual=("sigmoid",))
def decode(answer: Callable[[Decoder, Tensor, tuple[Tensor, ...]], Any]) -> None:
    """`decode(decoder, image, features)`: side logits, gradient logits and the logits of the whole decoder."""
    options: dict[str, Any] = {
        "image_inter_channels": 4,
        "inter_channels": 4,
        "aspp_channels": 3,
        "gradient_channels": 4,
    }
    for training, batch, height, width in ((False, 1, 32, 96), (True, 2, 64, 32)):
        decoder = prepared(Decoder((4, 6, 8, 10), (3, 3, 2, 2, 3), **options), training)
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        features = tuple(
            torch.randn(batch, channels, height // stride, width // stride, requires_grad=True)
            for channels, stride in ((4, 4), (6, 8), (8, 16), (10, 32))
        )
        where = f"{'In training' if training else 'After eval()'}, for an image of {height} x {width}"
        wanted = decoder(image, features)
        with _laterals_of_last(decoder) as given:
            got = fitting(partial(answer, decoder, image, features), where, _DECODER_SHAPES)
        sides, gradients, logits = three(got, where, "side_logits, gradient_logits, logits", tensor=2)
        mistakes = _decoder_mistakes(decoder, image, features)
        compare(logits, wanted.logits, f"{where}, for the logits", 1e-5, mistakes, _steps(decoder, image, features))
        if training and sides is gradients:
            raise Wrong(f"{where}, side_logits and gradient_logits are the same list: `a = b = []` makes only one.")
        _refuse_swapped(sides, gradients, wanted, where)
        for name, ours, theirs in (
            ("side_logits", sides, wanted.side_logits),
            ("gradient_logits", gradients, wanted.gradient_logits),
        ):
            _compare_sides(ours, theirs, f"{where}, for {name}")
        if any(lateral is not None for lateral in given):
            raise Wrong(f"{where}, the last stage, stage 1, is given a lateral map. It has none: give it None.")
        if training and len(given) > 1:
            raise Wrong(f"{where}, stage 1 runs {len(given)} times in one call. Call each stage once.")
        for source in (image, *features):
            compare_gradient(logits, wanted.logits, source, where, 1e-3)
        compare_parameter_gradients(logits, wanted.logits, decoder, decoder, where, 1e-3)
        for ours, theirs in zip((*sides, *gradients), (*wanted.side_logits, *wanted.gradient_logits), strict=True):
            compare_gradient(ours, theirs, features[3], f"{where}, for the side outputs", 1e-3)


def _steps(decoder: Any, image: Tensor, features: tuple[Tensor, ...]) -> tuple[Retry, ...]:
    """Return the decoder as a function of what its stages and its head read, to try changed maps and images."""
    given = dict(zip(("x1", "x2", "x3", "the squeezed map"), features, strict=True))

    def climb(change: Any = None, **maps: Tensor) -> Tensor:
        x1, x2, x3, x = maps["x1"], maps["x2"], maps["x3"], maps["the squeezed map"]
        seen = maps["the image that stages see"]
        for stage, lateral in zip(decoder.stages, (x3, x2, x1, None), strict=True):
            x = stage(x, seen, lateral).features
            x = x if change is None else change(x)
        return decoder.head(torch.cat([x, decoder.image_branch(maps["the image in front of the head"])], dim=1))

    images = {"the image that stages see": image, "the image in front of the head": image}

    def scaled(**factor: Tensor) -> Tensor:
        (times,) = factor.values()
        return climb(lambda x: x * times, **given, **images)

    return (
        Retry(climb, given | images),
        Retry(scaled, {"the map that each stage hands on": torch.ones(1)}),
    )


@contextmanager
def _laterals_of_last(decoder: Any) -> Iterator[list[Any]]:
    """Collect the lateral maps that the last stage is called with."""
    given: list[Any] = []

    def note(_stage: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        given.append(named.get("lateral", arguments[2] if len(arguments) > 2 else None))

    handle = decoder.stages[-1].register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield given
    finally:
        handle.remove()


_DECODER_SHAPES = (
    "The squeezed map is the last of the features, and goes into stage 4. Stage 4 adds x3, stage 3 adds x2, stage 2 "
    "adds x1, stage 1 gets None. The head reads the last map and, behind it, decoder.image_branch(image)."
)


@torch.no_grad()
def _decoder_mistakes(decoder: Any, image: Tensor, features: tuple[Tensor, ...]) -> dict[str, Tensor]:
    def climb(laterals: tuple[Tensor | None, ...], seen: Tensor) -> Tensor:
        x = features[3]
        for stage, lateral in zip(decoder.stages, laterals, strict=True):
            x = stage(x, seen, lateral).features
        return x

    x1, x2, x3, _ = features
    full, blind = (x3, x2, x1, None), torch.zeros_like(image)
    through_relu = features[3]
    for stage, lateral in zip(decoder.stages, full, strict=True):
        through_relu = stage(through_relu, image, lateral).features.relu()
    x, seen = climb(full, image), decoder.image_branch(image)
    return {
        "The network gives logits; leave the sigmoid to whoever uses them.": (
            decoder.head(torch.cat([x, seen], dim=1)).sigmoid()
        ),
        "The head reads the image's channels first. The map of the last stage should stand in front.": (
            decoder.head(torch.cat([seen, x], dim=1))
        ),
        "The head gets the image as it is. decoder.image_branch(image) gives the map that belongs behind x.": (
            decoder.head(torch.cat([x, image], dim=1))
        ),
        "There is a ReLU behind each stage. Hand on its map as it is.": (
            decoder.head(torch.cat([through_relu, decoder.image_branch(image)], dim=1))
        ),
        "The image's map is zeros in front of the head.": decoder.head(torch.cat([x, torch.zeros_like(seen)], dim=1)),
        "The laterals are zeros. Stage 4 adds x3, stage 3 adds x2, stage 2 adds x1.": decoder.head(
            torch.cat([climb((*(torch.zeros_like(y) for y in full[:3]), None), image), seen], dim=1)
        ),
        "The stages should see the image itself.": decoder.head(torch.cat([climb(full, blind), seen], dim=1)),
    }


def _refuse_swapped(sides: Any, gradients: Any, wanted: Any, where: str) -> None:
    for ours, theirs in ((sides, wanted.gradient_logits), (gradients, wanted.side_logits)):
        maps = [x for x in ours if isinstance(x, Tensor)] if isinstance(ours, tuple | list) else []
        if maps and len(maps) == len(theirs) and all(map(torch.equal, maps, theirs)):
            raise Wrong(f"{where}, side_logits and gradient_logits are swapped: the side logits come first.")


def _compare_sides(ours: Any, theirs: tuple[Tensor, ...], where: str) -> None:
    if not isinstance(ours, tuple | list):
        raise Wrong(f"{where}, there should be a tuple or a list of maps, not {type(ours).__name__}.")
    if any(side is None for side in ours):
        raise Wrong(f"{where}, there is a None among the maps. Leave out what a stage does not give.")
    if len(ours) != len(theirs):
        raise Wrong(f"{where}, there should be {len(theirs)} maps, not {len(ours)}.")
    for number, one, wanted in zip((4, 3, 2), ours, theirs, strict=False):
        order = "The maps run from the finest to the deepest. They should run as the stages do: 4, 3, 2."
        if isinstance(one, Tensor) and one.ndim == 4 and one.shape[1] != 1:
            raise Wrong(f"{where} of stage {number}, the map has {one.shape[1]} channels: are these its features?")
        compare(one, wanted, f"{where} of stage {number}", 1e-5, {order: theirs[2 - (4 - number)]})
