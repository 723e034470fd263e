"""`optimize`: rewrites a whole network for inference."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from birefnet_lite.network.backbone.convnets import ConvNet
from birefnet_lite.network.birefnet import BiRefNet, BiRefNetOutput
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.check_image import check_image
from birefnet_lite.network.squeeze import SqueezeModule
from birefnet_lite.optimization.aspp import rewrite_aspp
from birefnet_lite.optimization.decoder import Block, OptimizedDecoder
from birefnet_lite.optimization.encoder import OptimizedEncoder
from birefnet_lite.optimization.resize import resize

__all__ = ["OptimizedBiRefNet", "optimize"]


def optimize(model: BiRefNet) -> "OptimizedBiRefNet":
    """Copy a model into a form for inference that computes the same numbers, up to rounding, in less time and memory.

    The model itself is not changed, and later changes of its weights do not reach the copy. For half precision,
    `optimize(model).half()` is more exact than `optimize(model.half())`, since weights are combined in float64.

    Raises:
        TypeError: The model is not a `BiRefNet`, or is optimized already.
        ValueError: The model is in training mode.
    """
    if isinstance(model, OptimizedBiRefNet):
        raise TypeError("The model is optimized already.")
    if not isinstance(model, BiRefNet):
        raise TypeError(f"optimize takes a BiRefNet, not {type(model).__name__}.")
    training = next((name or "the model" for name, module in model.named_modules() if module.training), None)
    if training is not None:
        raise ValueError(
            f"optimize rewrites a network in evaluation mode, and {training} is in training mode, where dropout and "
            "batch norms depend on the batch. Call model.eval() first."
        )
    return OptimizedBiRefNet(model)


class OptimizedBiRefNet(nn.Module):
    """A `BiRefNet` rewritten for inference; `optimize` makes it. (B, 3, H, W) to a `BiRefNetOutput`.

    It has no side outputs and cannot be trained; gradients with respect to the image are available.
    """

    def __init__(self, model: BiRefNet) -> None:
        super().__init__()
        self.config = model.config
        self.min_size = model.min_size
        self.encoder = OptimizedEncoder(deepcopy(model.encoder), None if model.neck is None else model.neck.strides)
        self.squeeze = None if model.squeeze is None else _rewrite_squeeze(deepcopy(model.squeeze))
        projections = None if model.neck is None else cast("list[nn.Conv2d]", list(model.neck.projections))
        self.deepest = None if projections is None else deepcopy(projections[3])
        self.decoder = OptimizedDecoder(deepcopy(model.decoder), self.encoder.scales, projections)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> BiRefNetOutput:
        dtype = next(self.decoder.parameters()).dtype
        check_image(image, self.config, self.min_size, (dtype, torch.float32))
        if not isinstance(self.encoder.backbone, ConvNet):
            image = image.to(dtype)  # a `ConvNet` reads the image in float32 (see `ImageConv2d`)
        levels, x = self.encoder(image)
        if self.squeeze is not None:
            x = self.squeeze(x)
        if self.deepest is not None:
            height, width = image.shape[-2:]
            x = self.deepest(resize(x, (height // 32, width // 32)))
        return BiRefNetOutput(None, (), (), (), self.decoder(image.to(dtype), levels, x))

    def train(self, mode: bool = True) -> "OptimizedBiRefNet":
        """Do nothing for evaluation mode, the only one there is; `ValueError` for training mode."""
        if mode:
            raise ValueError("An optimized network is for inference; train the BiRefNet it was made from.")
        return super().train(False)


def _rewrite_squeeze(squeeze: SqueezeModule) -> nn.Sequential:
    """Rewrite each block of a squeeze module, whether it is a reconstruction block or an ASPP alone."""

    def rewrite(block: nn.Module) -> nn.Module:
        if isinstance(block, BasicBlock):
            return Block(block, [block.conv_in.in_channels])
        return rewrite_aspp(block)

    return nn.Sequential(*(rewrite(block) for block in squeeze))
