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
from collections import Counter
from itertools import combinations
from statistics import mean

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.feature_extraction import (
    create_feature_extractor,
    get_graph_node_names,
)

from densenet_course import results
from densenet_course.data import CLASS_NAMES, ResidentBatches, load, normalise, prepare
from densenet_course.explorer import explore
from densenet_course.figures import features as pictures
from densenet_course.figures import probes, show
from densenet_course.figures.images import image_grid
from densenet_course.layers import DenseBlock
from densenet_course.models import class_densenet
from densenet_course.studies.features import (
    accuracy,
    best_places,
    edge_density,
    linear_probe,
    links,
    pooled_by_depth,
    quartile_of,
)
from densenet_course.studies.transfer import measure_batchnorm
from densenet_course.training import evaluate

_ = torch.manual_seed(0)

# %% [markdown]
# ## One shoe on its way
#
# Shapes are `(N, C, H, W)`. The class network of lesson 07 was trained once by
# `benchmarks/class_checkpoint.py`, and its weights came with the package. Here is its
# accuracy on 2,000 test images.

# %%
location = prepare()
train_images, train_labels = load("train", location)  # uint8 (N, 1, 28, 28), int64 (N,)
test_images, test_labels = (part[:2000] for part in load("test", location))
model = class_densenet(weights="DEFAULT")  # or yours: "runs/class_densenet.pt"
model.eval().requires_grad_(False)
batches = ResidentBatches(test_images, test_labels, batch_size=500)
network_accuracy = evaluate(model, batches)[1]
print(f"{network_accuracy:.1%} of {len(test_labels):,} images")

# %% tags=["remove-cell"]
assert network_accuracy > 0.9

# %% [markdown]
# It had six epochs of lesson 07's training; the lesson itself makes do with three. Now
# we send one boot through. At each of four depths the picture shows the six maps with
# the largest mean. Down to which depth do you recognise the boot?

# %%
boot = normalise(test_images[:1])  # (1, 1, 28, 28)
show(pictures.through_the_network(model, boot))

# %% [markdown]
# Up to block 1 it is a boot, as outline or as silhouette; some maps show the background
# instead. At 7×7 pixels a slope is left, at 3×3 only where a map fires. Every map has
# its own range of grey, so brightness cannot be compared between maps.
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
    before, new_maps = maps, layer(maps)  # (N, k, H, W)
    maps = torch.cat([before, new_maps], dim=1)  # (N, C + k, H, W)
    inside = torch.equal(maps[:, :before.shape[1]], before)
    print(f"{new_maps.shape[1]} new maps, {maps.shape[1]} in all", end="; ")
    print("all earlier ones inside:", inside)

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
# `get_graph_node_names` follows a stand-in for an image through `forward` and names
# every step. It returns two lists, for train mode and for evaluation mode; we take the
# second. We count the steps that are not modules.

# %% tags=["nbval-check-output"]
_, steps = get_graph_node_names(network)  # (in train mode, in evaluation mode)
modules = dict(network.named_modules())
calls = [step for step in steps if step not in modules]
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
blocks = {"features.denseblock1": "low", "features.denseblock3": "middle"}
extractor = create_feature_extractor(network, blocks | {"relu": "high"})
extractor.requires_grad_(False).eval()
images = torch.randn(2, 3, 64, 64)
for level, maps in extractor(images).items():
    print(f"{level:6} {tuple(maps.shape)}")

# %% [markdown]
# Deeper means fewer pixels. The channels grow inside a block, and each transition
# halves them: blocks 3 and 4 both end with 1,024. The extractor computes no further
# than asked, so a low level is cheap.
#
# "Frozen" has two halves: no gradients, and BatchNorm in evaluation mode. **Predict**:
# with `requires_grad_(False)`, but in train mode, what does one forward pass change?

# %% tags=["nbval-check-output", "hide-output"]
before = {name: value.clone() for name, value in network.state_dict().items()}
extractor.train()(images)
extractor.eval()
after = network.state_dict()
changed = [name for name in before if not torch.equal(before[name], after[name])]
kinds = dict(Counter(name.split(".")[-1] for name in changed))
print(kinds, "of", len(before), "entries")
wanted = sum(p.requires_grad for p in network.parameters())
print("parameters that want a gradient:", wanted)

# %% [markdown]
# No weight moved, but the statistics of all 121 BatchNorms did. They moved in
# `network`, too, and its gradients are off: the extractor shares its modules. Only the
# classifier, which the extractor dropped, still wants gradients.
#
# ## Break it
#
# You want all maps that exist after layer 24 of block 3, the last one, and write
# `denselayer24`.

# %% tags=["nbval-check-output"]
names = ["features.denseblock3.denselayer24", "features.denseblock3"]
found = create_feature_extractor(network, names)(images)
print({name: maps.shape[1] for name, maps in found.items()})

# %% [markdown]
# A layer's own output is its 32 new maps; the block's is all 1,024.
#
# The second slip is silent. About half of what a BatchNorm puts out here is negative.
# torchvision's ReLUs work in place (lesson 09): they write over the tensor that they
# read. **Predict**: does `features.norm0` hold negative values if you ask for it alone?
# And together with `features.relu0`?

# %% tags=["nbval-check-output", "hide-output"]
for names in (["features.norm0"], ["features.norm0", "features.relu0"]):
    maps = create_feature_extractor(network, names)(images)["features.norm0"]
    print(names, "negative values:", bool((maps < 0).any()))

# %% [markdown]
# It matters what *else* you ask for: the ReLU has overwritten the BatchNorm's tensor
# before you read it. So each of the 432 steps can be had, but not all of them unchanged
# in one extractor. Convolutions and concatenated maps are safe, since no ReLU follows
# them directly. Our package's ReLUs make new tensors.
#
# ## Two questions
#
# "Which layer is best?" needs a question. The first is the class. The second is
# answered by pixels alone: `edge_density` is the mean length of the brightness
# gradient. Sorted by density, the training images are cut into four equal parts:
# quarter 0 has the least edges, quarter 3 the most.

# %%
density = edge_density(train_images)
quarter = quartile_of(density, density)  # 0 … 3
examples = torch.cat([(quarter == q).nonzero()[:2, 0] for q in range(4)])
titles = [f"quarter {quarter[i]}\n{CLASS_NAMES[train_labels[i]]}" for i in examples]
show(image_grid(train_images[examples], titles, columns=4))

# %% [markdown]
# The measure mixes two things: how many edges an image has, and how strong they are. So
# a dim striped garment can rank below a bright plain one.
#
# The two questions overlap. Someone who knows the class, and nothing else, guesses the
# commonest quarter of that class. By chance 25 % are right.

# %%
test_quarter = quartile_of(edge_density(test_images), density)
pairs = torch.bincount(4 * train_labels + quarter, minlength=40)
commonest = pairs.reshape(10, 4).argmax(1)  # quarter of each class
by_class = (commonest[test_labels] == test_quarter).float().mean().item()
print(f"{by_class:.1%}")

# %% tags=["remove-cell"]
assert 0.34 < by_class < 0.48

# %% [markdown]
# More than chance, and far from all: they are different questions.
#
# ## A linear probe at every depth
#
# This loop goes through the network once and stops at every place. It yields all maps
# that exist there, as the next reader gets them: after its BN and ReLU.


# %%
def maps_by_depth(model, images):
    place, maps = "stem", images
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            for i, layer in enumerate(part.children(), start=1):
                yield place, layer.relu1(layer.norm1(maps))
                maps = torch.cat([maps, layer(maps)], dim=1)  # (N, C + k, H', W')
                place = f"block {name.removeprefix('denseblock')}, layer {i}"
        elif name.startswith("transition"):
            yield place, part.relu(part.norm(maps))
            maps = part(maps)  # (N, ⌊θ·C⌋, H'/2, W'/2)
            place = f"transition {name.removeprefix('transition')}"
        else:
            maps = part(maps)
    yield place, F.relu(maps)


# %% [markdown]
# The package's `pooled_by_depth` runs this loop and averages each map to one number, so
# a place gives `(N, C)`. At the last place this must be what the network's own
# classifier reads. We feed it those averages.

# %% tags=["nbval-check-output"]
fit_index = torch.randperm(len(train_labels))[:3000]
fit_images, new_images = normalise(train_images[fit_index]), normalise(test_images)
fit_features = pooled_by_depth(model, fit_images)  # place → (3000, C)
new_features = pooled_by_depth(model, new_images)  # place → (2000, C)
end = list(new_features)[-1]
logits = model.classifier(new_features[end])  # (N, 10)
same = torch.allclose(logits, model(new_images), atol=1e-3)
print(f"{len(new_features)} places, the last is {end}; the network's logits: {same}")

# %% tags=["remove-cell"]
assert list(dict(maps_by_depth(model, boot))) == list(new_features)

# %% [markdown]
# Out come the network's own logits.
#
# A **linear probe** is a new classifier of this kind: one linear layer under
# cross-entropy, fitted at any place while the network stays frozen. It tells what can
# be read off there by a weighted sum. Ours is fitted on 3,000 training images. First at
# the last place, beside the network's own classifier, which was fitted on 60,000.

# %%
questions = {
    "classes": (train_labels[fit_index], test_labels),
    "edge density": (quarter[fit_index], test_quarter),
}


def read_off(question, fit_part, new_part):
    fit_answers, new_answers = questions[question]
    return accuracy(linear_probe(fit_part, fit_answers), new_part, new_answers)


by_probe = read_off("classes", fit_features[end], new_features[end])
print(f"probe {by_probe:.1%}, the network {network_accuracy:.1%}")

# %% tags=["remove-cell"]
assert network_accuracy - 0.03 < by_probe

# %% [markdown]
# A point or two below, with a twentieth of the images: the features had done the work.
#
# Now all 13 places and both questions. Two controls stand beside them: a probe on the
# 784 raw pixels, and a network with random weights, whose BatchNorm statistics were
# measured on the same 3,000 images. **Predict** the best place for each question, and
# whether the stem's 32 averages beat the raw pixels, for each question.

# %% tags=["hide-output"]
untrained = measure_batchnorm(class_densenet(), fit_images)
features = {
    "trained": (fit_features, new_features),
    "untrained": [pooled_by_depth(untrained, x) for x in (fit_images, new_images)],
}
pixels = fit_images.flatten(1), new_images.flatten(1)  # (N, 784)
scores = {question: {} for question in questions}
for question, found in scores.items():
    found["raw pixels"] = read_off(question, *pixels)
    print(f"{question + ', raw pixels':24} {found['raw pixels']:9.1%}")
    for place in new_features:
        found[place] = {name: read_off(question, fit_part[place], new_part[place])
                        for name, (fit_part, new_part) in features.items()}
        told = [f"{name} {value:.1%}" for name, value in found[place].items()]
        print(f"    {place:20}", *told)

# %% tags=["remove-cell"]
first, late = "block 1, layer 2", "block 3, layer 4"
assert scores["classes"][first]["trained"] < scores["classes"][late]["trained"] - 0.05
edges = scores["edge density"]
assert edges[first]["trained"] > edges[late]["trained"] + 0.08
assert scores["classes"]["stem"]["trained"] < scores["classes"]["raw pixels"]
assert edges["stem"]["trained"] > edges["raw pixels"]

# %% [markdown]
# The classes are read better and better. The edges are read best in block 1; they rise
# inside it, fall at each transition and stay about level inside blocks 2 and 3. For the
# classes the stem's averages tell *less* than the raw pixels: an average forgets where
# something is. For the edges they tell more. A weighted sum of pixels cannot count
# edges, since rising and falling ones cancel; a ReLU behind a convolution lets only one
# kind through.
#
# One draw of images. `benchmarks/probe.py` drew 5,000 images three times and tested on
# the whole test set, for our network and for three untrained ones.

# %%
measured = results.read("probe")
show(probes.probe_curves(measured, {"classes": 0.1, "edge density": 0.25}))

# %% tags=["nbval-check-output"]
for name, runs in measured["networks"].items():
    for question in questions:
        places = best_places(runs, question)
        best = [100 * run[question]["test"][places[0]] for run in runs]
        print(f"{name:9} {question:12} {min(best):.1f} to {max(best):.1f} %", end="")
        print(" at", "; as good: ".join(places))

# %% tags=["remove-cell"]
for question, block in (("classes", "block 3"), ("edge density", "block 1")):
    places = best_places(measured["networks"]["trained"], question)
    assert all(place.startswith(block) for place in places)
for runs in measured["networks"].values():  # the edges are lost at the transitions
    edges = [run["edge density"]["test"] for run in runs]
    for place, after, fall in (
        ("block 1, layer 2", "transition 1", 0.03),
        ("block 2, layer 4", "transition 2", 0.08),
    ):
        assert mean(one[place] - one[after] for one in edges) > fall

# %% [markdown]
# Named are the best place, by its mean, and those that it does not beat in every draw.
# The grey band spans three untrained networks. The blue one, three draws of images for
# *one* trained network, is too thin to see; another training could move its line.
#
# The edges fall at the transitions in both networks, and about as far. So it is not
# training that loses them. What training adds shows in the upper panel: untrained, the
# transitions lose classes too; trained, hardly any.
#
# ## A transition, taken apart
#
# Transition 2 mixes 96 maps into 48 and pools; the next reader applies BN and ReLU;
# then we average. `mixed(weights, *steps)` mixes with any weights, leaves out the
# pooling, applies the steps that it is given (the reader's BN and ReLU, or none),
# averages, and probes.


# %%
transition, reader = model.features.transition2, model.features.denseblock3.denselayer1
parts = (*model.features[:4], transition.norm, transition.relu)  # up to the mix
before_mix = nn.Sequential(*parts)
fit_maps, new_maps = (torch.cat([before_mix(part) for part in images.split(500)])
                      for images in (fit_images, new_images))  # (N, 96, 7, 7)


def mixed(weights, *steps):
    both = [torch.einsum("oc,nchw->nohw", weights, m) for m in (fit_maps, new_maps)]
    for step in steps:
        step(both[0])  # a BatchNorm in train mode takes its statistics here
        both = [step.eval()(maps) for maps in both]
    return read_off("edge density", *(maps.mean(dim=(2, 3)) for maps in both))


def new_norm():
    return nn.BatchNorm2d(48, affine=False, momentum=None)


# %% [markdown]
# The controls are halves of the 96 maps and random weights, five of each. **Predict**
# whether it matters that the mix was learned, and whether BN costs anything. (A probe
# can undo a shift and a scale.) **Guess** what the ReLU and the 2×2 pooling cost.

# %% tags=["hide-output"]
learned, relu = transition.conv.weight[:, :, 0, 0], nn.ReLU()  # (48, 96)
halves = [torch.eye(96)[torch.randperm(96)[:48]] for _ in range(5)]
random = [torch.randn(48, 96) / 96**0.5 for _ in range(5)]
whole, pooled = (read_off("edge density", fit_features[place], new_features[place])
                 for place in ("block 2, layer 4", "transition 2"))
rows = {
    "all 96": [whole],
    "a random half": [mixed(half) for half in halves],
    "random mix": [mixed(mix) for mix in random],
    "random mix, BN, ReLU": [mixed(mix, new_norm(), relu) for mix in random],
    "learned mix": [mixed(learned)],
    "learned mix, BN": [mixed(learned, reader.norm1)],
    "learned mix, BN, ReLU": [mixed(learned, reader.norm1, relu)],
    "learned mix, pooled, BN, ReLU": [pooled],
}
for name, values in rows.items():
    print(f"{name:30} {mean(values):.1%}", end="")
    print(f" ({min(values):.1%} to {max(values):.1%})" if len(values) > 1 else "")

# %% tags=["remove-cell"]
assert whole > mean(rows["a random half"]) > mean(rows["random mix, BN, ReLU"]) + 0.02
assert rows["learned mix"][0] > rows["learned mix, BN, ReLU"][0] + 0.03
assert abs(rows["learned mix"][0] - rows["learned mix, BN"][0]) < 0.03

# %% [markdown]
# Two steps cost most. Keeping only 48 numbers takes five to eight points, however they
# are chosen: that the mix was learned costs nothing more, it lies within the range of
# the random ones. BN costs nothing, since a probe undoes a shift and a scale. The ReLU
# takes six or seven points more, behind the learned mix as behind a random one. Before,
# an average of sums was a sum of averages, and all was linear; now each sum loses its
# negative side before it is averaged. (In the stem a ReLU made edges countable. Here
# the averages tell them already.) The pooling, which also drops the last row and column
# of the 7×7, costs two or three.
#
# ## The pooling is part of the answer
#
# A global average forgets where something was. If the stem's 32 maps are averaged over
# 2×2 cells, giving 128 numbers, the classes are read quite differently:

# %%
by_grid = {}
for grid in (1, 2):
    fit_part, new_part = (pooled_by_depth(model, images, grid=grid)["stem"]
                          for images in (fit_images, new_images))
    by_grid[grid] = read_off("classes", fit_part, new_part)
    print(f"{grid}×{grid} cells: {by_grid[grid]:.1%}")
print(f"raw pixels: {scores['classes']['raw pixels']:.1%}")

# %% tags=["remove-cell"]
assert by_grid[2] > by_grid[1] + 0.05

# %% [markdown]
# The classes gain much, without any deeper layer; part of it may come from having four
# times the numbers. So a comparison of layers is one of layers *and* pooling.
#
# ## Seen images flatter
#
# The results file also holds the probes' scores on training images that the *probe*
# never saw, but the network did.

# %% tags=["nbval-check-output"]
runs, flattered = [run["classes"] for run in measured["networks"]["trained"]], {}
for place in ("stem", "block 3, layer 4"):
    seen = 100 * mean(run["seen"][place] for run in runs)
    unseen = 100 * mean(run["test"][place] for run in runs)
    flattered[place] = seen - unseen
    print(f"{place:16} training images {seen:.1f} %, test images {unseen:.1f} %")

# %% tags=["remove-cell"]
assert flattered["block 3, layer 4"] > 0.8 > flattered["stem"]

# %% [markdown]
# On seen images the last place looks better than it is. The *network* learned them with
# their labels, and its late features fit them most. Compare depths on images that
# neither has seen.
#
# ## So which layer of DenseNet-121?
#
# No layer is best as such. Name the question and the pooling, take unseen images, and
# measure. `benchmarks/densenet121_layers.py` did so on a DenseNet-121, trained for one
# epoch on seven of FashionMNIST's classes: all but pullover, coat and shirt, our *three
# tops*. The images were enlarged from 28×28 to 64×64 pixels. Code and pictures call
# this network *pretrained*; no ImageNet weights are in these results. (Whoever has a
# network connection gets them with `--weights imagenet`.) The 3,000 images to fit on
# were set aside first, 2,123 of them of the seven classes.

# %% tags=["nbval-check-output"]
layers = results.read("densenet121_layers")
print(f"{layers['parameters']:,} parameters", end=", ")
print(f"{layers['train_images']:,} training images")
seven = layers["classifiers"]["pretrained"]
print(f"its own classifier: {100 * seven:.1f} % of the seven classes")
print(f"{layers['fit_images']:,} images to fit on", end=", ")
print(f"{layers['test_images']:,} to test on")
print("guessing:", {name: f"{value:.0%}" for name, value in layers["guessing"].items()})

# %% [markdown]
# Five questions. Three about the whole image: which of the *seven classes* it knows,
# which of the *three tops* it never saw, and the *edge density*. Two about a single
# pixel: does an edge run there (*edge pixels*, the steepest quarter), and what is
# there, background or one of the ten classes (*pixel classes*, a small segmentation).
# For both, the probe is a 1×1 convolution whose output is enlarged to the image's size.
# It is fitted on 6,000 pixels, two in each of the 3,000 images. On raw pixels it sees
# one grey value and nothing else. Guessing means the commonest answer of the images to
# fit on.
#
# The blocks work on 16×16, 8×8, 4×4 and 2×2 pixels. **Predict** for each question the
# block with the best place, and the questions for which the raw pixels do as well as
# the untrained network at its best place. (Each panel has its own range.)

# %% tags=["hide-output"]
asked, found = list(layers["guessing"]), layers["networks"]
show(probes.layer_curves(layers, asked, ["pretrained", "untrained"]))

# %% tags=["nbval-check-output", "hide-output"]
last = "block 4, layer 16"
for question in asked:
    print(f"{question}: raw pixels {found['raw pixels'][question]['raw pixels']:.1%}")
    for name in ("pretrained", "untrained"):
        scores_at = found[name][question]
        best = max(scores_at, key=scores_at.get)
        print(f"    {name:10} {scores_at[best]:.1%} at {best}", end=", ")
        print(f"{scores_at[last]:.1%} at the end")

# %% [markdown]
# Its own seven classes are read best from the middle of block 3 to the end. The tops it
# never saw are read best in blocks 2 and 3; at the end three points are gone. Most go
# at transition 3, where the untrained network loses six. So a transition loses what
# training does not keep: here training kept what the seven classes need, and only part
# of what the tops need. (The 1,500 tops make a standard error of about one point.)
#
# Edges belong to block 1, trained or not. At the end the edge pixels are read worse
# than by guessing, and they fall even inside blocks, where no map is lost. That part is
# probably the probe's own: with 1,000 maps it fits its 6,000 pixels too well. (Each
# place is also read through another BN and ReLU.) A probe measures what it can learn,
# not all that is there. Pixel classes are best late in block 3: deep enough to know the
# class, and 4×4 pixels still tell where. At 2×2 they fall by 23 points. The raw pixels,
# 784 numbers, tell the seven classes and the tops about as well as the best place of
# the untrained network.
#
# Now all weights of a copy were trained further, *fine-tuned*, on the three tops: 300
# labelled images of each, 300 steps. **Predict** at which depths the tops gain most.
# **Guess** what the seven classes lose at the end: under one point, about three, or
# ten?

# %% tags=["hide-output"]
show(probes.layer_curves(layers, asked, ["pretrained", "fine-tuned"]))

# %% tags=["nbval-check-output", "hide-output"]
stops = ("stem", "transition 1", "transition 2", "transition 3", last)
print(f"{'points':15}", *(f"{place:>17}" for place in stops))
for question in asked:
    before, after = (found[name][question] for name in ("pretrained", "fine-tuned"))
    change = [100 * (after[place] - before[place]) for place in stops]
    print(f"{question:15}", *(f"{points:+17.1f}" for points in change))

# %% tags=["remove-cell"]
before, after = (found[name] for name in ("pretrained", "fine-tuned"))
best = {question: max(before[question], key=before[question].get) for question in asked}
assert best["three tops"].startswith("block 3")
assert best["pixel classes"].startswith("block 3")
assert best["edge density"].startswith("block 1")
assert best["edge pixels"].startswith("block 1")
tops, seven = before["three tops"], before["seven classes"]
assert tops[best["three tops"]] - tops[last] > 0.02
for network, fall in (before, 0.015), (found["untrained"], 0.05):  # at transition 3
    places = network["three tops"]
    assert places["block 3, layer 24"] - places["transition 3"] > fall
assert after["three tops"][last] - tops[last] > 0.05
assert abs(after["seven classes"][last] - seven[last]) < 0.01

# %% [markdown]
# The tops gain most at the deep places, and the end is now as good as the middle. At
# the stem they lose three points; one training does not tell why. The edge questions
# move by about two points at most, and the pixel classes gain two at the end. The seven
# classes lose about one at most: their features are still there, for a new probe.
# Whether the old classifier still fits them is another question, the forgetting of
# [lesson 11](11_transfer_learning.ipynb).
#
# All this is one training and one draw, on small pictures of clothes.
#
# Other tasks were studied elsewhere. Detectors read several depths at once (Lin et al.
# 2017). Textures are caught by which maps of early and middle layers fire together
# (Gatys et al. 2015). Image retrieval compares what a layer near the end puts out
# (Babenko et al. 2014).

# %% [markdown]
# ## Which maps does a layer weigh most?
#
# The paper averages the absolute weights that each reader gives to each source in its
# block (figure 5). A reader is a layer, or the transition or classifier behind the
# block; `links` lists the weights of each pair. We divide by the reader's mean. A first
# layer has one source only, so its 1 holds by definition: the counts leave these three
# out, the picture shows them.


# %%
def relative_weights(network):
    rows = {}  # (block, reader) → source → average absolute weight
    for block, reader, source, weights in links(network):
        rows.setdefault((block, reader), {})[source] = weights.abs().mean().item()
    return {key: {source: value / mean(row.values()) for source, value in row.items()}
            for key, row in rows.items() if len(row) > 1}


weights_of = relative_weights(model)
for name, rows in (
    ("untrained", relative_weights(class_densenet())), ("trained", weights_of),
):
    values = [value for row in rows.values() for value in row.values()]
    print(f"{name:9} {len(values)} links, from {min(values):.2f} to {max(values):.2f}")

# %% [markdown]
# Initial weights favour no source; the untrained range above is that of one draw of
# them. What lies *well* outside it in the picture was learned, in six epochs.

# %%
show(pictures.reuse_map(model))

# %% tags=["nbval-check-output"]
for key in ((1, "transition1"), (2, "transition2"), (3, "classifier")):
    row = weights_of[key]
    least, most = min(row, key=row.get), max(row, key=row.get)
    print(f"{key[1]}: least weight on {least}, most on {most}")

# %% tags=["remove-cell"]
values = [value for row in weights_of.values() for value in row.values()]
assert min(values) > 0.5
row = weights_of[3, "classifier"]
assert min(row, key=row.get) == "input"

# %% [markdown]
# Each row is a reader; the paper's picture has them as columns. The paper's network is
# another one: L = 40 with plain layers, 12 in each of three blocks, no compression,
# CIFAR-10. What it shows there, and here:
#
# | the paper | here |
# |---|---|
# | weights spread over all earlier layers | no link below half of its reader's mean |
# | least weight on what a transition put out | clearly in transition 2 and the classifier; elsewhere within chance |
# | the classifier leans to the latest maps | in part: away from the input, but the last layer is not its top |
#
# An even spread is no sign of learning: the untrained network has it too. And
# transition 1 gives least weight to the stem's maps, which no transition put out: it
# may be the place at a block's start that counts.
#
# ## Is a large weight an important link?
#
# A weight acts on what BN and ReLU let through, and other links may carry the same. So
# we cut each of these links in turn and measure the loss on 1,000 test images. The harm
# is divided by the number of the source's maps. If weights told importance, the larger
# of two weights of a reader would mean the larger harm. **Guess** for which share of
# the 44 pairs it does. Chance gives half.


# %% tags=["hide-output"]
def loss():
    batches = ResidentBatches(test_images[:1000], test_labels[:1000], batch_size=500)
    return evaluate(model, batches)[0]


intact, harm = loss(), {key: {} for key in weights_of}
for block, reader, source, weights in links(model):  # weights: a view into the model
    if (block, reader) in harm:
        kept = weights.clone()
        weights.zero_()
        harm[block, reader][source] = (loss() - intact) / weights.shape[1]  # a map
        weights.copy_(kept)
pairs = [(key, a, b) for key, row in harm.items() for a, b in combinations(row, 2)]
agree = [(weights_of[key][a] > weights_of[key][b]) == (harm[key][a] > harm[key][b])
         for key, a, b in pairs]
values = sorted(value for row in harm.values() for value in row.values())
print(f"harm of a map, in loss: median {values[len(values) // 2]:.5f}", end=", ")
print(f"largest {values[-1]:.5f}")
print(f"weight and harm agree in {sum(agree)} of {len(pairs)} pairs")

# %% tags=["remove-cell"]
assert len(pairs) == 44 and len(values) == 33
assert values[-1] > 5 * values[len(values) // 2]
assert 0.45 * len(pairs) < sum(agree) < 0.9 * len(pairs)

# %% [markdown]
# Two thirds, and that is hardly evidence. The pairs share links and all come from one
# network, so they are far from 44 independent trials. And a cut also shifts the mean
# that the next BN expects, which adds some harm of its own.
#
# Cut links yourself: the explorer's fourth question asks what a cut costs. In its maps
# blue is above zero, orange below.

# %%
explore(step=4)

# %% [markdown]
# ## Your turn
#
# [Exercise 12](exercises/12_features.ipynb), *medium, 25 minutes.* Write
# `extract_features(model, images, layers)` with forward hooks. It returns each named
# module's own output, before an in-place ReLU changes it, and leaves no trace in the
# model.

# %% [markdown]
# ## Recap
#
# - The best layer depends on the question; what a layer tells depends on the pooling,
#   too. Edges are read best in block 1, known classes at the end; in DenseNet-121 new
#   classes in blocks 2 and 3, the class of a pixel late in block 3. The edges are lost
#   at the transitions, trained or not.
# - `create_feature_extractor` reaches every step of `forward`. Freeze gradients *and*
#   BatchNorm, mind in-place ReLUs, and know whether a name means new maps or all.
# - Weights show which maps a layer weighs most, probes what a weighted sum can read
#   off, cuts what the network uses.
#
# **Sources.** Huang, Liu, van der Maaten and Weinberger 2017, [Densely Connected
# Convolutional Networks](https://arxiv.org/abs/1608.06993), section 5 and figure 5.
# Alain and Bengio 2016, [Understanding intermediate layers using linear classifier
# probes](https://arxiv.org/abs/1610.01644). torchvision, [Feature
# extraction](https://docs.pytorch.org/vision/stable/feature_extraction.html). Lin et
# al. 2017, [Feature pyramid networks](https://arxiv.org/abs/1612.03144). Gatys, Ecker
# and Bethge 2015, [Texture synthesis](https://arxiv.org/abs/1505.07376). Babenko et al.
# 2014, [Neural codes for image retrieval](https://arxiv.org/abs/1404.1777).
#
# **Next:** [11 · Transfer learning](11_transfer_learning.ipynb).
