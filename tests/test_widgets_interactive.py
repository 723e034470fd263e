"""Views that compute again when something is chosen: the right answer for the right pixel, and errors that are seen."""

import numpy as np
import pytest
import traitlets
from small_network import small

import widgets
from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import ablate
from birefnet_lite.analysis.receptive import receptive_field


def listen(viewer):
    """What the viewer sends to the page from now on, once the page has its first maps."""
    viewer.handle({"type": "received"})
    sent = []
    viewer.send = lambda content, buffers=None: sent.append(content)
    return sent


def test_a_pixel_is_found_in_its_tile(model, photo):
    viewer = widgets.reference_tiles(model, photo)
    viewer.pin = [70.0, 41.0]
    row = {line["cells"][0]: line["cells"] for line in viewer.table["rows"]}["Stage 3"]
    assert row[1:4] == ["16 \N{MULTIPLICATION SIGN} 16", "10, 11", "4, 1"]
    new, old = ([int(c) for c in text.split(", ")] for text in row[4:])
    tiles = viewer.source.layers["stage 3.tiles"]
    for colour, channel in enumerate(new):
        assert tiles.planes[channel].values()[1, 4] * 255 == pytest.approx(photo[41, 70, colour], abs=0.01)
    # In the old order colour runs fastest and the tile's column slowest.
    assert old == [(11 * 16 + 10) * 3 + colour for colour in range(3)]
    assert viewer.channels["stage 3.tiles"] == new[0]
    box = next(mark for mark in viewer.marks if mark["kind"] == "box")
    assert box["x"] <= 70 < box["x"] + box["width"]
    assert box["y"] <= 41 < box["y"] + box["height"]


def test_models_without_tiles_are_told(photo):
    with pytest.raises(ValueError, match="does not cut the image into tiles"):
        widgets.reference_tiles(small(image_tiles=False), photo)


def test_taps_are_marked_around_the_pin(model, photo):
    viewer = widgets.sampling_points(model, photo)
    viewer.layer = next(name for name in viewer.source.layers if name.startswith("Stage 2") and "kernel 3" in name)
    viewer.pin = [50.0, 30.0]
    assert len(viewer.marks) == 1 + 1 + 9 + 49
    points = np.array([[mark["x"], mark["y"]] for mark in viewer.marks if mark["tone"] == "four"])
    np.testing.assert_allclose(np.sort(np.unique(points[:, 0].round(3))), [44, 52, 60], atol=1e-3)
    np.testing.assert_allclose(np.sort(np.unique(points[:, 1].round(3))), [20, 28, 36], atol=1e-3)
    with pytest.raises(ValueError, match="no deformable"):
        widgets.sampling_points(small(aspp="plain"), photo)


def test_attention_moves_with_the_pin(photo):
    model = small(backbone="swin_v1_t")
    viewer = widgets.window_attention(model, photo)
    sent = listen(viewer)
    viewer.pin = [3.0, 3.0]
    assert "stage 1, block 1" in sent[-1]["replaced"]
    shown = viewer.source.plane("stage 1, block 1", 0).values()
    assert shown[:7, :7].sum() == pytest.approx(1, abs=1e-3)
    assert shown[7:].max() == 0
    assert viewer.marks == [
        {"kind": "box", "tone": "two", "layers": ["stage 1, block 1"], "x": 0, "y": 0, "width": 28, "height": 28}
    ]
    with pytest.raises(ValueError, match="Swin backbones"):
        widgets.window_attention(small(), photo)


def test_the_field_of_the_pinned_cell(model, photo):
    viewer = widgets.receptive_field(model, photo)
    viewer.layer = "decoder.stage2.inward_reference"
    viewer.pin = [50.0, 30.0]
    field = receptive_field(model, prepare(model, photo), "decoder.stage2.inward_reference", 3, 6)
    np.testing.assert_allclose(viewer.source.plane("field", 0).values(), field.effective, atol=1e-4)
    top, left, bottom, right = field.box
    assert viewer.table["rows"][0]["cells"][1] == f"{right - left} \N{MULTIPLICATION SIGN} {bottom - top}"
    assert viewer.marks[0]["width"] == right - left


def test_parts_go_off_and_on_again(model, photo):
    viewer = widgets.ablation(model, photo)
    sent = listen(viewer)
    before = viewer.source.plane("whole", 0).values()
    viewer.ablated = ["encoder.half.x4", "squeeze#3"]
    with ablate(model, "encoder.half.x4"), ablate(model, "squeeze", 3):
        expected = capture(model, photo).mask
    np.testing.assert_allclose(viewer.source.plane("without", 0).values(), expected, atol=1e-5)
    np.testing.assert_allclose(viewer.source.plane("change", 0).values(), expected - before, atol=1e-5)
    assert sent[-1]["replaced"] == ["without", "change"]
    viewer.controls = {"how": "mean"}
    with ablate(model, "encoder.half.x4", how="mean"), ablate(model, "squeeze", 3, "mean"):
        expected = capture(model, photo).mask
    np.testing.assert_allclose(viewer.source.plane("without", 0).values(), expected, atol=1e-5)
    viewer.ablated = []
    np.testing.assert_allclose(viewer.source.plane("without", 0).values(), before, atol=1e-5)
    assert viewer.busy == ""
    assert sum(len(module._forward_hooks) for module in model.modules()) == 0


def test_an_error_while_computing_is_shown_and_goes_with_the_next_success(model, photo):
    viewer = widgets.ablation(model, photo)
    viewer.ablated = ["nowhere"]
    assert "nowhere" in viewer.error
    viewer.ablated = ["squeeze"]
    assert viewer.error == ""


def test_before_the_page_came_it_finds_the_newest_maps(model, photo):
    viewer = widgets.ablation(model, photo)
    first = viewer.blob
    viewer.ablated = ["squeeze"]
    assert viewer.blob not in (b"", first)


def test_a_click_explains_around_it(model, photo):
    viewer = widgets.attribution(model, photo, steps=2)
    assert [row["layer"] for row in viewer.table["rows"]] == ["integrated gradients", "layer GradCAM", "occlusion"]
    whole = viewer.source.plane("integrated gradients", 0).values()
    viewer.pin = [20.0, 20.0]
    assert viewer.error == ""
    region = viewer.source.plane("region", 0).values()
    assert region[20, 20] > 0
    assert region[40:, 60:].max() == 0
    assert np.abs(viewer.source.plane("integrated gradients", 0).values() - whole).max() > 0
    assert viewer.table["rows"][2]["cells"][1] == "…"
    viewer.layer = "occlusion"
    assert viewer.table["rows"][2]["cells"][1] != "…"


def test_a_drawn_region_is_explained(model, photo):
    viewer = widgets.attribution(model, photo, steps=2)
    viewer.region = [10.0, 8.0, 40.0, 24.0]
    assert viewer.error == ""
    region = viewer.source.plane("region", 0).values()
    assert (region[8:24, 10:40] > 0).all()
    assert region.sum() == pytest.approx(region[8:24, 10:40].sum())
    with pytest.raises(traitlets.TraitError, match="left, top, right, bottom"):
        viewer.region = [5, 5, 5, 9]


def test_the_map_of_the_network_counts_everything_once(model, photo):
    viewer = widgets.architecture(model, photo)
    names = [row["cells"][0] for row in viewer.table["rows"]]
    assert names[0].startswith("Encoder · backbone")
    assert len(names) == len(set(names))
    assert all(row["layer"] in viewer.source.layers for row in viewer.table["rows"] if "layer" in row)
    share = sum(float(row["cells"][3].rstrip("%")) for row in viewer.table["rows"])
    assert 0 < share <= 101


@pytest.mark.parametrize(
    "name", sorted(set(widgets.__all__) - {"Viewer", "show", "static", "compare", "window_attention"})
)
def test_every_view_can_be_drawn_saved_and_reopened(model, photo, name, tmp_path):
    viewer = getattr(widgets, name)(model, photo)
    assert viewer.picture().shape[1] == 1200
    viewer.to_html(tmp_path / "view.html")
    again = widgets.show(viewer.state())
    assert again.look == viewer.look
    assert (again.table, again.marks, again.controls) == (viewer.table, viewer.marks, viewer.controls)
    assert not again.live
