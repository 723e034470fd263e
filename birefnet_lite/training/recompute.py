"""Activation checkpointing: a step of training in less memory, for the time of a second forward."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["recompute_activations", "segments"]


def recompute_activations(model: BiRefNet, enable: bool = True) -> None:
    """Let the blocks of the backbone and the stages of the decoder keep their inputs alone until the backward.

    Everything in between is computed again when gradients ask for it (Chen et al., 2016, arXiv 1604.06174), with the
    same dropout; batch norms count every batch once. Outputs, gradients and statistics stay what they were. A forward
    without gradients is not touched. `enable=False` takes it back.
    """
    for segment in segments(model):
        if enable:
            segment.forward = Recomputed(segment)
        else:
            segment.__dict__.pop("forward", None)  # back to the class's own


def segments(model: BiRefNet) -> list[nn.Module]:
    """The parts that are recomputed one at a time: the backbone's innermost blocks, squeeze, decoder stages."""
    decoder = [*model.decoder.stages, model.squeeze, model.decoder.image_branch]
    return [*_blocks(model.encoder.backbone), *(part for part in decoder if part is not None)]


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Members of lists that have parts, but no such list of their own: blocks, or a VGG's stages."""
    found = []
    for child in module.children():
        inner = _blocks(child)
        if not inner and isinstance(module, nn.ModuleList | nn.Sequential) and len(list(child.children())):
            inner = [child]
        found += inner
    return found


class Recomputed:
    """In place of a module's `forward`. An object, not a closure: a copy of the module then calls itself."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = type(self.module).forward.__get__(self.module)
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)

    def _contexts(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        """Around the first forward, and around the second."""
        return nullcontext(), _statistics_kept(self.module)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """The second forward sees the same batch: the running statistics have it already."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
