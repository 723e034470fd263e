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
# # 09 · In use
#
# A network takes a tensor and gives logits. People have photos and want objects on a new background, and a number that
# says how good the mask is. This notebook is about the way in, the way out, and the numbers.
#
# **After this notebook you can**
# - bring a photo into the form that the network wants, and its mask back,
# - lay a cut-out over a new background without a halo of the old one,
# - say what MAE, IoU, F-measure and the other scores of a mask count, and what they overlook,
# - load published weights and know what their files do not say.
#
# **Time:** 65 minutes, 40 of them for the exercises. **You need:** notebook 00; nothing of 02 to 08 is used.

# %% [markdown]
# ## 1 · A good network, badly used
#
# The network is trained, and works. Somebody has written the six lines around it, and no line raises an error: the
# photo becomes a tensor, is made 256 pixels wide and high, goes through the network, and the pixels above 0.5 are laid
# on a blue background.

# %%
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from birefnet_lite.course import course_model, side_by_side
from birefnet_lite.course.masks import score as iou_of
from birefnet_lite.photos import PHOTOS, load_photo

course = course_model()
model, SKY = course.model, (30, 80, 160)
photo, by_hand, _ = load_photo("astronaut")  # (512, 512, 3) uint8; (512, 512) bool
pixels = torch.tensor(photo).permute(2, 0, 1)[None] / 255  # (1, 3, 512, 512)
with torch.inference_mode():
    bad_mask = model(F.interpolate(pixels, (256, 256))).logits.sigmoid()[0, 0].numpy()
chosen = np.asarray(Image.fromarray(bad_mask).resize((512, 512))) > 0.5
pasted = np.where(chosen[..., None], photo, np.uint8(SKY))
print(f"{course.notice}\nIoU {iou_of(bad_mask, by_hand):.3f}")
side_by_side(
    {"photo": photo, "its mask": bad_mask, "on a new background": pasted},
    alt="An astronaut with a black helmet; a mask with a dark helmet; she on blue, without helmet, with hard edges.",
    width=6.3,
)

# %% [markdown]
# Her helmet is gone, a piece of the flag is there instead, and the outline is cut as with scissors. In section 8 the
# same photo comes again, with the same weights.
#
# On the map, you are at the top: the photo that goes in, and the mask that comes out.

# %%
from birefnet_lite.course import network_map

network_map("09")

# %% [markdown]
# ## 2 · From photo to mask
#
# Five steps, and the network is one of them:
#
# 1. **Resize** the photo to the size that the network was trained at.
# 2. **Normalise** its colours.
# 3. Run the **network**: logits, one for each pixel.
# 4. **Sigmoid**: each logit $z$ becomes $1 / (1 + e^{-z})$, a number from 0 to 1.
# 5. **Resize** the mask back to the photo.
#
# *Normalise* means: for each colour, take off the mean and divide by the standard deviation that the photos of
# ImageNet have, as bytes divided by 255. The backbone was trained with such numbers and knows no others.
#
# By hand, the red of a white pixel: $(1 - 0.485) / 0.229 = 2.249$. The mean colour of ImageNet, a greyish brown of
# bytes 124, 116 and 104, becomes almost 0.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.inference.images import MEAN, STD

three = torch.tensor([[255.0, 255, 255], [124, 116, 104], [0, 0, 0]])  # three pixels; red, green, blue
(three / 255 - torch.tensor(MEAN)) / torch.tensor(STD)

# %% [markdown]
# ### Exercise 1 · A photo for the network
#
# *Difficulty ★★☆ · 12 minutes.* Steps 1 and 2. Resize with Pillow, bilinear: when a photo gets smaller, Pillow takes
# the mean over all pixels that become one (antialiasing), and rounds to bytes.

# %% tags=["exercise"]
def to_network(pixels, height, width):
    """A photo as the network takes it: resized by Pillow, `Image.Resampling.BILINEAR`, then normalised by MEAN and STD.

    pixels: an array (h, w, 3), uint8, red, green, blue. Returns a tensor (1, 3, height, width), float32.
    """
    # <solution>
    resized = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    x = torch.from_numpy(resized).permute(2, 0, 1)[None] / 255  # (1, 3, height, width)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (MEAN, STD))
    return (x - mean) / std
    # </solution>

# %% [markdown]
# The check uses photos that shrink, that grow, and that are not square.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import checks

input_checked = checks.to_network(to_network)
input_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three habits meet here. Pillow says (width, height), arrays (height, width). Images have their colours last, tensors
# first. Photos are bytes up to 255, the mean and the deviation belong to values up to 1.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make a PIL image of the array, resize it, make it an array and then a tensor. Move the last axis to the front, add
# an axis for the batch, divide by 255. Give the mean the shape (3, 1, 1), so that it meets the colours, and the
# deviation too.
#
# </details>

# %% [markdown]
# ### All five steps
#
# Your function, or the package's where yours is not solved yet, and around it the other steps.

# %%
from birefnet_lite.inference import predict


def package_input(pixels, height, width):
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return predict.normalise(np.array(resized))[None]


enter = to_network if input_checked.passed else package_input

# %% [markdown]
# The mask goes back as floats: rounded to bytes, its soft edges would have steps.

# %%
def my_segment(model, pixels, height, width):
    """uint8 (h, w, 3) to a soft mask, float32 (h, w)."""
    with torch.inference_mode():
        logits = model(enter(pixels, height, width)).logits  # (1, 1, height, width)
    mask = Image.fromarray(logits.sigmoid()[0, 0].numpy())
    back = mask.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(back).clip(0, 1)

# %% [markdown]
# ### Equality
#
# The package's `segment` gives the same masks: for photos of odd sizes, squashed to several sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for shape, size in [((400, 512), (128, 192)), ((201, 333), (160, 96)), ((77, 50), (64, 64))]:
    part = photo[: shape[0], : shape[1]]
    difference = np.abs(my_segment(model, part, *size) - predict.segment(model, part, size)).max()
    print(f"photo {shape}, network {size}: equal to 1e-6:", bool(difference <= 1e-6))

# %% [markdown]
# `segment` does a little more: it turns photos as their EXIF says, takes files, grey and transparent images, and puts
# the model into evaluation mode for the time of the call.
#
# ### What each slip costs
#
# Here is each slip alone, with everything else as it should be, on three photos: the astronaut, the cat (`chelsea`) and
# a motorcycle. **Predict** before you run it: which one ruins the mask, and which one hardly shows?

# %%
def slips(photo):
    """What the network is given, (1, 3, 256, 256), by the name of the slip."""
    right = enter(photo, 256, 256)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (MEAN, STD))
    unit = right * std + mean  # 0 to 1
    skipped = F.interpolate(torch.tensor(photo).permute(2, 0, 1)[None] / 255, (256, 256))
    return {
        "as it should be": right,
        "pixels skipped, no antialiasing": (skipped - mean) / std,
        "blue, green, red": (unit.flip(1) - mean) / std,
        "not normalised, 0 to 1": unit,
        "not normalised, 0 to 255": 255 * unit,
    }


three = {name: load_photo(name) for name in ("astronaut", "chelsea", "motorcycle")}
found = {}
with torch.inference_mode():
    for name, (picture, _, _) in three.items():
        for slip, x in slips(picture).items():
            found[slip, name] = model(x).logits.sigmoid()[0, 0].numpy()
print(f"{'IoU':34}" + "".join(f"{name:>11}" for name in three))
for slip in slips(photo):
    print(f"{slip:34}" + "".join(f"{iou_of(found[slip, name], by[1]):11.3f}" for name, by in three.items()))

# %% [markdown]
# <details><summary>What you should see</summary>
#
# Bytes that are not divided by 255 ruin every mask: nearly all pixels become object. Values from 0 to 1 cost the
# astronaut .17, her helmet, the motorcycle .06, and the cat .01. Exchanged colours hardly show: they cost the cat .01
# and even help the others. Skipped pixels help the astronaut by .03; but they break the thin parts of the motorcycle,
# .708 to .502. No slip raises an error, and one photo alone may not show it.
#
# </details>

# %% [markdown]
# ## 3 · Which size, which shape?
#
# BiRefNet takes any height and width that are multiples of 32: the deepest map has one cell for 32 × 32 pixels.
# `network_size` rounds to them. Without a size it takes the one that the weights were **trained at**.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for size in (200, 250, (100, 300)):
    print(size, "->", predict.network_size(model, size))
try:
    predict.network_size(model, 10)
except ValueError as error:
    print(error)

# %% [markdown]
# Why not simply the photo's own size? A convolution has kernels of fixed width. At twice the size, the same face covers
# twice as many cells in each direction, and kernels that were trained to see a whole face see half of it.

# %%
sizes = (96, 256, 384, 512)
print(f"{'IoU at':10}" + "".join(f"{size:>7}" for size in sizes))
for name in ("astronaut", "chelsea", "coffee"):
    picture, drawn, _ = load_photo(name)
    print(f"{name:10}" + "".join(f"{iou_of(predict.segment(model, picture, size), drawn):7.3f}" for size in sizes))

# %% [markdown]
# The size of training, 256, is the best on none of the three photos: 384 is, on all. At 96 pixels the astronaut falls
# to .303. At 512, twice the size of training, she holds .956, and the cat falls from .959 to .846. So the size of
# training is a safe choice and no law; somewhat larger may be better, twice as large can be worse.
#
# ### Squashed or padded?
#
# A photo of 451 × 300 pixels has to become a square. *Squashing* makes the cat narrower. *Padding* keeps her shape and
# fills the rest of the square with one colour; afterwards the mask of the border is cut off. A third way is a rectangle
# of the photo's shape. **Predict:** which is best? `padded` gives the mask, and the square that the network sees.

# %%
def padded(photo, colour, side=256):
    scale = side / max(photo.shape[:2])
    height, width = (round(scale * length) for length in photo.shape[:2])
    square = np.full((side, side, 3), colour, np.uint8)
    square[:height, :width] = predict.resize(photo, height, width)
    mask = my_segment(model, square, side, side)[:height, :width]
    return predict.resize(mask, *photo.shape[:2]), square


def same_shape(photo, side=256):
    scale = side / max(photo.shape[:2])
    return predict.segment(model, photo, tuple(round(scale * length) for length in photo.shape[:2]))


GREY = (124, 116, 104)  # becomes almost 0
shapes = {}
for name in ("chelsea", "motorcycle", "coffee"):
    picture, drawn, _ = load_photo(name)
    shapes[name] = {
        "squashed": predict.segment(model, picture),
        "padded, grey": padded(picture, GREY)[0],
        "padded, black": padded(picture, (0, 0, 0))[0],
        "a rectangle": same_shape(picture),
    }
    print(f"{name:11}" + ", ".join(f"{way} {iou_of(mask, drawn):.3f}" for way, mask in shapes[name].items()))

# %% [markdown]
# The motorcycle, side by side: what the network sees, and the masks below. Orange is too much, blue is missing.

# %%
from birefnet_lite.course.masks import marked, rows_of_pictures

machine, machine_mask, _ = load_photo("motorcycle")
seen = {
    "squashed": predict.resize(machine, 256, 256),
    "padded, grey": padded(machine, GREY)[1],
    "padded, black": padded(machine, (0, 0, 0))[1],
    "a rectangle": predict.resize(machine, 173, 256),
}
masks = {f"IoU {iou_of(mask, machine_mask):.3f}": marked(mask, machine_mask) for mask in shapes["motorcycle"].values()}
rows_of_pictures(
    [seen, masks],
    alt="A motorcycle in a square, narrower; twice in its own shape above a border, grey and black; in a rectangle. "
    "Below, its masks: with grey padding, floor and wall count as object.",
    width=7.5,
)

# %% [markdown]
# A grey border ruins the motorcycle (.412: floor and shelves count as object); a black one does not (.720). No way is
# the best on all three photos. Squashing wins on none, and loses .008, .012 and .060 to the best; on average it has
# .824, black .818, a rectangle .792 and grey .705. In training every photo was squashed; a border is something that
# this network has never seen, and what it makes of one is luck. So squash: it is the safe choice, not always the best.

# %% [markdown]
# ## 4 · Soft edges
#
# At an outline, one pixel shows a little of both. With the foreground's colour $F$, the background's $B$ and the
# mask $\alpha$, the photo shows
#
# $$I = \alpha F + (1 - \alpha) B$$
#
# By hand: a pixel half red cloth, $F = (200, 0, 0)$, half green meadow, $B = (0, 100, 0)$, $\alpha = 0.5$. The photo
# has $I = (100, 50, 0)$. We want it on white.
#
# - With the photo's colour: $0.5 \cdot (100, 50, 0) + 0.5 \cdot 255 = (177.5, 152.5, 127.5)$. The meadow is still in
#   it: a quarter of the pixel is green grass.
# - With the cloth's colour: $0.5 \cdot (200, 0, 0) + 0.5 \cdot 255 = (227.5, 127.5, 127.5)$. Pink, as it should be.
#
# So a cut-out needs two things: $\alpha$, and for soft pixels the colour $F$, which no photo shows.
#
# ### Exercise 2 · A new background
#
# *Difficulty ★☆☆ · 8 minutes.* Lay a cut-out over a new background. Its colours are those of the object alone, $F$,
# *not* multiplied by alpha: that is how PNG files and Pillow keep them.

# %% tags=["exercise"]
def composite(cut, background):
    """The cut-out over the background, mixed by the cut-out's alpha.

    cut: (H, W, 4), uint8: red, green, blue, alpha; an alpha of 255 hides the background. background: (H, W, 3), uint8.
    Returns (H, W, 3), uint8, each value rounded to the nearest whole number.
    """
    # <solution>
    alpha = cut[..., 3:] / 255  # (H, W, 1), float
    mixed = alpha * cut[..., :3] + (1 - alpha) * background
    return np.rint(mixed).astype(np.uint8)
    # </solution>

# %% [markdown]
# The check asks for every value, to the last level.

# %% tags=["NBVAL_CHECK_OUTPUT"]
ground_checked = checks.composite(composite)
ground_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# The formula above, with the cut-out's colours as $F$ and the new background as $B$. Bytes cannot hold the products:
# what type should the numbers have on the way?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Take the last channel, keeping its axis so that it meets three colours, and divide it by 255. Mix. Then round, and
# turn into bytes: turning alone would cut the fraction off.
#
# </details>

# %% [markdown]
# Pillow mixes in its own way, in whole numbers. The two agree to one level of 255. Where the exercise is not solved,
# Pillow takes its place.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def by_pillow(cut, background):
    ground = Image.fromarray(background).convert("RGBA")
    return np.asarray(Image.alpha_composite(ground, Image.fromarray(cut)).convert("RGB"))


lay = composite if ground_checked.passed else by_pillow
random = np.random.default_rng(0)
cut, ground = random.integers(0, 256, (31, 47, 4), np.uint8), random.integers(0, 256, (31, 47, 3), np.uint8)
print("equal to one level:", int(np.abs(lay(cut, ground).astype(int) - by_pillow(cut, ground)).max()) <= 1)

# %% [markdown]
# ### The colours that no photo shows
#
# `cut_out` estimates $F$: for soft pixels it looks where the object is seen alone nearby, then moves the estimate so
# that $F$ and $B$ mix to what the photo shows. First a test with a known answer. The cat with her hand-made mask, made
# as soft as a network's, stands in front of a green wall; that photo is cut out again and laid over white. The truth is
# known, since we painted the wall.

# %%
def softened(mask):
    """A hard mask (H, W), as soft as one that was made at 192 x 192 pixels: uint8."""
    height, width = mask.shape
    return np.asarray(Image.fromarray(mask).convert("L").resize((192, 192), Image.BILINEAR).resize((width, height)))


cat, cat_mask, _ = load_photo("chelsea")
soft = softened(cat_mask)  # (300, 451), uint8
alpha = soft[..., None] / 255
on_green = np.rint(alpha * cat + (1 - alpha) * [0, 100, 0]).astype(np.uint8)
truth = np.rint(alpha * cat + (1 - alpha) * 255).astype(np.uint8)
white = np.full_like(cat, 255)
results = {
    "the photo's colours": lay(np.dstack([on_green, soft]), white),
    "cut_out": lay(np.array(predict.cut_out(on_green, soft)), white),
}
edge = (soft > 5) & (soft < 250)
print(f"soft pixels: {edge.mean():.1%}")
for name, result in results.items():
    print(f"{name:20} differs there by {np.abs(result.astype(float) - truth)[edge].mean():4.1f} levels of 255")

# %% [markdown]
# An ear, enlarged.

# %%
crop = (slice(0, 120), slice(300, 451))
side_by_side(
    {"in front of green": on_green[crop]}
    | {name: result[crop] for name, result in results.items()}
    | {"the truth": truth[crop]},
    alt="The cat's ear on green; on white with a green rim; on white without it; and the truth, without it as well.",
    width=6.5,
)

# %% [markdown]
# The green rim of the second picture is gone in the third: 12.6 levels of error have become 2.6.
#
# Now a real photo: the astronaut with the network's own mask. At the right the estimate of $F$. Where she is not, it
# goes on with the colours of her nearest pixels; nobody sees them, since $\alpha$ is 0 there.

# %%
mask = predict.segment(model, photo)
soft = np.rint(255 * mask).astype(np.uint8)
cut = np.array(predict.cut_out(photo, mask))  # (512, 512, 4)
sky = np.full_like(photo, SKY)
side_by_side(
    {"photo": photo, "mask": mask, "estimate of F": cut[..., :3]},
    alt="The astronaut; her mask; and her colours, which go on as soft clouds of orange, brown and white.",
    width=6,
)

# %% [markdown]
# On the new background, before and after.

# %%
before, after = lay(np.dstack([photo, soft]), sky), lay(cut, sky)
crop = (slice(0, 200), slice(130, 330))
side_by_side(
    {"the photo's colours": before, "cut_out": after, "its colours, enlarged": before[crop]}
    | {"cut_out, enlarged": after[crop]},
    alt="The astronaut on blue, twice, and her head enlarged: first with a light halo around her hair, then without.",
    width=8,
)

# %% [markdown]
# Before, there is a light halo around her hair: the wall of the old room. With the estimate it is gone. A piece of the
# flag and a hole in her sleeve are there both times: they are mistakes of the mask, and no colour can mend them.

# %% [markdown]
# ## 5 · How good is a mask?
#
# Six pixels, by hand. The prediction $p$, and the mask $m$ that somebody drew:
#
# $$p = \begin{pmatrix} 0.9 & 0.8 & 0.7 \\ 0.4 & 0.2 & 0.1 \end{pmatrix} \qquad
# m = \begin{pmatrix} 1 & 1 & 0 \\ 1 & 1 & 0 \end{pmatrix}$$
#
# - **MAE**, the mean absolute error: $(0.1 + 0.2 + 0.7 + 0.6 + 0.8 + 0.1) / 6 = 0.417$. It takes the soft values.
# - **IoU**, intersection over union, of the pixels over a threshold, here 0.5. Chosen are three pixels; two of
#   them are in the mask. Three chosen or four in the mask make a union of five: $2 / 5 = 0.4$.
# - **Precision**: two of the three chosen are right, $2 / 3$. **Recall**: two of four in the mask are found, $1 / 2$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import metrics

p = torch.tensor([[0.9, 0.8, 0.7], [0.4, 0.2, 0.1]])
m = torch.tensor([[True, True, False], [True, True, False]])
chosen = p > 0.5
print(f"MAE {(p - m.float()).abs().mean():.3f}, the package says {metrics.mae(p, m):.3f}")
print(f"IoU {(chosen & m).sum() / (chosen | m).sum():.3f}, the package says {metrics.iou(p, m):.3f}")

# %% [markdown]
# The **F-measure** makes one number of precision $P$ and recall $R$. $\beta^2$ says how much recall counts; the
# papers use $\beta^2 = 0.3$, so that precision counts more.
#
# $$F_\beta = \frac{(1 + \beta^2) \, P \, R}{\beta^2 P + R} \qquad
# \text{here: } \frac{1.3 \cdot \tfrac{2}{3} \cdot \tfrac{1}{2}}{0.3 \cdot \tfrac{2}{3} + \tfrac{1}{2}} = 0.619$$
#
# Read the small print of a threshold. Our IoU, boundary IoU and HCE choose what is *over* it; the F-measure, as in the
# papers' programs, what is *at least* the threshold. For most masks it does not matter; for this one it does.

# %% tags=["NBVAL_CHECK_OUTPUT"]
half = torch.full((2, 3), 0.5)
print(f"all pixels 0.5: IoU {metrics.iou(half, m):.3f}, F at 127/255 {metrics.f_measure_curve(half, m)[127]:.3f}")

# %% [markdown]
# ### Exercise 3 · The F-measure
#
# *Difficulty ★★☆ · 10 minutes.* At any threshold. Think of the masks that are empty, and of predictions that find
# nothing.

# %% tags=["exercise"]
def f_measure(prediction, mask, threshold, beta_squared=0.3):
    """The F-measure of the pixels whose prediction is at least the threshold.

    prediction: (H, W), float in [0, 1]. mask: (H, W), bool. Returns one number, a float or a tensor of one value; 0
    where no pixel is both chosen and in the mask.
    """
    # <solution>
    chosen = prediction >= threshold
    hits = (chosen & mask).sum()
    if hits == 0:
        return 0.0
    precision, recall = hits / chosen.sum(), hits / mask.sum()
    return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)
    # </solution>

# %% [markdown]
# The check has pixels that lie on the threshold itself, and the empty cases.

# %% tags=["NBVAL_CHECK_OUTPUT"]
score_checked = checks.f_measure(f_measure)
score_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# You need three counts: chosen, in the mask, and both. Precision and recall have the same numerator.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Compare with the threshold: a bool for each pixel. Count those that are true in both. None: the score is 0, before
# anything is divided. Otherwise divide the hits once by the number chosen, once by the size of the mask, and put both
# into the formula.
#
# </details>

# %% [markdown]
# Benchmarks compute F at 256 thresholds, $0, 1/255, \ldots, 1$. The package gets all of them from two histograms, you
# from 256 passes over the image. The numbers are the same, for several shapes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
def package_f(prediction, mask, threshold):
    return metrics.f_measure_curve(prediction, mask)[round(threshold * 255)]


score = f_measure if score_checked.passed else package_f
print(f"the six pixels: {float(score(p, m, 0.5)):.3f}")
for shape in [(64, 64), (37, 53), (1, 200)]:
    noisy = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = noisy.roll(1, -1) + noisy > 0.9
    curve = torch.tensor([float(score(noisy, drawn, t / 255)) for t in range(256)])
    print(shape, "equal to 1e-6:", bool((curve - metrics.f_measure_curve(noisy, drawn)).abs().max() <= 1e-6))

# %% [markdown]
# ### On photos, at every threshold
#
# Four photos with hand-made masks come with the course. **Look:** does one threshold serve all of them? Is 0.5 a good
# one? A curve that stays high over most thresholds belongs to a mask that is nearly black and white.
#
# <details><summary>What you should see</summary>
#
# No: the best threshold is .41 for the astronaut, .96 for the cat, .88 for the coffee and .47 for the motorcycle. For
# the first two it hardly matters: the score stays within .02 of its best from .04 to .89. The coffee, our failure case,
# has .872 at 0.5 and .925 at its best, since the piece of table in its mask is less sure than the cup. So 0.5 serves
# three of four.
#
# </details>

# %%
measured = {}
for name in PHOTOS:
    picture, drawn, _ = load_photo(name)
    mask = predict.segment(model, picture)
    measured[name] = metrics.measure(mask, drawn, stretch=False, names=("s_measure", "f_max"))
curves = torch.stack([result.curves["f"] for result in measured.values()])  # (4, 256)

# %% [markdown]
# One line for each photo, and their mean, thick.

# %%
from birefnet_lite.course.picture import CARD, INK, Picture, card

figure = card(8, 3.4)
axes = figure.add_axes((0.08, 0.16, 0.9, 0.8), facecolor=CARD)
styles = ("-", "--", "-.", ":")
for name, curve, style in zip(measured, curves, styles):
    axes.plot(torch.arange(256) / 255, curve, style, label=name)
axes.plot(torch.arange(256) / 255, curves.mean(0), color=INK, lw=3, label="mean")
axes.set(xlabel="threshold", ylabel="F-measure", xlim=(0, 1), ylim=(0, 1))
axes.legend(loc="lower left")
Picture.of(figure, "The F-measure of four photos against the threshold, one curve each, and their mean.")

# %% [markdown]
# *Max F* of a data set is the highest point of the **mean** curve: one threshold for all images. The mean of the
# images' own highest points can only be higher, and is no fair number: nobody knows the best threshold of a new photo.

# %%
fair, flattering = curves.mean(0).max(), curves.max(1).values.mean()
print(f"max F: {fair:.3f}; the mean of the highest points: {flattering:.3f}")

# %% [markdown]
# ## 6 · What the numbers overlook
#
# | score | asks | better | needs a threshold |
# |---|---|---|---|
# | MAE | how far off is a pixel, on average? | low | no |
# | IoU | how much of both is in common? | high | one |
# | F, mean or max | precision and recall together? | high | all 256 |
# | weighted F | the same, softly; errors far from the object count more, errors beside hits less | high | no |
# | S-measure | is the structure alike, in four quarters and as an object? | high | no |
# | E-measure | do prediction and mask differ from their means alike? | high | all 256 |
# | boundary IoU | IoU of the rims, 2 % of the diagonal wide | high | one |
# | HCE, human correction effort | how many clicks would mend it? | low | one |
#
# To learn what each sees, we damage a perfect mask, that of the motorcycle, in six ways.

# %%
from scipy import ndimage

names = ("s_measure", "weighted_f", "e_mean", "mae", "iou", "f_max", "boundary_iou", "hce")
_, drawn, _ = load_photo("motorcycle")
exact = drawn.astype(np.float64)
damaged = {
    "moved by 2 pixels": np.roll(exact, 2, axis=1),
    "thin parts lost": ndimage.binary_opening(drawn, iterations=8),
    "holes filled": ndimage.binary_closing(drawn, iterations=8),
    "blurred": ndimage.gaussian_filter(exact, 4).clip(0, 1),
    "never sure": 0.3 + 0.4 * exact,
    "a spot too much": drawn | (np.hypot(*np.mgrid[-60:440, -650:91]) < 25),
}

# %% [markdown]
# A piece of each.

# %%
piece = (slice(20, 300), slice(400, 700))
side_by_side(
    {name: value[piece].astype(np.float64) for name, value in damaged.items()},
    alt="The upper right of a motorcycle's mask, damaged in six ways.",
)

# %% [markdown]
# And their scores. **Predict** first: which of the six is worst by IoU, which by HCE?

# %%
print(f"{'':18}" + "".join(f"{name:>13}" for name in names))
for name, value in damaged.items():
    values = metrics.measure(value, drawn, stretch=False, names=names).values
    print(f"{name:18}" + "".join(f"{values[key]:13.3f}" for key in names))

# %% [markdown]
# **The first three lines:** MAE (.017 to .018) and IoU (.942 or .943) are almost the same for a shift that nobody sees,
# for lost levers and struts (by IoU the worst of the six, barely), and for gaps that are filled. Boundary IoU minds the
# filled gaps (.700), but ranks the lost parts (.911) even *above* the shift (.894): thin parts have little area, and a
# shift touches every border. Only HCE puts the shift clearly first: 68 clicks for it, 177 for the lost parts, 251 for
# the filled gaps, the worst of the six. *Never sure* is perfect for every score that cuts at a threshold, and bad for
# those that do not. The *spot* costs one click.
#
# ### Exercise 4 · Fool a score
#
# *Difficulty ★★☆ · 10 minutes, open.* HCE is the only score above that clearly minds lost thin parts. What does *it*
# overlook? Damage a mask so that HCE asks for **5 clicks at most**, and yet IoU falls to **.7 or less**. The way is
# open; the check tries your function on three masks, mirrored or not.

# %% tags=["exercise"]
def fool_hce(mask):
    """A damaged copy of a mask: at most 5 clicks by HCE, an IoU of at most 0.7.

    mask: an array (H, W) of floats, 1 in the object and 0 elsewhere. Returns an array (H, W), bool or 0 to 1.
    """
    # <solution>
    return np.maximum(mask, ndimage.distance_transform_edt(mask < 0.5) > 12)
    # </solution>


# %% [markdown]
# The check says how many clicks your damage costs, and for what.

# %% tags=["NBVAL_CHECK_OUTPUT"]
fooled_checked = checks.fool_hce(fool_hce)
fooled_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Look at the spot in the table. Taking something away costs HCE its outline; adding something far from the object costs
# one click. How many clicks does a larger spot cost?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `ndimage.distance_transform_edt(mask < 0.5)` gives for each pixel how far away the object is. All that is farther than
# some 12 pixels does not touch the object's outline.
#
# </details>
# <details><summary>Another way</summary>
#
# HCE forgives what is added if it is thinner than some ten pixels. So stripes all over the background, with a gap
# around the object, cost one click on the motorcycle, at an IoU of .40. The next cell has them.
#
# </details>

# %% [markdown]
# Yours on the motorcycle, or where it is not solved, stripes.

# %%
def stripes(mask):
    """Eight of twelve columns, as far as they keep off the object."""
    return np.maximum(mask, (ndimage.distance_transform_edt(mask < 0.5) > 6) & (np.arange(mask.shape[1]) % 12 < 8))


drawn = load_photo("motorcycle")[1]
fooled = (fool_hce if fooled_checked.passed else stripes)(exact)
values = metrics.measure(np.asarray(fooled, float), drawn, stretch=False, names=names).values
print(", ".join(f"{key} {values[key]:.3f}" for key in ("iou", "mae", "boundary_iou", "hce")))
side_by_side(
    {"the mask": exact, "damaged": np.asarray(fooled, float)},
    alt="The mask of a motorcycle, and the same with a damage that HCE overlooks.",
    width=6,
)

# %% [markdown]
# So no score is enough by itself: HCE tells how long a person would work, and a large wrong region is removed with one
# click. Whoever optimises one number gets what this number counts.

# %% [markdown]
# ### The network's own masks
#
# Pixels of which one may argue whether they belong to the object (`ignore`) are left out of MAE and IoU here: scores
# that count single pixels allow it, those that look at neighbours do not.

# %%
for name in PHOTOS:
    picture, drawn, ignore = load_photo(name)
    keep = ~ignore
    pair = metrics.prepare(predict.segment(model, picture)[keep][None], drawn[keep][None], stretch=False)
    values = measured[name].values
    print(f"{name:11} MAE {metrics.mae(*pair):.3f}  IoU {metrics.iou(*pair):.3f}  S {values['s_measure']:.3f}")

# %% [markdown]
# By MAE and IoU the cat is nearly right; by S she comes after the coffee, so the scores do not rank the photos alike.
# The motorcycle suffers at its thin parts. The coffee, the failure case, has the largest MAE: its mask takes in a piece
# of table.

# %% [markdown]
# ### A trap: stretching
#
# The benchmarks' programs first **stretch** each prediction: its lowest value becomes 0, its highest 1. Look what that
# does to a photo without any object, on which the network is almost right.

# %% tags=["NBVAL_CHECK_OUTPUT"]
faint = torch.linspace(0.01, 0.03, 100).reshape(10, 10)
nothing = torch.zeros(10, 10, dtype=torch.bool)
for stretch in (False, True):
    print(f"stretch={stretch}: MAE {metrics.mae(*metrics.prepare(faint, nothing, stretch=stretch)):.2f}")

# %% [markdown]
# `evaluate` and `measure` take `stretch` as an argument, since published numbers need it and yours may not.

# %% [markdown]
# ## 7 · Published weights
#
# The authors of BiRefNet have published weights for many tasks. `load` knows them by name. It downloads a file once;
# this notebook downloads nothing:
#
# ```python
# from birefnet_lite import load
#
# model = load("ZhengPeng7/BiRefNet_lite")                      # by name, from the Hugging Face hub, then the cache
# model = load("my_checkpoint.pth", patch_order="old")          # a file in the original's format
# ```
#
# The names say what they are for. `lite` and `T`: the small backbone, all others the large one. `DIS5K`, `HRSOD`,
# `COD`, `portrait`: trained on one kind of picture. `matting`: soft hair and glass. `HR`, `2K`, `512x512`: another
# size. `dynamic`: trained at many sizes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.checkpoints import PUBLISHED

for name, entry in PUBLISHED.items():
    print(f"{name.split('/')[1]:24} {entry.backbone}  {entry.train_size}  image tiles: {entry.patch_order}")

# %% [markdown]
# ### What the shapes tell
#
# A file of weights holds names and tensors. From names and shapes `infer_config` reads the configuration: which
# backbone, how many context scales, which blocks. On the device `meta` tensors have shapes and no values, so that even
# large networks cost nothing here.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite import BiRefNet, BiRefNetConfig
from birefnet_lite.checkpoints import official_state_dict
from birefnet_lite.checkpoints.infer_config import infer_config

wide = BiRefNetConfig(backbone="resnet50", context_scales=1, reconstruction_block="residual", batch_norm=False)
for config in (BiRefNetConfig.preset("lite"), BiRefNetConfig.preset("large"), wide):
    with torch.device("meta"):
        weights = official_state_dict(BiRefNet(config))
    print(f"{config.backbone:10} {len(weights)} tensors, read back:", infer_config(weights) == config)

# %% [markdown]
# ### What no shape tells
#
# - The **size** it was trained at.
# - The **order of the image tiles**. In November 2024 the original's code changed the order of channels in the inward
#   reference. Weights from before were not converted. Everything fits, nothing complains, and the network sees the
#   photo's tiles in the wrong places. `load` knows the order of every published file; for a file of yours you say it.
# - The **licence**. Weights have licences of their own, beside that of the code: read the model's card, and the terms
#   of what it was trained on. DINOv3, one of the possible backbones, restricts what its weights may be used for.
#
# We make an "old" file out of our model, to see it happen: the tiles' channels (colour, row, column) become (column,
# row, colour).

# %%
new = {name: value.clone() for name, value in official_state_dict(model).items()}
old = dict(new)
for number, grid in ((5, 32), (4, 16), (3, 8), (2, 4)):
    name = f"decoder.ipt_blk{number}.conv1.weight"
    out, _, k, _ = new[name].shape
    tiles = new[name].reshape(out, 3, grid, grid, k, k)  # (out, colours, rows, columns, k, k)
    old[name] = tiles.permute(0, 3, 2, 1, 4, 5).reshape(new[name].shape)

# %% [markdown]
# Both ways to load it, without any error.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.checkpoints import load_official_state_dict

right, wrong = BiRefNet(model.config).eval(), BiRefNet(model.config).eval()
load_official_state_dict(right, old, patch_order="old")
load_official_state_dict(wrong, old, patch_order="new")
x = torch.randn(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    reference = model(x).logits
    print("old, read as old, equal:", torch.equal(right(x).logits, reference))
    print("old, read as new, equal:", torch.equal(wrong(x).logits, reference))

# %% [markdown]
# ## 8 · The photo again
#
# The photo of section 1, with your way in and your way out. In the first column stands what it was.

# %%
mask = my_segment(model, photo, *predict.network_size(model))
cut = np.array(predict.cut_out(photo, mask))
print(f"IoU {iou_of(bad_mask, by_hand):.3f} at first, {iou_of(mask, by_hand):.3f} now")
side_by_side(
    {"at first": pasted, "its mask now": mask, "cut out": lay(cut, sky)},
    alt="The astronaut on blue without helmet; a mask with the helmet; the astronaut on blue with it.",
    width=6.3,
)

# %% [markdown]
# Not one weight has changed. The helmet is back, the outline is soft and has no halo: IoU .769 at first, .928 now. What
# is still wrong, the flag and the sleeve, is the network's own.

# %% [markdown]
# ### Files
#
# A soft mask is a grey PNG: 256 levels, without loss. A cut-out is a PNG or a lossless WebP, with alpha. A JPEG has no
# alpha and blurs edges: never for masks. We write both and read them again.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    Image.fromarray(np.rint(mask * 255).astype(np.uint8)).save(Path(folder, "astronaut.png"))
    Image.fromarray(cut).save(Path(folder, "astronaut.cutout.png"))
    for file in sorted(Path(folder).iterdir()):
        with Image.open(file) as image:
            print(f"{file.name:22} {image.mode:5} {image.size}")
    again = np.asarray(Image.open(Path(folder, "astronaut.png"))) / 255
print("the mask again, to half a level:", bool(np.abs(again - mask).max() <= 0.5 / 255 + 1e-6))

# %% [markdown]
# The command line does this for a folder of yours. A photo that cannot be read is reported, and the others are done:
#
# ```
# python -m birefnet_lite segment photos -o masks --cutout
# python -m birefnet_lite segment photos/*.jpg -o masks --model ZhengPeng7/BiRefNet_lite --size 1024
# python -m birefnet_lite evaluate nano data --csv scores.csv
# ```
#
# In `evaluate`, `data` is a folder with the photos in `im/` and their masks in `gt/`.

# %% [markdown]
# ## 9 · Play with it
#
# The view shows the mask of every stage, and its error against the hand-made one. **Look for two things:**
#
# 1. In the last row, red is too much and blue is missed. What does stage 4 get wrong, and which of it is mended later?
# 2. The table has MAE, IoU and S for each stage. Do they all improve on the way?
#
# <details><summary>What you should see</summary>
#
# 1. The flag at the left is object from stage 4 to the end. Stage 4 also misses the rim of her hair and the top of the
#    helmet, which later stages find. Her sleeve on the right goes the other way: stage 2 loses it, the last step brings
#    half of it back.
# 2. Yes, on this photo: the IoU goes .834, .848, .881, .927 and S from .780 to .869.
#
# </details>

# %%
from widgets import prediction_ladder

view = prediction_ladder(model, photo, by_hand.astype(float), size=(256, 256))
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view, width=760)

# %% [markdown]
# ## What to remember
#
# - **Resize, normalise, network, sigmoid, resize back.** Squash to the size of training; normalise as the backbone
#   knows it.
# - At soft edges the photo's colour is a **mixture**. A cut-out needs the foreground's own colour.
# - Every score **overlooks** something: MAE and IoU thin parts, thresholds doubt, HCE large regions beside the object.
# - A score needs its small print: **which threshold, stretched or not, at which size**.
# - Shapes tell a file's configuration, but not the **order of the tiles**, the **size** or the **licence**.

# %% [markdown]
# ## Three questions
#
# **1. Somebody forgets to normalise: the network gets values from 0 to 1. What happens?**
#
# - a) PyTorch raises an error, since the values lie outside of the range that was seen in training.
# - b) Nothing changes, since the first batch norm brings any values to mean 0 and deviation 1 again.
# - c) A mask comes out without any complaint, and it can be worse than with normalised values.
#
# <details><summary>Answer</summary>
#
# **c.** A tensor is a tensor; nothing checks its values (a). In evaluation mode batch norm uses the statistics of
# training, so it does not adapt (b): black, which should be near −2, arrives as 0, which the network takes for a
# medium grey. Section 2 has what it costs.
#
# </details>

# %% [markdown]
# **2. Two masks of bicycles have the same MAE. In one the spokes are missing, the other is moved by two pixels. Which
# score would you show beside it?**
#
# - a) HCE, human correction effort.
# - b) IoU, intersection over union.
# - c) Boundary IoU, of the rims alone.
#
# <details><summary>Answer</summary>
#
# **a.** Spokes have few pixels, so they hardly count in IoU. A shift touches every border, so boundary IoU even prefers
# the mask without its thin parts: .911 against .894 in the table of section 6. HCE says 177 clicks for *thin parts
# lost* and 68 for *moved by 2 pixels*: it does not forgive the shift, and minds the spokes more.
#
# </details>

# %% [markdown]
# **3. You load a `.pth` file that a colleague trained with the original's code in spring 2024. Names and shapes all
# fit. Are you done?**
#
# - a) Yes: a file whose names and shapes all fit gives the masks that it gave.
# - b) No: the order of the image tiles was another one, which no shape shows.
# - c) No: a `.pth` file has to be converted to safetensors before it is loaded.
#
# <details><summary>Answer</summary>
#
# **b.** Give `patch_order="old"`. `load` warns when a file does not say it. A `.pth` file is read without running
# code from it (c).
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | photo to mask | – | `inference.py` | `inference/predict.py`, `inference/images.py` |
# | foreground colours | – | `image_proc.py`, `refine_foreground` | `inference/cutout.py` |
# | metrics | experiments: metrics | `evaluation/metrics.py` | `metrics/` |
# | published weights | – | model cards | `checkpoints/` |
#
# **Paper and code.** The tables of papers in this field are made with stretched predictions and binarised masks. The
# original's `inference.py` writes masks for folders that have hand-made masks beside them; `segment` needs photos
# only. The mixture is that of Porter and Duff, *Compositing digital images*, 1984; S-measure: Fan et al., 2017,
# [arXiv:1708.00786](https://arxiv.org/abs/1708.00786); E-measure: Fan et al., 2018,
# [arXiv:1805.10421](https://arxiv.org/abs/1805.10421); boundary IoU: Cheng et al., 2021,
# [arXiv:2103.16562](https://arxiv.org/abs/2103.16562); HCE: Qin et al., 2022,
# [arXiv:2203.03041](https://arxiv.org/abs/2203.03041).
