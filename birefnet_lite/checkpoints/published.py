"""The table of the authors' published checkpoints, and how one is downloaded."""

from pathlib import Path
from typing import Literal, NamedTuple

from birefnet_lite.checkpoints.check_weights import CheckpointError
from birefnet_lite.config import PRESETS

__all__ = ["PUBLISHED", "PatchOrder", "Published", "download", "explain_unknown_name", "published_name"]

PatchOrder = Literal["new", "old"]
_FILE = "model.safetensors"


class Published(NamedTuple):
    """Facts about one published checkpoint that its weights do not contain."""

    backbone: str
    train_size: tuple[int, int]
    """Height and width in pixels."""
    patch_order: PatchOrder
    """Order of the channels of the image tiles. It changed in November 2024; older files were not converted."""
    patch_order_is_verified: bool = False
    """Whether the masks of both orders were compared. Otherwise the order is inferred from the date of the file."""


_LARGE, _LITE = "swin_v1_l", "swin_v1_t"

# By name on the Hugging Face hub.
PUBLISHED: dict[str, Published] = {
    "ZhengPeng7/BiRefNet": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet_lite": Published(_LITE, (1024, 1024), "old", patch_order_is_verified=True),
    "ZhengPeng7/BiRefNet_T": Published(_LITE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet_lite-2K": Published(_LITE, (1440, 2560), "old"),
    "ZhengPeng7/BiRefNet-matting": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-portrait": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-DIS5K": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-DIS5K-TR_TEs": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-HRSOD": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-COD": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-legacy": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet-massive": Published(_LARGE, (1024, 1024), "old"),
    "ZhengPeng7/BiRefNet_HR": Published(_LARGE, (2048, 2048), "new"),
    "ZhengPeng7/BiRefNet_HR-matting": Published(_LARGE, (2048, 2048), "new"),
    "ZhengPeng7/BiRefNet_dynamic": Published(_LARGE, (1024, 1024), "new"),
    "ZhengPeng7/BiRefNet_dynamic-matting": Published(_LARGE, (1024, 1024), "new"),
    "ZhengPeng7/BiRefNet_512x512": Published(_LARGE, (512, 512), "new"),
    "ZhengPeng7/BiRefNet_lite-matting": Published(_LITE, (1024, 1024), "new"),
}


def published_name(name: str) -> str | None:
    """The full name on the hub of a published checkpoint, given with or without its owner; None for other names.

    Examples:
        >>> published_name("BiRefNet_lite")
        'ZhengPeng7/BiRefNet_lite'
    """
    return next((full for full in PUBLISHED if name in (full, full.split("/")[1])), None)


def download(name: str) -> Path:
    """The path of a published checkpoint in the hub's cache, downloaded if it is not there yet.

    Raises:
        CheckpointError: The file is not cached and could not be downloaded.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(name, _FILE, cache_dir=constants.HF_HUB_CACHE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(name, _FILE, cache_dir=constants.HF_HUB_CACHE))
    except Exception as error:  # the hub's client raises those of whatever HTTP library it uses
        raise CheckpointError(
            f"{name} is not on this machine and could not be downloaded ({type(error).__name__}). With a network "
            f"connection, run once:\n  hf download {name} {_FILE}\nIt is then kept in the cache."
        ) from error


def explain_unknown_name(name: str) -> str:
    """The message for a name that is neither a file, nor a preset with weights, nor a published checkpoint."""
    if name in PRESETS:
        published = {"lite": "ZhengPeng7/BiRefNet_lite", "large": "ZhengPeng7/BiRefNet"}.get(name)
        return (
            f"The preset {name!r} has no weights in this package. load({published!r}) takes the published ones; "
            f"BiRefNet(BiRefNetConfig.preset({name!r})) builds the network untrained."
        )
    return (
        f"{name!r} is neither a file, nor a preset ({', '.join(PRESETS)}), nor a published checkpoint "
        f"({', '.join(PUBLISHED)})."
    )
