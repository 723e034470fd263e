"""The open task of notebook 09: a damage to a mask that IoU sees and HCE does not."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label
from torch import Tensor

from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.course.checks.shape_differences import difference_of_axes
from birefnet_lite.metrics import measure
from birefnet_lite.photos import load_photo

__all__ = ["fool_hce"]

_CLICKS = 5  # at most
_IOU = 0.7  # at most


def _cases() -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name in ("motorcycle", "astronaut", "coffee"):
        mask = load_photo(name)[1].astype(np.float32)
        yield name, (mask[:, ::-1] if torch.rand(()) < 0.5 else mask).copy()


@check("Right: IoU sees a ruined mask, and HCE asks for next to nothing.")
def fool_hce(answer: Callable[[NDArray[np.float32]], Any]) -> None:
    """`fool_hce(mask)`: a mask (H, W) of 0 and 1 to a damaged one, with few clicks by HCE and a low IoU."""
    for name, mask in _cases():
        where = f"For the mask of {name}, {mask.shape[0]} x {mask.shape[1]}"
        got = _as_mask(answer(mask.copy()), mask.shape, where)
        overlap, clicks = _scores(got, mask)
        said = f"{where}, HCE is {clicks:.0f} and IoU {overlap:.3f}; at most {_CLICKS} and at most {_IOU} are wanted. "
        if clicks > _CLICKS:
            raise Wrong(said + _explain_clicks(got, mask))
        if np.array_equal(got > 0.5, mask > 0.5):
            raise Wrong(f"{said}Cut at 0.5 this is the mask itself: nothing is damaged.")
        if overlap > _IOU:
            raise Wrong(
                f"{said}HCE overlooks your damage, but it is too small for IoU. Make it larger: what does HCE ask for "
                "a blob of twice the size?"
            )


def _as_mask(got: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    if got is None:
        raise Wrong(f"{where}, your function gives NoneType and not an array. Is there a `return`?")
    if not isinstance(got, np.ndarray | Tensor):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not an array.")
    values = np.asarray(got.detach().cpu() if isinstance(got, Tensor) else got)
    if values.dtype.kind not in "buif":
        raise Wrong(f"{where}, the result is an array of {values.dtype}. It should be bool, or floats from 0 to 1.")
    values = values.astype(np.float32)
    if values.shape != shape:
        said = difference_of_axes(values.shape, shape) or ""
        raise Unclear(f"{where}, the shape is {values.shape}; it should be {shape}, as the mask's. {said}")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise Wrong(
            f"{where}, the values go from {values.min():g} to {values.max():g}. A mask has values from 0 to 1: use "
            "np.maximum or `|` where two things overlap, and not `+`."
        )
    return values


def _scores(got: NDArray, mask: NDArray[np.float32]) -> tuple[float, float]:
    values = measure(np.asarray(got, np.float32), mask > 0.5, stretch=False, names=("iou", "hce")).values
    return values["iou"], values["hce"]


def _explain_clicks(got: NDArray[np.float32], mask: NDArray[np.float32]) -> str:
    """Say where a person would have to click, and why."""
    chosen, wanted = got > 0.5, mask > 0.5
    lost = _scores(chosen & wanted, mask)[1]
    if lost > _CLICKS:
        return (
            f"{lost:.0f} clicks are for what is missing: lost pieces of the object have to be drawn again, corner by "
            "corner. Take nothing away, add something."
        )
    added = chosen & ~wanted
    count = label(added, np.ones((3, 3)))[1]
    if (binary_dilation(wanted, np.ones((3, 3))) & added).any():
        return (
            "What you add touches the object, whose outline has to be drawn again there, corner by corner. Leave a gap "
            "between the two."
        )
    return f"What you add lies in {count} separate regions, and each costs a click. Keep the largest alone."
