"""From settings to the network and the optimizer that a run works with."""

from typing import Any

import torch
from torch import nn

from birefnet_lite.checkpoints import load
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.deformable import DeformableConv2d
from birefnet_lite.training.settings import TrainSettings

__all__ = ["bfloat16_is_fast", "build_model", "check_classes", "parameter_groups", "set_mode"]


def build_model(settings: TrainSettings) -> BiRefNet:
    """The network to train: a preset with fresh weights, or a checkpoint's."""
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


def check_classes(settings: TrainSettings, config: BiRefNetConfig, num_classes: int) -> None:
    """Raise ValueError where a class loss is wanted, and the network has no head for the data's classes."""
    if settings.class_weight and not (config.auxiliary_classification and num_classes <= config.num_classes):
        heads = f"a class head for {config.num_classes}" if config.auxiliary_classification else "no class head"
        raise ValueError(
            f"class_weight is {settings.class_weight:g}, the data have {num_classes} classes, and the network has "
            f"{heads}. Set class_weight = 0, or change config."
        )


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself.

    A processor that does not is far slower in it: a step of `nano` on 16 images of 192 x 192 took 24 s instead of 3.3
    on two cores of an AMD EPYC without AVX-512. False where PyTorch does not say: older versions of it, Apple's GPU.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the weights of convolutions and linear layers; none for biases and batch norms."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]


def set_mode(model: BiRefNet, settings: TrainSettings, step: int) -> None:
    """Training mode, but for what is frozen: a backbone's, or every batch norm's, statistics stay as they are."""
    model.train()
    if settings.freeze_backbone:
        model.encoder.backbone.eval()
    for module in model.modules():
        if settings.freeze_batch_norm and isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            module.eval()
        if isinstance(module, DeformableConv2d):
            if step < settings.plain_steps:
                module.forward = module.conv.forward
            else:
                module.__dict__.pop("forward", None)  # back to the class's own
