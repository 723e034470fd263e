"""Textures: coloured noise by its spectrum, and the three surfaces that scikit-image installs."""

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers

SURFACES = ("grass", "gravel", "brick")


@cache
def spectrum(
    size: tuple[int, int], low: float, high: float, slope: float, angle: float, stretch: float, device: torch.device
) -> Tensor:
    """(H, W/2+1) amplitudes that give noise of spread 1."""
    height, width = size
    short = min(height, width)
    fy = torch.fft.fftfreq(height, device=device)[:, None] * short
    fx = torch.fft.rfftfreq(width, device=device)[None, :] * short
    along = fx * math.cos(angle) + fy * math.sin(angle)
    across = fy * math.cos(angle) - fx * math.sin(angle)
    square = along * along * stretch**2 + across * across / stretch
    amplitude = (square + 1e-6) ** (-slope / 2) * torch.exp(-square / high**2) * (1 - torch.exp(-square / low**2))
    amplitude[0, 0] = 0
    # Every column but the first and, at even widths, the last stands for two frequencies.
    power = 2 * amplitude.square().sum() - amplitude[:, 0].square().sum()
    return amplitude / (2 * power).sqrt() * (height * width)


def spectral_noise(
    rng: RandomNumbers,
    size: tuple[int, int],
    low: float,
    high: float,
    slope: float,
    angle: float = 0.0,
    stretch: float = 1.0,
) -> Tensor:
    """Noise (n, H, W) of mean 0 and spread about 1 whose amplitude falls as frequency^-slope between low and high.

    Frequencies are in cycles over the shorter side. `stretch` > 1 draws the texture out along `angle` (radians), as in
    wood and fur. The field wraps around, so that it may be rolled. Photographs have a slope near 1.
    """
    amplitude = spectrum(size, low, high, slope, angle, stretch, rng.device)
    waves = torch.view_as_complex(rng.field(size[0], size[1] // 2 + 1, 2)) * amplitude
    return torch.fft.irfft2(waves, s=size)  # (n, H, W)


@cache
def surface_image(name: str) -> Tensor:
    """One of scikit-image's plain surfaces as (1, 1, 256, 256) in [0, 1]; no object is in any of them."""
    from skimage import data

    pixels = np.asarray(getattr(data, name)(), dtype=np.float32) / 255
    return F.avg_pool2d(torch.from_numpy(pixels)[None, None], 2)


def surface(rng: RandomNumbers, x: Tensor, y: Tensor, name: str) -> Tensor:
    """A surface sampled at coordinates (n, H, W), -1 to 1 being one tile, mirrored beyond; (n, H, W) in [0, 1]."""
    image = surface_image(name).to(rng.device)
    grid = torch.stack((x, y), -1)  # (n, H, W, 2)
    picture = image.expand(x.shape[0], -1, -1, -1)
    return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)[:, 0]


def blur(image: Tensor, amount: Tensor | float, levels: int = 4) -> Tensor:
    """Blur (n, C, H, W) by an amount per picture in pixels (n, 1, 1, 1), between the levels of a pyramid.

    A pyramid costs a fraction of a wide kernel, and the eye does not tell the difference in a background out of focus.
    """
    level = torch.log2(torch.as_tensor(amount, dtype=image.dtype, device=image.device).clamp(min=0) + 1)
    pyramid = [image]
    while len(pyramid) <= levels and min(pyramid[-1].shape[-2:]) >= 8:
        pyramid.append(F.avg_pool2d(F.pad(pyramid[-1], (1, 1, 1, 1), mode="replicate"), 4, 2))
    result = pyramid.pop()
    while pyramid:
        finer = pyramid.pop()
        wide = F.interpolate(result, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        result = torch.lerp(finer, wide, (level - len(pyramid)).clamp(0, 1))
    return result
