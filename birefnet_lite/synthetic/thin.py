"""Object families of thin structures: wires, spokes, hair, branches. Each function draws one family on a canvas."""

import math

import torch

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas


def thin_width(c: Canvas, low: float, high: float):
    """Random half width of a thin part, (n, 1, 1), smaller for harder scenes."""
    return c.rng.uniform(low, high) * (1.7 - c.hardness)


def wire(c: Canvas) -> None:
    """One to three smooth curves, open or closed."""
    c.place((0.5, 0.95), turn=math.pi, spread=0.15)
    d = c.rng
    for _ in range(d.integer(1, 3)):
        closed = d.flag(0.5)
        count = 26
        ends = torch.linspace(0, 2 * math.pi if closed else d.structure.uniform(2, 5), count + 1, device=d.device)
        t = ends.view(1, -1, 1, 1)
        px = py = torch.zeros((), device=d.device)
        for k in (1, 2, 3):
            size = 0.75 / k**1.3
            px = px + d.normal(0, size)[:, None] * (k * t + d.uniform(0, 6.3)[:, None]).sin()
            py = py + d.normal(0, size)[:, None] * (k * t + d.uniform(0, 6.3)[:, None]).sin()
        px, py = px.clamp(-1.3, 1.3), py.clamp(-1.3, 1.3)
        width = thin_width(c, 0.02, 0.06)[:, None].expand(-1, count, -1, -1)
        line = sd.strokes(c.x, c.y, px[:, :-1], py[:, :-1], px[:, 1:], py[:, 1:], width, width)
        c.paint(line, c.material(d.pick((None, "metal", "cloth"))), roundness=0.04)


def wheel(c: Canvas) -> None:
    """A wheel with spokes, hub and tyre, seen at a slant."""
    c.place((0.5, 0.95), turn=math.pi, squash=0.35)
    d = c.rng
    u, v = sd.sector(c.x, c.y, d.integer(4, 28))
    spoke = sd.capsule(u, v, (0.05, d.uniform(-0.06, 0.06)), (0.9, 0.0), thin_width(c, 0.008, 0.03))
    c.paint(spoke, c.material("metal"), roundness=0.03)
    r = sd.length(c.x, c.y)
    rim = thin_width(c, 0.02, 0.05)
    c.paint((r - 0.86).abs() - rim, c.material(d.pick(("metal", "wood"))), roundness=0.05)
    c.paint(
        (r - 0.93).abs() - d.uniform(0.03, 0.1), c.material(d.pick(("dark", None))), roundness=0.08, visible=d.coin(0.7)
    )
    c.paint(r - d.uniform(0.06, 0.18), c.material("metal"), roundness=0.1)


def tuft(c: Canvas) -> None:
    """Hair, grass or bristles growing from a base."""
    c.place((0.6, 1.0), turn=0.4, spread=0.15, at=(0.0, 0.05))
    d = c.rng
    tone = d.pick(("plant", "hair", "fur", None))
    fan = d.structure.uniform(0.3, 1.3)
    for _ in range(3):
        count = d.integer(6, 14)
        start = d.many(count, -0.35, 0.35)
        lean = start * 2 * fan + d.many(count, -0.35, 0.35)
        size = d.many(count, 0.8, 1.7)
        ends = (start + size * lean.sin(), 0.85 - size * lean.cos())
        width = d.many(count, 0.012, 0.045) * (1.7 - c.hardness)
        blades = sd.strokes(
            c.x, c.y, start, torch.full_like(start, 0.85), *ends, width, width * 0.2, d.many(count, -0.2, 0.2)
        )
        c.paint(blades, c.material(tone), roundness=0.06)


def ladder(c: Canvas) -> None:
    """Two rails and their rungs, narrower at the far end."""
    c.place((0.7, 1.1), turn=0.6)
    d = c.rng
    top = d.uniform(0.12, 0.34)
    bottom = d.uniform(0.22, 0.42)
    width = thin_width(c, 0.02, 0.05)
    metal = c.material(d.pick(("wood", "metal", "paint")))
    count = d.integer(4, 10)
    for i in range(count):
        y = -0.8 + 1.6 * i / (count - 1)
        half = top + (bottom - top) * (y + 1) / 2
        c.paint(sd.capsule(c.x, c.y, (-half, y), (half, y), width * 0.75), metal, roundness=0.04)
    for side in (-1, 1):
        rail = sd.capsule(c.x, c.y, (side * top, -1.0), (side * bottom, 1.0), width)
        c.paint(rail, metal, roundness=0.05)


def lattice(c: Canvas) -> None:
    """A grille: crossing bars in a frame, sometimes on legs."""
    c.place((0.6, 1.0), turn=0.3, squash=0.3, slant=0.25)
    d = c.rng
    half = (d.uniform(0.6, 0.95), d.uniform(0.5, 0.8))
    u, v = sd.rotate(c.x, c.y, math.pi / 4 if d.flag(0.3) else 0.0)
    width = thin_width(c, 0.012, 0.04)
    grid = sd.bars(u, d.uniform(0.16, 0.4), width)
    if d.flag(0.75):
        grid = sd.union(grid, sd.bars(v, d.uniform(0.16, 0.5), width))
    outline = sd.box(c.x, c.y, half[0], half[1], 0.05 if d.flag(0.5) else half[1] * 0.9)
    m = c.material(d.pick(("metal", "wood", "paint", None)))
    c.paint(sd.intersection(grid, outline), m, roundness=0.04)
    c.paint(outline.abs() - width * d.uniform(1, 2), m, roundness=0.05)
    if d.flag(0.3):
        for side in (-1, 1):
            foot = sd.capsule(
                c.x, c.y, (side * half[0] * 0.8, half[1]), (side * half[0] * 0.9, half[1] + 0.3), width * 1.6
            )
            c.paint(foot, m, roundness=0.05)


def branch(c: Canvas) -> None:
    """A branching stem with leaves, or a bare tree."""
    c.place((0.7, 1.1), turn=0.5, at=(0.0, 0.0), spread=0.15)
    d = c.rng
    ax, ay = torch.zeros(d.n, 1, 1, 1, device=d.device), torch.full((d.n, 1, 1, 1), 1.0, device=d.device)
    heading = d.many(1, -0.25, 0.25)
    size, width = d.many(1, 0.7, 0.95), (thin_width(c, 0.03, 0.08))[:, None]
    m = c.material(d.pick(("wood", "plant")))
    sticks = []
    tips = (ax, ay, heading)
    for level in range(d.integer(2, 3) + 1):
        bx, by = ax + size * heading.sin(), ay - size * heading.cos()
        sticks.append((ax, ay, bx, by, width, width * 0.65, torch.zeros_like(ax)))
        tips = (bx, by, heading)
        children = d.integer(2, 3) if level < 2 else 2
        spread = torch.cat([d.many(ax.shape[1], 0.25, 0.8) * (2 * i / (children - 1) - 1) for i in range(children)], 1)
        along = torch.cat([d.many(ax.shape[1], 0.55, 1.0) for _ in range(children)], 1)
        repeat = [t.repeat(1, children, 1, 1) for t in (ax, ay, bx, by, heading, size, width)]
        ax = repeat[0] + (repeat[2] - repeat[0]) * along
        ay = repeat[1] + (repeat[3] - repeat[1]) * along
        heading = repeat[4] + spread
        size = repeat[5] * d.many(ax.shape[1], 0.5, 0.8)
        width = repeat[6] * 0.62
    parts = [torch.cat(p, 1) for p in zip(*sticks, strict=True)]
    c.paint(sd.strokes(c.x, c.y, *parts), m, roundness=0.06)
    if d.flag(0.75):
        for _ in range(2):
            count = tips[0].shape[1]
            angle = tips[2] - math.pi / 2 + d.many(count, -0.8, 0.8)
            long = d.many(1, 0.1, 0.26) * d.many(count, 0.7, 1.2)
            leaf = sd.leaves(
                c.x,
                c.y,
                tips[0] + long * angle.cos(),
                tips[1] + long * angle.sin(),
                angle,
                long,
                long * d.many(1, 0.2, 0.55),
            )
            c.paint(leaf, c.material(d.pick(("plant", "plant", None))), roundness=0.08)


def net(c: Canvas) -> None:
    """A curved mesh, as of a racket, hammock or fishing net."""
    c.place((0.6, 1.0), turn=math.pi, squash=0.3)
    d = c.rng
    outline = sd.radial(
        c.x, c.y, [(2, d.uniform(0, 0.2), d.uniform(0, 6)), (3, d.uniform(0, 0.12), d.uniform(0, 6))], 0.8
    )
    bend = d.uniform(-0.4, 0.4)
    u, v = c.x + bend * c.y * c.y, c.y + bend * c.x * c.x
    width = thin_width(c, 0.008, 0.025)
    spacing = d.uniform(0.12, 0.28)
    mesh = sd.union(sd.bars(u + v, spacing, width), sd.bars(u - v, spacing, width))
    c.paint(sd.intersection(mesh, outline), c.material(), roundness=0.03)
    c.paint(outline.abs() - thin_width(c, 0.015, 0.05), c.material(), roundness=0.06, visible=d.coin(0.8))


def chair(c: Canvas) -> None:
    """Seat, back and legs of a chair, a stool or a table."""
    c.place((0.6, 0.95), turn=0.12, spread=0.15)
    d = c.rng
    width = thin_width(c, 0.025, 0.05)
    wood = c.material(d.pick(("wood", "metal", "paint", "cloth")))
    seat_y, deep, shift = d.uniform(0.0, 0.2), d.uniform(0.08, 0.25), d.uniform(-0.2, 0.2)
    half = d.uniform(0.4, 0.62)
    back_y = seat_y - deep
    corners = [
        (-half, seat_y + deep),
        (half, seat_y + deep),
        (half * 0.85 + shift, back_y),
        (-half * 0.85 + shift, back_y),
    ]
    splay = d.uniform(0, 0.12)
    for (px, py), foot in zip(corners, (1.0, 1.0, 0.8, 0.8), strict=True):
        out = splay * (px / half)
        c.paint(sd.capsule(c.x, c.y, (px, py), (px + out, foot), width, width * 0.8), wood, roundness=0.05)
    if d.flag(0.7):
        left, right = corners[3], corners[2]
        top = d.uniform(-1.0, -0.75)
        slats = d.integer(2, 6)
        for k in range(slats):
            t = k / slats
            px = left[0] + (right[0] - left[0]) * t
            c.paint(
                sd.capsule(c.x, c.y, (px, back_y), (px, top), width * (1 if k in (0,) else 0.6)), wood, roundness=0.04
            )
        c.paint(sd.capsule(c.x, c.y, (right[0], back_y), (right[0], top), width), wood, roundness=0.05)
        c.paint(sd.capsule(c.x, c.y, (left[0], top), (right[0], top), width * d.uniform(1, 3)), wood, roundness=0.08)
    seat = sd.convex(c.x, c.y, [corners[3], corners[2], corners[1], corners[0]], 0.03)
    c.paint(seat, c.material(d.pick(("wood", "cloth", "paint"))), roundness=0.1)
    edge = sd.capsule(c.x, c.y, corners[0], corners[1], width * 1.2)
    c.paint(edge, wood, roundness=0.06)


def insect(c: Canvas) -> None:
    """Body segments, jointed legs and feelers of an insect or a spider."""
    c.place((0.5, 0.95), turn=math.pi, spread=0.2)
    d = c.rng
    skin = c.material(d.pick(("dark", "plant", "fur", None)))
    width = thin_width(c, 0.012, 0.03)
    pairs = d.integer(3, 4)
    for i in range(pairs):
        y0 = -0.25 + 0.4 * i / pairs
        out, down = d.uniform(0.3, 0.5), (i - (pairs - 1) / 2) * 0.35
        for side in (-1, 1):
            knee = (side * out, y0 + down * 0.5 + d.uniform(-0.1, 0.1))
            foot = (side * (out + d.uniform(0.2, 0.4)), y0 + down * 1.6 + d.uniform(-0.1, 0.15))
            leg = sd.polyline(c.x, c.y, [(0.0, y0), knee, foot], [width * 1.4, width, width * 0.6])
            c.paint(leg, skin, roundness=0.04)
    feelers = d.coin(0.6)
    for side in (-1, 1):
        tip = (side * d.uniform(0.1, 0.4), d.uniform(-0.95, -0.7))
        c.paint(
            sd.capsule(c.x, c.y, (0.0, -0.5), tip, width * 0.6),
            skin,
            visible=feelers,
            roundness=0.03,
        )
    c.paint(sd.ellipse(c.x, c.y - 0.35, d.uniform(0.14, 0.34), d.uniform(0.3, 0.5)), c.material(None), roundness=0.25)
    c.paint(sd.ellipse(c.x, c.y + 0.1, d.uniform(0.1, 0.22), 0.2), skin, roundness=0.18)
    c.paint(sd.circle(c.x, c.y + 0.42, d.uniform(0.09, 0.16)), skin, roundness=0.14)
