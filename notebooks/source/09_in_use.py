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
# A network takes a tensor and gives logits. People have photos and want objects without their background, and a
# number that says how good the mask is. This notebook is about the way in, the way out, and the numbers.
#
# **After this notebook you can**
# - bring a photo into the form that the network wants, and its mask back,
# - lay a cut-out over a new background without a halo of the old one,
# - say what MAE, IoU, F-measure and the other scores of a mask count, and what they overlook,
# - load published weights and know what their files do not say.
#
# **Time:** 60 minutes, 30 of them for the exercises. **You need:** notebook 00; nothing of 02 to 08 is used.

# %% [markdown]
# ## 1 · The map
#
# You are at the top: the photo that goes in, and the mask that comes out.

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
import torch

from birefnet_lite.inference.images import MEAN, STD

three = torch.tensor([[255.0, 255, 255], [124, 116, 104], [0, 0, 0]])  # three pixels; red, green, blue
(three / 255 - torch.tensor(MEAN)) / torch.tensor(STD)

# %% [markdown]
# ### Exercise 1 · A photo for the network
#
# *Difficulty ★★☆ · 12 minutes.* Steps 1 and 2. Resize with Pillow, bilinear: when a photo gets smaller, Pillow takes
# the mean over all pixels that become one (antialiasing), and rounds to bytes.

# %% tags=["exercise"]
import numpy as np
from PIL import Image


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
from birefnet_lite.course import course_model
from birefnet_lite.photos import PHOTOS, load_photo

model = course_model().model
photo, mask, ignore = load_photo("coffee")  # (400, 600, 3) uint8; (400, 600) bool, twice
for shape, size in [((400, 600), (128, 192)), ((201, 333), (160, 96)), ((77, 50), (64, 64))]:
    part = photo[: shape[0], : shape[1]]
    difference = np.abs(my_segment(model, part, *size) - predict.segment(model, part, size)).max()
    print(f"photo {shape}, network {size}: equal to 1e-6:", bool(difference <= 1e-6))

# %% [markdown]
# `segment` does a little more: it turns photos as their EXIF says, takes files, grey and transparent images, and puts
# the model into evaluation mode for the time of the call. A model in training mode gives another mask: dropout is at
# work, and batch norm uses the statistics of this one photo.
#
# ## 3 · On a real photo
#
# The photo squashed, the mask that comes out, and the mask as large as the photo.

# %%
from birefnet_lite.course import side_by_side

height, width = predict.network_size(model)
seen = np.array(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))
with torch.inference_mode():
    small = model(enter(photo, height, width)).logits.sigmoid()[0, 0].numpy()
side_by_side(
    {"photo": photo, "what the network sees": seen, "its mask": small, "back": predict.segment(model, photo)},
    alt="A photo of a cup of coffee; the same squashed to a square; its square mask; the mask in the photo's shape.",
)

# %% [markdown]
# ### Which size?
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
# Why not simply the photo's own size? A convolution has kernels of fixed width. At twice the size, the same cup
# covers twice as many cells in each direction, and kernels that were trained to see a whole handle see half of it.
# And in training photos were *squashed* to one size: objects as wide or narrow as squashing makes them are what the
# network knows. So squash too; do not pad with borders that it has never seen.
#
# Here are three sizes. **Look** at whether the largest is the best one, and where they differ: in the outline, or in
# what counts as the object?
#
# <details><summary>What you should see</summary>
#
# The IoU with the hand-made mask is .789 at 96 pixels, .820 at 192 and .834 at 384. The outline gets finer, and which
# part of the table is taken for the object changes. On other photos the size decides everything: the astronaut has
# .370 at 96 pixels, .921 at 192 and .949 at 384.
#
# </details>

# %%
masks = {f"{size} pixels": predict.segment(model, photo, size) for size in (96, 192, 384)}
side_by_side(masks, alt="Three masks of the cup of coffee, made at 96, 192 and 384 pixels.", width=7)

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
# that $F$ and $B$ mix to what the photo shows. A test with a known answer: a red disc with a soft edge on
# green, laid over white.

# %% tags=["NBVAL_CHECK_OUTPUT"]
y, x = np.mgrid[:96, :96]
alpha = (0.5 + (30 - np.hypot(y - 48, x - 48)) / 12).clip(0, 1).astype(np.float32)  # (96, 96), 12 pixels of edge
disc = np.rint(alpha[..., None] * [200, 0, 0] + (1 - alpha[..., None]) * [0, 100, 0]).astype(np.uint8)
wanted = alpha[..., None] * [200, 0, 0] + (1 - alpha[..., None]) * 255.0
white = np.full((96, 96, 3), 255, np.uint8)
naive = lay(np.dstack([disc, np.rint(alpha * 255).astype(np.uint8)]), white)
clean = lay(np.array(predict.cut_out(disc, alpha)), white)
for name, result in {"the photo's colours": naive, "cut_out": clean}.items():
    print(f"{name:20} within 8 levels of the truth:", bool(np.abs(result - wanted).max() <= 8))

# %% [markdown]
# Left, the halo of the old background; in the middle, `cut_out`; right, the truth.

# %%
side_by_side(
    {"the photo's colours": naive, "cut_out": clean, "the truth": wanted.astype(np.uint8)},
    alt="A red disc on white, three times. On the left it has a dark, muddy rim; in the middle and right it has none.",
    width=7,
)

# %% [markdown]
# On the photo. So that the mask is not to blame, it is the hand-made one, made as soft as a network's whose input is
# 192 pixels wide. **Look** at the rim of the saucer: on the left, a dark halo of the old table.

# %%
half = Image.fromarray(mask).convert("L").resize((192, 192), Image.Resampling.BILINEAR).resize((600, 400))
soft = np.asarray(half)  # (400, 600), uint8
blue = np.full_like(photo, [150, 190, 235])
crop = (slice(250, 310), slice(70, 160))
pair = {"the photo's colours": np.dstack([photo, soft]), "cut_out": np.array(predict.cut_out(photo, soft))}
side_by_side(
    {name: lay(cut, blue)[crop] for name, cut in pair.items()},
    alt="The edge of the saucer on light blue, enlarged. On the left a dark rim of the old table, on the right none.",
)

# %% [markdown]
# ## 5 · How good is a mask?
#
# Six pixels, by hand. The prediction $p$, and the mask $m$ that somebody drew:
#
# $$p = \begin{pmatrix} 0.9 & 0.8 & 0.7 \\ 0.4 & 0.2 & 0.1 \end{pmatrix} \qquad
# m = \begin{pmatrix} 1 & 1 & 0 \\ 1 & 1 & 0 \end{pmatrix}$$
#
# - **MAE**, the mean absolute error: $(0.1 + 0.2 + 0.7 + 0.6 + 0.8 + 0.1) / 6 = 0.417$. It takes the soft values.
# - **IoU**, intersection over union, of the pixels that reach a threshold, here 0.5. Chosen are three pixels; two of
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

# %%
names = ("s_measure", "weighted_f", "e_mean", "mae", "iou", "f_max", "boundary_iou", "hce")
results = {}
for name in PHOTOS:
    picture, drawn, _ = load_photo(name)
    results[name] = metrics.measure(predict.segment(model, picture), drawn, stretch=False, names=names)
curves = torch.stack([result.curves["f"] for result in results.values()])  # (4, 256)

# %% [markdown]
# One line for each photo, and their mean, thick.

# %%
from birefnet_lite.course.picture import CARD, INK, Picture, card

figure = card(8, 3.4)
axes = figure.add_axes((0.08, 0.16, 0.9, 0.8), facecolor=CARD)
styles = ("-", "--", "-.", ":")
for name, curve, style in zip(results, curves, styles):
    axes.plot(torch.arange(256) / 255, curve, style, label=name)
axes.plot(torch.arange(256) / 255, curves.mean(0), color=INK, lw=3, label="mean")
axes.set(xlabel="threshold", ylabel="F-measure", xlim=(0, 1), ylim=(0, 1))
axes.legend(loc="lower left")
Picture.of(figure, "The F-measure of four photos against the threshold, one curve each, and their mean.")

# %% [markdown]
# *Max F* of a data set is the highest point of the **mean** curve: one threshold for all images. The mean of the
# images' own highest points can only be higher, and is no fair number: nobody knows the best threshold of a new photo.

# %% tags=["NBVAL_CHECK_OUTPUT"]
fair, flattering = curves.mean(0).max(), curves.max(1).values.mean()
print("the mean of the highest points is at least as high:", bool(flattering >= fair))

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
# And their scores. **Look at the first three lines:** MAE and IoU are almost the same for a shift that nobody sees,
# for lost levers and struts, and for gaps that are filled. Boundary IoU ranks the lost parts (.911) even *above* the
# shift (.894): thin parts have little area, and a shift touches every border. Only HCE tells them apart: 68 clicks for
# the shift, 177 for the lost parts, 251 for the filled gaps. *Never sure* is
# perfect for every score that cuts at one threshold, and bad for those that do not. The *spot* costs one click.

# %%
print(f"{'':18}" + "".join(f"{name:>13}" for name in names))
for name, value in damaged.items():
    values = metrics.measure(value, drawn, stretch=False, names=names).values
    print(f"{name:18}" + "".join(f"{values[key]:13.3f}" for key in names))

# %% [markdown]
# The network's own masks. Pixels of which one may argue whether they belong to the object (`ignore`) are left out of
# MAE and IoU here: scores that count single pixels allow it, those that look at neighbours do not.

# %%
for name in PHOTOS:
    picture, drawn, ignore = load_photo(name)
    keep = ~ignore
    pair = metrics.prepare(predict.segment(model, picture)[keep][None], drawn[keep][None], stretch=False)
    values = results[name].values
    print(f"{name:11} MAE {metrics.mae(*pair):.3f}  IoU {metrics.iou(*pair):.3f}  S {values['s_measure']:.3f}")

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
# ## 8 · Files
#
# A soft mask is a grey PNG: 256 levels, without loss. A cut-out is a PNG or a lossless WebP, with alpha. A JPEG has no
# alpha and blurs edges: never for masks. We write a folder and read it again.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    for name in PHOTOS:
        picture = load_photo(name)[0]
        mask = predict.segment(model, picture)
        Image.fromarray(np.rint(mask * 255).astype(np.uint8)).save(Path(folder, f"{name}.png"))
        predict.cut_out(picture, mask).save(Path(folder, f"{name}.cutout.png"))
    for file in sorted(Path(folder).iterdir()):
        with Image.open(file) as image:
            print(f"{file.name:22} {image.mode:5} {image.size}")
    again = np.asarray(Image.open(Path(folder, f"{name}.png"))) / 255
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
# ## 9 · The table
#
# Nothing in this notebook adds parameters. The table is complete: every row has been built.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

SIZE = (256, 384)
part_table(model, SIZE, upto="09")

# %% [markdown]
# ## 10 · Play with it
#
# The view shows the mask of every stage, and its error against the hand-made one. **Look for two things:**
#
# 1. In the last row, red is too much and blue is missed. Which errors are there at stage 4 already? What is decided at
#    1/32 of the size is hard to undo later.
# 2. The table has MAE, IoU and S for each stage. Do they all improve on the way?
#
# <details><summary>What you should see</summary>
#
# 1. The patch of table that counts as object is there at stage 4, and stays to the end.
# 2. No: on this photo the IoU goes .765, .747, .748, .769. On the astronaut it rises from .859 to .944.
#
# </details>

# %%
from widgets import prediction_ladder

photo, mask, _ = load_photo("coffee")
view = prediction_ladder(model, photo, mask.astype(float), size=SIZE)
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view, width=1000)

# %% [markdown]
# ## What to remember
#
# - **Resize, normalise, network, sigmoid, resize back.** Squash to the size of training; normalise as the backbone
#   knows it.
# - At soft edges the photo's colour is a **mixture**. A cut-out needs the foreground's own colour.
# - Every score **overlooks** something: MAE and IoU do not see thin parts, thresholds do not see doubt.
# - A score needs its small print: **which threshold, stretched or not, at which size**.
# - Shapes tell a file's configuration, but not the **order of the tiles**, the **size** or the **licence**.

# %% [markdown]
# ## Three questions
#
# **1. Somebody forgets to normalise: the network gets values from 0 to 1. What happens?**
#
# - a) An error: the values are out of range.
# - b) A mask comes out, and it is worse than it could be.
# - c) Nothing: the first batch norm takes care of it.
#
# <details><summary>Answer</summary>
#
# **b.** A tensor is a tensor; nothing checks its values. In evaluation mode batch norm uses the statistics of
# training, so it does not adapt (c): black, which should be near −2, arrives as 0, which the network takes for a
# medium grey.
#
# </details>

# %% [markdown]
# **2. Two masks of bicycles have the same MAE. In one the spokes are missing, the other is a little too wide all
# around. Which score would you show beside it?**
#
# - a) IoU.
# - b) Max F.
# - c) HCE.
#
# <details><summary>Answer</summary>
#
# **c.** Spokes have few pixels, so they hardly count in IoU and F; each of them needs clicks to be drawn again. An
# outline that is off by a little costs clicks too, but fewer: 177 for *thin parts lost* against 68 for *moved by 2
# pixels* above.
#
# </details>

# %% [markdown]
# **3. You load a `.pth` file that a colleague trained with the original's code in spring 2024. Names and shapes all
# fit. Are you done?**
#
# - a) No: the image tiles were in the old order, which shapes do not show.
# - b) Yes: all names and shapes were checked.
# - c) No: `.pth` files cannot be used.
#
# <details><summary>Answer</summary>
#
# **a.** Give `patch_order="old"`. `load` warns when a file does not say it. A `.pth` file is read without running
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
