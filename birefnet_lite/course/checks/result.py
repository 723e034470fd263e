"""The verdict of a check, and the exceptions that carry its message."""

from dataclasses import dataclass
from html import escape

__all__ = ["Result", "Unclear", "Wrong"]

_SIGNS = {True: "✓", False: "✗", None: "○"}
_COLOURS = {True: "#2f6d1a", False: "#a83a20", None: "#55606e"}


@dataclass(frozen=True)
class Result:
    """The verdict on one exercise."""

    exercise: str
    passed: bool | None
    """None while the exercise is unsolved."""
    message: str

    def __repr__(self) -> str:
        return f"{_SIGNS[self.passed]} {self.exercise}: {self.message}"

    def _repr_html_(self) -> str:
        # A card of its own colour, so that it reads on a light and on a dark page.
        style = f"background:#fbfaf6;color:{_COLOURS[self.passed]};border-left:5px solid;padding:.6em 1em"
        text = escape(self.message).replace("\n", "<br>")
        return f"<div style='{style}'><b>{_SIGNS[self.passed]} {escape(self.exercise)}:</b> {text}</div>"


class Wrong(Exception):
    """Raised inside a check: the answer is wrong, and this is the message for the learner."""


class Unclear(Wrong):
    """The answer is wrong for a reason that the check does not know: what the answer calls may tell more."""

    factor: float | None = None
    """How many times the right result the answer's is, where that is all that is wrong."""
