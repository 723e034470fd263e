"""Settings of Sphinx for the site."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "birefnet_lite"
author = PROJECT["authors"][0]["name"]
copyright = author
release = version = PROJECT["version"]
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.diagrams",
    "docs.docstrings",
    "docs.gallery",
    "docs.notebook_frames",
    "docs.notebook_links",
    "docs.temml",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/guides/*.md",
    "docs/reference/*.md",
    "notebooks/*.md",
    "notebooks/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "birefnet_lite/photos/*.md",
    "birefnet_lite/weights/*.md",
    "benchmarks/results/*.md",
]
exclude_patterns = ["docs/_build", ".venv", ".uv", "**/node_modules", "build", "dist", "runs", "**.ipynb_checkpoints"]

# Notebooks are shown as they were built.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "birefnet_lite"
html_static_path = ["static", "../notebooks/tools/slide_template/static/temml.min.js"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_search_scorer = str(ROOT / "docs" / "static" / "search_order.js")
html_show_search_summary = False  # a page opened from a file may not fetch another
html_context = {"default_mode": "auto"}
html_theme_options = {
    "secondary_sidebar_items": ["page-toc"],
    "navbar_persistent": ["search-button"],
    "show_prev_next": True,
    "use_edit_page_button": False,
}
templates_path: list[str] = []
