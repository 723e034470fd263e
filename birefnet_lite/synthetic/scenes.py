"""Endless scenes with one main object: image, soft mask, class label, in batches."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from birefnet_lite.synthetic.backgrounds import BACKGROUNDS
from birefnet_lite.synthetic.camera import simulate_camera
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.compositing import composite
from birefnet_lite.synthetic.domain_randomization import (
    add_background_objects,
    add_uneven_light,
    apply_random_convolution,
    randomize_materials,
)
from birefnet_lite.synthetic.families import FAMILIES
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.shape_changes import change_shapes

EVALUATION_SEED, EVALUATION_DIFFICULTY = 271828, 0.5
MIN_AREA, MAX_AREA, ATTEMPTS = 0.015, 0.85, 3
# Scenes of one family drawn together share what is drawn per group, such as the number of spokes. Few stay in a
# processor's cache; a GPU takes as long for one as for many.
GROUP, GROUP_ON_GPU = 4, 16


class Batch(NamedTuple):
    """A batch of scenes.

    images (n, 3, H, W) in [0, 1]; masks (n, 1, H, W) in [0, 1], soft at edges; labels (n,) int64, indices into
    `family_names()`; families and backgrounds, n names each.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    families: tuple[str, ...]
    backgrounds: tuple[str, ...]


def family_names() -> tuple[str, ...]:
    """Names of all families of shapes; a class label is an index into it."""
    return tuple(family.name for family in FAMILIES)


def background_names() -> tuple[str, ...]:
    """Names of all families of backgrounds."""
    return tuple(background.name for background in BACKGROUNDS)


def select_indices(wanted: str | Iterable[str], table: tuple, what: str) -> list[int]:
    """Indices into a table of families for "train", "held_out", "all" or names."""
    if isinstance(wanted, str) and wanted in ("train", "held_out", "all"):
        return [i for i, entry in enumerate(table) if wanted == "all" or entry.held_out == (wanted == "held_out")]
    names = [entry.name for entry in table]
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ValueError(
            f"no {what} {unknown if unknown else 'given'}; wanted 'train', 'held_out', 'all' or some of "
            + ", ".join(names)
        )
    return [names.index(name) for name in wanted]


class SyntheticScenes:
    """An endless source of synthetic photographs with the mask of their main object.

    size: (height, width) in pixels, at least 32 each. seed: any whole number; `batch` depends on it, on the step and on
    nothing that went before. difficulty: from 0 (few families, strong contrast, plain ground) to 1 (all of them,
    camouflage, thin parts, distractors, damage). families, backgrounds: "train" (all but the two held-out families of
    each), "held_out", "all", or names. device: where everything is computed. variety: the chance that an object is made
    of materials drawn for grounds, that uneven light falls on a whole scene, that others' objects stand behind the main
    one, and, a little rarer, that its colours are mixed anew. reshaping: the chance that an object is pierced, half of
    it that of each other change of its shape (bent, mirrored, joined with another), a quarter that it moves away. With
    both, what else is drawn stays the same. The numbers of one seed are the same on every machine with the same kind of
    device and versions of PyTorch and Pillow.

    Raises ValueError for a size, difficulty, variety, reshaping or name that is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        seed: int = 0,
        difficulty: float = 0.5,
        families: str | Iterable[str] = "train",
        backgrounds: str | Iterable[str] = "train",
        device: torch.device | str = "cpu",
        variety: float = 0.0,
        reshaping: float = 0.0,
    ):
        if len(size) != 2 or min(size) < 32:
            raise ValueError(f"size {tuple(size)} given; wanted (height, width) of at least 32 pixels each")
        self.size = (int(size[0]), int(size[1]))
        self.seed = seed
        self.difficulty = check_difficulty(difficulty)
        for name, chance in (("variety", variety), ("reshaping", reshaping)):
            if not 0 <= chance <= 1:
                raise ValueError(f"{name} {chance} given; wanted a chance from 0 to 1")
        self.variety, self.reshaping = variety, reshaping
        self.family_indices = select_indices(families, FAMILIES, "family of shapes")
        self.background_indices = select_indices(backgrounds, BACKGROUNDS, "family of backgrounds")
        self.device = torch.device(device)
        self.group = GROUP if self.device.type == "cpu" else GROUP_ON_GPU
        self.num_classes = len(FAMILIES)

    @torch.no_grad()
    def batch(self, n: int, step: int, difficulty: float | None = None) -> Batch:
        """The batch of n scenes at this step; a difficulty given here replaces the one of the source."""
        if n < 1:
            raise ValueError(f"a batch of {n} scenes was asked for; wanted at least 1")
        hardness = self.difficulty if difficulty is None else check_difficulty(difficulty)
        rng = RandomNumbers(n, (self.seed, step, "scene"), self.device)
        families = pick_many(rng, self.family_indices, FAMILIES, n, hardness)
        backgrounds = pick_many(rng, self.background_indices, BACKGROUNDS, n, hardness)
        background = self.draw_backgrounds(backgrounds, step, hardness)
        objects, masks = self.draw_objects(families, step, hardness, background)
        if self.reshaping:
            objects, masks = change_shapes(
                RandomNumbers(n, (self.seed, step, "graft"), self.device), objects, masks, self.reshaping
            )
        if self.variety:
            objects = randomize_materials(
                RandomNumbers(n, (self.seed, step, "variety"), self.device), objects, background, self.variety
            )
            rng = RandomNumbers(n, (self.seed, step, "crowd"), self.device)
            background = add_background_objects(rng, background, objects, masks[:, None], self.variety)
        hidden = [BACKGROUNDS[i].camouflage for i in backgrounds]
        images = torch.empty_like(background)
        for start in range(0, n, self.group):
            part = slice(start, start + self.group)
            rng = RandomNumbers(len(hidden[part]), (self.seed, step, "photograph", start), self.device)
            scene = composite(rng, background[part], objects[part], masks[part], hidden[part], hardness)
            if self.variety:
                scene = add_uneven_light(RandomNumbers(rng.n, (*rng.key, "light"), self.device), scene, self.variety)
                scene = apply_random_convolution(
                    RandomNumbers(rng.n, (*rng.key, "film"), self.device), scene, self.variety
                )
            images[part] = simulate_camera(rng, scene, hardness)
        return Batch(
            images,
            masks[:, None],
            torch.tensor(families, device=self.device),
            tuple(FAMILIES[i].name for i in families),
            tuple(BACKGROUNDS[i].name for i in backgrounds),
        )

    def draw_backgrounds(self, kinds: list[int], step: int, hardness: float) -> Tensor:
        """Backgrounds (n, 3, H, W); those of one kind are drawn together."""
        background = torch.empty(len(kinds), 3, *self.size, device=self.device)
        for kind, rows in self.group_by_kind(kinds, range(len(kinds))):
            canvas = Canvas(
                RandomNumbers(len(rows), (self.seed, step, "ground", rows), self.device), self.size, hardness
            )
            BACKGROUNDS[kind].draw(canvas)
            background[rows] = canvas.colour
        return background.clamp(0, 1.5)

    def draw_objects(self, kinds: list[int], step: int, hardness: float, background: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (n, 3, H, W) and covers (n, H, W) of objects; what came out too small or large is drawn anew."""
        colours, masks = torch.empty_like(background), torch.empty_like(background[:, 0])
        background_colour = background.mean((2, 3), keepdim=True)
        waiting = list(range(len(kinds)))
        for attempt in range(ATTEMPTS):
            for kind, rows in self.group_by_kind(kinds, waiting):
                rng = RandomNumbers(len(rows), (self.seed, step, "object", rows, attempt), self.device)
                canvas = Canvas(rng, self.size, hardness, background_colour[rows])
                zoom = rng.pick((1.0, rng.structure.uniform(1.2, 1.8), rng.structure.uniform(0.4, 0.75)), (7, 1.3, 1.7))
                if zoom != 1:  # nearer, so that the frame cuts what else would be whole, or farther away
                    canvas.within = (rng.structure.uniform(-0.45, 0.45), rng.structure.uniform(-0.35, 0.35), zoom)
                FAMILIES[kind].draw(canvas)
                colours[rows], masks[rows] = canvas.colour, canvas.alpha
            area = masks.mean((1, 2))
            waiting = ((area < MIN_AREA) | (area > MAX_AREA)).nonzero()[:, 0].tolist()
            if not waiting:
                break
        return colours.clamp(0, 1.5), masks.clamp(0, 1)

    def group_by_kind(self, kinds: list[int], rows: Iterable[int]) -> list[tuple[int, list[int]]]:
        """(kind, rows of that kind), at most `group` rows each."""
        by_kind: dict[int, list[int]] = {}
        for i in rows:
            by_kind.setdefault(kinds[i], []).append(i)
        return [
            (kind, same[i : i + self.group]) for kind, same in by_kind.items() for i in range(0, len(same), self.group)
        ]


def held_out_scenes(size: tuple[int, int] = (256, 256), device: torch.device | str = "cpu") -> SyntheticScenes:
    """The scenes that scores are given for: held-out shapes on held-out backgrounds, seed and difficulty fixed."""
    return SyntheticScenes(size, EVALUATION_SEED, EVALUATION_DIFFICULTY, "held_out", "held_out", device)


def check_difficulty(difficulty: float) -> float:
    """The difficulty, or ValueError."""
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty {difficulty} given; wanted a number from 0 (easy) to 1 (hard)")
    return float(difficulty)


def pick_many(rng: RandomNumbers, indices: list[int], table: tuple, n: int, hardness: float) -> list[int]:
    """n indices; entries whose level lies above the difficulty are rare, though never quite absent."""
    weights = [table[i].weight * (0.01 + 1 / (1 + math.exp((table[i].level - hardness - 0.1) / 0.05))) for i in indices]
    return rng.structure.choices(indices, weights, k=n)
