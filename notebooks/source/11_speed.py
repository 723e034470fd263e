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
# # 11 · The same numbers, faster
#
# A network is built so that it can be understood and trained. Once it is trained, much of it can be computed in another
# way: with fewer multiplications, on smaller maps, and with the same mask. No weight is thrown away and nothing is
# approximated. The means are school algebra, and you do it here.
#
# **After this notebook you can**
# - fold a batch norm into a convolution, and two convolutions into one,
# - say which operations may change places, and which order needs less time and memory,
# - measure whether it was worth it, without fooling yourself.
#
# **Time:** 55 minutes, 36 of them for the exercises. **You need:** notebooks 04 and 05.

# %% [markdown]
# ## 1 · Out of memory
#
# A photo of 1024 × 1024, our small network, and a machine that has 256 MiB to spare. While the network computes, maps
# are made, and freed when nobody needs them any more. The picture counts those that are alive after each operator. It
# takes shapes alone: nothing is computed for it.

# %%
import torch

from birefnet_lite.course import course_model
from birefnet_lite.course.memory import memory_curve, memory_plot

course = course_model()
model, SIZE = course.model, (192, 288)
LIMIT = 256  # MiB
curves = {"plain": memory_curve(model, 1024, 1024)}
memory_plot(curves, LIMIT)

# %% [markdown]
# The network does not fit. Encoder and decoder stay below 170 MiB, and then, at the very end, 362 MiB are needed at
# once. A program that has 256 would compute 549 of 552 operators and stop with an error. At the end of this notebook
# the same photo fits, and you will have written the part that makes it fit.
#
# What happens there? The head enlarges the last map of the decoder to the photo's size, lays the image branch beside
# it, and makes one channel of all of them. In numbers of 4 bytes, with the 32 channels of the decoder and the 8 of the
# image branch:

# %% tags=["NBVAL_CHECK_OUTPUT"]
MIB = 2**20
block, branch = model.decoder.stage1.reconstruction, model.decoder.image_branch.branch
widths = block.conv_out.out_channels, branch.conv_out.out_channels
for name, channels in {"enlarged": widths[0], "side by side": sum(widths), "logits": 1}.items():
    print(f"{name:13} {channels:3} channels of 1024 x 1024: {channels * 1024 * 1024 * 4 // MIB:4} MiB")

# %% [markdown]
# Nearly 300 MiB are written to make 4.
#
# Time goes the same way. A computer **multiplies** numbers and **moves** them: each operator reads its input from
# memory and writes its result there. A large matrix product uses each number many times, so it waits for arithmetic. An
# enlargement does next to nothing with each number: it waits for the memory.

# %% [markdown]
# ## 2 · What may change places
#
# Three operations of the network are **linear**, apart from a constant (a bias, a shift): without it, what they give
# for a sum is the sum of what they give for each part.
#
# | operation | mixes | as a formula |
# |---|---|---|
# | 1 × 1 convolution | channels, at one pixel | $y = W x + b$ |
# | bilinear enlargement | pixels, in one channel | $y = U x$, and each row of $U$ adds up to 1 |
# | batch norm after training | nothing: it scales each channel | $y = s\,x + t$ |
#
# The first mixes channels only, the second pixels only, so they **commute**: notebook 04 has shown it for a lateral
# block, bias included. A ReLU is not linear, and ends it.
#
# By hand, two channels with two pixels each: $(0, 2)$ and $(4, 8)$. The convolution adds half of the second channel to
# the first. *Enlarge first*, to three pixels with aligned corners: $(0, 1, 2)$ and $(4, 6, 8)$; then add: $(2, 4, 6)$.
# *Add first*: $(2, 6)$; then enlarge: $(2, 4, 6)$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch.nn.functional as F

toy = torch.tensor([[0.0, 2.0], [4.0, 8.0]]).reshape(1, 2, 1, 2)  # (B, C, H, W)
weight = torch.tensor([1.0, 0.5]).reshape(1, 2, 1, 1)  # (O, C, 1, 1)


def enlarge(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


print("enlarge first: ", F.conv2d(enlarge(toy, (1, 3)), weight).flatten().tolist())
print("convolve first:", enlarge(F.conv2d(toy, weight), (1, 3)).flatten().tolist())

# %% [markdown]
# ## 3 · The convolution first
#
# The head is a 1 × 1 convolution of a concatenation: coarse features $c$, enlarged, and in full resolution the image's
# features $f$. Split its weight $W$ into the columns that meet $c$ and those that meet $f$:
#
# $$W \begin{pmatrix} U c \\ f \end{pmatrix} + b = W_c\, U c + W_f\, f + b = U (W_c\, c) + W_f\, f + b$$
#
# ### Exercise 1 · The convolution first
#
# *Difficulty ★☆☆ · 6 minutes.* Compute the left side by the right side. Here the two maps have different widths.

# %% tags=["exercise"]
def convolve_first(coarse, fine, weight, bias):
    """A 1x1 convolution of cat([enlarged coarse, fine]), without enlarging more channels than the result has.

    Shapes: coarse (B, C, h, w), fine (B, D, H, W), weight (O, C + D, 1, 1), bias (O,) to (B, O, H, W). The enlargement
    is bilinear to the size of `fine`, with align_corners=True.
    """
    # <solution>
    channels = coarse.shape[1]
    small = F.conv2d(coarse, weight[:, :channels])  # (B, O, h, w)
    return enlarge(small, fine.shape[-2:]) + F.conv2d(fine, weight[:, channels:], bias)
    # </solution>

# %% [markdown]
# The check compares numbers and gradients, and looks at the size of every map that is made on the way.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

first_checked = checks.convolve_first(convolve_first)
first_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The second axis of the weight counts the channels of the concatenation. The coarse ones stand in front. How many are
# they? And how often may the bias be added?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Cut the weight along its second axis. Convolve the coarse map with the front part, without a bias, and enlarge what
# comes out. Convolve the fine map with the rest, with the bias. Add.
#
# </details>

# %% [markdown]
# The toy map goes through it, yours or the package's way: an image branch of one channel, all zeros, stands beside it.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def both_ways(coarse, fine, weight, bias):
    return F.conv2d(torch.cat([enlarge(coarse, fine.shape[-2:]), fine], dim=1), weight, bias)


head_first = convolve_first if first_checked.passed else both_ways
with_third = torch.cat([weight, torch.ones(1, 1, 1, 1)], dim=1)
head_first(toy, torch.zeros(1, 1, 1, 3), with_third, torch.zeros(1)).flatten()

# %% [markdown]
# ## 4 · The batch norm vanishes
#
# After training, a batch norm uses fixed numbers: for each channel a mean $\mu$, a variance $v$, and the learnt
# $\gamma$ and $\beta$ (`running_mean`, `running_var`, `weight` and `bias` in PyTorch). A small $\epsilon$ (`eps`) keeps
# the root away from zero. Behind a convolution $y = W x + b$ it gives
#
# $$\gamma\,\frac{y - \mu}{\sqrt{v + \epsilon}} + \beta = s\,(W x + b - \mu) + \beta = (s W)\,x + s\,(b - \mu) + \beta
# \qquad\text{with}\quad s = \frac{\gamma}{\sqrt{v + \epsilon}}$$
#
# That is a convolution again, with the weight $s W$ and the bias $s (b - \mu) + \beta$. Each output channel has its
# own $s$.
#
# By hand, with one channel: $W = 5$, $b = 7$, $\mu = 3$, $\sqrt{v + \epsilon} = 2$, $\gamma = 4$, $\beta = 1$. For $x =
# 1$ the convolution gives 12, and the norm $4 \cdot 9 / 2 + 1 = 19$. Folded: $s = 2$, the weight is 10 and the bias
# $2 \cdot 4 + 1 = 9$. Together 19.
#
# ### Exercise 2 · Fold a batch norm
#
# *Difficulty ★★☆ · 8 minutes.* Compute the weight and the bias of the one convolution.

# %% tags=["exercise"]
def fold_batch_norm(conv, norm):
    """A convolution and the batch norm behind it as one: its weight and its bias.

    conv: nn.Conv2d, whose bias may be None. norm: nn.BatchNorm2d, in evaluation mode. Both stay as they are.
    Returns two tensors, (O, I, k, k) and (O,).
    """
    # <solution>
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (O,)
    bias = 0 if conv.bias is None else conv.bias
    return scale[:, None, None, None] * conv.weight, scale * (bias - norm.running_mean) + norm.bias
    # </solution>

# %% [markdown]
# The check tries convolutions with and without a bias, and more than one epsilon.

# %% tags=["NBVAL_CHECK_OUTPUT"]
fold_checked = checks.fold_batch_norm(fold_batch_norm)
fold_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# $s$ has one number for each output channel, and a weight is (O, I, k, k). Along which axis must $s$ run, so that
# broadcasting multiplies the right ones? A convolution without a bias has the bias 0.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Compute $s$ from the four tensors of the norm, with `norm.eps` under the root. Give it three more axes of length 1 at
# the end and multiply the weight. For the bias, take the convolution's own or 0, take off the mean, multiply by $s$,
# add beta.
#
# </details>

# %% [markdown]
# The numbers from above go through it. Unsolved exercises are replaced by the package's functions, so that the notebook
# goes on.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from torch import nn

from birefnet_lite.optimization import convolutions


def package_fold(conv, norm):
    return tuple(part.float() for part in convolutions.fold(conv, norm))


fold = fold_batch_norm if fold_checked.passed else package_fold
conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0).eval()
for tensor, value in ((conv.weight, 5), (conv.bias, 7), (norm.running_mean, 3), (norm.running_var, 4)):
    tensor.data.fill_(value)
norm.weight.data.fill_(4)
norm.bias.data.fill_(1)
print("weight and bias:", *(part.item() for part in fold(conv, norm)))

# %% [markdown]
# ## 5 · Two convolutions in one
#
# Two convolutions with nothing between them are one. In one dimension it is the multiplication of polynomials: first
# $(1, 2)$, then $(3, 1)$, together $(1 + 2z)(3 + z) = 3 + 7z + 2z^2$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
x = torch.tensor([1.0, 0, 2, 5, 1]).reshape(1, 1, 5)
one, two, both = (torch.tensor(k).reshape(1, 1, -1) for k in ([1.0, 2.0], [3.0, 1.0], [3.0, 7.0, 2.0]))
print("one by one:", F.conv1d(F.conv1d(x, one), two).flatten().tolist())
print("together:  ", F.conv1d(x, both).flatten().tolist())

# %% [markdown]
# Two 3 × 3 convolutions become one of 5 × 5, and there is a trap: **the border**. Each of the two puts zeros around
# what it reads; the combined one has zeros around the photo only. Here are two convolutions, padded, and the combined
# one, padded by twice as much; 1 is where they agree.

# %% tags=["NBVAL_CHECK_OUTPUT"]
generator = torch.Generator().manual_seed(0)
first, second = (convolutions.Affine(torch.randn(1, 1, 3, 3, generator=generator), torch.ones(1)) for _ in range(2))
image = torch.randn(1, 1, 5, 7, generator=generator)
apart = F.conv2d(F.conv2d(image, *first, padding=1), *second, padding=1)
together = F.conv2d(image, *convolutions.compose(second, first), padding=2)
((apart - together).abs() <= 1e-5)[0, 0].int()

# %% [markdown]
# All is equal but a frame of one pixel. The package computes that frame by the two convolutions themselves
# (`ComposedConv2d`): exact everywhere, and cheap, because a frame has few pixels.
#
# A **1 × 1** convolution behind another one has no such trouble: it reads no neighbour. Let $W$ and $b$ be the first
# convolution, $V$ and $c$ the second one, $V$ a matrix of (outputs, channels between):
#
# $$V (W x + b) + c = (V W)\, x + (V b + c)$$
#
# ### Exercise 3 · A 1 × 1 convolution behind another one
#
# *Difficulty ★★☆ · 8 minutes.* Compute weight and bias of the two together.

# %% tags=["exercise"]
def compose_convolutions(first, second):
    """A convolution, and a 1x1 convolution behind it, as one: its weight and its bias.

    first: nn.Conv2d from I to M channels with a k x k kernel. second: nn.Conv2d from M to O channels, 1x1. Both have a
    bias, and stay as they are. Returns two tensors, (O, I, k, k) and (O,).
    """
    # <solution>
    matrix = second.weight[:, :, 0, 0]  # (O, M)
    weight = torch.einsum("om,mikl->oikl", matrix, first.weight)
    return weight, matrix @ first.bias + second.bias
    # </solution>

# %% [markdown]
# The check uses several widths, and kernels of 3 × 3 and 1 × 1.

# %% tags=["NBVAL_CHECK_OUTPUT"]
compose_checked = checks.compose_convolutions(compose_convolutions)
compose_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# For each tap of the kernel, the first weight is a matrix of (M, I). The product of matrices $V W$ sums over M, and the
# taps are left alone. `torch.einsum` or `torch.tensordot` say this in one line; a loop over taps does it too.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take the (O, M) matrix out of the second weight. Multiply it with the first weight so that M disappears and O takes
# its place as the first axis. Multiply it with the first bias, too, and add the second bias.
#
# </details>

# %% [markdown]
# ## 6 · The lean tail
#
# Now the end of the network, from section 1. What goes in: `coarse`, the map of the last stage at a quarter of the
# photo's height and width; the photo; the image `branch`, two convolutions of 3 × 3 with nothing between them; and the
# `head`. This is the plain way.

# %%
def plain_tail(coarse, image, branch, head):
    return head(torch.cat([enlarge(coarse, image.shape[-2:]), branch(image)], dim=1))

# %% [markdown]
# ### Exercise 4 · The same logits from less memory
#
# *Difficulty ★★★ · 14 minutes.* The way is open, and the score counts: the most **maps of the image's size** that are
# alive at any moment, one channel counting as one map. The arguments do not count. The plain way has 80 for our
# network. At most 8 are wanted, whatever the widths.
#
# Exercise 1 gets rid of the enlarged channels. What is the largest after that? There are several ways on: one of the
# convolutions between photo and logits may be merged with another; a sum need not wait for all its parts; a photo can
# be looked at in strips. Mind the border. Nothing is trained here: the check calls you without gradients, and `+=` is
# allowed on tensors that you have made.

# %% tags=["exercise"]
def lean_tail(coarse, image, branch, head):
    """The logits of the head, with few maps of the image's size alive at once.

    coarse (B, C, h, w) and image (B, 3, H, W) to (B, 1, H, W). branch.conv_in (3 to M channels) and branch.conv_out (M
    to D) are nn.Conv2d, 3x3 with padding 1; head is nn.Conv2d, 1x1, from C + D channels to 1. All have a bias.
    """
    # <solution>
    channels = coarse.shape[1]
    near, far = head.weight[:, :channels], head.weight[0, channels:, 0, 0]  # (1, C, 1, 1), (D,)
    inner, outer = branch.conv_in, branch.conv_out
    last = torch.einsum("d,dmkl->mkl", far, outer.weight)  # (M, 3, 3): the head and conv_out as one
    logits = enlarge(F.conv2d(coarse, near), image.shape[-2:])
    logits += head.bias + far @ outer.bias
    for m in range(inner.out_channels):  # each of the M channels makes its share, and goes
        between = F.conv2d(image, inner.weight[m : m + 1], inner.bias[m : m + 1], padding=1)  # (B, 1, H, W)
        logits += F.conv2d(between, last[None, None, m], padding=1)
    return logits
    # </solution>

# %% [markdown]
# The check compares the logits at every pixel, and then counts.

# %% tags=["NBVAL_CHECK_OUTPUT"]
tail_checked = checks.lean_tail(lean_tail)
tail_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# After exercise 1, the M channels between the branch's two convolutions are the largest thing, then the D behind them.
# The head reads those D and makes one: by exercise 3, `conv_out` and the head's columns for the image are one 3 × 3
# convolution from M channels to 1, with a bias.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A convolution from M channels is the sum of M convolutions from one channel. So make one of the M channels, convolve
# it to its share of the logits, add, and make the next one. Or: make strips of eight rows of the logits one after the
# other, from strips of the photo with two rows more on each side; at the photo's end there are zeros instead, around
# *each* convolution.
#
# </details>

# %% [markdown]
# Your score on the trained network's own widths, for a photo of 256 × 256. While the exercise is unsolved, the plain
# tail stands in.

# %%
from birefnet_lite.inference.memory import peak_bytes

tail = lean_tail if tail_checked.passed else plain_tail
decoder = model.decoder
ends = torch.randn(1, widths[0], 64, 64), torch.randn(1, 3, 256, 256), decoder.image_branch.branch, decoder.head
for name, way in {"plain": plain_tail, "yours": tail}.items():
    print(f"{name:6} {peak_bytes(way, *ends) / (256 * 256 * 4):5.1f} maps")

# %% [markdown]
# <details><summary>What you should see</summary>
#
# 80 maps for the plain way: 32 enlarged channels, the 8 of the branch, and all 40 once more, side by side. And 3 for
# the solution, however wide the network is: the logits, one channel between the convolutions, and the next one. Strips
# of a few rows need even less, at the price of computing the rows twice where they overlap.
#
# </details>

# %% [markdown]
# ## 7 · The whole network
#
# `optimize(model)` rewrites all parts in this manner, and gives a network with the same interface. The model itself
# stays as it is.
#
# | rewrite in `birefnet_lite/optimization/` | what it uses |
# |---|---|
# | deformable convolution in blocks that fit a processor's cache | no large matrix of all samples (notebook 03) |
# | ASPP without a concatenation; offsets and modulation merged | a convolution of a concatenation is a sum, section 3 |
# | the backbone: batch norms folded, or Swin's masks and biases made once for each size | section 4 |
# | the image branch as one 5 × 5 convolution, where it pays; at the end for 4 × 4 pixels at once | section 5 |
# | batch norms behind the decoder's convolutions folded | section 4 |
# | head and lateral blocks before the enlargement | sections 3 and 6 |
# | each level of the encoder let go once it is read | a map that nobody needs takes no memory (section 6) |
# | kernels stored with channels last, and with them the maps | a convolution reads all channels of a pixel together |
# | side heads and gradient heads left out | only training reads them |

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import optimize

fast = optimize(model)
for name, network in {"plain": model, "optimized": fast}.items():
    print(f"{name:10} {sum(p.numel() for p in network.parameters()):,} parameters")
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128)]:
    x = torch.randn(size, generator=generator)
    with torch.inference_mode():
        slow, quick = model(x).logits, fast(x).logits
    print(size, "equal to 1e-5 of the largest:", bool((slow - quick).abs().max() <= 1e-5 * slow.abs().max()))

# %% [markdown]
# A composed convolution may have more numbers than the two that it stands for; what only training reads is gone.
#
# Which rewrite brings how much? `benchmarks/waterfall.py` has switched them on one after the other in `lite`, the
# published network. **Before you look:** which line of the table above saves most of the time?

# %%
from birefnet_lite.course.waterfall import waterfall_plot, waterfall_steps, waterfall_table

waterfall_plot("lite")

# %% [markdown]
# The most, 5.2 of the 12.3 seconds, goes with one rewrite: the deformable convolution no longer writes the matrix of
# all its samples to memory. The ASPP without its concatenation saves 1.1, and so does what you have done here, the
# convolution before the enlargement; the image branch as one convolution saves 0.6. The folded batch norms and the
# backbone save less than 0.1, and so little is within the chance of such a measurement. Together the network is 3.1
# times as fast.
#
# The same in numbers, with the memory of the whole process at its peak; in it are also what operators need for
# themselves, and a few per cent of chance. Most of it goes with the last line but one: with the head before the
# enlargement, 1,440 MiB become 337. (The last line has 374, and in another run the same network needed 334: such a
# difference means nothing here.)

# %%
print("measured on", waterfall_steps("lite")[0].machine)
print(waterfall_table("lite"), waterfall_table("nano"), sep="\n\n")

# %% [markdown]
# The last line changes no operation and no number, only their order in memory. A convolution multiplies all channels of
# a pixel; with **channels last** they stand side by side. It saves little in `lite`, 3 %, and a fifth in `nano`, whose
# maps have few channels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
x = torch.zeros(1, 24, 64, 64)
for order in (torch.contiguous_format, torch.channels_last):
    print(order, "- from one channel of a pixel to the next:", x.contiguous(memory_format=order).stride(1))

# %% [markdown]
# ## 8 · Equality
#
# Your functions, on the real head. The last stage ends with a 3 × 3 convolution and a batch norm, then comes the
# enlargement, and the head's 1 × 1 convolution. The image branch ends with a 3 × 3 convolution, too. With the batch
# norm folded and the head composed with both, one channel is enlarged instead of all of them.

# %%
def package_compose(first, second):
    both = convolutions.affine_of(second).after(convolutions.affine_of(first))
    return tuple(part.float() for part in both)


def as_conv(weight, bias):
    """The numbers as a module."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], padding=weight.shape[2] // 2)
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv


compose = compose_convolutions if compose_checked.passed else package_compose

# %% [markdown]
# It takes what the last stage's pyramid gives, and the image; it gives the logits.

# %%
class MyHead(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        block, branch, head = decoder.stages[-1].reconstruction, decoder.image_branch.branch, decoder.head
        channels = block.conv_out.out_channels
        near, far = head.weight[:, :channels], head.weight[:, channels:]
        end = as_conv(*fold(block.conv_out, block.norm_out))
        self.block = as_conv(*compose(end, as_conv(near, head.bias)))
        self.image_in = branch.conv_in
        self.image = as_conv(*compose(branch.conv_out, as_conv(far, torch.zeros(1))))

    def forward(self, x, image):
        return enlarge(self.block(x), image.shape[-2:]) + self.image(self.image_in(image))

# %% [markdown]
# A copy of the network gets random weights, biases and statistics, so that no mistake can hide behind a zero. A hook
# notes what the pyramid gives.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from copy import deepcopy

from birefnet_lite.course.checks.weights import randomise

reference = randomise(deepcopy(model))
mine = MyHead(reference.decoder).eval()
seen = []
reference.decoder.stages[-1].reconstruction.aspp.register_forward_hook(lambda m, i, output: seen.append(output))
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128)]:
    x = torch.randn(size, generator=generator)
    with torch.inference_mode():
        wanted = reference(x).logits
        ours = mine(seen.pop(), x)
    print(size, "equal to 1e-5 of the largest:", bool((ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()))

# %% [markdown]
# And your tail, with these weights, at odd sizes, where an enlargement is no whole factor.

# %% tags=["NBVAL_CHECK_OUTPUT"]
branch, head = reference.decoder.image_branch.branch, reference.decoder.head
for batch, small, large in [(1, (4, 6), (16, 24)), (2, (5, 3), (19, 11)), (1, (1, 1), (7, 2))]:
    coarse = torch.randn(batch, widths[0], *small, generator=generator)
    photo = torch.randn(batch, 3, *large, generator=generator)
    with torch.inference_mode():
        wanted, ours = (way(coarse, photo, branch, head) for way in (plain_tail, tail))
    print(large, "equal to 1e-5 of the largest:", bool((ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()))

# %% [markdown]
# ## 9 · It fits
#
# The picture of section 1 once more. In the middle, the plain network, of which only the tail is yours; below it, all
# rewrites together.

# %%
from birefnet_lite.network.decoder import Decoder, DecoderOutput


class LeanDecoder(Decoder):
    """The decoder with another tail, for inference."""

    def forward(self, image, features):
        x1, x2, x3, x = features
        for stage, lateral in zip(self.stages, (x3, x2, x1)):
            x = stage(x, image, lateral).features
        x = self.stage1.reconstruction(torch.cat([x, self.stage1.inward(image)], dim=1))
        return DecoderOutput((), (), tail(x, image, self.image_branch.branch, self.head))


lean = deepcopy(model)
lean.decoder.__class__ = LeanDecoder

# %% [markdown]
# Shapes alone, as in section 1.

# %%
curves |= {"with your tail": memory_curve(lean, 1024, 1024), "optimized": memory_curve(fast, 1024, 1024)}
memory_plot(curves, LIMIT)

# %% [markdown]
# It fits: in the solved edition, your tail alone brings the peak from 362 to 168 MiB, and it is no longer at the end:
# the peak is where the five views of the stage's ASPP lie side by side. (Unsolved, the middle one has the plain tail
# and needs 370, since `plain_tail` keeps the map that it is given.) All rewrites together need 78. A process needs more
# than this, since operators take room for themselves while they work: by the table above, 716 MiB for the plain `nano`
# and 125 for the optimized one.
#
# The mask is the same. On a photo, where do the plain mask and the optimized one differ by a grey level or more of 255?

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.inference.predict import segment
from birefnet_lite.photos import load_photo

photo, by_hand, _ = load_photo("astronaut")
masks = {name: segment(net, photo, (256, 256)) for name, net in {"plain": model, "lean": lean, "fast": fast}.items()}
for name in ("lean", "fast"):
    print(f"{name}: pixels that differ by 1/255 or more: {int((abs(masks[name] - masks['plain']) >= 1 / 255).sum())}")

# %% [markdown]
# ## 10 · Measuring
#
# A machine does other things, gets warm, and has just been asleep. A time by itself says little. What helps:
#
# - **Warm up.** The first run loads, allocates and looks things up.
# - **Alternate.** Plain, optimized, plain, optimized: what disturbs the one disturbs the other.
# - **Take the median** of several runs. Disturbances only ever add time, and one of them spoils a mean.
# - **Report a ratio from one run**, with the machine, the size and the number of threads. A ratio of a time from today
#   and a time from last week is no ratio.
# - On a GPU, **wait for it**: calls return before the work is done (`torch.cuda.synchronize()`).
#
# And check the numbers *first*, as above. Wrong results can be had in no time.

# %%
from statistics import median
from time import perf_counter


def by_turns(works, rounds=7):
    """The median seconds of each function, run by turns; the first round is not counted."""
    seconds = [[] for _ in works]
    for _ in range(rounds + 1):
        for mine_so_far, work in zip(seconds, works):
            start = perf_counter()
            work()
            mine_so_far.append(perf_counter() - start)
    return [median(times[1:]) for times in seconds]

# %% [markdown]
# **Predict**, then run it: how many times as fast is the optimized network on your machine, and what is the small
# network with only your tail, on a photo of 256 × 256?

# %% tags=["machine"]
image = torch.randn(1, 3, 256, 256, generator=generator)
with torch.inference_mode():
    slow, leaner, quick = by_turns([lambda net=net: net(image) for net in (model, lean, fast)], rounds=3)
print(f"{torch.get_num_threads()} threads: plain {slow:.3f} seconds")
print(f"with your tail {slow / leaner:.2f} times as fast, optimized {slow / quick:.2f} times")

# %% [markdown]
# Run the cell again: how much do the ratios move? That is how many of their digits you may report.
#
# <details><summary>What you should see</summary>
#
# On two quiet cores of the EPYC below, the optimized network is 3.0 times as fast at this size. On a machine that was
# busy with other programs, two runs of this cell gave 1.3 and 1.0: that is what one run is worth there. The tail
# alone, as in the solution, was 0.9 and 1.0 times as fast, so it changes the time little: it moves fewer numbers, and
# starts 32 small convolutions in place of three large ones. Memory was the aim; `ComposedConv2d` gets both, with more
# code.
#
# </details>
#
# `benchmarks/speed.py` measures any backbone and size in this way, with peak memory; `benchmarks/account.py` says how
# far the time is from what the machine's arithmetic and memory allow. On two cores of an AMD EPYC, in float32:
#
# | | plain | optimized | ratio | memory | optimized | ratio |
# |---|---|---|---|---|---|---|
# | nano, 256 × 256 | 0.169 s | 0.056 s | 3.0 | 65 MiB | 24 MiB | 2.7 |
# | nano, 1024 × 1024 | 3.08 s | 0.555 s | 5.5 | 589 MiB | 140 MiB | 4.2 |
# | lite, 256 × 256 | 0.675 s | 0.311 s | 2.2 | 173 MiB | 52 MiB | 3.3 |
# | lite, 512 × 512 | 2.65 s | 0.98 s | 2.7 | 589 MiB | 163 MiB | 3.6 |
# | lite, 1024 × 1024 | 11.8 s | 3.92 s | 3.0 | 1,747 MiB | 334 MiB | 5.2 |
#
# ![Seconds and peak memory over pixels, plain and optimized: lines on log axes.](../benchmarks/results/speed-epyc.png)
#
# **A ratio belongs to a machine.** On two cores of an Intel Xeon, `lite` at 1024 × 1024 took 20.9 s plain and 5.6 s
# optimized, before kernels were stored with channels last: 3.7 times as fast, and not 3.0. There the rewrites saved
# 15 s, here they save 8 s.
#
# **Both axes of both plots are logarithmic**: one step to the right is twice the pixels, and one step up is a factor,
# too. On such axes, what grows in proportion to the pixels is a straight line of slope 1, and what grows with their
# square is one of slope 2. From the numbers:

# %% tags=["NBVAL_CHECK_OUTPUT"]
from math import log

plain_times, fast_times = {256: 0.675, 1024: 11.827}, {256: 0.311, 1024: 3.918}  # seconds, lite
for name, times in {"plain": plain_times, "optimized": fast_times}.items():
    slope = log(times[1024] / times[256]) / log(1024**2 / 256**2)
    print(f"{name:10} slope {slope:.2f}: four times the pixels take {4**slope:.1f} times as long")

# %% [markdown]
# Near 1: nothing in these networks looks at all pairs of pixels, which would give 2. Below 1, a small photo pays for
# what does not depend on the pixels; above 1, large maps no longer fit into the processor's cache.

# %% [markdown]
# ## 11 · No longer the same numbers
#
# The next step changes the numbers a little. A bfloat16 has 8 significant bits, a float16 11, a float32 24. The two
# shorter ones halve the memory to be moved, and processors made for them multiply them several times as fast. But:

# %% tags=["NBVAL_CHECK_OUTPUT"]
print("256 + 1 in bfloat16:", (torch.tensor(256.0).bfloat16() + 1).item())
print("1 / 3 in bfloat16:  ", (torch.tensor(1.0) / 3).bfloat16().item())
print("1 / 3 in float16:   ", (torch.tensor(1.0) / 3).half().item())

# %% [markdown]
# So sums stay in float32, which the matrix units see to, and the mask is compared with the one in float32: a mask is
# stored in steps of 1/255, and less than one step nobody will see.

# %%
for dtype in (torch.bfloat16, torch.float16):
    apart = abs(segment(optimize(model).to(dtype), photo, SIZE) - segment(model, photo, SIZE)) * 255
    print(f"{dtype}: {(apart <= 1).mean():.1%} of the pixels within 1/255, all within {apart.max():.1f}/255")

# %% [markdown]
# Three bits make the difference: in float16 the mask stays, in bfloat16 it does not. Yet on a CPU only bfloat16 is
# fast, and only where the processor has instructions for it. Which networks can take it? A layer adds up at least as
# many rounded products as it is wide, and their errors partly cancel. Here are sums of positive products of rounded
# numbers, and how far they are off on average:

# %% tags=["NBVAL_CHECK_OUTPUT"]
for width in (16, 64, 256, 1024):
    a, b = torch.rand(2, 2000, width, generator=generator)
    exact, rounded = (a * b).sum(1), (a.bfloat16().float() * b.bfloat16().float()).sum(1)
    print(f"{width:5} channels: off by {float(((rounded - exact) / exact).abs().mean()):.3%}")

# %% [markdown]
# Four times the width, half the error. `optimize(model, precision="auto")` makes use of it: it computes a part in
# **bfloat16** if its narrowest layer has 64 channels or more *and* the processor multiplies bfloat16 in hardware
# (instructions called AMX or AVX512-BF16); everything else, and everything on other processors, stays in **float32**.
# Photo and logits are float32 in any case. Which of the two did your machine take?

# %% tags=["machine"]
from birefnet_lite import BiRefNetConfig
from birefnet_lite.network.precision import choose_dtypes, has_fast_bfloat16

print("this processor multiplies bfloat16 in hardware:", has_fast_bfloat16())
for name in ("nano", "lite", "large"):
    chosen = choose_dtypes(BiRefNetConfig.preset(name), torch.device("cpu"))
    print(f"{name:6} encoder {chosen.encoder}, decoder {chosen.decoder}")

# %% [markdown]
# <details><summary>What you should see</summary>
#
# *False*, and float32 six times: your processor would have to imitate bfloat16, which is slower than float32. Or
# *True*: then `lite` and `large` are in bfloat16, encoder and decoder, and `nano` is not, since its narrowest layers
# have 24 and 32 channels. On the two cores of the tables above, with AVX512-BF16, `lite` at 1024 × 1024 takes 2.15 s
# instead of 4.0 s (`benchmarks/rounding.py`).
#
# </details>
#
# So for the network of this notebook nothing changes, on any machine:

# %% tags=["NBVAL_CHECK_OUTPUT"]
careful = segment(optimize(model, precision="auto"), photo, SIZE)
print("nano with precision='auto', within 1/255:", bool(abs(careful - segment(model, photo, SIZE)).max() <= 1 / 255))

# %% [markdown]
# And fold **before** you round: `optimize` combines the weights in float64 first. One convolution it always keeps in
# float32, the one that reads the photo (`ImageConv2d`): neighbouring pixels are nearly equal, so what is rounded off
# them adds up instead of cancelling.
#
# On a GPU, both halves are fast. And `torch.compile` writes operators of its own that do several steps while the
# numbers are in fast memory: an addition, a scale and a ReLU cost one trip instead of three. It compiles anew for each
# size of image.

# %% tags=["machine"]
def on_gpu(network, x, dtype):
    with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        network(x)
    torch.cuda.synchronize()


if torch.cuda.is_available():
    nets, x = [deepcopy(model).cuda(), optimize(model).cuda()], image.cuda()
    nets.append(torch.compile(nets[1]))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        times = by_turns([lambda n=n, d=dtype: on_gpu(n, x, d) for n in nets])
        print(f"{dtype}: optimized {times[0] / times[1]:.2f} times as fast, compiled {times[0] / times[2]:.2f} times")
else:
    print("There is no CUDA device here: nothing to run.")

# %% [markdown]
# Elsewhere than in PyTorch, `python -m birefnet_lite export nano nano.onnx` writes the optimized network as an ONNX
# file. And a photo that is too large even so is seen in overlapping tiles; what that loses is said in
# `birefnet_lite/inference/tiled.py`.

# %% [markdown]
# ## 12 · Play with it
#
# What does rounding do on its way through the network? Here is the network with weights rounded to bfloat16, each by at
# most 1/256 of itself, beside the exact one: as if you had built it and made a small mistake everywhere. One point for
# each part, in the order of the computation: its largest difference, as a share of the part's largest value.

# %%
import matplotlib

from birefnet_lite.analysis import prepare
from birefnet_lite.analysis.compare import compare_layers
from birefnet_lite.course.picture import CARD, INK, Picture, card

rounded, prepared = deepcopy(model).bfloat16().float(), prepare(model, photo, size=SIZE).tensor
rows = compare_layers(rounded, model, prepared, tolerance=1e-2)
off = [row.largest / max(row.reference.abs().max().item(), 1e-12) for row in rows]
figure = card(9, 2.6)
axes = figure.add_axes((0.09, 0.19, 0.89, 0.76), facecolor=CARD, yscale="log", xlim=(-3, len(off) + 3))
colours = ["#2f6d8a" if row.name.startswith("encoder") else "#a83a20" for row in rows]
axes.scatter(range(len(off)), off, s=5, c=colours)
axes.axhline(1e-2, color=INK, lw=0.8, ls="--")
axes.set_xlabel("parts in the order of the computation: encoder (blue), then squeeze and decoder (red)")
axes.set_ylabel("largest difference")
axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=1))
Picture.of(
    figure,
    "The difference of each part, from the first to the last, on a logarithmic axis: it rises to 1 % and stays there.",
)

# %% [markdown]
# The error reaches 1 % within the first twenty parts, and then it neither dies out nor piles up: in the middle
# (median) it is 0.87 % over the backbone and 0.99 % over squeeze and decoder, and the logits are off by 0.92 %. It
# starts anew where the photo is read anew: at the second run of the backbone, after 103 parts, and in the inward
# references, the lowest red points. The highest, 6 %, are in the 7 × 7 branch of the last stage.
#
# The same parts in the layer debugger. **Look for two things:**
#
# 1. The table opens around the first part that is off by more than 1 %. Where in the network is that?
# 2. In front is the difference behind the last stage's block, in one channel. Is it spread over the map, or does it
#    gather at some places?
#
# <details><summary>What you should see</summary>
#
# 1. In the first stage of the backbone, in the eighth of its layers: `encoder.backbone.stages.0.7.body.4`. But most
#    parts, 295 of 465, stay within 1 %.
# 2. It gathers: on the helmet's visor, along the arm, beside the helmet; the wall and the suit are nearly white. Every
#    weight is rounded everywhere, but not all errors cancel alike. Nor do they follow the size of the map: around the
#    hair, where it is large, the difference is small.
#
# </details>

# %%
from widgets import compare

view = compare(rounded, model, prepared, tolerance=1e-2)
view.layer = "decoder.stage1.reconstruction · difference"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - Convolution, enlargement and a trained batch norm are **linear**: they can be merged, split and exchanged. A ReLU
#   between them ends it.
# - Do what makes a map **narrow** before what makes it **large**, and let go of each part of a sum once it is added.
# - The **border** is where a composition goes wrong: zeros are put around *each* of two convolutions.
# - An exact rewrite is tested against the plain network; bfloat16 and float16 are not exact, and are compared by masks.
# - Measure **by turns**, take **medians**, report **ratios from one run**.

# %% [markdown]
# ## Three questions
#
# **1. Between a 1 × 1 convolution and an enlargement there is a batch norm, in evaluation. May the enlargement still
# move behind the convolution?**
#
# - a) No: a batch norm uses the mean and the variance of the map that it is given, and enlarging changes both of them.
# - b) Only if the norm's mean is zero in every channel: the enlargement's weights scale the shift along with the map.
# - c) Yes: in evaluation the norm scales and shifts each channel by fixed numbers, and that commutes with enlarging.
#
# <details><summary>Answer</summary>
#
# **c.** Scaling a channel commutes with mixing its pixels; the shift does, because the enlargement's weights add up to
# 1 (so b is wrong). In training (a) would be right: there, statistics come from the map.
#
# </details>

# %% [markdown]
# **2. Why does `optimize` refuse a network in training mode?**
#
# - a) Because dropout and batch norms then do something else for each batch, and there are no fixed numbers to fold.
# - b) Because the merged weights would have to be split again after each step, which takes longer than it saves.
# - c) Because side heads and gradient heads run in training mode, and `optimize` has no rewrite for them yet.
#
# <details><summary>Answer</summary>
#
# **a.** Folding needs a mean and a variance that do not depend on what comes in. The heads (c) are left out *because*
# only training reads them, which is one more reason.
#
# </details>

# %% [markdown]
# **3. You time the plain network ten times, then the optimized one ten times. The second is 20 % faster. What is the
# best next step?**
#
# - a) Run the optimized one ten times more, so that its median rests on more runs.
# - b) Run the two by turns: the machine may have changed between the two halves.
# - c) Report the 20 %, with the machine, the image's size and the number of threads.
#
# <details><summary>Answer</summary>
#
# **b.** The first half includes the warm-up, or another program that ran at that time. More runs of one side (a) tell
# nothing about that; by turns, both sides meet the same disturbances. Then report (c).
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `fold_batch_norm`, `compose_convolutions` | – | – | `optimization/convolutions.py` |
# | `convolve_first`, `lean_tail` in head and lateral blocks | – | – | `optimization/decoder.py` |
# | merged branches | – | – | `optimization/aspp.py` |
# | `optimize` | – | – | `optimization/birefnet.py` |
# | `precision="auto"` | – | `autocast` in `inference.py` | `network/precision.py` |
# | what is alive | – | – | `inference/memory.py` |
# | `torch.compile` | – | `compile` in `config.py` | any network |
#
# **Paper and code.** Neither has these rewrites; the numbers that they must give are those of the original code. The
# original also resamples some maps to the size that they have, which changes nothing with aligned corners; the package
# leaves that out.
