"""`export`: write a model as an ONNX file."""

import argparse
import os

from birefnet_lite.cli import CommandError, describe_error, load_model, report
from birefnet_lite.inference.export import ABOUT, export_onnx
from birefnet_lite.inference.predict import network_size
from birefnet_lite.output import check_target


def run(options: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    _check_output(options.file, options.model)
    model = load_model(options.model, options)
    try:
        height, width = network_size(model, options.size)
        export_onnx(model, options.file, options.size, decomposed=options.decomposed)
    except OSError as error:
        raise CommandError(f"{options.file}: cannot be written ({error.strerror or error})") from error
    except (ImportError, ValueError, RuntimeError, MemoryError) as error:
        raise CommandError(describe_error(error)) from error
    operator = "GridSample" if options.decomposed else "DeformConv"
    report(f"{options.file}: image (batch, 3, {height}, {width}) to logits (batch, 1, {height}, {width}), {operator}")
    return 0


def _check_output(path: str, model: str) -> None:
    """Refuse, before the work, a file that cannot be written or that is not an earlier export."""
    try:
        check_target(path, [model])
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{path}: cannot be written ({error.strerror or error})") from error
    if os.path.lexists(path) and not _is_own_export(path):
        raise CommandError(f"{path}: there is a file that this command did not write; choose another name")
    if os.path.lexists(f"{path}.data") and not os.path.lexists(path):
        raise CommandError(f"{path}.data is there, where large weights would be written; choose another name")


def _is_own_export(path: str) -> bool:
    """Whether the beginning of a file, which holds a model's description, says what an export says."""
    with open(path, "rb") as file:
        return ABOUT.partition(":")[0].encode() in file.read(4096)
