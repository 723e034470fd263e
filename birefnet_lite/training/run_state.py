"""The saved state of a training run: everything that the next step depends on, in one file."""

import os
from typing import Any

import torch

from birefnet_lite.checkpoints import CheckpointError
from birefnet_lite.output import replace_atomically
from birefnet_lite.training.settings import TrainSettings

__all__ = [
    "STATE_FILE",
    "check_same_settings",
    "load_state",
    "random_state",
    "restore_random_state",
    "save_state",
]

STATE_FILE = "last.pt"
# Settings that may differ when a run is resumed: they change no number.
FREE_TO_CHANGE = {
    "output",
    "workers",
    "ahead",
    "recompute_activations",
    "save_every",
    "log_every",
    "tensorboard",
    "pictures",
    "max_minutes",
}


def save_state(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state, whole or not at all: a power failure leaves the old file or the new one."""
    with replace_atomically(path, durable=True) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that `save_state` wrote. Nothing in the file is executed.

    Raises:
        CheckpointError: The file is damaged or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many kinds for a damaged file, and its messages advise unsafe loading
        raise CheckpointError(
            f"{path} is damaged or is not the state of a training run ({type(error).__name__})."
        ) from error
    if not isinstance(state, dict) or "step" not in state or "settings" not in state:
        raise CheckpointError(f"{path} is not the state of a training run; one is called {STATE_FILE}.")
    return state


def check_same_settings(state: dict[str, Any], settings: TrainSettings) -> None:
    """Check that a state is of a run with these settings, up to those that change no number.

    Raises:
        ValueError: They differ; the message lists how.
    """
    before = TrainSettings(**state["settings"]).to_dict()
    changed = [
        f"{name} ({before[name]!r}, now {value!r})"
        for name, value in settings.to_dict().items()
        if name not in FREE_TO_CHANGE and before[name] != value
    ]
    if changed:
        raise ValueError(
            f"{settings.output} holds a run with other settings: {'; '.join(changed)}. Name another output, or "
            "continue under the new settings with --changed."
        )


def random_state() -> dict[str, torch.Tensor]:
    """The state of PyTorch's random number generators on the CPU and on this process's GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Set the generators to a state from `random_state`; that of a GPU is skipped if there is no GPU."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
