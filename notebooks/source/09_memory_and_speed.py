# %% [markdown]
# # 09 · Memory and speed
#
# **Written plainly, a dense block keeps bytes that grow with the square of its depth; the same function can be had for
# a linear amount.**
#
# Afterwards you can
# - work out by hand what a block keeps for its backward pass, and check it with a short hook;
# - recompute a layer instead of keeping its inside, without upsetting its BatchNorm;
# - choose between recomputing, shared statistics, bf16, channels-last and `torch.compile` by measurement.
#
# About 45 minutes. Read before: [05 the bottleneck](05_bottleneck.ipynb) and
# [07 training](07_train_fashion_mnist.ipynb). Every number here is computed now, except in one cell, which names the
# results file that it reads.

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import copy
import json
import logging
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course.accounting import channels_after, layer_inputs
from densenet_course.config import DenseNetConfig
from densenet_course.efficient import EfficientDenseBlock
from densenet_course.figures import memory as pictures
from densenet_course.figures import show
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block
from densenet_course.measure import saved_bytes
from densenet_course.models import DenseNet, class_densenet, densenet121
from densenet_course.training import BF16, FP32, FP32_CHANNELS_LAST, has_bf16

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # for what is timed

# %% [markdown]
# ## What training keeps
#
# The backward pass needs results of the forward pass. To find the gradient of its weights, a convolution must know what
# it read. Until then PyTorch keeps such results as **saved tensors**. It offers a hook: our function `pack` below is
# called with each of them, and what it returns is kept instead.


# %%
def kept(model, images):
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = {}  # address → tensor, so that each piece of memory counts once

    def pack(tensor):
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:  # they stay in memory anyway
            found[address] = tensor.detach()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return list(found.values())


# %% [markdown]
# Shapes are `(N, C, H, W)`. We take 2 images with 3 channels of 8×8, so one channel costs 2·8·8 numbers of 4 bytes,
# 512 bytes. A conv block makes three results: normalised, rectified and convolved maps.
#
# **Predict:** which of them are kept, besides the input?

# %% tags=["nbval-check-output"]
images = torch.randn(2, 3, 8, 8)
layer = conv_block(3, 10)
results = {"the input": images}
for name, part in layer.named_children():
    results[f"made by {name}"] = part([*results.values()][-1])
for tensor in kept(layer, images):
    same = [name for name, maps in results.items() if torch.equal(maps, tensor)]
    print(f"{tuple(tensor.shape)!s:13} {tensor.nbytes:5} bytes  {', '.join(same)}")

# %% [markdown]
# Two sets of three channels. The *normalised* maps are not kept. BatchNorm goes back with its input, and the ReLU with
# its own output, which the convolution needs as well. The small ones are BN's mean, 1/σ and running statistics.
#
# "Use in-place ReLUs to save memory" is common advice. `saved_bytes` is the package's form of our hook and adds up the
# bytes. **Predict** what changes.

# %% tags=["nbval-check-output"]
overwriting = copy.deepcopy(layer)
overwriting.relu1.inplace = True
print(f"{saved_bytes(layer, images):,} bytes; with the ReLU in place {saved_bytes(overwriting, images):,}")

# %% [markdown]
# Nothing: it overwrites maps that nobody keeps.
#
# ## A block by hand
#
# Three layers read 3, 13 and 23 channels. Each channel is kept twice, with four numbers of BN. **Predict** the bytes:
# (3 + 13 + 23) · (2 · 512 + 4 · 4).

# %% tags=["nbval-check-output"]
block = DenseBlock(3, 3, growth_rate=10)
print(f"by our hook {sum(tensor.nbytes for tensor in kept(block, images)):,}, "
      f"by the package {saved_bytes(block, images):,}, by hand {(3 + 13 + 23) * (2 * 512 + 4 * 4):,}")

# %% [markdown]
# 40,560, to the byte. The 3 channels of the images change nowhere in the block. **Predict:** how many unchanged copies
# of them are kept?

# %% tags=["nbval-check-output"]
sum(tensor.ndim == 4 and torch.equal(tensor[:, :3], images) for tensor in kept(block, images))

# %% [markdown]
# Three, one for each reader: `torch.cat` writes a new tensor each time, and each BN keeps the one it got. **Predict**
# the bytes if you only want predictions.

# %% tags=["nbval-check-output"]
with torch.inference_mode():
    print(saved_bytes(block, images), "bytes")

# %% [markdown]
# ## The square
#
# All readings together are $R = L·C + k·L(L-1)/2$ channels (lesson 03). A bottleneck layer also keeps its waist of
# $4k$ channels twice. So a block keeps $R + 4kL$ channels, twice.
#
# We take $C = 24$ and $k = 12$, as in the paper's networks for CIFAR. **Predict:** when the layers double, do the bytes
# grow fourfold?


# %% tags=["nbval-check-output"]
def by_formula(num_layers):
    reads = layer_inputs(24, num_layers=num_layers, growth_rate=12)
    return (sum(reads) + 48 * num_layers) * (2 * 512 + 4 * 4)


depths = (2, 4, 8, 16, 32, 64)
maps = torch.randn(2, 24, 8, 8, requires_grad=True)
sizes = {"plain": [saved_bytes(DenseBlock(n, 24, 12, BottleneckLayer), maps) for n in depths]}
for n, size in zip(depths, sizes["plain"], strict=True):
    print(f"{n:3} layers {size:>10,} bytes, formula {by_formula(n):>10,}, twice the layers: "
          f"times {by_formula(2 * n) / by_formula(n):.2f}")
print(f"fitted exponent {pictures.exponent(depths, sizes['plain']):.2f}; "
      f"from 1,024 to 2,048 layers {math.log2(by_formula(2048) / by_formula(1024)):.2f}")

# %% [markdown]
# Not yet: the factor climbs from 2.3 to 3.7. The exponent is the slope of the line through the logarithms; 2 would be
# the square. Written out, $R + 4kL = (C + 3.5k)L + kL²/2$. The first part is the larger one up to
# $L = 2C/k + 7 = 11$ layers, and holds the fit at 1.51. For very deep blocks the square is all that matters.
#
# ## Recompute
#
# Chen et al. (2016) keep few results and make the others again on the way back. PyTorch has this as `checkpoint`: it
# keeps a layer's input only, and runs the layer once more when its inside is needed.
#
# **Predict:** if every layer is checkpointed, is the block linear?


# %% tags=["nbval-check-output"]
class CheckpointedLayers(DenseBlock):
    def forward(self, features):
        for layer in self.children():
            new_maps = checkpoint(layer, features, use_reentrant=False)  # (N, k, H, W)
            features = torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W), …
        return features


sizes["cat outside"] = [saved_bytes(CheckpointedLayers(n, 24, 12, BottleneckLayer), maps) for n in depths]
print(f"64 layers: {sizes['plain'][-1]:,} → {sizes['cat outside'][-1]:,} bytes, "
      f"exponent {pictures.exponent(depths, sizes['cat outside']):.2f}")

# %% [markdown]
# No. Each layer's input is a fresh concatenation, and just that is kept. The waists are gone, so the square shows even
# earlier. The concatenation must be made again, too:


# %% tags=["nbval-check-output"]
def join_and_run(layer, *maps):
    return layer(torch.cat(maps, dim=1))  # (N, C, H, W), (N, k, H, W), … → (N, k, H, W)


class CheckpointedBlock(DenseBlock):
    def forward(self, features):
        made = [features]
        for layer in self.children():
            made.append(checkpoint(join_and_run, layer, *made, use_reentrant=False))  # (N, k, H, W)
        return torch.cat(made, dim=1)  # (N, C + L·k, H, W)


sizes["cat inside"] = [saved_bytes(CheckpointedBlock(n, 24, 12, BottleneckLayer), maps) for n in depths]
print(f"64 layers: {sizes['plain'][-1]:,} → {sizes['cat inside'][-1]:,} bytes, "
      f"exponent {pictures.exponent(depths, sizes['cat inside']):.2f}")
print("each map once:", sizes["cat inside"][-1] == 512 * channels_after(24, num_layers=63, growth_rate=12))

# %% [markdown]
# Linear, and a 75th of the bytes. The last layer's maps are missing: who reads the block keeps them. The exponent lies
# below 1, since the 24 channels of the input do not grow.
#
# The price is time: every layer runs forward twice. We measure it below. First a worse price.
#
# ## The trap
#
# BatchNorm remembers: in train mode each forward pass moves its running mean a tenth of the way towards the batch's,
# $m$. It starts at 0, so one step gives $0.1\,m$. **Predict:** and one step of a checkpointed layer?

# %% tags=["nbval-check-output"]
plain = BottleneckLayer(24, 12)
twice, repaired = copy.deepcopy(plain), copy.deepcopy(plain)
plain(maps).square().sum().backward()
checkpoint(twice, maps, use_reentrant=False).square().sum().backward()
pairs = list(zip(plain.parameters(), twice.parameters(), strict=True))
print("same gradients:", all(torch.allclose(a.grad, b.grad) for a, b in pairs))
for name in ("norm1", "norm2"):
    once, again = plain.get_submodule(name), twice.get_submodule(name)
    print(f"{name}: batches tracked {once.num_batches_tracked} and {again.num_batches_tracked}, "
          f"running mean times {(again.running_mean / once.running_mean).mean():.2f}")

# %% [markdown]
# $0.1\,m + 0.9 · 0.1\,m = 0.19\,m$, and one batch counts as two. The gradients are right, so training looks well. But
# evaluation uses the averages, and they forget twice as fast: 0.9² = 0.81 of the past is left, not 0.9.
#
# Who falls into it? torchvision's DenseNet has an option `memory_efficient`. **Predict** its counts after one step.

# %% tags=["nbval-check-output"]
theirs = torchvision.models.DenseNet(12, (2, 2), 24, num_classes=10, memory_efficient=True)
theirs(torch.randn(2, 3, 64, 64)).sum().backward()
for name in ("denselayer1.norm1", "denselayer1.norm2", "denselayer2.norm1", "denselayer2.norm2"):
    print(name, theirs.features.denseblock1.get_submodule(name).num_batches_tracked.item())

# %% [markdown]
# Its `norm1` counts twice: it checkpoints the joining, `norm1` and the 1×1 convolution.
#
# A repair in two lines: note the statistics after the forward pass, and put them back after the backward pass.

# %% tags=["nbval-check-output"]
loss = checkpoint(repaired, maps, use_reentrant=False).square().sum()
noted = {name: buffer.clone() for name, buffer in repaired.named_buffers()}
loss.backward()
repaired.load_state_dict(noted, strict=False)  # only what was noted
pairs = zip(plain.buffers(), repaired.buffers(), strict=True)
print("statistics as without checkpointing:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown]
# The training loop has to know about it. Exercise 11 asks for a layer that needs no such help.
#
# ## What all readers share
#
# Recomputing repeats work. How much of it was repeated already? In a block, the images' channels are normalised by
# every layer anew. We make each BN forget everything but this batch (momentum 1), so that its running statistics show
# what it measured.
#
# **Predict:** do the norms of four layers find the same mean of channel 0?

# %% tags=["nbval-check-output"]
block = DenseBlock(4, 3, growth_rate=10)
norms = [layer.norm1 for layer in block.children()]
for norm in norms:
    norm.momentum = 1.0
block(images)
last = norms[-1]
for norm in norms:
    channels = norm.num_features
    pairs = ((norm.running_mean, last.running_mean), (norm.running_var, last.running_var))
    print(f"{channels:2} channels; mean of channel 0: {norm.running_mean[0]:.4f}; "
          f"all as the last norm has them, to the bit: {all(torch.equal(a, b[:channels]) for a, b in pairs)}")

# %% [markdown]
# The same bits. A channel never changes in its block, so its mean and variance cannot. Only the learned γ and β belong
# to the reader. It must show in any trained network: here is the one of lesson 10, its weights kept in half precision.

# %% tags=["nbval-check-output"]
trained = class_densenet(weights="DEFAULT")
for name in ("denseblock1", "denseblock2", "denseblock3"):
    *others, last = [layer.norm1 for layer in trained.features.get_submodule(name).children()]
    equal = all(torch.equal(n.running_mean, last.running_mean[:n.num_features]) for n in others)
    apart = max((n.weight - last.weight[:n.num_features]).abs().max().item() for n in others)
    print(f"{name}: running means equal: {equal}; γ differ by up to {apart:.2f}")

# %% [markdown]
# After six epochs still equal, while γ went separate ways.
#
# What follows? Each map has to be measured only once, where it is made. The readers are the layers, and the transition
# or last norm behind the block, which reads each map once. **Predict** what that saves in DenseNet-121.

# %% tags=["nbval-check-output"]
parts = dict(densenet121().features.named_modules())
inside = sum(part.num_features for name, part in parts.items() if name.endswith(".norm1"))  # of the layers
behind = sum(part.num_features for name, part in parts.items() if name.endswith((".norm", "norm5")))
print(f"{inside + behind:,} channels measured by all readers, {behind:,} if each once: "
      f"{(inside + behind) / behind:.1f} times fewer")

# %% [markdown]
# Twelve times. Here is a block of plain layers that does so: each map is normalised where it is made. γ, β and ReLU
# come with each reader. (`own` is for an experiment below.)


# %%
def shared(block, features, own=True):
    last = [*block.children()][-1].norm1
    made, normal = [features], [F.batch_norm(features, None, None, training=True)]
    for layer in block.children():
        norm, channels = layer.norm1 if own else last, layer.norm1.num_features
        gamma, beta = (p[:channels, None, None] for p in (norm.weight, norm.bias))
        made.append(layer.conv1(F.relu(gamma * torch.cat(normal, dim=1) + beta)))  # (N, k, H, W)
        normal.append(F.batch_norm(made[-1], None, None, training=True))  # measured here, and nowhere else
    return torch.cat(made, dim=1)  # (N, C + L·k, H, W)


def difference(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max()).item()


# %% [markdown]
# **Predict:** the same maps as the block, the same gradients? In double precision, rounding leaves about 1e-15.

# %% tags=["nbval-check-output"]
block = block.double()
for norm in norms:
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
inputs = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
upstream = torch.randn(2, 43, 8, 8, dtype=torch.float64)  # a gradient that comes from behind
wanted = [inputs, *block.parameters()]
ours, reference = shared(block, inputs), block(inputs)
print("maps:", difference(ours, reference) < 1e-12)
gradients = [torch.autograd.grad(maps, wanted, upstream) for maps in (ours, reference)]
print(len(wanted), "gradients:", max(map(difference, *gradients)) < 1e-12)

# %% [markdown]
# The same function, and the same training, with every map measured once.
#
# ## Break it: share γ and β too
#
# Then one BatchNorm for each map would do. We give every reader the last layer's γ and β (`own=False`), and test it on
# a *fresh* block. **Predict:** does the test notice?

# %% tags=["nbval-check-output"]
fresh = DenseBlock(4, 3, growth_rate=10).double()
print("fresh block, same maps:", difference(shared(fresh, inputs, own=False), fresh(inputs)) < 1e-12)
print("γ and β as after training:", difference(shared(block, inputs, own=False), block(inputs)) < 1e-12)

# %% [markdown]
# A fresh block has γ = 1 and β = 0 everywhere, so the wrong block passes. Test a rewritten network with weights that
# differ wherever they may differ.
#
# ## All three together
#
# The package's `EfficientDenseBlock` joins three ideas. The third is that of Pleiss et al. (2017), who also let the
# copies of all layers use the same storage.
# 1. One buffer for the block, in which each layer writes its k maps: no copies by `cat`.
# 2. Shared statistics, as above.
# 3. Normalised and rectified maps are made again on the way back, but no convolution runs twice.
#
# `efficient=True` builds a whole network of such blocks. **Predict:** equal logits, gradients and running statistics?

# %% tags=["nbval-check-output"]
plain, efficient = class_densenet().double().train(), class_densenet(efficient=True).double().train()
efficient.load_state_dict(plain.state_dict())
photos, labels = torch.randn(16, 1, 28, 28, dtype=torch.float64), torch.arange(16) % 10
for model in (plain, efficient):
    F.cross_entropy(model(photos), labels).backward()
print("logits:", difference(efficient(photos), plain(photos)) < 1e-10)
gradients = [[p.grad for p in model.parameters()] for model in (efficient, plain)]
print(len(gradients[0]), "gradients:", max(map(difference, *gradients)) < 1e-10)
buffers = [[b.double() for b in model.buffers()] for model in (efficient, plain)]
print(len(buffers[0]), "running statistics and counters:", max(map(difference, *buffers)) < 1e-10)

# %% [markdown]
# All equal, and no trap. It must keep each map once and each waist once: $C + kL + 4kL$ channels of 512 bytes.
# **Predict** where its line runs: above or below "cat inside", which recomputes everything?

# %%
blocks = [EfficientDenseBlock(DenseBlock(n, 24, 12, BottleneckLayer)) for n in depths]
sizes["efficient"] = [saved_bytes(block, maps) for block in blocks]
slope = pictures.exponent(depths, sizes["efficient"])
print(f"64 layers: {sizes['efficient'][-1]:,} bytes, 512 · (24 + 60 · 64) = {512 * (24 + 60 * 64):,}; "
      f"plain keeps {sizes['plain'][-1] / sizes['efficient'][-1]:.0f} times as many")
assert slope < 1.1 < pictures.exponent(depths, sizes["plain"])
show(pictures.bytes_by_depth(depths, sizes))

# %% [markdown]
# *Two lines are nearly straight, with slopes near 1; the two others bend towards slope 2.* The efficient block lies
# above "cat inside", since it keeps its waists. In return no convolution runs twice.
#
# `benchmarks/efficient.py` measures whole networks against torchvision's. A ratio above 1 means that ours needs less
# time for a training step. `efficient="native"` computes the same with passes compiled from C++, where there is a
# compiler. "Convolutions" is a step of nothing but convolutions: about the most that fewer bytes can bring.
# **Predict:** how near does `native` come?


# %%
def read_result(name):
    path = Path("../benchmarks/results") / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    print(f"no {path.name} here; from a checkout of the course, python benchmarks/{name}.py makes it")
    return None


measured = read_result("efficient")
if measured:
    found = measured["memory"]
    print(f"BC-100-12, batch {found['batch']}: {found['BC-100-12 times fewer']} times fewer bytes than torchvision")
    print("exponents by depth:", found["slope"])
    peaks = found["peak bytes"].items()
    print("peak of a process (MB):", {name: size // 10**6 for name, size in peaks})
    for name, result in measured["training"].items():
        print(f"{name}, times as fast as torchvision, median (smallest–largest)")
        for kind, ratios in result["against torchvision"].items():
            told = (f"{form} {r['median']:.2f} ({r['min']:.2f}–{r['max']:.2f})" for form, r in ratios.items())
            print(f"  {kind:18}", "  ".join(told))

# %% [markdown]
# Bytes grow linearly in a whole network, too. The gain in time depends on network and format, and stays well below
# that: even compiled, the passes take time.
#
# ## Time, measured
#
# Now to this machine. Other programs disturb a clock. So the variants run on one thread and in turns, A B C A B C, and
# a slow moment hits all of them. We report the median and the whole range.
#
# The network: a stem, one block of 8 bottleneck layers, a classifier. Noise takes as long as photos.

# %%
config = DenseNetConfig(
    block_layers=(8,), growth_rate=12, init_channels=24, num_classes=10, in_channels=1, stem="class"
)
photos, labels = torch.randn(16, 1, 28, 28, device=device), torch.arange(16, device=device) % 10


def trainer(precision, *, efficient=False, checkpointed=False):
    model = DenseNet(replace(config, efficient=efficient))
    if checkpointed:
        model.features.denseblock1 = CheckpointedBlock(8, 24, 12, BottleneckLayer)
    model.to(device, memory_format=precision.memory_format)
    batch = photos.contiguous(memory_format=precision.memory_format)

    def step():
        model.zero_grad()
        with precision.autocast(device):
            loss = F.cross_entropy(model(batch), labels)
        loss.backward()
        return loss.item()  # on a GPU this waits until all is done

    with precision.autocast(device):
        return step, saved_bytes(model, batch)


def in_turns(tasks, rounds=9):
    threads, seconds = torch.get_num_threads(), {name: [] for name in tasks}
    torch.set_num_threads(1)  # one thread never waits for another that the system has put aside
    for lap in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if lap:  # lap 0 warms up
                seconds[name].append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return seconds


# %% [markdown]
# Lesson 07 introduced channels-last and bf16, which takes 2 bytes a number in place of 4. **Predict** for each variant:
# its bytes against plain, and whether its step is faster or slower.

# %%
variants = {
    "plain": trainer(FP32),
    "channels-last": trainer(FP32_CHANNELS_LAST),
    "recompute": trainer(FP32_CHANNELS_LAST, checkpointed=True),
    "efficient": trainer(FP32_CHANNELS_LAST, efficient=True),
}
if has_bf16(device):
    variants |= {"bf16": trainer(BF16), "efficient, bf16": trainer(BF16, efficient=True)}
else:
    print("This device has no units for bf16: the variants with bf16 are left out.")
tasks, bytes_kept = ({name: pair[i] for name, pair in variants.items()} for i in (0, 1))
seconds = in_turns(tasks)
show(pictures.step_costs(seconds, bytes_kept))

# %% [markdown]
# All but "plain" are channels-last. *Right: the bytes, the same on every machine. Left: this machine, when the notebook
# ran.* Where two ranges overlap, compare round by round:


# %%
def against(seconds, slow, fast):
    ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    faster = f"faster in {sum(ratio > 1 for ratio in ratios)} of {len(ratios)} rounds"
    return f"time ÷ {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; {faster})"


print(f"On {device.type}, each held against the second name:")
for name in list(variants)[1:]:
    base = {"channels-last": "plain", "efficient, bf16": "bf16"}.get(name, "channels-last")
    share = bytes_kept[name] / bytes_kept[base]
    print(f"{name:15} {base:13} bytes {share:4.0%}, {against(seconds, base, name)}")
assert bytes_kept["recompute"] < bytes_kept["efficient"] < bytes_kept["plain"] / 2
assert bytes_kept.get("bf16", 0) < 0.52 * bytes_kept["plain"]

# %% [markdown]
# "time ÷ 2" means half the time; below 1 the variant is slower than what it is held against. Where the rounds are
# split, claim nothing. The bytes are certain: bf16 halves them, channels-last changes none, recomputing in fp32
# keeps fewer than `efficient`.
#
# Weights, gradients and passing results come on top. On a GPU, `torch.cuda.max_memory_allocated` tells the peak of all.

# %%
if device.type == "cuda":
    for name, task in tasks.items():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task()
        peak = torch.cuda.max_memory_allocated() - before
        print(f"{name:15} peak {peak / 1e6:.0f} MB above what lay there")
else:
    print("There is no CUDA GPU here, so no peak of GPU memory was measured.")

# %% [markdown]
# ## `torch.compile`
#
# `torch.compile` turns the model into compiled code of its own, with steps fused. On a CPU it needs a C++ compiler.
# **Predict** for a block of 4 layers: seconds to compile, gain in a later step, and bytes kept.

# %%
inputs = torch.randn(16, 24, 14, 14, device=device, requires_grad=True)
eager = DenseBlock(4, 24, 12, BottleneckLayer).to(device)


def stepper(block):
    return lambda: block(inputs).square().sum().backward() or inputs.grad.sum().item()


logging.disable(logging.WARNING)  # hints about what this machine lacks
try:
    compiled = torch.compile(eager)
    start = time.perf_counter()
    stepper(compiled)()
    first = time.perf_counter() - start
    print(f"first step, compiling included: {first:.1f} s (much less once it lies in a cache)")
    laps = in_turns({"eager": stepper(eager), "compiled": stepper(compiled)})
    print("later steps:", against(laps, "eager", "compiled"))
    print(f"bytes kept: {saved_bytes(compiled, inputs) / saved_bytes(eager, inputs):.0%}")
except Exception as error:  # no compiler, or none that fits
    print(f"torch.compile does not work on this machine ({type(error).__name__}), so it was not measured.")
logging.disable(logging.NOTSET)

# %% [markdown]
# Compiling pays if the time saved over all later steps exceeds the time to compile: divide one by the other before you
# wait for it.
#
# ## The numbers, held against the formulas
#
# Channels kept by a block of 12 layers, counted and by formula. **Predict** the first column from $C = 24$, $k = 12$.

# %% tags=["nbval-check-output"]
reads = sum(layer_inputs(24, num_layers=12, growth_rate=12))
formulas = {DenseBlock: 2 * (reads + 48 * 12), CheckpointedLayers: reads,
            CheckpointedBlock: channels_after(24, num_layers=11, growth_rate=12)}
for kind, channels in formulas.items():
    model = kind(12, 24, 12, BottleneckLayer)
    counted = sum(tensor.nbytes for tensor in kept(model, maps) if tensor.ndim == 4) // 512
    print(f"{kind.__name__:18} {counted:5,} channels, by formula {channels:5,}; "
          f"{sum(p.numel() for p in model.parameters()):,} parameters")

# %% [markdown]
# ## When to use which
#
# | when | use | price | seen above |
# |---|---|---|---|
# | you only predict | `torch.inference_mode()` | none | 0 bytes |
# | you train on a CPU | channels-last | no bytes saved | the row "channels-last" |
# | the device has bf16 units | bf16 autocast, channels-last | 8 significant bits (lesson 07) | half the bytes |
# | it does not fit, or time ÷ is above 1 | `efficient=True` or `"native"` | time; no hooks in blocks | linear bytes |
# | it still does not fit | checkpoint, with `cat` inside | forward runs twice; mind BatchNorm | fewest bytes |
# | very many steps of the same shapes | `torch.compile` | the compiling | its cell |
# | never, in these blocks | in-place ReLU; checkpoint, `cat` outside | – | no byte less; still a square |

# %% [markdown]
# ## Your turn
#
# [Exercise 11](exercises/11_memory.ipynb), *hard, 35 minutes.* Write `CheckpointedLayer(layer)`: same outputs and
# gradients, fewer saved bytes, and BatchNorm's statistics move once, with no help from the training loop.

# %% [markdown]
# ## Recap
#
# - A plain block keeps every reading twice, so its bytes grow with the square of its depth. Checkpointing a layer alone
#   leaves the square; the concatenation must be made again, too.
# - Recomputing in train mode moves BatchNorm's statistics twice, unless you prevent it.
# - In a block all readers of a channel find the same mean and variance. Measured once, kept once: the same function,
#   linear bytes. Speed is measured in turns, with its spread.
#
# **Sources**
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).
# - Pleiss, Chen, Huang, Li, van der Maaten, Weinberger: *Memory-Efficient Implementation of DenseNets*, 2017,
#   [arXiv:1707.06990](https://arxiv.org/abs/1707.06990) (shared storage, recomputing).
# - Chen, Xu, Zhang, Guestrin: *Training Deep Nets with Sublinear Memory Cost*, 2016,
#   [arXiv:1604.06174](https://arxiv.org/abs/1604.06174) (checkpointing).
# - torchvision: `models/densenet.py`, the option `memory_efficient`.
#
# **Next:** [10 · What the layers learn](10_what_the_layers_learn.ipynb).
