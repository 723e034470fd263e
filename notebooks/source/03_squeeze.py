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
# # 03 · The squeeze module
#
# The encoder's deepest map knows what is in the photo, in hundreds or thousands of channels. The squeeze module makes
# it narrow, looks at it with several **receptive fields** at once, and hands it to the decoder. Its kernels are
# **deformable**: they choose where to look.
#
# **After this notebook you can**
# - say what a receptive field is, and what dilated and deformable kernels do to it,
# - read a map between its cells, and write deformable convolution with it, tap by tap,
# - build the squeeze module, and get the same numbers as the package.
#
# **Time:** 90 minutes, 70 of them for the exercises. **You need:** notebook 02.

# %% [markdown]
# ## 1 · Fur without a cat
#
# All parts of this network are trained. Only the result of the squeeze module is replaced by zeros. Orange pixels are
# background that the mask takes for the object; blue ones are parts of the object that it misses.

# %%
import torch

from birefnet_lite.analysis import prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.masks import compare_masks
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 384)
photo, by_hand, _ = load_photo("chelsea")
prepared = prepare(model, photo, size=SIZE)
with torch.inference_mode():
    *finer, x4 = model.encoder(prepared.tensor)  # x4: (1, C, 8, 12)
    squeezed = model.squeeze(x4)
    blind = model.decoder(prepared.tensor, (*finer, 0 * squeezed)).logits.sigmoid()[0, 0].numpy()
compare_masks(photo, by_hand, {"squeeze module silent": blind}, "A cat; beside it a mask of whiskers and stripes.")

# %% [markdown]
# What is left follows stripes, whiskers and the rims of the eyes: the decoder sees edges, and nobody tells it that they
# all belong to one cat. That message comes from the deepest map, through the module of this notebook. On the map, you
# are at the bottom, between the encoder and the decoder. What you build here comes back in every stage.

# %%
from birefnet_lite.course import network_map

network_map("03")

# %% [markdown]
# ## 2 · Receptive fields
#
# The **receptive field** of a cell is the part of the input that can change its value. A convolution of $k \times k$
# sees $k \times k$ cells: its **taps**. Two of 3 × 3, one behind the other, see 5 × 5. With taps $d$ cells apart, a
# **dilated** (in French *à trous*, with holes) convolution reaches
#
# $$1 + d\,(k - 1)$$
#
# cells, and still has $k \times k$ weights. A gradient tells which cells a layer sees.

# %%
import torch.nn.functional as F
from torch import nn


def looks_at(layer, size=41):
    """(size, size): how much each cell of a map counts for the middle cell of the layer's output."""
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    layer(x)[0, 0, size // 2, size // 2].backward()
    return x.grad[0, 0]

# %% [markdown]
# Four layers whose weights are all 1. For each, the number of cells that it sees, and how far it reaches.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def ones(k, rate=1):
    return lambda x: F.conv2d(x, torch.ones(1, 1, k, k), padding=k // 2 * rate, dilation=rate)


layers = {"3 × 3": ones(3), "3 × 3 twice": lambda x: ones(3)(ones(3)(x)), "7 × 7": ones(7), "rate 6": ones(3, 6)}
for name, layer in layers.items():
    rows, columns = looks_at(layer).nonzero(as_tuple=True)
    print(f"{name:12} {len(rows):3} cells, reaches {rows.max() - rows.min() + 1}")

# %% [markdown]
# The same as a picture, with two larger rates.

# %%
from birefnet_lite.course import side_by_side

layers |= {"rate 12": ones(3, 12), "rate 18": ones(3, 18)}
seen = {name: looks_at(layer) for name, layer in layers.items()}
side_by_side(
    {name: (cells / cells.max()).numpy() for name, cells in seen.items()},
    alt="Six black squares with the cells that a layer sees in white: small blocks of 3, 5 and 7 cells, then nine dots "
    "that lie further and further apart.",
)

# %% [markdown]
# **Atrous spatial pyramid pooling**, ASPP (Chen et al., 2017), runs several of them side by side: 1 × 1, and 3 × 3 at
# rates 6, 12 and 18, and one that sees the mean of the whole map.
#
# But level 4 is small. How many of the nine taps find a cell inside the map? On average over all cells:

# %% tags=["NBVAL_CHECK_OUTPUT"]
for size in [(32, 32), (8, 12)]:
    inside = [ones(3, rate)(torch.ones(1, 1, *size)).mean().item() for rate in (1, 6, 12, 18)]
    print(f"{size}:", *(f"rate {rate}: {n:.1f}" for rate, n in zip((1, 6, 12, 18), inside)), sep="   ")

# %% [markdown]
# The first line is a photo of 1024 × 1024, the second one of 256 × 384. There, the kernels at rates 12 and 18 have
# one tap left, the middle one: they are expensive 1 × 1 convolutions. A fixed pattern does not fit every size and
# every object. So let each kernel move its taps, cell by cell. For that, we must read *between* cells.

# %% [markdown]
# ## 3 · Between the cells
#
# A place is a row $r$ and a column $c$, counted in cells from 0, and need not be whole. **Bilinear** reading mixes
# the four cells around it. The nearer a cell, the more it counts:
#
# $$x(r, c) = \sum_{i, j} \max(0, 1 - |r - i|) \cdot \max(0, 1 - |c - j|) \cdot x_{ij}$$
#
# Outside the map, everything is 0.
#
# ### A toy map, by hand
#
# Let the map be $\begin{pmatrix} 0 & 4 \\ 8 & 12 \end{pmatrix}$. At $(0.25,\ 0.5)$, the upper row gives
# $(0 + 4) / 2 = 2$ and the lower one $(8 + 12) / 2 = 10$. The upper row is nearer and counts $0.75$:
# $0.75 \cdot 2 + 0.25 \cdot 10 = 4$.
#
# At $(0,\ 1.5)$, one half of the place lies outside: $0.5 \cdot 4 + 0.5 \cdot 0 = 2$.

# %%
toy = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])  # (B, C, H, W)
toy_rows, toy_columns = torch.tensor([[[0.25, 0.0]]]), torch.tensor([[[0.5, 1.5]]])  # each (B, 1, 2): two places

# %% [markdown]
# This function reads *whole* places. You may use it in the exercise.

# %%
def read(x, rows, columns):
    """The cells of x (B, C, H, W) at whole rows and columns, each (B, h, w), zero outside: (B, C, h, w)."""
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)  # (B, h, w)
    image = torch.arange(len(x))[:, None, None]
    cells = x[image, :, rows.long().clamp(0, height - 1), columns.long().clamp(0, width - 1)]  # (B, h, w, C)
    return cells.movedim(-1, 1) * inside[:, None]

# %% [markdown]
# ### Exercise 1 · Read between cells
#
# *Difficulty ★★☆ · 12 minutes.* Read a map at any places. Every image of the batch has places of its own, and all
# channels of an image are read at the same places. Gradients must reach the places: later, the network learns them.

# %% tags=["exercise"]
def bilinear_sample(x, rows, columns):
    """Reads x bilinearly at places counted in cells; the middle of the first cell is (0, 0), outside all is zero.

    Shapes: x (B, C, H, W), rows and columns (B, h, w) each, to (B, C, h, w). Places may lie anywhere.
    """
    # <solution>
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top)[:, None], (columns - left)[:, None]  # (B, 1, h, w)
    upper = (1 - right) * read(x, top, left) + right * read(x, top, left + 1)
    lower = (1 - right) * read(x, top + 1, left) + right * read(x, top + 1, left + 1)
    return (1 - down) * upper + down * lower
    # </solution>

# %% [markdown]
# The check also reads outside the map, and looks at gradients.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

sample_checked = checks.bilinear_sample(bilinear_sample)
sample_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which whole row lies just above the place, also when the place is $-0.3$? How far below that row is the place? The
# weights of the two rows add up to 1. The same goes for columns.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Round rows and columns down. The fractions are the places minus what was rounded. Read four times: at the rounded
# place, one to the right, one below, and both. Mix left and right by the column's fraction, twice; mix the two
# results by the row's fraction. Fractions have no axis for channels yet: give them one.
#
# </details>

# %% [markdown]
# PyTorch has this built in, as `grid_sample`, with places from −1 to 1. It stands in while the exercise is unsolved.

# %%
def with_grid_sample(x, rows, columns):
    height, width = x.shape[-2:]
    grid = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=-1)  # (B, h, w, 2)
    return F.grid_sample(x, grid, align_corners=True)


sample = bilinear_sample if sample_checked.passed else with_grid_sample

# %% [markdown]
# The toy map, yours or PyTorch's: the 4 and the 2 that we found by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
sample(toy, toy_rows, toy_columns)

# %% [markdown]
# ## 4 · Deformable convolution
#
# A plain convolution gives at the cell $p$ the sum over its taps $t$ of $w_t \cdot x(p + p_t)$, where $p_t$ is the
# tap's place in the kernel: for 3 × 3, $(-1, -1)$ to $(1, 1)$. The **deformable** one (Dai et al., 2017) adds to each
# tap an **offset** $\Delta_t(p)$, and (Zhu et al., 2019) a **modulation** $m_t(p)$ that says how much it counts. Both
# differ from cell to cell:
#
# $$y(p) = \sum_t w_t \cdot m_t(p) \cdot x\bigl(p + p_t + \Delta_t(p)\bigr)$$
#
# Here $x(\cdot)$ is bilinear reading, and $w_t$ a matrix from the input's channels to the output's.
#
# ### A toy row, by hand
#
# One row, $(0, 1, 2, 3)$, and a 1 × 1 kernel of weight 1 that looks half a cell to the right. Between 0 and 1 it reads
# $0.5$, then $1.5$ and $2.5$. The last cell looks between 3 and the outside, and reads $1.5$.

# %%
row = torch.tensor([[[[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]]]])  # (B, C, H, W), with an empty row below
half_right = torch.zeros(1, 2, 2, 4)
half_right[:, 1] = 0.5  # channel 0 goes down, channel 1 to the right

# %% [markdown]
# ### Exercise 2 · Deformable convolution
#
# *Difficulty ★★★ · 30 minutes.* Go through the taps one after another. For each, find where all cells look, read
# there with `sample(x, rows, columns)` from above, multiply by the mask, and add to the sum.
#
# Taps are counted row by row: in a 3 × 3 kernel, tap 0 is above and to the left, tap 1 above, tap 4 the middle. The
# weight of a tap, as in `F.conv2d`, is `weight[:, :, row, column]` of its place in the kernel.

# %% tags=["exercise"]
def deform_conv(x, offset, mask, weight):
    """Modulated deformable convolution with stride 1, padded with zeros so that height and width stay. No bias.

    x: (B, C, H, W). weight: (O, C, k, k), k odd.
    offset: (B, 2 * k * k, H, W), in cells: down for tap 0, right for tap 0, down for tap 1, right for tap 1, ...
    mask: (B, k * k, H, W), the modulation: a factor for each tap. Returns (B, O, H, W).
    """
    # <solution>
    height, width = x.shape[-2:]
    k, result = weight.shape[-1], 0
    for tap in range(k * k):
        i, j = tap // k, tap % k
        rows = torch.arange(height)[:, None] + i - k // 2 + offset[:, 2 * tap]  # (B, H, W)
        columns = torch.arange(width) + j - k // 2 + offset[:, 2 * tap + 1]
        seen = sample(x, rows, columns) * mask[:, tap, None]  # (B, C, H, W)
        result = result + torch.einsum("oc,bchw->bohw", weight[:, :, i, j], seen)
    return result
    # </solution>

# %% [markdown]
# The check tries kernels of 1 × 1, 3 × 3 and 5 × 5.

# %% tags=["NBVAL_CHECK_OUTPUT"]
deform_checked = checks.deform_conv(deform_conv)
deform_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Begin with k = 1: one tap, and its rows are the cell's own row plus `offset[:, 0]`. For a larger kernel, a tap also
# stands some whole rows and columns away from the middle of the kernel. Which, for tap 0 of 3 × 3?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each tap: its row and column in the kernel, from its number by division and remainder. Rows: 0 to H − 1 standing
# as a column of numbers, plus the kernel's row minus half the kernel, plus this tap's first offset map. Columns
# likewise, with the second one. Sample; multiply by this tap's mask, spread over the channels; take the matrix
# (O, C) of this tap times the C numbers of every cell; add to what you have.
#
# </details>

# %% [markdown]
# While it is unsolved, the package's operator stands in. The toy row again: 0.5, 1.5, 2.5, 1.5.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.deformable import deform_conv2d


def with_package(x, offset, mask, weight):
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask)


deform = deform_conv if deform_checked.passed else with_package
deform(row, half_right, torch.ones(1, 1, 2, 4), torch.ones(1, 1, 1, 1))[0, 0, 0]

# %% [markdown]
# Three ways to compute the same: yours, the package's, and torchvision's.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torchvision

generator = torch.Generator().manual_seed(0)
x, weight = torch.randn(2, 6, 9, 7, generator=generator), torch.randn(4, 6, 3, 3, generator=generator) / 7
offset, mask = torch.randn(2, 18, 9, 7, generator=generator), torch.rand(2, 9, 9, 7, generator=generator)
ours, package = deform(x, offset, mask, weight), with_package(x, offset, mask, weight)
vision = torchvision.ops.deform_conv2d(x, offset, weight, padding=1, mask=mask)
for name, theirs in {"the package": package, "torchvision": vision}.items():
    print(f"{name}: {tuple(theirs.shape)}, equal to 1e-5: {bool((ours - theirs).abs().max() <= 1e-5)}")

# %% [markdown]
# ### What moving is good for
#
# A thin wire crosses a map. The nine taps of a plain 3 × 3 kernel see a short piece of it. With these offsets, the
# same nine taps follow it: tap $t$ stands in column $16 + 3\,(t - 4)$, on the wire.

# %%
wire_row = 16 + 9 * torch.sin(torch.arange(33) / 5 - 3.2)  # where the wire is in each column
wire = (1 - (torch.arange(33)[:, None] - wire_row).abs() / 1.5).clamp(min=0)  # (33, 33)
tap = torch.arange(9)
target = torch.stack([wire_row[16 + 3 * (tap - 4)], 16 + 3 * (tap - 4)], dim=1)  # (9, 2): row, column
ordinary = 16 + torch.stack([tap // 3, tap % 3], dim=1) - 1
moved = (target - ordinary).reshape(1, 18, 1, 1).expand(1, 18, 33, 33)

# %% [markdown]
# Orange is what the middle cell sees. A tap between cells shares its weight among its four neighbours.

# %%
def overlay(offset):
    taps = looks_at(lambda x: deform(x, offset, torch.ones(1, 9, 33, 33), torch.ones(1, 1, 3, 3)), 33)
    orange, grey = torch.tensor([1.0, 0.65, 0.1]), 0.4 * wire[..., None].expand(33, 33, 3)
    return (255 * grey.lerp(orange, taps.clamp(0, 1)[..., None])).byte().numpy()


side_by_side(
    {"a wire": wire.numpy(), "plain taps": overlay(torch.zeros_like(moved)), "the same taps, moved": overlay(moved)},
    alt="A bent wire; on it an orange block of 3 by 3 cells; and nine orange dots that lie along the wire.",
)

# %% [markdown]
# The plain kernel sees 3 columns of the wire, the moved one reaches over 25, with the same nine weights.
#
# ### Who decides?
#
# Two ordinary convolutions look at the map first. One gives the offsets. The other gives the modulation, through
# $2 \cdot \text{sigmoid}$, so that it lies between 0 (the tap does not count) and 2.

# %%
class MyDeformableConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, k):
        super().__init__()
        self.offset_conv = nn.Conv2d(in_channels, 2 * k * k, k, padding=k // 2)
        self.modulation_conv = nn.Conv2d(in_channels, k * k, k, padding=k // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, k, bias=False)  # holds the weight
        for layer in (self.offset_conv, self.modulation_conv):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        mask = 2 * self.modulation_conv(x).sigmoid()  # (B, k * k, H, W)
        return deform(x, self.offset_conv(x), mask, self.conv.weight)

# %% [markdown]
# Both start at zero. Then no tap moves, and each counts $2 \cdot \text{sigmoid}(0) = 1$: a new layer is a plain
# convolution, and training goes on from there.

# %% tags=["NBVAL_CHECK_OUTPUT"]
torch.manual_seed(0)
fresh = MyDeformableConv2d(6, 4, 3)
plain = F.conv2d(x, fresh.conv.weight, padding=1)
print("a new one is a plain convolution:", bool((fresh(x) - plain).abs().max() <= 1e-5))

# %% [markdown]
# ## 5 · Several receptive fields
#
# BiRefNet puts deformable kernels into the pyramid. Its branches are 1 × 1, 1 × 1, 3 × 3 and 7 × 7, and the pooled
# one. All five see the same map. Each is a convolution, a batch norm and a ReLU. The middle of this picture is
# exercise 3, all of it exercise 4.

# %%
from birefnet_lite.course.figures_decoder import five_branches

five_branches()

# %% [markdown]
# One branch, as a class:

# %%
class Branch(nn.Module):
    """One receptive field: (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, conv, out_channels):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()

# %% [markdown]
# ### Exercise 3 · The pyramid
#
# *Difficulty ★★☆ · 12 minutes.* The parts are made. Write what flows through them:
#
# 1. Each of the four branches sees $x$ and gives one view.
# 2. The pooled view: the mean of $x$ over height and width goes through `self.pooled`; what comes out, one number per
#    channel, is spread over the whole map.
# 3. All five, concatenated in this order, go through `self.project`, `self.norm`, a ReLU and `self.dropout`.

# %% tags=["exercise"]
class MyDeformableASPP(nn.Module):
    """Five receptive fields side by side. Shapes: (B, channels, H, W) to the same; each view has `inner` channels."""

    def __init__(self, channels, inner):
        super().__init__()
        self.branches = nn.ModuleList(Branch(MyDeformableConv2d(channels, inner, k), inner) for k in (1, 1, 3, 7))
        self.pooled = Branch(nn.Conv2d(channels, inner, 1, bias=False), inner)
        self.project = nn.Conv2d(5 * inner, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        # <solution>
        views = [branch(x) for branch in self.branches]
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True))  # (B, inner, 1, 1)
        views.append(pooled.expand_as(views[0]))
        x = torch.cat(views, dim=1)  # (B, 5 * inner, H, W)
        return self.dropout(self.norm(self.project(x)).relu())
        # </solution>

# %% [markdown]
# The check gives your pyramid random weights and statistics, by name.

# %% tags=["NBVAL_CHECK_OUTPUT"]
aspp_checked = checks.deformable_aspp(MyDeformableASPP)
aspp_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `self.pooled` is 1 × 1, and works on a map of 1 × 1 cells as on any other. Keep the mean's height and width as axes
# of length 1. A tensor with such axes can be expanded without copying anything.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A list of four views; then the mean with its axes kept, through the pooled branch, expanded to the shape of any
# view, at the end of the list. Concatenate along the channels. Project, norm, ReLU, dropout, in that order.
#
# </details>

# %% [markdown]
# **Paper and code.** The paper names three kernels, 1, 3 and 7. The code has the 1 × 1 branch *twice*, with weights of
# its own each time. Published weights need both, so we keep them.
#
# **At batch 1** the pooled branch has a single cell per channel. A batch norm cannot learn from one number, so
# training needs a batch of two or more. In use, with stored statistics, one photo is fine.

# %% [markdown]
# ## 6 · Squeeze
#
# What does a 7 × 7 deformable layer cost? Take `lite`: 2880 channels come in, x4 with its context. Each view has 256.
# If the pyramid saw all 2880, that one layer would be larger than the whole network, which has 44 million numbers. So
# the module first **narrows** to 64, then looks, then **widens** to 1536.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.deformable import DeformableConv2d

for channels in (2880, 64):
    layer = DeformableConv2d(channels, 256, 7)
    print(f"7 × 7, {channels:4} to 256 channels: {sum(p.numel() for p in layer.parameters()):,}")

# %% [markdown]
# ### Exercise 4 · The squeeze module
#
# *Difficulty ★★☆ · 11 minutes.* Narrow, look, widen. In this order, with these names:
#
# | name | what |
# |---|---|
# | `conv_in` | 3 × 3 convolution with a bias, `in_channels` to `inner`; height and width stay |
# | `norm_in` | batch norm, then a ReLU |
# | `aspp` | the module that is given |
# | `conv_out` | 3 × 3 convolution with a bias, `inner` to `out_channels`; height and width stay |
# | `norm_out` | batch norm, and *no* activation |

# %% tags=["exercise"]
class MySqueeze(nn.Module):
    """Narrow, look, widen. Shapes: (B, in_channels, H, W) to (B, out_channels, H, W).

    aspp: a module that takes (B, inner, H, W) to the same shape.
    """

    def __init__(self, in_channels, inner, out_channels, aspp):
        super().__init__()
        # <solution>
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.norm_in = nn.BatchNorm2d(inner)
        self.aspp = aspp
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)
        self.norm_out = nn.BatchNorm2d(out_channels)
        # </solution>

    def forward(self, x):
        # <solution>
        x = self.norm_in(self.conv_in(x)).relu()  # (B, inner, H, W)
        return self.norm_out(self.conv_out(self.aspp(x)))
        # </solution>

# %% [markdown]
# The check looks at the names too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
squeeze_checked = checks.squeeze_module(MySqueeze)
squeeze_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `__init__` makes four layers and keeps the one that it is given. Which padding does a 3 × 3 convolution need so that
# the map keeps its rim?
#
# </details>
# <details><summary>Hint 2</summary>
#
# One line per row of the table in `__init__`. In `forward`, the five in the order of the table, with the one ReLU
# behind `norm_in`.
#
# </details>

# %% [markdown]
# Unsolved exercises are replaced by the package's parts.

# %%
from birefnet_lite.network.aspp import DeformableASPP
from birefnet_lite.network.blocks import BasicBlock


def package_squeeze(in_channels, inner, out_channels, aspp):
    block = BasicBlock(in_channels, out_channels, inner, aspp="none")
    block.aspp = aspp
    return block


Pyramid = MyDeformableASPP if aspp_checked.passed else lambda channels, inner: DeformableASPP(channels, channels=inner)
Squeeze = MySqueeze if squeeze_checked.passed else package_squeeze

# %% [markdown]
# ## 7 · On a photo
#
# Your module takes the weights of the real one, and sees the real x4 of a photo. It has as many numbers as the table
# says.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

real, config = model.squeeze[0], model.config
widths = real.conv_in.in_channels, config.inter_channels, real.conv_out.out_channels
mine = Squeeze(*widths, Pyramid(config.inter_channels, config.aspp_channels)).eval()
mine.load_state_dict(real.state_dict())
print(f"{course.notice}\n{sum(p.numel() for p in mine.parameters()):,} parameters")
part_table(model, SIZE, upto="03")

# %% [markdown]
# The picture of section 1, repaired by your module:

# %%
with torch.inference_mode():
    mask = model.decoder(prepared.tensor, (*finer, mine(x4))).logits.sigmoid()[0, 0].numpy()
pair = {"squeeze module silent": blind, "your squeeze module": mask}
compare_masks(photo, by_hand, pair, "A cat; a mask of whiskers and stripes; and a mask of the whole cat.")

# %% [markdown]
# The IoU goes from .608 to .937: with your module, the stripes belong to a cat. What does each branch make of the
# photo? Below is the mean of its channels at each of the 8 × 12 cells, white where it is largest. The pooled branch is
# not shown: it gives the same at every cell.

# %%
with torch.inference_mode():
    narrow = real.norm_in(real.conv_in(x4)).relu()
    views = [branch(narrow)[0].mean(dim=0) for branch in real.aspp.branches]  # each (8, 12)
names = ("1 × 1", "1 × 1, the other", "3 × 3", "7 × 7")
side_by_side(
    {"photo": prepared.seen} | {name: (view / view.max()).numpy() for name, view in zip(names, views)},
    alt="A cat, and beside it four coarse grey maps of 8 by 12 cells, one for each branch of the pyramid.",
)

# %% [markdown]
# Each branch answers to something else: the second 1 × 1 is bright on the cat's face, the 7 × 7 dark there and bright
# along the border of the photo. One cell at the right of the chin stands out in both 1 × 1 branches.

# %% [markdown]
# ## 8 · Equality
#
# First the trained weights on the photo. Then random weights, biases and statistics, at odd sizes: the same numbers
# as the package's module.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.checks.weights import randomise


def same(x):
    with torch.inference_mode():
        return bool((mine(x) - real(x)).abs().max() <= 1e-5)


print("on the photo, equal to 1e-5:", same(x4))
real = randomise(BasicBlock(*widths[::2], config.inter_channels, aspp_channels=config.aspp_channels)).eval()
mine.load_state_dict(real.state_dict())
for size in [(1, widths[0], 8, 12), (2, widths[0], 5, 7), (1, widths[0], 3, 2)]:
    print(size, "equal to 1e-5:", same(torch.randn(size, generator=generator)))

# %% [markdown]
# ## 9 · Does it matter that the taps move?
#
# First, where do they go? For each kernel size in the squeeze module, and for the 7 × 7 kernels of the stages: the
# share of taps that land inside the map, as trained, and where they would be without offsets.

# %%
from birefnet_lite.analysis.sampling import deformable_kernels
from birefnet_lite.course.figures_decoder import taps_inside


def share_inside(kernel, moved):
    rows, columns = (torch.arange(n) for n in kernel.modulation.shape[1:])
    tap = torch.arange(kernel.size**2)
    down = rows[:, None] + (tap // kernel.size - kernel.size // 2)[:, None, None]  # (taps, h, 1)
    right = columns + (tap % kernel.size - kernel.size // 2)[:, None, None]  # (taps, 1, w)
    offsets = moved * torch.as_tensor(kernel.offsets).float()  # (taps, 2, h, w)
    down, right = down + offsets[:, 0], right + offsets[:, 1]
    inside = (down > -1) & (down < len(rows)) & (right > -1) & (right < len(columns))  # it reads something
    return inside.float().mean().item()

# %% [markdown]
# The squeeze module and stage 4 work on 8 × 12 cells, stage 1 on 64 × 96.

# %%
kernels = deformable_kernels(model, prepared)
chosen = {f"squeeze {k.size} × {k.size}": k for n, k in kernels.items() if n.startswith("squeeze") and k.size > 1}
chosen |= {f"stage {n[13]} 7 × 7": k for n, k in kernels.items() if n.startswith("decoder.stage") and k.size == 7}
taps_inside({title: (share_inside(k, 1), share_inside(k, 0)) for title, k in chosen.items()})

# %% [markdown]
# Training has moved taps *out* of the map. Of the squeeze module's 7 × 7 kernel, 27 % of the taps read anything on this
# photo (37 % on the coffee), fewer than the 67 % of a kernel whose taps do not move; at stage 4 it is 19 %. Deformable
# kernels were brought in because rigid ones lose their taps on small maps; this trained network does not use them for
# that. A tap that reads zeros is a tap switched off, and that may be what it learned. On the fine map of stage 1, 85 %
# are inside.
#
# ### Predict, then measure
#
# *5 minutes, no check.* Set every offset of the squeeze module to zero, so that its kernels are plain ones, and run
# the network on the cat, the astronaut and the cup. **First write down** for each photo whether the IoU will fall by
# more than .05, by less, or rise. Then run the cell.

# %%
import copy

from birefnet_lite.course.masks import score
from birefnet_lite.network.deformable import DeformableConv2d

rigid = copy.deepcopy(model)
for layer in rigid.squeeze.modules():
    if isinstance(layer, DeformableConv2d):
        nn.init.zeros_(layer.offset_conv.weight)
        nn.init.zeros_(layer.offset_conv.bias)

# %% [markdown]
# Each photo, with the trained offsets and without. Pixels whose owner is disputable are left out, so that the scores
# differ from those of the pictures.

# %%
for name in ("chelsea", "astronaut", "coffee"):
    image, truth, ignore = load_photo(name)
    with torch.inference_mode():
        seen = prepare(model, image, size=SIZE).tensor
        masks = [net(seen).logits.sigmoid()[0, 0].numpy() for net in (model, rigid)]
    print(f"{name:10} moved: {score(masks[0], truth, ignore):.2f}   not moved: {score(masks[1], truth, ignore):.2f}")

# %% [markdown]
# <details><summary>What you should see</summary>
#
# Nothing changes on the cat, .98 both times; the astronaut gets .01 better; the coffee, the failure case of notebook
# 00, falls from .77 to .50. One answer for all photos cannot be right. On these three, plain kernels do as well where
# the mask is good, and only the failure case depends on the offsets. But these weights were trained *with* moving taps:
# what moving is worth, only training without it could tell.
#
# </details>

# %% [markdown]
# ## 10 · Play with it
#
# Click a place in the photo: dots show where the kernels of a block read for it. Yellow is 1 × 1, orange 3 × 3, light
# blue 7 × 7; the fainter a dot, the less it counts: the view calls the modulation *weight*. **Look for two things:**
#
# 1. In *Squeeze*, a cell is 32 pixels wide. Pin a cell on the cat's nose, and then one on the blanket: the offsets come
#    from what is there. How many of the 49 taps of the 7 × 7 kernel land inside the photo? Taps outside read zeros; the
#    view draws them at the border.
# 2. Choose a map of *Stage 1*. The kernels are as large in cells, but a cell is 4 pixels wide there: an unmoved 7 × 7
#    covers 28 of 384 pixels, 7 % of the width. Do its taps move as far? The table says it for the pinned cell.
#
# <details><summary>What you should see</summary>
#
# 1. At the pinned cell, the nose, 15 of 49; on the blanket, at the right end of the same row of cells, 20.
# 2. At the nose they move by 11.4 cells on average, 46 pixels; in the squeeze module by 6.7 cells, which are 216
#    pixels. So on the fine map most taps are inside.
#
# </details>

# %%
from widgets import sampling_points

view = sampling_points(model, photo, size=SIZE)
view.layer = "Squeeze · kernel 4 · shift"
view.pin = [268, 252]
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - The **receptive field** is what a cell can see. Larger kernels, dilation, stacking and moving taps widen it.
# - Dilated kernels with fixed rates lose their taps on small maps; in this network, moved taps leave small maps, too.
# - **Bilinear reading** makes places between cells possible, and gives them a gradient: so offsets can be learned.
# - **Deformable convolution**: each tap is moved and multiplied by a modulation, cell by cell; a new one is a
#   plain convolution.
# - The **squeeze module**: narrow, look with 1, 1, 3, 7 and the mean, widen; no activation at the end.

# %% [markdown]
# ## Three questions
#
# **1. A 3 × 3 convolution at rate 18 runs on a map of 8 × 12 cells, padded with zeros. Which layer gives the same
# numbers?**
#
# - a) A 37 × 37 convolution.
# - b) A 1 × 1 convolution with the middle weight.
# - c) A 3 × 3 convolution at rate 8.
#
# <details><summary>Answer</summary>
#
# **b.** Wherever the kernel stands, its other eight taps are 18 cells away, outside the map, and read zeros. It
# *reaches* 37 cells (a), but sees one.
#
# </details>

# %% [markdown]
# **2. Why is a map read bilinearly, and not at the nearest cell?**
#
# - a) It is faster.
# - b) It gives smoother masks.
# - c) So that the offsets have a gradient and can be learned.
#
# <details><summary>Answer</summary>
#
# **c.** With the nearest cell, a small change of an offset changes nothing: the gradient is zero, and training never
# moves a tap. Four cells instead of one take longer (a).
#
# </details>

# %% [markdown]
# **3. Why is the modulation $2 \cdot \text{sigmoid}$, and not a sigmoid alone?**
#
# - a) So that each tap counts 1 in a new layer, as in a plain convolution.
# - b) So that all taps together count 1.
# - c) Two sigmoids train faster than one.
#
# <details><summary>Answer</summary>
#
# **a.** The convolution that gives the modulation starts at zero, and a sigmoid of zero is one half. Nothing makes the
# taps add up to 1 (b): that would be a softmax.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | bilinear reading | – | inside torchvision | `network/deformable/sampling.py` |
# | `deform_conv` | – | `torchvision.ops.deform_conv2d` | `network/deformable/` |
# | `MyDeformableConv2d` | reconstruction block | `models/modules/deform_conv.py` | `network/deformable/` |
# | `MyDeformableASPP` | receptive fields | `models/modules/aspp.py`, `ASPPDeformable` | `network/aspp.py` |
# | `MySqueeze` | localization module | `BasicDecBlk`, as `squeeze_module` | `network/squeeze.py`, `network/blocks.py` |
#
# **Paper and code.** The paper puts an ASPP at the end of its localization module; in the code this is a whole
# reconstruction block, deformable kernels included. The original has a flag with five choices for it,
# `squeeze_block`; with the other flags at their defaults, only `BasicDecBlk_x1` runs. Here, `squeeze_block` and
# `squeeze_depth` run in every combination. Nothing limits the offsets, neither there nor here.
#
# ASPP: Chen et al., 2017, [arXiv:1706.05587](https://arxiv.org/abs/1706.05587). Deformable convolution: Dai et al.,
# 2017, [arXiv:1703.06211](https://arxiv.org/abs/1703.06211); with modulation: Zhu et al., 2019,
# [arXiv:1811.11168](https://arxiv.org/abs/1811.11168).
