"""Checks of the exercises: each takes the learner's function or class and says whether it is right, or what is wrong.

A check returns a `Result`: `passed` is True, False, or None while the exercise is unsolved; `message` says why.

Examples:
    >>> from birefnet_lite.course import checks
    >>> checks.lateral_conv(lambda x, weight, bias: x).passed
    False
"""

from birefnet_lite.course.checks.backbone import fuse_context, fuse_scales, window_partition
from birefnet_lite.course.checks.blocks import reconstruction_block
from birefnet_lite.course.checks.capstone import my_block, my_decoder, my_encoder, my_outward, my_stage, my_tiles
from birefnet_lite.course.checks.chain_field import chain_field
from birefnet_lite.course.checks.composite import composite
from birefnet_lite.course.checks.culprits import culprits
from birefnet_lite.course.checks.damages import fool_hce
from birefnet_lite.course.checks.decoder import decode, step_up
from birefnet_lite.course.checks.deformable import bilinear_sample, deform_conv
from birefnet_lite.course.checks.enlarge import enlarge_mask
from birefnet_lite.course.checks.f_measure import f_measure
from birefnet_lite.course.checks.gradient_targets import gradient_target, masked_gradient_target
from birefnet_lite.course.checks.integrated_gradients import integrated_gradients
from birefnet_lite.course.checks.iou_loss import iou_loss
from birefnet_lite.course.checks.laplacian import laplacian
from birefnet_lite.course.checks.lateral_blocks import lateral_apart, lateral_conv, resize_matrix
from birefnet_lite.course.checks.losses import gradient_loss, supervise
from birefnet_lite.course.checks.network_input import to_network
from birefnet_lite.course.checks.open_tasks import own_cut, own_target, window_loss
from birefnet_lite.course.checks.refinement import image_to_tiles, inward_reference, outward_reference
from birefnet_lite.course.checks.result import Result
from birefnet_lite.course.checks.skeleton import encoder_shapes, wire
from birefnet_lite.course.checks.speed import compose_convolutions, convolve_first, fold_batch_norm
from birefnet_lite.course.checks.squares import worst_square
from birefnet_lite.course.checks.squeeze import deformable_aspp, squeeze_module
from birefnet_lite.course.checks.stages import reconstruct, run_stage, weigh
from birefnet_lite.course.checks.tail import lean_tail
from birefnet_lite.course.checks.training_step import train_step
from birefnet_lite.course.checks.without_part import without_part

__all__ = ["Result", "encoder_shapes", "fuse_context", "fuse_scales", "window_partition", "wire"]
__all__ += ["bilinear_sample", "deform_conv", "deformable_aspp", "squeeze_module"]
__all__ += ["enlarge_mask", "lateral_apart", "lateral_conv", "resize_matrix"]
__all__ += ["decode", "reconstruct", "reconstruction_block", "run_stage", "step_up", "weigh"]
__all__ += ["composite", "f_measure", "fool_hce", "to_network"]
__all__ += ["gradient_loss", "gradient_target", "laplacian", "masked_gradient_target", "own_target"]
__all__ += ["culprits", "my_block", "my_decoder", "my_encoder", "my_outward", "my_stage", "my_tiles"]
__all__ += ["image_to_tiles", "inward_reference", "outward_reference", "own_cut"]
__all__ += ["chain_field", "integrated_gradients", "without_part", "worst_square"]
__all__ += ["iou_loss", "supervise", "train_step", "window_loss"]
__all__ += ["compose_convolutions", "convolve_first", "fold_batch_norm", "lean_tail"]
