"""Reads the tensors of a checkpoint file, whatever they are wrapped in, and takes prefixes off their names."""

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from birefnet_lite.checkpoints.check_weights import CheckpointError

__all__ = ["OWN_ANCHOR", "SUFFIXES", "read_weights", "strip_prefixes"]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")

# Keys under which training programs keep the weights, averaged ones (EMA) first.
_AVERAGED = ("ema", "model_ema", "ema_model", "params_ema", "state_dict_ema", "ema_state_dict")
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module")

# Wrappers put these parts into names: data parallel, compiled, sharded and checkpointed modules, Lightning's Fabric.
_LEADING = ("module.", "_orig_mod.", "_forward_module.")
_INNER = ("_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")

# A weight that every BiRefNet has, by the original's names and by this package's. What stands before it is a prefix.
OFFICIAL_ANCHOR = "decoder.decoder_block4.conv_in.weight"
OWN_ANCHOR = "decoder.stage4.reconstruction.conv_in.weight"
_ANCHORS = (OFFICIAL_ANCHOR, OWN_ANCHOR)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file and, for safetensors, its metadata. Nothing in the file is executed.

    Args:
        path: A file with one of `SUFFIXES`, in upper or lower case.

    Returns:
        Names with tensors, without the dicts around them, and the metadata.

    Raises:
        CheckpointError: In one line, why the file cannot be used. The message does not name the file.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(f"a file of type {path.suffix or 'nothing'!r} is none of {', '.join(SUFFIXES)}.")
    try:
        if os.path.getsize(path) == 0:
            raise CheckpointError("it is empty.")
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol, which does not concern the user
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        # PyTorch's own message tells the reader to load the file unsafely.
        raise CheckpointError(
            "it is damaged, or holds Python objects beside tensors; those could run code and are refused."
        ) from error
    except PermissionError as error:
        raise CheckpointError("it may not be read (permission denied).") from error
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        reason = str(error).splitlines()[0].split(". ")[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"it is damaged, cut off or of another kind ({reason}).") from error
    weights = _find_weights(content)
    if weights is None:
        raise CheckpointError("it does not hold a state dict, names with tensors.")
    return weights, {}


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins like safetensors: eight bytes with the length of a JSON object. Suffixes can be wrong."""
    if path.suffix.lower() == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path)


def _find_weights(content: Any, depth: int = 0) -> dict[str, Tensor] | None:
    """Find the names with tensors in nested dicts; None if there are none."""
    if not isinstance(content, Mapping) or depth > 4:
        return None
    for key in (*_AVERAGED, *_PLAIN):
        inner = _find_weights(content.get(key), depth + 1)
        if inner is not None:
            others = [k for k in (*_AVERAGED, *_PLAIN) if k != key and _find_weights(content.get(k), depth + 1)]
            if key in _AVERAGED and others:
                warnings.warn(
                    f"The file holds averaged weights under {key!r} beside those under {others[0]!r}; the averaged "
                    "ones are loaded.",
                    stacklevel=5,
                )
            return inner
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        return tensors if all(isinstance(key, str) for key in tensors) else None
    # Under a key that is not known, such as "student", a network is recognised by its weights.
    found = (_find_weights(value, depth + 1) for value in content.values())
    networks = [weights for weights in found if weights and any(key.endswith(_ANCHORS) for key in weights)]
    return networks[0] if len(networks) == 1 else None


def strip_prefixes(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that training programs put before the names of a BiRefNet's weights.

    Known parts such as `module.` and `_orig_mod.` come off every name. Any other prefix, such as Lightning's
    `model.net.`, is found by a weight that every BiRefNet has; tensors without this prefix belong to something else (a
    loss, another network) and are left out. Of two networks, one of them averaged (EMA), the averaged one is taken.

    Raises:
        CheckpointError: Two tensors have the same name afterwards, or there are several networks.
    """
    stripped: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        name = key
        while name.startswith(_LEADING):
            name = name.split(".", 1)[1]
        for part in _INNER:
            name = name.replace(f".{part}", ".")
        if name in stripped:
            raise CheckpointError(f"Two tensors are called {name!r} once prefixes are taken off; one is {key!r}.")
        stripped[name] = value
    if getattr(stripped.get("n_averaged"), "ndim", 1) == 0:
        del stripped["n_averaged"]  # the counter of torch.optim.swa_utils.AveragedModel
    prefixes = sorted(
        {
            name.removesuffix(anchor)
            for name in stripped
            for anchor in _ANCHORS
            if name == anchor or name.endswith(f".{anchor}")
        },
        key=len,
    )
    if len(prefixes) > 1 and "" not in prefixes:
        averaged = [prefix for prefix in prefixes if "ema" in prefix.lower() or "average" in prefix.lower()]
        if len(averaged) != 1:
            raise CheckpointError(
                f"it holds several networks, under {', '.join(map(repr, prefixes))}; save one of them alone."
            )
        prefixes = averaged
    if not prefixes or "" in prefixes:
        return stripped
    prefix = prefixes[0]
    return {name.removeprefix(prefix): value for name, value in stripped.items() if name.startswith(prefix)}
