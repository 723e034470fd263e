"""The backends of deformable convolution: each against torchvision's operator and against the formula.

Triton's kernels run on a GPU or in Triton's interpreter. The interpreter is chosen by an environment variable before
Triton's functions are declared, so without a GPU `test_kernels_in_the_interpreter` (test_deformable_triton.py) runs the
tests of the triton backend in a process of their own.
"""

import math
import os
from functools import partial

import pytest
import torch
from deformable_case import CASES, MANY_CHANNELS, REFERENCE, assert_close, draw, results

from birefnet_lite.network.deformable import deform_conv2d

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not INTERPRETED

elsewhere = pytest.mark.skipif(not (INTERPRETED or ON_GPU), reason="test_kernels_in_the_interpreter runs it")
TRITON = pytest.param("triton", marks=elsewhere)
OURS = pytest.mark.parametrize("backend", ["gather", TRITON])
ALL = pytest.mark.parametrize("backend", ["gather", "torchvision", TRITON])


def device_of(backend):
    return "cuda" if backend == "triton" and ON_GPU else "cpu"


def run(backend):
    return partial(deform_conv2d, backend=backend)


# The interpreter takes a second for each case, so it gets those that differ most.
EQUAL = [
    pytest.param(backend, case, masked, biased)
    for backend in ("gather", "torchvision")
    for case in (*CASES, MANY_CHANNELS)
    for masked, biased in ((True, True), (False, False))
] + [
    pytest.param("triton", case, masked, True, marks=elsewhere)
    for case, masked in ((CASES[0], True), (CASES[1], False), (CASES[1], True), (MANY_CHANNELS, True))
]


@pytest.mark.parametrize(("backend", "case", "masked", "biased"), EQUAL)
def test_float32_equals_torchvision_in_float64(backend, case, masked, biased):
    arguments = draw(case, torch.float32, far=1e3, masked=masked, biased=biased, device=device_of(backend))
    ours = results(run(backend), arguments)
    assert {tensor.dtype for tensor in ours.values()} == {torch.float32}
    assert_close(ours, results(REFERENCE, arguments, torch.float64), 1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("masked", "biased"), [(True, True), (False, False)])
def test_gather_in_float64_equals_torchvision(case, masked, biased):
    arguments = draw(case, masked=masked, biased=biased)
    ours = results(run("gather"), arguments)
    assert {tensor.dtype for tensor in ours.values()} == {torch.float64}
    assert_close(ours, results(REFERENCE, arguments), 1e-10)


def by_loops(input, offset, weight, bias, stride, padding, dilation, mask):
    """The formula, one number at a time."""
    b, c, h, w = input.shape
    o, _, kh, kw = weight.shape
    out = torch.zeros(b, o, *offset.shape[2:], dtype=input.dtype)
    for n in range(b):
        for y in range(out.shape[2]):
            for x in range(out.shape[3]):
                for tap in range(kh * kw):
                    i, j = divmod(tap, kw)
                    py = y * stride[0] - padding[0] + i * dilation[0] + offset[n, 2 * tap, y, x].item()
                    px = x * stride[1] - padding[1] + j * dilation[1] + offset[n, 2 * tap + 1, y, x].item()
                    value = torch.zeros(c, dtype=input.dtype)
                    for qy in (math.floor(py), math.floor(py) + 1):
                        for qx in (math.floor(px), math.floor(px) + 1):
                            if 0 <= qy < h and 0 <= qx < w:
                                value += (1 - abs(py - qy)) * (1 - abs(px - qx)) * input[n, :, qy, qx]
                    out[n, :, y, x] += mask[n, tap, y, x] * (weight[:, :, i, j] @ value)
    return out + bias.view(-1, 1, 1)


@ALL
def test_backend_equals_the_formula(backend):
    arguments = draw((2, 3, 2, 5, 4, (3, 2), (1, 1), (1, 1), (1, 1), 1), reach=1.5, far=10)
    wanted = by_loops(**arguments)
    dtype, tolerance = (torch.float32, 1e-5) if backend == "triton" else (torch.float64, 1e-12)
    given = {k: v.to(device_of(backend), dtype) if torch.is_tensor(v) else v for k, v in arguments.items()}
    torch.testing.assert_close(deform_conv2d(**given, backend=backend).cpu().double(), wanted, rtol=0, atol=tolerance)


@ALL
@pytest.mark.parametrize("dtype_of_offsets", ["float32", "same"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 3e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_is_near_float64(backend, dtype, tolerance, dtype_of_offsets):
    case = (2, 20, 18, 5, 4, (2, 2), (1, 1), (1, 1), (1, 1), 1)
    arguments = draw(case, dtype, far=1e3, device=device_of(backend))
    if dtype_of_offsets == "float32":
        for name in ("offset", "mask"):
            arguments[name] = arguments[name].float()
    ours = results(run(backend), arguments)
    assert ours["output"].dtype == dtype
    assert_close(ours, results(REFERENCE, arguments, torch.float64), tolerance)


@ALL
@pytest.mark.parametrize("wanted", ["input", "offset", "weight", "bias", "mask"])
def test_one_gradient_alone(backend, wanted):
    dtype, tolerance = (torch.float32, 1e-5) if backend == "triton" else (torch.float64, 1e-10)
    arguments = draw((1, 3, 4, 5, 4, (2, 2), (1, 1), (1, 1), (1, 1), 1), dtype, far=1e3, device=device_of(backend))
    reference = results(REFERENCE, arguments, torch.float64)[wanted]
    y = deform_conv2d(**{**arguments, wanted: arguments[wanted].requires_grad_()}, backend=backend)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y))
    torch.testing.assert_close(arguments[wanted].grad.double(), reference, rtol=0, atol=tolerance)


@OURS
def test_an_offset_that_is_not_a_number_gives_nan_there_alone(backend):
    arguments = draw(CASES[0], torch.float32, masked=False, device=device_of(backend))
    arguments["offset"] = torch.zeros_like(arguments["offset"])
    clean = deform_conv2d(**arguments, backend=backend)
    arguments["offset"][0, 8, 3, 3] = math.nan
    arguments["offset"][0, 9, 0, 0] = math.inf
    arguments["offset"][0, 9, 0, 1] = -math.inf
    y = deform_conv2d(**arguments, backend=backend)
    assert y[0, :, 3, 3].isnan().all()
    y[0, :, 3, 3] = clean[0, :, 3, 3]
    assert y.isfinite().all()
    torch.testing.assert_close(y[:, :, 1:], clean[:, :, 1:])


@OURS
def test_an_empty_batch_gives_an_empty_batch(backend):
    arguments = draw(CASES[0], torch.float32, device=device_of(backend))
    for name in ("input", "offset", "mask"):
        arguments[name] = arguments[name][:0]
    got = results(run(backend), arguments)
    assert got["output"].shape == (0, 4, 7, 9)
    assert not got["weight"].any()


@OURS
def test_deterministic_algorithms_give_the_same_numbers(backend):
    case = CASES[0] if backend == "triton" else (2, 8, 8, 24, 24, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    arguments = draw(case, torch.float32, far=1e3, device=device_of(backend))
    try:
        torch.use_deterministic_algorithms(True)
        first, second = results(run(backend), arguments), results(run(backend), arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert_close(first, results(REFERENCE, arguments, torch.float64), 1e-5)


def test_gather_gives_the_same_numbers_every_time():
    arguments = draw((2, 8, 8, 24, 24, (3, 3), (1, 1), (1, 1), (1, 1), 1), torch.float32)
    first, second = results(run("gather"), arguments), results(run("gather"), arguments)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backend", [TRITON])
def test_triton_refuses_float64(backend):
    with pytest.raises(ValueError, match="float64"):
        deform_conv2d(**draw(CASES[0], device=device_of(backend)), backend=backend)
