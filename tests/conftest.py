"""Settings and fixtures of all tests, and the order in which the files run."""

import os
import sys

# Before torch is imported: one thread for each process (notebooks' kernels inherit it), and a thread that waits gives
# its core to others soon, so that the tests take about as long on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Compiled modules are kept, also where PYTHONDONTWRITEBYTECODE is set, as in many containers. uv installs none, and
# without them each of the many processes that start here would compile the libraries again, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import hypothesis
import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

# Torch is imported where it is used: the process that only hands out the tests starts in two seconds less.

# Hypothesis measures time and fails where it is long, which says nothing on a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
sys.dont_write_bytecode = False
os.environ["BIREFNET_PROGRESS"] = "off"  # nobody's progress is read or changed by a test


# The longest-running files, longest first: the processes of pytest-xdist take files in this order and end together.
LONGEST_FIRST = (
    "test_export.py",
    "test_optimize.py",
    "test_explorer_page.py",
    "test_lab.py",
    "test_training_loop.py",
    "test_explorer_command.py",
    "10_explanation.ipynb",
    "test_notebook_00.py",
    "test_page.py",
    "test_every_view.py",
    "test_tiles.py",
    "test_segment_processes.py",
    "08_training.ipynb",
    "12_capstone.ipynb",
    "test_reference.py",
    "test_deformable_triton.py",
    "test_network.py",
    "test_command_line.py",
    "test_packaging.py",
    "test_training_errors.py",
    "test_synthetic.py",
    "test_course.py",
    "test_explorer_graph.py",
    ".ipynb",  # a kernel starts, and imports torch
)

# Files that share what takes long to start: one process runs all files of a row.
TOGETHER = (
    ("test_explorer_page.py", "test_explorer_robust.py", "test_explorer_command.py"),  # the explorer's file and folder
    ("test_lab.py", "test_notebook_00.py"),  # the JupyterLab server
)


class SharingFiles(LoadFileScheduling):
    """Gives each process whole files, or all files of a row of `TOGETHER`."""

    def _split_scope(self, nodeid):
        path = super()._split_scope(nodeid)
        return next((names[0] for names in TOGETHER if path.endswith(names)), path)


def pytest_xdist_make_scheduler(config, log):
    return SharingFiles(config, log) if config.option.dist == "loadfile" else None


def duration_rank(item):
    """The place of an item's file among the longest-running ones."""
    name = item.path.name
    return next((i for i, end in enumerate(LONGEST_FIRST) if name.endswith(end)), len(LONGEST_FIRST))


def pytest_collection_modifyitems(items):
    from birefnet_lite.checkpoints import best_device

    items.sort(key=duration_rank)
    if best_device().type == "cpu":
        skip = pytest.mark.skip(reason="there is no accelerator on this machine")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeded():
    """Random weights and inputs are the same in each run."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def model():
    """A small network for tests that leave it as it is."""
    from small_network import small

    return small()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A file of a tiny network, whose import and loading take little."""
    import torch
    from small_network import small

    from birefnet_lite.checkpoints import save

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(small(backbone="convnet_n", train_size=(32, 64)), path)
    return path


@pytest.fixture(scope="session")
def nano():
    """The shipped network, which tests leave as it is."""
    from birefnet_lite.checkpoints import load

    return load("nano", "cpu")


@pytest.fixture(scope="session")
def explorer_file(nano, tmp_path_factory):
    """The explorer as one file."""
    from widgets.explorer.page import write_file

    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_file(path, nano)
    return path


@pytest.fixture(scope="session")
def explorer_folder(nano, tmp_path_factory):
    """The explorer as a folder for a static host."""
    from widgets.explorer.page import write_folder

    path = tmp_path_factory.mktemp("explorer_folder")
    write_folder(path, nano)
    return path


@pytest.fixture(scope="session")
def photo():
    """Random pixels, (64, 96, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)


@pytest.fixture
def tiny_swin(monkeypatch):
    """The name of a Swin with few and narrow layers."""
    from birefnet_lite.network.backbone.swin import SWIN_VARIANTS

    tiny = {"width": 16, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window": 7}
    monkeypatch.setitem(SWIN_VARIANTS, "swin_v1_t", tiny)
    return "swin_v1_t"


@pytest.fixture
def no_network(monkeypatch):
    """Fails a test that opens a connection."""
    import socket

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
