"""Object families of tools, imaginary machines and large bodies. Each function draws one family on a canvas."""

import math

import torch

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.solid import decorate


def tool(c: Canvas) -> None:
    """A handle with a head: hammer, spoon, brush, knife, racket, guitar."""
    c.place((0.6, 1.05), turn=math.pi, squash=0.1, spread=0.15)
    d = c.rng
    handle = sd.capsule(c.x, c.y, (0.0, -0.35), (0.0, 0.98), d.uniform(0.03, 0.07), d.uniform(0.04, 0.11))
    c.paint(handle, c.material(d.pick(("wood", "paint", "dark"))), roundness=0.1)
    head = c.material(d.pick(("metal", "wood", "paint", None)))
    kind = d.pick(("block", "oval", "blade", "body", "fork", "hoop"))
    if kind == "block":
        shape = sd.box(c.x - d.uniform(-0.15, 0.15), c.y + 0.55, d.uniform(0.25, 0.5), d.uniform(0.1, 0.22), 0.04)
    elif kind == "oval":
        shape = sd.ellipse(c.x, c.y + 0.6, d.uniform(0.18, 0.4), d.uniform(0.28, 0.4))
    elif kind == "blade":
        shape = sd.convex(
            c.x,
            c.y,
            [
                (-0.1, -0.3),
                (-0.08, -0.95),
                (d.uniform(0.0, 0.3), -0.9),
                (0.12, -0.3),
            ],
            0.01,
        )
    elif kind == "body":
        shape = sd.smooth_union(
            sd.circle(c.x, c.y + 0.6, d.uniform(0.28, 0.42)), sd.circle(c.x, c.y + 0.15, d.uniform(0.2, 0.34)), 0.1
        )
    elif kind == "fork":
        shape = sd.intersection(sd.bars(c.x, 0.14, 0.03), sd.box(c.x, c.y + 0.65, 0.3, 0.33, 0.02))
        shape = sd.union(shape, sd.box(c.x, c.y + 0.36, 0.3, 0.06, 0.02))
    else:
        hoop = sd.ellipse(c.x, c.y + 0.6, 0.3, 0.4)
        strings = sd.intersection(sd.union(sd.bars(c.x, 0.09, 0.008), sd.bars(c.y, 0.09, 0.008)), hoop)
        c.paint(strings, c.material("light"), roundness=0.02)
        shape = hoop.abs() - 0.035
    c.paint(shape, head, roundness=d.uniform(0.08, 0.25))
    if kind in ("body", "oval", "block"):
        decorate(c, shape, 2)


def assembly(c: Canvas) -> None:
    """An imaginary machine: many connected parts of many materials, often mirrored."""
    c.place((0.55, 1.05), turn=math.pi, squash=0.3)
    build(c, c.rng.integer(3, 9))


def build(c: Canvas, count: int) -> None:
    """Paint an object of random parts, each on the outline of an earlier one, so that all are connected."""
    d = c.rng
    mirrored = d.flag(0.5)
    materials = [c.material() for _ in range(d.integer(2, 4))]
    centres = [(d.uniform(-0.1, 0.1) + 0.0, d.uniform(-0.1, 0.1))]
    for k in range(count):
        x = c.x.abs() if mirrored and k else c.x
        if k:
            angle, base = d.uniform(-math.pi, math.pi), centres[d.integer(0, len(centres) - 1)]
            step = d.uniform(0.2, 0.45)
            centres.append(
                ((base[0] + step * angle.cos()).clamp(-0.75, 0.75), (base[1] + step * angle.sin()).clamp(-0.75, 0.75))
            )
        cx, cy = centres[-1]
        u, v = sd.rotate(x - cx, c.y - cy, d.uniform(-math.pi, math.pi))
        size = 0.42 if k == 0 else 0.32
        kind = d.pick(("box", "oval", "bar", "ring", "lump", "wedge"))
        if kind == "box":
            part = sd.box(u, v, d.uniform(0.3, 1) * size, d.uniform(0.3, 1) * size, 0.03)
        elif kind == "oval":
            part = sd.ellipse(u, v, d.uniform(0.4, 1.1) * size, d.uniform(0.4, 1) * size)
        elif kind == "bar":
            part = sd.capsule(u, v, (-size * 1.3, 0.0), (size * 1.3, 0.0), d.uniform(0.03, 0.13), d.uniform(0.03, 0.13))
        elif kind == "ring":
            part = (sd.ellipse(u, v, size, size * d.uniform(0.6, 1))).abs() - d.uniform(0.04, 0.12)
        elif kind == "lump":
            part = sd.radial(
                u, v, [(2, d.uniform(0, 0.25), d.uniform(0, 6)), (3, d.uniform(0, 0.15), d.uniform(0, 6))], size
            )
        else:
            part = sd.convex(
                u,
                v,
                [
                    (-size, -size * 0.7),
                    (size, -size * d.uniform(0.1, 0.7)),
                    (size * d.uniform(0.3, 1), size),
                    (-size * 0.6, size),
                ],
            )
        if d.flag(0.12):
            part = sd.difference(part, sd.circle(u, v, size * 0.35))
        c.paint(part, d.pick(materials), roundness=d.uniform(0.05, 0.35))


def big_machine(c: Canvas) -> None:
    """A large object of many parts, so close that the frame cuts it."""
    c.place((1.1, 1.9), turn=math.pi, spread=0.55, squash=0.3)
    build(c, c.rng.integer(6, 12))


def big_body(c: Canvas) -> None:
    """A large soft body that reaches in from the border: an arm, a trunk, a shoulder, folded cloth."""
    d = c.rng
    c.place((1.0, 1.6), turn=math.pi, at=(0.0, 0.0), spread=0.2, squash=0.3)
    tip = (d.uniform(-0.2, 0.2), d.uniform(-0.5, 0.0))
    trunk = sd.capsule(c.x, c.y, (d.uniform(-0.5, 0.5), 2.2), tip, d.uniform(0.5, 0.9), d.uniform(0.3, 0.5))
    main = c.material(d.pick(("cloth", "fur", "skin", None)))
    if d.flag(0.5):
        lump = sd.ellipse(
            c.x - tip[0] - d.uniform(-0.3, 0.3),
            c.y - tip[1] - d.uniform(0, 0.3),
            d.uniform(0.3, 0.6),
            d.uniform(0.25, 0.5),
        )
        trunk = sd.smooth_union(trunk, lump, 0.15)
    c.paint(trunk, main, roundness=d.uniform(0.3, 0.8), fuzz=d.pick((0.0, 0.03)))
    for _ in range(d.integer(1, 5)):
        x, y = sd.rotate(c.x - d.uniform(-0.5, 0.5), c.y - d.uniform(-0.4, 0.9), d.uniform(0, math.pi))
        zone = d.pick(("band", "oval", "half", "wave"))
        if zone == "band":
            area = y.abs() - d.uniform(0.05, 0.25)
        elif zone == "oval":
            area = sd.ellipse(x, y, d.uniform(0.1, 0.4), d.uniform(0.1, 0.4))
        elif zone == "half":
            area = y
        else:
            area = y + 0.15 * torch.sin(x * d.uniform(2, 8))
        c.mark(sd.intersection(area, trunk), c.material(free=True), soft=d.pick((1.0, 3.0)))
    if d.flag(0.5):
        part = sd.ellipse(c.x - tip[0], c.y - tip[1] + 0.25, d.uniform(0.15, 0.35), d.uniform(0.15, 0.4))
        c.paint(part, c.material(), roundness=0.25)
