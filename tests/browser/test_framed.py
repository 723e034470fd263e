"""A view as a framed page, for places where widgets do not run."""

import numpy as np

import widgets
from widgets.scene import Scene
from widgets.viewer import Viewer


def test_a_framed_view_draws_in_a_sandbox_and_asks_for_nothing(watched, monkeypatch):
    scene = Scene("test", "Test <b>", "What is it?", np.full((40, 60, 3), 90, np.uint8))
    scene.add("fine", np.random.default_rng(0).normal(size=(5, 20, 30)).astype(np.float32))
    scene.columns, scene.rows = ["fine"], [("all", ["fine"])]
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    widgets.framed(Viewer(scene), height=700)
    page = watched.page
    page.set_content(f"<!doctype html><body>{shown[0]['text/html']}</body>")
    frame = page.frame_locator("iframe")
    frame.locator('canvas[data-panel="focus"][data-state="drawn"]').wait_for()
    assert page.locator("iframe").bounding_box()["height"] == 700
    assert page.locator("iframe").get_attribute("title") == "Test <b>"
    assert "Test" in shown[0]["text/plain"]
    assert (watched.errors, watched.outside) == ([], [])
