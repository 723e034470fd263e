"""The explorer's graph in Python's onnxruntime against the network that it was made of."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

import birefnet_lite
from birefnet_lite.analysis import capture
from birefnet_lite.analysis.ablate import ablatable, ablate
from birefnet_lite.analysis.inputs import Prepared
from birefnet_lite.analysis.sampling import deformable_kernels
from birefnet_lite.inference.images import normalise
from birefnet_lite.photos import load_photo
from widgets.explorer.graph import GRAPH, IMAGE, SHIPPED, build_graph, gate_input, header_hash, write_graph

DESCRIPTION = json.loads(GRAPH.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def model():
    return birefnet_lite.load("nano", "cpu")


@pytest.fixture(scope="module")
def prepared():
    """A photo at the size of the graph."""
    pixels = np.ascontiguousarray(load_photo("astronaut")[0][:256, 120:376])
    tensor = normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    return Prepared(tensor, pixels, pixels)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    runtime = pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("graph")
    shutil.copy(GRAPH, folder)
    shutil.copy(SHIPPED, folder)
    return runtime.InferenceSession(folder / GRAPH.name)


def run_graph(session, image, off=()):
    """Every output without its batch, by name."""
    gates = {gate_input(name): np.array(name not in off, np.float32) for name in DESCRIPTION["gates"]}
    names = [output.name for output in session.get_outputs()]
    return {name: x[0] for name, x in zip(names, session.run(None, {IMAGE: image} | gates), strict=True)}


def assert_close(found, wanted, tolerance=1e-4):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1e-6)


def test_the_graph_belongs_to_the_shipped_weights():
    assert header_hash(SHIPPED) == DESCRIPTION["header"], "run python -m widgets.explorer.graph"


def test_the_graph_is_small():
    assert GRAPH.stat().st_size < 400_000


def test_every_map_equals_capture(session, model, prepared):
    maps = capture(model, prepared)
    found = run_graph(session, prepared.tensor.numpy())
    assert set(DESCRIPTION["layers"]) == set(maps) <= set(found)
    for name, wanted in maps.items():
        assert DESCRIPTION["layers"][name] == list(wanted.shape)
        assert_close(found[name], wanted.numpy())


def test_offsets_and_modulation_equal_those_of_the_kernels(session, model, prepared):
    found = run_graph(session, prepared.tensor.numpy())
    kernels = deformable_kernels(model, prepared)
    assert {name: kernel.size for name, kernel in kernels.items()} == DESCRIPTION["kernels"]
    for name, kernel in kernels.items():
        height, width = kernel.modulation.shape[-2:]
        offsets = kernel.offsets.astype(np.float32).reshape(-1, height, width)
        assert_close(found[f"{name}.offset"], offsets, 1e-3)  # the kernels are kept in half precision
        assert_close(found[f"{name}.modulation"], kernel.modulation.astype(np.float32), 1e-3)


def test_every_part_that_ablate_switches_has_a_gate(session, model):
    assert DESCRIPTION["gates"] == ablatable(model)
    inputs = [entry.name for entry in session.get_inputs()]
    assert inputs == [IMAGE, *map(gate_input, ablatable(model))]


@pytest.mark.parametrize(
    "off",
    [
        ["encoder.full.x1"],
        ["encoder.half.x4"],
        ["squeeze"],
        ["decoder.stage3.inward_reference"],
        ["decoder.stage2.gradient_attention"],
        ["decoder.stage4.lateral", "decoder.image_branch"],
    ],
)
def test_a_closed_gate_equals_ablate(session, model, prepared, off):
    with ExitStack() as stack:
        for layer in off:
            stack.enter_context(ablate(model, layer))
        maps = capture(model, prepared)
    found = run_graph(session, prepared.tensor.numpy(), off)
    for name in ("logits", *off, "decoder.stage2.out", "decoder.stage1.reconstruction"):
        assert_close(found[name], maps[name].numpy())


def test_weights_in_another_file_are_refused(model, tmp_path):
    pytest.importorskip("onnxscript")
    other = birefnet_lite.BiRefNet(replace(birefnet_lite.BiRefNetConfig.preset("nano"), context_scales=0))
    path = tmp_path / "other.safetensors"
    birefnet_lite.save(other, path)
    with pytest.raises(ValueError, match="other"):
        write_graph(model, path, tmp_path / "graph.onnx")
    assert not (tmp_path / "graph.onnx").exists()


@pytest.mark.slow
def test_the_shipped_graph_is_what_the_script_writes(model):
    """Names and shapes, not bytes: a newer exporter may order its nodes in another way."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    graph, description = build_graph(model, SHIPPED)
    assert description == DESCRIPTION
    shipped = onnx.load(GRAPH, load_external_data=False)
    for part in ("input", "output"):
        names = [[entry.name for entry in getattr(g.graph, part)] for g in (graph, shipped)]
        assert names[0] == names[1]
