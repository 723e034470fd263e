"""The explorer in a real browser: opened from disk with the network cut, and over http from its folder."""

import json
import threading

import numpy as np
import pytest
from explorer_case import ALERT, LAYERS, PHOTOS, STATE, assert_close, file_of, give, new_maps, read
from map_case import SIZES, assert_map_is_legible
from PIL import Image
from watched import WAIT

import birefnet_lite
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.ablate import ablatable, ablate
from widgets.explorer.server import make_server
from widgets.views.sampling_points import TONES


@pytest.fixture(scope="module")
def address(explorer_folder):
    with make_server(explorer_folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize("name", PHOTOS)
def test_maps_and_mask_equal_those_of_the_package(explorer, nano, name):
    image = give(explorer, name)
    maps = capture(nano, image)
    for layer in LAYERS:
        assert_close(read(explorer, f"values('{layer}')"), maps[layer].numpy())
    mask = birefnet_lite.segment(nano, image)
    found = read(explorer, "mask()")
    assert found.shape == mask.shape
    assert np.abs(found - mask).max() <= 2e-3


def test_gradient_targets_equal_those_of_the_package(explorer, nano):
    from birefnet_lite.network.refinement import gradient_target, laplacian, masked_gradient_target

    maps = capture(nano, give(explorer, "a.png"))
    x = maps.input
    assert_close(read(explorer, "values('laplacian')"), laplacian(x.mean(dim=1, keepdim=True))[0].numpy())
    side = maps["decoder.stage3.side"][None]
    found = read(explorer, "values('decoder.stage3.gradient_target')")
    assert_close(found, gradient_target(x, side)[0].numpy())
    found = read(explorer, "values('decoder.stage3.gradient_target_masked')")
    assert_close(found, masked_gradient_target(x, side)[0].numpy(), 1e-3)


@pytest.mark.parametrize("layer", ["decoder.stage2.inward_reference", "decoder.stage3.gradient_attention"])
def test_a_cleared_box_equals_ablate(explorer, nano, layer):
    image = give(explorer, "a.png")
    before = read(explorer, "mask()")
    box = explorer.locator(f'input[data-gate="{layer}"]')
    with new_maps(explorer):
        box.uncheck()
    with ablate(nano, layer):
        maps, mask = capture(nano, image), birefnet_lite.segment(nano, image)
    assert_close(read(explorer, "values('logits')"), maps["logits"].numpy())
    found = read(explorer, "mask()")
    with new_maps(explorer):
        box.check()
    assert np.abs(found - mask).max() <= 2e-3
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_array_equal(read(explorer, "mask()"), before)


def test_a_recorded_run_is_there_before_the_network(watched, explorer_file, nano):
    watched.page.goto(explorer_file.as_uri())
    watched.page.wait_for_selector('canvas[data-layer="logits"][data-state="drawn"]')
    gates = watched.page.eval_on_selector_all("input[type=checkbox][data-gate]", "(e) => e.map((x) => x.dataset.gate)")
    assert sorted(gates) == sorted(ablatable(nano))
    layers = watched.page.eval_on_selector_all("canvas[data-layer]", "(e) => e.map((x) => x.dataset.layer)")
    assert set(LAYERS) <= set(layers)
    watched.page.wait_for_selector(STATE.format("ready"))
    described = json.loads(watched.page.locator("#data").text_content())["map"]
    assert_map_is_legible(watched.page, ".map", described, (*SIZES, (1920, 1080), (360, 740)))
    # A link to a file would lead nobody else here.
    assert watched.page.get_by_role("button", name="Copy link").is_hidden()
    assert "Save state" in watched.page.locator('[data-at="no-link"]').inner_text()
    assert watched.errors == []
    assert watched.outside == []


@pytest.mark.slow
def test_the_folder_works_over_http(browser, nano, address):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(STATE.format("ready"))
    image = give(page, "a.png")
    assert_close(read(page, "values('logits')"), capture(nano, image)["logits"].numpy())
    assert page.get_by_role("button", name="Copy link").is_visible()
    assert page.locator('[data-at="no-link"]').is_hidden()
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    # No sideways scrolling on a telephone.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_broken_photo_says_what_to_do(explorer):
    explorer.set_input_files("input[type=file][data-photo]", file_of("x.jpg", b"no picture"))
    explorer.wait_for_selector(STATE.format("error"))
    assert "Save it as JPEG or PNG" in explorer.locator(ALERT).inner_text()
    give(explorer, "a.png")
    assert explorer.locator(ALERT).is_hidden()


def test_mask_and_cutout_are_saved_at_the_size_of_the_photo(explorer):
    image = give(explorer, "turned.jpg")
    for name, mode in (("mask", "RGBA"), ("cut-out", "RGBA")):
        with explorer.expect_download() as saved:
            explorer.get_by_role("button", name=f"Save {name}").click()
        with Image.open(saved.value.path()) as picture:
            assert picture.size == image.size[::-1]  # turned by EXIF
            assert picture.mode == mode


@pytest.mark.parametrize(
    "view", ["prediction_ladder", "gradient_targets", "sampling_points", "reference_tiles", "feature_pyramid"]
)
def test_every_view_draws_its_maps(explorer, view):
    give(explorer, "a.png")
    explorer.locator(f'[role="tab"][data-view="{view}"]').click()
    explorer.wait_for_selector(
        f'[data-at="view"] [data-viewer="{view}"] canvas[data-panel="focus"][data-state="drawn"]'
    )
    missing = explorer.locator('[data-at="view"] canvas[data-panel="grid"]:not([data-state="drawn"])')
    assert missing.count() == 0


def test_all_channels_are_shown_as_colours(explorer):
    give(explorer, "a.png")
    explorer.locator('[data-at="map"] button[title="Encoder · whole image, level 3"]').click()
    part = explorer.locator('[data-at="part-view"]')
    part.get_by_role("button", name="Colours").click()
    explorer.wait_for_selector(
        '[data-at="part-view"] canvas[data-panel="focus"][data-layer="encoder.full.x3 · colours"][data-state="drawn"]'
    )
    # Lists to choose from have options, too; these are the pictures of the atlas.
    pictures = part.locator('[role="option"]')
    pictures.nth(5).wait_for()
    assert pictures.count() == 6


def test_two_photos_stand_side_by_side(explorer):
    give(explorer, "a.png")
    explorer.locator('[role="tab"][data-view="paired"]').click()
    explorer.get_by_role("button", name="Second photo: Cat").click()
    drawn = '[data-at="view"] [data-viewer="paired"] canvas[data-panel="{}"][data-state="drawn"]'
    for panel in ("focus", "focus-2", "focus-3"):
        explorer.wait_for_selector(drawn.format(panel))


def test_gradients_are_recorded_for_the_sample_photos_alone(explorer):
    explorer.locator('[role="tab"][data-view="attribution"]').click()
    with new_maps(explorer):
        explorer.get_by_role("button", name="Sample photo: Coffee").click()
    view = explorer.locator('[data-at="view"]')
    explorer.wait_for_selector('[data-at="view"] canvas[data-panel="focus"][data-state="drawn"]')
    assert "Agreement with the predicted mask" in view.inner_text()
    give(explorer, "a.png")
    explorer.wait_for_selector('[data-at="view"] .hint')
    assert "Choose a sample photo" in view.inner_text()
    explorer.locator('[role="tab"][data-view="ablation"]').click()


@pytest.mark.parametrize("view", ["ablation", "sampling_points"])
def test_a_view_stops_saying_that_it_computes(explorer, view):
    give(explorer, "a.png")
    explorer.locator(f'[role="tab"][data-view="{view}"]').click()
    place = f'[data-at="view"] [data-viewer="{view}"]'
    explorer.wait_for_selector(f'{place} canvas[data-panel="focus"][data-state="drawn"]')
    explorer.evaluate(
        """(place) => {
            window.root = document.querySelector(place);
            window.waited = false;  // also if it waits so briefly that one call reports both changes
            new MutationObserver((changes) => { waited ||= changes.some((change) => change.oldValue === 'true'); })
                .observe(root, { attributeFilter: ['data-waiting'], attributeOldValue: true });
        }""",
        place,
    )
    if view == "ablation":
        explorer.locator(f"{place} .bv-side input[type=checkbox]").first.check()
    else:
        explorer.locator(f"{place} .bv-stage").first.click(position={"x": 40, "y": 40})
    explorer.wait_for_function("() => waited && root.dataset.waiting === 'false'", timeout=60_000)
    explorer.wait_for_selector(f"{place} .bv-busy", state="hidden")
    if view == "sampling_points":
        legend = explorer.locator(f"{place} .bv-focus .bv-tones .bv-key")
        assert legend.all_inner_texts() == [f"Branch {i}: {k} × {k}" for i, k in enumerate((1, 1, 3, 7), start=1)]
        tones = legend.locator("i").evaluate_all("(all) => all.map((e) => e.className.split('bv-tone-')[1])")
        assert tones == [*TONES]
    else:
        assert "cut at 0.5" in explorer.locator(f"{place} caption").inner_text()
        explorer.locator(f"{place} .bv-focus").get_by_role("button", name="All on again").click()
        explorer.wait_for_selector(f"{place} .bv-off-row", state="hidden")
    explorer.evaluate("document.querySelectorAll('input[data-gate]:not(:checked)').forEach((box) => box.click())")


def test_a_link_opens_its_part_and_questions_run_what_they_need_with_all_parts_on(watched, explorer_file):
    page = watched.page
    page.goto(explorer_file.as_uri() + "#view=reference_tiles&part=squeeze")
    page.wait_for_selector(STATE.format("ready"))
    assert page.locator('[data-at="part-title"]').inner_text() == "Squeeze module"
    page.wait_for_selector('[data-at="view"] [data-viewer="reference_tiles"]')
    go = page.get_by_role("button", name="Take me there")
    with new_maps(page):
        go.nth(6).click()  # sampling points: the recorded run has none
    page.wait_for_selector('[data-at="view"] [data-viewer="sampling_points"] canvas[data-state="drawn"]')
    with new_maps(page):
        go.nth(2).click()
    gates = page.locator("input[data-gate]:not(:checked)")
    assert gates.count() == 1
    with new_maps(page):
        go.nth(5).click()
    assert gates.count() == 0
