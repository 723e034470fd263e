"""Arguments and help texts of all commands; imports nothing heavy, so that `--help` answers at once."""

import argparse
from importlib import metadata
from typing import Any

from birefnet_lite.cli import course, train

__all__ = ["build_parser"]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, with one sub-parser for each command."""
    parser = argparse.ArgumentParser(
        prog="birefnet_lite", description="BiRefNet: cut the object out of a photo, and look into the network."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    _add_segment(commands)
    info = commands.add_parser("info", help="show a network's parts, their sizes and its configuration")
    _add_model_option(info)
    info.add_argument("model", nargs="?", default=argparse.SUPPRESS, metavar="MODEL", help="the same without --model")
    commands.add_parser(
        "doctor",
        help="check whether this machine is ready for the course",
        description="Prints one line for each thing that the course needs, with advice if it is missing. The exit "
        "status is 0 if all is well, 1 otherwise.",
    )
    train.add_arguments(
        commands.add_parser(
            "train",
            help="train a network as a CONFIG.toml says",
            description="Train as CONFIG says. A run that was stopped continues from its last checkpoint.",
        )
    )
    _add_evaluate(commands)
    _add_export(commands)
    _add_explore(commands)
    course.add_arguments(
        commands.add_parser("course", help="progress, reset and hand-in; for teachers, the hand-ins of a class")
    )
    return parser


def _add_segment(commands: Any) -> None:
    segment = commands.add_parser(
        "segment",
        help="write the masks (and cut-outs) of photos",
        description="Writes DIR/NAME.png, an 8-bit grey mask, for each photo, and with --cutout DIR/NAME.cutout.png, "
        "the object on a transparent background. Photos of one name become NAME, NAME-2 and so on. No file is "
        "overwritten but an earlier output for the same photo. A photo that cannot be read is reported and the others "
        "are done; the exit status is then 1. `accelerate launch -m birefnet_lite segment ...` shares the photos "
        "between processes, GPUs and machines.",
    )
    segment.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="files, folders, or patterns such as 'photos/*.jpg'"
    )
    segment.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write to; created if missing")
    segment.add_argument("--cutout", action="store_true", help="also write the cut-outs")
    segment.add_argument(
        "--webp", action="store_true", help="write cut-outs as .webp: smaller, colours almost as exact"
    )
    segment.add_argument(
        "--skip-existing", action="store_true", help="leave out photos whose output is there, as after an interruption"
    )
    segment.add_argument(
        "--batch",
        type=_parse_batch,
        metavar="N",
        help="how many photos the network sees at once (default: 4 on a GPU, 1 otherwise)",
    )
    segment.add_argument(
        "--memory",
        type=_parse_memory,
        metavar="MIB",
        help="process photos at their own size (or --size), in tiles if more than this many MiB would be needed",
    )
    _add_model_option(segment)
    _add_device_options(segment)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="score a model on images with masks",
        description="Prints a table of scores. Masks have the names of their images.",
    )
    evaluate.add_argument("model", metavar="MODEL", help="a checkpoint: file, preset or published name")
    evaluate.add_argument(
        "data",
        metavar="DATA",
        help="a folder with im/ and gt/, a CSV file with columns image,mask, or held-out: synthetic scenes of kinds "
        "that the shipped model was not trained on",
    )
    evaluate.add_argument("--csv", metavar="FILE", help="also write the scores of each image to this file")
    evaluate.add_argument("--worst", metavar="PNG", help="also write a picture of the twelve worst")
    _add_device_options(evaluate)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Writes the network in float32, for any batch and one size: image, normalised, to logits, whose "
        "sigmoid is the mask. Needs the extra `export` (in a clone: pip install '.[export]').",
    )
    export.add_argument("model", metavar="MODEL", help="a checkpoint: file, preset or published name")
    export.add_argument("file", metavar="FILE.onnx", help="the file to write")
    export.add_argument(
        "--decomposed",
        action="store_true",
        help="write GridSample instead of DeformConv, for runtimes that lack it; larger and slower",
    )
    _add_size_options(export)
    export.set_defaults(device="cpu")


def _add_explore(commands: Any) -> None:
    explore = commands.add_parser(
        "explore",
        help="watch the network at work in a browser",
        description="Opens a page in which the network runs on your photos and shows every map. Served from this "
        "machine, for this machine only, until Ctrl+C; or written as one file, or as a folder for a web server.",
    )
    target = explore.add_mutually_exclusive_group()
    target.add_argument(
        "-o", "--output", metavar="FILE.html", help="write one file that works without an internet connection"
    )
    target.add_argument("--folder", metavar="DIR", help="write a folder for any web server; it loads in parts")
    explore.add_argument(
        "--model",
        metavar="FILE",
        help="another checkpoint of this project, .safetensors; needs the extra `export` "
        "(in a clone: pip install '.[export]')",
    )
    explore.add_argument("--photos", metavar="DIR", help="other sample photos; the first one is the recorded run")
    explore.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a .safetensors or .pth file, a preset, or a published name such as BiRefNet_lite",
    )


def _add_device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps (default: the accelerator that is there)")
    _add_size_options(parser)


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=_parse_size,
        metavar="S",
        help="what the network sees: 1024, or HEIGHTxWIDTH (default: the size it was trained at)",
    )
    parser.add_argument(
        "--patch-order",
        choices=("new", "old"),
        help="order of the image tiles in a .pth file: old for weights from before November 2024",
    )


def _parse_size(text: str) -> int | tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give one number, or HEIGHTxWIDTH such as 768x1024")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _parse_memory(text: str) -> float:
    try:
        memory = float(text)
    except ValueError:
        memory = 0
    if not 0 < memory < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory; give a number of MiB such as 2000")
    return memory


def _parse_batch(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of photos; give 1 or more")
    return int(text)


def _version() -> str:
    try:
        return metadata.version("birefnet-lite")
    except metadata.PackageNotFoundError:
        return "(not installed)"
