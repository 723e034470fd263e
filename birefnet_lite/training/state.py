"""The state of a run in one file: everything that the next step depends on."""

import os
from pathlib import Path
from typing import Any

import torch

from birefnet_lite.checkpoints import CheckpointError

__all__ = ["STATE_FILE", "load_state", "random_state", "restore_random_state", "save_state"]

STATE_FILE = "last.pt"


def save_state(state: dict[str, Any], path: str | os.PathLike) -> None:
    """Write a state whole or not at all: beside the file first, on the disk, and then in its place."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_state(path: str | os.PathLike) -> dict[str, Any]:
    """A state that `save_state` wrote; nothing in the file is executed. Raises `CheckpointError` for any other file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many kinds for a damaged file, and its messages advise unsafe loading
        raise CheckpointError(f"{path} is damaged, or no state of a training run ({type(error).__name__}).") from error
    if not isinstance(state, dict) or "step" not in state or "settings" not in state:
        raise CheckpointError(f"{path} is not the state of a training run; one is called {STATE_FILE}.")
    return state


def random_state() -> dict[str, torch.Tensor]:
    """The state of PyTorch's random numbers on the CPU and on this process's GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put back what `random_state` gave; a GPU's state is left out where there is no GPU."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
