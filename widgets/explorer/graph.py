"""Writes the explorer's ONNX graph: every named map as an output, every part with a gate, weights left in their file.

The graph is the plain network, neither folded nor optimised, so that its numbers are those of the notebooks. A gate is
a scalar input: 1 lets a part through, 0 switches it off as `ablate(model, layer, how="zero")` does. Initialisers that
the weights file holds refer to it by offset and length, so that the weights exist only once.

    python -m widgets.explorer.graph

writes the graph of the shipped model again; it needs the extra `export`.
"""

import json
import os
import struct
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from birefnet_lite.analysis.ablate import ablatable, change_hook
from birefnet_lite.analysis.capture import hook_parts
from birefnet_lite.analysis.parts import Part, list_parts
from birefnet_lite.inference.export import check_packages, native_deform_conv
from birefnet_lite.inference.predict import network_size
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.deformable import DeformableConv2d, use_backend
from birefnet_lite.network.deformable.operator import deform_conv2d
from birefnet_lite.output import write_bytes, write_text

if TYPE_CHECKING:
    import onnx

__all__ = ["GRAPH", "IMAGE", "SHIPPED", "build_graph", "gate_input", "header_hash", "write_graph"]

SHIPPED = Path(str(files("birefnet_lite") / "weights" / "nano.safetensors"))
GRAPH = Path(__file__).with_name("nano.onnx")
IMAGE = "image"
OPSET = 20


def write_graph(model: BiRefNet, weights: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write the graph to `path` (.onnx) and its description beside it, with the ending .json.

    Args:
        model: The network in float32, as `load` reads it from `weights`.
        weights: The .safetensors file that the graph's initialisers refer to.
        path: The .onnx file.

    Raises:
        ImportError: The extra `export` is not installed.
        ValueError: The weights file does not hold the model's weights.
    """
    graph, description = build_graph(model, weights)
    write_bytes(path, graph.SerializeToString(deterministic=True))
    write_text(Path(path).with_suffix(".json"), json.dumps(description, indent=1) + "\n")


def build_graph(model: BiRefNet, weights: str | os.PathLike[str]) -> tuple["onnx.ModelProto", dict[str, Any]]:
    """The graph in memory, and its description as JSON values. Arguments and errors are those of `write_graph`.

    The description's `layers` are the named maps of `capture` with their shapes (C, h, w), `kernels` the deformable
    convolutions with their kernel sizes, whose maps are the outputs `NAME.offset` (2 taps, h, w) and `NAME.modulation`
    (taps, h, w), and `gates` the layers of `ablate`. `header` is the hash of the weights file's header.
    """
    check_packages()
    _check_weights(model, Path(weights))
    height, width = network_size(model)
    model = model.cpu().float().eval()
    gates = ablatable(model)
    network = _Opened(model, gates)
    inputs = (torch.zeros(1, 3, height, width), *(torch.ones(()) for _ in gates))
    with use_backend("gather"), torch.no_grad():
        maps = network(*inputs)
        program = torch.export.export(network, inputs, strict=False)
        names = network.names
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[IMAGE, *map(gate_input, gates)],
            output_names=names,
            custom_translation_table={deform_conv2d: native_deform_conv},
            verbose=False,
            optimize=False,
        )
    assert written is not None
    graph = written.model_proto
    graph.doc_string = "BiRefNet with its named maps as outputs and a gate for each part; the weights lie beside it."
    _refer_to_weights(graph, Path(weights))
    layers = {name: list(x.shape[1:]) for name, x in zip(names, maps, strict=True) if not _belongs_to_kernel(name)}
    kernels = {name: module.conv.kernel_size[0] for name, module in _deformable(model)}
    description = {
        "size": [height, width],
        "weights": Path(weights).name,
        "header": header_hash(weights),
        "layers": layers,
        "kernels": {name: size for name, size in kernels.items() if f"{name}.offset" in names},
        "gates": gates,
    }
    return graph, description


def gate_input(layer: str) -> str:
    """The name of the graph's input that switches a layer."""
    return f"gate.{layer}"


def header_hash(weights: str | os.PathLike[str]) -> str:
    """SHA-256 of the header of a .safetensors file, which says where each tensor lies."""
    return sha256(_read_header(Path(weights))[0]).hexdigest()


class _Opened(nn.Module):
    """The network as a function from the image and the gates to every named map."""

    def __init__(self, network: BiRefNet, gates: list[str]) -> None:
        super().__init__()
        self.network = network
        self.gates = gates
        self.names: list[str] = []

    def forward(self, image: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        parts = list_parts(self.network)
        with ExitStack() as stack:
            for layer, gate in zip(self.gates, values, strict=True):
                part = parts[layer]
                stack.callback(part.module.register_forward_hook(change_hook(part, _gate(part, gate))).remove)
            stack.enter_context(hook_parts(self.network, found.__setitem__))
            for name, module in _deformable(self.network):
                stack.callback(module.offset_conv.register_forward_hook(_keep(found, f"{name}.offset")).remove)
                modulation = _keep(found, f"{name}.modulation", lambda x: 2 * torch.sigmoid(x))
                stack.callback(module.modulation_conv.register_forward_hook(modulation).remove)
            self.network(image)
        self.names = list(found)
        return tuple(found.values())


def _gate(part: Part, gate: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiplies a layer by its gate. Gradient attention, a factor itself, becomes 1 where the gate is 0."""
    if part.neutral:
        return lambda x: x * gate + part.neutral * (1 - gate)
    return lambda x: x * gate


def _deformable(model: nn.Module) -> list[tuple[str, DeformableConv2d]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, DeformableConv2d)]


def _belongs_to_kernel(name: str) -> bool:
    return name.endswith((".offset", ".modulation"))


def _keep(found: dict[str, Tensor], name: str, change: Callable[[Tensor], Tensor] = lambda x: x) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        found[name] = change(output)

    return hook


def _read_header(path: Path) -> tuple[bytes, int]:
    """The header of a .safetensors file as bytes, and the offset at which its tensors begin."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        return file.read(length), 8 + length


def _check_weights(model: BiRefNet, weights: Path) -> None:
    """`ValueError` unless the file holds every tensor of the model, in its shape."""
    header = json.loads(_read_header(weights)[0])
    for name, tensor in model.state_dict().items():
        if name not in header:
            raise ValueError(f"{weights} does not hold {name}, a tensor of the model.")
        if header[name]["shape"] != list(tensor.shape):
            raise ValueError(f"{weights} holds {name} in another shape than the model: {header[name]['shape']}.")


def _refer_to_weights(graph: "onnx.ModelProto", weights: Path) -> None:
    """Let the initialisers that `weights` holds refer to it; a Cast follows those that it holds in half precision."""
    from onnx import TensorProto, helper

    text, start = _read_header(weights)
    header = json.loads(text)
    casts = []
    for tensor in graph.graph.initializer:
        name = tensor.name.removeprefix("network.")
        entry = header.get(name)
        if entry is None or tensor.data_type != TensorProto.FLOAT:
            if len(tensor.raw_data) > 4096:
                raise ValueError(f"{weights} does not hold {name}, a tensor of the model.")
            continue
        if entry["shape"] != list(tensor.dims):
            raise ValueError(f"{weights} holds {name} in another shape than the model: {entry['shape']}.")
        first, last = entry["data_offsets"]
        full = tensor.name
        if entry["dtype"] == "F16":
            tensor.name = f"{full}.half"
            tensor.data_type = TensorProto.FLOAT16
            casts.append(helper.make_node("Cast", [tensor.name], [full], to=TensorProto.FLOAT))
        elif entry["dtype"] != "F32":
            raise ValueError(f"{weights} holds {name} as {entry['dtype']}; a page takes float16 and float32.")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", start + first), ("length", last - first)):
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del graph.graph.value_info[:]


if __name__ == "__main__":
    from birefnet_lite import load

    write_graph(load("nano", "cpu"), SHIPPED, GRAPH)
