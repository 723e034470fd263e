"""Draw a view as a picture in Python, as the browser draws it: for notebooks without widgets, and to test the browser.

The maps are painted by `widgets.planes` exactly as the page paints them; around them stand the same labels and numbers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from widgets.drawing_sheet import ACCENT, LINE, MARGIN, MUTED, TONES, Sheet, break_text, font
from widgets.league import tabulate_league
from widgets.look import Look
from widgets.mask_drawing import alpha_table, cut_out, find_outline, follow_threshold, level_of
from widgets.number_format import TIMES, format_value, short_value
from widgets.picture_table import draw_table
from widgets.planes import Plane, cell, cell_centre, colour_map, limits_of, overlay, paint, picture_table
from widgets.scene import COLOUR, PHOTO, Layer, Scene

__all__ = ["colours_for", "draw", "limits_for", "paint_focus", "paint_map"]

GAP = 10


def limits_for(scene: Scene, look: Look, layer: Layer, plane: Plane) -> tuple[float, float]:
    """The limits a map is drawn with: its own range, its layer's, that of all layers of its kind, or the look's own.

    The look's own limits hold for the layer in focus and those beside it. Layers may have fixed limits, which only
    those replace, or share theirs.
    """
    if look.range == "own" and len(look.limits) == 2 and layer.name in scene.group_of(look.layer):
        return look.limits[0], look.limits[1]
    if layer.limits is not None:
        return layer.limits
    lo, hi = plane.lo, plane.hi
    channel = next((number for number, kept in layer.planes.items() if kept is plane), None)
    for other in (scene.layers[name] for name in layer.shares if name in scene.layers):
        if channel is not None and channel < other.shape[0]:
            lo = min(lo, float(other.statistics[0, channel]))
            hi = max(hi, float(other.statistics[1, channel]))
    if look.range == "layer":
        lo, hi = layer.range
    elif look.range == "all":
        ranges = [other.range for other in scene.layers.values() if other.kind == layer.kind]
        lo, hi = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return limits_of(layer.kind, lo, hi)


def colours_for(look: Look, layer: Layer) -> NDArray[np.uint8]:
    """The look's colour map; `auto` is diverging for signed layers and sequential for the others."""
    if layer.kind == COLOUR:
        return picture_table()
    automatic = "RdBu" if layer.kind == "signed" else "viridis"
    return colour_map(automatic if look.colormap == "auto" else look.colormap)


def paint_map(scene: Scene, look: Look, name: str, channel: int) -> NDArray[np.uint8]:
    """One map at its own size, (h, w, 3), as in the grid of a view."""
    layer, plane = scene.layers[name], scene.plane(name, channel)
    return paint(plane, limits_for(scene, look, layer, plane), colours_for(look, layer))


def paint_focus(scene: Scene, look: Look, name: str, channel: int) -> NDArray[np.uint8]:
    """One map over the photo, (H, W, 3), as in the large picture of a view."""
    layer, plane = scene.layers[name], scene.plane(name, channel)
    photo = scene.photos.get(layer.photo, scene.photo)
    if layer.mask and look.mask_as.endswith("cut-out"):
        threshold = look.threshold if look.mask_as == "hard cut-out" else None
        return cut_out(plane, alpha_table(plane, layer.mask, threshold), photo, look.ground)
    opacity = 0.0 if layer.mask and look.mask_as == "outline" else 1.0 if layer.taps else look.opacity
    limits = limits_for(scene, look, layer, plane)
    return overlay(plane, limits, colours_for(look, layer), photo, opacity)


def draw(
    scene: Scene,
    look: Look,
    width: int = 1200,
    table: dict[str, Any] | None = None,
    marks: list[dict] | None = None,
    league: dict[str, Any] | None = None,
) -> NDArray[np.uint8]:
    """The whole view, (H, width, 3)."""
    sheet = Sheet(width)
    sheet.text(MARGIN, MARGIN, scene.titled(look.ablated), 20, bold=True, width=width - 2 * MARGIN)
    sheet.text(MARGIN, MARGIN + 28, scene.question, 13, colour=MUTED, width=width - 2 * MARGIN)
    top = MARGIN + 60
    names = scene.group_of(look.layer)
    bottom = _draw_focus(sheet, scene, look, names, top, marks or [])
    if table and table.get("rows"):
        bottom = draw_table(sheet, follow_threshold(scene, look, table), bottom + 24)
    if league:
        bottom = draw_table(sheet, tabulate_league(league), bottom + 24)
    if scene.rows:
        bottom = _draw_grid(sheet, scene, look, bottom + 24)
    if scene.facts:
        sheet.text(MARGIN, bottom + 16, "   ·   ".join(scene.facts), 11, colour=MUTED, width=width - 2 * MARGIN)
        bottom += 32
    bottom = int(bottom) + MARGIN
    sheet.need(bottom)
    return np.asarray(sheet.image.crop((0, 0, width, bottom)))


def _draw_focus(sheet: Sheet, scene: Scene, look: Look, names: list[str], top: float, marks: list[dict]) -> float:
    width = sheet.image.width - 2 * MARGIN
    rows, columns = scene.size
    share = 0.48 if len(names) == 1 else 1 / len(names)
    each = min(width * share - GAP, 520 * columns / rows)
    height = each * rows / columns
    for i, name in enumerate(names):
        x = MARGIN + i * (each + GAP)
        y = top
        layer = scene.layers[name]
        last = layer.shape[0] - 1
        film = bool(scene.extra.get("linked"))
        channel = min(look.channels.get("beside", last) if film and i else look.channel, last)
        if len(names) > 1:
            low, high = (short_value(limit) for limit in limits_for(scene, look, layer, scene.plane(name, channel)))
            title = f"{layer.title} · {scene.channel_name(layer, channel)}" if film else layer.title
            sheet.text(x, top, f"{title} · {low} to {high}", 12, bold=True, width=each)
            y += 20
        sheet.paste(paint_focus(scene, look, name, channel), x, y, each, height)
        _draw_outline(sheet, scene, look, (name, channel), (x, y, each, height))
        _draw_marks(sheet, scene, marks, name, (x, y, each, height))
        if look.pin and not layer.taps:
            _draw_marker(sheet, scene, look, layer, (x, y, each, height))
    bottom = top + height + (20 if len(names) > 1 else 0)
    if len(names) == 1:
        return max(bottom, _draw_side(sheet, scene, look, MARGIN + each + 2 * GAP, top, bottom))
    return max(bottom, _draw_side(sheet, scene, look, MARGIN, bottom + 16, bottom + 100))


def _draw_side(sheet: Sheet, scene: Scene, look: Look, x: float, top: float, bottom: float) -> float:
    layer = scene.layers[look.layer]
    plane = scene.plane(look.layer, look.channel)
    width = sheet.image.width - MARGIN - x
    channels, height, columns = layer.shape
    unit = ("step" if scene.extra.get("linked") else "channel") + ("" if channels == 1 else "s")
    for line in break_text(layer.title, font(15, bold=True), width):
        sheet.text(x, top, line, 15, bold=True)
        top += 20
    top -= 20
    size = f"{channels} {unit} of {columns} {TIMES} {height}" + (f" · {layer.note}" if layer.note else "")
    sheet.text(x, top + 22, size, 12, colour=MUTED, width=width)
    at = scene.channel_name(layer, look.channel)
    if look.pin and not layer.taps:
        row, column = _cell_of(scene, look, layer)
        value = format_value(float(plane.values()[row, column]), plane.quantum)
        at += f" · {value} at x {look.pin[0]:.0f}, y {look.pin[1]:.0f}"
    sheet.text(x, top + 40, at, 12, colour=MUTED, width=width)
    if layer.kind == COLOUR:
        sheet.text(x, top + 62, layer.labels[look.channel], 12, width=width)
        return top + 84
    limits = limits_for(scene, look, layer, plane)
    bar = np.broadcast_to(colours_for(look, layer)[None], (1, 256, 3))
    sheet.paste(np.ascontiguousarray(bar), x, top + 62, width, 12)
    low, high = limits
    for place, number, anchor in ((0, low, "la"), (0.5, (low + high) / 2, "ma"), (1, high, "ra")):
        text = format_value(number, (high - low) / 500)
        sheet.text(x + place * width, top + 77, text, 11, colour=MUTED, anchor=anchor)
    if channels == 1:
        return top + 100
    return _draw_atlas(sheet, scene, look, layer, (x, top + 104, width, bottom))


def _draw_atlas(sheet: Sheet, scene: Scene, look: Look, layer: Layer, box: tuple[float, float, float, float]) -> float:
    x, y, width, bottom = box
    rows, columns = scene.size
    side = 56.0
    across = max(1, int((width + 6) // (side + 6)))
    height = side * rows / columns
    down = max(1, int((bottom - y) // (height + 20)))
    kept = [int(c) for c in layer.order(look.sort) if int(c) in layer.planes][: across * down]
    for i, channel in enumerate(kept):
        left, top = x + (i % across) * (side + 6), y + (i // across) * (height + 20)
        sheet.paste(paint_map(scene, look, layer.name, channel), left, top, side, height)
        chosen = channel == look.channel
        if chosen:
            sheet.pen.rectangle((left - 2, top - 2, left + side + 1, top + height + 1), outline=ACCENT, width=2)
        number = scene.channel_name(layer, channel).split()[-1]
        sheet.text(left + side / 2, top + height + 3, number, 9, chosen, ACCENT if chosen else MUTED, "ma")
    return y + -(-len(kept) // across) * (height + 20)


def _draw_grid(sheet: Sheet, scene: Scene, look: Look, top: float) -> float:
    width = sheet.image.width - 2 * MARGIN
    sheet.pen.line((MARGIN, top - 12, MARGIN + width, top - 12), fill=LINE)
    titles = 104.0
    rows, columns = scene.size
    each = min(210.0, (width - titles) / len(scene.columns) - 8, 200.0 * columns / rows)
    height = each * rows / columns
    letters = font(11, bold=True)
    headings = [
        [part for line in title.split("\n") for part in break_text(line, letters, each + 6)] for title in scene.columns
    ]
    deepest = max(2, *map(len, headings))
    for i, lines in enumerate(headings):
        middle = MARGIN + titles + i * (each + 8) + each / 2
        for j, line in enumerate(lines):
            sheet.text(middle, top + 14 * (j + deepest - len(lines)), line, 11, True, MUTED, "ma", width=each + 6)
    y = top + 8 + 14 * deepest
    for title, names in scene.rows:
        for i, line in enumerate(title.split("\n")):
            sheet.text(MARGIN, y + 4 + 15 * i, line, 11, True, MUTED, width=titles - 6)
        for i, name in enumerate(names):
            if name:
                _draw_cell(sheet, scene, look, name, (MARGIN + titles + i * (each + 8), y, each, height))
        y += height + 26
    return y


def _draw_cell(sheet: Sheet, scene: Scene, look: Look, name: str, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    if name == PHOTO:
        sheet.paste(scene.photo, *box)
        return
    channel = look.channel if name == look.layer else look.channels.get(name, 0)
    if scene.extra.get("linked"):
        channel = min(look.channel, scene.layers[name].shape[0] - 1)
    sheet.paste(paint_map(scene, look, name, channel), *box)
    layer = scene.layers[name]
    if name == look.layer:
        sheet.pen.rectangle((x - 2, y - 2, x + width + 1, y + height + 1), outline=ACCENT, width=2)
    room = width
    if look.pin and not layer.taps:
        row, column = _cell_of(scene, look, layer)
        plane = scene.plane(name, channel)
        value = short_value(float(plane.values()[row, column]), plane.quantum)
        sheet.text(x + width, y + height + 3, value, 9, True, anchor="ra")
        room -= font(9, bold=True).getlength(value) + 4
        _draw_marker(sheet, scene, look, layer, box)
    if layer.shape[0] > 1:
        full = scene.channel_name(layer, channel).replace("channel", "ch")
        fitting = (text for text in (full, str(channel)) if font(9).getlength(text) <= room)
        sheet.text(x, y + height + 3, next(fitting, ""), 9, colour=MUTED)


def _cell_of(scene: Scene, look: Look, layer: Layer) -> tuple[int, int]:
    rows, columns = scene.size
    return cell(look.pin[1], rows, layer.shape[1]), cell(look.pin[0], columns, layer.shape[2])


def _draw_marker(sheet: Sheet, scene: Scene, look: Look, layer: Layer, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    row, column = _cell_of(scene, look, layer)
    cx, cy = x + cell_centre(column, width, layer.shape[2]), y + cell_centre(row, height, layer.shape[1])
    rx, ry = max(width / layer.shape[2] / 2, 3.5), max(height / layer.shape[1] / 2, 3.5)
    for grow, colour in ((1.5, "#000000"), (0, "#ffffff")):
        sheet.pen.rectangle((cx - rx - grow, cy - ry - grow, cx + rx + grow, cy + ry + grow), outline=colour, width=2)


def _draw_outline(
    sheet: Sheet, scene: Scene, look: Look, shown: tuple[str, int], box: tuple[float, float, float, float]
) -> None:
    layer = scene.layers[shown[0]]
    if not layer.mask or look.mask_as != "outline":
        return
    x, y, width, height = box
    lines = find_outline(scene.plane(*shown), level_of(layer.mask, look.threshold))
    for colour, thick in (("#18212b", 4), (TONES["two"], 2)):
        for line in lines:
            points = [(x + across * width, y + down * height) for across, down in line]
            sheet.pen.line(points, fill=colour, width=thick, joint="curve")


def _draw_marks(
    sheet: Sheet, scene: Scene, marks: list[dict], name: str, box: tuple[float, float, float, float]
) -> None:
    x, y, width, height = box
    rows, columns = scene.size

    def at(px: float, py: float) -> tuple[float, float]:
        # A mark may lie outside the photo; on paper it stops at the edge.
        return x + min(max(px, 0), columns) / columns * width, y + min(max(py, 0), rows) / rows * height

    for mark in marks:
        if mark.get("layers") and name not in mark["layers"]:
            continue
        colour = TONES[mark.get("tone", "one")]
        start = at(mark["x"], mark["y"])
        if mark["kind"] == "box":
            sheet.pen.rectangle(
                (*start, *at(mark["x"] + mark["width"], mark["y"] + mark["height"])), outline=colour, width=2
            )
        elif mark["kind"] == "ellipse":
            corners = [at(mark["x"] + way * mark["rx"], mark["y"] + way * mark["ry"]) for way in (-1, 1)]
            sheet.pen.ellipse((*corners[0], *corners[1]), outline=colour, width=2)
        elif mark["kind"] == "line":
            sheet.pen.line((*start, *at(mark["x2"], mark["y2"])), fill=colour, width=2)
        else:
            sheet.pen.ellipse((start[0] - 3, start[1] - 3, start[0] + 3, start[1] + 3), fill=colour)
