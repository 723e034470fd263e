"""The brush: what a stroke does to a photo, and that views show the network on the painted one."""

import numpy as np
import pytest
import traitlets
from scipy.ndimage import gaussian_filter
from small_network import small

import widgets
from birefnet_lite.analysis import capture
from birefnet_lite.inference.images import MEAN
from widgets.brush import check_strokes, paint_strokes

DAB = {"tool": "erase", "radius": 8, "points": [[40, 30]]}


@pytest.fixture(scope="module")
def tiny():
    return small()


def inside(photo, x, y, radius):
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    return np.hypot(columns - x, rows - y) < radius


def test_a_stroke_changes_what_it_covers_and_nothing_beyond(photo):
    within, near = inside(photo, 40, 30, 4), inside(photo, 40, 30, 13)
    for tool in ("erase", "blur", "brighten", "copy"):
        (stroke,) = check_strokes([{**DAB, "tool": tool, "source": [60, 40]}])
        painted = paint_strokes(photo, [stroke])
        np.testing.assert_array_equal(painted[~near], photo[~near])
        expected = {
            "erase": np.broadcast_to(np.rint(255 * np.array(MEAN)), photo.shape),
            "blur": gaussian_filter(photo.astype(float), (4, 4, 0)),
            "brighten": (photo * 1.5).clip(0, 255),
            "copy": np.roll(photo, (-10, -20), (0, 1)),
        }[tool]
        assert np.abs(painted[within] - expected[within]).max() <= 3
        assert np.abs(painted[within].astype(int) - photo[within]).max() > 10


def test_strokes_follow_each_other_and_may_leave_the_photo(photo):
    line = {"tool": "erase", "radius": 5, "points": [[-30, 10], [200, 10]]}
    painted = paint_strokes(photo, check_strokes([line, {**DAB, "points": [[900, 900]]}]))
    assert np.abs(painted[10].astype(int) - np.rint(255 * np.array(MEAN)).astype(int)).max() <= 1
    again = paint_strokes(painted, check_strokes([DAB]))
    np.testing.assert_array_equal(again, paint_strokes(photo, check_strokes([line, DAB])))


@pytest.mark.parametrize(
    "wrong",
    [{"tool": "paint"}, {"radius": 0}, {"radius": float("nan")}, {"points": []}, {"tool": "copy"}, {"points": [[1]]}],
)
def test_a_wrong_stroke_is_refused(wrong, photo, tiny):
    with pytest.raises(ValueError, match=r"brush|stroke"):
        check_strokes([{**DAB, **wrong}])
    viewer = widgets.prediction_ladder(tiny, photo)
    with pytest.raises(traitlets.TraitError):
        viewer.strokes = [{**DAB, **wrong}]


@pytest.mark.parametrize("name", ["feature_pyramid", "prediction_ladder", "ablation"])
def test_views_show_the_network_on_the_painted_photo(name, photo, tiny):
    viewer = getattr(widgets, name)(tiny, photo)
    viewer.handle({"type": "received"})
    sent = []
    viewer.send = lambda content, buffers=None: sent.append(content)
    layer = {"feature_pyramid": "logits", "prediction_ladder": "final.native", "ablation": "whole"}[name]
    before = viewer.source.plane(layer, 0).values()
    photo_before = viewer.source.photo
    viewer.strokes = [DAB]
    assert viewer.error == ""
    (message,) = sent
    assert message["renewed"]
    assert {part["kind"] for part in message["parts"]} == {"photo", "statistics", "plane"}
    expected = capture(tiny, paint_strokes(photo, check_strokes([DAB])))["logits"]
    expected = expected if layer == "logits" else expected.sigmoid()
    np.testing.assert_allclose(viewer.source.plane(layer, 0).values(), expected[0].numpy(), atol=1e-3)
    assert np.abs(viewer.source.photo.astype(int) - photo_before).max() > 10
    again = widgets.show(viewer.state())
    assert again.strokes == viewer.strokes
    viewer.strokes = []
    np.testing.assert_array_equal(viewer.source.plane(layer, 0).values(), before)


def test_a_league_of_another_photo_is_dropped(photo, tiny):
    viewer = widgets.ablation(tiny, photo)
    viewer.ablated = ["squeeze"]
    viewer.handle({"type": "try", "part": "squeeze"})
    viewer.layer = "change without squeeze"
    viewer.strokes = [DAB]
    assert viewer.error == ""
    assert viewer.league == {}
    assert viewer.layer == "without"
    assert "change without squeeze" not in viewer.source.layers
    change = viewer.source.plane("change", 0).values()
    whole, without = (viewer.source.plane(name, 0).values() for name in ("whole", "without"))
    np.testing.assert_allclose(change, without - whole, atol=1e-4)
