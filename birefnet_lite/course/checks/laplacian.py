"""Check of the exercise on the Laplacian of an image."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import compare, compare_gradient
from birefnet_lite.course.checks.filters import describe_filter
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.course.checks.retries import Retry
from birefnet_lite.network import refinement

__all__ = ["laplacian"]


@check("Right: at the border too, and each channel for itself.", usual=("pad",))
def laplacian(answer: Callable[[Tensor], Any]) -> None:
    """`laplacian(image)`: (B, C, H, W) to the same, the mean of the 24 neighbours less the centre, halved."""
    for shape in ((1, 1, 7, 7), (2, 3, 9, 12), (1, 4, 5, 31)):
        image = torch.randn(shape, requires_grad=True)
        where = f"For an image of {shape}"
        wanted = refinement.laplacian(image)
        got = _filter(answer, image)
        known = _laplacian_mistakes(image, wanted)
        if isinstance(got, Tensor) and got.shape == wanted.shape and not any(_same(got, x) for x in known.values()):
            _name_the_centre(got, wanted, image)
            inside = (..., slice(2, -2), slice(2, -2))
            if not _same(got, wanted) and wanted[inside].numel() and _same(got[inside], wanted[inside]):
                raise Wrong(f"{where}, the inside is right, but not the two pixels along the border: reflect them.")
        try:
            compare(got, wanted, where, 1e-5, known, (Retry(refinement.laplacian, {"image": image}),))
        except Unclear:
            describe_filter(answer)
            raise
        compare_gradient(got, wanted, image, where, 1e-5)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), atol=1e-5, rtol=0)


def _name_the_centre(got: Tensor, wanted: Tensor, image: Tensor) -> None:
    """Raise `Wrong` where only the weight of the centre is another one."""
    got, wanted, image = got.detach(), wanted.detach(), image.detach()
    factor = float(((got - wanted) * image).sum() / image.square().sum())
    if abs(factor) > 1e-3 and _same(got, wanted + factor * image):
        raise Wrong(f"The centre has the weight {factor - 0.5:.3g}. It should be -1/2.")


def _filter(answer: Callable[[Tensor], Any], image: Tensor) -> Any:
    """The learner's Laplacian; a kernel that does not fit the channels gets a word on `groups`."""
    try:
        return answer(image)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        if "groups" in str(error) or "channels" in str(error):
            raise Wrong(
                f"For an image of {tuple(image.shape)}, the kernel does not fit the channels: {error}\nEach channel is "
                "filtered for itself: give F.conv2d groups=C and a kernel of (C, 1, 5, 5)."
            ) from error
        raise


def _off_centre() -> Tensor:
    kernel = torch.full((5, 5), 1 / 48)
    kernel[3, 3] = -0.5
    return kernel


def _laplacian_mistakes(image: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    channels = image.shape[1]

    def filtered(kernel: Tensor, mode: str) -> Tensor:
        pad = kernel.shape[-1] // 2
        padded = F.pad(image, (pad,) * 4, mode=mode)
        return F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape), groups=channels)

    five, three = torch.full((5, 5), 1 / 48), torch.full((3, 3), 1 / 16)
    blur = filtered(five, "reflect")
    five[2, 2] = three[1, 1] = -0.5
    cross = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    mixed = "Channels are mixed: each should be filtered for itself. F.conv2d has an argument `groups`."
    return {
        "The sign is turned round: it is the neighbours less the centre, so a bright pixel gives a negative number.": (
            -wanted
        ),
        "The result is not halved: the weights' absolute values should add up to 1, so the centre has -1/2.": (
            2 * wanted
        ),
        "The kernel is not normalised: divide it by 48, the sum of its absolute values.": 48 * wanted,
        "You divide by 25. A pixel has 24 neighbours: it is not its own. Halve their mean less the centre.": (
            48 / 25 * wanted
        ),
        "The centre is counted among its neighbours: a pixel has 24 of them, not 25.": 24 / 25 * wanted,
        "The centre has the weight of a neighbour. Its weight is -1/2.": blur,
        "The border is padded with zeros, which look like an edge. Reflect the image instead (mode='reflect').": (
            filtered(five, "constant")
        ),
        "The border is padded with copies of its last pixel. Reflect the image instead (mode='reflect').": (
            filtered(five, "replicate")
        ),
        "The border is padded from the opposite side. Reflect the image instead (mode='reflect').": (
            filtered(five, "circular")
        ),
        "The image is not padded, so two pixels are lost at each side. Reflect the border first.": (
            wanted[..., 2:-2, 2:-2]
        ),
        "The kernel is 3 x 3, with 8 neighbours. It should be 5 x 5, with 24.": filtered(three, "reflect"),
        "That is the Laplacian of the four nearest neighbours. Here it has 5 x 5 weights, 24 of them equal.": (
            filtered(cross, "reflect")
        ),
        "The neighbours are not halved: each has 1/48, and the centre -1/2.": (
            wanted + (blur + image / 48 * 0 - image / 48)
        ),
        "The sign is lost: leave out the absolute value here.": wanted.abs(),
        "The result is squared. Leave it as it is.": wanted.square(),
        "The weight of -1/2 is not in the kernel's centre. Indices start at 0: the centre of 5 x 5 is [2, 2].": (
            filtered(_off_centre(), "reflect")
        ),
        "The mean of the neighbours is missing: this is the centre alone, with its weight of -1/2.": -image / 2,
        "The kernel is divided by 24, where the sum of its absolute values is 48.": 2 * wanted,
        mixed: wanted.sum(dim=1, keepdim=True).expand_as(wanted),
        f"{mixed} There is one result for each channel, and you give their sum.": wanted.sum(dim=1, keepdim=True),
        f"{mixed} There is one result for each channel, and you give their mean.": wanted.mean(dim=1, keepdim=True),
    }
