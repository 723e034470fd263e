"""Score a model on images with masks: `python -m birefnet_lite evaluate MODEL DATA`."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isnan, nan
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from birefnet_lite.inference.images import read_mask
from birefnet_lite.metrics import CURVES, METRICS, measure
from birefnet_lite.output import format_table, write_text

DEFAULT_METRICS = (
    "s_measure",
    "weighted_f",
    "mae",
    "iou",
    "e_mean",
    "e_max",
    "f_mean",
    "f_max",
    "boundary_iou",
    "hce",
)
LOWER_IS_BETTER = ("mae", "mse", "hce")


class Pair(NamedTuple):
    """One image to be scored, and its mask."""

    name: str
    image: Any
    """Anything that `segment` takes."""
    mask: Any
    """Anything that `read_mask` takes, of the image's size after EXIF rotation."""
    group: str = ""
    """A label by which scores are also averaged, such as a family of synthetic shapes."""


class ImageScore(NamedTuple):
    """One image's name, group, scores by name, and the curves over 256 thresholds behind them."""

    name: str
    group: str
    values: dict[str, float]
    curves: dict[str, Tensor]


@dataclass
class Scores:
    """The scores of a data set: one `ImageScore` for each image, in the order they were given."""

    metrics: tuple[str, ...]
    stretch: bool
    images: list[ImageScore] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The groups' names, in the order in which they first came."""
        return list(dict.fromkeys(image.group for image in self.images))

    def mean(self, group: str | None = None) -> dict[str, float]:
        """The means over the images of the data set, or of one group; images without a value are left out.

        A `_max` is the highest point of the mean curve, so that one threshold serves all images, as in the benchmarks;
        the mean of the single images' `_max` would be higher.

        Raises:
            ValueError: No image is in the group.
        """
        chosen = [image for image in self.images if group in (None, image.group)]
        if not chosen:
            raise ValueError(f"No image is in the group {group!r}; the groups are {self.groups}.")
        result = {}
        for name in self.metrics:
            curve, _, kind = name.rpartition("_")
            if kind == "max" and curve in CURVES:
                result[name] = float(torch.stack([image.curves[curve] for image in chosen]).mean(dim=0).max())
            else:
                values = [image.values[name] for image in chosen if not isnan(image.values[name])]
                result[name] = sum(values) / len(values) if values else nan
        return result

    def worst(self, count: int, metric: str = "s_measure") -> list[ImageScore]:
        """The `count` images with the worst `metric`, the worst first; those without a value are left out."""
        if metric not in self.metrics:
            raise ValueError(f"{metric} was not measured; choose from {', '.join(self.metrics)}.")
        scored = [image for image in self.images if not isnan(image.values[metric])]
        return sorted(scored, key=lambda image: image.values[metric], reverse=metric in LOWER_IS_BETTER)[:count]

    def _means(self) -> list[tuple[str, int, dict[str, float]]]:
        """(label, number of images, means) for each group, where there are several, and for all images."""
        groups = self.groups if len(self.groups) > 1 else []
        sizes = {group: sum(image.group == group for image in self.images) for group in groups}
        return [(group or "(no group)", sizes[group], self.mean(group)) for group in groups] + [
            ("all", len(self.images), self.mean())
        ]

    def table(self) -> str:
        """The means as plain text, one line for each group and one for all; `-` marks metrics where less is better."""
        rows = [["", "images", *(f"{name} -" if name in LOWER_IS_BETTER else name for name in self.metrics)]]
        for label, size, means in self._means():
            rows.append([label, str(size), *(_number(name, means[name]) for name in self.metrics)])
        how = "each stretched to 0 to 1, as the benchmarks do" if self.stretch else "as the model gives them"
        return "\n".join([format_table(rows), f"(-: less is better; masks cut at 128 of 255; predictions {how})"])

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line for each image: name, group, then the metrics, empty where there is no value."""
        text = io.StringIO(newline="")
        rows = [[image.name, image.group, *_cells(image.values, self.metrics)] for image in self.images]
        csv.writer(text).writerows([["name", "group", *self.metrics], *rows])
        # A file's name need not be text in any encoding.
        write_text(path, text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))


def _number(metric: str, value: float) -> str:
    if isnan(value):
        return "none"
    return f"{value:.1f}" if metric == "hce" else f"{value:.4f}"


def _cells(values: dict[str, float], metrics: Sequence[str]) -> list[str]:
    return ["" if isnan(values[name]) else repr(values[name]) for name in metrics]


def evaluate(
    model: torch.nn.Module,
    pairs: Iterable[Pair | tuple],
    *,
    size: int | tuple[int, int] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    stretch: bool = True,
    predict: Callable[[torch.nn.Module, Any], Any] | None = None,
    progress: bool = True,
    on_error: Callable[[Pair, Exception], None] | None = None,
) -> Scores:
    """Segment each image and score it against its mask.

    Args:
        model: The network.
        pairs: `Pair`, or plain tuples (name, image, mask) or (name, image, mask, group).
        size: Handed to `segment`.
        metrics: Names of `metrics.METRICS`; HCE is the slow one.
        stretch: See `metrics.prepare`; published numbers are made with it (and from predictions rounded to 8 bits,
            which is not done here).
        predict: Takes the place of `segment`: (model, image) to H x W in [0, 1].
        progress: Whether to show a progress bar.
        on_error: Is told about an image or mask that cannot be read or does not fit, which is then left out. None
            raises the error.

    Raises:
        ValueError: There is nothing to score, a metric is unknown or, without `on_error`, an image cannot be scored;
            the message names it.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> scores = evaluate(model, [("chelsea", photo, mask)], size=64, metrics=("iou", "mae"))
        >>> scores.images[0].name
        'chelsea'
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise ValueError(f"There is no metric {', '.join(unknown) or 'named'}; choose from {', '.join(METRICS)}.")
    if predict is None:
        from birefnet_lite.inference.predict import segment

        predict = partial(segment, size=size)
    elif size is not None:
        raise ValueError("size is for the standard prediction; with a predict function of your own, set it there.")
    scores = Scores(tuple(metrics), stretch)
    for item in tqdm(pairs, desc="evaluate", unit="image", disable=not progress):
        pair = Pair(*item)
        try:
            mask = read_mask(pair.mask)
            values, curves = measure(predict(model, pair.image), mask, stretch=stretch, names=scores.metrics)
        except (OSError, ValueError, TypeError) as error:
            if on_error is None:
                raise ValueError(f"{pair.name} cannot be scored: {error}") from error
            on_error(pair, error)
            continue
        scores.images.append(ImageScore(pair.name, pair.group, values, curves))
    if not scores.images:
        raise ValueError("There is nothing to evaluate: no pair of an image and a mask was given.")
    return scores
