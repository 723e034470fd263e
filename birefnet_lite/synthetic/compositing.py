"""Composite objects over backgrounds, with distractors, defocus, camouflage, shadows and a common colour of light."""

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.camera import random_rows
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.textures import blur


def composite(
    rng: RandomNumbers, background: Tensor, objects: Tensor, masks: Tensor, camouflage: list[bool], hardness: float
) -> Tensor:
    """Composite objects over backgrounds.

    Args:
        rng: Random numbers of the n scenes.
        background: (n, 3, H, W); changed in place.
        objects: Colours of the objects, (n, 3, H, W).
        masks: Alpha mattes, (n, H, W).
        camouflage: For each scene, whether the object takes on the look of its background.
        hardness: 0 to 1; more distractors and less defocus at 1.

    Returns:
        The scenes, (n, 3, H, W).
    """
    height, width = background.shape[-2:]
    short = min(height, width)
    background = add_distractors(rng, background, objects, masks, hardness)
    near = random_rows(rng, 0.65)  # close to the camera, so that the background is out of focus
    if near:
        defocus = rng.uniform(0, 1) ** 1.5 * rng.uniform(0.01, 0.06 - 0.03 * hardness) * short
        background[near] = blur(background[near], defocus[near][:, None])
    if any(camouflage):
        hidden = torch.tensor(camouflage, device=background.device).view(-1, 1, 1, 1).float()
        shift = (rng.integer(height // 5, height // 2), rng.integer(width // 5, width // 2))
        tone = objects.mean(1, keepdim=True)
        inside = masks[:, None]
        tone = tone / ((tone * inside).sum((2, 3), keepdim=True) / (inside.sum((2, 3), keepdim=True) + 1e-6) + 1e-3)
        likeness = rng.uniform(0.5, 0.85)[:, None] * hidden
        objects = torch.lerp(objects, background.roll(shift, (2, 3)) * tone.clamp(0.4, 1.6), likeness)
    background = background * (1 - cast_shadow(rng, masks))[:, None]
    tint = background.mean((2, 3), keepdim=True)
    tint = tint / (tint.mean(1, keepdim=True) + 1e-3)
    objects = objects * (1 + (tint - 1) * rng.uniform(0, 0.35)[:, None])
    return torch.lerp(background, objects, masks[:, None])


def warp(layer: Tensor, matrix: Tensor) -> Tensor:
    """Transform layers (n, C, H, W) by affine matrices (n, 2, 3); 0 outside."""
    grid = F.affine_grid(matrix, list(layer.shape), align_corners=False)
    return F.grid_sample(layer, grid, align_corners=False)


def add_distractors(rng: RandomNumbers, background: Tensor, objects: Tensor, masks: Tensor, hardness: float) -> Tensor:
    """Paste smaller, semi-transparent copies of other scenes' objects into the background."""
    for k in range(2):
        rows = random_rows(rng, (0.08 + 0.42 * hardness) / (1 + k))
        if not rows:
            continue
        others = [(i + 1 + k) % rng.n for i in rows]
        layer = torch.cat((objects[others], masks[others, None]), 1)
        scale = rng.uniform(0.18, 0.42)
        zero = torch.zeros_like(scale)
        x, y = rng.sign() * rng.uniform(0.45, 1.05), rng.uniform(-0.7, 0.8)
        side = rng.sign()
        matrix = torch.cat((side / scale, zero, -x * side / scale, zero, 1 / scale, -y / scale), 1)[rows].view(-1, 2, 3)
        small = warp(blur(layer, 1.0, 1), matrix)
        cover = small[:, 3:] * rng.uniform(0.5, 1)[rows][:, None]
        background[rows] = torch.lerp(background[rows], small[:, :3], cover)
    return background


def cast_shadow(rng: RandomNumbers, masks: Tensor) -> Tensor:
    """Strength of the shadows of masks (n, H, W) on the floor or on a wall behind: (n, H, W), 0 none to 1 black."""
    height, width = masks.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=masks.device)
    foot = torch.where(masks.amax(2) > 0.5, rows, -1.0).amax(1).view(-1, 1, 1)  # the lowest row of the mask
    lying = rng.coin(0.5)  # on the floor; else on a wall close behind
    flat = torch.where(lying > 0, rng.uniform(2.0, 5.0), rng.uniform(0.95, 1.05))
    lean = torch.where(lying > 0, rng.uniform(-2.5, 2.5), rng.uniform(-0.05, 0.05))
    down, sideways = rng.uniform(-0.12, 0.12), (1 - lying) * rng.uniform(-0.15, 0.15)
    one = torch.ones_like(foot)
    # The shadow at (x, y) is sampled from the mask at (x + lean (y - foot), foot + flat (y - foot)).
    offset = torch.where(lying > 0, foot - flat * foot, -down)
    matrix = torch.cat((one, lean, -lean * foot * lying - sideways, 0 * one, flat, offset), 1).view(-1, 2, 3)
    shadow = warp(masks[:, None], matrix)
    shadow = blur(shadow, (rng.uniform(0.01, 0.08) * min(height, width))[:, None])
    touching = rng.coin(0.5) * rng.uniform(0, 0.4)  # not always, or the network would learn to look for dark halos
    contact = blur(masks[:, None], 0.04 * min(height, width)) * touching[:, None]
    return (shadow * (rng.coin(0.65) * rng.uniform(0.15, 0.7))[:, None] + contact).clamp(0, 0.85)[:, 0]
