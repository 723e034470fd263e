"""The documents at the top of the repository: links, versions, limits, and the examples of README.md."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import birefnet_lite

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BRINGS_UV = "python3 -m venv .uv && .uv/bin/pip install -q uv && .uv/bin/uv run"
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("benchmarks/**/*.md"),
        *ROOT.glob("birefnet_lite/*/*.md"),
    ]
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def code_blocks(text, language="python"):
    """The code of each fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            file = (path.parent / target.split("#")[0]).resolve()
            assert file.exists(), target
            assert file.is_relative_to(ROOT), target


def test_readme_is_short_and_has_the_two_commands_each_alone_on_a_line():
    lines = README.splitlines()
    assert len(lines) < 100
    assert lines.count(f"{BRINGS_UV} jupyter lab notebooks/00_start_here.ipynb") == 1
    assert lines.count(f"{BRINGS_UV} pytest") == 1


def test_readme_counts_the_published_files_whose_patch_order_is_verified():
    from birefnet_lite.checkpoints.published import PUBLISHED

    verified = [name.split("/")[1] for name, entry in PUBLISHED.items() if entry.patch_order_is_verified]
    assert verified == ["BiRefNet_lite"]
    assert len(PUBLISHED) == 18
    assert "eighteen published files" in README
    assert "one (`BiRefNet_lite`) was verified" in README


@pytest.mark.parametrize("place", [0, 1])
def test_python_examples_of_readme_run(place, tmp_path, monkeypatch):
    """With `nano` in the place of weights that would be downloaded."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save("cat.jpg")
    load = birefnet_lite.load
    monkeypatch.setattr(birefnet_lite, "load", lambda *names, **options: load("nano", "cpu"), raising=False)
    exec(code_blocks(README)[place], {})
    if place == 0:
        assert Image.open("cat.png").size == (60, 40)


def test_version_is_the_same_in_all_files():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("[", "")


def test_hooks_come_from_the_development_environment():
    """So they need no code host, and are as new as the tools that `uv sync` installs."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [entry["repo"] for entry in hooks["repos"]] == ["local"]
    assert {hook["language"] for entry in hooks["repos"] for hook in entry["hooks"]} == {"system"}


def test_tests_run_on_three_systems_with_the_oldest_and_the_newest_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == [PROJECT["requires-python"].removeprefix(">="), "3.x"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_may_only_read_and_its_jobs_end(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
