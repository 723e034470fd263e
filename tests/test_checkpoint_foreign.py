"""Checkpoints as other training programs and users leave them: wrappers, prefixes, odd tensors, odd names."""

import copy
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from birefnet_lite import BiRefNet, BiRefNetConfig, CheckpointError, load
from birefnet_lite.checkpoints import files, official_state_dict, save

# The smallest network that the original can have, so that its configuration can be inferred.
SMALL = BiRefNetConfig(backbone="pvt_v2_b0", inter_width="adaptive", squeeze_block="none", aspp="none")


@pytest.fixture(scope="module")
def model() -> BiRefNet:
    torch.manual_seed(0)
    return BiRefNet(SMALL).eval()


@pytest.fixture(scope="module")
def weights(model) -> dict[str, torch.Tensor]:
    return official_state_dict(model)


def prefix(weights: dict, *prefixes: str) -> dict:
    """The weights with each of these prefixes, in one dict."""
    return {start + name: value for start in prefixes for name, value in weights.items()}


def assert_loads(path: Path, model: BiRefNet) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load(path, device="cpu")
    assert loaded.config == model.config
    wanted = model.state_dict()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, wanted[name]), name


@pytest.fixture(autouse=True)
def _no_word_about_patch_orders():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*in which order its image tiles are")
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
        yield


def assert_refused(path: Path | str, *words: str, **options) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(path, device="cpu", **options)
    message = str(caught.value)
    assert len(message) < 900
    assert "\n" not in message
    for word in words:
        assert word in message


FORMS = {
    "lightning": lambda w: {"epoch": 3, "state_dict": prefix(w, "model.net."), "optimizer_states": [{"state": {}}]},
    "lightning with a loss network": lambda w: {
        "state_dict": prefix(w, "model.") | {"loss.vgg.features.0.weight": torch.zeros(3)}
    },
    "model": lambda w: {"model": w, "optimizer": {"state": {0: {"step": torch.zeros(())}}}},
    "nested": lambda w: {"model": {"state_dict": w}},
    "module": lambda w: {"module": prefix(w, "module.")},
    "net": lambda w: {"net": w},
    "params": lambda w: {"params": w},
    "student": lambda w: {"student": w, "teacher_temperature": 0.1},
    "ema": lambda w: {"ema": w, "epoch": 2},
    "ema beside the model": lambda w: {"model": {k: v * 0 for k, v in w.items()}, "model_ema": w},
    "swa": lambda w: prefix(w, "module.") | {"n_averaged": torch.tensor(5)},
    "ema in lightning": lambda w: {
        "state_dict": {k: v * 0 for k, v in prefix(w, "model.").items()} | prefix(w, "ema_model.")
    },
    "fabric": lambda w: prefix(w, "_forward_module."),
    "compiled inside": lambda w: {k.replace("decoder.", "decoder._orig_mod."): v for k, v in w.items()},
    "sharded": lambda w: {k.replace("bb.", "bb._fsdp_wrapped_module."): v for k, v in w.items()},
    "no counters": lambda w: {k: v for k, v in w.items() if not k.endswith("num_batches_tracked")},
    "counters of floats": lambda w: {
        k: v.float() if k.endswith("num_batches_tracked") else v for k, v in w.items()
    },
    "parameters": lambda w: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in w.items()},
    "number beside tensors": lambda w: {**w, "epoch": 4},
    "double": lambda w: {k: v.double() if v.is_floating_point() else v for k, v in w.items()},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_wrapped_and_prefixed_weights_are_found(form, model, weights, tmp_path):
    path = tmp_path / "trained.ckpt"
    torch.save(FORMS[form](weights), path)
    assert_loads(path, model)


def test_averaged_weights_beside_plain_ones_are_announced(weights, tmp_path):
    torch.save({"state_dict": weights, "ema": weights}, tmp_path / "two.pth")
    with pytest.warns(UserWarning, match="averaged weights under 'ema' beside those under 'state_dict'"):
        load(tmp_path / "two.pth", device="cpu")


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "b.Pth", "c.PT", "d.CKPT", "really_safetensors.pth"])
def test_case_and_kind_of_suffix_do_not_matter(name, model, weights, tmp_path):
    write = save_file if "safetensors" in name.lower() else torch.save
    write({k: v.contiguous() for k, v in weights.items()}, tmp_path / name)
    assert_loads(tmp_path / name, model)


def test_own_names_without_a_configuration_need_one(model, tmp_path):
    path = tmp_path / "own.pth"
    torch.save({"state_dict": prefix(model.state_dict(), "model.")}, path)
    assert_refused(path, "own.pth", "config=")
    loaded = load(path, device="cpu", config=SMALL)
    wanted = model.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in loaded.state_dict().items())


def one_changed(weights: dict, change) -> dict:
    key = "decoder.decoder_block3.conv_in.weight"
    return {**weights, key: change(weights[key])}


ODD = {
    "quantized": (lambda v: torch.quantize_per_tensor(v.detach(), 0.1, 0, torch.qint8), "quantized tensor"),
    "sparse": (lambda v: v.to_sparse(), "sparse tensor"),
    "complex": (lambda v: v.to(torch.complex64), "complex tensor"),
    "meta": (lambda v: v.to("meta"), "meta (without numbers) tensor"),
    "not a number": (lambda v: v * float("nan"), "1 of its tensors have NaN or infinite numbers"),
    "infinite": (lambda v: v / 0, "NaN or infinite"),
    "integers": (lambda v: v.to(torch.int8), "no floating-point"),
    "scalar": (lambda v: v.flatten()[0], "shapes of its weights are not those of a BiRefNet"),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_cannot_be_weights_are_refused_in_one_line(kind, weights, tmp_path):
    change, words = ODD[kind]
    changed = one_changed(weights, change)
    if kind == "scalar":
        key = "decoder.decoder_block4.conv_in.weight"
        changed = {**weights, key: change(weights[key])}
    torch.save(changed, tmp_path / "odd.pth")
    assert_refused(tmp_path / "odd.pth", "odd.pth", words, *([] if kind == "scalar" else ["decoder_block3"]))


def test_numbers_that_are_not_finite_are_refused_in_an_own_file_too(model, tmp_path):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.decoder.head.weight.fill_(float("inf"))
    path = tmp_path / "own.safetensors"
    save(model, path)
    metadata = {"format": "birefnet_lite", "config": json.dumps(SMALL.to_dict())}
    save_file({k: v.contiguous() for k, v in broken.state_dict().items()}, path, metadata=metadata)
    assert_refused(path, "decoder.head.weight", "NaN or infinite")


@pytest.mark.parametrize(
    "content",
    [
        {0: torch.zeros(2), 1: torch.zeros(3)},
        {"a": {0: torch.zeros(2)}},
        {"state_dict": {}},
        {},
        torch.zeros(3),
        {"state_dict": [torch.zeros(3)]},
        {"optimizer": {"state": {0: {"step": torch.zeros(())}}}},
    ],
)
def test_files_without_a_state_dict_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    assert_refused(tmp_path / "odd.pth", "does not hold a state dict")


def test_two_networks_without_an_averaged_one_are_refused(weights, tmp_path):
    torch.save(prefix(weights, "student.", "teacher."), tmp_path / "two.pth")
    assert_refused(tmp_path / "two.pth", "several networks", "'student.'", "'teacher.'")


def test_long_lists_are_cut_after_five_names(weights, tmp_path):
    some = {key: value for key, value in weights.items() if not key.startswith("decoder.decoder_block1.")}
    torch.save({f"other.{i}": torch.zeros(1) for i in range(40)} | some, tmp_path / "some.pth")
    assert_refused(tmp_path / "some.pth", "missing", "40 unexpected", "other.4, and 35 more")


def test_a_network_of_another_kind_is_refused_in_one_line(tmp_path):
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict(), tmp_path / "other.pth")
    assert_refused(tmp_path / "other.pth", "no BiRefNet")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    assert_refused(tmp_path / "whole.pth", "Python objects")


# ---- names ----


def test_a_folder_called_like_a_preset_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert load("nano", device="cpu").config == BiRefNetConfig.preset("nano")
    assert load(Path("nano"), device="cpu").config == BiRefNetConfig.preset("nano")
    assert_refused("./nano", "it is a folder")


def test_a_file_called_like_a_preset_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").write_text("not a checkpoint")
    assert_refused("nano", "of type 'nothing'")


def test_the_shipped_model_does_not_depend_on_the_working_directory(tmp_path):
    """A package imported through a relative path, and a working directory that changes afterwards."""
    root = Path(files.__file__).parents[2]
    code = (
        f"import os, sys; os.chdir({str(root)!r}); sys.path.insert(0, '.')\n"
        "import birefnet_lite\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "print(birefnet_lite.load('nano', device='cpu').config.backbone)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["convnet_n"], run.stderr[-500:]


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte", "no/such/file.pth", "", "."])
def test_names_that_are_no_file_give_one_line(name):
    assert_refused(name)


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="permissions bind neither Windows nor root")
def test_a_file_that_may_not_be_read_gives_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.pth").write_bytes(b"1")
    (tmp_path / "folder").chmod(0)
    try:
        assert_refused(tmp_path / "folder" / "model.pth", "permission denied")
    finally:
        (tmp_path / "folder").chmod(0o700)


# ---- published checkpoints ----


def test_an_order_that_is_not_verified_is_announced_once_for_each_name(tmp_path, monkeypatch, weights):
    path = tmp_path / "model.safetensors"
    save_file({k: v.contiguous() for k, v in weights.items()}, path)
    monkeypatch.setattr(files, "download", lambda name: path)
    monkeypatch.setattr(files, "_warned", set())

    def warned(name: str, **options) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load(name, device="cpu", config=SMALL, **options)
        return [str(warning.message) for warning in caught]

    assert warned("BiRefNet_HR", patch_order="old") == []
    assert ["BiRefNet_HR ('new') is inferred" in line for line in warned("BiRefNet_HR")] == [True]
    assert warned("ZhengPeng7/BiRefNet_HR") == []
    assert ["BiRefNet_T ('old') is inferred" in line for line in warned("BiRefNet_T")] == [True]
    assert warned("BiRefNet_lite") == []  # verified


# ---- writing ----


def test_save_writes_the_network_inside_wrappers(model, tmp_path):
    for number, wrapped in enumerate((torch.compile(model), nn.DataParallel(model), AveragedModel(model))):
        save(wrapped, tmp_path / f"{number}.safetensors")
        assert_loads(tmp_path / f"{number}.safetensors", model)


def test_save_refuses_what_it_could_not_load(model, tmp_path):
    from birefnet_lite import optimize

    with pytest.raises(TypeError, match="takes a BiRefNet, not OptimizedBiRefNet"):
        save(optimize(model), tmp_path / "model.safetensors")
    with torch.device("meta"):
        empty = BiRefNet(SMALL)
    with pytest.raises(ValueError, match="meta device"):
        save(empty, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_cut_and_damaged_files_are_refused_in_one_line(weights, tmp_path):
    torch.save(weights, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "cut.pth").write_bytes(content[: int(share * len(content))])
        assert_refused(tmp_path / "cut.pth", "cut.pth")
    shutil.copy(tmp_path / "whole.pth", tmp_path / "damaged.pth")
    with (tmp_path / "damaged.pth").open("r+b") as file:
        file.seek(100)
        file.write(bytes(200))
    assert_refused(tmp_path / "damaged.pth", "damaged.pth")
