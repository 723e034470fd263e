"""Synthetic scenes: reproducible batches, alpha mattes, held-out families, distances, textures, camera."""

import math
import unicodedata

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.functional import InterpolationMode, rotate

from birefnet_lite.synthetic import (
    SyntheticScenes,
    background_names,
    camera,
    family_names,
    glyphs,
    held_out_scenes,
    shape_changes,
    textures,
)
from birefnet_lite.synthetic import colours as colour_module
from birefnet_lite.synthetic import scenes as scene_module
from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.backgrounds import BACKGROUNDS
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.colours import TONES, random_colours, separate_colours
from birefnet_lite.synthetic.compositing import composite
from birefnet_lite.synthetic.domain_randomization import (
    MAX_HIDDEN_AREA,
    add_background_objects,
    apply_random_convolution,
)
from birefnet_lite.synthetic.families import FAMILIES
from birefnet_lite.synthetic.materials import NOISES, PATTERNS
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.scenes import select_indices
from birefnet_lite.synthetic.textures import SURFACES, blur, spectral_noise, surface
from birefnet_lite.training.augment import Augment


def grid(height=64, width=64):
    return Canvas(RandomNumbers(1, ("grid",)), (height, width))


def outline_length_error(distance, canvas):
    """How far |gradient| is from 1 near the outline."""
    step = 2 * canvas.pixel
    gx = (distance[:, 1:-1, 2:] - distance[:, 1:-1, :-2]) / step
    gy = (distance[:, 2:, 1:-1] - distance[:, :-2, 1:-1]) / step
    near = distance[:, 1:-1, 1:-1].abs() < 0.04
    assert near.any()
    return ((gx.square() + gy.square()).sqrt()[near] - 1).abs().mean()


# -- the batch ---------------------------------------------------------------------------------------------------------
def test_batch_has_the_promised_shapes_and_ranges():
    scenes = SyntheticScenes((48, 64), seed=1)
    batch = scenes.batch(7, 0)
    assert batch.images.shape == (7, 3, 48, 64)
    assert batch.masks.shape == (7, 1, 48, 64)
    assert batch.labels.dtype == torch.int64
    assert batch.images.dtype == batch.masks.dtype == torch.float32
    for values in (batch.images, batch.masks):
        assert values.isfinite().all()
        assert values.min() >= 0
        assert values.max() <= 1
    assert [family_names()[i] for i in batch.labels.tolist()] == list(batch.families)
    assert len(batch.backgrounds) == 7
    assert not batch.images.requires_grad


@pytest.mark.parametrize("change", [{"variety": 1.0}, {"reshaping": 1.0}])
def test_variety_and_reshaping_are_reproducible_and_in_range(change):
    plain = SyntheticScenes((48, 48), seed=5).batch(12, 3)
    changed, again = (SyntheticScenes((48, 48), seed=5, **change).batch(12, 3) for _ in range(2))
    assert torch.equal(again.images, changed.images)
    assert torch.equal(again.masks, changed.masks)
    assert plain.families == changed.families
    assert plain.backgrounds == changed.backgrounds
    assert not torch.equal(plain.images, changed.images)
    assert torch.equal(plain.masks, changed.masks) == ("variety" in change)
    for values in (changed.images, changed.masks):
        assert values.isfinite().all()
        assert values.min() >= 0
        assert values.max() <= 1


def test_variety_changes_objects_and_light_and_nothing_else(monkeypatch):
    plain = SyntheticScenes((48, 48), seed=5).batch(12, 3)
    monkeypatch.setattr(
        scene_module, "apply_random_convolution", lambda rng, scenes, chance: scenes
    )  # it falls on all alike
    monkeypatch.setattr(scene_module, "add_background_objects", lambda rng, ground, objects, masks, chance: ground)
    varied = SyntheticScenes((48, 48), seed=5, variety=1.0).batch(12, 3)
    inside = (plain.masks > 0.9).expand_as(plain.images)
    change = (plain.images - varied.images).abs()
    assert change[inside].mean() > 2 * change[~inside].mean()  # the light falls on all, the materials on objects


def layers_of(n=6, side=96):
    """Layers with colours and alpha of drawn objects inside the frame."""
    scenes = SyntheticScenes((side, side), seed=8, difficulty=0.3)
    kinds = select_indices(["star", "polygon", "ring", "cup", "fish", "crate"], FAMILIES, "family")[:n]
    colours, masks = scenes.draw_objects(kinds, 0, 0.3, torch.full((n, 3, side, side), 0.5))
    return torch.cat((colours, masks[:, None]), 1)


def test_shape_changes_lose_no_object():
    layers = layers_of()
    colours, masks = layers[:, :3], layers[:, 3]
    kept = shape_changes.change_shapes(RandomNumbers(6, ("a",)), colours, masks, 0.0)
    assert torch.equal(kept[0], colours)
    assert torch.equal(kept[1], masks)
    for key in range(8):
        _, other = shape_changes.change_shapes(RandomNumbers(6, (key,)), colours, masks, 1.0)
        assert other.min() >= 0
        assert other.max() <= 1
        # Four changes at most, each of which keeps its part, and a step back.
        least = shape_changes.MIN_KEPT_AREA**4 * shape_changes.MIN_SCALE**2
        assert (other.mean((1, 2)) > least * masks.mean((1, 2))).all()
        assert ((other - masks).abs().mean((1, 2)) > 0.01).any()


def test_shape_change_moves_colour_with_alpha():
    """An object of one colour stays so: no colour of its surroundings is moved into it."""
    layers = layers_of()
    layers[:, :3] = torch.tensor([0.8, 0.1, 0.3]).view(1, 3, 1, 1)
    for change in (
        shape_changes.warp_smoothly,
        shape_changes.kaleidoscope,
        shape_changes.paste_neighbour,
        shape_changes.cut_holes,
    ):
        result = change(RandomNumbers(6, ("colour",)), layers, layers.roll(1, 0))
        inside = (result[:, 3:] > 0.99).expand(-1, 3, -1, -1)
        assert inside.any()
        assert (result[:, :3] - layers[:, :3]).abs()[inside].max() < 0.01, change.__name__


def test_pasting_only_adds_and_holes_only_remove():
    layers = layers_of()
    added, taken = (
        change(RandomNumbers(6, ("x",)), layers, layers.roll(1, 0))
        for change in (shape_changes.paste_neighbour, shape_changes.cut_holes)
    )
    assert (added[:, 3] >= layers[:, 3] - 1e-6).all()
    assert (taken[:, 3] <= layers[:, 3]).all()
    assert (added[:, 3] - layers[:, 3]).mean() > 0.01
    assert (layers[:, 3] - taken[:, 3]).mean() > 0.005
    assert torch.equal(taken[:, :3], layers[:, :3])


def test_kaleidoscope_has_rotational_symmetry():
    layers = layers_of(1, 128)
    disc = grid(128, 128)
    layers[0, 3] = (sd.box(disc.x, disc.y - 0.2, 0.5, 0.2) < 0)[0].float().roll(-13, 0)  # about the middle of the frame
    for key in range(5):
        rng = RandomNumbers(1, ("fold", key))
        wedges = RandomNumbers(1, ("fold", key)).integer(1, 9)
        folded = shape_changes.kaleidoscope(rng, layers, layers)[0, 3:]
        turned = rotate(folded, 360 / wedges, InterpolationMode.BILINEAR)
        overlap = torch.minimum(folded, turned).sum() / torch.maximum(folded, turned).sum()
        assert overlap > 0.85, (wedges, overlap)


def test_shrinking_keeps_the_centre_and_skips_objects_cut_by_the_frame():
    layers = layers_of()
    cut = torch.roll(layers, 48, 3)  # half of each object over the left rim
    assert torch.equal(shape_changes.shrink(RandomNumbers(6, ("cut",)), cut), cut)
    layers[:, 3] *= (torch.linspace(-1, 1, 96).abs() < 0.9).float()  # off the rim
    layers[:, 3] *= (torch.linspace(-1, 1, 96).abs() < 0.9).float()[:, None]
    far = shape_changes.shrink(RandomNumbers(6, ("away",)), layers)
    share = far[:, 3].mean((1, 2)) / layers[:, 3].mean((1, 2))
    assert (share < 1.01).all()
    assert (share > shape_changes.MIN_SCALE**2 * 0.95).all()
    assert share.min() < 0.7
    x, y = shape_changes.pixel_coordinates(layers)
    for axis in (0, 1):
        before, after = (shape_changes.centre_of_mass(one[:, 3], x, y)[axis] for one in (layers, far))
        assert (before - after).abs().max() < 0.02


def test_background_objects_are_behind_and_smaller_than_the_object():
    layers = layers_of()
    objects, masks, ground = layers[:, :3], layers[:, 3:], torch.full((6, 3, 96, 96), 0.5)
    assert torch.equal(add_background_objects(RandomNumbers(6, ("a",)), ground, objects, masks, 0.0), ground)
    changed = torch.zeros(6)
    for key in range(6):
        behind = add_background_objects(RandomNumbers(6, (key,)), ground, objects, masks, 1.0)
        seen = ((behind - ground).abs().amax(1, keepdim=True) > 0.01).float() * (masks < 0.01)
        area = seen.mean((1, 2, 3))
        # Two neighbours at most; the rims of soft covers come on top.
        assert (area < 2 * MAX_HIDDEN_AREA * masks.mean((1, 2, 3)) + 0.03).all()
        changed += area
    assert (changed > 0).all()


def test_random_convolution_keeps_outlines_means_and_deviations():
    scenes = SyntheticScenes((64, 64), seed=5, difficulty=0.2).batch(8, 0).images
    rng = RandomNumbers(8, ("a",))
    assert torch.equal(apply_random_convolution(rng, scenes, 0.0), scenes)
    other = apply_random_convolution(RandomNumbers(8, ("b",)), scenes, 1.0)
    changed = (other - scenes).abs().mean((1, 2, 3)) > 0.01
    assert 0 < changed.sum() < 8  # some keep theirs
    torch.testing.assert_close(other.mean((2, 3)), scenes.mean((2, 3)), atol=0.05, rtol=0)

    def edges(images):  # where anything changes, in any channel
        down, right = images.diff(dim=2)[..., :-1].abs(), images.diff(dim=3)[..., :-1, :].abs()
        return torch.maximum(down, right).amax(1).flatten(1)

    for one, two in zip(edges(scenes)[changed], edges(other)[changed], strict=True):
        assert torch.corrcoef(torch.stack((one, two)))[0, 1] > 0.5


def test_same_seed_and_step_give_the_same_batch_whatever_came_before():
    fresh = SyntheticScenes((48, 48), seed=3).batch(5, 11)
    used = SyntheticScenes((48, 48), seed=3)
    torch.manual_seed(99)
    for step in (0, 4, 11, 2):
        again = used.batch(5, step)
        if step == 11:
            assert torch.equal(fresh.images, again.images)
            assert torch.equal(fresh.masks, again.masks)
            assert fresh.families == again.families
    assert torch.equal(used.batch(5, 11).images, fresh.images)


@pytest.fixture
def fresh_caches():
    """No tensor made before the test is seen in it, and none made in it after."""
    caches = (colour_module.tone_table, glyphs.character_distance, textures.spectrum, textures.surface_image)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.slow
def test_everything_is_drawn_on_the_device(monkeypatch, fresh_caches):
    """PyTorch's fake tensors have a shape and a device, here one that this machine may lack, and mix no two devices."""
    start = RandomNumbers.__init__

    def without_generator(rng, n, key, device="cpu"):
        start(rng, n, key)
        rng.device, rng.generator = torch.device(device), None

    monkeypatch.setattr(RandomNumbers, "__init__", without_generator)
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda values: torch.zeros(0, 1, dtype=torch.long))  # has no values
    monkeypatch.setattr(scene_module, "pick_many", lambda rng, indices, table, n, hardness: (indices * 3)[:n])
    monkeypatch.setattr(scene_module, "GROUP_ON_GPU", 100)
    with FakeTensorMode():
        scenes = SyntheticScenes(
            (64, 64), families="all", backgrounds="all", difficulty=1, variety=1, reshaping=1, device="cuda"
        )
        batch = scenes.batch(len(FAMILIES), 0)
        augmented = Augment()(batch.images, batch.masks, ("a",))
    assert {*batch.families} == {*family_names()}
    assert {*batch.backgrounds} == {*background_names()}
    assert {values.device.type for values in (*batch[:3], *augmented)} == {"cuda"}


def test_the_generator_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    SyntheticScenes((32, 32)).batch(2, 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("other", [{"seed": 4}, {"step": 1}, {"difficulty": 0.9}])
def test_another_seed_step_or_difficulty_gives_other_pictures(other):
    scenes = SyntheticScenes((32, 32), seed=other.get("seed", 0))
    first = SyntheticScenes((32, 32), seed=0).batch(3, 0, difficulty=0.3)
    second = scenes.batch(3, other.get("step", 0), difficulty=other.get("difficulty", 0.3))
    assert not torch.equal(first.images, second.images)


def test_scenes_of_one_batch_differ():
    images = SyntheticScenes((32, 32), families=["blob"], backgrounds=["plain"]).batch(6, 0).images
    for i in range(6):
        for j in range(i):
            assert (images[i] - images[j]).abs().mean() > 0.01


# -- families ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("table", "what"), [(FAMILIES, "shapes"), (BACKGROUNDS, "backgrounds")])
def test_two_families_are_held_out_and_apart(table, what):
    train, held, every = (set(select_indices(w, table, what)) for w in ("train", "held_out", "all"))
    assert len(held) == 2
    assert not train & held
    assert train | held == every == set(range(len(table)))


def test_training_never_draws_what_is_held_out():
    held = {f.name for f in FAMILIES if f.held_out} | {b.name for b in BACKGROUNDS if b.held_out}
    scenes = SyntheticScenes((32, 32), difficulty=1.0)
    for step in range(4):
        batch = scenes.batch(24, step)
        assert not held & set(batch.families + batch.backgrounds)
    unseen = SyntheticScenes((32, 32), families="held_out", backgrounds="held_out").batch(12, 0)
    assert set(unseen.families + unseen.backgrounds) == held
    assert set(held_out_scenes((32, 32)).batch(12, 0).families) <= held


def test_nothing_held_out_is_drawn_inside_a_training_family():
    """A group draws members of other families; none of them may be a held-out one."""
    from birefnet_lite.synthetic.large_objects import MEMBERS

    assert not {f.draw for f in FAMILIES if f.held_out} & set(MEMBERS)


def test_labels_keep_their_meaning():
    """A checkpoint's class head depends on this order: families may be added at the end only."""
    assert family_names()[:6] == ("blob", "polygon", "star", "slab", "ring", "holed")
    assert family_names()[36:38] == ("portrait", "animal_face")
    assert family_names()[46:] == ("gear", "lamp")
    assert len(set(family_names())) == len(FAMILIES)
    assert len(set(background_names())) == len(BACKGROUNDS)


@pytest.mark.parametrize("index", range(len(FAMILIES)), ids=family_names())
def test_every_family_draws_something_soft_edged(index):
    scenes = SyntheticScenes((96, 96), seed=2, families=[FAMILIES[index].name], backgrounds=["plain"])
    batch = scenes.batch(4, 0)
    assert set(batch.labels.tolist()) == {index}
    area = batch.masks.mean((1, 2, 3))
    assert (area > 0.005).all()
    assert (area < 0.95).all()
    between = (batch.masks > 0.02) & (batch.masks < 0.98)
    assert between.any()
    # Soft pixels are an edge: each has both inside and outside within two pixels.
    grown = torch.nn.functional.max_pool2d(batch.masks, 5, 1, 2)
    shrunk = -torch.nn.functional.max_pool2d(-batch.masks, 5, 1, 2)
    assert (grown - shrunk)[between].mean() > 0.5


@pytest.mark.parametrize("index", range(len(BACKGROUNDS)), ids=background_names())
def test_every_background_fills_the_picture(index):
    ground = SyntheticScenes((48, 64)).draw_backgrounds([index] * 3, 0, 0.8)
    assert ground.isfinite().all()
    assert ground.shape == (3, 3, 48, 64)
    assert (ground.amax((1, 2, 3)) > 0.05).all()
    assert (ground[0] - ground[1]).abs().mean() > 0.005


def test_the_mask_is_what_the_object_changes():
    """The same scene with and without its objects differs where the mask says so, and by shadows alone elsewhere."""
    scenes = SyntheticScenes((64, 64), seed=8, difficulty=0.0)
    ground = scenes.draw_backgrounds([0] * 8, 0, 0.0)
    objects, masks = scenes.draw_objects([0, 1, 3, 8] * 2, 0, 0.0, ground)

    def scene(cover):
        return composite(RandomNumbers(8, ("test",)), ground.clone(), objects, cover, [False] * 8, 0.0)

    with_object, without = scene(masks), scene(torch.zeros_like(masks))
    # Distractors are copies of objects: where they change the ground, both scenes differ outside the mask.
    outside = (masks < 0.01)[:, None].expand_as(ground)
    darker_or_same = (with_object - without)[outside] < 0.15
    assert darker_or_same.float().mean() > 0.97
    inside = (masks > 0.99)[:, None]
    change = ((with_object - without).abs() * inside).sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3)))
    assert (change > 0.05).all()


def test_size_of_the_objects_is_spread_as_in_photographs():
    scenes = SyntheticScenes((48, 48), seed=0, difficulty=0.6)
    masks = torch.cat([scenes.batch(32, step).masks for step in range(4)])
    area = masks.mean((1, 2, 3))
    assert 0.12 < area.median() < 0.35
    assert (area > 0.4).float().mean() > 0.08
    assert (area < 0.1).float().mean() > 0.05
    frame = torch.cat((masks[:, 0, 0], masks[:, 0, -1], masks[:, 0, :, 0], masks[:, 0, :, -1]), 1)
    assert 0.2 < ((frame > 0.5).float().mean(1) > 0.02).float().mean() < 0.7


def test_difficulty_lowers_the_contrast():
    def contrast(difficulty):
        gaps = []
        for step in range(3):
            batch = SyntheticScenes((40, 40), seed=1, families=["blob"]).batch(24, step, difficulty=difficulty)
            inside = (batch.images * batch.masks).sum((2, 3)) / batch.masks.sum((2, 3))
            outside = (batch.images * (1 - batch.masks)).sum((2, 3)) / (1 - batch.masks).sum((2, 3))
            gaps.append((inside - outside).abs().mean(1))
        return torch.cat(gaps).mean()

    assert contrast(0.0) > 1.3 * contrast(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (16, 64)}, "at least 32 pixels"),
        ({"difficulty": 1.5}, r"difficulty 1\.5 given; wanted a number from 0"),
        ({"variety": -0.1}, r"variety -0\.1 given; wanted a chance"),
        ({"reshaping": 1.1}, r"reshaping 1\.1 given; wanted a chance"),
        ({"families": ["dragon"]}, "dragon.*portrait"),
        ({"families": []}, "given; wanted 'train'"),
        ({"backgrounds": "moon"}, "moon.*indoor"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticScenes(**arguments)


def test_wrong_batches_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        SyntheticScenes((32, 32)).batch(0, 0)
    with pytest.raises(ValueError, match="difficulty -1"):
        SyntheticScenes((32, 32)).batch(1, 0, difficulty=-1)


# -- characters --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("font", glyphs.FONTS)
def test_fonts_have_many_characters_and_none_like_a_held_out_family(font):
    codes = glyphs.characters(font)
    assert len(codes) > 1500
    words = {word for code in codes for word in unicodedata.name(chr(code), "").split()}
    assert not words & {family.name.upper() for family in FAMILIES if family.held_out}


def test_a_character_is_where_another_rasterizer_puts_it():
    """matplotlib's own path of the letter, filled by even-odd winding, against the sign of the distance."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = glyphs.FONTS[0]
    c = grid(128, 128)
    for letter in "OBg8":
        table = glyphs.character_distance(font, ord(letter))
        path = TextPath((0, 0), letter, size=100, prop=FontProperties(fname=str(glyphs.path_of(font))))
        box = path.get_extents()
        scale = 2 * glyphs.HALF_EXTENT / max(box.width, box.height)
        points = torch.stack((c.x.flatten() / scale, -c.y.flatten() / scale), 1).numpy()
        points += [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]
        crossings = sum(polygon_contains(polygon, points) for polygon in path.to_polygons())
        wanted = torch.from_numpy(crossings % 2 == 1).view(128, 128)
        found = torch.nn.functional.interpolate(table[None, None], size=(128, 128), mode="bilinear")[0, 0] < 0
        assert (wanted & found).sum() / (wanted | found).sum() > 0.93, letter


def polygon_contains(polygon, points):
    from matplotlib.path import Path

    return Path(polygon).contains_points(points).astype(int)


def test_a_character_is_a_distance_and_grows_beyond_its_table(monkeypatch):
    c = grid(256, 256)
    monkeypatch.setattr(glyphs, "FONTS", glyphs.FONTS[:1])
    monkeypatch.setattr(glyphs, "characters", lambda font: (ord("O"),))
    distance = glyphs.glyph(RandomNumbers(1, ("o",)), c.x, c.y)
    assert outline_length_error(distance, c) < 0.15
    wide = glyphs.glyph(RandomNumbers(1, ("o",)), 3 * c.x, 3 * c.y)
    assert (wide[0, 0, 0] > 2) & (wide[0, 128, 128] > 0)  # far outside, and in the hole of the letter


def test_blank_and_thin_characters_are_left_out():
    assert glyphs.character_distance(glyphs.FONTS[0], ord(" ")) is None
    assert glyphs.character_distance(glyphs.FONTS[0], ord("-")) is not None
    assert glyphs.character_distance(glyphs.FONTS[1], ord("|")) is None


# -- distances ---------------------------------------------------------------------------------------------------------
def test_box_and_capsule_are_true_distances():
    c = grid()
    corners = torch.stack((c.x.flatten(), c.y.flatten()), 1).double()
    # Brute force: the distance to a finely sampled outline.
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
    a, b, d, e = (torch.tensor(p, dtype=torch.float64) for p in ((-0.6, -0.3), (0.6, -0.3), (0.6, 0.3), (-0.6, 0.3)))
    outline = torch.cat([p + (q - p) * t for p, q in ((a, b), (b, d), (d, e), (e, a))])
    nearest = torch.cdist(corners, outline).amin(1).view(c.x.shape)
    assert torch.allclose(sd.box(c.x, c.y, 0.6, 0.3).abs().double(), nearest, atol=1e-3)
    segment = a + (d - a) * t
    nearest = torch.cdist(corners, segment).amin(1).view(c.x.shape) - 0.1
    assert torch.allclose(sd.capsule(c.x, c.y, (-0.6, -0.3), (0.6, 0.3), 0.1).double(), nearest, atol=1e-3)


@pytest.mark.parametrize(
    "shape",
    [
        lambda c: sd.circle(c.x, c.y, 0.6),
        lambda c: sd.ellipse(c.x, c.y, 0.8, 0.3),
        lambda c: sd.box(c.x, c.y, 0.6, 0.4, 0.2),
        lambda c: sd.convex(c.x, c.y, [(-0.5, -0.5), (0.7, -0.2), (0.1, 0.6)]),
        lambda c: sd.capsule(c.x, c.y, (-0.5, 0.1), (0.5, 0.3), 0.2, 0.2),
    ],
)
def test_distances_grow_by_one_per_unit_near_the_outline(shape):
    c = grid(128, 128)
    assert outline_length_error(shape(c), c) < 0.08


def test_polygon_may_run_either_way_round():
    c = grid()
    points = [(-0.5, -0.5), (0.7, -0.2), (0.1, 0.6)]
    assert torch.allclose(sd.convex(c.x, c.y, points), sd.convex(c.x, c.y, points[::-1]), atol=1e-6)


def test_many_strokes_at_once_are_the_union_of_each():
    c, d = grid(), RandomNumbers(1, ("strokes",))
    ax, ay, bx, by = (d.many(40, -0.8, 0.8) for _ in range(4))
    width = d.many(40, 0.01, 0.1)
    together = sd.strokes(c.x, c.y, ax, ay, bx, by, width, width * 0.5)
    single = [
        sd.capsule(c.x, c.y, (ax[:, i], ay[:, i]), (bx[:, i], by[:, i]), width[:, i], width[:, i] * 0.5)
        for i in range(40)
    ]
    assert torch.allclose(together, sd.union(*single), atol=1e-5)


def test_sector_repeats_one_spoke_all_round():
    c = grid(65, 65)
    u, v = sd.sector(c.x, c.y, 4)
    spoke = sd.capsule(u, v, (0.2, 0.0), (0.8, 0.0), 0.1)
    assert torch.allclose(spoke, spoke.rot90(1, (1, 2)), atol=1e-5)


def test_area_of_a_soft_disc_is_that_of_the_circle():
    """Analytic antialiasing: alpha adds up to the area."""
    c = grid(96, 96)
    c.paint(sd.circle(c.x, c.y, 0.5), c.material("stone"))
    covered = c.alpha.sum().item() * (2 / 96) ** 2
    assert covered == pytest.approx(math.pi * 0.25, rel=2e-3)


# -- textures, colours, camera -----------------------------------------------------------------------------------------
def test_noise_has_unit_spread_and_the_asked_slope():
    noise = spectral_noise(RandomNumbers(8, ("noise",)), (128, 128), 2.0, 1e4, 1.0)
    assert noise.mean().abs() < 1e-3
    assert noise.std() == pytest.approx(1, abs=0.05)
    power = torch.fft.rfft2(noise).abs().square().mean(0)[0]  # along x
    slope = np.polyfit(np.log(np.arange(8, 50)), np.log(power[8:50].numpy()), 1)[0]
    assert slope == pytest.approx(-2, abs=0.35)  # amplitude falls as 1/f, power as 1/f²


def test_noise_of_every_name_and_pattern():
    c = Canvas(RandomNumbers(2, ("patterns",)), (40, 56))
    for name in NOISES:
        assert 0.7 < c.noise(name).std() < 1.3
    for pattern in set(PATTERNS) - {"plain"}:
        mix = c.pattern_weights(c.material("fur", pattern))
        assert mix.min() >= 0
        assert mix.max() <= 1
        assert mix.std() > 0.02
    with pytest.raises(ValueError, match="no pattern 'tartan'"):
        c.pattern_weights(c.material("fur", "tartan"))


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_come_from_scikit_image(name):
    from skimage import data

    c = grid(64, 64)
    sample = surface(RandomNumbers(1, ("s",)), c.x, c.y, name)[0]
    small = torch.from_numpy(getattr(data, name)() / 255.0).view(64, 8, 64, 8).mean((1, 3)).float()
    assert np.corrcoef(sample.flatten(), small.flatten())[0, 1] > 0.7


def test_blur_keeps_the_mean_and_more_blur_is_smoother():
    image = torch.rand(1, 3, 64, 64)
    spread = [blur(image, amount).std().item() for amount in (0.0, 1.0, 3.0, 8.0)]
    assert torch.equal(blur(image, 0.0), image)
    assert spread == sorted(spread, reverse=True)
    assert blur(image, 5.0).mean() == pytest.approx(image.mean().item(), abs=0.02)


@pytest.mark.parametrize("tone", [None, *TONES])
def test_colours_are_colours(tone):
    colour = random_colours(RandomNumbers(50, ("c",)), tone)
    assert colour.shape == (50, 3, 1, 1)
    assert colour.min() > 0
    assert colour.max() < 1


def test_colours_are_separated():
    d = RandomNumbers(200, ("apart",))
    first, second = random_colours(d), random_colours(d)
    gap = (separate_colours(first, second, 0.2) - second).square().mean(1).sqrt()
    assert (gap > 0.19).float().mean() > 0.95


def test_jpeg_damage_is_that_of_a_real_encoder():
    """Quality 50 of Pillow uses the same table: the loss of both is alike, and it grows with the coarseness."""
    from io import BytesIO

    from PIL import Image

    y = spectral_noise(RandomNumbers(1, ("j",)), (64, 64), 2.0, 200.0, 1.2)[0] * 0.12 + 0.5
    pixels = (y.clamp(0, 1) * 255).round().byte().numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    theirs = np.asarray(Image.open(file)).astype(np.float32)
    picture = torch.from_numpy(pixels / 255.0).float().expand(1, 3, -1, -1)
    ours = camera.jpeg(picture, torch.ones(1, 1, 1, 1))[0, 0].numpy() * 255
    # They compute in whole numbers, so that now and then a frequency is rounded to the other side.
    assert np.quantile(np.abs(ours - theirs), 0.9) < 1
    assert structural_similarity(ours, theirs, data_range=255) > 0.99
    rougher = camera.jpeg(picture, torch.full((1, 1, 1, 1), 3.0))
    assert (rougher - picture).abs().mean() > (camera.jpeg(picture, torch.ones(1, 1, 1, 1)) - picture).abs().mean()


def test_the_camera_keeps_the_range_and_leaves_its_input_alone():
    scene = torch.rand(6, 3, 40, 52) * 1.4
    kept = scene.clone()
    for strength in (0.0, 1.0):
        picture = camera.simulate_camera(RandomNumbers(6, ("camera", strength)), scene, strength)
        assert picture.min() >= 0
        assert picture.max() <= 1
    assert torch.equal(scene, kept)
