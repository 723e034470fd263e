"""The checks of notebook 06: each accepts the solution, and tells typical wrong answers what is wrong with them."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer
from torch import nn

from birefnet_lite.course import checks
from birefnet_lite.network.aspp import batch_norm_or_identity
from birefnet_lite.network.refinement import InwardReference, OutwardReference


def tiles(image, grid, order=("colour", "row", "column")):
    """Tile by tile, as one would with scissors."""
    _, colours, height, width = image.shape
    high, wide = height // grid, width // grid
    counts = {"colour": colours, "row": grid, "column": grid}
    channels = []
    for a in range(counts[order[0]]):
        for b in range(counts[order[1]]):
            for c in range(counts[order[2]]):
                at = dict(zip(order, (a, b, c), strict=True))
                top, left = at["row"] * high, at["column"] * wide
                channels.append(image[:, at["colour"], top : top + high, left : left + wide])
    return torch.stack(channels, dim=1)


class Inward(nn.Module):
    """The solution, with a switch for each thing that can go wrong."""

    wrong = ""

    def __init__(self, grid, out_channels, inter_channels=64):
        super().__init__()
        wrong = self.wrong
        self.grid = grid
        options = {"padding": 0 if wrong == "padding" else 1, "bias": wrong != "bias"}
        seen = {"colours": 3, "one colour": grid * grid}.get(wrong, 3 * grid * grid)
        first = nn.Conv2d(seen, inter_channels, 3, **options)
        second = nn.Conv2d(inter_channels, out_channels, 3, **options)
        if wrong == "attributes":
            self.conv_in, self.conv_out = first, second
        elif wrong == "numbers":
            self.branch = nn.Sequential(first, second)
        else:
            self.branch = nn.Sequential(OrderedDict(conv_in=first, conv_out=second))

    def forward(self, image):
        wrong = self.wrong
        order = ("column", "row", "colour") if wrong == "old" else ("colour", "row", "column")
        x = F.pixel_unshuffle(image, self.grid) if wrong == "unshuffle" else tiles(image, self.grid, order)
        x = self.branch.conv_in(x)
        x = {"relu": F.relu, "gelu": F.gelu}.get(wrong, lambda t: t)(x)
        x = x if wrong == "first" else self.branch.conv_out(x)
        x = x.detach() if wrong == "detach" else x
        return F.relu(x) if wrong == "relu last" else x


class Outward(nn.Module):
    """The solution, with a switch for each thing that can go wrong."""

    wrong = ""

    def __init__(self, in_channels, channels=16, batch_norm=True):
        super().__init__()
        wrong = self.wrong
        options = {"padding": 0 if wrong == "padding" else 1, "bias": wrong != "bias"}
        self.conv = nn.Conv2d(in_channels, channels, 3, **options)
        self.norm = batch_norm_or_identity(channels, batch_norm or wrong == "always norm")
        self.gradient_head = nn.Conv2d(channels, 1, 1)
        if wrong != "one head":
            self.attention_head = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        wrong = self.wrong
        if wrong == "statistics":
            self.norm.train()
        y = self.conv(x)
        if wrong == "relu first":
            y = self.norm(F.relu(y))
        elif wrong == "no relu":
            y = self.norm(y)
        else:
            y = F.relu(y if wrong == "no norm" else self.norm(y))
        attend, predict = self.attention_head, self.gradient_head
        if wrong == "heads":
            attend, predict = predict, attend
        logits, gradients = attend(y), predict(y)
        attention = {
            "logits": lambda t: t,
            "tanh": torch.tanh,
            "twice": lambda t: t.sigmoid().sigmoid(),
            "channel softmax": lambda t: t.softmax(dim=1),
            "map softmax": lambda t: t.flatten(2).softmax(2).reshape(t.shape),
        }.get(wrong, torch.sigmoid)(logits)
        if wrong == "swapped":
            return gradients, attention
        if wrong == "weighed":
            return x * attention, gradients
        if wrong == "probabilities":
            gradients = gradients.sigmoid()
        if wrong == "same":
            gradients = logits
        if wrong == "after":
            gradients = predict(y * attention)
        if wrong == "detach":
            gradients = gradients.detach()
        return attention if wrong == "one" else (attention, gradients)


def inward(wrong):
    return type("MyInwardReference", (Inward,), {"wrong": wrong})


def outward(wrong):
    return type("MyOutwardReference", (Outward,), {"wrong": wrong})


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.image_to_tiles, tiles),
        (checks.inward_reference, Inward),
        (checks.inward_reference, InwardReference),
        (checks.outward_reference, Outward),
        (checks.outward_reference, OutwardReference),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


def by_size(image, side):
    """Takes `grid` for the side of a tile."""
    batch, colours, height, width = image.shape
    cut = image.reshape(batch, colours, height // side, side, width // side, side)
    return cut.permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, side, side)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, g: tiles(x, g, ("column", "row", "colour")), "before November 2024"),
        (lambda x, g: tiles(x, g, ("colour", "column", "row")), "along the rows"),
        (lambda x, g: tiles(x, g, ("row", "column", "colour")), "change slowest"),
        (F.pixel_unshuffle, "every grid-th pixel"),
        (lambda x, g: x.reshape(len(x), -1, x.shape[2] // g, x.shape[3] // g), "one run of pixels"),
        (lambda x, g: tiles(x, g).unflatten(1, (3, g * g)) if x.shape[1] == 3 else tiles(x, g), "axis of their own"),
        (lambda x, g: tiles(x, g).unflatten(1, (-1, g, g)), "two axes"),
        (by_size, "not the size of a tile"),
        (lambda x, g: torch.cat(tiles(x, g, ("row", "column", "colour")).split(x.shape[1], dim=1)), "the shape is"),
        (lambda x, g: tiles(x, g).flip(1), "numbers differ"),
        (lambda x, g: F.interpolate(x, scale_factor=1 / g).repeat(1, g * g, 1, 1), "numbers differ"),
        (lambda x, g: tiles(x.detach(), g), "no gradient"),
    ],
)
def test_wrong_tiles_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.image_to_tiles(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (inward("padding"), "padding=1"),
        (inward("bias"), "no bias"),
        (inward("colours"), "3 * grid * grid"),
        (inward("one colour"), "each of the 3 colours"),
        (inward("attributes"), "belong into self.branch"),
        (inward("numbers"), "OrderedDict"),
        (inward("old"), "before November 2024"),
        (inward("unshuffle"), "every grid-th pixel"),
        (inward("relu"), "activation between"),
        (inward("gelu"), "GELU"),
        (inward("relu last"), "ReLU at the end"),
        (inward("first"), "never called"),
        (inward("detach"), "no gradient"),
        (Inward(2, 4), "class itself"),
        (lambda grid, out, inner: nn.Conv2d(3, out, 3), "no weights called"),
    ],
)
def test_wrong_inward_references_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.inward_reference(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (outward("padding"), "padding=1"),
        (outward("bias"), "no bias"),
        (outward("always norm"), "no batch norm"),
        (outward("one head"), "no attention_head"),
        (outward("statistics"), "statistics of this batch"),
        (outward("relu first"), "in front of the batch norm"),
        (outward("no relu"), "no ReLU"),
        (outward("no norm"), "never called"),
        (outward("heads"), "two heads are swapped"),
        (outward("logits"), "These are logits"),
        (outward("tanh"), "tanh"),
        (outward("twice"), "applied twice"),
        (outward("channel softmax"), "always 1"),
        (outward("map softmax"), "softmax over the map"),
        (outward("swapped"), "attention first"),
        (outward("weighed"), "multiply by the attention already"),
        (outward("probabilities"), "leave their sigmoid"),
        (outward("same"), "Both maps come from attention_head"),
        (outward("after"), "weighed features"),
        (outward("detach"), "no gradient"),
        (outward("one"), "two maps"),
        (Outward(4), "class itself"),
    ],
)
def test_wrong_outward_references_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.outward_reference(wrong)
    assert result.passed is False
    assert said in result.message
