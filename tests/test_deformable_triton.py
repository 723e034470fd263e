"""The GPU kernel, run by Triton's interpreter where there is no GPU.

The interpreter is chosen by an environment variable before Triton's functions are declared, so these tests run in a
process of their own: the first test starts it, the others are the ones that it runs.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from birefnet_lite.network.deformable import backends, deform_conv2d

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"

outside = pytest.mark.skipif(INTERPRETED, reason="this is the process that it starts")
inside = pytest.mark.skipif(
    not (INTERPRETED or ON_GPU), reason="runs in the process that test_kernels_in_the_interpreter starts"
)

# B, C, O, H, W, (kh, kw), stride, padding, dilation, offset groups
CASES = [
    (1, 3, 4, 7, 9, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 4, 3, 9, 5, (3, 2), (2, 1), (0, 2), (1, 2), 2),
    (2, 70, 130, 6, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1),
]


def draw(case, dtype=torch.float32, masked=True, reach=2.0):
    b, c, o, h, w, (kh, kw), stride, padding, dilation, groups = case
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((h, w), padding, dilation, (kh, kw), stride, strict=True)
    ]
    g = torch.Generator().manual_seed(0)
    offset = reach * torch.randn(b, 2 * groups * kh * kw, *out, generator=g)
    kind = torch.rand(offset.shape, generator=g)
    offset = torch.where(kind < 0.2, offset.round(), offset)
    offset = torch.where(kind > 0.97, offset * 1e3, offset)
    tensors = {
        "input": torch.randn(b, c, h, w, generator=g),
        "offset": offset,
        "weight": torch.randn(o, c, kh, kw, generator=g) / (c * kh * kw) ** 0.5,
        "bias": torch.randn(o, generator=g),
        "mask": torch.rand(b, groups * kh * kw, *out, generator=g) if masked else None,
    }
    tensors = {k: v if v is None else v.to(DEVICE, dtype) for k, v in tensors.items()}
    return {**tensors, "stride": stride, "padding": padding, "dilation": dilation}


def results(arguments, backend, dtype=None):
    leaves = {
        k: v.to(dtype or v.dtype).detach().clone().requires_grad_()
        for k, v in arguments.items()
        if isinstance(v, torch.Tensor)
    }
    y = deform_conv2d(**{**arguments, **leaves}, backend=backend)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return [y.detach(), *torch.autograd.grad(y, list(leaves.values()), grad)]


def assert_near(ours, reference, tolerance):
    for got, wanted in zip(ours, reference, strict=True):
        assert got.isfinite().all()
        assert got.shape == wanted.shape
        assert (got.double() - wanted).abs().max() <= tolerance * wanted.abs().max()


@outside
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


@inside
@pytest.mark.parametrize(("case", "masked"), [(CASES[0], True), (CASES[1], False), (CASES[1], True), (CASES[2], True)])
def test_float32_equals_torchvision_in_float64(case, masked):
    arguments = draw(case, masked=masked)
    assert_near(results(arguments, "triton"), results(arguments, "torchvision", torch.float64), 1e-5)


@inside
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 3e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_is_near_float64(dtype, tolerance):
    arguments = draw((2, 20, 18, 5, 4, (2, 2), (1, 1), (1, 1), (1, 1), 1), dtype)
    ours = results(arguments, "triton")
    assert ours[0].dtype == dtype
    assert_near(ours, results(arguments, "torchvision", torch.float64), tolerance)


@inside
@pytest.mark.parametrize("wanted", ["input", "offset", "weight", "bias", "mask"])
def test_one_gradient_alone(wanted):
    arguments = draw((1, 3, 4, 5, 4, (2, 2), (1, 1), (1, 1), (1, 1), 1))
    names = [k for k, v in arguments.items() if isinstance(v, torch.Tensor)]
    reference = dict(zip(names, results(arguments, "torchvision")[1:], strict=True))
    y = deform_conv2d(**{**arguments, wanted: arguments[wanted].requires_grad_()}, backend="triton")
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y))
    torch.testing.assert_close(arguments[wanted].grad, reference[wanted], rtol=0, atol=1e-5)


@inside
def test_an_offset_that_is_not_a_number_gives_nan_there_alone():
    arguments = draw(CASES[0], masked=False)
    arguments["offset"] = torch.zeros_like(arguments["offset"])
    arguments["offset"][0, 8, 3, 3] = torch.nan
    arguments["offset"][0, 9, 0, 0] = torch.inf
    y = deform_conv2d(**arguments, backend="triton")
    assert y[0, :, 3, 3].isnan().all()
    y[0, :, 3, 3] = 0
    assert y.isfinite().all()


@inside
def test_deterministic_algorithms_give_the_same_numbers():
    arguments = draw(CASES[0])
    try:
        torch.use_deterministic_algorithms(True)
        first, second = results(arguments, "triton"), results(arguments, "triton")
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert_near(first, results(arguments, "torchvision", torch.float64), 1e-5)


@inside
def test_an_empty_batch():
    arguments = draw(CASES[0])
    for name in ("input", "offset", "mask"):
        arguments[name] = arguments[name][:0]
    y, *grads = results(arguments, "triton")
    assert y.shape == (0, 4, 7, 9)
    assert not grads[2].any()


@inside
def test_float64_is_refused():
    with pytest.raises(ValueError, match="float64"):
        deform_conv2d(**draw(CASES[0], torch.float64), backend="triton")


@outside
def test_errors_where_it_cannot_run(monkeypatch):
    arguments = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in draw(CASES[0]).items()}
    monkeypatch.setattr(backends, "HAS_TRITON", True)
    with pytest.raises(ValueError, match="on cpu"):
        deform_conv2d(**arguments, backend="triton")
    monkeypatch.setattr(backends, "HAS_TRITON", False)
    with pytest.raises(ValueError, match="not installed"):
        deform_conv2d(**arguments, backend="triton")


# What PyTorch says of a card of each generation.
CARDS = {major: SimpleNamespace(major=major) for major in (7, 8, 9)}


@outside
def test_cuda_without_triton_warns_once(monkeypatch, recwarn):
    monkeypatch.setattr(backends, "HAS_TRITON", False)
    monkeypatch.setattr(backends, "_warned", False)
    assert [backends._select_for_cuda(torch.zeros(1)) for _ in range(3)] == ["torchvision"] * 3
    assert ["Triton is not installed" in str(w.message) for w in recwarn] == [True]


@outside
@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.filterwarnings("ignore:Triton is not installed")
def test_the_choice_on_cuda_is_compiled_away(installed, monkeypatch):
    monkeypatch.setattr(backends, "HAS_TRITON", installed)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: CARDS[9])

    def choose(x):
        return x + 1 if backends._select_for_cuda(x) == "triton" else x - 1

    y = torch.compile(choose, fullgraph=True, backend="eager")(torch.zeros(2))
    assert y.tolist() == ([1, 1] if installed else [-1, -1])


@outside
def test_cuda_takes_triton_but_for_float64_and_old_cards(monkeypatch):
    monkeypatch.setattr(backends, "HAS_TRITON", True)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: CARDS[8])
    assert backends._select_for_cuda(torch.zeros(1, dtype=torch.bfloat16)) == "triton"
    assert backends._select_for_cuda(torch.zeros(1, dtype=torch.float64)) == "torchvision"
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: CARDS[7])
    assert backends._select_for_cuda(torch.zeros(1)) == "torchvision"


def compiled_kernel(kernel, channels=64, outputs=256, card=86):
    """A kernel compiled for bfloat16 on a card of this generation. Needs no GPU."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from birefnet_lite.network.deformable import gpu, gpu_kernels
    from birefnet_lite.network.deformable.sampling import Geometry

    x, weight = torch.zeros(1, channels, 8, 8, dtype=torch.bfloat16), torch.zeros(outputs, channels, 3, 3)
    geometry = Geometry((3, 3), (1, 1), (1, 1), (1, 1), (8, 8), 1)
    common = gpu._common(x, weight, x, geometry)
    launch = {name: common.pop(name) for name in gpu.LAUNCH}
    function = getattr(gpu_kernels, kernel)
    block_o = gpu._tile(outputs, 128 if kernel == "forward" else 64)
    compiled = {**common, "block_o": block_o, "need_x": True}
    fixed = {p.name: compiled[p.name] for p in function.params if p.is_constexpr}
    pointers = {"x", "offset", "mask", "matrix", "y", "grad", "grad_offset", "grad_mask"}
    kinds = {
        p.name: "constexpr" if p.name in fixed else "*bf16" if p.name in pointers else "i32" for p in function.params
    }
    kinds.update({name: "*fp32" for name in ("grad_x", "parts") if name in kinds})
    constants = {(function.arg_names.index(name),): value for name, value in fixed.items()}
    # As a launch would say of tensors and of sizes that 16 divides.
    free = [name for name in kinds if name not in fixed]
    aligned = [name for name in free if kinds[name][0] == "*" or compiled.get(name, 1) % 16 == 0]
    known = {(function.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(function, kinds, constants, known)
    return triton.compile(source, target=GPUTarget("cuda", card, 32), options=launch)


needs_compiler = pytest.mark.skipif(
    sys.platform != "linux", reason="Triton's compiler for NVIDIA cards comes with its Linux wheel"
)


@outside
@needs_compiler
@pytest.mark.parametrize("kernel", ["forward", "points", "weight"])
def test_kernels_compile_for_a_card(kernel):
    """What the interpreter does not see: types, matrix units, and the shared memory of a small card."""
    result = compiled_kernel(kernel)
    assert "mma.sync" in result.asm["ptx"]
    assert result.metadata.shared <= 99 * 1024


@outside
@needs_compiler
@pytest.mark.parametrize("kernel", ["forward", "points", "weight"])
def test_channels_are_read_and_added_many_at_once(kernel):
    """24 channels: not a multiple of 16, which is all that Triton finds out about a number by itself."""
    code = compiled_kernel(kernel, channels=24, outputs=32, card=90).asm["ptx"]
    assert code.count("ld.global.b16") + code.count("ld.global.u16") < 20  # 60 with a plain number
    if kernel == "points":
        assert "add.v4.f32" in code
