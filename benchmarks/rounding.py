"""Measures what rounding each part of a network to bfloat16 does to the mask, and what `precision="auto"` gains.

    python benchmarks/rounding.py                  nano on the sample photos, lite on noise; table to the screen
    python benchmarks/rounding.py --save cpu       the same, to benchmarks/results/rounding-cpu.md
    python benchmarks/rounding.py --sides 512      the speed of another size of image

One row rounds the weights, inputs and outputs of the layers of one part, and leaves everything else in float32. lite
has random weights with moved taps. Times are taken by turns in one process, also of the plain network with
torchvision's deformable convolution; run it on an idle machine.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from deformable import describe_machine, move_taps, time_by_turns
from networks import OPTIMIZED, PLAIN, forward
from torch import Tensor, nn

from birefnet_lite import BiRefNet, BiRefNetConfig, load, optimize
from birefnet_lite.inference.predict import segment
from birefnet_lite.output import format_table
from birefnet_lite.photos import PHOTOS, load_photo

RESULTS = Path(__file__).parent / "results"
SPEED_COLUMNS = ["model", "side", "plain", "float32", "auto", "plain/auto", "float32/auto"]
STAGE_PARTS = ("image", "block.conv_in", "block.aspp", "block.conv_out", "outward", "lateral")


def find_parts(network: nn.Module) -> Iterator[tuple[str, list[str]]]:
    """Name each part of an optimized network, with the paths of its modules."""
    backbone = network.encoder.backbone
    stages = "stages" if hasattr(backbone, "stages") else "layers"
    for i in range(4):
        yield f"backbone, stage {i + 1}", [f"encoder.backbone.{stages}.{i}"]
    yield "squeeze module", ["squeeze"]
    for i, number in enumerate((4, 3, 2, 1)):
        stage = network.get_submodule(f"decoder.stages.{i}")
        for part in STAGE_PARTS:
            parent, _, name = part.rpartition(".")
            if getattr(stage.get_submodule(parent), name, None) is not None:
                yield f"stage {number}, {part.removeprefix('block.')}", [f"decoder.stages.{i}.{part}"]
    yield "head's image branch", ["decoder.image"]


def round_part(network: nn.Module, paths: list[str]) -> None:
    """Round the parameters of these modules, and the inputs and outputs of their layers, to bfloat16 and back."""

    def rounded(values):
        return tuple(v.bfloat16().float() if isinstance(v, Tensor) and v.is_floating_point() else v for v in values)

    for path in paths:
        for module in network.get_submodule(path).modules():
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.bfloat16().float()
            if not list(module.children()) and list(module.parameters()):
                module.register_forward_pre_hook(lambda module, inputs: rounded(inputs))
                module.register_forward_hook(lambda module, inputs, output: rounded([output])[0])


def compare_masks(network: nn.Module, photos: list, wanted: list) -> tuple[str, str]:
    """The smallest share, over the photos, of pixels within 1/255 of the exact mask, and the largest difference."""
    apart = [255 * abs(segment(network, photo) - mask) for photo, mask in zip(photos, wanted, strict=True)]
    return f"{100 * min((a <= 1).mean() for a in apart):.2f} %", f"{max(a.max() for a in apart):.2f}/255"


def measure_nano() -> list[list[str]]:
    model, photos = load("nano", device="cpu"), [load_photo(name)[0] for name in PHOTOS]
    wanted = [segment(optimize(model), photo) for photo in photos]
    rows = []
    for name, paths in find_parts(optimize(model)):
        network = optimize(model)
        round_part(network, paths)
        rows.append([name, *compare_masks(network, photos, wanted)])
    rows.append(["all in bfloat16", *compare_masks(optimize(model).bfloat16(), photos, wanted)])
    rows.append(['precision="auto"', *compare_masks(optimize(model, precision="auto"), photos, wanted)])
    return rows


def build_lite() -> BiRefNet:
    torch.manual_seed(0)
    model = BiRefNet(BiRefNetConfig.preset("lite")).eval()
    move_taps(model)
    return model


def measure_lite(side: int = 512) -> list[list[str]]:
    model, x = build_lite(), torch.randn(1, 3, side, side)
    with torch.inference_mode():
        wanted = optimize(model)(x).logits

        def largest(network: nn.Module) -> str:
            return f"{100 * (network(x).logits.float() - wanted).abs().max() / (wanted.max() - wanted.min()):.3f} %"

        rows = []
        for name, paths in find_parts(optimize(model)):
            network = optimize(model)
            round_part(network, paths)
            rows.append([name, largest(network)])
        rows.append(["all in bfloat16", largest(optimize(model).bfloat16())])
        rows.append(['precision="auto"', largest(optimize(model, precision="auto"))])
    return rows


def measure_speed(sides: list[int], budget: float) -> list[list[str]]:
    rows = []
    for name, model in (("nano", load("nano", device="cpu")), ("lite", build_lite())):
        networks = [optimize(model), optimize(model, precision="auto")]
        for side in sides:
            x = torch.randn(1, 3, side, side)
            works = [forward(model, PLAIN, x), *(forward(network, OPTIMIZED, x) for network in networks)]
            times = time_by_turns(works, "cpu", budget)
            ratios = [f"{times[0] / times[2]:.2f}", f"{times[1] / times[2]:.2f}"]
            rows.append([name, str(side), *(f"{seconds:.2f} s" for seconds in times), *ratios])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each model and size, about")
    parser.add_argument("--save", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tables = [
        ("nano, sample photos", [["part in bfloat16", "within 1/255", "largest"], *measure_nano()]),
        ("lite, random weights", [["part in bfloat16", "largest, of the logits' range"], *measure_lite()]),
        ("speed", [SPEED_COLUMNS, *measure_speed(args.sides, args.budget)]),
    ]
    lines = [
        "# Rounding to bfloat16",
        "",
        f"{describe_machine('cpu')}; torch {torch.__version__}; `python benchmarks/rounding.py`",
    ]
    for title, rows in tables:
        lines += ["", f"{title}:", "", "```", format_table(rows), "```"]
    print("\n".join(lines))
    if args.save:
        (RESULTS / f"rounding-{args.save}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
