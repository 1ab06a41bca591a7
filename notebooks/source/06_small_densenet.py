# %% [markdown]
# # 06 · A small DenseNet, the d2l way
#
# **The book *Dive into Deep Learning* (d2l) writes a DenseNet in forty lines in which
# no layer is told how many channels it reads. Who finds that out, and what do such
# layers hide?**
#
# After this lesson you can
# - write a network as a `d2l.Classifier` and train it with `d2l.Trainer`;
# - say what a lazy layer knows before and after its first input, and what that hides;
# - work out the channels of every part, and the loss before the first step.
#
# About 40 minutes, after [03 dense block](03_dense_block.ipynb) and [04
# transition](04_transition.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import copy
import math

import torch
from d2l import torch as d2l
from torch import nn
from torch.utils.data import Subset
from torchvision import datasets, transforms

from densenet_course import accounting
from densenet_course.data import prepare
from densenet_course.figures import networks, results, show
from densenet_course.measure import count_parameters
from densenet_course.models import small_densenet

_ = torch.manual_seed(0)

# %% [markdown]
# ## The plan
#
# Four blocks of four plain layers (conv blocks as in lesson 02), growth rate 32, with
# three transitions between them. Inside a block every layer reads all maps made before
# it (lesson 03). The picture is measured on a live network, with one grey image of
# 96×96 pixels.

# %%
show(networks.shape_ribbon(small_densenet(), 96))

# %% [markdown]
# *Higher bars are larger maps, on a logarithmic scale; wider bars are more channels.
# The sides halve five times, 96 → 3 (the input is not drawn). The channels zigzag: each
# block appends 4·32 = 128, each transition halves.*
#
# | in the book | here | in lessons 02 to 04 |
# |---|---|---|
# | `conv_block` | `lazy_conv_block` | `conv_block` |
# | `DenseBlock` | `LazyDenseBlock` | `DenseBlock` |
# | `transition_block` | `lazy_transition` | `transition` |
# | `b1` | `lazy_stem` | |
# | the last `Sequential` | `lazy_head` | |
#
# ## A block that does not know its input
#
# A *lazy* layer is told at most its output channels. The first input tells it the rest.
# Shapes are `(N, C, H, W)`.

# %% tags=["nbval-check-output"]
def lazy_conv_block(growth_rate):
    conv = nn.LazyConv2d(growth_rate, kernel_size=3, padding=1)
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), conv)


class LazyDenseBlock(nn.Module):
    def __init__(self, num_layers, growth_rate):
        super().__init__()
        layers = [lazy_conv_block(growth_rate) for _ in range(num_layers)]
        self.layers = nn.ModuleList(layers)

    def forward(self, features):
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)  # (N, C + k, H, W)
        return features


tuple(LazyDenseBlock(2, growth_rate=10)(torch.randn(2, 3, 8, 8)).shape)

# %% [markdown]
# 3 + 2·10 channels, and nobody wrote 3 or 13 into the code. Look at the second layer's
# convolution before and after its first input.
#
# **Predict** what it says about its input channels each time.

# %% tags=["nbval-check-output", "hide-output"]
block = LazyDenseBlock(2, growth_rate=10)
second = block.layers[1][2]
print("before:", type(second).__name__, second.in_channels, second.weight)
block(torch.randn(2, 3, 8, 8))
print("after: ", type(second).__name__, second.in_channels, tuple(second.weight.shape))

# %% [markdown]
# Before, the weight has no shape and the layer claims 0 input channels. The first input
# turned it into an ordinary `Conv2d` with 13. So a wrong number of channels is not
# refused the first time; afterwards it is.
#
# **Predict** what happens when you count the parameters of a network that has seen no
# input.

# %% tags=["nbval-check-output", "hide-output"]
try:
    print(count_parameters(LazyDenseBlock(2, growth_rate=10)))
except ValueError as error:
    print(str(error).partition(" in ")[0])

# %% [markdown]
# PyTorch refuses: a weight without a shape has no number of elements. Counting the
# weights and initialising them must wait for the first input. (Loading need not:
# `load_state_dict` tells a lazy layer its shapes.)
#
# ## Stem, transition, head
#
# The other three parts, lazily. The stem is that of the ImageNet networks. The head
# averages every map to one number.

# %% tags=["nbval-check-output"]
def lazy_stem(channels):
    # (N, C, H, W) → (N, k0, H/2, W/2) → (N, k0, H/4, W/4)
    conv = nn.LazyConv2d(channels, kernel_size=7, stride=2, padding=3)
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return nn.Sequential(conv, nn.LazyBatchNorm2d(), nn.ReLU(), pool)


def lazy_transition(out_channels):
    conv = nn.LazyConv2d(out_channels, kernel_size=1)  # (N, θ·C, H, W)
    pool = nn.AvgPool2d(2)  # (N, θ·C, H/2, W/2)
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), conv, pool)


def lazy_head(num_classes):
    average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # (N, C)
    classifier = nn.LazyLinear(num_classes)
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), average, classifier)


tuple(lazy_stem(64)(torch.randn(2, 1, 96, 96)).shape)

# %% [markdown]
# 96 → 48 → 24.
#
# A lazy transition cannot halve channels it does not know. Something must still count:
# the constructor below keeps `channels` for this one purpose.
#
# ## The network
#
# d2l divides the work among three classes. A `Module` holds the network and says what
# one step computes. We use its subclass `Classifier`, which brings cross-entropy,
# accuracy and SGD with learning rate `lr`, and expects the layers in `self.net`. A
# `DataModule` hands out batches. A `Trainer` runs the epochs.

# %%
class LazyDenseNet(d2l.Classifier):
    def __init__(
        self, block_layers=(4, 4, 4, 4), growth_rate=32, init_channels=64,
        num_classes=10, lr=0.1,
    ):
        super().__init__()
        self.save_hyperparameters()  # d2l: self.lr = lr, and so on for all arguments
        parts, channels = [lazy_stem(init_channels)], init_channels
        for i, num_layers in enumerate(block_layers, start=1):
            parts.append(LazyDenseBlock(num_layers, growth_rate))
            channels += num_layers * growth_rate
            if i < len(block_layers):  # no transition after the last block
                channels //= 2
                parts.append(lazy_transition(channels))
        self.net = nn.Sequential(*parts, lazy_head(num_classes))

# %% [markdown]
# `layer_summary` sends one random image through and prints every shape. The picture
# above shows the plan with blocks of 4 layers and k = 32. **Predict** the channels that
# leave each part of a shorter one: blocks of 3, 3 and 5 layers, k = 24, a stem of 64.

# %% tags=["nbval-check-output", "hide-output"]
LazyDenseNet((3, 3, 5), growth_rate=24).layer_summary((1, 1, 96, 96))

# %% [markdown]
# 64 → 136 → 68 → 140 → 70 → 190, then 10 logits, one score for each class. From here on
# we take the book's plan. Once an image has been through, its parameters can be
# counted.

# %% tags=["nbval-check-output"]
model = LazyDenseNet()
model(torch.randn(2, 1, 96, 96))
print(f"{count_parameters(model):,}")

# %% [markdown]
# Some of them do nothing: the book's convolutions keep PyTorch's default, a bias. The
# stem has 64, 16 layers have 32 each, the transitions 96, 112 and 120.

# %% tags=["nbval-check-output"]
biases = sum(m.bias.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
print(f"{biases} biases; without them {count_parameters(model) - biases:,}")

# %% [markdown]
# A thousandth of the network. Every map is normalised before a convolution reads it,
# and normalising subtracts whatever constant a bias added. [Lesson
# 02](02_conv_block.ipynb) shows it on one block.
#
# ## The arithmetic, in the open
#
# The lazy layers found their input channels by running an image. You can do it on
# paper: add 4·32, halve, add, halve.

# %% tags=["nbval-check-output"]
plan = accounting.channel_plan((4, 4, 4, 4), growth_rate=32, init_channels=64)
print(plan)
for channels in plan[::2]:
    print(accounting.layer_inputs(channels, num_layers=4, growth_rate=32))

# %% [markdown]
# The lines below the plan say what every single layer reads. A reader of the lazy code
# meets none of these numbers.
#
# `small_densenet()` of the course's package is the same network with its channels
# written out. We copy the weights across, in order.
#
# **Predict**: are the outputs equal to the last bit, or only close?

# %% tags=["nbval-check-output", "hide-output"]
ours = small_densenet()
tensors = zip(ours.state_dict(), model.state_dict().values(), strict=True)
ours.load_state_dict(dict(tensors))
images = torch.randn(2, 1, 96, 96)
print(f"{count_parameters(ours):,} parameters")
print("in training mode:", torch.equal(ours(images), model(images)))
print("in evaluation mode:", torch.equal(ours.eval()(images), model.eval()(images)))

# %% [markdown]
# To the last bit: after its first input a lazy layer *is* the ordinary one.
# `strict=True` made sure that no tensor was left over, and `load_state_dict` that every
# shape fits.
#
# ## Average or flatten?
#
# Before the classifier there are 248 maps of 3×3 pixels. Averaging leaves 248 numbers,
# flattening 2,232.

# %% tags=["nbval-check-output"]
maps = model.net[:-1](images)  # (N, 248, 3, 3)
print(tuple(maps.shape))
for inputs in (248, maps[0].numel()):
    parameters = count_parameters(nn.Linear(inputs, 10))
    print(f"{inputs:>5} inputs: {parameters:>6,} parameters")

# %% [markdown]
# Averaging needs a ninth of the parameters. **Predict**: which of the sizes 29, 32, 64
# and 100 does our network take, though it has met only 96×96 so far?

# %% tags=["nbval-check-output", "hide-output"]
model.eval()
for side in (29, 32, 64, 100):
    print(side, tuple(model(torch.randn(2, 1, side, side)).shape))  # (N, 10)

# %% [markdown]
# All of them. With `Flatten`, only image sizes that end in 3×3 maps would work.
#
# ## Which size?
#
# FashionMNIST's images have 28×28 pixels, one less than the 29 that lesson 04 found. So
# they must be enlarged. The book takes 96×96. ImageNet's 224×224 would be usual for
# this network; the book says that it reduces them to 96 to save computation. The
# smallest power of two that works is 32.

# %% tags=["nbval-check-output"]
large, small = (accounting.multiply_adds(ours.config, side) for side in (96, 32))
print(f"{large:,} / {small:,} = {large / small:.2f}")

# %% [markdown]
# Nine times, as there are nine times the pixels. We train at 32×32, so that it takes
# seconds on a laptop.
#
# ## The data
#
# `prepare()` finds FashionMNIST on your machine, fetches it, or unpacks a small sample.
# d2l's own data class would download it once more, so ours says where it lies. It hands
# out a random part of each set: 5,120 of the training images, and 896 of the test
# images, which d2l calls validation.

# %% tags=["nbval-check-output"]
class FashionMNIST(d2l.FashionMNIST):
    def __init__(self, root, batch_size, side, sizes):
        d2l.DataModule.__init__(self, root, num_workers=0)  # read in this process
        self.save_hyperparameters()
        self.train = self.part(train=True, size=sizes[0])
        self.val = self.part(train=False, size=sizes[1])

    def part(self, train, size):
        steps = [transforms.Resize(self.side), transforms.ToTensor()]
        split = datasets.FashionMNIST(self.root, train, transforms.Compose(steps))
        return Subset(split, torch.randperm(len(split))[:size].tolist())


location = prepare()
data = FashionMNIST(str(location.root), batch_size=128, side=32, sizes=(5120, 896))
batch, labels = next(iter(data.train_dataloader()))
print(tuple(batch.shape), tuple(labels.shape), batch.min().item(), batch.max().item())
print(len(data.train_dataloader()), "and", len(data.val_dataloader()), "batches")

# %% [markdown]
# ## The loss before the first step
#
# Softmax turns 10 logits into probabilities; cross-entropy is −ln of the right class's
# probability.
#
# **Predict** the loss of a network that gives each class the same probability.

# %% tags=["nbval-check-output", "hide-output"]
even = model.loss(torch.zeros(128, 10), labels).item()
print(f"{even:.4f}")

# %% [markdown]
# −ln(1/10) = ln 10. A fresh network is not that even.
#
# d2l's `apply_init` does two things: one forward pass for the lazy layers, then initial
# weights by Xavier's rule (`d2l.init_cnn`, explained below) for all of `net`.
#
# **Predict**: does the loss start above or below 2.30?

# %% tags=["hide-output"]
model = LazyDenseNet(lr=0.1)
model.apply_init([batch], d2l.init_cnn)
logits = model(batch).detach()  # (N, 10)
start = model.loss(logits, labels).item()
print(f"loss {start:.2f}")

# %% [markdown]
# Above. Take the ten logits z as normal, with mean μ and variance σ². Then $e^z$ is
# $e^{μ + σ²/2}$ on average, and the logarithm of the sum of ten such terms is about ln
# 10 + μ + σ²/2. The right class's own logit, which is subtracted, is μ on average. So
# random logits cost about half their variance:

# %%
estimate = math.log(10) + logits.var(dim=1).mean().item() / 2
print(f"ln 10 + half the variance: {estimate:.2f}")

# %% tags=["remove-cell"]
assert abs(start - estimate) < 0.3 and start > 2.3

# %% [markdown]
# ## Break it: initial weights too early
#
# Each number that the stem writes sums 7·7 products (*fan-in*). If its window moved by
# one pixel at a time, each pixel would enter 64·7·7 such sums (*fan-out*; the rule
# ignores the stride of 2). Xavier's rule counts both, and draws evenly from ±√(6 / (49
# + 64·49)) = ±0.043. PyTorch's own counts the fan-in, ±1/√49 = ±0.143.
#
# **Predict** which one you get when `init_cnn` runs *before* the first input.

# %% tags=["nbval-check-output", "hide-output"]
early = LazyDenseNet()
early.net.apply(d2l.init_cnn)
early(batch)
print(f"early: within ±{early.net[0][0].weight.abs().max():.3f}")
print(f"after: within ±{model.net[0][0].weight.abs().max():.3f}")

# %% [markdown]
# PyTorch's. `init_cnn` looks for `Conv2d`, met `LazyConv2d`, and passed by without a
# word.
#
# ## Training
#
# Three epochs of 40 steps with `d2l.Trainer`. On a machine with CUDA it uses the GPU,
# elsewhere the CPU. Chance is 10 % correct.
#
# **Guess**: after these 120 steps, is the accuracy on images that the network has not
# seen nearer to 20, 50 or 80 %?

# %% tags=["hide-output"]
model.board.display = False  # the board would draw while training; we draw at the end
trainer = d2l.Trainer(max_epochs=3, num_gpus=d2l.num_gpus())
trainer.fit(model, data)
show(results.board_curves(model.board.data))
accuracy = float(model.board.data["val_acc"][-1].y)
error = math.sqrt(accuracy * (1 - accuracy) / len(data.val))
print(f"accuracy {accuracy:.3f}, standard error {error:.3f}")

# %% tags=["remove-cell"]
assert accuracy - 10 * error > 0.1

# %% [markdown]
# *A point of the training curve is the mean of 20 steps, so it begins well below the
# loss of the fresh network.* About 80 % when this page was stored: more than fifty
# standard errors above chance. (The standard error √(p(1 − p)/n) says how far the
# accuracy p of n images typically scatters from one sample of images to the next. The
# unit of a cross-entropy with ln is called the nat.)
#
# The two losses are measured in different modes, as d2l does it. **Predict**: for the
# same training images and the same weights, which mode gives the higher loss, and why?

# %% tags=["hide-output"]
def mean_loss(net):
    batches = data.train_dataloader()
    with torch.no_grad():
        return sum(model.loss(net(x), y).item() for x, y in batches) / len(batches)


net = model.cpu().net
after = mean_loss(copy.deepcopy(net).train()), mean_loss(net.eval())
last = {name: float(points[-1].y) for name, points in model.board.data.items()}
print(f"last 20 steps, while the weights changed: {last['train_loss']:.2f}")
print(f"all training images afterwards, in training mode: {after[0]:.2f}")
print(f"all training images afterwards, in evaluation mode: {after[1]:.2f}")
print(f"other images, in evaluation mode: {last['val_loss']:.2f}")

# %% [markdown]
# Evaluation mode gives the higher loss: there BatchNorm normalises by running averages,
# which may lag behind weights that still move fast. (The first line is above the
# second, since its weights were earlier ones.) Only the last two lines compare old and
# new images fairly; a gap between the curves is not yet overfitting.
#
# The book trains this network on all 60,000 images at 96×96, for 10 epochs of batches
# of 128, with `lr=0.01`. Its page ends at an accuracy of 0.893; the best epoch has
# 0.910. [Lesson 07](07_train_fashion_mnist.ipynb) gets further in minutes.
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
    live = f"{tuple(maps.shape[1:])!s:13} {count_parameters(part):>8,}"
    print(f"{row.name:12} {shape:>13} {row.parameters:>8,}   live: {live}")

# %% [markdown]
# ## Your turn
#
# [Exercise 6](exercises/06_channel_plan.ipynb), *easy, 10 minutes.* Write
# `channel_plan(block_layers, growth_rate, init_channels, compression=0.5)`: a list of
# the channels after the stem, then after every block and every transition.
#
# [Exercise 7](exercises/07_densenet.ipynb), *hard, 40 minutes.* Write the whole network
# for small images. Exercises 9 and 10 follow in lesson 07, exercise 8 in lesson 08.
#
# ## Recap
#
# - A lazy layer learns its input channels from its first input. Count and initialise
#   only after that.
# - 64 → 192 → 96 → 224 → 112 → 240 → 120 → 248: add 4·32 in a block, halve in a
#   transition; 758,226 parameters in all.
# - The loss starts above ln 10 = 2.30; the network needs images of at least 29×29
#   pixels.
#
# **Sources.** Zhang, Lipton, Li, Smola: *Dive into Deep Learning*, [section
# 8.7](https://d2l.ai/chapter_convolutional-modern/densenet.html), and its package d2l
# 1.0.3. Huang et al.: *Densely Connected Convolutional Networks*, CVPR 2017,
# [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
#
# **Next:** [07 train on FashionMNIST in class](07_train_fashion_mnist.ipynb).
