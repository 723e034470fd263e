"""Reads the rows of a CSV file, whatever program wrote it, and finds the files that it names."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["FileFinder", "iterate_rows"]


def iterate_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line, cells without spaces at their ends) for each line that is not empty."""
    data = table.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeError as error:
        raise ValueError(f"{table} is not in UTF-8: save it as CSV UTF-8.") from error
    skipped = 0
    if text[:4].lower() == "sep=":  # a line for Excel
        text = text.partition("\n")[2]
        skipped = 1
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield reader.line_num + skipped, cells
    except csv.Error as error:
        raise ValueError(f"{table}, line {reader.line_num + skipped}: {error}") from error


class FileFinder:
    """Finds files that a table names: relative to a folder, with either slash, and in either spelling of accents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, name: str) -> Path:
        """The file, or the path as it is written if there is none."""
        written = self._folder / name
        for path in (written, self._folder / name.replace("\\", "/")):
            if os.path.isfile(path):
                return path
            if path.parent not in self._listings:
                self._listings[path.parent] = dict(_compose_names(path.parent))
            found = self._listings[path.parent].get(unicodedata.normalize("NFC", path.name))
            if found is not None and os.path.isfile(found):
                return found
        return written


def _compose_names(folder: Path) -> Iterable[tuple[str, Path]]:
    try:
        names = os.listdir(folder)
    except OSError:
        names = []
    return ((unicodedata.normalize("NFC", name), folder / name) for name in names)
