"""The league table of an ablation: every part off alone, in the order of what the mask loses."""

import numpy as np
import pytest
from small_network import small

import widgets
from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.ablate import ablatable, mask_without
from widgets.league import layer_of_trial, rank_league, tabulate_league


@pytest.fixture(scope="module")
def tried():
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    model = small()
    return model, photo, widgets.ablation(model, photo, try_all=True)


def test_every_part_is_tried_and_ranked(tried):
    model, photo, viewer = tried
    scores = viewer.league["scores"]
    assert list(scores) == ablatable(model)
    before = mask_without(model, prepare(model, photo), [])
    for part in ("squeeze", "decoder.stage3.lateral"):
        after = mask_without(model, prepare(model, photo), [part])
        chosen, real = after > 0.5, before > 0.5
        lost = 1 - (chosen & real).sum() / max(1, (chosen | real).sum())
        assert scores[part]["lost"] == pytest.approx(lost, abs=1e-5)
        assert scores[part]["change"] == pytest.approx(np.abs(after - before).mean(), abs=1e-5)
    lost = [scores[part]["lost"] for part in rank_league(viewer.league)]
    assert lost == sorted(lost, reverse=True)
    assert len(tabulate_league(viewer.league)["rows"]) == len(scores)


def test_the_league_is_saved_with_the_view_and_stands_in_its_picture(tried):
    _, _, viewer = tried
    again = widgets.show(viewer.state())
    assert again.league == viewer.league
    assert again.picture().shape == viewer.picture().shape
    name = layer_of_trial("squeeze")
    assert again.source.layers[name].limits == (-1, 1)


def test_the_page_asks_for_one_part_after_the_other(photo):
    model = small()
    viewer = widgets.ablation(model, photo)
    viewer.handle({"type": "received"})
    sent = []
    viewer.send = lambda content, buffers=None: sent.append(content)
    for part in ("squeeze", "decoder.image_branch"):
        viewer.handle({"type": "try", "part": part})
        assert sent[-1]["replaced"] == [layer_of_trial(part)]
    assert set(viewer.league["scores"]) == {"squeeze", "decoder.image_branch"}
    # Another way to switch off starts another league.
    viewer.controls = {"how": "mean"}
    viewer.handle({"type": "try", "part": "squeeze"})
    assert (viewer.league["how"], set(viewer.league["scores"])) == ("mean", {"squeeze"})
    viewer._receive(None, {"type": "try", "part": "nowhere"}, [])
    assert "nowhere" in viewer.error


def test_what_is_off_stands_in_the_title_of_page_and_picture(tried, tmp_path):
    _, _, viewer = tried
    whole = viewer.picture()
    viewer.ablated = ["squeeze", "decoder.stage3.lateral#2"]
    assert (viewer.picture()[:60] != whole[:60]).any()
    viewer.to_html(tmp_path / "view.html")
    text = (tmp_path / "view.html").read_text()
    assert "<title>Ablation · without Squeeze module; Stage 3 · lateral block" in text
    assert "channel 2</title>" in text
    viewer.ablated = []


def test_parts_have_their_channels_and_the_map_says_what_can_be_switched(tried):
    model, _, viewer = tried
    nodes = {node["name"]: node for node in viewer.scene["map"]["nodes"]}
    assert {name for name, node in nodes.items() if node.get("removable")} == set(ablatable(model))
    assert viewer.source.layers["squeeze"].shape[0] > 1
    assert len(viewer.source.layers["squeeze"].planes) > 1
