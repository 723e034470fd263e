"""The exercise of notebook 05 whose answer is a class: the reconstruction block."""

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import SEVERAL, check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.weights import compare_in_training, randomise, take_weights
from birefnet_lite.network.blocks import BasicBlock

__all__ = ["reconstruction_block"]


@check(
    "Right: the package's weights fit by name, and give the same numbers.",
    makes=SEVERAL,
)
def reconstruction_block(answer: Callable[..., Any]) -> None:
    """A class `ReconstructionBlock(in_channels, out_channels, inter_channels, aspp_channels, batch_norm)`."""
    for widths, batch_norm, size in (
        ((8, 8, 6, 5), True, (2, 5, 9)),
        ((10, 7, 4, 3), False, (1, 7, 5)),
        ((7, 5, 4, 3), True, (1, 8, 6)),
    ):
        names = ("in_channels", "out_channels", "inter_channels", "aspp_channels")
        arguments = dict(zip(names, widths, strict=True)) | {"batch_norm": batch_norm}
        where = "For " + ", ".join(f"{name}={value}" for name, value in arguments.items())
        mine = _built(answer, arguments)
        reference = randomise(BasicBlock(widths[0], widths[1], widths[2], "deformable", widths[3], batch_norm))
        if isinstance(mine, nn.Module) and (said := _block_names(mine.state_dict(), reference.state_dict())):
            raise Wrong(f"{where}: {said}")
        take_weights(mine, reference)
        x = torch.randn(size[0], widths[0], *size[1:], requires_grad=True)
        mine.eval(), reference.eval()
        wanted, got = reference(x), mine(x)
        _same_size(got, wanted, where)
        compare(got, wanted, where, 1e-5, _block_mistakes(reference, x, wanted))
        compare_gradient(got, wanted, x, where, 1e-3)
        compare_parameter_gradients(got, wanted, mine, reference, where, 1e-3)
        if not batch_norm or size[0] > 1:
            compare_in_training(mine, reference, x, where)


def _block_names(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """The likely mistake behind weights that do not fit, where it is a known one."""
    missing, unexpected = wanted.keys() - own.keys(), own.keys() - wanted.keys()
    misshapen = {name for name in wanted.keys() & own.keys() if own[name].shape != wanted[name].shape}
    if unexpected and not missing and not misshapen:
        if all(name.startswith("aspp.") for name in unexpected):
            return "without batch norm, the ASPP still has some. Hand batch_norm on to it."
        if all(name.startswith(("norm_", "aspp.")) for name in unexpected):
            return "the block should have no batch norm at all. batch_norm_or_identity gives one, or nothing."
    if missing and missing <= {"conv_in.bias", "conv_out.bias"}:
        return "your convolutions have no bias. The package's have one, also in front of a batch norm."
    if any(name.startswith("aspp.") and "offset" in name for name in missing) and unexpected:
        return "this is the plain ASPP. The decoder's blocks hold a DeformableASPP."
    if misshapen and all(name.startswith("aspp.") for name in misshapen | missing | unexpected):
        return (
            "the widths inside the ASPP do not fit. Its branches are aspp_channels wide, its input and its result "
            "inter_channels. The second argument of DeformableASPP is the width of its result; name `channels`."
        )
    if misshapen & {"conv_in.weight", "conv_out.weight"} and own["conv_in.weight"].shape[-1] == 1:
        return "the outer convolutions are 3x3, and not 1x1."
    return None


@torch.no_grad()
def _block_mistakes(block: BasicBlock, x: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    raw = block.conv_in(x)
    normed = block.norm_in(raw)

    def rest(inner: Tensor) -> Tensor:
        return block.norm_out(block.conv_out(block.aspp(inner)))

    narrow = F.relu(normed)
    other = "The first activation is not a ReLU."
    mistakes = {
        "There is no ReLU behind the first batch norm.": rest(normed),
        "The ReLU stands in front of the first batch norm. The order is convolution, batch norm, ReLU.": (
            rest(block.norm_in(F.relu(raw)))
        ),
        "There is a ReLU at the end. The block's result may be negative: it ends with its batch norm.": F.relu(wanted),
        "The first batch norm is never called.": rest(F.relu(raw)),
        "The last batch norm is never called.": block.conv_out(block.aspp(narrow)),
        "The ASPP is never called.": block.norm_out(block.conv_out(narrow)),
        "The ASPP's input is added to its result. This block has no shortcut.": (
            block.norm_out(block.conv_out(block.aspp(narrow) + narrow))
        ),
        f"{other} It is a GELU.": rest(F.gelu(normed)),
        f"{other} It is a SiLU.": rest(F.silu(normed)),
        f"{other} It is a leaky ReLU.": rest(F.leaky_relu(normed)),
    }
    if x.shape[1] == wanted.shape[1]:
        mistakes["The input is added to the result. This block has no shortcut around it."] = wanted + x
    if x.shape[0] > 1 and isinstance(block.norm_in, nn.BatchNorm2d):
        batch = copy.deepcopy(block).train()
        batch.aspp.eval()
        mistakes["The batch norms use the statistics of this batch, also in evaluation mode."] = batch(x)
    return mistakes


def _same_size(got: Any, wanted: Tensor, where: str) -> None:
    if isinstance(got, Tensor) and got.ndim == 4 and got.shape[-2:] != wanted.shape[-2:]:
        raise Wrong(
            f"{where}, the map is {got.shape[-2]} x {got.shape[-1]} and should stay "
            f"{wanted.shape[-2]} x {wanted.shape[-1]}. A 3x3 convolution keeps the size with padding=1."
        )


def _built(answer: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """An object of the learner's class; arguments with names of their own are given by position."""
    names = list(inspect.signature(getattr(answer, "function", answer)).parameters)
    order = names[: len(arguments)]
    if set(order) == set(arguments) and order != list(arguments):
        raise Wrong(f"The arguments should come in this order: {', '.join(arguments)}.")
    by_name = arguments.keys() <= set(names) or len(names) < len(arguments)
    return answer(**arguments) if by_name else answer(*arguments.values())
