"""The original network's names and layouts. They live here and nowhere else.

Each of our modules has a small table from the names of its children to the original's; a parameter's original name
follows by walking the module tree.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.aspp import ASPP, ASPPBranch, DeformableASPP
from birefnet_lite.backbone.convnets import ConvNet
from birefnet_lite.backbone.swin import SwinTransformer
from birefnet_lite.backbone.timm_models import DINOV3, PVTV2, TimmBackbone
from birefnet_lite.blocks import BasicBlock
from birefnet_lite.config import BACKBONES, BiRefNetConfig
from birefnet_lite.decoder import Decoder
from birefnet_lite.deformable import DeformableConv2d
from birefnet_lite.model import BiRefNet
from birefnet_lite.refinement import ImageBranch

__all__ = [
    "CheckpointError",
    "guess_config",
    "load_official_state_dict",
    "official_names",
    "official_state_dict",
    "strip_prefixes",
]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which, and why."""


_PYRAMID = {"pooled.conv": "global_avg_pool.1", "pooled.norm": "global_avg_pool.2", "project": "conv1", "norm": "bn1"}

_NAMES: dict[type[nn.Module], dict[str, str]] = {
    BiRefNet: {
        "encoder.backbone": "bb",
        "class_head": "cls_head.0",
        "squeeze": "squeeze_module",
        **{f"neck.projections.{i}": f"decoder.pyramid_neck_x{i + 1}.conv" for i in range(4)},
    },
    SwinTransformer: {f"norms.{i}": f"norm{i}" for i in range(4)},
    ConvNet: {f"stages.{i}": f"conv{i + 1}" for i in range(4)},
    Decoder: {
        **{f"stage{i}.inward.branch": f"ipt_blk{i + 1}" for i in (4, 3, 2, 1)},
        **{f"stage{i}.reconstruction": f"decoder_block{i}" for i in (4, 3, 2, 1)},
        **{f"stage{i}.side_head": f"conv_ms_spvn_{i}" for i in (4, 3, 2)},
        **{f"stage{i}.outward.conv": f"gdt_convs_{i}.0" for i in (4, 3, 2)},
        **{f"stage{i}.outward.norm": f"gdt_convs_{i}.1" for i in (4, 3, 2)},
        **{f"stage{i}.outward.gradient_head": f"gdt_convs_pred_{i}.0" for i in (4, 3, 2)},
        **{f"stage{i}.outward.attention_head": f"gdt_convs_attn_{i}.0" for i in (4, 3, 2)},
        **{f"stage{i}.lateral": f"lateral_block{i}" for i in (4, 3, 2)},
        "image_branch.branch": "ipt_blk1",
        "head": "conv_out1.0",
    },
    ImageBranch: {"conv_in": "conv1"},
    BasicBlock: {"norm_in": "bn_in", "aspp": "dec_att", "norm_out": "bn_out", "skip": "conv_resi"},
    ASPP: {**{f"branches.{i}": f"aspp{i + 1}" for i in range(4)}, **_PYRAMID},
    DeformableASPP: {
        "branches.0": "aspp1",
        **{f"branches.{i + 1}": f"aspp_deforms.{i}" for i in range(3)},
        **_PYRAMID,
    },
    ASPPBranch: {"conv": "atrous_conv", "norm": "bn"},
    DeformableConv2d: {"modulation_conv": "modulator_conv", "conv": "regular_conv"},
}

# timm's names for PVTv2 and DINOv3 inside `TimmBackbone`.
_PVT_NAMES = {
    "net.patch_embed": "patch_embed1",
    **{f"net.stages_{i}.downsample": f"patch_embed{i + 1}" for i in (1, 2, 3)},
    **{f"net.stages_{i}.blocks": f"block{i + 1}" for i in range(4)},
    **{f"net.stages_{i}.norm": f"norm{i + 1}" for i in range(4)},
}


def _table(module: nn.Module) -> dict[str, str]:
    if isinstance(module, TimmBackbone):
        is_pvt = hasattr(module.net, "stages_0") and hasattr(module.net, "patch_embed")
        return _PVT_NAMES if is_pvt else {"net": ""}
    return next((table for kind, table in _NAMES.items() if isinstance(module, kind)), {})


def _official_name(module: nn.Module, name: str) -> str:
    """The original's name of `module`'s parameter or buffer `name`."""
    parts = name.split(".")
    table = _table(module)
    for length in range(len(parts), 0, -1):
        head = ".".join(parts[:length])
        if head in table:
            break
    else:
        length, head = 1, parts[0]
    rest = ".".join(parts[length:])
    renamed = table.get(head, head)
    if rest:
        rest = _official_name(module.get_submodule(head), rest)
    name = ".".join(part for part in (renamed, rest) if part)
    # A PVTv2 block wraps its depth-wise convolution once more than timm's.
    return name.replace(".dwconv.", ".dwconv.dwconv.") if table is _PVT_NAMES else name


def official_names(model: BiRefNet) -> dict[str, str]:
    """Our name to the original's, for each parameter and buffer."""
    return {name: _official_name(model, name) for name in model.state_dict()}


def strip_prefixes(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Takes off any mix of leading `module.` and `_orig_mod.` that parallel and compiled training leave behind."""
    stripped = {}
    for key, value in state_dict.items():
        name = key
        while name.startswith(("module.", "_orig_mod.")):
            name = name.split(".", 1)[1]
        if name in stripped:
            raise CheckpointError(f"Two tensors are called {name!r} once prefixes are taken off; one is {key!r}.")
        stripped[name] = value
    return stripped


def official_state_dict(model: BiRefNet, keep_vars: bool = False) -> dict[str, Tensor]:
    """The weights by the original's names, in the new patch order: what the original loads."""
    names = official_names(model)
    return {names[name]: value for name, value in model.state_dict(keep_vars=keep_vars).items()}


def load_official_state_dict(model: BiRefNet, state_dict: Mapping[str, Tensor], patch_order: str = "new") -> None:
    """Takes weights by the original's names, all of them or none.

    `patch_order="old"` is for weights from before November 2024, when the channels of the image tiles had another
    order; they are permuted, exactly. Raises `CheckpointError` with the missing, unexpected and misshapen names.
    """
    if patch_order not in ("new", "old"):
        raise ValueError(f"patch_order is {patch_order!r}; it can be 'new' or 'old'.")
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state_dict.items()
    ):
        raise CheckpointError("A state dict maps names to tensors; this one holds something else.")
    given = strip_prefixes(state_dict)
    own = model.state_dict()
    wanted = {official: name for name, official in official_names(model).items()}
    _check_fit({official: own[name].shape for official, name in wanted.items()}, given)
    weights = {wanted[official]: value for official, value in given.items()}
    for name, value in weights.items():
        if name.endswith("relative_position_index"):
            weights[name] = own[name]  # a function of the window's size alone
        elif patch_order == "old" and name.endswith("inward.branch.conv_in.weight") and model.config.image_tiles:
            weights[name] = new_patch_order(value)
    model.load_state_dict(weights)


def new_patch_order(weight: Tensor) -> Tensor:
    """(out, columns * rows * 3, k, k), the order before November 2024, to (out, 3 * rows * columns, k, k)."""
    out, channels, height, width = weight.shape
    grid = round((channels // 3) ** 0.5)
    old = weight.reshape(out, grid, grid, 3, height, width)  # (out, columns, rows, 3, k, k)
    return old.permute(0, 3, 2, 1, 4, 5).reshape(weight.shape)  # (out, 3 * rows * columns, k, k)


def _check_fit(wanted: Mapping[str, torch.Size], given: Mapping[str, Tensor]) -> None:
    missing = [f"{key} {tuple(wanted[key])}" for key in wanted if key not in given]
    unexpected = [f"{key} {tuple(given[key].shape)}" for key in given if key not in wanted]
    misshapen = [
        f"{key} is {tuple(given[key].shape)}, wanted {tuple(wanted[key])}"
        for key in wanted
        if key in given and given[key].shape != wanted[key]
    ]
    problems = [
        f"{len(entries)} {what}: {'; '.join(entries)}"
        for what, entries in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if entries
    ]
    if problems:
        raise CheckpointError("The weights do not fit this configuration.\n" + "\n".join(problems))


def guess_config(state_dict: Mapping[str, Tensor]) -> BiRefNetConfig:
    """The configuration of weights by the original's names, read from which names there are and their shapes.

    Raises `CheckpointError` where they are not those of a BiRefNet. `multi_scale_input="add"` leaves no trace; it is
    taken for `"none"`.
    """
    backbone = _guess_backbone(state_dict)
    block = "decoder.decoder_block4"
    if f"{block}.conv_in.weight" not in state_dict or backbone is None:
        raise CheckpointError("These are not the weights of a BiRefNet: it has a known backbone and a decoder_block4.")

    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in state_dict)

    def width(key: str, axis: int) -> int:
        return state_dict[key].shape[axis] if key in state_dict else 0

    flags: dict[str, Any] = {"bb": backbone, "batch_size": 8 if has(f"{block}.bn_in.") else 1}
    flags["dec_blk"] = "ResBlk" if has(f"{block}.conv_resi.") else "BasicDecBlk"
    flags["dec_channels_inter"] = "fixed" if width(f"{block}.conv_in.weight", 0) == 64 else "adap"
    flags["ms_supervision"] = has("decoder.conv_ms_spvn_4.")
    flags["out_ref"] = has("decoder.gdt_convs_4.")
    flags["dec_ipt"] = has("decoder.ipt_blk5.")
    flags["dec_ipt_split"] = width("decoder.ipt_blk5.conv1.weight", 1) != 3
    flags["auxiliary_classification"] = has("cls_head.")
    squeeze = "squeeze_module.0"
    if not has(squeeze):
        flags["squeeze_block"] = ""
    else:
        depth = 1 + max(int(key.split(".")[1]) for key in state_dict if key.startswith("squeeze_module."))
        if has(f"{squeeze}.conv_in."):
            kind = "ResBlk" if has(f"{squeeze}.conv_resi.") else "BasicDecBlk"
        else:
            kind = "ASPPDeformable" if has(f"{squeeze}.aspp_deforms.") else "ASPP"
        flags["squeeze_block"] = f"{kind}_x{depth}"
    deformable, plain = has(f"{block}.dec_att.aspp_deforms."), has(f"{block}.dec_att.aspp4.")
    flags["dec_att"] = "ASPPDeformable" if deformable else "ASPP" if plain else ""
    # The encoder's own widths show in the image branches or, without them, in the lateral blocks.
    lateral = width("decoder.pyramid_neck_x3.conv.weight", 1) or width("decoder.lateral_block4.conv.weight", 1)
    flags["mul_scl_ipt"] = "cat" if lateral == 2 * BACKBONES[backbone][2] else ""
    flags["cxt_num"] = _guess_context(state_dict, backbone, 2 if flags["mul_scl_ipt"] else 1)
    config = BiRefNetConfig.from_official(**flags)
    classes = width("cls_head.0.weight", 0)
    return config.replace(num_classes=classes) if classes else config


def _guess_context(state_dict: Mapping[str, Tensor], backbone: str, times: int) -> int:
    """How many finer maps the first layer behind the encoder takes."""
    firsts = ("squeeze_module.0.conv_in.weight", "squeeze_module.0.global_avg_pool.1.weight")
    first = next((key for key in firsts if key in state_dict), None)
    if first is not None:
        channels = state_dict[first].shape[1]
    elif "decoder.pyramid_neck_x4.conv.weight" in state_dict:
        channels = state_dict["decoder.pyramid_neck_x4.conv.weight"].shape[1]
    else:
        channels = state_dict["decoder.decoder_block4.conv_in.weight"].shape[1]
        if "decoder.ipt_blk5.conv_out.weight" in state_dict:
            channels -= state_dict["decoder.ipt_blk5.conv_out.weight"].shape[0]
    widths = [times * width for width in BACKBONES[backbone]]
    for scales in range(4):
        if channels == sum(widths[3 - scales :]):
            return scales
    raise CheckpointError(f"The first layer behind the encoder takes {channels} channels; {backbone} has {widths}.")


def _guess_backbone(state_dict: Mapping[str, Tensor]) -> str | None:
    def width(key: str) -> int:
        return state_dict[key].shape[0] if key in state_dict and state_dict[key].ndim else 0

    def depth(prefix: str) -> int:
        blocks = {key[len(prefix) :].split(".")[0] for key in state_dict if key.startswith(prefix)}
        return len(blocks)

    swin = {(96, 6): "swin_v1_t", (96, 18): "swin_v1_s", (128, 18): "swin_v1_b", (192, 18): "swin_v1_l"}
    pvt = dict(zip(((32, 2), (64, 2), (64, 6), (64, 40)), PVTV2, strict=True))
    gated = "bb.model.blocks.0.mlp.fc1_g.weight" in state_dict
    dino = {(384, False): "dino_v3_s", (384, True): "dino_v3_s_plus"} | {
        (BACKBONES[name][0], gated): name for name in DINOV3 if not name.startswith("dino_v3_s")
    }
    convnet = {3: "vgg16bn" if "bb.conv1.1.weight" in state_dict else "vgg16", 7: "resnet50"}
    first = state_dict.get("bb.conv1.0.weight")
    return (
        swin.get((width("bb.patch_embed.proj.weight"), depth("bb.layers.2.blocks.")))
        or pvt.get((width("bb.patch_embed1.proj.weight"), depth("bb.block3.")))
        or dino.get((width("bb.model.patch_embed.proj.weight"), gated))
        or (convnet.get(first.shape[-1]) if first is not None and first.ndim == 4 else None)
    )
