"""Check of the exercise that turns a photo into the network's input."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birefnet_lite.course.checks.compare import Mistakes, compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry
from birefnet_lite.inference.images import MEAN, STD, normalise

__all__ = ["to_network"]


@check("Right, for photos that shrink and for photos that grow.")
def to_network(answer: Callable[[NDArray[np.uint8], int, int], Any]) -> None:
    """`to_network(pixels, height, width)`: uint8 (h, w, 3) to float32 (1, 3, height, width), normalised."""
    for size, height, width in (((150, 100), 64, 32), ((40, 70), 64, 96), ((33, 45), 32, 64), ((32, 64), 32, 64)):
        pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8).numpy()
        if size == (40, 70):
            pixels //= 2  # no white in it, so that a division by the largest value shows
        where = f"For a photo of {size[0]} x {size[1]} and height={height}, width={width}"
        got = answer(pixels.copy(), height, width)
        if isinstance(got, np.ndarray):
            raise Wrong(f"{where}, the result is ndarray, a NumPy array. The network wants a tensor: torch.from_numpy.")
        if isinstance(got, Tensor) and got.is_floating_point() and got.dtype != torch.float32:
            raise Wrong(f"{where}, the result is {got.dtype}; the network's weights are float32, so must it be.")
        wanted = _normalised(_resized(pixels, height, width))
        _explain_size(got, pixels, height, width, where)
        compare(
            got, wanted, where, 1e-5, _mistakes_of_input(pixels, height, width, wanted), _steps(pixels, height, width)
        )


def _explain_size(got: Any, pixels: NDArray[np.uint8], height: int, width: int, where: str) -> None:
    """Raise `Wrong` where the photo is brought to another size, with the likely reason."""
    if not isinstance(got, Tensor) or got.ndim != 4 or got.shape[1] != 3 or got.shape[2:] == (height, width):
        return
    rows, columns = got.shape[2:]
    known = {
        "It is not resized.": (rows, columns) == pixels.shape[:2],
        "Pillow's sizes are (width, height), the other way round than a tensor's.": (rows, columns) == (width, height),
        "The photo keeps its proportions. Here it is resized to exactly the height and width that are given.": (
            abs(rows / columns - pixels.shape[0] / pixels.shape[1]) < 0.05
        ),
        "It is made square. Use both arguments, height and width.": rows == columns,
    }
    why = next((said for said, holds in known.items() if holds), "Use the arguments, and no numbers of your own.")
    raise Wrong(f"{where}, the photo comes out as {rows} x {columns}. {why}")


def _steps(pixels: NDArray[np.uint8], height: int, width: int) -> tuple[Retry, ...]:
    values = torch.from_numpy(_resized(pixels, height, width)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (MEAN, STD))

    def normalised(**x: Tensor) -> Tensor:
        values, mean, std = x.values()
        return (values - mean) / std

    return (Retry(normalised, {"the resized photo": values, "the mean": mean, "the deviation": std}),)


def _mistakes_of_input(pixels: NDArray[np.uint8], height: int, width: int, wanted: Tensor) -> Mistakes:
    resized = _resized(pixels, height, width)
    values = torch.from_numpy(resized).permute(2, 0, 1)[None].float()  # (1, 3, H, W), 0 to 255
    photo = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255  # (1, 3, h, w)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (MEAN, STD))
    methods = {
        "The photo is resized by Pillow's default, which is bicubic. Ask for Image.Resampling.BILINEAR.": "BICUBIC",
        "The photo is resized by nearest neighbours. Ask for Image.Resampling.BILINEAR.": "NEAREST",
        "The photo is resized by Lanczos. Ask for Image.Resampling.BILINEAR.": "LANCZOS",
        "The photo is resized by Image.Resampling.BOX. Ask for BILINEAR.": "BOX",
        "The photo is resized by Image.Resampling.HAMMING. Ask for BILINEAR.": "HAMMING",
    }

    def by_torch(**options: Any) -> Tensor:
        return F.interpolate(photo, (height, width), mode="bilinear", **options)

    stretched = torch.from_numpy(resized).reshape(1, 3, height, width) / 255
    return {
        "Pillow's sizes are (width, height), the other way round than a tensor's.": (
            _normalised(_resized(pixels, width, height))
        ),
        "The batch is missing: the network takes (B, 3, H, W), also for one photo.": wanted[0],
        "The colours are still the last axis. Bring them to the front with permute.": wanted.permute(0, 2, 3, 1),
        "reshape or view does not bring the colours to the front: it cuts the rows of pixels up anew. Use permute.": (
            normalise(stretched)
        ),
        "Height and width have changed places on the way.": wanted.transpose(2, 3),
        "The pixels are bytes, 0 to 255; the mean and the deviation are those of values from 0 to 1. Divide by 255.": (
            normalise(values)
        ),
        "The pixels are still bytes, 0 to 255. Divide by 255, then take off the mean and divide by the deviation.": (
            values
        ),
        "The values are in 0 to 1. Take off ImageNet's mean and divide by its deviation, for each colour.": values
        / 255,
        "The mean is taken off, but the values are not divided by the standard deviation.": values / 255 - mean,
        "The bytes are divided by 256. White is 255, and should become 1.": normalise(values / 256),
        "The bytes are brought to -1 to 1, and then normalised. Bring them to 0 to 1.": normalise(values / 127.5 - 1),
        "The values are divided by the variance. Divide by the standard deviation.": (values / 255 - mean) / std**2,
        "The colours are replaced by their mean: the photo is grey.": normalise(
            values.mean(dim=1, keepdim=True).expand_as(values) / 255
        ),
        "Each photo is normalised by its own mean and deviation. Use ImageNet's, MEAN and STD.": (
            (values - values.mean(dim=(2, 3), keepdim=True)) / values.std(dim=(2, 3), keepdim=True)
        ),
        "The photo is turned upside down.": wanted.flip(2),
        "The values are normalised first and divided by 255 then. Divide the bytes first.": normalise(values) / 255,
        "The bytes are divided by the photo's largest value. Divide by 255, whatever the photo.": (
            normalise(values / values.max()),
            normalise(values / max(int(pixels.max()), 1)),
        ),
        "The photo is resized by nearest neighbours, by F.interpolate. Use Pillow's bilinear resize.": normalise(
            F.interpolate(photo, (height, width))
        ),
        "The photo is resized by means of areas, by F.interpolate. Use Pillow's bilinear resize.": normalise(
            F.interpolate(photo, (height, width), mode="area")
        ),
        "The photo is made square with a border before it is resized. Resize the photo itself.": _normalised(
            _resized(_squared(pixels), height, width)
        ),
        "The photo is resized twice, to twice the size first. Resize it once.": _normalised(
            _resized(_resized(pixels, 2 * height, 2 * width), height, width)
        ),
        "The photo is normalised before it is resized, and turned into bytes. Resize the bytes first.": _normalised(
            _resized((_normalised(pixels)[0].permute(1, 2, 0).numpy()).astype(np.int64).astype(np.uint8), height, width)
        ),
        "A quick resize is asked for (`reducing_gap`, or `draft`). Leave it out.": _normalised(
            np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0))
        ),
        "MEAN and STD have changed places: (x - MEAN) / STD.": (values / 255 - std) / mean,
        "The mean is added. Take it off: (x - MEAN) / STD.": (values / 255 + mean) / std,
        "The bytes are divided in whole numbers: all but white becomes 0. Divide with `/`.": normalise(values // 255),
        "A piece of the photo is cut out. Resize the whole photo.": _normalised(
            np.array(Image.fromarray(pixels).crop((0, 0, width, height)))
        ),
        "The photo is turned into grey values.": _normalised(
            _resized(np.array(Image.fromarray(pixels).convert("L").convert("RGB")), height, width)
        ),
        "The photo is mirrored.": wanted.flip(3),
        "The values are multiplied by the standard deviation. Divide by it.": (values / 255 - mean) * std,
        "You use 0.5 as mean and deviation. BiRefNet's backbones were trained with ImageNet's, MEAN and STD.": (
            (values / 255 - 0.5) / 0.5
        ),
        "The mean is taken off after the division: it should be (x - MEAN) / STD.": values / 255 / std - mean,
        "Red and blue have changed places: the photo is read as BGR.": normalise(values.flip(1) / 255),
        "MEAN and STD run from blue to red; they should run red, green, blue, as the photo does.": (
            (values / 255 - mean.flip(0)) / std.flip(0)
        ),
        "The result is normalised twice.": normalise(wanted),
        "The photo shrinks without antialiasing: F.interpolate skips pixels. Use Pillow's resize.": normalise(
            by_torch(align_corners=False)
        ),
        "Corners are aligned. That is for maps inside the network; photos are resized by Pillow.": normalise(
            by_torch(align_corners=True)
        ),
        "The resampling is that of F.interpolate with antialiasing, or of floats: was the photo normalised before it "
        "is resized? It differs from Pillow's by the rounding to bytes; that will do in practice, but here resize the "
        "bytes with Pillow, so that the numbers are equal.": normalise(by_torch(align_corners=False, antialias=True)),
        **{
            sentence: _normalised(_resized(pixels, height, width, Image.Resampling[method]))
            for sentence, method in methods.items()
        },
    }


def _resized(
    pixels: NDArray[np.uint8], height: int, width: int, method: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(pixels).resize((width, height), method))


def _squared(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo in the corner of a black square."""
    square = np.zeros((max(pixels.shape[:2]),) * 2 + (3,), np.uint8)
    square[: pixels.shape[0], : pixels.shape[1]] = pixels
    return square


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) bytes to (1, 3, H, W)."""
    return normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
