"""A `Recording`: maps, masks and losses of a network in the course of training, in one small file."""

import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet_lite.output import write_bytes

__all__ = ["MAX_BYTES", "Recording"]

MAX_BYTES = 3_000_000  # of all arrays, before compression
FORMAT = "birefnet-lite recording 1"
_FIELDS = ("photo", "steps", "masks", "loss_steps", "losses")


@dataclass(frozen=True)
class Recording:
    """The maps, masks and losses that a `Recorder` kept.

    Attributes:
        photo: The photo as the network sees it, perhaps smaller: uint8 (H, W, 3).
        truth: The true mask, uint8 (H, W) from 0 to 255, or None.
        steps: Step of each frame, ascending: int64 (frames,).
        masks: Predicted masks, uint8 (frames, h, w) from 0 to 255.
        maps: Maps by layer, uint8 (frames, channels, h, w); see `values`.
        ranges: Values that 0 and 255 of a layer's maps stand for, float32 (frames, 2).
        channels: Numbers of a layer's recorded channels, int64 (channels,).
        shapes: Size of a layer's maps in the network: (C, h, w).
        loss_steps: Steps of the losses, int64 (n,).
        losses: Losses by name, float32 (n,); NaN at steps without a value.
    """

    photo: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    steps: NDArray[np.int64]
    masks: NDArray[np.uint8]
    maps: dict[str, NDArray[np.uint8]]
    ranges: dict[str, NDArray[np.float32]]
    channels: dict[str, NDArray[np.int64]]
    shapes: dict[str, tuple[int, int, int]]
    loss_steps: NDArray[np.int64]
    losses: dict[str, NDArray[np.float32]]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the recorded layers, in the order of computation."""
        return tuple(self.maps)

    def values(self, layer: str, frame: int) -> NDArray[np.float32]:
        """A layer's maps in a frame, float32 (channels, h, w), exact to 1/510 of their range.

        Raises:
            KeyError: The layer was not recorded.
        """
        if layer not in self.maps:
            raise KeyError(f"No layer {layer!r} was recorded. There are: {', '.join(self.maps)}.")
        low, high = self.ranges[layer][frame]
        return low + self.maps[layer][frame].astype(np.float32) * ((high - low) / 255)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file, whole or not at all."""
        arrays: dict[str, Any] = {"photo": self.photo, "steps": self.steps, "masks": self.masks}
        arrays["loss_steps"] = self.loss_steps
        arrays["losses"] = np.array(list(self.losses.values()), np.float32).reshape(len(self.losses), -1)
        if self.truth is not None:
            arrays["truth"] = self.truth
        for i, name in enumerate(self.maps):
            arrays |= {
                f"maps{i}": self.maps[name],
                f"ranges{i}": self.ranges[name],
                f"channels{i}": self.channels[name],
            }
        header = {
            "format": FORMAT,
            "layers": [[name, *self.shapes[name]] for name in self.maps],
            "losses": list(self.losses),
        }
        file = io.BytesIO()
        np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
        write_bytes(path, file.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Recording":
        """Read a file that `save` wrote; nothing in it is executed.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged or is not a recording.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > 4 * MAX_BYTES:
                    raise ValueError("it is too large")
            with np.load(path, allow_pickle=False) as file:
                return cls._from_arrays({name: file[name] for name in file.files})
        except OSError:
            raise
        except Exception as error:  # zipfile, zlib, NumPy and json have kinds of their own
            raise ValueError(f"{Path(path)} is damaged or is not a recording of a training run ({error}).") from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Recording":
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        names = [str(entry[0]) for entry in header["layers"]]
        recording = cls(
            **{name: arrays[name] for name in _FIELDS if name != "losses"},
            truth=arrays.get("truth"),
            maps={name: arrays[f"maps{i}"] for i, name in enumerate(names)},
            ranges={name: arrays[f"ranges{i}"] for i, name in enumerate(names)},
            channels={name: arrays[f"channels{i}"] for i, name in enumerate(names)},
            shapes={str(name): (int(c), int(h), int(w)) for name, c, h, w in header["layers"]},
            losses=dict(zip(map(str, header["losses"]), arrays["losses"], strict=True)),
        )
        recording._check_shapes()
        return recording

    def _check_shapes(self) -> None:
        frames, points = len(self.steps), len(self.loss_steps)
        right = self.photo.dtype == self.masks.dtype == np.uint8 and self.photo.ndim == self.masks.ndim == 3
        right &= self.photo.shape[2] == 3 and len(self.masks) == frames
        right &= self.truth is None or (self.truth.dtype == np.uint8 and self.truth.ndim == 2)
        for name, maps in self.maps.items():
            right &= maps.dtype == np.uint8 and maps.ndim == 4 and len(maps) == frames
            right &= self.ranges[name].shape == (frames, 2) and self.channels[name].shape == maps.shape[1:2]
        right &= all(values.shape == (points,) for values in self.losses.values())
        if not right:
            raise ValueError("its arrays do not fit together")
