# %% [markdown]
# # 12 · DenseNet and its relatives
#
# **Equal parameters are not equal work: our DenseNet-BC computes twice as much as a ResNet of its size, and its
# descendants change where the work goes.**
#
# Afterwards you can
# - compare three families fairly, and say by what measure one of them wins;
# - explain a network's multiply-adds by where its weights sit;
# - swap the layer of a dense block for that of CondenseNet, PeleeNet or RDNet, and count what changes.
#
# About 50 minutes. Read before: [05 the bottleneck](05_bottleneck.ipynb) and
# [07 train on FashionMNIST in class](07_train_fashion_mnist.ipynb).

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

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
# A residual block adds, a dense block keeps and appends, an Inception block looks in four ways and joins what it
# saw:
#
# $$x + H(x) \qquad [\,x, H(x)\,] \qquad [\,H_1(x), H_2(x), H_3(x), H_4(x)\,]$$
#
# Shapes are `(N, C, H, W)`. **Predict** what leaves each block, for 3 channels and 10 maps a layer or branch.

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
blocks = {"residual": ResidualBlock(3, 3), "dense": DenseBlock(2, 3, 10), "Inception": InceptionBlock(3, 10)}
for name, block in blocks.items():
    print(f"{name:9}", tuple(block(images).shape))  # (N, C, H, W), (N, C + 2·10, H, W), (N, 4·10, H, W)

# %% [markdown]
# Only adding keeps the number of channels. As a picture: x is the input, H stands for new maps.

# %%
show(relative_layers.combined(blocks, images))

# %% [markdown]
# *A sum hides its parts; a dense block passes its input on; an Inception block does not.*
#
# ## Equal parameters
#
# The package builds all three around the class network's stem and head: three stages, with maps half as large in
# each. `nearest_in_size` takes the member of a family nearest to 141,130 parameters.
#
# **Predict:** will their multiply-adds be nearly equal too?

# %% tags=["nbval-check-output"]
networks = {family: nearest_in_size(family, 141_130) for family in FAMILIES}
for family, network in networks.items():
    parameters, work = cost(network, 1, 28, 28)
    print(f"{family:11} {parameters:,} parameters, {work:,} multiply-adds")

# %% [markdown]
# The parameters agree within 3 %. DenseNet-BC multiplies 1.96 times as often as ResNet.
#
# A weight works once for every pixel of the map it makes: 196 times on 14×14, 9 times on 3×3. **Predict** which
# family keeps most of its weights on large maps.

# %% tags=["nbval-check-output"]
for family, network in networks.items():
    found = weights_by_map(network, 1, 28, 28)
    print(f"{family:11}", ", ".join(f"{n:,} on {size}×{size}" for size, n in found.items()))

# %% [markdown]
# DenseNet-BC: 25,888·196 + 55,808·49 + 55,296·9, and 112·10 for the classifier, are its 8,307,424. It has seven
# times as many weights on 14×14 as ResNet, which doubles its channels whenever it halves the map.
#
# So "equal" needs a measure. We fix the parameters, as most comparisons of DenseNet do, and report the rest.
#
# ## Equal training
#
# Also equal: images, epochs, batches of 128, flips, momentum, schedule. Each family got its own peak rate, the best of
# three on 5,000 held-out images. `benchmarks/relatives.py` did all that; up to "Change the layer" we read its file.

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
# Autograd keeps maps for the backward pass (lesson 09). **Predict:** how many times ResNet's bytes does DenseNet-BC
# keep? And which family is most accurate?

# %%
if measured:
    print(families.table(measured))
    largest = families.largest(measured)
    for family, network in largest.items():
        assert (network["parameters"], network["multiply_adds"]) == cost(networks[family], 1, 28, 28)  # counted anew
    print(f"{largest['DenseNet-BC']['saved_bytes'] / largest['ResNet']['saved_bytes']:.1f} times ResNet's bytes")

# %% [markdown]
# The same as a picture. A dot is one seed, a line their mean.

# %%
if measured:
    show(relatives.comparison(measured))
    seconds = {family: measured["step_seconds"][family]["median"] for family in largest}
    assert min(seconds, key=seconds.get) == "ResNet" and max(seconds, key=seconds.get) == "Inception"

# %% [markdown]
# *At equal parameters ResNet needs the least work, bytes and time.* Inception multiplies little more than ResNet and
# yet takes the longest: milliseconds do not follow multiply-adds.
#
# Is one family more *accurate*? A seed gives all families the same order of images, so we subtract seed by seed.

# %%
for family in ("ResNet", "Inception") if measured else ():
    points = families.gaps(measured, family)
    agree = "the seeds agree" if max(points) < 0 or min(points) > 0 else "the seeds disagree"
    print(f"{family:10} {statistics.mean(points):+.2f} points against DenseNet-BC "
          f"({min(points):+.2f} to {max(points):+.2f}); {agree if len(points) > 1 else 'one seed only'}")

# %% [markdown]
# Minus means that DenseNet-BC was better. Trust an order only where several seeds agree on the sign; a lead that one of
# them nearly takes back is a draw. Two epochs are short, too: a longer training may change the order.
#
# ## Parameter efficiency
#
# The paper plots error against size. DenseNet-BC needs about a third of a ResNet's parameters for the same accuracy,
# it finds, on CIFAR-10 after 300 epochs. We draw our own runs at four sizes.
#
# **Predict:** which curve moves right when multiply-adds replace parameters on the axis?

# %%
if measured:
    show(relatives.efficiency(measured))

# %% [markdown]
# *The same errors over two measures of size; a bar spans the seeds.* Seen from ResNet, DenseNet-BC moves right, by a
# factor of about two.
#
# A horizontal line answers the paper's question: how many times as large must the ResNet be?

# %%
if measured:
    print(families.needed(measured))

# %% [markdown]
# × 3 in parameters would repeat the paper's finding, × 1 is a draw, and less speaks for ResNet. Beyond our largest
# ResNet we only know that it takes more.
#
# ## Change the layer, keep the block
#
# The descendants keep the concatenation and change the layer, so they fit into `DenseBlock` through its argument
# `layer=`. We hold each against a bottleneck layer that reads C = 128 channels of 7×7 and makes k = 16.
#
# **Predict** its weights: 4·C·k + 36·k².

# %% tags=["nbval-check-output"]
parameters, work = cost(BottleneckLayer(128, 16), 128, 7, 7)
formula = accounting.layer_cost(class_densenet().config, 128, name="layer", height=7, width=7)
print(f"{parameters:,} parameters, {work:,} = 49 · {work // 49:,} multiply-adds")
print("formulas agree:", (formula.parameters, formula.multiply_adds) == (parameters, work))

# %% [markdown]
# 8,192 + 9,216 weights, and 384 numbers of the BNs.
#
# ## Squeeze-and-excitation: look at the whole image
#
# SE averages each map to one number (squeeze). Two small linear layers turn these numbers into a gate between 0 and
# 1 for each map (excite). We gate the k new maps.

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
# **Predict** the extra parameters for k = 16, biases included. And `reach` changes one pixel of a 15×15 map: how many
# pixels of the new maps move, without SE and with it?

# %% tags=["nbval-check-output"]
for name, layer in (("bottleneck", BottleneckLayer), ("with SE", se_layer)):
    print(f"{name:10} {cost(layer(128, 16), 128, 7, 7)[0]:,} parameters, reaches {reach(layer(128, 16), 128)} pixels")

# %% [markdown]
# 16·4 + 4 + 4·16 + 16 = 148 more, and every one of the 225 pixels moves: the average carries news across the image.
#
# ## PeleeNet: two ways
#
# PeleeNet (2018) splits the new maps: k/2 see 3×3 pixels, k/2 see 5×5 through two convolutions. The convolution comes
# *before* its BN and ReLU, so that BN can be folded into it after training. A waist never exceeds half of what it
# reads, and transitions do not compress.

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
# **Predict** its weights: two 1×1 from 128 to 32, two 3×3 from 32 to 8, one 3×3 from 8 to 8. And its reach?

# %% tags=["nbval-check-output"]
layer = TwoWayLayer(128, 16)
weights = sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Conv2d))
print(f"{weights:,} weights, {cost(layer, 128, 7, 7)[0]:,} parameters, reaches {reach(layer, 128)} pixels")

# %% [markdown]
# 8,192 + 4,608 + 576 = 13,376. The 1×1 cost what they did; halving both sides of a 3×3 quarters it, and there are
# two.
#
# PeleeNet's stem also goes two ways: a 3×3, then max pooling beside a 1×1 and a 3×3. **Predict:** does it work less
# than DenseNet-121's 7×7, with 147·64 weights on 112×112?

# %% tags=["nbval-check-output"]
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
# A third of the work, for four convolutions instead of one; but only 32 channels leave it.
#
# ## CondenseNet: learn which links to cut
#
# CondenseNet (2018) starts with all links. The outputs of its 1×1 form G groups, here 4. Three times in the first half
# of training, each group drops a quarter of the C channels: those with its smallest weights.

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
# **Predict** how many of 128 channels a group reads after each of three rounds, and how many weights are left of
# 128·64.

# %% tags=["nbval-check-output"]
learned = LearnedGroupConv(128, 64)
for _ in range(3):
    learned.condense()
    left = int((learned.masked_weight() != 0).sum())
    print("each group reads", learned.mask.sum(1).int().tolist(), f"channels, {left:,} weights left")

# %% [markdown]
# A quarter is left. A mask of zeros saves no time, so after training the zeros go: an index picks the channels that
# each group kept, and an ordinary group convolution reads them.
#
# CondenseNet's 3×3 has fixed groups. **Predict** the weights of a whole layer in the end; a bottleneck layer has
# 17,408.

# %% tags=["nbval-check-output"]
def condense_layer(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    layer.conv1 = LearnedGroupConv(in_channels, 4 * growth_rate)
    layer.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, groups=4, bias=False)
    return layer


f"{relative_layers.conv_weights(condense_layer(128, 16)):,}"  # counts a learned group convolution as condensed

# %% [markdown]
# Exactly a quarter. CondenseNet also raises k from block to block, and lets later blocks read earlier ones.
#
# ## Break it: fixed groups in the 1×1
#
# Why not use fixed groups at once? Change the newest 16 of the 128 maps. **Predict** how many of the 64 channels in
# the waist notice, with a plain 1×1, with four fixed groups, and with the learned ones.

# %% tags=["nbval-check-output"]
maps = torch.randn(2, 128, 7, 7)


def notice(convolution):
    changed = maps.clone()
    changed[:, -16:] += 1
    return (convolution(maps) != convolution(changed)).amax((0, 2, 3)).sum().item()


fixed = nn.Conv2d(128, 64, 1, groups=4, bias=False)
print("plain", notice(nn.Conv2d(128, 64, 1, bias=False)), "fixed", notice(fixed), "learned", notice(learned))

# %% [markdown]
# Fixed groups cut the links by age: three quarters of the waist never see the newest maps. Nothing complains.
#
# ## RDNet: wide growth
#
# RDNet (2024) takes its layer from ConvNeXt: a 7×7 for each channel alone (depthwise), one LayerNorm, then 1×1 to 4·C
# and 1×1 to k. The width inside is a multiple of what it *reads*.

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
# We leave out the gates of its later stages, and a learned scale. The weights are 49·C + 4·C² + 4·C·k.
# **Predict** both layers at C = 128, for k = 16 and k = 64.

# %% tags=["nbval-check-output"]
for k in (16, 64):
    ours, theirs = (relative_layers.conv_weights(layer(128, k)) for layer in (BottleneckLayer, rd_layer))
    print(f"k = {k}: bottleneck {ours:,}, RDNet {theirs:,}; reaches {reach(rd_layer(128, k), 128)} pixels")

# %% [markdown]
# At k = 16 RDNet's layer has 4.6 times the weights. At 64 it is the smaller one: four times the new maps cost it 31 %
# more, but the bottleneck layer ten times as much. Where do the lines cross?

# %%
layers = {"bottleneck": BottleneckLayer, "two-way": TwoWayLayer, "condensed": condense_layer, "RDNet": rd_layer}
show(relative_layers.cost_by_growth(layers))

# %% [markdown]
# *They cross where 36·k² = 49·C + 4·C², at k ≈ 45.* The bottleneck's 3×3 grows with k², RDNet's layer only with k. So
# RDNet affords growth rates of 64 to 224 in its smallest network, where DenseNet-121 has 32; in return it has 21
# layers, not 58.
#
# ## Shapes and parameters
#
# All layers in the class network. **Predict** which one saves most. CondenseNet's is counted before condensing.

# %% tags=["nbval-check-output"]
for name, layer in ({"SE": se_layer} | layers).items():
    network = class_densenet_with(layer)
    shape = tuple(network.features(torch.zeros(2, 1, 28, 28)).shape)  # (N, 112, 3, 3) for all of them
    parameters, work = cost(network, 1, 28, 28)
    print(f"{name:10} {shape}, {parameters:>7,} parameters, {work:>10,} multiply-adds")
config = class_densenet().config
print(f"formulas   {accounting.parameters(config):,} parameters, {accounting.multiply_adds(config, 28):,}")

# %% [markdown]
# The same shapes from all five: a dense block only asks for k new maps. Ten SE layers add ten times 148.
#
# ## Train one
#
# SE layers against plain ones: 4,000 images in the same order, three epochs. Both start from the same weights; only
# the gates are extra. **Predict:** do both learn?

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
# Both learn. Which is better, this run cannot say: one seed, three epochs, and a standard error of almost a point.
#
# ## Where DenseNet lives on
#
# **Segmentation.** FC-DenseNet, the "Tiramisu" (2016), adds an upsampling path. On the way up it passes on only the
# *new* maps of a block; the skip connection brings the rest. In lesson 03 that was a slip. **Predict** the channels
# both ways.

# %% tags=["nbval-check-output"]
coarse, skip = torch.randn(1, 96, 7, 7), torch.randn(1, 96, 14, 14)
everything = DenseBlock(4, 96, 16, BottleneckLayer)(coarse)  # (N, 160, 7, 7)
for name, maps in (("everything", everything), ("new maps only", everything[:, 96:])):
    up = nn.ConvTranspose2d(maps.shape[1], maps.shape[1], 3, stride=2, padding=1, output_padding=1)
    joined = torch.cat([up(maps), skip], dim=1)  # (N, C + 96, 14, 14)
    print(f"{name:13} {tuple(joined.shape)}, {up.weight.numel():,} weights to upsample")

# %% [markdown]
# 256 channels against 160, and a sixth of the weights. Its authors report the best results of their time on CamVid
# and Gatech, two sets of street scenes, without pretraining.
#
# **Detection.** DSOD (2017) trains a detector from scratch, without ImageNet. Its authors call the supervision that
# reaches early layers through dense connections critical for that. Pelee joins PeleeNet with a detector for phones.
#
# **Medical images.** CheXNet (2017) is DenseNet-121 with a new output layer, fine-tuned on over 100,000 chest X-rays
# with 14 diseases. **Predict** its parameters: 7,978,856, less 1,025,000 of the old classifier, and 1,025·14.

# %% tags=["nbval-check-output"]
f"{sum(p.numel() for p in densenet121(num_classes=14).parameters()):,}"

# %% [markdown]
# Only 14,350 of them start untrained. The library TorchXRayVision still ships DenseNet-121, trained on several sets of
# chest X-rays.
#
# ## Your turn
#
# **Medium, 30 minutes.** VoVNet (2019) joins only once: its 3×3 layers form a chain, and at the end everything is
# concatenated. Write `OneShotBlock(num_layers, in_channels, growth_rate)`. For 4 layers, C = 64 and k = 16, hold its
# output shape and its `cost` against those of `DenseBlock`. What does each layer read?
#
# ## Recap
#
# - At equal parameters DenseNet-BC does twice ResNet's multiply-adds: more of its weights work on large maps. Name the
#   measure before you name a winner.
# - A dense block takes any layer that makes k maps. CondenseNet quarters its weights, PeleeNet splits it in two, SE
#   adds a view of the whole image, RDNet makes large k cheap.
# - Groups that cut links in a dense block must be learned; fixed ones cut by age.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), figures 3 and 4.
# - He et al. 2016, [arXiv 1603.05027](https://arxiv.org/abs/1603.05027); Szegedy et al. 2015,
#   [arXiv 1409.4842](https://arxiv.org/abs/1409.4842).
# - SE: Hu et al., [arXiv 1709.01507](https://arxiv.org/abs/1709.01507). PeleeNet: Wang, Li, Ling,
#   [arXiv 1804.06882](https://arxiv.org/abs/1804.06882). CondenseNet: Huang, Liu, van der Maaten, Weinberger,
#   [arXiv 1711.09224](https://arxiv.org/abs/1711.09224). RDNet: Kim, Heo, Han,
#   [arXiv 2403.19588](https://arxiv.org/abs/2403.19588).
# - FC-DenseNet: Jégou et al., [arXiv 1611.09326](https://arxiv.org/abs/1611.09326). DSOD: Shen et al.,
#   [arXiv 1708.01241](https://arxiv.org/abs/1708.01241). CheXNet: Rajpurkar et al.,
#   [arXiv 1711.05225](https://arxiv.org/abs/1711.05225). TorchXRayVision: Cohen et al.,
#   [arXiv 2111.00595](https://arxiv.org/abs/2111.00595). VoVNet: Lee et al.,
#   [arXiv 1904.09730](https://arxiv.org/abs/1904.09730).
#
# **Next:** [13 · The same network in Keras 3](13_keras.ipynb).
