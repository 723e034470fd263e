"""The command line as a person meets it: files in, files out, one line for each mistake."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_case import list_names, save_photo
from PIL import Image

from birefnet_lite.__main__ import main
from birefnet_lite.checkpoints import load
from birefnet_lite.inference.predict import cut_out, segment
from birefnet_lite.synthetic import held_out_scenes

torch.set_num_threads(1)


@pytest.fixture
def run(checkpoint, tmp_path, monkeypatch, capsys):
    """Runs `segment` on the CPU in an empty folder: (status, lines on stderr)."""
    monkeypatch.chdir(tmp_path)
    model = load(checkpoint, "cpu")
    monkeypatch.setattr("birefnet_lite.checkpoints.load", lambda *_, **__: model)

    def run(*arguments):
        status = main(["segment", *map(str, arguments), "--model", str(checkpoint), "--device", "cpu"])
        output = capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        return status, output.err.splitlines()

    run.model = model
    return run


# --- segment ---------------------------------------------------------------------------------------------------------


def test_masks_and_cut_outs_are_those_of_predict(run):
    photo = save_photo("photo.png", 33, 21)
    status, lines = run(photo, "-o", "new/out", "--cutout", "--size", "64x32")
    assert status == 0
    assert lines == [f"birefnet_lite: masks and cut-outs of 1 of 1 photos written to {Path('new/out')}"]
    assert list_names("new/out") == ["photo.cutout.png", "photo.png"]
    expected = segment(run.model, photo, (64, 32))
    mask = Image.open("new/out/photo.png")
    assert mask.mode == "L"
    np.testing.assert_array_equal(np.asarray(mask), np.rint(expected * 255))
    result = Image.open("new/out/photo.cutout.png")
    np.testing.assert_array_equal(np.asarray(result), np.asarray(cut_out(photo, expected)))


def test_folders_patterns_and_files_each_photo_once(run):
    for name in ("in/b.PNG", "in/a.jpg", "in/.hidden.png", "other/c.png", "other/[d].png"):
        save_photo(name)
    Path("in/notes.txt").write_text("not a photo")
    Path("in/folder.png").mkdir()
    status, _ = run("in", "other/*.png", "other/[d].png", "in/a.jpg", "-o", "out")
    assert status == 0
    assert list_names("out") == ["[d].png", "a.png", "b.png", "c.png"]


def test_one_name_from_several_folders(run):
    photos = [
        save_photo("x/cat.png", 10, 10),
        save_photo("y/cat.png", 11, 10),
        save_photo("y/CAT.jpg", 12, 10),
        save_photo("z/cat-2.png", 13, 10),
    ]
    save_photo("z/cat.cutout.png", 14, 10)
    status, lines = run(*photos, "z/cat.cutout.png", "-o", "out", "--cutout")
    assert status == 0
    heights = {name: Image.open(f"out/{name}").height for name in list_names("out")}
    assert heights == {
        "cat.png": 10,
        "cat.cutout.png": 10,
        "cat-2.png": 11,
        "cat-2.cutout.png": 11,
        "CAT-3.png": 12,
        "CAT-3.cutout.png": 12,
        "cat-2-2.png": 13,
        "cat-2-2.cutout.png": 13,
        "cat.cutout-2.png": 14,
        "cat.cutout-2.cutout.png": 14,
    }
    assert f"birefnet_lite: note: {Path('y/cat.png')} becomes cat-2.png, as its name was taken" in lines


def test_a_photo_is_never_written_over(run):
    png, jpg = save_photo("in/one.png"), save_photo("in/two.jpg")
    before = png.read_bytes()
    status, lines = run("in", "-o", "in")
    assert status == 1
    assert any("one.png" in line and "write over" in line for line in lines)
    assert png.read_bytes() == before
    assert list_names("in") == ["one.png", "two.jpg", "two.png"]
    assert jpg.exists()


def test_bad_photos_get_a_line_each_and_the_others_are_done(run):
    good = save_photo("in/good.png")
    Path("in/cut.png").write_bytes(good.read_bytes()[:700])
    Path("in/empty.jpg").touch()
    Path("in/text.jpg").write_text("hello")
    Path("in/phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Path("nothing").mkdir()
    status, lines = run("in", "nothing", "missing.jpg", "x*.jpg", "-o", "out")
    assert status == 1
    assert list_names("out") == ["good.png"]
    *problems, summary = lines
    assert len(problems) == 7, lines
    for name, words in [
        ("cut.png", "cut off"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "not an image"),
        ("phone.heic", "JPEG or PNG"),
        ("nothing", "no photos"),
        ("missing.jpg", "no such file"),
        ("x*.jpg", "no file fits"),
    ]:
        assert sum(name in line and words in line for line in problems) == 1
    assert summary.endswith("masks of 1 of 8 photos written to out")


def test_nothing_done_is_status_two(run):
    Path("empty").mkdir()
    status, lines = run("empty", "-o", "out")
    assert status == 2
    assert lines[-1].endswith("there is no photo to segment")
    Path("bad.jpg").touch()
    assert run("bad.jpg", "-o", "out")[0] == 2
    assert list_names("out") == []


def test_output_that_cannot_be_written(run):
    photo = save_photo("photo.jpg")
    status, lines = run(photo, "-o", photo)
    assert status == 2
    assert len(lines) == 1
    assert "cannot be used as the output folder" in lines[0]
    Path("out/photo.png").mkdir(parents=True)  # a file cannot take its place
    status, lines = run(photo, "-o", "out")
    assert status == 0
    assert "photo.jpg becomes photo-2.png" in lines[0]
    assert list_names("out") == ["photo-2.png", "photo.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write and read everywhere")
def test_folder_and_photo_without_permission(run):
    photo = save_photo("photo.jpg")
    Path("closed").mkdir(mode=0o555)
    status, lines = run(photo, "-o", "closed")
    assert status == 2
    assert "Permission denied" in lines[0]
    photo.chmod(0)
    status, lines = run(photo, save_photo("other.jpg"), "-o", "out")
    assert status == 1
    assert "Permission denied" in lines[0]


def test_a_full_disk_leaves_no_half_file(run, monkeypatch):
    photo = save_photo("photo.png")
    run(photo, "-o", "out")
    before = Path("out/photo.png").read_bytes()

    def fail(self, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    status, lines = run(photo, "-o", "out")
    assert status == 2
    assert "No space left on device" in lines[0]
    assert list_names("out") == ["photo.png"]
    assert Path("out/photo.png").read_bytes() == before


def test_out_of_memory_is_one_line(run, monkeypatch):
    photos = [save_photo("one.png"), save_photo("two.png")]
    calls = []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.\nA long story.")
        return segment(*arguments)

    monkeypatch.setattr("birefnet_lite.cli.segment.segment", fail_once)
    status, lines = run(*photos, "-o", "out")
    assert status == 1
    assert "one.png: does not fit into memory" in lines[0]
    assert list_names("out") == ["two.png"]


def test_interruption_ends_politely(run, monkeypatch):
    photos = [save_photo("one.png"), save_photo("two.png", 21)]

    def stop(model, photo, size):
        if photo.size == (21, 30):
            raise KeyboardInterrupt
        return segment(model, photo, size)

    monkeypatch.setattr("birefnet_lite.cli.segment.segment", stop)
    status, lines = run(*photos, "-o", "out")
    assert status == 130
    assert "stopped" in lines[-1]
    assert list_names("out") == ["one.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "lite"], "lite"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "photo.png"], "photo.png cannot be loaded"),
        (["--device", "banana"], "no device 'banana'"),
        (["--device", "meta"], "no device 'meta'"),
        (["--size", "7"], "--size: size is 7"),
        (["--size", "64x9999999"], "at most"),
    ],
)
def test_wrong_options(checkpoint, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    save_photo("photo.png")
    status = main(["segment", "photo.png", "-o", "out", "--device", "cpu", "--model", str(checkpoint), *arguments])
    output = capsys.readouterr()
    assert status == 2
    assert len(output.err.splitlines()) == 1
    assert words in output.err
    assert not Path("out").exists()


def test_default_model_is_the_one_that_ships(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    photo = save_photo(tmp_path / "photo.png")
    assert main(["segment", str(photo), "-o", str(tmp_path / "out")]) == 2
    assert "give --model" in capsys.readouterr().err
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "nano.safetensors").touch()
    asked = []
    monkeypatch.setattr(
        "birefnet_lite.checkpoints.load", lambda name, *_, **__: asked.append(name) or torch.nn.Conv2d(3, 1, 1)
    )
    assert main(["segment", str(photo), "-o", str(tmp_path / "out"), "--size", "32", "--device", "cpu"]) == 0
    assert asked == ["nano"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["segment"],
        ["segment", "a.png"],
        ["segment", "a.png", "-o", "x", "--size", "big"],
        ["info", "--x"],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_notes_of_a_library_are_one_line(run, monkeypatch):
    import warnings

    def warn(*arguments):
        warnings.warn("something\nto know", stacklevel=1)
        return segment(*arguments)

    monkeypatch.setattr("birefnet_lite.cli.segment.segment", warn)
    status, lines = run(save_photo("photo.png"), "-o", "out")
    assert status == 0
    assert lines[0] == "birefnet_lite: note: something to know"


# --- info and evaluate -----------------------------------------------------------------------------------------------


def test_info_counts_what_the_model_has(checkpoint, capsys):
    assert main(["info", "--model", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    assert main(["info", str(checkpoint)]) == 0
    assert capsys.readouterr().out == text
    model = load(checkpoint, "cpu")
    total = sum(p.numel() for p in model.parameters())
    row = next(line for line in text.splitlines() if line.startswith("all "))
    assert row.split()[1] == f"{total:,}"
    assert row.endswith("1 x 32 x 64")
    assert f"{sum(p.numel() for p in model.decoder.stage3.parameters()):,}" in text
    with torch.no_grad():
        x1, *_, x4 = model.encoder(torch.zeros(1, 3, 32, 64))
    encoder = next(line for line in text.splitlines() if line.startswith("encoder "))
    for feature in (x1, x4):
        assert " x ".join(map(str, feature.shape[1:])) in encoder
    assert "aspp_channels = 8" in text


@pytest.mark.parametrize(
    ("name", "parameters"), [("lite", "44,313,720"), ("BiRefNet_HR", "220,176,498"), ("large", "220,176,498")]
)
def test_info_needs_no_weights(name, parameters, capsys):
    assert main(["info", "--model", name]) == 0
    assert parameters in capsys.readouterr().out


def test_info_of_what_is_not_there(capsys):
    assert main(["info", "--model", "no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err


def test_evaluate_prints_scores_and_writes_them(checkpoint, tmp_path, capsys):
    for name in ("a", "b"):
        save_photo(tmp_path / f"im/{name}.jpg", 40, 40)
        mask = np.zeros((40, 40), np.uint8)
        mask[10:30, 10:30] = 255
        (tmp_path / "gt").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / f"gt/{name}.png")
    table = tmp_path / "scores.csv"
    arguments = ["evaluate", str(checkpoint), str(tmp_path), "--device", "cpu"]
    assert main([*arguments, "--csv", str(table)]) == 0
    assert "mae" in capsys.readouterr().out
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["name", "a", "b"]
    (tmp_path / "gt/b.png").unlink()
    assert main(arguments) == 2
    assert "im/b.jpg has no mask" in capsys.readouterr().err
    assert main(["evaluate", str(checkpoint), str(tmp_path / "nowhere")]) == 2
    assert "with im/ and gt/" in capsys.readouterr().err
    (tmp_path / "pairs.csv").write_text("image,mask\nim/a.jpg,gt/a.png\n")
    assert main(["evaluate", str(checkpoint), str(tmp_path / "pairs.csv"), "--device", "cpu"]) == 0
    assert "all       1" in capsys.readouterr().out


def test_evaluate_on_held_out_scenes_shows_the_worst(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("birefnet_lite.cli.evaluate.BATCHES", 2)
    table, sheet = tmp_path / "scores.csv", tmp_path / "worst.png"
    arguments = ["evaluate", str(checkpoint), "held-out", "--device", "cpu", "--size", "64"]
    assert main([*arguments, "--csv", str(table), "--worst", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert {line.split()[0] for line in printed.splitlines() if " on " in line} <= {"gear", "lamp"}
    rows = list(csv.DictReader(table.read_text().splitlines()))
    worst = min(rows, key=lambda row: float(row["s_measure"]))
    # Top left on the sheet is the scene with the lowest score.
    step, i = divmod(int(worst["name"].split()[1]), 8)
    scene = held_out_scenes().batch(8, step).images[i]
    top = np.asarray(Image.open(sheet).convert("RGB"), np.float32)[:192, :192] / 255
    wanted = torch.nn.functional.interpolate(scene[None], size=(192, 192), mode="area")[0].permute(1, 2, 0)
    assert np.abs(top - wanted.numpy()).max() <= 1 / 255
    assert Image.open(sheet).size == (6 * 192, 2 * 3 * 192)


def test_train_hands_its_arguments_on(tmp_path, capsys):
    pytest.importorskip("birefnet_lite.training.training_loop")
    with pytest.raises(SystemExit) as raised:
        main(["train", "--help"])
    assert raised.value.code == 0
    assert "--max-minutes" in capsys.readouterr().out
    assert main(["train", str(tmp_path / "none.toml"), "--fresh", "--output", str(tmp_path)]) == 2
    assert "none.toml" in capsys.readouterr().err


# --- as a process ----------------------------------------------------------------------------------------------------


def python(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300, **options
    )


def test_as_a_program(checkpoint, tmp_path):
    save_photo(tmp_path / "photo.png")
    (tmp_path / "bad.jpg").write_text("hello")
    arguments = ["segment", "photo.png", "bad.jpg", "-o", "out", "--model", str(checkpoint), "--device", "cpu"]
    result = python("-m", "birefnet_lite", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert [line.startswith("birefnet_lite: ") for line in result.stderr.splitlines()] == [True, True]
    assert list_names(tmp_path / "out") == ["photo.png"]


def test_version_and_help_import_nothing_heavy():
    code = """
import sys
from types import ModuleType
package = ModuleType("birefnet_lite")  # the package itself may load what it likes
package.__path__ = [sys.argv.pop()]
sys.modules["birefnet_lite"] = package
from birefnet_lite.__main__ import main
for option in ("--version", "--help"):
    try:
        main([option])
    except SystemExit as end:
        assert end.code == 0
heavy = {"torch", "numpy", "PIL", "timm", "kornia"} & set(sys.modules)
assert not heavy, heavy
"""
    import birefnet_lite

    result = python("-c", code, birefnet_lite.__path__[0])
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("birefnet_lite ")
    assert "segment" in result.stdout
