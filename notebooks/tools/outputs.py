"""Keep the outputs of a built notebook while its text changes."""

import ast

from nbformat import NotebookNode

__all__ = ["ChangedCodeError", "keep_outputs", "meaning"]


class ChangedCodeError(ValueError):
    """The code of two notebooks differs in more than its wording; the message names the first cell."""


def keep_outputs(old: NotebookNode, new: NotebookNode) -> None:
    """Give the code cells of `new` the outputs that those of `old` have, in place.

    The two must have the same code cells in the same order: the outputs of a later cell depend on all before it. Text
    cells may be added, removed and rewritten.

    Args:
        old: A built notebook, with its outputs.
        new: The notebook as its source is now, without outputs.

    Raises:
        ChangedCodeError: The number of code cells differs, or one of them has another meaning.
    """
    before, after = ([cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (old, new))
    for number, (ours, theirs) in enumerate(zip(before, after, strict=False), start=1):
        if meaning(ours.source) != meaning(theirs.source):
            line = theirs.source.strip().split("\n")[0]
            raise ChangedCodeError(f"Code cell {number}, which starts with {line!r}, does something else than it did.")
        if ours.metadata.get("tags", []) != theirs.metadata.get("tags", []):
            raise ChangedCodeError(f"Code cell {number} has other tags than it had.")
    if len(before) != len(after):
        raise ChangedCodeError(f"There are {len(after)} code cells now and there were {len(before)}.")
    for ours, theirs in zip(before, after, strict=True):
        theirs["outputs"] = ours.outputs
        theirs["execution_count"] = ours.execution_count


def meaning(source: str) -> str:
    """Return what the code does as a text that layout, comments, docstrings and moved modules do not change.

    `from a.b import c` counts as `c` from anywhere. A cell that Python cannot parse, such as one with a magic, is
    compared word by word.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return " ".join(source.split())
    imported: list[str] = []
    rest: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            imported += map(ast.dump, statement.names)
        else:
            rest.append(statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return "\n".join(sorted(imported) + list(map(ast.dump, rest)))
