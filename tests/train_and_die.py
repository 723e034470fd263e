"""Train in the folder given first, and die of SIGKILL when the step given second begins."""

import os
import signal
import sys

from training_case import settings

from birefnet_lite.training.trainer import Trainer
from birefnet_lite.training.training_loop import run_training

trainer = Trainer(settings(sys.argv[1]))
step = trainer.train_step


def kill_at_step(parts):
    if trainer.step == int(sys.argv[2]) - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(parts)


trainer.train_step = kill_at_step
run_training(trainer, progress=False)
