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
# # 00 · Start here
#
# BiRefNet takes a photo and cuts the main object out of it, down to single hairs and spokes.
# In this course you build it yourself, one part per notebook, and check each part against the full network.
#
# **After this notebook you can**
# - name the parts of BiRefNet and say what flows between them,
# - read the table of shapes that every later notebook keeps,
# - send a photo of your own through the network and look at any of its maps.
#
# **Time:** 20 minutes. **You need:** some Python, and to have heard of convolutions. **Run it:** from top to bottom,
# with *Run → Run All Cells*. It needs no network connection and no GPU.

# %% [markdown]
# ## 1 · Is everything there?
#
# One line for each thing that the course needs. A ✗ says what to do.

# %% tags=["machine"]
from birefnet_lite.course import check_environment

findings = check_environment()

# %% [markdown]
# ## 2 · The task
#
# Here is a photo, 300 pixels high and 451 wide, with three numbers per pixel: red, green and blue. With it comes a mask
# of its main object that was made by hand.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.photos import load_photo

photo, by_hand, _ = load_photo("chelsea")
photo.shape, by_hand.shape

# %% [markdown]
# Could we not just take all pixels brighter than some number? The method of Otsu finds the number that separates
# bright from dark best. Orange pixels are background that the mask takes for the object; blue ones are parts of the
# object that it misses. The score under the title is the **intersection over union**, IoU: the pixels in both masks,
# divided by the pixels in either; 1 is perfect.

# %%
from skimage import color, filters

from birefnet_lite.course.masks import compare_masks

grey = color.rgb2gray(photo)  # (H, W)
bright = (grey > filters.threshold_otsu(grey)).astype(float)
compare_masks(photo, by_hand, {"brighter than a threshold": bright}, "A cat; beside it a mask in scraps.")

# %% [markdown]
# A cat is not brighter than its blanket. Brightness, edges and colours do not tell what an object *is*.

# %% [markdown]
# **Dichotomous image segmentation** asks one question for each pixel: *does it belong to the object, or not?*
# The answer is a **mask**, as large as the photo, with a number between 0 (no) and 1 (yes) in every pixel.
#
# Two things make this hard, and they pull in opposite directions:
# - to know *what* the object is, one has to see all of the photo at once, and can be coarse about it;
# - to know *where* it ends, one has to see every pixel, and can be short-sighted about it.
#
# BiRefNet answers both. On its way down it makes maps that are smaller and smaller, and mean more and more. On its
# way up it brings detail back, from two references: the photo itself (**inward**) and its edges (**outward**). That
# is the *bilateral reference* in its name.

# %% [markdown]
# ## 3 · The map
#
# This is the whole network. Each later notebook shows this map again and says where you are. A **stride** of 8 means:
# one cell of the map stands for 8 × 8 pixels of the photo. The dark circles are notebooks.

# %%
from birefnet_lite.course import network_map

network_map()

# %% [markdown]
# Follow the arrows once:
#
# 1. The **encoder** runs twice with the same weights: on the photo, and on the photo at half size.
# 2. The **squeeze module** takes the deepest map, with the finer maps shrunk to it as *context*, and makes it
#    narrower.
# 3. Four decoder **stages** climb back up. Each one looks at the photo, cut into tiles, then reconstructs; the three
#    coarser ones then multiply their result by an *attention map* that is trained with the object's edges.
# 4. Between two stages, a **lateral block** brings in the encoder's map of the next finer level.
# 5. The **head** looks at the photo once more and gives one number per pixel.

# %% [markdown]
# ## 4 · The network
#
# One function builds it, and says whether its weights are trained. Read what it prints.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import course_model

course = course_model()
model = course.model
print(course.notice)

# %% [markdown]
# A PyTorch network is made of modules in modules. At the top there are four: the encoder, the squeeze module and
# the decoder, as on the map, and the class head, which only training uses.
# A **parameter** is a number that training sets.

# %% tags=["NBVAL_CHECK_OUTPUT"]
for name, part in model.named_children():
    parameters = sum(p.numel() for p in part.parameters())
    print(f"{name:8} {type(part).__name__:14} {parameters:11,} parameters")

# %% [markdown]
# ## 5 · The running table
#
# Now each part by itself. The shapes are *measured*: the table sends an empty photo through the model and writes down
# what comes out, as channels × height × width. Later notebooks fill the same table, part by part.
#
# Height and width must be multiples of 32, because level 4 has stride 32. Ours are 256
# and 384, in which the photo keeps its form.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

SIZE = (256, 384)  # height, width
table = part_table(model, SIZE)
table

# %% [markdown]
# Three things to see in it:
#
# - From level to level the maps halve in height and width, and the encoder's channels grow. Less *where*, more
#   *what*.
# - *Encoder: both, and context* has twice the channels of the backbone: the maps of the whole and of the half-size
#   photo are concatenated along the channels. Level 4 has more still; those are the finer levels, shrunk to it.
# - The backbone holds most of the parameters. Everything else in the table is what this course is about.

# %% [markdown]
# The parts add up to the whole. The table counts part by part; PyTorch counts all at once.

# %% tags=["NBVAL_CHECK_OUTPUT"]
total = sum(p.numel() for p in model.parameters())
print(f"{total:,} parameters in the model")
print("the same as in the table:", total == table.total)

# %% [markdown]
# ## 6 · A photo goes through
#
# `prepare` resizes the photo, subtracts ImageNet's mean colour, divides by its spread, and adds a batch axis in
# front: what comes out has the shape (batch, colours, height, width).

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.analysis import prepare

x = prepare(model, photo, size=SIZE).tensor
x.shape

# %% [markdown]
# The model gives **logits**: any real numbers. The sigmoid function turns them into numbers between 0 and 1.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch

with torch.inference_mode():
    logits = model(x).logits
mask = logits.sigmoid()[0, 0]  # (B, 1, H, W) -> (H, W)
logits.shape, mask.shape

# %% [markdown]
# The picture of section 2, repaired. White is *object*, black is *not*, grey is *undecided*. Section 4 printed whether
# the weights are trained. **Untrained weights give nearly the same grey everywhere**, and rightly so: nobody has told
# such a network yet what an object is.

# %%
weights = "trained" if course.trained else "UNTRAINED"
pair = {"brighter than a threshold": bright, f"{course.name}, {weights} weights": mask.numpy()}
compare_masks(photo, by_hand, pair, "A cat; a mask in scraps; and the network's mask, the whole cat.")

# %% [markdown]
# The IoU goes from .45 to .94. What is left in orange is a piece of the blanket at the lower right; in blue, whiskers
# and fur at the left border.

# %% [markdown]
# ## 7 · Look inside
#
# `capture` runs the model once and keeps every map on the way, by name. The names follow the map above.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.analysis import capture

maps = capture(model, photo, size=SIZE)
print(len(maps), "maps")
for name in ["encoder.full.x1", "squeeze", "decoder.stage4.lateral", "decoder.stage1.reconstruction", "logits"]:
    print(f"{name:30} {tuple(maps[name].shape)}")

# %% [markdown]
# And now all of them at once. In the view below,
# - click a small map at the bottom: each is one **layer**, and they stand as on the map of the network,
# - move the slider *Channel*: a layer has as many pictures as channels, those with the most to see first,
# - move the slider *Over the photo* to see the photo under the map,
# - move the pointer over the large picture: the same place is marked in *every* map, each with its value there.

# %%
from widgets import feature_pyramid

view = feature_pyramid(model, photo, size=SIZE)
view

# %% [markdown]
# The same view as a still picture, for reading this page without running it.

# %%
from widgets import static

static(view, width=1000)

# %% [markdown]
# **Look for two things.**
#
# 1. Go down the encoder from level 1 to level 4 and keep the pointer on an eye of the cat. At which level can you no
#    longer tell the pupil from the rest of the eye? One cell of level 4 is 32 × 32 pixels.
# 2. Compare *inward reference* at stage 4 and at stage 1. At stage 4 the photo is cut into 32 × 32 tiles that lie on
#    top of each other, so the map does not look like the photo at all; at stage 1 there are only 4 × 4 of them.
#
# <details><summary>What you should see</summary>
#
# 1. At level 3: a cell there is 16 × 16 pixels, about as wide as the pupil. At level 2, with cells of 8 × 8, the ring
#    of the eye can still be seen; at level 4 an eye is one or two cells.
# 2. At stage 4 a cell holds one pixel of each of the 1024 tiles, so the map mixes places from all over the photo. At
#    stage 1 only four by four tiles lie on each other; on this photo, neither map looks like the cat.
#
# </details>
#
# All of this works with untrained weights too: what a map *can* show follows from how the network is built. What it
# *does* show follows from training.

# %% [markdown]
# ### How the answer grows
#
# In training, stages 4, 3 and 2 are asked for a mask too, a **side output**; the last stage gives the mask itself.
# Stacked, they make a ladder from coarse to fine. With the mask made by hand, the view can say how good each step is,
# and where it errs.

# %%
from widgets import prediction_ladder

ladder = prediction_ladder(model, photo, by_hand, size=SIZE)
ladder

# %% [markdown]
# As a still picture:

# %%
static(ladder, width=760)

# %% [markdown]
# **Look for this.** Which step finds the object, and which one sharpens its edge? The row *What the stage changed*
# shows the differences, and the table of scores whether a change was for the better.
#
# <details><summary>What you should see</summary>
#
# Stage 4, with 8 × 12 cells, has found the cat already; the later steps redraw its outline. The IoU goes .904, .908,
# .915, .937; on the astronaut about .86, .93, .95, .94.
#
# On the photo `coffee` the steps do not improve the mask: .77, .75, .75, .77, since it takes in a part of the table.
# The coffee is this small network's **failure case**, and the course keeps it as one.
#
# </details>

# %% [markdown]
# ### What the edges teach
#
# The **outward reference** learns to predict the edges of the object, and uses what it learned as attention. Its
# targets come from the Laplacian, a filter that answers where the brightness changes: all edges of the photo. Of those,
# training wants only the ones of the object. Here on the failure case, a cup of coffee on a wooden table full of edges.

# %%
from widgets import gradient_targets

cup, cup_by_hand, _ = load_photo("coffee")
edges = gradient_targets(model, cup, cup_by_hand, size=SIZE)
edges

# %% [markdown]
# As a still picture:

# %%
static(edges, width=760)

# %% [markdown]
# **Look for this.** Compare the two targets: *original* is what the published code trains towards, *corrected* what
# the paper describes. In which of them can you see the cup's outline? Notebook 07 measures what each can teach.
#
# <details><summary>What you should see</summary>
#
# In the corrected one: bright lines on dark, on the cup, the saucer and the spoon, and on the strip of table at the
# upper left that this network takes for a part of the object. The original is one green, 0.5, nearly everywhere, with
# faint lines on the table as well as on the cup.
#
# </details>

# %% [markdown]
# ## 8 · Your own photo
#
# Put the path of a picture here, or another one from scikit-image: `data.astronaut()` is a person, `data.coffee()` the
# failure case, `data.rocket()` a rocket.

# %%
from skimage import data

from birefnet_lite.course import side_by_side

mine = data.astronaut()  # or "path/to/your/photo.jpg"
activations = capture(model, mine, size=SIZE)
side_by_side(
    {"your photo": activations.seen, f"its mask ({weights} weights)": activations.mask},
    alt=f"Left, a photo chosen by the reader, here a person. Right, its mask with {weights} weights.",
)

# %% [markdown]
# ## 9 · How far you are
#
# Each of the other notebooks has two or more exercises, and each exercise a check that says what may be wrong. What you
# have solved is noted in a file on this machine; nothing is sent anywhere. Come back to this cell, and run it again, to
# see what is next. (Notebooks in the folder `solutions` do not count.)

# %%
from birefnet_lite.course import dashboard

dashboard()

# %% [markdown]
# ## What to remember
#
# - BiRefNet is **encoder → squeeze module → decoder**. Meaning comes from above, detail from the references.
# - The encoder sees the photo at **two sizes**; the decoder sees the photo **again at every stage**.
# - A map has a **stride**: how many pixels one of its cells stands for. Level 4 has stride 32.
# - `model(x)` gives **logits**; the sigmoid makes them a mask.
# - Shapes and parameter counts are facts of the *architecture*; masks are facts of the *weights*.

# %% [markdown]
# ## Three questions
#
# **1. A photo of 1024 × 1024 pixels: how large is the backbone's level 4 map of the whole photo?**
#
# - a) 256 × 256
# - b) 64 × 64
# - c) 32 × 32
#
# <details><summary>Answer</summary>
#
# **c.** Level 4 has stride 32, and 1024 / 32 = 32. 256 × 256 is level 1 (stride 4), and 64 × 64 is level 3 (stride
# 16). In the half-size pass, level 4 has 16 × 16 cells.
#
# </details>

# %% [markdown]
# **2. Why does the encoder's level 1 map have twice as many channels as the backbone's?**
#
# - a) The squeeze module doubles them.
# - b) The maps of the photo and of the half-size photo are concatenated.
# - c) There are two backbones with weights of their own.
#
# <details><summary>Answer</summary>
#
# **b.** One backbone runs on two sizes of the photo. The maps of the small one are enlarged and concatenated behind the
# others. Not c: the weights are the same, which is why the table counts them once. Not a: the squeeze module comes
# later, and makes things narrower.
#
# </details>

# %% [markdown]
# **3. You load other weights into the same network. What changes?**
#
# - a) The shapes in the table.
# - b) The number of parameters.
# - c) The maps and the mask.
#
# <details><summary>Answer</summary>
#
# **c.** Shapes and counts follow from how the network is built. What the numbers *are*, and so what the maps show and
# whether the mask is any good, follows from the weights.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | the whole network | Fig. 2 | `models/birefnet.py`, `BiRefNet` | `model.py`, `BiRefNet` |
# | encoder, two sizes, context | localization module | `forward_enc` | `encoder.py`, `backbone/` |
# | squeeze module | localization module | `squeeze_module` | `squeeze.py` |
# | decoder stage | reconstruction module | `Decoder`, `decoder_block1` … `4` | `decoder.py`, `blocks.py` |
# | inward, outward reference | bilateral reference | `ipt_blk1` … `5`, `gdt_convs_*` | `refinement.py` |
# | every map by name | – | – | `analysis/capture.py` |
#
# **Paper and code** differ here and there, and the notebooks say where. The largest difference: in the paper, a
# stage's predicted mask picks the edges that the network trains on; in the code the edges are multiplied by the
# mask's logits, which leaves almost nothing to learn. Notebook 07 measures it.
#
# The paper: Zheng et al., *Bilateral Reference for High-Resolution Dichotomous Image Segmentation*, 2024,
# [arXiv:2401.03407](https://arxiv.org/abs/2401.03407). The original code:
# [github.com/ZhengPeng7/BiRefNet](https://github.com/ZhengPeng7/BiRefNet). How this package is laid out is in
# [docs/architecture.md](../docs/architecture.md).
