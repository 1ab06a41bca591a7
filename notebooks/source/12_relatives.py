# %% [markdown]
# # 12 · DenseNet and its relatives
#
# **Three families of networks with the same number of parameters: do they do the same
# work? And what did DenseNet's descendants change, and what does each change bring?**
#
# After this lesson you can
# - compare three families, say by what measure one of them wins, and what the
#   comparison leaves open;
# - explain a network's multiply-adds by where its weights sit;
# - swap the layer of a dense block for that of CondenseNet, PeleeNet or RDNet, count
#   what changes, and compare what was measured.
#
# About 50 minutes, after [05 the bottleneck](05_bottleneck.ipynb), [07 train on
# FashionMNIST](07_train_fashion_mnist.ipynb) and part one of [09 memory and
# speed](09_memory_and_speed.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from statistics import mean

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting, results
from densenet_course.figures import relative_layers, relatives, show
from densenet_course.layers import BottleneckLayer, DenseBlock
from densenet_course.measure import cost, reach, weights_by_map
from densenet_course.models import class_densenet
from densenet_course.studies import descendants, families
from densenet_course.studies.relatives import (
    FAMILIES,
    class_densenet_of,
    class_densenet_with,
    nearest_in_size,
)

_ = torch.manual_seed(0)

# %% [markdown]
# ## Three ways to combine
#
# A residual block adds: $x + H(x)$. It is two conv blocks of lesson 02. Where the shape
# changes, a 1×1 carries the input across.


# %%
class ResidualBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride, padding=1, bias=False
        )
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        same = in_channels == out_channels and stride == 1
        self.carry = (
            nn.Identity()
            if same
            else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, x):
        y = self.conv1(F.relu(self.norm1(x)))  # (N, out_channels, H/stride, W/stride)
        return self.carry(x) + self.conv2(F.relu(self.norm2(y)))


# %% [markdown]
# An Inception block has four branches: a 1×1; a 1×1 and a 3×3; a 1×1 and two 3×3 (one
# 5×5 in the original); and a pooling followed by a 1×1. It concatenates their maps. Its
# convolutions stand *before* their BN and ReLU.


# %%
def post_conv(in_channels, out_channels, kernel_size, stride=1):
    pad = kernel_size // 2
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, pad, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class InceptionBlock(nn.Module):
    def __init__(self, in_channels, width):
        super().__init__()
        self.point = post_conv(in_channels, width, 1)
        self.small = nn.Sequential(
            post_conv(in_channels, width, 1), post_conv(width, width, 3)
        )
        self.large = nn.Sequential(
            post_conv(in_channels, width, 1),
            post_conv(width, width, 3),
            post_conv(width, width, 3),
        )
        self.pooled = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), post_conv(in_channels, width, 1)
        )

    def forward(self, x):
        ways = [self.point(x), self.small(x), self.large(x), self.pooled(x)]
        return torch.cat(ways, dim=1)  # (N, 4 · width, H, W)


# %% [markdown]
# Shapes are `(N, C, H, W)`. Here is what leaves each block, for 3 channels in. A layer
# or branch makes 10 maps; the residual block must make 3, because it adds. The dense
# block is lesson 03's.

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
blocks = {
    "residual": ResidualBlock(3, 3),
    "dense": DenseBlock(2, 3, 10),
    "Inception": InceptionBlock(3, 10),
}
for name, block in blocks.items():
    print(f"{name:9}", tuple(block(images).shape))

# %%
show(relative_layers.combined(blocks, images))

# %% [markdown]
# *A sum hides its parts; a dense block passes its input on; an Inception block does
# not.* x is the input, H stands for new maps.
#
# ## Equal parameters
#
# The package builds all three around the class network's stem and head: three stages,
# with maps half as large in each. A family has one shape: DenseNet-BC 2, 4 and 4 layers
# in its stages, ResNet 1, 3 and 2 blocks, Inception 1, 2 and 2. `nearest_in_size`
# chooses the width with which it comes nearest to 141,130 parameters.
#
# **Predict**: will their multiply-adds be nearly equal too?

# %% tags=["nbval-check-output", "hide-output"]
networks = {family: nearest_in_size(family, 141_130) for family in FAMILIES}
for family, network in networks.items():
    parameters, work = cost(network, 1, 28, 28)
    print(f"{family:11} {parameters:,} parameters, {work:,} multiply-adds")

# %% [markdown]
# The parameters agree within 3 %. This DenseNet-BC does 1.96 times the multiply-adds of
# this ResNet.
#
# A weight works once for every pixel of the map it makes: 196 times on 14×14, 9 times
# on 3×3. **Predict** which of the three networks keeps most of its weights on large
# maps.

# %% tags=["nbval-check-output", "hide-output"]
for family, network in networks.items():
    found = weights_by_map(network, 1, 28, 28)
    line = ", ".join(f"{n:,} on {size}×{size}" for size, n in found.items())
    print(f"{family:11}", line)

# %% [markdown]
# DenseNet-BC: 25,888·196 + 55,808·49 + 55,296·9, and 112·10 for the classifier, are its
# 8,307,424. This ResNet doubles its channels whenever it halves the map. Its last maps
# are 4×4, because its strided convolution rounds 7/2 up, while a transition's pooling
# rounds down.
#
# But its shape was a choice. Take ResNets of nearly the same size with other numbers of
# blocks on the three sizes of maps: (1, 1, 4), (1, 3, 2) as above, (2, 2, 1) and (4, 4,
# 1). **Predict** which of them works least and which most.

# %% tags=["nbval-check-output", "hide-output"]
ours = cost(networks["DenseNet-BC"], 1, 28, 28)[1]
for shape in ((1, 1, 4), (1, 3, 2), (2, 2, 1), (4, 4, 1)):
    parameters, work = cost(nearest_in_size("ResNet", 141_130, shape), 1, 28, 28)
    print(f"ResNet {shape}: {parameters:,}, DenseNet-BC works {ours / work:.2f} ×")

# %% [markdown]
# (1, 1, 4) works least and (4, 4, 1) most, 2.8 times as much: where the blocks sit on
# large maps there is more work. DenseNet-BC does 1.0 to 2.9 times their work, so
# "DenseNet works twice as much" is true of one shape only. The rule behind it holds for
# all: **work depends on how large the maps are on which the weights sit.**
#
# "Equal" needs a measure. We fix the parameters, and report the rest.
#
# ## Equal training
#
# Also equal: images, epochs, batches of 128, flips, momentum, schedule. Each family got
# its own peak rate, the best on 5,000 held-out images, from a grid of 0.1, 0.2 and 0.4
# that grows where the best lies at its edge. The rates were tried at 141,130
# parameters; the smaller networks further below use the same ones.
# `benchmarks/relatives.py` did all that.

# %% tags=["nbval-check-output"]
measured = results.read("relatives")
seeds, images_seen = measured["seeds"], measured["train_images"]
print(f"{measured['epochs']} epochs of {images_seen:,} images, seeds {seeds}")
for family, tried in measured["held_out_accuracy_by_rate"].items():
    print(f"{family:11}", ", ".join(f"{rate}: {x:.2%}" for rate, x in tried.items()))

# %% tags=["remove-cell"]
for family, tried in measured["held_out_accuracy_by_rate"].items():
    best, rates = str(measured["peak_rate"][family]), [float(rate) for rate in tried]
    assert tried[best] == max(tried.values())
    assert min(rates) < float(best) < max(rates)  # inside the grid

# %% [markdown]
# Autograd keeps maps for the backward pass (lesson 09); the table gives their bytes for
# one image in fp32. The time of a training step is divided by that of DenseNet-BC's,
# round by round: you see the median and the range.
#
# The held-out accuracies above rank the families already. **Predict** which family
# keeps the fewest bytes: how many blocks or layers of each work on 14×14? **Guess** how
# many times ResNet's bytes DenseNet-BC keeps, and whether the gaps on the test set are
# larger than the spread of the seeds.

# %% tags=["nbval-check-output", "hide-output"]
print(families.table(measured))
largest = families.largest(measured)
kept = {family: network["saved_bytes"] for family, network in largest.items()}
print(f"{kept['DenseNet-BC'] / kept['ResNet']:.1f} times ResNet's bytes")

# %% tags=["remove-cell"]
for family, network in largest.items():
    counted = network["parameters"], network["multiply_adds"]
    assert counted == cost(networks[family], 1, 28, 28)

# %% [markdown]
# This ResNet has one block on the large maps, where a map takes the most bytes. A dense
# block saves a concatenation for every layer (lesson 09), an Inception block the maps
# of seven convolutions.
#
# The same as a picture. In the first and the last panel a mark is one seed, or one
# round of timing; a line is their mean, or their median.

# %%
show(relatives.comparison(measured))

# %% tags=["remove-cell"]
assert max(families.step_ratios(measured, "ResNet")) < 1
assert min(families.step_ratios(measured, "Inception")) > 1
work = {family: network["multiply_adds"] for family, network in largest.items()}
slower = families.step_ratios(measured, "Inception", against="ResNet")
assert round(work["Inception"] / work["ResNet"], 2) == 1.14 < min(slower)

# %% [markdown]
# *At equal parameters this ResNet needs the least work and the fewest bytes.* A busy
# machine slows a whole round, so compare times only within a round. A family is faster
# or slower only if all its rounds lie on one side of 1. ResNet's do: it is faster than
# DenseNet-BC. Inception's do, too: it is slower. And Inception beside ResNet?

# %% tags=["nbval-check-output"]
slower = families.step_ratios(measured, "Inception", against="ResNet")
print(f"an Inception step takes {min(slower):.1f} to {max(slower):.1f} times ResNet's")

# %% [markdown]
# Inception does only 14 % more multiply-adds than ResNet, and yet each of its steps
# takes longer by more than that: milliseconds do not follow multiply-adds.
#
# Is one family more *accurate*? A seed gives all families the same order of images, so
# we subtract seed by seed.

# %% tags=["nbval-check-output"]
for family in ("ResNet", "Inception"):
    points = families.gaps(measured, family)
    span = f"{min(points):+.2f} to {max(points):+.2f}"
    print(f"{family:9} {mean(points):+.2f} points against DenseNet-BC, {span}")

# %% [markdown]
# Minus means that DenseNet-BC was better. Three seeds agree on a sign by chance one
# time in four, so agreement alone is weak: a gap should also be large beside the
# spread. ResNet's is, a point with every seed. Inception's shrinks to 0.01 with one
# seed: a draw.
#
# All this after two epochs. A longer training may change the order, another shape of
# ResNet too, and so may equal *time*, in which ResNet would do more steps.
#
# ## Parameter efficiency
#
# The paper plots error against size. DenseNet-BC needs about a third of a ResNet's
# parameters for the same accuracy, it finds, on CIFAR-10 after 300 epochs. We draw our
# own runs at four sizes, each family in its one shape.
#
# **Predict**: does DenseNet-BC's curve stay below ResNet's, as far as both reach, when
# multiply-adds replace parameters on the axis?

# %% tags=["hide-output"]
show(relatives.efficiency(measured))

# %% [markdown]
# *The same errors over two measures of size; a bar spans the seeds.* Relative to
# ResNet's, DenseNet-BC's points move right by a factor of about two. The means of its
# two smaller networks still lie below ResNet's curve, but by less: the bar of the
# smallest crosses ResNet's curve, and a bar of ResNet's reaches down to about
# DenseNet-BC's. Its two larger networks do more work than our largest ResNet: there is
# no curve to compare them with.
#
# A horizontal line answers the paper's question: how many times as large must the
# ResNet be? Between two sizes the error is read off a straight line over the logarithm
# of the size. In brackets we start from DenseNet-BC's worst and best seed.

# %% tags=["nbval-check-output"]
print(families.needed(measured))

# %% tags=["remove-cell"]
curves = families.curves(measured)
dense, residual = curves["DenseNet-BC"], curves["ResNet"]
seeds = families.points(dense[0])
for measure, inside in (("parameters", 3), ("multiply_adds", 1)):
    low, high = min(seeds), max(seeds)
    ends = [families.size_needed(residual, x, measure) for x in (low, high)]
    assert ends[0] < inside * dense[0][measure] < ends[1]

# %% [markdown]
# A factor of 3 in parameters would repeat the paper's finding, 1 is a draw, and less
# speaks for ResNet. At the smallest size the seeds lie far apart: 3 is in the range,
# and in multiply-adds so is a draw. "More than" is a lower bound: none of our ResNets
# gets there, not even the largest. A bound below 1 says nothing. One shape of ResNet,
# two epochs: this agrees with the paper, but it proves nothing.
#
# ## Change the layer, keep the block
#
# Three descendants, PeleeNet, CondenseNet and RDNet, keep the concatenation and change
# the layer, so they fit into `DenseBlock` through its argument `layer=`.
# Squeeze-and-excitation was invented for other networks, but fits as well. We compare
# each layer with a bottleneck layer that reads C = 128 channels of 7×7 and makes
# k = 16. By lesson 05 that one has 4·C·k + 36·k² weights.

# %% tags=["nbval-check-output"]
parameters, work = cost(BottleneckLayer(128, 16), 128, 7, 7)
config = class_densenet().config
formula = accounting.layer_cost(config, 128, name="layer", height=7, width=7)
print(f"{parameters:,} parameters, {work:,} = 49 · {work // 49:,} multiply-adds")
expected = formula.parameters, formula.multiply_adds
print("as by the formulas:", (parameters, work) == expected)

# %% [markdown]
# 8,192 + 9,216 weights, and 384 numbers of the BNs.
#
# ## Squeeze-and-excitation: look at the whole image
#
# SE averages each map to one number (squeeze). Two small linear layers turn these
# numbers into a gate between 0 and 1 for each map (excite). We gate the k new maps.


# %%
class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduction=4):
        super().__init__()
        few = channels // reduction
        self.gates = nn.Sequential(
            nn.Linear(channels, few), nn.ReLU(), nn.Linear(few, channels), nn.Sigmoid()
        )

    def forward(self, maps):
        gates = self.gates(maps.mean((2, 3)))  # (N, k)
        return maps * gates[:, :, None, None]  # (N, k, H, W)


def se_layer(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    layer.add_module("excite", SqueezeExcite(growth_rate))
    return layer


# %% [markdown]
# `reach` changes one pixel of a 15×15 map and counts the pixels of the new maps that
# change, in evaluation mode, so that BatchNorm's statistics carry nothing (lesson 04).
# **Predict** its answer without SE and with it.

# %% tags=["nbval-check-output", "hide-output"]
for name, layer in (("bottleneck", BottleneckLayer), ("with SE", se_layer)):
    parameters, pixels = cost(layer(128, 16), 128, 7, 7)[0], reach(layer(128, 16), 128)
    print(f"{name:10} {parameters:,} parameters, reaches {pixels} pixels")

# %% [markdown]
# SE adds 16·4 + 4 + 4·16 + 16 = 148 parameters, and every one of the 225 pixels
# changes: the average carries information across the image.
#
# ## PeleeNet: two ways
#
# PeleeNet (2018) splits the new maps: half of them come from one 3×3, half from two 3×3
# in a row. With `post_conv`, BN can be multiplied into the convolution before it once
# the training is over. A waist never exceeds half of what it reads.


# %%
class TwoWayLayer(nn.Module):
    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        super().__init__()
        half = growth_rate // 2
        waist = min(bottleneck_factor * half, in_channels // 2)
        self.near = nn.Sequential(
            post_conv(in_channels, waist, 1), post_conv(waist, half, 3)
        )
        self.far = nn.Sequential(
            post_conv(in_channels, waist, 1),
            post_conv(waist, half, 3),
            post_conv(half, half, 3),
        )

    def forward(self, maps):
        return torch.cat([self.near(maps), self.far(maps)], dim=1)  # (N, k, H, W)


# %% [markdown]
# The two 1×1 go from 128 to 32, two 3×3 from 32 to 8, and one 3×3 from 8 to 8.
# **Predict** how many pixels the layer reaches, and whether it has more or fewer
# weights than the bottleneck layer's 17,408.

# %% tags=["nbval-check-output", "hide-output"]
layer = TwoWayLayer(128, 16)
weights = relative_layers.conv_weights(layer)
print(f"{weights:,} weights, reaches {reach(layer, 128)} pixels")

# %% [markdown]
# 8,192 + 4,608 + 576 = 13,376. The two 1×1 together cost as much as the bottleneck's
# one. Each of the first two 3×3 has half the inputs and half the outputs, so a quarter
# of the weights.
#
# ## CondenseNet: learn which links to cut
#
# A *group convolution* cuts its input and output channels into G parts. Each output
# part reads only its own input part, so a G-th of the weights is left (`groups=G` in
# PyTorch). Which channels belong together is fixed in advance.
#
# CondenseNet (2018) starts with all links and learns which to keep. The outputs of its
# 1×1 form G groups; we take G = 4. The first group is outputs 0, 4, 8, …, the second 1,
# 5, 9, … (The paper uses neighbours and shuffles them afterwards, which comes to the
# same.) Three times in the first half of the training, each group drops a quarter of
# the C channels: those with its smallest weights.


# %%
class LearnedGroupConv(nn.Conv2d):
    def __init__(self, in_channels, out_channels, condensation=4):
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.condensation = condensation  # G groups
        self.register_buffer("mask", torch.ones(condensation, in_channels))

    def masked_weight(self):
        repeats = self.out_channels // self.condensation
        return self.weight * self.mask.repeat(repeats, 1)[:, :, None, None]

    def condense(self):
        size = self.masked_weight().detach().abs()
        size = size.reshape(-1, *self.mask.shape).sum(0)  # (G, C)
        size = size.masked_fill(self.mask == 0, torch.inf)  # dropped already
        weakest = size.argsort(1)[:, : self.in_channels // self.condensation]
        self.mask.scatter_(1, weakest, 0)

    def forward(self, maps):
        return F.conv2d(maps, self.masked_weight())  # (N, 4k, H, W)


# %% [markdown]
# Three rounds, each of which drops 32 of the 128 channels for each group. This layer is
# untrained, so it drops the smallest of random weights.

# %% tags=["nbval-check-output"]
learned = LearnedGroupConv(128, 64)
for _ in range(3):
    learned.condense()
    left = int((learned.masked_weight() != 0).sum())
    print("each group reads", learned.mask.sum(1).int().tolist(), f"{left:,} weights")

# %% [markdown]
# A quarter is left. A mask of zeros saves no time; after training the zeros are
# removed. An index picks the channels that each group kept, and an ordinary group
# convolution reads them.
#
# CondenseNet's 3×3 has four fixed groups. **Predict** what part of the bottleneck
# layer's 17,408 weights the whole layer keeps in the end.


# %% tags=["nbval-check-output", "hide-output"]
def condense_layer(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    waist = 4 * growth_rate
    layer.conv1 = LearnedGroupConv(in_channels, waist)
    layer.conv2 = nn.Conv2d(waist, growth_rate, 3, padding=1, groups=4, bias=False)
    return layer


# of the 1×1 it counts a quarter, which is left after condensing
print(f"{relative_layers.conv_weights(condense_layer(128, 16)):,}")

# %% [markdown]
# Exactly a quarter. CondenseNet also raises k from block to block, and lets later
# blocks read earlier ones.
#
# ## Break it: fixed groups in the 1×1
#
# Why not use fixed groups at once? `grouped_layer` sets the mask from the start: each
# group reads neighbouring channels, or, shuffled, randomly drawn ones. Change the
# newest 16 of the 128 maps. **Predict** how many of the 64 channels in the waist
# notice, with all links, with neighbours, with shuffled groups, and with those that
# our untrained layer kept.

# %% tags=["nbval-check-output", "hide-output"]
maps = torch.randn(2, 128, 7, 7)
changed = maps.clone()
changed[:, -16:] += 1
convolutions = {
    "all links": nn.Conv2d(128, 64, 1, bias=False),
    "neighbours": descendants.grouped_layer(128, 16).conv1,
    "shuffled": descendants.grouped_layer(128, 16, shuffled=True).conv1,
    "by weight": learned,
}
for name, convolution in convolutions.items():
    moved = (convolution(maps) != convolution(changed)).amax((0, 2, 3))  # (64,)
    print(f"{name:10} {moved.sum()} of 64 notice")

# %% [markdown]
# Neighbours cut the links by age (*groups by age* in the table below): three quarters
# of the waist never see the newest maps, and nothing complains. A shuffle mends that
# without any learning. So reach alone is no reason to *learn* groups; accuracy would
# be. We come to it below.
#
# ## RDNet: wide growth
#
# RDNet (2024) takes its layer from ConvNeXt. A 7×7 reads each channel alone
# (*depthwise*). A LayerNorm normalises the channels of each pixel, without the batch. A
# 1×1 leads to 4·C channels, a GELU (a smooth ReLU) follows, and a second 1×1 leads to
# k. The width inside is a multiple of what the layer *reads*.


# %%
class ChannelNorm(nn.LayerNorm):
    def forward(self, maps):
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)  # (N, C, H, W)


def rd_layer(in_channels, growth_rate):
    wide = 4 * in_channels
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels),
        ChannelNorm(in_channels),
        nn.Conv2d(in_channels, wide, 1), nn.GELU(),  # (N, 4C, H, W)
        nn.Conv2d(wide, growth_rate, 1),  # (N, k, H, W)
    )


# %% [markdown]
# We leave out the gates of its later stages, and a learned scale. The weights are
# 49·C + 4·C² + 4·C·k. **Predict** which layer is the smaller one at C = 128, for k = 16
# and for k = 64.

# %% tags=["nbval-check-output", "hide-output"]
for k in (16, 64):
    narrow = relative_layers.conv_weights(BottleneckLayer(128, k))
    wide = relative_layers.conv_weights(rd_layer(128, k))
    print(f"k = {k}: bottleneck {narrow:,}, RDNet {wide:,}")

# %% [markdown]
# At k = 16 RDNet's layer has 4.6 times the weights; at 64 it is the smaller one.

# %%
layers = {
    "bottleneck": BottleneckLayer,
    "two-way": TwoWayLayer,
    "condensed": condense_layer,
    "RDNet": rd_layer,
}
show(relative_layers.cost_by_growth(layers))

# %% [markdown]
# *At C = 128 the lines of bottleneck and RDNet cross where 36·k² = 49·C + 4·C², at k ≈
# 45; with more channels they cross later, at k ≈ 343 for C = 1,024.* The bottleneck's
# 3×3 grows with k², RDNet's layer only with k. The two-way line bends at k = 32: from
# there its waist stays at half of 128. RDNet's smallest network uses growth rates of 64
# to 224, where DenseNet-121 has 32; in return it has 21 layers, not 58.
#
# ## One shot
#
# VoVNet (2019) changes the block: its 3×3 layers form a chain, each reading only the
# one before, and everything is concatenated once, at the end. Take 4 layers, C = 64, k
# = 16. **Predict**: has its output another shape than that of a dense block of the same
# conv blocks? And by what factor do the parameters differ?

# %% tags=["nbval-check-output", "hide-output"]
maps = torch.randn(1, 64, 7, 7)
kinds = {"dense": DenseBlock, "one shot": descendants.OneShotBlock}
for name, kind in kinds.items():
    block = kind(4, 64, 16)
    parameters = cost(block, 64, 7, 7)[0]
    print(f"{name:8} {tuple(block(maps).shape)}, {parameters:,} parameters")

# %% [markdown]
# The same shape, with less than a third of the parameters: after the first layer each
# one reads 16 channels, not 80, 96 and 112. You write this block in the exercise.
#
# ## What does each change bring?
#
# `benchmarks/descendants.py` put them all into the class network, k = 16 and blocks of
# 2, 4 and 4 layers as they are. It is a small budget, and the same for all: 6,400
# images once, lesson 07's recipe, one seed so far (`--seeds 3` measures more). The last
# column subtracts the accuracy of bottleneck layers in a DenseNet-BC of the same size,
# read off between four sizes, from 36,394 to 241,300 parameters.
#
# **Guess**: do the learned groups come out ahead of the shuffled ones after so short a
# training?

# %% tags=["nbval-check-output", "hide-output"]
swapped = results.read("descendants")
print(families.layer_table(swapped))

# %% tags=["remove-cell"]
live = {"bottleneck": BottleneckLayer, "SE": se_layer, "two-way": TwoWayLayer,
        "RDNet": rd_layer}
stored = {row["name"]: row for row in swapped["networks"]}
for name, layer in live.items():
    counted = cost(class_densenet_with(layer), 1, 28, 28)
    assert counted == (stored[name]["parameters"], stored[name]["multiply_adds"])
row = stored["one-shot"]
counted = cost(class_densenet_of(descendants.OneShotBlock), 1, 28, 28)
assert counted == (row["parameters"], row["multiply_adds"])
groups = ("learned groups", "groups by age", "shuffled groups")
assert len({stored[name]["parameters"] for name in groups}) == 1

# %% [markdown]
# Parameters and multiply-adds are exact, the times of a step scatter widely, and the
# accuracies come from one short training each. In lesson 07, with many more steps,
# three seeds of one recipe lay 0.3 to 0.4 points apart; after 50 steps it may be more,
# and we did not measure it. So a gap of a point or two proves nothing here: shuffled
# groups and groups by age (neighbours) are that close. The learned ones lie clearly
# behind, but with one seed. They prune three times within the first half of 50 steps,
# which may be too soon; we did not test that. Whether learned groups pay in a long
# training, this table does not say. The last column says what a layer brings *beyond*
# its size; a small network with a clear plus has saved well, one with a clear minus has
# only become smaller. With one seed only the learned groups' −3.8 stands out.
#
# On ImageNet, top-1, these are reported: PeleeNet 72.6 % with 2.8 million parameters,
# CondenseNet 73.8 % with 4.8 million, DenseNet-121 in torchvision 74.4 % with 8.0
# million, RDNet-T 82.8 % with 24 million, after a far longer and stronger training.
#
# ## Where DenseNet lives on
#
# **Segmentation.** FC-DenseNet, the "Tiramisu" (2016), shrinks the maps (the way down)
# and enlarges them again (the way up). On the way up a *transposed convolution* with
# stride 2, a learned enlargement, doubles height and width, and gets only the *new*
# maps of a block. Of what the block was given only that goes on which its new maps took
# up. The detail that pooling lost comes back by a *skip connection*: it brings the maps
# of the doubled size from the way down, before they were pooled, and they are
# concatenated. In lesson 03 dropping the input was a slip. Here are the channels both
# ways, for a block that reads 96 channels and makes 4·16.

# %% tags=["nbval-check-output"]
coarse, skip = torch.randn(1, 96, 7, 7), torch.randn(1, 96, 14, 14)
everything = DenseBlock(4, 96, 16, BottleneckLayer)(coarse)  # (N, 96 + 64, 7, 7)
for name, maps in (("everything", everything), ("new maps", everything[:, 96:])):
    C = maps.shape[1]
    up = nn.ConvTranspose2d(C, C, 3, stride=2, padding=1, output_padding=1)
    joined = torch.cat([up(maps), skip], dim=1)  # (N, C + 96, 14, 14)
    print(f"{name:10} {tuple(joined.shape)}, {up.weight.numel():,} weights to upsample")

# %% [markdown]
# 256 channels against 160, and a sixth of the weights. Its authors report the best
# results of their time on CamVid, a set of street scenes, without pretraining.
#
# **Detection.** DSOD (2017) trains a detector from scratch, without ImageNet. Its
# authors call the supervision that reaches early layers through dense connections
# critical for that. Pelee joins PeleeNet with a detector for phones.
#
# **Medical images.** CheXNet (2017) is DenseNet-121, pretrained on ImageNet and
# fine-tuned on 98,637 chest X-rays with 14 diseases. Its output layer ends in 14
# *independent* sigmoids, not in a softmax: a patient can have several diseases at once,
# or none. The library TorchXRayVision still ships DenseNet-121.
#
# **Beyond hand-made blocks.** NASNet (2017) *searched* for its cells, and concatenates
# too. EfficientNet (2019) scales depth, width and image size together. Vision
# transformers (2020) mix patches of pixels by attention; hybrids such as CoAtNet (2021)
# begin with convolutions and end with attention. RDNet shows that concatenation still
# competes.
#
# ## Your turn
#
# [Exercise 16](exercises/16_one_shot.ipynb), *medium, 25 minutes.* Write
# `OneShotBlock(num_layers, in_channels, growth_rate)`. The check measures which maps
# each layer reads.
#
# ## Recap
#
# - Equal parameters are not equal work: what counts is the size of the maps on which
#   the weights work. Against our DenseNet-BC, ResNets of its size do from about as much
#   to a third of the work, by their shape. Name the measure before you name a winner.
# - A dense block takes any layer that makes k maps. CondenseNet quarters its weights,
#   PeleeNet splits it in two, SE adds a view of the whole image, RDNet makes large k
#   cheap, VoVNet concatenates only once.
# - Groups of neighbours in a 1×1 cut a dense block's links by age; a shuffle already
#   mends that.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*,
#   CVPR 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), figures 3 and 4.
# - He et al. 2016, [arXiv 1603.05027](https://arxiv.org/abs/1603.05027); Szegedy et al.
#   2015, [arXiv 1409.4842](https://arxiv.org/abs/1409.4842).
# - SE: Hu et al., [arXiv 1709.01507](https://arxiv.org/abs/1709.01507). PeleeNet: Wang,
#   Li, Ling, [arXiv 1804.06882](https://arxiv.org/abs/1804.06882). CondenseNet: Huang,
#   Liu, van der Maaten, Weinberger, [arXiv
#   1711.09224](https://arxiv.org/abs/1711.09224). RDNet: Kim, Heo, Han, [arXiv
#   2403.19588](https://arxiv.org/abs/2403.19588).
# - FC-DenseNet: Jégou et al., [arXiv 1611.09326](https://arxiv.org/abs/1611.09326).
#   DSOD: Shen et al., [arXiv 1708.01241](https://arxiv.org/abs/1708.01241). CheXNet:
#   Rajpurkar et al., [arXiv 1711.05225](https://arxiv.org/abs/1711.05225).
#   TorchXRayVision: Cohen et al., [arXiv 2111.00595](https://arxiv.org/abs/2111.00595).
#   VoVNet: Lee et al., [arXiv 1904.09730](https://arxiv.org/abs/1904.09730).
# - NASNet: Zoph et al., [arXiv 1707.07012](https://arxiv.org/abs/1707.07012).
#   EfficientNet: Tan, Le, [arXiv 1905.11946](https://arxiv.org/abs/1905.11946). ViT:
#   Dosovitskiy et al., [arXiv 2010.11929](https://arxiv.org/abs/2010.11929). CoAtNet:
#   Dai et al., [arXiv 2106.04803](https://arxiv.org/abs/2106.04803). ImageNet results:
#   table 4 of PeleeNet's paper, table 3 of CondenseNet's, torchvision's list of
#   weights, and the [model card](https://huggingface.co/naver-ai/rdnet_tiny.nv_in1k) of
#   RDNet-T.
#
# **Next:** [13 · The same network in Keras 3](13_keras.ipynb).
