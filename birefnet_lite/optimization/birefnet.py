"""`optimize`: rewrites a whole network for inference."""

from copy import deepcopy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from birefnet_lite.network.backbone.convnets import ConvNet
from birefnet_lite.network.birefnet import BiRefNet, BiRefNetOutput
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.check_image import check_image
from birefnet_lite.network.precision import PartDtypes, choose_dtypes
from birefnet_lite.network.squeeze import SqueezeModule
from birefnet_lite.optimization.aspp import rewrite_aspp
from birefnet_lite.optimization.decoder import Block, Image, Level, OptimizedDecoder
from birefnet_lite.optimization.encoder import OptimizedEncoder
from birefnet_lite.optimization.resize import resize

__all__ = ["OptimizedBiRefNet", "optimize"]


def optimize(model: BiRefNet, precision: Literal["auto"] | None = None) -> "OptimizedBiRefNet":
    """Copy a model into a form for inference that computes the same numbers, up to rounding, in less time and memory.

    The model itself is not changed, and later changes of its weights do not reach the copy. For half precision,
    `optimize(model).half()` is more exact than `optimize(model.half())`, since weights are combined in float64.

    Args:
        model: A BiRefNet in evaluation mode.
        precision: None computes in the model's dtype. `"auto"` computes in bfloat16 those parts of a float32 model that
            can be rounded with little effect on the mask, if the processor has instructions for it (see
            `network/precision.py`), and everything else in float32. Images and logits stay float32.

    Raises:
        TypeError: The model is not a `BiRefNet`, or is optimized already.
        ValueError: The model is in training mode, or the precision is not known.

    Examples:
        >>> import torch
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> model = BiRefNet(BiRefNetConfig.preset("nano")).eval()
        >>> image = torch.rand(1, 3, 64, 64)
        >>> with torch.no_grad():
        ...     plain, fast = model(image).logits, optimize(model)(image).logits
        >>> torch.allclose(plain, fast, atol=1e-4)
        True
    """
    if precision not in (None, "auto"):
        raise ValueError(f"precision is {precision!r}; it can be 'auto' or None.")
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
    optimized = OptimizedBiRefNet(model)
    parameter = next(model.parameters())
    if precision == "auto" and parameter.dtype == torch.float32:
        optimized.lower_precision(choose_dtypes(model.config, parameter.device))
    return optimized


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
        if next(self.parameters()).device.type == "cpu":
            _order_channels_last(self)

    def lower_precision(self, dtypes: PartDtypes) -> None:
        """Convert the encoder, and the squeeze module with the decoder, to these dtypes.

        The logits, and the image branch that adds to them, stay float32.
        """
        self.encoder.to(dtypes.encoder)
        for part in (self.squeeze, self.deepest, self.decoder.stages):
            if part is not None:
                part.to(dtypes.decoder)
        self.decoder.output_dtype = torch.float32

    def forward(self, image: Tensor) -> BiRefNetOutput:
        dtype = next(self.decoder.stages.parameters()).dtype
        encoder_dtype = list(self.encoder.parameters())[-1].dtype
        check_image(image, self.config, self.min_size, (encoder_dtype, dtype, torch.float32))
        # A `ConvNet` reads the image in float32 (see `ImageConv2d`).
        levels, x = self.encoder(image if isinstance(self.encoder.backbone, ConvNet) else image.to(encoder_dtype))
        if encoder_dtype != dtype:
            x = x.to(dtype)
            levels = [
                Level(level.full.to(dtype), None if level.half is None else level.half.to(dtype), level.size)
                for level in levels
            ]
        if self.squeeze is not None:
            x = self.squeeze(x)
        if self.deepest is not None:
            height, width = image.shape[-2:]
            x = self.deepest(resize(x, (height // 32, width // 32)))
        logits = self.decoder(image, levels, x)
        return BiRefNetOutput(None, (), (), (), logits)

    def train(self, mode: bool = True) -> "OptimizedBiRefNet":
        """Do nothing for evaluation mode, the only one there is; `ValueError` for training mode."""
        if mode:
            raise ValueError("An optimized network is for inference; train the BiRefNet it was made from.")
        return super().train(False)


def _order_channels_last(network: nn.Module) -> None:
    """Store the kernels with channels last, in place; the maps follow. Convolutions on a CPU then take less time.

    The image and its tiles keep their order: to transpose so many channels takes longer than it saves.
    """
    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, Image):
            module.to(memory_format=torch.contiguous_format)


def _rewrite_squeeze(squeeze: SqueezeModule) -> nn.Sequential:
    """Rewrite each block of a squeeze module, whether it is a reconstruction block or an ASPP alone."""

    def rewrite(block: nn.Module) -> nn.Module:
        if isinstance(block, BasicBlock):
            return Block(block, [block.conv_in.in_channels])
        return rewrite_aspp(block)

    return nn.Sequential(*(rewrite(block) for block in squeeze))
