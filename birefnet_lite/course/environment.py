"""Check the environment of a notebook: Python, PyTorch, device and memory."""

import platform
import sys
from typing import NamedTuple

import psutil
import torch

from birefnet_lite.checkpoints import best_device

__all__ = ["Finding", "check_environment"]

_GIB = 2**30
_ENOUGH = 2.0


class Finding(NamedTuple):
    """One line: what was looked at, whether it will do, and what was found or what to do."""

    what: str
    fine: bool
    text: str

    def __str__(self) -> str:
        return f"{'✓' if self.fine else '✗'} {self.what:8} {self.text}"


def check_environment() -> list[Finding]:
    """Python, PyTorch, device and free memory; prints one line for each and returns them.

    Examples:
        >>> findings = check_environment()  # doctest: +ELLIPSIS
        ✓ Python...
        >>> [finding.what for finding in findings]
        ['Python', 'PyTorch', 'device', 'memory']
    """
    findings = [_python(), _torch(), _device(), _memory()]
    for finding in findings:
        print(finding)
    return findings


def _python() -> Finding:
    fine = sys.version_info >= (3, 11)
    return Finding("Python", fine, platform.python_version() + ("" if fine else ": the course needs 3.11 or newer."))


def _torch() -> Finding:
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    fine = version >= (2, 6)
    return Finding("PyTorch", fine, torch.__version__ + ("" if fine else ": the course needs 2.6 or newer."))


def _device() -> Finding:
    device = best_device()
    if device.type == "cuda":
        return Finding("device", True, torch.cuda.get_device_name(device))
    if device.type == "cpu":
        return Finding("device", True, f"CPU, {torch.get_num_threads()} threads: enough for every notebook")
    return Finding("device", True, device.type)


def _memory() -> Finding:
    free = psutil.virtual_memory().available / _GIB
    fine = free >= _ENOUGH
    advice = "" if fine else f": {_ENOUGH:.0f} GiB are needed. Close other programs or notebooks."
    return Finding("memory", fine, f"{free:.1f} GiB free{advice}")
