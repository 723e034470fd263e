"""Random changes of object shapes: smooth warps, kaleidoscopes, pasted neighbours, holes, smaller objects.

With them a network sees more shapes than the families have, so that it learns to find objects rather than to recognise
families.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.camera import random_rows
from birefnet_lite.synthetic.materials import NOISES
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.textures import spectral_noise

MIN_KEPT_AREA = 0.3  # a change that leaves less of the object's area is not made
MIN_SCALE = 0.3  # of an object that is made smaller


def change_shapes(rng: RandomNumbers, objects: Tensor, masks: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Change the shapes of some objects, by each of `CHANGES` in turn, and make some smaller.

    Holes are the most probable change, as networks miss them most.

    Args:
        rng: Random numbers of the n scenes.
        objects: Colours (n, 3, H, W).
        masks: Alpha mattes (n, H, W).
        chance: Probability of holes; those of the other changes are parts of it.

    Returns:
        Colours and alpha mattes.
    """
    layers = torch.cat((objects, masks[:, None]), 1)  # (n, 4, H, W)
    for change, key, share in CHANGES:
        rows = random_rows(rng, chance * share)
        if rows:
            others = [(i + 1) % rng.n for i in rows]
            own = RandomNumbers(len(rows), (*rng.key, key), rng.device)
            changed = change(own, layers[rows], layers[others])
            kept = changed[:, 3:].mean((2, 3), keepdim=True) > MIN_KEPT_AREA * layers[rows, 3:].mean(
                (2, 3), keepdim=True
            )
            layers[rows] = torch.where(kept, changed, layers[rows])
    rows = random_rows(rng, chance / 4)
    if rows:
        layers[rows] = shrink(RandomNumbers(len(rows), (*rng.key, "recede"), rng.device), layers[rows])
    return layers[:, :3], layers[:, 3]


def warp_smoothly(rng: RandomNumbers, layers: Tensor, others: Tensor) -> Tensor:
    """Warp layers (n, 4, H, W) by a smooth random field."""
    size = (layers.shape[-2], layers.shape[-1])
    x, y = pixel_coordinates(layers)
    reach = rng.uniform(0.03, 0.12)
    pulls = [spectral_noise(rng, size, *NOISES["broad"]).clamp(-2, 2) * reach for _ in range(2)]
    return sample_layers(layers, x + pulls[0], y + pulls[1])


def kaleidoscope(rng: RandomNumbers, layers: Tensor, others: Tensor) -> Tensor:
    """Mirror one wedge of each layer (n, 4, H, W) around the centre of its object: 1 to 9 mirror axes."""
    x, y = pixel_coordinates(layers)
    middle_x, middle_y = centre_of_mass(layers[:, 3], x, y)
    wedge = math.pi / rng.integer(1, 9)
    x, y = x - middle_x, y - middle_y
    angle = torch.atan2(y, x) - rng.uniform(0, 2 * math.pi)
    angle = (angle.remainder(2 * wedge) - wedge).abs() + rng.uniform(0, 2 * math.pi)
    far = (x.square() + y.square()).sqrt()
    return sample_layers(layers, middle_x + far * angle.cos(), middle_y + far * angle.sin())


def paste_neighbour(rng: RandomNumbers, layers: Tensor, others: Tensor) -> Tensor:
    """Paste the object of another scene, smaller and rotated, in front of or behind the own: layers (n, 4, H, W)."""
    part = sample_layers(others, *paste_coordinates(rng, layers, others, rng.uniform(0.35, 0.85), rng.uniform(0, 0.8)))
    front, back = (part, layers) if rng.flag(0.5) else (layers, part)
    cover = front[:, 3:]
    return torch.cat((torch.lerp(back[:, :3], front[:, :3], cover), cover + back[:, 3:] * (1 - cover)), 1)


def cut_holes(rng: RandomNumbers, layers: Tensor, others: Tensor) -> Tensor:
    """Cut up to six holes, round or of another object's shape, in a ring or anywhere: layers (n, 4, H, W)."""
    count, ring, round_ = rng.integer(1, 6), rng.flag(0.5), rng.flag(0.5)
    if round_:
        x, y = pixel_coordinates(layers)
        disc = (0.5 - sd.circle(x, y, 0.5) * layers.shape[-2] / 2).clamp(0, 1)
        others = disc.expand(layers.shape)
    size, away, start = rng.uniform(0.15, 0.35), rng.uniform(0, 0.5), rng.uniform(0, 2 * math.pi)
    for k in range(count):
        if not ring:
            size, away, start = rng.uniform(0.15, 0.45), rng.uniform(0, 0.7), rng.uniform(0, 2 * math.pi)
        x, y = paste_coordinates(rng, layers, others, size, away, start + 2 * math.pi * k / count)
        hole = F.grid_sample(others[:, 3:], torch.stack((x, y), -1), align_corners=False)
        layers = torch.cat((layers[:, :3], layers[:, 3:] * (1 - hole)), 1)
    return layers


def shrink(rng: RandomNumbers, layers: Tensor) -> Tensor:
    """Shrink the objects of layers (n, 4, H, W) around their centres, except those that the frame cuts."""
    x, y = pixel_coordinates(layers)
    middle_x, middle_y = centre_of_mass(layers[:, 3], x, y)
    scale = rng.uniform(MIN_SCALE, 1)
    smaller = sample_layers(layers, middle_x + (x - middle_x) / scale, middle_y + (y - middle_y) / scale)
    cover = layers[:, 3]
    rim = torch.cat((cover[:, 0], cover[:, -1], cover[:, :, 0], cover[:, :, -1]), 1).amax(1)
    return torch.where((rim > 0.1).view(-1, 1, 1, 1), layers, smaller)


def paste_coordinates(
    rng: RandomNumbers, layers: Tensor, others: Tensor, scale: Tensor, away: Tensor, direction: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sampling coordinates for pasting objects of other scenes.

    Args:
        rng: Random numbers of the n scenes.
        layers: The own objects, (n, 4, H, W).
        others: The objects to paste, (n, 4, H, W).
        scale: Their scale, (n, 1, 1).
        away: Distance from the own object's centre, relative to its extent.
        direction: Direction of the distance, in radians; random if None.

    Returns:
        x and y (n, H, W) at which to sample `others`.
    """
    x, y = pixel_coordinates(layers)
    middle_x, middle_y = centre_of_mass(layers[:, 3], x, y)
    weight = layers[:, 3] / (layers[:, 3].sum((1, 2), keepdim=True) + 1e-6)
    extent = 2 * (((x - middle_x).square() + (y - middle_y).square()) * weight).sum((1, 2), keepdim=True).sqrt()
    direction = rng.uniform(0, 2 * math.pi) if direction is None else direction
    to_x, to_y = middle_x + away * extent * direction.cos(), middle_y + away * extent * direction.sin()
    from_x, from_y = centre_of_mass(others[:, 3], x, y)
    u, v = sd.rotate(x - to_x, y - to_y, -rng.uniform(-math.pi, math.pi))
    return from_x + u / scale, from_y + v / scale


def pixel_coordinates(layers: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x (1, 1, W) and y (1, H, 1) of the pixels of (n, C, H, W), -1 to 1 over the frame."""
    height, width = layers.shape[-2:]
    x = (torch.arange(width, device=layers.device) + 0.5) * 2 / width - 1
    y = (torch.arange(height, device=layers.device) + 0.5) * 2 / height - 1
    return x.view(1, 1, -1), y.view(1, -1, 1)


def centre_of_mass(masks: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of mass (n, 1, 1) of masks (n, H, W); 0 for empty ones."""
    total = masks.sum((1, 2), keepdim=True) + 1e-6
    return (masks * x).sum((1, 2), keepdim=True) / total, (masks * y).sum((1, 2), keepdim=True) / total


def sample_layers(layers: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample layers (n, 4, H, W) bilinearly at x, y, which broadcast to (n, H, W).

    Outside the frame alpha is 0, and colours are those of the border.
    """
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)
    colours = F.grid_sample(layers[:, :3], grid, padding_mode="border", align_corners=False)
    return torch.cat((colours, F.grid_sample(layers[:, 3:], grid, align_corners=False)), 1)


# Each change with the key of its random numbers and its probability, as a part of the one for holes.
CHANGES = (
    (warp_smoothly, "bend", 0.5),
    (kaleidoscope, "fold", 0.5),
    (paste_neighbour, "join", 0.5),
    (cut_holes, "pierce", 1.0),
)
