"""Capture: the named maps are those of the network, and capturing changes neither the model nor its result."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_network import small
from torch import nn

from birefnet_lite.analysis import as_photo, capture, prepare
from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.inference.images import MEAN, STD
from birefnet_lite.inference.predict import network_size, resize, run_network, segment
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.photos import PHOTOS, load_photo


def test_names_shapes_and_strides(model, photo):
    maps = capture(model, photo)
    assert list(maps)[:4] == [f"encoder.full.x{i}" for i in (1, 2, 3, 4)]
    assert [maps.stride(f"encoder.full.x{i}") for i in (1, 2, 3, 4)] == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert [maps.stride(f"encoder.half.x{i}") for i in (1, 2, 3, 4)] == [
        (8, 8),
        (16, 16),
        (32, 32),
        (64, 48),
    ]  # 1.5 cells become 2
    for stage, stride in ((4, 32), (3, 16), (2, 8)):
        steps = ("inward_reference", "reconstruction", "side", "gradient_attention", "gradient_prediction")
        for step in steps:
            assert maps.stride(f"decoder.stage{stage}.{step}") == (stride, stride)
        for step in ("lateral", "out"):
            assert maps.stride(f"decoder.stage{stage}.{step}") == (stride / 2, stride / 2)
        attention = maps[f"decoder.stage{stage}.gradient_attention"]
        assert attention.shape[0] == 1
        assert 0 <= attention.min() <= attention.max() <= 1
    assert maps["logits"].shape == (1, 64, 96)
    assert all(x.dtype == torch.float32 and x.device.type == "cpu" and x.ndim == 3 for x in maps.values())


def test_the_maps_are_those_of_the_forward_pass(model, photo):
    maps = capture(model, photo)
    with torch.no_grad():
        assert torch.equal(maps["logits"], model(maps.input).logits[0])
        features = model.encoder(maps.input)
        assert torch.equal(maps["squeeze"], model.squeeze(features[3])[0])
        reconstruction = maps["decoder.stage3.reconstruction"][None]
        stage = model.decoder.stage3
        assert torch.equal(maps["decoder.stage3.side"], stage.side_head(reconstruction)[0])
        assert torch.equal(maps["decoder.stage3.gradient_attention"], stage.outward(reconstruction)[0][0])


def test_side_outputs_are_those_that_training_supervises(photo):
    model = small()
    maps = capture(model, photo)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.train(False)
    model.training = True
    for stage in model.decoder.stages:
        stage.training = True
    with torch.no_grad():
        sides = model(maps.input).side_logits
    for stage, side in zip((4, 3, 2), sides, strict=True):
        torch.testing.assert_close(maps[f"decoder.stage{stage}.side"], side[0])


def hooks_of(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_the_model_is_left_as_it_was(photo):
    model = small()
    model.train()
    model.decoder.stage2.eval()
    modes = [module.training for module in model.modules()]
    capture(model, photo)
    assert [module.training for module in model.modules()] == modes
    assert hooks_of(model) == 0


def test_hooks_go_also_when_the_model_raises(photo):
    model = small()

    def fail(*_):
        raise RuntimeError("in the middle")

    handle = model.decoder.stage3.reconstruction.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        capture(model, photo)
    handle.remove()
    assert hooks_of(model) == 0
    assert "logits" in capture(model, photo)


def test_only_the_layers_asked_for(model, photo):
    assert list(capture(model, photo, layers=["squeeze"])) == ["squeeze"]
    with pytest.raises(ValueError, match=r"no layer decoder\.stage9"):
        capture(model, photo, layers=["decoder.stage9"])


def test_an_unknown_name_is_answered_with_the_known_ones(model, photo):
    with pytest.raises(KeyError, match=r"squeeze.*logits"):
        capture(model, photo)["bottleneck"]


def test_a_model_without_weights_is_told(photo):
    with torch.device("meta"):
        model = BiRefNet(BiRefNetConfig.preset("nano"))
    with pytest.raises(ValueError, match="meta device"):
        capture(model, photo)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"multi_scale_input": "none"}, "encoder.half.x1"),
        ({"squeeze_block": "none"}, "squeeze"),
        ({"inward_reference": False}, "decoder.stage4.inward_reference"),
        ({"outward_reference": False}, "decoder.stage4.gradient_attention"),
        ({"multi_stage_supervision": False, "outward_reference": False}, "decoder.stage4.side"),
    ],
)
def test_parts_that_a_model_lacks_have_no_maps(photo, changes, absent):
    maps = capture(small(**changes), photo)
    assert absent not in maps
    assert "logits" in maps


def test_a_double_model_computes_in_double(photo):
    model = small().double()
    maps = capture(model, photo)
    assert maps.input.dtype == torch.float64
    assert maps["logits"].dtype == torch.float32


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((64, 96), None, (64, 96)),
        ((70, 100), None, (64, 96)),
        ((10, 4000), None, (64, 96)),
        ((50, 80), 64, (64, 64)),
        ((50, 80), (100, 128), (96, 128)),
    ],
)
def test_a_photo_is_squashed_to_the_size_of_the_network(model, shape, size, expected):
    prepared = prepare(model, np.zeros((*shape, 3), np.uint8), size)
    assert prepared.tensor.shape == (1, 3, *expected)
    assert prepared.seen.shape == (*expected, 3)
    assert prepared.photo.shape == (*shape, 3)


def test_sizes_that_no_network_takes_are_refused(model):
    with pytest.raises(TypeError, match="not 'large'"):
        prepare(model, np.zeros((8, 8, 3), np.uint8), "large")
    with pytest.raises(ValueError, match="takes 64 pixels or more"):
        prepare(model, np.zeros((8, 8, 3), np.uint8), 8)


@pytest.mark.parametrize("name", PHOTOS)
def test_the_mask_of_a_photo_is_that_of_segment(model, name):
    photo, _, _ = load_photo(name)
    maps = capture(model, photo, layers=["logits"])
    height, width = network_size(model)
    np.testing.assert_array_equal(maps.mask, run_network(model, resize(photo, height, width)))
    np.testing.assert_array_equal(resize(maps.mask, *photo.shape[:2]).clip(0, 1), segment(model, photo))


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (333, 41, 3), (65, 97, 4), (64, 96)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_mask_of_odd_photos_is_that_of_segment(model, shape, dtype):
    values = np.random.default_rng(1).random(shape)
    photo = (values * (1 if dtype is np.float32 else np.iinfo(dtype).max)).astype(dtype)
    maps = capture(model, photo, size=(64, 128), layers=["logits"])
    np.testing.assert_array_equal(resize(maps.mask, *photo.shape[:2]).clip(0, 1), segment(model, photo, size=(64, 128)))
    assert maps.photo.shape == (*shape[:2], 3)
    assert maps.seen.shape == (64, 128, 3)


def test_normalisation(model, photo):
    prepared = prepare(model, photo)
    back = prepared.tensor[0].permute(1, 2, 0).numpy() * np.array(STD) + np.array(MEAN)
    np.testing.assert_allclose(back * 255, photo, atol=1e-3)


def test_one_photo_in_every_form(tmp_path, photo):
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    tensor = torch.from_numpy(photo).permute(2, 0, 1) / 255
    for form in (path, str(path), Image.open(path), photo, photo / 255, tensor):
        np.testing.assert_array_equal(as_photo(form), photo)


def test_what_is_no_image_is_told(model):
    with pytest.raises(TypeError, match="not int"):
        capture(model, 3)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        capture(model, np.full((2, 2, 3), -2.0))
