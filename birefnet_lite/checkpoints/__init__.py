"""Checkpoint files, the original names of the weights, and the published checkpoints."""

from birefnet_lite.checkpoints.check_weights import CheckpointError, not_finite
from birefnet_lite.checkpoints.files import best_device, load, save
from birefnet_lite.checkpoints.official import load_official_state_dict, official_names, official_state_dict
from birefnet_lite.checkpoints.published import PUBLISHED, Published

__all__ = [
    "PUBLISHED",
    "CheckpointError",
    "Published",
    "best_device",
    "load",
    "load_official_state_dict",
    "not_finite",
    "official_names",
    "official_state_dict",
    "save",
]
