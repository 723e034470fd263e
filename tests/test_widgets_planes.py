"""The arithmetic of the views against plain loops and against what it claims."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widgets import planes
from widgets.number_format import format_value, short_value
from widgets.planes import LEVELS, MARKS, cell, cell_centre, cells, colour_map, colour_table, overlay, quantise

finite = st.floats(-1e300, 1e300)


@given(st.lists(finite, min_size=1, max_size=40))
def test_a_plane_gives_its_numbers_back_to_half_a_step(values):
    values = np.array([values])
    plane = quantise(values)
    assert (plane.lo, plane.hi) == (values.min(), values.max())
    step = plane.hi / LEVELS - plane.lo / LEVELS
    assert np.all(np.abs(plane.values() / 2 - values / 2) <= 0.2501 * step * (1 + 1e-9) + 1e-9 * np.abs(values) / 2)


def test_what_is_no_number_survives():
    values = np.array([[1.0, np.nan, np.inf], [-np.inf, 3.0, 2.0]])
    plane = quantise(values)
    assert (plane.lo, plane.hi) == (1.0, 3.0)
    np.testing.assert_allclose(plane.values(), values, atol=2e-5)


@pytest.mark.parametrize("value", [0.0, -7.25, 1e30])
def test_a_constant_map_keeps_its_value(value):
    plane = quantise(np.full((3, 4), value, np.float32))
    assert np.all(plane.values() == np.float32(value))


@pytest.mark.parametrize("filler", [np.nan, np.inf])
def test_a_map_without_a_finite_value(filler):
    plane = quantise(np.full((2, 2), filler))
    np.testing.assert_array_equal(plane.values(), np.full((2, 2), filler))


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 3, 4)])
def test_only_one_map_at_a_time(shape):
    with pytest.raises(ValueError, match="one map"):
        quantise(np.zeros(shape))


def test_colours_against_a_loop():
    values = np.array([[-2.0, -1.0, -0.3, 0.0], [0.7, 1.0, 2.0, np.nan], [np.inf, -np.inf, 0.25, 0.5]])
    plane = quantise(values)
    colours = colour_map("viridis")
    painted = planes.paint(plane, (-1.0, 1.0), colours)
    for y, x in np.ndindex(values.shape):
        value = plane.values()[y, x]
        if math.isnan(value):
            expected = MARKS["NaN"]
        elif math.isinf(value):
            expected = MARKS["+∞" if value > 0 else "-∞"]
        elif value > 1:
            expected = MARKS["above"]
        elif value < -1:
            expected = MARKS["below"]
        else:
            expected = colours[math.floor((value + 1) / 2 * 255 + 0.5)]
        assert tuple(painted[y, x]) == tuple(expected)


def test_limits_that_enclose_nothing_show_the_middle():
    colours = colour_map("grey")
    table = colour_table(quantise(np.full((2, 2), 5.0)), (5.0, 5.0), colours)
    assert tuple(table[0]) == tuple(colours[128])


def test_zero_of_a_symmetric_range_is_neutral():
    low, high = planes.limits_of("signed", -0.2, 0.8)
    assert low == -high
    middle = colour_map("RdBu")[127:129].astype(int)
    assert np.ptp(middle) <= 4
    assert planes.limits_of("unit", 0.3, 0.4) == (0, 1)
    assert planes.limits_of("positive", 0.3, 0.4) == (0.3, 0.4)


def test_sequential_maps_rise_in_lightness():
    for name in ("viridis", "magma", "grey"):
        luma = colour_map(name).astype(float) @ [0.299, 0.587, 0.114]
        assert np.all(np.diff(luma) > -1)
        assert luma[-1] - luma[0] > 150


def test_colour_maps_are_those_of_matplotlib():
    import matplotlib

    for name, theirs in {"viridis": "viridis", "magma": "magma", "grey": "gray", "RdBu": "RdBu_r"}.items():
        expected = np.array([matplotlib.colormaps[theirs](i)[:3] for i in range(256)]) * 255
        np.testing.assert_allclose(colour_map(name), expected, atol=0.51)


def test_an_unknown_colour_map_is_named():
    with pytest.raises(ValueError, match=r"jet.*viridis"):
        colour_map("jet")


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_overlay_against_a_loop(opacity):
    random = np.random.default_rng(0)
    plane = quantise(random.normal(size=(2, 3)))
    backdrop = random.integers(0, 256, (7, 8, 3)).astype(np.uint8)
    colours = colour_map("magma")
    result = overlay(plane, (plane.lo, plane.hi), colours, backdrop, opacity)
    heat = planes.paint(plane, (plane.lo, plane.hi), colours).astype(int)
    weight = math.floor(opacity * 255 + 0.5)
    for y, x in np.ndindex(7, 8):
        over = heat[y * 2 // 7, x * 3 // 8]
        assert list(result[y, x]) == [
            (int(under) * (255 - weight) + c * weight + 127) // 255
            for under, c in zip(backdrop[y, x], over, strict=True)
        ]


@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_cells_share_a_line(length, count, data):
    index = data.draw(st.integers(0, count - 1))
    assert cell(cell_centre(index, length, count), length, count) == index
    at = data.draw(st.integers(0, length - 1))
    assert cells(length, count)[at] == cell(at, length, count) == at * count // length


def test_positions_outside_take_the_nearest_cell():
    assert cell(-3, 10, 5) == 0
    assert cell(99, 10, 5) == 4


@pytest.mark.parametrize(
    ("value", "quantum", "text"),
    [
        (0.123456, 1e-4, "0.1235"),
        (-1.5, 0.01, "\N{MINUS SIGN}1.50"),
        (1234567.0, 0, "1.235e+6"),
        (0.00001, 0, "1.000e\N{MINUS SIGN}5"),
        (math.nan, 0, "NaN"),
        (-math.inf, 0, "\N{MINUS SIGN}∞"),
        (0.0, 0, "0.0000"),
        (12.0, 50.0, "12"),
    ],
)
def test_numbers_as_text(value, quantum, text):
    assert format_value(value, quantum) == text


def test_short_numbers_have_four_figures():
    assert short_value(0.0534171, 1e-7) == "0.05342"
    assert short_value(-1234.5678, 1e-7) == "\N{MINUS SIGN}1235"
