"""Textures: noise with a given spectrum, the three surface photos that scikit-image installs, and a fast blur."""

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
    """Amplitudes (H, W/2+1) that give noise of standard deviation 1."""
    height, width = size
    short = min(height, width)
    fy = torch.fft.fftfreq(height, device=device)[:, None] * short
    fx = torch.fft.rfftfreq(width, device=device)[None, :] * short
    along = fx * math.cos(angle) + fy * math.sin(angle)
    across = fy * math.cos(angle) - fx * math.sin(angle)
    square = along * along * stretch**2 + across * across / stretch
    amplitude = (square + 1e-6) ** (-slope / 2) * torch.exp(-square / high**2) * (1 - torch.exp(-square / low**2))
    amplitude[0, 0] = 0
    # Each column but the first (and the last, if the width is even) stands for two frequencies.
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
    """Noise (n, H, W), mean 0, standard deviation about 1, with amplitudes falling as frequency^-slope.

    Args:
        rng: Random numbers of the n fields.
        size: (H, W).
        low: Lowest frequency, in cycles over the shorter side.
        high: Highest frequency.
        slope: How fast the amplitude falls; photos have a slope near 1.
        angle: Direction of the stretch, in radians.
        stretch: Above 1, the texture is elongated along `angle`, as in wood and fur.

    The field is periodic, so that it can be rolled.
    """
    amplitude = spectrum(size, low, high, slope, angle, stretch, rng.device)
    waves = torch.view_as_complex(rng.field(size[0], size[1] // 2 + 1, 2)) * amplitude
    return torch.fft.irfft2(waves, s=size)  # (n, H, W)


@cache
def surface_image(name: str) -> Tensor:
    """One of scikit-image's surface photos, which show no object: (1, 1, 256, 256) in [0, 1]."""
    from skimage import data

    pixels = np.asarray(getattr(data, name)(), dtype=np.float32) / 255
    return F.avg_pool2d(torch.from_numpy(pixels)[None, None], 2)


def surface(rng: RandomNumbers, x: Tensor, y: Tensor, name: str) -> Tensor:
    """A surface photo sampled at coordinates (n, H, W), mirrored outside -1 to 1: (n, H, W) in [0, 1]."""
    image = surface_image(name).to(rng.device)
    grid = torch.stack((x, y), -1)  # (n, H, W, 2)
    picture = image.expand(x.shape[0], -1, -1, -1)
    return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)[:, 0]


def blur(image: Tensor, amount: Tensor | float, levels: int = 4) -> Tensor:
    """Blur pictures by interpolating between the levels of an image pyramid, much faster than with a wide kernel.

    Args:
        image: (n, C, H, W).
        amount: Width of the blur in pixels, (n, 1, 1, 1) or one number.
        levels: Levels of the pyramid.
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
