"""Times deformable convolution against torchvision's operator, the two by turns in one process.

    python benchmarks/deformable.py                     two CPU threads
    python benchmarks/deformable.py --device cuda       one GPU: float32, float16, bfloat16
    python benchmarks/deformable.py --model lite        a whole network instead: forward and training step

`--save NAME` writes the table to benchmarks/results/deformable-NAME.md. Peak memory on a CPU is measured on Linux only.
"""

import argparse
import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from birefnet_lite.network.deformable import DeformableConv2d, deform_conv2d, use_backend

# B, C, O, side, kernel: the two outer sizes of a 512 x 512 picture's largest block, then a small network in training.
CASES = [
    (1, 64, 256, 128, 7),
    (1, 64, 256, 128, 3),
    (1, 64, 256, 128, 1),
    (8, 32, 32, 8, 1),
    (8, 32, 32, 8, 3),
    (8, 32, 32, 8, 7),
    (8, 32, 32, 32, 3),
    (8, 64, 64, 32, 7),
    (16, 64, 64, 64, 1),
    (16, 64, 64, 64, 3),
]
MIB = 1 << 20
clock = time.perf_counter


def draw_tensors(case: tuple[int, ...], device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Draw input, offset, mask and weight; the offsets have a standard deviation of two pixels."""
    b, c, o, side, k = case
    g = torch.Generator().manual_seed(0)
    drawn = [
        torch.randn(b, c, side, side, generator=g),
        2 * torch.randn(b, 2 * k * k, side, side, generator=g),
        2 * torch.rand(b, k * k, side, side, generator=g),
        torch.randn(o, c, k, k, generator=g) / (c**0.5 * k),
    ]
    return [t.to(device, dtype).requires_grad_() for t in drawn]


def run(inputs: list[torch.Tensor], backend: str | None) -> torch.Tensor:
    x, offset, mask, weight = inputs
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask, backend=backend)


def time_once(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def time_by_turns(works: list[Callable[[], object]], device: str, budget: float) -> list[float]:
    """Return the median seconds of each, run by turns after one turn to warm up, for about `budget` seconds in all."""
    turn = [time_once(work, device) for work in works]
    rounds = min(50, max(3, int(budget / sum(turn))))
    times = [[time_once(work, device) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def speed(case: tuple[int, ...], device: str, dtype: torch.dtype, budget: float) -> list[float]:
    """Return milliseconds: forward of torchvision and of this package, then backward of both."""
    inputs = draw_tensors(case, device, dtype)
    outputs = [run(inputs, backend) for backend in ("torchvision", None)]
    grad = torch.randn_like(outputs[0])

    def forward(backend: str | None) -> Callable[[], object]:
        def work() -> None:
            with torch.no_grad():
                run(inputs, backend)

        return work

    def backward(output: torch.Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(output, inputs, grad, retain_graph=True)

    forwards = time_by_turns([forward("torchvision"), forward(None)], device, budget)
    backwards = time_by_turns([backward(output) for output in outputs], device, budget)
    return [1000 * t for t in forwards + backwards]


def read_peak_memory() -> int:
    """Return the largest resident memory of this process since the last call, in bytes (Linux only)."""
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def read_resident_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def peak(case: tuple[int, ...], backend: str | None, step: str, device: str, dtype: torch.dtype) -> float:
    """Measure the MiB that a forward or backward takes at its peak, beyond its arguments and results."""
    inputs = draw_tensors(case, device, dtype)
    run(inputs, backend).sum().backward()  # what the matrix library takes once and keeps is not counted
    inputs = draw_tensors(case, device, dtype)
    with torch.set_grad_enabled(step == "backward"):
        if step == "backward":
            output = run(inputs, backend)
            grad = torch.ones_like(output)

            def work() -> list[torch.Tensor]:
                return list(torch.autograd.grad(output, inputs, grad))
        else:

            def work() -> list[torch.Tensor]:
                return [run(inputs, backend)]

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            results = work()
            high = torch.cuda.max_memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what is taken now
            read_peak_memory()
            before = read_resident_memory()
            results = work()
            high = read_peak_memory()
    return (high - before - sum(t.numel() * t.element_size() for t in results)) / MIB


def measure_peak_in_own_process(case: tuple[int, ...], backend: str | None, step: str) -> float:
    """Measure in a new process, since memory that an earlier measurement used would count as free.

    The C library gives freed blocks back at once there, so that what is counted is what is in use.
    """
    words = [str(n) for n in case] + [step, str(backend)]
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--peak", *words]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB // 4)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def compare(args: argparse.Namespace) -> list[str]:
    lines = [
        "| dtype | B | C | O | side | kernel | forward before | after | ratio | backward before | after | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    dtypes = [torch.float32, torch.float16, torch.bfloat16] if args.device == "cuda" else [torch.float32]
    for dtype in dtypes:
        for case in CASES:
            f0, f1, b0, b1 = speed(case, args.device, dtype, args.budget)
            sizes = " | ".join(str(n) for n in case)
            times = f"{f0:.2f} ms | {f1:.2f} ms | {f0 / f1:.1f} | {b0:.2f} ms | {b1:.2f} ms | {b0 / b1:.1f}"
            lines.append(f"| {str(dtype).removeprefix('torch.')} | {sizes} | {times} |")
            print(lines[-1], flush=True)
    if args.device == "cpu" and not Path("/proc/self/clear_refs").exists():
        return lines
    lines += ["", "| peak memory beyond arguments and results | torchvision | own | ratio |", "|---|---|---|---|"]
    for step in ("forward", "backward"):
        if args.device == "cuda":
            theirs, ours = (peak(CASES[0], b, step, "cuda", torch.float32) for b in ("torchvision", None))
        else:
            theirs, ours = (measure_peak_in_own_process(CASES[0], b, step) for b in ("torchvision", None))
        lines.append(f"| {step}, kernel 7, side 128 | {theirs:.1f} MiB | {ours:.1f} MiB | 1/{theirs / ours:.1f} |")
    return lines


WAYS = {"torchvision": ("torchvision", False), "own": (None, False), "own, recomputing": (None, True)}
"""Backend of the deformable convolutions; whether activations are recomputed in the backward."""


def network(args: argparse.Namespace) -> list[str]:
    """Time a whole network's forward and training step, with torchvision's operator and with this package's."""
    model = build_network(args.model).to(args.device)
    one, two = (torch.randn(b, 3, args.side, args.side, device=args.device) for b in (1, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0)

    def forward(way: str) -> Callable[[], object]:
        def work() -> None:
            with torch.inference_mode(), use_backend(WAYS[way][0]):
                model.eval()(one)

        return work

    def step(way: str) -> Callable[[], object]:
        def work() -> None:
            run_training_step(model, two, way)
            optimizer.step()
            optimizer.zero_grad()

        return work

    first, *others = WAYS
    heads = "".join(f" | {way} | ratio" for way in others)
    lines = [f"| {args.model}, {args.side} x {args.side} | {first}{heads} |", "|---" * 6 + "|"]
    before, after = time_by_turns([forward("torchvision"), forward("own")], args.device, args.budget)
    lines.append(f"| forward, one image | {before:.2f} s | {after:.2f} s | {before / after:.2f} | | |")
    before, *after = time_by_turns([step(way) for way in WAYS], args.device, args.budget)
    ratios = " | ".join(f"{t:.2f} s | {before / t:.2f}" for t in after)
    lines.append(f"| training step, two images | {before:.2f} s | {ratios} |")
    if args.device == "cpu" and Path("/proc/self/clear_refs").exists():
        before, *after = (measure_step_peak_in_own_process(args, way) for way in WAYS)
        ratios = " | ".join(f"{m:.0f} MiB | 1/{before / m:.2f}" for m in after)
        lines.append(f"| its peak memory | {before:.0f} MiB | {ratios} |")
    # In float32 a ReLU that rounding tips over changes whole gradients, whichever operator is used.
    model, small = model.double(), two[..., :128, :128].double()
    gradients = []
    for way in WAYS:
        torch.manual_seed(1)  # the same dropout
        run_training_step(model, small, way)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
    # A bias in front of a batch norm has no gradient but rounding: what is below this counts as zero.
    zero = 1e-5 * max(b.abs().max() for b in gradients[0])
    largest = max(
        (a - b).abs().max() / b.abs().max().clamp(min=zero)
        for other in gradients[1:]
        for b, a in zip(gradients[0], other, strict=True)
    )
    lines += ["", f"In float64 gradients differ by {largest:.1e} of each parameter's largest, at most."]
    return lines


def build_network(name: str) -> torch.nn.Module:
    """Build a preset with random weights whose taps have moved."""
    from birefnet_lite import BiRefNet, BiRefNetConfig

    torch.manual_seed(0)
    model = BiRefNet(BiRefNetConfig.preset(name))
    move_taps(model)
    return model


def move_taps(model: torch.nn.Module) -> None:
    """Draw random offsets: those of a new layer are zero, and read from the cache more often than a trained layer's."""
    for module in model.modules():
        if isinstance(module, DeformableConv2d):
            torch.nn.init.normal_(module.offset_conv.weight, std=module.offset_conv.weight[0].numel() ** -0.5)


def run_training_step(model: torch.nn.Module, images: torch.Tensor, way: str) -> None:
    """Run the forward and backward of one training step."""
    from birefnet_lite.training.recompute import recompute_activations

    backend, recompute = WAYS[way]
    recompute_activations(model, recompute)
    with use_backend(backend):
        out = model.train()(images)
        maps = (out.logits, *out.side_logits, *out.gradient_logits)
        sum(m.square().mean() for m in maps).backward()


def step_peak(name: str, side: int, way: str) -> float:
    """Measure the MiB that one training step takes at its peak, beyond the weights."""
    model, images = build_network(name), torch.randn(2, 3, side, side)
    run_training_step(model, images[..., :64, :64], way)  # what the libraries and the gradients keep
    model.zero_grad()
    ctypes.CDLL(None).malloc_trim(0)
    read_peak_memory()
    before = read_resident_memory()
    run_training_step(model, images, way)
    return (read_peak_memory() - before) / MIB


def measure_step_peak_in_own_process(args: argparse.Namespace, way: str) -> float:
    command = [sys.executable, __file__, "--threads", str(args.threads), "--model", args.model]
    command += ["--side", str(args.side), "--step-peak", way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def describe_machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{torch.get_num_threads()} threads, {names[0] if names else platform.processor()}"


def format_command(save: str | None) -> str:
    """Return the command of this run, without `--save`."""
    words = sys.argv[1:]
    if save:
        i = words.index("--save")
        del words[i : i + 2]
    return " ".join((f"python benchmarks/{Path(sys.argv[0]).name}", *words))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for each line and direction, about")
    parser.add_argument("--cpu-time", action="store_true", help="count the process's own time, on a busy machine")
    parser.add_argument("--model", help="a preset, such as lite")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--save", metavar="NAME")
    parser.add_argument("--peak", nargs=7, help=argparse.SUPPRESS)
    parser.add_argument("--step-peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.cpu_time:
        global clock
        clock = time.process_time
    if args.peak:
        *case, step, backend = args.peak
        print(peak(tuple(map(int, case)), None if backend == "None" else backend, step, "cpu", torch.float32))
        return
    if args.step_peak:
        print(step_peak(args.model, args.side, args.step_peak))
        return
    command = format_command(args.save)
    title = f"# Deformable convolution in {args.model}" if args.model else "# Deformable convolution"
    lines = [title, "", f"{describe_machine(args.device)}; torch {torch.__version__}; `{command}`", ""]
    if args.cpu_time:
        lines += ["Times are the process's own (the machine had other work).", ""]
    lines += network(args) if args.model else compare(args)
    print("\n".join(lines))
    if args.save:
        path = Path(__file__).parent / "results" / f"deformable-{args.save}.md"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
