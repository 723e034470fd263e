"""Endless scenes with one main object: image, soft mask, class label, in batches."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from birefnet_lite.synthetic.arrange import arrange
from birefnet_lite.synthetic.backgrounds import BACKGROUNDS
from birefnet_lite.synthetic.camera import photograph
from birefnet_lite.synthetic.canvas import Canvas
from birefnet_lite.synthetic.draws import Draws
from birefnet_lite.synthetic.graft import graft
from birefnet_lite.synthetic.shapes import FAMILIES
from birefnet_lite.synthetic.variety import crowd, dapple, remake, restyle

EVALUATION_SEED, EVALUATION_DIFFICULTY = 271828, 0.5
LEAST_AREA, MOST_AREA, ATTEMPTS = 0.015, 0.85, 3
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


def chosen(wanted: str | Iterable[str], table: tuple, what: str) -> list[int]:
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
        self.difficulty = checked_difficulty(difficulty)
        for name, chance in (("variety", variety), ("reshaping", reshaping)):
            if not 0 <= chance <= 1:
                raise ValueError(f"{name} {chance} given; wanted a chance from 0 to 1")
        self.variety, self.reshaping = variety, reshaping
        self.family_indices = chosen(families, FAMILIES, "family of shapes")
        self.background_indices = chosen(backgrounds, BACKGROUNDS, "family of backgrounds")
        self.device = torch.device(device)
        self.group = GROUP if self.device.type == "cpu" else GROUP_ON_GPU
        self.num_classes = len(FAMILIES)

    @torch.no_grad()
    def batch(self, n: int, step: int, difficulty: float | None = None) -> Batch:
        """The batch of n scenes at this step; a difficulty given here replaces the one of the source."""
        if n < 1:
            raise ValueError(f"a batch of {n} scenes was asked for; wanted at least 1")
        hardness = self.difficulty if difficulty is None else checked_difficulty(difficulty)
        draws = Draws(n, (self.seed, step, "scene"), self.device)
        families = pick_many(draws, self.family_indices, FAMILIES, n, hardness)
        backgrounds = pick_many(draws, self.background_indices, BACKGROUNDS, n, hardness)
        ground = self.draw_grounds(backgrounds, step, hardness)
        objects, masks = self.draw_objects(families, step, hardness, ground)
        if self.reshaping:
            objects, masks = graft(Draws(n, (self.seed, step, "graft"), self.device), objects, masks, self.reshaping)
        if self.variety:
            objects = remake(Draws(n, (self.seed, step, "variety"), self.device), objects, ground, self.variety)
            draws = Draws(n, (self.seed, step, "crowd"), self.device)
            ground = crowd(draws, ground, objects, masks[:, None], self.variety)
        hidden = [BACKGROUNDS[i].camouflage for i in backgrounds]
        images = torch.empty_like(ground)
        for start in range(0, n, self.group):
            part = slice(start, start + self.group)
            draws = Draws(len(hidden[part]), (self.seed, step, "photograph", start), self.device)
            scene = arrange(draws, ground[part], objects[part], masks[part], hidden[part], hardness)
            if self.variety:
                scene = dapple(Draws(draws.n, (*draws.key, "light"), self.device), scene, self.variety)
                scene = restyle(Draws(draws.n, (*draws.key, "film"), self.device), scene, self.variety)
            images[part] = photograph(draws, scene, hardness)
        return Batch(
            images,
            masks[:, None],
            torch.tensor(families, device=self.device),
            tuple(FAMILIES[i].name for i in families),
            tuple(BACKGROUNDS[i].name for i in backgrounds),
        )

    def draw_grounds(self, kinds: list[int], step: int, hardness: float) -> Tensor:
        """Backgrounds (n, 3, H, W); those of one kind are drawn together."""
        ground = torch.empty(len(kinds), 3, *self.size, device=self.device)
        for kind, rows in self.groups(kinds, range(len(kinds))):
            canvas = Canvas(Draws(len(rows), (self.seed, step, "ground", rows), self.device), self.size, hardness)
            BACKGROUNDS[kind].draw(canvas)
            ground[rows] = canvas.colour
        return ground.clamp(0, 1.5)

    def draw_objects(self, kinds: list[int], step: int, hardness: float, ground: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (n, 3, H, W) and covers (n, H, W) of objects; what came out too small or large is drawn anew."""
        colours, masks = torch.empty_like(ground), torch.empty_like(ground[:, 0])
        backdrop = ground.mean((2, 3), keepdim=True)
        waiting = list(range(len(kinds)))
        for attempt in range(ATTEMPTS):
            for kind, rows in self.groups(kinds, waiting):
                draws = Draws(len(rows), (self.seed, step, "object", rows, attempt), self.device)
                canvas = Canvas(draws, self.size, hardness, backdrop[rows])
                zoom = draws.pick(
                    (1.0, draws.structure.uniform(1.2, 1.8), draws.structure.uniform(0.4, 0.75)), (7, 1.3, 1.7)
                )
                if zoom != 1:  # nearer, so that the frame cuts what else would be whole, or farther away
                    canvas.within = (draws.structure.uniform(-0.45, 0.45), draws.structure.uniform(-0.35, 0.35), zoom)
                FAMILIES[kind].draw(canvas)
                colours[rows], masks[rows] = canvas.colour, canvas.alpha
            area = masks.mean((1, 2))
            waiting = ((area < LEAST_AREA) | (area > MOST_AREA)).nonzero()[:, 0].tolist()
            if not waiting:
                break
        return colours.clamp(0, 1.5), masks.clamp(0, 1)

    def groups(self, kinds: list[int], rows: Iterable[int]) -> list[tuple[int, list[int]]]:
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


def checked_difficulty(difficulty: float) -> float:
    """The difficulty, or ValueError."""
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty {difficulty} given; wanted a number from 0 (easy) to 1 (hard)")
    return float(difficulty)


def pick_many(draws: Draws, indices: list[int], table: tuple, n: int, hardness: float) -> list[int]:
    """n indices; entries whose level lies above the difficulty are rare, though never quite absent."""
    weights = [table[i].weight * (0.01 + 1 / (1 + math.exp((table[i].level - hardness - 0.1) / 0.05))) for i in indices]
    return draws.structure.choices(indices, weights, k=n)
