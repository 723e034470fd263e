"""Algebra of convolutions: fold batch norms, compose, split. Weights are combined in float64 and rounded once."""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Affine",
    "ComposedConv2d",
    "ImageConv2d",
    "PatchConv2d",
    "SummedConv2d",
    "affine_of",
    "build_conv",
    "compose",
    "fold",
    "fold_batch_norms",
]


class Affine(NamedTuple):
    """A convolution as numbers: weight (O, I, k, k) and bias (O,), in float64."""

    weight: Tensor
    bias: Tensor

    def after(self, first: "Affine") -> "Affine":
        """Merge this 1x1 convolution with the one before it: W (V x + b) + c = (W V) x + (W b + c).

        This also holds with zero padding, since a 1x1 convolution reads no neighbours.
        """
        matrix = self.weight[:, :, 0, 0]  # (O, M)
        return Affine(torch.einsum("om,mikl->oikl", matrix, first.weight), matrix @ first.bias + self.bias)

    def split(self, widths: list[int]) -> list["Affine"]:
        """Split into one convolution for each part of a concatenated input: W cat(x, y) + b = (W_x x + b) + W_y y."""
        weights = self.weight.split(widths, dim=1)
        return [Affine(w, self.bias if i == 0 else torch.zeros_like(self.bias)) for i, w in enumerate(weights)]


def _to_float64(tensor: Tensor) -> Tensor:
    """Convert to float64, on the CPU if the device has no float64."""
    device = "cpu" if tensor.device.type == "mps" else tensor.device
    return tensor.detach().to(device, torch.float64)


def affine_of(conv: nn.Conv2d) -> Affine:
    """Return the numbers of a convolution, with zeros for a missing bias."""
    weight = _to_float64(conv.weight)
    return Affine(weight, weight.new_zeros(len(weight)) if conv.bias is None else _to_float64(conv.bias))


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d | nn.Identity) -> Affine:
    """Merge a convolution and the batch norm after it into one convolution.

    In evaluation a batch norm is gamma (y - mean) / sqrt(var + eps) + beta: with s = gamma / sqrt(var + eps), the
    weight becomes s W and the bias s (b - mean) + beta. An `nn.Identity` in place of the batch norm changes nothing.
    """
    weight, bias = affine_of(conv)
    if isinstance(norm, nn.Identity):
        return Affine(weight, bias)
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("A batch norm without running statistics cannot be folded.")
    gamma = None if norm.weight is None else _to_float64(norm.weight)
    beta = None if norm.bias is None else _to_float64(norm.bias)
    fused = nn.utils.fusion.fuse_conv_bn_weights(
        weight, bias, _to_float64(norm.running_mean), _to_float64(norm.running_var), norm.eps, gamma, beta
    )
    return Affine(*(parameter.detach() for parameter in fused))


def fold_batch_norms(net: nn.Module) -> None:
    """Fold, in place, the batch norms that follow a convolution.

    These are pairs in an `nn.Sequential`, and pairs named conv1 and bn1, conv2 and bn2, and so on, as in torchvision's
    ResNet. The convolution that reads the image becomes an `ImageConv2d`.
    """
    for module in net.modules():
        names = list(module._modules)
        pairs = list(pairwise(names)) if isinstance(module, nn.Sequential) else []
        pairs += [(name, name.replace("conv", "bn")) for name in names if name[:4] == "conv" and name[4:].isdigit()]
        for conv_name, norm_name in pairs:
            conv, norm = module._modules[conv_name], module._modules.get(norm_name)
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                kind = ImageConv2d if conv.in_channels == 3 else nn.Conv2d
                module._modules[conv_name] = build_conv(fold(conv, norm), like=conv, kind=kind)
                module._modules[norm_name] = nn.Identity()


class ImageConv2d(nn.Conv2d):
    """The convolution that reads the image. It stays in float32 when the rest of the network is made half precision.

    Neighbouring pixels are nearly equal, so the rounding errors of pixels and weights add up instead of averaging out.
    Takes images of either precision, and returns the precision of the rest of the network.
    """

    around: torch.dtype = torch.float32
    """The dtype of the rest of the network."""

    def _apply(self, fn, recurse: bool = True):
        # Apply the move or cast to an empty tensor of the network's dtype, to learn the network's new dtype.
        self.around = fn(self.weight.new_empty(0, dtype=self.around)).dtype

        def widest(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            return changed if changed.dtype.itemsize >= 4 else tensor.to(changed.device, torch.float32)

        return super()._apply(widest, recurse)

    def forward(self, image: Tensor) -> Tensor:
        y = super().forward(image.to(torch.promote_types(image.dtype, self.weight.dtype)))
        return y.to(self.around) if y.dtype.itemsize > self.around.itemsize else y


def build_conv(affine: Affine, like: nn.Conv2d, kind: type[nn.Conv2d] = nn.Conv2d, **geometry) -> nn.Conv2d:
    """Build a convolution from its numbers.

    Args:
        affine: Weight and bias.
        like: The convolution whose dtype, device, stride, padding, dilation and groups are used.
        kind: The class of the new module.
        geometry: Stride, padding, dilation or groups, if they differ from those of `like`.
    """
    names = ("stride", "padding", "dilation", "groups")
    geometry = {name: getattr(like, name) for name in names} | geometry
    out_channels, in_channels, *kernel = affine.weight.shape
    conv = nn.utils.skip_init(
        kind,
        in_channels * geometry["groups"],
        out_channels,
        kernel,
        **geometry,
        device=like.weight.device,
    ).to(like.weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(affine.weight)
        conv.bias.copy_(affine.bias)
    return conv.requires_grad_(False)


class SummedConv2d(nn.Module):
    """A convolution of concatenated maps, computed without the concatenation as a sum of one convolution for each.

    Shapes: maps (B, widths[i], H, W) to (B, O, H, W).
    """

    def __init__(self, affine: Affine, widths: list[int], like: nn.Conv2d) -> None:
        super().__init__()
        self.convs = nn.ModuleList(build_conv(part, like) for part in affine.split(widths))

    def forward(self, *maps: Tensor) -> Tensor:
        total = self.convs[0](maps[0])
        for conv, x in zip(self.convs[1:], maps[1:], strict=True):
            total += conv(x)
        return total


class PatchConv2d(nn.Module):
    """A padded convolution with one output channel, computed for 4 x 4 pixels at a time.

    Processors compute sixteen output channels with one instruction; with one channel, fifteen results are lost. Here
    the pixels of a patch are the channels of a convolution with stride 4: each is the given filter, moved to its pixel
    within a larger kernel of zeros. For a 5x5 filter these are 2.6 times the multiplications, in a tenth of the time.
    Shapes: (B, C, H, W) to (B, 1, H, W).
    """

    side = 4

    def __init__(self, affine: Affine, like: nn.Conv2d) -> None:
        super().__init__()
        _, channels, kernel, _ = affine.weight.shape
        width = kernel + self.side - 1
        weight = affine.weight.new_zeros(self.side**2, channels, width, width)
        for pixel, filters in enumerate(weight):
            row, column = divmod(pixel, self.side)
            filters[:, row : row + kernel, column : column + kernel] = affine.weight[0]
        patches = Affine(weight, affine.bias.expand(self.side**2))
        self.conv = build_conv(patches, like, stride=self.side, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % self.side or width % self.side:
            x = F.pad(x, (0, -width % self.side, 0, -height % self.side))
        return F.pixel_shuffle(self.conv(x), self.side)[..., :height, :width]


def compose(second: Affine, first: Affine) -> Affine:
    """Merge two 3x3 convolutions in a row into one of 5x5, which is exact away from the border.

    y(p) = sum_a V_a z(p + a) and z(q) = sum_b W_b x(q + b) give y(p) = sum_c (sum_{a + b = c} V_a W_b) x(p + c).
    """
    out_channels, in_channels = len(second.weight), first.weight.shape[1]
    weight = first.weight.new_zeros(out_channels, in_channels, 5, 5)
    for row in range(3):
        for column in range(3):
            part = torch.einsum("om,mikl->oikl", second.weight[:, :, row, column], first.weight)
            weight[:, :, row : row + 3, column : column + 3] += part
    return Affine(weight, second.weight.sum((2, 3)) @ first.bias + second.bias)


class ComposedConv2d(nn.Module):
    """Two padded 3x3 convolutions without an activation between them, as one 5x5 convolution, exact at the border too.

    The second convolution reads zeros beyond the border, where the first one, continued, would have other values. So
    the composed filter is wrong there, but only in the outermost row or column. This frame of one pixel is computed by
    the two convolutions themselves, on strips of three pixels: one row of y needs two rows of z, and three of x.
    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W); a single output channel is computed by a `PatchConv2d`.
    """

    def __init__(self, first: Affine, second: Affine, like: nn.Conv2d) -> None:
        super().__init__()
        inside = compose(second, first)
        self.inside = PatchConv2d(inside, like) if len(inside.bias) == 1 else build_conv(inside, like, padding=2)
        self.first = build_conv(first, like)
        self.second = build_conv(second, like)

    @staticmethod
    def pays(first: Affine, second: Affine) -> bool:
        """Whether composing saves multiplications: 25 in * out against 9 in * inter + 9 inter * out, per pixel."""
        inter, inner = first.weight.shape[:2]
        outer = len(second.weight)
        return 25 * inner * outer < 9 * inter * (inner + outer)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inside(x)
        y[:, :, :1] = self.second(self.first(x[:, :, :3])[:, :, :2])[:, :, :1]
        y[:, :, -1:] = self.second(self.first(x[:, :, -3:])[:, :, -2:])[:, :, -1:]
        y[..., :1] = self.second(self.first(x[..., :3])[..., :2])[..., :1]
        y[..., -1:] = self.second(self.first(x[..., -3:])[..., -2:])[..., -1:]
        return y
