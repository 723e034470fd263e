"""The progress file and the dashboard: what is noted, what never breaks, and which exercises there are."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from birefnet_lite.course import checks, dashboard, progress
from birefnet_lite.course.progress import NOTEBOOKS, VARIABLE, progress_file, record
from birefnet_lite.network.encoder import fuse_context
from editions import read_source

SOURCES = sorted((Path(__file__).parent.parent / "notebooks" / "source").glob("*.py"))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A progress file of this test's own, in a folder that does not exist yet."""
    path = tmp_path / "some folder" / "progress.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def solved(path):
    return {
        name: (entry["solved"], entry["tries"]) for name, entry in json.loads(path.read_text())["exercises"].items()
    }


def unsolved(features):
    raise NotImplementedError


def test_checks_note_tries_and_success_and_say_what_they_said_before(kept, monkeypatch):
    assert checks.fuse_context(unsolved).passed is None
    assert solved(kept) == {"fuse_context": (False, 0)}
    for _ in range(2):
        wrong = checks.fuse_context(lambda features: features[3])
    assert solved(kept) == {"fuse_context": (False, 2)}
    right = checks.fuse_context(lambda features: fuse_context(features, 3))
    assert solved(kept) == {"fuse_context": (True, 3)}
    checks.fuse_context(lambda features: features[3])
    assert solved(kept) == {"fuse_context": (True, 3)}  # what is solved stays solved
    monkeypatch.setenv(VARIABLE, "off")
    assert wrong == checks.fuse_context(lambda features: features[3])
    assert right == checks.fuse_context(lambda features: fuse_context(features, 3))
    assert [path.name for path in kept.parent.iterdir()] == ["progress.json"]


def entry(path, name):
    return json.loads(path.read_text())["exercises"][name]


def test_the_time_between_checks_is_added_and_breaks_are_not(kept, monkeypatch):
    now = 1_000_000.0
    monkeypatch.setattr(progress.time, "time", lambda: now)
    for seconds, name, passed in (
        (0, "wire", None),
        (300, "wire", False),
        (progress.BREAK + 1, "wire", False),
        (60, "wire", True),
        (120, "wire", True),  # solved before
        (30, "fuse_scales", True),
        (-500, "fuse_context", True),  # the clock was set back
    ):
        now += seconds
        record(name, passed)
    assert [entry(kept, name)["seconds"] for name in ("wire", "fuse_scales", "fuse_context")] == [360, 30, 0]


def test_the_latest_mistakes_are_noted_once_and_without_what_an_error_says(kept):
    for i in (1, 2, 3, 1, 4, 5, 6):
        record("wire", False, f"Mistake {i}.\nThe line is `secret`.")
    assert entry(kept, "wire")["mistakes"] == [f"Mistake {i}." for i in (3, 1, 4, 5, 6)]
    record("wire", False, "Your code raises OSError: /home/somebody/photo.png is not there")
    record("wire", False, "word " * 100)
    *_, error, long = entry(kept, "wire")["mistakes"]
    assert error == "Your code raises OSError."
    assert len(long) <= 200


def test_a_file_of_an_earlier_version_is_read(kept):
    kept.parent.mkdir()
    exercises = {"wire": {"solved": True, "tries": 3}}
    kept.write_text(json.dumps({"format": "birefnet_lite course progress, version 1", "exercises": exercises}))
    record("fuse_scales", True)
    assert solved(kept) == {"wire": (True, 3), "fuse_scales": (True, 1)}


def test_a_check_keeps_its_name_and_its_words():
    assert checks.fuse_context.__name__ == "fuse_context"
    assert "x4" in checks.fuse_context.__doc__


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"null",
        b'{"format": "another program"}',
        b'{"format": "birefnet_lite course progress, version 1"}',
        b'{"format": "birefnet_lite course progress, version 1", "exercises": []}',
        b'{"format": "birefnet_lite course progress, version 1", "exercises": {"wire": {"solved": 1, "tries": "x"}}}',
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_a_damaged_or_foreign_file_breaks_nothing_and_stays_as_it_is(kept, content):
    kept.parent.mkdir()
    kept.write_bytes(content)
    assert checks.fuse_context(lambda features: fuse_context(features, 3)).passed is True
    shown = dashboard()
    assert "Move it away" in repr(shown)
    assert str(kept) in shown._repr_html_()
    assert kept.read_bytes() == content


def test_a_folder_in_its_place_or_a_device_is_left_alone(kept, monkeypatch):
    kept.mkdir(parents=True)
    record("wire", True)
    assert "Move it away" in repr(dashboard())
    assert list(kept.iterdir()) == []
    before = os.stat(os.devnull).st_mode
    monkeypatch.setenv(VARIABLE, os.devnull)
    record("wire", True)
    assert os.stat(os.devnull).st_mode == before


def test_a_write_that_fails_leaves_the_old_file(kept, monkeypatch):
    record("wire", False)
    before = kept.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress.os, "replace", full)
    record("wire", True)
    assert kept.read_bytes() == before
    assert [path.name for path in kept.parent.iterdir()] == ["progress.json"]


def test_a_parent_that_is_a_file_and_a_user_without_a_home_break_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "progress.json"))
    record("wire", True)
    dashboard()

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in (VARIABLE, "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress.Path, "home", homeless)
    record("wire", True)
    assert "works without" in repr(dashboard())


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {}, "home/.local/share/birefnet_lite/progress.json"),
        ("linux", {"XDG_DATA_HOME": "data"}, "data/birefnet_lite/progress.json"),
        ("darwin", {}, "home/Library/Application Support/birefnet_lite/progress.json"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/birefnet_lite/progress.json"),
        ("win32", {}, "home/AppData/Local/birefnet_lite/progress.json"),
        ("linux", {VARIABLE: "mine.json"}, "mine.json"),
        ("linux", {VARIABLE: "Off"}, None),
    ],
)
def test_the_file_lies_where_the_platform_keeps_such_files(platform, variables, wanted, monkeypatch):
    for name in (VARIABLE, "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress.sys, "platform", platform)
    monkeypatch.setattr(progress.Path, "home", lambda: Path("home"))
    assert progress_file() == (None if wanted is None else Path(wanted))


def test_what_runs_among_the_solutions_leaves_no_trace(kept, tmp_path, monkeypatch):
    folder = tmp_path / "solutions"
    folder.mkdir()
    monkeypatch.chdir(folder)
    record("wire", True)
    assert not kept.exists()


def test_the_dashboard_counts_and_says_what_is_next(kept):
    assert repr(dashboard()).startswith("0 / ")
    assert "Next: encoder_shapes in notebook 01, the skeleton." in repr(dashboard())
    record("encoder_shapes", True)
    record("wire", False)
    record("wire", False)
    text, page = repr(dashboard()), dashboard()._repr_html_()
    for shown in (text, page):
        assert "01 · the skeleton" in shown
        assert "1 / 2" in shown
        assert "✓ encoder_shapes  ✗ wire" in shown
        assert "Next: wire in notebook 01, the skeleton. You have tried it 2 times." in shown
        assert str(kept) in shown
    assert "href='01_skeleton.ipynb'" in page
    assert "color" not in page  # the page's own colours, light or dark
    for _, names in NOTEBOOKS.values():
        for name in names:
            record(name, True)
    assert "Every exercise is solved." in repr(dashboard())


def test_without_a_file_the_dashboard_is_the_same_everywhere(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "off")
    first = dashboard()._repr_html_()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dashboard()._repr_html_() == first
    assert str(Path.home()) not in first


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_list_of_exercises_is_what_the_notebook_has(source):
    code = [cell for cell in read_source(source).cells if cell.cell_type == "code"]
    found = []
    for cell, after in pairwise(code):
        if "exercise" in cell.metadata.get("tags", []):
            found += re.findall(r"checks\.(\w+)\(", after.source)
    assert list(NOTEBOOKS[source.stem][1]) == found, f"NOTEBOOKS in course/progress.py should name {found}"
    assert all(callable(getattr(checks, name)) for name in found)


def test_a_notebook_that_is_built_leaves_no_trace(tmp_path, monkeypatch):
    from build import main

    kept = tmp_path / "progress.json"
    monkeypatch.setenv(VARIABLE, str(kept))
    folder = tmp_path / "notebooks" / "source"
    folder.mkdir(parents=True)
    check = "# %%\nfrom birefnet_lite.course.progress import record\n\nrecord('wire', True)\nprint('done')\n"
    (folder / "00_first.py").write_text(f"# %% [markdown]\n# # 00 · First\n\n{check}")
    assert main(["--folder", str(tmp_path / "notebooks")]) == 0
    assert "done" in (tmp_path / "notebooks" / "00_first.ipynb").read_text()
    assert not kept.exists()


def test_many_kernels_at_once_leave_a_whole_file(kept):
    code = (
        "import sys\nfrom birefnet_lite.course.progress import record\nfor _ in range(40): record(sys.argv[1], False)"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("wire", "fuse_context")]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    assert set(solved(kept)) <= {"wire", "fuse_context"}
    assert [path.name for path in kept.parent.iterdir()] == ["progress.json"]
