"""Rewrites of the ASPP: offset and modulation in one convolution, folded norms, no concatenation."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from birefnet_lite.network.aspp import ASPP, ASPPBranch, DeformableASPP
from birefnet_lite.network.check_image import autocast_is_on
from birefnet_lite.network.deformable import DeformableConv2d, deform_conv2d
from birefnet_lite.network.deformable.backends import select_backend
from birefnet_lite.network.deformable.cpu import iterate_columns
from birefnet_lite.network.deformable.sampling import Geometry, kernel_to_matrix
from birefnet_lite.optimization.blocks import should_split
from birefnet_lite.optimization.convolutions import Affine, affine_of, build_conv, fold

__all__ = ["DeformableBranch", "OptimizedASPP", "rewrite_aspp"]


class DeformableBranch(nn.Module):
    """A deformable convolution and its batch norm: (B, C, H, W) to (B, out_channels, H, W), without the ReLU.

    - Offset and modulation convolutions read the same pixels: their weights are stacked into one convolution.
    - The 2 of the modulation 2 * sigmoid(m) and the scale of the batch norm are factors of each term
      w_k . m_k . x(...) of the sum, and are merged into the weight; the shift of the norm becomes the bias.

    The two 1x1 branches could also be merged, with two offset groups and a block-diagonal weight. But half of that
    weight is zeros, and multiplying by them took longer than a second call.
    """

    def __init__(self, branch: ASPPBranch) -> None:
        super().__init__()
        conv = branch.conv
        assert isinstance(conv, DeformableConv2d)
        self.padding = conv.padding
        offset, modulation = affine_of(conv.offset_conv), affine_of(conv.modulation_conv)
        self.offsets = len(offset.weight)
        weight, bias = (torch.cat(both) for both in zip(offset, modulation, strict=True))
        self.sampling = build_conv(Affine(weight, bias), like=conv.offset_conv)
        weight, bias = fold(conv.conv, branch.norm)
        self.conv = build_conv(Affine(2 * weight, bias), like=conv.conv)

    def forward(self, x: Tensor) -> Tensor:
        offset, modulation = self._sample(x)
        return deform_conv2d(x, offset, self.conv.weight, self.conv.bias, padding=self.padding, mask=modulation)

    def _sample(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the offsets (B, 2 * k * k, H, W) and the modulation (B, k * k, H, W)."""
        sampling = self.sampling(x)  # (B, 3 * k * k, H, W)
        return sampling[:, : self.offsets], sampling[:, self.offsets :].sigmoid_()

    def should_split(self, x: Tensor) -> bool:
        """Whether to use `add_projection`: on a CPU without autocast, for large maps."""
        if autocast_is_on(x) or select_backend(None, x, groups=1) != "gather":
            return False
        return should_split(x, x[:, 0].numel(), self.conv.out_channels, self.conv.weight)

    def add_projection(self, total: Tensor, x: Tensor, projection: Tensor) -> None:
        """Add P ReLU(v) to a sum, block by block, so that the map v, four times as wide as x, never exists as a whole.

        Args:
            total: (B, H * W, out_channels), changed in place.
            x: (B, C, H, W).
            projection: P, (out_channels, channels of v).
        """
        offset, modulation = self._sample(x)
        padding = (self.padding, self.padding)
        geometry = Geometry.of(offset, self.conv.weight, stride=(1, 1), padding=padding, dilation=(1, 1))
        bias, matrix = self.conv.bias, kernel_to_matrix(self.conv.weight).t()  # (k * k * C, channels of v)
        assert bias is not None
        for images, pixels, columns in iterate_columns(x, offset, modulation, geometry):
            values = torch.addmm(bias, columns, matrix).relu_()
            total[images, pixels].view(-1, len(projection)).addmm_(values, projection.t())


class OptimizedASPP(nn.Module):
    """An ASPP in evaluation mode, without the concatenation: ReLU(s P cat(v_1, ..., v_n, pooled) + t).

    - The projection P of a concatenation is the sum of the projections of its parts, P_1 v_1 + ... + P_n v_n. Each
      branch's map v_i is added as soon as it is computed, and only one of them is in memory at a time.
    - The pooled branch has the same value at every pixel. Its projection is one number per image and channel, with
      which the sum starts.
    - The batch norms are folded, the last one (s, t) into P. Dropout does nothing in evaluation mode.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(self, pyramid: ASPP | DeformableASPP, branches: Sequence[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        pooled = pyramid.pooled
        self.pooled = build_conv(fold(pooled.conv, pooled.norm), like=pooled.conv)
        *parts, last = fold(pyramid.project, pyramid.norm).split([*widths, self.pooled.out_channels])
        # `split` gives the bias to the first part; here the pooled part, which starts the sum, takes it.
        self.project_pooled = build_conv(Affine(last.weight, parts[0].bias), like=pyramid.project)
        like = pyramid.project.weight
        self.projections = nn.ParameterList(
            nn.Parameter(part.weight[:, :, 0, 0].to(like), requires_grad=False) for part in parts
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).relu_()  # (B, C, 1, 1)
        total = self.project_pooled(pooled).flatten(2).transpose(1, 2)  # (B, 1, out_channels)
        for branch, matrix in zip(self.branches, self.projections, strict=True):
            if isinstance(branch, DeformableBranch) and branch.should_split(x):
                total = total.expand(-1, height * width, -1).contiguous()  # a copy the first time
                branch.add_projection(total, x, matrix)
            else:
                pixels = branch(x).relu_().flatten(2).transpose(1, 2)  # (B, H * W, C), in memory as it is computed
                total = torch.baddbmm(total, pixels, matrix.t().expand(batch, -1, -1))  # (B, H * W, out_channels)
        return total.relu_().transpose(1, 2).unflatten(2, (height, width))  # (B, out_channels, H, W)


def rewrite_aspp(pyramid: nn.Module) -> nn.Module:
    """Return an `OptimizedASPP` for an ASPP of either kind, and any other module as it is."""
    if type(pyramid) not in (ASPP, DeformableASPP):
        return pyramid
    assert isinstance(pyramid, ASPP | DeformableASPP)
    branches = cast("list[ASPPBranch]", list(pyramid.branches))
    kinds = {type(branch.conv) for branch in branches}
    if kinds == {DeformableConv2d}:
        deformable = [DeformableBranch(branch) for branch in branches]
        return OptimizedASPP(pyramid, deformable, [branch.conv.out_channels for branch in deformable])
    if kinds == {nn.Conv2d}:
        convs = [(cast("nn.Conv2d", branch.conv), branch.norm) for branch in branches]
        plain = [build_conv(fold(conv, norm), like=conv) for conv, norm in convs]
        return OptimizedASPP(pyramid, plain, [branch.out_channels for branch in plain])
    return pyramid
