"""BiRefNet: encoder, squeeze module, decoder. The only part of the network that reads the configuration."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from birefnet_lite.config import BACKBONES, BiRefNetConfig
from birefnet_lite.network.backbone import build_backbone
from birefnet_lite.network.decoder import Decoder
from birefnet_lite.network.encoder import Encoder
from birefnet_lite.network.lateral import PyramidNeck
from birefnet_lite.network.refinement import gradient_target, masked_gradient_target
from birefnet_lite.network.squeeze import SqueezeModule

__all__ = ["BiRefNet", "BiRefNetOutput", "logits_of"]


class BiRefNetOutput(NamedTuple):
    """What a forward gives. Tuples run from the deepest stage up; what was not computed is `()` or None."""

    class_logits: Tensor | None
    """(B, classes), in training with `auxiliary_classification`."""
    gradient_targets: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, H, W), in training."""
    gradient_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, H / 32..8, W / 32..8), in training."""
    side_logits: tuple[Tensor, ...]
    """Stages 4, 3, 2: (B, 1, H / 32..8, W / 32..8), in training."""
    logits: Tensor
    """(B, 1, H, W); `logits.sigmoid()` is the mask."""


def logits_of(output: Tensor | Sequence[Any]) -> Tensor:
    """The mask's logits (B, 1, H, W) in the output of a segmentation network.

    Args:
        output: A tensor, or a tuple or list whose last entry is the logits, such as a `BiRefNetOutput`.
    """
    return output if isinstance(output, Tensor) else output[-1]


class BiRefNet(nn.Module):
    """Bilateral reference network for high-resolution dichotomous image segmentation (Zheng et al., 2024, Fig. 2).

    Shapes: an image (B, 3, H, W), normalised with ImageNet's mean and standard deviation, H and W multiples of 32, to a
    `BiRefNetOutput`. Training needs a batch of two or more, for the batch norms.
    `bb_pretrained` gives the backbone its ImageNet weights (see `build_backbone`).
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

        times = 2 if config.multi_scale_input == "cat" else 1
        channels = tuple(times * width for width in backbone.channels)  # finest first
        c4 = channels[3]
        deepest = c4 + sum(channels[3 - config.context_scales : 3])
        self.class_head = nn.Linear(c4, config.num_classes) if config.auxiliary_classification else None
        self._class_channels = c4

        block = {
            "inter_channels": config.inter_channels if config.inter_width == "fixed" else None,
            "aspp": config.aspp,
            "aspp_channels": config.aspp_channels,
            "batch_norm": config.batch_norm,
        }
        self.squeeze = None
        if config.squeeze_block != "none":
            self.squeeze = SqueezeModule(deepest, c4, config.squeeze_block, config.squeeze_depth, **block)
            deepest = c4

        # The image branches are an eighth as wide as the encoder's maps: stages 4 to 1 and full resolution.
        image_channels = tuple(channels[i] // 8 for i in (3, 3, 2, 1, 0)) if config.inward_reference else (0,) * 5
        self.neck = None
        if not getattr(backbone, "is_pyramid", True):
            widths = tuple(times * width for width in BACKBONES["swin_v1_l"])
            self.neck = PyramidNeck((*channels[:3], deepest), widths)
            channels, deepest = widths, widths[3]
        self.decoder = Decoder(
            channels,
            image_channels,
            deepest_channels=deepest,
            image_inter_channels=config.image_channels,
            image_tiles=config.image_tiles,
            supervised=config.multi_stage_supervision,
            outward_reference=config.outward_reference,
            gradient_channels=config.gradient_channels,
            block=config.reconstruction_block,
            **block,
        )

    @property
    def min_size(self) -> int:
        """The smallest height and width, in pixels, that the backbone takes."""
        scales = 1 if self.config.multi_scale_input == "none" else 2
        return max(32, self.encoder.backbone.min_size * scales)

    def forward(self, image: Tensor) -> BiRefNetOutput:
        self.check_image(image)
        x1, x2, x3, x4 = self.encoder(image)
        class_logits = None
        if self.class_head is not None and self.training:
            # x4 ends with the encoder's own deepest map; in front of it is the context.
            class_logits = self.class_head(x4[:, -self._class_channels :].mean(dim=(2, 3)))
        if self.squeeze is not None:
            x4 = self.squeeze(x4)
        features = (x1, x2, x3, x4)
        if self.neck is not None:
            features = self.neck(features, image.shape[-2:])
        decoded = self.decoder(image, features)
        gradient_targets = ()
        if decoded.gradient_logits:
            target = masked_gradient_target if self.config.gradient_target == "masked" else gradient_target
            gradient_targets = tuple(target(image, side) for side in decoded.side_logits)
        return BiRefNetOutput(
            class_logits, gradient_targets, decoded.gradient_logits, decoded.side_logits, decoded.logits
        )

    def check_image(self, image: Tensor) -> None:
        """`ValueError` or `TypeError` that says what `forward` wants, where `image` is something else."""
        if not isinstance(image, Tensor):
            raise TypeError(
                f"BiRefNet takes a tensor (B, 3, H, W), not {type(image).__name__}; birefnet_lite.segment takes photos."
            )
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"BiRefNet takes an image of shape (B, 3, H, W), not {tuple(image.shape)}.")
        if not image.is_floating_point():
            raise TypeError(f"BiRefNet takes a normalised floating-point image, not {image.dtype}.")
        height, width = image.shape[-2:]
        if height % 32 or width % 32 or min(height, width) < self.min_size:
            least = (
                f" and at least {self.min_size} with the backbone {self.config.backbone}" if self.min_size > 32 else ""
            )
            raise ValueError(
                f"Height and width must be multiples of 32{least}, not {height} x {width}. "
                "birefnet_lite.segment takes photos of any size."
            )
        if self.training and image.shape[0] < 2 and self._normalises_batches():
            raise ValueError(
                "Training needs a batch of two or more: a batch norm cannot learn from the single pixel that ASPP's "
                "pooled branch leaves of one image. Use a larger batch, model.eval(), or batch_norm=False."
            )

    def _normalises_batches(self) -> bool:
        """Whether a batch norm outside the backbone uses the statistics of the batch."""
        return any(isinstance(module, nn.BatchNorm2d) and module.training for module in self.decoder.modules())
