"""Make tests/data/metric_cases.npz and tests/data/metric_reference.json: what other programs score.

Run in an environment of its own, since these packages pin NumPy and friends lower than the project does:

    uv venv somewhere && uv pip install -p somewhere/bin/python pysodmetrics==1.6.2 opencv-python-headless
    somewhere/bin/python tests/make_metric_reference.py

and once more with opencv-python-headless==4.12.0.88, which then only adds HCE as OpenCV counted corners up to 4.12.
pysodmetrics gives S, E, F, weighted F, MAE and HCE. Boundary IoU and mBA are in no package; they are written out here
with OpenCV's morphology.
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics
from scipy.ndimage import gaussian_filter

DATA = Path(__file__).parent / "data"
PACKAGES = ("pysodmetrics", "opencv-python-headless", "scikit-image", "scipy", "numpy")


def smooth(rng, height, width, sigma):
    """A smooth random map that uses all of 0 to 255."""
    field = gaussian_filter(rng.standard_normal((height, width)), sigma)
    return np.round(255 * (field - field.min()) / np.ptp(field)).astype(np.uint8)


def lattice(height, width, step, line):
    rows, columns = np.mgrid[:height, :width]
    inside = (rows > height // 8) & (rows < height - height // 8) & (columns > width // 8)
    return np.where(inside & ((rows % step < line) | ((rows + columns) % (2 * step) < line)), 255, 0).astype(np.uint8)


def make_cases():
    rng = np.random.default_rng(2024)
    cases = {}

    def disturbed(mask, sigma, noise):
        soft = gaussian_filter(mask.astype(float), sigma) + noise * rng.standard_normal(mask.shape)
        return np.clip(np.round(soft), 0, 255).astype(np.uint8)

    def mask(height, width, sigma, share=0.6):
        field = smooth(rng, height, width, sigma)
        return np.where(field > np.quantile(field, share), 255, 0).astype(np.uint8)

    cases["unrelated soft maps"] = smooth(rng, 64, 64, 6), mask(64, 64, 8)
    cases["noise"] = rng.integers(0, 256, (50, 70), dtype=np.uint8), mask(50, 70, 5)
    cases["empty mask"] = smooth(rng, 40, 48, 4), np.zeros((40, 48), np.uint8)
    cases["empty mask, faint noise"] = rng.integers(0, 4, (40, 48), dtype=np.uint8), np.zeros((40, 48), np.uint8)
    cases["empty both"] = np.zeros((33, 40), np.uint8), np.zeros((33, 40), np.uint8)
    cases["full mask"] = smooth(rng, 40, 48, 4), np.full((40, 48), 255, np.uint8)
    cases["full both"] = np.full((33, 40), 255, np.uint8), np.full((33, 40), 255, np.uint8)
    blob = mask(72, 90, 7)
    cases["perfect"] = blob, blob
    cases["inverted"] = 255 - blob, blob
    cases["nothing found"] = np.zeros_like(blob), blob
    cases["everything found"] = np.full_like(blob, 255), blob
    cases["constant grey"] = np.full_like(blob, 77), blob
    cases["blurred"] = disturbed(blob, 4, 0), blob
    cases["low contrast"] = (100 + disturbed(blob, 2, 20) // 6).astype(np.uint8), blob
    cases["soft mask"] = disturbed(blob, 3, 10), gaussian_filter(blob, 5)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None], 9, axis=0)
    cases["every level"] = levels, np.roll(levels, 40, axis=1)
    cases["odd and narrow"] = disturbed(mask(97, 31, 4), 2, 30), mask(97, 31, 4)
    cases["wide"] = disturbed(mask(23, 140, 4), 2, 30), mask(23, 140, 4)
    cases["tiny 3 x 3"] = rng.integers(0, 256, (3, 3), dtype=np.uint8), np.diag([255, 255, 0]).astype(np.uint8)
    cases["tiny 2 x 5"] = (
        rng.integers(0, 256, (2, 5), dtype=np.uint8),
        np.uint8([[0, 255, 0, 0, 0], [0, 255, 255, 0, 0]]),
    )
    dot = np.zeros((20, 20), np.uint8)
    dot[7, 9] = 255
    cases["one pixel"] = disturbed(dot, 1, 3), dot
    lines = lattice(160, 120, 13, 2)
    shifted = np.roll(disturbed(lines, 0.8, 25), (1, 3), axis=(0, 1))
    cases["thin lattice, shifted"] = shifted, lines
    thick = lattice(180, 200, 40, 11)
    broken = np.where(smooth(rng, 180, 200, 9) > 140, thick, 0).astype(np.uint8)
    cases["lattice, broken"] = disturbed(broken, 1.5, 15), thick
    large = mask(300, 400, 14)
    holed = np.where(mask(300, 400, 3, 0.8) > 0, 0, large).astype(np.uint8)
    cases["large with holes"] = disturbed(mask(300, 400, 12) // 2 + large // 2, 2, 20), holed
    cases["large, holes filled"] = disturbed(large, 2, 10), holed
    big = mask(900, 1000, 25)  # large enough for mBA's bands to have different widths
    cases["big, zeros and ones"] = np.where(mask(900, 1000, 5, 0.9) > 0, 255 - big, np.roll(big, 4, axis=1)), big
    return cases


def boundary(mask, ratio=0.02):
    """Boundary IoU's rim: the map less its erosion, zeros around the image."""
    radius = max(1, round(ratio * float(np.hypot(*mask.shape))))
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return mask - cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=radius)[1:-1, 1:-1]


def boundary_iou_curve(pred, gt):
    rim, target = boundary((pred * 255).astype(np.uint8)), boundary(gt.astype(np.uint8) * 255) > 128
    wanted = max(1, np.count_nonzero(target))
    return [
        np.count_nonzero((rim >= t) & target) / (wanted + np.count_nonzero((rim >= t) & ~target)) for t in range(256)
    ]


def boundary_iou(pred, gt):
    ours, theirs = boundary((pred > 0.5).astype(np.uint8)) > 0, boundary(gt.astype(np.uint8)) > 0
    union = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours & theirs) / union if union else 1.0


def mean_boundary_accuracy(pred, gt):
    height, width = gt.shape
    accuracies = []
    for step in range(5):
        radius = 1 + int(((width + height) / 300 - 1) / 5 * step)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        band = cv2.morphologyEx(gt.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0
        accuracies.append(np.count_nonzero(((pred > 0.5) == gt) & band) / max(1, np.count_nonzero(band)))
    return float(np.mean(accuracies)) if band.any() else float("nan")


def score(pred, gt, stretch):
    """pred and gt: uint8. With stretch the package prepares them; without, they are handed over ready."""
    ready_gt = gt > 128
    ready = pred / 255
    if stretch:
        if ready.max() > ready.min():
            ready = (ready - ready.min()) / (ready.max() - ready.min())
        arguments = (pred, gt, True)
    else:
        arguments = (ready, ready_gt, False)
    found = {}
    for name in ("Smeasure", "Emeasure", "Fmeasure", "WeightedFmeasure", "MAE", "HumanCorrectionEffortMeasure"):
        metric = getattr(py_sod_metrics, name)()
        metric.step(*arguments)
        found |= metric.get_results()
    curves = {
        "e": found["em"]["curve"][::-1],  # the package's curves start at threshold 255
        "f": found["fm"]["curve"][::-1],
        "boundary_iou": np.array(boundary_iou_curve(ready, ready_gt)),
    }
    values = {
        "s_measure": found["sm"],
        "weighted_f": found["wfm"],
        "mae": found["mae"],
        "hce": found["hce"],
        "e_adaptive": found["em"]["adp"],
        "f_adaptive": found["fm"]["adp"],
        "boundary_iou": boundary_iou(ready, ready_gt),
        "mba": mean_boundary_accuracy(ready, ready_gt),
    }
    for name, curve in curves.items():
        values |= {f"{name}_mean": curve.mean(), f"{name}_max": curve.max()}
    return {
        "values": {name: None if np.isnan(value) else float(value) for name, value in values.items()},
        "curves_at_every_15th": {name: curve[::15].tolist() for name, curve in curves.items()},
    }


def hce_with_an_earlier_opencv():
    document = json.loads((DATA / "metric_reference.json").read_text())
    with np.load(DATA / "metric_cases.npz") as arrays:
        for index, case in enumerate(document["cases"].values()):
            metric = py_sod_metrics.HumanCorrectionEffortMeasure()
            metric.step(arrays[f"prediction_{index}"], arrays[f"mask_{index}"], True)
            case["stretched"]["hce with OpenCV 4.12"] = float(metric.get_results()["hce"])
    return document


def main():
    warnings.simplefilter("ignore")
    if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 13):
        (DATA / "metric_reference.json").write_text(json.dumps(hce_with_an_earlier_opencv(), indent=1) + "\n")
        return
    cases = make_cases()
    arrays, scores = {}, {}
    for index, (name, (pred, gt)) in enumerate(cases.items()):
        arrays[f"prediction_{index}"], arrays[f"mask_{index}"] = pred, gt
        scores[name] = {"stretched": score(pred, gt, True), "as given": score(pred, gt, False)}
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(DATA / "metric_cases.npz", **arrays)
    document = {"made with": {package: version(package) for package in PACKAGES}, "cases": scores}
    (DATA / "metric_reference.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
