# %% [markdown]
# # 00 · Start here
#
# Before you build a DenseNet, make sure that machine, device and data are ready, and see how a lesson works.
#
# Afterwards you can
# - read the report on your machine and mend what it marks;
# - work through a lesson by predict → run → read, and start over when a notebook is muddled;
# - load the images of the course and name the ten classes.
#
# About 15 minutes. Read before: nothing. You should know Python, PyTorch tensors and what a ResNet is.

# %%
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "d2l==1.0.3", course], check=True)

# %% [markdown]
# The cell above does nothing on your own machine; on Colab it installs the course. Every lesson begins with it and
# a cell of imports, like this.

# %%
import torch

from densenet_course.data import CLASS_NAMES, load, prepare
from densenet_course.doctor import print_report
from densenet_course.figures import show
from densenet_course.figures.connections import dense_connectivity
from densenet_course.figures.images import image_grid
from densenet_course.training import choose_device

torch.manual_seed(0)
device = choose_device()

# %% [markdown]
# ## Is the machine ready?
#
# Run the next cell with Shift+Enter. A ✓ means that something is there; a ! means that it is missing, and the
# arrow below says what to do.

# %%
ready = print_report()

# %% [markdown]
# The line `device` says where training will run, and the line below it with what precision. A CPU is enough for
# every lesson. The line `FashionMNIST` may show a ! on a fresh machine; we fetch the data further down.
#
# `choose_device()` picks the device by itself, so that no lesson has to be edited. Put a tensor there:

# %%
torch.ones(2, 3, 8, 8, device=device).device

# %% [markdown]
# Yours may read `cuda:0` or `mps:0` where the stored page reads `cpu`. The lessons run unchanged on all three.
#
# ## How a lesson works: predict, run, read
#
# The text asks you to **predict** a result. Say it aloud or write it down, then run the cell, then read the
# sentence below it. A wrong prediction shows you what to think about.
#
# Try it with the most important operation of the course. Shapes are `(N, C, H, W)`: images, channels, height, width.
# Join 3 channels with 10 along `dim=1`. **Predict** the shape.

# %% tags=["nbval-check-output"]
features = torch.randn(2, 3, 8, 8)
new_maps = torch.randn(2, 10, 8, 8)
joined = torch.cat([features, new_maps], dim=1)  # (N, 3 + 10, H, W)
tuple(joined.shape)

# %% [markdown]
# 13 channels: 3 + 10. Nothing else changed. Joining puts tensors side by side and leaves their values alone.
# **Predict**: where in `joined` do the first 3 channels come from?

# %% tags=["nbval-check-output"]
torch.equal(joined[:, :3], features)

# %% [markdown]
# From `features`, bit by bit. A DenseNet does this step again and again. **Predict** the channels after joining
# another 10 maps.

# %% tags=["nbval-check-output"]
joined_twice = torch.cat([joined, torch.randn(2, 10, 8, 8)], dim=1)  # (N, 3 + 2·10, H, W)
tuple(joined_twice.shape)

# %% [markdown]
# 23 = 3 + 2 · 10. You will meet this sum again.
#
# ## Break it
#
# Each lesson has a cell that is wrong on purpose, because you learn an error best when you know its cause.
# `dim=0` joins along the images instead of the channels. **Predict**: will `torch.cat` accept 3 channels beside 10?

# %% tags=["raises-exception"]
torch.cat([features, new_maps], dim=0)

# %% [markdown]
# It refuses: except along `dim=0` all sizes must match, and 3 is not 10. This red message belongs here;
# "Run All Cells" passes over it and goes on.
#
# With equal shapes, the same slip stays silent. **Predict** the shape:

# %% tags=["nbval-check-output"]
tuple(torch.cat([features, features], dim=0).shape)

# %% [markdown]
# Four images instead of six channels, and no error. That is why the lessons print a shape after nearly every step.
#
# ## Start over
#
# A notebook remembers what you ran, in the order you ran it, not the order on the page. Run the first cell once and
# the second one three times. **Predict** the last number.

# %%
runs = 0

# %% tags=["nbval-check-output"]
runs = runs + 1
print("this cell has run", runs, "times" if runs > 1 else "time")

# %% [markdown]
# It is 3 after three runs, and 1 in a fresh notebook. When results no longer match the text, restart.
# In JupyterLab choose *Kernel → Restart Kernel and Run All Cells*, on Colab *Runtime → Restart session and run all*.
#
# ## The data
#
# FashionMNIST holds 60,000 training and 10,000 test images, grey, 28 × 28 pixels. `prepare()` finds or downloads
# them and checks each file. **Predict** the shape of all training images.

# %%
location = prepare()
images, labels = load("train", location)
print("sample in use:", location.is_sample)
print(images.dtype, tuple(images.shape))  # (N, 1, 28, 28)
assert images.shape[1:] == (1, 28, 28) and len(labels) == len(images)

# %% [markdown]
# One grey channel, values from 0 to 255. `sample in use: False` means that you have the whole set.
#
# Without the set and without a network, the course takes a sample of 6,000 + 1,000 images from its own package.
# `True` and a framed message then say so, in each lesson that loads data. All cells still run, but accuracies come
# out lower.
#
# The ten classes are equally frequent. **Predict** the count of each.

# %%
counts = torch.bincount(labels)
print(counts.tolist())
assert (counts == len(labels) // 10).all()

# %% [markdown]
# Ten equal counts, so a blind guess is right once in ten. Here is the first image of each class. **Predict** which
# three or four of them a network will confuse most.

# %%
first_of_class = [(labels == label).nonzero()[0].item() for label in range(10)]
show(image_grid(images[first_of_class], CLASS_NAMES))

# %% [markdown]
# Shirt, T-shirt/top, pullover and coat share an outline. Keep your guess: lesson 07 trains a network and counts its
# mistakes.
#
# ## Where the pictures come from
#
# Every picture is drawn by code, from a model or from data, and carries a description for readers who cannot see it.
# **Predict** how many links this one has: layer 1 reads one box, layer 2 two, layer 3 three.

# %%
figure = dense_connectivity(3)
description = figure.alt_text
show(figure)

# %% [markdown]
# Six links. Blue always stands for new maps and grey for the input; later, orange is the bottleneck and green the
# transition. The description says the same in words:

# %% tags=["nbval-check-output"]
print(description)

# %% [markdown]
# ## Your turn: exercises and their checks
#
# Near its end each lesson points to an exercise: a notebook of its own with a task, an empty answer and a check. An
# answer that is not there yet is no mistake. **Predict** what the check of exercise 1 says to it.

# %% tags=["nbval-check-output"]
from densenet_course.checks import check

check("connections", ..., ...)  # ... is what an empty answer holds

# %% [markdown]
# Now an answer with a slip. Exercise 1 asks how many links a dense block has. Someone counts one for each layer.
# **Predict**: does the check say only "wrong"?


# %% tags=["raises-exception"]
def count_connections(num_layers):
    return num_layers


check("connections", count_connections, ...)

# %% [markdown]
# It says what was expected, what came, and the likely cause. The numbers differ from run to run: a check tries
# fresh ones each time. `check()` alone lists what you have solved so far in a folder.
#
# ## The lessons
#
# | lesson | you will | minutes |
# |---|---|---|
# | [01 why dense connections](01_why_dense_connections.ipynb) | count links and measure gradients by depth | 40 |
# | [02 conv_block](02_conv_block.ipynb) | build the layer that makes new maps | 30 |
# | [03 dense block](03_dense_block.ipynb) | join layers, and keep book of channels | 35 |
# | [04 transition](04_transition.ipynb) | shrink maps between two blocks | 30 |
# | [05 bottleneck](05_bottleneck.ipynb) | make layers cheaper, and compare four variants | 35 |
# | [06 a small DenseNet](06_small_densenet.ipynb) | put the network of Dive into Deep Learning together | 40 |
# | [07 train on FashionMNIST](07_train_fashion_mnist.ipynb) | train, and study the mistakes | 45 |
# | [08 DenseNet-121](08_densenet121.ipynb) | build the ImageNet network to the last parameter | 45 |
# | [10 what the layers learn](10_what_the_layers_learn.ipynb) | probe every layer of a trained network | 40 |
# | [12 relatives](12_relatives.ipynb) | compare DenseNet with ResNet, Inception and its heirs | 45 |
# | [13 Keras 3](13_keras.ipynb) | write the same network in another library | 45 |

# %% [markdown]
# ## Recap
#
# - The report says what this machine has; nothing in a lesson depends on the device.
# - Predict, run, read; break-it cells fail on purpose; restarting the kernel mends a muddled notebook.
# - Joining along `dim=1` adds channel counts: 3 + 2 · 10 = 23.
#
# **Source.** Xiao et al. 2017, [Fashion-MNIST](https://arxiv.org/abs/1708.07747), the images.
#
# **Next:** [01 why dense connections](01_why_dense_connections.ipynb)
