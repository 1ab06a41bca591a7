# %% [markdown]
# # 07 · Train on FashionMNIST in class
#
# **A network of 141,130 parameters, 60,000 small pictures, a few minutes: how well can
# it learn them, and which part of the recipe does the work?**
#
# After this lesson you can
# - write one training step from memory and say what each of its lines does;
# - explain momentum, weight decay, schedule and augmentation with a number each;
# - judge a result: its standard error, its seeds, its worst mistakes.
#
# About 45 minutes, one to three of them waiting, after [06 a small
# DenseNet](06_small_densenet.ipynb).

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
from pathlib import Path
from statistics import mean, median

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course import accounting, results
from densenet_course.data import (
    CLASS_NAMES,
    ResidentBatches,
    flip_and_shift,
    load,
    prepare,
)
from densenet_course.figures import results as pictures
from densenet_course.figures import show
from densenet_course.figures.images import image_grid
from densenet_course.measure import count_parameters
from densenet_course.models import class_densenet
from densenet_course.training import (
    choose_device,
    choose_precision,
    evaluate,
    fit,
    make_optimizer,
    one_cycle,
    predict,
    step_decay,
)

_ = torch.manual_seed(0)
device = choose_device()

# %% [markdown]
# ## The data
#
# FashionMNIST holds 60,000 grey training images of 28×28 pixels and 10,000 test images,
# in ten classes. Where they cannot be had, the course uses a sample of 6,000 and 1,000
# and says so. Shapes are `(N, C, H, W)` throughout.

# %%
location = prepare()
train_images, train_labels = load("train", location)  # uint8 (N, 1, 28, 28), int64 (N,)
test_images, test_labels = load("test", location)
first_of_class = [(train_labels == label).nonzero()[0].item() for label in range(10)]
show(image_grid(train_images[first_of_class], CLASS_NAMES, columns=5))
print(f"{len(train_images):,} training images, {train_images.nbytes / 1e6:.0f} MB")

# %% [markdown]
# One byte a pixel: all of them fit into any laptop's memory. So they stay there as one
# tensor, and `ResidentBatches` cuts batches out of it. Lesson 09 times that against the
# usual loader.
#
# ## The network
#
# A DenseNet-BC with k = 16: a 3×3 stem with stride 2, then three blocks of 2, 4 and 4
# bottleneck layers, with θ = ½ between them.
#
# **Predict** the shape that leaves each part, for one image of 28×28. The stem makes 32
# channels. Mind the second transition: 7 pixels are odd.

# %% tags=["nbval-check-output", "hide-output"]
model, maps = class_densenet().eval(), torch.zeros(1, 1, 28, 28)
parts = model.features[:-1]  # all but the final BN, which belongs to the head
for name, part in parts.named_children():
    maps = part(maps)
    shape = " × ".join(map(str, maps.shape[1:]))
    print(f"{name:12} {shape:>13} {count_parameters(part):8,} parameters")
print(f"with the head {count_parameters(model):>21,}")

# %% tags=["remove-cell"]
maps = torch.zeros(1, 1, 28, 28)
for cost, part in zip(accounting.trace(model.config, 28), parts, strict=False):
    maps = part(maps)
    found = (*maps.shape[1:], count_parameters(part))
    assert found == (cost.channels, cost.height, cost.width, cost.parameters)

# %% [markdown]
# Pooling drops the seventh row and column, so 3×3 remain. The head is the final BN and
# ReLU, the average of each of the 112 maps, and the classifier.
#
# ## The loss
#
# The network puts out ten logits $z$. As in lesson 06, cross-entropy is −log of the
# probability of the true class, here $y$; its unit is the *nat*:
#
# $$-\log \frac{e^{z_y}}{\sum_j e^{z_j}}$$
#
# The same by hand, for one image and our untrained network. As in lesson 06, guessing
# all classes alike has the loss ln 10 = 2.303.

# %%
batches = ResidentBatches(train_images[:1000], train_labels[:1000], batch_size=128)
images, labels = next(iter(batches))  # float32 (128, 1, 28, 28), int64 (128,)
model = class_densenet()
logits = model(images)  # (128, 10)
by_hand = -(logits[0, labels[0]] - logits[0].exp().sum().log())
built_in = F.cross_entropy(logits[:1], labels[:1])
print(f"by hand {by_hand:.4f}, F.cross_entropy {built_in:.4f}")

# %% [markdown]
# ## One training step in the open
#
# Five lines: forget old gradients, forward pass, loss, backward pass, step. We repeat
# them on the *same* batch, and note each loss before its step.
#
# **Predict**: the first loss is near ln 10 ≈ 2.303. Is the fifth, after four steps,
# above 2.25, between 1 and 2.25, or below 1?

# %% tags=["hide-output"]
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

# %% tags=["remove-cell"]
assert abs(losses[0] - math.log(10)) < 0.6 and losses[-1] < losses[0] - 0.2

# %% [markdown]
# It starts near 2.303 and falls by about a quarter of a unit: clearly, and far from 0.
# (Lesson 06's network started higher, because its logits varied more.) `backward` found
# for every weight which way the loss grows; `step` went the other way. That shows that
# the step works, not that the network generalises.
#
# ## Momentum
#
# Momentum keeps a velocity $v$, adds the gradient $g$ to a decayed copy of it, and
# steps by $\eta v$. Nesterov's form looks one step ahead:
#
# $$v \leftarrow \mu v + g, \qquad w \leftarrow w - \eta\,(g + \mu v)$$
#
# **Predict**: the gradient is always 1, the rate η is 0.1 and μ is 0.9. How long is a
# step in the end, after many of them?

# %% tags=["nbval-check-output", "hide-output"]
for name, momentum, nesterov in (
    ("plain SGD", 0, False), ("momentum", 0.9, False), ("Nesterov", 0.9, True),
):
    w, places = nn.Parameter(torch.zeros(())), [0.0]
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=momentum, nesterov=nesterov)
    for _ in range(100):
        optimizer.zero_grad()
        w.backward()  # the gradient of w with respect to w: 1
        optimizer.step()
        places.append(w.item())
    first, second, last = (places[i] - places[i + 1] for i in (0, 1, 99))
    print(f"{name:10} first step {first:.2f}, second {second:.2f}, 100th {last:.2f}")

# %% [markdown]
# Along a steady slope the velocity grows to 1 / (1 − 0.9) = 10, so a step is ten times
# plain SGD's; where gradients change sign, they cancel. Nesterov's first step is
# momentum's second: that is the look ahead.
#
# ## Weight decay
#
# Weight decay adds $\lambda w$ to the gradient, and so pulls each weight towards 0.
# Here BatchNorm follows every convolution and undoes any scale: only the direction of
# the weights counts. A step of one length turns short weights further than long ones.
# So decay, which keeps them short, should act like a higher learning rate; that is not
# measured here. Ours spares BatchNorm's γ and β and the classifier's biases.

# %% tags=["nbval-check-output"]
optimizer = make_optimizer(class_densenet(), peak_rate=0.2)
for group in optimizer.param_groups:
    numbers = sum(p.numel() for p in group["params"])
    tensors, decay = len(group["params"]), group["weight_decay"]
    print(f"{tensors} tensors, {numbers:,} numbers: weight decay {decay}")

# %% [markdown]
# 98 % of the numbers are decayed, in 24 of 71 tensors: nearly all of this network's
# parameters are weights of convolutions, and the classifier's weights are decayed, too.
# The paper decays by 10⁻⁴. Ours is 5·10⁻⁴; the ablation below tries none at all.
#
# ## Learning rate
#
# On CIFAR the paper holds the rate and divides it by ten at 50 % and 75 % of the
# training. One-cycle rises to its peak and falls to zero.

# %%
show(pictures.schedules())

# %% [markdown]
# *One-cycle warms up for a quarter of the steps; the step schedule keeps its peak for
# half of them.* In `torch.optim.lr_scheduler`, `MultiStepLR` is the step schedule.
# `OneCycleLR` is another form of the first: it rises and falls along a cosine, and
# moves the momentum as well, unless told otherwise.
#
# **Predict** from the picture: after 62.5 % of the steps, which rate is higher, and
# about how many times as high?

# %% tags=["nbval-check-output", "hide-output"]
for step in (100, 625, 900):  # of 1,000
    cycle, decay = 0.2 * one_cycle(step, 1000), 0.2 * step_decay(step, 1000)
    print(f"{step / 10:4} %: one-cycle {cycle:.4f}, step {decay:.4f}")

# %% [markdown]
# One-cycle is halfway down, at five times the step schedule's rate. At 90 % both are
# far below their peak. One-cycle goes on to zero; the step schedule stays.
#
# ## Augmentation and dropout
#
# A mirrored shoe is a shoe. A flip with probability ½ makes a second image of each one,
# at no cost in labels. A shift crop moves the image by up to two pixels; black fills
# the gap.

# %%
shoe = train_images[first_of_class[9]].repeat(4, 1, 1, 1)  # uint8 (4, 1, 28, 28)
flip = torch.tensor([False, True, False, True])
shift = torch.tensor([[2, 2], [2, 2], [4, 4], [0, 4]])  # [2, 2] leaves it in the middle
titles = ["as it is", "flipped", "shifted", "both"]
show(image_grid(flip_and_shift(shoe, flip, shift), titles, columns=4))

# %% [markdown]
# *Four inputs, one label.* Would you flip digits as well? A mirrored 2 is no 2:
# augmentation states what the label does not depend on.
#
# Dropout sets each number to zero with a probability, here 0.2, and multiplies the
# rest, so that the mean stays. The paper uses it, after every convolution but the
# first, where it trains without augmentation. We augment and leave it out.
#
# **Predict**: by how much does it multiply? And what does it do in evaluation mode?

# %% tags=["nbval-check-output", "hide-output"]
dropout = nn.Dropout(0.2)
print("train:", dropout(torch.ones(100_000)).unique().tolist())
print("eval: ", dropout.eval()(torch.ones(100_000)).unique().tolist())

# %% [markdown]
# By 1 / 0.8 = 1.25, and in evaluation mode nothing.
#
# ## The training
#
# `fit` runs your five lines for every batch. The recipe stands in the cell: flips and
# batches in `options`, the rest in the call, where `"sgd"` is Nesterov's form with the
# decay of `make_optimizer`. After each epoch the curves are drawn anew. We train for
# three epochs; six take twice as long, and you will see how far they get.
#
# While you wait, one to three minutes on two free processor cores: write down the test
# accuracy that you expect, and how many of the 1,000 shirts in the test set will be
# recognised.

# %%
torch.manual_seed(0)
model, precision = class_densenet(), choose_precision(device)
options = {"batch_size": 128, "shuffle": True, "augment": "flip", "drop_last": True}
train = ResidentBatches(train_images, train_labels, device=device, **options)
test = ResidentBatches(test_images, test_labels, batch_size=1000, device=device)
print(f"{device.type}, {precision}: {len(train)} steps in each of 3 epochs")
history = fit(
    model, train, test=test, epochs=3, optimizer="sgd", peak_rate=0.2, momentum=0.9,
    weight_decay=5e-4, schedule="one_cycle", after_epoch=pictures.live_curves(),
)

# %%
for row in history:
    seen, new = row["train_accuracy"], row["test_accuracy"]
    print(f"epoch {row['epoch']}: {row['seconds']:.0f} s", end=", ")
    print(f"train {seen:.4f}, test {new:.4f}")
kept = Path("runs/class_densenet.pt")  # lessons 10 and 11 can start from it
kept.parent.mkdir(exist_ok=True)
torch.save(model.state_dict(), kept)

# %% tags=["remove-cell"]
accuracy = evaluate(model, test, precision=precision)[1]
assert accuracy >= (0.75 if location.is_sample else 0.905)

# %% [markdown]
# Above, `bf16 autocast` means that convolutions calculate with shorter numbers,
# `channels-last` that a pixel's numbers lie side by side: both for speed, see lesson
# 09.
#
# Training accuracy is measured while the weights still change, test accuracy after the
# epoch. So the test curve may run ahead of the training curve. Quote the last epoch.
# The best one, picked by its test accuracy, would look better than the network is.
#
# If you stopped early, `history` has fewer rows, and all that follows works with the
# weights trained so far.
#
# ## What does it confuse?
#
# Rows are the true class, columns what the network said. **Predict** the pair that is
# confused most, both directions together: Coat and Shirt again, as in lesson 00?

# %% tags=["hide-output"]
logits, labels = predict(model, test, precision=precision)  # (10000, 10), (10000,)
show(pictures.confusion_matrix(logits, labels, CLASS_NAMES))
pairs = pictures.count_pairs(logits, labels, 10)  # true class × said class
recall = pairs.diag() / pairs.sum(1)
for i in recall.argsort().tolist():
    print(f"{CLASS_NAMES[i]:12} {recall[i]:.1%} recognised")

# %% tags=["remove-cell"]
first, second, _ = pictures.most_confused(pairs)
assert location.is_sample or "Shirt" in (CLASS_NAMES[first], CLASS_NAMES[second])
assert pairs.sum() == len(test_labels)

# %% [markdown]
# Shirts are recognised least, and they are one half of the pair confused most. One
# number for the accuracy hides that. (At 28×28, buttons and a collar are a few pixels;
# whether that is why, nothing here tests.)
#
# In lesson 00 the other half was Coat. That was another network, and it saw only the
# first 1,000 images. **Predict** which pair that network confuses most among all of
# them.

# %% tags=["hide-output"]
trained = class_densenet(weights="DEFAULT").to(device)
answers = predict(trained, test, precision=precision)[0].argmax(1)
for n in (1000, len(test_labels)):
    counts = pictures.count_pairs(answers[:n], labels[:n], 10)
    first, second, often = pictures.most_confused(counts)
    print(f"{n:6,}: {CLASS_NAMES[first]} and {CLASS_NAMES[second]}, {often} mistakes")

# %% [markdown]
# The same network, and another pair: so which pair leads depends on the images, and a
# thousand of them hold only a few mistakes of each kind.
#
# Here are the ten mistakes the network was surest of.

# %%
confidence, said = logits.softmax(1).max(1)  # (10000,), (10000,)
worst = (confidence * (said != labels)).argsort(descending=True)[:10]
show(image_grid(test_images[worst], [f"{i}" for i in range(1, 11)], columns=5))

# %% [markdown]
# **Predict** the label of each.

# %% tags=["hide-output"]
for place, i in enumerate(worst.tolist(), start=1):
    label, answer = CLASS_NAMES[labels[i]], CLASS_NAMES[said[i]]
    print(f"{place:2}: label {label}, network {answer}, {confidence[i]:.0%} sure")

# %% [markdown]
# Count those where you side with the network: there the label itself may be doubtful.
# And high confidence is no proof of being right.
#
# Now choose any image yourself, by its index.

# %%
number = 0  # your choice, from 0
image, title = test_images[[number]], CLASS_NAMES[labels[number]]
show(image_grid(image, [title], columns=4))
shares = logits[number].softmax(0)
for i in shares.argsort(descending=True)[:3].tolist():
    print(f"{CLASS_NAMES[i]:12} {shares[i]:.2%}")

# %% [markdown]
# ## How sure is the accuracy?
#
# Each test image is right or wrong, like a coin that shows heads with probability $p$.
# The standard error over $n$ images is $\sqrt{p(1-p)/n}$.
#
# **Predict** it for p = 0.93 and n = 10,000, to the nearest tenth of a point.

# %% tags=["hide-output"]
accuracy = (said == labels).float().mean().item()
for p, n in ((0.93, 10_000), (accuracy, len(test_labels))):
    error = math.sqrt(p * (1 - p) / n)
    print(f"accuracy {p:.2%} of {n:,} images: standard error {100 * error:.2f} points")

# %% [markdown]
# 0.3 of a point. Evaluating again on the same images does not shrink it. Another seed
# gives other initial weights and another order, and so another accuracy.
# `benchmarks/class_training.py` trained several, each for six epochs:

# %% tags=["nbval-check-output"]
for name, runs in results.read("class_training")["precisions"].items():
    values = [100 * value for value in runs["accuracy"].values()]
    seconds = median(runs["seconds"].values())
    told = f"{len(values)} seed{'s' * (len(values) > 1)}, mean {mean(values):.2f} %"
    spread = f"{min(values):.2f} to {max(values):.2f} %"
    print(f"{name}: {told}, {spread}, {seconds:.0f} s")

# %% [markdown]
# One seed in fp32 is too few to compare the two. Set their six epochs beside your
# three: each of those seeds ended above the three epochs stored here, the mean by about
# a point. A change that gains less than the seeds differ may be luck. So an *ablation*,
# which changes one ingredient at a time, needs several seeds.
#
# ## What was each ingredient worth?
#
# `benchmarks/ablation.py` changes one thing at a time. It trains for three epochs, as
# we did, but on 55,000 images, and judges on the 5,000 held out. The test set takes no
# part in choosing.
#
# Taken away: flip, momentum, weight decay. Replaced: the schedule, by step or by a
# constant rate of 0.2, the peak. Added: shift crop, dropout 0.2, label smoothing (a
# tenth of the target spread over all classes).
#
# **Predict** the two worst changes, and one that makes no difference.

# %% tags=["hide-output"]
ablation = results.read("ablation")
show(pictures.ablation(ablation))
for name, points in pictures.differences(ablation):
    agree = max(points) < 0 or min(points) > 0
    note = "" if agree else "   (the seeds disagree)"
    print(f"{name:26} {mean(points):+.2f} points{note}")

# %% [markdown]
# *A bar is the mean difference to the full recipe, a dot is one seed.* Where the seeds
# disagree about the sign, three of them cannot tell whether the change helps. Where
# they agree, that alone is weak: three seeds agree by chance one time in four, so of
# eight changes that do nothing two would look settled.
#
# The constant rate, the missing momentum and dropout cost most. Their seeds overlap, so
# which of the three costs more, the runs do not say. "Without momentum" kept the
# learning rate, so its steps were up to ten times shorter; its bar holds both effects.
# The constant rate is mixed, too: it never falls, and it is the peak all the time. A
# lower constant rate was not tried.
#
# Dropout and shift crop *cost* accuracy here. They guard against overfitting. In three
# epochs there may be little of it; the ablation did not measure that. Longer training
# may rank the changes differently.
#
# ## Another batch size, another optimizer
#
# The same script trains with batches of 64 and 512, at the same rate, and with *Adam*
# (`fit(…, optimizer="adam")`), which divides each weight's step by the typical size of
# its recent gradients. (It is AdamW: decay shrinks the weights directly, and is not
# added to the gradient.) Adam needs a smaller rate; three were tried, one seed each.
#
# **Predict**: do batches of 512 gain or lose? Does Adam's best rate pass SGD?

# %% tags=["hide-output"]
choices = results.read("choices")["variants"]
for name, found in choices.items():
    print(f"{name:18} {100 * found['accuracy']['0']:.1f} %")

# %% [markdown]
# Batches of 512 take a quarter of the steps, and lose. A common rule gives them a rate
# that grows in proportion, which was not tried. With one seed, batches of 64 cannot be
# told from our 128. Adam depends on its rate as well: the
# smallest loses two points. The largest cannot be told from SGD: three seeds of the
# full recipe alone lie 0.4 points apart in these three epochs, and Adam had one
# seed at each rate. The best of Adam's rates is the last of the three, so a still
# larger one might do better.
#
# `docs/measured.md` times a faster recipe than this one (Muon, larger batches, smaller
# images first) against the book's, and `docs/recommendations.md` tells what Muon and
# mirror images at test time add in three epochs.
#
# ## Break it
#
# Forget `model.eval()` and BatchNorm uses the statistics of the batch it is given. We
# test in batches of 50, first shuffled, then sorted by class.
#
# **Predict**: which accuracy suffers?

# %% tags=["hide-output"]
broken = copy.deepcopy(model).train()  # the bug: it should be .eval()
orders = {"shuffled": torch.randperm(len(test_labels)), "sorted": test_labels.argsort()}
scores = {}
for name, order in orders.items():
    chosen = test_images[order], test_labels[order]
    batches = ResidentBatches(*chosen, batch_size=50, device=device)
    with torch.no_grad():
        hits = sum((broken(x).argmax(1) == y).sum().item() for x, y in batches)
    scores[name] = hits / len(test_labels)
    print(f"{name}: {scores[name]:.3f}")

# %% tags=["remove-cell"]
assert scores["sorted"] < scores["shuffled"] - 0.1

# %% [markdown]
# Shuffled, the bug hides: a mixed batch has nearly the statistics of the whole set.
# Sorted, each batch holds one class; normalising removes what its images share, and
# that is what told the classes apart.
#
# **Predict**: is all well again after `eval()`? There was `no_grad`, and no optimizer.

# %% tags=["hide-output"]
damaged = evaluate(broken, test, precision=precision)[1]
print(f"before {accuracy:.3f}, after the broken test {damaged:.3f}")

# %% tags=["remove-cell"]
assert location.is_sample or damaged < accuracy - 0.05

# %% [markdown]
# No: in train mode every forward pass moves the running statistics, gradients or not.
# The last batches held one class only, and `eval()` now normalises by them. The
# package's `evaluate` sets the mode, and puts it back.
#
# ## Your turn
#
# [Exercise 9](exercises/09_train_epoch.ipynb), *medium, 20 minutes.* Write the loop and
# the evaluation.
#
# [Exercise 10](exercises/10_schedule.ipynb), *easy, 10 minutes.* Write
# `learning_rate(step, total_steps, peak, warmup=0.25)`.

# %% [markdown]
# ## Recap
#
# - A step is five lines. The recipe around it: Nesterov momentum, a rate that rises and
#   falls to zero, and two parts whose use three epochs did not show, weight decay and
#   flips.
# - An accuracy has a standard error and a seed, and hides how unequal the classes are.
#   A change smaller than the seeds' spread may be luck.
# - `train()` and `eval()` decide whose statistics BatchNorm uses, and a forward pass in
#   train mode moves them.
#
# **Sources.** Huang et al. 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993),
# sections 3 and 4.2. Xiao et al. 2017,
# [FashionMNIST](https://arxiv.org/abs/1708.07747). Smith and Topin 2018,
# [one-cycle](https://arxiv.org/abs/1708.07120). Sutskever et al. 2013, [momentum and
# Nesterov](https://proceedings.mlr.press/v28/sutskever13.html). Srivastava et al. 2014,
# [dropout](https://jmlr.org/papers/v15/srivastava14a.html).
#
# **Next:** [08 DenseNet-121](08_densenet121.ipynb).
