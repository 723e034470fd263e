"""Output files written whole or not at all, and plain-text tables."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

__all__ = ["format_table", "replace_atomically", "write_bytes", "write_text"]


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
