"""Sample photos with masks: four photos that scikit-image installs, and hand-made masks of their main objects."""

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from birefnet_lite.inference.images import read_mask, read_photo

PHOTOS = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
}
"""Each photo's name, and its file in scikit-image's data folder."""


def load_photo(name: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Load a sample photo, the mask of its main object, and the pixels that a score should leave out.

    Needs no network connection.

    Args:
        name: A key of `PHOTOS`.

    Returns:
        image (H, W, 3) uint8; mask (H, W) bool; ignore (H, W) bool, all False where nothing is disputable.

    Raises:
        ValueError: There is no photo of that name.

    Examples:
        >>> photo, mask, ignore = load_photo("astronaut")
        >>> photo.shape, mask.shape
        ((512, 512, 3), (512, 512))
    """
    if name not in PHOTOS:
        raise ValueError(f"no photograph {name!r} with a mask; choose one of {', '.join(PHOTOS)}")
    with as_file(files("skimage.data") / PHOTOS[name]) as path:
        image = read_photo(path).pixels.astype(np.uint8, copy=False)
    here = files("birefnet_lite.photos")
    mask = _read_bool_mask(here / f"{name}.png")
    disputable = here / f"{name}.ignore.png"
    ignore = _read_bool_mask(disputable) if disputable.is_file() else np.zeros_like(mask)
    return image, mask, ignore


def _read_bool_mask(resource: Traversable) -> NDArray[np.bool_]:
    """The mask in a file of a package."""
    with as_file(resource) as path:
        return read_mask(path) > 0.5
