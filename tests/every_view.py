"""Every view, of a small network on a small photo: for tests that hold for all of them."""

import copy

import numpy as np
import torch
from small_network import small
from torch import nn

import widgets
from birefnet_lite.network.backbone.swin import SWIN_VARIANTS
from birefnet_lite.training import Recorder

NAMES = (
    "feature_pyramid", "prediction_ladder", "gradient_targets", "reference_tiles", "sampling_points",
    "window_attention", "receptive_field", "attribution", "ablation", "architecture", "compare", "computation",
    "paired", "training_film",
)  # fmt: skip


def photo_and_mask():
    """A square on a slope of colours, uint8 (64, 96, 3), and its mask."""
    y, x = np.mgrid[:64, :96]
    photo = np.stack([x * 2, y * 3, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 24:72] = 255
    photo[mask > 0] = (200, 40, 60)
    return photo, mask


def narrow_swin():
    """The network on a Swin with few and narrow layers."""
    usual = SWIN_VARIANTS["swin_v1_t"]
    SWIN_VARIANTS["swin_v1_t"] = {"width": 16, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window": 7}
    try:
        return small(backbone="swin_v1_t")
    finally:
        SWIN_VARIANTS["swin_v1_t"] = usual


def two_stacks():
    """Two small stacks of convolutions; the second is wrong from its last part on."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 1)))
    second = copy.deepcopy(first)
    second[2][1].bias.data += 1
    return second, first


def every_view():
    """Each view's function by name, with its viewer: made one after the other, the expensive things once."""
    photo, mask = photo_and_mask()
    model = small()
    recorder = Recorder(photo, every=1, mask=mask, channels=2)
    for step in range(3):
        recorder.record(model, step, {"loss": 1 / (step + 1)})
    made = {
        "feature_pyramid": lambda: widgets.feature_pyramid(model, photo, mask),
        "prediction_ladder": lambda: widgets.prediction_ladder(model, photo, mask),
        "gradient_targets": lambda: widgets.gradient_targets(model, photo, mask),
        "reference_tiles": lambda: widgets.reference_tiles(model, photo),
        "sampling_points": lambda: widgets.sampling_points(model, photo),
        "window_attention": lambda: widgets.window_attention(narrow_swin(), photo),
        "receptive_field": lambda: widgets.receptive_field(model, photo),
        "attribution": lambda: widgets.attribution(model, photo, mask),
        "ablation": lambda: widgets.ablation(model, photo, mask),
        "architecture": lambda: widgets.architecture(model, photo),
        "compare": lambda: widgets.compare(*two_stacks(), torch.randn(1, 3, 16, 24)),
        "computation": lambda: widgets.computation(model, photo),
        "paired": lambda: widgets.paired(model, photo, photo[:, ::-1].copy(), view=widgets.prediction_ladder),
        "training_film": lambda: widgets.training_film(recorder),
    }
    for name, make in made.items():
        yield name, make()
