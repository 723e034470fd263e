"""The explorer's arithmetic in JavaScript, run by node against Pillow and the Python functions that it repeats."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from birefnet_lite.analysis.summaries import colours_of, fit_basis, norm_of, segments_of
from birefnet_lite.network.refinement import gradient_target, laplacian, masked_gradient_target
from birefnet_lite.network.resize import resize as resize_aligned
from widgets.channel_ranking import channel_statistics
from widgets.explorer.page import PAGE, WORKER, join_modules
from widgets.planes import quantise

NODE = shutil.which("node")
TEST = Path(__file__).parent / "js" / "explorer.test.js"
# (height, width): shrunk and enlarged, by whole and broken factors, in one direction, in both, and in none.
SIZES = [
    ((300, 400), (256, 256)),
    ((512, 512), (256, 256)),
    ((1023, 767), (256, 256)),
    ((97, 131), (256, 256)),
    ((256, 256), (256, 256)),
    ((256, 700), (256, 256)),
    ((1, 5), (32, 64)),
    ((3000, 37), (256, 96)),
    ((33, 65), (32, 64)),
    ((640, 480), (639, 481)),
    ((2000, 1000), (256, 256)),
    ((300, 200), (256, 256)),
    ((400, 328), (256, 256)),
    ((402, 328), (256, 256)),
]


class Goldens:
    """Arrays as files in a folder that the JavaScript reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def keep(self, array) -> str:
        self.count += 1
        (self.folder / f"{self.count}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
        return f"{self.count}.bin"


def test_javascript_agrees_with_pillow_and_python(tmp_path):
    if NODE is None:
        pytest.skip("node is not installed")
    goldens, random = Goldens(tmp_path), np.random.default_rng(0)
    content = {
        "bytes": [resized_bytes(goldens, random, *sizes) for sizes in SIZES],
        "floats": [resized_floats(goldens, random, *sizes[::-1]) for sizes in SIZES],
        "white": over_white(goldens, random),
        "aligned": [aligned(goldens, random, *sizes) for sizes in SIZES[:4]],
        "planes": [plane(goldens, values) for values in plane_cases(random)],
        "statistics": [statistics(goldens, random, shape) for shape in ((5, 40, 33), (3, 8, 8), (2, 100, 64))],
        "summaries": [summaries(goldens, random, shape) for shape in ((20, 24, 24), (150, 8, 8), (5, 16, 12))],
        "targets": [targets(goldens, random, *sizes) for sizes in (((64, 96), (8, 12)), ((256, 256), (32, 32)))],
    }
    (tmp_path / "goldens.json").write_text(json.dumps(content))
    environment = {**os.environ, "GOLDENS": str(tmp_path)}
    done = subprocess.run([NODE, "--test", str(TEST)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 8" in done.stdout


def resized_bytes(goldens, random, before, after):
    pixels = random.integers(0, 256, (*before, 3), dtype=np.uint8)
    pixels[: before[0] // 2] = np.where(pixels[: before[0] // 2] > 127, 255, 0)
    result = Image.fromarray(pixels).resize(after[::-1], Image.Resampling.BILINEAR)
    return {"source": goldens.keep(pixels), "result": goldens.keep(np.asarray(result)), "from": before, "to": after}


def resized_floats(goldens, random, before, after):
    values = random.random(before, dtype=np.float32)
    result = Image.fromarray(values).resize(after[::-1], Image.Resampling.BILINEAR)
    return {"source": goldens.keep(values), "result": goldens.keep(np.asarray(result)), "from": before, "to": after}


def over_white(goldens, random):
    pixels = random.integers(0, 256, (64, 64, 4), dtype=np.uint8)
    pixels[:8, :, 3], pixels[8:16, :, 3] = 0, 255
    result = Image.alpha_composite(Image.new("RGBA", (64, 64), "white"), Image.fromarray(pixels, "RGBA"))
    return {"source": goldens.keep(pixels), "result": goldens.keep(np.asarray(result))}


def aligned(goldens, random, before, after):
    values = random.normal(size=before).astype(np.float32)
    result = resize_aligned(torch.from_numpy(values)[None, None], after)[0, 0].numpy()
    return {"source": goldens.keep(values), "result": goldens.keep(result), "from": before, "to": after}


def plane_cases(random):
    values = random.normal(size=(13, 7)).astype(np.float32)
    odd = values.copy()
    odd[0, :3] = np.nan, np.inf, -np.inf
    return values, odd, np.full((4, 4), 3, np.float32), values * 1e-30, np.full((2, 2), np.nan, np.float32)


def plane(goldens, values):
    made = quantise(values)
    names = {"source": goldens.keep(values), "result": goldens.keep(made.codes)}
    return {**names, "lo": made.lo, "hi": made.hi, "shape": values.shape}


def statistics(goldens, random, shape):
    maps = random.normal(size=shape).astype(np.float32) * 3 + 1
    maps[0] = 2
    mask = random.random(shape[1:], dtype=np.float32)
    result = channel_statistics(maps, mask)
    names = {"source": goldens.keep(maps), "mask": goldens.keep(mask), "result": goldens.keep(result)}
    return {**names, "shape": shape}


def summaries(goldens, random, shape):
    # Smooth maps of which a few patterns make most, as in a network: their components are told apart.
    patterns = np.cumsum(np.cumsum(random.normal(size=(6, *shape[1:])), axis=1), axis=2)
    mixed = np.einsum("cp,phw->chw", random.normal(size=(shape[0], 6)) * 0.6 ** np.arange(6), patterns)
    maps = (mixed + 0.3 * random.normal(size=shape)).astype(np.float32)
    basis = fit_basis([maps], 6)
    return {
        "source": goldens.keep(maps),
        "shape": shape,
        "colours": goldens.keep(colours_of(maps, basis)),
        "segments": goldens.keep(segments_of(basis.project(maps), 3).astype(np.uint8)),
        "norm": goldens.keep(norm_of(maps)),
        "explained": goldens.keep(basis.explained.astype(np.float32)),
    }


def targets(goldens, random, shape, side_shape):
    image = torch.from_numpy(random.normal(size=(1, 3, *shape)).astype(np.float32))
    side = torch.from_numpy(random.normal(size=(1, 1, *side_shape)).astype(np.float32))
    return {
        "image": goldens.keep(image.numpy()),
        "side": goldens.keep(side.numpy()),
        "shape": shape,
        "sideShape": side_shape,
        "edges": goldens.keep(laplacian(image.mean(dim=1, keepdim=True)).numpy()),
        "original": goldens.keep(gradient_target(image, side).numpy()),
        "masked": goldens.keep(masked_gradient_target(image, side).numpy()),
    }


@pytest.mark.parametrize("names", [PAGE, WORKER])
def test_the_joined_modules_are_one_valid_script(names, tmp_path):
    source = join_modules(names)
    assert "import {" not in source
    if NODE is None:
        pytest.skip("node is not installed")
    path = tmp_path / "joined.mjs"
    path.write_text(source)
    done = subprocess.run([NODE, "--check", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
