"""Train in the folder given first, and die of SIGKILL when the step given second begins."""

import os
import signal
import sys

from test_training_loop import settings

from birefnet_lite.training.loop import Training

run = Training(settings(sys.argv[1]))
step = run.train_step


def deadly(parts):
    if run.step == int(sys.argv[2]) - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(parts)


run.train_step = deadly
run.run(progress=False)
