"""Exercises of notebook 10: integrated gradients, the receptive field of a chain, a part that is switched off."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, multiply

__all__ = ["chain_field", "integrated_gradients", "without_part"]

Layers = list[tuple[int, int, int]]


class _Score(nn.Module):
    """Smooth and curved, so that every point of a path has a gradient of its own: (B, 3, H, W) to (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return 10 * nn.functional.softplus(2 * self.conv(images)).square().mean(dim=(1, 2, 3))


@check("Right: your numbers add up to what the score gains on the way.", usual=("detach",))
def integrated_gradients(answer: Callable[[nn.Module, Tensor, Tensor, int], Any]) -> None:
    """`integrated_gradients(score, image, baseline, steps)`: (1, 3, H, W) to the same, by the midpoint rule."""
    score = _Score()
    for height, width, steps in ((6, 8, 4), (5, 3, 16), (4, 4, 2)):
        image, baseline = torch.randn(1, 3, height, width), torch.randn(1, 3, height, width)
        where = f"For an image of {height} x {width} and {steps} steps"
        score.zero_grad(set_to_none=True)
        modes = [part.training for part in score.modules()]
        got = answer(score, image.clone(), baseline.clone(), steps)
        left = any(parameter.grad is not None for parameter in score.parameters())
        wanted = (image - baseline) * _mean_gradient(score, baseline, image, _alphas(steps, 0.5))
        got = got.detach() if isinstance(got, Tensor) else got
        mistakes = _mistakes_of_path(score, image, baseline, steps, wanted) | _mistakes_of_gradients(
            score, image, baseline, steps
        )
        compare(got, wanted, where, 1e-5, mistakes, _steps_of_path(score, image, baseline, steps))
        if modes != [part.training for part in score.modules()]:
            raise Wrong("The numbers are right, but the mode of the network is another one afterwards. Leave it alone.")
        if left:
            raise Wrong(
                "The numbers are right, but gradients stay behind in the network's weights, and the next step of a "
                "training would add them. Use torch.autograd.grad instead of backward."
            )


def _alphas(steps: int, first: float) -> list[float]:
    return [(step + first) / steps for step in range(steps)]


def _mean_gradient(score: nn.Module, start: Tensor, end: Tensor, alphas: list[float]) -> Tensor:
    total = torch.zeros_like(start)
    for alpha in alphas:
        point = torch.lerp(start, end, alpha).requires_grad_()
        total += torch.autograd.grad(score(point).sum(), point)[0]
    return total / len(alphas)


def _trapezoid(score: nn.Module, start: Tensor, end: Tensor, steps: int) -> Tensor:
    weights = [0.5, *[1.0] * (steps - 1), 0.5]
    total = torch.zeros_like(start)
    for weight, alpha in zip(weights, torch.linspace(0, 1, steps + 1).tolist(), strict=True):
        total += weight * _mean_gradient(score, start, end, [alpha])
    return total / steps


def _steps_of_path(score: nn.Module, image: Tensor, baseline: Tensor, steps: int) -> tuple[Retry, ...]:
    middle = _alphas(steps, 0.5)

    def walk(image: Tensor, baseline: Tensor) -> Tensor:
        with torch.enable_grad():
            return (image - baseline) * _mean_gradient(score, baseline, image, middle)

    mean = _mean_gradient(score, baseline, image, middle)
    return (
        Retry(walk, {"image": image, "baseline": baseline}),
        Retry(multiply, {"the way, image - baseline,": image - baseline, "the mean gradient": mean}),
    )


def _mistakes_of_gradients(score: nn.Module, image: Tensor, baseline: Tensor, steps: int) -> dict[str, Tensor]:
    """Mistakes with the gradients of the steps, the points between, or what is derived."""
    way, middle = image - baseline, _alphas(steps, 0.5)
    points = [torch.lerp(baseline, image, alpha) for alpha in middle]
    each = torch.stack([_mean_gradient(score, point, point, [0.0]) for point in points])  # (steps, 1, 3, H, W)
    mean, values = each.mean(dim=0), torch.stack([score(point).sum() for point in points]).detach().view(-1, 1, 1, 1, 1)

    def at(alphas: list[float], parts: int = steps) -> Tensor:
        return way * _mean_gradient(score, baseline, image, alphas) * len(alphas) / parts

    grey = torch.full_like(image, float(image.mean()))
    loop = "Only the gradient of the first point counts. Is the `return` inside the loop?"
    return {
        "The gradients lose their sign before they are added up. Add them as they are.": way * each.abs().mean(dim=0),
        "The gradients are squared before they are added up. Add them as they are.": way * each.square().mean(dim=0),
        "Negative gradients are lost before they are added up. Add them as they are.": way * each.relu().mean(dim=0),
        "The gradients are divided by their length before they are added up. Add them as they are.": (
            way * (each / each.flatten(1).norm(dim=1).view(-1, 1, 1, 1, 1)).mean(dim=0)
        ),
        loop: way * each[0] / steps,
        f"{loop} ": way * each[0],
        "The first gradient counts twice.": way * (each.sum(dim=0) + each[0]) / steps,
        "The points are (k + 0.5) / (n - 1), and go beyond the image. Divide by n.": (
            at([(k + 0.5) / max(steps - 1, 1) for k in range(steps)])
        ),
        "The points have squared distances: alpha is (k + 0.5) / n, as it is.": at([a * a for a in middle]),
        "Both ends are taken, n + 1 points, and divided by n. Take the middle of each of the n steps.": (
            at([k / steps for k in range(steps + 1)])
        ),
        **{
            f"The number of steps is fixed to {number}. Use the argument `steps`.": at(_alphas(number, 0.5), number)
            for number in (10, 16, 20, 32, 50, 64, 100)
            if number != steps
        },
        "Each gradient is multiplied by the point where it is taken. Multiply by the way, image - baseline.": (
            (each * torch.stack(points)).mean(dim=0)
        ),
        "Each gradient is multiplied by the way from the point before, and divided by the steps once more.": (
            way * each.sum(dim=0) / steps**2
        ),
        "The score is squared before it is derived. Derive the score itself.": way * (2 * values * each).mean(dim=0),
        "The logarithm of the score is derived. Derive the score itself.": way * (each / values).mean(dim=0),
        "The score goes through a sigmoid before it is derived. Derive the score itself.": (
            way * (values.sigmoid() * (1 - values.sigmoid()) * each).mean(dim=0)
        ),
        "The gradients have the scores as weights. Their mean is plain.": way * (values * each).mean(dim=0),
        "The way and the mean gradient are added. Multiply them.": way + mean,
        "The gradient is divided by the way. Multiply by it.": mean / way,
        "The path starts at the image's mean colour. It starts at the baseline.": (
            way * _mean_gradient(score, grey, image, middle)
        ),
        "The path starts at the image's mean colour, and the way is that from there. It starts at the baseline.": (
            (image - grey) * _mean_gradient(score, grey, image, middle)
        ),
        "The path goes from the image to the baseline and as far again: a point is baseline + alpha * (image - "
        "baseline).": way * _mean_gradient(score, image, 2 * baseline - image, middle),
        "Only one colour is filled in: the gradient has three.": torch.cat(
            [(way * mean)[:, :1], 0 * way[:, 1:]], dim=1
        ),
        "The gradients are averaged over the colours. Each keeps its own.": way * mean.mean(1, keepdim=True),
        "The values of the score are added up. Add the gradients: torch.autograd.grad(score(x).sum(), x).": (
            way * values.mean()
        ),
        "Only the first half of the path is walked.": way * _mean_gradient(score, baseline, baseline + way / 2, middle),
    }


def _mistakes_of_path(
    score: nn.Module, image: Tensor, baseline: Tensor, steps: int, wanted: Tensor
) -> dict[str, Tensor]:
    way = image - baseline
    middle = _alphas(steps, 0.5)
    mean = _mean_gradient(score, baseline, image, middle)
    zero = torch.zeros_like(image)

    def at(alphas: list[float]) -> Tensor:
        return way * _mean_gradient(score, baseline, image, alphas)

    ends = torch.linspace(0, 1, steps).tolist()
    return {
        "The points lie at the start of each step, 0, 1/n and so on. Take the middle of each step.": (
            at(_alphas(steps, 0))
        ),
        "The points lie at the end of each step, 1/n to 1. Take the middle of each step.": at(_alphas(steps, 1)),
        "linspace(0, 1, steps) includes both ends. Take the middle of each step: 1/2n, 3/2n and so on.": at(ends),
        "You use steps + 1 points, both ends included. Take the middle of each of the n steps.": (
            at(torch.linspace(0, 1, steps + 1).tolist())
        ),
        "The points lie at random, or are fewer or more than `steps`: one for each step.": at(_alphas(2 * steps, 0.5)),
        "There is a point too few: take all steps, 0 to n - 1.": at(middle[:-1]) if steps > 1 else mean,
        "There is a point too many: take the steps 0 to n - 1.": at([*middle, 1 + 0.5 / steps]),
        "There is a point too few, and the mean still divides by n.": (
            at(middle[:-1]) * (steps - 1) / steps if steps > 1 else mean
        ),
        "Only the last point counts: add up the gradients of all steps.": at(middle[-1:]) / steps,
        "Only the last point counts: take the mean over all steps.": at(middle[-1:]),
        "The points lie a whole step too far: count the steps from 0.": at(_alphas(steps, 1.5)),
        "All points lie at the baseline: the fraction is cut off, by `//` or `int`. Divide with `/`.": at([0.0]),
        "The way is squared. Multiply by image - baseline once.": way * wanted,
        "The mean is taken by the trapezoid rule. Take the middle of each step.": way
        * (_mean_gradient(score, baseline, image, ends) if steps < 2 else _trapezoid(score, baseline, image, steps)),
        "The gradients are summed and not divided, and the way is missing.": steps * mean,
        "The gradient is multiplied by the baseline. Multiply it by the way, image - baseline.": baseline * mean,
        "The gradient at the middle of the path alone is used. Take the mean over all steps.": at([0.5]),
        "The mean gradient is squared. Multiply it by the way, image - baseline.": mean.square(),
        "This is the gradient at the image, times the image. Go along the path.": (
            image * _mean_gradient(score, baseline, image, [1.0])
        ),
        "This is the gradient at the image. Take its mean along the path, times the way.": (
            _mean_gradient(score, baseline, image, [1.0])
        ),
        "This is the mean gradient. Multiply it by the way, image - baseline.": mean,
        "The mean gradient is multiplied by the image. Multiply it by the way, image - baseline.": image * mean,
        "The sign is wrong: the way goes from the baseline to the image, image - baseline.": -wanted,
        "The gradients are added up. Take their mean: divide by the number of steps.": steps * wanted,
        "This is the gradient at the image alone, times the way. Go along the path.": at([1.0]),
        "The path starts at black (alpha * image). It starts at the baseline: baseline + alpha * (image - baseline).": (
            way * _mean_gradient(score, zero, image, middle)
        ),
        "The baseline is not used: the path starts at black, and its end is not image - baseline away.": (
            image * _mean_gradient(score, zero, image, middle)
        ),
        "The path lacks the baseline: it goes from 0 to image - baseline. A point is baseline + alpha * (image - "
        "baseline).": way * _mean_gradient(score, zero, way, middle),
        "The path goes to baseline + image. It should end at the image: baseline + alpha * (image - baseline).": (
            way * _mean_gradient(score, baseline, baseline + image, middle)
        ),
        "These are absolute values. What speaks against the score is negative.": wanted.abs(),
        "The colours are added up. Here, keep a number for each: the shape of the image.": wanted.sum(1, keepdim=True),
        "The batch or the colours are missing: keep the shape of the image.": wanted[0],
    }


@check("Right, for every chain.")
def chain_field(answer: Callable[[Layers], Any]) -> None:
    """`chain_field(layers)`: (kernel, stride, dilation) of each, first to last, to (size, stride) in pixels."""
    chains: tuple[Layers, ...] = (
        [(3, 2, 1), (5, 2, 1), (3, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 1, 1)],
        [(2, 3, 1), (3, 1, 4), (5, 2, 3)],
        [(3, 1, 1)] * 4,
        [],
    )
    for layers in chains:
        where = f"For the layers {layers}"
        got = answer(list(layers))
        try:
            found = tuple(got)
            got = tuple(int(number) for number in found)
        except (TypeError, ValueError):
            raise Wrong(f"{where}, the result should be two numbers, (size, stride), not {got!r}.") from None
        if got != found:
            raise Wrong(f"{where}, the result should be whole numbers, not {found!r}.")
        wanted = _walk_back(layers)
        if got == wanted:
            continue
        for sentence, mistake in _mistakes_of_field(layers).items():
            if got == mistake:
                raise Wrong(f"{where}: {sentence}")
        raise Wrong(f"{where}, the result should be {wanted}, not {got}. {_simplest(answer, got, wanted)}")


_SIMPLE: tuple[tuple[Layers, str], ...] = (
    ([], "Without a layer, a cell is one pixel: size 1, stride 1."),
    ([(1, 1, 1)], "A kernel of 1 reaches no further: size 1, stride 1."),
    ([(3, 1, 1)], "A kernel of 3 sees 3 cells: the size grows by k - 1."),
    ([(4, 1, 1)], "A kernel of 4 sees 4 cells: the size grows by k - 1."),
    ([(3, 1, 2)], "Taps that lie 2 apart span 5 cells: the size grows by (k - 1) * dilation."),
    ([(1, 2, 1)], "A stride of 2 does not change what one cell sees; neighbours lie 2 pixels apart."),
    ([(3, 2, 1)], "The stride of a layer counts for the layers behind it only: first grow, then multiply."),
    ([(3, 1, 1), (3, 1, 1)], "Each of the two layers adds k - 1 = 2."),
    ([(1, 2, 1), (1, 2, 1)], "Strides multiply: 2 * 2."),
    ([(1, 2, 1), (1, 3, 1)], "Strides multiply: 2 * 3."),
    ([(1, 2, 1), (3, 1, 1)], "Behind a stride of 2 cells lie 2 pixels apart: the size grows by (k - 1) * 2."),
    ([(3, 2, 1), (3, 2, 1)], "The second layer's cells lie 2 pixels apart: the size is 3 + 2 * 2."),
    ([(3, 2, 1), (3, 1, 2)], "The second layer grows by (k - 1) * dilation * 2, the stride in front of it."),
    ([(3, 1, 2), (3, 1, 2)], "Each layer adds (k - 1) * dilation = 4."),
)


def _simplest(answer: Callable[[Layers], Any], got: tuple[int, ...], wanted: tuple[int, int]) -> str:
    """The shortest chain for which the answer is wrong, with the rule; and which of the two numbers is right."""
    if len(got) != 2:
        return "Give two numbers, the size and the stride."
    right = ["the size"] * (got[0] == wanted[0]) + ["the stride"] * (got[1] == wanted[1])
    said = f"Of the two, {right[0]} is right. " if right else ""
    for layers, rule in _SIMPLE:
        try:
            mine = tuple(int(number) for number in answer(list(layers)))
        except (TypeError, ValueError, IndexError):
            continue
        if mine != _walk_back(layers):
            return f"{said}The shortest chain that goes wrong is {layers}: {_walk_back(layers)}, not {mine}. {rule}"
    return said.strip()


def _walk_back(layers: Layers) -> tuple[int, int]:
    """From the last layer to the photo: how many cells of each map does one cell at the end need?"""
    size, stride = 1, 1
    for kernel, step, dilation in reversed(layers):
        size, stride = (size - 1) * step + (kernel - 1) * dilation + 1, stride * step
    return size, stride


def _mistakes_of_field(layers: Layers) -> dict[str, tuple[int, ...]]:
    size, stride = _walk_back(layers)

    def walk(grow: Callable[[int, int, int, int, int], int], chain: Layers = layers, first: int = 1) -> tuple[int, int]:
        found, steps = first, 1
        for kernel, step, dilation in chain:
            found, steps = grow(found, steps, kernel, step, dilation), steps * step
        return found, steps

    return {
        "the stride of a layer changes the distance of its outputs, not of its inputs. Grow first, then multiply.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d * j * s)
        ),
        "a kernel of k cells reaches k - 1 cells further, not k.": walk(lambda r, j, k, s, d: r + k * d * j),
        "the strides before a layer are missing in its reach: its cells lie that many pixels apart.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d)
        ),
        "the dilation is not used: the cells of a kernel lie `dilation` cells apart.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * j)
        ),
        "a dilated kernel spans (k - 1) * dilation + 1 cells, not k * dilation.": (
            walk(lambda r, j, k, s, d: r + (k * d - 1) * j)
        ),
        "one cell of the photo sees itself: start with a size of 1, not 0.": (size - 1, stride),
        "the layers are walked from last to first. With this rule, start at the photo.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d * j, layers[::-1])
        ),
        "the order is (size, stride).": (stride, size),
        "the strides are added: they multiply.": _added(layers),
        "the strides are added. They multiply.": (size, 1 + sum(step - 1 for _, step, _ in layers)),
        "the strides are added, from 0. They multiply, from 1.": (size, sum(step for _, step, _ in layers)),
        "the strides are added. They multiply. ": (size, 1 + sum(step for _, step, _ in layers)),
        "the stride is that of the last layer. Multiply all of them.": (size, layers[-1][1] if layers else stride),
        "stride and dilation have changed places: a layer is (kernel, stride, dilation).": (
            _walk_back([(kernel, dilation, step) for kernel, step, dilation in layers])
        ),
        "the strides before a layer multiply: the distance is that of all of them, and not of the last one alone.": (
            _latest(layers)
        ),
        "only the first layer is walked through. Is the `return` inside the loop?": _walk_back(layers[:1]),
        "a kernel reaches 2 * (k // 2) cells further in your rule, which is right for odd ones. It is k - 1.": (
            walk(lambda r, j, k, s, d: r + 2 * (k // 2) * d * j)
        ),
        "the first layer is left out.": _walk_back(layers[1:]),
        "the last layer is left out.": _walk_back(layers[:-1]),
        "the dilation multiplies the stride, too. It spreads the cells of one kernel only.": (_dilated(layers)),
        "the stride is 1 whatever the layers: multiply the strides of all layers.": (size, 1),
        "a kernel reaches (k - 1) / 2 cells to each side, and there are two sides.": (
            walk(lambda r, j, k, s, d: r + (k - 1) // 2 * d * j)
        ),
        "the reach is counted from 0, and k cells instead of k - 1.": (
            walk(lambda r, j, k, s, d: r + k * d * j, first=0)
        ),
        "the sizes of the kernels are multiplied. Each adds its reach.": walk(lambda r, j, k, s, d: r * k),
        "give both numbers, (size, stride).": (size,),
    }


def _added(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which strides are added."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, stride + step
    return size, stride


def _latest(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which the last stride takes the place of the product."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, step
    return size, stride


def _dilated(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which the dilation multiplies the stride."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, stride * step * dilation
    return size, stride


class _Chain(nn.Module):
    """A part with a way around it, as the parts of a network have; it can be told to fail behind the part."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.part = nn.Conv2d(4, 1, 3, padding=1)  # one map, added to all four
        self.fails: Exception | None = None
        self.runs = 0
        self.from_part: Any = None

    def forward(self, image: Tensor) -> Tensor:
        self.runs += 1
        x = self.first(image).tanh()
        added = self.part(x)
        self.from_part = added.detach() if isinstance(added, Tensor) else added
        if self.fails:
            raise self.fails
        return self.last(x + added)


class _Stop(RuntimeError, ValueError):
    """An error that is caught as either."""


class _Twice(nn.Module):
    """A part that runs twice in one call, as the backbone does."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.part(image) + self.part(2 * image)


@check(
    "Right: the part is off for one call, and on again even when the network raises.",
    changes=nn.Module,
    usual=("tanh",),
)
def without_part(answer: Callable[[nn.Module, nn.Module, Tensor], Any]) -> None:
    """`without_part(model, part, image)`: the model's output while the output of its submodule `part` is 0."""
    for batch, height, width in ((2, 8, 6), (1, 5, 7)):
        model: Any = _Chain()
        guest = model.part.register_forward_hook(lambda *arguments: None)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        where = f"For an image of {tuple(image.shape)}"
        before = model(image)
        modes = {name: part.training for name, part in model.named_modules()}
        versions = [weight._version for weight in model.parameters()]
        model.runs = 0
        got = answer(model, model.part, image)
        runs, replaced = model.runs, model.from_part
        if versions != [weight._version for weight in model.parameters()]:
            raise Wrong("Weights of the part are changed, if only for a while. Leave them alone, use a hook.")
        x = model.first(image).tanh()
        bias = model.part(torch.zeros_like(x))
        mistakes = {
            "This is the output of the whole network. What a forward hook *returns* takes the place of the output; "
            "without a return, nothing changes.": before,
            "The input of the part is 0, and its bias still comes out. Replace what comes out.": model.last(x + bias),
            "The part gives its mean. Replace it by 0.": (
                model.last(x + model.part(x).mean(dim=(2, 3), keepdim=True).expand_as(x))
            ),
            "The part gives what went in. Replace its output by 0.": model.last(x + x),
            "This is the output of the part itself, which is 0. Run the whole model. Is the hook on the whole model? "
            "It belongs on `part`.": torch.zeros_like(before),
            "The input of the part is 0, and not its output.": model.last(x + bias),
            "The output of the part is negated. Replace it by 0.": model.last(x - model.part(x)),
            "The output of the part is 1 everywhere. Replace it by 0.": model.last(x + 1),
            "The part is applied twice.": model.last(x + 2 * model.part(x)),
            "The way around the part is cut off, too: only its own output is 0.": model.last(torch.zeros_like(x)),
            "The weights of the part are 0, but its bias still comes out.": (
                model.last(x + model.part.bias.view(1, -1, 1, 1))
            ),
            "The bias of the part is 0, but its weights still act.": (
                model.last(x + model.part(x) - model.part.bias.view(1, -1, 1, 1))
            ),
        }
        _name_the_share(got, model, x, where)
        mistakes |= {
            "This is the loss that the part prevents, the whole output less that without it. Give the latter.": (
                before - model.last(x)
            ),
            "This is the output without the part less the whole. Give the output alone.": model.last(x) - before,
            "The image is 0. Give the model the image, and switch off the part.": (
                model.last(model.first(torch.zeros_like(image)).tanh())
            ),
        }
        steps = Retry(
            partial(_finish, model, x),
            {"added": model.part(x)},
            "The part still gives something, and should give 0. Your result is that of the model with its output",
        )
        compare(got, model.last(x), where, 1e-6, mistakes, (steps,))
        compare_gradient(got, model.last(x), image, where, 1e-5)
        if any(not torch.equal(value, weights[name]) for name, value in model.state_dict().items()):
            raise Wrong("The number is right, but the weights of the part are gone. Leave them alone, use a hook.")
        if modes != {name: part.training for name, part in model.named_modules()}:
            raise Wrong("The number is right, but the mode of the model is another one afterwards. Leave it alone.")
        if any(not weight.requires_grad for weight in model.parameters()):
            raise Wrong("The number is right, but weights of the model are frozen afterwards. Leave them alone.")
        compare_parameter_gradients(got, model.last(x), model, model, where, 1e-4)
        _refuse_misfit(replaced, bias, runs)
        _as_it_was(model, image, before, guest.id, "The number is right, but")
        model.fails = _Stop("stop")
        try:
            answer(model, model.part, image)
            raise Wrong("The network raised an error and your function kept it quiet. Let it through.")
        except Exception as error:
            if error is not model.fails:
                raise (
                    error
                    if isinstance(error, Wrong)
                    else Wrong(
                        "The network raised an error and your function raises another one. Let it through as it is."
                    )
                ) from error
        model.fails = None
        _as_it_was(model, image, before, guest.id, "When the network raises an error,")
    twice, image = _Twice(), torch.randn(1, 3, 4, 4)
    if not torch.equal(answer(twice, twice.part, image), image):
        raise Wrong(
            "A part that runs twice in one call, as the backbone does, is on again in one of its runs. Keep it off "
            "until the whole model is through: remove the hook behind the model, not inside the hook."
        )


def _finish(model: Any, x: Tensor, added: Tensor) -> Tensor:
    return model.last(x + added)


def _name_the_share(got: Any, model: Any, x: Tensor, where: str) -> None:
    """Raise `Wrong` where the part's output is multiplied by another number than 0."""
    right, whole = model.last(x).detach(), model.last(x + model.part(x)).detach()
    if not isinstance(got, Tensor) or got.shape != right.shape or got.dtype != right.dtype:
        return
    got = got.detach()
    share = float(((got - right) * (whole - right)).sum() / (whole - right).square().sum())
    if abs(share) > 1e-5 and abs(share - 1) > 1e-4 and torch.allclose(got, right + share * (whole - right), atol=1e-6):
        raise Wrong(f"{where}, the part's output is multiplied by {share:.3g}. Replace it by 0.")


def _refuse_misfit(replaced: Any, like: Tensor, runs: int) -> None:
    if not isinstance(replaced, Tensor):
        raise Wrong(
            f"The number is right, but the part gives {type(replaced).__name__} and not a tensor, which only an "
            "addition can take. Give zeros in the shape of the output: torch.zeros_like(output)."
        )
    if replaced.shape != like.shape:
        raise Wrong(
            f"The number is right, but the part gives zeros of {tuple(replaced.shape)}, where its output has the shape "
            f"{tuple(like.shape)}. Is it the shape of its input?"
        )
    if runs > 1:
        raise Wrong(f"The number is right, but the model runs {runs} times. Run it once.")


def _as_it_was(model: Any, image: Tensor, before: Tensor, guest: int, when: str) -> None:
    hooks = model.part._forward_hooks
    if guest not in hooks:
        raise Wrong(f"{when} a hook of somebody else is gone too. Remove your own: handle.remove().")
    if len(hooks) > 1 or not torch.equal(model(image), before):
        raise Wrong(f"{when} the part stays off afterwards. Remove the hook in a `finally`: handle.remove().")
