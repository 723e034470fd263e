"""The checks of the exercises: each takes what the learner wrote, and says whether it is right or what may be wrong.

A check returns a `Result`: `passed` is True, False, or None while the exercise is unsolved; `message` says why.
"""

from birefnet_lite.course.checks.backbone import fuse_context, fuse_scales, window_partition
from birefnet_lite.course.checks.result import Result
from birefnet_lite.course.checks.skeleton import encoder_shapes, wire

__all__ = ["Result", "encoder_shapes", "fuse_context", "fuse_scales", "window_partition", "wire"]
