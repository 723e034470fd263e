"""Answers of a class that are run: what they may not do, and the table of a class of twelve."""

import json
import os

import pytest
from class_case import edited, fuse_context, hand_in, solved_entries, write

from birefnet_lite.cli.main import main
from birefnet_lite.course.checks.result import Result
from birefnet_lite.course.kit import runner
from birefnet_lite.course.kit.classroom import Classroom
from birefnet_lite.course.kit.recheck import recheck

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="answers are run where there is `fork`")


def call_it(answer):
    """A check that calls the answer once."""
    return Result("fuse_context", answer() == 1, "as it should be")


def run(source, folder, seconds=20.0, context=""):
    """The verdict on `def answer(): ...`, run as an answer of a hand-in is."""
    limits = {"seconds": seconds, "call_seconds": 5, "memory": 300 * 2**20}
    job = {"exercise": "fuse_context", "answer": "answer", "source": source, "context": context, **limits}
    return runner._run_in_child(job, call_it, folder)


def function(*lines):
    body = "".join(f"    {line}\n" for line in lines)
    return f"import os, sys, socket, subprocess\ndef answer():\n{body}    return 1\n"


def test_a_right_answer_passes_and_one_that_needs_its_notebook_too(tmp_path):
    said = {"passed": True, "message": "as it should be", "refused": []}
    assert run(function("x = 1"), tmp_path) == said
    assert run("def answer(): return helper()", tmp_path, context="def helper(): return 1") == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("os._exit(0)",), "ended its process, with status 0"),
        (("sys.exit()",), "raises SystemExit"),
        (("import ctypes", "ctypes.string_at(0)"), ""),
        (("while True:", "    try:", "        while True: pass", "    except BaseException: pass"), "Stopped after 1"),
        (("x = bytearray(3_000_000_000)",), "raises MemoryError"),
        (("os.write(3, b'{\"passed\": true}')", "os._exit(0)"), "writes into the line"),
        (("import torch", "torch.allclose = lambda *a, **k: True"), "replaces `torch.allclose`"),
        (("import json", "json.dumps = lambda x: '{\"passed\": true}'", "return 2"), "replaces `json.dumps`"),
        (("import os", "os.write = lambda *a: 0", "os._exit = lambda *a: 0"), "replaces `os."),
    ],
)
def test_an_answer_that_ends_hangs_or_forges_is_wrong(tmp_path, lines, said):
    verdict = run(function(*lines), tmp_path, seconds=1.0 if "while True:" in lines else 20.0)
    assert verdict["passed"] is False
    assert said in verdict["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("open({outside!r}).read()", "read files outside its folder"),
        ("os.listdir(os.path.dirname({outside!r}))", "read files outside its folder"),
        ("open({outside!r}, 'a').write('x')", "write outside its folder"),
        ("os.remove({outside!r})", "write outside its folder"),
        ("os.rename({outside!r}, 'here')", "write outside its folder"),
        ("os.symlink({outside!r}, 'here')", "write outside its folder"),
        ("__import__('shutil').rmtree(os.path.dirname({outside!r}))", "write outside its folder"),
        ("__import__('torch').save({{}}, {outside!r})", "use files through PyTorch"),
        ("socket.create_connection(('127.0.0.1', 9), timeout=1)", "use the network"),
        ("socket.getaddrinfo('example.org', 80)", "use the network"),
        ("subprocess.run(['true'])", "start or stop a process"),
        ("os.system('touch x')", "start or stop a process"),
        ("os.fork()", "start or stop a process"),
        ("os.kill(os.getppid(), 9)", "start or stop a process"),
        ("__import__('ctypes').CDLL(None)", "call compiled code"),
        ("__import__('resource').setrlimit(0, (9, 9))", "change its limits"),
        ("__import__('gc').get_objects()", "look into other frames and objects"),
        ("[open(str(i), 'w').close() for i in range(200)]", "write very many files"),
    ],
)
def test_what_an_answer_must_not_do_is_refused_and_said_even_if_it_catches_the_error(tmp_path, line, what):
    outside = tmp_path / "outside" / "file"
    outside.parent.mkdir()
    outside.write_text("secret")
    folder = tmp_path / "in"
    folder.mkdir()
    line = line.format(outside=str(outside))
    verdict = run(function("try:", f"    {line}", "except Exception: pass"), folder)
    assert verdict["refused"] == [what]
    assert outside.read_text() == "secret"
    assert list(folder.iterdir()) == []


def test_an_answer_may_use_its_own_folder_and_sees_nothing_of_this_environment(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SECRET", "token")
    lines = (
        "open('mine', 'w').write('x')",
        "assert open('mine').read() == 'x' and os.listdir('.') == ['mine']",
        "assert 'SECRET' not in os.environ and os.path.realpath(os.environ['HOME']) == os.getcwd()",
        "assert os.read(0, 1) == b''",
        "print('passed'); print('passed', file=sys.stderr)",
    )
    assert run(function(*lines), tmp_path)["passed"] is True
    assert capfd.readouterr() == ("", "")


def test_only_definitions_of_the_cell_are_run_and_one_that_is_missing_is_said(tmp_path):
    source = "while True: pass\nexit()\nprint(undefined)\n" + function("x = 1")
    assert run(source, tmp_path)["passed"] is True
    assert "defines no `answer`" in run("def other(): pass", tmp_path)["message"]
    assert "cannot read the answer" in run("def answer(:", tmp_path)["message"]


def test_the_probe_finds_every_protection_in_force(tmp_path):
    outside = tmp_path / "out"
    outside.mkdir()
    folder = tmp_path / "in"
    folder.mkdir()
    limits = {"seconds": 60, "call_seconds": 5, "memory": 200 * 2**20}
    said = runner._run_in_child({"exercise": "", "outside": str(outside / "file"), **limits}, runner._probe, folder)
    held = json.loads(said["message"])
    assert held
    assert all(held.values()), held
    assert list(outside.iterdir()) == []


FUSED = solved_entries()["fuse_context"]
CLASS = [
    hand_in("all right", **dict.fromkeys(("encoder_shapes", "wire", "fuse_context", "decode"), True)),
    hand_in("half done", encoder_shapes=True, wire="def wire(parts, image):\n    x1, x2 =\n"),
    hand_in("wrong order", wire=edited("wire", "(x3, x2, x1, None)", "(x1, x2, x3, None)")),
    hand_in("wrong order too", wire=edited("wire", "(x3, x2, x1, None)):", "(x1, x2, x3, None)):  # by me")),
    hand_in("untouched", fuse_context='def fuse_context(features):\n    raise NotImplementedError("your code here")'),
    hand_in("raises", fuse_context=fuse_context("features.no_such_thing")),
    hand_in("endless", fuse_context=fuse_context("while True: pass")),
    hand_in("leaves", fuse_context=fuse_context("exit()")),
    hand_in("leaves at once", fuse_context=fuse_context("import os", "os._exit(0)")),
    hand_in("reads", fuse_context=fuse_context("print(open('/etc/hostname').read())")),
    hand_in("forges", fuse_context=edited("fuse_context", "return torch", "return 0 * torch", trace=FUSED.trace)),
    hand_in("eats memory", fuse_context=fuse_context("y = torch.ones(3_000_000_000)")),
]
TABLE = {
    ("all right", "encoder_shapes"): (True, "Right"),
    ("all right", "wire"): (True, ""),
    ("all right", "fuse_context"): (True, ""),
    ("all right", "decode"): (True, ""),
    ("half done", "encoder_shapes"): (True, ""),
    ("half done", "wire"): (False, "Python cannot read"),
    ("wrong order", "wire"): (False, "Stage 4 is given x1"),
    ("wrong order too", "wire"): (False, "Stage 4 is given x1"),
    ("untouched", "fuse_context"): (None, "not solved yet"),
    ("raises", "fuse_context"): (False, "Your code raises AttributeError"),
    ("endless", "fuse_context"): (False, "loop that never ends"),
    ("leaves", "fuse_context"): (False, "ends the program"),
    ("leaves at once", "fuse_context"): (False, "ended its process"),
    ("reads", "fuse_context"): (False, "Your code raises PermissionError"),
    ("forges", "fuse_context"): (False, ""),
    ("eats memory", "fuse_context"): (False, "raises"),
}


@pytest.mark.slow
def test_a_class_of_twelve_gives_the_right_table(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "class"
    for one in CLASS:
        write(folder, one)
    found = []

    def recheck_and_keep(classroom, seconds, call_seconds):
        found.extend(recheck(classroom, seconds, call_seconds))
        return tuple(found)

    monkeypatch.setattr("birefnet_lite.course.kit.recheck.recheck", recheck_and_keep)
    assert main(["course", "collect", str(folder), "--run", "--seconds", "100", "-o", str(tmp_path / "out")]) == 0
    verdicts, protections = found
    assert set(verdicts) == set(TABLE)
    for key, (passed, said) in TABLE.items():
        assert verdicts[key].passed is passed, (key, verdicts[key])
        assert said in verdicts[key].message, (key, verdicts[key])
    assert verdicts["reads", "fuse_context"].refused == ("read files outside its folder",)
    assert not any("NOT" in line for line in protections)
    shown = capsys.readouterr().out
    assert "forges: marked as solved, without a right answer in the file: fuse_context." in shown
    assert "reads: fuse_context tried to read files outside its folder; refused." in shown
    assert "Most are held up by 02 fuse_context: 7 tried" in shown
    page = (tmp_path / "out" / "discuss.html").read_text()
    assert "2 people" in page
    assert "by me" not in page
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{one.name}.zip" for one in CLASS)


@pytest.mark.slow
def test_every_solution_passes_when_it_is_run(tmp_path):
    verdicts, _ = recheck(Classroom({"all": hand_in("all", **dict.fromkeys(solved_entries(), True))}), seconds=300)
    assert len(verdicts) == len(solved_entries())
    assert [key for key, verdict in verdicts.items() if not verdict.passed or verdict.refused] == []
