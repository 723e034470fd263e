"""Object families of household things: plants, bags, lamps, sofas. Each function draws one family on a canvas."""

import math

import torch

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.solid import decorate


def plant(c: Canvas) -> None:
    """A plant or bunch of flowers in a pot or vase."""
    c.place((0.65, 1.05), turn=0.1, squash=0.2)
    d = c.rng
    for _ in range(d.integer(1, 3)):
        count = d.integer(5, 11)
        angle = -math.pi / 2 + d.many(count, -1.3, 1.3)
        size = d.many(count, 0.5, 1.25)
        tip = (size * angle.cos() * 0.8, 0.3 + size * angle.sin())
        base = torch.zeros_like(angle)
        width = torch.full_like(angle, 0.016)
        stems = sd.strokes(c.x, c.y, base, base + 0.35, *tip, width, width, d.many(count, -0.15, 0.15))
        c.paint(stems, c.material("plant"), roundness=0.03)
        long = d.many(1, 0.15, 0.4) * d.many(count, 0.7, 1.2)
        turn = angle + d.many(count, -0.7, 0.7)
        c.paint(
            sd.leaves(c.x, c.y, *tip, turn, long, long * d.many(1, 0.2, 0.6)),
            c.material(d.pick(("plant", "plant", None))),
            roundness=0.1,
        )
    top, bottom = d.uniform(0.2, 0.42), d.uniform(0.15, 0.32)
    pot = sd.convex(c.x, c.y, [(-top, 0.3), (top, 0.3), (bottom, 0.98), (-bottom, 0.98)], 0.02)
    m = c.material(d.pick(("wood", "stone", "paint", "light")))
    c.paint(pot, m, roundness=0.35, relief=c.x.abs() - (top + bottom) / 2)
    c.paint(sd.box(c.x, c.y - 0.33, top + 0.04, 0.06, 0.01), m, roundness=0.1, visible=d.coin(0.5))


def bag(c: Canvas) -> None:
    """A bag, case or backpack: body, flap, handle, straps, buckles."""
    c.place((0.55, 1.0), turn=0.2, squash=0.2)
    d = c.rng
    m = c.material(d.pick(("cloth", "wood", "paint", None)))
    half = (d.uniform(0.45, 0.8), d.uniform(0.4, 0.65))
    strap = c.material(d.pick(("dark", "wood", "cloth")))
    arch = sd.ellipse(c.x, c.y + half[1] - 0.2, half[0] * d.uniform(0.4, 0.8), d.uniform(0.25, 0.55)).abs() - d.uniform(
        0.025, 0.06
    )
    c.paint(arch, strap, roundness=0.05)
    body = sd.box(c.x * (1 + 0.15 * d.uniform(-1, 1) * c.y), c.y - 0.2, half[0], half[1], d.uniform(0.05, 0.3))
    c.paint(body, m, roundness=d.uniform(0.1, 0.4))
    flap = sd.intersection(body + 0.02, c.y - d.uniform(-0.1, 0.25))
    c.paint(flap, m if d.flag(0.5) else c.material(), roundness=0.15, visible=d.coin(0.7))
    pocket = sd.box(c.x - d.uniform(-0.2, 0.2), c.y - 0.45, d.uniform(0.15, 0.4), 0.17, 0.04)
    c.mark(sd.intersection(pocket, body + 0.04), c.material("cloth", free=True), visible=d.coin(0.6))
    for side in (-1, 1):
        c.mark(
            sd.intersection((c.x - side * half[0] * 0.5).abs() - d.uniform(0.02, 0.07), body),
            strap,
            visible=d.coin(0.6),
        )
        c.mark(
            sd.box(c.x - side * half[0] * 0.5, c.y - 0.3, 0.06, 0.05),
            c.material("metal", free=True),
            visible=d.coin(0.5),
        )


def lamp(c: Canvas) -> None:
    """A lamp on a jointed arm or a stand, with foot and shade."""
    c.place((0.6, 0.98), turn=0.12, spread=0.2)
    d = c.rng
    metal = c.material(d.pick(("metal", "paint", "dark")))
    bar = d.uniform(0.025, 0.045)
    elbow = (d.uniform(-0.5, -0.1), d.uniform(-0.2, 0.1))
    head = (d.uniform(-0.05, 0.4), d.uniform(-0.75, -0.45))
    c.paint(sd.polyline(c.x, c.y, [(0.0, 0.9), elbow, head], [bar, bar, bar]), metal, roundness=0.04)
    c.paint(sd.circle(c.x - elbow[0], c.y - elbow[1], 0.06), metal, roundness=0.05)
    c.paint(sd.ellipse(c.x, c.y - 0.92, d.uniform(0.25, 0.45), 0.08), metal, roundness=0.08)
    u, v = sd.rotate(c.x - head[0], c.y - head[1], d.uniform(-0.9, 0.3))
    top, bottom, high = d.uniform(0.06, 0.2), d.uniform(0.25, 0.4), d.uniform(0.12, 0.22)
    shade = sd.convex(u, v, [(-top, -high), (top, -high), (bottom, high), (-bottom, high)], 0.02)
    c.paint(shade, c.material(d.pick(("paint", "cloth", "light", "metal"))), roundness=0.3)
    c.mark(sd.ellipse(u, v - high, bottom * 0.9, 0.05), c.material("light", "plain", 0.0, free=True))


def tripod(c: Canvas) -> None:
    """An instrument on three legs: camera, telescope, easel, lamp."""
    c.place((0.65, 1.0), turn=0.12, spread=0.25)
    d = c.rng
    leg = d.uniform(0.018, 0.04) * (1.6 - c.hardness)
    m = c.material(d.pick(("wood", "metal", "dark")))
    top = -0.25
    for px in (-0.45, 0.05, 0.5):
        c.paint(
            sd.capsule(c.x, c.y, (px * 0.1, top), (px + d.uniform(-0.12, 0.12), 1.0), leg * 1.3, leg),
            m,
            roundness=0.04,
        )
    c.paint(sd.box(c.x, c.y - top, 0.1, 0.08, 0.03), m, roundness=0.06)
    half = (d.uniform(0.2, 0.42), d.uniform(0.15, 0.3))
    head = sd.box(*sd.rotate(c.x, c.y - top + half[1], d.uniform(-0.15, 0.15)), *half, 0.04)
    c.paint(head, c.material(d.pick(("dark", "metal", "paint"))), roundness=0.12)
    barrel = d.uniform(0.08, 0.16)
    reach = half[0] + d.uniform(0.05, 0.4)
    c.paint(
        sd.capsule(
            c.x, c.y, (half[0], top - half[1]), (reach, top - half[1] - d.uniform(-0.1, 0.1)), barrel * 0.8, barrel
        ),
        c.material("dark"),
        roundness=0.1,
    )
    decorate(c, head, 2)


def sofa(c: Canvas) -> None:
    """A sofa, armchair or bed: seat, back, arms, cushions, feet."""
    c.place((0.65, 1.1), turn=0.08, squash=0.25, spread=0.2)
    d = c.rng
    m = c.material(d.pick(("cloth", "wood", "paint")))
    wide, high = d.uniform(0.55, 0.95), d.uniform(0.3, 0.6)
    for side in (-1, 1):
        foot = sd.capsule(c.x, c.y, (side * wide * 0.85, 0.4), (side * wide * 0.88, 0.62), 0.035)
        c.paint(foot, c.material("wood"), roundness=0.04)
    c.paint(sd.box(c.x, c.y + high * 0.4, wide * 0.92, high * 0.75, 0.1), m, roundness=0.2)
    c.paint(sd.box(c.x, c.y - 0.28, wide * 0.95, 0.2, 0.06), m, roundness=0.12, contact=0.5)
    seats = d.integer(1, 3)
    for k in range(seats):
        x = c.x - wide * 0.8 * (2 * (k + 0.5) / seats - 1)
        c.paint(sd.box(x, c.y - 0.1, wide * 0.78 / seats, 0.09, 0.05), m, roundness=0.1, contact=0.5)
        if d.flag(0.4):
            u, v = sd.rotate(x, c.y + 0.12, d.uniform(-0.6, 0.6))
            c.paint(sd.superellipse(u, v, 0.17, 0.15, 3.0), c.material("cloth"), roundness=0.15, contact=0.5)
    for side in (-1, 1):
        arm = sd.box(c.x - side * wide, c.y - 0.12, d.uniform(0.08, 0.15), d.uniform(0.25, 0.36), 0.08)
        c.paint(arm, m, roundness=0.12, contact=0.5)


def glasses(c: Canvas) -> None:
    """Spectacles, goggles or scissors: two connected rings."""
    c.place((0.6, 1.0), turn=0.8, squash=0.35, slant=0.2)
    d = c.rng
    m = c.material(d.pick(("dark", "metal", "paint", None)))
    thin = d.uniform(0.02, 0.06) * (1.5 - c.hardness)
    half = d.uniform(0.3, 0.4)
    lens = sd.superellipse(c.x.abs() - 0.48, c.y, half, half * d.uniform(0.6, 1), d.uniform(1.8, 4))
    if d.flag(0.4):
        c.paint(lens, c.material(d.pick(("dark", "sky"))), roundness=0.3)
    c.paint(lens.abs() - thin, m, roundness=0.05)
    bridge = sd.capsule(c.x.abs(), c.y, (0.0, -0.1), (0.5 - half, 0.0), thin)
    c.paint(bridge, m, roundness=0.05)
    away = (0.48 + half + d.uniform(-0.3, 0.2), -d.uniform(0.3, 0.9))
    c.paint(sd.capsule(c.x.abs(), c.y, (0.46 + half, 0.0), away, thin, thin * 0.8), m, roundness=0.05)
