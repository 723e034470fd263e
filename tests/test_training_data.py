"""Data and files of a training run: batches by number, EMA, saved states, logs, validation."""

import json

import pytest
import torch
from torch import nn

from birefnet_lite import CheckpointError
from birefnet_lite.inference.images import normalise
from birefnet_lite.synthetic import SyntheticScenes
from birefnet_lite.training.background import iterate_parts, part_numbers
from birefnet_lite.training.data_sources import TrainingData
from birefnet_lite.training.ema import EMA
from birefnet_lite.training.run_log import RunLog
from birefnet_lite.training.run_state import load_state, random_state, restore_random_state, save_state
from birefnet_lite.training.settings import ROUND, TrainSettings
from birefnet_lite.training.validation import contact_sheet, is_better, mean_scores


def small(**changes):
    values = {"output": "a", "size": 64, "batch_size": 4, "steps": 200, "difficulty": (0.0, 1.0)}
    return TrainSettings(**values | changes)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("reuse", [1, 2])
@pytest.mark.parametrize("together", [1, 4])
def test_a_batch_depends_on_its_number_alone(reuse, together):
    settings = small(reuse=reuse, batch_size=2, drawn_together=together)
    one = TrainingData(settings, parts=1)
    in_order = [one[i] for i in range(2 * ROUND + 2)]
    for number in (2 * ROUND - 1, 3, 2 * ROUND + 1, ROUND):
        assert same(TrainingData(settings, parts=1)[number], in_order[number]), number
    different = {batch[1].sum().item() for batch in in_order}
    assert len(different) == len(in_order)


def test_each_scene_is_used_once_in_a_round():
    settings = small(reuse=2, batch_size=2)
    batches = TrainingData(settings, parts=1)
    batches.source.augment = lambda images, masks, key: (images, masks)  # to recognise them
    scenes = [sorted(x.sum().item() for i in part for x in batches[i][0]) for part in (range(16), range(16, 32))]
    assert scenes[0] == scenes[1]


def test_chunks_are_cut_in_the_order_of_steps():
    settings = small(batch_size=4, drawn_together=4, difficulty=(0.5, 0.5))
    batches = TrainingData(settings, parts=2)
    source = SyntheticScenes((64, 64), seed=settings.seed)
    for part in range(2):
        whole = source.batch(8, 2 * 4 + part, 0.5)  # the steps 4 to 7
        cut = [batches[2 * step + part] for step in (4, 5, 6, 7)]
        assert same((normalise(whole.images), whole.masks, whole.labels), map(torch.cat, zip(*cut, strict=True)))
    with pytest.raises(ValueError, match="drawn_together is 3; it must divide 16"):
        small(drawn_together=3)


def test_processes_get_all_part_numbers_once():
    shares = [part_numbers(2, 5, parts=6, rank=rank, accumulation=3) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(12, 30))
    assert shares[1][:4] == [15, 16, 17, 21]
    with pytest.raises(ValueError, match="not divisible by 3"):
        TrainingData(small(), parts=3)


def test_the_small_size_comes_first():
    batches = TrainingData(small(size=96, small_size=64, small_steps=3, batch_size=1), parts=1)
    assert [batches[i][0].shape[-1] for i in (2, 3)] == [64, 96]


def test_workers_prepare_the_same_batches_and_keep_the_random_state():
    batches = TrainingData(small(batch_size=1), parts=1)
    before = torch.get_rng_state()
    prepared = list(iterate_parts(batches, [7, 3], workers=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(same(a, batches[i]) for a, i in zip(prepared, (7, 3), strict=True))


def test_thread_prepares_the_same_batches():
    batches = TrainingData(small(batch_size=1), parts=1)
    numbers = [7, 3, 8, 1, 0]
    for ahead in (1, 3, 9):
        prepared = list(iterate_parts(batches, numbers, ahead=ahead))
        assert len(prepared) == 5
        assert all(same(a, batches[i]) for a, i in zip(prepared, numbers, strict=True))


def test_error_in_the_thread_is_raised_in_the_loop(monkeypatch):
    batches, asked = TrainingData(small(batch_size=1), parts=1), []

    def broken(n, number, difficulty):
        asked.append(number)
        raise MemoryError(f"no room for {number}")

    monkeypatch.setattr(batches.source, "batch", broken)
    with pytest.raises(MemoryError, match="no room for 4"):
        next(iterate_parts(batches, list(range(4, 100)), ahead=2))
    assert len(asked) <= 4  # those ahead, and no more


def test_images_are_normalised_as_torchvision_does():
    from torchvision.transforms.functional import normalize

    images = torch.rand(2, 3, 8, 8)
    wanted = normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalise(images), wanted)


def test_ema_equals_its_defining_sum():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    average = EMA(model)
    history, counters = [model[0].weight.detach().double().clone()], []
    for _ in range(4):
        model(torch.randn(4, 3, 5, 5))
        with torch.no_grad():
            model[0].weight.add_(torch.randn_like(model[0].weight))
        average.update(model, 0.75)
        history.append(model[0].weight.detach().double().clone())
        counters.append(int(average.model[1].num_batches_tracked))
    wanted = 0.75**4 * history[0] + sum(0.25 * 0.75 ** (4 - i) * history[i] for i in range(1, 5))
    torch.testing.assert_close(average.model[0].weight.double(), wanted, atol=1e-6, rtol=1e-5)
    assert counters == [1, 2, 3, 4]
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())
    assert not torch.equal(average.model[1].running_mean, model[1].running_mean)


def test_state_survives_a_failed_write_and_other_files_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_state({"step": 3, "settings": {}, "random": random_state()}, path)

    def full(state, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_state({"step": 4, "settings": {}}, path)
    monkeypatch.undo()
    assert load_state(path)["step"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]

    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"last\.pt is damaged"):
        load_state(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not the state of a training run"):
        load_state(path)
    torch.save({"step": 1, "settings": pytest.raises}, path)  # any function would be called by an unsafe load
    with pytest.raises(CheckpointError, match="damaged or is not the state"):
        load_state(path)


def test_random_state_is_restored():
    state = random_state()
    first = torch.rand(5)
    restore_random_state(state)
    assert torch.equal(torch.rand(5), first)


def test_log_drops_entries_after_the_resumed_step(tmp_path):
    log = RunLog(tmp_path, 0, tensorboard=False)
    for step in (1, 2, 3):
        log.write_values("train", step, {"loss": step / 3})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "ki')  # killed while writing
    RunLog(tmp_path, 2, tensorboard=False).write_values("train", 3, {"loss": 9.0})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0.333333), (2, 0.666667), (3, 9.0)]


def test_scores_tell_a_perfect_mask_from_an_empty_one():
    masks = torch.zeros(2, 1, 32, 32)
    masks[:, :, 8:24, 8:24] = 1
    assert mean_scores(masks, masks)["iou"] == 1
    assert mean_scores(masks, masks)["mae"] == 0
    assert mean_scores(torch.zeros_like(masks), masks)["mae"] == pytest.approx(0.25)
    assert is_better("iou", 0.5, None)
    assert is_better("iou", 0.5, 0.4)
    assert not is_better("mae", 0.5, 0.4)


def test_a_contact_sheet_puts_three_pictures_below_each_other():
    images, masks = torch.rand(5, 3, 16, 16), torch.rand(5, 1, 16, 16)
    sheet = contact_sheet(images, masks, 1 - masks, columns=3, side=16)
    assert sheet.shape == (3, 6 * 16, 3 * 16)
    assert torch.equal(sheet[:, 48:64, 16:32], images[4])
    assert torch.equal(sheet[0, 80:96, :16], 1 - masks[3, 0])
