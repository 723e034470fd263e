"""`train`: train a network as a settings file says."""

import argparse
import os
import warnings
from pathlib import Path

from birefnet_lite.cli import CommandError, report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    shipped = sorted(path.stem for path in (Path(__file__).parents[1] / "training" / "configs").glob("*.toml"))
    parser.add_argument("config", metavar="CONFIG", help=f"a TOML file, or one that ships: {', '.join(shipped)}")
    parser.add_argument("--output", metavar="DIR", help="folder for checkpoints and logs")
    parser.add_argument("--folder", metavar="DIR", help="train on this folder with im/ and gt/, or this CSV of pairs")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop, with a checkpoint, after M minutes")
    parser.add_argument("--fresh", action="store_true", help="start anew, over a run that is already there")
    parser.add_argument("--changed", action="store_true", help="continue although the settings have changed")


def run(options: argparse.Namespace) -> int:
    """Train; returns 0 when done, 1 when training diverged.

    Raises:
        CommandError: Settings, data or the output folder do not fit, or a file cannot be read.
    """
    from birefnet_lite.checkpoints import CheckpointError
    from birefnet_lite.training.run_lock import FolderInUse
    from birefnet_lite.training.settings import find_settings, read_settings
    from birefnet_lite.training.trainer import Diverged
    from birefnet_lite.training.training_loop import train

    changes = {name: getattr(options, name) for name in ("output", "folder", "max_minutes")}
    changes = {name: value for name, value in changes.items() if value is not None}
    if options.folder is not None:
        changes["data"] = "folder"
    if os.environ.get("RANK", "0") != "0":
        warnings.simplefilter("ignore")  # of several processes, the first one reports
    try:
        settings = read_settings(find_settings(options.config), **changes)
        trainer = train(settings, fresh=options.fresh, changed=options.changed)
    except (ValueError, TypeError, OSError, CheckpointError, FolderInUse) as error:
        if os.environ.get("RANK", "0") != "0":
            return 2
        raise CommandError(" ".join([str(error), *getattr(error, "__notes__", ())])) from error
    except Diverged as error:
        report(str(error))
        return 1
    if trainer.accelerator.is_main_process:
        print(trainer.summary())
    return 0
