"""The explorer in Firefox, opened from disk: the same maps, masks and gates as in Chromium."""

import base64
import io
import os
import shutil

import numpy as np
import pytest
from explorer_case import LAYERS, PHOTOS, READ, assert_close, decode
from firefox import Firefox
from PIL import Image
from watched import WAIT

import birefnet_lite
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.ablate import ablate

pytestmark = pytest.mark.slow

# Comes back when the page has the state, and at once where it fails.
UNTIL = """new Promise((done) => {{
    const root = document.querySelector("[data-explorer]");
    const look = () => [{}, "error"].includes(root.dataset.state) && done(root.dataset.state);
    new MutationObserver(look).observe(root, {{ attributes: true }});
    look();
}})"""
GIVE = """(async () => {{
    const bytes = Uint8Array.from(atob("{data}"), (sign) => sign.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "{name}"));
    const input = document.querySelector("input[data-photo]");
    input.files = files.files;
    input.dispatchEvent(new Event("change"));
    return {running};
}})()"""
CLICK = """(async () => {{ document.querySelector('input[data-gate="{gate}"]').click(); return {running}; }})()"""
RUNNING = f"""{UNTIL.format("'running'")}.then(() => {UNTIL.format("'done'")})"""


@pytest.fixture(scope="module")
def firefox(explorer_file, tmp_path_factory):
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        if os.environ.get("BIREFNET_REQUIRE_ALL"):
            pytest.fail("There is no Firefox to test with.")
        pytest.skip("There is no Firefox to test with.")
    opened = Firefox(path, tmp_path_factory.mktemp("profile"), WAIT / 1000)
    opened.open(explorer_file.as_uri())
    assert opened.ask(UNTIL.format("'ready'")) == "ready"
    yield opened
    opened.close()


def give(firefox, name):
    data = base64.b64encode(PHOTOS[name]).decode()
    assert firefox.ask(GIVE.format(name=name, data=data, running=RUNNING)) == "done"
    return Image.open(io.BytesIO(PHOTOS[name]))


def read(firefox, call):
    return decode(firefox.ask(READ.format(call)))


@pytest.mark.parametrize("name", PHOTOS)
def test_maps_and_mask_equal_those_of_the_package(firefox, nano, name):
    image = give(firefox, name)
    maps = capture(nano, image)
    for layer in LAYERS:
        assert_close(read(firefox, f"values('{layer}')"), maps[layer].numpy())
    assert np.abs(read(firefox, "mask()") - birefnet_lite.segment(nano, image)).max() <= 2e-3


def test_a_cleared_box_equals_ablate(firefox, nano):
    image = give(firefox, "a.png")
    gate = "decoder.stage2.inward_reference"
    assert firefox.ask(CLICK.format(gate=gate, running=RUNNING)) == "done"
    with ablate(nano, gate):
        assert_close(read(firefox, "values('logits')"), capture(nano, image)["logits"].numpy())
