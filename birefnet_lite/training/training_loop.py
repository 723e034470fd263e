"""The training loop: `train(settings)` trains to the last step and resumes runs that were stopped."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor
from tqdm import tqdm

from birefnet_lite.checkpoints import save
from birefnet_lite.training.background import iterate_parts, part_numbers
from birefnet_lite.training.run_lock import FolderInUse, lock_folder
from birefnet_lite.training.run_log import RunLog
from birefnet_lite.training.run_state import STATE_FILE, load_state
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.trainer import BEST_FILE, Diverged, Trainer
from birefnet_lite.training.validation import (
    ValidationSet,
    contact_sheet,
    is_better,
    load_validation_set,
    mean_scores,
    predict_masks,
)

if TYPE_CHECKING:
    from birefnet_lite.training.recorder import Recorder

__all__ = ["run_training", "train"]

Part = tuple[Tensor, Tensor, Tensor]


def train(
    settings: TrainSettings,
    *,
    fresh: bool = False,
    changed: bool = False,
    progress: bool = True,
    recorder: "Recorder | None" = None,
) -> Trainer:
    """Train as the settings say and return the finished trainer; a run that was stopped is resumed.

    Args:
        settings: The run. Its folder `settings.output` holds the state to resume from, if there is one.
        fresh: Start from step 0 even if there is a state.
        changed: Resume even if settings that change numbers differ from those of the state.
        progress: Show a progress bar.
        recorder: Records maps of a photo in the course of the run.

    Raises:
        Diverged: A number became NaN or infinite.
        ValueError: The settings, the data and the network do not fit together, or the state is of another run.
        CheckpointError: The state file is damaged.
        FolderInUse: Another run is writing to the folder.
    """
    trainer = Trainer(settings)
    with _lock_output(trainer):
        path = trainer.folder / STATE_FILE
        if path.exists() and not fresh:
            trainer.restore(load_state(path), changed)
        run_training(trainer, progress, recorder)
    return trainer


def run_training(trainer: Trainer, progress: bool = True, recorder: "Recorder | None" = None) -> dict[str, float]:
    """Train to the last step, or until the time is up, from the trainer's step on.

    Before an error or Ctrl-C leaves, the state is saved, so that `train` with the same settings continues from there.

    Returns:
        The last validation scores by name; empty if there was no validation, and in all but the main process.
    """
    main = trainer.accelerator.is_main_process
    log = RunLog(trainer.folder, trainer.step, trainer.settings.tensorboard) if main else None
    try:
        return _loop(trainer, progress, log, recorder if main else None)
    except Diverged:
        raise  # these weights are of no use: the state saved before is kept
    except BaseException as error:
        _save_before_leaving(trainer, error)
        raise
    finally:
        if log:
            log.close()


def _loop(trainer: Trainer, progress: bool, log: RunLog | None, recorder: "Recorder | None") -> dict[str, float]:
    settings, accelerator = trainer.settings, trainer.accelerator
    held_out = load_validation_set(settings) if log else None
    numbers = part_numbers(
        trainer.step, settings.steps, trainer.parts, accelerator.process_index, settings.accumulation
    )
    batches = iterate_parts(trainer.data, numbers, settings.workers, settings.ahead)
    scores: dict[str, float] = {}
    if log and held_out and settings.start_from and trainer.step == 0:
        scores = _validate(trainer, held_out, log)  # the scores before training, to compare with
    if recorder:
        recorder.record(trainer.plain_model, trainer.step)
    accelerator.wait_for_everyone()
    start, minutes_before = time.monotonic(), trainer.minutes
    with tqdm(total=settings.steps, initial=trainer.step, unit="step", disable=not (log and progress)) as bar:
        while trainer.step < settings.steps:
            values = trainer.train_step(_next_parts(trainer, batches))
            minutes = (time.monotonic() - start) / 60
            trainer.minutes = minutes_before + minutes
            late = _any_process(accelerator, 0 < settings.max_minutes <= minutes)
            last = trainer.step == settings.steps
            if recorder:
                losses = {name: value for name, value in values.items() if name not in ("gradient_norm", "rate")}
                recorder.record(trainer.plain_model, trainer.step, losses, force=last or late)
            if log:
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}", **{k: f"{scores[k]:.3f}" for k in list(scores)[:1]})
                if trainer.step % settings.log_every == 0 or last:
                    log.write_values("train", trainer.step, values | {"minutes": trainer.minutes})
            if trainer.step % settings.validate_every == 0 or last:
                if log and held_out:
                    scores = _validate(trainer, held_out, log)
                accelerator.wait_for_everyone()
            if trainer.step % settings.save_every == 0 or last or late:
                trainer.save()
            if late:
                break
    return scores


@contextmanager
def _lock_output(trainer: Trainer) -> Iterator[None]:
    """Hold the lock on the output folder in the main process; if it is in use, all processes raise `FolderInUse`."""
    with ExitStack() as stack:
        refusal = [""]
        if trainer.accelerator.is_main_process:
            try:
                stack.enter_context(lock_folder(trainer.folder))
            except FolderInUse as error:
                refusal = [str(error)]
        broadcast_object_list(refusal)
        if refusal[0]:
            raise FolderInUse(refusal[0])
        yield


def _next_parts(trainer: Trainer, batches: Iterator[Part]) -> list[Part]:
    """This process's parts of the next batch; an unreadable file in one process stops all, after saving the state."""
    parts: list[Part] = []
    failure: OSError | ValueError | None = None
    try:
        parts = [next(batches) for _ in range(trainer.settings.accumulation)]
    except (OSError, ValueError) as error:
        failure = error
    if _any_process(trainer.accelerator, failure is not None):
        messages = [message for message in gather_object([str(failure or "")]) if message]
        if trainer.step:
            trainer.save()
            trainer.accelerator.wait_for_everyone()  # a launcher ends all processes as soon as one has ended
        raise failure or ValueError(messages[0])
    return parts


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set in any process: the same answer in all, whose clocks and data differ."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)


def _save_before_leaving(trainer: Trainer, error: BaseException) -> None:
    """Save the state, if it is consistent, and tell in a note to the error where it is."""
    if not trainer.accelerator.is_main_process:
        return
    try:
        saved = trainer.save_alone()
    except Exception as failure:
        error.add_note(f"The state could not be saved: {failure}")
        return
    if saved:
        error.add_note(f"The state after step {trainer.step} is saved; the same command continues from there.")


def _validate(trainer: Trainer, held_out: ValidationSet, log: RunLog) -> dict[str, float]:
    """Score the kept model, log the scores, and save the model if it is the best so far."""
    model, settings = trainer.kept_model, trainer.settings
    model.eval()
    with trainer.autocast():
        predictions = predict_masks(model, held_out.images)
    scores = mean_scores(predictions, held_out.masks)
    log.write_values("validation", trainer.step, scores)
    if settings.pictures:
        shown = slice(None, None, max(1, len(predictions) // 16))
        sheet = contact_sheet(held_out.images[shown], held_out.masks[shown], predictions[shown])
        log.write_picture("validation", trainer.step, sheet)
    if is_better(settings.best_by, scores[settings.best_by], trainer.best):
        trainer.best = scores[settings.best_by]
        save(model, trainer.folder / BEST_FILE)
    return scores
