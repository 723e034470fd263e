"""Seeded augmentation of batches: random flips, rotations and crops of image and mask, and colour jitter."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers


@dataclass(frozen=True)
class Augment:
    """Random augmentation, different for each image of a batch.

    Attributes:
        flip: Probability of a mirror image.
        turn: Largest rotation, in degrees.
        crop: Smallest part of each side that is kept.
        colour: Strength of the colour jitter, 0 to 1.
        grey: Probability of black and white.

    Raises:
        ValueError: A number is out of its range.
    """

    flip: float = 0.5
    turn: float = 15.0
    crop: float = 0.7
    colour: float = 0.3
    grey: float = 0.05

    def __post_init__(self) -> None:
        for name, low, high in (("flip", 0, 1), ("turn", 0, 180), ("crop", 0.1, 1), ("colour", 0, 1), ("grey", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} given; wanted a number from {low} to {high}")

    def __call__(self, images: Tensor, masks: Tensor, key: tuple) -> tuple[Tensor, Tensor]:
        """Augment images (n, 3, H, W) and masks (n, 1, H, W); the same key gives the same changes."""
        rng = RandomNumbers(len(images), key, images.device)
        images, masks = transform_geometry(images, masks, rng, self.flip, self.turn, self.crop)
        return jitter_colours(images, rng, self.colour, self.grey), masks


def transform_geometry(
    images: Tensor, masks: Tensor, rng: RandomNumbers, flip: float = 0.5, turn: float = 15.0, crop: float = 0.7
) -> tuple[Tensor, Tensor]:
    """Randomly flip, rotate and crop images (n, 3, H, W) and masks (n, 1, H, W) together, to the same size.

    Outside the frame image and mask are mirrored at the border: black corners do not occur in photos.
    """
    n, _, height, width = images.shape
    side = 1 - 2 * rng.coin(flip)
    angle = rng.uniform(-turn, turn) * (math.pi / 180)
    scale = rng.uniform(crop, 1)
    x, y = rng.uniform(-1, 1) * (1 - scale), rng.uniform(-1, 1) * (1 - scale)
    c, s, ratio = (
        angle.cos() * scale,
        angle.sin() * scale,
        height / width,
    )  # rotate in pixels
    matrix = torch.cat((c * side, -s * ratio, x, s / ratio * side, c, y), 1).view(n, 2, 3)
    grid = F.affine_grid(matrix.to(images.dtype), [n, 1, height, width], align_corners=False)
    both = F.grid_sample(torch.cat((images, masks), 1), grid, padding_mode="reflection", align_corners=False)
    both = both.clamp(0, 1)
    return both[:, :3], both[:, 3:]


def jitter_colours(images: Tensor, rng: RandomNumbers, strength: float = 0.3, grey: float = 0.05) -> Tensor:
    """Colour jitter of images (n, 3, H, W) in [0, 1]: exposure, contrast, saturation, warmth, black and white."""
    gamma = (rng.uniform(-1, 1) * strength).exp()[:, None]
    images = images.clamp(min=1e-4) ** gamma
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + (images - middle) * (1 + rng.uniform(-1, 1)[:, None] * strength)
    luma = images.mean(1, keepdim=True)
    saturation = (1 + rng.uniform(-1, 1)[:, None] * strength) * (1 - rng.coin(grey)[:, None])
    images = luma + (images - luma) * saturation
    warmth = 1 + rng.uniform(-1, 1)[:, None] * strength * 0.4
    tint = torch.cat((warmth, torch.ones_like(warmth), 1 / warmth), 1)  # (n, 3, 1, 1)
    keep = (saturation > 0).float()
    return (images * (tint * keep + 1 - keep)).clamp(0, 1)
