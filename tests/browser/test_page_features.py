"""What one does with a view in an exported page: the mask drawn in other ways."""

import numpy as np
from test_page import pixels, random_maps, scene_of

from widgets.mask_drawing import find_outline, score_mask
from widgets.picture import paint_focus
from widgets.viewer import Viewer

FOCUS = 'canvas[data-panel="focus"]'


def test_the_mask_is_an_outline_or_a_cut_out_and_its_scores_follow_the_threshold(opened, watched):
    scene = scene_of(a=random_maps(1, 20, 30))
    y, x = np.mgrid[:40, :60]
    soft = 1 / (1 + np.exp(np.hypot(x - 30, y - 20) - 12))
    mask = scene.add("mask", soft[None], "unit", as_mask="probability")
    scene.add("truth", (soft > 0.3)[None] * 1.0, "unit", as_mask="probability")
    scene.extra["truth"] = "truth"
    rows = [{"cells": ["Mask", "0.0000"], "mask": "mask", "layer": "mask"}]
    viewer = Viewer(scene, table={"columns": ["", "IoU"], "rows": rows, "follow": 1})
    page = opened(viewer)
    panel = page.locator(".bv-mask")
    assert panel.is_hidden()
    page.locator("tbody tr").click()
    page.wait_for_selector(f'{FOCUS}[data-layer="mask"][data-state="drawn"]')
    how, ground = panel.locator("select").all()
    how.select_option("outline")
    page.wait_for_selector(".bv-stage .bv-outline[d^=M]", state="attached")
    panel.locator("input[type=range]").fill("0.3")
    page.wait_for_selector("thead th:has-text('IoU at 0.30')")
    assert page.locator("tbody td").inner_text() == "1.0000"
    share = score_mask(mask.planes[0], 0.3)["share"]
    assert f"Covers {100 * share:.1f} % of the photo · IoU 1.0000" in panel.inner_text()
    lines = page.locator(".bv-stage .bv-outline").last.get_attribute("d").count("M")
    assert lines == sum(len(line) - 1 for line in find_outline(mask.planes[0], 0.3))
    viewer.layer, viewer.threshold, viewer.ground = "mask", 0.3, "#ffffff"
    ground.select_option("#ffffff", force=True)
    for viewer.mask_as in ("cut-out", "hard cut-out"):
        draws = page.locator(FOCUS).get_attribute("data-draws")
        how.select_option(viewer.mask_as)
        page.wait_for_selector(f'{FOCUS}:not([data-draws="{draws}"])')
        shown = pixels(page, FOCUS).astype(int)
        expected = paint_focus(viewer.source, viewer.look, "mask", 0).astype(int)
        # The page's photo has been through JPEG.
        assert np.abs(shown - expected).max() <= 6
    assert watched.errors == []
