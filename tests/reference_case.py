"""The numbers of the original network, and the recipe of its weights; see tests/reference/README.md."""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from birefnet_lite.checkpoints import load_official_state_dict, official_state_dict

FOLDER = Path(__file__).parent / "reference"


def official_key_lists() -> dict[str, list]:
    """For each backbone: name, shape and dtype of every tensor in the original's state dict."""
    return json.loads(gzip.decompress((FOLDER / "state_dicts.json.gz").read_bytes()))


def read_case(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The description of a case and its arrays."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return json.loads((FOLDER / f"{name}.json").read_text()), dict(arrays)


def fill(key: str, tensor: Tensor) -> Tensor:
    """The value that the recipe gives to the tensor called `key` by the original."""
    if not tensor.is_floating_point():
        return tensor.clone()
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    shape, last = tuple(tensor.shape), key.rpartition(".")[2]
    if last == "running_var" or (len(shape) == 1 and last == "weight"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) <= 1:
        values = 0.1 * rng.standard_normal(shape)
    else:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def fill_model(model) -> None:
    """Gives a BiRefNet the recipe's weights, by the original's names."""
    load_official_state_dict(model, {key: fill(key, value) for key, value in official_state_dict(model).items()})


def image(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(7).standard_normal(shape).astype(np.float32))


def mask(batch: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(11).standard_normal((batch, 1, height, width)) > 0)
