"""Deformable convolution on a CPU: any shape, blocks, gradients, the choice of a backend, and errors."""

import threading

import pytest
import torch
from deformable_case import CASES, REFERENCE, assert_close, draw, results
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from birefnet_lite.network import deformable
from birefnet_lite.network.deformable import DeformableConv2d, backends, cpu, deform_conv2d, use_backend


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_torchvision_for_any_shape(data):
    kh, kw = data.draw(st.sampled_from([(1, 1), (2, 3), (3, 3), (4, 1)]))
    small = st.integers(1, 2)
    stride, dilation = (data.draw(small), data.draw(small)), (data.draw(small), data.draw(small))
    padding = (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2)))
    h = data.draw(st.integers(max(1, dilation[0] * (kh - 1) + 1 - 2 * padding[0]), 12))
    w = data.draw(st.integers(max(1, dilation[1] * (kw - 1) + 1 - 2 * padding[1]), 12))
    groups = data.draw(st.integers(1, 3))
    c = groups * data.draw(st.integers(1, 3))
    case = (
        data.draw(st.integers(1, 3)),
        c,
        data.draw(st.integers(1, 4)),
        h,
        w,
        (kh, kw),
        stride,
        padding,
        dilation,
        groups,
    )
    reach = data.draw(st.sampled_from([0.0, 0.5, 4.0, 1e4]))
    arguments = draw(case, reach=reach, masked=data.draw(st.booleans()), biased=data.draw(st.booleans()))
    assert_close(results(deform_conv2d, arguments), results(REFERENCE, arguments), 1e-10)


@pytest.mark.parametrize("masked", [True, False])
def test_gradcheck(masked):
    arguments = draw((2, 2, 3, 4, 5, (3, 3), (1, 1), (1, 1), (1, 1), 1), masked=masked)
    # Bilinear interpolation has a kink at whole pixels, where finite differences say nothing.
    offset = arguments["offset"].clamp(-9, 9)
    arguments["offset"] = offset.floor() + 0.1 + 0.8 * (offset - offset.floor())
    names = [k for k, v in arguments.items() if isinstance(v, torch.Tensor)]
    leaves = [arguments[k].requires_grad_() for k in names]
    assert gradcheck(lambda *t: deform_conv2d(**{**arguments, **dict(zip(names, t, strict=True))}), leaves)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("numbers", [1, 100, 1000])
def test_any_size_of_block_gives_the_same(case, numbers, monkeypatch):
    arguments = draw(case)
    whole = results(deform_conv2d, arguments)
    monkeypatch.setattr(cpu, "BLOCK_NUMBERS", numbers)
    assert_close(results(deform_conv2d, arguments), whole, 1e-12)


def test_a_map_of_more_rows_than_16_bits_count():
    arguments = draw((1, 2, 2, 5, 9000, (1, 1), (1, 1), (0, 0), (1, 1), 1), reach=3000)
    assert 9 * 9004 > 1 << 16
    assert_close(results(deform_conv2d, arguments), results(REFERENCE, arguments), 1e-10)


def test_the_kernels_of_the_cpu_equal_the_plain_ones():
    """`_gather`, `_products` and `_scatter` have a plain version of one line each, for other devices."""

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")  # only the name is asked for

    g = torch.Generator().manual_seed(0)
    table, columns = torch.randn(50, 4, generator=g), torch.randn(30, 4, generator=g)
    rows = torch.randint(0, 50, (30, 4), generator=g, dtype=torch.int32)
    points = cpu.Points(rows, torch.rand(30, 4, generator=g), torch.zeros(2, 30), None)
    plain = table.as_subclass(Elsewhere)
    for function, first in ((cpu._gather, ()), (cpu._products, (columns,))):
        torch.testing.assert_close(
            function(*first, plain, points).as_subclass(torch.Tensor), function(*first, table, points)
        )
    total, plain_total = torch.zeros(50, 4), torch.zeros(50, 4).as_subclass(Elsewhere)
    cpu._scatter(columns, total, points)
    cpu._scatter(columns, plain_total, points)
    torch.testing.assert_close(plain_total.as_subclass(torch.Tensor), total)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_memory_layout(layout):
    arguments = draw((2, 4, 8, 5, 6, (3, 3), (1, 1), (1, 1), (1, 1), 1))
    reference = results(REFERENCE, arguments)
    for name in ("input", "offset", "weight", "mask"):
        arguments[name] = arguments[name].to(memory_format=layout)
    assert_close(results(deform_conv2d, arguments), reference, 1e-10)


def test_groups_of_the_kernel_go_to_torchvision():
    arguments = draw((2, 4, 6, 5, 6, (3, 3), (1, 1), (1, 1), (1, 1), 1))
    arguments["weight"] = arguments["weight"][:, :2]
    assert_close(results(deform_conv2d, arguments), results(REFERENCE, arguments), 1e-12)
    with pytest.raises(ValueError, match="no groups"):
        deform_conv2d(**arguments, backend="gather")


def test_use_backend_is_for_the_block_and_the_call_goes_first(monkeypatch):
    calls = []
    monkeypatch.setattr(deformable, "_torchvision", lambda x, *rest: calls.append("torchvision") or x)
    arguments = draw(CASES[0])
    with use_backend("torchvision"):
        deform_conv2d(**arguments)
        deform_conv2d(**arguments, backend="gather")
        with use_backend("gather"):
            deform_conv2d(**arguments)
        with use_backend(None):
            deform_conv2d(**arguments)
    deform_conv2d(**arguments)
    assert len(calls) == 1


def test_use_backend_ends_with_an_error_too():
    with pytest.raises(KeyError), use_backend("torchvision"):
        raise KeyError
    with use_backend(None):
        assert backends.select_backend(None, torch.zeros(1), groups=1) == "gather"
    assert backends.select_backend(None, torch.zeros(1), groups=1) == "gather"


def test_use_backend_holds_in_its_own_thread_only():
    """One thread opens a block and stays in it while another one chooses a backend."""
    opened, done = threading.Event(), threading.Event()

    def hold_block() -> None:
        with use_backend("torchvision"):
            opened.set()
            done.wait(60)

    thread = threading.Thread(target=hold_block)
    thread.start()
    assert opened.wait(60)
    elsewhere = backends.select_backend(None, torch.zeros(1), groups=1)
    with use_backend("gather"):
        done.set()
        thread.join()
        assert backends.select_backend(None, torch.zeros(1), groups=1) == "gather"
    assert elsewhere == "gather"


def test_a_new_layer_is_the_plain_convolution():
    torch.manual_seed(0)
    layer = DeformableConv2d(3, 5, 3, bias=True)
    assert set(layer.state_dict()) == {
        f"{part}.{name}" for part in ("offset_conv", "modulation_conv", "conv") for name in ("weight", "bias")
    }
    x = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(layer(x), layer.conv(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_layer_learns_offsets_and_modulation(kernel_size):
    torch.manual_seed(0)
    layer = DeformableConv2d(3, 5, kernel_size)
    x = torch.randn(2, 3, 9, 8, requires_grad=True)
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"backend": "cuda"}, ValueError, "'torchvision', 'gather', 'triton'"),
        ({"stride": 0}, ValueError, "stride is 0"),
        ({"padding": (1, 1, 1)}, ValueError, "padding is"),
        ({"input": torch.zeros(3, 7, 9)}, ValueError, "four dimensions"),
        ({"input": torch.zeros(1, 4, 7, 9)}, ValueError, "4 channels"),
        ({"input": torch.zeros(1, 3, 7, 10)}, ValueError, r"needs \(1, 18, 7, 10\)"),
        ({"offset": torch.zeros(1, 9, 7, 9)}, ValueError, "needs 18"),
        ({"mask": torch.zeros(1, 18, 7, 9)}, ValueError, r"needs \(1, 9, 7, 9\)"),
        ({"bias": torch.zeros(3)}, ValueError, r"must be \(4,\)"),
        ({"padding": 0, "dilation": 9}, ValueError, "smaller than the kernel"),
        ({"weight": torch.zeros(4, 3, 3, 3, dtype=torch.float64)}, TypeError, "weight is torch.float64"),
        ({"offset": torch.zeros(1, 18, 7, 9, dtype=torch.int64)}, TypeError, "floating point"),
    ],
)
def test_errors_say_what_is_wanted(change, error, words):
    arguments = draw(CASES[0], torch.float32)
    with pytest.raises(error, match=words):
        deform_conv2d(**{**arguments, **change})


def test_other_errors():
    with pytest.raises(ValueError, match="must be odd"):
        DeformableConv2d(3, 3, 4)
    with pytest.raises(ValueError, match="choose one of"), use_backend("fast"):
        pass
