"""The training loop as a whole: it learns, it stops and goes on, and two processes do what one does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from birefnet_lite import load
from birefnet_lite.__main__ import main
from birefnet_lite.training.model_setup import has_fast_bfloat16
from birefnet_lite.training.run_state import load_state
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.trainer import Diverged, Trainer
from birefnet_lite.training.training_loop import run_training, train

SMALL = {"backbone": "convnet_n", "inter_channels": 8, "aspp_channels": 8, "image_channels": 4}
HERE = Path(__file__).parent


def settings(folder, **changes):
    values = {
        "output": str(folder), "config": SMALL, "size": 64, "batch_size": 2, "steps": 6, "warmup_steps": 2,
        "class_weight": 0.1, "validate_every": 4, "validation_images": 2, "save_every": 2, "log_every": 1,
        "tensorboard": False, "difficulty": (0.0, 0.2),
    }  # fmt: skip
    return TrainSettings(**values | changes)


def assert_same(a, b, path=""):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{i}")
    else:
        assert a == b, path


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_killed_run_goes_on_to_the_very_same_numbers(tmp_path):
    # Dropout is on, so that the random state counts; the kill comes between two checkpoints, and before a validation.
    whole, killed = settings(tmp_path / "whole"), settings(tmp_path / "killed")
    train(whole, progress=False)
    # As many threads, too: they decide in which order a sum is taken.
    done = python(HERE / "train_and_die.py", killed.output, 4, OMP_NUM_THREADS=str(torch.get_num_threads()))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_state(tmp_path / "killed" / "last.pt")["step"] == 2
    train(killed, progress=False)
    states = [load_state(tmp_path / name / "last.pt") for name in ("whole", "killed")]
    for state in states:
        state["settings"].pop("output")
        state.pop("minutes")
    assert_same(*states)
    assert states[0]["step"] == 6
    assert_same(*(load_file(tmp_path / name / "best.safetensors") for name in ("whole", "killed")))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "killed")]
    logs = [[{**json.loads(line), "minutes": 0} for line in log] for log in logs]
    assert logs[0] == logs[1]


def test_a_run_that_is_out_of_time_goes_on_later(tmp_path):
    first = train(settings(tmp_path, max_minutes=1e-6, validate_every=100), progress=False)
    assert first.step == 1
    assert "1 of 6 steps" in first.summary()
    second = train(settings(tmp_path, validate_every=100), progress=False)
    assert second.step == 6
    assert load(tmp_path / "best.safetensors").config.inter_channels == 8


def test_a_run_is_not_taken_for_another(tmp_path):
    train(settings(tmp_path, steps=1, validate_every=9), progress=False)
    with pytest.raises(ValueError, match=r"learning_rate \(0.001, now 0.5\)"):
        train(settings(tmp_path, steps=1, learning_rate=0.5), progress=False)
    assert train(settings(tmp_path, steps=2, learning_rate=0.5), changed=True, progress=False).step == 2
    assert Trainer(settings(tmp_path)).step == 0


def test_recomputed_activations_change_no_number(tmp_path):
    runs = [
        train(settings(tmp_path / str(on), steps=3, validate_every=9, recompute_activations=on), progress=False)
        for on in (False, True)
    ]
    assert_same(*(run.plain_model.state_dict() for run in runs))
    assert_same(*(run.ema.model.state_dict() for run in runs))


def test_divergence_names_the_step_and_leaves_the_last_good_state(tmp_path, monkeypatch):
    run = Trainer(settings(tmp_path))
    right = run.loss.forward

    def wrong(output, mask, labels):
        result = right(output, mask, labels)
        return result._replace(total=result.total * (float("nan") if run.step == 2 else 1))

    monkeypatch.setattr(run.loss, "forward", wrong)
    with pytest.raises(Diverged, match="at step 3"):
        run_training(run, progress=False)
    state = load_state(tmp_path / "last.pt")
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


def test_what_is_frozen_does_not_move(tmp_path):
    run = Trainer(settings(tmp_path, freeze_backbone=True, freeze_batch_norm=True, plain_steps=6, steps=2))
    before = {name: value.clone() for name, value in run.plain_model.state_dict().items()}
    run_training(run, progress=False)
    moved = {name for name, value in run.plain_model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert not any(name.startswith("encoder.backbone") for name in moved)
    assert not any("offset_conv" in name or "modulation_conv" in name for name in moved)
    assert any("branches.3.conv.conv" in name for name in moved)
    assert any("norm" in name for name in moved)


def test_plain_steps_compute_what_new_deformable_convolutions_do(tmp_path):
    losses = []
    for plain_steps in (0, 1):
        run = Trainer(settings(tmp_path, plain_steps=plain_steps, dropout=0.0))
        losses.append(run.train_step([run.data[0]])["loss"])
        run.train_step([run.data[1]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    offsets = [module.offset_conv.weight for module in run.plain_model.modules() if hasattr(module, "offset_conv")]
    assert all(weight.abs().max() > 0 for weight in offsets)  # the second step was no longer plain


def test_it_learns(tmp_path):
    run = Trainer(settings(tmp_path, steps=30, learning_rate=3e-3, dropout=0.0, batch_size=4, precision="bf16"))
    part = run.data[0]
    losses = [run.train_step([part])["loss"] for _ in range(25)]
    assert min(losses[-3:]) < 0.6 * losses[0]


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, False),
    ],
)
def test_automatic_precision_follows_the_processor(tmp_path, monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    run = Trainer(settings(tmp_path, precision="auto"))
    with run.autocast():
        found = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert found == (torch.bfloat16 if fast else torch.float32)


def test_automatic_precision_is_float32_where_nothing_is_known_of_the_processor(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)  # as in older versions
    assert not has_fast_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_asks_the_graphics_card(monkeypatch, fast):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.append(options) or fast)
    assert has_fast_bfloat16(torch.device("cuda")) is fast
    assert asked == [{"including_emulation": False}]


def test_the_command_trains_on_a_folder(tmp_path, capsys):
    for name in ("im", "gt"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for i in range(3):
        Image.effect_noise((70, 50), 40 + i).convert("RGB").save(tmp_path / "data" / "im" / f"{i}.jpg")
        Image.radial_gradient("L").resize((70, 50)).point(lambda v: 255 * (v < 90)).save(
            tmp_path / "data" / "gt" / f"{i}.png"
        )
    start = train(settings(tmp_path / "start", steps=1), progress=False)
    config = tmp_path / "config.toml"
    config.write_text(
        f'output = "unused"\nstart_from = "{start.folder / "best.safetensors"}"\nsize = 64\nbatch_size = 2\n'
        "accumulation = 1\nsteps = 3\nvalidate_every = 2\nvalidation_images = 3\n"
    )
    output, data = str(tmp_path / "out"), str(tmp_path / "data")
    assert main(["train", str(config), "--output", output, "--folder", data]) == 0
    assert "3 of 3 steps" in capsys.readouterr().out
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["kind"] == "validation"] == [0, 2, 3]
    assert any((tmp_path / "out" / "logs").iterdir())
    assert main(["train", str(config), "--output", output]) == 2
    assert "other settings: data" in capsys.readouterr().err


def test_classes_need_a_head(tmp_path):
    with pytest.raises(ValueError, match="no class head"):
        Trainer(settings(tmp_path, config=SMALL | {"auxiliary_classification": False}))
    with pytest.raises(ValueError, match="class head for 5"):
        Trainer(settings(tmp_path, config=SMALL | {"num_classes": 5}))


def test_two_processes_give_the_gradient_of_one(tmp_path):
    script = HERE / "train_gradient.py"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    for done in (python(script, tmp_path / "one"), python(*launcher, script, tmp_path / "two")):
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / name / "gradient.pt", weights_only=True) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["gradient"].keys() == two["gradient"].keys()
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
