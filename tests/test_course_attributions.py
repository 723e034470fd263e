"""The stored results of notebook 10: complete, and about the photos that the course has."""

import io

import numpy as np
import pytest
from PIL import Image

from birefnet_lite.analysis import capture
from birefnet_lite.analysis.attribution import METHODS, agreement, attribute
from birefnet_lite.course import attributions, course_model
from birefnet_lite.course.attributions import convergence_plot, stored_ablation, stored_attribution, stored_map
from birefnet_lite.photos import PHOTOS, load_photo


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
    with pytest.raises(ValueError, match="no map by 'guess'"):
        stored_map("guess")
    with pytest.raises(ValueError, match="no result for 'no head'"):
        stored_ablation("no head")
    monkeypatch.setattr(attributions, "RESULTS", tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match="There are no attributions"):
        stored_attribution("coffee")


def test_the_maps_of_all_methods_are_those_of_the_coffee():
    photo, by_hand, _ = load_photo("coffee")
    maps = {method: stored_map(method) for method in METHODS}
    assert {values.shape for values in maps.values()} == {(128, 192)}
    assert np.array_equal(maps["integrated gradients"], stored_attribution("coffee").map)
    model = course_model().model
    mask = capture(model, photo, size=(128, 192)).mask
    again = attribute(model, photo, "layer GradCAM", mask, size=(128, 192))
    assert np.corrcoef(again.ravel(), maps["layer GradCAM"].ravel())[0, 1] > 0.999
    assert len(np.unique(maps["occlusion"])) <= 16  # one value for each square
    small = np.asarray(Image.fromarray(by_hand).convert("L").resize((192, 128))) / 255
    assert agreement(maps["layer GradCAM"], small)["lift"] > agreement(maps["occlusion"], small)["lift"]


def test_what_is_switched_off_has_a_change_for_each_photo():
    for variant in ("no inward reference", "no outward reference", "one scale"):
        assert stored_ablation(variant).shape == (len(PHOTOS),)
    assert stored_ablation("one scale").max() < 0


def test_the_plot_has_words_and_is_drawn():
    picture = convergence_plot()
    assert "512 steps 102 %" in picture.alt
    assert np.asarray(Image.open(io.BytesIO(picture.png)).convert("L")).std() > 5
