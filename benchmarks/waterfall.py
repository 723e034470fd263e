"""Measure a network with one rewrite of `optimize` after another: the data of a waterfall plot of speed and memory.

    python benchmarks/waterfall.py                      lite and nano, 1024 pixels, two CPU threads: eight minutes
    python benchmarks/waterfall.py --sides 512 --threads 1 --cpu-time      on a busy machine

All networks run by turns in one process, so that a busy machine disturbs them alike; seconds are medians. Results go to
birefnet_lite/course/waterfall.csv and replace those of the same model and size.
"""

import argparse
import csv
import io
import time
from pathlib import Path

import deformable
import torch
from deformable import describe_machine, time_by_turns
from networks import KINDS, PLAIN, build, forward, measure_peak_in_own_process

from birefnet_lite.course.waterfall import FIELDS, RESULTS, waterfall_table
from birefnet_lite.output import write_text


def measure(name: str, side: int, threads: int, budget: float, machine: str) -> list[dict[str, str]]:
    """Measure all kinds of one network at one size: rows of the results."""
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    works = [forward(build(name, kind), kind, image) for kind in KINDS]
    times = time_by_turns(works, "cpu", budget)
    wanted = works[0]()
    rows = []
    for kind, seconds, work in zip(KINDS, times, works, strict=True):
        error = float((work() - wanted).abs().max() / wanted.abs().max()) if kind != PLAIN else 0.0
        peak = measure_peak_in_own_process(name, side, kind, threads)
        values = (name, side, kind, f"{seconds:.4f}", f"{peak:.0f}", f"{error:.1e}")
        rows.append(dict(zip(FIELDS, [*map(str, values), machine, torch.__version__], strict=True)))
    return rows


def merge(rows: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put new rows in the place of those of the same model and size."""
    measured = {(row["model"], row["side"]) for row in new}
    return [row for row in rows if (row["model"], row["side"]) not in measured] + new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lite", "nano"])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each model and size, about")
    parser.add_argument("--cpu-time", action="store_true", help="count the process's own time")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.cpu_time:
        deformable.clock = time.process_time
    machine = describe_machine("cpu") + (", the process's own time" if args.cpu_time else "")
    path = Path(str(RESULTS))
    for name in args.models:
        for side in args.sides:
            rows = []
            if path.exists():
                rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
            stream = io.StringIO()
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(merge(rows, measure(name, side, args.threads, args.budget, machine)))
            write_text(path, stream.getvalue())
            print(waterfall_table(name, side), flush=True)


if __name__ == "__main__":
    main()
