"""Build the site into docs/_build/html: `uv run --group docs python -m docs`."""

import sys
from pathlib import Path

from sphinx.cmd.build import main as build

from birefnet_lite import load
from docs.notebook_views import notebook_pages
from docs.views import build_pages, gallery_pages
from widgets.explorer.page import write_folder

DOCS = Path(__file__).resolve().parent
HTML = DOCS / "_build" / "html"

# Pages have the paths of their sources in the repository, so that links between them are the same in both.
FIRST_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>birefnet_lite</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">birefnet_lite</a>
</html>
"""


def main() -> int:
    """Build the site; warnings are errors. Returns the exit status."""
    arguments = ["-b", "html", "-W", "--keep-going", "-q", "-j", "2"]
    places = ["-c", str(DOCS), "-d", str(HTML.parent / "doctrees"), str(DOCS.parent), str(HTML)]
    status = build([*arguments, *places, *sys.argv[1:]])
    if status == 0:
        build_pages(HTML / "views", notebook_pages() | gallery_pages())
        write_folder(HTML / "explorer", load("nano", "cpu"))
        (HTML / "index.html").write_text(FIRST_PAGE, encoding="utf-8")
        print(f"The site is in {HTML / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
