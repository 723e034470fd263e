"""The configuration: presets, the original's flags, and what is refused."""

import json

import pytest

from birefnet_lite import BiRefNetConfig
from birefnet_lite.config import BACKBONES


def test_the_default_is_lite_and_presets_differ_in_their_backbone_only():
    lite, large = BiRefNetConfig.preset("lite"), BiRefNetConfig.preset("large")
    assert lite == BiRefNetConfig() == BiRefNetConfig.from_official(bb="swin_v1_t")
    assert large == lite.replace(backbone="swin_v1_l") == BiRefNetConfig.from_official()


def test_every_official_flag_is_taken_over():
    config = BiRefNetConfig.from_official(
        bb="pvt_v2_b2",
        squeeze_block="ASPPDeformable_x3",
        dec_att="ASPP",
        dec_blk="ResBlk",
        mul_scl_ipt="add",
        cxt_num=0,
        dec_ipt=False,
        dec_ipt_split=False,
        ms_supervision=False,
        dec_channels_inter="adap",
        auxiliary_classification=True,
        freeze_bb=True,
        batch_size=1,
    )
    assert config == BiRefNetConfig(
        backbone="pvt_v2_b2",
        squeeze_block="deformable_aspp",
        squeeze_depth=3,
        aspp="plain",
        reconstruction_block="residual",
        multi_scale_input="add",
        context_scales=0,
        inward_reference=False,
        image_tiles=False,
        multi_stage_supervision=False,
        outward_reference=False,
        inter_width="adaptive",
        auxiliary_classification=True,
        freeze_backbone=True,
        batch_norm=False,
    )


def test_round_trip_through_json():
    config = BiRefNetConfig(backbone="resnet50", train_size=(256, 320), aspp="none")
    assert BiRefNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("backbone", [*BACKBONES, "timm:resnet18"])
def test_backbones_are_known(backbone):
    assert BiRefNetConfig(backbone=backbone).backbone == backbone


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"backbone": "resnet51"}, "resnet51"),
        ({"backbone": "timm:"}, "timm:NAME"),
        ({"squeeze_block": ""}, "deformable_aspp"),
        ({"multi_scale_input": "both"}, "'none', 'add' or 'cat'"),
        ({"aspp": None}, "plain"),
        ({"context_scales": 4}, "0 to 3"),
        ({"context_scales": True}, "int"),
        ({"squeeze_depth": 0}, "at least 1"),
        ({"inter_channels": -1}, "at least 1"),
        ({"num_classes": 0}, "at least 1"),
        ({"inter_channels": 2.5}, "int"),
        ({"batch_norm": 1}, "bool"),
        ({"train_size": (100, 100)}, "multiples of 32"),
        ({"train_size": 1024}, "two numbers"),
        ({"multi_stage_supervision": False}, "outward_reference"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, word):
    with pytest.raises((ValueError, TypeError), match=word):
        BiRefNetConfig(**fields)


@pytest.mark.parametrize(
    "flags",
    [
        {"squeeze_block": "BasicDecBlk"},
        {"squeeze_block": "BasicDecBlk_x0"},
        {"squeeze_block": "Other_x1"},
        {"dec_att": "aspp"},
        {"dec_blk": "HierarAttDecBlk"},
        {"lat_blk": "Other"},
        {"mul_scl_ipt": None},
        {"dec_channels_inter": "wide"},
        {"batch_size": 0},
        {"cxt_num": 7},
        {"ms_supervision": False, "out_ref": True},
    ],
)
def test_illegal_official_flags_are_refused(flags):
    with pytest.raises(ValueError, match=str(next(iter(flags.values()))) if "out_ref" not in flags else "outward"):
        BiRefNetConfig.from_official(**flags)


def test_unknown_fields_and_presets_are_named():
    with pytest.raises(ValueError, match="colour"):
        BiRefNetConfig.from_dict({"colour": "blue"})
    with pytest.raises(ValueError, match="'lite'"):
        BiRefNetConfig.preset("tiny")
