# %% [markdown]
# # 13 · The same network in Keras 3
#
# **Write DenseNet-121 in Keras, with the same layers, the same parameters and the same
# weights. Is it the same network as PyTorch's?**
#
# After this lesson you can
# - write conv block, dense block, transition and DenseNet-121 in functional Keras;
# - read Keras's two parameter counts and carry weights from one framework to the other;
# - find a difference between two networks by comparing outputs, part by part.
#
# About 40 minutes, after [08 DenseNet-121](08_densenet121.ipynb).

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %% [markdown]
# ## Keras without TensorFlow
#
# Keras 3 describes networks; JAX, TensorFlow or PyTorch computes them. We say which one
# before the import.
#
# Keras is the course's optional group `keras`. Whoever set the course up with `make
# lab` has it, and so has Colab. In an environment of your own, `python -m pip install
# "keras>=3.8,<4"` brings it.

# %%
import os

os.environ["KERAS_BACKEND"] = "torch"  # must stand before the import of Keras
os.environ["KERAS_TORCH_DEVICE"] = "cpu"  # both sides of a comparison on one device

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import torch
from keras import layers
from torch import nn

from densenet_course import accounting, lesson
from densenet_course.data import ResidentBatches, load, normalise
from densenet_course.figures import results, show
from densenet_course.figures.keras import axis_orders, window_centres
from densenet_course.models import class_densenet, densenet121
from densenet_course.training import fit

keras.config.set_image_data_format("channels_last")  # whatever a keras.json says
keras.utils.set_random_seed(0)  # of Python, NumPy and PyTorch

# %% [markdown]
# What is the class of a tensor that Keras makes now?

# %% tags=["nbval-check-output"]
print(keras.backend.backend(), type(keras.ops.ones((2, 3))))
print("a Keras model is a PyTorch module:", issubclass(keras.Model, nn.Module))

# %% [markdown]
# Plain PyTorch tensors. So the two frameworks can be compared without converting
# anything but the order of axes.
#
# ## Channel order
#
# PyTorch's shapes are `(N, C, H, W)`, its kernels (out, in, H, W). Keras's shapes are
# `(N, H, W, C)`, its kernels (H, W, in, out).

# %%
images = torch.randn(2, 3, 8, 8)  # (N, C, H, W)
convolution = nn.Conv2d(3, 10, kernel_size=3, padding=1, bias=False)
show(axis_orders(convolution, images))

# %% [markdown]
# The channels move behind the pixels. In the kernel, height and width move to the
# front, and the two channel axes swap: (height, width, in, out). So a Keras convolution
# from 3 to 10 channels reads these images like this:

# %% tags=["nbval-check-output"]
twin = layers.Conv2D(10, 3, padding="same", use_bias=False)
maps = twin(images.permute(0, 2, 3, 1))  # (N, H, W, 10)
print("maps", tuple(maps.shape), "kernel", tuple(twin.kernel.shape))

# %% [markdown]
# Nobody told the layer that it reads 3 channels: it looked at its first input.
#
# What if the images keep PyTorch's order?

# %%
with lesson.expected(ValueError):
    twin(images)

# %% [markdown]
# That slip is loud. Copying the kernel wrongly is silent: `reshape` also gives (3, 3,
# 3, 10), though the picture says `permute`. `difference` is the largest difference
# divided by the largest value. **Predict** how far off the maps are after `reshape`: by
# rounding, by a few percent, or by as much as the maps themselves?

# %% tags=["nbval-check-output", "hide-output"]
def difference(ours, expected):
    return ((ours - expected).abs().max() / expected.abs().max()).item()


expected = convolution(images).permute(0, 2, 3, 1)  # (N, H, W, 10)
kernel = convolution.weight.detach()  # (10, 3, 3, 3)
moved = {"reshape": kernel.reshape(3, 3, 3, 10), "permute": kernel.permute(2, 3, 1, 0)}
for name, weights in moved.items():
    twin.set_weights([weights.numpy()])
    apart = difference(twin(images.permute(0, 2, 3, 1)), expected)
    print(f"{name}: {apart:.0%} apart, only by rounding: {apart < 1e-5}")

# %% [markdown]
# By as much as the maps. `reshape` cuts the same sequence of numbers into a new shape,
# and nothing complains.
#
# ## The parts
#
# Functional Keras calls layers on a symbolic tensor. Keras records the calls, and a
# model is what lies between input and output. Equation 2 of the paper becomes a loop:
#
# $$x_\ell = H_\ell([x_0, x_1, \dots, x_{\ell-1}])$$

# %%
def norm_relu(maps, **norm):
    return layers.ReLU()(layers.BatchNormalization(**norm)(maps))


def keras_conv_block(maps, growth_rate, **norm):
    convolution = layers.Conv2D(growth_rate, 3, padding="same", use_bias=False)
    return convolution(norm_relu(maps, **norm))  # (N, H, W, k)


def keras_dense_block(features, num_layers, growth_rate, layer, **norm):
    for _ in range(num_layers):
        new_maps = layer(features, growth_rate, **norm)  # (N, H, W, k)
        features = layers.Concatenate()([features, new_maps])  # k channels more
    return features

# %% [markdown]
# Two things are missing that PyTorch needed: `in_channels`, and a class with `__init__`
# and `forward`. `**norm` passes settings on to BatchNormalization; until we need some,
# there are none.
#
# Two layers of 10 on 3 channels, as in [lesson 03](03_dense_block.ipynb):

# %% tags=["nbval-check-output"]
start = keras.Input((8, 8, 3))  # (N, 8, 8, 3)
block = keras.Model(start, keras_dense_block(start, 2, 10, keras_conv_block))
leave = accounting.channels_after(3, num_layers=2, growth_rate=10)
print(block.output_shape, "by formula:", leave)

# %% [markdown]
# `None` stands for N, which is open until images come.
#
# PyTorch counts 1,472 parameters for this block: 2·3 + 9·3·10 in the first layer, 2·13
# + 9·13·10 in the second. **Predict**: does Keras count the same?

# %% tags=["nbval-check-output", "hide-output"]
def count(weights):
    return sum(math.prod(w.shape) for w in weights)


print(f"all {block.count_params():,}, trainable {count(block.trainable_weights):,}")
print([w.name for w in block.layers[1].weights])

# %% [markdown]
# Its total has 32 more: a mean and a variance for each of the 3 + 13 normalised
# channels. Keras calls the running statistics weights that do not train. PyTorch calls
# them buffers and leaves them out of `parameters()`.
#
# Bottleneck layer and transition follow lessons [05](05_bottleneck.ipynb) and
# [04](04_transition.ipynb).

# %%
def keras_bottleneck(maps, growth_rate, bottleneck_factor=4, **norm):
    convolution = layers.Conv2D(bottleneck_factor * growth_rate, 1, use_bias=False)
    waist = convolution(norm_relu(maps, **norm))  # (N, H, W, 4k)
    return keras_conv_block(waist, growth_rate, **norm)  # (N, H, W, k)


def keras_transition(maps, compression=0.5, **norm):
    channels = int(compression * maps.shape[-1])
    convolution = layers.Conv2D(channels, 1, use_bias=False)
    maps = convolution(norm_relu(maps, **norm))  # (N, H, W, ⌊θ·C⌋)
    return layers.AveragePooling2D(2)(maps)  # (N, ⌊H/2⌋, ⌊W/2⌋, ⌊θ·C⌋)

# %% [markdown]
# ## DenseNet-121
#
# The stem has a 7×7 convolution and 3×3 max pooling, both with stride 2. With
# `padding="same"` Keras promises half the pixels each time, so we take it.

# %%
def same_stem(images, config, **norm):
    convolution = layers.Conv2D(
        config.init_channels, 7, strides=2, padding="same", use_bias=False
    )
    maps = norm_relu(convolution(images), **norm)  # (N, H/2, W/2, k0)
    return layers.MaxPooling2D(3, strides=2, padding="same")(maps)  # (N, H/4, W/4, k0)


def keras_densenet(config, image_size, stem, layer=keras_bottleneck, **norm):
    images = keras.Input((image_size, image_size, config.in_channels))  # (N, H, W, C)
    maps = stem(images, config, **norm)
    k, last = config.growth_rate, len(config.block_layers)
    for i, num_layers in enumerate(config.block_layers, start=1):
        maps = keras_dense_block(maps, num_layers, k, layer, **norm)
        if i < last:  # no transition after the last block
            maps = keras_transition(maps, config.compression, **norm)
    pooled = layers.GlobalAveragePooling2D()(norm_relu(maps, **norm))  # (N, C)
    logits = layers.Dense(config.num_classes)(pooled)  # (N, num_classes)
    return keras.Model(images, logits)

# %% [markdown]
# Images of 64×64 pixels will do. Keras's total should again be PyTorch's parameters and
# two running statistics for each of the 41,824 normalised channels:

# %% tags=["nbval-check-output"]
reference = densenet121()
network = keras_densenet(reference.config, 64, same_stem)
trained, kept = count(network.trainable_weights), count(network.non_trainable_weights)
running = [b for name, b in reference.named_buffers() if "running" in name]
print(f"Keras   {network.count_params():,} = {trained:,} + {kept:,}")
parameters = count(reference.parameters())
print(f"PyTorch {parameters:,} parameters, {count(running):,} running statistics")

# %% [markdown]
# Keras's larger total counts the same network.
#
# Keras brings a DenseNet-121 of its own; `weights=None` downloads nothing. Ours beside
# theirs:

# %% tags=["nbval-check-output"]
published = keras.applications.DenseNet121(
    weights=None, input_shape=(64, 64, 3), classifier_activation=None
)
for name, model in (("ours", network), ("theirs", published)):
    print(f"{name:6} {model.count_params():,} parameters, {len(model.layers)} layers")

# %% [markdown]
# 427 against 429 layers, and the same total. Keep these two layers without parameters
# in mind.
#
# ## The same weights
#
# Here both frameworks list their layers in the order in which the image passes them, so
# we copy in that order. A classifier's weights are (out, in) in PyTorch and (in, out)
# in Keras.

# %%
def keras_arrays(module):
    if isinstance(module, nn.BatchNorm2d):
        statistics = module.running_mean, module.running_var
        arrays = (module.weight, module.bias, *statistics)  # γ, β, mean, variance
    elif isinstance(module, nn.Linear):
        arrays = (module.weight.T, module.bias)
    else:
        arrays = (module.weight.permute(2, 3, 1, 0),)
    return [array.detach().numpy() for array in arrays]


def copy_weights(source, target):
    kinds = nn.Conv2d | nn.BatchNorm2d | nn.Linear
    modules = [module for module in source.modules() if isinstance(module, kinds)]
    readers = [layer for layer in target.layers if layer.weights]
    for module, layer in zip(modules, readers, strict=True):
        layer.set_weights(keras_arrays(module))

# %% [markdown]
# A fresh BN has γ = 1, β = 0, mean 0 and variance 1. Mistakes among equal numbers would
# not show, so we make them all different first. Then each of Keras's arrays is set from
# its PyTorch counterpart.

# %% tags=["nbval-check-output"]
for module in reference.modules():
    if isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
with torch.no_grad():
    for _ in range(10):  # moves the running statistics
        reference.train()(torch.randn(8, 3, 64, 64))
reference.eval()
copy_weights(reference, network)
arrays, entries = len(network.weights), len(reference.state_dict())
print(arrays, "arrays copied; PyTorch's state_dict has", entries)

# %% [markdown]
# All 606. PyTorch has 121 more, because each BN counts its batches as well.
#
# Same counts, same shapes, same weights. **Predict**: the same logits?

# %% tags=["hide-output"]
images = torch.randn(4, 3, 64, 64)


def mismatch(network, images):
    copy_weights(reference, network)
    with torch.no_grad():
        logits = network(images.permute(0, 2, 3, 1), training=False)
        return difference(logits, reference(images))


apart = mismatch(network, images)
print(f"difference {apart:.1%} of the largest logit")

# %% tags=["remove-cell"]
assert apart > 0.1

# %% [markdown]
# No: the largest difference between two logits is about a fifth of the largest logit.
# Something without parameters differs.
#
# ## Search from the front
#
# **Predict**: do the maps agree after the very first convolution?

# %% tags=["nbval-check-output", "hide-output"]
def after_first_convolution(network):
    first = next(layer for layer in network.layers if isinstance(layer, layers.Conv2D))
    part = keras.Model(network.input, first.output)
    with torch.no_grad():
        maps = part(images.permute(0, 2, 3, 1))  # (N, H/2, W/2, k0)
        expected = reference.features.conv0(images).permute(0, 2, 3, 1)
    print(tuple(maps.shape), "expected", tuple(expected.shape))
    print("same numbers:", difference(maps, expected) < 1e-5)


after_first_convolution(network)

# %% [markdown]
# The shape is right, the numbers are not. A kernel that is 1 in its centre and 0
# elsewhere shows where each window lies: it copies the pixel under its centre. Let
# every pixel hold its column number.
#
# PyTorch pads 3 zeros on each side, so it reads columns 0, 2, 4 and so on. With
# `"same"`, Keras makes half as many pixels as it reads, rounded up, and adds as few
# zeros as that takes. An odd one goes to the end. **Predict** Keras's columns, for 16
# pixels and for 17.

# %% tags=["nbval-check-output", "hide-output"]
kernel = torch.zeros(7, 7, 1, 1)  # (H, W, in, out)
kernel[3, 3] = 1
for size in (16, 17):
    columns = torch.arange(float(size)).expand(1, size, size)[..., None]  # (N, H, W, C)
    same = keras.ops.conv(columns, kernel, strides=2, padding="same")
    print(f"{size} pixels, Keras reads columns", same[0, 4, :, 0].int().tolist())

# %% tags=["hide-output"]
show(window_centres(16))

# %% [markdown]
# *"Same" pads as few zeros as it can. A blue pixel lies under a centre, a grey one
# under none.* 8 windows of 7 pixels with stride 2 span 21 pixels, so 16 pixels need 5
# zeros: 2 before, 3 after. Every window sits one pixel late.
#
# On 17 pixels 6 zeros are needed, 3 on each side. Test this convolution on odd sizes
# only, and you never meet the difference. The whole stem can still show it: 63 pixels
# become 32, and the pooling then reads an even size.
#
# The remedy is to pad by hand, as Keras's own network does: those were its two extra
# layers.

# %% tags=["nbval-check-output"]
def padded_stem(images, config, **norm):
    convolution = layers.Conv2D(config.init_channels, 7, strides=2, use_bias=False)
    maps = convolution(layers.ZeroPadding2D(3)(images))  # (N, H/2, W/2, k0)
    maps = layers.ZeroPadding2D(1)(norm_relu(maps, **norm))
    return layers.MaxPooling2D(3, strides=2)(maps)  # (N, H/4, W/4, k0)


network = keras_densenet(reference.config, 64, padded_stem)
copy_weights(reference, network)
after_first_convolution(network)

# %% [markdown]
# The first convolution agrees. PyTorch pads its pooling with −∞, so that a padded pixel
# never is the maximum. Our zeros do no harm either: after a ReLU no map is below 0.
#
# **Predict**: is the whole network equal now?

# %% tags=["hide-output"]
apart = mismatch(network, images)
print(f"difference {apart:.1%}")

# %% tags=["remove-cell"]
assert 0.003 < apart < 0.1

# %% [markdown]
# ## Something smaller
#
# Two percent: better, but still far more than rounding. BN divides by √(variance + ε),
# and ε is a setting of the layer. Here are the three values of ε, and what remains of
# the output where they differ:

# %% tags=["nbval-check-output"]
print("Keras's layer  ", layers.BatchNormalization().epsilon)
print("Keras's network", published.get_layer("conv1_bn").epsilon)
print("PyTorch        ", nn.BatchNorm2d(1).eps)
for variance in (1, 0.0001):
    left = math.sqrt((variance + 1e-5) / (variance + 1e-3))
    print(f"variance {variance}: {left:.4f} of PyTorch's output")

# %% [markdown]
# The default of Keras's layer is a hundred times PyTorch's. At variance 1 that costs
# half a thousandth, at 0.0001 two thirds of the signal. And there are 121 BNs.
#
# We set ε and build the network again. **Predict**: does Keras's own network, with
# 1.001e-5, agree as well?

# %% tags=["nbval-check-output", "hide-output"]
network = keras_densenet(reference.config, 64, padded_stem, epsilon=1e-5)
print("ours:  ", mismatch(network, images) < 1e-5)
print("theirs:", mismatch(published, images) < 1e-5)

# %% [markdown]
# Both are PyTorch's function now, up to rounding. With Keras's network, 1.001e-5 is
# close enough not to show.
#
# ## Break it: no bottleneck
#
# Lesson 05 built DenseNet-121 from plain layers, with one 3×3 convolution each. Here is
# the same slip in Keras. A second one is as easy in PyTorch: convolutions have biases
# unless told otherwise.
#
# **Predict**: how many parameters do the biases add, beside the plain layers'
# 2,890,240?

# %% tags=["nbval-check-output", "hide-output"]
config = reference.config
plain = replace(config, bottleneck_factor=None)
right = accounting.parameters(config)
slips = {"no bottleneck": plain, "and biases": replace(plain, conv_bias=True)}
for name, wrong in slips.items():
    total = accounting.parameters(wrong)
    extra = f"{total - right:+,} ({total / right - 1:+.1%})"
    print(f"{name:13} {total:>10,} train, {extra}, L = {accounting.depth(wrong)}")
listing = keras_densenet(plain, 64, padded_stem, layer=keras_conv_block)
train = count(listing.trainable_weights)
print(f"in Keras      {train:>10,} train, {listing.count_params():,} in all")

# %% [markdown]
# The biases add only 2,816. The plain layers alone are 2,890,240 too many, and with 63
# layers it is no DenseNet-121. The live network agrees with the formula. Its total
# reads 10,937,896 instead of 8,062,504.
#
# DenseNet-121's weights do not fit either. We try to copy them:

# %%
with lesson.expected(ValueError):
    copy_weights(reference, listing)

# %% [markdown]
# Copying stops at the first layer of the first block: there a 1×1 kernel arrives where
# a 3×3 one is expected.
#
# ## Train with `fit`
#
# The class network of lesson 07 has a stem of one 3×3 convolution, and 141,130
# parameters. We train it on 6,000 images for three epochs.

# %% tags=["nbval-check-output"]
def class_stem(images, config, **norm):  # nothing to normalise here
    convolution = layers.Conv2D(config.init_channels, 3, strides=2, use_bias=False)
    return convolution(layers.ZeroPadding2D(1)(images))  # (N, H/2, W/2, k0)


small = keras_densenet(class_densenet().config, 28, class_stem)
print(f"{count(small.trainable_weights):,} train; output {small.output_shape}")

# %% [markdown]
# Keras draws other initial weights (Glorot uniform, which lesson 06 called Xavier's
# rule) than our PyTorch networks, which use He (Kaiming) initialisation. Copying takes
# that difference away: both frameworks start from the same PyTorch network.
#
# `compile` names optimiser, loss and metrics; `fit` is the loop of lesson 07.

# %%
def prepared(split, number):
    images, labels = load(split)  # (N, 1, 28, 28), (N,)
    maps = normalise(images[:number]).permute(0, 2, 3, 1)  # (N, 28, 28, 1)
    return maps.numpy(), labels[:number].numpy()


train_set, test_set = prepared("train", 6000), prepared("test", 2000)
steps = math.ceil(6000 / 64)  # in one epoch
torch.manual_seed(0)
start = class_densenet()


def train(epochs, **norm):
    keras.utils.set_random_seed(0)
    model = keras_densenet(start.config, 28, class_stem, **norm)
    copy_weights(start, model)
    rate = keras.optimizers.schedules.CosineDecay(0.1, 3 * steps)
    model.compile(
        optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    options = {"epochs": epochs, "validation_data": test_set, "verbose": 0}
    history = model.fit(*train_set, batch_size=64, **options).history
    names = {"train_accuracy": "accuracy", "test_accuracy": "val_accuracy",
             "train_loss": "loss", "test_loss": "val_loss"}
    return model, [
        {"epoch": n + 1} | {ours: history[theirs][n] for ours, theirs in names.items()}
        for n in range(epochs)
    ]

# %% [markdown]
# Ten classes, so guessing gives 10 %. **Predict**: after one epoch, will test images do
# about as well as training images?

# %% tags=["hide-output"]
_, first = train(epochs=1, epsilon=1e-5)
seen, new = first[0]["train_accuracy"], first[0]["test_accuracy"]
print(f"training {seen:.1%}, test {new:.1%}")
for kept in (layers.BatchNormalization().momentum, 1 - nn.BatchNorm2d(1).momentum):
    left = kept**steps
    print(f"BN keeps {kept} in a step: after {steps} steps {left:.3%} of the start")

# %% [markdown]
# The network learns, and yet it is far worse on test images. It saw each image once, so
# this is not overfitting.
#
# Testing uses the running statistics. Keras's BN keeps 0.99 of them at each step,
# PyTorch's `momentum=0.1` keeps 0.9. After the epoch, 39 % of Keras's statistics are
# still mean 0 and variance 1. Equal logits cannot show such a difference. **Predict**
# what 0.9 changes in the first epoch: training accuracy, test accuracy, or both?

# %% tags=["hide-output"]
model, history = train(epochs=3, epsilon=1e-5, momentum=0.9)
seen, new = history[0]["train_accuracy"], history[0]["test_accuracy"]
print(f"training {seen:.1%}, test {new:.1%}")

# %% tags=["remove-cell"]
assert abs(history[0]["train_accuracy"] - first[0]["train_accuracy"]) < 0.02
assert history[0]["test_accuracy"] > first[0]["test_accuracy"] + 0.1

# %% [markdown]
# Only the test accuracy: training takes its statistics from the batch.
#
# Now PyTorch beside it: the same initial weights, the same 6,000 images in another
# order, SGD without weight decay, three epochs. Our `fit` has one-cycle instead of the
# cosine. **Predict**: will the two test accuracies after the third epoch differ by more
# than luck on the 2,000 test images explains? (At 85 % the standard error of each is
# 0.8 points.)

# %% tags=["hide-output"]
images, labels = load("train")
unseen, truth = load("test")
options = {"batch_size": 64, "shuffle": True}
batches = ResidentBatches(images[:6000], labels[:6000], **options)
test = ResidentBatches(unseen[:2000], truth[:2000], batch_size=500)
ours = fit(
    start, batches, test=test, epochs=3, peak_rate=0.1, weight_decay=0,
    device=torch.device("cpu"), progress=False,
)
for name, rows in (("Keras", history), ("PyTorch", ours)):
    print(f"{name:8}", "  ".join(f"{row['test_accuracy']:.1%}" for row in rows))

# %% tags=["remove-cell"]
for rows in (history, ours):
    assert rows[-1]["test_accuracy"] > 0.80
assert abs(history[-1]["test_accuracy"] - ours[-1]["test_accuracy"]) < 0.06

# %% [markdown]
# Two runs, one of each: on 2,000 images one standard error is 0.8 points, and the order
# of the images and the schedule differ. So this does not say which framework is better.
# Both bring this network to about the same accuracy. Keras's three epochs as curves:

# %%
show(results.learning_curves(history))

# %% [markdown]
# *At first test does better than training, with the lower loss and the higher accuracy:
# what is shown for training is a mean over the epoch, and the network still learns in
# it. At the end training is a little ahead.*
#
# ## As you will meet it elsewhere
#
# Many Keras listings end in a softmax, take one-hot labels, and name the optimiser by a
# word: `compile(optimizer="adam", loss="categorical_crossentropy")`. Adam divides each
# weight's step by the typical size of its recent gradients; its rate is usually near
# 0.001, not 0.1. And the loss? **Predict**: does it differ from ours, which takes
# logits?

# %% tags=["nbval-check-output", "hide-output"]
pictures, numbers = test_set[0][:64], torch.as_tensor(test_set[1][:64])
with torch.no_grad():
    logits = model(pictures, training=False)
one_hot = keras.utils.to_categorical(numbers, 10)
softmax = keras.ops.softmax(logits)
theirs = keras.losses.categorical_crossentropy(one_hot, softmax).mean()
same = keras.losses.sparse_categorical_crossentropy(numbers, logits, from_logits=True)
print("the same loss up to rounding:", abs(float(theirs - same.mean())) < 1e-4)

# %% [markdown]
# The same, as in lesson 07: the cross-entropy is −ln of the true class's probability.
# From logits it is safer: Keras clips a softmax below 10⁻⁷, and there the gradient is
# lost.
#
# Keras stores a network with its structure in one file, and loads it without any of our
# functions:

# %% tags=["nbval-check-output"]
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "small.keras"
    model.save(file)
    loaded = keras.saving.load_model(file)
with torch.no_grad():
    print("same logits:", bool((loaded(pictures, training=False) == logits).all()))

# %% tags=["remove-cell"]
# part by part, channels and parameters agree with the formulas
sizes = (6, 7 * 6, 4, 7 * 12, 4, 7 * 24, 4, 7 * 16, 4)  # Keras layers in each part
rest = network.layers[1:]  # without the input
for row, size in zip(accounting.trace(config, 64), sizes, strict=True):
    part, rest = rest[:size], rest[size:]
    total = sum(count(layer.trainable_weights) for layer in part)
    assert (part[-1].output.shape[-1], total) == (row.channels, row.parameters)

# %% [markdown]
# ## Your turn
#
# [Exercise 17](exercises/17_keras_weights.ipynb), *medium, 25 minutes.* Carry the
# weights of a whole network to Keras's list of arrays, and back. Keras itself is not
# needed for that.
#
# ## Recap
#
# Give two networks the same weights and compare their outputs: that finds what no count
# shows. The differences that this lesson met, and one that it did not measure, the
# running variance:
#
# | difference | PyTorch | Keras | it shows in |
# |---|---|---|---|
# | order of axes | (N, C, H, W), kernels (out, in, H, W) | (N, H, W, C), kernels (H, W, in, out) | shapes, or outputs |
# | running statistics | buffers | weights that do not train | the count: 83,648 more |
# | padding, stride 2 | as told, on both sides | `"same"`: fewest zeros, the odd one last | outputs |
# | ε of BatchNorm | 0.00001 | 0.001 | outputs |
# | momentum of BatchNorm | 0.1, the new part | 0.99, the old part | short trainings |
# | running variance of n values | divided by n − 1 | divided by n | small batches of small maps, a little |
# | initial weights | the course's: He | Glorot uniform | training from scratch |
#
# ## Sources
#
# - Huang, Liu, van der Maaten, Weinberger: *Densely Connected Convolutional Networks*,
#   CVPR 2017, [arXiv 1608.06993](https://arxiv.org/abs/1608.06993), equation 2 and
#   table 1.
# - Keras: `keras.applications.densenet`, and the layers `BatchNormalization`, `Conv2D`
#   and `ZeroPadding2D` ([keras.io/api](https://keras.io/api/)).
# - PyTorch: `torch.nn.BatchNorm2d`, for the running variance
#   ([docs.pytorch.org](https://docs.pytorch.org/docs/stable/nn.html)).
#
# **Next:** [14 · Capstone: design under a budget](14_capstone.ipynb).
