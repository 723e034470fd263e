"""Views that compute again when something is chosen: the right answer for the right pixel, and errors that are seen."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import traitlets
from small_network import small

import widgets
from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.ablate import ablate
from birefnet_lite.analysis.parts import list_parts
from birefnet_lite.analysis.receptive import receptive_field
from widgets import view_setup
from widgets.picture import limits_for
from widgets.views.receptive_field import MEANING


def listen(viewer):
    """Messages of the viewer to the page from now on, once the page has its first maps."""
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
    np.testing.assert_allclose(viewer.source.plane("field", 0).values(), np.sqrt(field.effective), atol=1e-4)
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
    assert viewer.layer == "layer GradCAM"
    assert viewer.stale == ["integrated gradients", "occlusion"]
    viewer.layer = "integrated gradients"
    assert viewer.stale == ["occlusion"]
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


def run_loop(task):
    """In a thread of its own: where a browser is open, the main one has a loop already."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, task).result()


def test_an_estimate_is_refined_between_messages_until_it_is_stopped(model, photo):
    viewer = widgets.attribution(model, photo, steps=4)
    name = "integrated gradients"

    def note():
        return viewer.source.layers[name].note

    async def use():
        viewer.layer = name
        assert "1 of 4 steps" in viewer.progress
        assert "of the gain, 1 of 4 steps" in note()
        while "1 of 4" in note():
            await asyncio.sleep(0)
        viewer.handle({"type": "stop"})
        assert viewer.progress == ""
        stopped = note()
        await asyncio.sleep(0)
        assert note() == stopped
        assert "4 of 4" not in stopped
        viewer.pin = [20.0, 20.0]
        first = viewer.source.plane(name, 0).values()
        while viewer.progress:
            await asyncio.sleep(0)
        assert "4 of 4 steps" in note()
        assert np.abs(viewer.source.plane(name, 0).values() - first).max() > 0

    run_loop(use())
    assert viewer.error == ""


def test_what_fails_in_the_background_is_reported(model, photo):
    viewer = widgets.attribution(model, photo)

    def steps():
        yield "half"
        raise ValueError("no more")

    async def use():
        viewer.refine(steps())
        while not viewer.error:
            await asyncio.sleep(0)

    run_loop(use())
    assert "no more" in viewer.error
    assert viewer.progress == ""


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
    for column, whole in ((2, sum(p.numel() for p in model.parameters()) / 1e6), (3, 100)):
        cells = [row["cells"][column].rstrip("%") for row in viewer.table["rows"]]
        assert sum(map(float, cells)) == pytest.approx(
            whole, abs=0.05 * len(cells) if column == 3 else 0.0005 * len(cells)
        )


@pytest.mark.parametrize(
    "name",
    sorted(
        set(widgets.__all__)
        - {"Viewer", "framed", "show", "static", "compare", "paired", "training_film", "window_attention"}
    ),
)
def test_every_view_can_be_drawn_saved_and_reopened(model, photo, name, tmp_path):
    viewer = getattr(widgets, name)(model, photo)
    assert viewer.picture().shape[1] == 1200
    viewer.to_html(tmp_path / "view.html")
    again = widgets.show(viewer.state())
    assert again.look == viewer.look
    assert (again.table, again.marks, again.controls) == (viewer.table, viewer.marks, viewer.controls)
    assert not again.live


# ---- scales and states that tell the truth ----


def test_a_change_is_drawn_over_one_range(model, photo):
    viewer = widgets.ablation(model, photo)
    layer = viewer.source.layers["change"]
    plane = viewer.source.plane("change", 0)
    assert limits_for(viewer.source, viewer.look, layer, plane) == (-1, 1)
    viewer.ablated = ["squeeze"]
    layer, plane = viewer.source.layers["change"], viewer.source.plane("change", 0)
    assert limits_for(viewer.source, viewer.look, layer, plane) == (-1, 1)
    again = widgets.show(viewer.state())
    assert again.source.layers["change"].limits == (-1, 1)


def test_maps_that_are_compared_share_a_range(model, photo):
    mine = small()
    mine.squeeze.requires_grad_(False)
    next(mine.squeeze.parameters()).mul_(3)
    viewer = widgets.compare(mine, model, photo)
    names = viewer.source.layers[viewer.layer].group
    found = []
    for name in names:
        layer, plane = viewer.source.layers[name], viewer.source.plane(name, viewer.channel)
        found.append(limits_for(viewer.source, viewer.look, layer, plane))
    assert found[0] == found[1] != found[2]
    lows, highs = zip(*((p.lo, p.hi) for p in (viewer.source.plane(n, viewer.channel) for n in names[:2])), strict=True)
    assert found[0][1] >= max(map(abs, (*lows, *highs))) * (1 - 1e-6) or found[0][0] <= min(lows)


def test_ones_own_limits_hold_for_the_layer_in_focus_alone(model, photo):
    viewer = widgets.feature_pyramid(model, photo)
    viewer.limits, viewer.range = [-0.5, 0.5], "own"
    focus, other = viewer.layer, "squeeze"
    scene = viewer.source
    assert limits_for(scene, viewer.look, scene.layers[focus], scene.plane(focus, viewer.channel)) == (-0.5, 0.5)
    plane = scene.plane(other, viewer.channels[other])
    low, high = limits_for(scene, viewer.look, scene.layers[other], plane)
    assert low <= plane.lo <= plane.hi <= high


def test_values_that_are_no_numbers_are_announced_with_the_first_bad_layer(photo):
    model = small()
    model.decoder.stage3.lateral.conv.bias.data[0] = float("nan")
    viewer = widgets.feature_pyramid(model, photo)
    assert "Stage 3 · lateral block" in viewer.scene["notice"]
    assert "notice" not in widgets.feature_pyramid(small(), photo).scene


def test_a_view_whose_maps_were_given_up_says_so(model, photo, monkeypatch):
    monkeypatch.setattr("widgets.view_registry.LIMIT", 1)
    first = widgets.ablation(model, photo)
    widgets.ablation(model, photo)
    assert not first.live
    assert "Run its cell again" in first.error


def test_the_last_gesture_is_explained(model, photo):
    viewer = widgets.attribution(model, photo, steps=2)
    viewer.pin = [20.0, 20.0]
    viewer.region = [50.0, 30.0, 80.0, 60.0]
    assert viewer.pin == []
    assert viewer.source.plane("region", 0).values()[:28].max() == 0
    viewer.pin = [20.0, 20.0]
    assert viewer.region == []
    assert viewer.source.plane("region", 0).values()[40:].max() == 0


def test_what_is_off_is_named_in_words_and_in_the_picture(model, photo):
    viewer = widgets.ablation(model, photo)
    titles = {option["value"]: option["title"] for option in viewer.scene["switches"]["options"]}
    assert titles["decoder.stage3.lateral"].startswith("Stage 3 · lateral block")
    viewer.ablated = ["squeeze#3"]
    assert viewer.source.titled(viewer.ablated) == "Ablation · without Squeeze module, channel 3"


def test_kernels_are_told_apart(model, photo):
    viewer = widgets.sampling_points(model, photo)
    assert len(set(viewer.scene["columns"])) == len(viewer.scene["columns"])
    assert [row["tone"] for row in viewer.table["rows"]] == ["three", "two", "four", "one"]


def test_a_field_is_bright_enough_and_its_extent_is_drawn_and_explained(model, photo):
    viewer = widgets.receptive_field(model, photo)
    cell = view_setup.cell_at_pin(viewer, *viewer.source.layers[viewer.layer].shape[1:])
    field = receptive_field(model, prepare(model, photo), viewer.layer, *cell)
    # Most of the gradient lies on a few pixels: its square root shows the others too.
    np.testing.assert_allclose(viewer.source.plane("field", 0).values(), np.sqrt(field.effective), atol=1e-3)
    assert {mark["kind"]: mark["tone"] for mark in viewer.marks} == {"box": "two", "ellipse": "one"}
    assert [row["tone"] for row in viewer.table["rows"]] == ["two", "one"]
    assert viewer.table["rows"][0]["cells"][2] == MEANING[field.status]


def test_tiles_come_first(model, photo):
    viewer = widgets.reference_tiles(model, photo)
    assert viewer.layer.endswith("tiles")


# ---- the map of the network ----


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inward_reference": False, "outward_reference": False},
        {"multi_scale_input": "none"},
        {"squeeze_block": "none"},
    ],
)
def test_the_map_has_every_part_and_edge_and_no_two_in_one_place(photo, changes):
    model = small(**changes)
    described = widgets.architecture(model, photo).scene["map"]
    nodes = {node["name"]: node for node in described["nodes"]}
    parts = {name: part for name, part in list_parts(model).items() if part.used}
    assert set(nodes) == {"photo", *parts}
    assert {name: tuple(nodes[name]["inputs"]) for name in parts} == {n: p.inputs for n, p in parts.items()}
    places = [(node["row"], node["column"]) for node in nodes.values() if node["name"] != "photo"]
    assert len(set(places)) == len(places)
    drawn = {(edge["from"], edge["to"]) for edge in described["edges"] if not edge["inside"]}
    read = {name: [i for one in p.operations for i in one.inputs if isinstance(i, str)] for name, p in parts.items()}
    assert drawn <= {(source, name) for name, part in parts.items() for source in read[name] or part.inputs}
    folded = [tuple(node["fold"]) for node in nodes.values()]
    assert len(set(folded)) == len(folded)
    named = {name for region in described["regions"] for name in region["nodes"]}
    assert named == {*parts} - {"squeeze"}
    reached, ahead = set(), ["photo"]
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead += [edge["to"] for edge in described["edges"] if edge["from"] == name and edge["to"] not in reached]
    assert reached == set(nodes)
    shares = [sum(node.get(kind, 0) for node in nodes.values()) for kind in ("time", "parameters", "memory")]
    assert shares[0] + described["rest"] == pytest.approx(1)
    assert shares[1:] == pytest.approx([1, 1])
