"""Figure of the whole network, with the notebook that builds each part."""

from collections.abc import Mapping
from typing import Any

from birefnet_lite.course.canvas import Canvas, Point, toy_photo
from birefnet_lite.course.picture import CARD, INK, TIMES, Picture, card

__all__ = ["network_map"]

# The subject of each notebook: its name in a sentence, and the parts in colour; None is all of them.
_ABOUT = {
    "02": ("the encoder", {"encoder"}),
    "03": ("the squeeze module", {"squeeze"}),
    "04": ("the lateral blocks", {"lateral"}),
    "05": ("the decoder", {"decoder"}),
    "06": ("inward and outward reference", {"inward", "outward"}),
    "07": ("the gradient targets", {"outward", "gradients"}),
    "08": ("the training", {"training", "gradients"}),
    "09": ("photo in, mask out", {"image"}),
    "10": ("why the mask is as it is, in the whole network", None),
    "11": ("the same numbers faster, in the whole network", None),
    "12": ("the whole network, from your own parts", None),
}

_WIDTH, _HEIGHT = 12.2, 9.7
# Height on the map of each stride, and the columns.
_ROWS = {1: 8.4, 4: 6.78, 8: 5.02, 16: 3.26, 32: 1.5}
_WHOLE, _HALF, _SQUEEZE, _LATERAL, _STAGE, _TILES = 1.5, 2.6, 4.2, 5.5, 7.0, 8.75
_GRADIENTS, _SIDE = 9.95, 11.35
_BOX, _TILE = 0.68, 0.5
_ATTENTION, _PLUS = 0.58, 1.0  # above the middle of a stage's box
_BUS, _ACROSS = 3.42, 4.62  # where the context goes down, and where a lateral map turns


def network_map(here: str | None = None, maps: Mapping[str, Any] | None = None) -> Picture:
    """The whole network on one picture (after the paper's Fig. 2), each part with the number of its notebook.

    Args:
        here: A notebook's number: with "02" to "09" its part keeps its colours and glows, and the others fade. "10" to
            "12" are about the whole network, where everything is in colour, as it is without a number.
        maps: What `analysis.capture` gives; with it, each arrow says the channels x height x width of its map.

    Examples:
        >>> network_map("03").alt.split(". ")[-1]
        'You are here: the squeeze module.'
    """
    number = None if here is None else here[:2]
    said, lit = _ABOUT.get(number or "", ("", None))
    figure = card(_WIDTH, _HEIGHT)
    axes = figure.add_axes((0, 0, 1, 1))
    canvas = Canvas(axes, None if lit is None else frozenset(lit))
    _strides(canvas)
    _encoder(canvas)
    _decoder(canvas)
    _ends(canvas)
    _legend(Canvas(axes))  # always in colour: it says what the colours are
    if maps is not None:
        _shapes(canvas, maps)
    title = f"You are here: notebook {number}, {said}" if said else "The map of BiRefNet"
    pill = {"boxstyle": "round,pad=0.5", "fc": INK, "ec": "none"}
    axes.text(_WIDTH / 2, 9.4, title, color=CARD, fontsize=11.5, ha="center", va="center", bbox=pill)
    axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT), aspect="equal")
    axes.set_axis_off()
    shown = " The arrows between the parts have the shapes of their maps." if maps is not None else ""
    return Picture.of(figure, _describe(shown + (f" You are here: {said}." if said else "")))


def _describe(where: str) -> str:
    return (
        "Map of BiRefNet. A photo goes, whole and at half size, through the encoder, down to maps at strides 4, 8, 16 "
        "and 32. The squeeze module narrows the deepest map and its context. Four decoder stages, each in a "
        "frame, climb back up: each looks at tiles of the photo (inward reference) and reconstructs; stages 4, 3 and 2 "
        "are then multiplied by an attention map (outward reference), enlarged, and added to the next finer encoder "
        "map, which comes through a lateral block: stage 4 adds x3. The head looks at the photo once more and gives "
        f"the mask.{where}"
    )


def _strides(canvas: Canvas) -> None:
    """One quiet line per resolution, named at the left."""
    for stride, y in _ROWS.items():
        canvas.axes.plot([0.15, _WIDTH - 0.15], [y, y], color="#ebe7dc", lw=1, zorder=0)
        canvas.text((0.15, y + 0.12), f"stride {stride}", align="left")


def _encoder(canvas: Canvas) -> None:
    top = _ROWS[1] - 0.42
    for level, stride in enumerate((4, 8, 16, 32), start=1):
        y = _ROWS[stride]
        above = _ROWS[stride // 2] - _BOX / 2 if level > 1 else top
        for x, small in ((_WHOLE, "whole photo"), (_HALF, "half size")):
            canvas.arrow("encoder", (x, above), (x, y + _BOX / 2))
            canvas.box("encoder", (x, y), (1.06, _BOX), f"x{level}", small)
    bottom = _ROWS[32]
    left = _SQUEEZE - 0.55
    for stride in (4, 8, 16):  # the context: the finer maps, shrunk, join the deepest
        y = _ROWS[stride] - 0.2
        canvas.arrow("encoder", (_HALF + 0.55, y), (_BUS, y), (_BUS, bottom + 0.14), (left, bottom + 0.14))
    canvas.text((_BUS + 0.07, 2.35), "context", colour=canvas.ink("encoder"), align="left")
    canvas.arrow("encoder", (_HALF + 0.55, bottom - 0.1), (left, bottom - 0.1))
    canvas.badge("encoder", (_WHOLE - 0.55, _ROWS[4] + _BOX / 2), "02")
    canvas.box("squeeze", (_SQUEEZE, bottom), (1.1, _BOX), "squeeze", "narrow, look")
    canvas.badge("squeeze", (left, bottom + _BOX / 2), "03")
    canvas.arrow("squeeze", (_SQUEEZE + 0.55, bottom), (_STAGE - 0.8, bottom))


def _decoder(canvas: Canvas) -> None:
    photo, _ = toy_photo()
    for number, stride in ((4, 32), (3, 16), (2, 8), (1, 4)):
        y = _ROWS[stride]
        above = y + _PLUS if number > 1 else y + 0.22
        canvas.frame("decoder", (_LATERAL - 0.55, y - 0.44), (_STAGE + 0.95, above + 0.22))
        canvas.box("decoder", (_STAGE, y), (1.6, _BOX), f"stage {number}", "reconstruction block")
        canvas.image(photo, (_TILES, y), _TILE, grid=min(stride, 8), kind="inward")
        canvas.text((_TILES + 0.36, y + 0.1), f"{stride}{TIMES}{stride} tiles", align="left")
        canvas.arrow("inward", (_TILES - _TILE / 2, y), (_STAGE + 0.8, y))
        if number > 1:
            _climb(canvas, y, _ROWS[stride // 2])
    canvas.badge("decoder", (_LATERAL - 0.55, _ROWS[4] + 0.42), "05")
    canvas.badge("lateral", (_LATERAL - 0.36, _ROWS[8] + _PLUS + 0.22), "04")
    canvas.badge("inward", (_TILES - _TILE / 2, _ROWS[4] + _TILE / 2), "06")


def _climb(canvas: Canvas, y: float, next_row: float) -> None:
    """The end of a stage: times the attention, enlarged, plus the next finer encoder map. In training, two outputs."""
    attention, plus = y + _ATTENTION, y + _PLUS
    canvas.arrow("decoder", (_STAGE, y + _BOX / 2), (_STAGE, attention - 0.14))
    canvas.box("outward", (_STAGE, attention), (1.6, 0.28), f"{TIMES} attention")
    canvas.arrow("decoder", (_STAGE, attention + 0.14), (_STAGE, plus - 0.15))
    canvas.text((_STAGE + 0.22, plus), "enlarged", align="left")
    canvas.arrow("lateral", (_HALF + 0.55, next_row), (_ACROSS, next_row), (_ACROSS, plus), (_LATERAL - 0.36, plus))
    canvas.box("lateral", (_LATERAL, plus), (0.72, 0.4), f"1{TIMES}1")
    canvas.arrow("lateral", (_LATERAL + 0.36, plus), (_STAGE - 0.15, plus))
    canvas.disc("decoder", (_STAGE, plus), "+")
    canvas.arrow("decoder", (_STAGE, plus + 0.15), (_STAGE, next_row - _BOX / 2))
    canvas.arrow("gradients", (_STAGE + 0.8, attention), (_GRADIENTS - 0.6, attention), dashed=True)
    canvas.box("gradients", (_GRADIENTS, attention), (1.2, 0.36), "gradients", dashed=True)
    side = y + _BOX / 2 - 0.06
    canvas.arrow("training", (_STAGE + 0.8, side), (_SIDE - 0.6, side), dashed=True)
    canvas.box("training", (_SIDE, side), (1.2, 0.36), "side mask", dashed=True)


def _ends(canvas: Canvas) -> None:
    photo, mask = toy_photo()
    y = _ROWS[1]
    canvas.image(photo, (_WHOLE, y + 0.13), 1.1)
    canvas.image(photo, (_HALF, y - 0.14), 0.56)
    canvas.badge("image", (_WHOLE - 0.55, y + 0.68), "09")
    canvas.arrow("inward", (_WHOLE + 0.55, y + 0.22), (_STAGE - 0.8, y + 0.22))
    canvas.text((4.3, y + 0.35), "the photo itself, once more", colour=canvas.ink("inward"))
    canvas.arrow("decoder", (_STAGE, _ROWS[4] + _BOX / 2), (_STAGE, y - _BOX / 2))
    canvas.box("decoder", (_STAGE, y), (1.6, _BOX), "head", "one number per pixel")
    canvas.arrow("image", (_STAGE + 0.8, y), (_TILES - 0.55, y))
    canvas.image(mask, (_TILES, y + 0.13), 1.1)
    canvas.text((_TILES + 0.65, y + 0.13), "mask", size=10, colour=INK, align="left")
    middle = _ROWS[8] + _ATTENTION
    canvas.badge("outward", (_STAGE - 0.8, middle + 0.15), "06")
    canvas.badge("gradients", (_GRADIENTS - 0.6, middle + 0.18), "07")
    canvas.badge("training", (_SIDE + 0.6, _ROWS[8] + _BOX / 2 + 0.12), "08")


def _shapes(canvas: Canvas, maps: Mapping[str, Any]) -> None:
    """Channels x height x width beside each arrow, as measured."""
    from birefnet_lite.analysis import (
        layer_names,
    )  # the package imports PyTorch, which the map without shapes does not need

    def said(name: str, at: Point, kind: str, align: str = "center") -> None:
        text = TIMES.join(map(str, maps[name].shape))
        canvas.text(at, text, colour=canvas.ink(kind), align=align, ground=True)

    for level, stride in enumerate((4, 8, 16, 32), start=1):
        y = _ROWS[stride] - _BOX / 2 - 0.14
        said(layer_names.encoder_layer(level, "full"), (_WHOLE, y), "encoder")
        said(layer_names.encoder_layer(level, "half"), (_HALF, y), "encoder")
        if level < 4:
            said(layer_names.encoder_layer(level), (_BUS + 0.08, _ROWS[stride] + 0.12), "lateral", "left")
    said(layer_names.encoder_layer(4), (_HALF + 0.6, _ROWS[32] - 0.45), "encoder", "left")
    said(layer_names.SQUEEZE, (_SQUEEZE + 0.05, _ROWS[32] + 0.47), "squeeze")
    for number, stride in ((4, 32), (3, 16), (2, 8), (1, 4)):
        y = _ROWS[stride]
        said(layer_names.stage_layer(number, layer_names.INWARD), (_TILES + 0.36, y - 0.1), "inward", "left")
        if number > 1:
            said(layer_names.stage_layer(number, layer_names.OUT), (_STAGE + 1.02, y + _PLUS + 0.26), "decoder", "left")
    said(layer_names.stage_layer(1, layer_names.RECONSTRUCTION), (_STAGE + 0.1, _ROWS[4] + 0.75), "decoder", "left")
    said(layer_names.LOGITS, (_TILES + 0.65, _ROWS[1] - 0.1), "image", "left")


def _legend(canvas: Canvas) -> None:
    """The paper's words for the colours, and what the badges are."""
    words = {
        "encoder": "encoder",
        "squeeze": "squeeze module",
        "lateral": "lateral block",
        "decoder": "decoder",
        "inward": "inward reference",
        "outward": "outward reference",
        "training": "in training only",
    }
    x = 0.35
    for kind, word in words.items():
        canvas.box(kind, (x, 0.62), (0.26, 0.2), "", dashed=kind == "training")
        canvas.text((x + 0.22, 0.62), word, size=9, colour=INK, align="left")
        x += 0.52 + 0.083 * len(word)
    canvas.badge("lateral", (0.35, 0.25), "NN")
    canvas.text((0.6, 0.25), "the notebook that builds it", size=9, colour=INK, align="left")
    others = "the whole of it: 00 start here, 01 the skeleton, 10 explanation, 11 speed, 12 the capstone"
    canvas.text((3.0, 0.25), others, size=9, align="left")
