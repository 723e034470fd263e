"""Tiles, Laplacian and gradient targets against other libraries and brute force."""

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import correlate
from torch import nn

from birefnet_lite.checkpoints.official import new_patch_order
from birefnet_lite.network.refinement import (
    ImageBranch,
    InwardReference,
    OutwardReference,
    gradient_target,
    image_to_tiles,
    laplacian,
    masked_gradient_target,
)


def test_a_tile_is_a_crop_and_its_channel_is_known():
    image, grid = torch.randn(2, 3, 12, 8), 4
    tiles = image_to_tiles(image, grid)
    assert tiles.shape == (2, 48, 3, 2)
    for colour in range(3):
        for row in range(grid):
            for column in range(grid):
                crop = image[:, colour, 3 * row : 3 * row + 3, 2 * column : 2 * column + 2]
                assert torch.equal(tiles[:, (colour * grid + row) * grid + column], crop)


def test_tiles_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match="5 x 8"):
        image_to_tiles(torch.zeros(1, 3, 5, 8), 4)


def old_tiles(image, grid):
    """The order before November 2024: tile column slowest, then tile row, then colour."""
    height, width = image.shape[-2] // grid, image.shape[-1] // grid
    columns = range(grid)
    return torch.cat(
        [
            image[..., row * height : (row + 1) * height, column * width : (column + 1) * width]
            for column in columns
            for row in range(grid)
        ],
        dim=1,
    )


@pytest.mark.parametrize("grid", [1, 2, 4, 8])
def test_old_weights_on_old_tiles_are_new_weights_on_new_tiles(grid):
    image = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    weight = torch.randn(5, 3 * grid * grid, 3, 3, dtype=torch.float64)
    expected = F.conv2d(old_tiles(image, grid), weight, padding=1)
    ours = F.conv2d(image_to_tiles(image, grid), new_patch_order(weight), padding=1)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (1, 3, 33, 47), (1, 1, 3, 5)])
def test_laplacian_is_the_mean_of_24_neighbours_minus_the_centre_halved(shape):
    image = torch.randn(shape, dtype=torch.float64)
    kernel = np.full((5, 5), 1 / 48)
    kernel[2, 2] = -1 / 2
    wanted = [[correlate(channel, kernel, mode="mirror") for channel in one] for one in image.numpy()]
    torch.testing.assert_close(laplacian(image), torch.from_numpy(np.array(wanted)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("target", [gradient_target, masked_gradient_target])
def test_gradient_targets_compile_in_one_graph(target):
    image, side = torch.randn(2, 3, 64, 96), torch.randn(2, 1, 4, 6)
    compiled = torch.compile(target, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image, side), target(image, side))


def test_original_target_reaches_the_side_output():
    image, side = torch.randn(1, 3, 32, 32), torch.randn(1, 1, 4, 4, requires_grad=True)
    target = gradient_target(image, side)
    edges = kornia.filters.laplacian(image.mean(1, keepdim=True), 5)
    up = F.interpolate(side, size=(32, 32), mode="bilinear", align_corners=True)
    torch.testing.assert_close(target, edges * up)
    assert target.requires_grad


@pytest.mark.parametrize(("height", "radius"), [(64, 1), (256, 2), (320, 2)])
def test_masked_target_step_by_step(height, radius):
    image, side = torch.randn(2, 3, height, 96), 3 * torch.randn(2, 1, 8, 12, requires_grad=True)
    target = masked_gradient_target(image, side)
    edges = kornia.filters.laplacian(image.mean(1, keepdim=True), 5).abs()
    scale = torch.stack([torch.quantile(one, 0.99) for one in edges])
    edges = (edges / scale[:, None, None, None]).clamp(0, 1)
    up = F.interpolate(side, size=(height, 96), mode="bilinear", align_corners=True).sigmoid()
    square = torch.ones(2 * radius + 1, 2 * radius + 1)
    dilated = kornia.morphology.dilation((up > 0.5).float().detach(), square)
    torch.testing.assert_close(target, edges * dilated)
    assert not target.requires_grad
    assert 0 <= target.min() <= target.max() <= 1


def test_masked_target_of_a_flat_image_is_zero():
    target = masked_gradient_target(torch.full((1, 3, 64, 64), 0.3), torch.ones(1, 1, 4, 4))
    assert target.abs().max() < 1e-3


def test_an_image_branch_is_one_linear_filter():
    branch = ImageBranch(3, 4).double()
    nn.init.zeros_(branch.conv_in.bias)
    nn.init.zeros_(branch.conv_out.bias)
    a, b = torch.randn(2, 1, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(branch(2 * a - b), 2 * branch(a) - branch(b))
    impulse = torch.zeros(1, 3, 15, 15, dtype=torch.float64)
    impulse[..., 7, 7] = 1
    reach = branch(impulse)[0].abs().sum(0).nonzero()
    assert reach.min() == 5
    assert reach.max() == 9


def test_resized_inward_reference_loses_what_tiles_keep():
    """Detail finer than the stage is visible to tiles alone."""
    image = torch.zeros(1, 3, 16, 16)
    dotted = image.clone()
    dotted[..., 2, 2] = 1
    for tiles in (True, False):
        reference = InwardReference(8, 4, tiles=tiles)
        changed = not torch.equal(reference(image), reference(dotted))
        assert changed == tiles


def test_attention_is_a_weight():
    attention, gradient = OutwardReference(6).eval()(torch.randn(2, 6, 5, 7))
    assert attention.shape == gradient.shape == (2, 1, 5, 7)
    assert 0 < attention.min() <= attention.max() < 1
