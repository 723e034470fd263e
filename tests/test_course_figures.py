"""The course's figures beside the map: their words, their numbers, the scores of masks."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.analysis import capture
from birefnet_lite.course import network_map
from birefnet_lite.course.canvas import Canvas
from birefnet_lite.course.figures_decoder import add_or_concatenate, five_branches, one_stage, taps_inside
from birefnet_lite.course.figures_encoder import shifted_windows
from birefnet_lite.course.figures_refinement import tiles_to_channels
from birefnet_lite.course.masks import compare_masks, mean_size, rows_of_pictures, score
from birefnet_lite.course.picture import CARD, TIMES, Picture, side_by_side


@pytest.fixture
def drawn(monkeypatch):
    """The Matplotlib figures of all pictures that a test makes."""
    figures, keep = [], Picture.of
    monkeypatch.setattr(Picture, "of", lambda figure, alt: figures.append(figure) or keep(figure, alt))
    return figures


def assert_texts_are_readable(figure):
    """No text is cut at the border of its figure, and no title runs into another one."""
    figure.draw_without_rendering()  # texts keep the extents of the resolution they were last drawn at
    for text in [text for axes in figure.axes for text in axes.texts]:
        (left, low), (right, high) = text.get_window_extent().get_points()
        width, height = figure.bbox.size
        assert min(left, low, width - right, height - high) >= 0, text.get_text()
    titles = [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (five_branches, "two of 1 by 1, one of 3 by 3, one of 7 by 7"),
        (add_or_concatenate, "C plus C' channels"),
        (one_stage, "in training only"),
        (shifted_windows, "each sees only itself"),
        (lambda: tiles_to_channels(np.zeros((32, 48, 3), np.uint8), grid=4), "cut into 4 by 4 tiles"),
        (lambda: taps_inside({"squeeze": (0.37, 0.67)}), "squeeze: 37% as trained, 67% not moved"),
    ],
)
def test_a_figure_says_what_is_on_it_and_brings_its_own_ground(drawn, draw, said):
    picture = draw()
    assert said in picture.alt
    assert_texts_are_readable(drawn[-1])
    corner = Image.open(io.BytesIO(picture.png)).convert("RGB").getpixel((1, 1))
    assert "#{:02x}{:02x}{:02x}".format(*corner) == CARD


def test_the_map_with_shapes_writes_what_was_measured(monkeypatch):
    model = BiRefNet(BiRefNetConfig.preset("nano")).eval()
    maps = capture(model, np.zeros((64, 96, 3), np.uint8), size=(64, 96))
    written, keep = [], Canvas.text

    def write(self, at, text, *more, **named):
        written.append(text)
        keep(self, at, text, *more, **named)

    monkeypatch.setattr(Canvas, "text", write)
    picture = network_map("01", maps)
    assert "The arrows between the parts have the shapes of their maps." in picture.alt
    for name in ("encoder.full.x1", "encoder.half.x4", "encoder.x3", "squeeze", "decoder.stage4.out", "logits"):
        assert TIMES.join(map(str, maps[name].shape)) in written
    assert picture.png != network_map("01").png


def test_a_mask_of_any_size_is_scored_against_the_one_made_by_hand():
    by_hand = np.zeros((40, 60), bool)
    by_hand[:, :30] = True
    assert score(by_hand[::4, ::4].astype(np.float32), by_hand) > 0.9
    assert score(np.ones((4, 6)), by_hand) == pytest.approx(0.5)
    assert score(np.zeros((4, 6)), by_hand) == 0
    assert score(np.ones((4, 6)), by_hand, ignore=~by_hand) == 1


def test_compared_masks_say_their_scores_and_show_their_mistakes():
    by_hand = np.zeros((40, 60), bool)
    by_hand[:, :30] = True
    photo = np.full((40, 60, 3), 128, np.uint8)
    picture = compare_masks(photo, by_hand, {"all": np.ones((40, 60)), "none": np.zeros((40, 60))}, "Grey.")
    assert picture.alt == "Grey. IoU: all 0.500, none 0.000."
    colours = {tuple(c) for c in np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).reshape(-1, 3)}
    assert {(230, 110, 20), (40, 120, 230)} <= colours


def test_long_titles_are_broken_where_the_next_picture_begins(drawn):
    square = np.zeros((8, 8))
    images = {"what the tiles show to 5 × 5 cells": square, "where these cells stand": square}
    side_by_side(images, "two squares", width=4)
    rows_of_pictures([images], "two squares", width=4)
    for figure in drawn:
        assert_texts_are_readable(figure)


def test_rows_of_pictures_keep_the_form_of_their_images():
    wide, high = np.ones((10, 30)), np.zeros((20, 10))
    picture = rows_of_pictures([{"a": wide, "b": high}, {"c\nd": wide}], "rows")
    assert picture.size[0] == 1440
    assert mean_size(np.array([[[-2.0, 0], [1, 0]]])).tolist() == [[1, 0], [0.5, 0]]
    assert not mean_size(np.zeros((3, 2, 2))).any()
