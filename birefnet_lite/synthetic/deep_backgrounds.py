"""Backgrounds with depth: rooms, landscapes, streets, clutter. Each function fills the picture of a canvas."""

import math

import torch

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.flat_backgrounds import fractal, random_cells, soft_inside, tile_pattern, vary_lighting
from birefnet_lite.synthetic.textures import surface


def draw_distant_objects(c: Canvas, count: int, low: float, high: float, tones: tuple) -> None:
    """Paint boxes and ellipses that stand between two heights: furniture, sheds, cars, bushes."""
    d = c.rng
    for _ in range(count):
        x, foot = c.x - d.uniform(-1.2, 1.2), d.uniform(low, high)
        wide, tall = d.uniform(0.06, 0.45), d.uniform(0.08, 0.7)
        y = c.y - foot + tall
        shape = sd.box(x, y, wide, tall, 0.03) if d.flag(0.65) else sd.ellipse(x, y, wide, tall)
        colour = c.colour_of(d.pick(tones))
        shade = 1 + d.uniform(-0.3, 0.3) * (x / wide).clamp(-1, 1) + 0.08 * c.noise("rough")
        c.colour = torch.lerp(c.colour, colour * shade[:, None], soft_inside(shape, c.pixel, 1.5)[:, None])
        if d.flag(0.4):
            inner = sd.intersection(sd.bars(y, d.uniform(0.1, 0.4), d.uniform(0.02, 0.1)), shape + 0.03)
            c.fill(c.colour_of(), soft_inside(inner, c.pixel) * d.uniform(0.2, 1))


def indoor(c: Canvas) -> None:
    """A room: wall, floor or table top, pictures, a window, a lamp, furniture."""
    d = c.rng
    horizon = d.uniform(-0.35, 0.75)
    c.fill(c.colour_of(d.pick(("wall", "wall", "cloth", "wood"))))
    paper = d.pick(("plain", "plain", "stripes", "checks"))
    if paper != "plain":
        c.fill(c.colour_of("wall"), c.pattern_weights(c.material("wall", paper, free=True)) * d.uniform(0.1, 0.5))
    corner = c.x - d.uniform(-1.2, 1.2) - 0.1 * c.y
    shade = 1 - d.uniform(0, 0.3) * soft_inside(corner, c.pixel)
    c.colour = c.colour * shade[:, None]
    for _ in range(d.integer(0, 3)):  # pictures, doors, shelves, a window
        x, y = c.x - d.uniform(-1.1, 1.1), c.y - d.uniform(-1.0, 0.0)
        frame = sd.box(x, y, d.uniform(0.1, 0.45), d.uniform(0.1, 0.5))
        c.fill(c.colour_of(d.pick(("wood", "light", "dark"))), soft_inside(frame, c.pixel))
        c.fill(
            c.colour_of(d.pick(("sky", "light", None))),
            soft_inside(frame + 0.04, c.pixel) * (0.8 + 0.2 * c.noise("cloud")).clamp(0, 1),
        )
        if d.flag(0.3):
            c.fill(
                c.colour_of("wood"),
                soft_inside(sd.intersection(sd.union(x.abs() - 0.012, y.abs() - 0.012), frame), c.pixel),
            )
    draw_distant_objects(c, d.integer(0, 4), 0.1, 0.5, ("wood", "cloth", "paint", "dark", "wall"))
    below = c.y - horizon + d.uniform(-0.1, 0.1) * c.x
    depth = (below + 0.25).clamp(min=0.05)
    kind = d.pick(("boards", "tiles", "carpet", "smooth"))
    if kind in ("boards", "tiles"):
        u, v = (c.x - d.uniform(-0.5, 0.5)) / depth * d.uniform(0.5, 1.5), 1 / depth * (0.25 if kind == "boards" else 1)
        floor = tile_pattern(
            c, u * (2 if kind == "boards" else 1) + 16, v + 16, d.pick(("wood", "stone")), kind == "boards", 0.04
        )
    else:
        floor = (
            c.colour_of(d.pick(("cloth", "wood", "wall", "stone")))
            * (1 + d.uniform(0, 0.15) * c.noise("rough" if kind == "carpet" else "cloud"))[:, None]
        )
    c.colour = torch.lerp(c.colour, floor, soft_inside(-below, c.pixel, 2.0)[:, None])
    draw_distant_objects(c, d.integer(0, 2), 0.6, 1.2, ("wood", "cloth", "paint", "dark"))
    vary_lighting(c, 0.5)


def outdoor(c: Canvas) -> None:
    """A landscape: sky, distant hills or trees, ground whose texture gets finer towards the horizon."""
    d = c.rng
    horizon = d.uniform(-0.5, 0.7)
    tall = (c.y + 1) / 2
    c.fill(c.colour_of("sky"))
    c.fill(c.colour_of("sky"), tall.clamp(0, 1) * d.uniform(0, 1))
    if d.flag(0.6):
        clouds = ((c.noise("cloud") - d.uniform(-0.2, 1.2)) * 1.5).clamp(0, 1) * d.uniform(0.2, 1)
        c.fill(c.colour_of("light"), clouds)
    for k in range(d.integer(0, 3)):
        ridge = c.noise("broad" if d.flag(0.5) else "mottle")[:, :1] * d.uniform(0.02, 0.2)  # one row makes a skyline
        hill = horizon - d.uniform(0.0, 0.4) * (1 - k / 3) + ridge - c.y
        tone = c.colour_of(d.pick(("plant", "stone", "wood"))) * (1 + 0.15 * c.noise("rough"))[:, None]
        haze = c.colour_of("sky")
        c.colour = torch.lerp(
            c.colour, torch.lerp(tone, haze.expand_as(tone), (0.6 - 0.25 * k)), soft_inside(hill, c.pixel, 1.5)[:, None]
        )
    draw_distant_objects(c, d.integer(0, 3), -0.1, 0.4, ("plant", "stone", "wall", "wood", "dark"))
    below = c.y - horizon
    depth = below.clamp(min=0.0) + 0.12
    tone = d.pick(("plant", "plant", "stone", "wood", "sky"))
    ground = torch.lerp(c.colour_of(tone), c.colour_of(tone), (0.5 + 0.3 * c.noise("cloud")).clamp(0, 1)[:, None])
    if d.flag(0.5):
        texture = surface(d, c.x / depth * 0.7, 1.2 / depth, d.pick(("grass", "gravel"))) * 1.6 - 0.3
        ground = ground * (0.5 + texture)[:, None]
    else:
        ground = ground * (1 + d.uniform(0.05, 0.3) * c.noise("rough") * (depth.clamp(0, 1)))[:, None]
    c.colour = torch.lerp(c.colour, ground, soft_inside(-below, c.pixel, 2.0)[:, None])
    vary_lighting(c, 0.3)


def street(c: Canvas) -> None:
    """A street: houses with rows of windows, a pavement, a strip of sky."""
    d = c.rng
    outdoor(c)
    foot = d.uniform(0.1, 0.7)
    for _ in range(d.integer(1, 4)):
        x, y = c.x - d.uniform(-1.2, 1.2), c.y - foot
        wide, tall = d.uniform(0.25, 0.8), d.uniform(0.5, 1.8)
        house = sd.box(x, y + tall / 2, wide, tall / 2)
        wall = c.colour_of(d.pick(("wall", "stone", "wood", "cloth"))) * (1 + 0.07 * c.noise("rough"))[:, None]
        c.colour = torch.lerp(c.colour, wall, soft_inside(house, c.pixel)[:, None])
        across, up = d.uniform(0.12, 0.4), d.uniform(0.15, 0.45)
        panes = sd.intersection(
            sd.bars(x, across, across * d.uniform(0.2, 0.35)), sd.bars(y, up, up * d.uniform(0.2, 0.38))
        )
        c.fill(
            c.colour_of(d.pick(("dark", "sky", "light"))), soft_inside(sd.intersection(panes, house + 0.05), c.pixel)
        )
    vary_lighting(c)


def foliage(c: Canvas) -> None:
    """Leaves and grass of all sizes, dark behind and bright in front."""
    d = c.rng
    c.fill(c.colour_of("plant") * 0.4)
    c.colour = c.colour * (1 + 0.3 * c.noise("mottle"))[:, None]
    for k in range(5):
        count = d.integer(8, 16)
        long = d.many(1, 0.08, 0.4) * d.many(count, 0.6, 1.3)
        place = d.many(count, -1.3, 1.3), d.many(count, -1.2, 1.2)
        turn = d.many(1, 0, 6.3) + d.many(count, -1.2, 1.2)
        cluster = sd.leaves(c.x, c.y, *place, turn, long, long * d.many(1, 0.1, 0.5))
        colour = c.colour_of("plant" if d.flag(0.85) else None) * (0.45 + 0.15 * k)
        c.colour = torch.lerp(
            c.colour, colour * (1 + 0.2 * c.noise("cloud"))[:, None], soft_inside(cluster, c.pixel)[:, None]
        )
    vary_lighting(c)


def clutter(c: Canvas) -> None:
    """Overlapping shapes of all sizes that cut one another, as in the dead leaves model."""
    d = c.rng
    fractal(c)
    tone = d.pick((None, None, "stone", "cloth", "wood", "plant"))
    boxes = d.pick((0.2, 0.5, 0.9))
    for k in range(d.integer(10, 28)):
        size = 0.9 / (1 + 0.35 * k)  # large shapes first, small ones over them
        x, y = sd.rotate(c.x - d.uniform(-1.2, 1.2), c.y - d.uniform(-1.2, 1.2), d.uniform(0, math.pi))
        wide, tall = size * d.uniform(0.3, 1.1), size * d.uniform(0.3, 1.1)
        shape = sd.box(x, y, wide, tall, 0.02) if d.flag(boxes) else sd.ellipse(x, y, wide, tall)
        colour = c.colour_of(tone) * (1 + d.uniform(-0.35, 0.35) * (x / size).clamp(-1, 1))[:, None]
        if d.flag(0.5):
            colour = colour * (1 + d.uniform(0, 0.25) * c.noise(d.pick(("rough", "mottle", "grain"))))[:, None]
        c.colour = torch.lerp(c.colour, colour.expand_as(c.colour), soft_inside(shape, c.pixel)[:, None])
    vary_lighting(c)


def shelves(c: Canvas) -> None:
    """Shelves, a workshop wall or a bookcase: as much detail in the background as in the object."""
    d = c.rng
    x, y = sd.rotate(c.x, c.y, d.uniform(-0.1, 0.1))
    depth = 1 + d.uniform(-0.4, 0.4) * x
    board = d.uniform(0.02, 0.12)
    v = y / depth * d.uniform(1.2, 3.5) + 8
    row, above = v.floor(), 1 - torch.remainder(v, 1)  # above: height over the shelf board, 0 to 1
    u = x / depth * d.uniform(3, 9) + 16 + 7 * row
    u = u + d.uniform(0, 0.3) * (u * d.uniform(0.8, 2.5)).sin()  # items of unequal width
    tone = d.pick((None, None, "cloth", "paint", "wood"))
    pick, tall = random_cells(c, u, row), random_cells(c, u, row) * d.uniform(0.3, 0.8) + d.uniform(0.1, 0.5)
    colour = torch.lerp(c.colour_of(tone), c.colour_of(tone), pick[:, None])
    colour = torch.where((pick > 0.66)[:, None], c.colour_of(tone), colour)
    inside = torch.remainder(u, 1)
    colour = colour * (1.15 - d.uniform(0, 1.2) * (inside - 0.5).abs())[:, None]  # round or flat items
    label = sd.intersection((inside - 0.5).abs() - 0.3, (above - 0.35).abs() - d.uniform(0.05, 0.15))
    label = soft_inside(label, 0.05) * d.uniform(0, 0.9)
    colour = torch.lerp(colour, c.colour_of().expand_as(colour), label[:, None])
    c.fill(c.colour_of(d.pick(("dark", "dark", "wall", "wood"))) * d.uniform(0.4, 1.0)[:, None])
    thing = sd.intersection(above - tall, (inside - 0.5).abs() - d.uniform(0.38, 0.5))
    c.colour = torch.lerp(c.colour, colour, soft_inside(thing, 0.02)[:, None])
    c.fill(c.colour_of(d.pick(("wood", "metal", "light"))), soft_inside(above - board, 0.02))
    c.colour = c.colour * (1 + d.uniform(0, 0.15) * c.noise("rough"))[:, None]
    if d.flag(0.6):  # a floor in front
        below = c.y - d.uniform(0.0, 0.8) - d.uniform(-0.1, 0.1) * c.x
        floor = c.colour_of(d.pick(("stone", "wood", "wall"))) * (1 + d.uniform(0, 0.2) * c.noise("cloud"))[:, None]
        c.colour = torch.lerp(c.colour, floor, soft_inside(-below, c.pixel, 2.0)[:, None])
    vary_lighting(c, 0.5)


def masts(c: Canvas) -> None:
    """A yard, harbour or launch pad by day or at dusk: poles, lattice masts, wires and lamps."""
    d = c.rng
    outdoor(c)
    if d.flag(0.5):  # an empty sky that darkens upwards
        c.fill(c.colour_of(d.pick(("sky", "dark"))))
        c.fill(c.colour_of(d.pick(("sky", "dark"))) * 0.4, ((1 - c.y) / 2).clamp(0, 1))
    foot = d.uniform(0.4, 1.3)
    tone = d.pick(("dark", "metal", "metal", "wood", "light"))
    for _ in range(d.integer(1, 5)):
        x = c.x - d.uniform(-1.3, 1.3)
        top = d.uniform(-1.4, 0.3)
        down = (c.y - top) / (foot - top)  # 0 at the top, 1 at the foot
        wide = torch.lerp(d.uniform(0.005, 0.05), d.uniform(0.01, 0.12), down.clamp(0, 1))
        mast = x.abs() - wide
        if d.flag(0.6):  # rails and crossed braces
            thin = d.uniform(0.004, 0.02)
            zigzag = torch.remainder(down * d.uniform(5, 16), 2) - 1
            brace = (x.abs() - wide * zigzag.abs()).abs()
            mast = sd.intersection(sd.union(mast.abs(), brace) - thin, mast - thin)
        mast = sd.intersection(mast, sd.intersection(top - c.y, c.y - foot))
        c.fill(c.colour_of(tone), soft_inside(mast, c.pixel) * d.uniform(0.4, 1))
    for _ in range(d.integer(0, 4)):
        sag = d.uniform(-1.0, 0.3) + d.uniform(-0.4, 0.4) * c.x + d.uniform(0, 0.3) * c.x.square()
        c.fill(c.colour_of("dark"), soft_inside((c.y - sag).abs() - d.uniform(0.003, 0.01), c.pixel))
    for _ in range(d.integer(0, 5)):
        far = sd.length(c.x - d.uniform(-1.2, 1.2), c.y - foot + d.uniform(0, 0.3))
        c.fill(c.colour_of("light"), torch.exp(-far * d.uniform(8, 40)))
    vary_lighting(c, 0.3)
