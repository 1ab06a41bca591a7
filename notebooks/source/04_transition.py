# %% [markdown]
# # 04 · The transition
#
# **A transition stands between two dense blocks: a 1×1 convolution thins the channels, and an average over 2×2
# pixels halves the map.**
#
# Afterwards you can
# - build `transition` and predict every shape inside it;
# - say what its convolution and its pooling do to one pixel, and why they may swap places;
# - follow the channels through a whole DenseNet and count what the compression θ saves.
#
# About 30 minutes. Read before: [02 conv_block](02_conv_block.ipynb) and [03 dense block](03_dense_block.ipynb).

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
from collections import Counter, OrderedDict
from dataclasses import replace

import torch
from torch import nn

from densenet_course import accounting
from densenet_course.figures import channels, show
from densenet_course.layers import DenseBlock
from densenet_course.models import DenseNet, class_densenet, densenet121

torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())

# %% [markdown]
# ## A block cannot shrink its maps
#
# Shapes are `(N, C, H, W)`: images, channels, height, width. Take the block of lesson 03: two layers, growth rate
# 10, an input of 3 channels and 8×8 pixels.
#
# **Predict:** which of the four numbers does the block change?

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
block = DenseBlock(2, 3, growth_rate=10)
maps = block(images).detach()  # (N, 3 + 2·10, H, W)
tuple(maps.shape)

# %% [markdown]
# Only the channels: 3 + 2·10 = 23. Height and width stay at 8, so a deep stack of blocks would carry large maps to
# the very end.
#
# Could a layer inside the block halve its map? Its input would still be there, waiting to be joined. **Predict**
# what joining 8×8 with 4×4 gives.

# %% tags=["raises-exception"]
half = nn.AvgPool2d(2)(images)  # (N, 3, H/2, W/2)
torch.cat([images, half], dim=1)

# %% [markdown]
# It cannot be done. Concatenation needs one height and one width for all maps. So every map of a block has the same
# size, and the shrinking must happen *between* blocks.
#
# ## The step between two blocks
#
# The paper calls this step a transition. It turns the block's $m$ maps into fewer:
#
# $$m \;\longrightarrow\; \lfloor \theta\, m \rfloor, \qquad 0 < \theta \le 1$$
#
# The paper's text names normalisation, 1×1 convolution and average pooling. The authors' code has a ReLU as well,
# after the normalisation, and so does ours.

# %%
def transition(in_channels, compression=0.5):
    out_channels = int(compression * in_channels)
    return nn.Sequential(OrderedDict(
        norm=nn.BatchNorm2d(in_channels),
        relu=nn.ReLU(),
        conv=nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),  # (N, ⌊θ·C⌋, H, W)
        pool=nn.AvgPool2d(kernel_size=2, stride=2),  # (N, ⌊θ·C⌋, ⌊H/2⌋, ⌊W/2⌋)
    ))


show(channels.transition_steps(transition(23)))

# %% [markdown]
# Channels go first, pixels second. In the picture a bar is as tall as its channels are many, and as wide as its map.
#
# **Predict** the shape after each of the four parts for 23 channels of 8×8. Half of 23 is 11.5: which way does it
# go?

# %% tags=["nbval-check-output"]
out = maps
for name, part in transition(23).named_children():
    out = part(out)
    print(f"{name:4}", tuple(out.shape))

# %% [markdown]
# Down, to 11: `int` cuts off, as the brackets ⌊ ⌋ ask. Normalisation and ReLU change no shape.
#
# θ is yours to choose. **Predict** the channels for θ = 1, ½ and ¼.

# %% tags=["nbval-check-output"]
for theta in (1, 0.5, 0.25):
    print(f"θ = {theta}: 23 → {transition(23, theta).conv.out_channels} channels")

# %% [markdown]
# With θ = 1 nothing is thinned, but the map is still halved. A network with θ < 1 is called **DenseNet-C**, C for
# compression, and the paper sets θ = 0.5.
#
# ## What a 1×1 convolution does
#
# For each pixel, every new channel is a weighted sum of the 23 old ones. **Predict:** how many weights does that
# take for 11 new channels?

# %% tags=["nbval-check-output"]
conv = transition(23).conv
print(tuple(conv.weight.shape), conv.weight.numel())

# %% [markdown]
# 11·23 = 253, and the last two dimensions of the weight are 1 and 1. Without them it is a plain matrix.
#
# If that is all, one matrix product over the channel axis must give what the convolution gives.

# %% tags=["nbval-check-output"]
matrix = conv.weight[:, :, 0, 0]  # (11, 23)
mixed = torch.einsum("oc,nchw->nohw", matrix, maps)  # (N, 11, H, W)
torch.allclose(mixed, conv(maps), atol=1e-5)

# %% [markdown]
# The same numbers: a 1×1 convolution is one matrix, applied to every pixel on its own.
#
# Now change a single pixel of the input. **Predict:** how many pixels of the output move, for 1×1 and for the 3×3 of
# lesson 02?

# %% tags=["nbval-check-output"]
changed = maps.clone()
changed[0, :, 3, 5] += 1
for layer in (conv, nn.Conv2d(23, 11, kernel_size=3, padding=1, bias=False)):
    difference = (layer(changed) - layer(maps))[0].abs().amax(dim=0)  # (H, W)
    print(layer.kernel_size, "pixels moved:", (difference > 1e-5).sum().item())

# %% [markdown]
# 1 against 9. The 1×1 convolution mixes channels and looks at no neighbour. Bringing neighbours together is left to
# the pooling.
#
# ## What the pooling does
#
# Pooling averages squares of 2×2 pixels and moves on by 2. **Predict** the new height for maps of 8, 7 and 2 pixels.

# %% tags=["nbval-check-output"]
for size in (8, 7, 2):
    print(size, "→", transition(23)(torch.randn(2, 23, size, size)).shape[-1])

# %% [markdown]
# 7 gives 3. Three pairs fit into seven rows, and the last row has no partner.
#
# The gradient shows which pixels count. **Predict** the 7×7 table of how much each pixel adds to the sum of all
# outputs.

# %% tags=["nbval-check-output"]
pixels = torch.zeros(1, 1, 7, 7, requires_grad=True)
nn.AvgPool2d(2)(pixels).sum().backward()
print(pixels.grad[0, 0])

# %% [markdown]
# Every paired pixel adds a quarter. The last row and the last column add nothing: 13 of 49 pixels are never read.
# This really happens on 28×28 images, as the table near the end of this lesson shows.

# %% [markdown]
# ## Why an average, and why not the maximum?
#
# Max pooling gives the same shapes. It differs in what flows back. **Predict:** what share of 8×8 pixels gets a
# gradient from each, and how much?

# %% tags=["nbval-check-output"]
for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2)):
    pixels = torch.randn(1, 1, 8, 8, requires_grad=True)
    pool(pixels).sum().backward()
    share = (pixels.grad != 0).float().mean()
    print(f"{type(pool).__name__}: {share:.0%} of the pixels get {pixels.grad.max():.2f} each")

# %% [markdown]
# The average teaches every pixel a little. The maximum teaches one pixel in four, and leaves three with nothing in
# this step.
#
# The second difference is the level. Take maps of mean 0 and standard deviation 1. **Predict** the mean after each
# pooling.

# %%
noise = torch.randn(64, 11, 32, 32)
means = [pool(noise).mean().item() for pool in (nn.Identity(), nn.AvgPool2d(2), nn.MaxPool2d(2))]
print("before {:z.2f}, average {:z.2f}, maximum {:z.2f}".format(*means))
assert abs(means[1] - means[0]) < 1e-4 and abs(means[2] - 1.03) < 0.02

# %% [markdown]
# The average keeps a map's level. The largest of four such values lies about 1.03 above it, though the next
# BatchNorm will take that shift away again.
#
# So neither finding proves the maximum worse. The paper uses one in its ImageNet stem, and reports no trial of the
# two in a transition. The third difference is plain arithmetic.

# %% [markdown]
# ## The pooling may go first
#
# A weighted sum and an average are both linear, so their order should not matter. A maximum is not linear.
# **Predict** the two answers.

# %% tags=["nbval-check-output"]
for pool in (nn.AvgPool2d(2), nn.MaxPool2d(2)):
    same = torch.allclose(pool(conv(maps)), conv(pool(maps)), atol=1e-5)
    print(f"{type(pool).__name__}: pooling first gives the same: {same}")

# %% [markdown]
# The smallest reason: four pixels 1, 2, 3, 4 and one weight, −1. **Predict** the maximum taken after the weight, and
# before it.

# %% tags=["nbval-check-output"]
four = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
print("after:", nn.MaxPool2d(2)(-four).item(), "before:", -nn.MaxPool2d(2)(four).item())

# %% [markdown]
# A negative weight turns the largest pixel into the smallest, so the maximum picks another one. An average has no
# favourite.
#
# Pooling first pays: the convolution then sees a quarter of the pixels. It costs $23 \cdot 11$ multiply-adds a
# pixel. **Predict** both totals, for 8×8 and for 4×4.

# %% tags=["nbval-check-output"]
for size in (8, 4):
    print(f"{size}×{size}:", accounting.conv_multiply_adds(23, 11, kernel_size=1, height=size, width=size))

# %% [markdown]
# 253·64 = 16,192 against 253·16 = 4,048: the same function for a quarter of the work. How much is that in a whole
# network? **Guess** the share of the transitions in DenseNet-121 on a 224×224 image.

# %% tags=["nbval-check-output"]
rows = accounting.trace(densenet121().config, 224)
work = sum(row.multiply_adds for row in rows)
mixing = sum(row.multiply_adds for row in rows if row.name.startswith("transition"))
print(f"{work:,} multiply-adds, {mixing / work:.1%} of them in transitions")
print(f"pooling first would save {0.75 * mixing / work:.1%}")

# %% [markdown]
# Pooling first would save 8.2 % and change nothing else. We keep the paper's order all the same. The 2.834 billion
# multiply-adds that torchvision states for this network follow it.

# %% [markdown]
# ## Break it: the next block expects too much
#
# The transition halves the channels, and it is easy to forget to tell the next block. **Predict:** which two numbers
# will the message hold?

# %% tags=["raises-exception"]
thinned = transition(23)(maps)  # (N, 11, H/2, W/2)
DenseBlock(2, 23, growth_rate=10)(thinned)

# %% [markdown]
# The first BatchNorm of the block was made for 23 channels and met 11. This slip is loud, and the fix is one line:
# `channels = int(compression * channels)` after each transition.

# %% [markdown]
# ## Break it: one transition too many
#
# Nothing follows the last block but the classifier, so no transition is needed there. Add one to DenseNet-121
# anyway. It brings 2·1,024 + 1,024·512 parameters. The final BatchNorm loses 2·512 and the classifier 512·1,000.
# **Predict** the change.

# %% tags=["nbval-check-output"]
model = densenet121()
correct = count(model)
model.features.norm5 = nn.Sequential(transition(1024), nn.BatchNorm2d(512))
model.classifier = nn.Linear(512, 1000)
print(f"{correct:,} → {count(model):,}, a change of {count(model) - correct:+,}")

# %% [markdown]
# 13,312 more in eight million, and no error: this slip is silent. It throws away half of the channels and three
# quarters of the pixels just before the decision. The last digits of the parameter count give it away.

# %% [markdown]
# ## Break it: an image that is too small
#
# The stem of the ImageNet network divides 28×28 by 4 and leaves 7×7. Three transitions follow. **Predict** each
# size.

# %% tags=["raises-exception"]
small = torch.randn(2, 64, 7, 7)
for number in (1, 2, 3):
    small = transition(small.shape[1])(small)  # (N, C/2, ⌊H/2⌋, ⌊W/2⌋)
    print(f"transition {number}:", tuple(small.shape))

# %% [markdown]
# 7 → 3 → 1, and then there is no 2×2 square left. PyTorch complains from deep inside the network, about one pooling.
# The package looks at the images first.

# %% tags=["raises-exception"]
densenet121(num_classes=10, in_channels=1)(torch.randn(2, 1, 28, 28))

# %% [markdown]
# 29 pixels are just enough: 8 → 4 → 2 → 1. For FashionMNIST there are two ways out. Lesson 06 enlarges the images;
# lesson 07 keeps them and takes a gentler stem.

# %% [markdown]
# ## Channels along the whole network
#
# DenseNet-121 starts with 64 channels. Its blocks have 6, 12, 24 and 16 layers that add 32 each, and θ = ½ between
# them. **Predict** the channels after every block and every transition.

# %% tags=["nbval-check-output"]
for theta in (0.5, 1.0):
    plan = accounting.channel_plan((6, 12, 24, 16), growth_rate=32, init_channels=64, compression=theta)
    print(f"θ = {theta}:", plan)

# %% [markdown]
# 64 + 6·32 = 256, halved to 128, and so on. Note the end: 1,024 channels reach the classifier with θ = ½, and 1,920
# with θ = 1.

# %%
config = densenet121().config
show(channels.channels_by_depth({"θ = 0.5": config, "θ = 1": replace(config, compression=1.0)}))

# %% [markdown]
# With θ = ½ the channels draw a sawtooth; with θ = 1 they only climb. Every layer of a later block reads fewer
# channels because of the cuts before it.
#
# θ acts inside the three transitions only. **Predict:** where does θ = ½ save more parameters, in the transitions or
# in the blocks?

# %% tags=["nbval-check-output"]
saved = Counter()
traces = [accounting.trace(replace(config, compression=theta), 224) for theta in (0.5, 1.0)]
for thin, full in zip(*traces, strict=True):
    print(f"{thin.name:12}{thin.parameters:>12,}{full.parameters:>12,}{full.parameters - thin.parameters:>12,} saved")
    saved[thin.name.rstrip("1234")] += full.parameters - thin.parameters
dict(saved)

# %% [markdown]
# In the blocks: 3.3 million, against 1.8 in the transitions and 0.9 in the head. No layer of a block was changed.
# Each one just has less to read.
#
# Formulas can be wrong. We build both networks and count what PyTorch holds.

# %% tags=["nbval-check-output"]
for theta in (0.5, 1.0):
    network = DenseNet(replace(config, compression=theta))
    print(f"θ = {theta}: model {count(network):,}, formulas {accounting.parameters(network.config):,}")

# %% [markdown]
# To the last digit: 7,978,856 and 13,908,584. θ = ½ saves 43 % of the parameters.
#
# ## Your turn
#
# [Exercise 4](exercises/04_transition.ipynb), *easy, 10 minutes.* Write `transition(in_channels, compression=0.5)`
# with the cell above out of sight. It must turn `(2, 23, 7, 7)` into `(2, 11, 3, 3)`. Then write a second version that
# pools *before* its convolution: does the check accept it, too?
#
# ## Shapes and parameters
#
# Here is the class network of lesson 07 on a 28×28 image, part by part: the live model against the formulas.

# %% tags=["nbval-check-output"]
model = class_densenet()
out = torch.randn(2, 1, 28, 28)
rows = accounting.trace(model.config, 28)[:-1]  # all but the head
for (name, part), row in zip(model.features.named_children(), rows, strict=False):
    out = part(out)
    agree = out.shape[1:] == (row.channels, row.height, row.width) and count(part) == row.parameters
    print(f"{name:12} {tuple(out.shape)!s:16} {count(part):>7,} parameters, formulas agree: {agree}")
print(f"whole network: {count(model):,}, formulas {accounting.parameters(model.config):,}")

# %% [markdown]
# The second transition does what you saw above: 7×7 becomes 3×3 and the last row and column are dropped. Two
# transitions join three blocks, and none comes after the last.
#
# ## Recap
#
# - Maps of different size cannot be joined, so a DenseNet shrinks between blocks: BN → ReLU → 1×1 convolution to
#   ⌊θ·C⌋ channels → 2×2 average.
# - The 1×1 convolution is one matrix for every pixel. The average is linear, so the two commute; a maximum would not.
# - θ = ½ cuts DenseNet-121 from 13.9 to 8.0 million parameters. There is one transition fewer than there are blocks.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), section 3, "Pooling layers" and "Compression", and table 1.
# - The authors' code, [liuzhuang13/DenseNet](https://github.com/liuzhuang13/DenseNet), `models/densenet.lua`: the ReLU,
#   and no convolution after the last block.
#
# **Next:** [05 bottleneck](05_bottleneck.ipynb), where the layers themselves become cheaper.
