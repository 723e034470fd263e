"""Backbones against torchvision's and timm's own."""

import pytest
import timm
import torch
import torchvision

from birefnet_lite import BiRefNetConfig
from birefnet_lite.config import BACKBONES
from birefnet_lite.network.backbone import build_backbone, timm_models
from birefnet_lite.network.backbone.swin import SwinTransformer, shift_mask, window_partition, window_reverse
from birefnet_lite.network.backbone.timm_models import swin_weights_from_timm

LIGHT = [name for name in BACKBONES if name.startswith(("vgg", "resnet", "swin_v1_t", "pvt_v2_b0", "dino_v3_s"))]


@pytest.mark.parametrize("name", LIGHT)
def test_four_maps_of_the_promised_widths(name):
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, 64, 96))
    assert backbone.channels == BACKBONES[name] == tuple(x.shape[1] for x in features)
    strides = (16,) * 4 if name.startswith("dino") else (4, 8, 16, 32)
    assert [x.shape[-2:] for x in features] == [(64 // s, 96 // s) for s in strides]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_table_of_widths(name):
    with torch.device("meta"):
        assert build_backbone(name).channels == BACKBONES[name]


def random_swin() -> SwinTransformer:
    torch.manual_seed(1)
    backbone = build_backbone("swin_v1_t").double().eval()
    for name, parameter in backbone.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
    return backbone


@pytest.mark.parametrize("size", [(256, 288), (320, 352)])
def test_swin_equals_torchvision(size):
    """Where the deepest grid exceeds the window; in smaller grids torchvision switches the shift off."""
    ours, theirs = random_swin(), torchvision.models.swin_t().double().eval()
    weights = {}
    for key, value in ours.state_dict().items():
        head, *rest = key.split(".")
        if head == "patch_embed":
            weights[f"features.0.{ {'proj': 0, 'norm': 2}[rest[0]] }.{rest[1]}"] = value
        elif head == "layers" and rest[1] == "blocks":
            name = ".".join(rest[3:]).replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")
            flat = value.flatten() if name.endswith("position_index") else value
            weights[f"features.{2 * int(rest[0]) + 1}.{rest[2]}.{name}"] = flat
        elif head == "layers":
            weights[f"features.{2 * int(rest[0]) + 2}.{'.'.join(rest[2:])}"] = value
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(key.startswith(("norm.", "head.")) for key in missing)

    x = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.inference_mode():
        features = ours(x)
        for i, layer in enumerate(theirs.features):
            x = layer(x)
            if i % 2:
                expected = ours.norms[i // 2](x).permute(0, 3, 1, 2)
                torch.testing.assert_close(features[i // 2], expected, rtol=1e-12, atol=1e-12)


def test_swin_equals_timm():
    """At multiples of 224, where no window is padded; elsewhere timm rolls before it pads."""
    ours = random_swin()
    theirs = timm.create_model(
        "swin_tiny_patch4_window7_224", features_only=True, img_size=448, always_partition=True
    ).double().eval()  # fmt: skip
    renamed = {key.replace("layers_", "layers."): value for key, value in theirs.state_dict().items()}
    ours.load_imagenet_weights(swin_weights_from_timm(renamed))
    x = torch.randn(1, 3, 448, 448, dtype=torch.float64)
    with torch.inference_mode():
        for level, (feature, expected) in enumerate(zip(ours(x), theirs(x), strict=True)):
            expected = ours.norms[level](expected).permute(0, 3, 1, 2)
            torch.testing.assert_close(feature, expected, rtol=1e-12, atol=1e-12)


def test_windows_come_apart_and_together():
    x = torch.arange(2 * 6 * 9 * 4).reshape(2, 6, 9, 4)
    windows = window_partition(x, 3)
    assert windows.shape == (2, 6, 9, 4)
    assert torch.equal(windows[1, 4], x[1, 3:6, 3:6].reshape(9, 4))
    assert torch.equal(window_reverse(windows, 3, 6, 9), x)


def test_the_shift_mask_lets_true_neighbours_see_each_other():
    """Against brute force: after the roll, two pixels of a window belong together if no border lies between them."""
    height, width, window, shift = 8, 12, 4, 2
    mask = shift_mask(height, width, window, shift, like=torch.zeros(()))
    position = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1)
    rolled = torch.roll(position, (-shift, -shift), dims=(0, 1))
    windows = window_partition(rolled[None], window)[0]  # (windows, N, 2): where each pixel was before the roll
    distance = (windows[:, :, None] - windows[:, None]).abs().amax(dim=-1)
    assert torch.equal(mask == 0, distance < window)
    assert set(mask.unique().tolist()) == {0.0, float("-inf")}


@pytest.mark.parametrize("variant", ["swin_v1_t", "swin_v1_s", "swin_v1_b", "swin_v1_l"])
def test_imagenet_weights_fit_every_swin(variant, monkeypatch):
    """timm's random weights stand in for the download; the names and shapes are those of the real file."""
    create = timm.create_model
    asked = []

    def offline(name, pretrained=False, **options):
        asked.append((name, pretrained))
        return create(name.split(".")[0], pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with torch.device("meta"):
        build_backbone(variant, pretrained=True)
    assert asked[0][1] is True


@pytest.mark.parametrize("name", ["swin_v1_t", "resnet50", "pvt_v2_b0"])
def test_offline_pretraining_says_what_to_do(name, no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"bb_pretrained=False"):
        build_backbone(name, pretrained=True)


def test_any_timm_pyramid_or_plain_transformer():
    for name, pyramid in (("test_efficientnet", True), ("test_vit", False), ("swin_tiny_patch4_window7_224", True)):
        backbone = build_backbone(f"timm:{name}").eval()
        assert backbone.is_pyramid == pyramid
        with torch.inference_mode():
            features = backbone(torch.randn(1, 3, 64, 96))
        assert tuple(x.shape[1] for x in features) == backbone.channels
        assert len(features) == 4


@pytest.mark.parametrize(("name", "word"), [
    ("timm:sequencer2d_s", "strides"),
    ("timm:pit_ti_224", "any size"),
    ("timm:mixer_s16_224", "any size"),
    ("timm:nothing", "nothing"),
    ("swin", "BACKBONES"),
])  # fmt: skip
def test_what_is_no_backbone_is_refused(name, word):
    with pytest.raises(ValueError, match=word):
        build_backbone(name)


def test_the_largest_dino_is_refused_where_it_would_fill_the_memory():
    with pytest.raises(ValueError, match="meta"):
        build_backbone(BiRefNetConfig(backbone="dino_v3_7b").backbone)


def test_a_seed_gives_the_same_weights_whether_or_not_timm_was_asked_before():
    timm_models._outputs.cache_clear()
    first, second = (seeded_weights() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def seeded_weights():
    torch.manual_seed(3)
    return [*build_backbone("pvt_v2_b0").parameters()]
