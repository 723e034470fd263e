"""Domain randomization for synthetic scenes: materials, objects in the background, uneven lighting, colour mixing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.materials import NOISES
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.shape_changes import pixel_coordinates, sample_layers
from birefnet_lite.synthetic.textures import blur, spectral_noise

PIECES = 3
MAX_HIDDEN_AREA = 0.6  # visible area of a background object, relative to the main object's


def randomize_materials(rng: RandomNumbers, objects: Tensor, backgrounds: Tensor, chance: float) -> Tensor:
    """Give some objects materials cut from the backgrounds of other scenes.

    A drawn part has one material, while a real object may have any texture. Up to three pieces of other scenes'
    backgrounds, moved, mirrored and recoloured, are blended over the object; its shading is kept.

    Args:
        rng: Random numbers of the n scenes.
        objects: Colours (n, 3, H, W).
        backgrounds: (n, 3, H, W).
        chance: Probability for each object.

    Returns:
        Colours (n, 3, H, W).
    """
    height, width = objects.shape[-2:]
    made = rng.coin(chance)[:, None]  # (n, 1, 1, 1)
    tone = objects.mean(1, keepdim=True)
    tone = (tone / (tone.mean((2, 3), keepdim=True) + 1e-3)).clamp(0.5, 1.5)
    pieces, scores = [], []
    for k in range(PIECES):
        material = backgrounds.roll((-1 - k, rng.integer(0, height - 1), rng.integer(0, width - 1)), (0, 2, 3))
        material = material.flip(3) if rng.flag(0.5) else material
        material = material[:, torch.randperm(3, generator=rng.generator, device=rng.device)]
        middle = material.mean((2, 3), keepdim=True)
        drawn = objects.roll(-1 - k, 0).mean((2, 3), keepdim=True)  # a colour as drawn objects have
        material = (material - middle) * rng.uniform(0.6, 1.8)[:, None] + torch.lerp(
            middle, drawn, rng.uniform(0, 1)[:, None]
        )
        pieces.append(material)
        scores.append(spectral_noise(rng, (height, width), *NOISES["broad"]) - 1.5 * rng.coin(0.5))
    share = (torch.stack(scores, 1) * rng.uniform(2, 20)[:, None]).softmax(1)  # (n, pieces, H, W)
    blended = torch.stack([share[:, k, None] * piece for k, piece in enumerate(pieces)]).sum(0)
    weight = made * rng.uniform(0.4, 1)[:, None]
    return torch.lerp(objects, (blended * tone).clamp(0, 1.5), weight)


def add_background_objects(
    rng: RandomNumbers, backgrounds: Tensor, objects: Tensor, masks: Tensor, chance: float
) -> Tensor:
    """Paste objects of other scenes into some backgrounds: near the border of the frame, or partly hidden.

    Args:
        rng: Random numbers of the n scenes.
        backgrounds: (n, 3, H, W).
        objects: Colours of the main objects, (n, 3, H, W).
        masks: Their alpha mattes, (n, 1, H, W).
        chance: Probability for each of two objects in each background.

    Returns:
        Backgrounds (n, 3, H, W).
    """
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
    """Darken some scenes (n, 3, H, W) by a soft random pattern across object and background, as the shade of leaves."""
    height, width = scenes.shape[-2:]
    field = spectral_noise(rng, (height, width), *NOISES["broad"])
    shade = ((field - rng.uniform(-1, 1)) * rng.uniform(0.5, 6)).sigmoid()[:, None]  # (n, 1, H, W)
    shade = blur(shade, (rng.uniform(0, 0.03) * min(height, width))[:, None])
    strength = rng.coin(chance) * rng.uniform(0.1, 0.6)
    return scenes * (1 - strength[:, None] * shade) * (1 + 0.5 * strength[:, None])


def apply_random_convolution(rng: RandomNumbers, scenes: Tensor, chance: float) -> Tensor:
    """Filter some scenes (n, 3, H, W) with a random convolution, which keeps outlines but not colours and fine texture.

    The kernel mixes the channels of 1, 3 or 5 pixels square; mean and standard deviation of each channel are kept
    (Xu et al. 2021, arXiv 2007.13003).
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
