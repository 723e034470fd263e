"""Exercises of notebooks 07 and 08: the loss of the gradient heads, and supervision at every stage."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import Mistakes, compare, compare_gradient, refuse_float
from birefnet_lite.course.checks.gradient_targets import ALIGN
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, combined
from birefnet_lite.network.resize import resize
from birefnet_lite.training import pixel_losses
from birefnet_lite.training.losses import GradientLoss

__all__ = ["gradient_loss", "supervise"]


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
            refuse_float(got)
            compare(
                got, wanted, where, 1e-5, _loss_mistakes(logits, targets, kind, wanted), _steps(logits, targets, kind)
            )
            for level in logits:
                compare_gradient(got, wanted, level, where, 1e-5)
            _check_who_learns(got, targets, kind)


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


def _loss_mistakes(logits: Sequence[Tensor], targets: Sequence[Tensor], kind: str, wanted: Tensor) -> Mistakes:
    labels = [x.sigmoid() if kind == "original" else x for x in targets]
    swapped = [x if kind == "original" else x.sigmoid() for x in targets]
    size = targets[0].shape[-2:]
    up = [resize(x, size) for x in logits]
    unaligned = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in logits]
    small = [resize(x, y.shape[-2:]) for x, y in zip(labels, logits, strict=True)]
    bce = F.binary_cross_entropy_with_logits

    def total(maps: Sequence[Tensor], against: Sequence[Tensor]) -> Tensor:
        return torch.stack([bce(x, y) for x, y in zip(maps, against, strict=True)]).sum()

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
        "Only one level is counted. Add up all of them.": (bce(up[0], labels[0]), bce(up[-1], labels[-1])),
        "The logits have the other sign, or the labels are 1 less the right ones; the cross-entropy is the same.": (
            total([-x for x in up], labels)
        ),
        "The pixels are added up. Take their mean (reduction='mean').": wanted * labels[0].numel(),
        "The pixels of each image are added up. Take the mean over all pixels.": wanted * labels[0][0].numel(),
        sigmoid_missing: total(up, swapped),
        "The logits go through a sigmoid twice: binary_cross_entropy_with_logits takes the raw logits.": (
            total([x.sigmoid() for x in up], labels)
        ),
        ALIGN: total(unaligned, labels),
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
        "Half of the cross-entropy is missing: that of the pixels which are not edges, (1 - label).": torch.stack(
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
            refuse_float(got)
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
            ALIGN: total([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps]),
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
