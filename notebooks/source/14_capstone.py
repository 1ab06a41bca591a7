# %% [markdown]
# # 14 · Capstone: design under a budget
#
# **You have a fixed number of parameters and a fixed time. Which DenseNet do you build,
# and how would you know that another is worse?**
#
# After this lesson you can
# - say before any training what growth rate, layers and compression cost;
# - read a sweep: which networks no other beats, and how far luck reaches;
# - enter the capstone: its budget, its rules, its judge, its leaderboard.
#
# About 45 minutes, after [05 the bottleneck](05_bottleneck.ipynb) and [07 train on
# FashionMNIST](07_train_fashion_mnist.ipynb), and for one section [09 memory and
# speed](09_memory_and_speed.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import contextlib
import math
import statistics
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from densenet_course import accounting, results
from densenet_course.checks import last, leaderboard, run
from densenet_course.checks.exercises import capstone
from densenet_course.config import DenseNetConfig
from densenet_course.data import ResidentBatches, load
from densenet_course.figures import design_space as pictures
from densenet_course.figures import show
from densenet_course.figures.leaderboard import leaderboard as board_picture
from densenet_course.measure import saved_bytes
from densenet_course.models import DenseNet, class_densenet
from densenet_course.studies.design_space import (
    distinguishable_pairs,
    find,
    front,
    networks,
    noise,
    rank,
    told_apart,
    turn_table,
)
from densenet_course.training import fit, one_cycle

# %% [markdown]
# ## The designer's question
#
# You get 100,000 parameters and a fixed training time. Which DenseNet do you build?
# Formulas tell its parameters and multiply-adds. Its seconds and its accuracy must be
# measured.
#
# Its knobs are the growth rate k, the layers in each block and the compression θ. A
# layer that reads C channels has (lesson 05)
#
# $$4 \cdot C \cdot k + 36 \cdot k^2$$
#
# weights, and C itself grows in proportion to k. We start from blocks of 2, 4 and 4
# layers, k = 12, θ = 0.5 (the default). **Predict**: k doubles, and with it the 2k
# channels of the stem. By what factor do the parameters grow?

# %% tags=["nbval-check-output", "hide-output"]
base = DenseNetConfig(
    block_layers=(2, 4, 4), growth_rate=12, init_channels=24, num_classes=10,
    in_channels=1, stem="class",
)


def price(name, **change):
    config = replace(base, **change)
    print(f"{name:12}", end="")
    for count in (accounting.parameters, lambda c: accounting.multiply_adds(c, 28)):
        factor = count(config) / count(base)
        print(f"{count(config):10,} × {factor:.2f}", end="    ")
    print()


print(f"{'':12}parameters          multiply-adds")
price("base")
price("k = 24", growth_rate=24, init_channels=48)

# %% [markdown]
# Nearly fourfold, in both: all weights but those of stem, BN and classifier scale with
# k². Nothing was trained, or even built: these are the formulas of `accounting`.
#
# Next, two more layers. **Predict**: in which block do they cost most parameters, and
# in which most multiply-adds?

# %% tags=["nbval-check-output", "hide-output"]
for block_layers in ((4, 4, 4), (2, 6, 4), (2, 4, 6)):
    price(str(block_layers), block_layers=block_layers)

# %% [markdown]
# For parameters the place hardly matters: an early layer reads little itself, but all
# behind it read its maps. For work it does. A weight works for every pixel of its map:
# 196 times in block 1, 9 times in block 3.
#
# Two more changes, each alone: no compression (θ = 1), and a stem that does not halve
# the image. **Predict**: which of the two costs more parameters, and which more work?

# %% tags=["nbval-check-output", "hide-output"]
price("θ = 1", compression=1.0)
price("cifar stem", stem="cifar")

# %% [markdown]
# No compression costs a third more parameters. The stem costs none, but 4.09 times the
# work: four times the pixels in blocks 1 and 2, and 49 instead of 9 in block 3.
#
# ## Read a sweep
#
# What does all that buy? `benchmarks/design_space.py` trained 4 growth rates × 4 depths
# × 2 compressions. Each network saw 55,000 images once, but for the 88 that fill no
# batch, and was judged on 5,000 others of the training set. All had the same recipe,
# with peak rate 0.2; a rate tuned for each might change the order. From here to "The
# budget" all but the saved bytes is read from its file; the test set was never used.

# %% tags=["nbval-check-output"]
measured = results.read("design_space")
trained = networks(measured)
seeds, images = measured["seeds"], measured["train_images"]
print(f"{len(trained)} networks, seeds {seeds}, one epoch of {images:,} images")
print("trained on", measured["device"], "with", measured["precision"])

# %% [markdown]
# **Guess**: from the smallest to the largest network the parameters grow 36-fold. How
# many points of accuracy does that buy?

# %% tags=["hide-output"]
controls = pictures.explorer(measured)

# %% [markdown]
# *A square is a network that no other beats: none costs less and reaches more.* They
# form the **Pareto front**. A network below the front costs more than another that
# reached as much; along the front you trade cost for accuracy. Both axes of cost are
# logarithmic, and a bar spans the two seeds. The diamond is the network that the
# sliders choose: it is looked up, not trained, and hides its own square here.
#
# Who stands on the front, by parameters?

# %% tags=["nbval-check-output"]
for network in front(trained):
    accuracy, seconds = network.accuracy, network.seconds
    size = f"{network.parameters:8,} parameters, {seconds:4.0f} s"
    print(f"{size}, {accuracy:.2f} %   {network}")

# %% [markdown]
# The 36-fold network reaches 90.0 %, three points more than the smallest. It is not
# even on the front: the best, 90.1 %, has 27 times the smallest's parameters. 14 of 32
# stand on the front. Some may be there by luck; we come back to that.
#
# ## One knob at a time
#
# One picture holds all 32 networks. Each panel turns one knob.

# %%
show(pictures.one_knob(measured))

# %% [markdown]
# *Along a thin line the two other knobs are fixed; the thick line is the mean of all.*
# The means rise or stay; a single line may fall. But a mean over all starts hides where
# a turn was made. So we hold the start: the smallest network, one in the middle, and
# lesson 07's class network. Two means of two seeds each count as apart beyond 0.63
# points; the next section says why. Such turns get a star.
#
# **Predict**: from which of the three starts does a knob buy more than luck could?

# %% tags=["nbval-check-output", "hide-output"]
knobs = (8, (2, 2, 2)), (12, (2, 4, 4)), (16, (2, 4, 4))  # k and layers, with θ = 0.5
starts = [find(trained, k, block_layers) for k, block_layers in knobs]
print(turn_table(trained, *starts))

# %% tags=["remove-cell"]
small, middle, large = (
    [row for row in part.splitlines()[1:]]
    for part in turn_table(trained, *starts).split("from ")[1:]
)
assert all(row.endswith("*") for row in small) and len(small) == 7
assert not any(row.endswith("*") for row in middle + large)

# %% [markdown]
# Only from the smallest, and there with every turn of every knob, though compression
# passes the limit only just. (From the middle, k = 16 lies just under the limit before
# rounding.) From the class network none does, though one doubles the parameters. And
# from one start "which knob is best?" needs a gap beyond luck, too: the first turns of
# the three knobs, +1.23, +0.80 and +0.64, lie within 0.63 points.
#
# Do not count the stars. All turns from one start share its luck: had the smallest
# network drawn badly, all seven would look better than they are. Of sixteen turns that
# buy nothing, luck alone gives about one a star. And a star here but none there does
# not show that a turn buys less there. For that, compare the two gains: their
# difference has a limit of 0.63 · √2 = 0.9 points. For k, +1.23 from the smallest and
# -0.04 from the class network differ by 1.27 and pass it. For compression, +0.64 and
# -0.20 differ by 0.84 and do not. For layers no turn is the same from both starts.
#
# Two tempting readings fail. "Layers in blocks 2 and 3 pay more than in block 1"
# compares (2, 2, 2) → (2, 4, 4) with (2, 4, 4) → (4, 4, 4): two starts. From the same
# start, (4, 4, 4), with more in block 1, and (3, 6, 6), with more behind it, cannot be
# told apart. "Wide beats deep" needs equal cost as well: k = 16 costs the smallest
# network almost four times the parameters, two more layers in two blocks not even
# twice.
#
# ## How far does luck reach?
#
# Two things blur an accuracy. Other initial weights and another order of the images
# give another network: the seeds. And 5,000 images are a sample: the standard error is
# $\sqrt{p(1-p)/n}$ (lesson 07). Here are both, in points.

# %% tags=["nbval-check-output"]
p = statistics.mean(network.accuracy for network in trained) / 100
n = measured["validation_images"]
print(f"a run's standard deviation between seeds: {noise(trained):.2f} points")
print(f"{n:,} images: standard error {100 * math.sqrt(p * (1 - p) / n):.2f} points")
apart, pairs = distinguishable_pairs(trained)
print(f"means of two seeds count as apart beyond {told_apart(trained):.2f} points")
print(f"so {apart} of {pairs} pairs are told apart")

# %% [markdown]
# 0.32 points is the standard deviation of one run, from seed to seed. A mean of two
# seeds has 0.32/√2, the difference
# of two such means again 0.32, and twice that, before rounding, is our limit: of twenty
# pairs of equal networks, luck alone puts about one beyond it. The images add 0.4. All
# networks share the same 5,000, so part of that luck moves them together; on other
# images ranks may move further than our limit says. For 222 of the 496 pairs two seeds
# cannot tell which network is better. That does not make them equal; and a few of the
# 274 are told apart by luck.
#
# Back to the front. **Predict**: how many of its 13 steps are larger than that limit?

# %% tags=["nbval-check-output", "hide-output"]
steps = [b.accuracy - a.accuracy for a, b in pairwise(front(trained))]
print(sum(step > told_apart(trained) for step in steps), "of", len(steps), "steps")

# %% [markdown]
# One of thirteen, with 0.64 points against 0.63: among thirteen tries, that may be luck
# too. That larger networks reach more is real: the ends of the front are three points
# apart. The front itself is a row of winners, so it lies somewhat too high, and the
# order of neighbours is not settled: another seed may swap them.
#
# And the best of 32 is best partly by luck. We take the five best by the first seed.
# **Predict**: how many of them reach more with the second? The mean change of all 32
# tells whether that seed was better or worse.

# %% tags=["nbval-check-output", "hide-output"]
by_first = sorted(trained, key=lambda network: network.accuracies[0], reverse=True)
for network in by_first[:5]:
    first, second = network.accuracies
    place = rank(trained, network, seed=1)
    print(f"{first:.2f} % → {second:.2f} %, now in place {place}   {network}")
changes = [network.accuracies[1] - network.accuracies[0] for network in by_first]
for name, part in (("these five", changes[:5]), (f"all {len(changes)}", changes)):
    print(f"{name}: {statistics.mean(part):+.2f} points in the mean")

# %% tags=["remove-cell"]
assert all(network.accuracies[1] < network.accuracies[0] for network in by_first[:5])

# %% [markdown]
# None: all five fell, though the second seed is no worse on the whole. The mean of
# -0.20 alone proves little: chance moves the mean change of five networks by about as
# much. The argument is the choice: who is picked for a high draw was probably lucky in
# that draw, and that holds for every leaderboard. The group stays good, but its order
# means little.
#
# ## What do seconds follow?
#
# The seconds are read, the bytes saved for the backward pass (lesson 09) are counted
# now, in fp32. (The sweep ran in bf16, which saves fewer, in all networks.) All three
# of parameters, multiply-adds and saved bytes go up with the seconds, for a large
# network is large by every measure. So we ask for the price: the seconds that each of
# them costs. If seconds followed one of them, its price would be the same in all
# networks.
#
# **Predict**: which price varies least?

# %% tags=["hide-output"]
def saved(network):  # bytes of one image, in fp32
    k = network.growth_rate
    config = replace(
        base, growth_rate=k, init_channels=2 * k, block_layers=network.block_layers,
        compression=network.compression,
    )
    return saved_bytes(DenseNet(config), torch.zeros(2, 1, 28, 28)) / 2


counts = {
    "parameters": [network.parameters for network in trained],
    "multiply-adds": [network.multiply_adds for network in trained],
    "saved bytes": [saved(network) for network in trained],
}
runs = [network["cpu_seconds"] for network in measured["networks"]]
first, second = [run["0"] for run in runs], [run["1"] for run in runs]
spreads = {}  # what → how many times the cheapest price the dearest is
for name, numbers in counts.items():
    spreads[name] = []
    for seconds in ([network.seconds for network in trained], first, second):
        prices = [a / b for a, b in zip(seconds, numbers, strict=True)]
        spreads[name].append(max(prices) / min(prices))
    both, *alone = (f"{spread:.1f}" for spread in spreads[name])
    print(f"{name:13} dearest / cheapest {both}; each seed alone {', '.join(alone)}")
for k in (8, 12, 16, 24):
    pairs = zip(trained, first, second, strict=True)
    ratio = statistics.mean(b / a for n, a, b in pairs if n.growth_rate == k)
    print(f"k = {k:2}: the second seed took {ratio:.2f} times the seconds of the first")

# %% tags=["remove-cell"]
for of_each in zip(*spreads.values(), strict=True):  # both seeds, the first, the second
    assert min(of_each) == of_each[list(spreads).index("saved bytes")]
assert spreads["saved bytes"][0] < 1.6

# %% [markdown]
# Saved bytes, and by each seed alone, too. But the two seeds cannot have run under
# equal conditions: with the second the thin networks took a good quarter longer, the
# wide ones a twentieth, and the work was the same. The file says that the machine was
# busy. So part of each factor is probably load. It may explain much of the 1.4, but
# hardly the 3.2.

# %%
show(pictures.seconds_by(measured, {
    "multiply-adds (millions an image)": [n.multiply_adds / 1e6 for n in trained],
    "saved bytes (kB an image)": [size / 1e3 for size in counts["saved bytes"]],
}))

# %% [markdown]
# *Thin networks pay more for a multiply-add; the price of a saved byte differs less.* A
# fixed cost of each step could explain part of the left picture: its points lie roughly
# along a line that starts above 0. So could a cost of each layer: of two networks with
# equal work the thinner one has more layers, and saves more bytes. Or it is the moving
# of maps, which takes time, too, and which multiply-adds do not count. The sweep cannot
# separate the three.
#
# ## The budget
#
# Now the exercise. From here on everything is computed in this notebook, but for one
# last look into the file.

# %% tags=["nbval-check-output"]
print(f"at most {capstone.MAX_PARAMETERS:,} numbers, {capstone.MAX_IMAGES:,} images")
print(f"the time of {capstone.BUDGET} steps of the class network")
levels = ", ".join(f"{level:.0%}" for level in capstone.LEVELS)
print("two points each for an accuracy of", levels)

# %% [markdown]
# The judge calls your `build_model()` and trains what comes back.
#
# | step | rule |
# |---|---|
# | count | every number that the network holds, frozen ones and buffers too; BatchNorm's statistics are free |
# | try | logits (N, 10) for images (N, 1, 28, 28); each call builds a new network with fresh weights |
# | look inside | some layer reads the maps of several earlier ones, concatenated: a ResNet is not trained |
# | train | lesson 07's recipe: 128 images a step, flips, Nesterov, one cycle up to rate 0.2 |
# | stop | after the time of 600 steps of the class network, or 180,000 images: three epochs of all 60,000 |
# | ask | for 5,000 of the 10,000 test images, drawn anew for each check |
#
# BatchNorm's statistics are free because they are measured, not trained: they follow
# from the weights and the images. The limits on time and images are checked between
# steps, so the last step may overshoot a little.
#
# The judge trains the class network beside yours, a step now and then, and times it. On
# a slow or busy machine both take longer, so their ratio changes little. The schedule
# follows whichever of the two is used up further, the time or the images. Here is the
# learning rate by the time used, where time runs out first.

# %% tags=["nbval-check-output"]
for used in (0, 75, 150, 375, 600):
    print(f"{used:3} steps: {0.2 * one_cycle(used, capstone.BUDGET):.2f}")

# %% [markdown]
# So every network finishes its cycle. A fast one sees more images in it, up to three
# epochs. The sweep gave each network an epoch, however long it took. How many of its 32
# networks keep the budget of parameters, and how far did these get?

# %% tags=["nbval-check-output"]
small = [n for n in trained if n.parameters <= capstone.MAX_PARAMETERS]
print(f"{len(small)} have at most {capstone.MAX_PARAMETERS:,} parameters")
for level in capstone.LEVELS:
    print(f"{sum(n.accuracy >= 100 * level for n in small):2} reached {level:.0%}")

# %% tags=["remove-cell"]
of_class = find(trained, 16, (2, 4, 4))
limit = capstone.BUDGET * of_class.seconds / (measured["train_images"] // 128)
assert len(small) == 12 and all(n.seconds <= limit for n in small)

# %% [markdown]
# Twelve. In the sweep an epoch has 429 steps, and took the class network 38 s; so its
# 600 steps would take 53 s. The slowest of the twelve needed 37 s for an epoch. If the
# judge's times have the same ratios, each of them gets through one, and the small ones
# have time for more. So the sweep names candidates, but no winner: by the clock, its
# ranks may change.
#
# ## Judge a tiny network
#
# One layer in each block and k = 2: less than a hundredth of the parameters allowed.
# **Predict** its points, of 10: one for the count, one for the logits, two for the
# joined maps, two for each level. `run` judges as `check` does in the exercise, without
# noting your progress. We also enter it into a leaderboard, in a folder that is thrown
# away.

# %% tags=["hide-output"]
tiny = replace(base, block_layers=(1, 1, 1), growth_rate=2, init_channels=4)
folder = tempfile.TemporaryDirectory()
print(run("capstone", {"build_model": lambda: DenseNet(tiny)}))
with contextlib.chdir(folder.name):
    leaderboard.enter("Ada")

# %% tags=["remove-cell"]
of_tiny = last("capstone")
assert 4 <= of_tiny.points < 10  # the lesson must not solve the exercise

# %% [markdown]
# Its steps are cheap, so it stopped after three epochs with time left. It uses hardly
# any of the parameters allowed: the sweep's smallest network, with 19,978, reached 87 %
# after less than a third of the images.
#
# ## Break it: the class network before the judge
#
# The class network of lesson 07 has 141,130 parameters. **Predict**: does the judge
# train it?

# %% tags=["nbval-check-output", "hide-output"]
print(run("capstone", {"build_model": class_densenet}))

# %% [markdown]
# It refuses to train it. The logits are fine and its maps are concatenated: these keep
# their points; what was not trained earns nothing.
#
# ## Break it: thin, deep, on all pixels
#
# Now a network that uses most of the parameters allowed: k = 4 with 20, 12 and 12
# layers, on the full 28×28 pixels. **Predict**: is its accuracy above or below the tiny
# one's, by more than luck? Each accuracy has a standard error of 0.6 to 0.7 points from
# its 5,000 images, their difference one of 0.9.

# %% tags=["hide-output"]
deep = replace(
    base, block_layers=(20, 12, 12), growth_rate=4, init_channels=8, stem="cifar"
)
print(run("capstone", {"build_model": lambda: DenseNet(deep)}))
with contextlib.chdir(folder.name):
    leaderboard.enter("Grace")

# %% tags=["remove-cell"]
of_deep, tiny_result = last("capstone").measured, of_tiny.measured
assert of_deep["images_seen"] < tiny_result["images_seen"] / 5
assert of_deep["accuracy"] < tiny_result["accuracy"]

# %% [markdown]
# Below, by far more than luck, with many times the parameters. What both cost, by
# formula:

# %% tags=["nbval-check-output"]
for name, config in (("tiny", tiny), ("deep", deep)):
    parameters = accounting.parameters(config)
    work = accounting.multiply_adds(config, 28)
    print(f"{name}: {parameters:,} parameters, {work:,} multiply-adds")

# %% [markdown]
# The deep one has 115 times the parameters and does 530 times the work for each image;
# with the class stem it would be about a quarter of that. It uses all its time, more
# than the tiny one needed, and still sees far fewer images. But does it lack steps, or
# does it learn worse step for step? Here is the tiny one, with as many images as the
# deep one saw:

# %%
seen = last("capstone").measured["images_seen"]
(images, labels), test = load("train"), load("test")
batches = ResidentBatches(
    images[:seen], labels[:seen], batch_size=128, shuffle=True, augment="flip"
)
few_steps = fit(
    DenseNet(tiny), batches, test=ResidentBatches(*test, batch_size=500), epochs=1,
    peak_rate=0.2, device=torch.device("cpu"), progress=False,
)[-1]["test_accuracy"]
print(f"tiny, {len(batches)} steps: {few_steps:.1%}")

# %% tags=["remove-cell"]
assert few_steps < of_deep["accuracy"]

# %% [markdown]
# So step for step the deep network is ahead of the tiny one: what it lacks is probably
# steps. We have neither trained it longer, nor a wide one of its size for as many
# steps. No message calls that an error: only the numbers of steps and of images seen
# hint at it.
#
# ## The leaderboard
#
# `enter` keeps the best result of each name in `leaderboard.json`. The command
# `densenet-course leaderboard FILE …` merges the files of a class, and writes a table
# and a picture:

# %%
entries, _ = leaderboard.load(Path(folder.name) / "leaderboard.json")
print(leaderboard.table(entries))
show(board_picture(leaderboard.ranked(entries)))
folder.cleanup()

# %% [markdown]
# *Up and to the left is better; squares are the front again.* The board is for the fun
# of it: anyone can edit the file, and neighbours differ by luck. Its columns mean the
# same on every machine, but the numbers need not be equal: another processor may be
# slower at thin networks. The board earns no points: those come from the check, and in
# a graded class from a training outside your notebook.
#
# ## Your turn
#
# [Exercise 15](exercises/15_capstone.ipynb), *hard, 60 minutes.* Write `build_model()`.
# Price your ideas with `accounting` before you spend time on them, and change one knob
# at a time. Pass a level with room to spare: each check draws 5,000 of the same 10,000
# images anew, which alone moves an accuracy by 0.3 points (0.46 · √½), and the start
# values move it by about as much (0.32 in the sweep).
#
# When it stands, take it through the course once: see who reads whose maps (03) and
# count its saved bytes (09); train it with `fit` (07), then probe its blocks (10) and
# give it a new classifier (11).
#
# ## Recap
#
# - Parameters and multiply-adds are known before training. Both grow with k². At our
#   start the parameters hardly depend on which block gets a layer, multiply-adds
#   strongly.
# - From the smallest network every turn of a knob passed the limit of luck, from the
#   class network none did. For k the gain is smaller there, by the one pair of turns
#   that can be compared; for compression the data cannot say. Of thirteen steps on the
#   front, one passed, and only just.
# - Seconds per saved byte differ least between networks (by up to a factor of 1.4, part
#   of it probably load); seconds per multiply-add by up to 3.2.
# - The judge counts every number but BatchNorm's statistics; its clock decides how many
#   images a network sees, up to three epochs.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*,
#   CVPR 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), sections 3 and 4.
# - `benchmarks/design_space.py` and its result, for everything about the sweep.
#
# **Next:** [exercise 15](exercises/15_capstone.ipynb). After it, `check()` in any
# exercise lists what you have solved.
