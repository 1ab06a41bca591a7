# %% [markdown]
# # 00 · Start here
#
# **Is your machine ready, and what will you be able to build at the end?**
#
# After this lesson you can
# - classify clothes with the network that you will build, and read what it gets wrong;
# - work through a lesson by predict → run → read, and start over when cells have run
#   out of order;
# - read the report on your machine, load the images, and use a check.
#
# About 15 minutes. You should know Python, PyTorch tensors and what a ResNet is.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %% [markdown]
# The first cell of every lesson installs the course on Colab and does nothing elsewhere
# (the website leaves it out); the next one holds the imports. Run a cell with
# Shift+Enter. Where three dots stand for its output, running the cell shows it, so that
# you can predict first.

# %%
import torch

from densenet_course.data import CLASS_NAMES, load, normalise, prepare
from densenet_course.doctor import print_report
from densenet_course.figures import show
from densenet_course.figures.images import image_grid
from densenet_course.lesson import expected
from densenet_course.models import class_densenet
from densenet_course.training import choose_device

_ = torch.manual_seed(0)

# %% [markdown]
# ## The goal
#
# Here are ten pictures from the test set of FashionMNIST, one of each class. No network
# of this course has been trained on them.

# %%
images, labels = load("test", prepare())
first_of_class = [(labels == label).nonzero()[0].item() for label in range(10)]
pictures = images[first_of_class]  # (10, 1, 28, 28)
show(image_grid(pictures, CLASS_NAMES))

# %% [markdown]
# *The ten classes, drawn at 28 × 28 pixels.*
#
# The course package holds a small DenseNet, trained as in lesson 07, but for twice as
# long. A blind guess is right once in ten. **Guess** how many of the ten it gets right.

# %% tags=["hide-output"]
model = class_densenet(weights="DEFAULT").eval()
with torch.no_grad():
    answers = model(normalise(pictures)).argmax(dim=1)  # (10,)
for label, answer in enumerate(answers.tolist()):
    print(f"{CLASS_NAMES[label]:12} → {CLASS_NAMES[answer]}")

# %% [markdown]
# All ten. That is the goal: in lessons 01 to 06 you build the parts of this network, in
# lesson 07 you train it, and in lesson 08 the same parts become DenseNet-121.
#
# Ten pictures prove little, though. **Guess** which two classes it confuses most often
# among the first 1,000 test images, and what share of the 1,000 it gets right.

# %% tags=["hide-output"]
with torch.no_grad():
    answers = model(normalise(images[:1000])).argmax(dim=1)  # (1000,)
wrong = answers != labels[:1000]
pairs = torch.stack([labels[:1000], answers], dim=1)[wrong]  # (mistakes, 2)
pair, count = pairs.sort(dim=1).values.unique(dim=0, return_counts=True)
names = [CLASS_NAMES[label] for label in pair[count.argmax()].tolist()]
print(f"right: {1 - wrong.float().mean():.1%}; most confused: {' and '.join(names)}")
shirt = (pairs == CLASS_NAMES.index("Shirt")).any(dim=1)  # (mistakes,)
print(f"mistakes with a shirt: {shirt.float().mean():.0%}")

# %% tags=["remove-cell"]
assert answers.shape == (1000,) and wrong.float().mean() < 0.1
assert "Shirt" in names and shirt.float().mean() > 0.45

# %% [markdown]
# More than nine in ten, and in more than half of the mistakes one of the two classes is
# a shirt. Lesson 07 looks at the mistakes one by one.
#
# ## How a lesson works: predict, run, read
#
# The text asks you to **predict** a result, as it just did. Say it aloud or write it
# down, then run the cell, then read the text below it. A wrong prediction shows you
# what to think about. So a cell that answers a question opens with its output folded.
# (VS Code opens it unfolded: choose *Clear All Outputs* there first.)
#
# First, some words. A batch of images has the shape `(N, C, H, W)`: images, channels,
# height, width. A **channel** is one slice along `C`. What a channel holds for one
# image is a **map**: height × width numbers. Colour images have 3 channels; layers make
# more.
#
# The operation that the whole course rests on is `torch.cat`. Take 2 images of 8×8
# pixels with 3 channels, and 2 with 10. **Predict** the shape after concatenation along
# `dim=1`.

# %% tags=["nbval-check-output", "hide-output"]
features = torch.randn(2, 3, 8, 8)
new_maps = torch.randn(2, 10, 8, 8)
joined = torch.cat([features, new_maps], dim=1)
tuple(joined.shape)

# %% [markdown]
# 13 channels: the new maps are **appended**, and nothing else changes. The first 3
# channels still hold the numbers of `features`, bit for bit:

# %% tags=["nbval-check-output"]
torch.equal(joined[:, :3], features)

# %% [markdown]
# ## Break it
#
# Each lesson has cells that are wrong on purpose, because you learn an error best when
# you know its cause. `with expected(RuntimeError):` lets the error happen and prints it
# in one line, so that the notebook goes on. Without it Python stops there and prints a
# whole page.
#
# This one concatenates along `dim=0`, along the images. **Predict** which two numbers
# the message names.

# %% tags=["nbval-check-output", "hide-output"]
with expected(RuntimeError):
    torch.cat([features, new_maps], dim=0)

# %% [markdown]
# 3 and 10: except along `dim=0` all sizes must match, and the channels do not. Now take
# the same slip with two equal shapes. **Predict**: does it refuse again?

# %% tags=["nbval-check-output", "hide-output"]
tuple(torch.cat([features, features], dim=0).shape)

# %% [markdown]
# Four images instead of six channels, and no error. A silent slip is the worse one.
# That is why the lessons print a shape after nearly every step.
#
# ## Start over
#
# A notebook remembers what you ran, in the order you ran it, not the order on the page.
# Here is a counter.

# %%
runs = 0

# %% [markdown]
# Run the cell below three times. Then run `runs = 0` again, and after it the cell below
# once more. **Predict** the four numbers.

# %% tags=["nbval-check-output", "hide-output"]
runs = runs + 1
print("run number", runs)

# %% [markdown]
# 1, 2, 3, then 1 again. When results no longer match the text, restart: in JupyterLab
# *Kernel → Restart Kernel and Run All Cells*, on Colab *Runtime → Restart session and
# run all*.
#
# ## Is the machine ready?
#
# A ✓ means that something is there; a ! means that it is missing, and the arrow below
# says what to do.

# %%
ready = print_report()

# %% [markdown]
# The line `device` says where training will run, and lesson 09 explains the line after
# it. `isolation` matters only to who grades a class: whether this machine can run a
# stranger's answer shut off from everything else. A CPU is enough for every lesson.
# `choose_device()` picks the device, so that no lesson has to be edited:

# %%
torch.ones(2, 3, 8, 8, device=choose_device()).device

# %% [markdown]
# Your output may say `cuda:0` or `mps:0`; the saved one says `cpu`. The lessons are
# written to run on all three.
#
# ## The data
#
# FashionMNIST holds 60,000 training and 10,000 test images, grey, 28 × 28 pixels.
# `prepare()` finds or downloads them and checks each file. The ten classes are equally
# frequent. **Predict** the shape of all training images, and the count of each class.

# %% tags=["hide-output"]
location = prepare()
images, labels = load("train", location)
print("sample in use:", location.is_sample)
print(images.dtype, tuple(images.shape))
print(torch.bincount(labels).tolist())

# %% tags=["remove-cell"]
assert images.shape[1:] == (1, 28, 28) and len(labels) == len(images)
assert (torch.bincount(labels) == len(labels) // 10).all()

# %% [markdown]
# One grey channel, values from 0 to 255. `sample in use: False` means that you have the
# whole set. If the set is missing and there is no internet connection, the course takes
# a sample of 6,000 training and 1,000 test images from its own package. `True` and a
# framed message then say so. All cells still run, but accuracies come out lower.
#
# ## Where the pictures come from
#
# Every picture is drawn by code and carries a description for readers who cannot see
# it. In diagrams colours keep their meaning: grey is the input, blue are new maps,
# orange is the bottleneck, green the transition, and orange-red marks what is wrong or
# missing. Charts, and tiles that show values, have colours of their own. The
# description of the ten pictures above:

# %% tags=["nbval-check-output"]
figure = image_grid(pictures, CLASS_NAMES)
print(figure.alt_text)

# %% [markdown]
# ## Your turn: exercises and their checks
#
# Near its end each lesson from 01 on points to an exercise: a notebook of its own with
# a task, an empty answer and a check. Here is the check of exercise 1, which asks,
# among other things, how many channels leave a dense block (lesson 01 shows it). An
# answer that is not there yet is no mistake:

# %% tags=["nbval-check-output"]
from densenet_course.checks import run

print(run("connections", {"count_connections": ..., "channels_after": ...}))

# %% [markdown]
# Now an answer with a slip. A block keeps the channels that come in, and each layer
# appends `growth_rate` more. **Predict** what the check names as the likely cause.


# %% tags=["hide-output"]
def channels_after(in_channels, num_layers, growth_rate):
    return num_layers * growth_rate


print(run("connections", {"channels_after": channels_after}))

# %% [markdown]
# It says what was expected, what came, and the likely cause. The numbers differ from
# run to run: a check tries fresh ones each time. In an exercise you call `check`
# instead; it prints the same report and keeps your progress, which `check()` lists.
#
# ## The lessons
#
# | lesson | you will | minutes |
# |---|---|---|
# | [00 start here](00_start_here.ipynb) | classify ten pictures, and learn how a lesson works | 15 |
# | [01 why dense connections](01_why_dense_connections.ipynb) | count links, and measure gradients by depth | 35 |
# | [02 conv block](02_conv_block.ipynb) | build the layer that makes new maps | 30 |
# | [03 dense block](03_dense_block.ipynb) | connect layers, and keep track of channels | 35 |
# | [04 transition](04_transition.ipynb) | shrink maps between two blocks | 30 |
# | [05 bottleneck](05_bottleneck.ipynb) | make layers cheaper, and compare four variants | 35 |
# | [06 small DenseNet](06_small_densenet.ipynb) | put the network of Dive into Deep Learning together | 40 |
# | [07 train on FashionMNIST](07_train_fashion_mnist.ipynb) | train, and study the mistakes | 45 |
# | [08 DenseNet-121](08_densenet121.ipynb) | build the ImageNet network to the last parameter | 45 |
# | [09 memory and speed](09_memory_and_speed.ipynb) | find out where the memory goes, and get it back | 55 |
# | [10 what the layers learn](10_what_the_layers_learn.ipynb) | probe every layer of a trained network | 45 |
# | [11 transfer learning](11_transfer_learning.ipynb) | use a trained network where images are few | 45 |
# | [12 relatives](12_relatives.ipynb) | compare DenseNet with ResNet, Inception and DenseNet's successors | 50 |
# | [13 Keras](13_keras.ipynb) | write the same network in another library | 40 |
# | [14 capstone](14_capstone.ipynb) | design a DenseNet of your own under a budget | 45 |

# %% [markdown]
# ## Recap
#
# - The parts that you will build get clothes right more than nine times in ten.
# - Predict, run, read; cells that break something do so on purpose; restart the kernel
#   when cells have run out of order.
# - `torch.cat` along `dim=1` appends channels; along `dim=0` the slip can be silent.
#
# **Sources.** Xiao et al. 2017, [Fashion-MNIST](https://arxiv.org/abs/1708.07747), the
# images.
#
# **Next:** [01 why dense connections](01_why_dense_connections.ipynb)
