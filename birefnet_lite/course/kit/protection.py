"""Limits and an audit hook for a process that runs other people's code; they are not a secure sandbox."""

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["limit_process", "refuse_in_torch", "watch_process"]

_FILE_BYTES = 1_000_000
_OPEN_FILES = 64
_WRITES = 100  # files that may be opened for writing
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Events of Python, https://docs.python.org/3/library/audit_events.html, that no answer needs, with what is said.
_REFUSED = {
    "use the network": ("socket.", "http.", "urllib.", "ftplib.", "smtplib.", "poplib.", "imaplib.", "webbrowser."),
    "start or stop a process": (
        "subprocess.",
        "os.system",
        "os.exec",
        "os.spawn",
        "os.posix_spawn",
        "os.fork",
        "os.startfile",
        "os.kill",
        "pty.",
        "signal.pthread_kill",
    ),
    "call compiled code": ("ctypes.",),
    "change its limits": ("resource.setrlimit", "resource.prlimit"),
    "look into other frames and objects": ("gc.get_", "sys._current", "sys.settrace", "sys.setprofile"),
    "use the system log": ("syslog.",),
}
_MODULES = {"_posixsubprocess", "_ctypes", "ctypes", "cffi", "_cffi_backend", "_testcapi", "_xxsubinterpreters"}
# Events whose first arguments are paths: how many, and whether something is written.
_PATHS: dict[str, tuple[int, bool]] = {
    "os.listdir": (1, False),
    "os.scandir": (1, False),
    "os.chdir": (1, False),
    "os.walk": (1, False),
    "glob.glob": (1, False),
    "sqlite3.connect": (1, True),
}
_PATHS |= {f"os.{name}": (2, True) for name in ("rename", "link", "symlink")}
_PATHS |= {
    f"os.{name}": (1, True)
    for name in ("remove", "rmdir", "mkdir", "chmod", "chown", "truncate", "utime", "setxattr", "removexattr")
}
_PATHS |= {f"shutil.{name}": (1, True) for name in ("rmtree", "chown", "make_archive", "unpack_archive")}
_PATHS |= {f"shutil.{name}": (2, True) for name in ("copyfile", "copymode", "copystat", "copytree", "move")}


def limit_process(memory: float, seconds: float) -> None:
    """Limit this process for good.

    Args:
        memory: Bytes beyond what the process has now.
        seconds: Of the processor.
    """
    import resource

    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": int(seconds) + 1,
        "RLIMIT_FSIZE": _FILE_BYTES,
        "RLIMIT_NOFILE": _OPEN_FILES,
    }
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits["RLIMIT_AS"] = pages * resource.getpagesize() + int(memory)
    except (OSError, ValueError, IndexError):  # no Linux
        limits["RLIMIT_DATA"] = int(memory)
    for name, limit in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (limit, limit))
        except (ValueError, OSError, AttributeError):  # the probe reports what does not hold
            continue


def watch_process(folder: Path, note: Callable[[str], None]) -> None:
    """Refuse, from now on, what `_REFUSED` names and files outside a folder; Python's own may be read.

    Args:
        folder: Where files may be read and written.
        note: Called with what was refused.
    """
    real = os.path.realpath
    own = real(folder)
    readable = {own, *(real(root) for root in _python_folders())}
    writes = 0
    busy = False

    def allowed(path: Any, writing: bool) -> bool:
        if isinstance(path, int) or path is None:
            return True
        place = real(os.fsdecode(path))
        if place == os.devnull:
            return True
        roots: Iterable[str] = (own,) if writing else readable
        return any(place == root or place.startswith(root.rstrip(os.sep) + os.sep) for root in roots)

    def refuse(what: str) -> None:
        note(what)
        raise PermissionError(f"not allowed here: to {what}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes, busy
        if busy:
            return
        if event == "open":
            paths, writing = arguments[:1], bool((arguments[2] or 0) & _WRITING)
        elif event in _PATHS:
            count, writing = _PATHS[event]
            paths = arguments[:count]
        else:
            if event == "import" and arguments[0] in _MODULES:
                refuse("call compiled code")
            for what, prefixes in _REFUSED.items():
                if event.startswith(prefixes):
                    refuse(what)
            return
        busy = True  # what is asked here about paths is not asked again
        try:
            fine = all(allowed(path, writing) for path in paths)
        finally:
            busy = False
        writes += writing
        if not fine:
            refuse("write outside its folder" if writing else "read files outside its folder")
        if writes > _WRITES:
            refuse("write very many files")

    sys.addaudithook(hook)


def _python_folders() -> set[str]:
    """Where Python, its packages and this project are."""
    found = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), str(Path(__file__).parents[2])}
    found |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return {path for path in found if path and os.path.realpath(path) != os.sep}


def refuse_in_torch(note: Callable[[str], None]) -> None:
    """Take PyTorch's own ways to files and libraries out, of which Python's audit hooks learn nothing."""
    import torch

    def refuse(*arguments: Any, **named: Any) -> None:
        note("use files through PyTorch")
        raise PermissionError("not allowed here: to use files through PyTorch")

    places: list[tuple[Any, tuple[str, ...]]] = [
        (torch, ("save", "load", "from_file")),
        (torch.serialization, ("save", "load")),
        (torch._C, ("PyTorchFileWriter", "PyTorchFileReader", "import_ir_module")),
        (torch.jit, ("save", "load")),
        (torch.ops, ("load_library",)),
        (torch.classes, ("load_library",)),
        (torch.UntypedStorage, ("from_file", "_new_shared_filename")),
    ]
    for owner, names in places:
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, refuse)
