# %% [markdown]
# # 05 · The bottleneck
#
# **A layer deep in a block reads hundreds of channels to make twelve. Must it pay for
# all of them?**
#
# After this lesson you can
# - build `BottleneckLayer`, put it into a dense block, and set it beside ResNet's
#   bottleneck;
# - work out above how many input channels it pays off, and what it does not save;
# - tell DenseNet, -B, -C and -BC apart, and prove by the parameter count which one you
#   have.
#
# About 35 minutes, after [03 dense block](03_dense_block.ipynb) and [04
# transition](04_transition.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from collections import OrderedDict
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import Bottleneck

from densenet_course import accounting
from densenet_course.explorer import explore
from densenet_course.figures import channels, show
from densenet_course.layers import DenseBlock, conv_block
from densenet_course.measure import count_parameters, in_turns
from densenet_course.models import DenseNet, cifar_config, densenet121

_ = torch.manual_seed(0)

# %% [markdown]
# ## Read a lot, write a little
#
# Shapes are `(N, C, H, W)`; C is what a layer reads, k what it appends. The paper's
# DenseNet with 40 layers and k = 12 enters its third block with 304 channels. The last
# of that block's 12 layers reads 304 + 11·12 = 436 channels to append 12. Its 3×3
# convolution has 9·436·12 = 47,088 weights.

# %% [markdown]
# ## Two convolutions instead of one
#
# The paper puts a 1×1 convolution in front, which first gathers the C channels into 4k.
# This narrow place is the **bottleneck**; we call it the waist.
#
# $$C \;\xrightarrow{\;1\times1\;}\; 4k \;\xrightarrow{\;3\times3\;}\; k$$
#
# A 1×1 convolution sees no neighbouring pixel, so the 3×3 stays. Each convolution has
# BN and ReLU before it, as in lesson 02. The layer returns its k new maps only;
# appending them stays the block's work.

# %%
class BottleneckLayer(nn.Sequential):
    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        width = bottleneck_factor * growth_rate
        super().__init__(OrderedDict(
            norm1=nn.BatchNorm2d(in_channels),
            relu1=nn.ReLU(),
            # (N, C, H, W) → (N, 4k, H, W)
            conv1=nn.Conv2d(in_channels, width, kernel_size=1, bias=False),
            norm2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            # (N, 4k, H, W) → (N, k, H, W)
            conv2=nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False),
        ))


# %% [markdown]
# **Predict** the shape after each of the six parts, for our smallest example: 3
# channels, k = 10, 8×8 pixels. Is the waist narrow?

# %% tags=["nbval-check-output", "hide-output"]
maps = torch.randn(2, 3, 8, 8)
for name, part in BottleneckLayer(3, 10).named_children():
    maps = part(maps)
    print(f"{name:5}", tuple(maps.shape))

# %% [markdown]
# 3 → 40 → 10: here the waist is thirteen times *wider* than what comes in. It is narrow
# only where a layer reads many channels, as in this picture of C = 240 and k = 12.

# %%
show(channels.bottleneck_waist(BottleneckLayer(240, 12)))

# %% [markdown]
# *The 3×3 reads 48 channels, however many come in. Only the 1×1 sees all 240, with one
# weight, not nine, for each pair of a channel read and a channel made.*

# %% [markdown]
# ## Where it pays off
#
# A *plain* layer, the conv block of lesson 02, has 9·C·k weights. A bottleneck layer
# has 4·C·k in its 1×1 and 9·4k·k in its 3×3.
#
# **Predict** above how many input channels C the bottleneck is the cheaper one. Set the
# two counts equal. The cell takes k = 12 and finds the first C by trying.

# %% tags=["nbval-check-output", "hide-output"]
def conv_weights(layer):
    return sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Conv2d))


weights = {
    c: (conv_weights(conv_block(c, 12)), conv_weights(BottleneckLayer(c, 12)))
    for c in range(3, 241)
}
first = next(c for c, (plain, narrow) in weights.items() if narrow < plain)
for c in (3, first - 1, first, 240):
    plain, narrow = weights[c]
    print(f"C = {c:3}: plain {plain:6,}, bottleneck {narrow:6,}")

# %% [markdown]
# $$9Ck = 4Ck + 36k^2 \;\Longrightarrow\; 5C = 36k \;\Longrightarrow\; C = 7.2\,k$$
#
# For k = 12 that is 86.4, so 87 is the first. At 3 channels the bottleneck costs 16
# times as much; at 240 it saves 36 %.
#
# The maps of a block all have one size, so the multiply-adds cross at the same C as the
# weights.

# %%
show(channels.cost_by_input(12))

# %% [markdown]
# *Left of 86.4 channels the plain layer is cheaper, right of it the bottleneck, and the
# gap widens with every channel.*
#
# Counted in weights, the gap grows by 5k with every channel, without end. As a share it
# does not: of the plain layer's weights, (4Ck + 36k²) / 9Ck = 4/9 + 4k/C remain. So 5/9
# is the most that a bottleneck can save.

# %% tags=["nbval-check-output"]
for c in (240, 1_000, 10_000, 1_000_000):
    share = conv_weights(BottleneckLayer(c, 12)) / conv_weights(conv_block(c, 12))
    print(f"C = {c:9,}: {share:.3f} remains")

# %% [markdown]
# **Predict**: DenseNet-121 has bottleneck layers everywhere, with k = 32. Its blocks of
# 6, 12, 24 and 16 layers start with 64, 128, 256 and 512 channels. How many of the 58
# layers would be cheaper as plain layers?

# %% tags=["nbval-check-output", "hide-output"]
for start, num_layers in ((64, 6), (128, 12), (256, 24), (512, 16)):
    inputs = accounting.layer_inputs(start, num_layers=num_layers, growth_rate=32)
    below = sum(c < 7.2 * 32 for c in inputs)
    print(f"reads {inputs[0]} to {inputs[-1]}: {below} of {num_layers} cheaper plain")

# %% [markdown]
# 10 of 58, among them the whole first block. The paper uses the bottleneck in every
# layer all the same. It does more than save: each layer also gets a second BN and ReLU.

# %% [markdown]
# ## In a dense block
#
# `DenseBlock` of lesson 03 takes any layer that reads C channels and returns k. Here
# are two blocks that differ only in their kind of layer.

# %% tags=["nbval-check-output"]
maps = torch.randn(2, 256, 14, 14)
for layer in (conv_block, BottleneckLayer):
    block = DenseBlock(12, 256, growth_rate=32, layer=layer)
    shape, weights = tuple(block(maps).shape), conv_weights(block)
    print(f"{layer.__name__:15} {shape}, {weights:,} weights")

# %% [markdown]
# The same 256 + 12·32 channels, made of 26 % fewer weights. The wiring does not know
# what stands inside a layer.

# %% [markdown]
# ## Beside ResNet's bottleneck
#
# ResNet-50 has a bottleneck, too: 1×1 down, 3×3, 1×1 up again. **Predict**: why does it
# need the third convolution, while DenseNet does without?

# %% tags=["nbval-check-output", "hide-output"]
residual, dense = Bottleneck(256, 64), BottleneckLayer(256, 32)
for name, layer in (("ResNet", residual), ("DenseNet", dense)):
    steps = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    path = [f"{m.kernel_size[0]}×{m.kernel_size[0]} to {m.out_channels}" for m in steps]
    print(f"{name:8} from 256:", *path, f"— {conv_weights(layer):,} weights")

# %% [markdown]
# ResNet *adds*: its result must have the 256 channels of what it is added to. DenseNet
# *appends*, so k channels will do. By coincidence both have 69,632 weights. ResNet
# spends them on changing all 256 channels, DenseNet on making 32 new ones.

# %% [markdown]
# ## What the clock says
#
# At C = 240 the bottleneck needs 64 % of the plain layer's multiply-adds. **Predict**:
# does a forward and backward pass take 64 % of the time as well? Both run in turns on
# one CPU thread.

# %% tags=["hide-output"]
maps = torch.randn(16, 240, 16, 16)
layers = {"plain": conv_block(240, 12), "bottleneck": BottleneckLayer(240, 12)}
steps = {name: lambda f=f: f(maps).sum().backward() for name, f in layers.items()}
seconds = in_turns(steps, rounds=15)
ratios = [a / b for a, b in zip(seconds["bottleneck"], seconds["plain"], strict=True)]
print(f"time: {median(ratios):.2f} of plain ({min(ratios):.2f} to {max(ratios):.2f})")

# %% [markdown]
# When this page was stored, the median lay at about 1: of the 36 % that were counted,
# the clock showed nothing. Where the range of the rounds reaches past 1, it is not sure
# that any time is saved.
# Counting leaves out the second BN and ReLU, and the memory that they read and write.
# Weights are saved for certain; time must be measured, and lesson 09 shows how.

# %% [markdown]
# ## Why 4k?
#
# The paper chooses 4k and shows no other width. With a factor b, the counts are equal
# where 9Ck = bCk + 9bk². Solved for C, that is 9bk / (9 − b).

# %% tags=["nbval-check-output"]
for b in (1, 2, 4, 8, 9):
    told = f"pays off above {9 * b / (9 - b):4.1f}·k" if b < 9 else "never pays off"
    weights = conv_weights(BottleneckLayer(240, 12, b))
    print(f"b = {b}: {told}, weights at C = 240: {weights:,}")

# %% [markdown]
# The plain layer has 25,920 weights there. With b = 9 the 1×1 alone costs as much as
# the plain 3×3. What a narrow waist costs in accuracy, counting cannot say. It may cost
# something, because no more than b·k different maps reach the 3×3.

# %% [markdown]
# ## Four names
#
# **-B** means bottleneck layers, **-C** means θ < 1 in the transitions, and **-BC**
# means both. The depth L counts convolutions and the classifier: stem, two transitions
# and classifier make 4. Each plain layer counts 1, each bottleneck layer 2.
#
# **Predict**: three blocks of 16 layers, k = 12, a stem of 16 channels. Which saves
# more parameters, -B or -C?

# %% tags=["nbval-check-output", "hide-output"]
options = {
    "DenseNet": {"depth": 52, "bottleneck": False, "compression": 1.0},
    "DenseNet-C": {"depth": 52, "bottleneck": False, "compression": 0.5},
    "DenseNet-B": {"depth": 100, "bottleneck": True, "compression": 1.0},
    "DenseNet-BC": {"depth": 100, "bottleneck": True, "compression": 0.5},
}
for name, chosen in options.items():
    config = replace(cifar_config(growth_rate=12, **chosen), init_channels=16)
    total, depth = accounting.parameters(config), accounting.depth(config)
    if name == "DenseNet":
        largest = total
    saved = 1 - total / largest
    print(f"{name:12} L = {depth:3}: {total:>9,} parameters, {saved:3.0%} less")

# %% [markdown]
# -C saves more: θ halves what enters blocks 2 and 3, whatever stands in the layers. -B
# saves only where a layer reads more than 86 channels, and costs extra below. Together
# they save 58 %.
#
# The paper spends part of the saving on more layers. Its two small networks are plain
# with L = 40, which is 12 layers a block, and -BC with L = 100, which is 16. The second
# has a stem of 2k channels; the paper gives no reason for 2k.

# %% tags=["nbval-check-output"]
plain40 = cifar_config(depth=40, growth_rate=12, bottleneck=False, compression=1.0)
bc100 = cifar_config(depth=100, growth_rate=12)
for config in (plain40, bc100):
    live, formulas = count_parameters(DenseNet(config)), accounting.parameters(config)
    print(f"L = {accounting.depth(config)}: model {live:,}, formulas {formulas:,}")

# %% [markdown]
# The authors' page gives the shallow network the larger error, 5.24 % on CIFAR-10 with
# augmentation against 4.51 %. These two differ in depth, stem and θ as well, so that is
# no proof for the bottleneck. The paper's figure 4 (left) draws all four kinds, each at
# several depths, against their parameters: there -BC makes the fewest errors for its
# parameters.

# %% [markdown]
# ## Break it: a waist of k
#
# It is easy to overlook the factor 4. **Predict**: what does a layer with a waist of k
# return, and will anything complain?

# %% tags=["nbval-check-output", "hide-output"]
narrow = BottleneckLayer(240, 12, bottleneck_factor=1)
print(tuple(narrow(torch.randn(2, 240, 8, 8)).shape))
print(f"{count_parameters(DenseNet(replace(bc100, bottleneck_factor=1))):,} parameters")

# %% [markdown]
# The shape is right and nothing complains, but two thirds of the parameters are gone:
# 261,130 instead of 769,162.

# %% [markdown]
# ## Break it: no BN and ReLU in the waist
#
# Without them, the two convolutions follow each other directly. **Predict**: is there a
# single 3×3 convolution that does the same?

# %% tags=["nbval-check-output", "hide-output"]
layer, maps = BottleneckLayer(240, 12), torch.randn(2, 240, 8, 8)
reduce = layer.conv1.weight[:, :, 0, 0]  # (waist, read)
# o: channel made, w: channel of the waist, c: channel read, y, x: place in the window
merged = torch.einsum("owyx,wc->ocyx", layer.conv2.weight, reduce)  # (12, 240, 3, 3)
single = F.conv2d(maps, merged, padding=1)  # (N, k, H, W)
print("without:", torch.allclose(layer.conv2(layer.conv1(maps)), single, atol=1e-4))
complete = layer.conv2(layer.relu2(layer.norm2(layer.conv1(maps))))
print("with:", torch.allclose(complete, single, atol=1e-4))

# %% [markdown]
# Two linear steps are one linear step. Such a layer is a plain 3×3 convolution in
# disguise, and a limited one: all that it knows of 240 channels passes through 48
# weighted sums. A nonlinear step between the two makes it more than that.

# %% [markdown]
# ## Break it: DenseNet-121 from plain layers
#
# Blocks of 6, 12, 24 and 16 layers with k = 32 look like DenseNet-121, even when the
# layers are plain. **Predict**: more parameters than 7,978,856, or fewer? And what is
# L?

# %% tags=["nbval-check-output", "hide-output"]
imposter = replace(densenet121().config, bottleneck_factor=None)
extra = count_parameters(DenseNet(imposter)) - count_parameters(densenet121())
total, depth = accounting.parameters(imposter), accounting.depth(imposter)
print(f"{total:,} parameters, {extra:+,}, L = {depth}")

# %% [markdown]
# 2,890,240 too many, and L = 63. The 121 in the name counts two convolutions in each of
# the 58 layers: 116, and 5 outside the blocks.

# %% [markdown]
# ## Explore
#
# Three sliders for the layers in a block, k and θ, a switch for the bottleneck, and
# images of 32×32 pixels. Until you move something, the picture shows DenseNet-BC with L
# = 100 and k = 12. After that a dotted line keeps this start in view.

# %%
explore("design")

# %% [markdown]
# **Predict**, then try: which adds more parameters, doubling k to 24 or doubling the
# layers to 32 a block?

# %% tags=["nbval-check-output", "hide-output"]
for depth, k in ((100, 24), (196, 12)):
    total = accounting.parameters(cifar_config(depth=depth, growth_rate=k))
    times = total / accounting.parameters(bc100)
    print(f"L = {depth}, k = {k}: {total:,}, {times:.2f} times as many")

# %% [markdown]
# Doubling k doubles what a layer reads and what it makes: nearly four times. Twice as
# many layers each read about twice as much, but their 3×3 keeps its 36·k² weights. So
# that is less than four times as many.
#
# ## Your turn
#
# [Exercise 5](exercises/05_bottleneck.ipynb), *medium, 20 minutes.* Write a bottleneck
# layer and count what it costs.
#
# ## Shapes and parameters
#
# DenseNet-BC with L = 100 and k = 12, part by part on 32×32: the live model against the
# formulas.

# %% tags=["nbval-check-output"]
model = DenseNet(bc100)
out = torch.randn(2, 3, 32, 32)
rows = accounting.trace(bc100, 32)[:-1]  # all but the head, as the last BN is its part
for (name, part), row in zip(model.features.named_children(), rows, strict=False):
    out = part(out)
    counted = (*out.shape[1:], count_parameters(part))
    agree = counted == (row.channels, row.height, row.width, row.parameters)
    print(f"{name:12} {tuple(out.shape)!s:17} {counted[-1]:>8,}, as formulas: {agree}")

# %% [markdown]
# The three blocks have the same number of layers, yet each holds more parameters than
# the one before. They read more: 24, 108 and 150 channels at their start.
#
# ## Recap
#
# - A bottleneck layer is BN → ReLU → 1×1 to 4k → BN → ReLU → 3×3 to k. A channel it
#   reads costs 4·k weights, not 9·k.
# - It pays off above 7.2·k input channels and saves at most 5/9, in weights and
#   multiply-adds alike. Time is another matter.
# - -B is the bottleneck, -C is θ < 1, -BC is both. Most slips here are silent; the
#   parameter count finds them.
#
# **Sources**
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*,
#   CVPR 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), section 3,
#   "Bottleneck layers", "Compression" and "Implementation Details"; figure 4.
# - He, Zhang, Ren, Sun: *Deep Residual Learning for Image Recognition*, CVPR 2016,
#   [arXiv 1512.03385](https://arxiv.org/abs/1512.03385), figure 5: ResNet's bottleneck.
# - The authors' page, [liuzhuang13/DenseNet](https://github.com/liuzhuang13/DenseNet):
#   the error rates on CIFAR-10.
#
# **Next:** [06 a small DenseNet](06_small_densenet.ipynb), where all parts come
# together.
