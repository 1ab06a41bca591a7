# %% [markdown]
# # Exercise 14 · Bug hunt
#
# *Hard · 90 minutes · after [lesson 09](../09_memory_and_speed.ipynb) · 16 points*
#
# **Task.** Eight programs, each broken in one place. Each shows its symptom. Write the repaired program under the wanted
# name, with the same arguments. Change nothing but the bug. One point when the symptom is gone, one more when its
# cause is. The package's parts may be used. Bugs 1 to 7 need no lesson after [08](../08_densenet121.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import math
import re

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision import models

from densenet_course.checks import check, finish
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block, transition
from densenet_course.measure import saved_bytes

_ = torch.manual_seed(0)

# %% [markdown]
# ## Example
#
# A ninth bug, solved. A transition halves its channels:
#
# | | |
# |---|---|
# | the bug | `out_channels = in_channels / 2` |
# | the symptom | `nn.Conv2d` refuses 12.0 channels |
# | hides the symptom | `nn.LazyConv2d(12, …)`: the next block still counts 12.0 |
# | repairs the cause | `out_channels = in_channels // 2` |
#
# Shapes are `(N, C, H, W)`.

# %% [markdown]
# ## Your answer
#
# Run all cells once. From then on, run the check cell at the end after each repair: it looks at every program on its
# own, and marks those you have not touched with a dot.
#
# ### Bug 1 · `BlockWithHead`
#
# A dense block of plain layers. A linear head reads the mean of every map: the input's first, then the new ones in
# order.


# %%
class BrokenBlockWithHead(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate, num_classes):
        super().__init__()
        self.layers = nn.ModuleList(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))
        self.head = nn.Linear(in_channels + num_layers * growth_rate, num_classes)

    def forward(self, images):
        new_maps = []
        for layer in self.layers:
            new_maps.append(layer(torch.cat([images, *new_maps], dim=1)))  # (N, k, H, W)
        return self.head(torch.cat(new_maps, dim=1).mean(dim=(2, 3)))  # (N, num_classes)


# %%
try:
    BrokenBlockWithHead(2, 3, 10, 5)(torch.randn(2, 3, 8, 8))
except RuntimeError as error:
    print(error)

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-BlockWithHead", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BlockWithHead(nn.Module):
    """(N, in_channels, H, W) → (N, num_classes)"""

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int, num_classes: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))
        self.head = nn.Linear(in_channels + num_layers * growth_rate, num_classes)
        ### END SOLUTION

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        maps = [images]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, dim=1)))  # (N, k, H, W)
        return self.head(torch.cat(maps, dim=1).mean(dim=(2, 3)))  # (N, num_classes)
        ### END SOLUTION


# %% [markdown]
# ### Bug 2 · `CleanBlock`
#
# A dense block of plain layers: (N, C, H, W) → (N, C + L·k, H, W). A call may leave nothing behind, even one that
# fails, and one call may begin inside another: a hook on a layer may call the block.


# %%
class BrokenCleanBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        self.layers = nn.ModuleList(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))
        self.features = []

    def forward(self, images):
        self.features.append(images)
        for layer in self.layers:
            self.features.append(layer(torch.cat(self.features, dim=1)))  # (N, k, H, W)
        return torch.cat(self.features, dim=1)  # (N, C + L·k, H, W)


# %%
block, images = BrokenCleanBlock(2, 3, 10), torch.randn(2, 3, 8, 8)
print("first call:", tuple(block(images).shape))
try:
    block(images)
except RuntimeError as error:
    print("second call:", error)

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-CleanBlock", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CleanBlock(nn.Module):
    """(N, in_channels, H, W) → (N, in_channels + num_layers·growth_rate, H, W)"""

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))
        ### END SOLUTION

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        features = [images]
        for layer in self.layers:
            features.append(layer(torch.cat(features, dim=1)))  # (N, k, H, W)
        return torch.cat(features, dim=1)  # (N, C + L·k, H, W)
        ### END SOLUTION


# %% [markdown]
# ### Bug 3 · `densenet_bc`
#
# With the arguments below this should be DenseNet-121 with its 7,978,856 parameters.


# %%
def broken_densenet_bc(block_layers, growth_rate, num_classes):
    channels = 2 * growth_rate
    parts = [nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    parts.append(nn.MaxPool2d(3, stride=2, padding=1))  # (N, 2k, H/4, W/4)
    for i, num_layers in enumerate(block_layers, start=1):
        parts.append(DenseBlock(num_layers, channels, growth_rate))
        channels += num_layers * growth_rate
        if i < len(block_layers):
            parts.append(transition(channels))
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))


# %%
network = broken_densenet_bc((6, 12, 24, 16), 32, 1000)
print(f"{sum(p.numel() for p in network.parameters()):,}")

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-densenet_bc", "locked": false, "schema_version": 3, "solution": true, "task": false}
def densenet_bc(block_layers: list[int], growth_rate: int, num_classes: int) -> nn.Module:
    """(N, 3, H, W) → (N, num_classes)"""
    ### BEGIN SOLUTION
    channels = 2 * growth_rate
    parts = [nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    parts.append(nn.MaxPool2d(3, stride=2, padding=1))  # (N, 2k, H/4, W/4)
    for i, num_layers in enumerate(block_layers, start=1):
        parts.append(DenseBlock(num_layers, channels, growth_rate, BottleneckLayer))
        channels += num_layers * growth_rate
        if i < len(block_layers):
            parts.append(transition(channels))
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))
    ### END SOLUTION


# %% [markdown]
# ### Bug 4 · `densenet_28`
#
# A DenseNet of four blocks for grey images of 28×28. The wanted stem is CIFAR's: a bare 3×3 convolution with stride 1
# and padding 1, so that the first block sees every pixel.


# %%
def broken_densenet_28(block_layers, growth_rate, num_classes):
    channels = 2 * growth_rate
    parts = [nn.Conv2d(1, channels, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    parts.append(nn.MaxPool2d(3, stride=2, padding=1))  # (N, 2k, H/4, W/4)
    for i, num_layers in enumerate(block_layers, start=1):
        parts.append(DenseBlock(num_layers, channels, growth_rate, BottleneckLayer))
        channels += num_layers * growth_rate
        if i < len(block_layers):
            parts.append(transition(channels))
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))


# %%
try:
    broken_densenet_28((2, 2, 2, 2), 4, 10)(torch.randn(2, 1, 28, 28))
except RuntimeError as error:
    print(error)

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-densenet_28", "locked": false, "schema_version": 3, "solution": true, "task": false}
def densenet_28(block_layers: list[int], growth_rate: int, num_classes: int) -> nn.Module:
    """(N, 1, 28, 28) → (N, num_classes); other sizes from 8×8 up too"""
    ### BEGIN SOLUTION
    channels = 2 * growth_rate
    parts = [nn.Conv2d(1, channels, 3, padding=1, bias=False)]  # (N, 2k, H, W)
    for i, num_layers in enumerate(block_layers, start=1):
        parts.append(DenseBlock(num_layers, channels, growth_rate, BottleneckLayer))
        channels += num_layers * growth_rate
        if i < len(block_layers):
            parts.append(transition(channels))
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))
    ### END SOLUTION


# %% [markdown]
# ### Bug 5 · `one_hot_loss`
#
# Labels are one-hot rows, `categorical` in Keras: floats, or whole numbers as `F.one_hot` makes them. Each image has
# one right class. A network that knows nothing should start near ln(classes); the logits may be as large as they like.


# %%
def broken_one_hot_loss(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, labels.float())


# %%
for classes in (10, 100):
    labels = F.one_hot(torch.arange(20) % classes, classes)  # (N, classes)
    loss = broken_one_hot_loss(torch.zeros(20, classes), labels)
    print(f"{classes} classes: loss {loss.item():.3f}, expected {math.log(classes):.3f}")

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-one_hot_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def one_hot_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(N, classes), (N, classes) → a tensor with one number, the mean over the batch"""
    ### BEGIN SOLUTION
    return F.cross_entropy(logits, labels.float())
    ### END SOLUTION


# %% [markdown]
# ### Bug 6 · `block_maps`
#
# The output of each dense block of any DenseNet of torchvision's, in order. The model comes in eval mode and is left
# as it was.


# %%
def broken_block_maps(model, images):
    maps = []
    for block in list(model.children())[:-1]:
        images = block(images)
        maps.append(images)
    return maps


# %%
maps = broken_block_maps(models.densenet121().eval(), torch.randn(2, 3, 64, 64))
print("4 blocks,", len(maps), "output:", [tuple(m.shape) for m in maps])

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-block_maps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def block_maps(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """(N, 3, H, W) → for each dense block (N, C, H', W')"""
    ### BEGIN SOLUTION
    maps = []
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("denseblock"):
            maps.append(images)
    return maps
    ### END SOLUTION


# %% [markdown]
# ### Bug 7 · `load_old`
#
# torchvision's first files say `denselayer1.norm.1` where today's networks say `denselayer1.norm1`. Load either kind, in
# any order of keys, and return the model. A checkpoint that lacks a weight must raise an error; the dictionary stays
# as it came.


# %%
def broken_load_old(model, checkpoint):
    model.load_state_dict(checkpoint, strict=False)
    return model


# %%
def small_network():
    return models.DenseNet(growth_rate=4, block_config=(2, 3), num_init_features=8, bn_size=2, num_classes=5).eval()


def as_it_was(state):  # the keys of the first files, which had no counts of batches either
    names = [key for key in state if not key.endswith("tracked")]
    return {re.sub(r"(denselayer.*[a-z])([12])", r"\1.\2", key): state[key] for key in names}


saved = small_network()
old = as_it_was(saved.state_dict())
loaded = broken_load_old(small_network(), old)
images = torch.randn(1, 3, 32, 32)
print([key for key in old if "denselayer1." in key][5:7])
print("no error, same logits:", torch.allclose(saved(images), loaded(images)))

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-load_old", "locked": false, "schema_version": 3, "solution": true, "task": false}
def load_old(model: nn.Module, checkpoint: dict[str, torch.Tensor]) -> nn.Module:
    """Returns the model with the checkpoint's weights."""
    ### BEGIN SOLUTION
    pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    model.load_state_dict({pattern.sub(r"\1\2.", key): tensor for key, tensor in checkpoint.items()})
    return model
    ### END SOLUTION


# %% [markdown]
# ### Bug 8 · `SavingLayer`
#
# The same function, gradients and BatchNorm as `conv_block`, saving fewer bytes for the backward pass. Each forward
# pass in train mode counts one batch, at once.


# %%
class BrokenSavingLayer(nn.Module):
    def __init__(self, in_channels, growth_rate):
        super().__init__()
        self.layer = conv_block(in_channels, growth_rate)

    def forward(self, maps):
        return checkpoint(self.layer, maps, use_reentrant=False)


# %%
maps = torch.randn(4, 64, 8, 8).requires_grad_()
for layer in (conv_block(64, 8), BrokenSavingLayer(64, 8)):
    print(type(layer).__name__, saved_bytes(layer, maps), "bytes saved")
layer = BrokenSavingLayer(64, 8)
layer(maps).sum().backward()  # one training step
print("batches counted:", layer.layer.norm1.num_batches_tracked.item())

# %% nbgrader={"grade": false, "grade_id": "bug_hunt-answer-SavingLayer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SavingLayer(nn.Module):
    """(N, in_channels, H, W) → (N, growth_rate, H, W)"""

    def __init__(self, in_channels: int, growth_rate: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.layer = conv_block(in_channels, growth_rate)
        ### END SOLUTION

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        norm, _, conv = self.layer

        def compute(maps):  # the batch's statistics, and no memory of them: it may run twice
            maps = F.batch_norm(maps, None, None, norm.weight, norm.bias, training=True)
            return conv(maps.relu())

        if not self.training:
            return self.layer(maps)
        with torch.no_grad():
            norm(maps)  # moves the running statistics, once
        return checkpoint(compute, maps, use_reentrant=False)
        ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "bug_hunt-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("bug_hunt", BlockWithHead, CleanBlock, densenet_bc, densenet_28, one_hot_loss, block_maps, load_old, SavingLayer)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# 1. Which of two numbers is wrong: the one the head counts, or the one the block returns?
# 2. Who still holds the first call's maps when the second call begins?
# 3. What does `DenseBlock` build when it is told no kind of layer?
# 4. Write down the side of the maps: 28, then?
# 5. How many yes-or-no questions does the loss ask about one image?
# 6. How long is `list(model.children())`?
# 7. What does `strict=False` do with a key it does not know?
# 8. What runs twice in a training step, and which part of it must not?
# </details>
# <details><summary>A hint</summary>
#
# 1. A head cut to 20 channels runs, and never sees the input.
# 2. Emptying the list at either end is not enough. Who else needs to see it?
# 3. A bottleneck layer has two convolutions. The block takes the kind of layer as its last argument.
# 4. Only the stem is wrong. Anything that makes a large stem survive costs pixels or time.
# 5. The right loss takes logits, one softmax over all classes, and the mean over images.
# 6. Go one level down. Networks have two to five blocks, so go by name.
# 7. Rename first, then be strict. Layers go beyond 9, and transitions have `norm` and `conv` without numbers.
# 8. BatchNorm's output is as large as its input, so it has to be computed again. The second pass must save what the
#    first one did: keep BatchNorm's mode and buffers, or use `F.batch_norm` without them in both passes, and let the
#    statistics move once beside them.
# </details>
# <details><summary>Where to look</summary>
#
# 1. and 2. [Lesson 03](../03_dense_block.ipynb), "Break it": slips 2 and 3.
# 3. [Lesson 05](../05_bottleneck.ipynb), "Break it: DenseNet-121 from plain layers".
# 4. [Lesson 06](../06_small_densenet.ipynb), "Break it: 28 pixels".
# 5. [Lesson 06](../06_small_densenet.ipynb), "The loss before the first step".
# 6. [Lesson 08](../08_densenet121.ipynb), "torchvision's own layout".
# 7. [Lesson 08](../08_densenet121.ipynb), "Pretrained weights"; PyTorch's page on `Module.load_state_dict`.
# 8. [Lesson 09](../09_memory_and_speed.ipynb), "The trap"; [exercise 11](11_memory.ipynb); PyTorch's pages on
#    `torch.utils.checkpoint` and `torch.nn.functional.batch_norm`.
# </details>

# %% [markdown]
# ## To think about
#
# Three of the eight programs raise an error. The other five run, and some even train. Which single number would have
# shown each of those five?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "bug_hunt-score", "locked": true, "points": 16, "schema_version": 3, "solution": false, "task": false}
finish("bug_hunt", BlockWithHead, CleanBlock, densenet_bc, densenet_28, one_hot_loss, block_maps, load_old, SavingLayer)
