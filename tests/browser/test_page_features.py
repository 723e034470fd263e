"""Features of an exported view: other ways to draw the mask, parts switched off, a brush."""

import base64
import re

import numpy as np
import pytest
from PIL import Image
from small_network import small
from test_every_view import NOTE_TEXTS
from test_page import hover, pixels, random_maps, scene_of

import widgets
from widgets.league import rank_league
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
    for viewer.mask_as in ("soft cut-out", "hard cut-out"):
        draws = page.locator(FOCUS).get_attribute("data-draws")
        how.select_option(viewer.mask_as)
        page.wait_for_selector(f'{FOCUS}:not([data-draws="{draws}"])')
        shown = pixels(page, FOCUS).astype(int)
        expected = paint_focus(viewer.source, viewer.look, "mask", 0).astype(int)
        # The page's photo has been through JPEG.
        assert np.abs(shown - expected).max() <= 6
    assert watched.errors == []


def open_as_beside_a_kernel(watched, tmp_path, viewer):
    """The page is told that there is a kernel; what it would hear is kept in `window.sent`."""
    path = tmp_path / "live.html"
    viewer.to_html(path)
    text = path.read_text().replace("live: false", "live: true")
    text = text.replace("const model =", "const model = window.model =")
    tell = "window.tell = (name, ...rest) => listeners[name].forEach((listener) => listener(...rest));\n"
    text = text.replace("const element =", f"{tell}const element =")
    path.write_text(text.replace("send: () => {}", "send: (message) => (window.sent ??= []).push(message)"))
    page = watched.page
    page.goto(path.as_uri())
    page.wait_for_selector(f'{FOCUS}[data-state="drawn"]')
    return page


@pytest.fixture(scope="module")
def tried():
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    return widgets.ablation(small(), photo, try_all=True)


def test_parts_are_ranked_in_an_exported_page(tried, opened, watched):
    tried.ablated = ["squeeze"]
    page = opened(tried)
    cards = page.locator(".bv-league-card")
    assert [card.get_attribute("data-part") for card in cards.all()] == rank_league(tried.league)
    assert page.locator('.bv-league canvas[data-state="drawn"]').count() == cards.count()
    assert page.locator(".bv-title").inner_text() == "Ablation · without Squeeze module"
    assert page.locator('[data-node="squeeze"]').get_attribute("data-off") == "true"
    assert page.locator(".bv-league-card:enabled").count() == 0
    assert page.get_by_role("button", name="Try all parts").is_hidden()
    page.locator('[data-node="decoder.stage3.out"]').click()
    page.wait_for_selector(f'{FOCUS}[data-layer="decoder.stage3.out"][data-state="drawn"]')
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save PNG").click()
    assert Image.open(picture.value.path()).height > 2000
    assert watched.errors == []
    tried.ablated = []


def test_a_click_on_the_map_switches_and_the_page_asks_for_part_after_part(tried, watched, tmp_path):
    page = open_as_beside_a_kernel(watched, tmp_path, tried)
    # The ranking and the mask that a click changes are seen together.
    for width, height in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        card = page.locator(".bv-league-card").first
        if width < 800:
            card.scroll_into_view_if_needed()
        for part in (card, page.locator(".bv-stage")):
            box = part.bounding_box()
            assert 0 <= box["y"] <= height - box["height"]
    page.set_viewport_size({"width": 1240, "height": 1000})
    page.evaluate("() => scrollTo(0, 0)")
    page.locator('[data-node="squeeze"]').click()
    page.wait_for_selector('[data-node="squeeze"][data-off="true"]')
    page.locator('[data-node="encoder.x4"]').click()
    page.wait_for_selector(".bv-map-said:has-text('cannot be switched off')")
    page.locator('.bv-league-card[data-part="decoder.stage3.lateral"]').click()
    page.locator('.bv-map-head label:has-text("A click") select').select_option("show")
    page.locator('[data-node="decoder.stage2.lateral"]').click()
    page.locator('[role="option"]').nth(1).click()
    page.get_by_role("button", name="Switch channel").click()
    page.wait_for_selector('[role="option"][data-off="true"]')
    channel = page.evaluate("() => window.model.get('channel')")
    off = ["squeeze", "decoder.stage3.lateral", f"decoder.stage2.lateral#{channel}"]
    assert page.evaluate("() => window.model.get('ablated')") == off
    assert f"channel {channel}" in page.locator(".bv-title").inner_text()
    page.get_by_role("button", name="All on again").click()
    page.wait_for_selector('[data-node="squeeze"][data-off="false"]')
    # One question at a time: the next after the answer, none after Stop.
    asked = "() => window.sent.filter(({ type }) => type === 'try').map(({ part }) => part)"
    page.evaluate("() => window.model.set('league', {})")
    page.get_by_role("button", name="Try all parts", exact=True).click()
    parts = [option["value"] for option in tried.scene["switches"]["options"]]
    assert page.evaluate(asked) == parts[:1]
    answer = "([how, scores]) => window.model.set('league', { how, scores })"
    scores = tried.league["scores"]
    page.evaluate(answer, ["zero", {parts[0]: scores[parts[0]]}])
    page.wait_for_selector(f".bv-league-head:has-text('1 of {len(parts)} parts tried')")
    assert page.evaluate(asked) == parts[:2]
    page.get_by_role("button", name="Stop", exact=True).click()
    page.evaluate(answer, ["zero", {part: scores[part] for part in parts[:2]}])
    page.wait_for_function("() => document.querySelectorAll('.bv-league-card').length === 2")
    assert page.evaluate(asked) == parts[:2]
    assert watched.errors == []


def drag(page, start, end):
    hover(page, *start)
    page.mouse.down()
    hover(page, *end)
    page.mouse.up()


def test_the_brush_collects_strokes_and_says_that_it_needs_a_kernel(opened, watched, tmp_path):
    scene = scene_of(a=random_maps(1, 20, 30))
    scene.extra["brush"] = True
    viewer = Viewer(scene)
    page = opened(viewer)
    assert "needs a kernel" in page.locator(".bv-brush").inner_text()
    assert page.locator(".bv-brush select").is_disabled()
    page = open_as_beside_a_kernel(watched, tmp_path, viewer)
    tool, size = page.locator(".bv-brush select"), page.locator(".bv-brush input[type=range]").first
    tool.select_option("erase")
    size.fill("10")
    drag(page, (0.25, 0.25), (0.75, 0.5))
    strokes = "() => window.model.get('strokes') ?? []"
    (stroke,) = page.evaluate(strokes)
    assert (stroke["tool"], stroke["radius"]) == ("erase", 3)
    np.testing.assert_allclose([stroke["points"][0], stroke["points"][-1]], [[15, 10], [45, 20]], atol=0.3)
    assert page.locator(".bv").get_attribute("data-pinned") == "false"
    assert page.locator(".bv-stage .bv-brush-trail").count() == 1
    # The answer: another photo and other maps. The wipe shows the first ones again, at the left.
    before = pixels(page, FOCUS)
    again = scene_of(a=-random_maps(1, 20, 30))
    again.photo = 255 - again.photo
    parts, blob = again.pack()
    message = {
        "type": "parts",
        "renewed": True,
        "parts": parts,
        "replaced": ["a"],
        "layers": again.describe()["layers"],
    }
    send = """([message, data]) => {
        const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
        window.tell("msg:custom", message, [new DataView(bytes.buffer)]);
        window.model.set("busy", "x");
        window.model.set("busy", "");
    }"""
    page.evaluate(send, [message, base64.b64encode(blob).decode()])
    page.wait_for_function("() => !document.querySelector('.bv-stage .bv-brush-trail')")
    # The photo takes the browser a while to decode.
    corner = paint_focus(again, viewer.look, "a", viewer.channel)[0, 0].tolist()
    page.wait_for_function(
        """([focus, corner]) => {
            const { data } = document.querySelector(focus).getContext('2d').getImageData(0, 0, 1, 1);
            return corner.every((value, i) => Math.abs(data[i] - value) < 12);
        }""",
        arg=[FOCUS, corner],
    )
    after = pixels(page, FOCUS)
    assert (after != before).any(axis=2).mean() > 0.9
    draws = page.locator(FOCUS).get_attribute("data-draws")
    page.get_by_label("Before, up to here").fill("50")
    page.wait_for_selector(f'{FOCUS}:not([data-draws="{draws}"])')
    wiped = pixels(page, FOCUS)
    np.testing.assert_array_equal(wiped[:, :30], before[:, :30])
    np.testing.assert_array_equal(wiped[:, 30:], after[:, 30:])
    tool.select_option("copy")
    hover(page, 0.5, 0.5)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(".bv-brush:has-text('Now paint')")
    drag(page, (0.75, 0.75), (0.8, 0.8))
    assert page.evaluate(strokes)[1]["source"] == pytest.approx([30, 20], abs=0.3)
    page.get_by_role("button", name="Undo").click()
    assert len(page.evaluate(strokes)) == 1
    tool.select_option("")
    hover(page, 0.5, 0.5)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector('.bv[data-waiting="true"]')
    assert page.evaluate("() => window.model.get('pin').length") == 2
    assert watched.errors == []


def test_two_steps_of_a_film_are_chosen_on_the_curves(opened, watched):
    scene = scene_of(a=random_maps(4, 8, 12))
    scene.layers["a"].group, scene.layers["a"].labels = ["a", "a"], [f"step {10 * i}" for i in range(4)]
    scene.layers["a"].limits = (-4, 4)
    series = {"loss": [1.0, None, 0.5, 0.4], "structure": [2.0, 1.5, 1.0, 0.5]}
    scene.extra = {"linked": True, "curves": {"x": [0, 10, 20, 30], "series": series, "steps": [0, 10, 20, 30]}}
    viewer = Viewer(scene)
    page = opened(viewer)
    assert page.locator(".bv-curve").count() == 2
    second = 'canvas[data-panel="focus-2"]'
    page.wait_for_selector(f'{second}[data-channel="3"][data-state="drawn"]')
    chart = page.locator(".bv-curves")
    box = chart.bounding_box()
    chart.click(position={"x": 0.36 * box["width"], "y": 20})
    page.wait_for_selector(f'{FOCUS}[data-channel="1"][data-state="drawn"]')
    chart.click(position={"x": 0.1 * box["width"], "y": 20}, modifiers=["Shift"])
    page.wait_for_selector(f'{second}[data-channel="0"][data-state="drawn"]')
    captions = page.locator(".bv-caption").all_inner_texts()
    assert [text.split("\n")[0].replace("\u00a0", " ") for text in captions] == ["a · step 10", "a · step 0"]
    page.get_by_label("Beside it").select_option("2")
    page.wait_for_selector(f'{second}[data-channel="2"][data-state="drawn"]')
    # Its channels are steps, in all that is seen, heard or saved.
    page.get_by_label("Shown").select_option("step 30")
    page.wait_for_selector(f'{FOCUS}[data-channel="3"][data-state="drawn"]')
    assert page.locator(".bv-channel-slider").get_attribute("aria-valuetext") == "step 30"
    assert page.locator('[role="option"][aria-selected="true"]').get_attribute("aria-label") == "step 30"
    assert page.locator(".bv-panel-note").inner_text() == "step 30"
    assert "step 30, over the photo" in page.locator(".bv-stage").first.get_attribute("aria-label")
    page.evaluate(NOTE_TEXTS)
    with page.expect_download():
        page.get_by_role("button", name="Save PNG").click()
    saved = " ".join(text["text"] for text in page.evaluate("() => window.texts"))
    assert "a · step\u00a030 · \u22124.000 to 4.000" in saved
    assert "a · step\u00a020 · \u22124.000 to 4.000" in saved
    page.locator("summary:has-text('Keys')").click()
    told = page.eval_on_selector_all(
        ".bv *", "(all) => all.filter((e) => e.checkVisibility()).flatMap((e) => [e.title, e.ariaLabel])"
    )
    words = page.locator(".bv-keys dl").first.inner_text()  # the list of words, which is the same in all views
    seen = page.locator(".bv").inner_text().replace(words, "")
    assert not re.search("channel|\\bch\\b", " ".join([seen, saved, *filter(None, told)]))
    assert watched.errors == []


def test_a_click_on_the_matrix_shows_the_two_layers(opened, watched):
    sides = ("first", "second")
    scene = scene_of(**{f"{name} · {side}": random_maps(3, 8, 12) for name in "ab" for side in sides})
    values = [[1.0, 0.5], [0.25, 0.75]]
    scene.extra["matrix"] = {"names": ["a", "b"], "titles": ["A", "B"], "values": values, "photos": 1, "cells": 400}
    page = opened(Viewer(scene))
    assert "1 photo, 400 cells" in page.locator(".bv-matrix").inner_text()
    page.locator(".bv-matrix-cell").nth(2).click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="b · first"][data-state="drawn"]')
    page.wait_for_selector('canvas[data-panel="focus-2"][data-layer="a · second"][data-state="drawn"]')
    assert page.locator(".bv-matrix-said").inner_text() == "0.2500: B (first) and A (second)"
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".bv-matrix-said:has-text('0.7500')")
    page.locator("button.bv-panel").first.click()
    page.wait_for_function("() => document.querySelectorAll('.bv-stage').length === 1")
    assert watched.errors == []
