"""Exercises of notebooks 07 and 08: the loss of the gradient heads."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.result import Wrong, check, compare, compare_gradient
from birefnet_lite.lateral import resize
from birefnet_lite.training.losses import GradientLoss

__all__ = ["gradient_loss"]

_ALIGN = "The logits are enlarged bilinearly, but with align_corners=False. BiRefNet aligns corners everywhere."


@check("Right: both targets, every level, and only what should learn does.")
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
            if isinstance(got, float):
                raise Wrong("You return a Python number. Return the tensor itself: `backward` needs it.")
            compare(got, wanted, where, 1e-5, _loss_mistakes(logits, targets, kind, wanted))
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
        "That is the mean squared error. Use binary cross-entropy.": torch.stack(
            [(x.sigmoid() - y).square().mean() for x, y in zip(up, labels, strict=True)]
        ).sum(),
    }
