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
# # 05 · The decoder
#
# The deepest map knows *what* is in the photo, in cells of 32 × 32 pixels. The finest map knows *where* things end.
# The decoder brings the two together, in four steps up. We begin with the decoder that every tutorial shows, four
# lines long, and then turn each of its lines into what BiRefNet has there.
#
# **After this notebook you can**
# - write a decoder in four lines, and say what it lacks,
# - write a stage in three steps, and say what exists in training only,
# - find a fault that no shape reveals, and get the same numbers as the package, in use and in training.
#
# **Time:** 50 minutes, 30 of them for the exercises. **You need:** notebooks 03 and 04.

# %% [markdown]
# ## 1 · An answer in 96 cells
#
# In training, the deepest stage is asked for a mask too. It has 8 × 12 cells for a photo of 256 × 384. Below it is
# enlarged to the photo: this is the best that the network can say before its decoder climbs. Orange pixels are
# background that the mask takes for the object; blue ones are parts of the object that it misses.

# %%
from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.masks import compare_masks
from birefnet_lite.network.resize import resize
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 384)
photo, by_hand, _ = load_photo("chelsea")
maps = capture(model, photo, size=SIZE)


def enlarged(stage):
    """The side mask of a stage at the photo's size, (H, W)."""
    return resize(maps[f"decoder.stage{stage}.side"][None], SIZE).sigmoid()[0, 0].numpy()


coarse = enlarged(4)
compare_masks(photo, by_hand, {"stage 4, 8 × 12 cells": coarse}, "A cat; beside it a mask with a coarse outline.")

# %% [markdown]
# The cat is found (IoU .905), but its outline is a soft curve through cells of 32 pixels: at the left it misses some
# fur, at the right it takes in background. Somebody has to draw it: the decoder, the column of stages on the map.

# %%
from birefnet_lite.course import network_map

network_map("05")

# %% [markdown]
# ## 2 · Four lines
#
# Let $d$ be the map that climbs, $x_i$ the encoder's map of level $i$, $L$ a lateral block, and $C$ a 3 × 3
# convolution. One step of the tutorials' decoder is
#
# $$d \leftarrow C\big(\text{up}(d) + L(x_i)\big)$$
#
# Enlarge, add, convolve. You know the first two from [notebook 04](04_lateral_blocks.ipynb): that was `go_up`. In a
# loop, this is a whole decoder; many networks have no other.

# %%
import torch


def tutorial_decoder(features, laterals, convs):
    *finer, d = features
    for x, lateral, conv in zip(finer[::-1], laterals, convs):
        d = conv(resize(d, x.shape[-2:]) + lateral(x)).relu()
    return d

# %% [markdown]
# It gets the maps of the photo, from the network's encoder and squeeze module. Its own weights are random, and it
# keeps 64 channels throughout: the deepest map is narrowed first, three steps up follow, and it ends at stride 4.

# %% tags=["NBVAL_CHECK_OUTPUT"]
prepared = prepare(model, photo, size=SIZE)
with torch.inference_mode():
    *finer, deepest = model.encoder(prepared.tensor)
    features = (*finer, model.squeeze(deepest))  # x1, x2, x3, squeezed x4
    widths = [x.shape[1] for x in features]
    narrow = torch.nn.Conv2d(widths[3], 64, 1)
    laterals = [torch.nn.Conv2d(c, 64, 1) for c in widths[2::-1]]
    convs = [torch.nn.Conv2d(64, 64, 3, padding=1) for _ in laterals]
    end = tutorial_decoder((*finer, narrow(features[3])), laterals, convs)
print([tuple(x.shape[1:]) for x in features], "to", tuple(end.shape[1:]))

# %% [markdown]
# ### What it lacks
#
# 1. A 3 × 3 convolution sees the neighbours of a cell, and no more. Whether a thin line is a whisker or a scratch shows
#    further away. → *Section 3, the reconstruction block.*
# 2. Only its end is ever judged. If the deepest step goes wrong, the loss says so from far away. → *Section 4, side
#    heads.*
# 3. The finest map that it meets has stride 4: what is thinner than that was averaged away before. → *Section 4, the
#    inward reference; notebook 06 opens that box, and measures how much this network makes of it.*

# %% [markdown]
# ## 3 · The reconstruction block
#
# In place of $C$, BiRefNet has a block that looks with **five receptive fields at once**. You have built it: it is the
# squeeze module of [notebook 03](03_squeeze.ipynb), with other widths.

# %%
from birefnet_lite.course.figures_decoder import five_branches

five_branches()

# %% [markdown]
# **The price, by hand.** Stage 4 of `lite` takes 1728 channels and gives 768. One 7 × 7 convolution between the two has
# $7 \cdot 7 \cdot 1728 \cdot 768 \approx 65$ million weights. The block's two outer convolutions have
# $9 \cdot 1728 \cdot 64 \approx 1.0$ and $9 \cdot 64 \cdot 768 \approx 0.4$ million, and everything between them works
# on 64 channels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.blocks import BasicBlock

wide = BasicBlock(1728, 768)
print(f"one 7 x 7 convolution: {7 * 7 * 1728 * 768:>12,} weights")
print(f"the whole block:       {sum(p.numel() for p in wide.parameters()):>12,} parameters")

# %% [markdown]
# **How far it sees, by hand.** One cell of the result sees 3 × 3 cells of the ASPP's result. The widest kernel, 7 × 7,
# adds 3 cells on each side: 9 × 9. The first convolution adds one more: 11 × 11 = 121 cells. And the pooled branch sees
# everything. We measure which cells of the input change the cell in the middle of the result: those with a gradient.

# %%
def reach(block, channels, side=15):
    """How many of side x side input cells the middle cell of the result depends on."""
    x = torch.randn(1, channels, side, side, requires_grad=True)
    block(x)[..., side // 2, side // 2].sum().backward()
    return int((x.grad.abs().sum(dim=1) > 0).sum())

# %% [markdown]
# First a plain 3 × 3 convolution, then the block with its pooled branch silenced, then the whole block: 225 is all of
# 15 × 15.

# %% tags=["NBVAL_CHECK_OUTPUT"]
torch.manual_seed(0)
block = BasicBlock(8, 8, inter_channels=16, aspp_channels=16).eval()
print("3 x 3 convolution:      ", reach(torch.nn.Conv2d(8, 8, 3, padding=1), 8))
silenced = block.aspp.pooled.register_forward_hook(lambda module, inputs, output: 0 * output)
print("block, without pooling: ", reach(block, 8))
silenced.remove()
print("block:                  ", reach(block, 8))

# %% [markdown]
# This was a fresh block, whose taps have not moved; those of a trained one have (notebook 03).
#
# **A flag for the batch norm.** The pooled branch makes one number per channel of each photo. With a batch of **one**,
# a batch norm in training has a single number to take a mean and a variance of, and PyTorch refuses. So in the
# original, `batch_size = 1` in the configuration leaves all of the decoder's batch norms out, and such a checkpoint has
# other entries. Here the flag has a name of its own, `batch_norm`.

# %% tags=["NBVAL_CHECK_OUTPUT"]
one = torch.randn(1, 8, 6, 6)
try:
    block.train()(one)
except ValueError as error:
    print(str(error).split(",")[0])
bare = BasicBlock(8, 8, inter_channels=16, aspp_channels=16, batch_norm=False)
print("without batch norm:", tuple(bare.train()(one).shape))
print("entries of the state dict:", len(block.state_dict()), "and", len(bare.state_dict()))

# %% [markdown]
# ## 4 · A stage
#
# One stage works at one resolution, and ends one level finer. Everything dashed exists in training only.

# %%
from birefnet_lite.course.figures_decoder import one_stage

one_stage()

# %% [markdown]
# In symbols, with $d$ from below, the image $I$, and the lateral map $x$ of the next finer level:
#
# $$r = R\big([d, \text{In}(I)]\big), \qquad a = \text{Out}(r), \qquad d' = \text{up}(a \cdot r) + L(x)$$
#
# - $\text{In}$, the **inward reference**, is a map of the image at the size of $d$. It is concatenated *behind* $d$.
# - $R$ is the reconstruction block.
# - $\text{Out}$, the **outward reference**, gives an attention map $a$ between 0 and 1, one number for each cell.
# - A **side head**, a 1 × 1 convolution, reads a small mask from $r$. It answers in training only, where a loss tells
#   every stage on its own what the mask should be.
#
# Notebook 06 opens the two references. Here they are boxes that you call. You write the stage in three steps: look,
# weigh, climb.
#
# ### Exercise 1 · Look
#
# *Difficulty ★☆☆ · 4 minutes.* `stage` is a module that has all parts already: `stage.inward(image)` gives the image as
# a map of x's height and width, and `stage.reconstruction` is the block.

# %% tags=["exercise"]
def reconstruct(stage, x, image):
    """The image's map concatenated behind x, and both through the block.

    Shapes: x (B, C, h, w), image (B, 3, H, W) to r (B, O, h, w).
    """
    # <solution>
    return stage.reconstruction(torch.cat([x, stage.inward(image)], dim=1))
    # </solution>

# %% [markdown]
# The check runs a middle stage and the last one.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

look_checked = checks.reconstruct(reconstruct)
look_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Channels are axis 1. Which of the two stands in front?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Call `stage.inward` with the image. Put x and what it gives into one `torch.cat` along axis 1, in this order, and give
# the result to `stage.reconstruction`.
#
# </details>

# %% [markdown]
# ### Exercise 2 · Weigh
#
# A toy cell, by hand: where $r = 4$ and $a = 0.25$, the next step gets $1$. The side head still reads the $4$. Had it
# read the $1$, it could say nothing of what the attention turned down.
#
# *Difficulty ★★☆ · 8 minutes.* `stage.side_head(r)` gives the side logits, `stage.outward(r)` *two* maps: the
# attention, already in 0 to 1, and the gradient logits. In the last stage, both `stage.side_head` and `stage.outward`
# are None, and r goes on as it is.

# %% tags=["exercise"]
def weigh(stage, r):
    """r times the attention; and the two maps that a loss will see. Returns weighed, side_logits, gradient_logits.

    The attention always acts. side_logits and gradient_logits are None whenever stage.training is False, and where the
    stage has no such part. Shapes: r (B, O, h, w) to the same, and twice (B, 1, h, w).
    """
    # <solution>
    side_logits = gradient_logits = None
    if stage.training and stage.side_head is not None:
        side_logits = stage.side_head(r)
    if stage.outward is not None:
        attention, gradients = stage.outward(r)
        r = r * attention
        gradient_logits = gradients if stage.training else None
    return r, side_logits, gradient_logits
    # </solution>

# %% [markdown]
# The check tries a middle and a last stage, each in use and in training.

# %% tags=["NBVAL_CHECK_OUTPUT"]
weigh_checked = checks.weigh(weigh)
weigh_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write it for a middle stage in training first. Which line must come before r changes? Then ask of each line: does it
# run after `eval()`, and does it run in the last stage?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Begin with both logits None. If there is a side head and the stage is training, keep what it says of r. If there is an
# outward reference, take its two maps: multiply r by the first, and keep the second if the stage is training. Return
# the three.
#
# </details>

# %% [markdown]
# Unsolved steps are replaced by the package's, so that you can go on with the third.

# %%
from birefnet_lite.course.skeleton import reconstruct_in_stage, weigh_in_stage

look = reconstruct if look_checked.passed else reconstruct_in_stage
weighing = weigh if weigh_checked.passed else weigh_in_stage

# %% [markdown]
# ### Exercise 3 · Climb
#
# *Difficulty ★★☆ · 6 minutes.* Put the steps together. You may call `look(stage, x, image)`, `weighing(stage, r)` and
# `resize(map, (height, width))`, which is bilinear with aligned corners.

# %% tags=["exercise"]
def run_stage(stage, x, image, lateral):
    """One stage of the decoder. Returns three things: features, side_logits, gradient_logits.

    features: the weighed map, enlarged to the height and width of `lateral`, plus stage.lateral(lateral). In the last
    stage, stage.lateral and `lateral` are None: the map is enlarged to the image's height and width, nothing is added.
    """
    # <solution>
    weighed, side_logits, gradient_logits = weighing(stage, look(stage, x, image))
    if lateral is None:
        return resize(weighed, image.shape[-2:]), side_logits, gradient_logits
    return resize(weighed, lateral.shape[-2:]) + stage.lateral(lateral), side_logits, gradient_logits
    # </solution>

# %% [markdown]
# The check runs a middle stage in use and in training, and a last stage.

# %% tags=["NBVAL_CHECK_OUTPUT"]
stage_checked = checks.run_stage(run_stage)
stage_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two calls give you the weighed map and both logits. What is left is the end of notebook 04, with one case more.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Look, then weigh. Without a lateral map, enlarge the first of the three results to the last two sizes of the image.
# With one, enlarge it to the last two sizes of the lateral map, and add what `stage.lateral` makes of that map. Return
# it with both logits.
#
# </details>

# %% [markdown]
# From here on, a stage is your forward pass, or the package's, around its five parts.

# %%
from birefnet_lite.network.decoder import DecoderStage, StageOutput
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.refinement import InwardReference, OutwardReference


class MyStage(torch.nn.Module):
    """`into`, `out`, `beside` and `seen` are widths: from below, of the result, of the lateral, of the image's map."""

    def __init__(self, into, out, beside, seen, grid, config):
        super().__init__()
        inner = {"inter_channels": config.inter_channels, "aspp_channels": config.aspp_channels}
        self.inward = InwardReference(grid, seen, config.image_channels)
        self.reconstruction = BasicBlock(into + seen, out, **inner, batch_norm=config.batch_norm)
        self.side_head = torch.nn.Conv2d(out, 1, 1) if beside else None
        self.outward = OutwardReference(out, config.gradient_channels) if beside else None
        self.lateral = LateralBlock(beside, out) if beside else None

    def forward(self, x, image, lateral):
        run = run_stage if stage_checked.passed else DecoderStage.forward
        return StageOutput(*run(self, x, image, lateral))  # the three things, with names

# %% [markdown]
# ## 5 · The loop
#
# ### All widths in one place
#
# Let $c_1$ to $c_4$ be the widths of the encoder's maps. A stage takes what the one below gives, and gives the width
# of the map that it adds: stage 4 adds $x_3$, so it gives $c_3$. The last stage adds nothing, and gives $c_1 / 2$. The
# image's map in stage $i$ has an eighth of the width of $x_{i+1}$; in stage 4, below which there is no map, of $x_4$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
c1, c2, c3, c4 = (2 * c for c in model.encoder.backbone.channels)
plan = {  # stage: from below, result, lateral, image, tiles per side
    4: (c4, c3, c3, c4 // 8, 32),
    3: (c3, c2, c2, c4 // 8, 16),
    2: (c2, c1, c1, c3 // 8, 8),
    1: (c1, c1 // 2, 0, c2 // 8, 4),
}
for number, (into, out, _, seen, grid) in plan.items():
    print(f"stage {number}: {into:3} + {seen:2} channels in, {out:3} out, at stride {grid}")

# %% [markdown]
# ### A loop with faults
#
# Somebody has written the loop: four stages, then the **head**, which sees the image once more at full resolution and
# gives one number for each pixel by a 1 × 1 convolution. It runs without an error, and all shapes fit.

# %%
def somebodys_loop(decoder, image, features):
    *finer, x = features
    side_logits, gradient_logits = [], []
    for stage, lateral in zip(decoder.stages, (*finer[::-1], None)):
        x, side, gradients = stage(x, image, lateral)
        if side is not None:
            side_logits.insert(0, side)
        if gradients is not None:
            gradient_logits.append(gradients)
    seen = decoder.image_branch(image)
    return side_logits, gradient_logits, decoder.head(torch.cat([seen, x], dim=1))

# %% [markdown]
# With the trained parts, this is its mask.

# %%
with torch.inference_mode():
    faulty = somebodys_loop(model.decoder, prepared.tensor, features)[2].sigmoid()[0, 0].numpy()
compare_masks(photo, by_hand, {"somebody's loop": faulty}, "A cat; beside it the mask of a loop with faults.")

# %% [markdown]
# The whole cat is grey, with eyes, nose and whiskers in it: the head is in doubt all over it. Cut at one half, the mask
# still reaches an IoU of .917, and a score alone would hardly tell of the fault.
#
# ### Exercise 4 · Find the faults
#
# *Difficulty ★★☆ · 10 minutes.* There are two. One spoils this mask; the other can be seen in training only. Compare
# the loop with what it should do, and write it without them.

# %% tags=["exercise"]
def decode(decoder, image, features):
    """The whole decoder. Returns three things: side_logits, gradient_logits, logits.

    decoder.stages: stages 4, 3, 2, 1, each called as stage(x, image, lateral), the last with None; each gives
    features, side_logits, gradient_logits, of which the last two may be None.
    features: x1, x2, x3 and the squeezed x4. decoder.image_branch(image): the image as a map of its full size, to be
    concatenated behind the last stage's map. decoder.head: the 1x1 convolution to (B, 1, H, W), the logits.
    side_logits and gradient_logits: the maps that are not None, in the order of the stages; empty when not training.
    """
    # <solution>
    x1, x2, x3, x = features
    side_logits, gradient_logits = [], []
    for stage, lateral in zip(decoder.stages, (x3, x2, x1, None)):
        x, side, gradients = stage(x, image, lateral)
        side_logits += [] if side is None else [side]
        gradient_logits += [] if gradients is None else [gradients]
    logits = decoder.head(torch.cat([x, decoder.image_branch(image)], dim=1))
    return side_logits, gradient_logits, logits
    # </solution>

# %% [markdown]
# The check runs the loop in use and in training.

# %% tags=["NBVAL_CHECK_OUTPUT"]
loop_checked = checks.decode(decode)
loop_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Read the docstring phrase by phrase, and point at the line that does it. Which two phrases speak of an *order*?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each channel of the head's input meets a weight of its own. And run the loop on a decoder in training: which stage is
# the first of the side logits from, by its size?
#
# </details>

# %% [markdown]
# All of the decoder, from your parts. The table of widths does the rest.

# %%
from birefnet_lite.network.decoder import Decoder


class MyDecoder(torch.nn.Module):
    def __init__(self, plan, config):
        super().__init__()
        for number, widths in plan.items():
            self.add_module(f"stage{number}", MyStage(*widths, config))
        out, seen = plan[1][1], plan[2][1] // 8
        self.image_branch = InwardReference(1, seen, config.image_channels)
        self.head = torch.nn.Conv2d(out + seen, 1, 1)

    @property
    def stages(self):
        return self.stage4, self.stage3, self.stage2, self.stage1

    def forward(self, image, features):
        return (decode if loop_checked.passed else Decoder.forward)(self, image, features)

# %% [markdown]
# The running table, with the reconstruction blocks and the head in it. The dots are what notebook 06 opens.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

part_table(model, SIZE, upto="05")

# %% [markdown]
# ## 6 · Equality
#
# Your decoder gets the weights of the network's decoder, by name. A single name or shape that did not fit would raise
# an error here.

# %% tags=["NBVAL_CHECK_OUTPUT"]
mine = MyDecoder(plan, model.config).eval()
mine.load_state_dict(model.decoder.state_dict())
print(f"{len(mine.state_dict())} entries fit, {sum(p.numel() for p in mine.parameters()):,} parameters")

# %% [markdown]
# First in use, at three sizes, with random weights: biases and batch-norm statistics that are drawn at random bring to
# light what zeros and ones hide.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import copy

from birefnet_lite.course.checks.weights import randomise


def inputs(batch, height, width):
    generator = torch.Generator().manual_seed(1)
    shapes = [(c, height // s, width // s) for c, s in zip((c1, c2, c3, c4), (4, 8, 16, 32))]
    image, *maps = (torch.randn(batch, *shape, generator=generator) for shape in [(3, height, width), *shapes])
    return image, tuple(maps)


drawn = randomise(copy.deepcopy(model.decoder)).eval()
mine.load_state_dict(drawn.state_dict())
for size in [(1, 32, 32), (2, 96, 64), (1, 160, 224)]:
    with torch.inference_mode():
        difference = (mine(*inputs(*size))[2] - drawn(*inputs(*size)).logits).abs().max().item()
    print(size, "equal to 1e-6:", difference <= 1e-6)

# %% [markdown]
# Then in training, where side outputs and gradients come along, batch norms use the batch, and dropout acts: both
# decoders draw the same random numbers.

# %% tags=["NBVAL_CHECK_OUTPUT"]
results = []
for decoder in (mine.train(), drawn.train()):
    torch.manual_seed(2)
    with torch.no_grad():
        sides, gradients, logits = decoder(*inputs(2, 96, 64))
    results.append([*sides, *gradients, logits])
for ours, theirs in zip(*results, strict=True):
    print(tuple(ours.shape), "equal to 1e-6:", (ours - theirs).abs().max().item() <= 1e-6)

# %% [markdown]
# ## 7 · The outline is drawn
#
# The picture of section 1 again, and behind it the side outputs of stages 3 and 2, and your decoder's mask.

# %%
mine.load_state_dict(model.decoder.state_dict())
mine.eval()
with torch.inference_mode():
    mask = mine(prepared.tensor, features)[2].sigmoid()[0, 0].numpy()
steps = {f"stage {n}": enlarged(n) for n in (4, 3, 2)}
compare_masks(photo, by_hand, steps | {"your decoder": mask}, "A cat; four masks of it, from coarse to fine.")

# %% [markdown]
# The outline closes in on the cat, and from stage to stage the IoU rises: .905, .909, .916, and .937 with your decoder.
# What is left is orange at the lower right, a piece of the blanket that the deepest stage has already taken for the
# cat, and some blue at the left: here, the later stages redraw the outline, and do not change their mind about *what*
# belongs to the object.

# %% [markdown]
# ## 8 · Play with it
#
# The ladder of predictions: the side outputs of stages 4, 3 and 2, and the final mask. **Look for two things:**
#
# 1. Row *At its own size*: the mask of stage 4 has 8 × 12 cells. Could any values in so few cells draw the whiskers? At
#    which step do you first see some?
# 2. Row *What the stage changed*: red became more, blue became less. Does a stage move the *borders*, or does it still
#    change its mind about *what* belongs to the object?
#
# <details><summary>What you should see</summary>
#
# 1. No: a cell is 32 × 32 pixels. The side masks of stages 3 and 2 have none either; scraps of fur and whiskers are in
#    the final mask only, at the left border, where the last step adds the most.
# 2. The borders: thin lines of red and blue along the outline, and a spot beside the right eye. The piece of blanket at
#    the lower right stays from the first mask to the last. The scores: IoU .904, .908, .915, .937; the view
#    scores 384 × 256 pixels, section 7 all of the photo's, which makes .001. On the astronaut they are about .86, .93,
#    .95, .94, and on the coffee, the failure case of notebook 00, .77, .75, .75, .77; try `load_photo("coffee")`.
#
# </details>

# %%
from widgets import prediction_ladder

view = prediction_ladder(model, photo, by_hand.astype(float), size=SIZE)
view.layer = "stage 2.change"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - A decoder is a loop: **enlarge, add the lateral map, look**. The four lines of the tutorials are all there.
# - BiRefNet looks with a **reconstruction block**, the squeeze module again: narrow, five receptive fields, wide.
# - The **side head** reads the block's result *before* the attention, and only in training.
# - The **attention** acts in training and in use.
# - All widths follow from the encoder's four; the stages are one class and **one loop**.

# %% [markdown]
# ## Three questions
#
# **1. A checkpoint was trained with `batch_size = 1` in the original's configuration. You build the network with
# `batch_norm=True` and load it. What happens?**
#
# - a) It loads, and gives the same masks.
# - b) It loads, and the masks are slightly worse.
# - c) Loading fails: the file has no entries for the decoder's batch norms.
#
# <details><summary>Answer</summary>
#
# **c.** The batch norms' weights and statistics are missing in the file, as the state dicts of section 3 showed. With
# `strict=False` it would load without a word. In use, fresh batch norms change almost nothing; in training they
# normalise with each batch, and the network is another one. That is why the package refuses.
#
# </details>

# %% [markdown]
# **2. Why does each of stages 4, 3 and 2 have a side head, although only the final mask is used?**
#
# - a) So that the loss reaches every stage directly, and each learns to find the whole object at its own resolution.
# - b) The final mask is their average.
# - c) They make inference faster.
#
# <details><summary>Answer</summary>
#
# **a.** This is called deep supervision, or supervision at every stage. After `eval()` the side heads are not even
# called: nothing is averaged (b), and they cost nothing, but save nothing either (c).
#
# </details>

# %% [markdown]
# **3. The last stage's map is enlarged from stride 4 to the full photo; then the head's 1 × 1 convolution makes one
# channel of it. Could the convolution come first?**
#
# - a) No, the result would be different everywhere.
# - b) Yes, for the part of the head that reads this map: both are linear, and they may change places.
# - c) Only with `align_corners=False`.
#
# <details><summary>Answer</summary>
#
# **b.** A 1 × 1 convolution mixes channels within one pixel, with the same weights everywhere; resampling mixes pixels
# within one channel, with weights that add up to 1. In either order, each result is the same weighted sum. Then one
# channel is enlarged instead of all of them. Notebook 11 makes use of it.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `BasicBlock` | reconstruction block | `BasicDecBlk` in `models/modules/` | `network/blocks.py` |
# | a stage in steps | reconstruction module | `Decoder.forward`, four times | `network/decoder.py`, `DecoderStage` |
# | side heads | multi-stage supervision | `conv_ms_spvn_4`, `_3`, `_2` | `DecoderStage.side_head` |
# | `decode` | Fig. 2 | `Decoder.forward` in `models/birefnet.py` | `network/decoder.py`, `Decoder` |
# | head | – | `conv_out1` | `Decoder.head` |
#
# **Paper and code.** The paper's block has receptive fields of 1, 3 and 7 and a pooled one. The code has the 1 × 1
# branch twice, and its weights need both. In training, dropout sets half of the ASPP's result to zero; there is no
# trace of it after `eval()`. The paper reads the attention inside the block; in the code it is read from the block's
# result. In March 2024, the original's code switched the attention off after training for one day: masks got worse
# ([issue 4](https://github.com/ZhengPeng7/BiRefNet/issues/4)).
