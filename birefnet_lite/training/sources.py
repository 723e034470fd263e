"""Where batches come from: a number in, a batch out, so that there is no position to save but the step."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from birefnet_lite.inference.images import normalise
from birefnet_lite.synthetic import Batch, SyntheticScenes
from birefnet_lite.synthetic.draws import Draws
from birefnet_lite.training.augment import Augment
from birefnet_lite.training.folder import FolderBatches, FolderDataset
from birefnet_lite.training.schedule import difficulty_at
from birefnet_lite.training.settings import ROUND, TrainSettings

__all__ = ["Batches", "normalise", "numbers_of", "stream"]


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
        self.device = torch.device(device)
        self.source = self._source(settings.size)
        self.small_source = self._source(settings.small_size) if settings.small_steps else None

        self.num_classes: int = self.source.num_classes

    def _source(self, side: int) -> Any:
        settings, size = self.settings, (side, side)
        if settings.data == "synthetic":
            source = SyntheticScenes(
                size, settings.seed, device=self.device, variety=settings.variety, reshaping=settings.reshaping
            )
            if settings.drawn_together > 1:
                source = Together(source, settings.drawn_together, self.parts)
            return Reused(source, settings.reuse, self.parts) if settings.reuse > 1 else source
        dataset = FolderDataset(settings.folder, size, classes=settings.class_weight > 0)
        return FolderBatches(dataset, settings.seed, Augment(), self.device)

    def __len__(self) -> int:
        return self.settings.steps * self.parts

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        step = number // self.parts
        source = self.small_source if step < self.settings.small_steps else self.source
        if self.settings.data == "synthetic":
            reuse, together = self.settings.reuse, self.settings.drawn_together
            drawn_at = step - step % (ROUND * reuse if reuse > 1 else together)
            batch = source.batch(self.images, number, difficulty_at(self.settings, drawn_at))
        else:
            batch = source.batch(self.images, number)
        return normalise(batch.images), batch.masks, batch.labels


class Together:
    """A source that draws the batches of `times` steps in one go: fewer and larger pieces of work for a GPU.

    What comes at a number depends on it alone, if the difficulty is the same throughout those steps.
    """

    def __init__(self, source: SyntheticScenes, times: int, parts: int) -> None:
        self.source, self.times, self.parts = source, times, parts
        self.seed, self.num_classes = source.seed, source.num_classes
        self.drawn: dict[int, Batch] = {}

    def batch(self, n: int, number: int, difficulty: float) -> Batch:
        """The n scenes with this number: part `number % parts` of the batch of step `number // parts`."""
        step, part = divmod(number, self.parts)
        place = step % self.times
        first = (step - place) * self.parts
        if first + part not in self.drawn:
            self.drawn = {i: batch for i, batch in self.drawn.items() if first <= i < first + self.parts}
            self.drawn[first + part] = self.source.batch(n * self.times, first + part, difficulty)
        return Batch(*(values[place * n : (place + 1) * n] for values in self.drawn[first + part]))


class Reused:
    """A source whose scenes come `times` times: first as drawn, then in other company and changed by `Augment`.

    Steps go in rounds: `ROUND` batches are drawn, and all later ones of the round are mixed from them. What comes at a
    number still depends on that number alone, if the difficulty is the same throughout a round.
    """

    def __init__(self, source: SyntheticScenes | Together, times: int, parts: int) -> None:
        self.source, self.times, self.parts = source, times, parts
        self.num_classes = source.num_classes
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
        draws = Draws(1, (self.source.seed, turn, part, "mix"))
        chosen = torch.randperm(ROUND * n, generator=draws.generator)[place * n : (place + 1) * n].tolist()
        images, masks, labels = (torch.stack([pool[i // n][k][i % n] for i in chosen]) for k in range(3))
        images, masks = self.change(images, masks, (self.source.seed, number, "change"))
        return Batch(images, masks, labels, (), ())

    def _draw(self, n: int, number: int, difficulty: float) -> Batch:
        if number not in self.drawn:
            self.drawn[number] = self.source.batch(n, number, difficulty)
        return self.drawn[number]


def numbers_of(first_step: int, last_step: int, parts: int, rank: int, accumulation: int) -> list[int]:
    """Which parts a process works on, in order, in the steps from `first_step` up to before `last_step`."""
    return [
        step * parts + rank * accumulation + k for step in range(first_step, last_step) for k in range(accumulation)
    ]


def stream(
    batches: Batches, numbers: list[int], workers: int = 0, ahead: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The parts with these numbers: prepared by `workers` processes, or `ahead` of their use by a thread."""
    if ahead and not workers:
        return _prepared_ahead(batches, numbers, ahead)
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


def _prepared_ahead(batches: Batches, numbers: list[int], ahead: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """A GPU is given both threads' work at once: drawing keeps the processor busy, training the GPU."""
    cuda = batches.device.type == "cuda"
    side = torch.cuda.Stream(batches.device) if cuda else None

    def prepare(number: int) -> tuple[tuple[Tensor, ...], Any]:
        with torch.cuda.stream(side) if cuda else nullcontext():
            return batches[number], side.record_event() if cuda else None

    thread = ThreadPoolExecutor(1)
    try:
        following = iter(numbers)
        waiting = deque(thread.submit(prepare, number) for number in islice(following, ahead + 1))
        while waiting:
            batch, ready = waiting.popleft().result()
            if cuda:
                now = torch.cuda.current_stream(batches.device)
                now.wait_event(ready)
                for tensor in batch:
                    tensor.record_stream(now)
            yield batch
            waiting.extend(thread.submit(prepare, number) for number in islice(following, 1))
    finally:
        thread.shutdown(cancel_futures=True)
