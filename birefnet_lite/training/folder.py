"""Images and masks from a folder or a CSV, and seeded batches of them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from birefnet_lite.inference.images import read_mask, read_photo, read_size, resize, to_tensor
from birefnet_lite.synthetic.draws import Draws
from birefnet_lite.training.augment import Augment

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
NO_LABEL = -100  # what torch.nn.functional.cross_entropy leaves out


class Sample(NamedTuple):
    """image (3, H, W) and mask (1, H, W) in [0, 1]; label, int64, -100 where there is none; name, the file's stem."""

    image: Tensor
    mask: Tensor
    label: Tensor
    name: str


class FolderBatch(NamedTuple):
    """images (n, 3, H, W) and masks (n, 1, H, W) in [0, 1]; labels (n,) int64; n names."""

    images: Tensor
    masks: Tensor
    labels: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The two files of one example; class_name is None where it was not asked for."""

    image: Path
    mask: Path
    class_name: str | None = None


class FolderDataset(Dataset):
    """Pairs of image and mask.

    root: a folder with `im/` and `gt/`, whose files pair by stem as in DIS5K; or a CSV file with the columns `image`
    and `mask` and, for classes, `class`, its paths relative to it. size: (height, width) to scale to, or None to keep
    each picture's own. classes: take class names from the CSV or from DIS5K file names,
    `group#NAME#number#CLASS#rest`. class_names: the order of the labels; sorted names of this set if None.

    Everything that can be seen without decoding is checked here, so that a long run does not stop for it: raises
    FileNotFoundError for a missing file or folder and ValueError for pairs that do not fit together, with their names.
    """

    def __init__(
        self,
        root: str | Path,
        size: tuple[int, int] | None = None,
        classes: bool = False,
        class_names: Sequence[str] | None = None,
    ):
        root = Path(root)
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist; wanted a folder with im/ and gt/, or a CSV of pairs")
        self.size = size
        self.pairs = csv_pairs(root, classes) if root.is_file() else folder_pairs(root, classes)
        if not self.pairs:
            raise ValueError(f"{root} holds no pairs of image and mask; images end in {', '.join(SUFFIXES)}")
        for pair in self.pairs:
            check_sizes(pair)
        found = sorted({pair.class_name for pair in self.pairs}) if classes else []
        self.class_names = list(class_names) if class_names is not None and classes else found
        unknown = [name for name in found if name not in self.class_names]
        if unknown:
            raise ValueError(f"{root} has classes that are not in class_names: {', '.join(unknown[:5])}")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, mask = read_pair(pair, self.size)
        label = NO_LABEL if pair.class_name is None else self.class_names.index(pair.class_name)
        return Sample(image, mask, torch.tensor(label), pair.image.stem)


class FolderBatches:
    """Endless batches of a dataset that has one size, in an order that depends on the seed and the step alone.

    Every epoch goes through all pairs once, in an order of its own. augment: what to do to each batch, or None.
    `batch(n, step)` is what `SyntheticScenes` has too, so that a training loop takes either.
    """

    def __init__(
        self,
        dataset: FolderDataset,
        seed: int = 0,
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
    ):
        if dataset.size is None:
            raise ValueError("pictures of different sizes make no batch; give FolderDataset a size=(height, width)")
        self.dataset, self.seed, self.augment, self.device = dataset, seed, augment, torch.device(device)
        self.num_classes = len(dataset.class_names)

    def order(self, epoch: int) -> list[int]:
        """The order of one epoch."""
        draws = Draws(1, (self.seed, epoch, "order"))
        return torch.randperm(len(self.dataset), generator=draws.generator).tolist()

    def batch(self, n: int, step: int) -> FolderBatch:
        """The n examples at this step; runs on into the next epoch where one ends."""
        if n < 1:
            raise ValueError(f"a batch of {n} examples was asked for; wanted at least 1")
        places = [divmod(i, len(self.dataset)) for i in range(step * n, (step + 1) * n)]
        orders = {epoch: self.order(epoch) for epoch, _ in places}
        samples = [self.dataset[orders[epoch][i]] for epoch, i in places]
        images = torch.stack([s.image for s in samples]).to(self.device)
        masks = torch.stack([s.mask for s in samples]).to(self.device)
        if self.augment is not None:
            images, masks = self.augment(images, masks, (self.seed, step, "augment"))
        labels = torch.stack([s.label for s in samples]).to(self.device)
        return FolderBatch(images, masks, labels, tuple(s.name for s in samples))


# -- finding pairs -----------------------------------------------------------------------------------------------------
def folder_pairs(root: Path, classes: bool) -> list[Pair]:
    """Pairs of `im/` and `gt/` by stem; every file without a partner is named."""
    for part in ("im", "gt"):
        if not (root / part).is_dir():
            raise FileNotFoundError(f"{root} has no folder {part}/; wanted images in im/ and masks named alike in gt/")
    images, masks = by_stem(root / "im"), by_stem(root / "gt")
    alone = [f"im/{images[s].name} has no mask in gt/" for s in sorted(images.keys() - masks.keys())]
    alone += [f"gt/{masks[s].name} has no image in im/" for s in sorted(masks.keys() - images.keys())]
    if alone:
        raise FileNotFoundError(f"{root}: " + some_of(alone))
    return [Pair(images[s], masks[s], dis5k_class(images[s]) if classes else None) for s in sorted(images)]


def by_stem(folder: Path) -> dict[str, Path]:
    """Picture files of a folder by their stem."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{folder} holds both {found[path.stem].name} and {path.name}; a stem may occur once")
        found[path.stem] = path
    return found


def dis5k_class(path: Path) -> str:
    """The class in a DIS5K file name, `group#NAME#number#CLASS#rest`."""
    parts = path.stem.split("#")
    if len(parts) < 5 or not parts[3]:
        raise ValueError(f"{path.name} names no class; wanted DIS5K's group#NAME#number#CLASS#rest, or classes=False")
    return parts[3]


def csv_pairs(table: Path, classes: bool) -> list[Pair]:
    """Pairs listed in a CSV file."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        wanted = ["image", "mask", "class"] if classes else ["image", "mask"]
        lacking = [column for column in wanted if column not in (reader.fieldnames or ())]
        if lacking:
            raise ValueError(f"{table} has no column {lacking[0]!r}; its first line should read {','.join(wanted)}")
        pairs, missing = [], []
        for row in reader:
            if not row["image"] or not row["mask"] or (classes and not row["class"]):
                raise ValueError(f"{table}, line {reader.line_num}: {', '.join(wanted)} must all be given")
            pair = Pair(table.parent / row["image"], table.parent / row["mask"], row["class"] if classes else None)
            absent = [path for path in (pair.image, pair.mask) if not path.is_file()]
            missing += [f"line {reader.line_num}: {path} does not exist" for path in absent]
            pairs.append(pair)
    if missing:
        raise FileNotFoundError(f"{table}: " + some_of(missing))
    return pairs


def some_of(faults: list[str], most: int = 5) -> str:
    """The first faults, and how many more there are."""
    rest = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + rest


# -- reading -----------------------------------------------------------------------------------------------------------
def check_sizes(pair: Pair) -> None:
    """Raise `ValueError` unless image and mask have as many pixels each way, both turned as their EXIF says."""
    image, mask = read_size(pair.image), read_size(pair.mask)
    if image != mask:
        raise ValueError(
            f"{pair.mask} is {mask[1]}x{mask[0]} pixels but {pair.image} is {image[1]}x{image[0]}; "
            "a mask must have the size of its image"
        )


def read_pair(pair: Pair, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Image (3, H, W) and mask (1, H, W) in [0, 1], upright and resized to `size` (height, width)."""
    pixels, mask = read_photo(pair.image).pixels, read_mask(pair.mask)
    if mask.shape != pixels.shape[:2]:
        check_sizes(pair)
    if size is not None:
        pixels, mask = resize(pixels, *size), resize(mask, *size).clip(0, 1)
    return to_tensor(pixels), torch.from_numpy(mask)[None]
