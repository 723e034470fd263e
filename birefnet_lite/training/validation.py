"""Scores of a model on a fixed set of images, and the pictures to look at."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from birefnet_lite.metrics import measure
from birefnet_lite.synthetic import SyntheticScenes
from birefnet_lite.training.evaluate import LOWER_IS_BETTER
from birefnet_lite.training.folder import FolderBatches, FolderDataset
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.sources import normalise

__all__ = ["ValidationSet", "better", "contact_sheet", "predict", "score", "validation_set"]

METRICS = ("s_measure", "weighted_f", "mae", "iou")
CHUNK = 8  # images in one forward
SEED = 20_260_101  # far from any seed of a training run, whatever that is: never seen in training
DIFFICULTY = 0.6


class ValidationSet(NamedTuple):
    """images (n, 3, H, W) and masks (n, 1, H, W) in [0, 1], on the CPU."""

    images: Tensor
    masks: Tensor


def validation_set(settings: TrainSettings) -> ValidationSet:
    """The pairs of a folder; or scenes, half of known families and half of families that training never sees."""
    count, size = settings.validation_images, (settings.size, settings.size)
    if folder := settings.validation_folder or (settings.data == "folder" and settings.folder):
        dataset = FolderDataset(folder, size)
        batches = [FolderBatches(dataset).batch(min(count, len(dataset)), 0)]
    else:
        parts = {"train": count - count // 2, "held_out": count // 2}
        batches = [
            SyntheticScenes(size, SEED, DIFFICULTY, families=kind, backgrounds=kind).batch(number, 0)
            for kind, number in parts.items()
            if number
        ]
    return ValidationSet(torch.cat([b.images for b in batches]), torch.cat([b.masks for b in batches]))


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Masks (n, 1, H, W) in [0, 1] on the CPU, of images (n, 3, H, W) in [0, 1]; the model must be in eval mode."""
    device = next(model.parameters()).device
    masks = [model(normalise(chunk.to(device))).logits.sigmoid().float().cpu() for chunk in images.split(CHUNK)]
    return torch.cat(masks)


def score(predictions: Tensor, masks: Tensor, names: tuple[str, ...] = METRICS) -> dict[str, float]:
    """Means over the images; those for which a metric has no value (such as an empty mask) are left out of it."""
    rows = [measure(p[0], m[0], stretch=False, names=names).values for p, m in zip(predictions, masks, strict=True)]
    table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
    return dict(zip(names, table.nanmean(dim=0).tolist(), strict=True))


def better(metric: str, new: float, old: float | None) -> bool:
    """Whether `new` beats the best score so far."""
    return old is None or (new < old if metric in LOWER_IS_BETTER else new > old)


def contact_sheet(images: Tensor, masks: Tensor, predictions: Tensor, columns: int = 8, side: int = 128) -> Tensor:
    """One picture (3, H, W): image, mask and prediction below each other, `columns` side by side in each row."""
    rows = []
    for i in range(0, len(images), columns):
        for part in (images, masks, predictions):
            part = interpolate(part[i : i + columns].expand(-1, 3, -1, -1), size=(side, side), mode="area")
            strip = images.new_zeros(3, side, columns * side)
            strip[:, :, : len(part) * side] = torch.cat(list(part), dim=2)  # (3, side, n * side)
            rows.append(strip)
    return torch.cat(rows, dim=1)
