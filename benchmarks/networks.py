"""The networks that `speed.py` and `waterfall.py` time: a model as the course builds it, rewritten step by step.

`python benchmarks/networks.py MODEL SIDE KIND` prints the peak memory of one forward, as both programs measure it.
"""

import argparse
import ctypes
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from deformable import MIB, move_taps, read_peak_memory, read_resident_memory
from torch import Tensor, nn

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.config import PRESETS
from birefnet_lite.network.aspp import ASPP, DeformableASPP
from birefnet_lite.network.backbone.convnets import ConvNet
from birefnet_lite.network.backbone.swin import SwinTransformer
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.deformable import use_backend
from birefnet_lite.network.refinement import InwardReference
from birefnet_lite.optimization import optimize
from birefnet_lite.optimization.aspp import rewrite_aspp
from birefnet_lite.optimization.convolutions import fold_batch_norms
from birefnet_lite.optimization.decoder import Block, Image
from birefnet_lite.optimization.swin import rewrite_swin

PLAIN, CHANNELS_FIRST, OPTIMIZED = "plain", "optimized, channels first", "optimized"


def replace(model: nn.Module, kinds: tuple[type, ...], rewrite: Callable[[nn.Module], nn.Module]) -> None:
    """Replace all modules of some classes in a model by their rewritten forms."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, kinds):
                setattr(module, name, rewrite(child))


def rewrite_backbone(model: BiRefNet) -> None:
    """Rewrite the backbone: a Swin transformer's stages, or a convolutional network's batch norms."""
    backbone = model.encoder.backbone
    if isinstance(backbone, SwinTransformer):
        rewrite_swin(backbone)
    elif isinstance(backbone, ConvNet):
        fold_batch_norms(backbone)


STEPS: dict[str, Callable[[BiRefNet], None]] = {
    "deformable convolution in blocks": lambda model: None,
    "ASPP without concatenation": lambda model: replace(model, (ASPP, DeformableASPP), rewrite_aspp),
    "backbone": rewrite_backbone,
    "image branches as 5x5 convolutions": lambda model: replace(model, (InwardReference,), Image),
    "batch norms folded": lambda model: replace(
        model, (BasicBlock,), lambda block: Block(block, [block.conv_in.in_channels])
    ),
}
"""The rewrites of `optimize` that fit into the plain network, each in place, in the order in which they are added.

The first one is the operator, which is chosen by `forward`. What is left after the last one needs the whole network's
form: head and lateral blocks in front of the enlargements, and no concatenations. Only in that form it pays to order
the channels last.
"""
KINDS = (PLAIN, *STEPS, CHANNELS_FIRST, OPTIMIZED)
"""From the original's way of computing to `optimize`, each kind with one rewrite more than the one before."""


def build(name: str, kind: str, device: str = "cpu") -> nn.Module:
    """Build the network called `name`, a preset or a backbone, with random weights, rewritten up to `kind`."""
    torch.manual_seed(0)
    config = BiRefNetConfig.preset(name) if name in PRESETS else BiRefNetConfig(backbone=name)
    model: nn.Module = BiRefNet(config).eval()
    move_taps(model)
    if kind == OPTIMIZED:
        return optimize(model).to(device)
    if kind == CHANNELS_FIRST:
        return optimize(model).to(device, memory_format=torch.contiguous_format)
    for step in list(STEPS)[: KINDS.index(kind)]:
        STEPS[step](model)
    return model.requires_grad_(False).to(device)


def forward(model: nn.Module, kind: str, image: Tensor, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    """Return a function that computes the logits. The plain network has torchvision's operator, as the original."""
    backend = "torchvision" if kind == PLAIN else None

    def work() -> Tensor:
        half = torch.autocast(image.device.type, dtype) if dtype != torch.float32 else nullcontext()
        with torch.inference_mode(), half, use_backend(backend):
            return model(image).logits

    return work


def peak(name: str, side: int, kind: str, device: str, dtype: torch.dtype) -> float:
    """Measure the MiB that one forward takes at its peak, beyond the weights."""
    model = build(name, kind, device)
    work = forward(model, kind, torch.randn(1, 3, side, side, device=device), dtype)
    if device == "cuda":
        work()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    forward(model, kind, torch.randn(1, 3, 64, 64), dtype)()  # what the libraries keep
    ctypes.CDLL(None).malloc_trim(0)
    read_peak_memory()
    before = read_resident_memory()
    work()
    return (read_peak_memory() - before) / MIB


def measure_peak_in_own_process(
    name: str, side: int, kind: str, threads: int, device: str = "cpu", dtype: str = "float32"
) -> float:
    """Measure in a new process, since memory that an earlier measurement used would count as free. NaN if it cannot.

    Peak memory on a CPU is measured on Linux only.
    """
    if device == "cpu" and not Path("/proc/self/clear_refs").exists():
        return float("nan")
    command = [sys.executable, __file__, name, str(side), kind]
    command += ["--threads", str(threads), "--device", device, "--dtype", dtype]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the MiB that one forward takes at its peak.")
    parser.add_argument("model")
    parser.add_argument("side", type=int)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(peak(args.model, args.side, args.kind, args.device, getattr(torch, args.dtype)))


if __name__ == "__main__":
    main()
