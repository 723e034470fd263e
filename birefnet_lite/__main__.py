"""The command line: `python -m birefnet_lite COMMAND`. Nothing heavy is imported before a command runs."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module, metadata

from birefnet_lite.cli import CommandError, complain, train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 done, 1 done in part, 2 not at all, 130 interrupted.

    `arguments` are those after the program's name. Wrong ones end in `SystemExit(2)`, as argparse does it.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return import_module(f"birefnet_lite.cli.{options.command}").run(options)
        except CommandError as error:
            complain(str(error))
            return 2
        except KeyboardInterrupt:
            complain("stopped by the keyboard; what is written is whole")
            return 130
        except BrokenPipeError:  # the reader, such as `head`, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="birefnet_lite", description="BiRefNet: cut the object out of a photo, and look into the network."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    segment = commands.add_parser(
        "segment",
        help="write the masks (and cut-outs) of photos",
        description="Writes DIR/NAME.png, an 8-bit grey mask, for each photo, and with --cutout DIR/NAME.cutout.png, "
        "the object on transparent ground. Photos of one name become NAME, NAME-2 and so on. A photo "
        "that cannot be read is reported and the others are done; the exit status is then 1.",
    )
    segment.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="files, folders, or patterns such as 'photos/*.jpg'"
    )
    segment.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write to; made where missing")
    segment.add_argument("--cutout", action="store_true", help="also write the cut-outs")
    segment.add_argument(
        "--memory",
        type=_memory,
        metavar="MIB",
        help="see photos at their own size (or --size), in tiles where more than this many MiB would be needed",
    )
    _add_model(segment)
    _add_running(segment)

    info = commands.add_parser("info", help="show a network's parts, their sizes and its configuration")
    _add_model(info)

    commands.add_parser(
        "doctor",
        help="say whether this machine is ready for the course",
        description="Prints one line for each thing that the course needs, with what to do where it is missing. The "
        "exit status is 0 where all is well, 1 otherwise.",
    )

    training = commands.add_parser(
        "train",
        help="train a network as a CONFIG.toml says",
        description="Train as CONFIG says. A run that was stopped continues from its last checkpoint.",
    )
    train.add_arguments(training)

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
    _add_running(evaluate)

    export = commands.add_parser(
        "export",
        help="write a model as an ONNX file",
        description="Writes the network in float32, for any batch and one size: image, normalised, to logits, whose "
        "sigmoid is the mask. Needs the extra: pip install 'birefnet-lite[export]'.",
    )
    export.add_argument("model", metavar="MODEL", help="a checkpoint: file, preset or published name")
    export.add_argument("file", metavar="FILE.onnx", help="the file to write")
    export.add_argument(
        "--decomposed",
        action="store_true",
        help="write GridSample instead of DeformConv, for runtimes that lack it; larger and slower",
    )
    _add_reading(export)
    export.set_defaults(device="cpu")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a .safetensors or .pth file, a preset, or a published name such as BiRefNet_lite",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps (default: the accelerator that is there)")
    _add_reading(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=_size,
        metavar="S",
        help="what the network sees: 1024, or HEIGHTxWIDTH (default: the size it was trained at)",
    )
    parser.add_argument(
        "--patch-order",
        choices=("new", "old"),
        help="order of the image tiles in a .pth file: old for weights from before November 2024",
    )


def _size(text: str) -> int | tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one number, or HEIGHTxWIDTH such as 768x1024")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _memory(text: str) -> float:
    try:
        memory = float(text)
    except ValueError:
        memory = 0
    if not 0 < memory < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory; give a number of MiB such as 2000")
    return memory


def _version() -> str:
    try:
        return metadata.version("birefnet-lite")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _show_warning(message: Warning | str, *_: object) -> None:
    complain(f"note: {message}")


if __name__ == "__main__":
    sys.exit(main())
