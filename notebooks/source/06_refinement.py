# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Inward and outward reference
#
# *Bilateral reference* gave the network its name. **Inward**: each decoder stage looks at the photo itself, with every
# pixel of it. **Outward**: each stage guesses where the edges are, and multiplies what it found by an attention map
# that comes from the same guess.
#
# **After this notebook you can**
# - cut an image into tiles and stack them on the channels, in the one order that trained weights understand,
# - say which weights are misread without any error, and put them right,
# - build both references, and get the same numbers as the package.
#
# **Time:** 60 minutes, 40 of them for the exercises. **You need:** notebooks 01 and 05.

# %% [markdown]
# ## 1 · What stage 4 does not see
#
# Stage 4 works on a map 32 times smaller than the photo. To show it the photo, one could resize the photo to the size
# of that map.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch

from birefnet_lite.analysis import prepare
from birefnet_lite.course import course_model
from birefnet_lite.network.resize import resize
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 256)
photo, _, _ = load_photo("astronaut")
prepared = prepare(model, photo, size=SIZE)
image = prepared.tensor  # (1, 3, 256, 256)
small = resize(image, (8, 8))
print(course.notice)
print(f"numbers in the photo: {image.numel():,}; after resizing: {small.numel():,}")

# %% [markdown]
# This is the failure that the *inward reference* is made against: 64 coloured squares remain of the person.

# %%
from birefnet_lite.course import side_by_side


def pixels(x):
    """(1, 3, H, W) in 0 to 1 as an image (H, W, 3) of whole numbers."""
    return x[0].permute(1, 2, 0).mul(255).byte().numpy()


unit = torch.from_numpy(prepared.seen.copy()).permute(2, 0, 1)[None] / 255  # (1, 3, H, W) in 0 to 1
sizes = {"resized to stage 2": 32, "to stage 3": 16, "to stage 4": 8}
side_by_side(
    {"photo": prepared.seen} | {name: pixels(resize(unit, (n, n))) for name, n in sizes.items()},
    alt="An astronaut; the same photo in 32 by 32, in 16 by 16 and in 8 by 8 coloured squares. In the last one nothing "
    "can be recognised.",
    width=7,
)

# %% [markdown]
# At stage 2 one still sees a person, at stage 4 nobody. At the end of this notebook the same photo comes back out of
# stage 4 without a pixel missing; and you will have measured whether the mask is better for it. Write down now what you
# expect: how much IoU does the network lose if its stages see the squares instead?
#
# You are at two places of the map: the tiles to the right of each stage, and the attention between a stage and the
# next one.

# %%
from birefnet_lite.course import network_map

network_map("06")

# %% [markdown]
# ## 2 · Inward: the photo in tiles
#
# The other way: cut the photo into 32 × 32 **tiles**, each as large as the map, and stack them on the channels. No
# pixel is lost, none is averaged, and the size is right.
#
# ### A toy image, by hand
#
# Sixteen pixels, numbered row by row. With two tiles along each side, the first tile holds 0, 1, 4 and 5; the second,
# to its right, 2, 3, 6 and 7; then the lower ones, 8, 9, 12, 13 and 10, 11, 14, 15.

# %% tags=["NBVAL_CHECK_OUTPUT"]
toy = torch.arange(16.0).reshape(1, 1, 4, 4)  # (B, C, H, W)
toy[0, 0]

# %% [markdown]
# A colour image has the tiles of red first, then those of green, then those of blue. With $g$ tiles along each side,
# and colours, rows and columns counted from 0:
#
# $$\text{channel} = (\text{colour} \cdot g + \text{row}) \cdot g + \text{column}$$
#
# For $g = 2$: red, lower left is channel $(0 \cdot 2 + 1) \cdot 2 + 0 = 2$; green, upper right is
# $(1 \cdot 2 + 0) \cdot 2 + 1 = 5$.
#
# ### Exercise 1 · Tiles
#
# *Difficulty ★★☆ · 12 minutes.* Cut and stack.

# %% tags=["exercise"]
def image_to_tiles(image, grid):
    """Cuts an image into grid x grid tiles and stacks them on the channels.

    Channel (colour * grid + row) * grid + column holds that colour of the tile in that row and column of tiles. A tile
    is a crop: neighbours in it are neighbours in the image.
    Shapes: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid). H and W are multiples of grid, and may differ.
    """
    # <solution>
    batch, colours, height, width = image.shape
    x = image.reshape(batch, colours, grid, height // grid, grid, width // grid)  # (B, C, rows, h, columns, w)
    x = x.permute(0, 1, 2, 4, 3, 5)  # (B, C, rows, columns, h, w)
    return x.reshape(batch, -1, height // grid, width // grid)
    # </solution>

# %% [markdown]
# The check tries several grids, sizes and numbers of colours.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

tiles_checked = checks.image_to_tiles(image_to_tiles)
tiles_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# It is like the windows of notebook 02, with other axes in front. A reshape can split an axis, or join two that stand
# side by side; only `permute` changes their order. In the docstring's formula, which axis changes slowest, and which
# fastest?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Split the height into (rows of tiles, rows in a tile) and the width likewise: six axes. Bring them into the order
# batch, colour, row of the tile, column of the tile, row in the tile, column in the tile. Join the second, third and
# fourth into one.
#
# </details>

# %% [markdown]
# The toy image goes through it, yours or the package's. These are the four tiles that we wrote down.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network import refinement

tiles = image_to_tiles if tiles_checked.passed else refinement.image_to_tiles
tiles(toy, 2)

# %% [markdown]
# ### Nothing is lost
#
# If we can rebuild the photo, nothing was lost. This is the way back.

# %%
def tiles_to_image(x, grid):
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels // grid**2, grid, grid, height, width)  # (B, C, rows, columns, h, w)
    x = x.permute(0, 1, 2, 4, 3, 5)  # (B, C, rows, h, columns, w)
    return x.reshape(batch, channels // grid**2, grid * height, grid * width)

# %% [markdown]
# There and back, at the grids of stages 4, 3, 2 and 1.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for grid in (32, 16, 8, 4):
    stacked = tiles(image, grid)
    print(f"grid {grid:2}: {tuple(stacked.shape)}, back the same:", torch.equal(tiles_to_image(stacked, grid), image))

# %% [markdown]
# The first channels are the photo in red, cut; then come those in green, then in blue. For a grid of 4, as at stage 1:

# %%
from birefnet_lite.course.figures_refinement import tiles_to_channels

tiles_to_channels(prepared.seen, grid=4)

# %% [markdown]
# The yellow squares, one in each tile, come to lie behind each other: together they are *one cell* of the stack.
#
# ### What one cell sees
#
# A cell of the stacked map holds *the same place in every tile*. The next cell marks what 5 × 5 cells in the middle
# see at stage 2, where there are 8 × 8 tiles. Beside it: the part of the photo that the same cells of the stage's own
# map stand for.

# %%
look = torch.zeros(1, 3 * 8 * 8, 32, 32)
look[..., 14:19, 14:19] = 1
own = torch.zeros(1, 1, 256, 256)
own[..., 14 * 8 : 19 * 8, 14 * 8 : 19 * 8] = 1
lit = [pixels(unit * (0.3 + 0.7 * mask)) for mask in (tiles_to_image(look, 8), own)]
side_by_side(
    {"what the tiles show to 5 × 5 cells": lit[0], "where these cells stand": lit[1]},
    alt="A dark photo with 64 small bright squares in a lattice; the same with one bright square in the middle.",
    width=6,
)

# %% [markdown]
# The two do not agree. What tiles bring to a cell is spread over the whole photo, and mostly lies elsewhere. That is
# how the original cuts, and how its weights were trained.
#
# ### Exercise 2 · A cut of your own
#
# *Difficulty ★★☆ · 10 minutes, open.* Design a cut without this fault: each cell gets the $g \times g$ pixels *where
# it stands*, and nothing else. The order of the channels is yours; no pixel may be lost. There are many right answers,
# and the check looks for these properties only.

# %% tags=["exercise"]
def own_cut(image, grid):
    """All pixels of an image on the channels, so that each cell has those of its own place.

    Shapes: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid). The channels of cell (i, j) hold the pixels of
    rows i * grid to (i + 1) * grid - 1 and columns j * grid to (j + 1) * grid - 1, each once, in one order for all.
    """
    # <solution>
    batch, colours, height, width = image.shape
    x = image.reshape(batch, colours, height // grid, grid, width // grid, grid)  # (B, C, h, y, w, x)
    x = x.permute(0, 1, 3, 5, 2, 4)  # (B, C, y, x, h, w)
    return x.reshape(batch, -1, height // grid, width // grid)
    # </solution>

# %% [markdown]
# The check tries it on random images.

# %% tags=["NBVAL_CHECK_OUTPUT"]
cut_checked = checks.own_cut(own_cut)
cut_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# It is `image_to_tiles` with other names for the halves of a split axis: now the *outer* half is the cell, and the
# inner one goes to the channels.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Split the height into (H / grid, grid) and the width likewise. Bring both inner axes in front of both outer ones, and
# join them with the colours. PyTorch has this as a function, too: `torch.nn.functional.pixel_unshuffle`.
#
# </details>

# %% [markdown]
# ## 3 · The order of the tiles
#
# Until November 2024 the original stacked in another order: columns of tiles first, then rows, and the colours
# fastest.
#
# $$\text{old channel} = (\text{column} \cdot g + \text{row}) \cdot 3 + \text{colour}$$
#
# By hand, with the toy image's single colour: upper left, *lower* left, upper right, lower right. The first pixels of
# the four tiles are then 0, 8, 2, 10.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def old_tiles(image, grid):
    batch, colours, height, width = image.shape
    x = image.reshape(batch, colours, grid, height // grid, grid, width // grid)  # (B, C, rows, h, columns, w)
    x = x.permute(0, 4, 2, 1, 3, 5)  # (B, columns, rows, C, h, w)
    return x.reshape(batch, -1, height // grid, width // grid)


print("new order:", tiles(toy, 2)[0, :, 0, 0].tolist())
print("old order:", old_tiles(toy, 2)[0, :, 0, 0].tolist())

# %% [markdown]
# Weights that were trained in one order and are used in the other meet the wrong tiles. All shapes fit, so **nothing
# complains**. The remedy is exact: permute the weights' input channels once. The package has a function for it; here
# it is, on random weights.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.checkpoints.official import new_patch_order

generator = torch.Generator().manual_seed(0)
weight = torch.randn(5, 3 * 8 * 8, 3, 3, generator=generator) / 40  # trained, let us say, in the old order
trained = torch.conv2d(old_tiles(image, 8), weight)
misread = torch.conv2d(tiles(image, 8), weight)
mended = torch.conv2d(tiles(image, 8), new_patch_order(weight))
for name, result in {"misread": misread, "mended": mended}.items():
    same = (result - trained).abs().max().item() <= 1e-5
    print(f"{name}: shape fits: {result.shape == trained.shape}, equal to 1e-5: {same}")

# %% [markdown]
# ### What does it do to a mask?
#
# We show the stages of the trained network something else than its tiles: the tiles in the old order; your own cut (or
# PyTorch's); the squares of section 1, the same in all channels; and nothing, a photo of a single colour. All shapes
# fit. **Predict** first: which of the four costs most?

# %%
import copy

import numpy as np
import torch.nn.functional as F

cuts = {
    "its tiles": tiles,
    "old order": old_tiles,
    "own place": own_cut if cut_checked.passed else F.pixel_unshuffle,
    "squares": lambda x, g: resize(x, (x.shape[2] // g, x.shape[3] // g)).repeat_interleave(g * g, dim=1),
    "nothing": lambda x, g: torch.zeros_like(tiles(x, g)),
}


def shown(cut):
    """The network, whose stages see the image cut in another way."""
    network = copy.deepcopy(model)
    for stage in network.decoder.stages:
        stage.inward.forward = lambda x, inward=stage.inward: inward.branch(cut(x, inward.grid))
    return network

# %% [markdown]
# The IoU with the hand-made masks, each photo at 256 × 256. (Notebooks 01 to 05 show the network the cat at 256 × 384,
# where its IoU is .937.)

# %%
def iou(network, name):
    picture, mask, _ = load_photo(name)
    with torch.inference_mode():
        logits = network(prepare(model, picture, size=SIZE).tensor).logits
    found = F.interpolate(logits, mask.shape, mode="bilinear")[0, 0].numpy() > 0
    return (found & mask).sum() / (found | mask).sum()


print(f"{'':11}" + "".join(f"{name:>12}" for name in cuts))
for name in ("astronaut", "chelsea", "motorcycle", "coffee"):
    print(f"{name:11}" + "".join(f"{iou(shown(cut), name):12.3f}" for cut in cuts.values()))

# %% [markdown]
# **Almost nothing!** And which one costs most differs from photo to photo. The astronaut gains .013 with the squares
# and .003 with nothing; the cat moves by .003 at most; the motorcycle loses .035 with each cell's own place, .005 with
# nothing; the coffee, on which this network fails anyhow, at most .011. So **this small network hardly uses its
# tiles**: it was trained with them, but finds its outlines elsewhere, in the encoder's fine maps. Larger networks may
# use them more; only a measurement tells. What happens to networks that are *trained* without tiles is another
# question; section 7 shows its answer.
#
# The checkpoints that were published before that November are in the old order, and were not converted: others have
# verified it for `BiRefNet_lite`; for the rest, the dates say so. The package's `load` knows each published name and
# converts. For a file of your own it cannot know: `load(path, patch_order="old")`.

# %% [markdown]
# ## 4 · Two small convolutions
#
# The stacked map is wide: 3072 channels at stage 4. Two 3 × 3 convolutions make it narrow. There is *no activation*
# between them. Two linear steps are one linear step, so together they are a single bank of 5 × 5 filters (but for the
# border, where zeros stand in). At stage 4 of `lite`, which makes 192 channels by way of 64, the two take
# $9 \cdot (3072 \cdot 64 + 64 \cdot 192) \approx 1.9$ million weights; one 5 × 5 convolution would take
# $25 \cdot 3072 \cdot 192 \approx 14.7$ million.
#
# ### Exercise 3 · The inward reference
#
# *Difficulty ★★☆ · 8 minutes.* Tiles, then the two convolutions. You can use `tiles(image, grid)` from above.

# %% tags=["exercise"]
from collections import OrderedDict


class MyInwardReference(torch.nn.Module):
    """The image at a stage's size: (B, 3, H, W) to (B, out_channels, H / grid, W / grid).

    Attribute branch: a Sequential of two 3x3 convolutions, conv_in from all tiles of all three colours to
    inter_channels, and conv_out to out_channels. Both have a bias and keep the map's size; nothing is between them or
    behind them. Sequential(OrderedDict(conv_in=..., conv_out=...)) gives the convolutions these names.
    """

    def __init__(self, grid, out_channels, inter_channels=64):
        super().__init__()
        # <solution>
        self.grid = grid
        conv_in = torch.nn.Conv2d(3 * grid * grid, inter_channels, 3, padding=1)
        conv_out = torch.nn.Conv2d(inter_channels, out_channels, 3, padding=1)
        self.branch = torch.nn.Sequential(OrderedDict(conv_in=conv_in, conv_out=conv_out))
        # </solution>

    def forward(self, image):
        # <solution>
        return self.branch(tiles(image, self.grid))
        # </solution>

# %% [markdown]
# The check hands over random weights by name.

# %% tags=["NBVAL_CHECK_OUTPUT"]
inward_checked = checks.inward_reference(MyInwardReference)
inward_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# How many channels has the stacked map, for a grid of 2? The forward pass will need the grid again: keep it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the grid. Make a convolution from 3 times grid times grid channels to inter_channels, and one from there to
# out_channels, both with padding. Put them under their names into a Sequential called branch. Forward: cut the image,
# and send the tiles through the branch.
#
# </details>

# %% [markdown]
# Is it linear, and is it 5 × 5? A toy: a black image with one white pixel, in one tile. Without biases, twice as
# bright must give twice as much, and 25 cells must answer.

# %% tags=["NBVAL_CHECK_OUTPUT"]
Inward = MyInwardReference if inward_checked.passed else refinement.InwardReference
torch.manual_seed(0)
inward = Inward(2, 4, 8)
torch.nn.init.zeros_(inward.branch.conv_in.bias)
torch.nn.init.zeros_(inward.branch.conv_out.bias)
dot = torch.zeros(1, 3, 22, 22)
dot[..., 5, 5] = 1
with torch.inference_mode():
    one, two = inward(dot), inward(2 * dot)
print(tuple(one.shape), "cells that answer:", int((one.abs().sum(dim=1) > 0).sum()))
print("linear to 1e-6:", (two - 2 * one).abs().max().item() <= 1e-6)

# %% [markdown]
# ### Beside the features
#
# The result is concatenated behind the map from below; then the reconstruction block of notebook 05 takes both. So
# stage 4 of `nano` gets 384 + 48 channels. At full resolution, in front of the head, the grid is 1: one tile, the
# photo itself, and there every cell does see its own place.

# %% tags=["NBVAL_CHECK_OUTPUT"]
with torch.inference_mode():
    *_, deepest = model.encoder(image)
    below = model.squeeze(deepest)
    seen = model.decoder.stage4.inward(image)
print(tuple(below.shape), "and", tuple(seen.shape), "give", tuple(torch.cat([below, seen], dim=1).shape))

# %% [markdown]
# ## 5 · Outward: attention from gradients
#
# Where does a segmentation go wrong? At borders, and in fine structure: where the *image* changes quickly, at its
# **gradients**. The outward reference makes a stage look for gradients. From the block's result $r$ it makes 16
# feature maps $f$, and from these two maps of one channel:
#
# $$f = \text{ReLU}(\text{norm}(\text{conv}_{3 \times 3}(r))), \qquad a = \sigma(\text{conv}_{1 \times 1}(f)),
# \qquad p = \text{conv}'_{1 \times 1}(f)$$
#
# - $a$ is the **attention**: the stage hands on $a \cdot r$.
# - $p$ is a **prediction** of the image's gradients near the object, as logits. Only a loss reads it, in training.
#
# The mask never sees $p$. But $a$ and $p$ come from the same $f$: what the loss teaches $f$ about gradients, the
# attention can use. What exactly $p$ should be, the *target*, is the subject of notebook 07.
#
# ### A toy row, by hand
#
# Let $r = (0, 0, 0, 1, 1, 1)$, one channel with one edge. Let the convolution be *right neighbour minus left
# neighbour*, with zeros around the row: $(0, 0, 1, 1, 0, -1)$. After the ReLU, $f = (0, 0, 1, 1, 0, 0)$. Let the
# attention's logits be $4 f - 2$. Then $a = \sigma(\pm 2)$: $0.88$ at the edge, and $0.12$ elsewhere.
#
# ### Exercise 4 · The outward reference
#
# *Difficulty ★★☆ · 10 minutes.* `batch_norm_or_identity(width, flag)` makes a batch norm where the flag is True, and
# nothing where it is False: the flag of [notebook 05](05_decoder.ipynb).

# %% tags=["exercise"]
from birefnet_lite.network.aspp import batch_norm_or_identity


class MyOutwardReference(torch.nn.Module):
    """Attention and gradients: (B, in_channels, H, W) to two maps (B, 1, H, W).

    Attributes: conv (3x3, to `channels`, keeps the map's size), norm (a batch norm of that width, or nothing), and two
    1x1 convolutions to one channel, gradient_head and attention_head. All convolutions have a bias.
    The features are conv, norm, ReLU. forward returns the attention, in 0 to 1, and the gradient logits, both read from
    the same features, in this order. It multiplies nothing: the stage does.
    """

    def __init__(self, in_channels, channels=16, batch_norm=True):
        super().__init__()
        # <solution>
        self.conv = torch.nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm = batch_norm_or_identity(channels, batch_norm)
        self.gradient_head = torch.nn.Conv2d(channels, 1, 1)
        self.attention_head = torch.nn.Conv2d(channels, 1, 1)
        # </solution>

    def forward(self, x):
        # <solution>
        features = self.norm(self.conv(x)).relu()  # (B, channels, H, W)
        return self.attention_head(features).sigmoid(), self.gradient_head(features)
        # </solution>

# %% [markdown]
# The check looks at both maps, with batch norm and without.

# %% tags=["NBVAL_CHECK_OUTPUT"]
outward_checked = checks.outward_reference(MyOutwardReference)
outward_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Four layers. Two of them read the same thing. One of the two results gets a sigmoid, the other one does not: which
# of them is a weight, and which goes to a loss?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a padded 3 × 3 convolution, a norm, and two 1 × 1 convolutions to one channel. Forward: convolve, norm, ReLU;
# keep this. Return the sigmoid of the attention head's answer to it, and the gradient head's answer as it is.
#
# </details>

# %% [markdown]
# The toy row goes through it, with the weights that we chose by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
Outward = MyOutwardReference if outward_checked.passed else refinement.OutwardReference
row = torch.tensor([0.0, 0, 0, 1, 1, 1]).reshape(1, 1, 1, 6)
outward = Outward(1, 1, batch_norm=False)
with torch.no_grad():
    for parameter in outward.parameters():
        parameter.zero_()
    outward.conv.weight[0, 0, 1] = torch.tensor([-1.0, 0, 1])
    outward.attention_head.weight.fill_(4)
    outward.attention_head.bias.fill_(-2)
    attention, _ = outward(row)
print([round(a, 2) for a in attention.flatten().tolist()])

# %% [markdown]
# One number for each cell multiplies *all* channels there. It is below 1, so it can only turn down. And it acts in
# training and in use: it is part of the network, unlike $p$.

# %% [markdown]
# ### The running table
#
# Both references are in it now: the decoder has no dots left.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

part_table(model, SIZE, upto="06")

# %% [markdown]
# ## 6 · Equality
#
# A copy of a decoder, with your references in place of its own. They get its weights, by name.

# %%
def taught(mine, theirs):
    mine.load_state_dict(theirs.state_dict())
    return mine


def rebuilt(decoder, config):
    mine = copy.deepcopy(decoder)
    for stage in mine.stages:
        out, inner = stage.inward.branch.conv_out.weight.shape[:2]
        stage.inward = taught(Inward(stage.inward.grid, out, inner), stage.inward)
        if stage.outward is not None:
            width = stage.outward.conv.weight.shape[1]
            stage.outward = taught(Outward(width, config.gradient_channels, config.batch_norm), stage.outward)
    out, inner = mine.image_branch.branch.conv_out.weight.shape[:2]
    mine.image_branch = taught(Inward(1, out, inner), mine.image_branch)
    return mine

# %% [markdown]
# The whole decoder with them, at three sizes, with the network's weights and with random biases and statistics.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.checks.weights import randomise

c1, c2, c3, c4 = (2 * c for c in model.encoder.backbone.channels)


def inputs(batch, height, width):
    generator = torch.Generator().manual_seed(1)
    shapes = [(c, height // s, width // s) for c, s in zip((3, c1, c2, c3, c4), (1, 4, 8, 16, 32))]
    image, *maps = (torch.randn(batch, *shape, generator=generator) for shape in shapes)
    return image, tuple(maps)


drawn = randomise(copy.deepcopy(model.decoder)).eval()
for name, real in {"network's": model.decoder, "random": drawn}.items():
    mine = rebuilt(real, model.config).eval()
    for size in [(1, 32, 32), (2, 96, 64), (1, 160, 224)]:
        with torch.inference_mode():
            difference = (mine(*inputs(*size)).logits - real(*inputs(*size)).logits).abs().max().item()
        print(f"{name:9} weights, {size}: equal to 1e-6:", difference <= 1e-6)

# %% [markdown]
# And the two parts alone, at odd sizes, which the whole network never meets; the outward reference in training, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
mine, real = rebuilt(drawn, model.config), drawn
x, odd = torch.randn(2, c3, 5, 7), torch.randn(1, 3, 4 * 5, 4 * 7)
with torch.no_grad():
    pairs = [(mine.stage1.inward(odd), real.stage1.inward(odd))]
    for training in (False, True):
        mine.train(training), real.train(training)
        pairs += zip(mine.stage4.outward(x), real.stage4.outward(x))
for ours, theirs in pairs:
    print(tuple(ours.shape), "equal to 1e-6:", (ours - theirs).abs().max().item() <= 1e-6)

# %% [markdown]
# ## 7 · On a photo
#
# Your outward reference, with the network's weights, reads the block's result at stages 4, 3 and 2. White is 1, black
# is 0.

# %%
from birefnet_lite.analysis import capture

mine = rebuilt(model.decoder, model.config).eval()
names = {number: f"decoder.stage{number}.reconstruction" for number in (4, 3, 2)}
maps = capture(model, prepared, layers=names.values())
seen_by = {}
with torch.inference_mode():
    for number, stage in zip(names, mine.stages):
        attention, _ = stage.outward(maps[names[number]][None])
        seen_by[f"attention, stage {number}"] = attention[0, 0].numpy()
side_by_side(seen_by, alt="Three maps of attention, each twice as fine as the one before.", width=7)

# %% [markdown]
# Is the attention bright on edges, as in the toy? No. At stage 4 it is .997 on average, and does nothing at all. At
# stage 2 it is .78 along the outline of the person, .89 inside and .82 outside: *dark* along edges, as the next cell
# measures. The network turns features down there. Nothing in training asks for bright edges; the heads beside it learn
# the gradients, and the attention is free to use the same features in its own way.

# %%
from PIL import Image
from scipy import ndimage

fine = seen_by["attention, stage 2"]
mask = np.asarray(Image.fromarray(load_photo("astronaut")[1]).convert("L").resize(fine.shape, Image.BILINEAR)) > 127
outline = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)
print(f"stage 4, on average: {seen_by['attention, stage 4'].mean():.3f}")
for name, where in {"outline": outline, "inside": mask & ~outline, "outside": ~mask & ~outline}.items():
    print(f"stage 2, {name:8} {fine[where].mean():.2f}")

# %% [markdown]
# ### What are they worth?
#
# Section 3 tore the tiles out of a trained network. The other way is to *train* without a part:
# `benchmarks/ablations.py` trains `nano` for 160 steps, with one part off at a time and with three seeds. A dot is the
# mean change of the S-measure, a score of masks from 0 to 1 ([notebook 09](09_in_use.ipynb)), against the full network
# *with the same seed*; a line reaches one standard deviation of that change over the seeds to either side. *Attention
# without its loss* keeps the maps and drops what they are taught.

# %%
from birefnet_lite.course.ablations import ablation_plot

ablation_plot(variants=["no inward reference", "no outward reference", "attention without its loss"])

# %% [markdown]
# **Never trained with tiles** costs .011 ± .005, two standard deviations from 0: a hint. The other two lines cross 0,
# and say nothing. Three seeds show how much the seed alone changes a score, and are no test.
#
# So tearing tiles out costs almost nothing, never having had them costs a little. Both can be true: a part may help a
# network to learn, early, and hardly be used in the end. These runs end where a real one has hardly begun; notebooks 08
# and 10 come back to it.
#
# ### The photo again
#
# At the start, 64 squares were left at stage 4. This is the photo put together again from what stage 4 is shown now.

# %%
whole = tiles_to_image(tiles(unit, 32), 32)
side_by_side(
    {"resized to stage 4": pixels(resize(unit, (8, 8))), "from the tiles of stage 4": pixels(whole)},
    alt="64 coloured squares; and beside them the astronaut, complete, put together from the tiles of stage 4.",
    width=4,
)

# %% [markdown]
# All of it is there. That the mask is not better for it in this network is the finding.

# %% [markdown]
# ## 8 · Play with it
#
# ### Tiles
#
# The view opens with what stage 2 would see of the resized photo, and with its 8 × 8 tiles. Click a pixel: its tile
# gets a box, and the table says in which channels it lands, in both orders. **Look for two things:**
#
# 1. The yellow points are what one cell of the stage sees at once. Click near the left border, then near the right
#    border *of the same tile*: which points move, and how far?
# 2. Column *Photo resized instead*: at which stage can you still tell that there is a person?
#
# <details><summary>What you should see</summary>
#
# 1. All of them move together, by as many cells as you moved, inside their own tiles. From the left to the right
#    border of a tile they sweep over whole tiles: one step across the border, and they jump back to the left.
# 2. At stages 1 and 2, with 64 × 64 and 32 × 32 cells. At stage 3 the head is two cells wide; at stage 4 nobody is
#    left.
#
# </details>

# %%
from widgets import reference_tiles

view = reference_tiles(model, photo, size=SIZE)
view.layer = "stage 2.resized"
view.pin = [255, 150]
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view, width=900)

# %% [markdown]
# ### Attention
#
# All maps of the network, opened at the attention of stage 2. **Look for two things:**
#
# 1. Which edges stand out, all of the photo's or those of the object? As more attention than around them, or as less?
#    Nothing forces edges to be bright here: the next block can make as much of a dark line as of a bright one.
# 2. Go from *Reconstruction* to *Stage output* in the row of level 2. The output is $a \cdot r$, enlarged, plus the
#    lateral map. What of the attention can you recognise in it?
#
# <details><summary>What you should see</summary>
#
# 1. The object's, and as *less* attention than around them: a dark line follows hair, shoulders and helmet, while the
#    stripes of the flag and the rocket leave hardly a trace.
# 2. Nothing. The lateral map is added behind the attention, and brings its own edges; the output shows those.
#
# </details>

# %%
from widgets import feature_pyramid

view = feature_pyramid(model, photo, size=SIZE)
view.layer = "decoder.stage2.gradient_attention"
view

# %% [markdown]
# And this one as a still picture.

# %%
static(view, width=800)

# %% [markdown]
# ## What to remember
#
# - **Inward**: tiles on the channels keep every pixel at a stage's size. Colour slowest, column fastest. The trained
#   `nano` hardly looks at them: nothing in their place costs at most .005 of IoU on our four photos.
# - **Order is part of the weights.** A wrong one fits every shape and raises nothing; permuting the weights mends it.
# - Two convolutions without an activation between them are **one linear filter** of 5 × 5.
# - **Outward**: gradient features → a 1 × 1 convolution → a sigmoid → multiply. One weight per cell, for all channels.
# - The gradient *prediction* exists for the loss alone; the *attention* belongs to the network.

# %% [markdown]
# ## Three questions
#
# **1. You fine-tune a checkpoint of July 2024 with code that cuts in the new order. What happens?**
#
# - a) Loading fails, because the channels are named differently.
# - b) Training starts with an inward reference that sees scrambled tiles.
# - c) Nothing: convolutions do not care about the order of channels.
#
# <details><summary>Answer</summary>
#
# **b.** Channels have no names, and the shapes are equal, so loading cannot notice (a). Each weight of the first
# convolution meets another tile than the one it was trained for (c). The loss may come down again, but the start is
# worse than it need be.
#
# </details>

# %% [markdown]
# **2. A photo of 1024 × 1024 at stage 3, which has 16 × 16 tiles: what shape has the stacked map?**
#
# - a) 768 channels of 64 × 64
# - b) 256 channels of 64 × 64
# - c) 3 channels of 64 × 64
#
# <details><summary>Answer</summary>
#
# **a.** 3 colours · 16 · 16 = 768 channels, and 1024 / 16 = 64. One colour would give b); the resized photo has
# shape c).
#
# </details>

# %% [markdown]
# **3. The attention is 0.5 everywhere. What does the next stage get?**
#
# - a) Nothing: attention of 0.5 means undecided.
# - b) The features of the borders only.
# - c) Half of the features, everywhere alike, plus the lateral map.
#
# <details><summary>Answer</summary>
#
# **c.** The attention is a factor. The same factor everywhere prefers no place to another; what matters is how it
# *differs* from cell to cell. The lateral map is added after the multiplication, and is not halved.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `image_to_tiles` | inward reference, Fig. 2 | `image2patches` in `models/birefnet.py` | `network/refinement.py` |
# | old order | – | `get_patches_batch`, until November 2024 | `checkpoints/official.py`, `new_patch_order` |
# | `MyInwardReference` | inward reference | `SimpleConvs`, as `ipt_blk5` to `ipt_blk1` | `InwardReference` |
# | `MyOutwardReference` | outward reference | `gdt_convs_4` to `_2`, `…_attn_…`, `…_pred_…` | `OutwardReference` |
#
# **Paper and code.** The paper says *patches*; the code's patches are crops, one channel group each, and not the pixels
# around a cell. The paper draws the gradient features from inside the reconstruction block; the code takes the block's
# result. The original has a flag that leaves the inward reference out, `dec_ipt=False`, but with it the code stops with
# an error, so the comparison cannot be run there. Here it is `inward_reference=False`; `image_tiles=False` shows the
# resized image instead, and `outward_reference=False` leaves the attention out.
