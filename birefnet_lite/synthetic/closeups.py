"""Object families of close-ups, cut by the frame: portraits, animal faces, blossoms."""

import math

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas


def portrait(c: Canvas) -> None:
    """Head and shoulders: hair, face, neck, clothes with collar, badges and straps; the frame cuts the body."""
    c.place((0.8, 1.35), turn=0.12, at=(0.0, 0.2), spread=0.3, squash=0.12, slant=0.06)
    d = c.rng
    skin = c.material("skin", d.pick(("plain", "gradient")), 0.03, 0.1, free=True)
    hair = c.material("hair", "streaks", 0.1, free=d.flag(0.5))
    clothes, second = c.material("cloth"), c.material("cloth")
    head = (d.uniform(-0.08, 0.08), d.uniform(-0.5, -0.35))
    face = (d.uniform(0.21, 0.32), d.uniform(0.3, 0.42))
    shoulder_y, wide = head[1] + face[1] + d.uniform(0.02, 0.2), d.uniform(0.5, 0.95)
    long = d.uniform(0.25, 0.6)
    style = d.pick(("short", "short", "long", "bun", "hat", "bald", "curly"))
    if style == "long":
        c.paint(
            sd.box(c.x - head[0], c.y - head[1] - long * 0.5, face[0] + 0.12, face[1] + long * 0.45, 0.22),
            hair,
            roundness=0.2,
            fuzz=0.02,
        )
    if style == "curly":
        c.paint(
            sd.ellipse(c.x - head[0], c.y - head[1] + 0.08, face[0] + 0.17, face[1] + 0.13),
            hair,
            roundness=0.3,
            fuzz=0.05,
        )
    neck = sd.capsule(c.x, c.y, (head[0], head[1] + 0.15), (0.0, shoulder_y), 0.12)
    c.paint(neck, skin, roundness=0.2)
    slope = shoulder_y + d.uniform(0.08, 0.2)
    trunk = sd.convex(
        c.x,
        c.y,
        [
            (-0.16, shoulder_y),
            (0.16, shoulder_y),
            (wide, slope),
            (wide + 0.08, 3),
            (-wide - 0.08, 3),
            (-wide, slope),
        ],
        0.06,
    )
    c.paint(trunk, clothes, roundness=0.35)
    for side in (-1, 1):  # sleeves
        elbow = (side * (wide + d.uniform(0.02, 0.22)), d.uniform(0.9, 1.3))
        hand = (side * d.uniform(-0.1, 0.8), elbow[1] - d.uniform(-0.3, 0.5))
        arm = sd.polyline(c.x, c.y, [(side * (wide - 0.06), slope + 0.1), elbow, hand], [0.16, 0.15, 0.12])
        c.paint(arm, clothes, roundness=0.2, visible=d.coin(0.7))
    opening = d.uniform(0.03, 0.2)
    lapel = sd.convex(
        c.x,
        c.y,
        [(-opening, shoulder_y - 0.05), (opening, shoulder_y - 0.05), (0.0, shoulder_y + d.uniform(0.2, 0.9))],
    )
    c.mark(sd.intersection(lapel, trunk), second if d.flag(0.7) else skin)
    collar = (sd.ellipse(c.x, c.y - shoulder_y - 0.02, d.uniform(0.16, 0.32), d.uniform(0.06, 0.13))).abs() - d.uniform(
        0.02, 0.06
    )
    c.paint(collar, c.material(d.pick(("cloth", "light", "metal"))), roundness=0.06, visible=d.coin(0.5))
    for _ in range(d.integer(0, 5)):
        badge = sd.box(
            *sd.rotate(c.x - d.uniform(-0.6, 0.6), c.y - d.uniform(0.35, 1.0), d.uniform(-0.3, 0.3)),
            d.uniform(0.03, 0.16),
            d.uniform(0.03, 0.14),
            0.02,
        )
        c.mark(sd.intersection(badge, trunk + 0.02), c.material(free=True))
    if d.flag(0.3):
        u, _ = sd.rotate(c.x - d.uniform(-0.4, 0.4), c.y - 0.4, d.uniform(-0.5, 0.5))
        c.mark(sd.intersection(u.abs() - d.uniform(0.02, 0.06), trunk), c.material(free=True))
    oval = sd.ellipse(c.x - head[0], c.y - head[1], *face)
    ears = sd.ellipse((c.x - head[0]).abs() - face[0], c.y - head[1] - 0.02, 0.04, 0.07)
    c.paint(ears, skin, roundness=0.05, visible=d.coin(0.7))
    c.paint(oval, skin, roundness=0.3, contact=0.4)
    features(c, head, face)
    fringe = d.uniform(-0.5, -0.1) * face[1]
    if style in ("short", "long", "bun", "curly"):
        crown = sd.ellipse(c.x - head[0], c.y - head[1] + 0.05, face[0] + 0.05, face[1] + 0.06)
        line = c.y - head[1] - fringe + d.uniform(-0.5, 0.5) * (c.x - head[0])
        c.paint(sd.intersection(crown, line), hair, roundness=0.25, fuzz=0.015)
        if style == "bun":
            c.paint(
                sd.circle(c.x - head[0] - d.uniform(-0.15, 0.15), c.y - head[1] + face[1] + 0.1, 0.13),
                hair,
                roundness=0.15,
                fuzz=0.02,
            )
    if style == "hat":
        m = c.material(d.pick(("cloth", "dark", "wood")))
        c.paint(
            sd.intersection(
                sd.superellipse(c.x - head[0], c.y - head[1] + 0.15, face[0] + 0.06, face[1] + d.uniform(0, 0.2), 3.0),
                c.y - head[1] + 0.1,
            ),
            m,
            roundness=0.25,
        )
        c.paint(
            sd.ellipse(
                c.x - head[0] - d.uniform(-0.15, 0.15), c.y - head[1] + 0.12, face[0] + d.uniform(0.05, 0.3), 0.06
            ),
            m,
            roundness=0.06,
        )
    if d.flag(0.3):  # an object in the hands
        x, y = c.x - d.uniform(-0.6, 0.6), c.y - d.uniform(0.55, 0.95)
        thing = (
            sd.radial(x, y, [(2, d.uniform(0, 0.2), d.uniform(0, 6))], d.uniform(0.2, 0.42))
            if d.flag(0.6)
            else sd.box(x, y, d.uniform(0.15, 0.4), d.uniform(0.15, 0.4), 0.05)
        )
        m = c.material(d.pick(("light", "metal", "dark", None)))
        c.paint(thing, m, roundness=0.3)
        c.mark(sd.intersection(sd.circle(x, y, 0.15), thing + 0.03), c.material(free=True))


def features(c: Canvas, head: tuple, face: tuple) -> None:
    """Eyes, brows, nose shadow and mouth."""
    d = c.rng
    dark = c.material("dark", "plain", 0.0, 0.0, free=True)
    lips = c.material("skin", "plain", 0.0, 0.0, free=True)
    x, y = c.x - head[0] - d.uniform(-0.05, 0.05), c.y - head[1]
    side = x.abs() - face[0] * 0.42
    c.mark(sd.ellipse(side, y + 0.02, 0.045, 0.02), c.material("light", "plain", 0.0, free=True))
    c.mark(sd.circle(side, y + 0.02, 0.022), dark)
    c.mark(sd.capsule(side, y, (-0.05, -0.06), (0.05, -0.065 - d.uniform(0, 0.02)), 0.012), dark)
    c.mark(sd.ellipse(x, y - face[1] * 0.35, 0.04, 0.015), lips)
    c.mark(sd.ellipse(x, y - face[1] * 0.6, d.uniform(0.06, 0.1), d.uniform(0.015, 0.035)), lips)


def animal_face(c: Canvas) -> None:
    """The head of a cat, dog, bear, cow or owl in front of its body, filling the frame."""
    c.place((0.8, 1.5), turn=0.3, at=(0.0, 0.08), spread=0.3, squash=0.15, slant=0.06)
    d = c.rng
    fur = c.material("fur", d.pick(("streaks", "stripes", "mottled", "plain", "patches")), 0.15, 0.0, "fur")
    pale = c.material("fur", "streaks", 0.12, 0.0, "light", free=True)
    dark = c.material("dark", "plain", 0.05, 0.4, free=True)
    back = d.uniform(-0.5, 0.5)
    body = sd.ellipse(c.x - back, c.y - d.uniform(0.9, 1.4), d.uniform(0.7, 1.3), d.uniform(0.9, 1.3))
    c.paint(body, fur, roundness=0.7, fuzz=0.04)
    wide, high = d.uniform(0.52, 0.68), d.uniform(0.45, 0.62)
    ear = d.pick(("pointed", "pointed", "round", "hanging", "none"))
    x = c.x.abs()
    tall = d.uniform(0.25, 0.5)
    if ear == "pointed":
        shape = sd.convex(
            x, c.y, [(wide * 0.75, -high - tall), (wide * 1.02, -high * 0.3), (wide * 0.25, -high * 0.7)], 0.03
        )
        c.paint(shape, fur, roundness=0.1, fuzz=0.015)
        inner = sd.convex(
            x, c.y, [(wide * 0.73, -high - tall * 0.75), (wide * 0.88, -high * 0.45), (wide * 0.42, -high * 0.75)]
        )
        c.mark(inner, c.material("skin", "streaks", 0.1, free=True))
    elif ear == "round":
        c.paint(sd.circle(x - wide * 0.75, c.y + high * 0.85, tall * 0.6), fur, roundness=0.15, fuzz=0.02)
        c.mark(sd.circle(x - wide * 0.75, c.y + high * 0.82, tall * 0.35), pale)
    elif ear == "hanging":
        c.paint(
            sd.capsule(x, c.y, (wide * 0.8, -high * 0.6), (wide * 1.1, high * 0.5), 0.13, 0.2),
            c.material("fur"),
            roundness=0.2,
            fuzz=0.02,
        )
    skull = sd.superellipse(c.x, c.y, wide, high, d.uniform(1.9, 2.6))
    c.paint(skull, fur, roundness=0.5, contact=0.4, fuzz=0.025)
    if d.flag(0.5):  # stripes on the brow
        u = sd.bars(c.x + 0.05 * c.noise("mottle"), d.uniform(0.1, 0.2), d.uniform(0.015, 0.04))
        c.mark(
            sd.intersection(u, sd.intersection(skull + 0.05, c.y + high * 0.35)), c.material("fur", free=True), soft=2.0
        )
    if d.flag(0.5):  # a blaze or a mask
        c.mark(sd.intersection(c.x.abs() - d.uniform(0.06, 0.25) - 0.15 * c.y, skull + 0.04), pale, soft=3.0)
    muzzle = sd.ellipse(c.x, c.y - high * 0.5, d.uniform(0.2, 0.34), d.uniform(0.18, 0.28))
    c.mark(muzzle, pale, soft=4.0)
    eye_x, eye_y, eye = d.uniform(0.2, 0.32), d.uniform(-0.12, 0.02), d.uniform(0.06, 0.13)
    c.mark(sd.ellipse(x - eye_x, c.y - eye_y, eye * 1.25, eye * 1.05), dark)
    c.mark(
        sd.ellipse(x - eye_x, c.y - eye_y, eye, eye * 0.85),
        c.material(d.pick(("plant", "food", "sky", "wood")), "plain", 0.0, free=True),
    )
    c.mark(sd.ellipse(x - eye_x, c.y - eye_y, eye * d.uniform(0.2, 0.7), eye * 0.75), dark)
    nose_y = high * 0.35
    c.mark(
        sd.ellipse(c.x, c.y - nose_y, d.uniform(0.07, 0.14), 0.06),
        c.material(d.pick(("dark", "skin")), "plain", 0.0, free=True),
    )
    c.mark(sd.capsule(x, c.y, (0.0, nose_y), (0.0, nose_y + 0.16), 0.012), dark)
    c.mark(sd.capsule(x, c.y, (0.0, nose_y + 0.16), (0.14, nose_y + 0.2), 0.012), dark)


def blossom(c: Canvas) -> None:
    """A flower head: rings of many petals, a centre, perhaps a stalk."""
    c.place((0.5, 1.25), turn=math.pi, squash=0.25, spread=0.25)
    d = c.rng
    tone = d.pick(("food", "paint", "light", "cloth", None))
    m = c.material(tone, d.pick(("plain", "streaks", "gradient")), 0.06)
    if d.flag(0.5):
        stalk = sd.capsule(c.x, c.y, (0.0, 0.0), (d.uniform(-0.5, 0.5), 2.5), d.uniform(0.04, 0.1))
        c.paint(stalk, c.material("plant"), roundness=0.08)
    rings, count = d.integer(2, 5), d.integer(7, 16)
    fat = d.uniform(0.9, 1.8)
    for k in range(rings):
        share = 1 - k / rings
        x, y = sd.rotate(c.x, c.y, d.uniform(0, math.pi))
        u, v = sd.sector(x, y, count)
        wide = share * math.pi / count * fat
        petal = sd.ellipse(u - share * 0.55, v + 0.02 * c.noise("broad"), share * 0.42, wide)
        light = m.base * (0.75 + 0.35 * share)
        c.paint(petal, type(m)(light, m.other, m.pattern, m.grain), roundness=0.12, contact=0.7)
    heart = sd.circle(c.x, c.y, d.uniform(0.08, 0.3))
    c.paint(heart, c.material(d.pick(("food", "dark", "wood", tone)), "spots"), roundness=0.2, contact=0.5)
