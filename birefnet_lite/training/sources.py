"""Where batches come from: a number in, a batch out, so that there is no position to save but the step."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from birefnet_lite.image_input import normalise
from birefnet_lite.training.augment import Augment
from birefnet_lite.training.folder import FolderBatches, FolderDataset
from birefnet_lite.training.schedule import difficulty_at
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.synthetic import Batch, SyntheticScenes
from birefnet_lite.training.synthetic.draws import Draws

__all__ = ["Batches", "normalise", "numbers_of", "stream"]

ROUND = 16


class Batches(Dataset):
    """Parts of batches by number: images (n, 3, H, W) normalised, masks (n, 1, H, W), labels (n,).

    A batch is cut into `parts`, one for each process and accumulated part; number `step * parts + k` is part k of the
    batch of that step, whoever asks for it.
    """

    def __init__(self, settings: TrainSettings, parts: int, device: torch.device | str = "cpu") -> None:
        if settings.batch_size % parts:
            raise ValueError(
                f"batch_size is {settings.batch_size}, which does not part into {parts} (processes times accumulation)."
            )
        self.settings, self.parts, self.images = settings, parts, settings.batch_size // parts
        self.source = self._source(settings.size, device)
        self.small_source = self._source(settings.small_size, device) if settings.small_steps else None

        self.num_classes: int = self.source.num_classes
        if settings.data == "synthetic" and settings.reuse > 1:
            self.source = Reused(self.source, settings.reuse, parts)
            self.small_source = self.small_source and Reused(self.small_source, settings.reuse, parts)

    def _source(self, side: int, device: torch.device | str) -> Any:
        settings, size = self.settings, (side, side)
        if settings.data == "synthetic":
            return SyntheticScenes(size, seed=settings.seed, device=device, variety=settings.variety)
        dataset = FolderDataset(settings.folder, size, classes=settings.class_weight > 0)
        return FolderBatches(dataset, settings.seed, Augment(), device)

    def __len__(self) -> int:
        return self.settings.steps * self.parts

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        step = number // self.parts
        source = self.small_source if step < self.settings.small_steps else self.source
        if self.settings.data == "synthetic":
            drawn_at = step - step % (ROUND * self.settings.reuse) if self.settings.reuse > 1 else step
            batch = source.batch(self.images, number, difficulty_at(self.settings, drawn_at))
        else:
            batch = source.batch(self.images, number)
        return normalise(batch.images), batch.masks, batch.labels


class Reused:
    """A source whose scenes come `times` times: first as drawn, then in other company and changed by `Augment`.

    Steps go in rounds: `ROUND` batches are drawn, and all later ones of the round are mixed from them. What comes at a
    number still depends on that number alone, if the difficulty is the same throughout a round.
    """

    def __init__(self, source: SyntheticScenes, times: int, parts: int) -> None:
        self.source, self.times, self.parts = source, times, parts
        self.change = Augment()
        self.drawn: dict[int, Batch] = {}

    def batch(self, n: int, number: int, difficulty: float) -> Batch:
        """The n scenes with this number: part `number % parts` of the batch of step `number // parts`."""
        step, part = divmod(number, self.parts)
        turn, place = divmod(step, ROUND)
        turn_of_round = turn % self.times
        first = (turn - turn_of_round) * ROUND
        numbers = [(first + i) * self.parts + part for i in range(ROUND)]
        self.drawn = {i: batch for i, batch in self.drawn.items() if i // self.parts >= first}
        if turn_of_round == 0:
            return self._draw(n, numbers[place], difficulty)
        pool = [self._draw(n, i, difficulty) for i in numbers]
        images, masks, labels = (torch.cat([batch[k] for batch in pool]) for k in range(3))
        draws = Draws(1, (self.source.seed, turn, part, "mix"))
        chosen = torch.randperm(ROUND * n, generator=draws.generator)[place * n : (place + 1) * n].to(images.device)
        images, masks = self.change(images[chosen], masks[chosen], (self.source.seed, number, "change"))
        return Batch(images, masks, labels[chosen], (), ())

    def _draw(self, n: int, number: int, difficulty: float) -> Batch:
        if number not in self.drawn:
            self.drawn[number] = self.source.batch(n, number, difficulty)
        return self.drawn[number]


def numbers_of(first_step: int, last_step: int, parts: int, rank: int, accumulation: int) -> list[int]:
    """Which parts a process works on, in order, in the steps from `first_step` up to before `last_step`."""
    return [
        step * parts + rank * accumulation + k for step in range(first_step, last_step) for k in range(accumulation)
    ]


def stream(batches: Batches, numbers: list[int], workers: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The parts with these numbers, prepared ahead by `workers` processes."""
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        generator=torch.Generator(),  # else it would draw from the random state that the model uses
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=8 if workers else None,
    )
    return iter(loader)
