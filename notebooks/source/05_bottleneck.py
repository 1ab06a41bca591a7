# %% [markdown]
# # 05 · The bottleneck
#
# **A 1×1 convolution to 4k channels before every 3×3 cuts the weights per channel read from 9·k to 4·k.**
#
# Afterwards you can
# - build `BottleneckLayer` and count its weights on paper;
# - compute from how many input channels it pays, and where it does not;
# - tell DenseNet, -B, -C and -BC apart, and prove by the parameter count which one you have.
#
# About 35 minutes. Read before: [03 dense block](03_dense_block.ipynb) and [04 transition](04_transition.ipynb).

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
from collections import OrderedDict
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting
from densenet_course.figures import channels, show
from densenet_course.figures.explorer import explorer
from densenet_course.layers import conv_block
from densenet_course.models import DenseNet, cifar_config, densenet121

torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())

# %% [markdown]
# ## Reading much to write little
#
# Shapes are `(N, C, H, W)`; C is what a layer reads, k what it adds. The paper's DenseNet with 40 layers and k = 12
# enters its third block with 16 + 24·12 = 304 channels. The block has 12 layers. **Predict** what the last of them
# reads.

# %% tags=["nbval-check-output"]
accounting.layer_inputs(304, num_layers=12, growth_rate=12)

# %% [markdown]
# 304 + 11·12 = 436. The layer reads 436 channels to add 12. **Predict** the weights of its 3×3 convolution.

# %% tags=["nbval-check-output"]
conv_block(436, 12).conv1.weight.numel()

# %% [markdown]
# 9·436·12 = 47,088. Every channel that a layer reads costs 9·k weights, and the channels keep coming.

# %% [markdown]
# ## Two convolutions instead of one
#
# The paper puts a 1×1 convolution in front, which first gathers the C channels into 4k:
#
# $$C \;\xrightarrow{\;1\times1\;}\; 4k \;\xrightarrow{\;3\times3\;}\; k$$
#
# Each convolution has BN and ReLU before it, as in lesson 02. The layer returns its k new maps only; joining stays
# the block's work.

# %%
class BottleneckLayer(nn.Sequential):
    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        width = bottleneck_factor * growth_rate
        super().__init__(OrderedDict(
            norm1=nn.BatchNorm2d(in_channels),
            relu1=nn.ReLU(),
            conv1=nn.Conv2d(in_channels, width, kernel_size=1, bias=False),  # (N, 4k, H, W)
            norm2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            conv2=nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False),  # (N, k, H, W)
        ))


show(channels.bottleneck_waist(BottleneckLayer(240, 12)))

# %% [markdown]
# The expensive 3×3 now reads 48 channels, however many come in. Only the 1×1 sees all 240, at one weight for each
# pair of channels instead of nine.
#
# **Predict** the shapes in the smallest example: 3 channels, k = 10, 8×8 pixels.

# %% tags=["nbval-check-output"]
maps = torch.randn(2, 3, 8, 8)
for name, part in BottleneckLayer(3, 10).named_children():
    maps = part(maps)
    print(f"{name:5}", tuple(maps.shape))

# %% [markdown]
# 3 → 40 → 10. Here the waist is thirteen times *wider* than what comes in. A bottleneck is narrow only for a layer
# that reads many channels, so it cannot always save.

# %% [markdown]
# ## Counting both layers
#
# A plain layer has 9·C·k weights, a bottleneck layer 4·C·k + 9·4k·k. **Predict** all four numbers, for C = 3 with k
# = 10 and for C = 240 with k = 12.

# %% tags=["nbval-check-output"]
def conv_weights(layer):
    return sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Conv2d))


for c, k in ((3, 10), (240, 12)):
    print(f"C = {c}: plain {conv_weights(conv_block(c, k)):,}, bottleneck {conv_weights(BottleneckLayer(c, k)):,}")

# %% [markdown]
# At 3 channels the bottleneck costs fourteen times as much. At 240 it saves 36 %. Somewhere between they are equal:
#
# $$9Ck = 4Ck + 36k^2 \quad\Longrightarrow\quad C = \tfrac{36}{5}k = 7.2\,k$$
#
# For k = 12 that is 86.4. **Predict** who wins at 86 channels and at 87.

# %% tags=["nbval-check-output"]
for c in (86, 87):
    print(f"C = {c}: plain {conv_weights(conv_block(c, 12)):,}, bottleneck {conv_weights(BottleneckLayer(c, 12)):,}")

# %% [markdown]
# The plain layer wins by 24 weights at 86, the bottleneck by 36 at 87. So the crossing is where the algebra says.
#
# What about the work? Every weight is used once for each pixel. **Predict** the multiply-adds on maps of 32×32 by
# multiplying; `accounting` counts them its own way.

# %% tags=["nbval-check-output"]
narrow = cifar_config(depth=100, growth_rate=12)
plain = replace(narrow, bottleneck_factor=None)
for c in (86, 87):
    a, b = (accounting.layer_cost(f, c, name="layer", height=32, width=32).multiply_adds for f in (plain, narrow))
    agree = a == 1024 * conv_weights(conv_block(c, 12)) and b == 1024 * conv_weights(BottleneckLayer(c, 12))
    print(f"C = {c}: plain {a:,}, bottleneck {b:,}, weights × 32·32: {agree}")

# %% [markdown]
# Weights and work cross at the same place, because the maps of a block all have one size. Here is the whole range.

# %%
show(channels.cost_by_input(12))

# %% [markdown]
# Left of 86.4 the plain layer is cheaper, right of it the bottleneck, and the gap widens with every channel.
#
# How far can it widen? Divide: (4Ck + 36k²) / 9Ck = 4/9 + 4k/C. **Predict** the ratio at 240, 1,000 and 10,000
# channels.

# %% tags=["nbval-check-output"]
for c in (240, 1_000, 10_000):
    print(f"C = {c:,}: {conv_weights(BottleneckLayer(c, 12)) / conv_weights(conv_block(c, 12)):.3f}")

# %% [markdown]
# It comes down towards 4/9 = 0.444 and never below. That is the most a bottleneck can save.
#
# The BatchNorms have parameters too: 2·C in both layers, and 2·4k more in the waist. That moves the crossing to
# 7.2·k + 1.6. **Predict** what happens at C = 88 for k = 12.

# %% tags=["nbval-check-output"]
count(conv_block(88, 12)), count(BottleneckLayer(88, 12))

# %% [markdown]
# A draw, to the last parameter: 7.2·12 + 1.6 = 88.
#
# Does a real network have layers on the wrong side? DenseNet-121 has k = 32, so the multiply-adds cross at 230.4
# channels. Its blocks start at 64, 128, 256 and 512. **Predict** how many layers of each read fewer than 230.4.

# %% tags=["nbval-check-output"]
for start, num_layers in ((64, 6), (128, 12), (256, 24), (512, 16)):
    inputs = accounting.layer_inputs(start, num_layers=num_layers, growth_rate=32)
    below = sum(c < 230.4 for c in inputs)
    print(f"reads {inputs[0]} to {inputs[-1]}: {below} of {num_layers} layers cheaper when plain")

# %% [markdown]
# 10 of 58, among them the whole first block. The paper uses the bottleneck in every layer all the same. Saving is
# not all it does: each layer also gets a second BN and ReLU.

# %% [markdown]
# ## Why 4k?
#
# The paper chooses 4k and shows no other width. Counting says what a factor b would do. The layers are equal at $C =
# 9bk/(9-b)$. **Predict** for b = 1, 2, 4 and 8 the weights at C = 240, k = 12. The plain layer has 25,920.

# %% tags=["nbval-check-output"]
for b in (1, 2, 4, 8):
    print(f"b = {b}: equal at {9 * b / (9 - b):4.1f}·k, weights {conv_weights(BottleneckLayer(240, 12, b)):,}")

# %% [markdown]
# The cost is proportional to b. With b = 8 it pays only above 72·k = 864 channels; with b = 9 it never does.
# Counting bounds the choice from above. What a narrower waist costs in accuracy, counting cannot say.

# %% [markdown]
# ## Four names
#
# **-B** means bottleneck layers, **-C** means θ < 1 in the transitions, and **-BC** means both. The depth L counts
# convolutions and the classifier. That is 4 outside the blocks, then one for each plain layer and two for each
# bottleneck layer.
#
# **Predict** L for three blocks of 16 layers, plain and with bottleneck.

# %% tags=["nbval-check-output"]
options = {
    "DenseNet": {"depth": 52, "bottleneck": False, "compression": 1.0},
    "DenseNet-C": {"depth": 52, "bottleneck": False, "compression": 0.5},
    "DenseNet-B": {"depth": 100, "bottleneck": True, "compression": 1.0},
    "DenseNet-BC": {"depth": 100, "bottleneck": True, "compression": 0.5},
}
family = {name: cifar_config(growth_rate=12, **chosen) for name, chosen in options.items()}
largest = accounting.parameters(family["DenseNet"])
for name, config in family.items():
    total, depth = accounting.parameters(config), accounting.depth(config)
    saved = 1 - total / largest
    print(f"{name:12} L = {depth:3}, k0 = {config.init_channels}: {total:>9,} parameters, {saved:3.0%} less")

# %% [markdown]
# 4 + 3·16 = 52 and 4 + 6·16 = 100. With the same 48 layers, -C saves 43 % of the parameters, -B 34 %, and both
# together 57 %.
#
# The paper spends the saving on depth. Its two small networks are plain with L = 40 and BC with L = 100, both with
# k = 12. **Predict** which one has more parameters.

# %% tags=["nbval-check-output"]
plain40 = cifar_config(depth=40, growth_rate=12, bottleneck=False, compression=1.0)
bc100 = cifar_config(depth=100, growth_rate=12)
for config in (plain40, bc100):
    formulas = accounting.parameters(config)
    print(f"L = {accounting.depth(config)}: model {count(DenseNet(config)):,}, formulas {formulas:,}")

# %% [markdown]
# The network of 40 layers has more: 1,019,722 against 769,162. The authors' page gives it the larger error as well:
# 5.24 % on CIFAR-10 with augmentation, against 4.51 %.
#
# One more rule sits in the table above. The stem makes k0 = 16 channels, but 2k in a -BC network. **Predict:** does
# DenseNet-BC with k0 = 16 have more or fewer parameters?

# %% tags=["nbval-check-output"]
accounting.parameters(replace(bc100, init_channels=16))

# %% [markdown]
# 14,352 fewer. When a DenseNet-BC of 100 layers counts 754,810, look at its stem.

# %% [markdown]
# ## Break it: a waist of k
#
# It is easy to overlook the factor 4. **Predict:** what does a layer with a waist of k return, and will anything
# complain?

# %% tags=["nbval-check-output"]
print(tuple(BottleneckLayer(240, 12, bottleneck_factor=1)(torch.randn(2, 240, 8, 8)).shape))  # (N, k, H, W)
print(f"{count(DenseNet(replace(bc100, bottleneck_factor=1))):,} parameters")

# %% [markdown]
# The shape is right and nothing complains. Two thirds of the parameters are gone: 261,130 instead of 769,162.

# %% [markdown]
# ## Break it: no BN and ReLU in the waist
#
# Without them, the two convolutions follow each other directly. **Predict:** is there a single 3×3 convolution that
# does the same? Multiply the two weights and compare.

# %% tags=["nbval-check-output"]
layer, maps = BottleneckLayer(240, 12), torch.randn(2, 240, 8, 8)
merged = torch.einsum("ombx,mc->ocbx", layer.conv2.weight, layer.conv1.weight[:, :, 0, 0])  # (12, 240, 3, 3)
single = F.conv2d(maps, merged, padding=1)  # (N, k, H, W)
print("without:", torch.allclose(layer.conv2(layer.conv1(maps)), single, atol=1e-4))
print("with:", torch.allclose(layer.conv2(layer.relu2(layer.norm2(layer.conv1(maps)))), single, atol=1e-4))

# %% [markdown]
# Two linear steps are one linear step. What looks like two layers is a plain 3×3 convolution in disguise. A
# nonlinear step between them prevents that.
#
# Again nothing raises. Each waist loses 2·48 parameters, and the network has 48 of them. **Predict** the new count.

# %% tags=["nbval-check-output"]
network = DenseNet(bc100)
for module in network.modules():
    if hasattr(module, "norm2"):
        del module.norm2, module.relu2
f"{count(network):,}"

# %% [markdown]
# 769,162 − 4,608 = 764,554. The count catches a slip that no shape shows.

# %% [markdown]
# ## Break it: DenseNet-121 from plain layers
#
# Blocks of 6, 12, 24 and 16 layers with k = 32 look like DenseNet-121, even when the layers are plain. **Predict:**
# more parameters than 7,978,856, or fewer? And what is L?

# %% tags=["nbval-check-output"]
imposter = replace(densenet121().config, bottleneck_factor=None)
extra = count(DenseNet(imposter)) - count(densenet121())
print(f"{accounting.parameters(imposter):,} parameters, {extra:+,}, L = {accounting.depth(imposter)}")

# %% [markdown]
# 2,890,240 too many, and L = 63. The 121 in the name counts two convolutions in each of the 58 layers: 116, and 5
# outside the blocks.

# %% [markdown]
# ## Explore
#
# Three sliders and a switch, for images of 32×32 pixels. **Predict** before you move them: which adds more
# parameters, doubling k to 24 or doubling the layers to 32?

# %%
controls = explorer()

# %% [markdown]
# Until you move something, the picture shows DenseNet-BC with L = 100 and k = 12. After that a dotted line keeps
# this start in view. Here is the answer.

# %% tags=["nbval-check-output"]
for depth, k in ((100, 24), (196, 12)):
    total = accounting.parameters(cifar_config(depth=depth, growth_rate=k))
    print(f"L = {depth}, k = {k}: {total:,}, {total / accounting.parameters(bc100):.2f} times as many")

# %% [markdown]
# Doubling k doubles what a layer reads and what it makes: 3.93 times. Doubling the layers means twice as many, each
# reading about twice as much. But their 3×3 stays at 36·k² weights, so the factor is 3.25.
#
# ## Your turn
#
# [Exercise 5](exercises/05_bottleneck.ipynb), *medium, 20 minutes.* Write
# `BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4)` from memory, and
# `layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4)`, the multiply-adds of its two
# convolutions.
#
# ## Shapes and parameters
#
# DenseNet-BC with L = 100 and k = 12, part by part on 32×32: the live model against the formulas.

# %% tags=["nbval-check-output"]
model = DenseNet(bc100)
out = torch.randn(2, 3, 32, 32)
rows = accounting.trace(bc100, 32)[:-1]  # all but the head
for (name, part), row in zip(model.features.named_children(), rows, strict=False):
    out = part(out)
    agree = out.shape[1:] == (row.channels, row.height, row.width) and count(part) == row.parameters
    print(f"{name:12} {tuple(out.shape)!s:17} {count(part):>8,} parameters, formulas agree: {agree}")
print(f"whole network: {count(model):,}, formulas {accounting.parameters(bc100):,}")

# %% [markdown]
# The three blocks have the same number of layers, yet each holds more parameters than the one before. They read
# more: 24, 108 and 150 channels at their start.
#
# ## Recap
#
# - A bottleneck layer is BN → ReLU → 1×1 to 4k → BN → ReLU → 3×3 to k. A channel it reads costs 4·k weights, not 9·k.
# - It pays above 7.2·k input channels, in weights and in multiply-adds alike; below, the plain layer is cheaper.
# - -B is the bottleneck, -C is θ < 1, -BC is both, with a stem of 2k. Most slips here are silent; the parameter
#   count finds them.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), section 3, "Bottleneck layers", "Compression" and
#   "Implementation Details".
# - The authors' page, [liuzhuang13/DenseNet](https://github.com/liuzhuang13/DenseNet): the error rates on CIFAR-10.
#
# **Next:** [06 a small DenseNet](06_small_densenet.ipynb), where all parts come together.
