"""The network's parts: the one list that captures, ablations, views and tables are made from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from birefnet_lite.analysis.layer_names import (
    ATTENTION,
    GRADIENT,
    IMAGE_BRANCH,
    INWARD,
    LATERAL,
    LEVELS,
    LOGITS,
    OUT,
    PHOTO,
    RECONSTRUCTION,
    SIDE,
    SQUEEZE,
    STAGES,
    STEPS,
    encoder_layer,
    stage_layer,
    stage_module,
    title_of,
)
from birefnet_lite.network.birefnet import logits_of

__all__ = ["Operation", "Part", "find_module", "list_blocks", "list_parts"]


@dataclass(frozen=True)
class Operation:
    """A computation without weights that brings maps together before a part's module, or in its place.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> parts = list_parts(BiRefNet(BiRefNetConfig.preset("nano")))
        >>> [operation.name for operation in parts["decoder.stage3.out"].operations]
        ['multiply', 'enlarge', 'add']
    """

    name: str
    """`multiply`, `add`, `concatenate` (along the channels), or `enlarge` or `shrink` (each input, to another size)."""
    inputs: tuple[str | int, ...]
    """Layers by name, `photo`, and results of earlier operations of the same part by their number."""


@dataclass(frozen=True, eq=False)
class Part:
    """A named map of a network, and the module that computes it."""

    name: str
    """The layer's dotted name, as `analysis.capture` uses it."""
    module: nn.Module
    """The module whose output holds the map."""
    weights: str
    """The dotted path, in the model, of the module that holds the part's parameters; empty for a mere sum of others."""
    group: str
    """`encoder`, `squeeze`, `lateral`, `decoder`, `inward`, `outward` or `training`."""
    level: int
    """The encoder level or decoder stage that it belongs to, 1 to 4; 0 for the photo's own resolution."""
    inputs: tuple[str, ...] = ()
    """The parts that it is computed from; `photo` is the image itself."""
    operations: tuple[Operation, ...] = ()
    """The steps from its inputs to what its module reads, or to the map itself where no module follows. Without any,
    the module reads its only input as it is."""
    entry: int | None = None
    """Which entry of the module's output it is; None for the whole output."""
    call: int = 0
    """Which call of the module in one pass: the backbone runs on two sizes of the image."""
    calls: int = 1
    """How often the module runs in one pass."""
    head: nn.Module | None = None
    """A module to run on the output: side heads are not part of the pass in use."""
    removable: bool = False
    """Whether `ablate` can switch it off."""
    neutral: float = 0.0
    """The value of a map that carries nothing: attention multiplies, so that it is 1 there."""

    @property
    def title(self) -> str:
        """The part in words."""
        return title_of(self.name)

    @property
    def used(self) -> bool:
        """Whether the mask depends on it; side outputs and predicted gradients only serve the training."""
        return self.group != "training"

    def read(self, output: Any) -> Tensor | None:
        """The map (B, C, h, w) in the module's output; None where there is none."""
        if self.name == LOGITS:
            output = logits_of(output)
        elif self.entry is not None and (self.entry or not isinstance(output, Tensor)):
            output = output[self.entry] if isinstance(output, Sequence) and self.entry < len(output) else None
        if not isinstance(output, Tensor) or output.ndim != 4:
            return None
        return output if self.head is None else self.head(output)


def list_parts(model: nn.Module) -> dict[str, Part]:
    """The parts that a model has, by layer name, in the order in which they are computed.

    A model without some of them, such as a learner's own, has the others.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> parts = list_parts(BiRefNet(BiRefNetConfig.preset("nano")))
        >>> list(parts)[-1], parts["squeeze"].title
        ('logits', 'Squeeze module')
    """
    builder = _Builder(model)
    encoder = getattr(model, "encoder", None)
    scales = ["full", "half"] if getattr(encoder, "multi_scale_input", "cat") != "none" else ["full"]
    for call, scale in enumerate(scales):
        for level in LEVELS:
            options: dict[str, Any] = {"entry": level - 1, "call": call, "calls": len(scales), "removable": True}
            if scale == "half":
                options["operations"] = (Operation("shrink", (PHOTO,)),)
            builder.add(encoder_layer(level, scale), "encoder.backbone", "encoder", level, [PHOTO], **options)
    context = range(4 - getattr(encoder, "context_scales", 3), 4)
    for level in LEVELS:
        levels = [*context, 4] if level == 4 else [level]
        inputs = [encoder_layer(each, scale) for each in levels for scale in scales]
        operations = _join_encoder(level, scales, getattr(encoder, "multi_scale_input", "cat"), levels[:-1])
        builder.add(
            encoder_layer(level), "encoder", "encoder", level, inputs, "", entry=level - 1, operations=operations
        )
    builder.add(SQUEEZE, "squeeze", "squeeze", 4, [encoder_layer(4)], removable=True)
    features = {level: encoder_layer(level) for level in LEVELS}
    if SQUEEZE in builder.parts:
        features[4] = SQUEEZE
    for level in LEVELS:
        name = f"neck.x{level}"
        builder.add(name, "neck", "lateral", level, [features[level]], entry=level - 1)
    if builder.has("neck"):
        features = {level: f"neck.x{level}" for level in LEVELS}
    below = features[4]
    for stage in STAGES:
        below = builder.add_stage(stage, below, features.get(stage - 1))
    builder.add(IMAGE_BRANCH, IMAGE_BRANCH, "inward", 0, [PHOTO], removable=True)
    # The last stage's features are enlarged to the photo's resolution.
    joined = [Operation("enlarge", (below,))]
    if IMAGE_BRANCH in builder.parts:
        joined.append(Operation("concatenate", (0, IMAGE_BRANCH)))
    builder.add(LOGITS, "", "decoder", 0, [below, IMAGE_BRANCH], weights="decoder.head", operations=tuple(joined))
    return builder.parts


def _join_encoder(level: int, scales: Sequence[str], how: str, context: Iterable[int]) -> tuple[Operation, ...]:
    """The steps from the backbone's maps to one map of the encoder: both scales joined, at the end finer levels too."""
    operations: list[Operation] = []
    last: tuple[str | int, ...] = tuple(encoder_layer(level, scale) for scale in scales)
    if len(scales) > 1:
        operations.append(Operation("enlarge", last[1:]))
        last = (last[0], 0)
        if how == "add":
            operations.append(Operation("add", last))
            last = (1,)
    if finer := tuple(encoder_layer(each) for each in context):
        operations.append(Operation("shrink", finer))
        last = (len(operations) - 1, *last)
    if len(last) > 1:
        operations.append(Operation("concatenate", last))
    return tuple(operations)


class _Builder:
    """Collects the parts that exist."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parts: dict[str, Part] = {}

    def has(self, path: str) -> bool:
        return find_module(self.model, path) is not None

    def add(
        self,
        name: str,
        path: str,
        group: str,
        level: int,
        inputs: Iterable[str],
        weights: str | None = None,
        **options: Any,
    ) -> None:
        """One part, where the model has its module; of its inputs those that exist."""
        module = find_module(self.model, path)
        if module is None:
            return
        known = tuple(each for each in inputs if each == PHOTO or each in self.parts)
        self.parts[name] = Part(name, module, path if weights is None else weights, group, level, known, **options)

    def add_stage(self, stage: int, below: str, lateral: str | None) -> str:
        """The parts of a decoder stage; returns the name of what the next stage reads."""
        names = {step: stage_layer(stage, step) for step in STEPS}
        inputs = {
            INWARD: [PHOTO],
            RECONSTRUCTION: [below, names[INWARD]],
            SIDE: [names[RECONSTRUCTION]],
            ATTENTION: [names[RECONSTRUCTION]],
            GRADIENT: [names[RECONSTRUCTION]],
            LATERAL: [] if lateral is None else [lateral],
            OUT: [names[RECONSTRUCTION], names[ATTENTION], names[LATERAL]],
        }
        side_head = find_module(self.model, stage_module(stage, SIDE))
        joined: list[Operation] = []
        if self.has(stage_module(stage, INWARD)):
            joined.append(Operation("concatenate", (below, names[INWARD])))
        sums: list[Operation] = []
        if self.has(stage_module(stage, ATTENTION)):
            sums.append(Operation("multiply", (names[RECONSTRUCTION], names[ATTENTION])))
        sums.append(Operation("enlarge", (0 if sums else names[RECONSTRUCTION],)))
        sums.append(Operation("add", (len(sums) - 1, names[LATERAL])))
        options: dict[str, dict[str, Any]] = {
            INWARD: {"removable": True},
            RECONSTRUCTION: {"removable": True, "operations": tuple(joined)},
            ATTENTION: {"entry": 0, "removable": True, "neutral": 1.0},
            GRADIENT: {"entry": 1},
            LATERAL: {"removable": True},
            OUT: {"entry": 0, "weights": "", "operations": tuple(sums)},
        }
        for step, detail in STEPS.items():
            if step == SIDE:
                if side_head is not None:
                    module, weights = stage_module(stage, RECONSTRUCTION), stage_module(stage, SIDE)
                    self.add(names[SIDE], module, detail.group, stage, inputs[SIDE], weights, head=side_head)
            elif step != OUT or names[LATERAL] in self.parts:
                # The last stage's up-sampled map shows nothing that its reconstruction does not, at 16 times the size.
                self.add(names[step], stage_module(stage, step), detail.group, stage, inputs[step], **options[step])
        return names[OUT] if names[OUT] in self.parts else names[RECONSTRUCTION]


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """The submodule at a dotted path, the model itself for an empty one; None where there is none."""
    module: Any = model
    for step in path.split(".") if path else ():
        module = getattr(module, step, None)
    return module if isinstance(module, nn.Module) else None


def list_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The large blocks of a model by path, in the order in which they run: whole stages, not their steps."""
    paths = ["encoder", "class_head", "squeeze", "neck", *(stage_module(stage) for stage in STAGES)]
    for path in (*paths, IMAGE_BRANCH, "decoder.head"):
        if (module := find_module(model, path)) is not None:
            yield path, module
