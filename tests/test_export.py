"""The network elsewhere: `torch.export` and ONNX files, against PyTorch."""

import copy
import math
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from reference_case import fill_model
from torch import nn

from birefnet_lite import BiRefNet, BiRefNetConfig, load, optimize
from birefnet_lite.__main__ import main
from birefnet_lite.cli.export import _is_own_export
from birefnet_lite.inference.export import export_onnx, export_program, to_onnx
from birefnet_lite.network.backbone.swin import SWIN_VARIANTS
from birefnet_lite.network.deformable import DeformableConv2d, deform_conv2d

SIZE = (64, 96)
BOTH = {"DeformConv", "GridSample"}


NARROW = {"inter_channels": 8, "aspp_channels": 8, "image_channels": 8}


def narrow_swin(**options):
    """`lite` with fewer and narrower layers, and weights under which every part has a say: taps move far."""
    tiny = {"width": 16, "depths": (2, 1, 1, 1), "heads": (1, 2, 4, 8), "window": 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SWIN_VARIANTS, "swin_v1_t", tiny)
        model = BiRefNet(BiRefNetConfig(**NARROW, **options)).eval()
    fill_model(model)
    return model


@pytest.fixture(scope="module")
def nano():
    """The model that ships, its taps moved further than training has moved them."""
    torch.manual_seed(0)
    model = load("nano", "cpu")
    for module in model.modules():
        if isinstance(module, DeformableConv2d):
            nn.init.normal_(module.offset_conv.bias, std=2)
    return model


@pytest.fixture(scope="module")
def little_nano():
    """`nano`'s backbone and one deformable ASPP: GridSample takes the exporter a second for each convolution."""
    config = BiRefNetConfig.preset("nano").replace(
        multi_scale_input="none", context_scales=0, squeeze_block="deformable_aspp", aspp="none"
    )
    model = BiRefNet(config).eval()
    fill_model(model)
    return model


@pytest.fixture(scope="module")
def files(little_nano, tmp_path_factory):
    """Model and file, by `decomposed`: both kinds of file, each in the lowest opset that it can have."""
    folder = tmp_path_factory.mktemp("onnx") / "new"
    found = {False: (little_nano, folder / "native.onnx"), True: (little_nano, folder / "decomposed.onnx")}
    for decomposed, (model, path) in found.items():
        export_onnx(model, path, SIZE, opset=18 if decomposed else 19, decomposed=decomposed)
    return found


def assert_same(model, path, size):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        image = torch.randn(batch, 3, *size)
        with torch.inference_mode():
            wanted = model(image).logits.numpy()
        (got,) = session.run(["logits"], {"image": image.numpy()})
        assert got.shape == wanted.shape
        assert abs(got - wanted).max() <= 1e-4 * abs(wanted).max()


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


# --- ONNX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decomposed", [False, True])
def test_onnxruntime_gives_pytorchs_numbers(files, decomposed):
    assert_same(*files[decomposed], SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("decomposed", [False, True])
def test_onnxruntime_gives_pytorchs_numbers_for_every_part(decomposed, nano, tmp_path):
    model = nano if decomposed else narrow_swin()
    export_onnx(model, tmp_path / "model.onnx", SIZE, decomposed=decomposed)
    assert_same(model, tmp_path / "model.onnx", SIZE)


@pytest.mark.slow
def test_nano_with_the_native_operator(nano, tmp_path):
    export_onnx(nano, tmp_path / "nano.onnx", (96, 64))
    assert_same(nano, tmp_path / "nano.onnx", (96, 64))


def test_the_test_networks_taps_move(little_nano, nano):
    """A translation that dropped or swapped the offsets must not pass unseen."""
    for model in (little_nano, nano):
        moved = []
        hooks = [
            module.offset_conv.register_forward_hook(lambda m, i, offset, to=moved: to.append(offset.abs().mean()))
            for module in model.modules()
            if isinstance(module, DeformableConv2d)
        ]
        with torch.inference_mode():
            model(torch.randn(1, 3, *SIZE))
        for hook in hooks:
            hook.remove()
        assert len(moved) == (20 if model is nano else 4)
        assert min(moved) > 0.05  # pixels


def test_what_is_in_the_files(files):
    for decomposed, (_, path) in files.items():
        assert operators(path) & BOTH == {"GridSample" if decomposed else "DeformConv"}
        model = onnx.load(path)
        onnx.checker.check_model(model)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18 + (not decomposed))]
        for value, name, channels in ((model.graph.input, "image", 3), (model.graph.output, "logits", 1)):
            assert [v.name for v in value] == [name]
            dims = value[0].type.tensor_type.shape.dim
            assert dims[0].dim_param == "batch"
            assert [d.dim_value for d in dims[1:]] == [channels, *SIZE]
        assert "0.485" in model.doc_string
        assert _is_own_export(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["decomposed.onnx", "native.onnx"]


class Case(NamedTuple):
    """Arguments of a deformable convolution of six channels, also those that the network never uses."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    masked: bool
    biased: bool

    def parts(self):
        """Shapes of image, offsets and mask."""
        out = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(self.size, self.padding, self.dilation, self.kernel, self.stride, strict=True)
        )
        taps = self.groups * math.prod(self.kernel)
        return [(6, *self.size), (2 * taps, *out), (taps, *out)]


CASES = [
    Case((9, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1, True, True),
    Case((6, 11), (7, 7), (1, 1), (3, 3), (1, 1), 1, True, False),
    Case((8, 8), (1, 1), (1, 1), (0, 0), (1, 1), 2, False, True),
    Case((13, 10), (3, 2), (2, 3), (2, 0), (2, 3), 3, True, True),
    Case((1, 5), (1, 3), (1, 1), (0, 1), (1, 1), 1, False, False),
]


class Layer(nn.Module):
    """The deformable convolution of one case, from rows that hold image, offsets and mask behind one another."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.weight = nn.Parameter(torch.randn(4, 6, *case.kernel))
        self.bias = nn.Parameter(torch.randn(4)) if case.biased else None

    def forward(self, rows):
        case, parts = self.case, self.case.parts()
        pieces = rows.split([math.prod(part) for part in parts], dim=1)
        x, offset, mask = (piece.reshape(-1, *part) for piece, part in zip(pieces, parts, strict=True))
        geometry = (case.stride, case.padding, case.dilation)
        return deform_conv2d(x, offset, self.weight, self.bias, *geometry, mask if case.masked else None, "gather")


class Layers(nn.Module):
    """All cases in one graph. The exporter's function has one input and one output: rows for each image."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(map(Layer, CASES))
        self.lengths = [sum(math.prod(part) for part in case.parts()) for case in CASES]

    def forward(self, image):
        rows = image.split(self.lengths, dim=1)
        return torch.cat([layer(row).flatten(1) for layer, row in zip(self.layers, rows, strict=True)], dim=1)


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    return Layers().eval()


@pytest.fixture(scope="module", params=[False, True], ids=["native", "decomposed"])
def operator_alone(request, layers, tmp_path_factory):
    """The operator on rows in PyTorch and in onnxruntime, for each case: an export takes long, so they share one."""
    rows = 2 * torch.randn(3, sum(layers.lengths))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(layers, (rows[:2],), dynamic_shapes=({0: batch},))
    path = tmp_path_factory.mktemp("operator") / "layers.onnx"
    to_onnx(program, 18 + (not request.param), request.param).save(path)
    assert operators(path) & BOTH == {"GridSample" if request.param else "DeformConv"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = [layer(row).detach() for layer, row in zip(layers.layers, rows.split(layers.lengths, dim=1), strict=True)]
    got = torch.from_numpy(session.run(None, {"image": rows.numpy()})[0])
    return wanted, got.split([math.prod(x.shape[1:]) for x in wanted], dim=1)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_operator_alone(case, operator_alone):
    wanted, got = (every[case] for every in operator_alone)
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=2e-4)


# --- torch.export ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_of_the_plain_network(strict):
    model = narrow_swin()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (torch.zeros(2, 3, *SIZE),), dynamic_shapes=({0: batch},), strict=strict)
    for number in (1, 3):
        image = torch.randn(number, 3, *SIZE)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(image).logits, model(image).logits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_program_is_float32_whatever_the_model_is(dtype):
    config = BiRefNetConfig(**NARROW, backbone="convnet_n", multi_scale_input="none", squeeze_block="none")
    model = optimize(BiRefNet(config).eval()).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program = export_program(model, SIZE)
    image = torch.randn(3, 3, *SIZE)
    with torch.no_grad():
        got, wanted = program.module()(image), model.float()(image).logits
    assert got.dtype == torch.float32
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert all(torch.equal(value.to(before[name].dtype), before[name]) for name, value in model.state_dict().items())


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"path": "model.pb"}, ValueError, r"'model\.pb'; its name must end in '\.onnx'"),
        ({"opset": 18}, ValueError, r"opset is 18; it can be 19 to .*decomposed=True"),
        ({"opset": 17, "decomposed": True}, ValueError, "opset is 17; it can be 18 to"),
        ({"opset": 1000}, ValueError, "opset is 1000; it can be 19 to"),
        ({"opset": "20"}, ValueError, "opset is '20'"),
        ({"size": 16}, ValueError, "this model takes 32 pixels or more"),
        ({"model": nn.Conv2d(3, 1, 1)}, TypeError, "is a BiRefNet, not Conv2d"),
    ],
)
def test_wrong_arguments(change, error, words, nano, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        export_onnx(**{"model": nano, "path": "model.onnx", "size": 64, **change})
    assert not list(tmp_path.iterdir())


def test_models_without_weights_or_in_training():
    config = BiRefNetConfig.preset("nano")
    with pytest.raises(ValueError, match=r"in training mode.*model\.eval\(\)"):
        export_program(BiRefNet(config))
    with torch.device("meta"):
        model = BiRefNet(config).eval()
    with pytest.raises(ValueError, match="no weights to export"):
        export_program(model)


def test_a_missing_extra_says_what_to_install(nano, tmp_path, monkeypatch):
    monkeypatch.setattr("birefnet_lite.inference.export.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs onnx and onnxscript.*pip install 'birefnet-lite\[export\]'"):
        export_onnx(nano, tmp_path / "model.onnx")


def test_the_package_does_not_need_the_extra():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['onnx', 'onnxscript', 'onnxruntime']))\n"
        "import birefnet_lite.inference.export, birefnet_lite.cli.export\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_failure_leaves_no_half_file(nano, tmp_path, monkeypatch):
    class Program:
        model = type("Model", (), {})

        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("birefnet_lite.inference.export.export_program", lambda *_: None)
    monkeypatch.setattr("birefnet_lite.inference.export.to_onnx", lambda *_: Program())
    (tmp_path / "model.onnx").write_bytes(b"the old one")
    with pytest.raises(OSError, match="No space"):
        export_onnx(nano, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"the old one"


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_hands_its_arguments_on(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("birefnet_lite.cli.export.export_onnx", lambda *a, **k: calls.append((a[1:], k)))
    assert main(["export", "nano", "a.onnx", "--size", "64x96", "--decomposed"]) == 0
    assert calls == [(("a.onnx", (64, 96)), {"decomposed": True})]
    output = capsys.readouterr()
    assert output.out == ""
    assert "a.onnx: image (batch, 3, 64, 96) to logits (batch, 1, 64, 96), GridSample" in output.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nano", "a.pb"], "must end in '.onnx'"),
        (["nano", "a.onnx", "--size", "16"], "32 pixels or more"),
        (["no-such-model", "a.onnx"], "no-such-model"),
        (["nano", "file/a.onnx", "--size", "64"], "file/a.onnx: cannot be written"),
    ],
)
def test_the_commands_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("birefnet_lite.inference.export.export_program", lambda *_: None)
    monkeypatch.setattr(
        "birefnet_lite.inference.export.to_onnx", lambda *_: type("Program", (), {"model": type("M", (), {})})
    )
    (tmp_path / "file").write_text("not a folder")
    assert main(["export", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_weights_that_are_not_finite_are_not_exported(nano, tmp_path):
    broken = copy.deepcopy(nano)
    with torch.no_grad():
        next(broken.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match=r"not finite.*: \w+"):
        export_onnx(broken, tmp_path / "model.onnx", 64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["notes.onnx", "model.safetensors", "new/model.onnx"])
def test_the_command_writes_over_nothing_but_earlier_exports(tmp_path, monkeypatch, capsys, name):
    """And it says so before the model is loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.onnx").write_bytes(b"my notes")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "new").write_bytes(b"no folder")
    monkeypatch.setattr("birefnet_lite.cli.export.load_model", None)
    model = "model.safetensors" if name == "model.safetensors" else "nano"
    assert main(["export", model, name]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"weights", b"no folder", b"my notes"]
