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
# **Time:** 75 minutes, 42 of them for the exercises. **You need:** notebook 00, and gradients in PyTorch.

# %% [markdown]
# ## 1 · An explanation that does not add up
#
# The network finds the astronaut's head. What in the photo makes it so sure? To ask, one needs *one number*. A
# classifier has such a number, the logit of a class. A mask has thousands of logits, so we choose: the **score** is the
# mean logit in a *region*, here her predicted head with the collar. Above 0 the network says *object*.

# %%
import numpy as np
import torch

from birefnet_lite.analysis import capture, prepare
from birefnet_lite.course import course_model, side_by_side
from birefnet_lite.photos import load_photo


class RegionScore(torch.nn.Module):
    """Images (B, 3, H, W) to their mean logit in a region (H, W), soft or hard: (B,)."""

    def __init__(self, model, region):
        super().__init__()
        self.model, self.region = model, region

    def forward(self, images):
        logits = self.model(images).logits[:, 0]  # (B, H, W)
        return (logits * self.region).sum(dim=(1, 2)) / self.region.sum()

# %% [markdown]
# The photo at a small size, to save time; the image without content has the mean colour of ImageNet everywhere.

# %%
course = course_model()
model = course.model
photo, by_hand, _ = load_photo("astronaut")
person = prepare(model, photo, size=(128, 128))  # small, to save time
zero = torch.zeros_like(person.tensor)  # the mean colour of ImageNet: an image without content
person_mask = torch.from_numpy(capture(model, person).mask)  # (128, 128), soft
box = torch.zeros(128, 128)
box[: int(0.45 * 128), int(0.28 * 128) : int(0.6 * 128)] = 1
score = RegionScore(model, person_mask * box)
with torch.no_grad():
    of_photo, of_nothing = float(score(person.tensor)), float(score(zero))
gain = of_photo - of_nothing
print(f"{course.notice}\nscore {of_photo:.2f}, of an image without content {of_nothing:.2f}")

# %% [markdown]
# Somebody asks captum, PyTorch's library of attribution methods, for **integrated gradients**. They give each pixel a
# share in the score, and promise that all shares add up to what the score gains over the image without content. In four
# steps, to save time. Red speaks for the head, blue against it.

# %%
from captum.attr import IntegratedGradients
from matplotlib import colormaps


def heat(values, pixels):
    """Attributions (H, W) and a photo (H, W, 3) to a picture (H, W, 3), uint8."""
    top = np.percentile(np.abs(values), 99) or 1
    colours = colormaps["RdBu_r"](0.5 + 0.5 * (values / top).clip(-1, 1))[..., :3]
    grey = pixels.mean(axis=2, keepdims=True) / 255
    return np.rint(255 * (0.35 * grey + 0.65 * colours)).astype(np.uint8)


def by_captum(score, image, baseline, steps):
    method = IntegratedGradients(score)
    return method.attribute(image, baseline, n_steps=steps, method="riemann_middle", internal_batch_size=1)


four_steps = by_captum(score, person.tensor, zero, 4)[0].sum(dim=0).numpy()  # (128, 128), summed over colours
print(f"the score gains {gain:.2f}; the shares add up to {four_steps.sum():.2f}, {four_steps.sum() / gain:.0%} of it")
side_by_side(
    {"photo": person.seen, "the region": score.region.numpy(), "who speaks for it?": heat(four_steps, person.seen)},
    alt="The astronaut; her head in white on black; and specks of red and blue all over the photo, most near it.",
    width=7,
)

# %% [markdown]
# Minus 27 %! Taken together, the pixels would speak *against* a head of which the network is sure. The map looks like
# any other, and nothing about it says that its sum is wrong. Section 2 asks how many steps it takes; section 6 has the
# picture again.
#
# On the map no part is marked: what is explained here is the whole network, from the photo to the mask.

# %%
from birefnet_lite.course import network_map

network_map("10")

# %% [markdown]
# ## 2 · Which pixels?
#
# An attribution gives each pixel its share in the score.
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
# The toy goes through it, yours or captum's; what we call the midpoint rule is captum's `riemann_middle`.

# %% tags=["NBVAL_CHECK_OUTPUT"]
integrate = integrated_gradients if path_checked.passed else by_captum
toy = torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)
integrate(lambda x: x[:, 0, 0, 0] * x[:, 1, 0, 0], toy, torch.zeros_like(toy), 4).flatten()

# %% [markdown]
# ### Equality
#
# On a whole network with random weights, biases and batch-norm statistics, at two sizes, your numbers are captum's.
# In float64, so that only mistakes can differ.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import BiRefNet
from birefnet_lite.course.checks.weights import randomise

strange = randomise(BiRefNet(model.config)).double().eval()
for height, width in [(32, 32), (32, 64)]:
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
    whole = RegionScore(strange, torch.ones(height, width, dtype=torch.float64))
    ours, theirs = (by(whole, x, torch.zeros_like(x), 2) for by in (integrate, by_captum))
    print((height, width), "equal to 1e-6:", bool((ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()))

# %% [markdown]
# ### Completeness, on a photo
#
# So captum computed what it should: four gradients. Would more help? The head again, with eight steps, and
# a **prediction** first: will the shares add up to the gain?

# %%
shares = integrate(score, person.tensor, zero, 8)
print(f"8 steps: they add up to {float(shares.sum()):.2f}, {float(shares.sum()) / gain:.0%} of the gain")

# %% [markdown]
# 26 %. That is not complete either: completeness holds for the integral, and a sum of few steps is a poor one here. A
# network with ReLUs is not smooth, and units switch on and off along the path. So how many steps does it take? The
# answer is stored with the course, for two predictions that section 3 explains; `benchmarks/attributions.py` computed
# it in some minutes. The green band is 5 % around the gain.

# %%
from birefnet_lite.course.attributions import convergence_plot, stored_ablation, stored_attribution, stored_map

convergence_plot()

# %% [markdown]
# **With few steps the sum can be anything:** 29 % of the gain with 4 steps and 167 % with 32 for the coffee, −27 % with
# 4 and 145 % with 16 for the astronaut. From 256 steps on, both are within 3 %. More steps need not be nearer each
# time. A share that is read from such a map is worth nothing unless the map's sum is the gain: always compare the two.

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

kept = []
handle = model.squeeze.register_forward_hook(lambda module, inputs, output: kept.append(output))
value = score(person.tensor)
handle.remove()
(gradient,) = torch.autograd.grad(value.sum(), kept[0])  # (1, C, h, w)
weights = gradient.mean(dim=(2, 3), keepdim=True)  # (1, C, 1, 1)
cam = (weights * kept[0]).sum(dim=1, keepdim=True).relu()
theirs = LayerGradCam(score, model.squeeze).attribute(person.tensor, relu_attributions=True)
print("equal to 1e-5:", bool((cam - theirs).abs().max() <= 1e-5 * theirs.abs().max().clamp(min=1e-6)))

# %% [markdown]
# ### Two predictions
#
# `analysis.attribution.attribute` runs captum's methods on a region's score. We explain two predictions: the
# astronaut's head, and the whole mask of the coffee cup, in which a part of the table is wrong. The coffee is the
# network's failure case.

# %%
from birefnet_lite.analysis.attribution import agreement, attribute, possible_methods

coffee, coffee_mask, _ = load_photo("coffee")
cup = prepare(model, coffee, size=(128, 192))
predictions = {"head": (person, person_mask * box), "coffee": (cup, torch.from_numpy(capture(model, cup).mask))}

# %% [markdown]
# Every method that the backbone allows: guided backprop needs ReLUs, which Swin does not have. Integrated gradients are
# the stored ones, with 512 steps; the others are computed now for the head, and stored for the coffee.

# %%
maps = {("head", "integrated gradients"): stored_attribution("astronaut").map}
image, region = predictions["head"]
for method in possible_methods(model)[1:]:
    maps["head", method] = attribute(model, image, method, region.numpy(), patch=4)
maps |= {("coffee", method): stored_map(method) for method in possible_methods(model)}

# %% [markdown]
# The astronaut's head. **Look:** do the methods stay inside the box? What a network sees elsewhere may count too: the
# receptive field of a logit is the whole photo (section 4).
#
# <details><summary>What you should see</summary>
#
# No. Guided backprop and the darkest square of occlusion are at the head, GradCAM is strongest at the right border, and
# integrated gradients have specks all over the wall. All methods have values outside the box.
#
# </details>

# %%
shown = {"photo": person.seen} | {m: heat(maps["head", m], person.seen) for m in possible_methods(model)}
alt = "The astronaut, and which pixels speak for the mask of her head by each method, red on grey."
side_by_side(shown, alt, width=8)

# %% [markdown]
# The coffee, the failure case. **Look:** which maps follow the *inside* of the object, which its *outline*? Does
# anything outside of it count?
#
# <details><summary>What you should see</summary>
#
# GradCAM covers the inside, in cells of 32 pixels. Guided backprop draws outlines, of the table's grain as well.
# Integrated gradients are speckled, red beside blue, inside and outside alike, and densest in the dark corner at the
# upper left. Occlusion has large squares of both colours: covering a piece of table changes the mask too.
#
# </details>

# %%
shown = {"photo": cup.seen} | {m: heat(maps["coffee", m], cup.seen) for m in possible_methods(model)}
side_by_side(shown, "A cup of coffee, and which pixels speak for its mask by each method, red on grey.", width=8)

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
toy = np.array([[3.0, 1], [1, -2]])
print({name: round(value, 3) for name, value in agreement(toy, np.array([[1.0, 0], [0, 0]])).items()})

# %% [markdown]
# For our two predictions, against the hand-made masks. For the head that is the hand-made mask inside the box.
# **Predict** before you run it: is the method that agrees best with one of them the best for the other, too?

# %%
from PIL import Image


def fitted(mask, like):
    size = like.seen.shape[1::-1]
    return np.asarray(Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BILINEAR)) / 255


truths = {"head": fitted(by_hand, person) * box.numpy(), "coffee": fitted(coffee_mask, cup)}
for (name, method), values in maps.items():
    numbers = agreement(values, truths[name])
    print(f"{name:7} {method:21}" + "".join(f"  {key} {value:5.2f}" for key, value in numbers.items()))

# %% [markdown]
# **Read it.** For the head occlusion is best (lift 5.0), then guided backprop (2.8) and integrated gradients (1.6).
# Occlusion and integrated gradients have their largest value in her head. GradCAM is below chance (0.7): it has 4 × 4
# cells, and the head is narrower than two of them.
#
# For the coffee, GradCAM (1.8) and guided backprop (1.7) agree with the hand-made mask. Integrated gradients (0.96) and
# occlusion (1.1) do no better than chance. That does not make them wrong. Integrated gradients are complete here, so
# they do say where the *score* comes from; and the score is that of the predicted mask, which takes in a piece of
# table. The explanation of a mistake need not agree with the truth. So the best method for the head is near chance for
# the coffee, and the lift does not rank methods.
#
# ### A test of the methods themselves
#
# An explanation of a *trained* network should change when the training is taken away. We explain the same region in an
# untrained twin, and correlate the sizes of both maps, pixel by pixel. A method with a high number here shows
# the photo's edges rather than what the network has learned, however well it agrees with the mask.

# %%
with torch.random.fork_rng():
    torch.manual_seed(0)
    untrained = BiRefNet(model.config).eval()
image, region = predictions["head"]
for method in ("layer GradCAM", "guided backprop"):
    if method in possible_methods(model):
        twin = np.abs(attribute(untrained, image, method, region.numpy())).ravel()
        print(f"head    {method:21} {np.corrcoef(twin, np.abs(maps['head', method]).ravel())[0, 1]:5.2f}")

# %% [markdown]
# −.35 and .34: both maps change when the training is taken away, so both show something of it. Guided backprop keeps
# more; a part of what it draws are edges that any network would draw.
#
# ### Exercise 2 · The worst square
#
# *Difficulty ★★☆ · 12 minutes, open.* Occlusion tries a grid of squares. But a square may lie anywhere: where does
# covering one cost the mask most? You have **50 images** to show to the score, and the score counts: yours must cost at
# least 1.05 times as much as the best of the 16 squares of a grid. To cover is to set to 0. Any way is right, also
# gradients and luck.

# %% tags=["exercise"]
def worst_square(score, image, side, runs):
    """The top-left corner, (row, column), of the square of the image whose loss costs the score most.

    score: takes images (B, 3, H, W), gives one number for each, (B,); it may see `runs` images in all. image:
    (1, 3, H, W). side: of the square, in pixels; it lies inside the image.
    """
    # <solution>
    height, width = image.shape[-2:]

    def lowest(corners):
        covered = image.repeat(len(corners), 1, 1, 1)
        for one, (row, column) in zip(covered, corners):
            one[:, row : row + side, column : column + side] = 0
        with torch.no_grad():
            return corners[int(score(covered).argmin())]

    rows, columns = range(0, height - side + 1, side), range(0, width - side + 1, side)
    row, column = lowest([(row, column) for row in rows for column in columns])
    for step in (side // 4, side // 8):  # smaller and smaller moves that stay inside
        moves = [(row + i, column + j) for i in (-step, 0, step) for j in (-step, 0, step)]
        row, column = lowest([(i, j) for i, j in moves if 0 <= i <= height - side and 0 <= j <= width - side])
    return row, column
    # </solution>


# %% [markdown]
# The check tries the astronaut and the cat at 96 × 96 pixels, and counts the images.

# %% tags=["NBVAL_CHECK_OUTPUT"]
square_checked = checks.worst_square(worst_square)
square_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Sixteen of the fifty go for the grid. Then you know roughly where to look, and have 34 left.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Move the best square by a quarter of its side in all eight directions; from the best of these nine by an eighth. That
# is 16 + 18 images. Make a batch of covered copies, show it to the score at once, and take the lowest.
#
# </details>

# %% [markdown]
# On the cat: what the best square of the grid does to her mask, and what yours does.

# %%
from birefnet_lite.course.masks import score as iou_of


def cover(image, corner, side):
    """The image (..., H, W) without its square."""
    image = image.clone()
    image[..., corner[0] : corner[0] + side, corner[1] : corner[1] + side] = 0
    return image


def best_of_grid(score, image, side, runs):
    places = range(0, image.shape[-1], side)
    corners = [(row, column) for row in places for column in places]
    with torch.no_grad():
        return corners[int(score(torch.cat([cover(image, corner, side) for corner in corners])).argmin())]


def worst_of_all(score, image, side, runs):
    """Yours, or the best of the grid, which is known already, where the exercise is not solved."""
    return worst_square(score, image, side, runs) if square_checked.passed else corners["grid"]

# %% [markdown]
# Each finds its square; the network makes a mask of what is left.

# %%
picture, cat_mask, _ = load_photo("chelsea")
cat = prepare(model, picture, size=96)
whole = RegionScore(model, torch.from_numpy(capture(model, cat).mask))
finders, corners = {"grid": best_of_grid, "yours": worst_of_all}, {}
shown = {"photo": cat.seen, f"IoU {iou_of(whole.region.numpy(), cat_mask):.3f}": whole.region.numpy()}
for name, find in finders.items():
    corner = corners[name] = find(whole, cat.tensor, 24, 50)
    with torch.no_grad():
        lost = float(whole(cat.tensor) - whole(cover(cat.tensor, corner, 24)))
        mask = model(cover(cat.tensor, corner, 24)).logits[0, 0].sigmoid().numpy()
    print(f"{name:5} at {corner}: the score loses {lost:.2f}")
    shown[name] = cover(torch.tensor(cat.seen).movedim(-1, 0), corner, 24).movedim(0, -1).numpy()
    shown[f"{name}: IoU {iou_of(mask, cat_mask):.3f}"] = mask
side_by_side(
    shown,
    alt="The cat and her mask; with the black square of the grid over her cheek, and a mask with a hole; and with that "
    f"of yours, at row {corner[0]} and column {corner[1]}, and its mask.",
    width=8.5,
)

# %% [markdown]
# In the solved edition the square lies three pixels lower and six to the left; it costs 1.73 instead of 1.30, and the
# IoU falls to .408 instead of .503. It covers the ridge of her nose, below the eyes. What an attribution finds
# depends on where its grid happens to lie.

# %% [markdown]
# ### Play with it: draw a region
#
# The view explains the whole mask, the mask near a pixel that you click, or a region that you draw after pressing
# *Region*. Its table has the four numbers. Integrated gradients and occlusion start with an estimate and refine it
# while you watch; the note under a map says how far it is, and what share of the gain it holds. Here a region is drawn
# around the helmet. **Look for two things:**
#
# 1. In the map of *occlusion*: which squares outside of the region count?
# 2. Choose *Integrated gradients* and follow its note. Does each further step come nearer to 100 %?
#
# <details><summary>What you should see</summary>
#
# 1. Her arm at the upper left of the region counts for it, and most others count a little, for it or against it. At
#    this size the network finds the white rim of the helmet alone. All squares add up to 38 % of the gain; occlusion
#    does not promise 100.
# 2. No: the sum is −140 % of the gain after two steps, −56 % after four and −4 % after all eight. For this score, too,
#    eight steps are far too few.
#
# </details>

# %%
from widgets import attribution, static

view = attribution(model, photo, by_hand.astype(float), size=(96, 96), steps=8)
view.region = [320, 310, 500, 505]
view.layer = "occlusion"
view

# %% [markdown]
# The same view as a still picture, drawn while occlusion is being refined.

# %%
static(view, width=700)

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
# ### Exercise 3 · A chain
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

SIZE = (128, 192)
layers = ["encoder.full.x1", "encoder.full.x2", "encoder.half.x2", "decoder.stage4.reconstruction"]
found = capture(model, picture, size=SIZE, layers=layers)
for layer in layers:
    x = found[layer]
    field_found = receptive_field(model, picture, layer, x.shape[1] // 2, x.shape[2] // 2, size=SIZE)
    top, left, bottom, right = field_found.box
    size = f"{bottom - top:3} x {right - left:3} ({field_found.status})"
    print(f"{layer:30} {size:26} 90 % within {field_found.spread:5.1f} pixels")

# %% [markdown]
# A cell of level 1 can see 39 × 39 pixels, and nine tenths of its gradient lie within 12.8 pixels of the middle. Stage
# 4 can see the whole photo, and nine tenths of its gradient lie within 91 pixels: nearly all of it.
#
# How is the gradient spread inside the box? Drawn as it is, a few pixels set the scale and the rest is black; so
# beside it is the fourth root, which keeps the order and lifts what is small.

# %%
LARGE = (192, 288)
field_found = receptive_field(model, picture, "encoder.full.x3", 6, 9, size=LARGE)
side_by_side(
    {"photo": prepare(model, picture, size=LARGE).seen, "effective field": field_found.effective}
    | {"its fourth root": field_found.effective**0.25},
    alt="A cat; a few faint specks on black; and a soft bright patch in the middle that fades to black.",
    width=6.5,
)

# %% [markdown]
# Most of the box is nearly dark: the cell *can* see there and hardly does.
#
# **Play with it.** The view opens at level 2: the box is what the cell can see, the circle holds nine tenths of what it
# does see. **Look:** how wide is the circle against the box? Then click in plain fur and on an eye: does the effective
# field stay a clean bell?
#
# <details><summary>What you should see</summary>
#
# Less than half as wide: with a radius of 24.8 pixels it is 50 pixels wide, in a box of 111. And no: it is lumpy. Where
# the photo has edges, units are on and gradients pass; in plain areas many ReLUs are off.
#
# </details>

# %%
from widgets import receptive_field as field_view

view = field_view(model, picture, size=SIZE)
view.pin = [225, 150]
view.layer = "field"
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=700)

# %% [markdown]
# ## 5 · What is lost without it?
#
# A **forward hook** is a function that PyTorch calls with a module, its inputs and its output. What it returns takes
# the place of the output. So any part can be switched off from outside, without changing the network.
#
# A hook that is left behind is a mistake that is hard to find: the network is quietly another one from then on. So it
# has to go, *also when something raises an error*.
#
# ### Exercise 4 · Switched off
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
for network, shape in [(strange, (2, 3, 32, 64)), (model, (1, 3, 96, 64))]:
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
# no more *where*. Gradient attention multiplies, so `ablate` takes 1 for it, and not 0.
#
# Each map of the encoder and each lateral block off in turn, for the astronaut: how far the mask moves, on average.
# **Look** for parts whose two numbers differ much, and compare the deep levels with the fine ones, the whole photo with
# the half-size one.
#
# <details><summary>What you should see</summary>
#
# - The lateral block of stage 2 and level 3 of the whole photo are the extreme cases: with zeros the mask moves by .59
#   and .27, with their own values shuffled by .17 and .07. So *zero* shocks the network more than wrong places do.
# - The deepest level matters least, .05 and .015 with zeros; the other levels of the whole photo move the mask by .24
#   or more.
# - The whole photo matters more than the half-size one at every level, most at level 3 (.27 against .05).
#
# </details>

# %%
from birefnet_lite.analysis.ablate import mask_without


def moved(layer, how):
    return float(np.abs(mask_without(model, small, [layer], how) - whole_mask).mean())


small = prepare(model, photo, size=(96, 96))
whole_mask = capture(model, small).mask
print(f"{'off':34}   zero  resample")
for layer in ablatable(model):
    if "encoder" in layer or "lateral" in layer:
        print(f"{layer:34} {moved(layer, 'zero'):6.3f}    {moved(layer, 'resample'):6.3f}")

# %% [markdown]
# ### Switched off, and never trained
#
# Mind what this says. It says what the **trained** network loses when a part is switched off. Whether a network that
# was *trained without* the part would be worse is another question, and only training answers it. Notebooks 06 and 08
# have asked it with short runs. Here both answers stand side by side, in the same score, the S-measure: a part
# switched off in the trained network, mean and standard deviation of the change over the course's four photos
# (stored, as the integrated gradients are); and `nano` trained without it, against the full network with the same
# seed, over three seeds.

# %%
import statistics

from birefnet_lite.course.ablations import ablation_changes

for change in ablation_changes("s_measure", ["no inward reference", "no outward reference", "one scale"]):
    lost = stored_ablation(change.variant)  # a number for each photo
    print(
        f"{change.variant:21} switched off {statistics.mean(lost):+.3f} ± {statistics.stdev(lost):.3f} (4 photos)"
        f"   never trained {change.difference:+.3f} ± {change.spread:.3f} ({change.seeds} seeds)"
    )

# %% [markdown]
# Read both columns.
#
# - **Inward reference:** switched off, nothing happens on average (−.002 ± .009). Never trained, .011 ± .005 is lost,
#   twice the spread over the seeds. It seems to help a small network to learn, and is hardly used in the end.
# - **Outward reference:** both changes are within their spread. No answer.
# - **The half-size photo** goes the other way round. Switched off, it costs .123, on some photos far more than on
#   others (± .106): this network has learned to rely on it. Never trained, it is not missed (−.002 ± .009).
#
# So what a trained network relies on, and what training needs, are two questions, and the answers differ in both
# directions. With three seeds and runs of a minute or two the second column is a hint and no proof; a network trained
# to convergence without a part would tell, and nobody has trained one here.
#
# ### Play with it
#
# Switch parts off and see the mask, its change, and its scores; *Try all parts* ranks them by what the mask loses.
# **Look for two things:**
#
# 1. The view opens without the half-size photo, `encoder.half`. What of the machine is lost, what stays?
# 2. The league table has every part alone. Which three does this mask need most? Which could go?
#
# <details><summary>What you should see</summary>
#
# 1. Seat and engine are lost; wheels and tank stay. The IoU falls from .675 to .489.
# 2. The reconstruction block of stage 1, the lateral block of stage 3, and level 3 of the whole photo: without any one
#    of them, .60 to .68 of IoU is lost, so nearly all. Without inward references and attentions .004 is lost at most:
#    the parts that gave the network its name are hardly used by this trained network. Without level 4 of the half-size
#    photo this mask is even better, by .034: on this photo, at this size.
#
# </details>

# %%
from widgets import ablation

machine, machine_mask, _ = load_photo("motorcycle")
view = ablation(model, machine, machine_mask.astype(float), size=(128, 192), try_all=True)
view.ablated = [f"encoder.half.x{level}" for level in (1, 2, 3, 4)]
view

# %% [markdown]
# The same view as a still picture.

# %%
static(view, width=700)

# %% [markdown]
# ## 6 · The picture again
#
# The head of section 1: four steps, your eight, and the stored 512.

# %%
complete = stored_attribution("astronaut")
three = {"4 steps": four_steps, "8 steps": shares[0].sum(dim=0).numpy(), "512 steps": complete.map}
for name, values in three.items():
    red, blue = values[values > 0].sum(), values[values < 0].sum()
    alike = np.corrcoef(values.ravel(), complete.map.ravel())[0, 1]
    print(f"{name:9} for {red:6.2f}, against {blue:7.2f}, sum {red + blue:6.2f}; correlation with the last {alike:.2f}")
side_by_side(
    {"photo": person.seen}
    | {f"{name}, {values.sum() / gain:.0%} of the gain": heat(values, person.seen) for name, values in three.items()},
    alt="The astronaut, and three maps of red and blue specks that look alike; their sums are −27, 26 and 98 %.",
    width=9,
)

# %% [markdown]
# The three maps look alike, and correlate at .95 and more: *where* the score comes from is known after four steps. *How
# much* is not. Red speaks for the head with 275, blue against it with 267, each thirty times the gain of 8.8. An error
# of 3 % in one of them is as large as the gain itself, and so the sum had the wrong sign. With 512 steps it is right to
# 2 %. The picture has hardly changed; what has changed is that its numbers may be read.

# %% [markdown]
# ## What to remember
#
# - An attribution explains **one number**. Say which: a region of the mask.
# - **Completeness**: integrated gradients add up to what the score gains over the baseline. Gradients and occlusion do
#   not.
# - **Few steps** tell where, not how much: with four, the sum had the wrong sign. Compare it with the gain, always.
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
# - a) The network has learned that white cups are common, so it does not look at this one.
# - b) White saturates the network: behind its first layer, all gradients of the path vanish.
# - c) Where image and baseline are equal, the factor $x - b$ is 0, whatever the gradient is.
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
# - a) Both see equally far: 9 pixels.
# - b) The four see further: 81 pixels.
# - c) The dilated one sees 12 pixels.
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
# - a) Yes: what does not change the mask does nothing, and only costs time.
# - b) Not yet: this mask hardly needs it; other photos, and training, may.
# - c) No: a trained network needs all its parameters, or it falls apart.
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
