"""The doctor: what it says of a machine that is ready, and of each thing that may be wrong."""

import subprocess
import sys
import tomllib
import webbrowser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from birefnet_lite.__main__ import main
from birefnet_lite.checkpoints import CheckpointError
from birefnet_lite.cli import doctor

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def report(capsys, monkeypatch):
    """Runs the checks of the given names: (exit status, what each line says by its name, the last line)."""
    every = {check.subject: check for check in doctor.CHECKS}

    def report(*names):
        monkeypatch.setattr(doctor, "CHECKS", tuple(every[name] for name in names or every))
        status = main(["doctor"])
        *lines, last = capsys.readouterr().out.splitlines()
        assert len(lines) == len(doctor.CHECKS)
        return status, {line[2:11].strip(): line[0] + line[11:] for line in lines}, last

    return report


def test_a_machine_that_is_ready(report, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "someone")  # this one may have no browser of its own
    status, lines, last = report()
    assert (status, last) == (0, "All is ready.")
    assert list(lines) == [
        "Python", "packages", "GPU", "memory", "disk", "Jupyter", "browser", "weights", "forward", "view",
    ]  # fmt: skip
    assert all(line.startswith("✓ ") for line in lines.values())
    assert ".".join(map(str, sys.version_info[:2])) in lines["Python"]


def test_nothing_but_packages_is_asked_for_that_the_project_names(monkeypatch):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    asked = []
    monkeypatch.setattr(doctor.metadata, "version", lambda name: asked.append(name) or "9999")
    assert str(len(wanted)) in doctor.check_packages()
    assert sorted(asked) == sorted(Requirement(line).name for line in wanted)


def test_packages_that_are_missing_or_old_come_with_the_command(report, monkeypatch):
    real = doctor.metadata.version

    def version(name):
        if name == "timm":
            raise doctor.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "torch" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    status, lines, last = report("packages")
    assert status == 1
    assert "timm is missing" in lines["packages"]
    assert "torch is 0.0.1, not >=" in lines["packages"]
    command = lines["packages"].partition("pip install ")[2]
    assert '"timm>=' in command
    assert '"torch>=' in command
    assert "numpy" not in command
    assert last == "1 of 1 need attention: each ✗ says what to do."


def test_an_old_python_and_a_course_that_is_not_installed(report, monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert "3.9.1; the course needs >=3.11" in report("Python")[1]["Python"]

    def none(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "metadata", none)
    status, lines, _ = report("Python", "packages")
    assert status == 1
    assert all("pip install -e ." in line for line in lines.values())


def test_a_torch_that_cannot_be_imported_is_said_wherever_it_is_needed(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, lines, _ = report("memory", "GPU", "forward")
    assert status == 1
    assert lines["GPU"].startswith("✗ ModuleNotFoundError")
    assert "CUDA_VISIBLE_DEVICES" in lines["GPU"]
    assert "install the course again" in lines["forward"]
    assert lines["memory"].startswith("✓")


def test_a_gpu_that_fails_and_one_that_works(report, monkeypatch):
    monkeypatch.setattr("birefnet_lite.checkpoints.best_device", lambda: torch.device("cuda"))

    def broken(*arguments, **options):
        raise RuntimeError("CUDA error: no kernel image\nis available")

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test GPU")
    monkeypatch.setattr(torch, "ones", broken)
    status, lines, _ = report("GPU")
    assert status == 1
    assert "no kernel image is available; update its driver" in lines["GPU"]
    monkeypatch.setattr(torch, "ones", lambda *a, **o: torch.tensor([8.0]))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * doctor.GIB, 8 * doctor.GIB))
    assert report("GPU")[1]["GPU"] == "✓ Test GPU, 3.0 GiB free"
    monkeypatch.setattr(torch, "ones", lambda *a, **o: torch.tensor([7.0]))
    assert "wrong numbers" in report("GPU")[1]["GPU"]


def test_too_little_memory_or_disk(report, monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0.5 * doctor.GIB))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=0.1 * doctor.GIB))
    status, lines, last = report("memory", "disk")
    assert (status, last[0]) == (1, "2")
    assert lines["memory"] == "✗ 0.5 GiB free; the course needs 2 GiB. Close other programs and notebooks"
    assert lines["disk"].startswith("✗ 0.1 GiB free here or for temporary files; the course needs 1 GiB. Delete")


@pytest.mark.parametrize(
    ("command", "fine"), [("python", True), (sys.executable, True), ("/another/place/bin/python", False)]
)
def test_kernels_of_this_python_or_of_another(command, fine, report, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: SimpleNamespace(argv=[command, "-m"]))
    status, lines, _ = report("Jupyter")
    assert status == (0 if fine else 1)
    assert fine or "another Python, /another/place/bin/python. Run: python -m ipykernel install" in lines["Jupyter"]


def test_no_jupyter(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", None)
    assert "pip install --force-reinstall jupyterlab" in report("Jupyter")[1]["Jupyter"]


def test_browsers(report, monkeypatch):
    for name in doctor.SERVERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)

    def none():
        raise webbrowser.Error("could not locate runnable browser")

    for get in (none, lambda: SimpleNamespace(name="w3m"), lambda: SimpleNamespace(name="/usr/bin/lynx")):
        monkeypatch.setattr(doctor.webbrowser, "get", get)
        status, lines, _ = report("browser")
        assert status == 1
        assert "none found. Install Firefox or Chromium" in lines["browser"]
    monkeypatch.setattr(doctor.webbrowser, "get", lambda: SimpleNamespace(name="wslview"))
    assert report("browser")[1]["browser"] == "✓ wslview"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/somewhere/firefox" if name == "firefox" else None)
    assert report("browser")[1]["browser"] == "✓ /somewhere/firefox"  # it does not answer, but it is there
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *a, **o: subprocess.CompletedProcess(a, 0, stdout="Mozilla Firefox 130\n")
    )
    assert report("browser")[1]["browser"] == "✓ Mozilla Firefox 130"
    for platform, word in (("win32", "Edge"), ("darwin", "Safari")):
        monkeypatch.setattr(doctor.sys, "platform", platform)
        assert word in report("browser")[1]["browser"]


def test_weights_that_do_not_load_are_said_wherever_they_are_needed(report, monkeypatch):
    def damaged():
        raise CheckpointError("nano.safetensors is cut off")

    monkeypatch.setattr(doctor, "_nano", damaged)
    status, lines, last = report("weights", "forward", "view")
    assert (status, last[0]) == (1, "3")
    assert all("cut off; install the course again" in line for line in lines.values())


def test_a_network_that_gives_no_numbers_or_takes_long(report, monkeypatch):
    real = doctor._nano()
    monkeypatch.setattr(torch, "isfinite", lambda x: torch.tensor([False]))
    assert "not numbers" in report("forward")[1]["forward"]
    monkeypatch.undo()
    assert real is doctor._nano()
    monkeypatch.setattr(doctor, "SLOW", 0.0)
    with pytest.raises(doctor.Trouble, match="notebooks will be slow"):
        doctor.check_forward()


def test_a_view_that_is_empty_or_cannot_be_written(report, monkeypatch):
    import widgets

    class Empty:
        def picture(self):
            return np.zeros((4, 4, 3), np.uint8)

    class Unwritten:
        def picture(self):
            return np.eye(4, dtype=np.uint8)[..., None]

        def to_html(self, path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(widgets, "feature_pyramid", lambda *a, **o: Empty())
    assert "is empty" in report("view")[1]["view"]
    monkeypatch.setattr(widgets, "feature_pyramid", lambda *a, **o: Unwritten())
    assert "No space left on device" in report("view")[1]["view"]
