"""Random photos, masks, folders and checkpoints: each ends in the right pixels or in one line, and no file is lost.

`python tests/test_fuzz_files.py 10000` draws as many examples as asked for.
"""

import contextlib
import io
import os
import sys
import tempfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from torch import nn

from birefnet_lite import save as save_model
from birefnet_lite.checkpoints import CheckpointError, load
from birefnet_lite.cli import main as command_line
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.inference.images import read_mask, read_photo, read_size
from birefnet_lite.inference.marks import is_own_output
from birefnet_lite.network.birefnet import BiRefNet

EXAMPLES = 400
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
FORMATS = {"png": "PNG", "tif": "TIFF", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "avif": "AVIF"}
EXACT = ("png", "tif", "bmp", "gif")
NAMES = ["cat", "Cat", "cat-2", "cat.cutout", "aux", "CON", "a b ", "x.y", "-o", "[a]", "%s", "a;b", "nano"]
NAMES += [unicodedata.normalize(form, "M\u00fcller") for form in ("NFC", "NFD")]
NAMES += ["\U0001f408", "\udcff", "n" * 240, "\u00e4" * 120]

sides = st.integers(1, 20)
damages = st.sampled_from(["none", "none", "none", "cut", "byte", "empty", "text", "appended"])
orientations = st.integers(0, 9)


class Green(nn.Module):
    """A network whose mask is the photo's green."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))
        self.config = BiRefNetConfig(train_size=(32, 32))

    def forward(self, batch):
        return batch[:, 1:2] * self.one


@st.composite
def mask_cases(draw):
    """(image, expected mask before EXIF rotation, or None where it must be refused)."""
    height, width = draw(sides), draw(sides)
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    full = rng.random((height, width)) < draw(st.sampled_from([0, 0.3, 1]))
    kind = draw(st.sampled_from(["values", "soft", "colours", "many colours", "alpha", "both", "palette", "few"]))
    if kind == "values":
        dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]))
        most = 1000 if dtype == np.float32 else min(np.iinfo(dtype).max, 10**6)
        low, high = sorted(draw(st.lists(st.integers(0, most), min_size=2, max_size=2, unique=True)))
        image = Image.fromarray(np.where(full, high, low).astype(dtype))
        expected = full if full.any() and not full.all() else np.full(full.shape, (high if full.all() else low) != 0)
    elif kind == "soft":
        dtype, most = draw(st.sampled_from([(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.uint16, 255)]))
        levels = rng.random((height, width))
        levels.flat[0] = 1
        values = np.round(levels * most) if most > 1 else levels
        image, expected = Image.fromarray(values.astype(dtype)), values.astype(dtype) / most
        if len(np.unique(image)) < 3:
            expected = np.asarray(image) == np.max(image)
    elif kind in ("colours", "many colours"):
        colours = rng.integers(0, 256, (2 if kind == "colours" else 3, 3))
        index = full.astype(int)
        if kind == "many colours":
            index = rng.integers(0, 3, (height, width))
        pixels = colours[index].astype(np.uint8)
        image = Image.fromarray(pixels)
        used = np.unique(pixels.reshape(-1, 3), axis=0)
        if len(used) == 1:
            expected = np.full(full.shape, used.any())
        elif len(used) == 2:
            brightness = used @ [299, 587, 114]
            equal = brightness[0] == brightness[1]
            expected = None if equal else pixels @ [299, 587, 114] == brightness.max()
        else:
            expected = None if np.ptp(used, axis=1).max() > 8 or used.max() < 64 else "any"
    elif kind == "alpha":
        image = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(0, 256, 3)))
        image.putalpha(Image.fromarray(full.astype(np.uint8) * 255))
        constant = full.all() or not full.any()
        expected = np.full(full.shape, any(image.getpixel((0, 0))[:3])) if constant else full
    elif kind == "both":
        grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
        alpha = rng.integers(0, 256, (height, width), dtype=np.uint8)
        image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
        expected = None if len(np.unique(grey)) > 1 and len(np.unique(alpha)) > 1 else "any"
    elif kind == "palette":
        image = Image.frombytes("P", (width, height), full.astype(np.uint8).tobytes())
        image.putpalette([int(v) for v in rng.integers(0, 256, 6)])
        expected = full
    else:
        values = rng.integers(0, draw(st.sampled_from([3, 60])), (height, width), dtype=np.uint8)
        image = Image.fromarray(values)
        count = len(np.unique(values))
        expected = (
            None if count > 2 else values == values.max() if count == 2 else np.full(full.shape, values.flat[0] > 0)
        )
    return image, expected


def write(image, path, damage, orientation, rng):
    """The image in a file, perhaps damaged; False where the format does not hold such an image."""
    options = {}
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if path.suffix == ".png" and rng.random() < 0.2:
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "x" * (2**20 + 1), zip=True)
        options["pnginfo"] = text
    if path.suffix == ".webp":
        options["lossless"] = True
    try:
        image.save(path, format=FORMATS[path.suffix[1:].lower()], **options)
    except (OSError, ValueError, TypeError):
        path.unlink(missing_ok=True)
        return False
    data = bytearray(path.read_bytes())
    place = int(rng.integers(0, len(data)))
    if damage == "cut":
        data = data[:place]
    elif damage == "byte":
        data[place] ^= 1 << int(rng.integers(0, 8))
    elif damage == "empty":
        data = bytearray()
    elif damage == "text":
        data = bytearray(b"these are words")
    elif damage == "appended":
        data += b"more"
    path.write_bytes(data)
    return True


def turn(array, orientation):
    """Turn an image as EXIF says, with NumPy."""
    turns = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }
    return turns.get(orientation, lambda a: a)(array)


def attempt(read, path, expected):
    """The image that is read and None, or None and an error of the expected kind."""
    try:
        return read(path), None
    except expected as error:
        return None, error


def is_one_line(error):
    text = str(error)
    return bool(text) and "\n" not in text and len(text) < 1000


def check_mask(case, suffix, damage, orientation, seed):
    image, expected = case
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"mask.{suffix}"
        if not write(image, path, damage, orientation, np.random.default_rng(seed)):
            return
        before = path.read_bytes()
        found, error = attempt(read_mask, path, ValueError)
        assert path.read_bytes() == before
        if error is not None:
            assert is_one_line(error)
            assert "mask." in str(error)
            sound = damage in ("none", "appended") and suffix in ("png", "tif")
            assert not (sound and expected is not None and not isinstance(expected, str)), error
            return
        assert found.dtype == np.float32
        assert found.min() >= 0
        assert found.max() <= 1
        if damage in ("none", "appended"):
            assert found.shape == read_size(path)
            if suffix in ("png", "tif"):
                assert expected is not None
                if not isinstance(expected, str):
                    np.testing.assert_allclose(found, turn(np.asarray(expected, float), orientation), atol=1e-5)


def check_photo(height, width, mode, suffix, damage, orientation, seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
    image = image.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else image.convert(mode)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"photo.{suffix}"
        if not write(image, path, damage, orientation, rng):
            return
        photo, error = attempt(read_photo, path, ValueError)
        if error is not None:
            assert is_one_line(error)
            assert "photo." in str(error)
            assert damage not in ("none", "appended"), error
            return
        if damage in ("none", "appended"):
            assert photo.size == read_size(path)
            if suffix in EXACT and mode in ("RGB", "L", "1") and not (suffix == "gif" and mode == "RGB"):
                wanted = np.asarray(image.convert("RGB"))
                turned = turn(wanted, orientation) if suffix in ("png", "tif") else wanted
                np.testing.assert_array_equal(photo.pixels, turned)


def check_folder(entries, same_folder, cutout, times, seed):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        Path("in").mkdir()
        for stem, suffix, damage, orientation in entries:
            image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            write(image, Path("in") / f"{stem}.{suffix}", damage, orientation, rng)
        before = {path: path.read_bytes() for path in Path("in").iterdir()}
        out = "in" if same_folder else "out"
        counts = []
        for _ in range(times):
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                status = command_line.main(["segment", "in", "-o", out, "--size", "32", *["--cutout"] * cutout])
            assert status in (0, 1, 2)
            assert all(line.startswith("birefnet_lite: ") for line in errors.getvalue().splitlines()), errors.getvalue()
            assert {path: path.read_bytes() for path in before} == before
            files = list(Path(out).iterdir()) if os.path.isdir(out) else []
            assert not [path for path in files if path.suffix == ".unfinished"]
            counts.append(sum(is_own_output(path) for path in files))
        assert len(set(counts)) == 1


def check_checkpoint(model_file, damage, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(model_file)
    place = int(rng.integers(0, min(len(data), 40_000)))
    if damage == "cut":
        data = data[:place]
    elif damage in ("byte", "none"):
        data[place] ^= 1 << int(rng.integers(0, 8))
    elif damage == "empty":
        data = bytearray()
    elif damage == "text":
        data = bytearray(b"these are words")
    else:
        data += b"more"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(data)
        _, error = attempt(lambda path: load(path, "cpu"), path, CheckpointError)
        assert error is None or is_one_line(error)


entries = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["png", "jpg", "JPG", "webp"]), damages, orientations),
    min_size=1,
    max_size=5,
)
seeds = st.integers(0, 2**31)
modes = st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "YCbCr"])


def fuzz(examples):
    """The four properties with as many examples in all."""
    torch.manual_seed(0)
    config = BiRefNetConfig(backbone="resnet50", inter_channels=4, aspp_channels=4, image_channels=4)
    with tempfile.TemporaryDirectory() as folder:
        save_model(BiRefNet(config), Path(folder) / "model.safetensors")
        model_file = (Path(folder) / "model.safetensors").read_bytes()[:60_000]
    suffixes = st.sampled_from(sorted(FORMATS))
    masks = given(mask_cases(), suffixes, damages, orientations, seeds)(check_mask)
    photos = given(sides, sides, modes, suffixes, damages, orientations, seeds)(check_photo)
    folders = given(entries, st.booleans(), st.booleans(), st.integers(1, 3), seeds)(check_folder)
    checkpoints = given(st.just(model_file), damages, seeds)(check_checkpoint)
    for check, share in ((masks, 0.45), (photos, 0.35), (folders, 0.1), (checkpoints, 0.1)):
        settings(max_examples=max(1, int(examples * share)), derandomize=examples <= EXAMPLES, **COMMON)(check)()


def test_random_files_end_in_pixels_or_in_one_line(monkeypatch):
    monkeypatch.setattr("birefnet_lite.checkpoints.load", lambda *_, **__: Green())
    fuzz(EXAMPLES)


if __name__ == "__main__":
    import birefnet_lite.checkpoints

    birefnet_lite.checkpoints.load = lambda *_, **__: Green()
    fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print("no example failed")
