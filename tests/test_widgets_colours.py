"""The colours of the views, as eyes see them that lack a kind of cones (Machado, Oliveira and Fernandes, 2009)."""

import itertools
import re

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from widgets.drawing_sheet import TONES
from widgets.front_end import STYLE, read_static
from widgets.planes import colour_map

# From linear RGB to what is seen of it, at full severity.
EYES = {
    "usual": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
each_eye = pytest.mark.parametrize("eyes", EYES)


def seen(colours, eyes):
    """Colours (N, 3) of 0 to 255 as such eyes see them, in L*a*b*."""
    encoded = np.asarray(colours, float) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def test_marks_have_the_same_colours_on_the_page_in_its_picture_and_in_pythons():
    for name, colour in TONES.items():
        if name != "grid":
            assert f".bv-tone-{name} {{ stroke: {colour}; --tone: {colour}; }}" in STYLE
            assert re.search(rf'{name}: "{colour}"', read_static("paper.js"))


@each_eye
def test_marks_are_told_apart(eyes):
    tones = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for name, colour in TONES.items() if name != "grid"]
    for first, second in itertools.combinations(seen(tones, eyes), 2):
        assert deltaE_ciede2000(first, second) > 15


@each_eye
def test_colour_maps_order_their_values(eyes):
    rising = seen(colour_map("viridis"), eyes)[:, 0]
    assert (np.diff(rising[::8]) > 0).all()
    low, middle, high = seen(colour_map("RdBu")[[20, 128, 235]], eyes)
    assert min(deltaE_ciede2000(*pair) for pair in ((low, high), (low, middle), (high, middle))) > 25
