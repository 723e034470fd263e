"""Rewrites of the decoder: no concatenations, and lateral blocks and head applied before the up-sampling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from birefnet_lite.network.blocks import BasicBlock, ResidualBlock
from birefnet_lite.network.decoder import Decoder, DecoderStage
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.refinement import ImageBranch, InwardReference, OutwardReference, image_to_tiles
from birefnet_lite.optimization.aspp import rewrite_aspp
from birefnet_lite.optimization.convolutions import Affine, ComposedConv2d, SummedConv2d, affine_of, build_conv, fold
from birefnet_lite.optimization.resize import resize

__all__ = ["Block", "Image", "Lateral", "Level", "OptimizedDecoder", "Outward", "Stage"]


class Level(NamedTuple):
    """One level of the encoder, with its two scales not yet joined."""

    full: Tensor
    """(B, C, h, w)."""
    half: Tensor | None
    """(B, C, h / 2, w / 2), of the half-size image."""
    size: Sequence[int]
    """Height and width at which the decoder takes the level: (h, w), or the size of the neck's pyramid level."""


class Lateral(nn.Module):
    """A lateral block applied before the up-sampling, and added to the deeper features before they are up-sampled.

    A 1x1 convolution mixes channels and a resampling mixes pixels, so their order can be exchanged. With concatenated
    scales, W cat(f, up(h)) + b = W_f f + b + up(W_h h); with added scales, W (f + up(h)) + b = W f + b + up(W h). The
    resampling's weights add up to 1, so the bias is unchanged. And up(x) + up(W_h h) = up(x + W_h h): if the features
    x of the deeper stage have the size of h, one up-sampling is enough for both.
    """

    def __init__(self, lateral: Affine, like: nn.Conv2d, scales: str) -> None:
        super().__init__()
        full, half = lateral, None
        if scales == "cat":
            full, half = lateral.split([lateral.weight.shape[1] // 2] * 2)
        elif scales == "add":
            half = Affine(lateral.weight, torch.zeros_like(lateral.bias))
        self.from_full = build_conv(full, like)
        self.from_half = None if half is None else build_conv(half, like)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """Up-sample x (B, C, h, w) to the level's size, and add the level's map."""
        lateral = self.from_full(level.full)
        if self.from_half is not None:
            half = self.from_half(level.half)
            if x.shape[-2:] == half.shape[-2:] and tuple(level.full.shape[-2:]) == tuple(level.size):
                x = x + half
            else:
                lateral = lateral + resize(half, level.full.shape[-2:])
        return resize(lateral, level.size).add_(resize(x, level.size))


class Image(nn.Module):
    """The inward reference, with its two convolutions merged where that takes fewer multiplications.

    `head` is a 1x1 convolution that follows; it is merged into the second convolution.
    Shapes: (B, 3, H, W) to (B, out_channels, H / grid, W / grid).
    """

    def __init__(self, inward: InwardReference, head: Affine | None = None) -> None:
        super().__init__()
        self.grid, self.tiles = inward.grid, inward.tiles
        branch: ImageBranch = inward.branch
        first, second = affine_of(branch.conv_in), affine_of(branch.conv_out)
        second = second if head is None else head.after(second)
        self.branch: nn.Module
        if ComposedConv2d.pays(first, second):
            self.branch = ComposedConv2d(first, second, like=branch.conv_in)
        else:
            self.branch = nn.Sequential(build_conv(first, branch.conv_in), build_conv(second, branch.conv_out))

    def forward(self, image: Tensor) -> Tensor:
        if self.tiles and self.grid > 1:
            return self.branch(image_to_tiles(image, self.grid))
        height, width = image.shape[-2:]
        return self.branch(resize(image, (height // self.grid, width // self.grid)))


class Block(nn.Module):
    """A reconstruction block with folded norms, whose input comes in parts instead of concatenated.

    `head` is a 1x1 convolution that follows; it is merged into the last one, since only the norm is between them.
    Shapes: parts (B, widths[i], H, W) to (B, out_channels, H, W).
    """

    def __init__(self, block: BasicBlock, widths: list[int], head: Affine | None = None) -> None:
        super().__init__()
        self.conv_in = SummedConv2d(fold(block.conv_in, block.norm_in), widths, like=block.conv_in)
        self.aspp = rewrite_aspp(block.aspp)
        conv_out = fold(block.conv_out, block.norm_out)
        self.conv_out = build_conv(conv_out if head is None else head.after(conv_out), like=block.conv_out)
        self.skip = None
        if isinstance(block, ResidualBlock):
            skip = affine_of(block.skip)
            if head is not None:
                skip = Affine(head.weight, torch.zeros_like(head.bias)).after(skip)
            self.skip = SummedConv2d(skip, widths, like=block.skip)

    def forward(self, *parts: Tensor) -> Tensor:
        return self.finish(*self.narrow(*parts))

    def narrow(self, *parts: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the first convolution, and the skip connection if there is one: all that reads the parts."""
        return self.conv_in(*parts).relu_(), None if self.skip is None else self.skip(*parts)

    def finish(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Compute the rest from what `narrow` returned."""
        x = self.conv_out(self.aspp(x))
        return x if skip is None else x + skip


class Outward(nn.Module):
    """The attention of the outward reference, with its norm folded. The gradient head is only for training.

    Shapes: (B, in_channels, H, W) to (B, 1, H, W), in 0 to 1.
    """

    def __init__(self, outward: OutwardReference) -> None:
        super().__init__()
        self.conv = build_conv(fold(outward.conv, outward.norm), like=outward.conv)
        self.head = build_conv(affine_of(outward.attention_head), like=outward.attention_head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu_()).sigmoid_()


class Stage(nn.Module):
    """A decoder stage: features (B, in_channels, h, w), image and encoder level to features at the level's size.

    It is computed in two steps, `narrow` and `forward`, so that the decoder can free the features between them: they
    are wider than all that follows. The last stage has no lateral block. It is given the `head`, and returns logits at
    its own resolution.
    """

    def __init__(
        self, stage: DecoderStage, scales: str, neck: nn.Conv2d | None = None, head: Affine | None = None
    ) -> None:
        super().__init__()
        block: BasicBlock = stage.reconstruction
        widths = [block.conv_in.in_channels]
        self.image = None
        if stage.inward is not None:
            self.image = Image(stage.inward)
            image_channels = stage.inward.branch.conv_out.out_channels
            widths = [widths[0] - image_channels, image_channels]
        self.block = Block(block, widths, head)
        self.outward = None if stage.outward is None else Outward(stage.outward)
        self.lateral = None
        if stage.lateral is not None:
            lateral: LateralBlock = stage.lateral
            affine = affine_of(lateral.conv)
            if neck is not None:
                # The neck resamples between its projection and the lateral block; after both gives the same result.
                affine = affine.after(affine_of(neck))
            self.lateral = Lateral(affine, lateral.conv, scales)

    def narrow(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the first step of the reconstruction block from the features and the image."""
        return self.block.narrow(x) if self.image is None else self.block.narrow(x, self.image(image))

    def forward(self, x: Tensor, skip: Tensor | None, level: Level | None = None) -> Tensor:
        x = self.block.finish(x, skip)
        if self.outward is not None:
            x = x * self.outward(x)
        return x if self.lateral is None else self.lateral(x, level)  # (B, out_channels, *level.size)


class OptimizedDecoder(nn.Module):
    """The decoder without its outputs for training, and with the head applied before the last up-sampling.

    The head is linear, and so are the last block's second convolution, the resampling and the image branch:
    W cat(up(V a), I(x)) + b = up(W_a V a) + W_x I(x) + b. So one channel is up-sampled to the image's size, not all.

    `necks` are the neck's projections of the four levels, finest first, if there is a neck.
    Shapes: image (B, 3, H, W), three levels and the deepest map (B, C, h, w) to logits (B, 1, H, W). Each level is
    taken out of the list when its stage comes, so that it is freed after it.
    """

    def __init__(self, decoder: Decoder, scales: str, necks: Sequence[nn.Conv2d] | None = None) -> None:
        super().__init__()
        head = affine_of(decoder.head)
        self.image = None
        if decoder.image_branch is not None:
            image_channels = decoder.image_branch.branch.conv_out.out_channels
            head, image_head = head.split([head.weight.shape[1] - image_channels, image_channels])
            self.image = Image(decoder.image_branch, image_head)
        *deep, last = decoder.stages
        projections = [None] * 3 if necks is None else [necks[i] for i in (2, 1, 0)]
        stages = [Stage(stage, scales, neck) for stage, neck in zip(deep, projections, strict=True)]
        self.stages = nn.ModuleList([*stages, Stage(last, scales, head=head)])
        self.output_dtype: torch.dtype | None = None
        """The dtype of the head and the logits, if it is not that of the stages."""

    def forward(self, image: Tensor, levels: list[Level], x: Tensor) -> Tensor:
        dtype = next(self.stages.parameters()).dtype
        rounded = image.to(dtype)
        for stage in self.stages:
            assert isinstance(stage, Stage)
            level = levels.pop() if levels else None
            x, skip = stage.narrow(x, rounded)
            x = stage(x, skip, level)
        logits = resize(x.to(self.output_dtype or x.dtype), image.shape[-2:])
        return logits if self.image is None else logits + self.image(image.to(self.output_dtype or dtype))
