"""The site: the gallery has every view; slow: it builds without a warning, and works offline without a server."""

import ast
import builtins
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

import widgets

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

# Words that a visitor searches for, and the title of a page among the first three results.
SEARCHES = {
    "inward reference": "Inward and outward reference",
    "fine-tune own photos": "Fine-tune on your own photos",
    "patch_order": "patch_order",
}

sys.path.insert(0, str(ROOT))
from docs.notebook_views import MARK, NOTEBOOK_VIEWS, view_cells  # noqa: E402
from docs.views import VIEWS  # noqa: E402

sys.path.remove(str(ROOT))


def test_gallery_has_every_view():
    views = {*widgets.__all__} - {"Viewer", "framed", "show", "static"}
    assert {*VIEWS} == views
    assert set(re.findall(r"```\{view\} (\w+)", (DOCS / "gallery.md").read_text(encoding="utf-8"))) == views


def unknown_names(code):
    """The names that a piece of code uses and neither makes nor imports."""
    nodes = [*ast.walk(ast.parse(code))]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    imported = {alias.asname or alias.name for node in nodes for alias in getattr(node, "names", [])}
    return {node.id for node in names} - made - imported - {*dir(builtins)}


def test_every_view_of_a_notebook_is_in_the_list():
    notebooks = ROOT / "notebooks"
    assert [path.stem for path in sorted(notebooks.glob("*.ipynb"))] == [*NOTEBOOK_VIEWS]
    for name, views in NOTEBOOK_VIEWS.items():
        cells = view_cells(notebooks / f"{name}.ipynb")
        for cell, view in zip(cells, views, strict=True):
            assert view is None or view.view in cell
            assert view is None or unknown_names(view.setup + cell) == set()
        solved = notebooks / "solutions" / f"{name}.ipynb"
        assert not solved.exists() or view_cells(solved) == cells


def test_the_code_of_each_view_is_python():
    for name, view in VIEWS.items():
        compile(view.code(name), name, "exec")


@pytest.mark.parametrize("path", sorted((DOCS / "reference").glob("*.md")), ids=lambda path: path.stem)
def test_reference_names_modules_that_exist(path):
    for module in re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8")):
        assert import_module(module).__doc__


@pytest.fixture(scope="module")
def site():
    """The folder of the site, built anew."""
    for module in ("sphinx", "myst_nb", "pydata_sphinx_theme"):
        pytest.importorskip(module, reason="the group docs is not installed: uv run --group docs pytest -m slow")
    import subprocess

    result = subprocess.run([sys.executable, "-m", "docs", "-E"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return DOCS / "_build" / "html"


def pages_of(site):
    """The pages, without the templates that the theme leaves among its files."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


class Links(HTMLParser):
    """The links, frames, pictures and anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets += [found[key] for key in ("href", "src") if found.get(key)]


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_page_of_it(site):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in pages_of(site)}
    assert len(pages) > 50
    broken = []
    for path, page in pages.items():
        if path.parent.name == "views":
            continue
        for target in page.targets:
            if re.match(r"[a-z]+:|//|#$", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            other = (path.parent / file.split("?")[0]).resolve() if file else path
            if not other.exists() or (anchor and other in pages and anchor not in pages[other].anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert broken == []


@pytest.mark.slow
def test_the_views_of_a_notebook_are_framed_above_their_pictures(site):
    for name, views in NOTEBOOK_VIEWS.items():
        for path in site.glob(f"notebooks/**/{name}.html"):
            text = path.read_text(encoding="utf-8")
            frames = re.findall(r'<iframe class="view-frame" src="([^"]+)" title="[^"]+" loading="lazy">', text)
            assert len(frames) == len(views) - views.count(None)
            assert text.count(MARK) == views.count(None)
            assert all((path.parent / frame).exists() for frame in frames)
            assert all("<img" in rest for rest in text.split("<iframe")[1:])


@pytest.mark.slow
def test_pages_are_small(site):
    assert [path.name for path in pages_of(site) if path.stat().st_size > 2_000_000] == []
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 120_000_000


@pytest.mark.slow
@pytest.mark.browser
def test_pages_opened_from_files_ask_for_nothing_outside_and_report_no_error(site):
    with ThreadPoolExecutor(1) as pool:  # a browser of other tests may be open in this thread, which bears only one
        pool.submit(walk, site).result()


def walk(site):
    sync_api = pytest.importorskip("playwright.sync_api")
    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from labserver import ARGUMENTS, chromium_path

    sys.path.pop(0)
    problems = []
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
        except sync_api.Error as error:
            pytest.skip(f"there is no Chromium to test with: {str(error).splitlines()[0]}")
        page = browser.new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or problems.append(r.url))
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        page.on("console", lambda m: m.type == "error" and problems.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        page.goto((site / "index.html").as_uri())
        page.wait_for_url("**/docs/index.html")
        for path in pages_of(site):
            if path != site / "index.html":
                page.goto(path.as_uri(), wait_until="load")
        assert problems == []

        page.goto((site / "docs" / "gallery.html").as_uri())
        frame = page.frame_locator("iframe[src*=feature_pyramid]")
        frame.locator("canvas").first.wait_for()
        page.goto((site / "notebooks" / "solutions" / "06_refinement.html").as_uri())
        for number in (1, 2):
            page.locator(f"iframe[src$='06-{number}.html']").scroll_into_view_if_needed()
            drawn = page.frame_locator(f"iframe[src$='06-{number}.html']").locator("canvas[data-state=drawn]")
            drawn.first.wait_for()
        page.goto((site / "notebooks" / "03_squeeze.html").as_uri())
        assert page.locator(".formula math").count() == page.locator(".formula").count() > 5
        for words, first in SEARCHES.items():
            page.goto((site / "search.html").as_uri() + f"?q={words}")
            page.locator("#search-results li:nth-child(-n+3) a", has_text=first).first.wait_for()
        browser.close()
    assert problems == []
