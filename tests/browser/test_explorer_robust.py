"""The explorer when something goes wrong, with odd photos, and what it saves and opens again."""

import json

import numpy as np
import pytest
from explorer_case import ALERT, STATE, encode, file_of, give, new_maps, read
from PIL import Image

import birefnet_lite
from birefnet_lite.photos import load_photo

INPUT = "input[type=file][data-photo]"


def small_photo(width, height):
    """Colours without a pattern."""
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def transparent_photo():
    """Every opacity beside every other, over strong colours."""
    pixels = np.array(Image.fromarray(load_photo("coffee")[0]).resize((300, 200)).convert("RGBA"))
    pixels[..., 3] = np.random.default_rng(0).integers(0, 256, pixels.shape[:2])
    pixels[:40, :, 3], pixels[40:80, :, 3] = 0, 255
    return Image.fromarray(pixels, "RGBA")


@pytest.mark.parametrize(
    "image",
    [
        small_photo(1, 1),
        small_photo(3, 900),
        small_photo(900, 2),
        transparent_photo(),
        small_photo(40, 30).convert("L"),
    ],
    ids=["one pixel", "tall", "wide", "transparent", "grey"],
)
def test_odd_photos_give_the_mask_of_the_package(explorer, nano, image):
    give(explorer, "odd.png", encode(image, "odd.png"))
    mask = birefnet_lite.segment(nano, image)
    found = read(explorer, "mask()")
    assert found.shape == mask.shape
    assert np.abs(found - mask).max() <= 2e-3


def test_an_empty_mask_is_said_and_the_photo_is_not_faded(explorer):
    grey = Image.new("RGB", (60, 40), (128, 128, 128))
    give(explorer, "grey.png", encode(grey, "grey.png"))
    said = explorer.locator('[data-at="found"]')
    assert "Nothing found: the mask covers 0.0 % of the picture" in said.inner_text()
    read_pixel = "[...document.querySelector('[data-at=result]').getContext('2d').getImageData(30, 20, 1, 1).data]"
    assert explorer.evaluate(read_pixel) == pytest.approx([128, 128, 128, 255], abs=2)
    give(explorer, "a.png")
    assert said.is_hidden()


@pytest.mark.slow
def test_fifty_megapixels_are_read(explorer, nano):
    image = Image.fromarray(load_photo("astronaut")[0]).resize((8000, 6250))
    give(explorer, "large.jpg", encode(image, "large.jpg", quality=80))
    assert "8000 × 6250" in explorer.locator('[data-at="facts"]').inner_text()
    with explorer.expect_download() as saved:
        explorer.get_by_role("button", name="Save cut-out").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.size == (8000, 6250)


@pytest.mark.slow
def test_a_photo_beyond_all_measure_is_refused_with_a_sentence(explorer):
    image = Image.new("L", (11_000, 11_000))
    explorer.set_input_files(INPUT, file_of("x.png", encode(image, "x.png", compress_level=1)))
    explorer.wait_for_selector(STATE.format("error"))
    assert "121 million pixels" in explorer.locator(ALERT).inner_text()
    give(explorer, "a.png")


def test_a_network_that_stops_is_started_again(explorer):
    give(explorer, "a.png")
    before = read(explorer, "mask()")
    explorer.evaluate("workers.at(-1).dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }))")
    explorer.wait_for_selector(STATE.format("error"))
    assert "The network stopped (out of memory). Start it again" in explorer.locator(ALERT).inner_text()
    with new_maps(explorer):
        explorer.get_by_role("button", name="Start again").click()
    assert explorer.locator(ALERT).is_hidden()
    np.testing.assert_array_equal(read(explorer, "mask()"), before)


def test_without_a_camera_the_page_says_what_to_do(explorer):
    state = explorer.locator("[data-explorer]").get_attribute("data-state")
    explorer.get_by_role("button", name="Camera").click()
    explorer.wait_for_selector(ALERT)
    assert "Choose the file of a photo instead" in explorer.locator(ALERT).inner_text()
    assert explorer.locator("[data-explorer]").get_attribute("data-state") == state


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_photo_can_be_pasted_and_dropped(explorer, kind):
    with new_maps(explorer):
        explorer.evaluate(
            """async (kind) => {
                const canvas = new OffscreenCanvas(30, 20);
                canvas.getContext("2d").fillRect(5, 5, 9, 9);
                const file = new File([await canvas.convertToBlob()], kind + ".png", { type: "image/png" });
                const files = new DataTransfer();
                files.items.add(file);
                document.dispatchEvent(kind === "paste"
                    ? new ClipboardEvent("paste", { clipboardData: files })
                    : new DragEvent("drop", { dataTransfer: files, cancelable: true }));
            }""",
            kind,
        )
    assert "photo 30 × 20" in explorer.locator('[data-at="facts"]').inner_text()


def test_what_is_pasted_may_hold_no_picture(explorer):
    explorer.evaluate(
        "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: new DataTransfer(), bubbles: true }))"
    )
    explorer.wait_for_selector(ALERT)
    assert "no picture in the clipboard" in explorer.locator(ALERT).inner_text()


def test_the_state_is_saved_and_opened_again_with_the_photo(explorer):
    give(explorer, "a.png")
    gate = explorer.locator('input[data-gate="decoder.stage4.lateral"]')
    with new_maps(explorer):
        gate.uncheck()
    explorer.locator('button[title="Squeeze module"]').click()
    mask = read(explorer, "mask()")
    with explorer.expect_download() as saved:
        explorer.get_by_role("button", name="Save state").click()
    data = saved.value.path().read_bytes()
    give(explorer, "turned.jpg")
    with new_maps(explorer):
        gate.check()
    explorer.locator('button[title="Mask, as logits"]').click()
    with new_maps(explorer):
        explorer.set_input_files(INPUT, file_of("state.json", data))
    np.testing.assert_array_equal(read(explorer, "mask()"), mask)
    assert not gate.is_checked()
    assert explorer.locator('[data-at="part-title"]').inner_text() == "Squeeze module"
    with new_maps(explorer):
        gate.check()


@pytest.mark.parametrize(
    "content", [b"{", b"[]", json.dumps({"kind": "birefnet-explorer", "version": 1, "off": {"a": 1}}).encode()]
)
def test_a_file_that_is_no_state_is_refused(explorer, content):
    explorer.set_input_files(INPUT, file_of("other.json", content))
    explorer.wait_for_selector(ALERT)
    assert "is not a state of this page" in explorer.locator(ALERT).inner_text()
    give(explorer, "a.png")


def test_a_changed_address_shows_what_it_says(explorer):
    give(explorer, "a.png")
    with new_maps(explorer):
        explorer.evaluate("location.hash = '#part=squeeze&off=decoder.stage4.lateral,nobody&view=<b>'")
    assert not explorer.locator('input[data-gate="decoder.stage4.lateral"]').is_checked()
    with new_maps(explorer):
        explorer.get_by_role("button", name="All on", exact=True).click()


def test_the_map_is_saved_as_a_picture(explorer):
    give(explorer, "a.png")
    explorer.evaluate(
        """() => {
            window.texts = [];
            const write = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (...given) {
                window.texts.push(given[0]);
                write.apply(this, given);
            };
        }"""
    )
    with explorer.expect_download() as saved:
        explorer.get_by_role("button", name="Save picture").click()
    texts = explorer.evaluate("window.texts")
    assert {"Stage 3 · 1/16", "Level 2", "For training only"} <= set(texts)
    names = explorer.locator(".map .node-name").evaluate_all("(all) => all.map((e) => e.textContent)")
    written = "".join(texts).replace(" ", "").replace("-", "")
    assert all(name.replace("\u00ad", "").replace(" ", "") in written for name in names)
    with Image.open(saved.value.path()) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(2**24)) > 500
