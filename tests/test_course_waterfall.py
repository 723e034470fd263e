"""The stored times of notebook 11: what each rewrite brings, as a table and a plot."""

import io

import numpy as np
import pytest
from PIL import Image

from birefnet_lite.course import waterfall
from birefnet_lite.course.waterfall import waterfall_plot, waterfall_steps, waterfall_table


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Results of a network that one rewrite makes slower."""
    rows = [",".join(waterfall.FIELDS)]
    for kind, seconds, peak in (("plain", 8, 100), ("one", 4, 90), ("two", 5, 40), ("optimized", 2, 30)):
        rows.append(f"lite,64,{kind},{seconds},{peak},1e-7,a machine,2.0")
    path = tmp_path / "waterfall.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(waterfall, "RESULTS", path)


def test_the_table_says_what_each_rewrite_takes_off(measured):
    lines = waterfall_table("lite", 64).splitlines()
    assert [line.split()[-4:] for line in lines[2:4]] == [
        ["4.00", "4.00", "2.00", "90"],
        ["5.00", "-1.00", "1.60", "40"],
    ]
    assert lines[-1].split()[-4:] == ["2.00", "3.00", "4.00", "30"]


def test_the_plot_has_words_and_is_drawn(measured):
    picture = waterfall_plot("lite", 64)
    assert "one 4.00; two 5.00" in picture.alt
    assert np.asarray(Image.open(io.BytesIO(picture.png)).convert("L")).std() > 5


def test_what_was_not_measured_is_said(measured, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="large at 64 pixels was not measured; there are lite at 64"):
        waterfall_steps("large", 64)
    monkeypatch.setattr(waterfall, "RESULTS", tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match=r"python benchmarks/waterfall\.py"):
        waterfall_steps()


@pytest.mark.parametrize("model", ["lite"])
def test_the_shipped_networks_compute_the_same_numbers(model):
    plain, *others = waterfall_steps(model)
    assert plain.error == 0
    assert all(step.error < 1e-6 for step in others)
    assert len({step.machine for step in [plain, *others]}) == 1
    assert others[-1].seconds < 0.6 * plain.seconds
