"""The checks of notebook 03 against right answers and typical wrong ones: they must tell them apart, and say why."""

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, unsolved
from torch import nn
from torchvision.ops import deform_conv2d

from birefnet_lite.course import checks
from birefnet_lite.course.checks.result import Result
from birefnet_lite.course.checks.weights import randomise, take_weights
from birefnet_lite.network.aspp import DeformableASPP
from birefnet_lite.network.blocks import BasicBlock, ResidualBlock


def tents(x, rows, columns):
    """The formula of bilinear reading, over all cells of the map."""
    down, right = (
        (1 - (places[..., None] - torch.arange(side)).abs()).clamp(min=0)
        for places, side in ((rows, x.shape[2]), (columns, x.shape[3]))
    )
    return torch.einsum("bhwi,bhwj,bcij->bchw", down, right, x)


def convolve(x, offset, mask, weight):
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask)


class Pyramid(nn.Module):
    """The right one from the package's parts; wrong ones override a step."""

    def __init__(self, channels, inner):
        super().__init__()
        theirs = DeformableASPP(channels, channels=inner)
        self.branches, self.project, self.norm = theirs.branches, theirs.project, theirs.norm
        self.pooled, self.dropout = theirs.pooled, nn.Dropout(0.5)

    def summary(self, x):
        return self.pooled.norm(self.pooled.conv(x.mean(dim=(2, 3), keepdim=True))).relu()

    def views(self, x):
        views = [branch(x) for branch in self.branches]
        return [*views, self.summary(x).expand_as(views[0])]

    def end(self, x):
        return self.dropout(self.norm(self.project(x)).relu())

    def forward(self, x):
        return self.end(torch.cat(self.views(x), dim=1))


class Block(nn.Module):
    """The right squeeze module; wrong ones override a step."""

    def __init__(self, in_channels, inner, out_channels, aspp):
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.norm_in = nn.BatchNorm2d(inner)
        self.aspp = aspp
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)
        self.norm_out = nn.BatchNorm2d(out_channels)

    def narrow(self, x):
        return self.norm_in(self.conv_in(x)).relu()

    def forward(self, x):
        return self.norm_out(self.conv_out(self.aspp(self.narrow(x))))


def like(right, **methods):
    """A class that differs from the right one in some methods."""
    return type("Wrong", (right,), methods)


def package_block(in_channels, inner, out_channels, aspp):
    block = BasicBlock(in_channels, out_channels, inner, aspp="none")
    block.aspp = aspp
    return block


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.bilinear_sample, tents),
        (checks.deform_conv, convolve),
        (checks.deformable_aspp, lambda channels, inner: DeformableASPP(channels, channels=inner)),
        (checks.deformable_aspp, Pyramid),
        (checks.squeeze_module, package_block),
        (checks.squeeze_module, Block),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution, praise="Right")


@pytest.mark.parametrize(
    ("check", "right"), [(checks.deformable_aspp, Pyramid), (checks.squeeze_module, Block)], ids=["aspp", "squeeze"]
)
def test_a_class_whose_forward_is_a_stub_is_not_solved_yet(check, right):
    assert check(like(right, forward=unsolved)) == Result(check.__name__, None, "not solved yet")
    assert "NoneType and not a tensor" in check(like(right, forward=lambda self, x: None)).message


def grid(x, rows, columns, **options):
    height, width = x.shape[-2:]
    places = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=-1)
    return F.grid_sample(x, places, **{"align_corners": True} | options)


def by_corners(x, rows, columns, first=torch.floor, weight=lambda fraction: fraction):
    """Four cells, each at its whole place."""
    top, left = first(rows), first(columns)
    down, right = weight(rows - top), weight(columns - left)
    return sum(
        (vertical * horizontal)[:, None] * tents(x, top + i, left + j)
        for i, vertical in ((0, 1 - down), (1, down))
        for j, horizontal in ((0, 1 - right), (1, right))
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, r, c: tents(x, c, r), "Rows and columns"),
        (lambda x, r, c: tents(x, r.clamp(0, x.shape[2] - 1), c.clamp(0, x.shape[3] - 1)), "counts as zero"),
        (lambda x, r, c: tents(x, r.round(), c.round()), "nearest cell only"),
        (lambda x, r, c: tents(x, r.floor(), c.floor()), "above and to the left only"),
        (lambda x, r, c: by_corners(x, r, c, weight=lambda fraction: 1 - fraction), "the nearer a cell"),
        (lambda x, r, c: by_corners(x, r, c, first=torch.trunc), "`floor`"),
        (lambda x, r, c: grid(x, r, c, align_corners=False), "align_corners=True"),
        (lambda x, r, c: grid(x, r, c, padding_mode="border"), "counts as zero"),
        (lambda x, r, c: tents(x, r, c).permute(0, 2, 3, 1), "channels come last"),
        (lambda x, r, c: tents(x, r.detach(), c), "no gradient reaches rows"),
        (lambda x, r, c: tents(x, r, c.detach()), "no gradient reaches columns"),
        (lambda x, r, c: tents(x, r, c).detach(), "no gradient flows"),
        (lambda x, r, c: tents(x.detach(), r, c), "gradient of the input"),
        (lambda x, r, c: tents(x, r, c) * (r >= 0)[:, None], "numbers differ"),
        (lambda x, r, c: tents(x[:1], r[:1], c[:1]).expand(len(x), -1, -1, -1), "numbers differ"),
        (lambda x, r, c: tents(x, r[:1].expand_as(r), c[:1].expand_as(c)), "places of its own"),
        (lambda x, r, c: tents(x, r * (1 - 1 / x.shape[2]), c * (1 - 1 / x.shape[3])), "H - 1 steps"),
    ],
)
def test_wrong_samplers_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.bilinear_sample(wrong)
    assert result.passed is False
    assert said in result.message


def test_a_sampler_that_drops_whole_places_at_the_rim_is_told_of_corners():
    def wrong(x, rows, columns):
        inside = (rows.floor() >= 0) & (rows.floor() + 1 < x.shape[2])
        inside &= (columns.floor() >= 0) & (columns.floor() + 1 < x.shape[3])
        return tents(x, rows, columns) * inside[:, None]

    assert "only that corner is" in checks.bilinear_sample(wrong).message


def test_a_sampler_with_exchanged_fractions_is_told_so():
    def wrong(x, rows, columns):
        top, left = rows.floor(), columns.floor()
        return tents(x, top + columns - left, left + rows - top)

    assert "fractions are exchanged" in checks.bilinear_sample(wrong).message


def pairs(offset):
    """(B, 2 * taps, H, W) to (B, taps, 2, H, W)."""
    return offset.unflatten(1, (-1, 2))


def by_taps(x, offset, mask, weight, taps=lambda k: range(k * k), start=None, clamp=False, sign=1, turn=False):
    height, width = x.shape[-2:]
    k = weight.shape[-1]
    first = -(k // 2) if start is None else start
    result = 0
    for tap in taps(k):
        down, right = sign * (tap // k + first), sign * (tap % k + first)
        down, right = (right, down) if turn else (down, right)
        rows = torch.arange(height)[:, None] + down + offset[:, 2 * tap]
        columns = torch.arange(width) + right + offset[:, 2 * tap + 1]
        if clamp:
            rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        seen = tents(x, rows, columns) * mask[:, tap, None]
        result = result + torch.einsum("oc,bchw->bohw", weight[:, :, tap // k, tap % k], seen)
    return result


def column_by_column(x, offset, mask, weight):
    k = weight.shape[-1]
    order = torch.arange(k * k).reshape(k, k).T.flatten()
    return convolve(x, pairs(offset)[:, order].flatten(1, 2), mask[:, order], weight)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, o, m, w: convolve(x, pairs(o).flip(2).flatten(1, 2), m, w), "down first, then right"),
        (lambda x, o, m, w: convolve(x, o.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2), m, w), "come in pairs"),
        (lambda x, o, m, w: convolve(x, -o, m, w), "subtracted"),
        (lambda x, o, m, w: convolve(x, 0 * o, m, w), "offsets change nothing"),
        (lambda x, o, m, w: convolve(x, o, torch.ones_like(m), w), "mask changes nothing"),
        (lambda x, o, m, w: convolve(x, o, 2 * m.sigmoid(), w), "2 * sigmoid"),
        (lambda x, o, m, w: convolve(x, o, m.sigmoid(), w), "through a sigmoid"),
        (lambda x, o, m, w: by_taps(x, o, m, w, start=0), "first tap sits on the pixel"),
        (lambda x, o, m, w: convolve(x, o, m, w.flip(2, 3)), "half a circle"),
        (lambda x, o, m, w: convolve(x, o, m, w.transpose(2, 3)), "weights are taken column by column"),
        (lambda x, o, m, w: by_taps(x, o, m, w, sign=-1), "wrong side of the middle"),
        (lambda x, o, m, w: by_taps(x, o, m, w, turn=True), "Tap t stands in row t // k"),
        (column_by_column, "taps go column by column"),
        (lambda x, o, m, w: by_taps(x, o, m, w, taps=lambda k: [k * k - 1]), "last tap only"),
        (lambda x, o, m, w: by_taps(x, o, m, w, clamp=True), "do not clamp"),
        (lambda x, o, m, w: convolve(x, o, m, w) / w.shape[-1] ** 2, "mean of the taps"),
        (lambda x, o, m, w: convolve(x, o, m, w).movedim(1, -1), "the shape is"),
        (lambda x, o, m, w: convolve(x, o, m, w) * 1.01, "numbers differ"),
        (lambda x, o, m, w: by_taps(x, o, m, w).detach(), "no gradient flows"),
        (lambda x, o, m, w: by_taps(x, o.detach(), m, w), "no gradient reaches `offset`"),
        (lambda x, o, m, w: by_taps(x, o, m.detach(), w), "no gradient reaches `mask`"),
    ],
)
def test_wrong_deformable_convolutions_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.deform_conv(wrong)
    assert result.passed is False
    assert said in result.message


def no_dropout(self, x):
    return self.norm(self.project(x)).relu()


def eager_dropout(self, x):
    return F.dropout(self.norm(self.project(x)).relu())


def own_statistics(self, x):
    x = F.batch_norm(self.project(x), None, None, self.norm.weight, self.norm.bias, training=True)
    return self.dropout(x.relu())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"views": lambda self, x: Pyramid.views(self, x)[-1:] + Pyramid.views(self, x)[:-1]}, "come last"),
        ({"views": lambda self, x: Pyramid.views(self, x)[3::-1] + Pyramid.views(self, x)[4:]}, "reverse order"),
        ({"views": lambda self, x: Pyramid.views(self, x)[1:]}, "all four branches"),
        ({"forward": lambda self, x: self.end(sum(self.views(x)))}, "not added"),
        ({"views": lambda self, x: [b(x) for b in self.branches] + [self.summary(x)]}, "spread the pooled one"),
        ({"forward": lambda self, x: self.branches[2](self.branches[1](x))}, "each one sees x itself"),
        ({"summary": lambda self, x: self.pooled.norm(self.pooled.conv(x)).relu()}, "not its mean"),
        (
            {"summary": lambda self, x: self.pooled.norm(self.pooled.conv(x)).relu().mean(dim=(2, 3), keepdim=True)},
            "average first",
        ),
        ({"summary": lambda self, x: Pyramid.summary(self, x.amax(dim=(2, 3), keepdim=True))}, "take the mean"),
        ({"summary": lambda self, x: Pyramid.summary(self, x.mean(dim=0, keepdim=True))}, "a mean of its own"),
        ({"end": lambda self, x: self.dropout(self.norm(self.project(x)))}, "ReLU behind the last batch norm"),
        ({"end": lambda self, x: self.dropout(self.project(x).relu())}, "batch norm behind self.project"),
        ({"end": lambda self, x: self.dropout(self.norm(self.project(x).relu()))}, "in front of the batch norm"),
        ({"end": lambda self, x: x}, "does not mix them"),
        ({"end": own_statistics}, "evaluation mode"),
        ({"end": no_dropout}, "It is missing"),
        ({"end": eager_dropout}, "knows the mode"),
        ({"forward": lambda self, x: Pyramid.forward(self, x.detach())}, "gradient"),
        ({"forward": lambda self, x: 2 * Pyramid.forward(self, x)}, "numbers differ"),
    ],
)
def test_wrong_pyramids_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.deformable_aspp(like(Pyramid, **wrong))
    assert result.passed is False
    assert said in result.message


def own_norms(block):
    block.norm_in.train(), block.norm_out.train()
    return block


def changed(**parts):
    """A squeeze module with other layers."""

    def __init__(self, in_channels, inner, out_channels, aspp):
        Block.__init__(self, in_channels, inner, out_channels, aspp)
        for name, make in parts.items():
            delattr(self, name)
            if make is not None:
                setattr(self, name, make(in_channels, inner, out_channels))

    return {"__init__": __init__}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"forward": lambda self, x: Block.forward(self, x).relu()}, "ReLU at the end"),
        ({"narrow": lambda self, x: self.norm_in(self.conv_in(x))}, "ReLU behind the first"),
        ({"narrow": lambda self, x: self.conv_in(x).relu()}, "first batch norm is missing"),
        ({"narrow": lambda self, x: self.norm_in(self.conv_in(x).relu())}, "first ReLU stands in front"),
        ({"forward": lambda self, x: self.conv_out(self.aspp(self.narrow(x)))}, "last batch norm is missing"),
        (
            {"forward": lambda self, x: self.norm_out(self.conv_out(self.aspp(self.narrow(x))).relu())},
            "between the last convolution",
        ),
        ({"forward": lambda self, x: self.norm_out(self.conv_out(self.narrow(x)))}, "aspp is not used"),
        (
            {"forward": lambda self, x: self.norm_out(self.conv_out(self.narrow(x) + self.aspp(self.narrow(x))))},
            "adds nothing",
        ),
        ({"forward": lambda self, x: Block.forward(self.train(), x)}, "evaluation mode"),
        ({"forward": lambda self, x: Block.forward(own_norms(self), x)}, "evaluation mode"),
        ({"forward": lambda self, x: Block.forward(self, x.detach())}, "gradient"),
        (changed(conv_in=lambda i, n, o: nn.Conv2d(i, n, 3)), "padding=1"),
        (changed(conv_in=lambda i, n, o: nn.Conv2d(i, n, 3, padding=1, bias=False)), "no weights called conv_in.bias"),
        (changed(conv_out=lambda i, n, o: nn.Conv2d(n, o, 1)), "conv_out.weight is (6, 5, 1, 1) and should be"),
        (changed(norm_out=None), "no weights called norm_out.weight, norm_out.bias"),
    ],
)
def test_wrong_squeeze_modules_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.squeeze_module(like(Block, **wrong))
    assert result.passed is False
    assert said in result.message


def test_a_squeeze_module_with_more_parts_is_told_which():
    def with_skip(in_channels, inner, out_channels, aspp):
        block = ResidualBlock(in_channels, out_channels, inner, aspp="none")
        block.aspp = aspp
        return block

    assert "do not belong there: skip.weight, skip.bias" in checks.squeeze_module(with_skip).message


def test_random_weights_are_new_finite_and_the_same_for_a_seed():
    first, again = (randomise(DeformableASPP(6, channels=4), seed=3).state_dict() for _ in range(2))
    start = DeformableASPP(6, channels=4).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert torch.isfinite(tensor).all()
        assert "num_batches" in name or not torch.equal(tensor, start[name]), name
        assert "running_var" not in name or 0.5 <= tensor.min() <= tensor.max() <= 2


def test_weights_are_taken_by_name():
    mine, theirs = nn.Linear(3, 2), randomise(nn.Linear(3, 2))
    take_weights(mine, theirs)
    assert torch.equal(mine.weight, theirs.weight)
    assert torch.equal(mine.bias, theirs.bias)
