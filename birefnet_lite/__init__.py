"""BiRefNet, part by part: bilateral reference for high-resolution dichotomous image segmentation."""

from birefnet_lite.checkpoint import CheckpointError, load
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.model import BiRefNet, BiRefNetOutput

__all__ = ["BiRefNet", "BiRefNetConfig", "BiRefNetOutput", "CheckpointError", "load"]
