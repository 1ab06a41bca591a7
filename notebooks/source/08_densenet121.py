# %% [markdown]
# # 08 · DenseNet-121
#
# **Is the network that you can build from the parts of lessons 02 to 05 the
# DenseNet-121 that everybody uses? How would you tell?**
#
# After this lesson you can
# - build DenseNet-121 from its plan and say where the 121 comes from;
# - work out its shapes, parameters and multiply-adds, and check each in a second way;
# - test whether two networks are the same function, and say what each test cannot see.
#
# About 45 minutes, after [05 bottleneck](05_bottleneck.ipynb) and [06 a small
# DenseNet](06_small_densenet.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from dataclasses import replace

import torch
import torch.nn.functional as F
import torchvision
from matplotlib import cbook
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import Bottleneck

from densenet_course import accounting
from densenet_course.config import DenseNetConfig
from densenet_course.figures import networks, show
from densenet_course.layers import BottleneckLayer, DenseBlock, transition
from densenet_course.lesson import needs_network
from densenet_course.measure import count_parameters
from densenet_course.models import (
    IMAGENET_VARIANTS,
    apply_options,
    check_images,
    dense_layer,
    densenet121,
    initialise,
    stem,
)

_ = torch.manual_seed(0)

# %% [markdown]
# ## The plan
#
# Inside a block every layer reads everything made before it; between blocks stands a
# transition. The picture is measured on a live network with one 224×224 image.

# %%
show(networks.shape_ribbon(densenet121(), 224))

# %% [markdown]
# *Higher bars are larger maps, on a logarithmic scale; wider bars are more channels.
# Grey bars are the stem and, in a block, the maps passed on unchanged; blue ones are
# made in the block. Blocks append channels; transitions halve both, channels and
# sides.*
#
# The whole plan fits into a few numbers. The rest are defaults: RGB images, 1000
# classes, θ = ½, bottlenecks of 4k.

# %% tags=["nbval-check-output"]
config = DenseNetConfig(block_layers=(6, 12, 24, 16), growth_rate=32, init_channels=64)
print(config)

# %% [markdown]
# ## The stem
#
# Shapes are `(N, C, H, W)`. The stem is a 7×7 convolution with stride 2, BN, ReLU, then
# 3×3 max pooling with stride 2.
#
# **Predict**: how many weights does its convolution have?

# %% tags=["nbval-check-output", "hide-output"]
first_part = stem(config)
print(first_part)
print(tuple(first_part(torch.randn(2, 3, 224, 224)).shape))  # (N, k0, H/4, W/4)
print(f"{first_part.conv0.weight.numel():,} weights")

# %% [markdown]
# 7·7·3·64 = 9,408 weights; 224 → 112 → 56 pixels a side. Blocks only ever see a
# sixteenth of the pixels: large images stay affordable.
#
# ## The network
#
# Five helpers stand in the class below. `stem` you have just seen.
# `dense_layer(config)` is `BottleneckLayer` of lesson 05 here. `check_images` refuses
# images that are too small, `initialise` draws the initial weights, and `apply_options`
# can exchange the blocks for those of lesson 09; here it does nothing. Read with one
# question: where does the variable `channels` change?

# %%
class DenseNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.features = stem(config)
        channels = config.init_channels
        for i, num_layers in enumerate(config.block_layers, start=1):
            layer = dense_layer(config)
            block = DenseBlock(num_layers, channels, config.growth_rate, layer)
            self.features.add_module(f"denseblock{i}", block)
            channels += num_layers * config.growth_rate
            if i < len(config.block_layers):  # no transition after the last block
                step = transition(channels, config.compression)
                self.features.add_module(f"transition{i}", step)
                channels = int(config.compression * channels)
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, config.num_classes)
        initialise(self)
        apply_options(self)

    def forward(self, images):
        if not torch.jit.is_scripting():  # torch.jit.script cannot read the check
            check_images(images, self.config)
        maps = F.relu(self.features(images))  # (N, C, H', W')
        pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)  # (N, C)
        return self.classifier(pooled)  # (N, num_classes)

# %% [markdown]
# Twice in each turn of the loop: a block appends n·k, a transition keeps θ of the sum.
# The `if` spares the last block its transition. Names such as `denseblock1` and `norm5`
# are torchvision's, on purpose: we shall load its weights.
#
# ## Why 121?
#
# The paper counts convolutions and the classifier. Lesson 05 counted 116 convolutions
# in the 58 layers. **Predict** the number in the name of the network with blocks of 6,
# 12, 32 and 32 layers.

# %% tags=["nbval-check-output", "hide-output"]
model = DenseNet(config)
larger = DenseNet(replace(config, block_layers=(6, 12, 32, 32)))
for network in (larger, model):
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    print(len(convolutions), "convolutions + 1 linear layer", end="; ")
    print("by formula:", accounting.depth(network.config))

# %% [markdown]
# 1 + 2·82 + 3 + 1 = 169, and 1 + 2·58 + 3 + 1 = 121. BatchNorm has weights too, but by
# custom it does not count.
#
# ## The shapes
#
# You know the channels of DenseNet-121: 64 → 256 → 128 → 512 → 256 → 1024 → 512 → 1024.
# The larger DenseNet-201 has blocks of 6, 12, 48 and 32 layers. **Predict** the
# channels that leave its third and fourth blocks.

# %% tags=["nbval-check-output", "hide-output"]
accounting.channel_plan((6, 12, 48, 32), growth_rate=32, init_channels=64)

# %% [markdown]
# 256 + 48·32 = 1,792, halved to 896, and 896 + 32·32 = 1,920. Back to DenseNet-121,
# live, on one image:

# %% tags=["nbval-check-output"]
maps = torch.randn(1, 3, 224, 224)
model.eval()
with torch.no_grad():
    for name, part in model.features.named_children():
        maps = part(maps)
        print(f"{name:12} {tuple(maps.shape)}")

# %% [markdown]
# The sides are halved five times: 224 = 2⁵·7.
#
# ## Parameters, to the last digit
#
# A layer that reads C channels has 2C + 128·C numbers in its first BN and 1×1, and
# 2·128 + 9·128·32 in its second BN and 3×3. Together that is 130·C + 37,120. A block of
# n layers that starts with C channels reads n·C + 32·n(n−1)/2 in all, so it has
#
# $$130\,\bigl(nC + 32\,\tfrac{n(n-1)}{2}\bigr) + 37{,}120\,n$$

# %% tags=["nbval-check-output"]
starts = (6, 64), (12, 128), (24, 256), (16, 512)  # layers, channels at the start
for i, (num_layers, channels) in enumerate(starts, start=1):
    read = num_layers * channels + 32 * num_layers * (num_layers - 1) // 2
    live = count_parameters(model.features.get_submodule(f"denseblock{i}"))
    print(f"block {i}: by hand {130 * read + 37_120 * num_layers:>9,}, live {live:>9,}")
total = accounting.parameters(config)
print(f"whole network: {total:,}, live {count_parameters(model):,}")

# %% [markdown]
# The formulas never saw the network, so the two counts support each other.
#
# ## Multiply-adds
#
# PyTorch can count operations while the network runs. It counts a multiply-add as two:
# one product and one sum. It leaves out BN, ReLU and pooling, as our formula does.
# torchvision publishes 2.834 billion multiply-adds for one image.

# %% tags=["nbval-check-output"]
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(torch.randn(1, 3, 224, 224))
meta = torchvision.models.DenseNet121_Weights.DEFAULT.meta
print(f"counted:    {counter.get_total_flops():,} operations")
print(f"by formula: {accounting.multiply_adds(config, 224):,} multiply-adds")
print(f"published:  {meta['_ops']} billion")

# %% [markdown]
# 5,668,323,328 is exactly twice 2,834,161,664. A paper that says "FLOPs" may mean
# either count, so always ask which.
#
# ## Where do the parameters sit?
#
# Layers of late blocks read many channels; layers of early blocks work on many pixels.
#
# You have seen that block 3 holds most parameters. **Predict** which block does most of
# the work, and what share of it.

# %% tags=["nbval-check-output", "hide-output"]
rows = accounting.trace(config, 224)
work = sum(row.multiply_adds for row in rows)
print(f"{'part':12} {'parameters':>11}   share   share of multiply-adds")
for row in rows:
    share, of_work = row.parameters / count_parameters(model), row.multiply_adds / work
    print(f"{row.name:12} {row.parameters:>11,} {share:7.1%} {of_work:12.1%}")

# %% [markdown]
# Block 3 holds most parameters, 35.6 %, since it has 24 layers. Block 1 has 4.2 % of
# them and does 36.7 % of the work: its maps have 64 times the pixels of block 4's.

# %%
show(networks.parameters_and_work(model, 224))

# %% [markdown]
# *Early parts do much work with few parameters, late ones the other way round.* The
# head alone holds an eighth: 1,024 · 1,000 weights. For 10 classes nearly all of them
# would go.
#
# ## Is it the same network as torchvision's?
#
# Counts agree, but counts are weak evidence. Two networks are the same function if the
# same weights give the same outputs for every input. We can try some. No download is
# needed: torchvision's random weights will do, on images of 64×64.

# %% tags=["nbval-check-output"]
theirs = torchvision.models.densenet121()
images, labels = torch.randn(2, 3, 64, 64), torch.tensor([3, 7])  # (N, 3, 64, 64), (N,)
print(len(theirs.state_dict()), "entries, for example", list(theirs.state_dict())[6])
model.load_state_dict(theirs.state_dict(), strict=True)

# %% [markdown]
# `strict=True` means: every name is there, none is left over, every shape fits. Still
# it says nothing about the order in which the parts are used.
#
# **Predict**: will the logits agree in eval mode? And in train mode, where BN takes its
# statistics from the batch?

# %% tags=["nbval-check-output", "hide-output"]
def difference(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max()).item()


for training in (False, True):
    ours, reference = model.train(training)(images), theirs.train(training)(images)
    agree = difference(ours, reference) < 1e-5
    print(f"train mode {training!s:5}: relative difference below 1e-5: {agree}")

# %% [markdown]
# Both agree. Training needs more than equal outputs, though: the gradients must agree
# too. We compare each of them.

# %% tags=["nbval-check-output"]
F.cross_entropy(ours, labels).backward()
F.cross_entropy(reference, labels).backward()
pairs = list(zip(model.parameters(), theirs.parameters(), strict=True))
worst = max(difference(a.grad, b.grad) for a, b in pairs)
print(len(pairs), "gradients, worst relative difference below 1e-5:", worst < 1e-5)

# %% [markdown]
# All 364 agree, so one step of training moves the weights of both networks alike. The
# way back works as well: our weights load into torchvision's network.

# %% tags=["nbval-check-output"]
theirs.load_state_dict(densenet121().state_dict(), strict=True)

# %% [markdown]
# ## Break it: what these tests cannot see
#
# A test is worth something only if it can fail. Here are three wrong networks, each
# different in one line:
#
# - *pool*: max pooling in the first transition, where average pooling belongs;
# - *momentum*: BatchNorms that follow each batch nine times as fast, `momentum=0.9`;
# - *head*: before the classifier the average of 2×2 pixels, not of all pixels.
#
# **Predict** for each: do logits of 64×64 images give it away, in eval mode or in train
# mode?

# %% tags=["nbval-check-output", "hide-output"]
class FixedHead(DenseNet):
    def forward(self, images):
        maps = F.relu(self.features(images))
        return self.classifier(F.avg_pool2d(maps, 2)[..., 0, 0])  # (N, C)


slips = {name: DenseNet(config) for name in ("none", "pool", "momentum")}
slips["head"] = FixedHead(config)
slips["pool"].features.transition1.pool = nn.MaxPool2d(2)
for module in slips["momentum"].modules():
    if isinstance(module, nn.BatchNorm2d):
        module.momentum = 0.9


def logits_agree(network, images, training):
    for one in (network, theirs):
        one.load_state_dict(model.state_dict(), strict=True)
        one.train(training)
    return difference(network(images), theirs(images)) < 1e-5


for name, network in slips.items():
    same_count = count_parameters(network) == count_parameters(theirs)
    passed = [logits_agree(network, images, training) for training in (False, True)]
    print(f"{name:8} same count {same_count}, eval {passed[0]!s:5}, train {passed[1]}")

# %% [markdown]
# Counts and keys are right in all four. The logits find the pooling, and miss the other
# two.
#
# **Predict** which further look would find each of them.

# %% tags=["nbval-check-output", "hide-output"]
def buffers_agree(network):
    logits_agree(network, images, training=True)  # a train pass moves the buffers
    pairs = zip(network.buffers(), theirs.buffers(), strict=True)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


other_size = torch.randn(2, 3, 96, 70)
for name, network in slips.items():
    passed = buffers_agree(network), logits_agree(network, other_size, training=False)
    print(f"{name:8} buffers agree {passed[0]!s:5}, 96×70 pixels agree {passed[1]}")

# %% [markdown]
# Running statistics after a train pass, and a second image size: 64×64 images leave
# maps of 2×2, where the two averages are the same. Our own network passes all of it.
# That is strong evidence, not proof: a test says nothing about what it does not look
# at.
#
# ## torchvision's own layout
#
# Many recipes cut a network with `list(model.children())[:-1]`. **Predict**: how many
# entries does `list(model.children())` have for DenseNet-121, with its four blocks?

# %% tags=["nbval-check-output", "hide-output"]
print([(name, type(part).__name__) for name, part in theirs.named_children()])
print([name for name, _ in theirs.features.named_children()])
print([name for name, _ in theirs.features.denseblock1.denselayer1.named_children()])

# %% [markdown]
# Two: one `Sequential` and the classifier. Blocks lie one level down, layers two, so a
# layer's BN is `features.denseblock1.denselayer1.norm1`.
#
# torchvision's `_DenseLayer` works in five steps: (1) it takes a *list* of maps, or one
# tensor; (2) concatenates them; (3) `norm1`, `relu1`, `conv1` bring them to 4k; (4)
# `norm2`, `relu2`, `conv2` make k; (5) dropout, if asked for. With
# `memory_efficient=True` steps 2 and 3 are computed again in the backward pass. Ours
# leaves step 2 to the block:

# %% tags=["nbval-check-output"]
layer = theirs.eval().features.denseblock1.denselayer2
first, second = torch.randn(2, 64, 8, 8), torch.randn(2, 32, 8, 8)
joined = torch.cat([first, second], dim=1)  # (2, 96, 8, 8)
waist = layer.conv1(layer.relu1(layer.norm1(joined)))  # (2, 4k, 8, 8)
new_maps = layer.conv2(layer.relu2(layer.norm2(waist)))  # (2, k, 8, 8)
print("a list of maps:", torch.equal(layer([first, second]), new_maps))
ours = model.eval().features.denseblock1.denselayer2
print("our layer, joined maps:", difference(ours(joined), new_maps) < 1e-5)

# %% [markdown]
# Cutting off the classifier leaves `features`. **Predict**: can those maps be negative?

# %% tags=["nbval-check-output", "hide-output"]
cut = nn.Sequential(*list(theirs.children())[:-1]).eval()
maps = cut(images)  # (N, 1024, 2, 2)
print(tuple(maps.shape), "negative values:", (maps < 0).any().item())

# %% [markdown]
# They can. The last ReLU and the global average are calls inside `forward`, not
# modules, so the cut lost both.
#
# ## Initial weights
#
# He (Kaiming) initialisation draws convolution weights with a standard deviation of
# √(2/n). For n, torchvision and we take the numbers that one output *reads* (fan-in);
# the authors' own code takes those that one input would *write to* with stride 1
# (fan-out).
#
# **Predict** for the stem, 3 to 64 channels by 7×7 windows: which rule draws the larger
# weights?

# %% tags=["nbval-check-output", "hide-output"]
drawn = densenet121().features.conv0.weight.std().item()
for what, n in (("reads", 3 * 49), ("writes to", 64 * 49)):
    print(f"{what} {n}: {(2 / n) ** 0.5:.3f}")
print(f"ours: {drawn:.2f}")

# %% [markdown]
# Ours are nearly five times as large in the stem. BatchNorm follows each convolution
# before the next one reads it, so the scale of the maps does not suffer. BN itself
# starts at γ = 1 and β = 0, the classifier's bias at 0.
#
# The paper then trains on ImageNet for 90 epochs in batches of 256, with Nesterov
# momentum 0.9 and weight decay 1e-4. The learning rate starts at 0.1 and is divided by
# 10 at epochs 30 and 60 (section 4.2). Dropout of 0.2 appears only where the data are
# not augmented, so not here.
#
# ## The family
#
# Five networks share one class. The paper's table 1 has 121, 169, 201 and 264. The
# authors' page lists 161 beside the first three, and 264 with the models of a later
# report. 161 is wider, and it is what libraries ship.
#
# | network | layers in blocks | k |
# |---|---|---|
# | 121 | 6, 12, 24, 16 | 32 |
# | 161 | 6, 12, 36, 24 | 48 |
# | 169 | 6, 12, 32, 32 | 32 |
# | 201 | 6, 12, 48, 32 | 32 |
# | 264 | 6, 12, 64, 48 | 32 |
#
# **Predict**: which of the five has most parameters, and is 161 above or below 201?
# (Top-1 is the accuracy as you know it. Top-5 counts an image as right if its class is
# among the five highest scores. An error is 100 % minus the accuracy.)

# %% tags=["nbval-check-output", "hide-output"]
print("network       parameters  G mult-adds  top-1 %  top-5 %")
for name, variant in IMAGENET_VARIANTS.items():
    one = DenseNetConfig(**variant)
    work, numbers = accounting.multiply_adds(one, 224) / 1e9, accounting.parameters(one)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    top1, top5 = weights.meta["_metrics"]["ImageNet-1K"].values()
    print(f"{name:12} {numbers:>11,} {work:>12.3f} {top1:>8.3f} {top5:>8.3f}")
paper = DenseNetConfig(block_layers=(6, 12, 64, 48), growth_rate=32, init_channels=64)
work, numbers = accounting.multiply_adds(paper, 224) / 1e9, accounting.parameters(paper)
print(f"densenet264  {numbers:>11,} {work:>12.3f}")

# %% [markdown]
# 264 has most. But 161 lies above 201 with fewer layers, because it is wider: with k =
# 48 instead of 32 every layer reads more and makes more, and its stem gives 2k = 96
# maps. Accuracies come from the metadata of torchvision's weights, the other numbers
# from our formulas.
#
# 169 and 201 grow only in blocks 3 and 4. Why there? Price the last layer of each block
# of DenseNet-121.

# %% tags=["nbval-check-output"]
for row in rows:
    if "block" in row.name:
        reads, size = row.channels - 32, {"height": row.height, "width": row.width}
        layer = accounting.layer_cost(config, reads, name=row.name, **size)
        numbers = f"{layer.parameters:>7,} parameters"
        print(f"{row.name} reads {reads:3}: {numbers}", end=", ")
        print(f"{layer.multiply_adds:>11,} multiply-adds")

# %% [markdown]
# The last layer of block 4 has 2.5 times the parameters of block 1's and does
# 4 % of the work. Depth is cheap where maps are small.
#
# On CIFAR the paper's networks have three blocks and 3×3 stems. Their errors in
# percent, with augmentation, from the authors' page:
#
# | network | CIFAR-10 | CIFAR-100 |
# |---|---|---|
# | DenseNet, L = 40, k = 12 (lesson 05) | 5.24 | 24.42 |
# | DenseNet-BC, L = 100, k = 12 (lesson 05) | 4.51 | 22.27 |
# | DenseNet-BC, L = 250, k = 24 | 3.62 | 17.60 |
# | DenseNet-BC, L = 190, k = 40 | 3.46 | 17.18 |
#
# How does the family stand against ResNets? The picture takes the first ImageNet
# weights that torchvision published for each network.

# %%
others = networks.published("resnet18", "resnet34", "resnet50", "resnet101")
show(networks.family(networks.published(*IMAGENET_VARIANTS), others))

# %% [markdown]
# Between 12 and 22 million parameters the blue line lies more than 3 points below the
# grey one. At ResNet-50's 25.6 million it is about 1 point. The two families were
# trained by different people, so small gaps mean little. And parameters are not the
# whole price.

# %% tags=["nbval-check-output"]
for name in ("resnet50", "densenet121", "densenet169", "densenet201"):
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    error = 100 - meta["_metrics"]["ImageNet-1K"]["acc@1"]
    numbers, uses = meta["num_params"] / 1e6, meta["_ops"] * 1e9 / meta["num_params"]
    print(f"{name:12} {numbers:5.1f} M parameters, error {error:5.2f} %", end=", ")
    print(f"{uses:4.0f} multiply-adds per parameter")

# %% [markdown]
# Each parameter of a DenseNet is used more often per image: 214 to 355 times, against
# 160 in ResNet-50. DenseNet-121 has 31 % of ResNet-50's parameters.
#
# **Predict**: do DenseNet-121's layers also read fewer map values for one image than
# ResNet-50's?

# %% tags=["nbval-check-output", "hide-output"]
def values_read(network):
    total = []

    def count(module, x, out):
        if isinstance(module, Bottleneck):  # its sum reads two tensors of one size
            total.append(2 * out.numel())
        elif isinstance(module, BottleneckLayer):  # cat joins what it read and made
            total.append(x[0].numel() + out.numel())
        elif not list(module.children()):  # convolutions, BN, ReLU, pooling, linear
            total.append(x[0].numel())

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, 224, 224))
    return sum(total) / 1e6


resnet = torchvision.models.resnet50()
print(f"ResNet-50    {values_read(resnet):.1f} million values read for one image")
print(f"DenseNet-121 {values_read(densenet121()):.1f} million")

# %% [markdown]
# They read 1.3 times as many: each layer reads all maps before it again. A fair
# summary:
#
# | for DenseNet | against |
# |---|---|
# | 201 has 0.8 points less error than ResNet-50 and 22 % fewer parameters | 4.29 instead of 4.09 G multiply-adds |
# | 169 has 45 % fewer parameters | 0.5 points more error |
# | every layer is close to the loss (lesson 01) | more memory traffic, and old maps are kept |
#
# ## Pretrained weights
#
# torchvision publishes weights trained on ImageNet. They expect colour pictures, scaled
# and normalised as `weights.transforms()` does. The picture is a photograph that
# matplotlib brings along, a portrait of Grace Hopper, computer scientist and rear
# admiral in uniform. ImageNet's 1,000 classes have no "person". Online, the next cell
# shows what is named instead; offline it is skipped, as on this page. The weights are
# fetched once and kept on disk.

# %%
weights = torchvision.models.DenseNet121_Weights.DEFAULT
with needs_network("the picture is not classified"):
    pretrained = densenet121(weights=weights).eval()
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        picture = weights.transforms()(Image.open(file))[None]  # (1, 3, 224, 224)
    shares = pretrained(picture).softmax(1)[0]  # (1000,)
    for i in shares.argsort(descending=True)[:5].tolist():
        print(f"{weights.meta['categories'][i]:20} {shares[i]:.1%}")

# %% [markdown]
# ## Your turn
#
# [Exercise 8](exercises/08_densenet121.ipynb), *hard, 40 minutes.* Write the whole
# network without this package's or torchvision's parts.
#
# [Exercise 14](exercises/14_bug_hunt.ipynb), *hard, 90 minutes.* Eight DenseNet
# programs, each wrong in one way: find the cause and repair it.
#
# ## Recap
#
# - 121 = 1 + 2·58 + 3 + 1; channels run 64 → 256 → 128 → 512 → 256 → 1024 → 512 → 1024.
# - 7,978,856 parameters and 2,834,161,664 multiply-adds, by formula and by count.
# - Equal counts and keys say little. Equal logits, gradients, buffers, at several sizes
#   and in both modes, say much.
#
# **Sources.** Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional
# Networks*, CVPR 2017, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), table 1
# and sections 3 and 4. The authors'
# [repository](https://github.com/liuzhuang13/DenseNet): CIFAR errors, DenseNet-161,
# initial weights in `models/densenet.lua`. torchvision: `models/densenet.py` and the
# metadata of its weights.
#
# **Next:** [09 · Memory and speed](09_memory_and_speed.ipynb) asks what all those old
# maps cost.
