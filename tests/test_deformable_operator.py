"""Deformable convolution under autocast, torch.compile and torch.export."""

import pytest
import torch
from torch import nn

from birefnet_lite.network.deformable import DeformableConv2d, deform_conv2d, operator


def layer_and_input(kernel_size=3, dtype=torch.float32):
    """A layer whose taps really move."""
    torch.manual_seed(0)
    layer = DeformableConv2d(4, 6, kernel_size, bias=True)
    for conv in (layer.offset_conv, layer.modulation_conv):
        nn.init.normal_(conv.weight, std=0.3)
    return layer.to(dtype), torch.randn(2, 4, 9, 8, dtype=dtype)


def trained(layer, x):
    """The output and the gradient of every parameter and of the input, by name."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    return {"output": y.detach(), "input": x.grad, **{n: p.grad.clone() for n, p in layer.named_parameters()}}


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_compile_in_one_graph(kernel_size):
    layer, x = layer_and_input(kernel_size)
    plain = trained(layer, x)
    layer.compile(fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(trained(layer, x), plain)


def test_export_with_any_batch_and_size():
    layer, x = layer_and_input()
    dims = {
        0: torch.export.Dim("b", min=1, max=8),
        2: torch.export.Dim("h", min=3, max=64),
        3: torch.export.Dim("w", min=3, max=64),
    }
    program = torch.export.export(layer, (x,), dynamic_shapes=(dims,))
    assert any("birefnet_lite.deform_conv2d" in str(node.target) for node in program.graph.nodes)
    for shape in ((2, 4, 9, 8), (1, 4, 5, 17)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("masked", [True, False])
def test_opcheck(masked):
    g = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(2, 3, 6, 5, generator=g),
        torch.randn(4, 3, 3, 3, generator=g),
        torch.randn(4, generator=g),
    )
    offset, mask = torch.randn(2, 18, 6, 5, generator=g), torch.rand(2, 9, 6, 5, generator=g)
    arguments = [x, offset, mask if masked else None, weight, bias]
    for tensor in arguments:
        if tensor is not None:
            tensor.requires_grad_()
    torch.library.opcheck(operator.deform_conv2d, (*arguments, [1, 1], [1, 1], [1, 1], "gather"))


def test_a_second_derivative_is_refused_in_words():
    layer, x = layer_and_input()
    x.requires_grad_()
    (slope,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        slope.sum().backward()


def test_meta_tensors_have_a_shape():
    layer, x = layer_and_input()
    y = layer.to("meta")(x.to("meta"))
    assert y.shape == (2, 6, 9, 8)
    assert y.device.type == "meta"


@pytest.mark.parametrize("backend", [None, "torchvision"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(backend, dtype):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 8, 9, 8, generator=g), (torch.randn(6, 8, 3, 3, generator=g) / 8).requires_grad_()
    offset, mask = torch.randn(2, 18, 9, 8, generator=g, dtype=dtype), torch.rand(2, 9, 9, 8, generator=g)
    with torch.autocast("cpu", dtype=dtype):
        y = deform_conv2d(x, offset, weight, padding=1, mask=mask, backend=backend)
    assert y.dtype == dtype
    y.float().sum().backward()
    assert weight.grad.dtype == torch.float32
    wanted = deform_conv2d(x, offset.float(), weight, padding=1, mask=mask)
    torch.testing.assert_close(y.float(), wanted, rtol=0, atol=2e-2 * wanted.abs().max().item())


def test_autocast_leaves_float64_alone():
    layer, x = layer_and_input(dtype=torch.float64)
    offset = torch.zeros(2, 18, 9, 8, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = deform_conv2d(x, offset, layer.conv.weight, padding=1)
    assert y.dtype == torch.float64


def test_a_layer_trains_under_autocast():
    layer, x = layer_and_input()
    exact = trained(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = trained(layer, x)
    assert low["output"].dtype == torch.bfloat16
    for name in ("output", "input", "conv.weight", "conv.bias"):
        difference = (low[name].float() - exact[name]).norm() / exact[name].norm()
        assert difference < 0.1, name


def test_inference_mode():
    layer, x = layer_and_input()
    wanted = layer(x)
    with torch.inference_mode():
        assert torch.equal(layer(x), wanted)


def test_the_result_may_be_changed_in_place():
    layer, x = layer_and_input()
    wanted = trained(nn.Sequential(layer, nn.ReLU()), x)
    assert all(
        torch.equal(a, b)
        for a, b in zip(trained(nn.Sequential(layer, nn.ReLU(True)), x).values(), wanted.values(), strict=True)
    )
