"""Objects before their grounds: what stands behind, what is out of focus, camouflage, shadow, common light."""

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_lite.synthetic.camera import some
from birefnet_lite.synthetic.draws import Draws
from birefnet_lite.synthetic.textures import soften


def arrange(
    draws: Draws, ground: Tensor, objects: Tensor, masks: Tensor, camouflage: list[bool], hardness: float
) -> Tensor:
    """Put the objects before their grounds: distractors, depth of field, shadow, common light; (n, 3, H, W)."""
    height, width = ground.shape[-2:]
    short = min(height, width)
    ground = scatter_distractors(draws, ground, objects, masks, hardness)
    near = some(draws, 0.65)  # near enough that what is behind lies out of focus
    if near:
        blur = draws.uniform(0, 1) ** 1.5 * draws.uniform(0.01, 0.06 - 0.03 * hardness) * short
        ground[near] = soften(ground[near], blur[near][:, None])
    if any(camouflage):
        hidden = torch.tensor(camouflage, device=ground.device).view(-1, 1, 1, 1).float()
        shift = (draws.integer(height // 5, height // 2), draws.integer(width // 5, width // 2))
        tone = objects.mean(1, keepdim=True)
        inside = masks[:, None]
        tone = tone / ((tone * inside).sum((2, 3), keepdim=True) / (inside.sum((2, 3), keepdim=True) + 1e-6) + 1e-3)
        likeness = draws.uniform(0.5, 0.85)[:, None] * hidden
        objects = torch.lerp(objects, ground.roll(shift, (2, 3)) * tone.clamp(0.4, 1.6), likeness)
    ground = ground * (1 - cast_shadow(draws, masks))[:, None]
    tint = ground.mean((2, 3), keepdim=True)
    tint = tint / (tint.mean(1, keepdim=True) + 1e-3)
    objects = objects * (1 + (tint - 1) * draws.uniform(0, 0.35)[:, None])
    return torch.lerp(ground, objects, masks[:, None])


def warp(layer: Tensor, matrix: Tensor) -> Tensor:
    """Layers (n, C, H, W) seen through affine maps (n, 2, 3); empty outside."""
    grid = F.affine_grid(matrix, list(layer.shape), align_corners=False)
    return F.grid_sample(layer, grid, align_corners=False)


def scatter_distractors(draws: Draws, ground: Tensor, objects: Tensor, masks: Tensor, hardness: float) -> Tensor:
    """Smaller, paler or cut copies of the neighbours' objects behind the main one."""
    for k in range(2):
        rows = some(draws, (0.08 + 0.42 * hardness) / (1 + k))
        if not rows:
            continue
        others = [(i + 1 + k) % draws.n for i in rows]
        layer = torch.cat((objects[others], masks[others, None]), 1)
        scale = draws.uniform(0.18, 0.42)
        zero = torch.zeros_like(scale)
        x, y = draws.sign() * draws.uniform(0.45, 1.05), draws.uniform(-0.7, 0.8)
        side = draws.sign()
        matrix = torch.cat((side / scale, zero, -x * side / scale, zero, 1 / scale, -y / scale), 1)[rows].view(-1, 2, 3)
        small = warp(soften(layer, 1.0, 1), matrix)
        cover = small[:, 3:] * draws.uniform(0.5, 1)[rows][:, None]
        ground[rows] = torch.lerp(ground[rows], small[:, :3], cover)
    return ground


def cast_shadow(draws: Draws, masks: Tensor) -> Tensor:
    """(n, H, W), 0 to 1: how much light the objects take from what is behind or below them."""
    height, width = masks.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=masks.device)
    foot = torch.where(masks.amax(2) > 0.5, rows, -1.0).amax(1).view(-1, 1, 1)  # lowest row that is covered
    lying = draws.coin(0.5)  # else the shadow falls on a wall close behind
    flat = torch.where(lying > 0, draws.uniform(2.0, 5.0), draws.uniform(0.95, 1.05))
    lean = torch.where(lying > 0, draws.uniform(-2.5, 2.5), draws.uniform(-0.05, 0.05))
    down, sideways = draws.uniform(-0.12, 0.12), (1 - lying) * draws.uniform(-0.15, 0.15)
    one = torch.ones_like(foot)
    # A point (x, y) of the shadow looks at the object at (x + lean (y - foot), foot + flat (y - foot)).
    offset = torch.where(lying > 0, foot - flat * foot, -down)
    matrix = torch.cat((one, lean, -lean * foot * lying - sideways, 0 * one, flat, offset), 1).view(-1, 2, 3)
    shadow = warp(masks[:, None], matrix)
    shadow = soften(shadow, (draws.uniform(0.01, 0.08) * min(height, width))[:, None])
    touching = draws.coin(0.5) * draws.uniform(0, 0.4)  # not always, or a dark halo would be all that is learnt
    contact = soften(masks[:, None], 0.04 * min(height, width)) * touching[:, None]
    return (shadow * (draws.coin(0.65) * draws.uniform(0.15, 0.7))[:, None] + contact).clamp(0, 0.85)[:, 0]
