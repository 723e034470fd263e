"""A network that has every part, narrow enough to run in milliseconds."""

import torch

from birefnet_lite import BiRefNet, BiRefNetConfig

NARROW = {
    "inter_channels": 8,
    "aspp_channels": 8,
    "image_channels": 8,
    "gradient_channels": 4,
    "train_size": (64, 96),
}


def small(**changes) -> BiRefNet:
    """The network on a PVTv2-b0, with the same random weights each time. `changes` are fields of its configuration."""
    torch.manual_seed(0)
    return BiRefNet(BiRefNetConfig(**{"backbone": "pvt_v2_b0", **NARROW, **changes})).eval()
