"""What the tests of the exercises' checks share: an answer that is not there, and what a wrong one must get."""


def unsolved(*arguments):
    raise NotImplementedError("your code here")


def refused(check, wrong, said):
    result = check(wrong)
    assert result.passed is False
    assert said in result.message, result.message
