"""16-bit planes of numbers, their colours, and maps in colour over a photo.

NumPy only. `static/core.js` does the same sums in the browser, and both must give the same pixels, so everything here
is float64 or integer arithmetic with one stated rounding: floor(x + 0.5).
"""

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: The highest code of a finite value. The codes above it mean something else.
LEVELS = 65530
MINUS_INFINITY, PLUS_INFINITY, NOT_A_NUMBER = 65533, 65534, 65535

#: Colours of what a colour map cannot show, by the name the legend gives them.
MARKS: dict[str, tuple[int, int, int]] = {
    "NaN": (255, 0, 255),
    "+∞": (255, 0, 0),
    "-∞": (0, 0, 255),
    "above": (255, 128, 0),
    "below": (0, 200, 255),
}


def _read_colour_maps() -> dict[str, NDArray[np.uint8]]:
    """The tables of the front end, so that both draw with the same ones: name to (256, 3)."""
    source = (files("widgets") / "static" / "colour_maps.js").read_text(encoding="utf-8")
    tables = json.loads(source[source.index("{") : source.rindex("}") + 1])
    return {name: np.frombuffer(bytes.fromhex(text), np.uint8).reshape(256, 3) for name, text in tables.items()}


_COLOUR_MAPS = _read_colour_maps()
COLOUR_MAPS = tuple(_COLOUR_MAPS)


@dataclass(frozen=True)
class Plane:
    """One map as 16-bit codes (H, W): code c stands for lo + c (hi - lo) / LEVELS; the last three are not numbers."""

    codes: NDArray[np.uint16]
    lo: float
    hi: float

    def values(self) -> NDArray[np.float64]:
        """The numbers again, within (hi - lo) / (2 LEVELS) of what was encoded; NaN and infinities come back too."""
        return code_values(self.lo, self.hi)[self.codes]

    @property
    def quantum(self) -> float:
        """The step between neighbouring codes."""
        return (self.hi - self.lo) / LEVELS


def quantise(values: ArrayLike) -> Plane:
    """Encode one map of numbers, (H, W), over the range of its finite values.

    A constant map has lo = hi and codes 0.
    """
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"A plane is one map with at least one value, (H, W). Got shape {values.shape}.")
    values = values.astype(np.float64)
    lo, hi = finite_range(values)
    if not hi > lo:
        codes = np.zeros(values.shape, np.float64)
    else:
        # Halving first keeps the widest float64 range from overflowing.
        with np.errstate(invalid="ignore"):
            codes = np.floor((values / 2 - lo / 2) / (hi / 2 - lo / 2) * LEVELS + 0.5)
    bad = ~np.isfinite(values)
    if bad.any():
        codes = np.select(
            [np.isnan(values), values == np.inf, values == -np.inf],
            [NOT_A_NUMBER, PLUS_INFINITY, MINUS_INFINITY],
            codes,
        )
    return Plane(codes.astype(np.uint16), lo, hi)


def finite_range(values: ArrayLike) -> tuple[float, float]:
    """Smallest and largest finite value; (0, 0) where there is none."""
    values = np.asarray(values)
    lo, hi = float(values.min()), float(values.max())
    if not (np.isfinite(lo) and np.isfinite(hi)):
        finite = values[np.isfinite(values)]
        lo, hi = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return lo, hi


def code_values(lo: float, hi: float) -> NDArray[np.float64]:
    """The value of each of the 65,536 codes of a plane over [lo, hi]."""
    table = np.full(65536, np.nan)
    step = hi / LEVELS - lo / LEVELS
    table[: LEVELS + 1] = lo + np.arange(LEVELS + 1) * step
    table[LEVELS] = hi
    table[MINUS_INFINITY], table[PLUS_INFINITY] = -np.inf, np.inf
    return table


def colour_map(name: str) -> NDArray[np.uint8]:
    """The 256 colours (256, 3) of a map of matplotlib: `viridis`, `magma` and `grey` are sequential, `RdBu` diverging.

    `RdBu` runs from blue to red; zero of a symmetric range falls on its neutral middle, index 127.5.
    """
    if name not in _COLOUR_MAPS:
        raise ValueError(f"There is no colour map {name!r}. Choose one of {', '.join(COLOUR_MAPS)}.")
    return _COLOUR_MAPS[name].copy()


def encode_picture(picture: NDArray[np.uint8]) -> Plane:
    """A picture (H, W, 3) as a plane whose codes are colours: five bits of red, six of green, five of blue."""
    red, green, blue = (picture[..., i].astype(np.uint16) for i in range(3))
    codes = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    return Plane(codes.astype(np.uint16), 0.0, float(LEVELS))


def picture_table() -> NDArray[np.uint8]:
    """The colour (65536, 3) of each code of a plane that `encode_picture` made."""
    code = np.arange(65536)
    parts = ((code >> 11) * 255 // 31, (code >> 5 & 63) * 255 // 63, (code & 31) * 255 // 31)
    return np.stack(parts, axis=1).astype(np.uint8)


def colour_table(plane: Plane, limits: tuple[float, float], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colour (65536, 3) of each code of `plane` when `limits` = (low, high) span the colour map.

    `colours` is (256, 3), or the (65536, 3) of `picture_table`, which need no limits.
    Values outside the limits, infinities and NaN take the colours in `MARKS`. Limits that enclose nothing show the
    middle.
    """
    if len(colours) == 65536:
        return colours
    low, high = limits
    values = code_values(plane.lo, plane.hi)
    finite = np.isfinite(values)
    shown = np.where(finite, values, 0.0)
    if high > low:
        place = (shown - low) / (high - low)
        index = np.floor(np.clip(place, 0, 1) * 255 + 0.5).astype(np.intp)
    else:
        index = np.full(values.shape, 128, np.intp)
    table = colours[index]
    table[finite & (values > high)] = MARKS["above"]
    table[finite & (values < low)] = MARKS["below"]
    table[np.isnan(values)] = MARKS["NaN"]
    table[PLUS_INFINITY], table[MINUS_INFINITY] = MARKS["+∞"], MARKS["-∞"]
    return table


def limits_of(kind: str, lo: float, hi: float) -> tuple[float, float]:
    """The limits that a range [lo, hi] is drawn with: 0 to 1 for `unit` maps, symmetric for `signed` ones."""
    if kind == "unit":
        return 0.0, 1.0
    if kind == "signed":
        top = max(abs(lo), abs(hi))
        return -top, top
    return lo, hi


def paint(plane: Plane, limits: tuple[float, float], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The map in colour at its own size, (H, W, 3)."""
    return colour_table(plane, limits, colours)[plane.codes]


def overlay(
    plane: Plane, limits: tuple[float, float], colours: NDArray[np.uint8], photo: NDArray[np.uint8], opacity: float
) -> NDArray[np.uint8]:
    """The map over a photo (H, W, 3) at the photo's size; opacity 0 shows the photo as it is.

    Each cell of the map stays a sharp block.
    """
    rows, columns = photo.shape[:2]
    y = cells(rows, plane.codes.shape[0])
    x = cells(columns, plane.codes.shape[1])
    heat = paint(plane, limits, colours)[y[:, None], x[None, :]].astype(np.int64)  # (H, W, 3)
    weight = int(np.floor(min(max(opacity, 0.0), 1.0) * 255 + 0.5))
    below = photo.astype(np.int64)
    return ((below * (255 - weight) + heat * weight + 127) // 255).astype(np.uint8)


def cells(length: int, count: int) -> NDArray[np.intp]:
    """For each of `length` pixels the cell it lies in, where `count` equal cells cover the same line."""
    return np.arange(length) * count // length


def cell(position: float, length: float, count: int) -> int:
    """The cell that a position in [0, length) lies in; positions outside take the nearest cell."""
    return min(max(int(np.floor(position * count / length)), 0), count - 1)


def cell_centre(index: int, length: float, count: int) -> float:
    """The position of a cell's centre: the inverse of `cell`."""
    return (index + 0.5) * length / count
