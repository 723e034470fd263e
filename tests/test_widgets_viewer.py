"""The widget without a browser: what is synced, what it answers, what it keeps, what it writes."""

import asyncio
import base64
import gc
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

import widgets
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.summaries import colours_of, fit_basis
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet
from widgets import layer_summaries, view_registry
from widgets.drawing_sheet import Sheet, font
from widgets.look import Look
from widgets.packing import count_channels
from widgets.picture import limits_for, paint_focus, paint_map
from widgets.planes import picture_table
from widgets.scene import Scene
from widgets.viewer import Viewer


def scene_of(**layers):
    """A scene with layers made by hand."""
    scene = Scene("test", "Test", "Why?", np.zeros((6, 8, 3), np.uint8))
    for name, maps in layers.items():
        scene.add(name, np.asarray(maps, np.float32))
    return scene


def viewer_of(**layers):
    """A viewer that notes what it sends instead of sending it."""
    return note_messages(Viewer(scene_of(**layers)))


def note_messages(viewer):
    """The viewer, which notes what it sends in `sent` instead of sending it."""
    viewer.sent = []
    viewer.send = lambda content, buffers=None: viewer.sent.append((content, buffers))
    return viewer


def unpack(parts, buffer):
    """The planes in a packed buffer, as values."""
    found = {}
    for part in parts:
        if part["kind"] == "plane":
            codes = np.frombuffer(buffer, "<u2", part["length"] // 2, part["offset"])
            values = part["lo"] + codes * ((part["hi"] - part["lo"]) / 65530)
            found[part["layer"], part["channel"]] = values.reshape(part["height"], part["width"])
    return found


# ---- feature_pyramid ----


def test_the_pyramid_shows_every_scale_and_step(model, photo):
    viewer = widgets.feature_pyramid(model, photo)
    names = {layer["name"] for layer in viewer.scene["layers"]}
    assert {f"encoder.{which}.x{i}" for which in ("full", "half") for i in (1, 2, 3, 4)} <= names
    assert {"squeeze", "logits", "decoder.stage1.reconstruction"} <= names
    for stage in (4, 3, 2):
        steps = ("inward_reference", "reconstruction", "side", "gradient_attention", "lateral", "out")
        assert {f"decoder.stage{stage}.{step}" for step in steps} <= names
    cells = [name for row in viewer.scene["rows"] for name in row["cells"] if name]
    assert set(cells) <= names
    assert all(len(row["cells"]) == len(viewer.scene["columns"]) for row in viewer.scene["rows"])


def test_what_is_sent_are_the_numbers_of_the_network(model, photo):
    from birefnet_lite.analysis import capture

    viewer = widgets.feature_pyramid(model, photo)
    maps = capture(model, photo)
    sent = unpack(viewer.parts, viewer.blob)
    assert len(sent) > 100
    for (layer, channel), values in sent.items():
        if viewer.source.layers[layer].base:
            continue
        expected = maps[layer][channel].numpy()
        np.testing.assert_allclose(values, expected, atol=float(np.ptp(expected)) / 65530 + 1e-12)


def test_all_channels_are_seen_at_once(model, photo):
    viewer = widgets.feature_pyramid(model, photo)
    viewer.complete()
    maps = capture(model, photo)
    both = [maps[f"encoder.{scale}.x2"].numpy() for scale in ("full", "half")]
    basis = fit_basis(both, 6)
    for scale, values in zip(("full", "half"), both, strict=True):
        layer = viewer.source.layers[f"encoder.{scale}.x2 · colours"]
        shown = picture_table()[layer.planes[0].codes]
        np.testing.assert_allclose(shown, colours_of(values, basis), atol=8)
        assert layer.labels[0].startswith("PCA")
        norm = viewer.source.plane(f"encoder.{scale}.x2 · norm", 0).values()
        np.testing.assert_allclose(norm, np.linalg.norm(values, axis=0), rtol=1e-3, atol=1e-3)
    viewer.layer = "squeeze · colours"
    assert viewer.picture().ndim == 3
    again = widgets.show(viewer.state()).source.layers["squeeze · colours"]
    assert (again.base, again.labels) == ("squeeze", viewer.source.layers["squeeze · colours"].labels)


def test_pictures_of_all_channels_are_computed_after_the_view_is_shown(model, photo):
    """In a kernel, where an event loop runs; the page may ask for one before its turn."""
    viewer = widgets.feature_pyramid(model, photo)
    viewer.complete()
    at_once = viewer.source

    async def show():
        viewer = note_messages(widgets.feature_pyramid(model, photo))
        name = "squeeze · colours"
        assert not viewer.source.layers[name].planes
        assert "statistics" in [part["kind"] for part in viewer.parts if part.get("layer") == name]
        viewer.handle({"type": "planes", "layer": name, "channels": [0, 1], "compute": False})
        message = viewer.sent[-1][0]
        assert [part["kind"] for part in message["parts"]] == ["statistics", "plane", "plane"]
        assert not message["refused"]
        assert message["layers"] == [at_once.layers[name].describe()]
        assert "explain" in message["layers"][0]["labels"][0]
        while viewer.source.postponed:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return viewer

    with ThreadPoolExecutor() as pool:  # in this thread, a browser test may have left a loop
        source = pool.submit(asyncio.run, show()).result().source
    for name, layer in at_once.layers.items():
        assert source.layers[name].labels == layer.labels
        for channel, plane in layer.planes.items():
            np.testing.assert_array_equal(source.layers[name].planes[channel].codes, plane.codes)


def test_pictures_of_fine_maps_show_means_of_cells(model, photo, monkeypatch):
    monkeypatch.setattr(layer_summaries, "SIDE", 8)
    viewer = widgets.feature_pyramid(model, photo, size=(64, 96))
    viewer.complete()
    layers = viewer.source.layers
    values = capture(model, photo, (64, 96))["encoder.half.x1"].numpy()  # (C, 8, 12)
    basis = fit_basis([capture(model, photo, (64, 96))[f"encoder.{scale}.x1"].numpy() for scale in ("full", "half")], 6)
    means = values.reshape(len(values), 4, 2, 6, 2).mean(axis=(2, 4))
    colours = layers["encoder.half.x1 · colours"]
    assert colours.shape[1:] == (4, 6)
    np.testing.assert_allclose(picture_table()[colours.planes[0].codes], colours_of(means, basis), atol=8)
    assert "2 × 2" in colours.note
    norms = np.linalg.norm(values, axis=0).reshape(4, 2, 6, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(layers["encoder.half.x1 · norm"].planes[0].values(), norms, rtol=1e-3)


def test_channels_agree_with_the_given_mask(model, photo):
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    viewer = widgets.feature_pyramid(model, photo, mask)
    assert viewer.scene["agreement"] == "given mask"
    layer = viewer.source.layers["encoder.full.x1"]
    small = mask.reshape(16, 4, 24, 4).mean((1, 3))
    best = int(layer.order("agreement")[0])
    expected = np.corrcoef(layer.planes[best].values().ravel(), small.ravel())[0, 1]
    assert layer.statistics[5].max() == pytest.approx(expected, abs=1e-3)


def test_a_size_of_ones_own(model, photo):
    viewer = widgets.feature_pyramid(model, photo, size=(64, 128))
    assert viewer.source.layers["logits"].shape == (1, 64, 128)
    assert viewer.scene["image"] == {"width": 96, "height": 64, "what": "photo"}


def test_a_model_in_half_precision(photo):
    torch.manual_seed(0)
    narrow = {"inter_channels": 8, "aspp_channels": 8, "image_channels": 8, "gradient_channels": 4}
    narrow["train_size"] = (64, 96)
    model = BiRefNet(BiRefNetConfig(backbone="resnet50", aspp="plain", **narrow)).eval().bfloat16()
    viewer = widgets.feature_pyramid(model, photo)
    assert any("bfloat16" in fact for fact in viewer.scene["facts"])
    assert np.isfinite(viewer.source.layers["logits"].statistics).all()


def test_a_model_that_raises_says_so_and_keeps_no_hooks(model, photo):
    handle = model.squeeze.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        widgets.feature_pyramid(model, photo)
    handle.remove()
    assert sum(len(module._forward_hooks) for module in model.modules()) == 0


# ---- traits ----


def test_layer_and_channel_follow_each_other():
    viewer = viewer_of(a=np.zeros((5, 2, 2)), b=np.zeros((3, 2, 2)))
    viewer.channel = 4
    viewer.layer = "b"
    assert viewer.channel == 0
    viewer.channel = 99
    assert viewer.channel == 2
    viewer.layer = "a"
    assert viewer.channel == 4
    assert viewer.channels == {"a": 4, "b": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [("layer", "nowhere"), ("pin", [1]), ("pin", [np.nan, 1]), ("colormap", "jet"), ("opacity", 2.0), ("range", "?")],
)
def test_a_value_that_makes_no_sense_is_refused(name, value):
    viewer = viewer_of(a=np.zeros((1, 2, 2)))
    with pytest.raises(traitlets.TraitError):
        setattr(viewer, name, value)


def test_a_slider_can_be_linked():
    import ipywidgets

    viewer = viewer_of(a=np.zeros((5, 2, 2)))
    slider = ipywidgets.IntSlider(max=4)
    traitlets.link((slider, "value"), (viewer, "channel"))
    slider.value = 3
    assert viewer.channel == 3
    viewer.channel = 1
    assert slider.value == 1


def test_the_repr_is_the_same_every_time():
    assert repr(viewer_of(a=np.zeros((5, 2, 2)))) == "Viewer('Test', layer='a', channel=0)"


# ---- messages ----


def test_received_frees_the_copy_in_the_kernel():
    viewer = viewer_of(a=np.ones((1, 2, 2)))
    assert len(viewer.blob) > 0
    viewer.handle({"type": "received"})
    assert viewer.blob == b""
    viewer.handle({"type": "hello"})
    message, buffers = viewer.sent[0]
    assert ("a", 0) in unpack(message["parts"], buffers[0])


def test_maps_that_were_not_kept_are_computed_again():
    maps = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    scene = Scene("test", "Test", "Why?", np.zeros((6, 8, 3), np.uint8))
    scene.add("a", maps, keep=2)
    runs = []
    scene.recompute = lambda name: runs.append(name) or maps
    viewer = Viewer(scene)
    sent = []
    viewer.send = lambda content, buffers=None: sent.append((content, buffers))
    viewer.handle({"type": "planes", "layer": "a", "channels": [0, 1, 2, 3], "compute": False})
    assert runs == []
    assert len(sent[0][0]["parts"]) == len(sent[0][0]["refused"]) == 2
    viewer.handle({"type": "planes", "layer": "a", "channels": [0, 1, 2, 3], "compute": True})
    assert runs == ["a"]
    for (_, channel), values in unpack(sent[1][0]["parts"], sent[1][1][0]).items():
        np.testing.assert_allclose(values, maps[channel], atol=1e-4)
    assert viewer.busy == ""


def test_a_failure_in_a_message_is_shown():
    viewer = viewer_of(a=np.ones((1, 2, 2)))
    viewer._receive(viewer, {"type": "planes", "layer": "gone", "channels": [0]}, [])
    assert "gone" in viewer.error
    viewer._receive(viewer, {"type": "planes", "layer": "a", "channels": [7], "compute": True}, [])
    assert "0 to 0" in viewer.sent[-1][0]["problem"]


# ---- memory ----


def test_twenty_views_keep_the_memory_of_two():
    views = []
    for _ in range(20):
        scene = scene_of(a=np.random.default_rng(0).normal(size=(8, 64, 64)))
        views.append(view_registry.register(Viewer(scene)))
    kept = sum(len(view.blob) + sum(len(layer.planes) for layer in view.source.layers.values()) for view in views)
    one = len(views[-1].blob) + 8
    assert kept == view_registry.LIMIT * one
    assert all(layer.planes for layer in views[-1].source.layers.values())
    sent = []
    views[0].send = lambda content, buffers=None: sent.append(content)
    views[0].handle({"type": "hello"})
    assert "Run its cell again" in sent[0]["problem"]
    with pytest.raises(ValueError, match="newer view"):
        views[0].picture()


def test_the_same_maps_are_kept_once():
    maps = np.random.default_rng(0).normal(size=(3, 16, 16))
    other = maps.copy()
    other[1, 0, 0] += 1
    first, same = (view_registry.register(Viewer(scene_of(a=values))) for values in (maps, maps))
    mine, twins = (view.source.layers["a"].planes for view in (first, same))
    assert all(mine[c].codes is twins[c].codes for c in range(3))
    assert same.blob is first.blob
    assert same.source.photo is first.source.photo
    different = view_registry.register(Viewer(scene_of(a=other)))  # the first one goes, what it shared stays
    planes = different.source.layers["a"].planes
    assert planes[0].codes is twins[0].codes
    assert planes[1].codes is not twins[1].codes
    assert np.abs(different.source.plane("a", 1).values() - other[1]).max() < 1e-3
    assert np.abs(same.source.plane("a", 0).values() - maps[0]).max() < 1e-3


def test_a_closed_view_keeps_nothing():
    viewer = viewer_of(a=np.ones((1, 2, 2)))
    viewer.close()
    gc.collect()
    assert viewer.blob == b""
    assert viewer.source.nbytes < 100


def test_memory_is_shared_between_layers():
    shapes = {"fine": (100, 256, 256), "coarse": (1000, 32, 32), "one": (1, 256, 256)}
    counts = count_channels(shapes, 2**21)
    assert counts["one"] == 1
    assert 1 <= counts["fine"] < counts["coarse"] < 1000
    assert sum(2 * counts[name] * shapes[name][1] * shapes[name][2] for name in shapes) <= 2**21
    assert count_channels(shapes, 2**40) == {name: shape[0] for name, shape in shapes.items()}


# ---- odd layers ----


@pytest.mark.parametrize(
    "maps",
    [
        np.full((2, 3, 3), np.nan),
        np.array([[[np.inf, -np.inf], [np.nan, 1.0]]]),
        np.full((1, 4, 4), 7.0),
        np.zeros((2000, 2, 2)),
        np.ones((3, 1, 1)),
        np.full((1, 2, 2), 3.4e38),
    ],
)
def test_odd_layers_are_packed_and_drawn(maps):
    viewer = viewer_of(a=maps)
    json.dumps({"scene": viewer.scene, "parts": viewer.parts}, allow_nan=False)
    assert viewer.picture(400).ndim == 3


@pytest.mark.parametrize("shape", [(0, 2, 2), (2, 2), (1, 0, 3)])
def test_a_layer_without_values_is_refused(shape):
    with pytest.raises(ValueError, match="at least one value"):
        scene_of(a=np.zeros(shape))


# ---- pictures ----


def test_the_picture_holds_the_painted_maps(model, photo):
    viewer = widgets.feature_pyramid(model, photo)
    viewer.pin = [40, 20]
    picture = viewer.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (1200, 3)
    focus = paint_focus(viewer.source, viewer.look, viewer.layer, viewer.channel)
    colours = {tuple(colour) for colour in focus.reshape(-1, 3)}
    shown = {tuple(colour) for colour in picture[90:400, 30:500].reshape(-1, 3)}
    assert len(shown & colours) > 0.5 * len(colours)


def test_ranges_of_map_layer_and_all():
    scene = scene_of(a=[[[-1.0, 2.0]], [[-5.0, 1.0]]], b=[[[-9.0, 3.0]]])
    scene.add("p", np.array([[[1.0, 4.0]]]), "positive")
    layer = scene.layers["a"]
    look = Look("a", 0, {})
    for name, expected in (("map", (-2, 2)), ("layer", (-5, 5)), ("all", (-9, 9))):
        assert limits_for(scene, Look("a", range=name), layer, layer.planes[0]) == expected
    own = Look("a", range="own", limits=[0, 1])
    assert limits_for(scene, own, layer, layer.planes[0]) == (0, 1)
    assert paint_map(scene, look, "p", 0).shape == (1, 2, 3)


# ---- away and back ----

NASTY = '</script><img src=x onerror="alert(1)"><!-- & {{x}}'


def test_a_state_opens_the_same_view(model, photo):
    viewer = widgets.feature_pyramid(model, photo)
    viewer.layer, viewer.channel, viewer.pin, viewer.colormap = "squeeze", 5, [3.0, 4.0], "magma"
    again = widgets.show(json.loads(json.dumps(viewer.state(), allow_nan=False)))
    assert again.look == viewer.look
    assert again.scene == viewer.scene
    ours, theirs = (unpack(v.parts, v.blob) for v in (viewer, again))
    assert theirs.keys() >= {("squeeze", 5), ("logits", 0)}
    for key in theirs.keys() & ours.keys():
        np.testing.assert_array_equal(theirs[key], ours[key])
    difference = np.abs(again.picture().astype(int) - viewer.picture().astype(int))
    assert difference.mean() < 1


def test_a_state_from_a_file(tmp_path):
    viewer = viewer_of(a=np.arange(4).reshape(1, 2, 2))
    path = tmp_path / "view.json"
    path.write_text(json.dumps(viewer.state()))
    assert widgets.show(path).look == viewer.look
    path.write_text('{"version": 2}')
    with pytest.raises(ValueError, match="not a saved view"):
        widgets.show(path)
    with pytest.raises(ValueError, match="not a saved view"):
        widgets.show(tmp_path / "missing.json")


def test_a_state_of_before_there_was_detail():
    maps = np.array([[[0, 0], [0, 9]], [[0, 1], [2, 3]]])
    state = viewer_of(a=maps).state()
    (statistics,) = (part for part in state["parts"] if part["kind"] == "statistics")
    statistics["length"] -= 4 * len(maps)
    state["look"]["sort"] = "variance"
    layer = widgets.show(state).source.layers["a"]
    assert layer.order("variance").tolist() == [0, 1]
    assert layer.order("detail").tolist() == [0, 1]  # unknown, so by number
    assert viewer_of(a=maps).source.layers["a"].order("detail").tolist() == [1, 0]


def test_the_page_asks_for_nothing_and_shows_names_as_text(tmp_path):
    scene = scene_of(**{NASTY: np.ones((1, 2, 2))})
    scene.title = NASTY
    scene.rows, scene.columns = [(NASTY, [NASTY])], [NASTY]
    path = tmp_path / "view.html"
    Viewer(scene).to_html(path)
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert not re.search(r"(src|href)=\"?https?:|@import|url\(http", text)
    assert "default-src 'none'" in text
    state = json.loads(re.search(r'id="state">(.*?)</script>', text, re.DOTALL).group(1))
    assert state["scene"]["title"] == NASTY
    assert base64.b64decode(state["blob"])


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    viewer = viewer_of(a=np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match="does not exist"):
        viewer.to_html(tmp_path / "no" / "view.html")
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        viewer.to_html(tmp_path / "view.html")
    assert list(tmp_path.iterdir()) == []


def test_the_static_picture_is_an_output_of_its_own(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append((data, options)))
    viewer = viewer_of(a=np.ones((1, 2, 2)))
    viewer.scene = viewer.scene | {"question": "All 3 parts agree"}
    widgets.static(viewer)
    data, options = shown[0]
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.width == 1200
    assert "'Test': All 3 parts agree. In front: " in data["text/plain"]
    assert options["metadata"]["image/png"]["alt"] == data["text/plain"]


@pytest.fixture
def written(monkeypatch):
    """The texts of pictures: y, left, right, text."""
    boxes = []

    def note(self, x, y, text, size=12, bold=False, colour="", anchor="la", width=None):
        self.need(y + 2 * size)
        length = font(size, bold).getlength(text)
        boxes.append((y, x - length if anchor == "ra" else x, x if anchor == "ra" else x + length, text))

    monkeypatch.setattr(Sheet, "text", note)
    return boxes


def test_channel_and_value_under_a_small_map_stand_apart_on_paper(model, photo, written):
    viewer = widgets.feature_pyramid(model, photo)
    viewer.pin = [40, 20]
    for width in (700, 1200):
        written.clear()
        viewer.picture(width)
        values = [box for box in written if re.fullmatch(r"[−\d.e]+", box[3]) and box[0] > written[-1][0] / 2]
        for value in values:
            beside = [box for box in written if box[0] == value[0] and box[1] < value[1]]
            assert all(box[2] <= value[1] for box in beside if box[3])
    assert any(box[3].startswith("ch ") for box in written)


def test_the_words_of_a_table_stand_apart_on_paper(written):
    viewer = viewer_of(maps=np.ones((1, 6, 8)))
    heads = ["Stage", "channels of red, green, blue", "the same before November 2024", "MMMMMMMM", "MMMMMMMM"]
    viewer.table = {"columns": heads, "rows": [{"cells": ["Stage 4", "1", "2", "3", "4"]}] * 3}
    for width in (500, 760, 1200):
        written.clear()
        picture = viewer.picture(width)
        words = {word for cell in [*heads, "Stage 4", "1", "2", "3", "4"] for word in cell.split()}
        table = [box for box in written if set(box[3].split()) <= words]
        assert sorted(" ".join(box[3] for box in table).split()) == sorted(
            " ".join([*heads, "Stage 4 1 2 3 4 " * 3]).split()
        )
        lines = [sorted(box for box in table if box[0] == y) for y in {box[0] for box in table}]
        assert all(right[1] - left[2] >= 16 for line in lines for left, right in pairwise(line))
        assert width == 500 or all(box[2] <= width - 20 for box in table)  # 500 are too few for the longest words
        assert (picture[-10:] == 255).all()  # nothing is cut out of where there is no paper
