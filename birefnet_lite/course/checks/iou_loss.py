"""Check of the exercise on the IoU loss."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course.checks.compare import Mistakes, compare, compare_gradient, refuse_float
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, combined
from birefnet_lite.training import pixel_losses

__all__ = ["iou_loss"]


@check("Right: each image for itself, and an empty mask costs nothing where nothing is found.")
def iou_loss(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`iou_loss(logits, mask)`: both (B, 1, H, W) to the mean of 1 - (I + 1) / (U + 1) over the batch."""
    for batch, height, width in ((3, 8, 12), (1, 5, 7), (2, 16, 3)):
        logits = 2 * torch.randn(batch, 1, height, width)
        mask = torch.rand(batch, 1, height, width)
        mask[0] = mask[0] > 0.8  # a hard and small one, so that the images of a batch differ
        logits.requires_grad_()
        where = f"For logits of {tuple(logits.shape)}"
        wanted = pixel_losses.iou_loss(logits, mask)
        got = answer(logits, mask)
        refuse_float(got)
        compare(got, wanted, where, 1e-5, _iou_mistakes(logits, mask), _steps_of_iou(logits, mask))
        compare_gradient(got, wanted, logits, where, 1e-5)
    sure = answer(torch.full((2, 1, 4, 4), -200.0), torch.zeros(2, 1, 4, 4))
    if not sure.abs() < 1e-6:
        raise Wrong(
            f"For an empty mask in which surely nothing is found, the loss is {sure.item():.3g}; it should be 0. Add "
            "the one pixel both to the intersection and to the union."
        )


def _steps_of_iou(logits: Tensor, mask: Tensor) -> tuple[Retry, ...]:
    p, inside = logits.sigmoid(), (logits.sigmoid() * mask).sum(dim=(1, 2, 3))

    def loss(**x: Tensor) -> Tensor:
        p, m = x.values()
        both = (p * m).sum(dim=(1, 2, 3))
        return (1 - (both + 1) / ((p + m).sum(dim=(1, 2, 3)) - both + 1)).mean()

    def ratio(**x: Tensor) -> Tensor:
        inside, union = x.values()
        return (1 - (inside + 1) / (union + 1)).mean()

    union = (p + mask).sum(dim=(1, 2, 3)) - inside
    return (
        Retry(pixel_losses.iou_loss, {"logits": logits, "mask": mask}),
        Retry(loss, {"the probabilities": p, "mask": mask}),
        Retry(loss, {"the logits, taken as probabilities,": logits, "mask": mask}),
        Retry(ratio, {"the intersections": inside, "the unions": union}),
    )


def _iou_mistakes(logits: Tensor, mask: Tensor) -> Mistakes:
    p = logits.sigmoid()

    def sums(x: Tensor) -> Tensor:
        return x.sum(dim=(1, 2, 3))

    def per_image(inside: Tensor, union: Tensor, extra: float = 1.0) -> Tensor:
        return 1 - (inside + extra) / (union + extra)  # (B,)

    inside, both = sums(p * mask), sums(p + mask)
    union = both - inside
    each = per_image(inside, union)
    area = p[0].numel()
    wrong_inside, hard, solid = sums(logits * mask), (p > 0.5).to(p), (mask > 0.5).to(p)
    plain = per_image(inside, union, 0.0)
    pixels = p + mask - p * mask
    return {
        "Sums run over the rows only, or over the columns only: every column or row has an IoU of its own. Sum over "
        "axes 1, 2 and 3.": _by_axes(p, mask, (1, 2)),
        "Every column or row has an IoU of its own. Sum over axes 1, 2 and 3.": _by_axes(p, mask, (1, 3)),
        "Two pixels are added. Add one to the intersection and to the union.": per_image(inside, union, 2.0).mean(),
        "The union is that of the squares. It is the sum of both areas, less the intersection.": (
            per_image(inside, sums(p * p + mask * mask) - inside).mean()
        ),
        "Intersections and unions are averaged over the batch before they are divided. Divide for each image.": (
            1 - (inside.mean() + 1) / (union.mean() + 1)
        ),
        "The fraction is turned round: the intersection is divided by the union.": (
            1 - (union + 1) / (inside + 1)
        ).mean(),
        "The intersection is that of 1 less the difference. Multiply the two.": (
            per_image(sums(1 - (p - mask).abs()), both - sums(1 - (p - mask).abs())).mean()
        ),
        "This is the IoU of the background: both are subtracted from 1. Take them as they are.": (
            per_image(sums((1 - p) * (1 - mask)), sums(1 - p * mask)).mean()
        ),
        "What is missed and what is too much have weights (Tversky). In the union both count fully.": tuple(
            per_image(inside, inside + share * sums(p * (1 - mask)) + (1 - share) * sums((1 - p) * mask)).mean()
            for share in (0.3, 0.7)
        ),
        "The mean is geometric: the logarithms of the IoUs are averaged. Take the plain mean.": (
            1 - (1 - each).log().mean().exp()
        ),
        "The loss is halved. Leave it as it is.": each.mean() / 2,
        "The logits are taken as probabilities. Take their sigmoid first.": (
            per_image(wrong_inside, sums(logits + mask) - wrong_inside).mean()
        ),
        "Mask and logits have changed places: the sigmoid belongs to the logits.": (
            per_image(
                sums(mask.sigmoid() * logits), sums(mask.sigmoid() + logits) - sums(mask.sigmoid() * logits)
            ).mean()
        ),
        "The sigmoid is applied twice.": (
            per_image(sums(p.sigmoid() * mask), sums(p.sigmoid() + mask) - sums(p.sigmoid() * mask)).mean()
        ),
        "The one pixel is added to the intersection only. Add it to the union, too.": (
            (1 - (inside + 1) / union).mean()
        ),
        "The intersection is the smaller of the two values. Multiply them.": (
            per_image(sums(torch.minimum(p, mask)), sums(p + mask) - sums(torch.minimum(p, mask))).mean()
        ),
        "Intersection and union are minimum and maximum. Multiply for the intersection.": (
            per_image(sums(torch.minimum(p, mask)), sums(torch.maximum(p, mask))).mean()
        ),
        "Only the first image counts. Take the mean over the batch.": each[0],
        "The largest loss of the batch is taken. Take the mean.": each.max(),
        "The union is the area of the mask alone.": per_image(inside, sums(mask)).mean(),
        "The union is the area of the prediction alone.": per_image(inside, sums(p)).mean(),
        "The union is that of both areas with the overlap added. Take the overlap away.": (
            per_image(inside, both + inside).mean()
        ),
        "The prediction goes through tanh. Take the sigmoid.": (
            per_image(sums(logits.tanh() * mask), sums(logits.tanh() + mask) - sums(logits.tanh() * mask)).mean()
        ),
        "The union counts the overlap twice: take the intersection away once.": per_image(inside, both).mean(),
        "The one pixel is added to the union only. Add it to the intersection, too.": (
            (1 - inside / (union + 1)).mean()
        ),
        "The one pixel is missing. Add it to the intersection and to the union.": plain.mean(),
        "The batch is added up, as the original does. Take the mean over it.": each.sum(),
        "The batch is added up, and the one pixel is missing: that is the original's loss. Here, repair both.": (
            plain.sum()
        ),
        "The whole batch is taken as one picture. Sum over each image apart: axes 1, 2 and 3.": (
            per_image(inside.sum(), union.sum())
        ),
        "That is the IoU. The loss is 1 less it: a perfect mask should cost 0.": (1 - each).mean(),
        "That is Dice, twice the overlap over both areas. IoU divides by the union.": (
            1 - (2 * inside + 1) / (both + 1)
        ).mean(),
        "There is one loss for each image. Take their mean.": each,
        "The union is the larger of the two values. It is the sum of both, less the intersection.": (
            per_image(inside, sums(torch.maximum(p, mask))).mean()
        ),
        "The mask is cut at one half. It is soft: multiply by its values.": (
            per_image(sums(p * solid), sums(p + mask) - sums(p * solid)).mean()
        ),
        "The mask is rounded. It is soft: use its values.": (
            per_image(sums(p * solid), sums(p + solid) - sums(p * solid)).mean()
        ),
        "The loss is taken pixel by pixel. Sum intersection and union over each image before you divide.": (
            (1 - (p * mask + 1) / (pixels + 1)).mean()
        ),
        "Intersection and union are means over pixels, so the 1 is a whole image and not one pixel. Take sums.": (
            per_image(inside / area, union / area).mean()
        ),
        "The prediction is made hard before it is compared, so nothing can be learned. Keep the probabilities.": (
            per_image(sums(hard * mask), sums(hard + mask) - sums(hard * mask)).mean()
        ),
        "A small epsilon is added where one pixel should be.": tuple(
            per_image(inside, union, epsilon).mean() for epsilon in (1e-6, 1e-8, 1e-7)
        ),
        "That is the logarithm of the IoU. The loss is 1 less the IoU.": -(1 - each).log().mean(),
        **combined(list(each), "image", "Take their mean over the batch."),
    }


def _by_axes(p: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
    inside, both = (p * mask).sum(dim=axes), (p + mask).sum(dim=axes)
    return (1 - (inside + 1) / (both - inside + 1)).mean()
