"""Scores and pictures of the shipped `nano`, for birefnet_lite/weights/README.md.

    python benchmarks/nano.py [--model nano] [--sizes 128 192 256] [--pictures docs]

Scores on the held-out scenes for several input sizes; IoU on the sample photos, without the pixels that their
hand-made masks leave open; pictures of the masks of these photos, of the twelve worst scenes, and of the validation
scores during training (results/nano-validation.csv, from the log.jsonl of each part).
"""

import argparse
import csv
import time
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image, to_tensor

from birefnet_lite import load, optimize
from birefnet_lite.cli.evaluate import held_out_pairs, picture_of_worst
from birefnet_lite.inference.predict import segment
from birefnet_lite.photos import PHOTOS, load_photo
from birefnet_lite.training.evaluate import evaluate
from birefnet_lite.training.validation import contact_sheet

VALIDATION = Path(__file__).parent / "results" / "nano-validation.csv"
METRICS = ("s_measure", "weighted_f", "mae", "iou", "boundary_iou")


def photo_scores(model: torch.nn.Module, size: int) -> dict[str, float]:
    """IoU of the mask, cut at 0.5, with the hand-made one, for each sample photo."""
    scores = {}
    for name in PHOTOS:
        image, mask, ignore = load_photo(name)
        found = (segment(model, image, size=size) > 0.5) & ~ignore
        wanted = mask & ~ignore
        scores[name] = float((found & wanted).sum() / (found | wanted).sum())
    return scores


def photo_sheet(model: torch.nn.Module, size: int) -> Image.Image:
    """Sample photos, hand-made masks and the model's masks, below each other."""
    columns = []
    for name in PHOTOS:
        image, mask, _ = load_photo(name)
        parts = [
            to_tensor(image),
            torch.from_numpy(mask)[None].float(),
            torch.from_numpy(segment(model, image, size))[None],
        ]
        columns.append(contact_sheet(*(part[None] for part in parts), columns=1, side=256))
    return to_pil_image(torch.cat(columns, dim=2))


def plot_validation(path: Path) -> None:
    """Plot S-measure, weighted F and MAE over the images of all parts; validation scenes changed between the parts."""
    import matplotlib.pyplot as plt

    with VALIDATION.open() as file:
        rows = [row | {key: float(row[key]) for key in ("step", *METRICS[:3])} for row in csv.DictReader(file)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharex=True)
    curves = {"S-measure": (0, "s_measure", "C0"), "weighted F": (0, "weighted_f", "C1"), "MAE": (1, "mae", "C2")}
    before = 0.0
    for number, (_, group) in enumerate(groupby(rows, key=lambda row: row["part"]), start=1):
        scores = list(group)
        images = [before + row["step"] * 32 / 1000 for row in scores]
        for label, (axis, key, colour) in curves.items():
            axes[axis].plot(
                images, [row[key] for row in scores], ".-", color=colour, label=label if number == 1 else None
            )
        for axis in axes:
            axis.axvline(before, color="0.85", zorder=0)
            # Numbers in two rows, as some parts are narrower than their number.
            middle, row = (before + images[-1]) / 2, -10 - 12 * (number % 2)
            axis.annotate(
                str(number),
                (middle, 1),
                (0, row),
                ha="center",
                va="center",
                fontsize=9,
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
            )
        before = images[-1]
    for axis in axes:
        axis.set(xlabel=f"thousand images, in {number} parts")
        axis.grid(axis="y", alpha=0.3)
        axis.legend(loc="center right")
    axes[0].set_ylim(top=0.95)
    axes[1].set_ylim(0, 0.23)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def forward_time(model: torch.nn.Module, side: int = 256) -> float:
    """Median milliseconds of a forward pass."""
    x, times = torch.zeros(1, 3, side, side), []
    with torch.inference_mode():
        for _ in range(25):
            start = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[5:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 192, 256])
    parser.add_argument(
        "--pictures", metavar="DIR", help="write nano-photos.png, nano-worst.png and nano-curve.png there"
    )
    args = parser.parse_args()
    model = load(args.model, device="cpu")
    usual = model.config.train_size[0]
    pairs = held_out_pairs()

    print("| pixels | " + " | ".join(METRICS) + " |\n|" + "---|" * (len(METRICS) + 1))
    for size in args.sizes:
        scores = evaluate(model, pairs, size=size, metrics=METRICS, stretch=False, progress=False)
        print(f"| {size} | " + " | ".join(f"{value:.3f}" for value in scores.mean().values()) + " |", flush=True)
        if size == usual:
            families = {group: scores.mean(group) for group in sorted(scores.groups)}
            usual_scores = scores
    print(f"\n| at {usual} pixels | " + " | ".join(METRICS) + " |\n|" + "---|" * (len(METRICS) + 1))
    for group, means in families.items():
        print(f"| {group} | " + " | ".join(f"{value:.3f}" for value in means.values()) + " |")

    print("\n| pixels | " + " | ".join(PHOTOS) + " | mean |\n|" + "---|" * (len(PHOTOS) + 2))
    for size in args.sizes:
        found = photo_scores(model, size)
        cells = [*found.values(), np.mean(list(found.values()))]
        print(f"| {size} | " + " | ".join(f"{value:.2f}" for value in cells) + " |", flush=True)

    times = forward_time(model), forward_time(optimize(model))
    print(f"\nforward at 256 x 256, {torch.get_num_threads()} threads: {times[0]:.0f} ms, optimized {times[1]:.0f} ms")
    if args.pictures:
        folder = Path(args.pictures)
        photo_sheet(model, usual).save(folder / "nano-photos.png", optimize=True)
        picture_of_worst(model, pairs, usual_scores, usual).save(folder / "nano-worst.png", optimize=True)
        plot_validation(folder / "nano-curve.png")


if __name__ == "__main__":
    main()
