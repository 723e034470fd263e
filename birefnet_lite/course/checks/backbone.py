"""Exercises of notebook 02: windows, the fusion of two sizes, the context."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.network import encoder
from birefnet_lite.network.backbone import swin
from birefnet_lite.network.resize import resize

__all__ = ["fuse_context", "fuse_scales", "window_partition"]

_ALIGN = "The resampling is bilinear, but with align_corners=False. BiRefNet aligns corners everywhere."


@check("Right: every window holds neighbours, and nothing is lost.")
def window_partition(answer: Callable[[Tensor, int], Any]) -> None:
    """`window_partition(x, window)`: (B, H, W, C) to (B, windows, window * window, C), row by row."""
    for shape, window in (((1, 4, 4, 1), 2), ((2, 6, 9, 5), 3), ((1, 7, 14, 2), 7)):
        x = torch.randn(shape, requires_grad=True)
        where = f"For x of {shape} and window={window}"
        wanted = swin.window_partition(x, window)
        batch, windows, _, channels = wanted.shape
        mistakes = {
            "Each of your windows is one of the runs of pixels that follow each other in memory. A window has rows: "
            "bring its rows and columns side by side first, with permute or transpose.": x.reshape(wanted.shape),
            "Your windows, or the pixels in them, go column by column; they should go row by row.": (
                swin.window_partition(x.transpose(1, 2), window)
            ),
            "The shape is (B * windows, ...): here, keep batch and windows apart.": wanted.flatten(0, 1),
            "The shape is (B, windows, window, window, C): join the two in the middle.": wanted.reshape(
                batch, windows, window, window, channels
            ),
        }
        if shape[1] % window == shape[2] % window == 0:
            unfolded = F.unfold(x.movedim(-1, 1), window, stride=window)  # (B, C * window * window, windows)
            mistakes |= {
                "F.unfold puts the channels in front of the pixels: bring them to the end of each window before you "
                "join axes.": unfolded.transpose(1, 2).reshape(wanted.shape),
                "F.unfold gives (B, C * window * window, windows): move the windows to axis 1, and split channels and "
                "pixels.": unfolded,
            }
        split = x.reshape(batch, window, shape[1] // window, window, shape[2] // window, channels)
        mistakes |= {
            "The shape is (B * windows, window, window, C), as in Swin's own code. Here, keep batch and windows apart, "
            "and join the pixels of a window.": wanted.reshape(-1, window, window, channels),
            "Your windows take pixels that lie apart. Split the height into (H / window, window), in this order, and "
            "the width likewise.": split.permute(0, 2, 4, 1, 3, 5).reshape(wanted.shape),
            "The halves of each split axis are the wrong way round: split the height into (H / window, window), in "
            "this order, and the width likewise.": split.permute(0, 1, 3, 2, 4, 5).reshape(wanted.shape),
        }
        mistakes["Rows and columns in each window have changed places."] = (
            wanted.unflatten(2, (window, window)).transpose(2, 3).flatten(2, 3)
        )
        mistakes["The windows go column by column; they should go row by row."] = (
            wanted.unflatten(1, (shape[1] // window, shape[2] // window)).transpose(1, 2).flatten(1, 2)
        )
        mistakes["window is the side of a window in pixels, not the number of windows along a side."] = (
            swin.window_partition(x, shape[1] // window) if shape[2] % (shape[1] // window) == 0 else wanted
        )
        got = answer(x, window)
        if isinstance(got, Tensor) and got.ndim == 4 and got.shape[1] != windows and got.shape[2:] == wanted.shape[2:]:
            raise Wrong(
                f"{where}, the number of windows is {got.shape[1]}; it should be {windows}. They stand side by side, "
                "without gaps and without sharing pixels."
            )
        compare(got, wanted, where, 0, mistakes)
        compare_gradient(got, wanted, x, where, 1e-6)


@check("Right, at every level, with odd sizes too.")
def fuse_scales(answer: Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], Any]) -> None:
    """`fuse_scales(full, half)`: four maps of each pass to four maps with the channels of both, `full` in front."""
    for batch, height, width in ((2, 16, 24), (1, 20, 12)):
        full, half = (_pyramid(batch, height // part, width // part) for part in (1, 2))
        got = answer(full, half)
        if not isinstance(got, tuple | list) or len(got) != 4:
            raise Wrong("The result should be four maps, one for each level, as a tuple or a list.")
        if [x.shape[-2:] for x in reversed(full)] == [x.shape[-2:] for x in got if isinstance(x, Tensor)]:
            raise Wrong("The levels run from the coarsest to the finest. Give level 1 first.")
        for level, (large, small) in enumerate(zip(full, half, strict=True)):
            where = f"At level {level + 1}"
            size = large.shape[-2:]
            (wanted,) = encoder.fuse_scales((large,), (small,), "cat")
            up = wanted[:, large.shape[1] :]
            mistakes: dict[str, tuple[Tensor, ...]] = {
                "The maps of the half-size photo come first. Put those of the whole photo in front.": (up, large),
                _ALIGN: (large, F.interpolate(small, size, mode="bilinear", align_corners=False)),
                "The small map is enlarged by nearest neighbours. Use bilinear resampling.": (
                    large,
                    F.interpolate(small, size),
                ),
                "The small map is enlarged bicubically. Use bilinear resampling.": (
                    large,
                    F.interpolate(small, size, mode="bicubic", align_corners=True),
                ),
                "The half-size map stands in both halves.": (up, up),
                "The full-size map stands in both halves.": (large, large),
            }
            known = {said: torch.cat(pair, dim=1) for said, pair in mistakes.items()}
            known["The maps are added. Concatenate them along the channels."] = large + up
            known["The maps are concatenated along another axis than the channels, axis 1."] = torch.cat([large, up])
            for axis in (2, 3):
                known[f"The maps are concatenated along axis {axis}. Channels are axis 1."] = torch.cat(
                    [large, up], dim=axis
                )
            known["The channels of both maps alternate. First all of the full-size map, then all of the other."] = (
                torch.stack([large, up], dim=2).flatten(1, 2)
            )
            known["The large map is shrunk to the small one. Enlarge the small one."] = torch.cat(
                [resize(large, small.shape[-2:]), small], dim=1
            )
            known["Only the full-size map is there. Concatenate the enlarged one behind it."] = large
            known["Only the half-size map is there, enlarged. Concatenate it behind the full-size one."] = up
            compare(got[level], wanted, where, 1e-5, known)
            for source in (large, small):
                compare_gradient(got[level], wanted, source, where, 1e-5)


@check("Right: the context stands in front of the deepest map, finest level first.")
def fuse_context(answer: Callable[[tuple[Tensor, ...]], Any]) -> None:
    """`fuse_context(features)`: x1, x2, x3 resampled to the size of x4, and x4 behind them."""
    for batch, height, width in ((2, 32, 48), (1, 40, 24)):
        features = _pyramid(batch, height, width)
        *finer, deepest = features
        size = deepest.shape[-2:]
        wanted = encoder.fuse_context(features, 3)
        shrunk = [F.interpolate(x, size, mode="bilinear", align_corners=True) for x in finer]
        mistakes = {
            "The deepest map comes first. The context should stand in front of it.": (deepest, *shrunk),
            "The context runs from coarse to fine. It should run finest first: x1, x2, x3.": (*shrunk[::-1], deepest),
            _ALIGN: (*(F.interpolate(x, size, mode="bilinear", align_corners=False) for x in finer), deepest),
            "The finer maps are shrunk by nearest neighbours. Sample them bilinearly, with align_corners=True.": (
                *(F.interpolate(x, size) for x in finer),
                deepest,
            ),
            "The finer maps are shrunk bicubically. Use bilinear resampling.": (
                *(F.interpolate(x, size, mode="bicubic", align_corners=True) for x in finer),
                deepest,
            ),
            "The finer maps are shrunk with antialiasing. Sample them without.": (
                *(F.interpolate(x, size, mode="bilinear", align_corners=True, antialias=True) for x in finer),
                deepest,
            ),
            "x4 is missing: it comes behind the context.": (*shrunk,),
            "x1 is missing in the context.": (*shrunk[1:], deepest),
            "x3 is missing in the context.": (*shrunk[:2], deepest),
            "The finer maps are pooled. BiRefNet samples them bilinearly, which skips pixels.": (
                *(F.adaptive_avg_pool2d(x, (size[0], size[1])) for x in finer),
                deepest,
            ),
        }
        where = f"For maps from {height} x {width} down"
        known = {said: torch.cat(maps, dim=1) for said, maps in mistakes.items()}
        known["All maps are brought to the size of x1. Shrink them to the size of x4."] = torch.cat(
            [resize(x, features[0].shape[-2:]) for x in features], dim=1
        )
        x1, x2, x3, _ = features
        known["The maps are shrunk level by level. Resample each of them to the size of x4 in one step."] = torch.cat(
            [
                resize(resize(resize(x1, x2.shape[-2:]), x3.shape[-2:]), size),
                resize(resize(x2, x3.shape[-2:]), size),
                shrunk[2],
                deepest,
            ],
            dim=1,
        )
        known["This is the context alone, without x4 behind it."] = torch.cat(shrunk, dim=1)
        got = answer(features)
        compare(got, wanted, where, 1e-5, known)
        for source in features:
            compare_gradient(got, wanted, source, where, 1e-5)


def _pyramid(batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Four random maps, each half as high and wide as the one before, of widths that tell them apart."""
    return tuple(
        torch.randn(batch, channels, max(1, height >> level), max(1, width >> level), requires_grad=True)
        for level, channels in enumerate((2, 3, 4, 5))
    )
