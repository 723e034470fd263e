"""The training loop as a whole: it learns, it resumes after a stop, and two processes compute what one does."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_case import SMALL, assert_same, run_python, settings, write_pairs

from birefnet_lite import load
from birefnet_lite.__main__ import main
from birefnet_lite.network.precision import has_fast_bfloat16
from birefnet_lite.training.run_state import load_state
from birefnet_lite.training.trainer import Diverged, Trainer
from birefnet_lite.training.training_loop import run_training, train

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six steps, with dropout, two validations and three saved states."""
    return train(settings(tmp_path_factory.mktemp("finished")), progress=False)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers(finished, tmp_path):
    # Dropout is on, so that the random state counts; the kill comes between two saved states, and before a validation.
    killed = settings(tmp_path / "killed")
    # As many threads, too: they decide in which order a sum is taken.
    done = run_python(HERE / "train_and_die.py", killed.output, 4, OMP_NUM_THREADS=str(torch.get_num_threads()))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_state(tmp_path / "killed" / "last.pt")["step"] == 2
    train(killed, progress=False)
    folders = (finished.folder, tmp_path / "killed")
    states = [load_state(folder / "last.pt") for folder in folders]
    for state in states:
        state["settings"].pop("output")
        state.pop("minutes")
    assert_same(*states)
    assert states[0]["step"] == 6
    assert_same(*(load_file(folder / "best.safetensors") for folder in folders))
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in folders]
    logs = [[{**json.loads(line), "minutes": 0} for line in log] for log in logs]
    assert logs[0] == logs[1]


def test_the_state_is_saved_before_an_error_leaves(finished, tmp_path):
    run = Trainer(settings(tmp_path, save_every=100))
    step = run.train_step

    def stop(parts):
        if run.step == 3:
            raise KeyboardInterrupt
        return step(parts)

    run.train_step = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        run_training(run, progress=False)
    assert "after step 3 is saved" in caught.value.__notes__[0]
    assert load_state(tmp_path / "last.pt")["step"] == 3
    resumed = train(settings(tmp_path, save_every=100), progress=False)
    assert_same(resumed.plain_model.state_dict(), finished.plain_model.state_dict())


def test_a_run_that_is_out_of_time_resumes_later(tmp_path):
    first = train(settings(tmp_path, steps=2, max_minutes=1e-6, validate_every=100), progress=False)
    assert first.step == 1
    assert "1 of 2 steps" in first.summary()
    second = train(settings(tmp_path, steps=2, validate_every=100), progress=False)
    assert second.step == 2
    assert load(tmp_path / "best.safetensors").config.inter_channels == 8


def test_a_state_of_other_settings_is_refused_unless_allowed(finished):
    changed = {**finished.settings.to_dict(), "learning_rate": 0.5}
    run = Trainer(settings(finished.folder, learning_rate=0.5))
    state = load_state(finished.folder / "last.pt")
    assert run.step == 0
    with pytest.raises(ValueError, match=r"learning_rate \(0.001, now 0.5\)"):
        run.restore(state)
    run.restore(state, settings_may_differ=True)
    assert run.step == 6
    assert run.settings.to_dict() == changed
    with pytest.raises(ValueError, match=r"learning_rate \(0.001, now 0.5\)"):
        train(run.settings, progress=False)


def test_recomputed_activations_change_no_number(finished, tmp_path):
    run = train(settings(tmp_path, recompute_activations=True), progress=False)
    assert_same(run.plain_model.state_dict(), finished.plain_model.state_dict())
    assert_same(run.ema.model.state_dict(), finished.ema.model.state_dict())


def test_divergence_names_the_step_and_leaves_the_last_good_state(tmp_path, monkeypatch):
    run = Trainer(settings(tmp_path))
    right = run.loss.forward

    def wrong(output, mask, labels):
        result = right(output, mask, labels)
        return result._replace(total=result.total * (float("nan") if run.step == 3 else 1))

    monkeypatch.setattr(run.loss, "forward", wrong)
    with pytest.raises(Diverged, match="at step 4"):
        run_training(run, progress=False)
    state = load_state(tmp_path / "last.pt")
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


def test_frozen_parts_do_not_move(tmp_path):
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


def test_the_loss_falls_on_one_batch(tmp_path):
    run = Trainer(settings(tmp_path, steps=30, learning_rate=4e-3, dropout=0.0, precision="bf16"))
    part = run.data[0]
    losses = [run.train_step([part])["loss"] for _ in range(18)]
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


def test_automatic_precision_is_float32_on_an_unknown_processor(monkeypatch):
    for name in ("get_capabilities", "_is_amx_tile_supported", "_is_avx512_bf16_supported"):  # as in older versions
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_fast_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_asks_the_graphics_card(monkeypatch, fast):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.append(options) or fast)
    assert has_fast_bfloat16(torch.device("cuda")) is fast
    assert asked == [{"including_emulation": False}]


def test_the_command_trains_on_a_folder(finished, tmp_path, capsys):
    write_pairs(tmp_path / "data", 3)
    config = tmp_path / "config.toml"
    config.write_text(
        f'output = "unused"\nstart_from = "{finished.folder / "best.safetensors"}"\nsize = 64\nbatch_size = 2\n'
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


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one(tmp_path):
    import train_gradient

    train_gradient.main(tmp_path / "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = run_python(*launcher, HERE / "train_gradient.py", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / name / "gradient.pt", weights_only=True) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["gradient"].keys() == two["gradient"].keys()
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
