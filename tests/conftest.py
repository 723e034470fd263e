"""What all tests share."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes of several threads each would wait for one another

import pytest
import torch

from birefnet_lite.checkpoints import best_device
from birefnet_lite.network.backbone.swin import SWIN_VARIANTS

os.environ["BIREFNET_PROGRESS"] = "off"  # nobody's progress is read or changed by a test


def pytest_collection_modifyitems(items):
    if best_device().type == "cpu":
        skip = pytest.mark.skip(reason="there is no accelerator on this machine")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeded():
    """Random weights and inputs are the same in each run."""
    torch.manual_seed(0)


@pytest.fixture
def tiny_swin(monkeypatch):
    """The name of a Swin with few and narrow layers."""
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
