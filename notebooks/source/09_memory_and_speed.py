# %% [markdown]
# # 09 · Memory and speed
#
# **DenseNet-121 has a third of ResNet-50's parameters: does it need a third of the
# memory to train, and what can be done about it?**
#
# After this lesson you can
# - work out by hand what a block keeps for its backward pass, and check it with a short
#   hook;
# - recompute a layer instead of keeping its inside, without upsetting its BatchNorm;
# - say what `efficient`, bf16, channels-last and `torch.compile` save and cost, and
#   measure it.
#
# About 55 minutes, 30 for part one and 25 for part two, which is optional; after [05
# the bottleneck](05_bottleneck.ipynb) and [07 training](07_train_fashion_mnist.ipynb).

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
import time
from statistics import median

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course import results
from densenet_course.accounting import channels_after, layer_inputs
from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.efficient import EfficientDenseBlock
from densenet_course.figures import memory as pictures
from densenet_course.figures import show
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block
from densenet_course.lesson import cold_compile
from densenet_course.measure import compare_times, in_turns, saved_bytes, training_step
from densenet_course.models import class_densenet, densenet121
from densenet_course.training import BF16, FP32, FP32_CHANNELS_LAST, has_bf16

_ = torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# # Part one: memory
#
# ## What training keeps
#
# The backward pass needs results of the forward pass. To find the gradient of its
# weights, a convolution must know what it read. Until the backward pass PyTorch keeps
# such results as **saved tensors**. It offers a hook: PyTorch calls our function `pack`
# below with each of them, and keeps what it returns. A second function gives it back in
# the backward pass; ours changes nothing.


# %%
def kept(model, images):
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = {}  # address → tensor, so that each piece of memory counts once

    def pack(tensor):
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:  # weights are there anyway
            found[address] = tensor.detach()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return list(found.values())


# %% [markdown]
# Shapes are `(N, C, H, W)`. We take 2 images with 3 channels of 8×8, so one channel
# costs 2·8·8 numbers of 4 bytes, 512 bytes. A conv block makes three results:
# normalised, rectified and convolved maps. For the backward pass, BN needs what it
# read, and a few numbers for each channel; ReLU needs to know only where its output is
# 0, and keeps that output; the convolution needs what it read.
#
# **Predict**: which of them are kept, besides the input?

# %% tags=["nbval-check-output", "hide-output"]
images = torch.randn(2, 3, 8, 8)
layer = conv_block(3, 10)
made = {"the input": images}
for name, part in layer.named_children():
    made[f"made by {name}"] = part([*made.values()][-1])
for tensor in kept(layer, images):
    same = [name for name, maps in made.items() if torch.equal(maps, tensor)]
    what = ", ".join(same) or "a number for each channel, of BN"
    print(f"{tuple(tensor.shape)!s:13} {tensor.nbytes:5} bytes  {what}")

# %% [markdown]
# Two sets of three channels: what BN read, and the rectified maps, which serve ReLU and
# convolution. The *normalised* maps are not kept, for nobody needs them. The small ones
# are BN's mean, 1/σ and running statistics.
#
# "Use in-place ReLUs to save memory" is common advice. `saved_bytes` is the package's
# form of our hook and adds up the bytes.
#
# **Predict** how many bytes it saves here.

# %% tags=["nbval-check-output", "hide-output"]
overwriting = copy.deepcopy(layer)
overwriting.relu1.inplace = True
print(f"{saved_bytes(layer, images):,} bytes")
print(f"{saved_bytes(overwriting, images):,} bytes with the ReLU in place")

# %% [markdown]
# None: it overwrites maps that nobody keeps.
#
# ## A block by hand
#
# Three layers read 3, 13 and 23 channels, and keep each channel twice, with four
# numbers of its BN: (3 + 13 + 23) · (2 · 512 + 4 · 4) = 40,560 bytes.

# %% tags=["nbval-check-output"]
block = DenseBlock(3, 3, growth_rate=10)
print(f"by our hook {sum(tensor.nbytes for tensor in kept(block, images)):,}")
print(f"by the package {saved_bytes(block, images):,}")

# %% [markdown]
# To the byte. The 3 channels of the images change nowhere in the block.
#
# **Predict**: how many times are they kept as they are, rectified versions not counted?

# %% tags=["nbval-check-output", "hide-output"]
four = [tensor for tensor in kept(block, images) if tensor.ndim == 4]
sum(torch.equal(tensor[:, :3], images) for tensor in four)

# %% [markdown]
# Three times, once for each reader: the original, and two copies, since `torch.cat`
# writes a new tensor each time and each BN keeps the one it got.
#
# ## The square
#
# All $n$ layers together read $R = nC + kn(n-1)/2$ channels. A bottleneck layer also
# keeps its waist of $4k$ channels twice. So a block keeps $R + 4kn$ channels, twice.
#
# We take $C = 24$ and $k = 12$, as in the first block of DenseNet-BC with $L = 100$ and
# $k = 12$ (lesson 05).
#
# **Predict**: when the layers double, do the bytes grow fourfold?


# %% tags=["nbval-check-output", "hide-output"]
def by_formula(num_layers):
    reads = layer_inputs(24, num_layers=num_layers, growth_rate=12)
    return (sum(reads) + 48 * num_layers) * (2 * 512 + 4 * 4)


depths = (2, 4, 8, 16, 32, 64)
maps = torch.randn(2, 24, 8, 8, requires_grad=True)
blocks = [DenseBlock(n, 24, 12, BottleneckLayer) for n in depths]
sizes = {"plain": [saved_bytes(block, maps) for block in blocks]}
for n, size in zip(depths, sizes["plain"], strict=True):
    factor = by_formula(2 * n) / by_formula(n)
    print(f"{n:3} layers {size:>10,} bytes, formula {by_formula(n):>10,}", end=", ")
    print(f"twice the layers: × {factor:.2f}")
slope = math.log2(by_formula(2048) / by_formula(1024))
fitted = pictures.exponent(depths, sizes["plain"])
print(f"exponent {fitted:.2f}, at 2,048 layers {slope:.2f}")

# %% [markdown]
# Not yet: the factor climbs from 2.3 to 3.7. The exponent is the slope of bytes against
# layers, both on logarithmic scales; a square has 2. Written out, $R + 4kn = (C +
# 3.5k)n + kn²/2$. Below $n = 2C/k + 7 = 11$ layers the first part is the larger one, so
# depths from 2 on give 1.51 and not 2. For very deep blocks the square is all that
# matters.
#
# ## Recompute
#
# Chen et al. (2016) keep few results and recompute the rest during the backward pass.
# PyTorch has this as `checkpoint`: it keeps a layer's input only, and runs the layer
# once more when its inside is needed.
#
# **Predict**: if every layer is checkpointed, does the block's memory grow linearly?


# %% tags=["nbval-check-output", "hide-output"]
class CheckpointedLayers(DenseBlock):
    def forward(self, features):
        for layer in self.children():
            new_maps = checkpoint(layer, features, use_reentrant=False)  # (N, k, H, W)
            features = torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W), …
        return features


def measure(kind):
    found = [saved_bytes(kind(n, 24, 12, BottleneckLayer), maps) for n in depths]
    print(f"64 layers: {sizes['plain'][-1]:,} → {found[-1]:,} bytes", end=", ")
    print(f"exponent {pictures.exponent(depths, found):.2f}")
    return found


sizes["cat outside"] = measure(CheckpointedLayers)

# %% [markdown]
# No. Each layer's input is a fresh concatenation, and just that is kept: `cat` stands
# *outside* of what is recomputed. The waists are gone, so the square shows even
# earlier. The concatenation must be recomputed, too:


# %% tags=["nbval-check-output"]
def join_and_run(layer, *maps):
    return layer(torch.cat(maps, dim=1))  # (N, C, H, W), (N, k, H, W), … → (N, k, H, W)


class CheckpointedBlock(DenseBlock):
    def forward(self, features):
        made = [features]
        for layer in self.children():
            new_maps = checkpoint(join_and_run, layer, *made, use_reentrant=False)
            made.append(new_maps)  # (N, k, H, W)
        return torch.cat(made, dim=1)  # (N, C + n·k, H, W)


sizes["cat inside"] = measure(CheckpointedBlock)
once = 512 * channels_after(24, num_layers=63, growth_rate=12)
print("each map once:", sizes["cat inside"][-1] == once)

# %% [markdown]
# Linear, and one 75th of the bytes. The last layer's maps are not among them: only what
# comes after the block reads and keeps them. The exponent lies below 1, since the 24
# channels of the input do not grow.
#
# The price is time: every layer runs forward twice. And there is a trap.
#
# ## The trap
#
# BatchNorm remembers: in train mode each forward pass moves its running mean a tenth of
# the way towards the batch's, $m$. It starts at 0, so one step gives $0.1\,m$.
#
# **Predict**: and one step of a checkpointed layer?

# %% tags=["nbval-check-output", "hide-output"]
plain = BottleneckLayer(24, 12)
twice, repaired = copy.deepcopy(plain), copy.deepcopy(plain)
plain(maps).square().sum().backward()
checkpoint(twice, maps, use_reentrant=False).square().sum().backward()
pairs = list(zip(plain.parameters(), twice.parameters(), strict=True))
print("same gradients:", all(torch.allclose(a.grad, b.grad) for a, b in pairs))
once, again = plain.norm1, twice.norm1
tracked = [norm.num_batches_tracked.item() for norm in (once, again)]
print("batches tracked:", tracked)
ratio = (again.running_mean / once.running_mean).mean()
print(f"running mean: {ratio:.2f} times as large")

# %% [markdown]
# $0.1\,m + 0.9 · 0.1\,m = 0.19\,m$, and one batch counts as two. The gradients are
# right, so training looks fine. But evaluation uses the averages, and they forget twice
# as fast: 0.9² = 0.81 of the past is left, not 0.9.
#
# torchvision's DenseNet has an option `memory_efficient`: it checkpoints the
# concatenation, `norm1` and the 1×1 convolution of each layer. **Predict** how many
# batches `norm1` and `norm2` count after one step.

# %% tags=["nbval-check-output", "hide-output"]
options = {"num_classes": 10, "memory_efficient": True}
theirs = torchvision.models.DenseNet(12, (2, 2), 24, **options)
theirs(torch.randn(2, 3, 64, 64)).sum().backward()
for name, module in theirs.features.denseblock1.named_modules():
    if isinstance(module, nn.BatchNorm2d):
        print(name, module.num_batches_tracked.item())

# %% [markdown]
# Two and one: `norm1` runs again in the backward pass, so torchvision's option has the
# trap.
#
# A repair in two lines: note the statistics after the forward pass, and put them back
# after the backward pass. The training loop has to know about it; exercise 11 asks for
# a layer that needs no such help.

# %% tags=["nbval-check-output"]
loss = checkpoint(repaired, maps, use_reentrant=False).square().sum()
noted = {name: buffer.clone() for name, buffer in repaired.named_buffers()}
loss.backward()
repaired.load_state_dict(noted, strict=False)  # only what was noted
pairs = zip(plain.buffers(), repaired.buffers(), strict=True)
print("statistics as without checkpointing:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown]
# ## How many images fit?
#
# The package's networks take `efficient=True`: the same function with less to keep. How
# it does that is part two. Here is the answer to this lesson's question, for one colour
# image of 224×224 pixels in train mode.
#
# **Guess**: DenseNet-121 has 31 % of ResNet-50's parameters. How many times as many
# bytes does it keep?

# %% tags=["nbval-check-output", "hide-output"]
photo = torch.randn(1, 3, 224, 224)
networks = {
    "ResNet-50": torchvision.models.resnet50(),
    "DenseNet-121": torchvision.models.densenet121(),
    "DenseNet-121, efficient": densenet121(efficient=True),
}
for name, network in networks.items():
    size = saved_bytes(network.train(), photo)
    print(f"{name:24} {size / 1e6:4.0f} MB an image, {8e9 / size:4.0f} images in 8 GB")

# %% [markdown]
# 1.5 times as many. What is kept decides, not the parameters. Weights, gradients, the
# optimizer and temporary results come on top. On a GPU
# `torch.cuda.max_memory_allocated` tells the peak of all.
#
# | when | use | price |
# |---|---|---|
# | you only predict | `torch.inference_mode()` | none: nothing is kept |
# | it does not fit | a smaller batch; add up gradients of several before a step | BatchNorm sees the small batch |
# | it still does not fit | `efficient=True` | time (less with `"native"`, in compiled C++) |
# | it still does not fit | checkpoint, with `cat` inside | forward runs twice; mind BatchNorm |
# | to keep less: never, in these blocks | in-place ReLU | no kept byte less; the peak of a moment may fall |
# | in shallow blocks at most | checkpoint with `cat` outside | still a square |
#
# You can stop here and go on to exercise 11.
#
# # Part two, optional: measured once, and faster
#
# ## What all readers share
#
# Recomputing repeats work. But an ordinary block repeats some, too: every layer
# normalises the images' channels anew. With momentum 1 a BN's running statistics are
# those of the last batch, so they show what it measured.
#
# **Predict**: do the norms of four layers find the same mean of channel 0?

# %% tags=["nbval-check-output", "hide-output"]
block = DenseBlock(4, 3, growth_rate=10)
norms = [layer.norm1 for layer in block.children()]
for norm in norms:
    norm.momentum = 1.0
block(images)
last = norms[-1]
for norm in norms:
    channels = norm.num_features
    means = torch.equal(norm.running_mean, last.running_mean[:channels])
    variances = torch.equal(norm.running_var, last.running_var[:channels])
    first = norm.running_mean[0].item()
    print(f"{channels:2} channels; mean of channel 0: {first:.4f}", end="; ")
    print("all as the last norm has them:", means and variances)

# %% [markdown]
# The same bits. A channel never changes in its block, so its mean and variance cannot.
# Only the learned γ and β belong to the reader. The same must show in a trained network
# whose norms began alike, here the one that the package brings.

# %% tags=["nbval-check-output"]
trained = class_densenet(weights="DEFAULT")
for name in ("denseblock1", "denseblock2", "denseblock3"):
    layers = trained.features.get_submodule(name).children()
    *others, last = [layer.norm1 for layer in layers]
    means = [last.running_mean[:norm.num_features] for norm in others]
    equal = all(map(torch.equal, means, [norm.running_mean for norm in others]))
    apart = [norm.weight - last.weight[:norm.num_features] for norm in others]
    largest = max(one.abs().max().item() for one in apart)
    print(f"{name}: running means equal: {equal}; γ differ by up to {largest:.2f}")

# %% [markdown]
# Each map of a block has to be measured only once, where it is made. In DenseNet-121
# the norm behind each block reads all its maps once:

# %% tags=["nbval-check-output"]
widths = {
    name: part.num_features for name, part in densenet121().features.named_modules()
    if isinstance(part, nn.BatchNorm2d) and name != "norm0"  # the stem's
}
waists = sum(width for name, width in widths.items() if name.endswith("norm2"))
readers = sum(widths.values()) - waists
behind = ("transition1", "transition2", "transition3", "norm5")
once = sum(width for name, width in widths.items() if name.startswith(behind))
print(f"every reader measures: {readers:,} channels; each map once: {once:,}")
print(f"with the waists: {readers + waists:,}; {once + waists:,}")

# %% [markdown]
# A twelfth of the channels. The BN of each waist must still measure its own; with those
# it is four times fewer. Here is a block of layers without a bottleneck that measures
# once. γ, β and ReLU come with each reader.


# %%
def normalise(maps):
    return F.batch_norm(maps, None, None, training=True)  # measured here alone


def shared(block, features):
    made, normal = [features], [normalise(features)]
    for layer in block.children():
        gamma, beta = layer.norm1.weight[:, None, None], layer.norm1.bias[:, None, None]
        read = F.relu(gamma * torch.cat(normal, dim=1) + beta)  # (N, C', H, W)
        made.append(layer.conv1(read))  # (N, k, H, W)
        normal.append(normalise(made[-1]))
    return torch.cat(made, dim=1)  # (N, C + n·k, H, W)


def difference(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max()).item()


# %% [markdown]
# **Predict**: the same maps as the block, the same gradients? In double precision,
# rounding leaves about 1e-15.

# %% tags=["nbval-check-output", "hide-output"]
block = block.double()
for norm in norms:
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
inputs = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
upstream = torch.randn(2, 43, 8, 8, dtype=torch.float64)  # a gradient from behind
wanted = [inputs, *block.parameters()]
ours, reference = shared(block, inputs), block(inputs)
print("maps:", difference(ours, reference) < 1e-12)
gradients = [torch.autograd.grad(maps, wanted, upstream) for maps in (ours, reference)]
print(len(wanted), "gradients:", max(map(difference, *gradients)) < 1e-12)

# %% [markdown]
# The same maps and the same gradients, so the weights train alike. (The running
# statistics are left out here.) We drew γ and β at random first: with γ = 1 and β = 0,
# as in a fresh block, a version that shared them too would have made the same maps;
# only the gradients would have given it away.
#
# ## Three ideas together
#
# The package's `EfficientDenseBlock` combines three ideas:
#
# 1. one buffer for the block, in which each layer writes its k maps: no copies by
#    `cat`;
# 2. shared statistics, as above;
# 3. normalised and rectified maps are recomputed in the backward pass (Pleiss et al.
#    2017), but no convolution runs twice.
#
# **Predict**: equal logits, gradients and running statistics?

# %% tags=["nbval-check-output", "hide-output"]
plain = class_densenet().double().train()
efficient = class_densenet(efficient=True).double().train()
efficient.load_state_dict(plain.state_dict())
photos, labels = torch.randn(16, 1, 28, 28, dtype=torch.float64), torch.arange(16) % 10
for model in (plain, efficient):
    F.cross_entropy(model(photos), labels).backward()
print("logits:", difference(efficient(photos), plain(photos)) < 1e-10)
gradients = [[p.grad for p in model.parameters()] for model in (efficient, plain)]
print(len(gradients[0]), "gradients:", max(map(difference, *gradients)) < 1e-10)
buffers = [[b.double() for b in model.buffers()] for model in (efficient, plain)]
print(len(buffers[0]), "buffers:", max(map(difference, *buffers)) < 1e-10)

# %% [markdown]
# All equal, and no trap. It must keep each map once and each waist once: $C + kn + 4kn$
# channels of 512 bytes, and two statistics for each of them.
#
# **Predict**: does it keep more or fewer bytes than "cat inside", which recomputes
# everything?

# %% tags=["hide-output"]
blocks = [EfficientDenseBlock(DenseBlock(n, 24, 12, BottleneckLayer)) for n in depths]
sizes["efficient"] = [saved_bytes(block, maps) for block in blocks]
print(f"64 layers: {sizes['efficient'][-1]:,} bytes")
print(f"(512 + 8) · (24 + 60·64) = {520 * (24 + 60 * 64):,}")
show(pictures.bytes_by_depth(depths, sizes))

# %% tags=["remove-cell"]
exponents = {name: pictures.exponent(depths, size) for name, size in sizes.items()}
assert exponents["efficient"] < 1.1 < exponents["plain"]

# %% [markdown]
# *Two lines are nearly straight, with slopes near 1; the two others bend towards slope
# 2.* The efficient block lies above "cat inside", since it keeps its waists. In return
# no convolution runs twice.
#
# `benchmarks/efficient.py` compares training steps of whole networks with
# torchvision's, run as it comes (without `memory_efficient`). Above 1, ours is the
# faster one. BC-100-12 is DenseNet-BC with L = 100 and k = 12. `native` is
# `efficient="native"`: the same results from compiled C++, where there is a compiler, a
# few images at a time, so that their maps stay in the processor's cache. *Contiguous*
# and *channels-last* are layouts of memory and bf16 is a number format; the next
# section explains them. "Convolutions" runs PyTorch's convolutions and nothing else:
# the limit of any saving on the rest. `native` computes those of its blocks as matrix
# products, so for it the limit is not strict. Each number is the median of five rounds;
# a question mark says that some rounds were faster and some slower.

# %% tags=["nbval-check-output"]
found = results.read("efficient")
fewer = found["memory"]["BC-100-12 times fewer"]
print(f"BC-100-12 keeps {fewer} times fewer bytes. Times as fast as torchvision:")
for name, result in found["training"].items():
    print(name)
    for kind, ratios in result["against torchvision"].items():
        print(f"  {kind:18}", end="")
        for form, ratio in ratios.items():
            mark = "" if ratio["min"] > 1 or ratio["max"] < 1 else "?"
            print(f"  {form} {ratio['median']:.2f}{mark}", end="")
        print()

# %% [markdown]
# For DenseNet-121 it was four times fewer bytes, above. `efficient` alone was slower in
# every round in three of nine rows, all with DenseNet-121, and faster in every round in
# one; of the other five claim nothing. `native` was faster in every round of every row.
# Its medians stay below those of the convolutions alone, where these were measured.
#
# ## Number format and memory layout
#
# bf16 keeps the exponent of fp32 and 8 significant bits of its 24. **Predict**: what is
# 1 + 1/256 in bf16? (What lies halfway between two numbers is rounded to the one whose
# last bit is 0.)

# %% tags=["nbval-check-output", "hide-output"]
one = torch.ones((), dtype=torch.bfloat16)
print(f"1 + 1/256 = {(one + 1 / 256).item()},  1 + 1/128 = {(one + 1 / 128).item()}")
print("1e-8 in fp16:", torch.tensor(1e-8).half().item())

# %% [markdown]
# 1/256 is lost, and so is any smaller increase of a weight of 1. (Below 1 the steps are
# half as wide: a decrease is lost from 1/512 down.) So autocast multiplies in bf16, but
# weights and updates stay in fp32: mixed precision.
#
# fp16 has 11 significant bits but few exponents: a gradient of 1e-8 becomes 0. So fp16
# needs `torch.amp.GradScaler`, which multiplies the loss and divides the gradients
# again. GPUs without units for bf16, such as Colab's T4, are fast in fp16 only. The
# package does not use fp16; on such a GPU it trains in fp32.
#
# Channels-last stores all channels of a pixel side by side.

# %% tags=["nbval-check-output"]
batch = torch.zeros(2, 3, 8, 8)
print("contiguous   ", batch.stride())
print("channels-last", batch.contiguous(memory_format=torch.channels_last).stride())

# %% [markdown]
# Two channels of a pixel were 64 numbers apart, now they are neighbours. One reason why
# that can help: a convolution sums over channels.
#
# ## Time, measured
#
# Other programs disturb a clock. So the variants run on one thread and in turns, A B C
# A B C, so that a slow minute hits all of them. Ratios are taken round by round; we
# report their median and the whole range. All but "plain" are channels-last.
#
# Five variants: plain (fp32 in PyTorch's own layout, *contiguous*), channels-last,
# efficient, bf16, and efficient with bf16. **Predict** the bytes of channels-last and
# of bf16 against plain. **Guess** those of efficient, and whether a step is faster or
# slower: channels-last than plain, efficient and bf16 than channels-last, and both
# together than bf16 alone.

# %% tags=["hide-output"]
photos = torch.randn(16, 1, 28, 28, device=device)
labels = torch.arange(16, device=device) % 10
variants = {"plain": (FP32, False), "channels-last": (FP32_CHANNELS_LAST, False)}
variants |= {"efficient": (FP32_CHANNELS_LAST, True)}
if has_bf16(device):
    variants |= {"bf16": (BF16, False), "efficient, bf16": (BF16, True)}
steps, bytes_kept = {}, {}
for name, (precision, efficient) in variants.items():
    model = class_densenet(efficient=efficient).to(device)
    steps[name], bytes_kept[name] = training_step(model, photos, labels, precision)
seconds = in_turns(steps)
show(pictures.step_costs(seconds, bytes_kept))

# %% tags=["hide-output"]
for name in [*variants][1:]:
    bases = {"bf16": "channels-last", "efficient": "channels-last"}
    base = (bases | {"efficient, bf16": "bf16"}).get(name, "plain")
    share = bytes_kept[name] / bytes_kept["plain"]
    print(f"{name:15} {share:4.0%} of plain's bytes", end="; ")
    print(compare_times(seconds, name, base))

# %% tags=["remove-cell"]
assert bytes_kept["efficient"] < bytes_kept["plain"] / 2
assert bytes_kept.get("bf16", 0) < 0.53 * bytes_kept["plain"]

# %% [markdown]
# *Right: the bytes, the same in every run on this machine. Left: the times, when the
# notebook ran.* Where some rounds are faster and some slower, claim nothing.
# `efficient` alone costs far more time here than in any row above. Those compare larger
# networks with torchvision's; here our own small one runs against itself. The tables of
# `docs/measured.md` have it in larger batches and on two threads, too. The bytes are
# certain: bf16 leaves about half of them, channels-last changes none.
#
# ## Loading
#
# The usual `DataLoader` prepares images one at a time. `ResidentBatches` cuts batches
# out of one tensor. **Guess**, for 3,000 images: does that take about a half of the
# loader's time, a tenth, or less than a twentieth?

# %% tags=["hide-output"]
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

location = prepare()
dataset = datasets.FashionMNIST(location.root, transform=transforms.ToTensor())
loader = DataLoader(Subset(dataset, range(3000)), batch_size=128)
images, labels = load("train", location)
resident = ResidentBatches(images[:3000], labels[:3000], batch_size=128)
tasks = {"loader": lambda: list(loader), "resident": lambda: list(resident)}
seconds = in_turns(tasks, rounds=3)
print(compare_times(seconds, "resident", "loader"))
ratio = results.read("loader")["plain"]["ratio"]["dataloader"]["median"]
print(f"the course's benchmark, with shuffled batches: {ratio:.0f} times as fast")

# %% tags=["remove-cell"]
assert min(seconds["loader"]) > 5 * max(seconds["resident"])

# %% [markdown]
# Per image the work is small and the overhead large. A faster loader helps only where
# the step waits for it. In d2l's recipe, whose steps take over a second, it gains
# little (`docs/measured.md`).
#
# ## `torch.compile`
#
# `torch.compile` turns the model into compiled code, several operations in one. On a
# CPU it needs a C++ compiler. We start with an empty cache, as you do the first time.
#
# **Guess** for a block of 4 layers: the first step compiles and takes long. Has it paid
# for itself within tens, hundreds or thousands of faster steps? And are fewer bytes
# kept? (The cell can take minutes.)

# %% tags=["hide-output"]
inputs = torch.randn(16, 24, 14, 14, device=device, requires_grad=True)
eager = DenseBlock(4, 24, 12, BottleneckLayer).to(device)


def stepper(block):
    def step():
        block(inputs).square().sum().backward()
        return inputs.grad.sum().item()  # on a GPU this waits until all is done
    return step


with cold_compile("torch.compile was not measured"):
    compiled = torch.compile(eager)
    start = time.perf_counter()
    stepper(compiled)()
    first = time.perf_counter() - start
    print(f"first step, compiling included: {first:.1f} s")
    seconds = in_turns({"eager": stepper(eager), "compiled": stepper(compiled)})
    print("later steps:", compare_times(seconds, "compiled", "eager"))
    gain = median(seconds["eager"]) - median(seconds["compiled"])
    print(f"steps until it has paid: {first / gain:,.0f}" if gain > 0 else "no gain")
    share = saved_bytes(compiled, inputs) / saved_bytes(eager, inputs)
    print(f"bytes kept: {share:.0%}")

# %% [markdown]
# Thousands of steps, and hardly any difference in bytes. So divide the seconds of
# compiling by the seconds gained a step before you wait for it. Where a round was
# slower, even the gain is unsure. With a warm cache the first step takes only part of
# that time.
#
# ## The numbers, held against the formulas
#
# Channels kept by a block of 12 layers, with $C = 24$ and $k = 12$, counted and by
# formula.

# %% tags=["nbval-check-output"]
reads = sum(layer_inputs(24, num_layers=12, growth_rate=12))
formulas = {
    DenseBlock: 2 * (reads + 48 * 12),
    CheckpointedLayers: reads,
    CheckpointedBlock: channels_after(24, num_layers=11, growth_rate=12),
}
for kind, channels in formulas.items():
    model = kind(12, 24, 12, BottleneckLayer)
    found = [tensor for tensor in kept(model, maps) if tensor.ndim == 4]
    counted = sum(tensor.nbytes for tensor in found) // 512
    print(f"{kind.__name__:18} {counted:5,} channels, by formula {channels:5,}")

# %% [markdown]
# ## Your turn
#
# [Exercise 11](exercises/11_memory.ipynb), *hard, 35 minutes.* Write
# `CheckpointedLayer(layer)`: same outputs and gradients, fewer saved bytes, and
# BatchNorm's statistics move once, with no help from the training loop.

# %% [markdown]
# ## Recap
#
# - A plain block keeps all that its layers read, twice, so its bytes grow with the
#   square of its depth. Checkpointing a layer alone leaves the square; the
#   concatenation must be recomputed, too.
# - Recomputing in train mode moves BatchNorm's statistics twice, unless you prevent it.
# - In a block all readers of a channel find the same mean and variance. Measured once,
#   kept once: the same function, linear bytes. Speed is measured in turns, with its
#   spread.
#
# **Sources**
#
# - Pleiss, Chen, Huang, Li, van der Maaten, Weinberger: *Memory-Efficient
#   Implementation of DenseNets*, 2017,
#   [arXiv:1707.06990](https://arxiv.org/abs/1707.06990) (shared storage, recomputing).
# - Chen, Xu, Zhang, Guestrin: *Training Deep Nets with Sublinear Memory Cost*, 2016,
#   [arXiv:1604.06174](https://arxiv.org/abs/1604.06174) (checkpointing).
# - torchvision: `models/densenet.py`, the option `memory_efficient`.
#
# **Next:** [10 · What the layers learn](10_what_the_layers_learn.ipynb).
