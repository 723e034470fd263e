"""The learner's part of the workshop kit: status, minutes, reset and hand-in."""

import json
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest

from birefnet_lite.cli.main import main
from birefnet_lite.course.kit import answers
from birefnet_lite.course.kit.answers import collect_context, hide_names
from birefnet_lite.course.kit.hand_in import read_hand_in
from birefnet_lite.course.kit.notebook_file import NotebookError, find_exercises, read_cells, reset
from birefnet_lite.course.progress import NOTEBOOKS, VARIABLE, record

ROOT = Path(__file__).parent.parent
DECODER = ROOT / "notebooks" / "05_decoder.ipynb"
STUB = 'raise NotImplementedError("your code here")'
ANSWER = "image.sum() if image.ndim else `x`"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A working folder with notebook 05 and an empty progress file; the working directory."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(DECODER, tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "progress.json"))
    return tmp_path


def answered(path, exercise="decode", answer=ANSWER, **style):
    """Write an answer into a notebook as an editor with this style of JSON does; the bytes of the file."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("course", {}).get("exercise") == exercise:
            source = "".join(cell["source"]).replace(STUB, answer)
            cell["source"] = source.splitlines(keepends=True)
            cell["execution_count"] = 7
    style = {"indent": 1, "ensure_ascii": False} | style
    path.write_bytes((json.dumps(notebook, **style) + "\n").encode("utf-8"))
    return path.read_bytes()


def test_the_exercises_of_every_notebook_are_found_and_untouched():
    for stem, (_, names) in NOTEBOOKS.items():
        found = find_exercises(read_cells(ROOT / "notebooks" / f"{stem}.ipynb"))
        assert tuple(found) == names
        assert not any(exercise.is_changed for exercise in found.values())


@pytest.mark.parametrize(
    "style",
    [{}, {"indent": 2}, {"indent": None}, {"ensure_ascii": True, "sort_keys": True}, {"separators": (",", ":")}],
    ids=str,
)
def test_reset_puts_the_stub_back_keeps_the_answer_and_changes_no_other_byte(course, style):
    path = course / "notebooks" / "05_decoder.ipynb"
    before = answered(path, **style)
    assert reset(path, "decode") is True
    after = path.read_bytes()
    old, new = json.loads(before)["cells"], json.loads(after)["cells"]
    at = next(i for i, cell in enumerate(old) if ANSWER in "".join(cell["source"]))
    assert new[:at] == old[:at]
    assert new[at + 2 :] == old[at + 1 :]
    assert "".join(new[at]["source"]) == old[at]["metadata"]["course"]["stub"]
    assert new[at]["execution_count"] is None
    assert new[at + 1]["cell_type"] == "markdown"
    assert f"```python\n{''.join(old[at]['source'])}\n```" in "".join(new[at + 1]["source"])
    # Every byte in front of the cell and behind it is where it was.
    same = next(i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)
    rest = before[before.index(b"loop_checked") :]
    assert after.endswith(rest)
    assert same > before.index(b"run_stage")
    nbformat.validate(nbformat.read(path, as_version=4))
    assert reset(path, "decode") is False
    assert path.read_bytes() == after


def test_reset_keeps_the_line_ends_of_windows_and_a_mark_at_the_start(course):
    path = course / "notebooks" / "05_decoder.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + answered(path).replace(b"\n", b"\r\n"))
    assert reset(path, "decode") is True
    assert b"\n" not in path.read_bytes().replace(b"\r\n", b"")


def test_the_command_resets_below_the_working_folder_and_says_what_it_did(course, capsys):
    answered(course / "notebooks" / "05_decoder.ipynb")
    assert main(["course", "reset", "05", "decode"]) == 0
    assert "your answer is in the cell below" in capsys.readouterr().err
    for arguments, said in (
        (["05", "dekode"], "it has reconstruct, weigh, run_stage, decode"),
        (["55", "decode"], "no notebook '55'"),
        (["06", "image_to_tiles"], "there is no 06_refinement.ipynb below"),
        (["05", "decode", "--notebook", str(course / "no.ipynb")], "no.ipynb: No such file"),
    ):
        assert main(["course", "reset", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"cells": [1]}', b'{"cells": [{"a": ', b"\xff\xfe", b'{"cells": ' + b"[" * 100_000],
    ids=range(7),
)
def test_a_damaged_notebook_gives_one_line_and_stays(tmp_path, content):
    path = tmp_path / "05_decoder.ipynb"
    path.write_bytes(content)
    with pytest.raises(NotebookError, match=r"05_decoder\.ipynb"):
        reset(path, "decode")
    assert path.read_bytes() == content


def test_without_the_stub_reset_says_what_to_do_and_a_deleted_cell_too(course):
    path = course / "notebooks" / "05_decoder.ipynb"
    answered(path)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("course", None)
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(NotebookError, match="fresh copy"):
        reset(path, "decode")
    assert path.read_bytes() == before
    assert find_exercises(read_cells(path))["decode"].is_changed  # a hand-in finds the answer all the same
    notebook.cells = [cell for cell in notebook.cells if "def decode" not in cell.source]
    nbformat.write(notebook, path)
    with pytest.raises(NotebookError, match="deleted"):
        reset(path, "decode")


def test_minutes_and_status_show_what_the_checks_noted(course, capsys):
    assert main(["course", "minutes"]) == 0
    assert "No check has run yet" in capsys.readouterr().out
    content = {"solved": True, "tries": 2, "seconds": 754.0, "mistakes": []}
    file = {"format": "birefnet_lite course progress, version 1", "exercises": {"decode": content}}
    (course / "progress.json").write_text(json.dumps(file))
    assert main(["course", "minutes"]) == 0
    assert "05 decode  ✓       13      2" in capsys.readouterr().out
    assert main(["course", "status"]) == 0
    assert "1 / " in capsys.readouterr().out
    (course / "progress.json").write_text("{")
    assert main(["course", "minutes"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_hand_in_holds_answers_and_progress_and_names_nobody(course, capsys, monkeypatch):
    monkeypatch.setattr(answers.getpass, "getuser", lambda: "annabella")
    monkeypatch.setattr(answers.socket, "gethostname", lambda: "annas-laptop.example.org")
    path = course / "notebooks" / "05_decoder.ipynb"
    answered(path, answer="return image  # annabella: see /home/annabella/notes.txt, on annas-laptop")
    record("decode", False, "The order is wrong.")
    record("decode", False, "Your code raises OSError: /home/annabella/x is not there")
    assert main(["course", "hand-in", "--name", "Kolibri 7"]) == 1  # the other notebooks are not here
    shown = capsys.readouterr()
    assert "05 decode" in shown.out
    assert "02_backbone: there is no 02_backbone.ipynb" in shown.err
    archive = zipfile.ZipFile(course / "Kolibri 7.zip")
    assert sorted(archive.namelist()) == ["answers/05_decode.py", "context/05_decode.py", "hand-in.json"]
    everything = "".join(archive.read(name).decode() for name in archive.namelist())
    for personal in ("annabella", "annas-laptop", "/home", str(course), "image/png"):
        assert personal not in everything
    assert "return image  # <name>: see <path>, on <name>" in everything
    assert all(member.date_time == (1980, 1, 1, 0, 0, 0) for member in archive.infolist())
    read = read_hand_in(course / "Kolibri 7.zip")
    assert read.name == "Kolibri 7"
    assert read.entries["decode"].answer == "decode"
    assert read.entries["decode"].trace.tries == 2
    assert read.entries["decode"].trace.mistakes == ("The order is wrong.", "Your code raises OSError.")
    assert read.entries["reconstruct"].source == ""


def test_hand_in_writes_over_an_earlier_one_and_over_nothing_else(course, capsys):
    answered(course / "notebooks" / "05_decoder.ipynb")
    (course / "other.zip").write_bytes(b"something else")
    assert main(["course", "hand-in", "-o", "other.zip"]) == 2
    assert (course / "other.zip").read_bytes() == b"something else"
    for _ in range(2):
        assert main(["course", "hand-in", "-o", "mine.zip"]) == 1
    assert main(["course", "hand-in", "--name", "../up"]) == 2
    assert "is not a name" in capsys.readouterr().err
    shutil.rmtree(course / "notebooks")
    assert main(["course", "hand-in", "-o", "none.zip"]) == 2
    assert not (course / "none.zip").exists()


def test_the_context_is_what_an_answer_needs_and_no_more():
    cells = read_cells(ROOT / "notebooks" / "solutions" / "04_lateral_blocks.ipynb")
    context = collect_context(cells, find_exercises(cells)["lateral_apart"])
    assert "import torch" in context
    assert "def enlarge" in context
    assert "project = with_conv2d" in context  # the package's part, whether or not the learner's check has passed
    assert "load_photo" not in context
    names = {}
    exec(context, names)
    assert callable(names["project"])


@pytest.mark.parametrize(
    ("source", "hidden"),
    [
        ('x = "/home/me/photo.png"', 'x = "<path>"'),
        ("x = 1 / anna / 3  # anna, and/or Hannah", "x = 1 / anna / 3  # <name>, and/or Hannah"),
        ('"ü"; y = r"C:\\Users\\anna"  # ANNA', '"ü"; y = r"<path>"  # <name>'),
        ('u = "https://arxiv.org/abs/2401.03407"', 'u = "https://arxiv.org/abs/2401.03407"'),
        ("def f(:  # anna ~/x", "def f(:  # <name> <path>"),
        ("%cd ~/anna/work\nx = 1", "%cd <path>\nx = 1"),
    ],
)
def test_names_and_paths_are_hidden_in_texts_and_not_in_code(source, hidden):
    assert hide_names(source, ["anna"]) == hidden
