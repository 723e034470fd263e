"""Errors in training runs: one run in a folder, nothing lost, and one line for the person."""

import os
import subprocess
import sys

import pytest
import torch
from training_case import run_python, settings, write_pairs

from birefnet_lite.__main__ import main
from birefnet_lite.training.run_lock import LOCK_FILE, FolderInUse, lock_folder
from birefnet_lite.training.run_state import load_state
from birefnet_lite.training.trainer import Trainer
from birefnet_lite.training.training_loop import run_training

HOLD_LOCK = """
import sys
from pathlib import Path
from birefnet_lite.training.run_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locking_process(tmp_path):
    """Another process that holds the lock on a folder, until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def write_config(tmp_path, **values):
    lines = {"output": tmp_path / "out", "model": "nano", "size": 64, "batch_size": 2, "steps": 6, "validate_every": 9}
    lines |= {"validation_images": 1, "tensorboard": "false", **values}
    quoted = ("output", "folder", "data", "model")
    config = tmp_path / "config.toml"
    config.write_text(
        "\n".join(f'{name} = "{value}"' if name in quoted else f"{name} = {value}" for name, value in lines.items())
        + '\n[config]\nbackbone = "convnet_n"\ninter_channels = 8\naspp_channels = 8\nimage_channels = 4\n',
        encoding="utf-8",
    )
    return str(config)


def test_a_second_run_in_a_folder_in_use_stops_with_one_line(locking_process, tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text('{"step": 5, "kind": "train"}\n')
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["train", write_config(tmp_path), "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert f"{tmp_path} is in use by another training run (process {locking_process.pid})" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "config.toml"])
    assert "5" in (tmp_path / "log.jsonl").read_text()


def test_the_lock_of_a_killed_process_is_no_lock(locking_process, tmp_path):
    with pytest.raises(FolderInUse), lock_folder(tmp_path):
        pass
    locking_process.kill()
    locking_process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with lock_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().strip() == str(os.getpid())


def test_a_lock_holds_within_a_process_and_leaves_no_file(tmp_path):
    with lock_folder(tmp_path), pytest.raises(FolderInUse), lock_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), lock_folder(tmp_path):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_half_made_update_is_not_saved(tmp_path, monkeypatch):
    run = Trainer(settings(tmp_path, save_every=2))

    def interrupt(model, decay):
        if run.step == 3:
            raise KeyboardInterrupt  # the weights have moved, their average has not

    monkeypatch.setattr(run.ema, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_training(run, progress=False)
    assert load_state(tmp_path / "last.pt")["step"] == 2


def test_an_error_in_saving_does_not_hide_the_first_error(tmp_path, monkeypatch):
    run = Trainer(settings(tmp_path, save_every=100))
    step = run.train_step

    def stop(parts):
        if run.step == 1:
            raise ValueError("the first error")
        return step(parts)

    run.train_step = stop
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(ValueError, match="the first error") as caught:
        run_training(run, progress=False)
    assert "no space left on device" in caught.value.__notes__[0]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_photo_stops_a_run_with_one_line(tmp_path, capfd, workers):
    photo = write_pairs(tmp_path / "data", 8) / "im" / "5.jpg"
    photo.write_bytes(photo.read_bytes()[:-400])
    config = write_config(tmp_path, folder=tmp_path / "data", data="folder", workers=workers, save_every=100)
    status = main(["train", config])
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("birefnet_lite")]
    assert status == 2
    assert len(said) == 1
    assert "5.jpg" in said[0]
    assert "Traceback" not in said[0]
    state = load_state(tmp_path / "out" / "last.pt")
    assert f"after step {state['step']} is saved" in said[0]
    assert state["step"] >= 1


@pytest.mark.slow
def test_a_run_prints_on_a_terminal_without_unicode(tmp_path):
    folder = tmp_path / "Läufe – 猫"
    folder.mkdir()
    config = write_config(tmp_path, output=folder, steps=1)
    done = run_python("-m", "birefnet_lite", "train", config, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 steps" in done.stdout
    assert "Traceback" not in done.stderr
