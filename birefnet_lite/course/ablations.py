"""Results of `benchmarks/ablations.py`, training without one part at a time, as a table and a plot."""

import csv
import statistics
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from birefnet_lite.course.picture import INK, QUIET, Picture, card

__all__ = ["METRICS", "RESULTS", "Change", "ablation_changes", "ablation_plot", "ablation_runs", "ablation_table"]

RESULTS = resources.files("birefnet_lite") / "course" / "ablations.csv"
METRICS = ("s_measure", "weighted_f", "mae")
_TITLES = {"s_measure": "S-measure", "weighted_f": "weighted F", "mae": "MAE"}
_FULL = "full network"


class Change(NamedTuple):
    """The score of a variant, and its difference from the full network trained with the same seed."""

    variant: str
    seeds: int
    mean: float
    difference: float
    spread: float
    """Standard deviation of the difference over the seeds; 0 with one seed."""


def ablation_runs() -> list[dict[str, str]]:
    """The finished runs: one row for each variant and seed, with its scores, as text."""
    if not RESULTS.is_file():
        raise FileNotFoundError("There are no ablation results. `python benchmarks/ablations.py` makes them.")
    return list(csv.DictReader(RESULTS.read_text(encoding="utf-8").splitlines()))


def ablation_changes(metric: str, variants: Sequence[str] | None = None) -> list[Change]:
    """Each variant against the full network, seed by seed, so that what a seed does to both cancels.

    Raises ValueError for a metric or a variant that was not run.
    """
    if metric not in METRICS:
        raise ValueError(f"{metric!r} was not measured; there are {', '.join(METRICS)}.")
    scores: dict[str, dict[str, float]] = {}
    for row in ablation_runs():
        scores.setdefault(row["variant"], {})[row["seed"]] = float(row[metric])
    full = scores[_FULL]
    changes = []
    for name in variants or scores:
        if name not in scores:
            raise ValueError(f"There is no variant {name!r}; there are {', '.join(scores)}.")
        paired = {seed: value for seed, value in scores[name].items() if seed in full}
        differences = [value - full[seed] for seed, value in paired.items()]
        spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
        mean = statistics.fmean(paired.values())
        changes.append(Change(name, len(paired), mean, statistics.fmean(differences), spread))
    return changes


def ablation_table(variants: Sequence[str] | None = None) -> str:
    """The scores as a Markdown table: mean, and in brackets the difference to the full network ± its spread."""
    columns = {metric: ablation_changes(metric, variants) for metric in METRICS}
    lines = [
        "| variant | seeds | " + " | ".join(_TITLES[metric] for metric in METRICS) + " |",
        "|---|---|" + "---|" * len(METRICS),
    ]
    for row in zip(*columns.values(), strict=True):
        cells = [
            f"{c.mean:.3f}" + ("" if c.variant == _FULL else f" ({c.difference:+.3f} ± {c.spread:.3f})") for c in row
        ]
        lines.append(f"| {row[0].variant} | {row[0].seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ablation_plot(metric: str = "s_measure", variants: Sequence[str] | None = None) -> Picture:
    """Plot each variant's difference from the full network: the mean as a dot, its spread over the seeds as a line."""
    changes = [c for c in ablation_changes(metric, variants) if c.variant != _FULL][::-1]
    figure = card(8, 0.9 + 0.42 * len(changes))
    axes = figure.add_axes((0.34, 0.6 / figure.get_figheight(), 0.62, 1 - 0.75 / figure.get_figheight()))
    axes.set_facecolor("none")
    axes.axvline(0, color=QUIET, linewidth=1)
    rows = range(len(changes))
    axes.errorbar(
        [c.difference for c in changes], rows, xerr=[c.spread for c in changes], fmt="o", color="#1d6f8c", capsize=4
    )
    axes.set_yticks(rows, [c.variant for c in changes], color=INK)
    axes.set_ylim(-0.6, len(changes) - 0.4)
    axes.set_xlabel(f"change of the {_TITLES[metric]} against the full network", color=INK)
    axes.tick_params(colors=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    said = "; ".join(f"{c.variant} {c.difference:+.3f} ± {c.spread:.3f}" for c in reversed(changes))
    return Picture.of(figure, f"Change of the {_TITLES[metric]} against the full network: {said}.")
