"""The names of the network's maps, and each in words: levels of the encoder, stages and steps of the decoder."""

from dataclasses import dataclass

__all__ = [
    "ATTENTION",
    "GRADIENT",
    "IMAGE_BRANCH",
    "INWARD",
    "LATERAL",
    "LEVELS",
    "LOGITS",
    "OUT",
    "PHOTO",
    "RECONSTRUCTION",
    "SIDE",
    "SQUEEZE",
    "STAGES",
    "STEPS",
    "Step",
    "encoder_layer",
    "split_layer",
    "stage_layer",
    "stage_module",
    "stride_of",
    "title_of",
]

#: Levels of the encoder, finest first, and stages of the decoder in the order in which they run.
LEVELS = (1, 2, 3, 4)
STAGES = (4, 3, 2, 1)

#: The input: every part depends on it.
PHOTO = "photo"
SQUEEZE = "squeeze"
IMAGE_BRANCH = "decoder.image_branch"
LOGITS = "logits"

INWARD = "inward_reference"
RECONSTRUCTION = "reconstruction"
SIDE = "side"
ATTENTION = "gradient_attention"
GRADIENT = "gradient_prediction"
LATERAL = "lateral"
OUT = "out"


@dataclass(frozen=True)
class Step:
    """One kind of map in a decoder stage."""

    name: str
    """The end of its layer's name."""
    module: str
    """The submodule of the stage that computes it; empty for the stage itself."""
    title: str
    """In words."""
    heading: str
    """The same for the head of a column, in two lines."""
    group: str
    """The colour that the map of the network gives it."""


#: By name, in the order in which a stage computes them.
STEPS = {
    step.name: step
    for step in (
        Step(INWARD, "inward", "inward reference: the image's tiles, filtered", "Inward\nreference", "inward"),
        Step(RECONSTRUCTION, "reconstruction", "reconstruction block", "Recon-\nstruction", "decoder"),
        Step(SIDE, "side_head", "side output, as logits", "Side\noutput", "training"),
        Step(ATTENTION, "outward", "outward reference: gradient attention", "Gradient\nattention", "outward"),
        Step(GRADIENT, "outward", "predicted gradient, as logits", "Predicted\ngradient", "training"),
        Step(LATERAL, "lateral", "lateral block: encoder map of the next finer level", "Lateral\nblock", "lateral"),
        Step(OUT, "", "up-sampled, plus lateral: the next stage's input", "Stage\noutput", "decoder"),
    )
}


def encoder_layer(level: int, scale: str = "") -> str:
    """The layer of an encoder level: of the `full` or `half`-size image, or of both joined.

    Examples:
        >>> encoder_layer(1, "half")
        'encoder.half.x1'
    """
    return f"encoder.{scale}.x{level}" if scale else f"encoder.x{level}"


def stage_layer(stage: int, step: str) -> str:
    """The layer of a decoder stage's step: `decoder.stage3.lateral`.

    Examples:
        >>> stage_layer(3, "lateral")
        'decoder.stage3.lateral'
    """
    return f"decoder.stage{stage}.{step}"


def stage_module(stage: int, step: str = OUT) -> str:
    """The path of the module that computes a decoder stage's step; of the stage itself without one."""
    inner = STEPS[step].module
    return f"decoder.stage{stage}.{inner}" if inner else f"decoder.stage{stage}"


def split_layer(name: str) -> tuple[int, str] | None:
    """The stage and step of a decoder layer's name; None for other layers.

    Examples:
        >>> split_layer("decoder.stage3.lateral")
        (3, 'lateral')
    """
    parts = name.split(".")
    if len(parts) == 3 and parts[0] == "decoder" and parts[2] in STEPS:
        return int(parts[1].removeprefix("stage")), parts[2]
    return None


def stride_of(level: int) -> int:
    """Pixels of the network's image that a cell of a level spans: 4, 8, 16, 32; 1 for level 0.

    Examples:
        >>> stride_of(2)
        8
    """
    return 2 ** (level + 1) if level else 1


def title_of(name: str) -> str:
    """A layer's name in words: `decoder.stage3.lateral` is `Stage 3 · lateral block: …`.

    Examples:
        >>> title_of("decoder.stage3.lateral")
        'Stage 3 · lateral block: encoder map of the next finer level'
    """
    fixed = {
        LOGITS: "Mask, as logits",
        SQUEEZE: "Squeeze module",
        IMAGE_BRANCH: "Inward reference at full resolution",
        PHOTO: "Photo",
    }
    if name in fixed:
        return fixed[name]
    if (found := split_layer(name)) is not None:
        return f"Stage {found[0]} · {STEPS[found[1]].title}"
    first, *_, last = name.split(".")
    if first == "neck":
        return f"Pyramid neck · level {last[1:]}"
    if first == "encoder":
        scale = {"full": "whole image, ", "half": "half-size image, "}.get(name.split(".")[1], "")
        return f"Encoder · {scale}level {last[1:]}" + ("" if scale else ", both images joined")
    return name
