"""Extract a hand-in from a learner's notebook: answers and the code that they call, without personal names or paths."""

import ast
import builtins
import getpass
import io
import re
import socket
import symtable
import tokenize
from pathlib import Path
from typing import Any

from birefnet_lite.course.kit.notebook_file import Exercise

__all__ = ["collect_context", "hide_names", "personal_names"]

_PATH = re.compile(
    r"(?<![\w.:/<])/(?:[\w.+-]+/)+[\w.+-]*"  # /home/me/photo.png, not 1/2 and not https://
    r"|(?<!\w)~[\w.-]*/[\w./+-]*"
    r"|\b[A-Za-z]:[\\/]{1,2}[\w.\\/ +-]+"
    r"|(?<!\w)\\\\[\w.$-]+\\[\w.\\$ +-]+"
)
_COMMON = {"root", "user", "home", "local", "localhost", "student", "admin", "ubuntu", "jovyan"}  # name nobody
_TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def collect_context(cells: list[dict[str, Any]], exercise: Exercise) -> str:
    """Return the statements of earlier cells that an answer needs: imports, functions, classes and constants.

    Only what the answer names, and what that names in turn. Where the notebook takes the learner's part if a check has
    passed, and the package's otherwise, the package's is taken, so that each answer stands for itself.
    """
    bound: dict[str, tuple[int, str]] = {}
    for i, cell in enumerate(cells[: exercise.cell]):
        if cell.get("cell_type") != "code":
            continue
        try:
            body = ast.parse(cell["source"]).body
        except (SyntaxError, ValueError):  # a magic, or a cell of the learner's that is not finished
            continue
        for j, statement in enumerate(body):
            for name in _bound_by(statement):
                bound[name] = (i * 10_000 + j, _as_package(statement))
    needed: dict[int, str] = {}
    names = _free_names(exercise.source)
    while names:
        name = names.pop()
        if name in bound and bound[name][0] not in needed:
            place, statement = bound[name]
            needed[place] = statement
            names |= _free_names(statement)
    return "\n".join(text for _, text in sorted(needed.items()))


def _bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        targets = [node for target in statement.targets for node in ast.walk(target)]
        return {node.id for node in targets if isinstance(node, ast.Name)}
    return set()


def _as_package(statement: ast.stmt) -> str:
    """`tiles = mine if checked.passed else package_tiles` as `tiles = package_tiles`; all else as it is."""
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.IfExp):
        choice = statement.value
        if ".passed" in ast.unparse(choice.test):
            return ast.unparse(ast.Assign(statement.targets, choice.orelse, lineno=0))
    return ast.unparse(statement)


def _free_names(source: str) -> set[str]:
    """The names that a piece of code takes from outside; none if it cannot be parsed."""
    try:
        tables = [symtable.symtable(source, "answer", "exec")]
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    own = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    while tables:
        table = tables.pop()
        top = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if s.is_global() or (top and s.is_referenced())}
        tables += table.get_children()
    return {name for name in found - own if not hasattr(builtins, name)}


def personal_names() -> list[str]:
    """Return the names of this user, home folder and machine, as far as they name anybody."""
    found: set[str] = set()
    for ask in (getpass.getuser, socket.gethostname, lambda: Path.home().name):
        try:
            name = ask()
        except Exception:  # a user without a name or a home
            continue
        found |= {name, name.split(".")[0]}
    return sorted(name for name in found if len(name) > 2 and name.lower() not in _COMMON)


def hide_names(source: str, names: list[str]) -> str:
    """Replace paths and personal names in the comments and strings of a piece of code; its code stays as it is.

    In code that Python cannot read, they are replaced everywhere.
    """
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        ast.parse(source)
    except (tokenize.TokenError, SyntaxError, ValueError):
        return _hidden(source, names)
    starts = [0]
    for line in io.StringIO(source):
        starts.append(starts[-1] + len(line))
    for token in reversed(tokens):
        if token.type in _TEXTS:
            first, last = (starts[row - 1] + column for row, column in (token.start, token.end))
            hidden = _hidden(source[first:last], names)
            source = source[:first] + hidden + source[last:]
    return source


def _hidden(text: str, names: list[str]) -> str:
    text = _PATH.sub("<path>", text)
    for name in names:
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "<name>", text, flags=re.I)
    return text
