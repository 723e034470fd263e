"""The checks of notebook 10: right answers pass, wrong ones are told what is probably wrong."""

import pytest
import torch
from answers import knows_a_missing_answer
from captum.attr import IntegratedGradients
from torch import nn

from birefnet_lite.course import checks


def by_captum(score, image, baseline, steps):
    return IntegratedGradients(score).attribute(image, baseline, n_steps=steps, method="riemann_middle")


def chain_field(layers):
    """By brute force: where does the gradient of one cell in the middle arrive, when every weight is 1?"""
    stride = 1
    for _, step, _ in layers:
        stride *= step
    line = torch.zeros(1, 1, 200, requires_grad=True)
    x = line
    for kernel, step, dilation in layers:
        x = nn.functional.conv1d(x, torch.ones(1, 1, kernel), stride=step, dilation=dilation)
    (gradient,) = torch.autograd.grad(x[0, 0, x.shape[2] // 2], line)
    reached = gradient[0, 0].nonzero()
    return int(reached.max() - reached.min()) + 1, stride


def without_part(model, part, image):
    handle = part.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    try:
        return model(image)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.integrated_gradients, by_captum),
        (checks.chain_field, chain_field),
        (checks.without_part, without_part),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


def summed(score, image, baseline, points):
    """The gradients at the points, as a batch, times nothing yet."""
    points = torch.cat(points).requires_grad_()
    (gradients,) = torch.autograd.grad(score(points).sum(), points)
    return gradients.sum(0, keepdim=True)


def along(alphas, start=lambda image, baseline: baseline, times=lambda image, baseline: image - baseline):
    def answer(score, image, baseline, steps):
        first = start(image, baseline)
        chosen = alphas(steps)
        points = [first + a * (image - first) for a in chosen]
        return times(image, baseline) * summed(score, image, baseline, points) / len(chosen)

    return answer


def middle(n):
    return [(i + 0.5) / n for i in range(n)]


def right(score, image, baseline, steps):
    return along(middle)(score, image, baseline, steps)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (along(lambda n: [i / n for i in range(n)]), "start of each step"),
        (along(lambda n: [(i + 1) / n for i in range(n)]), "end of each step"),
        (along(lambda n: torch.linspace(0, 1, n).tolist()), "includes both ends"),
        (along(lambda n: torch.linspace(0, 1, n + 1).tolist()), "steps + 1 points"),
        (along(middle, times=lambda i, b: 1), "mean gradient. Multiply"),
        (along(middle, times=lambda i, b: i), "multiplied by the image"),
        (along(middle, times=lambda i, b: b - i), "sign is wrong"),
        (along(middle, start=lambda i, b: 0 * b), "starts at black"),
        (along(middle, start=lambda i, b: 0 * b, times=lambda i, b: i), "baseline is not used"),
        (along(lambda n: [1.0]), "at the image alone"),
        (lambda s, i, b, n: n * right(s, i, b, n), "Take their mean"),
        (lambda s, i, b, n: right(s, i, b, n).abs(), "absolute values"),
        (lambda s, i, b, n: right(s, i, b, n).sum(1, keepdim=True), "keep a number for each"),
        (lambda s, i, b, n: right(s, i, b, n)[0], "keep the shape"),
        (lambda s, i, b, n: right(s, i, b, n) * float("nan"), "NaN"),
        (lambda s, i, b, n: right(s, i, b, n) + 0.01, "numbers differ"),
        (lambda s, i, b, n: right(s, i, b, n).numpy(), "not a tensor"),
    ],
)
def test_wrong_attributions_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.integrated_gradients(wrong)
    assert result.passed is False
    assert said in result.message


def test_gradients_left_in_the_weights_are_named():
    def careless(score, image, baseline, steps):
        total = torch.zeros_like(image)
        for alpha in middle(steps):
            point = (baseline + alpha * (image - baseline)).requires_grad_()
            score(point).sum().backward()
            total += point.grad
        return (image - baseline) * total / steps

    result = checks.integrated_gradients(careless)
    assert result.passed is False
    assert "stay behind" in result.message


def test_the_plain_rule_is_right():
    def forward(layers):
        size = stride = 1
        for kernel, step, dilation in layers:
            size, stride = size + (kernel - 1) * dilation * stride, stride * step
        return size, stride

    assert checks.chain_field(forward).passed is True
    assert checks.chain_field(lambda layers: torch.tensor(forward(layers))).passed is True


def field(grow, first=1, order=1):
    def answer(layers):
        size, stride = first, 1
        for k, s, d in layers[::order]:
            size, stride = grow(size, stride, k, s, d), stride * s
        return size, stride

    return answer


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (field(lambda r, j, k, s, d: r + (k - 1) * d * j * s), "Grow first"),
        (field(lambda r, j, k, s, d: r + k * d * j), "not k."),
        (field(lambda r, j, k, s, d: r + (k - 1) * d), "strides before"),
        (field(lambda r, j, k, s, d: r + (k - 1) * j), "dilation is not used"),
        (field(lambda r, j, k, s, d: r + (k * d - 1) * j), "spans"),
        (field(lambda r, j, k, s, d: r + (k - 1) * d * j, first=0), "start with a size of 1"),
        (field(lambda r, j, k, s, d: r + (k - 1) * d * j, order=-1), "last to first"),
        (field(lambda r, j, k, s, d: r * k), "Each adds its reach"),
        (lambda layers: chain_field(layers)[::-1], "the order is"),
        (lambda layers: chain_field(layers)[:1], "give both numbers"),
        (lambda layers: chain_field(layers)[0], "two numbers"),
        (lambda layers: (1, 1), "the result should be"),
    ],
)
def test_wrong_fields_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.chain_field(wrong)
    assert result.passed is False
    assert said in result.message


def hooked(change, clean=lambda part, handle: handle.remove()):
    def answer(model, part, image):
        handle = part.register_forward_hook(change)
        try:
            return model(image)
        finally:
            clean(part, handle)

    return answer


def zero(module, inputs, output):
    return torch.zeros_like(output)


def hopeful(model, part, image):
    handle = part.register_forward_hook(zero)
    result = model(image)
    handle.remove()
    return result


def zeroed_input(model, part, image):
    handle = part.register_forward_pre_hook(lambda module, inputs: (torch.zeros_like(inputs[0]),))
    try:
        return model(image)
    finally:
        handle.remove()


def zeroed_weights(model, part, image):
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.zero_()
    return model(image)


def zeroed_for_a_while(model, part, image):
    kept = {name: value.clone() for name, value in part.state_dict().items()}
    try:
        return zeroed_weights(model, part, image)
    finally:
        part.load_state_dict(kept)


def quiet(model, part, image):
    try:
        return without_part(model, part, image)
    except RuntimeError:
        return None


def without_gradient(model, part, image):
    with torch.no_grad():
        return without_part(model, part, image)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (hooked(lambda module, inputs, output: None), "without a return"),
        (zeroed_input, "its bias still comes out"),
        (hooked(lambda m, i, out: out.mean((2, 3), keepdim=True).expand_as(out)), "its mean"),
        (hooked(lambda m, inputs, out: inputs[0]), "what went in"),
        (lambda model, part, image: torch.zeros(len(image), 4, *image.shape[2:]), "output of the part itself"),
        (zeroed_weights, "Weights of the part are changed"),
        (zeroed_for_a_while, "if only for a while"),
        (hooked(zero, clean=lambda part, handle: None), "Remove the hook"),
        (hooked(zero, clean=lambda part, handle: part._forward_hooks.clear()), "somebody else"),
        (hopeful, "When the network raises"),
        (quiet, "Let it through"),
        (without_gradient, "no_grad"),
        (hooked(lambda m, i, out: torch.ones_like(out)), "1 everywhere"),
    ],
)
def test_wrong_switches_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.without_part(wrong)
    assert result.passed is False
    assert said in result.message


def everywhere(score, image, side, runs):
    """Draws places at random, keeps the one that costs most, and tries its neighbours with the rest."""
    generator = torch.Generator().manual_seed(0)
    height, width = image.shape[-2:]

    def cost(corner):
        covered = image.clone()
        covered[..., corner[0] : corner[0] + side, corner[1] : corner[1] + side] = 0
        with torch.no_grad():
            return -float(score(covered))

    grid = [(row, column) for row in range(0, height, side) for column in range(0, width, side)]
    best = max((cost(corner), corner) for corner in grid)
    for count in range(runs - len(grid)):
        reach = max(2, side // 2 - count // 2)
        moves = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        corner = tuple(min(max(0, a + move), height - side) for a, move in zip(best[1], moves, strict=True))
        best = max(best, (cost(corner), corner))
    return best[1]


@pytest.mark.slow
def test_a_search_by_chance_may_be_right_too():
    knows_a_missing_answer(checks.worst_square, everywhere, praise="Right")


def best_of_the_grid(score, image, side, runs):
    return everywhere(score, image, side, 16)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (best_of_the_grid, "best of the grid"),
        (lambda score, image, side, runs: everywhere(score, image, side, runs + 1), "more than 50 images"),
        (lambda score, image, side, runs: everywhere(score, image, side, runs)[::-1], "(row, column), not"),
        (lambda score, image, side, runs: (36, 36), "The one in the middle costs"),
        (lambda score, image, side, runs: everywhere(lambda x: -score(x), image, side, runs), "costs least"),
        (lambda score, image, side, runs: (0, 0, 1), "two numbers"),
        (lambda score, image, side, runs: None, "two numbers"),
        (lambda score, image, side, runs: (80, 10), "does not lie inside"),
        (lambda score, image, side, runs: (1.5, 10), "whole numbers"),
        (lambda score, image, side, runs: everywhere(lambda x: score(x[0]), image, side, runs), "takes images"),
    ],
)
def test_squares_that_cost_little_are_refused_with_the_likely_mistake(wrong, said):
    result = checks.worst_square(wrong)
    assert result.passed is False
    assert said in result.message
