"""People's own files and habits: nothing is lost, one failure stays one failure, every message is one line."""

import io
import os
import sys
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from command_case import list_names, save_photo
from PIL import Image, PngImagePlugin
from torch import nn

from birefnet_lite.__main__ import main
from birefnet_lite.checkpoints import load
from birefnet_lite.inference.images import read_mask, read_photo
from birefnet_lite.inference.listing import list_photos
from birefnet_lite.inference.marks import MASK, is_own_output, read_mark
from birefnet_lite.inference.predict import evaluating, segment
from birefnet_lite.output import check_target

torch.set_num_threads(1)


@pytest.fixture
def run(checkpoint, tmp_path, monkeypatch, capsys):
    """Runs a command on the CPU in an empty folder: (status, lines on stderr, text on stdout)."""
    monkeypatch.chdir(tmp_path)
    model = load(checkpoint, "cpu")
    monkeypatch.setattr("birefnet_lite.checkpoints.load", lambda *_, **__: model)

    def run(command, *arguments):
        wanted = ["--model", checkpoint] if command == "segment" else []
        status = main([command, *map(str, [*arguments, *wanted]), "--device", "cpu"])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return status, output.err.splitlines(), output.out

    return run


def save_mask(path, height=20, width=30):
    mask = np.zeros((height, width), np.uint8)
    mask[5:15, 8:20] = 255
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return Path(path)


# --- files lost -------------------------------------------------------------------------------------------------------


def test_an_unrelated_file_in_the_output_folder_is_kept(run):
    save_photo("ph/cat.jpg")
    other = save_photo("ph/cat.png", seed=1)
    before = other.read_bytes()
    status, lines, _ = run("segment", "ph/cat.jpg", "-o", "ph")
    assert status == 0
    assert other.read_bytes() == before
    assert list_names("ph") == ["cat-2.png", "cat.jpg", "cat.png"]
    assert f"note: {Path('ph/cat.jpg')} becomes cat-2.png, as {Path('ph/cat.png')} is there" in lines[0]


def test_the_same_command_three_times_in_one_folder_gives_one_mask(run):
    save_photo("ph/cat.jpg")
    masks = []
    for _ in range(3):
        status, _, _ = run("segment", "ph", "-o", "ph", "--cutout")
        assert status == 0
        assert list_names("ph") == ["cat.cutout.png", "cat.jpg", "cat.png"]
        masks.append(Path("ph/cat.png").read_bytes())
    assert masks[0] == masks[1] == masks[2]


def test_outputs_are_marked_and_taken_for_no_photos(run):
    save_photo("ph/cat.jpg")
    run("segment", "ph", "-o", "out", "--webp")
    assert list_names("out") == ["cat.cutout.webp", "cat.png"]
    assert read_mark("out/cat.png").kind == MASK
    assert is_own_output("out/cat.cutout.webp")
    assert not is_own_output("ph/cat.jpg")
    assert list_photos(Path("out")).photos == []
    status, lines, _ = run("segment", "out", "-o", "again")
    assert status == 2
    assert "the folder holds no photos" in lines[0]
    status, lines, _ = run("segment", "out/cat.png", "-o", "again")
    assert status == 2
    assert "it is an output of this program" in lines[0]


def test_an_output_of_another_photo_is_kept(run):
    save_photo("x/cat.png", seed=1)
    save_photo("y/cat.png", seed=2)
    run("segment", "x/cat.png", "-o", "out")
    before = Path("out/cat.png").read_bytes()
    for _ in range(2):
        run("segment", "y/cat.png", "-o", "out")
        assert list_names("out") == ["cat-2.png", "cat.png"]
        assert Path("out/cat.png").read_bytes() == before


def test_an_output_follows_its_photo_when_that_is_edited_or_moved(run):
    save_photo("x/cat.png", seed=1)
    run("segment", "x", "-o", "out")
    save_photo("x/cat.png", 22, seed=2)  # edited
    run("segment", "x", "-o", "out")
    Path("x").rename("y")  # moved
    run("segment", "y", "-o", "out")
    assert list_names("out") == ["cat.png"]
    assert Image.open("out/cat.png").height == 22


def test_a_link_to_a_photo_is_not_written_through(run):
    photo = save_photo("ph/cat.jpg")
    Path("out").mkdir()
    Path("out/cat.png").symlink_to(photo.resolve())
    before = photo.read_bytes()
    status, lines, _ = run("segment", "ph", "-o", "out")
    assert photo.read_bytes() == before
    assert status == 2
    assert "would write over the photo" in lines[0]


def test_a_soft_mask_comes_back_as_it_was_written(run):
    photo = save_photo("ph/cat.jpg")
    run("segment", photo, "-o", "out")
    written = np.asarray(Image.open("out/cat.png")) / np.float32(255)
    np.testing.assert_array_equal(read_mask("out/cat.png"), written)


@pytest.fixture
def data(tmp_path):
    for name in ("a", "b"):
        save_photo(tmp_path / f"D/im/{name}.png")
        save_mask(tmp_path / f"D/gt/{name}.png")
    (tmp_path / "p.csv").write_text("image,mask\nD/im/a.png,D/gt/a.png\n")
    return tmp_path / "D"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p.csv", "--csv", "p.csv"], "p.csv would be written over p.csv, which is an input"),
        (["p.csv", "--csv", "D/../p.csv"], "which is an input"),
        (["D", "--worst", "D/gt/a.png"], "which is an input"),
        (["D", "--worst", "tiny.png"], "tiny.png would be written over tiny.png"),
        (["D", "--worst", "sheet"], "must end in .png"),
        (["D", "--csv", "notes.csv"], "a file that this command did not write"),
        (["D", "--worst", "photo.png"], "a file that this command did not write"),
        (["D", "--csv", "notes.csv/scores.csv"], ""),
        (["D", "--csv", "D"], "folder"),
        (["D", "--csv", "x" * 300 + ".csv"], "name too long"),
    ],
)
def test_evaluate_writes_over_nothing_and_says_so_before_scoring(run, data, monkeypatch, arguments, words):
    def never(*_, **__):
        raise AssertionError("scored all the same")

    monkeypatch.setattr("birefnet_lite.cli.evaluate.evaluate", never)
    Path("notes.csv").write_text("my notes")
    save_photo("photo.png")
    save_photo("tiny.png")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    status, lines, _ = run("evaluate", "tiny.png", *arguments)
    assert status == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_evaluate_may_replace_its_own_tables(run, data):
    for _ in range(2):
        status, lines, _ = run("evaluate", "m", "D", "--csv", "new/scores.csv", "--worst", "new/worst.png")
        assert status == 0, lines
    assert list_names("new") == ["scores.csv", "worst.png"]


# --- everything stops for one -----------------------------------------------------------------------------------------


def test_names_that_no_file_can_have_get_a_line_each(run):
    save_photo("good.jpg")
    Path("loop.jpg").symlink_to("loop.jpg")
    Path("broken.jpg").symlink_to("nowhere.jpg")
    status, lines, _ = run("segment", "x" * 300 + ".jpg", "good.jpg", "loop.jpg", "broken.jpg", "a\0b", "-o", "out")
    assert status == 1
    assert list_names("out") == ["good.png"]
    *problems, summary = lines
    assert len(problems) == 4
    assert "name too long" in problems[0]
    assert "symbolic links" in problems[1]
    assert "no such file" in problems[2]
    assert "null" in problems[3]
    assert summary.endswith("masks of 1 of 5 photos written to out")


def test_a_folder_that_may_not_be_read_gets_a_line(run, monkeypatch):
    save_photo("good.jpg")
    save_photo("closed/a.jpg")
    listdir = os.listdir

    def refuse(path="."):
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    status, lines, _ = run("segment", "closed", "good.jpg", "-o", "out")
    assert status == 1
    assert lines[0] == "birefnet_lite: closed: Permission denied"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "x/y"), UnicodeEncodeError("a", "b", 0, 1, "c")]
)
def test_what_nobody_thought_of_is_one_line(monkeypatch, capsys, error):
    def fail(_):
        raise error

    monkeypatch.setattr("birefnet_lite.cli.info.run", fail)
    assert main(["info"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "utf-16", "cp437"])
@pytest.mark.parametrize(
    "command", [["doctor"], ["info", "--model", "nano"], ["segment", "\u2713 \udcff.jpg", "-o", "out"]]
)
def test_every_command_prints_on_any_terminal(monkeypatch, tmp_path, encoding, command):
    from birefnet_lite.cli import doctor

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.Check("Größe", lambda: "\u2713 \u00d7", ""),))
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    status = main(command)
    for stream in streams:
        stream.flush()
    assert status == (2 if command[0] == "segment" else 0)
    assert any(stream.buffer.getvalue() for stream in streams)


def test_signs_of_doctor_are_letters_where_the_terminal_lacks_them(monkeypatch):
    from birefnet_lite.cli import doctor

    def fail():
        raise doctor.Trouble("no")

    monkeypatch.setattr(doctor, "CHECKS", (doctor.Check("good", lambda: "yes", ""), doctor.Check("bad", fail, "")))
    stream = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["doctor"]) == 1
    stream.flush()
    good, bad, summary = stream.buffer.getvalue().decode("cp1252").splitlines()
    assert good.startswith("ok ")
    assert bad.startswith("!! ")
    assert "each !! says" in summary


def test_one_bound_on_pixels_for_photos_and_masks(tmp_path, monkeypatch):
    from birefnet_lite.inference import images

    path = save_mask(tmp_path / "large.png", 100, 120)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_photo(path).size == read_mask(path).shape == (100, 120)
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    for read in (read_photo, read_mask):
        with pytest.raises(ValueError, match="100 x 120 pixels, more than"):
            read(path)


def damaged_metadata(folder):
    """PNG files whose pixels are sound."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 2**21, zip=True)
    save_photo(folder / "ztxt.png", pnginfo=text)
    save_photo(folder / "icc.png", icc_profile=bytes(2**21))
    save_photo(folder / "exif.png", exif=b"Exif\0\0this is no EXIF")
    save_photo(folder / "exif.webp", exif=b"Exif\0\0this is no EXIF", lossless=True)
    plain = save_photo(folder / "crc.png", pnginfo=_text("Comment", "hello")).read_bytes()
    (folder / "crc.png").write_bytes(plain.replace(b"hello", b"jello"))
    return sorted(folder.iterdir())


def _text(key, value):
    info = PngImagePlugin.PngInfo()
    info.add_text(key, value)
    return info


def test_metadata_that_cannot_be_read_are_left_out_with_a_note(tmp_path):
    expected = np.asarray(Image.open(save_photo(tmp_path / "plain.png")))
    folder = tmp_path / "damaged"
    for path in damaged_metadata(folder):
        with pytest.warns(UserWarning, match=f"{path.name}: .*left out"):
            photo = read_photo(path)
        np.testing.assert_array_equal(photo.pixels, expected)
        assert photo.profile == (bytes(2**21) if path.name == "icc.png" else None)


def test_segment_reads_the_cut_outs_that_it_writes(run, recwarn):
    save_photo("ph/a.jpg", icc_profile=np.random.default_rng(0).bytes(2**21))
    status, _, _ = run("segment", "ph", "-o", "out", "--cutout")
    assert status == 0
    assert len(read_photo("out/a.cutout.png").profile) == 2**21


def test_one_mismatched_pair_is_left_out_of_the_scores(run, data):
    save_mask("D/gt/a.png", 21, 30)
    status, lines, out = run("evaluate", "m", "D")
    assert status == 1
    assert len(lines) == 1
    assert "30x21 pixels but" in lines[0]
    assert "all       1" in out


def test_an_image_that_is_cut_off_is_left_out_of_the_scores(run, data):
    path = Path("D/im/b.png")
    path.write_bytes(path.read_bytes()[:-300])
    status, lines, out = run("evaluate", "m", "D")
    assert status == 1
    assert "b is left out: D/im/b.png is damaged or cut off" in lines[0]
    assert "all       1" in out


def test_images_of_one_name_are_told_apart(run, tmp_path):
    for folder in ("x", "y"):
        save_photo(f"{folder}/im.png")
        save_mask(f"{folder}/gt.png")
    Path("p.csv").write_text("image,mask\nx/im.png,x/gt.png\ny/im.png,y/gt.png\n")
    run("evaluate", "m", "p.csv", "--csv", "scores.csv")
    assert [line.split(",")[0] for line in Path("scores.csv").read_text().splitlines()[1:]] == ["x/im.png", "y/im.png"]


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_that_windows_keeps_are_changed(run):
    for name in ("aux.png", "CON.jpg", "com1.v2.jpg", "lpt.jpg"):
        save_photo(f"in/{name}")
    status, lines, _ = run("segment", "in", "-o", "out")
    assert status == 0
    assert list_names("out") == ["_CON.png", "_aux.png", "_com1.v2.png", "lpt.png"]
    assert sum("Windows keeps its name" in line for line in lines) == 3


def test_names_that_some_systems_take_for_one_get_numbers(run):
    composed, decomposed = (unicodedata.normalize(form, "M\u00fcller") for form in ("NFC", "NFD"))
    for name in (composed, decomposed, "Cat", "cat"):
        save_photo(f"in/{name}.jpg")
    status, _, _ = run("segment", "in", "-o", "out")
    assert status == 0
    keys = {unicodedata.normalize("NFC", name).casefold() for name in list_names("out")}
    assert len(keys) == len(list_names("out")) == 4


def test_long_names_are_shortened_to_fit(run):
    save_photo("in/" + "\u00e4" * 125 + ".jpg")
    save_photo("in/" + "\u00e4" * 124 + "b.jpg", seed=1)
    status, lines, _ = run("segment", "in", "-o", "out", "--cutout")
    assert status == 0, lines
    assert len(list_names("out")) == 4
    assert all(len(os.fsencode(name)) <= 255 for name in list_names("out"))


# --- again and in parts -----------------------------------------------------------------------------------------------


def test_skip_existing_does_the_rest_and_counts_all(run, monkeypatch):
    photos = [save_photo(f"in/{i}.jpg", seed=i) for i in range(4)]
    run("segment", *photos[:2], "-o", "out")
    Path("out/1.png").write_bytes(Path("out/1.png").read_bytes())
    seen = []

    def note(model, photo, size):
        seen.append(photo)
        return segment(model, photo, size)

    monkeypatch.setattr("birefnet_lite.cli.segment.segment", note)
    status, lines, _ = run("segment", "in", "-o", "out", "--skip-existing")
    assert status == 0
    assert len(seen) == 2
    assert lines[-1].endswith("masks of 4 of 4 photos written to out; 2 of them were there already")
    save_photo("in/0.jpg", 25)  # edited: its mask is that of another picture
    run("segment", "in", "-o", "out", "--skip-existing")
    assert len(seen) == 3
    run("segment", "in", "-o", "out", "--skip-existing", "--cutout")
    assert len(seen) == 7


def test_batches_give_the_masks_of_single_photos(run):
    for i in range(5):
        save_photo(f"in/{i}.jpg", 20 + i, 30, seed=i)
    Path("in/bad.jpg").write_text("no photo")
    run("segment", "in", "-o", "one")
    status, lines, _ = run("segment", "in", "-o", "three", "--batch", "3")
    assert status == 1
    assert len(lines) == 2
    for name in list_names("one"):
        one, three = (np.asarray(Image.open(f"{folder}/{name}"), int) for folder in ("one", "three"))
        assert np.abs(one - three).max() <= 1


# --- precision and threads --------------------------------------------------------------------------------------------


class Dropping(nn.Module):
    """A network that gives another mask, and counts, in training mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, momentum=0.5)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Conv2d(3, 1, 1)

    def forward(self, image):
        return self.head(self.drop(self.norm(image)))


def test_segment_from_threads_gives_equal_masks_and_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = Dropping().train()
    model.drop.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = segment(model, photo, 64)
    results, barrier = [], threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(20):
            results.append(segment(model, photo, 64))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
    assert all(np.array_equal(result, expected) for result in results)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert model.norm.training
    assert not model.drop.training


def test_parts_and_the_whole_are_evaluated_in_any_order():
    model = Dropping().train()
    whole, part = evaluating(model), evaluating(model.norm)
    whole.__enter__()
    part.__enter__()
    whole.__exit__(None, None, None)
    assert model.training
    assert not model.norm.training
    part.__exit__(None, None, None)
    assert model.norm.training


# --- output -----------------------------------------------------------------------------------------------------------


def test_a_trial_leaves_nothing_behind(tmp_path):
    check_target(tmp_path / "a/b/c.txt")
    assert list_names(tmp_path) == []
    (tmp_path / "file").write_text("x")
    check_target(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"
    with pytest.raises(OSError, match="file"):
        check_target(tmp_path / "file/below.txt")
    os.link(tmp_path / "file", tmp_path / "second")
    with pytest.raises(ValueError, match="which is an input"):
        check_target(tmp_path / "second", [tmp_path / "file"])
