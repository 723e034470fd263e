"""Collecting hand-ins: the table of a class, its files, and zips that are damaged or hostile."""

import csv
import io
import json
import struct
import zipfile
from html.parser import HTMLParser

import pytest
from class_case import RIGHT, edited, hand_in, write

from birefnet_lite.cli.main import main
from birefnet_lite.course.kit.class_pages import class_page, discussion_page
from birefnet_lite.course.kit.class_tables import class_csv, describe_class, exercises_csv
from birefnet_lite.course.kit.classroom import Classroom, Verdict, read_folder, wrong_answers
from birefnet_lite.course.kit.hand_in import Entry, pack, read_hand_in, write_hand_in
from birefnet_lite.course.progress import NOTEBOOKS, Trace

ALL = sum(len(names) for _, names in NOTEBOOKS.values())
SWAPPED = edited("wire", "(x3, x2, x1, None)):", "(x1, x2, x3, None)):  # Ada was here")


@pytest.fixture
def folder(tmp_path):
    """Three hand-ins, one of them in a folder below."""
    folder = tmp_path / "class"
    write(folder, hand_in("Ada", encoder_shapes=True, wire=SWAPPED))
    write(folder, hand_in("Bo", encoder_shapes=True, wire=True, decode=True))
    write(folder / "late", hand_in("Cy", wire=SWAPPED))
    return folder


def zipped(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def doubled(name, data):
    """A zip with two files of one name, which Python writes with a warning."""
    return zipped((name, data), (f"{name[:-1]}_", data)).replace(f"{name[:-1]}_".encode(), name.encode())


def listing(**changes):
    """The list of a good hand-in, with changes."""
    content = json.loads(write_hand_in(hand_in("Eve", wire=True))["hand-in.json"])
    return json.dumps(content | changes)


def exercise(**changes):
    one = {"solved": True, "tries": 1, "minutes": 1, "mistakes": [], "answer": "wire"}
    return listing(exercises={"wire": one | changes})


def test_a_hand_in_is_read_as_it_was_written(tmp_path):
    one = hand_in("Ada", wire=SWAPPED, decode=True)
    read = read_hand_in(write(tmp_path, one))
    assert read == one


def test_the_table_shows_who_is_where_and_what_holds_people_up(folder, capsys):
    assert main(["course", "collect", str(folder)]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line}
    assert rows["Ada"] == ["1/2", *"·" * 11, f"1/{ALL}", "01", "wire"]
    assert rows["Bo"] == ["2/2", *"···", "1/4", *"·" * 7, f"3/{ALL}", "05", "decode"]
    assert "Most are held up by 01 wire: 2 tried and did not solve it, median 4 tries, 25 minutes." in shown
    assert "3 × The order is wrong." in shown


def test_verdicts_count_more_than_what_a_file_says():
    answers = {"wire": True, "decode": Entry(RIGHT), "fuse_context": SWAPPED}
    classroom = Classroom({"Ada": hand_in("Ada", **answers)})
    names = ("wire", "decode", "fuse_context")
    assert [classroom.state("Ada", name) for name in names] == ["solved", "solved", "tried"]
    classroom.verdicts = {("Ada", "wire"): Verdict(False, "Not so.\nMore."), ("Ada", "fuse_context"): Verdict(True, "")}
    assert [classroom.state("Ada", name) for name in names] == ["tried", "tried", "solved"]
    assert classroom.claims("Ada") == ["wire", "decode"]
    assert "Not so." in classroom.mistakes("Ada", "wire")
    assert "Ada: marked as solved, without a right answer in the file: wire, decode." in describe_class(classroom)


def test_wrong_answers_are_shown_once_and_without_names_or_comments(folder):
    found = wrong_answers(read_folder(folder))
    assert [(one.exercise, one.people) for one in found] == [("wire", 2)]
    page = discussion_page(found)
    assert "2 people" in page
    assert "(x1, x2, x3, None)" in page
    for personal in ("Ada", "Cy", "was here", "def wire(parts, image):\n    &quot;&quot;&quot;"):
        assert personal not in page


def test_files_are_written_and_only_over_earlier_ones(folder, tmp_path, capsys):
    out = tmp_path / "out"
    for _ in range(2):
        assert main(["course", "collect", str(folder), "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["class.csv", "class.html", "discuss.html", "exercises.csv"]
    rows = list(csv.reader(io.StringIO((out / "class.csv").read_text())))
    assert rows[0][1:4] == ["solved", "furthest", "01 encoder_shapes"]
    assert rows[1][:4] == ["Ada", "1", "01 wire", "solved"]
    (out / "class.csv").write_text("mine")
    assert main(["course", "collect", str(folder), "-o", str(out)]) == 2
    assert "was not written by collect" in capsys.readouterr().err
    assert (out / "class.csv").read_text() == "mine"
    assert main(["course", "collect", str(tmp_path / "none")]) == 2
    assert main(["course", "collect", str(out)]) == 2
    assert "there is no hand-in" in capsys.readouterr().err


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_nothing_from_outside_becomes_markup_or_a_formula():
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>' onload='x"
    trace = Trace(False, 3, 60.0, ("=HYPERLINK(1)", "\t=1", "@x", evil))
    entry = Entry(trace, "wire", f"def wire(parts, image):\n    return {evil!r}", "")
    classroom = Classroom({evil: hand_in("x", wire=entry), "=1+1": hand_in("y", wire=entry)})
    classroom.left_out = [evil]
    for page in (class_page(classroom, [evil]), discussion_page(wrong_answers(classroom))):
        tags = Tags(page).tags
        assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "link "}
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    for text in (class_csv(classroom), exercises_csv(classroom)):
        for row in csv.reader(io.StringIO(text)):
            assert not [cell for cell in row if cell.lstrip()[:1] in ("=", "+", "-", "@") and cell]


def bomb():
    return zipped(("hand-in.json", b" " * 60_000_000))


def lying():
    """A zip whose directory says that a large file is small."""
    data = bytearray(zipped(("hand-in.json", b" " * 900_000)))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    return bytes(data)


HOSTILE = {
    "empty": (b"", "damaged"),
    "text": (b"no zip at all", "damaged"),
    "cut": (zipped(("hand-in.json", listing()))[:-30], "damaged"),
    "no list": (zipped(("answers/01_wire.py", "x")), "no hand-in.json"),
    "bomb": (bomb(), "too large when unpacked"),
    "lying": (lying(), ""),
    "way up": (zipped(("hand-in.json", listing()), ("../../evil.py", "x")), "not part of a hand-in: ../../evil.py"),
    "absolute": (zipped(("hand-in.json", listing()), ("/etc/evil\n.py", "x")), "not part of a hand-in"),
    "twice": (doubled("hand-in.json", listing()), "two files of one name"),
    "many": (zipped(*((f"{i}", "") for i in range(500))), "500 files"),
    "no json": (zipped(("hand-in.json", "{")), "damaged"),
    "deep json": (zipped(("hand-in.json", "[" * 100_000)), "damaged"),
    "list": (zipped(("hand-in.json", "[]")), "damaged"),
    "other": (zipped(("hand-in.json", '{"format": "x"}')), "another version"),
    "latin": (zipped(("hand-in.json", b"\xff\xfe")), "damaged"),
    "name": (zipped(("hand-in.json", listing(name="=cmd|x"))), "its name is none"),
    "no name": (zipped(("hand-in.json", listing(name=7))), "its name is none"),
    "long name": (zipped(("hand-in.json", listing(name="a" * 41))), "its name is none"),
    "tries": (zipped(("hand-in.json", exercise(tries=1e99))), "wrong values for wire"),
    "negative": (zipped(("hand-in.json", exercise(tries=-1))), "impossible numbers"),
    "not a number": (zipped(("hand-in.json", exercise(minutes=float("nan")))), "impossible numbers"),
    "solved": (zipped(("hand-in.json", exercise(solved="yes"))), "wrong values"),
    "mistakes": (zipped(("hand-in.json", exercise(mistakes=[1]))), "wrong values"),
    "answer": (zipped(("hand-in.json", exercise(answer="a b")), ("answers/01_wire.py", "x")), "no name of a function"),
    "exercises": (zipped(("hand-in.json", listing(exercises=[]))), "damaged"),
    "entry": (zipped(("hand-in.json", listing(exercises={"wire": 7}))), "damaged"),
    "huge": (zipped(("hand-in.json", listing()), ("answers/01_wire.py", "x" * 300_000)), "too large"),
}


def test_a_damaged_or_hostile_zip_costs_one_line_and_the_others_are_read(folder, capsys, tmp_path):
    for name, (data, _) in HOSTILE.items():
        (folder / f"{name}.zip").write_bytes(data)
    (folder / "large.zip").write_bytes(bytes(3_000_000))
    (folder / "folder.zip").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["course", "collect", str(folder)]) == 1
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if "left out" in line]
    for name, (_, said) in HOSTILE.items():
        (line,) = [line for line in lines if f"left out: {name}.zip: " in line]
        assert said in line
    assert len(lines) == len(HOSTILE) + 2
    assert len(shown.err.splitlines()) == len(lines)
    assert "Bo" in shown.out
    assert sorted(tmp_path.rglob("*")) == before


def test_one_file_twice_is_one_and_two_of_one_name_are_two(folder, capsys):
    (folder / "copy.zip").write_bytes((folder / "Ada.zip").read_bytes())
    (folder / "again.zip").write_bytes(pack(write_hand_in(hand_in("Ada", decode=True))))
    assert main(["course", "collect", str(folder)]) == 1
    shown = capsys.readouterr()
    assert "copy.zip: the same file as Ada.zip" in shown.err
    assert "a second hand-in of Ada, shown as Ada (2)" in shown.err
    assert "Ada (2)" in shown.out


def test_an_encrypted_zip_is_left_out(folder):
    data = bytearray((folder / "Ada.zip").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    (folder / "secret.zip").write_bytes(bytes(data))
    (line,) = read_folder(folder).left_out
    assert line.startswith("secret.zip: damaged")


def test_what_nobody_has_tried_is_no_row():
    assert "No exercise has been tried." in describe_class(Classroom({"Ada": hand_in("Ada")}))
