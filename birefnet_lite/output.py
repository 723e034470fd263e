"""Output files written whole or not at all, and plain-text tables and lists."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["check_target", "format_table", "join_some", "replace_atomically", "write_bytes", "write_text"]


@contextmanager
def replace_atomically(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`, which takes its place when the block ends without an error.

    After an error the temporary file is deleted and `path` is as it was. The folder is created if it is missing. A
    link is followed: the file that it points to is replaced.

    Args:
        path: The file to write.
        durable: Wait until the data are on the disk, so that a power failure leaves the old or the new file.

    Yields:
        The path of an empty file, with the permissions of a new file.

    Raises:
        OSError: The folder or file cannot be written.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid4().hex}.unfinished")  # short: a long name plus a suffix may not fit
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_target(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Try, before the work, whether a file can be written, and refuse to write over an input.

    Nothing is left behind: folders that are missing are created for the trial and removed.

    Args:
        path: The file to write later.
        inputs: Files that are read.

    Raises:
        OSError: The file or its folder cannot be written.
        ValueError: `path` is one of the inputs, perhaps by another name.
    """
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "a folder, where a file is to be written", str(path))
    for file in inputs:
        if os.path.realpath(file) == str(target) or (os.path.exists(file) and _is_same_file(file, target)):
            raise ValueError(f"{path} would be written over {file}, which is an input: choose another name.")
    missing = [folder for folder in target.parents if not os.path.exists(folder)]  # the deepest first
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        trial = target.with_name(f".{uuid4().hex}.unfinished") if os.path.exists(target) else target
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        trial.unlink()
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def _is_same_file(first: str | os.PathLike[str], second: Path) -> bool:
    """Whether two names, of which the second may be free, are one file: by links, or by case on some file systems."""
    return second.exists() and os.path.samefile(first, second)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all; see `replace_atomically`."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file with `\\n` as line end, whole or not at all; see `replace_atomically`."""
    write_bytes(path, text.encode("utf-8"))


def format_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of text as aligned columns, two spaces apart.

    Args:
        rows: The heading and the lines, all with the same number of cells.
        left: How many columns, counted from the first, are aligned to the left; the others to the right.

    Returns:
        The lines, joined by line breaks, without spaces at their ends.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def join_some(names: Iterable[str], most: int = 5, separator: str = ", ") -> str:
    """Join the first `most` names, and say how many more there are."""
    names = list(names)
    rest = f"{separator}and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + rest
