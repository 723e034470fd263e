"""Camera simulation: blur, vignette, white balance, exposure, haze, noise and JPEG artefacts."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.textures import blur

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation table for luminance (JPEG standard, annex K.1)."""


def simulate_camera(rng: RandomNumbers, scene: Tensor, strength: float = 1.0) -> Tensor:
    """Photos (n, 3, H, W) in [0, 1] of scenes (n, 3, H, W).

    Args:
        rng: Random numbers of the n scenes.
        scene: Scenes, from 0 on; values above 1 are overexposed.
        strength: Strength of the distortions, 0 to 1.
    """
    picture = blur(
        scene, ((rng.uniform(0, 1) ** 4) * (0.4 + 1.2 * strength) * min(scene.shape[-2:]) / 128)[:, None], levels=2
    )
    crisp = random_rows(rng, 0.25)
    if crisp:
        edges = picture[crisp] - blur(picture[crisp], 1.0, levels=1)
        picture[crisp] += edges * rng.uniform(0.2, 1.2)[crisp][:, None]
    moving = random_rows(rng, 0.1 * strength)
    if moving:
        picture[moving] = motion_blur(rng, picture[moving])
    picture = picture.clamp(min=0)
    picture = picture * (1 - rng.uniform(0, 0.35) * distance_from_centre(picture).square())[:, None]
    warmth = rng.normal(0, 0.05 + 0.05 * strength)
    tint = torch.stack((1 + warmth, 1 + rng.normal(0, 0.02), 1 - warmth), 1).view(-1, 3, 1, 1)
    gain = (rng.normal(0, 0.12 + 0.13 * strength)).exp()[:, None]
    gamma = rng.normal(0, 0.2).exp()[:, None]
    picture = (picture * tint * gain + 1e-4).clamp(max=1.5) ** gamma
    middle = picture.mean((1, 2, 3), keepdim=True)
    picture = middle + (picture - middle) * rng.uniform(0.85, 1.65)[:, None]
    grey = picture.mean(1, keepdim=True)
    fade = torch.where(rng.coin(0.12) > 0, 1.0, rng.uniform(-0.35, 0.3))[:, None]  # 1 gives black and white
    picture = torch.lerp(picture, grey.expand_as(picture), fade)
    haze = (rng.coin(0.12) * rng.uniform(0.05, 0.35))[:, None]
    picture = picture * (1 - haze) + haze * rng.uniform(0.6, 1.0)[:, None]
    # Compress highlights instead of clipping them.
    over = (picture - 0.85).clamp(min=0)
    picture = (picture.clamp(max=0.85) + over / (1 + 6 * over)).clamp(0, 1)
    noise = rng.field(*picture.shape[1:])
    level = (rng.uniform(0, 1) ** 2 * (0.01 + 0.05 * strength))[:, None]
    picture = (picture + noise * level * (0.3 + picture)).clamp(0, 1)
    filed = random_rows(rng, 0.2 + 0.3 * strength)
    if filed:
        coarseness = rng.uniform(0.15, 1.2)[:, None] * (0.3 + strength)
        picture[filed] = jpeg(picture[filed], coarseness[filed])
    return picture


def random_rows(rng: RandomNumbers, chance: float) -> list[int]:
    """Indices of random scenes: an effect that takes long to compute is applied to these only."""
    return [i for i in range(rng.n) if rng.flag(chance)]


def distance_from_centre(picture: Tensor) -> Tensor:
    """Distance of each pixel from the centre, (1, H, W): 0 in the centre, 1 in the corners."""
    height, width = picture.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=picture.device)[:, None]
    columns = torch.linspace(-1, 1, width, device=picture.device)[None]
    return ((rows.square() + columns.square()) / 2).sqrt()[None]


def motion_blur(rng: RandomNumbers, picture: Tensor) -> Tensor:
    """Motion blur along one random direction, the same for all scenes given."""
    reach = rng.structure.uniform(0.01, 0.03) * min(picture.shape[-2:])
    angle = rng.structure.uniform(0, math.pi)
    shifts = [(round(t * reach * math.sin(angle)), round(t * reach * math.cos(angle))) for t in (-1, -0.5, 0, 0.5, 1)]
    border = max(max(abs(a), abs(b)) for a, b in shifts)
    wide = F.pad(picture, (border,) * 4, mode="replicate")
    height, width = picture.shape[-2:]
    moved = [wide[:, :, border + a : border + a + height, border + b : border + b + width] for a, b in shifts]
    return torch.stack(moved).sum(0) / len(moved)


def jpeg(picture: Tensor, coarseness: Tensor) -> Tensor:
    """JPEG artefacts: the cosine transform of blocks of 8 x 8 pixels is quantised.

    Args:
        picture: (n, 3, H, W) in [0, 1].
        coarseness: Factor of the quantisation table, (n, 1, 1, 1); 1 is quality 50.
    """
    n, channels, height, width = picture.shape
    padded = F.pad(picture, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
    k = torch.arange(8, device=picture.device, dtype=picture.dtype)
    dct = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    blocks = padded.reshape(n, channels, rows, 8, columns, 8).transpose(3, 4)  # (n, C, rows, columns, 8, 8)
    waves = dct @ (blocks * 255 - 128) @ dct.T
    table = torch.tensor(LUMA_TABLE, device=picture.device, dtype=picture.dtype) * coarseness.view(-1, 1, 1, 1, 1, 1)
    waves = (waves / table).round() * table
    blocks = (dct.T @ waves @ dct + 128) / 255
    whole = blocks.transpose(3, 4).reshape(n, channels, rows * 8, columns * 8)  # (n, C, H, W)
    return whole[:, :, :height, :width].clamp(0, 1)
