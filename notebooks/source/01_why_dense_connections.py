# %% [markdown]
# # 01 · Why dense connections
#
# A DenseNet layer reads everything made before it, side by side and never added up.
#
# Afterwards you can
# - say what ResNet adds and DenseNet keeps apart, and count a block's links;
# - measure how a gradient changes with depth in plain, residual and dense stacks;
# - name what dense connections cost, and why they stop where maps change their size.
#
# About 40 minutes, after [00 start here](00_start_here.ipynb). Shapes are `(N, C, H, W)`: images, channels,
# height, width.

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting
from densenet_course.figures import show
from densenet_course.figures.connections import dense_connectivity, three_stacks
from densenet_course.figures.gradients import SETTINGS, gradient_norms

torch.manual_seed(0)
KINDS = ("plain", "residual", "dense")

# %% [markdown]
# ## Three ways to wire the same layers
#
# You know the first two rows. Look at the third: how many arrows end at layer 3, and does any of them carry a sum?

# %%
show(three_stacks())

# %% [markdown]
# Three arrows end at layer 3 of the dense row, and none carries a sum. The paper writes the last two rows as its
# equations 1 and 2, where $H_\ell$ is what layer $\ell$ computes:
#
# $$\text{ResNet: } x_\ell = H_\ell(x_{\ell-1}) + x_{\ell-1} \qquad
# \text{DenseNet: } x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}])$$
#
# Brackets mean: side by side along the channels.
#
# Take images of 3 channels; add 3 new maps, or join 10. **Predict** the channels after each.

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
added = images + torch.randn(2, 3, 8, 8)
joined = torch.cat([images, torch.randn(2, 10, 8, 8)], dim=1)  # (N, 3 + 10, H, W)
print("added: ", tuple(added.shape))
print("joined:", tuple(joined.shape))

# %% [markdown]
# A sum keeps 3 channels, and both parts must have 3. Joining gives 3 + 10 = 13, and the new part may have any width.
#
# ## What a sum forgets
#
# A Taylor series builds a function from terms, each finer than the last:
#
# $$f(x) = f(0) + x \cdot \Big[f'(0) + x \cdot \Big[\tfrac{f''(0)}{2} + x \cdot [\dots]\Big]\Big]$$
#
# For $e^x$ at $x = 0.5$ the terms are 1, then 0.5, then 0.5²/2 = 0.125. **Predict** the running sum after three terms.

# %% tags=["nbval-check-output"]
x = 0.5
terms = torch.tensor([x**n / math.factorial(n) for n in range(5)])
print("terms:      ", [f"{term:.4f}" for term in terms.tolist()])
print("running sum:", [f"{total:.4f}" for total in terms.cumsum(dim=0).tolist()])
print("exp(0.5):   ", f"{math.exp(0.5):.4f}")

# %% [markdown]
# 1.625 after three terms. A residual network works like the second line: each layer corrects the sum and passes
# only the sum on. A dense block passes on the first line, the terms themselves.
#
# Suppose that a later layer needs $e^{-0.5}$: the same terms with alternating signs. **Predict**: can it be had from
# the running sum 1.6484? From the list?

# %% tags=["nbval-check-output"]
signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
print(f"{(signs * terms).sum():.4f} from the list, {math.exp(-0.5):.4f} exactly")

# %% [markdown]
# The list gives it, up to 0.0003. Inside the sum the signs can no longer be changed. So joining leaves the weights
# to each reader.
#
# The same with tensors. Let two parts trade places. **Predict**, for sum and concatenation: can a reader tell?

# %% tags=["nbval-check-output"]
a, b = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
print("sums equal:  ", torch.equal(a + b, b + a))
print("joined equal:", torch.equal(torch.cat([a, b], dim=1), torch.cat([b, a], dim=1)))

# %% [markdown]
# The sum hides which part came from where. A reader of `[a, b]` can still form the sum, by equal weights; a reader of
# `a + b` cannot form `a`.
#
# ## Count the links
#
# Here is one dense block of 5 layers. Layer 1 has one incoming arrow, layer 2 has two. **Predict** the total.

# %%
show(dense_connectivity(5))

# %% [markdown]
# Every box is read by all boxes to its right: 15 links for 5 layers. Where the block's output goes is not counted.
#
# For L layers the paper says L(L+1)/2. Count the pairs one by one; `accounting.connections` has the formula.
# **Predict** L = 12: 12 · 13 / 2.

# %% tags=["nbval-check-output"]
for num_layers in (1, 5, 12, 24):
    links = [(source, target) for target in range(1, num_layers + 1) for source in range(target)]
    print(f"L = {num_layers:2}: {len(links):3} links, formula agrees: "
          f"{len(links) == accounting.connections(num_layers)}")

# %% [markdown]
# 78 for L = 12. Twice the layers give 300, almost four times the links: growth is quadratic.
#
# DenseNet-121 has blocks of 6, 12, 24 and 16 layers, and links only inside a block. **Predict**: has it more or fewer
# than half the links of one block of 58 layers?

# %% tags=["nbval-check-output"]
per_block = [accounting.connections(num_layers) for num_layers in (6, 12, 24, 16)]
print("four blocks:", per_block, "together", sum(per_block))
print("one block of 58:", accounting.connections(58))

# %% [markdown]
# 535 against 1,711: less than a third. Blocks keep the wiring affordable; another reason for them comes later.
#
# ## Three stacks to measure
#
# Dense links are said to help the gradient reach early layers. You will measure it, with one kind of layer for all
# stacks; `setting` is for later.

# %% tags=["nbval-check-output"]
def relu_conv(in_channels, out_channels, setting="PyTorch's weights"):
    norm = nn.BatchNorm2d(in_channels) if setting == "with BatchNorm" else nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    if setting == "He's weights":
        nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(norm, nn.ReLU(), conv)

tuple(relu_conv(3, 10)(images).shape)  # (N, 10, H, W)

# %% [markdown]
# 3 channels in, 10 out. BatchNorm is off at first: it rescales whatever passes and would blur what the wiring does.
#
# The wirings differ in one line each. **Predict**: with 3 old and 3 new maps, does the next layer read 3 channels or 6?

# %% tags=["nbval-check-output"]
def join(kind, features, new_maps):
    if kind == "plain":
        return new_maps  # (N, C, H, W)
    if kind == "residual":
        return features + new_maps  # (N, C, H, W)
    return torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W)

for kind in KINDS:
    print(f"{kind:8} {tuple(join(kind, a, b).shape)}")

# %% [markdown]
# Only the dense one grows. To be fair, the stacks get the same depth and nearly as many weights. Plain and residual
# layers make 12 maps from 12; dense layers add 3 each to an input of 12.
#
# **Predict** the plain stack's weights: 24 layers · 3 · 3 · 12 · 12.

# %% tags=["nbval-check-output"]
def stack(kind, num_layers=24, setting="PyTorch's weights", channels=12, growth_rate=3):
    if kind == "dense":
        widths = [(channels + i * growth_rate, growth_rate) for i in range(num_layers)]
    else:
        widths = [(channels, channels)] * num_layers
    return nn.ModuleList(relu_conv(*width, setting) for width in widths)

for kind in KINDS:
    print(f"{kind:8} {sum(weight.numel() for weight in stack(kind).parameters()):,} weights")

# %% [markdown]
# 31,104 each, and 30,132 for the dense stack: 3 · 3 · 3 · (12 + 15 + … + 81). Making few maps pays for reading many.
#
# To run a stack: make maps, join, go on. **Predict** the channels that leave 24 dense layers: 12 + 24 · 3.

# %% tags=["nbval-check-output"]
def run_stack(kind, layers, images):
    features, made = images, []
    for layer in layers:
        new_maps = layer(features)  # (N, k, H, W)
        made.append(new_maps)
        features = join(kind, features, new_maps)
    return features, made

for kind in KINDS:
    features, made = run_stack(kind, stack(kind), torch.randn(32, 12, 8, 8))
    print(f"{kind:8} leaves {tuple(features.shape)}, each layer made {made[0].shape[1]} maps")

# %% [markdown]
# 84 channels leave the dense stack. The images are noise and the labels random: we study untrained wiring.
#
# ## Measure the gradient
#
# A linear classifier reads the average of each map. We take the gradient of its loss at the maps that each layer
# made, and note its length: how strongly the loss asks for other maps there.

# %%
def class_loss(features, labels):
    pooled = features.mean(dim=(2, 3))  # (N, C)
    return F.cross_entropy(nn.Linear(pooled.shape[1], 10)(pooled), labels)

def measure(kind, setting="PyTorch's weights", seed=0):
    torch.manual_seed(seed)
    images, labels = torch.randn(32, 12, 8, 8), torch.randint(10, (32,))
    features, made = run_stack(kind, stack(kind, setting=setting), images)
    gradients = torch.autograd.grad(class_loss(features, labels), made)
    return [gradient.norm().item() for gradient in gradients]

# %% [markdown]
# First with PyTorch's default weights. Their variance is 1/(3 · inputs), and ReLU blocks half of
# what passes. So one plain layer should shrink a gradient to √(1/3 · 1/2) ≈ 0.41 of its length.
#
# **Predict** 23 such steps: 0.41 is about $10^{-0.4}$. And the other two wirings?

# %%
norms = {kind: measure(kind) for kind in KINDS}
show(gradient_norms({"PyTorch's weights": norms}))

# %% [markdown]
# From layer 24 back to layer 1 the gradient collapses in the plain stack and stays level in the dense one.
#
# One run may be luck. Take five seeds and divide layer 1 by layer 24: a ratio of 1 means that the first layer
# gets as much as the last. **Predict** the plain one from your 23 steps.

# %%
def first_over_last(kind, setting="PyTorch's weights"):
    runs = [measure(kind, setting, seed) for seed in range(5)]
    return [lengths[0] / lengths[-1] for lengths in runs]

ratios = {kind: first_over_last(kind) for kind in KINDS}
for kind, values in ratios.items():
    print(f"{kind:8} {min(values):.2g} to {max(values):.2g}")
print(f"one plain step: {math.prod(ratios['plain']) ** (1 / 5 / 23):.2f}")
assert max(ratios["plain"]) < 1e-7
assert min(ratios["dense"]) > 0.3 and max(ratios["dense"]) < 3 < 4 * min(ratios["residual"])

# %% [markdown]
# In the plain stack less than a billionth arrives; a step keeps 0.39, close to 0.41. The residual gradient grows
# several times over; the dense one stays near 1.
#
# But 0.41 came from the weights. He's weights have variance 2/inputs: a plain step becomes √(2 · 1/2) = 1,
# a residual step √(1 + 1), and 23 of them 2,900. **Predict** the middle row; the last row shows what BatchNorm does.

# %%
print(f"{'layer 1 / layer 24':20}" + "".join(f"{kind:>20}" for kind in KINDS))
table = {setting: {kind: first_over_last(kind, setting) for kind in KINDS} for setting in SETTINGS}
for setting, row in table.items():
    print(f"{setting:20}" + "".join(f"{f'{min(v):.2g} to {max(v):.2g}':>20}" for v in row.values()))
assert min(table["He's weights"]["plain"]) > 0.01 and min(table["He's weights"]["residual"]) > 200
assert min(table["with BatchNorm"]["plain"]) > 15 and max(table["with BatchNorm"]["residual"]) < 5
assert all(0.3 < value < 10 for row in table.values() for value in row["dense"])

# %% [markdown]
# With He's weights the plain stack hardly vanishes, and the residual one explodes. With BatchNorm residual is the
# most even, at about 2; dense has about 3; plain grows about fiftyfold.
#
# So "plain vanishes" is true of some weights only. Only the dense column stays within a factor of 4 of 1 in every row.
# **Predict** which lines of each panel will be level.

# %%
show(gradient_norms({setting: {kind: measure(kind, setting) for kind in KINDS} for setting in SETTINGS}))

# %% [markdown]
# Dense stays nearly level in all three panels; plain and residual each tilt steeply in one. This is noise before
# training: the loss reaches early layers, which does not yet make a network accurate.
#
# ## Where does the dense gradient come from?
#
# The classifier reads all 84 channels, so its gradient reaches every layer directly: *implicit deep supervision*.
# Compare the direct part's length with the whole. **Predict** the ratio for layer 24, which only the classifier reads.

# %%
def direct_part(setting):
    torch.manual_seed(0)
    images, labels = torch.randn(32, 12, 8, 8), torch.randint(10, (32,))
    features, made = run_stack("dense", stack("dense", setting=setting), images)
    at_end, *at_layers = torch.autograd.grad(class_loss(features, labels), [features, *made])
    direct = at_end[:, 12:].split(3, dim=1)  # 24 tensors (N, 3, H, W), one for each layer
    return [(part.norm() / whole.norm()).item() for part, whole in zip(direct, at_layers, strict=True)]

for setting in SETTINGS:
    parts = direct_part(setting)
    print(f"{setting:18} layer 1: {parts[0]:.2f}   layer 12: {parts[11]:.2f}   layer 24: {parts[23]:.2f}")
    assert parts[0] > 0.2 and abs(parts[23] - 1) < 1e-4

# %% [markdown]
# 1 for layer 24. At layer 1 the direct part has a third of the whole length or more. It crosses no other layer, so
# depth cannot shrink it.
#
# ## Feature reuse
#
# Forwards, too, layer 24 reads the 3 maps of layer 1 unchanged. **Predict** how many of its weights belong to them:
# 3 new maps · 3 old maps · 3 · 3.

# %% tags=["nbval-check-output"]
last = stack("dense")[23][-1]
for_layer_1 = last.weight[:, 12:15]  # layer 1's maps are channels 12, 13, 14
print("all weights of layer 24:", last.weight.numel())
print("for the maps of layer 1:", for_layer_1.numel())

# %% [markdown]
# 81 of 2,187 weights. So an early map can be *reused* late; no layer between has to pass it on. That training uses
# this is shown elsewhere: in the paper's figure 5, layers spread their weights over many earlier ones.
#
# ## What it costs
#
# **Predict** the channels read by 24 plain layers, 24 · 12, and by 24 dense ones, 12 + 15 + … + 81. Then double the
# depth.

# %% tags=["nbval-check-output"]
print("layers   plain reads   dense reads   dense copies")
for num_layers in (24, 48):
    plain, dense = ([layer[-1].in_channels for layer in stack(kind, num_layers)] for kind in ("plain", "dense"))
    copies = [channels + 3 for channels in dense]  # torch.cat writes old and new maps to new memory
    assert dense == accounting.layer_inputs(12, num_layers=num_layers, growth_rate=3)
    print(f"{num_layers:6} {sum(plain):13,} {sum(dense):13,} {sum(copies):14,}")

# %% [markdown]
# 288 against 1,116 channels. Twice the depth doubles the plain stack's reading and multiplies the dense one's by 3.5.
# And each concatenation copies: 1,188 maps are written to join 72 new ones.
#
# | for | against |
# |---|---|
# | maps stay apart; readers choose (shown) | reading grows quadratically (shown) |
# | gradient level in three settings (shown) | each concatenation copies everything (shown) |
# | early maps can be read late (shown) | maps must have equal height and width (next) |
# | 20 million parameters err like ResNet's 40 (paper, 4.4) | naive training memory is quadratic (Pleiss 2017) |

# %% [markdown]
# ## Break it
#
# Image networks shrink their maps on the way. Suppose that a layer halves height and width, and we join as before.
# **Predict** which numbers in the two shapes may differ.

# %% tags=["raises-exception"]
smaller = F.avg_pool2d(images, 2)  # (N, 3, H/2, W/2)
torch.cat([images, smaller], dim=1)

# %% [markdown]
# Only the channels may differ. A 4 × 4 map has no partner for most positions of an 8 × 8 map; a sum needs equal
# sizes, too.
#
# The way out is to shrink *everything* made so far, once. **Predict** the shape: 3 + 3 channels, half of 8.

# %% tags=["nbval-check-output"]
features = torch.cat([F.avg_pool2d(images, 2), smaller], dim=1)  # (N, 3 + 3, H/2, W/2)
tuple(features.shape)

# %% [markdown]
# 6 channels of 4 × 4. DenseNet does this between blocks only: inside a block all maps have one size, and a
# **transition** shrinks them all before the next. Lesson 04 builds it.
#
# ## Shapes and weights at a glance
#
# The block of the picture: 3 channels in, 5 layers of 10 maps. **Predict** the weights of layer 5: 3 · 3 · 43 · 10.

# %% tags=["nbval-check-output"]
layers = stack("dense", num_layers=5, channels=3, growth_rate=10)
planned = accounting.layer_inputs(3, num_layers=5, growth_rate=10)
for i, (layer, reads) in enumerate(zip(layers, planned, strict=True), start=1):
    weights = layer[-1].weight.numel()
    agrees = weights == accounting.conv_parameters(reads, 10, kernel_size=3)
    print(f"layer {i}: reads {layer[-1].in_channels:2} (plan {reads:2}), {weights:5,} weights, agrees: {agrees}")
features, _ = run_stack("dense", layers, images)
print("leaves:", tuple(features.shape), "planned", accounting.channels_after(3, num_layers=5, growth_rate=10))

# %% [markdown]
# 3,870 weights; 53 channels leave. Each layer has 900 weights more than the one before.
#
# ## Your turn
#
# [Exercise 1](exercises/01_connections.ipynb), *easy, 10 minutes.* Write `count_connections(num_layers)` and
# `channels_after(in_channels, num_layers, growth_rate)`. The check tells you what is wrong, not only that something is.
#
# And on paper: what is the smallest L with more than 1,000 links?

# %% [markdown]
# ## Recap
#
# - ResNet passes on a sum; DenseNet passes on every term. A block of L layers has L(L+1)/2 links.
# - In 24 untrained layers the dense gradient stayed level in three settings; the others depended on the weights.
# - The price is reading and copying, quadratic in depth. Blocks limit it, and every block has maps of one size.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional Networks](https://arxiv.org/abs/1608.06993), sections
# 1, 3, 4.4 and 5. He et al. 2015, [the weights](https://arxiv.org/abs/1502.01852) and
# [the residual network](https://arxiv.org/abs/1512.03385). Yang et al. 2019, on
# [gradients that grow under BatchNorm](https://arxiv.org/abs/1902.08129). Pleiss et al. 2017, on
# [memory](https://arxiv.org/abs/1707.06990). Zhang et al.,
# [Dive into Deep Learning](https://d2l.ai/chapter_convolutional-modern/densenet.html), section 8.7: the Taylor view.
#
# **Next:** [02 conv_block](02_conv_block.ipynb), the layer that makes the new maps.
