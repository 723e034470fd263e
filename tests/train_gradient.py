"""Write the gradient of one step on four images, in however many processes this was started, to the folder given.

Two processes take two images each; one takes all four at once. Batch norm's statistics are frozen, as they would
otherwise be those of two images here and of four there.
"""

import sys
from pathlib import Path

import torch
from training_case import settings

from birefnet_lite.training.data_sources import TrainingData
from birefnet_lite.training.trainer import Trainer


def main(folder):
    run = Trainer(settings(folder, batch_size=4, freeze_batch_norm=True, dropout=0.0, clip_norm=0.0))
    gradients = {}
    run.optimizer.step = lambda: gradients.update(
        {name: p.grad.clone() for name, p in run.plain_model.named_parameters() if p.grad is not None}
    )
    halves = TrainingData(run.settings, parts=2)
    parts = [halves[0], halves[1]]
    if run.accelerator.num_processes == 1:
        run.train_step([tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))])
    else:
        run.train_step([parts[run.accelerator.process_index]])
    if run.accelerator.is_main_process:
        torch.save({"processes": run.accelerator.num_processes, "gradient": gradients}, folder / "gradient.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
