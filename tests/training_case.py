"""A small run for the tests of training: a narrow network on easy scenes of 64 x 64 pixels."""

import os
import subprocess
import sys

import torch
from PIL import Image

from birefnet_lite.training.settings import TrainSettings

SMALL = {"backbone": "convnet_n", "inter_channels": 8, "aspp_channels": 8, "image_channels": 4}


def settings(folder, **changes):
    values = {
        "output": str(folder), "config": SMALL, "size": 64, "batch_size": 2, "steps": 6, "warmup_steps": 2,
        "class_weight": 0.1, "validate_every": 4, "validation_images": 2, "save_every": 2, "log_every": 1,
        "tensorboard": False, "difficulty": (0.0, 0.2),
    }  # fmt: skip
    return TrainSettings(**values | changes)


def assert_same(a, b, path=""):
    """Equal values in nested dictionaries, lists and tensors."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{i}")
    else:
        assert a == b, path


def run_python(*arguments, **environment):
    """Run Python on one thread and the CPU; returns the finished process."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"} | environment,
        capture_output=True,
        timeout=300,
        encoding="utf-8",
    )


def write_pairs(folder, count):
    """Photos in im/ and masks of discs in gt/."""
    for name in ("im", "gt"):
        (folder / name).mkdir(parents=True)
    disc = Image.radial_gradient("L").resize((70, 50)).point(lambda v: 255 * (v < 90))
    for i in range(count):
        Image.effect_noise((70, 50), 40 + i).convert("RGB").save(folder / "im" / f"{i}.jpg")
        disc.save(folder / "gt" / f"{i}.png")
    return folder
