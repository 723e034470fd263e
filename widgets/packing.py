"""Packing of a view's parts into one buffer: photo, statistics, and as many maps as fit into a number of bytes."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from widgets.planes import Plane

__all__ = ["MIB", "Packer", "count_channels", "encode_photo"]

MIB = 2**20


class Packer:
    """Lays parts one after the other in a buffer, each on a multiple of four bytes."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self._pieces: list[bytes] = []
        self._length = 0

    def add(self, part: dict[str, Any], data: bytes) -> None:
        """One part: what it is, and its bytes."""
        self.parts.append({**part, "offset": self._length, "length": len(data)})
        padding = -len(data) % 4
        self._pieces += [data, b"\0" * padding]
        self._length += len(data) + padding

    def add_plane(self, layer: str, channel: int, plane: Plane) -> None:
        """One map of a layer."""
        height, width = plane.codes.shape
        part = {"kind": "plane", "layer": layer, "channel": channel, "lo": plane.lo, "hi": plane.hi}
        self.add({**part, "width": width, "height": height}, plane.codes.astype("<u2", copy=False).tobytes())

    def buffer(self) -> bytes:
        """Everything that was added."""
        return b"".join(self._pieces)


def count_channels(shapes: dict[str, tuple[int, int, int]], budget: float) -> dict[str, int]:
    """How many channels of each layer fit into `budget` bytes of planes, at least one of each.

    Fine maps get fewer than coarse ones, in proportion to their sides: a fine map takes many bytes, and coarse layers
    have more channels.
    """

    def counts(scale: float) -> dict[str, int]:
        return {
            name: min(channels, max(1, int(scale / (height * width) ** 0.5)))
            for name, (channels, height, width) in shapes.items()
        }

    def cost(chosen: dict[str, int]) -> int:
        return sum(2 * n * shapes[name][1] * shapes[name][2] for name, n in chosen.items())

    low, high = 0.0, max((c * (h * w) ** 0.5 for c, h, w in shapes.values()), default=0.0) + 1
    if cost(counts(high)) <= budget:
        return counts(high)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(counts(middle)) <= budget else (low, middle)
    return counts(low)


def encode_photo(photo: NDArray[np.uint8], quality: int = 90) -> bytes:
    """The backdrop as a JPEG without colour subsampling."""
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()
