"""The skeleton of notebook 01, the network as four parts and their wiring, and a decoder stage in steps."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.resize import resize

__all__ = [
    "Parts",
    "dummy_parts",
    "encoder_shapes",
    "package_parts",
    "reconstruct_in_stage",
    "weigh_in_stage",
    "wire",
]

STRIDES = (4, 8, 16, 32)

Stage = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Parts(NamedTuple):
    """The parts of a BiRefNet, each as a callable."""

    encoder: Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
    """Image (B, 3, H, W) to x1, x2, x3 and x4 with its context, at strides 4 to 32."""
    squeeze: Callable[[Tensor], Tensor]
    """x4 to a narrower map of the same height and width."""
    stages: tuple[Stage, Stage, Stage, Stage]
    """Stages 4, 3, 2, 1: (x, image, lateral) to the next stage's x; stage 1 takes None as its lateral."""
    head: Callable[[Tensor, Tensor], Tensor]
    """(x, image) to the logits (B, 1, H, W)."""


def encoder_shapes(channels: tuple[int, int, int, int], height: int, width: int) -> list[tuple[int, int, int]]:
    """(C, H, W) of x1 to x4 as the encoder hands them on, for a backbone of these widths, finest first."""
    widths = [2 * c for c in channels]  # the photo and its half, concatenated
    widths[3] = sum(widths)  # the context
    return [(c, height // stride, width // stride) for c, stride in zip(widths, STRIDES, strict=True)]


def wire(parts: Parts, image: Tensor) -> Tensor:
    """The forward of the whole network (paper, Fig. 2), from its parts: image (B, 3, H, W) to logits (B, 1, H, W)."""
    x1, x2, x3, x4 = parts.encoder(image)
    x = parts.squeeze(x4)
    for stage, lateral in zip(parts.stages, (x3, x2, x1, None), strict=True):
        x = stage(x, image, lateral)
    return parts.head(x, image)


def package_parts(model: BiRefNet) -> Parts:
    """The parts of a real network, with inward reference and squeeze module, in the same form."""
    decoder = model.decoder
    stages: Any = tuple(lambda x, image, lateral, stage=s: stage(x, image, lateral).features for s in decoder.stages)
    squeeze, image_branch = model.squeeze, decoder.image_branch
    if squeeze is None or image_branch is None:
        raise ValueError("This network has no squeeze module or no inward reference, which the wiring needs.")
    return Parts(
        model.encoder,
        squeeze,
        stages,
        lambda x, image: decoder.head(torch.cat([x, image_branch(image)], dim=1)),  # (B, C, H, W)
    )


def dummy_parts(channels: tuple[int, int, int, int], seed: int = 0) -> Parts:
    """Parts that give the right shapes and mix everything they are given by fixed random weights.

    `channels` are the widths of x1 to x4 without context. A stage with the wrong lateral, or none, raises.
    """
    generator = torch.Generator().manual_seed(seed)

    def weights(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) / columns**0.5

    c1, c2, c3, c4 = channels
    deepest = c1 + c2 + c3 + c4
    widths = (c1, c2, c3, deepest)
    lifts = [weights(c, 3) for c in widths]
    narrow = weights(c4, deepest)
    stages: Any = tuple(
        _dummy_stage(weights(out, wide + 3), weights(out, beside) if beside else None)
        for wide, out, beside in ((c4, c3, c3), (c3, c2, c2), (c2, c1, c1), (c1, c1 // 2, 0))
    )
    last = weights(1, c1 // 2 + 3)
    return Parts(
        lambda image: _four(mix(w, F.avg_pool2d(image, s)).tanh() for w, s in zip(lifts, STRIDES, strict=True)),
        lambda x: mix(narrow, x).tanh(),
        stages,
        lambda x, image: mix(last, torch.cat([x, image], dim=1)),
    )


def _four(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, x2, x3, x4 = maps
    return x1, x2, x3, x4


def mix(weights: Tensor, x: Tensor) -> Tensor:
    """A 1x1 convolution without bias: (out, in) and (B, in, H, W) to (B, out, H, W)."""
    return F.conv2d(x, weights[:, :, None, None].to(x))


def _dummy_stage(own: Tensor, beside: Tensor | None) -> Stage:
    def stage(x: Tensor, image: Tensor, lateral: Tensor | None) -> Tensor:
        seen = F.adaptive_avg_pool2d(image, (x.shape[-2], x.shape[-1]))
        x = mix(own, torch.cat([x, seen], dim=1)).tanh()
        if beside is None:
            if lateral is not None:
                raise ValueError("Stage 1 has no lateral block: there is no finer encoder map to add. Pass None.")
            return resize(x, image.shape[-2:])
        if lateral is None:
            raise ValueError("Stages 4, 3 and 2 have a lateral block, and this one was given no encoder map for it.")
        return resize(x, lateral.shape[-2:]) + mix(beside, lateral)

    return stage


def reconstruct_in_stage(stage: Any, x: Tensor, image: Tensor) -> Tensor:
    """First step of a `DecoderStage`: x, the image's map behind it, and the block. (B, C, h, w) to (B, O, h, w)."""
    return stage.reconstruction(torch.cat([x, stage.inward(image)], dim=1))


def weigh_in_stage(stage: Any, r: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Second step: r times the attention, and in training the side logits and gradient logits, else None."""
    side_logits = stage.side_head(r) if stage.training and stage.side_head is not None else None
    if stage.outward is None:
        return r, side_logits, None
    attention, gradient_logits = stage.outward(r)
    return r * attention, side_logits, gradient_logits if stage.training else None
