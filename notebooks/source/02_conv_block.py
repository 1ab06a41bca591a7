# %% [markdown]
# # 02 · The conv block
#
# **Every layer of a dense block normalises, cuts off the negatives, then convolves; each detail has a reason that
# you can measure.**
#
# After this lesson you can
# - write BN → ReLU → 3×3 convolution, and count its numbers;
# - say what BatchNorm does to a batch, in training and in evaluation mode;
# - give the reasons for four choices: normalise first, padding 1, no bias, Kaiming start values.
#
# About 30 minutes, after lesson 01. Shapes are `(N, C, H, W)`: images, channels, height, width.

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
from collections import OrderedDict

import torch
from torch import nn

from densenet_course.accounting import conv_parameters, norm_parameters
from densenet_course.figures import show
from densenet_course.figures.blocks import step_values

torch.manual_seed(0)
torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ## Three steps
#
# The paper calls the three steps of one layer the *composite function* $H$:
#
# $$H(x) = \text{conv}_{3\times3}(\text{ReLU}(\text{BN}(x)))$$
#
# It reads $C$ channels and makes $k$ new ones. In code, with the names the whole course uses:


# %%
def conv_block(in_channels, out_channels):
    return nn.Sequential(OrderedDict(
        norm1=nn.BatchNorm2d(in_channels),
        relu1=nn.ReLU(),
        conv1=nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
    ))


# %% [markdown]
# The smallest example: 2 images of 3 channels, 8×8 pixels. We give the channels very different values on purpose:
# means 0, 20 and −1, standard deviations 1, 5 and 0.2.
#
# **Predict:** which shape leaves `conv_block(3, 10)`?

# %% tags=["nbval-check-output"]
centre = torch.tensor([0.0, 20.0, -1.0]).view(1, 3, 1, 1)
spread = torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1, 1)
images = centre + spread * torch.randn(2, 3, 8, 8)  # (2, 3, 8, 8)
block = conv_block(3, 10)
tuple(block(images).shape)  # (N, 10, H, W)

# %% [markdown]
# 10 channels, height and width unchanged. What happened on the way? The picture shows the values after each step.

# %%
show(step_values(block, images))

# %% [markdown]
# *BN brings unequal channels to one scale. ReLU cuts off what is below 0. The convolution mixes 3 channels into 10
# new maps.*
#
# A bar holds the middle 90 % of a channel's values, a dot marks its mean. Each panel has its own scale.
#
# ## What BatchNorm does to a batch
#
# BN treats each channel by itself. One channel of our batch has 2·8·8 = 128 numbers. BN takes their mean and their
# variance.

# %%
print("mean:", images.mean(dim=(0, 2, 3)))
print("variance:", images.var(dim=(0, 2, 3), unbiased=False))

# %% [markdown]
# Close to the 0, 20, −1 and 1, 25, 0.04 we built in. BN subtracts the mean and divides by the square root of the
# variance.
#
# **Predict:** the three means and variances after BN.

# %%
normalised = block.norm1(images)  # (2, 3, 8, 8)
print("mean:", normalised.mean(dim=(0, 2, 3)).detach())
print("variance:", normalised.var(dim=(0, 2, 3), unbiased=False).detach())

# %% [markdown]
# Mean 0 and variance 1 in every channel, up to rounding. Now the same by hand. The small number `eps` prevents a
# division by zero where a channel is constant.

# %% tags=["nbval-check-output"]
mean = images.mean(dim=(0, 2, 3), keepdim=True)  # (1, 3, 1, 1)
variance = images.var(dim=(0, 2, 3), unbiased=False, keepdim=True)  # (1, 3, 1, 1)
by_hand = (images - mean) / torch.sqrt(variance + block.norm1.eps)
torch.allclose(by_hand, normalised, atol=1e-5)

# %% [markdown]
# The two agree. After that, BN multiplies each channel by a learned γ and adds a learned β. They start at 1 and 0,
# so that at first they change nothing.

# %% tags=["nbval-check-output"]
print("γ:", block.norm1.weight.tolist())
print("β:", block.norm1.bias.tolist())

# %% [markdown]
# ## Training mode and evaluation mode
#
# In training mode the mean comes from the batch. So the maps of one image depend on its neighbours.
#
# **Predict:** does the first image give the same maps alone as beside the second one?

# %% tags=["nbval-check-output"]
block.train()
together = block(images)[:1]
alone = block(images[:1])
print("training mode, same maps:", torch.allclose(together, alone, atol=1e-5))

# %% [markdown]
# No. A prediction must not work like that: the answer for one picture would depend on the other pictures. So BN
# keeps running averages while it trains, and uses them in evaluation mode.

# %% tags=["nbval-check-output"]
block.eval()
together = block(images)[:1]
alone = block(images[:1])
print("evaluation mode, same maps:", torch.allclose(together, alone, atol=1e-5))
_ = block.train()

# %% [markdown]
# Yes. A running average moves one tenth of the way towards each new batch (PyTorch's `momentum=0.1`). It starts
# at 0. After one batch with mean 20 it should stand near 2.

# %%
norm = nn.BatchNorm2d(3)
for step in range(1, 51):
    norm(images)
    if step in (1, 10, 50):
        print(f"after {step:2} batches:", norm.running_mean)

# %% [markdown]
# After 10 batches it still lacks a third of the way ($0.9^{10} = 0.35$), after 50 it has arrived. A network
# evaluated after a few batches uses wrong means.
#
# ## Why normalise first?
#
# Many networks use conv → BN → ReLU, *post-activation*. DenseNet turns it round: BN → ReLU → conv,
# *pre-activation*. What leaves the layer differs. **Predict:** which share of its output is negative, in each
# order?

# %%
post = nn.Sequential(nn.Conv2d(3, 10, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(10), nn.ReLU())
share_pre = (block(images) < 0).float().mean().item()
share_post = (post(images) < 0).float().mean().item()
print(f"negative values: pre-activation {share_pre:.0%}, post-activation {share_post:.0%}")
assert 0.3 < share_pre < 0.7 and share_post == 0

# %% [markdown]
# Pre-activation hands on signed values. Post-activation has thrown the negative ones away before any reader saw
# them.
#
# That matters in a network that concatenates: one map has many readers. Let two later layers read the same 10 maps.
# Each starts with a BN of its own, so each has its own γ and β.

# %% tags=["nbval-check-output"]
maps = block(images).detach()  # (2, 10, 8, 8), made once
reader_a, reader_b = conv_block(10, 10), conv_block(10, 10)
nn.init.constant_(reader_a.norm1.bias, 1.0)  # β of reader A
nn.init.constant_(reader_b.norm1.bias, -1.0)  # β of reader B
print("β of A and B:", reader_a.norm1.bias[0].item(), reader_b.norm1.bias[0].item())

# %% [markdown]
# ReLU lets through what is above 0. With β = 1 that is everything above one standard deviation *below* the mean.
# For bell-shaped values this is about 84 %. **Predict** the share for β = −1.

# %%
for name, reader in (("A, β = +1", reader_a), ("B, β = −1", reader_b)):
    passed = reader.relu1(reader.norm1(maps))  # (2, 10, 8, 8)
    print(f"reader {name}: {(passed > 0).float().mean():.0%} pass the ReLU")

# %% [markdown]
# Close to 84 % and 16 %: the same maps, two thresholds. The scale is each reader's own, too. Let A mute map 0 and B
# double it.

# %% tags=["nbval-check-output"]
with torch.no_grad():
    reader_a.norm1.weight[0], reader_b.norm1.weight[0] = 0.0, 2.0  # γ of map 0
for name, reader in (("A", reader_a), ("B", reader_b)):
    print(f"reader {name} gets map 0 with standard deviation {reader.norm1(maps)[:, 0].std(unbiased=False):.1f}")

# %% [markdown]
# With post-activation the only γ and β of a map belong to the layer that *made* it, and all readers share them. A
# reader could still rescale the map by its weights, but the threshold has been applied for good. Here we set the
# values by hand; in training the optimiser does.
#
# ## Why padding 1?
#
# A 3×3 kernel with stride 1 and padding $p$ makes $(H + 2p - 3)/1 + 1$ rows out of $H$. **Predict** them for $H =
# 8$ and $p = 0, 1, 2$.

# %% tags=["nbval-check-output"]
for padding in (0, 1, 2):
    conv = nn.Conv2d(3, 10, kernel_size=3, padding=padding, bias=False)
    print(f"padding {padding}: {8 + 2 * padding - 3 + 1} rows predicted, shape {tuple(conv(images).shape)}")

# %% [markdown]
# Only padding 1 keeps 8×8. **Break it:** leave the padding out, and join the new maps to the input as a dense block
# does.

# %% tags=["raises-exception"]
shrunk = nn.Conv2d(3, 10, kernel_size=3, padding=0, bias=False)(images)  # (2, 10, 6, 6)
torch.cat([images, shrunk], dim=1)

# %% [markdown]
# Maps of 8×8 and 6×6 cannot lie behind each other. Concatenation needs equal height and width.
#
# The padding has a price at the border. Take a map of ones and a kernel of nine weights 1/9. Inside, the sum is
# 9/9. **Predict** the sum in a corner, where five of the nine taps fall on zeros.

# %% tags=["nbval-check-output"]
ones = torch.ones(1, 1, 5, 5)
average = nn.Conv2d(1, 1, kernel_size=3, padding=1, bias=False)
nn.init.constant_(average.weight, 1 / 9)
print("ninths:\n", (9 * average(ones)).round().int()[0, 0].numpy(), sep="")

# %% [markdown]
# 4/9 in the corners, 6/9 along the edges, 9/9 inside. In `conv_block` the zeros are added *after* BN and ReLU.
# There 0 is the smallest value a map can have, so a padded pixel means "nothing seen".
#
# ## Why no bias?
#
# A bias adds one constant to each map. Every reader of the map begins with BN, and BN subtracts the mean.
# **Predict:** by how much does a reader's output change if we add 1, 2, …, 10 to the ten maps?

# %% tags=["nbval-check-output"]
reader = conv_block(10, 10)
bias = torch.arange(1.0, 11.0).view(1, 10, 1, 1)
change = (reader(maps + bias) - reader(maps)).abs().max().item()
print(f"largest change: {change:.4f}")

# %% [markdown]
# By nothing but rounding. A number that cannot change the output has no gradient either. Give the convolution a
# bias and look.

# %%
with_bias = nn.Conv2d(3, 10, kernel_size=3, padding=1, bias=True)
reader(with_bias(images)).square().mean().backward()
bias_gradient, weight_gradient = (p.grad.abs().max().item() for p in (with_bias.bias, with_bias.weight))
print(f"largest gradient: bias {bias_gradient:.0e}, weights {weight_gradient:.0e}")
assert bias_gradient < 1e-5 and weight_gradient > 1e-3

# %% [markdown]
# The weights learn, the bias does not. This holds in training mode, and as long as *every* reader begins with BN.
# In a DenseNet it is so: later layers, transitions and the last BN before the classifier. Where a map is read
# without BN, a bias does matter.
#
# ## How large are the start values?
#
# One output of a convolution sums $n$ products, here $n = 9·32$. A fresh `nn.Conv2d` draws weights of variance
# $1/(3n)$. Of values spread evenly around 0, ReLU keeps half of the mean square. So ReLU and convolution leave $1/3
# · 1/2 = 1/6$ of the variance. Kaiming's rule draws weights of variance $2/n$, which makes up for the half.

# %%
def spread_after(depth, *, norm, kaiming):
    values = torch.randn(8, 32, 32, 32, generator=torch.Generator().manual_seed(0))  # (8, 32, 32, 32)
    for _ in range(depth):
        layer = conv_block(32, 32)
        if not norm:
            layer.norm1 = nn.Identity()
        if kaiming:
            nn.init.kaiming_normal_(layer.conv1.weight)
        with torch.no_grad():
            values = layer(values)  # (8, 32, 32, 32)
    return values.std().item()


# %% [markdown]
# **Predict** the standard deviation after 20 layers with PyTorch's start values. Without BN: $\sqrt{1/6}^{\,20} =
# 6^{-10}$, about 0.00000002. With BN every layer starts from variance 1 again: $\sqrt{1/6} \approx 0.41$, however
# deep.

# %%
table = {(n, k): spread_after(20, norm=n, kaiming=k) for n in (False, True) for k in (False, True)}
for (norm, kaiming), std in table.items():
    print(f"BN {norm!s:5}  Kaiming {kaiming!s:5}  standard deviation {std:.2g}")
assert table[False, False] < 1e-6 and 0.1 < table[False, True] < 10
assert 0.3 < table[True, False] < 0.5 and 0.75 < table[True, True] < 1.25

# %% [markdown]
# Without either, the signal is gone. Kaiming alone keeps its order of magnitude, BN alone holds it at 0.4, both
# hold it near 1. DenseNet uses both: Kaiming weights (paper, section 4.2), γ = 1, β = 0. `conv_block` leaves the
# weights as PyTorch draws them; `densenet_course.models.initialise` sets them for a whole network.
#
# ## The numbers, held against the formulas
#
# BN learns γ and β for each of $C$ channels, the convolution $3·3·C·k$ weights. **Predict** $2C + 9Ck$ for $C = 3$,
# $k = 10$.

# %% tags=["nbval-check-output"]
formulas = {"norm1": norm_parameters(3), "relu1": 0, "conv1": conv_parameters(3, 10, kernel_size=3)}
values = images
for name, step in block.named_children():
    values = step(values)
    counted = sum(p.numel() for p in step.parameters())
    print(f"{name}  {tuple(values.shape)!s:14}  {counted:3} parameters, by formula {formulas[name]:3}")

# %% [markdown]
# 6 + 270 = 276. The convolution holds nearly all of it, and it grows with $C$: the channels a layer *reads*. Three
# layers of one block with $k = 10$:

# %% tags=["nbval-check-output"]
for channels in (3, 13, 23):
    counted = sum(p.numel() for p in conv_block(channels, 10).parameters())
    print(f"reads {channels:2} channels: {counted:4} = {2 * channels} + {9 * channels * 10}")

# %% [markdown]
# Each channel read costs $2 + 9·10 = 92$ parameters, so the last layer is the most expensive.
#
# **Break it, quietly.** The post-activation layer from above has the same output shape, and nothing raises.
# **Predict** its number of parameters.

# %% tags=["nbval-check-output"]
for name, layer in (("pre ", block), ("post", post)):
    print(name, tuple(layer(images).shape), sum(p.numel() for p in layer.parameters()), "parameters")

# %% [markdown]
# Its BN has 10 channels instead of 3: 20 + 270 = 290. The shape does not tell the two orders apart. The count does,
# unless $C = k$. The sign of the output always does.
#
# ## Your turn
#
# [Exercise 2](exercises/02_conv_block.ipynb), *easy, 10 minutes.* Write `conv_block(in_channels, out_channels)` from
# memory, in any style you like. The check copies weights into it and compares outputs, gradients and running
# statistics.

# %% [markdown]
# ## Recap
#
# - A layer is BN → ReLU → 3×3 convolution, $2C + 9Ck$ parameters; padding 1 keeps height and width, so that maps
#   can be joined.
# - BN brings every channel to mean 0 and variance 1: over the batch in training, by running averages in evaluation.
# - BN first gives every reader its own γ and β for the same map, and makes a bias useless.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional Networks](https://arxiv.org/abs/1608.06993),
# section 3 "Composite function" and section 4.2 · Ioffe and Szegedy 2015, [Batch
# Normalization](https://arxiv.org/abs/1502.03167) · He et al. 2016, [Identity
# Mappings](https://arxiv.org/abs/1603.05027) (pre-activation) · He et al. 2015, [Delving Deep into
# Rectifiers](https://arxiv.org/abs/1502.01852) (Kaiming start values) · [issue
# 50](https://github.com/liuzhuang13/DenseNet/issues/50) of the authors' repository (why BN comes first).
#
# **Next:** [03 · The dense block](03_dense_block.ipynb) puts these layers together.
