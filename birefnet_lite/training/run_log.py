"""The log of a training run: `log.jsonl`, one JSON object per line, and optionally TensorBoard files."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from birefnet_lite.output import write_text

__all__ = ["RunLog"]


class RunLog:
    """Writes `log.jsonl` and, if asked to, TensorBoard files in `logs/`.

    Entries after `step` are deleted: a run that resumes from there writes them again.

    Args:
        folder: The run's folder.
        step: The step from which the run starts or resumes.
        tensorboard: Write TensorBoard files too.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self._path = folder / "log.jsonl"
        self._delete_entries_after(step)
        self._writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # a slow import

            self._writer = SummaryWriter(str(folder / "logs"), purge_step=step + 1)

    def _delete_entries_after(self, step: int) -> None:
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
        write_text(self._path, "".join(kept))

    def write_values(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step under a kind such as `"train"`."""
        entry = {"step": step, "kind": kind} | {name: float(f"{value:.6g}") for name, value in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def write_picture(self, name: str, step: int, image: Tensor) -> None:
        """Show a picture (3, H, W) in [0, 1] in TensorBoard; without TensorBoard nothing is written."""
        if self._writer is not None:
            self._writer.add_image(name, image.clamp(0, 1), step)

    def close(self) -> None:
        """Write what is still buffered."""
        if self._writer is not None:
            self._writer.close()
