"""Settings of a training run: a frozen, checked dataclass that a TOML file fills."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from birefnet_lite.config import PRESETS, BiRefNetConfig
from birefnet_lite.metrics import METRICS
from birefnet_lite.training.pixel_losses import PIXEL_LOSSES
from birefnet_lite.training.recipes import RECIPES

__all__ = ["TrainSettings", "find_settings", "read_settings", "shipped"]

ROUND = 16  # steps whose scenes come again together, where `reuse` is above 1
_CONFIGS = resources.files("birefnet_lite") / "training" / "configs"


@dataclass(frozen=True)
class TrainSettings:
    """A training run. In a TOML file every field is a key of the same name; the mappings are tables.

    Checked when made: `TypeError` or `ValueError` says what was given and what is possible.
    """

    output: str
    """Folder for checkpoints and logs."""
    model: str = "nano"
    """A preset, whose network is trained from scratch."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `BiRefNetConfig` that differ from the preset's."""
    start_from: str = ""
    """A checkpoint that `load` takes: its network and weights are the start, and `model` does not count."""

    data: Literal["synthetic", "folder"] = "synthetic"
    folder: str = ""
    """With `data = "folder"`: a folder with `im/` and `gt/`, or a CSV of pairs."""
    validation_folder: str = ""
    """Pairs to validate on; empty: the training pairs with `data = "folder"`, held-out scenes otherwise."""
    size: int = 256
    """Height and width in pixels, a multiple of 32."""
    small_size: int = 0
    """Height and width in the first `small_steps`, which then cost less."""
    small_steps: int = 0
    batch_size: int = 16
    """Images behind one optimizer step, over all processes and accumulated parts."""
    accumulation: int = 1
    """Parts into which each process cuts its share of a batch."""
    difficulty: tuple[float, float] = (0.0, 1.0)
    """Difficulty of synthetic scenes at the start, and from the end of the ramp on."""
    difficulty_ramp: float = 0.6
    """Part of the run over which difficulty rises in a straight line."""
    variety: float = 0.0
    """Chance that a synthetic object is made of any materials, that its scene lies under uneven light, that its colours
    are mixed anew, that others' objects stand behind it."""
    reshaping: float = 0.0
    """Chance that a synthetic object is pierced; half of it is that of each other change of its shape."""
    reuse: int = 1
    """How often each synthetic scene is used, the first time as drawn, then flipped, turned, cropped and recoloured:
    on a CPU, drawing costs as much as learning."""
    drawn_together: int = 1
    """Batches of synthetic scenes drawn in one go, a divisor of 16: a GPU draws many scenes in the time of a few."""
    workers: int = 0
    """Processes on the CPU that prepare batches; 0: the training process does, on its own device."""
    ahead: int = 0
    """With no workers: batches that a thread prepares ahead, on a GPU beside the training. A round of `reuse` takes
    longest at its start, so that some 32 keep a GPU busy."""

    steps: int = 1000
    seed: int = 0
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.01
    """Learning rate at the end, as a part of `learning_rate`."""
    warmup_steps: int = 100
    hold: float = 0.0
    """Part of the run, counted from its start, at the full learning rate; then it falls in half a cosine."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 clips nothing."""
    ema_decay: float = 0.998
    """Decay per step of the averaged weights, which are validated and kept; 0: no average."""
    precision: Literal["no", "bf16", "auto"] = "no"
    """`"no"`: float32; `"bf16"`: bfloat16 for what the network computes; `"auto"`: whichever the device is fast in."""
    recompute_activations: bool = False
    """Keep fewer activations and compute them again in the backward: less than half the memory for a seventh more
    time (`lite`, two images of 512 x 512 pixels, CPU)."""
    dropout: float = 0.5
    """Chance of each dropout; 0.5 is the original's. Endless data and a small network want none."""
    plain_steps: int = 0
    """First steps in which deformable convolutions are kept plain. A new one is plain anyway (its offsets start at
    zero), but on a CPU it is far slower."""
    freeze_backbone: bool = False
    freeze_batch_norm: bool = False
    """Keep the statistics of every batch norm as they are; their scales and shifts still learn."""

    recipe: str = ""
    """A published recipe, whose (repaired) weights of the pixel losses count; or give `loss`."""
    loss: Mapping[str, float] = field(default_factory=dict)
    """Weights of the pixel losses; with no recipe either, 1 for `bce` and for `iou`."""
    gradient_weight: float = 1.0
    class_weight: float = 0.0
    finetune_steps: int = 0
    """Last steps of the run, in which the pixel losses have the weights of `finetune_loss`, or the recipe's."""
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
    """Stop, with a checkpoint to go on from, after so many minutes; 0: go on to the last step."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _checked(entry.name, entry.type, getattr(self, entry.name)))
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


def shipped() -> list[str]:
    """Names of the settings that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _CONFIGS.iterdir() if entry.name.endswith(".toml"))


def find_settings(name: str | Path) -> Path:
    """A settings file, by its path or, if nothing is there, by its name in the package."""
    path = Path(name)
    return Path(str(_CONFIGS / f"{name}.toml")) if not path.exists() and str(name) in shipped() else path


def read_settings(path: str | Path, **changes: Any) -> TrainSettings:
    """The settings in a TOML file, with `changes` on top.

    Raises FileNotFoundError where there is no file, ValueError for what is no TOML or no known key, TypeError for a
    value of a wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path}; {', '.join(shipped())} come with the package.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid TOML: {error}.") from error
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


def _checked(name: str, wanted: Any, value: Any) -> Any:
    """The value in its final type; bool is an int to Python, but `steps = true` is a mistake."""
    origin = get_origin(wanted)
    if origin is Literal:
        if value not in get_args(wanted):
            raise ValueError(f"{name} is {value!r}; it can be {' or '.join(map(repr, get_args(wanted)))}.")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise TypeError(f"{name} is {value!r}; it must be two numbers.")
        return tuple(_checked(name, float, part) for part in value)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a table, not {type(value).__name__} ({value!r}).")
        inner = get_args(wanted)[1]
        return dict(value) if inner is Any else {key: _checked(f"{name}.{key}", inner, v) for key, v in value.items()}
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise TypeError(f"{name} must be of type {wanted.__name__}, not {type(value).__name__} ({value!r}).")
    return value
