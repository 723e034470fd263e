"""Computes the results that notebook 10 loads, since they take too long there: `python benchmarks/attributions.py`.

For two predictions of `nano` it computes what integrated gradients add up to with more and more steps, and keeps the
map of the most steps; for one of them the maps of the other methods; and how the S-measure changes when parts of the
trained network are switched off. All goes to `birefnet_lite/course/attributions.npz`. Ten minutes on one core.
"""

import argparse
import io
import time

import numpy as np
import torch

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import ablatable, mask_without
from birefnet_lite.analysis.attribution import attribute, possible_methods
from birefnet_lite.course import course_model
from birefnet_lite.course.attributions import RESULTS
from birefnet_lite.inference.predict import resize
from birefnet_lite.metrics import measure
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.output import write_bytes
from birefnet_lite.photos import PHOTOS, load_photo

SIZES = {"coffee": (128, 192), "astronaut": (128, 128)}
STEPS = (4, 8, 16, 32, 64, 128, 256, 512)
BATCH = 16
TORN = {"no inward reference": "inward_reference", "no outward reference": "gradient_attention", "one scale": ".half."}


def region(name: str, mask: np.ndarray) -> np.ndarray:
    """The region that is explained: all of the predicted mask, or for the astronaut what of it is in the head's box."""
    if name != "astronaut":
        return mask
    height, width = mask.shape
    box = np.zeros_like(mask)
    box[: int(0.45 * height), int(0.28 * width) : int(0.6 * width)] = 1
    return mask * box


def other_methods(model: BiRefNet) -> dict[str, np.ndarray]:
    """The maps of the coffee by the methods that take no steps."""
    image = prepare(model, load_photo("coffee")[0], size=SIZES["coffee"])
    mask = capture(model, image).mask
    maps = {method: attribute(model, image, method, mask, patch=4) for method in possible_methods(model)[1:]}
    return {f"coffee {method}": values.astype(np.float16) for method, values in maps.items()}


def measure_ablations(model: BiRefNet) -> dict[str, np.ndarray]:
    """How the S-measure of each photo changes without some parts of the trained network."""

    def score(name: str, off: list[str]) -> float:
        photo, by_hand, _ = load_photo(name)
        mask = resize(mask_without(model, prepare(model, photo), off), *by_hand.shape).clip(0, 1)
        return measure(mask, by_hand, stretch=False, names=("s_measure",)).values["s_measure"]

    found = {}
    for variant, part in TORN.items():
        off = [layer for layer in ablatable(model) if part in layer]
        found[f"ablation: {variant}"] = np.array([score(name, off) - score(name, []) for name in PHOTOS])
    return found


def main() -> None:
    """Compute all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    model = course_model().model
    found = other_methods(model) | measure_ablations(model) | integrated_gradients(model)
    stream = io.BytesIO()
    np.savez_compressed(stream, **found)
    write_bytes(RESULTS, stream.getvalue())


def integrated_gradients(model: BiRefNet) -> dict[str, np.ndarray]:
    """Sums and maps of integrated gradients for both predictions."""
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
    return found


if __name__ == "__main__":
    main()
