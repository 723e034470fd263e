"""Exercises of notebook 11: a batch norm folded away, two convolutions in one, a convolution before an enlargement."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.optimization import convolutions

__all__ = ["compose_convolutions", "convolve_first", "fold_batch_norm"]

_FIRST_AXIS = " It belongs to the output channels, which are the first axis: s[:, None, None, None]."


@check("Right, with and without a bias, and for any epsilon.")
def fold_batch_norm(answer: Callable[[nn.Conv2d, nn.BatchNorm2d], Any]) -> None:
    """`fold_batch_norm(conv, norm)`: the weight and bias of one convolution that does both, in evaluation."""
    for inputs, outputs, kernel, biased, eps in ((3, 3, 3, True, 0.1), (4, 5, 1, True, 1e-5), (2, 6, 3, False, 0.3)):
        conv = nn.Conv2d(inputs, outputs, kernel, bias=biased)
        norm = _random_norm(outputs, eps)
        where = f"For a {kernel}x{kernel} convolution from {inputs} to {outputs} channels" + (
            "" if biased else " without a bias"
        )
        try:
            weight, bias = _pair_of(answer(conv, norm), where)
        except (TypeError, AttributeError) as error:
            if conv.bias is None and "None" in str(error):
                raise Wrong(f"{where}, conv.bias is None, and you use it: {error}\nTake 0 in its place.") from error
            raise
        wanted = (part.float() for part in convolutions.fold(conv, norm))
        for got, right, name in zip((weight, bias), wanted, ("weight", "bias"), strict=True):
            mistakes = (_wrong_weights if name == "weight" else _wrong_biases)(conv, norm)
            compare(got, right, f"{where}, in the {name}", 1e-5, mistakes)


def _wrong_weights(conv: nn.Conv2d, norm: Any) -> dict[str, Tensor]:
    w, gamma, var, eps = conv.weight.detach(), norm.weight.detach(), norm.running_var, norm.eps
    scale = gamma / (var + eps).sqrt()

    def times(factor: Tensor) -> Tensor:
        return w * factor.view(-1, 1, 1, 1)

    found = {
        "The weight is the convolution's own. Each output channel is scaled by s = gamma / sqrt(var + eps).": w,
        "gamma and beta have changed places: gamma, the factor, is norm.weight, and beta is norm.bias.": (
            times(norm.bias.detach() / (var + eps).sqrt())
        ),
        "The variance is squared. It is a square already: sqrt(var + eps).": times(gamma / (var.square() + eps).sqrt()),
        "The weight lacks gamma, which is norm.weight.": times(1 / (var + eps).sqrt()),
        "eps is missing, or is not this norm's own: sqrt(var + norm.eps).": times(gamma / var.sqrt()),
        "The weight is divided by the variance, not by its root.": times(gamma / (var + eps)),
        "eps is added to the root. It stands under it: sqrt(var + eps).": times(gamma / (var.sqrt() + eps)),
        "The weight is multiplied by sqrt(var + eps). Divide by it.": times(gamma * (var + eps).sqrt()),
        "gamma stands under the root, with the variance. It is a factor outside.": times((gamma / (var + eps)).sqrt()),
    }
    outputs, inputs, _, columns = w.shape
    if outputs == columns:
        found["s multiplies the columns of each kernel." + _FIRST_AXIS] = w * scale
        found["s multiplies the rows of each kernel." + _FIRST_AXIS] = w * scale.view(-1, 1)
    if outputs == inputs:
        found["s multiplies the input channels, the second axis." + _FIRST_AXIS] = w * scale.view(1, -1, 1, 1)
    return found


def _wrong_biases(conv: nn.Conv2d, norm: Any) -> dict[str, Tensor]:
    gamma, beta, mean = norm.weight.detach(), norm.bias.detach(), norm.running_mean
    scale = gamma / (norm.running_var + norm.eps).sqrt()
    b = torch.zeros_like(beta) if conv.bias is None else conv.bias.detach()
    found = {
        "The bias lacks beta, which is norm.bias.": scale * (b - mean),
        "The mean is missing: s * (b - mean) + beta.": scale * b + beta,
        "The bias is beta alone: the mean is missing, s * (b - mean) + beta.": beta,
        "The mean is added. It is taken off: s * (b - mean) + beta.": scale * (b + mean) + beta,
        "beta is multiplied by s, too. It is added at the end, as it is.": scale * (b - mean + beta),
        "The mean is not scaled: it is taken off before the norm divides, so s * (b - mean) + beta.": (
            scale * b - mean + beta
        ),
        "beta is taken off. It is added.": scale * (b - mean) - beta,
        "The bias is that of the convolution, as it was.": b,
        "gamma is missing in the bias: s = gamma / sqrt(var + eps) scales it as it scales the weight.": (
            (b - mean) / (norm.running_var + norm.eps).sqrt() + beta
        ),
        "b - mean is not scaled by s.": b - mean + beta,
    }
    if conv.bias is not None:
        found |= {
            "The convolution's own bias is lost. It goes through the norm as well: s * (b - mean) + beta.": (
                beta - scale * mean
            ),
            "The convolution's own bias is not scaled. It goes through the norm as well: s * (b - mean) + beta.": (
                b - scale * mean + beta
            ),
            "The convolution's own bias is counted twice.": scale * (2 * b - mean) + beta,
        }
    return found


@check("Right: one convolution, and nothing changes at the border either.")
def compose_convolutions(answer: Callable[[nn.Conv2d, nn.Conv2d], Any]) -> None:
    """`compose_convolutions(first, second)`: weight and bias of a k x k convolution and a 1x1 one behind it, as one."""
    for inputs, middle, outputs, kernel in ((3, 3, 3, 3), (2, 5, 4, 3), (4, 3, 1, 1)):
        first, second = nn.Conv2d(inputs, middle, kernel), nn.Conv2d(middle, outputs, 1)
        where = f"For {inputs} to {middle} channels with {kernel}x{kernel}, and on to {outputs} with 1x1"
        weight, bias = _pair_of(answer(first, second), where)
        wanted = convolutions.affine_of(second).after(convolutions.affine_of(first))
        compare(weight, wanted.weight.float(), f"{where}, in the weight", 1e-5, _wrong_products(first, second))
        compare(bias, wanted.bias.float(), f"{where}, in the bias", 1e-5, _wrong_sums(first, second))


def _wrong_products(first: nn.Conv2d, second: nn.Conv2d) -> dict[str, Tensor]:
    w, matrix = first.weight.detach(), second.weight.detach()[:, :, 0, 0]  # (M, I, k, k), (O, M)
    product = torch.einsum("om,mikl->oikl", matrix, w)
    found = {
        "The first two axes have changed places: a weight is (outputs, inputs, k, k).": product.transpose(0, 1),
        "The kernel is turned upside down. Nothing needs to be flipped: the 1x1 convolution mixes channels only.": (
            product.flip(2, 3)
        ),
        "The kernel's rows and columns have changed places.": product.transpose(2, 3),
        "The weight is the first convolution's own.": w,
    }
    if len(matrix) == matrix.shape[1] == w.shape[1] == w.shape[2]:
        found["The matrix meets the kernel's rows. Its sum runs over M, the first axis of the first weight."] = (
            matrix @ w
        )
    if len(matrix) == matrix.shape[1] == w.shape[1]:
        said = "The sum runs over the input channels. It runs over M, the first axis of the first weight."
        found[said] = torch.einsum("oi,mikl->mokl", matrix, w)
        found["The matrix of the second convolution is transposed: its rows belong to the outputs, (O, M)."] = (
            torch.einsum("mo,mikl->oikl", matrix, w)
        )
        found["The order is the wrong way round: the second convolution's matrix stands on the left, V W."] = (
            torch.einsum("omkl,mi->oikl", w, matrix)
        )
        found["The weights are multiplied number by number. Sum over the channels between them."] = (
            w * matrix[:, :, None, None]
        )
    return found


def _wrong_sums(first: Any, second: Any) -> dict[str, Tensor]:
    matrix = second.weight.detach()[:, :, 0, 0]
    b, c = first.bias.detach(), second.bias.detach()
    found = {
        "The first convolution's bias is lost. It goes through the second one: V b + c.": c,
        "The second convolution's bias is lost: V b + c.": matrix @ b,
        "The first convolution's bias is added once to every output. It goes through the second one: V b + c.": (
            c + b.sum()
        ),
        "The two are summed before they are multiplied. V b is a product of a matrix and a vector.": (
            matrix.sum(dim=1) * b.sum() + c
        ),
        "The second convolution's bias is counted twice.": matrix @ b + 2 * c,
    }
    if len(b) == len(c):
        found["The biases are added. The first one goes through the second convolution: V b + c."] = b + c
        found["V is transposed in front of the bias."] = matrix.t() @ b + c
        found["The bias is the first convolution's own."] = b
    return found


@check("Right: the same numbers, and what is enlarged has as many channels as the result.")
def convolve_first(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
    """`convolve_first(coarse, fine, weight, bias)`: a 1x1 convolution of cat(up(coarse), fine), without that map."""
    cases = ((2, 4, 8, 2, (6, 8), (3, 4)), (1, 5, 9, 3, (9, 7), (4, 3)), (1, 6, 6, 1, (8, 8), (2, 2)))
    for batch, narrow, wide, outputs, size, small in cases:
        fine = torch.randn(batch, narrow, *size, requires_grad=True)
        coarse = torch.randn(batch, wide, *small, requires_grad=True)
        weight = torch.randn(outputs, narrow + wide, 1, 1, requires_grad=True)
        bias = torch.randn(outputs, requires_grad=True)
        where = f"For {wide} coarse and {narrow} fine channels, {small[0]} x {small[1]} and {size[0]} x {size[1]}"
        wanted = _slow(fine, coarse, weight, bias)
        with _Sizes() as sizes:
            got = answer(coarse, fine, weight, bias)
        compare(got, wanted, where, 1e-5, _wrong_heads(fine, coarse, weight, bias))
        for source in (fine, coarse, weight, bias):
            compare_gradient(got, wanted, source, where, 1e-4)
        if sizes.largest > max(fine.numel(), coarse.numel(), wanted.numel()):
            raise Wrong(
                f"{where}, the numbers are right, but a map of {sizes.largest} numbers is made on the way: the coarse "
                "map is still enlarged, or laid beside the fine one, with all of its channels. Convolve it while it is "
                "small, and enlarge the result."
            )


def _up(x: Tensor, like: Tensor, **options: Any) -> Tensor:
    options = options or {"mode": "bilinear", "align_corners": True}
    return F.interpolate(x, size=like.shape[-2:], **options)


def _slow(fine: Tensor, coarse: Tensor, weight: Tensor, bias: Tensor | None, **options: Any) -> Tensor:
    return F.conv2d(torch.cat([_up(coarse, fine, **options), fine], dim=1), weight, bias)


def _wrong_heads(fine: Tensor, coarse: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    right = _slow(fine, coarse, weight, bias)
    narrow, wide = fine.shape[1], coarse.shape[1]
    swapped = torch.cat([weight[:, narrow:], weight[:, :narrow]], dim=1)
    raised = _up(F.conv2d(coarse, weight[:, :wide]), fine)
    mapped = F.conv2d(fine, weight[:, wide:])
    shift = bias.view(-1, 1, 1)
    return {
        "The bias is added twice, with the fine map and with the coarse one. It belongs to the sum, once.": right
        + shift,
        "The bias is missing.": right - shift,
        "The enlargement is bilinear, but with align_corners=False. BiRefNet aligns corners everywhere.": _slow(
            fine, coarse, weight, bias, mode="bilinear", align_corners=False
        ),
        "The coarse map is enlarged by nearest neighbours. Use bilinear resampling with align_corners=True.": _slow(
            fine, coarse, weight, bias, mode="nearest"
        ),
        "The weights are split at the wrong place: the coarse map stands in front, so the first columns are its own.": (
            _slow(fine, coarse, swapped, bias)
        ),
        "Only the fine map is in the result. Add what the coarse one gives.": mapped + shift,
        "Only the coarse map is in the result. Add what the fine one gives.": raised + shift,
        "Only the coarse map is in the result, without the bias. Add what the fine one gives.": raised,
        "Only the fine map is in the result, without the bias. Add what the coarse one gives.": mapped,
        "The coarse map is enlarged bicubically. Use bilinear resampling with align_corners=True.": _slow(
            fine, coarse, weight, bias, mode="bicubic", align_corners=True
        ),
        "The two are multiplied. Add them.": raised * mapped + shift,
        "The fine map is taken off. Add it.": raised - mapped + shift,
        "The result has gone through a sigmoid. Give what the convolution gives.": right.sigmoid(),
        "The coarse part has gone through a ReLU. Add it as it is.": raised.relu() + mapped + shift,
        "The result has gone through a ReLU. Give what the convolution gives.": right.relu(),
    }


class _Sizes(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def _random_norm(channels: int, eps: float) -> nn.BatchNorm2d:
    norm: Any = nn.BatchNorm2d(channels, eps=eps).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.running_var):
            tensor.uniform_(0.5, 1.5)
        for tensor in (norm.bias, norm.running_mean):
            tensor.normal_()
    return norm


def _pair_of(got: Any, where: str) -> tuple[Any, Any]:
    if isinstance(got, nn.Module):
        raise Wrong(f"{where}, your function gives a module. Return its numbers: weight, bias.")
    if not isinstance(got, tuple | list) or len(got) != 2:
        what = "nothing" if got is None else type(got).__name__
        raise Wrong(f"{where}, your function gives {what}. Return two tensors: weight, bias.")
    weight, bias = got
    if isinstance(weight, Tensor) and isinstance(bias, Tensor) and weight.ndim == 1 and bias.ndim == 4:
        raise Wrong(f"{where}, weight and bias have changed places: the weight comes first.")
    if bias is None:
        raise Wrong(f"{where}, the bias is None. Also where the convolution has none, the one that does both has one.")
    weight, bias = (part.detach() if isinstance(part, Tensor) else part for part in (weight, bias))
    return weight, bias
