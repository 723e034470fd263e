"""Training: losses, recipes, data, the trainer and its loop, and the recorder of a network's maps during training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_lite.training.recorder import Recorder
    from birefnet_lite.training.recording import Recording

__all__ = ["Recorder", "Recording"]

_MODULES = {"Recorder": "recorder", "Recording": "recording"}  # imported on first use, as they import PyTorch


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
