"""Colour palettes by material, in sRGB from 0 to 1, and random colours from them."""

from functools import cache

import torch
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers

TONES = {
    "skin": "edc7ad dba88a b88263 80543d 573829",
    "hair": "120f0d 302117 5c3d21 a37d47 94918c 75331a",
    "fur": "1f1c1a 54402e 8c6b47 b8946b ded4c4 807d78 ad6b38",
    "wood": "9e7045 734a2b 4c301f bf996b 856b57 994c26",
    "metal": "bfc2c7 808287 383b40 141417 9e9480 b2854c",
    "plant": "385c21 5c7a33 859447 243d1c 99732e 6b704c",
    "stone": "99948c 6b6966 bdb5a8 4c4745 8c7561",
    "wall": "e0dbd1 c2bdb2 9ea8ad ccb899 808580 ad9ea3 59575c",
    "sky": "8cb2de 598ccc ccdbeb b8bdc4 edcca8 29385c",
    "cloth": "1a1a1f edebe6 29335c 9e1f1f d9661f e6c240 336642 476b9e 808085 8c6b4c bf808f 6b335c c7bfa6",
    "paint": "bf1a14 141417 ebebeb 1f408c e6ad1a 266640 999ea3 d95914 595c61 73141f 4c99bf",
    "food": "bf331f e69926 d9cc59 739933 73401f e6d1a8 66264c",
    "dark": "0d0d0f 1a1714 292626 141a24",
    "light": "f2f2f0 e6e0d6 dbe0e6 f7f0db",
}
"""Palettes in hexadecimal, by name of a material."""


@cache
def tone_table(tone: str | None, device: torch.device) -> Tensor:
    """The k colours of a palette, or of all, on a device: (k, 3)."""
    names = TONES[tone] if tone else " ".join(TONES.values())
    return torch.tensor([list(bytes.fromhex(name)) for name in names.split()], device=device) / 255


def random_colours(rng: RandomNumbers, tone: str | None = None) -> Tensor:
    """Random colours (n, 3, 1, 1) of a palette, with random brightness and noise.

    Without a palette they are from all of them, and one in eight is any colour of the cube.
    """
    table = tone_table(tone, rng.device)
    index = torch.randint(len(table), (rng.n,), generator=rng.generator, device=rng.device)
    colour = table[index][:, :, None, None]  # (n, 3, 1, 1)
    if tone is None:
        loud = torch.rand(rng.n, 3, 1, 1, generator=rng.generator, device=rng.device)
        colour = torch.where(rng.coin(0.12)[:, None] > 0, loud, colour)
    bright = rng.uniform(0.75, 1.2)[:, None]
    return (colour * bright + 0.035 * rng.field(3, 1, 1)).clamp(0.01, 0.99)


def separate_colours(colour: Tensor, other: Tensor, least: Tensor | float) -> Tensor:
    """Change the lightness of colours (n, 3, 1, 1) until they differ from others by at least `least` (RMS)."""
    gap = colour - other
    lightness = gap.mean(1, keepdim=True)
    hue = (gap - lightness).square().mean(1, keepdim=True)
    needed = (least**2 - hue).clamp(min=0).sqrt()
    # Move to the side of middle grey with more range; a colour that differs already stays on its side if it can.
    side = torch.where(lightness + (0.5 - other.mean(1, keepdim=True)) * 0.7 > 0, 1.0, -1.0)
    moved = torch.where(lightness.abs() < needed, side * needed - lightness, 0.0)
    return (colour + moved).clamp(0.01, 0.99)
