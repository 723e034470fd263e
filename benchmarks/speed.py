"""Times the plain network against the optimized one by turns in one process, and then onnxruntime with our export.

    python benchmarks/speed.py                                   nano and lite, 256 to 1024 pixels, two CPU threads
    python benchmarks/speed.py --models large resnet50 --sides 512 1024
    python benchmarks/speed.py --device cuda --dtype float16     one GPU, both under autocast, without onnxruntime

A model is a preset or the name of a backbone. "Plain" is the network as the course builds it, with torchvision's
deformable convolution, as the original has it. `--save NAME` writes the table to benchmarks/results/speed-NAME.md, and
the plot of time and memory over pixels beside it. Seconds are medians. Run it on an idle machine; the defaults take
seven minutes on two cores. Where the time goes is measured by `account.py`, and what each rewrite brings by
`waterfall.py`.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from deformable import describe_machine, format_command, time_by_turns
from networks import OPTIMIZED, PLAIN, build, forward, measure_peak_in_own_process
from torch import Tensor

from birefnet_lite.inference.export import export_onnx

KINDS = (PLAIN, OPTIMIZED)
LEAST_ONNX = 512
"""onnxruntime is measured from this side on: the export of a network takes half a minute."""
RESULTS = Path(__file__).parent / "results"


class Row(NamedTuple):
    """The measurements of one network at one size."""

    name: str
    side: int
    seconds: list[float]
    """Plain and optimized."""
    memory: list[float]
    """MiB at the peak, plain and optimized."""
    difference: float
    """Largest difference from the plain network's logits, as a fraction of their largest."""
    onnxruntime: float = math.nan
    """Seconds with onnxruntime, if measured."""


def time_onnxruntime(row: Row, args: argparse.Namespace) -> Row:
    """Export the network of a row, and time it in onnxruntime on the CPU.

    A process that has exported a network runs PyTorch up to a fifth slower, so this comes after all other measurements.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    image = torch.randn(1, 3, row.side, row.side)
    plain, optimized = (build(row.name, kind) for kind in KINDS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(optimized, path, size=row.side)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {"image": image.numpy()}
    (got,) = session.run(None, inputs)
    difference = measure_difference(torch.from_numpy(got), forward(plain, PLAIN, image)())
    (seconds,) = time_by_turns([lambda: session.run(None, inputs)], "cpu", args.budget / 3)
    return row._replace(onnxruntime=seconds, difference=max(row.difference, difference))


def measure_difference(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a fraction of the largest number."""
    return float((got.float() - wanted.float()).abs().max() / wanted.abs().max())


def measure(name: str, side: int, args: argparse.Namespace) -> Row:
    """Measure one network at one size."""
    dtype = getattr(torch, args.dtype)
    image = torch.randn(1, 3, side, side, device=args.device)
    models = [build(name, kind, args.device) for kind in KINDS]
    works = [forward(model, kind, image, dtype) for model, kind in zip(models, KINDS, strict=True)]
    seconds = time_by_turns(works, args.device, args.budget)
    wanted, got = (work() for work in works)
    difference = measure_difference(got, wanted)
    del models, works
    memory = [measure_peak_in_own_process(name, side, kind, args.threads, args.device, args.dtype) for kind in KINDS]
    return Row(name, side, seconds, memory, difference)


def format_row(row: Row) -> str:
    """Write the measurements as a line of the table."""
    plain, optimized = row.seconds
    runtime = "" if math.isnan(row.onnxruntime) else f"{1000 * row.onnxruntime:.0f} ms"
    large, little = row.memory
    return (
        f"| {row.name} | {row.side} | {1000 * plain:.0f} ms | {1000 * optimized:.0f} ms | {plain / optimized:.2f} "
        f"| {runtime} | {large:.0f} MiB | {little:.0f} MiB | {large / little:.1f} | {row.difference:.0e} |"
    )


def plot(rows: list[Row], path: Path) -> None:
    """Plot time and memory over pixels, with logarithmic axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for name in dict.fromkeys(row.name for row in rows):
        mine = [row for row in rows if row.name == name]
        pixels = [row.side**2 for row in mine]
        for i, kind in enumerate(KINDS):
            axes[0].loglog(pixels, [row.seconds[i] for row in mine], "o-", label=f"{name}, {kind}")
            axes[1].loglog(pixels, [row.memory[i] for row in mine], "o-", label=f"{name}, {kind}")
    for axis, label in zip(axes, ("seconds", "MiB at the peak, beyond the weights"), strict=True):
        axis.set(xlabel="pixels", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["nano", "lite"])
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each model and size, about")
    parser.add_argument("--save", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head = f"{describe_machine(args.device)}; torch {torch.__version__}; `{format_command(args.save)}`"
    lines = ["# Plain and optimized networks", "", head, ""]
    lines.append(
        "| model | side | plain | optimized | ratio | onnxruntime | peak, plain | optimized | ratio | difference |"
    )
    lines.append("|" + "---|" * 10)
    rows = []
    for name in args.models:
        for side in args.sides:
            rows.append(measure(name, side, args))
            print(format_row(rows[-1]), flush=True)
    if (args.device, args.dtype) == ("cpu", "float32"):
        rows = [row if row.side < LEAST_ONNX else time_onnxruntime(row, args) for row in rows]
    lines += map(format_row, rows)
    print(*lines, sep="\n")
    lines += ["", "The difference is the largest one of the logits, as a fraction of the plain network's largest."]
    if args.save:
        (RESULTS / f"speed-{args.save}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        plot(rows, RESULTS / f"speed-{args.save}.png")


if __name__ == "__main__":
    main()
