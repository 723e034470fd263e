"""The list of parts: everything that a network has, in order, with the edges that a traced pass finds."""

from contextlib import ExitStack

import pytest
import torch
from small_network import small
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from birefnet_lite.analysis.ablate import ablatable
from birefnet_lite.analysis.layer_names import LOGITS, PHOTO, title_of
from birefnet_lite.analysis.parts import list_blocks, list_parts
from birefnet_lite.config import PRESETS
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.resize import resize

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


def run_operations(part, maps, size):
    """The result of a part's operations on captured maps, at a size (h, w); the map itself where there are none."""
    results = []
    for operation in part.operations:
        inputs = []
        for name in operation.inputs:
            inputs += results[name] if isinstance(name, int) else [maps[name]]
        if operation.name in ("enlarge", "shrink"):
            larger = [x.shape[-1] < size[-1] for x in inputs]
            assert larger == [operation.name == "enlarge"] * len(inputs), (part.name, operation)
            results.append([resize(x, size) for x in inputs])
        elif operation.name == "concatenate":
            results.append([torch.cat(inputs, dim=1)])
        else:
            first, second = inputs
            results.append([first * second if operation.name == "multiply" else first + second])
    (result,) = results[-1] if results else [maps[name] for name in part.inputs]
    return result


def assert_operations_are_those_of_a_pass(model):
    """Whatever a part's module reads, or what the part is without one, follows from its operations."""
    image, parts = torch.randn(1, 3, 64, 96), list_parts(model)
    maps, read, calls = {PHOTO: image}, {}, {}

    def hook(module, inputs, output):
        calls[module] = calls.get(module, -1) + 1
        for name, part in parts.items():
            if part.module is module and part.call == calls[module] and part.head is None:
                maps[name] = part.read(output)
                read.setdefault(name, inputs[0])  # of the head, its own module has told it

    with ExitStack() as stack, torch.no_grad():
        for module in {part.module for part in parts.values()}:
            stack.callback(module.register_forward_hook(hook).remove)
        head = model.decoder.head
        stack.callback(head.register_forward_hook(lambda _m, inputs, _o: read.setdefault(LOGITS, inputs[0])).remove)
        model(image)
    for name, part in parts.items():
        if part.head is not None or name.startswith("neck."):  # the neck is one module that reads four maps
            continue
        wanted = read[name] if part.weights else maps[name]
        torch.testing.assert_close(run_operations(part, maps, wanted.shape[-2:]), wanted, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_operations_between_the_parts_are_those_of_a_pass(changes):
    assert_operations_are_those_of_a_pass(small(**changes))


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
    assert_operations_are_those_of_a_pass(model)


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
