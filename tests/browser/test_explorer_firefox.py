"""The explorer in Firefox, opened from disk."""

import io
import os

import numpy as np
import pytest
from explorer_case import READ, decode
from firefox import Firefox, firefox_path
from PIL import Image

import birefnet_lite
from widgets.explorer.page import shipped_samples

pytestmark = pytest.mark.slow  # another browser starts

# What the page's state becomes once it is one of these. A task is done first; then the page must have run the network.
STATE_AFTER = """new Promise((done) => {{
    const root = document.querySelector('[data-explorer]');
    const seen = [];
    const look = () => {{
        seen.push(root.dataset.state);
        const there = {states}.includes(root.dataset.state);
        if (there && (!{runs} || seen.includes('running'))) done(root.dataset.state);
    }};
    new MutationObserver(look).observe(root, {{ attributes: true, attributeFilter: ['data-state'] }});
    {task};
    look();
}})"""


@pytest.fixture
def firefox(tmp_path):
    if firefox_path() is None and not os.environ.get("BIREFNET_REQUIRE_ALL"):
        pytest.skip("There is no Firefox to test with.")
    browser = Firefox(tmp_path)
    yield browser
    browser.close()


def test_the_mask_of_a_sample_photo_equals_that_of_the_package(firefox, explorer_file, nano):
    firefox.goto(explorer_file.as_uri())
    assert firefox.evaluate(STATE_AFTER.format(states="['ready', 'error']", runs="false", task="")) == "ready"
    click = "document.querySelector('[data-sample=\"coffee\"]').click()"
    assert firefox.evaluate(STATE_AFTER.format(states="['done', 'error']", runs="true", task=click)) == "done"

    sample = next(sample for sample in shipped_samples() if sample.name == "coffee")
    mask = birefnet_lite.segment(nano, Image.open(io.BytesIO(sample.jpeg)))
    found = decode(firefox.evaluate(READ.format("mask()")))
    assert found.shape == mask.shape
    assert np.abs(found - mask).max() <= 1e-3
    assert firefox.errors == []
    assert [url for url in firefox.requests if not url.startswith(("file:", "blob:", "data:"))] == []
