"""Helpers of the explorer's tests: photos, ways to give one and to read arrays, and PyTorch's results."""

import base64
import io
import json
from contextlib import contextmanager

import numpy as np
from PIL import Image

from birefnet_lite.photos import load_photo

STATE = '[data-explorer][data-state="{}"]'
ALERT = '[role="alert"][data-at="alert"]'
LAYERS = (
    "encoder.full.x1", "encoder.half.x4", "encoder.x4", "squeeze", "decoder.stage4.inward_reference",
    "decoder.stage3.side", "decoder.stage2.gradient_attention", "decoder.stage2.gradient_prediction",
    "decoder.stage2.out", "decoder.stage1.reconstruction", "decoder.image_branch", "logits",
)  # fmt: skip

# An array that a call of `explorer` gives, as JSON text; the same in every browser.
READ = """(async () => {{
    const {{ dims, data }} = await explorer.{};
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return JSON.stringify([dims, btoa(text)]);
}})()"""


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
        yield name, encode(image, name, **options)


def encode(image, name, **options):
    """A picture as a file of its kind, with `name` for the kind."""
    stream = io.BytesIO()
    image.save(stream, "PNG" if name.endswith("png") else "JPEG", **options)
    return stream.getvalue()


PHOTOS = dict(photo_files())


def file_of(name, data=None):
    """A file for an input of the page; one of `PHOTOS` without `data`."""
    kinds = {"png": "image/png", "jpg": "image/jpeg", "json": "application/json"}
    return {"name": name, "mimeType": kinds[name.split(".")[-1]], "buffer": PHOTOS[name] if data is None else data}


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


def give(page, name, data=None):
    """Puts a photo in, one of `PHOTOS` or its bytes, and waits for its maps, unless the page shows those of an earlier
    test. Returns the photo as Pillow reads it.
    """
    there = page.evaluate(
        "[document.querySelector('[data-explorer]').dataset.state,"
        " document.querySelector('[data-at=photo-name]').textContent]"
    )
    if data is not None or there != ["done", name]:
        with new_maps(page):
            page.set_input_files("input[type=file][data-photo]", file_of(name, data))
    return Image.open(io.BytesIO(PHOTOS[name] if data is None else data))


def decode(text):
    """The array that `READ` gave as text."""
    dims, data = json.loads(text)
    return np.frombuffer(base64.b64decode(data), np.float32).reshape(dims)


def read(page, call):
    """The array that a call of `explorer` gives."""
    return decode(page.evaluate(READ.format(call)))


def assert_close(found, wanted, tolerance=1e-4):
    """Two arrays agree within a part of the largest value."""
    assert found.shape == tuple(wanted.shape)
    assert np.abs(found - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1e-6)
