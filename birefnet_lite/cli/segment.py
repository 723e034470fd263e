"""`segment`: photos in, masks and cut-outs out."""

import argparse
import glob
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from birefnet_lite.cli import CommandError, complain, load_model
from birefnet_lite.inference.images import read_photo
from birefnet_lite.inference.predict import cut_out, network_size, segment
from birefnet_lite.inference.tiled import segment_tiled

# What counts as a photo in a folder. Pillow does not read all of them, but a photo passed over without a
# word is worse than a line that says so.
READABLE = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif")
READABLE += (".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k", ".psd", ".mpo")
UNREADABLE = (".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
SUFFIXES = frozenset(READABLE + UNREADABLE)


def run(options: argparse.Namespace) -> int:
    """Writes masks and cut-outs; 0 when every photo is done, 1 when some are, 2 when none is."""
    photos, failed = _find(options.photos)
    if not photos:
        raise CommandError("there is no photo to segment")
    model = load_model(options.model, options)
    try:
        network_size(model, options.size)
    except ValueError as error:
        raise CommandError(f"--size: {error}") from error
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder}: cannot be used as the output folder ({error.strerror})") from error

    originals = {photo.resolve() for photo in photos}
    done = 0
    bar = tqdm(_targets(photos, folder, options.cutout), total=len(photos), unit="photo", disable=None)
    for photo, mask_file, cut_out_file in bar:
        bar.set_postfix_str(photo.name)
        try:
            for target in (mask_file, cut_out_file):
                if target is not None and target.resolve() in originals:
                    raise ValueError(f"would write over the photo {target}; choose another output folder")
            _segment_file(model, photo, options, mask_file, cut_out_file)
            done += 1
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            complain(_reason(photo, error))
    failed += len(photos) - done
    bar.close()
    what = "masks and cut-outs" if options.cutout else "masks"
    complain(f"{what} of {done} of {done + failed} photos written to {folder}")
    return 0 if not failed else 1 if done else 2


def _find(arguments: list[str]) -> tuple[list[Path], int]:
    """The photos named by files, folders and patterns, each once; and how many arguments named none."""
    photos: dict[Path, Path] = {}
    failed = 0
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            try:
                found = sorted(file for file in path.iterdir() if _is_photo(file))
                problem = "the folder holds no photos"
            except OSError as error:
                found, problem = [], f"cannot be listed ({error.strerror})"
        elif path.exists():
            found, problem = [path], ""
        elif glob.has_magic(argument):
            found = sorted(Path(name) for name in glob.glob(argument, recursive=True) if not Path(name).is_dir())
            problem = "no file fits this pattern"
        else:
            found, problem = [], "no such file or folder"
        if not found:
            complain(f"{path}: {problem}")
            failed += 1
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    return list(photos.values()), failed


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _targets(photos: list[Path], folder: Path, cutout: bool) -> Iterator[tuple[Path, Path, Path | None]]:
    """Each photo with the files for its mask and cut-out; no two photos share one, whatever their names."""
    taken: set[str] = set()
    for photo in photos:
        for number in count(1):
            stem = photo.stem if number == 1 else f"{photo.stem}-{number}"
            names = [f"{stem}.png"] + [f"{stem}.cutout.png"] * cutout
            keys = {name.casefold() for name in names}  # many file systems take Cat.png and cat.png for one
            if not keys & taken:
                break
        taken |= keys
        if number > 1:
            complain(f"note: {photo} becomes {names[0]}, as its name was taken")
        yield photo, folder / names[0], folder / names[1] if cutout else None


def _segment_file(
    model: nn.Module, photo: Path, options: argparse.Namespace, mask_file: Path, cut_out_file: Path | None
) -> None:
    picture = read_photo(photo)
    if options.memory is None:
        mask = segment(model, picture, options.size)
    else:
        mask = segment_tiled(model, picture, options.memory, options.size)
    result = cut_out(picture, mask) if cut_out_file is not None else None
    _write(Image.fromarray(np.rint(mask * 255).astype(np.uint8)), mask_file)
    if result is not None:
        _write(result, cut_out_file)


def _write(image: Image.Image, path: Path) -> None:
    """Writes a PNG whole or not at all."""
    unfinished = path.with_name(f".{uuid4().hex}.unfinished")
    try:
        with unfinished.open("xb") as file:
            image.save(file, format="PNG")
        unfinished.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path} ({error.strerror or error})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _reason(photo: Path, error: Exception) -> str:
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error).lower():
        return f"{photo}: does not fit into memory; try a smaller --size, or --device cpu"
    if isinstance(error, OSError) and error.strerror:
        return f"{photo}: {error.strerror}"
    text = str(error)
    return text if text.startswith(str(photo)) else f"{photo}: {text}"
