"""The sample photos: images, masks and areas to ignore, against those that scikit-image installs."""

import numpy as np
import pytest
from skimage import data

from birefnet_lite.photos import PHOTOS, load_photo


@pytest.mark.parametrize("name", PHOTOS)
def test_image_mask_and_ignore_fit_together(name):
    image, mask, ignore = load_photo(name)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert mask.shape == ignore.shape == image.shape[:2]
    assert mask.dtype == ignore.dtype == bool
    assert 0.1 < mask.mean() < 0.8
    assert ignore.mean() < 0.15


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_images_are_those_of_scikit_image(name):
    np.testing.assert_array_equal(load_photo(name)[0], getattr(data, name)())


def test_mask_lies_on_the_object():
    """The orange suit is in the mask, the corner behind the astronaut is not; the cat's face is in its own."""
    image, mask, ignore = load_photo("astronaut")
    orange = (image[..., 0] > 180) & (image[..., 1] > 60) & (image[..., 1] < 120) & (image[..., 2] < 70)
    assert mask[orange & ~ignore].mean() > 0.9
    assert not mask[:40, :40].any()
    _, cat, _ = load_photo("chelsea")
    assert cat[150, 220]  # between the eyes


def test_unknown_name_is_answered_with_the_names():
    with pytest.raises(ValueError, match=r"rocket.*astronaut, chelsea, coffee, motorcycle"):
        load_photo("rocket")
