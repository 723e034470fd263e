"""BiRefNet: encoder, squeeze module, decoder. This is the only part of the network that reads the configuration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from birefnet_lite.config import BACKBONES, BiRefNetConfig
from birefnet_lite.network.backbone import build_backbone
from birefnet_lite.network.check_image import check_image
from birefnet_lite.network.decoder import Decoder
from birefnet_lite.network.encoder import Encoder
from birefnet_lite.network.lateral import PyramidNeck
from birefnet_lite.network.refinement import gradient_target, masked_gradient_target
from birefnet_lite.network.squeeze import SqueezeModule

__all__ = ["BiRefNet", "BiRefNetOutput", "logits_of"]


class BiRefNetOutput(NamedTuple):
    """The result of a forward. Tuples run from the deepest stage up; entries that were not computed are `()` or None.

    The side logits and gradient logits of stages 4, 3 and 2 have 1/32, 1/16 and 1/8 of the image's height and width.
    """

    class_logits: Tensor | None
    """(B, classes), in training with `auxiliary_classification`."""
    gradient_targets: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, H, W), in training."""
    gradient_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, h, w), in training."""
    side_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, h, w), in training."""
    logits: Tensor
    """(B, 1, H, W); `logits.sigmoid()` is the mask."""


def logits_of(output: Tensor | Sequence[Any]) -> Tensor:
    """Return the mask's logits (B, 1, H, W) from the output of a segmentation network.

    Args:
        output: A tensor, or a tuple or list whose last entry is the logits, such as a `BiRefNetOutput`.

    Examples:
        >>> import torch
        >>> logits_of([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 64, 64)]).shape
        torch.Size([1, 1, 64, 64])
    """
    return output if isinstance(output, Tensor) else output[-1]


class BiRefNet(nn.Module):
    """Bilateral reference network for high-resolution dichotomous image segmentation (Zheng et al., 2024, Fig. 2).

    Shapes: an image (B, 3, H, W), normalised with ImageNet's mean and standard deviation, H and W multiples of 32, to a
    `BiRefNetOutput`. Training needs a batch of two or more, for the batch norms.

    Args:
        config: The configuration; None is the published `BiRefNet_lite`.
        bb_pretrained: Give the backbone its ImageNet weights (see `build_backbone`).

    Examples:
        >>> import torch
        >>> model = BiRefNet(BiRefNetConfig.preset("nano")).eval()
        >>> with torch.no_grad():
        ...     output = model(torch.zeros(1, 3, 64, 96))
        >>> output.logits.shape
        torch.Size([1, 1, 64, 96])
    """

    def __init__(self, config: BiRefNetConfig | None = None, bb_pretrained: bool = False) -> None:
        super().__init__()
        config = BiRefNetConfig() if config is None else config
        if not isinstance(config, BiRefNetConfig):
            raise TypeError(f"config must be a BiRefNetConfig, not {type(config).__name__} ({config!r}).")
        self.config = config
        backbone = build_backbone(config.backbone, bb_pretrained)
        backbone.requires_grad_(not config.backbone_is_frozen)
        self.encoder = Encoder(backbone, config.multi_scale_input, config.context_scales)

        # Widths of the four encoder maps, finest first; the deepest one also carries its context.
        scales = 2 if config.multi_scale_input == "cat" else 1
        channels = tuple(scales * width for width in backbone.channels)
        c1, c2, c3, c4 = channels
        deepest = c4 + sum(channels[3 - config.context_scales : 3])
        self.class_head = nn.Linear(c4, config.num_classes) if config.auxiliary_classification else None
        self._class_channels = c4

        inter_channels = config.inter_channels if config.inter_width == "fixed" else None
        self.squeeze = None
        if config.squeeze_block != "none":
            self.squeeze = SqueezeModule(
                deepest,
                c4,
                config.squeeze_block,
                config.squeeze_depth,
                inter_channels=inter_channels,
                aspp=config.aspp,
                aspp_channels=config.aspp_channels,
                batch_norm=config.batch_norm,
            )
            deepest = c4

        # The image branches of stages 4, 3, 2, 1 and of the head are an eighth as wide as the encoder's maps.
        image_channels = (0, 0, 0, 0, 0)
        if config.inward_reference:
            image_channels = (c4 // 8, c4 // 8, c3 // 8, c2 // 8, c1 // 8)
        self.neck = None
        if not backbone.is_pyramid:
            w1, w2, w3, w4 = (scales * width for width in BACKBONES["swin_v1_l"])
            self.neck = PyramidNeck((c1, c2, c3, deepest), (w1, w2, w3, w4))
            c1, c2, c3, c4, deepest = w1, w2, w3, w4, w4
        self.decoder = Decoder(
            (c1, c2, c3, c4),
            image_channels,
            deepest_channels=deepest,
            image_inter_channels=config.image_channels,
            image_tiles=config.image_tiles,
            supervised=config.multi_stage_supervision,
            outward_reference=config.outward_reference,
            gradient_channels=config.gradient_channels,
            block=config.reconstruction_block,
            inter_channels=inter_channels,
            aspp=config.aspp,
            aspp_channels=config.aspp_channels,
            batch_norm=config.batch_norm,
        )

    @property
    def min_size(self) -> int:
        """The smallest height and width, in pixels, that the network takes."""
        scales = 1 if self.config.multi_scale_input == "none" else 2
        return max(32, self.encoder.backbone.min_size * scales)

    def forward(self, image: Tensor) -> BiRefNetOutput:
        check_image(image, self.config, self.min_size, (next(self.parameters()).dtype,))
        self._check_batch(image)
        x1, x2, x3, x4 = self.encoder(image)  # strides 4, 8, 16, 32
        class_logits = None
        if self.class_head is not None and self.training:
            # The last channels of x4 are the encoder's own deepest map; the others are the context.
            class_logits = self.class_head(x4[:, -self._class_channels :].mean(dim=(2, 3)))  # (B, classes)
        if self.squeeze is not None:
            x4 = self.squeeze(x4)
        if self.neck is not None:
            x1, x2, x3, x4 = self.neck((x1, x2, x3, x4), image.shape[-2:])
        decoded = self.decoder(image, (x1, x2, x3, x4))
        gradient_targets: tuple[Tensor, ...] = ()
        if decoded.gradient_logits:
            target = masked_gradient_target if self.config.gradient_target == "masked" else gradient_target
            gradient_targets = tuple(target(image, side) for side in decoded.side_logits)
        return BiRefNetOutput(
            class_logits, gradient_targets, decoded.gradient_logits, decoded.side_logits, decoded.logits
        )

    def _check_batch(self, image: Tensor) -> None:
        """Raise `ValueError` for a batch of one, where a batch norm outside the backbone uses batch statistics."""
        if not self.training or image.shape[0] > 1:
            return
        if any(isinstance(module, nn.BatchNorm2d) and module.training for module in self.decoder.modules()):
            raise ValueError(
                "Training needs a batch of two or more: a batch norm cannot learn from the single pixel that ASPP's "
                "pooled branch leaves of one image. Use a larger batch, model.eval(), or batch_norm=False."
            )
