"""The builder: from a source in the percent format to the two editions, and what it keeps of outputs."""

import base64
import io
import shutil

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from build import BuildError, build, main, targets
from cleaning import LIMIT, clean, machine_marks, problems
from editions import SourceError, make_edition, titles
from outputs import meaning

SOURCE = '''# %% [markdown]
# # 01 · Adding
#
# Start with [the first](00_first.ipynb), or read [the README](../README.md).

# %% [markdown]
# Your turn.

# %% tags=["exercise"]
def plus_one(x):
    """x and one more."""
    # <solution>
    y = x + 1
    return y
    # </solution>


def plus_two(x):
    """x and two more."""
    # <solution>
    return plus_one(plus_one(x))
    # </solution>

# %% [markdown] tags=["solution"]
# It could also be a loop.

# %% tags=["NBVAL_CHECK_OUTPUT"]
print(2 + 2)
'''

FIRST = """# %% [markdown]
# # 00 · First

# %%
1 + 1
"""


@pytest.fixture
def course(tmp_path):
    """A course of two notebooks, the second with exercises."""
    return write_course(tmp_path)


def write_course(parent):
    folder = parent / "notebooks" / "source"
    folder.mkdir(parents=True)
    (folder / "00_first.py").write_text(FIRST)
    (folder / "01_adding.py").write_text(SOURCE)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a course whose notebook 01 was built."""
    folder = write_course(tmp_path_factory.mktemp("built")).parent
    assert main(["01", "--folder", str(folder)]) == 0
    return folder


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def test_the_exercise_edition_has_stubs_that_raise_and_nothing_of_the_solution(course):
    notebook = make_edition(course / "01_adding.py", "exercises")
    text = "\n".join(sources(notebook))
    assert "x + 1" not in text
    assert "plus_one(plus_one" not in text
    assert "It could also be a loop" not in text
    assert '"""x and two more."""' in text
    names = {}
    exec(notebook.cells[2].source, names)
    for name in ("plus_one", "plus_two"):
        with pytest.raises(NotImplementedError):
            names[name](1)


def test_the_solutions_edition_has_working_code_without_markers_and_folded(course):
    notebook = make_edition(course / "01_adding.py", "solutions")
    assert "solution>" not in "\n".join(sources(notebook))
    cell = notebook.cells[2]
    names = {}
    exec(cell.source, names)
    assert names["plus_two"](5) == 7
    assert cell.metadata["jupyter"]["source_hidden"] is True
    assert "It could also be a loop" in notebook.cells[3].source


def test_an_exercise_carries_its_stub_in_its_metadata_and_a_solution_does_not(tmp_path):
    folder = write_course(tmp_path)
    source = folder / "01_adding.py"
    source.write_text(source.read_text().replace("print(2 + 2)", "checks.add_two(plus_two)"))
    exercises, solutions = (make_edition(source, edition) for edition in ("exercises", "solutions"))
    (cell,) = (cell for cell in exercises.cells if "course" in cell.metadata)
    assert cell.metadata.course == {"exercise": "add_two", "answer": "plus_two", "stub": cell.source}
    assert "NotImplementedError" in cell.source
    assert not any("course" in cell.metadata for cell in solutions.cells)


def test_ids_follow_from_the_position_and_tags_are_kept(course):
    notebook = make_edition(course / "01_adding.py", "exercises")
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:03d}" for i in range(len(notebook.cells))]
    assert notebook.cells[3].metadata.tags == ["NBVAL_CHECK_OUTPUT"]


def test_links_lead_from_both_folders_to_the_same_places(course):
    exercises, solutions = (make_edition(course / "01_adding.py", edition) for edition in ("exercises", "solutions"))
    assert "(00_first.ipynb)" in exercises.cells[0].source
    assert "(../README.md)" in exercises.cells[0].source
    assert "(../00_first.ipynb)" in solutions.cells[0].source
    assert "(../../README.md)" in solutions.cells[0].source
    assert "(solutions/01_adding.ipynb)" in exercises.cells[-1].source
    assert "(../01_adding.ipynb)" in solutions.cells[-1].source
    assert "[01 · Adding](01_adding.ipynb) →" in make_edition(course / "00_first.py", "exercises").cells[-1].source


def test_a_notebook_without_exercises_has_one_edition(course):
    assert list(targets(course / "00_first.py")) == ["exercises"]
    assert list(targets(course / "01_adding.py")) == ["exercises", "solutions"]
    assert titles(course) == {"00_first": "00 · First", "01_adding": "01 · Adding"}


def test_badges_and_an_installing_cell_only_with_a_repository(course):
    plain = make_edition(course / "01_adding.py", "solutions")
    assert "mybinder" not in str(plain)
    assert "colab" not in str(plain)
    badged = make_edition(course / "01_adding.py", "solutions", "someone/some-course")
    head = badged.cells[0].source
    assert "mybinder.org/v2/gh/someone/some-course/HEAD?labpath=notebooks%2Fsolutions%2F01_adding.ipynb" in head
    assert "colab.research.google.com/github/someone/some-course/blob/HEAD/notebooks/solutions/01_adding.ipynb" in head
    assert "%pip install -q git+https://github.com/someone/some-course" in badged.cells[1].source
    assert badged.metadata.course.repository == "someone/some-course"
    with pytest.raises(SourceError, match="OWNER/NAME"):
        make_edition(course / "01_adding.py", "solutions", "https://github.com/someone/some-course")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('# %% tags=["excercise"]\n1', "no cell tag 'excercise'"),  # codespell:ignore
        ('# %% tags=["exercise"]\nreturn_all = 1', "encloses"),
        ("# %%\n# <solution>\nx = 1\n# </solution>", "encloses"),
        ('# %% tags=["exercise"]\n# <solution>\nx = 1', "do not pair up"),
        ('# %% tags=["exercise"]\n# <solution>\nx = 1\n# </solution>\n# </solution>', "do not pair up"),
        ("# %% [raw]\nraw", "Markdown or code"),
    ],
)
def test_a_source_that_breaks_the_format_is_refused_with_its_name(course, wrong, said):
    (course / "02_wrong.py").write_text(f"# %% [markdown]\n# # 02 · Wrong\n\n{wrong}\n")
    with pytest.raises(SourceError, match=said) as error:
        make_edition(course / "02_wrong.py", "exercises")
    assert "02_wrong.py" in str(error.value)


def test_a_source_without_a_title_is_refused(course):
    (course / "02_wrong.py").write_text("# %% [markdown]\n# no title\n")
    with pytest.raises(SourceError, match="title"):
        titles(course)


def notebook_with(*outputs, tags=()):
    cell = new_code_cell("x", outputs=[*outputs], metadata={"tags": [*tags]}, id="cell-000")
    return new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})


def test_a_view_becomes_a_line_and_widget_state_goes():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Viewer('x')"}
    notebook = notebook_with(new_output("execute_result", data=view, execution_count=7))
    clean(notebook)
    assert "widget" not in str(notebook)
    assert "Run this cell" in notebook.cells[0].outputs[0].data["text/html"]
    assert notebook.cells[0].execution_count == 1


def test_what_a_machine_says_of_itself_is_not_kept():
    notebook = notebook_with(new_output("stream", name="stdout", text="21.5 GiB free\n"), tags=["machine"])
    clean(notebook)
    assert "21.5" not in str(notebook)
    assert "depends on your machine" in str(notebook)


def test_pieces_of_a_stream_are_joined_and_empty_outputs_go():
    pieces = [new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    notebook = notebook_with(new_output("display_data", data={}), *pieces)
    clean(notebook)
    assert [output.text for output in notebook.cells[0].outputs] == ["a\nb\n"]


@pytest.mark.parametrize(
    "text",
    [
        "saved to /home/someone/mask.png",
        "/tmp/x/y.py:3: UserWarning",
        r"C:\Users\someone\mask.png",
        "<torch.nn.Linear object at 0x7f12ab34cd56>",
        "took 12.3 s",
        "87 ms per image",
        "on 2026-07-24",
        "at 12:30:05",
    ],
)
def test_paths_addresses_and_times_are_found(text):
    assert machine_marks(text)
    notebook = notebook_with(new_output("stream", name="stdout", text=text))
    clean(notebook)
    assert problems(notebook)


@pytest.mark.parametrize(
    "text",
    [
        "torch.Size([1, 3, 256, 384])",
        "encoder.full.x1  (96, 64, 96)",
        "<table><tr><td>a/b</td><td>H / 32</td></tr></table>",
        "see https://arxiv.org/abs/2401.03407 and ../docs/architecture.md",
        "12 stages, 3 sides, 44,313,720 parameters, 1/8/16",
        "notebooks/00_start_here.ipynb",
    ],
)
def test_what_reads_the_same_everywhere_is_left_alone(text):
    assert machine_marks(text) == []


def test_errors_warnings_and_mute_pictures_are_problems():
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    warning = new_output("stream", name="stderr", text="careful\n")
    mute = new_output("display_data", data={"image/png": "aGVsbG8="})
    found = problems(notebook_with(error, warning, mute))
    assert len(found) == 3
    assert "ValueError" in found[0]
    assert "careful" in found[1]
    assert "alternative text" in found[2]


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.mark.parametrize("drawing", [True, False])
def test_large_pictures_get_smaller_keep_their_text_and_stay_what_they_show(drawing):
    y, x = np.mgrid[0:500, 0:700]
    noise = np.random.default_rng(0).integers(0, 60, (500, 700, 1))  # as grain in a photo
    pixels = np.stack([x * 190 // 700, y * 190 // 500, (x + y) * 190 // 1200], axis=2) + noise
    if drawing:
        pixels = np.random.default_rng(0).choice([0, 90, 200], (500, 700, 1)).repeat(3, axis=2)
    pixels = pixels.astype(np.uint8)
    picture = png(pixels)
    notebook = notebook_with(
        new_output("display_data", data={"image/png": picture}, metadata={"image/png": {"alt": "a test"}})
    )
    clean(notebook)
    (output,) = notebook.cells[0].outputs
    ((kind, data),) = output.data.items()
    assert kind == ("image/png" if drawing else "image/jpeg")
    assert output.metadata[kind]["alt"] == "a test"
    assert len(data) < len(picture)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), np.int16)
    assert np.abs(shown - pixels).mean() < (0.1 if drawing else 8)
    assert problems(notebook) == []


def test_a_built_notebook_is_run_and_another_build_gives_the_same_file(course):
    assert main(["01", "--folder", str(course.parent)]) == 0
    path = course.parent / "solutions" / "01_adding.ipynb"
    first = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[4].outputs[0].text == "4\n"
    assert "widgets" not in notebook.metadata
    build(course / "01_adding.py", "solutions", path)
    assert path.read_bytes() == first


def test_a_notebook_that_fails_is_not_written(course, capsys):
    (course / "00_first.py").write_text(FIRST + "\n# %%\nprint(undefined)\n")
    assert main(["00", "--folder", str(course.parent)]) == 1
    assert "undefined" in capsys.readouterr().err
    assert not list(course.parent.glob("*.ipynb"))
    assert not list(course.parent.glob(".*"))


def test_a_notebook_over_the_limit_is_not_written(course):
    (course / "00_first.py").write_text(FIRST.replace("1 + 1", f"print('a' * {LIMIT})"))
    with pytest.raises(BuildError, match="smaller"):
        build(course / "00_first.py", "exercises", course.parent / "00_first.ipynb")
    assert not (course.parent / "00_first.ipynb").exists()


def kept(built, course, change):
    """Changes the source of a built notebook and builds it again with --keep-outputs; the status and the notebook."""
    shutil.copytree(built, course.parent, dirs_exist_ok=True)
    source, path = course / "01_adding.py", course.parent / "solutions" / "01_adding.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[4].outputs[0]["text"] = "from the first run\n"
    nbformat.write(notebook, path)
    source.write_text(change(source.read_text()))
    status = main(["01", "--folder", str(course.parent), "--keep-outputs"])
    return status, nbformat.read(path, as_version=4)


def test_keep_outputs_takes_new_text_and_comments_and_runs_nothing(built, course):
    def change(text):
        text = text.replace("# Your turn.", "# Now you.\n\n# %% [markdown]\n# One cell more.")
        return text.replace("print(2 + 2)", "print(2+2)  # four").replace("x and one more", "one more than x")

    status, notebook = kept(built, course, change)
    assert status == 0
    assert "Now you." in sources(notebook)
    assert "One cell more." in sources(notebook)
    assert notebook.cells[5].source == "print(2+2)  # four"
    assert notebook.cells[5].outputs[0].text == "from the first run\n"
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:03d}" for i in range(len(notebook.cells))]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("print(2 + 2)", "print(2 + 3)", "Code cell 2, which starts with 'print(2 + 3)'"),
        ("print(2 + 2)", "print(2 + 2)\n\n# %%\n1", "3 code cells now and there were 2"),
        ('# %% tags=["NBVAL_CHECK_OUTPUT"]', "# %%", "other tags"),
        ("y = x + 1", "y = x + 2", "Code cell 1"),
    ],
)
def test_keep_outputs_is_refused_where_code_has_changed(built, course, capsys, old, new, said):
    status, notebook = kept(built, course, lambda text: text.replace(old, new))
    assert status == 1
    assert said in capsys.readouterr().err
    assert notebook.cells[4].outputs[0].text == "from the first run\n"


def test_keep_outputs_needs_a_built_notebook(course, capsys):
    assert main(["00", "--folder", str(course.parent), "--keep-outputs"]) == 1
    assert "no outputs to keep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from a.b import c", "from d import c"),
        ("from a import b, c\nx = 1", "from a import b\nfrom z import c\n\nx = 1"),
        ("def f(x):\n    'one'\n    return x", "def f(x):  # two\n    return (x)"),
        ("%pip  install x", "%pip install x"),
    ],
)
def test_wording_and_moved_modules_do_not_change_what_a_cell_means(old, new):
    assert meaning(old) == meaning(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 2"),
        ("import a", "import b"),
        ("from a import b", "from a import b as c"),
        ("print('one')", "print('two')"),
    ],
)
def test_other_code_is_another_meaning(old, new):
    assert meaning(old) != meaning(new)
