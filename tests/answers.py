"""What the tests of the exercises' checks share: an answer that is not there, and what a wrong one must get."""

from birefnet_lite.course.checks.result import Result


def unsolved(*arguments, **named):
    raise NotImplementedError("your code here")


def knows_a_missing_answer(check, solution, praise="", silence=""):
    """The solution is right; what is no answer is told apart from a wrong one, and never raises.

    praise: how the message for the solution begins. silence: what that for a function without a result says.
    """
    result = check(solution)
    assert result.passed is True, result.message
    assert result.message.startswith(praise)
    assert check(unsolved) == Result(check.__name__, None, "not solved yet")
    for nothing in (None, 3):
        assert check(nothing).passed is False
    assert "raises ZeroDivisionError" in check(lambda *arguments, **named: 1 / 0).message
    refused(check, lambda *arguments, **named: None, silence)


def refused(check, wrong, said):
    result = check(wrong)
    assert result.passed is False
    assert said in result.message, result.message
