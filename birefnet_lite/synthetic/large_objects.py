"""Object families of buildings, trees and groups of objects. Each function draws one family on a canvas."""

from functools import reduce

import torch

from birefnet_lite.synthetic import figures, household, solid, tableware, thin, vehicles
from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas


def building(c: Canvas) -> None:
    """A house, temple, tower or church: storeys, roofs, doors, windows, columns."""
    c.place((0.65, 1.15), turn=0.05, squash=0.3, spread=0.2, wobble=0.01)
    d = c.rng
    wall = c.material(d.pick(("wall", "stone", "wood", "paint")))
    roof = c.material(d.pick(("stone", "wood", "paint", "dark")))
    dark = c.material(d.pick(("dark", "dark", "sky")), "plain", free=True)
    wide = d.uniform(0.4, 0.85)
    foot: sd.Number = 0.9
    storeys = d.integer(1, 4)
    tall = 1.4 / storeys
    eaves = d.uniform(0.0, 0.25)
    for k in range(storeys):
        top = foot - tall * (0.6 if storeys > 1 else 0.75)
        body = sd.box(c.x, c.y - (foot + top) / 2, wide, (foot - top) / 2 + 0.01)
        c.paint(body, wall, roundness=0.03)
        across = wide * 2 / d.integer(2, 6)
        kind = d.pick(("windows", "columns", "arches", "none"))
        middle = (foot + top) / 2
        if kind == "windows":
            pane = sd.intersection(sd.bars(c.x, across, across * 0.25), (c.y - middle).abs() - tall * 0.14)
            c.mark(sd.intersection(pane, body + 0.03), dark)
        elif kind == "columns":
            c.mark(sd.intersection(sd.bars(c.x, across * 0.6, across * 0.18), body + 0.04), dark)
        elif kind == "arches":
            arch = sd.capsule(torch.remainder(c.x, across) - across / 2, c.y, (0.0, foot), (0.0, middle), across * 0.3)
            c.mark(sd.intersection(arch, body + 0.02), dark)
        peak = top - tall * (d.uniform(0.25, 0.45) if k < storeys - 1 else d.uniform(0.15, 0.8))
        flat = wide * (0.6 if k < storeys - 1 else d.uniform(0.0, 0.7))
        edge = wide + eaves
        cap = sd.convex(c.x, c.y, [(-edge, top + 0.02), (edge, top + 0.02), (flat, peak), (-flat, peak)])
        c.paint(cap, roof, roundness=0.15)
        wide, foot = wide * d.uniform(0.6, 0.9), peak + 0.02
    if d.flag(0.4):
        c.paint(sd.capsule(c.x, c.y, (0.0, foot), (0.0, foot - 0.3), 0.03, 0.01), roof, roundness=0.03)


def tree(c: Canvas) -> None:
    """A tree or bush: a trunk and a crown of several ellipses."""
    c.place((0.65, 1.1), turn=0.12, squash=0.3)
    d = c.rng
    trunk = sd.capsule(c.x, c.y, (0.0, 0.0), (d.uniform(-0.1, 0.1), 0.98), d.uniform(0.03, 0.1), d.uniform(0.06, 0.16))
    c.paint(trunk, c.material("wood", "streaks"), roundness=0.1)
    m = c.material(d.pick(("plant", "plant", "food")), d.pick(("mottled", "spots", "plain")), 0.2)
    lumps = []
    for _ in range(d.integer(2, 6)):
        x, y = c.x - d.uniform(-0.45, 0.45), c.y + d.uniform(0.05, 0.6)
        lumps.append(sd.ellipse(x, y, d.uniform(0.22, 0.5), d.uniform(0.2, 0.4)))
    crown = reduce(lambda a, b: sd.smooth_union(a, b, 0.05), lumps)
    c.paint(crown, m, roundness=0.4, fuzz=d.pick((0.02, 0.06, 0.1)))


MEMBERS = {
    figures.person: 3,
    figures.four_legged: 2,
    figures.bird: 1,
    thin.chair: 1,
    household.tripod: 1.5,
    household.plant: 1,
    household.bag: 1,
    tableware.cup: 1,
    vehicles.two_wheeler: 1,
    solid.turned: 1,
    solid.fruit: 0.5,
    solid.blob: 0.5,
}
"""The families that a group is made of, with their relative frequency."""


def group(c: Canvas) -> None:
    """Two or three objects side by side: a man with a camera, two horses, cups and a jug."""
    d = c.rng
    members, weights = tuple(MEMBERS), tuple(MEMBERS.values())
    first = d.pick(members, weights)
    count = d.pick((2, 2, 2, 3))
    near = d.structure.uniform(0.3, 0.6)
    for k in range(count):
        c.within = (near * (2 * k / (count - 1) - 1), d.structure.uniform(-0.1, 0.15), 1.1 / count**0.6)
        member = first if k == 0 or d.flag(0.5) else d.pick(members, weights)
        member(c)
