"""docs/architecture.md: its diagrams agree with the imports, and its table of files with the files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
SCRIPT = ROOT / "docs" / "draw_architecture.py"

sys.path.insert(0, str(SCRIPT.parent))
import draw_architecture as drawing  # noqa: E402

sys.path.remove(str(SCRIPT.parent))


def write_modules(root, **sources):
    """Modules of a project in a folder: `network_resize="import math"` writes birefnet_lite/network/resize.py."""
    for package in drawing.PACKAGES:
        (root / package).mkdir()
    for name, source in sources.items():
        path = root / "birefnet_lite" / f"{name.replace('_', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)


def test_diagrams_agree_with_the_imports():
    result = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_module_imports_itself_through_others():
    assert drawing.find_circle(drawing.read_imports()) == []


def test_network_imports_nothing_of_the_project_but_config():
    imports = drawing.read_imports()
    outside = {
        (module, target)
        for module, targets in imports.items()
        for target in targets
        if module.startswith("birefnet_lite.network") and not target.startswith("birefnet_lite.network")
    }
    assert {target for _, target in outside} == {"birefnet_lite.config"}, outside


def test_output_and_metrics_and_config_import_nothing_of_the_project():
    folders = drawing.group(drawing.read_imports(), drawing.folder_of)
    for name in ("config", "output"):
        assert folders[name] == set()
    assert folders["metrics"] <= {"output"}


def test_folders_are_those_of_the_package():
    here = {path.stem for path in (ROOT / "birefnet_lite").glob("*.py")} - {"__init__", "__main__"}
    here |= {path.parent.name for path in (ROOT / "birefnet_lite").glob("*/__init__.py")}
    assert {*drawing.LAYERS} - {"widgets"} == here
    parts = {path.stem for path in (ROOT / "birefnet_lite" / "network").glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in (ROOT / "birefnet_lite" / "network").glob("*/__init__.py")}
    assert {*drawing.NETWORK} == parts


def test_read_imports_sees_all_forms_of_import(tmp_path):
    write_modules(
        tmp_path,
        config="",
        output="from birefnet_lite import config",
        metrics="import birefnet_lite.config",
        network="def f():\n    from birefnet_lite.config import Config",
        synthetic="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from birefnet_lite.config import Config",
    )
    imports = drawing.read_imports(tmp_path)
    for name in ("output", "metrics", "network", "synthetic"):
        assert imports[f"birefnet_lite.{name}"] == {"birefnet_lite.config"}


def test_read_imports_refuses_a_relative_import(tmp_path):
    write_modules(tmp_path, config="from . import output", output="")
    with pytest.raises(ValueError, match=r"config\.py:1: relative imports"):
        drawing.read_imports(tmp_path)


def test_find_circle_names_the_modules(tmp_path):
    write_modules(
        tmp_path,
        network_encoder="import birefnet_lite.network.decoder",
        network_decoder="def f():\n    import birefnet_lite.network.encoder",
    )
    circle = drawing.find_circle(drawing.read_imports(tmp_path))
    assert {*circle} == {"birefnet_lite.network.encoder", "birefnet_lite.network.decoder"}
    assert circle[0] == circle[-1]


def test_draw_refuses_an_import_upwards():
    with pytest.raises(ValueError, match="config imports network, which is above it"):
        drawing.draw({"network": set(), "config": {"network"}}, {"network": "", "config": ""})


def test_draw_refuses_a_folder_without_a_label():
    with pytest.raises(ValueError, match="differ in extra"):
        drawing.draw({"network": set(), "extra": set()}, {"network": ""})


def test_draw_leaves_out_an_arrow_that_follows_from_two_others():
    block = drawing.draw({"a": {"b", "c"}, "b": {"c"}, "c": set()}, {"a": "first", "b": "second", "c": "third"})
    assert block.splitlines() == [
        "```mermaid",
        "flowchart TB",
        '    a["a<br>first"]',
        '    b["b<br>second"]',
        '    c["c<br>third"]',
        "    a --> b",
        "    b --> c",
        "```",
    ]


def table_rows():
    """The file and the names of each row under "Where is …?"."""
    section = PAGE.read_text(encoding="utf-8").split("## Where is …?")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and "`" in line:
            what, file, names = (cell.strip() for cell in line.strip("|").split("|"))
            yield pytest.param(file.strip("`"), re.findall(r"`([^`]+)`", names), id=what.replace(" ", "-"))


@pytest.mark.parametrize(("file", "names"), list(table_rows()))
def test_table_names_files_and_what_is_defined_in_them(file, names):
    path = next((path for path in (ROOT / "birefnet_lite" / file, ROOT / file) if path.is_file()), None)
    assert path, f"{file} is not there"
    defined = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    assert {*names} <= defined, f"{file} has no {', '.join({*names} - defined)}"
