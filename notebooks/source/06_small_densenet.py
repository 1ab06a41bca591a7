# %% [markdown]
# # 06 · A small DenseNet, the d2l way
#
# **The DenseNet of *Dive into Deep Learning* (d2l) takes about forty lines, because lazy layers do its channel
# arithmetic: you write it, then do the arithmetic yourself.**
#
# Afterwards you can
# - write a network as a `d2l.Classifier` and train it with `d2l.Trainer`;
# - say what a lazy layer knows before and after its first input, and what that hides;
# - predict all 758,226 parameters, and the loss before the first step.
#
# About 40 minutes. Read before: [03 dense block](03_dense_block.ipynb) and [04 transition](04_transition.ipynb).

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import math

import torch
from d2l import torch as d2l
from torch import nn

from densenet_course import accounting
from densenet_course.data import prepare
from densenet_course.figures import describe, networks, show
from densenet_course.models import small_densenet

torch.manual_seed(0)


def count(network):
    return sum(p.numel() for p in network.parameters())


# %% [markdown]
# ## The plan
#
# Four blocks of four plain layers, growth rate 32, with three transitions between them. Inside a block, layer $\ell$
# reads all maps made before it:
#
# $$x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}])$$
#
# The picture is measured on a live network, with one grey image of 96×96 pixels.

# %%
show(networks.shape_ribbon(small_densenet(), 96))

# %% [markdown]
# The sides halve five times, 96 → 3. The channels zigzag: each block adds 4·32 = 128, each transition halves.
#
# ## A block that does not know its input
#
# A *lazy* layer is told its output channels only. The first input tells it the rest.
#
# Shapes are `(N, C, H, W)`. **Predict:** two layers that add 10 maps each, on 3 channels: which shape leaves?

# %% tags=["nbval-check-output"]
def lazy_conv_block(growth_rate):
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(growth_rate, kernel_size=3, padding=1))


class LazyDenseBlock(nn.Module):
    def __init__(self, num_layers, growth_rate):
        super().__init__()
        self.layers = nn.ModuleList(lazy_conv_block(growth_rate) for _ in range(num_layers))

    def forward(self, features):
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)  # (N, C + k, H, W)
        return features


tuple(LazyDenseBlock(2, growth_rate=10)(torch.randn(2, 3, 8, 8)).shape)  # (N, 3 + 2·10, H, W)

# %% [markdown]
# 23 = 3 + 2·10, and nobody wrote 3 or 13 into the code. Who found them out? Look at the second layer before and after
# its first input. **Predict** what it says about its input channels each time.

# %% tags=["nbval-check-output"]
block = LazyDenseBlock(2, growth_rate=10)
second = block.layers[1][2]
print("before:", type(second).__name__, second.in_channels, second.weight)
block(torch.randn(2, 3, 8, 8))
print("after: ", type(second).__name__, second.in_channels, tuple(second.weight.shape))

# %% [markdown]
# Before, the weight has no shape and the layer claims 0 input channels. The first input turned it into an ordinary
# `Conv2d` with 13. So a wrong number of channels is never refused: the layer takes what comes first.
#
# **Predict:** can you count the parameters of a network that has seen no input?

# %% tags=["nbval-check-output"]
try:
    print(count(LazyDenseBlock(2, growth_rate=10)))
except ValueError as error:
    print(str(error).partition(" in ")[0])

# %% [markdown]
# No. Counting, copying weights and setting first weights all come after the first input.
#
# ## Stem, transition, head
#
# The other three parts, lazily. The stem is that of the ImageNet networks. The head averages every map to one number.

# %% tags=["nbval-check-output"]
def lazy_stem(channels):
    conv = nn.LazyConv2d(channels, kernel_size=7, stride=2, padding=3)  # (N, k0, H/2, W/2)
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)  # (N, k0, H/4, W/4)
    return nn.Sequential(conv, nn.LazyBatchNorm2d(), nn.ReLU(), pool)


def lazy_transition(out_channels):
    conv = nn.LazyConv2d(out_channels, kernel_size=1)  # (N, θ·C, H, W)
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), conv, nn.AvgPool2d(2))  # (N, θ·C, H/2, W/2)


def lazy_head(num_classes):
    average = nn.AdaptiveAvgPool2d(1)  # (N, C, 1, 1)
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), average, nn.Flatten(), nn.LazyLinear(num_classes))


tuple(lazy_stem(64)(torch.randn(2, 1, 96, 96)).shape)

# %% [markdown]
# 96 → 48 → 24.
#
# A lazy transition cannot halve channels it does not know. Somebody must still count: the constructor below keeps
# `channels` for this one purpose.
#
# ## The network
#
# A `d2l.Classifier` brings cross-entropy, accuracy and an SGD optimizer with learning rate `lr`. It expects the layers
# in `self.net`.

# %%
class LazyDenseNet(d2l.Classifier):
    def __init__(self, block_layers=(4, 4, 4, 4), growth_rate=32, init_channels=64, num_classes=10, lr=0.1):
        super().__init__()
        self.save_hyperparameters()  # d2l's way of writing self.lr = lr and so on
        parts, channels = [lazy_stem(init_channels)], init_channels
        for i, num_layers in enumerate(block_layers, start=1):
            parts.append(LazyDenseBlock(num_layers, growth_rate))
            channels += num_layers * growth_rate
            if i < len(block_layers):  # no transition after the last block
                channels //= 2
                parts.append(lazy_transition(channels))
        self.net = nn.Sequential(*parts, lazy_head(num_classes))

# %% [markdown]
# **Predict** the channels that leave each part, from 64. `layer_summary` sends one random image through and prints
# every shape.

# %% tags=["nbval-check-output"]
model = LazyDenseNet()
model.layer_summary((1, 1, 96, 96))

# %% [markdown]
# 64 → 192 → 96 → 224 → 112 → 240 → 120 → 248, then 10 logits. Now that an image has been through, the parameters can
# be counted.

# %% tags=["nbval-check-output"]
print(f"{count(model):,}")

# %% [markdown]
# 758,226. Some of them are useless: the book's convolutions keep PyTorch's default, a bias.
# **Predict** the number of biases: 64 in the stem, 16 layers of 32, transitions to 96, 112 and 120.

# %% tags=["nbval-check-output"]
biases = sum(m.bias.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
print(f"{biases} biases; without them {count(model) - biases:,}")

# %% [markdown]
# 64 + 512 + 328 = 904, a thousandth of the network. Every map is normalised before a convolution reads it, and
# normalising subtracts whatever constant a bias added. [Lesson 02](02_conv_block.ipynb) shows it on one block.
#
# ## The arithmetic, in the open
#
# The lazy layers found their input channels by running an image. A pen does it too: add 4·32, halve, add, halve.

# %% tags=["nbval-check-output"]
plan = accounting.channel_plan((4, 4, 4, 4), growth_rate=32, init_channels=64)
print(plan)
print([accounting.layer_inputs(channels, num_layers=4, growth_rate=32) for channels in plan[::2]])

# %% [markdown]
# The second line says what every single layer reads. A reader of the lazy code meets none of these numbers.
#
# `small_densenet()` of the course's package is the same network with its channels written out. We copy the weights
# across, in order. **Predict:** are the outputs equal, or only alike?

# %% tags=["nbval-check-output"]
ours = small_densenet()
ours.load_state_dict(dict(zip(ours.state_dict(), model.state_dict().values(), strict=True)))
images = torch.randn(2, 1, 96, 96)
print(f"{count(ours):,} parameters")
print("same logits:", torch.allclose(ours(images), model(images), atol=1e-5))

# %% [markdown]
# The same function. `strict=True` made sure that no tensor was left over, and `load_state_dict` that every shape fits.
#
# ## Average or flatten?
#
# Before the classifier there are 248 maps of 3×3 pixels. Averaging leaves 248 numbers, flattening 2,232.
# **Predict** the parameters of the classifier each way, biases included.

# %% tags=["nbval-check-output"]
maps = model.net[:-1](images)  # (N, 248, 3, 3)
print(tuple(maps.shape))
for inputs in (248, maps[0].numel()):
    print(f"{inputs:>5} inputs: {count(nn.Linear(inputs, 10)):>6,} parameters")

# %% [markdown]
# 2,490 against 22,330. And averaging has a second merit: the classifier no longer depends on the image's size.
# **Predict:** which of these sizes does our network take, though it met only 96×96 so far?

# %% tags=["nbval-check-output"]
model.eval()
for side in (29, 32, 64, 100):
    print(side, tuple(model(torch.randn(2, 1, side, side)).shape))  # (N, 10)

# %% [markdown]
# All of them. With `Flatten` alone only sizes that end in 3×3 would pass.
#
# ## Break it: 28 pixels
#
# FashionMNIST's images have 28×28 pixels, one less than 29. **Predict** the sides: 28 → 14 → 7 in the stem, then
# three halvings, rounded down.

# %% tags=["nbval-check-output"]
for network in (model, ours):
    try:
        network(torch.randn(2, 1, 28, 28))
    except (RuntimeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")

# %% [markdown]
# 7 → 3 → 1, and a 1×1 map cannot be halved. PyTorch reports what the last pooling saw. The package reports the
# cause. With 29 pixels the stem rounds up to 8, then 8 → 4 → 2 → 1.
#
# That is why the book enlarges the images to 96×96. What does that cost? **Predict** the ratio of multiply-adds between
# 96×96 and 32×32.

# %% tags=["nbval-check-output"]
large, small = (accounting.multiply_adds(ours.config, side) for side in (96, 32))
print(f"{large:,} / {small:,} = {large / small:.2f}")

# %% [markdown]
# Nine times, as there are nine times the pixels. We train at 32×32, so that it takes seconds on a laptop.
#
# ## The data
#
# `prepare()` finds FashionMNIST on your machine, fetches it, or unpacks a small sample. d2l's data class takes no
# folder: its base class has a default. We change that default, and read in this process instead of in four more.

# %%
location = prepare()
d2l.DataModule.__init__.__defaults__ = (str(location.root), 0)  # root and num_workers, in d2l: "../data" and 4
data = d2l.FashionMNIST(batch_size=128, resize=(96, 96))

# %% [markdown]
# **Predict** the shape of a batch, and its smallest and largest value.

# %% tags=["nbval-check-output"]
batch, labels = next(iter(data.val_dataloader()))  # (N, 1, 96, 96), (N,)
print(tuple(batch.shape), tuple(labels.shape), batch.min().item(), batch.max().item())

# %% [markdown]
# 128 grey images from 0 to 1. For the training below we take 32×32 pixels, and a random part of each split: 5,120
# images make 40 batches, 896 make 7.

# %% tags=["nbval-check-output"]
data = d2l.FashionMNIST(batch_size=128, resize=(32, 32))
data.train = torch.utils.data.Subset(data.train, torch.randperm(len(data.train))[:5120].tolist())
data.val = torch.utils.data.Subset(data.val, torch.randperm(len(data.val))[:896].tolist())
print(len(data.train_dataloader()), len(data.val_dataloader()))

# %% [markdown]
# ## The loss before the first step
#
# Softmax turns 10 logits into probabilities; cross-entropy is −ln of the right class's share. **Predict** the loss of a
# network that gives each class the same probability.

# %% tags=["nbval-check-output"]
batch, labels = next(iter(data.train_dataloader()))  # (N, 1, 32, 32), (N,)
print(f"{model.loss(torch.zeros(128, 10), labels).item():.4f}  ln 10 = {math.log(10):.4f}")

# %% [markdown]
# −ln(1/10) = ln 10 = 2.3026. A fresh network is not that even: it has random opinions.
#
# d2l sets first weights with `apply_init`: one forward for the lazy layers, then Xavier's rule (`d2l.init_cnn`) for all
# of `net`. **Predict:** does the loss start above or below 2.30?

# %%
model = LazyDenseNet(lr=0.1)
model.apply_init([batch], d2l.init_cnn)
logits = model(batch).detach()  # (N, 10)
start, half_variance = model.loss(logits, labels).item(), logits.var(dim=1).mean().item() / 2
print(f"loss {start:.2f}; ln 10 + half the variance of the logits = {math.log(10) + half_variance:.2f}")
assert abs(start - math.log(10) - half_variance) < 0.3 and start > 2.3

# %% [markdown]
# Above. Opinions that do not depend on the label cost about half their variance. A start at 10, say, would mean logits
# that are far too large.
#
# ## Break it: first weights too early
#
# Xavier's rule draws the stem's weights from ±√(6 / (49 + 64·49)) = ±0.043. PyTorch's own rule: ±1/√49 = ±0.143.
# **Predict** which one you get when `init_cnn` runs *before* the first input.

# %% tags=["nbval-check-output"]
early = LazyDenseNet()
early.net.apply(d2l.init_cnn)
early(batch)
print(f"early: within ±{early.net[0][0].weight.abs().max():.3f}")
print(f"after: within ±{model.net[0][0].weight.abs().max():.3f}")

# %% [markdown]
# PyTorch's. `init_cnn` looks for `Conv2d`, met `LazyConv2d`, and passed by without a word.
#
# ## Training
#
# Three epochs of 40 steps with `d2l.Trainer`. On a machine with CUDA it uses the GPU, elsewhere the CPU. Chance is 10 %
# correct. **Predict** the accuracy on images the network has not seen.

# %%
model.board = d2l.ProgressBoard(figsize=(5, 3), ylabel="loss, or share correct")
trainer = d2l.Trainer(max_epochs=3, num_gpus=d2l.num_gpus())
trainer.fit(model, data)
result = {name: points[-1].y for name, points in model.board.data.items()}
model.board.fig.set_layout_engine("constrained")  # room for the axis labels
show(describe(model.board.fig, f"Three epochs: the training loss falls from {model.board.data['train_loss'][0].y:.2f} "
              f"to {result['train_loss']:.2f}; validation accuracy ends at {result['val_acc']:.2f}."))

# %% [markdown]
# The loss falls and the accuracy rises. A point of the training curve is the mean of 20 steps, so the curve begins well
# below the loss of the fresh network. The last numbers:

# %%
error = math.sqrt(result["val_acc"] * (1 - result["val_acc"]) / len(data.val))
print({name: round(float(value), 3) for name, value in result.items()}, f"standard error {error:.3f}")
assert result["val_acc"] - 10 * error > 0.1

# %% [markdown]
# Far above 10 %: more than ten standard errors. The whole set, more epochs and a better recipe bring much more:
# [lesson 07](07_train_fashion_mnist.ipynb) does that.
#
# ## Shapes and parameters in one table
#
# Left the formulas, right the lazy network, for one 96×96 image.

# %% tags=["nbval-check-output"]
maps = torch.randn(1, 1, 96, 96)
model.cpu().eval()
for row, part in zip(accounting.trace(ours.config, 96), model.net, strict=True):
    maps = part(maps)
    shape = f"{row.channels} × {row.height} × {row.width}"
    print(f"{row.name:12} {shape:>13} {row.parameters:>8,}   live: {tuple(maps.shape[1:])!s:13} {count(part):>8,}")

# %% [markdown]
# ## Your turn
#
# [Exercise 6](exercises/06_channel_plan.ipynb), *easy, 10 minutes.* Write `channel_plan(block_layers, growth_rate,
# init_channels, compression=0.5)`: a list of the channels after the stem, then after every block and every transition.
#
# [Exercise 7](exercises/07_densenet.ipynb), *hard, 40 minutes.* Write the whole network for small images.
#
# ## Recap
#
# - A lazy layer learns its input channels from its first input. Count, copy and initialise only after that.
# - 64 → 192 → 96 → 224 → 112 → 240 → 120 → 248: add L·k in a block, halve in a transition; 758,226 parameters in all.
# - Loss starts a little above ln 10 = 2.30; the network needs images of at least 29×29 pixels.
#
# **Sources**
# - Zhang, Lipton, Li, Smola: *Dive into Deep Learning*,
#   [section 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html), and its package d2l 1.0.3.
# - Huang et al.: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
#
# Next: [07 train on FashionMNIST in class](07_train_fashion_mnist.ipynb).
