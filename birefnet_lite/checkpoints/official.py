"""The original network's names of weights, and the order of its image tiles.

Each module of this package has a small table from the names of its children to the original's. The original name of a
parameter is found by walking down the module tree. No other file knows the original's names of parts.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from birefnet_lite.checkpoints.check_weights import CheckpointError, check_fit
from birefnet_lite.checkpoints.read_weights import strip_prefixes
from birefnet_lite.network.aspp import ASPP, ASPPBranch, DeformableASPP
from birefnet_lite.network.backbone.convnets import ConvNet
from birefnet_lite.network.backbone.swin import SwinTransformer
from birefnet_lite.network.backbone.timm_models import TimmBackbone
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.decoder import Decoder
from birefnet_lite.network.deformable import DeformableConv2d
from birefnet_lite.network.refinement import ImageBranch

__all__ = ["load_official_state_dict", "new_patch_order", "official_names", "official_state_dict"]


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
    """Translate a parameter's or buffer's name within `module` into the original's."""
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
    # The original's PVTv2 has one more module around the depth-wise convolution than timm's.
    return name.replace(".dwconv.", ".dwconv.dwconv.") if table is _PVT_NAMES else name


def official_names(model: BiRefNet) -> dict[str, str]:
    """Return a dict from this package's name to the original's, for each parameter and buffer.

    Examples:
        >>> from birefnet_lite import BiRefNetConfig
        >>> names = official_names(BiRefNet(BiRefNetConfig.preset("nano")))
        >>> names["decoder.stage4.lateral.conv.weight"]
        'decoder.lateral_block4.conv.weight'
    """
    return {name: _official_name(model, name) for name in model.state_dict()}


def official_state_dict(model: BiRefNet, keep_vars: bool = False) -> dict[str, Tensor]:
    """Return the weights by the original's names, in the new patch order, so that the original can load them.

    Examples:
        >>> from birefnet_lite import BiRefNetConfig
        >>> weights = official_state_dict(BiRefNet(BiRefNetConfig.preset("nano")))
        >>> "decoder.conv_out1.0.weight" in weights
        True
    """
    names = official_names(model)
    return {names[name]: value for name, value in model.state_dict(keep_vars=keep_vars).items()}


def load_official_state_dict(model: BiRefNet, state_dict: Mapping[str, Tensor], patch_order: str = "new") -> None:
    """Load weights by the original's names into a model, all of them or none.

    Args:
        model: The model; its configuration must be that of the weights.
        state_dict: Names with tensors. Prefixes such as `module.` may precede the names.
        patch_order: `"old"` for weights from before November 2024, when the channels of the image tiles had another
            order. They are permuted, which is exact.

    Raises:
        CheckpointError: Names or shapes do not fit; the message says how many, and some of them.
        ValueError: The patch order is neither `"new"` nor `"old"`.

    Examples:
        >>> from birefnet_lite import BiRefNetConfig
        >>> model = BiRefNet(BiRefNetConfig.preset("nano"))
        >>> weights = {f"module.{name}": value for name, value in official_state_dict(model).items()}
        >>> load_official_state_dict(model, weights)
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
    check_fit({official: own[name] for official, name in wanted.items()}, given)
    weights = {name: given.get(official, own[name]) for official, name in wanted.items()}
    for name, value in weights.items():
        if name.endswith("relative_position_index"):
            weights[name] = own[name]  # depends only on the size of the window
        elif patch_order == "old" and name.endswith("inward.branch.conv_in.weight") and model.config.image_tiles:
            weights[name] = new_patch_order(value)
    model.load_state_dict(weights)


def new_patch_order(weight: Tensor) -> Tensor:
    """Permute a kernel's inputs from the old order of tiles to the new one.

    Args:
        weight: (out, columns * rows * 3, k, k), the order before November 2024.

    Returns:
        (out, 3 * rows * columns, k, k).

    Examples:
        >>> import torch
        >>> new_patch_order(torch.rand(16, 4 * 4 * 3, 3, 3)).shape
        torch.Size([16, 48, 3, 3])
    """
    out, channels, height, width = weight.shape
    grid = round((channels // 3) ** 0.5)
    old = weight.reshape(out, grid, grid, 3, height, width)  # (out, columns, rows, 3, k, k)
    return old.permute(0, 3, 2, 1, 4, 5).reshape(weight.shape)  # (out, 3 * rows * columns, k, k)
