"""Infers the configuration of a network from the names and shapes of its weights, by the original's names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from birefnet_lite.checkpoints.check_weights import CheckpointError
from birefnet_lite.config import BACKBONES, BiRefNetConfig
from birefnet_lite.network.backbone.timm_models import DINOV3, PVTV2

__all__ = ["infer_config"]


def infer_config(state_dict: Mapping[str, Tensor]) -> BiRefNetConfig:
    """Infer the configuration of weights from their names, which are the original's, and their shapes.

    `multi_scale_input="add"` leaves no trace in the weights and is taken for `"none"`.

    Raises:
        CheckpointError: The weights are not those of a BiRefNet.

    Examples:
        >>> from birefnet_lite import BiRefNet, BiRefNetConfig
        >>> from birefnet_lite.checkpoints import official_state_dict
        >>> infer_config(official_state_dict(BiRefNet(BiRefNetConfig(backbone="pvt_v2_b0")))).backbone
        'pvt_v2_b0'
    """
    backbone = _infer_backbone(state_dict)
    block = "decoder.decoder_block4"
    if f"{block}.conv_in.weight" not in state_dict or backbone is None:
        raise CheckpointError(
            "it holds no BiRefNet: a known backbone under 'bb.' or 'decoder.decoder_block4' is missing."
        )

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
    # The lateral blocks, or the neck, show whether the encoder's maps are twice as wide as the backbone's.
    lateral = width("decoder.pyramid_neck_x3.conv.weight", 1) or width("decoder.lateral_block4.conv.weight", 1)
    flags["mul_scl_ipt"] = "cat" if lateral == 2 * BACKBONES[backbone][2] else ""
    flags["cxt_num"] = _infer_context(state_dict, backbone, 2 if flags["mul_scl_ipt"] else 1)
    config = BiRefNetConfig.from_official(**flags)
    classes = width("cls_head.0.weight", 0)
    return config.replace(num_classes=classes) if classes else config


def _infer_context(state_dict: Mapping[str, Tensor], backbone: str, times: int) -> int:
    """Infer how many finer maps the first layer after the encoder takes."""
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
    raise CheckpointError(f"the first layer after the encoder takes {channels} channels; {backbone} has {widths}.")


def _infer_backbone(state_dict: Mapping[str, Tensor]) -> str | None:
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
