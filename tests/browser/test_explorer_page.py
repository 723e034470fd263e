"""The explorer in a real browser: opened from disk with the network cut, and over http from its folder."""

import base64
import io
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from watched import WAIT, Watched

import birefnet_lite
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.ablate import ablatable, ablate
from birefnet_lite.photos import load_photo
from widgets.explorer.page import write_file, write_folder
from widgets.explorer.server import make_server

STATE = '[data-explorer][data-state="{}"]'
LAYERS = (
    "encoder.full.x1", "encoder.half.x4", "encoder.x4", "squeeze", "decoder.stage4.inward_reference",
    "decoder.stage3.side", "decoder.stage2.gradient_attention", "decoder.stage2.gradient_prediction",
    "decoder.stage2.out", "decoder.stage1.reconstruction", "decoder.image_branch", "logits",
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return birefnet_lite.load("nano", "cpu")


@pytest.fixture(scope="module")
def page_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_file(path, model)
    return path


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    write_folder(folder, model)
    with make_server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module")
def opened_explorer(browser, page_file):
    """The page from disk, network cut and its network ready: loading it takes seconds, so the tests share it."""
    context = browser.new_context(viewport={"width": 1240, "height": 1000}, offline=True)
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(WAIT)
    watched.page.goto(page_file.as_uri())
    watched.page.wait_for_selector(STATE.format("ready"))
    yield watched
    context.close()


@pytest.fixture
def explorer(opened_explorer):
    yield opened_explorer.page
    assert opened_explorer.errors == []
    assert opened_explorer.outside == []


def photo_files():
    """A square PNG, a tall JPEG that EXIF turns, and a large one."""
    astronaut, coffee = load_photo("astronaut")[0], load_photo("coffee")[0]
    turned = Image.fromarray(coffee)
    exif = turned.getexif()
    exif[0x0112] = 6
    large = Image.fromarray(astronaut).resize((1500, 1000))
    for image, name, options in (
        (Image.fromarray(astronaut), "a.png", {}),
        (turned, "turned.jpg", {"exif": exif, "quality": 95, "subsampling": 0}),
        (large, "large.png", {"compress_level": 1}),
    ):
        stream = io.BytesIO()
        image.save(stream, "PNG" if name.endswith("png") else "JPEG", **options)
        yield name, stream.getvalue()


PHOTOS = dict(photo_files())


@contextmanager
def new_maps(page):
    """Waits until what the block did has run the network. The page notes its states: `running` may last too short."""
    page.evaluate(
        """() => {
            const root = document.querySelector('[data-explorer]');
            window.states = [];
            window.noting?.disconnect();
            window.noting = new MutationObserver(() => window.states.push(root.dataset.state));
            window.noting.observe(root, { attributes: true, attributeFilter: ['data-state'] });
        }"""
    )
    yield
    page.wait_for_function("() => window.states.includes('running') && window.states.at(-1) === 'done'")


def give(page, name, again=False):
    """Puts a photo in and waits for its maps, unless the page has it from an earlier test."""
    data = PHOTOS[name]
    kind = "image/png" if name.endswith("png") else "image/jpeg"
    if again or page.evaluate("window.givenPhoto") != name:
        with new_maps(page):
            page.set_input_files("input[type=file][data-photo]", {"name": name, "mimeType": kind, "buffer": data})
        page.evaluate("(name) => { window.givenPhoto = name; }", name)
    return Image.open(io.BytesIO(data))


def read(page, call):
    """The array that a call of `explorer` gives."""
    found = page.evaluate(
        f"""async () => {{
            const {{ dims, data }} = await explorer.{call};
            const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
            let text = "";
            for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
            return [dims, btoa(text)];
        }}"""
    )
    return np.frombuffer(base64.b64decode(found[1]), np.float32).reshape(found[0])


def assert_close(found, wanted, tolerance=1e-4):
    assert found.shape == tuple(wanted.shape)
    assert np.abs(found - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1e-6)


@pytest.mark.parametrize("name", PHOTOS)
def test_maps_and_mask_equal_those_of_the_package(explorer, model, name):
    image = give(explorer, name)
    maps = capture(model, image)
    for layer in LAYERS:
        assert_close(read(explorer, f"values('{layer}')"), maps[layer].numpy())
    mask = birefnet_lite.segment(model, image)
    found = read(explorer, "mask()")
    assert found.shape == mask.shape
    assert np.abs(found - mask).max() <= 2e-3


def test_gradient_targets_equal_those_of_the_package(explorer, model):
    from birefnet_lite.network.refinement import gradient_target, laplacian, masked_gradient_target

    maps = capture(model, give(explorer, "a.png"))
    x = maps.input
    assert_close(read(explorer, "values('laplacian')"), laplacian(x.mean(dim=1, keepdim=True))[0].numpy())
    side = maps["decoder.stage3.side"][None]
    found = read(explorer, "values('decoder.stage3.gradient_target')")
    assert_close(found, gradient_target(x, side)[0].numpy())
    found = read(explorer, "values('decoder.stage3.gradient_target_masked')")
    assert_close(found, masked_gradient_target(x, side)[0].numpy(), 1e-3)


@pytest.mark.parametrize("layer", ["decoder.stage2.inward_reference", "decoder.stage3.gradient_attention"])
def test_a_cleared_box_equals_ablate(explorer, model, layer):
    image = give(explorer, "a.png")
    before = read(explorer, "mask()")
    box = explorer.locator(f'input[data-gate="{layer}"]')
    with new_maps(explorer):
        box.uncheck()
    with ablate(model, layer):
        maps, mask = capture(model, image), birefnet_lite.segment(model, image)
    assert_close(read(explorer, "values('logits')"), maps["logits"].numpy())
    found = read(explorer, "mask()")
    with new_maps(explorer):
        box.check()
    assert np.abs(found - mask).max() <= 2e-3
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_array_equal(read(explorer, "mask()"), before)


def test_a_recorded_run_is_there_before_the_network(watched, page_file, model):
    watched.page.goto(page_file.as_uri())
    watched.page.wait_for_selector('canvas[data-layer="logits"][data-state="drawn"]')
    gates = watched.page.eval_on_selector_all("input[type=checkbox][data-gate]", "(e) => e.map((x) => x.dataset.gate)")
    assert sorted(gates) == sorted(ablatable(model))
    layers = watched.page.eval_on_selector_all("canvas[data-layer]", "(e) => e.map((x) => x.dataset.layer)")
    assert set(LAYERS) <= set(layers)
    watched.page.wait_for_selector(STATE.format("ready"))
    assert watched.errors == []
    assert watched.outside == []


def test_the_folder_works_over_http(browser, model, address):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(STATE.format("ready"))
    image = give(page, "a.png")
    assert_close(read(page, "values('logits')"), capture(model, image)["logits"].numpy())
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    # No sideways scrolling on a telephone.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_broken_photo_says_what_to_do(explorer):
    buffer = {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    explorer.set_input_files("input[type=file][data-photo]", buffer)
    explorer.wait_for_selector(STATE.format("error"))
    assert "Save it as JPEG or PNG" in explorer.locator('[role="alert"][data-at="alert"]').inner_text()
    give(explorer, "a.png", again=True)
    assert explorer.locator('[role="alert"][data-at="alert"]').is_hidden()


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


def test_the_link_opens_what_was_looked_at(watched, page_file):
    watched.page.goto(page_file.as_uri() + "#view=reference_tiles&part=squeeze")
    watched.page.wait_for_selector(STATE.format("ready"))
    assert watched.page.locator('[data-at="part-title"]').inner_text() == "Squeeze module"
    watched.page.wait_for_selector('[data-at="view"] [data-viewer="reference_tiles"]')
