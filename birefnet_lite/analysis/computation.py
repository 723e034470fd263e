"""The sums behind a map: the terms of a decoder stage, and of the head that makes the mask."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.layer_names import (
    ATTENTION,
    IMAGE_BRANCH,
    LATERAL,
    LOGITS,
    OUT,
    RECONSTRUCTION,
    stage_layer,
)
from birefnet_lite.network.resize import resize

__all__ = ["HeadTerms", "StageTerms", "head_terms", "stage_terms"]


@dataclass(frozen=True, eq=False)
class StageTerms:
    """One stage: resize(reconstruction x attention) + lateral = out. All are (C, h, w), attention (1, h, w)."""

    reconstruction: Tensor
    attention: Tensor
    """All ones in a network without outward reference."""
    weighted: Tensor
    raised: Tensor
    """The weighted map at the size of the lateral one."""
    lateral: Tensor
    out: Tensor


@dataclass(frozen=True, eq=False)
class HeadTerms:
    """The head, a 1x1 convolution: features + image + bias = logits. Maps are (1, H, W)."""

    features: Tensor
    """The decoder features' contribution to each logit."""
    image: Tensor
    """The image branch's contribution; zeros in a network without inward reference."""
    bias: float
    logits: Tensor


def stage_terms(maps: Mapping[str, Tensor], stage: int) -> StageTerms:
    """Compute the terms of stage 4, 3 or 2 from captured maps, (C, H, W) each, by layer name."""
    reconstruction, lateral = maps[stage_layer(stage, RECONSTRUCTION)], maps[stage_layer(stage, LATERAL)]
    name = stage_layer(stage, ATTENTION)
    attention = maps[name] if name in maps else torch.ones_like(reconstruction[:1])
    weighted = reconstruction * attention
    raised = resize(weighted[None], (lateral.shape[-2], lateral.shape[-1]))[0]
    return StageTerms(reconstruction, attention, weighted, raised, lateral, maps[stage_layer(stage, OUT)])


def head_terms(model: nn.Module, maps: Mapping[str, Tensor]) -> HeadTerms:
    """Compute the terms of the head, (1, H, W) each, from the model's weights and captured maps (C, H, W)."""
    head = model.get_submodule("decoder.head")
    weight, bias = (parameter.detach().float().cpu() for parameter in head.parameters())
    weight = weight[0, :, 0, 0]  # (C,)
    features = maps[stage_layer(1, RECONSTRUCTION)]
    logits = maps[LOGITS]
    # A weighted sum of channels and a resizing can change places: the small sum is resized, not all channels.
    mixed = torch.einsum("c,chw->hw", weight[: len(features)], features)
    size = (logits.shape[-2], logits.shape[-1])
    image = torch.zeros_like(logits)
    if IMAGE_BRANCH in maps:
        image = torch.einsum("c,chw->hw", weight[len(features) :], maps[IMAGE_BRANCH])[None]
    return HeadTerms(resize(mixed[None, None], size)[0], image, float(bias), logits)
