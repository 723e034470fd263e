"""The GPU's kernels: run in Triton's interpreter, compiled for cards that are not there, and chosen where they fit."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from deformable_case import CASES, draw

from birefnet_lite.network.deformable import backends, deform_conv2d


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "triton"]
    command.append(str(Path(__file__).with_name("test_deformable_backends.py")))
    run = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_errors_where_it_cannot_run(monkeypatch):
    arguments = draw(CASES[0], torch.float32)
    monkeypatch.setattr(backends, "HAS_TRITON", True)
    with pytest.raises(ValueError, match="on cpu"):
        deform_conv2d(**arguments, backend="triton")
    monkeypatch.setattr(backends, "HAS_TRITON", False)
    with pytest.raises(ValueError, match="not installed"):
        deform_conv2d(**arguments, backend="triton")


# Properties that PyTorch reports for a card of each generation.
CARDS = {major: SimpleNamespace(major=major) for major in (7, 8, 9)}


def test_cuda_without_triton_warns_once(monkeypatch, recwarn):
    monkeypatch.setattr(backends, "HAS_TRITON", False)
    monkeypatch.setattr(backends, "_warned", False)
    assert [backends._select_for_cuda(torch.zeros(1)) for _ in range(3)] == ["torchvision"] * 3
    assert ["Triton is not installed" in str(w.message) for w in recwarn] == [True]


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.filterwarnings("ignore:Triton is not installed")
def test_the_choice_on_cuda_is_compiled_away(installed, monkeypatch):
    monkeypatch.setattr(backends, "HAS_TRITON", installed)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: CARDS[9])

    def choose(x):
        return x + 1 if backends._select_for_cuda(x) == "triton" else x - 1

    y = torch.compile(choose, fullgraph=True, backend="eager")(torch.zeros(2))
    assert y.tolist() == ([1, 1] if installed else [-1, -1])


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


@needs_compiler
@pytest.mark.parametrize("kernel", ["forward", "points", "weight"])
def test_kernels_compile_for_a_card(kernel):
    """Checks beyond the interpreter's: types, matrix units, and the shared memory of a small card."""
    result = compiled_kernel(kernel)
    assert "mma.sync" in result.asm["ptx"]
    assert result.metadata.shared <= 99 * 1024


@needs_compiler
@pytest.mark.parametrize("kernel", ["forward", "points", "weight"])
def test_channels_are_read_and_added_many_at_once(kernel):
    """24 channels: not a multiple of 16, which is all that Triton finds out about a number by itself."""
    code = compiled_kernel(kernel, channels=24, outputs=32, card=90).asm["ptx"]
    assert code.count("ld.global.b16") + code.count("ld.global.u16") < 20  # 60 with a plain number
    if kernel == "points":
        assert "add.v4.f32" in code
