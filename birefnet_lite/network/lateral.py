"""Lateral blocks, which bring encoder maps to the decoder, and the neck for plain vision transformers."""

from torch import Tensor, nn

from birefnet_lite.network.resize import resize

__all__ = ["LateralBlock", "PyramidNeck"]


class LateralBlock(nn.Module):
    """A 1x1 convolution from the width of an encoder map to the width of the decoder stage that adds it.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Examples:
        >>> import torch
        >>> LateralBlock(192, 64)(torch.zeros(1, 192, 16, 16)).shape
        torch.Size([1, 64, 16, 16])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class PyramidNeck(nn.Module):
    """Makes a feature pyramid of four maps that have one stride, as a plain vision transformer gives them.

    Each map is resized to its level of the pyramid (strides 4, 8, 16 and 32 of the image) and projected to its width.
    Shapes: four maps (B, in_channels[i], h, w), finest level first, to (B, out_channels[i], H / stride, W / stride).

    Examples:
        >>> import torch
        >>> neck = PyramidNeck((384,) * 4, (32, 64, 128, 192))
        >>> [tuple(x.shape[1:]) for x in neck(tuple(torch.zeros(1, 384, 4, 4) for _ in range(4)), (64, 64))]
        [(32, 16, 16), (64, 8, 8), (128, 4, 4), (192, 2, 2)]
    """

    strides = (4, 8, 16, 32)

    def __init__(self, in_channels: tuple[int, ...], out_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1) for narrow, wide in zip(in_channels, out_channels, strict=True)
        )

    def forward(self, features: tuple[Tensor, ...], image_size: tuple[int, int]) -> tuple[Tensor, ...]:
        height, width = image_size
        return tuple(
            project(resize(x, (height // stride, width // stride)))
            for project, x, stride in zip(self.projections, features, self.strides, strict=True)
        )
