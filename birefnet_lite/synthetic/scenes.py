"""`SyntheticScenes`: batches of drawn scenes with one main object each, its alpha matte and its class label."""

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
# Scenes of one family that are drawn together, and share numbers such as that of the spokes. On a CPU a small group
# stays in the cache; a GPU draws many in the time of one.
GROUP, GROUP_ON_GPU = 4, 16


class Batch(NamedTuple):
    """A batch of scenes.

    Attributes:
        images: (n, 3, H, W) in [0, 1].
        masks: Alpha mattes (n, 1, H, W) in [0, 1].
        labels: (n,) int64, indices into `family_names()`.
        families: n names.
        backgrounds: n names.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    families: tuple[str, ...]
    backgrounds: tuple[str, ...]


def family_names() -> tuple[str, ...]:
    """Names of all object families; a class label is an index into them.

    Examples:
        >>> len(family_names()) > 10
        True
    """
    return tuple(family.name for family in FAMILIES)


def background_names() -> tuple[str, ...]:
    """Names of all backgrounds.

    Examples:
        >>> len(background_names()) > 5
        True
    """
    return tuple(background.name for background in BACKGROUNDS)


def select_indices(wanted: str | Iterable[str], table: tuple, what: str) -> list[int]:
    """Indices into a table of families or backgrounds for `"train"`, `"held_out"`, `"all"` or names."""
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
    """An endless source of synthetic scenes with the alpha matte of their main object.

    A batch depends on the seed and the step alone. It is the same on every machine with the same kind of device and the
    same versions of PyTorch and Pillow.

    Args:
        size: (height, width) in pixels, at least 32 each.
        seed: Any integer.
        difficulty: From 0 (few families, strong contrast, plain backgrounds) to 1 (all of them, camouflage, thin parts,
            distractors, noise).
        families: `"train"` (all but the two held-out ones), `"held_out"`, `"all"`, or names.
        backgrounds: As `families`.
        device: Where everything is computed.
        variety: Domain randomization: the probability of each of random materials, uneven lighting and objects in the
            background, and a little more than half the probability of colour mixing.
        reshaping: The probability of holes in an object; that of each other change of shape (warp, kaleidoscope, pasted
            neighbour) is half of it, that of a smaller object a quarter.

    Raises:
        ValueError: A size, difficulty, variety, reshaping or name is out of range.

    Examples:
        >>> scenes = SyntheticScenes((64, 64), seed=0)
        >>> batch = scenes.batch(2, 0)
        >>> batch.images.shape, batch.masks.shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 1, 64, 64]))
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
        self.family_indices = select_indices(families, FAMILIES, "object family")
        self.background_indices = select_indices(backgrounds, BACKGROUNDS, "background")
        self.device = torch.device(device)
        self.group = GROUP if self.device.type == "cpu" else GROUP_ON_GPU
        self.num_classes = len(FAMILIES)

    @torch.no_grad()
    def batch(self, n: int, step: int, difficulty: float | None = None) -> Batch:
        """The batch of n scenes at a step; `difficulty` overrides that of the source."""
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
        """Backgrounds (n, 3, H, W) of the given kinds; those of one kind are drawn together."""
        background = torch.empty(len(kinds), 3, *self.size, device=self.device)
        for kind, rows in self.group_by_kind(kinds, range(len(kinds))):
            canvas = Canvas(
                RandomNumbers(len(rows), (self.seed, step, "ground", rows), self.device), self.size, hardness
            )
            BACKGROUNDS[kind].draw(canvas)
            background[rows] = canvas.colour
        return background.clamp(0, 1.5)

    def draw_objects(self, kinds: list[int], step: int, hardness: float, background: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (n, 3, H, W) and alpha mattes (n, H, W) of objects; those too small or too large are drawn again."""
        colours, masks = torch.empty_like(background), torch.empty_like(background[:, 0])
        background_colour = background.mean((2, 3), keepdim=True)
        waiting = list(range(len(kinds)))
        for attempt in range(ATTEMPTS):
            for kind, rows in self.group_by_kind(kinds, waiting):
                rng = RandomNumbers(len(rows), (self.seed, step, "object", rows, attempt), self.device)
                canvas = Canvas(rng, self.size, hardness, background_colour[rows])
                zoom = rng.pick((1.0, rng.structure.uniform(1.2, 1.8), rng.structure.uniform(0.4, 0.75)), (7, 1.3, 1.7))
                if zoom != 1:  # closer, so that the frame may cut the object, or farther away
                    canvas.within = (rng.structure.uniform(-0.45, 0.45), rng.structure.uniform(-0.35, 0.35), zoom)
                FAMILIES[kind].draw(canvas)
                colours[rows], masks[rows] = canvas.colour, canvas.alpha
            area = masks.mean((1, 2))
            waiting = ((area < MIN_AREA) | (area > MAX_AREA)).nonzero()[:, 0].tolist()
            if not waiting:
                break
        return colours.clamp(0, 1.5), masks.clamp(0, 1)

    def group_by_kind(self, kinds: list[int], rows: Iterable[int]) -> list[tuple[int, list[int]]]:
        """Pairs of a kind and the rows of that kind, at most `group` rows each."""
        by_kind: dict[int, list[int]] = {}
        for i in rows:
            by_kind.setdefault(kinds[i], []).append(i)
        return [
            (kind, same[i : i + self.group]) for kind, same in by_kind.items() for i in range(0, len(same), self.group)
        ]


def held_out_scenes(size: tuple[int, int] = (256, 256), device: torch.device | str = "cpu") -> SyntheticScenes:
    """The scenes for evaluation: held-out families on held-out backgrounds, with a fixed seed and difficulty.

    Examples:
        >>> held_out_scenes().batch(1, 0).images.shape
        torch.Size([1, 3, 256, 256])
    """
    return SyntheticScenes(size, EVALUATION_SEED, EVALUATION_DIFFICULTY, "held_out", "held_out", device)


def check_difficulty(difficulty: float) -> float:
    """Return the difficulty as a float; `ValueError` unless it is from 0 to 1."""
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty {difficulty} given; wanted a number from 0 (easy) to 1 (hard)")
    return float(difficulty)


def pick_many(rng: RandomNumbers, indices: list[int], table: tuple, n: int, hardness: float) -> list[int]:
    """n random indices; entries whose level is above the difficulty are rare but possible."""
    weights = [table[i].weight * (0.01 + 1 / (1 + math.exp((table[i].level - hardness - 0.1) / 0.05))) for i in indices]
    return rng.structure.choices(indices, weights, k=n)
