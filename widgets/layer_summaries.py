"""Pictures of all channels of a layer at once, computed after the view is shown: PCA as colours, segments, norm."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import from_numpy

from birefnet_lite.analysis.layer_names import title_of
from birefnet_lite.analysis.summaries import Basis, fit_basis, norm_of, segments_of
from widgets.channel_ranking import STATISTICS
from widgets.number_format import TIMES
from widgets.scene import COLOUR, Layer, Scene

__all__ = ["average_cells", "postpone_summaries"]

#: The longest side of the pictures; of finer maps they show means of cells, for time and memory.
SIDE = 512
#: Fewer channels than these are looked at one by one.
LEAST = 4
#: Colours of segments, told apart by colour-blind eyes too (Okabe and Ito).
SEGMENTS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
PCA = "PCA: red, green and blue"


def postpone_summaries(scene: Scene, maps: dict[str, NDArray[np.float32]]) -> None:
    """Add a layer of pictures and one of norms for each layer's maps (C, h, w), to be filled when first asked for.

    The two sizes of the image share one basis of colours. The maps are kept until then.
    """
    bases: dict[str, Callable[[], Basis]] = {}
    for name, values in maps.items():
        if len(values) < LEAST:
            continue
        twin = name.replace("encoder.full.", "encoder.half.")
        if name not in bases:
            both = dict.fromkeys((name, twin) if twin in maps else (name,))
            bases |= dict.fromkeys(both, cache(partial(fit_basis, [maps[each] for each in both], 6)))
        _postpone(scene, name, values, bases[name])


def _postpone(scene: Scene, name: str, maps: NDArray[np.float32], basis: Callable[[], Basis]) -> None:
    factor = -(-max(maps.shape[1:]) // SIDE)
    height, width = (-(-side // factor) for side in maps.shape[1:])
    means = "" if factor == 1 else f"of the means over {factor} {TIMES} {factor} cells"
    counts = range(2, min(len(SEGMENTS), height * width) + 1)
    segments = [f"{count} segments of alike cells (k-means)" for count in counts]
    note = "; ".join(filter(None, ("the channel chooses: PCA as colours, then 2 to 6 segments", means)))

    def empty(end: str, title: str, note: str, kind: str, labels: list[str]) -> Layer:
        statistics = np.zeros((len(STATISTICS), len(labels)), np.float32)
        layer = Layer(f"{name} · {end}", title, note, kind, (len(labels), height, width), statistics)
        layer.base, layer.labels = name, labels
        return layer

    title = title_of(name)
    colours = empty("colours", f"{title} · all channels as colours", note, COLOUR, [PCA, *segments])
    norm = empty("norm", f"{title} · norm over channels", means, "positive", ["norm over all channels"])

    def compute() -> None:
        fitted = basis()
        projected = average_cells(fitted.project(maps), factor)
        shares = ", ".join(f"{share:.0%}" for share in fitted.explained[:3])
        pictures = {f"{PCA} explain {shares}": fitted.colours(projected)}
        palette = np.array(SEGMENTS, np.uint8)
        for count, label in zip(counts, segments, strict=True):
            pictures[label] = palette[segments_of(projected, count)]
        scene.add_pictures(colours.name, name, pictures, colours.title, colours.note)
        added = scene.add(norm.name, average_cells(norm_of(maps), factor), norm.kind, norm.title, norm.note)
        added.base, added.labels = norm.base, norm.labels

    scene.postpone([colours, norm], compute)


def average_cells(maps: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over blocks of `factor` cells a side: maps (C, h, w) to (C, h / factor, w / factor), rounded up."""
    if factor == 1:
        return maps
    pooled = F.avg_pool2d(from_numpy(maps)[None], factor, ceil_mode=True, count_include_pad=False)
    return pooled[0].numpy()
