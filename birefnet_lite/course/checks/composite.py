"""Check of the exercise that lays a cut-out over a background."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, explain_by_arguments

__all__ = ["composite"]


@check("Right, to the last level of every colour.")
def composite(answer: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]) -> None:
    """`composite(cut, background)`: uint8 (H, W, 4) over uint8 (H, W, 3) to uint8 (H, W, 3), rounded."""
    for height, width in ((6, 9), (5, 3), (1, 1)):
        cut, background = (torch.randint(0, 256, (height, width, c), dtype=torch.uint8).numpy() for c in (4, 3))
        cut[0, : width // 3, 3] = 0
        cut[-1, width // 2 :, 3] = 255
        where = f"For a cut-out of {height} x {width}"
        got = answer(cut.copy(), background.copy())
        if isinstance(got, Image.Image):
            raise Wrong(f"{where}, the result is a PIL image. Give its array: np.asarray(...).")
        if isinstance(got, Tensor):
            raise Wrong(f"{where}, the result is a tensor. Give a NumPy array, as the cut-out is one: `.numpy()`.")
        if got is None:
            raise Wrong(f"{where}, your function gives NoneType and not an array. Is there a `return`?")
        if not isinstance(got, np.ndarray):
            raise Wrong(f"{where}, your function gives {type(got).__name__} and not a tensor or an array.")
        got = torch.from_numpy(got.copy())
        exact = _mixed(cut[..., :3], cut[..., 3:] / 255, background)
        if isinstance(got, Tensor) and got.dtype != torch.uint8:
            _explain_type(got, exact, where)
        got = got.double() if isinstance(got, Tensor) else got
        wanted, floor = torch.from_numpy(np.rint(exact)), torch.from_numpy(np.floor(exact))
        mistakes = _mistakes_of_mixing(cut, background)
        if not _near(got, exact):
            for sentence, value in mistakes.items():
                # A level more or less, since a wrong formula may also lack the rounding.
                if _near(got, value):
                    raise Wrong(sentence)
            if cause := _explain_colours(got, cut, background):
                raise Wrong(f"{where}: {cause}")
        cut_off = "The fraction is cut off: turning floats into uint8 rounds down. Round first, with np.rint."
        up = "The fraction is rounded up. Round to the nearest whole number, with np.rint."
        known = {cut_off: floor, up: torch.from_numpy(np.ceil(exact))}
        known |= {said: _bytes(value) for said, value in mistakes.items()}
        compare(got, wanted, where, 0, known)


def _explain_colours(got: Tensor, cut: NDArray[np.uint8], background: NDArray[np.uint8]) -> str | None:
    """Say for which changed colours or alpha the mixture would be right, give or take one level."""
    colours, alpha, behind = (
        torch.from_numpy(x.copy()).permute(2, 0, 1)[None].double() for x in (cut[..., :3], cut[..., 3:], background)
    )

    def mixed(**x: Tensor) -> Tensor:
        colours, behind, part = x.values()
        return (part * colours + (1 - part) * behind).round().clamp(0, 255)

    def weighted(**x: Tensor) -> Tensor:
        colours, behind, part, rest = x.values()
        return (part * colours + rest * behind).round().clamp(0, 255)

    parts = {
        "the cut-out's colours": colours,
        "the background": behind,
        "the cut-out's part, alpha / 255,": alpha / 255,
    }
    wanted = mixed(**parts)
    if got.shape != cut[..., :3].shape:
        return None
    ours = got.permute(2, 0, 1)[None]
    for retry in (
        Retry(mixed, parts),
        Retry(weighted, parts | {"the background's part, 1 - alpha / 255,": 1 - alpha / 255}),
    ):
        if cause := explain_by_arguments(ours, wanted, retry, 1.0):
            return cause
    return None


def _near(got: Tensor, values: NDArray) -> bool:
    """Whether these are the values as bytes, clipped or wrapped around, give or take one level."""
    if tuple(got.shape) != values.shape:
        return False
    bytes_ = got.numpy()
    wrapped = np.abs((bytes_ - values + 128) % 256 - 128)
    return bool(np.abs(bytes_ - values.clip(0, 255)).max() <= 1) or bool(wrapped.max() <= 1)


def _bytes(values: NDArray) -> Tensor:
    return torch.from_numpy(np.rint(values).clip(0, 255).astype(np.float64))


def _explain_type(got: Tensor, exact: NDArray[np.float64], where: str) -> None:
    values = got.double().numpy()
    if values.shape == exact.shape and np.abs(values - exact / 255).max() < 1e-3:
        raise Wrong(f"{where}, the values run from 0 to 1. Bytes run from 0 to 255: multiply, round, turn into uint8.")
    if values.shape == exact.shape and np.abs(values - exact).max() <= 1:
        raise Wrong(f"{where}, the result is {got.dtype}. Round it and turn it into bytes: .astype(np.uint8).")
    if values.shape == exact.shape and np.abs(values - exact * 255).max() <= 255:
        raise Wrong(f"{where}, the values run up to {values.max():.0f}: alpha is a byte too. Divide it by 255.")
    raise Wrong(f"{where}, the result is {got.dtype}; it should be uint8, with the colours mixed by alpha / 255.")


def _mistakes_of_mixing(cut: NDArray[np.uint8], background: NDArray[np.uint8]) -> dict[str, NDArray]:
    colours, a = cut[..., :3], cut[..., 3:]
    part = a / 255
    exact = _mixed(colours, part, background)
    with np.errstate(over="ignore"):
        overflow = (colours * a + background * (255 - a)) // 255
        behind = part * colours + (255 - a) * background / 255
        before = colours * a / 255 + (1 - part) * background
    return {
        "Alpha is the wrong way round: where it is 255, the cut-out hides the background.": (
            _mixed(colours, 1 - part, background)
        ),
        "The products overflow: bytes wrap around at 256. Turn the arrays into floats first.": overflow,
        "The products of the background overflow: bytes wrap around at 256. Turn the arrays into floats first.": behind,
        "The products of the cut-out overflow: bytes wrap around at 256. Turn the arrays into floats first.": before,
        "Alpha is used as a byte, 0 to 255. Divide it by 255: the two parts add up to 1.": (
            _mixed(colours, a.astype(np.float64), background)
        ),
        "The first channel is taken for alpha. Alpha is the last one.": (
            _mixed(cut[..., 1:], cut[..., :1] / 255, background)
        ),
        "The background's part is squared: it is 1 - alpha.": part * colours + (1 - part) ** 2 * background,
        "The background is not seen: mix it in by 1 - alpha.": colours,
        "Alpha is divided by 256. Divide by 255: an alpha of 255 hides the background.": (
            _mixed(colours, a / 256, background)
        ),
        "Alpha is divided by 100. Divide by 255.": _mixed(colours, a / 100, background),
        "Only the background is there: the cut-out is missing.": background.astype(np.float64),
        "The two are mixed half and half. Mix them by alpha.": _mixed(colours, np.full_like(part, 0.5), background),
        "Red and blue have changed places.": exact[..., ::-1],
        "Alpha is squared. Use it as it is.": _mixed(colours, part**2, background),
        "The larger of the two colours is taken. Mix them by alpha.": np.maximum(colours, background),
        "The smaller of the two colours is taken. Mix them by alpha.": np.minimum(colours, background),
        "The larger of the two parts is taken. Add them.": np.maximum(part * colours, (1 - part) * background),
        "The two are added in full. Mix them by alpha.": np.minimum(colours.astype(np.float64) + background, 255),
        "The background's part is taken off. Add it.": part * colours - (1 - part) * background,
        "The background is white, whatever is given. Use the argument.": part * colours + (1 - part) * 255,
        "The background is inverted.": part * colours + (1 - part) * (255 - background.astype(np.float64)),
        "Colours are mixed by their light, with a gamma of 2.2. Mix the bytes as they are.": 255
        * (part * (colours / 255) ** 2.2 + (1 - part) * (background / 255) ** 2.2) ** (1 / 2.2),
        "The first channel is taken for alpha, and for red too. Alpha is the last one.": (
            _mixed(colours, cut[..., :1] / 255, background)
        ),
        "Blue is taken for alpha. Alpha is the last of the four channels.": (
            _mixed(colours, cut[..., 2:3] / 255, background)
        ),
        "Alpha is rounded to one digit. Use it as it is.": _mixed(colours, part.round(1), background),
        "The mean of alpha is used for all pixels. Each has its own.": (
            _mixed(colours, np.full_like(part, part.mean()), background)
        ),
        "The mixture is multiplied by 255: colours are 0 to 255 already, and only alpha is divided.": exact * 255,
        "The mixture is divided by 255: colours stay 0 to 255, and only alpha is divided.": exact / 255,
        "Half a level is added, and then it is rounded. Do one of the two.": np.rint(exact + 0.5),
        "Alpha has its root taken. Use it as it is.": _mixed(colours, part**0.5, background),
        "The cut-out is pasted wherever alpha is not 0. A pixel that is half object is half background: mix both.": (
            np.where(a > 0, colours, background)
        ),
        "The cut-out is pasted only where alpha is 255. A pixel that is half object is half background: mix both.": (
            np.where(a == 255, colours, background)
        ),
        "Alpha is cut at one half. A pixel that is half object is half background: mix both.": (
            np.where(a > 127, colours, background)
        ),
        "The colours are added as if they were multiplied by alpha already. The colours of an RGBA image are not.": (
            colours + (1 - part) * background
        ),
        "The background is added in full. It shows by 1 - alpha only.": (part * colours + background),
        "The background is missing: outside the object the result is black.": part * colours,
        "Alpha is used twice on the cut-out.": part * part * colours + (1 - part) * background,
        "The result still has alpha. A photo with a background has three colours.": np.dstack([exact, a]),
    }


def _mixed(colours: NDArray[np.uint8], part: NDArray, background: NDArray[np.uint8]) -> NDArray[np.float64]:
    return part * colours + (1 - part) * background
