"""The attributes that every backbone has."""

from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """A network from an image (B, 3, H, W) to four maps (B, channels[i], H / stride, W / stride), finest first."""

    channels: tuple[int, ...]
    """Widths of the four maps."""
    min_size: int
    """The smallest height and width of an image, in pixels."""
    is_pyramid: bool = True
    """Whether the maps have strides 4, 8, 16 and 32. Otherwise all four have the same stride."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError
