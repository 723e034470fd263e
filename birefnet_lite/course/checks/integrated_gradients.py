"""Check of the exercise on integrated gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, multiply

__all__ = ["integrated_gradients"]


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
