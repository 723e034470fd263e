"""The process that runs answers, one after another, each in a forked child with limits; started by `recheck`.

It reads a line of JSON for each answer from its input and writes a line with the verdict. PyTorch is imported once,
before the first answer. `python -m birefnet_lite.course.kit.runner FOLDER`
"""

import ast
import json
import linecache
import os
import secrets
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from birefnet_lite.course.kit import protection

_MOST = 100_000  # bytes of a verdict
_MESSAGE = 2000  # characters


def main() -> None:
    """Answer lines until the input ends."""
    folder = Path(sys.argv[1])
    from birefnet_lite.course import checks
    from birefnet_lite.course.checks.squares import load_network

    load_network()  # the children may not read its file
    import_module("torch._dynamo")  # which PyTorch would import at some call of an answer, in each child again
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        action = _probe if job["exercise"] == "" else getattr(checks, job["exercise"])
        print(json.dumps(_run_in_child(job, action, folder)), flush=True)


def _run_in_child(job: dict[str, Any], action: Callable[..., Any], folder: Path) -> dict[str, Any]:
    """Fork, wait until the child has answered or its time is over, and end everything that it has started."""
    home = Path(tempfile.mkdtemp(dir=folder))
    token = secrets.token_hex(16)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _child(job, action, home, writer, token)
        finally:
            os._exit(1)
    os.close(writer)
    said, in_time = _read(reader, time.monotonic() + job["seconds"])
    os.close(reader)
    for kill, target in ((os.killpg, child), (os.kill, child)):
        try:
            kill(target, signal.SIGKILL)
        except ProcessLookupError:
            continue
    _, status = os.waitpid(child, 0)
    shutil.rmtree(home, ignore_errors=True)
    return _verdict(said, token, in_time, status, job["seconds"])


def _read(reader: int, until: float) -> tuple[bytes, bool]:
    """The output of the child process, and whether it ended before the time was over."""
    said = b""
    while (rest := until - time.monotonic()) > 0 and len(said) <= _MOST:
        ready, _, _ = select.select([reader], [], [], rest)
        if ready:
            piece = os.read(reader, 65536)
            if not piece:
                return said, True
            said += piece
    return said, len(said) > _MOST


def _verdict(said: bytes, token: str, in_time: bool, status: int, seconds: float) -> dict[str, Any]:
    first, _, rest = said.partition(b"\n")
    if first == token.encode():
        try:
            verdict = json.loads(rest)
        except (ValueError, RecursionError):
            verdict = None
        if isinstance(verdict, dict):
            return verdict
    if said:
        return _wrong("The answer writes into the line on which verdicts are reported.")
    if not in_time:
        return _wrong(f"Stopped after {seconds:g} seconds: is there a loop that never ends?")
    code = os.waitstatus_to_exitcode(status)
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    return _wrong(f"The answer ended its process, {how}, as `exit`, a crash or too much memory do.")


def _wrong(message: str) -> dict[str, Any]:
    return {"passed": False, "message": message, "refused": []}


def _child(job: dict[str, Any], action: Callable[..., Any], home: Path, writer: int, token: str) -> None:
    """In the child: limits first, then the hook, then the answer, then the verdict."""
    os.setsid()
    _end_with_parent()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.dup2(writer, 3)
    os.closerange(4, 4096)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.clear()
    os.environ.update(HOME=str(home), TMPDIR=str(home), BIREFNET_PROGRESS="off")
    os.chdir(home)
    from birefnet_lite.course.checks import time_limit

    time_limit.SECONDS = job["call_seconds"]
    refused: dict[str, None] = {}

    def note(what: str) -> None:
        refused[what] = None

    protection.refuse_in_torch(note)
    protection.limit_process(job["memory"], job["seconds"])
    write, dump, end = os.write, json.dumps, os._exit
    before = _fingerprint()
    protection.watch_process(home, note)
    try:
        verdict = _judge(job, action)
    except BaseException as error:
        verdict = _wrong(f"The answer raises {type(error).__name__} while it is defined.")
    changed = [name for name, value in _fingerprint().items() if before.get(name, value) is not value]
    if changed and job["exercise"]:
        verdict = _wrong(f"The answer replaces `{sorted(changed)[0]}`, with which it is judged.")
    verdict["message"] = str(verdict["message"])[:_MESSAGE]
    verdict["refused"] = list(refused)[:9]
    write(3, f"{token}\n{dump(verdict)}".encode("ascii", "replace"))
    end(0)


def _end_with_parent() -> None:
    """On Linux, have this process killed when the one that has started it ends, in whatever way."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _judge(job: dict[str, Any], action: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "answer"}
    if not job["exercise"]:
        return {"passed": True, "message": json.dumps(action(job))}
    try:
        tree = ast.parse(job["source"])
    except (SyntaxError, ValueError) as error:
        return _wrong(f"Python cannot read the answer: {error}")
    source = ast.unparse(tree)  # without comments, which may name somebody
    linecache.cache["<answer>"] = (len(source), None, source.splitlines(keepends=True), "<answer>")
    trouble = ""
    for text in (job["context"], source):
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign):
                try:
                    exec(compile(ast.Module([statement], []), "<answer>", "exec"), names)
                except Exception as error:  # what the answer needs may still be there
                    trouble = trouble or f" {type(error).__name__}: {error}"
    if job["answer"] not in names:
        return _wrong(f"The cell defines no `{job['answer']}`.{trouble}")
    result = action(names[job["answer"]])
    return {"passed": result.passed, "message": result.message}


def _fingerprint() -> dict[str, Any]:
    """The functions with which answers are judged, by name."""
    import builtins
    import math

    import numpy as np
    import torch

    owners: dict[str, Any] = {
        "torch": torch,
        "torch.Tensor": torch.Tensor,
        "torch.nn.functional": torch.nn.functional,
        "torch.nn.Module": torch.nn.Module,
        "numpy": np,
        "builtins": builtins,
        "math": math,
        "time": time,
        "signal": signal,
        "json": json,
        "os": os,
    }
    owners |= {name: module for name, module in sys.modules.items() if name.startswith("birefnet_lite.course.checks")}
    owners |= {
        f"{owner}.{name}": value
        for owner, module in list(owners.items())
        if owner.startswith("birefnet_lite")
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == owner
    }
    return {f"{owner}.{name}": value for owner, one in owners.items() for name, value in vars(one).items()}


def _probe(job: dict[str, Any]) -> dict[str, bool]:
    """Try what answers must not do; by name, whether it was refused."""
    import ctypes
    import socket
    import subprocess

    def use_memory() -> None:
        bytearray(int(job["memory"] * 2) + 2**30)

    def write_much() -> None:
        Path("large").write_bytes(bytes(2_000_000))

    def connect() -> None:
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()

    tries: dict[str, Callable[[], Any]] = {
        "files outside its folder": lambda: os.listdir(Path(job["outside"]).parent),
        "files written outside its folder": lambda: Path(job["outside"]).write_text("x"),
        "network": connect,
        "other processes": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
        "compiled code": lambda: ctypes.CDLL(None),
        f"memory over {job['memory'] / 2**20:.0f} MiB": use_memory,
        "large files": write_much,
    }
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
            found[name] = False
        except (PermissionError, MemoryError, OSError):
            found[name] = True
    return found


if __name__ == "__main__":
    main()
