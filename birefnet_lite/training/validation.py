"""Validation during training: a fixed set of images, mean scores of a model on it, and a contact sheet of its masks."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from birefnet_lite.inference.images import normalise
from birefnet_lite.metrics import measure
from birefnet_lite.synthetic import SyntheticScenes
from birefnet_lite.training.evaluate import LOWER_IS_BETTER
from birefnet_lite.training.folder import FolderBatches, FolderDataset
from birefnet_lite.training.settings import TrainSettings

__all__ = ["ValidationSet", "contact_sheet", "is_better", "load_validation_set", "mean_scores", "predict_masks"]

METRICS = ("s_measure", "weighted_f", "mae", "iou")
CHUNK = 8  # images in one forward
SEED = 20_260_101  # unlike any seed in use for training, so that these scenes are not trained on
DIFFICULTY = 0.6


class ValidationSet(NamedTuple):
    """images (n, 3, H, W) and masks (n, 1, H, W) in [0, 1], on the CPU."""

    images: Tensor
    masks: Tensor


def load_validation_set(settings: TrainSettings) -> ValidationSet:
    """The pairs of a folder, or synthetic scenes: half of trained families, half of held-out ones."""
    count, size = settings.validation_images, (settings.size, settings.size)
    if folder := settings.validation_folder or (settings.data == "folder" and settings.folder):
        dataset = FolderDataset(folder, size)
        pairs = FolderBatches(dataset).batch(min(count, len(dataset)), 0)
        return ValidationSet(pairs.images, pairs.masks)
    parts = {"train": count - count // 2, "held_out": count // 2}
    scenes = [
        SyntheticScenes(size, SEED, DIFFICULTY, families=kind, backgrounds=kind).batch(number, 0)
        for kind, number in parts.items()
        if number
    ]
    return ValidationSet(torch.cat([s.images for s in scenes]), torch.cat([s.masks for s in scenes]))


@torch.no_grad()
def predict_masks(model: nn.Module, images: Tensor) -> Tensor:
    """Masks of images that have the network's size already.

    Args:
        model: In evaluation mode.
        images: (n, 3, H, W) in [0, 1].

    Returns:
        (n, 1, H, W) in [0, 1], on the CPU.
    """
    device = next(model.parameters()).device
    masks = [model(normalise(chunk.to(device))).logits.sigmoid().float().cpu() for chunk in images.split(CHUNK)]
    return torch.cat(masks)


def mean_scores(predictions: Tensor, masks: Tensor, names: tuple[str, ...] = METRICS) -> dict[str, float]:
    """Average each metric over the images for which it is defined; some are not for an empty mask.

    predictions, masks: (n, 1, H, W) in [0, 1].
    """
    rows = [measure(p[0], m[0], stretch=False, names=names).values for p, m in zip(predictions, masks, strict=True)]
    table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
    return dict(zip(names, table.nanmean(dim=0).tolist(), strict=True))


def is_better(metric: str, new: float, old: float | None) -> bool:
    """Whether a score is better than an earlier one; any is better than None."""
    return old is None or (new < old if metric in LOWER_IS_BETTER else new > old)


def contact_sheet(images: Tensor, masks: Tensor, predictions: Tensor, columns: int = 8, side: int = 128) -> Tensor:
    """One picture with image, mask and prediction below each other, `columns` of them side by side in each row.

    Args:
        images: (n, 3, H, W) in [0, 1].
        masks: (n, 1, H, W).
        predictions: (n, 1, H, W).
        columns: Images in a row.
        side: Height and width of each image on the sheet, in pixels.

    Returns:
        (3, rows * 3 * side, columns * side).
    """
    rows = []
    for i in range(0, len(images), columns):
        for part in (images, masks, predictions):
            part = interpolate(part[i : i + columns].expand(-1, 3, -1, -1), size=(side, side), mode="area")
            strip = images.new_zeros(3, side, columns * side)
            strip[:, :, : len(part) * side] = torch.cat(list(part), dim=2)  # (3, side, n * side)
            rows.append(strip)
    return torch.cat(rows, dim=1)
