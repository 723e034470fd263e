"""The committed notebooks: what their sources build, whole, small, linked and readable. nbval runs them."""

import ast
import json
import os
import re
import sys
from pathlib import Path
from statistics import median

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from birefnet_lite.course.progress import NOTEBOOKS as EXERCISES
from build import targets
from cleaning import LIMIT, problems
from editions import CHECKED, has_exercises, make_edition
from forked_kernels import fork_kernels

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))
BUILT = [(source, edition, path) for source in SOURCES for edition, path in targets(source).items()]
EACH = pytest.mark.parametrize(
    ("source", "edition", "path"), BUILT, ids=[f"{source.stem}-{edition}" for source, edition, _ in BUILT]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_source():
    found = {*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")}
    assert found == {path for _, _, path in BUILT}
    assert found


@EACH
def test_it_is_what_its_source_builds(source, edition, path):
    committed = read(path)
    built = make_edition(source, edition, committed.metadata.course.get("repository"))
    advice = f"Run: python notebooks/tools/build.py {source.stem}"
    for ours, theirs in zip(committed.cells, built.cells, strict=False):
        assert ours.source == theirs.source, advice
        assert (ours.id, ours.cell_type, ours.metadata) == (theirs.id, theirs.cell_type, theirs.metadata), advice
    assert len(committed.cells) == len(built.cells), advice
    assert committed.metadata == built.metadata, advice


@EACH
def test_it_was_run_in_order_and_its_outputs_can_be_published(source, edition, path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert problems(notebook) == []


@EACH
def test_marked_outputs_are_there_and_are_text(source, edition, path):
    marked = [cell for cell in code_cells(read(path)) if CHECKED in cell.metadata.get("tags", [])]
    assert marked, "No output is compared: mark those that carry the argument."
    for cell in marked:
        assert cell.outputs, cell.source
        for output in cell.outputs:
            assert all(kind.startswith("text/") for kind in output.get("data", {})), cell.source


def test_both_editions_agree_on_marked_outputs_before_the_first_exercise():
    for source in filter(has_exercises, SOURCES):
        exercises, solutions = (read(path).cells for path in targets(source).values())
        for ours, theirs in zip(exercises, solutions, strict=False):
            if "exercise" in ours.metadata.get("tags", []):
                break
            if CHECKED in ours.metadata.get("tags", []):
                assert ours.outputs == theirs.outputs


@EACH
def test_every_check_says_what_its_edition_expects(source, edition, path):
    cells = code_cells(read(path))
    exercises = [i for i, cell in enumerate(cells) if "exercise" in cell.metadata.get("tags", [])]
    for i in exercises:
        assert "checks." in cells[i + 1].source
        shown = cells[i + 1].outputs[0].data["text/plain"]
        assert shown.startswith("✓") if edition == "solutions" else shown.endswith("not solved yet")
    most = 6 if source.stem == "12_capstone" else 5  # the capstone asks for every part again
    assert len(exercises) == 0 or 2 <= len(exercises) <= most


@EACH
def test_there_is_no_widget_state_and_no_view_without_its_picture(source, edition, path):
    text = path.read_text(encoding="utf-8")
    assert "vnd.jupyter.widget" not in text
    assert "widgets" not in json.loads(text)["metadata"]
    cells = code_cells(read(path))
    views = [i for i, cell in enumerate(cells) if any("interactive view" in str(output) for output in cell.outputs)]
    for i in views:
        assert any("image/" in kind for output in cells[i + 1].outputs for kind in output.get("data", {}))


@EACH
def test_it_is_small(source, edition, path):
    assert path.stat().st_size <= LIMIT


@EACH
def test_code_comes_in_short_cells_after_words(source, edition, path):
    notebook = read(path)
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert median(lengths) <= 10
    assert max(lengths) <= 25
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code" and "pip install" not in cell.source:
            assert before.cell_type == "markdown", cell.source


@EACH
def test_links_lead_somewhere(source, edition, path):
    for cell in read(path).cells:
        if cell.cell_type != "markdown":
            continue
        for target in LINK.findall(cell.source):
            if not target.startswith(("http://", "https://", "#")):
                assert (path.parent / target.split("#")[0]).resolve().exists(), f"{path.name}: {target}"


@EACH
def test_it_asks_three_questions_and_folds_the_answers(source, edition, path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for heading in ("you can", "Time:", "## What to remember", "## Three questions", "## Where this is"):
        assert heading in text
    assert len(re.findall(r"<details><summary>Answer</summary>", text)) == 3
    assert text.count("<details>") == text.count("</details>")


def test_the_stored_dashboard_lists_the_exercises_of_today():
    cells = code_cells(read(NOTEBOOKS / "00_start_here.ipynb"))
    (output,) = next(cell.outputs for cell in cells if cell.source.endswith("dashboard()"))
    table = [line for line in output.data["text/plain"].splitlines() if re.match(r"\d\d · ", line)]
    listed = [tuple(line.split("  \N{WHITE CIRCLE} ")[1:]) for line in table]
    assert listed == [exercises for _, exercises in EXERCISES.values()]


def test_the_readme_names_every_notebook():
    text = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert f"({source.stem}.ipynb)" in text
    for target in LINK.findall(text):
        if not target.startswith("http") and target != "05_decoder.ipynb":  # the example of a link
            assert (NOTEBOOKS / target).exists(), target


def test_the_readme_has_the_minutes_of_each_notebook_and_twelve_hours_are_enough():
    readme = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.*?\]\((\w+)\.ipynb\).*\| (\d+) \|$", readme, re.MULTILINE)
    told = {stem: int(minutes) for stem, minutes in rows}
    texts = {source.stem: source.read_text(encoding="utf-8") for source in SOURCES}
    assert told == {stem: int(re.search(r"\*\*Time:\*\* (\d+) minutes", text)[1]) for stem, text in texts.items()}
    tasks = "\n".join(texts.values())
    ready = [int(minutes) for minutes in re.findall(r"(\d+) minutes(?:, open\.\*|\.\* The way is open)", tasks)]
    assert len(ready) == 7
    assert sum(told.values()) - sum(ready) <= 12 * 60
    assert f"seven open tasks (in 04 and 06 to 11), {sum(ready)} minutes" in " ".join(readme.split())


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_a_forked_kernel_has_the_folder_and_variables_that_it_was_given_and_ends(tmp_path):
    fork_kernels()
    manager, client = start_new_kernel(300, cwd=str(tmp_path), env={**os.environ, "GIVEN": "yes"})
    asked = "[os.getcwd(), os.environ.get('GIVEN'), os.getpgid(0) == os.getpid(), 'torch' in sys.modules]"
    client.execute("import os, sys", user_expressions={"found": asked})
    found = client.get_shell_msg(timeout=300)["content"]["user_expressions"]["found"]["data"]["text/plain"]
    client.stop_channels()
    manager.shutdown_kernel()
    assert ast.literal_eval(found) == [str(tmp_path), "yes", True, True]
    assert not manager.is_alive()
