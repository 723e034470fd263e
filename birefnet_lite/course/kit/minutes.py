"""A table of how long each exercise took, from the local progress file."""

from collections.abc import Mapping

from birefnet_lite.course.progress import BREAK, NOTEBOOKS, UNTOUCHED, Trace
from birefnet_lite.output import format_table

__all__ = ["minutes_table"]


def minutes_table(traces: Mapping[str, Trace]) -> str:
    """Return the table as text: a line for each exercise with a check, and the sum.

    Args:
        traces: The progress by exercise, as `read_traces` gives it.
    """
    rows = [("exercise", "", "minutes", "tries")]
    total = 0.0
    for stem, (_, names) in NOTEBOOKS.items():
        for name in names:
            trace = traces.get(name, UNTOUCHED)
            if trace != UNTOUCHED:
                rows.append((f"{stem[:2]} {name}", trace.sign, f"{trace.seconds / 60:.0f}", str(trace.tries)))
                total += trace.seconds
    if len(rows) == 1:
        return "No check has run yet."
    rows.append(("together", "", f"{total / 60:.0f}", ""))
    note = f"From the check before to the one that was passed, reading included; breaks over {BREAK // 60} minutes not."
    return f"{format_table(rows, left=2)}\n{note}"
