"""Flat backgrounds: walls, textures, boards, cloth. Each function fills the picture of a canvas."""

import math

import torch
from torch import Tensor

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.textures import SURFACES, blur, surface


def soft_inside(distance: Tensor, pixel: Tensor | float, soft: float = 1.0) -> Tensor:
    """1 inside a signed distance, 0 outside, with an edge of `soft` pixels."""
    return (0.5 - distance / (pixel * soft)).clamp(0, 1)


def vary_lighting(c: Canvas, amount: float = 0.35) -> None:
    """Multiply the picture by uneven light: a gradient and a bright spot."""
    d = c.rng
    u, _ = sd.rotate(c.x, c.y, d.uniform(0, 2 * math.pi))
    pool = torch.exp(-sd.length(c.x - d.uniform(-1, 1), c.y - d.uniform(-1, 1)).square() * d.uniform(0.3, 1.5))
    tone = 1 + d.uniform(0, amount) * u + d.uniform(-0.3, 1.0) * amount * (pool - 0.4)
    c.colour = c.colour * tone.clamp(0.2, 1.8)[:, None]


def plain(c: Canvas) -> None:
    """A wall, a sheet of paper, a studio: one colour, slightly uneven."""
    d = c.rng
    c.fill(c.colour_of(d.pick(("wall", "light", "cloth", "dark", None))))
    tone = 1 + d.uniform(0, 0.08) * c.noise("cloud")
    c.colour = c.colour * tone[:, None]
    vary_lighting(c, 0.25)


def gradient(c: Canvas) -> None:
    """A linear or radial gradient of two or three colours."""
    d = c.rng
    first, second, third = c.colour_of(), c.colour_of(), c.colour_of()
    u, v = sd.rotate(c.x, c.y, d.uniform(0, 2 * math.pi))
    if d.flag(0.4):
        u = sd.length(c.x - d.uniform(-0.7, 0.7), c.y - d.uniform(-0.7, 0.7)) * 1.3 - 1
    c.fill(first)
    c.fill(second, (u * 0.5 + 0.5).clamp(0, 1))
    if d.flag(0.5):
        c.fill(third, (v * 0.6 - 0.1).clamp(0, 1))
    c.colour = c.colour * (1 + d.uniform(0, 0.1) * c.noise("cloud"))[:, None]


def fractal(c: Canvas) -> None:
    """Cloudy texture of two to four colours: earth, rust, water, plaster."""
    d = c.rng
    tone = d.pick(("stone", "plant", "wood", "sky", "cloth", None))
    c.fill(c.colour_of(tone))
    for _ in range(d.integer(1, 3)):
        field = c.noise(d.pick(("cloud", "cloud", "rough", "mottle")))
        c.fill(
            c.colour_of(tone if d.flag(0.6) else None),
            ((field - d.uniform(-0.5, 1)) * d.uniform(0.4, 3) + 0.5).clamp(0, 1),
        )
    c.colour = c.colour * (1 + d.uniform(0, 0.15) * c.noise("rough"))[:, None]
    vary_lighting(c)


def bokeh(c: Canvas) -> None:
    """Bokeh: lights and shapes far out of focus."""
    d = c.rng
    gradient(c)
    c.colour = c.colour * d.uniform(0.4, 1.0)[:, None]
    for _ in range(d.integer(6, 18)):
        x, y = c.x - d.uniform(-1.3, 1.3), c.y - d.uniform(-1.2, 1.2)
        disc = soft_inside(sd.circle(x, y, d.uniform(0.06, 0.4)), d.uniform(0.02, 0.12))
        c.fill(c.colour_of(), disc * d.uniform(0.1, 0.9))
    c.colour = blur(c.colour, d.uniform(0.01, 0.05)[:, None] * min(c.size))


def stripes(c: Canvas) -> None:
    """Stripes, planks of colour, blinds, corrugated sheets."""
    d = c.rng
    u, v = sd.rotate(c.x * (1 + d.uniform(-0.3, 0.3) * c.y), c.y, d.uniform(0, math.pi))
    u = u + d.uniform(0, 0.05) * c.noise("broad")
    period = d.uniform(0.1, 0.6)
    wave = (u * 2 * math.pi / period).sin()
    tone = d.pick(("wall", "cloth", "wood", None))
    c.fill(c.colour_of(tone))
    c.fill(c.colour_of(tone), (wave * d.uniform(0.5, 6) + d.uniform(0, 1)).clamp(0, 1) * d.uniform(0.3, 1))
    if d.flag(0.3):
        c.fill(c.colour_of(tone), ((v * 2 * math.pi / period).sin() * 4 + 0.5).clamp(0, 1) * 0.5)
    c.colour = c.colour * (1 + d.uniform(0, 0.12) * c.noise("rough"))[:, None]
    vary_lighting(c)


def random_cells(c: Canvas, u: Tensor, v: Tensor) -> Tensor:
    """One random number from 0 to 1 for every unit square of (u, v): (n, H, W)."""
    d = c.rng
    table = torch.rand(d.n, 32 * 32, generator=d.generator, device=d.device)
    index = torch.remainder(u.floor(), 32) * 32 + torch.remainder(v.floor(), 32)  # (n, H, W)
    return table.gather(1, index.long().reshape(d.n, -1)).view_as(index)


def tile_pattern(c: Canvas, u: Tensor, v: Tensor, tone: str | None, offset: bool, joint: float = 0.05) -> Tensor:
    """Bricks, tiles or planks of unit size in slightly different colours: (n, 3, H, W)."""
    d = c.rng
    if offset:
        u = u + 0.5 * torch.remainder(v.floor(), 2)
    value = random_cells(c, u, v)
    edge = torch.minimum(
        (torch.remainder(u, 1) - 0.5).abs().neg() + 0.5, (torch.remainder(v, 1) - 0.5).abs().neg() + 0.5
    )
    colour = torch.lerp(c.colour_of(tone), c.colour_of(tone), value[:, None])
    colour = colour * (0.8 + 0.4 * value + 0.1 * c.noise("rough"))[:, None]
    gap = ((joint - edge) * 30 + 0.5).clamp(0, 1)
    return torch.lerp(colour, (c.colour_of("stone") * d.uniform(0.3, 1.2)[:, None]).expand_as(colour), gap[:, None])


def tiles(c: Canvas) -> None:
    """A wall of bricks or tiles, straight on or at an angle."""
    d = c.rng
    x, y = sd.rotate(c.x, c.y, d.uniform(-0.15, 0.15))
    depth = 1 + d.uniform(-0.4, 0.4) * x
    scale = d.uniform(2, 7)
    wide = d.uniform(0.35, 1)
    c.colour = tile_pattern(
        c, x / depth * scale * wide + 8, y / depth * scale + 8, d.pick(("stone", "wood", "wall", "cloth")), d.flag(0.6)
    )
    vary_lighting(c)


def wooden(c: Canvas) -> None:
    """Boards seen from above: a table, a floor, a door."""
    d = c.rng
    x, y = sd.rotate(c.x, c.y, d.uniform(-0.4, 0.4) + (math.pi / 2 if d.flag(0.4) else 0))
    depth = 1 + d.uniform(-0.35, 0.35) * y
    boards = d.uniform(1.0, 5.0)
    u, v = x / depth * 0.35 + 8, y / depth * boards + 8
    c.colour = tile_pattern(c, u, v, "wood", True, 0.03)
    veins = (v * d.uniform(8, 20) + 1.5 * c.noise("broad") + 3 * random_cells(c, u, v)).sin() * 0.6 + 0.7 * c.noise(
        "mottle"
    )
    c.colour = c.colour * (1 + d.uniform(0.03, 0.16) * veins)[:, None]
    vary_lighting(c, 0.5)


def ground(c: Canvas) -> None:
    """A surface photo (grass, gravel or brick), tinted, at any scale, flat or in perspective."""
    d = c.rng
    x, y = sd.rotate(c.x, c.y, d.uniform(0, 2 * math.pi) if d.flag(0.5) else d.uniform(-0.1, 0.1))
    depth = 1 + d.uniform(-0.5, 0.5) * y
    zoom = d.uniform(0.25, 1.0)
    value = surface(d, x / depth * zoom + d.uniform(-1, 1), y / depth * zoom + d.uniform(-1, 1), d.pick(SURFACES))
    tone = d.pick(("plant", "stone", "wood", "wall"))
    low, high = c.colour_of(tone) * d.uniform(0.1, 0.6)[:, None], c.colour_of(tone)
    c.fill(low)
    c.fill(high, (value * d.uniform(0.9, 1.6)).clamp(0, 1.4))
    vary_lighting(c)


def drapery(c: Canvas) -> None:
    """Folds of cloth, curtains, crumpled paper."""
    d = c.rng
    angle = d.uniform(-0.5, 0.5) if d.flag(0.5) else d.uniform(0, math.pi)
    u, _ = sd.rotate(c.x, c.y, angle)
    folds = (u * d.uniform(3, 14) + d.uniform(0.5, 2.5) * c.noise("broad")).sin() * 0.6 + 0.4 * c.noise("broad")
    c.fill(c.colour_of("cloth"))
    if d.flag(0.4):
        colour = c.colour_of("cloth")
        pattern = c.material("cloth", d.pick(("stripes", "checks", "spots")), free=True)
        c.fill(colour, c.pattern_weights(pattern))
    c.colour = c.colour * (1 + d.uniform(0.1, 0.45) * folds + 0.04 * c.noise("grain"))[:, None]
    vary_lighting(c)


def marble(c: Canvas) -> None:
    """Polished stone: thin veins at the zeros of distorted waves."""
    d = c.rng
    u, _ = sd.rotate(c.x, c.y, d.uniform(0, math.pi))
    wave = (u * d.uniform(3, 8) + d.uniform(1, 2.5) * c.noise("cloud")).sin()
    veins = torch.exp(-wave.abs() * d.uniform(4, 12))
    c.fill(c.colour_of(d.pick(("light", "stone", "wall"))))
    c.fill(c.colour_of("stone"), (0.5 + 0.3 * c.noise("broad")).clamp(0, 1) * 0.5)
    c.fill(c.colour_of(d.pick(("dark", "stone", "wood"))), veins * d.uniform(0.3, 0.9))
    vary_lighting(c)


def checker(c: Canvas) -> None:
    """A chequered floor or cloth, flat or in perspective."""
    d = c.rng
    x, y = sd.rotate(c.x, c.y, d.uniform(-0.8, 0.8))
    depth = 1 + d.uniform(-0.45, 0.45) * y
    u, v = x / depth * d.uniform(2, 5), y / depth * d.uniform(2, 5)
    value = ((u * math.pi).sin() * (v * math.pi).sin() * 12 + 0.5).clamp(0, 1)
    tone = d.pick(("stone", "wall", "cloth", None))
    c.fill(c.colour_of(tone))
    c.fill(c.colour_of(tone), value)
    c.colour = c.colour * (1 + d.uniform(0, 0.12) * c.noise("rough"))[:, None]
    vary_lighting(c)
