"""The learner's progress: a JSON file on this machine that the checks write and the dashboard shows.

It holds the tries, the time and the mistakes that were named, for each exercise; no answers. Nothing is sent anywhere.
The file is in the user's data folder, or where the environment variable BIREFNET_PROGRESS says; with
BIREFNET_PROGRESS=off nothing is read or written.
"""

import json
import math
import os
import re
import sys
import time
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from birefnet_lite.output import write_text

__all__ = ["BREAK", "NOTEBOOKS", "UNTOUCHED", "VARIABLE", "ForeignFileError", "Trace"]
__all__ += ["progress_file", "read_traces", "record"]

VARIABLE = "BIREFNET_PROGRESS"
"""The environment variable with the path of the file, or "off"."""

NOTEBOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "00_start_here": ("start here", ()),
    "01_skeleton": ("the skeleton", ("encoder_shapes", "wire")),
    "02_backbone": ("the backbone", ("window_partition", "fuse_scales", "fuse_context")),
    "03_squeeze": ("the squeeze module", ("bilinear_sample", "deform_conv", "deformable_aspp", "squeeze_module")),
    "04_lateral_blocks": ("lateral blocks", ("lateral_conv", "resize_matrix", "enlarge_mask", "lateral_apart")),
    "05_decoder": ("the decoder", ("reconstruct", "weigh", "run_stage", "decode")),
    "06_refinement": (
        "inward and outward reference",
        ("image_to_tiles", "own_cut", "inward_reference", "outward_reference"),
    ),
    "07_gradient_targets": (
        "gradient targets",
        ("laplacian", "gradient_target", "masked_gradient_target", "own_target", "gradient_loss"),
    ),
    "08_training": ("training", ("iou_loss", "window_loss", "supervise", "train_step")),
    "09_in_use": ("in use", ("to_network", "composite", "f_measure", "fool_hce")),
    "10_explanation": ("explanation", ("integrated_gradients", "worst_square", "chain_field", "without_part")),
    "11_speed": ("speed", ("convolve_first", "fold_batch_norm", "compose_convolutions", "lean_tail")),
    "12_capstone": (
        "the capstone",
        ("my_encoder", "my_decoder", "culprits"),
    ),
}
"""The course in its order: each notebook's short title, and its exercises by the names of their checks."""

BREAK = 20 * 60
"""Seconds between two checks from which on the time between them is a break and not counted."""

_FORMAT = "birefnet_lite course progress, version 1"
_LARGEST = 1_000_000  # bytes; ours has a few thousand
_MISTAKES = 5  # for each exercise, the latest


class Trace(NamedTuple):
    """The progress in one exercise."""

    solved: bool
    tries: int
    """How many answers were checked until one was right."""
    seconds: float = 0
    """From the check before to the one that was passed, tries and reading included, breaks left out."""
    mistakes: tuple[str, ...] = ()
    """Messages of the checks about wrong answers, each once, the latest last."""

    @property
    def sign(self) -> str:
        """A sign for solved, tried, or not tried."""
        return "✓" if self.solved else "✗" if self.tries else "○"


UNTOUCHED = Trace(False, 0)
"""The trace of an exercise without tries."""


class ForeignFileError(ValueError):
    """The progress file is damaged or belongs to another program; it is not changed."""


def progress_file() -> Path | None:
    """Return the path of the progress file, or None where progress is switched off.

    Raises:
        RuntimeError: The user has no home folder.

    Examples:
        >>> progress_file()  # doctest: +SKIP
        PosixPath('/home/me/.local/share/birefnet_lite/progress.json')
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen:
        return None if chosen.lower() == "off" else Path(chosen).expanduser()
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "birefnet_lite" / "progress.json"


def record(exercise: str, passed: bool | None, message: str = "") -> None:
    """Note the verdict of a check; never raises, since a full disk must not stop a lesson.

    The time since the check before is added to the exercise's, up to `BREAK`. Of an unsolved exercise only that is
    noted; nothing is, of anything that runs in the folder `solutions`.

    Args:
        exercise: The name of the check.
        passed: True, False, or None while the exercise is unsolved.
        message: What the check said.
    """
    try:
        path = progress_file()
        if path is None or Path.cwd().name == "solutions":
            return
        (traces, last), now = _read(path), time.time()
        before = traces.get(exercise, UNTOUCHED)
        if not before.solved:
            seconds = before.seconds + (now - last if last < now <= last + BREAK else 0.0)
            traces[exercise] = _add(before, passed, round(seconds, 1), message)
        _write(path, traces, now)
    except Exception:
        return


def read_traces() -> dict[str, Trace]:
    """Return the progress in each exercise that was tried; raises `OSError` or `ForeignFileError`."""
    path = progress_file()
    return {} if path is None else _read(path)[0]


def _add(before: Trace, passed: bool | None, seconds: float, message: str) -> Trace:
    """The trace after one more check."""
    mistakes = [*before.mistakes, *([_shorten(message)] if passed is False and message else [])]
    latest = tuple(dict.fromkeys(mistakes[::-1]))[:_MISTAKES][::-1]
    return Trace(passed is True, before.tries + (passed is not None), seconds, latest)


def _shorten(message: str) -> str:
    """The first line of a message; of an error, only its kind, since its text may have anything in it."""
    line = re.sub(r"(Your code raises \w+):.*", r"\1.", message.strip().split("\n")[0])
    return shorten(line, 200, placeholder=" …")


def _read(path: Path) -> tuple[dict[str, Trace], float]:
    """The traces and the time of the last check; none without a file. Raises `OSError` or `ForeignFileError`."""
    if not path.exists():
        return {}, 0.0
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ForeignFileError(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ForeignFileError(path)
        return {str(name): _trace(one) for name, one in content["exercises"].items()}, _number(content.get("last", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignFileError(path) from error


def _trace(entry: dict[str, Any]) -> Trace:
    solved, tries = entry["solved"], entry["tries"]
    if not isinstance(solved, bool) or not isinstance(tries, int):
        raise ValueError(entry)
    mistakes = tuple(map(str, entry.get("mistakes", ())))
    return Trace(solved, int(_number(tries)), _number(entry.get("seconds", 0)), mistakes[-_MISTAKES:])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return float(value)


def _write(path: Path, traces: dict[str, Trace], now: float) -> None:
    exercises = {name: trace._asdict() for name, trace in sorted(traces.items())}
    write_text(path, json.dumps({"format": _FORMAT, "last": round(now, 1), "exercises": exercises}, indent=1) + "\n")
