"""Recompute activations in the backward pass (activation checkpointing): less memory, more time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from birefnet_lite.network.birefnet import BiRefNet

__all__ = ["recompute_activations", "recomputed_modules"]


def recompute_activations(model: BiRefNet, enable: bool = True) -> None:
    """Switch activation checkpointing on or off (Chen et al. 2016, arXiv 1604.06174).

    Each block of the backbone and each stage of the decoder stores its inputs only. The backward pass runs it again,
    with the same dropout and without updating batch norm statistics a second time. So outputs, gradients and statistics
    are the same as without. A forward pass without gradients is not changed.
    """
    for module in recomputed_modules(model):
        if enable:
            module.forward = RecomputingForward(module)
        else:
            module.__dict__.pop("forward", None)  # the method of the class again


def recomputed_modules(model: BiRefNet) -> list[nn.Module]:
    """The modules that are recomputed one at a time: the backbone's innermost blocks, squeeze, decoder stages."""
    decoder = [*model.decoder.stages, model.squeeze, model.decoder.image_branch]
    return [*_innermost_blocks(model.encoder.backbone), *(part for part in decoder if part is not None)]


def _innermost_blocks(module: nn.Module) -> list[nn.Module]:
    """Members of module lists that have children, but no such list in them: blocks, or the stages of a VGG."""
    found = []
    for child in module.children():
        inner = _innermost_blocks(child)
        if not inner and isinstance(module, nn.ModuleList | nn.Sequential) and len(list(child.children())):
            inner = [child]
        found += inner
    return found


class RecomputingForward:
    """Replaces a module's `forward`. An object and not a closure, so that a deep copy of the module calls the copy."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = type(self.module).forward.__get__(self.module)
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts for the first and for the second forward."""
        return nullcontext(), _freeze_statistics(self.module)


@contextmanager
def _freeze_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norm statistics as they are: the first forward has updated them for this batch."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
