"""`doctor`: check whether this machine is ready for the course. Needs no network connection."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from birefnet_lite.cli import one_line

if TYPE_CHECKING:
    import numpy as np

    from birefnet_lite.network.birefnet import BiRefNet

PACKAGE = "birefnet-lite"
GIB = 2**30
MEMORY, DISK = 2.0, 1.0  # GiB that the notebooks need
SLOW = 5.0  # seconds for one photo of SIZE
SIZE = (256, 384)  # height, width: what most notebooks look at
CHROMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome")
BROWSERS = ("firefox", *CHROMES, "microsoft-edge", "microsoft-edge-stable", "brave-browser", "vivaldi")
TEXT_BROWSERS = ("www-browser", "links", "elinks", "lynx", "w3m")
SERVERS = ("JUPYTERHUB_USER", "COLAB_RELEASE_TAG", "BINDER_REPO_URL")  # set where a browser looks in from elsewhere
AGAIN = f"install the course again: python -m pip install --force-reinstall --no-deps {PACKAGE}, or from a clone: ."


class Trouble(Exception):
    """The problem and its remedy, in one line."""


class Check(NamedTuple):
    """One line of the report."""

    subject: str
    find: Callable[[], str]
    """Returns the finding; raises `Trouble`, or anything else."""
    advice: str
    """Advice for the person where `find` raises an error other than `Trouble`."""


def run(options: argparse.Namespace) -> int:
    """Print one line for each thing that the course needs; 0 if all is well, 1 otherwise."""
    failed = 0
    well, ill = _choose_signs()
    for check in CHECKS:
        try:
            sign, text = well, check.find()
        except Trouble as trouble:
            sign, text = ill, str(trouble)
        except Exception as error:  # a broken installation raises what it likes
            sign, text = ill, f"{type(error).__name__}: {error}; {check.advice}"
        failed += sign == ill
        print(f"{sign} {check.subject:9} {one_line(text)}", flush=True)
    total = len(CHECKS)
    print("All is ready." if not failed else f"{failed} of {total} need attention: each {ill} says what to do.")
    return 1 if failed else 0


def _choose_signs() -> tuple[str, str]:
    """The signs for what is well and what is not, which the terminal can show."""
    try:
        "✓✗".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return "ok", "!!"
    return "✓", "✗"


def check_python() -> str:
    """Check that Python has a version that the package asks for."""
    from packaging.specifiers import SpecifierSet

    wanted = _metadata()["Requires-Python"]
    found = platform.python_version()
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        raise Trouble(f"{found}; the course needs {wanted}. Install it from python.org and make the environment anew")
    return found


def check_packages() -> str:
    """Check that all packages that the course asks for are installed and new enough."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in _metadata().get_all("Requires-Dist") or ()]
    # Markers with an extra are False without it: what is optional is not asked for.
    wanted = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = []
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append((requirement, f"{requirement.name} is missing"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append((requirement, f"{requirement.name} is {version}, not {requirement.specifier}"))
    if wrong:
        names = " ".join(f'"{requirement.name}{requirement.specifier}"' for requirement, _ in wrong)
        raise Trouble(f"{', '.join(said for _, said in wrong)}. Run: python -m pip install {names}")
    return f"all {len(wanted)} are there and new enough"


def check_gpu() -> str:
    """Check that the accelerator computes, if there is one."""
    import torch

    from birefnet_lite.checkpoints import best_device

    device = best_device()
    if device.type == "cpu":
        return "none; no notebook needs one"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if torch.ones(8, device=device).sum().item() != 8:
        raise Trouble(f"{name} computes wrong numbers. Restart the machine; until then, set CUDA_VISIBLE_DEVICES=-1")
    free = f", {torch.cuda.mem_get_info(device)[0] / GIB:.1f} GiB free" if device.type == "cuda" else ""
    return name + free


def check_memory() -> str:
    """Check that enough memory is free."""
    import psutil

    return _enough(psutil.virtual_memory().available / GIB, MEMORY, "", "Close other programs and notebooks")


def check_disk() -> str:
    """Check that the disk has space for notebooks here, and for temporary files."""
    free = min(shutil.disk_usage(place).free for place in (Path.cwd(), tempfile.gettempdir()))
    return _enough(free / GIB, DISK, " here or for temporary files", "Delete what is no longer needed")


def check_jupyter() -> str:
    """Check that JupyterLab starts kernels of this Python."""
    from jupyter_client.kernelspec import KernelSpecManager

    command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    found = shutil.which(command) or command
    # Jupyter reads a bare name as its own Python. Folders are compared: the files may be links to one and the same.
    if Path(command).name != command and Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        raise Trouble(f"notebooks would run in another Python, {found}. Run: python -m ipykernel install --sys-prefix")
    return f"JupyterLab {metadata.version('jupyterlab')}, its notebooks run in this Python"


def check_browser() -> str:
    """Find a browser that can show JupyterLab, with pictures and scripts."""
    if any(name in os.environ for name in SERVERS):
        return "yours is elsewhere, and looks into this server"
    if sys.platform in ("win32", "darwin"):
        return "Edge comes with Windows" if sys.platform == "win32" else "Safari comes with macOS"
    for name in BROWSERS:
        if path := shutil.which(name):
            return _version(path)
    try:
        name = getattr(webbrowser.get(), "name", "the system's browser")
    except webbrowser.Error:
        name = TEXT_BROWSERS[0]
    if Path(name).name in TEXT_BROWSERS:
        raise Trouble(
            "none found. Install Firefox or Chromium; or run jupyter lab --no-browser and open the address that it "
            "prints on a machine with a browser"
        )
    return str(name)


def check_weights() -> str:
    """Check that the trained model that comes with the package loads."""
    return f"nano loads, {sum(p.numel() for p in _nano().parameters()):,} parameters"


def check_forward() -> str:
    """Check that the network segments a photo in a bearable time."""
    import torch

    from birefnet_lite.analysis import prepare

    model = _nano()
    image = prepare(model, _photo(), size=SIZE).tensor
    with torch.inference_mode():
        model(image)  # the first one also warms up
        started = time.perf_counter()
        logits = model(image).logits
        seconds = time.perf_counter() - started
    if logits.shape != (1, 1, *SIZE) or not torch.isfinite(logits).all():
        raise Trouble(f"the mask has the shape {tuple(logits.shape)} or values that are not numbers; {AGAIN}")
    said = f"{seconds:.2f} s for one photo of {SIZE[0]} x {SIZE[1]} on the CPU, threads: {torch.get_num_threads()}"
    if seconds > SLOW:
        raise Trouble(f"{said}: notebooks will be slow. Close other programs, and plug the machine in")
    return said


def check_view() -> str:
    """Check that a view can be drawn and saved as a page."""
    from widgets import feature_pyramid

    viewer = feature_pyramid(_nano(), _photo(), size=SIZE)
    picture = viewer.picture()
    if picture.ndim != 3 or picture.min() == picture.max():
        raise Trouble(f"the picture of a view is empty; {AGAIN}")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "view.html"
        viewer.to_html(page)
        size = page.stat().st_size
    return f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels and a page of {size / 1e6:.1f} MB"


CHECKS = (
    Check("Python", check_python, f"run: python -m pip install packaging {PACKAGE}"),
    Check("packages", check_packages, f"run: python -m pip install packaging {PACKAGE}"),
    Check("GPU", check_gpu, "update its driver, or set CUDA_VISIBLE_DEVICES=-1 to do without it"),
    Check("memory", check_memory, "run: python -m pip install --force-reinstall psutil"),
    Check("disk", check_disk, "start from a folder that you may write to"),
    Check("Jupyter", check_jupyter, "run: python -m pip install --force-reinstall jupyterlab ipykernel"),
    Check("browser", check_browser, "install Firefox or Chromium"),
    Check("weights", check_weights, AGAIN),
    Check("forward", check_forward, AGAIN),
    Check("view", check_view, AGAIN),
)


def _metadata() -> metadata.PackageMetadata:
    try:
        return metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise Trouble("the course is not installed. In a clone of it, run: python -m pip install -e .") from error


def _enough(free: float, least: float, where: str, advice: str) -> str:
    said = f"{free:.1f} GiB free{where}"
    if free < least:
        raise Trouble(f"{said}; the course needs {least:.0f} GiB. {advice}")
    return said


def _version(path: str) -> str:
    """The version that a browser prints, or its path if it prints none."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return one_line(said) or path


@cache
def _nano() -> "BiRefNet":
    from birefnet_lite.checkpoints import load

    return load("nano", device="cpu").eval()


@cache
def _photo() -> "np.ndarray":
    from skimage import data

    return data.coffee()
