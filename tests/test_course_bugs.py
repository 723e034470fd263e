"""The bug hunts of notebook 12, and the tools to find the wrong line."""

import copy
import re

import pytest
import torch
from answers import solutions
from torch import nn

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.course.bugs import _BUGS, LEVELS, _draw, bug_hunt
from birefnet_lite.course.capstone import agree, calls_of, gradients_of, symptoms, transplant


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    narrow = {"inter_channels": 4, "aspp_channels": 4, "image_channels": 4, "gradient_channels": 4}
    model = BiRefNet(BiRefNetConfig(backbone="convnet_n", **narrow)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: statistics that are not ones and zeros
            nn.init.uniform_(module.running_var, 0.05, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.1)
    return model


def seeds(level):
    """A seed for each kind of bug of a level."""
    found = {}
    for seed in range(200):
        found.setdefault(_draw(level, seed).change, seed)
    assert set(found) == {bug.change for bug in _BUGS[level]}
    return found.values()


@pytest.fixture(scope="module")
def every(model):
    return [(level, bug_hunt(model, level, seed)) for level in LEVELS for seed in seeds(level)]


def test_every_bug_has_a_place_in_the_network(model):
    for bugs in _BUGS.values():
        assert len({(bug.place, bug.change) for bug in bugs}) == len(bugs)
        for bug in bugs:
            model.get_submodule(bug.place)


def test_the_weights_stay_and_neither_names_nor_words_give_the_place_away(model, every):
    ours = model.state_dict()
    for _, hunt in every:
        theirs = hunt.network.state_dict()
        assert list(theirs) == list(ours)
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)
        assert repr(hunt.network) == repr(model)
        place = hunt._bug.place
        for words in (repr(hunt), repr(hunt.answer), hunt.repair(""), hunt.repair("decoder.stage9")):
            assert place not in words
        assert hunt.answer._repr_html_().startswith("<details><summary>The answer</summary>")
        assert place in hunt.answer._repr_html_()


@pytest.mark.slow
def test_each_level_shows_where_it_should(model, every):
    for level, hunt in every:
        shown = symptoms(hunt.network, model)
        if level < 3:
            assert not any(shown.values()), hunt._bug
        elif level == 3:
            assert shown["a square photo"]
            assert not all(shown.values()), hunt._bug
        else:
            assert [name for name, same in shown.items() if not same] == ["the gradients"], hunt._bug
    assert all(symptoms(model, model).values())


def test_culprits_finds_what_a_photo_shows(model, every):
    culprits, x = solutions()["culprits"], torch.randn(2, 3, 64, 96)
    right = calls_of(model, x)
    for level, hunt in every:
        network = copy.deepcopy(hunt.network)
        if level == 3:
            network(torch.randn(x.shape))  # for the one that remembers
        if level < 4:
            assert culprits(calls_of(network, x), right) == [hunt._bug.place]
        else:
            assert culprits(calls_of(network, x), right) == []


@pytest.mark.parametrize(("level", "seed"), [(2, 0), pytest.param(4, 7, marks=pytest.mark.slow)])
def test_only_the_right_part_is_accepted(model, level, seed):
    hunt = bug_hunt(model, level, seed)
    place = hunt._bug.place
    assert hunt.repair("").startswith("○")
    assert hunt.repair(place).startswith("✓")
    assert "elsewhere" in hunt.repair("class_head" if model.class_head else "decoder.head")
    assert "no part called 'nothing'" in hunt.repair("nothing")
    if "." in place:
        assert "go on inside" in hunt.repair("decoder")
    inner = next(name for name, _ in hunt.network.get_submodule(place).named_children())
    assert "elsewhere" in hunt.repair(f"{place}.{inner}")


def test_a_seed_draws_the_same_and_others_others(model):
    for level in LEVELS:
        assert bug_hunt(model, level, 3)._bug == bug_hunt(model, level, 3)._bug == _draw(level, 3)
        assert len({_draw(level, seed) for seed in range(6)}) > 1
    with pytest.raises(ValueError, match="levels are 1 to 4"):
        bug_hunt(model, 5)


def test_calls_are_recorded_as_they_were_before_later_parts_work_in_place():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True))
    x = torch.randn(1, 1, 4, 4)
    calls = calls_of(net, x)
    with torch.no_grad():
        between = net[0](x).clone()
    assert list(calls) == ["0", "1"]
    assert torch.equal(calls["0"][0].gave[0], between)
    assert torch.equal(calls["1"][0].given[0], between)
    assert torch.equal(calls["1"][0].gave[0], between.relu())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_agreement_is_relative_and_wants_shapes_and_partners():
    a = torch.tensor([100.0, 1.0])
    assert agree([a], [a + torch.tensor([0.0, 0.009])])
    assert not agree([a], [a + torch.tensor([0.0, 0.011])])
    assert not agree([a], [a[None]])
    assert not agree([a], [a, a])
    assert agree([None], [None])
    assert not agree([None], [a])


def test_gradients_are_those_of_a_backward_and_the_network_stays(model):
    x = torch.randn(2, 3, 64, 64)
    found = gradients_of(model, x)
    assert list(found) == [name for name, _ in model.named_parameters()]
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    unused = {name for name, gradient in found.items() if gradient is None}
    assert unused <= {"class_head.weight", "class_head.bias"}
    shifted = copy.deepcopy(model)
    with torch.no_grad():
        shifted.decoder.head.bias += 1  # the sum is linear in the head's bias
    assert torch.equal(gradients_of(shifted, x)["decoder.head.bias"], found["decoder.head.bias"])


def test_a_transplant_is_a_copy(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.decoder.head.weight += 1
    mixed = transplant(model, "decoder.head", other)
    assert torch.equal(mixed.decoder.head.weight, other.decoder.head.weight)
    assert not torch.equal(model.decoder.head.weight, other.decoder.head.weight)
    assert mixed.decoder.head.weight is not other.decoder.head.weight
    with pytest.raises(ValueError, match=re.escape("no part called ''")):
        transplant(model, "", other)
