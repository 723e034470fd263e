"""The training loss of BiRefNet: pixel losses at all stages, auxiliary gradient supervision and class loss."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNetOutput
from birefnet_lite.network.resize import resize
from birefnet_lite.training.pixel_losses import PIXEL_LOSSES

GradientTarget = Literal["original", "masked"]


class LossParts(NamedTuple):
    """A loss for `backward`, and its detached parts by name for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def resize_to(logits: Tensor, target: Tensor) -> Tensor:
    """Resize logits (B, C, h, w) bilinearly to the size of `target`: (B, C, H, W).

    Half-precision logits are converted to float32 first, so that the interpolation does not round.

    Examples:
        >>> import torch
        >>> resize_to(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 64, 48)).shape
        torch.Size([1, 1, 64, 48])
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[-2:] == target.shape[-2:]:
        return logits
    return resize(logits, target.shape[-2:])


class PixelLoss(nn.Module):
    """Weighted sum of pixel losses, summed over the supervised maps (paper: objective function).

    Args:
        weights: Factors by names of `PIXEL_LOSSES`; a loss with factor 0 is not computed. The original's recipe is
            `{"bce": 30, "iou_sum": 0.5, "ssim": 10}`.

    Raises:
        ValueError: A name is unknown, a factor is negative or infinite, or all factors are 0.

    Examples:
        >>> import torch
        >>> loss = PixelLoss({"bce": 1.0, "iou": 1.0})
        >>> parts = loss([torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 32, 32)], torch.ones(2, 1, 64, 64))
        >>> sorted(parts.parts)
        ['bce', 'iou']
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.set_weights(weights)

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Replace the weights, as a fine-tuning schedule does; raises as the constructor."""
        for name, weight in weights.items():
            if name == "triplet":
                raise ValueError("The original names a weight for 'triplet' but has no such loss; leave it out.")
            if name not in PIXEL_LOSSES:
                raise ValueError(f"There is no pixel loss {name!r}; choose from {', '.join(PIXEL_LOSSES)}.")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"The weight of {name!r} is {weight}; a weight is a number from 0 up.")
        if not any(weights.values()):
            raise ValueError(f"No pixel loss has a weight above 0: {dict(weights)}. Nothing would be learnt.")
        self.weights = dict(weights)

    def forward(self, maps: Sequence[Tensor], mask: Tensor) -> LossParts:
        """The loss of several maps against one mask.

        Args:
            maps: Logits (B, 1, h, w), each of its own size.
            mask: (B, 1, H, W) in [0, 1].

        Returns:
            The total, and the weighted parts averaged over the maps, so that
            `total == len(maps) * sum(parts.values())`.
        """
        if not maps:
            raise ValueError("PixelLoss needs at least one map of logits; it was given none.")
        sums: dict[str, Tensor] = {}
        for logits in maps:
            logits = resize_to(logits, mask)  # (B, 1, H, W)
            for name, weight in self.weights.items():
                if weight:
                    sums[name] = sums.get(name, 0) + weight * PIXEL_LOSSES[name](logits, mask)
        total = torch.stack(list(sums.values())).sum()
        return LossParts(total, {name: value.detach() / len(maps) for name, value in sums.items()})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


class GradientLoss(nn.Module):
    """Auxiliary gradient supervision: BCE of the up-sampled gradient maps, summed over the levels.

    Args:
        target: `"original"`: the label is the sigmoid of Laplacian times mask logits, with a gradient. A flat
            background has the label 0.5, so that the loss of a level cannot fall much below ln 2. `"masked"`: the label
            is an edge strength in [0, 1] without a gradient (see `BiRefNetConfig.gradient_target`).
    """

    def __init__(self, target: GradientTarget = "original") -> None:
        super().__init__()
        if target not in ("original", "masked"):
            raise ValueError(f"The gradient target is {target!r}; choose 'original' or 'masked'.")
        self.target = target

    def forward(self, gradient_logits: Sequence[Tensor], gradient_targets: Sequence[Tensor]) -> Tensor:
        """The loss of all levels, a scalar.

        Args:
            gradient_logits: (B, 1, h, w) for each level.
            gradient_targets: (B, 1, H, W) for each level, in the same order.

        Raises:
            ValueError: There are not as many logits as targets, or a masked target is not in [0, 1].
        """
        if len(gradient_logits) != len(gradient_targets) or not gradient_logits:
            raise ValueError(
                f"GradientLoss wants as many predictions as targets, at least one; it was given {len(gradient_logits)} "
                f"and {len(gradient_targets)}. Is the model in training mode?"
            )
        levels = [self._level(*pair) for pair in zip(gradient_logits, gradient_targets, strict=True)]
        return torch.stack(levels).sum()

    def _level(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits = resize_to(logits, target)
            target = target.to(logits.dtype)
            if self.target == "original":
                return F.binary_cross_entropy_with_logits(logits, target.sigmoid())
            low, high = target.detach().aminmax()
            if low < 0 or high > 1:
                raise ValueError(
                    f"A masked gradient target is in [0, 1], but this one runs from {low:.3g} to {high:.3g}. "
                    "Build the model with gradient_target='masked', or use GradientLoss('original')."
                )
            return F.binary_cross_entropy_with_logits(logits, target.detach())

    def extra_repr(self) -> str:
        return repr(self.target)


class BiRefNetLoss(nn.Module):
    """The loss of a `BiRefNetOutput` in training: pixel losses of all stages, gradient loss, class loss.

    Terms for which the model has no output, or for which there is no label, are left out.

    Args:
        pixel_weights: As in `PixelLoss`.
        gradient_weight: 1 in the original.
        gradient_target: That of the model's config.
        class_weight: 5 in the original.

    Examples:
        >>> import torch
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> model = BiRefNet(BiRefNetConfig.preset("nano")).train()
        >>> loss = BiRefNetLoss({"bce": 1.0, "iou": 1.0}, class_weight=0)
        >>> result = loss(model(torch.rand(2, 3, 64, 64)), torch.ones(2, 1, 64, 64))
        >>> result.total.backward()
        >>> sorted(result.parts)
        ['bce', 'gradient', 'iou', 'pixel']
    """

    def __init__(
        self,
        pixel_weights: Mapping[str, float],
        gradient_weight: float = 1.0,
        gradient_target: GradientTarget = "original",
        class_weight: float = 5.0,
    ) -> None:
        super().__init__()
        self.pixel = PixelLoss(pixel_weights)
        self.gradient = GradientLoss(gradient_target)
        self.gradient_weight = gradient_weight
        self.class_weight = class_weight

    def forward(self, output: BiRefNetOutput, mask: Tensor, class_index: Tensor | None = None) -> LossParts:
        """The loss of a batch.

        Args:
            output: What the model returns in training mode.
            mask: (B, 1, H, W) in [0, 1].
            class_index: (B,) int64, or None.

        Returns:
            The total, and its weighted parts: each pixel loss as `PixelLoss` returns it, and `pixel`, `gradient` and
            `class`, which add up to the total.
        """
        pixel, parts = self.pixel((*output.side_logits, output.logits), mask)
        groups = {"pixel": pixel}
        if self.gradient_weight and output.gradient_logits:
            groups["gradient"] = self.gradient_weight * self.gradient(output.gradient_logits, output.gradient_targets)
        if self.class_weight and class_index is not None and output.class_logits is not None:
            class_logits = output.class_logits.to(pixel.dtype)  # (B, classes)
            groups["class"] = self.class_weight * F.cross_entropy(class_logits, class_index)
        total = torch.stack(list(groups.values())).sum()
        return LossParts(total, parts | {name: value.detach() for name, value in groups.items()})
