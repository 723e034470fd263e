"""`evaluate`: scores of a model on images with masks."""

import argparse
from pathlib import Path

from birefnet_lite.commands import CommandError, load_model, one_line
from birefnet_lite.commands.segment import SUFFIXES
from birefnet_lite.predict import network_size
from birefnet_lite.training.evaluate import Pair, evaluate


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


def _pairs(folder: Path) -> list[Pair]:
    """The images in `im` with the masks of the same names in `gt`; a partner that is missing is named."""
    images, masks = (_by_stem(folder / name) for name in ("im", "gt"))
    alone = [file for stem, file in images.items() if stem not in masks]
    alone += [file for stem, file in masks.items() if stem not in images]
    if alone:
        more = f" and {len(alone) - 1} others have" if len(alone) > 1 else " has"
        raise CommandError(f"{alone[0]}{more} no partner of the same name in im or gt")
    return [Pair(stem, image, masks[stem]) for stem, image in images.items()]


def _by_stem(folder: Path) -> dict[str, Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}; DATA is a folder with im/ and gt/") from error
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise CommandError(f"{found[file.stem]} and {file} have one name; which is meant?")
        found[file.stem] = file
    if not found:
        raise CommandError(f"{folder}: the folder holds no images")
    return found
