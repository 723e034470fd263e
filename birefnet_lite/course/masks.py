"""Masks beside a photo, scored against the one made by hand, and pictures in rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from birefnet_lite.course.picture import INK, Picture, card, fit_title
from birefnet_lite.inference.images import resize
from birefnet_lite.metrics import iou

__all__ = ["compare_masks", "marked", "mean_size", "rows_of_pictures", "score"]

_TOO_MUCH, _MISSED = (230, 110, 20), (40, 120, 230)  # orange and blue, which most colour-blind people tell apart


def score(mask: NDArray, by_hand: NDArray[np.bool_], ignore: NDArray[np.bool_] | None = None) -> float:
    """Intersection over union of a soft mask, resized to the hand-made one and cut at 0.5, with that one: 0 to 1.

    Pixels in `ignore` are left out.
    """
    full = resize(np.asarray(mask, np.float32), *by_hand.shape)
    keep = np.ones_like(by_hand) if ignore is None else ~ignore
    return float(iou(torch.as_tensor(full[keep][None]), torch.as_tensor(by_hand[keep][None])))


def compare_masks(
    photo: NDArray[np.uint8], by_hand: NDArray[np.bool_], masks: Mapping[str, NDArray], alt: str, width: float = 10.0
) -> Picture:
    """A photo and soft masks (H, W) in [0, 1] of any size in one row, each mask with its IoU.

    Where a mask takes in too much, it is orange; where it misses a piece of the object, blue.
    """
    scores = {title: score(mask, by_hand) for title, mask in masks.items()}
    images = {"photo": photo} | {f"{title}\nIoU {scores[title]:.3f}": marked(m, by_hand) for title, m in masks.items()}
    said = ", ".join(f"{title.replace(chr(10), ' ')} {value:.3f}" for title, value in scores.items())
    return rows_of_pictures([images], f"{alt} IoU: {said}.", width)


def marked(mask: NDArray, by_hand: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A soft mask in colours (H, W, 3): orange where it takes in too much, blue where it misses a piece."""
    full = resize(np.asarray(mask, np.float32), *by_hand.shape).clip(0, 1)
    chosen = full > 0.5
    colours = np.repeat((255 * full[..., None]).round().astype(np.uint8), 3, axis=2)  # (H, W, 3)
    colours[chosen & ~by_hand] = _TOO_MUCH
    colours[~chosen & by_hand] = _MISSED
    return colours


def mean_size(maps: NDArray) -> NDArray[np.float64]:
    """How large the numbers of (C, H, W) are in each cell: the mean over the channels, from 0 to 1 at the largest."""
    size = np.abs(np.asarray(maps, np.float64)).mean(axis=0)
    return size / max(size.max(), 1e-12)


def rows_of_pictures(rows: Sequence[Mapping[str, NDArray]], alt: str, width: float = 10.0) -> Picture:
    """Rows of images under their titles, all of one height within a row.

    Each image is (H, W, 3) uint8, or (H, W) in [0, 1], drawn from black to white without stretching.
    """
    gap = 0.12
    heights, above, titles = [], [], []
    for row in rows:
        ratios = [image.shape[1] / image.shape[0] for image in row.values()]
        height = (width - gap * (len(row) + 1)) / sum(ratios)
        heights.append(height)
        titles.append(
            [fit_title(title, height * ratio + gap / 2, 10.5) for title, ratio in zip(row, ratios, strict=True)]
        )
        above.append(0.18 + 0.19 * max(title.count("\n") + 1 for title in titles[-1]))
    total = sum(heights) + sum(above) + 0.08 * len(rows)
    figure = card(width, total)
    top = total
    for row, names, height, head in zip(rows, titles, heights, above, strict=True):
        left, top = gap, top - head - height
        for title, image in zip(names, row.values(), strict=True):
            across = height * image.shape[1] / image.shape[0]
            axes = figure.add_axes((left / width, top / total, across / width, height / total))
            axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
            axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=4)
            axes.set_axis_off()
            left += across + gap
        top -= 0.08
    return Picture.of(figure, alt)
