"""The sum behind a value of a convolution equals the value, for every kind of convolution in the network."""

import numpy as np
import pytest
import torch
from small_network import small
from torch import nn

import widgets
from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.convolution import list_convolutions, trace_convolution


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


@pytest.fixture(scope="module")
def moved():
    """A network whose deformable kernels look elsewhere than plain ones."""
    model = small()
    torch.manual_seed(1)
    for module in model.modules():
        if hasattr(module, "offset_conv"):
            nn.init.normal_(module.offset_conv.weight, std=0.1)
            nn.init.normal_(module.modulation_conv.weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def prepared(moved):
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    return prepare(moved, photo)


def test_the_terms_add_up_to_the_tensors(moved, prepared):
    names = list_convolutions(moved)
    kinds = [names[0], *(name for name in names if "lateral" in name or "aspp" in name)]
    assert any(trace_convolution(moved, prepared, name).offset is not None for name in kinds)
    random = np.random.default_rng(0)
    for name in kinds[:12]:
        done = trace_convolution(moved, prepared, name)
        for _ in range(3):
            at = [int(random.integers(size)) for size in done.output.shape]
            terms = done.terms(*at)
            assert terms.total == pytest.approx(float(done.output[tuple(at)]), abs=1e-4)
            assert terms.products.shape == terms.read.shape == terms.weight.shape


@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": 1}, {"dilation": 3, "padding": 2}, {"groups": 2, "bias": False}]
)
def test_strides_dilations_and_groups(options):
    model = nn.Sequential(nn.Conv2d(4, 6, 3, **options))
    image = torch.randn(1, 4, 9, 11)
    seen = type("Seen", (), {"tensor": image})()
    done = trace_convolution(model, seen, "0")
    expected = model(image)[0].detach()
    for at in ((0, 0, 0), (5, 2, 3), (3, expected.shape[1] - 1, expected.shape[2] - 1)):
        terms = done.terms(*at)
        assert terms.total == pytest.approx(float(expected[at]), abs=1e-5)
        assert terms.first == (2 if options.get("groups") and at[0] > 2 else 0)
    with pytest.raises(IndexError, match="The output is"):
        done.terms(6, 0, 0)


def test_what_cannot_be_explained_is_told(moved, prepared):
    with pytest.raises(ValueError, match="no convolution 'nowhere'"):
        trace_convolution(moved, prepared, "nowhere")
    unused = next(name for name in list_convolutions(moved) if "side_head" in name)
    with pytest.raises(ValueError, match="does not run"):
        trace_convolution(moved, prepared, unused)


def test_the_view_shows_the_terms_of_the_pinned_cell(moved, photo):
    names = list_convolutions(moved)
    kernels = {name: moved.get_submodule(name) for name in names if hasattr(moved.get_submodule(name), "offset_conv")}
    deformable = next(name for name, module in kernels.items() if module.modulation_conv.out_channels == 9)
    viewer = widgets.computation(moved, photo, convolution="decoder.stage3.lateral.conv")
    assert viewer.marks[0]["kind"] == "box"
    for _ in range(2):
        viewer.pin = [20.0, 30.0]
        assert viewer.error == ""
        channel = viewer.channels["output"]
        row, column = (int(30 * viewer.source.layers["output"].shape[1] / 64), 0)
        column = int(20 * viewer.source.layers["output"].shape[2] / 96)
        value = viewer.source.plane("output", channel).values()[row, column]
        *rows, last = viewer.table["rows"]
        assert number(last["cells"][-1]) == pytest.approx(value, abs=1e-3)
        assert sum(number(line["cells"][-1]) for line in rows) == pytest.approx(value, abs=2e-3)
        viewer.controls = {"convolution": deformable}
    assert len(viewer.marks) == trace_convolution(moved, prepare(moved, photo), deformable).modulation.shape[0]
    other = list(viewer.source.layers["output"].planes)[1]
    viewer.choose_channels({"output": other})
    assert f"Output channel {other} " in viewer.table["caption"]
    assert widgets.show(viewer.state()).table == viewer.table
