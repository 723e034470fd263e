"""Draw the table of a view below its picture."""

from typing import Any

from widgets.drawing_sheet import INK, MARGIN, MUTED, Sheet, break_text, font

__all__ = ["draw_table"]

ROWS = 24


def draw_table(sheet: Sheet, table: dict[str, Any], top: float) -> float:
    """Draw a table from `top` downwards, and return where it ends; of a long one, the rows around the marked one."""
    rows = table["rows"]
    start = max(0, next((i for i, row in enumerate(rows) if row.get("first")), 0) - 4)
    shown = rows[start : start + ROWS]
    lines = [table["columns"], *[row["cells"] for row in shown]]
    letters = font(12, bold=True)  # the wider ones
    columns = [[str(line[i]) for line in lines] for i in range(len(lines[0]))]
    widths = _column_widths(columns, letters, sheet.image.width - 2 * MARGIN + 24)
    y = top
    if table.get("caption"):
        sheet.text(MARGIN, y, table["caption"], 12, colour=MUTED, width=sheet.image.width - 2 * MARGIN)
        y += 22
    for number, line in enumerate(lines):
        x, height = float(MARGIN), 22
        for i, value in enumerate(line):
            right = x + widths[i] - 24
            anchor, at = ("la", x) if i == 0 else ("ra", right)
            pieces = break_text(str(value), letters, widths[i] - 23.9)
            for below, piece in enumerate(pieces):
                colour = MUTED if number == 0 else INK
                sheet.text(at, y + 15 * below, piece, 12, number == 0 or i == 0, colour, anchor)
            height = max(height, 7 + 15 * len(pieces))
            x += widths[i]
        y += height
    if len(shown) < len(rows):
        sheet.text(MARGIN, y, f"rows {start + 1} to {start + len(shown)} of {len(rows)}", 12, colour=MUTED)
        y += 22
    return y


def _column_widths(columns: list[list[str]], letters: Any, space: float) -> list[float]:
    """The width of each column with the 24 pixels behind it; where they need more than `space`, the widest are cut."""
    widths = [max(map(letters.getlength, column)) + 24 for column in columns]
    words = [max(letters.getlength(word) for text in column for word in text.split(" ")) + 24 for column in columns]
    for i in sorted(range(len(columns)), key=lambda i: words[i] - widths[i]):
        widths[i] = max(words[i], widths[i] - max(0, sum(widths) - space))
    return widths
