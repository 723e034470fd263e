"""Exercises of notebooks 07 and 08: the loss of the gradient heads, the IoU loss, supervision at every stage."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, combined
from birefnet_lite.network.resize import resize
from birefnet_lite.training import pixel_losses
from birefnet_lite.training.losses import GradientLoss

__all__ = ["gradient_loss", "iou_loss", "supervise"]

_ALIGN = "The logits are enlarged bilinearly, but with align_corners=False. BiRefNet aligns corners everywhere."


@check("Right: both targets, every level, and only what should learn does.", usual=("detach",))
def gradient_loss(answer: Callable[[Sequence[Tensor], Sequence[Tensor], str], Any]) -> None:
    """`gradient_loss(gradient_logits, gradient_targets, kind)`: BCE at the targets' size, summed over the levels."""
    for kind in ("masked", "original"):
        for batch, size, least in ((2, (32, 48), 1), (1, (40, 24), 2)):
            logits = [torch.randn(batch, 1, least << i, (least << i) + 1, requires_grad=True) for i in range(3)]
            targets = [2 * torch.randn(batch, 1, *size) for _ in logits]
            if kind == "masked":
                targets = [x.sigmoid() for x in targets]
            for target in targets:
                target.requires_grad_()
            where = f"For kind={kind!r} and targets of {tuple(targets[0].shape)}"
            wanted = GradientLoss(kind)(logits, targets)
            got = answer(logits, targets, kind)
            _refuse_a_number(got)
            compare(
                got, wanted, where, 1e-5, _loss_mistakes(logits, targets, kind, wanted), _steps(logits, targets, kind)
            )
            for level in logits:
                compare_gradient(got, wanted, level, where, 1e-5)
            _check_who_learns(got, targets, kind)


def _refuse_a_number(got: Any) -> None:
    if isinstance(got, float):
        raise Wrong("You return a Python number. Return the tensor itself: `backward` needs it.")


def _check_who_learns(got: Tensor, targets: Sequence[Tensor], kind: str) -> None:
    gradients = torch.autograd.grad(got, targets, retain_graph=True, materialize_grads=True)
    moves = any(bool(x.abs().max() > 0) for x in gradients)
    if kind == "masked" and moves:
        raise Wrong("A gradient flows into the masked targets. They are given, not learned: detach them.")
    if kind == "original" and not moves:
        raise Wrong(
            "No gradient flows into the original's targets. The original does not detach them, and so teaches its side "
            "outputs too: do as it does here."
        )


def _steps(logits: Sequence[Tensor], targets: Sequence[Tensor], kind: str) -> tuple[Retry, ...]:
    size = targets[0].shape[-2:]
    up = torch.stack([resize(x, size) for x in logits], dim=1)[:, :, 0]  # (B, levels, H, W)
    labels = torch.stack([x.sigmoid() if kind == "original" else x for x in targets], dim=1)[:, :, 0]
    raw = torch.stack(list(targets), dim=1)[:, :, 0]

    def loss(**x: Tensor) -> Tensor:
        z, y = x.values()
        return len(logits) * F.binary_cross_entropy_with_logits(z, y)

    found = [Retry(loss, {"the enlarged logits": up, "the labels": labels})]
    if kind == "original":
        found.append(Retry(loss, {"the enlarged logits": up, "the targets, without their sigmoid,": raw}))
    return tuple(found)


def _loss_mistakes(logits: Sequence[Tensor], targets: Sequence[Tensor], kind: str, wanted: Tensor) -> dict[str, Tensor]:
    labels = [x.sigmoid() if kind == "original" else x for x in targets]
    swapped = [x if kind == "original" else x.sigmoid() for x in targets]
    size = targets[0].shape[-2:]
    up = [resize(x, size) for x in logits]
    unaligned = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in logits]
    small = [resize(x, y.shape[-2:]) for x, y in zip(labels, logits, strict=True)]
    bce = F.binary_cross_entropy_with_logits

    def total(maps: Sequence[Tensor], against: Sequence[Tensor]) -> Tensor:
        return torch.stack([bce(x, y) for x, y in zip(maps, against, strict=True)]).sum()

    last = "Only one level is counted. Add up all of them."
    sigmoid_missing = (
        "The original's targets are unbounded: take their sigmoid before they are labels."
        if kind == "original"
        else "Masked targets are in 0 to 1 already: no sigmoid for these."
    )
    return {
        "The levels are averaged. Add them up.": wanted / len(logits),
        "Label and logits have changed places: binary_cross_entropy_with_logits takes the logits first.": torch.stack(
            [bce(y, x) for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "Label and logits have changed places, and the logits went through a sigmoid.": torch.stack(
            [bce(y, x.sigmoid()) for x, y in zip(up, targets, strict=True)]
        ).sum(),
        "The levels are matched in the reverse order.": total(up, labels[::-1]),
        "All levels are compared with the first target.": total(up, [labels[0] for _ in up]),
        "All levels are compared with the last target.": total(up, [labels[-1] for _ in up]),
        "That is the mean absolute error. Use binary cross-entropy.": torch.stack(
            [(x.sigmoid() - y).abs().mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "The last level is left out. Add up all of them.": total(up[:-1], labels[:-1]),
        "The first level is left out. Add up all of them.": total(up[1:], labels[1:]),
        "The logits are enlarged bicubically. Use bilinear resampling with align_corners=True.": total(
            [F.interpolate(x, size, mode="bicubic", align_corners=True) for x in logits], labels
        ),
        last: bce(up[0], labels[0]),
        f"{last} ": bce(up[-1], labels[-1]),
        "The pixels are added up. Take their mean (reduction='mean').": wanted * labels[0].numel(),
        "The pixels of each image are added up. Take the mean over all pixels.": wanted * labels[0][0].numel(),
        sigmoid_missing: total(up, swapped),
        "The logits go through a sigmoid twice: binary_cross_entropy_with_logits takes the raw logits.": (
            total([x.sigmoid() for x in up], labels)
        ),
        _ALIGN: total(unaligned, labels),
        "The logits are enlarged by nearest neighbours. Use bilinear resampling with align_corners=True.": (
            total([F.interpolate(x, size) for x in logits], labels)
        ),
        "The targets are shrunk to the logits, and thin edges are lost. Enlarge the logits instead.": (
            total(logits, small)
        ),
        "That is the squared error of the raw logits. Use binary cross-entropy.": torch.stack(
            [(x - y).square().mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "That is the absolute error of the raw logits. Use binary cross-entropy.": torch.stack(
            [(x - y).abs().mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "Half of the cross-entropy is missing: that of the pixels which are no edges, (1 - label).": torch.stack(
            [-(y * F.logsigmoid(x)).mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "Half of the cross-entropy is missing: that of the pixels which are edges.": torch.stack(
            [-((1 - y) * F.logsigmoid(-x)).mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "The edges have a weight (pos_weight). Leave it out.": torch.stack(
            [bce(x, y, pos_weight=torch.tensor(2.0)) for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "That is Dice. Use binary cross-entropy.": torch.stack(
            [1 - 2 * (x.sigmoid() * y).sum() / (x.sigmoid() + y).sum() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        "That is the mean squared error. Use binary cross-entropy.": torch.stack(
            [(x.sigmoid() - y).square().mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
        **combined([bce(x, y) for x, y in zip(up, labels, strict=True)], "level", "Add them up as they are."),
    }


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
        _refuse_a_number(got)
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


def _iou_mistakes(logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
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
        "What is missed and what is too much have weights (Tversky). In the union both count fully.": (
            per_image(inside, inside + 0.3 * sums(p * (1 - mask)) + 0.7 * sums((1 - p) * mask)).mean()
        ),
        "What is missed and what is too much have weights (Tversky). In the union both count fully. ": (
            per_image(inside, inside + 0.7 * sums(p * (1 - mask)) + 0.3 * sums((1 - p) * mask)).mean()
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
        "A small epsilon is added where one pixel should be.": per_image(inside, union, 1e-6).mean(),
        "A small epsilon is added where one pixel should be. ": per_image(inside, union, 1e-8).mean(),
        "A small epsilon is added where one pixel should be.  ": per_image(inside, union, 1e-7).mean(),
        "That is the logarithm of the IoU. The loss is 1 less the IoU.": -(1 - each).log().mean(),
        **combined(list(each), "image", "Take their mean over the batch."),
    }


def _by_axes(p: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
    inside, both = (p * mask).sum(dim=axes), (p + mask).sum(dim=axes)
    return (1 - (inside + 1) / (both - inside + 1)).mean()


@check("Right: every map at the size of the mask, and all of them count.")
def supervise(answer: Callable[[Sequence[Tensor], Tensor, Callable], Any]) -> None:
    """`supervise(maps, mask, pixel_loss)`: `pixel_loss(logits, mask)` of every map at the mask's size, added up."""
    for pixel_loss in (pixel_losses.bce_loss, pixel_losses.iou_loss):
        for batch, height, width in ((2, 35, 50), (1, 24, 41)):
            sizes = [(height // part, width // part) for part in (16, 8, 4, 1)]
            maps = [(2 * torch.randn(batch, 1, *size)).requires_grad_() for size in sizes]
            mask = torch.rand(batch, 1, height, width)
            where = f"For a mask of {tuple(mask.shape)} and {pixel_loss.__name__}"
            wanted = torch.stack([pixel_loss(resize(x, (height, width)), mask) for x in maps]).sum()
            got = answer(maps, mask, pixel_loss)
            _refuse_a_number(got)
            up = torch.stack([resize(x, (height, width)) for x in maps], dim=1)[:, :, 0]
            retry = Retry(partial(_sum_of, pixel_loss), {"the enlarged logits": up, "mask": mask})
            compare(got, wanted, where, 1e-5, _supervise_mistakes(maps, mask, pixel_loss, wanted), (retry,))
            for level in maps:
                compare_gradient(got, wanted, level, where, 1e-5)


def _sum_of(pixel_loss: Callable[[Tensor, Tensor], Tensor], **x: Tensor) -> Tensor:
    """The sum of the losses of several maps, given as channels."""
    maps, mask = x.values()
    return torch.stack([pixel_loss(one[:, None], mask) for one in maps.unbind(1)]).sum()


def _supervise_mistakes(
    maps: Sequence[Tensor], mask: Tensor, pixel_loss: Callable[[Tensor, Tensor], Tensor], wanted: Tensor
) -> dict[str, Tensor]:
    size = mask.shape[-2:]

    def total(logits: Sequence[Tensor]) -> Tensor:
        return torch.stack([pixel_loss(x, mask) for x in logits]).sum()

    def shrunk(**how: Any) -> Tensor:
        return torch.stack([pixel_loss(x, F.interpolate(mask, x.shape[-2:], **how)) for x in maps]).sum()

    up = [resize(x, size) for x in maps]
    shrinking = "The mask is shrunk to each map, and thin parts are lost. Enlarge the logits to the mask instead."
    others = {
        f"`pixel_loss` is not called: this is the {name} of each map. Call the function that is given.": torch.stack(
            [other(x, mask) for x in up]
        ).sum()
        for name, other in {"BCE": pixel_losses.bce_loss, "IoU loss": pixel_losses.iou_loss}.items()
        if other is not pixel_loss
    }
    weighed = combined([pixel_loss(x, mask) for x in up], "map", "Add up the losses of all maps as they are.")
    return (
        others
        | {
            "Only the first image of the batch counts.": torch.stack([pixel_loss(x[:1], mask[:1]) for x in up]).sum(),
            "The maps are averaged. Add them up.": wanted / len(maps),
            "Mask and logits have changed places: pixel_loss(logits, mask).": torch.stack(
                [pixel_loss(mask, x) for x in up]
            ).sum(),
            "Only the first map counts. Add up all of them.": total(up[:1]),
            "The first map does not count. Add up all of them.": total(up[1:]),
            "The final map counts twice.": wanted + pixel_loss(up[-1], mask),
            "The maps are added up before the loss. Take the loss of each map, and add up the losses.": (
                pixel_loss(torch.stack(up).sum(dim=0), mask)
            ),
            "The maps are averaged before the loss. Take the loss of each map, and add up the losses.": (
                pixel_loss(torch.stack(up).mean(dim=0), mask)
            ),
            "The logits are enlarged bicubically. Use bilinear resampling with align_corners=True.": total(
                [F.interpolate(x, size, mode="bicubic", align_corners=True) for x in maps]
            ),
            "Later maps count more than earlier ones. Add them up as they are.": torch.stack(
                [pixel_loss(x, mask) / 2 ** (len(up) - 1 - i) for i, x in enumerate(up)]
            ).sum(),
            "Only the final map counts. Add the side outputs.": total(up[-1:]),
            "The final map, the last one, does not count. Add it.": total(up[:-1]),
            _ALIGN: total([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps]),
            "The logits are enlarged by nearest neighbours. Use bilinear resampling with align_corners=True.": (
                total([F.interpolate(x, size) for x in maps])
            ),
            "The pixel loss gets probabilities. It takes logits: leave out the sigmoid.": total(
                [x.sigmoid() for x in up]
            ),
            "The largest of the losses is taken. Add them up.": torch.stack([pixel_loss(x, mask) for x in up]).max(),
            shrinking: shrunk(mode="bilinear", align_corners=True),
            f"{shrinking} ": shrunk(mode="bilinear", align_corners=False),
            f"{shrinking}  ": shrunk(),
            f"{shrinking}   ": shrunk(mode="area"),
        }
        | weighed
    )
