"""Ablations: short training runs of `nano`, each with one part switched off.

    python benchmarks/ablations.py [--seeds 3] [--steps 300] [--side 96] [--jobs 2]

The shipped results are from `--seeds 3 --steps 160 --side 64 --batch 12`, on a CPU. Runs that are in the results are
skipped; delete birefnet_lite/course/ablations.csv to start again. With the same seed all variants see the same scenes
in the same order. Scores are of the averaged weights on 96 fixed scenes.

These runs are too short to rank designs: only differences above the spread over the seeds mean something.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from birefnet_lite.course.ablations import METRICS, RESULTS, ablation_table
from birefnet_lite.synthetic import SyntheticScenes
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.training_loop import train
from birefnet_lite.training.validation import mean_scores, predict_masks

# Differences from the full network: fields of its configuration, and settings of the run.
VARIANTS = {
    "full network": ({}, {}),
    "no inward reference": ({"inward_reference": False}, {}),
    "no outward reference": ({"outward_reference": False}, {"gradient_weight": 0.0}),
    "attention without its loss": ({}, {"gradient_weight": 0.0}),
    "original gradient target": ({"gradient_target": "original"}, {}),
    "plain convolutions in the ASPP": ({"aspp": "plain"}, {}),
    "one scale": ({"multi_scale_input": "none"}, {}),
    "no context": ({"context_scales": 0}, {}),
}
FIELDS = ("variant", "seed", "steps", "side", "batch", *METRICS, "minutes", "torch", "machine")
SCENES, SCENE_SEED, DIFFICULTY = 96, 577_215, 0.2


def run(variant: str, seed: int, steps: int, side: int, batch: int) -> dict:
    """Train one variant, and score it."""
    config, changes = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(
            output=folder,
            config=config,
            size=side,
            batch_size=batch,
            steps=steps,
            seed=seed,
            reuse=4,
            difficulty=(0.0, DIFFICULTY),
            learning_rate=2e-3,
            final_learning_rate=0.02,
            warmup_steps=20,
            hold=0.5,
            ema_decay=0.98,
            dropout=0.0,
            precision="auto",
            validate_every=steps,
            validation_images=2,
            save_every=steps,
            tensorboard=False,
            **{"gradient_weight": 0.3, **changes},
        )
        trainer = train(settings, progress=False)
    scenes = SyntheticScenes((side, side), SCENE_SEED, DIFFICULTY).batch(SCENES, 0)
    model = trainer.kept_model.eval()
    values = mean_scores(predict_masks(model, scenes.images), scenes.masks, METRICS)
    return {
        "variant": variant,
        "seed": seed,
        "steps": steps,
        "side": side,
        "batch": batch,
        **{name: f"{value:.4f}" for name, value in values.items()},
        "minutes": f"{trainer.minutes:.1f}",
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def append_result(row: dict) -> None:
    """Append a run to the results."""
    path = Path(str(RESULTS))
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def finished_runs() -> set[tuple[str, int]]:
    """Variants and seeds in the results."""
    path = Path(str(RESULTS))
    if not path.exists():
        return set()
    with path.open(encoding="utf-8") as file:
        return {(row["variant"], int(row["seed"])) for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=96, help="height and width of the scenes, a multiple of 32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        torch.set_num_threads(1)
        append_result(run(args.one[0], int(args.one[1]), args.steps, args.side, args.batch))
        return
    # All variants of one seed first, so that an interrupted benchmark has comparable results.
    wanted = [(name, seed) for seed in range(args.seeds) for name in VARIANTS if (name, seed) not in finished_runs()]
    common = ["--steps", str(args.steps), "--side", str(args.side), "--batch", str(args.batch)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}

    def start(name: str, seed: int) -> None:
        command = [sys.executable, __file__, "--one", name, str(seed), *common]
        subprocess.run(command, env=environment, check=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        for future in [pool.submit(start, *one) for one in wanted]:
            future.result()
    print(ablation_table())


if __name__ == "__main__":
    main()
