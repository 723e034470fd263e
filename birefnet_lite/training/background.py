"""Preparation of training data in the background: by worker processes, or by a thread some steps ahead."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from birefnet_lite.training.data_sources import Part, TrainingData

__all__ = ["iterate_parts", "part_numbers"]


def part_numbers(first_step: int, last_step: int, parts: int, rank: int, accumulation: int) -> list[int]:
    """The numbers of a process's parts, in order.

    Args:
        first_step: The first step.
        last_step: The step to stop before.
        parts: Parts of a batch.
        rank: The process.
        accumulation: Parts for each process in a step.
    """
    return [
        step * parts + rank * accumulation + k for step in range(first_step, last_step) for k in range(accumulation)
    ]


def iterate_parts(data: TrainingData, numbers: list[int], workers: int = 0, ahead: int = 0) -> Iterator[Part]:
    """The parts with these numbers, prepared in the background.

    Args:
        data: The parts.
        numbers: Which parts, in order.
        workers: Processes that prepare parts.
        ahead: Without workers: how many parts a thread prepares before they are used.

    Raises:
        OSError: A file cannot be read. Raised for the part that needs it, also if a worker process read it.
        ValueError: As `OSError`, for a file that is damaged.
    """
    if ahead and not workers:
        yield from _prepare_ahead(data, numbers, ahead)
        return
    loader: DataLoader[Any] = DataLoader(
        _ErrorsAsItems(data) if workers else data,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        generator=torch.Generator(),  # by default it would draw from the random state that the model uses
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=8 if workers else None,
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield tuple(item)


class _ErrorsAsItems(Dataset[Any]):
    """Returns the errors of unreadable files: one raised in a worker process would arrive as a traceback of text."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Part | Exception:
        try:
            return self.data[number]
        except (OSError, ValueError) as error:
            return error


def _prepare_ahead(data: TrainingData, numbers: list[int], ahead: int) -> Iterator[Part]:
    """Prepare parts in a thread; on a GPU in a stream of its own, so that drawing and training run side by side."""
    stream = torch.cuda.Stream(data.device) if data.device.type == "cuda" else None

    def prepare(number: int) -> tuple[Part, torch.cuda.Event | None]:
        with torch.cuda.stream(stream) if stream else nullcontext():
            return data[number], stream.record_event() if stream else None

    thread = ThreadPoolExecutor(1)
    try:
        following = iter(numbers)
        waiting = deque(thread.submit(prepare, number) for number in islice(following, ahead + 1))
        while waiting:
            part, ready = waiting.popleft().result()
            if ready:
                current = torch.cuda.current_stream(data.device)
                current.wait_event(ready)
                for tensor in part:
                    tensor.record_stream(current)
            yield part
            waiting.extend(thread.submit(prepare, number) for number in islice(following, 1))
    finally:
        thread.shutdown(cancel_futures=True)
