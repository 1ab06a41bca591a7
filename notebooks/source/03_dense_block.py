# %% [markdown]
# # 03 · The dense block
#
# **How does a block let every layer read everything made before it, and how do you see
# that it really does?**
#
# After this lesson you can
# - build a dense block and say how many channels each layer reads and how many leave;
# - show on a live block whose maps each layer reads;
# - recognise three common slips by their symptoms.
#
# About 35 minutes, after [02 conv block](02_conv_block.ipynb). Shapes are `(N, C, H,
# W)`: images, channels, height, width.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import torch
from torch import nn

from densenet_course.accounting import channels_after, connections, layer_inputs
from densenet_course.explorer import explore
from densenet_course.figures import show
from densenet_course.figures.blocks import (
    channel_ledger,
    concatenation_step,
    reader_matrix,
)
from densenet_course.layers import conv_block
from densenet_course.lesson import expected
from densenet_course.models import densenet121

_ = torch.manual_seed(0)

# %% [markdown]
# ## One concatenation by hand
#
# In the paper's equation 2, the brackets mean "concatenated along the channels":
#
# $$x_\ell = H_\ell([x_0, x_1, \ldots, x_{\ell-1}])$$
#
# $x_0$ is the input of the block, $x_\ell$ are the maps of layer $\ell$, and $H_\ell$
# is the conv block of lesson 02. Each layer makes $k$ maps; $k$ is called the **growth
# rate**. Take 2 images with 3 channels of 8×8 pixels and $k = 10$. The first layer
# reads the images:

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
first = conv_block(3, 10)
features = torch.cat([images, first(images)], dim=1)  # (N, C + k, H, W)
tuple(features.shape)

# %% [markdown]
# The new maps follow the image channels, and the second layer reads them all.
# **Predict** the two numbers that `conv_block` needs now, and the shape after the
# second layer.

# %% tags=["nbval-check-output", "hide-output"]
second = conv_block(features.shape[1], 10)
features = torch.cat([features, second(features)], dim=1)
print("reads", second.norm1.num_features, "makes", second.conv1.out_channels)
print(tuple(features.shape))

# %% [markdown]
# It reads 13 and makes 10, and 23 = 3 + 2·10 channels are there. The same line appears
# twice, with a different layer each time: a loop.
#
# ## The class


# %%
class DenseBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate, layer=conv_block):
        super().__init__()
        for i in range(num_layers):
            self.add_module(
                f"denselayer{i + 1}", layer(in_channels + i * growth_rate, growth_rate)
            )

    def forward(self, features):
        for layer in self.children():
            new_maps = layer(features)  # (N, k, H, W)
            features = torch.cat([features, new_maps], dim=1)  # k channels more
        return features


# %% [markdown]
# `__init__` does the bookkeeping. In the paper's letters, layer $\ell$ reads $k_0 +
# k(\ell - 1)$ channels, where $k_0$ come in; the loop counts from 0. (A count of
# $k(\ell - 1)$ forgets the input.) The argument `layer` is what builds one layer;
# lesson 05 passes a different one.
#
# Take 3 layers, 16 channels in, growth rate 12. **Predict** what each layer reads, and
# how many channels leave.

# %% tags=["nbval-check-output", "hide-output"]
block = DenseBlock(3, 16, growth_rate=12)
for name, layer in block.named_children():
    print(f"{name} reads {layer.norm1.num_features}, makes {layer.conv1.out_channels}")
print("leave the block:", block(torch.randn(2, 16, 8, 8)).shape[1])

# %% [markdown]
# 16, 28 and 40 are read, and 52 = 16 + 3·12 leave. The books of this block, drawn from
# its layers:

# %%
show(channel_ledger(block))

# %% [markdown]
# *Nothing is overwritten: each layer finds all earlier channels (pale) and appends its
# own (strong blue). The last row is what leaves.*
#
# ## What leaves is what came in, and more
#
# We give a block of 2 layers the weights of the first 2 layers of a block of 4.
# **Predict**: which channels of the two outputs are equal, to the last bit?

# %% tags=["nbval-check-output", "hide-output"]
deep = DenseBlock(4, 3, growth_rate=10)
short = DenseBlock(2, 3, growth_rate=10)
_ = short.load_state_dict(deep.state_dict(), strict=False)  # without layers 3 and 4
print("short:", tuple(short(images).shape), " deep:", tuple(deep(images).shape))
print("input kept:", torch.equal(deep(images)[:, :3], images))
print("first 23 channels equal:", torch.equal(deep(images)[:, :23], short(images)))

# %% [markdown]
# All 23 of the shorter one: a layer only appends, so it cannot touch what was there.
# With the same weights, every shorter block is contained in the longer one. To *see*
# it, we draw images that can be told apart: two diagonals and a triangle. With growth
# rate 4 there are few maps, so that each can be drawn large.

# %%
triangle = torch.ones(8, 8).tril()
shapes = torch.stack([torch.eye(8), torch.eye(8).flip(0), triangle])  # (3, 8, 8)
drawing = shapes.unsqueeze(0)  # (1, 3, 8, 8)
show(concatenation_step(DenseBlock(2, 3, growth_rate=4), drawing))

# %% [markdown]
# *Every row begins with the row above it, map for map.* Each map has its own grey
# scale. The weights are random, so the new maps mean nothing yet.
#
# The paper calls this growing stack of maps the **global state** of the network, the
# collective knowledge of lesson 01. Think of a logbook that lies open to all layers:
# each may read any page, each appends $k$ pages, and none has to compute again what
# others found.

# %% [markdown]
# ## Who reads whose maps?
#
# The shapes look right. But a block could hand layer 3 the wrong 23 channels, and the
# shapes would still be right. So we test it: change the maps of one source, hold all
# others, and see which layers notice. By hand, for layer 3:

# %% tags=["nbval-check-output"]
features = deep(images).detach()  # (2, 43, 8, 8)
changed = features.clone()
changed[:, 3:13] = torch.randn(2, 10, 8, 8)  # other maps in place of layer 1's
before, after = (deep.denselayer3(maps[:, :23]) for maps in (features, changed))
print("layer 3 notices:", not torch.allclose(before, after, atol=1e-3))

# %% [markdown]
# Layer 3 does read layer 1. Here we cut out the 23 channels ourselves. `reader_matrix`
# makes the same test for each pair, on the block as it runs: a tick where the reader
# (row) notices a change of the source (column).
#
# **Predict** the ticks of the four layers, and what the last row, the block's output,
# notices.

# %% tags=["hide-output"]
show(reader_matrix(deep, images, title="Dense block: who reads whose maps"))

# %% [markdown]
# *Each layer reads the input and all layers before it; the output holds everything.*
# Above the last row stand 1 + 2 + 3 + 4 = 10 ticks, the links that lesson 01 counted.
#
# For comparison, a plain chain of four conv blocks. **Predict** its ticks, including
# those in the output's row.

# %% tags=["hide-output"]
widths = (3, 10, 10, 10)
chain = nn.Sequential(*(conv_block(width, 10) for width in widths))
show(reader_matrix(chain, images, title="Plain chain: who reads whose maps"))

# %% [markdown]
# *Five ticks: each layer reads its neighbour, and the output is the last layer's maps.*
# What layer 4 needs from the input, layers 1 to 3 must pass on.
#
# Now a whole network, trained on FashionMNIST in lesson 07. Run the cell, or open this
# page on the course's website. Point at a part to see whom it reads; choose one, and
# cut its links. Below the drawing the explorer asks five questions; the first two are
# about this lesson. Where no script runs, a still picture without the questions stands
# here.

# %%
explore(step=2)

# %% [markdown]
# *The stem is what stands before block 1, 2.3 is layer 3 of block 2, and each tile is
# one map, in the last row one score: blue above 0, orange below. Links also lead to
# what stands behind a block, a transition or the classifier.*
#
# ## Narrow layers
#
# The paper argues: since no map is lost, a layer need not make many. On CIFAR-10 it
# goes down to $k = 12$, and $k = 32$ is its choice on ImageNet. For comparison, a
# residual block of ResNet-18 hands on 64 to 512 channels, all of them rewritten by its
# sum. In DenseNet-121:

# %% tags=["nbval-check-output"]
model = densenet121()
print("a layer contributes", model.config.growth_rate, "maps")
convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
made = sorted({conv.out_channels for conv in convs})
print("the network's convolutions make", made, "maps")

# %% [markdown]
# 32 in every layer of every block. The stem makes 64, and the transitions make 128, 256
# and 512. 128 is also the width of an inner stage of each layer, which lesson 05
# builds.
#
# What does the growth rate cost? Take 6 layers and 64 input channels. From $k = 12$ to
# $k = 32$ is a factor of 2.7. **Predict**: do the parameters grow by less than that,
# exactly that, or more?

# %% tags=["nbval-check-output", "hide-output"]
blocks = {k: DenseBlock(6, 64, growth_rate=k) for k in (12, 32)}
count = {k: sum(p.numel() for p in b.parameters()) for k, b in blocks.items()}
print(count, f"factor {count[32] / count[12]:.1f}")

# %% [markdown]
# More: 4.0. With a larger $k$ each layer makes more maps *and* reads more. Two later
# lessons save parameters: fewer channels between blocks (04), a narrow waist in each
# layer (05). Lesson 09 saves memory: it stores each map once.
#
# ## Break it
#
# **Slip 1: forgetting to concatenate.** The loop passes on the new maps only.


# %%
class OnlyNewMaps(DenseBlock):
    def forward(self, features):
        for layer in self.children():
            features = layer(features)  # (N, k, H, W): everything older is gone
        return features


# %% [markdown]
# **Predict**: which layer of `OnlyNewMaps(2, 3, growth_rate=10)` fails, and which two
# numbers does the message name?

# %% tags=["nbval-check-output", "hide-output"]
with expected(RuntimeError):
    OnlyNewMaps(2, 3, growth_rate=10)(images)

# %% [markdown]
# Read it as "10 channels came, 13 were expected": layer 2 received layer 1's maps and
# nothing else. BN checks the number of channels, so this slip is loud.
#
# **Slip 2: the same, but at the end.** Inside, all is concatenated; only what is
# returned lacks the input.


# %%
class ReturnsNewMaps(DenseBlock):
    def forward(self, features):
        return super().forward(features)[:, features.shape[1]:]  # (N, L·k, H, W)


lacking = ReturnsNewMaps(2, 3, growth_rate=10)

# %% [markdown]
# The classifier takes its size from what arrives, as `nn.LazyLinear` does. **Predict**
# the shape after pooling, and where an error is raised, if anywhere.

# %% tags=["nbval-check-output", "hide-output"]
pooled = lacking(images).mean(dim=(2, 3))
classifier = nn.Linear(pooled.shape[1], 10)
print("pooled", tuple(pooled.shape), "classified", tuple(classifier(pooled).shape))

# %% [markdown]
# 20 channels instead of 23, and nothing is raised anywhere. The reader matrix shows
# what is missing:

# %%
show(reader_matrix(lacking, images, title="Slip 2: the output lost its input"))

# %% [markdown]
# *The dash in the last row: the output no longer holds the input.* Whatever follows
# this block sees the input only through the new maps.
#
# **Slip 3: a list on `self`.** It looks tidy, and the first call is right:


# %% tags=["nbval-check-output"]
class LeakyBlock(DenseBlock):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__(num_layers, in_channels, growth_rate)
        self.made = []

    def forward(self, features):
        self.made.append(features)
        for layer in self.children():
            self.made.append(layer(torch.cat(self.made, dim=1)))
        return torch.cat(self.made, dim=1)  # (N, C + L·k, H, W)


leaky = LeakyBlock(2, 3, growth_rate=10)
tuple(leaky(images).shape)

# %% [markdown]
# **Predict** the second call with the same images: which layer complains, and of how
# many channels?

# %% tags=["nbval-check-output", "hide-output"]
with expected(RuntimeError):
    leaky(images)

# %% [markdown]
# 26 came, 3 were expected: layer 1 found the 23 channels of the first call and 3 new
# ones. What belongs to one call must live in a local variable, as `features` does in
# our class.
#
# ## The numbers, checked against the formulas
#
# Lesson 02 derived the parameters of one layer. Here are the four of our block:

# %% tags=["nbval-check-output"]
inputs = layer_inputs(3, num_layers=4, growth_rate=10)
for (name, layer), reads in zip(deep.named_children(), inputs, strict=True):
    counted = sum(p.numel() for p in layer.parameters())
    formula = 2 * reads + 9 * reads * 10
    print(f"{name} reads {reads:2}: {counted:4} parameters, by formula {formula:4}")
leave = channels_after(3, num_layers=4, growth_rate=10)
print(f"{deep(images).shape[1]} leave, by formula {leave}; {connections(4)} links")

# %% [markdown]
# Every layer makes 10 maps, and each pays for what it reads.
#
# ## Your turn
#
# [Exercise 3](exercises/03_dense_block.ipynb), *medium, 15 minutes.* Write
# `DenseBlock(num_layers, in_channels, growth_rate)`, perhaps with a list of maps in
# place of the growing tensor. The check draws who reads whose maps in yours.

# %% [markdown]
# ## Recap
#
# - `features = torch.cat([features, layer(features)], dim=1)` is the whole idea: $C$
#   channels in, $C + L·k$ out.
# - Layer $\ell$ reads the input and all earlier maps, unchanged: measured by changing
#   one source at a time.
# - Nothing is lost, so, the paper argues, layers can be narrow.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional
# Networks](https://arxiv.org/abs/1608.06993), equation 2, section 3 "Growth rate"
# (global state), section 4 (growth rates used) · He et al. 2016, [Deep Residual
# Learning](https://arxiv.org/abs/1512.03385), table 1 (ResNet-18).
#
# **Next:** [04 transition](04_transition.ipynb) makes room again between two blocks.
