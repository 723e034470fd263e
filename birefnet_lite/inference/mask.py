"""Mask values, float32 in [0, 1], from decoded images and arrays of any bit depth, palette or colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet_lite.inference.marks import MASK

__all__ = ["mask_from_array", "mask_from_image"]

# ITU-R BT.601: how bright red, green and blue are.
_BRIGHTNESS = (299, 587, 114)
_OVERSHOOT = 1e-5
# Grey in a lossy WebP or JPEG comes back with channels that differ by a few of 255 levels.
_TINT = 8


def mask_from_image(image: Image.Image) -> NDArray[np.float32]:
    """The mask (H, W) that a decoded, upright image holds; the rules are those of `read_mask`.

    Raises:
        ValueError: The image can be read as a mask in no way or in several.
    """
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F", "1"):
        return mask_from_array(np.asarray(image))
    if image.mode == "L" and image.info.get("Software") == MASK:
        return np.asarray(image, np.float32) / np.float32(255)
    if image.mode in ("P", "PA") and (mask := _from_indices(image)) is not None:
        return mask
    alpha = None
    if image.has_transparency_data:
        # Without premultiplying, so that colours do not vary only because alpha does.
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGBA"))
        alpha = np.asarray(image.getchannel("A"))
    colours = np.asarray(image.convert("L" if image.mode in ("L", "LA") else "RGB"))
    if image.info.get("cut_to_8_bits") and not colours.any() and (alpha is None or (alpha == alpha.flat[0]).all()):
        raise ValueError(
            "The mask has 16 bits for each colour, of which only the upper 8 are read, and these are all 0: save it as "
            "grey, with 8 or 16 bits."
        )
    return _from_colours_and_alpha(colours, alpha)


def mask_from_array(array: NDArray[Any], soft: bool = False) -> NDArray[np.float32]:
    """The mask (H, W) that an array holds.

    Args:
        array: (H, W), or colours (H, W, 3), or colours and alpha (H, W, 4); bool, integers or floats.
        soft: Floats are taken as they are and must lie in [0, 1], as `segment` returns them. Without it, one or two
            values are empty and full, whatever they are.

    Raises:
        ValueError: The shape or the values are not those of a mask.
        TypeError: The values are not numbers.
    """
    if array.dtype.kind not in "buif":
        raise TypeError(f"A mask's values are bool, integers or floats, not {array.dtype}.")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise ValueError(f"A mask is H x W, or H x W x 3 or 4 in colours, not {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"The mask has no pixels: its shape is {array.shape}.")
    if soft and array.dtype.kind == "f":
        if array.ndim != 2:
            raise ValueError(f"A soft mask is H x W, not {array.shape}.")
        if not (array.min() >= 0 and array.max() <= 1):  # also false for NaN
            raise ValueError(f"A float mask holds values in [0, 1], not {array.min():.4g} to {array.max():.4g}.")
        return array.astype(np.float32)
    if array.ndim == 2:
        return _from_grey(array)
    return _from_colours_and_alpha(array[..., :3], array[..., 3] if array.shape[2] == 4 else None)


def _from_grey(grey: NDArray[Any]) -> NDArray[np.float32]:
    """Grey values (H, W) of any type: one or two become 0 and 1, more are scaled by the range of the type."""
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise ValueError("The mask holds values that are not finite numbers (NaN or infinity).")
    low, high = grey.min(), grey.max()
    if low == high:
        return np.full(grey.shape, high != 0, np.float32)
    full = grey == high
    if (full | (grey == low)).all():
        return full.astype(np.float32)
    if grey.dtype.kind == "f":
        if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:  # resizing overshoots by a few units in the last place
            return grey.clip(0, 1).astype(np.float32)
        wanted = "of floats, 0 is empty and 1 is full"
    else:
        most = np.iinfo(grey.dtype).max
        if low >= 0 and high > most / 4:
            return (grey / np.float32(most)).astype(np.float32)
        if low >= 0 and high == 255:
            return (grey / np.float32(255)).astype(np.float32)
        wanted = f"of {grey.dtype}, 0 is empty and {most} is full"
    raise ValueError(
        f"The mask holds {len(np.unique(grey))} values from {low:.6g} to {high:.6g}, which say neither what is the "
        f"object nor how much of each pixel it covers: use two values, or soft ones ({wanted})."
    )


def _from_colours_and_alpha(colours: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[np.float32]:
    """Colours (H, W) or (H, W, 3); an alpha channel (H, W) that varies is the mask if the colours do not."""
    if alpha is None or (alpha == alpha.flat[0]).all():
        return _from_colours(colours)
    if (colours == colours[0, 0]).all():
        return _from_grey(alpha)
    raise ValueError(
        "The mask's alpha channel and its colours both vary, so that either could be the mask: save it as grey, "
        "without alpha."
    )


def _from_colours(colours: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, 3), of which one or two colours become 0 and 1, or grey."""
    if colours.ndim == 2:
        return _from_grey(colours)
    red, green, blue = (colours[..., i] for i in range(3))
    if (red == green).all() and (green == blue).all():
        return _from_grey(red)
    first = colours[0, 0]
    differs = (colours != first).any(axis=2)
    if not differs.any():
        return np.ones(differs.shape, np.float32)  # black is grey
    second = colours[differs][0]
    if (differs & (colours != second).any(axis=2)).any():
        if colours.dtype == np.uint8 and colours.max() > 255 / 4 and np.ptp(colours, axis=2).max() <= _TINT:
            return _from_grey(np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L")))
        codes = np.unique(colours.reshape(-1, 3), axis=0)
        some = ", ".join(_name(colour) for colour in codes[:3])
        raise ValueError(
            f"The mask holds {len(codes)} colours, such as {some}, which do not say what is the object: use two, or "
            "grey."
        )
    brightness = [sum(w * float(c) for w, c in zip(_BRIGHTNESS, colour, strict=True)) for colour in (first, second)]
    if brightness[0] == brightness[1]:
        raise ValueError(
            f"The mask's two colours, {_name(first)} and {_name(second)}, are equally bright, so that neither is the "
            "object: use black and white."
        )
    return (differs if brightness[1] > brightness[0] else ~differs).astype(np.float32)


def _from_indices(image: Image.Image) -> NDArray[np.float32] | None:
    """One or two indices of a palette, of which 0 is the background; None where only the colours can tell."""
    indices = np.asarray(image.getchannel(0) if image.mode == "PA" else image)
    if image.mode == "PA" and len(set(image.getchannel("A").getextrema())) > 1:
        return None
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if len(used) > 2 or (len(used) == 2 and used[0] != 0):
        return None
    full = indices != 0
    if len(used) == 2 and image.mode == "P" and image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        if (rgba[..., :3] == rgba[0, 0, :3]).all():
            return None
        if rgba[full][0, 3] < rgba[~full][0, 3]:
            raise ValueError(
                "The mask's palette says that index 0 is the background, its transparency says the contrary: save it "
                "as grey, without alpha."
            )
    return full.astype(np.float32)


def _name(colour: NDArray[Any]) -> str:
    """`#ff8000` for bytes, the numbers themselves for other types."""
    if colour.dtype == np.uint8:
        return "#" + "".join(f"{value:02x}" for value in colour)
    return "(" + ", ".join(f"{value:.4g}" for value in colour) + ")"
