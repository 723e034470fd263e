"""The open task of notebook 04: enlarge a coarse mask, in any way, better than with aligned corners."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network.resize import resize
from birefnet_lite.photos import load_photo

__all__ = ["enlarge_mask"]

_SIZE, _CELLS = (256, 384), (8, 12)
_WANTED = 0.93


@cache
def _photo(name: str) -> tuple[Tensor, Tensor]:
    """Photo (1, 3, H, W) and hand-made mask (1, 1, H, W), both in [0, 1]."""
    photo, mask, _ = load_photo(name)
    pair = torch.tensor(photo).permute(2, 0, 1) / 255, torch.tensor(mask)[None].float()
    image, truth = (F.adaptive_avg_pool2d(x[None], _SIZE) for x in pair)
    return image, (truth > 0.5).float()


def _cases() -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    for name in ("astronaut", "chelsea", "coffee"):
        image, truth = _photo(name)
        if torch.rand(()) < 0.5:  # other numbers of the same shape at each run
            image, truth = image.flip(3), truth.flip(3)
        yield name, F.adaptive_avg_pool2d(truth, _CELLS), image.clone(), truth


@check("Right.", usual=("interpolate",))
def enlarge_mask(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`enlarge_mask(cells, photo)`: a mask (1, 1, h, w) of block means to (1, 1, H, W), scored by its IoU."""
    ours, aligned, blocks, flipped = [], [], [], []
    for name, cells, image, truth in _cases():
        got = answer(cells, image)
        compare(got, torch.zeros_like(truth), f"For {name}", float("inf"), {})
        got = got.float()  # truth values count as 0 and 1
        ours.append(_iou(got, truth))
        aligned.append(_iou(resize(cells, _SIZE), truth))
        blocks.append(_iou(F.interpolate(cells, _SIZE), truth))
        flipped.append(max(_iou(x, truth) for x in (1 - got, got.flip(2), got.flip(3), got.sigmoid(), got / 255)))
    mean, others = _mean(ours), f"aligned corners reach {_mean(aligned):.3f}, blocks {_mean(blocks):.3f}"
    if mean >= _WANTED:
        return
    said = f"Your masks have an IoU of {mean:.3f} on average; {_WANTED} is wanted, and {others}. "
    if abs(mean - _mean(aligned)) < 1e-3:
        raise Wrong(
            f"{said}These are aligned corners: the first cell's number is put on the photo's first pixel. It is the "
            "mean of the first 32 x 32 pixels, so where does it belong?"
        )
    if abs(mean - _mean(blocks)) < 1e-3:
        raise Wrong(f"{said}Each pixel takes the number of its own cell, so that the outline goes in steps. Mix cells.")
    if _mean(flipped) >= _WANTED:
        raise Wrong(
            f"{said}Upside down, mirrored, inverted, divided by 255 or, as logits, after a sigmoid they would be "
            "better: the object is 1, the rest is 0, and the threshold of the score is 0.5."
        )
    if mean < 0.3:
        raise Wrong(f"{said}Is there anything between 0 and 1 in them? Pixels above 0.5 count as object.")
    raise Wrong(
        f"{said}A cell's number is the mean of its 32 x 32 pixels: it belongs to the middle of that block, at pixel "
        "15.5, 47.5, ... Mix the numbers of the nearest cells there."
    )


def _iou(mask: Tensor, truth: Tensor) -> float:
    chosen, right = mask > 0.5, truth > 0.5
    return float((chosen & right).sum() / (chosen | right).sum().clamp(min=1))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
