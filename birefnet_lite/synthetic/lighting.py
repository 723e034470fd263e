"""Lighting: one directional light and ambient light for all parts of a scene."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers

GRID = 32  # cells over the shorter side: shading is computed on a coarse grid, which smooths creases of the distance
TOO_THIN = 0.045  # parts with a smaller radius get one brightness


class Light:
    """A light direction, mostly from above, and the share of ambient light; random for each scene."""

    def __init__(self, rng: RandomNumbers):
        direction = rng.normal(-math.pi / 2, 0.7)  # y points down
        height = rng.uniform(0.35, 1.1)
        self.x, self.y, self.z = direction.cos() * height.cos(), direction.sin() * height.cos(), height.sin()
        self.ambient = rng.uniform(0.35, 1.0)

    def shade(
        self, distance: Tensor, roundness: Tensor | float, pixel: Tensor | float, shiny: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Brightness and highlights of a rounded body.

        Args:
            distance: Signed distance to the body's outline, (n, H, W).
            roundness: Width of the rounded edge; the surface is steep at the outline and flat behind this width.
            pixel: Size of a pixel in the units of the distance.
            shiny: Whether there are highlights.

        Returns:
            Brightness and highlights, or None; both broadcast to (n, H, W).
        """
        reach = 1.25 - self.ambient
        if isinstance(roundness, float) and roundness < TOO_THIN:
            return self.ambient + reach * 0.75 * self.z, None
        size = distance.shape[-2:]
        cell = max(1, min(size) // GRID)
        small = F.avg_pool2d(distance[:, None], cell)
        small = F.avg_pool2d(small, 3, 1, 1, count_include_pad=False)[:, 0]
        if isinstance(roundness, Tensor) and roundness.shape[-1] > 1:
            roundness = F.avg_pool2d(roundness[:, None], cell)[:, 0]
        step = 2 * cell * pixel
        gx = F.pad(small[:, :, 2:] - small[:, :, :-2], (1, 1)) / step
        gy = F.pad(small[:, 2:] - small[:, :-2], (0, 0, 1, 1)) / step
        steep = (gx * gx + gy * gy + 1.0).sqrt() * 0.71  # about 1 for an exact distance, and never small
        rim = (1 + small / roundness).clamp(0, 1) / steep
        up = (1 - rim * rim).clamp(min=0).sqrt()
        facing = ((gx * self.x + gy * self.y) * rim + up * self.z).clamp(min=0)
        light = (self.ambient + reach * facing)[:, None]
        if shiny:
            light = torch.cat((light, facing.square().square().square()[:, None]), 1)
        light = F.interpolate(light, size=size, mode="bilinear", align_corners=False)
        return light[:, 0], light[:, 1] if shiny else None
