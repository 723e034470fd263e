"""Domain randomization for synthetic scenes: materials, lighting, colour mixing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.canvas import NOISES
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.shape_changes import pixel_coordinates, sample_layers
from birefnet_lite.synthetic.textures import blur, spectral_noise

PIECES = 3
MAX_HIDDEN_AREA = (
    0.6  # of the area of an object: more of its neighbour behind it, and it would be the neighbour's scene
)


def randomize_materials(rng: RandomNumbers, objects: Tensor, backgrounds: Tensor, chance: float) -> Tensor:
    """Objects (n, 3, H, W), some of which are made of what stands behind the neighbours.

    A drawn part has one material, a photographed one may look like anything. The neighbours' grounds (n, 3, H, W) are
    moved, mirrored and recoloured, in up to three pieces with soft or hard borders, and keep the light and shade of
    what was drawn.
    """
    height, width = objects.shape[-2:]
    made = rng.coin(chance)[:, None]  # (n, 1, 1, 1)
    tone = objects.mean(1, keepdim=True)
    tone = (tone / (tone.mean((2, 3), keepdim=True) + 1e-3)).clamp(0.5, 1.5)
    pieces, scores = [], []
    for k in range(PIECES):
        stuff = backgrounds.roll((-1 - k, rng.integer(0, height - 1), rng.integer(0, width - 1)), (0, 2, 3))
        stuff = stuff.flip(3) if rng.flag(0.5) else stuff
        stuff = stuff[:, torch.randperm(3, generator=rng.generator, device=rng.device)]
        middle = stuff.mean((2, 3), keepdim=True)
        drawn = objects.roll(-1 - k, 0).mean((2, 3), keepdim=True)  # a colour from the drawn ones' range
        stuff = (stuff - middle) * rng.uniform(0.6, 1.8)[:, None] + torch.lerp(
            middle, drawn, rng.uniform(0, 1)[:, None]
        )
        pieces.append(stuff)
        scores.append(spectral_noise(rng, (height, width), *NOISES["broad"]) - 1.5 * rng.coin(0.5))
    share = (torch.stack(scores, 1) * rng.uniform(2, 20)[:, None]).softmax(1)  # (n, pieces, H, W)
    stuff = sum(share[:, k, None] * piece for k, piece in enumerate(pieces))
    weight = made * rng.uniform(0.4, 1)[:, None]
    return torch.lerp(objects, (stuff * tone).clamp(0, 1.5), weight)


def add_background_objects(
    rng: RandomNumbers, backgrounds: Tensor, objects: Tensor, masks: Tensor, chance: float
) -> Tensor:
    """Grounds (n, 3, H, W), before some of which the neighbours' objects stand: near the rim and cut by it, or half
    hidden by the main object, whose colours and covers are given as (n, 3, H, W) and (n, 1, H, W)."""
    layers = torch.cat((objects, masks), 1)
    x, y = pixel_coordinates(layers)
    for k in range(2):
        to_x, to_y = rng.sign() * rng.uniform(0.6, 1.2), rng.uniform(-0.8, 0.8)
        scale = rng.uniform(0.4, 1.1)
        other = sample_layers(layers.roll(1 + k, 0), (x - to_x) / scale, (y - to_y) / scale)
        cover = other[:, 3:]
        small = (cover * (1 - masks)).mean((2, 3)) < MAX_HIDDEN_AREA * masks.mean((2, 3))  # (n, 1)
        seen = cover * (small.float() * rng.coin(chance)[:, 0])[:, :, None, None]
        backgrounds = torch.lerp(backgrounds, other[:, :3] * rng.uniform(0.5, 1)[:, None], seen)
    return backgrounds


def add_uneven_light(rng: RandomNumbers, scenes: Tensor, chance: float) -> Tensor:
    """Scenes (n, 3, H, W) under uneven light that falls on object and ground alike: shade of leaves, of a window."""
    height, width = scenes.shape[-2:]
    field = spectral_noise(rng, (height, width), *NOISES["broad"])
    shade = ((field - rng.uniform(-1, 1)) * rng.uniform(0.5, 6)).sigmoid()[:, None]  # (n, 1, H, W)
    shade = blur(shade, (rng.uniform(0, 0.03) * min(height, width))[:, None])
    strength = rng.coin(chance) * rng.uniform(0.1, 0.6)
    return scenes * (1 - strength[:, None] * shade) * (1 + 0.5 * strength[:, None])


def apply_random_convolution(rng: RandomNumbers, scenes: Tensor, chance: float) -> Tensor:
    """Scenes (n, 3, H, W), some seen through a random convolution: outlines stay, colours and fine texture do not.

    The kernel mixes the channels of 1, 3 or 5 pixels square; mean and spread of every channel are kept (random
    convolution as augmentation: Xu et al., 2021, arXiv 2007.13003).
    """
    n, channels, height = scenes.shape[:3]
    side = rng.pick((1, 3, 5))
    kernel = rng.field(channels, channels, side, side).flatten(0, 1)
    wide = F.pad(scenes, (side // 2,) * 4, mode="replicate").reshape(1, n * channels, height + side - 1, -1)
    other = F.conv2d(wide, kernel, groups=n).view_as(scenes)
    mean, spread = scenes.mean((2, 3), keepdim=True), scenes.std((2, 3), keepdim=True)
    other = (other - other.mean((2, 3), keepdim=True)) / (other.std((2, 3), keepdim=True) + 1e-3) * spread + mean
    weight = rng.coin(0.6 * chance) * rng.uniform(0.2, 0.8)
    return torch.lerp(scenes, other.clamp(0, 1.5), weight[:, None])
