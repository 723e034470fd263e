"""The learner's progress: a JSON file on this machine that the checks write and the dashboard shows.

Nothing is sent anywhere. The file is in the user's data folder, or where the environment variable BIREFNET_PROGRESS
says; with BIREFNET_PROGRESS=off nothing is read or written.
"""

import json
import os
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from birefnet_lite.output import write_text

__all__ = ["NOTEBOOKS", "VARIABLE", "Dashboard", "Trace", "dashboard", "progress_file", "record"]

VARIABLE = "BIREFNET_PROGRESS"
"""The environment variable with the path of the file, or "off"."""

NOTEBOOKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "00_start_here": ("start here", ()),
    "01_skeleton": ("the skeleton", ("encoder_shapes", "wire")),
    "02_backbone": ("the backbone", ("window_partition", "fuse_scales", "fuse_context")),
    "03_squeeze": ("the squeeze module", ("bilinear_sample", "deform_conv", "deformable_aspp", "squeeze_module")),
    "04_lateral_blocks": ("lateral blocks", ("lateral_conv", "resize_matrix", "lateral_apart")),
    "05_decoder": ("the decoder", ("step_up", "reconstruction_block", "run_stage", "decode")),
    "06_refinement": ("inward and outward reference", ("image_to_tiles", "inward_reference", "outward_reference")),
    "07_gradient_targets": (
        "gradient targets",
        ("laplacian", "gradient_target", "masked_gradient_target", "gradient_loss"),
    ),
    "08_training": ("training", ("iou_loss", "supervise", "train_step")),
    "09_in_use": ("in use", ("to_network", "composite", "f_measure")),
    "10_explanation": ("explanation", ("integrated_gradients", "chain_field", "without_part")),
    "11_speed": ("speed", ("convolve_first", "fold_batch_norm", "compose_convolutions")),
    "12_capstone": (
        "the capstone",
        ("my_encoder", "my_block", "my_outward", "my_stage", "my_decoder", "my_tiles"),
    ),
}
"""The course in its order: each notebook's short title, and its exercises by the names of their checks."""

_FORMAT = "birefnet_lite course progress, version 1"
_LARGEST = 1_000_000  # bytes; ours has a few thousand


class Trace(NamedTuple):
    """The progress in one exercise."""

    solved: bool
    tries: int
    """How many answers were checked until one was right."""

    @property
    def sign(self) -> str:
        """A sign for solved, tried, or not tried."""
        return "✓" if self.solved else "✗" if self.tries else "○"


_UNTOUCHED = Trace(False, 0)


class ForeignFileError(ValueError):
    """The progress file is damaged or belongs to another program; it is not changed."""


def progress_file() -> Path | None:
    """Return the path of the progress file, or None where progress is switched off.

    Raises:
        RuntimeError: The user has no home folder.
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


def record(exercise: str, passed: bool | None) -> None:
    """Note the verdict of a check; never raises, since a full disk must not stop a lesson.

    An unsolved exercise is not noted, nor is anything that runs in the folder `solutions`.

    Args:
        exercise: The name of the check.
        passed: True, False, or None while the exercise is unsolved.
    """
    try:
        path = progress_file()
        if passed is None or path is None or Path.cwd().name == "solutions":
            return
        traces = _read(path)
        before = traces.get(exercise, _UNTOUCHED)
        if before.solved:
            return
        traces[exercise] = Trace(passed, before.tries + 1)
        _write(path, traces)
    except Exception:
        return


def _read(path: Path) -> dict[str, Trace]:
    """Read the file; without one, no exercise has been tried. Raises `OSError` or `ForeignFileError`."""
    if not path.exists():
        return {}
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ForeignFileError(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ForeignFileError(path)
        return {str(name): _trace(entry) for name, entry in content["exercises"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignFileError(path) from error


def _trace(entry: dict[str, Any]) -> Trace:
    solved, tries = entry["solved"], entry["tries"]
    if not isinstance(solved, bool) or isinstance(tries, bool) or not isinstance(tries, int) or tries < 0:
        raise ValueError(entry)
    return Trace(solved, tries)


def _write(path: Path, traces: dict[str, Trace]) -> None:
    content = {"format": _FORMAT, "exercises": {name: trace._asdict() for name, trace in sorted(traces.items())}}
    write_text(path, json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class Dashboard:
    """All exercises and which are solved, as an HTML table in a notebook and as aligned text elsewhere."""

    rows: tuple[tuple[str, tuple[tuple[str, Trace], ...]], ...]
    """The file stem of each notebook, and its exercises by name."""
    kept: str
    """A line with the path of the file, or why there is none; may be empty."""

    @property
    def next_step(self) -> str:
        """One sentence that names the next exercise."""
        for stem, traces in self.rows:
            for name, trace in traces:
                if not trace.solved:
                    tried = f" You have tried it {_times(trace.tries)}." if trace.tries else ""
                    return f"Next: {name} in notebook {stem[:2]}, {NOTEBOOKS[stem][0]}.{tried}"
        return "Every exercise is solved."

    @property
    def summary(self) -> str:
        """One sentence with the number of solved exercises."""
        return f"{_share([trace for _, traces in self.rows for _, trace in traces])} exercises solved."

    def __repr__(self) -> str:
        rows = [(_title(stem), _share([t for _, t in traces]), _signs(traces)) for stem, traces in self.rows]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c}".rstrip() for a, b, c in rows]
        return "\n".join([self.summary, *lines, self.next_step, *filter(None, [self.kept])])

    def _repr_html_(self) -> str:
        # No colours of its own: the page's are readable on a light and on a dark page.
        rows = "".join(
            f"<tr><td align='left' style='text-align:left'><a href='{stem}.ipynb'>{escape(_title(stem))}</a></td>"
            f"<td align='right'>{_share([t for _, t in traces])}</td>"
            f"<td align='left' style='text-align:left'>{escape(_signs(traces))}</td></tr>"
            for stem, traces in self.rows
        )
        head = "<th align='left' style='text-align:left'>notebook</th><th>solved</th>"
        head += "<th align='left' style='text-align:left'>exercises: ✓ solved, ✗ tried, ○ open</th>"
        kept = f"<p><small>{escape(self.kept)}</small></p>" if self.kept else ""
        return (
            f"<p><b>{self.summary}</b> {escape(self.next_step)}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{kept}"
        )


def dashboard() -> Dashboard:
    """Read the progress; where it cannot be read, every exercise is open and a line says why."""
    traces: dict[str, Trace] = {}
    kept = ""
    try:
        path = progress_file()
        if path is not None:
            kept = f"Kept in {path}, on this machine only. Delete the file to start over."
            traces = _read(path)
    except ForeignFileError:
        kept = f"{path} is damaged, or no file of this course: nothing is noted. Move it away to start over."
    except (OSError, RuntimeError) as error:
        kept = f"Your progress cannot be read ({error}); the course works without."
    rows = tuple(
        (stem, tuple((name, traces.get(name, _UNTOUCHED)) for name in names)) for stem, (_, names) in NOTEBOOKS.items()
    )
    return Dashboard(rows, kept)


def _title(stem: str) -> str:
    return f"{stem[:2]} · {NOTEBOOKS[stem][0]}"


def _share(traces: list[Trace]) -> str:
    return f"{sum(trace.solved for trace in traces)} / {len(traces)}" if traces else "–"


def _signs(traces: tuple[tuple[str, Trace], ...]) -> str:
    return "  ".join(f"{trace.sign} {name}" for name, trace in traces)


def _times(tries: int) -> str:
    return "once" if tries == 1 else f"{tries} times"
