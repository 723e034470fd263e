"""The gain of each rewrite of `optimize`, measured by `benchmarks/waterfall.py`, as a table and a plot."""

import csv
from importlib import resources
from itertools import pairwise
from typing import NamedTuple

from birefnet_lite.course.picture import INK, QUIET, TIMES, Picture, card
from birefnet_lite.output import format_table

__all__ = ["FIELDS", "RESULTS", "Rewrite", "waterfall_plot", "waterfall_steps", "waterfall_table"]

RESULTS = resources.files("birefnet_lite") / "course" / "waterfall.csv"
FIELDS = ("model", "side", "kind", "seconds", "peak_mib", "error", "machine", "torch")
_LABELS = {
    "plain": "as the course builds it",
    "backbone": "backbone rewritten",
    "optimized, channels first": "head, lateral blocks before enlarging",
    "optimized": "channels last in memory",
}


class Rewrite(NamedTuple):
    """A network with this rewrite and all those before it."""

    side: int
    """Height and width of the image."""
    name: str
    seconds: float
    """Median of one forward."""
    peak: float
    """MiB at the peak of one forward, beyond the weights."""
    error: float
    """Largest difference from the plain network's logits, as a fraction of their largest."""
    machine: str


def waterfall_steps(model: str = "lite", side: int | None = None) -> list[Rewrite]:
    """The plain network, with torchvision's deformable convolution, then one rewrite more at a time.

    Args:
        model: `"lite"` or `"nano"`.
        side: Height and width of the image; None is the largest that was measured.

    Raises:
        FileNotFoundError: There are no results.
        ValueError: This model was not measured at this size.
    """
    if not RESULTS.is_file():
        raise FileNotFoundError("There are no results. `python benchmarks/waterfall.py` makes them.")
    rows = list(csv.DictReader(RESULTS.read_text(encoding="utf-8").splitlines()))
    sides = {int(row["side"]) for row in rows if row["model"] == model}
    if not sides or side not in (None, *sides):
        known = ", ".join(dict.fromkeys(f"{row['model']} at {row['side']}" for row in rows))
        raise ValueError(f"{model} at {side or 'any'} pixels was not measured; there are {known}.")
    side = side or max(sides)
    mine = [row for row in rows if (row["model"], row["side"]) == (model, str(side))]
    return [
        Rewrite(
            side,
            _LABELS.get(row["kind"], row["kind"]),
            float(row["seconds"]),
            float(row["peak_mib"]),
            float(row["error"]),
            row["machine"],
        )
        for row in mine
    ]


def waterfall_table(model: str = "lite", side: int | None = None) -> str:
    """The steps as text: seconds, what each step takes off them, how fast the network is by then, and its memory."""
    steps = waterfall_steps(model, side)
    side = steps[0].side
    rows = [[f"{model}, {side} {TIMES} {side}", "seconds", "less", "as fast", "peak, MiB"]]
    for before, step in zip([steps[0], *steps], steps, strict=False):
        saved = f"{before.seconds - step.seconds:.2f}" if step is not steps[0] else ""
        rows.append(
            [step.name, f"{step.seconds:.2f}", saved, f"{steps[0].seconds / step.seconds:.2f}", f"{step.peak:.0f}"]
        )
    return format_table(rows)


def waterfall_plot(model: str = "lite", side: int | None = None) -> Picture:
    """Draw the seconds of the plain network, what each rewrite takes off them, and what is left."""
    steps = waterfall_steps(model, side)
    side = steps[0].side
    height = 0.9 + 0.42 * (len(steps) + 1)
    figure = card(8.5, height)
    axes = figure.add_axes((0.4, 0.6 / height, 0.58, 1 - 0.75 / height))
    axes.set_facecolor("none")
    first, last = steps[0].seconds, steps[-1].seconds
    room = first * 0.015
    axes.barh(0, first, color=QUIET)
    axes.text(first - room, 0, f"{first:.2f} s", va="center", ha="right", color="white")
    for row, (before, step) in enumerate(pairwise(steps), start=1):
        saved = before.seconds - step.seconds
        axes.barh(row, -saved, left=before.seconds, color="#1d6f8c" if saved >= 0 else "#a83a20")
        axes.vlines(before.seconds, row - 1, row, color=QUIET, linewidth=0.8)
        words = f"{-saved:+.2f} s,  {first / step.seconds:.2f} {TIMES}"
        low, high = sorted((before.seconds, step.seconds))
        if low > 0.3 * first:  # where there is room
            axes.text(low - room, row, words, va="center", ha="right", color=INK)
        elif high < 0.7 * first:
            axes.text(high + room, row, words, va="center", color=INK)
        else:
            axes.text((low + high) / 2, row, words, va="center", ha="center", color="white")
    axes.barh(len(steps), last, color="#2f6d1a")
    axes.text(last + room, len(steps), f"{last:.2f} s", va="center", color=INK)
    axes.set_yticks(range(len(steps) + 1), [*(step.name for step in steps), "what is left"], color=INK)
    axes.set_ylim(len(steps) + 0.6, -0.6)
    axes.set_xlim(0, first * 1.05)
    axes.set_xlabel(f"seconds for one image of {side} {TIMES} {side} in {model}", color=INK)
    axes.tick_params(colors=INK, length=0)
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)
    said = "; ".join(f"{step.name} {step.seconds:.2f}" for step in steps)
    return Picture.of(figure, f"Seconds of one forward of {model} at {side} pixels, rewrite by rewrite: {said}.")
