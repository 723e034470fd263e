"""Times the plain network against the optimized one, by turns in one process.

    python benchmarks/speed.py                                   lite, 256 to 1024 pixels, two CPU threads
    python benchmarks/speed.py --models nano lite large resnet50 --sides 512 1024
    python benchmarks/speed.py --device cuda --dtype float16     one GPU, both under autocast

A model is a preset or the name of a backbone. "Plain" is the network as the course builds it, with torchvision's
deformable convolution, as the original has it. `--save NAME` writes the table to benchmarks/results/speed-NAME.md, and
the plot of time and memory over pixels beside it. Peak memory on a CPU is measured on Linux only. Run it on an idle
machine.
"""

import argparse
import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from deformable import (
    MIB,
    describe_machine,
    format_command,
    move_taps,
    read_peak_memory,
    read_resident_memory,
    time_by_turns,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.config import PRESETS
from birefnet_lite.network.deformable import use_backend
from birefnet_lite.optimization import optimize

KINDS = ("plain", "optimized")
RESULTS = Path(__file__).parent / "results"


def build(name: str, kind: str, device: str) -> nn.Module:
    """Build the network called `name`, with random weights."""
    torch.manual_seed(0)
    config = BiRefNetConfig.preset(name) if name in PRESETS else BiRefNetConfig(backbone=name)
    model = BiRefNet(config).eval()
    move_taps(model)
    return (model if kind == "plain" else optimize(model)).to(device)


def forward(model: nn.Module, kind: str, image: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    backend = "torchvision" if kind == "plain" else None

    def work() -> Tensor:
        half = torch.autocast(image.device.type, dtype) if dtype != torch.float32 else nullcontext()
        with torch.inference_mode(), half, use_backend(backend):
            return model(image).logits

    return work


def peak(name: str, side: int, kind: str, device: str, dtype: torch.dtype) -> float:
    """Measure the MiB that one forward takes at its peak, beyond the weights."""
    work = forward(build(name, kind, device), kind, torch.randn(1, 3, side, side, device=device), dtype)
    if device == "cuda":
        work()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    forward(build(name, kind, device), kind, torch.randn(1, 3, 64, 64), dtype)()  # what the libraries keep
    ctypes.CDLL(None).malloc_trim(0)
    read_peak_memory()
    before = read_resident_memory()
    work()
    return (read_peak_memory() - before) / MIB


def measure_peak_in_own_process(name: str, side: int, kind: str, args: argparse.Namespace) -> float:
    """Measure in a new process, since memory that an earlier measurement used would count as free."""
    command = [sys.executable, __file__, "--threads", str(args.threads), "--device", args.device]
    command += ["--dtype", args.dtype, "--peak", name, str(side), kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


@contextmanager
def time_parts(parts: dict[str, nn.Module], spent: dict[str, float], device: str) -> Iterator[None]:
    """Add the seconds that each part takes to `spent`, within the `with` block."""
    started: dict[str, float] = {}

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(name: str) -> Callable:
        return lambda module, inputs: started.__setitem__(name, now())

    def stop(name: str) -> Callable:
        return lambda module, inputs, output: spent.__setitem__(name, spent.get(name, 0) + now() - started[name])

    handles = []
    for name, part in parts.items():
        handles += [part.register_forward_pre_hook(start(name)), part.register_forward_hook(stop(name))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def describe_shares(model: nn.Module, work: Callable[[], Tensor], device: str) -> str:
    """Say how much of a forward's time each part takes. Runs two forwards, the first to warm up."""
    parts = {"backbone": model.encoder.backbone, "squeeze": model.squeeze}
    for number, stage in zip((4, 3, 2, 1), model.decoder.stages, strict=True):
        parts[f"stage {number}"] = stage
    spent: dict[str, float] = {}
    work()
    begin = time.perf_counter()
    with time_parts({name: part for name, part in parts.items() if part is not None}, spent, device):
        work()
    whole = time.perf_counter() - begin
    spent["the rest"] = whole - sum(spent.values())
    return ", ".join(f"{name} {100 * seconds / whole:.0f} %" for name, seconds in spent.items())


@register_flop_formula(torch.ops.birefnet_lite.deform_conv2d)
def _deformable_flops(input, offset, mask, weight, *args, out_shape=None, **kwargs) -> int:
    outputs, channels, height, width = weight
    return 2 * offset[0] * offset[2] * offset[3] * outputs * channels * height * width


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operators read and write, as if no cache kept anything between two of them."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        returns = function._schema.returns
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not is_view:
            results = result if isinstance(result, tuple | list) else [result]
            tensors = [t for t in (*args, *results) if isinstance(t, Tensor)]
            self.total += sum(t.numel() * t.element_size() for t in tensors)
        return result


def describe_limits(work: Callable[[], Tensor], seconds: float, device: str, dtype: torch.dtype) -> str:
    """Say how long the matrix products, and the memory traffic, of one forward would take alone (roofline)."""
    with FlopCounterMode(display=False) as counter:
        work()
    with Traffic() as traffic:
        work()
    n = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    large = torch.empty(1 << 26, device=device)
    product, copy = time_by_turns([lambda: a @ b, large.clone], device, budget=3)
    rate, bandwidth = 2 * n**3 / product, 2 * large.numel() * large.element_size() / copy
    flops = counter.get_total_flops()
    arithmetic, memory = flops / rate, traffic.total / bandwidth
    return (
        f"{flops / 2e9:.1f} GMAC at this machine's {rate / 2e9:.0f} GMAC/s of a large matrix product take "
        f"{arithmetic:.3f} s, {100 * arithmetic / seconds:.0f} % of the time; {traffic.total / 1e9:.1f} GB between "
        f"operators at {bandwidth / 1e9:.1f} GB/s of a large copy take {memory:.3f} s, {100 * memory / seconds:.0f} %."
    )


def measure(name: str, side: int, args: argparse.Namespace) -> tuple[list[float], list[float], list[str]]:
    """Measure seconds and MiB of both kinds, and write lines about the parts and the limits."""
    dtype = getattr(torch, args.dtype)
    image = torch.randn(1, 3, side, side, device=args.device)
    models = [build(name, kind, args.device) for kind in KINDS]
    works = [forward(model, kind, image, dtype) for model, kind in zip(models, KINDS, strict=True)]
    times = time_by_turns(works, args.device, args.budget)
    wanted, got = (work().float() for work in works)
    notes = [f"{name}, {side} x {side}:", ""]
    notes.append(f"- largest difference {(got - wanted).abs().max() / wanted.abs().max():.1e} of the largest logit")
    for model, kind, work in zip(models, KINDS, works, strict=True):
        notes.append(f"- {kind}: {describe_shares(model, work, args.device)}")
    notes.append(f"- {describe_limits(works[1], times[1], args.device, dtype)}")
    notes.append("")
    del models, works
    measurable = args.device == "cuda" or Path("/proc/self/clear_refs").exists()
    memory = [measure_peak_in_own_process(name, side, kind, args) if measurable else float("nan") for kind in KINDS]
    return times, memory, notes


def plot(rows: list[tuple[str, int, list[float], list[float]]], path: Path) -> None:
    """Plot time and memory over pixels, with logarithmic axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for name in dict.fromkeys(row[0] for row in rows):
        for i, kind in enumerate(KINDS):
            mine = [row for row in rows if row[0] == name]
            for axis, column in zip(axes, (2, 3), strict=True):
                pixels = [row[1] ** 2 for row in mine]
                axis.loglog(pixels, [row[column][i] for row in mine], "o-", label=f"{name}, {kind}")
    for axis, label in zip(axes, ("seconds", "MiB at the peak, beyond the weights"), strict=True):
        axis.set(xlabel="pixels", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["lite"])
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds for each model and size, about")
    parser.add_argument("--save", metavar="NAME")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        name, side, kind = args.peak
        print(peak(name, int(side), kind, args.device, getattr(torch, args.dtype)))
        return
    head = f"{describe_machine(args.device)}; torch {torch.__version__}; `{format_command(args.save)}`"
    lines = ["# Plain and optimized networks", "", head, ""]
    lines.append("| model | side | plain | optimized | ratio | peak, plain | optimized | ratio |")
    lines.append("|---|---|---|---|---|---|---|---|")
    rows, notes = [], [""]
    for name in args.models:
        for side in args.sides:
            times, memory, about = measure(name, side, args)
            before, after = (f"{1000 * t:.0f} ms" for t in times)
            large, little = (f"{m:.0f} MiB" for m in memory)
            ratios = times[0] / times[1], memory[0] / memory[1]
            lines.append(
                f"| {name} | {side} | {before} | {after} | {ratios[0]:.2f} | {large} | {little} | {ratios[1]:.1f} |"
            )
            print("\n".join([lines[-1], *about]), flush=True)
            rows.append((name, side, times, memory))
            notes += about
    if args.save:
        (RESULTS / f"speed-{args.save}.md").write_text("\n".join(lines + notes).rstrip() + "\n", encoding="utf-8")
        plot(rows, RESULTS / f"speed-{args.save}.png")


if __name__ == "__main__":
    main()
