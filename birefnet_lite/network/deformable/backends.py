"""Chooses the implementation of deformable convolution: torchvision's operator, `cpu.py`, or `gpu.py`."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec

import torch
from torch import Tensor

__all__ = ["BACKENDS", "select_backend", "use_backend"]

BACKENDS = ("torchvision", "gather", "triton")
"""torchvision's operator; `cpu.py`, which gathers pixels with PyTorch operators; `gpu.py`, with Triton kernels."""
HAS_TRITON = find_spec("triton") is not None

# A context variable, so that a `with` block in one thread does not change the backend of another.
_requested: ContextVar[str | None] = ContextVar("birefnet_lite_deformable_backend", default=None)
_warned = False


@contextmanager
def use_backend(backend: str | None) -> Iterator[None]:
    """Run `deform_conv2d` on one backend within the `with` block, in this thread.

    Args:
        backend: One of `BACKENDS`, or None to choose by device. A backend named in a call itself takes precedence.

    Raises:
        ValueError: The name is not known.

    Examples:
        >>> import torch
        >>> x, offset, weight = torch.rand(1, 4, 6, 6), torch.rand(1, 18, 6, 6), torch.rand(8, 4, 3, 3)
        >>> with use_backend("gather"):
        ...     gathered = deform_conv2d(x, offset, weight, padding=1)
        >>> torch.allclose(gathered, deform_conv2d(x, offset, weight, padding=1), atol=1e-5)
        True
    """
    check_backend(backend)
    token = _requested.set(backend)
    try:
        yield
    finally:
        _requested.reset(token)


def check_backend(backend: str | None) -> None:
    """Raise `ValueError` for an unknown name."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; choose one of {', '.join(map(repr, BACKENDS))}, or None.")


def select_backend(backend: str | None, input: Tensor, groups: int) -> str:
    """Return the backend of one call.

    Args:
        backend: The one named in the call, or None.
        input: The convolution's input.
        groups: The number of groups of the convolution.

    Raises:
        ValueError: The requested backend is unknown, or cannot compute this convolution.
    """
    check_backend(backend)
    requested = backend or _requested.get()
    device = input.device.type
    if groups > 1:
        if requested in ("gather", "triton"):
            raise ValueError(f"The {requested} backend has no groups, and weight asks for {groups}; use 'torchvision'.")
        return "torchvision"
    if requested == "triton":
        if not HAS_TRITON:
            raise ValueError("The triton backend was asked for, but Triton is not installed; use backend=None.")
        if input.dtype == torch.float64:
            raise ValueError("The triton backend computes in float32, and input is float64; use 'torchvision'.")
        if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
            raise ValueError(f"The triton backend runs on CUDA, and input is on {device}; use backend=None.")
    if requested is not None:
        return requested
    if device == "cuda":
        return _select_for_cuda(input)
    # torch.compile cannot trace what asks torchvision for its operators.
    on_mps = device == "mps" and not torch.compiler.is_compiling() and _has_torchvision_on_mps()
    return "torchvision" if on_mps else "gather"


def _has_torchvision_on_mps() -> bool:
    import torchvision  # noqa: F401 - registers its operators

    return torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::deform_conv2d", "MPS")


def _select_for_cuda(input: Tensor) -> str:
    if not HAS_TRITON:
        if not torch.compiler.is_compiling():  # torch.compile cannot trace a warning
            _warn_once()
        return "torchvision"
    fits = input.dtype != torch.float64 and _has_matrix_units(input.device.index)
    return "triton" if fits else "torchvision"


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "Triton is not installed: deformable convolution on the GPU runs on torchvision's operator, which is "
            "slower and computes in float32. Install the package 'triton' ('triton-windows' on Windows) for the fast "
            "one.",
            stacklevel=5,
        )


def _has_matrix_units(device: int | None) -> bool:
    """Whether Triton uses the matrix units of this card: NVIDIA's from Ampere on, and AMD's."""
    return torch.version.hip is not None or torch.cuda.get_device_properties(device).major >= 8
