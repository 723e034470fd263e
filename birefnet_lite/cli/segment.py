"""`segment`: write the masks and cut-outs of many photos."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from tqdm import tqdm

from birefnet_lite.cli import CommandError, load_model, report
from birefnet_lite.cli.outputs import Job, plan_jobs
from birefnet_lite.cli.photos import find_photos
from birefnet_lite.cli.pipeline import run_pipeline, share_one_heap
from birefnet_lite.cli.processes import Processes, find_processes
from birefnet_lite.inference.images import Photo, read_photo, read_size, to_levels
from birefnet_lite.inference.marks import CUT_OUT, MASK, Mark, Origin, origin_of
from birefnet_lite.inference.predict import cut_out, device_and_dtype, network_size, segment, segment_batch
from birefnet_lite.inference.tiled import segment_tiled
from birefnet_lite.output import check_target, replace_atomically

T = TypeVar("T")
MASK_PNG = {"format": "PNG"}
# Three to four times as fast as zlib's usual level 6, for files that are 1.1 to 1.2 times as large.
CUT_OUT_PNG = {"format": "PNG", "compress_level": 2}
WEBP = {"format": "WEBP", "quality": 90, "alpha_quality": 100, "method": 2}
WEBP_SIDE = 16383
GPU_BATCH = 4
# Files are compressed by one thread for each photo: as many at once as there are cores, up to this number.
MAX_WRITERS = 4
# Errors that a photo, a full disk or too little memory can raise; any other is a mistake of the program.
EXPECTED = (OSError, ValueError, RuntimeError, MemoryError)


def run(options: argparse.Namespace) -> int:
    """Write masks and cut-outs; 0 when every photo is done, 1 when some are, 2 when none is."""
    share_one_heap()
    processes = find_processes(options.device)
    options.device = processes.device
    folder = Path(options.output)
    photos, failed = _agree(processes, lambda: _find_work(options.photos, folder))
    model = load_model(options.model, options)
    try:
        network_size(model, options.size)
    except ValueError as error:
        raise CommandError(f"--size: {error}") from error
    suffix = (".webp" if options.webp else ".png") if options.cutout or options.webp else None
    jobs = _agree(processes, lambda: list(plan_jobs(photos, folder, suffix)))
    wanted = [job for job in jobs if not (options.skip_existing and job.is_done)]
    share = wanted[processes.rank :: processes.count]
    folder.mkdir(parents=True, exist_ok=True)
    done = sum(processes.gather(_process(model, share, options, processes)))
    skipped = len(jobs) - len(wanted)
    failed += len(wanted) - done
    if processes.rank == 0:
        what = "masks" if suffix is None else "masks and cut-outs"
        were = f"; {skipped} of them were there already" if skipped else ""
        report(f"{what} of {done + skipped} of {done + skipped + failed} photos written to {folder}{were}")
    processes.gather(None)  # the summary comes before any process ends
    return 0 if not failed else 1 if done + skipped else 2


def _find_work(arguments: list[str], folder: Path) -> tuple[list[Path], int]:
    """The photos, and how many arguments name none; `CommandError` if there is nothing to do or nowhere to write."""
    photos, failed = find_photos(arguments)
    if not photos:
        raise CommandError("there is no photo to segment")
    try:
        check_target(folder / ".birefnet_lite")
    except OSError as error:
        raise CommandError(f"{folder}: cannot be used as the output folder ({error.strerror})") from error
    return photos, failed


def _agree(processes: Processes, decide: Callable[[], T]) -> T:
    """Give the first process's result to all processes; its `CommandError` ends all of them."""
    value: T | None = None
    problem: str | None = None
    if processes.rank == 0:
        try:
            value = decide()
        except CommandError as error:
            problem = str(error)
    value, problem = processes.broadcast((value, problem))
    if problem is not None:
        if processes.rank == 0:
            raise CommandError(problem)
        raise SystemExit(2)
    return cast(T, value)


def _process(model: nn.Module, jobs: list[Job], options: argparse.Namespace, processes: Processes) -> int:
    """Segment photos and write their files, with a line for each problem; returns how many are done."""
    done = 0
    share = f"process 1 of {processes.count}" if processes.count > 1 else None
    with tqdm(total=len(jobs), desc=share, unit="photo", disable=True if processes.rank else None) as bar:

        def finish(job: Job, error: Exception | None) -> None:
            nonlocal done
            if error is None:
                done += 1
            elif isinstance(error, EXPECTED):
                report(_describe(job.photo, error))
            else:
                raise error
            bar.set_postfix_str(job.photo.name, refresh=False)
            bar.update()

        def allowed() -> Iterator[Job]:
            for job in jobs:
                if job.note:
                    report(f"note: {job.note}")
                if job.refusal:
                    finish(job, ValueError(job.refusal))
                else:
                    yield job

        run_pipeline(
            allowed(),
            read=lambda job: (origin_of(job.photo), read_photo(job.photo)),
            segment=lambda group: _segment_group(model, [photo for _, (_, photo) in group], options),
            write=_write,
            count_pixels=_count_pixels,
            finish=finish,
            batch=_choose_batch(model, options),
            writers=min(MAX_WRITERS, torch.get_num_threads()),
        )
    return done


def _choose_batch(model: nn.Module, options: argparse.Namespace) -> int:
    if options.memory is not None:
        return 1
    return options.batch or (GPU_BATCH if device_and_dtype(model)[0].type == "cuda" else 1)


def _count_pixels(job: Job) -> int:
    try:
        height, width = read_size(job.photo)
    except EXPECTED:  # reading says what is wrong
        return 0
    return height * width


def _segment_group(
    model: nn.Module, photos: list[Photo], options: argparse.Namespace
) -> list[NDArray[np.float32] | Exception]:
    """A mask, or what went wrong, for each photo."""
    if len(photos) > 1:
        try:
            return [*segment_batch(model, photos, options.size)]
        except EXPECTED:  # for want of memory, perhaps; one at a time, the error is that of one photo
            pass
    results: list[NDArray[np.float32] | Exception] = []
    for photo in photos:
        try:
            if options.memory is None:
                results.append(segment(model, photo, options.size))
            else:
                results.append(segment_tiled(model, photo, options.memory, options.size))
        except EXPECTED as error:
            results.append(error)
    return results


def _write(job: Job, read: tuple[Origin, Photo], mask: NDArray[np.float32]) -> None:
    """Write the files of one photo."""
    origin, photo = read
    if job.cut_out is not None and job.cut_out.suffix == ".webp" and max(photo.size) > WEBP_SIDE:
        raise ValueError(f"a WebP file has at most {WEBP_SIDE} pixels on each side; leave out --webp")
    result = cut_out(photo, mask) if job.cut_out is not None else None
    _save(Image.fromarray(to_levels(mask)), job.mask, pnginfo=Mark(MASK, origin).to_png_info(), **MASK_PNG)
    if result is not None and job.cut_out is not None:
        mark = Mark(CUT_OUT, origin)
        if job.cut_out.suffix == ".webp":
            _save(result, job.cut_out, exif=mark.to_exif().tobytes(), **WEBP)
        else:
            _save(result, job.cut_out, pnginfo=mark.to_png_info(), **CUT_OUT_PNG)


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Write an image whole or not at all."""
    try:
        with replace_atomically(path) as temporary, temporary.open("wb") as file:
            image.save(file, **options)
    except OSError as error:
        raise OSError(f"cannot write {path} ({error.strerror or error})") from error


def _describe(photo: Path, error: Exception) -> str:
    """One line about a photo that was not done."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error).lower():
        return f"{photo}: does not fit into memory; try a smaller --size, or --device cpu"
    if isinstance(error, OSError) and error.strerror:
        return f"{photo}: {error.strerror}"
    text = str(error)
    return text if text.startswith(str(photo)) else f"{photo}: {text}"
