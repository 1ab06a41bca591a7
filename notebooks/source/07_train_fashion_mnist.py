# %% [markdown]
# # 07 · Train on FashionMNIST in class
#
# **A DenseNet-BC of 141,130 parameters learns FashionMNIST in minutes on two processor cores, and each part of its
# recipe can be weighed.**
#
# Afterwards you can
# 1. write one training step from memory and say what each of its lines does;
# 2. explain momentum, weight decay, schedule, augmentation, dropout and mixed precision by a number each;
# 3. judge a result: its standard error, its seeds, its worst mistakes.
#
# **Time:** 45 minutes, about three of them waiting. **Before:** lessons 03 to 06.

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %%
import json
import math
import statistics
import timeit
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting
from densenet_course.data import CLASS_NAMES, MEAN, STD, ResidentBatches, flip_and_shift, load, prepare
from densenet_course.figures import results, show
from densenet_course.figures.images import image_grid
from densenet_course.models import class_densenet
from densenet_course.training import (
    FP32,
    choose_device,
    choose_precision,
    evaluate,
    fit,
    make_optimizer,
    one_cycle,
    orthogonalise,
    predict,
    step_decay,
)

torch.manual_seed(0)
device = choose_device()

# %% [markdown]
# ## The data
#
# FashionMNIST holds 60,000 grey training images of 28×28 pixels and 10,000 test images, in ten classes. Where they
# cannot be had, the course uses a sample of 6,000 and 1,000 and says so. Shapes are `(N, C, H, W)` throughout.

# %%
location = prepare()
train_images, train_labels = load("train", location)  # uint8 (N, 1, 28, 28), int64 (N,)
test_images, test_labels = load("test", location)
first_of_class = [(train_labels == label).nonzero()[0].item() for label in range(10)]
show(image_grid(train_images[first_of_class], CLASS_NAMES, columns=5))

# %% [markdown]
# **Guess now:** which two classes will the network confuse most?
#
# **Predict:** one byte a pixel, 60,000 · 28 · 28 pixels. Does the whole training set fit into memory?

# %%
print(f"{len(train_images):,} images of {tuple(train_images.shape[1:])}, {train_images.nbytes / 1e6:.2f} MB")

# %% [markdown]
# 47.04 MB for the full set: a small part of any laptop's memory. So we keep it there as one tensor, and cut batches
# out of it.
#
# The usual `DataLoader` prepares images one at a time. For 3,000 images that is 3,000 rounds of Python; a resident
# tensor needs ⌈3,000 / 128⌉ = 24. **Predict:** how many times faster?

# %%
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

prepare_image = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
one_by_one = Subset(datasets.FashionMNIST(location.root, transform=prepare_image), range(3000))
resident = ResidentBatches(train_images[:3000], train_labels[:3000], batch_size=128)
loader = DataLoader(one_by_one, batch_size=128)

threads = torch.get_num_threads()
torch.set_num_threads(1)  # one each, so that a busy machine disturbs both alike
slow = min(timeit.repeat(lambda: list(loader), number=1, repeat=3))
fast = min(timeit.repeat(lambda: list(resident), number=1, repeat=3))
torch.set_num_threads(threads)
print(f"resident batches are {slow / fast:.0f} times as fast, here and now")
assert slow > 5 * fast

# %% [markdown]
# Per image, the work is small and the overhead large; per batch, the overhead is shared. The course's own measurement
# is kept in a file:


# %%
def read_result(name):
    path = Path("../benchmarks/results") / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    print(f"no {path.name} here; from a checkout of the course, python benchmarks/{name}.py makes it")
    return None


loading = read_result("loader")
for case in ("plain", "augmented") if loading else ():
    ratio = loading[case]["ratio"]["dataloader"]
    print(f"{case}: {ratio['median']:.0f} times as fast ({ratio['min']:.0f} to {ratio['max']:.0f} in five rounds)")

# %% [markdown]
# ## The loss
#
# The network puts out ten logits $z$. Softmax turns them into probabilities, and cross-entropy is the surprise at the
# true class $y$:
#
# $$L = -\log \frac{e^{z_y}}{\sum_j e^{z_j}}$$
#
# **Predict:** a network that knows nothing gives every class probability 1/10. What is its loss?

# %% tags=["nbval-check-output"]
ignorant = torch.zeros(1, 10)  # ten equal logits
print(f"{F.cross_entropy(ignorant, torch.tensor([3])):.3f}, and ln 10 = {math.log(10):.3f}")

# %% [markdown]
# Remember 2.303: a loss that stays there has learned nothing. Now the same by hand, for one image and our network,
# untrained.

# %%
model = class_densenet()
images, labels = next(iter(resident))  # float32 (128, 1, 28, 28), int64 (128,)
logits = model(images)  # (128, 10)
by_hand = -(logits[0, labels[0]] - logits[0].exp().sum().log())
built_in = F.cross_entropy(logits[:1], labels[:1])
print(f"by hand {by_hand:.4f}, F.cross_entropy {built_in:.4f}, equal: {torch.isclose(by_hand, built_in)}")

# %% [markdown]
# ## One training step in the open
#
# Five lines: forget old gradients, forward, loss, backward, step. We repeat them on the *same* batch. **Predict:**
# where does the loss start, and which way does it go?

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for _ in range(5):
    optimizer.zero_grad()
    logits = model(images)  # (128, 10)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print("  ".join(f"{loss:.3f}" for loss in losses))
assert abs(losses[0] - math.log(10)) < 0.6 and losses[-1] < losses[0] - 0.2

# %% [markdown]
# It starts near 2.303 and falls. `backward` found for every weight which way the loss grows; `step` went the other
# way. That proves that the step works, not that the network generalises.
#
# ## Momentum
#
# Momentum keeps a velocity $v$ and adds each gradient $g$ to what is left of it. Nesterov's form looks one step
# ahead:
#
# $$v \leftarrow \mu v + g, \qquad w \leftarrow w - \eta\,(g + \mu v)$$
#
# **Predict:** the gradient is always 1, $\eta = 0.1$, $\mu = 0.9$. How long are the first steps, and how long in the
# end?

# %% tags=["nbval-check-output"]
for name, momentum, nesterov in (("plain SGD", 0, False), ("momentum", 0.9, False), ("Nesterov", 0.9, True)):
    w = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=momentum, nesterov=nesterov)
    steps = []
    for _ in range(100):
        before = w.item()
        optimizer.zero_grad()
        w.backward()  # the gradient of w with respect to w: 1
        optimizer.step()
        steps.append(before - w.item())
    print(f"{name:10} first {steps[0]:.2f}, {steps[1]:.2f}, {steps[2]:.2f}; 100th {steps[99]:.2f}")

# %% [markdown]
# Along a steady slope the step grows to 0.1 / (1 − 0.9) = 1, ten times plain SGD's; where gradients change sign, they
# cancel. Nesterov's first step is momentum's second: that is the look ahead.
#
# ## Weight decay
#
# Weight decay adds $\lambda w$ to the gradient, so that unused weights shrink. Ours spares BatchNorm's γ and β and
# the classifier's biases: with γ at 0 a channel carries nothing. **Predict:** what share of the 141,130 numbers is
# decayed?

# %% tags=["nbval-check-output"]
optimizer = make_optimizer(class_densenet(), peak_rate=0.2)
for group in optimizer.param_groups:
    count = sum(p.numel() for p in group["params"])
    print(f"{len(group['params'])} tensors, {count:,} numbers: weight decay {group['weight_decay']}")

# %% [markdown]
# 138,112 of 141,130, or 98 %: nearly all of a DenseNet's numbers are convolution weights. The 3,018 others sit in
# most of its tensors. The paper decays by 10⁻⁴; ours is 5·10⁻⁴, for a far shorter training.
#
# ## Learning rate
#
# The paper holds the rate and divides it by ten at 50 % and 75 % of the training. One-cycle rises to its peak and
# falls to zero.

# %%
show(results.schedules())

# %% [markdown]
# One-cycle warms up for a quarter of the steps; the step schedule keeps its peak for half of them.
#
# **Predict** from the picture: with a peak of 0.2, what is each rate after 10 %, 62.5 % and 90 % of the steps?

# %% tags=["nbval-check-output"]
for step in (100, 625, 900):  # of 1,000
    print(f"{step / 10:4} %: one-cycle {0.2 * one_cycle(step, 1000):.4f}, step {0.2 * step_decay(step, 1000):.4f}")

# %% [markdown]
# At 62.5 % one-cycle is halfway down, at 0.1, five times the step schedule's rate. At the end both are small.
#
# ## Augmentation
#
# A mirrored shoe is a shoe. A flip with probability ½ makes a second image of each one, at no cost in labels. A shift
# crop moves the image by up to two pixels; black fills the gap.

# %%
shoe = train_images[first_of_class[9]].repeat(4, 1, 1, 1)  # uint8 (4, 1, 28, 28)
flip = torch.tensor([False, True, False, True])
shift = torch.tensor([[2, 2], [2, 2], [4, 4], [0, 4]])  # [2, 2] is the middle
show(image_grid(flip_and_shift(shoe, flip, shift), ["as it is", "flipped", "shifted", "both"], columns=4))

# %% [markdown]
# Four inputs, one label. Would you flip digits as well? A mirrored 2 is no 2: augmentation states what the label does
# not depend on.
#
# ## Dropout
#
# `nn.Dropout(0.2)` sets each number to zero with probability 0.2 and multiplies the rest. **Predict:** by how much
# must it multiply so that the mean stays 1? And what happens in evaluation mode?

# %% tags=["nbval-check-output"]
dropout = nn.Dropout(0.2)
values = dropout(torch.ones(100_000))
print("train:", values.unique().tolist(), f"mean {values.mean():.1f}")
print("eval: ", dropout.eval()(torch.ones(100_000)).unique().tolist())
print("in the network:", sum(isinstance(module, nn.Dropout) for module in class_densenet(drop_rate=0.2).modules()))

# %% [markdown]
# By 1 / 0.8 = 1.25; in evaluation mode it does nothing. `drop_rate` places one in each of the 2 + 4 + 4 layers of the
# blocks. The paper uses it where it trains without augmentation. We augment, so it stays 0.
#
# ## Number format and memory layout
#
# bf16 keeps the exponent of fp32 and 8 significant bits of its 24. **Predict:** what is 1 + 1/256 in bf16?

# %% tags=["nbval-check-output"]
one = torch.ones((), dtype=torch.bfloat16)
print(f"1 + 1/256 = {(one + 1 / 256).item()},  1 + 1/128 = {(one + 1 / 128).item()}")

# %% [markdown]
# 1/256 is lost, and so would be any smaller update to a weight of 1. So autocast multiplies in bf16, but weights and
# updates stay in fp32: mixed precision.
#
# Channels-last stores all channels of a pixel side by side. **Predict:** for `(2, 3, 8, 8)`, how far apart are two
# channels?

# %% tags=["nbval-check-output"]
batch = torch.zeros(2, 3, 8, 8)
print("contiguous   ", batch.stride())
print("channels-last", batch.contiguous(memory_format=torch.channels_last).stride())

# %% [markdown]
# 64 numbers apart before, 1 after: a convolution sums over channels, and now they lie together. The package uses both
# where the device has bf16 units. Elsewhere it computes in fp32.
#
# ## The training
#
# All of it in one call: `fit` runs your five lines for every batch, with Nesterov momentum, decay on the right
# tensors, one-cycle and this machine's precision. **Predict:** 60,000 images in batches of 128, the incomplete last
# one dropped: how many steps an epoch? Then write down the test accuracy you expect.

# %%
torch.manual_seed(0)
model, precision = class_densenet(), choose_precision(device)
options = {"batch_size": 128, "shuffle": True, "augment": "flip", "drop_last": True}
train = ResidentBatches(train_images, train_labels, device=device, **options)
test = ResidentBatches(test_images, test_labels, batch_size=1000, device=device)
print(f"{device.type}, {precision}: {len(train)} steps an epoch")
history = fit(model, train, test=test)

# %%
for row in history:
    print(f"epoch {row['epoch']}: {row['seconds']:3.0f} s, loss {row['train_loss']:.3f}, "
          f"train {row['train_accuracy']:.4f}, test {row['test_accuracy']:.4f}")
accuracy = history[-1]["test_accuracy"]
assert accuracy >= (0.75 if location.is_sample else 0.915)
show(results.learning_curves(history))

# %% [markdown]
# 468 steps. Training accuracy is measured while the weights still change, test accuracy after the epoch: so the test
# curve may run ahead. Quote the last epoch; picking the best one by its test accuracy would flatter it.
#
# ## What does it confuse?
#
# Rows are the true class, columns what the network said. **Predict** the darkest square: which two classes did you
# guess above?

# %%
logits, labels = predict(model, test, precision=precision)  # (10000, 10), (10000,)
show(results.confusion_matrix(logits, labels, CLASS_NAMES))
first, second, mistakes = results.most_confused(results.count_pairs(logits, labels, 10))
wrong = (logits.argmax(1) != labels).sum().item()
print(f"{CLASS_NAMES[first]} and {CLASS_NAMES[second]}: {mistakes} of {wrong} mistakes")
assert location.is_sample or "Shirt" in (CLASS_NAMES[first], CLASS_NAMES[second])

# %% [markdown]
# A shirt is half of the most confused pair: at 28×28, buttons and a collar are a few pixels.
#
# Now the ten mistakes the network was surest of: the label, and below it what the network said. **Cover the titles
# and name each garment yourself.**

# %%
confidence, predicted = logits.softmax(1).max(1)  # (10000,), (10000,)
worst = (confidence * (predicted != labels)).argsort(descending=True)[:10]
titles = [f"{CLASS_NAMES[labels[i]]}\n{CLASS_NAMES[predicted[i]]} {confidence[i]:.0%}" for i in worst]
show(image_grid(test_images[worst], titles, columns=5))

# %% [markdown]
# Count those where you side with the network: there the label itself may be doubtful. And high confidence is no proof
# of being right.
#
# ## How sure is the accuracy?
#
# Each test image is right or wrong, like a coin that shows heads with probability $p$. The standard error over $n$
# images is $\sqrt{p(1-p)/n}$. **Predict:** for $p = 0.93$ and $n = 10{,}000$?

# %%
error = math.sqrt(accuracy * (1 - accuracy) / len(test_labels))
print(f"accuracy {100 * accuracy:.2f} %, standard error {100 * error:.2f} points")
print(f"for p = 0.93 and n = 10,000: {100 * math.sqrt(0.93 * 0.07 / 10_000):.2f} points")

# %% [markdown]
# About a quarter of a point, however often you read the same test set. Another seed gives other first weights and
# another order, and so another accuracy. Three seeds were trained with `benchmarks/class_training.py`:

# %%
for name, runs in ((read_result("class_training") or {}).get("precisions", {})).items():
    values = [100 * value for value in runs["accuracy"].values()]
    print(f"{name}: {len(values)} seed{'s' * (len(values) > 1)}, mean {statistics.mean(values):.2f} %, "
          f"from {min(values):.2f} to {max(values):.2f} %, {statistics.median(runs['seconds'].values()):.0f} s each")

# %% [markdown]
# A change that gains less than the seeds differ may be luck. So an ablation needs several seeds.
#
# ## What was each ingredient worth?
#
# `benchmarks/ablation.py` changes one thing at a time. It trains on 55,000 images, for only three epochs, and judges
# on the 5,000 held out. The test set takes no part in choosing.
#
# Taken away: flip, momentum, weight decay. Replaced: the schedule, by step or a constant rate. Added: shift crop,
# dropout 0.2, label smoothing (a tenth of the target spread over all classes). **Predict** the worst change.


# %%
def show_changes(benchmark):
    measured = read_result(benchmark)
    if measured:
        show(results.ablation(measured))
    for name, points in results.differences(measured) if measured else []:
        agree = max(points) < 0 or min(points) > 0
        print(f"{name:26} {statistics.mean(points):+.2f} points{'' if agree else '   (the seeds disagree)'}")


show_changes("ablation")

# %% [markdown]
# A bar is the mean difference to the full recipe, a dot is one seed. Where the seeds disagree about the sign, three
# of them cannot tell whether the change helps.
#
# The constant rate costs most, then momentum. Dropout and shift crop *cost* accuracy here: they guard against
# overfitting, and three epochs are too few to overfit. Longer training may rank the changes differently.
#
# "Without momentum" kept the learning rate, so its steps were up to ten times shorter; its bar holds both effects.
#
# ## Techniques of record hunters
#
# Our recipe does without five techniques that others use:
#
# - **Muon** makes the steps of the inner convolutions orthogonal (Jordan 2024).
# - **Alternating flip** shows an image plain in one epoch and mirrored in the next (Jordan 2024).
# - **Whitened stem** starts with filters that make neighbouring pixels uncorrelated (Page 2018).
# - **Weight averaging** judges a running average of the weights.
# - **Mirror images in the test**: average the logits of an image and of its mirror image.
#
# Muon in the small: a gradient with the singular values 3 and 0.1. **Predict** them after `orthogonalise`.

# %% tags=["nbval-check-output"]
gradient = torch.diag(torch.tensor([3.0, 0.1]))
print([round(value, 1) for value in torch.linalg.svdvals(orthogonalise(gradient)).tolist()])

# %% [markdown]
# Both near 1: the weak direction is moved nearly as far as the strong one.
#
# `benchmarks/techniques.py` added each to the full recipe, for three epochs again. **Predict:** which helps most, and
# which harms?

# %%
show_changes("techniques")

# %% [markdown]
# Four techniques have dots on both sides of 0: they are worth a tenth of a point or two, if anything, and three seeds
# cannot tell. Weight averaging harms: the average lags behind weights that still improve. Muon and mirror images help
# together. What pays in other networks and longer trainings need not pay in yours.
#
# ## How much sooner than the book?
#
# d2l trains lesson 06's network at 96×96, for ten epochs. `benchmarks/time_to_accuracy.py` timed 200 of those steps
# and one evaluation, and took 0.91 as the accuracy in the end. Ours had two epochs of
# `fit(…, optimizer="muon", peak_rate=0.3)` in batches of 256. **Predict** the ratio of the times, and what brings most
# of it.

# %%
sooner = read_result("time_to_accuracy")
if sooner:
    runs = sooner["course"]["0.91"][sooner["precision"]]
    print(f"d2l's recipe {sooner['d2l seconds']['whole'] / 3600:.1f} hours, "
          f"ours {statistics.median(runs['seconds'].values()):.0f} seconds, imports and evaluation included, "
          f"to {statistics.mean(runs['accuracy'].values()):.3f}: {sooner['times faster']:.0f} times as fast")
    for name, factor in sooner["factors"].items():
        print(f"{factor:6.2f}  {name}")

# %% [markdown]
# The factors multiply to the ratio. Fewer pixels bring most, then fewer epochs, then bf16 with channels-last. Resident
# batches bring little beside such slow steps: a loader of four workers hides behind them. The last factor is below 1,
# because imports and evaluation cost a share of a short run.
#
# ## Break it
#
# Forget `model.eval()` and BatchNorm uses the statistics of the batch it is given. **Predict:** test in batches of
# 50, first shuffled, then sorted by class. Which accuracy suffers?

# %%
import copy

broken = copy.deepcopy(model).train()  # the bug: it should be .eval()
scores = {}
for name, order in (("shuffled", torch.randperm(len(test_labels))), ("sorted by class", test_labels.argsort())):
    batches = ResidentBatches(test_images[order], test_labels[order], batch_size=50, device=device)
    with torch.no_grad():
        hits = sum((broken(images).argmax(1) == labels).sum().item() for images, labels in batches)
    scores[name] = hits / len(test_labels)
    print(f"{name}: {scores[name]:.3f}")
assert scores["sorted by class"] < scores["shuffled"] - 0.1

# %% [markdown]
# Shuffled, the bug hides: a mixed batch has nearly the statistics of the whole set. Sorted, each batch holds one
# class; normalising removes what its images share, and that is what told the classes apart.
#
# **Predict:** is all well again after `eval()`? There was `no_grad`, and no optimizer.

# %%
damaged = evaluate(broken, test)[1]
print(f"before {accuracy:.3f}, after the broken test {damaged:.3f}")
assert location.is_sample or damaged < accuracy - 0.05

# %% [markdown]
# No: in train mode every forward pass moves the running statistics, gradients or not. The last batches held one class
# only, and `eval()` now normalises by them. The package's `evaluate` sets the mode, and puts it back.
#
# ## Stop and resume
#
# `fit` can write a checkpoint after each epoch: weights, velocities, schedule, random state. Here somebody presses
# stop after one epoch of three.

# %%
import tempfile


def press_stop(epoch):
    if epoch == 1:
        raise KeyboardInterrupt  # as the stop button does


batches = ResidentBatches(train_images[:512], train_labels[:512], batch_size=64, shuffle=True, augment="flip")
batches.set_epoch = press_stop
options = {"epochs": 3, "device": torch.device("cpu"), "precision": FP32, "progress": False}
checkpoint = Path(tempfile.mkdtemp()) / "tiny.pt"
torch.manual_seed(0)
stopped = fit(class_densenet(), batches, checkpoint=checkpoint, **options)
print("epochs done:", len(stopped))

# %% [markdown]
# Now a *new* network continues from the file, and a third one trains without interruption. **Predict:** how equal are
# their weights?

# %% tags=["nbval-check-output"]
del batches.set_epoch  # nobody presses stop now
resumed = class_densenet()
print("epochs in its history:", len(fit(resumed, batches, checkpoint=checkpoint, **options)))
torch.manual_seed(0)
uninterrupted = class_densenet()
fit(uninterrupted, batches, **options)
pairs = zip(resumed.parameters(), uninterrupted.parameters(), strict=True)
print("all differ by less than 1e-5:", all(torch.allclose(a, b, atol=1e-5) for a, b in pairs))

# %% [markdown]
# The same weights: order and flips depend on seed and epoch alone, and everything else is in the file.
#
# ## Shapes and parameters
#
# The network you trained, part by part, for one 28×28 image. **Predict:** 7×7 pixels reach the second transition.
# What leaves it?

# %% tags=["nbval-check-output"]
maps, model = torch.zeros(1, 1, 28, 28), model.cpu().eval()
for cost, part in zip(accounting.trace(model.config, 28), model.features[:-1], strict=False):
    maps = part(maps)  # (1, C, H, W)
    count = sum(p.numel() for p in part.parameters())
    print(f"{cost.name:12} {maps.shape[1]:4} × {maps.shape[2]:2} × {maps.shape[3]:2} {count:8,} parameters")
    assert (*maps.shape[1:], count) == (cost.channels, cost.height, cost.width, cost.parameters)
print(f"with the head {accounting.parameters(model.config):17,}")

# %% [markdown]
# 48 channels of 3×3: pooling drops the seventh row and column. `accounting` agrees with the network part by part,
# asserted above; the head is the final norm and the classifier.
#
# ## Your turn
#
# [Exercise 9](exercises/09_train_epoch.ipynb), *medium, 20 minutes.* Write `train_one_epoch(model, batches,
# optimizer)`, returning the mean loss over images, and `evaluate(model, batches)`, returning the accuracy and leaving
# the model as it was.
#
# [Exercise 10](exercises/10_schedule.ipynb), *easy, 10 minutes.* Write `learning_rate(step, total_steps, peak,
# warmup=0.25)`.

# %% [markdown]
# ## Recap
#
# - A step is five lines. The recipe around it: Nesterov momentum, decay on weights only, a rate that rises and falls
#   to zero, flips.
# - bf16, channels-last and resident batches change the time; the ablation says what changes the accuracy.
# - An accuracy has a standard error and a seed; `train()` and `eval()` decide whose statistics BatchNorm uses.
#
# **Sources.** Huang et al. 2017, sections 3 and 4.2. Xiao et al. 2017, FashionMNIST. Smith and Topin 2018, one-cycle.
# Sutskever et al. 2013, momentum and Nesterov. Srivastava et al. 2014, dropout. Jordan 2024, Muon; alternating flip.
# Page 2018, whitening.
#
# **Next:** [lesson 08, DenseNet-121](08_densenet121.ipynb).
