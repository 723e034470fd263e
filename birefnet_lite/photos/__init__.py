"""Four photographs that scikit-image installs, with hand-made masks of their main object; README.md says more."""

from importlib.resources import as_file, files

import numpy as np
from PIL import Image

PHOTOS = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
}
"""Name of each photograph: its file in scikit-image's data folder."""


def load_photo(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photograph, the mask of its main object, and the pixels that a score should leave out.

    Returns image (H, W, 3) uint8, mask (H, W) bool, ignore (H, W) bool; ignore is all False if
    nothing is disputable. Needs no network. Raises ValueError for a name that is not in PHOTOS.
    """
    if name not in PHOTOS:
        raise ValueError(f"no photograph {name!r} with a mask; choose one of {', '.join(PHOTOS)}")
    image = read(files("skimage.data") / PHOTOS[name], "RGB")
    here = files("birefnet_lite.photos")
    mask = read(here / f"{name}.png", "L") > 127
    disputable = here / f"{name}.ignore.png"
    ignore = read(disputable, "L") > 127 if disputable.is_file() else np.zeros_like(mask)
    return image, mask, ignore


def read(resource, mode: str) -> np.ndarray:
    """Pixels of a picture inside a package."""
    with as_file(resource) as path, Image.open(path) as picture:
        return np.asarray(picture.convert(mode))
