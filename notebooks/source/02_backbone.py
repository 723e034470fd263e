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
# # 02 · The backbone
#
# The backbone turns colours into meaning. It is the largest part of the network, and BiRefNet takes it from others as
# it is: any network that gives maps at four strides will do. What BiRefNet adds is how it *uses* it: on two sizes of
# the photo, with the finer maps as context of the deepest.
#
# **After this notebook you can**
# - say what a convolution and what windowed attention look at, and what each costs,
# - cut a map into windows,
# - build the encoder around any backbone, and get the same numbers as the package.
#
# **Time:** 50 minutes, 30 of them for the exercises. **You need:** notebook 01.

# %% [markdown]
# ## 1 · One look is not enough
#
# BiRefNet's encoder looks at the photo twice, the second time at half size. Here every part is trained and works, but
# the maps of the second look are replaced by zeros. Orange pixels are background that the mask takes for the object;
# blue ones are parts of the object that it misses.

# %%
import torch

from birefnet_lite.analysis import prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.masks import compare_masks
from birefnet_lite.network import encoder
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 384)
photo, by_hand, _ = load_photo("chelsea")
prepared = prepare(model, photo, size=SIZE)
with torch.inference_mode():
    small = torch.nn.functional.interpolate(prepared.tensor, scale_factor=0.5, mode="bilinear", align_corners=True)
    full, half = (model.encoder.backbone(x) for x in (prepared.tensor, small))  # four maps each

# %% [markdown]
# `mask_of` joins the two looks, as this notebook will, and lets the rest of the network answer.

# %%
def mask_of(full, half, image, use_context=True):
    """The mask that the network makes of the maps of both looks, (H, W)."""
    with torch.inference_mode():
        maps = encoder.fuse_scales(full, half, "cat")
        x4 = encoder.fuse_context(maps, 3)
        if not use_context:
            x4[:, : -maps[3].shape[1]] = 0  # the finer maps stand in front
        return model.decoder(image, (*maps[:3], model.squeeze(x4))).logits.sigmoid()[0, 0].numpy()


one_look = mask_of(full, [0 * x for x in half], prepared.tensor)
compare_masks(photo, by_hand, {"one look": one_look}, "A cat; beside it a mask that misses the lower left corner.")

# %% [markdown]
# The cat's chest is missing at the lower left. In a photo half as high and wide, the same cells cover four times as
# much of the object: the second look sees more of the whole. On the map, you are at the left: two columns of maps, made
# by one backbone, and the line that brings the context down.

# %%
from birefnet_lite.course import network_map

network_map("02")

# %% [markdown]
# ## 2 · Two ways to look
#
# Each cell of a map may look at other cells before it decides what to say.
#
# - A **convolution** looks at its nearest neighbours, always with the same weights: the weight of *one to the left*
#   is the same everywhere and for every photo.
# - **Attention** looks at all cells it is allowed to see, with weights that it computes from what is *in* them.
#
# For attention, a cell is called a **token**. Three matrices, which training finds, make of its $C$ numbers a *query*
# (what it asks for), a *key* (what it offers) and a *value* (what it hands over). In symbols, with the queries $Q$,
# keys $K$ and values $V$ of $N$ tokens, each $N \times d$:
#
# $$\text{attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# Two tokens with $d = 1$, by hand: let $Q = K = V = (0, 1)^\top$. The scores are $\begin{pmatrix} 0 & 0 \\ 0 & 1
# \end{pmatrix}$. The first token spreads its attention evenly and gets $0.5$. The second gives the weight
# $e / (1 + e) = 0.731$ to itself, and gets $0.731$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def attention(q, k, v):
    """Each (..., N, d) to (..., N, d)."""
    weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)  # (..., N, N)
    return weights @ v


two = torch.tensor([[0.0], [1.0]])
attention(two, two, two)

# %% [markdown]
# PyTorch has this function built in. The two agree.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch.nn.functional as F

q, k, v = torch.randn(3, 2, 49, 32, generator=torch.Generator().manual_seed(0))
difference = (attention(q, k, v) - F.scaled_dot_product_attention(q, k, v)).abs().max()
print("equal to 1e-5:", bool(difference <= 1e-5))

# %% [markdown]
# ## 3 · Windows
#
# Attention compares every token with every other. Level 1 of a 1024 × 1024 photo has 256 × 256 tokens. Swin, the
# backbone of `lite`, lets tokens look at their own **window** of 7 × 7 only. (`nano`, which the notebooks run, is
# a ConvNet and has no windows: this section is about `lite` and `large`.) Where a side is no multiple of 7, as 256 is
# not, Swin pads the map with zeros at its right and lower border, and cuts them off afterwards.
#
# What does each cost? Count multiplications for 256 × 256 cells of 96 channels, which is level 1 of `lite`. A 3 × 3
# convolution takes $9 C^2$ for each cell. Attention takes $4 C^2$ to make $Q$, $K$, $V$ and the result's projection,
# and $2 C$ for each pair of tokens, one $C$ for the score and one for the sum. 256 is 36.6 times 7, so Swin pads to
# 259.

# %% tags=["NBVAL_CHECK_OUTPUT"]
C, side, window = 96, 256, 7
padded = -(-side // window) * window
costs = {
    "convolution 3 × 3": 9 * C * C * side**2,
    "attention, all pairs": 4 * C * C * side**2 + 2 * C * side**4,
    "attention in windows": 4 * C * C * padded**2 + 2 * C * padded**2 * window**2,
}
for name, cost in costs.items():
    print(f"{name:22} {cost / 1e9:7.1f} billion")

# %% [markdown]
# Attention between all pairs costs 150 times as much as the convolution, attention in windows little more than half as
# much. Padding alone costs little: $259^2 / 256^2$ is 1.02.

# %% [markdown]
# ### A toy map, by hand
#
# Sixteen cells, numbered row by row. In windows of 2 × 2, the first window holds 0, 1, 4 and 5; the second 2, 3, 6
# and 7; the third 8, 9, 12 and 13; the last one the rest.

# %% tags=["NBVAL_CHECK_OUTPUT"]
toy = torch.arange(16.0).reshape(1, 4, 4, 1)  # (B, H, W, C)
toy[0, :, :, 0]

# %% [markdown]
# ### Exercise 1 · Windows
#
# *Difficulty ★★☆ · 10 minutes.* Cut a map into windows. Swin keeps the channels last, so a map is (B, H, W, C) here.

# %% tags=["exercise"]
def window_partition(x, window):
    """Cuts a map into square windows, row by row, and the pixels in each window row by row.

    Shapes: (B, H, W, C) to (B, windows, window * window, C). H and W are multiples of `window`.
    """
    # <solution>
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)  # (B, rows, h, columns, w, C)
    x = x.permute(0, 1, 3, 2, 4, 5)  # (B, rows, columns, h, w, C)
    return x.reshape(batch, -1, window * window, channels)
    # </solution>

# %% [markdown]
# The check uses sizes that are not square.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

windows_checked = checks.window_partition(window_partition)
windows_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A reshape can split an axis in two and join two axes that stand *side by side*. It cannot change the order of axes.
# What must stand beside what, before the last reshape?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Split the height into (rows of windows, rows in a window), and the width likewise: six axes. Swap two of the axes so
# that both window counts stand together, and both positions inside a window. Then join each pair.
#
# </details>

# %% [markdown]
# The toy map goes through it, yours or the package's. These are the windows that we wrote down by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.backbone import swin

cut = window_partition if windows_checked.passed else swin.window_partition
cut(toy, 2)[0, :, :, 0]

# %% [markdown]
# ### Shifted windows
#
# Cells 5 and 6 are neighbours, but lie in different windows: they would never see each other. So in every second
# block Swin first rolls the map by half a window. Now 5, 6, 9 and 10 share a window.
#
# The roll also brings together what was at opposite borders, as 15, 12, 3 and 0 in the last window. They are not
# neighbours, and a mask keeps them from looking at each other (`shift_mask` in the package).

# %% tags=["NBVAL_CHECK_OUTPUT"]
cut(toy.roll((-1, -1), dims=(1, 2)), 2)[0, :, :, 0]

# %% [markdown]
# As a picture, with the mask: white where one cell may look at another. A window whose cells come from four corners
# lets each look at itself alone.

# %%
from birefnet_lite.course.figures_encoder import shifted_windows

shifted_windows()

# %% [markdown]
# ## 4 · Any backbone
#
# A backbone gives four maps, finest first. Here are `nano`'s, which is a small ConvNet, a ResNet, and `lite`'s, made of
# windows. Strides agree, widths do not; the rest of the network asks for the widths and adapts.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.backbone import build_backbone

image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
backbones = {"nano": model.encoder.backbone}
backbones |= {"resnet50": build_backbone("resnet50"), "lite": build_backbone("swin_v1_t")}
for name, backbone in backbones.items():
    with torch.inference_mode():
        print(f"{name:10}", *(tuple(x.shape[1:]) for x in backbone.eval()(image)))

# %% [markdown]
# ## 5 · Two sizes
#
# BiRefNet runs the same backbone twice: on the photo, for detail, and on the photo at half size, for the whole. Here is
# what both looks give, level by level: the mean absolute value in each cell, white where it is largest.

# %%
from birefnet_lite.course.masks import mean_size, rows_of_pictures


def strip(title, picture, maps):
    return {title: picture} | {f"x{i + 1}": mean_size(x[0].numpy()) for i, x in enumerate(maps)}


rows = [strip("whole photo", prepared.seen, full), strip("half size", prepared.seen[::2, ::2], half)]
rows_of_pictures(rows, "A cat and its four maps, from fine to coarse; below, the same for the photo at half size.")

# %% [markdown]
# In x1 one sees fur, eyes and whiskers; in x4 a few cells stand out, at one eye and beside the chin. The half-size x1
# has as many cells as the x2 above it, and the half-size x4 has 4 × 6: one for 64 × 64 pixels of the photo.
#
# Level by level, the maps of the small photo are enlarged and laid behind the others.
#
# ### Exercise 2 · Two sizes
#
# *Difficulty ★☆☆ · 8 minutes.* Join the two passes.

# %% tags=["exercise"]
def fuse_scales(full, half):
    """Joins the maps of the photo and of the half-size photo, level by level, the photo's own in front.

    full, half: four maps each, (B, C, H, W) and (B, C, H / 2, W / 2), rounded down. Returns four maps (B, 2 * C, H, W).
    The small maps are enlarged bilinearly, with align_corners=True.
    """
    # <solution>
    fused = []
    for large, small in zip(full, half):
        small = F.interpolate(small, size=large.shape[-2:], mode="bilinear", align_corners=True)
        fused.append(torch.cat([large, small], dim=1))  # (B, 2 * C, H, W)
    return tuple(fused)
    # </solution>

# %% [markdown]
# The check looks at every level, and at the gradients of both passes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
scales_checked = checks.fuse_scales(fuse_scales)
scales_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `F.interpolate` takes the size you want, not only a factor. Which map's size is it?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each pair of maps: enlarge the second to the height and width of the first, then concatenate along the axis of
# the channels. Collect the results of all levels.
#
# </details>

# %% [markdown]
# ## 6 · Context
#
# The deepest map knows most about *what*. BiRefNet gives it the three finer maps too, shrunk to its size.
#
# ### Exercise 3 · Context
#
# *Difficulty ★☆☆ · 8 minutes.* Put the finer maps in front of the deepest one.

# %% tags=["exercise"]
def fuse_context(features):
    """The deepest map, with the three finer ones in front of it: x1, x2, x3, x4 along the channels.

    features: four maps, finest first. The finer ones are resampled to the size of the last, bilinearly, with
    align_corners=True. Returns one map (B, C1 + C2 + C3 + C4, H4, W4).
    """
    # <solution>
    *finer, deepest = features
    size = deepest.shape[-2:]
    shrunk = [F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in finer]
    return torch.cat([*shrunk, deepest], dim=1)
    # </solution>

# %% [markdown]
# The check again.

# %% tags=["NBVAL_CHECK_OUTPUT"]
context_checked = checks.fuse_context(fuse_context)
context_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The same resampling as in exercise 2, in the other direction. The last map stays as it is.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take the last map apart from the others. Resample each of the others to its height and width. Concatenate: the
# resampled ones in their order, and then the last.
#
# </details>

# %% [markdown]
# ## 7 · The encoder
#
# Unsolved exercises are replaced by the package's functions, so that the notebook goes on.

# %%
scales = fuse_scales if scales_checked.passed else lambda full, half: encoder.fuse_scales(full, half, "cat")
context = fuse_context if context_checked.passed else lambda features: encoder.fuse_context(features, 3)

# %% [markdown]
# All of the encoder: backbone, half, backbone again, join, context.

# %%
class MyEncoder(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image):
        half = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=True)
        features = scales(self.backbone(image), self.backbone(half))
        return *features[:3], context(features)

# %% [markdown]
# Your encoder takes the backbone of the real network. The parameters that it holds are those of the table's second
# row.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

mine = MyEncoder(model.encoder.backbone).eval()
print(course.notice)
print(f"{sum(p.numel() for p in mine.parameters()):,} parameters")
part_table(model, SIZE, upto="02")

# %% [markdown]
# ## 8 · Equality
#
# The same weights, by name, and the same numbers, at three sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
mine.load_state_dict(model.encoder.state_dict())
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128)]:
    x = torch.randn(size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        pairs = zip(mine(x), model.encoder(x), strict=True)
        print(size, "equal to 1e-6:", all((a - b).abs().max().item() <= 1e-6 for a, b in pairs))

# %% [markdown]
# The picture of section 1 again, with your encoder in the network:

# %%
with torch.inference_mode():
    *maps, x4 = mine(prepared.tensor)
    mask = model.decoder(prepared.tensor, (*maps, model.squeeze(x4))).logits.sigmoid()[0, 0].numpy()
pair = {"one look": one_look, "your encoder": mask}
compare_masks(photo, by_hand, pair, "A cat; a mask without its lower left corner; and a mask of the whole cat.")

# %% [markdown]
# The lower left corner is back: IoU .873 with one look, .937 with your encoder. At the lower right, the second look
# takes in more of the blanket.

# %% [markdown]
# ## 9 · Predict, then measure
#
# *5 minutes, no check.* What is each piece of the encoder worth? Four damages, each to the trained network:
#
# - *one look*: the half-size maps are zeros,
# - *same twice*: the whole photo's maps stand in both places,
# - *swapped*: the half-size maps in front, as in question 3 below,
# - *no context*: the three finer maps in front of x4 are zeros.
#
# **First write down** which of them costs most, and whether all three photos agree. Then run the cell. It leaves out
# the pixels that one may argue about, such as loose whiskers and the flag behind the astronaut, so that the scores
# differ from those of the pictures.

# %%
from birefnet_lite.course.masks import score
from birefnet_lite.network.resize import resize

columns = ("whole", "one look", "same twice", "swapped", "no context")
print(f"{'':10}" + "".join(f"{column:>12}" for column in columns))
for name in ("chelsea", "astronaut", "coffee"):
    picture, truth, ignore = load_photo(name)
    image = prepare(model, picture, size=SIZE).tensor
    with torch.inference_mode():
        full, half = (model.encoder.backbone(x) for x in (image, resize(image, (128, 192))))
    up = [resize(b, a.shape[-2:]) for a, b in zip(full, half)]
    pairs = {"whole": (full, half), "one": (full, [0 * x for x in half]), "same": (full, full), "swapped": (up, full)}
    values = [score(mask_of(*pair, image), truth, ignore) for pair in pairs.values()]
    values.append(score(mask_of(full, half, image, use_context=False), truth, ignore))
    print(f"{name:10}" + "".join(f"{value:12.2f}" for value in values))

# %% [markdown]
# <details><summary>What you should see</summary>
#
# The photos do not agree: *one look* costs most on the cat and the coffee, *swapped* on the astronaut. *One look* costs
# .09 on the cat and nothing on the astronaut, and the coffee falls from .77 to .42. *Same twice* costs .02 on the cat
# and .09 on the coffee, and the astronaut gets .02 better. *Swapped* costs .04 on the cat, .02 on the astronaut and
# nothing on the coffee: no error and no shape tells of it, and on one photo not even the score; only an equality of
# numbers does. *No context* changes cat and astronaut by .02 at most, and the coffee, this network's failure case, gets
# .11 *better*. Three photos are no measurement of what a part is worth; they do show that a part which helps on one
# photo can hurt on the next.
#
# </details>

# %% [markdown]
# ## 10 · Play with it
#
# The view opens at level 2 of the half-size photo. **Look for two things:**
#
# 1. *Encoder, half-size* at level 1 and *Encoder, whole image* at level 2 have equally many cells. Put the pointer on
#    an eye: do they show the same? One has been through more layers than the other.
# 2. Go down *Encoder, half-size*. At level 4 there are 4 × 6 cells for the whole cat.
#
# <details><summary>What you should see</summary>
#
# 1. The same place, at the same resolution, but not the same maps: level 2 of the whole photo has been through more
#    layers. Each is concatenated at its own level.
# 2. At level 4 of the half-size photo, one cell is 64 × 64 pixels of the photo. No outline is left, only where
#    something is.
#
# </details>

# %%
from widgets import feature_pyramid

view = feature_pyramid(model, photo, size=SIZE)
view.layer = "encoder.half.x2"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - A convolution has **fixed weights for fixed neighbours**; attention computes its weights from what it sees.
# - **Windows** make attention affordable; **shifted** windows let neighbours in different windows meet.
# - The encoder runs **one backbone on two sizes** and concatenates, the whole photo in front.
# - **Context**: the finer maps, shrunk, stand in front of the deepest one.
# - Bilinear resampling **with aligned corners**, everywhere in BiRefNet.

# %% [markdown]
# ## Three questions
#
# **1. A photo gets twice as high and twice as wide. How much more does windowed attention cost, compared with
# attention between all tokens?**
#
# - a) Both cost 4 times as much.
# - b) Windows: 4 times; all tokens: 16 times.
# - c) Windows: 16 times; all tokens: 4 times.
#
# <details><summary>Answer</summary>
#
# **b.** There are 4 times as many tokens. In windows, each of them still looks at 49 others. Without, each looks at 4
# times as many: 4 × 4 = 16.
#
# </details>

# %% [markdown]
# **2. Why does Swin shift its windows in every second block?**
#
# - a) So that neighbours on either side of a window's border can look at each other.
# - b) To see the borders of the photo better.
# - c) To save memory.
#
# <details><summary>Answer</summary>
#
# **a.** Without the shift, cells 5 and 6 of the toy map never meet, however many blocks follow on this level. The
# borders of the photo (b) need a mask because of the shift; memory (c) is the same.
#
# </details>

# %% [markdown]
# **3. You swap the order in `torch.cat`: half-size maps in front. The shapes are the same. What happens with trained
# weights?**
#
# - a) Nothing: convolutions do not care about the order of channels.
# - b) Loading the weights fails.
# - c) The result is wrong, without any error.
#
# <details><summary>Answer</summary>
#
# **c.** Each channel meets a weight that was trained for another one. Nothing tells: the shapes fit, so loading works
# (b). Notebook 06 tells of published weights that are misread in just this way. That is why the notebooks compare
# numbers, in a section *Equality*, and not shapes alone.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `window_partition`, shift | – | `models/backbones/swin_v1.py` | `network/backbone/swin.py` |
# | any backbone | – | `models/backbones/build_backbone.py` | `network/backbone/` |
# | `fuse_scales` | – | `forward_enc`, `mul_scl_ipt='cat'` | `network/encoder.py` |
# | `fuse_context` | localization module | `forward_enc`, `cxt_num=3` | `network/encoder.py` |
#
# **Paper and code.** The paper's classifier sees the deepest features; in the code it sits *before* the context joins
# them, and it is off by default. Windowed attention: Liu et al., 2021,
# [arXiv:2103.14030](https://arxiv.org/abs/2103.14030).
