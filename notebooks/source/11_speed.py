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
# A network is built so that it can be understood and trained. Once it is trained, much of it can be written otherwise:
# fewer multiplications, smaller maps, and the same mask. No weight is thrown away and nothing is approximated. It is
# school algebra, and you do it here.
#
# **After this notebook you can**
# - fold a batch norm into a convolution, and two convolutions into one,
# - say which operations may change places, and which order is the cheaper one,
# - measure whether it was worth it, without fooling yourself.
#
# **Time:** 50 minutes, 30 of them for the exercises. **You need:** notebook 05.

# %% [markdown]
# ## 1 · The map
#
# Nothing is added to the network here. What changes is how its boxes compute.

# %%
from birefnet_lite.course import network_map

network_map("11")

# %% [markdown]
# ## 2 · What takes the time
#
# Two things do. Numbers are **multiplied**, and numbers are **moved**: each operator reads its input from memory and
# writes its result there. A product of large matrices multiplies each number many times, so arithmetic is what it
# waits for. An enlargement does next to nothing with each number: it waits for the memory.
#
# The head of the network is of the second kind. It enlarges the last map of the decoder to the photo's size, lays the
# image branch beside it, and makes one channel of all of them. Here is what that costs for a photo of 1024 × 1024 in
# `lite`: 96 channels from the decoder, 24 from the image, and 4 bytes for each number.

# %% tags=["NBVAL_CHECK_OUTPUT"]
pixels, MIB = 1024 * 1024, 2**20
print("enlarged:      ", 96 * pixels * 4 // MIB, "MiB")
print("side by side:  ", (96 + 24) * pixels * 4 // MIB, "MiB")
print("one channel:   ", 1 * pixels * 4 // MIB, "MiB")

# %% [markdown]
# Nearly 900 MiB are written to make 4.
#
# ## 3 · What may change places
#
# Three operations are **linear**: what they give for a sum is the sum of what they give for each part.
#
# | operation | mixes | as a formula |
# |---|---|---|
# | 1 × 1 convolution | channels, at one pixel | $y = W x + b$ |
# | bilinear enlargement | pixels, in one channel | $y = U x$, and each row of $U$ adds up to 1 |
# | batch norm after training | nothing: it scales each channel | $y = s\,x + t$ |
#
# The first mixes channels only, the second pixels only. So they **commute**: it does not matter which comes first.
# The bias does not mind either: enlarging a constant gives the constant, because the rows of $U$ add up to 1.
#
# ### A toy map, by hand
#
# Two channels with two pixels each: $(0, 2)$ and $(4, 8)$. The convolution adds half of the second channel to the
# first. *Enlarge first*, to three pixels with aligned corners: $(0, 1, 2)$ and $(4, 6, 8)$; then add: $(2, 4, 6)$.
# *Add first*: $(2, 6)$; then enlarge: $(2, 4, 6)$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch
import torch.nn.functional as F

toy = torch.tensor([[0.0, 2.0], [4.0, 8.0]]).reshape(1, 2, 1, 2)  # (B, C, H, W)
weight = torch.tensor([1.0, 0.5]).reshape(1, 2, 1, 1)  # (O, C, 1, 1)


def enlarge(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


print("enlarge first: ", F.conv2d(enlarge(toy, (1, 3)), weight).flatten().tolist())
print("convolve first:", enlarge(F.conv2d(toy, weight), (1, 3)).flatten().tolist())

# %% [markdown]
# A ReLU is not linear. With one in between, the order matters.

# %% tags=["NBVAL_CHECK_OUTPUT"]
signed = torch.tensor([-2.0, 2.0]).reshape(1, 1, 1, 2)
print("enlarge, ReLU:", enlarge(signed, (1, 5)).relu().flatten().tolist())
print("ReLU, enlarge:", enlarge(signed.relu(), (1, 5)).flatten().tolist())

# %% [markdown]
# ## 4 · The convolution first
#
# The head is a 1 × 1 convolution of a concatenation: coarse features $c$, enlarged, and in full resolution the image's
# features $f$. Split its weight $W$ into the columns that meet $c$ and those that meet $f$:
#
# $$W \begin{pmatrix} U c \\ f \end{pmatrix} + b = W_c\, U c + W_f\, f + b = U (W_c\, c) + W_f\, f + b$$
#
# ### Exercise 1 · The convolution first
#
# *Difficulty ★☆☆ · 8 minutes.* Compute the left side by the right side. Notebook 04 has done the same with a lateral
# block; here the two maps have different widths.

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
# ## 5 · The batch norm vanishes
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
# *Difficulty ★★☆ · 10 minutes.* Compute the weight and the bias of the one convolution.

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
# ## 6 · Two convolutions in one
#
# Two convolutions with nothing between them are one. In one dimension it is the multiplication of polynomials: first
# $(1, 2)$, then $(3, 1)$, together $(1 + 2z)(3 + z) = 3 + 7z + 2z^2$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
x = torch.tensor([1.0, 0, 2, 5, 1]).reshape(1, 1, 5)
one, two, both = (torch.tensor(k).reshape(1, 1, -1) for k in ([1.0, 2.0], [3.0, 1.0], [3.0, 7.0, 2.0]))
print("one by one:", F.conv1d(F.conv1d(x, one), two).flatten().tolist())
print("together:  ", F.conv1d(x, both).flatten().tolist())

# %% [markdown]
# Two 3 × 3 convolutions become one of 5 × 5. It is not always cheaper (25 taps instead of 9 + 9, but fewer channels in
# between), and there is a trap: **the border**. The second convolution puts zeros around what it reads; the combined
# one lets the first run on over the border. Here are two convolutions, padded, and the combined one, padded by twice as
# much. All is equal but the outermost pixels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
generator = torch.Generator().manual_seed(0)
first, second = (convolutions.Affine(torch.randn(1, 1, 3, 3, generator=generator), torch.ones(1)) for _ in range(2))
image = torch.randn(1, 1, 5, 7, generator=generator)
apart = F.conv2d(F.conv2d(image, *first, padding=1), *second, padding=1)
together = F.conv2d(image, *convolutions.compose(second, first), padding=2)
((apart - together).abs() <= 1e-5)[0, 0].int()

# %% [markdown]
# The package computes that frame of one pixel by the two convolutions themselves (`ComposedConv2d`): exact everywhere,
# and cheap, because a frame has few pixels.
#
# A **1 × 1** convolution behind another one has no such trouble: it reads no neighbour. Let $W$ and $b$ be the first
# convolution, $V$ and $c$ the second one, $V$ a matrix of (outputs, channels between):
#
# $$V (W x + b) + c = (V W)\, x + (V b + c)$$
#
# ### Exercise 3 · A 1 × 1 convolution behind another one
#
# *Difficulty ★★☆ · 12 minutes.* Compute weight and bias of the two together.

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
# ## 7 · Side by side
#
# Two more shapes of the same idea, without an exercise.
#
# **Branches that read the same pixels** are one convolution: their weights are stacked. A deformable convolution
# ([notebook 03](03_squeeze.ipynb)) has two such branches, which make offsets and modulation.

# %% tags=["NBVAL_CHECK_OUTPUT"]
offset, modulation = nn.Conv2d(8, 18, 3, padding=1), nn.Conv2d(8, 9, 3, padding=1)
stacked = torch.cat([offset.weight, modulation.weight]), torch.cat([offset.bias, modulation.bias])
x = torch.randn(1, 8, 6, 5, generator=generator)
with torch.inference_mode():
    wanted = torch.cat([offset(x), modulation(x)], dim=1)
    print("equal to 1e-6:", bool((F.conv2d(x, *stacked, padding=1) - wanted).abs().max() <= 1e-6))

# %% [markdown]
# **A convolution of a concatenation** is the sum of the convolutions of its parts. So the five views of an ASPP need
# not lie side by side: each is projected and added as soon as it is there. Only one of them is in memory at a time.
#
# | rewrite in `birefnet_lite/optimization/` | what it uses |
# |---|---|
# | head and lateral blocks in front of the enlargement | section 4 |
# | the batch norms behind convolutions folded, but for the first one | section 5; the first: section 11 |
# | the image branch as one 5 × 5 convolution, where it pays | section 6 |
# | offsets and modulation merged; no concatenation | section 7 |
# | Swin's window masks and position biases made once for each size | they do not depend on the photo |
# | side heads and gradient heads left out | only training reads them |
#
# ## 8 · The whole network
#
# `optimize(model)` does all of it and gives a network with the same interface. The model itself stays as it is.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import optimize
from birefnet_lite.course import course_model, part_table

course = course_model()
model, SIZE = course.model, (192, 288)
fast = optimize(model)
print(course.notice)
for name, network in {"plain": model, "optimized": fast}.items():
    print(f"{name:10} {sum(p.numel() for p in network.parameters()):,} parameters")
part_table(model, SIZE, upto="11")

# %% [markdown]
# Some parameters are gone: those that only training reads, and the batch norms'. Others are new: a composed
# convolution may have more numbers than the two that it stands for. Are the logits the same?

# %% tags=["NBVAL_CHECK_OUTPUT"]
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128)]:
    x = torch.randn(size, generator=generator)
    with torch.inference_mode():
        plain, quick = model(x).logits, fast(x).logits
    print(size, "equal to 1e-5 of the largest:", bool((plain - quick).abs().max() <= 1e-5 * plain.abs().max()))

# %% [markdown]
# The same on a photo: two masks, and in the middle where they differ by a grey level or more of 255.

# %%
from skimage import data

from birefnet_lite.course import side_by_side
from birefnet_lite.inference.predict import segment

photo = data.coffee()
masks = [segment(network, photo, SIZE) for network in (model, fast)]
side_by_side(
    {"plain": masks[0], "different": (abs(masks[0] - masks[1]) >= 1 / 255).astype(float), "optimized": masks[1]},
    alt="Two masks of a cup of coffee that look the same, and between them a black picture: no pixel differs.",
)

# %% [markdown]
# What has changed is what the operators write. The next cell notes the size of every result of every operator.

# %%
from torch.utils._python_dispatch import TorchDispatchMode


class Written(TorchDispatchMode):
    """Notes how many numbers each operator writes; a view writes nothing."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not result._is_view():
            self.numbers.append(result.numel())
        return result

    def of(self, network, image):
        self.numbers = []
        with torch.no_grad(), self:
            network(image)
        return torch.tensor(self.numbers)

# %% [markdown]
# For a photo of 256 × 256. A number has 4 bytes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
image = torch.randn(1, 3, 256, 256, generator=generator)
written = {name: Written().of(network, image) for name, network in {"plain": model, "optimized": fast}.items()}
for name, numbers in written.items():
    print(f"{name:10} largest result: {numbers.max() * 4 / MIB:.2f} MiB")

# %% [markdown]
# The same as a picture, from the first operator to the last. The tall peaks at the right of the upper one are the
# decoder's finest stage and the head.

# %%
from birefnet_lite.course.picture import CARD, Picture, card

figure = card(9, 3.6)
for row, (name, numbers) in enumerate(written.items()):
    axes = figure.add_axes((0.08, 0.54 - 0.49 * row, 0.9, 0.38), facecolor=CARD, ylim=(0, 11))
    axes.fill_between(torch.linspace(0, 1, len(numbers)), numbers * 4 / MIB, step="mid", color="#2f6d8a")
    axes.set(ylabel="MiB", xticks=(), xlim=(0, 1))
    axes.set_title(name, fontsize=10, loc="left", pad=3)
Picture.of(
    figure,
    "What each operator writes, in MiB, in the order of the computation, for the plain and for the optimized network. "
    "The plain one has the taller peaks, at its end.",
)

# %% [markdown]
# ## 9 · Equality
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
# `convolve_first` meets the real weights, too: at odd sizes, where an enlargement is no whole factor.

# %% tags=["NBVAL_CHECK_OUTPUT"]
head = reference.decoder.head
width = reference.decoder.stages[-1].reconstruction.conv_out.out_channels
for batch, small, large in [(1, (4, 6), (16, 24)), (2, (5, 3), (19, 11)), (1, (1, 1), (7, 2))]:
    coarse = torch.randn(batch, width, *small, generator=generator)
    fine = torch.randn(batch, head.in_channels - width, *large, generator=generator)
    with torch.inference_mode():
        wanted = both_ways(coarse, fine, head.weight, head.bias)
        ours = head_first(coarse, fine, head.weight, head.bias)
    print(large, "equal to 1e-5:", bool((ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()))

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
# And check the numbers *first*. Wrong results can be had in no time.

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
# On your machine, for the network of this notebook:

# %% tags=["machine"]
with torch.inference_mode():
    slow, quick = by_turns([lambda: model(image), lambda: fast(image)])
print(f"{slow:.3f} and {quick:.3f} seconds with {torch.get_num_threads()} threads: {slow / quick:.2f} times as fast")

# %% [markdown]
# Run the cell again: how much does the ratio move? That is how many of its digits you may report. A small network gains
# little, since much of its time is spent on starting operators. `benchmarks/speed.py` measures any backbone and size in
# this way, with peak memory, and says how far the result is from what the machine's arithmetic and memory allow. On two
# cores of an Intel Xeon, in float32:
#
# | | plain | optimized | ratio | memory | optimized | ratio |
# |---|---|---|---|---|---|---|
# | nano, 256 × 256 | 0.188 s | 0.065 s | 2.9 | 59 MiB | 31 MiB | 1.9 |
# | lite, 1024 × 1024 | 11.4 s | 3.4 s | 3.4 | 1,939 MiB | 627 MiB | 3.1 |
# | lite, 2048 × 2048 | 53.5 s | 14.4 s | 3.7 | 6,201 MiB | 1,908 MiB | 3.3 |
#
# ![Seconds and peak memory over pixels, plain and optimized: lines on log axes.](../benchmarks/results/speed-cpu.png)
#
# Time and memory grow in proportion to the pixels, which on two logarithmic axes is a line of slope 1: nothing in these
# networks looks at all pairs of pixels.
#
# ## 11 · No longer the same numbers
#
# The next steps change the numbers a little, or need a GPU.
#
# **Half precision.** A bfloat16 has 8 significant bits, a float16 11, a float32 24. Both halves halve the memory to be
# moved, and a GPU multiplies them several times as fast. But a sum can stop growing:

# %% tags=["NBVAL_CHECK_OUTPUT"]
print("256 + 1 in bfloat16:", (torch.tensor(256.0).bfloat16() + 1).item())
print("1 / 3 in bfloat16:  ", (torch.tensor(1.0) / 3).bfloat16().item())
print("1 / 3 in float16:   ", (torch.tensor(1.0) / 3).half().item())

# %% [markdown]
# So sums stay in float32, which `torch.autocast` and the matrix units see to, and the mask is compared with the one in
# float32: a mask is stored in steps of 1/255, and less than one step nobody will see.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
exact = segment(model, photo, SIZE)
for dtype in (torch.bfloat16, torch.float16):
    apart = abs(segment(optimize(model).to(device, dtype), photo, SIZE) - exact) * 255
    print(f"{dtype}: {(apart <= 1).mean():.1%} of the pixels within 1/255, all within {apart.max():.1f}/255")

# %% [markdown]
# Three bits make the difference. For masks take **float16**; bfloat16 is for training, where its larger range keeps
# gradients from vanishing. And fold **before** you round, as here: `optimize` combines the weights in float64 first.
# One convolution it keeps in float32, the one that reads the photo (`ImageConv2d`). Neighbouring pixels are nearly
# equal, so what is rounded off them and off its weights adds up instead of averaging out. So the masks of the package's
# four photos stay within one step; else the cup's, whose saucer hangs by small differences, would be up to 5.8/255 off.
#
# What it gains shows on a GPU only. The cells that follow run where one is.

# %% tags=["machine"]
def on_gpu(network, x, dtype):
    with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        mask = network(x).logits.float().sigmoid()
    torch.cuda.synchronize()
    return mask


if torch.cuda.is_available():
    nets, x = [deepcopy(model).cuda(), optimize(model).cuda()], image.cuda()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        times = by_turns([lambda n=n, d=dtype: on_gpu(n, x, d) for n in nets])
        print(f"{dtype}: optimized {times[0] / times[1]:.2f} times as fast as plain")
else:
    print("There is no CUDA device here: nothing to run.")

# %% [markdown]
# **`torch.compile`** writes operators of its own that do several steps while the numbers are in fast memory: an
# addition, a scale and a ReLU cost one trip instead of three. It compiles anew for each size of image.

# %% tags=["machine"]
if torch.cuda.is_available():
    compiled = torch.compile(nets[1])
    times = by_turns([lambda n=n: on_gpu(n, x, torch.float32) for n in (nets[1], compiled)])
    print(f"compiled: {times[0] / times[1]:.2f} times as fast")
else:
    print("There is no CUDA device here: nothing to run.")

# %% [markdown]
# Elsewhere than in PyTorch, `python -m birefnet_lite export nano nano.onnx` writes the optimized network as an ONNX
# file. And a photo that is too large for the memory is seen in overlapping tiles; what that loses is said in
# `birefnet_lite/inference/tiled.py`.

# %% [markdown]
# ## 12 · Play with it
#
# What does rounding do on its way through the network? Here is the network with weights rounded to bfloat16, beside
# the exact one, as if you had built it and made a small mistake everywhere. **Look for two things:**
#
# 1. The table stands in the order of the computation. How does the largest difference change from the first part to
#    the last? Rounding each weight changes it by at most 1/256 of itself.
# 2. Choose a row of the decoder, and *difference*. Is it spread over the map, or does it gather at some places?
#
# <details><summary>What you should see</summary>
#
# 1. It grows, from .5 % of a part's largest value behind the backbone's first stage to 2.9 % in the mask's logits. Some
#    three fifths of the 465 parts stay within the tolerance, and the first that does not is in that first stage. The
#    table shows some thirty rows at a time: scroll in the live view, the still picture has only the first.
# 2. It gathers along outlines, where values are large and change their sign.
#
# </details>

# %%
from widgets import compare

rounded = deepcopy(model).bfloat16().float()
view = compare(rounded, model, photo, tolerance=1e-2)
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
# - Do what makes a map **narrow** before what makes it **large**.
# - The **border** is where a composition goes wrong: zeros are put around *each* of two convolutions.
# - An exact rewrite is tested against the plain network; half precision is not exact, and is compared by its masks.
# - Measure **by turns**, take **medians**, report **ratios from one run**.

# %% [markdown]
# ## Three questions
#
# **1. Between a 1 × 1 convolution and an enlargement there is a batch norm, in evaluation. May the enlargement still
# move behind the convolution?**
#
# - a) Yes: in evaluation the norm scales and shifts each channel, and that commutes with the enlargement, too.
# - b) No: a batch norm uses the statistics of the enlarged map.
# - c) Only if the norm's mean is zero.
#
# <details><summary>Answer</summary>
#
# **a.** In evaluation the statistics are fixed numbers. Scaling a channel commutes with mixing its pixels; the shift
# does because the enlargement's weights add up to 1. In training (b) would be right: there, statistics come from the
# map.
#
# </details>

# %% [markdown]
# **2. Why does `optimize` refuse a network in training mode?**
#
# - a) Because gradients would be too slow.
# - b) Because the heads it leaves out are in evaluation mode.
# - c) Because dropout and batch norms then do something else for each batch, and there are no fixed numbers to fold.
#
# <details><summary>Answer</summary>
#
# **c.** Folding needs a mean and a variance that do not depend on what comes in. The heads (b) are left out *because*
# only training reads them, which is one more reason.
#
# </details>

# %% [markdown]
# **3. You time the plain network ten times, then the optimized one ten times. The second is 20 % faster. What is the
# best next step?**
#
# - a) Report 20 %.
# - b) Run the two by turns: the machine may have changed between the two halves.
# - c) Run the optimized one ten times more, to be sure of its time.
#
# <details><summary>Answer</summary>
#
# **b.** The first half includes the warm-up, or another program that ran at that time. More runs of one side (c) tell
# nothing about that; by turns, both sides meet the same disturbances.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `fold_batch_norm`, `compose_convolutions` | – | – | `optimization/convolutions.py` |
# | `convolve_first` in head and lateral blocks | – | – | `optimization/decoder.py` |
# | merged branches | – | – | `optimization/aspp.py` |
# | `optimize` | – | – | `optimization/birefnet.py` |
# | half precision | – | `autocast` in `inference.py` | any network, `.half()` or `.bfloat16()` |
# | `torch.compile` | – | `compile` in `config.py` | any network |
#
# **Paper and code.** Neither has these rewrites; the numbers that they must give are those of the original code. The
# original also resamples some maps to the size that they have, which changes nothing with aligned corners; the package
# leaves that out.
