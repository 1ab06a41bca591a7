# %% [markdown]
# # 14 · Capstone: design under a budget
#
# **You may spend so many parameters and so much time. Which DenseNet do you build, and
# how would you know that another is worse?**
#
# After this lesson you can
# - say before any training what growth rate, layers and compression cost;
# - read a sweep: which networks no other beats, and how far luck reaches;
# - enter the capstone: its budget, its rules, its judge, its leaderboard.
#
# About 45 minutes, after [05 the bottleneck](05_bottleneck.ipynb) and [07 train on
# FashionMNIST](07_train_fashion_mnist.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import contextlib
import json
import math
import statistics
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from densenet_course import accounting
from densenet_course.checks import last, leaderboard, run
from densenet_course.checks.exercises import capstone
from densenet_course.config import DenseNetConfig
from densenet_course.figures import design_space as pictures
from densenet_course.figures import show
from densenet_course.figures.leaderboard import leaderboard as board_picture
from densenet_course.measure import saved_bytes
from densenet_course.models import DenseNet, class_densenet
from densenet_course.studies.design_space import (
    distinguishable_pairs,
    effect,
    networks,
    noise,
    unbeaten,
)
from densenet_course.training import one_cycle

# %% [markdown]
# ## The designer's question
#
# You get 100,000 numbers and a fixed training time. Which DenseNet do you build? What
# it costs, formulas can tell. The accuracy it reaches, only training can tell.
#
# Its knobs are the growth rate k, the layers in each block and the compression θ. A
# layer that reads C channels has (lesson 05)
#
# $$4 \cdot C \cdot k + 36 \cdot k^2$$
#
# weights, and C itself is a sum of k's. We start from blocks of 2, 4 and 4 layers, k =
# 12, θ = 0.5. **Predict**: k doubles, and with it the 2k channels of the stem. By what
# factor do the parameters grow?

# %% tags=["nbval-check-output", "hide-output"]
base = DenseNetConfig(block_layers=(2, 4, 4), growth_rate=12, init_channels=24, num_classes=10, in_channels=1,
                      stem="class")


def price(name, **change):
    config = replace(base, **change)
    parameters, work = accounting.parameters(config), accounting.multiply_adds(config, 28)
    print(f"{name:12} {parameters:8,} parameters × {parameters / accounting.parameters(base):.2f}, "
          f"{work:10,} multiply-adds × {work / accounting.multiply_adds(base, 28):.2f}")


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
# Now no compression, and after it a stem that does not halve the image. **Predict**:
# which of the two costs more parameters, and which more work?

# %% tags=["nbval-check-output", "hide-output"]
price("θ = 1", compression=1.0)
price("cifar stem", stem="cifar")

# %% [markdown]
# No compression costs a third more parameters. The stem costs none, and more than
# fourfold the work: four times the pixels on every map.
#
# ## Read a sweep
#
# What does all that buy? `benchmarks/design_space.py` trained 4 growth rates × 4 depths
# × 2 compressions. Each network saw 55,000 images once, and was judged on 5,000 others
# of the training set. From here to "The budget" we read its file; the test set was
# never used.

# %%
path = Path("../benchmarks/results/design_space.json")
measured = json.loads(path.read_text()) if path.exists() else None
trained = networks(measured) if measured else []
if measured:
    print(f"{len(trained)} networks, seeds {measured['seeds']}, {measured['epochs']} epoch of "
          f"{measured['train_images']:,} images, {measured['device']}, {measured['precision']}")
else:
    print("no design_space.json here; from a checkout of the course, python benchmarks/design_space.py makes it")

# %% [markdown]
# **Predict**: from the smallest to the largest network the parameters grow 36-fold. How
# many points of accuracy does that buy?

# %% tags=["hide-output"]
if measured:
    show(pictures.landscape(measured))

# %% [markdown]
# *A square is a network that no other beats: none costs less and reaches more.* They
# form the **Pareto front**. A network below the front costs too much for what it
# reaches; along the front you trade cost for accuracy. Both axes of cost are
# logarithmic, and a bar spans the two seeds.
#
# Who stands on the front, by parameters?

# %%
places = unbeaten([(network.parameters, network.accuracy) for network in trained])
front = sorted((trained[i] for i in places), key=lambda network: network.parameters)
for network in front:
    print(f"{network.parameters:8,} parameters, {network.seconds:4.0f} s, {network.accuracy:.2f} %   {network}")

# %% [markdown]
# From 87 % to 90 %: three points for 27 times the parameters. The largest network is
# not even on the front. And 14 of 32 stand on it, suspiciously many. Keep that in mind.
#
# ## One knob at a time
#
# **Predict**: which knob buys most accuracy: k from 8 to 16, layers from (2, 2, 2) to
# (2, 4, 4), or θ from 0.5 to 1?

# %% tags=["hide-output"]
if measured:
    show(pictures.one_knob(measured))

# %% [markdown]
# *A thin line holds the two other knobs, the thick one is the mean.* The means rise or
# stay; a single line may fall.
#
# Now with the price. The last column scales the points to a doubling of the seconds. It
# is an extrapolation where a knob changed the seconds little, as θ did with × 1.13.

# %%
turns = [("growth_rate", 8, 16), ("growth_rate", 12, 24), ("block_layers", (2, 2, 2), (2, 4, 4)),
         ("block_layers", (2, 4, 4), (4, 4, 4)), ("compression", 0.5, 1.0)] if measured else []
effects = [effect(trained, *turn) for turn in turns]
print(f"{'':34} parameters   seconds  points, from … to       at twice the time" if effects else "")
for (knob, before, after), e in zip(turns, effects, strict=True):
    print(f"{knob:12} {before!s:>9} → {after!s:9} {'×':>5} {e.parameters:.2f} {'×':>4} {e.seconds:.2f}   "
          f"{e.mean:+.2f}, {min(e.points):+.2f} to {max(e.points):+.2f}   {e.for_twice_the_seconds:+.2f}")
assert not effects or effects[2].for_twice_the_seconds > 2 * effects[3].for_twice_the_seconds

# %% [markdown]
# k buys less and less: +1.38 points from 8 to 16, +0.77 from 12 to 24. So do layers:
# +0.62, then +0.25. For θ there are pairs of both signs: a single comparison shows
# nothing.
#
# It is tempting to read the two rows of layers as "blocks 2 and 3 pay more than block
# 1". But the rows start from different networks, so place and size are mixed. From the
# *same* start (2, 4, 4), the picture shows equal means for (4, 4, 4) and (3, 6, 6). To
# compare places, one would train (4, 2, 2) beside (2, 4, 2) and (2, 2, 4). The sweep
# did not.
#
# ## How far does luck reach?
#
# Two things blur an accuracy. Other initial weights and another order of the images
# give another network: the seeds. And 5,000 images are a sample: the standard error is
# $\sqrt{p(1-p)/n}$ (lesson 07). Here are both, in points.

# %%
if measured:
    p = statistics.mean(network.accuracy for network in trained) / 100
    images = measured["validation_images"]
    print(f"one run against another seed: standard deviation {noise(trained):.2f} points")
    print(f"{images:,} images: standard error {100 * math.sqrt(p * (1 - p) / images):.2f} points")
    apart, pairs = distinguishable_pairs(trained)
    print(f"two networks told apart, beyond twice the seeds' noise: {apart} of {pairs} pairs")

# %% [markdown]
# 0.3 points by seed; the images add 0.4, but all networks share the same 5,000, and so
# part of that luck. For 222 of the 496 pairs two seeds cannot tell which network is
# better. That does not make them equal.
#
# Back to the front. **Predict**: how many of its 13 steps are larger than twice the
# seeds' noise?

# %% tags=["hide-output"]
if measured:
    limit = 2 * noise(trained) * math.sqrt(2 / len(measured["seeds"]))
    steps = [b.accuracy - a.accuracy for a, b in pairwise(front)]
    print(f"{sum(step > limit for step in steps)} of {len(steps)} steps exceed {limit:.2f} points")

# %% [markdown]
# One of thirteen. The front as a whole is real: its ends are three points apart. The
# order of neighbours is not: another seed may put others there.
#
# And the best of 32 is best partly by luck. We take the five best by the first seed.
# **Predict**: how many of them reach more with the second?

# %% tags=["hide-output"]
by_first = sorted(trained, key=lambda network: network.accuracies[0], reverse=True)
ranks = sorted((network.accuracies[1] for network in trained), reverse=True)
for network in by_first[:5]:
    first, second = network.accuracies[:2]
    print(f"{first:.2f} % → {second:.2f} %, rank {ranks.index(second) + 1:2}   {network}")
    assert second < first

# %% [markdown]
# None: all five fell. Who comes first in one draw was also lucky, and that holds for
# every leaderboard. The group stays good, but its order means little.
#
# ## What do seconds follow?
#
# The seconds are read, the bytes saved for the backward pass (lesson 09) are counted
# now. **Predict**: with what do the seconds go best: parameters, multiply-adds or saved
# bytes?

# %% tags=["hide-output"]
def bytes_of(network):  # of one image, in fp32
    model = DenseNet(replace(base, growth_rate=network.growth_rate, init_channels=2 * network.growth_rate,
                             block_layers=network.block_layers, compression=network.compression))
    return saved_bytes(model, torch.zeros(2, 1, 28, 28)) / 2


counts = {"parameters": [n.parameters for n in trained], "multiply-adds": [n.multiply_adds for n in trained],
          "saved bytes": [bytes_of(n) for n in trained]}
seconds = [network.seconds for network in trained]
for name, numbers in counts.items() if measured else ():
    each = [a / b for a, b in zip(seconds, numbers, strict=True)]
    print(f"{name:13} correlation {statistics.correlation(numbers, seconds):.2f}, "
          f"seconds for each differ by a factor of {max(each) / min(each):.1f}")
if measured:
    runs = [network["cpu_seconds"].values() for network in measured["networks"]]
    print(f"two runs of one network: factor {statistics.median(max(pair) / min(pair) for pair in runs):.2f} (median)")

# %% [markdown]
# All three go up together, for a large network is large by every measure: a correlation
# does not tell them apart. The ratios do. Two runs of one network differ by a factor of
# 1.15 on a busy machine, in the median. So a factor of 1.4 is close to noise; 3.2 is
# not.

# %%
if measured:
    show(pictures.seconds_by(measured, {
        "multiply-adds (millions an image)": [n.multiply_adds / 1e6 for n in trained],
        "saved bytes (kB an image)": [size / 1e3 for size in counts["saved bytes"]],
    }))
for rate in (8, 24) if measured else ():
    price_of_one = statistics.mean(n.seconds / (n.multiply_adds / 1e6) for n in trained if n.growth_rate == rate)
    print(f"k = {rate:2}: {price_of_one:.1f} s for each million multiply-adds an image")

# %% [markdown]
# *Thin networks pay more for a multiply-add; all pay about the same for a saved byte.*
# That is why k from 8 to 16 took only 1.8 times the seconds. Moving maps takes time
# too, and multiply-adds do not count that.
#
# ## Explore
#
# Choose a network with the sliders: it is looked up, not trained. Where does k = 24
# with (2, 2, 2) lie?

# %%
if measured:
    controls = pictures.explorer(measured)

# %% [markdown]
# *The diamond is the chosen network, in both planes at once.* Here are the numbers for
# that question, beside a rival.

# %%
for network in trained:
    if network.compression == 0.5 and (network.growth_rate, network.block_layers) in ((24, (2, 2, 2)), (16, (2, 4, 4))):
        print(f"{network}: {network.parameters:,} parameters, {network.seconds:.0f} s, {network.accuracy:.2f} %")

# %% [markdown]
# Wide and shallow lies below the front: k = 16 with (2, 4, 4) costs less and reached
# more, if by less than 0.63 points.
#
# ## The budget
#
# Now the exercise. From here on everything is computed in this notebook, but for one
# last look into the file.

# %% tags=["nbval-check-output"]
print(f"at most {capstone.MAX_PARAMETERS:,} numbers, {capstone.MAX_IMAGES:,} images, "
      f"the time of {capstone.BUDGET} steps of the class network")
print("points for an accuracy of", ", ".join(f"{level:.0%}" for level in capstone.LEVELS))

# %% [markdown]
# The judge calls your `build_model()` and trains what comes back.
#
# | step | rule |
# |---|---|
# | count | every number that the network holds, frozen ones and buffers too; BatchNorm's statistics are free |
# | try | logits (N, 10) for images (N, 1, 28, 28); weights fresh, and built anew in each call |
# | look inside | some layer reads the maps of several earlier ones, concatenated: a ResNet is refused |
# | train | lesson 07's recipe: 128 images a step, flips, Nesterov, one cycle up to rate 0.2 |
# | stop | after the time of 600 steps of the class network, or three epochs |
# | ask | for 5,000 test images, drawn anew for each check; their labels stay with the judge |
#
# BatchNorm's statistics are free because they are measured, not trained: they follow
# from the weights and the images.
#
# The judge trains the class network beside yours, a step now and then, and times it. On
# a slow or busy machine both take longer, and their quotient stays. The schedule
# follows that clock: here is the learning rate by the time used.

# %% tags=["nbval-check-output"]
for used in (0, 75, 150, 375, 600):
    print(f"{used:3} steps: {0.2 * one_cycle(used, capstone.BUDGET):.2f}")

# %% [markdown]
# So every network finishes its cycle; a fast one sees more images in it. The sweep gave
# each network an epoch, however long it took. How many of its 32 networks keep both
# budgets in one epoch?

# %%
small = [network for network in trained if network.parameters <= capstone.MAX_PARAMETERS]
if measured:
    (of_class,) = (n for n in trained if str(n) == "k = 16, (2, 4, 4), θ = 0.5")
    limit = capstone.BUDGET * of_class.seconds / (measured["train_images"] // 128)
    quick = [network for network in small if network.seconds <= limit]
    print(f"{len(small)} have at most {capstone.MAX_PARAMETERS:,} parameters; "
          f"{len(quick)} of them took at most {limit:.0f} s")
    for level in capstone.LEVELS:
        print(f"{sum(n.accuracy >= 100 * level for n in quick):2} reached {level:.0%}")

# %% [markdown]
# Twelve keep the first budget; all twelve would get through an epoch in the second, and
# nine of them reached the highest level in it. But the small ones have time for more
# images. So the sweep does not answer the exercise: by the clock, its ranks may change.
#
# ## Judge a modest network
#
# One layer in each block and k = 6. **Predict** its points, of 10. We also enter it
# into a leaderboard, in a folder that is thrown away.

# %% tags=["hide-output"]
modest = replace(base, block_layers=(1, 1, 1), growth_rate=6, init_channels=12)
folder = tempfile.TemporaryDirectory()
print(run("capstone", {"build_model": lambda: DenseNet(modest)}))
with contextlib.chdir(folder.name):
    leaderboard.enter("Ada")
result = last("capstone").measured

# %% [markdown]
# It uses a twentieth of the parameters that are allowed. Its steps are cheap, so it
# stops after three epochs with time left. A larger network could use both.
#
# ## Break it: over the budget
#
# The class network of lesson 07 has 141,130 parameters. **Predict**: does the judge
# train it?

# %% tags=["nbval-check-output", "hide-output"]
print(run("capstone", {"build_model": class_densenet}))

# %% [markdown]
# It refuses at once. The logits are fine and its maps are concatenated: these keep
# their points; what was not trained earns nothing.
#
# ## Break it: over the time
#
# Now a network far below the first budget, with 57,962 parameters: thin and deep, k = 4
# with 12 layers in each block, on the full 28×28 pixels. **Predict**: is its accuracy
# above or below the modest one's?

# %% tags=["hide-output"]
deep = replace(base, block_layers=(12, 12, 12), growth_rate=4, init_channels=8, stem="cifar")
print(run("capstone", {"build_model": lambda: DenseNet(deep)}))
with contextlib.chdir(folder.name):
    leaderboard.enter("Grace")
assert last("capstone").measured["images_seen"] < result["images_seen"] / 5
assert last("capstone").measured["accuracy"] < result["accuracy"] - 0.03

# %% [markdown]
# It has eleven times as many parameters, and does 35 times the multiply-adds for each
# image. So in the same time it sees few images, and learns less. No message calls that
# an error: the second budget binds silently.
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
# of it: anyone can edit the file, and neighbours differ by luck. Its columns are the
# same on every machine. Grades come from the check alone.
#
# ## Your turn
#
# [Exercise 15](exercises/15_capstone.ipynb), *hard, 60 minutes.* Write `build_model()`.
# Price your ideas with `accounting` before you spend time on them, and change one knob
# at a time.
#
# ## Shapes and parameters
#
# The modest network part by part, the formulas and the live one.

# %% tags=["nbval-check-output"]
live = DenseNet(modest)
for row in accounting.trace(modest, 28):
    part = {"stem": "conv0", "head": "norm5"}.get(row.name, row.name)
    counted = sum(p.numel() for p in getattr(live.features, part).parameters())
    counted += sum(p.numel() for p in live.classifier.parameters()) * (row.name == "head")
    print(f"{row.name:12} {row.channels:3} × {row.height:2}×{row.width:<2} {row.parameters:5,} parameters, "
          f"{row.multiply_adds:7,} multiply-adds, live {counted:5,}")
print(f"{accounting.parameters(modest):,} parameters, {accounting.multiply_adds(modest, 28):,} multiply-adds")

# %% [markdown]
# ## Recap
#
# - Costs are known before training: parameters grow with k² and hardly depend on the
#   block; work does.
# - In the sweep 27 times the parameters bought three points, and of thirteen steps on
#   the front one was larger than luck. Which block pays best, it cannot say.
# - Seconds follow the saved bytes more closely than the multiply-adds.
# - Two budgets bind at once. The judge counts every number, and its clock decides how
#   many images a network sees.
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*,
#   CVPR 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), sections 3 and 4.
# - `benchmarks/design_space.py` and its result, for everything about the sweep.
#
# **Next:** [exercise 15](exercises/15_capstone.ipynb). After it, `check()` in any
# exercise lists what you have solved.
