"""Where the time of one forward goes: by kind of operation, by part of the network, and against the machine's limits.

    python benchmarks/account.py                                     lite, 1024 pixels, two CPU threads: two minutes
    python benchmarks/account.py --models nano lite --sides 512 1024

Times of operators come from PyTorch's profiler. `--save NAME` writes the tables to benchmarks/results/account-NAME.md.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from deformable import describe_machine, format_command, time_by_turns
from networks import OPTIMIZED, PLAIN, build, forward
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from birefnet_lite.network.deformable import cpu
from birefnet_lite.network.deformable.sampling import Sampler

RESULTS = Path(__file__).parent / "results"

PRODUCTS, SAMPLING, ATTENTION = "matrix products and convolutions", "deformable sampling", "attention in windows"
RESIZE, NORMS = "resizing", "layer and batch norms"
COPIES, ELEMENTWISE, REST = "copies, gathers, concatenations", "elementwise", "Python and the rest"
OPERATORS = {
    PRODUCTS: ("mkldnn_convolution", "convolution", "addmm", "mm", "bmm", "baddbmm", "linear", "thnn_conv2d"),
    ATTENTION: ("scaled_dot_product", "softmax"),
    RESIZE: ("upsample",),
    NORMS: ("layer_norm", "batch_norm"),
    COPIES: ("copy", "cat", "index_select", "index_copy", "clone", "pad", "contiguous", "fill", "roll", "index"),
    ELEMENTWISE: ("add", "sub", "mul", "div", "relu", "gelu", "sigmoid", "mean", "sum", "clamp", "floor"),
}
"""Kinds of operation, and words in the names of PyTorch's operators; the first kind that fits is taken."""


@contextmanager
def label_sampling() -> Iterator[None]:
    """Name the steps of deformable sampling in the profile, also where they run outside of the operator."""

    def label(function: Callable) -> Callable:
        def labelled(*args):
            with record_function("deform_conv2d"):
                return function(*args)

        return labelled

    steps = [(cpu, "_table"), (cpu, "_gather"), (Sampler, "__init__"), (Sampler, "__call__")]
    with ExitStack() as stack:
        for owner, name in steps:
            stack.enter_context(patch.object(owner, name, label(getattr(owner, name))))
        yield


def kind_of(event: FunctionEvent) -> str:
    """Say what kind of operation an operator is; in a deformable convolution all but the product is sampling."""
    name = event.name.split("::")[-1].strip("_")
    kind = next((kind for kind, words in OPERATORS.items() if any(word in name for word in words)), REST)
    if kind != PRODUCTS:
        outer: FunctionEvent | None = event
        while outer is not None:
            if "deform_conv2d" in outer.name:
                return SAMPLING
            outer = outer.cpu_parent
    return kind


def time_kinds(work: Callable[[], Tensor]) -> dict[str, float]:
    """Return the seconds of one forward for each kind of operation. What no operator takes is Python."""
    with label_sampling(), profile(activities=[ProfilerActivity.CPU]) as seen:
        begin = time.perf_counter()
        work()
        whole = time.perf_counter() - begin
    spent = dict.fromkeys((PRODUCTS, SAMPLING, *OPERATORS, REST), 0.0)
    for event in seen.events():
        spent[kind_of(event)] += event.self_cpu_time_total / 1e6
    spent[REST] += max(0.0, whole - sum(spent.values()))
    return spent


@contextmanager
def time_parts(parts: dict[str, nn.Module], spent: dict[str, float]) -> Iterator[None]:
    """Add the seconds that each part takes to `spent`, within the `with` block."""
    started: dict[str, float] = {}

    def start(name: str) -> Callable:
        return lambda module, inputs: started.__setitem__(name, time.perf_counter())

    def stop(name: str) -> Callable:
        def add(module: nn.Module, inputs: object, output: object) -> None:
            spent[name] = spent.get(name, 0) + time.perf_counter() - started[name]

        return add

    handles = []
    for name, part in parts.items():
        handles += [part.register_forward_pre_hook(start(name)), part.register_forward_hook(stop(name))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def describe_shares(model: nn.Module, work: Callable[[], Tensor]) -> str:
    """Say how much of a forward's time each part of the network takes."""
    parts = {"backbone": model.encoder.backbone, "squeeze": model.squeeze}
    for number, stage in zip((4, 3, 2, 1), model.decoder.stages, strict=True):
        parts[f"stage {number}"] = stage
    spent: dict[str, float] = {}
    begin = time.perf_counter()
    with time_parts({name: part for name, part in parts.items() if part is not None}, spent):
        work()
    whole = time.perf_counter() - begin
    spent["the rest"] = whole - sum(spent.values())
    return ", ".join(f"{name} {100 * seconds / whole:.0f} %" for name, seconds in spent.items())


@register_flop_formula(torch.ops.birefnet_lite.deform_conv2d)
def _deformable_flops(input, offset, mask, weight, *args, out_shape=None, **kwargs) -> int:
    outputs, channels, height, width = weight
    return 2 * offset[0] * offset[2] * offset[3] * outputs * channels * height * width


@register_flop_formula(torch.ops.aten.addmm_)
def _addmm_flops(total, a, b, *args, out_shape=None, **kwargs) -> int:
    return 2 * a[0] * a[1] * b[1]


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


def describe_limits(work: Callable[[], Tensor], seconds: float) -> str:
    """Say how long the matrix products, and the memory traffic, of one forward would take alone (roofline)."""
    with FlopCounterMode(display=False) as counter:
        work()
    with Traffic() as traffic:
        work()
    a, b = (torch.randn(2048, 2048) for _ in range(2))
    large = torch.empty(1 << 26)
    product, copy = time_by_turns([lambda: a @ b, large.clone], "cpu", budget=3)
    rate, bandwidth = 2 * 2048**3 / product, 2 * large.numel() * large.element_size() / copy
    arithmetic, memory = counter.get_total_flops() / rate, traffic.total / bandwidth
    return (
        f"{counter.get_total_flops() / 2e9:.1f} GMAC at this machine's {rate / 2e9:.0f} GMAC/s of a large matrix "
        f"product take {arithmetic:.3f} s, {100 * arithmetic / seconds:.0f} % of the time; {traffic.total / 1e9:.1f} "
        f"GB between operators at {bandwidth / 1e9:.1f} GB/s of a large copy take {memory:.3f} s, "
        f"{100 * memory / seconds:.0f} %"
    )


def account(name: str, side: int) -> list[str]:
    """Write the account of one network at one size: a table, and lines about parts and limits."""
    image = torch.randn(1, 3, side, side)
    spent: dict[str, dict[str, float]] = {}
    notes = []
    for kind in (PLAIN, OPTIMIZED):
        model = build(name, kind)
        work = forward(model, kind, image)
        work()
        spent[kind] = time_kinds(work)
        notes.append(f"- {kind}: {describe_shares(model, work)}")
    notes.append(f"- optimized: {describe_limits(work, sum(spent[OPTIMIZED].values()))}")
    whole = {kind: sum(seconds.values()) for kind, seconds in spent.items()}
    lines = [
        f"{name}, {side} x {side}:",
        "",
        "| seconds of one forward | plain | | optimized | |",
        "|---|---|---|---|---|",
    ]
    for operation in spent[PLAIN]:
        cells = [f"{spent[k][operation]:.2f} | {100 * spent[k][operation] / whole[k]:.0f} %" for k in spent]
        lines.append(f"| {operation} | {' | '.join(cells)} |")
    lines.append(f"| all | {whole[PLAIN]:.2f} | | {whole[OPTIMIZED]:.2f} | |")
    return [*lines, "", *notes, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lite"])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head = f"{describe_machine('cpu')}; torch {torch.__version__}; `{format_command(args.save)}`"
    lines = ["# Where the time goes", "", head, ""]
    for name in args.models:
        for side in args.sides:
            lines += account(name, side)
            print("\n".join(lines[-20:]), flush=True)
    if args.save:
        (RESULTS / f"account-{args.save}.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
