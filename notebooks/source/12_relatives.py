# %% [markdown]
# # 12 · DenseNet and its relatives
#
# **Three families of networks with equally many parameters: do they do equal work? And
# what did DenseNet's descendants change?**
#
# After this lesson you can
# - compare three families, say by what measure one of them wins, and what the
#   comparison leaves open;
# - explain a network's multiply-adds by where its weights sit;
# - swap the layer of a dense block for that of CondenseNet, PeleeNet or RDNet, and
#   count what changes.
#
# About 50 minutes, after [05 the bottleneck](05_bottleneck.ipynb) and [07 train on
# FashionMNIST](07_train_fashion_mnist.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import json
import statistics
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting
from densenet_course.data import ResidentBatches, load
from densenet_course.figures import relative_layers, relatives, show
from densenet_course.layers import BottleneckLayer, DenseBlock
from densenet_course.measure import cost, reach, weights_by_map
from densenet_course.models import class_densenet, densenet121
from densenet_course.studies import families
from densenet_course.studies.relatives import (
    FAMILIES,
    InceptionBlock,
    ResidualBlock,
    class_densenet_with,
    nearest_in_size,
)
from densenet_course.training import choose_device, evaluate, fit

_ = torch.manual_seed(0)

# %% [markdown]
# ## Three ways to combine
#
# A residual block adds. A dense block keeps its input and appends. An Inception block
# looks in four ways: by a 1×1, a 3×3, two 3×3 in a row, and a pooling before a 1×1. It
# concatenates what it saw.
#
# $$x + H(x) \qquad [\,x, H(x)\,] \qquad [\,H_1(x), H_2(x), H_3(x), H_4(x)\,]$$
#
# Shapes are `(N, C, H, W)`. Here is what leaves each block, for 3 channels and 10 maps
# a layer or branch.

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
blocks = {"residual": ResidualBlock(3, 3), "dense": DenseBlock(2, 3, 10), "Inception": InceptionBlock(3, 10)}
for name, block in blocks.items():
    print(f"{name:9}", tuple(block(images).shape))  # (N, C, H, W), (N, C + 2·10, H, W), (N, 4·10, H, W)

# %% [markdown]
# Only adding keeps the number of channels. As a picture: x is the input, H stands for
# new maps.

# %%
show(relative_layers.combined(blocks, images))

# %% [markdown]
# *A sum hides its parts; a dense block passes its input on; an Inception block does
# not.*
#
# ## Equal parameters
#
# The package builds all three around the class network's stem and head: three stages,
# with maps half as large in each. `nearest_in_size` takes the member of a family
# nearest to 141,130 parameters. For ResNet and Inception it tries several widths, and
# six ways to spread blocks over the stages. It looks at nothing but the number of
# parameters.
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
    print(f"{family:11}", ", ".join(f"{n:,} on {size}×{size}" for size, n in found.items()))

# %% [markdown]
# DenseNet-BC: 25,888·196 + 55,808·49 + 55,296·9, and 112·10 for the classifier, are its
# 8,307,424. It has seven times as many weights on 14×14 as this ResNet, which doubles
# its channels whenever it halves the map.
#
# Mind what was compared: *one* member of each family. This ResNet has one block on the
# large maps, three on the middle ones and two on the small ones. Another with as many
# parameters but more blocks on the large maps works more, and the factor shrinks. One
# with more of them on the small maps works less, and it grows. Our four ResNets below
# do not even share one shape. So 1.96 is a fact about these two networks; the rule is
# that work depends on where the weights sit.
#
# "Equal" needs a measure. We fix the parameters, as most comparisons of DenseNet do,
# and report the rest.
#
# ## Equal training
#
# Also equal: images, epochs, batches of 128, flips, momentum, schedule. Each family got
# its own peak rate, the best of three on 5,000 held-out images.
# `benchmarks/relatives.py` did all that; up to "Change the layer" we read its file.

# %%
path = Path("../benchmarks/results/relatives.json")
measured = json.loads(path.read_text()) if path.exists() else None
if measured is None:
    print("no relatives.json here; from a checkout of the course, python benchmarks/relatives.py makes it")
else:
    print(f"{measured['epochs']} epochs on {measured['train_images']:,} images, seeds {measured['seeds']}, "
          f"{measured['device']}, {measured['precision']}")
    print("peak rates:", ", ".join(f"{family} {rate}" for family, rate in measured["peak_rate"].items()))

# %% [markdown]
# The rates tried were 0.1, 0.2 and 0.4. DenseNet-BC's best is the largest of them, so a
# larger one might suit it better still.
#
# Autograd keeps maps for the backward pass (lesson 09). **Predict**: how many times
# ResNet's bytes does DenseNet-BC keep? And which family is most accurate?

# %% tags=["hide-output"]
if measured:
    print(families.table(measured))
    largest = families.largest(measured)
    for family, network in largest.items():
        assert (network["parameters"], network["multiply_adds"]) == cost(networks[family], 1, 28, 28)  # counted anew
    print(f"{largest['DenseNet-BC']['saved_bytes'] / largest['ResNet']['saved_bytes']:.1f} times ResNet's bytes")

# %% [markdown]
# The same as a picture. A dot is one seed, a line their mean. The times are medians of
# five rounds.

# %%
if measured:
    show(relatives.comparison(measured))
    seconds = {family: measured["step_seconds"][family]["median"] for family in largest}
    assert min(seconds, key=seconds.get) == "ResNet" and max(seconds, key=seconds.get) == "Inception"

# %% [markdown]
# *At equal parameters this ResNet needs the least work, bytes and time.* The medians of
# the times overstate Inception. The rounds differ widely, so compare within each: there
# Inception takes 1.04 to 1.98 times as long as DenseNet-BC, in the middle 1.09. It does
# few more multiply-adds than ResNet, and yet it is no faster than DenseNet-BC:
# milliseconds do not follow multiply-adds.
#
# Is one family more *accurate*? A seed gives all families the same order of images, so
# we subtract seed by seed.

# %%
for family in ("ResNet", "Inception") if measured else ():
    points = families.gaps(measured, family)
    agree = "the seeds agree" if max(points) < 0 or min(points) > 0 else "the seeds disagree"
    print(f"{family:10} {statistics.mean(points):+.2f} points against DenseNet-BC "
          f"({min(points):+.2f} to {max(points):+.2f}); {agree if len(points) > 1 else 'one seed only'}")

# %% [markdown]
# Minus means that DenseNet-BC was better. Three seeds agree on a sign by chance one
# time in four, so agreement alone is weak. ResNet is about a point behind with every
# seed. Inception's lead shrinks to 0.01 points with one seed: for us a draw.
#
# All this after two epochs. A longer training may change the order, and so may equal
# *time*, in which ResNet would do more steps. Neither is measured here.
#
# ## Parameter efficiency
#
# The paper plots error against size. DenseNet-BC needs about a third of a ResNet's
# parameters for the same accuracy, it finds, on CIFAR-10 after 300 epochs. We draw our
# own runs at four sizes. DenseNet-BC has blocks of 2, 4 and 4 layers in all of them.
# The ResNets change their shape from size to size, as the search picked them.
#
# **Predict**: by what factor does DenseNet-BC's curve move right relative to ResNet's,
# when multiply-adds replace parameters on the axis?

# %% tags=["hide-output"]
if measured:
    show(relatives.efficiency(measured))

# %% [markdown]
# *The same errors over two measures of size; a bar spans the seeds.* Seen from ResNet,
# DenseNet-BC moves right by a factor of about two.
#
# A horizontal line answers the paper's question: how many times as large must the
# ResNet be? Between two sizes the error is read off a straight line over the logarithm
# of the size.

# %%
if measured:
    print(families.needed(measured))

# %% [markdown]
# × 3 in parameters would repeat the paper's finding, × 1 is a draw, and less speaks for
# ResNet. At the smallest size we find × 2.51. The other three DenseNets reach what none
# of our ResNets does, so there we only know that it takes more. In multiply-adds the
# one factor is × 1.57. One size, one ResNet shape, two epochs: in line with the paper,
# and no proof.
#
# ## Change the layer, keep the block
#
# The descendants keep the concatenation and change the layer, so they fit into
# `DenseBlock` through its argument `layer=`. We compare each with a bottleneck layer
# that reads C = 128 channels of 7×7 and makes k = 16. By lesson 05 that one has 4·C·k +
# 36·k² weights.

# %% tags=["nbval-check-output"]
parameters, work = cost(BottleneckLayer(128, 16), 128, 7, 7)
formula = accounting.layer_cost(class_densenet().config, 128, name="layer", height=7, width=7)
print(f"{parameters:,} parameters, {work:,} = 49 · {work // 49:,} multiply-adds")
print("formulas agree:", (formula.parameters, formula.multiply_adds) == (parameters, work))

# %% [markdown]
# 8,192 + 9,216 weights, and 384 numbers of the BNs. The descendants' layers are counted
# here, not trained: what they do for accuracy, their papers report.
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
        self.gates = nn.Sequential(nn.Linear(channels, few), nn.ReLU(), nn.Linear(few, channels), nn.Sigmoid())

    def forward(self, maps):
        gates = self.gates(maps.mean((2, 3)))  # (N, k)
        return maps * gates[:, :, None, None]  # (N, k, H, W)


def se_layer(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    layer.add_module("excite", SqueezeExcite(growth_rate))
    return layer

# %% [markdown]
# `reach` changes one pixel of a 15×15 map and counts the pixels of the new maps that
# move. **Predict** its answer without SE and with it.

# %% tags=["nbval-check-output", "hide-output"]
for name, layer in (("bottleneck", BottleneckLayer), ("with SE", se_layer)):
    print(f"{name:10} {cost(layer(128, 16), 128, 7, 7)[0]:,} parameters, reaches {reach(layer(128, 16), 128)} pixels")

# %% [markdown]
# SE adds 16·4 + 4 + 4·16 + 16 = 148 parameters, and every one of the 225 pixels moves:
# the average carries news across the image.
#
# ## PeleeNet: two ways
#
# PeleeNet (2018) splits the new maps: k/2 see 3×3 pixels, k/2 see 5×5 through two
# convolutions. The convolution comes *before* its BN and ReLU, so that BN can be folded
# into it after training. A waist never exceeds half of what it reads. PeleeNet's
# transitions do not compress; in our class network they still do.

# %%
def post_conv(in_channels, out_channels, kernel_size, stride=1):
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class TwoWayLayer(nn.Module):
    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        super().__init__()
        half = growth_rate // 2
        waist = min(bottleneck_factor * half, in_channels // 2)
        self.near = nn.Sequential(post_conv(in_channels, waist, 1), post_conv(waist, half, 3))
        self.far = nn.Sequential(post_conv(in_channels, waist, 1), post_conv(waist, half, 3), post_conv(half, half, 3))

    def forward(self, features):
        return torch.cat([self.near(features), self.far(features)], dim=1)  # (N, k, H, W)

# %% [markdown]
# The two 1×1 go from 128 to 32, two 3×3 from 32 to 8, and one 3×3 from 8 to 8.
# **Predict** how many pixels the layer reaches, and whether it has more or fewer
# weights than the bottleneck layer's 17,408.

# %% tags=["nbval-check-output", "hide-output"]
layer = TwoWayLayer(128, 16)
weights = sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Conv2d))
print(f"{weights:,} weights, {cost(layer, 128, 7, 7)[0]:,} parameters, reaches {reach(layer, 128)} pixels")

# %% [markdown]
# 8,192 + 4,608 + 576 = 13,376. The two 1×1 together cost as much as the bottleneck's
# one. Each of the first two 3×3 has half the inputs and half the outputs, so a quarter
# of the weights.
#
# PeleeNet's stem also goes two ways: a 3×3, then max pooling beside a 1×1 and a 3×3.
# DenseNet-121 has one 7×7, with 147·64 weights on 112×112. **Predict**: does the
# two-way stem do less work?

# %% tags=["nbval-check-output", "hide-output"]
class TwoWayStem(nn.Module):
    def __init__(self, channels=32):
        super().__init__()
        self.first = post_conv(3, channels, 3, stride=2)
        self.far = nn.Sequential(post_conv(channels, channels // 2, 1), post_conv(channels // 2, channels, 3, stride=2))
        self.join = post_conv(2 * channels, channels, 1)

    def forward(self, images):
        maps = self.first(images)  # (N, 32, H/2, W/2)
        maps = torch.cat([F.max_pool2d(maps, 2), self.far(maps)], dim=1)  # (N, 64, H/4, W/4)
        return self.join(maps)  # (N, 32, H/4, W/4)


for name, stem in (("7×7", densenet121().features[:4]), ("two-way", TwoWayStem())):
    shape = tuple(stem(torch.zeros(1, 3, 224, 224)).shape)
    print(f"{name:7} {shape}, {cost(stem, 3, 224, 224)[1]:,} multiply-adds")

# %% [markdown]
# A third of the work, for four convolutions instead of one; but only 32 channels leave
# it.
#
# ## CondenseNet: learn which links to cut
#
# CondenseNet (2018) starts with all links. The outputs of its 1×1 form G groups, here
# 4. Outputs 0, 4, 8, … are the first group, 1, 5, 9, … the second. Three times in the
#    first half of training, each group drops a quarter of the C channels: those with
#    its smallest weights.

# %%
class LearnedGroupConv(nn.Conv2d):
    def __init__(self, in_channels, out_channels, condensation=4):
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.condensation = condensation  # G groups; at the end each reads C/G channels
        self.register_buffer("mask", torch.ones(condensation, in_channels))  # 1: this group reads this channel

    def masked_weight(self):
        return self.weight * self.mask.repeat(self.out_channels // self.condensation, 1)[:, :, None, None]

    def condense(self):
        size = self.masked_weight().detach().abs().reshape(-1, *self.mask.shape).sum(0)  # (G, C)
        weakest = size.masked_fill(self.mask == 0, torch.inf).argsort(1)[:, : self.in_channels // self.condensation]
        self.mask.scatter_(1, weakest, 0)

    def forward(self, maps):
        return F.conv2d(maps, self.masked_weight())  # (N, 4k, H, W)

# %% [markdown]
# Three rounds, each of which drops 32 of the 128 channels for each group. Our layer was
# never trained, so the weights it drops are the smallest of random ones.

# %% tags=["nbval-check-output"]
learned = LearnedGroupConv(128, 64)
for _ in range(3):
    learned.condense()
    left = int((learned.masked_weight() != 0).sum())
    print("each group reads", learned.mask.sum(1).int().tolist(), f"channels, {left:,} weights left")

# %% [markdown]
# A quarter is left. A mask of zeros saves no time, so after training the zeros are
# removed. An index picks the channels that each group kept, and an ordinary group
# convolution reads them.
#
# CondenseNet's 3×3 has fixed groups, four of them here. **Predict** what part of the
# bottleneck layer's 17,408 weights the whole layer keeps in the end.

# %% tags=["nbval-check-output", "hide-output"]
def condense_layer(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    layer.conv1 = LearnedGroupConv(in_channels, 4 * growth_rate)
    layer.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, groups=4, bias=False)
    return layer


f"{relative_layers.conv_weights(condense_layer(128, 16)):,}"  # counts a learned group convolution as condensed

# %% [markdown]
# Exactly a quarter. CondenseNet also raises k from block to block, and lets later
# blocks read earlier ones.
#
# ## Break it: fixed groups in the 1×1
#
# Why not use fixed groups at once? Change the newest 16 of the 128 maps. **Predict**
# how many of the 64 channels in the waist notice, with a plain 1×1, with four fixed
# groups, and with the learned ones.

# %% tags=["nbval-check-output", "hide-output"]
maps = torch.randn(2, 128, 7, 7)


def notice(convolution):
    changed = maps.clone()
    changed[:, -16:] += 1
    return (convolution(maps) != convolution(changed)).amax((0, 2, 3)).sum().item()


fixed = nn.Conv2d(128, 64, 1, groups=4, bias=False)
print("plain", notice(nn.Conv2d(128, 64, 1, bias=False)), "fixed", notice(fixed), "learned", notice(learned))

# %% [markdown]
# Contiguous fixed groups cut the links by age: three quarters of the waist never see
# the newest maps. Nothing complains.
#
# What this does not show is that groups must be *learned*. Our masks come from random
# weights, so any mixed choice of channels would reach all ages. Fixed groups after a
# shuffle of the channels are the control; they are not tried here. That learning beats
# both is CondenseNet's report.
#
# ## RDNet: wide growth
#
# RDNet (2024) takes its layer from ConvNeXt. A 7×7 reads each channel alone
# (*depthwise*). One LayerNorm normalises the channels of each pixel. A 1×1 leads to 4·C
# channels, a GELU (a smooth ReLU) follows, and a second 1×1 leads to k. The width
# inside is a multiple of what the layer *reads*.

# %%
class ChannelNorm(nn.LayerNorm):
    def forward(self, maps):
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)  # (N, C, H, W); each pixel on its own


def rd_layer(in_channels, growth_rate):
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels),  # (N, C, H, W)
        ChannelNorm(in_channels),
        nn.Conv2d(in_channels, 4 * in_channels, 1), nn.GELU(),  # (N, 4C, H, W)
        nn.Conv2d(4 * in_channels, growth_rate, 1),  # (N, k, H, W)
    )

# %% [markdown]
# We leave out the gates of its later stages, and a learned scale. The weights are 49·C
# + 4·C² + 4·C·k. **Predict** which layer is the smaller one at C = 128, for k = 16 and
# for k = 64.

# %% tags=["nbval-check-output", "hide-output"]
for k in (16, 64):
    ours, theirs = (relative_layers.conv_weights(layer(128, k)) for layer in (BottleneckLayer, rd_layer))
    print(f"k = {k}: bottleneck {ours:,}, RDNet {theirs:,}; reaches {reach(rd_layer(128, k), 128)} pixels")

# %% [markdown]
# At k = 16 RDNet's layer has 4.6 times the weights. At 64 it is the smaller one: four
# times the new maps cost it 31 % more, but the bottleneck layer ten times as much. In
# between the two curves cross.

# %%
layers = {"bottleneck": BottleneckLayer, "two-way": TwoWayLayer, "condensed": condense_layer, "RDNet": rd_layer}
show(relative_layers.cost_by_growth(layers))

# %% [markdown]
# *At C = 128 they cross where 36·k² = 49·C + 4·C², at k ≈ 45; with more channels they
# cross later.* The bottleneck's 3×3 grows with k², RDNet's layer only with k. RDNet's
# smallest network uses growth rates of 64 to 224, where DenseNet-121 has 32; in return
# it has 21 layers, not 58.
#
# ## Shapes and parameters
#
# All layers in the class network. CondenseNet's is counted before its 1×1 are
# condensed.

# %% tags=["nbval-check-output"]
for name, layer in ({"SE": se_layer} | layers).items():
    network = class_densenet_with(layer)
    shape = tuple(network.features(torch.zeros(2, 1, 28, 28)).shape)  # (N, 112, 3, 3) for all of them
    parameters, work = cost(network, 1, 28, 28)
    print(f"{name:10} {shape}, {parameters:>7,} parameters, {work:>10,} multiply-adds")
config = class_densenet().config
print(f"formulas   {accounting.parameters(config):,} parameters, {accounting.multiply_adds(config, 28):,}")

# %% [markdown]
# The same shapes from all five: a dense block only asks for k new maps. Ten SE layers
# add ten times 148.
#
# ## Train one
#
# SE layers against plain ones: 4,000 images in the same order, three epochs. Both start
# from the same initial weights; only the gates are extra. The run tests that an
# exchanged layer learns at all.

# %%
device = choose_device()
(images, labels), (unseen, truth) = load("train"), load("test")
batches = ResidentBatches(images[:4000], labels[:4000], batch_size=64, shuffle=True, augment="flip", drop_last=True,
                          device=device)
test = ResidentBatches(unseen[:2000], truth[:2000], batch_size=500, device=device)
plain, gated = class_densenet_with(BottleneckLayer), class_densenet_with(se_layer)
_ = gated.load_state_dict(plain.state_dict(), strict=False)  # all but the gates
for name, network in (("plain", plain), ("with SE", gated)):
    history = fit(network, batches, epochs=3, device=device, progress=False)
    accuracy = evaluate(network, test)[1]
    print(f"{name:8} loss {history[0]['train_loss']:.2f} → {history[-1]['train_loss']:.2f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.65  # guessing gives 0.10

# %% [markdown]
# Both learn. Which is better, this run cannot say: one seed, three epochs, and a
# standard error of almost a point.
#
# ## Where DenseNet lives on
#
# **Segmentation.** FC-DenseNet, the "Tiramisu" (2016), adds an upsampling path. On the
# way up it passes on only the *new* maps of a block, here all but the first 96
# channels. The skip connection brings the rest. In lesson 03 dropping the input was a
# slip. Here are the channels both ways.

# %% tags=["nbval-check-output"]
coarse, skip = torch.randn(1, 96, 7, 7), torch.randn(1, 96, 14, 14)
everything = DenseBlock(4, 96, 16, BottleneckLayer)(coarse)  # (N, 160, 7, 7)
for name, maps in (("everything", everything), ("new maps only", everything[:, 96:])):
    up = nn.ConvTranspose2d(maps.shape[1], maps.shape[1], 3, stride=2, padding=1, output_padding=1)
    joined = torch.cat([up(maps), skip], dim=1)  # (N, C + 96, 14, 14)
    print(f"{name:13} {tuple(joined.shape)}, {up.weight.numel():,} weights to upsample")

# %% [markdown]
# 256 channels against 160, and a sixth of the weights. Its authors report the best
# results of their time on the video data sets CamVid and Gatech, without pretraining.
#
# **Detection.** DSOD (2017) trains a detector from scratch, without ImageNet. Its
# authors call the supervision that reaches early layers through dense connections
# critical for that. Pelee joins PeleeNet with a detector for phones.
#
# **Medical images.** CheXNet (2017) is DenseNet-121, pretrained on ImageNet and
# fine-tuned on a data set of over 100,000 chest X-rays with 14 diseases. Its new output
# layer ends in 14 *independent* sigmoids, not in a softmax: a patient can have several
# diseases at once, or none.

# %% tags=["nbval-check-output"]
f"{sum(p.numel() for p in densenet121(num_classes=14).parameters()):,}"

# %% [markdown]
# Only the new layer's 1,025·14 = 14,350 parameters start untrained. The library
# TorchXRayVision still ships DenseNet-121, trained on several sets of chest X-rays.
#
# ## Your turn
#
# **Medium, 30 minutes.** VoVNet (2019) concatenates only once: its 3×3 layers form a
# chain, and at the end everything is concatenated. Write `OneShotBlock(num_layers,
# in_channels, growth_rate)`. For 4 layers, C = 64 and k = 16, compare its output shape
# and its `cost` with those of `DenseBlock`. What does each layer read?
#
# ## Recap
#
# - Equal parameters are not equal work: what counts is on how large maps the weights
#   work. Our DenseNet-BC does twice the multiply-adds of *our* ResNet; another spread
#   of blocks changes that factor. Name the measure before you name a winner.
# - A dense block takes any layer that makes k maps. CondenseNet quarters its weights,
#   PeleeNet splits it in two, SE adds a view of the whole image, RDNet makes large k
#   cheap.
# - Contiguous fixed groups in a 1×1 cut a dense block's links by age. CondenseNet
#   chooses its groups by learning.
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
#
# **Next:** [13 · The same network in Keras 3](13_keras.ipynb).
