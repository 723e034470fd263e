"""A class as two pages: its picture and tables, and its wrong answers without names, to talk about."""

from collections.abc import Iterable
from html import escape
from itertools import groupby

from birefnet_lite.course.kit.class_tables import SIGNATURE
from birefnet_lite.course.kit.classroom import EXERCISES, Classroom, WrongAnswer

__all__ = ["class_page", "discussion_page"]

_CELL, _LEFT, _TOP = 22, 190, 150
_STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf6; --ink: #1f2933; --quiet: #55606e; --line: #c9c5b8;
  --solved: #2f6d1a; --tried: #c96a12; --code: #f1efe8; }
@media (prefers-color-scheme: dark) { :root { --ground: #15191e; --ink: #eceff3; --quiet: #a3adb9; --line: #3d4652;
  --solved: #7cc35f; --tried: #f0a048; --code: #20262d; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 80rem; background: var(--ground); color: var(--ink);
  font: 1.15rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.4rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; } svg { display: block; font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg text { fill: var(--ink); } .none { fill: none; stroke: var(--line); } .solved { fill: var(--solved); }
.tried { fill: none; stroke: var(--tried); stroke-width: 3; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
:is(th, td):is(:first-child, :last-child) { text-align: left; }
pre { background: var(--code); padding: 1rem; overflow-x: auto; font-size: 1.1rem; line-height: 1.45; }
blockquote { margin: 0; padding-left: 1rem; border-left: 4px solid var(--tried); white-space: pre-wrap; }
.quiet { color: var(--quiet); }
"""


def class_page(classroom: Classroom, protections: Iterable[str] = ()) -> str:
    """Return a page with the picture of the class and the table of exercises.

    Args:
        classroom: The class.
        protections: Where answers were run: what kept them apart from this machine, one line each.
    """
    checked = "" if classroom.verdicts else " As the learners' own files say it; nothing was run again."
    parts = [
        f"<p>{len(classroom.hand_ins)} hand-ins.{checked} A full square is solved, a frame is tried, a thin one open.",
        f"</p><div class='wide'>{_picture(classroom)}</div>",
        f"<h2>Exercises</h2><div class='wide'>{_table(classroom)}</div>",
        *([f"<h2>How answers were run</h2>{_list(protections)}"] if protections else []),
        *([f"<h2>Left out</h2>{_list(classroom.left_out)}"] if classroom.left_out else []),
    ]
    return _page("The class", parts)


def _picture(classroom: Classroom) -> str:
    """A grid of learners and exercises as SVG; each square says in words what it is."""
    width = _LEFT + _CELL * len(EXERCISES) + 80  # the last name leans to the right
    height = _TOP + _CELL * len(classroom.hand_ins) + 10
    parts = []
    before = ""
    for column, (number, name) in enumerate(EXERCISES):
        x = _LEFT + column * _CELL
        shown = f"{number} {name}" if number != before else name
        turned = f"transform='translate({x + 14} {_TOP - 6}) rotate(-60)'"
        weight = " font-weight='bold'" if number != before else ""
        parts.append(f"<text {turned}{weight}>{escape(shown)}</text>")
        before = number
    for row, learner in enumerate(classroom.hand_ins):
        y = _TOP + row * _CELL
        parts.append(f"<text x='{_LEFT - 10}' y='{y + 15}' text-anchor='end'>{escape(_short(learner, 24))}</text>")
        for column, (number, name) in enumerate(EXERCISES):
            state = classroom.state(learner, name)
            inset, side = {"solved": (3.0, 16), "tried": (4.5, 13), "open": (3.5, 15)}[state]
            x = _LEFT + column * _CELL
            kind = "none" if state == "open" else state
            title = escape(f"{learner}: {number} {name}, {state}")
            parts.append(
                f"<rect class='{kind}' x='{x + inset}' y='{y + inset}' width='{side}' height='{side}' rx='2'>"
                f"<title>{title}</title></rect>"
            )
    label = "Which learner has solved which exercise"
    return f"<svg role='img' aria-label='{label}' width='{width}' height='{height}'>{''.join(parts)}</svg>"


def _table(classroom: Classroom) -> str:
    head = ("exercise", "solved", "tried", "open", "median tries", "median minutes", "mistakes")
    rows = ["<tr>" + "".join(f"<th>{one}</th>" for one in head) + "</tr>"]
    for number, name in EXERCISES:
        one = classroom.summary(name)
        if not (one.solved or one.tried):
            continue
        said = "<br>".join(f"{count} × {escape(_short(mistake, 200))}" for mistake, count in one.mistakes)
        numbers = (one.solved, one.tried, one.open, f"{one.tries:g}", f"{one.minutes:.0f}")
        cells = (escape(f"{number} {name}"), *map(str, numbers), said)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table>{''.join(rows)}</table>"


def discussion_page(answers: list[WrongAnswer]) -> str:
    """Return a page with the wrong answers by exercise, and what the check says of each."""
    numbers = {name: number for number, name in EXERCISES}
    parts = ["<p>What is wrong, and how would you find it? Nobody's name is here, nor anybody's comments.</p>"]
    if not answers:
        parts = ["<p>There is no wrong answer in this class.</p>"]
    for exercise, group in groupby(answers, key=lambda one: one.exercise):
        parts.append(f"<h2>{numbers[exercise]} · {escape(exercise)}</h2>")
        for one in group:
            people = "one person" if one.people == 1 else f"{one.people} people"
            parts.append(f"<p class='quiet'>{people}</p><pre><code>{escape(one.code)}</code></pre>")
            if one.message:
                said = f"<blockquote>{escape(_short(one.message, 2000))}</blockquote>"
                parts.append(f"<details><summary>What the check says</summary>{said}</details>")
    return _page("Answers to talk about", parts)


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        f"<!doctype html><!-- {SIGNATURE} -->\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><link rel='icon' href='data:,'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'; "
        f'img-src data:"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{''.join(parts)}</body></html>\n"
    )


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(_short(line, 300))}</li>" for line in lines) + "</ul>"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
