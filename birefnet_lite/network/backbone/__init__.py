"""Backbones: networks from an image (B, 3, H, W) to four feature maps, finest first."""

from birefnet_lite.network.backbone.base import Backbone
from birefnet_lite.network.backbone.convnets import CONVNETS, build_convnet
from birefnet_lite.network.backbone.swin import SWIN_VARIANTS, SwinTransformer
from birefnet_lite.network.backbone.timm_models import DINOV3, PVTV2, build_dinov3, build_timm, imagenet_swin_weights

__all__ = ["Backbone", "build_backbone"]


def build_backbone(name: str, pretrained: bool = False) -> Backbone:
    """Build a backbone by name.

    Args:
        name: One of `birefnet_lite.config.BACKBONES`, or `timm:NAME` for any timm model with `features_only`.
        pretrained: Take ImageNet weights (for DINOv3, its own) through torchvision or timm, which download them once.

    Raises:
        ValueError: The name is not known.
        ConnectionError: The pretrained weights are not in the cache and cannot be downloaded.

    Examples:
        >>> import torch
        >>> backbone = build_backbone("convnet_n").eval()
        >>> [tuple(x.shape[1:]) for x in backbone(torch.zeros(1, 3, 64, 64))]
        [(32, 16, 16), (64, 8, 8), (128, 4, 4), (192, 2, 2)]
    """
    if not pretrained:
        return _build(name, pretrained=False)
    try:
        return _build(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"The pretrained weights of {name} are not on this machine and could not be downloaded "
            f"({type(error).__name__}: {error}). With a network connection, run once:\n"
            f'  python -c "from birefnet_lite.network.backbone import build_backbone; build_backbone({name!r}, True)"\n'
            "They are then kept in the cache. To go on without them, use bb_pretrained=False."
        ) from error


def _build(name: str, pretrained: bool) -> Backbone:
    if name in SWIN_VARIANTS:
        backbone = SwinTransformer(**SWIN_VARIANTS[name])
        if pretrained:
            backbone.load_imagenet_weights(imagenet_swin_weights(name))
        return backbone
    if name in CONVNETS:
        return build_convnet(name, pretrained)
    if name in PVTV2:
        return build_timm(name, pretrained)
    if name in DINOV3:
        return build_dinov3(name, pretrained)
    if name.startswith("timm:"):
        return build_timm(name.removeprefix("timm:"), pretrained)
    raise ValueError(
        f"There is no backbone {name!r}. birefnet_lite.config.BACKBONES names them; 'timm:NAME' takes others."
    )
