"""Checkpoints: files in, files out, and the published ones by name."""

import json
import os
import pickle
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from birefnet_lite.checkpoints.infer_config import infer_config
from birefnet_lite.checkpoints.official import CheckpointError, check_fit, load_official_state_dict, strip_prefixes
from birefnet_lite.checkpoints.published import PUBLISHED, PatchOrder, download, explain_unknown_name, published_name
from birefnet_lite.config import PRESETS, BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.output import replace_atomically

__all__ = ["best_device", "load", "not_finite", "save"]

_FORMAT = "birefnet_lite"
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def best_device() -> torch.device:
    """The accelerator of this machine (such as `cuda` or `mps`), or `cpu` where there is none."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def load(
    name_or_path: str | os.PathLike,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    *,
    patch_order: PatchOrder | None = None,
    config: BiRefNetConfig | None = None,
) -> BiRefNet:
    """A trained BiRefNet, ready to use (in eval mode).

    `name_or_path` is an existing `.safetensors` or `.pth` file, a preset whose weights ship with the package, or a
    published checkpoint (`PUBLISHED`, downloaded once). `device=None` takes the accelerator that is there, `dtype=None`
    leaves float32. A file in the original's format does not say which order its image tiles have (`patch_order`), and
    its configuration is read from its shapes unless `config` is given.
    Raises `CheckpointError`, which names the file and says what is wrong with it, and ValueError for numbers that
    `dtype` cannot hold.
    """
    path = Path(name_or_path)
    if path.exists():
        model = _load_file(path, patch_order, config)
    elif (shipped := _shipped(str(name_or_path))) is not None:
        model = _load_file(shipped, patch_order, config)
    elif (name := published_name(str(name_or_path))) is not None:
        published = PUBLISHED[name]
        if patch_order is None and not published.patch_order_is_verified:
            warnings.warn(
                f"The patch order of {name} ({published.patch_order!r}) is inferred from its date, not verified. If "
                "its masks look wrong, give the other patch_order.",
                stacklevel=2,
            )
        config = config or BiRefNetConfig(backbone=published.backbone, train_size=published.train_size)
        model = _load_file(download(name), patch_order or published.patch_order, config)
    else:
        raise CheckpointError(explain_unknown_name(str(name_or_path)))
    device = best_device() if device is None else device
    model = model.to(device=device, dtype=dtype).eval()
    if dtype == torch.float16 and (beyond := not_finite(model.state_dict())):
        raise ValueError(
            f"{beyond[0]} of {name_or_path} has numbers that float16 cannot hold. Load it in float32 and use "
            "optimize(model).half(), which folds the norms, or torch.autocast."
        )
    return model


def save(model: BiRefNet, path: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
    """Writes weights and configuration to one `.safetensors` file, whole or not at all.

    With a `dtype` such as `torch.float16`, the weights of convolutions and linear layers are rounded to it; biases,
    norms and their statistics, few numbers of any size, keep their own.
    Raises `ValueError` for another kind of name, and for numbers that are not finite, or would not be in that dtype.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"The file is called {path.name!r}; its name must end in '.safetensors'.")
    metadata = {"format": _FORMAT, "config": json.dumps(model.config.to_dict())}
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    if dtype is not None:
        weights = {name: v.to(dtype) if v.is_floating_point() and v.ndim > 1 else v for name, v in weights.items()}
    if broken := not_finite(weights):
        raise ValueError(
            f"{broken[0]} has numbers that are not finite{f' in {dtype}' if dtype else ''}, so nothing was written. A "
            "model that diverged, or was made half precision with numbers beyond its range, cannot be kept."
        )
    with replace_atomically(path) as temporary:
        permissions = temporary.stat().st_mode
        save_file(weights, temporary, metadata=metadata)
        temporary.chmod(permissions)  # safetensors makes a file that only its owner may read


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors with infinite numbers or NaN in them."""
    return [name for name, value in weights.items() if not value.isfinite().all()]


def _load_file(path: Path, patch_order: PatchOrder | None, config: BiRefNetConfig | None) -> BiRefNet:
    try:
        weights, metadata = _read(path)
        if metadata.get("format") == _FORMAT:
            return _native_model(weights, metadata)
        if not weights:
            raise CheckpointError("it holds no tensors.")
        weights = strip_prefixes(weights)
        model = BiRefNet(config or infer_config(weights))
        if patch_order is None:
            patch_order = "new"
            if model.config.inward_reference and model.config.image_tiles:
                warnings.warn(
                    f"{path.name} does not say in which order its image tiles are; the order since November 2024 is "
                    "assumed. For older weights give patch_order='old', or the masks will be worse.",
                    stacklevel=3,
                )
        load_official_state_dict(model, weights, patch_order)
        return model
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be loaded: {error}") from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and, for safetensors, its metadata. Nothing in the file is ever executed."""
    if path.is_dir():
        raise CheckpointError("it is a folder; give a .safetensors or .pth file in it.")
    if path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        raise CheckpointError(f"a file of type {path.suffix or 'nothing'!r} is none of .safetensors, .pth, .pt, .bin.")
    if path.stat().st_size == 0:
        raise CheckpointError("it is empty.")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message tells the reader to load the file unsafely.
        raise CheckpointError(
            "it is damaged, or holds Python objects beside tensors; those could run code and are refused."
        ) from error
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise CheckpointError(f"it is damaged, cut off or of another kind ({reason}).") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointError("it does not hold a state dict, names with tensors.")
    return content, {}


def _native_model(weights: dict[str, Tensor], metadata: dict[str, str]) -> BiRefNet:
    try:
        config = BiRefNetConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its configuration is damaged: {error}") from error
    model = BiRefNet(config)
    check_fit({name: value.shape for name, value in model.state_dict().items()}, weights)
    model.load_state_dict(weights)
    return model


def _shipped(name: str) -> Path | None:
    """The weights of a preset that come with the package."""
    if name not in PRESETS:
        return None
    path = Path(str(resources.files("birefnet_lite") / "weights" / f"{name}.safetensors"))
    return path if path.exists() else None
