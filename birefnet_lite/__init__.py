"""BiRefNet, part by part: bilateral reference for high-resolution dichotomous image segmentation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_lite.checkpoints import CheckpointError, load, save
    from birefnet_lite.config import BiRefNetConfig
    from birefnet_lite.inference.predict import cut_out, segment
    from birefnet_lite.network.birefnet import BiRefNet, BiRefNetOutput
    from birefnet_lite.optimization import optimize

__all__ = [
    "BiRefNet",
    "BiRefNetConfig",
    "BiRefNetOutput",
    "CheckpointError",
    "cut_out",
    "load",
    "optimize",
    "save",
    "segment",
]

# Names are imported on first use: PyTorch takes seconds to import, and the command line's --help does not need it.
_MODULES = {
    "BiRefNet": "network.birefnet",
    "BiRefNetConfig": "config",
    "BiRefNetOutput": "network.birefnet",
    "CheckpointError": "checkpoints",
    "cut_out": "inference.predict",
    "load": "checkpoints",
    "optimize": "optimization",
    "save": "checkpoints",
    "segment": "inference.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
