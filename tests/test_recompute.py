"""Activation checkpointing: the same gradients, statistics and random numbers as without, in less memory."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.training.recompute import RecomputingForward, recompute_activations, recomputed_modules

NARROW = {"inter_channels": 8, "aspp_channels": 8, "image_channels": 4, "gradient_channels": 4}


def network(backbone: str, **changes) -> BiRefNet:
    torch.manual_seed(0)
    return BiRefNet(
        BiRefNetConfig.preset("nano").replace(backbone=backbone, freeze_backbone=False, **NARROW, **changes)
    ).double()


def learn(model: BiRefNet, side: int = 64) -> float:
    torch.manual_seed(1)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    output = model(images)
    loss = sum(t.square().mean() for t in (output.logits, *output.side_logits, *output.gradient_logits))
    loss.backward()
    return loss.item()


def saved_bytes(model: BiRefNet) -> int:
    """Bytes that the forward keeps for the backward, beyond the weights, every storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(torch.randn(2, 3, 128, 128, dtype=torch.float64))
    assert output.logits.requires_grad
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)


@pytest.mark.parametrize(
    "backbone", ["convnet_n", pytest.param("vgg16bn", marks=pytest.mark.slow), "swin_v1_t", "pvt_v2_b0"]
)
def test_gradients_and_statistics_are_those_of_the_plain_step(backbone, tiny_swin):
    plain = network(backbone)
    again = deepcopy(plain)
    recompute_activations(again)
    assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in again.modules())  # the same dropout is part of it
    assert learn(plain) == learn(again)
    after = torch.rand(3)
    for (name, one), two in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), name
        assert one.grad is None or torch.equal(one.grad, two.grad), name
    for (name, one), two in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    learn(plain)
    assert torch.equal(after, torch.rand(3))  # the random state goes on where it would have


@pytest.mark.parametrize("backbone", ["convnet_n", "swin_v1_t"])
def test_less_than_half_is_kept(backbone, tiny_swin):
    model = network(backbone)
    plain = saved_bytes(model)
    recompute_activations(model)
    assert saved_bytes(model) < plain / 2
    recompute_activations(model, False)
    assert saved_bytes(model) == plain


def test_recomputed_modules_are_disjoint(tiny_swin):
    model = network("swin_v1_t")
    parts = recomputed_modules(model)
    assert len(parts) == 8 + 1 + 4 + 1  # blocks of the backbone, squeeze, stages, image branch
    inside = [set(part.modules()) for part in parts]
    assert sum(len(modules) for modules in inside) == len(set().union(*inside))


def test_a_copy_recomputes_itself():
    model = network("convnet_n")
    recompute_activations(model)
    copy = deepcopy(model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    learn(copy)
    assert all(p.grad is None for p in model.parameters())
    own = set(copy.modules())
    assert all(
        isinstance(part.forward, RecomputingForward) and part.forward.module in own for part in recomputed_modules(copy)
    )


def test_a_cumulative_average_survives():
    model = network("convnet_n")
    norm = next(m for m in model.decoder.modules() if isinstance(m, nn.BatchNorm2d))
    norm.momentum = None
    plain = deepcopy(model)
    recompute_activations(model)
    for network_ in (plain, model):
        learn(network_)
        learn(network_)
    assert norm.momentum is None
    assert norm.num_batches_tracked == 2
    same = next(m for m in plain.decoder.modules() if isinstance(m, nn.BatchNorm2d))
    assert torch.equal(norm.running_mean, same.running_mean)


def test_weights_and_inference_are_unchanged():
    model = network("convnet_n")
    names = list(model.state_dict())
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = model.eval()(image).logits
        recompute_activations(model)
        assert torch.equal(model(image).logits, before)
    assert list(model.state_dict()) == names
