"""Sphinx extension: the directive `view`, a live view in a frame with its picture's link and its code."""

from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from docs.views import VIEWS

__all__ = ["setup"]


class ViewDirective(Directive):
    """Show the view of that name (see `docs/views.py`)."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the frame, the text and the code."""
        name = self.arguments[0]
        view = VIEWS[name]
        page = f"../views/{name}.html"
        frame = (
            f'<iframe class="view-frame" src="{page}" title="{escape(view.title)}" loading="lazy"></iframe>'
            f'<p><a href="{page}">Open this view alone</a> · <a href="../views/{name}.png">as a picture</a></p>'
        )
        code = view.code(name)
        text, messages = self.state.inline_text(view.text, self.lineno)
        return [
            nodes.paragraph("", "", *text),
            *messages,
            nodes.raw("", frame, format="html"),
            nodes.literal_block(code, code, language="python"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("view", ViewDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
