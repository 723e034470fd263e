"""Object families of solid shapes, with and without holes. Each function draws one family on a canvas."""

import math

import torch

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.glyphs import glyph


def random_harmonics(c: Canvas, size: float, most: int = 5) -> list:
    """Random harmonics for `signed_distance.radial`."""
    d = c.rng
    return [(k, d.normal(0, size / k), d.uniform(0, 2 * math.pi)) for k in range(2, most + 1)]


def decorate(c: Canvas, body: torch.Tensor, most: int = 4) -> None:
    """Paint marks, bands and patches on a body, which give strong edges inside it."""
    d = c.rng
    for _ in range(d.integer(0, most)):
        x, y = sd.rotate(c.x - d.uniform(-0.6, 0.6), c.y - d.uniform(-0.6, 0.6), d.uniform(0, math.pi))
        kind = d.pick(("disc", "box", "band", "ring"))
        if kind == "disc":
            spot = sd.ellipse(x, y, d.uniform(0.05, 0.35), d.uniform(0.05, 0.3))
        elif kind == "box":
            spot = sd.box(x, y, d.uniform(0.06, 0.4), d.uniform(0.05, 0.3), 0.02)
        elif kind == "band":
            spot = y.abs() - d.uniform(0.02, 0.25)
        else:
            spot = (sd.length(x, y) - d.uniform(0.1, 0.4)).abs() - d.uniform(0.01, 0.06)
        c.mark(sd.intersection(spot, body + 0.02), c.material(free=True), visible=d.coin(0.8))


def blob(c: Canvas) -> None:
    """A smooth lump: a stone, a potato, a cushion."""
    c.place((0.35, 0.95), turn=math.pi, squash=0.4)
    body = sd.radial(c.x, c.y, random_harmonics(c, 0.18), 0.85)
    c.paint(body, c.material(), roundness=c.rng.uniform(0.2, 0.9))
    if c.rng.flag(0.5):
        decorate(c, body)


def polygon(c: Canvas) -> None:
    """A flat or bevelled polygon, or (more often) the shape of a character."""
    c.place((0.4, 0.95), turn=math.pi, squash=0.4, slant=0.3)
    d = c.rng
    if d.flag(0.75):
        body = glyph(d, c.x, c.y)
    else:
        count = d.integer(3, 8)
        points = []
        for k in range(count):
            angle = 2 * math.pi * (k + d.uniform(-0.3, 0.3)) / count
            points.append((0.9 * angle.cos(), 0.9 * angle.sin()))
        body = sd.convex(c.x, c.y, points, d.uniform(0, 0.1))
    c.paint(body, c.material(), roundness=d.uniform(0.03, 0.3))
    decorate(c, body)


def star(c: Canvas) -> None:
    """Stars and flowers: pointed or rounded rays, sometimes with a disc in the centre."""
    c.place((0.4, 0.95), turn=math.pi, squash=0.25)
    d = c.rng
    rays = d.integer(4, 12)
    if d.flag(0.5):
        deep = d.uniform(0.15, 0.45)
        body = sd.radial(c.x, c.y, [(rays, deep, 0.0)], 0.68)
        c.paint(body, c.material(), roundness=d.uniform(0.1, 0.5))
    else:
        u, v = sd.sector(c.x, c.y, rays)
        wide = d.uniform(0.1, 0.3)
        petal = sd.ellipse(u - 0.5, v, 0.45, wide)
        c.paint(petal, c.material(), roundness=0.2)
    centre = c.rng.uniform(0.1, 0.35)
    c.paint(sd.circle(c.x, c.y, centre), c.material(), roundness=0.2, visible=d.coin(0.6))


def slab(c: Canvas) -> None:
    """Superellipses, from a diamond to a box: phones, plates, pillows, books."""
    c.place((0.35, 0.95), turn=math.pi, squash=0.5, slant=0.25)
    d = c.rng
    half = (d.uniform(0.4, 0.95), d.uniform(0.4, 0.95))
    body = sd.superellipse(c.x, c.y, *half, d.uniform(1.2, 7))
    c.paint(body, c.material(), roundness=d.uniform(0.05, 0.5))
    if d.flag(0.4):
        inner = sd.superellipse(c.x, c.y, half[0] * 0.8, half[1] * 0.8, d.uniform(2, 7))
        c.mark(inner, c.material())
    decorate(c, body)


def ring(c: Canvas) -> None:
    """Rings, tyres, frames and handles: one hole in the middle."""
    c.place((0.45, 0.95), turn=math.pi, squash=0.5)
    d = c.rng
    thick = d.uniform(0.06, 0.3)
    middle = sd.superellipse(c.x, c.y, 0.9 - thick, (0.9 - thick) * d.uniform(0.6, 1), d.pick((2.0, 2.0, 5.0)))
    body = middle.abs() - thick
    if d.flag(0.25):
        angle = torch.atan2(c.y, c.x)
        body = sd.intersection(body, (angle.abs() - d.uniform(1.2, 3.0)) * 0.6)  # an arc
    c.paint(body, c.material(), roundness=thick)
    if d.flag(0.5):
        decorate(c, body)


def holed(c: Canvas) -> None:
    """A plate with several holes: a button, a bracket, cheese, a mask."""
    c.place((0.5, 0.95), turn=math.pi, squash=0.3)
    d = c.rng
    body = sd.radial(c.x, c.y, random_harmonics(c, 0.12, 4), 0.85)
    if d.flag(0.5):
        body = sd.box(c.x, c.y, d.uniform(0.5, 0.95), d.uniform(0.4, 0.8), d.uniform(0.02, 0.3))
    for _ in range(d.integer(1, 6)):
        hole = sd.ellipse(
            c.x - d.uniform(-0.55, 0.55), c.y - d.uniform(-0.5, 0.5), d.uniform(0.06, 0.26), d.uniform(0.06, 0.26)
        )
        body = sd.difference(body, hole)
    c.paint(body, c.material(), roundness=d.uniform(0.04, 0.2))
    decorate(c, body, 2)


def gear(c: Canvas) -> None:
    """A toothed wheel with a bore and windows."""
    c.place((0.45, 0.95), turn=math.pi, squash=0.3)
    d = c.rng
    teeth = d.integer(7, 22)
    u, v = sd.sector(c.x, c.y, teeth)
    body = sd.circle(c.x, c.y, 0.78)
    tooth = sd.box(u - 0.8, v, 0.15, 0.9 / teeth * d.uniform(1.2, 2.0), 0.02)
    body = sd.union(body, tooth)
    body = sd.difference(body, sd.circle(c.x, c.y, d.uniform(0.08, 0.3)))
    if d.flag(0.6):
        u, v = sd.sector(c.x, c.y, d.integer(3, 6))
        body = sd.difference(body, sd.circle(u - 0.5, v, d.uniform(0.08, 0.17)))
    c.paint(body, c.material(d.pick(("metal", "paint", None))), roundness=d.uniform(0.04, 0.15))


def coins(c: Canvas) -> None:
    """Many equal things, scattered or in rows: coins, buttons, biscuits, pills."""
    c.place((0.75, 1.1), turn=0.4, spread=0.1, wobble=0.01)
    d = c.rng
    rows, columns = d.integer(2, 5), d.integer(2, 6)
    stray = d.structure.choice((0.03, 0.1, 0.22))
    shape = d.pick(("disc", "disc", "disc", "box", "bean"))
    materials = [c.material(d.pick(("metal", "food", "paint", None)), free=False) for _ in range(d.integer(1, 3))]
    cell = min(2.0 / rows, 2.0 / columns)
    radius = d.uniform(0.26, 0.44)
    for i in range(rows):
        for j in range(columns):
            x = c.x - ((j + 0.5) * 2 / columns - 1 + cell * d.uniform(-stray, stray))
            y = c.y - ((i + 0.5) * 2 / rows - 1 + cell * d.uniform(-stray, stray))
            r = cell * radius * d.uniform(0.75, 1.1)
            m = materials[(i * columns + j) % len(materials)]
            if shape == "disc":
                body = sd.circle(x, y, r)
            else:
                u, v = sd.rotate(x, y, d.uniform(0, 3.14))
                body = sd.box(u, v, r, r * 0.7, r * 0.2) if shape == "box" else sd.ellipse(u, v, r * 1.15, r * 0.65)
            c.paint(body, m, roundness=r * d.pick((0.3, 0.9)), visible=d.coin(0.95))
            if i + j < 4 or d.flag(0.3):
                c.mark((body + r * 0.3).abs() - r * 0.06, m, visible=d.coin(0.6))


def fruit(c: Canvas) -> None:
    """A heap of fruit with stems and leaves."""
    c.place((0.5, 0.95), turn=0.5)
    d = c.rng
    tone = d.pick(("food", "food", None))
    count = d.integer(1, 6)
    for k in range(count):
        r = d.uniform(0.3, 0.5) * (1.6 if count == 1 else 1)
        x = c.x - (d.uniform(-0.45, 0.45) if count > 1 else 0)
        y = c.y - (0.5 - 0.8 * (1 - k / count) * d.uniform(0.2, 1) if count > 1 else 0.1)
        u, v = sd.rotate(x, y, d.uniform(-0.5, 0.5))
        stem = sd.capsule(u, v, (0.0, -r * 0.7), (r * d.uniform(-0.3, 0.3), -r * 1.3), 0.03)
        c.paint(stem, c.material("wood"), roundness=0.03, visible=d.coin(0.5))
        body = sd.radial(u, v, [(1, d.uniform(-0.12, 0.12), 1.57), (2, d.uniform(-0.15, 0.15), 0.0)], r)
        c.paint(body, c.material(tone, gloss=d.pick((0.0, 0.3, 0.5))), roundness=r)
    if d.flag(0.4):
        long = d.many(2, 0.2, 0.4)
        leaf = sd.leaves(
            c.x, c.y + 0.5, d.many(2, -0.3, 0.3), d.many(2, -0.2, 0.1), d.many(2, -2, 1), long, long * 0.35
        )
        c.paint(leaf, c.material("plant"), roundness=0.1)


def crate(c: Canvas) -> None:
    """A box in perspective: three faces of different brightness, with labels."""
    c.place((0.5, 1.0), turn=0.2, squash=0.2)
    d = c.rng
    m = c.material(d.pick(("wood", "paint", "cloth", "light", None)))
    edge, top = d.uniform(-0.4, 0.4), d.uniform(0.1, 0.4)
    left, right, height = d.uniform(0.5, 0.8), d.uniform(0.5, 0.8), d.uniform(0.5, 0.95)
    lift = top * 0.6
    front = (edge, 1.0 - height + top - 0.3)
    a, b = (edge - left, front[1] - lift), (edge + right, front[1] - lift * d.uniform(0.6, 1.2))
    back = (a[0] + b[0] - edge, a[1] + b[1] - front[1])
    faces = [
        ([a, front, (front[0], front[1] + height), (a[0], a[1] + height * 0.93)], d.uniform(0.45, 1.1)),
        ([front, b, (b[0], b[1] + height * 0.93), (front[0], front[1] + height)], d.uniform(0.45, 1.1)),
        ([a, back, b, front], d.uniform(0.9, 1.4)),
    ]
    whole = sd.union(*[sd.convex(c.x, c.y, points) for points, _ in faces])
    c.paint(whole - 0.5 * c.pixel, m, shaded=False)  # one body, as the joints of the faces would show in the mask
    for points, light in faces:
        face = sd.convex(c.x, c.y, points)
        side = c.material(free=True) if d.flag(0.15) else m
        shade = type(m)(
            side.base * light[:, None], side.other * light[:, None], side.pattern, side.grain, 0.0, side.scale
        )
        c.mark(face, shade)
        if d.flag(0.5):
            mid = [sum(p[i] for p in points) / 4 for i in (0, 1)]
            label = sd.box(c.x - mid[0], c.y - mid[1], d.uniform(0.05, 0.25), d.uniform(0.05, 0.15))
            c.mark(sd.intersection(label, face + 0.02), c.material(free=True))


def turned(c: Canvas) -> None:
    """A solid of revolution standing upright: vase, bottle, lamp foot, chess piece, pillar."""
    c.place((0.55, 0.98), turn=0.15, spread=0.2, wobble=0.01)
    d = c.rng
    half = 0.12
    knots = d.integer(4, 7)
    table = torch.rand(d.n, 1, knots, generator=d.generator, device=d.device) * 0.42 + half  # (n, 1, knots)
    profile = torch.nn.functional.interpolate(table, size=64, mode="linear", align_corners=True)[:, 0]
    profile = (
        torch.nn.functional.avg_pool1d(profile[:, None], 9, 1, 4, count_include_pad=False)[:, 0]
        if d.flag(0.7)
        else profile
    )
    place = ((c.y + 1) * 31.5).clamp(0, 63)
    low = place.floor().long().clamp(max=62)
    rows = torch.arange(d.n, device=d.device)[:, None, None]
    share = place - low
    wide = profile[rows, low] * (1 - share) + profile[rows, low + 1] * share  # (n, H, W)
    body = sd.intersection((c.x.abs() - wide) * 0.85, c.y.abs() - 0.95)
    m = c.material(d.pick(("stone", "wood", "paint", "metal", None)))
    c.paint(body, m, roundness=wide, relief=(c.x.abs() - wide) * 0.95)
    for _ in range(d.integer(0, 4)):
        low_edge = d.uniform(-0.9, 0.8)
        band = sd.intersection((c.y + 0.15 * c.x * c.x - low_edge).abs() - d.uniform(0.03, 0.25), body + 0.003)
        c.paint(band, c.material(free=True), roundness=wide, contact=0, relief=c.x.abs() - wide)
