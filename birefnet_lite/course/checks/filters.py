"""Describe the filter behind a wrong Laplacian from what it makes of one bright pixel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course.checks.result import Wrong

__all__ = ["describe_filter"]

_MIDDLE = 12  # of an image of 25 x 25


def describe_filter(answer: Callable[[Tensor], Any]) -> None:
    """Raise `Wrong` with what is wrong with the weights that the learner's filter has."""
    image = torch.zeros(1, 1, 2 * _MIDDLE + 1, 2 * _MIDDLE + 1)
    image[..., _MIDDLE, _MIDDLE] = 1
    one, two = (answer(x).detach() for x in (image, -2 * image))
    if one.shape != image.shape or not torch.isfinite(one).all():
        return
    if not torch.allclose(two, -2 * one, atol=1e-5):
        raise Wrong(
            "Your result is not a weighted sum of pixels: -2 times an image does not give -2 times the numbers. "
            "Is something cut off, divided by a mean or a maximum, squared, or compared?"
        )
    weights = one[0, 0].flip(0, 1)  # the weight of the neighbour above shows below the bright pixel
    places = (weights.abs() > 1e-6).nonzero() - _MIDDLE  # (N, 2)
    if len(places) in (0, weights.numel()):
        raise Wrong(
            f"A pixel of your result looks at {'no pixel' if not len(places) else 'all pixels of the image'}. It "
            "should look at 5 x 5 pixels: at itself and its 24 neighbours."
        )
    (top, left), (bottom, right) = places.min(dim=0).values.tolist(), places.max(dim=0).values.tolist()
    if (top, left, bottom, right, len(places)) != (-2, -2, 2, 2, 25):
        raise Wrong(
            f"A pixel of your result looks at {len(places)} pixels, in rows {top} to {bottom} and columns {left} to "
            f"{right} around itself. It should look at all 25 of 5 x 5, from -2 to 2."
        )
    kernel = weights[_MIDDLE - 2 : _MIDDLE + 3, _MIDDLE - 2 : _MIDDLE + 3]
    others = torch.cat([kernel.flatten()[:12], kernel.flatten()[13:]])
    if others.max() - others.min() > 1e-5:
        raise Wrong(
            f"The 24 neighbours should have one weight, 1/48 = {1 / 48:.4f}. Yours go from {others.min():.4f} to "
            f"{others.max():.4f}; the centre has {kernel[2, 2]:.4f}."
        )
    if abs(kernel[2, 2] + 0.5) > 1e-5 or abs(others[0] - 1 / 48) > 1e-5:
        raise Wrong(
            f"The centre of your kernel has the weight {kernel[2, 2]:.4f}, its neighbours have {others[0]:.4f} each. "
            f"They should have -1/2 and 1/48 = {1 / 48:.4f}: together 0, and their absolute values 1."
        )
