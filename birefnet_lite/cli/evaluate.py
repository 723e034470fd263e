"""`evaluate`: score a model on images with masks."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from birefnet_lite.cli import CommandError, describe_error, load_model, report
from birefnet_lite.inference.images import read_mask, read_photo, to_tensor
from birefnet_lite.inference.marks import SHEET, Mark, read_mark
from birefnet_lite.inference.predict import network_size, segment
from birefnet_lite.output import check_target, replace_atomically
from birefnet_lite.synthetic import held_out_scenes
from birefnet_lite.training.evaluate import Pair, Scores, evaluate
from birefnet_lite.training.pairs import check_pairs, find_pairs
from birefnet_lite.training.validation import contact_sheet

HELD_OUT, BATCHES, BATCH = "held-out", 12, 8
WORST = 12


def run(options: argparse.Namespace) -> int:
    """Print the table of scores and, if asked for, write those of each image and a picture of the worst.

    Returns:
        0, or 1 if some pairs could not be scored; each has got a line that says why.
    """
    pairs, failed = _find_pairs(options.data)
    inputs = [options.data, options.model] + [str(file) for pair in pairs for file in pair[1:3] if _is_path(file)]
    _check_output(options.csv, inputs, _is_own_table, "--csv")
    _check_output(options.worst, [*inputs, options.csv or ""], _is_own_sheet, "--worst")
    model = load_model(options.model, options)

    def note_failure(pair: Pair, error: Exception) -> None:
        nonlocal failed
        failed += 1
        report(f"{pair.name} is left out: {describe_error(error)}")

    try:
        network_size(model, options.size)
        scores = evaluate(model, pairs, size=options.size, progress=sys.stderr.isatty(), on_error=note_failure)
        print(scores.table(), flush=True)
        if options.csv:
            scores.write_csv(options.csv)
        if options.worst:
            sheet = picture_of_worst(model, pairs, scores, options.size)
            with replace_atomically(options.worst) as temporary:
                sheet.save(temporary, format="PNG", pnginfo=Mark(SHEET).to_png_info())
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CommandError(describe_error(error)) from error
    return 1 if failed else 0


def _check_output(path: str | None, inputs: list[str], is_own: Callable[[str], bool], option: str) -> None:
    """Refuse, before the work, a file that cannot be written or that somebody else wrote."""
    if path is None:
        return
    if option == "--worst" and Path(path).suffix.lower() != ".png":
        raise CommandError(f"{option} {path}: the name must end in .png")
    try:
        check_target(path, inputs)
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} {describe_error(error)}") from error
    if os.path.lexists(path) and not is_own(path):
        raise CommandError(f"{option} {path}: there is a file that this command did not write; choose another name")


def _is_own_table(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(11) == b"name,group,"


def _is_own_sheet(path: str) -> bool:
    mark = read_mark(path)
    return mark is not None and mark.kind == SHEET


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def held_out_pairs() -> list[Pair]:
    """The fixed test set of 256 x 256: shapes and backgrounds that training never sees, eight scenes a batch."""
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


def _find_pairs(data: str) -> tuple[list[Pair], int]:
    """The images and masks of a folder with im/ and gt/, of a CSV file, or the scenes that training never sees.

    Returns:
        The pairs, and how many more there are that cannot be used; each of these has got a line that says why.
    """
    if data == HELD_OUT and not os.path.lexists(data):
        return held_out_pairs(), 0
    try:
        found = find_pairs(data)
        faults = check_pairs(found)
    except (OSError, ValueError) as error:
        raise CommandError(describe_error(error)) from error
    if not found:
        raise CommandError(f"{data} holds no pairs of image and mask")
    for fault in faults:
        report(fault.reason)
    bad = {fault.pair for fault in faults}
    good = [pair for pair in found if pair not in bad]
    if not good:
        raise CommandError(f"none of the {len(found)} pairs in {data} can be scored")
    stems = [pair.image.stem for pair in good]
    names = stems if len(set(stems)) == len(stems) else [str(pair.image) for pair in good]
    return [Pair(name, pair.image, pair.mask) for name, pair in zip(names, good, strict=True)], len(faults)
