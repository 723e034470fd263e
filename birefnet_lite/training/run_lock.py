"""A lock on a run's output folder, so that two runs do not write to it at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["LOCK_FILE", "FolderInUse", "lock_folder"]

LOCK_FILE = "run.lock"
# Windows keeps others from reading a locked byte, so that the locked one lies behind the text of the file.
_LOCKED_BYTE = 1 << 20


class FolderInUse(RuntimeError):
    """Another run is writing to the folder."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder while the block runs.

    The operating system holds the lock on an open file and gives it up when the process ends, however it ends. So a
    lock file that a killed run left behind does not lock anything. On a file system without locks there is none.

    Args:
        folder: The folder, which exists.

    Raises:
        FolderInUse: Another run holds the lock.
        OSError: The lock file cannot be written.
    """
    file = _open_and_lock(folder / LOCK_FILE)
    try:
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; one that stays does no harm
            (folder / LOCK_FILE).unlink()
        file.close()


def _open_and_lock(path: Path) -> BinaryIO:
    while True:
        file = path.open("ab+")
        try:
            if not _try_lock(file):
                file.seek(0)
                process = file.read(20).decode("ascii", "replace").strip()
                raise FolderInUse(
                    f"{path.parent} is in use by another training run"
                    + (f" (process {process})" if process else "")
                    + ". Wait until it ends, stop it, or name another output."
                )
            # The run before may have deleted the file between opening and locking it here.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _try_lock(file: BinaryIO) -> bool:
    """Lock an open file; False if another process (or another open file of this one) holds the lock."""
    if os.name == "nt":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True
