# %% [markdown]
# # 02 · The conv block
#
# **A layer of a dense block normalises, cuts off the negatives, then convolves: why
# these three steps, and why in this order?**
#
# After this lesson you can
# - write BN → ReLU → 3×3 convolution, and count its parameters;
# - say what BatchNorm does to a batch, in training and in evaluation mode;
# - give the reasons for four choices: normalise first, padding 1, no bias, He
#   initialisation.
#
# About 30 minutes, after [01 why dense connections](01_why_dense_connections.ipynb).
# Shapes are `(N, C, H, W)`: images, channels, height, width.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from collections import OrderedDict

import torch
from torch import nn

from densenet_course.accounting import conv_parameters, norm_parameters
from densenet_course.data import load, normalise, prepare
from densenet_course.figures import show
from densenet_course.figures.blocks import step_values
from densenet_course.figures.images import image_grid
from densenet_course.lesson import expected

torch.manual_seed(0)
torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## Three steps
#
# The paper calls the three steps of one layer the *composite function* $H$:
#
# $$H(x) = \text{conv}_{3\times3}(\text{ReLU}(\text{BN}(x)))$$
#
# It reads $C$ channels and makes $k$ new ones. In code:


# %%
def conv_block(in_channels, out_channels):
    return nn.Sequential(OrderedDict(
        norm1=nn.BatchNorm2d(in_channels),
        relu1=nn.ReLU(),
        conv1=nn.Conv2d(
            in_channels, out_channels, kernel_size=3, padding=1, bias=False
        ),
    ))


# %% [markdown]
# The smallest example: 2 images of 3 channels, 8×8 pixels. We give the channels very
# different values on purpose: means 0, 20 and −1, standard deviations 1, 5 and 0.2.
#
# **Predict** the shape after each of the three steps of `conv_block(3, 10)`.

# %% tags=["nbval-check-output", "hide-output"]
centre = torch.tensor([0.0, 20.0, -1.0]).view(1, 3, 1, 1)
spread = torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1, 1)
images = centre + spread * torch.randn(2, 3, 8, 8)  # (2, 3, 8, 8)
block = conv_block(3, 10)
values = images
for name, step in block.named_children():
    values = step(values)
    print(name, tuple(values.shape))

# %% [markdown]
# Only the convolution changes the shape: 10 channels, height and width as before.
#
# What happens to the values? In the next picture a bar holds the middle 90 % of a
# channel's values, and a dot marks its mean. Each panel has its own scale.

# %%
show(step_values(block, images))

# %% [markdown]
# *BN brings unequal channels to one scale. ReLU cuts off what is below 0. The
# convolution mixes 3 channels into 10 new maps.*
#
# The same on a picture: an ankle boot, the three steps of a fresh `conv_block(1, 3)`,
# and the three maps that it makes. Each image has its own grey scale, but "after BN"
# and "after ReLU" share one.

# %%
boots, labels = load("test", prepare())
steps = [normalise(boots[:1])]  # (1, 1, 28, 28)
for step in conv_block(1, 3).children():
    steps.append(step(steps[-1]).detach())
tiles = torch.cat([part[0] for part in steps])  # (1 + 1 + 1 + 3, 28, 28)
titles = ["input", "after BN", "after ReLU", "map 0", "map 1", "map 2"]
show(image_grid(tiles, titles, columns=6, share=(1, 2)))

# %% [markdown]
# *BN changes the scale and not the picture. ReLU sets all values below the mean to 0:
# the background turns from black to the grey of 0. Each map is another mixture of
# neighbouring pixels.* The weights are random, so the maps mean nothing yet.
#
# ## What BatchNorm does to a batch
#
# BN treats each channel by itself. One channel of our batch has 2·8·8 = 128 numbers. BN
# subtracts their mean and divides by their standard deviation. By hand, with a small
# `eps` that prevents a division by zero where a channel is constant:

# %% tags=["nbval-check-output"]
mean = images.mean(dim=(0, 2, 3), keepdim=True)  # (1, 3, 1, 1)
variance = images.var(dim=(0, 2, 3), unbiased=False, keepdim=True)  # (1, 3, 1, 1)
by_hand = (images - mean) / torch.sqrt(variance + block.norm1.eps)
torch.allclose(by_hand, block.norm1(images), atol=1e-5)

# %% [markdown]
# The two agree. `eps` is 0.00001. Before BN the three variances are about 1, 25 and
# 0.04. **Predict** which of them ends up furthest from 1.

# %% tags=["nbval-check-output", "hide-output"]
normalised = block.norm1(images).detach()  # (2, 3, 8, 8)
print("means:    ", normalised.mean(dim=(0, 2, 3)).abs())  # abs() only avoids −0.0000
print("variances:", normalised.var(dim=(0, 2, 3), unbiased=False))

# %% tags=["remove-cell"]
assert normalised.mean(dim=(0, 2, 3)).abs().max() < 1e-5
assert 0.9995 < normalised.var(dim=(0, 2, 3), unbiased=False)[2] < 0.9999

# %% [markdown]
# The smallest: of a variance $v$, BN leaves $v/(v + \mathtt{eps})$, and 0.04 is nearest
# to `eps`. After that, BN multiplies each channel by a learned γ and adds a learned β.
# They start at 1 and 0, so that at first they change nothing.

# %% tags=["nbval-check-output"]
print("γ:", block.norm1.weight.tolist())
print("β:", block.norm1.bias.tolist())

# %% [markdown]
# ## Training mode and evaluation mode
#
# In training mode mean and variance come from the batch. In evaluation mode BN uses
# running averages, which it keeps while it trains. **Predict** for both modes: does the
# first image give the same maps alone as beside the second one?

# %% tags=["nbval-check-output", "hide-output"]
for mode in (True, False):
    block.train(mode)
    together, alone = block(images)[:1], block(images[:1])
    same = torch.allclose(together, alone, atol=1e-5)
    print(f"training mode {mode!s:5} same maps: {same}")
_ = block.train()

# %% [markdown]
# Not in training mode: there, the maps of one image depend on its neighbours. A
# prediction must not work like that, so `model.eval()` comes before it.
#
# The running mean starts at 0, the running variance at 1, and each new batch moves them
# one tenth of the way towards its own (PyTorch's `momentum=0.1`). **Predict** where the
# running mean stands after 1 and after 10 batches with mean 20.

# %% tags=["nbval-check-output", "hide-output"]
norm = nn.BatchNorm2d(3)
averages = {}
for step in range(1, 51):
    norm(images)
    if step in (1, 10, 50):
        averages[step] = norm.running_mean[1].item()
        print(f"after {step:2} batches: {averages[step]:.1f}")

# %% tags=["remove-cell"]
assert averages[1] < 3 and 11 < averages[10] < 15 and averages[50] > 18

# %% [markdown]
# After 10 batches it is still a third of the way short ($0.9^{10} = 0.35$); after 50 it
# has arrived: this batch's own mean is 19.8. A network that is evaluated after a few
# batches uses wrong means.
#
# ## Why normalise first?
#
# Many networks use conv → BN → ReLU, *post-activation*. DenseNet reverses the order: BN
# → ReLU → conv, *pre-activation*. **Predict**: what share of a layer's output is
# negative, in each order?

# %% tags=["nbval-check-output", "hide-output"]
post = nn.Sequential(
    nn.Conv2d(3, 10, kernel_size=3, padding=1, bias=False),
    nn.BatchNorm2d(10),
    nn.ReLU(),
)
share_pre = (block(images) < 0).float().mean().item()
share_post = (post(images) < 0).float().mean().item()
print(f"negative: pre-activation {share_pre:.0%}, post-activation {share_post:.0%}")

# %% tags=["remove-cell"]
assert 0.3 < share_pre < 0.7 and share_post == 0

# %% [markdown]
# Pre-activation passes on signed values. Post-activation has thrown the negative ones
# away before any reader saw them.
#
# That matters where one map has many readers. Let two later layers read the same 10
# maps. Each starts with a BN of its own, so each has its own γ and β. ReLU lets through
# what is above 0: with β = 1 that is everything above one standard deviation *below*
# the mean. For bell-shaped values this is about 84 %. **Predict** the share for β = −1.

# %% tags=["nbval-check-output", "hide-output"]
maps = block(images).detach()  # (2, 10, 8, 8), made once
passed = {}
for beta in (1.0, -1.0):
    reader = conv_block(10, 10)
    nn.init.constant_(reader.norm1.bias, beta)
    seen = reader.relu1(reader.norm1(maps))  # (2, 10, 8, 8)
    passed[beta] = (seen > 0).float().mean().item()
    print(f"reader with β = {beta:+.0f}: {passed[beta]:.0%} pass the ReLU")

# %% tags=["remove-cell"]
assert 0.8 < passed[1.0] < 0.9 and 0.1 < passed[-1.0] < 0.2

# %% [markdown]
# Close to 84 % and 16 %: the same maps, two thresholds. The scale γ is each reader's
# own, too. With post-activation the only γ and β of a map belong to the layer that
# *made* it, and all readers share them. A reader could still rescale the map by its
# weights, but the threshold has been applied for good. Here we set β by hand; in
# training the optimiser does. One of the authors gives each layer's own scale and shift
# as the reason, and reports that this order is typically more accurate (issue 17 of
# their repository).
#
# ## Why padding 1?
#
# A 3×3 kernel with stride 1 and padding $p$ makes $H + 2p - 2$ rows out of $H$. So
# padding 1 keeps the size. **Predict** the size of the new maps if you leave the
# padding out, and what a dense block then does.

# %% tags=["nbval-check-output", "hide-output"]
unpadded = nn.Conv2d(3, 10, kernel_size=3, padding=0, bias=False)
shrunk = unpadded(images)
print(tuple(shrunk.shape))
with expected(RuntimeError):
    torch.cat([images, shrunk], dim=1)

# %% [markdown]
# The layer itself runs. Its maps of 6×6 cannot be concatenated with its input of 8×8.
#
# The padding has a price at the border. Take a map of ones and a kernel of nine weights
# 1/9: inside the map the sum is 9/9. **Predict** the sum in a corner and along an edge.

# %% tags=["nbval-check-output", "hide-output"]
ones = torch.ones(1, 1, 5, 5)
average = nn.Conv2d(1, 1, kernel_size=3, padding=1, bias=False)
nn.init.constant_(average.weight, 1 / 9)
print("ninths:\n", (9 * average(ones)).round().int()[0, 0].numpy(), sep="")

# %% [markdown]
# 4/9 in the corners, where five of nine weights fall on zeros, and 6/9 along the edges.
# In `conv_block` the zeros are added *after* BN and ReLU. There 0 is the smallest value
# a map can have, so a padded pixel means "nothing seen".
#
# ## Why no bias?
#
# A bias adds one constant to each map, and every reader of the map begins with BN.
# **Predict**: by how much does a reader's output change if we add 1, 2, …, 10 to the
# ten maps?

# %% tags=["nbval-check-output", "hide-output"]
reader = conv_block(10, 10)
bias = torch.arange(1.0, 11.0).view(1, 10, 1, 1)
change = (reader(maps + bias) - reader(maps)).abs().max().item()
print(f"largest change: {change:.4f}")

# %% [markdown]
# By nothing but rounding: BN subtracts the mean, and the constant with it. The gradient
# of a number that cannot change the output is 0:

# %%
with_bias = nn.Conv2d(3, 10, kernel_size=3, padding=1, bias=True)
reader(with_bias(images)).square().mean().backward()
for name, part in with_bias.named_parameters():
    print(f"largest gradient of {name}: {part.grad.abs().max():.0e}")

# %% tags=["remove-cell"]
assert with_bias.bias.grad.abs().max() < 1e-5
assert with_bias.weight.grad.abs().max() > 1e-3

# %% [markdown]
# The weights learn, the bias does not. In evaluation mode the running mean contains the
# bias, too, and takes it away. All this holds as long as *every* reader begins with BN.
# In a DenseNet it is so: later layers, transitions and the last BN before the
# classifier.
#
# ## Why He initialisation?
#
# An output of a convolution sums $n$ products; for 32 channels, $n = 9 \cdot 32$.
# PyTorch draws initial weights of variance $1/(3n)$. Of values distributed
# symmetrically around 0, ReLU keeps half of the mean square. So ReLU and convolution
# together leave 1/6 of the variance, just as a step back in lesson 01 left 1/6 of the
# gradient's squared length ($0.41^2$). He initialisation, lesson 01's remedy, draws
# weights of variance $2/n$.


# %%
def spread_after(depth, *, norm, he):
    seeded = torch.Generator().manual_seed(0)
    values = torch.randn(8, 32, 32, 32, generator=seeded)  # (8, 32, 32, 32)
    for _ in range(depth):
        layer = conv_block(32, 32)
        if not norm:
            layer.norm1 = nn.Identity()
        if he:
            nn.init.kaiming_normal_(layer.conv1.weight)
        with torch.no_grad():
            values = layer(values)  # (8, 32, 32, 32)
    return values.std().item()


# %% [markdown]
# Values of standard deviation 1 enter 20 such layers, with BN or without, with
# PyTorch's initial weights or He's. **Predict** for each of the four the order of
# magnitude of the standard deviation that leaves.

# %% tags=["nbval-check-output", "hide-output"]
table = {(n, he): spread_after(20, norm=n, he=he) for n in (0, 1) for he in (0, 1)}
for (norm, he), std in table.items():
    names = ("BN" if norm else "no BN", "He" if he else "PyTorch's weights")
    print(f"{names[0]:6} {names[1]:18} {std:.2g}")

# %% tags=["remove-cell"]
assert table[0, 0] < 1e-6 and 0.1 < table[0, 1] < 10
assert 0.3 < table[1, 0] < 0.5 and 0.75 < table[1, 1] < 1.25

# %% [markdown]
# Without either, about $\sqrt{1/6}^{\,20} = 6^{-10} \approx 2 \cdot 10^{-8}$ is left
# (one draw of weights is off by a factor of a few): the signal is gone. He alone keeps
# its order of magnitude. With BN every layer starts from variance 1 again, so
# $\sqrt{1/6} \approx 0.4$ is left however deep. Both together hold it near 1. DenseNet
# uses both (paper, section 4.2). `conv_block` leaves the weights as PyTorch draws them;
# `densenet_course.models.initialise` sets them for a whole network.
#
# Not in the block: **dropout**. For data sets without augmentation the paper puts it
# after each convolution but the first, with rate 0.2; lesson 07 tries it.
#
# ## The parameters, checked against the formulas
#
# BN learns γ and β for each of $C$ channels, the convolution $3·3·C·k$ weights: $2C +
# 9Ck$. What does a layer pay for each channel that it *reads*?

# %% tags=["nbval-check-output"]
for channels in (3, 13, 23):
    counted = sum(p.numel() for p in conv_block(channels, 10).parameters())
    norm = norm_parameters(channels)
    conv = conv_parameters(channels, 10, kernel_size=3)
    print(f"reads {channels:2} channels: {counted:4} = {norm} + {conv}")

# %% [markdown]
# $2 + 9·10 = 92$ parameters for each channel, so in a dense block the last layer is the
# most expensive.
#
# ## Break it, quietly
#
# The post-activation layer from above has the same output shape, and nothing raises.
# **Predict** its number of parameters, for 3 channels in and 10 out.

# %% tags=["nbval-check-output", "hide-output"]
for name, layer in (("pre ", block), ("post", post)):
    counted = sum(p.numel() for p in layer.parameters())
    print(name, tuple(layer(images).shape), counted, "parameters")

# %% [markdown]
# Its BN has 10 channels instead of 3: 20 + 270 = 290, against 6 + 270 = 276. The shape
# does not tell the two orders apart. The count does, unless $C = k$. The sign of the
# output does in practice: post-activation has no negative value.
#
# ## Your turn
#
# [Exercise 2](exercises/02_conv_block.ipynb), *easy, 10 minutes.* Write
# `conv_block(in_channels, out_channels)` from memory, in any style you like. The check
# copies weights into it and compares outputs, gradients and running statistics.

# %% [markdown]
# ## Recap
#
# - A layer is BN → ReLU → 3×3 convolution, $2C + 9Ck$ parameters; padding 1 keeps
#   height and width, so that maps can be concatenated.
# - BN brings every channel to mean 0 and variance 1, then applies γ and β. In training
#   mean and variance are the batch's; in evaluation they are running averages.
# - BN first gives every reader its own γ and β for the same map, and makes a bias
#   useless.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional
# Networks](https://arxiv.org/abs/1608.06993), section 3 "Composite function" and
# section 4.2 · Ioffe and Szegedy 2015, [Batch
# Normalization](https://arxiv.org/abs/1502.03167) · He et al. 2016, [Identity
# Mappings](https://arxiv.org/abs/1603.05027) (pre-activation) · He et al. 2015,
# [Delving Deep into Rectifiers](https://arxiv.org/abs/1502.01852) (He initialisation) ·
# [issue 17](https://github.com/liuzhuang13/DenseNet/issues/17) of the authors'
# repository (why BN comes first).
#
# **Next:** [03 dense block](03_dense_block.ipynb) puts these layers together.
