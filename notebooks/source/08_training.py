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
# # 08 · Training
#
# The network is built. Its numbers are random until someone shows it masks and says how wrong its own are. This
# notebook is about that sentence: what *wrong* means, where in the network it is said, and what one step of learning
# does. At the end a small BiRefNet learns four pictures in front of your eyes.
#
# **After this notebook you can**
# - compute the losses that BiRefNet is trained with, and say what each of them sees,
# - supervise every stage, and write one step of training,
# - start a training run, or fine-tune a trained network on eight photos of your own.
#
# **Time:** 65 minutes, 38 of them for the exercises. **You need:** notebooks 05 and 07.

# %% [markdown]
# ## 1 · A run that does not learn
#
# Four small drawings with their masks; a new `nano` with plain convolutions in its ASPP (quicker on a CPU); the loss of
# this course; fifteen steps. Somebody has written the loop, and no line of it raises an error.

# %%
import numpy as np
import torch
import torch.nn.functional as F

from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.inference.images import normalise
from birefnet_lite.synthetic import SyntheticScenes, held_out_scenes
from birefnet_lite.training.losses import BiRefNetLoss
from birefnet_lite.training.model_setup import parameter_groups

scenes = SyntheticScenes(size=(64, 64), seed=3, difficulty=0.1).batch(4, step=0)
x = normalise(scenes.images)


def new_student():
    torch.manual_seed(0)
    student = BiRefNet(BiRefNetConfig.preset("nano").replace(aspp="plain"))
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # dropout helps against memorising; here we want just that
    return student, torch.optim.AdamW(parameter_groups(student, weight_decay=0.01), lr=2e-3)

# %% [markdown]
# The loop.

# %% tags=["NBVAL_CHECK_OUTPUT"]
student, optimizer = new_student()
packages = BiRefNetLoss({"bce": 1.0, "iou": 1.0}, gradient_weight=0.3, gradient_target="masked", class_weight=0.1)
bad = []
for _ in range(15):
    loss = packages(student.train()(x), scenes.masks, scenes.labels).total
    loss.backward()
    optimizer.step()
    bad.append(loss.item())
print("the loss fell to under half:", bad[-1] < bad[0] / 2)

# %% [markdown]
# The scenes, their masks, and what the network says after its fifteen steps.

# %%
from birefnet_lite.course import side_by_side


def in_a_row(pictures):
    """(n, C, H, W) to one picture (H, n * W, 3)."""
    row = torch.cat(list(pictures), dim=-1).permute(1, 2, 0)  # (H, n * W, C)
    return row.expand(-1, -1, 3).detach().clamp(0, 1).numpy()


def said(network):
    with torch.inference_mode():
        return network.eval()(x).logits.sigmoid()  # (4, 1, 64, 64)


blobs = said(student)
side_by_side(
    {"scenes, masks, after 15 steps": np.concatenate([in_a_row(m) for m in (scenes.images, scenes.masks, blobs)])},
    alt="A deer, an arrow, a star and a furry head; their masks; and in place of these three blobs and a faint streak.",
    width=6,
)

# %% [markdown]
# Large blobs, hardly an arrow, and a loss that does not get below 5, where it began at 7.2. One line is missing. Keep
# looking for it until section 8; in section 9 the same network learns the same four scenes with a step that you have
# written.
#
# On the map you are at the dashed boxes at the right: what is there in training only. *Side masks* come from each
# stage, *gradients* are those of notebook 07.

# %%
from birefnet_lite.course import network_map

network_map("08")

# %% [markdown]
# ## 2 · How wrong is a mask? Pixel by pixel
#
# Let $z$ be the logit of a pixel, $p = \sigma(z)$ its probability, $m$ the mask's value there, 0 to 1. Binary
# cross-entropy is
#
# $$\text{BCE} = -m \log p - (1 - m) \log (1 - p) = \log(1 + e^{z}) - m z$$
#
# and its slope is simply $p - m$. By hand, for a pixel of the object, $m = 1$: undecided, $z = 0$, costs $\log 2 =
# 0.693$. Sure and right, $z = 4$, costs $\log(1 + e^{-4}) = 0.018$. Sure and wrong, $z = -4$, costs $4.018$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
z, ones = torch.tensor([0.0, 4.0, -4.0]), torch.ones(3)
F.binary_cross_entropy_with_logits(z, ones, reduction="none")

# %% [markdown]
# ### Why on logits
#
# The original takes the sigmoid first and the logarithm of that. On paper it is the same. In a computer, a sigmoid of
# -120 is 0: the logarithm must be cut off, and what is cut off has no slope. The surest mistakes teach nothing.

# %% tags=["NBVAL_CHECK_OUTPUT"]
one = torch.tensor(1.0)
for name in ("of the sigmoid", "on the logit"):
    z = torch.tensor(-120.0, requires_grad=True)
    on_logit = name == "on the logit"
    loss = F.binary_cross_entropy_with_logits(z, one) if on_logit else F.binary_cross_entropy(z.sigmoid(), one)
    (slope,) = torch.autograd.grad(loss, z)
    print(f"{name:15} loss {loss.item():.0f}   size of the slope {abs(slope.item()):.0f}")

# %% [markdown]
# ## 3 · The whole region
#
# Where an object covers a hundredth of the photo, *all background* has a low BCE. **IoU**, intersection over union,
# asks how well two regions agree, however small they are. With probabilities it is soft. Per image, sums over all
# pixels:
#
# $$I = \sum p\,m, \qquad U = \sum (p + m) - I, \qquad \text{loss} = 1 - \frac{I + 1}{U + 1}$$
#
# The 1 is one pixel. It makes an empty answer to an empty mask cost 0 and not $0 / 0$.
#
# By hand, four pixels: $p = (0.9, 0.8, 0.1, 0.2)$ and $m = (1, 1, 0, 0)$. Then $I = 1.7$, $U = 2 + 2 - 1.7 = 2.3$,
# and the loss is $1 - 2.7 / 3.3 = 0.182$.
#
# ### Exercise 1 · The IoU loss
#
# *Difficulty ★★☆ · 8 minutes.* Each image for itself, then the mean over the batch.


# %% tags=["exercise"]
def iou_loss(logits, mask):
    """The mean over the batch of 1 - (I + 1) / (U + 1), one number, a tensor without axes.

    Shapes: logits and mask (B, 1, H, W); logits are raw, the mask is in 0 to 1. I and U are sums over each image.
    """
    # <solution>
    p = logits.sigmoid()
    inside = (p * mask).sum(dim=(1, 2, 3))  # (B,)
    union = (p + mask).sum(dim=(1, 2, 3)) - inside
    return (1 - (inside + 1) / (union + 1)).mean()
    # </solution>


# %% [markdown]
# The check has an empty mask, too.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

iou_checked = checks.iou_loss(iou_loss)
iou_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `sum` takes several axes at once. Which axis must be left, so that every image keeps a number of its own?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Probabilities from logits. Sum their product with the mask over channel, row and column: that is I. Sum both and
# take I away: that is U. The fraction with one pixel added above and below; 1 less that; the mean.
#
# </details>

# %% [markdown]
# The four pixels go through it, yours or the package's.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.training import pixel_losses

iou = iou_loss if iou_checked.passed else pixel_losses.iou_loss
four = torch.tensor([0.9, 0.8, 0.1, 0.2]).logit().reshape(1, 1, 2, 2)
print(f"{iou(four, torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 2, 2)):.3f}")

# %% [markdown]
# **Paper and code.** The original *adds up* the batch and leaves out the one pixel. So its weight against the other
# losses grows with the batch, an empty mask always costs 1, and a network that is very sure of an empty mask gets no
# number at all. The package keeps it as `iou_sum`, to train as the original does.

# %% tags=["NBVAL_CHECK_OUTPUT"]
empty = torch.zeros(8, 1, 16, 16)
for z in (-4.0, -200.0):
    logits = torch.full_like(empty, z)
    print(f"logit {z:4.0f}: original {pixel_losses.iou_sum_loss(logits, empty):.0f},", end=" ")
    print(f"repaired {pixel_losses.iou_loss(logits, empty):.1f}")

# %% [markdown]
# ## 4 · The neighbourhood
#
# **SSIM**, structural similarity, compares windows of 11 × 11 pixels, weighted by a bell: do prediction and mask have
# the same mean, and do they go up and down together? With means $\mu$, variances $s^2$ and covariance $s_{pm}$ in a
# window, and two small constants $c_1, c_2$ against division by 0:
#
# $$\text{SSIM} = \frac{2 \mu_p \mu_m + c_1}{\mu_p^2 + \mu_m^2 + c_1} \cdot \frac{2 s_{pm} + c_2}{s_p^2 + s_m^2 + c_2},
# \qquad \text{loss} = \frac{1 - \text{SSIM}}{2}$$
#
# What does it see that the others do not? We take a true mask and miss 576 of its pixels, in two ways: as one block,
# and scattered all over the object.

# %%
from birefnet_lite.course.canvas import toy_photo

toy, exact = toy_photo(128)  # a mug and its mask
truth = torch.from_numpy(exact).float()[None, None]  # (1, 1, 128, 128)
block, scattered = truth.clone(), truth.clone()
block[..., 60:84, 42:66] = 0
pixels = truth.flatten().nonzero()[:, 0]
chosen = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:576]]
scattered.view(-1)[chosen] = 0

# %% [markdown]
# The toy photo, its mask, and the two wrong answers.

# %%
side_by_side(
    {"photo": toy} | {k: x[0, 0].numpy() for k, x in {"mask": truth, "block": block, "scattered": scattered}.items()},
    alt="A toy mug; its white mask; the mask with a square hole; the mask with as many single pixels missing.",
)

# %% [markdown]
# BCE and IoU count pixels: the two answers cost the same. SSIM looks at windows, and the scattered holes spoil far
# more of them.

# %% tags=["NBVAL_CHECK_OUTPUT"]
costs = {}
for name, answer in {"block": block, "scattered": scattered}.items():
    logits = 16 * answer - 8  # sure everywhere
    costs[name] = [f(logits, truth).item() for f in (pixel_losses.bce_loss, iou, pixel_losses.ssim_loss)]
    print(f"{name:10}", "  ".join(f"{k} {v:.2f}" for k, v in zip(("BCE", "IoU", "SSIM"), costs[name])))

# %% [markdown]
# ### Exercise 2 · A loss that sees windows
#
# *Difficulty ★★☆ · 10 minutes, open.* Write one of your own. SSIM by the formula above is one way, with any window and
# any small constants; there are others. The check does not compare numbers. It asks that a right and sure answer costs
# next to nothing, that scattered holes cost at least 1.3 times as much as a block of as many pixels, that an inverted
# mask costs most, and that a gradient reaches the logits.

# %% tags=["exercise"]
def window_loss(logits, mask):
    """Compares windows of the probabilities with windows of the mask; one number, a tensor without axes.

    Shapes: logits and mask (B, 1, H, W); logits are raw, the mask is in 0 to 1. The mean over the batch.
    """
    # <solution>

    def mean(x):
        return F.avg_pool2d(x, 7, stride=1, padding=3, count_include_pad=False)  # (B, 1, H, W)

    p = logits.sigmoid()
    mean_p, mean_m = mean(p), mean(mask)
    spread_p, spread_m = mean(p * p) - mean_p**2, mean(mask * mask) - mean_m**2
    together = mean(p * mask) - mean_p * mean_m
    alike = (2 * mean_p * mean_m + 1e-4) / (mean_p**2 + mean_m**2 + 1e-4)
    alike = alike * (2 * together + 9e-4) / (spread_p + spread_m + 9e-4)
    return ((1 - alike) / 2).mean()
    # </solution>


# %% [markdown]
# The check makes masks with a block and with scattered holes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
window_checked = checks.window_loss(window_loss)
window_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The mean over every window of a map is `F.avg_pool2d` with stride 1. What two maps have in common in a window is the
# mean of their product.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Means of p and of m; the variance is the mean of the square less the square of the mean; the covariance is the mean of
# the product less the product of the means. Put them into the formula, and take the mean of (1 − SSIM) / 2.
#
# </details>

# %% [markdown]
# **Paper and code.** In the paper the SSIM loss is $1 - \text{SSIM}$; the code has half of it. The original's recipe
# for its main data set is 30 BCE + 0.5 IoU + 10 SSIM, summed over the maps of the next section.
#
# ## 5 · At every stage
#
# A loss at the end of the network must reach stage 4 through three other stages. So stages 4, 3 and 2 get a **side
# output** each: a 1 × 1 convolution that says, already here, which cells are object. Each is told how wrong it is.
# The next cell shows the side outputs of the trained network at their own sizes, and its final mask.

# %%
from birefnet_lite.analysis import capture
from birefnet_lite.course import course_model
from birefnet_lite.photos import load_photo

course = course_model()
model, SIZE = course.model, (256, 256)
photo, _, _ = load_photo("astronaut")
maps = capture(model, photo, size=SIZE)
ladder = {f"stage {stage}": maps[f"decoder.stage{stage}.side"] for stage in (4, 3, 2)} | {"final": maps["logits"]}
print(course.notice)
side_by_side(
    {f"{k}: {x.shape[1]} × {x.shape[2]}": x[0].sigmoid().numpy() for k, x in ladder.items()},
    alt="Four masks of a person from one network: a few coarse cells at stage 4, then finer ones.",
)

# %% [markdown]
# Each is finer than the one before: stage 4 says which cells hold her, stage 2 has her head as a whole, and only the
# final mask has an outline of hair and helmet.
#
# ### Which to resize?
#
# A side output is up to 32 times smaller than the mask. One could shrink the mask, or enlarge the logits. Take a line,
# one pixel thin, and shrink it to the 2 × 2 cells of a stage-4 map.

# %% tags=["NBVAL_CHECK_OUTPUT"]
line = torch.zeros(1, 1, 64, 64)
line[..., 20] = 1
shrunk = F.interpolate(line, size=(2, 2), mode="area")
print("the most that is left of it:", shrunk.max().item())

# %% [markdown]
# A cell with the line in it is told *3 % object*, and learns to say *background*. BiRefNet **enlarges the logits**
# and keeps the mask as it is.
#
# ### Exercise 3 · Supervision at every stage
#
# *Difficulty ★☆☆ · 8 minutes.* Any pixel loss, any number of maps.


# %% tags=["exercise"]
def supervise(maps, mask, pixel_loss):
    """The sum over the maps of `pixel_loss(logits, mask)`, one number, a tensor without axes.

    maps: logits (B, 1, h, w), each at its own size, the last one at that of the mask; mask: (B, 1, H, W) in 0 to 1.
    Each map is enlarged to the mask first, bilinearly with align_corners=True. `pixel_loss` takes logits and a mask of
    one size.
    """
    # <solution>
    total = 0.0
    for logits in maps:
        enlarged = F.interpolate(logits, size=mask.shape[-2:], mode="bilinear", align_corners=True)
        total = total + pixel_loss(enlarged, mask)
    return total
    # </solution>


# %% [markdown]
# The check looks at the gradient of every map.

# %% tags=["NBVAL_CHECK_OUTPUT"]
supervise_checked = checks.supervise(supervise)
supervise_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# All maps are treated alike, also the last: enlarging a map to its own size changes nothing.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Begin with zero. For each map: interpolate to the height and width of the mask, call the loss, add. Do not take the
# sigmoid: the loss does.
#
# </details>

# %% [markdown]
# ## 6 · All of the loss
#
# Three things are added: the pixel losses at every stage, the gradient loss of notebook 07, and, if there is a class
# head, its **cross-entropy**. The class head averages the deepest map of the encoder over all cells and names the
# kind of object. It is a helper: *what* it is helps to find *where* it is. After training it is not called.

# %%
from birefnet_lite.training.losses import GradientLoss, LossParts, PixelLoss, resize_to


def packages_supervise(maps, mask, pixel_loss):
    return sum(pixel_loss(resize_to(logits, mask), mask) for logits in maps)


supervised = supervise if supervise_checked.passed else packages_supervise


def pixel_loss(logits, mask):
    return F.binary_cross_entropy_with_logits(logits, mask) + iou(logits, mask)


# %% [markdown]
# The weights 1, 0.3 and 0.1 are those in the settings of `nano`.


# %%
class MyLoss:
    def __call__(self, output, mask, labels):
        """output: a BiRefNetOutput; mask: (B, 1, H, W) in 0 to 1; labels: (B,), the kinds of object."""
        pixel = supervised((*output.side_logits, output.logits), mask, pixel_loss)
        gradient = GradientLoss("masked")(output.gradient_logits, output.gradient_targets)
        kind = F.cross_entropy(output.class_logits, labels)
        return LossParts(pixel + 0.3 * gradient + 0.1 * kind, {"pixel": pixel, "gradient": gradient, "class": kind})


# %% [markdown]
# The table now shows what is there in training only: three side outputs and the class head. They are small. (A class
# head gives numbers and no map, so its row has no shape.)

# %%
from birefnet_lite.course import part_table

part_table(model, SIZE, upto="08")

# %% [markdown]
# ## 7 · Something to learn from
#
# The drawings of section 1 come from a generator of scenes: an object before a background, with its exact mask and its
# kind, from easy (difficulty 0) to camouflage (1). It never ends, and the same seed and step give the same scenes. Some
# kinds of objects and backgrounds are **held out**: training never sees them, and scores are taken on these.

# %% [markdown]
# ## 8 · One step
#
# A step of training does five things, in this order:
#
# 1. The model in **training mode**: side outputs, dropout, batch norms with the statistics of the batch.
# 2. **Forward**, and the loss.
# 3. **Backward**: the gradient of the loss, one number for every weight. PyTorch *adds* it to what is in `.grad`
#    already, so that must be set to zero before.
# 4. **Clip**: if the whole gradient, as one long vector, is longer than `clip_norm`, shrink it to that length. One odd
#    batch should not throw the weights far off.
# 5. The **optimizer** moves the weights.
#
# By hand: the gradient $(3, 4)$ has the length 5. Clipped to 1, it is $(0.6, 0.8)$: same direction.

# %% tags=["NBVAL_CHECK_OUTPUT"]
weights = torch.nn.Parameter(torch.zeros(2))
weights.grad = torch.tensor([3.0, 4.0])
torch.nn.utils.clip_grad_norm_([weights], 1.0)
weights.grad

# %% [markdown]
# ### Exercise 4 · One step of training
#
# *Difficulty ★★☆ · 12 minutes.* The five things.


# %% tags=["exercise"]
def train_step(model, criterion, optimizer, images, masks, labels, clip_norm):
    """Learns once from a batch; returns the loss as it was before the step, as a Python number.

    images: (B, 3, H, W), normalised; masks: (B, 1, H, W); labels: (B,). `criterion(output, masks, labels)` has the
    loss as its `.total`. The model may come in evaluation mode, and with gradients of a step before. The norm of the
    whole gradient is clipped to `clip_norm`.
    """
    # <solution>
    model.train()
    loss = criterion(model(images), masks, labels).total
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()
    # </solution>


# %% [markdown]
# The check takes two steps with a tiny network, and compares its weights and statistics.

# %% tags=["NBVAL_CHECK_OUTPUT"]
step_checked = checks.train_step(train_step)
step_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Five lines for five things, and a return. `clip_grad_norm_` was used above. A tensor's value as a Python number is
# its `.item()`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Mode; forward and criterion, keep the total; gradients to zero; backward from the total; clip all parameters; let the
# optimizer step; return the number.
#
# </details>

# %% [markdown]
# ### The missing line
#
# In the run of section 1 nobody set the gradients to zero. So each step went along the sum of all gradients so far:
# fast at first, then too far, like a ball that rolls through the valley. It did not clip either, which would have
# hidden part of the damage: clipped, the steps have the right length and only the wrong direction.
#
# ### Which way, and how far
#
# The optimizer is **AdamW**. It divides each slope by its usual size, so that all weights move at a like speed, and
# pulls weights a little towards zero (*weight decay*). Biases and batch norms are left out of the decay: they are few
# and have a reason to be large.
#
# How far is the **learning rate**. It warms up, since the first slopes of a random network are wild; it stays; it
# falls to almost nothing, so that the weights settle. Here is that of the settings that `nano` is trained with, and
# the difficulty of its scenes, which rises: camouflage from the start teaches nothing.

# %%
from birefnet_lite.course.picture import Picture, card
from birefnet_lite.training.schedules import difficulty_at, learning_rate_at
from birefnet_lite.training.settings import find_settings, read_settings

settings = read_settings(find_settings("nano"))
steps = range(0, settings.steps, 10)
figure = card(8, 2.4)
for i, (name, at) in enumerate({"learning rate": learning_rate_at, "difficulty": difficulty_at}.items()):
    axes = figure.add_subplot(1, 2, i + 1, xlabel="step", title=name)
    axes.plot(steps, [at(settings, step) for step in steps], color="#14707c")
figure.tight_layout()
Picture.of(figure, "Two curves over the steps: the learning rate jumps up, stays and falls; the difficulty rises.")

# %% [markdown]
# The rate reaches its full .002 within 60 steps, stays there until step 3,000 and then falls; the difficulty rises from
# .05 to .65 in the same 3,000 steps.
#
# **Paper and code.** The original uses AdamW as well, with a constant rate that grows with the square root of the batch
# size, no warm-up and no clipping.

# %% [markdown]
# ## 9 · A small run that learns
#
# The network and the scenes of section 1, from the same random weights. The loss and the step are yours, or the
# package's. A `Recorder` keeps what the network says about one scene every few steps, and the parts of the loss.


# %%
def packages_step(model, criterion, optimizer, images, masks, labels, clip_norm):
    optimizer.zero_grad()
    loss = criterion(model.train()(images), masks, labels).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


class Noting:
    """A criterion that notes the parts of each loss."""

    def __init__(self, criterion):
        self.criterion, self.parts = criterion, []

    def __call__(self, output, masks, labels):
        loss = self.criterion(output, masks, labels)
        self.parts.append({name: part.item() for name, part in loss.parts.items()})
        return loss


# %% [markdown]
# Fifty steps, always with the same four scenes. This is the first test of any training code: *a network that cannot
# memorise a few pictures has a mistake somewhere.*

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.training import Recorder

step = train_step if step_checked.passed else packages_step
student, optimizer = new_student()
noting, losses, after = Noting(MyLoss()), [], {0: said(student)}
star = (scenes.images[2].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
sides = [f"decoder.stage{stage}.side" for stage in (4, 3, 2)]
recorder = Recorder(star, sides, every=5, mask=scenes.masks[2, 0].numpy(), size=64)
recorder.record(student, 0)
for n in range(1, 51):
    losses.append(step(student, noting, optimizer, x, scenes.masks, scenes.labels, 1.0))
    recorder.record(student, n, noting.parts[-1])
    if n in (5, 15, 50):
        after[n] = said(student)
print("the loss fell to under half:", losses[-1] < losses[0] / 2)

# %% [markdown]
# The whole loss of both runs, and the parts of the good one, each as a share of what it was at the start.

# %%
figure = card(9, 2.6)
both = {"section 1": bad, "here": losses}
parts = {name: [p[name] / noting.parts[0][name] for p in noting.parts] for name in noting.parts[0]}
for i, (title, curves) in enumerate({"loss": both, "its parts": parts}.items()):
    axes = figure.add_subplot(1, 2, i + 1, xlabel="step", title=title)
    for (name, values), style in zip(curves.items(), ("-", "--", ":")):
        axes.plot(values, style, label=name, color=("#7d3f83", "#14707c", "#a83a20")[("-", "--", ":").index(style)])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
figure.tight_layout()
Picture.of(figure, "Left: the bad run stays above 5, the good one falls to under 3. Right: its three parts fall.")

# %% [markdown]
# The bad run stays above 5; the good one goes from 7.2 to 2.8. Of its parts the class is memorised within ten steps;
# the pixel losses fall to .40 and the gradient loss to .48 of what they were, and both still fall.
#
# From top to bottom: the scenes, their masks, and what the network says at steps 0, 5, 15 and 50; at the end, once
# more, the bad run after 15 steps.

# %%
rows = [in_a_row(m) for m in (scenes.images, scenes.masks, *after.values(), blobs)]
side_by_side(
    {"scenes, masks, steps 0, 5, 15, 50; without zero_grad": np.concatenate(rows)},
    alt="Four scenes and their masks. At step 0 plain grey, at 5 a hint, at 15 soft shapes, at 50 masks like the "
    "true ones. Last, the blobs of the bad run.",
    width=6,
)

# %% [markdown]
# At step 5 there is next to nothing; at 15 it is clear *where* the objects are; contours and thin parts, such as the
# shaft of the arrow, come last. The same network, the same scenes: one line apart.

# %% [markdown]
# And on scenes that it has not seen? The IoU of the masks, at a threshold of 0.5.

# %%
from birefnet_lite.metrics import iou as mask_iou


def score(batch):
    with torch.inference_mode():
        found = student.eval()(normalise(batch.images)).logits.sigmoid()
    return np.mean([float(mask_iou(p[0], m[0] > 0.5)) for p, m in zip(found, batch.masks)])


print(f"the four scenes:         {score(scenes):.2f}")
print(f"eight other easy scenes: {score(SyntheticScenes((64, 64), seed=4, difficulty=0.1).batch(8, 0)):.2f}")
print(f"eight held-out scenes:   {score(held_out_scenes((64, 64)).batch(8, 0)):.2f}")

# %% [markdown]
# Memorising is not understanding: .88 on the four scenes, less than .25 on others. What an object is, a network learns
# from many thousand scenes that never come twice alike, not from four. Always look at such a second number before you
# believe the first.
#
# ## 10 · Equality
#
# BCE and IoU at every stage, at several shapes, odd ones too, a batch of one: yours and the package's.

# %% tags=["NBVAL_CHECK_OUTPUT"]
torch.manual_seed(1)
mine = {"iou": iou, "bce": F.binary_cross_entropy_with_logits}
for size in [(1, 1, 64, 64), (3, 1, 65, 97), (2, 1, 32, 160)]:
    mask = torch.rand(size)
    maps = [2 * torch.randn(size[0], 1, n, n + 1) for n in (2, 4, 8)] + [2 * torch.randn(size)]
    for name, loss in mine.items():
        apart = supervised(maps, mask, loss) - PixelLoss({name: 1.0})(maps, mask).total
        print(size, name, "equal to 1e-6:", apart.abs().item() <= 1e-6)

# %% [markdown]
# Then the whole loss, on the output of a network in training with random biases and batch-norm statistics. It adds
# the same terms in another order, so 1e-6 is meant relative to its size.

# %%
from copy import deepcopy

shaken = deepcopy(student).train()
for module in shaken.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.eval().running_var.uniform_(0.5, 1.5)  # eval: its statistics are kept, so a batch of one is possible
        module.running_mean.normal_(0, 0.3)
    if getattr(module, "bias", None) is not None:
        torch.nn.init.normal_(module.bias, 0, 0.3)

# %% [markdown]
# Three sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for size in [(1, 64, 64), (2, 96, 64), (1, 64, 160)]:
    batch, height, width = size
    output = shaken(torch.randn(batch, 3, height, width))
    mask, labels = torch.rand(batch, 1, height, width), torch.arange(batch)
    mine, whole = MyLoss()(output, mask, labels).total, packages(output, mask, labels).total
    print(size, "equal to 1e-6:", ((mine - whole).abs() <= 1e-6 * whole).item())

# %% [markdown]
# ## 11 · On the command line
#
# What you did here, the package does with settings from a file, checkpoints, scores on held-out scenes and a log:
#
# ```
# python -m birefnet_lite train nano --output runs/nano
# ```
#
# `nano` names settings that come with the package; the path of a TOML file of your own will do as well. A run that
# was stopped goes on with the same command.
#
# ### Eight photos of your own
#
# For a kind of picture that a trained network does badly, a few examples help. Make masks for, say, eight photos,
# white on the object and black elsewhere. Lay them into two folders under the same names:
#
# ```
# my_pictures/im/cup.jpg     my_pictures/gt/cup.png
# my_pictures/im/chair.jpg   my_pictures/gt/chair.png
# ...
# ```
#
# Then train, and use the result:
#
# ```
# python -m birefnet_lite train finetune --folder my_pictures --output runs/mine
# python -m birefnet_lite segment new_photo.jpg --model runs/mine/best.safetensors --output masks
# ```
#
# These are the settings behind the word `finetune`.

# %%
print(find_settings("finetune").read_text(encoding="utf-8"))

# %% [markdown]
# Each line has its reason. **A low learning rate and few steps**: the network knows a lot, and should not forget it.
# **Frozen batch norms**: eight pictures say too little about the statistics of all pictures. **Averaged weights**
# (`ema_decay`): the mean of the last steps is steadier than the last step. And name a `validation_folder` with *other*
# photos: without one, scores are taken on the eight themselves, and section 9 showed what these are worth.

# %% [markdown]
# ### When memory runs out
#
# Training takes many times the memory of a forward: the backward needs the maps that the forward made, so they are kept
# until it comes. This is how much, counted when each of them is put aside.

# %%
def kept_mebibytes(network, images):
    """What a forward keeps for the backward, beyond the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept = {}

    def put_aside(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # maps that share memory count once
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(put_aside, lambda tensor: tensor):
        network(images)
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights) / 2**20

# %% [markdown]
# The way out has a price in time: **keep the inputs of each block and stage alone, and compute what lies between once
# more when the backward comes by**. It is called activation checkpointing.

# %%
from birefnet_lite import load
from birefnet_lite.training.recompute import recompute_activations

learner, images = load("nano").train(), torch.randn(2, 3, 192, 192)
print(f"all kept:   {kept_mebibytes(learner, images):4.0f} MiB")
recompute_activations(learner)
print(f"recomputed: {kept_mebibytes(learner, images):4.0f} MiB")

# %% [markdown]
# Gradients stay the same to the last bit, if one sees to two things: dropout must drop the same units again, and batch
# norms must not count the batch twice. `recompute_activations = true` in the settings does it; for BiRefNet_lite at
# 512 × 512 the whole step then takes 1.5 instead of 3.4 GiB, and 1.14 times as long
# (`python benchmarks/deformable.py --model lite`).

# %% [markdown]
# ## 12 · What is a part worth?
#
# One can switch a part of a trained network off, as in notebook 10. But then the rest has learned to count on that
# part. The other way is to train *without* it. `benchmarks/ablations.py` does so for `nano`, one part at a time,
# in short runs on the same scenes, each with several seeds: the seed alone changes a score, and a difference means
# something only beside that spread.

# %%
from IPython.display import Markdown

from birefnet_lite.course.ablations import ablation_plot, ablation_table

ablation_plot()

# %% [markdown]
# The same in numbers: the mean, and in brackets the change against the full network with its spread.

# %%
Markdown(ablation_table())

# %% [markdown]
# Read it with care. These runs end where a real one has hardly begun, on drawings that are easy. What helps *at once*
# shows here; what helps at the end may not. Three seeds say how much the seed alone changes a score, and no more.
#
# - *Plain convolutions in the ASPP* cost .022 ± .008: almost three times the spread over the seeds.
# - *No inward reference* costs .011 ± .005, twice its spread. Yet the **trained** network loses next to nothing when it
#   is shown nothing in their place (.005 of IoU at most, notebook 06). Both can be true: a part can help to learn,
#   early and on small data, and hardly be used in the end.
# - *No context* lies wholly above 0, by .001. That is no reason to leave it out: by weighted F, in the same table, it
#   lies wholly below 0, at −.003 ± .002.
# - The other lines cross 0: these runs do not tell.
#
# So *switched off* and *never trained* are two questions, and they have different answers. Notebook 10 asks the first
# one.

# %% [markdown]
# ## 13 · Play with it
#
# The film of the star, from the run of section 9. Drag the slider or press *Play*. **Look for two things:**
#
# 1. The table has the parts of the loss. Between which two recorded steps does the pixel loss fall most?
# 2. In the mask: what comes first, the arms of the star or its middle? And where is it still soft at the end?
#
# <details><summary>What you should see</summary>
#
# 1. Between 5 and 10, by .72; after that by less each time. (The row of step 0 is empty: no loss was computed before
#    the first step.)
# 2. The middle, as a blob at step 10; the arms grow out of it from step 15 on. At the end a rim of one to two pixels
#    is soft all around. Stage 4 has 2 × 2 cells: it can only say which of them hold more of the star.
#
# </details>

# %%
from widgets import training_film

view = training_film(recorder)
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## What to remember
#
# - **BCE** counts pixels, **IoU** compares regions, **SSIM** windows. Each sees what another one misses.
# - Losses take **logits**: a sigmoid that has saturated teaches nothing.
# - **Every stage** is supervised at the size of the mask: enlarge the logits, do not shrink the mask.
# - A step: **training mode, forward, zero, backward, clip, step**.
# - First **memorise a few pictures**, to test the code. Then score on pictures that were never seen.
# - Fine-tuning: **low rate, few steps, frozen statistics, other photos to validate on**.

# %% [markdown]
# ## Three questions
#
# **1. You train with the original's IoU loss, the sum over the batch, weight 0.5. You get a larger GPU and go from a
# batch of 4 to one of 32. BCE is a mean. What happens to their balance?**
#
# - a) IoU counts 8 times as much against BCE as before.
# - b) Nothing.
# - c) BCE counts 8 times as much.
#
# <details><summary>Answer</summary>
#
# **a.** A sum over 32 images is 8 times one over 4, at the same quality; a mean stays. Repaired to a mean, the loss
# needs the weight 0.5 × 4 to count as it did at a batch of 4, and then no longer depends on the batch.
#
# </details>

# %% [markdown]
# **2. After 50 steps on four scenes, the IoU on these scenes is high, and on new ones low. What would help on the new
# ones?**
#
# - a) 400 steps more on the four scenes.
# - b) A lower learning rate.
# - c) More scenes.
#
# <details><summary>Answer</summary>
#
# **c.** The network does what it was asked: it knows four pictures. More steps (a) make this knowledge firmer, a
# lower rate (b) makes it slower. Only other pictures can tell it what objects have in common.
#
# </details>

# %% [markdown]
# **3. A step forgets `optimizer.zero_grad()`. What does one see?**
#
# - a) An error.
# - b) Each step uses the sum of all gradients so far: no error, but a loss that may fall, swing or explode.
# - c) The weights do not change.
#
# <details><summary>Answer</summary>
#
# **b.** PyTorch adds gradients up on purpose, so that a batch can be computed in parts. Clipping even hides it: the
# length of the step looks right. The weights do not change (c) when the gradients are set to zero *between* `backward`
# and `step`.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | BCE, IoU, SSIM | objective function | `loss.py` | `training/pixel_losses.py` |
# | `supervise` | multi-stage supervision | `loss.py`, `PixLoss` | `training/losses.py`, `PixelLoss` |
# | `MyLoss` | objective function | `train.py` | `training/losses.py`, `BiRefNetLoss` |
# | `train_step` | – | `train.py` | `training/trainer.py` |
# | the recipes | experiments | `config.py`, `train.sh` | `training/recipes.py` |
# | scenes | – | – | `synthetic/` |
#
# **Paper and code.** The paper's loss has a class term; in the code the class head is off by default, and it sees the
# deepest map *before* its context joins, where the paper's sees the context too. The original takes the logarithm of
# a sigmoid and adds up the IoU over the batch, as shown above. In its last epochs it also multiplies the weights of
# the losses by fixed factors, and does so again at the start of each of these epochs, so that the factors compound. The
# package computes either: `iou_sum` and `schedule="compounding"` for the original's numbers, `iou` and `"fixed"` for
# the repaired ones.
# SSIM: Wang et al., 2004. AdamW: Loshchilov and Hutter, 2019, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101).
