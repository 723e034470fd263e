"""`evaluate`: scores of a model on images with masks."""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from birefnet_lite.cli import CommandError, load_model, one_line
from birefnet_lite.inference.images import read_mask, read_photo, to_tensor
from birefnet_lite.inference.predict import network_size, segment
from birefnet_lite.synthetic import held_out_scenes
from birefnet_lite.training.evaluate import Pair, Scores, evaluate
from birefnet_lite.training.folder import csv_pairs, folder_pairs
from birefnet_lite.training.validation import contact_sheet

HELD_OUT, BATCHES, BATCH = "held-out", 12, 8
WORST = 12


def run(options: argparse.Namespace) -> int:
    """Prints the table of scores; where asked for, writes those of each image and a picture of the worst."""
    pairs = _pairs(Path(options.data))
    model = load_model(options.model, options)
    try:
        network_size(model, options.size)
        scores = evaluate(model, pairs, size=options.size)
        print(scores.table())
        if options.csv:
            scores.write_csv(options.csv)
        if options.worst:
            picture_of_worst(model, pairs, scores, options.size).save(options.worst)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CommandError(one_line(error) or "there is not enough memory; try a smaller --size") from error
    return 0


def held_out_pairs() -> list[Pair]:
    """The fixed test set of 256 x 256: shapes and grounds that training never sees, eight scenes a batch."""
    source = held_out_scenes()
    return [
        Pair(f"scene {step * BATCH + i}", image, mask[0], f"{shape} on {ground}")
        for step in range(BATCHES)
        for i, (image, mask, _, shape, ground) in enumerate(zip(*source.batch(BATCH, step), strict=True))
    ]


def picture_of_worst(model: torch.nn.Module, pairs: list[Pair], scores: Scores, size: int | None) -> Image.Image:
    """The images with the lowest S-measure, the worst first: image, mask and prediction below each other."""
    by_name = {pair.name: pair for pair in pairs}
    rows = []
    for score in scores.worst(WORST):
        pair = by_name[score.name]
        image = to_tensor(read_photo(pair.image).pixels)  # (3, H, W) in [0, 1]
        mask = torch.from_numpy(read_mask(pair.mask))[None]  # (1, H, W)
        prediction = torch.from_numpy(segment(model, pair.image, size=size))[None]
        rows.append(contact_sheet(image[None], mask[None], prediction[None], columns=1, side=192))
    return to_pil_image(torch.cat([torch.cat(rows[i : i + 6], dim=2) for i in range(0, len(rows), 6)], dim=1))


def _pairs(data: Path) -> list[Pair]:
    """The images and masks of a folder with im/ and gt/, of a CSV file, or the scenes that training never sees."""
    if str(data) == HELD_OUT and not data.exists():
        return held_out_pairs()
    try:
        found = csv_pairs(data, classes=False) if data.is_file() else folder_pairs(data, classes=False)
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    return [Pair(pair.image.stem, pair.image, pair.mask) for pair in found]
