# %% [markdown]
# # 10 · What the layers learn
#
# **Which layer of a DenseNet gives the best features? Best for which question?**
#
# After this lesson you can
# - extract frozen features at any point of DenseNet-121, and avoid three traps;
# - measure with linear probes what can be read off at each depth of a network;
# - draw the paper's picture of feature reuse, and say what it does not show.
#
# About 45 minutes, after [07 train on FashionMNIST](07_train_fashion_mnist.ipynb) and
# [08 DenseNet-121](08_densenet121.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import json
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from densenet_course import accounting
from densenet_course.data import CLASS_NAMES, ResidentBatches, load, normalise, prepare
from densenet_course.figures import features as pictures
from densenet_course.figures import show
from densenet_course.figures.images import image_grid
from densenet_course.layers import DenseBlock
from densenet_course.models import class_densenet
from densenet_course.studies.features import accuracy, edge_density, linear_probe, links, pooled_by_depth, quartile_of
from densenet_course.training import evaluate

torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


# %% [markdown]
# ## One shoe on its way
#
# Shapes are `(N, C, H, W)`. The class network of lesson 07 was trained once by
# `benchmarks/class_checkpoint.py`. Its weights came with the package. Here is its
# accuracy on 2,000 test images.

# %%
location = prepare()
train_images, train_labels = load("train", location)  # uint8 (N, 1, 28, 28), int64 (N,)
test_images, test_labels = (part[:2000] for part in load("test", location))
model = class_densenet(weights="DEFAULT").eval().requires_grad_(False)
network_accuracy = evaluate(model, ResidentBatches(test_images, test_labels, batch_size=500))[1]
print(f"{network_accuracy:.1%} of {len(test_labels):,} images")
assert network_accuracy > 0.9

# %% [markdown]
# That is about what lesson 07 reached. Now we send one boot through. At each of four
# depths the picture shows the six maps with the largest mean. Down to which depth do
# you recognise the boot?

# %%
boot = normalise(test_images[:1])  # (1, 1, 28, 28)
show(pictures.through_the_network(model, boot))

# %% [markdown]
# After the stem it is a boot, as outline or as silhouette. Some maps show the
# background instead. At 3×3 pixels nothing is left to recognise, only where and how
# strongly a map fires. Every map has its own range of grey.
#
# ## What is there at a depth?
#
# Layer ℓ makes $k$ maps $x_\ell$. The next layer reads
#
# $$F_\ell = [x_0, x_1, \dots, x_\ell]$$
#
# As in [lesson 03](03_dense_block.ipynb), we take 2 images of 3 channels and two layers
# with k = 10.

# %% tags=["nbval-check-output"]
maps = torch.randn(2, 3, 8, 8)  # F_0
for layer in DenseBlock(2, 3, growth_rate=10).children():
    before, made = maps, layer(maps)  # (N, k, H, W)
    maps = torch.cat([before, made], dim=1)  # (N, C + k, H, W)
    print(tuple(made.shape), tuple(maps.shape), "holds all before it:", torch.equal(maps[:, :before.shape[1]], before))

# %% [markdown]
# $F_1$ is inside $F_2$. Inside a block nothing is thrown away; only a transition can
# lose something. "The features of layer ℓ" may mean the 10 new maps or all 23, so say
# which.
#
# ## Taking features out of DenseNet-121
#
# Random weights will do, for the mechanics are the same. A common recipe is
# `list(network.children())[:-1]`. **Predict**: how many different depths can it reach?

# %% tags=["nbval-check-output", "hide-output"]
network = torchvision.models.densenet121().eval()
print([name for name, _ in network.named_children()][:-1])

# %% [markdown]
# One: everything but the classifier. [Lesson 08](08_densenet121.ipynb) showed that even
# there the last ReLU is missing. It is a call inside `forward`, not a module, so no
# list of modules holds it.
#
# `get_graph_node_names` follows an image through `forward` and names every step. It
# returns two lists, for train mode and for evaluation mode; we take the second. We
# count the steps that are not modules.

# %% tags=["nbval-check-output"]
_, steps = get_graph_node_names(network)  # in train mode, in eval mode
calls = [step for step in steps if step not in dict(network.named_modules())]
print(f"{len(steps)} steps, the last five: {steps[-5:]}")
print(dict(Counter(step.split(".")[-1] for step in calls)))

# %% [markdown]
# torchvision's layers are handed a *list* of maps, and each of the 58 concatenates it
# first. Each of the 4 blocks does so once more at its end: 58 + 4 = 62. `x` is the
# input; ReLU, average and flattening belong to the head.
#
# You can ask for any of the 432 steps. Here are three of them, for images of 64×64
# pixels.

# %% tags=["nbval-check-output"]
places = {"features.denseblock1": "low", "features.denseblock3": "intermediate", "relu": "high"}
extractor = create_feature_extractor(network, places).requires_grad_(False).eval()
images = torch.randn(2, 3, 64, 64)
for level, maps in extractor(images).items():
    print(f"{level:12} {tuple(maps.shape)}")

# %% [markdown]
# Deeper means more channels and fewer pixels. The extractor computes no further than
# asked, so a low level is cheap: stem and block 1 alone.

# %% tags=["nbval-check-output"]
print(f"{count(create_feature_extractor(network, ['features.denseblock1'])):,} of {count(network):,}")

# %% [markdown]
# That is 4 % of the parameters.
#
# "Frozen" has two halves: no gradients, and BatchNorm in evaluation mode. **Predict**:
# with `requires_grad_(False)`, but in train mode, what does one forward pass change?

# %% tags=["nbval-check-output", "hide-output"]
frozen = {name: value.clone() for name, value in network.state_dict().items()}
extractor.train()(images)
extractor.eval()
changed = [name for name, value in network.state_dict().items() if not torch.equal(value, frozen[name])]
print(dict(Counter(name.split(".")[-1] for name in changed)), "of", len(frozen), "entries")
print("parameters that want a gradient:", sum(p.requires_grad for p in network.parameters()))

# %% [markdown]
# No weight moved, but the statistics of all 121 BatchNorms did. They moved in
# `network`, too: the extractor shares its modules with the original. So
# `requires_grad_(False)` froze them in `network` as well. Only its classifier, which
# the extractor dropped, still wants gradients.
#
# ## Break it
#
# You want all maps that exist after layer 24 of block 3, the last one, and write
# `denselayer24`. **Predict** how many channels you get, with k = 32.

# %% tags=["nbval-check-output", "hide-output"]
names = ["features.denseblock3.denselayer24", "features.denseblock3"]
print({name: maps.shape[1] for name, maps in create_feature_extractor(network, names)(images).items()})

# %% [markdown]
# A layer's own output is its 32 new maps; the block's is all 1,024.
#
# The second slip is silent. About half of what a BatchNorm puts out here is negative.
# **Predict**: can it matter what *else* you ask for?

# %% tags=["nbval-check-output", "hide-output"]
for names in (["features.norm0"], ["features.norm0", "features.relu0"]):
    maps = create_feature_extractor(network, names)(images)["features.norm0"]
    print(names, "negative values:", bool((maps < 0).any()))

# %% [markdown]
# It can. torchvision's ReLUs work in place: they overwrite the BatchNorm's tensor
# before you read it. So the 432 steps can be had, but not all of them unchanged.
# Convolutions and concatenated maps are safe, since no ReLU follows them directly. Our
# package's ReLUs make new tensors.
#
# ## Two questions
#
# "Which layer is best?" needs a question. The first is the class. The second is
# answered by pixels alone: `edge_density` is the mean length of the brightness
# gradient. Its quartiles over the training set make four classes.

# %%
density = edge_density(train_images)
quarter = quartile_of(density, density)  # 0 … 3
chosen = torch.cat([(quarter == q).nonzero()[:2, 0] for q in range(4)])
titles = [f"quarter {quarter[i]}\n{CLASS_NAMES[train_labels[i]]}" for i in chosen]
show(image_grid(train_images[chosen], titles, columns=4))

# %% [markdown]
# The measure mixes two things: how many edges an image has, and how strong they are. So
# a dim striped garment can rank below a bright plain one.
#
# The two questions overlap. Someone who knows the class, and nothing else, guesses the
# commonest quarter of that class. By chance 25 % are right.

# %%
test_quarter = quartile_of(edge_density(test_images), density)
table = torch.bincount(4 * train_labels + quarter, minlength=40).reshape(10, 4)  # classes × quarters
by_class = (table.argmax(1)[test_labels] == test_quarter).float().mean().item()
print(f"{by_class:.1%}")
assert 0.34 < by_class < 0.48

# %% [markdown]
# About two fifths: more than chance, and far from all. So they are different questions.
#
# ## A linear probe at every depth
#
# `pooled_by_depth` takes all maps that exist at each depth, as the next reader gets
# them: after its BN and ReLU. It averages each map to one number, so a place gives `(N,
# C)`. At the last place this must be what the network's own classifier reads. We feed
# it those averages.

# %% tags=["nbval-check-output"]
drawn = torch.randperm(len(train_labels), generator=torch.Generator().manual_seed(0))[:3000]
known = pooled_by_depth(model, normalise(train_images[drawn]))  # place → (3000, C)
new = pooled_by_depth(model, normalise(test_images))
logits = model.classifier(new["block 3, layer 4"])  # (N, 10)
print(len(new), "places; the network's own logits:", torch.allclose(logits, model(normalise(test_images)), atol=1e-3))

# %% [markdown]
# Out come the network's own logits.
#
# A **linear probe** is a new classifier of this kind: one linear layer under
# cross-entropy, fitted at any place while the network stays frozen. It tells what can
# be read off there by a weighted sum. Ours is fitted on 3,000 training images. First at
# the last place, beside the network's own classifier, which was fitted on 60,000.

# %%
probe = linear_probe(known["block 3, layer 4"], train_labels[drawn])
by_probe = accuracy(probe, new["block 3, layer 4"], test_labels)
print(f"probe {by_probe:.1%}, the network {network_accuracy:.1%}")
assert network_accuracy - 0.03 < by_probe

# %% [markdown]
# A point or so below: the features had done the work. Now all 13 places and both
# questions. **Predict** the best place for each.

# %% tags=["hide-output"]
questions = {"classes": (train_labels[drawn], test_labels), "edge density": (quarter[drawn], test_quarter)}
print(" " * 20, *questions)
scores = {}
for place in known:
    scores[place] = [accuracy(linear_probe(known[place], a), new[place], b) for a, b in questions.values()]
    print(f"{place:20} {scores[place][0]:7.1%} {scores[place][1]:12.1%}")
early, late = scores["block 1, layer 2"], scores["block 3, layer 4"]
assert early[0] < late[0] - 0.05 and early[1] > late[1] + 0.08

# %% [markdown]
# One column rises throughout; the other rises and then falls. Two reference lines are
# missing here: a probe on the raw pixels, and one on untrained networks. Without the
# first we do not know whether the stem's averages tell more than the image itself.
#
# The second was measured. `benchmarks/probe.py` drew 5,000 images three times and
# judged on the whole test set, for our network and for three untrained ones.

# %%
def read_result(name):
    path = Path("../benchmarks/results") / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    print(f"no {path.name} here; from a checkout of the course, python benchmarks/{name}.py makes it")
    return None


def mean(runs, question, place, judged="test"):
    return statistics.mean(run[question][judged][place] for run in runs)


measured = read_result("probe")
networks = measured["networks"] if measured else {}
if networks:
    show(pictures.probe_curves(networks, {"classes": 0.1, "edge density": 0.25}))
for name, runs in networks.items():
    for question in questions:
        best = max(known, key=lambda place: mean(runs, question, place))
        values = [run[question]["test"][best] for run in runs]
        print(f"{name:9} {question:12} best at {best}: {min(values):.1%} to {max(values):.1%}")
        wanted = "block 3" if question == "classes" else "block 1"
        assert name != "trained" or best.startswith(wanted)

# %% [markdown]
# The classes are read best in block 3, the edges in block 1. Within block 3 the printed
# winner means little. Layers 2, 3 and 4 lie within a tenth of a point, less than the
# three draws differ. A band is the range over three draws, but of *one* trained
# network: another training could move its line.
#
# Now the grey lines, the untrained networks. **Predict** from the picture: how much of
# the fall in edge density did training cause?

# %% tags=["hide-output"]
cuts = ["stem", "block 1, layer 2", "transition 1", "block 2, layer 4", "transition 2", "block 3, layer 4"]
names = ["block 1", "transition 1", "block 2", "transition 2", "block 3"]
steps = {(name, question): [100 * (mean(runs, question, b) - mean(runs, question, a))
                            for a, b in pairwise(cuts)]
         for name, runs in networks.items() for question in questions}
print(" " * 24, *(f"{name:>13}" for name in names))
for (name, question), points in steps.items():
    print(f"{name:10} {question:13}", *(f"{value:+13.1f}" for value in points))
    assert question == "classes" or (points[1] < -3 and points[3] < -8)  # the transitions

# %% [markdown]
# Little: the untrained networks fall at the same places, the transitions, and about as
# far. What training adds is the other curve: untrained, the transitions lose classes
# too.
#
# What loses the edges there? A transition mixes the channels into half as many, and
# averages 2×2 pixels. We go step by step at transition 2. Note that the third row holds
# two steps: the trained mix, *and* the next reader's BN and ReLU.

# %%
reader = model.features.denseblock3.denselayer1  # reads what comes next, here without the pooling
mixed = nn.Sequential(*model.features[:4], *model.features.transition2[:3], reader.norm1, reader.relu1)
mixes = [torch.cat([mixed(part).mean(dim=(2, 3)) for part in normalise(x).split(500)])  # (N, 48)
         for x in (train_images[drawn], test_images)]
before, after = ((known[place], new[place]) for place in ("block 2, layer 4", "transition 2"))
half = torch.randperm(96, generator=torch.Generator().manual_seed(0))[:48]
rows = {"all 96": before, "a random half": [x[:, half] for x in before], "mixed into 48": mixes, "and pooled": after}
told = {name: accuracy(linear_probe(a, quarter[drawn]), b, test_quarter) for name, (a, b) in rows.items()}
print(", ".join(f"{name} {value:.1%}" for name, value in told.items()))
assert told["a random half"] > told["mixed into 48"] + 0.05 > told["and pooled"]

# %% [markdown]
# Throwing away half of the maps costs a few points in this one draw, and the pooling
# costs one. The largest step lies between. This table cannot divide it: the mix may
# lose the edges, or the ReLU that cuts weighted sums before they are averaged. To tell
# them apart takes a row without the ReLU, a random mix, and several random halves. They
# are not measured here.
#
# ## The pooling is part of the answer
#
# A global average forgets where an edge was. **Predict**: if the stem's 32 maps are
# averaged over 2×2 cells, giving 128 numbers, by how many points do the classes gain or
# lose?

# %% tags=["hide-output"]
for grid in (1, 2):
    a, b = (pooled_by_depth(model, normalise(x), grid=grid)["stem"] for x in (train_images[drawn], test_images))
    by_grid = accuracy(linear_probe(a, train_labels[drawn]), b, test_labels)
    print(f"{grid}×{grid} cells: {by_grid:.1%}")
assert by_grid > scores["stem"][0] + 0.05

# %% [markdown]
# They gain much, without any deeper layer. So a comparison of layers is one of layers
# *and* pooling. Ours is the network's own: the average of the whole map.
#
# ## Seen images flatter
#
# The results file also holds the probes' scores on training images that the *probe*
# never saw, but the network did. **Predict**: does the probe do as well on them as on
# test images, early and late?

# %% tags=["hide-output"]
if networks:
    for place in ("stem", "block 3, layer 4"):
        seen, unseen = (mean(networks["trained"], "classes", place, part) for part in ("seen", "test"))
        print(f"{place:16} training images {seen:.1%}, test images {unseen:.1%}, {100 * (seen - unseen):+.1f} points")
    assert seen - unseen > 0.008

# %% [markdown]
# On seen images the last place looks better than it is. The *network* learned them with
# their labels, and its late features fit them most. Compare depths on images that
# neither has seen.
#
# ## So which layer of DenseNet-121?
#
# No layer is best as such. Name the question and the pooling, take unseen images, and
# measure. `pooled_by_depth` takes torchvision's networks too: the stem, 58 layers and 3
# transitions.

# %% tags=["nbval-check-output"]
everywhere = pooled_by_depth(network, images)
print(len(everywhere), "places, the last with", everywhere["block 4, layer 16"].shape[1], "numbers an image")

# %% [markdown]
# With ImageNet weights (`weights="DEFAULT"`, a download) and your images, the loop
# above answers *your* question. It is not answered here: this network's weights are
# random, and our class network is a small one. Questions about single pixels, such as
# segmentation, need a probe at every pixel; we asked about whole images only.
#
# ## Which maps does a layer weigh most?
#
# The paper averages the absolute weights that each reader gives to each source in its
# block (figure 5). A reader is a layer, or the transition or classifier behind the
# block. We divide by the reader's mean.
#
# **Predict** the range of these numbers in an untrained network.

# %% tags=["hide-output"]
def relative_weights(network):
    size = {(block, reader, source): w.abs().mean().item() for block, reader, source, w in links(network)}
    return {key: size[key] / statistics.mean(v for k, v in size.items() if k[:2] == key[:2]) for key in size}


share = relative_weights(model)
for name, values in (("untrained", relative_weights(class_densenet()).values()), ("trained", share.values())):
    print(f"{name:9} {len(values)} links, from {min(values):.2f} to {max(values):.2f}")

# %% [markdown]
# All close to 1: initial weights favour no source. What the picture shows beyond that
# was learned, in six epochs.

# %%
show(pictures.reuse_map(model))
for block, reader in enumerate(("transition1", "transition2", "classifier"), start=1):
    row = {source: value for (b, r, source), value in share.items() if (b, r) == (block, reader)}
    print(f"{reader}: least {min(row, key=row.get)}, most {max(row, key=row.get)}")
assert min(share.values()) > 0.5 and min(row, key=row.get) == "input"

# %% [markdown]
# Each row is a reader; the paper's picture has them as columns. A first layer has one
# source only, so its 1.00 holds by definition. The paper's network is another one: 40
# plain layers, no compression, CIFAR-10. What it shows there, and here:
#
# | the paper | here |
# |---|---|
# | weights spread over all earlier layers | no link below half of its reader's mean; untrained, all are near 1 |
# | least weight on what a transition put out | clearly in transition 2 and the classifier, faintly in most layers |
# | the classifier leans to the latest maps | in part: away from the input, but the last layer is not its top |
#
# An even spread is no sign of learning: the untrained network has it too.
#
# ## Is a large weight an important link?
#
# A weight acts on what BN and ReLU let through, and other links may carry the same. So
# we cut each of the 36 links in turn and measure the loss on 1,000 test images. The
# harm is divided by the number of the source's maps. The weights above differ by less
# than a factor of two.

# %%
def loss():
    return evaluate(model, ResidentBatches(test_images[:1000], test_labels[:1000], batch_size=500))[0]


intact, harm = loss(), {}
for block, reader, source, weights in links(model):  # weights: a view into the model
    kept = weights.clone()
    weights.zero_()
    harm[block, reader, source] = (loss() - intact) / weights.shape[1]  # for each map
    weights.copy_(kept)
ordered = sorted(harm, key=harm.get)
for key in [*ordered[:3], *ordered[-3:]]:
    print(f"block {key[0]}, {key[1]:11} from {key[2]:7} weight {share[key]:.2f}, loss {harm[key]:+.5f} a map")
assert harm[ordered[-1]] > 20 * harm[ordered[len(ordered) // 2]]

# %% [markdown]
# The harms differ by factors of hundreds to thousands. The last line is a special case:
# block 1, layer 1 has a single source, so the cut silences the whole layer. And a cut
# also shifts the mean that the next BN expects, which adds some harm of its own.
#
# If weights told importance, the larger of two weights would mean the larger harm.
# **Predict**: for how many pairs of links of one reader does it? Guessing gives half.

# %% tags=["hide-output"]
pairs = [(a, b) for a in harm for b in harm if a < b and a[:2] == b[:2]]
agree = sum((share[a] > share[b]) == (harm[a] > harm[b]) for a, b in pairs)
print(f"{agree} of {len(pairs)} pairs")
assert 0.45 * len(pairs) < agree < 0.9 * len(pairs)

# %% [markdown]
# Two thirds, and that is hardly evidence. The pairs share links and all come from one
# network, so they are far from 44 independent trials.
#
# Do the sources even tell different things? The classifier reads 48 maps from its
# block's input and 16 from each layer. **Predict** what a probe makes of each group
# alone.

# %% tags=["hide-output"]
groups = known["block 3, layer 4"].split([48, 16, 16, 16, 16], dim=1)
judged = new["block 3, layer 4"].split([48, 16, 16, 16, 16], dim=1)
for name, a, b in zip(("input", *(f"layer {i}" for i in range(1, 5))), groups, judged, strict=True):
    alone = accuracy(linear_probe(a, train_labels[drawn]), b, test_labels)
    print(f"{name}: {alone:.1%}, weight {share[3, 'classifier', name]:.2f}")
    assert alone > (0.7 if location.is_sample else 0.87)

# %% [markdown]
# Each group alone does nearly as well as all 112 maps together, the input with its
# small weights too. The maps repeat each other, and no average of weights shows that.
#
# ## Your turn
#
# [Exercise 12](exercises/12_features.ipynb), *medium, 25 minutes.* Write
# `extract_features(model, images, layers)` with forward hooks. It returns each named
# module's own output, before an in-place ReLU changes it, and leaves no trace in the
# model.
#
# ## Shapes and parameters
#
# What the probes read, part by part, held against the formulas. A probe of ten classes
# has 10·C + 10 parameters.

# %% tags=["nbval-check-output"]
for row, place in zip(accounting.trace(model.config, 28), cuts, strict=False):  # the head comes last
    channels = new[place].shape[1]
    cost = 10 * channels + 10
    print(f"{place:17} {channels:3} × {row.height:2}×{row.width:<2}  part {row.parameters:6,}  probe {cost:5,}  "
          f"formulas agree: {channels == row.channels}")
print("the last probe is as large as the classifier:", cost == count(model.classifier))

# %% [markdown]
# ## Recap
#
# - The best layer depends on the question and on the pooling. In this network the edges
#   are read best in block 1, the classes in block 3. The edges are lost at the
#   transitions, trained or not.
# - `create_feature_extractor` reaches every step of `forward`. Freeze gradients *and*
#   BatchNorm, mind in-place ReLUs, and know whether a name means new maps or all.
# - Weights show which maps a layer weighs most; probes show what maps contain;
#   ablations show which it needs.
#
# **Sources.** Huang, Liu, van der Maaten and Weinberger 2017, [Densely Connected
# Convolutional Networks](https://arxiv.org/abs/1608.06993), section 5 and figure 5.
# Alain and Bengio 2016, [Understanding intermediate layers using linear classifier
# probes](https://arxiv.org/abs/1610.01644). torchvision, [Feature
# extraction](https://docs.pytorch.org/vision/stable/feature_extraction.html).
#
# **Next:** [11 · Transfer learning](11_transfer_learning.ipynb).
