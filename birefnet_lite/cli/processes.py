"""The processes that `accelerate launch` started: their share of a list, and what they tell each other."""

import os
from typing import Any, Protocol, TypeVar

__all__ = ["Processes", "find_processes"]

T = TypeVar("T")


class Processes(Protocol):
    """This process among those that share the work."""

    @property
    def rank(self) -> int:
        """Its number, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def device(self) -> str | None:
        """The device that it works on; None to choose freely."""

    def broadcast(self, value: T) -> T:
        """The value that process 0 gives, in every process."""

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in every process."""


class _Alone:
    """One process."""

    rank: int = 0
    count: int = 1

    def __init__(self, device: str | None) -> None:
        self.device = device

    def broadcast(self, value: T) -> T:
        return value

    def gather(self, value: T) -> list[T]:
        return [value]


class _Launched:
    """A process that `accelerate launch` or `torchrun` started."""

    def __init__(self, device: str | None) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=device == "cpu")
        self.rank, self.count = self._state.process_index, self._state.num_processes
        self.device: str | None = str(self._state.device) if device in (None, "cuda") else device

    def broadcast(self, value: T) -> T:
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def gather(self, value: Any) -> list[Any]:
        from accelerate.utils import gather_object

        return gather_object([value])


def find_processes(device: str | None) -> Processes:
    """Join the processes that share the work; one alone if nothing launched several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _Launched(device)
    return _Alone(device)
