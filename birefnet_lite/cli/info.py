"""`info`: show the parts of a network and its configuration, without a network connection and without weights."""

import argparse
import os
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
from birefnet_lite.output import format_table


def run(options: argparse.Namespace) -> int:
    """Print the parts of a network, their parameters and outputs, and its configuration."""
    config, source = _find_config(options.model)
    with torch.device("meta"):  # shapes only: also the largest network is there at once
        model = BiRefNet(config).eval()
    print(f"{source}\n\n{_format_parts(model)}\n\nconfiguration")
    for name, value in config.to_dict().items():
        print(f"  {name} = {value!r}")
    return 0


def _find_config(name: str | None) -> tuple[BiRefNetConfig, str]:
    if name is None:
        try:
            name = shipped_model()
        except CommandError:
            name = "lite"
    is_file = os.path.isfile(name)
    published = next((full for full in PUBLISHED if name in (full, full.partition("/")[2])), None)
    if not is_file and name in PRESETS:
        weights = resources.files("birefnet_lite") / "weights" / f"{name}.safetensors"
        return PRESETS[name], f"preset {name} ({'with' if weights.is_file() else 'without'} weights in this package)"
    if not is_file and published:
        entry = PUBLISHED[published]
        config = BiRefNetConfig(backbone=entry.backbone, train_size=entry.train_size)
        order = f"{entry.patch_order} order{'' if entry.patch_order_is_verified else ', inferred from its date'}"
        return config, f"published checkpoint {published} (image tiles in the {order})"
    try:
        return load(name, "cpu").config, f"checkpoint {Path(name)}"
    except CheckpointError as error:
        raise CommandError(str(error)) from error


def _format_parts(model: BiRefNet) -> str:
    height, width = model.config.train_size
    outputs = _trace_shapes(model, height, width)
    total = sum(p.numel() for p in model.parameters())
    lines = [("part", "parameters", "share", "MB in float32", f"output at {height} x {width} (channels x H x W)")]
    for name, part in (*list_blocks(model), ("all", model)):
        number = sum(p.numel() for p in part.parameters())
        lines.append((name, f"{number:,}", f"{number / total:.1%}", f"{number * 4 / 1e6:,.1f}", outputs[name]))
    return format_table(lines)


def _trace_shapes(model: BiRefNet, height: int, width: int) -> dict[str, str]:
    """The shapes of what each part returns, found by running the model on the meta device."""
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
