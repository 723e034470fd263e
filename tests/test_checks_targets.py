"""The checks of notebook 07 against the solution and against wrong answers: they must tell them apart, and say why."""

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, refused
from kornia.filters import laplacian as kornia_laplacian

from birefnet_lite.course import checks
from birefnet_lite.network.refinement import gradient_target, laplacian, masked_gradient_target
from birefnet_lite.network.resize import resize
from birefnet_lite.training.losses import GradientLoss


def loss(logits, targets, kind):
    return GradientLoss(kind)(logits, targets)


@pytest.mark.parametrize(
    ("check", "solution"),
    [
        (checks.laplacian, laplacian),
        (checks.laplacian, lambda image: kornia_laplacian(image, 5)),
        (checks.gradient_target, gradient_target),
        (checks.masked_gradient_target, masked_gradient_target),
        (checks.gradient_loss, loss),
    ],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution, silence="`return`")


def filtered(image, centre=-0.5, other=1 / 48, mode="reflect", side=5, groups=None):
    channels, pad = image.shape[1], side // 2
    kernel = torch.full((side, side), float(other))
    kernel[pad, pad] = centre
    padded = F.pad(image, (pad,) * 4, mode=mode)
    if groups == 1:
        return F.conv2d(padded, kernel.expand(channels, channels, side, side))
    return F.conv2d(padded, kernel.expand(channels, 1, side, side), groups=channels)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x: filtered(x, mode="constant"), "padded with zeros"),
        (lambda x: filtered(x, mode="replicate"), "copies of its last pixel"),
        (lambda x: filtered(x, mode="circular"), "opposite side"),
        (lambda x: filtered(F.pad(x, (1, 1, 1, 1)), mode="reflect")[..., 1:-1, 1:-1], "not the two pixels along"),
        (lambda x: filtered(x, 0.5, -1 / 48), "sign is turned round"),
        (lambda x: filtered(x, -1, 1 / 24), "not halved"),
        (lambda x: filtered(x, -24, 1), "not normalised"),
        (lambda x: filtered(x, -24 / 25, 1 / 25), "divide by 25"),
        (lambda x: filtered(x, -12 / 25, 1 / 50), "not 25"),
        (lambda x: filtered(x, 1 / 48), "weight of a neighbour"),
        (lambda x: filtered(x, other=1 / 16, side=3), "3 x 3"),
        (lambda x: filtered(x, groups=1), "`groups`"),
        (lambda x: filtered(x).sum(1, keepdim=True), "give their sum"),
        (lambda x: filtered(x).mean(1, keepdim=True), "give their mean"),
        (lambda x: filtered(x).abs(), "absolute value"),
        (lambda x: filtered(x)[..., 2:-2, 2:-2], "not padded"),
        (lambda x: filtered(x.detach()), "no gradient"),
        (lambda x: filtered(x) * 1.01, "centre of your kernel has the weight -0.505"),
        (lambda x: filtered(x) / 0, "NaN or infinite"),
        (lambda x: filtered(x)[0], "the shape is"),
    ],
)
def test_wrong_laplacians(wrong, said):
    refused(checks.laplacian, wrong, said)


def edges_of(image):
    return laplacian(image.mean(1, keepdim=True))


def up(logits, image, align=True):
    return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=align)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, m: edges_of(x) * up(m, x, False), "align_corners"),
        (lambda x, m: edges_of(x) * F.interpolate(m, x.shape[-2:]), "nearest"),
        (lambda x, m: edges_of(x) * up(m, x).sigmoid(), "raw logits: leave out"),
        (lambda x, m: edges_of(x) * up(m.sigmoid(), x), "raw logits: no sigmoid"),
        (lambda x, m: gradient_target(x, m).sigmoid(), "sigmoid too many"),
        (lambda x, m: gradient_target(x, m.detach()), "no gradient flows back to the logits"),
        (lambda x, m: edges_of(x).abs() * up(m, x), "without their sign"),
        (lambda x, m: laplacian(x) * up(m, x), "channels are kept apart"),
        (lambda x, m: laplacian(x.sum(1, keepdim=True)) * up(m, x), "added up"),
        (lambda x, m: edges_of(x) * (up(m, x) > 0), "hard mask"),
        (lambda x, m: resize(edges_of(x), m.shape[-2:]) * m, "Enlarge the logits"),
        (lambda x, m: -gradient_target(x, m), "without a minus"),
        (lambda x, m: edges_of(x), "no part"),
        (lambda x, m: edges_of(x) * m, "Are the logits enlarged"),
        (lambda x, m: laplacian(x.mean(1)) * up(m, x), "keepdim=True"),
        (lambda x, m: laplacian(x).mean(1) * up(m, x), "keepdim=True"),
        (lambda x, m: (edges_of(x) * up(m, x)).view(7), "raises RuntimeError"),
        (masked_gradient_target, "numbers differ"),
    ],
)
def test_wrong_original_targets(wrong, said):
    refused(checks.gradient_target, wrong, said)


def five_steps(
    image,
    side,
    edges=lambda x: x.abs(),
    scale=lambda e: e.flatten(1).quantile(0.99, dim=1).clamp_min(1e-4)[:, None, None, None],
    clip=lambda e: e.clamp(max=1),
    mask=lambda side, x: up(side.detach(), x).sigmoid() > 0.5,
    radius=lambda h, w: max(1, round(h / 128)),
):
    e = edges(edges_of(image))
    r = radius(*image.shape[-2:])
    near = F.max_pool2d(mask(side, image).float(), 2 * r + 1, stride=1, padding=r)
    return clip(e / scale(e)) * near


def test_the_five_steps_are_right():
    assert checks.masked_gradient_target(five_steps).passed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"edges": lambda x: x}, "and so does their percentile"),
        (
            {"edges": lambda x: x, "scale": lambda e: e.abs().flatten(1).quantile(0.99, dim=1)[:, None, None, None]},
            "sign. ",
        ),
        ({"edges": lambda x: x, "clip": lambda e: e.clamp(-1, 1)}, "and so does their percentile"),
        ({"scale": lambda e: e.flatten(1).quantile(0.99, dim=1).clamp_min(1e-2)[:, None, None, None]}, "faint edges"),
        ({"scale": lambda e: e.flatten(1).quantile(0.99, dim=1)[:, None, None, None] + 1e-4}, "1e-4 is added"),
        ({"clip": lambda e: e}, "not clipped"),
        ({"scale": lambda e: e.flatten(1).quantile(0.99).clamp_min(1e-4)}, "One percentile"),
        ({"scale": lambda e: e.amax((1, 2, 3), keepdim=True)}, "largest value"),
        ({"scale": lambda e: 0.99 * e.amax((1, 2, 3), keepdim=True)}, "0.99 of their largest"),
        ({"scale": lambda e: 1}, "not divided"),
        ({"scale": lambda e: e.flatten(1).quantile(0.99, dim=1)[:, None, None, None]}, "at least 1e-4"),
        ({"scale": lambda e: e.flatten(1).quantile(0.99, dim=1)}, "three axes more"),
        ({"radius": lambda h, w: 0}, "not dilated"),
        ({"radius": lambda h, w: 1}, "by one pixel"),
        ({"radius": lambda h, w: 2 * max(1, round(h / 128))}, "twice the radius"),
        ({"radius": lambda h, w: max(1, round(w / 128))}, "width"),
        ({"mask": lambda m, x: up(m, x) > 0.5}, "compared with 0.5"),
        ({"mask": lambda m, x: up(m.sigmoid(), x) > 0.5}, "Probabilities are enlarged"),
        ({"mask": lambda m, x: up(m, x).sigmoid()}, "probabilities are dilated"),
        ({"mask": lambda m, x: up(m, x) < 0}, "inverted"),
        ({"mask": lambda m, x: F.interpolate((m > 0).float(), x.shape[-2:])}, "blocky"),
        ({"mask": lambda m, x: up((m > 0).float(), x)}, "grey at its edge"),
        ({"mask": lambda m, x: up(m, x, False) > 0}, "align_corners"),
        ({"mask": lambda m, x: torch.ones_like(up(m, x))}, "no part"),
    ],
)
def test_wrong_corrected_targets(change, said):
    refused(checks.masked_gradient_target, lambda x, m: five_steps(x, m, **change), said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x, m: five_steps(x, m).sigmoid(), "already"),
        (lambda x, m: five_steps(x, m) + 0 * m.sum(), "Detach"),
        (lambda x, m: five_steps(x, m)[:, 0], "the shape is"),
        (gradient_target, "numbers differ"),
    ],
)
def test_other_wrong_corrected_targets(wrong, said):
    refused(checks.masked_gradient_target, wrong, said)


def my_loss(logits, targets, kind, label=None, size=lambda z, t: t, pixels="mean", levels=torch.sum, align=True):
    values = []
    for z, t in zip(logits, targets, strict=True):
        goal = label(t, kind) if label else (t.sigmoid() if kind == "original" else t.detach())
        z = F.interpolate(z, size=t.shape[-2:], mode="bilinear", align_corners=align)
        values.append(F.binary_cross_entropy_with_logits(z, goal, reduction=pixels))
    return levels(torch.stack(values))


def small_targets(logits, targets, kind):
    shrunk = [
        resize(t.sigmoid() if kind == "original" else t, z.shape[-2:]) for z, t in zip(logits, targets, strict=True)
    ]
    return sum(F.binary_cross_entropy_with_logits(z, t) for z, t in zip(logits, shrunk, strict=True))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda z, t, k: my_loss(z, t, k, levels=torch.mean), "averaged"),
        (lambda z, t, k: my_loss(z[:1], t[:1], k), "Only one level"),
        (lambda z, t, k: my_loss(z[-1:], t[-1:], k), "Only one level"),
        (lambda z, t, k: my_loss(z, t, k, pixels="sum"), "pixels are added up"),
        (lambda z, t, k: my_loss(z, t, k, label=lambda x, kind: x.detach()), "take their sigmoid"),
        (lambda z, t, k: my_loss(z, t, k, label=lambda x, kind: x.sigmoid()), "no sigmoid for these"),
        (lambda z, t, k: my_loss(z, t, k, align=False), "align_corners"),
        (small_targets, "Enlarge the logits instead"),
        (
            lambda z, t, k: my_loss(z, t, k, label=lambda x, kind: x.sigmoid().detach() if kind == "original" else x),
            "detach them",
        ),
        (
            lambda z, t, k: my_loss(z, t, k, label=lambda x, kind: (x.sigmoid() if k == "original" else x).detach()),
            "teaches its side outputs",
        ),
        (lambda z, t, k: my_loss(z, t, k, levels=lambda x: x), "the shape is"),
        (lambda z, t, k: my_loss(z, t, k).item(), "`backward` needs it"),
        (lambda z, t, k: my_loss([x.detach() for x in z], t, k), "gradient"),
        (lambda z, t, k: 1.1 * my_loss(z, t, k), "numbers differ"),
        (lambda z, t, k: F.binary_cross_entropy_with_logits(z[0], t[0]), "raises ValueError"),
    ],
)
def test_wrong_losses(wrong, said):
    refused(checks.gradient_loss, wrong, said)


def test_cross_entropy_of_probabilities_is_the_same_loss():
    def on_probabilities(logits, targets, kind):
        labels = [t.sigmoid() if kind == "original" else t.detach() for t in targets]
        return sum(F.binary_cross_entropy(up(z, t).sigmoid(), t) for z, t in zip(logits, labels, strict=True))

    assert checks.gradient_loss(on_probabilities).passed
