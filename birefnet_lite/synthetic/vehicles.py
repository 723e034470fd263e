"""Object families of vehicles. Each function draws one family on a canvas."""

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas


def car(c: Canvas) -> None:
    """A car, van, bus or lorry from the side."""
    c.place((0.65, 1.1), turn=0.08, squash=0.3)
    d = c.rng
    paint = c.material("paint", d.pick(("plain", "plain", "gradient")), 0.03, 0.4)
    low, belt, roof = 0.3, d.uniform(-0.1, 0.05), d.uniform(-0.6, -0.3)
    nose, rear = d.uniform(0.85, 1.0), -d.uniform(0.85, 1.0)
    front, back = d.uniform(0.1, 0.6), -d.uniform(0.4, 0.9)
    cabin = sd.convex(
        c.x, c.y, [(back * 0.85, roof), (front * 0.7, roof), (front + 0.2, belt + 0.05), (back, belt + 0.05)], 0.04
    )
    hull = sd.box(c.x - (nose + rear) / 2, c.y - (low + belt) / 2, (nose - rear) / 2, (low - belt) / 2 + 0.03, 0.1)
    body = sd.union(hull, cabin)
    c.paint(body, paint, roundness=0.3)
    glass = c.material(d.pick(("dark", "sky", "metal")), "gradient", 0.0, free=True)
    pillar = d.uniform(-0.25, 0.2)
    c.mark(sd.intersection(cabin + 0.07, sd.intersection(c.y - belt, -((c.x - pillar).abs() - 0.03))), glass)
    if d.flag(0.5):
        c.mark(sd.intersection((c.y - belt - 0.15).abs() - d.uniform(0.02, 0.1), hull), c.material(free=True))
    c.mark((c.x - pillar).abs() - 0.008, c.material("dark", "plain", 0.0, free=True))
    dark = c.material("dark", "plain", 0.04, free=True)
    radius = d.uniform(0.16, 0.24)
    for px in (rear + radius + 0.12, nose - radius - 0.12):
        c.mark(sd.circle(c.x - px, c.y - low, radius * 1.2), dark)
        c.paint(sd.circle(c.x - px, c.y - low, radius), dark, roundness=0.1)
        c.paint(sd.circle(c.x - px, c.y - low, radius * 0.6), c.material("metal", free=True), roundness=0.08)
    c.mark(sd.box(c.x - nose, c.y - belt - 0.1, 0.08, 0.05), c.material("light", "plain", 0.0, free=True))
    c.mark(sd.box(c.x - rear, c.y - belt - 0.1, 0.06, 0.06), c.material("paint", "plain", 0.0, free=True))


def two_wheeler(c: Canvas) -> None:
    """A bicycle or motorcycle: open wheels, frame, engine, tank, seat, bars, lamps."""
    c.place((0.7, 1.15), turn=0.12, squash=0.2, slant=0.2)
    d = c.rng
    heavy = d.flag(0.65)
    radius, base = d.uniform(0.32, 0.42), d.uniform(0.52, 0.64)
    axle = 0.45
    tyre = c.material("dark", "plain", 0.06)
    metal, paint = c.material("metal", "plain", 0.05, 0.4), c.material("paint", "plain", 0.03, 0.4)
    thin = d.uniform(0.012, 0.03) * (1.7 - c.hardness)
    for px in (-base, base):
        x, y = c.x - px, c.y - axle
        u, v = sd.sector(x, y, d.integer(5, 24))
        c.paint(sd.capsule(u, v, (0.02, 0.0), (radius * 0.9, 0.0), thin * 0.5), metal, roundness=0.02)
        r = sd.length(x, y)
        c.paint((r - radius * 0.82).abs() - 0.02, metal, roundness=0.03)
        c.paint((r - radius).abs() - (d.uniform(0.05, 0.1) if heavy else thin), tyre, roundness=0.07)
        c.paint(r - (d.uniform(0.06, 0.2) if heavy else 0.04), metal, roundness=0.06)
    head = (base - d.uniform(0.16, 0.3), d.uniform(-0.35, -0.2))
    saddle = (d.uniform(-0.35, -0.15), d.uniform(-0.25, -0.1))
    crank = (d.uniform(-0.12, 0.05), axle - 0.05)
    bar = thin * (2.0 if heavy else 1.2)
    for a, b in (
        (head, (base, axle)),
        (head, crank),
        (saddle, crank),
        (saddle, head),
        (crank, (-base, axle)),
        (saddle, (-base, axle)),
    ):
        c.paint(sd.capsule(c.x, c.y, a, b, bar), paint if d.flag(0.5) else metal, roundness=0.04)
    if heavy:
        for _ in range(d.integer(3, 7)):
            u, v = sd.rotate(
                c.x - crank[0] - d.uniform(-0.22, 0.25), c.y - crank[1] + d.uniform(0, 0.35), d.uniform(-0.6, 0.6)
            )
            block = (
                sd.box(u, v, d.uniform(0.06, 0.2), d.uniform(0.05, 0.17), 0.03)
                if d.flag(0.6)
                else sd.circle(u, v, d.uniform(0.07, 0.16))
            )
            c.paint(block, c.material(d.pick(("metal", "dark", "metal"))), roundness=0.08)
        pipe = [
            (crank[0] + 0.2, crank[1] - 0.1),
            (crank[0] + 0.1, crank[1] + 0.12),
            (-base - d.uniform(-0.1, 0.2), axle - d.uniform(-0.05, 0.2)),
        ]
        c.paint(sd.polyline(c.x, c.y, pipe, [0.035, 0.04, 0.055]), metal, roundness=0.05)
        tank = sd.ellipse(
            *sd.rotate(c.x - (head[0] + saddle[0]) / 2 - 0.08, c.y - head[1] - 0.02, d.uniform(-0.2, 0.3)),
            d.uniform(0.22, 0.34),
            d.uniform(0.1, 0.18),
        )
        c.paint(tank, paint, roundness=0.15)
        guard = sd.intersection(
            (sd.length(c.x - base, c.y - axle) - radius * 1.12).abs() - 0.03, c.y - axle + d.uniform(0.0, 0.2)
        )
        c.paint(guard, paint, roundness=0.05, visible=d.coin(0.6))
    seat = sd.capsule(
        c.x,
        c.y,
        (saddle[0] - (0.45 if heavy else 0.15), saddle[1] - d.uniform(0.02, 0.15)),
        (saddle[0] + 0.12, saddle[1] - 0.02),
        0.06 if heavy else 0.035,
        0.05,
    )
    c.paint(seat, c.material(d.pick(("dark", "wood"))), roundness=0.08)
    grip = (head[0] - d.uniform(0.05, 0.3), head[1] - d.uniform(0.12, 0.3))
    c.paint(sd.capsule(c.x, c.y, head, (head[0] - 0.03, grip[1]), bar), metal, roundness=0.04)
    c.paint(sd.capsule(c.x, c.y, (head[0] + 0.02, grip[1] + 0.02), grip, 0.03), tyre, roundness=0.04)
    c.paint(
        sd.circle(c.x - head[0] - 0.1, c.y - head[1] + 0.02, d.uniform(0.06, 0.12)),
        metal,
        roundness=0.1,
        visible=d.coin(0.7),
    )
    if d.flag(0.4):
        mirror = (head[0] + d.uniform(-0.1, 0.1), grip[1] - d.uniform(0.1, 0.25))
        c.paint(sd.capsule(c.x, c.y, (head[0], grip[1]), mirror, thin * 0.6), metal, roundness=0.02)
        c.paint(sd.ellipse(c.x - mirror[0], c.y - mirror[1], 0.08, 0.05), tyre, roundness=0.05)


def aircraft(c: Canvas) -> None:
    """An aeroplane: fuselage, wings, fin, engines, windows."""
    c.place((0.7, 1.05), turn=0.5, squash=0.3)
    d = c.rng
    m, wing = (
        c.material(d.pick(("light", "metal", "paint")), gloss=0.2),
        c.material(d.pick(("metal", "light", "paint"))),
    )
    deep = d.uniform(0.09, 0.18)
    far = d.uniform(-0.7, -0.3)
    c.paint(
        sd.convex(c.x, c.y, [(0.0, 0.0), (-0.35, far), (-0.15, far), (0.3, 0.0)]),
        wing,
        roundness=0.1,
    )
    fin = [
        (-0.95, 0.0),
        (-1.0, -0.25 - d.uniform(0.1, 0.3)),
        (-0.82, -0.3),
        (-0.55, 0.0),
    ]
    c.paint(sd.convex(c.x, c.y, fin), c.material("paint"), roundness=0.1)
    body = sd.union(
        sd.capsule(c.x, c.y, (-0.2, 0.0), (0.75, 0.0), deep),
        sd.capsule(c.x, c.y, (-0.92, -0.05), (-0.2, 0.0), deep * 0.3, deep),
    )
    c.paint(body, m, roundness=deep)
    c.mark(
        sd.intersection((c.y - d.uniform(-0.02, 0.05)).abs() - d.uniform(0.01, 0.04), body),
        c.material("paint", free=True),
    )
    c.mark(
        sd.intersection(sd.bars(c.x, 0.1, 0.03), (c.y + 0.04).abs() - 0.02),
        c.material("dark", "plain", 0.0, free=True),
        visible=d.coin(0.6),
    )
    near = d.uniform(0.3, 0.8)
    c.paint(
        sd.convex(c.x, c.y, [(0.3, 0.04), (-0.1, near), (-0.35, near), (-0.1, 0.04)]),
        wing,
        roundness=0.1,
    )
    engine = sd.capsule(c.x, c.y, (0.0, near * 0.55), (0.2, near * 0.55), d.uniform(0.04, 0.09))
    c.paint(engine, m, roundness=0.08, visible=d.coin(0.6))


def boat(c: Canvas) -> None:
    """A sailing or rowing boat: hull, mast, sails, cabin."""
    c.place((0.6, 1.0), turn=0.15, squash=0.25)
    d = c.rng
    wide, low = d.uniform(0.6, 0.95), d.uniform(0.2, 0.4)
    hull = sd.convex(
        c.x,
        c.y,
        [(-wide, 0.4), (wide * 1.05, 0.35), (wide * 0.75, 0.4 + low), (-wide * 0.8, 0.4 + low)],
        0.02,
    )
    mast = d.uniform(-0.2, 0.2)
    c.paint(sd.capsule(c.x, c.y, (mast, 0.4), (mast, -1.0), 0.022), c.material("wood"), roundness=0.03)
    if d.flag(0.75):
        sail = c.material(d.pick(("light", "cloth", "paint")), d.pick(("plain", "stripes", "gradient")))
        c.paint(
            sd.convex(
                c.x,
                c.y,
                [(mast + 0.03, -0.95), (mast + d.uniform(0.4, 0.7), 0.25), (mast + 0.03, 0.28)],
                0.01,
            ),
            sail,
            roundness=0.3,
        )
        c.paint(
            sd.convex(
                c.x,
                c.y,
                [(mast - 0.03, -0.85), (mast - 0.03, 0.28), (mast - d.uniform(0.3, 0.6), 0.26)],
                0.01,
            ),
            sail,
            roundness=0.3,
            visible=d.coin(0.7),
        )
    else:
        c.paint(
            sd.box(c.x - d.uniform(-0.3, 0.3), c.y - 0.25, d.uniform(0.2, 0.4), 0.17, 0.02),
            c.material("light"),
            roundness=0.1,
        )
    c.paint(hull, c.material(d.pick(("paint", "wood", "light"))), roundness=0.2)
    c.mark(sd.intersection((c.y - 0.45).abs() - 0.03, hull), c.material(free=True))


def rocket(c: Canvas) -> None:
    """A rocket: body, nose, bands, boosters, fins, trusses."""
    c.place((0.7, 1.1), turn=0.12, squash=0.3, spread=0.3)
    d = c.rng
    wide = d.uniform(0.08, 0.2)
    m = c.material(d.pick(("light", "light", "paint", "metal")))
    if d.flag(0.5):
        for side in (-1, 1):
            foot = [
                (side * wide, 0.5),
                (side * (wide + d.uniform(0.1, 0.25)), 0.95),
                (side * wide * 0.5, 0.9),
            ]
            c.paint(sd.convex(c.x, c.y, foot if side > 0 else foot[::-1]), c.material(), roundness=0.1)
    if d.flag(0.5):
        for side in (-1, 1):
            x = c.x - side * wide * 1.6
            booster = sd.capsule(x, c.y, (0.0, d.uniform(-0.1, 0.4)), (0.0, 0.85), wide * 0.35, wide * 0.5)
            c.paint(booster, m if d.flag(0.5) else c.material(), roundness=wide * 0.5)
    body = sd.box(c.x, c.y - 0.15, wide, 0.72, 0.01)
    nose = sd.intersection(sd.ellipse(c.x, c.y + 0.57, wide, d.uniform(0.2, 0.42)), c.y + 0.55)
    c.paint(body, m, roundness=wide)
    c.paint(nose, m if d.flag(0.5) else c.material(), roundness=wide)
    for _ in range(d.integer(0, 4)):
        c.mark(sd.intersection((c.y - d.uniform(-0.5, 0.8)).abs() - d.uniform(0.02, 0.12), body), c.material(free=True))
    nozzle = sd.convex(
        c.x,
        c.y,
        [(-wide * 0.5, 0.86), (wide * 0.5, 0.86), (wide * 0.8, 1.0), (-wide * 0.8, 1.0)],
    )
    c.paint(nozzle, c.material("dark"), roundness=0.1, visible=d.coin(0.6))
