"""What the commands of the command line share. Each is a module with `run(options)`, imported when it is asked for."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["CommandError", "complain", "load_model"]


class CommandError(Exception):
    """Ends a command with a line for the person who called it."""


def complain(message: str) -> None:
    """Writes one line to stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(f"birefnet_lite: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(message).split())


def load_model(name: str | None, options: "argparse.Namespace") -> "BiRefNet":
    """A trained model on the device that was asked for; `CommandError` says what is wrong."""
    import torch

    from birefnet_lite.checkpoints import CheckpointError, load

    if options.device is not None:
        try:
            usable = torch.empty(1, device=options.device).device.type != "meta"
        except (RuntimeError, AssertionError, NotImplementedError):
            usable = False
        if not usable:
            raise CommandError(f"there is no device {options.device!r} here; leave out --device, or give cpu")
    try:
        return load(name or shipped_model(), options.device, patch_order=options.patch_order)
    except CheckpointError as error:
        raise CommandError(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise CommandError(f"the model does not fit into the memory of {options.device or 'the device'}") from error


def shipped_model() -> str:
    """The name of the model that comes with the package; `CommandError` where none does."""
    from importlib import resources

    if not (resources.files("birefnet_lite") / "weights" / "nano.safetensors").is_file():
        raise CommandError(
            "no trained model comes with this version: give --model, a .safetensors or .pth file or a published name "
            "such as BiRefNet_lite, which is downloaded once"
        )
    return "nano"
