"""Settings of a training run: a frozen, checked dataclass that a TOML file fills."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from birefnet_lite.config import PRESETS, BiRefNetConfig, check_type
from birefnet_lite.metrics import METRICS
from birefnet_lite.training.pixel_losses import PIXEL_LOSSES
from birefnet_lite.training.recipes import RECIPES

__all__ = ["TrainSettings", "find_settings", "read_settings", "shipped_settings"]

ROUND = 16  # steps in a round of reused scenes; see `data_sources.EchoedScenes`
_CONFIGS = resources.files("birefnet_lite") / "training" / "configs"


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a training run. In a TOML file each field is a key of the same name; mappings are tables.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of its range, or two do not fit together.

    Examples:
        >>> TrainSettings(output="runs/mine", steps=200).learning_rate
        0.001
    """

    output: str
    """Folder for checkpoints and logs."""
    model: str = "nano"
    """A preset, whose network is trained from scratch."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `BiRefNetConfig` that differ from the preset's."""
    start_from: str = ""
    """A checkpoint to start from, anything that `load` takes; `model` is then ignored."""

    data: Literal["synthetic", "folder"] = "synthetic"
    folder: str = ""
    """With `data = "folder"`: a folder with `im/` and `gt/`, or a CSV of pairs."""
    validation_folder: str = ""
    """Pairs to validate on; empty: the training pairs with `data = "folder"`, held-out scenes otherwise."""
    size: int = 256
    """Height and width in pixels, a multiple of 32."""
    small_size: int = 0
    """Height and width in the first `small_steps`, to save time."""
    small_steps: int = 0
    batch_size: int = 16
    """Images in one optimizer step, over all processes and accumulation steps."""
    accumulation: int = 1
    """Gradient accumulation: parts into which each process cuts its share of a batch."""
    difficulty: tuple[float, float] = (0.0, 1.0)
    """Difficulty of synthetic scenes at the start and after the ramp, 0 to 1."""
    difficulty_ramp: float = 0.6
    """Part of the run in which difficulty rises linearly."""
    variety: float = 0.0
    """Domain randomization of synthetic scenes: the probability of random materials, uneven lighting, objects in the
    background and colour mixing."""
    reshaping: float = 0.0
    """Probability of holes in a synthetic object; those of other changes of its shape are half of it."""
    reuse: int = 1
    """How often each synthetic scene is used, the first time as drawn, then augmented: on a CPU, drawing takes as long
    as training."""
    drawn_together: int = 1
    """Batches of synthetic scenes drawn in one call, a divisor of 16: a GPU draws many scenes in the time of a few."""
    workers: int = 0
    """Processes that prepare batches on the CPU; 0: the training process prepares them, on its own device."""
    ahead: int = 0
    """Without workers: batches that a thread prepares in advance, on a GPU during the training. Scenes are drawn at the
    start of a round of `reuse`, so that about 32 are needed to keep a GPU busy."""

    steps: int = 1000
    seed: int = 0
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.01
    """Learning rate at the end, relative to `learning_rate`."""
    warmup_steps: int = 100
    hold: float = 0.0
    """Part of the run before the learning rate starts to fall, along half a cosine."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    ema_decay: float = 0.998
    """Decay per step of the averaged weights (EMA), which are validated and saved; 0: no average."""
    precision: Literal["no", "bf16", "auto"] = "no"
    """`"no"`: float32; `"bf16"`: autocast to bfloat16; `"auto"`: bfloat16 if the device has it in hardware."""
    recompute_activations: bool = False
    """Activation checkpointing: less than half the memory for 14 % more time (`lite`, two images of 512 x 512 pixels,
    CPU)."""
    dropout: float = 0.5
    """Probability of each dropout; 0.5 in the original. 0 is better for endless data and a small network."""
    plain_steps: int = 0
    """First steps in which deformable convolutions run as plain ones, which is much faster on a CPU. Their offsets are
    zero at the start, so that they compute the same then."""
    freeze_backbone: bool = False
    freeze_batch_norm: bool = False
    """Keep the running statistics of all batch norms; their weights and biases are trained."""

    recipe: str = ""
    """A published recipe whose (repaired) pixel-loss weights are used; or give `loss`."""
    loss: Mapping[str, float] = field(default_factory=dict)
    """Weights of the pixel losses; empty without a recipe: 1 for `bce` and for `iou`."""
    gradient_weight: float = 1.0
    class_weight: float = 0.0
    finetune_steps: int = 0
    """Last steps of the run, with the pixel-loss weights `finetune_loss`, or those of the recipe."""
    finetune_loss: Mapping[str, float] = field(default_factory=dict)

    validate_every: int = 250
    validation_images: int = 48
    best_by: str = "s_measure"
    """The metric by which the best checkpoint is chosen."""
    save_every: int = 100
    log_every: int = 10
    tensorboard: bool = True
    pictures: bool = True
    """Whether TensorBoard also gets pictures of validation images and masks."""
    max_minutes: float = 0.0
    """Stop after so many minutes, with a state to resume from; 0: no limit."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, check_type(entry.name, entry.type, getattr(self, entry.name)))
        self._check_numbers()
        if not self.output:
            raise ValueError("output is empty; name the folder that checkpoints and logs go to.")
        if self.data == "folder" and not self.folder:
            raise ValueError(
                "data is 'folder', so folder (or --folder) must name one with im/ and gt/, or a CSV of pairs."
            )
        if self.best_by not in METRICS:
            raise ValueError(f"best_by is {self.best_by!r}; the metrics are {', '.join(METRICS)}.")
        for name in ("loss", "finetune_loss"):
            unknown = [key for key in getattr(self, name) if key not in PIXEL_LOSSES]
            if unknown:
                raise ValueError(f"{name} has {', '.join(unknown)}; the pixel losses are {', '.join(PIXEL_LOSSES)}.")
        if self.recipe and self.recipe not in RECIPES:
            raise ValueError(f"recipe is {self.recipe!r}; the recipes are {', '.join(RECIPES)}.")
        if self.recipe and (self.loss or self.finetune_loss):
            raise ValueError("recipe and loss both say how much each pixel loss counts; leave one of them out.")
        if self.finetune_steps and not (self.finetune_loss or self.recipe):
            raise ValueError("finetune_steps is given, so finetune_loss must say which losses then count.")
        if self.start_from and self.config:
            raise ValueError("config changes a preset, but start_from names a checkpoint, whose network is what it is.")
        if self.model not in PRESETS:
            raise ValueError(f"model is {self.model!r}; the presets are {', '.join(PRESETS)}. See start_from too.")
        try:
            BiRefNetConfig.from_dict(BiRefNetConfig.preset(self.model).to_dict() | dict(self.config))
        except (TypeError, ValueError) as error:
            raise ValueError(f"config does not describe a network: {error}") from error

    def _check_numbers(self) -> None:
        least = {
            **dict.fromkeys(("batch_size", "accumulation", "steps", "validate_every", "validation_images"), 1),
            **dict.fromkeys(("save_every", "log_every", "reuse", "drawn_together"), 1),
            **dict.fromkeys(("workers", "ahead", "warmup_steps", "weight_decay", "clip_norm", "gradient_weight"), 0),
            **dict.fromkeys(("class_weight", "finetune_steps", "max_minutes", "seed", "small_steps", "plain_steps"), 0),
        }
        for name, low in least.items():
            if not low <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {low}.")
        for name in ("difficulty_ramp", "hold", "ema_decay", "final_learning_rate", "dropout", "variety", "reshaping"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to 1.")
        if not all(0 <= value <= 1 for value in self.difficulty):
            raise ValueError(f"difficulty is {list(self.difficulty)}; both must be from 0 to 1.")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if ROUND % self.drawn_together:
            raise ValueError(f"drawn_together is {self.drawn_together}; it must divide {ROUND}.")
        for name in ("size", "small_size") if self.small_steps else ("size",):
            if getattr(self, name) < 64 or getattr(self, name) % 32:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a multiple of 32, at least 64.")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def shipped_settings() -> list[str]:
    """Names of the settings that come with the package.

    Examples:
        >>> shipped_settings()
        ['finetune', 'nano', 'nano-gpu', 'nano-on']
    """
    return sorted(entry.name.removesuffix(".toml") for entry in _CONFIGS.iterdir() if entry.name.endswith(".toml"))


def find_settings(name: str | Path) -> Path:
    """The path of a settings file, given by its path or by its name in the package."""
    path = Path(name)
    return Path(str(_CONFIGS / f"{name}.toml")) if not path.exists() and str(name) in shipped_settings() else path


def read_settings(path: str | Path, **changes: Any) -> TrainSettings:
    """Read the settings in a TOML file; `changes` override them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not TOML, or has an unknown key or a value out of range.
        TypeError: A value is of a wrong type.

    Examples:
        >>> read_settings(find_settings("finetune"), folder="my_photos").batch_size
        4
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no settings file {path}; {', '.join(shipped_settings())} come with the package."
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error
    known = [entry.name for entry in fields(TrainSettings)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"{path}: there is no setting {', '.join(unknown)}. The settings are {', '.join(known)}.")
    if "output" not in values | changes:
        raise ValueError(f"{path}: output is missing; it names the folder that checkpoints and logs go to.")
    try:
        return TrainSettings(**values | changes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
