"""`evaluate`: scores of a model on images with masks."""

import argparse
from pathlib import Path

from birefnet_lite.commands import CommandError, load_model, one_line
from birefnet_lite.predict import network_size
from birefnet_lite.training.evaluate import Pair, evaluate
from birefnet_lite.training.folder import csv_pairs, folder_pairs


def run(options: argparse.Namespace) -> int:
    """Prints the table of scores and, where asked for, writes those of each image to a CSV file."""
    pairs = _pairs(Path(options.data))
    model = load_model(options.model, options)
    try:
        network_size(model, options.size)
        scores = evaluate(model, pairs, size=options.size)
        print(scores.table())
        if options.csv:
            scores.write_csv(options.csv)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CommandError(one_line(error) or "there is not enough memory; try a smaller --size") from error
    return 0


def _pairs(data: Path) -> list[Pair]:
    """The images and masks of a folder with im/ and gt/, or of a CSV file."""
    try:
        found = csv_pairs(data, classes=False) if data.is_file() else folder_pairs(data, classes=False)
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    return [Pair(pair.image.stem, pair.image, pair.mask) for pair in found]
