"""`BiRefNetConfig`, the validated and frozen description of a network, and the presets."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

__all__ = ["BACKBONES", "BiRefNetConfig", "check_type"]

# Widths of each backbone's four maps, finest (stride 4) first. All maps of a DINOv3 have one width and one stride.
BACKBONES: dict[str, tuple[int, int, int, int]] = {
    "vgg16": (128, 256, 512, 512),
    "vgg16bn": (128, 256, 512, 512),
    "resnet50": (256, 512, 1024, 2048),
    "swin_v1_t": (96, 192, 384, 768),
    "swin_v1_s": (96, 192, 384, 768),
    "swin_v1_b": (128, 256, 512, 1024),
    "swin_v1_l": (192, 384, 768, 1536),
    "pvt_v2_b0": (32, 64, 160, 256),
    "pvt_v2_b1": (64, 128, 320, 512),
    "pvt_v2_b2": (64, 128, 320, 512),
    "pvt_v2_b5": (64, 128, 320, 512),
    "dino_v3_s": (384,) * 4,
    "dino_v3_s_plus": (384,) * 4,
    "dino_v3_b": (768,) * 4,
    "dino_v3_l": (1024,) * 4,
    "dino_v3_h_plus": (1280,) * 4,
    "dino_v3_7b": (4096,) * 4,
    "convnet_n": (32, 64, 128, 192),
}

# The original's name for each choice. `from_official` translates the rest of its flags.
_OFFICIAL_CHOICES = {
    "multi_scale_input": {"": "none", "add": "add", "cat": "cat"},
    "aspp": {"": "none", "ASPP": "plain", "ASPPDeformable": "deformable"},
    "squeeze_block": {
        "": "none",
        "BasicDecBlk": "basic",
        "ResBlk": "residual",
        "ASPP": "aspp",
        "ASPPDeformable": "deformable_aspp",
    },
    "reconstruction_block": {"BasicDecBlk": "basic", "ResBlk": "residual"},
    "inter_width": {"fixed": "fixed", "adap": "adaptive"},
}


@dataclass(frozen=True)
class BiRefNetConfig:
    """The description of a BiRefNet. The default is the published `BiRefNet_lite`.

    Every field is checked when the object is made, so that each configuration can be built.

    Raises:
        ValueError: A value is not possible, or does not fit another field. The message says what is possible.
        TypeError: A value has the wrong type.

    Examples:
        >>> BiRefNetConfig(backbone="resnet50", aspp="plain").squeeze_block
        'basic'
        >>> BiRefNetConfig.preset("nano").train_size
        (256, 256)
        >>> BiRefNetConfig.from_official(bb="pvt_v2_b2", dec_blk="ResBlk").reconstruction_block
        'residual'
    """

    backbone: str = "swin_v1_t"
    """One of `BACKBONES`, or `timm:NAME` for any timm model that offers `features_only`."""
    multi_scale_input: Literal["none", "add", "cat"] = "cat"
    """How features of the half-size image are joined to those of the image: `"cat"`, `"add"`, or `"none"`."""
    context_scales: int = 3
    """How many of the finer maps are concatenated to the deepest one (context feature fusion), 0 to 3."""
    squeeze_block: Literal["none", "basic", "residual", "aspp", "deformable_aspp"] = "basic"
    """`"none"`, `"basic"`, `"residual"`, `"aspp"` or `"deformable_aspp"`."""
    squeeze_depth: int = 1
    """How many squeeze blocks there are in a row."""
    reconstruction_block: Literal["basic", "residual"] = "basic"
    """The block of each decoder stage: `"basic"` or `"residual"`."""
    aspp: Literal["none", "plain", "deformable"] = "deformable"
    """The ASPP in the middle of each block: `"none"`, `"plain"` or `"deformable"`."""
    inter_width: Literal["fixed", "adaptive"] = "fixed"
    """Width inside a block: `"fixed"` is `inter_channels`, `"adaptive"` is a quarter of the block's input."""
    inward_reference: bool = True
    """Whether each decoder stage takes the image as an input."""
    image_tiles: bool = True
    """Whether the image is cut into tiles, which keeps all pixels, or resized to the stage."""
    outward_reference: bool = True
    """Whether gradient attention weights the features of stages 4 to 2. Needs `multi_stage_supervision`."""
    gradient_target: Literal["original", "masked"] = "original"
    """Target of the gradient heads: `"original"` as in the code, or `"masked"` as in the paper."""
    multi_stage_supervision: bool = True
    """Whether stages 4 to 2 have a side output."""
    auxiliary_classification: bool = False
    """Whether a class head is trained on the deepest features."""
    batch_norm: bool = True
    """False leaves out all batch norms of squeeze module and decoder, as in checkpoints trained with batches of one."""
    freeze_backbone: bool | None = None
    """Whether the backbone's parameters are frozen. None: frozen for a DINOv3, trained otherwise."""
    inter_channels: int = 64
    """Width inside the blocks, with `inter_width="fixed"`."""
    aspp_channels: int = 256
    """Width of each branch of an ASPP."""
    image_channels: int = 64
    """Width between the two convolutions of an image branch."""
    gradient_channels: int = 16
    """Width of the features from which gradients and attention are computed."""
    num_classes: int = 219
    """Outputs of the class head. DIS5K's training set has 219 classes."""
    train_size: tuple[int, int] = (1024, 1024)
    """Height and width, in pixels, at which the weights were trained. `segment` resizes photos to it; the network
    itself takes any size."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, check_type(field.name, field.type, getattr(self, field.name)))
        if any(side < 32 or side % 32 for side in self.train_size):
            raise ValueError(f"train_size is {self.train_size}; it must be (height, width), two multiples of 32.")
        if self.backbone not in BACKBONES and not (self.backbone.startswith("timm:") and len(self.backbone) > 5):
            raise ValueError(
                f"backbone is {self.backbone!r}; it can be {_join_choices(BACKBONES)}, "
                "or 'timm:NAME' for any other timm model (timm.list_models() names them)."
            )
        if not 0 <= self.context_scales <= 3:
            raise ValueError(f"context_scales is {self.context_scales}; it can be 0 to 3: there are three finer maps.")
        widths = ("inter_channels", "aspp_channels", "image_channels", "gradient_channels")
        for name in ("squeeze_depth", *widths, "num_classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.outward_reference and not self.multi_stage_supervision:
            raise ValueError(
                "outward_reference=True needs multi_stage_supervision=True: the gradient target of a stage is cut out "
                "by that stage's side output. Set outward_reference=False as well."
            )

    @property
    def is_dino(self) -> bool:
        """Whether the backbone is one of the DINOv3 family."""
        return self.backbone.startswith("dino_v3")

    @property
    def backbone_is_frozen(self) -> bool:
        """Whether the backbone's parameters take no gradient."""
        return self.is_dino if self.freeze_backbone is None else self.freeze_backbone

    @classmethod
    def preset(cls, name: str) -> "BiRefNetConfig":
        """Return `"nano"` (small, for learning), `"lite"` (published) or `"large"` (swin_v1_l, the paper's)."""
        if name not in PRESETS:
            raise ValueError(f"There is no preset {name!r}; there are {_join_choices(PRESETS)}.")
        return PRESETS[name]

    @classmethod
    def from_official(
        cls,
        *,
        bb: str = "swin_v1_l",
        squeeze_block: str = "BasicDecBlk_x1",
        dec_att: str = "ASPPDeformable",
        dec_blk: str = "BasicDecBlk",
        lat_blk: str = "BasicLatBlk",
        mul_scl_ipt: str = "cat",
        cxt_num: int = 3,
        dec_ipt: bool = True,
        dec_ipt_split: bool = True,
        ms_supervision: bool = True,
        out_ref: bool | None = None,
        dec_channels_inter: str = "fixed",
        auxiliary_classification: bool = False,
        freeze_bb: bool | None = None,
        batch_size: int = 8,
    ) -> "BiRefNetConfig":
        """Translate the original's flags, which have the original's names and defaults.

        Args:
            batch_size: 1 means that squeeze module and decoder have no batch norm, as in the original.
            out_ref: None is the value of `ms_supervision`, as in the original.

        Raises:
            ValueError: A value is not possible.
        """
        if lat_blk != "BasicLatBlk":
            raise ValueError(f"lat_blk is {lat_blk!r}; the original has one lateral block, 'BasicLatBlk'.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}; it must be a whole number of at least 1.")
        block, depth = _split_squeeze_block(squeeze_block)
        return cls(
            backbone=bb,
            multi_scale_input=_from_choice("multi_scale_input", "mul_scl_ipt", mul_scl_ipt),
            context_scales=cxt_num,
            squeeze_block=block,
            squeeze_depth=depth,
            reconstruction_block=_from_choice("reconstruction_block", "dec_blk", dec_blk),
            aspp=_from_choice("aspp", "dec_att", dec_att),
            inter_width=_from_choice("inter_width", "dec_channels_inter", dec_channels_inter),
            inward_reference=dec_ipt,
            image_tiles=dec_ipt_split,
            outward_reference=ms_supervision if out_ref is None else out_ref,
            multi_stage_supervision=ms_supervision,
            auxiliary_classification=auxiliary_classification,
            batch_norm=batch_size > 1,
            freeze_backbone=freeze_bb,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BiRefNetConfig":
        """Invert `to_dict`; `ValueError` names fields that do not exist."""
        if not isinstance(values, dict):
            raise TypeError(f"A configuration is a dict of fields, not {type(values).__name__}.")
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"A configuration has no field {_join_choices(unknown)}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self)

    def replace(self, **changes: Any) -> "BiRefNetConfig":
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def _join_choices(names: Iterable[object]) -> str:
    """Join names like `'a', 'b' or 'c'`."""
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def check_type(name: str, wanted: Any, value: Any) -> Any:
    """Return the value of a dataclass field in the field's type: a list as a tuple, an int as a float.

    Args:
        name: The field, for the message.
        wanted: Its type: a class, a union of classes, a `Literal`, a `tuple` of two numbers, or a `Mapping`.
        value: Any value, for example from a JSON or TOML file.

    Raises:
        TypeError: The type is another one. A bool is not an int here: `context_scales=True` is a mistake.
        ValueError: The value is none of the `Literal`.

    Examples:
        >>> check_type("train_size", tuple[int, int], [256, 320])
        (256, 320)
    """
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{name} is {value!r}; it can be {_join_choices(inner)}.")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(inner):
            raise TypeError(f"{name} is {value!r}; it must be two numbers.")
        return tuple(check_type(name, kind, part) for kind, part in zip(inner, value, strict=True))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a table, not {type(value).__name__} ({value!r}).")
        return {
            key: part if inner[1] is Any else check_type(f"{name}.{key}", inner[1], part) for key, part in value.items()
        }
    if wanted is float and type(value) is int:
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        kind = getattr(wanted, "__name__", str(wanted))
        raise TypeError(f"{name} must be of type {kind}, not {type(value).__name__} ({value!r}).")
    return value


def _from_choice(field: str, flag: str, value: str) -> Any:
    choices = _OFFICIAL_CHOICES[field]
    if value not in choices:
        raise ValueError(f"{flag} is {value!r}; it can be {_join_choices(choices)}.")
    return choices[value]


def _split_squeeze_block(flag: str) -> tuple[Any, int]:
    """Split the original's flag into kind and number of blocks: `"ResBlk_x4"` is four residual blocks."""
    if flag == "":
        return "none", 1
    name, _, depth = str(flag).rpartition("_x")
    if name not in _OFFICIAL_CHOICES["squeeze_block"] or not depth.isdecimal() or int(depth) < 1:
        names = [f"{name}_x1" for name in _OFFICIAL_CHOICES["squeeze_block"] if name]
        choices = _join_choices(names)
        raise ValueError(f"squeeze_block is {flag!r}; it can be '', {choices}, with any depth after the x.")
    return _OFFICIAL_CHOICES["squeeze_block"][name], int(depth)


PRESETS: dict[str, BiRefNetConfig] = {
    "nano": BiRefNetConfig(
        backbone="convnet_n",
        inter_channels=24,
        aspp_channels=32,
        image_channels=16,
        gradient_target="masked",
        auxiliary_classification=True,
        num_classes=48,
        train_size=(256, 256),
    ),
    "lite": BiRefNetConfig(),
    "large": BiRefNetConfig(backbone="swin_v1_l"),
}
