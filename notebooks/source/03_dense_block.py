# %% [markdown]
# # 03 · The dense block
#
# **In a dense block every layer reads everything made before it, and appends a few new maps of its own.**
#
# After this lesson you can
# - build a dense block and say how many channels each layer reads and how many leave;
# - show on a live block whose maps each layer reads;
# - recognise three common slips by their symptoms.
#
# About 35 minutes, after lesson 02. Shapes are `(N, C, H, W)`: images, channels, height, width.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import torch
from torch import nn

from densenet_course import layers
from densenet_course.accounting import channels_after, connections, conv_parameters, layer_inputs, norm_parameters
from densenet_course.figures import show
from densenet_course.figures.blocks import channel_ledger, concatenation_step, reader_matrix
from densenet_course.layers import conv_block
from densenet_course.lesson import expected

_ = torch.manual_seed(0)

# %% [markdown]
# ## The bookkeeping of a block
#
# First the finished thing: a block of 4 layers, drawn from the package. We build it ourselves below.

# %%
show(channel_ledger(layers.DenseBlock(4, 3, growth_rate=10)))

# %% [markdown]
# *Nothing is overwritten: each layer finds all earlier channels (pale) and appends its own (strong blue).* In the
# paper's equation 2, the brackets mean "joined along the channels":
#
# $$x_\ell = H_\ell([x_0, x_1, \ldots, x_{\ell-1}])$$
#
# $x_0$ is the input of the block, $x_\ell$ are the maps of layer $\ell$. $H_\ell$ is the conv block of lesson 02.
# Each makes $k$ maps; $k$ is called the **growth rate**.

# %% [markdown]
# ## One concatenation by hand
#
# Take 2 images with 3 channels of 8×8 pixels, and layers that make 10 maps each. The first layer reads the images.
#
# **Predict:** how many channels are there after joining its maps to the images?

# %% tags=["nbval-check-output", "hide-output"]
images = torch.randn(2, 3, 8, 8)
first = conv_block(3, 10)
features = torch.cat([images, first(images)], dim=1)  # (2, 3 + 10, 8, 8)
tuple(features.shape)

# %% [markdown]
# 13 channels. `dim=1` is the channel axis: the maps lie behind the images like further pages of a book. The second
# layer reads all 13. **Predict:** what comes out after it?

# %% tags=["nbval-check-output", "hide-output"]
second = conv_block(13, 10)
features = torch.cat([features, second(features)], dim=1)  # (2, 13 + 10, 8, 8)
tuple(features.shape)

# %% [markdown]
# 23 = 3 + 2·10. The same line stands there twice, each time with another layer. That makes a loop.
#
# ## The class


# %%
class DenseBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate, layer=conv_block):
        super().__init__()
        for i in range(num_layers):
            self.add_module(f"denselayer{i + 1}", layer(in_channels + i * growth_rate, growth_rate))

    def forward(self, features):
        for layer in self.children():
            new_maps = layer(features)  # (N, k, H, W)
            features = torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W), then (N, C + 2k, H, W), …
        return features


# %% [markdown]
# `__init__` does the bookkeeping: layer $i$ (from 0) reads `in_channels + i * growth_rate` channels. The argument
# `layer` is what builds one layer; lesson 05 puts another one in.
#
# **Predict** the shape that leaves a block of 2 layers.

# %% tags=["nbval-check-output", "hide-output"]
block = DenseBlock(2, 3, growth_rate=10)
for name, layer in block.named_children():
    print(f"{name} reads {layer.norm1.num_features:2} channels, makes {layer.conv1.out_channels}")
print("leaves the block:", tuple(block(images).shape))  # (N, 3 + 2·10, H, W)

# %% [markdown]
# 23 again, as by hand. Now larger numbers: 3 layers, 16 channels in, growth rate 12. **Predict** what each layer
# reads and how many channels leave. Then look.

# %% tags=["hide-output"]
show(channel_ledger(DenseBlock(3, 16, growth_rate=12)))

# %% [markdown]
# *16, 28 and 40 are read, 52 = 16 + 3·12 leave.*
#
# ## What leaves is what came in, and more
#
# The first 3 channels that leave should be the input: the same numbers, not similar ones.

# %% tags=["nbval-check-output"]
torch.equal(block(images)[:, :3], images)

# %% [markdown]
# `torch.equal` allows no rounding. The same should hold further on: a layer only appends, so it cannot touch maps
# that were there before.
#
# We give a block of 2 layers the weights of the first 2 layers of a block of 4. **Predict:** which channels of the
# two outputs are equal?

# %% tags=["nbval-check-output", "hide-output"]
deep = DenseBlock(4, 3, growth_rate=10)
short = DenseBlock(2, 3, growth_rate=10)
_ = short.load_state_dict(deep.state_dict(), strict=False)  # layers 3 and 4 have no place to go
print("short:", tuple(short(images).shape), " deep:", tuple(deep(images).shape))
print("first 23 channels equal:", torch.equal(deep(images)[:, :23], short(images)))

# %% [markdown]
# All 23. Every shorter block is contained in the longer one. To *see* it, we draw images that can be told apart:
# two diagonals and a triangle. Growth rate 4 keeps the maps large enough to look at.

# %%
shapes = torch.stack([torch.eye(8), torch.eye(8).flip(0), torch.ones(8, 8).tril()])  # (3, 8, 8)
drawings = torch.stack([shapes, shapes.flip(2)])  # (2, 3, 8, 8)
show(concatenation_step(DenseBlock(2, 3, growth_rate=4), drawings))

# %% [markdown]
# *Every row begins with the row above it, map for map.* The weights are random, so the blue maps mean nothing yet.
#
# The paper calls this the **global state** of the network. Think of a notebook that lies open to all layers: each
# may read any page, each adds $k$ pages, and none has to copy what others found.

# %% [markdown]
# ## Who reads whose maps?
#
# The shapes look right. But a block could hand layer 3 the wrong 23 channels, and the shapes would still be right.
# So we test it: change the maps of one source, hold all others, and see which layers notice.
#
# First by hand. Layer 3 reads channels 0 to 22; channels 3 to 12 are the maps of layer 1.

# %% tags=["nbval-check-output"]
features = deep(images).detach()  # (2, 43, 8, 8)
changed = features.clone()
changed[:, 3:13] = torch.randn(2, 10, 8, 8)  # other maps in place of layer 1's
before, after = deep.denselayer3(features[:, :23]), deep.denselayer3(changed[:, :23])
print("layer 3 notices:", not torch.allclose(before, after, atol=1e-3))

# %% [markdown]
# Layer 3 does read layer 1. Here we cut out the 23 channels ourselves. `reader_matrix` makes the same test for each
# pair, on the block as it runs.
#
# **Predict:** how many ticks are there in the rows of 4 layers? Layer 1 has one source, layer 2 two, and so on.

# %% tags=["hide-output"]
show(reader_matrix(deep, images, title="Dense block: who reads whose maps"))

# %% [markdown]
# *Each layer reads the input and all layers before it; the output holds everything.* 1 + 2 + 3 + 4 = 10 ticks above
# the last row. That is $L(L+1)/2$ for $L = 4$:

# %% tags=["nbval-check-output"]
connections(4)

# %% [markdown]
# A plain chain of the same four layers, for comparison. **Predict** its ticks.

# %% tags=["hide-output"]
chain = nn.Sequential(conv_block(3, 10), conv_block(10, 10), conv_block(10, 10), conv_block(10, 10))
show(reader_matrix(chain, images, title="Plain chain: who reads whose maps"))

# %% [markdown]
# *Four ticks: each layer reads one neighbour.* What layer 4 needs from the input, layers 1 to 3 must pass on.
#
# ## Joined, not added
#
# ResNet also lets later layers see earlier ones, but it *adds*. Take two different states and two different layer
# outputs, two channels each:

# %% tags=["nbval-check-output"]
state_a, new_a = torch.tensor([5.0, 1.0]), torch.tensor([2.0, 3.0])
state_b, new_b = torch.tensor([4.0, 0.0]), torch.tensor([3.0, 4.0])
print("added: ", (state_a + new_a).tolist(), (state_b + new_b).tolist())
print("joined:", torch.cat([state_a, new_a]).tolist(), torch.cat([state_b, new_b]).tolist())

# %% [markdown]
# The sums are equal: no later layer can tell the two cases apart. Joined, every part can be cut out again. And a
# reader that wants the sum can still have it, by a 1×1 convolution whose weights are two identity matrices.

# %% tags=["nbval-check-output"]
older, newer = torch.randn(2, 10, 8, 8), torch.randn(2, 10, 8, 8)
adder = nn.Conv2d(20, 10, kernel_size=1, bias=False)
adder.weight.data = torch.cat([torch.eye(10), torch.eye(10)], dim=1).view(10, 20, 1, 1)
joined = torch.cat([older, newer], dim=1)  # (2, 20, 8, 8)
print("sum recovered:", torch.allclose(adder(joined), older + newer))

# %% [markdown]
# So joining keeps the choice open, and leaves it to each reader's weights. The price: a sum has 10 channels, the
# joined maps have 20.
#
# ## Narrow layers
#
# The paper argues: since no map is lost, a layer need not make many. ResNet-18 has convolutions with 64 to 512
# output maps. **Predict:** how many new maps does one layer of DenseNet-121 make?

# %% tags=["nbval-check-output", "hide-output"]
from torchvision.models import resnet18

from densenet_course.models import densenet121

print("ResNet-18:", sorted({m.out_channels for m in resnet18().modules() if isinstance(m, nn.Conv2d)}))
print("DenseNet-121:", densenet121().config.growth_rate)

# %% [markdown]
# 32, in every layer of every block. On CIFAR the paper goes down to 12 (section 4).
#
# What does the growth rate cost? Take 6 layers and 64 input channels. From $k = 12$ to $k = 32$ is a factor of 2.7.
# **Predict:** do the parameters grow by less, just that, or more?

# %% tags=["nbval-check-output", "hide-output"]
count = {k: sum(p.numel() for p in DenseBlock(6, 64, growth_rate=k).parameters()) for k in (12, 32)}
print(count, f"factor {count[32] / count[12]:.1f}")

# %% [markdown]
# More: 4.0. With a larger $k$ each layer makes more maps *and* reads more.
#
# ## What reading costs
#
# Every layer reads everything again. Summed over a block of $L$ layers that is $L·C + k·L(L-1)/2$ channels.
# **Predict:** how does the sum change when $L$ doubles?

# %% tags=["nbval-check-output", "hide-output"]
for num_layers in (4, 8, 16, 32):
    wide = DenseBlock(num_layers, 3, growth_rate=10)
    read = sum(layer.norm1.num_features for layer in wide.children())
    print(f"{num_layers:2} layers: {10 * num_layers:3} maps made, {read:4} channels read")

# %% [markdown]
# What is made doubles, what is read grows about fourfold. Three later lessons answer this: fewer channels between
# blocks (04), a narrow waist in each layer (05), storing each map once (09).
#
# ## Break it
#
# **Slip 1: forgetting to join.** The loop hands on the new maps only. **Predict:** where does it fail, and with
# which numbers?


# %% tags=["hide-output"]
class OnlyNewMaps(DenseBlock):
    def forward(self, features):
        for layer in self.children():
            features = layer(features)  # (N, k, H, W): everything older is gone
        return features


with expected(RuntimeError):
    OnlyNewMaps(2, 3, growth_rate=10)(images)

# %% [markdown]
# Read it as "10 channels came, 13 were expected": layer 2 received layer 1's maps and nothing else. BN checks the
# number of channels, so this slip is loud.
#
# **Slip 2: the same, but at the end.** Inside, all is joined; only what is returned lacks the input.


# %% tags=["nbval-check-output"]
class ReturnsNewMaps(DenseBlock):
    def forward(self, features):
        return super().forward(features)[:, features.shape[1]:]  # (N, L·k, H, W)


quiet = ReturnsNewMaps(2, 3, growth_rate=10)
tuple(quiet(images).shape)

# %% [markdown]
# 20 channels and no error. A part that was built for 23 would complain. But a classifier that takes its size from
# what arrives, as lazy layers do, accepts them:

# %% tags=["nbval-check-output"]
pooled = quiet(images).mean(dim=(2, 3))  # (2, 20)
classifier = nn.Linear(pooled.shape[1], 10)
tuple(classifier(pooled).shape)  # (2, 10)

# %% [markdown]
# It runs, and no message tells you. The reader matrix shows what is missing.

# %%
show(reader_matrix(quiet, images, title="Slip 2: the output lost its input"))

# %% [markdown]
# *The dash in the last row: the output no longer holds the input.* What stands behind this block sees the input
# only through the new maps.
#
# **Slip 3: a list on `self`.** It looks tidy, and the first call is right. **Predict** the second call.


# %% tags=["hide-output"]
class LeakyBlock(DenseBlock):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__(num_layers, in_channels, growth_rate)
        self.made = []

    def forward(self, features):
        self.made.append(features)
        for layer in self.children():
            self.made.append(layer(torch.cat(self.made, dim=1)))
        return torch.cat(self.made, dim=1)  # (N, C + L·k, H, W), the first time


leaky = LeakyBlock(2, 3, growth_rate=10)
print("first call:", tuple(leaky(images).shape))

# %% tags=["hide-output"]
with expected(RuntimeError):
    leaky(images)

# %% [markdown]
# 26 came, 3 were expected: the list still held the 23 channels of the first call. What belongs to one call must
# live in a local variable, as `features` does in our class.
#
# ## The numbers, held against the formulas
#
# **Predict** the last column for layer 1: $2·3 + 9·3·10$.

# %% tags=["nbval-check-output", "hide-output"]
inputs = layer_inputs(3, num_layers=4, growth_rate=10)
for (name, layer), reads in zip(deep.named_children(), inputs, strict=True):
    counted = sum(p.numel() for p in layer.parameters())
    formula = norm_parameters(reads) + conv_parameters(reads, 10, kernel_size=3)
    shape = f"(2, {reads + 10}, 8, 8)"
    print(f"{name} reads {reads:2}, features after it {shape}, {counted:4} parameters, by formula {formula:4}")
print("leave the block:", deep(images).shape[1], "by formula", channels_after(3, num_layers=4, growth_rate=10))

# %% [markdown]
# 276 for the first layer, 3,036 for the last: every layer makes 10 maps, and each pays for what it reads.
#
# ## Your turn
#
# [Exercise 3](exercises/03_dense_block.ipynb), *medium, 15 minutes.* Write
# `DenseBlock(num_layers, in_channels, growth_rate)`, perhaps with a list of maps in place of the growing tensor. The
# check draws who reads whose maps in yours.

# %% [markdown]
# ## Recap
#
# - `features = torch.cat([features, layer(features)], dim=1)` is the whole idea: $C$ channels in, $C + L·k$ out.
# - Layer $\ell$ reads the input and all earlier maps, unchanged: $L(L+1)/2$ links, measured by changing one source
#   at a time.
# - Layers can be narrow because nothing is lost; what is read grows with the square of the depth.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional Networks](https://arxiv.org/abs/1608.06993),
# equation 2, section 3 "Growth rate" (global state), section 4 (growth rates used) · He et al. 2016, [Deep Residual
# Learning](https://arxiv.org/abs/1512.03385) (adding).
#
# **Next:** [04 · The transition](04_transition.ipynb) makes room again between two blocks.
