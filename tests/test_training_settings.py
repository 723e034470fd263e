"""Settings of a training run: reading, validation, and the schedules over the steps."""

import math

import pytest
import torch

from birefnet_lite.training.schedules import difficulty_at, ema_decay_at, learning_rate_at, loss_weights_at
from birefnet_lite.training.settings import TrainSettings, find_settings, read_settings, shipped_settings


def written(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_fills_the_settings(tmp_path):
    path = written(
        tmp_path,
        'output = "runs/a"\nsteps = 7\nlearning_rate = 1\ndifficulty = [0, 0.5]\n'
        "[loss]\nbce = 30\nssim = 10.0\n[config]\ninter_channels = 8\n",
    )
    settings = read_settings(path, steps=9)
    assert (settings.output, settings.steps, settings.difficulty) == ("runs/a", 9, (0.0, 0.5))
    assert settings.loss == {"bce": 30.0, "ssim": 10.0}
    assert settings.config == {"inter_channels": 8}
    assert isinstance(settings.learning_rate, float)
    assert TrainSettings(**settings.to_dict()) == settings


@pytest.mark.parametrize("name", shipped_settings())
def test_shipped_settings_are_valid(name):
    # finetune is about pictures of one's own, which it cannot name.
    assert read_settings(find_settings(name), **({"folder": "mine"} if name == "finetune" else {})).steps > 0


def test_both_settings_that_the_readme_names_ship():
    assert {"nano", "finetune"} <= set(shipped_settings())


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("stepps = 5", ValueError, "no setting stepps"),
        ('steps = "5"', TypeError, "steps must be of type int"),
        ("steps = true", TypeError, "steps must be of type int"),
        ("steps = 1.5", TypeError, "steps must be of type int"),
        ("steps = 0", ValueError, "at least 1"),
        ("learning_rate = 0", ValueError, "above 0"),
        ("learning_rate = inf", ValueError, "above 0"),
        ("ema_decay = 1.5", ValueError, "from 0 to 1"),
        ("ema_decay = nan", ValueError, "from 0 to 1"),
        ("size = 100", ValueError, "multiple of 32"),
        ("size = 128\nsmall_steps = 5", ValueError, "small_size is 0"),
        ('precision = "fp8"', ValueError, "'no', 'bf16' or 'auto'"),
        ('data = "folder"', ValueError, "must name"),
        ('model = "huge"', ValueError, "presets are"),
        ('best_by = "beauty"', ValueError, "metrics are"),
        ("difficulty = 0.5", TypeError, "two numbers"),
        ("difficulty = [0.5, 2]", ValueError, "from 0 to 1"),
        ("loss = 5", TypeError, "must be a table"),
        ("[loss]\nbcd = 1", ValueError, "pixel losses are"),
        ('[loss]\nbce = "1"', TypeError, "loss.bce must be of type float"),
        ('recipe = "DIS6K"', ValueError, "recipes are DIS5K"),
        ('recipe = "COD"\n[loss]\nbce = 1', ValueError, "leave one"),
        ("finetune_steps = 5", ValueError, "finetune_loss must say"),
        ("[config]\ninter_chanels = 5", ValueError, "inter_chanels"),
        ('start_from = "nano"\n[config]\ninter_channels = 5', ValueError, "start_from"),
        ("steps = = 5", ValueError, "not valid TOML"),
    ],
)
def test_wrong_setting_is_refused_with_file_and_reason(tmp_path, line, error, words):
    path = written(tmp_path, f'output = "runs/a"\n{line}\n')
    with pytest.raises(error, match=words) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_or_output_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        read_settings(tmp_path / "nowhere.toml")
    with pytest.raises(ValueError, match="output is missing"):
        read_settings(written(tmp_path, "steps = 5"))


def test_the_learning_rate_is_that_of_pytorchs_schedulers():
    settings = TrainSettings(output="a", steps=50, warmup_steps=10, learning_rate=0.3, final_learning_rate=0.1)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=9),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.03),
        ],
        milestones=[10],
    )
    for step in range(50):
        assert learning_rate_at(settings, step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6), step
        optimizer.step()
        scheduler.step()


def test_the_learning_rate_holds_before_it_falls():
    settings = TrainSettings(output="a", steps=100, warmup_steps=5, learning_rate=1.0, hold=0.5, final_learning_rate=0)
    rates = [learning_rate_at(settings, step) for step in range(100)]
    assert rates[5:51] == [1.0] * 46
    assert rates[75] == pytest.approx(0.5)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert all(math.isfinite(learning_rate_at(TrainSettings(output="a", steps=1), step)) for step in (0, 1))


def test_difficulty_decay_and_losses_follow_the_step():
    settings = TrainSettings(
        output="a", steps=100, difficulty=(0.2, 0.8), difficulty_ramp=0.5, ema_decay=0.9,
        loss={"bce": 1.0}, finetune_steps=10, finetune_loss={"ssim": 2.0},
    )  # fmt: skip
    assert [difficulty_at(settings, step) for step in (0, 25, 50, 99)] == pytest.approx([0.2, 0.5, 0.8, 0.8])
    assert ema_decay_at(settings, 0) == 0.1
    assert ema_decay_at(settings, 5000) == 0.9
    assert ema_decay_at(TrainSettings(output="a", ema_decay=0.9, start_from="nano"), 0) == 0.9
    assert loss_weights_at(settings, 89) == {"bce": 1.0}
    assert loss_weights_at(settings, 90) == {"ssim": 2.0}


def test_a_recipe_gives_the_losses_of_both_phases():
    settings = TrainSettings(output="a", steps=100, recipe="General", finetune_steps=10)
    assert loss_weights_at(settings, 89) == {"bce": 30, "iou": 2, "ssim": 10, "mae": 100}
    assert loss_weights_at(settings, 90) == {"bce": 0, "iou": 1, "ssim": 10, "mae": 90}
    assert loss_weights_at(TrainSettings(output="a"), 0) == {"bce": 1, "iou": 1}
