"""The check of notebook 12's `culprits`: the solution in several forms, and typical mistakes."""

import pytest
from answers import knows_a_missing_answer, refused, solutions

from birefnet_lite.course import checks
from birefnet_lite.course.capstone import agree


def suspected(ours, theirs, same=agree):
    return same(ours.given, theirs.given) and not same(ours.gave, theirs.gave)


def suspects(mine, reference, runs=slice(None), same=agree, enough=any):
    return [
        path
        for path in reference
        if enough(suspected(a, b, same) for a, b in zip(mine[path][runs], reference[path][runs], strict=True))
    ]


def innermost(paths, end="."):
    return [path for path in paths if not any(other != path and other.startswith(path + end) for other in paths)]


def different(mine, reference):
    return [p for p in reference if any(not agree(a.gave, b.gave) for a, b in zip(mine[p], reference[p], strict=True))]


@pytest.mark.parametrize(
    "right",
    [
        lambda mine, reference: innermost(suspects(mine, reference)),
        lambda mine, reference: tuple(innermost(suspects(mine, reference)))[::-1],
        lambda mine, reference: set(innermost(suspects(mine, reference))),
    ],
)
def test_several_forms_of_the_answer_pass(right):
    result = checks.culprits(right)
    assert result.passed is True, result.message


def test_a_stub_is_not_solved_yet():
    knows_a_missing_answer(checks.culprits, solutions()["culprits"])


def exactly(ours, theirs):
    return agree(ours, theirs, 0.0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (different, "those too that are given something else"),
        (lambda m, r: innermost(different(m, r)), "Leave out those that are given something else"),
        (lambda m, r: different(m, r)[:1], "the first part"),
        (suspects, "not to blame: leave it out"),
        (lambda m, r: innermost(suspects(m, r, slice(1))), "Only the first run"),
        (lambda m, r: innermost(suspects(m, r, enough=all)), "one is enough"),
        (lambda m, r: innermost(suspects(m, r, slice(-1, None))), "Only the last run"),
        (lambda m, r: innermost(suspects(m, r, same=exactly)), "compared exactly"),
        (lambda m, r: innermost(suspects(m, r), end=""), "look for the dot"),
        (lambda m, r: innermost(suspects(m, r))[:1], "only the first of them"),
        (lambda m, r: "decoder.head", "gives str"),
        (lambda m, r: [0], "list of paths"),
        (lambda m, r: list(r), "it should give"),
    ],
)
def test_wrong_answers_are_refused_with_the_likely_mistake(wrong, said):
    refused(checks.culprits, wrong, said)
