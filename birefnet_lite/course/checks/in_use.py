"""Exercises of notebook 09: a photo for the network, a cut-out on a new background, the F-measure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry, explain_by_arguments
from birefnet_lite.inference.images import MEAN, STD, normalise

__all__ = ["composite", "f_measure", "to_network"]


@check("Right, for photos that shrink and for photos that grow.")
def to_network(answer: Callable[[NDArray[np.uint8], int, int], Any]) -> None:
    """`to_network(pixels, height, width)`: uint8 (h, w, 3) to float32 (1, 3, height, width), normalised."""
    for size, height, width in (((150, 100), 64, 32), ((40, 70), 64, 96), ((33, 45), 32, 64), ((32, 64), 32, 64)):
        pixels = _colours(*size, 3)
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


def _mistakes_of_input(pixels: NDArray[np.uint8], height: int, width: int, wanted: Tensor) -> dict[str, Tensor]:
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
            normalise(values / values.max())
        ),
        "The bytes are divided by the photo's largest value. Divide by 255, whatever the photo. ": (
            normalise(values / max(int(pixels.max()), 1))
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


@check("Right, to the last level of every colour.")
def composite(answer: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]) -> None:
    """`composite(cut, background)`: uint8 (H, W, 4) over uint8 (H, W, 3) to uint8 (H, W, 3), rounded."""
    for height, width in ((6, 9), (5, 3), (1, 1)):
        cut, background = _colours(height, width, 4), _colours(height, width, 3)
        cut[0, : width // 3, 3] = 0
        cut[-1, width // 2 :, 3] = 255
        where = f"For a cut-out of {height} x {width}"
        got = answer(cut.copy(), background.copy())
        if isinstance(got, Image.Image):
            raise Wrong(f"{where}, the result is a PIL image. Give its array: np.asarray(...).")
        if isinstance(got, Tensor):
            raise Wrong(f"{where}, the result is a tensor. Give a NumPy array, as the cut-out is one: `.numpy()`.")
        if got is None:
            raise Wrong(f"{where}, your function gives NoneType and not an array. Is there a `return`?")
        if not isinstance(got, np.ndarray):
            raise Wrong(f"{where}, your function gives {type(got).__name__} and not a tensor or an array.")
        got = torch.from_numpy(got.copy())
        exact = _mixed(cut[..., :3], cut[..., 3:] / 255, background)
        if isinstance(got, Tensor) and got.dtype != torch.uint8:
            _explain_type(got, exact, where)
        got = got.double() if isinstance(got, Tensor) else got
        wanted, floor = torch.from_numpy(np.rint(exact)), torch.from_numpy(np.floor(exact))
        mistakes = _mistakes_of_mixing(cut, background)
        if not _near(got, exact):
            for sentence, value in mistakes.items():
                # A level more or less, since a wrong formula may also lack the rounding.
                if _near(got, value):
                    raise Wrong(sentence)
            if cause := _explain_colours(got, cut, background):
                raise Wrong(f"{where}: {cause}")
        cut_off = "The fraction is cut off: turning floats into uint8 rounds down. Round first, with np.rint."
        up = "The fraction is rounded up. Round to the nearest whole number, with np.rint."
        known = {cut_off: floor, up: torch.from_numpy(np.ceil(exact))}
        known |= {said: _bytes(value) for said, value in mistakes.items()}
        compare(got, wanted, where, 0, known)


def _explain_colours(got: Tensor, cut: NDArray[np.uint8], background: NDArray[np.uint8]) -> str | None:
    """Say for which changed colours or alpha the mixture would be right, give or take one level."""
    colours, alpha, behind = (
        torch.from_numpy(x.copy()).permute(2, 0, 1)[None].double() for x in (cut[..., :3], cut[..., 3:], background)
    )

    def mixed(**x: Tensor) -> Tensor:
        colours, behind, part = x.values()
        return (part * colours + (1 - part) * behind).round().clamp(0, 255)

    def weighted(**x: Tensor) -> Tensor:
        colours, behind, part, rest = x.values()
        return (part * colours + rest * behind).round().clamp(0, 255)

    parts = {
        "the cut-out's colours": colours,
        "the background": behind,
        "the cut-out's part, alpha / 255,": alpha / 255,
    }
    wanted = mixed(**parts)
    if got.shape != cut[..., :3].shape:
        return None
    ours = got.permute(2, 0, 1)[None]
    for retry in (
        Retry(mixed, parts),
        Retry(weighted, parts | {"the background's part, 1 - alpha / 255,": 1 - alpha / 255}),
    ):
        if cause := explain_by_arguments(ours, wanted, retry, 1.0):
            return cause
    return None


def _near(got: Tensor, values: NDArray) -> bool:
    """Whether these are the values as bytes, clipped or wrapped around, give or take one level."""
    if tuple(got.shape) != values.shape:
        return False
    bytes_ = got.numpy()
    wrapped = np.abs((bytes_ - values + 128) % 256 - 128)
    return bool(np.abs(bytes_ - values.clip(0, 255)).max() <= 1) or bool(wrapped.max() <= 1)


def _bytes(values: NDArray) -> Tensor:
    return torch.from_numpy(np.rint(values).clip(0, 255).astype(np.float64))


def _explain_type(got: Tensor, exact: NDArray[np.float64], where: str) -> None:
    values = got.double().numpy()
    if values.shape == exact.shape and np.abs(values - exact / 255).max() < 1e-3:
        raise Wrong(f"{where}, the values run from 0 to 1. Bytes run from 0 to 255: multiply, round, turn into uint8.")
    if values.shape == exact.shape and np.abs(values - exact).max() <= 1:
        raise Wrong(f"{where}, the result is {got.dtype}. Round it and turn it into bytes: .astype(np.uint8).")
    if values.shape == exact.shape and np.abs(values - exact * 255).max() <= 255:
        raise Wrong(f"{where}, the values run up to {values.max():.0f}: alpha is a byte too. Divide it by 255.")
    raise Wrong(f"{where}, the result is {got.dtype}; it should be uint8, with the colours mixed by alpha / 255.")


def _mistakes_of_mixing(cut: NDArray[np.uint8], background: NDArray[np.uint8]) -> dict[str, NDArray]:
    colours, a = cut[..., :3], cut[..., 3:]
    part = a / 255
    exact = _mixed(colours, part, background)
    with np.errstate(over="ignore"):
        overflow = (colours * a + background * (255 - a)) // 255
        behind = part * colours + (255 - a) * background / 255
        before = colours * a / 255 + (1 - part) * background
    return {
        "Alpha is the wrong way round: where it is 255, the cut-out hides the background.": (
            _mixed(colours, 1 - part, background)
        ),
        "The products overflow: bytes wrap around at 256. Turn the arrays into floats first.": overflow,
        "The products of the background overflow: bytes wrap around at 256. Turn the arrays into floats first.": behind,
        "The products of the cut-out overflow: bytes wrap around at 256. Turn the arrays into floats first.": before,
        "Alpha is used as a byte, 0 to 255. Divide it by 255: the two parts add up to 1.": (
            _mixed(colours, a.astype(np.float64), background)
        ),
        "The first channel is taken for alpha. Alpha is the last one.": (
            _mixed(cut[..., 1:], cut[..., :1] / 255, background)
        ),
        "The background's part is squared: it is 1 - alpha.": part * colours + (1 - part) ** 2 * background,
        "The background is not seen: mix it in by 1 - alpha.": colours,
        "Alpha is divided by 256. Divide by 255: an alpha of 255 hides the background.": (
            _mixed(colours, a / 256, background)
        ),
        "Alpha is divided by 100. Divide by 255.": _mixed(colours, a / 100, background),
        "Only the background is there: the cut-out is missing.": background.astype(np.float64),
        "The two are mixed half and half. Mix them by alpha.": _mixed(colours, np.full_like(part, 0.5), background),
        "Red and blue have changed places.": exact[..., ::-1],
        "Alpha is squared. Use it as it is.": _mixed(colours, part**2, background),
        "The larger of the two colours is taken. Mix them by alpha.": np.maximum(colours, background),
        "The smaller of the two colours is taken. Mix them by alpha.": np.minimum(colours, background),
        "The larger of the two parts is taken. Add them.": np.maximum(part * colours, (1 - part) * background),
        "The two are added in full. Mix them by alpha.": np.minimum(colours.astype(np.float64) + background, 255),
        "The background's part is taken off. Add it.": part * colours - (1 - part) * background,
        "The background is white, whatever is given. Use the argument.": part * colours + (1 - part) * 255,
        "The background is inverted.": part * colours + (1 - part) * (255 - background.astype(np.float64)),
        "Colours are mixed by their light, with a gamma of 2.2. Mix the bytes as they are.": 255
        * (part * (colours / 255) ** 2.2 + (1 - part) * (background / 255) ** 2.2) ** (1 / 2.2),
        "The first channel is taken for alpha, and for red too. Alpha is the last one.": (
            _mixed(colours, cut[..., :1] / 255, background)
        ),
        "Blue is taken for alpha. Alpha is the last of the four channels.": (
            _mixed(colours, cut[..., 2:3] / 255, background)
        ),
        "Alpha is rounded to one digit. Use it as it is.": _mixed(colours, part.round(1), background),
        "The mean of alpha is used for all pixels. Each has its own.": (
            _mixed(colours, np.full_like(part, part.mean()), background)
        ),
        "The mixture is multiplied by 255: colours are 0 to 255 already, and only alpha is divided.": exact * 255,
        "The mixture is divided by 255: colours stay 0 to 255, and only alpha is divided.": exact / 255,
        "Half a level is added, and then it is rounded. Do one of the two.": np.rint(exact + 0.5),
        "Alpha has its root taken. Use it as it is.": _mixed(colours, part**0.5, background),
        "The cut-out is pasted wherever alpha is not 0. A pixel that is half object is half background: mix both.": (
            np.where(a > 0, colours, background)
        ),
        "The cut-out is pasted only where alpha is 255. A pixel that is half object is half background: mix both.": (
            np.where(a == 255, colours, background)
        ),
        "Alpha is cut at one half. A pixel that is half object is half background: mix both.": (
            np.where(a > 127, colours, background)
        ),
        "The colours are added as if they were multiplied by alpha already. The colours of an RGBA image are not.": (
            colours + (1 - part) * background
        ),
        "The background is added in full. It shows by 1 - alpha only.": (part * colours + background),
        "The background is missing: outside the object the result is black.": part * colours,
        "Alpha is used twice on the cut-out.": part * part * colours + (1 - part) * background,
        "The result still has alpha. A photo with a background has three colours.": np.dstack([exact, a]),
    }


def _mixed(colours: NDArray[np.uint8], part: NDArray, background: NDArray[np.uint8]) -> NDArray[np.float64]:
    return part * colours + (1 - part) * background


@check("Right, at every threshold, and where nothing is found.")
def f_measure(answer: Callable[..., Any]) -> None:
    """`f_measure(prediction, mask, threshold, beta_squared)`: the F-measure of the pixels that reach the threshold."""
    cases = [(7, 9, 0.5, 0.3), (16, 5, 0.25, 0.3), (8, 8, 0.625, 2.0), (1, 12, 0.375, 1.0)]
    for height, width, threshold, beta_squared in cases:
        mask = torch.rand(height, width) < 0.6
        # Eighths, so that some pixels lie on the threshold itself; nearer to 1 inside the mask.
        prediction = ((torch.rand(height, width) + 0.4 * mask).clamp(max=1) * 8).round() / 8
        prediction[0, :2], mask[0, :2] = threshold, torch.tensor([True, False])
        where = f"For {height} x {width} pixels, threshold={threshold} and beta_squared={beta_squared}"
        got = _number(answer(prediction.clone(), mask.clone(), threshold, beta_squared), where)
        wanted = _score(prediction >= threshold, mask, beta_squared)
        mistakes = _mistakes_of_score(prediction, mask, threshold, beta_squared)
        mistakes = {said: value for said, value in mistakes.items() if value != wanted}
        compare(got, wanted, where, 1e-5, mistakes, _steps_of_score(prediction, mask, threshold, beta_squared))
    empty = torch.zeros(4, 6)
    some = torch.zeros(4, 6, dtype=torch.bool)
    some[1:3, 2:5] = True
    for prediction, mask, where in (
        (empty, some, "Where no pixel reaches the threshold"),
        (empty + 0.9, ~some & some, "Where the mask is empty"),
        ((~some).float(), some, "Where no chosen pixel is in the mask"),
    ):
        got = _number(answer(prediction, mask, 0.5, 0.3), where)
        if torch.isnan(got):
            raise Wrong(f"{where}, the result is NaN: 0 / 0. Nothing is hit, so the score is 0. Guard the division.")
        if abs(got.item()) > 1e-5:
            raise Wrong(f"{where}, the score should be 0: no pixel is both chosen and in the mask. Yours is {got:.3g}.")


def _number(got: Any, where: str) -> Tensor:
    if got is None:
        raise Wrong(f"{where}, your function gives NoneType and not a number. Is there a `return`?")
    if isinstance(got, np.ndarray | tuple | list):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not a number: give one value for the mask.")
    if isinstance(got, bool) or not isinstance(got, int | float | np.number | Tensor):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not a number.")
    got = torch.as_tensor(got).float()
    if got.numel() != 1:
        raise Wrong(
            f"{where}, the result has the shape {tuple(got.shape)}. It should be one number for the whole mask."
        )
    return got.reshape(())


def _score(chosen: Tensor, mask: Tensor, beta_squared: float) -> Tensor:
    """The F-measure from counts, without precision and recall; `chosen` and `mask` may be soft."""
    chosen, mask = chosen.double(), mask.double()
    hits = (chosen * mask).sum()
    wrong = beta_squared * (mask.sum() - hits) + chosen.sum() - hits
    return (1 + beta_squared) * hits / ((1 + beta_squared) * hits + wrong)


def _steps_of_score(prediction: Tensor, mask: Tensor, threshold: float, b: float) -> tuple[Retry, ...]:
    chosen = prediction >= threshold
    hits = (chosen & mask).sum().double()

    def of_pixels(**x: Tensor) -> Tensor:
        prediction, mask = x.values()
        return _score(prediction >= threshold, mask > 0.5, b)

    def of_counts(**x: Tensor) -> Tensor:
        hits, chosen, wanted, b = x.values()
        return (1 + b) * hits / (b * wanted + chosen)

    def of_shares(**x: Tensor) -> Tensor:
        precision, recall, b = x.values()
        return (1 + b) * precision * recall / (b * precision + recall)

    b_, some, all_ = torch.tensor(b, dtype=torch.float64), chosen.sum().double(), mask.sum().double()
    return (
        Retry(of_pixels, {"prediction": prediction, "mask": mask.float()}),
        Retry(of_shares, {"the precision": hits / some, "the recall": hits / all_, "beta_squared": b_}),
        Retry(of_counts, {"the hits": hits, "the chosen pixels": some, "the mask's pixels": all_, "beta_squared": b_}),
    )


def _mistakes_of_score(prediction: Tensor, mask: Tensor, threshold: float, b: float) -> dict[str, Tensor]:
    chosen = prediction >= threshold
    hits = (chosen & mask).sum().double()
    precision, recall = hits / chosen.sum(), hits / mask.sum()
    product = precision * recall
    return {
        "A pixel whose value is the threshold itself is not counted. Choose what is at least the threshold, >=.": (
            _score(prediction > threshold, mask, b)
        ),
        "The prediction is not cut at the threshold. Choose pixels first: prediction >= threshold.": (
            _score(prediction, mask, b)
        ),
        "beta_squared is the square already; you square it again.": _score(chosen, mask, b * b),
        "beta_squared is not used, or is 1: this is the plain F1 score.": _score(chosen, mask, 1.0),
        "beta_squared is fixed to 0.3. Use the argument.": _score(chosen, mask, 0.3),
        "Precision and recall have changed places: in the denominator, beta_squared multiplies precision.": (
            (1 + b) * product / (precision + b * recall)
        ),
        "The factor in front is beta_squared. It is 1 + beta_squared.": b * product / (b * precision + recall),
        "The factor 1 + beta_squared is missing.": product / (b * precision + recall),
        "The hits are sums of the prediction. Choose pixels first, and count those that are chosen and in the mask.": (
            _from_hits((prediction * mask).double().sum(), chosen, mask, b)
        ),
        "The hits count right background pixels, too. A hit is chosen and in the mask: `&`, and not `==`.": (
            _from_hits((chosen == mask).double().sum(), chosen, mask, b)
        ),
        "The hits are the pixels in which the two differ. A hit is chosen and in the mask: `&`, and not `^`.": (
            _from_hits((chosen ^ mask).double().sum(), chosen, mask, b)
        ),
        "The denominator lacks its parentheses: beta_squared * precision + recall is one number.": (
            (1 + b) * product / b * precision + recall
        ),
        "The prediction is compared with 255 times the threshold. Both are in 0 to 1.": (
            torch.zeros((), dtype=torch.float64)
        ),
        "This is the precision alone.": precision,
        "This is the recall alone.": recall,
        "This is the intersection over union.": hits / (chosen | mask).sum(),
        "This is the share of right pixels, which counts the background too.": (chosen == mask).double().mean(),
        "This scores the pixels below the threshold.": _score(~chosen, mask, b),
        "This scores the background: mask and prediction are inverted.": _score(~chosen, ~mask, b),
        "A pixel is chosen where it is at most the threshold. Choose what is at least the threshold, >=.": (
            _score(prediction <= threshold, mask, b)
        ),
        "A pixel is chosen where it is below the threshold. Choose what is at least the threshold, >=.": (
            _score(prediction < threshold, mask, b)
        ),
        "The threshold is the prediction's mean. Use the argument.": _score(prediction >= prediction.mean(), mask, b),
        "The threshold is twice the prediction's mean. Use the argument.": (
            _score(prediction >= 2 * prediction.mean(), mask, b)
        ),
        "The prediction goes through a sigmoid. It is in 0 to 1 already.": (
            _score(prediction.sigmoid() >= threshold, mask, b)
        ),
        "The prediction is rounded. Compare it with the threshold.": _score(prediction.round() > 0.5, mask, b),
        "The hits are the pixels that are chosen or in the mask. They are both: `&`, and not `|`.": (
            _from_hits((chosen | mask).double().sum(), chosen, mask, b)
        ),
        "The hits are a share, a mean over all pixels, and are divided by counts. Count them: `.sum()`.": (
            _from_hits(hits / mask.numel(), chosen, mask, b)
        ),
        "Recall is divided by the background. Divide by mask.sum().": (
            _from_shares(precision, hits / (~mask).sum(), b)
        ),
        "Recall is divided by the union. Divide by mask.sum().": _from_shares(
            precision, hits / (chosen | mask).sum(), b
        ),
        "Precision is divided by the union. Divide by chosen.sum().": (
            _from_shares(hits / (chosen | mask).sum(), recall, b)
        ),
        "Recall is the share of the background that is chosen. It is the share of the mask: hits / mask.sum().": (
            _from_shares(precision, (chosen & ~mask).sum() / (~mask).sum(), b)
        ),
        "Precision is that of the background. It is the share of the chosen pixels that are in the mask.": (
            _from_shares((~chosen & ~mask).sum() / (~chosen).sum(), recall, b)
        ),
        "Recall is divided by the number of rows. Divide by mask.sum().": _from_shares(precision, hits / len(mask), b),
        "Precision is divided by the sum of the prediction. Divide by the number of chosen pixels.": (
            _from_shares(hits / prediction.sum(), recall, b)
        ),
        "Precision and recall are added in front, where they are multiplied.": (
            (1 + b) * (precision + recall) / (b * precision + recall)
        ),
        "beta_squared multiplies recall, too, in the denominator. It multiplies precision alone.": (
            (1 + b) * product / (b * (precision + recall))
        ),
        "beta_squared is added in the denominator. It multiplies precision.": (
            (1 + b) * product / (b + precision + recall)
        ),
        "beta_squared is squared in front: the factor is 1 + beta_squared.": (
            (1 + b**2) * product / (b * precision + recall)
        ),
        "beta_squared is squared in the denominator. It is a square already.": (
            (1 + b) * product / (b**2 * precision + recall)
        ),
        "This is in percent. Leave out the factor 100.": 100 * _score(chosen, mask, b),
        "This is 1 less the score, a loss. Give the score.": 1 - _score(chosen, mask, b),
        "The factor in front is doubled.": 2 * _score(chosen, mask, b),
        "One is added to the hits and to the mask's pixels. Leave it out, and guard against 0 apart.": (
            _from_shares(precision, (hits + 1) / (mask.sum() + 1), b)
        ),
        "One is added to the hits and to the chosen pixels. Leave it out, and guard against 0 apart.": (
            _from_shares((hits + 1) / (chosen.sum() + 1), recall, b)
        ),
        **{
            f"An epsilon of {small:g} is added to a denominator, and it shows. Leave it out; return 0 where nothing "
            f"is hit{' ' * i}.": value
            for small in (1e-2, 1e-3, 1e-4)
            for i, value in enumerate(
                (
                    _from_shares(hits / (chosen.sum() + small), recall, b),
                    _from_shares(precision, hits / (mask.sum() + small), b),
                    _from_shares(hits / (chosen.sum() + small), hits / (mask.sum() + small), b),
                    (1 + b) * product / (b * precision + recall + small),
                )
            )
        },
        "The threshold is fixed to 0.5. Use the argument.": _score(prediction >= 0.5, mask, b),
        "beta_squared has its root taken. It is the square already, and used as it is.": _score(chosen, mask, b**0.5),
        "This is the mean of precision and recall.": (precision + recall) / 2,
        "This is precision times recall.": product,
        "This is the geometric mean of precision and recall.": product.sqrt(),
        "The factor in front is 1 + beta: beta_squared has its root taken there.": (
            (1 + b**0.5) * product / (b * precision + recall)
        ),
        "The factor in front is 2, which is right for beta_squared = 1 only.": 2 * product / (b * precision + recall),
        "The denominator is precision + recall: beta_squared is missing in it.": (
            (1 + b) * product / (precision + recall)
        ),
        "This is Dice, twice the overlap over both areas: beta_squared is not used.": (
            2 * hits / (chosen.sum() + mask.sum())
        ),
        "Precision is the share of all pixels. It is the share of the chosen ones: divide by chosen.sum().": (
            (1 + b) * (hits / mask.numel()) * recall / (b * (hits / mask.numel()) + recall)
        ),
        "Recall is the share of all pixels. It is the share of the mask: divide by mask.sum().": (
            (1 + b) * precision * (hits / mask.numel()) / (b * precision + hits / mask.numel())
        ),
    }


def _from_shares(precision: Tensor, recall: Tensor, b: float) -> Tensor:
    return (1 + b) * precision * recall / (b * precision + recall)


def _from_hits(hits: Tensor, chosen: Tensor, mask: Tensor, b: float) -> Tensor:
    return _from_shares(hits / chosen.sum(), hits / mask.sum(), b)


def _colours(*shape: int) -> NDArray[np.uint8]:
    return torch.randint(0, 256, shape, dtype=torch.uint8).numpy()
