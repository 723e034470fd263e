"""One launch instead of thousands: a forward recorded as a CUDA graph, and replayed for each image of its size."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNetOutput

__all__ = ["RecordedBiRefNet", "record"]

WARM_UP = 3  # forwards before a recording: what is set up at the first calls must not be part of it
MOST_SIZES = 4

Replay = Callable[[Tensor], Tensor]


def record(model: nn.Module, most_sizes: int = MOST_SIZES) -> "RecordedBiRefNet":
    """The model, a network for inference on a CUDA device, as a module that replays recorded forwards.

    The first image of a size, type and autocast setting is recorded, which takes some forwards' time; at most
    `most_sizes` recordings are kept, since each holds the memory of a forward. That pays off where launching the work
    takes longer than the work: small networks, small images, half precision.
    Raises `ValueError` for a model that is in training mode or not on a CUDA device.
    """
    parameter = next(model.parameters(), None)
    if model.training:
        raise ValueError("A recording repeats one forward for inference. Call model.eval() first.")
    if parameter is None or not parameter.is_cuda:
        where = "without parameters" if parameter is None else f"on {parameter.device}"
        raise ValueError(f"CUDA graphs need a model on a CUDA device; this one is {where}. Use the model as it is.")
    return RecordedBiRefNet(model, most_sizes)


class RecordedBiRefNet(nn.Module):
    """A network whose forwards are recorded once per size and then replayed, as `record` gives it.

    (B, 3, H, W) to a `BiRefNetOutput` with the final logits alone, a copy that later forwards leave alone.
    """

    def __init__(self, model: nn.Module, most_sizes: int = MOST_SIZES, capture: Callable | None = None) -> None:
        super().__init__()
        if most_sizes < 1:
            raise ValueError(f"most_sizes is {most_sizes}; at least one recording must be kept.")
        self.model = model
        self.most_sizes = most_sizes
        self.capture = capture or capture_forward
        self.recordings: OrderedDict[tuple, Replay] = OrderedDict()

    @property
    def config(self):
        """The network's configuration, so that `segment` knows its size."""
        return self.model.config

    @property
    def min_size(self) -> int:
        """The least height and width that the network takes."""
        return self.model.min_size

    @torch.no_grad()
    def forward(self, image: Tensor) -> BiRefNetOutput:
        kind = image.device.type
        key = (tuple(image.shape), image.dtype, torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind))
        if key not in self.recordings:
            while len(self.recordings) >= self.most_sizes:
                self.recordings.popitem(last=False)
            self.recordings[key] = self.capture(self.model, image)
        self.recordings.move_to_end(key)
        return BiRefNetOutput(None, (), (), (), self.recordings[key](image).clone())

    def train(self, mode: bool = True) -> "RecordedBiRefNet":
        """Evaluation mode is the only one; `ValueError` for the other."""
        if mode:
            raise ValueError("A recorded network is for inference; train the BiRefNet it was made from.")
        return super().train(False)


def capture_forward(model: nn.Module, example: Tensor) -> Replay:
    """Record one forward for images like the example: a function from an image to logits in memory that is reused."""
    still = example.clone()  # a recording reads and writes always the same memory
    side = torch.cuda.Stream(example.device)
    side.wait_stream(torch.cuda.current_stream(example.device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            model(still)
    torch.cuda.current_stream(example.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    precision = {"dtype": torch.get_autocast_dtype("cuda"), "enabled": torch.is_autocast_enabled("cuda")}
    # Autocast keeps cast weights until its context ends: a recording must not depend on them.
    with torch.autocast("cuda", cache_enabled=False, **precision), torch.cuda.graph(graph):
        logits = model(still).logits

    def replay(image: Tensor) -> Tensor:
        still.copy_(image)
        graph.replay()
        return logits

    return replay
