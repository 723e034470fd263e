"""Exercises of notebook 07: the two gradient targets; their loss is in `losses.py`."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.course.checks.compare import Mistakes, compare, compare_gradient
from birefnet_lite.course.checks.errors import failing_line
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.course.checks.retries import Retry, multiply
from birefnet_lite.network import refinement
from birefnet_lite.network.resize import resize

__all__ = ["ALIGN", "gradient_target", "masked_gradient_target"]

ALIGN = "The logits are enlarged bilinearly, but with align_corners=False. BiRefNet aligns corners everywhere."


@check("Right: edges times logits, with a gradient that reaches the side output.", usual=("pad",))
def gradient_target(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`gradient_target(image, side_logits)`: the original's target, (B, 3, H, W) and (B, 1, h, w) to (B, 1, H, W)."""
    for shape, size in (((2, 3, 32, 48), (4, 6)), ((1, 3, 33, 40), (5, 3)), ((3, 3, 16, 24), (16, 24))):
        image = torch.randn(shape)
        side = 3 * torch.randn(shape[0], 1, *size)
        side.requires_grad_()
        where = f"For an image of {shape} and logits of {tuple(side.shape)}"
        wanted = refinement.gradient_target(image, side)
        got = _run(answer, image, side, "Are the logits enlarged to the image before you multiply?")
        compare(got, wanted, where, 1e-5, _original_mistakes(image, side, wanted), _steps_of_original(image, side))
        if not got.requires_grad:
            raise Wrong(
                f"{where}, the numbers are right, but no gradient flows back to the logits. The original does not "
                "detach them: leave out `detach` and `no_grad`."
            )
        compare_gradient(got, wanted, side, where, 1e-4)


def _steps_of_original(image: Tensor, side: Tensor) -> tuple[Retry, ...]:
    edges, logits = refinement.laplacian(image.mean(dim=1, keepdim=True)), resize(side, image.shape[-2:])
    return (
        Retry(refinement.gradient_target, {"image": image, "side_logits": side}),
        Retry(multiply, {"the edges": edges, "the enlarged logits": logits}),
    )


def _run(answer: Callable[[Tensor, Tensor], Any], image: Tensor, side: Tensor, hint: str) -> Any:
    """The learner's target; shapes that clash inside get a word on where that usually happens."""
    try:
        return answer(image, side)
    except RuntimeError as error:
        if "must match the size" in str(error):
            raise Wrong(f"Two shapes do not fit together: {error}\n{failing_line(error)} {hint}") from error
        if "channels" in str(error):
            raise Wrong(
                "The Laplacian gets an image with a wrong axis of channels. Does the mean over the channels keep its "
                f"axis (keepdim=True)?\n{error}"
            ) from error
        raise


def _original_mistakes(image: Tensor, side: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    size = image.shape[-2:]
    edges, logits = refinement.laplacian(image.mean(dim=1, keepdim=True)), resize(side, size)
    weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = refinement.laplacian((image * weights).sum(dim=1, keepdim=True))
    return {
        ALIGN: edges * F.interpolate(side, size, mode="bilinear", align_corners=False),
        "The logits are enlarged by nearest neighbours. Use bilinear resampling with align_corners=True.": (
            edges * F.interpolate(side, size)
        ),
        "The edges are multiplied by probabilities. The original takes the raw logits: leave out the sigmoid.": (
            edges * logits.sigmoid()
        ),
        "The edges are multiplied by probabilities, enlarged. The original takes the raw logits: no sigmoid.": (
            edges * resize(side.sigmoid(), size)
        ),
        "The edges are cut out with a hard mask. The original multiplies by the logits as they are.": (
            edges * (logits > 0)
        ),
        "There is a sigmoid too many: this target is unbounded, and the loss takes the sigmoid.": wanted.sigmoid(),
        "The image is made grey with the weights of an eye for red, green and blue. Take the plain mean.": (
            grey * logits
        ),
        "The channels are added up. Take their mean.": 3 * wanted,
        "Only the red channel is used. Take the mean of the three.": (refinement.laplacian(image[:, :1]) * logits),
        "Only the blue channel is used. Take the mean of the three.": (refinement.laplacian(image[:, 2:]) * logits),
        "The channel with the largest value is taken at every pixel. Take the mean.": (
            refinement.laplacian(image.amax(dim=1, keepdim=True)) * logits
        ),
        "The logits are enlarged bicubically. Use bilinear resampling with align_corners=True.": (
            edges * F.interpolate(side, size, mode="bicubic", align_corners=True)
        ),
        "Edges and logits are added. Multiply them.": edges + logits,
        "The logits have gone through tanh. The original takes them as they are.": edges * logits.tanh(),
        "These are the edges of the logits. Take those of the image, and multiply them by the logits.": (
            refinement.laplacian(logits)
        ),
        "The Laplacian is taken twice. Take it once.": refinement.laplacian(edges) * logits,
        "The Laplacian is taken of the product. Take that of the image, and multiply it by the logits.": (
            refinement.laplacian(image.mean(dim=1, keepdim=True) * logits)
        ),
        "The channels are kept apart. Take the image's mean over the channels first, with keepdim=True.": (
            refinement.laplacian(image) * logits
        ),
        "Edges are taken without their sign. The original keeps it: leave out the absolute value.": (
            edges.abs() * logits
        ),
        "The side output plays no part: multiply the edges by its logits.": edges,
        "The sign is turned round: edges times logits, without a minus.": -wanted,
        "The edges are brought to the size of the logits. Enlarge the logits to the size of the image instead.": (
            resize(edges, side.shape[-2:]) * side
        ),
    }


@check("Right: edges from 0 to 1, near the object only, and nothing that moves.", usual=("pad", "detach", "quantile"))
def masked_gradient_target(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """`masked_gradient_target(image, side_logits)`: edges near the object that a stage predicts, in 0 to 1."""
    for shape, size in (
        ((2, 3, 64, 96), (2, 3)),
        ((1, 3, 432, 256), (12, 8)),  # a radius of 3.4, so rounding up shows; at 200 it is 1.6, and rounding down shows
        ((1, 3, 96, 33), (12, 5)),
        ((1, 3, 200, 40), (5, 4)),
    ):
        # Images of different contrast, so that a percentile of the whole batch shows.
        image = torch.randn(shape) * torch.tensor([1.0, 0.2])[: shape[0], None, None, None]
        side = 3 * torch.randn(shape[0], 1, *size)
        if shape[2] == 96:
            image *= 1e-3  # faint edges, which a larger least divisor would lose
        if shape[2] == 200:
            side[..., :3, :] = 0  # probabilities of exactly one half: not over it
            side[..., 3:, :].abs_()
        side.requires_grad_()
        where = f"For an image of {shape} and logits of {tuple(side.shape)}"
        wanted = refinement.masked_gradient_target(image, side)
        hint = "Percentiles, (B,), need three axes more to divide (B, 1, H, W). Or are the logits not enlarged?"
        got = _run(answer, image, side, hint)
        steps = _steps(image, side)
        mistakes = _masked_mistakes(image, side.detach(), wanted)
        try:
            compare(got, wanted, where, 1e-5, mistakes, steps)
        except Unclear:
            _name_the_half(got, steps[-1].arguments, where)
            raise
        if got.requires_grad:
            raise Wrong(f"{where}, the numbers are right, but the target moves with the logits. Detach them.")
    flat = answer(torch.full((1, 3, 64, 64), 0.5), torch.full((1, 1, 4, 4), 5.0))
    if not bool((flat.abs() < 1e-2).all()):
        raise Wrong(
            "An image of one colour has no edges, but your target is not 0 there: rounding is divided by itself. Let "
            "the divisor be at least 1e-4."
        )


def _name_the_half(got: Tensor, right: dict[str, Tensor], where: str) -> None:
    """Raise `Wrong` where only the edges are wrong, or only the mask."""
    edges, near = right["the clipped edges"], right["the dilated mask"]
    if got.shape != edges.shape:
        return
    seen = got.detach() != 0
    if bool(((got - edges).abs() < 1e-5)[seen].all()):
        more, fewer = int((seen & (near == 0)).sum()), int((~seen & (near > 0) & (edges > 1e-6)).sum())
        raise Wrong(
            f"{where}, the edges are right, and the mask is not: {more} pixels too many are kept, and {fewer} too few. "
            "The order is: enlarge the logits bilinearly with aligned corners, compare the probability with 0.5, "
            "dilate by max(1, round(H / 128)) with a window of 2 * radius + 1 pixels."
        )
    if bool((seen == ((near > 0) & (edges != 0))).all()):
        raise Wrong(
            f"{where}, the mask is right, and the edges in it are not. They are the absolute values of the Laplacian "
            "of the mean over the channels, divided by their 99th percentile in the whole image, and clipped at 1."
        )


def _steps(image: Tensor, side: Tensor) -> tuple[Retry, ...]:
    height = image.shape[-2]
    edges = refinement.laplacian(image.mean(dim=1, keepdim=True)).abs()
    divisor = edges.flatten(1).quantile(0.99, dim=1)[:, None, None, None]
    inside = (resize(side.detach(), image.shape[-2:]) > 0).float()
    radius = max(1, round(height / 128))

    def cut(**x: Tensor) -> Tensor:
        mask = F.max_pool2d(x["the mask"], 2 * radius + 1, stride=1, padding=radius)
        return (x["the edges"] / x["the divisor"]).clamp(max=1) * mask

    near = F.max_pool2d(inside, 2 * radius + 1, stride=1, padding=radius)
    scaled = (edges / divisor).clamp(max=1)
    return (
        Retry(refinement.masked_gradient_target, {"image": image, "side_logits": side}),
        Retry(cut, {"the edges": edges, "the divisor": divisor, "the mask": inside}),
        Retry(multiply, {"the clipped edges": scaled, "the dilated mask": near}),
    )


def _masked_mistakes(image: Tensor, side: Tensor, wanted: Tensor) -> Mistakes:
    height, width = image.shape[-2:]
    signed = refinement.laplacian(image.mean(dim=1, keepdim=True))
    size, raw = signed.abs(), resize(side, (height, width))
    radius = max(1, round(height / 128))

    def share(x: Tensor, fraction: float = 0.99) -> Tensor:
        return x.flatten(1).quantile(fraction, dim=1)[:, None, None, None]

    def dilated(mask: Tensor, by: int = radius) -> Tensor:
        return F.max_pool2d(mask.to(size), 2 * by + 1, stride=1, padding=by)

    edges, near = (size / share(size)).clamp(max=1), dilated(raw > 0)
    rows, columns = (size.quantile(0.99, dim=axis, keepdim=True).clamp_min(1e-4) for axis in (3, 2))
    other = F.interpolate(side, (height, width), mode="bilinear", align_corners=False)
    inside = size * near
    mistakes: Mistakes = {
        "Edges keep their sign. Take the absolute value of the Laplacian.": (signed / share(size)).clamp(max=1) * near,
        "Edges keep their sign, and so does their percentile. Take the absolute value of the Laplacian first.": (
            (signed / share(signed)).clamp(max=1) * near
        ),
        "Negative edges are lost. Take the absolute value of the Laplacian before you divide and clip.": (
            (signed / share(size)).clamp(0, 1) * near
        ),
        "The percentile is that of the signed Laplacian. Take its absolute value first.": (
            (size / share(signed)).clamp(max=1) * near
        ),
        "The edges are divided by their largest value. Divide by the 99th percentile.": size / share(size, 1.0) * near,
        "The edges are divided by 0.99 of their largest value. A percentile is a rank: torch.quantile gives it.": (
            (size / (0.99 * share(size, 1.0))).clamp(max=1) * near
        ),
        "The edges are not clipped: no target is above 1.": size / share(size) * near,
        "The least divisor is far larger than 1e-4, so that faint edges stay faint.": (
            (size / share(size).clamp_min(1e-2)).clamp(max=1) * near
        ),
        "The least divisor is larger than 1e-4, so that faint edges stay faint.": (
            (size / share(size).clamp_min(1e-3)).clamp(max=1) * near
        ),
        "1e-4 is added to the percentile. The divisor is the percentile, or 1e-4 where that is larger.": (
            (size / (share(size) + 1e-4)).clamp(max=1) * near
        ),
        "Edges keep their sign, and so does their percentile. Take the absolute value of the Laplacian.": (
            (signed / share(signed)).clamp(-1, 1) * near
        ),
        "The edges are not divided by their 99th percentile.": inside.clamp(max=1),
        "The percentile is taken after masking. Divide by that of the whole image, then mask.": (
            (inside / share(inside).clamp_min(1e-4)).clamp(max=1)
        ),
        "The mask is not dilated.": edges * (raw > 0),
        "The mask should hold where the probability is over 0.5, and not where it is 0.5: `>` and not `>=`.": (
            edges * dilated(raw >= 0)
        ),
        "The radius is rounded down. It is max(1, round(H / 128)): `//` always rounds down.": (
            edges * dilated(raw > 0, max(1, height // 128))
        ),
        "The radius is rounded up. It is max(1, round(H / 128)).": edges * dilated(raw > 0, -(-height // 128)),
        "The percentile is the 90th. Take the 99th.": (size / share(size, 0.9)).clamp(max=1) * near,
        "The percentile is the 98th. Take the 99th.": (size / share(size, 0.98)).clamp(max=1) * near,
        "The edges are divided by their standard deviation. Divide by the 99th percentile.": (
            (size / size.flatten(1).std(dim=1)[:, None, None, None]).clamp(max=1) * near
        ),
        "The edges are divided by their median. Divide by the 99th percentile.": (
            (size / share(size, 0.5)).clamp(max=1) * near
        ),
        "Edges and mask are added. Multiply them.": edges + near,
        "This is the mask alone. Multiply it by the edges.": near,
        "The probability is compared with another number than 0.5.": tuple(
            edges * dilated(raw.sigmoid() > level) for level in (0.3, 0.7)
        ),
        "The mask is a band around the contour. Keep the inside of the object, too.": (
            edges * (near - 1 + dilated(raw <= 0))
        ),
        "The window takes the mean of the mask, so it is grey at its edge. F.max_pool2d takes the largest value.": (
            edges * F.avg_pool2d((raw > 0).to(size), 2 * radius + 1, stride=1, padding=radius)
        ),
        "The mask is blurred and cut again, which does not make it larger. Dilate it: F.max_pool2d.": (
            edges * (F.avg_pool2d((raw > 0).to(size), 2 * radius + 1, stride=1, padding=radius) > 0.5)
        ),
        "The percentile is the 95th. Take the 99th.": (size / share(size, 0.95)).clamp(max=1) * near,
        "The percentile is the 99.9th. Take the 99th.": (size / share(size, 0.999)).clamp(max=1) * near,
        "Each row has a percentile of its own. Flatten the image first: one percentile for each image.": (
            (size / rows).clamp(max=1) * near
        ),
        "Each column has a percentile of its own. Flatten the image first: one percentile for each image.": (
            (size / columns).clamp(max=1) * near
        ),
        "The percentile is the first. Take the 99th: a fraction of 0.99.": (
            (size / share(size, 0.01).clamp_min(1e-4)).clamp(max=1) * near
        ),
        "The edges are divided by their mean. Divide by the 99th percentile.": (
            (size / size.mean(dim=(1, 2, 3), keepdim=True)).clamp(max=1) * near
        ),
        "The edges are dilated, too. Dilate the mask alone.": dilated(edges * (raw > 0)),
        "The mask is eroded. Dilate it: F.max_pool2d takes the largest value of a window.": (
            edges * (1 - dilated(raw <= 0))
        ),
        "The percentile is taken of the pixels near the object. Take that of the whole image.": (
            (
                size / (inside + (1 - near) * 0).flatten(1).quantile(0.99, dim=1)[:, None, None, None].clamp_min(1e-4)
            ).clamp(max=1)
            * near
        ),
        "The mask is dilated by one pixel. At this size the radius is larger: max(1, round(H / 128)).": (
            edges * dilated(raw > 0, 1)
        ),
        "The window of the dilation is `radius` wide, not 2 * radius + 1.": (edges * dilated(raw > 0, radius // 2)),
        "The mask is dilated by twice the radius: the window is 2 * radius + 1 pixels wide.": (
            edges * dilated(raw > 0, 2 * radius)
        ),
        "The dilation's radius follows the width of the image. It should follow the height.": (
            edges * dilated(raw > 0, max(1, round(width / 128)))
        ),
        "The logits are compared with 0.5. Take their sigmoid first: a probability over 0.5 is a logit over 0.": (
            edges * dilated(raw > 0.5)
        ),
        "The mask is soft: probabilities are multiplied. Compare them with 0.5 first.": edges * raw.sigmoid(),
        "The mask is soft: probabilities are dilated. Compare them with 0.5 first.": edges * dilated(raw.sigmoid()),
        "The mask is inverted: keep the edges where the probability is over 0.5.": edges * dilated(raw < 0),
        "Probabilities are enlarged. Enlarge the logits, and take the sigmoid then.": (
            edges * dilated(resize(side.sigmoid(), (height, width)) > 0.5)
        ),
        "The mask is made before it is enlarged, so its edge is blocky. Enlarge the logits first.": (
            edges * dilated(F.interpolate((side > 0).to(side), (height, width)))
        ),
        "The mask is made before it is enlarged, so it is grey at its edge. Enlarge the logits first.": (
            edges * dilated(resize((side > 0).to(side), (height, width)))
        ),
        ALIGN: edges * dilated(other > 0),
        "There is a sigmoid too many: this target is in 0 to 1 already.": wanted.sigmoid(),
        "The edges are multiplied by the logits, and masked. Mask them only.": edges * raw * near,
        "The edges are multiplied by the probabilities, and masked. Mask them only.": edges * raw.sigmoid() * near,
        "The side output plays no part: keep only the edges near the object that it predicts.": edges,
        "The edges are multiplied by raw logits. That is the original's target; here they are cut out by a mask.": (
            edges * raw
        ),
    }
    if image.shape[0] > 1:
        together = size / size.flatten().quantile(0.99)
        said = "One percentile serves the whole batch. Every image has its own: what is faint in one is not in another."
        mistakes[said] = together.clamp(max=1) * near
    return mistakes
