# %% [markdown]
# # 04 · The transition
#
# **A dense block cannot shrink its maps: what does, and what does it cost or save?**
#
# After this lesson you can
# - build `transition` and predict every shape inside it;
# - say what its convolution and its pooling do to one pixel, and in which order they
#   can come;
# - follow the channels through a whole DenseNet, and say what the compression θ saves.
#
# About 30 minutes, after [03 dense block](03_dense_block.ipynb). Shapes are `(N, C, H,
# W)`: images, channels, height, width.

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

import torch
from torch import nn

from densenet_course import accounting
from densenet_course.explorer import explore
from densenet_course.figures import show
from densenet_course.figures.channels import channels_by_depth, transition_steps
from densenet_course.layers import DenseBlock
from densenet_course.lesson import expected
from densenet_course.models import DenseNet, densenet121


def count(module):
    return sum(p.numel() for p in module.parameters())


_ = torch.manual_seed(0)

# %% [markdown]
# ## Between two blocks
#
# All maps of a dense block have one size, because only equal sizes can be concatenated
# (lesson 01). So a DenseNet shrinks its maps between blocks. The paper's figure 2 shows
# the plan: block, transition, block, transition, block. Here is DenseNet-121:
#
# ![The network as a row of bars, wide for many channels and tall for large maps. Blocks
# grow wider, transitions halve width and height between
# them.](../figures/shape_ribbon.svg)
#
# *A bar's width shows the channels, its height the side of the maps: one step lower for
# each halving.* Between two blocks, a transition turns the $C$ maps of the block before
# into $\lfloor\theta C\rfloor$, fewer unless θ = 1:
#
# $$C \;\longrightarrow\; \lfloor \theta\, C \rfloor, \qquad 0 < \theta \le 1$$
#
# The paper's text names normalisation, 1×1 convolution and average pooling. The
# authors' code has a ReLU as well, after the normalisation, and so does ours.


# %%
def transition(in_channels, compression=0.5):
    out_channels = int(compression * in_channels)
    return nn.Sequential(OrderedDict(
        norm=nn.BatchNorm2d(in_channels),
        relu=nn.ReLU(),
        conv=nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
        pool=nn.AvgPool2d(kernel_size=2, stride=2),
    ))


# %% [markdown]
# Take the block of lesson 03: 3 channels of 8×8 pixels in, two layers, growth rate 10.
# **Predict** the shape after the block, and after each of the four parts of
# `transition(23)`.

# %% tags=["nbval-check-output", "hide-output"]
images = torch.randn(2, 3, 8, 8)
maps = DenseBlock(2, 3, growth_rate=10)(images).detach()
print("block", tuple(maps.shape))
out = maps
for name, part in transition(23).named_children():
    out = part(out)
    print(f"{name:5}", tuple(out.shape))

# %% [markdown]
# 23 becomes 11 and not 11.5 or 12: `int` cuts off, as the brackets ⌊ ⌋ ask.
# Normalisation and ReLU change no shape.

# %%
show(transition_steps(transition(23)))

# %% [markdown]
# *Channels go first, pixels second. Width shows channels; height shows the side of the
# maps, here in proportion.*
#
# With θ = 1 the number of channels stays, and height and width are still halved. A
# network with θ < 1 is called **DenseNet-C**, C for compression. The paper sets θ =
# 0.5. What three values leave of 23 channels:

# %% tags=["nbval-check-output"]
for theta in (1, 0.5, 0.25):
    print(f"θ = {theta}: 23 → {transition(23, theta).conv.out_channels} channels")

# %% [markdown]
# ## What a 1×1 convolution does
#
# For each pixel, every new channel is a weighted sum of the 23 old ones: 11·23 weights.
# The last two dimensions of the weight are 1 and 1. Without them it is a plain matrix,
# and one matrix product over the channel axis gives what the convolution gives. (In the
# letters of `einsum`, `o` is a new channel and `c` an old one, over which it sums; `n`,
# `h` and `w` are image, row and column.)

# %% tags=["nbval-check-output"]
conv = transition(23).conv
matrix = conv.weight[:, :, 0, 0]  # (11, 23)
mixed = torch.einsum("oc,nchw->nohw", matrix, maps)  # (N, 11, H, W)
print(tuple(conv.weight.shape), torch.allclose(mixed, conv(maps), atol=1e-5))

# %% [markdown]
# Now change a single pixel of the input. **Predict**: how many pixels of the output
# change, for the 1×1 convolution and for the 3×3 of lesson 02? And after the whole
# transition, in training mode?

# %% tags=["nbval-check-output", "hide-output"]
changed = maps.clone()
changed[0, :, 3, 5] += 1
three = nn.Conv2d(23, 11, kernel_size=3, padding=1, bias=False)
for name, part in (("1×1", conv), ("3×3", three), ("transition", transition(23))):
    difference = (part(changed) - part(maps))[0].abs().amax(dim=0)  # (H, W)
    print(f"{name:10}", (difference > 1e-6).sum().item(), "of", difference.numel())

# %% [markdown]
# 1 against 9. The 1×1 convolution mixes channels and looks at no neighbour; bringing
# neighbours together is left to the pooling. And if you said 1 for the transition, you
# forgot BatchNorm: in training mode the pixel changes the mean of its channel, and so
# every output.
#
# ## What the pooling does
#
# Pooling averages 2×2 pixels at a time; with stride 2 the squares do not overlap. The
# gradient shows which pixels count: how much does each add to the sum of all outputs?
# **Predict** how many of the 49 pixels of a 7×7 map add nothing.

# %% tags=["nbval-check-output", "hide-output"]
pixels = torch.zeros(1, 1, 7, 7, requires_grad=True)
nn.AvgPool2d(2)(pixels).sum().backward()
print((pixels.grad == 0).sum().item(), "of 49 add nothing")
print(pixels.grad[0, 0])

# %% [markdown]
# Thirteen: three pairs fit into seven rows, so the last row and the last column have no
# partner and are never read. This really happens on 28×28 images.
#
# In the trained network of lesson 07 it happens in transition 2. The explorer opens
# there, and shows below the network what each of the four steps makes of the maps.
# Where no script runs, a still picture shows these steps: 7×7 pixels up to the
# convolution, 3×3 after the pooling.

# %%
explore(step=3)

# %% [markdown]
# ## Average or maximum?
#
# Max pooling gives the same shapes. **Predict** what flows back: what share of 8×8
# pixels gets a gradient from each, and how much?

# %% tags=["nbval-check-output", "hide-output"]
for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2)):
    pixels = torch.randn(1, 1, 8, 8, requires_grad=True)
    pool(pixels).sum().backward()
    share = (pixels.grad != 0).float().mean()
    largest = pixels.grad.max()
    print(f"{type(pool).__name__}: {share:.0%} of the pixels get {largest:.2f} each")

# %% [markdown]
# With the average every pixel gets a quarter of the gradient. With the maximum one
# pixel in four gets all of it, and the other three get none in this step. The maximum
# also shifts the level: of four normally distributed values of mean 0 and standard
# deviation 1, the largest is about 1 on average.

# %% tags=["nbval-check-output"]
noise = torch.randn(64, 11, 32, 32)
means = [pool(noise).mean().item() for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2))]
print(f"mean after average {abs(means[0]):.2f}, after maximum {means[1]:.2f}")

# %% tags=["remove-cell"]
assert abs(means[0] - noise.mean()) < 1e-4 and abs(means[1] - 1.03) < 0.02

# %% [markdown]
# The next BatchNorm takes that shift away again, and a gradient for fewer pixels need
# not train worse. So neither finding proves the maximum worse. The paper uses max
# pooling in its ImageNet stem, and reports no trial of the two in a transition. The
# next difference can be proved.
#
# ## Which comes first?
#
# **Predict** for average and for maximum: does pooling *before* the 1×1 convolution
# give the same?

# %% tags=["nbval-check-output", "hide-output"]
for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2)):
    same = torch.allclose(pool(conv(maps)), conv(pool(maps)), atol=1e-5)
    print(f"{type(pool).__name__}: pooling first gives the same: {same}")

# %% [markdown]
# The convolution sums over channels, with the same weights at every pixel. The average
# sums over pixels, alike in every channel. Such sums may be taken in either order. The
# smallest counterexample for the maximum: four pixels 1, 2, 3, 4 and one weight, −1.
# After the weight the maximum is −1. Taken before it, the maximum is 4, and the weight
# makes it −4. A negative weight turns the largest pixel into the smallest.
#
# Pooling first pays: the convolution then sees a quarter of the pixels. How much is
# that in a whole network? We count *multiply-adds*: a 1×1 convolution needs one for
# each input channel, output channel and pixel. In DenseNet-121, on a 224×224 image:

# %% tags=["nbval-check-output"]
rows = accounting.trace(densenet121().config, 224)
work = sum(row.multiply_adds for row in rows)
mixing = sum(row.multiply_adds for row in rows if row.name.startswith("transition"))
print(f"{work:,} multiply-adds, {mixing / work:.1%} of them in transitions")
print(f"pooling first would save {0.75 * mixing / work:.1%}")

# %% [markdown]
# The same function for 8.2 % less. We keep the paper's order all the same. Only in this
# order does our count match the 2.834 billion multiply-adds that torchvision states for
# this network.
#
# ## Break it: the next block expects too much
#
# The transition halves the channels, and it is easy to forget to tell the next block.
# **Predict** the two numbers in the message.

# %% tags=["nbval-check-output", "hide-output"]
fewer = transition(23)(maps)
with expected(RuntimeError):
    DenseBlock(2, 23, growth_rate=10)(fewer)

# %% [markdown]
# The first BatchNorm of the block was made for 23 channels and met 11. This slip is
# loud, and the fix is to keep count: `in_channels = int(compression * in_channels)`
# after each transition.
#
# ## Break it: one transition too many
#
# Nothing follows the last block but the classifier, so no transition is needed there.
# Add one to DenseNet-121 anyway: it brings 1,024·512 weights, and the classifier, which
# makes one score (*logit*) for each of 1,000 classes, shrinks. **Predict**: does the
# network get larger or smaller, and does anything fail?

# %% tags=["nbval-check-output", "hide-output"]
model = densenet121()
correct = count(model)
# norm5 is the BatchNorm after the last block
model.features.norm5 = nn.Sequential(transition(1024), nn.BatchNorm2d(512))
model.classifier = nn.Linear(512, 1000)
print(f"{correct:,} → {count(model):,}, a change of {count(model) - correct:+,}")
print("logits:", tuple(model(torch.randn(2, 3, 64, 64)).shape))

# %% [markdown]
# 13,312 more in eight million, and no error: this slip is silent. The transition brings
# 2·1,024 + 1,024·512; the final BatchNorm loses 2·512 and the classifier 512·1,000.
# Just before the decision 1,024 channels are squeezed into 512, and height and width
# are halved once more. The logits keep their shape; the parameter count gives the slip
# away, or the shape in front of the classifier.
#
# ## Break it: an image that is too small
#
# The stem of the ImageNet network halves height and width twice, and rounds up. Three
# transitions follow, which round down. (Blocks change no size; the cell leaves them
# out.) **Predict**: which of them fails on a 28×28 image?

# %% tags=["nbval-check-output", "hide-output"]
small = torch.randn(2, 64, 7, 7)  # 28 → 14 → 7
with expected(RuntimeError):
    for number in (1, 2, 3):
        small = transition(small.shape[1])(small)
        print(f"transition {number}:", tuple(small.shape))

# %% [markdown]
# The third: 7 → 3 → 1, and then there is no 2×2 square left. PyTorch complains from
# deep inside the network, about one pooling. The package looks at the images first:

# %% tags=["nbval-check-output"]
with expected(ValueError):
    densenet121(num_classes=10, in_channels=1)(torch.randn(2, 1, 28, 28))

# %% [markdown]
# 29 pixels are just enough: the stem makes 15 and then 8 pixels a side, the transitions
# 4, 2 and 1. For FashionMNIST there are two ways out. Lesson 06 enlarges the images;
# lesson 07 keeps them and takes a gentler stem.
#
# ## Channels along the whole network
#
# DenseNet-121 starts with 64 channels. Its blocks have 6, 12, 24 and 16 layers that
# append 32 each, with a transition between two blocks. **Predict** the channels that
# would reach the classifier without compression, instead of 1,024.

# %% tags=["nbval-check-output", "hide-output"]
shape = {"growth_rate": 32, "init_channels": 64}
for theta in (0.5, 1.0):
    plan = accounting.channel_plan((6, 12, 24, 16), compression=theta, **shape)
    print(f"θ = {theta}:", plan)

# %% [markdown]
# 64 + 6·32 = 256, halved to 128, and so on to 1,024. Without compression, 64 + 58·32 =
# 1,920.

# %%
config = densenet121().config
whole = replace(config, compression=1.0)
show(channels_by_depth({"θ = 0.5": config, "θ = 1": whole}))

# %% [markdown]
# *With θ = ½ the channels draw a sawtooth. With θ = 1 they climb in every block and
# stay level in the transitions (black squares: before and after).*
#
# θ acts inside the three transitions only. **Predict**: where does θ = ½ save more
# parameters, in the transitions or in the blocks?


# %% tags=["nbval-check-output", "hide-output"]
def held(rows, kind):
    return sum(row.parameters for row in rows if row.name.startswith(kind))


few, many = accounting.trace(config, 224), accounting.trace(whole, 224)
for kind in ("denseblock", "transition"):
    before, after = held(many, kind), held(few, kind)
    print(f"{kind + 's':12} {before:>10,} → {after:>9,}: {before - after:,} saved")

# %% [markdown]
# In the blocks. θ stands in no layer of a block. But what enters blocks 2 to 4 is 128,
# 256 or 512 channels instead of 256, 640 or 1,408, and each layer of the block reads
# it: 12·128 + 24·384 + 16·896 = 25,088 channels fewer in all. Each costs 130
# parameters, $2 + 128$, because these layers have the inner stage of lesson 05. The
# rest is saved in the head: the last BatchNorm and the classifier read 1,024 channels
# instead of 1,920. Formulas can be wrong, so we build both networks and count what
# PyTorch holds:

# %% tags=["nbval-check-output"]
for kind in (config, whole):
    live, formula = count(DenseNet(kind)), accounting.parameters(kind)
    print(f"θ = {kind.compression}: model {live:,}, formulas {formula:,}")
saved = 1 - accounting.parameters(config) / accounting.parameters(whole)
print(f"θ = 0.5 saves {saved:.0%}")

# %% [markdown]
# ## Your turn
#
# [Exercise 4](exercises/04_transition.ipynb), *easy, 10 minutes.* Write
# `transition(in_channels, compression=0.5)` with our `transition` out of sight. It must
# turn `(2, 23, 7, 7)` into `(2, 11, 3, 3)`. Then write a second version that pools
# *before* its convolution: does the check accept it, too?

# %% [markdown]
# ## Recap
#
# - A DenseNet shrinks between blocks: BN → ReLU → 1×1 convolution to ⌊θ·C⌋ channels →
#   2×2 average. There is one transition fewer than there are blocks.
# - The 1×1 convolution is one matrix for every pixel. It sums over channels and the
#   average over pixels, so the two can change places; with a maximum they cannot.
# - θ = ½ cuts DenseNet-121 from 13.9 to 8.0 million parameters; more than half of what
#   is saved lies in the blocks.
#
# **Sources.** Huang et al. 2017, [Densely Connected Convolutional
# Networks](https://arxiv.org/abs/1608.06993), section 3, "Pooling layers" and
# "Compression", figure 2 and table 1 · the authors' code,
# [liuzhuang13/DenseNet](https://github.com/liuzhuang13/DenseNet),
# `models/densenet.lua`: the ReLU, and no convolution after the last block.
#
# **Next:** [05 bottleneck](05_bottleneck.ipynb), where the layers themselves become
# cheaper.
