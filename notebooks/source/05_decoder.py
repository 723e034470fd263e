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
# - build the reconstruction block with the right names, so that published weights fit,
# - write a stage and the loop over stages, and get the same numbers as the package, in use and in training.
#
# **Time:** 60 minutes, 40 of them for the exercises. **You need:** notebook 01; notebook 03 for what is in the ASPP.

# %% [markdown]
# ## 1 · The map
#
# You are in the middle: the column of stages that climbs from stride 32 to the mask.

# %%
from birefnet_lite.course import network_map

network_map("05")

# %% [markdown]
# ## 2 · Four lines
#
# Let $d$ be the map that climbs, $x_i$ the encoder's map of level $i$, $L$ a lateral block (a 1 × 1 convolution that
# brings $x_i$ to the width of $d$), and $C$ a 3 × 3 convolution. One step of the tutorials' decoder is
#
# $$d \leftarrow C\big(\text{up}(d) + L(x_i)\big)$$
#
# Enlarge, add, convolve.
#
# ### A toy row, by hand
#
# Let $d = (0, 3)$, two cells, and let the lateral map have four: $(0, 0, 5, 0)$. With *aligned corners*, the outer
# cells stay where they are, and the others are spread evenly between them: $\text{up}(d) = (0, 1, 2, 3)$. With the
# lateral map added, that is $(0, 1, 7, 3)$.
#
# PyTorch can also align the *outer edges* of the cells (`align_corners=False`); then it reads at other places.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch
import torch.nn.functional as F

d = torch.tensor([0.0, 3.0]).reshape(1, 1, 1, 2)  # (B, C, H, W)
beside = torch.tensor([0.0, 0, 5, 0]).reshape(1, 1, 1, 4)
for aligned in (True, False):
    up = F.interpolate(d, size=(1, 4), mode="bilinear", align_corners=aligned)
    print(f"align_corners={aligned!s:5}", up.flatten().tolist())

# %% [markdown]
# ### Exercise 1 · A step up
#
# *Difficulty ★☆☆ · 6 minutes.* Write the first two thirds of the line: enlarge and add.

# %% tags=["exercise"]
def step_up(x, lateral, conv):
    """x, enlarged to the height and width of `lateral`, plus conv(lateral).

    Shapes: x (B, C, h, w), lateral (B, L, H, W) with any H and W; conv is a module that takes (B, L, H, W) to
    (B, C, H, W). Returns (B, C, H, W). x is enlarged bilinearly, with align_corners=True.
    """
    # <solution>
    x = F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=True)
    return x + conv(lateral)
    # </solution>

# %% [markdown]
# The check uses maps that are not exactly twice as large, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

step_checked = checks.step_up(step_up)
step_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `F.interpolate` takes a `size`. A tensor's last two sizes are its height and width. Who is convolved, and who is
# enlarged?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Resample x to the height and width of the lateral map. Give the lateral map, and nothing else, to conv. Return the
# sum of the two.
#
# </details>

# %% [markdown]
# The toy row goes through it, yours or the package's. The convolution is the identity here, so that we find the
# numbers that we wrote down.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.resize import resize

up_plus = step_up if step_checked.passed else lambda x, lateral, conv: resize(x, lateral.shape[-2:]) + conv(lateral)
up_plus(d, beside, torch.nn.Identity()).flatten().tolist()

# %% [markdown]
# ### The whole of it
#
# The tutorials' decoder is this step in a loop. Four lines, and it works: many networks have no other.

# %%
def tutorial_decoder(features, laterals, convs):
    *finer, x = features
    for y, lateral, conv in zip(finer[::-1], laterals, convs):
        x = conv(up_plus(x, y, lateral)).relu()
    return x

# %% [markdown]
# It gets the maps of a real photo, from the network's encoder and squeeze module. Its own weights are random, and it
# keeps 64 channels throughout.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.analysis import prepare
from birefnet_lite.course import course_model
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 384)
photo, object_mask, _ = load_photo("coffee")
prepared = prepare(model, photo, size=SIZE)
with torch.inference_mode():
    *finer, deepest = model.encoder(prepared.tensor)
    features = (*finer, model.squeeze(deepest))  # x1, x2, x3, squeezed x4
print(course.notice)
print([tuple(x.shape[1:]) for x in features])

# %% [markdown]
# The deepest map is narrowed to 64 channels first; then come three steps up, and it ends at stride 4.

# %% tags=["NBVAL_CHECK_OUTPUT"]
widths = [x.shape[1] for x in features]
narrow = torch.nn.Conv2d(widths[3], 64, 1)
laterals = [torch.nn.Conv2d(c, 64, 1) for c in widths[2::-1]]
convs = [torch.nn.Conv2d(64, 64, 3, padding=1) for _ in laterals]
with torch.inference_mode():
    end = tutorial_decoder((*features[:3], narrow(features[3])), laterals, convs)
tuple(end.shape)

# %% [markdown]
# ### What it lacks
#
# 1. A 3 × 3 convolution sees the neighbours of a cell, and no more. Whether a thin line is a spoon or a shadow shows
#    further away. → *Section 3, the reconstruction block.*
# 2. Only its end is ever judged. If the deepest step goes wrong, the loss says so from far away. → *Section 4, side
#    heads.*
# 3. The finest map that it meets has stride 4: what is thinner than that was averaged away before. → *Section 4, the
#    inward reference; notebook 06 opens that box.*

# %% [markdown]
# ## 3 · The reconstruction block
#
# The block looks with **several receptive fields at once**. On wide maps that would be expensive, so it is narrow in
# the middle: a 3 × 3 convolution brings the map down to 64 channels, the deformable ASPP of notebook 03 looks with
# kernels of 1, 1, 3 and 7 cells and at the whole map, and another 3 × 3 convolution widens again.

# %%
from birefnet_lite.course import Picture
from birefnet_lite.course.canvas import Canvas
from birefnet_lite.course.picture import card

figure = card(9.6, 2.6)
axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 9.6), ylim=(0, 2.6), aspect="equal")
axes.set_axis_off()
canvas = Canvas(axes)
canvas.text((0.62, 1.3), "map and\nimage", size=10)
canvas.text((9.0, 1.3), "wide\nagain", size=10)
canvas.box("decoder", (2.0, 1.3), (1.35, 0.75), "3 × 3", "narrow, norm, ReLU")
canvas.box("squeeze", (6.2, 1.3), (1.35, 0.75), "1 × 1", "join, norm, ReLU")
canvas.box("decoder", (7.8, 1.3), (1.35, 0.75), "3 × 3", "widen, norm")
for y, name in zip((2.25, 1.78, 1.3, 0.82, 0.35), ("1 × 1", "1 × 1", "3 × 3", "7 × 7", "whole map")):
    canvas.arrow("squeeze", (2.68, 1.3), (2.95, 1.3), (3.15, y), (3.5, y))
    canvas.box("squeeze", (4.1, y), (1.2, 0.38), name)
    canvas.arrow("squeeze", (4.7, y), (5.05, y), (5.25, 1.3), (5.52, 1.3))
for start, stop in ((1.0, 1.32), (6.88, 7.12), (8.48, 8.75)):
    canvas.arrow("decoder", (start, 1.3), (stop, 1.3))
Picture.of(figure, "A 3 by 3 convolution, five branches side by side, a 1 by 1 convolution, and a 3 by 3 convolution.")

# %% [markdown]
# ### The price, by hand
#
# Stage 4 of `lite` takes 1728 channels and gives 768. One 7 × 7 convolution between the two has
# $7 \cdot 7 \cdot 1728 \cdot 768 \approx 65$ million weights. The block's two outer convolutions have
# $9 \cdot 1728 \cdot 64 \approx 1.0$ and $9 \cdot 64 \cdot 768 \approx 0.4$ million, and everything between them works
# on 64 channels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.blocks import BasicBlock

wide = BasicBlock(1728, 768)
print(f"one 7 x 7 convolution: {7 * 7 * 1728 * 768:>12,} weights")
print(f"the whole block:       {sum(p.numel() for p in wide.parameters()):>12,} parameters")

# %% [markdown]
# ### Exercise 2 · The reconstruction block
#
# *Difficulty ★★☆ · 12 minutes.* In notebook 03 such a block was the squeeze module, and its ASPP came from outside.
# Now it builds all of its parts from numbers and flags, under the package's names: weights are handed over by name.
#
# You have `DeformableASPP(width, channels=width_of_a_branch, batch_norm=flag)`, which gives a map as wide as it takes,
# and `batch_norm_or_identity(width, flag)`, which gives a batch norm, or nothing at all.

# %% tags=["exercise"]
from birefnet_lite.network.aspp import DeformableASPP, batch_norm_or_identity


class ReconstructionBlock(torch.nn.Module):
    """Narrow, look with several receptive fields, widen: (B, in_channels, H, W) to (B, out_channels, H, W).

    Attributes, in the order in which they act: conv_in (3x3, to inter_channels), norm_in, a ReLU, aspp (branches of
    aspp_channels), conv_out (3x3, to out_channels), norm_out. Both convolutions have a bias and keep the map's size.
    Nothing comes after norm_out. With batch_norm=False there is no batch norm, neither here nor in the ASPP.
    """

    def __init__(self, in_channels, out_channels, inter_channels=64, aspp_channels=256, batch_norm=True):
        super().__init__()
        # <solution>
        self.conv_in = torch.nn.Conv2d(in_channels, inter_channels, 3, padding=1)
        self.norm_in = batch_norm_or_identity(inter_channels, batch_norm)
        self.aspp = DeformableASPP(inter_channels, channels=aspp_channels, batch_norm=batch_norm)
        self.conv_out = torch.nn.Conv2d(inter_channels, out_channels, 3, padding=1)
        self.norm_out = batch_norm_or_identity(out_channels, batch_norm)
        # </solution>

    def forward(self, x):
        # <solution>
        x = self.norm_in(self.conv_in(x)).relu()  # (B, inter_channels, H, W)
        return self.norm_out(self.conv_out(self.aspp(x)))
        # </solution>

# %% [markdown]
# The check builds blocks of three widths, gives them random weights and statistics, and looks in training mode, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
block_checked = checks.reconstruction_block(ReconstructionBlock)
block_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `__init__` makes five attributes, `forward` calls them in the order of the docstring. Which of them take
# inter_channels, which out_channels, and which get the flag?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make: a 3 × 3 convolution with padding from in_channels to inter_channels; a norm of that width; an ASPP of that
# width with the branches' width and the flag; a 3 × 3 convolution with padding to out_channels; a norm of that width.
# Call: convolve, norm, ReLU; ASPP; convolve, norm.
#
# </details>

# %% [markdown]
# ### How far it sees
#
# By hand: one cell of the result sees 3 × 3 cells of the ASPP's result. The widest kernel, 7 × 7, adds 3 cells on
# each side: 9 × 9. The first convolution adds one more: 11 × 11 = 121 cells. And the pooled branch sees everything.
#
# We measure it: which cells of the input change the cell in the middle of the result? Those with a gradient.

# %%
Block = ReconstructionBlock if block_checked.passed else BasicBlock


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
block = Block(8, 8, inter_channels=16, aspp_channels=16, batch_norm=True).eval()
print("3 x 3 convolution:      ", reach(torch.nn.Conv2d(8, 8, 3, padding=1), 8))
silenced = block.aspp.pooled.register_forward_hook(lambda module, inputs, output: 0 * output)
print("block, without pooling: ", reach(block, 8))
silenced.remove()
print("block:                  ", reach(block, 8))

# %% [markdown]
# A trained block sees further than 11 × 11 even without pooling: its kernels are deformable, and have moved.

# %% [markdown]
# ### Why the batch norm is a flag
#
# The pooled branch makes one number per channel of each photo. With a batch of **one**, a batch norm in training has
# a single number to take a mean and a variance of. PyTorch refuses.

# %% tags=["NBVAL_CHECK_OUTPUT"]
one = torch.randn(1, 8, 6, 6)
try:
    block.train()(one)
except ValueError as error:
    print(str(error).split(",")[0])
bare = Block(8, 8, inter_channels=16, aspp_channels=16, batch_norm=False)
print("without batch norm:", tuple(bare.train()(one).shape))
print("entries of the state dict:", len(block.state_dict()), "and", len(bare.state_dict()))

# %% [markdown]
# In the original, `batch_size = 1` in the configuration leaves all of the decoder's batch norms out. Such a
# checkpoint has other entries, and fits only a network that was built the same way. Here it is a flag with its own
# name, `batch_norm`.

# %% [markdown]
# ## 4 · A stage
#
# One stage works at one resolution, and ends one level finer. In symbols, with $d$ from below, the image $I$, and the
# lateral map $x$ of the next finer level:
#
# $$r = R\big([d, \text{In}(I)]\big), \qquad a = \text{Out}(r), \qquad d' = \text{up}(a \cdot r) + L(x)$$
#
# - $\text{In}$, the **inward reference**, is a map of the image at the size of $d$. It is concatenated *behind* $d$.
# - $R$ is the reconstruction block.
# - $\text{Out}$, the **outward reference**, gives an attention $a$ between 0 and 1, one number for each cell.
# - A **side head**, a 1 × 1 convolution, reads a small mask from $r$. It answers in training only, where a loss tells
#   every stage on its own what the mask should be.
#
# Notebook 06 opens the two references. Here they are boxes that you call.

# %% [markdown]
# ### A toy cell, by hand
#
# Where $r = 4$ and $a = 0.25$, the next stage gets $1$, plus the lateral map; the side head still reads the $4$. Had
# it read the $1$, it could say nothing of what the attention turned down.
#
# ### Exercise 3 · A stage
#
# *Difficulty ★★☆ · 12 minutes.* `stage` is a module that has all parts already. Write its forward pass.

# %% tags=["exercise"]
def run_stage(stage, x, image, lateral):
    """One stage of the decoder. Returns three things: features, side_logits, gradient_logits.

    stage.inward(image): the image as a map of x's height and width, concatenated behind x.
    stage.reconstruction: the block. stage.side_head(r): (B, 1, h, w), of the block's result r.
    stage.outward(r): two maps (B, 1, h, w), the attention (already in 0 to 1) and the gradient logits.
    stage.lateral(lateral): the lateral map at the block's width.
    features is the weighed map, resized (bilinear, align_corners=True) to the lateral map and added to it.
    In the last stage, side_head, outward, lateral and the argument `lateral` are None: nothing is weighed or added, and
    the map is resized to the image's height and width. side_logits and gradient_logits are None where they do not
    exist, and whenever stage.training is False; the attention always acts.
    """
    # <solution>
    r = stage.reconstruction(torch.cat([x, stage.inward(image)], dim=1))
    side_logits = gradient_logits = None
    if stage.training and stage.side_head is not None:
        side_logits = stage.side_head(r)
    if stage.outward is not None:
        attention, gradients = stage.outward(r)
        r = r * attention
        gradient_logits = gradients if stage.training else None
    if stage.lateral is None:
        return resize(r, image.shape[-2:]), side_logits, gradient_logits
    return up_plus(r, lateral, stage.lateral), side_logits, gradient_logits
    # </solution>

# %% [markdown]
# The check runs a middle stage in use and in training, and a last stage.

# %% tags=["NBVAL_CHECK_OUTPUT"]
stage_checked = checks.run_stage(run_stage)
stage_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Write the middle stage first, as if nothing were ever None. You have its last line already: it is exercise 1, and
# `resize(x, size)` does its first half. Then go through the lines and ask of each: what does it do in the last stage?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Concatenate x and the image's map, and run the block. If there is a side head and we are training, keep what it says.
# If there is an outward reference, take its two maps: multiply the block's result by the first, keep the second when
# training. If there is a lateral block, resize to the lateral map and add it; otherwise resize to the image. Return
# the three.
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
        self.reconstruction = Block(into + seen, out, **inner, batch_norm=config.batch_norm)
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
# image's map is an eighth as wide as an encoder map.

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
# ### Exercise 4 · The loop
#
# *Difficulty ★★☆ · 10 minutes.* Four stages, then the **head**: the image once more, at full resolution, and a 1 × 1
# convolution that gives one number for each pixel.

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
# It is the loop of notebook 01 with two lists beside it. In which order do the stages need the encoder's maps?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The running map begins as the last of the features. For each stage and its lateral (the third map, the second, the
# first, nothing): call it, take the running map from its result, and append the other two to their lists unless they
# are None. Concatenate the running map and the image's map, in this order, and give them to the head.
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
# First in use, at three sizes, with the network's weights and with random ones. Random biases and batch-norm
# statistics bring to light what zeros and ones hide.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import copy

from birefnet_lite.course.checks.weights import randomise


def inputs(batch, height, width):
    generator = torch.Generator().manual_seed(1)
    shapes = [(c, height // s, width // s) for c, s in zip((c1, c2, c3, c4), (4, 8, 16, 32))]
    image, *maps = (torch.randn(batch, *shape, generator=generator) for shape in [(3, height, width), *shapes])
    return image, tuple(maps)


drawn = randomise(copy.deepcopy(model.decoder)).eval()
for name, real in {"network's": model.decoder, "random": drawn}.items():
    mine.load_state_dict(real.state_dict())
    for size in [(1, 32, 32), (2, 96, 64), (1, 160, 224)]:
        with torch.inference_mode():
            difference = (mine(*inputs(*size))[2] - real(*inputs(*size)).logits).abs().max().item()
        print(f"{name:9} weights, {size}: equal to 1e-6:", difference <= 1e-6)

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
# ## 7 · On a photo
#
# Your decoder with the network's weights makes the mask. Beside it: what it makes when the three lateral maps are
# zero. The encoder's finer maps then no longer reach the stages; the squeezed map and the image itself still do. Which
# outlines survive?

# %%
from birefnet_lite.course import side_by_side

mine.load_state_dict(model.decoder.state_dict())
mine.eval()
alone = (*(torch.zeros_like(x) for x in features[:3]), features[3])
with torch.inference_mode():
    masks = [mine(prepared.tensor, maps)[2].sigmoid()[0, 0].numpy() for maps in (features, alone)]
side_by_side(
    {"photo": prepared.seen, "your decoder": masks[0], "without lateral maps": masks[1]},
    alt="A cup of coffee on a saucer with a spoon; its mask; and the mask that is left without lateral maps.",
)

# %% [markdown]
# ## 8 · Play with it
#
# The ladder of predictions: the side outputs of stages 4, 3 and 2, and the final mask. **Look for two things:**
#
# 1. Row *At its own size*: the mask of stage 4 has 8 × 12 cells. Could any values in so few cells draw the spoon? At
#    which stage do you see it first?
# 2. Row *What the stage changed*: red became more, blue became less. Does a stage move the *borders*, or does it still
#    change its mind about *what* belongs to the object?
#
# <details><summary>What you should see</summary>
#
# 1. No: a cell is 32 × 32 pixels, and the spoon's handle is narrower. It appears with stage 3, in cells of 16 × 16.
# 2. Both. Along the outline the change is a thin line of red and blue; but on this photo whole patches of the table
#    turn red as well, and the scores say so: IoU .765, .747, .748, .769. This is the failure case of notebook 00. On
#    the astronaut the same four numbers are .859, .926, .945, .944; try `load_photo("astronaut")`.
#
# </details>

# %%
from widgets import prediction_ladder

view = prediction_ladder(model, photo, object_mask.astype(float), size=SIZE)
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
# - BiRefNet looks with a **reconstruction block**: narrow, five receptive fields, wide again; no shortcut, and nothing
#   after the last batch norm.
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
# `strict=False`, b) would happen: fresh batch norms, and no word about it. That is why the package refuses.
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
# | `ReconstructionBlock` | reconstruction block | `BasicDecBlk` in `models/modules/` | `network/blocks.py` |
# | `run_stage` | reconstruction module | `Decoder.forward`, four times | `network/decoder.py`, `DecoderStage` |
# | side heads | multi-stage supervision | `conv_ms_spvn_4`, `_3`, `_2` | `DecoderStage.side_head` |
# | `decode` | Fig. 2 | `Decoder.forward` in `models/birefnet.py` | `network/decoder.py`, `Decoder` |
# | head | – | `conv_out1` | `Decoder.head` |
#
# **Paper and code.** The paper's block has receptive fields of 1, 3 and 7 and a pooled one. The code has the 1 × 1
# branch twice, and its weights need both. In training, dropout sets half of the ASPP's result to zero; there is no
# trace of it after `eval()`. The paper reads the attention inside the block; in the code it is read from the block's
# result. In March 2024, the original's code switched the attention off after training for one day: masks got worse
# ([issue 4](https://github.com/ZhengPeng7/BiRefNet/issues/4)).
