"""The memory curves of notebook 11: counted by hand for a small network, and drawn."""

import io

import numpy as np
import torch
from PIL import Image
from torch import nn

from birefnet_lite import BiRefNet, BiRefNetConfig, optimize
from birefnet_lite.course.memory import MemoryCurve, memory_curve, memory_plot
from birefnet_lite.inference.memory import peak_bytes


class Two(nn.Module):
    def forward(self, image):
        doubled = torch.cat([image, image], dim=1)
        total = doubled.sum(1, keepdim=True)
        del doubled
        return total.sigmoid()


def test_a_curve_that_can_be_counted_by_hand():
    curve = memory_curve(Two(), 512, 512)  # a map has 1 MiB
    np.testing.assert_allclose(curve.mib, [3 + 6, 3 + 6 + 1, 3 + 1 + 1])
    assert curve.peak == 10
    assert curve.parts == {}


def test_a_plain_network_needs_most_at_its_end_and_an_optimized_one_less():
    model = BiRefNet(BiRefNetConfig.preset("nano")).eval()
    plain, fast = (memory_curve(network, 256, 256) for network in (model, optimize(model)))
    assert list(plain.parts) == list(fast.parts) == ["encoder", "decoder", "last stage"]
    assert list(plain.parts.values()) == sorted(plain.parts.values())
    assert plain.mib.argmax() > plain.parts["last stage"]
    assert fast.peak < plain.peak / 2
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_the_peak_of_a_call_leaves_out_its_arguments():
    x, conv = torch.randn(1, 2, 10, 10), nn.Conv2d(2, 3, 1)
    assert peak_bytes(conv, x) == 3 * 100 * 4
    assert peak_bytes(lambda x: x[:, :1], x) == 0  # a view
    assert peak_bytes(lambda x, conv: conv(x).sum(1) + conv(x[:, :, :5]).mean(), x, conv) == (3 + 1) * 100 * 4
    assert x.shape == (1, 2, 10, 10)


def test_the_plot_says_which_curve_is_above_the_limit():
    curves = {
        name: MemoryCurve(np.array(mib), {"encoder": 0})
        for name, mib in (("one", [1.0, 9.0, 2.0]), ("two", [1.0, 2.0]))
    }
    picture = memory_plot(curves, 5)
    assert "one above it, two below it" in picture.alt
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    red, blue = ((np.abs(pixels - colour).sum(2) < 30).mean() for colour in ((168, 58, 32), (47, 109, 138)))
    assert 0 < red < blue
