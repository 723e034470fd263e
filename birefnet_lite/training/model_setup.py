"""Set-up of the network and optimizer of a training run: weights, frozen parts, parameter groups."""

from typing import Any

from torch import nn

from birefnet_lite.checkpoints import load
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.deformable import DeformableConv2d
from birefnet_lite.training.settings import TrainSettings

__all__ = ["build_model", "check_class_head", "parameter_groups", "set_train_mode"]


def build_model(settings: TrainSettings) -> BiRefNet:
    """The network to train: a preset with random weights, or a checkpoint."""
    if settings.start_from:
        model = load(settings.start_from, device="cpu")
    else:
        model = BiRefNet(BiRefNetConfig.preset(settings.model).replace(**settings.config))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.dropout
    if settings.freeze_backbone:
        model.encoder.backbone.requires_grad_(False)
    return model


def check_class_head(settings: TrainSettings, config: BiRefNetConfig, num_classes: int) -> None:
    """Check that the network has a head for the data's classes, if the class loss has a weight.

    Raises:
        ValueError: It has none, or one for fewer classes.
    """
    if settings.class_weight and not (config.auxiliary_classification and num_classes <= config.num_classes):
        heads = f"a class head for {config.num_classes}" if config.auxiliary_classification else "no class head"
        raise ValueError(
            f"class_weight is {settings.class_weight:g}, the data have {num_classes} classes, and the network has "
            f"{heads}. Set class_weight = 0, or change config."
        )


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: weight decay for convolutions and linear layers, none for biases and norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def set_train_mode(model: BiRefNet, settings: TrainSettings, step: int) -> None:
    """Set training mode for a step, except for frozen parts.

    The batch norms of a frozen backbone, or all of them with `freeze_batch_norm`, keep their running statistics. In the
    first `plain_steps` steps deformable convolutions run as plain ones.
    """
    model.train()
    if settings.freeze_backbone:
        model.encoder.backbone.eval()
    for module in model.modules():
        if settings.freeze_batch_norm and isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            module.eval()
        if isinstance(module, DeformableConv2d):
            if step < settings.plain_steps:
                module.__dict__["forward"] = module.conv.forward
            else:
                module.__dict__.pop("forward", None)  # the method of the class again
