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
# # 07 · Gradient targets
#
# In notebook 06 the outward reference multiplies a map by an attention, and beside that attention sits a head that
# predicts *gradients*. In training, this head is compared with a target. Here you compute that target in two versions:
# as the original does it, and as the paper describes it. The two teach very different things.
#
# **After this notebook you can**
# - compute the Laplacian of an image, at its border too,
# - build both targets and their loss, and get the same numbers as the package,
# - say how much a target can teach, *before* you train with it.
#
# **Time:** 75 minutes, 52 of them for the exercises. **You need:** notebook 06.

# %% [markdown]
# ## 1 · Find the person
#
# On the left a photo; on the right, enlarged to the same size, what the original tells the gradient head of stage 2
# about it: the label that this head should give, from 0 (black) to 1 (white). The two are made with the package; by the
# end of this notebook you have written the label yourself.

# %%
import torch
import torch.nn.functional as F

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course import course_model, side_by_side
from birefnet_lite.network import refinement
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 256)
photo, mask, _ = load_photo("astronaut")
seen = prepare(model, photo, size=SIZE)
image = seen.tensor  # (1, 3, 256, 256)
maps = capture(model, seen)
taught = refinement.gradient_target(image, maps["decoder.stage2.side"][None]).sigmoid()
print(course.notice)
side_by_side(
    {"photo": seen.seen, "what the head is told": taught[0, 0].numpy()},
    alt="An astronaut; and a grey picture with thin lines along all edges: the flag's are as strong as hers.",
    width=5.5,
)

# %% [markdown]
# Grey, nearly everywhere, and what lines there are belong to the flag and the rocket as much as to the person. If this
# is the target, what can be learned from it? Section 4 computes this exactly. Section 5 has a better target, and shows
# this picture again beside it.
#
# On the map you are at the right: the dashed boxes *gradients*. Dashed means that they are there in training only. The
# attention beside them stays.

# %%
from birefnet_lite.course import network_map

network_map("07")

# %% [markdown]
# ## 2 · Where an image changes
#
# The **Laplacian** of a pixel says how much its neighbourhood differs from itself. Let $I$ be an image with one value
# for each pixel, and $N(p)$ the 24 other pixels of the 5 × 5 window around the pixel $p$:
#
# $$L(p) = \frac{1}{2}\left(\frac{1}{24} \sum_{q \in N(p)} I(q) \; - \; I(p)\right)$$
#
# It is 0 where nothing changes, positive on the dark side of an edge, negative on the bright side. It is also 0 on
# an even slope: what a pixel has more on one side, it has less on the other. As one kernel: $1/48$ everywhere, and
# $-1/2$ in the centre. The absolute values add up to 1, so the result has the unit of the image.
#
# ### A toy image, by hand
#
# Six columns: three black (0), three white (1). Every row is the same.
#
# - Column 2, the last black one: of the 24 neighbours, the 2 × 5 in columns 3 and 4 are white. The mean is 10/24,
#   the centre 0. Half of that is **10/48**.
# - Column 1: only column 3 is white and in its window. **5/48**.
# - Column 0: its window would start two columns *outside*. The image is **reflected** there: what stands left of
#   column 0 is column 1, then column 2. All black: **0**.
# - Column 3, the first white one: 10 of its 24 neighbours are black. The mean is 14/24, the centre 1: **-10/48**.

# %% tags=["NBVAL_CHECK_OUTPUT"]
toy = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 6, 6)  # (B, C, H, W)
F.pad(toy, (2, 2, 2, 2), mode="reflect")[0, 0, 0].int()

# %% [markdown]
# This was the first row with its reflected border: two pixels more at either end. The pixel at the border itself is
# not repeated.
#
# ### Exercise 1 · The Laplacian
#
# *Difficulty ★★☆ · 10 minutes.* Filter each channel with the 5 × 5 kernel.


# %% tags=["exercise"]
def laplacian(image):
    """The mean of the 24 neighbours in a 5 x 5 window, less the centre, halved; each channel for itself.

    Two pixels of border are reflected, the border pixel itself not repeated.
    Shapes: (B, C, H, W) to (B, C, H, W).
    """
    # <solution>
    channels = image.shape[1]
    kernel = torch.full((5, 5), 1 / 48)
    kernel[2, 2] = -1 / 2
    padded = F.pad(image, (2, 2, 2, 2), mode="reflect")  # (B, C, H + 4, W + 4)
    return F.conv2d(padded, kernel.expand(channels, 1, 5, 5), groups=channels)
    # </solution>


# %% [markdown]
# The check uses several channels and sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

laplacian_checked = checks.laplacian(laplacian)
laplacian_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A filter with fixed weights is a convolution. `F.conv2d` takes the weights as an argument; with as many groups as
# channels, each channel meets only its own kernel. Its own padding is with zeros, so pad before.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a 5 × 5 tensor of one value, then set its centre. Give it the shape (C, 1, 5, 5), the same kernel C times. Pad
# the image by two pixels on four sides in the mode that you saw above. Convolve with C groups.
#
# </details>

# %% [markdown]
# The toy image goes through it, yours or the package's. In 48ths, this is what we wrote down by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
lap = laplacian if laplacian_checked.passed else refinement.laplacian
(48 * lap(toy)[0, 0, 0]).round().int()

# %% [markdown]
# ### On a photo
#
# The network sees photos normalised: per colour, ImageNet's mean taken away and divided by its deviation. The targets
# are made of this image, averaged over its three channels. The mask beside it was made by hand and comes with the
# course.

# %%
truth = F.interpolate(torch.from_numpy(mask).float()[None, None], SIZE, mode="area")  # (1, 1, 256, 256)
edges = lap(image.mean(dim=1, keepdim=True))  # (1, 1, 256, 256)

# %% [markdown]
# Grey is 0, brighter is positive, darker is negative. Find an edge of the suit: a bright and a dark line side by side.
# And find what does not belong to the person: the stripes of the flag have edges as well.

# %%
side_by_side(
    {"photo": seen.seen, "Laplacian": (0.5 + edges[0, 0]).numpy(), "mask, made by hand": truth[0, 0].numpy()},
    alt="An astronaut; its Laplacian, grey with thin lines on the suit, the flag and the rocket; and her mask.",
    width=7,
)

# %% [markdown]
# ## 3 · The original's target
#
# The edges of the flag should not count: the head should learn the edges of the *object*. The network knows where
# that is, more or less: each stage has a side output $m$, the logits of a small mask. The original multiplies:
#
# $$t = \sigma\big(L \cdot m\big), \qquad \text{loss} = \text{BCE}\big(\sigma(z), t\big)$$
#
# where $L$ is the Laplacian of the mean over the channels, $m$ is enlarged to the image, $z$ are the head's own
# logits, enlarged too, and $\sigma$ is the sigmoid.
#
# ### A toy, by hand
#
# Three Laplacians (a bright line, nothing, a dark line) and three logits (surely object, undecided, surely
# background): nine pixels.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for name, m in {"object, logit +5": 5, "undecided, logit 0": 0, "background, logit -5": -5}.items():
    targets = [torch.tensor(edge * m).sigmoid().item() for edge in (0.2, 0.0, -0.2)]
    print(f"{name:22}", *(f"{t:.2f}" for t in targets))

# %% [markdown]
# Read this table slowly; it is the heart of the notebook.
#
# - **No edge is not 0 but 0.5**, in all three rows. Most pixels of a photo have no edge.
# - **The background is not cut away.** Its row is that of the object with the signs turned round.
# - **Where the side output is undecided, edges vanish.** That is the contour that the *network* draws, where its logits
#   cross 0. The true outline need not be there; section 4 measures both.
#
# ### Exercise 2 · The original's target
#
# *Difficulty ★☆☆ · 8 minutes.* Write it without the sigmoid, which the loss will take. Use `lap`: it is your Laplacian
# or the package's.


# %% tags=["exercise"]
def gradient_target(image, side_logits):
    """The Laplacian of the image's mean over the channels, times the logits, enlarged to the size of the image.

    Shapes: image (B, 3, H, W), side_logits (B, 1, h, w), to (B, 1, H, W), unbounded. The logits are enlarged
    bilinearly, with align_corners=True, and are not detached: a gradient flows back to them.
    """
    # <solution>
    edges = lap(image.mean(dim=1, keepdim=True))  # (B, 1, H, W)
    logits = F.interpolate(side_logits, size=image.shape[-2:], mode="bilinear", align_corners=True)
    return edges * logits
    # </solution>


# %% [markdown]
# The check looks at the gradient, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
original_checked = checks.gradient_target(gradient_target)
original_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Keep four axes throughout: the mean over the channels should leave one channel, not none. Otherwise the product is
# not what you think, or has a wrong shape.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Mean over axis 1, kept. Laplacian of that. Enlarge the logits to the image's height and width. Multiply pixel by
# pixel.
#
# </details>

# %% [markdown]
# ## 4 · How much can it teach?
#
# Before one trains for days, one can ask: *how good can the best answer be?* For a label $t$ and an answer $p$,
#
# $$\text{BCE}(p, t) = -t \log p - (1 - t) \log (1 - p) \;\ge\; H(t) = -t \log t - (1 - t) \log (1 - t)$$
#
# The least is reached at $p = t$, and it is not 0: it is the entropy $H(t)$ of the label. The head starts near $p =
# 0.5$ everywhere, which costs $\log 2 = 0.693$. **What lies between $\log 2$ and the mean of $H(t)$ can be learned;
# the rest stays, whatever the head does.**

# %%
import math

original = gradient_target if original_checked.passed else refinement.gradient_target


def floor(label):
    """The least mean BCE that any answer has on these labels, all in 0 to 1."""
    return F.binary_cross_entropy(label, label).item()


# %% [markdown]
# We grant the network a perfect side output, from the hand-made mask: +5 on the object, -5 elsewhere. That is
# a probability of 0.993.

# %%
perfect = 10 * truth - 5  # logits, (1, 1, 256, 256)
label = original(image, perfect).sigmoid()
print(f"within 0.1 of 0.5: {((label - 0.5).abs() < 0.1).float().mean():.0%} of the pixels")
print(f"answering 0.5: {math.log(2):.4f}, the best answer: {floor(label):.4f}")
print(f"so {1 - floor(label) / math.log(2):.1%} of this loss can be learned")

# %% [markdown]
# So 5.6 % can be learned, and the rest cannot, by any head. Three more photos, so that this is not the astronaut's
# fault. The side outputs are perfect again.

# %% tags=["NBVAL_CHECK_OUTPUT"]
most = 0.0
for name in ("chelsea", "coffee", "motorcycle"):
    other, its_mask, _ = load_photo(name)
    logits = torch.from_numpy(its_mask)[None, None] * 10.0 - 5  # (1, 1, h, w)
    x = prepare(model, other, size=other.shape[0] // 32 * 32).tensor
    most = max(most, 1 - floor(original(x, logits).sigmoid()) / math.log(2))
print("less than a tenth can be learned, on each of them:", most < 0.1)

# %% [markdown]
# ### The contour
#
# A side output is coarse: stage 2 has one logit for 8 × 8 pixels. We shrink the perfect logits to that and enlarge
# them again, as the network does.

# %%
coarse = F.interpolate(perfect, scale_factor=1 / 8, mode="area")  # (1, 1, 32, 32)
logits = F.interpolate(coarse, SIZE, mode="bilinear", align_corners=True)
label = original(image, coarse).sigmoid()

# %% [markdown]
# Here are five rows of pixels across the border of suit and helmet, enlarged: the edges $L$, the logits $m$, and the
# label $\sigma(L \cdot m)$ that the two make. The numbers are those of the middle row. Follow the strongest edge down
# the three strips.

# %%
from birefnet_lite.course.figures_refinement import strips

rows, columns = slice(172, 177), slice(176, 204)
parts = {"edge L": (edges, -0.5, 0.5), "logits m": (logits, -5, 5), "label": (label, 0, 1)}
strips(
    {name: (x[0, 0, rows, columns].numpy(), low, high) for name, (x, low, high) in parts.items()},
    alt="Three strips of pixels with numbers: edges of both signs, logits that fall from 4 below 0 and rise again, and "
    "labels near one half, nearest where the logits cross 0.",
)

# %% [markdown]
# The strongest edge is −.93, in two cells. The second of them meets a logit of .05, and its label is .49: *I do not
# know*. One cell further right it is over one half, since the logit has changed its sign. How strong is the label
# per unit of edge, on the contour that the logits draw, and on the outline made by hand, compared with the inside?

# %%
from scipy import ndimage

hard = truth[0, 0].numpy() > 0.5
outline = torch.from_numpy(ndimage.binary_dilation(hard) & ~ndimage.binary_erosion(hard))
drawn, inside = (logits.abs() < 1.5)[0, 0], torch.from_numpy(ndimage.binary_erosion(hard, iterations=4))
strength = ((label - 0.5).abs() / (edges.abs() + 1e-6))[0, 0]  # per unit of edge
for name, where in {"the contour as drawn": drawn, "the outline by hand": outline}.items():
    print(f"{name}: {strength[where].mean() / strength[inside].mean():.0%} of the inside")

# %% [markdown]
# On the contour that the network draws, the label keeps a sixth of its strength, on the true outline less than a half.
# But it is the outline that a mask needs.
#
# ### The label learns, too
#
# The original does not detach its target. So the loss changes the side output as well, and in which direction? From
# $\text{BCE} = \log(1 + e^z) - t z$ follows $\partial\,\text{loss} / \partial m = -z \cdot \sigma'(L m) \cdot L$.
# The label moves towards whatever the head says, right or wrong. Here is one pixel with an edge of 0.2, whose side
# output is undecided. Head and side output follow the gradient.

# %% tags=["NBVAL_CHECK_OUTPUT"]
edge = 0.2
z, m = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
for _ in range(3000):
    loss = F.binary_cross_entropy_with_logits(z, torch.sigmoid(edge * m))
    slopes = torch.autograd.grad(loss, (z, m))
    with torch.no_grad():
        z -= slopes[0]
        m -= slopes[1]
print("undecided at first, and after 3000 steps sure of an object:", m.item() > 5)
print("the loss fell below a tenth of log 2:", loss.item() < 0.1 * math.log(2))

# %% [markdown]
# Nobody told this pixel what it is. The head happened to start at $z = 1$, and both agreed on it. In the real network
# the mask loss holds the side output back, but this term pulls on it.
#
# **What it can teach:** the signs and places of strong edges, faintly, once the side outputs are sure.
# **What it cannot:** that background has no edges, and where the contour is.

# %% [markdown]
# ## 5 · The corrected target
#
# The paper describes edges *near the object that the stage predicts*. In steps:
#
# 1. **Edges without sign**, $|L|$: a contour is an edge whether it is dark or bright.
# 2. **From 0 to 1 in every photo**: divided by the 99th percentile of $|L|$ in that photo, and clipped at 1.
# 3. **A mask**: the side output, enlarged, as a probability over 0.5.
# 4. **Dilated** by a radius of $r = \max(1, \text{round}(H / 128))$ pixels: every pixel with an object's pixel in
#    the $(2r + 1) \times (2r + 1)$ window around it counts, so the contour is inside.
# 5. **Detached**: a label that does not move.
#
# ### By hand
#
# A dilation is a maximum over a window. One row, radius 1: `0 0 1 1 0 0 0 1` becomes `0 1 1 1 1 0 1 1`.

# %% tags=["NBVAL_CHECK_OUTPUT"]
row = torch.tensor([[[0.0, 0, 1, 1, 0, 0, 0, 1]]])  # (B, C, W)
F.max_pool1d(row, 3, stride=1, padding=1).int()

# %% [markdown]
# ### Exercise 3 · The corrected target
#
# *Difficulty ★★★ · 15 minutes.* The five steps.


# %% tags=["exercise"]
def masked_gradient_target(image, side_logits):
    """The edges of the image near the object that a stage predicts.

    Shapes: image (B, 3, H, W), side_logits (B, 1, h, w), to (B, 1, H, W), from 0 to 1, without a gradient.
    Edges: |Laplacian of the mean over the channels|, divided by its 99th percentile in that image (but by no less than
    1e-4, so that an image without edges gives zeros), clipped at 1. Mask: the logits, enlarged bilinearly with
    align_corners=True, where their sigmoid is over 0.5; dilated by a square of radius max(1, round(H / 128)).
    """
    # <solution>
    height, width = image.shape[-2:]
    edges = lap(image.mean(dim=1, keepdim=True)).abs()  # (B, 1, H, W)
    scale = torch.quantile(edges.flatten(1), 0.99, dim=1).clamp(min=1e-4)  # (B,)
    edges = (edges / scale[:, None, None, None]).clamp(max=1)
    logits = F.interpolate(side_logits.detach(), size=(height, width), mode="bilinear", align_corners=True)
    mask = (logits.sigmoid() > 0.5).float()
    radius = max(1, round(height / 128))
    return edges * F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)
    # </solution>


# %% [markdown]
# The check uses images of different contrast in one batch, and one of a single colour.

# %% tags=["NBVAL_CHECK_OUTPUT"]
masked_checked = checks.masked_gradient_target(masked_gradient_target)
masked_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Each image of a batch has its own percentile: flatten everything but the batch, ask `torch.quantile` along the
# rest, and give the B numbers three axes more before you divide. A maximum over a window is max pooling with stride 1.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Laplacian of the mean, absolute. Flatten from axis 1; quantile 0.99 along it; not below 1e-4. Divide, clip. Then the
# mask: detach, enlarge, sigmoid, compare. Turn it into numbers. Pool with a window of 2 r + 1, padded by r. Multiply.
#
# </details>

# %% [markdown]
# Both targets, for the same perfect logits. Note how grey the middle is, and that flag and rocket are gone at the
# right.

# %%
masked = masked_gradient_target if masked_checked.passed else refinement.masked_gradient_target
labels = {"original": original(image, perfect).sigmoid(), "corrected": masked(image, perfect)}
side_by_side(
    {"photo": seen.seen} | {name: label[0, 0].numpy() for name, label in labels.items()},
    alt="The astronaut; the original target, grey with faint lines everywhere; the corrected one, bright lines on the "
    "person only, on black.",
    width=7,
)

# %% [markdown]
# The same as a histogram, on a logarithmic scale.

# %%
from birefnet_lite.course.figures_refinement import histograms

histograms(
    {name: label.numpy() for name, label in labels.items()},
    alt="Two histograms. The original's labels pile up around one half; the corrected ones at 0, with a tail up to 1.",
)

# %% [markdown]
# The original's labels pile up at *I do not know*; the corrected ones at a plain *no*, with a tail of edges up to 1.
#
# How much can each teach? The same measure. For fairness there is a third number: the best *constant* answer, for
# which one need not look at the photo at all.

# %%
for name, label in labels.items():
    constant = floor(label.mean())
    gain = constant - floor(label)
    print(f"{name:10} best constant: {constant:.3f}   best: {floor(label):.3f}   the photo tells: {gain:.3f}")

# %% [markdown]
# The corrected target is soft, so its best answer is not 0 either. What needs a look at the photo lies between the best
# constant and the best: .039 for the original, .162 for the corrected target, four times as much. On the cat it is
# fourteen times, on the motorcycle three times.

# %% tags=["NBVAL_CHECK_OUTPUT"]
gain = {name: floor(label.mean()) - floor(label) for name, label in labels.items()}
print("at least four times as much can be learned from the photo:", gain["corrected"] > 4 * gain["original"])

# %% [markdown]
# ### Exercise 4 · A target of your own
#
# *Difficulty ★★☆ · 10 minutes, open.* The dilation is a coarse tool: a pixel counts in full, or not at all. Design a
# label without it that still has the edge's outer half. Many answers are right; the check asks for properties: from 0
# to 1, without a gradient, 0 far from the object and where the image has no edges, and at least .3 on *both* sides of
# a strong contour.

# %% tags=["exercise"]
def own_target(image, side_logits):
    """A label for the gradient head: the edges of the image near the object, on both sides of its contour.

    Shapes: image (B, 3, H, W), side_logits (B, 1, h, w), to (B, 1, H, W), from 0 to 1, without a gradient.
    """
    # <solution>
    edges = lap(image.mean(dim=1, keepdim=True)).abs()  # (B, 1, H, W)
    scale = torch.quantile(edges.flatten(1), 0.99, dim=1).clamp(min=1e-4)  # (B,)
    edges = (edges / scale[:, None, None, None]).clamp(max=1)
    logits = F.interpolate(side_logits.detach(), size=image.shape[-2:], mode="bilinear", align_corners=True)
    near = (3 * F.avg_pool2d(logits.sigmoid(), 9, stride=1, padding=4)).clamp(max=1)  # fades out over four pixels
    return edges * near
    # </solution>


# %% [markdown]
# The check makes a photo whose contour it knows.

# %% tags=["NBVAL_CHECK_OUTPUT"]
target_checked = checks.own_target(own_target)
target_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The edges are those of exercise 3. What weighs them may be soft: a probability that has been smoothed reaches beyond
# the contour by as far as it was smoothed.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take the sigmoid of the enlarged, detached logits, and its mean over a window of, say, 9 × 9. On the contour that is
# about a half: scale it up and clip at 1. Multiply by the edges.
#
# </details>

# %% [markdown]
# **Predict:** does the photo tell your head more than the corrected target's .162?

# %%
own = own_target(image, perfect) if target_checked.passed else labels["corrected"]
print(f"the photo tells: {floor(own.mean()) - floor(own):.3f}")

# %% [markdown]
# The solution, by hint 2, tells a little less, .157. But the number says only how much *can* be learned, not whether it
# is worth learning: all edges of the photo, with no mask at all, give .150, nearly as much, and teach the flag.

# %% [markdown]
# ### With the real side outputs
#
# Now the network's own side outputs instead of perfect ones, from its three supervised stages, as `capture` found them
# in section 1.

# %%
rows = {f"stage {stage}": masked(image, maps[f"decoder.stage{stage}.side"][None]) for stage in (4, 3, 2)}
side_by_side(
    {name: label[0, 0].numpy() for name, label in rows.items()},
    alt="Three corrected targets, from the side outputs of stages 4, 3 and 2: edges where that stage sees an object.",
    width=5,
)

# %% [markdown]
# Each stage is taught the edges of the object *that it sees itself*, and is not asked about what it does not see: stage
# 4 misses the outline of her hair and a piece of the helmet, and learns nothing of their edges; stage 2 sees both, but
# misses a part of the sleeve above the helmet, which stage 4 sees.
#
# ### The picture again
#
# What the original tells the head of stage 2, what the corrected target tells it, and what the head of our network,
# which was trained on corrected targets, answers.

# %%
told = masked(image, maps["decoder.stage2.side"][None])[0, 0].numpy()
answer = maps["decoder.stage2.gradient_prediction"].float().sigmoid()[0].numpy()
side_by_side(
    {"the original's label": taught[0, 0].numpy(), "the corrected label": told, "the head's answer": answer},
    alt="The grey label from the start; the corrected label, white lines on black; and coarse bright cells along hair, "
    "suit and helmet, dark elsewhere.",
    width=5,
)

# %% [markdown]
# Now the person can be found, in the label and in the answer. The answer has one cell for 8 × 8 pixels, so it can only
# say where lines are dense.

# %% [markdown]
# ## 6 · The loss
#
# Both targets have the same loss: binary cross-entropy, at the size of the image. A stage's logits are much smaller
# than its target. The logits are enlarged, since a thin line shrunk 32 times is gone.
#
# ### Exercise 5 · The loss of the gradient heads
#
# *Difficulty ★★☆ · 9 minutes.* Three levels, two kinds of target.


# %% tags=["exercise"]
def gradient_loss(gradient_logits, gradient_targets, kind):
    """The sum over the levels of the mean binary cross-entropy; one number, a tensor without axes.

    gradient_logits: one (B, 1, h, w) for each level; gradient_targets: as many (B, 1, H, W). Each level's logits are
    enlarged to their target, bilinearly with align_corners=True. kind "original": the label is the sigmoid of the
    target, and learns too. kind "masked": the label is the target itself, and takes no gradient.
    """
    # <solution>
    total = 0.0
    for logits, target in zip(gradient_logits, gradient_targets):
        label = target.sigmoid() if kind == "original" else target.detach()
        logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=True)
        total = total + F.binary_cross_entropy_with_logits(logits, label)
    return total
    # </solution>


# %% [markdown]
# The check asks who learns, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
loss_checked = checks.gradient_loss(gradient_loss)
loss_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# PyTorch has a binary cross-entropy that takes raw logits for the answer. For the label it always wants numbers in 0 to
# 1. Only one of the two kinds needs help to get there.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each pair: make the label (sigmoid, or detach), enlarge the logits to the label's height and width, take the
# cross-entropy on logits with its mean over pixels, and add it to what you have.
#
# </details>

# %% [markdown]
# ## 7 · In the network
#
# Targets have no parameters, so the running table has no new row: the heads are in the row *outward reference*. Its
# levels are those of stages 4, 3 and 2.

# %%
from birefnet_lite.course import part_table

part_table(model, SIZE, upto="07")

# %% [markdown]
# A network says with `gradient_target` which kind it is taught. The presets `lite` and `large` are the published
# networks, so they keep the original's.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import BiRefNet, BiRefNetConfig

for name in ("nano", "lite", "large"):
    print(f"{name:6} {BiRefNetConfig.preset(name).gradient_target}")

# %% [markdown]
# ### Does the target matter?
#
# In short, equal runs of `nano` (`benchmarks/ablations.py`), against the corrected target with the same seed: the
# original's target, and no gradient loss at all. The dot is the mean over three seeds, the line their standard
# deviation.
#
# **Both lines cross 0.** In runs as short as these the *mask* does not tell which target was taught, or whether one
# was. Why should it? A floor is a constant: it has no gradient, and hinders no other part of the loss. What the
# original's target costs is what the gradient heads could have learned and do not; and that reaches the mask only
# through the features that they share with the attention, which at this size of network does little (notebook 06).

# %%
from birefnet_lite.course.ablations import ablation_plot

ablation_plot(variants=["original gradient target", "attention without its loss"])

# %% [markdown]
# ## 8 · Equality
#
# First, the functions: several shapes, odd ones, a batch of one.

# %% tags=["NBVAL_CHECK_OUTPUT"]
torch.manual_seed(0)
pairs = [(original, refinement.gradient_target), (masked, refinement.masked_gradient_target)]
for size, small in [((1, 3, 64, 64), (2, 2)), ((2, 3, 65, 97), (9, 13)), ((3, 3, 256, 32), (32, 4))]:
    x, side = torch.randn(size), torch.randn(size[0], 1, *small)
    same = (lap(x) - refinement.laplacian(x)).abs().max().item() <= 1e-6
    same &= all((mine(x, side) - theirs(x, side)).abs().max().item() <= 1e-6 for mine, theirs in pairs)
    print(size, "equal to 1e-6:", same)

# %% [markdown]
# Then inside a network in training, one of each kind, with random biases and batch-norm statistics. It gives its side
# outputs, gradient logits and targets; yours are made from the same side outputs. Batch norms keep their statistics
# here, so that a batch of one is possible.

# %%
from birefnet_lite.training.losses import GradientLoss


def shaken(kind):
    """A small network in training mode, all biases and statistics random."""
    network = BiRefNet(BiRefNetConfig.preset("nano").replace(gradient_target=kind, aspp="plain")).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval().running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.3)
        if getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return network


# %% [markdown]
# Targets and loss, yours against the package's.

# %% tags=["NBVAL_CHECK_OUTPUT"]
my_loss = gradient_loss if loss_checked.passed else lambda z, t, kind: GradientLoss(kind)(z, t)
for kind, mine in {"original": original, "masked": masked}.items():
    network = shaken(kind)
    for size in [(1, 3, 64, 64), (2, 3, 96, 64), (1, 3, 64, 160)]:
        x = torch.randn(size)
        out = network(x)
        targets = [mine(x, side) for side in out.side_logits]
        apart = max((a - b).abs().max().item() for a, b in zip(targets, out.gradient_targets))
        ours, theirs = my_loss(out.gradient_logits, targets, kind), GradientLoss(kind)(out[2], out[1])
        print(kind, size, "equal to 1e-6:", apart <= 1e-6 and abs(ours - theirs).item() <= 1e-6)

# %% [markdown]
# ## 9 · Play with it
#
# One row for each stage, both targets beside each other, then what the head says and the attention beside it. The last
# row has the targets of the hand-made mask. **Look for two things:**
#
# 1. In the row *Given mask*, choose *Target, original* and put the pointer on the stripes of the flag, then on plain
#    parts of the suit. Which is farther from 0.5? Then the same in *Target, corrected*.
# 2. *Prediction* and *Attention* are read from the same 16 features. Where does the attention follow the predicted
#    gradients, and where does it do something else? Nothing tells the attention to be a gradient map: it has only
#    the features in common with it.
#
# <details><summary>What you should see</summary>
#
# 1. In the original's target the flag is farther from 0.5 than the plain suit: it has edges, and surely is background.
#    In the corrected one the flag is 0, and the plain suit nearly so; outlines, badges and folds are bright.
# 2. At stage 2 the attention is dark in a line along hair, shoulders and helmet, where the prediction is bright; but
#    the prediction is bright on folds and badges, too, and the attention is not dark there. At stage 4 it is nearly 1
#    everywhere and follows nothing.
#
# </details>

# %%
from widgets import gradient_targets

view = gradient_targets(model, photo, mask=mask, size=SIZE)
view

# %% [markdown]
# The same view as a still picture. Its table has the measures of section 4, but for
# the side outputs of the network, stage by stage.

# %%
from widgets import static

static(view, width=720)

# %% [markdown]
# ## What to remember
#
# - The **Laplacian** is the neighbours' mean less the centre: 0 on plain surfaces and on even slopes, with two signs at
#   an edge.
# - The original's label is $\sigma(L \cdot m)$ with raw logits $m$: **no edge is 0.5**, background edges are turned
#   round and not removed, and edges where the network is undecided, $m = 0$, vanish.
# - A loss has a **floor**, the entropy of its labels. Here nearly all of the original's loss is floor.
# - Its label is **not detached**: it moves towards what the head says.
# - The corrected label: **edges from 0 to 1, inside a dilated mask, fixed**.
# - The gradient heads are there in training only. The **attention stays**.

# %% [markdown]
# ## Three questions
#
# **1. You train with the original's target. The gradient loss falls from 2.08 to 1.98 and stays there. What does this
# say about the heads?**
#
# - a) They learn nothing: something is broken.
# - b) The learning rate is too low.
# - c) Little: for three levels, 2.08 is the start, and the floor may be just below 1.98.
#
# <details><summary>Answer</summary>
#
# **c.** Answering 0.5 on three levels costs 3 × 0.693 = 2.08. The entropy of the labels is a floor that no head can
# pass: .66 for each stage in the table of section 9, so 1.97 for the three. Compute the floor before you look for a bug
# (a) or change the learning rate (b).
#
# </details>

# %% [markdown]
# **2. A pixel in the background lies on a strong edge, and the side output is very sure that it is background. What is
# its label?**
#
# - a) Far from 0.5 in the original's, 0 in the corrected.
# - b) 0 in both targets.
# - c) 0.5 in the original's, 0 in the corrected.
#
# <details><summary>Answer</summary>
#
# **a.** The product of a strong edge and a large negative logit is large, with the sign turned round. The surer the
# side output is of background, the *stronger* the edge in the label. The corrected target multiplies by 0 there,
# unless the object is within the dilation's radius.
#
# </details>

# %% [markdown]
# **3. Why is the mask of the corrected target dilated?**
#
# - a) So that the loss has more pixels.
# - b) An edge lies on both sides of the contour; without dilation its outer half is cut off.
# - c) So that a gradient can flow through the mask.
#
# <details><summary>Answer</summary>
#
# **b.** In the toy of section 2 the edge has a black and a white side, two columns each. The object is one of them.
# No gradient flows through a comparison (c), dilated or not. All pixels count in the loss either way (a).
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `laplacian` | gradient supervision | `kornia.filters.laplacian`, `kernel_size=5` | `network/refinement.py` |
# | `gradient_target` | – | `models/birefnet.py`, decoder, in training | `network/refinement.py` |
# | `masked_gradient_target` | gradient supervision | – | `network/refinement.py` |
# | `gradient_loss` | – | `train.py` | `training/losses.py`, `GradientLoss` |
#
# **Paper and code.** The paper masks the gradients with a dilated prediction. In the original's code the line with the
# dilation is there as a comment, but the map it names is the undilated one, in logits, and not detached. Users asked
# why this loss does not fall (issues 112, 181 and 183 of the original); the author answered that its effect is limited.
# The attention is another matter: when a commit of March 2024 left it out after training, results got worse, and it
# came back the next day. `gradient_target="original"` in `birefnet_lite` computes the original's numbers exactly,
# `"masked"` the corrected ones; weights of either kind fit either network.
