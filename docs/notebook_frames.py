"""Sphinx extension: each view of a notebook's page live in a frame, in the place where its cell's output was."""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from docs.notebook_views import MARK, NOTEBOOK_VIEWS, NotebookView, page_name

__all__ = ["setup"]


def add_frames(app: Sphinx, doctree: nodes.document) -> None:
    """Replace the line that says to run the cell. The still picture after it stays, for paper and without scripts."""
    page = app.env.docname
    notebook = page.split("/")[-1]
    marked = [node for node in doctree.findall(nodes.raw) if MARK in node.astext()]
    for number, (node, view) in enumerate(zip(marked, NOTEBOOK_VIEWS.get(notebook, ()), strict=True), start=1):
        if view is not None:
            text = _frame(f"{'../' * page.count('/')}views/{page_name(notebook, number)}.html", view)
            node[:] = [nodes.Text(text)]
            node.rawsource = text


def _frame(page: str, view: NotebookView) -> str:
    frame = f'<iframe class="view-frame" src="{page}" title="{escape(view.title)}" loading="lazy"></iframe>'
    said = f"The view as it was when this page was made. {escape(view.note)}".strip()
    return f'{frame}<p class="view-note">{said} <a href="{page}">Open it alone</a></p>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the replacement."""
    app.connect("doctree-read", add_frames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
