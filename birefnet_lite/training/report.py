"""What a run tells: a log of one JSON object a line, TensorBoard, and the pictures in it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

__all__ = ["Report"]


class Report:
    """Writes `log.jsonl` and, if asked to, TensorBoard's files in `logs/`.

    A run that goes on from `step` drops what was logged after it, so that no step is there twice.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self._path = folder / "log.jsonl"
        self._keep_up_to(step)
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # a slow import

            self._writer = SummaryWriter(str(folder / "logs"), purge_step=step + 1)

    def _keep_up_to(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed
                continue
            if entry["step"] <= step:
                kept.append(line + "\n")
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text("".join(kept), encoding="utf-8")
        os.replace(unfinished, self._path)

    def numbers(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log values under `kind` (such as "train"), at this step."""
        entry = {"step": step, "kind": kind} | {name: float(f"{value:.6g}") for name, value in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, image: Tensor) -> None:
        """Show a picture (3, H, W) in [0, 1] in TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, image.clamp(0, 1), step)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()
