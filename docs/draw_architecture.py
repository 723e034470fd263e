"""Draws the pictures in docs/architecture.md from the imports in the source files.

    python docs/draw_architecture.py           # writes the pictures anew
    python docs/draw_architecture.py --check   # exit status 1 if they are out of date

Every import counts, also those inside functions and those for type checkers only. An arrow that follows from two others
is left out, so that a picture shows each dependency once.
"""

import argparse
import ast
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("birefnet_lite", "widgets")

# A folder imports only from folders further down in this list.
LAYERS = {
    "cli": "command line",
    "widgets": "views for notebooks",
    "course": "exercise checks, figures",
    "training": "losses, data, training loop",
    "analysis": "capture, ablate, attribution",
    "photos": "sample photos with masks",
    "inference": "photo to mask, tiles, export",
    "optimization": "exact rewrites, faster",
    "checkpoints": "files, published weights",
    "network": "BiRefNet",
    "metrics": "scores of masks",
    "synthetic": "drawn training scenes",
    "config": "options of the network",
    "output": "files and text tables",
}
# The files and folders of birefnet_lite/network/, in the same way.
NETWORK = {
    "birefnet": "the whole network",
    "encoder": "features at two scales",
    "decoder": "four stages and a head",
    "squeeze": "deepest features",
    "blocks": "reconstruction blocks",
    "refinement": "inward and outward reference",
    "lateral": "lateral blocks, pyramid",
    "backbone": "Swin, PVTv2, convnets, timm",
    "aspp": "receptive fields of four sizes",
    "deformable": "deformable convolution",
    "check_image": "errors for wrong input",
    "precision": "parts in bfloat16",
    "resize": "bilinear resizing",
}

Graph = dict[str, set[str]]


def module_name(path: Path, root: Path) -> str:
    """`birefnet_lite.network` of `birefnet_lite/network/__init__.py`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(root: Path = ROOT) -> Graph:
    """For each module of the project, the modules of the project that it imports, wherever in the file."""
    files = {module_name(path, root): path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))}
    graph: Graph = {}
    for module, path in files.items():
        imported = set(_imported_names(path, files))
        graph[module] = {name for name in imported if name in files} - {module}
    return graph


def _imported_names(path: Path, modules: Iterable[str]) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{path}:{node.lineno}: relative imports are not used here; write the full name")
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


def folder_of(module: str) -> str:
    """The name in `LAYERS` of a module; empty for the package's own two files, which only pass names on."""
    parts = module.split(".")
    if parts[0] != "birefnet_lite":
        return parts[0]
    return "" if module in ("birefnet_lite", "birefnet_lite.__main__") else parts[1]


def network_part_of(module: str) -> str:
    """The name in `NETWORK` of a module; empty outside `birefnet_lite/network/`."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["birefnet_lite", "network"] and len(parts) > 2 else ""


def group(imports: Mapping[str, set[str]], name_of) -> Graph:
    """The graph of groups of modules; modules whose group is the empty string are left out."""
    graph: Graph = {}
    for module, targets in imports.items():
        if name := name_of(module):
            graph.setdefault(name, set()).update({name_of(target) for target in targets} - {name, ""})
    return graph


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle of the graph, its first name again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The length of the longest way down from each name."""
    result: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        result[name] = 1 + max((result[target] for target in graph.get(name, ())), default=-1)
    return result


def without_shortcuts(graph: Mapping[str, set[str]]) -> Graph:
    """The graph less the arrows that follow from others (its transitive reduction)."""
    reach: Graph = {}
    for name in TopologicalSorter(graph).static_order():
        reach[name] = set(graph.get(name, ())).union(*(reach[target] for target in graph.get(name, ())))
    return {name: {t for t in ts if not any(t in reach[other] for other in ts)} for name, ts in graph.items()}


def draw(graph: Mapping[str, set[str]], labels: Mapping[str, str]) -> str:
    """A graph as a Mermaid flowchart, boxes in the order of `labels`.

    Args:
        graph: For each name, the names that it imports.
        labels: For each name, a few words for its box, in an order in which imports go downwards only.

    Raises:
        ValueError: The graph has a circle or an import upwards, or its names are not those of `labels`.
    """
    if circle := find_circle(graph):
        raise ValueError(f"these import each other: {' -> '.join(circle)}")
    if different := sorted(set(graph) ^ set(labels)):
        raise ValueError(f"docs/draw_architecture.py and the source files differ in {', '.join(different)}")
    order = list(labels)
    for name, targets in graph.items():
        for target in targets:
            if order.index(target) < order.index(name):
                raise ValueError(f"{name} imports {target}, which is above it (see the lists in {Path(__file__).name})")
    arrows = without_shortcuts(graph)
    lines = ["```mermaid", "flowchart TB"]
    lines += [f'    {name}["{name}<br>{label}"]' for name, label in labels.items()]
    for name in labels:
        if arrows[name]:
            lines.append(f"    {name} --> {' & '.join(sorted(arrows[name], key=order.index))}")
    return "\n".join([*lines, "```"])


def replace_block(text: str, name: str, block: str) -> str:
    """The text with the lines between `<!-- name -->` and `<!-- /name -->` replaced."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{PAGE.name} has no lines {start.strip()} and {end.strip()}")
    return before + start + block + end + after


def update(text: str, root: Path = ROOT) -> str:
    """The page with both pictures as the imports are now."""
    imports = read_imports(root)
    if circle := find_circle(imports):
        raise ValueError(f"these modules import each other: {' -> '.join(circle)}")
    text = replace_block(text, "folders", draw(group(imports, folder_of), LAYERS))
    return replace_block(text, "network", draw(group(imports, network_part_of), NETWORK))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draws the pictures in docs/architecture.md from the imports.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a picture is out of date")
    options = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    try:
        after = update(before)
    except ValueError as error:
        print(f"draw_architecture: {error}", file=sys.stderr)
        return 1
    if options.check and before != after:
        print("docs/architecture.md is out of date: run `python docs/draw_architecture.py`", file=sys.stderr)
        return 1
    if before != after:
        PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
