"""A long computation in steps, between the messages that the kernel answers, so that it can be stopped and replaced."""

import asyncio
from collections.abc import Callable, Generator

__all__ = ["Background"]

#: Seconds between two steps, in which the kernel hears what the page has to say.
PAUSE = 0.02


class Background:
    """Runs a generator step by step. Each step yields a text that says how far it is.

    Where no event loop runs, such as in a script, all steps run at once.

    Args:
        steps: The computation.
        tell: Called with each text, and with "" at the end.
        fail: Called with what a later step raises; the first step raises to the caller.
    """

    def __init__(
        self, steps: Generator[str, None, None], tell: Callable[[str], None], fail: Callable[[BaseException], None]
    ) -> None:
        self._steps, self._tell, self._fail = steps, tell, fail
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Run the first step now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            while self._step():
                pass
            return
        if self._step():
            self._wait(loop)

    def stop(self) -> None:
        """Run no further step."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._tell("")
        self._steps.close()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        def run() -> None:
            self._next = None
            try:
                if self._step():
                    self._wait(loop)
            except Exception as error:
                self._tell("")
                self._fail(error)

        self._next = loop.call_later(PAUSE, run)

    def _step(self) -> bool:
        text = next(self._steps, None)
        self._tell(text or "")
        return text is not None
