"""The list of parts: everything that a network has, in order, with the edges that a traced pass finds."""

from contextlib import ExitStack

import pytest
import torch
from small_network import small
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from birefnet_lite.analysis.ablate import ablatable
from birefnet_lite.analysis.parts import LOGITS, PHOTO, list_blocks, list_parts, title_of
from birefnet_lite.config import PRESETS
from birefnet_lite.network.birefnet import BiRefNet

CONFIGURATIONS = {
    "all parts": {},
    "scales added": {"multi_scale_input": "add"},
    "one scale": {"multi_scale_input": "none", "context_scales": 1},
    "no context": {"context_scales": 0},
    "no squeeze module": {"squeeze_block": "none"},
    "no inward reference": {"inward_reference": False},
    "no outward reference": {"outward_reference": False},
    "no side outputs": {"multi_stage_supervision": False, "outward_reference": False},
    "convolutional backbone": {"backbone": "resnet50", "aspp": "plain"},
}


class Trace(TorchDispatchMode):
    """Follows each tensor of a pass back to the named parts that it was computed from."""

    def __init__(self):
        super().__init__()
        self.sources = {}
        self.kept = []  # a tensor that is freed could give its id to another one

    def mark(self, tensor, names):
        self.kept.append(tensor)
        self.sources[id(tensor)] = frozenset(names)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        names = frozenset().union(*(self.sources.get(id(x), frozenset()) for x in tensors))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self.mark(x, names)
        return result


def traced_edges(model, image):
    """The edges of the network, found by running it: part to the parts that its map was computed from."""
    trace, edges, calls = Trace(), {}, {}
    by_module = {}
    for part in list_parts(model).values():
        by_module.setdefault(part.module, []).append(part)

    def hook(module, _inputs, output):
        calls[module] = calls.get(module, -1) + 1
        for part in by_module[module]:
            if part.call == calls[module] and part.head is None and (x := part.read(output)) is not None:
                edges[part.name] = set(trace.sources[id(x)])
                trace.mark(x, [part.name])

    with ExitStack() as stack:
        for module in by_module:
            stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(torch.no_grad())
        trace.mark(image, [PHOTO])
        with trace:
            model(image)
    return edges


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_edges_are_those_of_a_traced_pass(changes):
    model = small(**changes)
    edges = traced_edges(model, torch.randn(1, 3, 64, 96))
    parts = {name: part for name, part in list_parts(model).items() if part.head is None}
    assert edges == {name: set(part.inputs) for name, part in parts.items()}


def test_a_neck_stands_between_encoder_and_decoder(monkeypatch):
    class Plain(torch.nn.Module):
        """Four maps of one stride, as a plain vision transformer gives them."""

        channels, is_pyramid, min_size = (8, 8, 8, 8), False, 32

        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 16, 16)

        def forward(self, x):
            return tuple(self.conv(x) * i for i in range(1, 5))

    monkeypatch.setattr("birefnet_lite.network.birefnet.build_backbone", lambda *_: Plain())
    monkeypatch.setattr("birefnet_lite.network.birefnet.BACKBONES", {"swin_v1_l": (8, 16, 16, 16)})
    model = small()
    parts = list_parts(model)
    assert parts["decoder.stage4.reconstruction"].inputs[0] == "neck.x4"
    edges = traced_edges(model, torch.randn(1, 3, 64, 96))
    assert edges == {name: set(part.inputs) for name, part in parts.items() if part.head is None}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_belongs_to_one_part(preset):
    with torch.device("meta"):
        model = BiRefNet(PRESETS[preset])
    modules = dict(model.named_modules())
    paths = {part.weights for part in list_parts(model).values() if part.weights}
    owned = [id(parameter) for path in paths for parameter in modules[path].parameters()]
    assert len(owned) == len(set(owned))
    rest = {name for name, parameter in model.named_parameters() if id(parameter) not in set(owned)}
    assert all(name.startswith("class_head.") for name in rest)


def test_blocks_come_in_the_order_in_which_they_run():
    names = [name for name, _ in list_blocks(small())]
    assert names == [
        "encoder", "squeeze", "decoder.stage4", "decoder.stage3", "decoder.stage2", "decoder.stage1",
        "decoder.image_branch", "decoder.head",
    ]  # fmt: skip


def test_each_part_is_computed_after_what_it_reads():
    order = list(list_parts(small()))
    for name, part in list_parts(small()).items():
        assert all(each == PHOTO or order.index(each) < order.index(name) for each in part.inputs)
    assert order[-1] == LOGITS


def test_titles_are_words():
    titles = {name: title_of(name) for name in list_parts(small())}
    assert len(set(titles.values())) == len(titles)
    assert not [title for title in titles.values() if "_" in title or "decoder." in title or "encoder." in title]
    assert title_of("something.of.mine") == "something.of.mine"


def test_only_removable_parts_can_be_switched_off():
    names = ablatable(small())
    assert "decoder.stage1.inward_reference" in names
    assert "logits" not in names
    assert "decoder.stage3.side" not in names
