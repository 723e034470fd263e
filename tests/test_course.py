"""The map, the running table, the environment and the choice of weights."""

import io
import os
import subprocess
import sys
from functools import cache

import matplotlib.colors
import numpy as np
import pytest
import torch
from PIL import Image

from birefnet_lite import BiRefNet, BiRefNetConfig, course
from birefnet_lite.course import check_environment, course_model, network_map, part_table, side_by_side
from birefnet_lite.course import environment as environment_module
from birefnet_lite.course import models as models_module
from birefnet_lite.course.canvas import COLOURS, toy_photo
from birefnet_lite.course.picture import CARD, INK, QUIET, TIMES, Picture


@pytest.fixture(scope="module")
def lite():
    return BiRefNet(BiRefNetConfig.preset("lite")).eval()


drawn_map = cache(network_map)


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"), np.int16)


def plain_rows(table):
    """The rows by their part, with the letter x for the sign."""
    return {row[0]: tuple(cell.replace(TIMES, "x") for cell in row) for row in table.rows}


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_all_text_of_the_figures_has_the_contrast_that_reading_takes():
    pairs = [(INK, CARD), (QUIET, CARD), ("white", QUIET), (CARD, INK), (QUIET, "#f6f4ee")]
    for fill, edge in COLOURS.values():
        pairs += [(INK, fill), ("white", edge), (edge, CARD)]
    for text, ground in pairs:
        assert contrast(text, ground) >= 4.5, (text, ground)


def test_a_picture_has_words_and_is_opaque():
    picture = side_by_side({"one": np.zeros((20, 30, 3), np.uint8), "two": np.ones((20, 30))}, alt="black and white")
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "black and white"
    assert "black and white" in data["text/plain"]
    image = Image.open(io.BytesIO(picture.png))
    assert image.size == picture.size
    assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    with pytest.raises(ValueError, match="alternative text"):
        Picture(picture.png, " ")


def test_images_are_drawn_with_the_values_they_have():
    grey = np.full((40, 40), 0.5)
    drawn = pixels(
        side_by_side({"grey": grey, "photo": np.full((40, 40, 3), [255, 0, 0], np.uint8)}, alt="two squares")
    )
    height, width = drawn.shape[:2]
    assert np.abs(drawn[height * 2 // 3, width // 4] - 127).max() <= 1
    assert np.abs(drawn[height * 2 // 3, width * 3 // 4] - [255, 0, 0]).max() <= 1


def test_the_map_says_where_you_are_and_only_there_is_it_in_colour():
    whole = drawn_map()
    assert "You are here" not in whole.alt
    encoder_fill = np.array(matplotlib.colors.to_rgb(COLOURS["encoder"][0])) * 255
    squeeze_fill = np.array(matplotlib.colors.to_rgb(COLOURS["squeeze"][0])) * 255

    def share(picture, colour):
        return (np.abs(pixels(picture) - colour).max(axis=2) <= 2).mean()

    here = drawn_map("03_squeeze")
    assert "You are here: the squeeze module." in here.alt
    assert share(here, squeeze_fill) > 0.5 * share(whole, squeeze_fill) > 0
    # The encoder's colour remains only in the legend.
    assert share(here, encoder_fill) < 0.1 * share(whole, encoder_fill)


def test_every_part_that_a_notebook_builds_has_a_place_on_the_map():
    pictures = {drawn_map(f"{number:02}").png for number in range(2, 10)}
    assert len(pictures) == 8
    assert drawn_map("01").png == drawn_map().png


def test_a_notebook_about_the_whole_network_says_so_and_leaves_everything_in_colour():
    whole = drawn_map()
    ground = pixels(whole)
    pictures = [drawn_map(name) for name in ("10_explanation", "11_speed", "12_capstone")]
    for picture in pictures:
        assert "You are here: " in picture.alt
        changed = np.flatnonzero((pixels(picture) != ground).any(axis=(1, 2)))
        assert len(changed) > 0
        assert changed.max() < 0.08 * ground.shape[0]  # the title alone
    assert len({picture.alt for picture in pictures}) == 3


def test_the_toy_photo_is_what_its_mask_says():
    photo, mask = toy_photo(64)
    assert photo.shape == (64, 64, 3)
    assert set(np.unique(mask)) == {0.0, 1.0}
    red, blue = photo[..., 0], photo[..., 2]
    assert (blue > red)[mask == 1].all()  # the mug is blue, nothing else is
    assert (blue < red)[mask == 0].all()


def test_the_table_counts_every_parameter_once(lite):
    table = part_table(lite, 64)
    counts = [row[6].replace(",", "") for row in table.rows[:-1]]
    total = sum(int(count) for count in counts if count.isdecimal())
    assert total == table.total == sum(parameter.numel() for parameter in lite.parameters())
    assert table.rows[-1][6].replace(",", "") == str(total)


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"inward_reference": False}, "inward reference"),
        ({"outward_reference": False}, "outward reference"),
        ({"squeeze_block": "none"}, "squeeze module"),
        ({"multi_scale_input": "none"}, "backbone, half-size photo"),
        ({"multi_stage_supervision": False, "outward_reference": False}, "side outputs (in training)"),
    ],
)
def test_the_table_shows_the_parts_a_network_has_and_counts_them_all(changes, gone):
    model = BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0", aspp="none", **changes)).eval()
    table = part_table(model, 64)
    assert gone not in [row[0] for row in table.rows]
    counts = [row[6].replace(",", "") for row in table.rows[:-1]]
    assert sum(int(count) for count in counts if count.isdecimal()) == table.total


def test_the_table_counts_the_class_head():
    model = BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0", aspp="none", auxiliary_classification=True)).eval()
    row = next(row for row in part_table(model, 64).rows if row[0] == "class head (in training)")
    assert row[6] == f"{512 * 219 + 219:,}"  # pvt_v2_b0 is 256 wide, twice


def test_the_table_has_the_shapes_of_the_original(lite):
    # From the original's own forward at 1024 x 1024; strides give the rest.
    rows = plain_rows(part_table(lite, (64, 96)))
    assert rows["encoder: both, and context"][2:6] == ("192x16x24", "384x8x12", "768x4x6", "2880x2x3")
    assert rows["squeeze module"][5] == "1536x2x3"
    assert rows["reconstruction blocks"][2:6] == ("96x16x24", "192x8x12", "384x4x6", "768x2x3")
    assert rows["inward reference"][1:6] == ("24x64x96", "48x16x24", "96x8x12", "192x4x6", "192x2x3")
    assert rows["backbone, half-size photo"][2:6] == ("96x8x12", "192x4x6", "384x2x3", "768x1x2")


def test_parts_that_later_notebooks_build_show_a_dot(lite):
    rows = plain_rows(part_table(lite, 64, upto="03"))
    assert rows["squeeze module"][5] == "1536x2x2"
    assert rows["lateral blocks"][3] == "·"
    assert rows["lateral blocks"][6] == "775,488"


def test_html_and_text_of_the_table_say_the_same(lite):
    table = part_table(lite, 64)
    for row in table.rows:
        assert all(cell in table._repr_html_() and cell in repr(table) for cell in row)


def test_without_weights_that_ship_the_network_is_untrained_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(models_module.resources, "files", lambda package: tmp_path)
    before = torch.random.get_rng_state()
    first, second = course_model(), course_model()
    assert (first.name, first.trained) == ("lite", False)
    assert "UNTRAINED" in first.notice
    assert not first.model.training
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_ship_are_used(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "nano.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(models_module.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(models_module, "load", lambda name, device: (name, device))
    course = course_model()
    assert (course.model, course.name, course.trained) == (("nano", "cpu"), "nano", True)
    assert "UNTRAINED" not in course.notice


def test_the_environment_is_told_in_one_line_each(capsys, monkeypatch):
    findings = check_environment()
    lines = capsys.readouterr().out.splitlines()
    assert [finding.what for finding in findings] == ["Python", "PyTorch", "device", "memory"]
    assert len(lines) == 4
    assert torch.__version__ in lines[1]


def test_what_is_missing_is_said_with_what_to_do(capsys, monkeypatch):
    class Memory:
        available = 0.5 * 2**30

    monkeypatch.setattr(environment_module.psutil, "virtual_memory", Memory)
    monkeypatch.setattr(environment_module.torch, "__version__", "2.5.1+cpu")
    findings = {finding.what: finding for finding in check_environment()}
    assert not findings["memory"].fine
    assert "0.5 GiB free" in findings["memory"].text
    assert "Close other programs" in findings["memory"].text
    assert not findings["PyTorch"].fine
    assert "2.6 or newer" in findings["PyTorch"].text
    assert "✗ memory" in capsys.readouterr().out


def in_a_new_process(code, **variables):
    """The output of code in a Python of its own, where nothing is imported yet."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


SPINNING = "GOMP_SPINCOUNT" if sys.platform == "linux" else "KMP_BLOCKTIME"
SHOW = f"import os; print(os.environ.get({SPINNING!r}))"


def test_importing_the_course_lets_waiting_threads_sleep_soon():
    assert int(in_a_new_process(f"import birefnet_lite.course; {SHOW}")) <= 1000


def test_importing_the_course_changes_nothing_once_torch_is_there_or_the_user_has_chosen():
    assert in_a_new_process(f"import torch, birefnet_lite.course; {SHOW}") == "None"
    assert in_a_new_process(f"import birefnet_lite.course; {SHOW}", **{SPINNING: "77"}) == "77"


def test_the_library_and_the_command_line_leave_threads_alone():
    modules = ("birefnet_lite", "birefnet_lite.__main__", "birefnet_lite.inference.predict")
    code = "; ".join(f"import {module}; {SHOW}" for module in modules)
    assert in_a_new_process(code).split() == ["None"] * len(modules)


def test_the_map_is_drawn_without_importing_torch():
    code = "import sys; from birefnet_lite.course import network_map; network_map('02'); print('torch' in sys.modules)"
    assert in_a_new_process(code) == "False"


def test_the_course_says_which_names_it_has():
    assert set(course.__all__) <= set(dir(course))
    with pytest.raises(AttributeError, match="no attribute 'netwrok_map'"):
        course.netwrok_map  # noqa: B018
