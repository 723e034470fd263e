"""The dashboard: which exercises are solved, from the learner's progress."""

from dataclasses import dataclass
from html import escape

from birefnet_lite.course.progress import (
    NOTEBOOKS,
    UNTOUCHED,
    ForeignFileError,
    Trace,
    progress_file,
    read_traces,
)

__all__ = ["Dashboard", "dashboard"]


@dataclass(frozen=True)
class Dashboard:
    """All exercises and which are solved, as an HTML table in a notebook and as aligned text elsewhere."""

    rows: tuple[tuple[str, tuple[tuple[str, Trace], ...]], ...]
    """The file stem of each notebook, and its exercises by name."""
    kept: str
    """A line with the path of the file, or why there is none; may be empty."""

    @property
    def next_step(self) -> str:
        """One sentence that names the next exercise."""
        for stem, traces in self.rows:
            for name, trace in traces:
                if not trace.solved:
                    tried = f" You have tried it {_times(trace.tries)}." if trace.tries else ""
                    return f"Next: {name} in notebook {stem[:2]}, {NOTEBOOKS[stem][0]}.{tried}"
        return "Every exercise is solved."

    @property
    def summary(self) -> str:
        """One sentence with the number of solved exercises."""
        return f"{_share([trace for _, traces in self.rows for _, trace in traces])} exercises solved."

    def __repr__(self) -> str:
        rows = [(_title(stem), _share([t for _, t in traces]), _signs(traces)) for stem, traces in self.rows]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c}".rstrip() for a, b, c in rows]
        return "\n".join([self.summary, *lines, self.next_step, *filter(None, [self.kept])])

    def _repr_html_(self) -> str:
        # No colours of its own: the page's are readable on a light and on a dark page.
        rows = "".join(
            f"<tr><td align='left' style='text-align:left'><a href='{stem}.ipynb'>{escape(_title(stem))}</a></td>"
            f"<td align='right'>{_share([t for _, t in traces])}</td>"
            f"<td align='left' style='text-align:left'>{escape(_signs(traces))}</td></tr>"
            for stem, traces in self.rows
        )
        head = "<th align='left' style='text-align:left'>notebook</th><th>solved</th>"
        head += "<th align='left' style='text-align:left'>exercises: ✓ solved, ✗ tried, ○ open</th>"
        kept = f"<p><small>{escape(self.kept)}</small></p>" if self.kept else ""
        return (
            f"<p><b>{self.summary}</b> {escape(self.next_step)}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{kept}"
        )


def dashboard() -> Dashboard:
    """Read the progress; where it cannot be read, every exercise is open and a line says why.

    Examples:
        >>> dashboard().summary  # doctest: +ELLIPSIS
        '... exercises solved.'
    """
    traces: dict[str, Trace] = {}
    kept = ""
    try:
        path = progress_file()
        if path is not None:
            kept = f"Kept in {path}, on this machine only. Delete the file to start over."
            traces = read_traces()
    except ForeignFileError:
        kept = f"{path} is damaged or is not a file of this course: nothing is noted. Move it away to start over."
    except (OSError, RuntimeError) as error:
        kept = f"Your progress cannot be read ({error}); the course works without."
    rows = tuple(
        (stem, tuple((name, traces.get(name, UNTOUCHED)) for name in names)) for stem, (_, names) in NOTEBOOKS.items()
    )
    return Dashboard(rows, kept)


def _title(stem: str) -> str:
    return f"{stem[:2]} · {NOTEBOOKS[stem][0]}"


def _share(traces: list[Trace]) -> str:
    return f"{sum(trace.solved for trace in traces)} / {len(traces)}" if traces else "–"


def _signs(traces: tuple[tuple[str, Trace], ...]) -> str:
    return "  ".join(f"{trace.sign} {name}" for name, trace in traces)


def _times(tries: int) -> str:
    return "once" if tries == 1 else f"{tries} times"
