"""Image and mask pairs as a data set, and seeded batches of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from birefnet_lite.inference.images import read_mask, read_photo, resize, to_tensor
from birefnet_lite.output import join_some
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.training.augment import Augment
from birefnet_lite.training.pairs import FilePair, check_pairs, check_size, find_pairs

NO_LABEL = -100  # `torch.nn.functional.cross_entropy` leaves it out


class Sample(NamedTuple):
    """One example."""

    image: Tensor
    """(3, H, W) in [0, 1]."""
    mask: Tensor
    """(1, H, W) in [0, 1]."""
    label: Tensor
    """int64, or -100 where there is none."""
    name: str
    """The image file's stem."""


class FolderBatch(NamedTuple):
    """n examples."""

    images: Tensor
    """(n, 3, H, W) in [0, 1]."""
    masks: Tensor
    """(n, 1, H, W) in [0, 1]."""
    labels: Tensor
    """(n,), int64."""
    names: tuple[str, ...]
    """The stems of the n image files."""


class FolderDataset(Dataset):
    """Pairs of image and mask in a folder or a CSV file, checked before the first one is used.

    Args:
        root: See `find_pairs`.
        size: (height, width) to resize to, or None to keep the size of each image.
        classes: Whether to read class names; see `find_pairs`.
        class_names: The order of the labels; the sorted names of this set if None.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ValueError: Pairs do not fit together, or masks cannot be read; the message names them.
    """

    def __init__(
        self,
        root: str | Path,
        size: tuple[int, int] | None = None,
        classes: bool = False,
        class_names: Sequence[str] | None = None,
    ):
        self.size = size
        self.pairs = find_pairs(root, classes)
        if not self.pairs:
            raise ValueError(f"{root} holds no pairs of image and mask")
        faults = check_pairs(self.pairs, to_learn=True)
        if faults:
            raise ValueError(join_some([fault.reason for fault in faults], separator="; "))
        found = sorted({pair.class_name for pair in self.pairs if pair.class_name is not None})
        self.class_names = list(class_names) if class_names is not None and classes else found
        unknown = [name for name in found if name not in self.class_names]
        if unknown:
            raise ValueError(f"{root} has classes that are not in class_names: {join_some(unknown)}")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image, mask = read_pair(pair, self.size)
        label = NO_LABEL if pair.class_name is None else self.class_names.index(pair.class_name)
        return Sample(image, mask, torch.tensor(label), pair.image.stem)


def read_pair(pair: FilePair, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Image (3, H, W) and mask (1, H, W) in [0, 1], upright and resized to `size` (height, width)."""
    pixels, mask = read_photo(pair.image).pixels, read_mask(pair.mask)
    if mask.shape != pixels.shape[:2]:
        check_size(pair)
    if size is not None:
        pixels, mask = resize(pixels, *size), resize(mask, *size).clip(0, 1)
    return to_tensor(pixels), torch.from_numpy(mask)[None]


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
        rng = RandomNumbers(1, (self.seed, epoch, "order"))
        return torch.randperm(len(self.dataset), generator=rng.generator).tolist()

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
