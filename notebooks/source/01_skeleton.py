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
# # 01 · The skeleton
#
# A network of 5.5 million numbers, as `nano` has, is easier to build when its skeleton comes first. In this notebook
# every part is a **dummy**: it gives maps of the right shape, and knows nothing. The wiring between the parts is
# already the real one.
#
# **After this notebook you can**
# - say what shape flows along every arrow of the map, for any photo and any backbone,
# - write the forward pass of BiRefNet, in five lines,
# - put the real parts into your wiring, and get the very numbers of the real network.
#
# **Time:** 35 minutes, 20 of them for the exercises. **You need:** notebook 00, and to have written a PyTorch module.

# %% [markdown]
# ## 1 · The right parts, wrongly wired
#
# All parts of this network are trained. But they are wired as a plain chain, one behind the other: encoder, squeeze
# module, four stages, head. No map crosses over from the encoder to the stages, and no stage sees the photo. Orange
# pixels are background that the mask takes for the object; blue ones are parts of the object that it misses.

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
    nothing = (*(0 * x for x in finer), model.squeeze(x4))
    chain = model.decoder(0 * prepared.tensor, nothing).logits.sigmoid()[0, 0].numpy()
compare_masks(photo, by_hand, {"a chain": chain}, "A cat; beside it a round blob of a mask, without ears.")

# %% [markdown]
# Something large is in the middle: that is all, at an IoU of .863. A network is more than its parts. This notebook is
# about the arrows of this map, and not yet about what is in the boxes. Beside the arrows stand the shapes of the maps,
# channels × height × width, measured on `nano` for a photo of 256 × 384. A dotted frame is one **stage**. Stages 4, 3
# and 2 end alike: multiply by an attention map, enlarge, and *add* the next finer map of the encoder. So stage 4 adds
# x3.

# %%
from birefnet_lite.course import network_map

network_map("01", capture(model, prepared))

# %% [markdown]
# Say it once in symbols. The photo is $I$, with 3 channels, height $H$ and width $W$. The encoder $E$ gives four
# maps, the squeeze module $S$ makes the deepest narrower, the stages $D_4$ to $D_1$ climb up, and the head $M$ gives
# one number for each pixel:
#
# $$x_1, x_2, x_3, x_4 = E(I), \quad d_5 = S(x_4), \quad d_i = D_i(d_{i+1}, I, x_{i-1}),
# \quad \text{logits} = M(d_1, I)$$
#
# Stage $D_1$ has no $x_0$ to take in: there is no finer encoder map.

# %% [markdown]
# ## 2 · A toy image, by hand
#
# Take an image of 32 × 32 pixels whose left half is 0 and whose right half is 1.

# %%
toy = torch.zeros(1, 1, 32, 32)  # (B, C, H, W)
toy[..., 16:] = 1

# %% [markdown]
# Our dummy encoder will *average*: one cell at stride 16 is the mean of 16 × 16 pixels. By hand, that gives
#
# $$\begin{pmatrix} 0 & 1 \\ 0 & 1 \end{pmatrix} \text{ at stride 16,} \qquad
# \begin{pmatrix} 0.5 \end{pmatrix} \text{ at stride 32.}$$
#
# At stride 32 nobody can tell any more that there were two halves. `avg_pool2d` does what we did by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch.nn.functional as F

print(F.avg_pool2d(toy, 16)[0, 0])
print(F.avg_pool2d(toy, 32)[0, 0])

# %% [markdown]
# ## 3 · The shapes of the encoder
#
# A backbone has four widths, finest level first; for `nano` they are 32, 64, 128 and 192. The encoder hands on more
# than that:
#
# - it runs on the photo *and* on the photo at half size, enlarges the maps of the small one, and **concatenates**
#   both: each level has twice the backbone's channels;
# - $x_1$, $x_2$ and $x_3$, as they are now, are also shrunk to the size of level 4 and concatenated in front of
#   $x_4$: the **context**;
# - level $i$ has stride $2^{i+1}$: 4, 8, 16, 32.

# %% [markdown]
# ### Exercise 1 · Shapes
#
# *Difficulty ★☆☆ · 8 minutes.* Write the function that gives the four shapes. Height and width are multiples of 32.

# %% tags=["exercise"]
def encoder_shapes(channels, height, width):
    """The shapes (C, H, W) of x1, x2, x3 and x4, as the encoder hands them on.

    channels: the backbone's four widths, finest first. Returns a list of four triples of whole numbers.
    """
    # <solution>
    widths = [2 * c for c in channels]
    widths[3] = sum(widths)  # context in front of x4
    return [(c, height // stride, width // stride) for c, stride in zip(widths, (4, 8, 16, 32))]
    # </solution>

# %% [markdown]
# The check tries widths and sizes of its own.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

checks.encoder_shapes(encoder_shapes)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Begin with the widths alone. First double all four; then ask which maps lie in $x_4$, and how wide each of them is
# *at that moment*.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Widths: a list with each channel count times two; its last entry becomes the sum of the list. Then, for every width
# and its stride, one triple: the width, the height divided by the stride, the width of the photo divided by the
# stride.
#
# </details>

# %% [markdown]
# ## 4 · Dummies
#
# Now the parts. A dummy needs one skill: to turn a map of any width into one of the right width. This one repeats the
# channels it has until there are enough.

# %%
def widen(x, channels):
    """(B, C, H, W) to (B, channels, H, W), by repeating channels."""
    times = -(-channels // x.shape[1])  # rounded up
    return x.repeat(1, times, 1, 1)[:, :channels]

# %% [markdown]
# The **encoder**: average over cells, then widen. The widths are those of exercise 1.

# %%
class DummyEncoder(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.widths = widths

    def forward(self, image):
        return tuple(widen(F.avg_pool2d(image, s), c) for c, s in zip(self.widths, (4, 8, 16, 32)))

# %% [markdown]
# Our toy image goes through it. At level 3 (stride 16) we find the matrix that we wrote down by hand, and at level 4
# the single 0.5, now in every channel.

# %% tags=["NBVAL_CHECK_OUTPUT"]
maps = DummyEncoder([8, 16, 24, 80])(toy)
print([tuple(x.shape) for x in maps])
print(maps[2][0, 0])
print(maps[3][0, :, 0, 0].unique())

# %% [markdown]
# A **stage** takes what comes from below, the image, and a lateral map. It gives a map at the *lateral's* size, one
# level finer. `resize` is bilinear, with `align_corners=True`, as everywhere in BiRefNet.

# %%
from birefnet_lite.network.resize import resize


def dummy_stage(out_channels):
    def stage(x, image, lateral):
        finer = image if lateral is None else lateral
        x = resize(widen(x, out_channels), finer.shape[-2:])
        return x if lateral is None else x + widen(lateral, out_channels)

    return stage

# %% [markdown]
# `Parts` holds the four kinds of part. The stages are in the order in which they run: 4, 3, 2, 1. Stage 4 gives the
# width of $x_3$, stage 3 that of $x_2$, stage 2 that of $x_1$, and stage 1 half of that.

# %%
from birefnet_lite.course.skeleton import Parts

c1, c2, c3, c4 = (2 * c for c in model.encoder.backbone.channels)  # 64, 128, 256, 384
dummies = Parts(
    encoder=DummyEncoder([c1, c2, c3, c1 + c2 + c3 + c4]),
    squeeze=lambda x: x[:, -c4:],
    stages=tuple(dummy_stage(c) for c in (c3, c2, c1, c1 // 2)),
    head=lambda x, image: x.mean(dim=1, keepdim=True) + image.mean(dim=1, keepdim=True),
)

# %% [markdown]
# ## 5 · The wiring
#
# ### Exercise 2 · The forward pass
#
# *Difficulty ★★☆ · 12 minutes.* Follow the arrows of the map, and write the whole network. Each later
# notebook replaces one dummy in this function.

# %% tags=["exercise"]
def wire(parts, image):
    """The forward pass of BiRefNet, from its parts.

    parts.encoder(image) gives x1, x2, x3, x4; parts.squeeze(x4) a narrower x4; parts.stages holds stages 4, 3, 2, 1,
    each called as stage(x, image, lateral), the last with None; parts.head(x, image) gives the logits.
    Shapes: image (B, 3, H, W) to logits (B, 1, H, W).
    """
    # <solution>
    x1, x2, x3, x4 = parts.encoder(image)
    x = parts.squeeze(x4)
    for stage, lateral in zip(parts.stages, (x3, x2, x1, None)):
        x = stage(x, image, lateral)
    return parts.head(x, image)
    # </solution>

# %% [markdown]
# The check brings dummies of its own, which mix everything that they are given: whatever you leave out shows.

# %% tags=["NBVAL_CHECK_OUTPUT"]
wired = checks.wire(wire)
wired

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# One variable is enough for what climbs up. It starts as the squeezed $x_4$; each stage takes it and gives the next
# one. Which encoder map has the size that a stage's result should have?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Unpack the encoder's four maps. Squeeze the last. Go through stages and laterals side by side, where the laterals
# are the third map, the second, the first, and nothing; each time, call the stage with the running map, the image and
# the lateral. Give the final map and the image to the head.
#
# </details>

# %% [markdown]
# If exercise 2 is not solved yet, the notebook goes on with the wiring of the package, and you can come back later.

# %%
from birefnet_lite.course import skeleton

my_wire = wire if wired.passed else skeleton.wire

# %% [markdown]
# ## 6 · The skeleton stands
#
# A photo of 256 × 384 pixels goes in; logits of 256 × 384 come out.

# %% tags=["NBVAL_CHECK_OUTPUT"]
image = torch.randn(1, 3, 256, 384, generator=torch.Generator().manual_seed(0))
my_wire(dummies, image).shape

# %% [markdown]
# Here is the running table of the real network, and with it the promise of the next notebooks: each takes one dummy
# away and puts the real part in its place, and **no shape in this table changes**.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

print(course.notice)
part_table(model, SIZE)

# %% [markdown]
# ## 7 · Equality
#
# Dummies prove that shapes fit. Do the *numbers* fit? We take the four kinds of part out of the real network, put
# them into your wiring, and compare with what the real network gives, at three sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
parts = skeleton.package_parts(model)
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128)]:
    image = torch.randn(size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = (my_wire(parts, image) - model(image).logits).abs().max().item()
    print(size, "equal to 1e-6:", difference <= 1e-6)

# %% [markdown]
# The whole of BiRefNet is five lines and four kinds of part. What is left to build are the parts.

# %% [markdown]
# ## 8 · The photo again
#
# The picture of section 1, now with your wiring: first with dummies in it, then with the real parts. The dummies
# average the channels, and the last one adds the photo at full size, so their "mask" is a grey photo, most of it under
# orange and blue.

# %%
with torch.inference_mode():
    masks = [my_wire(p, prepared.tensor).sigmoid()[0, 0].numpy() for p in (dummies, parts)]
titles = ("a chain", "your wiring, dummies", "your wiring, real parts")
compare_masks(photo, by_hand, dict(zip(titles, (chain, *masks))), "A cat; a blob; grey scraps; a mask of the cat.")

# %% [markdown]
# The same trained parts: IoU .863 as a chain, .937 in your wiring. And the right wiring with dummies reaches .348: it
# takes both.

# %% [markdown]
# ## 9 · Play with it
#
# The view from notebook 00, opened at the result of stage 3. **Look for two things:**
#
# 1. In the row of level 3, look at *Reconstruction*, *Lateral block* and *Stage output*, all three at channel 67: each
#    column keeps a channel of its own, so type the number into *Channel*. The output is what came from below (the
#    reconstruction, times the attention and enlarged) *plus* the lateral map. Which of the two do you recognise in it?
# 2. Compare the *Stage output* of levels 4, 3 and 2. Each is twice as fine as the one below it.
#
# <details><summary>What you should see</summary>
#
# 1. Both: the large areas come from below, the fine lines of the fur from the side. Here the output correlates at .82
#    with what came from below and at .57 with the lateral map. In 93 of the 128 channels it is the other way round.
# 2. Each output has twice as many cells in each direction, since a stage ends with the enlargement: the output of
#    stage 4 is in the row of stride 32 in the view, but has stride 16, the stride at which stage 3 works.
#
# </details>

# %%
from widgets import feature_pyramid

view = feature_pyramid(model, photo, size=SIZE)
view.layer = "decoder.stage3.out"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - The forward pass is **encode, squeeze, four times climb, head**. It fits in five lines.
# - Stage $i$ adds the encoder's level $i-1$: its result is one level finer than its input.
# - Widths double because of the **two sizes** of the photo; level 4 is wider still because of the **context**.
# - A dummy tests shapes; only an equality of numbers tests the rest.

# %% [markdown]
# ## Three questions
#
# **1. A backbone has the widths 64, 128, 320 and 512. How many channels does $x_4$ have, with its context?**
#
# - a) 1024
# - b) 1536
# - c) 2048
#
# <details><summary>Answer</summary>
#
# **c.** Doubled, the widths are 128, 256, 640 and 1024; all four lie in $x_4$, and 128 + 256 + 640 + 1024 = 2048.
# 1024 is $x_4$ without context. 1536 counts the context with single widths.
#
# </details>

# %% [markdown]
# **2. Which encoder map does stage 4 add, and why?**
#
# - a) $x_4$, because both are number 4.
# - b) $x_3$, because the stage's result is enlarged to stride 16.
# - c) $x_1$, because it has the finest detail.
#
# <details><summary>Answer</summary>
#
# **b.** Stage 4 works at stride 32 and hands on a map at stride 16; two maps can be added where they have the same
# size. $x_4$ is where stage 4 comes *from*, through the squeeze module.
#
# </details>

# %% [markdown]
# **3. With dummies in it, the skeleton gives logits of the right shape. What does this *not* show?**
#
# - a) That the logits have one channel.
# - b) That the image reaches the stages.
# - c) That the logits are as large as the photo.
#
# <details><summary>Answer</summary>
#
# **b.** These dummy stages use nothing of the image but its size, so nobody would notice zeros in its place. One
# channel (a) and the size (c) are shapes. That is why section 7 compares numbers.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `wire` | Fig. 2 | `BiRefNet.forward_ori` and `Decoder.forward` | `network/birefnet.py`, `network/decoder.py` |
# | doubled widths | – | `mul_scl_ipt='cat'` in `config.py` | `network/encoder.py`, `fuse_scales` |
# | context | localization module | `cxt_num=3` | `network/encoder.py`, `fuse_context` |
# | `Parts` | – | – | `course/skeleton.py` |
#
# **Paper and code.** In the original, the decoder's stages are written out one after the other. Here
# `Decoder.forward` is a loop, as in your wiring, and it gives the same numbers.
