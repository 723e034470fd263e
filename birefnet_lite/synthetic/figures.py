"""Object families of people and animals with limbs. Each function draws one family on a canvas."""

import math

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.canvas import Canvas


def person(c: Canvas) -> None:
    """A whole person, standing, walking or with raised arms; clothes, hair and skin differ."""
    c.place((0.75, 1.05), turn=0.2, spread=0.3, squash=0.2)
    d = c.rng
    skin = c.material("skin", "plain", 0.03, 0.0, free=True)
    shirt, trousers = c.material("cloth"), c.material("cloth")
    shoes, hair = c.material(d.pick(("dark", "cloth"))), c.material("hair", "streaks", free=True)
    hip, shoulder = 0.08, -0.52
    wide = d.uniform(0.16, 0.27)
    stride = d.uniform(0, 0.28)
    leg = d.uniform(0.065, 0.1)
    far_arm_over = d.flag(0.5)

    def arm(side: int) -> None:
        lift = d.uniform(-0.5, 1.6) if d.flag(0.35) else d.uniform(-0.4, 0.25)
        start = (side * wide, shoulder + 0.05)
        elbow = (start[0] + side * 0.27 * (0.15 + lift.sin().abs()), start[1] + 0.27 * lift.cos())
        bend = lift + d.uniform(-0.2, 1.3)
        hand = (elbow[0] + 0.26 * bend.sin() * side * d.sign(), elbow[1] + 0.26 * bend.cos())
        c.paint(sd.capsule(c.x, c.y, elbow, hand, 0.05, 0.04), skin if d.flag(0.4) else shirt, roundness=0.06)
        c.paint(sd.capsule(c.x, c.y, start, elbow, 0.075, 0.055), shirt, roundness=0.08)
        c.paint(sd.circle(c.x - hand[0], c.y - hand[1], 0.055), skin, roundness=0.06)
        if d.flag(0.25):
            u, v = sd.rotate(c.x - hand[0], c.y - hand[1] - 0.12, d.uniform(-1, 1))
            c.paint(sd.box(u, v, d.uniform(0.06, 0.16), d.uniform(0.06, 0.18), 0.03), c.material(), roundness=0.08)

    if far_arm_over:
        arm(-1)
    for side in (-1, 1):
        knee = (side * (0.09 + stride * 0.5), hip + 0.42)
        foot = (side * (0.09 + stride), 0.93)
        c.paint(
            sd.polyline(c.x, c.y, [(side * 0.08, hip), knee, foot], [leg * 1.35, leg, leg * 0.75]),
            trousers,
            roundness=0.1,
        )
        shoe = sd.capsule(c.x, c.y, foot, (foot[0] + 0.09 * side, foot[1] + 0.03), 0.06)
        c.paint(shoe, shoes, roundness=0.06)
    waist = d.uniform(0.12, 0.2)
    torso = sd.convex(c.x, c.y, [(-wide, shoulder), (wide, shoulder), (waist, hip + 0.03), (-waist, hip + 0.03)], 0.06)
    if d.flag(0.3):  # a skirt or a coat
        hem = d.uniform(0.2, 0.4)
        coat = sd.convex(
            c.x, c.y, [(-waist, hip - 0.2), (waist, hip - 0.2), (hem, hip + hem * 1.4), (-hem, hip + hem * 1.4)], 0.03
        )
        c.paint(coat, shirt if d.flag(0.5) else c.material("cloth"), roundness=0.2)
    c.paint(sd.capsule(c.x, c.y, (0.0, shoulder), (0.0, shoulder - 0.12), 0.06), skin, roundness=0.08)
    c.paint(torso, shirt, roundness=0.2)
    if d.flag(0.4):
        c.mark(sd.intersection(c.x.abs() - d.uniform(0.02, 0.1), torso), c.material("cloth", free=True))
    arm(1)
    if not far_arm_over:
        arm(-1)
    head_y = shoulder - 0.23
    turn = d.uniform(-0.05, 0.05)
    long = d.flag(0.4)
    if long:
        c.paint(sd.box(c.x, c.y - head_y - 0.06, 0.13, 0.18, 0.1), hair, roundness=0.1)
    c.paint(sd.ellipse(c.x - turn, c.y - head_y, 0.105, 0.14), skin, roundness=0.14)
    cap = sd.intersection(sd.ellipse(c.x, c.y - head_y + 0.03, 0.125, 0.15), c.y - head_y + d.uniform(0.0, 0.08))
    c.paint(cap, hair if d.flag(0.75) else c.material("cloth"), roundness=0.1)


def four_legged(c: Canvas) -> None:
    """A dog, horse, cow, sheep or cat from the side."""
    c.place((0.65, 1.05), turn=0.15, squash=0.25)
    d = c.rng
    fur = c.material("fur", d.pick(("plain", "mottled", "patches", "streaks", "spots", "stripes")), other="fur")
    long, deep = d.uniform(0.38, 0.55), d.uniform(0.16, 0.28)
    leg_length, leg = d.uniform(0.35, 0.62), d.uniform(0.035, 0.08)
    back = -0.12
    far = type(fur)(fur.base * 0.65, fur.other * 0.65, fur.pattern, fur.grain, 0.0, fur.scale)
    for shade, shift in ((far, 0.12), (fur, 0.0)):
        for px in (-long, long * 0.9):
            swing = d.uniform(-0.22, 0.22)
            hip = (px + shift * 0.5, back + deep * 0.5)
            knee = (hip[0] + swing, hip[1] + leg_length * 0.5)
            foot = (knee[0] - swing * d.uniform(-0.5, 1), hip[1] + leg_length)
            limb = sd.polyline(c.x, c.y, [hip, knee, foot], [leg * 1.8, leg, leg * 0.8])
            c.paint(limb, shade, roundness=0.08, contact=0.15)
    raised = d.uniform(0.0, 0.55)
    head = (long + d.uniform(0.22, 0.4), back - raised)
    neck = sd.capsule(c.x, c.y, (long * 0.85, back), head, deep * 0.75, d.uniform(0.08, 0.13))
    tail_end = (-long - d.uniform(0.15, 0.45), back + d.uniform(-0.35, 0.35))
    tail = sd.capsule(
        c.x, c.y, (-long - deep * 0.5, back - deep * 0.3), tail_end, d.uniform(0.03, 0.07), d.uniform(0.015, 0.08)
    )
    c.paint(tail, fur, roundness=0.06, contact=0, fuzz=0.02)
    trunk = sd.capsule(c.x, c.y, (-long, back), (long, back + d.uniform(-0.06, 0.06)), deep * d.uniform(0.8, 1.1), deep)
    c.paint(sd.smooth_union(trunk, neck, 0.15), fur, roundness=deep, contact=0.1, fuzz=0.02)
    ear = d.uniform(0.05, 0.13)
    for shift in (-0.05, 0.05):
        tip = (head[0] - 0.06 + shift, head[1] - 0.1 - ear)
        c.paint(sd.capsule(c.x, c.y, (head[0] - 0.02 + shift, head[1] - 0.05), tip, 0.045, 0.015), fur, roundness=0.05)
    snout = (head[0] + d.uniform(0.12, 0.28), head[1] + d.uniform(0.05, 0.2))
    c.paint(
        sd.capsule(c.x, c.y, head, snout, d.uniform(0.1, 0.15), d.uniform(0.05, 0.09)),
        fur,
        roundness=0.12,
        contact=0.1,
        fuzz=0.01,
    )
    dark = c.material("dark", "plain", 0.0, 0.3, free=True)
    c.mark(sd.circle(c.x - snout[0] - 0.04, c.y - snout[1] + 0.01, 0.04), dark)
    c.mark(sd.circle(c.x - head[0] - 0.04, c.y - head[1] + 0.03, 0.022), dark)


def bird(c: Canvas) -> None:
    """A bird on its legs or in flight."""
    c.place((0.6, 1.0), turn=0.4, squash=0.2)
    d = c.rng
    plumage = c.material(d.pick(("fur", "paint", None)), d.pick(("plain", "mottled", "gradient", "streaks")))
    wing_colour = c.material(d.pick(("fur", None)), "streaks")
    bony = c.material(d.pick(("dark", "wood", "food")), "plain")
    if d.flag(0.6):
        for px in (-0.05, 0.12):
            foot = (px + d.uniform(-0.1, 0.1), d.uniform(0.6, 0.95))
            c.paint(sd.capsule(c.x, c.y, (px, 0.2), foot, 0.02), bony, roundness=0.03)
            c.paint(sd.capsule(c.x, c.y, foot, (foot[0] + 0.12, foot[1] + 0.03), 0.018), bony, roundness=0.03)
    tail = [
        (-0.35, -0.02),
        (-0.9, d.uniform(-0.2, 0.15)),
        (-0.85, d.uniform(0.2, 0.4)),
        (-0.3, 0.2),
    ]
    c.paint(sd.convex(c.x, c.y, tail), wing_colour, roundness=0.1)
    head = (0.38 + d.uniform(0, 0.2), -0.35 - d.uniform(0, 0.3))
    body = sd.ellipse(*sd.rotate(c.x, c.y - 0.05, -0.3), 0.48, d.uniform(0.25, 0.36))
    neck = sd.capsule(c.x, c.y, (0.25, -0.1), head, 0.17, 0.12)
    beak_tip = (head[0] + d.uniform(0.2, 0.45), head[1] + d.uniform(-0.02, 0.12))
    c.paint(sd.capsule(c.x, c.y, head, beak_tip, 0.07, 0.01), bony, roundness=0.06)
    flying = d.flag(0.35)
    if flying:
        far = [(-0.15, -0.1), (-0.3 + d.uniform(-0.3, 0.2), -1.0), (0.25, -0.1)]
        c.paint(sd.convex(c.x, c.y, far, 0.04), wing_colour, roundness=0.15)
    c.paint(sd.smooth_union(body, neck, 0.12), plumage, roundness=0.3, fuzz=0.01)
    c.paint(
        sd.circle(c.x - head[0], c.y - head[1], 0.15),
        c.material(None) if d.flag(0.3) else plumage,
        roundness=0.15,
        contact=0,
    )
    if flying:
        near = [
            (-0.25, 0.0),
            (-0.1 + d.uniform(-0.5, 0.3), -1.05),
            (0.3, 0.02),
            (0.0, 0.15),
        ]
        c.paint(sd.convex(c.x, c.y, near, 0.04), wing_colour, roundness=0.2)
    else:
        c.paint(
            sd.ellipse(*sd.rotate(c.x + 0.1, c.y - 0.03, -0.35 + d.uniform(-0.2, 0.2)), 0.42, 0.17),
            wing_colour,
            roundness=0.15,
        )
    c.mark(sd.circle(c.x - head[0] - 0.05, c.y - head[1] + 0.03, 0.03), c.material("dark", "plain", 0.0, free=True))


def fish(c: Canvas) -> None:
    """A fish from the side."""
    c.place((0.55, 1.0), turn=0.5, squash=0.3)
    d = c.rng
    m = c.material(d.pick(("paint", "metal", "food", None)), gloss=0.3)
    fin = c.material(d.pick((None, "paint")), "streaks")
    deep = d.uniform(0.2, 0.42)
    tail = d.uniform(0.2, 0.42)
    c.paint(
        sd.convex(
            c.x,
            c.y,
            [(-0.5, -0.04), (-0.95, -tail), (-0.82, 0.0), (-0.5, 0.06)],
        ),
        fin,
        roundness=0.1,
    )
    c.paint(
        sd.convex(
            c.x,
            c.y,
            [(-0.5, -0.04), (-0.82, 0.0), (-0.95, tail), (-0.5, 0.06)],
        ),
        fin,
        roundness=0.1,
    )
    for side in (-1, 1):
        top = [(-0.2, side * deep * 0.6), (-0.3, side * (deep + 0.25)), (0.25, side * deep * 0.8)]
        c.paint(sd.convex(c.x, c.y, top if side < 0 else top[::-1], 0.02), fin, roundness=0.1, visible=d.coin(0.8))
    body = sd.intersection(
        sd.ellipse(c.x - 0.1, c.y - 0.25 * deep, 0.75, deep * 1.25),
        sd.ellipse(c.x - 0.1, c.y + 0.25 * deep, 0.75, deep * 1.25),
    )
    c.paint(body, m, roundness=deep)
    if d.flag(0.5):
        for _ in range(d.integer(1, 4)):
            c.mark(
                sd.intersection((c.x - d.uniform(-0.5, 0.5)).abs() - d.uniform(0.03, 0.1), body), c.material(free=True)
            )
    c.mark((sd.circle(c.x - 0.1, c.y, 0.42)).abs() - 0.012, c.material("dark", "plain", free=True))
    c.mark(sd.circle(c.x - 0.6, c.y + 0.06, 0.06), c.material("light", "plain", 0.0, free=True))
    c.mark(sd.circle(c.x - 0.6, c.y + 0.06, 0.035), c.material("dark", "plain", 0.0, free=True))


def creature(c: Canvas) -> None:
    """An imaginary animal: a random body with mirrored limbs."""
    c.place((0.55, 1.0), turn=0.6, squash=0.3)
    d = c.rng
    skin, second = c.material(d.pick(("fur", "skin", "plant", None))), c.material()
    mirrored = d.flag(0.6)
    body_size = (d.uniform(0.2, 0.45), d.uniform(0.25, 0.55))
    body = sd.ellipse(c.x, c.y, *body_size)
    for k in range(d.integer(2, 5)):
        angle = d.uniform(-1.4, 1.4) + (0.0 if mirrored else math.pi * (k % 2))
        side = c.x.abs() if mirrored else c.x
        knee = (0.45 * angle.cos(), 0.45 * angle.sin())
        bend = angle + d.uniform(-1.2, 1.2)
        tip = (knee[0] + 0.45 * bend.cos(), knee[1] + 0.45 * bend.sin())
        thick = d.uniform(0.05, 0.14)
        limb = sd.polyline(
            side, c.y, [(knee[0] * 0.3, knee[1] * 0.3), knee, tip], [thick * 1.3, thick, thick * d.uniform(0.3, 1)]
        )
        if d.flag(0.4):
            c.paint(limb, second, roundness=0.12)
        else:
            body = sd.smooth_union(body, limb, 0.08)
    head = sd.circle(c.x - d.uniform(-0.15, 0.15), c.y + body_size[1] + 0.05, d.uniform(0.14, 0.3))
    c.paint(sd.smooth_union(body, head, 0.1), skin, roundness=0.25, fuzz=0.015)
    if d.flag(0.6):
        c.mark(sd.ellipse(c.x, c.y - 0.05, body_size[0] * 0.6, body_size[1] * 0.7), second)
    dark = c.material("dark", "plain", 0.0, 0.3, free=True)
    for x in (-0.08, 0.08):
        c.mark(sd.circle(c.x - x, c.y + body_size[1] + 0.08, 0.035), dark)
