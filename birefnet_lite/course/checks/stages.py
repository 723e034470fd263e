"""Exercises of notebook 05: a stage of the decoder in three steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course import skeleton
from birefnet_lite.course.checks.calls import fitting, prepared, three
from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.decoder import DecoderStage
from birefnet_lite.network.resize import resize

__all__ = ["reconstruct", "run_stage", "weigh"]

_ALIGN = "The resampling is bilinear, but with align_corners=False. BiRefNet aligns corners everywhere."
_LOGITS = "These should be logits; leave the sigmoid out."
_AFTER = "The side head should read the block's result as it is, before the attention."
_OPTIONS: dict[str, Any] = {"image_channels": 3, "image_inter_channels": 4, "inter_channels": 4, "aspp_channels": 3}


def _stage(last: bool, training: bool) -> DecoderStage:
    heads: dict[str, Any] = {"supervised": not last, "outward_reference": not last, "gradient_channels": 4}
    return prepared(DecoderStage(5, 6, 0 if last else 7, grid=8, **_OPTIONS, **heads), training)


def _name(last: bool, training: bool) -> str:
    return f"For {'the last' if last else 'a middle'} stage {'in training' if training else 'after eval()'}"


@check("Right: the image's map stands behind x, and the block sees both.", usual=("sigmoid",))
def reconstruct(answer: Callable[[DecoderStage, Tensor, Tensor], Any]) -> None:
    """`reconstruct(stage, x, image)`: x with the image's map behind it, through the stage's block."""
    for last, training, batch in ((False, False, 2), (True, False, 1), (False, True, 2)):
        stage = _stage(last, training)
        x = torch.randn(batch, 5, 3, 4, requires_grad=True)
        image = torch.randn(batch, 3, 24, 32, requires_grad=True)
        where = _name(last, training)
        wanted = skeleton.reconstruct_in_stage(stage, x, image)
        advice = "stage.inward(image) has x's height and width; concatenate it to x along the channels, axis 1."
        got = fitting(partial(answer, stage, x, image), where, advice)
        compare(got, wanted, where, 1e-5, _look_mistakes(stage, x, image, wanted))
        for source in (x, image):
            compare_gradient(got, wanted, source, where, 1e-5)
        compare_parameter_gradients(got, wanted, stage, stage, where, 1e-3)


@torch.no_grad()
def _look_mistakes(stage: Any, x: Tensor, image: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    seen = stage.inward(image)
    mistakes = {
        "The image's channels stand in front of x. It is the other way round: x first.": (
            stage.reconstruction(torch.cat([seen, x], dim=1))
        ),
        "The block has not been run: this is what should go into stage.reconstruction.": torch.cat([x, seen], dim=1),
        "The image's map is zeros. The stage should see the image.": (
            stage.reconstruction(torch.cat([x, torch.zeros_like(seen)], dim=1))
        ),
        "The image is only resized. stage.inward(image) gives the map that belongs behind x.": (
            stage.reconstruction(torch.cat([x, resize(image, x.shape[-2:])], dim=1))
        ),
        "There is a ReLU at the end. The block's result is handed on as it is.": wanted.relu(),
        "This is the image's map alone, without x.": seen,
    }
    if stage.outward is not None:
        attention, _ = stage.outward(wanted)
        mistakes["The attention is applied already. That is the next step."] = wanted * attention
        mistakes["This is what the side head says. The step should give the block's result."] = stage.side_head(wanted)
    return mistakes


@check("Right: the attention always acts, and the side logits are read before it.", usual=("sigmoid",))
def weigh(answer: Callable[[DecoderStage, Tensor], Any]) -> None:
    """`weigh(stage, r)`: the block's result times the attention, side logits and gradient logits."""
    for last, training, batch in ((False, False, 2), (False, True, 2), (True, False, 1), (True, True, 2)):
        stage = _stage(last, training)
        r = torch.randn(batch, 6, 3, 4, requires_grad=True)
        where = _name(last, training)
        wanted = skeleton.weigh_in_stage(stage, r)
        got = fitting(partial(answer, stage, r), where, "stage.outward(r) gives two maps of one channel.")
        weighed, *maps = three(got, where, "the weighed map, side_logits, gradient_logits", tensor=0)
        compare(weighed, wanted[0], where, 1e-5, {} if last else _weigh_mistakes(stage, r))
        known = ({}, {}) if last else _map_mistakes(stage, r)
        _compare_maps(maps, wanted[1:], known, where, r)
        if last:
            continue  # nothing was computed from r, so there are no gradients to compare
        compare_gradient(weighed, wanted[0], r, where, 1e-3)
        compare_parameter_gradients(weighed, wanted[0], stage, stage, where, 1e-3)


def _compare_maps(maps: Any, wanted: Any, known: Any, where: str, source: Tensor) -> None:
    """Side logits and gradient logits: both there in training, and None otherwise."""
    for name, ours, theirs, mistakes in zip(("side_logits", "gradient_logits"), maps, wanted, known, strict=True):
        if (ours is None) != (theirs is None):
            raise Wrong(
                f"{where}, {name} should be {'None' if theirs is None else 'a map and not None'}: "
                "the side heads answer in training only, as `stage.training` says."
            )
        if theirs is not None:
            compare(ours, theirs, f"{where}, for {name}", 1e-5, mistakes)
            compare_gradient(ours, theirs, source, f"{where}, for {name}", 1e-3)


@torch.no_grad()
def _weigh_mistakes(stage: Any, r: Tensor) -> dict[str, Tensor]:
    attention, gradient = stage.outward(r)
    return {
        "The features are not weighed by the attention. It belongs to the network in training and in use.": r,
        "The features are multiplied by the gradient logits. stage.outward gives the attention first.": r * gradient,
        "The features are multiplied by the sigmoid of the gradient logits. stage.outward gives the attention first.": (
            r * gradient.sigmoid()
        ),
        "The attention has been through a sigmoid already.": r * attention.sigmoid(),
        "The attention is added. Multiply by it.": r + attention,
        "The features are multiplied by 1 minus the attention.": r * (1 - attention),
        "The weighed features are added to those before. The attention replaces them.": r + r * attention,
        "The attention is applied twice.": r * attention * attention,
        "The attention has one number for each cell. You take their mean.": (
            r * attention.mean(dim=(1, 2, 3), keepdim=True)
        ),
        "The attention has one number for each cell. You take the mean of them all.": r * attention.mean(),
        "This is the attention alone. Multiply r by it.": attention,
    }


@torch.no_grad()
def _map_mistakes(stage: Any, r: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    attention, gradient = stage.outward(r)
    side = stage.side_head(r)
    return (
        {_AFTER: stage.side_head(r * attention), _LOGITS: side.sigmoid(), _SWAPPED[0]: gradient},
        {
            _LOGITS: gradient.sigmoid(),
            "This is the attention. The gradient logits are what stage.outward gives second.": attention,
            "The gradient logits are read from the weighed features. Both maps come from stage.outward(r).": (
                stage.outward(r * attention)[1]
            ),
            _SWAPPED[1]: side,
        },
    )


_SWAPPED = ("The two are swapped: these are the gradient logits.", "The two are swapped: these are the side logits.")


@check("Right, in training and in use, with a lateral map and without.", usual=("sigmoid",))
def run_stage(answer: Callable[[DecoderStage, Tensor, Tensor, Tensor | None], Any]) -> None:
    """`run_stage(stage, x, image, lateral)`: features, side logits and gradient logits of one stage."""
    for last, training, batch in ((False, False, 2), (False, True, 2), (True, False, 1)):
        stage = _stage(last, training)
        x = torch.randn(batch, 5, 3, 4, requires_grad=True)
        image = torch.randn(batch, 3, 24, 32, requires_grad=True)
        lateral = None if last else torch.randn(batch, 7, 5, 8, requires_grad=True)
        where = _name(last, training)
        wanted = stage(x, image, lateral)
        _forbid_forward(stage)
        got = fitting(partial(answer, stage, x, image, lateral), where, _STAGE_SHAPES)
        features, *maps = three(got, where, "the features, side_logits, gradient_logits", tensor=0)
        mistakes, side_mistakes, gradient_mistakes = _stage_mistakes(stage, x, image, lateral)
        compare(features, wanted.features, where, 1e-5, mistakes)
        _compare_maps(maps, wanted[1:], (side_mistakes, gradient_mistakes), where, x)
        for source in (x, image) if lateral is None else (x, image, lateral):
            compare_gradient(features, wanted.features, source, where, 1e-5)
        compare_parameter_gradients(features, wanted.features, stage, stage, where, 1e-3)


def _forbid_forward(stage: nn.Module) -> None:
    """In the notebook, the stage's forward pass is the learner's answer, which would call itself."""

    def forward(*arguments: Any, **named: Any) -> None:
        raise Wrong("You call the stage itself. That is what you write here: call its parts, one after the other.")

    stage.forward = forward


_STAGE_SHAPES = (
    "In front of the block, stage.inward(image) is concatenated to x. In the end, the map is resized to the lateral's "
    "height and width, or to the image's where there is no lateral."
)


@torch.no_grad()
def _stage_mistakes(
    stage: Any, x: Tensor, image: Tensor, lateral: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    seen = stage.inward(image)
    block = stage.reconstruction(torch.cat([x, seen], dim=1))
    swapped = stage.reconstruction(torch.cat([seen, x], dim=1))
    order = "The image's channels stand in front of x. It is the other way round: x first."
    if stage.outward is None:
        size = image.shape[-2:]
        return (
            {
                order: resize(swapped, size),
                _ALIGN: F.interpolate(block, size=size, mode="bilinear", align_corners=False),
                "The last stage should end at the image's size.": block,
            },
            {},
            {},
        )
    attention, gradient = stage.outward(block)
    size, beside = lateral.shape[-2:], stage.lateral(lateral)
    weighed, large = block * attention, resize(block, size)
    features = {
        "The lateral map is added before the enlargement, and loses its detail. Enlarge first, then add.": (
            resize(weighed + resize(beside, x.shape[-2:]), size)
        ),
        "The two maps are multiplied. Add the lateral map.": resize(weighed, size) * beside,
        "The features are weighed twice.": resize(weighed * stage.outward(weighed)[0], size) + beside,
        order: resize(swapped * stage.outward(swapped)[0], size) + beside,
        "The features are not weighed by the attention. It belongs to the network in training and in use.": (
            resize(block, size) + beside
        ),
        "The features are multiplied by the gradient logits. stage.outward gives the attention first.": (
            resize(block * gradient, size) + beside
        ),
        "The attention has been through a sigmoid already.": resize(block * attention.sigmoid(), size) + beside,
        "The attention is added. Multiply by it.": resize(block + attention, size) + beside,
        "The attention is applied after the step up, to the lateral map too. Multiply by it first.": (
            (resize(block, size) + beside) * resize(attention, size)
        ),
        "The attention is applied after the enlargement. Multiply the block's result by it first, then enlarge.": (
            resize(block, size) * resize(attention, size) + beside
        ),
        "The outward reference reads the enlarged map. Weigh first, then enlarge.": (
            large * stage.outward(large)[0] + beside
        ),
        "The outward reference reads the sum with the lateral map. Weigh the block's result, before it is enlarged.": (
            (large + beside) * stage.outward(large + beside)[0]
        ),
        "The attention multiplies everything: the sum with the lateral map, enlarged.": (
            resize(block * attention, size) + beside * resize(attention, size)
        ),
        "The features are multiplied by 1 minus the attention.": resize(block * (1 - attention), size) + beside,
        "The lateral map should go through stage.lateral, and then be added.": (
            resize(block * attention, size) + lateral if lateral.shape == beside.shape else beside
        ),
        "The block is not run again after the image is seen: x goes on as it came.": beside,
        "The map is enlarged by nearest neighbours. Use bilinear resampling.": (
            F.interpolate(block * attention, size=size) + beside
        ),
        "The weighed features are added to those before. The attention replaces them.": (
            resize(block + block * attention, size) + beside
        ),
        "The lateral map is missing.": resize(block * attention, size),
        "Only the last stage ends at the image's size. The others end at the lateral map's, and add it.": (
            resize(block * attention, image.shape[-2:])
        ),
        _ALIGN: F.interpolate(block * attention, size=size, mode="bilinear", align_corners=False) + beside,
    }
    side, gradients = _map_mistakes(stage, block)
    side["The side head reads the map after the step up. It belongs right behind the block."] = stage.side_head(
        resize(block * attention, size) + beside
    )
    return features, side, gradients
