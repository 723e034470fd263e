"""Exercises of notebook 11: a batch norm folded away, two convolutions in one, a convolution before an enlargement."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from birefnet_lite.course.checks.compare import Mistakes, compare, compare_gradient
from birefnet_lite.course.checks.differences import WEIGHT
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry
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
            compare(got, right, f"{where}, in the {name}", 1e-5, mistakes, _steps_of_fold(conv, norm, name), WEIGHT)


def _scaled(weight: Tensor, scale: Tensor) -> Tensor:
    return weight * scale.view(-1, 1, 1, 1)


def _steps_of_fold(conv: nn.Conv2d, norm: Any, name: str) -> tuple[Retry, ...]:
    gamma, beta, mean, var = norm.weight.detach(), norm.bias.detach(), norm.running_mean, norm.running_var
    eps, scale = torch.tensor(norm.eps), gamma / (var + norm.eps).sqrt()
    b = torch.zeros_like(beta) if conv.bias is None else conv.bias.detach()

    def weight(**x: Tensor) -> Tensor:
        w, gamma, var, eps = x.values()
        return _scaled(w, gamma / (var + eps).sqrt())

    def bias(**x: Tensor) -> Tensor:
        b, mean, beta, gamma, var, eps = x.values()
        return gamma / (var + eps).sqrt() * (b - mean) + beta

    def shift(**x: Tensor) -> Tensor:
        scale, b, mean, beta = x.values()
        return scale * (b - mean) + beta

    own = {"gamma": gamma, "the variance": var, "eps": eps}
    shifts = {"the convolution's bias": b, "the mean": mean, "beta": beta}
    if name == "weight":
        w = {"the convolution's weight": conv.weight.detach()}
        apart = Retry(lambda **x: _scaled(*x.values()), w | {"the factor s": scale})
        return Retry(weight, w | own), apart
    return Retry(bias, shifts | own), Retry(shift, {"the factor s": scale, **shifts})


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
        "The weight is multiplied by sqrt(var + eps), and gamma is missing: s = gamma / sqrt(var + eps).": (
            times((var + eps).sqrt())
        ),
        "The weight is multiplied by gamma alone: s = gamma / sqrt(var + eps).": times(gamma),
        "eps stands behind the fraction. It stands under the root: sqrt(var + eps).": times(gamma / var.sqrt() + eps),
        "The factor s is added. Multiply by it.": w + scale.view(-1, 1, 1, 1),
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
        "The mean of the weight stands where a bias or a mean belongs: s * (b - norm.running_mean) + beta.": (
            scale * (conv.weight.detach().mean(dim=(1, 2, 3)) - mean) + beta
        ),
        "The mean of the weight is taken off. Take off norm.running_mean.": (
            scale * (b - conv.weight.detach().mean(dim=(1, 2, 3))) + beta
        ),
        "gamma is missing in the bias: s = gamma / sqrt(var + eps) scales it as it scales the weight.": (
            (b - mean) / (norm.running_var + norm.eps).sqrt() + beta
        ),
        "b - mean is not scaled by s.": b - mean + beta,
        "The mean is divided by the variance and not by its root: s * (b - mean) + beta.": (
            scale * b - gamma * mean / (norm.running_var + norm.eps) + beta
        ),
        "The mean is multiplied by gamma alone: s * (b - mean) + beta.": scale * b - gamma * mean + beta,
        "The signs of b and the mean are exchanged: s * (b - mean) + beta.": scale * (mean - b) + beta,
        "s is used twice: s * (b - mean) + beta.": scale * scale * (b - mean) + beta,
        "The numbers of the weight are in the mean: it is norm.running_mean as it is.": (
            scale * (b - mean * conv.weight.detach().sum(dim=(1, 2, 3))) + beta
        ),
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
        parts = {"the first weight": first.weight.detach(), "the matrix": second.weight.detach()[:, :, 0, 0]}
        biases = {"the first bias": first.bias.detach(), "the second bias": second.bias.detach()}  # type: ignore[union-attr]
        product, total = Retry(_product, parts), Retry(_sum, {"the matrix": parts["the matrix"], **biases})
        at = f"{where}, in the weight"
        compare(weight, wanted.weight.float(), at, 1e-5, _wrong_products(first, second), (product,), WEIGHT)
        compare(bias, wanted.bias.float(), f"{where}, in the bias", 1e-5, _wrong_sums(first, second), (total,))


def _product(**x: Tensor) -> Tensor:
    weight, matrix = x.values()
    return torch.einsum("om,mikl->oikl", matrix, weight)


def _sum(**x: Tensor) -> Tensor:
    matrix, b, c = x.values()
    return matrix @ b + c


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
        "The mean over the channels between the two is taken. Take their sum.": product / len(w),
        "Only the centre of the kernel is multiplied. Multiply all of it.": (
            product[:, :, w.shape[2] // 2, w.shape[3] // 2, None, None]
        ),
        "The channels between the two are still an axis. Sum over them.": (matrix[:, :, None, None, None] * w),
        "The kernel is added up. A weight keeps its rows and columns.": product.sum(dim=(2, 3), keepdim=True),
        "Only the first channel between the two counts. Sum over all of them.": (
            torch.einsum("o,ikl->oikl", matrix[:, 0], w[0])
        ),
        "The two are added. Multiply, and sum over the channels between them.": (
            (matrix[:, :, None, None, None] + w).sum(dim=1)
        ),
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
        arguments = {"fine": fine, "coarse": coarse, "weight": weight, "bias": bias}
        raised, mapped = F.conv2d(_up(coarse, fine), weight[:, :wide]), F.conv2d(fine, weight[:, wide:])
        parts = {"the coarse part": raised, "the fine part": mapped, "bias": bias}
        halves = {"the weight's columns for coarse": weight[:, :wide], "those for fine": weight[:, wide:]}
        split = Retry(partial(_slow_halves, fine, coarse, bias), halves)
        retries = Retry(_slow, arguments), Retry(_added, parts), split
        compare(got, wanted, where, 1e-5, _wrong_heads(fine, coarse, weight, bias), retries)
        for source in (fine, coarse, weight, bias):
            compare_gradient(got, wanted, source, where, 1e-4)
        if sizes.largest > max(fine.numel(), coarse.numel(), wanted.numel()):
            raise Wrong(
                f"{where}, the numbers are right, but a map of {sizes.largest} numbers is made on the way: the coarse "
                "map is still enlarged, or laid beside the fine one, with all of its channels. Convolve it while it is "
                "small, and enlarge the result."
            )


def _slow_halves(fine: Tensor, coarse: Tensor, bias: Tensor, **halves: Tensor) -> Tensor:
    return _slow(fine, coarse, torch.cat(list(halves.values()), dim=1), bias)


def _added(**x: Tensor) -> Tensor:
    coarse, fine, bias = x.values()
    return coarse + fine + bias.view(-1, 1, 1)


def _up(x: Tensor, like: Tensor, **options: Any) -> Tensor:
    options = options or {"mode": "bilinear", "align_corners": True}
    return F.interpolate(x, size=like.shape[-2:], **options)


def _slow(fine: Tensor, coarse: Tensor, weight: Tensor, bias: Tensor | None, **options: Any) -> Tensor:
    return F.conv2d(torch.cat([_up(coarse, fine, **options), fine], dim=1), weight, bias)


def _wrong_heads(fine: Tensor, coarse: Tensor, weight: Tensor, bias: Tensor) -> Mistakes:
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
        "The fine map is shrunk to the coarse one. Enlarge what the coarse one gives instead.": (
            _slow(F.interpolate(fine, coarse.shape[-2:]), coarse, weight, bias),
            _slow(_up(fine, coarse), coarse, weight, bias),
        ),
        "The two are multiplied. Add them.": raised * mapped + shift,
        "The fine map is taken off, and the bias with it. Add them.": raised - mapped - shift,
        "The bias multiplies the fine part. Add it.": raised + mapped * shift,
        "The weights for the coarse map are divided by their number. Use them as they are.": (
            raised / wide + mapped + shift
        ),
        "The fine map meets the first columns of the weight. They belong to the coarse map; its own come behind.": (
            raised + F.conv2d(fine, weight[:, :narrow]) + shift
        ),
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
