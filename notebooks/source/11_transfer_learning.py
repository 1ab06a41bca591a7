# %% [markdown]
# # 11 · Transfer learning
#
# **You have a trained network and a few images of new classes. Freeze it, fine-tune it,
# or start again?**
#
# After this lesson you can
# - freeze a trained DenseNet, its BatchNorm too, and give it a new classifier;
# - compare frozen, fine-tuned and trained from scratch on equal terms;
# - recognise three traps: classes seen before, statistics that move, and a rate that
#   makes it forget.
#
# About 45 minutes, after [07 train on FashionMNIST](07_train_fashion_mnist.ipynb) and
# [10 what the layers learn](10_what_the_layers_learn.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import copy
import io
import json
import socket
import statistics
from contextlib import redirect_stderr
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision.models import DenseNet121_Weights

from densenet_course import accounting
from densenet_course.data import CLASS_NAMES, ResidentBatches, load, normalise, prepare
from densenet_course.figures import show
from densenet_course.figures import transfer as pictures
from densenet_course.figures.images import image_grid
from densenet_course.layers import DenseBlock
from densenet_course.models import class_densenet, densenet121
from densenet_course.studies.features import accuracy as probe_accuracy
from densenet_course.studies.features import linear_probe
from densenet_course.studies.transfer import (
    draw_per_class,
    last_features,
    measure_batchnorm,
    select_classes,
    with_new_classifier,
)
from densenet_course.training import choose_device, evaluate, fit

torch.manual_seed(0)
device = choose_device()  # for training; everything else stays on the CPU


def accuracy(model, judged):
    return evaluate(model, ResidentBatches(*judged, batch_size=500))[1]


# %% [markdown]
# ## Three new classes, thirty images each
#
# Shapes are `(N, C, H, W)`. Suppose that seven classes of FashionMNIST are labelled in
# full. Three are new: pullover, coat and shirt, most of them tops with long sleeves. Of
# each you have only 30 labelled images.

# %%
NEW = (2, 4, 6)
OLD = (0, 1, 3, 5, 7, 8, 9)
location = prepare()
train_set, test_set = load("train", location), load("test", location)  # uint8 (N, 1, 28, 28), int64 (N,)
old_train, new_test = select_classes(*train_set, OLD), select_classes(*test_set, NEW)
old_test = tuple(part[:2000] for part in select_classes(*test_set, OLD))
known = draw_per_class(*select_classes(*train_set, NEW), 30, seed=0)
print("old:", ", ".join(CLASS_NAMES[i] for i in OLD), f"({len(old_train[1]):,} labelled images)")
print("new:", ", ".join(CLASS_NAMES[i] for i in NEW), f"({len(known[1])} labelled, {len(new_test[1]):,} test images)")

# %% [markdown]
# Here are four of each. Read the pictures before the names: how often would *you* be
# right? By chance it is one in three.

# %%
shown = torch.cat([torch.arange(4) + 30 * label for label in range(3)])
show(image_grid(known[0][shown], [CLASS_NAMES[NEW[label]] for label in known[1][shown]], columns=6))

# %% [markdown]
# They differ in details: a collar, a row of buttons, an open front. So the target is a
# hard one.
#
# **Transfer learning** takes a network $W\phi_w(x) + b$ that was trained for the old
# classes. $\phi_w$ is everything up to the global average, with weights $w$; $W$ and
# $b$ are the classifier. The classifier must be new, because each row of $W$ belongs to
# one old class. For $w$ there is a choice:
#
# | | $w$ starts | $w$ is trained |
# |---|---|---|
# | frozen | as pretrained | no |
# | fine-tuned | as pretrained | yes |
# | from scratch | at random | yes |
#
# In PyTorch the two ideas are one line each: `model.requires_grad_(False)` freezes the
# gradients, and `model.classifier = nn.Linear(112, 3)` puts a new classifier in place,
# which trains.

# %% [markdown]
# ## Break it: the network knew the answer
#
# The package has a trained class network at hand. We could keep it frozen and fit a new
# classifier to our 90 images and their mirror images, with lesson 10's `linear_probe`.
# With so few images it gets a stronger weight decay than there. The function is called
# `frozen`; its input is a network, and it returns a copy with the new classifier.
# **Predict** the accuracy.

# %% tags=["hide-output"]
def frozen(model):
    images, labels = torch.cat([known[0], known[0].flip(-1)]), known[1].repeat(2)
    features = last_features(model, normalise(images))  # (180, 112), what the old classifier would read
    model = with_new_classifier(model, len(NEW))  # a copy
    model.classifier = linear_probe(features, labels, decay=0.1)
    return model


leaked = accuracy(frozen(class_densenet(weights="DEFAULT")), new_test)
print(f"{leaked:.1%}")
assert leaked > 0.8

# %% [markdown]
# Excellent, and worth nothing: that network was trained on all ten classes. It has seen
# 18,000 pullovers, coats and shirts, with labels. Before you trust a transfer, ask what
# the network was pretrained on.
#
# ## Pretrain on the old classes only
#
# One epoch of lesson 07's training, and the accuracy on test images of the seven old
# classes:

# %%
network = class_densenet(num_classes=len(OLD))
batches = ResidentBatches(*old_train, batch_size=128, device=device, shuffle=True, augment="flip", drop_last=True)
fit(network, batches, epochs=1, device=device, progress=False)
network.cpu()
before = accuracy(network, old_test)
print(f"{before:.1%}")
assert before > (0.5 if location.is_sample else 0.9)

# %% [markdown]
# Without the tops with long sleeves the task is easy.
#
# ## A new classifier
#
# It reads 112 numbers and gives 3, with one bias for each class.

# %% tags=["nbval-check-output"]
def count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


model = with_new_classifier(network, len(NEW))
print(f"seven classes {count(network):,}, three classes {count(model):,}")
model.features.requires_grad_(False)
print(f"trained when all but the classifier is frozen: {count(model)}")

# %% [markdown]
# 112·3 + 3 = 339, and 4·113 = 452 fewer than with seven classes. Frozen, the network
# trains 339 of its 140,339 parameters.
#
# ## The other half of freezing
#
# `requires_grad_(False)` stops gradients. **Predict**: what does it do to BatchNorm's
# running mean? The smallest example: two images, a frozen block, one forward pass.

# %% tags=["nbval-check-output", "hide-output"]
block = DenseBlock(2, 3, growth_rate=10).requires_grad_(False)  # in train mode, like every new module
running = block.denselayer1.norm1.running_mean
print("before:", running.tolist())
_ = block(torch.ones(2, 3, 8, 8))
print("after: ", [round(value, 3) for value in running.tolist()])

# %% [markdown]
# Nothing: the mean moves a tenth of the way to the batch's mean, at every batch. That
# takes no gradient ([lesson 10](10_what_the_layers_learn.ipynb)).
#
# Now the whole network: frozen, but in train mode, while 30 batches of *new* images
# pass. Then it takes its old test again. **Predict**: how many weights have changed,
# and what is left of its accuracy?

# %% tags=["hide-output"]
moved = copy.deepcopy(network).requires_grad_(False).train()
new_batches = ResidentBatches(*known, batch_size=30, shuffle=True)
for _ in range(10):
    for images, _labels in new_batches:
        moved(images)
weights = zip(network.parameters(), moved.parameters(), strict=True)
after = accuracy(moved, old_test)
print("weights equal:", all(torch.equal(a, b) for a, b in weights))
print(f"old classes before {before:.1%}, after {after:.1%}")
assert after < before - 0.02

# %% [markdown]
# Not one weight changed, yet the old classes suffer. "Frozen" needs both halves: no
# gradients, *and* BatchNorm in evaluation mode. Calling `eval()` once does not last,
# because every training loop calls `train()` again. Exercise 13 makes it last.
#
# ## A frozen network is a function
#
# There is a way around the loop. With both halves frozen, an image always gives the
# same 112 numbers. So compute them once, and train the classifier on those. As a check,
# the old classifier reads them:

# %% tags=["nbval-check-output"]
images = normalise(old_test[0][:100])
features = last_features(network, images)  # (N, 112), in evaluation mode
print(tuple(features.shape), torch.allclose(network.classifier(features), network.eval()(images), atol=1e-4))

# %% [markdown]
# Out come the network's own logits. So freezing saves work: no image passes the network
# more than once. `frozen` above does just that.
#
# **Predict** the accuracy on the new classes, from 90 labelled images and a network
# that never saw one of their kind.

# %% tags=["hide-output"]
live = {"frozen": accuracy(frozen(network), new_test)}
print(f"{live['frozen']:.1%}; with the leak it was {leaked:.1%}")
assert live["frozen"] > (0.4 if location.is_sample else 0.5)

# %% [markdown]
# Far above one in three. But is that the pretraining? A network with *random* weights
# has 112 features, too. It needs BatchNorm statistics that fit: `measure_batchnorm`
# passes our 90 images through in train mode, so that the averages are theirs.
# **Predict** what its features are worth.

# %% tags=["hide-output"]
torch.manual_seed(1)
untrained = measure_batchnorm(class_densenet(num_classes=len(NEW)), normalise(known[0]))
live["random, frozen"] = accuracy(frozen(untrained), new_test)
print(f"{live['random, frozen']:.1%}")
assert live["random, frozen"] < live["frozen"] - (0 if location.is_sample else 0.03)

# %% [markdown]
# Something, but less. What does the difference show? Pretrained features are better
# than *random* ones. A second control is missing here: a linear classifier on the 784
# raw pixels, with no network at all. Random features may well tell less than the pixels
# they are made of. So the gap to them is no measure of what seven other classes have
# taught.
#
# ## Fine-tune
#
# Now everything is trained, from the pretrained weights: 300 steps of 30 images, peak
# rate 0.08. For these 90 images that is 100 epochs.

# %%
def train(model, rate=0.08):
    batches = ResidentBatches(*known, batch_size=30, device=device, shuffle=True, augment="flip", drop_last=True)
    fit(model, batches, epochs=100, peak_rate=rate, device=device, progress=False)
    return model.cpu()


tuned = train(with_new_classifier(network, len(NEW)))
live["fine-tuned"] = accuracy(tuned, new_test)
print(f"{live['fine-tuned']:.1%}")

# %% [markdown]
# From scratch: new initial weights; the images, steps and rate are the same. All four
# so far:

# %%
torch.manual_seed(1)
live["from scratch"] = accuracy(train(class_densenet(num_classes=len(NEW))), new_test)
for method, value in sorted(live.items(), key=lambda item: item[1]):
    print(f"{method:15} {value:.1%}")
assert location.is_sample or live["fine-tuned"] > live["from scratch"] - 0.01

# %% [markdown]
# That was one pretraining and one draw of 90 images; another draw may change the order.
# So now we read what `benchmarks/transfer.py` measured: five seeds, each with its own
# pretraining and its own draw, the same for all methods.

# %%
path = Path("../benchmarks/results/transfer.json")
measured = json.loads(path.read_text()) if path.exists() else None
new, old = [CLASS_NAMES[i] for i in NEW], [CLASS_NAMES[i] for i in OLD]
if measured is None:
    print("no transfer.json here; from a checkout of the course, python benchmarks/transfer.py makes it")
else:
    print(f"{len(measured['seeds'])} seeds, {measured['steps']} steps of {measured['batch_size']} images, "
          f"{measured['test_images']:,} test images; settings chosen on {measured['held_out_images']:,} others by "
          f"{len(measured['runs'][0]['held_out']['0.08'])} seeds")
    print(f"rates tried: {measured['rates']}, weight decays of the frozen classifier: {measured['decays']}")
    print("epochs of pretraining:", next(one["epochs"] for one in measured["pretraining"] if one["source"] == old))

# %% [markdown]
# Equal terms: every method gets the rate, or decay, with the best mean on held-out
# training images. In practice you would not have 3,000 labelled images to tune on; here
# every method gets them. Test images play no part in the choice.
#
# **Predict** the order of the methods for 30 and for 300 images a class. "Longer" means
# four times the steps, at the same rate.

# %% tags=["hide-output"]
if measured:
    show(pictures.by_method(measured, new, old))

# %% [markdown]
# *Blue is pretrained, a square is frozen; a mark is one seed, a line their mean.* All
# gain from more labels; training from scratch gains most.
#
# Seeds differ by as much as methods do. But the methods share their seeds, so we
# subtract seed by seed. We call an order clear where all five agree on its sign. Mind
# how weak that rule is: five equal signs happen by chance once in 16, and we look at
# many pairs.

# %%
def run_of(method, per_class, target=new, source=old):
    source = [] if method.startswith(("from scratch", "random")) else source
    return pictures.find(measured, method, per_class, target, source)


def lead(a, b, names=""):
    points = [x - y for x, y in zip(pictures.points(a), pictures.points(b), strict=True)]
    print(f"{a['per_class']:3} images, {names or a['method'] + ' minus ' + b['method']:38} "
          f"{statistics.mean(points):+5.1f} points, {min(points):+.1f} to {max(points):+.1f}")
    return min(points), max(points)


if measured:
    few_of, many_of = ({method: run_of(method, n) for method in pictures.LOOKS} for n in (30, 300))
    assert lead(few_of["frozen"], few_of["from scratch"])[0] > 0
    assert lead(many_of["frozen"], many_of["from scratch"])[1] < 0
    for runs in (few_of, many_of):
        assert all(lead(runs["fine-tuned"], runs[other])[0] > 0 for other in ("from scratch", "frozen"))
    assert lead(few_of["fine-tuned"], few_of["from scratch, longer"])[0] > 0
    assert lead(many_of["fine-tuned"], many_of["from scratch, longer"])[0] < 0.5

# %% [markdown]
# With 30 images both pretrained methods lead. Fine-tuning leads even training from
# scratch for four times as long. With 300, frozen features fall behind, and the longer
# training catches up with fine-tuning: there, pretraining mostly saved time. Raw
# pixels, the missing row, might stand near the frozen features, above all with 30
# images.
#
# A common rule says: with few images, do not fine-tune; train a classifier only. Here
# fine-tuning led at 30 images too, in one of the five seeds by a tenth of a point. With
# fewer, we did not measure.
#
# What does it cost, pretraining not counted?

# %%
for method in ("frozen", "fine-tuned", "from scratch, longer") if measured else ():
    seconds = [statistics.median(one["cpu_seconds"] for one in runs[method]["test"]) for runs in (few_of, many_of)]
    print(f"{method:20} {seconds[0]:4.1f} CPU seconds with 30 images a class, {seconds[1]:4.1f} with 300")

# %% [markdown]
# With 30 images a class fine-tuning takes dozens of times as long as fitting a
# classifier, with 300 about five times. A frozen network sees each image twice, plain
# and mirrored. Training sends 300 batches of 30 images forward and back, however many
# there are. So 9.7 and 7.5 seconds are the same work, and their difference is noise.
#
# ## Does it matter what the old classes are?
#
# Three garments (T-shirt, trouser, dress) or three kinds of shoes: 18,000 images each,
# pretrained alike. **Predict** which is the better preparation for tops with long
# sleeves, and by how much.

# %% tags=["hide-output"]
if measured:
    sources = {"nothing": [], "shoes": [CLASS_NAMES[i] for i in (5, 7, 9)],
               "garments": [CLASS_NAMES[i] for i in (0, 1, 3)], "all seven": old}
    show(pictures.by_source(measured, new, sources))
    for n, method in ((30, "frozen"), (30, "fine-tuned"), (300, "frozen"), (300, "fine-tuned")):
        pair = (run_of(method, n, new, sources[name]) for name in ("garments", "shoes"))
        low, high = lead(*pair, f"{method}, garments minus shoes")
    assert low > -2 and high < 2

# %% [markdown]
# By our rule it is a draw: in none of the four comparisons do all five seeds agree. The
# means favour garments by one to three points. The four are not independent, since they
# share seeds and pretrainings, so their common sign is no further evidence.
#
# ## An easier target
#
# The other way round: pretrain on everything but shoes, transfer to sandal, sneaker and
# ankle boot. **Predict**: is the order the same?

# %% tags=["hide-output"]
if measured:
    shoes, no_shoes = sources["shoes"], [name for name in CLASS_NAMES if name not in sources["shoes"]]
    show(pictures.by_method(measured, shoes, no_shoes))
    for n in (30, 300):
        runs = {method: run_of(method, n, shoes, no_shoes) for method in live}
        low, high = lead(runs["frozen"], runs["from scratch"])
        assert (low < 0 < high if n == 30 else high < 0) and lead(runs["fine-tuned"], runs["from scratch"])[0] > 0

# %% [markdown]
# Fine-tuning leads again. But with 30 images frozen features only draw with training
# from scratch: the seeds disagree.
#
# ## Break it: a rate that forgets
#
# Our fine-tuning had a peak rate of 0.08. Take 1.28, sixteen times as much. **Predict**
# both accuracies: on the new classes, and on the old ones when the old classifier is
# put back.

# %% tags=["hide-output"]
def mean(runs, part="target"):
    return statistics.mean(one[part] for one in runs)


def remembered(model):
    again = copy.deepcopy(model)
    again.classifier = network.classifier
    return accuracy(again, old_test)


hasty = train(with_new_classifier(network, len(NEW)), rate=1.28)
for rate, model in ((0.08, tuned), (1.28, hasty)):
    print(f"rate {rate}: new classes {accuracy(model, new_test):.1%}, old classes {remembered(model):.1%}")
assert location.is_sample or remembered(hasty) < min(0.5, remembered(tuned) - 0.1)

# %% [markdown]
# Both forget, and the hasty one has little left. Over the three seeds that chose the
# rates, on held-out images of the new classes and test images of the old:

# %%
if measured:
    show(pictures.by_rate(measured, new, old))
    fine, scratch = (few_of[method]["held_out"] for method in ("fine-tuned", "from scratch"))
    best = max(mean(runs) for runs in scratch.values())
    print(f"30 images: fine-tuned at 1.28 {mean(fine['1.28']):.1%}, from scratch at its best rate {best:.1%}")
    assert mean(fine["1.28"]) < best + 0.01 and mean(fine["0.08"], "source") < mean(fine["0.005"], "source") - 0.1

# %% [markdown]
# At 1.28 the pretraining's lead is gone with its memory. The best rate for the new
# classes is not the best for the old. And even the smallest rate forgets about a
# quarter. Is it the weights that forget, or BatchNorm's statistics?
#
# ## BatchNorm again
#
# Train the classifier alone for 300 steps, with BatchNorm still or moving. **Predict**
# for each: better or worse on the new classes? On the old ones?

# %% tags=["hide-output"]
for n in (30, 300) if measured else ():
    still, moving = (run_of(f"classifier, BN {how}", n)["test"] for how in ("still", "moving"))
    for name, run in (("still", still), ("moving", moving)):
        print(f"{n:3} images, BN {name:6} new classes {mean(run):.1%}, old classes {mean(run, 'source'):.1%}")
    slow = run_of("fine-tuned", n)["held_out"]["0.005"]
    alike = mean(moving[:len(slow)], "source")  # of the same seeds
    print(f"{n:3} images, old classes: moving {alike:.1%}, fine-tuned at 0.005 {mean(slow, 'source'):.1%}, same seeds")
    assert mean(moving) < mean(still) and abs(alike - mean(slow, "source")) < 0.06

# %% [markdown]
# The statistics alone, with every weight but the classifier's frozen, cost the old
# classes more than 20 points on average. That fine-tuning at a small rate loses about
# as much may be a coincidence of two totals. Fine-tuning with BatchNorm held still
# would tell; it is not measured here. On the new classes letting the statistics adapt
# did not help either: the means are about a point lower, a draw by our rule.
#
# ## From ImageNet
#
# What people mostly transfer was trained on ImageNet: 1,000 classes, 1.2 million colour
# photographs. Such weights expect three channels, larger images, and ImageNet's mean
# and deviation. Ours are grey and 28×28. So we enlarge them, repeat the channel, and
# normalise as the weights ask.

# %% tags=["nbval-check-output"]
wanted = DenseNet121_Weights.DEFAULT.transforms()


def as_imagenet(images, side=96):
    images = images.float().div(255).expand(-1, 3, -1, -1)  # (N, 3, 28, 28)
    images = F.interpolate(images, size=side, mode="bilinear")  # (N, 3, 96, 96)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (wanted.mean, wanted.std))
    return (images - mean) / std


print("mean", wanted.mean, "deviation", wanted.std, "trained at", wanted.crop_size[0], "pixels")
print(tuple(as_imagenet(known[0]).shape))

# %% [markdown]
# 96 pixels, not 224: a fifth of the work. The weights come over the network, once.
# Random weights go the same way, for comparison, and alone where there is no network.

# %%
wide = {"random weights": densenet121()}
socket.setdefaulttimeout(5)  # seconds: no long wait where there is no network
try:
    with redirect_stderr(io.StringIO()):  # keeps the name of a folder out of the page
        wide["ImageNet weights"] = densenet121(weights="DEFAULT")
except OSError:
    print("No network: the ImageNet weights were not loaded, so only random weights follow.")
some = tuple(part[:300] for part in new_test)
for name, model in wide.items():
    a, b = (last_features(model, as_imagenet(images), batch_size=50) for images in (known[0], some[0]))  # (N, 1024)
    share = probe_accuracy(linear_probe(a, known[1], decay=0.1), b, some[1])
    print(f"DenseNet-121, {name}, frozen: {share:.1%} of 300 test images")
print(f"our network, seven old classes, frozen: {accuracy(frozen(network), some):.1%}")

# %% [markdown]
# The stored page was made without a network, so it shows the mechanics and no ImageNet
# result. Run the cell with one, and the ImageNet line joins the random one.
#
# Mind two things then. The random DenseNet-121 here keeps BatchNorm's initial
# statistics, while the small random network above had them measured; so the two are no
# equal controls. And on 300 images each number is uncertain by about three points.
#
# ## Your turn
#
# [Exercise 13](exercises/13_transfer.ipynb), *medium, 25 minutes.* Write
# `prepare_for_transfer(model, num_classes)`: a new classifier, all else frozen, and
# BatchNorm that stays still whatever `train()` a loop may call. With it, `fit` can
# train a frozen network, augmentation included.
#
# ## Shapes and parameters
#
# The network for three classes, part by part. The head is a BatchNorm of 112 channels
# and the classifier.

# %% tags=["nbval-check-output"]
config = untrained.config  # made for three classes
for row in accounting.trace(config, 28):
    print(f"{row.name:12} {row.channels:3} × {row.height:2}×{row.width:<2} {row.parameters:7,}")
print(f"by formula {accounting.parameters(config):,}, counted {count(tuned):,}")

# %% [markdown]
# 2·112 + 339 = 563.
#
# ## Recap
#
# - Frozen means no gradients *and* BatchNorm in evaluation mode. Then features can be
#   computed once.
# - On tops, frozen features led training from scratch with 30 images a class, on shoes
#   they drew; with 300 they lost. Fine-tuning led at both, given the same number of
#   steps; with 300 images longer training from scratch caught up.
# - How much of that the pretraining taught is open here: raw pixels under the same
#   classifier were not measured.
# - Three traps: a network that has seen the new classes, BatchNorm that moves, and a
#   rate that forgets.
#
# **Sources.** Yosinski and others 2014, [How transferable are features in deep neural
# networks?](https://arxiv.org/abs/1411.1792). He, Girshick, Dollár 2018, [Rethinking
# ImageNet Pre-training](https://arxiv.org/abs/1811.08883): longer training from scratch
# catches up. Stanford's CS231n notes, [Transfer
# Learning](https://cs231n.github.io/transfer-learning/): the common rule.
#
# **Next:** [12 · DenseNet and its relatives](12_relatives.ipynb).
