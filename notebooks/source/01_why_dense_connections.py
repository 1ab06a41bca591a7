# %% [markdown]
# # 01 · Why dense connections
#
# **What changes when a layer may read everything that was made before it, and not only
# the last result?**
#
# After this lesson you can
# - say what ResNet adds and DenseNet keeps apart, and count a block's links;
# - measure how a gradient changes with depth in plain, residual and dense stacks;
# - name what dense connections cost, and why they stop where maps change their size.
#
# About 35 minutes, after [00 start here](00_start_here.ipynb). Shapes are `(N, C, H,
# W)`: images, channels, height, width.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import math

import torch
import torch.nn.functional as F

from densenet_course import accounting
from densenet_course.figures import show
from densenet_course.figures.connections import dense_connectivity, three_stacks
from densenet_course.figures.gradients import gradient_norms
from densenet_course.lesson import expected
from densenet_course.studies.gradients import (
    KINDS,
    SETTINGS,
    direct_share,
    first_over_last,
    measure,
    stack,
)

_ = torch.manual_seed(0)

# %% [markdown]
# ## How it came about
#
# Deeper networks should do better, or at least no worse. But a plain network of 56
# layers had a higher *training* error than one of 20 (He et al. 2016). Highway networks
# (2015) let gates carry a layer's input past it. ResNet dropped the gates and adds the
# input to the layer's output. Stochastic depth (2016) skips whole layers of a ResNet at
# random during training, and the result gets better: many layers were redundant.
#
# The first author of stochastic depth drew the conclusion in DenseNet (CVPR 2017):
# layers may be small if each can read everything made before. The paper claims four
# things: gradients that do not vanish, features that travel far, features that are used
# again, and fewer parameters. You will measure the first here and see the second from
# the wiring; the third comes in lesson 10, the fourth in lesson 12.

# %% [markdown]
# ## Three ways to wire the same layers
#
# Look at layer 3 in each row: which boxes does it read, and through what?

# %%
show(three_stacks())

# %% [markdown]
# *Plain: one box. Residual: one sum (⊕). Dense: three boxes, none of them summed.* The
# paper writes the last two rows as its equations 1 and 2, where $H_\ell$ is what layer
# $\ell$ computes. In the first, $x_\ell$ is the sum that is passed on; in the second,
# only the maps that layer $\ell$ made:
#
# $$\text{ResNet: } x_\ell = H_\ell(x_{\ell-1}) + x_{\ell-1} \qquad
# \text{DenseNet: } x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}])$$
#
# Brackets mean concatenated along the channels. *Dive into Deep Learning* writes $f$
# for $H$, and writes out what travels through a dense block:
#
# $$x \to [x,\; f_1(x),\; f_2([x, f_1(x)]),\;
# f_3([x, f_1(x), f_2([x, f_1(x)])]),\; \dots]$$

# %% [markdown]
# ## What a sum forgets
#
# Take two different cases: an old state and a layer's output, two channels each. In the
# first case they are (5, 1) and (2, 3), in the second (4, 0) and (3, 4).
#
# **Predict**: can a later layer tell the cases apart when it reads the sum? When it
# reads the concatenation?

# %% tags=["nbval-check-output", "hide-output"]
old_1, new_1 = torch.tensor([5, 1]), torch.tensor([2, 3])
old_2, new_2 = torch.tensor([4, 0]), torch.tensor([3, 4])
print("sums:        ", (old_1 + new_1).tolist(), (old_2 + new_2).tolist())
joined_1, joined_2 = torch.cat([old_1, new_1]), torch.cat([old_2, new_2])
print("concatenated:", joined_1.tolist(), joined_2.tolist())

# %% [markdown]
# The sums are equal, so no later layer can tell. Concatenated, each part can be read.
#
# A Taylor series shows the same. Near 0, $e^x$ is the sum of the terms $1,\; x,\;
# x^2/2,\; x^3/6,\; x^4/24, \dots$ A residual network passes on the running sum, which
# each layer corrects. A dense block passes on the list of terms.
#
# A later layer weighs what it reads. Suppose that it needs another function, $e^{-x}$
# for $x$ from 0 to 1. **Predict**: can one weight for the sum of five terms come close,
# and can five weights for the list?

# %% tags=["nbval-check-output", "hide-output"]
x = torch.linspace(0, 1, 11)
terms = torch.stack([x**n / math.factorial(n) for n in range(5)], dim=1)  # (11, 5)
wanted = torch.exp(-x).unsqueeze(1)  # (11, 1)
for name, read in (("sum  ", terms.sum(dim=1, keepdim=True)), ("terms", terms)):
    weights = torch.linalg.lstsq(read, wanted).solution
    print(f"{name} off by at most {(read @ weights - wanted).abs().max():.2f}")

# %% [markdown]
# The sum grows where $e^{-x}$ falls, and one weight cannot help that. The list gives
# it: $e^{-x}$ has the same terms, every second one with a minus sign (the fit adjusts
# them a little, because the series goes on). And a reader of the list that wants the
# sum sets five equal weights. So concatenation leaves the choice to each reader, and a
# sum has made it for all.
#
# ## Count the links
#
# In the dense row above, each arrow is a link. A dense block of one layer has 1 link,
# of two layers 3. **Predict** the links of a dense block of 5 layers. Then look.

# %% tags=["hide-output"]
show(dense_connectivity(5))

# %% [markdown]
# *Layer $\ell$ has $\ell$ sources: 1 + 2 + 3 + 4 + 5 = 15 links.* Each layer appends 10
# maps; this number is its *growth rate*. In general a block of $L$ layers has
# $L(L+1)/2$ links, as the paper says. Where the block's output goes is not counted.
#
# **Predict**: how many layers does it take to have more than 1,000 links?

# %% tags=["nbval-check-output", "hide-output"]
enough = next(L for L in range(1, 1000) if accounting.connections(L) > 1000)
for num_layers in (10, 20, 40, enough):
    links = [(a, b) for b in range(1, num_layers + 1) for a in range(b)]
    formula = accounting.connections(num_layers)
    print(f"L = {num_layers}: {len(links):4} links, by formula {formula:4}")

# %% [markdown]
# It takes 45. Twice the layers have almost four times the links: their number is
# quadratic in depth.
#
# DenseNet-121 has blocks of 6, 12, 24 and 16 layers, and links only inside a block.
# **Predict**: does it have more or fewer than half the links of one block of 58 layers?

# %% tags=["nbval-check-output", "hide-output"]
per_block = [accounting.connections(num_layers) for num_layers in (6, 12, 24, 16)]
print("four blocks:", per_block, "together", sum(per_block))
print("one block of 58:", accounting.connections(58))

# %% [markdown]
# Fewer than a third. Blocks keep the wiring affordable; another reason for them comes
# at the end of this lesson.
#
# ## Do gradients reach the first layer?
#
# We build three untrained stacks of 24 layers, each ReLU → 3×3 convolution. They differ
# in one function only: what is handed to the next layer.


# %%
def combine(kind, features, new_maps):
    if kind == "plain":
        return new_maps
    if kind == "residual":
        return features + new_maps
    return torch.cat([features, new_maps], dim=1)


def run_stack(kind, layers, images):
    features, made = images, []
    for layer in layers:
        new_maps = layer(features)  # (N, 12, H, W), or (N, 3, H, W) in the dense stack
        made.append(new_maps)
        features = combine(kind, features, new_maps)
    return features, made


# %% [markdown]
# To be fair, the stacks get nearly the same number of weights. So plain and residual
# layers make 12 maps from 12, and a dense layer makes only 3: it reads many more.

# %% tags=["nbval-check-output"]
for kind in KINDS:
    layers = stack(kind)
    features, made = run_stack(kind, layers, torch.randn(32, 12, 8, 8))
    weights = sum(weight.numel() for weight in layers.parameters())
    print(f"{kind:8} {weights:,} weights, {features.shape[1]} channels leave")

# %% [markdown]
# A linear classifier reads the average of each map that leaves the stack: 12 of the
# last layer in the plain stack, 12 sums in the residual one, and all 84 in the dense
# one. `measure` takes the gradient of the classifier's loss at the maps that each layer
# made, and notes its length: how strongly the loss reacts to a change there. Images are
# noise and labels random, because we study the wiring.
#
# On the way back, the gradient at one value is a weighted sum of the gradients at $n =
# 12 \cdot 9$ outputs. PyTorch draws the weights with variance $1/(3n)$, where $n$
# counts what one output reads, here $12 \cdot 9$, too. Their signs are random, so
# squares add up: the squared length is multiplied by $n \cdot 1/(3n) = 1/3$. ReLU
# blocks half of what is left. So one layer leaves $\sqrt{1/3 \cdot 1/2} \approx 0.41$
# of a gradient's length.
#
# A ⊕ hands the gradient that comes in to both of its inputs unchanged. Again squares
# add up: a whole 1 and the layer's 1/6, so a step gives $\sqrt{1 + 1/6} \approx 1.08$.
# In the dense stack every layer's maps are read by the classifier directly, so they get
# a gradient directly.
#
# **Predict** the ratio of the lengths, layer 1 to layer 24, for each wiring: below
# 1/10, between 1/10 and 10, or above 10?

# %% tags=["nbval-check-output", "hide-output"]
print("layer 1 / layer 24, five seeds")
ratios = {kind: first_over_last(kind) for kind in KINDS}
for kind, values in ratios.items():
    print(f"{kind:8} {min(values):.2g} to {max(values):.2g}")
# the geometric mean over 5 seeds and 23 steps
one_step = math.prod(ratios["plain"]) ** (1 / 5 / 23)
print(f"one plain step: {one_step:.2f}")

# %% tags=["remove-cell"]
assert max(ratios["plain"]) < 1e-7
assert min(ratios["dense"]) > 0.3 and max(ratios["dense"]) < 3
assert max(ratios["dense"]) < 4 * min(ratios["residual"])

# %% [markdown]
# In the plain stack less than a billionth arrives. A step keeps 0.39 and not 0.41,
# because a value on the border feeds fewer than 108 outputs. The residual gradient
# grows four- to eightfold: each ⊕ lets the old gradient pass whole and adds the layer's
# share. The dense one keeps its order of magnitude.
#
# But 0.41 came from the weights. **He (Kaiming) initialisation** draws weights of
# variance $2/n$, and BatchNorm in front of each layer rescales what it reads. DenseNet
# uses both. For He alone a plain step keeps $\sqrt{2 \cdot 1/2} = 1$ and a residual
# step $\sqrt{1 + 1}$.
#
# **Predict** from these two steps, for He alone: is the ratio of the plain stack, and
# of the residual one, below 1/10, between 1/10 and 10, or above 10? For the dense
# stack, and for the two settings with BatchNorm, we derived nothing: guess which ratios
# lie between 1/10 and 10.

# %% tags=["nbval-check-output", "hide-output"]
table = {s: {kind: first_over_last(kind, s) for kind in KINDS} for s in SETTINGS}
print(" " * 18 + "".join(f"{kind:>20}" for kind in KINDS))
for setting, row in table.items():
    spans = [f"{min(values):.2g} to {max(values):.2g}" for values in row.values()]
    print(f"{setting:18}" + "".join(f"{span:>20}" for span in spans))

# %% tags=["remove-cell"]
assert min(table["He"]["plain"]) > 0.01 and min(table["He"]["residual"]) > 200
assert min(table["BatchNorm"]["plain"]) > 15
assert max(table["BatchNorm"]["residual"]) < 5
assert min(table["BatchNorm and He"]["plain"]) > 20
assert min(table["BatchNorm and He"]["residual"]) > 2
assert max(table["BatchNorm and He"]["residual"]) < 8
assert all(0.3 < value < 10 for row in table.values() for value in row["dense"])

# %% [markdown]
# With He, plain stays between 1/10 and 10, and residual lies far above. In all four
# rows only the dense column stays between them: from 0.7 to 4.2. "Plain vanishes" is
# true of some weights only: with He it loses a factor of 2 to 8, much of it at the
# border, and with BatchNorm it *grows* (Yang et al. explain why). With BatchNorm alone
# the residual stack is even a little closer to 1 than the dense one. One of the five
# runs, layer by layer; read from right to left, as the gradient flows:

# %%
lengths = {s: {kind: measure(kind, s) for kind in KINDS} for s in SETTINGS}
show(gradient_norms(lengths))

# %% [markdown]
# *Lengths relative to layer 24: dense stays below 5 in every panel; plain and residual
# depend on the setting.* This is noise before training. The loss reaches early layers,
# which does not yet make a network accurate.
#
# Does the dense ratio stay near 4 at any depth? **Guess**, with BatchNorm and He, for
# 48 and 96 layers: does it stay, grow a few times, or grow by the same factor per
# layer, from 4 to about 16 and 256? And the residual one's? (Three seeds now.)

# %% tags=["nbval-check-output", "hide-output"]
deeper = {}
for num_layers in (24, 48, 96):
    for kind in ("residual", "dense"):
        options = {"num_layers": num_layers, "seeds": range(3)}
        values = first_over_last(kind, "BatchNorm and He", **options)
        deeper[num_layers, kind] = values
        print(f"{num_layers} layers, {kind:8} {min(values):.1f} to {max(values):.1f}")

# %% tags=["remove-cell"]
assert min(deeper[96, "dense"]) > max(deeper[24, "dense"])
assert all(1 < value < 30 for values in deeper.values() for value in values)

# %% [markdown]
# Both grow alike, two to three times from 24 to 96 layers, and dense starts a little
# lower. So neither is level: at 96 layers the first dense layer gets eight to nine
# times as much as the last. The largest block of DenseNet-121 has 24, that of
# DenseNet-201 has 48.
#
# ## Where does the dense gradient come from?
#
# The classifier reads all 12 + 24 · 3 = 84 channels, so its gradient reaches every
# layer directly, too. The paper calls this *implicit deep supervision*. Compare the
# length of the direct part with that of the whole gradient. (Lengths of parts need not
# add up.) Layer 24 has no reader but the classifier; layer 1 has 23 more. **Predict**
# the direct share for both: 1, a sizeable part, or next to nothing?

# %% tags=["nbval-check-output", "hide-output"]
shares = {setting: direct_share(setting) for setting in SETTINGS}
for setting, share in shares.items():
    print(f"{setting:18} layer 1: {share[0]:.2f}   layer 24: {share[23]:.2f}")

# %% tags=["remove-cell"]
assert all(share[0] > 0.2 and abs(share[23] - 1) < 1e-4 for share in shares.values())

# %% [markdown]
# 1 for layer 24. At layer 1, in spite of its 23 other readers, the direct share is at
# least a fifth. It crosses no other layer, so no layer between can shrink it. In a
# network of several blocks this holds for the last block only; the paper counts two or
# three transitions at most between the loss and any layer.
#
# Forwards, too, layer 24 reads the maps of layer 1 as they were made: nothing between
# has to pass them on. So features travel far. Where later layers use them, that is
# **feature reuse**. Through the maps of its block each layer reaches what the paper
# calls the network's collective knowledge. Whether training leads to reuse is another
# question: the paper's figure 5 says yes, and lesson 10 measures it.
#
# ## What it costs
#
# Every layer reads everything again. Count the channels that each layer reads, and add
# them up. **Predict**: by what factor does this sum grow from 24 to 48 layers, in the
# plain stack and in the dense one?

# %% tags=["nbval-check-output", "hide-output"]
for kind in ("plain", "dense"):
    reads = [sum(layer[-1].in_channels for layer in stack(kind, n)) for n in (24, 48)]
    factor = reads[1] / reads[0]
    print(f"{kind:5} reads {reads[0]:,} and {reads[1]:,} channels: × {factor:.1f}")

# %% [markdown]
# Twice for plain, 3.5 times for dense, and close to 4 for deeper blocks: reading is
# quadratic in depth. On top, each `torch.cat` copies all old maps to new memory, which
# lesson 09 does something about.
#
# | for | against |
# |---|---|
# | maps stay apart; readers choose (shown) | reading grows quadratically (shown) |
# | 24 layers: gradients keep their magnitude in four settings (shown) | `torch.cat` copies everything (lesson 09) |
# | early maps can be read late (shown) | one more (next) |
# | DenseNet-201: ResNet-101's error, half its parameters (paper) | naive training memory is quadratic (lesson 09) |

# %% [markdown]
# ## Break it
#
# Image networks shrink their maps on the way: VGG goes from 224 pixels in five halvings
# to 7, because fewer pixels cost less and let a 3×3 kernel see more of the image.
# Suppose that a layer inside a dense block halves height and width.
#
# **Predict**: does the sum fail, the concatenation, both or neither?

# %% tags=["nbval-check-output", "hide-output"]
images = torch.randn(2, 3, 8, 8)
smaller = F.avg_pool2d(images, 2)  # (N, 3, H/2, W/2)
with expected(RuntimeError):
    images + smaller
with expected(RuntimeError):
    torch.cat([images, smaller], dim=1)

# %% [markdown]
# Both do. A 4 × 4 map has no partner for most positions of an 8 × 8 map. The way out is
# to shrink *everything* made so far, at once:

# %% tags=["nbval-check-output"]
new_maps = torch.randn(2, 10, 4, 4)  # of the layer that halves
features = torch.cat([F.avg_pool2d(images, 2), new_maps], dim=1)
tuple(features.shape)

# %% [markdown]
# DenseNet does this between blocks only. Inside a block all maps have one size, and a
# **transition** shrinks them all before the next block. Lesson 04 builds it.
#
# ## Your turn
#
# [Exercise 1](exercises/01_connections.ipynb), *easy, 10 minutes.* Write
# `count_connections(num_layers)` and `channels_after(in_channels, num_layers,
# growth_rate)`. The check tells you what is wrong, not only that something is.

# %% [markdown]
# ## Recap
#
# - ResNet passes on a sum; DenseNet passes on every term, and each reader weighs them
#   anew. A block of L layers has L(L+1)/2 links.
# - In 24 untrained layers only the dense gradient kept its order of magnitude in all
#   four settings. With BatchNorm and He, residual and dense are alike.
# - The price is reading, quadratic in depth. Blocks limit it, and every block has maps
#   of one size.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional
# Networks](https://arxiv.org/abs/1608.06993), sections 1 to 5 · He et al. 2016, [the
# residual network](https://arxiv.org/abs/1512.03385) · He et al. 2015, [the
# initialisation](https://arxiv.org/abs/1502.01852) · Srivastava et al. 2015, [highway
# networks](https://arxiv.org/abs/1505.00387) · Huang et al. 2016, [stochastic
# depth](https://arxiv.org/abs/1603.09382) · Yang et al. 2019, [gradients that grow
# under BatchNorm](https://arxiv.org/abs/1902.08129) · Pleiss et al. 2017,
# [memory](https://arxiv.org/abs/1707.06990) · Simonyan and Zisserman 2015,
# [VGG](https://arxiv.org/abs/1409.1556) · Zhang et al., [Dive into Deep
# Learning](https://d2l.ai/chapter_convolutional-modern/densenet.html), section 8.7.
#
# **Next:** [02 conv block](02_conv_block.ipynb), the layer that makes the new maps.
