"""The checks of notebook 05: each accepts the solution, and tells typical wrong answers what is wrong with them."""

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer
from torch import nn

from birefnet_lite.course import checks
from birefnet_lite.network.aspp import ASPP, DeformableASPP, batch_norm_or_identity
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.decoder import Decoder, DecoderStage


def resized(x, size, align=True, mode="bilinear"):
    return F.interpolate(x, size=tuple(size), mode=mode, align_corners=align)


def stepped(x, lateral, conv):
    return resized(x, lateral.shape[-2:]) + conv(lateral)


class Block(nn.Module):
    """The solution, with a switch for each thing that can go wrong."""

    wrong = ""

    def __init__(self, in_channels, out_channels, inter_channels=64, aspp_channels=256, batch_norm=True):
        super().__init__()
        wrong = self.wrong
        inner = 64 if wrong == "fixed width" else inter_channels
        options = {"padding": 0 if wrong == "padding" else 1, "bias": wrong != "bias"}
        kernel = 3
        if wrong == "kernel":
            kernel, options["padding"] = 1, 0
        self.conv_in = nn.Conv2d(in_channels, inner, kernel, **options)
        norm = nn.BatchNorm2d if wrong == "always norm" else lambda c: batch_norm_or_identity(c, batch_norm)
        self.norm_in = norm(inner)
        kind = ASPP if wrong == "plain" else DeformableASPP
        named = {"batch_norm": True if wrong in ("always norm", "aspp norm") else batch_norm, "channels": aspp_channels}
        self.aspp = kind(inner, aspp_channels) if wrong == "aspp width" else kind(inner, **named)
        name = "widen" if wrong == "name" else "conv_out"
        setattr(self, name, nn.Conv2d(inner, out_channels, kernel, **options))
        self.norm_out = norm(out_channels)

    def forward(self, x):
        wrong = self.wrong
        if wrong == "statistics":
            self.norm_in.train(), self.norm_out.train()
        if wrong == "relu first":
            y = self.norm_in(F.relu(self.conv_in(x)))
        elif wrong == "no norm":
            y = F.relu(self.conv_in(x))
        else:
            act = {"no relu": lambda t: t, "gelu": F.gelu, "leaky": F.leaky_relu}.get(wrong, F.relu)
            y = act(self.norm_in(self.conv_in(x)))
        y = y if wrong == "no aspp" else self.aspp(y)
        y = self.conv_out(y)
        y = y if wrong == "no last norm" else self.norm_out(y)
        if wrong == "detach":
            y = y.detach()
        if wrong == "skip" and x.shape == y.shape:
            y = y + x
        return F.relu(y) if wrong == "relu last" else y


def block(wrong):
    return type("ReconstructionBlock", (Block,), {"wrong": wrong})


def staged(stage, x, image, lateral, wrong=""):
    seen = stage.inward(image)
    x = stage.reconstruction(torch.cat([seen, x] if wrong == "order" else [x, seen], dim=1))
    side = gradient = None
    if stage.side_head is not None and (stage.training or wrong == "always"):
        side = stage.side_head(x)
    if stage.outward is not None:
        attention, gradient = stage.outward(x)
        if wrong == "second":
            attention = gradient
        if wrong == "twice":
            attention = attention.sigmoid()
        if wrong not in ("no attention", "late") and (wrong != "training only" or stage.training):
            x = x + attention if wrong == "plus" else x * attention
        if wrong == "side late" and side is not None:
            side = stage.side_head(x)
        if not stage.training:
            gradient = None
    if stage.lateral is None:
        return (x if wrong == "no end" else resized(x, image.shape[-2:])), side, gradient
    x = resized(x, lateral.shape[-2:], align=wrong != "align")
    if wrong != "no lateral":
        x = x + stage.lateral(lateral)
    if wrong == "late":
        x = x * resized(attention, x.shape[-2:])
    if wrong == "sigmoid" and side is not None:
        side = side.sigmoid()
    if wrong == "gradient" and gradient is not None:
        gradient = attention
    return x, side, gradient


def decoded(decoder, image, features, wrong=""):
    *finer, x = features
    sides, gradients = [], []
    laterals = [*(finer if wrong == "up" else finer[::-1]), finer[0] if wrong == "last" else None]
    seen = torch.zeros_like(image) if wrong == "blind" else image
    for stage, lateral in zip(decoder.stages, laterals, strict=True):
        x, side, gradient = stage(
            x, seen, torch.zeros_like(lateral) if wrong == "zeros" and lateral is not None else lateral
        )
        if side is not None or wrong == "nones":
            sides.append(side)
        if gradient is not None:
            gradients.append(gradient)
    both = [x, decoder.image_branch(image)]
    if wrong == "no image":
        return sides, gradients, decoder.head(x)
    logits = decoder.head(torch.cat(both[::-1] if wrong == "order" else both, dim=1))
    if wrong == "sigmoid":
        logits = logits.sigmoid()
    if wrong == "reversed":
        sides = sides[::-1]
    return logits if wrong == "logits" else (sides, gradients, logits)


def as_stage(wrong):
    return lambda *a: staged(*a, wrong=wrong)


def as_decoder(wrong):
    return lambda *a: decoded(*a, wrong=wrong)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.step_up, stepped),
        (checks.reconstruction_block, Block),
        (checks.reconstruction_block, BasicBlock),
        (checks.run_stage, staged),
        (checks.run_stage, DecoderStage.forward),
        (checks.decode, decoded),
        (checks.decode, Decoder.forward),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, y, c: resized(x, y.shape[-2:], align=False) + c(y), "align_corners"),
        (lambda x, y, c: F.interpolate(x, size=y.shape[-2:]) + c(y), "nearest"),
        (lambda x, y, c: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True) + c(y), "factor of 2"),
        (lambda x, y, c: resized(x, y.shape[-2:]) + y, "as it is"),
        (lambda x, y, c: c(resized(x, y.shape[-2:]) + y), "applied to the sum"),
        (lambda x, y, c: c(resized(x, y.shape[-2:])) + y, "applied to x"),
        (lambda x, y, c: x + resized(c(y), x.shape[-2:]), "shrunk"),
        (lambda x, y, c: torch.cat([resized(x, y.shape[-2:]), c(y)], 1), "concatenated"),
        (lambda x, y, c: torch.cat([c(y), resized(x, y.shape[-2:])], 1), "concatenated"),
        (lambda x, y, c: resized(x, y.shape[-2:]), "lateral map is missing"),
        (lambda x, y, c: resized(x, y.shape[-2:]) * c(y), "multiplied"),
        (lambda x, y, c: stepped(x, y, c).relu(), "ReLU around"),
        (lambda x, y, c: F.interpolate(x, size=y.shape, mode="bilinear") + c(y), "height and width"),
        (lambda x, y, c: stepped(x.detach(), y, c), "gradient"),
        (lambda x, y, c: stepped(x, y, c).detach(), "no gradient"),
        (lambda x, y, c: stepped(x, y, c)[0], "shape is"),
    ],
)
def test_wrong_steps_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.step_up(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (block("no relu"), "no ReLU behind"),
        (block("relu first"), "in front of the first batch norm"),
        (block("relu last"), "ReLU at the end"),
        (block("no norm"), "first batch norm is never called"),
        (block("no last norm"), "last batch norm is never called"),
        (block("no aspp"), "ASPP is never called"),
        (block("skip"), "no shortcut"),
        (block("gelu"), "GELU"),
        (block("leaky"), "leaky"),
        (block("statistics"), "statistics of this batch"),
        (block("padding"), "padding=1"),
        (block("kernel"), "3x3"),
        (block("bias"), "no bias"),
        (block("always norm"), "no batch norm at all"),
        (block("aspp norm"), "Hand batch_norm on"),
        (block("aspp width"), "name `channels`"),
        (block("plain"), "plain ASPP"),
        (block("name"), "widen"),
        (block("fixed width"), "should be (6, 8, 3, 3)"),
        (block("detach"), "no gradient"),
        (Block(4, 4), "class itself"),
        (lambda **k: torch.zeros(1), "torch.nn.Module"),
    ],
)
def test_wrong_blocks_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.reconstruction_block(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (as_stage("order"), "x first"),
        (as_stage("no attention"), "in training and in use"),
        (as_stage("training only"), "in training and in use"),
        (as_stage("second"), "attention first"),
        (as_stage("twice"), "through a sigmoid already"),
        (as_stage("plus"), "Multiply"),
        (as_stage("late"), "after the step up"),
        (as_stage("side late"), "before the attention"),
        (as_stage("sigmoid"), "leave the sigmoid out"),
        (as_stage("gradient"), "This is the attention"),
        (as_stage("always"), "in training only"),
        (as_stage("align"), "align_corners"),
        (as_stage("no lateral"), "lateral map is missing"),
        (as_stage("no end"), "image's size"),
        (lambda *a: staged(*a)[::-1], "should be the features"),
        (lambda *a: [y if y is None or i == 0 else y.detach() for i, y in enumerate(staged(*a))], "no gradient"),
        (lambda s, x, image, lateral: staged(s, x, image, lateral)[0], "three things"),
        (lambda s, x, image, lateral: (s.reconstruction(x), None, None), "shapes do not fit"),
        (lambda s, x, image, lateral: (s.side_head(staged(s, x, image, lateral)[0]), None, None), "the shape is"),
        (
            lambda s, x, image, lateral: (staged(s, x, image, lateral)[0] + 0 * s.lateral(lateral).sum(), None, None),
            "None",
        ),
        (lambda s, x, image, lateral: staged(s, x, image.detach(), lateral), "gradient"),
    ],
)
def test_wrong_stages_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.run_stage(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (as_decoder("up"), "Stage 4 adds x3"),
        (as_decoder("zeros"), "laterals are zeros"),
        (as_decoder("last"), "give it None"),
        (as_decoder("blind"), "see the image"),
        (as_decoder("nones"), "Leave out"),
        (as_decoder("no image"), "image_branch"),
        (as_decoder("order"), "should stand in front"),
        (as_decoder("sigmoid"), "leave the sigmoid"),
        (as_decoder("reversed"), "4, 3, 2"),
        (as_decoder("logits"), "three things"),
        (lambda *a: ([], [], decoded(*a)[2]), "should be 3 maps, not 0"),
        (lambda *a: (None, None, decoded(*a)[2]), "tuple or a list"),
        (lambda d, image, features: decoded(d, image, tuple(x.detach() for x in features)), "gradient"),
    ],
)
def test_wrong_loops_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.decode(wrong)
    assert result.passed is False
    assert said in result.message
