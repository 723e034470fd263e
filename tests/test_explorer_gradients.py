"""The explorer's recorded gradients: made of the shipped weights and photos, and the numbers of the package."""

import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

import birefnet_lite
from birefnet_lite.analysis import capture, prepare
from birefnet_lite.analysis.attribution import attribute
from widgets.explorer.gradients import hash_weights
from widgets.explorer.graph import SHIPPED
from widgets.explorer.page import GRADIENTS, shipped_samples


@pytest.fixture(scope="module")
def recorded():
    head, _, maps = gzip.decompress(GRADIENTS.read_bytes()).partition(b"\n")
    return json.loads(head), maps


def test_they_are_of_the_shipped_weights_and_photos(recorded):
    head, _ = recorded
    assert head["weights"] == hash_weights(SHIPPED), "python -m widgets.explorer.gradients makes them again"
    assert list(head["tables"]) == [sample.name for sample in shipped_samples()]
    assert "…" not in json.dumps(head["tables"], ensure_ascii=False)


def test_a_map_equals_that_of_the_package_within_a_step_of_its_8_bits(recorded):
    head, maps = recorded
    sample = shipped_samples()[0]
    photo = np.asarray(Image.open(io.BytesIO(sample.jpeg)).convert("RGB"))
    model = birefnet_lite.load("nano", "cpu")
    mask = capture(model, photo, layers=["logits"]).mask
    wanted = attribute(model, prepare(model, photo), "layer GradCAM", mask)
    (part,) = [p for p in head["parts"] if p["photo"] == sample.name and p["layer"] == "layer GradCAM"]
    codes = np.frombuffer(maps, np.uint8, part["length"], part["offset"]).reshape(wanted.shape)
    step = (part["hi"] - part["lo"]) / 255
    assert np.abs(part["lo"] + codes * step - wanted).max() <= step
