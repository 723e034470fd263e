"""Rewrites of the ASPP: stacked sampling convolutions, folded norms, no concatenation."""

import torch
from torch import Tensor, nn

from birefnet_lite.network.aspp import ASPP, ASPPBranch, DeformableASPP
from birefnet_lite.network.deformable import DeformableConv2d, deform_conv2d
from birefnet_lite.optimization.convolutions import Affine, affine_of, build_conv, fold

__all__ = ["DeformableBranch", "OptimizedASPP", "rewrite_aspp"]


class DeformableBranch(nn.Module):
    """A deformable convolution and its batch norm: (B, C, H, W) to (B, out_channels, H, W), without the ReLU.

    - Offset and modulation convolutions read the same pixels: their weights are stacked into one convolution.
    - The 2 of the modulation 2 * sigmoid(m) and the batch norm are factors of each term w_k . m_k . x(...) of the sum,
      and go into the weight; what the norm adds becomes the bias.

    The two 1x1 branches of a pyramid could be one as well, with two offset groups and a block-diagonal weight. Half of
    that weight is zeros, though, and multiplying them took longer than the second call.
    """

    def __init__(self, branch: ASPPBranch) -> None:
        super().__init__()
        conv: DeformableConv2d = branch.conv
        self.padding = conv.padding
        offset, modulation = affine_of(conv.offset_conv), affine_of(conv.modulation_conv)
        self.offsets = len(offset.weight)
        stacked = (torch.cat(both) for both in zip(offset, modulation, strict=True))
        self.sampling = build_conv(Affine(*stacked), like=conv.offset_conv)
        weight, bias = fold(conv.conv, branch.norm)
        self.conv = build_conv(Affine(2 * weight, bias), like=conv.conv)

    def forward(self, x: Tensor) -> Tensor:
        sampling = self.sampling(x)  # (B, 3 * k * k, H, W)
        offset, modulation = sampling[:, : self.offsets], sampling[:, self.offsets :].sigmoid()
        return deform_conv2d(x, offset, self.conv.weight, self.conv.bias, padding=self.padding, mask=modulation)


class OptimizedASPP(nn.Module):
    """An ASPP in evaluation, without the concatenation: ReLU(s P cat(v_1, ..., v_n, pooled) + t), P the projection.

    - The projection of a concatenation is the sum of the projections of its parts, P_1 v_1 + ... + P_n v_n: each view
      is added as soon as it is there, and only one of them is in memory at a time.
    - The pooled branch is one pixel, spread over the map. Its projection is one number per image and channel: the
      start of the sum.
    - The batch norms are folded, the last one (s, t) into P; dropout is nothing in evaluation.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(self, pyramid: ASPP | DeformableASPP, branches: list[nn.Module], widths: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        pooled = pyramid.pooled
        self.pooled = build_conv(fold(pooled.conv, pooled.norm), like=pooled.conv)
        *parts, last = fold(pyramid.project, pyramid.norm).split([*widths, self.pooled.out_channels])
        # The bias goes with the pooled part, which starts the sum.
        self.project_pooled = build_conv(Affine(last.weight, parts[0].bias), like=pyramid.project)
        like = pyramid.project.weight
        self.projections = nn.ParameterList(
            nn.Parameter(part.weight[:, :, 0, 0].to(like), requires_grad=False) for part in parts
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).relu_()  # (B, C, 1, 1)
        total = self.project_pooled(pooled).flatten(2)  # (B, out_channels, 1)
        for branch, matrix in zip(self.branches, self.projections, strict=True):
            view = branch(x).relu_().flatten(2)  # (B, C, H * W)
            total = torch.baddbmm(total, matrix.expand(batch, -1, -1), view)  # (B, out_channels, H * W)
        return total.relu_().unflatten(2, (height, width))  # (B, out_channels, H, W)


def rewrite_aspp(pyramid: nn.Module) -> nn.Module:
    """An `OptimizedASPP` for an ASPP of either kind; any other module is returned as it is."""
    convs = {type(branch.conv) for branch in pyramid.branches} if isinstance(pyramid, ASPP | DeformableASPP) else set()
    if type(pyramid) is DeformableASPP and convs == {DeformableConv2d}:
        branches = [DeformableBranch(branch) for branch in pyramid.branches]
        return OptimizedASPP(pyramid, branches, [branch.conv.out_channels for branch in branches])
    if type(pyramid) is ASPP and convs == {nn.Conv2d}:
        branches = [build_conv(fold(branch.conv, branch.norm), like=branch.conv) for branch in pyramid.branches]
        return OptimizedASPP(pyramid, branches, [branch.out_channels for branch in branches])
    return pyramid
