# %% [markdown]
# # 08 · DenseNet-121
#
# **DenseNet-121 is made of the parts you know, with 58 layers in four blocks, and all its numbers can be worked out by
# hand.**
#
# Afterwards you can
# - build DenseNet-121 from its plan and say where the 121 comes from;
# - work out its shapes, parameters and multiply-adds, and check them in three ways;
# - prove that two networks are the same function, and say why equal counts prove nothing.
#
# About 45 minutes. Read before: [04 transition](04_transition.ipynb), [05 bottleneck](05_bottleneck.ipynb) and
# [06 a small DenseNet](06_small_densenet.ipynb).

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import io
import socket
from contextlib import redirect_stdout
from dataclasses import replace

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densenet_course import accounting
from densenet_course.config import DenseNetConfig
from densenet_course.figures import networks, show
from densenet_course.layers import DenseBlock, transition
from densenet_course.models import (
    IMAGENET_VARIANTS,
    apply_options,
    check_images,
    dense_layer,
    densenet121,
    initialise,
    stem,
)
from densenet_course.pretrained import modern_keys

torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


# %% [markdown]
# ## The plan
#
# Inside a block, layer $\ell$ reads everything made before it (equation 2 of the paper):
#
# $$x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}])$$
#
# Between blocks stands a transition. The picture is measured on a live network with one 224×224 image.

# %%
show(networks.shape_ribbon(densenet121(), 224))

# %% [markdown]
# Every step right trades pixels for channels. Box width is the number of channels, box height the logarithm of the
# map's side. Grey maps are handed on unchanged, blue ones are made in the block.
#
# The whole plan fits into a few numbers. The rest are defaults: RGB images, 1000 classes, θ = ½, bottlenecks of 4k.

# %% tags=["nbval-check-output"]
config = DenseNetConfig(block_layers=(6, 12, 24, 16), growth_rate=32, init_channels=64)
print(config)

# %% [markdown]
# ## The stem
#
# Shapes are `(N, C, H, W)`. The stem is a 7×7 convolution with stride 2, BN, ReLU, then 3×3 max pooling with stride 2.
#
# **Predict:** what becomes of 224×224 pixels? How many weights has the convolution from 3 channels to 64, without bias?

# %% tags=["nbval-check-output"]
first_part = stem(config)
print(first_part)
print(tuple(first_part(torch.randn(2, 3, 224, 224)).shape))  # (N, k0, H/4, W/4)
print(f"{first_part.conv0.weight.numel():,} weights")

# %% [markdown]
# 224 → 112 → 56, and 7·7·3·64 = 9,408 weights. Blocks only ever see a sixteenth of the pixels: large images stay
# affordable.
#
# ## The network
#
# `dense_layer(config)` returns a function that builds one bottleneck layer. Read the class below with one question:
# where does the variable `channels` change?

# %%
class DenseNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.features = stem(config)
        channels = config.init_channels
        for i, num_layers in enumerate(config.block_layers, start=1):
            block = DenseBlock(num_layers, channels, config.growth_rate, dense_layer(config))
            self.features.add_module(f"denseblock{i}", block)
            channels += num_layers * config.growth_rate
            if i < len(config.block_layers):  # no transition after the last block
                self.features.add_module(f"transition{i}", transition(channels, config.compression))
                channels = int(config.compression * channels)
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, config.num_classes)
        initialise(self)
        apply_options(self)

    def forward(self, images):
        if not torch.jit.is_scripting():  # TorchScript cannot read the check
            check_images(images, self.config)
        maps = F.relu(self.features(images))  # (N, C, H', W')
        pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)  # (N, C)
        return self.classifier(pooled)  # (N, num_classes)

# %% [markdown]
# Twice in each turn of the loop: a block adds L·k, a transition keeps θ of the sum. The `if` spares the last block its
# transition. Names such as `denseblock1` and `norm5` are torchvision's, on purpose: we shall load its weights.
#
# `check_images` refuses images that are too small. `initialise` sets the first weights; we come back to it.
# `apply_options` changes the parts where the configuration asks for it, as the efficient blocks of lesson 09.
#
# ## Why 121?
#
# The paper counts convolutions and the classifier. A bottleneck layer has two convolutions, a transition one.
# **Predict** the sum: 1 for the stem, then 6 + 12 + 24 + 16 = 58 layers, 3 transitions, 1 classifier.

# %% tags=["nbval-check-output"]
model = DenseNet(config)
convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
print(len(convolutions), "convolutions + 1 linear layer")
print("by formula:", accounting.depth(config))

# %% [markdown]
# 1 + 2·58 + 3 + 1 = 121. BatchNorm has weights too, but by custom it does not count.
#
# ## The shapes
#
# **Predict** the channels after each block before you run this. Start from 64, add 32 for every layer, halve at each
# transition.

# %% tags=["nbval-check-output"]
maps = torch.randn(1, 3, 224, 224)
model.eval()
with torch.no_grad():
    for name, part in model.features.named_children():
        maps = part(maps)
        print(f"{name:12} {tuple(maps.shape)}")

# %% [markdown]
# 64 → 256 → 128 → 512 → 256 → 1024 → 512 → 1024. The sides go 112 → 56 → 28 → 14 → 7, so 224 = 32·7.
#
# ## Parameters, to the last digit
#
# A layer that reads C channels has 2C + 128·C + 2·128 + 9·128·32 numbers: BN, 1×1, BN, 3×3. The first reads 64.
# **Predict:** 130·64 + 37,120 = ?

# %% tags=["nbval-check-output"]
print(f"first layer:   {count(model.features.denseblock1.denselayer1):>9,}")
print(f"whole network: {count(model):>9,}")
print(f"by formula:    {accounting.parameters(config):>9,}")

# %% [markdown]
# 45,440, and 7,978,856 for all of it. The formula never saw the network, so the two counts support each other.
#
# ## Multiply-adds
#
# PyTorch can count operations while the network runs. It counts a multiply-add as two: one product and one sum.
# torchvision publishes 2.834 billion multiply-adds for one image. **Predict** PyTorch's count.

# %% tags=["nbval-check-output"]
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(torch.randn(1, 3, 224, 224))
meta = torchvision.models.DenseNet121_Weights.DEFAULT.meta
print(f"counted:    {counter.get_total_flops():,} operations")
print(f"by formula: {accounting.multiply_adds(config, 224):,} multiply-adds")
print(f"published:  {meta['_ops']} billion")

# %% [markdown]
# 5,668,323,328 is exactly twice 2,834,161,664. A paper that says "FLOPs" may mean either count, so always ask which.
#
# ## Where do the parameters sit?
#
# Layers of late blocks read many channels; layers of early blocks work on many pixels.
# **Predict:** which block holds most parameters, and which does most work?

# %% tags=["nbval-check-output"]
rows = accounting.trace(config, 224)
work = sum(row.multiply_adds for row in rows)
print(f"{'part':12} {'parameters':>11}   share   share of multiply-adds")
for row in rows:
    print(f"{row.name:12} {row.parameters:>11,} {row.parameters / count(model):7.1%} {row.multiply_adds / work:12.1%}")

# %% [markdown]
# Block 3 holds most parameters, 35.6 %, since it has 24 layers. Block 1 has 4.2 % of them and does 36.7 % of the work:
# its maps have 64 times the pixels of block 4's. The next picture counts the same on the live network.

# %%
show(networks.parameters_by_part(model))

# %% [markdown]
# The head alone holds an eighth: 1,024 · 1,000 weights. For 10 classes nearly all of them would go.
#
# ## Is it the same network as torchvision's?
#
# Counts agree, but counts are weak evidence. Two networks are the same if the same weights give the same outputs. No
# download is needed: torchvision's random weights will do. The shapes need no 224 pixels either, so we take 64.

# %% tags=["nbval-check-output"]
theirs = torchvision.models.densenet121()
images, labels = torch.randn(2, 3, 64, 64), torch.tensor([3, 7])  # (N, 3, 64, 64), (N,)
print(len(theirs.state_dict()), "entries, for example", list(theirs.state_dict())[6])
model.load_state_dict(theirs.state_dict(), strict=True)

# %% [markdown]
# `strict=True` means: every name is there, none is left over, every shape fits. Still it says nothing about the order
# in which the parts are used.
#
# **Predict:** will the logits agree in eval mode? And in train mode, where BN takes its statistics from the batch?

# %% tags=["nbval-check-output"]
def difference(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max()).item()


for training in (False, True):
    ours, reference = model.train(training)(images), theirs.train(training)(images)  # (N, 1000)
    print(f"train mode {training!s:5}: relative difference below 1e-5: {difference(ours, reference) < 1e-5}")

# %% [markdown]
# Both agree. Training needs more than equal outputs, though: the gradients must agree too. We compare each of them.

# %% tags=["nbval-check-output"]
F.cross_entropy(ours, labels).backward()
F.cross_entropy(reference, labels).backward()
pairs = list(zip(model.parameters(), theirs.parameters(), strict=True))
worst = max(difference(a.grad, b.grad) for a, b in pairs)
print(len(pairs), "gradients, worst relative difference below 1e-5:", worst < 1e-5)

# %% [markdown]
# All 364 agree, so one step of training takes both networks to the same place. The way back works as well: our weights
# load into torchvision's network.

# %% tags=["nbval-check-output"]
theirs.load_state_dict(densenet121().state_dict(), strict=True)

# %% [markdown]
# ## Break it: what counting cannot see
#
# A test is worth something only if it can fail. Put max pooling into the first transition, where average pooling
# belongs. Pooling has no weights. **Predict:** which of the three checks notices?

# %% tags=["nbval-check-output"]
wrong = DenseNet(config).eval()
wrong.features.transition1.pool = nn.MaxPool2d(2)
print("parameters:", count(wrong) == count(model))
print("strict loading:", wrong.load_state_dict(model.state_dict(), strict=True))
print("same logits:", difference(wrong(images), model.eval()(images)) < 1e-5)

# %% [markdown]
# Only the logits notice. Now an error that the count does see: a fourth transition after the last block. It adds
# 2·1,024 + 1,024·512 numbers. BN and classifier then have 512 channels fewer: 2·512 + 512·1,000 numbers go.
# **Predict** the sum.

# %% tags=["nbval-check-output"]
wrong = DenseNet(config)
del wrong.features.norm5
wrong.features.add_module("transition4", transition(1024))
wrong.features.add_module("norm5", nn.BatchNorm2d(512))
wrong.classifier = nn.Linear(512, 1000)
print(f"{count(wrong) - count(model):+,} of {count(model):,}")

# %% [markdown]
# Only 13,312 too many, 0.2 %: rounded to "8.0 million" it hides. It even runs. Strict loading names what does not fit:

# %% tags=["nbval-check-output"]
try:
    wrong.load_state_dict(model.state_dict(), strict=True)
except RuntimeError as error:
    for line in str(error).splitlines()[1:]:
        print(line.strip()[:72], "…")

# %% [markdown]
# The names lead straight to `transition4`. Two other slips are louder: channels not halved (θ = 1), and no bottleneck.
# **Predict:** which one makes the network larger?

# %% tags=["nbval-check-output"]
for slip in ({"compression": 1.0}, {"bottleneck_factor": None}):
    print(f"{slip!s:28} {accounting.parameters(replace(config, **slip)) - count(model):+12,}")

# %% [markdown]
# Both do. A plain layer that reads C channels has 290·C numbers, a bottleneck layer 130·C + 37,120. They are equal at
# C = 232, and layers here read up to 992.
#
# ## torchvision's own layout
#
# Many recipes cut a network with `list(model.children())[:-1]`. **Predict:** how many entries has that list for
# DenseNet-121, with its four blocks?

# %% tags=["nbval-check-output"]
print([(name, type(part).__name__) for name, part in theirs.named_children()])
print([name for name, _ in theirs.features.named_children()])
print([name for name, _ in theirs.features.denseblock1.denselayer1.named_children()])

# %% [markdown]
# Two: one `Sequential` and the classifier. Blocks lie one level down, layers two, so a layer's BN is
# `features.denseblock1.denselayer1.norm1`.
#
# Cutting off the classifier leaves `features`. **Predict:** can those maps be negative?

# %% tags=["nbval-check-output"]
cut = nn.Sequential(*list(theirs.children())[:-1]).eval()
maps = cut(images)  # (N, 1024, 2, 2)
print(tuple(maps.shape), "negative values:", (maps < 0).any().item())

# %% [markdown]
# They can. The last ReLU and the global average are calls inside `forward`, not modules, so the cut lost both.
#
# ## First weights
#
# `initialise` follows the paper's authors. Convolutions get Kaiming normal weights, of spread √(2 / numbers read).
# BN starts at γ = 1 and β = 0, the classifier's bias at 0. The stem reads 7·7·3 = 147 numbers. **Predict** its spread.

# %% tags=["nbval-check-output"]
fresh = densenet121()
print(f"stem: {fresh.features.conv0.weight.std():.2f}, expected {(2 / 147) ** 0.5:.2f}")
print("γ = 1, β = 0:", all(bool((m.weight == 1).all() and (m.bias == 0).all())
                           for m in fresh.modules() if isinstance(m, nn.BatchNorm2d)))
print("classifier's bias is 0:", fresh.classifier.bias.abs().max().item() == 0)

# %% [markdown]
# 0.12, as √(2/147) asks.
#
# The paper then trains on ImageNet for 90 epochs in batches of 256, with Nesterov momentum 0.9 and weight decay 1e-4.
# The learning rate starts at 0.1 and is divided by 10 at epochs 30 and 60 (section 4.2). Dropout of 0.2 appears only
# where data is not augmented, so not here.
#
# ## The family
#
# Four networks share one class. **Predict** from their plans: which has most parameters?

# %% tags=["nbval-check-output"]
print("network      layers in blocks    k  parameters  G mult-adds  top-1 %  top-5 %")
for name, variant in IMAGENET_VARIANTS.items():
    one = DenseNetConfig(**variant)
    score = torchvision.models.get_model_weights(name).DEFAULT.meta["_metrics"]["ImageNet-1K"]
    print(f"{name:12} {one.block_layers!s:17} {one.growth_rate:>3} {accounting.parameters(one):>11,} "
          f"{accounting.multiply_adds(one, 224) / 1e9:>12.3f} {score['acc@1']:>8.3f} {score['acc@5']:>8.3f}")

# %% [markdown]
# 161: it is wider. With k = 48 instead of 32 every layer reads more and makes more, and its stem gives 2k = 96 maps.
# Accuracies come from the metadata of torchvision's weights, the other numbers from our formulas.
#
# 169 and 201 grow only in blocks 3 and 4. Why there? Price the last layer of each block of DenseNet-121.

# %% tags=["nbval-check-output"]
for row in rows:
    if "block" in row.name:
        reads = row.channels - config.growth_rate
        layer = accounting.layer_cost(config, reads, name=row.name, height=row.height, width=row.width)
        print(f"{row.name} reads {reads:3}: {layer.parameters:>7,} parameters, {layer.multiply_adds:>11,} mult-adds")

# %% [markdown]
# The last layer of block 4 has 2.5 times the parameters of block 1's and does a twenty-fifth of the work. Depth is
# cheap where maps are small.
#
# How does the family stand against ResNets? The picture takes torchvision's first ImageNet weights of each.

# %%
others = networks.published("resnet18", "resnet34", "resnet50", "resnet101")
show(networks.family(networks.published(*IMAGENET_VARIANTS), others))

# %% [markdown]
# Between 12 and 22 million parameters the blue line lies more than 3 points below the grey one. At ResNet-50's
# 25.6 million it is about 1 point. The two families were trained by different people, so small gaps mean little.
# And parameters are not the whole price.

# %% tags=["nbval-check-output"]
for name in ("resnet50", "densenet121", "densenet169", "densenet201"):
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    top1, ops = meta["_metrics"]["ImageNet-1K"]["acc@1"], meta["_ops"] * 1e9
    print(f"{name:12} {meta['num_params'] / 1e6:5.1f} M parameters, error {100 - top1:5.2f} %, "
          f"{ops / meta['num_params']:4.0f} multiply-adds per parameter")

# %% [markdown]
# A DenseNet parameter works more than one of ResNet-50: 214 to 355 times an image against 160. And each layer reads
# all maps before it again. DenseNet-121 has 31 % of ResNet-50's parameters. **Predict:** does it read fewer numbers?

# %% tags=["nbval-check-output"]
def numbers_read(network):
    total = []
    for module in network.modules():
        if not list(module.children()):  # convolutions, BN, ReLU, pooling, linear
            module.register_forward_hook(lambda module, inputs, output: total.append(inputs[0].numel()))
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, 224, 224))
    return sum(total) / 1e6


print(f"ResNet-50    {numbers_read(torchvision.models.resnet50()):.1f} million numbers read for one image")
print(f"DenseNet-121 {numbers_read(densenet121()):.1f} million, and concatenation comes on top")

# %% [markdown]
# It reads 1.5 times as many. A fair summary:
#
# | for DenseNet | against |
# |---|---|
# | 201 has 0.8 points less error than ResNet-50 and 22 % fewer parameters | 4.29 instead of 4.09 G multiply-adds |
# | 169 has 45 % fewer parameters | 0.5 points more error |
# | every layer is close to the loss (lesson 01) | more memory traffic, and old maps are kept |
#
# ## Pretrained weights
#
# Published files are older than today's names: `norm.1` then, `norm1` now. The package renames them while loading.

# %% tags=["nbval-check-output"]
list(modern_keys({"features.denseblock1.denselayer1.norm.1.weight": 0}))

# %%
socket.setdefaulttimeout(5)  # seconds: no long wait where there is no network
try:
    with redirect_stdout(io.StringIO()):  # keeps the name of a folder out of the page
        pretrained = densenet121(weights="DEFAULT")
    print(f"loaded {count(pretrained):,} trained parameters")
except OSError:
    print("No network: the weights were not loaded. Nothing else in this lesson needs them.")

# %% [markdown]
# With a network this fetches torchvision's weights once and keeps them on disk.
#
# ## Your turn
#
# [Exercise 8](exercises/08_densenet121.ipynb), *hard, 40 minutes.* Write `densenet121(num_classes=1000)` without
# importing this package's or torchvision's parts. Given torchvision's random parameters and buffers in registration
# order, it must give the same logits in eval and train mode.
#
# [Exercise 14](exercises/14_bug_hunt.ipynb), *hard, 90 minutes.* Eight DenseNet programs, each wrong in one way:
# find the cause and repair it.
#
# ## Shapes and parameters in one table
#
# Formulas on the left, the live network on the right.

# %% tags=["nbval-check-output"]
for row in rows[1:-1]:
    shape = f"{row.channels} × {row.height} × {row.width}"
    print(f"{row.name:12} {shape:>14} {row.parameters:>10,} {count(getattr(model.features, row.name)):>10,}")
print(f"with stem and head: {sum(row.parameters for row in rows):>18,} {count(model):>10,}")

# %% [markdown]
# ## Recap
#
# - 121 = 1 + 2·58 + 3 + 1; channels run 64 → 256 → 128 → 512 → 256 → 1024 → 512 → 1024.
# - 7,978,856 parameters and 2,834,161,664 multiply-adds, by formula and by count.
# - Same keys and counts do not make the same function. Same weights, then same logits and gradients: that does.
#
# **Sources**
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*, CVPR 2017,
#   [arXiv:1608.06993](https://arxiv.org/abs/1608.06993), table 1 and sections 3 and 4.
# - The authors' [repository](https://github.com/liuzhuang13/DenseNet): DenseNet-161.
# - torchvision: `models/densenet.py` and the metadata of its weights.
#
# **Next:** [09 · Memory and speed](09_memory_and_speed.ipynb) asks what all those old maps cost.
