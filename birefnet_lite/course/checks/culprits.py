"""The exercise of notebook 12 that finds the parts of a network which are wrong themselves."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from birefnet_lite.course.capstone import Call, agree
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong

__all__ = ["culprits"]

Calls = dict[str, list[Call]]


@check("Right: those that were given the right thing and gave a wrong one, and nothing inside them did.")
def culprits(answer: Callable[[Calls, Calls], Any]) -> None:
    """`culprits(mine, reference)`: the paths of the innermost parts that are given the same and give something else."""
    for said, change, wanted in _CASES:
        reference = _network()
        mine = {path: list(calls) for path, calls in reference.items()}
        change(mine)
        got = answer(mine, reference)
        if not isinstance(got, list | tuple | set) or not all(isinstance(path, str) for path in got):
            kind = "nothing" if got is None else type(got).__name__
            raise Wrong(f"{said}, your function gives {kind}. Return a list of paths, such as ['decoder.head'].")
        if sorted(got) == sorted(wanted):
            continue
        for sentence, other in _MISTAKES.items():
            if sorted(got) == sorted(other(mine, reference)):
                raise Wrong(f"{said}, your function gives {list(got)}. {sentence}")
        why = " ".join(_reasons(sorted(got), wanted, mine, reference))
        raise Wrong(f"{said}, your function gives {list(got)}; it should give {wanted}. {why}")


def _reasons(got: list[str], wanted: list[str], mine: Calls, reference: Calls) -> Iterator[str]:
    """For one path too many and one that is missing: why."""
    suspects, different = _suspects(mine, reference), _different(mine, reference)
    for path in [p for p in got if p not in wanted][:1]:
        inside = [p for p in suspects if p.startswith(path + ".")]
        if path not in reference:
            yield f"`{path}` is not a path of the network: give paths as they are."
        elif path not in different:
            yield f"`{path}` gives the same in both networks, so nothing is wrong with it."
        elif path not in suspects:
            yield f"`{path}` gives something else because it is given something else, so it is not to blame."
        elif inside:
            yield f"`{path}` is wrong because `{inside[0]}` inside it is wrong: leave it out."
    for path in [p for p in wanted if p not in got][:1]:
        inside = [p for p in reference if p.startswith(path + ".")]
        more = f" What is inside it, such as `{inside[0]}`, is not wrong itself." if inside else ""
        yield f"`{path}` is given the same in one of its runs and gives something else, so it belongs in.{more}"


def _network() -> Calls:
    """A network of a few parts; the backbone and what is in it run twice."""
    runs = {"encoder": 1, "encoder.backbone": 2, "encoder.backbone.conv": 2, "encoder.backbone.norm": 2}
    runs |= {"decoder": 1, "decoder.stage1": 1, "decoder.stage1.block": 1, "decoder.stage1.block.norm": 1}
    runs |= {"decoder.stage1.block_out": 1, "decoder.head": 1, "decoder.head.conv": 1, "head": 1}
    return {path: [Call(_draw(), _draw()) for _ in range(count)] for path, count in runs.items()}


def _draw() -> tuple[Tensor, ...]:
    return torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)


def _give(*paths: str, run: int = 0, by: float = 1.0) -> Callable[[Calls], None]:
    """These parts give something else."""

    def change(mine: Calls) -> None:
        for path in paths:
            call = mine[path][run]
            mine[path][run] = call._replace(gave=(call.gave[0], call.gave[1] * (1 + by)))

    return change


def _follow(*paths: str, run: int = 0) -> Callable[[Calls], None]:
    """These parts are given something else, and so give something else."""

    def change(mine: Calls) -> None:
        for path in paths:
            first = mine[path][run].given[0]  # one of two arguments is still the same
            mine[path][run] = Call((first, _draw()[1]), _draw())

    return change


def _all(*changes: Callable[[Calls], None]) -> Callable[[Calls], None]:
    def change(mine: Calls) -> None:
        for one in changes:
            one(mine)

    return change


_STAGE = ("decoder", "decoder.stage1")
_CASES: tuple[tuple[str, Callable[[Calls], None], list[str]], ...] = (
    (
        "Where a norm is wrong, and so is all that contains it or comes after it",
        _all(
            _give(*_STAGE, "decoder.stage1.block", "decoder.stage1.block.norm"),
            _follow("decoder.stage1.block_out", "decoder.head"),
        ),
        ["decoder.stage1.block.norm"],
    ),
    (
        "Where a stage gives its block something wrong",
        _all(_give(*_STAGE), _follow("decoder.stage1.block", "decoder.stage1.block.norm", "decoder.head")),
        ["decoder.stage1"],
    ),
    (
        "Where only the second run of a part is wrong",
        _all(_give("encoder"), _give("encoder.backbone", "encoder.backbone.norm", run=1), _follow("decoder")),
        ["encoder.backbone.norm"],
    ),
    (
        "Where only the first run of a part is wrong",
        _all(_give("encoder", "encoder.backbone", "encoder.backbone.conv"), _follow("decoder")),
        ["encoder.backbone.conv"],
    ),
    (
        "Where the backbone is given something wrong in its second run",
        _all(
            _give("encoder"),
            _follow("encoder.backbone", "encoder.backbone.conv", "encoder.backbone.norm", run=1),
            _follow("decoder", "decoder.stage1", "decoder.head"),
        ),
        ["encoder"],
    ),
    (
        "Where `block` and `block_out` are both wrong, side by side",
        _all(_give(*_STAGE, "decoder.stage1.block", "decoder.stage1.block_out"), _follow("decoder.head")),
        ["decoder.stage1.block", "decoder.stage1.block_out"],
    ),
    (
        "Where two parts are wrong, one deep inside the encoder and one near the top of the decoder",
        _all(
            _give("encoder", "decoder", "decoder.head"),
            _give("encoder.backbone", "encoder.backbone.norm", run=1),
        ),
        ["decoder.head", "encoder.backbone.norm"],
    ),
    (
        "Where a stage and a norm two levels inside it are wrong, and the block between is given something wrong",
        _all(_give(*_STAGE, "decoder.stage1.block.norm"), _follow("decoder.stage1.block", "decoder.head")),
        ["decoder.stage1.block.norm"],
    ),
    (
        "Where `head`, a part of the network, and `decoder.head.conv` are wrong",
        _all(_give("head", "decoder", "decoder.head", "decoder.head.conv")),
        ["head", "decoder.head.conv"],
    ),
    ("Where numbers differ by a millionth, from rounding", _give("decoder", "decoder.head", by=1e-6), []),
    ("Where both networks are the same", _all(), []),
)


def _suspects(mine: Calls, reference: Calls, runs: slice = slice(None), exact: bool = False) -> list[str]:
    tolerance = 0.0 if exact else 1e-4

    def suspected(a: Call, b: Call) -> bool:
        return agree(a.given, b.given, tolerance) and not agree(a.gave, b.gave, tolerance)

    return [p for p in reference if any(map(suspected, mine[p][runs], reference[p][runs]))]


def _different(mine: Calls, reference: Calls) -> list[str]:
    return [p for p in reference if any(not agree(a.gave, b.gave) for a, b in zip(mine[p], reference[p], strict=True))]


def _of_different_runs(mine: Calls, reference: Calls) -> list[str]:
    fed = [p for p in reference if any(agree(a.given, b.given) for a, b in zip(mine[p], reference[p], strict=True))]
    return [p for p in _different(mine, reference) if p in fed]


def _misled(mine: Calls, reference: Calls) -> list[str]:
    pairs = {p: list(zip(mine[p], reference[p], strict=True)) for p in reference}
    return [p for p, runs in pairs.items() if any(not agree(a.given, b.given) for a, b in runs)]


def _deepest(paths: list[str]) -> list[str]:
    most = max((p.count(".") for p in paths), default=0)
    return [p for p in paths if p.count(".") == most]


def _childless(paths: list[str]) -> list[str]:
    return [p for p in paths if not any(other.rpartition(".")[0] == p for other in paths)]


def _unnamed(paths: list[str]) -> list[str]:
    return [p for p in paths if not any(f"{p}." in other for other in paths)]


def _innermost(paths: list[str], end: str = ".") -> list[str]:
    return [p for p in paths if not any(other != p and other.startswith(p + end) for other in paths)]


def _outermost(paths: list[str]) -> list[str]:
    return [p for p in paths if not any(p.startswith(other + ".") for other in paths)]


_MISTAKES: dict[str, Callable[[Calls, Calls], list[str]]] = {
    "`decoder.head.conv` is not inside `head`: a path lies inside another one if it *starts* with it and a dot.": (
        lambda mine, reference: _unnamed(_suspects(mine, reference))
    ),
    "Only those with the longest path are left. Each suspect stays that has no other one inside it.": (
        lambda mine, reference: _deepest(_suspects(mine, reference))
    ),
    "A part is inside another one also where others lie between: look at the whole beginning of the path.": (
        lambda mine, reference: _childless(_suspects(mine, reference))
    ),
    "`given` and `gave` are asked of different runs. Ask both of the same run.": (
        lambda mine, reference: _innermost(_of_different_runs(mine, reference))
    ),
    "These are parts that are given something else. Keep those that are given the same: `agree(a.given, b.given)`.": (
        lambda mine, reference: _innermost(_misled(mine, reference))
    ),
    "Only the first run of each part is looked at, or all runs have to be wrong. Some run twice; one is enough.": (
        lambda mine, reference: _innermost(_suspects(mine, reference, slice(1)))
    ),
    "Only the last run of each part is looked at. Some run twice.": (
        lambda mine, reference: _innermost(_suspects(mine, reference, slice(-1, None)))
    ),
    "Numbers are compared exactly. Two orders of the same additions round differently: use `agree`.": (
        lambda mine, reference: _innermost(_suspects(mine, reference, exact=True))
    ),
    "`block_out` is not inside `block`, though its path begins with the same letters: look for the dot.": (
        lambda mine, reference: _innermost(_suspects(mine, reference), end="")
    ),
    "This is only the first of them.": lambda mine, reference: _innermost(_suspects(mine, reference))[:1],
    "These are all parts that give something else, those too that are given something else. Ask for `given`, too.": (
        _different
    ),
    "These are the innermost of all parts that give something else. Leave out those that are given something else.": (
        lambda mine, reference: _innermost(_different(mine, reference))
    ),
    "This is the first part that gives something else; a part begins before what is inside it.": (
        lambda mine, reference: _different(mine, reference)[:1]
    ),
    "A part that contains a wrong one is wrong, too, and not to blame: leave it out.": _suspects,
    "These are the outermost ones: a part that contains a wrong one is not to blame. Keep the innermost.": (
        lambda mine, reference: _outermost(_suspects(mine, reference))
    ),
}
