"""The model that the notebooks run: trained weights if they are there, else random ones."""

from importlib import resources
from typing import NamedTuple

import torch

from birefnet_lite.checkpoints import load
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["CourseModel", "course_model"]


class CourseModel(NamedTuple):
    """A network, and how far to trust it."""

    model: BiRefNet
    name: str
    """`"nano"` or `"lite"`."""
    trained: bool
    notice: str
    """One or two lines for the reader."""


def course_model(device: str | torch.device = "cpu") -> CourseModel:
    """`nano` with its trained weights where they come with the package, otherwise `lite` with random weights.

    The random weights are the same in every run. Raises `CheckpointError` where the file that ships is damaged.

    Examples:
        >>> course = course_model()
        >>> course.name, course.trained
        ('nano', True)
    """
    if resources.files("birefnet_lite").joinpath("weights", "nano.safetensors").is_file():
        notice = "This is nano, with trained weights: its masks mean something."
        return CourseModel(load("nano", device=device), "nano", True, notice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BiRefNet(BiRefNetConfig.preset("lite"))
    notice = (
        "This is lite, with UNTRAINED weights: random numbers.\n"
        "Its shapes, names and sizes are the real ones, but its mask means nothing."
    )
    return CourseModel(model.to(device).eval(), "lite", False, notice)
