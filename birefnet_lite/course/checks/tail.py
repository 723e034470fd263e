"""The open task of notebook 11: the end of the decoder, in any way, with the same logits and less memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry
from birefnet_lite.inference.memory import peak_bytes
from birefnet_lite.network.refinement import ImageBranch
from birefnet_lite.network.resize import resize
from birefnet_lite.optimization import convolutions

__all__ = ["lean_tail"]

_MOST = 8
"""How many maps of the image's size may be alive at once."""


@check("Right: the same logits, and never more than eight maps of the image's size at once.", usual=("no_grad",))
def lean_tail(answer: Any) -> None:
    """`lean_tail(coarse, image, branch, head)`: logits (B, 1, H, W), scored by the most maps that are alive at once."""
    for batch, wide, narrow, inner, size, small in (
        (1, 12, 4, 16, (48, 64), (12, 16)),
        (2, 10, 6, 20, (57, 42), (7, 5)),  # no multiples of 8: strips have a rest
    ):
        branch, head = ImageBranch(3, narrow, inner).eval(), nn.Conv2d(wide + narrow, 1, 1).eval()
        coarse, image = torch.randn(batch, wide, *small), torch.randn(batch, 3, *size)
        where = f"For an image of {size[0]} x {size[1]}, {wide} coarse channels and {inner} inside the branch"
        with torch.no_grad():
            wanted = _plain(coarse, image, branch, head)
            got = answer(coarse, image, branch, head)
            _refuse_seams(got, wanted, where)
            mistakes = _mistakes(coarse, image, branch, head)
            compare(got, wanted, where, 1e-5, mistakes, _steps(coarse, image, branch, head))
        _refuse_large(answer.function, torch.randn_like(coarse), torch.randn_like(image), branch, head, where)


def _refuse_large(
    function: Callable[..., Any], coarse: Tensor, image: Tensor, branch: Any, head: nn.Module, where: str
) -> None:
    """Count on new numbers, so that nothing which is kept from the call before helps."""
    given, maps, inner = (coarse, image, branch, head), 4 * image[:, 0].numel(), branch.conv_in.out_channels
    results: list[Tensor] = []
    peak = peak_bytes(lambda *x: results.append(function(*x)), *given) / maps
    plain = peak_bytes(_plain, *given) / maps
    with torch.no_grad():
        compare(results[0], _plain(*given), where, 1e-5, {})
    if peak < 1:
        raise Wrong(
            f"{where}, the logits are right, but no PyTorch operator has made them. Are they computed by "
            "NumPy, whose memory is not counted here?"
        )
    if peak > _MOST + 0.5:  # room for a few numbers
        raise Wrong(
            f"{where}, the logits are right, and up to {peak:.1f} maps of the image's size are alive at once. The "
            f"plain way has {plain:.1f}; at most {_MOST} are wanted. {_advice(peak, plain, inner)}"
        )


def _plain(coarse: Tensor, image: Tensor, branch: nn.Module, head: nn.Module) -> Tensor:
    return head(torch.cat([resize(coarse, image.shape[-2:]), branch(image)], dim=1))


def _advice(peak: float, plain: float, inner: int) -> str:
    if peak > plain - 1:
        return "Nothing is saved yet. Convolve the coarse map while it is small, and enlarge one channel (exercise 1)."
    return (
        f"The {inner} maps between the branch's two convolutions need not all be alive together, nor as many parts of "
        "a sum: make a few, add their share, and let them go. A list of parts keeps them all."
    )


def _refuse_seams(got: Any, wanted: Tensor, where: str) -> None:
    """Answers that work in strips are right but for the rows where strips meet."""
    if not isinstance(got, Tensor) or got.shape != wanted.shape or not torch.isfinite(got).all():
        return
    apart = (got - wanted).abs() > 1e-5
    for name, axes in {"rows": (0, 1, 3), "columns": (0, 1, 2)}.items():
        bad = apart.any(dim=axes).nonzero()[:, 0].tolist()
        if 0 < len(bad) <= apart.shape[2 if name == "rows" else 3] // 2:
            shown = ", ".join(map(str, bad[:6])) + (", …" if len(bad) > 6 else "")
            raise Wrong(
                f"{where}, only the {name} {shown} are wrong. Two 3x3 convolutions look two pixels far: a strip needs "
                f"two more {name} of the image on each side, and zeros only where the image itself ends, around each "
                "of the two convolutions."
            )


def _steps(coarse: Tensor, image: Tensor, branch: Any, head: Any) -> tuple[Retry, ...]:
    """Return the tail as functions of its inputs, its parts, its weights and its inner maps, to try changed ones."""
    wide = coarse.shape[1]
    near, far = head.weight[:, :wide], head.weight[:, wide:]
    raised, seen = resize(torch.conv2d(coarse, near), image.shape[-2:]), torch.conv2d(branch(image), far)
    between = branch.conv_in(image)
    weights = {
        "branch.conv_in.weight": branch.conv_in.weight,
        "branch.conv_in.bias": branch.conv_in.bias,
        "branch.conv_out.weight": branch.conv_out.weight,
        "branch.conv_out.bias": branch.conv_out.bias,
        "the head's columns for the coarse map": near,
        "the head's columns for branch(image)": far,
        "head.bias": head.bias,
    }

    def of_weights(**x: Tensor) -> Tensor:
        first, first_bias, second, second_bias, near, far, bias = x.values()
        inside = torch.conv2d(torch.conv2d(image, first, first_bias, padding=1), second, second_bias, padding=1)
        return resize(torch.conv2d(coarse, near), image.shape[-2:]) + torch.conv2d(inside, far, bias)

    def of_parts(**x: Tensor) -> Tensor:
        one, other, bias = x.values()
        return one + other + bias.view(-1, 1, 1)

    def of_maps(**x: Tensor) -> Tensor:
        return raised + torch.conv2d(branch.conv_out(x["the maps inside the branch"]), far, head.bias)

    parts = {"the coarse part": raised, "the part of the image": seen, "head.bias": head.bias}
    return (
        Retry(lambda coarse, image: _plain(coarse, image, branch, head), {"coarse": coarse, "image": image}),
        Retry(of_parts, parts),
        Retry(of_weights, weights),
        Retry(of_maps, {"the maps inside the branch": between}),
    )


def _one_bias(branch: Any) -> tuple[Tensor, Tensor]:
    """The first convolution's weight, and the bias of its first channel for all."""
    return branch.conv_in.weight, branch.conv_in.bias[:1].expand_as(branch.conv_in.bias)


def _share(image: Tensor, branch: Any, far: Tensor, chosen: slice) -> Tensor:
    """The image's part of the logits from some of the maps inside the branch."""
    first, second = branch.conv_in, branch.conv_out
    inside = torch.conv2d(image, first.weight[chosen], first.bias[chosen], padding=1)
    return torch.conv2d(torch.conv2d(inside, second.weight[:, chosen], second.bias, padding=1), far)


@torch.no_grad()
def _mistakes(coarse: Tensor, image: Tensor, branch: Any, head: Any) -> dict[str, Tensor]:
    right, inner = _plain(coarse, image, branch, head), branch.conv_in.out_channels
    channels = coarse.shape[1]
    near, far = head.weight[:, :channels], head.weight[:, channels:]
    raised = resize(torch.conv2d(coarse, near), image.shape[-2:])
    seen = torch.conv2d(branch(image), far)
    inside = (far[:, :, 0, 0] @ branch.conv_out.bias)[:, None, None]
    shift = head.bias[:, None, None]
    unbiased = branch.conv_out(torch.conv2d(image, branch.conv_in.weight, padding=1))
    first, second = (convolutions.affine_of(conv) for conv in (branch.conv_in, branch.conv_out))
    both = convolutions.compose(second, first)
    wide = torch.conv2d(image, both.weight.float(), both.bias.float(), padding=2)
    loose = nn.functional.interpolate(torch.conv2d(coarse, near), image.shape[-2:], mode="bilinear")
    return {
        "The bias of branch.conv_out is lost. It goes through the head: its weights for the image, times this bias.": (
            right - inside
        ),
        "The head's bias is lost.": right - shift,
        "Both biases are lost: the head's, and that of branch.conv_out, which goes through the head.": (
            right - inside - shift
        ),
        "The last of the maps inside the branch is left out.": raised
        + _share(image, branch, far, slice(inner - 1))
        + shift,
        "The first of the maps inside the branch is left out.": raised
        + _share(image, branch, far, slice(1, None))
        + shift,
        "Only the first 8 maps inside the branch count. There are branch.conv_in.out_channels of them.": (
            raised + _share(image, branch, far, slice(8)) + shift
        ),
        "Only the part of the last map inside the branch is in the result: add up (`+=`) all of them.": (
            _share(image, branch, far, slice(inner - 1, None)) - inside
        ),
        "The bias of the first map inside the branch is used for all. Each has its own.": (
            raised + torch.conv2d(branch.conv_out(torch.conv2d(image, *_one_bias(branch), padding=1)), far) + shift
        ),
        "Only the first map inside the branch counts.": raised + _share(image, branch, far, slice(1)) + shift,
        "The bias of branch.conv_in is added once for each map.": (
            raised + torch.conv2d(branch.conv_out(branch.conv_in(image) + branch.conv_in.bias.sum()), far) + shift
        ),
        "The head's bias is added twice.": right + shift,
        "The bias of branch.conv_in is lost.": raised + torch.conv2d(unbiased, far) + shift,
        "Only the coarse map is in the result. Add what the head makes of branch(image).": raised + shift,
        "Only the image is in the result. Add what the head makes of the enlarged coarse map.": seen + shift,
        "The coarse map is enlarged with align_corners=False. BiRefNet aligns corners everywhere.": (
            loose + seen + shift
        ),
        "Right inside, and wrong in the outermost rows and columns: the branch's two convolutions as one of 5x5 run on "
        "over the border (section 6). Put the frame right, or keep the two apart.": (
            raised + torch.conv2d(wide, far) + shift
        ),
    } | {
        f"The head's bias is added {parts} times, once for each part. It belongs to the sum.": right
        + (parts - 1) * shift
        for parts in (2, 4, 8, inner, inner + 1)
    }
