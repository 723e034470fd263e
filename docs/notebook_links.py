"""Sphinx extension: links to notebooks in the outputs of cells lead to their pages."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["setup"]

_LINK = re.compile(r"""(href=["'])([\w/.-]+)\.ipynb(["'])""")


def follow_links(app: Sphinx, doctree: nodes.document) -> None:
    """Replace `NN_name.ipynb` by `NN_name.html` in the HTML of a page."""
    for node in doctree.findall(nodes.raw):
        if node.get("format") == "html":
            text = _LINK.sub(r"\1\2.html\3", node.astext())
            node[:] = [nodes.Text(text)]
            node.rawsource = text


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the replacement."""
    app.connect("doctree-read", follow_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
