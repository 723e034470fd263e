"""Object families of tableware: cups, bowls, plates, trays and stacks of them. Each function draws one family."""

import math

import torch
from torch import Tensor

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.materials import Material
from birefnet_lite.synthetic.solid import decorate


def cup(c: Canvas) -> None:
    """A cup, mug or pot from the side, with handle, rim and perhaps a saucer."""
    c.place((0.5, 0.95), turn=0.12, squash=0.25)
    d = c.rng
    m = c.material(d.pick(("light", "paint", "cloth", "stone")), gloss=d.pick((0.0, 0.3)))
    top, bottom, high = d.uniform(0.4, 0.6), d.uniform(0.25, 0.55), d.uniform(0.4, 0.7)
    tilt = d.uniform(0.08, 0.3)
    if d.flag(0.5):
        saucer = sd.ellipse(c.x, c.y - high, d.uniform(0.7, 1.0), tilt * 0.8 + 0.05)
        c.paint(saucer, m if d.flag(0.6) else c.material(), roundness=0.15)
    handle = (sd.ellipse(c.x - (top + bottom) / 2 - 0.05, c.y + 0.02, 0.25, high * 0.55)).abs() - d.uniform(0.04, 0.09)
    c.paint(handle, m, roundness=0.07, visible=d.coin(0.85))
    wall = sd.convex(c.x, c.y, [(-top, -high), (top, -high), (bottom, high), (-bottom, high)])
    body = sd.union(wall, sd.ellipse(c.x, c.y - high, bottom, tilt * bottom))
    half = (top + bottom) / 2 + (bottom - top) / 2 * c.y / high
    c.paint(body, m, roundness=half, relief=c.x.abs() - half)
    if d.flag(0.6):
        decorate(c, body, 3)
    rim = sd.ellipse(c.x, c.y + high, top, tilt * top)
    c.paint(rim, m, roundness=0.03)
    c.mark(rim + 0.05, c.material(d.pick(("food", "dark", "wood")), "gradient", free=True))
    if d.flag(0.3):  # a spoon or straw in it
        for _ in range(d.integer(1, 5)):
            tip = (d.uniform(-0.6, 0.6), -high - d.uniform(0.3, 0.6))
            c.paint(sd.capsule(c.x, c.y, (d.uniform(-0.2, 0.2), -high), tip, 0.03, d.uniform(0.02, 0.1)), c.material())


def tableware(c: Canvas) -> None:
    """Cups, bowls and jugs on a saucer, plate, tray or board, or food on it, seen at a slant, with cutlery."""
    d = c.rng
    c.place((0.5, 1.15), turn=d.pick((0.35, math.pi)), squash=0.05, wobble=0.005)
    tilt = d.uniform(0.4, 1.0)  # 1: straight from above
    x, y = c.x, c.y / tilt
    china = c.material(
        d.pick(("light", "paint", "food", "stone", None)), d.pick(("plain", "plain", "gradient", None)), 0.02
    )
    below = china if d.flag(0.65) else c.material()
    wide = d.uniform(0.6, 0.9)
    if d.flag(0.75):
        base = sd.circle(x, y, wide)
        ring, well = (sd.circle(x, y, wide * share).abs() for share in (0.93, 0.6))
    else:
        u, v = sd.rotate(x, y, d.uniform(-0.5, 0.5))
        base = sd.box(u, v, wide, wide * d.uniform(0.5, 0.9), d.uniform(0.02, 0.3))
        ring, well = (base + 0.06).abs(), (base + 0.2).abs()
    c.paint(base, below, roundness=d.uniform(0.05, 0.2))
    c.mark(ring - 0.015, c.material(free=True), visible=d.coin(0.4))
    c.mark(well - d.uniform(0.005, 0.03), c.material("stone", "plain", free=True), visible=d.coin(0.6))
    vessels = d.pick((0, 1, 2, 3), (3, 7, 1, 1))
    for k in range(vessels):
        turn, off = d.uniform(0, 2 * math.pi), (d.uniform(0, 0.15) if vessels == 1 else d.uniform(0.3, 0.4)) * wide
        turn = turn + 2 * math.pi * k / vessels
        size = wide * d.uniform(0.4, 0.7) / vessels**0.5
        vessel(c, x - off * turn.cos(), y - off * turn.sin(), size, china if d.flag(0.7) else c.material())
    for _ in range(0 if vessels else d.integer(1, 7)):
        u, v = sd.rotate(x - d.uniform(-0.35, 0.35), y - d.uniform(-0.35, 0.35), d.uniform(0, 3))
        morsel = sd.superellipse(u, v, d.uniform(0.08, 0.3), d.uniform(0.06, 0.25), 2.5)
        c.paint(morsel, c.material("food", free=True), roundness=0.15)
    if d.flag(0.6):
        u, v = sd.rotate(c.x - d.uniform(-0.4, 0.4), c.y - d.uniform(-0.2, 0.6) * wide, d.uniform(-2, 2))
        metal = c.material(d.pick(("metal", "metal", "wood")), "plain", 0.02, 0.5)
        c.paint(sd.capsule(u, v, (-0.25, 0.0), (0.6, 0.0), 0.025, 0.035), metal, roundness=0.04)
        c.paint(sd.ellipse(u + 0.35, v, 0.17, 0.1), metal, roundness=0.1)


def vessel(c: Canvas, x: Tensor, y: Tensor, size: Tensor, material: Material) -> None:
    """Paint a round vessel seen from above, with this radius of its opening; x, y are coordinates on the table."""
    d = c.rng
    lift = size * d.uniform(0.1, 1.6)  # how far the vessel's height moves its opening in the picture
    foot = size * d.uniform(0.5, 1.0)
    u, v = sd.rotate(x, y + 0.5 * lift, d.uniform(-math.pi, math.pi))
    grip = d.uniform(0.12, 0.3) * size
    bow = sd.ellipse(u - size, v, size * d.uniform(0.3, 0.6), grip).abs() - d.uniform(0.05, 0.12) * size
    c.paint(bow, material, roundness=0.07, visible=d.coin(0.7))
    wall = sd.capsule(x, y, (0.0, 0.0), (0.0, -lift), foot, size)
    half = torch.lerp(foot, size, (-y / lift).clamp(0, 1))
    c.paint(wall, material, roundness=half, relief=x.abs() - half, contact=0.5)
    if d.flag(0.3):
        decorate(c, wall, 2)
    mouth = sd.circle(x, y + lift, size)
    c.paint(mouth, material, roundness=0.04, contact=0)
    inside = c.material(d.pick(("light", "food", None)), "gradient", free=True) if d.flag(0.6) else material
    rim = mouth + size * d.uniform(0.03, 0.15)
    c.mark(rim, inside)
    if d.flag(0.75):
        low = d.uniform(0.0, 0.4) * size
        drink = sd.intersection(sd.circle(x, y + lift - low, size * d.uniform(0.7, 0.95)), rim)
        c.mark(drink, c.material(d.pick(("wood", "dark", "food")), other=d.pick(("light", "wood")), free=True))
