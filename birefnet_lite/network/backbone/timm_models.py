"""Backbones from timm: PVTv2, DINOv3, and any other model that offers `features_only`."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.network.backbone.base import Backbone

__all__ = [
    "DINOV3",
    "PVTV2",
    "TimmBackbone",
    "build_dinov3",
    "build_timm",
    "check_timm_name",
    "imagenet_swin_weights",
    "swin_weights_from_timm",
]

PVTV2 = ("pvt_v2_b0", "pvt_v2_b1", "pvt_v2_b2", "pvt_v2_b5")

# timm's name, and the indices of the four blocks whose outputs are used.
DINOV3: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "dino_v3_s": ("vit_small_patch16_dinov3", (3, 5, 7, 11)),
    "dino_v3_s_plus": ("vit_small_plus_patch16_dinov3", (3, 5, 7, 11)),
    "dino_v3_b": ("vit_base_patch16_dinov3", (3, 5, 7, 11)),
    "dino_v3_l": ("vit_large_patch16_dinov3", (5, 11, 17, 23)),
    "dino_v3_h_plus": ("vit_huge_plus_patch16_dinov3", (7, 15, 23, 31)),
    "dino_v3_7b": ("vit_7b_patch16_dinov3", (9, 19, 29, 39)),
}

# Weights of the Swin authors (ImageNet-22k, then ImageNet-1k), from which the original's training starts.
_SWIN = {
    "swin_v1_t": "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
    "swin_v1_s": "swin_small_patch4_window7_224.ms_in22k_ft_in1k",
    "swin_v1_b": "swin_base_patch4_window12_384.ms_in22k_ft_in1k",
    "swin_v1_l": "swin_large_patch4_window12_384.ms_in22k_ft_in1k",
}

_STRIDES = [4, 8, 16, 32]
# Options that let a model take images of any size. Each model knows some of them.
_ANY_SIZE = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)


class TimmBackbone(Backbone):
    """A timm feature extractor as a backbone: (B, 3, H, W) to four maps (B, channels[i], h_i, w_i).

    The maps of a plain vision transformer have one stride (`is_pyramid` is False); a `PyramidNeck` then makes a
    pyramid of them.
    """

    def __init__(self, net: Any, min_size: int) -> None:
        super().__init__()
        self.net = net
        self.channels = tuple(net.feature_info.channels())
        self.is_pyramid = list(net.feature_info.reduction()) == _STRIDES
        self.min_size = min_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            x if x.shape[1] == channels else x.permute(0, 3, 1, 2).contiguous()  # (B, C, H, W); some give (B, H, W, C)
            for x, channels in zip(self.net(image), self.channels, strict=True)
        )


def build_dinov3(name: str, pretrained: bool = False) -> TimmBackbone:
    """Build one of `DINOV3`; `dino_v3_7b`, with its 6.8 billion parameters, only on the meta device."""
    timm_name, blocks = DINOV3[name]
    if name == "dino_v3_7b" and torch.empty(0).device.type != "meta":
        raise ValueError(
            "dino_v3_7b has 6.8 billion parameters, 27 GB in float32. Build it without memory, "
            "`with torch.device('meta'): BiRefNet(...)`, and place its weights yourself."
        )
    net = _create(timm_name, pretrained=pretrained, features_only=True, dynamic_img_size=True, out_indices=blocks)
    return TimmBackbone(net, min_size=16)


def build_timm(name: str, pretrained: bool = False) -> TimmBackbone:
    """Build a timm model that gives four maps: of strides 4, 8, 16 and 32, or of four depths of a plain transformer.

    Raises:
        ValueError: timm does not know the name, or the model has neither kind of maps.
    """
    check_timm_name(name)
    chosen, any_size = _outputs(name)
    net = _create(name, features_only=True, pretrained=pretrained, out_indices=chosen, **any_size)
    # PVTv2 reduces the keys of its stride-4 stage by 8, and other models halve five times: both need 32 pixels.
    return TimmBackbone(net, min_size=32)


def check_timm_name(name: str) -> None:
    """Raise `ValueError`, with similar names, if timm has no model of this name."""
    import timm

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        hint = f" Similar: {', '.join(close)}." if close else ""
        raise ValueError(f"timm has no model {name!r}.{hint} timm.list_models() names them all.")


@cache
def _outputs(name: str) -> tuple[tuple[int, ...], dict[str, bool]]:
    """Find the four maps that a backbone gives, and the options with which it takes images of any size."""
    with torch.random.fork_rng(devices=[]):  # a seed gives the same weights whether this has been computed before
        probe, any_size = _probe(name)
    strides = list(probe.feature_info.reduction())
    if all(stride in strides for stride in _STRIDES):
        # Of several maps with the same stride, the deepest one is used.
        indices = [len(strides) - 1 - strides[::-1].index(stride) for stride in _STRIDES]
        return tuple(probe.feature_info.out_indices[i] for i in indices), any_size
    if len(set(strides)) == 1 and hasattr(probe, "model") and hasattr(probe.model, "blocks"):
        depth = len(probe.model.blocks)
        return tuple((i + 1) * depth // 4 - 1 for i in range(4)), any_size
    raise ValueError(
        f"The maps of timm's {name!r} have strides {strides}; a backbone needs maps at strides 4, 8, 16 and 32, "
        "or a plain vision transformer whose blocks all have one stride."
    )


def _probe(name: str) -> tuple[Any, dict[str, bool]]:
    """Build timm's `features_only` model and find the options with which it takes images of any size.

    Many models take only the size they were trained at unless an option says otherwise. The half of an allowed image
    is a multiple of 16, so it is tried with 48 x 80 pixels.
    """
    reason: Exception | None = None
    for any_size in ({}, *_ANY_SIZE):
        try:
            net = _create(name, features_only=True, **any_size)
            device = next(net.parameters()).device
            with torch.no_grad():
                net.eval()(torch.zeros(1, 3, 48, 80, device=device))
            return net, any_size
        except TypeError as error:
            reason = reason or error  # the model does not have this option
        except (RuntimeError, AssertionError, AttributeError, NotImplementedError, ValueError) as error:
            reason = error
    raise ValueError(
        f"timm's {name!r} cannot be a backbone: it must give feature maps for images of any size, and fails at 48 x 80 "
        f"({reason})."
    )


def _create(name: str, **options: Any) -> Any:
    import timm  # slow to import, and few backbones need it

    return timm.create_model(name, **options)


def imagenet_swin_weights(name: str) -> dict[str, Tensor]:
    """Return ImageNet weights for `SwinTransformer`, without the norms of the outputs; timm downloads them once."""
    return swin_weights_from_timm(_create(_SWIN[name], pretrained=True).state_dict())


def swin_weights_from_timm(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's Swin weights, where `downsample` starts a stage; in the authors' code it ends the one before."""
    weights = {}
    for key, value in state_dict.items():
        if key.startswith(("norm.", "head.")):
            continue
        parts = key.split(".")
        if len(parts) > 2 and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        weights[".".join(parts)] = value
    return weights
