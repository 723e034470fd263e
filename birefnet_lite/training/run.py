"""A training run: what it is made of, one step of it, its state, and the loop over the steps."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from torch import Tensor, nn
from tqdm import tqdm

from birefnet_lite.checkpoints import not_finite, save
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.training.ema import WeightAverage
from birefnet_lite.training.losses import BiRefNetLoss
from birefnet_lite.training.recompute import recompute_activations
from birefnet_lite.training.report import Report
from birefnet_lite.training.schedule import ema_decay_at, learning_rate_at, loss_weights_at
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.setup import bfloat16_is_fast, build_model, check_classes, parameter_groups, set_mode
from birefnet_lite.training.sources import Batches, numbers_of, stream
from birefnet_lite.training.state import STATE_FILE, random_state, restore_random_state, save_state
from birefnet_lite.training.validation import better, contact_sheet, predict, score, validation_set

__all__ = ["BEST_FILE", "Diverged", "Training"]

BEST_FILE = "best.safetensors"
# What may differ when a run goes on: none of these changes a number.
FREE_TO_CHANGE = {
    "output",
    "workers",
    "ahead",
    "recompute_activations",
    "save_every",
    "log_every",
    "tensorboard",
    "pictures",
    "max_minutes",
}


class Diverged(RuntimeError):
    """The loss, its gradient or a weight was no finite number; the message names the step."""


class Training:
    """A run in the folder `settings.output`: `run` is the loop, `train_step` one step of it, `state` what to keep.

    Raises ValueError where data, network and settings do not fit together.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.folder = Path(settings.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(
            mixed_precision="no",  # see `autocast`: accelerate allows one precision in the life of a process
            gradient_accumulation_steps=settings.accumulation,
            # Heads without labels, and a gradient head whose weight is 0, take no part.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        torch.backends.cudnn.benchmark = True  # sizes stay the same: a tenth faster
        torch.manual_seed(settings.seed)
        model = build_model(settings).to(memory_format=torch.channels_last)  # a quarter faster in bfloat16
        torch.manual_seed(settings.seed + 1 + rank)  # the same weights, but dropout of its own, in every process
        self.average = WeightAverage(model.to(self.device)) if settings.ema_decay else None
        recompute_activations(model, settings.recompute_activations)
        if processes > 1 and self.device.type == "cuda" and not settings.freeze_batch_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        groups = parameter_groups(model, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=self.device.type == "cuda")
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        config = self.plain_model.config
        self.loss = BiRefNetLoss(
            loss_weights_at(settings, 0), settings.gradient_weight, config.gradient_target, settings.class_weight
        )
        self.parts = processes * settings.accumulation
        self.batches = Batches(settings, self.parts, "cpu" if settings.workers else self.device)
        check_classes(settings, config, self.batches.num_classes)
        self.step = 0  # steps done
        self.minutes = 0.0
        self.best: float | None = None

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.accelerator.device

    def autocast(self) -> torch.autocast:
        """The precision that networks run in; losses and weights are float32."""
        precision = self.settings.precision
        low = bfloat16_is_fast(self.device) if precision == "auto" else precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    @property
    def plain_model(self) -> BiRefNet:
        """The model without accelerate's wrappers."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def kept_model(self) -> BiRefNet:
        """The model that is validated and kept: the averaged one if there is one."""
        return self.average.model if self.average else self.plain_model

    # -- one step ------------------------------------------------------------------------------------------------------
    def train_step(self, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
        """Learn from this process's parts of one batch; returns the losses and the norm of the gradient.

        Raises `Diverged` before the weights are touched.
        """
        settings, sums = self.settings, {}
        set_mode(self.plain_model, settings, self.step)
        self.loss.pixel.set_weights(loss_weights_at(settings, self.step))
        rate = learning_rate_at(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for images, masks, labels in parts:
            with self.accelerator.accumulate(self.model):  # gradients are exchanged with the last part
                with self.autocast():
                    output = self.model(images.to(self.device, memory_format=torch.channels_last))
                labels = labels.to(self.device) if settings.class_weight else None
                result = self.loss(output, masks.to(self.device), labels)
                self.accelerator.backward(result.total)
            for name, value in {"loss": result.total.detach(), **result.parts}.items():
                sums[name] = sums.get(name, 0) + value / len(parts)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf)
        values = {name: float(value) for name, value in sums.items()} | {"gradient_norm": float(norm), "rate": rate}
        self._check_finite(values["loss"], values["gradient_norm"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.plain_model, ema_decay_at(settings, self.step))
        self.step += 1
        return values

    def _check_finite(self, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"Training diverged at step {self.step + 1}: the loss is {loss:g}, the norm of its gradient {norm:g}. "
                f"The last good state is {self.folder / STATE_FILE}. A lower learning_rate, a longer warm-up or a "
                "smaller clip_norm helps."
            )

    # -- state ---------------------------------------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on. To be called in all processes: each has random numbers."""
        return {
            "settings": self.settings.to_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "best": self.best,
            "model": self.plain_model.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "random": gather_object([random_state()]),
        }

    def restore(self, state: dict[str, Any], settings_may_differ: bool = False) -> None:
        """Go on from a state that `state` gave. Raises ValueError where it is of another run."""
        before = TrainSettings(**state["settings"]).to_dict()
        changed = [
            f"{name} ({before[name]!r}, now {value!r})"
            for name, value in self.settings.to_dict().items()
            if name not in FREE_TO_CHANGE and before[name] != value
        ]
        if changed and not settings_may_differ:
            raise ValueError(
                f"{self.folder} holds a run with other settings: {'; '.join(changed)}. Name another output, or go on "
                "under the new ones with --changed."
            )
        self.plain_model.load_state_dict(state["model"])
        if self.average and state["average"] is not None:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes, self.best = state["step"], state["minutes"], state["best"]
        if len(state["random"]) == self.accelerator.num_processes:
            restore_random_state(state["random"][self.accelerator.process_index])

    def save(self) -> None:
        """Write the state, unless a weight is no finite number."""
        state = self.state()
        if not_finite(state["model"]):
            raise Diverged(f"Training diverged: after step {self.step} a weight is no finite number.")
        if self.accelerator.is_main_process:
            save_state(state, self.folder / STATE_FILE)

    # -- the loop ------------------------------------------------------------------------------------------------------
    def run(self, progress: bool = True) -> dict[str, float]:
        """Train to the last step, or until the time is up; returns the last scores."""
        settings, main = self.settings, self.accelerator.is_main_process
        report = Report(self.folder, self.step, settings.tensorboard) if main else None
        held_out = validation_set(settings) if main else None
        numbers = numbers_of(
            self.step, settings.steps, self.parts, self.accelerator.process_index, settings.accumulation
        )
        batches = stream(self.batches, numbers, settings.workers, settings.ahead)
        bar = tqdm(total=settings.steps, initial=self.step, unit="step", disable=not (main and progress))
        scores: dict[str, float] = {}
        if main and settings.start_from and self.step == 0:
            scores = self._validate(held_out, report)  # what the start can do, to compare with
        self.accelerator.wait_for_everyone()
        clock, before = time.monotonic(), self.minutes
        while self.step < settings.steps:
            values = self.train_step([next(batches) for _ in range(settings.accumulation)])
            self.minutes = before + (time.monotonic() - clock) / 60
            late = self._time_is_up((time.monotonic() - clock) / 60)
            last = self.step == settings.steps
            if main:
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}", **{k: f"{scores[k]:.3f}" for k in list(scores)[:1]})
                if self.step % settings.log_every == 0 or last:
                    report.numbers("train", self.step, values | {"minutes": self.minutes})
            if self.step % settings.validate_every == 0 or last:
                if main:
                    scores = self._validate(held_out, report)
                self.accelerator.wait_for_everyone()
            if self.step % settings.save_every == 0 or last or late:
                self.save()
            if late:
                break
        bar.close()
        if main:
            report.close()
        return scores

    def summary(self) -> str:
        """Where the run stands, in a sentence or two."""
        text = f"{self.step} of {self.settings.steps} steps done."
        if self.best is not None:
            text += f" The best {self.settings.best_by} is {self.best:.4f}, in {self.folder / BEST_FILE}."
        if self.step < self.settings.steps:
            text += " The same command goes on."
        return text

    def _time_is_up(self, minutes: float) -> bool:
        """The same answer in all processes, whose clocks differ a little."""
        late = bool(self.settings.max_minutes) and minutes >= self.settings.max_minutes
        if self.accelerator.num_processes == 1:
            return late
        return bool(self.accelerator.reduce(torch.tensor(float(late), device=self.device)) > 0)

    def _validate(self, held_out, report: Report) -> dict[str, float]:
        """Score the kept model, log it, and keep it as the best if it is."""
        model = self.kept_model
        model.eval()
        with self.autocast():
            predictions = predict(model, held_out.images)
        scores = score(predictions, held_out.masks)
        report.numbers("validation", self.step, scores)
        if self.settings.pictures:
            shown = slice(None, None, max(1, len(predictions) // 16))
            sheet = contact_sheet(held_out.images[shown], held_out.masks[shown], predictions[shown])
            report.picture("validation", self.step, sheet)
        if better(self.settings.best_by, scores[self.settings.best_by], self.best):
            self.best = scores[self.settings.best_by]
            save(model, self.folder / BEST_FILE)
        return scores
