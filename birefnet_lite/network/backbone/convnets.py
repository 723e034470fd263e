"""Convolutional backbones: VGG-16 and ResNet-50 from torchvision, and the small residual network of `nano`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from birefnet_lite.network.backbone.base import Backbone

if TYPE_CHECKING:
    from torchvision import models

__all__ = ["CONVNETS", "ConvNet", "build_convnet"]


class ConvNet(Backbone):
    """Four groups of layers in a row. The first one quarters the resolution, each other one halves it.

    Shapes: (B, 3, H, W) to four maps (B, channels[i], H / stride, W / stride) at strides 4, 8, 16 and 32.
    """

    def __init__(self, stages: list[nn.Sequential], channels: tuple[int, ...], min_size: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.min_size = min_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = []
        x = image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features)


def _vgg(net: "models.VGG", cuts: tuple[int, ...]) -> ConvNet:
    """Group VGG's layers; each of `cuts` is the number of layers up to the end of a group, after a pooling layer."""
    stages = [net.features[first:last] for first, last in zip((0, *cuts[:-1]), cuts, strict=True)]
    # Five pooling layers leave nothing of an image under 32 pixels.
    return ConvNet(stages, (128, 256, 512, 512), min_size=32)


def _resnet(net: "models.ResNet") -> ConvNet:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return ConvNet([stem, net.layer2, net.layer3, net.layer4], (256, 512, 1024, 2048), min_size=16)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input (He et al., 2015): (B, C, H, W) to (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, (conv, norm) = _conv(channels, channels), _conv(channels, channels)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), conv, norm)
        self.relu = nn.ReLU(inplace=True)
        nn.init.zeros_(norm.weight)  # a new block is the identity, which makes training easier at its start

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.body(x))


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv, nn.BatchNorm2d(out_channels)


def _small(channels: tuple[int, int, int, int], depths: tuple[int, int, int, int]) -> ConvNet:
    """A residual network: each stage halves the resolution, then has `depths[i]` blocks. It trains from scratch."""
    before = channels[0] // 2
    stem = [*_conv(3, before, stride=2), nn.ReLU(inplace=True)]
    stages = []
    for width, depth in zip(channels, depths, strict=True):
        halve = [*_conv(before, width, stride=2), nn.ReLU(inplace=True)]
        stages.append(nn.Sequential(*stem, *halve, *(Residual(width) for _ in range(depth))))
        before, stem = width, []
    return ConvNet(stages, channels, min_size=1)


def _from_torchvision(name: str, pretrained: bool) -> Any:
    from torchvision import models  # takes over a second to import, and few networks need it

    return models.get_model(name, weights="DEFAULT" if pretrained else None)


CONVNETS: dict[str, Callable[[bool], ConvNet]] = {
    "convnet_n": lambda pretrained: _small((32, 64, 128, 192), (2, 2, 4, 2)),
    "vgg16": lambda pretrained: _vgg(_from_torchvision("vgg16", pretrained), (10, 17, 24, 31)),
    "vgg16bn": lambda pretrained: _vgg(_from_torchvision("vgg16_bn", pretrained), (14, 24, 34, 44)),
    "resnet50": lambda pretrained: _resnet(_from_torchvision("resnet50", pretrained)),
}


def build_convnet(name: str, pretrained: bool = False) -> ConvNet:
    """Build one of `CONVNETS`, with torchvision's ImageNet weights if `pretrained`.

    Raises:
        ValueError: There are no ImageNet weights for this backbone.
    """
    if pretrained and name == "convnet_n":
        raise ValueError("convnet_n has no ImageNet weights; load('nano') has it trained with the rest of the network.")
    return CONVNETS[name](pretrained)
