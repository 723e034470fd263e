"""Check of the exercise on the receptive field of a chain of layers."""

from collections.abc import Callable
from typing import Any

from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong

__all__ = ["chain_field"]


Layers = list[tuple[int, int, int]]


@check("Right, for every chain.")
def chain_field(answer: Callable[[Layers], Any]) -> None:
    """`chain_field(layers)`: (kernel, stride, dilation) of each, first to last, to (size, stride) in pixels."""
    chains: tuple[Layers, ...] = (
        [(3, 2, 1), (5, 2, 1), (3, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 1, 1)],
        [(2, 3, 1), (3, 1, 4), (5, 2, 3)],
        [(3, 1, 1)] * 4,
        [],
    )
    for layers in chains:
        where = f"For the layers {layers}"
        got = answer(list(layers))
        try:
            found = tuple(got)
            got = tuple(int(number) for number in found)
        except (TypeError, ValueError):
            raise Wrong(f"{where}, the result should be two numbers, (size, stride), not {got!r}.") from None
        if got != found:
            raise Wrong(f"{where}, the result should be whole numbers, not {found!r}.")
        wanted = _walk_back(layers)
        if got == wanted:
            continue
        for sentence, mistake in _mistakes_of_field(layers).items():
            if got == mistake:
                raise Wrong(f"{where}: {sentence}")
        raise Wrong(f"{where}, the result should be {wanted}, not {got}. {_simplest(answer, got, wanted)}")


_SIMPLE: tuple[tuple[Layers, str], ...] = (
    ([], "Without a layer, a cell is one pixel: size 1, stride 1."),
    ([(1, 1, 1)], "A kernel of 1 reaches no further: size 1, stride 1."),
    ([(3, 1, 1)], "A kernel of 3 sees 3 cells: the size grows by k - 1."),
    ([(4, 1, 1)], "A kernel of 4 sees 4 cells: the size grows by k - 1."),
    ([(3, 1, 2)], "Taps that lie 2 apart span 5 cells: the size grows by (k - 1) * dilation."),
    ([(1, 2, 1)], "A stride of 2 does not change what one cell sees; neighbours lie 2 pixels apart."),
    ([(3, 2, 1)], "The stride of a layer counts for the layers behind it only: first grow, then multiply."),
    ([(3, 1, 1), (3, 1, 1)], "Each of the two layers adds k - 1 = 2."),
    ([(1, 2, 1), (1, 2, 1)], "Strides multiply: 2 * 2."),
    ([(1, 2, 1), (1, 3, 1)], "Strides multiply: 2 * 3."),
    ([(1, 2, 1), (3, 1, 1)], "Behind a stride of 2 cells lie 2 pixels apart: the size grows by (k - 1) * 2."),
    ([(3, 2, 1), (3, 2, 1)], "The second layer's cells lie 2 pixels apart: the size is 3 + 2 * 2."),
    ([(3, 2, 1), (3, 1, 2)], "The second layer grows by (k - 1) * dilation * 2, the stride in front of it."),
    ([(3, 1, 2), (3, 1, 2)], "Each layer adds (k - 1) * dilation = 4."),
)


def _simplest(answer: Callable[[Layers], Any], got: tuple[int, ...], wanted: tuple[int, int]) -> str:
    """The shortest chain for which the answer is wrong, with the rule; and which of the two numbers is right."""
    if len(got) != 2:
        return "Give two numbers, the size and the stride."
    right = ["the size"] * (got[0] == wanted[0]) + ["the stride"] * (got[1] == wanted[1])
    said = f"Of the two, {right[0]} is right. " if right else ""
    for layers, rule in _SIMPLE:
        try:
            mine = tuple(int(number) for number in answer(list(layers)))
        except (TypeError, ValueError, IndexError):
            continue
        if mine != _walk_back(layers):
            return f"{said}The shortest chain that goes wrong is {layers}: {_walk_back(layers)}, not {mine}. {rule}"
    return said.strip()


def _walk_back(layers: Layers) -> tuple[int, int]:
    """From the last layer to the photo: how many cells of each map does one cell at the end need?"""
    size, stride = 1, 1
    for kernel, step, dilation in reversed(layers):
        size, stride = (size - 1) * step + (kernel - 1) * dilation + 1, stride * step
    return size, stride


def _mistakes_of_field(layers: Layers) -> dict[str, tuple[int, ...]]:
    size, stride = _walk_back(layers)

    def walk(grow: Callable[[int, int, int, int, int], int], chain: Layers = layers, first: int = 1) -> tuple[int, int]:
        found, steps = first, 1
        for kernel, step, dilation in chain:
            found, steps = grow(found, steps, kernel, step, dilation), steps * step
        return found, steps

    return {
        "the stride of a layer changes the distance of its outputs, not of its inputs. Grow first, then multiply.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d * j * s)
        ),
        "a kernel of k cells reaches k - 1 cells further, not k.": walk(lambda r, j, k, s, d: r + k * d * j),
        "the strides before a layer are missing in its reach: its cells lie that many pixels apart.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d)
        ),
        "the dilation is not used: the cells of a kernel lie `dilation` cells apart.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * j)
        ),
        "a dilated kernel spans (k - 1) * dilation + 1 cells, not k * dilation.": (
            walk(lambda r, j, k, s, d: r + (k * d - 1) * j)
        ),
        "one cell of the photo sees itself: start with a size of 1, not 0.": (size - 1, stride),
        "the layers are walked from last to first. With this rule, start at the photo.": (
            walk(lambda r, j, k, s, d: r + (k - 1) * d * j, layers[::-1])
        ),
        "the order is (size, stride).": (stride, size),
        "the strides are added: they multiply.": _added(layers),
        "the strides less 1 are added. Strides multiply.": (size, 1 + sum(step - 1 for _, step, _ in layers)),
        "the strides are added, from 0. They multiply, from 1.": (size, sum(step for _, step, _ in layers)),
        "the strides are added, from 1. They multiply.": (size, 1 + sum(step for _, step, _ in layers)),
        "the stride is that of the last layer. Multiply all of them.": (size, layers[-1][1] if layers else stride),
        "stride and dilation have changed places: a layer is (kernel, stride, dilation).": (
            _walk_back([(kernel, dilation, step) for kernel, step, dilation in layers])
        ),
        "the strides before a layer multiply: the distance is that of all of them, and not of the last one alone.": (
            _latest(layers)
        ),
        "only the first layer is walked through. Is the `return` inside the loop?": _walk_back(layers[:1]),
        "a kernel reaches 2 * (k // 2) cells further in your rule, which is right for odd ones. It is k - 1.": (
            walk(lambda r, j, k, s, d: r + 2 * (k // 2) * d * j)
        ),
        "the first layer is left out.": _walk_back(layers[1:]),
        "the last layer is left out.": _walk_back(layers[:-1]),
        "the dilation multiplies the stride, too. It spreads the cells of one kernel only.": (_dilated(layers)),
        "the stride is 1 whatever the layers: multiply the strides of all layers.": (size, 1),
        "a kernel reaches (k - 1) / 2 cells to each side, and there are two sides.": (
            walk(lambda r, j, k, s, d: r + (k - 1) // 2 * d * j)
        ),
        "the reach is counted from 0, and k cells instead of k - 1.": (
            walk(lambda r, j, k, s, d: r + k * d * j, first=0)
        ),
        "the sizes of the kernels are multiplied. Each adds its reach.": walk(lambda r, j, k, s, d: r * k),
        "give both numbers, (size, stride).": (size,),
    }


def _added(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which strides are added."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, stride + step
    return size, stride


def _latest(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which the last stride takes the place of the product."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, step
    return size, stride


def _dilated(layers: Layers) -> tuple[int, int]:
    """The wrong rule in which the dilation multiplies the stride."""
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size, stride = size + (kernel - 1) * dilation * stride, stride * step * dilation
    return size, stride
