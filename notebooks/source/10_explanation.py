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
# # 10 · Explanation
#
# Why is the mask as it is? Three questions can be asked of a trained network, and each has methods of its own: which
# *pixels* speak for a decision, how far a unit can *see*, and what is lost *without* a part.
#
# **After this notebook you can**
# - compute integrated gradients yourself, and say what four attribution methods answer and what they do not,
# - compute the receptive field of a chain of convolutions by hand,
# - switch a part of a network off without leaving a trace,
# - read a number such as "80 % inside the mask" with due doubt.
#
# **Time:** 70 minutes, 30 of them for the exercises. **You need:** notebook 00, and gradients in PyTorch.

# %% [markdown]
# ## 1 · The map
#
# We explain with the whole network, from the photo to the mask.

# %%
from birefnet_lite.course import network_map

network_map("10")

# %% [markdown]
# ## 2 · Which pixels?
#
# An attribution gives each pixel its share in *one number*. A classifier has such a number, the logit of a class. A
# mask has thousands of logits, so we choose: the **score** is the mean logit in a *region*. The region says what is to
# be explained: all of the mask, or the handle of the cup.
#
# ### A toy, by hand
#
# Let the score be $f(x_1, x_2) = x_1 x_2$, the photo $(2, 3)$ and the photo without content, the **baseline**,
# $(0, 0)$. Here $f = 6$, there $f = 0$. Who earned the 6?
#
# - **The gradient** is $(x_2, x_1) = (3, 2)$. Times the input that is $6$ and $6$: 12 in all, twice what there is.
# - **Occlusion** sets one input to 0 and looks what is lost: 6 for each. Again 12: both are needed, so each gets all.
# - **Integrated gradients** walk from the baseline to the photo, at $\alpha \cdot (2, 3)$ for $\alpha$ from 0 to 1, and
#   take the mean gradient on the way: $\int_0^1 (3 \alpha, 2 \alpha) \, d\alpha = (1.5, 1)$. Times the way $(2, 3)$
#   that is $3$ and $3$: 6 in all.
#
# That the shares add up to what the score gains, $f(x) - f(\text{baseline})$, is the axiom of **completeness**. Of the
# three, only integrated gradients obey it.
#
# In general, with the baseline $b$ and $n$ steps, at the middle of each step:
#
# $$\text{IG}_i = (x_i - b_i) \cdot \frac{1}{n} \sum_{k=1}^{n} \frac{\partial f}{\partial x_i}
# \left( b + \frac{k - \frac{1}{2}}{n} (x - b) \right)$$
#
# ### Exercise 1 · Integrated gradients
#
# *Difficulty ★★☆ · 12 minutes.* In ten lines.

# %% tags=["exercise"]
import torch


def integrated_gradients(score, image, baseline, steps):
    """Integrated gradients by the midpoint rule: at 1/2n, 3/2n, ... of the way from the baseline to the image.

    score: takes images (B, 3, H, W), gives one number for each, (B,). image, baseline: (1, 3, H, W). Returns
    (1, 3, H, W): the share of each value. Leaves no gradients behind in the score's weights.
    """
    # <solution>
    total = torch.zeros_like(image)
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * (image - baseline)).requires_grad_()
        (gradient,) = torch.autograd.grad(score(point).sum(), point)
        total += gradient
    return (image - baseline) * total / steps
    # </solution>

# %% [markdown]
# The check has a small curved score, so that every point of the path counts.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

path_checked = checks.integrated_gradients(integrated_gradients)
path_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A point on the way is a new tensor; it needs `requires_grad_()` before the score sees it.
# `torch.autograd.grad(number, tensor)` gives a tuple of gradients and stores none.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Start with zeros in the shape of the image. For each step: the point at its middle, the score, the gradient of the
# score by the point, added to the rest. At the end the mean, times the way from the baseline to the image.
#
# </details>

# %% [markdown]
# The toy goes through it, yours or captum's. captum is PyTorch's library of attribution methods; what we call the
# midpoint rule is its `riemann_middle`.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from captum.attr import IntegratedGradients


def by_captum(score, image, baseline, steps):
    method = IntegratedGradients(score)
    return method.attribute(image, baseline, n_steps=steps, method="riemann_middle", internal_batch_size=1)


integrate = integrated_gradients if path_checked.passed else by_captum
toy = torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)
integrate(lambda x: x[:, 0, 0, 0] * x[:, 1, 0, 0], toy, torch.zeros_like(toy), 4).flatten()

# %% [markdown]
# ### The score of a region
#
# Now for the real network. `region` is (H, W), soft or hard.

# %%
class RegionScore(torch.nn.Module):
    """Images (B, 3, H, W) to their mean logit in a region (H, W): (B,)."""

    def __init__(self, model, region):
        super().__init__()
        self.model, self.region = model, region

    def forward(self, images):
        logits = self.model(images).logits[:, 0]  # (B, H, W)
        return (logits * self.region).sum(dim=(1, 2)) / self.region.sum()

# %% [markdown]
# ### Equality
#
# On a whole network with random weights, biases and batch-norm statistics, at three sizes, your numbers are captum's.
# In float64, so that only mistakes can differ.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import BiRefNet
from birefnet_lite.course import course_model
from birefnet_lite.course.checks.weights import randomise

model = course_model().model
strange = randomise(BiRefNet(model.config)).double().eval()
for height, width in [(64, 64), (32, 96), (96, 64)]:
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    score = RegionScore(strange, torch.ones(height, width, dtype=torch.float64))
    ours, theirs = (by(score, x, torch.zeros_like(x), 2) for by in (integrate, by_captum))
    print((height, width), "equal to 1e-6:", bool((ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()))

# %% [markdown]
# ### Completeness, on a photo
#
# The baseline is 0, which after normalisation is the mean colour of ImageNet: an image without content. In the limit of
# many steps the shares add up to what the score gains. **Look** what share of the gain 4 and 16 steps hold, on a photo
# of 64 × 96 pixels.

# %%
from birefnet_lite.analysis import capture, prepare
from birefnet_lite.photos import load_photo

coffee, coffee_mask, _ = load_photo("coffee")
small = prepare(model, coffee, size=(64, 96)).tensor
zero = torch.zeros_like(small)
score = RegionScore(model, torch.ones(64, 96))
with torch.no_grad():
    print(f"          the score gains {float(score(small) - score(zero)):7.3f}")
for steps in (4, 16):
    shares = integrate(score, small, zero, steps)
    share = shares.sum() / (score(small) - score(zero)).item()
    print(f"{steps:2} steps: they add up to  {float(shares.sum()):7.3f}, {float(share):.0%} of the gain")

# %% [markdown]
# That is not complete, nor near it: completeness holds for the integral, and a sum of few steps is a poor one here. A
# network with ReLUs is not smooth, and units switch on and off along the path. So how many steps does it take? The
# answer is stored with the course, for two predictions that section 3 explains; `benchmarks/attributions.py` computed
# it in some minutes. The green band is 5 % around the gain.

# %%
from birefnet_lite.course.attributions import convergence_plot, stored_attribution

convergence_plot()

# %% [markdown]
# **With few steps the sum can be anything:** 29 % of the gain with 4 steps and 167 % with 32 for the coffee, −27 % and
# 66 % for the astronaut. From 256 steps on, both are within 3 %. More steps need not be nearer each time. A map of
# integrated gradients without its sum is worth nothing: always compare the sum with the gain.

# %% [markdown]
# ## 3 · Four methods, four questions
#
# - **Integrated gradients:** how is the score's gain shared among the pixels? The mean gradient on a path. It depends
#   on the baseline, and is noisy.
# - **Layer GradCAM:** where in a deep map is what raises the score? The channels of one layer, weighted by gradients.
#   It is as coarse as the layer, and shows only what speaks *for* the score.
# - **Occlusion:** what is lost when this square is covered? Cover it, run again. One square at a time; and a covered
#   photo is unlike any that the network was trained on.
# - **Guided backprop:** which pixels excite units that excite the score? The gradient, with its negative parts cut off
#   at each ReLU. It needs ReLUs, and shows mostly edges.
#
# GradCAM in formulas: $A_c$ is channel $c$ of a layer, here of the squeeze module, and $w_c$ the mean of
# $\partial f / \partial A_c$ over its cells. The map is $\text{ReLU}(\sum_c w_c A_c)$, one number for each cell. We
# compute it with a hook and compare with captum.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from captum.attr import LayerGradCam

seen = prepare(model, coffee, size=(128, 192))
predicted = torch.from_numpy(capture(model, seen).mask)  # (H, W), soft
score = RegionScore(model, predicted)
kept = []
handle = model.squeeze.register_forward_hook(lambda module, inputs, output: kept.append(output))
value = score(seen.tensor)
handle.remove()
(gradient,) = torch.autograd.grad(value.sum(), kept[0])  # (1, C, h, w)
weights = gradient.mean(dim=(2, 3), keepdim=True)  # (1, C, 1, 1)
cam = (weights * kept[0]).sum(dim=1, keepdim=True).relu()
theirs = LayerGradCam(score, model.squeeze).attribute(seen.tensor, relu_attributions=True)
print("equal to 1e-5:", bool((cam - theirs).abs().max() <= 1e-5 * theirs.abs().max().clamp(min=1e-6)))

# %% [markdown]
# ### Two predictions
#
# `analysis.attribution.attribute` runs captum's methods on a region's score. We explain two predictions: the whole
# mask of the coffee cup, in which a part of the table is wrong (it is the network's failure case), and the astronaut's,
# inside a box around her head. Photos of 128 pixels in height, to save time.

# %%
from birefnet_lite.analysis.attribution import agreement, attribute, possible_methods

photo, astronaut_mask, _ = load_photo("astronaut")
person = prepare(model, photo, size=(128, 128))
box = torch.zeros(person.tensor.shape[-2:])
height, width = box.shape
box[: int(0.45 * height), int(0.28 * width) : int(0.6 * width)] = 1
head = torch.from_numpy(capture(model, person).mask) * box
predictions = {"coffee": (seen, predicted), "astronaut's head": (person, head)}

# %% [markdown]
# Every method that the backbone allows: guided backprop needs ReLUs, which Swin does not have. Integrated gradients are
# the stored ones, with 512 steps; the others are computed now.

# %%
maps = {}
for (name, (image, region)), stored in zip(predictions.items(), ("coffee", "astronaut")):
    maps[name, "integrated gradients"] = stored_attribution(stored).map
    for method in possible_methods(model)[1:]:
        maps[name, method] = attribute(model, image, method, region.numpy())

# %% [markdown]
# Drawn over the grey photo: red speaks for the score, blue against it.

# %%
import numpy as np
from matplotlib import colormaps

from birefnet_lite.course import side_by_side


def heat(values, pixels):
    """Attributions (H, W) and a photo (H, W, 3) to a picture (H, W, 3), uint8."""
    top = np.percentile(np.abs(values), 99) or 1
    colours = colormaps["RdBu_r"](0.5 + 0.5 * (values / top).clip(-1, 1))[..., :3]
    grey = pixels.mean(axis=2, keepdims=True) / 255
    return np.rint(255 * (0.35 * grey + 0.65 * colours)).astype(np.uint8)

# %% [markdown]
# The coffee. **Look:** which maps follow the *inside* of the object, which its *outline*? Does anything outside of it
# count?
#
# <details><summary>What you should see</summary>
#
# GradCAM covers the inside, in cells of 32 pixels. Guided backprop draws outlines, of the table's grain as well.
# Integrated gradients are speckled, red beside blue, inside and outside alike, and densest in the dark corner at the
# upper left. Occlusion has large squares of both colours: covering a piece of table changes the mask too.
#
# </details>

# %%
shown = {"photo": seen.seen} | {m: heat(maps["coffee", m], seen.seen) for m in possible_methods(model)}
side_by_side(shown, alt="A cup of coffee, and which pixels speak for its mask by each method, red on grey.")

# %% [markdown]
# The astronaut's head. **Look:** do the methods stay inside the box? What a network sees elsewhere may count too: the
# receptive field of a logit is the whole photo (section 4).
#
# <details><summary>What you should see</summary>
#
# No. Occlusion and guided backprop are strongest around the head, but all methods have values outside the box.
#
# </details>

# %%
shown = {"photo": person.seen} | {m: heat(maps["astronaut's head", m], person.seen) for m in possible_methods(model)}
side_by_side(shown, alt="The astronaut, and which pixels speak for the mask of her head by each method, red on grey.")

# %% [markdown]
# ### How well does it agree with the mask?
#
# Four numbers, on a toy by hand. The attribution is $\begin{pmatrix} 3 & 1 \\ 1 & -2 \end{pmatrix}$, and only the first
# pixel is in the mask.
#
# - **inside**: the part of what speaks for it that lies in the mask, $3 / (3 + 1 + 1) = 0.6$,
# - **lift**: that, over the mask's share of the pixels, $0.6 / 0.25 = 2.4$; 1 is chance,
# - **correlation** of the sizes $(3, 1, 1, 2)$ with the mask $(1, 0, 0, 0)$: $0.87$,
# - **hit**: 1, since the largest value lies in the mask.

# %% tags=["NBVAL_CHECK_OUTPUT"]
shares = np.array([[3.0, 1], [1, -2]])
print({name: round(value, 3) for name, value in agreement(shares, np.array([[1.0, 0], [0, 0]])).items()})

# %% [markdown]
# For our two predictions, against the hand-made masks. For the head that is the hand-made mask inside the box.
# Read a row before you go on: which methods are no better than chance, a lift of 1?

# %%
from PIL import Image


def fitted(mask, like):
    size = like.seen.shape[1::-1]
    return np.asarray(Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR)) / 255


truths = {"coffee": fitted(coffee_mask, seen), "astronaut's head": fitted(astronaut_mask, person) * box.numpy()}
for (name, method), values in maps.items():
    numbers = agreement(values, truths[name])
    print(f"{name:17} {method:21}" + "".join(f"  {key} {value:5.2f}" for key, value in numbers.items()))

# %% [markdown]
# **Read it.** For the coffee, GradCAM (lift 1.8) and guided backprop (1.7) agree with the hand-made mask. Integrated
# gradients (0.96) and occlusion (1.1) do no better than chance, and their largest value lies outside. That does not
# make them wrong. Integrated gradients are complete here, so they do say where the *score* comes from; and the score
# is that of the predicted mask, which takes in a piece of table. The explanation of a mistake need not agree with the
# truth.
#
# For the astronaut's head occlusion is best (3.7), then guided backprop (2.8) and integrated gradients (1.6). GradCAM
# is below chance (0.7): it has 4 × 4 cells, and the head is narrower than two of them. So no method is best twice, and
# a single number such as the lift does not rank them.
#
# ### A test of the methods themselves
#
# An explanation of a *trained* network should change when the training is taken away. We explain an untrained twin,
# and correlate the sizes of both maps, pixel by pixel. A method with a high number here shows the photo's edges rather
# than what the network has learned, however well it agrees with the mask.

# %%
with torch.random.fork_rng():
    torch.manual_seed(0)
    untrained = BiRefNet(model.config).eval()
for method in ("layer GradCAM", "guided backprop"):
    if method in possible_methods(model):
        twin = np.abs(attribute(untrained, seen, method, predicted.numpy())).ravel()
        print(f"{method:21} {np.corrcoef(twin, np.abs(maps['coffee', method]).ravel())[0, 1]:5.2f}")

# %% [markdown]
# About .25 and .11: both maps change when the training is taken away, so both show something of it.
#
# ### Play with it: click and draw
#
# The view explains the whole mask, the mask near a pixel that you click, or a region that you draw with Shift held.
# Its table has the four numbers. It computes integrated gradients while you wait, with 4 steps, so its map of them is
# no more than a sketch (see the curve above). Here somebody clicked on the spoon. **Look for two things:**
#
# 1. Does the map of *occlusion* change when you click elsewhere? It costs one run of the network for each square. Only
#    the method in front is computed again; the others follow when you choose them.
# 2. GradCAM has as many cells as the deepest map. How many of them make up the cup?
#
# <details><summary>What you should see</summary>
#
# 1. Yes: squares near the click matter most, since the score is now the logits there; some far away count too.
# 2. The deepest map has 4 × 6 cells of 32 × 32 pixels. Some eight of them are more cup than table.
#
# </details>

# %%
from widgets import attribution, static

view = attribution(model, coffee, coffee_mask.astype(float), size=(128, 192), steps=4)
view.layer = "occlusion"
view.pin = [366, 281]
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=800)

# %% [markdown]
# The second prediction, with a region drawn around the helmet. **Look:** which squares outside of the region count?
#
# <details><summary>What you should see</summary>
#
# Those above and beside it most, for it and against it; far ones a little. What surrounds the helmet decides whether it
# counts as part of the object.
#
# </details>

# %%
view = attribution(model, photo, astronaut_mask.astype(float), size=(128, 128), steps=4)
view.layer = "occlusion"
view.region = [320, 310, 500, 505]
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=800)

# %% [markdown]
# ## 4 · How far does it see?
#
# A unit of a deep map depends on a window of the photo, its **receptive field**. Along a chain of convolutions two
# numbers tell its size: $r$, the size in pixels, and $j$, the distance in pixels between neighbours of the map (its
# stride). The photo has $r = 1$, $j = 1$. A layer with kernel $k$, stride $s$ and dilation $d$ (its cells lie $d$
# apart) reaches $(k - 1) \, d$ cells further, and these lie $j$ pixels apart:
#
# $$r \leftarrow r + (k - 1) \, d \, j \qquad \text{and then} \qquad j \leftarrow j \cdot s$$
#
# By hand, for the first three layers of `nano`'s backbone, 3 × 3 each, with strides 2, 2 and 1:
#
# | layer | $r$ | $j$ |
# |---|---|---|
# | photo | 1 | 1 |
# | 3 × 3, stride 2 | 1 + 2 · 1 = 3 | 2 |
# | 3 × 3, stride 2 | 3 + 2 · 2 = 7 | 4 |
# | 3 × 3, stride 1 | 7 + 2 · 4 = 15 | 4 |
#
# ### Exercise 2 · A chain
#
# *Difficulty ★☆☆ · 6 minutes.* For any chain.

# %% tags=["exercise"]
def chain_field(layers):
    """The receptive field of one cell behind a chain of convolutions.

    layers: a list of (kernel, stride, dilation), from the photo on; it may be empty. Returns (size, stride) in pixels.
    """
    # <solution>
    size, stride = 1, 1
    for kernel, step, dilation in layers:
        size += (kernel - 1) * dilation * stride
        stride *= step
    return size, stride
    # </solution>

# %% [markdown]
# The check has dilated kernels, and a chain without any layer.

# %% tags=["NBVAL_CHECK_OUTPUT"]
field_checked = checks.chain_field(chain_field)
field_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two numbers go through the list, and the order of the two updates matters: a layer reads its input at the *old*
# distance.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Start both at 1. For each layer: the size grows by the kernel less one, times the dilation, times the distance. Then
# the distance is multiplied by the layer's stride.
#
# </details>

# %% [markdown]
# ### Brute force agrees
#
# Chains with weights of one: the gradient of one cell is not zero exactly where that cell sees. Where the exercise is
# not solved, the same numbers are found walking back, from the cell to the photo.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def walk_back(layers):
    size, stride = 1, 1
    for kernel, step, dilation in reversed(layers):
        size, stride = (size - 1) * step + (kernel - 1) * dilation + 1, stride * step
    return size, stride


field = chain_field if field_checked.passed else walk_back
for layers in [[(3, 2, 1)] * 2 + [(3, 1, 1)], [(7, 2, 1), (3, 1, 3)], [(2, 2, 1), (5, 1, 2), (3, 2, 1)]]:
    line = torch.zeros(1, 1, 151, requires_grad=True)
    x = line
    for kernel, stride, dilation in layers:
        x = torch.conv1d(x, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    (gradient,) = torch.autograd.grad(x[0, 0, x.shape[2] // 2], line)
    reached = gradient[0, 0].nonzero()
    print(field(layers), "equal:", int(reached.max() - reached.min()) + 1 == field(layers)[0])

# %% [markdown]
# ### The backbone's
#
# The four levels of `nano`'s backbone: the longest way, through both convolutions of each residual block.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.backbone import build_backbone

stages = build_backbone("convnet_n").stages
for level in (1, 2, 3, 4):
    convs = [m for stage in stages[:level] for m in stage.modules() if isinstance(m, torch.nn.Conv2d)]
    layers = [(conv.kernel_size[0], conv.stride[0], conv.dilation[0]) for conv in convs]
    print(f"x{level}: {len(layers):2} convolutions, (size, stride) = {field(layers)}")

# %% [markdown]
# On the half-size photo the same convolutions see twice as far to each side, four times as many of the photo's pixels:
# that is what the second pass is for. And the squeeze module has a branch that takes the mean over the whole map.
# Behind it, every unit *can* see the whole photo.
#
# ### The effective field
#
# *Can see* is not *does see*. In the middle of the window more ways lead to the cell than at its border. Three kernels
# (1, 1, 1), one after another: how often does each pixel arrive?

# %% tags=["NBVAL_CHECK_OUTPUT"]
line = torch.zeros(1, 1, 7, requires_grad=True)
x = line
for _ in range(3):
    x = torch.conv1d(x, torch.ones(1, 1, 3))
torch.autograd.grad(x.sum(), line)[0].flatten()

# %% [markdown]
# Almost a bell. For random weights the effective field grows as the *square root* of the depth, the theoretical one
# with the depth (Luo et al., 2016). `receptive_field` measures both on a photo, by the size of the gradient.

# %%
from birefnet_lite.analysis.receptive import receptive_field

for layer in ("encoder.full.x1", "encoder.full.x2", "encoder.half.x2", "decoder.stage4.reconstruction"):
    x = capture(model, coffee, size=(256, 384), layers=[layer])[layer]
    found = receptive_field(model, coffee, layer, x.shape[1] // 2, x.shape[2] // 2, size=(256, 384))
    top, left, bottom, right = found.box
    print(f"{layer:30} {bottom - top:3} x {right - left:3} ({found.status}), 90 % within {found.spread:5.1f} pixels")

# %% [markdown]
# How is the gradient spread inside the box? Drawn as it is, a few pixels set the scale and the rest is black; so
# beside it is the fourth root, which keeps the order and lifts what is small.

# %%
found = receptive_field(model, coffee, "encoder.full.x3", 8, 12, size=(256, 384))
side_by_side(
    {"photo": prepare(model, coffee, size=(256, 384)).seen, "effective field": found.effective}
    | {"its fourth root": found.effective**0.25},
    alt="A cup of coffee; two faint spots on black; and a soft bright patch in the middle that fades to black.",
)

# %% [markdown]
# Most of the box is nearly dark: the cell *can* see there and hardly does.
#
# **Play with it.** Choose a layer, click a cell. **Look:** how much of the box is filled at level 3, and does the
# effective field follow the objects?
#
# <details><summary>What you should see</summary>
#
# A patch in the middle, a fraction of the box's width. It is lumpy rather than a clean bell: where the photo has edges,
# units are on and gradients pass; in plain areas many ReLUs are off. So it does follow the objects' edges.
#
# </details>

# %%
from widgets import receptive_field as field_view

view = field_view(model, coffee, size=(256, 384))
view.pin = [300, 200]
view.layer = "field"
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=800)

# %% [markdown]
# ## 5 · What is lost without it?
#
# A **forward hook** is a function that PyTorch calls with a module, its inputs and its output. What it returns takes
# the place of the output. So any part can be switched off from outside, without changing the network.
#
# A hook that is left behind is a mistake that is hard to find: the network is quietly another one from then on. So it
# has to go, *also when something raises an error*.
#
# ### Exercise 3 · Switched off
#
# *Difficulty ★★☆ · 12 minutes.*

# %% tags=["exercise"]
def without_part(model, part, image):
    """What the model gives for the image while the output of one of its parts is 0.

    part: a submodule of the model whose output is a tensor. Returns model(image), with its gradients. Afterwards the
    model is as it was, with the hooks that others have set, also when it raises an error; the error passes through.
    """
    # <solution>
    handle = part.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    try:
        return model(image)
    finally:
        handle.remove()
    # </solution>

# %% [markdown]
# The check also has a network that fails, and a hook of somebody else.

# %% tags=["NBVAL_CHECK_OUTPUT"]
off_checked = checks.without_part(without_part)
off_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `register_forward_hook` gives a handle, and the handle can remove just this hook. Which statement of Python runs at
# the end, whatever happens before?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Register a function of three arguments that returns zeros in the shape of its third. Then try: the model on the
# image, returned. And finally: the handle's `remove`.
#
# </details>

# %% [markdown]
# ### Equality
#
# The package's `ablate` does the same for layers by name, for single channels, and in other ways than zero. On the
# strange network from above and on the trained one, for several parts and sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.analysis.ablate import ablatable, ablate

parts = ("squeeze", "decoder.stage3.lateral", "decoder.stage2.reconstruction")
for network, shape in [(strange, (1, 3, 64, 64)), (strange, (2, 3, 32, 96)), (model, (1, 3, 128, 64))]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(next(network.parameters()).dtype)
    for name in parts:
        with torch.inference_mode():
            with ablate(network, name):
                theirs = network(x).logits
            ours = without_part(network, network.get_submodule(name), x).logits if off_checked.passed else theirs
        print(shape, f"{name:30} equal to 1e-6:", bool((ours - theirs).abs().max() <= 1e-6))

# %% [markdown]
# ### Zero is not nothing
#
# What should stand in for a part? Zeros are values like others, and a network that never saw a map of zeros may do
# anything. `mean` keeps each channel's mean, `resample` all its values, in other places: the layer still says *what*,
# no more *where*. Gradient attention multiplies, so that its neutral value is 1, not 0.
#
# Each part of the network off in turn, for the coffee: how far the mask moves, on average. **Look** for parts whose
# two numbers differ much, and compare the deep levels with the fine ones, the whole photo with the half-size one.
#
# <details><summary>What you should see</summary>
#
# - The lateral block of stage 3 is the extreme case: with zeros in its place the mask moves by .49, with its own values
#   shuffled by .08. So *zero* shocks the network more than wrong places do: what it misses is the size of the numbers.
# - The whole photo matters more than the half-size one at every level, most at level 2 (.25 against .12).
# - Inward references move the mask by .004 to .018, the image branch by .002, gradient attentions by 0 to .015 (and for
#   these, zero is no neutral value). They are the parts that gave the network its name, and this trained network hardly
#   uses them.
#
# </details>

# %%
def moved(layer, how):
    with torch.inference_mode(), ablate(model, layer, how=how):
        mask = model(seen.tensor).logits[0, 0].sigmoid()
    return float((mask - predicted).abs().mean())


print(f"{'off':34}   zero  resample")
for layer in ablatable(model):
    print(f"{layer:34} {moved(layer, 'zero'):6.3f}    {moved(layer, 'resample'):6.3f}")

# %% [markdown]
# Mind what this says. It says what the **trained** network loses when a part is torn out. Whether a network that was
# *trained without* the part would be worse is another question, and only training answers it. Put the two answers
# beside each other:
#
# | part | torn out of the trained network (here, 06) | never trained (08: three seeds, short runs) |
# |---|---|---|
# | inward reference | mask moves by .004 to .018; IoU −.005 to +.003 | S-measure −.011 ± .005 |
# | gradient attention | 0 to .015 | −.005 ± .006 (with its loss), no answer |
#
# So the tiles help a small network to learn quickly, and are of little use to it in the end: nothing in that is a
# contradiction. But with three seeds and runs of a minute or two it is a hint and no proof; a network trained to
# convergence without them would tell, and nobody has trained one here.
#
# ### Play with it
#
# Switch parts off and see the mask, its change, and its scores. **Look for two things:**
#
# 1. Switch off all of `encoder.half`, then all of `encoder.full`. Which of the two finds the object, which the
#    outline?
# 2. Switch off `decoder.stage4.gradient_attention` alone, then the attention of stages 3 and 2 too.
#
# <details><summary>What you should see</summary>
#
# 1. At 256 × 384 pixels, the motorcycle's IoU is .778. Without the half-size photo it is .571, without the whole one 0:
#    nothing is left. The astronaut goes from .931 to .934 and to 0. So the whole photo does both here, and the
#    half-size one helps with large objects; on the cat either will do (.890 and .865 against .981).
# 2. Nothing, to three digits; with all three off, .774 instead of .778.
#
# </details>

# %%
from widgets import ablation

machine, machine_mask, _ = load_photo("motorcycle")
view = ablation(model, machine, machine_mask.astype(float))
view.ablated = [f"encoder.half.x{level}" for level in (1, 2, 3, 4)]
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=800)

# %% [markdown]
# ## 6 · The table
#
# Explaining adds no parameters. These are the parts that can be switched off, and what they have.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

part_table(model, (256, 384), upto="10")

# %% [markdown]
# ## What to remember
#
# - An attribution explains **one number**. Say which: a region of the mask.
# - **Completeness**: integrated gradients add up to what the score gains over the baseline. Gradients and occlusion do
#   not.
# - **Agreement with the mask is not proof.** Explain an untrained network too.
# - $r \leftarrow r + (k - 1) \, d \, j$, then $j \leftarrow j \cdot s$: what a unit *can* see. What it *does* see is
#   smaller.
# - **Hooks come off in a `finally`.** And an ablation tells what this trained network relies on, not what training
#   needs.

# %% [markdown]
# ## Three questions
#
# **1. The pixels of a white cup get almost nothing from integrated gradients when the baseline is a white image.
# Why?**
#
# - a) The network does not look at the cup.
# - b) White saturates the network, so its gradients vanish.
# - c) Where image and baseline are equal, the factor $x - b$ is 0.
#
# <details><summary>Answer</summary>
#
# **c.** Whatever the gradient, it is multiplied by the way, and there is no way to go. A pixel that looks like the
# baseline cannot get a share. So the choice of baseline is part of the question that is asked.
#
# </details>

# %% [markdown]
# **2. Four convolutions of 3 × 3 with stride 1, or one of 3 × 3 with dilation 4: which sees further?**
#
# - a) Both the same: 9 pixels.
# - b) The four: 81 pixels.
# - c) The dilated one: 12 pixels.
#
# <details><summary>Answer</summary>
#
# **a.** $1 + 4 \cdot 2 = 9$ and $1 + 2 \cdot 4 = 9$. The kernel with dilation looks at 9 of the 81 cells in its window,
# the four convolutions at all of them, most often at the middle.
#
# </details>

# %% [markdown]
# **3. You switch a lateral block off and the mask hardly changes. May it go?**
#
# - a) Yes: it does nothing.
# - b) On this photo the mask hardly needs it. Other photos, and training, may.
# - c) No: every parameter matters.
#
# <details><summary>Answer</summary>
#
# **b.** One photo is one photo; two parts can also stand in for each other, so that each alone is not missed. And a
# part can help *training* without being needed afterwards, as the side outputs do.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | attribution | – | – | `analysis/attribution.py`, with captum |
# | receptive fields | reconstruction block: kernels 1, 3, 7 | `modules/aspp.py` | `analysis/receptive.py` |
# | switching off | ablation studies, each trained anew | flags in `config.py` | `analysis/ablate.py` |
#
# **Paper and code.** The paper's ablations are networks *trained* without a part; ours switch parts of one network
# off. The original once switched its gradient attention off outside of training; masks became worse, and the next day
# it was back: a network relies on what it was trained with. Some ablations cannot be run with the original's code at
# all: without the inward reference (`dec_ipt=False`) it fails.
#
# Integrated gradients: Sundararajan et al., 2017, [arXiv:1703.01365](https://arxiv.org/abs/1703.01365). GradCAM:
# Selvaraju et al., 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391). Occlusion: Zeiler and Fergus, 2014,
# [arXiv:1311.2901](https://arxiv.org/abs/1311.2901). Guided backprop: Springenberg et al., 2015,
# [arXiv:1412.6806](https://arxiv.org/abs/1412.6806). The test with an untrained network: Adebayo et al., 2018,
# [arXiv:1810.03292](https://arxiv.org/abs/1810.03292). Effective fields: Luo et al., 2016,
# [arXiv:1701.04128](https://arxiv.org/abs/1701.04128). captum: Kokhlikyan et al., 2020,
# [arXiv:2009.07896](https://arxiv.org/abs/2009.07896).
