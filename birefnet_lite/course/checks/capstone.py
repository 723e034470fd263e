"""Exercises of notebook 12: the parts of the earlier notebooks again, as they stand in one network."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_lite.course.capstone import suspect_tiles
from birefnet_lite.course.checks.blocks import reconstruction_block
from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.decoder import decode
from birefnet_lite.course.checks.judge import SEVERAL, check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry
from birefnet_lite.course.checks.stages import run_stage
from birefnet_lite.course.checks.weights import compare_in_training, randomise, take_weights
from birefnet_lite.network.backbone.base import Backbone
from birefnet_lite.network.encoder import Encoder
from birefnet_lite.network.refinement import OutwardReference, image_to_tiles
from birefnet_lite.network.resize import resize

__all__ = ["my_block", "my_decoder", "my_encoder", "my_outward", "my_stage", "my_tiles"]


class _Backbone(Backbone):
    """Four narrow maps, each with a convolution of its own, at strides 4 to 32."""

    channels = (2, 3, 4, 5)
    min_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(3, width, 2 * stride - 1, stride=stride, padding=stride - 1)
            for width, stride in zip(self.channels, (4, 8, 16, 32), strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(stage(image).tanh() for stage in self.stages)


@check(
    "Right: two sizes, and the context, under the package's names.",
    makes=SEVERAL,
    usual=("tanh",),
)
def my_encoder(answer: Callable[[nn.Module], Any]) -> None:
    """A class `MyEncoder(backbone)`: an image to x1, x2, x3 and x4 with its context."""
    for batch, height, width in ((2, 64, 96), (1, 96, 64), (1, 32, 32)):
        reference = randomise(Encoder(_Backbone()))
        mine = answer(_Backbone())
        take_weights(mine, reference)
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        where = f"For an image of {height} x {width}"
        wanted, got = reference.eval()(image), mine.eval()(image)
        if not isinstance(got, tuple | list) or len(got) != 4:
            raise Wrong(f"{where}, the result should be four maps: x1, x2, x3 and x4. Is there a `return`?")
        known = _encoder_mistakes(reference.backbone, image)
        for level in range(4):
            at = f"{where}, for x{level + 1}"
            mistakes = {said: maps[level] for said, maps in known.items()}
            compare(got[level], wanted[level], at, 1e-5, mistakes, _steps_of_encoder(reference, image, level))
            compare_gradient(got[level], wanted[level], image, at, 1e-3)
            compare_parameter_gradients(got[level], wanted[level], mine, reference, at, 1e-3)
        compare_in_training(mine, reference, image, where)


@torch.no_grad()
def _steps_of_encoder(encoder: Any, image: Tensor, level: int) -> tuple[Retry, ...]:
    """The parts of a map, to try changes of: the two runs, and in x4 the context too."""
    full = encoder.backbone(image)
    half = encoder.backbone(resize(image, [side // 2 for side in image.shape[-2:]]))
    size = full[level].shape[-2:]

    def joined(**parts: Tensor) -> Tensor:
        return torch.cat(list(parts.values()), dim=1)

    parts = {
        "the map of the whole image": full[level],
        "the enlarged map of the half-size image": resize(half[level], size),
    }
    if level == 3:
        context = [torch.cat([a, resize(b, a.shape[-2:])], dim=1) for a, b in zip(full[:3], half[:3], strict=True)]
        parts = {f"the shrunk x{i + 1}": resize(x, size) for i, x in enumerate(context)} | parts
    runs = {
        "the image of the first run": image,
        "the half-size image of the second run": resize(image, [side // 2 for side in image.shape[-2:]]),
    }

    def run(**images: Tensor) -> Tensor:
        whole, small = (encoder.backbone(x)[level] for x in images.values())
        return torch.cat([whole, resize(small, size)], dim=1)

    whole = Retry(lambda image: encoder(image)[level], {"image": image})
    return (whole, Retry(joined, parts), *((Retry(run, runs),) if level < 3 else ()))


@torch.no_grad()
def _encoder_mistakes(backbone: Any, image: Tensor) -> dict[str, tuple[Tensor, ...]]:
    size = [side // 2 for side in image.shape[-2:]]
    full, half = backbone(image), backbone(resize(image, size))

    def fused(
        half: tuple[Tensor, ...], swap: bool = False, add: bool = False, align: bool = True, mode: str = "bilinear"
    ) -> list[Tensor]:
        options = {} if mode == "nearest" else {"align_corners": align}
        up = [F.interpolate(b, a.shape[-2:], mode=mode, **options) for a, b in zip(full, half, strict=True)]
        pairs = [(b, a) if swap else (a, b) for a, b in zip(full, up, strict=True)]
        return [a + b if add else torch.cat((a, b), dim=1) for a, b in pairs]

    def finished(maps: list[Tensor], order: tuple[int, ...] = (0, 1, 2, 3), align: bool = True) -> tuple[Tensor, ...]:
        small = [F.interpolate(x, maps[3].shape[-2:], mode="bilinear", align_corners=align) for x in maps[:3]]
        parts = [*small, maps[3]]
        return (*maps[:3], torch.cat([parts[i] for i in order], dim=1))

    def with_context(shrink: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        return (*maps[:3], torch.cat([*(shrink(x) for x in maps[:3]), maps[3]], dim=1))

    maps = fused(half)
    deep = maps[3].shape[2], maps[3].shape[3]
    backwards = finished(maps)[::-1]
    alternating = [torch.stack([a, resize(b, a.shape[-2:])], 2).flatten(1, 2) for a, b in zip(full, half, strict=True)]
    loose = F.interpolate(image, size, mode="bilinear", align_corners=False)
    return {
        "The small maps are enlarged by nearest neighbours. Use bilinear resampling with aligned corners.": finished(
            fused(half, mode="nearest")
        ),
        "The small maps are enlarged bicubically. Use bilinear resampling with aligned corners.": finished(
            fused(half, mode="bicubic")
        ),
        "The context is shrunk by means of areas. Use bilinear resampling with aligned corners.": with_context(
            lambda x: F.adaptive_avg_pool2d(x, deep)
        ),
        "The context is the largest values of areas. Use bilinear resampling with aligned corners.": with_context(
            lambda x: F.adaptive_max_pool2d(x, deep)
        ),
        "The context is shrunk by nearest neighbours. Use bilinear resampling with aligned corners.": with_context(
            lambda x: F.interpolate(x, deep)
        ),
        "The second run is on the image at a quarter of its size. Halve it.": finished(
            fused(backbone(resize(image, [side // 4 for side in image.shape[-2:]])))
        ),
        "The second run is on the image at twice its size. Halve it.": finished(
            fused(backbone(resize(image, [side * 2 for side in image.shape[-2:]])))
        ),
        "The maps run from the deepest to the finest. Give x1, x2, x3, x4.": backwards,
        "The channels of both sizes alternate. All of the whole image's stand in front.": finished(alternating),
        "Both sizes are averaged. Concatenate them along the channels.": finished(
            [x / 2 for x in fused(half, add=True)]
        ),
        "The larger maps are shrunk to those of the half-size image. Enlarge the small ones.": tuple(
            torch.cat([resize(a, b.shape[-2:]), b], dim=1) for a, b in zip(full, half, strict=True)
        ),
        "The encoder runs once. It runs on the image, and again on the image at half size.": finished(list(full)),
        "The encoder runs twice on the whole image. It runs on the image, and on the image at half size.": (
            finished(fused(full))
        ),
        "The maps of the half-size image come first. Put those of the whole image in front.": finished(
            fused(half, True)
        ),
        "The maps of both sizes are added. Concatenate them along the channels.": finished(fused(half, add=True)),
        "The context is made of the maps of the whole image alone. Join both sizes first, then shrink x1, x2 and x3.": (
            *maps[:3],
            torch.cat([*(resize(x, maps[3].shape[-2:]) for x in full[:3]), maps[3]], dim=1),
        ),
        "x4 lacks its context: x1, x2 and x3, shrunk to its size, stand in front of it.": tuple(maps),
        "x4 stands in front of its context. It comes last.": finished(maps, (3, 0, 1, 2)),
        "The context runs from coarse to fine. It should run x1, x2, x3.": finished(maps, (2, 1, 0, 3)),
        "The image is halved with align_corners=False. BiRefNet aligns corners everywhere.": finished(
            fused(backbone(loose))
        ),
        "The maps are resampled with align_corners=False. BiRefNet aligns corners everywhere.": finished(
            fused(half, align=False), align=False
        ),
        "The small maps are enlarged with align_corners=False. BiRefNet aligns corners everywhere.": finished(
            fused(half, align=False)
        ),
        "The context is shrunk with align_corners=False. BiRefNet aligns corners everywhere.": finished(
            maps, align=False
        ),
        "The half-size image is every second pixel, or a mean of four. Resample it bilinearly, with aligned corners.": (
            finished(fused(backbone(image[..., ::2, ::2])))
        ),
    }


@check("Right: narrow, look, widen, under the package's names.", makes=SEVERAL, usual=("sigmoid",))
def my_block(answer: Callable[..., Any]) -> None:
    """A class `MyBlock(in_channels, out_channels, inter_channels, aspp_channels, batch_norm)`, as in notebook 05."""
    reconstruction_block.__wrapped__(answer)  # type: ignore[attr-defined]
    names = ("in_channels", "out_channels", "inter_channels", "aspp_channels")
    _has_relu(answer(**dict(zip(names, (5, 4, 3, 2), strict=True)), batch_norm=True))


@check("Right: one bank of features, read twice.", makes=SEVERAL, usual=("sigmoid",))
def my_outward(answer: Callable[[int, int], Any]) -> None:
    """A class `MyOutward(in_channels, channels)`: a map to the attention and the gradient logits."""
    for (wide, narrow), size in (((5, 4), (2, 6, 7)), ((3, 8), (1, 5, 4))):
        mine = answer(wide, narrow)
        reference = randomise(OutwardReference(wide, narrow))
        take_weights(mine, reference)
        x = torch.randn(size[0], wide, *size[1:], requires_grad=True)
        where = f"For a map of {tuple(x.shape)}"
        wanted, got = reference.eval()(x), mine.eval()(x)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"{where}, return two maps: the attention and the gradient logits.")
        known = _outward_mistakes(reference, x)
        for i, name in enumerate(("attention", "gradient logits")):
            at = f"{where}, for the {name}"
            compare(got[i], wanted[i], at, 1e-5, {said: maps[i] for said, maps in known.items()})
            compare_gradient(got[i], wanted[i], x, at, 1e-3)
            compare_parameter_gradients(got[i], wanted[i], mine, reference, at, 1e-3)
        compare_in_training(mine, reference, x, where)
        _has_relu(mine)


@torch.no_grad()
def _outward_mistakes(part: OutwardReference, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    raw = part.conv(x)

    def read(features: Tensor) -> tuple[Tensor, Tensor]:
        return part.attention_head(features).sigmoid(), part.gradient_head(features)

    attention, gradients = read(F.relu(part.norm(raw)))
    logits = part.attention_head(F.relu(part.norm(raw)))
    return {
        "The two maps are the wrong way round: the attention comes first.": (gradients, attention),
        "The attention has no sigmoid: it should lie between 0 and 1.": (logits, gradients),
        "The gradients should be logits. Leave the sigmoid to the loss.": (attention, gradients.sigmoid()),
        "The two heads are the wrong way round.": (gradients.sigmoid(), logits),
        "There is no ReLU behind the batch norm.": read(part.norm(raw)),
        "There is no batch norm behind the convolution.": read(F.relu(raw)),
        "The ReLU stands in front of the batch norm.": read(part.norm(F.relu(raw))),
        "The attention is already multiplied with the map. Return the attention itself: the stage multiplies.": (
            attention * x,
            gradients,
        ),
        "The attention is a softmax over the map. It is a sigmoid: each cell by itself.": (
            logits.flatten(1).softmax(dim=1).reshape(logits.shape),
            gradients,
        ),
    }


@check("Right, in training and in use, with a lateral map and without.", usual=("sigmoid",))
def my_stage(answer: Callable[..., Any]) -> None:
    """A function `my_stage(stage, x, image, lateral)`, as in notebook 05."""
    run_stage.__wrapped__(answer)  # type: ignore[attr-defined]


@check("Right: four stages, three side outputs of each kind, and the image once more.", usual=("sigmoid",))
def my_decoder(answer: Callable[..., Any]) -> None:
    """A function `my_decoder(decoder, image, features)`, as in notebook 05."""
    decode.__wrapped__(answer)  # type: ignore[attr-defined]


@check("Right: the colour is slowest, the tile's column fastest. The bug is gone.")
def my_tiles(answer: Callable[[Tensor, int], Any]) -> None:
    """`my_tiles(image, grid)`: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid)."""
    for shape, grid in (((1, 2, 2, 2), 2), ((2, 3, 8, 12), 4), ((1, 3, 64, 32), 32), ((2, 3, 5, 7), 1)):
        image = torch.randn(shape, requires_grad=True)
        where = f"For an image of {shape} and grid={grid}"
        wanted = image_to_tiles(image, grid)
        batch, channels, height, width = shape
        tiles = image.reshape(batch, channels, grid, height // grid, grid, width // grid)

        def stacked(*order: int, tiles: Tensor = tiles, like: Tensor = wanted) -> Tensor:
            return tiles.permute(0, *order, 3, 5).reshape(like.shape)

        mistakes = {
            "These are the suspect's tiles, unchanged: column, row, colour.": suspect_tiles(image, grid),
            "The tiles run column by column. The tile's column should be fastest, its row in the middle.": stacked(
                1, 4, 2
            ),
            "The colour is still fastest. It should be slowest: first all tiles of red.": stacked(2, 4, 1),
            "The colour stands between the tile's row and column. It should be slowest.": stacked(2, 1, 4),
            "The colour stands between the tile's column and row. It should be slowest.": stacked(4, 1, 2),
            "Each of your maps is every grid-th pixel of the image (pixel unshuffling). A tile is a crop.": (
                F.pixel_unshuffle(image, grid) if height % grid == width % grid == 0 else wanted
            ),
            "The image is only reshaped. A tile has rows: bring its rows and columns to the end with permute.": (
                image.reshape(wanted.shape)
            ),
        }
        got = answer(image, grid)
        compare(got, wanted, where, 0, mistakes)
        compare_gradient(got, wanted, image, where, 1e-6)


def _has_relu(mine: Any) -> None:
    """Leave the ReLU a part of its own, as the exercise gives it: parts are compared by name later."""
    if isinstance(mine, nn.Module) and not isinstance(getattr(mine, "relu", None), nn.Module):
        raise Wrong("There is no part called `relu`. Keep it in `__init__`: later, parts are compared by name.")
