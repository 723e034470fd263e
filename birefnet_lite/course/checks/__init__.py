"""The checks of the exercises: each takes what the learner wrote, and says whether it is right or what may be wrong.

A check returns a `Result`: `passed` is True, False, or None while the exercise is unsolved; `message` says why.
"""

from birefnet_lite.course.checks.result import Result
from birefnet_lite.course.checks.skeleton import encoder_shapes, wire

__all__ = ["Result", "encoder_shapes", "wire"]
