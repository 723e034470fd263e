"""The recorder: frames hold what `capture` gives, training is not changed, recordings are small and safe to load."""

import json
import pickle

import numpy as np
import pytest
import torch
from training_case import SMALL, settings

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.analysis import capture
from birefnet_lite.training import Recorder, Recording
from birefnet_lite.training import recorder as module
from birefnet_lite.training.recording import MAX_BYTES
from birefnet_lite.training.training_loop import train

LAYERS = ("decoder.stage4.out", "decoder.stage3.gradient_attention")


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BiRefNet(BiRefNetConfig.preset("nano").replace(**SMALL)).train()


@pytest.fixture(scope="module")
def recording(model, photo):
    recorder = Recorder(photo, LAYERS, every=2, size=64, mask=photo[..., 0] > 99)
    recorder.record(model, 0)
    for step in (1, 2, 3):
        recorder.record(model, step, {"loss": 1 / step, **({"iou": 0.5} if step > 1 else {})}, force=step == 3)
    return recorder.recording


def test_frames_hold_the_maps_that_capture_gives(model, photo, recording):
    assert recording.steps.tolist() == [0, 2, 3]
    assert recording.layers == LAYERS
    squashed = module.resize(photo, 64, 64)
    activations = capture(model, squashed, (64, 64))
    for layer in LAYERS:
        maps, channels = activations[layer].numpy(), recording.channels[layer]
        assert recording.shapes[layer] == maps.shape
        assert len(channels) == min(6, len(maps))
        low, high = maps[channels].min(), maps[channels].max()
        np.testing.assert_allclose(recording.ranges[layer][1], [low, high], rtol=1e-6)
        wrong = np.abs(recording.values(layer, 1) - maps[channels])
        assert wrong.max() <= (high - low) / 510 * 1.001
    assert np.abs(recording.masks[1] / 255 - activations.mask).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(recording.photo, squashed)
    assert recording.truth.shape == (80, 120)
    with pytest.raises(KeyError, match=r"decoder\.stage4\.out"):
        recording.values("squeeze", 0)


def test_losses_are_kept_for_all_steps_and_missing_ones_are_nan(recording):
    assert recording.loss_steps.tolist() == [1, 2, 3]
    np.testing.assert_allclose(recording.losses["loss"], [1, 1 / 2, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(recording.losses["iou"], np.float32([np.nan, 0.5, 0.5]))


def test_a_file_gives_the_recording_back(recording, tmp_path):
    path = tmp_path / "run.recording"
    recording.save(path)
    read = Recording.load(path)
    assert read.layers == recording.layers
    assert read.shapes == recording.shapes
    for name in ("photo", "truth", "steps", "masks", "loss_steps"):
        np.testing.assert_array_equal(getattr(read, name), getattr(recording, name))
    for name in ("maps", "ranges", "channels", "losses"):
        assert getattr(read, name).keys() == getattr(recording, name).keys()
        for key, values in getattr(recording, name).items():
            np.testing.assert_array_equal(getattr(read, name)[key], values)


def test_other_and_damaged_files_are_refused_with_their_name(recording, tmp_path):
    path = tmp_path / "run.recording"
    recording.save(path)
    whole = path.read_bytes()
    header = {"format": "birefnet-lite recording 1", "layers": [], "losses": ["loss"]}
    fields = {"photo": recording.photo, "steps": recording.steps, "masks": recording.masks[:1]}
    fields |= {"loss_steps": recording.loss_steps, "losses": np.zeros((1, 3), np.float32)}
    np.savez(tmp_path / "unfit.npz", header=np.frombuffer(json.dumps(header).encode(), np.uint8), **fields)
    np.savez(tmp_path / "objects.npz", header=np.array([pytest.raises], object))
    np.savez(tmp_path / "large.npz", header=np.zeros(5 * MAX_BYTES, np.uint8))
    for data in (
        b"",
        whole[: len(whole) // 2],
        pickle.dumps(1),
        *((tmp_path / f"{name}.npz").read_bytes() for name in ("unfit", "objects", "large")),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"run\.recording is damaged or is not a recording") as caught:
            Recording.load(path)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(FileNotFoundError):
        Recording.load(tmp_path / "none")


def test_recording_leaves_mode_and_random_state_of_the_model_alone(model, photo):
    model.encoder.eval()
    modes = [part.training for part in model.modules()]
    statistics = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    Recorder(photo, size=64).record(model, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, statistics[name]) for name, value in model.state_dict().items())
    model.train()


def test_without_layers_the_stages_are_recorded(model, photo):
    recorder = Recorder(photo, size=64)
    recorder.record(model, 0)
    layers = recorder.recording.layers
    assert "decoder.stage4.side" in layers
    assert "decoder.stage2.gradient_attention" in layers
    assert not any(name.startswith("encoder") for name in layers)


def test_a_long_recording_drops_every_second_frame(model, photo, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 256**2 + 5 * 5_000)
    recorder = Recorder(photo, LAYERS[:1], every=1, size=64, channels=2)
    for step in range(14):
        recorder.record(model, step, {"loss": step}, force=step == 13)
    steps = recorder.recording.steps.tolist()
    assert steps[0] == 0
    assert steps[-1] == 13
    assert recorder.every > 1
    assert all(step % recorder.every == 0 for step in steps[:-1])
    assert len(recorder.recording.loss_steps) == 14


def test_a_recording_on_disk_stays_below_three_megabytes(recording, tmp_path):
    # As large as they get: maps of noise, which no compression makes smaller.
    noise = np.random.default_rng(1).integers(0, 256, (100, 6, 64, 64), np.uint8)
    large = Recording(
        **{**vars(recording), "maps": {LAYERS[0]: noise}, "steps": np.arange(100), "masks": recording.masks[[0] * 100]}
        | {"ranges": {LAYERS[0]: np.zeros((100, 2), np.float32)}, "channels": {LAYERS[0]: np.arange(6)}}
    )
    large.save(tmp_path / "large")
    assert noise.nbytes < MAX_BYTES
    assert (tmp_path / "large").stat().st_size <= MAX_BYTES
    assert len(Recording.load(tmp_path / "large").steps) == 100


def test_layers_that_are_too_large_are_refused_at_the_first_frame(model, photo, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 256**2 + 100)
    with pytest.raises(ValueError, match="Record fewer layers"):
        Recorder(photo, LAYERS, size=64).record(model, 0)
    with pytest.raises(ValueError, match=r"no layer decoder\.stage9"):
        Recorder(photo, ["decoder.stage9"], size=64).record(model, 0)


def test_a_loop_that_runs_again_replaces_its_frames(model, photo):
    recorder = Recorder(photo, LAYERS[:1], every=1, size=64)
    for step in (0, 1, 2, 1):
        recorder.record(model, step, {"loss": 10 * step})
    assert recorder.recording.steps.tolist() == [0, 1]
    assert recorder.recording.loss_steps.tolist() == [0, 1]


def test_many_losses_are_thinned_out(model, photo):
    recorder = Recorder(photo, LAYERS[:1], every=10**6, size=64)
    recorder.record(model, 0)
    for step in range(1, 5001):
        recorder.record(model, step, {"loss": step})
    steps = recorder.recording.loss_steps
    assert len(steps) <= module.MAX_LOSSES
    assert set(np.diff(steps)) == {4}
    np.testing.assert_array_equal(recorder.recording.losses["loss"], steps)


def test_values_that_are_not_finite_do_not_spoil_the_range():
    frame = module._Frame(0, np.zeros((2, 2), np.uint8))
    frame.add("a", torch.tensor([[[0.0, 1.0], [float("nan"), float("inf")]]]))
    frame.add("b", torch.full((1, 2, 2), float("nan")))
    assert frame.ranges == {"a": (0.0, 1.0), "b": (0.0, 0.0)}
    assert frame.maps["a"].tolist() == [[[0, 255], [0, 255]]]


def test_a_run_is_recorded_with_the_losses_of_its_log(tmp_path, photo):
    recorder = Recorder(photo, LAYERS[:1], every=2, size=64)
    run = train(settings(tmp_path, steps=3, validate_every=9), progress=False, recorder=recorder)
    recording = recorder.recording
    assert recording.steps.tolist() == [0, 2, 3]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = {line["step"]: line["loss"] for line in log if line["kind"] == "train"}
    assert recording.loss_steps.tolist() == list(logged)
    np.testing.assert_allclose(recording.losses["loss"], list(logged.values()), rtol=1e-5)
    assert "gradient_norm" not in recording.losses
    now = capture(run.plain_model, module.resize(photo, 64, 64), (64, 64))[LAYERS[0]].numpy()
    maps = now[recording.channels[LAYERS[0]]]
    assert np.abs(recording.values(LAYERS[0], -1) - maps).max() <= np.ptp(maps) / 500


def test_nothing_recorded_is_an_error_and_so_is_a_step_of_zero(photo):
    with pytest.raises(ValueError, match="Nothing is recorded"):
        _ = Recorder(photo).recording
    with pytest.raises(ValueError, match="every is 0"):
        Recorder(photo, every=0)
