"""Figure of the whole network, with the notebook that builds each part."""

from birefnet_lite.course.canvas import Canvas, toy_photo
from birefnet_lite.course.picture import CARD, INK, TIMES, Picture, card

__all__ = ["network_map"]

# What each notebook is about: how to say it, and the parts in colour; None is all of them.
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

_WIDTH, _HEIGHT = 12.2, 8.3
# Height on the map of each stride, and the columns.
_ROWS = {1: 6.95, 4: 5.5, 8: 4.15, 16: 2.8, 32: 1.45}
_WHOLE, _HALF, _LATERAL, _PLUS, _STAGE, _TILES, _GRADIENTS, _SIDE = 1.5, 2.6, 4.55, 5.5, 6.85, 8.55, 9.95, 11.35
_BOX, _TILE = 0.68, 0.5


def network_map(here: str | None = None) -> Picture:
    """The whole network on one picture (after the paper's Fig. 2), each part with the number of its notebook.

    `here` is a notebook's number: with "02" to "09" its part keeps its colours and glows, and the others fade. "10" to
    "12" are about the whole network, where everything is in colour, as it is without a number.
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
    title = f"You are here: notebook {number}, {said}" if said else "The map of BiRefNet"
    pill = {"boxstyle": "round,pad=0.5", "fc": INK, "ec": "none"}
    axes.text(_WIDTH / 2, 7.97, title, color=CARD, fontsize=11.5, ha="center", va="center", bbox=pill)
    axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT), aspect="equal")
    axes.set_axis_off()
    return Picture.of(figure, _describe(f" You are here: {said}." if said else ""))


def _describe(where: str) -> str:
    return (
        "Map of BiRefNet. A photo goes, whole and at half size, through the encoder, down to maps at strides 4, 8, 16 "
        "and 32. The squeeze module narrows the deepest map and its context. Four decoder stages climb back up: each "
        "looks at tiles of the photo (inward reference), reconstructs, is weighed by gradient attention (outward "
        "reference), is enlarged, and takes in an encoder map through a lateral block. The head looks at the photo "
        f"once more and gives the mask.{where}"
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
    bus = 3.52
    for stride in (4, 8, 16):  # the context: the finer maps, shrunk, join the deepest
        y = _ROWS[stride] - 0.2
        canvas.arrow("encoder", (_HALF + 0.55, y), (bus, y), (bus, bottom + 0.14), (3.85, bottom + 0.14))
    canvas.text((bus + 0.07, 2.2), "context", colour=canvas.ink("encoder"), align="left")
    canvas.arrow("encoder", (_HALF + 0.55, bottom - 0.1), (3.85, bottom - 0.1))
    canvas.badge("encoder", (_WHOLE - 0.55, _ROWS[4] + _BOX / 2), "02")
    canvas.box("squeeze", (4.5, bottom), (1.3, _BOX), "squeeze", "receptive fields")
    canvas.badge("squeeze", (3.87, bottom + _BOX / 2), "03")
    canvas.arrow("squeeze", (5.15, bottom), (_STAGE - 0.8, bottom))


def _decoder(canvas: Canvas) -> None:
    photo, _ = toy_photo()
    for number, stride in ((4, 32), (3, 16), (2, 8), (1, 4)):
        y = _ROWS[stride]
        if number < 4:  # the encoder's map of this level arrives through a lateral block
            canvas.arrow("lateral", (_HALF + 0.55, y), (_LATERAL - 0.36, y))
            canvas.box("lateral", (_LATERAL, y), (0.72, 0.44), f"1{TIMES}1")
            canvas.arrow("lateral", (_LATERAL + 0.36, y), (_PLUS - 0.15, y))
            canvas.disc("decoder", (_PLUS, y), "+")
            canvas.arrow("decoder", (_PLUS + 0.15, y), (_STAGE - 0.8, y))
            _climb(canvas, _ROWS[stride * 2] + _BOX / 2, y - 0.15)
        canvas.box("decoder", (_STAGE, y), (1.6, _BOX), f"stage {number}", "reconstruction block")
        canvas.image(photo, (_TILES, y), _TILE, grid=min(stride, 8), kind="inward")
        canvas.text((_TILES + 0.36, y + 0.1), f"{stride}{TIMES}{stride} tiles", align="left")
        canvas.arrow("inward", (_TILES - _TILE / 2, y), (_STAGE + 0.8, y))
    canvas.badge("decoder", (_STAGE - 0.8, _ROWS[4] + _BOX / 2), "05")
    canvas.badge("lateral", (_LATERAL - 0.36, _ROWS[4] + 0.22), "04")
    canvas.badge("inward", (_TILES - _TILE / 2, _ROWS[4] + _TILE / 2), "06")


def _climb(canvas: Canvas, below: float, above: float) -> None:
    """From a stage to the next finer one: times the attention, enlarged, to the plus. In training, two outputs more."""
    y = (below + above + 0.15 - _BOX / 2) / 2
    canvas.arrow("decoder", (_STAGE, below), (_STAGE, y - 0.17))
    canvas.box("outward", (_STAGE, y), (1.6, 0.34), f"{TIMES} attention")
    canvas.arrow("decoder", (_STAGE - 0.8, y), (_PLUS, y), (_PLUS, above))
    canvas.arrow("gradients", (_STAGE + 0.8, y), (_GRADIENTS - 0.6, y), dashed=True)
    canvas.box("gradients", (_GRADIENTS, y), (1.2, 0.4), "gradients", dashed=True)
    side = below - 0.06
    canvas.arrow("training", (_STAGE + 0.8, side), (_SIDE - 0.6, side), dashed=True)
    canvas.box("training", (_SIDE, side), (1.2, 0.4), "side mask", dashed=True)


def _ends(canvas: Canvas) -> None:
    photo, mask = toy_photo()
    y = _ROWS[1]
    canvas.image(photo, (_WHOLE, y + 0.13), 1.1)
    canvas.image(photo, (_HALF, y - 0.14), 0.56)
    canvas.badge("image", (_WHOLE - 0.55, y + 0.68), "09")
    canvas.arrow("inward", (_WHOLE + 0.55, y + 0.22), (_STAGE - 0.8, y + 0.22))
    canvas.text((4.55, y + 0.35), "the photo itself, once more", colour=canvas.ink("inward"))
    canvas.arrow("decoder", (_STAGE, _ROWS[4] + _BOX / 2), (_STAGE, y - _BOX / 2))
    canvas.box("decoder", (_STAGE, y), (1.6, _BOX), "head", "one number per pixel")
    canvas.arrow("image", (_STAGE + 0.8, y), (_TILES - 0.55, y))
    canvas.image(mask, (_TILES, y + 0.13), 1.1)
    canvas.text((_TILES + 0.65, y + 0.13), "mask", size=10, colour=INK, align="left")
    middle = (_ROWS[4] + _ROWS[8]) / 2
    canvas.badge("outward", (_STAGE - 0.8, middle + 0.17), "06")
    canvas.badge("gradients", (_GRADIENTS - 0.6, middle + 0.2), "07")
    canvas.badge("training", (_SIDE + 0.6, _ROWS[8] + _BOX / 2 + 0.14), "08")


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
