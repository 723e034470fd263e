"""The assembled network: every flag, what it refuses, what it gives."""

import pytest
import torch
from pairwise import cover_pairs

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.checkpoints import load_official_state_dict, official_state_dict
from birefnet_lite.network.refinement import gradient_target, masked_gradient_target

SMALL = {"inter_channels": 8, "aspp_channels": 8, "image_channels": 8}


def small(**fields) -> BiRefNet:
    """The architecture at widths that run in a blink."""
    return BiRefNet(BiRefNetConfig(**{"backbone": "timm:test_convnext", **SMALL, **fields}))


OPTIONS = {
    "multi_scale_input": ["none", "add", "cat"],
    "context_scales": [0, 1, 2, 3],
    "squeeze_block": ["none", "basic", "residual", "aspp", "deformable_aspp"],
    "squeeze_depth": [1, 2, 3],
    "reconstruction_block": ["basic", "residual"],
    "aspp": ["none", "plain", "deformable"],
    "inter_width": ["fixed", "adaptive"],
    "inward_reference": [False, True],
    "image_tiles": [False, True],
    "gradient_target": ["original", "masked"],
    "auxiliary_classification": [False, True],
    "batch_norm": [False, True],
    "supervision": [(True, True), (True, False), (False, False)],
}


@pytest.mark.parametrize("fields", cover_pairs(OPTIONS))
def test_every_pair_of_options_runs_trains_and_round_trips(fields):
    fields = dict(fields)
    multi_stage, outward = fields.pop("supervision")
    model = small(multi_stage_supervision=multi_stage, outward_reference=outward, **fields)
    batch = 2 if model.config.batch_norm else 1
    output = model.train()(torch.randn(batch, 3, 64, 96))
    assert output.logits.shape == (batch, 1, 64, 96)
    strides = (32, 16, 8)
    sides = [(batch, 1, 64 // s, 96 // s) for s in strides]
    assert [side.shape for side in output.side_logits] == (sides if multi_stage else [])
    assert [gradient.shape for gradient in output.gradient_logits] == (sides if outward else [])
    assert [target.shape for target in output.gradient_targets] == ([(batch, 1, 64, 96)] * 3 if outward else [])
    assert (output.class_logits is not None) == model.config.auxiliary_classification

    trained = [output.logits, *output.side_logits, *output.gradient_logits]
    if output.class_logits is not None:
        trained.append(output.class_logits)
    sum(x.square().mean() for x in trained).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []

    copy = small(multi_stage_supervision=multi_stage, outward_reference=outward, **fields).eval()
    load_official_state_dict(copy, official_state_dict(model))
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(copy(image).logits, model.eval()(image).logits)


def test_as_the_tutorials_call_it():
    model = BiRefNet().eval()
    with torch.no_grad():
        mask = model(torch.randn(1, 3, 64, 64))[-1].sigmoid()
    assert mask.shape == (1, 1, 64, 64)
    assert 0 <= mask.min() <= mask.max() <= 1


def test_parameter_counts():
    """Birefnet-facts: 44.31 M with swin_v1_t, of which 27.52 M backbone; 220.18 M with swin_v1_l."""
    with torch.device("meta"):
        lite, large = BiRefNet(), BiRefNet(BiRefNetConfig.preset("large"))

    def millions(module):
        return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)

    assert (millions(lite), millions(lite.encoder), millions(lite.squeeze), millions(lite.decoder)) == (
        44.31,
        27.52,
        4.11,
        12.68,
    )
    assert (millions(large), millions(large.encoder), millions(large.squeeze), millions(large.decoder)) == (
        220.18,
        195.20,
        6.66,
        18.32,
    )


@pytest.mark.parametrize(("value", "word"), [
    (torch.zeros(1, 3, 100, 100), "multiples of 32.*100 x 100"),
    (torch.zeros(1, 3, 32, 64), "at least 64"),
    (torch.zeros(3, 64, 64), r"\(B, 3, H, W\)"),
    (torch.zeros(1, 4, 64, 64), r"\(1, 4, 64, 64\)"),
    (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "uint8"),
    ("photo.jpg", "str"),
])  # fmt: skip
def test_images_that_do_not_fit_are_refused(value, word):
    with pytest.raises((ValueError, TypeError), match=word):
        small().eval()(value)


@pytest.mark.parametrize(
    ("weights", "image"),
    [(torch.float32, torch.float16), (torch.float16, torch.float32), (torch.bfloat16, torch.float64)],
)
def test_dtypes_that_differ_are_both_named(weights, image):
    model = small().eval().to(weights)
    names = [str(dtype).removeprefix("torch.") for dtype in (image, weights)]
    with pytest.raises(TypeError, match=rf"image is {names[0]} .* weights are {names[1]}.*torch\.autocast"):
        model(torch.zeros(1, 3, 64, 64, dtype=image))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_takes_images_of_either_dtype(dtype):
    model, x = small().eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        for image in (x, x.to(dtype)):
            assert model(image).logits.isfinite().all()


@pytest.mark.parametrize(("backbone", "least"), [("vgg16", 64), ("resnet50", 32), ("swin_v1_t", 32), ("pvt_v2_b0", 64)])
def test_the_smallest_image(backbone, least):
    model = BiRefNet(BiRefNetConfig(backbone=backbone, **SMALL)).eval()
    assert model.min_size == least
    with torch.inference_mode():
        assert model(torch.randn(1, 3, least, least)).logits.isfinite().all()


def test_training_wants_two_images_unless_no_batch_norm_learns():
    image = torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="batch of two"):
        small().train()(image)
    assert small(batch_norm=False).train()(image).logits.isfinite().all()
    frozen = small().train()
    for module in frozen.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert frozen(image).logits.isfinite().all()


def test_a_config_must_be_a_config():
    with pytest.raises(TypeError, match="BiRefNetConfig"):
        BiRefNet("lite")


def test_frozen_backbone():
    assert not any(p.requires_grad for p in small(freeze_backbone=True).encoder.parameters())
    assert all(p.requires_grad for p in small().encoder.parameters())
    with torch.device("meta"):
        dino = BiRefNet(BiRefNetConfig(backbone="dino_v3_s"))
    assert not any(p.requires_grad for p in dino.encoder.parameters())


def test_gradient_targets_follow_the_flag():
    image = torch.randn(2, 3, 64, 64)
    for kind, function in (("original", gradient_target), ("masked", masked_gradient_target)):
        output = small(gradient_target=kind).train()(image)
        for target, side in zip(output.gradient_targets, output.side_logits, strict=True):
            assert torch.equal(target, function(image, side))
            assert target.requires_grad == (kind == "original")


@pytest.mark.gpu
def test_runs_on_the_accelerator():
    from birefnet_lite.checkpoints import best_device

    model = small().eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = model(image).logits
        ours = model.to(best_device())(image.to(best_device())).logits
    torch.testing.assert_close(ours.cpu(), expected, rtol=1e-2, atol=1e-2)
