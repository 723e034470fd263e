"""The training loop: a command, ``python -m birefnet_lite train CONFIG.toml``, and a function, ``train(settings)``."""

import argparse
import sys
from collections.abc import Sequence

from birefnet_lite.checkpoints import CheckpointError
from birefnet_lite.training.run import Diverged, Training
from birefnet_lite.training.settings import TrainSettings, find_settings, read_settings, shipped
from birefnet_lite.training.state import STATE_FILE, load_state

__all__ = ["Diverged", "Training", "main", "train"]


def train(settings: TrainSettings, *, fresh: bool = False, changed: bool = False, progress: bool = True) -> Training:
    """Train as the settings say, from the state in `settings.output` if there is one, and return the finished run.

    fresh: begin anew although there is a state. changed: go on although the settings differ from those of the state.
    Raises `Diverged`, ValueError for a state of another run, CheckpointError for a damaged one.
    """
    run = Training(settings)
    path = run.folder / STATE_FILE
    if path.exists() and not fresh:
        run.restore(load_state(path), changed)
    run.run(progress)
    return run


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0 when done, 1 when training diverged, 2 for settings or files that do not fit."""
    parser = argparse.ArgumentParser(
        prog="birefnet_lite train",
        description="Train as CONFIG says. A run that was stopped goes on from its last checkpoint.",
    )
    parser.add_argument("config", metavar="CONFIG", help=f"a TOML file, or one that ships: {', '.join(shipped())}")
    parser.add_argument("--output", metavar="DIR", help="folder for checkpoints and logs")
    parser.add_argument("--folder", metavar="DIR", help="train on this folder with im/ and gt/, or this CSV of pairs")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop, with a checkpoint, after M minutes")
    parser.add_argument("--fresh", action="store_true", help="begin anew, over a run that is already there")
    parser.add_argument("--changed", action="store_true", help="go on although the settings have changed")
    options = parser.parse_args(argv)
    changes = {name: getattr(options, name) for name in ("output", "folder", "max_minutes")}
    changes = {name: value for name, value in changes.items() if value is not None}
    if options.folder is not None:
        changes["data"] = "folder"
    try:
        settings = read_settings(find_settings(options.config), **changes)
        run = train(settings, fresh=options.fresh, changed=options.changed)
    except (ValueError, TypeError, OSError, CheckpointError) as error:
        print(f"birefnet_lite train: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"birefnet_lite train: {error}", file=sys.stderr)
        return 1
    if run.accelerator.is_main_process:
        print(run.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
