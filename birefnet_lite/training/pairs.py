"""Find pairs of image and mask in a folder or a CSV file, and check them before the work begins."""

import os
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from birefnet_lite.inference.images import read_mask, read_size
from birefnet_lite.inference.listing import list_photos
from birefnet_lite.inference.marks import MASK, read_mark
from birefnet_lite.output import join_some
from birefnet_lite.training.csv_table import FileFinder, iterate_rows

__all__ = ["Fault", "FilePair", "check_pairs", "check_size", "find_pairs"]

DELAY = 2.0
"""Seconds of checking until a progress bar appears."""
DARK = 1.5 / 255
"""A mask that is never above this is as good as empty."""


@dataclass(frozen=True)
class FilePair:
    """The two files of one example; `class_name` is None where it was not asked for."""

    image: Path
    mask: Path
    class_name: str | None = None


class Fault(NamedTuple):
    """A pair that cannot be used, and why."""

    pair: FilePair
    reason: str


def find_pairs(root: str | os.PathLike[str], classes: bool = False) -> list[FilePair]:
    """Find the pairs of a folder or a CSV file.

    Args:
        root: A folder with `im/` and `gt/`, whose files pair by stem as in DIS5K; or a CSV file with the columns
            `image`, `mask` and, for classes, `class`, its paths relative to it.
        classes: Take class names from the CSV or from DIS5K file names, `group#NAME#number#CLASS#rest`.

    Raises:
        FileNotFoundError: A file or folder is missing.
        OSError: One cannot be read.
        ValueError: Files do not pair, name no class, or the CSV is not as above.
    """
    root = Path(root)
    if not os.path.lexists(root):
        raise FileNotFoundError(f"{root} does not exist; give a folder with im/ and gt/, or a CSV file of pairs")
    return _read_csv(root, classes) if os.path.isfile(root) else _find_in_folder(root, classes)


def check_pairs(pairs: list[FilePair], to_learn: bool = False) -> list[Fault]:
    """Check sizes and masks of all pairs, without decoding the images.

    Warns of masks that are empty, full or almost black.

    Args:
        pairs: The pairs.
        to_learn: Whether a network is to learn from them, so that it is an error if all masks are empty or full.

    Returns:
        The pairs that cannot be used.

    Raises:
        ValueError: There is nothing to learn.
    """
    faults: list[Fault] = []
    kinds: list[tuple[str, FilePair]] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        found = threads.map(_check_pair, pairs)
        for pair, result in zip(pairs, tqdm(found, "check masks", len(pairs), delay=DELAY, leave=False), strict=True):
            if isinstance(result, str):
                kinds.append((result, pair))
            else:
                faults.append(Fault(pair, str(result)))
    for kind, what in (("empty", "empty or almost black (never above 1 of 255)"), ("full", "full everywhere")):
        names = [str(pair.mask) for found_kind, pair in kinds if found_kind == kind]
        said = f"{len(names)} of {len(pairs)} masks are {what}: {join_some(names)}"
        if to_learn and len(names) == len(pairs) > 0:
            raise ValueError(f"there is nothing to learn: {said}")
        if names:
            warnings.warn(said, stacklevel=2)
    return faults


def check_size(pair: FilePair) -> None:
    """Raise `ValueError` unless image and mask have as many pixels each way, both turned as their EXIF says."""
    image, mask = read_size(pair.image), read_size(pair.mask)
    if image != mask:
        raise ValueError(
            f"{pair.mask} is {mask[1]}x{mask[0]} pixels but {pair.image} is {image[1]}x{image[0]}; "
            "a mask must have the size of its image"
        )


def _check_pair(pair: FilePair) -> str | Exception:
    """`empty`, `full` or `normal`; or what is wrong."""
    try:
        check_size(pair)
        status = os.stat(pair.mask)
        return _classify_mask(str(pair.mask), status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, MemoryError) as error:
        return error


@lru_cache(maxsize=100_000)
def _classify_mask(path: str, size: int, changed: int) -> str:
    """`empty`, `full` or `normal`; remembered as long as the file's size and time stay the same."""
    mask = read_mask(path)
    return "empty" if mask.max() <= DARK else "full" if mask.min() >= 1 - DARK else "normal"


# --- folders ----------------------------------------------------------------------------------------------------------


def _find_in_folder(root: Path, classes: bool) -> list[FilePair]:
    """Pairs of `im/` and `gt/` by stem; every file without a partner is named."""
    for part in ("im", "gt"):
        if not os.path.isdir(root / part):
            raise FileNotFoundError(f"{root} has no folder {part}/; wanted images in im/ and masks named alike in gt/")
    images = _list_by_stem(root / "im", masks=False)
    masks = _match_case(images, _list_by_stem(root / "gt", masks=True))
    alone = [f"im/{images[stem].name} has no mask in gt/" for stem in sorted(images.keys() - masks.keys())]
    alone += [f"gt/{masks[stem].name} has no image in im/" for stem in sorted(masks.keys() - images.keys())]
    if alone:
        raise FileNotFoundError(f"{root}: " + join_some(alone, separator="; "))
    return [
        FilePair(images[stem], masks[stem], _read_class(images[stem]) if classes else None) for stem in sorted(images)
    ]


def _list_by_stem(folder: Path, masks: bool) -> dict[str, Path]:
    """Images by their stem, whose accents are composed: macOS and others spell one name in two ways."""
    listing = list_photos(folder)
    own = [path for path in listing.outputs if masks and getattr(read_mark(path), "kind", None) == MASK]
    others = listing.others + [path.name for path in listing.outputs if path not in own]
    if others:
        warnings.warn(f"{folder}: passed over, as no images: {join_some(others)}", stacklevel=2)
    found: dict[str, Path] = {}
    for path in sorted(listing.photos + own):
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in found:
            raise ValueError(f"{folder} holds both {found[stem].name} and {path.name}; a stem may occur once")
        found[stem] = path
    return found


def _match_case(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, Path]:
    """The masks by the stems of their images, also where only upper and lower case differ, if that is unambiguous."""
    left: dict[str, list[str]] = {}
    for stem in images.keys() - masks.keys():
        left.setdefault(stem.casefold(), []).append(stem)
    matched = {}
    for stem, path in masks.items():
        candidates = [] if stem in images else left.get(stem.casefold(), [])
        free = len(candidates) == 1 and candidates[0] not in matched
        matched[candidates[0] if free else stem] = path
    return matched


def _read_class(path: Path) -> str:
    """The class in a DIS5K file name, `group#NAME#number#CLASS#rest`."""
    parts = path.stem.split("#")
    if len(parts) < 5 or not parts[3]:
        raise ValueError(f"{path.name} names no class; wanted DIS5K's group#NAME#number#CLASS#rest, or classes=False")
    return parts[3]


# --- CSV files --------------------------------------------------------------------------------------------------------


def _read_csv(table: Path, classes: bool) -> list[FilePair]:
    """Pairs listed in a CSV file: separated by commas, semicolons or tabs, headings in any case."""
    wanted = ["image", "mask", "class"] if classes else ["image", "mask"]
    rows = iterate_rows(table)
    _, headings = next(rows, (1, []))
    columns = [heading.lower() for heading in headings]
    lacking = [column for column in wanted if column not in columns]
    if lacking:
        raise ValueError(f"{table} has no column {lacking[0]!r}; its first line should read {','.join(wanted)}")
    finder = FileFinder(table.parent)
    pairs: list[FilePair] = []
    missing: list[str] = []
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=False))
        if not all(row.get(column) for column in wanted):
            raise ValueError(f"{table}, line {line}: {', '.join(wanted)} must all be given")
        pair = FilePair(finder.find(row["image"]), finder.find(row["mask"]), row["class"] if classes else None)
        missing += [
            f"line {line}: {path} does not exist" for path in (pair.image, pair.mask) if not os.path.isfile(path)
        ]
        pairs.append(pair)
    if missing:
        raise FileNotFoundError(f"{table}: " + join_some(missing, separator="; "))
    return pairs
