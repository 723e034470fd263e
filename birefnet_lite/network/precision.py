"""Chooses the parts of a network that compute in bfloat16, from the network's widths and the processor.

A bfloat16 number has 8 significant bits. A layer adds up rounded products, and the rounding errors of many products
partly cancel. So wide layers lose little, and narrow layers lose much: `benchmarks/rounding.py` measures the effect of
each part's rounding on the mask.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from birefnet_lite.config import BACKBONES, BiRefNetConfig

__all__ = ["PartDtypes", "choose_dtypes", "has_fast_bfloat16"]

LEAST_WIDTH = 64
"""A part whose narrowest layer has fewer channels stays in float32."""


class PartDtypes(NamedTuple):
    """The dtypes of the two halves of a network."""

    encoder: torch.dtype
    decoder: torch.dtype
    """Also that of the squeeze module."""


def has_fast_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a device multiplies bfloat16 in hardware: by default this processor (AMX, AVX512-BF16 or Arm's BF16).

    Without hardware support it is far slower than float32: a training step of `nano` on 16 images of 192 x 192 took
    24 s instead of 3.3 on two cores of an AMD EPYC without AVX-512. False where PyTorch gives no answer, as for Apple's
    GPU.
    """
    kind = "cpu" if device is None else device.type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        known: Mapping[str, Any] = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    # Older versions of PyTorch have no public function for this.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def choose_dtypes(config: BiRefNetConfig, device: torch.device) -> PartDtypes:
    """Choose bfloat16 for wide parts on a CPU that has instructions for it, and float32 otherwise."""
    if device.type != "cpu" or not has_fast_bfloat16():
        return PartDtypes(torch.float32, torch.float32)
    backbone = min(BACKBONES.get(config.backbone, (0,)))
    inner = config.inter_channels if config.inter_width == "fixed" else backbone // 4
    decoder = min(inner, config.aspp_channels) if config.aspp != "none" else inner
    encoder_dtype, decoder_dtype = (
        torch.bfloat16 if width >= LEAST_WIDTH else torch.float32 for width in (backbone, decoder)
    )
    return PartDtypes(encoder_dtype, decoder_dtype)
