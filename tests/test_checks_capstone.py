"""The checks of notebook 12 against the solutions and typical wrong answers, and its broken network."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer
from torch import nn

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.analysis.compare import compare_layers
from birefnet_lite.course import checks
from birefnet_lite.course.capstone import (
    broken_network,
    largest_difference,
    repair,
    suspect_tiles,
    with_side_outputs,
)
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.decoder import Decoder, DecoderStage
from birefnet_lite.network.encoder import Encoder
from birefnet_lite.network.refinement import OutwardReference, image_to_tiles
from birefnet_lite.network.resize import resize


def block(in_channels, out_channels, inter_channels, aspp_channels, batch_norm=True):
    return BasicBlock(in_channels, out_channels, inter_channels, "deformable", aspp_channels, batch_norm)


SOLUTIONS = [
    (checks.my_encoder, Encoder),
    (checks.my_block, block),
    (checks.my_outward, OutwardReference),
    (checks.my_stage, DecoderStage.forward),
    (checks.my_decoder, lambda decoder, image, features: tuple(Decoder.forward(decoder, image, features))),
    (checks.my_tiles, image_to_tiles),
]
EACH = pytest.mark.parametrize(("check", "solution"), SOLUTIONS, ids=[check.__name__ for check, _ in SOLUTIONS])


@EACH
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


class WithForward(nn.Module):
    """A class whose `forward` is not written yet, as in the exercises."""

    def __init__(self, part):
        super().__init__()
        for name, child in part.named_children():
            self.add_module(name, child)

    def forward(self, x):
        raise NotImplementedError("your code here")


@pytest.mark.parametrize(
    ("check", "part"),
    [
        (checks.my_encoder, Encoder),
        (checks.my_block, block),
        (checks.my_outward, OutwardReference),
    ],
)
def test_a_class_without_its_forward_is_not_solved_yet(check, part):
    assert check(lambda *a, **o: WithForward(part(*a, **o))).passed is None


def variant(part, forward):
    """A class as the package's, with another forward."""
    return type("Mine", (part,), {"forward": forward})


def encode(self, image, join=None, context=None, halve=None, align=True):
    height, width = image.shape[-2:]
    half = halve(image) if halve else resize(image, (height // 2, width // 2))
    full, half = self.backbone(image), self.backbone(half)
    join = join or (lambda a, b: torch.cat([a, b], 1))
    maps = [
        join(a, F.interpolate(b, a.shape[-2:], mode="bilinear", align_corners=align))
        for a, b in zip(full, half, strict=True)
    ]
    small = [F.interpolate(x, maps[3].shape[-2:], mode="bilinear", align_corners=align) for x in maps[:3]]
    parts = context(*small, maps[3]) if context else (*small, maps[3])
    return *maps[:3], torch.cat(parts, 1)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda self, x: encode(self, x, lambda a, b: torch.cat([b, a], 1)), "half-size image come first"),
        (lambda self, x: encode(self, x, lambda a, b: a + b), "are added"),
        (lambda self, x: encode(self, x, lambda a, b: a), "runs once"),
        (lambda self, x: encode(self, x, context=lambda a, b, c, d: (d,)), "lacks its context"),
        (lambda self, x: encode(self, x, context=lambda a, b, c, d: (d, a, b, c)), "in front of its context"),
        (lambda self, x: encode(self, x, context=lambda a, b, c, d: (c, b, a, d)), "coarse to fine"),
        (
            lambda self, x: encode(self, x, context=lambda a, b, c, d: (a[:, :2], b[:, :3], c[:, :4], d)),
            "whole image alone",
        ),
        (lambda self, x: encode(self, x, align=False), "resampled with align_corners=False"),
        (
            lambda self, x: encode(self, x, halve=lambda i: F.interpolate(i, scale_factor=0.5, mode="bilinear")),
            "halved with align_corners=False",
        ),
        (lambda self, x: encode(self, x, halve=lambda i: i[..., ::2, ::2]), "every second pixel"),
        (lambda self, x: encode(self, x.detach()), "gradient of the input"),
        (lambda self, x: encode(self, x)[:3], "four maps"),
    ],
)
def test_wrong_encoders_are_refused_with_the_likely_mistake(forward, said):
    result = checks.my_encoder(variant(Encoder, forward))
    assert result.passed is False
    assert said in result.message


def outward(self, x, between=("conv", "norm", "relu"), read=None):
    f = x
    for name in between:
        f = getattr(self, name)(f)
    a, g = self.attention_head(f), self.gradient_head(f)
    return read(a, g) if read else (a.sigmoid(), g)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda self, x: outward(self, x, read=lambda a, g: (g, a.sigmoid())), "wrong way round: the attention"),
        (lambda self, x: outward(self, x, read=lambda a, g: (a, g)), "no sigmoid"),
        (lambda self, x: outward(self, x, read=lambda a, g: (a.sigmoid(), g.sigmoid())), "Leave the sigmoid"),
        (lambda self, x: outward(self, x, read=lambda a, g: (g.sigmoid(), a)), "two heads"),
        (lambda self, x: outward(self, x, read=lambda a, g: (x * a.sigmoid(), g)), "already multiplied"),
        (lambda self, x: outward(self, x, read=lambda a, g: (a.flatten(1).softmax(1).reshape(a.shape), g)), "softmax"),
        (lambda self, x: outward(self, x, read=lambda a, g: a.sigmoid()), "two maps"),
        (lambda self, x: outward(self, x, ("conv", "relu")), "no batch norm"),
        (lambda self, x: outward(self, x, ("conv", "norm")), "no ReLU"),
        (lambda self, x: outward(self, x, ("conv", "relu", "norm")), "in front of the batch norm"),
        (lambda self, x: tuple(y.detach() for y in outward(self, x)), "no gradient"),
    ],
)
def test_wrong_outward_references_are_refused_with_the_likely_mistake(forward, said):
    result = checks.my_outward(variant(OutwardReference, forward))
    assert result.passed is False
    assert said in result.message


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        (checks.my_outward, OutwardReference(4, 4), "class itself"),
        (checks.my_encoder, Encoder(nn.Identity()), "class itself"),
        (checks.my_outward, lambda wide, narrow: nn.Conv2d(wide, narrow, 3), "no weights called conv.weight"),
        (checks.my_block, variant(BasicBlock, lambda self, x: F.relu(BasicBlock.forward(self, x))), "ReLU at the end"),
        (checks.my_stage, lambda stage, x, image, lateral: (x, None), "three things"),
        (
            checks.my_stage,
            lambda stage, *given: type(stage).forward(stage, *given)._replace(features=given[0]),
            "shape",
        ),
        (checks.my_decoder, lambda d, image, features: (*d(image, features)[:2], d(image, features)[2] * 2), "differ"),
        (checks.my_decoder, lambda d, image, features: d(image, features)._replace(logits=None), "should be logits"),
    ],
)
def test_other_wrong_answers_are_refused_with_a_sentence(check, answer, said):
    result = check(answer)
    assert result.passed is False
    assert said in result.message


def test_a_wrong_block_is_refused_with_the_likely_mistake():
    def made(*arguments, **options):
        part = block(*arguments, **options)
        part.norm_out = nn.Sequential(part.norm_out, nn.ReLU())
        return part

    result = checks.my_block(made)
    assert result.passed is False
    assert "norm_out" in result.message


def order(*axes):
    def cut(image, grid):
        batch, channels, height, width = image.shape
        tiles = image.reshape(batch, channels, grid, height // grid, grid, width // grid)
        return tiles.permute(0, *axes, 3, 5).reshape(batch, channels * grid**2, height // grid, width // grid)

    return cut


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (suspect_tiles, "unchanged"),
        (order(4, 2, 1), "unchanged"),
        (order(1, 4, 2), "column by column"),
        (order(2, 4, 1), "still fastest"),
        (order(2, 1, 4), "between the tile's row and column"),
        (order(4, 1, 2), "between the tile's column and row"),
        (F.pixel_unshuffle, "pixel unshuffling"),
        (lambda x, g: x.reshape(x.shape[0], -1, x.shape[2] // g, x.shape[3] // g), "only reshaped"),
        (lambda x, g: image_to_tiles(x, g).detach(), "no gradient"),
        (lambda x, g: image_to_tiles(x, g)[0], "shape is"),
    ],
)
def test_wrong_tiles_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.my_tiles(wrong)
    assert result.passed is False
    assert said in result.message


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    narrow = {"inter_channels": 4, "aspp_channels": 4, "image_channels": 4, "gradient_channels": 4}
    return BiRefNet(BiRefNetConfig(backbone="convnet_n", **narrow)).eval()


def test_the_broken_network_has_the_same_weights_and_one_first_difference(model):
    x = torch.randn(1, 3, 64, 96)
    broken = broken_network(model)
    assert list(broken.state_dict()) == list(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(broken.state_dict().values(), model.state_dict().values(), strict=True)
    )
    wrong = [row.name for row in compare_layers(broken, model, x) if row.status != "OK"]
    assert wrong[0] == "decoder.stage4.inward.branch.conv_in"
    assert all(row.status == "OK" for row in compare_layers(repair(broken, image_to_tiles), model, x))
    assert all(row.status == "OK" for row in compare_layers(model, model, x))


def test_the_suspect_is_the_originals_order_before_november_2024():
    # 'b c (hg h) (wg w) -> b (wg hg c) h w', pixel by pixel.
    image, grid = torch.randn(2, 3, 4, 6), 2
    tiles = suspect_tiles(image, grid)
    for column in range(grid):
        for row in range(grid):
            for colour in range(3):
                crop = image[:, colour, row * 2 : row * 2 + 2, column * 3 : column * 3 + 3]
                assert torch.equal(tiles[:, (column * grid + row) * 3 + colour], crop)


def test_its_source_does_not_say_what_is_wrong():
    source = inspect.getsource(suspect_tiles)
    assert not any(word in source for word in ("wrong", "broken", "order", "2024", "slowest"))


def test_side_outputs_without_noise(model):
    x = torch.randn(2, 3, 64, 64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        used = model(x).logits
        shown = with_side_outputs(model)(x)
        alone = model(x[:1])
    assert len(shown.side_logits) == len(shown.gradient_logits) == 3
    assert torch.equal(shown.logits, used)
    assert largest_difference(alone.logits, used[:1]) <= 1e-5
    assert all(torch.equal(before[name], value) for name, value in model.eval().state_dict().items())


def test_the_largest_difference_is_that_and_wants_one_shape():
    a, b = torch.zeros(2, 3), torch.tensor([[0, 0, 0.5], [0, -0.75, 0]])
    assert largest_difference(a, b) == 0.75
    with pytest.raises(ValueError, match="one shape"):
        largest_difference(torch.zeros(2, 1), torch.zeros(2, 3))
