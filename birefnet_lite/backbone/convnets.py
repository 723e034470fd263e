"""Convolutional backbones, from torchvision: VGG-16 with and without batch norm, ResNet-50."""

from torch import Tensor, nn
from torchvision import models

__all__ = ["CONVNETS", "ConvNet", "build_convnet"]


class ConvNet(nn.Module):
    """Four groups of layers in a row, each halving the resolution (the first one quarters it).

    Shapes: (B, 3, H, W) to four maps (B, C_i, H / s, W / s) at strides 4, 8, 16 and 32.
    """

    def __init__(self, stages: list[nn.Sequential], channels: tuple[int, ...], min_size: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.min_size = min_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return tuple(features)


def _vgg(net: models.VGG, cuts: tuple[int, ...]) -> ConvNet:
    """`cuts` are where a stage ends, each behind a pooling layer."""
    stages = [net.features[first:last] for first, last in zip((0, *cuts[:-1]), cuts, strict=True)]
    # Five poolings: an image under 32 pixels has nothing left.
    return ConvNet(stages, (128, 256, 512, 512), min_size=32)


def _resnet(net: models.ResNet) -> ConvNet:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
    return ConvNet([stem, net.layer2, net.layer3, net.layer4], (256, 512, 1024, 2048), min_size=16)


CONVNETS = {
    "vgg16": lambda weights: _vgg(models.vgg16(weights=weights), (10, 17, 24, 31)),
    "vgg16bn": lambda weights: _vgg(models.vgg16_bn(weights=weights), (14, 24, 34, 44)),
    "resnet50": lambda weights: _resnet(models.resnet50(weights=weights)),
}


def build_convnet(name: str, pretrained: bool = False) -> ConvNet:
    """One of `CONVNETS`, with torchvision's ImageNet weights if `pretrained`."""
    return CONVNETS[name]("DEFAULT" if pretrained else None)
