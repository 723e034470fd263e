"""`export`: a model as an ONNX file."""

import argparse

from birefnet_lite.cli import CommandError, load_model, one_line, report
from birefnet_lite.inference.export import export_onnx
from birefnet_lite.inference.predict import network_size


def run(options: argparse.Namespace) -> int:
    """Writes the file and says what is in it."""
    model = load_model(options.model, options)
    try:
        height, width = network_size(model, options.size)
        export_onnx(model, options.file, options.size, decomposed=options.decomposed)
    except OSError as error:
        raise CommandError(f"{options.file}: cannot be written ({error.strerror or error})") from error
    except (ImportError, ValueError, RuntimeError, MemoryError) as error:
        raise CommandError(one_line(error) or "there is not enough memory; try a smaller --size") from error
    operator = "GridSample" if options.decomposed else "DeformConv"
    report(f"{options.file}: image (batch, 3, {height}, {width}) to logits (batch, 1, {height}, {width}), {operator}")
    return 0
