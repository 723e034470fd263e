"""Loads and saves a network with its weights: files, the shipped model, and published checkpoints by name."""

import json
import os
import warnings
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from birefnet_lite.checkpoints.check_weights import CheckpointError, check_fit, check_tensors, not_finite
from birefnet_lite.checkpoints.infer_config import infer_config
from birefnet_lite.checkpoints.official import load_official_state_dict
from birefnet_lite.checkpoints.published import PUBLISHED, PatchOrder, download, explain_unknown_name, published_name
from birefnet_lite.checkpoints.read_weights import OWN_ANCHOR, read_weights, strip_prefixes
from birefnet_lite.config import PRESETS, BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.precision import choose_dtypes
from birefnet_lite.output import replace_atomically

__all__ = ["best_device", "load", "save"]

_FORMAT = "birefnet_lite"
_warned: set[str] = set()


def best_device() -> torch.device:
    """Return the accelerator of this machine (such as `cuda` or `mps`), or `cpu` if there is none."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def load(
    name_or_path: str | os.PathLike,
    device: str | torch.device | None = None,
    dtype: torch.dtype | Literal["auto"] | None = None,
    *,
    patch_order: PatchOrder | None = None,
    config: BiRefNetConfig | None = None,
) -> BiRefNet:
    """Load a trained BiRefNet, in evaluation mode.

    Args:
        name_or_path: A file (.safetensors, .pth, .pt, .bin, .ckpt), a preset whose weights come with the package
            (`"nano"`), or a published checkpoint (`PUBLISHED`, with or without the owner's name; downloaded once). A
            file in the working directory takes precedence over a name, a folder does not.
        device: Where the model goes; None is `best_device()`.
        dtype: What its numbers are converted to; None is float32. `"auto"` is bfloat16 on a CPU with instructions for
            it, if all parts of the network are wide enough for it (see `network/precision.py`), and float32 otherwise.
        patch_order: Order of the image tiles, which a file by the original's names does not say: `"old"` before
            November 2024, else `"new"`.
        config: The configuration of such a file; None infers it from the shapes.

    Raises:
        CheckpointError: The file or name cannot be used; the message says which, and why.
        ValueError: The weights have numbers that `dtype` cannot hold.

    Examples:
        >>> model = load("nano", "cpu")
        >>> model.config.backbone
        'convnet_n'
    """
    name = os.fspath(name_or_path)
    published = published_name(name)
    if os.path.isfile(name):
        model = _load_file(Path(name), patch_order, config)
    elif _ships(name):
        with resources.as_file(_shipped_file(name)) as path:
            model = _load_file(path, patch_order, config)
    elif published is not None:
        entry = PUBLISHED[published]
        if patch_order is None and not entry.patch_order_is_verified:
            _warn_of_patch_order(published, entry.patch_order)
        config = config or BiRefNetConfig(backbone=entry.backbone, train_size=entry.train_size)
        model = _load_file(download(published), patch_order or entry.patch_order, config)
    else:
        raise CheckpointError(_explain_missing(name))
    device = best_device() if device is None else device
    if dtype == "auto":
        dtypes = choose_dtypes(model.config, torch.device(device))
        dtype = torch.bfloat16 if set(dtypes) == {torch.bfloat16} else torch.float32
    model = model.to(device=device, dtype=dtype).eval()
    if dtype == torch.float16 and (beyond := not_finite(model.state_dict())):
        raise ValueError(
            f"{beyond[0]} of {name} has numbers that float16 cannot hold. Load it in float32 and use "
            "optimize(model).half(), which folds the norms, or torch.autocast."
        )
    return model


def save(model: nn.Module, path: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
    """Write weights and configuration to one `.safetensors` file, whole or not at all.

    Args:
        model: A BiRefNet, also one that is compiled or inside `DataParallel`.
        path: The file, which is replaced if it exists.
        dtype: If given, such as `torch.float16`, the weights of convolutions and linear layers are rounded to it.
            Biases, norms and their statistics are few numbers of any size, and keep their dtype.

    Raises:
        ValueError: The file's name does not end in `.safetensors`, or numbers are not finite (in that dtype).
        TypeError: The model is not a BiRefNet.

    Examples:
        >>> import tempfile
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(BiRefNet(BiRefNetConfig.preset("nano")), f"{folder}/mine.safetensors")
        ...     load(f"{folder}/mine.safetensors", "cpu").config.train_size
        (256, 256)
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"The file is called {path.name!r}; its name must end in '.safetensors'.")
    model = _unwrap(model)
    if not isinstance(model, BiRefNet):
        raise TypeError(f"save takes a BiRefNet, not {type(model).__name__}.")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("The model is on the meta device: it has shapes, but no weights to save.")
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


def _unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside `torch.compile`, `DataParallel` and the like."""
    for attribute in ("_orig_mod", "module"):
        inner = model._modules.get(attribute)
        if not isinstance(model, BiRefNet) and inner is not None:
            return _unwrap(inner)
    return model


def _load_file(path: Path, patch_order: PatchOrder | None, config: BiRefNetConfig | None) -> BiRefNet:
    try:
        weights, metadata = read_weights(path)
        if not weights:
            raise CheckpointError("it holds no tensors.")
        if metadata.get("format") == _FORMAT:
            return _build_native(weights, _read_config(metadata))
        weights = strip_prefixes(weights)
        check_tensors(weights)
        if OWN_ANCHOR in weights:
            if config is None:
                raise CheckpointError(
                    "it has this package's names of weights, but no configuration. Give config=..., or write files "
                    "with birefnet_lite.save, which keeps the configuration."
                )
            return _build_native(weights, config)
        return _build_official(path, weights, patch_order, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be loaded: {error}") from error


def _read_config(metadata: dict[str, str]) -> BiRefNetConfig:
    try:
        return BiRefNetConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its configuration is damaged: {error}") from error


def _build_native(weights: dict[str, Tensor], config: BiRefNetConfig) -> BiRefNet:
    """Build the network of weights by this package's names."""
    check_tensors(weights)
    model = BiRefNet(config)
    own = model.state_dict()
    check_fit(own, weights)
    model.load_state_dict({**own, **weights})
    return model


def _build_official(
    path: Path, weights: dict[str, Tensor], patch_order: PatchOrder | None, config: BiRefNetConfig | None
) -> BiRefNet:
    """Build the network of weights by the original's names."""
    try:
        model = BiRefNet(config or infer_config(weights))
    except CheckpointError:
        raise
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the shapes of its weights are not those of a BiRefNet ({error}).") from error
    if patch_order is None and model.config.inward_reference and model.config.image_tiles:
        warnings.warn(
            f"{path.name} does not say in which order its image tiles are; the order since November 2024 is "
            "assumed. For older weights give patch_order='old', or the masks will be worse.",
            stacklevel=4,
        )
    load_official_state_dict(model, weights, patch_order or "new")
    return model


def _warn_of_patch_order(name: str, patch_order: str) -> None:
    """Warn that a published file's patch order is not verified, once for each name in this process."""
    if name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"The patch order of {name} ({patch_order!r}) is inferred from its date, not verified. If its masks look "
            "wrong, give the other patch_order.",
            stacklevel=3,
        )


def _shipped_file(name: str):
    return resources.files("birefnet_lite") / "weights" / f"{name}.safetensors"


def _ships(name: str) -> bool:
    """Whether the weights of this preset come with the package."""
    return name in PRESETS and _shipped_file(name).is_file()


def _explain_missing(name: str) -> str:
    """Say why a name is not a file, preset with weights or published checkpoint."""
    try:
        is_folder = os.path.isdir(name)
        os.stat(name)
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            return f"{name} may not be read (permission denied)."
        return explain_unknown_name(name if len(name) <= 100 else f"{name[:100]}...")
    kind = "a folder; give a .safetensors or .pth file in it" if is_folder else "neither a file nor a folder"
    return f"{name} cannot be loaded: it is {kind}."
