"""The command line: one module with `run(options)` for each command, and the functions that they share."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["CommandError", "describe_error", "load_model", "one_line", "report", "shipped_model"]


class CommandError(Exception):
    """Ends a command with one line for the person who called it."""


def report(message: object) -> None:
    """Write one line to stderr, above a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"birefnet_lite: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(message).split())


def describe_error(error: BaseException) -> str:
    """One line about an error: the file, where it has one, and what was wrong."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "there is not enough memory; try a smaller --size"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return one_line(error) or type(error).__name__


def load_model(name: str | None, options: "argparse.Namespace") -> "BiRefNet":
    """Load a trained model onto the device that the options name.

    Raises:
        CommandError: There is no such device or model, or it does not fit into memory.
    """
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
    """The name of the model that comes with the package; `CommandError` if none does."""
    from importlib import resources

    if not (resources.files("birefnet_lite") / "weights" / "nano.safetensors").is_file():
        raise CommandError(
            "no trained model comes with this version: give --model, a .safetensors or .pth file or a published name "
            "such as BiRefNet_lite, which is downloaded once"
        )
    return "nano"
