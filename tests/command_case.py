"""Files for the tests of the command line: random photos, and the names in a folder."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_photo(path, height=20, width=30, seed=0, **options):
    """A photo of random pixels; `options` are those of Pillow's `save`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def list_names(folder):
    """The names of the files in a folder, sorted."""
    return sorted(path.name for path in Path(folder).iterdir())
