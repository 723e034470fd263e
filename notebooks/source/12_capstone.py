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
# # 12 · The capstone
#
# You have written every part of BiRefNet. Now they meet: one network, which takes the trained weights by name and gives
# the same mask as the package. Then you get networks that somebody else has put together. Their weights are right, no
# line raises an error, and the masks are wrong.
#
# **After this notebook you can**
# - assemble a whole network out of parts, so that weights of others fit,
# - show that two networks are the same: in use, in training, at any size,
# - find the one wrong line in a network that runs without an error,
# - use what you have built: weights of others, photos of your own, cut-outs.
#
# **Time:** 60 minutes, 44 of them for the exercises and the hunts. **You need:** notebooks 01 to 06. Have them open:
# what you have solved there may be pasted here.

# %% [markdown]
# ## 1 · Every weight fits
#
# A friend has built the network too, and asks for help. *"All weights load. Every shape is right. There is no error.
# But look at my mask."*

# %% tags=["NBVAL_CHECK_OUTPUT"]
import torch

from birefnet_lite.analysis import prepare
from birefnet_lite.course import course_model
from birefnet_lite.course.bugs import bug_hunt
from birefnet_lite.photos import load_photo

course = course_model()
reference, SIZE = course.model, (256, 256)  # height, width
friends = bug_hunt(reference, level=2, seed=1).network
ours, theirs = reference.state_dict(), friends.state_dict()
print(course.notice)
print("the same names:", list(theirs) == list(ours))
print("the same weights:", all(torch.equal(theirs[name], ours[name]) for name in ours))

# %% [markdown]
# Orange is too much, blue is missing.

# %%
from birefnet_lite.course.masks import compare_masks, score


def mask_of(network, x):
    with torch.inference_mode():
        return network(x)[-1].sigmoid()[0, 0].numpy()


photo, by_hand, _ = load_photo("astronaut")
x = prepare(reference, photo, size=SIZE).tensor  # (1, 3, 256, 256)
wrong = mask_of(friends, x)
compare_masks(photo, by_hand, {"the friend's network": wrong}, "A portrait; beside it a mask with large faults.")

# %% [markdown]
# The IoU is .561. Much of the wall counts as object, half of the face and the collar do not, and hardly a pixel is
# sure. Somewhere in hundreds of parts, one line computes something else. In section 6 you write the function that
# finds it, and see this mask repaired. First, build the network to compare with.

# %%
from birefnet_lite.course import network_map

network_map("12")

# %% [markdown]
# ## 2 · Weights have names
#
# Weights are stored under **names**: dotted paths of attributes. A network takes them when its own paths, and the
# shapes behind them, are the same. So the plan is: your classes keep the package's attribute names, in any form you
# like, and the weights fall into place. The widths are those of this network.

# %% tags=["NBVAL_CHECK_OUTPUT"]
config = reference.config
c1, c2, c3, c4 = (2 * c for c in reference.encoder.backbone.channels)
print(*dict.fromkeys(name.split(".")[0] for name in ours))
print(next(name for name in ours if "outward" in name))
print("encoder maps:", c1, c2, c3, c4)
print("inside a block:", config.inter_channels, "and", config.aspp_channels, "in a branch")
print("inside an inward reference:", config.image_channels, "and gradient features:", config.gradient_channels)

# %% [markdown]
# That names fit says nothing about what is done with the weights. A toy with two of them, $f(x) = \text{second} \cdot
# (\text{first} \cdot x + 1)$, and one in which somebody has mixed up the two names. With first = 2, second = 3 and x =
# 1, by hand: $3 \cdot (2 + 1) = 9$ and $2 \cdot (3 + 1) = 8$.

# %% tags=["NBVAL_CHECK_OUTPUT"]
class Toy(torch.nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order
        self.first = torch.nn.Parameter(torch.tensor(2.0))
        self.second = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        a, b = (getattr(self, name) for name in self.order)
        return (b * (a * x + 1)).item()


f, g = Toy(["first", "second"]), Toy(["second", "first"])
print(g.load_state_dict(f.state_dict()), f(torch.tensor(1.0)), g(torch.tensor(1.0)))

# %% [markdown]
# ## 3 · Your parts
#
# These come from the package. Put your own class or function in the place of any: the check of the earlier notebook has
# looked at it, and the equalities below will again.

# %%
from birefnet_lite.course import checks
from birefnet_lite.network.blocks import BasicBlock
from birefnet_lite.network.decoder import DecoderStage
from birefnet_lite.network.lateral import LateralBlock
from birefnet_lite.network.refinement import InwardReference, OutwardReference
from birefnet_lite.network.resize import resize  # resize(x, (height, width)): bilinear, with aligned corners

Block = BasicBlock  # notebooks 03 and 05
MyLateral = LateralBlock  # notebook 04
run_stage = DecoderStage.forward  # notebook 05
MyInward, Outward = InwardReference, OutwardReference  # notebook 06

# %% [markdown]
# Two parts are yours in any case: the halves of the network, in which all others hang.
#
# ### Exercise 1 · The encoder
#
# *Difficulty ★★☆ · 6 minutes. From notebook 02.* Two sizes and the context, in one class. Your `fuse_scales` and
# `fuse_context` do most of it.

# %% tags=["exercise"]
class MyEncoder(torch.nn.Module):
    """One backbone on two sizes of the image, and the context.

    image (B, 3, H, W) to four maps x1, x2, x3, x4. backbone(image) gives four maps at strides 4, 8, 16, 32. It runs on
    the image, and on the image resized to (H // 2, W // 2). Level by level, the half-size image's maps are resized to
    the others and concatenated behind them. Then x1, x2, x3, resized to x4, are concatenated in front of x4.
    """

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image):
        # <solution>
        height, width = image.shape[-2:]
        full, half = self.backbone(image), self.backbone(resize(image, (height // 2, width // 2)))
        fused = [torch.cat([a, resize(b, a.shape[-2:])], dim=1) for a, b in zip(full, half)]
        *finer, deepest = fused
        context = [resize(x, deepest.shape[-2:]) for x in finer]
        return *finer, torch.cat([*context, deepest], dim=1)
        # </solution>

# %% [markdown]
# The check brings a small backbone of its own.

# %% tags=["NBVAL_CHECK_OUTPUT"]
encoder_checked = checks.my_encoder(MyEncoder)
encoder_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Three steps: two runs of the backbone, one join for each level, and one longer join for the last level only. The
# context is made of the maps *after* the first join.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Run the backbone on the image, and on the resized image. For each pair of maps: resize the second to the first,
# concatenate, the first in front. Then take the last map apart from the others, resize each of the others to it,
# concatenate these in their order with the last map at the end. Return the first three and this one.
#
# </details>

# %% [markdown]
# ### Exercise 2 · The decoder
#
# *Difficulty ★★☆ · 6 minutes. From notebooks 01 and 05.* The loop, and the head. Paste your `decode`.

# %% tags=["exercise"]
def my_decoder(decoder, image, features):
    """The whole decoder. Returns three things: side_logits, gradient_logits, logits.

    decoder.stages: stages 4, 3, 2, 1, each called as stage(x, image, lateral), the last with None; each gives
    features, side_logits, gradient_logits, of which the last two may be None.
    features: x1, x2, x3 and the squeezed x4. decoder.image_branch(image) is concatenated behind the last stage's map;
    decoder.head makes the logits of both, (B, 1, H, W).
    side_logits and gradient_logits: lists of the maps that are not None, in the order of the stages.
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
decoder_checked = checks.my_decoder(my_decoder)
decoder_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# It is the loop of notebook 01, with two lists beside it that grow in training only.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The running map begins as the last of the features. For each stage and its lateral (third, second, first, nothing):
# call it, keep its map as the running map, append the other two where they are not None. Concatenate the running map
# and the image's map, and give them to the head.
#
# </details>

# %% [markdown]
# ## 4 · The assembly
#
# What is unsolved comes from the package, and says so.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.network.decoder import Decoder
from birefnet_lite.network.encoder import Encoder


def mine_or(checked, mine, theirs):
    print(f"{mine.__name__:10} is {'yours' if checked.passed else 'from the package'}")
    return mine if checked.passed else theirs


TheEncoder = mine_or(encoder_checked, MyEncoder, Encoder)
decode = mine_or(decoder_checked, my_decoder, Decoder.forward)

# %% [markdown]
# A block of this network's widths, and a stage with its five parts. `into`, `out`, `beside` and `seen` are widths: of
# what comes from below, of the result, of the lateral map, of the image's map.

# %%
def block(into, out):
    return Block(into, out, inter_channels=config.inter_channels, aspp_channels=config.aspp_channels)


class MyStage(torch.nn.Module):
    def __init__(self, into, out, beside, seen, grid):
        super().__init__()
        self.inward = MyInward(grid, seen, config.image_channels)
        self.reconstruction = block(into + seen, out)
        self.side_head = torch.nn.Conv2d(out, 1, 1) if beside else None
        self.outward = Outward(out, config.gradient_channels) if beside else None
        self.lateral = MyLateral(beside, out) if beside else None

    def forward(self, x, image, lateral=None):
        return run_stage(self, x, image, lateral)

# %% [markdown]
# The decoder: the widths of all stages in one place, as in notebook 05.

# %%
class MyDecoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stage4 = MyStage(c4, c3, c3, c4 // 8, grid=32)
        self.stage3 = MyStage(c3, c2, c2, c4 // 8, grid=16)
        self.stage2 = MyStage(c2, c1, c1, c3 // 8, grid=8)
        self.stage1 = MyStage(c1, c1 // 2, 0, c2 // 8, grid=4)
        self.image_branch = MyInward(1, c1 // 8, config.image_channels)
        self.head = torch.nn.Conv2d(c1 // 2 + c1 // 8, 1, 1)
        self.stages = [self.stage4, self.stage3, self.stage2, self.stage1]

    def forward(self, image, features):
        return decode(self, image, features)

# %% [markdown]
# And the whole. The class head is used in training only (notebook 08), but it has weights, and they need a place.

# %%
from birefnet_lite.network.backbone import build_backbone


class MyBiRefNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = TheEncoder(build_backbone(config.backbone))
        self.squeeze = torch.nn.Sequential(block(c1 + c2 + c3 + c4, c4))
        self.decoder = MyDecoder()
        self.class_head = torch.nn.Linear(c4, config.num_classes) if config.auxiliary_classification else None

    def forward(self, image):
        x1, x2, x3, x4 = self.encoder(image)
        return self.decoder(image, (x1, x2, x3, self.squeeze(x4)))

# %% [markdown]
# ## 5 · The same numbers
#
# The weights, by name. `load_state_dict` raises an error for any name that is missing, left over, or of another shape.
# Then the logits at four sizes: square, wide, a batch of two, and as small as it gets.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.capstone import agree

mine = MyBiRefNet().eval()
print(mine.load_state_dict(ours))
for size in [(1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 160, 128), (1, 3, 32, 32)]:
    noise = torch.randn(size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        print(size, "equal to 1e-5 of the largest:", agree([mine(noise)[-1]], [reference(noise).logits], 1e-5))

# %% [markdown]
# Trained weights may hide a mistake: a bias that is nearly zero does not show that it was left out. So the same once
# more, with every weight, bias and statistic drawn at random. And in training, stages 4, 3 and 2 give side outputs;
# `with_side_outputs` switches training mode on, but leaves batch norms and dropout as they are in use: otherwise the
# numbers would depend on the batch, and on chance.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import copy

from birefnet_lite.course.capstone import with_side_outputs
from birefnet_lite.course.checks.weights import randomise

drawn = randomise(copy.deepcopy(reference)).eval()
mine.load_state_dict(drawn.state_dict())
with torch.no_grad():
    print("random weights, equal to 1e-5:", agree([mine(noise)[-1]], [drawn(noise).logits], 1e-5))
    sides, gradients, _ = with_side_outputs(mine)(x)
    their = with_side_outputs(drawn)(x)
for stage, *pairs in zip((4, 3, 2), sides, their.side_logits, gradients, their.gradient_logits):
    same = [agree([a], [b], 1e-5) for a, b in (pairs[:2], pairs[2:])]
    print(f"stage {stage}: {tuple(pairs[0].shape)}  side output, gradients equal to 1e-5:", *same)
mine.load_state_dict(ours)  # the trained weights again
_ = mine.eval()

# %% [markdown]
# And the running table is full: every part in it is one that you have written or held in your hands.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course import part_table

part_table(reference, SIZE)

# %% [markdown]
# ## 6 · Which part is to blame?
#
# Back to the friend. Nearly everything after the wrong line differs, so it does not help to ask which parts differ.
# `calls_of` records, for each part, each run: the tensors that it was **given** and those that it **gave**.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.capstone import calls_of

right = calls_of(reference, x)
print(len(right), "parts; the backbone's run twice:", {len(runs) for path, runs in right.items() if "backbone" in path})
for path in ("decoder.stage4.outward", "decoder.stage4.outward.norm"):
    (call,) = right[path]
    print(path, [tuple(t.shape) for t in call.given], "to", [tuple(t.shape) for t in call.gave])

# %% [markdown]
# Think of it as of a workshop. Who was given the right thing and gave a wrong one has made a mistake; who was given
# something wrong is not to blame. And since parts contain parts, the one to blame is the **innermost**: if a norm
# computes something wrong, then so do the block, the stage and the decoder around it.
#
# By hand, four parts of a network: `a` contains `a.b` and `a.c`; then comes `d`. All are given the right thing but
# `a.c` and `d`. All give something wrong but `a.b`. To blame is `a`: what it was given is right, and nothing inside it
# that was given the right thing went wrong. So `a` itself has given `a.c` something else.
#
# ### Exercise 3 · Culprits
#
# *Difficulty ★★☆ · 10 minutes.* Find the innermost parts that, in at least one run, were given the same as the
# reference's and gave something else. `agree(ours, theirs)` says whether two sequences of tensors are the same up to
# rounding.

# %% tags=["exercise"]
def culprits(mine, reference):
    """The paths of the parts that are to blame, as a list.

    mine and reference: dicts with the same paths. Each path has a list of runs, as many in both; a run has `given` and
    `gave`, both tuples of tensors. A part "a.b" lies inside the part "a"; "a_b" does not.
    """
    # <solution>
    suspects = [
        path
        for path in reference
        if any(
            agree(ours.given, theirs.given) and not agree(ours.gave, theirs.gave)
            for ours, theirs in zip(mine[path], reference[path])
        )
    ]
    return [path for path in suspects if not any(other.startswith(path + ".") for other in suspects)]
    # </solution>

# %% [markdown]
# The check makes up networks in which one part is wrong, or two, or none.

# %% tags=["NBVAL_CHECK_OUTPUT"]
blame_checked = checks.culprits(culprits)
blame_checked

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Two steps. First collect all suspects: those with a run in which `given` agrees and `gave` does not. Then leave out
# every suspect that has another suspect inside it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `zip(mine[path], reference[path])` pairs the runs, and `any(...)` asks whether one of the pairs is suspect. A path
# lies inside another one if it starts with that path *and a dot*.
#
# </details>

# %% [markdown]
# ## 7 · Repaired
#
# `transplant(network, path, source)` gives a copy of a network in which the part at that path comes from the source. If
# a diagnosis is right, this one part repairs the whole mask. While the exercise is unsolved, all three thirds of the
# network are replaced, which repairs anything and explains nothing.

# %% tags=["NBVAL_CHECK_OUTPUT"]
from birefnet_lite.course.capstone import symptoms, transplant

thirds = ["encoder", "squeeze", "decoder"]
blamed = culprits(calls_of(friends, x), right) if blame_checked.passed else thirds
repaired = friends
for path in blamed:
    repaired = transplant(repaired, path, reference)
print("parts replaced:", len(blamed))
print("before:", symptoms(friends, reference))
print("after: ", symptoms(repaired, reference))

# %% [markdown]
# The picture of section 1, with the friend's network repaired, and with the one that you have assembled.

# %%
compare_masks(
    photo,
    by_hand,
    {"the friend's network": wrong, "repaired": mask_of(repaired, x), "yours": mask_of(mine, x)},
    "A portrait; a mask with large faults; and twice the same mask of the person.",
)

# %% [markdown]
# From .561 to .928, by one part of 352 (in the solved edition): the repaired mask is the one that your own network
# gives. Print `blamed` to see the place: it is not a part with wrong weights, and not one that computes wrongly what
# it is given. What might somebody have written there?
#
# ### The layer debugger
#
# `compare(mine, reference, x)` shows what your function computes with, part by part: each map of one network, of the
# other, and their difference. Here is your network beside the package's. **Look for two things:**
#
# 1. How many parts agree?
# 2. In front is the difference behind the last stage's block, the third picture. How large is it?
#
# <details><summary>What you should see</summary>
#
# 1. All 465 lines of the table, in which each run of a part is a line of its own.
# 2. It is 0, in every channel and in all rows of the table: the same operations in the same order. With classes of your
#    own a few millionths of the largest value are normal, since two orders of the same additions round differently.
#
# </details>

# %%
from widgets import compare

view = compare(mine, reference, x)
view.layer = "decoder.stage1.reconstruction · difference"
view

# %% [markdown]
# The same view as a still picture.

# %%
from widgets import static

static(view)

# %% [markdown]
# ## 8 · Four hunts
#
# Four more networks, from easy to hard, each with the right weights and one wrong line. Where it is, nothing prints;
# another `seed` is another line. For each: find the part, put its path between the quotation marks, and say what
# somebody might have written there. `repair` transplants the part and repeats all experiments. Your tools:
#
# | tool | what it tells |
# |---|---|
# | `symptoms(network, reference)` | in which experiments the two differ |
# | `culprits(calls_of(network, x), calls_of(reference, x))` | who is to blame for a difference that `x` shows |
# | `compare(network, reference, x)` | the maps |
# | `gradients_of(network, images)` | by name, the gradient of each weight, or None |
# | `transplant(network, path, reference)` | a copy with one part replaced |
#
# ### Level 1 · 4 minutes
#
# The part itself computes something else. Once you have it: compare what it gives with what the reference's gives, for
# the same input. Is it a factor, a shift, the border, the negative numbers?

# %% tags=["NBVAL_CHECK_OUTPUT"]
first = bug_hunt(reference, level=1, seed=1)
place = ""  # such as "decoder.stage4.side_head"
print(first.repair(place))

# %% [markdown]
# ### Level 2 · 4 minutes
#
# As with the friend: the part is made of right parts, and gives one of them something else. What is it that this one
# is given, beside what it should be? Compare the channels one by one. Do not go by the mask: on the portrait, by
# chance, it is even better than the right one, .940 against .928.

# %%
second = bug_hunt(reference, level=2, seed=7)
print(f"IoU {score(mask_of(second.network, x), by_hand):.3f}")
place = ""
print(second.repair(place))

# %% [markdown]
# ### Level 3 · 6 minutes
#
# With the portrait, every part agrees. The friend swears that masks are wrong, *"but not always"*. So first find an
# input that shows it.

# %% tags=["NBVAL_CHECK_OUTPUT"]
third = bug_hunt(reference, level=3, seed=9)
with torch.no_grad():
    print("the portrait, the same logits:", agree([third.network(x)[-1]], [reference(x).logits]))
place = ""
print(third.repair(place))

# %% [markdown]
# <details><summary>Hint</summary>
#
# What has the portrait that other inputs do not have? It is square, it is alone in its batch, and it was the first that
# the network has seen. `symptoms` tries each of these; then record `calls_of` with an input that shows the fault (for
# the last kind: let both networks see another photo of the same size first).
#
# </details>
#
# ### Level 4 · 8 minutes
#
# Masks are right for all inputs, side outputs too. *"But it does not learn as yours does."*

# %% tags=["NBVAL_CHECK_OUTPUT"]
fourth = bug_hunt(reference, level=4, seed=4)
print(symptoms(fourth.network, reference))
place = ""
print(fourth.repair(place))

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Every map agrees, so `culprits` is silent. What is different is on the way back: run `gradients_of` on both networks,
# with a batch such as `torch.randn(2, 3, 64, 64)`. Which weights get no gradient here, and one in the reference?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A detached result stops the gradient to all that made it: to the part itself, and to what only this part reads. So
# look for the *last* part, in the order of the computation, whose weights get none. If all of them get one and some a
# different one: what do these weights have in common?
#
# </details>
#
# The answers, folded: run the cell, and open one at a time.

# %% tags=["machine"]
from IPython.display import display

for hunt in (first, second, third, fourth):
    display(hunt.answer)

# %% [markdown]
# None of these is made up from nothing: tiles in another order came with the original's own change of November 2024, a
# forgotten `detach`, statistics of another batch and swapped colours are daily bread. What finds them is the same each
# time: a reference, an experiment that shows the difference, and the innermost part that was given the right thing.

# %% [markdown]
# ## 9 · Into the world
#
# Weights of others come in files, with the original's names. `official_state_dict` makes such a file of `nano`, so
# that no download is needed. `load` reads it and translates the names; from there the weights fit your classes by
# name. `nano` has a backbone of its own, so its `config` is given; for the original's networks, `load` finds it from
# the shapes.

# %% tags=["NBVAL_CHECK_OUTPUT"]
import tempfile
from pathlib import Path

from birefnet_lite import load
from birefnet_lite.checkpoints import official_state_dict

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "original.pth")
    torch.save(official_state_dict(reference), file)
    print(*list(torch.load(file, weights_only=True))[-3:], sep="\n")
    loaded = load(file, "cpu", patch_order="new", config=config)
yours = MyBiRefNet().eval()
print(yours.load_state_dict(loaded.state_dict()))

# %% [markdown]
# A published file takes the same way. This line loads one from the Hugging Face hub, 180 MB; it is not run here. Its
# widths are others: your classes take them from `model.config` instead of from `nano`'s.
#
# ```python
# model = load("ZhengPeng7/BiRefNet_lite")
# ```
#
# Now a photo, your network with these weights, and a cut-out. For a photo of your own, take the second line.

# %%
import numpy as np
from PIL import Image

from birefnet_lite import cut_out
from birefnet_lite.inference.images import resize as resize_mask

portrait = photo
# portrait = np.asarray(Image.open("my_photo.jpg").convert("RGB"))
soft = mask_of(yours, prepare(reference, portrait, size=(384, 384)).tensor)
cut = cut_out(portrait, resize_mask(soft, *portrait.shape[:2]))
blue = Image.new("RGBA", cut.size, (150, 190, 235, 255))
on_blue = np.array(Image.alpha_composite(blue, cut).convert("RGB"))

# %% [markdown]
# The network that you have assembled, at work.

# %%
from birefnet_lite.course import side_by_side

side_by_side(
    {"photo": portrait, "your network's mask": soft, "cut out, on blue": on_blue},
    alt="A portrait; its mask; the person cut out on blue.",
)

# %% [markdown]
# Hair, collar and helmet are cut cleanly. A scrap of the flag stays at the left border, a shade of the rocket's tip at
# the top, a splinter of the rocket above her arm, and the visor is half transparent: a network of 5 million numbers
# that has seen drawings only. The published weights are eight to forty times as large, and take the same line.
#
# ### Where to go next
#
# - **Look inside**, without a notebook: `python -m birefnet_lite explore` opens the network at work in a page, on
#   photos that you drop there, with a switch on every part.
# - **Your kind of object**: [Your own training data](../docs/guides/training.md) fine-tunes on a few photos with masks;
#   section 11 of [notebook 08](08_training.ipynb) has the settings.
# - **Better masks at once**: [Published weights](../docs/guides/checkpoints.md), for portraits, camouflage, matting and
#   high resolution.
# - **Teach it**: [the workshop](README.md#for-teachers), in half a day, a day, or alone.
# - **Measure what nobody here has**: train without one part, to convergence. Notebooks 06, 08 and 10 say what is open.

# %% [markdown]
# ## What to remember
#
# - Weights fit **by name and shape**. That they fit says nothing about what is computed with them.
# - Only **equal numbers** show that two networks are the same: with trained weights and with random ones, at several
#   shapes, in use and in training.
# - To blame is the **innermost part that was given the right thing and gave a wrong one**.
# - First find an **experiment that shows the fault**: another shape, a batch, a second call, the gradients.
# - You have built BiRefNet.

# %% [markdown]
# ## Three questions
#
# **1. A colleague's network loads all weights and gives a mask that differs by 0.03 at most. What does that show?**
#
# - a) Nothing yet: two orders of the same additions in float32 round differently, and a mask shows it.
# - b) A weight is missing or has kept its random start, since one wrong weight changes the mask a little.
# - c) Something is computed in another way: rounding is far smaller, and weights are complete.
#
# <details><summary>Answer</summary>
#
# **c.** Rounding stays below 1e-5 of the largest logit here, as section 5 shows. A missing weight (b) would have been
# an error while loading. `align_corners`, for one, gives differences of this size.
#
# </details>

# %% [markdown]
# **2. A stage is given the right maps and gives a wrong one. Its block was given something wrong; its other parts were
# given the right thing and gave the right thing. Where is the wrong line?**
#
# - a) In the stage's own `forward`, which puts together what its parts are given.
# - b) In the block: of all the stage's parts it is the only one that gives a wrong map.
# - c) In a part before the stage, whose wrong map has reached the block on its way.
#
# <details><summary>Answer</summary>
#
# **a.** The block is not to blame for what it was given (b), and the stage was given the right maps, so nothing before
# it is (c). What is left is the line that makes the block's input.
#
# </details>

# %% [markdown]
# **3. Why compare with random weights, too, when the trained ones agree?**
#
# - a) Random weights make larger logits, so that differences stand out from the rounding of float32.
# - b) Training may have made a part so weak that a mistake in it does not show in any number.
# - c) Trained weights are rounded in their file, so that equal numbers may be equal by chance.
#
# <details><summary>Answer</summary>
#
# **b.** A bias near zero, a statistic near one, an attention that is 1 everywhere: with such weights a forgotten part
# changes nothing. Random weights make every part count.
#
# </details>

# %% [markdown]
# ## Where this is
#
# | here | paper | original code | `birefnet_lite` |
# |---|---|---|---|
# | `MyBiRefNet` | Fig. 2 | `models/birefnet.py`, `BiRefNet` | `network/birefnet.py` |
# | `MyEncoder` | localization module | `forward_enc` | `network/encoder.py` |
# | `my_decoder` | reconstruction module | `Decoder.forward` | `network/decoder.py` |
# | names of weights | – | other names, translated in one table | `checkpoints/official.py` |
# | `calls_of`, `transplant`, `symptoms` | – | – | `course/capstone.py` |
# | `compare` | – | – | `analysis/compare.py`, `widgets/views/compare.py` |
#
# **Paper and code.** The paper's figure shows each stage once; in the original's code four copies of it stand one
# below the other, and its names say so (`decoder_block4`, `gdt_convs_4`). Here a stage is a class. Both give the same
# numbers, and weights are translated by name.
