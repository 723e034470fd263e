"""The `Recorder`: records how a network's maps, masks and losses change in the course of training."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from birefnet_lite.analysis.capture import Activations, capture
from birefnet_lite.inference.images import read_mask, read_photo, resize, to_levels
from birefnet_lite.inference.predict import network_size
from birefnet_lite.training.recording import MAX_BYTES, Recording

__all__ = ["Recorder"]

PHOTO_SIDE, MASK_SIDE, MAP_SIDE = 256, 128, 64  # larger pictures are reduced to these sides, in pixels or cells
MAX_LOSSES = 2000  # steps whose losses are kept
DEFAULT_LAYERS = (".side", ".out", ".gradient_attention")


class Recorder:
    """Records maps of one photo every few steps, for `widgets.training_film`.

    The size of a recording is limited to 3 MB: when it is reached, every second frame is dropped and `every` doubles.

        recorder = Recorder(photo, every=5, size=64)
        recorder.record(model, 0)
        for step in range(1, 61):
            loss = train_step(...)
            recorder.record(model, step, {"loss": loss})
        recorder.save("run.recording")

    `training_loop.train(settings, recorder=recorder)` does the same.

    Args:
        photo: Anything that `read_photo` takes.
        layers: Names of layers as in `analysis.capture`; None for the stages' outputs, side predictions and gradient
            attention.
        every: Steps between two frames.
        mask: The photo's true mask, if there is one: anything that `read_mask` takes.
        size: The size at which the network sees the photo, as in `segment`.
        channels: Channels recorded of each layer, evenly spaced over those that it has.

    Raises:
        ValueError: `every` or `channels` is below 1, or the photo or mask cannot be read.
    """

    def __init__(
        self,
        photo: Any,
        layers: Iterable[str] | None = None,
        every: int = 10,
        *,
        mask: Any = None,
        size: int | tuple[int, int] | None = None,
        channels: int = 6,
    ) -> None:
        for name, value in (("every", every), ("channels", channels)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        self.every = every
        self._pixels = read_photo(photo).pixels
        self._truth = None if mask is None else _reduce_mask(read_mask(mask, soft=True))
        self._layers = None if layers is None else tuple(layers)
        self._size, self._channel_count = size, channels
        self._seen: NDArray[Any] | None = None
        self._channels: dict[str, NDArray[np.int64]] = {}
        self._shapes: dict[str, tuple[int, int, int]] = {}
        self._frames: list[_Frame] = []
        self._losses: list[tuple[int, dict[str, float]]] = []
        self._loss_every = 1

    def record(
        self, model: nn.Module, step: int, losses: Mapping[str, float] | None = None, *, force: bool = False
    ) -> bool:
        """Note the losses of a step and, every few steps, the maps.

        The model is left as it was, also its mode and the state of random numbers. Frames from this step on are
        replaced, so that a loop may be run again.

        Args:
            model: The network.
            step: Number of finished steps.
            losses: Numbers by name, such as `{"loss": 0.3}`.
            force: Record a frame whatever the step, for example after the last one.

        Returns:
            Whether a frame was recorded.

        Raises:
            ValueError: The model lacks a layer, or a frame is so large that not even two fit into a recording.
        """
        self._frames = [frame for frame in self._frames if frame.step < step]
        self._losses = [entry for entry in self._losses if entry[0] < step]
        if losses and step % self._loss_every == 0:
            self._losses.append((step, {name: float(value) for name, value in losses.items()}))
            if len(self._losses) > MAX_LOSSES:
                self._loss_every *= 2
                self._losses = [entry for entry in self._losses if entry[0] % self._loss_every == 0]
        if step % self.every and not force:
            return False
        self._frames.append(self._take_frame(model, step))
        self._limit_size()
        return True

    @property
    def recording(self) -> Recording:
        """The recording up to now.

        Raises:
            ValueError: There is no frame yet.
        """
        if not self._frames or self._seen is None:
            raise ValueError("Nothing is recorded yet: call record(model, step) in the training loop.")
        names = list(dict.fromkeys(name for _, losses in self._losses for name in losses))
        return Recording(
            photo=_reduce_photo(self._seen),
            truth=self._truth,
            steps=np.array([frame.step for frame in self._frames], np.int64),
            masks=np.stack([frame.mask for frame in self._frames]),
            maps={name: np.stack([frame.maps[name] for frame in self._frames]) for name in self._channels},
            ranges={
                name: np.array([frame.ranges[name] for frame in self._frames], np.float32) for name in self._channels
            },
            channels=dict(self._channels),
            shapes=dict(self._shapes),
            loss_steps=np.array([step for step, _ in self._losses], np.int64),
            losses={
                name: np.array([losses.get(name, np.nan) for _, losses in self._losses], np.float32) for name in names
            },
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to one file, which `Recording.load` reads."""
        self.recording.save(path)

    def _take_frame(self, model: nn.Module, step: int) -> "_Frame":
        size = network_size(model, self._size)
        if self._seen is None or self._seen.shape[:2] != size:
            self._seen = resize(self._pixels, *size)
        wanted = None if self._layers is None else {*self._layers, "logits"}
        activations = capture(model, self._seen, size, layers=wanted)
        if self._layers is None:
            self._layers = tuple(name for name in activations if name.endswith(DEFAULT_LAYERS))
        if not self._channels:
            self._choose_channels(activations)
        frame = _Frame(step, _reduce_mask(activations.mask))
        for name, channels in self._channels.items():
            frame.add(name, activations[name][torch.from_numpy(channels)])
        return frame

    def _choose_channels(self, activations: Activations) -> None:
        for name in activations:  # in the order of computation
            if name in (self._layers or ()):
                count, height, width = activations[name].shape
                self._shapes[name] = (count, height, width)
                chosen = np.linspace(0, count - 1, min(count, self._channel_count))
                self._channels[name] = chosen.round().astype(np.int64)

    def _limit_size(self) -> None:
        """Drop every second frame, but not the last, until the recording fits."""
        fixed = 3 * PHOTO_SIDE**2 + (0 if self._truth is None else self._truth.size)
        fixed += len(self._losses) * (8 + 4 * max((len(losses) for _, losses in self._losses), default=0))
        frame = self._frames[-1].size()
        if fixed + 2 * frame > MAX_BYTES:
            raise ValueError(
                f"A frame of these layers takes {frame / 1e6:.1f} MB; a recording has {MAX_BYTES / 1e6:.0f} in all. "
                "Record fewer layers or channels."
            )
        while fixed + len(self._frames) * frame > MAX_BYTES:
            self.every *= 2
            self._frames = [*self._frames[:-1:2], self._frames[-1]]


class _Frame:
    """Mask and maps at one step, in 8 bits."""

    def __init__(self, step: int, mask: NDArray[np.uint8]) -> None:
        self.step, self.mask = step, mask
        self.maps: dict[str, NDArray[np.uint8]] = {}
        self.ranges: dict[str, tuple[float, float]] = {}

    def add(self, name: str, maps: Tensor) -> None:
        """Add maps (channels, h, w) of a layer, reduced and in 8 bits over the range of their finite values."""
        values = _reduce(maps, MAP_SIDE).numpy()
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        levels = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / ((high - low) or 1.0))
        self.maps[name], self.ranges[name] = levels.round().astype(np.uint8), (low, high)

    def size(self) -> int:
        """Bytes in the recording."""
        return 8 + self.mask.size + sum(8 + maps.size for maps in self.maps.values())


def _reduce(maps: Tensor, side: int) -> Tensor:
    """Maps (C, h, w) by means over areas, so that no side is above `side`."""
    height, width = maps.shape[-2:]
    scale = min(1.0, side / max(height, width))
    return adaptive_avg_pool2d(maps, (max(1, round(height * scale)), max(1, round(width * scale))))


def _reduce_mask(mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    reduced = _reduce(torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None], MASK_SIDE)[0].numpy()
    return to_levels(np.nan_to_num(reduced).clip(0, 1))


def _reduce_photo(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:  # photos of 16 bits are floats in [0, 1]
        pixels = to_levels(pixels)
    height, width = pixels.shape[:2]
    scale = min(1.0, PHOTO_SIDE / max(height, width))
    return resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
