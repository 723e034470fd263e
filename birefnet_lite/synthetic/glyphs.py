"""Shapes of characters: about ten thousand glyphs of the fonts that matplotlib installs, as signed distances."""

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from birefnet_lite.synthetic.random_numbers import RandomNumbers

FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "STIXGeneralBol.ttf")
LIKE_HELD_OUT = {0x2699, 0x26ED, 0x26EE}  # gears, a held-out family
DRAWN, KEPT = 192, 64  # pixels of the drawn character, and of its distance map
HALF_EXTENT = 0.8  # of the square that a character's longer side fills
MIN_INK = 0.1  # least part of that square that is inside: thinner characters are skipped


@cache
def characters(font: str) -> tuple[int, ...]:
    """The code points in a font of matplotlib, in ascending order."""
    from matplotlib.ft2font import FT2Font

    return tuple(sorted(set(FT2Font(str(path_of(font))).get_charmap()) - LIKE_HELD_OUT))


def path_of(font: str) -> Path:
    """The file of a font of matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / font


@lru_cache(maxsize=2048)
def character_distance(font: str, code: int) -> Tensor | None:
    """Signed distance to a character's outline over the square from -1 to 1, (KEPT, KEPT), negative inside.

    The character is centred, and its longer side is 2 * HALF_EXTENT. None for one that is blank or thin.
    """
    pen = ImageFont.truetype(path_of(font), DRAWN, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = (round(side) for side in pen.getbbox(chr(code)))
    sheet = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(sheet).text((-left, -top), chr(code), fill=255, font=pen)
    ink = sheet.getbbox()
    if ink is None:
        return None
    width, height = ink[2] - ink[0], ink[3] - ink[1]
    scale = HALF_EXTENT * DRAWN / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.new("L", (DRAWN, DRAWN))
    image.paste(sheet.resize(size, box=ink), ((DRAWN - size[0]) // 2, (DRAWN - size[1]) // 2))
    inside = np.asarray(image) > 127
    if inside.mean() < MIN_INK * HALF_EXTENT**2:
        return None
    distance = distance_transform_edt(~inside) - distance_transform_edt(inside)
    distance = torch.from_numpy(distance).float()[None, None] * 2 / DRAWN
    return F.avg_pool2d(distance, DRAWN // KEPT)[0, 0]


def glyph(rng: RandomNumbers, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance (n, H, W) to a random character for each scene, at coordinates x, y (n, H, W)."""
    chosen: list[Tensor] = []
    while len(chosen) < rng.n:
        font = rng.pick(FONTS)
        distance = character_distance(font, rng.pick(characters(font)))
        if distance is not None:
            chosen.append(distance)
    tables = torch.stack(chosen)[:, None].to(x.device)
    found = F.grid_sample(tables, torch.stack((x, y), -1), padding_mode="border", align_corners=False)[:, 0]
    beyond = torch.stack((x, y)).abs().sub(1).clamp(min=0).norm(dim=0)
    return found + beyond
