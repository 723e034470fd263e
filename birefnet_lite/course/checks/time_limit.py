"""A time limit for a call, on every platform: an endless loop in an answer must end in a message."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SECONDS", "OutOfTime", "time_limit"]

SECONDS = 10.0
"""The longest that one call of an answer may take; right ones take milliseconds."""

_AGAIN = 0.5  # seconds until the exception is raised again, for answers that catch everything
_PATIENCE = 6  # how many times as long an answer may take that hardly computes


class OutOfTime(BaseException):
    """Not an `Exception`, so that `except Exception` in an answer lets it through."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block once the seconds have passed.

    On a busy machine a right answer may wait long for its turn: while this process computes less than half of the time,
    the block may take six times as long, until it counts as asleep.

    Uses an alarm signal where there is one and this is the main thread; elsewhere another thread raises the exception
    here, between two steps of Python code.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        yield from _by_signal(seconds)
    else:
        yield from _by_thread(seconds)


def _start_clock(seconds: float) -> Callable[[], bool]:
    """A function that says whether the time of a block that begins now is up."""
    start, computed = time.monotonic(), time.process_time()

    def is_up() -> bool:
        passed = time.monotonic() - start
        return passed >= seconds and (time.process_time() - computed >= seconds / 2 or passed >= _PATIENCE * seconds)

    return is_up


def _by_signal(seconds: float) -> Iterator[None]:
    is_up = _start_clock(seconds)

    def stop(number: int, frame: object) -> None:
        if is_up():
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
            raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    rest, again = signal.setitimer(signal.ITIMER_REAL, seconds, min(seconds, _AGAIN))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest, again)
        signal.signal(signal.SIGALRM, before)


def _by_thread(seconds: float) -> Iterator[None]:
    is_up = _start_clock(seconds)
    target = ctypes.c_ulong(threading.get_ident())
    done = threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with lock:  # not between the end of the block and `done`
                if done.is_set():
                    return
                if up := is_up():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(OutOfTime))
            wait = _AGAIN if up else min(seconds, _AGAIN)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            done.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)  # one that is pending is withdrawn
        watcher.join()
