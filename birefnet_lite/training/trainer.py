"""The `Trainer`: model, optimizer, data and loss of a run, one training step, and its state to save and restore."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from torch import Tensor, nn

from birefnet_lite.checkpoints import not_finite
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.precision import has_fast_bfloat16
from birefnet_lite.training.data_sources import TrainingData
from birefnet_lite.training.ema import EMA
from birefnet_lite.training.losses import BiRefNetLoss
from birefnet_lite.training.model_setup import (
    build_model,
    check_class_head,
    parameter_groups,
    set_train_mode,
)
from birefnet_lite.training.recompute import recompute_activations
from birefnet_lite.training.run_state import (
    STATE_FILE,
    check_same_settings,
    random_state,
    restore_random_state,
    save_state,
)
from birefnet_lite.training.schedules import ema_decay_at, learning_rate_at, loss_weights_at
from birefnet_lite.training.settings import TrainSettings

__all__ = ["BEST_FILE", "Diverged", "Trainer"]

BEST_FILE = "best.safetensors"


class Diverged(RuntimeError):
    """The loss, its gradient or a weight is NaN or infinite; the message names the step."""


class Trainer:
    """A training run in the folder `settings.output`.

    `train_step` is one step; `training_loop.run_training` calls it until the last step. `state` and `restore` serve to
    resume a run.

    Args:
        settings: The run.

    Raises:
        ValueError: The settings, the data and the network do not fit together.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.folder = Path(settings.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(
            mixed_precision="no",  # see `autocast`: accelerate allows one precision in the life of a process
            gradient_accumulation_steps=settings.accumulation,
            # A class head without labels and a gradient head with weight 0 get no gradient.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        torch.backends.cudnn.benchmark = True  # input sizes are constant: 10 % faster
        torch.manual_seed(settings.seed)
        model: nn.Module = build_model(settings).to(memory_format=torch.channels_last)  # 25 % faster in bfloat16
        torch.manual_seed(settings.seed + 1 + rank)  # weights are equal in all processes, dropout is not
        self.ema = EMA(model.to(self.device)) if settings.ema_decay else None
        recompute_activations(cast(BiRefNet, model), settings.recompute_activations)
        if processes > 1 and self.device.type == "cuda" and not settings.freeze_batch_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        groups = parameter_groups(model, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=self.device.type == "cuda")
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        config = self.plain_model.config
        weights = loss_weights_at(settings, 0)
        self.loss = BiRefNetLoss(weights, settings.gradient_weight, config.gradient_target, settings.class_weight)
        self.parts = processes * settings.accumulation
        self.data = TrainingData(settings, self.parts, "cpu" if settings.workers else self.device)
        check_class_head(settings, config, self.data.num_classes)
        self.step = 0  # finished steps
        self.minutes = 0.0
        self.best: float | None = None
        self._updating = False  # weights, average and step number do not belong together right now
        self._saved_step = 0

    @property
    def device(self) -> torch.device:
        """The device that this process computes on."""
        return self.accelerator.device

    @property
    def plain_model(self) -> BiRefNet:
        """The trained model without accelerate's wrappers."""
        return cast(BiRefNet, self.accelerator.unwrap_model(self.model))

    @property
    def kept_model(self) -> BiRefNet:
        """The model that is validated and saved: the average of the weights (EMA), if there is one."""
        return cast(BiRefNet, self.ema.model) if self.ema else self.plain_model

    def autocast(self) -> torch.autocast:
        """The precision of forward passes; losses and weights are float32."""
        precision = self.settings.precision
        low = has_fast_bfloat16(self.device) if precision == "auto" else precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    # -- one step ------------------------------------------------------------------------------------------------------
    def train_step(self, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
        """One optimizer step.

        Args:
            parts: This process's parts of the batch: normalised images (n, 3, H, W), masks (n, 1, H, W), labels (n,).

        Returns:
            The losses, the norm of the gradient and the learning rate, by name.

        Raises:
            Diverged: The loss or its gradient is not finite. The weights are then unchanged.
        """
        settings = self.settings
        sums: dict[str, Tensor] = {}
        set_train_mode(self.plain_model, settings, self.step)
        self.loss.pixel.set_weights(loss_weights_at(settings, self.step))
        rate = learning_rate_at(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for images, masks, labels in parts:
            with self.accelerator.accumulate(self.model):  # gradients are exchanged with the last part
                with self.autocast():
                    output = self.model(images.to(self.device, memory_format=torch.channels_last))
                classes = labels.to(self.device) if settings.class_weight else None
                result = self.loss(output, masks.to(self.device), classes)
                self.accelerator.backward(result.total)
            for name, value in {"loss": result.total.detach(), **result.parts}.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / len(parts)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_norm or math.inf)
        values = {name: float(value) for name, value in sums.items()} | {"gradient_norm": float(norm), "rate": rate}
        self._check_finite(values["loss"], values["gradient_norm"])
        self._updating = True
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.plain_model, ema_decay_at(settings, self.step))
        self.step += 1
        self._updating = False
        return values

    def _check_finite(self, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"Training diverged at step {self.step + 1}: the loss is {loss:g}, the norm of its gradient {norm:g}. "
                f"The last good state is {self.folder / STATE_FILE}. A lower learning_rate, a longer warm-up or a "
                "smaller clip_norm helps."
            )

    # -- state ---------------------------------------------------------------------------------------------------------
    def state(self, random: list[dict[str, Tensor]] | None = None) -> dict[str, Any]:
        """Everything that the next step depends on.

        Args:
            random: The random state of each process. None asks the processes for it, and all of them must call.
        """
        return {
            "settings": self.settings.to_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "best": self.best,
            "model": self.plain_model.state_dict(),
            "average": self.ema.model.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "random": gather_object([random_state()]) if random is None else random,
        }

    def restore(self, state: dict[str, Any], settings_may_differ: bool = False) -> None:
        """Continue from a state that `state` returned.

        Raises:
            ValueError: Settings that change numbers differ, and `settings_may_differ` is False.
        """
        if not settings_may_differ:
            check_same_settings(state, self.settings)
        self.plain_model.load_state_dict(state["model"])
        if self.ema and state["average"] is not None:
            self.ema.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes, self.best = state["step"], state["minutes"], state["best"]
        if len(state["random"]) == self.accelerator.num_processes:
            restore_random_state(state["random"][self.accelerator.process_index])

    def save(self) -> None:
        """Write the state; all processes must call this.

        Raises:
            Diverged: A weight is not finite; the earlier state is kept.
        """
        self._write(self.state())

    def save_alone(self) -> bool:
        """Write the state, if it is not saved yet, without asking the other processes, which may have ended.

        Returns:
            Whether it is saved: not before the first step, nor if an update of the weights was interrupted.
        """
        if self.step == 0 or self._updating:
            return False
        if self._saved_step != self.step:
            self._write(self.state([random_state()]))
        return True

    def _write(self, state: dict[str, Any]) -> None:
        if not_finite(state["model"]):
            raise Diverged(f"Training diverged: after step {self.step} a weight is NaN or infinite.")
        if self.accelerator.is_main_process:
            save_state(state, self.folder / STATE_FILE)
        self._saved_step = self.step

    def summary(self) -> str:
        """The progress of the run and its best score, in one or two sentences."""
        text = f"{self.step} of {self.settings.steps} steps done."
        if self.best is not None:
            text += f" The best {self.settings.best_by} is {self.best:.4f}, in {self.folder / BEST_FILE}."
        if self.step < self.settings.steps:
            text += " The same command continues."
        return text
