"""`info`: what a network is made of. Needs no network connection and no weights."""

import argparse
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.parts import list_blocks
from birefnet_lite.checkpoints import PUBLISHED, CheckpointError, load
from birefnet_lite.cli import CommandError, shipped_model
from birefnet_lite.config import PRESETS, BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet


def run(options: argparse.Namespace) -> int:
    """Prints the parts of a network, their parameters and outputs, and its configuration."""
    config, source = _configuration(options.model)
    with torch.device("meta"):  # shapes only: also the largest network is there at once
        model = BiRefNet(config).eval()
    print(f"{source}\n\n{_table(model)}\n\nconfiguration")
    for name, value in config.to_dict().items():
        print(f"  {name} = {value!r}")
    return 0


def _configuration(name: str | None) -> tuple[BiRefNetConfig, str]:
    if name is None:
        try:
            name = shipped_model()
        except CommandError:
            name = "lite"
    path = Path(name)
    published = next((full for full in PUBLISHED if name in (full, full.partition("/")[2])), None)
    if not path.exists() and name in PRESETS:
        weights = resources.files("birefnet_lite") / "weights" / f"{name}.safetensors"
        return PRESETS[name], f"preset {name} ({'with' if weights.is_file() else 'without'} weights in this package)"
    if not path.exists() and published:
        entry = PUBLISHED[published]
        config = BiRefNetConfig(backbone=entry.backbone, train_size=entry.train_size)
        return config, f"published checkpoint {published} (image tiles in the {entry.patch_order} order)"
    try:
        return load(name, "cpu").config, f"checkpoint {path}"
    except CheckpointError as error:
        raise CommandError(str(error)) from error


def _table(model: BiRefNet) -> str:
    height, width = model.config.train_size
    outputs = _outputs(model, height, width)
    total = sum(p.numel() for p in model.parameters())
    lines = [("part", "parameters", "share", "MB in float32", f"output at {height} x {width} (channels x H x W)")]
    for name, part in (*list_blocks(model), ("all", model)):
        number = sum(p.numel() for p in part.parameters())
        lines.append((name, f"{number:,}", f"{number / total:.1%}", f"{number * 4 / 1e6:,.1f}", outputs[name]))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in (1, 2, 3)), line[4]]).rstrip()
        for line in lines
    )


def _outputs(model: BiRefNet, height: int, width: int) -> dict[str, str]:
    """What each part puts out, found by running the shapes through."""
    shapes = dict.fromkeys((name for name, _ in list_blocks(model)), "(in training)")

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        first = [output] if isinstance(output, Tensor) else [x for x in output if isinstance(x, Tensor)]
        shapes[name] = ", ".join(" x ".join(map(str, x.shape[1:])) for x in first)

    hooks = [part.register_forward_hook(partial(note, name)) for name, part in (*list_blocks(model), ("all", model))]
    with torch.no_grad():
        model(torch.empty(1, 3, height, width, device="meta"))
    for hook in hooks:
        hook.remove()
    return shapes
