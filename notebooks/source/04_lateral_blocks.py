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
# # 04 · Lateral blocks
#
# The deep maps know *what*, the fine maps know *where*. On its way up, each stage of the decoder is given the encoder's
# map of the next finer level. A **lateral block** carries it across: one convolution of 1 × 1, and nothing else.
#
# **After this notebook you can**
# - write a 1 × 1 convolution and bilinear resizing as what they are: two matrices,
# - say when two layers may change places, and use it to compute less,
# - build the lateral block and the end of a decoder stage, and get the same numbers as the package,
# - say where on a photo the number of a cell belongs, and what aligned corners make of it.
#
# **Time:** 60 minutes, 40 of them for the exercises. **You need:** notebook 02.

# %% [markdown]
# ## 1 · Without the lateral blocks
#
# All parts of this network are trained, and work. Only the three encoder maps that cross over to the decoder are
# replaced by zeros. Orange pixels are background that the mask takes for the object; blue ones are parts of the
# object that it misses.

# %%
import torch

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.masks import compare_masks
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 384)
photo, by_hand, _ = load_photo("chelsea")
prepared = prepare(model, photo, size=SIZE)
with torch.inference_mode():
    *finer, x4 = model.encoder(prepared.tensor)
    alone = (*(torch.zeros_like(x) for x in finer), model.squeeze(x4))
    cut_off = model.decoder(prepared.tensor, alone).logits.sigmoid()[0, 0].numpy()
compare_masks(photo, by_hand, {"no lateral maps": cut_off}, "A cat; beside it a round blob of a mask, without ears.")

# %% [markdown]
# The decoder still knows that there is one large thing in the middle; it has lost the outline. On the map, you are at
# the three short arrows into stages 4, 3 and 2. Stage 1 has none, since there is no finer map.

# %%
from birefnet_lite.course import network_map

network_map("04")

# %% [markdown]
# Say it in symbols. Stage $i$ of the decoder ends with a map $d$, coarse and rich. $x$ is the encoder's map, twice as
# fine. The next stage gets
#
# $$\text{up}(d) + K x + b$$
#
# where $\text{up}$ enlarges bilinearly, and $K x + b$ is the lateral block, with a matrix $K$. Networks of this form
# are called *feature pyramid networks* (Lin et al., 2017). A U-Net concatenates instead. To add, both maps need the
# same number of channels: this is what the lateral block is for.

# %%
from birefnet_lite.course.figures_decoder import add_or_concatenate

add_or_concatenate()

# %% [markdown]
# ## 2 · One matrix for every cell
#
# A convolution of 1 × 1 has one tap. So each cell is on its own: its $C$ numbers $x$ become $O$ numbers $K x + b$,
# with a matrix $K$ of $O \times C$ and $O$ biases $b$. $K$ is the same at every cell.
#
# ### A toy cell, by hand
#
# A cell holds $(2, 3)$. With
#
# $$K = \begin{pmatrix} 1 & 0 \\ 1 & -1 \\ 0 & 2 \end{pmatrix}, \qquad b = (0, 1, 0)$$
#
# it becomes $(2,\ 2 - 3 + 1,\ 6) = (2, 0, 6)$.

# %%
import torch.nn.functional as F
from torch import nn

cell = torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)  # (B, C, H, W)
K, b = torch.tensor([[1.0, 0.0], [1.0, -1.0], [0.0, 2.0]]), torch.tensor([0.0, 1.0, 0.0])

# %% [markdown]
# ### Exercise 1 · A 1 × 1 convolution
#
# *Difficulty ★☆☆ · 8 minutes.* Write it as a product of matrices, without `conv2d`.

# %% tags=["exercise"]
def lateral_conv(x, weight, bias):
    """The matrix `weight` at every cell, plus the bias.

    Shapes: x (B, C, H, W), weight (O, C), bias (O,) to (B, O, H, W).
    """
    # <solution>
    return torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None]
    # </solution>

# %% [markdown]
# The check compares with `conv2d`.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

conv_checked = checks.lateral_conv(lateral_conv)
conv_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `torch.einsum` names the axes: those that are missing in the result are summed over. Or bring the channels to the
# last axis with `movedim`, where `@` looks for them, and back.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The letters o, c, b, h, w: the weight has two of them, x has four, the result has four. The bias has one number per
# channel: give it two more axes of length 1, so that it is added along the right one.
#
# </details>

# %% [markdown]
# The toy cell, yours or PyTorch's: 2, 0, 6.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def with_conv2d(x, weight, bias):
    return F.conv2d(x, weight[:, :, None, None], bias)


project = lateral_conv if conv_checked.passed else with_conv2d
project(cell, K, b).flatten()

# %% [markdown]
# ## 3 · Resizing is a matrix too
#
# Let a row of cells have $n$ cells, and let it become $m$. With **aligned corners**, the first new cell is the first
# old one, the last is the last, and the others are spread evenly between them. New cell $i$ lies at the place
#
# $$p_i = i \cdot \frac{n - 1}{m - 1}$$
#
# counted in old cells. It mixes the two old cells around $p_i$, and the nearer counts more: old cell $j$ counts
# $\max(0, 1 - |p_i - j|)$.
#
# ### A toy row, by hand
#
# $(0, 3)$ becomes four cells: $p = (0, \frac{1}{3}, \frac{2}{3}, 1)$, so the new row is $(0, 1, 2, 3)$. The other
# convention, `align_corners=False`, lets the outer *edges* of the cells coincide, and gives other numbers.

# %% tags=["NBVAL_CHECK_OUTPUT"]
toy = torch.tensor([[[0.0, 3.0]]])  # (B, C, W)
for align in (True, False):
    print(f"align_corners={align}:", F.interpolate(toy, size=4, mode="linear", align_corners=align).flatten().tolist())

# %% [markdown]
# ### Exercise 2 · The matrix of resizing
#
# *Difficulty ★★☆ · 12 minutes.* Each new cell is a weighted sum of old ones, and so resizing a row is a matrix with
# one row for each new cell. For the toy row it is
# $\begin{pmatrix} 1 & 0 \\ 2/3 & 1/3 \\ 1/3 & 2/3 \\ 0 & 1 \end{pmatrix}$.

# %% tags=["exercise"]
def resize_matrix(old, new):
    """The (new, old) float matrix that resizes a row of `old` cells to `new` cells, bilinearly, corners aligned.

    old and new are whole numbers of at least 1. A single new cell lies at place 0.
    """
    # <solution>
    place = torch.arange(new) * ((old - 1) / max(new - 1, 1))  # (new,)
    distance = (place[:, None] - torch.arange(old)).abs()  # (new, old)
    return (1 - distance).clamp(min=0)
    # </solution>

# %% [markdown]
# The check enlarges, shrinks, and goes from and to a single cell.

# %% tags=["NBVAL_CHECK_OUTPUT"]
matrix_checked = checks.resize_matrix(resize_matrix)
matrix_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The formula $\max(0, 1 - |p_i - j|)$ needs no case distinctions: it is 0 for all cells but the two around the place.
# What if `new` is 1, and $m - 1$ is zero?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A column of places, a row of old cells 0 to n − 1: their difference is already a matrix of the right shape. One
# minus its absolute value, with negative numbers made zero.
#
# </details>

# %% [markdown]
# While it is unsolved, PyTorch's own stands in: it resizes each old cell alone.

# %%
def with_interpolate(old, new):
    alone = torch.eye(old)[:, None]  # (old, 1, old)
    return F.interpolate(alone, size=new, mode="linear", align_corners=True)[:, 0].T


matrix = resize_matrix if matrix_checked.passed else with_interpolate

# %% [markdown]
# From 6 to 24 cells as a picture, with a column for each new cell, and white for 1. Beside it stands the other
# convention: there, two new cells at each end repeat the first and the last old cell.

# %%
from birefnet_lite.course import side_by_side

other = F.interpolate(torch.eye(6)[:, None], size=24, mode="linear")[:, 0]  # (6, 24), align_corners=False
side_by_side(
    {"aligned corners": matrix(6, 24).T.numpy(), "not aligned": other.numpy()},
    alt="Two grey stairs that lead down to the right, each step fading into the next. Without aligned corners, the "
    "first and the last step are longer.",
)

# %% [markdown]
# A map has rows *and* columns. Resizing does one after the other: with the matrix $A$ for the height and $B$ for the
# width, each channel $x$ becomes $A\,x\,B^\top$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def enlarge(x, size):
    """(B, C, h, w) to (B, C, *size), bilinearly, with aligned corners."""
    down, right = matrix(x.shape[2], size[0]), matrix(x.shape[3], size[1])  # (H, h), (W, w)
    return torch.einsum("ih,bchw,jw->bcij", down, x, right)


x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
for size in [(10, 14), (9, 13), (3, 2)]:
    theirs = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    print(size, "equal to 1e-5:", bool((enlarge(x, size) - theirs).abs().max() <= 1e-5))

# %% [markdown]
# ### Where does a cell's number belong?
#
# Make cells of the cat's hand-made mask, each the mean of 32 × 32 pixels, and enlarge them again with aligned corners.
# How much of the mask comes back?

# %%
truth = F.adaptive_avg_pool2d(torch.as_tensor(by_hand)[None, None].float(), SIZE)  # (1, 1, 256, 384)
cells = F.adaptive_avg_pool2d(truth, (8, 12))
blocks = F.interpolate(cells, SIZE)[0, 0].numpy()  # each pixel takes the number of its cell
back = {"8 × 12 cells": blocks, "aligned corners": enlarge(cells, SIZE)[0, 0].numpy()}
compare_masks(photo, by_hand, back, "A cat; its mask in large cells; and the same, enlarged, too wide on both sides.")

# %% [markdown]
# The cells as blocks reach an IoU of .958, enlarged they reach less, .947. There is an orange border on both sides: the
# outline has moved outwards, away from the middle of the photo. The first cell holds the mean of the pixels 0 to 31,
# whose middle is 15.5; aligned corners put its number on pixel 0.
#
# ### Exercise 3 · Do better
#
# *Difficulty ★★☆ · 10 minutes, open.* Any method will do, and the score counts: over three photos, the mean IoU of your
# enlarged masks must reach .93. Aligned corners reach .899 and blocks .897. You may use the photo, or not.

# %% tags=["exercise"]
def enlarge_mask(cells, photo):
    """A mask at the photo's size, from cells that are means of its blocks. Pixels above 0.5 count as object.

    Shapes: cells (1, 1, h, w) and photo (1, 3, H, W), both in [0, 1], to (1, 1, H, W).
    """
    # <solution>
    return F.interpolate(cells, size=photo.shape[-2:], mode="bilinear", align_corners=False)
    # </solution>

# %% [markdown]
# The check tries it on the astronaut, the cat and the cup, and says your score where it is too low.

# %% tags=["NBVAL_CHECK_OUTPUT"]
enlarged_checked = checks.enlarge_mask(enlarge_mask)
enlarged_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# To which old place belongs new pixel $i$, if the first cell's number belongs to pixel 15.5 and the second's to 47.5?
#
# </details>
# <details><summary>Hint 2</summary>
#
# New pixel $i$ lies at $(i + 0.5) / 32 - 0.5$ in cells, and is kept between 0 and the last cell. PyTorch computes just
# this with one of the two values of an argument that you know.
#
# </details>
# <details><summary>Why then does BiRefNet align corners?</summary>
#
# Because the authors chose it, and everything after it has learned with it: its maps are not means of blocks, and the
# convolutions behind each resizing can make up for a shift. With published weights, one has to resize as they were
# trained. What a plain mask loses here is a property of the mask, not a fault of the network.
#
# </details>

# %% [markdown]
# ## 4 · Before or after?
#
# A 1 × 1 convolution multiplies along the channels, resizing along height and width. Neither looks at the other's
# axis, so it does not matter which comes first. And the bias? Every row of $A$ and of $B$ adds up to 1, so that a map
# that is $b$ everywhere stays $b$ everywhere. In symbols, for one axis:
#
# $$A\,(K x + b) = K (A x) + A\,b = K (A x) + b$$

# %% tags=["NBVAL_CHECK_OUTPUT"]
generator = torch.Generator().manual_seed(1)
x, weight, bias = (torch.randn(s, generator=generator) for s in [(1, 6, 4, 5), (3, 6), (3,)])
difference = enlarge(project(x, weight, bias), (8, 10)) - project(enlarge(x, (8, 10)), weight, bias)
print("rows add up to 1:", torch.allclose(matrix(4, 8).sum(dim=1), torch.ones(8)))
print("before or after, equal to 1e-5:", bool(difference.abs().max() <= 1e-5))

# %% [markdown]
# This holds for 1 × 1 convolutions, and not for all layers. A 3 × 3 convolution looks along the same axes as the
# resizing: neighbours before are not neighbours after. And a ReLU is not a matrix.

# %% tags=["NBVAL_CHECK_OUTPUT"]
three = torch.randn(3, 6, 3, 3, generator=generator)
layers = {"3 × 3": lambda x: F.conv2d(x, three, padding=1), "ReLU": torch.relu}
for name, layer in layers.items():
    difference = enlarge(layer(x), (8, 10)) - layer(enlarge(x, (8, 10)))
    print(f"{name}: before or after, equal to 1e-5: {bool(difference.abs().max() <= 1e-5)}")

# %% [markdown]
# So do the work where there are few cells: *before* enlarging, a 1 × 1 convolution costs a quarter.
#
# In BiRefNet this is of use. The encoder's map is a concatenation: $x = (f, \text{up}(h))$ with $f$ from the photo and
# $h$ from the half-size photo, at half the height and width ([notebook 02](02_backbone.ipynb)). Let $K = (K_f, K_h)$
# be the two halves of the weight. Then
#
# $$K x + b = K_f\,f + K_h\,\text{up}(h) + b = K_f\,f + b + \text{up}(K_h\,h)$$
#
# ### Exercise 4 · Apart
#
# *Difficulty ★★☆ · 10 minutes.* Compute the lateral block of the concatenation, without ever concatenating.

# %% tags=["exercise"]
def lateral_apart(full, half, weight, bias):
    """The 1x1 convolution of cat(full, enlarged half), but with the small map convolved while it is small.

    Shapes: full (B, C, H, W), half (B, C, h, w), weight (O, 2 * C), bias (O,) to (B, O, H, W). Enlarge bilinearly, to
    the size of `full`, with align_corners=True. You may use project(x, weight, bias) and enlarge(x, size) from above.
    """
    # <solution>
    ahead, behind = weight.chunk(2, dim=1)  # (O, C) each
    small = project(half, behind, torch.zeros_like(bias))  # (B, O, h, w)
    return project(full, ahead, bias) + enlarge(small, full.shape[-2:])
    # </solution>

# %% [markdown]
# The check also looks at what was enlarged.

# %% tags=["NBVAL_CHECK_OUTPUT"]
apart_checked = checks.lateral_apart(lateral_apart)
apart_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The weight has a column for each channel of the concatenation. Which columns meet `full`? And how often may the bias
# be added?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Cut the weight in two along its columns. The first half and the bias go with `full`. The second half goes with
# `half`, with a bias of zeros; enlarge what comes out to the height and width of `full`. Add the two.
#
# </details>

# %% [markdown]
# What it saves: the multiplications of `lite`'s lateral block at level 1, for a photo of 1024 × 1024. The map has
# 256 × 256 cells and twice 96 channels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
cells, channels, outputs = 256 * 256, 96, 192
together = cells * 2 * channels * outputs
apart = cells * channels * outputs + cells // 4 * channels * outputs
print(f"together: {together:,}\napart:    {apart:,}, {apart / together:.1%}")

# %% [markdown]
# The package does this only when you ask for it, with `optimize`: notebook 11 tells what it brings. The plain network
# stays easy to read.

# %% [markdown]
# ## 5 · The block, and the end of a stage
#
# The block holds a weight and a bias, as `nn.Conv2d` keeps them, so that they have the package's names.

# %%
class MyLateralBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)  # holds weight and bias

    def forward(self, x):
        return project(x, self.conv.weight[:, :, 0, 0], self.conv.bias)

# %% [markdown]
# The end of a stage, in one line: the decoder's map goes up, the encoder's map comes in.

# %%
def go_up(d, x, block):
    """d (B, C, h, w) from the stage, x (B, C', H, W) from the encoder, to (B, C, H, W)."""
    return enlarge(d, x.shape[-2:]) + block(x)

# %% [markdown]
# In the running table, the three blocks have a row of their own.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

stages = {4: model.decoder.stage4, 3: model.decoder.stage3, 2: model.decoder.stage2}
mine = {number: MyLateralBlock(*stage.lateral.conv.weight.shape[1::-1]) for number, stage in stages.items()}
print(f"{course.notice}\n{sum(p.numel() for block in mine.values() for p in block.parameters()):,} parameters")
part_table(model, SIZE, upto="04")

# %% [markdown]
# On the photo: what comes from below and what comes from the side meet at the end of stage 3. Each picture shows the
# mean absolute value in each cell, white where it is largest.

# %%
from birefnet_lite.course import side_by_side
from birefnet_lite.course.masks import mean_size

maps = capture(model, photo, size=SIZE)
below = (maps["decoder.stage3.reconstruction"] * maps["decoder.stage3.gradient_attention"])[None]  # (1, C, 16, 24)
side = maps["encoder.x2"][None]  # (1, C', 32, 48)
mine[3].load_state_dict(model.decoder.stage3.lateral.state_dict())
with torch.inference_mode():
    meet = {
        "from below": enlarge(below, side.shape[-2:]),
        "from the side": mine[3](side),
        "the sum": go_up(below, side, mine[3]),
    }
shown = {title: mean_size(x[0].numpy()) for title, x in meet.items()}
side_by_side({"photo": maps.seen} | shown, alt="A cat; three grey maps: a blurred one, a finer one, their sum.")

# %% [markdown]
# The map from below was made of cells of 16 pixels, and enlarging cannot make it sharper. The one from the side has
# cells of 8 pixels of its own: the eyes and the nose come from there. In the sum, both can be recognised.

# %% [markdown]
# ## 6 · Equality
#
# First the three blocks with the trained weights, by name, and the end of each stage on the photo.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for number, stage in stages.items():
    mine[number].load_state_dict(stage.lateral.state_dict())
    d = maps[f"decoder.stage{number}.reconstruction"] * maps[f"decoder.stage{number}.gradient_attention"]
    with torch.inference_mode():
        out = go_up(d[None], maps[f"encoder.x{number - 1}"][None], mine[number])
    wanted = maps[f"decoder.stage{number}.out"]
    print(f"stage {number}: {tuple(wanted.shape)}, equal to 1e-5:", bool((out[0] - wanted).abs().max() <= 1e-5))

# %% [markdown]
# Then random weights and biases, at odd sizes and batch 1, together and apart.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.checks.weights import randomise
from birefnet_lite.network.encoder import fuse_scales
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.resize import resize


def with_package(full, half, weight, bias):
    return with_conv2d(torch.cat([full, resize(half, full.shape[-2:])], dim=1), weight, bias)


separate = lateral_apart if apart_checked.passed else with_package
real, block = randomise(LateralBlock(12, 5)), MyLateralBlock(12, 5)
block.load_state_dict(real.state_dict())

# %% [markdown]
# `fuse_scales` is what notebook 02 was about: it joins both maps, the whole photo's in front.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for batch, large, small in [(1, (8, 12), (4, 6)), (2, (9, 7), (4, 3)), (1, (1, 5), (1, 2))]:
    full, half = (torch.randn(batch, 6, *size, generator=generator) for size in (large, small))
    with torch.inference_mode():
        (joined,) = fuse_scales((full,), (half,), "cat")
        wanted = real(joined)
        ours = block(joined), separate(full, half, block.conv.weight[:, :, 0, 0], block.conv.bias)
    print(tuple(joined.shape), "equal to 1e-5:", *(bool((x - wanted).abs().max() <= 1e-5) for x in ours))

# %% [markdown]
# ## 7 · With the lateral blocks
#
# Your three blocks take the places of the package's in the whole network. The picture of section 1, repaired:

# %%
import copy

rebuilt = copy.deepcopy(model)
for number in (4, 3, 2):
    getattr(rebuilt.decoder, f"stage{number}").lateral = mine[number]
with torch.inference_mode():
    mask = rebuilt(prepared.tensor).logits.sigmoid()[0, 0].numpy()
pair = {"no lateral maps": cut_off, "with your blocks": mask}
compare_masks(photo, by_hand, pair, "A cat; a blob of a mask; and a mask with the outline of the cat.")

# %% [markdown]
# The outline is back, the ears included: IoU .852 without the lateral blocks, .937 with your blocks. Section 1's blob
# was not the fault of the decoder: nobody had shown it where the cat ends.

# %% [markdown]
# ## 8 · Play with it
#
# The view opens at the lateral block of stage 2: the finest map that crosses, x1 at stride 4. **Look for two things:**
#
# 1. Compare it with *Encoder, whole image* at level 1, a part of what it was made from. Both have equally many cells: a
#    lateral block mixes channels and moves nothing. Put the pointer on the rim of an eye, and go back and forth.
# 2. In the same row, go from *Lateral block* to *Stage output*, and type the same number into *Channel*. The second is
#    the first plus what came from below, cell by cell. Is the sum more like what came from the side?
#
# <details><summary>What you should see</summary>
#
# 1. Lines stay where they are to the cell: a 1 × 1 convolution can swap, mix and invert channels, and nothing else.
# 2. Not here: the lines come from the side, the large areas from below. In channel 51 the sum correlates at .69 with
#    the lateral map and at .85 with what came from below. In 25 of the 64 channels the lateral map is ahead.
#
# </details>

# %%
from widgets import feature_pyramid

view = feature_pyramid(model, photo, size=SIZE)
view.layer = "decoder.stage2.lateral"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - A lateral block is a **1 × 1 convolution**: one matrix, the same at every cell.
# - **Bilinear resizing** is a matrix too, along height and width; with aligned corners, the first cell stays first.
# - The two **may change places**, biases included, because the resizing's rows add up to 1. 3 × 3 convolutions and
#   ReLUs may not.
# - A stage ends with **up and add**: the decoder's map enlarged, plus the encoder's through its lateral block.
# - Aligned corners **stretch** a map: the first cell's number goes to the first pixel.

# %% [markdown]
# ## Three questions
#
# **1. The lateral block is applied to the encoder's map, and its result is enlarged. Someone enlarges first. What
# changes?**
#
# - a) The result, near the borders.
# - b) The result, because the bias is enlarged too.
# - c) Only the cost.
#
# <details><summary>Answer</summary>
#
# **c.** One works along the channels, the other along height and width. The bias is the same at every cell, and
# enlarging leaves a constant map as it is (b). The rows of the resizing add up to 1 at the borders, too (a).
#
# </details>

# %% [markdown]
# **2. Someone puts a ReLU behind the lateral block and enlarges afterwards. Is that the same as enlarging first?**
#
# - a) Yes, a ReLU looks at one cell only, too.
# - b) No. The mean of two numbers after a ReLU is not the ReLU of their mean.
# - c) Only for batch 1.
#
# <details><summary>Answer</summary>
#
# **b.** Take −1 and 1, and the place in the middle. ReLU first: the mean of 0 and 1 is 0.5. Enlarged first: the ReLU
# of 0 is 0. Looking at one cell only is not enough (a): it takes a *linear* layer.
#
# </details>

# %% [markdown]
# **3. Why is a convolution needed before the two maps are added?**
#
# - a) To make them equally wide, and so that channel $k$ means the same in both.
# - b) To make them equally large.
# - c) To blur the encoder's map.
#
# <details><summary>Answer</summary>
#
# **a.** Adding puts channel $k$ of one to channel $k$ of the other. Where both happen to have the same width, the
# convolution is still what brings the right features together. The size (b) is the resizing's business, and a 1 × 1
# convolution cannot blur (c).
#
# </details>

# %% [markdown]
# ## Appendix · A plain transformer
#
# All this needs maps at four strides. A plain vision transformer, such as DINOv3, has one stride throughout, 16. The
# package then puts a **neck** between encoder and decoder, `PyramidNeck`: each of the four maps is resized to its
# place in the pyramid, and brought to its width by a 1 × 1 convolution. These are your two matrices again.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.lateral import PyramidNeck

neck = randomise(PyramidNeck((12, 12, 12, 12), (4, 8, 16, 32)))
features = tuple(torch.randn(1, 12, 8, 12, generator=generator) for _ in range(4))
with torch.inference_mode():
    pyramid = neck(features, (128, 192))
print(*(tuple(x.shape) for x in pyramid))

# %% [markdown]
# The package resizes first, as the original does. Yours may do it the other way round: by section 4, the numbers are
# the same. At stride 4 there are 16 times as many cells, so the order matters for the time.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def my_neck(features, size):
    for x, conv, stride in zip(features, neck.projections, (4, 8, 16, 32)):
        x = project(x, conv.weight[:, :, 0, 0], conv.bias)  # first the width, on few cells
        yield enlarge(x, (size[0] // stride, size[1] // stride))


with torch.inference_mode():
    pairs = zip(my_neck(features, (128, 192)), pyramid, strict=True)
    print("equal to 1e-5:", all((a - b).abs().max().item() <= 1e-5 for a, b in pairs))

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `lateral_conv` | lateral connections | `BasicLatBlk` | `network/lateral.py`, `LateralBlock` |
# | `resize_matrix`, `enlarge` | – | `F.interpolate(..., align_corners=True)` | `network/resize.py` |
# | `go_up` | reconstruction module | `Decoder.forward` | `network/decoder.py`, `DecoderStage` |
# | `lateral_apart` | – | – | `optimization/decoder.py`, `Lateral` |
# | the neck | – | `pyramid_neck_x4` to `pyramid_neck_x1` | `network/lateral.py`, `PyramidNeck` |
#
# **Paper and code.** The original has a flag for the kind of lateral block, `lat_blk`, with one choice. The neck came
# with DINOv3, after the paper. With aligned corners, the distance of two new cells depends on the size of the map.
#
# Feature pyramid networks: Lin et al., 2017, [arXiv:1612.03144](https://arxiv.org/abs/1612.03144).
