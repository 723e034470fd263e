"""Time cut-outs of photos by part, and compare foreground estimates on composites with known colours.

    python benchmarks/cutouts.py                      # time of each part, errors of the estimates
    python benchmarks/cutouts.py --before CHECKOUT    # the same parts in an older checkout, in the same run
    python benchmarks/cutouts.py --command            # also the whole command `segment --cutout`, twelve photos
    python benchmarks/cutouts.py --overlap            # only that command, with and without its threads' overlap

Photos have 12 megapixels: the sample photos enlarged, with noise like a camera's. The estimate of pymatting
(Germer et al. 2020) is compared where that package is installed: uv pip install pymatting.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from birefnet_lite import load
from birefnet_lite.inference.cutout import estimate_foreground
from birefnet_lite.inference.images import read_photo
from birefnet_lite.inference.predict import cut_out, segment
from birefnet_lite.photos import load_photo

NAMES = ("astronaut", "chelsea", "coffee", "motorcycle")
SIZE = (4000, 3000)  # width, height
ROUNDS = 3


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", metavar="CHECKOUT", help="an older checkout of this repository to compare with")
    parser.add_argument("--command", action="store_true", help="time the whole command on twelve photos, too")
    parser.add_argument("--overlap", action="store_true", help="time and memory of the command without its overlap")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json:
        print(json.dumps(time_parts()))
        return
    if options.overlap:
        print_overlap()
        return
    columns = {"now": time_parts()}
    if options.before:
        columns = {"before": time_elsewhere(Path(options.before)), **columns}
    print("Seconds a photo of 12 megapixels, median of", ROUNDS * len(NAMES), "\n")
    print(f"| part | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for part in columns["now"]:
        print(f"| {part} | {' | '.join(f'{column[part]:.2f}' for column in columns.values())} |")
    if options.command:
        times = {name: time_command(root) for name, root in roots(options.before).items()}
        print("| whole command, twelve photos | " + " | ".join(f"{seconds:.1f}" for seconds in times.values()) + " |")
    print_errors()


def roots(before: str | None) -> dict[str, Path]:
    """The checkouts that are compared, by column."""
    here = {"now": Path(__file__).parent.parent}
    return {"before": Path(before), **here} if before else here


def make_photo(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A sample photo enlarged to `size` (width, height), with noise: (H, W, 3), uint8."""
    pixels = np.asarray(Image.fromarray(np.asarray(load_photo(name)[0])).resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape[:2])[..., None]
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def time_parts() -> dict[str, float]:
    """Median seconds of each part of a cut-out with `nano`, over the photos and rounds."""
    model = load("nano", device="cpu")
    seconds: dict[str, list[float]] = {}

    def measure(part: str, function: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = function()
        seconds.setdefault(part, []).append(time.perf_counter() - start)
        return result

    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            path = Path(folder, f"{name}.jpg")
            Image.fromarray(make_photo(name)).save(path, quality=92)
            for _ in range(ROUNDS):
                photo = measure("read", lambda path=path: read_photo(path))
                mask = measure("network", lambda photo=photo: segment(model, photo))
                result = measure("foreground colours", lambda photo=photo, mask=mask: cut_out(photo, mask))
                levels = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
                measure("write the mask (PNG)", lambda levels=levels: levels.save(io.BytesIO(), "PNG"))
                for level in (6, 1):
                    part = f"write the cut-out (PNG, level {level})"
                    measure(part, lambda r=result, n=level: r.save(io.BytesIO(), "PNG", compress_level=n))
                measure("write the cut-out (WebP)", lambda r=result: r.save(io.BytesIO(), "WEBP", quality=90, method=0))
    return {part: median(values) for part, values in seconds.items()}


def time_elsewhere(checkout: Path) -> dict[str, float]:
    """`time_parts` with the package of another checkout, in a process of its own."""
    script = Path(__file__).read_text(encoding="utf-8")
    # The modules of a cut-out had other names before version 0.1.
    old = {"birefnet_lite.inference.images": "birefnet_lite.image_input"}
    old |= {"birefnet_lite.inference.predict": "birefnet_lite.predict"}
    old |= {"birefnet_lite.inference.cutout": "birefnet_lite.foreground"}
    if not (checkout / "birefnet_lite" / "inference").is_dir():
        for new_name, old_name in old.items():
            script = script.replace(new_name, old_name)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", script, "--json"]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def time_command(checkout: Path) -> float:
    """Seconds of `segment --cutout` on twelve photos, with the package of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(12):
            Image.fromarray(make_photo(NAMES[number % len(NAMES)])).save(Path(folder, f"{number:02}.jpg"), quality=92)
        command = [sys.executable, "-m", "birefnet_lite", "segment", folder, "-o", str(Path(folder, "out")), "--cutout"]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        start = time.perf_counter()
        subprocess.run([*command, "--device", "cpu"], env=environment, cwd=checkout, check=True, capture_output=True)
        return time.perf_counter() - start


ALONE = """
import functools, sys
from birefnet_lite.cli import main, segment
segment.run_pipeline = functools.partial(segment.run_pipeline, max_pixels=1)
sys.exit(main.main(sys.argv[1:]))
"""
"""The command with one photo in memory at a time: it is read, segmented and written before the next is read."""


def print_overlap() -> None:
    """Print seconds and peak memory of the command, with and without reading and writing beside the network."""
    ways = {"one photo at a time": ["-c", ALONE], "overlapping": ["-m", "birefnet_lite"]}
    print("`segment` on twelve photos of 12 megapixels, start included, medians of", ROUNDS, "by turns\n")
    print("| | one photo at a time | overlapping | ratio |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for number in range(12):
            Image.fromarray(make_photo(NAMES[number % len(NAMES)])).save(photos / f"{number:02}.jpg", quality=92)
        for what, flags in {"masks": [], "cut-outs": ["--cutout"]}.items():
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for turn in range(ROUNDS):
                for name, start in ways.items():
                    out = Path(folder, f"out-{what}-{turn}-{len(name)}")
                    command = [sys.executable, *start, "segment", str(photos), "-o", str(out), *flags]
                    measured[name].append(run_measured([*command, "--device", "cpu"]))
            for index, unit in enumerate(("s", "MiB")):
                before, after = (median(values[index] for values in column) for column in measured.values())
                print(f"| {what}, {unit} | {before:.1f} | {after:.1f} | {before / after:.2f} |", flush=True)


LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(done.returncode)
"""
"""Linux counts the memory of the process that starts a command as the command's own, so a small process starts it."""


def run_measured(command: list[str]) -> tuple[float, float]:
    """Run a command, and return its seconds and its peak memory in MiB (Linux)."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    return seconds, mebibytes


# -- quality -----------------------------------------------------------------------------------------------------------
def print_errors() -> None:
    """Print the error of each estimate on composites whose foreground colours are known."""
    estimates: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "none (the photo's colours)": lambda image, alpha: image,
        "this project": lambda image, alpha: estimate_foreground(image, alpha) / 255,
    }
    try:
        from pymatting import estimate_foreground_ml
    except ImportError:
        print("\npymatting is not installed, so it is not compared.")
    else:
        estimates["pymatting, multi-level"] = lambda image, alpha: estimate_foreground_ml(
            image.astype(np.float64), alpha.astype(np.float64)
        )
    cases = make_composites()
    print("\nMean error of alpha * F in 8-bit levels, where alpha is between 0 and 1 (and its 95th percentile)\n")
    large, alpha_of_large = (
        make_photo("astronaut"),
        np.linspace(0, 1, SIZE[0], dtype=np.float32)[None].repeat(SIZE[1], axis=0),
    )
    print(f"| estimate | {' | '.join(cases)} | seconds at 12 megapixels |\n|---|{'---:|' * (len(cases) + 1)}")
    for name, estimate in estimates.items():
        cells = []
        for image, alpha, truth in cases.values():
            soft = (alpha > 0) & (alpha < 1)
            error = 255 * np.abs(alpha[..., None] * (estimate(image, alpha) - truth))[soft]
            cells.append(f"{error.mean():.2f} ({np.percentile(error, 95):.1f})")
        start = time.perf_counter()
        estimate(large.astype(np.float32) / 255 if name.startswith("pymatting") else large, alpha_of_large)
        cells.append(f"{time.perf_counter() - start:.1f}")
        print(f"| {name} | {' | '.join(cells)} |")


def make_composites(size: int = 768) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, alpha and true foreground for kinds of soft masks, float32 in [0, 1]; the image has 8-bit levels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    distance = np.hypot(y - size / 2, x - size / 2)
    front, back = (make_photo(name, (size, size)).astype(np.float32) / 255 for name in ("chelsea", "coffee"))
    alphas = {
        "edge, 3 pixels": np.clip((size / 3 - distance) / 3 + 0.5, 0, 1),
        "edge, 30 pixels": np.clip((size / 3 - distance) / 30 + 0.5, 0, 1),
        "hair": draw_hair(size, rng),
        "glass": np.where(distance < size / 3, 0.35 + 0.3 * (distance > size / 3.4), 0),
    }
    cases = {}
    for name, drawn in alphas.items():
        alpha = np.round(drawn * 255).astype(np.float32) / 255
        mixed = alpha[..., None] * front + (1 - alpha[..., None]) * back
        cases[name] = (np.round(mixed * 255).astype(np.float32) / 255, alpha, front)
    return cases


def draw_hair(size: int, rng: np.random.Generator, strands: int = 400) -> np.ndarray:
    """Alpha of a disc with curved strands one to two pixels wide, drawn four times as large and averaged."""
    from PIL import ImageDraw

    scale = 4
    image = Image.new("L", (size * scale, size * scale))
    pen = ImageDraw.Draw(image)
    centre, radius = size * scale / 2, size * scale / 4
    pen.ellipse([centre - radius, centre - radius, centre + radius, centre + radius], fill=255)
    for angle, bend, length, width in zip(
        rng.uniform(0, 2 * np.pi, strands),
        rng.normal(0, 0.6, strands),
        rng.uniform(0.3, 0.9, strands),
        rng.integers(4, 9, strands),
        strict=True,
    ):
        at = np.linspace(0.95, 1 + length, 24)
        turn = angle + bend * (at - 1)
        points = np.stack([centre + radius * at * np.cos(turn), centre + radius * at * np.sin(turn)], axis=1)
        pen.line([tuple(point) for point in points.tolist()], fill=255, width=int(width))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32) / 255


if __name__ == "__main__":
    main()
