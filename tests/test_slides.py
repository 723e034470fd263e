"""Slides: what of a notebook becomes one, what is left out, and that the page brings everything with it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import slides as slides_module
from slides import main, slides, to_html

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
VENDORED = Path(slides_module.__file__).parent / "slide_template"


def code(source, text="", **metadata):
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, metadata=metadata)


@pytest.fixture
def notebook():
    return new_notebook(
        cells=[
            new_markdown_cell("# 01 · Adding\n\nFirst [the start](00_start.ipynb), then [a paper](https://arxiv.org)."),
            new_markdown_cell("## 1 · One\n\nIn symbols, $a < b$ and $$x^2$$"),
            code("1 + 1", "2"),
            new_markdown_cell("Words for the next cell."),
            code("2 + 2", "4"),
            new_markdown_cell("Words\n\n### Exercise 1 · Plus\n\nWrite it."),
            code("def plus(x):\n    raise NotImplementedError", tags=["exercise"]),
            new_markdown_cell("The check tries it."),
            code("checks.plus(plus)", "not solved yet"),
            new_markdown_cell("<details><summary>Hint 1</summary>\n\nHINT\n\n</details>"),
            new_markdown_cell("## 2 · View"),
            code("view", "Run this cell to get the interactive view."),
            new_markdown_cell("The same as a still picture."),
            code("static(view)", "a picture"),
            code("free()", "12 GiB", tags=["machine"]),
            new_markdown_cell(
                "## Three questions\n\n**1. Why?**\n\n<details><summary>Answer</summary>\n\nTHAT\n\n</details>"
            ),
            new_markdown_cell("## Where this is\n\n| a | b |"),
            new_markdown_cell("← [before](00_start.ipynb)"),
        ]
    )


def made(notebook):
    return [(cell.metadata.slideshow.slide_type, cell.source) for cell in slides(notebook).cells]


def test_sections_go_right_texts_go_down_and_code_stays_with_its_text(notebook):
    kinds = [(kind, source.split("\n")[0]) for kind, source in made(notebook)]
    assert kinds == [
        ("slide", "# 01 · Adding"),
        ("slide", "## 1 · One"),
        ("-", "1 + 1"),
        ("subslide", "Words for the next cell."),
        ("-", "2 + 2"),
        ("subslide", "Words"),
        ("subslide", "### Exercise 1 · Plus"),
        ("-", "def plus(x):"),
        ("slide", "## 2 · View"),
        ("subslide", "The same as a still picture."),
        ("-", "static(view)"),
        ("slide", "## Three questions"),
        ("notes", "THAT"),
    ]


def test_links_to_what_is_not_beside_the_slides_become_words(notebook):
    first = made(notebook)[0][1]
    assert "First the start, then [a paper](https://arxiv.org)" in first


def test_a_long_text_becomes_several_slides(notebook):
    notebook.cells.insert(2, new_markdown_cell("\n\n".join(["word " * 80] * 4)))
    parts = [source for _, source in made(notebook) if source.startswith("word")]
    assert len(parts) == 4
    notebook.cells.insert(2, new_markdown_cell("\n\n".join(["brief " * 10] * 4)))
    assert len([source for _, source in made(notebook) if source.startswith("brief")]) == 1


def test_for_a_projector_less_is_on_each_slide_and_the_page_opens_large(notebook):
    notebook.cells.insert(2, new_markdown_cell("\n\n".join(["word " * 40] * 4)))
    counts = [len(slides(notebook, projector).cells) for projector in (False, True)]
    assert counts[1] > counts[0]
    for projector in (False, True):
        start = to_html(notebook, "01_adding", projector)[:200]
        assert ("data-projector" in start) is projector


class Requests(HTMLParser):
    """Addresses that a page would request while it is read."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if tag != "a" and name in ("src", "href", "data", "srcset") and not (value or "").startswith("data:"):
                self.found.append((tag, value))


def test_the_page_names_nothing_to_fetch(notebook):
    page = to_html(notebook, "01_adding")
    reader = Requests()
    reader.feed(page)
    assert reader.found == []
    assert not re.search(
        r"@import|url\(\s*['\"]?(?!data:|#|['\"])", re.sub(r"<script.*?</script>", "", page, flags=re.S)
    )
    assert "<title>01_adding</title>" in page
    assert "HINT" not in page
    assert '<aside class="notes">' in page


@pytest.mark.parametrize("name", ["reveal", "temml"])
def test_what_is_not_ours_comes_with_its_licence(name):
    text = (VENDORED / f"LICENSE.{name}").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in text
    assert f"LICENSE.{name}" in (VENDORED / "README.md").read_text(encoding="utf-8")


def test_every_notebook_has_slides_with_its_sections_and_nothing_of_its_hints():
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        found = slides(notebook).cells
        titles = re.findall(r"^#{1,2} (.+)$", "\n".join(c.source for c in found if c.cell_type == "markdown"), re.M)
        wanted = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        wanted = [title for title in re.findall(r"^#{1,2} (.+)$", wanted, re.M) if not title.startswith("Where this")]
        assert titles == wanted, path.name
        assert found[0].metadata.slideshow.slide_type == "slide"
        text = "\n".join(cell.source for cell in found)
        assert "<details>" not in text
        assert "checks." not in re.sub(r"from .* import .*", "", text)


def test_the_program_writes_pages_and_says_what_to_build_first(tmp_path, capsys, notebook):
    folder = tmp_path / "notebooks"
    (folder / "source").mkdir(parents=True)
    for stem in ("01_adding", "02_more"):
        (folder / "source" / f"{stem}.py").write_text("# %% [markdown]\n# # 01 · Adding\n")
    nbformat.write(notebook, folder / "01_adding.ipynb")
    assert main(["--folder", str(folder), "--output", str(tmp_path / "out")]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["01_adding.slides.html"]
    assert "tools/build.py 02_more" in capsys.readouterr().err
    assert main(["07", "--folder", str(folder)]) == 1
    assert "no source" in capsys.readouterr().err
