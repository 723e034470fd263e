"""Files in and out, the original's names and layouts, published checkpoints, and what must be refused."""

import json
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import birefnet_lite
from birefnet_lite import BiRefNet, BiRefNetConfig, CheckpointError, load
from birefnet_lite.checkpoints import files, load_official_state_dict, official_state_dict, save
from birefnet_lite.checkpoints.infer_config import infer_config
from birefnet_lite.network import precision

SMALL = BiRefNetConfig(backbone="pvt_v2_b0", inter_channels=8, aspp_channels=8, image_channels=8, train_size=(64, 96))
# The same network in a form that the original could have, so that a file in its format can be recognised.
OFFICIAL = BiRefNetConfig(backbone="pvt_v2_b0")


def logits(model: BiRefNet) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.inference_mode():
        return model.eval()(torch.randn(1, 3, 64, 64)).logits


@pytest.fixture(scope="module")
def model() -> BiRefNet:
    torch.manual_seed(0)
    return BiRefNet(OFFICIAL).eval()


@pytest.fixture(scope="module")
def weights(model) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in official_state_dict(model).items()}


def test_half_a_file_keeps_statistics_beyond_a_halfs_range(tmp_path):
    torch.manual_seed(0)
    model = BiRefNet(SMALL).eval()
    norm = model.decoder.stage4.reconstruction.norm_in
    with torch.no_grad():
        norm.running_var.fill_(2e5)  # as networks have it whose weight decay is weak
        norm.running_mean.fill_(400.1)
    path = tmp_path / "small.safetensors"
    save(model, path, dtype=torch.float16)
    loaded, before = load(path, device="cpu"), model.state_dict()
    for name, value in loaded.state_dict().items():
        wanted = before[name]
        assert torch.equal(value, wanted.half().float() if wanted.ndim > 1 else wanted), name
    whole = tmp_path / "whole.safetensors"
    save(model, whole)
    assert path.stat().st_size < 0.6 * whole.stat().st_size
    with pytest.raises(ValueError, match=r"decoder\.stage4\.reconstruction\.norm_in\.running_var of .* float16 cannot"):
        load(path, device="cpu", dtype=torch.float16)
    assert (
        load(path, device="cpu", dtype=torch.bfloat16)
        .decoder.stage4.reconstruction.norm_in.running_var.isfinite()
        .all()
    )


def test_the_shipped_network_is_far_from_the_end_of_float16():
    numbers = [value for value in load("nano", device="cpu").state_dict().values() if value.is_floating_point()]
    assert max(float(value.abs().max()) for value in numbers) < 1000
    load("nano", device="cpu", dtype=torch.float16)


def test_numbers_that_are_not_finite_are_not_written(tmp_path):
    path = tmp_path / "small.safetensors"
    model = BiRefNet(SMALL)
    with torch.no_grad():
        model.decoder.head.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"decoder\.head\.weight has numbers that are not finite in torch\.float16"):
        save(model, path, dtype=torch.float16)
    with torch.no_grad():
        model.decoder.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="nothing was written"):
        save(model, path)
    assert not list(tmp_path.iterdir())


def test_save_and_load(tmp_path):
    model = BiRefNet(SMALL)
    path = tmp_path / "folder" / "small.safetensors"
    save(model, path)
    loaded = load(path, device="cpu")
    assert loaded.config == SMALL
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(model))
    assert [entry.name for entry in path.parent.iterdir()] == ["small.safetensors"]
    half = load(str(path), device="cpu", dtype=torch.float16)
    assert {p.dtype for p in half.parameters()} == {torch.float16}


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def broken(weights, file, metadata):
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(files, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        save(BiRefNet(SMALL), path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    save(BiRefNet(SMALL), tmp_path / "model.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_save_wants_a_safetensors_name(tmp_path):
    with pytest.raises(ValueError, match=r"model\.pth"):
        save(BiRefNet(SMALL), tmp_path / "model.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."])
def test_prefixes_come_off(model, weights, prefix):
    other = BiRefNet(OFFICIAL)
    load_official_state_dict(other, {prefix + key: value for key, value in weights.items()})
    assert torch.equal(logits(other), logits(model))
    assert any(key.startswith("squeeze_module.") for key in weights)


def test_round_trip_through_official_names(model, weights):
    twin = BiRefNet(OFFICIAL)
    load_official_state_dict(twin, weights)
    again = official_state_dict(twin)
    assert all(torch.equal(again[key], weights[key]) for key in weights)
    assert torch.equal(logits(twin), logits(model))
    kept = official_state_dict(model, keep_vars=True)
    assert kept["decoder.conv_out1.0.weight"] is model.decoder.head.weight


def to_old_order(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Writes the image branches as checkpoints before November 2024 have them, one filter at a time."""
    old = dict(weights)
    for level, grid in ((5, 32), (4, 16), (3, 8), (2, 4)):
        key = f"decoder.ipt_blk{level}.conv1.weight"
        new = weights[key]
        moved = torch.empty_like(new)
        for colour in range(3):
            for row in range(grid):
                for column in range(grid):
                    moved[:, (column * grid + row) * 3 + colour] = new[:, (colour * grid + row) * grid + column]
        old[key] = moved
    return old


def test_old_and_new_patch_order(model, weights):
    old = to_old_order(weights)
    right, wrong = BiRefNet(OFFICIAL), BiRefNet(OFFICIAL)
    load_official_state_dict(right, old, patch_order="old")
    load_official_state_dict(wrong, old)
    assert torch.equal(logits(right), logits(model))
    assert not torch.allclose(logits(wrong), logits(model), atol=1e-4)
    with pytest.raises(ValueError, match="'new' or 'old'"):
        load_official_state_dict(right, old, patch_order="newest")


def test_misfits_are_listed_and_nothing_is_loaded(weights):
    broken = dict(weights)
    del broken["decoder.conv_out1.0.bias"]
    broken["decoder.extra.weight"] = torch.zeros(2)
    broken["bb.patch_embed1.proj.weight"] = torch.zeros(1, 2, 3)
    other = BiRefNet(OFFICIAL)
    before = logits(other)
    with pytest.raises(CheckpointError) as caught:
        load_official_state_dict(other, broken)
    message = str(caught.value)
    for word in ("1 missing", "conv_out1.0.bias", "1 unexpected", "decoder.extra", "1 misshapen", "(1, 2, 3)"):
        assert word in message
    assert torch.equal(logits(other), before)
    with pytest.raises(CheckpointError, match="tensors"):
        load_official_state_dict(other, {"a": 3})
    with pytest.raises(CheckpointError, match="Two tensors"):
        load_official_state_dict(other, {**weights, "module.bb.norm1.weight": weights["bb.norm1.weight"]})


@pytest.mark.parametrize("form", ["safetensors", "pth", "wrapped.pth"])
def test_files_in_the_published_format(model, weights, tmp_path, form):
    path = tmp_path / f"trained.{form}"
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if form.startswith("wrapped") else weights, path)
    with pytest.warns(UserWarning, match="patch_order='old'"):
        loaded = load(path, device="cpu")
    assert torch.equal(logits(loaded), logits(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path, device="cpu", patch_order="new")


@pytest.mark.parametrize(
    "flags",
    [
        {"bb": "vgg16bn", "dec_blk": "ResBlk", "dec_att": "ASPP", "cxt_num": 2},
        {"bb": "swin_v1_s", "squeeze_block": "ASPPDeformable_x3", "dec_channels_inter": "adap"},
        {"bb": "swin_v1_b", "squeeze_block": "ASPP_x3", "ms_supervision": False},
        {"bb": "pvt_v2_b5", "squeeze_block": "", "mul_scl_ipt": "", "dec_ipt_split": False},
        {"bb": "dino_v3_l", "squeeze_block": "", "auxiliary_classification": True, "out_ref": False},
        {"bb": "resnet50", "dec_ipt": False, "dec_att": "", "batch_size": 1, "squeeze_block": "ResBlk_x4"},
    ],
)
def test_the_configuration_is_read_from_the_shapes(flags):
    config = BiRefNetConfig.from_official(**flags)
    with torch.device("meta"):
        found = infer_config(official_state_dict(BiRefNet(config)))
    # Whether tiles or a small image go in cannot matter, nor be seen, without an inward reference.
    assert found == (config if config.inward_reference else config.replace(image_tiles=found.image_tiles))


def hub_cache(tmp_path, name, weights):
    folder = tmp_path / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(weights, snapshot / "model.safetensors")


def test_a_published_checkpoint_comes_from_the_cache(tmp_path, monkeypatch, no_network):
    torch.manual_seed(0)
    lite = BiRefNet().eval()
    published = {key: value.half() if value.is_floating_point() else value
                 for key, value in to_old_order(official_state_dict(lite)).items()}  # fmt: skip
    hub_cache(tmp_path, "ZhengPeng7/BiRefNet_lite", published)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("ZhengPeng7/BiRefNet_lite", "BiRefNet_lite"):
        loaded = load(name, device="cpu")
        assert loaded.config.backbone == "swin_v1_t"
        assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(logits(loaded), logits(lite.half().float()), rtol=1e-4, atol=1e-4)


def test_an_absent_published_checkpoint_says_what_to_run(tmp_path, monkeypatch, no_network):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"hf download ZhengPeng7/BiRefNet_HR model\.safetensors"):
        load("ZhengPeng7/BiRefNet_HR")


def test_the_table_of_published_checkpoints():
    with torch.device("meta"):
        for entry in set(files.PUBLISHED.values()):
            BiRefNetConfig(backbone=entry.backbone, train_size=entry.train_size)
            assert entry.patch_order in ("new", "old")
    assert files.PUBLISHED["ZhengPeng7/BiRefNet_lite-2K"].train_size == (1440, 2560)


class Hostile:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def damaged_files(tmp_path: Path) -> dict[str, Path]:
    """Name of the damage to file."""
    whole = tmp_path / "whole.safetensors"
    save(BiRefNet(SMALL), whole)
    content = whole.read_bytes()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "empty.pth").touch()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (tmp_path / "header.safetensors").write_bytes(b"\xff" * 16)
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "hostile.pth").write_bytes(pickle.dumps({"a": Hostile()}))
    torch.save({"a": Hostile()}, tmp_path / "hostile_zip.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    torch.save({"a": "b"}, tmp_path / "strings.pth")
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "foreign.safetensors")
    save_file({}, tmp_path / "nothing.safetensors")
    zipped = tmp_path / "cut.pth"
    torch.save({"a": torch.zeros(1000)}, zipped)
    zipped.write_bytes(zipped.read_bytes()[:2000])
    for name, config in (
        ("no_json", "{"),
        ("no_fields", json.dumps({"colour": 1})),
        ("list", "[]"),
        ("bad", '{"aspp": 1}'),
    ):
        metadata = {"format": "birefnet_lite", "config": config}
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors", metadata=metadata)
    metadata = {"format": "birefnet_lite", "config": json.dumps(SMALL.to_dict())}
    save_file({"a": torch.zeros(1)}, tmp_path / "other_weights.safetensors", metadata=metadata)
    return {path.name: path for path in tmp_path.iterdir() if path != whole}


def test_damaged_foreign_and_hostile_files_are_refused(tmp_path, capsys):
    files = damaged_files(tmp_path)
    assert len(files) > 15
    for name, path in files.items():
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert name in str(caught.value)
        assert len(str(caught.value)) > len(str(path)) + 25, "it must say why"
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "word"), [("lite", "ZhengPeng7/BiRefNet_lite"), ("no/such", "ZhengPeng7/BiRefNet_HR")]
)
def test_names_without_weights_say_which_there_are(name, word):
    with pytest.raises(CheckpointError, match=word):
        load(name)


def test_automatic_dtype_is_bfloat16_for_wide_networks_on_fast_processors(tmp_path, monkeypatch):
    wide = SMALL.replace(backbone="swin_v1_t", inter_channels=64, aspp_channels=64)
    save(BiRefNet(wide), tmp_path / "wide.safetensors")

    def find_dtype(name):
        return next(load(name, device="cpu", dtype="auto").parameters()).dtype

    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: True)
    assert find_dtype(tmp_path / "wide.safetensors") == torch.bfloat16
    assert find_dtype("nano") == torch.float32
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: False)
    assert find_dtype(tmp_path / "wide.safetensors") == torch.float32


def test_the_public_names():
    assert {"BiRefNet", "BiRefNetConfig", "BiRefNetOutput", "CheckpointError", "load"} <= set(birefnet_lite.__all__)
