"""Integrated gradients of notebook 10, with enough steps: `python benchmarks/attributions.py`.

For two predictions of `nano` it computes what the shares add up to with more and more steps, and keeps the map of the
most steps, in `birefnet_lite/course/attributions.npz`. Ten minutes on one core.
"""

import argparse
import io
import time

import numpy as np
import torch

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.attributions import RESULTS
from birefnet_lite.output import write_bytes
from birefnet_lite.photos import load_photo

SIZES = {"coffee": (128, 192), "astronaut": (128, 128)}
STEPS = (4, 8, 16, 32, 64, 128, 256, 512)
BATCH = 16


def region(name: str, mask: np.ndarray) -> np.ndarray:
    """The region that is explained: all of the predicted mask, or for the astronaut what of it is in the head's box."""
    if name != "astronaut":
        return mask
    height, width = mask.shape
    box = np.zeros_like(mask)
    box[: int(0.45 * height), int(0.28 * width) : int(0.6 * width)] = 1
    return mask * box


def main() -> None:
    """Compute both predictions and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    model = course_model().model
    found: dict[str, np.ndarray] = {"steps": np.array(STEPS)}
    for name, size in SIZES.items():
        image = prepare(model, load_photo(name)[0], size=size).tensor
        chosen = torch.from_numpy(region(name, capture(model, load_photo(name)[0], size=size).mask))

        def score(images: torch.Tensor, chosen: torch.Tensor = chosen) -> torch.Tensor:
            return (model(images).logits[:, 0] * chosen).sum(dim=(1, 2)) / chosen.sum()

        with torch.no_grad():
            gain = float(score(image) - score(torch.zeros_like(image)))
        sums = []
        for steps in STEPS:
            started = time.perf_counter()
            total = torch.zeros_like(image)
            for first in range(0, steps, BATCH):
                alphas = (torch.arange(first, min(first + BATCH, steps)) + 0.5) / steps
                points = (alphas[:, None, None, None] * image).requires_grad_()
                total += torch.autograd.grad(score(points).sum(), points)[0].sum(dim=0, keepdim=True)
            shares = image * total / steps
            sums.append(float(shares.sum()))
            print(
                f"{name} {steps:4} steps: {sums[-1]:7.3f} of {gain:7.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )
        found |= {
            f"{name} gain": np.array(gain),
            f"{name} sums": np.array(sums),
            f"{name} map": shares[0].sum(dim=0).numpy().astype(np.float16),
        }
    stream = io.BytesIO()
    np.savez_compressed(stream, **found)
    write_bytes(RESULTS, stream.getvalue())


if __name__ == "__main__":
    main()
