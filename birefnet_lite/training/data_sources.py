"""Training data: batches by step number from synthetic scenes or a folder.

A batch depends on its step number alone, so that resuming a run needs no position in the data.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from birefnet_lite.inference.images import normalise
from birefnet_lite.synthetic import Batch, SyntheticScenes
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.training.augment import Augment
from birefnet_lite.training.folder import FolderBatches, FolderDataset
from birefnet_lite.training.schedules import difficulty_at
from birefnet_lite.training.settings import ROUND, TrainSettings

__all__ = ["ChunkedScenes", "EchoedScenes", "Part", "TrainingData"]

Part = tuple[Tensor, Tensor, Tensor]


class SceneSource(Protocol):
    """A source of numbered batches of synthetic scenes."""

    seed: int
    num_classes: int

    def batch(self, n: int, number: int, difficulty: float | None = None, /) -> Batch:
        """The n scenes of this number."""
        ...


class TrainingData(Dataset[Part]):
    """Parts of batches by number.

    A batch is cut into `parts`, one for each process and accumulation step. Item `step * parts + k` is part k of the
    batch of that step: normalised images (n, 3, H, W), masks (n, 1, H, W) in [0, 1] and labels (n,).

    Args:
        settings: The run.
        parts: Number of processes times `settings.accumulation`.
        device: The device to draw or augment on.

    Raises:
        ValueError: The batch size is not divisible by `parts`, or the folder's pairs do not fit together.
        FileNotFoundError: The folder or one of its files is missing.
    """

    def __init__(self, settings: TrainSettings, parts: int, device: torch.device | str = "cpu") -> None:
        if settings.batch_size % parts:
            raise ValueError(
                f"batch_size is {settings.batch_size}, which is not divisible by {parts} (processes times "
                "accumulation)."
            )
        self.settings, self.parts, self.images = settings, parts, settings.batch_size // parts
        self.device = torch.device(device)
        self.source = self._open_source(settings.size)
        self.small_source = self._open_source(settings.small_size) if settings.small_steps else self.source
        self.num_classes: int = self.source.num_classes

    def _open_source(self, side: int) -> SceneSource | FolderBatches:
        settings, size = self.settings, (side, side)
        if settings.data == "folder":
            dataset = FolderDataset(settings.folder, size, classes=settings.class_weight > 0)
            return FolderBatches(dataset, settings.seed, Augment(), self.device)
        source: SceneSource = SyntheticScenes(
            size, settings.seed, device=self.device, variety=settings.variety, reshaping=settings.reshaping
        )
        if settings.drawn_together > 1:
            source = ChunkedScenes(source, settings.drawn_together, self.parts)
        return EchoedScenes(source, settings.reuse, self.parts) if settings.reuse > 1 else source

    def __len__(self) -> int:
        return self.settings.steps * self.parts

    def __getitem__(self, number: int) -> Part:
        step = number // self.parts
        source = self.small_source if step < self.settings.small_steps else self.source
        if isinstance(source, FolderBatches):
            pairs = source.batch(self.images, number)
            return normalise(pairs.images), pairs.masks, pairs.labels
        reuse, together = self.settings.reuse, self.settings.drawn_together
        drawn_at = step - step % (ROUND * reuse if reuse > 1 else together)
        scenes = source.batch(self.images, number, difficulty_at(self.settings, drawn_at))
        return normalise(scenes.images), scenes.masks, scenes.labels


class ChunkedScenes:
    """Draws the scenes of several steps in one call, which a GPU does in the time of one step's.

    A batch depends on its number alone, if the difficulty is the same for the steps of a chunk.

    Args:
        source: Draws the scenes.
        steps: Steps in a chunk.
        parts: Parts of a batch.
    """

    def __init__(self, source: SceneSource, steps: int, parts: int) -> None:
        self.source, self.steps, self.parts = source, steps, parts
        self.seed, self.num_classes = source.seed, source.num_classes
        self.drawn: dict[int, Batch] = {}

    def batch(self, n: int, number: int, difficulty: float | None = None, /) -> Batch:
        """The n scenes of part `number % parts` of the batch of step `number // parts`."""
        step, part = divmod(number, self.parts)
        place = step % self.steps
        first = (step - place) * self.parts
        if first + part not in self.drawn:
            self.drawn = {i: batch for i, batch in self.drawn.items() if first <= i < first + self.parts}
            self.drawn[first + part] = self.source.batch(n * self.steps, first + part, difficulty)
        chunk, own = self.drawn[first + part], slice(place * n, (place + 1) * n)
        return Batch(
            chunk.images[own], chunk.masks[own], chunk.labels[own], chunk.families[own], chunk.backgrounds[own]
        )


class EchoedScenes:
    """Data echoing: each scene is used several times, first as drawn, then augmented and in other batches.

    Steps come in rounds of `ROUND`. The first round of each group of `times` rounds draws new scenes; the later ones
    mix their batches from these. A batch depends on its number alone, if the difficulty is the same in all rounds of
    the group (data echoing: Choi et al. 2019, arXiv 1907.05550).

    Args:
        source: Draws the scenes.
        times: How often each scene is used.
        parts: Parts of a batch.
    """

    def __init__(self, source: SceneSource, times: int, parts: int) -> None:
        self.source, self.times, self.parts = source, times, parts
        self.seed, self.num_classes = source.seed, source.num_classes
        self.augment = Augment()
        self.drawn: dict[int, Batch] = {}

    def batch(self, n: int, number: int, difficulty: float | None = None, /) -> Batch:
        """The n scenes of part `number % parts` of the batch of step `number // parts`."""
        step, part = divmod(number, self.parts)
        round_number, place = divmod(step, ROUND)
        repetition = round_number % self.times
        first = (round_number - repetition) * ROUND
        numbers = [(first + i) * self.parts + part for i in range(ROUND)]
        self.drawn = {i: batch for i, batch in self.drawn.items() if i // self.parts >= first}
        if repetition == 0:
            return self._draw(n, numbers[place], difficulty)
        pool = [self._draw(n, i, difficulty) for i in numbers]
        rng = RandomNumbers(1, (self.seed, round_number, part, "mix"))
        order = torch.randperm(ROUND * n, generator=rng.generator)[place * n : (place + 1) * n].tolist()
        images = torch.stack([pool[i // n].images[i % n] for i in order])
        masks = torch.stack([pool[i // n].masks[i % n] for i in order])
        labels = torch.stack([pool[i // n].labels[i % n] for i in order])
        images, masks = self.augment(images, masks, (self.seed, number, "change"))
        return Batch(images, masks, labels, (), ())

    def _draw(self, n: int, number: int, difficulty: float | None) -> Batch:
        if number not in self.drawn:
            self.drawn[number] = self.source.batch(n, number, difficulty)
        return self.drawn[number]
