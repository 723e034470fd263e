"""Make birefnet_lite/weights/nano.safetensors from a trained checkpoint: float16 weights, rescaled batch norms.

    python benchmarks/ship_nano.py runs/nano-gpu/best.safetensors

The inputs of batch norms whose variance is too large for float16 are scaled down, so that `model.half()` works. The
scales are powers of two, so that the results are the same except for the eps of the norms.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import nn

from birefnet_lite import BiRefNet, load, save

WEIGHTS = Path(__file__).parents[1] / "birefnet_lite" / "weights" / "nano.safetensors"
LARGEST, WANTED = 500, 64  # variances above the first are scaled to about the second


@torch.no_grad()
def scale_down(model: BiRefNet) -> None:
    """Scale down convolutions whose outputs have a large variance, with the statistics of their norms."""
    for module in model.modules():
        for conv_name, norm_name in (("conv_in", "norm_in"), ("conv", "norm")):
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            largest = float(norm.running_var.max())
            if largest > LARGEST:
                factor = 2.0 ** -round(math.log2(largest / WANTED) / 2)
                for tensor in (conv.weight, conv.bias, norm.running_mean):
                    if tensor is not None:
                        tensor.mul_(factor)
                norm.running_var.mul_(factor**2)
                print(f"{conv_name} times {factor:g}: variance {largest:.0f} -> {float(norm.running_var.max()):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--to", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    model = load(options.checkpoint, device="cpu")
    picture = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        before = model(picture).logits
        scale_down(model)
        apart = (model(picture).logits - before).abs().max() / before.abs().max()
    print(f"logits changed by {apart:.1e} of the largest")
    save(model, options.to, dtype=torch.float16)
    print(f"{options.to}: {options.to.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
