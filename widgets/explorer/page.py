"""Assembles the explorer: one self-contained HTML file, or a folder for a static host."""

import base64
import gzip
import html
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from birefnet_lite.inference.images import read_photo
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.output import write_bytes, write_text
from birefnet_lite.photos import load_photo
from widgets.explorer.graph import GRAPH, SHIPPED, build_graph
from widgets.explorer.recording import record_run
from widgets.front_end import CODE, STYLE

__all__ = ["PAGE", "WORKER", "Sample", "join_modules", "read_samples", "shipped_samples", "write_file", "write_folder"]

HERE = files("widgets") / "explorer"
GRADIENTS = Path(str(HERE / "gradients.gz"))
"""The recorded attributions; `widgets.explorer.gradients` makes them."""
PAGE = (
    "colour_maps", "core", "dom", "resize", "measures", "images", "summaries", "recipes", "reactions", "run",
    "live_model", "map_signs", "map_grid", "map_ways", "map_regions", "map_lines", "network_map", "state", "network",
    "link", "result", "gradients", "paired", "panels", "runs", "map_picture", "saving", "photos", "recorded",
    "questions", "explorer",
)  # fmt: skip
WORKER = ("colour_maps", "core", "resize", "measures", "images", "summaries", "recipes", "reactions", "run", "worker")
SHARED = ("colour_maps", "core", "dom", "map_signs", "map_grid", "map_ways", "map_regions", "map_lines")
"""Those of the views' own front end."""
RUNTIME = {"glue": "ort.wasm.bundle.min.mjs.gz", "wasm": "ort-wasm-simd-threaded.wasm.gz"}
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob: 'wasm-unsafe-eval'; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; media-src blob: mediastream:; connect-src {}"
)
MIB = 2**20
RECORDED = {"file": 1.0 * MIB, "folder": 0.34 * MIB}
"""Bytes of maps in the recorded run."""
LONGEST = 640
CREDITS = {
    "astronaut": ("Astronaut", "NASA, public domain"),
    "chelsea": ("Cat", "Stefan van der Walt, CC0"),
    "coffee": ("Coffee", "Rachel Michetti, Pikolo Espresso Bar, CC0"),
}


@dataclass(frozen=True)
class Sample:
    """A photo that the page offers."""

    name: str
    title: str
    credit: str
    jpeg: bytes


def shipped_samples() -> list[Sample]:
    """The sample photos that may be passed on; the first one is the recorded one."""
    return [Sample(name, *CREDITS[name], _encode(load_photo(name)[0])) for name in ("chelsea", "astronaut", "coffee")]


def read_samples(folder: str | os.PathLike[str]) -> list[Sample]:
    """The photos of a folder, at most eight, by name. Raises `ValueError` where there is none, or one is damaged."""
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in kinds)
    if not paths:
        raise ValueError(f"{folder} holds no photo ({', '.join(kinds)}).")
    return [Sample(path.stem, path.stem, "", _encode(_as_bytes(read_photo(path).pixels))) for path in paths[:8]]


def _as_bytes(pixels: Any) -> Any:
    return pixels if pixels.dtype == "uint8" else (pixels * 255 + 0.5).astype("uint8")


def _encode(pixels: Any) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def write_file(path: str | os.PathLike[str], model: BiRefNet, weights: Path = SHIPPED, samples: Any = None) -> None:
    """Write the explorer as one HTML file, whole or not at all.

    Args:
        path: The file.
        model: The network, as `load` reads it from `weights`.
        weights: The .safetensors file of the network.
        samples: The photos to offer; those that are shipped without it.

    Raises:
        ImportError: Another model than the shipped one needs the extra `export`.
        OSError: The file cannot be written.
    """
    graph, network = _graph(model, weights)
    contents = _contents(weights, graph)
    attributes = {name: {"bytes": len(data)} for name, (_, data) in contents.items()}
    elements = [
        f'<script type="text/plain" id="file-{name}">{_base64(data)}</script>' for name, (_, data) in contents.items()
    ]
    page = _Page(model, network, samples, attributes, _read_gradients(weights, samples), RECORDED["file"])
    write_text(path, page.format(elements))


def write_folder(folder: str | os.PathLike[str], model: BiRefNet, weights: Path = SHIPPED, samples: Any = None) -> None:
    """Write the explorer as a folder for any static host; `index.html` last. Arguments and errors as `write_file`."""
    folder = Path(folder)
    graph, network = _graph(model, weights)
    contents = _contents(weights, graph)
    for name, data in contents.values():
        write_bytes(folder / name, data)
    attributes = {name: {"url": file, "bytes": len(data)} for name, (file, data) in contents.items()}
    gradients = _read_gradients(weights, samples)
    if gradients:
        write_bytes(folder / GRADIENTS.name, gradients)
    page = _Page(model, network, samples, attributes, gradients, RECORDED["folder"])
    write_text(folder / "index.html", page.format([], beside=True))


def _graph(model: BiRefNet, weights: Path) -> tuple[bytes, dict[str, Any]]:
    """The ONNX graph and its description: the shipped one, or one made here."""
    if weights == SHIPPED:
        return GRAPH.read_bytes(), json.loads(GRAPH.with_suffix(".json").read_text(encoding="utf-8"))
    graph, description = build_graph(model, weights)
    return graph.SerializeToString(), description


def _read_gradients(weights: Path, samples: Any) -> bytes:
    """The recorded gradients of the shipped network on the shipped photos; none of others."""
    return GRADIENTS.read_bytes() if weights == SHIPPED and samples is None else b""


def _contents(weights: Path, graph: bytes) -> dict[str, tuple[str, bytes]]:
    """The files that the worker unpacks: by name, a file name and packed bytes."""
    pieces = {name: (file, (HERE / "runtime" / file).read_bytes()) for name, file in RUNTIME.items()}
    pieces["graph"] = ("network.onnx.gz", gzip.compress(graph, 9, mtime=0))
    pieces["weights"] = (f"{weights.name}.gz", gzip.compress(weights.read_bytes(), 6, mtime=0))
    return pieces


@dataclass(frozen=True)
class _Page:
    """The contents of the page, in either form: one file or a folder."""

    model: BiRefNet
    network: dict[str, Any]
    samples: Iterable[Sample] | None
    files: dict[str, Any]
    gradients: bytes
    budget: float

    def format(self, elements: list[str], beside: bool = False) -> str:
        """The page as text; `beside`: its files lie in the same folder, otherwise they are in `elements`."""
        photos = list(shipped_samples() if self.samples is None else self.samples)
        texts = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
        run = record_run(self.model, photos[0].jpeg, self.budget)
        maps = run.pop("maps")
        for part in run["parts"]:
            part["notebook"] = texts["notebooks"].get(part["kindOf"], "01_skeleton")
        data = {
            **run,
            "network": self.network,
            "files": self.files,
            "gradients": ({"url": GRADIENTS.name} if beside else {}) if self.gradients else None,
            "samples": [{"name": s.name, "title": s.title, "data": _base64(s.jpeg)} for s in photos],
            "about": texts["about"],
            "questions": texts["questions"],
        }
        credits = "; ".join(f"{sample.title}: {sample.credit}" for sample in photos if sample.credit)
        runtime = HERE / "runtime"
        return Template((HERE / "static" / "page.html").read_text(encoding="utf-8")).substitute(
            policy=POLICY.format("'self'" if beside else "'none'"),
            style=f"{STYLE}\n{(HERE / 'static' / 'explorer.css').read_text(encoding='utf-8')}",
            weights=_in_words(sum(parameter.numel() for parameter in self.model.parameters())),
            credits=html.escape(f"Sample photos: {credits}." if credits else ""),
            licence=html.escape(gzip.decompress((runtime / "LICENSE.gz").read_bytes()).decode()),
            # Inside a script element only "</" and "<!--" could end or change it; JSON may write any "<" as an escape.
            data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
            views=_inside_script(_without_comments(CODE)),
            worker=_inside_script(join_modules(WORKER)),
            page=_inside_script(join_modules(PAGE)),
            recorded=_base64(gzip.compress(maps, 9, mtime=0)),
            gradients="" if beside else _base64(self.gradients),
            notices=_base64((runtime / "ThirdPartyNotices.txt.gz").read_bytes()),
            files="\n".join(elements),
        )


def join_modules(names: Sequence[str]) -> str:
    """Modules in order of need as one script. Each has a scope of its own; the last one is what runs."""
    pieces = ["const modules = {};"]
    joined: list[str] = []
    *_, last = names
    for name in names:
        body, exported = _read_module(name)
        used = set(re.findall(r"^const {[^}]*} = modules\.(\w+);$", body, flags=re.MULTILINE))
        if missing := used.difference(joined):
            raise ValueError(f"{name}.js imports {', '.join(missing)}, which is not joined before it.")
        joined.append(name)
        if name == last:
            pieces.append(f"{{\n{body}\n}}")
        else:
            pieces.append(f"modules.{name} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();")
    return _without_comments("\n".join(pieces))


def _without_comments(code: str) -> str:
    """Code without the lines that are comments and without indentation: a seventh of what a visitor would load."""
    return re.sub(r"^ +", "", re.sub(r"^ *//.*\n", "", code, flags=re.MULTILINE), flags=re.MULTILINE)


def _read_module(name: str) -> tuple[str, list[str]]:
    """A module's code, its imports taken from `modules`, and the names that it exports."""
    folder = files("widgets") / "static" if name in SHARED else HERE / "static"
    source = (folder / f"{name}.js").read_text(encoding="utf-8")
    line = r'^import ({[^}]*}) from "[^"]*?(\w+)\.js";$'
    source = re.sub(line, r"const \1 = modules.\2;", source, flags=re.MULTILINE)
    exported = re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", source, flags=re.MULTILINE)
    return re.sub(r"^export ", "", source, flags=re.MULTILINE), exported


def _inside_script(code: str) -> str:
    """Code as the text of a script element, which `</script` or `<!--` in it would end or change."""
    if re.search(r"</script|<!--", code, flags=re.IGNORECASE):
        raise ValueError("The page's code holds an end of a script element.")
    return code


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _in_words(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count / 1e3:.0f} thousand"
