"""Attribution of the mask to pixels, by captum, and the agreement of each attribution with the mask."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from birefnet_lite.analysis.inputs import Prepared, prepare
from birefnet_lite.inference.predict import evaluating
from birefnet_lite.network.birefnet import logits_of

__all__ = ["METHODS", "Estimate", "agreement", "attribute", "possible_methods", "refine"]

METHODS = ("integrated gradients", "layer GradCAM", "occlusion", "guided backprop")


class _RegionScore(nn.Module):
    """The mean logit in a region: one number for each image, which an attribution can explain."""

    def __init__(self, model: nn.Module, region: Tensor) -> None:
        super().__init__()
        self.model = model
        self.region = region

    def forward(self, image: Tensor) -> Tensor:
        logits = logits_of(self.model(image))
        return (logits[:, 0] * self.region).sum(dim=(1, 2)) / self.region.sum().clamp_min(1e-12)


def possible_methods(model: nn.Module) -> tuple[str, ...]:
    """The methods that a model allows: guided backprop needs ReLUs that are modules, and some in its backbone.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> possible_methods(BiRefNet(BiRefNetConfig.preset("nano")))
        ('integrated gradients', 'layer GradCAM', 'occlusion', 'guided backprop')
    """
    backbone = getattr(getattr(model, "encoder", None), "backbone", model)
    guided = any(isinstance(module, nn.ReLU) for module in backbone.modules())
    return METHODS if guided else METHODS[:3]


def attribute(
    model: nn.Module,
    image: Any,
    method: str = "integrated gradients",
    region: NDArray[np.floating] | None = None,
    size: int | tuple[int, int] | None = None,
    steps: int = 8,
    patch: int = 6,
) -> NDArray[np.float32]:
    """How much each pixel (H, W, of the image as seen) speaks for the mask inside `region`, a soft mask of that size.

    Without a region it is the whole image. `steps` of integrated gradients; `patch` times `patch` squares of occlusion.
    Positive: it raises the logits there. GradCAM explains through the squeeze module's output, and is never negative.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, mask, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> gradients = attribute(model, photo, "layer GradCAM", size=64)
        >>> gradients.shape
        (64, 64)
    """
    score, x = _score_of(model, image, method, region, size)
    with _explaining(model):
        return _to_numpy(_run(method, score, x, steps, patch))


class Estimate(NamedTuple):
    """An attribution that is still being computed, or the finished one."""

    values: NDArray[np.float32]
    """How much each pixel (H, W) speaks for the mask."""
    share: float | None
    """Their sum, over what the score gains from an image without content to this one; None where none is promised."""
    said: str
    """How far it is, in words."""


def refine(
    model: nn.Module,
    image: Any,
    method: str = "integrated gradients",
    region: NDArray[np.floating] | None = None,
    size: int | tuple[int, int] | None = None,
    steps: int = 8,
    patch: int = 6,
) -> Iterator[Estimate]:
    """The same as `attribute`, from a first estimate to the whole, for showing it while it is computed.

    Integrated gradients take one step of the path at a time, from its middle outwards, by the midpoint rule. Occlusion
    covers 2 times 2 squares, then 3 times 3, then `patch` times `patch`, a row at a time. The other methods have one
    step. The model is left as it was found between the estimates.

    Examples:
        >>> from birefnet_lite import load
        >>> from birefnet_lite.photos import load_photo
        >>> model, (photo, _, _) = load("nano", "cpu"), load_photo("chelsea")
        >>> len(list(refine(model, photo, size=64, steps=4)))
        4
    """
    score, x = _score_of(model, image, method, region, size)
    if method == "integrated gradients":
        yield from _refine_gradients(score, x, steps)
    elif method == "occlusion":
        yield from _refine_occlusion(score, x, patch)
    else:
        with _explaining(model):
            values = _to_numpy(_run(method, score, x, steps, patch))
        yield Estimate(values, None, "")


def _refine_gradients(score: _RegionScore, x: Tensor, steps: int) -> Iterator[Estimate]:
    from captum.attr import IntegratedGradients

    with _explaining(score.model), torch.no_grad():
        gain = float(score(x) - score(torch.zeros_like(x)))
    method, total = IntegratedGradients(score), torch.zeros_like(x)
    # Binary digits read backwards: each further step halves the widest gap that is left.
    digits = max(1, (steps - 1).bit_length())
    order = sorted(range(steps), key=lambda step: f"{(step + steps // 2) % steps:0{digits}b}"[::-1])
    for done, step in enumerate(order, 1):
        # Zero is the mean colour of ImageNet: an image without content.
        with _explaining(score.model):
            start, end = x * (step / steps), x * ((step + 1) / steps)
            # One node of Gauss and Legendre is the middle.
            total += method.attribute(end, start, n_steps=1, method="gausslegendre").detach()
        values = _to_numpy(total[0].sum(0) * (steps / done))
        share = float(values.sum() / gain) if abs(gain) > 1e-6 else None
        yield Estimate(values, share, f"{done} of {steps} steps")


def _refine_occlusion(score: _RegionScore, x: Tensor, patch: int) -> Iterator[Estimate]:
    height, width = x.shape[-2:]
    with _explaining(score.model), torch.no_grad():
        whole = float(score(x))
        gain = whole - float(score(torch.zeros_like(x)))
    values = np.zeros((height, width), np.float32)
    for count in sorted({min(2, patch), min(3, patch), patch}):
        down, across = -(-height // count), -(-width // count)
        lefts = range(0, width, across)
        for top in range(0, height, down):
            covered = x.repeat(len(lefts), 1, 1, 1)
            for one, left in zip(covered, lefts, strict=True):
                one[:, top : top + down, left : left + across] = 0
            with _explaining(score.model), torch.no_grad():
                losses = whole - score(covered).float().cpu().numpy()
            for left, loss in zip(lefts, losses, strict=True):
                values[top : top + down, left : left + across] = loss
            all_rows = top + down >= height
            if count > min(2, patch) or all_rows:  # the first estimate is of the whole image
                share = float(values[::down, ::across].sum() / gain) if all_rows and abs(gain) > 1e-6 else None
                yield Estimate(values.copy(), share, f"{count} × {count} squares, {min(1, (top + down) / height):.0%}")


def _score_of(
    model: nn.Module,
    image: Any,
    method: str,
    region: NDArray[np.floating] | None,
    size: int | tuple[int, int] | None,
) -> tuple[_RegionScore, Tensor]:
    """The number to explain, as a module, and the image (1, C, H, W)."""
    if method not in METHODS:
        raise ValueError(f"A method is {', '.join(METHODS)}. Got {method!r}.")
    if method not in possible_methods(model):
        raise ValueError("Guided backprop changes how ReLUs pass gradients back, and this backbone has none.")
    prepared = image if isinstance(image, Prepared) else prepare(model, image, size)
    x = prepared.tensor.detach().clone()
    height, width = x.shape[-2:]
    chosen = np.ones((height, width), np.float32) if region is None else np.asarray(region, np.float32)
    if chosen.shape != (height, width):
        raise ValueError(f"A region has the size of the image as seen, {height} x {width}. Got {chosen.shape}.")
    return _RegionScore(model, torch.from_numpy(chosen.copy()).to(x)), x


@contextmanager
def _explaining(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, with gradients, and without captum's warnings."""
    with evaluating(model), torch.enable_grad(), warnings.catch_warnings():
        # captum warns that it sets requires_grad on the input and hooks on ReLUs: it takes both back.
        warnings.simplefilter("ignore")
        yield


def _to_numpy(maps: Tensor) -> NDArray[np.float32]:
    return maps.detach().float().cpu().numpy()


def _run(method: str, score: _RegionScore, x: Tensor, steps: int, patch: int) -> Tensor:
    from captum.attr import GuidedBackprop, IntegratedGradients, LayerGradCam, Occlusion

    height, width = x.shape[-2:]
    squares = (3, -(-height // patch), -(-width // patch))
    runs: dict[str, Callable[[], Tensor]] = {
        # Zero is the mean colour of ImageNet: an image without content.
        "integrated gradients": lambda: IntegratedGradients(score).attribute(x, n_steps=steps, internal_batch_size=1),
        "guided backprop": lambda: GuidedBackprop(score).attribute(x),
        "layer GradCAM": lambda: LayerGradCam(score, _cam_layer(score.model)).attribute(x, relu_attributions=True),
        "occlusion": lambda: Occlusion(score).attribute(
            x, squares, strides=squares, baselines=0, perturbations_per_eval=4
        ),
    }
    maps = runs[method]()  # (1, C, h, w)
    if method == "layer GradCAM":
        return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    # Occlusion gives every colour the effect of its square; the others add up over colours.
    return maps[0].mean(0) if method == "occlusion" else maps[0].sum(0)


def _cam_layer(model: Any) -> nn.Module:
    squeeze = getattr(model, "squeeze", None)
    return squeeze if squeeze is not None else model.decoder.stage4.reconstruction


def agreement(attribution: NDArray[np.floating], mask: NDArray[np.floating]) -> dict[str, float]:
    """How well an attribution (H, W) agrees with a soft mask of the same size.

    `inside`: the part of the positive attribution that lies in the mask; `lift`: that, over what an even attribution
    would have (1 is no better than chance); `correlation`: of sizes with the mask, -1 to 1; `hit`: 1 where the largest
    value lies in the mask. Occlusion gives a whole square one value; then more than half of its pixels lie there.
    """
    positive = np.clip(attribution, 0, None).astype(np.float64)
    total, area = positive.sum(), float(mask.mean())
    inside = float((positive * mask).sum() / total) if total > 0 else 0.0
    size = np.abs(attribution).ravel().astype(np.float64)
    varied = size.std() > 0 and np.std(mask) > 0
    return {
        "inside": inside,
        "lift": inside / area if area > 0 else 0.0,
        "correlation": float(np.corrcoef(size, mask.ravel())[0, 1]) if varied else 0.0,
        "hit": float(mask[attribution == attribution.max()].mean() > 0.5),
    }
