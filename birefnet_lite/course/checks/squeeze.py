"""Exercises of notebook 03, second half: the deformable ASPP, the squeeze module."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import SEVERAL, check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.weights import compare_in_training, randomise, take_weights
from birefnet_lite.network.aspp import DeformableASPP
from birefnet_lite.network.blocks import BasicBlock

__all__ = ["deformable_aspp", "squeeze_module"]

_CUT = "A ReLU has no upper end: yours cuts large numbers."
_STATISTICS = (
    "A batch norm uses the statistics of this batch, also in evaluation mode. Use the modules, which know the "
    "mode, and leave the mode as it is."
)


@check(
    "Right: five views side by side, mixed by one convolution; in training, with dropout.",
    makes=SEVERAL,
    usual=("sigmoid",),
)
def deformable_aspp(answer: Callable[[int, int], Any]) -> None:
    """A class, made with (channels, inner); its forward takes (B, channels, H, W) to the same shape."""
    mine, theirs = answer(6, 4), randomise(DeformableASPP(6, channels=4))
    take_weights(mine, theirs)
    mine.eval(), theirs.eval()
    for shape in ((1, 6, 5, 7), (2, 6, 9, 4)):
        x = torch.randn(shape, requires_grad=True)
        where = f"For x of {shape}"
        wanted, got = theirs(x), _views(mine, x)
        compare(got, wanted, where, 1e-5, _pyramid_mistakes(theirs, x))
        compare_gradient(got, wanted, x, where, 1e-3)
        compare_parameter_gradients(got, wanted, mine, theirs, where, 1e-3)
    x = torch.randn(1, 6, 5, 7)
    with torch.no_grad():
        cast(Tensor, theirs.norm.bias).add_(10)
    take_weights(mine, theirs)
    compare(_views(mine, x), theirs(x), "With a large bias in `norm`", 1e-5, {_CUT: theirs(x).clamp(max=6)})
    _in_training(mine, theirs)


def _run(mine: nn.Module, x: Tensor) -> Any:
    """The learner's result in evaluation mode. Only a batch norm in training mode refuses a single number."""
    try:
        return mine(x)
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise Wrong(_STATISTICS) from error
        raise


def _by_batch(norm: Any, x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)


def _views(mine: nn.Module, x: Tensor) -> Any:
    """The learner's result; a clash of shapes inside has few reasons."""
    try:
        return _run(mine, x)
    except RuntimeError as error:
        if "Sizes of tensors" in str(error):
            raise Wrong(
                "The views cannot be concatenated: they differ in height and width. First spread the pooled one, "
                "(B, C, 1, 1), over the whole map."
            ) from error
        if "expanded size" in str(error):
            raise Wrong(
                "The pooled view has the wrong number of channels: the mean of x goes through self.pooled before it is "
                "spread over the map."
            ) from error
        if "Expected 3D" in str(error):
            raise Wrong(
                "self.pooled takes a map. Keep the mean's height and width as axes of length 1, with keepdim=True."
            ) from error
        if "to have 20 channels" in str(error):
            raise Wrong(
                "self.project gets the wrong number of channels. It takes five views, concatenated along the channels "
                "(not added): those of all four branches, and the pooled one."
            ) from error
        if "to have 6 channels" in str(error):
            raise Wrong(
                "A branch gets the wrong number of channels. The branches stand side by side: each one sees x itself."
            ) from error
        raise


def _pyramid_mistakes(theirs: DeformableASPP, x: Tensor) -> dict[str, Tensor]:
    views, pooled = [branch(x) for branch in theirs.branches], theirs.pooled(x)
    branch = theirs.pooled
    late = branch.norm(branch.conv(x)).relu().mean(dim=(2, 3), keepdim=True)
    everyone = branch.norm(branch.conv(x.mean(dim=(0, 2, 3), keepdim=True))).relu()
    largest = branch.norm(branch.conv(x.amax(dim=(2, 3), keepdim=True))).relu()

    total = branch.norm(branch.conv(x.sum(dim=(2, 3), keepdim=True))).relu()
    grey = branch.norm(branch.conv(x.mean(dim=(1, 2, 3), keepdim=True).expand(-1, x.shape[1], 1, 1))).relu()
    alternating = torch.stack([*views, pooled.expand_as(views[0])], dim=2).flatten(1, 2)

    def mixed(*maps: Tensor) -> Tensor:
        return theirs.project(torch.cat([m.expand_as(views[0]) for m in maps], dim=1))

    right = mixed(*views, pooled)
    return {
        "The pooled view comes first. It should come last.": theirs.norm(mixed(pooled, *views)).relu(),
        "The branches are concatenated in the reverse order. It is 1, 1, 3, 7, pooled.": (
            theirs.norm(mixed(*views[::-1], pooled)).relu()
        ),
        "The ReLU behind the last batch norm is missing.": theirs.norm(right),
        "The batch norm behind self.project is missing.": right.relu(),
        "The last ReLU stands in front of the batch norm. It should stand behind it.": theirs.norm(right.relu()),
        "The pooled branch averages last. It should average first, and then convolve: the mean of the map goes "
        "through self.pooled.": theirs.norm(mixed(*views, late)).relu(),
        "The pooled branch takes the largest value. It should take the mean.": (
            theirs.norm(mixed(*views, largest)).relu()
        ),
        "The pooled branch takes the sum of the map. It should take the mean.": theirs.norm(
            mixed(*views, total)
        ).relu(),
        "The mean of the pooled view runs over the channels too. Each channel has a mean of its own.": (
            theirs.norm(mixed(*views, grey)).relu()
        ),
        "All four views come from the first branch.": theirs.norm(mixed(*[views[0]] * 4, pooled)).relu(),
        "The pooled view is missing: the first view stands in its place.": theirs.norm(mixed(*views, views[0])).relu(),
        "The channels of the views alternate. Concatenate the views one behind the other.": (
            theirs.norm(theirs.project(alternating)).relu()
        ),
        "The mean of the pooled view runs over the batch too. Each image has a mean of its own.": (
            theirs.norm(mixed(*views, everyone)).relu()
        ),
        "The pooled view is missing: self.pooled sees the whole map, not its mean.": (
            theirs.norm(mixed(*views, branch.norm(branch.conv(x)).relu())).relu()
        ),
        "x is added to the result. This block adds nothing.": x + theirs.norm(right).relu(),
        "The views are concatenated, but self.project does not mix them yet.": torch.cat([*views, pooled], dim=1),
        _STATISTICS: _by_batch(theirs.norm, right).relu(),
    }


def _in_training(mine: nn.Module, theirs: DeformableASPP) -> None:
    """Both with the same random numbers for dropout."""
    x = torch.randn(3, 6, 5, 4)
    quiet = copy.deepcopy(theirs).train()
    quiet.dropout.p = 0.0
    early = copy.deepcopy(theirs).train()
    views = [branch(x) for branch in early.branches]
    joined = torch.cat([*views, early.pooled(x).expand_as(views[0])], dim=1)
    torch.manual_seed(1)  # as in the comparison
    mistakes = {
        "In training, self.dropout should act on the result. It is missing.": quiet(x),
        "The dropout stands in front of self.project. It should act last, on the result.": (
            early.norm(early.project(early.dropout(joined))).relu()
        ),
    }
    compare_in_training(mine, theirs, x, "Where batch norms use the batch and dropout acts last", mistakes=mistakes)


@check("Right: narrow, look, widen.", makes=SEVERAL, usual=("sigmoid",))
def squeeze_module(answer: Callable[..., Any]) -> None:
    """A class, made with (in_channels, inner, out_channels, aspp); takes (B, in_channels, H, W) to `out_channels`."""
    mine = answer(7, 5, 6, DeformableASPP(5, channels=4))
    theirs = randomise(BasicBlock(7, 6, inter_channels=5, aspp_channels=4))
    take_weights(mine, theirs)
    mine.eval(), theirs.eval()
    for shape in ((1, 7, 5, 8), (2, 7, 9, 6)):
        x = torch.randn(shape, requires_grad=True)
        where = f"For x of {shape}"
        wanted, got = theirs(x), _run(mine, x)
        if isinstance(got, Tensor) and got.ndim == 4 and got.shape[2] < wanted.shape[2]:
            raise Wrong("The map has lost its rim: a 3 x 3 convolution keeps height and width with padding=1.")
        compare(got, wanted, where, 1e-5, _squeeze_mistakes(theirs, x))
        compare_gradient(got, wanted, x, where, 1e-3)
        compare_parameter_gradients(got, wanted, mine, theirs, where, 1e-3)
    x = 30 * torch.randn(1, 7, 5, 8)
    narrow = theirs.norm_in(theirs.conv_in(x)).clamp(0, 6)
    cut = theirs.norm_out(theirs.conv_out(theirs.aspp(narrow)))
    compare(_run(mine, x), theirs(x), "For large numbers in x", 1e-3, {_CUT: cut})
    compare_in_training(mine, theirs, torch.randn(3, 7, 5, 4), "For x of (3, 7, 5, 4)")


def _squeeze_mistakes(theirs: BasicBlock, x: Tensor) -> dict[str, Tensor]:
    conv_in, norm_in, aspp, conv_out, norm_out = (
        theirs.conv_in, theirs.norm_in, theirs.aspp, theirs.conv_out, theirs.norm_out
    )  # fmt: skip
    narrow = norm_in(conv_in(x)).relu()
    seen = aspp(narrow)
    return {
        "There is a ReLU at the end. This block ends with its batch norm: the decoder may want negative numbers.": (
            theirs(x).relu()
        ),
        "The ReLU behind the first batch norm is missing.": norm_out(conv_out(aspp(norm_in(conv_in(x))))),
        "The first batch norm is missing.": norm_out(conv_out(aspp(conv_in(x).relu()))),
        "The first ReLU stands in front of the batch norm. It should stand behind it.": (
            norm_out(conv_out(aspp(norm_in(conv_in(x).relu()))))
        ),
        "The last batch norm is missing.": conv_out(seen),
        "There is a ReLU between the last convolution and its batch norm. There should be none.": (
            norm_out(conv_out(seen).relu())
        ),
        _STATISTICS: _by_batch(norm_out, conv_out(aspp(_by_batch(norm_in, conv_in(x)).relu()))),
        "self.aspp is not used.": norm_out(conv_out(narrow)),
        "self.aspp is called twice.": norm_out(conv_out(aspp(seen))),
        "What goes into the ASPP is added to what comes out of it. This block adds nothing.": (
            norm_out(conv_out(narrow + seen))
        ),
    }
