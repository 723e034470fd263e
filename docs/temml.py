"""Sphinx extension: formulas as MathML, made in the browser by the vendored Temml, without a request to anywhere."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["setup"]


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an inline formula as its TeX, for docs/static/formulas.js to convert."""
    translator.body.append(f'<span class="formula">{translator.encode(node.astext())}</span>')
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own as its TeX."""
    translator.body.append(f'<div class="formula">{translator.encode(node.astext())}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and its scripts."""
    app.add_html_math_renderer("temml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "temml"
    app.add_js_file("temml.min.js")
    app.add_js_file("formulas.js")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
