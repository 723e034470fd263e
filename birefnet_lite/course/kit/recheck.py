"""Run the answers of a class again, each in a process of its own that can do as little else as possible."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from birefnet_lite.course.kit.classroom import Classroom, Verdict

__all__ = ["CannotRun", "recheck"]

_PACKAGE = Path(__file__).resolve().parents[3]


class CannotRun(RuntimeError):
    """Answers cannot be run on this machine; the message says why."""


def recheck(
    classroom: Classroom, seconds: float = 60, call_seconds: float = 10, memory: float = 2**30
) -> tuple[dict[tuple[str, str], Verdict], list[str]]:
    """Run every answer of a class with the check of its exercise.

    Args:
        classroom: The class; it is not changed.
        seconds: The longest that one answer may take.
        call_seconds: The longest that one call of an answer may take, for a clear message.
        memory: Bytes that one answer may take, beyond PyTorch itself.

    Returns:
        The verdicts by learner and exercise, and a line for each protection that says whether it held.

    Raises:
        CannotRun: There is no `fork` here, as on Windows, or the process cannot be started.
    """
    if not hasattr(os, "fork"):
        raise CannotRun("answers cannot be run on Windows; use the course's Docker image, or WSL")
    verdicts: dict[tuple[str, str], Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="birefnet-answers-") as folder:
        inside, outside = Path(folder) / "in", Path(folder) / "out"
        inside.mkdir()
        outside.mkdir()
        limits = {"seconds": seconds, "call_seconds": call_seconds, "memory": memory}
        prefix, label = _isolation(inside)
        with _runner(prefix, inside) as ask:
            probe = ask({"exercise": "", "outside": str(outside / "file"), **limits})
            protections = [f"kept apart by {label}", *_protection_lines(probe), f"time: {seconds:g} seconds an answer"]
            for learner, hand_in in classroom.hand_ins.items():
                for exercise, entry in hand_in.entries.items():
                    if entry.source:
                        job = {"exercise": exercise, "answer": entry.answer, "source": entry.source}
                        said = ask({**job, "context": entry.context, **limits})
                        verdicts[learner, exercise] = _verdict(said)
    return verdicts, protections


def _verdict(said: dict[str, Any]) -> Verdict:
    """A verdict as it comes from the process, whatever an answer has done to it."""
    passed, refused = said.get("passed"), said.get("refused")
    refused = [str(one)[:100] for one in refused[:9]] if isinstance(refused, list) else []
    return Verdict(passed if isinstance(passed, bool) else None, str(said.get("message", ""))[:2000], tuple(refused))


def _protection_lines(probe: dict[str, Any]) -> list[str]:
    if probe.get("passed") is not True:
        return [f"could not be tried: {probe.get('message')}"]
    found = json.loads(probe["message"])
    return [f"{name}: {'refused' if held else 'NOT refused'}" for name, held in found.items()]


def _isolation(folder: Path) -> tuple[list[str], str]:
    """The start of a command that runs another one with less, the best that works here, and its name."""
    bind = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(folder), str(folder)]
    candidates = [
        (
            ["bwrap", *bind, "--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--"],
            "bubblewrap: no network, no other processes, a file system that cannot be written",
        ),
        (
            ["unshare", "--map-root-user", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--"],
            "unshare: no network, no other processes",
        ),
        (["unshare", "--map-root-user", "--net", "--"], "unshare: no network"),
    ]
    for prefix, label in candidates:
        if shutil.which(prefix[0]) is None:
            continue
        try:
            trial = [*prefix, sys.executable, "-I", "-c", "print('works')"]
            done = subprocess.run(trial, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.stdout.strip() == b"works":
            return prefix, label
    return [], "Python's own means only: neither bubblewrap nor unshare is allowed here"


@contextmanager
def _runner(prefix: list[str], folder: Path) -> Iterator[Any]:
    """A function that sends one job to the process and returns what it says."""
    environment = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_PACKAGE),
        "BIREFNET_PROGRESS": "off",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [*prefix, sys.executable, "-s", "-B", "-m", "birefnet_lite.course.kit.runner", str(folder)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=folder, env=environment
        )
        to, answers = process.stdin, process.stdout
        assert to is not None
        assert answers is not None

        def receive() -> dict[str, Any]:
            line = answers.readline()
            if not line:
                errors.seek(0)
                last = errors.read().decode("utf-8", "replace").strip().split("\n")[-1]
                raise CannotRun(f"the process that runs answers has ended: {last[:300]}")
            return json.loads(line)

        def ask(job: dict[str, Any]) -> dict[str, Any]:
            try:
                to.write(json.dumps(job).encode("ascii") + b"\n")
                to.flush()
            except BrokenPipeError:
                pass  # `receive` says why
            return receive()

        try:
            receive()
            yield ask
        finally:
            to.close()
            process.kill()
            process.wait()
            answers.close()
