"""The evaluation loop on a stand-in for the model: what is averaged, what is printed, what is written."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from birefnet_lite.metrics import METRICS, measure
from birefnet_lite.training.evaluate import DEFAULT_METRICS, Pair, evaluate

MODEL = torch.nn.Identity()


def as_it_is(model, image):
    return image


@pytest.fixture
def pairs():
    rng = np.random.default_rng(4)
    made = []
    for index in range(5):
        height, width = 20 + index, 30 - index
        mask = np.zeros((height, width), np.uint8)
        mask[4:14, 5 + index : 18] = 255
        prediction = np.clip(mask / 255 * rng.uniform(0.3, 1) + 0.7 * rng.random(mask.shape) - 0.1, 0, 1)
        made.append(Pair(f"image {index}", prediction, mask, "even" if index % 2 == 0 else "odd"))
    return made


def test_each_image_has_the_scores_that_measure_gives(pairs):
    scores = evaluate(MODEL, pairs, predict=as_it_is, metrics=METRICS, progress=False)
    assert [image.name for image in scores.images] == [pair.name for pair in pairs]
    for image, pair in zip(scores.images, pairs, strict=True):
        assert image.values == measure(pair.image, pair.mask, stretch=True).values
        assert image.group == pair.group


def test_maxima_are_of_the_mean_curve_and_the_rest_are_means(pairs):
    scores = evaluate(MODEL, pairs, predict=as_it_is, metrics=("f_max", "f_mean", "mae"), progress=False)
    curves = np.stack([measure(p.image, p.mask, stretch=True).curves["f"].numpy() for p in pairs])
    means = scores.mean()
    assert means["f_max"] == pytest.approx(curves.mean(axis=0).max())
    assert means["f_max"] < np.mean([image.values["f_max"] for image in scores.images])
    assert means["f_mean"] == pytest.approx(curves.mean())
    assert means["mae"] == pytest.approx(np.mean([image.values["mae"] for image in scores.images]))


def test_groups(pairs):
    scores = evaluate(MODEL, pairs, predict=as_it_is, metrics=("mae",), progress=False)
    assert scores.groups == ["even", "odd"]
    alone = evaluate(MODEL, pairs[1::2], predict=as_it_is, metrics=("mae",), progress=False)
    assert scores.mean("odd") == alone.mean()
    with pytest.raises(ValueError, match="the groups are"):
        scores.mean("prime")


def test_stretching_is_passed_on_and_said(pairs):
    plain, stretched = (
        evaluate(MODEL, pairs, predict=as_it_is, stretch=stretch, metrics=("mae",), progress=False)
        for stretch in (False, True)
    )
    assert plain.mean()["mae"] != stretched.mean()["mae"]
    assert plain.mean()["mae"] == pytest.approx(np.mean([np.abs(p.image - (p.mask > 128)).mean() for p in pairs]))
    assert "as the model gives them" in plain.table()
    assert "stretched" in stretched.table()


def test_images_without_a_value_are_left_out(pairs, tmp_path):
    empty = ("empty", np.zeros((9, 9)), np.zeros((9, 9), np.uint8))
    scores = evaluate(MODEL, [*pairs, empty], predict=as_it_is, metrics=("mba", "mae"), progress=False)
    assert math.isnan(scores.images[-1].values["mba"])
    assert scores.mean()["mba"] == pytest.approx(np.mean([image.values["mba"] for image in scores.images[:-1]]))
    assert "empty" not in [image.name for image in scores.worst(10, "mba")]
    assert "none" in scores.table().splitlines()[3]  # even, odd, then the image in no group
    scores.write_csv(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().splitlines()[-1] == "empty,,,0.0"


def test_worst_knows_which_way_is_worse(pairs):
    scores = evaluate(MODEL, pairs, predict=as_it_is, metrics=("s_measure", "mae"), progress=False)
    s = [image.values["s_measure"] for image in scores.worst(3)]
    e = [image.values["mae"] for image in scores.worst(3, "mae")]
    assert s == sorted(image.values["s_measure"] for image in scores.images)[:3]
    assert e == sorted((image.values["mae"] for image in scores.images), reverse=True)[:3]
    with pytest.raises(ValueError, match="not measured"):
        scores.worst(3, "hce")


def test_csv_files_hold_every_number(pairs, tmp_path):
    scores = evaluate(MODEL, pairs, predict=as_it_is, progress=False)
    scores.write_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [pair.name for pair in pairs]
    for row, image in zip(rows, scores.images, strict=True):
        assert {name: float(row[name]) for name in DEFAULT_METRICS} == image.values
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_table_shows_the_means(pairs):
    scores = evaluate(MODEL, pairs, predict=as_it_is, metrics=("s_measure", "hce"), progress=False)
    heads, even, odd, everything, note = scores.table().splitlines()
    assert heads.split() == ["images", "s_measure", "hce", "-"]
    assert everything.split() == ["all", "5", f"{scores.mean()['s_measure']:.4f}", f"{scores.mean()['hce']:.1f}"]
    assert even.startswith("even")
    assert odd.startswith("odd")
    assert len(heads) == len(even) == len(everything)
    assert "masks cut at 128" in note


def test_masks_from_files_pictures_and_tensors_score_alike(pairs, tmp_path):
    pair = pairs[0]
    Image.fromarray(pair.mask).convert("RGB").save(tmp_path / "mask.png")
    deep = Image.fromarray(pair.mask.astype(np.uint16) * 257)
    forms = [
        deep,
        tmp_path / "mask.png",
        str(tmp_path / "mask.png"),
        Image.fromarray(pair.mask),
        torch.from_numpy(pair.mask),
    ]
    found = evaluate(MODEL, [(pair.name, pair.image, m) for m in forms], predict=as_it_is, progress=False)
    for image in found.images:
        assert image.values == measure(pair.image, pair.mask, stretch=True, names=DEFAULT_METRICS).values


def test_wrong_calls(pairs):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(MODEL, [], predict=as_it_is, progress=False)
    with pytest.raises(ValueError, match="no metric dice"):
        evaluate(MODEL, pairs, predict=as_it_is, metrics=("dice",), progress=False)
    with pytest.raises(ValueError, match="no metric named"):
        evaluate(MODEL, pairs, predict=as_it_is, metrics=(), progress=False)
    with pytest.raises(ValueError, match="image 0 cannot be scored: The prediction is"):
        evaluate(MODEL, [pairs[0]._replace(mask=pairs[1].mask)], predict=as_it_is, progress=False)
    with pytest.raises(ValueError, match="set it there"):
        evaluate(MODEL, pairs, predict=as_it_is, size=256, progress=False)
