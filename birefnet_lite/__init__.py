"""BiRefNet, part by part: bilateral reference for high-resolution dichotomous image segmentation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_lite.checkpoints.files import CheckpointError, load
    from birefnet_lite.config import BiRefNetConfig
    from birefnet_lite.network.birefnet import BiRefNet, BiRefNetOutput
    from birefnet_lite.optimization import optimize

__all__ = ["BiRefNet", "BiRefNetConfig", "BiRefNetOutput", "CheckpointError", "load", "optimize"]

# PyTorch takes seconds to import; the command line's --help should not.
_HOMES = {
    "BiRefNet": "network.birefnet",
    "BiRefNetConfig": "config",
    "BiRefNetOutput": "network.birefnet",
    "CheckpointError": "checkpoints.files",
    "load": "checkpoints.files",
    "optimize": "optimization",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
