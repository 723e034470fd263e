"""`segment` in several processes, and after a kill: each photo once, one summary, whole files."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_case import list_names, save_photo
from PIL import Image

from birefnet_lite.__main__ import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
LAUNCH = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "birefnet_lite"),
)


def save_photos(folder, count):
    for i in range(count):
        save_photo(folder / f"{i}.png", 40, 60, seed=i)


@pytest.mark.slow
def test_two_processes_share_the_photos(checkpoint, tmp_path):
    save_photos(tmp_path / "in", 7)
    (tmp_path / "in/bad.jpg").write_text("no photo")
    arguments = ["segment", "in", "-o", "out", "--model", str(checkpoint), "--device", "cpu"]
    probe = tmp_path / "sitecustomize.py"  # says in which process a file was written
    probe.write_text(
        "import os, builtins\n"
        "replace = os.replace\n"
        "def note(source, target):\n"
        "    replace(source, target)\n"
        "    with open(os.path.join(os.path.dirname(__file__), 'written.txt'), 'a') as file:\n"
        "        file.write(f\"{os.environ.get('RANK')} {os.path.basename(target)}\\n\")\n"
        "os.replace = note\n"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCH, *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # one photo is bad
    assert done.stderr.count("masks of 7 of 8 photos written to out") == 1, done.stderr
    assert done.stderr.count("bad.jpg is not an image") == 1
    assert list_names(tmp_path / "out") == [f"{i}.png" for i in range(7)]
    written = [line.split() for line in (tmp_path / "written.txt").read_text().splitlines() if line.endswith(".png")]
    assert sorted(name for _, name in written) == [f"{i}.png" for i in range(7)]
    assert {rank for rank, _ in written} == {"0", "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_after_a_kill_the_same_command_does_the_rest(checkpoint, tmp_path, monkeypatch, capsys):
    save_photos(tmp_path / "in", 6)
    arguments = ["segment", "in", "-o", "out", "--model", str(checkpoint), "--device", "cpu", "--skip-existing"]
    slow = (
        "import sys, time\n"
        "from birefnet_lite.cli import segment as module\n"
        "from birefnet_lite.__main__ import main\n"
        "real = module.segment\n"
        "def slowly(*arguments):\n"
        "    time.sleep(0.5)\n"
        "    return real(*arguments)\n"
        "module.segment = slowly\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, *arguments], cwd=tmp_path, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) != 0
    finished = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert 0 < len(finished) < 6
    for path in finished:
        Image.open(path).load()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(arguments) == 0
    there = len(finished)
    assert f"masks of 6 of 6 photos written to out; {there} of them were there already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in finished} == finished
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [f"{i}.png" for i in range(6)]
