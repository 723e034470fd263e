"""Bilateral reference: inward reference (image tiles), outward reference (gradient attention) and its targets."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.network.aspp import batch_norm_or_identity
from birefnet_lite.network.resize import resize

__all__ = [
    "ImageBranch",
    "InwardReference",
    "OutwardReference",
    "gradient_target",
    "image_to_tiles",
    "laplacian",
    "masked_gradient_target",
]


def image_to_tiles(image: Tensor, grid: int) -> Tensor:
    """Cut an image into grid x grid tiles and stack them along the channels, so that every pixel is kept.

    Each tile is a crop: neighbours in a tile are neighbours in the image, unlike after `nn.PixelUnshuffle`. Channel
    `(c * grid + row) * grid + column` of the result is the tile at (row, column) of channel c: the colour varies
    slowest, the column fastest. Until November 2024 the original ordered them by column, row, colour;
    `checkpoints/official.py` converts such weights.

    Args:
        image: (B, C, H, W), H and W multiples of `grid`.
        grid: Number of tiles per side.

    Returns:
        (B, C * grid * grid, H / grid, W / grid).

    Examples:
        >>> import torch
        >>> image = torch.rand(1, 3, 64, 64)
        >>> tiles = image_to_tiles(image, grid=4)
        >>> tiles.shape
        torch.Size([1, 48, 16, 16])
        >>> torch.equal(tiles[0, 0], image[0, 0, :16, :16])  # the first channel is the top left tile of red
        True
    """
    batch, channels, height, width = image.shape
    if height % grid or width % grid:
        raise ValueError(f"An image of {height} x {width} cannot be cut into {grid} x {grid} tiles of one size.")
    tiles = image.reshape(batch, channels, grid, height // grid, grid, width // grid)  # (B, C, rows, h, columns, w)
    tiles = tiles.permute(0, 1, 2, 4, 3, 5)  # (B, C, rows, columns, h, w)
    return tiles.reshape(batch, channels * grid * grid, height // grid, width // grid)  # (B, C * rows * columns, h, w)


class ImageBranch(nn.Module):
    """Two 3x3 convolutions without an activation between them: together a linear 5x5 filter (paper Fig. 2, InRef).

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    Examples:
        >>> import torch
        >>> ImageBranch(48, 16)(torch.zeros(1, 48, 8, 8)).shape
        torch.Size([1, 16, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, inter_channels: int = 64) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, inter_channels, 3, padding=1)
        self.conv_out = nn.Conv2d(inter_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv_in(x))


class InwardReference(nn.Module):
    """Features of the image at the resolution of a decoder stage (paper, inward reference).

    Shapes: (B, 3, H, W) to (B, out_channels, H / grid, W / grid).

    Args:
        grid: The stage's stride, and the number of tiles per side.
        out_channels: Width of the result.
        inter_channels: Width between the two convolutions.
        tiles: Cut the image into tiles, which keeps all detail, or resize it, which loses detail.

    Examples:
        >>> import torch
        >>> inward = InwardReference(grid=4, out_channels=16)
        >>> inward(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 16, 8, 8])
    """

    def __init__(self, grid: int, out_channels: int, inter_channels: int = 64, tiles: bool = True) -> None:
        super().__init__()
        self.grid = grid
        self.tiles = tiles
        self.branch = ImageBranch(3 * grid * grid if tiles else 3, out_channels, inter_channels)

    def forward(self, image: Tensor) -> Tensor:
        if self.tiles:
            return self.branch(image_to_tiles(image, self.grid))  # (B, out_channels, H / grid, W / grid)
        height, width = image.shape[-2:]
        return self.branch(resize(image, (height // self.grid, width // self.grid)))


class OutwardReference(nn.Module):
    """Gradient features, with an attention map and gradient logits computed from them (paper, outward reference).

    Shapes: (B, in_channels, H, W) to the attention (B, 1, H, W), in 0 to 1, and the gradient logits (B, 1, H, W).

    Args:
        in_channels: Width of the input.
        channels: Width of the gradient features.
        batch_norm: False leaves out the batch norm.

    Examples:
        >>> import torch
        >>> attention, gradient_logits = OutwardReference(64).eval()(torch.zeros(1, 64, 8, 8))
        >>> attention.shape, gradient_logits.shape
        (torch.Size([1, 1, 8, 8]), torch.Size([1, 1, 8, 8]))
    """

    def __init__(self, in_channels: int, channels: int = 16, batch_norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm = batch_norm_or_identity(channels, batch_norm)
        self.relu = nn.ReLU(inplace=True)
        self.gradient_head = nn.Conv2d(channels, 1, 1)
        self.attention_head = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.relu(self.norm(self.conv(x)))  # (B, channels, H, W)
        return self.attention_head(features).sigmoid(), self.gradient_head(features)


def laplacian(image: Tensor) -> Tensor:
    """The 5x5 Laplacian of each channel: the mean of the 24 neighbours minus the centre, halved.

    The border is reflected.

    Args:
        image: (B, C, H, W), of any unit.

    Returns:
        (B, C, H, W), in the unit of the image.

    Examples:
        >>> import torch
        >>> laplacian(torch.ones(1, 1, 8, 8)).abs().max().item() < 1e-6  # a flat image has no edges
        True
    """
    import kornia.filters  # takes more than a second to import, and only training needs it

    return kornia.filters.laplacian(image, 5, border_type="reflect", normalized=True)


def gradient_target(image: Tensor, side_logits: Tensor) -> Tensor:
    """Compute the target of a gradient head in the original code: image Laplacian times the side output's logits.

    The loss compares it after a sigmoid, so that a background without edges is 0.5. The target is not detached: its
    gradient reaches the side output. The paper describes another target, `masked_gradient_target`.

    Args:
        image: (B, 3, H, W), as the network sees it.
        side_logits: (B, 1, h, w), of the same stage.

    Returns:
        (B, 1, H, W), unbounded.

    Examples:
        >>> import torch
        >>> gradient_target(torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 1, 64, 64])
    """
    edges = laplacian(image.mean(dim=1, keepdim=True))  # (B, 1, H, W)
    return edges * resize(side_logits, image.shape[-2:])


def masked_gradient_target(image: Tensor, side_logits: Tensor, percentile: float = 0.99) -> Tensor:
    """Compute the edges of the image near the object that a stage predicts (paper, gradient supervision).

    The absolute Laplacian is divided by its 99th percentile in each image and clipped at 1. It is multiplied by the
    predicted mask (probability over 0.5), dilated by max(1, round(H / 128)) pixels. The target is detached.

    Args:
        image: (B, 3, H, W), as the network sees it.
        side_logits: (B, 1, h, w), of the same stage.
        percentile: The fraction of pixels whose Laplacian is at most the divisor, 0 to 1.

    Returns:
        (B, 1, H, W), in 0 to 1.

    Examples:
        >>> import torch
        >>> target = masked_gradient_target(torch.rand(1, 3, 64, 64), torch.full((1, 1, 16, 16), -9.0))
        >>> target.shape, target.max().item()  # no object, so no edges to learn
        (torch.Size([1, 1, 64, 64]), 0.0)
    """
    height, width = image.shape[-2:]
    edges = laplacian(image.detach().mean(dim=1, keepdim=True)).abs()  # (B, 1, H, W)
    # One grey level is an edge of about 0.01. The floor keeps rounding errors of flat images small.
    scale = _percentile(edges.flatten(1), percentile).clamp_min(1e-4)  # (B,)
    edges = (edges / scale[:, None, None, None]).clamp(max=1)
    mask = (resize(side_logits.detach(), (height, width)).sigmoid() > 0.5).to(edges.dtype)
    radius = max(1, round(height / 128))
    return edges * F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)


def _percentile(rows: Tensor, fraction: float) -> Tensor:
    """The interpolated percentile of each row: (B, N) to (B,). `torch.quantile` refuses more than 16 million values."""
    position = fraction * (rows.shape[1] - 1)
    below = int(position)
    low = rows.kthvalue(below + 1, dim=1).values
    high = rows.kthvalue(min(below + 2, rows.shape[1]), dim=1).values
    return torch.lerp(low, high, position - below)
