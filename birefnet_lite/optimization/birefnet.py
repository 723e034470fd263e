"""The whole network, rewritten for inference."""

from copy import deepcopy

from torch import Tensor, nn

from birefnet_lite.network.birefnet import BiRefNet, BiRefNetOutput
from birefnet_lite.network.blocks import BasicBlock, ResidualBlock
from birefnet_lite.network.squeeze import SqueezeModule
from birefnet_lite.optimization.aspp import rewrite_aspp
from birefnet_lite.optimization.decoder import Block, OptimizedDecoder
from birefnet_lite.optimization.encoder import OptimizedEncoder
from birefnet_lite.optimization.resize import resize

__all__ = ["OptimizedBiRefNet", "optimize"]


def optimize(model: BiRefNet) -> "OptimizedBiRefNet":
    """A copy of the model for inference that computes the same numbers, up to rounding, in less time and memory.

    The model itself stays as it is, and weights that it learns later do not reach the copy. Convert before or after:
    `optimize(model).half()` folds the weights in float64 first and is the more exact way.
    Raises `TypeError` for anything but a `BiRefNet`, and `ValueError` for one that is in training mode.
    """
    if isinstance(model, OptimizedBiRefNet):
        raise TypeError("The model is optimized already.")
    if not isinstance(model, BiRefNet):
        raise TypeError(f"optimize takes a BiRefNet, not {type(model).__name__}.")
    training = next((name or "the model" for name, module in model.named_modules() if module.training), None)
    if training is not None:
        raise ValueError(
            f"optimize rewrites a network in evaluation mode, and {training} is in training mode, where dropout and "
            "batch norms do something else for each batch. Call model.eval() first."
        )
    return OptimizedBiRefNet(model)


class OptimizedBiRefNet(nn.Module):
    """A `BiRefNet` rewritten for inference, as `optimize` gives it: (B, 3, H, W) to a `BiRefNetOutput`.

    It has no side outputs and cannot be trained, but gradients with respect to the image are there.
    """

    def __init__(self, model: BiRefNet) -> None:
        super().__init__()
        self.config = model.config
        self.min_size = model.min_size
        strides = None if model.neck is None else model.neck.strides
        self.encoder = OptimizedEncoder(deepcopy(model.encoder), strides)
        self.squeeze = None if model.squeeze is None else _rewrite_squeeze(deepcopy(model.squeeze))
        necks = None if model.neck is None else list(model.neck.projections)
        self.deepest = None if necks is None else deepcopy(necks[3])
        self.decoder = OptimizedDecoder(deepcopy(model.decoder), self.encoder.scales, necks)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> BiRefNetOutput:
        BiRefNet.check_image(self, image)
        levels, x = self.encoder(image)
        if self.squeeze is not None:
            x = self.squeeze(x)
        if self.deepest is not None:
            height, width = image.shape[-2:]
            x = self.deepest(resize(x, (height // 32, width // 32)))
        image = image.to(next(self.decoder.parameters()).dtype)  # only the encoder reads it in more (see `ImageConv2d`)
        return BiRefNetOutput(None, (), (), (), self.decoder(image, levels, x))

    def train(self, mode: bool = True) -> "OptimizedBiRefNet":
        """Evaluation mode is the only one; `ValueError` for the other."""
        if mode:
            raise ValueError("An optimized network is for inference; train the BiRefNet it was made from.")
        return super().train(False)


def _rewrite_squeeze(squeeze: SqueezeModule) -> nn.Sequential:
    """Folded norms and no concatenations in each block, be it a reconstruction block or a pyramid alone."""

    def rewrite(block: nn.Module) -> nn.Module:
        if isinstance(block, BasicBlock | ResidualBlock):
            return Block(block, [block.conv_in.in_channels])
        return rewrite_aspp(block)

    return nn.Sequential(*(rewrite(block) for block in squeeze))
