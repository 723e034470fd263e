"""The network against the numbers of the original (tests/reference/README.md)."""

import numpy as np
import pytest
import reference_case
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.checkpoints import best_device, official_names, official_state_dict
from birefnet_lite.checkpoints.infer_config import infer_config
from birefnet_lite.training.losses import BiRefNetLoss

EVAL_CASES = ("swin_v1_t", "resnet50", "variants")


def build(case: dict) -> BiRefNet:
    model = BiRefNet(BiRefNetConfig.from_official(**case["config"]))
    reference_case.fill_model(model)
    return model


def error(ours, theirs: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    ours = ours.detach().cpu().double().numpy()
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", EVAL_CASES)
def test_eval_case(name):
    case, arrays = reference_case.read_case(name)
    model = build(case).double().eval()
    x = reference_case.image(case["input"]["shape"]).double()
    with torch.inference_mode():
        features = model.encoder(x)
        output = model(x)
    assert error(output.logits, arrays["logits"]) < 1e-6
    for i, feature in enumerate(features, start=1):
        assert error(feature.mean(dim=(2, 3)), arrays[f"mean_x{i}"]) < 1e-6
    assert output.class_logits is None
    assert (output.side_logits, output.gradient_logits, output.gradient_targets) == ((), (), ())
    with torch.inference_mode():
        assert error(model.float()(x.float()).logits, arrays["logits"]) < 2e-5


@pytest.mark.gpu
@pytest.mark.parametrize("name", EVAL_CASES)
def test_eval_case_on_the_accelerator(name):
    case, arrays = reference_case.read_case(name)
    device = best_device()
    model = build(case).to(device).eval()
    with torch.inference_mode():
        output = model(reference_case.image(case["input"]["shape"]).to(device))
    assert error(output.logits, arrays["logits"]) < 1e-3  # TF32 in the convolutions


@pytest.fixture(scope="module")
def train_case():
    case, arrays = reference_case.read_case("swin_v1_t_train")
    model = build(case).double().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    batch, _, height, width = case["input"]["shape"]
    output = model(reference_case.image(case["input"]["shape"]).double())
    loss = BiRefNetLoss({"bce": 30, "iou_sum": 0.5, "ssim": 10})
    total, parts = loss(output, reference_case.mask(batch, height, width).double())
    total.backward()
    return model, output, parts, arrays


def test_train_case_outputs(train_case):
    _, output, _, arrays = train_case
    assert error(output.logits, arrays["logits"]) < 1e-6
    for i, level in enumerate((4, 3, 2)):
        assert error(output.side_logits[i], arrays[f"side_{level}"]) < 1e-6
        assert error(output.gradient_logits[i], arrays[f"gradient_pred_{level}"]) < 1e-6
        assert error(output.gradient_targets[i], arrays[f"gradient_target_{level}"]) < 1e-6


def test_train_case_gradients(train_case):
    model, _, _, arrays = train_case
    names = {official: name for name, official in official_names(model).items()}
    parameters = dict(model.named_parameters())
    keys = [str(key) for key in arrays["grad_norm_keys"]]
    assert len(keys) == len(parameters)
    ours = np.array([float(parameters[names[key]].grad.norm()) for key in keys])
    theirs = arrays["grad_norms"]
    wrong = [key for key, a, b in zip(keys, ours, theirs, strict=True) if abs(a - b) > 1e-6 * abs(b) + 1e-9]
    assert wrong == []


@pytest.mark.parametrize("backbone", reference_case.official_key_lists())
def test_names_and_shapes_of_every_backbone(backbone):
    with torch.device("meta"):
        model = BiRefNet(BiRefNetConfig.from_official(bb=backbone))
    weights = official_state_dict(model)
    ours = {key: (list(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in weights.items()}
    theirs = {key: (shape, dtype) for key, shape, dtype in reference_case.official_key_lists()[backbone]}
    assert ours == theirs
    assert infer_config(weights) == model.config


def test_names_of_the_reference_cases():
    for name in (*EVAL_CASES, "swin_v1_t_train"):
        case, _ = reference_case.read_case(name)
        with torch.device("meta"):
            weights = official_state_dict(BiRefNet(BiRefNetConfig.from_official(**case["config"])))
        ours = {key: list(value.shape) for key, value in weights.items()}
        assert ours == {key: shape for key, shape, _ in case["state_dict"]}
