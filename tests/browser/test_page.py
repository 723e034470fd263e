"""Exported pages in a real browser with the network cut: what is drawn, what answers, what is said when something is
wrong.
"""

import base64
import json
import re

import numpy as np
import pytest
from map_case import assert_map_is_legible
from small_network import small

import widgets
from widgets.picture import paint_focus, paint_map
from widgets.scene import Scene
from widgets.viewer import Viewer

MINUS = "\N{MINUS SIGN}"


def scene_of(height=40, width=60, **layers):
    """A scene with layers made by hand over a smooth photo, which a JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    photo = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    scene = Scene("test", "Test", "What is it?", photo)
    for name, maps in layers.items():
        scene.add(name, np.asarray(maps, np.float32))
    scene.columns = list(layers)
    scene.rows = [("all", list(layers))]
    return scene


def random_maps(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.fixture
def viewer():
    return Viewer(scene_of(fine=random_maps(5, 20, 30), coarse=random_maps(3, 4, 6), one=random_maps(1, 40, 60)))


def pixels(page, selector):
    """The RGB of a canvas, (H, W, 3)."""
    # As base64: a list of numbers would take the browser's protocol a minute for a canvas of three megapixels.
    width, height, data = page.eval_on_selector(
        selector,
        """(canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            let text = '';
            for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
            return [width, height, btoa(text)];
        }""",
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def colours(image):
    """The colours of an RGB image, each as one number."""
    return set(np.unique(image.reshape(-1, 3).astype(int) @ [65536, 256, 1]))


def number(text):
    return float(text.replace(MINUS, "-"))


def hover(page, x, y, selector=".bv-stage"):
    """Move to a point of the photo, in parts of it."""
    box = page.locator(selector).first.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_pixels_are_those_of_the_python_renderer(viewer, opened):
    viewer.opacity = 1.0
    page = opened(viewer)
    for name in ("fine", "coarse", "one"):
        expected = paint_map(viewer.source, viewer.look, name, viewer.channels[name])
        shown = pixels(page, f'canvas[data-panel="grid"][data-layer="{name}"]')
        np.testing.assert_array_equal(shown, expected)
    focus = paint_focus(viewer.source, viewer.look, viewer.layer, viewer.channel)
    np.testing.assert_array_equal(pixels(page, 'canvas[data-panel="focus"]'), focus)


def test_blend_with_the_photo_is_near_the_python_renderer(viewer, opened):
    viewer.opacity = 0.4
    page = opened(viewer)
    focus = paint_focus(viewer.source, viewer.look, viewer.layer, viewer.channel).astype(int)
    assert np.abs(pixels(page, 'canvas[data-panel="focus"]') - focus).max() <= 4


def test_no_more_pixels_are_drawn_than_the_screen_shows(opened, tmp_path):
    viewer = Viewer(scene_of(1500, 2000, fine=random_maps(2, 1500, 2000)))
    viewer.opacity, viewer.colormap = 1.0, "grey"
    page = opened(viewer)
    focus = 'canvas[data-panel="focus"]'
    frame = page.locator(".bv-stage").bounding_box()["width"]
    page.wait_for_function("([s, w]) => document.querySelector(s).width <= w", arg=[focus, frame + 1])
    shown = pixels(page, focus)
    whole = paint_focus(viewer.source, viewer.look, "fine", viewer.channel)
    rows = np.arange(shown.shape[0]) * 1500 // shown.shape[0]
    columns = np.arange(shown.shape[1]) * 2000 // shown.shape[1]
    np.testing.assert_array_equal(shown, whole[rows][:, columns])
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save PNG").click()
    from PIL import Image

    saved = np.asarray(Image.open(picture.value.path()).convert("RGB")).astype(int)
    equal = (np.diff(saved[200:600, 100:900], axis=1) == 0).all(axis=2).mean()
    assert equal < 0.15  # noise; in blocks of the screen's pixels every second neighbour would be equal
    for _ in range(4):
        page.get_by_role("button", name="+", exact=True).click()
    page.wait_for_function("(s) => document.querySelector(s).width === 2000", arg=focus)
    np.testing.assert_array_equal(pixels(page, focus), whole)


def test_the_probe_reads_the_value_under_the_pointer(viewer, opened):
    page = opened(viewer)
    hover(page, 0.5, 0.3)
    page.wait_for_selector("output[data-probe] strong")
    plane = viewer.source.plane("fine", viewer.channel)
    expected = plane.values()[6, 15]
    assert number(page.locator("output[data-probe] strong").inner_text()) == pytest.approx(expected, abs=1e-3)
    for name, (row, column) in {"fine": (6, 15), "coarse": (1, 3), "one": (12, 30)}.items():
        value = viewer.source.plane(name, viewer.channels[name]).values()[row, column]
        assert number(page.locator(f'[data-value="{name}"]').inner_text()) == pytest.approx(value, abs=1e-3)
    page.mouse.move(2, 2)
    page.wait_for_function("() => !document.querySelector('output[data-probe] strong')")


def test_a_click_pins_and_escape_takes_the_pin_away(viewer, opened):
    page = opened(viewer)
    hover(page, 0.25, 0.5)
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(2, 2)
    page.wait_for_selector('.bv[data-pinned="true"]')
    page.wait_for_selector("output[data-probe]:has-text('x 15, y 20')")
    page.locator(".bv-stage").press("Escape")
    page.wait_for_selector('.bv[data-pinned="false"]')


def test_everything_can_be_reached_by_keyboard(viewer, opened):
    page = opened(viewer)
    stage = page.locator(".bv-stage")
    stage.focus()
    stage.press("Enter")
    page.wait_for_selector('.bv[data-pinned="true"]')
    stage.press("ArrowRight")
    stage.press("Shift+ArrowDown")
    # The first key alone may be drawn in a frame of its own, so wait for what both come to.
    page.wait_for_selector("output[data-probe]:has-text('column 16, row 19')")
    first = page.locator('canvas[data-panel="focus"]').get_attribute("data-channel")
    stage.press("]")
    page.wait_for_selector(f'canvas[data-panel="focus"]:not([data-channel="{first}"])')
    stage.press("PageDown")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="coarse"]')
    for key, selector, value in (("c", "colormap", "viridis"), ("r", "range", "layer")):
        stage.press(key)
        chosen = "([name, value]) => document.querySelector(`select[name=${name}]`).value === value"
        page.wait_for_function(chosen, arg=[selector, value])
    stage.press("+")
    page.wait_for_function("() => document.querySelector('.bv').style.getPropertyValue('--zoom') === '1.5'")
    stage.press("0")
    page.wait_for_function("() => document.querySelector('.bv').style.getPropertyValue('--zoom') === '1'")
    # Every control takes the focus by Tab and says what it is.
    unnamed = page.eval_on_selector_all(
        ".bv button, .bv select, .bv input, .bv [tabindex='0']",
        """(all) => all
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || e.closest('label')))
            .map((e) => e.outerHTML)""",
    )
    assert unnamed == []
    page.get_by_text("Keys", exact=True).click()
    assert "channel before, channel after" in page.locator(".bv-keys[open] dl").inner_text()
    assert "object" not in page.locator(".bv-keys[open] dl").inner_text()
    atlas = page.locator('[role="listbox"]')
    atlas.focus()
    atlas.press("End")
    page.wait_for_selector('[role="option"][aria-selected="true"]:last-child')
    named = atlas.get_attribute("aria-activedescendant")
    assert page.locator('[role="option"][aria-selected="true"]').get_attribute("id") == named
    # The grid is one stop, in which the arrows move.
    page.locator(".bv-grid button[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="coarse"]')
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="fine"]')
    assert page.locator(".bv-grid button[tabindex='0']").count() == 1


def test_zoom_keeps_the_point_under_the_pointer(viewer, opened):
    page = opened(viewer)
    page.locator(".bv-stage").focus()
    hover(page, 0.71, 0.22)
    page.wait_for_selector("output[data-probe] strong")
    before = page.locator("output[data-probe]").inner_text()
    page.mouse.wheel(0, -600)
    page.wait_for_function("() => Number(document.querySelector('.bv').style.getPropertyValue('--zoom')) > 3")
    hover(page, 0.71, 0.22)
    page.wait_for_function("(text) => document.querySelector('output[data-probe]').innerText === text", arg=before)


def test_the_wheel_scrolls_the_page_after_a_click_and_zooms_with_control(viewer, opened):
    page = opened(viewer)
    page.set_viewport_size({"width": 1240, "height": 400})
    hover(page, 0.5, 0.3)
    page.mouse.down()
    page.mouse.up()
    page.mouse.wheel(0, 100)
    page.wait_for_function("() => scrollY > 0")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => Number(document.querySelector('.bv').style.getPropertyValue('--zoom')) > 2")


def test_one_finger_scrolls_and_two_zoom(viewer, opened):
    page = opened(viewer)
    page.set_viewport_size({"width": 390, "height": 500})
    box = page.locator(".bv-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tools = page.context.new_cdp_session(page)
    tools.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(kind, *points):
        tools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    touch("touchStart", (x, y))
    for moved in range(15, 150, 15):
        touch("touchMove", (x, y - moved))
    touch("touchEnd")
    page.wait_for_function("() => scrollY > 50")
    page.reload()
    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    page.evaluate("() => scrollTo(0, 0)")
    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 60, y), (x + 60, y))
    touch("touchEnd")
    page.wait_for_function("() => Number(document.querySelector('.bv').style.getPropertyValue('--zoom')) > 2")
    assert page.evaluate("() => scrollY") == 0
    assert page.locator('.bv[data-pinned="true"]').count() == 0


def test_a_view_opens_for_a_projector_by_its_address(viewer, opened):
    page = opened(viewer)
    page.goto("about:blank")
    size = "() => document.querySelector('.bv-title').getBoundingClientRect().height"
    page.go_back()
    page.wait_for_selector('.bv[data-projector="false"]')
    small_title = page.evaluate(size)
    address = page.url
    page.goto("about:blank")
    page.goto(f"{address}#projector")
    page.wait_for_selector('.bv[data-projector="true"] canvas[data-panel="focus"][data-state="drawn"]')
    assert page.evaluate(size) > 1.3 * small_title


def test_own_limits_mark_what_lies_outside(viewer, opened):
    page = opened(viewer)
    page.locator("select[name=range]").select_option("own")
    page.locator("[aria-label='Lower limit']").fill("-0.5")
    page.locator("[aria-label='Upper limit']").fill("0.5")
    page.wait_for_selector(".bv-legend :text('above')")
    values = viewer.source.plane("fine", viewer.channel).values()
    legend = page.locator(".bv-colour-bar .bv-legend").inner_text()
    assert f"above: {(values > 0.5).sum()} cells" in legend
    assert f"below: {(values < -0.5).sum()} cells" in legend


def test_nan_and_infinities_are_seen_and_counted(opened):
    maps = random_maps(1, 4, 6)
    maps[0, 0, :3] = np.nan, np.inf, -np.inf
    viewer = Viewer(scene_of(odd=maps))
    viewer.opacity = 1.0
    page = opened(viewer)
    shown = pixels(page, 'canvas[data-panel="grid"]')
    assert [tuple(int(c) for c in pixel) for pixel in shown[0, :3]] == [(255, 0, 255), (255, 0, 0), (0, 0, 255)]
    for name in ("NaN: 1 cell", "+∞: 1 cell", "-∞: 1 cell"):
        assert name in page.locator(".bv-colour-bar .bv-legend").inner_text()
    hover(page, 0.05, 0.05)
    page.wait_for_selector("output[data-probe] strong:text('NaN')")


@pytest.mark.parametrize(
    "maps",
    [
        np.full((2, 3, 3), np.nan),
        np.full((1, 4, 4), 7.0),
        np.ones((3, 1, 1)),
        np.arange(2000.0 * 4).reshape(2000, 2, 2),
        np.full((2, 2, 2), 3e38),
    ],
    ids=["nan", "constant", "one-cell", "two-thousand-channels", "huge"],
)
def test_layers_of_unusual_values_and_sizes_are_drawn(maps, opened, watched):
    page = opened(Viewer(scene_of(odd=maps)))
    hover(page, 0.5, 0.5)
    page.wait_for_selector("output[data-probe] strong")
    assert watched.errors == []
    assert page.locator('[role="alert"]:visible').count() == 0


def test_another_channel_sets_no_text_of_other_maps(viewer, opened):
    page = opened(viewer)  # texts set anew, though the same, would make the browser lay out the page in each frame
    page.evaluate(
        """() => {
            window.changed = [];
            new MutationObserver((changes) => changed.push(...changes.map(({ target }) => target.textContent)))
                .observe(document.querySelector('.bv-grid'), { childList: true, subtree: true });
        }"""
    )
    before = page.get_attribute('canvas[data-panel="focus"]', "data-channel")
    page.locator(".bv-channel-slider").press("ArrowRight")
    page.wait_for_selector(f'canvas[data-panel="focus"][data-state="drawn"]:not([data-channel="{before}"])')
    now = page.get_attribute('canvas[data-panel="focus"]', "data-channel")
    assert page.evaluate("changed") == [f"ch {now}"]


def test_channels_are_listed_48_at_a_time(opened):
    page = opened(Viewer(scene_of(many=np.random.default_rng(0).normal(size=(2000, 2, 2)))))
    assert page.locator('[role="option"]').count() == 48
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('[role=option]').length === 96")


@pytest.mark.parametrize("size", [(10, 90), (90, 10), (1, 1)])
def test_photo_keeps_its_proportions(size, opened, watched):
    page = opened(Viewer(scene_of(*size, a=random_maps(2, 3, 3))))
    box = page.locator(".bv-stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(size[1] / size[0], rel=0.1)
    assert watched.errors == []


NASTY = '<img src=x onerror="window.harm = 1">'


def test_html_in_names_is_shown_as_text(opened, watched):
    scene = scene_of(**{NASTY: random_maps(2, 3, 3)})
    scene.title = scene.question = NASTY
    scene.facts = [NASTY]
    table = {"columns": [NASTY], "rows": [{"cells": [NASTY], "layer": NASTY}]}
    page = opened(Viewer(scene, table=table))
    assert page.locator(".bv img").count() == 0
    assert page.evaluate("() => window.harm") is None
    assert page.locator(".bv-title").inner_text() == NASTY
    assert page.locator(".bv-table tbody th").inner_text() == NASTY


def test_nothing_is_asked_of_the_network(viewer, opened, watched):
    opened(viewer)
    assert watched.outside == []
    assert watched.errors == []


def test_failure_to_decode_shows_an_alert(viewer, opened):
    broken = "window.createImageBitmap = async () => { throw new Error('no decoder here'); };"
    page = opened(viewer, wait=False, before=broken)
    page.wait_for_selector('[role="alert"]:has-text("no decoder here")')
    assert page.locator('canvas[data-panel="grid"][data-state="drawn"]').count() == 3


def test_truncated_data_shows_an_alert(viewer, watched, tmp_path):
    state = viewer.state()
    state["blob"] = state["blob"][: len(state["blob"]) // 8 * 4]
    from widgets.html_page import write_page

    write_page(tmp_path / "cut.html", state, viewer._esm, viewer._css)
    watched.page.goto((tmp_path / "cut.html").as_uri())
    watched.page.wait_for_selector('[role="alert"]:has-text("cut short")')


def test_a_channel_that_the_page_lacks_says_so(opened):
    scene = scene_of()
    scene.add("a", random_maps(9, 8, 8), keep=2)
    page = opened(Viewer(scene))
    assert page.locator('[role="option"]').count() == 2
    missing = next(c for c in range(9) if c not in scene.layers["a"].planes)
    page.locator("input[name=channel]").fill(str(missing))
    page.wait_for_selector("text=not in this page")


def test_saving_a_picture_and_a_state(viewer, opened, tmp_path):
    page = opened(viewer)
    page.evaluate(
        """() => {
            const busy = document.querySelector('.bv-busy');
            window.said = [];
            const hear = () => said.push([busy.firstChild.textContent, busy.hidden]);
            new MutationObserver(hear).observe(busy, { attributes: true });
        }"""
    )
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save PNG").click()
    from PIL import Image

    page.wait_for_function("() => said.length > 1")
    assert page.evaluate("() => said") == [["Saving the picture …", False], ["", True]]
    saved = np.asarray(Image.open(picture.value.path()).convert("RGB"))
    assert saved.shape[1] == 2400
    known = paint_map(viewer.source, viewer.look, "coarse", viewer.channels["coarse"])
    assert colours(known) <= colours(saved)
    page.locator('button.bv-panel:has(canvas[data-layer="coarse"])').click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="coarse"][data-state="drawn"]')
    with page.expect_download() as state:
        page.get_by_role("button", name="Save state").click()
    again = widgets.show(json.loads(state.value.path().read_text()))
    assert again.layer == "coarse"
    for name in ("fine", "coarse", "one"):
        channel = viewer.channels[name]
        np.testing.assert_array_equal(
            again.source.plane(name, channel).values(), viewer.source.plane(name, channel).values()
        )


def test_a_region_is_drawn_after_its_button(watched, tmp_path):
    """As beside a kernel: the page is told that there is one, and what it would hear is kept."""
    scene = scene_of(a=random_maps(1, 20, 30))
    scene.extra = {"regions": True}
    path = tmp_path / "view.html"
    Viewer(scene).to_html(path)
    text = (
        path.read_text().replace("live: false", "live: true").replace("const model =", "const model = window.model =")
    )
    path.write_text(text)
    page = watched.page
    page.goto(path.as_uri())
    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    page.get_by_role("button", name="Region").click()
    hover(page, 0.75, 0.8)
    page.mouse.down()
    hover(page, 0.5, 0.5)
    page.wait_for_selector(".bv-stage .bv-box")
    hover(page, 0.25, 0.2)
    page.mouse.up()
    assert page.get_by_role("button", name="Region").get_attribute("aria-pressed") == "false"
    region = page.evaluate("() => window.model.get('region')")
    np.testing.assert_allclose(region, [15, 8, 45, 32], atol=0.2)
    assert page.locator('.bv[data-pinned="true"]').count() == 0


def test_pin_that_needs_a_kernel_stays_where_it_is_without_one(opened):
    scene = scene_of(a=random_maps(1, 20, 30))
    scene.extra = {"reacts": True}
    viewer = Viewer(scene)
    viewer.pin = [30.0, 20.0]
    page = opened(viewer)
    assert "This page shows saved results" in page.locator(".bv-notice").inner_text()
    hover(page, 0.9, 0.9)
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(2, 2)
    page.wait_for_selector('.bv[data-pinned="true"]')
    page.wait_for_selector("output[data-probe]:has-text('x 30, y 20')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_themes(viewer, opened, watched, scheme):
    watched.page.emulate_media(color_scheme=scheme)
    page = opened(viewer)
    page.wait_for_selector(f'.bv[data-theme="{scheme}"]')
    texts = ".bv-title, .bv-question, .bv-field span, .bv-value, .bv-column, .bv-foot"
    colours = page.eval_on_selector_all(
        texts,
        """(all) => all.map((e) => [getComputedStyle(e).color, getComputedStyle(e.closest('.bv')).backgroundColor])""",
    )
    assert len(colours) > 8
    for ink, paper in colours:
        assert contrast(ink, paper) >= 4.5, (ink, paper)
    borders = page.eval_on_selector_all(
        ".bv-button, .bv select, .bv input[type=number]",
        """(all) => all.map((e) => e.getAttribute('aria-pressed') === 'true'
            ? [getComputedStyle(e).backgroundColor, getComputedStyle(e.closest('.bv')).backgroundColor]
            : [getComputedStyle(e).borderTopColor, getComputedStyle(e).backgroundColor])""",
    )
    assert len(borders) > 8
    for edge, paper in borders:
        assert contrast(edge, paper) >= 3, (edge, paper)


def contrast(first, second):
    """WCAG's contrast of two CSS colours."""

    def luminance(text):
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", text)[:3]]
        linear = [part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_layers_of_a_group_are_shown_side_by_side(opened):
    scene = scene_of()
    group = ["a", "b"]
    for name in group:
        scene.add(name, random_maps(3, 4, 4), group=group)
    page = opened(Viewer(scene))
    assert page.locator(".bv-stage").count() == 2
    hover(page, 0.5, 0.5)
    page.wait_for_function("() => document.querySelectorAll('output[data-probe] strong').length === 2")


# ---- scales that tell the truth, states that do not lie ----


def resize(page, width, height=900):
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("width", [390, 1024, 1280])
@pytest.mark.parametrize("count", [1, 3])
def test_the_scale_bar_is_as_long_as_it_says(opened, width, count):
    scene = scene_of(200, 300)
    group = [f"layer {i}" for i in range(count)]
    for name in group:
        scene.add(name, random_maps(1, 20, 30), group=group if count > 1 else None)
    page = opened(Viewer(scene))
    resize(page, width)
    for zoom in (1, 1.5):
        if zoom > 1:
            page.get_by_role("button", name="+", exact=True).click()
            page.wait_for_function("() => document.querySelector('.bv').style.getPropertyValue('--zoom') === '1.5'")
        page.wait_for_function("() => document.querySelector('.bv-scale i').getAnimations().length === 0")
        said = int(re.match(r"\d+", page.locator(".bv-scale span").inner_text()).group())
        bar = page.locator(".bv-scale i").bounding_box()["width"]
        frame = page.locator(".bv-stage").first.bounding_box()["width"]
        assert bar == pytest.approx(said / 300 * frame * zoom, abs=1)


def test_the_marker_stays_thin_at_zoom_64(viewer, opened):
    page = opened(viewer)
    hover(page, 0.52, 0.52)
    page.mouse.down()
    page.mouse.up()
    for _ in range(12):
        page.get_by_role("button", name="+", exact=True).click()
    page.wait_for_function("() => document.querySelector('.bv').style.getPropertyValue('--zoom') === '64'")
    marker = page.locator(".bv-stage .bv-marker")
    assert marker.evaluate("(e) => parseFloat(getComputedStyle(e).outlineWidth)") <= 3
    assert marker.evaluate("(e) => e.closest('.bv-sheet')") is None
    frame, cell = page.locator(".bv-stage").bounding_box(), marker.bounding_box()
    assert cell["width"] == pytest.approx(frame["width"] * 64 / 30, rel=0.02)
    # It lies around the cell of the pin, in the picture and in those of the grid.
    for name, (row, column) in {"fine": (10, 15), "coarse": (2, 3), "one": (20, 31)}.items():
        panel = page.locator(f'button.bv-panel:has(canvas[data-layer="{name}"])')
        picture, mark = panel.locator(".bv-canvas").bounding_box(), panel.locator(".bv-marker").bounding_box()
        layer = viewer.source.layers[name]
        for side, start, at, count in (("width", "x", column, layer.shape[2]), ("height", "y", row, layer.shape[1])):
            middle = picture[start] + (at + 0.5) / count * picture[side]
            assert mark[start] + mark[side] / 2 == pytest.approx(middle, abs=3)


def test_no_pin_is_drawn_on_a_kernel_and_its_taps_are_read(viewer, opened):
    scene = viewer.source
    for name in ("patch", "kernel"):
        scene.add(name, random_maps(2, 3, 3)).taps = True
    scene.rows = [("all", list(scene.layers))]
    scene.columns = list(scene.layers)
    viewer = Viewer(scene)
    viewer.pin = [30.0, 20.0]
    page = opened(viewer)
    marked = """(all) => all.filter((e) => e.checkVisibility())
        .map((e) => e.parentElement.querySelector("canvas").dataset.layer)"""
    assert page.eval_on_selector_all(".bv-grid .bv-marker", marked) == ["fine", "coarse", "one"]
    page.locator('button.bv-panel:has(canvas[data-layer="kernel"])').click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="kernel"][data-state="drawn"]')
    for _ in range(12):
        page.get_by_role("button", name="+", exact=True).click()
    hover(page, 0.9, 0.5)
    page.wait_for_selector("output[data-probe]:has-text('tap in column 2, row 1 of the kernel')")
    value = scene.plane("kernel", viewer.channels["kernel"]).values()[1, 2]
    assert number(page.locator("output[data-probe] strong").inner_text()) == pytest.approx(value, abs=1e-3)
    assert page.eval_on_selector_all(".bv-grid .bv-marker", marked) == ["patch", "kernel"]
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(2, 2)
    page.wait_for_selector("output[data-probe]:has-text('Move over a picture')")
    assert page.eval_on_selector_all(".bv-grid .bv-marker", marked) == ["fine", "coarse", "one"]


def test_opacity_zero_shows_the_photo_as_it_is(viewer, opened):
    viewer.opacity = 0.0
    page = opened(viewer)
    shown = pixels(page, 'canvas[data-panel="focus"]').astype(int)
    assert np.abs(shown - viewer.source.photo.astype(int)).max() <= 4


def test_saying_that_it_computes_moves_nothing(watched, tmp_path):
    viewer = Viewer(scene_of(a=random_maps(1, 20, 30)))
    path = tmp_path / "view.html"
    viewer.to_html(path)
    path.write_text(path.read_text().replace("const model =", "const model = window.model ="))
    page = watched.page
    page.goto(path.as_uri())
    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    before = page.locator(".bv-stage").bounding_box()
    page.evaluate("() => window.model.set('busy', 'Computing …')")
    page.wait_for_selector(".bv-busy:visible")
    assert page.locator(".bv-stage").bounding_box() == before
    page.wait_for_selector('.bv[data-waiting="true"]')


def test_a_gesture_dims_what_it_makes_stale(watched, tmp_path):
    scene = scene_of(a=random_maps(1, 20, 30))
    scene.extra = {"reacts": True}
    path = tmp_path / "view.html"
    Viewer(scene).to_html(path)
    text = path.read_text().replace("live: false", "live: true")
    path.write_text(text.replace("const model =", "const model = window.model ="))
    page = watched.page
    page.goto(path.as_uri())
    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    hover(page, 0.3, 0.3)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector('.bv[data-waiting="true"]')
    page.evaluate("() => { window.model.set('busy', 'x'); window.model.set('busy', ''); }")
    page.wait_for_selector('.bv[data-waiting="false"]')
    page.evaluate("() => window.model.set('live', false)")
    page.wait_for_selector('.bv-notice:has-text("This page shows saved results")')
    assert page.locator(".bv").get_attribute("data-live") == "false"


def test_keys_pressed_while_the_kernel_computes_ask_for_one_computation(watched, tmp_path):
    scene = scene_of(a=random_maps(1, 20, 30))
    scene.extra = {"reacts": True}
    path = tmp_path / "view.html"
    Viewer(scene).to_html(path)
    text = (
        path.read_text().replace("live: false", "live: true").replace("const model =", "const model = window.model =")
    )
    path.write_text(text.replace("save_changes: () => {}", "save_changes: () => window.saved.push(values.pin)"))
    page = watched.page
    page.add_init_script("window.saved = [];")
    page.clock.install()
    page.goto(path.as_uri())
    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    page.evaluate("() => window.model.set('busy', 'Computing …')")
    stage = page.locator(".bv-stage")
    stage.press("Enter")
    for _ in range(5):
        stage.press("ArrowRight")
    page.wait_for_selector("output[data-probe]:has-text('column 20, row 10')")
    # Longer than the pause after which a look is told; the kernel is still at work.
    page.clock.fast_forward(2000)
    assert page.evaluate("() => window.saved") == []
    page.evaluate("() => window.model.set('busy', '')")
    page.clock.fast_forward(2000)
    assert page.evaluate("() => window.saved.map(([x]) => x)") == pytest.approx([41])


def test_refused_inputs_show_what_holds(viewer, opened):
    page = opened(viewer)
    number = page.locator("input[name=channel]")
    number.fill("999")
    number.press("Tab")
    assert number.input_value() == "4"
    page.locator("select[name=range]").select_option("own")
    page.locator("[aria-label='Lower limit']").fill("-1")
    page.locator("[aria-label='Upper limit']").fill("2")
    page.locator("[aria-label='Lower limit']").fill("5")
    page.locator("[aria-label='Lower limit']").press("Tab")
    page.wait_for_selector("[role=alert]:has-text('lower limit')")
    assert page.locator("[aria-label='Lower limit']").input_value() == "-1"


def test_escape_closes_the_list_of_keys(viewer, opened):
    page = opened(viewer)
    page.get_by_text("Keys", exact=True).click()
    page.wait_for_selector(".bv-keys[open]")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('.bv-keys[open]')")


@pytest.mark.parametrize("width", [390, 1024, 1280])
def test_no_column_is_cut_and_the_large_picture_stays_in_sight(opened, width):
    names = {f"layer {i}": random_maps(2, 8, 12) for i in range(40)}
    scene = scene_of(**names)
    listed = list(names)
    scene.columns = [f"Column\n{i}" for i in range(10 if width > 500 else 4)]
    step = len(scene.columns)
    scene.rows = [(f"Row {i}", listed[i : i + step]) for i in range(0, 40, step)]
    rows = [
        {"cells": [f"a rather long name of a part {i}", "12 × 34 × 56", "12 × 34 × 56", "0.123", "DIFF"]}
        for i in range(9)
    ]
    table = {
        "caption": "A caption",
        "columns": ["Part", "mine", "reference", "largest difference", "verdict"],
        "rows": rows,
    }
    scene.extra["choices"] = [{"name": "part", "label": "Part", "options": ["a.rather.long.name" * 4]}]
    page = opened(Viewer(scene, table=table))
    resize(page, width, 800)
    right = page.locator(".bv-body").bounding_box()
    ends = page.eval_on_selector_all(
        ".bv-body :is(select, input, button)", "(all) => all.map((e) => e.getBoundingClientRect().right)"
    )
    assert max(ends) <= right["x"] + right["width"] + 1
    cut = page.eval_on_selector_all(
        ".bv-table, .bv-grid", "(all) => all.map((e) => e.scrollWidth - e.clientWidth).filter((more) => more > 1)"
    )
    assert cut == []
    page.locator("button.bv-panel").last.scroll_into_view_if_needed()
    page.locator("button.bv-panel").last.click()
    page.wait_for_selector(f'canvas[data-panel="focus"][data-layer="{listed[-1]}"][data-state="drawn"]')
    box = page.locator(".bv-stage").bounding_box()
    seen = min(box["y"] + box["height"], 800) - max(box["y"], 0)
    assert seen >= 0.8 * box["height"]
    # On paper all rows are there.
    page.emulate_media(media="print")
    hidden = page.eval_on_selector_all(".bv-table", "(all) => all.map((e) => e.scrollHeight - e.clientHeight)")
    assert max(hidden) <= 1


def test_rows_without_maps_do_not_look_as_if_they_had_some(opened):
    rows = [{"cells": ["with", "1"], "layer": "a"}, {"cells": ["without", "2"]}]
    page = opened(Viewer(scene_of(a=random_maps(1, 4, 6)), table={"columns": ["Part", "value"], "rows": rows}))
    kinds = page.eval_on_selector_all("tbody tr", "(all) => all.map((e) => getComputedStyle(e).cursor)")
    assert kinds == ["pointer", "auto"]


def test_text_is_twelve_pixels_or_more(viewer, opened):
    page = opened(viewer)
    narrow = page.eval_on_selector_all(
        ".bv *",
        """(all) => all
            .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
            .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12)
            .map((e) => e.className)""",
    )
    assert narrow == []


# ---- the map of the network ----


@pytest.fixture(scope="module")
def network_page_view():
    return widgets.architecture(small(), np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8))


def test_the_map_can_be_walked_through(network_page_view, opened, watched):
    page = opened(network_page_view)
    nodes = network_page_view.scene["map"]["nodes"]
    assert page.locator(".bv-node").count() == len(nodes)
    assert page.locator('.bv-node canvas[data-state="drawn"]').count() == len(nodes)
    assert page.locator(".bv-edge").count() == len(network_page_view.scene["map"]["edges"])
    assert_map_is_legible(page, ".bv-map", network_page_view.scene["map"])
    page.set_viewport_size({"width": 1240, "height": 1000})
    title = page.locator('g.bv-sign[data-sign="add"][data-to="decoder.stage3.out"] title')
    formula = "enlarged (reconstruction × gradient attention) + lateral block"
    assert title.text_content() == f"Added, cell by cell: {formula}"
    page.locator('[data-node="squeeze"]').click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="squeeze"][data-state="drawn"]')
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="decoder.stage4.inward_reference"]')
    page.locator('[data-node="decoder.stage3.out"]').hover()
    page.wait_for_selector('.bv-map[data-lit="true"]')
    lit = page.eval_on_selector_all(".bv-node.bv-lit", "(all) => all.map((e) => e.dataset.node)")
    node = next(node for node in nodes if node["name"] == "decoder.stage3.out")
    assert set(lit) == {"decoder.stage3.out", "decoder.stage2.reconstruction", *node["inputs"]}
    page.locator("select[name=colour-by]").select_option("time")
    page.wait_for_selector('.bv-map[data-by="time"]')
    page.mouse.move(2, 2)
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="decoder.stage4.reconstruction"]')
    page.get_by_role("button", name="Stop").click()
    assert page.locator('.bv-node[tabindex="0"]').count() == 1
    assert watched.errors == []


def test_the_map_of_a_network_without_most_parts_is_legible(opened, watched):
    bare = {"inward_reference": False, "outward_reference": False, "squeeze_block": "none"}
    model = small(multi_scale_input="none", context_scales=0, **bare)
    view = widgets.architecture(model, np.zeros((64, 96, 3), np.uint8))
    assert_map_is_legible(opened(view), ".bv-map", view.scene["map"])
    assert watched.errors == []


# ---- all channels at once ----


def test_channels_are_seen_together_and_cells_like_the_pinned_one(opened, watched):
    viewer = widgets.feature_pyramid(small(), np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8))
    viewer.opacity = 1.0
    page = opened(viewer)
    page.get_by_role("button", name="Colours", exact=True).click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="encoder.full.x1 · colours"][data-state="drawn"]')
    focus = paint_focus(viewer.source, viewer.look, "encoder.full.x1 · colours", 0)
    np.testing.assert_array_equal(pixels(page, 'canvas[data-panel="focus"]'), focus)
    assert "PCA" in page.locator(".bv-layer-note").inner_text()
    page.get_by_role("button", name="Like the pin").click()
    page.wait_for_selector('.bv-layer-note:has-text("Cosine similarity")')
    assert float(page.locator("output[data-probe] strong").inner_text()) == pytest.approx(1, abs=1e-3)
    assert watched.errors == []


def test_a_film_plays_and_its_rows_choose_the_step(opened, watched):
    scene = scene_of(a=random_maps(4, 8, 12), b=random_maps(4, 8, 12))
    scene.extra = {"linked": True}
    rows = [{"cells": [str(i), "0.5"], "channel": i} for i in range(4)]
    page = opened(Viewer(scene, table={"columns": ["Step", "loss"], "rows": rows}))
    page.locator("tbody tr").nth(2).click()
    page.wait_for_selector('canvas[data-panel="grid"][data-layer="b"][data-channel="2"]')
    page.wait_for_selector('tbody tr[data-channel="2"][aria-selected="true"]')
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector('canvas[data-panel="focus"][data-channel="3"]')
    page.wait_for_selector('button:text-is("Play")')
    assert watched.errors == []
