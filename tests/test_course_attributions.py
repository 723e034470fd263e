"""The stored integrated gradients of notebook 10: complete, and about the photos that the course has."""

import io

import numpy as np
import pytest
from PIL import Image

from birefnet_lite.course import attributions
from birefnet_lite.course.attributions import convergence_plot, stored_attribution


@pytest.mark.parametrize(("name", "size"), [("coffee", (128, 192)), ("astronaut", (128, 128))])
def test_the_shares_add_up_to_the_gain_within_five_percent(name, size):
    stored = stored_attribution(name)
    assert stored.map.shape == size
    assert stored.error < 0.05
    assert abs(stored.map.sum() / stored.gain - 1) < 0.05
    assert list(stored.steps) == sorted(stored.steps)
    assert len(stored.steps) == len(stored.sums)


def test_few_steps_are_not_complete():
    for name in ("coffee", "astronaut"):
        stored = stored_attribution(name)
        assert abs(stored.sums[0] / stored.gain - 1) > 0.5


def test_a_wrong_name_and_a_missing_file_say_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="'coffee' and 'astronaut'"):
        stored_attribution("dog")
    monkeypatch.setattr(attributions, "RESULTS", tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match="There are no attributions"):
        stored_attribution("coffee")


def test_the_plot_has_words_and_is_drawn():
    picture = convergence_plot()
    assert "512 steps 102 %" in picture.alt
    assert np.asarray(Image.open(io.BytesIO(picture.png)).convert("L")).std() > 5
