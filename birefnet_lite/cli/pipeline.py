"""Overlap reading, the network and writing: a few threads, with a bound on the pixels that are held at once."""

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["PixelBudget", "run_pipeline", "share_one_heap"]

Job = TypeVar("Job")
Read = TypeVar("Read")

MAX_PIXELS = 50_000_000
"""Pixels of all photos that are being read, segmented or written. A larger photo is processed alone."""
M_ARENA_MAX = -8
"""The number of this option in glibc's malloc.h."""


def share_one_heap() -> None:
    """Let all threads that start from now on allocate from one heap, if the C library is glibc.

    Otherwise each thread has a heap of its own, in which glibc keeps much of what the thread has freed: with photos of
    12 megapixels, the command's peak memory is a fifth higher.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


class PixelBudget:
    """A bound on the pixels in memory; one photo may exceed it if it is alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = self._photos = 0
        self._changed = threading.Condition()

    def acquire(self, pixels: int, block: bool) -> bool:
        """Take a share and return True; without `block`, return False if it is not free."""
        with self._changed:
            while self._photos and self._used + pixels > self._most:
                if not block:
                    return False
                self._changed.wait()
            self._used += pixels
            self._photos += 1
            return True

    def release(self, pixels: int) -> None:
        """Give a share back."""
        with self._changed:
            self._used -= pixels
            self._photos -= 1
            self._changed.notify_all()


def run_pipeline(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    segment: Callable[[list[tuple[Job, Read]]], Iterable[Any]],
    write: Callable[[Job, Read, Any], None],
    count_pixels: Callable[[Job], int],
    finish: Callable[[Job, Exception | None], None],
    batch: int = 1,
    max_pixels: int = MAX_PIXELS,
    writers: int = 2,
) -> None:
    """Process jobs: `read` in a thread, `segment` in this one, `write` in several others.

    While the network works on a photo, the next is read and the ones before it are written. `finish` is called once for
    each job, from any thread, one at a time, when its files are complete or with the error that ended it.

    Args:
        jobs: The jobs.
        read: Reads a job's photo.
        segment: Takes up to `batch` jobs with what was read, and gives for each a mask or an exception.
        write: Writes the files of a job.
        count_pixels: The pixels of a job's photo, from its header; 0 if it cannot be read.
        finish: Is told about every job.
        batch: How many photos `segment` is given at once.
        max_pixels: The bound on pixels in memory.
        writers: How many photos are written at once.
    """
    budget, lock = PixelBudget(max_pixels), threading.Lock()
    waiting: deque[tuple[Job, int, Future[Read]]] = deque()
    written: list[Future[None]] = []
    source: Iterator[Job] = iter(jobs)
    following = next(source, None)

    def end(job: Job, pixels: int, error: Exception | None) -> None:
        budget.release(pixels)
        with lock:
            finish(job, error)

    def write_one(job: Job, pixels: int, photo: Read, mask: Any) -> None:
        error = None
        try:
            write(job, photo, mask)
        except Exception as raised:
            error = raised
        del photo, mask
        end(job, pixels, error)

    reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(writers, "write")
    try:
        while following is not None or waiting:
            while following is not None and len(waiting) < 2 * batch:
                pixels = count_pixels(following)
                if not budget.acquire(pixels, block=not waiting):
                    break
                waiting.append((following, pixels, reader.submit(read, following)))
                following = next(source, None)
            group: list[tuple[Job, int, Read]] = []
            while waiting and len(group) < batch:
                job, pixels, future = waiting.popleft()
                try:
                    group.append((job, pixels, future.result()))
                except Exception as error:
                    end(job, pixels, error)
            masks = segment([(job, photo) for job, _, photo in group]) if group else ()
            for (job, pixels, photo), mask in zip(group, masks, strict=True):
                if isinstance(mask, Exception):
                    end(job, pixels, mask)
                else:
                    written.append(writer.submit(write_one, job, pixels, photo, mask))
            for begun in written:
                if begun.done():
                    begun.result()  # raises what `finish` raised
            written = [begun for begun in written if not begun.done()]
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown()  # files that are begun are completed
    wait(written)
    for begun in written:
        begun.result()
